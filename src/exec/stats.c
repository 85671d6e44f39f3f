/* Statistics: calls, time, failures by command, errors by code word.
 *
 * Each thread that runs commands has a block of its own, so counting is a plain addition; readers sum over all blocks
 * and may miss what happens meanwhile. A block outlives its thread and is used by the next one: nothing counted is lost. The
 * list of blocks only grows, at its head, so it is read without a lock: looking at statistics disturbs nobody who runs commands.
 * Resetting writes zeros from another thread: an addition that races with it may survive or be lost. */
#include <stdlib.h>

#include "exec/internal.h"

struct exec_stats *stats_take(struct shard *s)
{
    os_mutex_lock(&s->lock);
    struct exec_stats *st = s->stats;
    while (st && st->in_use)
        st = st->next;
    if (!st && (st = calloc(1, sizeof *st))) {
        st->commands = calloc(s->command_count ? s->command_count : 1, sizeof *st->commands);
        if (st->commands) {
            st->next = s->stats;
            __atomic_store_n(&s->stats, st, __ATOMIC_RELEASE);
        } else {
            free(st);
            st = NULL;
        }
    }
    if (st)
        st->in_use = true;
    os_mutex_unlock(&s->lock);
    return st;
}

void stats_give(struct shard *s, struct exec_stats *st)
{
    os_mutex_lock(&s->lock);
    st->in_use = false;
    os_mutex_unlock(&s->lock);
}

void stats_free_all(struct shard *s)
{
    while (s->stats) {
        struct exec_stats *st = s->stats;
        s->stats = st->next;
        for (size_t i = 0; i < s->command_count; i++)
            histogram_fini(&st->commands[i].latency);
        free(st->commands);
        free(st);
    }
}

void stats_error(struct exec_stats *st, struct slice code)
{
    stat_add(&st->errors, 1);
    uint32_t n = atomic_load_explicit(&st->error_kinds, memory_order_relaxed);
    char word[sizeof st->error[0].code] = {0};
    memcpy(word, code.data, code.len < sizeof word - 1 ? code.len : sizeof word - 1);
    for (uint32_t i = 0; i < n; i++)
        if (memcmp(st->error[i].code, word, sizeof word) == 0) {
            stat_add(&st->error[i].count, 1);
            return;
        }
    if (n == ERROR_KINDS)
        return; /* counted in the total; a client can invent code words (scripts), so the table is bounded */
    memcpy(st->error[n].code, word, sizeof word);
    stat_add(&st->error[n].count, 1);
    atomic_store_explicit(&st->error_kinds, n + 1, memory_order_release);
}

void shard_count_error(struct exec_worker *w, struct slice error_text)
{
    size_t n = 0;
    while (n < error_text.len && error_text.data[n] > ' ')
        n++;
    stats_error(w->run.stats, slice_of(error_text.data, n));
}

void shard_count_rejected(struct exec_worker *w, const struct command_entry *entry)
{
    stat_add(&w->run.stats->commands[entry->id].rejected, 1);
}

void shard_count_expired(struct shard *s, uint64_t n)
{
    atomic_fetch_add_explicit(&s->expired, n, memory_order_relaxed);
}

static struct exec_stats *blocks(struct shard *s) { return __atomic_load_n(&s->stats, __ATOMIC_ACQUIRE); }

void shard_command_stats(struct shard *s, uint16_t id, struct command_stats *out)
{
    uint64_t sum = 0;
    for (const struct exec_stats *st = blocks(s); id < s->command_count && st; st = st->next) {
        const struct command_counter *n = &st->commands[id];
        out->calls += stat_get(&n->latency.count);
        sum += stat_get(&n->latency.sum);
        out->failed += stat_get(&n->failed);
        out->rejected += stat_get(&n->rejected);
        histogram_merge(&out->latency, &n->latency);
    }
    out->usec += sum / 1000;
}

void shard_stats(struct shard *s, struct shard_stats *out)
{
    memset(out, 0, sizeof *out);
    for (const struct exec_stats *st = blocks(s); st; st = st->next) {
        for (size_t i = 0; i < s->command_count; i++)
            out->commands += stat_get(&st->commands[i].latency.count);
        out->keyspace_hits += stat_get(&st->hits);
        out->keyspace_misses += stat_get(&st->misses);
        out->error_replies += stat_get(&st->errors);
    }
    out->changes = stat_get(&s->changes);
    out->expired_keys = atomic_load(&s->expired);
    out->latch_takes = stat_get(&s->latch.takes);
    out->latch_held_ns = stat_get(&s->latch.held_ns);
    out->latch_held_max_ns = stat_get(&s->latch.held_max_ns);
    out->latch_over_1ms = stat_get(&s->latch.over_1ms);
    out->latch_parks = atomic_load(&s->latch.parks);
    out->away_reads = atomic_load(&s->away_reads);
    out->away_writes = atomic_load(&s->away_writes);
    out->prepared_retries = atomic_load(&s->prepared_retries);
    out->held_keys = atomic_load(&s->held_keys);
    out->warmed_keys = atomic_load(&s->warmed_keys);
    out->slow_mode = atomic_load(&s->slow_mode);
    out->private_tables = atomic_load(&s->private_tables);
    struct pool *p = &s->pool;
    os_mutex_lock(&p->lock);
    out->pool_queue = p->lane[LANE_SHORT].count + p->lane[LANE_LONG].count;
    out->pool_running = p->lane[LANE_SHORT].running + p->lane[LANE_LONG].running;
    out->pool_threads = (uint64_t)p->thread_count;
    os_mutex_unlock(&p->lock);
}

static void zero(uint64_t *at) { __atomic_store_n(at, 0, __ATOMIC_RELAXED); }

void shard_latch_cpu_clock(struct shard *s, bool on)
{
    atomic_store_explicit(&s->latch.cpu_clock, on, memory_order_relaxed);
}

void shard_reset_stats(struct shard *s)
{
    os_mutex_lock(&s->lock);
    for (struct exec_stats *st = s->stats; st; st = st->next) {
        for (size_t i = 0; i < s->command_count; i++) {
            histogram_reset(&st->commands[i].latency);
            zero(&st->commands[i].failed);
            zero(&st->commands[i].rejected);
        }
        zero(&st->hits);
        zero(&st->misses);
        zero(&st->errors);
        for (uint32_t i = 0; i < atomic_load(&st->error_kinds); i++)
            zero(&st->error[i].count);
    }
    os_mutex_unlock(&s->lock);
    zero(&s->latch.takes);
    zero(&s->latch.held_ns);
    zero(&s->latch.held_max_ns);
    zero(&s->latch.over_1ms);
    atomic_store(&s->latch.parks, 0);
    _Atomic uint64_t *counters[] = {&s->warmed_keys,      &s->expired,   &s->away_reads, &s->away_writes,
                                    &s->prepared_retries, &s->held_keys, &s->slow_mode,  &s->private_tables};
    for (size_t i = 0; i < sizeof counters / sizeof *counters; i++)
        atomic_store(counters[i], 0);
}

static void add_error(struct error_counter *sum, size_t *kinds, const struct error_counter *e)
{
    uint64_t count = stat_get(&e->count);
    for (size_t i = 0; i < *kinds; i++)
        if (strcmp(sum[i].code, e->code) == 0) {
            sum[i].count += count;
            return;
        }
    if (count && *kinds < ERROR_KINDS) {
        memcpy(sum[*kinds].code, e->code, sizeof e->code);
        sum[(*kinds)++].count = count;
    }
}

static int compare_codes(const void *a, const void *b)
{
    return strcmp(((const struct error_counter *)a)->code, ((const struct error_counter *)b)->code);
}

void shard_each_error(struct shard *s, shard_error_fn *fn, void *arg)
{
    struct error_counter sum[ERROR_KINDS];
    size_t kinds = 0;
    for (const struct exec_stats *st = blocks(s); st; st = st->next) {
        uint32_t n = atomic_load_explicit(&st->error_kinds, memory_order_acquire);
        for (uint32_t i = 0; i < n; i++)
            add_error(sum, &kinds, &st->error[i]);
    }
    qsort(sum, kinds, sizeof *sum, compare_codes);
    for (size_t i = 0; i < kinds; i++)
        fn(arg, sum[i].code, sum[i].count);
}
