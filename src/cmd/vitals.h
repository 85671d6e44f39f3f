/* Vitals: what the process uses and how fast it goes, for INFO, MEMORY and the memory budget. */
#ifndef VARVE_CMD_VITALS_H
#define VARVE_CMD_VITALS_H

#include "base/heap.h"
#include "cmd/host.h"
#include "exec/shard.h"

#define VITALS_TICK_MS 100

/* Once, when the shard is open and before it serves: what is in use now counts as overhead. */
void vitals_start(struct shard *s);
/* Every VITALS_TICK_MS, by one thread: takes the samples that rates and peaks are made of. */
void vitals_tick(struct shard *s);

struct vitals_memory {
    struct heap_stats heap;
    uint64_t mapped;   /* memtables, log ring and cached blocks, which lie beside the heap */
    uint64_t used;     /* heap and mapped */
    uint64_t needed;   /* of used, as far as it is resident: without what the cache could do without,
                        * and what is being flushed since the budget was lowered */
    uint64_t peak;     /* of used */
    uint64_t startup;  /* used at vitals_start */
    uint64_t overhead; /* startup, client buffers, indexes and filters */
    uint64_t clients;  /* buffers of connections */
    uint64_t rss, system;
};
void vitals_memory(struct shard *s, struct vitals_memory *out); /* any thread */

/* Bytes needed above the budget; 0: none. Any thread. */
uint64_t vitals_over_budget(struct shard *s, uint64_t budget);

/* Per second, over the last 1.6 s. */
struct vitals_rates {
    double commands, input_bytes, output_bytes;
};
void vitals_rates(struct vitals_rates *out);

struct vitals_cpu {
    double user, system; /* seconds */
    double main_user, main_system;
};
void vitals_cpu(struct vitals_cpu *out);

/* Everything that is counted, as the last tick found it: to look at it takes no lock that commands or their threads take.
 * Rates and CPU times are those of now. */
struct vitals_figures {
    struct shard_stats exec;
    struct front_stats front;
    struct host_stats net;
    struct vitals_memory memory;
};
void vitals_figures(struct vitals_figures *out); /* any thread */

#endif
