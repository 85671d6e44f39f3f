/* Transactions and commands that wait for keys, over a front that does what the test says. First rule by rule, moved by
 * this thread; then storms under the deterministic scheduler: workers whose clients push, take and move elements, give up
 * waiting and close at random, with keys that go cold and log space that comes and goes, while others add to counters by
 * WATCH, MULTI and EXEC. What must hold for every seed:
 *   - each element that was pushed is told to exactly one taker, or lies in a row at the end, or was taken for a client
 *     that closed meanwhile;
 *   - at the end nobody waits at a key that has an element: no wake-up was lost;
 *   - the counters are the number of EXECs that were not aborted: no change between WATCH and EXEC went unseen.
 * VARVE_STORM_SEED runs one seed alone. */
#include <stdio.h>
#include <stdlib.h>

#include "base/epoch.h"
#include "base/hash.h"
#include "os/env_memory.h"
#include "os/sched.h"
#include "tests/lib/fake_front.h"
#include "tests/lib/mini.h"
#include "tests/lib/tap.h"

static struct env *env;
static struct shard *shard;
static struct front *front;
static struct mini_worker one, two;
static struct mini_client a, b, c, d;

static void setup(void)
{
    env = mini_clock = env_memory_new(1, ENV_MEMORY_PLAIN);
    struct shard_options o = {.front = {.env = env}, .pool_threads = 2, .command_count = MINI_COUNT};
    struct errmsg msg;
    tap_require(shard_open(&o, &shard, &msg) == RES_OK);
    front = shard_front(shard);
    mini_worker_init(&one, shard, "one");
    mini_worker_init(&two, shard, "two");
    mini_client_init(&a, 1);
    mini_client_init(&b, 2);
    mini_client_init(&c, 3);
    mini_client_init(&d, 4);
}

static void teardown(void)
{
    struct mini_client *all[] = {&a, &b, &c, &d};
    for (size_t i = 0; i < 4; i++) {
        session_unwatch(shard, &all[i]->session);
        mini_client_fini(all[i]);
    }
    mini_worker_fini(&one);
    mini_worker_fini(&two);
    tap_check(shard_close(shard) == RES_OK);
    env_memory_free(env);
}

static const char *do_a(enum mini_command cmd, const char *args) { return mini_do(one.exec, &a, cmd, args); }

/* On worker two; true: it waits. */
static bool wait_with(struct mini_client *who, enum mini_command cmd, const char *args)
{
    mini_prepare(who, cmd, args);
    tap_require(mini_run(two.exec, who) == EXEC_AWAY);
    exec_row_end(two.exec);
    return mini_waits(who);
}

static const char *got(struct mini_client *who)
{
    mini_collect(who);
    return mini_reply(who);
}

static void who_came_first_is_served_first(void)
{
    setup();
    tap_check(wait_with(&b, MINI_TAKE, "k 0"));
    tap_check(wait_with(&c, MINI_TAKE, "k 0"));
    tap_eq_u64(shard_blocked_clients(shard), 2);
    tap_eq_str(do_a(MINI_PUSH, "k aaaa"), "+OK\r\n");
    tap_check(mini_is_back(&b) && !mini_is_back(&c));
    tap_eq_str(got(&b), "$4\r\naaaa\r\n");
    tap_check(wait_with(&b, MINI_TAKE, "k 0")); /* now the last */
    tap_eq_str(do_a(MINI_PUSH, "k bbbb"), "+OK\r\n");
    tap_eq_str(got(&c), "$4\r\nbbbb\r\n");
    tap_eq_str(do_a(MINI_GET, "k"), "$-1\r\n");
    tap_eq_str(do_a(MINI_PUSH, "k cccc"), "+OK\r\n");
    tap_eq_str(got(&b), "$4\r\ncccc\r\n");
    tap_eq_u64(shard_blocked_clients(shard), 0);
    teardown();
}

/* Each served waiter is a batch of its own, and its reply waits for that. */
static void replies_of_those_served_wait_for_their_own_batch(void)
{
    setup();
    fake_gate_hold(front);
    tap_check(wait_with(&b, MINI_TAKE, "k 0"));
    tap_eq_str(do_a(MINI_PUSH, "k aaaa"), "+OK\r\n");
    tap_eq_u64(front_visible(front), 2);
    tap_eq_u64(a.session.floor, 1);
    tap_eq_str(got(&b), "$4\r\naaaa\r\n");
    tap_eq_u64(b.session.floor, 2);
    fake_gate_follow(front);
    teardown();
}

static void what_a_waiter_does_serves_the_next(void)
{
    setup();
    tap_check(wait_with(&d, MINI_TAKE, "z 0"));
    tap_check(wait_with(&c, MINI_MOVE, "y z 0"));
    tap_check(wait_with(&b, MINI_MOVE, "x y 0"));
    tap_eq_str(do_a(MINI_PUSH, "x aaaa"), "+OK\r\n");
    tap_eq_str(got(&b), "$4\r\naaaa\r\n");
    tap_eq_str(got(&c), "$4\r\naaaa\r\n");
    tap_eq_str(got(&d), "$4\r\naaaa\r\n");
    tap_eq_u64(front_visible(front), 4);
    teardown();
}

static void who_gave_up_takes_nothing(void)
{
    setup();
    tap_check(wait_with(&b, MINI_TAKE, "k 1000"));
    tap_check(wait_with(&c, MINI_TAKE, "k 0"));
    tap_check(mini_end_wait(two.exec, &b, WAIT_TIMEOUT));
    tap_eq_str(mini_reply(&b), "*-1\r\n");
    tap_check(wait_with(&d, MINI_TAKE, "k 0"));
    tap_check(mini_end_wait(two.exec, &d, WAIT_UNBLOCK_ERROR));
    tap_eq_str(mini_reply(&d), "-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n");
    tap_eq_u64(shard_blocked_clients(shard), 1);
    tap_eq_str(do_a(MINI_PUSH, "k aaaa"), "+OK\r\n");
    tap_check(!mini_end_wait(two.exec, &c, WAIT_TIMEOUT)); /* too late */
    tap_eq_str(got(&c), "$4\r\naaaa\r\n");
    teardown();
}

static void transactions_serve_when_all_is_done_and_wait_for_nothing(void)
{
    setup();
    tap_check(wait_with(&b, MINI_TAKE, "k 0"));
    tap_check(wait_with(&c, MINI_TAKE, "k 0"));
    tap_eq_str(do_a(MINI_MULTI, ""), "+OK\r\n");
    tap_eq_str(do_a(MINI_PUSH, "k aaaa"), "+QUEUED\r\n");
    tap_eq_str(do_a(MINI_TAKE, "k 0"), "+QUEUED\r\n");
    tap_eq_str(do_a(MINI_PUSH, "k bbbb"), "+QUEUED\r\n");
    tap_eq_str(do_a(MINI_TAKE, "nothing 0"), "+QUEUED\r\n");
    tap_eq_str(do_a(MINI_EXEC, ""), "*4\r\n+OK\r\n$4\r\naaaa\r\n+OK\r\n$-1\r\n");
    tap_eq_str(got(&b), "$4\r\nbbbb\r\n");
    tap_check(mini_waits(&c));
    tap_check(mini_end_wait(two.exec, &c, WAIT_CLOSE));
    teardown();
}

static void cold_waiters_are_served_on_the_pool_in_their_order(void)
{
    setup();
    tap_check(wait_with(&b, MINI_MOVE, "k to 0"));
    tap_check(wait_with(&c, MINI_TAKE, "k 0"));
    tap_eq_str(do_a(MINI_SET, "to xxxx"), "+OK\r\n");
    fake_chill(front, 1000);
    mini_prepare(&a, MINI_PUSH, "k aaaa");
    if (mini_run(one.exec, &a) == EXEC_AWAY)
        exec_row_end(one.exec);
    mini_collect(&a);
    exec_row_end(one.exec);
    tap_eq_str(mini_reply(&a), "+OK\r\n");
    tap_eq_str(got(&b), "$4\r\naaaa\r\n");
    tap_eq_str(do_a(MINI_PUSH, "k bbbb"), "+OK\r\n");
    tap_eq_str(got(&c), "$4\r\nbbbb\r\n");
    tap_eq_str(do_a(MINI_GET, "to"), "$8\r\nxxxxaaaa\r\n");
    teardown();
}

static void nobody_is_served_while_clients_are_paused(void)
{
    setup();
    tap_check(wait_with(&b, MINI_TAKE, "k 0"));
    mini_prepare(&a, MINI_PUSH, "k aaaa");
    shard_pause(shard, SHARD_PAUSE_WRITE, UINT64_MAX);
    tap_check(mini_run(one.exec, &a) == EXEC_PARKED);
    exec_row_end(one.exec);
    tap_check(mini_waits(&b));
    shard_pause(shard, SHARD_PAUSE_OFF, 0);
    tap_check(mini_run(one.exec, &a) == EXEC_DONE);
    exec_row_end(one.exec);
    tap_eq_str(got(&b), "$4\r\naaaa\r\n");
    teardown();
}

/* ---- EXEC ---- */

static void exec_is_one_batch(void)
{
    setup();
    fake_gate_hold(front);
    (void)do_a(MINI_MULTI, "");
    (void)do_a(MINI_SET, "x 1");
    (void)do_a(MINI_INCR, "x");
    (void)do_a(MINI_FAIL, "no");
    (void)do_a(MINI_GET, "x");
    tap_eq_u64(front_visible(front), 0);
    tap_eq_str(do_a(MINI_EXEC, ""), "*4\r\n+OK\r\n:2\r\n-no\r\n$1\r\n2\r\n");
    tap_eq_u64(front_visible(front), 1);
    tap_eq_u64(a.session.floor, 1);
    tap_eq_str(mini_do(two.exec, &b, MINI_GET, "x"), "$-1\r\n");
    fake_gate_follow(front);
    tap_eq_str(mini_do(two.exec, &b, MINI_GET, "x"), "$1\r\n2\r\n");
    struct command_stats st = {0};
    histogram_init(&st.latency);
    shard_command_stats(shard, MINI_INCR, &st);
    tap_eq_u64(st.calls, 1);
    histogram_fini(&st.latency);
    teardown();
}

static void exec_without_log_space_keeps_its_queue(void)
{
    setup();
    (void)do_a(MINI_MULTI, "");
    (void)do_a(MINI_SET, "x 1");
    fake_space(front, false);
    mini_prepare(&a, MINI_EXEC, "");
    tap_check(mini_run(one.exec, &a) == EXEC_PARKED);
    exec_row_end(one.exec);
    tap_eq_u64((uint64_t)session_multi_count(&a.session), 1);
    fake_space(front, true);
    tap_eq_str(do_a(MINI_EXEC, ""), "*1\r\n+OK\r\n");
    tap_check(session_multi_count(&a.session) < 0);
    teardown();
}

static void cold_exec_is_prepared(void)
{
    setup();
    tap_eq_str(do_a(MINI_SET, "x 41"), "+OK\r\n");
    (void)do_a(MINI_WATCH, "x");
    fake_chill(front, 1000);
    (void)do_a(MINI_MULTI, "");
    (void)do_a(MINI_INCR, "x");
    (void)do_a(MINI_INCR, "y");
    tap_eq_str(do_a(MINI_EXEC, ""), "*2\r\n:42\r\n:1\r\n");
    struct shard_stats st;
    shard_stats(shard, &st);
    tap_check(st.away_writes > 0);
    teardown();
}

static void a_refused_log_refuses_the_whole(void)
{
    setup();
    (void)do_a(MINI_MULTI, "");
    (void)do_a(MINI_SET, "x 1");
    fake_refuse(front, RES_NO_SPACE);
    tap_check(strncmp(do_a(MINI_EXEC, ""), "-EXECABORT Transaction discarded because of: MISCONF", 52) == 0);
    fake_refuse(front, RES_OK);
    tap_check(session_multi_count(&a.session) < 0);
    tap_eq_str(do_a(MINI_GET, "x"), "$-1\r\n");
    teardown();
}

/* ---- WATCH ---- */

/* What is watched is what is visible, not what the gate shows; and the reply waits for that. */
static void watch_begins_at_what_is_visible(void)
{
    setup();
    fake_gate_hold(front);
    tap_eq_str(do_a(MINI_SET, "x 1"), "+OK\r\n");
    tap_eq_str(mini_do(two.exec, &b, MINI_WATCH, "x"), "+OK\r\n");
    tap_eq_u64(b.session.floor, 1);
    tap_eq_str(mini_do(two.exec, &b, MINI_GET, "x"), "$1\r\n1\r\n");
    (void)mini_do(two.exec, &b, MINI_MULTI, "");
    (void)mini_do(two.exec, &b, MINI_SET, "x 2");
    fake_gate_to(front, 1); /* the gate passes what was there before: no change */
    tap_eq_str(mini_do(two.exec, &b, MINI_EXEC, ""), "*1\r\n+OK\r\n");
    (void)mini_do(two.exec, &b, MINI_WATCH, "x y");
    tap_eq_str(do_a(MINI_SET, "x 3"), "+OK\r\n"); /* not shown to anybody yet, and a change all the same */
    (void)mini_do(two.exec, &b, MINI_MULTI, "");
    (void)mini_do(two.exec, &b, MINI_SET, "z 1");
    tap_eq_str(mini_do(two.exec, &b, MINI_EXEC, ""), "*-1\r\n");
    fake_gate_follow(front);
    tap_eq_str(do_a(MINI_GET, "z"), "$-1\r\n");
    teardown();
}

static void watched_keys_that_expire_abort(void)
{
    char args[64];
    setup();
    snprintf(args, sizeof args, "x 1 %llu", (unsigned long long)shard_now_ms(shard) + 50);
    (void)do_a(MINI_SET, args);
    (void)mini_do(two.exec, &b, MINI_WATCH, "x");
    env_memory_advance(env, 100000000);
    (void)mini_do(two.exec, &b, MINI_MULTI, "");
    (void)mini_do(two.exec, &b, MINI_SET, "y 1");
    tap_eq_str(mini_do(two.exec, &b, MINI_EXEC, ""), "*-1\r\n");
    (void)mini_do(two.exec, &b, MINI_WATCH, "x"); /* expired when it came */
    (void)mini_do(two.exec, &b, MINI_MULTI, "");
    (void)mini_do(two.exec, &b, MINI_SET, "y 1");
    tap_eq_str(mini_do(two.exec, &b, MINI_EXEC, ""), "*1\r\n+OK\r\n");
    teardown();
}

/* ---- storms ---- */

#define WORKERS 3
#define CLIENTS 3
#define STEPS 14
#define ELEMENTS 512

struct storm_client {
    struct mini_client mini;
    int left;
    enum { IDLE, PARKED, AWAY, GONE } state;
    int stage; /* of a transaction: 1 watched, 2 read, 3 queued */
    int counter;
};
struct storm_worker {
    struct storm *storm;
    int index;
    uint64_t random;
    struct exec_worker *exec;
    struct os_mutex lock;
    struct os_cond cond;
    bool woken;
    struct os_thread thread;
    struct storm_client client[CLIENTS];
};
static struct storm {
    struct storm_worker worker[WORKERS];
    atomic_int pushed, running, busy;
    atomic_bool calm, calmed, over; /* nothing disturbs any more; all give up waiting */
    atomic_int told[ELEMENTS];      /* how often; by number */
    atomic_int added[2];
    bool wrong;
    char why[256];
} storm;

static uint64_t draw(uint64_t *state) { return hash_mix(*state += UINT64_C(0x9e3779b97f4a7c15)); }

static void wake_worker(void *arg)
{
    struct storm_worker *w = arg;
    os_mutex_lock(&w->lock);
    w->woken = true;
    os_cond_signal(&w->cond);
    os_mutex_unlock(&w->lock);
}

static void client_back(struct mini_client *m) { wake_worker(m->owner); }

static void complain(const char *what, const char *reply)
{
    storm.wrong = true;
    snprintf(storm.why, sizeof storm.why, "%s: %s", what, reply);
}

/* What a finished command says. */
static void hear(struct storm_client *s)
{
    const char *reply = mini_reply(&s->mini);
    const char *name = s->mini.entry->full_name;
    if (strcmp(name, "take") == 0) {
        if (reply[0] == '$' && reply[1] == '4')
            atomic_fetch_add(&storm.told[strtol(reply + 4, NULL, 10) % ELEMENTS], 1);
        else if (strcmp(reply, "*-1\r\n") != 0 && *reply) /* none: it was closed while it was being served, in vain */
            complain("take", reply);
    } else if (strcmp(name, "exec") == 0) {
        if (reply[1] != '-') {
            atomic_fetch_add(&storm.added[s->counter], 1);
            if (strncmp(reply, "*1\r\n:", 5) != 0)
                complain("exec", reply);
        }
        s->stage = 0;
    }
    s->state = s->left ? IDLE : GONE;
}

static void choose(struct storm_worker *w, struct storm_client *s)
{
    char args[64];
    static const char *const rows[] = {"p", "q", "r"};
    if (s->stage) {
        static const enum mini_command stages[] = {MINI_COUNT, MINI_MULTI, MINI_INCR, MINI_EXEC};
        snprintf(args, sizeof args, "%s", s->stage == 2 ? (s->counter ? "n" : "m") : "");
        mini_prepare(&s->mini, stages[s->stage++], args);
        return;
    }
    s->left--;
    const char *from = rows[draw(&w->random) % 3], *to = rows[draw(&w->random) % 3];
    int timeout = draw(&w->random) % 3 ? 0 : 5;
    switch (draw(&w->random) % 8) {
    case 0:
    case 1:
    case 2: {
        int n = atomic_fetch_add(&storm.pushed, 1);
        snprintf(args, sizeof args, "%s %04d", from, n);
        mini_prepare(&s->mini, MINI_PUSH, args);
        break;
    }
    case 3:
    case 4:
        snprintf(args, sizeof args, "%s %d", from, timeout);
        mini_prepare(&s->mini, MINI_TAKE, args);
        break;
    case 5:
        snprintf(args, sizeof args, "%s %s %d", from, to, timeout);
        mini_prepare(&s->mini, MINI_MOVE, args);
        break;
    default:
        s->counter = (int)(draw(&w->random) % 2);
        s->stage = 1;
        mini_prepare(&s->mini, MINI_WATCH, s->counter ? "n" : "m");
    }
    if (draw(&w->random) % 10 == 0)
        s->mini.entry = mini_long((enum mini_command)s->mini.entry->id);
}

static void run(struct storm_worker *w, struct storm_client *s)
{
    switch (mini_run(w->exec, &s->mini)) {
    case EXEC_DONE:
        hear(s);
        break;
    case EXEC_PARKED:
        s->state = PARKED;
        break;
    case EXEC_AWAY:
        s->state = AWAY;
        break;
    }
}

/* It waits: it may give up, or close; at the end all do. */
static bool give_up(struct storm_worker *w, struct storm_client *s, bool over)
{
    if (!mini_waits(&s->mini) || (!over && draw(&w->random) % 6))
        return false;
    enum wait_end why = draw(&w->random) % 3 ? WAIT_TIMEOUT : WAIT_CLOSE;
    if (!mini_end_wait(w->exec, &s->mini, why))
        return false; /* being served: the reply comes */
    if (why == WAIT_TIMEOUT)
        hear(s);
    else
        s->state = s->left ? IDLE : GONE;
    return true;
}

static bool step(struct storm_worker *w, struct storm_client *s, bool woken, bool over)
{
    switch (s->state) {
    case IDLE:
        if (draw(&w->random) % 4 == 0)
            return true;
        choose(w, s);
        run(w, s);
        return true;
    case PARKED:
        if (!woken)
            return false;
        run(w, s);
        return s->state != PARKED;
    case AWAY:
        if (mini_is_back(&s->mini)) {
            mini_collect(&s->mini);
            hear(s);
            return true;
        }
        return give_up(w, s, over);
    default:
        return false;
    }
}

/* True: every client of every worker has nothing to do or waits for a key. */
static bool only_waiting(struct storm_worker *w)
{
    for (int i = 0; i < CLIENTS; i++) {
        struct storm_client *s = &w->client[i];
        if (s->state != GONE && !(s->state == AWAY && mini_waits(&s->mini)))
            return false;
    }
    return true;
}

/* Everybody waits and nothing disturbs: whoever still does, has nothing to take. */
static void look_at_the_waiting(struct storm_worker *w)
{
    struct mini_client m;
    atomic_store(&storm.calm, true);
    while (!atomic_load(&storm.calmed))
        os_sleep_ns(100000);
    os_sleep_ns(20000000);
    mini_client_init(&m, 99);
    for (int i = 0; i < WORKERS; i++)
        for (int k = 0; k < CLIENTS; k++) {
            struct mini_client *who = &storm.worker[i].client[k].mini;
            char row[2] = {0};
            if (storm.worker[i].client[k].state != AWAY || !mini_waits(who))
                continue;
            row[0] = (char)who->argv[1].data[0];
            const char *reply = mini_do(w->exec, &m, MINI_GET, row);
            if (mini_waits(who) && strcmp(reply, "$-1\r\n") != 0)
                complain("somebody waits at a row that has elements", reply);
        }
    mini_client_fini(&m);
    atomic_store(&storm.over, true);
    for (int i = 0; i < WORKERS; i++)
        wake_worker(&storm.worker[i]);
}

static void worker_main(void *arg)
{
    struct storm_worker *w = arg;
    w->exec = exec_worker_new(shard, &(struct exec_worker_options){.name = "w", .wake = wake_worker, .arg = w});
    bool woken = false, busy = true, gone = false;
    while (!gone) {
        bool any = false, over = atomic_load(&storm.over);
        for (int i = 0; i < CLIENTS; i++)
            any |= step(w, &w->client[i], woken, over);
        exec_row_end(w->exec);
        epoch_poll();
        gone = true;
        for (int i = 0; i < CLIENTS; i++)
            gone &= w->client[i].state == GONE;
        if (busy && only_waiting(w)) {
            busy = false;
            if (atomic_fetch_sub(&storm.busy, 1) == 1)
                look_at_the_waiting(w);
            continue;
        }
        if (any || gone)
            continue;
        os_mutex_lock(&w->lock);
        if (!w->woken) /* also looks again by itself: clients that wait may change their minds */
            (void)os_cond_wait_for(&w->cond, &w->lock, 1000000);
        woken = w->woken;
        w->woken = false;
        os_mutex_unlock(&w->lock);
    }
    exec_worker_free(w->exec);
    atomic_fetch_sub(&storm.running, 1);
}

static void disturb_main(void *arg)
{
    uint64_t random = *(uint64_t *)arg;
    struct front *f = shard_front(shard);
    while (atomic_load(&storm.running) > 0 && !atomic_load(&storm.calm)) {
        uint64_t r = draw(&random);
        switch (r % 8) {
        case 0:
            fake_space(f, false);
            break;
        case 1:
            fake_chill(f, (unsigned)(r >> 8 & 1023));
            break;
        case 2:
            fake_gate_hold(f);
            break;
        case 3:
            shard_pause(shard, SHARD_PAUSE_WRITE, UINT64_MAX);
            break;
        default:
            fake_space(f, true);
            fake_gate_follow(f);
            shard_pause(shard, SHARD_PAUSE_OFF, 0);
        }
        os_sleep_ns(draw(&random) % 100000);
    }
    fake_space(f, true);
    fake_gate_follow(f);
    shard_pause(shard, SHARD_PAUSE_OFF, 0);
    atomic_store(&storm.calmed, true);
}

/* The rows that are left, and the counters. */
static void look_at_the_end(void)
{
    static const char *const rows[] = {"p", "q", "r"};
    struct mini_worker w;
    struct mini_client m;
    mini_worker_init(&w, shard, "end");
    mini_client_init(&m, 99);
    for (int i = 0; i < 3; i++) {
        const char *reply = mini_do(w.exec, &m, MINI_GET, rows[i]);
        long len = strtol(reply + 1, NULL, 10);
        const char *row = strchr(reply, '\n') + 1;
        for (long at = 0; at + MINI_ELEMENT <= len; at += MINI_ELEMENT) {
            char number[MINI_ELEMENT + 1] = {0};
            memcpy(number, row + at, MINI_ELEMENT);
            atomic_fetch_add(&storm.told[strtol(number, NULL, 10) % ELEMENTS], 1);
        }
    }
    for (int i = 0; i < 2; i++) {
        const char *reply = mini_do(w.exec, &m, MINI_GET, i ? "n" : "m");
        int value = reply[1] == '-' ? 0 : atoi(strchr(reply, '\n') + 1);
        if (value != atomic_load(&storm.added[i]))
            complain("a counter differs", reply);
    }
    for (int i = 0; i < atomic_load(&storm.pushed); i++)
        if (atomic_load(&storm.told[i]) != 1) {
            char text[64];
            snprintf(text, sizeof text, "element %d came up %d times", i, atomic_load(&storm.told[i]));
            complain("elements", text);
        }
    if (shard_blocked_clients(shard) != 0)
        complain("blocked", "somebody still is");
    mini_client_fini(&m);
    mini_worker_fini(&w);
}

static uint64_t the_seed;

static void storm_main(void *arg)
{
    struct env *e = arg;
    struct shard_options o = {.front = {.env = e}, .pool_threads = 3, .command_count = MINI_COUNT, .max_workers = 8};
    struct errmsg msg;
    struct os_thread disturber;
    memset(&storm, 0, sizeof storm);
    tap_require(shard_open(&o, &shard, &msg) == RES_OK);
    atomic_store(&storm.running, WORKERS);
    atomic_store(&storm.busy, WORKERS);
    for (int i = 0; i < WORKERS; i++) {
        struct storm_worker *w = &storm.worker[i];
        w->storm = &storm;
        w->index = i;
        w->random = hash_mix(the_seed * 64 + (uint64_t)i);
        os_mutex_init(&w->lock);
        os_cond_init(&w->cond);
        for (int k = 0; k < CLIENTS; k++) {
            mini_client_init(&w->client[k].mini, (uint64_t)(i * CLIENTS + k + 1));
            w->client[k].mini.owner = w;
            w->client[k].mini.on_completed = client_back;
            w->client[k].left = STEPS;
        }
    }
    for (int i = 0; i < WORKERS; i++)
        tap_require(os_thread_start(&storm.worker[i].thread, "w", worker_main, &storm.worker[i]) == RES_OK);
    uint64_t random = the_seed ^ 0x7777;
    tap_require(os_thread_start(&disturber, "disturb", disturb_main, &random) == RES_OK);
    for (int i = 0; i < WORKERS; i++)
        os_thread_join(&storm.worker[i].thread);
    os_thread_join(&disturber);
    look_at_the_end();
    for (int i = 0; i < WORKERS; i++) {
        for (int k = 0; k < CLIENTS; k++) {
            session_unwatch(shard, &storm.worker[i].client[k].mini.session);
            mini_client_fini(&storm.worker[i].client[k].mini);
        }
        os_cond_fini(&storm.worker[i].cond);
        os_mutex_fini(&storm.worker[i].lock);
    }
    if (shard_close(shard) != RES_OK)
        complain("close", "failed");
}

static bool storm_once(uint64_t seed)
{
    struct env *e = env_memory_new(seed, ENV_MEMORY_PLAIN);
    struct sched_report report;
    the_seed = seed;
    env_memory_follow(e, sched_now);
    sched_run(seed, 0, storm_main, e, &report);
    if (report.stuck || storm.wrong)
        tap_diag("seed %" PRIu64 ": %s", seed, report.stuck ? report.text : storm.why);
    bool ok = !report.stuck && !storm.wrong;
    if (report.stuck)
        exit(1);
    env_memory_free(e);
    return ok;
}

static void storms_keep_every_element_and_every_count(void)
{
    const char *only = getenv("VARVE_STORM_SEED");
    uint64_t first = only ? strtoull(only, NULL, 10) : 1, rounds = only ? 1 : tap_long() ? 20000 : 150;
    int pushed = 0, added = 0;
    for (uint64_t seed = first; seed < first + rounds; seed++) {
        if (!tap_check(storm_once(seed)))
            break;
        pushed += atomic_load(&storm.pushed);
        added += atomic_load(&storm.added[0]) + atomic_load(&storm.added[1]);
    }
    tap_diag("%d elements, %d transactions", pushed, added);
    tap_check(only || (pushed > 1000 && added > 500));
}

int main(void)
{
    tap_test(who_came_first_is_served_first);
    tap_test(replies_of_those_served_wait_for_their_own_batch);
    tap_test(what_a_waiter_does_serves_the_next);
    tap_test(who_gave_up_takes_nothing);
    tap_test(transactions_serve_when_all_is_done_and_wait_for_nothing);
    tap_test(cold_waiters_are_served_on_the_pool_in_their_order);
    tap_test(nobody_is_served_while_clients_are_paused);
    tap_test(exec_is_one_batch);
    tap_test(exec_without_log_space_keeps_its_queue);
    tap_test(cold_exec_is_prepared);
    tap_test(a_refused_log_refuses_the_whole);
    tap_test(watch_begins_at_what_is_visible);
    tap_test(watched_keys_that_expire_abort);
    tap_test(storms_keep_every_element_and_every_count);
    return tap_done();
}
