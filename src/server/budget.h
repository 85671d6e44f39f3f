/* The memory budget, `maxmemory`: what the process takes is held to it by giving the cache of blocks what everything else
 * leaves. */
#ifndef VARVE_SERVER_BUDGET_H
#define VARVE_SERVER_BUDGET_H

#include "conf/settings.h"
#include "exec/shard.h"

/* Less than this a server without data takes already; it is warned of. */
#define BUDGET_LEAST ((int64_t)32 << 20)

/* Before anything large is allocated. */
void budget_start(const struct settings *set);
/* New settings are in force. Any thread. */
void budget_settings(struct shard *s, const struct settings *now);
/* Bytes that are needed above the budget; 0: none, or the budget has been lowered a moment ago and memory is on its way
 * back. Any thread. */
uint64_t budget_over(struct shard *s, const struct settings *now);
/* Every VITALS_TICK_MS, after vitals_tick(), by the same thread. */
void budget_balance(struct shard *s);

#endif
