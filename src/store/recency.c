/* When keys were last used, roughly: a table of cells by key hash, each with the second in which one of its keys was last
 * used. Nothing is stored per key and nothing on disk. A key's idle time is therefore never overstated; it is
 * understated when another key of the same cell was used since. */
#include <stdlib.h>

#include "store/store_priv.h"

enum result recency_open(struct store *s)
{
    s->last_use = calloc(RECENCY_CELLS, sizeof *s->last_use);
    if (!s->last_use)
        return RES_NO_MEMORY;
    uint32_t now = (uint32_t)(shard_now_ms(s->shard) / 1000);
    for (size_t i = 0; i < RECENCY_CELLS; i++)
        atomic_store_explicit(&s->last_use[i], now, memory_order_relaxed);
    return RES_OK;
}

void recency_close(struct store *s) { free(s->last_use); }

uint64_t store_idle_seconds(const struct call *c, const struct store_key *key)
{
    uint32_t last = atomic_load_explicit(recency_cell(store_of(c), key), memory_order_relaxed);
    uint32_t now = (uint32_t)(c->now_ms / 1000);
    return now > last ? now - last : 0;
}
