/* kvctl info and kvctl stats: INFO, made readable. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tools/kvctl/progress.h"
#include "tools/kvctl/server_info.h"

/* ---- fields ---- */

char *info_fetch(struct kvctl *k)
{
    redisReply *r = client_callf(k, "INFO everything");
    if (!r || client_refused(r))
        return NULL;
    char *text = NULL;
    if (r->type != REDIS_REPLY_STRING || asprintf(&text, "\n%s", r->str) < 0) {
        (void)complain("INFO gave no text");
        text = NULL;
    }
    freeReplyObject(r);
    for (char *p = text; p && *p; p++)
        if (*p == '\r')
            *p = '\n';
    return text;
}

/* The value of a field: behind "\nname:". NULL: there is none. */
static const char *field(const char *info, const char *name)
{
    size_t len = strlen(name);
    for (const char *at = info; (at = strstr(at, name)) != NULL; at += len)
        if (at > info && at[-1] == '\n' && at[len] == ':')
            return at + len + 1;
    return NULL;
}

const char *info_text(const char *info, const char *name, char *out, size_t room)
{
    const char *at = field(info, name);
    size_t len = at ? strcspn(at, "\n") : 0;
    len = len < room ? len : room - 1;
    if (len)
        memcpy(out, at, len);
    out[len] = 0;
    return out;
}

double info_number(const char *info, const char *name)
{
    const char *at = field(info, name);
    return at ? strtod(at, NULL) : 0;
}

static double part_of(const char *line, const char *part)
{
    size_t len = strlen(part), end = strcspn(line, "\n");
    for (const char *at = line; at < line + end; at += strcspn(at, ",\n") + 1)
        if (strncmp(at, part, len) == 0 && at[len] == '=')
            return strtod(at + len + 1, NULL);
    return 0;
}

double info_part(const char *info, const char *name, const char *part)
{
    const char *at = field(info, name);
    return at ? part_of(at, part) : 0;
}

double info_keys(const char *info, const char *part)
{
    double sum = 0;
    for (const char *at = info; (at = strstr(at, "\ndb")) != NULL; at++) {
        const char *colon = at + 3 + strspn(at + 3, "0123456789");
        if (colon > at + 3 && *colon == ':')
            sum += part_of(colon + 1, part);
    }
    return sum;
}

/* ---- info ---- */

static double percent(double part, double whole) { return whole > 0 ? 100 * part / whole : 0; }

static void heading(const struct kvctl *k, const char *text)
{
    printf(k->terminal ? "\n\033[1m%s\033[0m\n" : "\n%s\n", text);
}

static void show_bytes(const char *name, double n, const char *rest)
{
    char b[32];
    printf("  %-22s %s%s\n", name, human_bytes(n, b), rest);
}

static void show_server(const char *i)
{
    char version[64], engine[32], dir[256], time[32], state[256];
    info_text(i, "varve_version", version, sizeof version);
    bool ours = *version != 0;
    if (!ours)
        info_text(i, "redis_version", version, sizeof version);
    printf("%s %s, port %.0f, process %.0f, up %s\n", ours ? "varve" : "redis", version, info_number(i, "tcp_port"),
           info_number(i, "process_id"), human_seconds(info_number(i, "uptime_in_seconds"), time));
    if (!ours)
        return;
    info_text(i, "storage_failure", state, sizeof state);
    printf("engine %s, data in %s: %s\n", info_text(i, "storage_engine", engine, sizeof engine),
           info_text(i, "storage_dir", dir, sizeof dir), *state ? state : "sound");
}

static void show_memory(const struct kvctl *k, const char *i)
{
    char rest[128], b[32];
    double used = info_number(i, "used_memory"), limit = info_number(i, "maxmemory");
    double hits = info_number(i, "cache_hits"), misses = info_number(i, "cache_misses");
    heading(k, "Memory");
    snprintf(rest, sizeof rest, limit > 0 ? " of %s (%.1f%%)" : "%s", limit > 0 ? human_bytes(limit, b) : ", no limit",
             percent(used, limit));
    show_bytes("used", used, rest);
    show_bytes("peak", info_number(i, "used_memory_peak"), "");
    show_bytes("resident", info_number(i, "used_memory_rss"), "");
    snprintf(rest, sizeof rest, " of %s", human_bytes(info_number(i, "cache_capacity"), b));
    show_bytes("block cache", info_number(i, "cache_bytes"), rest);
    if (hits + misses > 0)
        printf("  %-22s %.1f%% of block look-ups\n", "block cache hits", percent(hits, hits + misses));
    snprintf(rest, sizeof rest, " in %.0f", info_number(i, "memtables"));
    show_bytes("memtables", info_number(i, "memtable_bytes"), rest);
}

static void show_keys(const struct kvctl *k, const char *i)
{
    char a[32], b[32];
    double hits = info_number(i, "keyspace_hits"), misses = info_number(i, "keyspace_misses");
    heading(k, "Keys");
    printf("  %-22s %.0f, %.0f with an expiry\n", "keys", info_keys(i, "keys"), info_keys(i, "expires"));
    if (hits + misses > 0)
        printf("  %-22s %.1f%% (%s found, %s missing)\n", "hit ratio", percent(hits, hits + misses),
               human_count(hits, a), human_count(misses, b));
    printf("  %-22s %s\n", "expired so far", human_count(info_number(i, "expired_keys"), a));
}

static void show_disk(const struct kvctl *k, const char *i)
{
    char rest[128], b[32];
    heading(k, "Disk");
    show_bytes("on disk", info_number(i, "disk_bytes"), "");
    snprintf(rest, sizeof rest, " in %.0f segments", info_number(i, "log_segments"));
    show_bytes("log", info_number(i, "log_bytes"), rest);
    printf("  %-22s mean %.2f ms, longest %.1f ms, %.1f commits each\n", "log syncs",
           info_number(i, "log_sync_mean_ms"), info_number(i, "log_sync_max_ms"),
           info_number(i, "log_commits_per_sync"));
    snprintf(rest, sizeof rest, ", %.0f running, write amplification %.2f", info_number(i, "compactions_running"),
             info_number(i, "write_amplification"));
    show_bytes("waits for compaction", info_number(i, "compaction_pending_bytes"), rest);
    for (int level = 0; level < 8; level++) {
        char name[16];
        snprintf(name, sizeof name, "level%d", level);
        double files = info_part(i, name, "files");
        if (files > 0)
            printf("  level %d %*s %.0f tables, %s, %.0f records, %.0f tombstones\n", level, 14, "", files,
                   human_bytes(info_part(i, name, "bytes"), b), info_part(i, name, "records"),
                   info_part(i, name, "tombstones"));
    }
}

static void show_work(const struct kvctl *k, const char *i)
{
    char a[32], b[32];
    heading(k, "Work");
    printf("  %-22s %.0f of %.0f at most, %.0f waiting\n", "clients", info_number(i, "connected_clients"),
           info_number(i, "maxclients"), info_number(i, "blocked_clients"));
    printf("  %-22s %.0f a second, %s in all, %.0f errors\n", "commands", info_number(i, "instantaneous_ops_per_sec"),
           human_count(info_number(i, "total_commands_processed"), a), info_number(i, "total_error_replies"));
    printf("  %-22s %.0f reads, %.0f writes, %.0f queued now\n", "went to the pool", info_number(i, "away_reads"),
           info_number(i, "away_writes"), info_number(i, "pool_queue"));
    heading(k, "Stalls");
    printf("  %-22s %s waited for log or memtable, %s paced\n", "writes",
           human_count(info_number(i, "commit_waits"), a), human_count(info_number(i, "commit_paced"), b));
    printf("  %-22s mean %.2f us, longest %.1f us, %.0f over 1 ms\n", "write latch held",
           info_number(i, "latch_mean_ns") / 1e3, info_number(i, "latch_max_us"), info_number(i, "latch_over_1ms"));
    printf("  %-22s %.0f\n", "slow mode", info_number(i, "slow_mode"));
}

/* Every field as it stands in INFO, as one JSON object of strings. */
static void show_json(const char *i)
{
    const char *sep = "{";
    while (*i) {
        size_t len = strcspn(i, "\n"), name = strcspn(i, ":\n");
        if (name < len && *i != '#') {
            fputs(sep, stdout);
            print_json_string(stdout, slice_of(i, name));
            putchar(':');
            print_json_string(stdout, slice_of(i + name + 1, len - name - 1));
            sep = ",";
        }
        i += len + (i[len] != 0);
    }
    puts("}");
}

int run_info(struct kvctl *k)
{
    char *i = info_fetch(k);
    if (!i)
        return KVCTL_ERROR;
    if (k->json) {
        show_json(i);
    } else {
        show_server(i);
        show_keys(k, i);
        show_memory(k, i);
        show_disk(k, i);
        show_work(k, i);
    }
    free(i);
    return KVCTL_DONE;
}

/* ---- stats ---- */

/* A column: what it is called, and how it comes from two INFOs. */
struct column {
    const char *title, *field;
    enum { COLUMN_NOW, COLUMN_RATE, COLUMN_BYTES_NOW, COLUMN_BYTES_RATE } kind;
};
static const struct column columns[] = {
    {"commands/s", "total_commands_processed", COLUMN_RATE},
    {"commits/s", "commits", COLUMN_RATE},
    {"syncs/s", "log_syncs", COLUMN_RATE},
    {"in/s", "total_net_input_bytes", COLUMN_BYTES_RATE},
    {"out/s", "total_net_output_bytes", COLUMN_BYTES_RATE},
    {"pool/s", "away_reads", COLUMN_RATE},
    {"clients", "connected_clients", COLUMN_NOW},
    {"memory", "used_memory", COLUMN_BYTES_NOW},
    {"disk", "disk_bytes", COLUMN_BYTES_NOW},
    {"stalls", "commit_waits", COLUMN_RATE},
    {"errors/s", "total_error_replies", COLUMN_RATE},
};
#define COLUMNS (sizeof columns / sizeof *columns)

static double column_value(const struct column *c, const char *before, const char *now, double seconds)
{
    double v = info_number(now, c->field);
    if (c->kind == COLUMN_RATE || c->kind == COLUMN_BYTES_RATE)
        v = seconds > 0 ? (v - info_number(before, c->field)) / seconds : 0;
    return v;
}

/* Share of look-ups since the last line that found their key; below 0: there was none. */
static double hit_ratio(const char *before, const char *now)
{
    double hits = info_number(now, "keyspace_hits") - info_number(before, "keyspace_hits");
    double misses = info_number(now, "keyspace_misses") - info_number(before, "keyspace_misses");
    return hits + misses > 0 ? percent(hits, hits + misses) : -1;
}

static void stats_line(const struct kvctl *k, const char *before, const char *now, double seconds)
{
    char text[32], clock[16];
    time_t t = time(NULL);
    struct tm tm;
    double hit = hit_ratio(before, now);
    if (k->json) {
        printf("{\"time\":%lld,\"keys\":%.0f", (long long)t, info_keys(now, "keys"));
        for (size_t i = 0; i < COLUMNS; i++)
            printf(",\"%s\":%.1f", columns[i].title, column_value(&columns[i], before, now, seconds));
        if (hit >= 0)
            printf(",\"hits\":%.1f", hit);
        puts("}");
        return;
    }
    strftime(clock, sizeof clock, "%H:%M:%S", localtime_r(&t, &tm));
    printf("%s %9s", clock, human_count(info_keys(now, "keys"), text));
    for (size_t i = 0; i < COLUMNS; i++) {
        double v = column_value(&columns[i], before, now, seconds);
        bool bytes = columns[i].kind == COLUMN_BYTES_NOW || columns[i].kind == COLUMN_BYTES_RATE;
        printf(" %10s", bytes ? human_bytes(v, text) : human_count(v, text));
    }
    snprintf(text, sizeof text, hit < 0 ? "-" : "%.1f%%", hit);
    printf(" %7s\n", text);
}

static void stats_head(void)
{
    printf("%-8s %9s", "time", "keys");
    for (size_t i = 0; i < COLUMNS; i++)
        printf(" %10s", columns[i].title);
    printf(" %7s\n", "hits");
}

int run_stats(struct kvctl *k)
{
    const char *text = option("interval");
    double interval = text ? strtod(text, NULL) : 1;
    int64_t count = option_number("count", INT64_MAX, 1, INT64_MAX);
    if (!(interval >= 0.01 && interval < 1e6))
        return complain("--interval wants seconds, not '%s'", text);
    char *before = info_fetch(k);
    uint64_t at = mono_ns();
    struct timespec pause = {(time_t)interval, (long)((interval - (double)(time_t)interval) * 1e9)};
    for (int64_t n = 0; before && n < count; n++) {
        nanosleep(&pause, NULL);
        char *now = info_fetch(k);
        if (!now)
            break;
        uint64_t then = at;
        at = mono_ns();
        if (n % 20 == 0 && !k->json)
            stats_head();
        stats_line(k, before, now, (double)(at - then) / 1e9);
        free(before);
        before = now;
        if (fflush(stdout) != 0)
            break;
        if (n + 1 == count) {
            free(before);
            return KVCTL_DONE;
        }
    }
    free(before);
    return KVCTL_ERROR;
}
