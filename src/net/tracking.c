/* See tracking.h. */
#include "net/tracking.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/log.h"
#include "cmd/table.h"
#include "net/net_internal.h"
#include "os/env.h"

#define BUCKETS_FIRST (1 << 18) /* from the first client that tracks; enough for a million keys */
#define CHAIN 4
#define RECENT (1 << 16) /* a power of two */

/* A connection as others know it. Outlives it as long as the table names it. */
struct tracker {
    atomic_int refs;
    uint64_t id;
    struct reactor *reactor;
    struct connection *connection; /* of the reactor's thread; NULL: gone */
    /* Of the connection's own, written under the lock. */
    bool on, bcast, noloop, optin, optout;
    bool gone;          /* the connection has ended */
    bool broken;        /* who was to get the messages has */
    struct tracker *to; /* REDIRECT; counted. NULL: itself */
    uint64_t redirect;  /* its id */
    struct slice *prefixes;
    size_t prefix_count;
    TAILQ_ENTRY(tracker) all; /* that are on */
    /* The connection's alone. */
    bool said_caching; /* CLIENT CACHING holds for the next command */
    atomic_bool lost;  /* it is about to be closed: a message could not be sent */
    struct mail lost_mail;
};

struct entry {
    struct entry *chain;
    uint64_t hash;
    struct tracker **who; /* ordered by address; counted */
    uint32_t count, cap;
    size_t len;
    uint8_t key[];
};

struct tracking {
    struct os_mutex lock;
    struct shard *shard;
    struct hash_seed seed;
    struct entry **buckets;
    size_t bucket_count, entries, items, prefixes, clients, cursor;
    uint64_t limit;
    TAILQ_HEAD(, tracker) on;
    /* Sequences of the last change by hash, of the last flush, and of what may have gone by before anybody tracked. */
    uint64_t *recent;
    uint64_t all_floor, since;
};

/* ---- messages ---- */

enum news { NEWS_KEY, NEWS_ALL, NEWS_BROKEN };

struct text { /* an array of keys as it is said, shared by those who are told */
    atomic_int refs;
    size_t len;
    uint8_t bytes[];
};
struct letter {
    struct mail mail;
    enum news news;
    struct tracker *about, *to; /* counted; the same unless redirected */
    struct text *keys;
    uint64_t floor;
};

static void text_unref(struct text *t)
{
    if (t != NULL && atomic_fetch_sub(&t->refs, 1) == 1)
        free(t);
}

static bool starts_with(struct slice key, struct slice prefix)
{
    return prefix.len <= key.len && memcmp(prefix.data, key.data, prefix.len) == 0;
}

/* The next of a list of keys: each its length and its bytes. */
static bool next_key(struct slice *list, struct slice *key)
{
    size_t len;
    if (list->len < sizeof len)
        return false;
    memcpy(&len, list->data, sizeof len);
    *key = slice_of(list->data + sizeof len, len);
    *list = slice_of(key->data + len, list->len - sizeof len - len);
    return true;
}

static struct text *text_of(const struct buf *keys, size_t count)
{
    char head[32];
    size_t n = (size_t)snprintf(head, sizeof head, "*%zu\r\n", count);
    struct text *t = malloc(sizeof *t + n + keys->len);
    if (t == NULL)
        return NULL;
    atomic_init(&t->refs, 1);
    t->len = n + keys->len;
    memcpy(t->bytes, head, n);
    if (keys->len > 0)
        memcpy(t->bytes + n, keys->data, keys->len);
    return t;
}

static enum result say_key(struct buf *out, struct slice key)
{
    enum result r = buf_printf(out, "$%zu\r\n", key.len);
    if (r == RES_OK)
        r = buf_append(out, key.data, key.len);
    return r == RES_OK ? buf_append(out, "\r\n", 2) : r;
}

/* NULL: no memory. */
static struct text *text_new(struct slice key)
{
    struct buf said = BUF_INIT;
    struct text *t = say_key(&said, key) == RES_OK ? text_of(&said, 1) : NULL;
    buf_fini(&said);
    return t;
}

/* Those of a list that begin so. False: no memory; *out NULL: there are none. */
static bool text_matching(struct slice list, struct slice prefix, struct text **out)
{
    struct buf said = BUF_INIT;
    struct slice key;
    size_t count = 0;
    bool good = true;
    *out = NULL;
    while (good && next_key(&list, &key))
        if (starts_with(key, prefix)) {
            good = say_key(&said, key) == RES_OK;
            count++;
        }
    if (good && count > 0)
        good = (*out = text_of(&said, count)) != NULL;
    buf_fini(&said);
    return good;
}

struct tracker *tracker_ref(struct tracker *t)
{
    atomic_fetch_add(&t->refs, 1);
    return t;
}

void tracker_unref(struct tracker *t)
{
    if (t == NULL || atomic_fetch_sub(&t->refs, 1) != 1)
        return;
    tracker_unref(t->to);
    free(t->prefixes);
    free(t);
}

static enum result say_invalid(struct buf *out, const struct letter *l, bool resp3)
{
    enum result r = resp3 ? buf_printf(out, ">2\r\n$10\r\ninvalidate\r\n")
                          : buf_printf(out, "*3\r\n$7\r\nmessage\r\n$20\r\n__redis__:invalidate\r\n");
    if (r == RES_OK && l->news == NEWS_ALL)
        return buf_printf(out, resp3 ? "_\r\n" : "$-1\r\n");
    return r == RES_OK ? buf_append(out, l->keys->bytes, l->keys->len) : r;
}

static void post(struct tracker *about, struct tracker *to, enum news news, struct text *keys, uint64_t floor);

static void deliver(struct reactor *r, struct mail *m)
{
    struct letter *l = (struct letter *)m;
    struct connection *c = l->to->connection;
    struct buf bytes = BUF_INIT;
    bool redirected = l->to != l->about;
    enum result res = RES_OK;
    if (c == NULL || c->closed || c->closing) {
        if (redirected && l->news != NEWS_BROKEN)
            post(l->about, l->about, NEWS_BROKEN, NULL, 0);
        goto out;
    }
    if (l->news == NEWS_BROKEN) {
        os_mutex_lock(&r->net->tracking->lock);
        unsigned long long redirect = l->about->redirect;
        l->about->broken = l->about->on;
        os_mutex_unlock(&r->net->tracking->lock);
        if (c->said_resp == 3)
            res = buf_printf(&bytes, ">2\r\n$21\r\ntracking-redir-broken\r\n:%llu\r\n", redirect);
    } else if (c->said_resp == 3 || (redirected && subscriber_total(c->session.subscriber) > 0)) {
        res = say_invalid(&bytes, l, c->said_resp == 3);
    }
    if (res != RES_OK) {
        log_warning("client %s closed: no memory for a message", c->peer);
        connection_close(c);
    } else {
        connection_tell(c, buf_slice(&bytes), l->floor, redirected ? 0 : l->floor);
    }
out:
    buf_fini(&bytes);
    tracker_unref(l->about);
    tracker_unref(l->to);
    text_unref(l->keys);
    free(l);
}

/* There was no memory for a message: the client would keep what is wrong, so it is cut off. */
static void cut_off(struct reactor *r, struct mail *m)
{
    struct tracker *t = (struct tracker *)((char *)m - offsetof(struct tracker, lost_mail));
    (void)r;
    if (t->connection != NULL) {
        log_warning("client %s closed: no memory to tell it what has changed", t->connection->peer);
        connection_close(t->connection);
    }
    tracker_unref(t);
}

static void lose(struct tracker *t)
{
    if (atomic_exchange(&t->lost, true))
        return;
    t->lost_mail.deliver = cut_off;
    tracker_ref(t);
    reactor_post(t->reactor, &t->lost_mail);
}

static void post(struct tracker *about, struct tracker *to, enum news news, struct text *keys, uint64_t floor)
{
    struct letter *l = malloc(sizeof *l);
    if (l == NULL) {
        lose(about);
        return;
    }
    *l = (struct letter){.mail = {.deliver = deliver},
                         .news = news,
                         .about = tracker_ref(about),
                         .to = tracker_ref(to),
                         .keys = keys,
                         .floor = floor};
    if (keys != NULL)
        atomic_fetch_add(&keys->refs, 1);
    reactor_post(to->reactor, &l->mail);
}

/* ---- the table, under the lock ---- */

static struct entry **find(struct tracking *t, struct slice key, uint64_t hash)
{
    struct entry **at = &t->buckets[hash & (t->bucket_count - 1)];
    while (*at != NULL && !((*at)->hash == hash && slice_eq(slice_of((*at)->key, (*at)->len), key)))
        at = &(*at)->chain;
    return at;
}

static void grow(struct tracking *t)
{
    size_t count = t->bucket_count * 2;
    struct entry **buckets = calloc(count, sizeof *buckets);
    if (buckets == NULL)
        return; /* longer chains, then */
    for (size_t i = 0; i < t->bucket_count; i++)
        for (struct entry *e = t->buckets[i], *next; e != NULL; e = next) {
            next = e->chain;
            e->chain = buckets[e->hash & (count - 1)];
            buckets[e->hash & (count - 1)] = e;
        }
    free(t->buckets);
    t->buckets = buckets;
    t->bucket_count = count;
}

/* Takes an entry out and tells those it names, if they want to hear of it. */
static void drop(struct tracking *t, struct entry **at, struct text *text, uint64_t floor, uint64_t origin, bool tell)
{
    struct entry *e = *at;
    *at = e->chain;
    for (uint32_t i = 0; i < e->count; i++) {
        struct tracker *who = e->who[i];
        if (tell && who->on && !who->bcast && !(who->noloop && who->id == origin)) {
            if (text == NULL)
                lose(who);
            else
                post(who, who->to ? who->to : who, NEWS_KEY, text, floor);
        }
        tracker_unref(who);
    }
    t->entries--;
    t->items -= e->count;
    free(e->who);
    free(e);
}

/* What the table had, to be freed without the lock: it may be long. */
struct remains {
    struct entry **buckets;
    size_t count;
};

static struct remains take_all(struct tracking *t)
{
    struct remains old = {t->buckets, t->bucket_count};
    struct entry **fresh = t->entries ? calloc(BUCKETS_FIRST, sizeof *fresh) : NULL;
    if (fresh == NULL) {
        for (size_t i = 0; t->entries && i < t->bucket_count; i++)
            while (t->buckets[i] != NULL)
                drop(t, &t->buckets[i], NULL, 0, 0, false);
        return (struct remains){NULL, 0};
    }
    t->buckets = fresh;
    t->bucket_count = BUCKETS_FIRST;
    t->entries = t->items = 0;
    return old;
}

static void free_remains(struct remains old)
{
    for (size_t i = 0; i < old.count; i++)
        for (struct entry *e = old.buckets[i], *next; e != NULL; e = next) {
            next = e->chain;
            for (uint32_t k = 0; k < e->count; k++)
                tracker_unref(e->who[k]);
            free(e->who);
            free(e);
        }
    free(old.buckets);
}

/* Room for this many more: what is forgotten is told, as if it had changed. */
static void make_room(struct tracking *t, uint64_t more)
{
    while (t->limit > 0 && t->entries > 0 && t->entries + more > t->limit) {
        struct entry **at = &t->buckets[t->cursor++ & (t->bucket_count - 1)];
        if (*at == NULL)
            continue;
        struct text *text = text_new(slice_of((*at)->key, (*at)->len));
        drop(t, at, text, 0, 0, true);
        text_unref(text);
    }
}

static bool name_in(struct entry *e, struct tracker *who)
{
    uint32_t low = 0, high = e->count;
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        if ((uintptr_t)e->who[mid] < (uintptr_t)who)
            low = mid + 1;
        else
            high = mid;
    }
    if (low < e->count && e->who[low] == who)
        return true;
    if (e->count == e->cap) {
        uint32_t cap = e->cap ? e->cap * 2 : 1;
        struct tracker **more = realloc(e->who, cap * sizeof(*more));
        if (more == NULL)
            return false;
        e->who = more;
        e->cap = cap;
    }
    memmove(e->who + low + 1, e->who + low, (e->count - low) * sizeof(*e->who));
    e->who[low] = tracker_ref(who);
    e->count++;
    return true;
}

/* False: no memory. */
static bool remember(struct tracking *t, struct tracker *who, struct slice key, uint64_t hash)
{
    struct entry **at = find(t, key, hash);
    if (*at == NULL) {
        make_room(t, 1);
        if (t->entries >= CHAIN * t->bucket_count)
            grow(t);
        struct entry *e = malloc(sizeof *e + key.len);
        if (e == NULL)
            return false;
        at = &t->buckets[hash & (t->bucket_count - 1)];
        *e = (struct entry){.chain = *at, .hash = hash, .len = key.len};
        memcpy(e->key, key.data, key.len);
        *at = e;
        t->entries++;
    }
    uint32_t before = (*at)->count;
    bool there = name_in(*at, who);
    t->items += (*at)->count - before;
    if (!there && before == 0)
        drop(t, at, NULL, 0, 0, false);
    return there;
}

/* ---- changes ---- */

static void key_changed(struct tracking *t, struct slice key, const struct shard_effect *e)
{
    uint64_t hash = hash_siphash(&t->seed, key.data, key.len);
    struct entry **at = find(t, key, hash);
    if (e->floor > t->recent[hash & (RECENT - 1)])
        t->recent[hash & (RECENT - 1)] = e->floor;
    if (*at == NULL)
        return;
    struct text *text = text_new(key);
    drop(t, at, text, e->floor, e->origin, true);
    text_unref(text);
}

/* One message for each prefix; the same for the next who asked for the same. */
static void broadcast(struct tracking *t, const struct shard_effect *e)
{
    static const struct slice every = {(const uint8_t *)"", 0};
    struct slice last = {NULL, 0};
    struct text *text = NULL;
    struct tracker *who;
    TAILQ_FOREACH(who, &t->on, all)
    {
        if (!who->bcast || (who->noloop && who->id == e->origin))
            continue;
        for (size_t i = 0; i < (who->prefix_count ? who->prefix_count : 1); i++) {
            struct slice prefix = who->prefix_count ? who->prefixes[i] : every;
            if (last.data == NULL || !slice_eq(prefix, last)) {
                text_unref(text);
                last = prefix;
                if (!text_matching(e->message, prefix, &text)) {
                    lose(who);
                    last.data = NULL;
                }
            }
            if (text != NULL)
                post(who, who->to ? who->to : who, NEWS_KEY, text, e->floor);
        }
    }
    text_unref(text);
}

void tracking_effect(struct tracking *t, const struct shard_effect *e)
{
    struct remains old = {NULL, 0};
    os_mutex_lock(&t->lock);
    if (t->recent == NULL || t->buckets == NULL) { /* nobody has ever tracked anything */
    } else if (e->event_class == SHARD_TRACKED) {
        struct slice list = e->message, key;
        while (next_key(&list, &key))
            key_changed(t, key, e);
        broadcast(t, e);
    } else {
        struct tracker *who;
        t->all_floor = e->floor;
        old = take_all(t);
        TAILQ_FOREACH(who, &t->on, all)
        post(who, who->to ? who->to : who, NEWS_ALL, NULL, e->floor);
    }
    os_mutex_unlock(&t->lock);
    free_remains(old);
}

/* ---- reading ---- */

struct reader {
    struct connection *c;
    uint64_t snapshot; /* it will read there, or above */
    bool failed;
};

static void before_key(void *arg, struct slice key, uint16_t flags)
{
    struct reader *r = arg;
    struct tracking *t = r->c->reactor->net->tracking;
    struct tracker *who = r->c->tracker;
    (void)flags;
    uint64_t hash = hash_siphash(&t->seed, key.data, key.len);
    os_mutex_lock(&t->lock);
    r->failed |= !remember(t, who, key, hash);
    uint64_t changed = t->recent[hash & (RECENT - 1)];
    if (t->all_floor > changed)
        changed = t->all_floor;
    if (t->since > changed)
        changed = t->since;
    if (changed > r->snapshot) {
        struct text *text = text_new(key);
        if (text == NULL)
            r->failed = true;
        else
            post(who, who->to ? who->to : who, NEWS_KEY, text, changed);
        text_unref(text);
    }
    os_mutex_unlock(&t->lock);
}

static void before_command(void *arg, const struct command_entry *entry, int argc, const struct slice *argv)
{
    if (entry->command->flags & CMD_READONLY)
        (void)command_keys(entry, argc, argv, before_key, arg);
}

void tracking_before(struct connection *c, const struct request *q)
{
    const struct tracker *who = c->tracker;
    if (!who->on || who->bcast || (who->optin && !who->said_caching) || (who->optout && who->said_caching))
        return;
    uint64_t gate = shard_gate(c->reactor->shard);
    struct reader r = {.c = c, .snapshot = gate > c->session.floor ? gate : c->session.floor};
    if (!(c->session.state & SESSION_MULTI))
        before_command(&r, q->entry, q->argc, q->argv);
    else if (strcmp(q->entry->full_name, "exec") == 0)
        session_multi_each(&c->session, before_command, &r);
    if (r.failed) {
        log_warning("client %s closed: no memory to remember what it has read", c->peer);
        connection_close(c);
    }
}

/* CLIENT CACHING holds for one command, or for one transaction. */
void tracking_after(struct connection *c, const struct request *q)
{
    struct tracker *who = c->tracker;
    if (who->said_caching && q->entry != NULL && !(c->session.state & SESSION_MULTI) &&
        strncmp(q->entry->full_name, "client", 6) != 0)
        who->said_caching = false;
}

/* ---- options ---- */

struct tracker *tracker_of(struct connection *c)
{
    if (c->tracker == NULL && (c->tracker = calloc(1, sizeof *c->tracker)) != NULL) {
        atomic_init(&c->tracker->refs, 1);
        c->tracker->id = c->session.id;
        c->tracker->reactor = c->reactor;
        c->tracker->connection = c;
    }
    return c->tracker;
}

/* Under the lock. Returns what is to be freed without it. */
static struct remains switch_off(struct tracking *t, struct tracker *who)
{
    if (!who->on)
        return (struct remains){NULL, 0};
    TAILQ_REMOVE(&t->on, who, all);
    t->clients--;
    t->prefixes -= who->prefix_count;
    tracker_unref(who->to);
    free(who->prefixes);
    who->to = NULL;
    who->prefixes = NULL;
    who->prefix_count = 0;
    who->redirect = 0;
    who->on = who->bcast = who->noloop = who->optin = who->optout = who->said_caching = who->broken = false;
    if (t->clients > 0)
        return (struct remains){NULL, 0};
    shard_set_tracking(t->shard, false);
    return take_all(t);
}

void tracking_stop(struct connection *c)
{
    struct tracking *t = c->reactor->net->tracking;
    if (c->tracker == NULL)
        return;
    os_mutex_lock(&t->lock);
    struct remains old = switch_off(t, c->tracker);
    os_mutex_unlock(&t->lock);
    free_remains(old);
}

void tracking_gone(struct connection *c)
{
    if (c->tracker == NULL)
        return;
    struct tracking *t = c->reactor->net->tracking;
    os_mutex_lock(&t->lock);
    c->tracker->gone = true;
    os_mutex_unlock(&t->lock);
    tracking_stop(c);
    c->tracker->connection = NULL;
    tracker_unref(c->tracker);
    c->tracker = NULL;
}

static bool overlap(struct slice a, struct slice b)
{
    return memcmp(a.data, b.data, a.len < b.len ? a.len : b.len) == 0;
}

/* The prefixes so far and more of them, none of which may begin like another. False: replied. */
static bool add_prefixes(struct tracking *t, struct tracker *who, const struct client_tracking *want,
                         struct sink *reply)
{
    static const char rule[] = "Prefixes for a single client must not overlap.";
    size_t bytes = 0, count = who->prefix_count + want->prefix_count;
    for (size_t i = 0; i < want->prefix_count; i++) {
        struct slice p = want->prefixes[i];
        for (size_t k = 0; k < who->prefix_count; k++)
            if (overlap(p, who->prefixes[k])) {
                reply_error(reply, "ERR Prefix '%.*s' overlaps with an existing prefix '%.*s'. %s", (int)p.len,
                            (const char *)p.data, (int)who->prefixes[k].len, (const char *)who->prefixes[k].data, rule);
                return false;
            }
        for (size_t k = i + 1; k < want->prefix_count; k++)
            if (overlap(p, want->prefixes[k])) {
                reply_error(reply, "ERR Prefix '%.*s' overlaps with another provided prefix '%.*s'. %s", (int)p.len,
                            (const char *)p.data, (int)want->prefixes[k].len, (const char *)want->prefixes[k].data,
                            rule);
                return false;
            }
    }
    if (want->prefix_count == 0)
        return true;
    for (size_t i = 0; i < count; i++)
        bytes += i < who->prefix_count ? who->prefixes[i].len : want->prefixes[i - who->prefix_count].len;
    struct slice *all = malloc(count * sizeof *all + bytes);
    if (all == NULL) {
        reply_error(reply, "ERR out of memory");
        return false;
    }
    uint8_t *at = (uint8_t *)(all + count);
    for (size_t i = 0; i < count; i++) {
        struct slice p = i < who->prefix_count ? who->prefixes[i] : want->prefixes[i - who->prefix_count];
        memcpy(at, p.data, p.len);
        all[i] = slice_of(at, p.len);
        at += p.len;
    }
    free(who->prefixes);
    who->prefixes = all;
    t->prefixes += want->prefix_count;
    who->prefix_count = count;
    return true;
}

/* The first client that tracks: from now on commits tell what they change. Those before may not be read yet. */
static bool begin(struct tracking *t)
{
    if (t->recent == NULL && (t->recent = calloc(RECENT, sizeof *t->recent)) == NULL)
        return false;
    if (t->buckets == NULL && (t->buckets = calloc(BUCKETS_FIRST, sizeof(*t->buckets))) == NULL)
        return false;
    if (t->bucket_count == 0)
        t->bucket_count = BUCKETS_FIRST;
    if (t->clients == 0)
        t->since = shard_set_tracking(t->shard, true);
    return true;
}

static bool switch_on(struct tracking *t, struct tracker *who, const struct client_tracking *want, struct tracker *to,
                      struct sink *reply)
{
    const char *cannot = NULL;
    if (who->on && who->bcast != want->bcast)
        cannot =
            "You can't switch BCAST mode on/off before disabling tracking for this client, and then re-enabling it "
            "with a different mode.";
    else if ((want->optin && who->optout) || (want->optout && who->optin))
        cannot =
            "You can't switch OPTIN/OPTOUT mode before disabling tracking for this client, and then re-enabling it "
            "with a different mode.";
    if (cannot != NULL) {
        reply_error(reply, "ERR %s", cannot);
        return false;
    }
    if (who->gone || !begin(t)) {
        reply_error(reply, "ERR out of memory");
        return false;
    }
    if (!who->on) {
        who->on = true;
        t->clients++;
        TAILQ_INSERT_TAIL(&t->on, who, all);
    }
    who->bcast = want->bcast;
    if (!add_prefixes(t, who, want, reply))
        return false;
    who->optin = want->optin;
    who->optout = want->optout;
    who->noloop = want->noloop;
    who->said_caching = who->broken = false;
    tracker_unref(who->to);
    who->to = to ? tracker_ref(to) : NULL;
    who->redirect = want->redirect;
    return true;
}

void tracking_set(struct tracking *t, struct tracker *who, const struct client_tracking *want, struct tracker *to,
                  struct sink *reply)
{
    bool done = true;
    os_mutex_lock(&t->lock);
    bool was_on = who->on;
    struct remains old = {NULL, 0};
    if (!want->on)
        old = switch_off(t, who);
    else if (!(done = switch_on(t, who, want, to == who ? NULL : to, reply)) && !was_on)
        old = switch_off(t, who);
    os_mutex_unlock(&t->lock);
    free_remains(old);
    if (done)
        reply_ok(reply);
}

size_t tracking_flags(const struct connection *c, char out[3], int64_t *redirect)
{
    struct tracking *t = c->reactor->net->tracking;
    const struct tracker *who = c->tracker;
    size_t n = 0;
    *redirect = -1;
    if (who == NULL)
        return 0;
    os_mutex_lock(&t->lock);
    if (who->on) {
        out[n++] = 't';
        if (who->broken)
            out[n++] = 'R';
        if (who->bcast)
            out[n++] = 'B';
        *redirect = (int64_t)who->redirect;
    }
    os_mutex_unlock(&t->lock);
    return n;
}

/* ---- commands ---- */

static struct tracker *of_call(struct call *call)
{
    struct session *s = call->session;
    return s->ops == &connection_session_ops ? ((struct connection *)s->connection)->tracker : NULL;
}

void net_client_untrack(struct call *call)
{
    if (of_call(call) != NULL)
        tracking_stop(call->session->connection);
}

void net_client_caching(struct call *call, struct slice yes_or_no)
{
    bool yes = slice_eq_nocase(yes_or_no, "yes");
    struct tracker *who = of_call(call);
    if (who == NULL || !who->on) {
        reply_error(call->reply,
                    "ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or "
                    "OPTOUT mode enabled");
        return;
    }
    if (!yes && !slice_eq_nocase(yes_or_no, "no")) {
        reply_error(call->reply, "ERR syntax error");
        return;
    }
    if (yes ? !who->optin : !who->optout) {
        reply_error(call->reply, yes ? "ERR CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode."
                                     : "ERR CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode.");
        return;
    }
    who->said_caching = true;
    reply_ok(call->reply);
}

void net_client_tracking_info(struct call *call, bool redirect_only)
{
    const struct tracker *who = of_call(call);
    bool on = who != NULL && who->on;
    int64_t redirect = on ? (int64_t)who->redirect : -1;
    if (redirect_only) {
        reply_integer(call->reply, redirect);
        return;
    }
    const char *flags[8];
    size_t n = 0;
    flags[n++] = on ? "on" : "off";
    if (on && who->bcast)
        flags[n++] = "bcast";
    if (on && who->optin) {
        flags[n++] = "optin";
        if (who->said_caching)
            flags[n++] = "caching-yes";
    }
    if (on && who->optout) {
        flags[n++] = "optout";
        if (who->said_caching)
            flags[n++] = "caching-no";
    }
    if (on && who->noloop)
        flags[n++] = "noloop";
    if (on && who->broken)
        flags[n++] = "broken_redirect";
    reply_map(call->reply, 3);
    reply_bulk_str(call->reply, "flags");
    call->reply->ops->set(call->reply, n);
    for (size_t i = 0; i < n; i++)
        reply_bulk_str(call->reply, flags[i]);
    reply_bulk_str(call->reply, "redirect");
    reply_integer(call->reply, redirect);
    reply_bulk_str(call->reply, "prefixes");
    size_t prefixes = on ? who->prefix_count : 0;
    reply_array(call->reply, prefixes == 0 && on && who->bcast ? 1 : prefixes);
    if (prefixes == 0 && on && who->bcast)
        reply_bulk_str(call->reply, ""); /* all keys */
    for (size_t i = 0; i < prefixes; i++)
        reply_bulk(call->reply, who->prefixes[i]);
}

/* ---- life ---- */

enum result tracking_open(struct tracking **out)
{
    struct tracking *t = calloc(1, sizeof *t);
    *out = NULL;
    if (t == NULL)
        return RES_NO_MEMORY;
    os_mutex_init(&t->lock);
    env_posix()->ops->random(env_posix(), &t->seed, sizeof t->seed);
    TAILQ_INIT(&t->on);
    *out = t;
    return RES_OK;
}

void tracking_close(struct tracking *t)
{
    if (t == NULL)
        return;
    os_mutex_fini(&t->lock);
    free_remains((struct remains){t->buckets, t->bucket_count});
    free(t->recent);
    free(t);
}

void tracking_serve(struct tracking *t, struct shard *shard) { t->shard = shard; }

void tracking_limit(struct tracking *t, uint64_t keys)
{
    os_mutex_lock(&t->lock);
    t->limit = keys;
    make_room(t, 0);
    os_mutex_unlock(&t->lock);
}

void tracking_stats(struct tracking *t, struct host_stats *out)
{
    os_mutex_lock(&t->lock);
    out->tracking_clients = t->clients;
    out->tracking_keys = t->entries;
    out->tracking_items = t->items;
    out->tracking_prefixes = t->prefixes;
    os_mutex_unlock(&t->lock);
}
