/* INFO's sections about commands, keys and storage. */
#include <inttypes.h>

#include "base/num.h"
#include "cmd/info.h"
#include "cmd/metrics.h"
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
    const struct front_identity *id = front_identity(shard_front(i->c->shard));
    info_add(i, "storage_engine:%s\r\nstorage_format:%" PRIu32 "\r\n", id->engine, id->format);
    info_add(i, "storage_dir:%.500s\r\nstorage_status:%s\r\n", i->settings->dir, f->frozen ? "read-only" : "ok");
    info_add(i, "storage_failure:%.500s\r\n", f->frozen ? front_failure(shard_front(i->c->shard)) : "");
    info_add(i, "sequence_visible:%" PRIu64 "\r\nsequence_written:%" PRIu64 "\r\n", f->visible, f->written);
    info_add(i, "sequence_durable:%" PRIu64 "\r\nsequence_gate:%" PRIu64 "\r\n", f->durable, f->gate);
    info_add(i, "log_sync_mean_ms:%.3f\r\nlog_sync_max_ms:%.3f\r\n",
             f->log_syncs ? ms(f->log_sync_ns_total) / (double)f->log_syncs : 0, ms(f->log_sync_ns_max));
    info_add(i, "log_commits_per_sync:%.2f\r\n", f->log_syncs ? (double)f->commits / (double)f->log_syncs : 0);
    info_add(i, "recovery_ms:%" PRIu64 "\r\n", f->recovery_ms);
    info_add(i, "checkpoint_last:%.500s\r\ncheckpoint_last_sequence:%" PRIu64 "\r\n", i->saver.last_path,
             i->saver.last_sequence);
    metrics_info(i, METRICS_STORAGE);
}

void info_compaction(struct info *i)
{
    const struct engine_stats *e = &i->front.engine;
    metrics_info(i, METRICS_COMPACTION);
    info_add(i, "write_amplification:%.2f\r\n",
             e->flush_bytes ? (double)(e->flush_bytes + e->compaction_write_bytes) / (double)e->flush_bytes : 0);
    for (int n = 0; n < e->levels && n < ENGINE_LEVELS; n++)
        info_add(i,
                 "level%d:files=%" PRIu64 ",bytes=%" PRIu64 ",records=%" PRIu64 ",tombstones=%" PRIu64
                 ",data_bytes=%" PRIu64 ",compression_ratio=%.2f\r\n",
                 n, e->level[n].files, e->level[n].bytes, e->level[n].records, e->level[n].tombstones,
                 e->level[n].data_bytes,
                 e->level[n].bytes ? (double)e->level[n].data_bytes / (double)e->level[n].bytes : 0);
}

/* ---- ours: how commands run ---- */

void info_execution(struct info *i)
{
    const struct shard_stats *x = &i->exec;
    metrics_info(i, METRICS_EXECUTION);
    info_add(i, "latch_mean_ns:%.0f\r\nlatch_max_us:%.1f\r\n",
             x->latch_takes ? (double)x->latch_held_ns / (double)x->latch_takes : 0,
             (double)x->latch_held_max_ns / 1000);
    info_add(i, "reactors:%d\r\nreactor_wakeups:%" PRIu64 "\r\n", i->clients.reactors, i->clients.wakeups);
}
