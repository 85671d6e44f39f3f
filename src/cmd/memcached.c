/* The memcached protocol's commands: see memcached.h. What they mean follows memcached's protocol_binary.txt, and where that
 * is silent, what the program does.
 *
 * Expiry: 0 is never; up to 30 days it counts from now, in seconds; above, since 1970. A time that has passed stores what is
 * gone at once: the key is deleted. Numbers are the decimal text of 64 bits without sign, which RESP's INCR understands as
 * far as 63. */
#include "cmd/memcached.h"

#include <assert.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/num.h"
#include "cmd/declare.h"
#include "cmd/host.h"
#include "cmd/support.h"
#include "cmd/table.h"
#include "conf/settings.h"
#include "config.h"
#include "proto/memcached.h"
#include "store/attributes.h"

#define RELATIVE_MAX (60 * 60 * 24 * 30)

/* ---- what all share ---- */

static enum result reply_code_only(struct call *c, enum memcached_status status)
{
    reply_integer(c->reply, status);
    return RES_OK;
}

static enum result reply_stored(struct call *c, uint64_t cas)
{
    reply_array(c->reply, 2);
    reply_integer(c->reply, MC_OK);
    reply_integer(c->reply, (int64_t)cas);
    return RES_OK;
}

static struct memcached_head head_of(const struct call *c)
{
    struct memcached_head h;
    memcached_head_get(c->argv[c->argc - 1], &h);
    return h;
}

/* The time as ms since 1970; 0: never. *gone: it has passed. */
static uint64_t expiry_of(const struct call *c, uint32_t expiry, bool *gone)
{
    uint64_t ms = (uint64_t)expiry * 1000;
    if (expiry != 0 && expiry <= RELATIVE_MAX)
        ms += c->now_ms;
    *gone = ms != 0 && ms <= c->now_ms;
    return ms;
}

static uint32_t flags_of(const struct object *o)
{
    struct slice flags = attribute_get(o->attributes, ATTRIBUTE_FLAGS);
    return flags.len == 4 ? get_be32(flags.data) : 0;
}

/* The key, for a writer. *status: MC_OK, or why it cannot be done: it is missing (and `missing` says what that means), of
 * another type, or its CAS is another one. */
static enum result find(struct call *c, struct store_key *key, struct object *o, uint64_t cas,
                        enum memcached_status missing, enum memcached_status *status)
{
    uint64_t version;
    *status = MC_OK;
    enum result r = arg_key(c, 1, key);
    if (r == RES_OK)
        r = store_write(c, key, o);
    if (r != RES_OK)
        return r;
    if (!o->exists)
        *status = cas ? MC_NOT_FOUND : missing;
    else if (cas && o->type != TYPE_STRING)
        *status = MC_EXISTS;
    else if (cas && (r = store_string_version(c, o, &version)) == RES_OK && version != cas)
        *status = MC_EXISTS;
    return r;
}

/* ---- reading ---- */

static enum result reply_value(struct call *c, const struct object *o, bool with_value)
{
    uint64_t cas;
    enum result r = store_string_version(c, o, &cas);
    if (r != RES_OK)
        return r;
    reply_array(c->reply, with_value ? 4 : 3);
    reply_integer(c->reply, MC_OK);
    reply_integer(c->reply, (int64_t)cas);
    reply_integer(c->reply, flags_of(o));
    return with_value ? store_string_reply(c, o) : RES_OK;
}

static enum result run_get(struct call *c)
{
    struct store_key key;
    struct object o;
    enum result r = arg_key(c, 1, &key);
    if (r == RES_OK)
        r = store_read(c, &key, 0, &o);
    if (r != RES_OK)
        return r;
    if (!o.exists)
        return reply_code_only(c, MC_NOT_FOUND);
    return o.type == TYPE_STRING ? reply_value(c, &o, true) : reply_code_only(c, MC_NOT_SUPPORTED);
}

static const struct command get_command = {
    .name = "get",
    .arity = 3,
    .flags = CMD_READONLY | CMD_FAST,
    .acl = ACL_STRING,
    .group = "string",
    .keys = key_read,
    .run = run_get,
};

/* TOUCH, GAT */
static enum result touch(struct call *c, bool with_value)
{
    struct memcached_head h = head_of(c);
    struct store_key key;
    struct object o;
    enum memcached_status status;
    bool gone;
    enum result r = find(c, &key, &o, 0, MC_NOT_FOUND, &status);
    if (r != RES_OK)
        return r;
    store_count_lookup(c, &o);
    if (status == MC_OK && o.type != TYPE_STRING)
        status = MC_NOT_SUPPORTED;
    if (status != MC_OK)
        return reply_code_only(c, status);
    uint64_t ms = expiry_of(c, h.expiry, &gone);
    if ((r = reply_value(c, &o, with_value)) != RES_OK)
        return r;
    if (gone)
        return delete_key(c, &o);
    r = store_set_expiry(c, &o, ms);
    return r == RES_OK ? key_event(c, EVENT_GENERIC, ms ? "expire" : "persist", &key) : r;
}

static enum result run_touch(struct call *c) { return touch(c, false); }
static enum result run_gat(struct call *c) { return touch(c, true); }

static const struct command touch_command = {
    .name = "expire",
    .arity = 3,
    .flags = CMD_WRITE | CMD_FAST,
    .acl = ACL_KEYSPACE,
    .group = "generic",
    .keys = key_update,
    .run = run_touch,
};
static const struct command gat_command = {
    .name = "getex",
    .arity = 3,
    .flags = CMD_WRITE | CMD_FAST,
    .acl = ACL_STRING,
    .group = "string",
    .keys = key_change,
    .run = run_gat,
};

/* ---- storing ---- */

static struct slice flags_attribute(struct call *c, uint32_t flags, bool *good)
{
    uint8_t bytes[4], *room = arena_alloc(c->arena, 4 + 3);
    *good = room != NULL;
    put_be32(bytes, flags);
    return room && flags ? attribute_only(ATTRIBUTE_FLAGS, slice_of(bytes, 4), room) : slice_of(NULL, 0);
}

/* The value, with these flags and this expiry, whatever was there. */
static enum result store(struct call *c, struct object *o, struct slice value, uint32_t flags, uint32_t expiry,
                         uint64_t *cas)
{
    bool gone, good;
    uint64_t ms = expiry_of(c, expiry, &gone);
    struct slice attributes = flags_attribute(c, flags, &good);
    if (!good)
        return RES_NO_MEMORY;
    *cas = string_version(value, attributes);
    if (gone)
        return o->exists ? delete_key(c, o) : RES_OK;
    o->attributes = attributes;
    return set_key(c, o, value, ms, PUT_KEEP_ATTRIBUTES);
}

static enum result run_set(struct call *c)
{
    struct memcached_head h = head_of(c);
    struct store_key key;
    struct object o;
    enum memcached_status status;
    uint64_t cas;
    uint8_t loud = c->argv[3].data[1];
    bool add = loud == MC_ADD || loud == MC_ADDQ, replace = loud == MC_REPLACE || loud == MC_REPLACEQ;
    enum result r = find(c, &key, &o, h.cas, replace ? MC_NOT_FOUND : MC_OK, &status);
    if (r != RES_OK)
        return r;
    if (status == MC_OK && add && !h.cas && o.exists)
        status = MC_EXISTS;
    if (status != MC_OK)
        return reply_code_only(c, status);
    r = store(c, &o, c->argv[2], h.flags, h.expiry, &cas);
    return r == RES_OK ? reply_stored(c, cas) : r;
}

static const struct command set_command = {
    .name = "set",
    .arity = 4,
    .flags = CMD_WRITE | CMD_DENYOOM,
    .acl = ACL_STRING,
    .group = "string",
    .keys = key_overwrite,
    .run = run_set,
};

static enum result run_delete(struct call *c)
{
    struct memcached_head h = head_of(c);
    struct store_key key;
    struct object o;
    enum memcached_status status;
    enum result r = find(c, &key, &o, h.cas, MC_NOT_FOUND, &status);
    if (r == RES_OK && status == MC_OK)
        r = delete_key(c, &o);
    if (r != RES_OK)
        return r;
    return status == MC_OK ? reply_stored(c, 0) : reply_code_only(c, status);
}

static const struct command delete_command = {
    .name = "del",
    .arity = 3,
    .flags = CMD_WRITE,
    .acl = ACL_KEYSPACE,
    .group = "generic",
    .keys = (const struct command_keyspec[]){KEY_AT(1, KEY_RM | KEY_DELETE), KEYS_END},
    .run = run_delete,
};

/* ---- APPEND, PREPEND: flags and expiry stay ---- */

static enum result prepend(struct call *c, struct object *o, struct slice more)
{
    struct slice old;
    enum result r = store_string_all(c, o, &old);
    if (r != RES_OK)
        return r;
    uint8_t *p = arena_alloc(c->arena, more.len + old.len);
    if (!p && more.len + old.len)
        return RES_NO_MEMORY;
    if (more.len)
        memcpy(p, more.data, more.len);
    if (old.len)
        memcpy(p + more.len, old.data, old.len);
    return store_set_string(c, o, slice_of(p, more.len + old.len), 0, PUT_KEEP_TTL | PUT_KEEP_ATTRIBUTES);
}

static enum result run_concat(struct call *c)
{
    struct memcached_head h = head_of(c);
    struct store_key key;
    struct object o;
    enum memcached_status status;
    uint8_t opcode = c->argv[3].data[1];
    uint64_t cas;
    enum result r = find(c, &key, &o, h.cas, MC_NOT_STORED, &status);
    if (r != RES_OK)
        return r;
    if (status == MC_OK && o.type != TYPE_STRING)
        status = MC_NOT_SUPPORTED;
    if (status == MC_OK && c->argv[2].len > string_limit(c) - (o.length < string_limit(c) ? o.length : string_limit(c)))
        status = MC_TOO_LARGE;
    if (status != MC_OK)
        return reply_code_only(c, status);
    if (c->argv[2].len == 0)
        r = RES_OK;
    else if (opcode == MC_APPEND || opcode == MC_APPENDQ)
        r = store_string_write(c, &o, o.length, c->argv[2]);
    else
        r = prepend(c, &o, c->argv[2]);
    if (r == RES_OK)
        r = key_event(c, EVENT_STRING, "append", &key);
    if (r == RES_OK)
        r = store_string_version(c, &o, &cas);
    return r == RES_OK ? reply_stored(c, cas) : r;
}

static const struct command concat_command = {
    .name = "append",
    .arity = 4,
    .flags = CMD_WRITE | CMD_DENYOOM,
    .acl = ACL_STRING,
    .group = "string",
    .keys = key_change,
    .run = run_concat,
};

/* ---- INCREMENT, DECREMENT ---- */

static enum result reply_number(struct call *c, uint64_t cas, uint64_t number)
{
    reply_array(c->reply, 3);
    reply_integer(c->reply, MC_OK);
    reply_integer(c->reply, (int64_t)cas);
    reply_integer(c->reply, (int64_t)number);
    return RES_OK;
}

static enum result run_count(struct call *c)
{
    struct memcached_head h = head_of(c);
    struct store_key key;
    struct object o;
    struct slice text;
    enum memcached_status status;
    char digits[NUM_I64_MAX];
    uint64_t number = h.initial, cas;
    uint8_t opcode = c->argv[2].data[1];
    bool down = opcode == MC_DECREMENT || opcode == MC_DECREMENTQ;
    enum result r = find(c, &key, &o, h.cas, h.expiry == MEMCACHED_NO_CREATE ? MC_NOT_FOUND : MC_OK, &status);
    if (r != RES_OK)
        return r;
    if (status == MC_OK && o.exists && o.type != TYPE_STRING)
        status = MC_NOT_A_NUMBER;
    if (status != MC_OK)
        return reply_code_only(c, status);
    if (!o.exists) {
        text = slice_of(digits, num_format_u64(digits, number));
        r = store(c, &o, text, 0, h.expiry, &cas);
        return r == RES_OK ? reply_number(c, cas, number) : r;
    }
    if ((r = store_string_range(c, &o, 0, NUM_I64_MAX + 1, &text)) != RES_OK)
        return r;
    if (num_parse_u64(text, &number) != RES_OK)
        return reply_code_only(c, MC_NOT_A_NUMBER);
    number = !down ? number + h.delta : h.delta < number ? number - h.delta : 0;
    text = slice_of(digits, num_format_u64(digits, number));
    cas = string_version(text, o.attributes);
    r = store_set_string(c, &o, text, 0, PUT_KEEP_TTL | PUT_KEEP_ATTRIBUTES);
    if (r == RES_OK)
        r = key_event(c, EVENT_STRING, "incrby", &key);
    return r == RES_OK ? reply_number(c, cas, number) : r;
}

static const struct command count_command = {
    .name = "incrby",
    .arity = 3,
    .flags = CMD_WRITE | CMD_DENYOOM | CMD_FAST,
    .acl = ACL_STRING,
    .group = "string",
    .keys = key_change,
    .run = run_count,
};

/* ---- STAT ---- */

struct stat_line {
    const char *name;
    uint64_t value;
};

static enum result run_stat(struct call *c)
{
    int64_t keys, expires;
    struct host_stats net = {0};
    struct shard_stats work;
    const struct host *host = host_get();
    enum result r = store_db_size(c, 0, &keys, &expires);
    if (r != RES_OK)
        return r;
    if (host)
        host->ops->stats(&net);
    shard_stats(c->shard, &work);
    const struct stat_line lines[] = {
        {"pid", (uint64_t)getpid()},
        {"uptime", host ? (c->now_ms - host->started_ms) / 1000 : 0},
        {"time", c->now_ms / 1000},
        {"pointer_size", 8 * sizeof(void *)},
        {"max_connections", net.max_clients},
        {"curr_connections", net.connected_clients},
        {"total_connections", net.total_connections},
        {"rejected_connections", net.rejected_connections},
        {"cmd_total", work.commands},
        {"cmd_get", work.keyspace_hits + work.keyspace_misses},
        {"get_hits", work.keyspace_hits},
        {"get_misses", work.keyspace_misses},
        {"expired", work.expired_keys},
        {"bytes_read", net.input_bytes},
        {"bytes_written", net.output_bytes},
        {"limit_maxbytes", c->settings ? (uint64_t)c->settings->maxmemory : 0},
        {"threads", (uint64_t)net.reactors},
        {"curr_items", keys > 0 ? (uint64_t)keys : 0},
        {"items_with_expiry", expires > 0 ? (uint64_t)expires : 0},
    };
    size_t n = sizeof lines / sizeof *lines;
    reply_array(c->reply, 2 * (n + 1));
    reply_bulk_str(c->reply, "version");
    reply_bulk_str(c->reply, MEMCACHED_LEVEL "-varve-" PACKAGE_VERSION);
    for (size_t i = 0; i < n; i++) {
        char digits[NUM_I64_MAX];
        reply_bulk_str(c->reply, lines[i].name);
        reply_bulk(c->reply, slice_of(digits, num_format_u64(digits, lines[i].value)));
    }
    return RES_OK;
}

static const struct command stat_command = {
    .name = "dbsize",
    .arity = 2,
    .flags = CMD_READONLY,
    .acl = ACL_KEYSPACE,
    .group = "server",
    .run = run_stat,
};

/* ---- entries ---- */

#define OPCODES 256
static struct command_entry entries[OPCODES];
static const struct command_entry *by_opcode[OPCODES];

static void add(uint8_t loud, const struct command *command)
{
    const struct command_entry *model = command_lookup(slice_str(command->name));
    assert(model != NULL);
    entries[loud] = *model;
    entries[loud].command = command;
    by_opcode[loud] = &entries[loud];
}

void memcached_commands_init(void)
{
    add(MC_GET, &get_command);
    add(MC_TOUCH, &touch_command);
    add(MC_GAT, &gat_command);
    add(MC_SET, &set_command);
    add(MC_ADD, &set_command);
    add(MC_REPLACE, &set_command);
    add(MC_DELETE, &delete_command);
    add(MC_APPEND, &concat_command);
    add(MC_PREPEND, &concat_command);
    add(MC_INCREMENT, &count_command);
    add(MC_DECREMENT, &count_command);
    add(MC_STAT, &stat_command);
    by_opcode[MC_FLUSH] = command_lookup(SLICE_LIT("flushdb"));
    by_opcode[MC_SASL_AUTH] = command_lookup(SLICE_LIT("auth"));
    assert(by_opcode[MC_FLUSH] && by_opcode[MC_SASL_AUTH]);
}

const struct command_entry *memcached_entry(uint8_t loud) { return by_opcode[loud]; }
