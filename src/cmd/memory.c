/* MEMORY: what the process and its keys use. */
#include <inttypes.h>
#include <stdio.h>

#include "base/num.h"
#include "cmd/help.h"
#include "cmd/vitals.h"
#include "conf/settings.h"
#include "store/store.h"

/* What a key costs beside its own bytes: the record's key and metadata in a memtable or a table's block. */
#define RECORD_OVERHEAD 64
#define CHUNK_OVERHEAD 48

static enum result memory_usage(struct call *c)
{
    for (int i = 3; i < c->argc; i += 2) {
        int64_t samples;
        if (i + 1 == c->argc || !slice_eq_nocase(call_arg(c, i), "samples"))
            return reply_syntax_error(c->reply);
        if (num_parse_i64(call_arg(c, i + 1), &samples) != RES_OK)
            return reply_not_integer(c->reply);
        if (samples < 0)
            return reply_syntax_error(c->reply);
    }
    struct store_key key;
    struct object o;
    enum result res = store_key_init(c, c->session->db, call_arg(c, 2), &key);
    if (res == RES_OK)
        res = store_read(c, &key, LOOKUP_NO_STATS | LOOKUP_NO_TOUCH | LOOKUP_NO_EVENT, &o);
    if (res != RES_OK)
        return res;
    if (!o.exists) {
        reply_null(c->reply);
        return RES_OK;
    }
    uint64_t bytes = RECORD_OVERHEAD + key.meta.bytes.len + o.length + o.attributes.len;
    if (o.pieces)
        bytes += (o.type == TYPE_STRING ? o.length / STORE_CHUNK + 1 : o.count) * CHUNK_OVERHEAD;
    if (key.user.len > STORE_KEY_INLINE)
        bytes += key.user.len;
    reply_integer(c->reply, (int64_t)bytes);
    return RES_OK;
}

/* ---- STATS ---- */

static double ratio(uint64_t a, uint64_t b) { return b ? (double)a / (double)b : 0; }

static void pair_integer(struct sink *reply, const char *name, uint64_t value)
{
    reply_bulk_str(reply, name);
    reply_integer(reply, (int64_t)value);
}

static void pair_real(struct sink *reply, const char *name, double value)
{
    reply_bulk_str(reply, name);
    reply->ops->real(reply, value);
}

static enum result count_keys(struct call *c, uint64_t *out)
{
    uint32_t databases = store_databases(c->shard);
    uint64_t sum = 0;
    for (uint32_t db = 0; db < databases; db++) {
        int64_t keys, expires;
        enum result res = store_db_size(c, db, &keys, &expires);
        if (res != RES_OK)
            return res;
        sum += (uint64_t)keys;
    }
    *out = sum;
    return RES_OK;
}

static enum result memory_stats(struct call *c)
{
    struct vitals_memory m;
    struct sink *r = c->reply;
    uint64_t keys;
    enum result res = count_keys(c, &keys);
    if (res != RES_OK)
        return res;
    vitals_memory(c->shard, &m);
    uint64_t overhead = m.overhead < m.used ? m.overhead : m.used, dataset = m.used - overhead;
    uint64_t net = m.used > m.startup ? m.used - m.startup : 1;
    reply_map(r, 27);
    pair_integer(r, "peak.allocated", m.peak);
    pair_integer(r, "total.allocated", m.used);
    pair_integer(r, "startup.allocated", m.startup);
    pair_integer(r, "replication.backlog", 0);
    pair_integer(r, "clients.slaves", 0);
    pair_integer(r, "clients.normal", m.clients);
    pair_integer(r, "cluster.links", 0);
    pair_integer(r, "aof.buffer", 0);
    pair_integer(r, "lua.caches", 0);
    pair_integer(r, "functions.caches", 0);
    pair_integer(r, "overhead.total", overhead);
    pair_integer(r, "keys.count", keys);
    pair_integer(r, "keys.bytes-per-key", keys ? net / keys : 0);
    pair_integer(r, "dataset.bytes", dataset);
    pair_real(r, "dataset.percentage", 100 * ratio(dataset, net) < 100 ? 100 * ratio(dataset, net) : 100);
    pair_real(r, "peak.percentage", 100 * ratio(m.used, m.peak));
    pair_integer(r, "allocator.allocated", m.heap.allocated);
    pair_integer(r, "allocator.active", m.heap.active);
    pair_integer(r, "allocator.resident", m.heap.resident);
    pair_real(r, "allocator-fragmentation.ratio", ratio(m.heap.active, m.heap.allocated));
    pair_integer(r, "allocator-fragmentation.bytes", m.heap.active - m.heap.allocated);
    pair_real(r, "allocator-rss.ratio", ratio(m.heap.resident, m.heap.active));
    pair_integer(r, "allocator-rss.bytes", m.heap.resident - m.heap.active);
    pair_real(r, "rss-overhead.ratio", ratio(m.rss, m.heap.resident + m.mapped));
    pair_integer(r, "rss-overhead.bytes", m.rss - m.heap.resident - m.mapped);
    pair_real(r, "fragmentation", ratio(m.rss, m.used));
    pair_integer(r, "fragmentation.bytes", m.rss - m.used);
    return RES_OK;
}

/* ---- DOCTOR and the allocator ---- */

#define MIB (1024.0 * 1024)

static enum result memory_doctor(struct call *c)
{
    struct vitals_memory m;
    struct buf text = BUF_INIT;
    enum result res = RES_OK;
    int found = 0;
    vitals_memory(c->shard, &m);
    double budget = (double)c->settings->maxmemory;
    if ((double)m.needed > budget && ++found)
        res = buf_printf(&text,
                         "* The memory in use (%.1f MB, cached blocks aside) is above maxmemory (%.1f MB): writes are "
                         "refused until it is "
                         "below. Raise maxmemory, or lower memtable-size.\n",
                         (double)m.needed / MIB, budget / MIB);
    if (res == RES_OK && (double)m.rss > 1.1 * budget && ++found)
        res = buf_printf(&text,
                         "* The resident memory (%.1f MB) is more than a tenth above maxmemory (%.1f MB). MEMORY "
                         "PURGE gives back what the allocator keeps.\n",
                         (double)m.rss / MIB, budget / MIB);
    if (res == RES_OK && m.heap.allocated > 64 * MIB && ratio(m.heap.active, m.heap.allocated) > 1.4 && ++found)
        res = buf_printf(&text, "* The heap is fragmented: %.1f MB are in use of %.1f MB in its pages.\n",
                         (double)m.heap.allocated / MIB, (double)m.heap.active / MIB);
    if (res == RES_OK && (double)m.clients > budget / 4 && ++found)
        res = buf_printf(&text,
                         "* The buffers of clients hold %.1f MB. CLIENT LIST shows whose: clients that do not read "
                         "their replies, or requests that are sent slowly.\n",
                         (double)m.clients / MIB);
    if (res == RES_OK && found == 0)
        res = buf_printf(&text, "Nothing to report: %.1f MB in use, %.1f MB at most so far, of a budget of %.1f MB.\n",
                         (double)m.used / MIB, (double)m.peak / MIB, budget / MIB);
    if (res == RES_OK)
        c->reply->ops->verbatim(c->reply, "txt", buf_slice(&text));
    buf_fini(&text);
    return res;
}

static enum result memory_malloc_stats(struct call *c)
{
    struct buf text = BUF_INIT;
    enum result res = heap_report(&text);
    if (res == RES_UNSUPPORTED)
        res = buf_printf(&text, "Stats not supported for the current allocator");
    if (res == RES_OK)
        c->reply->ops->verbatim(c->reply, "txt", buf_slice(&text));
    buf_fini(&text);
    return res;
}

static enum result memory_purge(struct call *c)
{
    heap_purge();
    reply_ok(c->reply);
    return RES_OK;
}

static enum result memory_help(struct call *c)
{
    static const char *const lines[] = {
        "DOCTOR",
        "    What is wrong with the memory, in sentences.",
        "MALLOC-STATS",
        "    The allocator's own report.",
        "PURGE",
        "    Give free memory back to the system.",
        "STATS",
        "    What the memory is used for.",
        "USAGE <key> [SAMPLES <count>]",
        "    Bytes that a key and its value take.",
        NULL,
    };
    return reply_help(c, lines);
}

/* ---- declarations ---- */

static const struct command_keyspec usage_keys[] = {
    {.flags = KEY_RO, .begin = KEYS_INDEX, .index = 2, .find = KEYS_RANGE, .last = 0, .step = 1},
    {0}};
static const struct command_arg usage_args[] = {
    {.name = "key", .type = ARG_KEY, .key_spec = 0},
    {.name = "count", .type = ARG_INTEGER, .token = "SAMPLES", .flags = ARG_OPTIONAL},
    {0}};
static const char *const shard_tips[] = {"nondeterministic_output", "request_policy:all_shards",
                                         "response_policy:special", NULL};
static const char *const purge_tips[] = {"request_policy:all_shards", "response_policy:all_succeeded", NULL};

static const struct command sub_usage = {
    .name = "usage",
    .arity = -3,
    .flags = CMD_READONLY,
    .group = "server",
    .since = "4.0.0",
    .complexity = "O(1)",
    .summary = "Returns the bytes that a key and its value take.",
    .keys = usage_keys,
    .args = usage_args,
    .run = memory_usage,
};
static const struct command sub_stats = {
    .name = "stats",
    .arity = 2,
    .group = "server",
    .since = "4.0.0",
    .complexity = "O(1)",
    .summary = "Returns what the memory is used for.",
    .tips = shard_tips,
    .run = memory_stats,
};
static const struct command sub_doctor = {
    .name = "doctor",
    .arity = 2,
    .group = "server",
    .since = "4.0.0",
    .complexity = "O(1)",
    .summary = "Explains what is wrong with the memory in use.",
    .tips = shard_tips,
    .run = memory_doctor,
};
static const struct command sub_malloc_stats = {
    .name = "malloc-stats",
    .arity = 2,
    .flags = CMD_LONG,
    .group = "server",
    .since = "4.0.0",
    .complexity = "Depends on how much memory is allocated.",
    .summary = "Returns the allocator's report.",
    .tips = shard_tips,
    .run = memory_malloc_stats,
};
static const struct command sub_purge = {
    .name = "purge",
    .arity = 2,
    .flags = CMD_LONG,
    .group = "server",
    .since = "4.0.0",
    .complexity = "Depends on how much memory is allocated.",
    .summary = "Gives free memory back to the system.",
    .tips = purge_tips,
    .run = memory_purge,
};
static const struct command sub_help = {
    .name = "help",
    .arity = 2,
    .flags = CMD_LOADING | CMD_STALE | CMD_SESSION,
    .group = "server",
    .since = "4.0.0",
    .complexity = "O(1)",
    .summary = "Lists the subcommands.",
    .run = memory_help,
};
static const struct command *const subcommands[] = {&sub_doctor,       &sub_stats, &sub_usage, &sub_purge,
                                                    &sub_malloc_stats, &sub_help,  NULL};

const struct command cmd_memory = {
    .name = "memory",
    .arity = -2,
    .group = "server",
    .since = "4.0.0",
    .complexity = "Depends on subcommand.",
    .summary = "Commands about the memory in use.",
    .subcommands = subcommands,
};
