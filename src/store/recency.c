/* When keys were last used, roughly: a table of cells by key hash, each with the second in which one of its keys was last
 * used. Nothing is stored per key and nothing on disk. A key's idle time is therefore never overstated; it is
 * understated when another key of the same cell was used since.
 *
 * Beside it a small table of what was said of keys (RESTORE with IDLETIME). A note holds until a key of its cell is used: for
 * that its cell goes back to the second before, which is all that another key may be overstated by. Notes are written under
 * the latch, one after the other, and read at any time: the hash is taken away first and comes last. */
#include <stdlib.h>

#include "store/store_priv.h"

#define IDLE_NOTES 4096

struct idle_note {
    _Atomic uint64_t hash;  /* 0: none */
    _Atomic uint64_t value; /* the second it was made in << 32 | seconds the key was idle then */
};

enum result recency_open(struct store *s)
{
    s->last_use = calloc(RECENCY_CELLS, sizeof *s->last_use);
    s->idle_notes = calloc(IDLE_NOTES, sizeof *s->idle_notes);
    if (!s->last_use || !s->idle_notes)
        return RES_NO_MEMORY;
    uint32_t now = (uint32_t)(shard_now_ms(s->shard) / 1000);
    for (size_t i = 0; i < RECENCY_CELLS; i++)
        atomic_store_explicit(&s->last_use[i], now, memory_order_relaxed);
    return RES_OK;
}

void recency_close(struct store *s)
{
    free(s->last_use);
    free(s->idle_notes);
}

/* What was said of this key, if it holds. */
static bool noted(const struct store *s, const struct store_key *key, uint32_t last, uint32_t now, uint64_t *idle)
{
    struct idle_note *n = &s->idle_notes[key->hash % IDLE_NOTES];
    if (!key->hash || atomic_load(&n->hash) != key->hash)
        return false;
    uint64_t value = atomic_load(&n->value);
    uint32_t made = (uint32_t)(value >> 32);
    if (atomic_load(&n->hash) != key->hash || last >= made || now < made)
        return false;
    *idle = (uint32_t)value + (uint64_t)(now - made);
    return true;
}

uint64_t store_idle_seconds(const struct call *c, const struct store_key *key)
{
    const struct store *s = store_of(c);
    uint32_t last = atomic_load_explicit(recency_cell(s, key), memory_order_relaxed);
    uint32_t now = (uint32_t)(c->now_ms / 1000);
    uint64_t idle;
    if (noted(s, key, last, now, &idle))
        return idle;
    return now > last ? now - last : 0;
}

struct idle_claim {
    struct store *store;
    uint64_t hash;
    uint32_t now, seconds;
};

static void write_note(struct call *c, void *arg, uint64_t sequence)
{
    const struct idle_claim *k = arg;
    struct idle_note *n = &k->store->idle_notes[k->hash % IDLE_NOTES];
    (void)c;
    (void)sequence;
    atomic_store(&n->hash, 0);
    atomic_store(&n->value, (uint64_t)k->now << 32 | k->seconds);
    atomic_store(&n->hash, k->hash);
    atomic_store_explicit(&k->store->last_use[k->hash % RECENCY_CELLS], k->now - 1, memory_order_relaxed);
}

enum result store_set_idle(struct call *c, const struct store_key *key, uint64_t seconds)
{
    struct idle_claim *k = arena_alloc(c->arena, sizeof *k);
    if (!k)
        return RES_NO_MEMORY;
    *k = (struct idle_claim){store_of(c), key->hash, (uint32_t)(c->now_ms / 1000),
                             seconds < INT32_MAX ? (uint32_t)seconds : INT32_MAX};
    return call_on_commit(c, write_note, k);
}
