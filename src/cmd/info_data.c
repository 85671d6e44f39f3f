/* INFO's sections about commands, keys and storage. */
#include <inttypes.h>

#include "base/num.h"
#include "cmd/info.h"
#include "cmd/table.h"
#include "store/store.h"

/* ---- commands ---- */

typedef void each_command_fn(struct info *i, const struct command_entry *e, const struct command_stats *stats);

static void each_command(struct info *i, each_command_fn *each)
{
    for (size_t id = 0; id < command_count(); id++) {
        struct command_stats stats = {0};
        histogram_init(&stats.latency);
        shard_command_stats(i->c->shard, (uint16_t)id, &stats);
        if (stats.calls || stats.rejected || stats.failed)
            each(i, command_by_id((uint16_t)id), &stats);
        histogram_fini(&stats.latency);
    }
}

static void add_command(struct info *i, const struct command_entry *e, const struct command_stats *stats)
{
    info_add(i, "cmdstat_%s:calls=%" PRIu64 ",usec=%" PRIu64 ",usec_per_call=%.2f", e->full_name, stats->calls,
             stats->usec, stats->calls ? (double)stats->usec / (double)stats->calls : 0);
    info_add(i, ",rejected_calls=%" PRIu64 ",failed_calls=%" PRIu64 "\r\n", stats->rejected, stats->failed);
}

void info_commandstats(struct info *i) { each_command(i, add_command); }

static void add_latency(struct info *i, const struct command_entry *e, const struct command_stats *stats)
{
    const struct quantiles *q = &i->settings->latency_tracking_info_percentiles;
    if (stats->latency.count == 0)
        return;
    info_add(i, "latency_percentiles_usec_%s:", e->full_name);
    for (int n = 0; n < q->count; n++) {
        char percent[NUM_DOUBLE_MAX];
        int len = (int)num_format_double(percent, q->value[n]);
        double us = (double)histogram_quantile(&stats->latency, q->value[n] / 100) / 1000;
        info_add(i, "%sp%.*s=%.3f", n ? "," : "", len, percent, us);
    }
    info_add(i, "\r\n");
}

void info_latencystats(struct info *i)
{
    if (i->settings->latency_tracking)
        each_command(i, add_latency);
}

static void add_error(void *arg, const char *code, uint64_t count)
{
    info_add(arg, "errorstat_%s:count=%" PRIu64 "\r\n", code, count);
}

void info_errorstats(struct info *i) { shard_each_error(i->c->shard, add_error, i); }

/* ---- keys ---- */

void info_keyspace(struct info *i)
{
    uint32_t databases = store_databases(i->c->shard);
    for (uint32_t db = 0; db < databases && i->res == RES_OK; db++) {
        int64_t keys, expires;
        enum result res = store_db_size(i->c, db, &keys, &expires);
        if (res != RES_OK)
            i->res = res;
        else if (keys != 0 || expires != 0)
            info_add(i, "db%" PRIu32 ":keys=%" PRId64 ",expires=%" PRId64 ",avg_ttl=%" PRIu64 "\r\n", db, keys, expires,
                     expires ? store_avg_ttl(i->c->shard, db) : 0);
    }
}

/* ---- ours: storage ---- */

static double ms(uint64_t ns) { return (double)ns / 1e6; }

void info_storage(struct info *i)
{
    const struct front_stats *f = &i->front;
    const struct engine_stats *e = &f->engine;
    const struct front_identity *id = front_identity(shard_front(i->c->shard));
    info_add(i, "storage_engine:%s\r\nstorage_format:%" PRIu32 "\r\n", id->engine, id->format);
    info_add(i, "storage_dir:%.500s\r\nstorage_status:%s\r\n", i->settings->dir, f->frozen ? "read-only" : "ok");
    info_add(i, "storage_failure:%.500s\r\n", f->frozen ? front_failure(shard_front(i->c->shard)) : "");
    info_add(i, "sequence_visible:%" PRIu64 "\r\nsequence_written:%" PRIu64 "\r\n", f->visible, f->written);
    info_add(i, "sequence_durable:%" PRIu64 "\r\nsequence_gate:%" PRIu64 "\r\n", f->durable, f->gate);
    info_add(i, "commits:%" PRIu64 "\r\ncommit_records:%" PRIu64 "\r\n", f->commits, f->commit_records);
    info_add(i, "commit_waits:%" PRIu64 "\r\ncommit_paced:%" PRIu64 "\r\n", f->reserve_waits, f->pace_waits);
    info_add(i, "memtables:%" PRIu64 "\r\nmemtable_bytes:%" PRIu64 "\r\nmemtable_records:%" PRIu64 "\r\n", f->memtables,
             f->memtable_bytes, f->memtable_records);
    info_add(i, "log_segments:%" PRIu64 "\r\nlog_bytes:%" PRIu64 "\r\n", f->log_segments, f->log_bytes_live);
    info_add(i, "log_bytes_written:%" PRIu64 "\r\nlog_writes:%" PRIu64 "\r\nlog_syncs:%" PRIu64 "\r\n",
             f->log_bytes_written, f->log_writes, f->log_syncs);
    info_add(i, "log_sync_mean_ms:%.3f\r\nlog_sync_max_ms:%.3f\r\n",
             f->log_syncs ? ms(f->log_sync_ns_total) / (double)f->log_syncs : 0, ms(f->log_sync_ns_max));
    info_add(i, "log_commits_per_sync:%.2f\r\n", f->log_syncs ? (double)f->commits / (double)f->log_syncs : 0);
    info_add(i, "recovered_commits:%" PRIu64 "\r\nrecovered_bytes:%" PRIu64 "\r\n", f->recovered_commits,
             f->recovered_bytes);
    info_add(i, "recovery_ms:%" PRIu64 "\r\nrecovery_torn_bytes:%" PRIu64 "\r\n", f->recovery_ms, f->torn_bytes);
    info_add(i, "disk_bytes:%" PRIu64 "\r\nopen_tables:%" PRIu64 "\r\n", e->bytes_on_disk + f->log_bytes_live,
             e->open_tables);
    info_add(i, "cache_bytes:%" PRIu64 "\r\ncache_capacity:%" PRIu64 "\r\n", e->cache_bytes, e->cache_capacity);
    info_add(i, "cache_hits:%" PRIu64 "\r\ncache_misses:%" PRIu64 "\r\n", e->cache_hits, e->cache_misses);
    info_add(i, "index_bytes:%" PRIu64 "\r\nfilter_bytes:%" PRIu64 "\r\n", e->index_bytes, e->filter_bytes);
    info_add(i, "filter_checked:%" PRIu64 "\r\nfilter_useful:%" PRIu64 "\r\n", e->filter_checked, e->filter_useful);
    info_add(i, "block_reads:%" PRIu64 "\r\nblock_read_bytes:%" PRIu64 "\r\n", e->block_reads, e->block_read_bytes);
    info_add(i, "views:%" PRIu64 "\r\n", f->views);
}

void info_compaction(struct info *i)
{
    const struct engine_stats *e = &i->front.engine;
    info_add(i, "flushes:%" PRIu64 "\r\nflush_bytes:%" PRIu64 "\r\n", e->flushes, e->flush_bytes);
    info_add(i, "compactions:%" PRIu64 "\r\ncompactions_running:%" PRIu64 "\r\n", e->compactions,
             e->compactions_running);
    info_add(i, "compaction_pending_bytes:%" PRIu64 "\r\n", e->compaction_pending_bytes);
    info_add(i, "compaction_read_bytes:%" PRIu64 "\r\ncompaction_write_bytes:%" PRIu64 "\r\n", e->compaction_read_bytes,
             e->compaction_write_bytes);
    info_add(i, "write_amplification:%.2f\r\n",
             e->flush_bytes ? (double)(e->flush_bytes + e->compaction_write_bytes) / (double)e->flush_bytes : 0);
    info_add(i, "dead_ranges:%" PRIu64 "\r\ndead_records_dropped:%" PRIu64 "\r\n", e->dead_ranges,
             e->dropped_dead_records);
    for (int n = 0; n < e->levels && n < ENGINE_LEVELS; n++)
        info_add(i, "level%d:files=%" PRIu64 ",bytes=%" PRIu64 ",records=%" PRIu64 ",tombstones=%" PRIu64 "\r\n", n,
                 e->level[n].files, e->level[n].bytes, e->level[n].records, e->level[n].tombstones);
}

/* ---- ours: how commands run ---- */

void info_execution(struct info *i)
{
    const struct shard_stats *x = &i->exec;
    info_add(i, "latch_takes:%" PRIu64 "\r\nlatch_parks:%" PRIu64 "\r\n", x->latch_takes, x->latch_parks);
    info_add(i, "latch_mean_ns:%.0f\r\nlatch_max_us:%.1f\r\nlatch_over_1ms:%" PRIu64 "\r\n",
             x->latch_takes ? (double)x->latch_held_ns / (double)x->latch_takes : 0,
             (double)x->latch_held_max_ns / 1000, x->latch_over_1ms);
    info_add(i, "away_reads:%" PRIu64 "\r\naway_writes:%" PRIu64 "\r\n", x->away_reads, x->away_writes);
    info_add(i, "prepared_retries:%" PRIu64 "\r\nheld_keys:%" PRIu64 "\r\nslow_mode:%" PRIu64 "\r\n",
             x->prepared_retries, x->held_keys, x->slow_mode);
    info_add(i, "private_tables:%" PRIu64 "\r\n", x->private_tables);
    info_add(i, "pool_threads:%" PRIu64 "\r\npool_running:%" PRIu64 "\r\npool_queue:%" PRIu64 "\r\n", x->pool_threads,
             x->pool_running, x->pool_queue);
    info_add(i, "reactors:%d\r\nreactor_wakeups:%" PRIu64 "\r\n", i->clients.reactors, i->clients.wakeups);
}
