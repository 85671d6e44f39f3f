/* A storm of commands: see storm.h. */
#include "tests/lib/storm.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/epoch.h"
#include "base/hash.h"

enum client_state { CLIENT_IDLE, CLIENT_PARKED, CLIENT_AWAY, CLIENT_CLOSED };
struct held_reply {
    struct linear_op op;
    uint64_t floor;
    bool ok; /* not an error */
};
struct storm_worker;
struct storm_client {
    struct mini_client mini;
    struct storm_worker *worker;
    enum client_state state;
    struct linear_op op;
    int stage; /* of CAS: WATCH, GET, EXEC; the next one is prepared. 0: nothing is */
    int left;
    struct held_reply held[LINEAR_OPS]; /* in their order; a client may go on while its replies are held back */
    int held_count;
};
#define CLIENTS_MAX 16
struct storm_worker {
    struct storm *storm;
    struct exec_worker *exec;
    struct storm_client client[CLIENTS_MAX];
    uint64_t random;
    int index;
    struct os_thread thread;
    struct os_mutex lock;
    struct os_cond cond;
    bool woken;
};

static uint64_t draw(uint64_t *state) { return hash_mix(*state += UINT64_C(0x9e3779b97f4a7c15)); }

static void worker_wake(void *arg)
{
    struct storm_worker *w = arg;
    os_mutex_lock(&w->lock);
    w->woken = true;
    os_cond_signal(&w->cond);
    os_mutex_unlock(&w->lock);
}

static void client_back(struct mini_client *c) { worker_wake(((struct storm_client *)c->owner)->worker); }

/* ---- what a client asks, and what it is told ---- */

void storm_key(const struct storm *s, int key, char out[160])
{
    snprintf(out, 160, "%0*dk%d", s->padding + 1, s->group, key);
}

static bool chance(struct storm_client *c, unsigned permille) { return draw(&c->worker->random) % 1000 < permille; }

/* One command after MULTI; it is answered at once. */
static void queue(struct storm_client *c, enum mini_command command, const char *args)
{
    mini_prepare(&c->mini, command, args);
    if (chance(c, c->worker->storm->prepared_permille / 2))
        c->mini.entry = mini_long(command);
    enum exec_outcome o = mini_run(c->worker->exec, &c->mini);
    assert(o == EXEC_DONE);
    (void)o;
}

/* Queues what the operation consists of, and prepares EXEC. */
static void begin_transaction(struct storm_client *c)
{
    const struct storm *s = c->worker->storm;
    char key[LINEAR_KEYS][160], args[1000], all[1000];
    long long v = c->op.value;
    for (int i = 0; i < LINEAR_KEYS; i++)
        storm_key(s, i, key[i]);
    const char *own = key[c->op.key], *next = key[linear_next(c->op.key)];
    snprintf(all, sizeof all, "%s %s %s %s", key[0], key[1], key[2], key[3]);
    mini_prepare(&c->mini, MINI_MULTI, "");
    enum exec_outcome o = mini_run(c->worker->exec, &c->mini);
    assert(o == EXEC_DONE);
    (void)o;
    if (c->op.kind == LINEAR_LOOK) {
        queue(c, MINI_MGET, all);
        queue(c, MINI_MGET, all);
    } else if (c->op.kind == LINEAR_EXEC) {
        queue(c, MINI_INCR, own);
        snprintf(args, sizeof args, "%s %lld", next, v);
        queue(c, MINI_SET, args);
        queue(c, MINI_MGET, all);
    } else {
        snprintf(args, sizeof args, "%s %lld", own, v);
        queue(c, MINI_SET, args);
        snprintf(args, sizeof args, "%s %lld", next, v);
        queue(c, MINI_SET, args);
    }
    mini_prepare(&c->mini, MINI_EXEC, "");
    c->op.called = atomic_fetch_add(&c->worker->storm->moment, 1) + 1;
}

static void choose(struct storm_client *c)
{
    static const enum mini_command command[] = {
        [LINEAR_GET] = MINI_GET,   [LINEAR_SET] = MINI_SET,         [LINEAR_SETNX] = MINI_SETNX,
        [LINEAR_INCR] = MINI_INCR, [LINEAR_DEL] = MINI_DEL,         [LINEAR_MGET] = MINI_MGET,
        [LINEAR_MSET] = MINI_MSET, [LINEAR_PERSIST] = MINI_PERSIST, [LINEAR_SETEX] = MINI_SET,
    };
    struct storm_worker *w = c->worker;
    uint64_t r = draw(&w->random);
    static const enum linear_kind often[] = {
        LINEAR_GET, LINEAR_GET,  LINEAR_GET,  LINEAR_SET,  LINEAR_SETNX, LINEAR_INCR,  LINEAR_INCR,    LINEAR_INCR,
        LINEAR_DEL, LINEAR_MGET, LINEAR_MGET, LINEAR_MSET, LINEAR_SETEX, LINEAR_SETEX, LINEAR_PERSIST, LINEAR_PERSIST,
    };
    static const enum linear_kind transactions[] = {LINEAR_EXEC, LINEAR_EXEC, LINEAR_LOOK, LINEAR_CAS};
    c->op = (struct linear_op){
        .kind = often[r % (w->storm->expiring ? 16 : 12)],
        .key = (int)(r >> 8 & (LINEAR_KEYS - 1)),
        .value = (int64_t)(r >> 16 & 0xffff) + 100,
        .client = (int)c->mini.session.id,
    };
    if (chance(c, w->storm->transactions_permille))
        c->op.kind = transactions[r >> 56 & 3];
    c->stage = 0;
    if (c->op.kind == LINEAR_EXEC || c->op.kind == LINEAR_LOOK) {
        begin_transaction(c);
        return;
    }
    char args[1000], key[LINEAR_KEYS][160];
    int k = c->op.key;
    long long v = c->op.value;
    for (int i = 0; i < LINEAR_KEYS; i++)
        storm_key(w->storm, i, key[i]);
    if (c->op.kind == LINEAR_CAS) {
        c->stage = 1;
        mini_prepare(&c->mini, MINI_WATCH, key[k]);
        return;
    }
    switch (c->op.kind) {
    case LINEAR_SET:
    case LINEAR_SETNX:
        snprintf(args, sizeof args, "%s %lld", key[k], v);
        break;
    case LINEAR_SETEX: /* due in a moment, now and then at once */
        snprintf(args, sizeof args, "%s %lld %llu", key[k], v,
                 (unsigned long long)(shard_now_ms(w->storm->shard) + (r >> 40) % 4));
        break;
    case LINEAR_MGET:
        snprintf(args, sizeof args, "%s %s %s %s", key[0], key[1], key[2], key[3]);
        break;
    case LINEAR_MSET:
        snprintf(args, sizeof args, "%s %lld %s %lld %s %lld %s %lld", key[0], v, key[1], v, key[2], v, key[3], v);
        break;
    default:
        snprintf(args, sizeof args, "%s", key[k]);
    }
    mini_prepare(&c->mini, command[c->op.kind], args);
    if (draw(&w->random) % 1000 < w->storm->prepared_permille)
        c->mini.entry = mini_long(command[c->op.kind]);
    c->op.called = atomic_fetch_add(&w->storm->moment, 1) + 1;
}

static bool parse_value(const char **p, int64_t *out)
{
    if (strncmp(*p, "$-1\r\n", 5) == 0) {
        *out = LINEAR_NIL;
        *p += 5;
        return true;
    }
    if (**p == '$') {
        *p = strchr(*p, '\n');
        if (!*p)
            return false;
    } else if (**p != ':') {
        return false;
    }
    char *end;
    *out = strtoll(*p + 1, &end, 10);
    *p = end + 2;
    return end[0] == '\r' && end[1] == '\n';
}

static bool skip(const char **p, const char *what)
{
    size_t len = strlen(what);
    if (strncmp(*p, what, len) != 0)
        return false;
    *p += len;
    return true;
}

static bool parse_all(const char **p, int64_t out[LINEAR_KEYS])
{
    if (!skip(p, "*4\r\n"))
        return false;
    for (int i = 0; i < LINEAR_KEYS; i++)
        if (!parse_value(p, &out[i]))
            return false;
    return true;
}

static bool parse_exec(struct storm_client *c, const char *p)
{
    int64_t again[LINEAR_KEYS];
    switch (c->op.kind) {
    case LINEAR_EXEC:
        return skip(&p, "*3\r\n") && parse_value(&p, &c->op.first) && skip(&p, "+OK\r\n") &&
               parse_all(&p, c->op.result) && *p == 0;
    case LINEAR_LOOK:
        return skip(&p, "*2\r\n") && parse_all(&p, c->op.result) && parse_all(&p, again) && *p == 0 &&
               memcmp(again, c->op.result, sizeof again) == 0;
    default:
        c->op.result[0] = strcmp(p, "*-1\r\n") != 0;
        return c->op.result[0] == 0 || strcmp(p, "*2\r\n+OK\r\n+OK\r\n") == 0;
    }
}

/* False: it is an error, or nothing that this command answers. */
static bool parse(struct storm_client *c)
{
    const char *p = mini_reply(&c->mini);
    if (c->op.kind == LINEAR_EXEC || c->op.kind == LINEAR_LOOK || c->op.kind == LINEAR_CAS)
        return parse_exec(c, p);
    if (c->op.kind == LINEAR_SET || c->op.kind == LINEAR_SETEX || c->op.kind == LINEAR_MSET)
        return strcmp(p, "+OK\r\n") == 0;
    if (c->op.kind == LINEAR_MGET) {
        if (!parse_all(&p, c->op.result))
            return false;
    } else if (!parse_value(&p, &c->op.result[0])) {
        return false;
    }
    return *p == 0;
}

static void record(struct storm *s, const struct held_reply *h, bool left)
{
    os_mutex_lock(&s->lock);
    if (!h->ok)
        s->refused++;
    else if (left)
        s->history[s->count++] = h->op;
    else
        s->unknown[s->lost++] = h->op;
    os_mutex_unlock(&s->lock);
}

/* ---- a client's next step; true: something happened ---- */

static bool is_refusal(const char *reply)
{
    return strncmp(reply, "-MISCONF", 8) == 0 || strncmp(reply, "-EXECABORT", 10) == 0;
}

/* WATCH or GET of CAS has run: on with the next. False: it is over, with what was answered. */
static bool next_stage(struct storm_client *c)
{
    const char *p = mini_reply(&c->mini);
    char key[160];
    bool ok = c->stage == 1 ? strcmp(p, "+OK\r\n") == 0 : parse_value(&p, &c->op.first);
    if (c->stage == 0 || c->stage == 3 || !ok)
        return false;
    if (++c->stage == 3) {
        begin_transaction(c);
    } else {
        storm_key(c->worker->storm, c->op.key, key);
        mini_prepare(&c->mini, MINI_GET, key);
    }
    c->state = CLIENT_IDLE;
    return true;
}

/* The command has run: its reply is there, and waits for its floor. */
static void hold(struct storm_client *c)
{
    struct storm *s = c->worker->storm;
    if (c->stage && next_stage(c))
        return;
    c->stage = 0;
    bool ok = parse(c);
    if (!ok && !(shard_frozen(s->shard) && is_refusal(mini_reply(&c->mini)))) {
        s->wrong_reply = true;
        snprintf(s->text, sizeof s->text, "%s", mini_reply(&c->mini));
    }
    /* Where it probably took effect: a commit just below its sequence, the rest just above what it saw. */
    enum linear_kind kind = c->op.kind;
    bool reads = kind == LINEAR_GET || kind == LINEAR_MGET || kind == LINEAR_LOOK;
    bool changes =
        !reads && !((kind == LINEAR_SETNX || kind == LINEAR_CAS || kind == LINEAR_DEL || kind == LINEAR_PERSIST) &&
                    c->op.result[0] == 0);
    c->op.hint = 2 * (reads ? c->mini.snapshot : c->mini.session.floor) - changes;
    c->held[c->held_count++] = (struct held_reply){c->op, c->mini.session.floor, ok};
    c->left--;
    c->state = CLIENT_IDLE;
}

static void run(struct storm_client *c)
{
    switch (mini_run(c->worker->exec, &c->mini)) {
    case EXEC_DONE:
        hold(c);
        break;
    case EXEC_PARKED:
        c->state = CLIENT_PARKED;
        break;
    case EXEC_AWAY:
        c->state = CLIENT_AWAY;
        break;
    }
}

static bool step(struct storm_client *c, bool woken)
{
    switch (c->state) {
    case CLIENT_IDLE:
        if (c->left == 0)
            return false;
        /* Pipelines and patient clients, and not all at once: rows of every length come up. */
        if (draw(&c->worker->random) % 4 == 0 || (c->held_count && draw(&c->worker->random) % 2))
            return c->held_count == 0;
        if (c->stage == 0)
            choose(c);
        run(c);
        return true;
    case CLIENT_PARKED:
        if (!woken)
            return false;
        run(c);
        return c->state != CLIENT_PARKED;
    case CLIENT_AWAY:
        if (!mini_is_back(&c->mini))
            return false;
        mini_collect(&c->mini);
        hold(c);
        return true;
    default:
        return false;
    }
}

/* Lets replies go that the gate has passed, and closes whose replies will never leave. */
static bool release(struct storm_worker *w)
{
    struct storm *s = w->storm;
    bool frozen = shard_frozen(s->shard), any = false;
    uint64_t gate = shard_gate(s->shard);
    for (int i = 0; i < s->clients; i++) {
        struct storm_client *c = &w->client[i];
        int n = 0;
        for (; n < c->held_count && c->held[n].floor <= gate; n++) {
            c->held[n].op.replied = atomic_fetch_add(&s->moment, 1) + 1;
            record(s, &c->held[n], true);
        }
        any |= n > 0;
        c->held_count -= n;
        memmove(c->held, c->held + n, (size_t)c->held_count * sizeof *c->held);
        if (frozen && c->held_count && c->state != CLIENT_AWAY) {
            for (int k = 0; k < c->held_count; k++)
                record(s, &c->held[k], false);
            c->held_count = 0;
            c->state = CLIENT_CLOSED;
            any = true;
        }
    }
    return any;
}

static uint64_t lowest_floor(const struct storm_worker *w)
{
    uint64_t floor = UINT64_MAX;
    for (int i = 0; i < w->storm->clients; i++)
        if (w->client[i].held_count && w->client[i].held[0].floor < floor)
            floor = w->client[i].held[0].floor;
    return floor;
}

static bool all_done(const struct storm_worker *w)
{
    for (int i = 0; i < w->storm->clients; i++) {
        const struct storm_client *c = &w->client[i];
        if (c->state != CLIENT_CLOSED && (c->state != CLIENT_IDLE || c->left || c->held_count))
            return false;
    }
    return true;
}

static bool take_wake(struct storm_worker *w, bool wait)
{
    os_mutex_lock(&w->lock);
    while (wait && !w->woken) {
        if (sched_hooks) {
            os_cond_wait(&w->cond, &w->lock); /* the scheduler notices when nobody can go on */
        } else if (!os_cond_wait_for(&w->cond, &w->lock, UINT64_C(20000000000)) && !w->woken) {
            w->storm->standstill = true;
            break;
        }
    }
    bool woken = w->woken;
    w->woken = false;
    os_mutex_unlock(&w->lock);
    return woken;
}

static void worker_main(void *arg)
{
    struct storm_worker *w = arg;
    struct storm *s = w->storm;
    w->exec = exec_worker_new(s->shard, &(struct exec_worker_options){.name = "w", .wake = worker_wake, .arg = w});
    assert(w->exec != NULL);
    bool woken = false;
    while (!s->standstill) {
        bool any = false;
        for (int i = 0; i < s->clients; i++)
            any |= step(&w->client[i], woken);
        exec_row_end(w->exec);
        exec_set_waiting_floor(w->exec, lowest_floor(w));
        any |= release(w);
        epoch_poll();
        if (all_done(w))
            break;
        woken = take_wake(w, !any);
    }
    exec_set_waiting_floor(w->exec, UINT64_MAX);
    exec_worker_free(w->exec);
    atomic_fetch_sub(&s->running, 1);
}

static void disturb_main(void *arg)
{
    struct storm *s = arg;
    uint64_t random = s->seed ^ 0x5555;
    while (atomic_load(&s->running) > 0) {
        s->disturb(s, draw(&random), false);
        os_sleep_ns(draw(&random) % 100000);
    }
    s->disturb(s, draw(&random), true);
}

static void worker_start(struct storm *s, struct storm_worker *w, int index)
{
    w->storm = s;
    w->index = index;
    w->random = hash_mix(s->seed * 64 + (uint64_t)index);
    os_mutex_init(&w->lock);
    os_cond_init(&w->cond);
    for (int i = 0; i < s->clients; i++) {
        struct storm_client *c = &w->client[i];
        mini_client_init(&c->mini, (uint64_t)(index * s->clients + i + 1));
        c->mini.owner = c;
        c->mini.on_completed = client_back;
        c->worker = w;
        c->left = s->ops;
        c->state = CLIENT_IDLE;
    }
    enum result r = os_thread_start(&w->thread, "worker", worker_main, w);
    assert(r == RES_OK);
    (void)r;
}

bool storm_run(struct storm *s)
{
    assert(s->workers * s->clients * s->ops <= LINEAR_OPS && s->clients <= CLIENTS_MAX);
    struct storm_worker *w = calloc((size_t)s->workers, sizeof *w);
    struct os_thread disturber;
    assert(w != NULL);
    s->count = s->lost = s->refused = 0;
    s->standstill = s->wrong_reply = false;
    s->text[0] = 0;
    atomic_store(&s->moment, 0);
    atomic_store(&s->running, s->workers);
    os_mutex_init(&s->lock);
    for (int i = 0; i < s->workers; i++)
        worker_start(s, &w[i], i);
    if (s->disturb && os_thread_start(&disturber, "disturb", disturb_main, s) != RES_OK)
        abort();
    for (int i = 0; i < s->workers; i++)
        os_thread_join(&w[i].thread);
    if (s->disturb)
        os_thread_join(&disturber);
    for (int i = 0; i < s->workers; i++) {
        for (int k = 0; k < s->clients; k++) {
            session_unwatch(s->shard, &w[i].client[k].mini.session); /* of one that was closed in between */
            mini_client_fini(&w[i].client[k].mini);
        }
        os_cond_fini(&w[i].cond);
        os_mutex_fini(&w[i].lock);
    }
    os_mutex_fini(&s->lock);
    free(w);
    return !s->standstill && !s->wrong_reply && linear_check(s->history, s->count, s->text, sizeof s->text);
}
