/* DEBUG: what test suites and people who look for faults need, behind enable-debug-command. It runs on the pool, where a
 * command may sleep, flush, or read the whole data. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/glob.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/num.h"
#include "cmd/help.h"
#include "conf/settings.h"
#include "store/list.h"

/* A NUL-terminated copy; NULL: out of memory. */
static char *text_of(struct call *c, struct slice s)
{
    char *text = arena_alloc(c->arena, s.len + 1);
    if (text != NULL) {
        memcpy(text, s.data ? s.data : (const uint8_t *)"", s.len);
        text[s.len] = 0;
    }
    return text;
}

/* ---- small ones ---- */

static enum result debug_sleep(struct call *c)
{
    const char *text = text_of(c, call_arg(c, 2));
    if (text == NULL)
        return RES_NO_MEMORY;
    double seconds = strtod(text, NULL);
    if (seconds > 0 && seconds < 1e6) {
        struct timespec t = {(time_t)seconds, (long)(fmod(seconds, 1) * 1e9)};
        nanosleep(&t, NULL);
    }
    reply_ok(c->reply);
    return RES_OK;
}

static enum result debug_error(struct call *c)
{
    c->reply->ops->error(c->reply, call_arg(c, 2));
    return RES_OK;
}

static enum result debug_log(struct call *c)
{
    struct slice text = call_arg(c, 2);
    log_warning("DEBUG LOG: %.*s", text.len < 1024 ? (int)text.len : 1024, (const char *)text.data);
    reply_ok(c->reply);
    return RES_OK;
}

/* How long a match of this pattern against a long text takes. */
static enum result debug_stringmatch_len(struct call *c)
{
    int64_t len;
    if (num_parse_i64(call_arg(c, 2), &len) != RES_OK || len < 0 || len > INT32_MAX)
        return reply_not_integer(c->reply);
    uint8_t *text = arena_alloc(c->arena, (size_t)len + 1);
    if (text == NULL)
        return RES_NO_MEMORY;
    memset(text, 'a', (size_t)len);
    reply_integer(c->reply, glob_match(call_arg(c, 3), slice_of(text, (size_t)len), false));
    return RES_OK;
}

static bool is_on(struct slice s)
{
    int64_t on;
    return num_parse_i64(s, &on) == RES_OK && on != 0;
}

static enum result debug_set_active_expire(struct call *c)
{
    store_set_active_expiry(c->shard, is_on(call_arg(c, 2)));
    reply_ok(c->reply);
    return RES_OK;
}

static enum result debug_latch_cpu_clock(struct call *c)
{
    shard_latch_cpu_clock(c->shard, is_on(call_arg(c, 2)));
    reply_ok(c->reply);
    return RES_OK;
}

/* Accepted for the sake of Redis' test suite: settings of things that do not exist here. */
static enum result debug_nothing(struct call *c)
{
    reply_ok(c->reply);
    return RES_OK;
}

/* Everything goes to the engine and is read from there afterwards: what a restart would find is what there is. */
static enum result debug_reload(struct call *c)
{
    enum result res = shard_flush(c->shard);
    if (res == RES_OK)
        reply_ok(c->reply);
    return res;
}

/* ---- PROTOCOL: one reply of each type ---- */

static void three_numbers(struct sink *r, void (*head)(struct sink *, size_t))
{
    head(r, 3);
    for (int i = 0; i < 3; i++)
        reply_integer(r, i);
}

static void protocol_map(struct sink *r)
{
    reply_map(r, 3);
    for (int i = 0; i < 3; i++) {
        reply_integer(r, i);
        r->ops->boolean(r, i == 1);
    }
}

static void protocol_attribute(struct sink *r)
{
    if (r->resp == 3) {
        r->ops->attribute(r, 1);
        reply_bulk_str(r, "key-popularity");
        reply_array(r, 2);
        reply_bulk_str(r, "key:123");
        reply_integer(r, 90);
    }
    reply_bulk_str(r, "Some real reply following the attribute");
}

static void protocol_push(struct sink *r)
{
    r->ops->push(r, 2);
    reply_bulk_str(r, "server-cpu-usage");
    reply_integer(r, 42);
    reply_bulk_str(r, "Some real reply following the push reply");
}

static enum result debug_protocol(struct call *c)
{
    struct sink *r = c->reply;
    struct slice type = call_arg(c, 2);
    if (slice_eq_nocase(type, "string"))
        reply_bulk_str(r, "Hello World");
    else if (slice_eq_nocase(type, "integer"))
        reply_integer(r, 12345);
    else if (slice_eq_nocase(type, "double"))
        r->ops->real(r, 3.141);
    else if (slice_eq_nocase(type, "bignum"))
        r->ops->big_number(r, SLICE_LIT("1234567999999999999999999999999999999"));
    else if (slice_eq_nocase(type, "null"))
        reply_null(r);
    else if (slice_eq_nocase(type, "array"))
        three_numbers(r, r->ops->array);
    else if (slice_eq_nocase(type, "set"))
        three_numbers(r, r->ops->set);
    else if (slice_eq_nocase(type, "map"))
        protocol_map(r);
    else if (slice_eq_nocase(type, "attrib"))
        protocol_attribute(r);
    else if (slice_eq_nocase(type, "push") && r->resp != 3)
        return reply_error(r, "ERR RESP2 is not supported by this command");
    else if (slice_eq_nocase(type, "push"))
        protocol_push(r);
    else if (slice_eq_nocase(type, "verbatim"))
        r->ops->verbatim(r, "txt", SLICE_LIT("This is a verbatim\nstring"));
    else if (slice_eq_nocase(type, "true") || slice_eq_nocase(type, "false"))
        r->ops->boolean(r, slice_eq_nocase(type, "true"));
    else
        return reply_error(r, "ERR Wrong protocol type name. Please use one of the following: "
                              "string|integer|double|bignum|null|array|set|map|attrib|push|verbatim|true|false");
    return RES_OK;
}

/* ---- OBJECT ---- */

static enum result debug_object(struct call *c)
{
    struct store_key key;
    struct object o;
    char line[256];
    enum result res = store_key_init(c, c->session->db, call_arg(c, 2), &key);
    if (res == RES_OK)
        res = store_read(c, &key, LOOKUP_NO_STATS | LOOKUP_NO_EVENT, &o);
    if (res != RES_OK)
        return res;
    if (!o.exists)
        return reply_error(c->reply, "ERR no such key");
    snprintf(line, sizeof line,
             "Value at:0x%016llx refcount:1 encoding:%s serializedlength:%llu lru:0 lru_seconds_idle:0",
             (unsigned long long)key.hash, object_encoding_name(o.encoding), (unsigned long long)o.length + 1);
    reply_status(c->reply, line);
    return RES_OK;
}

/* ---- DIGEST: 160 bits over keys and values, the same in whatever order they are read ---- */

#define DIGEST_LEN 20

static void mix(uint8_t digest[DIGEST_LEN], struct slice bytes)
{
    static const struct hash_seed seeds[2] = {{0x7661727665, 1}, {0x7661727665, 2}};
    uint8_t sum[32];
    hash_siphash128(&seeds[0], bytes.data, bytes.len, sum);
    hash_siphash128(&seeds[1], bytes.data, bytes.len, sum + 16);
    for (int i = 0; i < DIGEST_LEN; i++)
        digest[i] ^= sum[i];
}

/* Folds a run of bytes into a digest so that their order counts. */
static void chain(uint8_t digest[DIGEST_LEN], struct slice bytes)
{
    mix(digest, bytes);
    uint8_t before[DIGEST_LEN];
    memcpy(before, digest, DIGEST_LEN);
    mix(digest, slice_of(before, DIGEST_LEN));
}

static enum result digest_member(struct elements *e, void *arg, const struct element *x)
{
    uint8_t *digest = arg, one[DIGEST_LEN] = {0};
    (void)e;
    chain(one, x->key);
    chain(one, x->value);
    if (x->expire_ms)
        chain(one, SLICE_LIT("expires"));
    for (int i = 0; i < DIGEST_LEN; i++)
        digest[i] ^= one[i];
    return RES_OK;
}

static enum result digest_list(struct call *c, struct object *o, uint8_t digest[DIGEST_LEN])
{
    struct list l;
    struct list_cursor w;
    enum result r = list_open(&l, c, o);
    if (r == RES_OK)
        r = list_cursor_open(&w, &l, 0, list_length(&l), false);
    if (r != RES_OK)
        return r;
    while ((r = list_cursor_next(&w)) == RES_OK)
        chain(digest, w.value);
    list_cursor_close(&w);
    return r == RES_NOT_FOUND ? RES_OK : r;
}

static enum result digest_string(struct call *c, const struct object *o, uint8_t digest[DIGEST_LEN])
{
    struct slice value;
    enum result r = store_string_all(c, o, &value);
    if (r == RES_OK)
        chain(digest, value);
    return r;
}

/* The same whatever shape the object has. */
static enum result digest_object(struct call *c, struct object *o, uint8_t digest[DIGEST_LEN])
{
    struct elements e;
    const struct elements_kind *kind = members_kind_of(o->type);
    chain(digest, slice_str(object_type_name(o->type)));
    enum result res;
    if (!kind)
        res = o->type == TYPE_LIST ? digest_list(c, o, digest) : digest_string(c, o, digest);
    else if ((res = elements_open(&e, c, o, kind)) == RES_OK)
        res = member_each(&e, digest_member, digest);
    if (res != RES_OK)
        return res;
    if (o->expire_ms != 0)
        chain(digest, SLICE_LIT("expires"));
    return RES_OK;
}

static void reply_digest(struct call *c, const uint8_t digest[DIGEST_LEN], bool status)
{
    char hex[2 * DIGEST_LEN + 1];
    for (int i = 0; i < DIGEST_LEN; i++)
        snprintf(hex + 2 * i, 3, "%02x", digest[i]);
    if (status)
        reply_status(c->reply, hex);
    else
        reply_bulk_str(c->reply, hex);
}

struct whole_digest {
    uint8_t sum[DIGEST_LEN];
    uint32_t db;
};

/* The object again, by its key: one that is met while walking has none. */
static enum result digest_key(struct call *c, uint32_t db, struct slice user, uint8_t digest[DIGEST_LEN])
{
    struct store_key key;
    struct object o;
    enum result res = store_key_init(c, db, user, &key);
    if (res == RES_OK)
        res = store_read(c, &key, LOOKUP_NO_STATS | LOOKUP_NO_EVENT, &o);
    return res == RES_OK && o.exists ? digest_object(c, &o, digest) : res;
}

/* In memory of its own, given back key by key: a run's lives until its end, and this one sees all data. */
static enum result add_to_digest(struct call *c, void *arg, const struct store_scan_entry *entry)
{
    struct whole_digest *whole = arg;
    struct arena one_key, *of_run = c->arena;
    uint8_t one[DIGEST_LEN] = {0}, number[4];
    memcpy(number, &whole->db, sizeof number);
    chain(one, slice_of(number, sizeof number));
    chain(one, entry->key);
    arena_init(&one_key, 4096);
    c->arena = &one_key;
    enum result res = digest_key(c, whole->db, entry->key, one);
    c->arena = of_run;
    arena_fini(&one_key);
    for (int i = 0; i < DIGEST_LEN; i++)
        whole->sum[i] ^= one[i];
    return res;
}

static enum result debug_digest(struct call *c)
{
    struct whole_digest whole = {{0}, 0};
    for (; whole.db < store_databases(c->shard); whole.db++) {
        enum result res = store_each_key(c, whole.db, add_to_digest, &whole);
        if (res != RES_OK)
            return res;
    }
    reply_digest(c, whole.sum, true);
    return RES_OK;
}

static enum result debug_digest_value(struct call *c)
{
    reply_array(c->reply, (size_t)c->argc - 2);
    for (int i = 2; i < c->argc; i++) {
        uint8_t digest[DIGEST_LEN] = {0};
        enum result res = digest_key(c, c->session->db, call_arg(c, i), digest);
        if (res != RES_OK)
            return res;
        reply_digest(c, digest, false);
    }
    return RES_OK;
}

/* ---- which one ---- */

static enum result debug_help(struct call *c);

static const struct subcommand {
    const char *name;
    int arity; /* as a command's: negative at least */
    command_fn *run;
} table[] = {
    {"sleep", 3, debug_sleep},
    {"object", -3, debug_object},
    {"set-active-expire", 3, debug_set_active_expire},
    {"latch-cpu-clock", 3, debug_latch_cpu_clock},
    {"digest", 2, debug_digest},
    {"digest-value", -2, debug_digest_value},
    {"reload", -2, debug_reload},
    {"loadaof", 2, debug_reload},
    {"stringmatch-len", 4, debug_stringmatch_len},
    {"protocol", 3, debug_protocol},
    {"error", 3, debug_error},
    {"log", 3, debug_log},
    {"quicklist-packed-threshold", 3, debug_nothing},
    {"replybuffer", 4, debug_nothing},
    {"pause-cron", 3, debug_nothing},
    {"help", 2, debug_help},
};

static enum result debug_help(struct call *c)
{
    static const char *const lines[] = {
        "DIGEST",
        "    A hash of all keys and values.",
        "DIGEST-VALUE [<key> ...]",
        "    A hash of each key's value.",
        "ERROR <text>",
        "    Reply with this error.",
        "LATCH-CPU-CLOCK <0|1>",
        "    Count how long the write latch is held by the processor time of who holds it, or by the clock.",
        "LOADAOF",
        "    The same as RELOAD.",
        "LOG <text>",
        "    Write a line into the server's log.",
        "OBJECT <key>",
        "    How a key's value is kept.",
        "PROTOCOL <type>",
        "    Reply with a value of this type: string, integer, double, bignum, null, array, set, map, attrib, push, "
        "verbatim, "
        "true, false.",
        "RELOAD",
        "    Write everything in memory to tables, so that it is read from them.",
        "SET-ACTIVE-EXPIRE <0|1>",
        "    Stop or go on deleting keys that are due.",
        "SLEEP <seconds>",
        "    Reply after this time. Other clients are served meanwhile.",
        "STRINGMATCH-LEN <length> <pattern>",
        "    Match a pattern against a text of this length.",
        NULL,
    };
    return reply_help(c, lines);
}

/* A client of this machine: the loopback interface or a Unix socket. */
static bool is_local(struct session *s)
{
    char address[64] = "";
    if (s->ops == NULL || s->ops->address == NULL)
        return false;
    s->ops->address(s, address);
    return strncmp(address, "127.", 4) == 0 || strncmp(address, "::1:", 4) == 0 || strncmp(address, "[::1]:", 6) == 0 ||
           address[0] == '/';
}

static enum result debug_run(struct call *c)
{
    int allowed = c->settings->enable_debug_command;
    if (allowed == SETTING_NO || (allowed == SETTING_LOCAL && !is_local(c->session)))
        return reply_error(
            c->reply, "ERR DEBUG command not allowed. If the enable-debug-command option is set to \"local\", you can "
                      "run it from a local connection, otherwise you need to set this option in the configuration "
                      "file, and then restart the server.");
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        if (!slice_eq_nocase(call_arg(c, 1), table[i].name))
            continue;
        int arity = table[i].arity;
        if (arity > 0 ? c->argc == arity : c->argc >= -arity)
            return table[i].run(c);
    }
    return reply_bad_subcommand(c);
}

const struct command cmd_debug = {
    .name = "debug",
    .arity = -2,
    .flags = CMD_ADMIN | CMD_NOSCRIPT | CMD_LOADING | CMD_STALE | CMD_PROTECTED | CMD_LONG,
    .group = "server",
    .since = "1.0.0",
    .complexity = "Depends on subcommand.",
    .summary = "Commands for tests and for those who look for faults.",
    .run = debug_run,
};
