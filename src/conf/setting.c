/* The table of settings, and the way between a setting's text and its value. */
#include "conf/setting.h"

#include <assert.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/num.h"
#include "front/front.h"

/* Values of enumerated settings, in the order of the C enums they stand for. A '!' marks what is not built yet. */
static const char *const enum_loglevel[] = {"debug", "verbose", "notice", "warning", "nothing", NULL};
static const char *const enum_log_format[] = {"text", "json", NULL};
static const char *const enum_protected[] = {"no", "local", "yes", NULL};
static const char *const enum_engine[] = {"lsm", "memory", "btree", "file", NULL};
static const char *const enum_appendfsync[] = {"always", "everysec", "no", NULL};
static const char *const enum_recovery[] = {"strict", "point-in-time", "salvage", NULL};
static const char *const enum_maxmemory_policy[] = {"noeviction",    "!volatile-lru",   "!allkeys-lru",
                                                    "!volatile-lfu", "!allkeys-lfu",    "!volatile-random",
                                                    "!volatile-ttl", "!allkeys-random", NULL};
static const char *const enum_sanitize[] = {"no", "yes", "clients", NULL};
static const char *const enum_diskless_load[] = {"disabled", "on-empty-db", "swapdb", NULL};
static const char *const enum_supervised[] = {"no", "upstart", "systemd", "auto", NULL};
static const char *const enum_syslog_facility[] = {"local0", "local1", "local2", "local3", "local4",
                                                   "local5", "local6", "local7", "user",   NULL};
static const char *const enum_oom_score_adj[] = {"no", "yes", "relative", "absolute", NULL};

static const struct {
    const char *title;
    int first;
} sections[] = {
#define SECTION(id, title) {title, SECTION_FIRST_##id},
#define BOOL(...)
#define INT(...)
#define MEMORY(...)
#define OCTAL(...)
#define ENUM(...)
#define STRING(...)
#define LIMITS(...)
#define QUANTILES(...)
#define ALIAS(...)
#define FLAG_ALIAS(...)
#include "conf/table.def"
#include "conf/table_end.def"
};

static const struct {
    const char *alias, *name;
} aliases[] = {
#define SECTION(...)
#define BOOL(...)
#define INT(...)
#define MEMORY(...)
#define OCTAL(...)
#define ENUM(...)
#define STRING(...)
#define LIMITS(...)
#define QUANTILES(...)
#define ALIAS(alias, name) {alias, name},
#define FLAG_ALIAS(...)
#include "conf/table.def"
#include "conf/table_end.def"
};

static const struct setting_flag_alias flag_aliases[] = {
#define SECTION(...)
#define BOOL(...)
#define INT(...)
#define MEMORY(...)
#define OCTAL(...)
#define ENUM(...)
#define STRING(...)
#define LIMITS(...)
#define QUANTILES(...)
#define ALIAS(...)
#define FLAG_ALIAS(alias, name, doc) {alias, name, doc},
#include "conf/table.def"
#include "conf/table_end.def"
};

/* Settings of Redis that are not there: a better answer than "unknown". A trailing '-' stands for all that begin so. */
static const char *const foreign[] = {
    "active-defrag-",
    "aof-",
    "aof_rewrite_cpulist",
    "bgsave_cpulist",
    "bind-source-addr",
    "bio_cpulist",
    "cluster-",
    "acl-pubsub-default",
    "enable-module-command",
    "enable-protected-configs",
    "gopher-enabled",
    "ignore-warnings",
    "io-threads-",
    "latency-",
    "loadmodule",
    "locale-collate",
    "propagation-error-behavior",
    "rename-command",
    "repl-",
    "replica-",
    "sentinel",
    "server_cpulist",
    "slave-",
    "socket-mark-id",
    "tls-",
    "user",
};

#define LIMITS_DEFAULT "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60"

#define START 0
#define RUN SETTING_RUN
#define AUTO SETTING_AUTO
#define NO_EFFECT SETTING_NO_EFFECT
#define PENDING SETTING_PENDING
#define PERCENT SETTING_PERCENT
#define WORDS SETTING_WORDS
#define ADDS SETTING_ADDS
#define SECRET SETTING_SECRET
#define ROW(f, n, t, fl, d)                                                                                            \
    .id = SETTING_##f, .type = (t), .flags = (fl), .name = (n), .doc = (d), .offset = offsetof(struct settings, f)

static const struct setting table[SETTING_COUNT] = {
#define SECTION(...)
#define BOOL(f, n, v, fl, d) {ROW(f, n, SETTING_BOOL, fl, d), .number = (v)},
#define INT(f, n, v, lo, hi, fl, d) {ROW(f, n, SETTING_INT, fl, d), .number = (v), .min = (lo), .max = (hi)},
#define MEMORY(f, n, v, lo, hi, fl, d) {ROW(f, n, SETTING_MEMORY, fl, d), .number = (v), .min = (lo), .max = (hi)},
#define OCTAL(f, n, v, lo, hi, fl, d) {ROW(f, n, SETTING_OCTAL, fl, d), .number = (v), .min = (lo), .max = (hi)},
#define ENUM(f, n, v, e, fl, d) {ROW(f, n, SETTING_ENUM, fl, d), .number = (v), .values = (e)},
#define STRING(f, n, v, c, fl, d) {ROW(f, n, SETTING_STRING, fl, d), .text = (v), .check = (c)},
#define LIMITS(f, n, fl, d) {ROW(f, n, SETTING_LIMITS, fl, d), .text = LIMITS_DEFAULT},
#define QUANTILES(f, n, v, fl, d) {ROW(f, n, SETTING_QUANTILES_LIST, fl, d), .text = (v)},
#define ALIAS(...)
#define FLAG_ALIAS(...)
#include "conf/table.def"
#include "conf/table_end.def"
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

const struct setting *setting_by_id(enum setting_id id)
{
    assert((unsigned)id < SETTING_COUNT);
    return &table[id];
}

const struct setting *setting_find(struct slice name)
{
    for (size_t i = 0; i < SETTING_COUNT; i++)
        if (slice_eq_nocase(name, table[i].name))
            return &table[i];
    for (size_t i = 0; i < COUNT(aliases); i++)
        if (slice_eq_nocase(name, aliases[i].alias))
            return setting_find(slice_str(aliases[i].name));
    return NULL;
}

const char *setting_alias(const struct setting *d)
{
    for (size_t i = 0; i < COUNT(aliases); i++)
        if (strcmp(aliases[i].name, d->name) == 0)
            return aliases[i].alias;
    return NULL;
}

const char *setting_section(enum setting_id id)
{
    for (size_t i = 0; i < COUNT(sections); i++)
        if (sections[i].first == (int)id)
            return sections[i].title;
    return NULL;
}

const struct setting_flag_alias *setting_flag_aliases(size_t *count)
{
    *count = COUNT(flag_aliases);
    return flag_aliases;
}

bool setting_is_foreign(struct slice name)
{
    for (size_t i = 0; i < COUNT(foreign); i++) {
        size_t len = strlen(foreign[i]);
        bool family = foreign[i][len - 1] == '-';
        if (slice_eq_nocase(slice_of(name.data, family && name.len > len ? len : name.len), foreign[i]))
            return true;
    }
    return false;
}

/* Insertions, deletions and replacements between a name and a text, or `limit` when there are as many. */
static size_t edit_distance(struct slice text, const char *name, size_t limit)
{
    size_t n = strlen(name), row[64];
    if (n >= COUNT(row) || text.len >= COUNT(row))
        return limit;
    for (size_t j = 0; j <= n; j++)
        row[j] = j;
    for (size_t i = 1; i <= text.len; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        uint8_t c = text.data[i - 1];
        c = c == '_' ? '-' : c >= 'A' && c <= 'Z' ? (uint8_t)(c + 32) : c;
        for (size_t j = 1; j <= n; j++) {
            size_t replaced = diagonal + (c != (uint8_t)name[j - 1]);
            diagonal = row[j];
            size_t shorter = row[j] < row[j - 1] ? row[j] + 1 : row[j - 1] + 1;
            row[j] = replaced < shorter ? replaced : shorter;
        }
    }
    return row[n] < limit ? row[n] : limit;
}

const char *setting_nearest(struct slice name)
{
    const char *best = NULL;
    size_t limit = name.len / 3 + 2, distance;
    for (size_t i = 0; i < SETTING_COUNT + COUNT(aliases); i++) {
        const char *candidate = i < SETTING_COUNT ? table[i].name : aliases[i - SETTING_COUNT].alias;
        if ((distance = edit_distance(name, candidate, limit)) < limit) {
            limit = distance;
            best = candidate;
        }
    }
    return best;
}
