/* WATCH: which sessions are to hear that a key was changed (EXECUTION, rule 26).
 *
 * One table of watched keys, under the latch. A commit looks its signals up in it and marks the sets it finds `dirty`;
 * EXEC looks at its session's set under the latch, so nothing lies between the test and its own commit. What a set is told
 * follows Redis:
 *   - a key that had expired when WATCH came, and is deleted for that: nothing has changed;
 *   - FLUSHDB and FLUSHALL change the keys that exist, and a key not touched exists if it did at WATCH;
 *   - SWAPDB changes keys that exist on either side: those of the other database are looked at by EXEC (`suspect`).
 * A set that is given up goes on a list without the latch and is cleared away by the next holder who comes here. */
#include <stdlib.h>

#include "exec/internal.h"

#define BUCKETS 1024

struct watch {
    struct watch *chain; /* of the bucket */
    struct watch *next;  /* of the set */
    struct watch_set *set;
    uint64_t hash;
    uint32_t db;
    _Atomic bool existed, expired, suspect; /* changed under the latch; read by EXEC, prepared */
    struct slice key;
    uint8_t bytes[];
};
struct watch_set {
    atomic_bool dirty;
    uint32_t count;
    struct watch *first;
    struct watch_set *next_dead;
};

enum result watches_init(struct shard *s)
{
    s->watches.buckets = calloc(BUCKETS, sizeof *s->watches.buckets);
    return s->watches.buckets ? RES_OK : RES_NO_MEMORY;
}

static struct watch **bucket(struct shard *s, uint64_t hash) { return &s->watches.buckets[hash % BUCKETS]; }

static void set_free(struct watch_set *set)
{
    struct watch *next;
    for (struct watch *w = set->first; w; w = next) {
        next = w->next;
        free(w);
    }
    free(set);
}

static void clear_dead(struct shard *s)
{
    struct watch_set *set = atomic_exchange(&s->watches.dead, NULL);
    while (set) {
        struct watch_set *next = set->next_dead;
        for (struct watch *w = set->first; w; w = w->next) {
            struct watch **at = bucket(s, w->hash);
            while (*at != w)
                at = &(*at)->chain;
            *at = w->chain;
            s->watches.count--;
        }
        set_free(set);
        set = next;
    }
}

void watches_fini(struct shard *s)
{
    if (s->watches.buckets)
        clear_dead(s);
    assert(s->watches.count == 0);
    free(s->watches.buckets);
}

/* ---- WATCH, UNWATCH ---- */

enum result call_watch(struct call *c, const struct watch_key *keys, size_t count)
{
    struct session *session = c->session;
    struct shard *s = c->shard;
    if (!(c->mode & CALL_LATCHED)) { /* only looked ahead: what it read is warm now */
        call_run(c)->needs_latch = true;
        return RES_OK;
    }
    clear_dead(s);
    struct watch_set *set = session->watched;
    if (!set && !(set = calloc(1, sizeof *set)))
        return RES_NO_MEMORY;
    enum result res = RES_OK;
    for (size_t i = 0; i < count && res == RES_OK; i++) {
        const struct watch_key *k = &keys[i];
        struct watch *w = set->first;
        while (w && !(w->hash == k->hash && w->db == k->db && slice_eq(w->key, k->key)))
            w = w->next;
        if (w)
            continue;
        if (!(w = calloc(1, sizeof *w + k->key.len))) {
            res = RES_NO_MEMORY;
            break;
        }
        w->set = set;
        w->hash = k->hash;
        w->db = k->db;
        atomic_init(&w->existed, k->exists);
        atomic_init(&w->expired, k->expired);
        if (k->key.len)
            memcpy(w->bytes, k->key.data, k->key.len);
        w->key = slice_of(w->bytes, k->key.len);
        w->next = set->first;
        set->first = w;
        w->chain = *bucket(s, w->hash);
        *bucket(s, w->hash) = w;
        s->watches.count++;
        set->count++;
    }
    if (set->count) /* also what came before the memory ran out: the next UNWATCH or EXEC takes it back */
        session->watched = set;
    else if (set != session->watched)
        free(set);
    return res;
}

void session_unwatch(struct shard *s, struct session *session)
{
    struct watch_set *set = session->watched;
    if (!set)
        return;
    session->watched = NULL;
    set->next_dead = atomic_load(&s->watches.dead);
    while (!atomic_compare_exchange_weak(&s->watches.dead, &set->next_dead, set))
        ;
}

bool session_watch_broken(const struct session *session)
{
    return session->watched && atomic_load(&session->watched->dirty);
}

/* ---- what EXEC looks at ---- */

enum result call_watched(struct call *c, watched_fn *each, void *arg)
{
    const struct watch_set *set = c->session->watched;
    if (!set)
        return RES_OK;
    call_run(c)->must_validate = true;
    for (const struct watch *w = set->first; w; w = w->next) {
        struct watch_key k = {
            .db = w->db,
            .key = w->key,
            .hash = w->hash,
            .exists = atomic_load(&w->suspect), /* here: it should not be there */
            .expired = atomic_load(&w->expired),
        };
        enum result r = each(c, arg, &k);
        if (r != RES_OK)
            return r;
    }
    return RES_OK;
}

/* ---- commits ---- */

static void one_key(struct watch *w, const struct overlay_signal *g)
{
    if (atomic_load(&w->expired) && (g->kind & (SIGNAL_EXPIRED | SIGNAL_DELETED)) == SIGNAL_EXPIRED) {
        atomic_store(&w->expired, false);
        return;
    }
    atomic_store(&w->set->dirty, true);
}

static void one_database(struct watch *w, bool flushed)
{
    if (atomic_load(&w->expired)) {
        atomic_store(&w->expired, false);
        atomic_store(&w->suspect, !flushed);
    } else if (atomic_load(&w->existed)) {
        atomic_store(&w->set->dirty, true);
    } else if (!flushed) {
        atomic_store(&w->suspect, true);
    }
}

void watch_signals(struct shard *s, const struct overlay *o)
{
    for (uint32_t i = 0; i < o->signal_count; i++) {
        const struct overlay_signal *g = &o->signals[i];
        if (g->kind & (SIGNAL_FLUSHED | SIGNAL_SWAPPED)) {
            for (size_t b = 0; b < BUCKETS; b++)
                for (struct watch *w = s->watches.buckets[b]; w; w = w->chain)
                    if (w->db == g->db)
                        one_database(w, g->kind & SIGNAL_FLUSHED);
        } else if (g->kind != SIGNAL_UNSEEN) {
            for (struct watch *w = *bucket(s, g->hash); w; w = w->chain)
                if (w->hash == g->hash && w->db == g->db && slice_eq(w->key, g->key))
                    one_key(w, g);
        }
    }
}
