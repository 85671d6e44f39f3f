/* Opening order: sockets (an address in use is known before data is read), shard with front and engine, store, settings,
 * reactors. Closing is the same backwards. */
#include "server/server.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/log.h"
#include "cmd/host.h"
#include "cmd/saver.h"
#include "cmd/table.h"
#include "cmd/vitals.h"
#include "conf/settings.h"
#include "config.h"
#include "engine/engine.h"
#include "net/net.h"
#include "os/env.h"
#include "os/thread.h"
#include "server/budget.h"
#include "store/store.h"

#ifdef HAVE_SYSTEMD
#include <systemd/sd-daemon.h>
#endif

#define DESCRIPTORS_BESIDE_CLIENTS 96 /* log, tables, listeners, eventfds ... */
#define PATIENCE_MS 5000              /* for clients to take their last replies */

struct server {
    struct net *net;
    struct shard *shard;
    bool store_open;
    struct host host;
    char executable[4096];
    struct os_mutex tune_lock;
    uint64_t max_clients;        /* that the limit of open files allows */
    const struct settings *lent; /* a reference to the snapshot that commands of the shard see */
    int wake_fd;
    atomic_bool shutdown, failed;
    char failure[512]; /* written once, before `failed` */
};

static struct server *the_server; /* for struct host_ops, whose functions take no argument */

void server_notify(const char *state)
{
#ifdef HAVE_SYSTEMD
    sd_notify(0, state);
#else
    (void)state;
#endif
}

#define TICKS_KEEP 10

/* ---- being told ---- */

static void wake(struct server *s)
{
    uint64_t one = 1;
    ssize_t n = write(s->wake_fd, &one, sizeof one);
    (void)n;
}

static void on_log_failure(void *arg, enum result why, const char *sentence)
{
    struct server *s = arg;
    snprintf(s->failure, sizeof s->failure, "%s (%s)", sentence, result_text(why));
    atomic_store(&s->failed, true);
    wake(s);
}

static void on_command(void *arg, struct session *session, const struct slice *argv, int argc, uint64_t floor)
{
    struct server *s = arg;
    net_monitor(s->net, session, argv, argc, floor);
}

/* By the latest settings and the memory in use now; by whoever changes settings and by the main thread's ticks. */
static void tune_shard(struct server *s)
{
    os_mutex_lock(&s->tune_lock);
    const struct settings *now = settings_hold();
    struct shard_tuning tuning = {
        .slowlog_us = now->slowlog_log_slower_than,
        .slowlog_max = (size_t)now->slowlog_max_len,
        .latency_ms = now->latency_monitor_threshold,
        .password_required = *now->requirepass ? now->requirepass : NULL,
        .denyoom_bytes = (int64_t)budget_over(s->shard, now),
    };
    shard_tune(s->shard, &tuning);
    settings_release(now);
    os_mutex_unlock(&s->tune_lock);
}

enum server_event server_wait(struct server *s, int signal_fd)
{
    struct pollfd fds[2] = {{.fd = signal_fd, .events = POLLIN}, {.fd = s->wake_fd, .events = POLLIN}};
    bool told_read_only = false;
    unsigned ticks = 0;
    for (;;) {
        int n = poll(fds, 2, VITALS_TICK_MS);
        if (n > 0 && fds[0].revents & POLLIN) {
            struct signalfd_siginfo info;
            if (read(signal_fd, &info, sizeof info) == sizeof info)
                log_notice("received signal %u, shutting down", info.ssi_signo);
            return SERVER_SHUTDOWN;
        }
        if (n > 0 && fds[1].revents & POLLIN) {
            uint64_t count;
            ssize_t got = read(s->wake_fd, &count, sizeof count);
            (void)got;
        }
        if (atomic_load(&s->shutdown))
            return SERVER_SHUTDOWN;
        if (atomic_load(&s->failed) && !told_read_only) {
            const struct settings *now = settings_hold();
            bool always = now->appendfsync == FRONT_FSYNC_ALWAYS;
            settings_release(now);
            if (always)
                return SERVER_FAILED;
            told_read_only = true;
            log_warning("writes are refused until a restart: %s", s->failure);
        }
        vitals_tick(s->shard);
        tune_shard(s);
        budget_balance(s->shard);
        if (++ticks % TICKS_KEEP == 0)
            shard_keep(s->shard);
    }
}

const char *server_failure(struct server *s) { return s->failure; }

/* ---- the host of the commands ---- */

static void host_stats(struct host_stats *out) { net_stats(the_server->net, out); }
static void host_reset_stats(void) { net_reset_stats(the_server->net); }
static bool host_shutdown(unsigned flags)
{
    (void)flags; /* there is nothing to save: what was acknowledged is on its way to the disk by itself */
    if (atomic_exchange(&the_server->shutdown, true))
        return false;
    log_notice("SHUTDOWN received");
    wake(the_server);
    return true;
}

static void on_effect(void *arg, const struct shard_effect *effect)
{
    const struct server *s = arg;
    net_effect(s->net, effect);
}
static uint64_t on_receivers(void *arg, bool sharded, struct slice channel)
{
    const struct server *s = arg;
    return net_receivers(s->net, sharded, channel);
}

static const struct host_ops host_functions = {
    .client_list = net_client_list,
    .client_unblock = net_client_unblock,
    .client_kill = net_client_kill,
    .client_info = net_client_info,
    .monitor = net_client_monitor,
    .tracking = net_client_tracking,
    .caching = net_client_caching,
    .untrack = net_client_untrack,
    .tracking_info = net_client_tracking_info,
    .stats = host_stats,
    .reset_stats = host_reset_stats,
    .shutdown = host_shutdown,
};

static void fill_host(struct server *s)
{
    uint8_t id[20];
    env_posix()->ops->random(env_posix(), id, sizeof id);
    for (size_t i = 0; i < sizeof id; i++)
        snprintf(s->host.run_id + 2 * i, 3, "%02x", id[i]);
    ssize_t n = readlink("/proc/self/exe", s->executable, sizeof s->executable - 1);
    s->executable[n > 0 ? n : 0] = 0;
    s->host.ops = &host_functions;
    s->host.started_ms = env_posix()->ops->real_ms(env_posix());
    s->host.executable = s->executable;
    s->host.config_file = settings_file();
    s->host.port = net_port(s->net);
    host_set(&s->host);
}

/* ---- settings ---- */

#define CLIENTS_LEAST (128 * 1024) /* else nobody could ask for more */
static uint64_t client_budget(const struct settings *set)
{
    if (set->maxmemory_clients == 0)
        return 0;
    uint64_t bytes = set->maxmemory_clients > 0
                         ? (uint64_t)set->maxmemory_clients
                         : (uint64_t)((double)set->maxmemory * -(double)set->maxmemory_clients / 100);
    return bytes < CLIENTS_LEAST ? CLIENTS_LEAST : bytes;
}

static void net_tuning_from(const struct server *s, const struct settings *set, struct net_tuning *t)
{
    *t = (struct net_tuning){
        .max_clients = (uint64_t)set->maxclients < s->max_clients ? (uint64_t)set->maxclients : s->max_clients,
        .timeout_s = (uint32_t)set->timeout,
        .keepalive_s = (uint32_t)set->tcp_keepalive,
        .protected_mode = set->protected_mode,
        .password_set = *set->requirepass != 0,
        .bulk_max = (uint64_t)set->proto_max_bulk_len,
        .query_limit = (uint64_t)set->client_query_buffer_limit,
        .tracking_keys = (uint64_t)set->tracking_table_max_keys,
        .output_budget = (uint64_t)set->maxmemory / 8,
        .input_budget = (uint64_t)set->maxmemory / 4,
        .client_budget = client_budget(set),
        .http =
            {
                .body_max = (uint64_t)set->http_max_body,
                .head_s = (uint32_t)set->http_header_timeout,
                .body_s = (uint32_t)set->http_body_timeout,
                .idle_s = (uint32_t)set->http_idle_timeout,
            },
    };
    snprintf(t->http.password, sizeof t->http.password, "%s", set->requirepass);
    snprintf(t->http.hosts, sizeof t->http.hosts, "%s", set->http_hosts);
    memcpy(t->output_limit, set->client_output_buffer_limit, sizeof t->output_limit);
}

static void give_back(void *settings) { settings_release(settings); }

/* Each new snapshot, the first one included. A command that runs on the pool sees its snapshot to its end. */
static void on_settings(void *arg, const struct settings *now)
{
    struct server *s = arg;
    struct net_tuning net;
    net_tuning_from(s, now, &net);
    net_tune(s->net, &net);
    net_set_events(s->net, s->shard, now->notify_keyspace_events);
    struct engine_compression compression[ENGINE_LEVELS];
    if (compression_parse(now->compression_per_level, compression, NULL) == RES_OK) /* it was checked when it was set */
        front_set_compression(shard_front(s->shard), compression);
    budget_settings(s->shard, now); /* before it is looked at whether memory is short */
    tune_shard(s);
    union {
        const struct settings *in;
        void *out;
    } old = {.in = s->lent};
    s->lent = settings_hold();
    shard_set_settings(s->shard, s->lent);
    if (old.in != NULL)
        shard_retire(s->shard, give_back, old.out);
    log_set_level((enum log_level)now->loglevel);
}

static enum result on_fsync(void *arg, const struct settings *old, const struct settings *now, struct errmsg *msg)
{
    (void)old, (void)msg;
    struct server *s = arg;
    shard_set_fsync(s->shard, (enum front_fsync)now->appendfsync);
    return RES_OK;
}

static enum result on_max_clients(void *arg, const struct settings *old, const struct settings *now, struct errmsg *msg)
{
    (void)old;
    const struct server *s = arg;
    if ((uint64_t)now->maxclients > s->max_clients)
        return errmsg_set(
            msg, RES_RANGE,
            "The operating system is not able to handle the specified number of clients, try with %" PRIu64,
            s->max_clients);
    return RES_OK;
}

/* Both at once, whichever comes first; the log says more than the client is told. */
static enum result listen_on(const struct server *s, const struct settings *now, const char *refusal,
                             struct errmsg *msg)
{
    struct errmsg why = {.text = ""};
    enum result res = net_listen(s->net, now->bind, (int)now->port, &why);
    if (res == RES_OK)
        return RES_OK;
    log_warning("%s", why.text);
    return errmsg_set(msg, res, "%s", refusal);
}

static enum result on_bind(void *arg, const struct settings *old, const struct settings *now, struct errmsg *msg)
{
    (void)old;
    return listen_on(arg, now, "Failed to bind to specified addresses.", msg);
}

static enum result on_port(void *arg, const struct settings *old, const struct settings *now, struct errmsg *msg)
{
    (void)old;
    return listen_on(arg, now, "Unable to listen on this port. Check server logs.", msg);
}

/* Raises the limit of open files as far as wanted and allowed. */
static void raise_file_limit(struct server *s, const struct settings *set)
{
    struct rlimit limit;
    rlim_t want = (rlim_t)set->maxclients * (*set->http_addr ? 2 : 1) + DESCRIPTORS_BESIDE_CLIENTS; /* by protocol */
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    if (limit.rlim_cur < want) {
        struct rlimit more = {.rlim_cur = want, .rlim_max = limit.rlim_max < want ? want : limit.rlim_max};
        if (setrlimit(RLIMIT_NOFILE, &more) != 0) {
            more.rlim_cur = more.rlim_max = limit.rlim_max;
            (void)!setrlimit(RLIMIT_NOFILE, &more);
        }
        (void)getrlimit(RLIMIT_NOFILE, &limit);
    }
    s->max_clients = limit.rlim_cur > 2 * DESCRIPTORS_BESIDE_CLIENTS ? limit.rlim_cur - DESCRIPTORS_BESIDE_CLIENTS
                                                                     : limit.rlim_cur / 2;
    if (s->max_clients < (uint64_t)set->maxclients)
        log_warning("maxclients is %" PRIu64 " instead of %" PRId64 ": the limit of open files is %" PRIu64,
                    s->max_clients, set->maxclients, (uint64_t)limit.rlim_cur);
}

/* ---- opening ---- */

static enum result open_net(struct server *s, const struct settings *set, struct errmsg *msg)
{
    struct net_options o = {
        .reactors = (int)set->io_threads,
        .bind = set->bind,
        .port = (int)set->port,
        .unix_path = set->unixsocket,
        .unix_mode = (unsigned)set->unixsocketperm,
        .backlog = (int)set->tcp_backlog,
        .http_address = set->http_addr,
        .http_required = settings_given("http-addr"),
        .metrics_address = set->metrics_addr,
        .tcp_address = set->tcp_addr,
        .http_threads = (int)set->http_threads,
    };
    net_tuning_from(s, set, &o.tuning);
    return net_open(&o, &s->net, msg);
}

static const struct engine_ops *engine_of(const struct settings *set)
{
    static const char *const names[] = {
        [SETTING_ENGINE_LSM] = "lsm",
        [SETTING_ENGINE_MEMORY] = "memory",
        [SETTING_ENGINE_BTREE] = "btree",
        [SETTING_ENGINE_FILE] = "file",
    };
    return engine_by_name(names[set->engine]);
}

static enum result open_saver(struct server *s, const struct settings *set, struct errmsg *msg)
{
    char dir[512];
    bool absolute = set->checkpoint_dir[0] == '/';
    int n = snprintf(dir, sizeof dir, "%s%s%s", absolute ? "" : set->dir, absolute ? "" : "/", set->checkpoint_dir);
    if (n <= 0 || (size_t)n >= sizeof dir)
        return errmsg_set(msg, RES_INVALID, "checkpoint-dir is too long");
    return saver_start(s->shard, env_posix(), dir, msg);
}

static enum result open_data(struct server *s, const struct settings *set, struct errmsg *msg)
{
    struct shard_options o = {
        .front =
            {
                .env = env_posix(),
                .engine = engine_of(set),
                .dir = set->dir,
                .create = true,
                .fsync = (enum front_fsync)set->appendfsync,
                .recovery = (enum front_recovery)set->recovery,
                .memtable_bytes = (uint64_t)set->memtable_size,
                .memtables_max = (int)set->memtables_max,
                .log_segment_bytes = (uint64_t)set->log_segment_size,
                .log_ring_bytes = (uint64_t)set->log_buffer_size,
                .replay_ns = (uint64_t)set->replay_time * 1000000,
                .reserve_bytes = (uint64_t)set->disk_reserve,
                .tuning =
                    {
                        .cache_bytes = (uint64_t)set->cache_size,
                        .block_bytes = (uint32_t)set->block_size,
                        .table_bytes = (uint64_t)set->table_size,
                        .base_level_bytes = (uint64_t)set->base_level_size,
                        .compaction_threads = (int)set->compaction_threads,
                        .max_open_tables = (int)set->max_open_tables,
                    },
            },
        .pool_threads = (int)set->pool_threads,
        .command_count = command_count(),
        .batch_limit = (uint64_t)set->batch_limit,
        .touched_bytes = (uint64_t)set->maxmemory / 64,
    };
    enum result res = compression_parse(set->compression_per_level, o.front.tuning.compression, msg);
    if (res == RES_OK)
        res = shard_open(&o, &s->shard, msg);
    if (res != RES_OK)
        return res;
    struct store_options store = {.databases = (uint32_t)set->databases};
    res = store_open(s->shard, &store, msg);
    s->store_open = res == RES_OK;
    return res == RES_OK ? open_saver(s, set, msg) : res;
}

enum result server_open(struct server **out, struct errmsg *msg)
{
    *out = NULL;
    struct server *s = calloc(1, sizeof *s);
    if (s == NULL)
        return errmsg_set(msg, RES_NO_MEMORY, "no memory");
    const struct settings *set = settings_hold();
    os_mutex_init(&s->tune_lock);
    s->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    raise_file_limit(s, set);
    budget_start(set);
    command_table_init();
    enum result res = s->wake_fd < 0 ? errmsg_set(msg, RES_TOO_MANY, "eventfd: %s", strerror(errno)) : RES_OK;
    if (res == RES_OK)
        res = open_net(s, set, msg);
    if (res == RES_OK)
        res = open_data(s, set, msg);
    if (res == RES_OK) {
        struct shard_hooks hooks = {
            .effect = on_effect,
            .receivers = on_receivers,
            .monitor = on_command,
            .failure = on_log_failure,
            .arg = s,
        };
        shard_set_hooks(s->shard, &hooks);
        the_server = s;
        fill_host(s);
        settings_on_change("appendfsync", on_fsync, s);
        settings_on_change("maxclients", on_max_clients, s);
        settings_on_change("port", on_port, s);
        settings_on_change("bind", on_bind, s);
        settings_on_publish(on_settings, s);
        vitals_start(s->shard);
        res = net_start(s->net, s->shard, msg);
    }
    settings_release(set);
    *out = s;
    return res;
}

enum result server_close(struct server *s)
{
    enum result res = RES_OK;
    if (s->shard != NULL)
        shard_hurry(s->shard);
    saver_stop();
    if (s->net != NULL)
        net_stop(s->net, PATIENCE_MS);
    if (s->store_open)
        store_close(s->shard);
    if (s->net != NULL)
        net_close(s->net);
    if (s->shard != NULL)
        res = shard_close(s->shard);
    if (s->net != NULL)
        net_free(s->net);
    host_set(NULL);
    if (s->lent != NULL)
        settings_release(s->lent);
    if (s->wake_fd >= 0)
        close(s->wake_fd);
    os_mutex_fini(&s->tune_lock);
    free(s);
    return res;
}
