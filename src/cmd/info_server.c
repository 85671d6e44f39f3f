/* INFO's sections about the process and its clients. Fields of features that are not there yet are zero, because there
 * were none of what they count. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "cmd/info.h"
#include "config.h"
#include "store/store.h"

static const char *orphan(const char *text) { return text ? text : ""; }

void info_server(struct info *i)
{
    struct utsname os;
    uint64_t now = i->c->now_ms, started = i->host ? i->host->started_ms : now;
    uint64_t up = now > started ? (now - started) / 1000 : 0;
    if (uname(&os) != 0)
        memset(&os, 0, sizeof os);
    info_add(i, "redis_version:" REDIS_LEVEL "\r\nredis_git_sha1:00000000\r\nredis_git_dirty:0\r\n");
    info_add(i, "redis_build_id:0\r\nredis_mode:standalone\r\n");
    info_add(i, "server_name:varve\r\nvarve_version:" PACKAGE_VERSION "\r\n");
    info_add(i, "os:%s %s %s\r\narch_bits:%zu\r\n", os.sysname, os.release, os.machine, sizeof(void *) * 8);
    info_add(i, "monotonic_clock:POSIX clock_gettime\r\nmultiplexing_api:epoll\r\natomicvar_api:c11-builtin\r\n");
#ifdef __clang__
    info_add(i, "gcc_version:0.0.0\r\n");
#else
    info_add(i, "gcc_version:%d.%d.%d\r\n", __GNUC__, __GNUC_MINOR__, __GNUC_PATCHLEVEL__);
#endif
    info_add(i, "process_id:%ld\r\nprocess_supervised:%s\r\n", (long)getpid(),
             getenv("NOTIFY_SOCKET") ? "systemd" : "no");
    info_add(i, "run_id:%s\r\ntcp_port:%d\r\n", i->host ? i->host->run_id : "", i->host ? i->host->port : 0);
    info_add(i, "server_time_usec:%" PRIu64 "\r\n", now * 1000);
    info_add(i, "uptime_in_seconds:%" PRIu64 "\r\nuptime_in_days:%" PRIu64 "\r\n", up, up / 86400);
    info_add(i, "hz:%" PRId64 "\r\nconfigured_hz:%" PRId64 "\r\n", i->settings->hz, i->settings->hz);
    info_add(i, "lru_clock:%" PRIu64 "\r\n", now / 1000 & 0xffffff);
    info_add(i, "executable:%.500s\r\n", i->host ? orphan(i->host->executable) : "");
    info_add(i, "config_file:%.500s\r\n", i->host ? orphan(i->host->config_file) : "");
    info_add(i, "io_threads_active:%d\r\nio_threads:%" PRId64 "\r\n", i->clients.reactors > 1, i->settings->io_threads);
}

void info_clients(struct info *i)
{
    const struct host_stats *h = &i->clients;
    info_add(i, "connected_clients:%" PRIu64 "\r\ncluster_connections:0\r\n", h->connected_clients);
    info_add(i, "maxclients:%" PRIu64 "\r\n", h->max_clients ? h->max_clients : (uint64_t)i->settings->maxclients);
    info_add(i, "client_recent_max_input_buffer:%" PRIu64 "\r\n", h->largest_query_buffer);
    info_add(i, "client_recent_max_output_buffer:%" PRIu64 "\r\n", h->largest_output_buffer);
    info_add(i, "blocked_clients:%" PRIu64 "\r\n", h->blocked_clients);
    info_add(i, "tracking_clients:%" PRIu64 "\r\npubsub_clients:%" PRIu64 "\r\nclients_in_timeout_table:0\r\n",
             h->tracking_clients, h->pubsub_clients);
    info_add(i, "total_blocking_keys:0\r\ntotal_blocking_keys_on_nokey:0\r\n");
    info_add(i, "monitor_clients:%" PRIu64 "\r\n", h->monitors);
}

static double ratio(uint64_t a, uint64_t b) { return b ? (double)a / (double)b : 0; }

static void bytes_and_human(struct info *i, const char *name, uint64_t bytes)
{
    info_add(i, "%s:%" PRIu64 "\r\n%s_human:%s\r\n", name, bytes, name, info_human(bytes).text);
}

/* One part of memory over another, as Redis shows fragmentation: a ratio and a difference. */
static void fragmentation(struct info *i, const char *ratio_name, const char *bytes_name, uint64_t whole, uint64_t part)
{
    info_add(i, "%s:%.2f\r\n%s:%" PRId64 "\r\n", ratio_name, ratio(whole, part), bytes_name, (int64_t)(whole - part));
}

void info_memory(struct info *i)
{
    struct vitals_memory m;
    vitals_memory(i->c->shard, &m);
    uint64_t overhead = m.overhead < m.used ? m.overhead : m.used, dataset = m.used - overhead;
    uint64_t net = m.used > m.startup ? m.used - m.startup : 0;
    bytes_and_human(i, "used_memory", m.used);
    bytes_and_human(i, "used_memory_rss", m.rss);
    bytes_and_human(i, "used_memory_peak", m.peak);
    info_add(i, "used_memory_peak_perc:%.2f%%\r\n", 100 * ratio(m.used, m.peak));
    info_add(i, "used_memory_overhead:%" PRIu64 "\r\nused_memory_startup:%" PRIu64 "\r\n", overhead, m.startup);
    info_add(i, "used_memory_dataset:%" PRIu64 "\r\n", dataset);
    info_add(i, "used_memory_dataset_perc:%.2f%%\r\n", fmin(100 * ratio(dataset, net), 100));
    info_add(i, "allocator_allocated:%" PRIu64 "\r\nallocator_active:%" PRIu64 "\r\n", m.heap.allocated, m.heap.active);
    info_add(i, "allocator_resident:%" PRIu64 "\r\n", m.heap.resident);
    bytes_and_human(i, "total_system_memory", m.system);
    info_add(i,
             "used_memory_lua:0\r\nused_memory_vm_eval:0\r\nused_memory_lua_human:0B\r\nused_memory_scripts_eval:0\r\n"
             "number_of_cached_scripts:0\r\nnumber_of_functions:0\r\nnumber_of_libraries:0\r\n"
             "used_memory_vm_functions:0\r\nused_memory_vm_total:0\r\nused_memory_vm_total_human:0B\r\n"
             "used_memory_functions:0\r\nused_memory_scripts:0\r\nused_memory_scripts_human:0B\r\n");
    bytes_and_human(i, "maxmemory", (uint64_t)i->settings->maxmemory);
    info_add(i, "maxmemory_policy:noeviction\r\n");
    fragmentation(i, "allocator_frag_ratio", "allocator_frag_bytes", m.heap.active, m.heap.allocated);
    fragmentation(i, "allocator_rss_ratio", "allocator_rss_bytes", m.heap.resident, m.heap.active);
    fragmentation(i, "rss_overhead_ratio", "rss_overhead_bytes", m.rss, m.heap.resident + m.mapped);
    fragmentation(i, "mem_fragmentation_ratio", "mem_fragmentation_bytes", m.rss, m.used);
    info_add(i, "mem_not_counted_for_evict:0\r\nmem_replication_backlog:0\r\nmem_total_replication_buffers:0\r\n");
    info_add(i, "mem_clients_slaves:0\r\nmem_clients_normal:%" PRIu64 "\r\nmem_cluster_links:0\r\n", m.clients);
    info_add(i, "mem_aof_buffer:%" PRIu64 "\r\nmem_allocator:%s\r\n", (uint64_t)0, heap_name());
    info_add(i, "active_defrag_running:0\r\nlazyfree_pending_objects:0\r\nlazyfreed_objects:0\r\n");
}

void info_persistence(struct info *i)
{
    const struct front_stats *f = &i->front;
    const char *status = f->frozen ? "err" : "ok";
    const struct saver_job_figures *save = &i->saver.save, *compact = &i->saver.compact;
    info_add(i, "loading:0\r\nasync_loading:0\r\ncurrent_cow_peak:0\r\ncurrent_cow_size:0\r\ncurrent_cow_size_age:0\r\n"
                "current_fork_perc:0.00\r\ncurrent_save_keys_processed:0\r\ncurrent_save_keys_total:0\r\n");
    info_add(i, "rdb_changes_since_last_save:%" PRIu64 "\r\n", i->exec.changes - i->saver.changes);
    info_add(i,
             "rdb_bgsave_in_progress:%d\r\nrdb_last_save_time:%" PRIu64 "\r\nrdb_last_bgsave_status:%s\r\n"
             "rdb_last_bgsave_time_sec:%" PRId64 "\r\nrdb_current_bgsave_time_sec:%" PRId64 "\r\nrdb_saves:%" PRIu64
             "\r\n",
             save->running, i->saver.last_save, f->frozen || save->failed ? "err" : "ok", save->seconds,
             save->running_for, save->begun);
    info_add(i,
             "rdb_last_cow_size:0\r\nrdb_last_load_keys_expired:0\r\nrdb_last_load_keys_loaded:0\r\naof_enabled:1\r\n");
    info_add(i,
             "aof_rewrite_in_progress:%d\r\naof_rewrite_scheduled:0\r\naof_last_rewrite_time_sec:%" PRId64 "\r\n"
             "aof_current_rewrite_time_sec:%" PRId64 "\r\naof_last_bgrewrite_status:%s\r\naof_rewrites:%" PRIu64 "\r\n"
             "aof_rewrites_consecutive_failures:%d\r\n",
             compact->running, compact->seconds, compact->running_for, compact->failed ? "err" : "ok", compact->begun,
             compact->failed);
    info_add(i,
             "aof_last_write_status:%s\r\naof_last_cow_size:0\r\nmodule_fork_in_progress:0\r\n"
             "module_fork_last_cow_size:0\r\n",
             status);
    info_add(i,
             "aof_current_size:%" PRIu64 "\r\naof_base_size:0\r\naof_pending_rewrite:0\r\naof_buffer_length:0\r\n"
             "aof_pending_bio_fsync:%d\r\naof_delayed_fsync:0\r\n",
             f->log_bytes_live, f->durable < f->written);
}

void info_stats(struct info *i)
{
    const struct host_stats *h = &i->clients;
    const struct shard_stats *e = &i->exec;
    struct vitals_rates rates;
    vitals_rates(&rates);
    info_add(i, "total_connections_received:%" PRIu64 "\r\n", h->total_connections);
    info_add(i, "total_commands_processed:%" PRIu64 "\r\n", e->commands);
    info_add(i, "instantaneous_ops_per_sec:%.0f\r\n", rates.commands);
    info_add(i, "total_net_input_bytes:%" PRIu64 "\r\ntotal_net_output_bytes:%" PRIu64 "\r\n", h->input_bytes,
             h->output_bytes);
    info_add(i, "total_net_repl_input_bytes:0\r\ntotal_net_repl_output_bytes:0\r\n");
    info_add(i, "instantaneous_input_kbps:%.2f\r\ninstantaneous_output_kbps:%.2f\r\n", rates.input_bytes / 1024,
             rates.output_bytes / 1024);
    info_add(i, "instantaneous_input_repl_kbps:0.00\r\ninstantaneous_output_repl_kbps:0.00\r\n");
    info_add(i, "rejected_connections:%" PRIu64 "\r\nsync_full:0\r\nsync_partial_ok:0\r\nsync_partial_err:0\r\n",
             h->rejected_connections);
    info_add(i,
             "expired_keys:%" PRIu64 "\r\nexpired_stale_perc:0.00\r\nexpired_time_cap_reached_count:0\r\n"
             "expire_cycle_cpu_milliseconds:0\r\n",
             e->expired_keys);
    info_add(i,
             "evicted_keys:0\r\nevicted_clients:%" PRIu64 "\r\ntotal_eviction_exceeded_time:0\r\n"
             "current_eviction_exceeded_time:0\r\n",
             h->evicted);
    info_add(i, "keyspace_hits:%" PRIu64 "\r\nkeyspace_misses:%" PRIu64 "\r\n", e->keyspace_hits, e->keyspace_misses);
    info_add(i, "pubsub_channels:%" PRIu64 "\r\npubsub_patterns:%" PRIu64 "\r\npubsubshard_channels:%" PRIu64 "\r\n",
             h->pubsub_channels, h->pubsub_patterns, h->pubsub_shard_channels);
    info_add(i, "latest_fork_usec:0\r\n"
                "total_forks:0\r\nmigrate_cached_sockets:0\r\nslave_expires_tracked_keys:0\r\nactive_defrag_hits:0\r\n"
                "active_defrag_misses:0\r\nactive_defrag_key_hits:0\r\nactive_defrag_key_misses:0\r\n"
                "total_active_defrag_time:0\r\ncurrent_active_defrag_time:0\r\n");
    info_add(i, "tracking_total_keys:%" PRIu64 "\r\ntracking_total_items:%" PRIu64 "\r\n", h->tracking_keys,
             h->tracking_items);
    info_add(i, "tracking_total_prefixes:%" PRIu64 "\r\nunexpected_error_replies:0\r\n", h->tracking_prefixes);
    info_add(i, "total_error_replies:%" PRIu64 "\r\ndump_payload_sanitizations:0\r\n", e->error_replies);
    info_add(i, "total_reads_processed:%" PRIu64 "\r\ntotal_writes_processed:%" PRIu64 "\r\n", h->reads, h->writes);
    info_add(i, "io_threaded_reads_processed:%" PRIu64 "\r\nio_threaded_writes_processed:%" PRIu64 "\r\n",
             h->reactors > 1 ? h->reads : 0, h->reactors > 1 ? h->writes : 0);
    info_add(i, "client_query_buffer_limit_disconnections:%" PRIu64 "\r\n", h->cut_by_query_limit);
    info_add(i, "client_output_buffer_limit_disconnections:%" PRIu64 "\r\n", h->cut_by_output_limit);
    info_add(i, "reply_buffer_shrinks:0\r\nreply_buffer_expands:0\r\n");
}

void info_replication(struct info *i)
{
    const struct front_identity *id = front_identity(shard_front(i->c->shard));
    char hex[41] = "0000000000000000000000000000000000000000";
    for (int n = 0; n < 16; n++) {
        hex[2 * n] = "0123456789abcdef"[id->uuid[n] >> 4];
        hex[2 * n + 1] = "0123456789abcdef"[id->uuid[n] & 15];
    }
    info_add(i, "role:master\r\nconnected_slaves:0\r\nmaster_failover_state:no-failover\r\nmaster_replid:%s\r\n", hex);
    info_add(i, "master_replid2:0000000000000000000000000000000000000000\r\nmaster_repl_offset:0\r\n"
                "second_repl_offset:-1\r\nrepl_backlog_active:0\r\n");
    info_add(i, "repl_backlog_size:%" PRId64 "\r\nrepl_backlog_first_byte_offset:0\r\nrepl_backlog_histlen:0\r\n",
             i->settings->repl_backlog_size);
}

void info_cpu(struct info *i)
{
    struct vitals_cpu cpu;
    vitals_cpu(&cpu);
    info_add(i, "used_cpu_sys:%.6f\r\nused_cpu_user:%.6f\r\n", cpu.system, cpu.user);
    info_add(i, "used_cpu_sys_children:0.000000\r\nused_cpu_user_children:0.000000\r\n");
    info_add(i, "used_cpu_sys_main_thread:%.6f\r\nused_cpu_user_main_thread:%.6f\r\n", cpu.main_system, cpu.main_user);
}

void info_modules(struct info *i) { (void)i; }

void info_cluster(struct info *i) { info_add(i, "cluster_enabled:0\r\n"); }
