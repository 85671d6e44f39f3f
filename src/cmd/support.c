/* Helpers of handlers: see support.h. */
#include "cmd/support.h"

#include <inttypes.h>
#include <math.h>

#include "base/num.h"
#include "conf/settings.h"

bool arg_i64_or(struct call *c, int i, int64_t *out, const char *error)
{
    if (likely(num_parse_i64(c->argv[i], out) == RES_OK))
        return true;
    (void)reply_error(c->reply, "%s", error);
    return false;
}

bool arg_i64(struct call *c, int i, int64_t *out)
{
    return arg_i64_or(c, i, out, "ERR value is not an integer or out of range");
}

bool arg_i64_within(struct call *c, int i, int64_t low, int64_t high, int64_t *out)
{
    if (!arg_i64(c, i, out))
        return false;
    if (*out >= low && *out <= high)
        return true;
    (void)reply_error(c->reply, "ERR value is out of range, value must between %" PRId64 " and %" PRId64, low, high);
    return false;
}

bool arg_count(struct call *c, int i, int64_t *out)
{
    static const char error[] = "ERR value is out of range, must be positive";
    if (!arg_i64_or(c, i, out, error))
        return false;
    if (*out >= 0)
        return true;
    (void)reply_error(c->reply, "%s", error);
    return false;
}

static enum result checked(struct call *c, const struct object *o, bool *ready)
{
    *ready = !o->exists || o->type == TYPE_STRING;
    return *ready ? RES_OK : reply_wrong_type(c->reply);
}

enum result read_string(struct call *c, int i, struct store_key *key, struct object *o, bool *ready)
{
    *ready = false;
    enum result r = arg_key(c, i, key);
    if (r == RES_OK)
        r = store_read(c, key, 0, o);
    return r == RES_OK ? checked(c, o, ready) : r;
}

enum result write_string(struct call *c, int i, struct store_key *key, struct object *o, bool *ready)
{
    *ready = false;
    enum result r = arg_key(c, i, key);
    if (r == RES_OK)
        r = store_write(c, key, o);
    return r == RES_OK ? checked(c, o, ready) : r;
}

static enum result present(struct call *c, const struct object *o, bool *ready)
{
    if (*ready && !o->exists) {
        reply_null(c->reply);
        *ready = false;
    }
    return RES_OK;
}

enum result find_string(struct call *c, int i, struct store_key *key, struct object *o, bool *ready)
{
    enum result r = read_string(c, i, key, o, ready);
    return r == RES_OK ? present(c, o, ready) : r;
}

enum result find_string_to_write(struct call *c, int i, struct store_key *key, struct object *o, bool *ready)
{
    enum result r = write_string(c, i, key, o, ready);
    if (r != RES_OK)
        return r;
    store_count_lookup(c, o);
    return present(c, o, ready);
}

enum result reply_invalid_expire(struct call *c)
{
    return reply_error(c->reply, "ERR invalid expire time in '%s' command", c->entry->full_name);
}

bool arg_expire_time(struct call *c, int i, enum time_unit unit, bool relative, uint64_t *ms)
{
    int64_t t;
    if (!arg_i64(c, i, &t))
        return false;
    if (t <= 0 || (unit == TIME_SECONDS && __builtin_mul_overflow(t, 1000, &t)) ||
        (relative && __builtin_add_overflow(t, (int64_t)c->now_ms, &t))) {
        (void)reply_invalid_expire(c);
        return false;
    }
    *ms = (uint64_t)t;
    return true;
}

bool arg_timeout(struct call *c, int i, uint64_t *ms)
{
    long double t;
    const char *error = NULL;
    if (num_parse_long_double(c->argv[i], &t) != RES_OK)
        error = "ERR timeout is not a float or out of range";
    else if ((t *= 1000) > (long double)INT64_MAX)
        error = "ERR timeout is out of range";
    else if ((t = ceill(t)) < 0)
        error = "ERR timeout is negative";
    else if ((*ms = (uint64_t)t) > (uint64_t)INT64_MAX - c->now_ms)
        error = "ERR timeout is out of range";
    if (!error)
        return true;
    (void)reply_error(c->reply, "%s", error);
    return false;
}

uint64_t string_limit(const struct call *c)
{
    uint64_t limit = c->settings ? (uint64_t)c->settings->proto_max_bulk_len : STORE_STRING_MAX;
    return limit < STORE_STRING_MAX ? limit : STORE_STRING_MAX;
}

bool string_too_long(struct call *c, uint64_t size, uint64_t more)
{
    uint64_t limit = string_limit(c);
    if (size <= limit && more <= limit - size)
        return false;
    (void)reply_error(c->reply, "ERR string exceeds maximum allowed size (proto-max-bulk-len)");
    return true;
}

enum result delete_key(struct call *c, struct object *o)
{
    enum result r = store_delete(c, o, SIGNAL_DELETED);
    return r == RES_OK ? key_event(c, EVENT_GENERIC, "del", o->key) : r;
}

enum result set_key(struct call *c, struct object *o, struct slice value, uint64_t expire_ms, int flags)
{
    enum result r = store_set_string(c, o, value, expire_ms, flags);
    if (r == RES_OK)
        r = key_event(c, EVENT_STRING, "set", o->key);
    if (r == RES_OK && expire_ms)
        r = key_event(c, EVENT_GENERIC, "expire", o->key);
    return r;
}

bool same_secret(struct slice given, const char *secret)
{
    size_t len = strlen(secret);
    unsigned difference = given.len != len;
    for (size_t i = 0; i < given.len; i++)
        difference |= (unsigned)given.data[i] ^ (unsigned)(uint8_t)secret[len ? i % len : 0];
    return difference == 0;
}
