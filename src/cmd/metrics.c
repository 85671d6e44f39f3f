/* See metrics.h and metrics.def. Scraping reads what a tick has gathered (vitals_figures) and the statistics of commands, which
 * are plain memory of the threads that count: no lock is taken that a command takes. */
#include "cmd/metrics.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>

#include "base/num.h"
#include "cmd/table.h"
#include "config.h"
#include "store/store.h"

struct figures {
    struct call *c; /* NULL for INFO */
    struct buf *out;
    enum result res; /* of the first line that failed */
    const struct settings *settings;
    struct vitals_figures v;
    struct vitals_cpu cpu;
    double uptime_s;
};

typedef void family_fn(struct figures *f, const char *name);
static family_fn build_info, memory_by_owner, connections, connections_accepted, connections_rejected, connections_cut,
    http_answers, command_durations, command_failures, command_rejections, errors, operations, keys, keys_with_expiry,
    sstable_count, level_files, level_bytes, level_data_bytes, level_records, level_tombstones;

/* ---- samples ---- */

static void PRINTF_LIKE(2, 3) add(struct figures *f, const char *fmt, ...)
{
    char line[512];
    va_list ap;
    if (f->res != RES_OK)
        return;
    va_start(ap, fmt);
    int len = vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    assert(len >= 0 && (size_t)len < sizeof line);
    f->res = buf_append(f->out, line, (size_t)len);
}

static void describe(struct figures *f, const char *name, const char *type, const char *help)
{
    add(f, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void single(struct figures *f, const char *name, double value)
{
    char text[NUM_DOUBLE_MAX];
    int len = (int)num_format_double(text, value);
    add(f, "%s %.*s\n", name, len, text);
}

static void labelled(struct figures *f, const char *name, const char *label, const char *value, uint64_t n)
{
    add(f, "%s{%s=\"%s\"} %" PRIu64 "\n", name, label, value, n);
}

/* ---- families ---- */

static void build_info(struct figures *f, const char *name)
{
    add(f, "%s{version=\"" PACKAGE_VERSION "\",redis_version=\"" REDIS_LEVEL "\"} 1\n", name);
}

static void memory_by_owner(struct figures *f, const char *name)
{
    const struct vitals_memory *m = &f->v.memory;
    const struct front_stats *s = &f->v.front;
    const struct engine_stats *e = &s->engine;
    uint64_t blocks = e->cache_bytes - e->cache_fixed;
    uint64_t named = s->memtable_bytes + s->log_ring_bytes + blocks + e->index_bytes + e->filter_bytes + m->clients;
    labelled(f, name, "owner", "memtables", s->memtable_bytes);
    labelled(f, name, "owner", "log-buffer", s->log_ring_bytes);
    labelled(f, name, "owner", "cache", blocks);
    labelled(f, name, "owner", "indexes", e->index_bytes);
    labelled(f, name, "owner", "filters", e->filter_bytes);
    labelled(f, name, "owner", "clients", m->clients);
    labelled(f, name, "owner", "other", m->used > named ? m->used - named : 0);
}

static void by_protocol(struct figures *f, const char *name, uint64_t all, uint64_t http)
{
    labelled(f, name, "protocol", "resp", all - http);
    labelled(f, name, "protocol", "http", http);
}

static void connections(struct figures *f, const char *name)
{
    by_protocol(f, name, f->v.net.connected_clients, f->v.net.http_clients);
}
static void connections_accepted(struct figures *f, const char *name)
{
    by_protocol(f, name, f->v.net.total_connections, f->v.net.http_connections);
}
static void connections_rejected(struct figures *f, const char *name)
{
    by_protocol(f, name, f->v.net.rejected_connections, f->v.net.http_rejected);
}

static void connections_cut(struct figures *f, const char *name)
{
    labelled(f, name, "reason", "output-limit", f->v.net.cut_by_output_limit);
    labelled(f, name, "reason", "query-limit", f->v.net.cut_by_query_limit);
    labelled(f, name, "reason", "idle", f->v.net.timed_out);
    labelled(f, name, "reason", "maxmemory-clients", f->v.net.evicted);
    labelled(f, name, "reason", "http-deadline", f->v.net.http_timed_out);
}

static void http_answers(struct figures *f, const char *name)
{
    static const char *const classes[] = {"2xx", "3xx", "4xx", "5xx"};
    for (int i = 0; i < 4; i++)
        labelled(f, name, "status", classes[i], f->v.net.http_answers[i + 2]);
}

/* Of commands that were called, or refused. */
typedef void each_command_fn(struct figures *f, const char *name, const char *command, const struct command_stats *s);
static void each_command(struct figures *f, const char *name, each_command_fn *each)
{
    for (size_t id = 0; id < command_count(); id++) {
        struct command_stats s = {0};
        histogram_init(&s.latency);
        shard_command_stats(f->c->shard, (uint16_t)id, &s);
        if (s.calls || s.rejected || s.failed)
            each(f, name, command_by_id((uint16_t)id)->full_name, &s);
        histogram_fini(&s.latency);
    }
}

static void add_durations(struct figures *f, const char *name, const char *command, const struct command_stats *s)
{
    static const struct {
        const char *le;
        uint64_t ns;
    } bounds[] = {{"1e-06", 1000},     {"2.5e-06", 2500},   {"5e-06", 5000},     {"1e-05", 10000},
                  {"2.5e-05", 25000},  {"5e-05", 50000},    {"0.0001", 100000},  {"0.00025", 250000},
                  {"0.0005", 500000},  {"0.001", 1000000},  {"0.0025", 2500000}, {"0.005", 5000000},
                  {"0.01", 10000000},  {"0.025", 25000000}, {"0.05", 50000000},  {"0.1", 100000000},
                  {"0.25", 250000000}, {"0.5", 500000000},  {"1", 1000000000},   {"2.5", 2500000000},
                  {"5", 5000000000},   {"10", 10000000000}};
    uint64_t all = s->latency.count; /* the buckets may be some counts ahead of it, or behind */
    for (size_t i = 0; i < sizeof bounds / sizeof bounds[0]; i++) {
        uint64_t n = histogram_at_most(&s->latency, bounds[i].ns);
        add(f, "%s_bucket{command=\"%s\",le=\"%s\"} %" PRIu64 "\n", name, command, bounds[i].le, n < all ? n : all);
    }
    add(f, "%s_bucket{command=\"%s\",le=\"+Inf\"} %" PRIu64 "\n", name, command, all);
    add(f, "%s_sum{command=\"%s\"} %.9f\n", name, command, (double)s->latency.sum / 1e9);
    add(f, "%s_count{command=\"%s\"} %" PRIu64 "\n", name, command, all);
}
static void command_durations(struct figures *f, const char *name) { each_command(f, name, add_durations); }

static void add_failures(struct figures *f, const char *name, const char *command, const struct command_stats *s)
{
    labelled(f, name, "command", command, s->failed);
}
static void command_failures(struct figures *f, const char *name) { each_command(f, name, add_failures); }

static void add_rejections(struct figures *f, const char *name, const char *command, const struct command_stats *s)
{
    labelled(f, name, "command", command, s->rejected);
}
static void command_rejections(struct figures *f, const char *name) { each_command(f, name, add_rejections); }

struct named {
    struct figures *f;
    const char *name;
};

/* A code word is what a client made an error begin with, so it is escaped. */
static void add_error(void *arg, const char *code, uint64_t count)
{
    const struct named *n = arg;
    char text[64];
    size_t len = 0;
    for (; *code && len + 2 < sizeof text; code++) {
        if (*code == '"' || *code == '\\')
            text[len++] = '\\';
        text[len++] = (unsigned char)*code < ' ' || (unsigned char)*code > '~' ? '?' : *code;
    }
    text[len] = 0;
    labelled(n->f, n->name, "code", text, count);
}
static void errors(struct figures *f, const char *name)
{
    struct named n = {f, name};
    shard_each_error(f->c->shard, add_error, &n);
}

static uint64_t calls_of(struct figures *f, const char *const *names)
{
    uint64_t sum = 0;
    for (; *names; names++) {
        struct command_stats s = {0};
        histogram_init(&s.latency);
        const struct command_entry *e = command_lookup(slice_str(*names));
        if (e != NULL)
            shard_command_stats(f->c->shard, e->id, &s);
        sum += s.calls;
        histogram_fini(&s.latency);
    }
    return sum;
}

static void operations(struct figures *f, const char *name)
{
    static const char *const put[] = {"set", "setnx", "setex", "psetex", "getset", "mset", "msetnx", NULL},
                             *const get[] = {"get", "mget", "getex", NULL},
                             *const removal[] = {"del", "unlink", "getdel", NULL};
    labelled(f, name, "op", "put", calls_of(f, put));
    labelled(f, name, "op", "get", calls_of(f, get));
    labelled(f, name, "op", "delete", calls_of(f, removal));
}

static void each_database(struct figures *f, const char *name, bool expiring)
{
    uint32_t databases = store_databases(f->c->shard);
    for (uint32_t db = 0; db < databases && f->res == RES_OK; db++) {
        int64_t all, expires;
        f->res = store_db_size(f->c, db, &all, &expires);
        if (f->res == RES_OK && (all != 0 || db == 0))
            add(f, "%s{db=\"%" PRIu32 "\"} %" PRId64 "\n", name, db, expiring ? expires : all);
    }
}
static void keys(struct figures *f, const char *name) { each_database(f, name, false); }
static void keys_with_expiry(struct figures *f, const char *name) { each_database(f, name, true); }

static void sstable_count(struct figures *f, const char *name)
{
    const struct engine_stats *e = &f->v.front.engine;
    uint64_t sum = 0;
    for (int n = 0; n < e->levels && n < ENGINE_LEVELS; n++)
        sum += e->level[n].files;
    add(f, "%s %" PRIu64 "\n", name, sum);
}

#define BY_LEVEL(function, field)                                                                                      \
    static void function(struct figures *f, const char *name)                                                          \
    {                                                                                                                  \
        const struct engine_stats *e = &f->v.front.engine;                                                             \
        for (int n = 0; n < e->levels && n < ENGINE_LEVELS; n++)                                                       \
            add(f, "%s{level=\"%d\"} %" PRIu64 "\n", name, n, e->level[n].field);                                      \
    }
BY_LEVEL(level_files, files)
BY_LEVEL(level_bytes, bytes)
BY_LEVEL(level_data_bytes, data_bytes)
BY_LEVEL(level_records, records)
BY_LEVEL(level_tombstones, tombstones)

/* ---- the table ---- */

static void write_all(struct figures *f)
{
#define ONE(type, name, help, value)                                                                                   \
    describe(f, #name, type, help);                                                                                    \
    single(f, #name, (double)(value));
#define COUNT(section, info, name, help, value) ONE("counter", name, help, value)
#define GAUGE(section, info, name, help, value) ONE("gauge", name, help, value)
#define COUNT_OF(name, help, value) ONE("counter", name, help, value)
#define GAUGE_OF(name, help, value) ONE("gauge", name, help, value)
#define FAMILY(name, type, help, function)                                                                             \
    describe(f, #name, #type, help);                                                                                   \
    function(f, #name);
#include "cmd/metrics.def"
}

void metrics_info(struct info *i, enum metrics_section section)
{
    struct figures figures = {.v = {.exec = i->exec, .front = i->front, .net = i->clients}}, *f = &figures;
#define LINE(where, info, value)                                                                                       \
    if (section == METRICS_##where)                                                                                    \
        info_add(i, #info ":%" PRIu64 "\r\n", (uint64_t)(value));
#define COUNT(where, info, name, help, value) LINE(where, info, value)
#define GAUGE(where, info, name, help, value) LINE(where, info, value)
#define COUNT_OF(name, help, value)
#define GAUGE_OF(name, help, value)
#define FAMILY(name, type, help, function)
#include "cmd/metrics.def"
}

void metrics_document(FILE *out)
{
    fputs("# Metrics\n\n"
          "Made from `src/cmd/metrics.def` by `make metrics-docs`; do not edit.\n\n"
          "`GET /metrics` on `http-addr`, and on `metrics-addr` where that is set, in Prometheus' text format 0.0.4. "
          "Figures are "
          "at most\n100 ms old; looking at them takes no lock that a command takes. Where INFO shows the same figure, "
          "its field is "
          "named.\n\n"
          "`conf/prometheus-rules.yml` has alerts and recording rules for Prometheus, `conf/grafana-dashboard.json` a "
          "dashboard for\nGrafana. What prometheus-redis-exporter reads of a Redis it finds here, too.\n\n| metric | "
          "type | INFO | what |\n|---|---|---|---|\n",
          out);
#define COUNT(section, info, name, help, value) fputs("| `" #name "` | counter | `" #info "` | " help " |\n", out);
#define GAUGE(section, info, name, help, value) fputs("| `" #name "` | gauge | `" #info "` | " help " |\n", out);
#define COUNT_OF(name, help, value) fputs("| `" #name "` | counter | | " help " |\n", out);
#define GAUGE_OF(name, help, value) fputs("| `" #name "` | gauge | | " help " |\n", out);
#define FAMILY(name, type, help, function) fputs("| `" #name "` | " #type " | | " help " |\n", out);
#include "cmd/metrics.def"
}

/* ---- the command ---- */

static enum result run_metrics(struct call *c)
{
    struct buf out = BUF_INIT;
    const struct host *host = host_get();
    struct figures f = {.c = c, .out = &out, .settings = settings_hold()};
    vitals_figures(&f.v);
    vitals_cpu(&f.cpu);
    if (host != NULL && c->now_ms > host->started_ms)
        f.uptime_s = (double)(c->now_ms - host->started_ms) / 1000;
    write_all(&f);
    if (f.res == RES_OK)
        reply_bulk(c->reply, buf_slice(&out));
    settings_release(f.settings);
    buf_fini(&out);
    return f.res;
}

static const struct command metrics_command = {
    .name = "info",
    .arity = 1,
    .flags = CMD_LOADING | CMD_STALE,
    .acl = ACL_DANGEROUS,
    .group = "server",
    .run = run_metrics,
};
static struct command_entry entry;

void metrics_init(void)
{
    const struct command_entry *model = command_lookup(SLICE_LIT("info"));
    assert(model != NULL);
    entry = *model;
    entry.command = &metrics_command;
}

const struct command_entry *metrics_entry(void) { return &entry; }
