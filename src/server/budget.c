/* Everything is counted by the figure that the operating system, and who pays for the machine, goes by: resident memory.
 * Estimates of who takes how much would leave out what allocators, threads and libraries take, and with a small budget
 * that is most of it. So: ten times a second the cache's capacity is set to what it holds, less what the process is above
 * its budget; or a little more again when there is room, up to `cache-size`. All else has bounds of its own that follow
 * the budget: memtables, the log's buffer, clients' buffers (net.h). When these together need more than the budget, with a
 * cache that is empty, commands that use memory are refused (vitals_over_budget).
 *
 * LMDB's pages are files' and come and go with the kernel's need: its engine is left alone, and so is `file`, which has no
 * cache. */
#include "server/budget.h"

#include <stdatomic.h>

#include "base/epoch.h"
#include "base/heap.h"
#include "base/log.h"
#include "cmd/vitals.h"
#include "front/front.h"
#include "os/env.h"
#include "os/thread.h"

#define FRUGAL_BUDGET (256 << 20)
#define CACHE_LEAST ((uint64_t)1 << 20)
#define LOWERED_NS 30000000000u        /* so long at most memtables and blocks may be on their way out, */
#define SETTLED_NS 2000000000u         /* and so long at least before it is believed that all have gone */
#define SLACK_SHARE 32                 /* of the budget that is left free, for what comes between two looks */
#define SLACK_LEAST ((int64_t)4 << 20) /* some large requests and replies */
#define ROOM_SHARE 16                  /* and so much more before the cache may grow */

static struct os_mutex lock; /* leaf but for the cache's; of what follows */
static uint64_t given;       /* the cache's capacity now */
static int64_t budget, most; /* maxmemory and cache-size of the latest settings */
static uint64_t lowered_at;  /* when the budget became less */

static void warn(const struct settings *set)
{
    if (set->maxmemory < BUDGET_LEAST)
        log_warning("maxmemory is %.1f MB: below %d MB the memory that a server needs without any data exceeds it",
                    (double)set->maxmemory / (1 << 20), (int)(BUDGET_LEAST >> 20));
}

void budget_start(const struct settings *set)
{
    os_mutex_init(&lock);
    given = (uint64_t)set->cache_size;
    budget = set->maxmemory;
    most = set->cache_size;
    heap_be_frugal(set->maxmemory <= FRUGAL_BUDGET);
    warn(set);
}

static bool balanced(const struct settings *set)
{
    return set->engine == SETTING_ENGINE_LSM || set->engine == SETTING_ENGINE_MEMORY;
}

/* What the cache may have. */
static uint64_t share(const struct settings *set, const struct vitals_figures *now)
{
    int64_t slack = set->maxmemory / SLACK_SHARE < SLACK_LEAST ? SLACK_LEAST : set->maxmemory / SLACK_SHARE;
    uint64_t bytes = (uint64_t)set->maxmemory,
             ceiling = set->maxmemory > slack ? (uint64_t)(set->maxmemory - slack) : 0;
    uint64_t rss = now->memory.rss, next = given;
    uint64_t held = now->front.engine.cache_bytes, least = now->front.engine.cache_fixed + CACHE_LEAST;
    if (rss > ceiling) {
        uint64_t base = held < given ? held : given, over = rss - ceiling;
        next = base > over ? base - over : 0;
    } else if (ceiling - rss > bytes / ROOM_SHARE && held > given / 8 * 7) {
        next = given + (ceiling - rss - bytes / ROOM_SHARE) / 4;
    }
    next = next < least ? least : next;
    return next < (uint64_t)set->cache_size ? next : (uint64_t)set->cache_size;
}

static void give(struct shard *s, uint64_t bytes) REQUIRES(lock)
{
    given = bytes;
    front_set_cache_bytes(shard_front(s), bytes);
}

void budget_settings(struct shard *s, const struct settings *now)
{
    heap_be_frugal(now->maxmemory <= FRUGAL_BUDGET);
    front_set_memtable_bytes(shard_front(s), (uint64_t)now->memtable_size);
    os_mutex_lock(&lock);
    if (budget != now->maxmemory)
        warn(now);
    if (now->maxmemory < budget)
        lowered_at = env_posix()->ops->mono_ns(env_posix());
    budget = now->maxmemory;
    if (most != now->cache_size)
        give(s, (uint64_t)now->cache_size);
    most = now->cache_size;
    os_mutex_unlock(&lock);
}

uint64_t budget_over(struct shard *s, const struct settings *now)
{
    uint64_t over = vitals_over_budget(s, (uint64_t)now->maxmemory);
    os_mutex_lock(&lock);
    uint64_t age = env_posix()->ops->mono_ns(env_posix()) - lowered_at;
    bool lately = lowered_at != 0 && age < LOWERED_NS;
    if (!lately || (over == 0 && age > SETTLED_NS))
        lowered_at = 0;
    os_mutex_unlock(&lock);
    return lately && now->maxmemory >= BUDGET_LEAST ? 0 : over;
}

void budget_balance(struct shard *s)
{
    const struct settings *set = settings_hold();
    struct vitals_figures now;
    vitals_figures(&now);
    uint64_t bytes = (uint64_t)set->maxmemory;
    const struct heap_stats *heap = &now.memory.heap;
    if (now.memory.rss > bytes && heap->resident > heap->active + bytes / 64)
        heap_purge();
    os_mutex_lock(&lock);
    uint64_t next = balanced(set) ? share(set, &now) : given;
    if (next != given)
        give(s, next);
    os_mutex_unlock(&lock);
    settings_release(set);
    epoch_poll(); /* blocks that have gone */
}
