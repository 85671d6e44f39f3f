/* A key-value server in miniature: see mini.h. */
#include "tests/lib/mini.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "base/num.h"
#include "os/env_memory.h"

/* ---- records ---- */

struct mini_key {
    struct engine_key key;
    struct slice user;
    uint64_t hash;
    uint8_t bytes[256];
};
struct mini_value {
    bool exists, expired;
    uint64_t expire;
    struct slice data;
};

static void key_init(struct mini_key *k, struct slice user)
{
    assert(user.len < sizeof k->bytes);
    k->bytes[0] = REGION_META;
    memcpy(k->bytes + 1, user.data, user.len);
    k->user = user;
    k->key.bytes = slice_of(k->bytes, user.len + 1);
    k->key.hash = engine_hash(k->key.bytes);
    k->hash = hash_mix(k->key.hash);
}

bool mini_key_ahead(struct shard *s, uint32_t db, struct slice user, uint8_t *room, size_t len, struct shard_key *out)
{
    struct mini_key k;
    (void)s;
    (void)db;
    if (user.len + 1 > len)
        return false;
    key_init(&k, user);
    memcpy(room, k.bytes, user.len + 1);
    *out = (struct shard_key){{slice_of(room, user.len + 1), k.key.hash}, k.hash};
    return true;
}

static enum result value_read(struct call *c, struct mini_key *k, struct mini_value *v)
{
    struct slice raw;
    memset(v, 0, sizeof *v);
    if (c->session)
        ((struct mini_client *)c->session->connection)->snapshot = c->snapshot;
    enum result r = call_get(c, &k->key, &raw);
    if (r == RES_OK) {
        assert(raw.len >= 8);
        v->expire = get_be64(raw.data);
        v->data = slice_of(raw.data + 8, raw.len - 8);
        v->expired = v->expire && v->expire < c->now_ms;
        v->exists = !v->expired;
    } else if (r != RES_NOT_FOUND) {
        return r;
    }
    r = call_saw(c, k->hash, v->exists ? v->expire : 0);
    return r;
}

static enum result value_write(struct call *c, struct mini_key *k, const struct mini_value *old, struct slice data,
                               uint64_t expire)
{
    uint8_t *p = arena_alloc(c->arena, 8 + data.len);
    if (!p)
        return RES_NO_MEMORY;
    put_be64(p, expire);
    if (data.len)
        memcpy(p + 8, data.data, data.len);
    if (!old->exists && !old->expired)
        call_count(c, 1, 1, 0);
    enum result r = call_put(c, &k->key, slice_of(p, 8 + data.len));
    return r == RES_OK ? call_signal(c, 0, k->user, k->hash, SIGNAL_WRITE) : r;
}

static enum result value_delete(struct call *c, struct mini_key *k)
{
    call_count(c, 1, -1, 0);
    enum result r = call_delete(c, &k->key);
    return r == RES_OK ? call_signal(c, 0, k->user, k->hash, SIGNAL_DELETED) : r;
}

/* For writers: an expired key is deleted first. */
static enum result value_meet(struct call *c, struct mini_key *k, struct mini_value *v)
{
    enum result r = value_read(c, k, v);
    if (r != RES_OK || !v->expired)
        return r;
    r = value_delete(c, k);
    memset(v, 0, sizeof *v);
    return r;
}

/* ---- commands ---- */

static enum result cmd_get(struct call *c)
{
    struct mini_key k;
    struct mini_value v;
    key_init(&k, c->argv[1]);
    enum result r = value_read(c, &k, &v);
    if (r != RES_OK)
        return r;
    if (v.exists) {
        c->keyspace_hits++;
        reply_bulk(c->reply, v.data);
    } else {
        c->keyspace_misses++;
        reply_null(c->reply);
    }
    return RES_OK;
}

static enum result cmd_mget(struct call *c)
{
    reply_array(c->reply, (size_t)c->argc - 1);
    for (int i = 1; i < c->argc; i++) {
        struct mini_key k;
        struct mini_value v;
        key_init(&k, c->argv[i]);
        enum result r = value_read(c, &k, &v);
        if (r != RES_OK)
            return r;
        if (v.exists)
            reply_bulk(c->reply, v.data);
        else
            reply_null(c->reply);
    }
    return RES_OK;
}

static enum result cmd_set(struct call *c)
{
    struct mini_key k;
    struct mini_value v;
    uint64_t expire = 0;
    if (c->argc > 3 && num_parse_u64(c->argv[3], &expire) != RES_OK)
        return reply_syntax_error(c->reply);
    key_init(&k, c->argv[1]);
    enum result r = value_meet(c, &k, &v);
    if (r == RES_OK)
        r = value_write(c, &k, &v, c->argv[2], expire);
    if (r == RES_OK)
        reply_ok(c->reply);
    return r;
}

static enum result cmd_setnx(struct call *c)
{
    struct mini_key k;
    struct mini_value v;
    key_init(&k, c->argv[1]);
    enum result r = value_meet(c, &k, &v);
    if (r == RES_OK && !v.exists)
        r = value_write(c, &k, &v, c->argv[2], 0);
    if (r == RES_OK)
        reply_integer(c->reply, !v.exists);
    return r;
}

static enum result cmd_incr(struct call *c)
{
    struct mini_key k;
    struct mini_value v;
    int64_t n = 0;
    key_init(&k, c->argv[1]);
    enum result r = value_meet(c, &k, &v);
    if (r != RES_OK)
        return r;
    if (v.exists && num_parse_i64(v.data, &n) != RES_OK)
        return reply_not_integer(c->reply);
    char text[NUM_I64_MAX];
    size_t len = num_format_i64(text, ++n);
    r = value_write(c, &k, &v, slice_of(text, len), v.expire);
    if (r == RES_OK)
        reply_integer(c->reply, n);
    return r;
}

static enum result cmd_del(struct call *c)
{
    int64_t n = 0;
    for (int i = 1; i < c->argc; i++) {
        struct mini_key k;
        struct mini_value v;
        key_init(&k, c->argv[i]);
        enum result r = value_meet(c, &k, &v);
        if (r == RES_OK && v.exists) {
            r = value_delete(c, &k);
            n++;
        }
        if (r != RES_OK)
            return r;
    }
    reply_integer(c->reply, n);
    return RES_OK;
}

static enum result cmd_mset(struct call *c)
{
    for (int i = 1; i + 1 < c->argc; i += 2) {
        struct mini_key k;
        struct mini_value v;
        key_init(&k, c->argv[i]);
        enum result r = value_meet(c, &k, &v);
        if (r == RES_OK)
            r = value_write(c, &k, &v, c->argv[i + 1], 0);
        if (r != RES_OK)
            return r;
    }
    reply_ok(c->reply);
    return RES_OK;
}

static enum result cmd_persist(struct call *c)
{
    struct mini_key k;
    struct mini_value v;
    key_init(&k, c->argv[1]);
    enum result r = value_meet(c, &k, &v);
    bool change = r == RES_OK && v.exists && v.expire;
    if (change)
        r = value_write(c, &k, &v, v.data, 0);
    if (r == RES_OK)
        reply_integer(c->reply, change);
    return r;
}

static enum result cmd_size(struct call *c)
{
    int64_t keys, expires;
    call_counts(c, 1, &keys, &expires);
    reply_integer(c->reply, keys);
    return RES_OK;
}

/* Calls each for the records whose user key begins with the prefix. */
static enum result walk(struct call *c, struct slice prefix,
                        enum result (*each)(struct call *c, void *arg, struct slice user, struct slice data), void *arg)
{
    struct mini_key lower, upper;
    key_init(&lower, prefix);
    key_init(&upper, prefix);
    assert(prefix.len > 0 && upper.bytes[prefix.len] < 255);
    upper.bytes[prefix.len]++;
    struct iter *it;
    enum result r = call_iter(c, lower.key.bytes, upper.key.bytes, 0, &it);
    if (r != RES_OK)
        return r;
    for (r = iter_seek(it, slice_of(NULL, 0)); r == RES_OK; r = iter_next(it)) {
        if (call_too_long(c)) {
            r = RES_WOULD_BLOCK;
            break;
        }
        r = each(c, arg, slice_of(it->key.data + 1, it->key.len - 1), slice_of(it->value.data + 8, it->value.len - 8));
        if (r != RES_OK)
            break;
    }
    iter_close(it);
    return r == RES_NOT_FOUND ? RES_OK : r;
}

struct copy_state {
    struct slice from, to;
    int64_t n;
};

static enum result copy_one(struct call *c, void *arg, struct slice user, struct slice data)
{
    struct copy_state *st = arg;
    size_t len = st->to.len + user.len - st->from.len;
    uint8_t *name = arena_alloc(c->arena, len);
    if (!name)
        return RES_NO_MEMORY;
    memcpy(name, st->to.data, st->to.len);
    memcpy(name + st->to.len, user.data + st->from.len, user.len - st->from.len);
    struct mini_key k;
    struct mini_value v;
    key_init(&k, slice_of(name, len));
    enum result r = value_meet(c, &k, &v);
    st->n++;
    return r == RES_OK ? value_write(c, &k, &v, data, 0) : r;
}

static enum result cmd_copyall(struct call *c)
{
    struct copy_state st = {c->argv[1], c->argv[2], 0};
    enum result r = walk(c, c->argv[1], copy_one, &st);
    if (r == RES_OK)
        reply_integer(c->reply, st.n);
    return r;
}

static enum result list_one(struct call *c, void *arg, struct slice user, struct slice data)
{
    struct buf *b = arg;
    (void)c;
    return buf_printf(b, "%.*s=%.*s;", (int)user.len, (const char *)user.data, (int)data.len, (const char *)data.data);
}

static enum result cmd_list(struct call *c)
{
    struct buf b = BUF_INIT;
    enum result r = walk(c, c->argv[1], list_one, &b);
    if (r == RES_OK)
        reply_bulk(c->reply, buf_slice(&b));
    buf_fini(&b);
    return r;
}

static enum result cmd_draw(struct call *c)
{
    struct mini_key k;
    struct mini_value v;
    char text[NUM_I64_MAX];
    struct slice drawn = slice_of(text, num_format_u64(text, call_random(c)));
    key_init(&k, c->argv[1]);
    enum result r = value_meet(c, &k, &v);
    if (r == RES_OK)
        r = value_write(c, &k, &v, drawn, 0);
    if (r == RES_OK)
        reply_bulk(c->reply, drawn);
    return r;
}

static enum result cmd_flush(struct call *c)
{
    struct engine_key k = {SLICE_LIT("Sdbs"), 0};
    k.hash = engine_hash(k.bytes);
    enum result r = call_signal_dbs(c, 0, 0);
    if (r == RES_OK)
        r = call_put(c, &k, SLICE_LIT("new"));
    if (r == RES_OK)
        reply_ok(c->reply);
    return r;
}

static enum result cmd_ping(struct call *c)
{
    reply_status(c->reply, "PONG");
    return RES_OK;
}

static enum result cmd_fail(struct call *c)
{
    return reply_error(c->reply, "%.*s", (int)c->argv[1].len, (const char *)c->argv[1].data);
}

struct env *mini_clock;

static enum result cmd_spin(struct call *c)
{
    uint64_t ms = 0;
    if (num_parse_u64(c->argv[2], &ms) != RES_OK)
        return reply_syntax_error(c->reply);
    assert(mini_clock != NULL);
    for (uint64_t us = 0; us < ms * 1000; us += 100) {
        if (call_too_long(c))
            return RES_WOULD_BLOCK;
        env_memory_advance(mini_clock, 100000);
    }
    return cmd_set(c);
}

/* ---- elements, waiting, transactions ---- */

static enum result store_row(struct call *c, struct mini_key *k, const struct mini_value *old, struct slice row)
{
    return row.len ? value_write(c, k, old, row, 0) : value_delete(c, k);
}

static enum result push(struct call *c, struct slice key, struct slice element)
{
    struct mini_key k;
    struct mini_value v;
    assert(element.len == MINI_ELEMENT);
    key_init(&k, key);
    enum result r = value_meet(c, &k, &v);
    if (r != RES_OK)
        return r;
    uint8_t *row = arena_alloc(c->arena, v.data.len + element.len);
    if (!row)
        return RES_NO_MEMORY;
    if (v.data.len)
        memcpy(row, v.data.data, v.data.len);
    memcpy(row + v.data.len, element.data, element.len);
    return store_row(c, &k, &v, slice_of(row, v.data.len + element.len));
}

static enum result cmd_push(struct call *c)
{
    enum result r = push(c, c->argv[1], c->argv[2]);
    if (r == RES_OK)
        reply_ok(c->reply);
    return r;
}

/* The first element; or waits, which ends the run: *got.data is NULL. */
static enum result take(struct call *c, int timeout_arg, struct slice *got)
{
    struct mini_key k;
    struct mini_value v;
    uint64_t timeout = 0;
    *got = slice_of(NULL, 0);
    if (num_parse_u64(c->argv[timeout_arg], &timeout) != RES_OK)
        return reply_syntax_error(c->reply);
    key_init(&k, c->argv[1]);
    enum result r = value_meet(c, &k, &v);
    if (r != RES_OK)
        return r;
    if (!v.exists) {
        struct wait_key key = {.db = 0, .key = k.user, .hash = k.hash};
        return call_wait(c, &key, 1, timeout, WAIT_NULL);
    }
    got->data = arena_copy(c->arena, v.data.data, MINI_ELEMENT);
    got->len = MINI_ELEMENT;
    if (!got->data)
        return RES_NO_MEMORY;
    return store_row(c, &k, &v, slice_of(v.data.data + MINI_ELEMENT, v.data.len - MINI_ELEMENT));
}

static enum result cmd_take(struct call *c)
{
    struct slice got;
    enum result r = take(c, 2, &got);
    if (r == RES_OK && got.data)
        reply_bulk(c->reply, got);
    return r;
}

static enum result cmd_move(struct call *c)
{
    struct slice got;
    enum result r = take(c, 3, &got);
    if (r == RES_OK && got.data)
        r = push(c, c->argv[2], got);
    if (r == RES_OK && got.data)
        reply_bulk(c->reply, got);
    return r;
}

static enum result cmd_multi(struct call *c)
{
    if (!session_multi_begin(c->session))
        return RES_NO_MEMORY;
    reply_ok(c->reply);
    return RES_OK;
}

static enum result cmd_discard(struct call *c)
{
    session_multi_end(c->session);
    session_unwatch(c->shard, c->session);
    reply_ok(c->reply);
    return RES_OK;
}

static enum result peek(struct call *c, struct slice key, struct watch_key *out)
{
    struct mini_key k;
    struct mini_value v;
    key_init(&k, key);
    enum result r = value_read(c, &k, &v);
    *out = (struct watch_key){.key = key, .hash = k.hash, .exists = v.exists, .expired = v.expired};
    return r;
}

static enum result cmd_watch(struct call *c)
{
    struct watch_key keys[8];
    assert(c->argc <= 9);
    for (int i = 1; i < c->argc; i++) {
        enum result r = peek(c, c->argv[i], &keys[i - 1]);
        if (r != RES_OK)
            return r;
    }
    enum result r = call_watch(c, keys, (size_t)c->argc - 1);
    if (r == RES_OK)
        reply_ok(c->reply);
    return r;
}

static enum result test_watched(struct call *c, void *arg, const struct watch_key *k)
{
    struct watch_key now;
    enum result r = peek(c, k->key, &now);
    if (r == RES_OK && ((now.expired && !k->expired) || (now.exists && k->exists)))
        *(bool *)arg = true;
    return r;
}

static enum result cmd_exec(struct call *c)
{
    bool broken = session_watch_broken(c->session);
    if (session_multi_failed(c->session))
        return reply_error(c->reply, "EXECABORT");
    enum result r = broken ? RES_OK : call_watched(c, test_watched, &broken);
    if (r != RES_OK)
        return r;
    if (!broken)
        return call_exec(c);
    c->reply->ops->null_array(c->reply);
    return RES_OK;
}

#define KEY_SPEC(f, to, by)                                                                                            \
    (const struct command_keyspec[])                                                                                   \
    {                                                                                                                  \
        {.flags = f, .begin = KEYS_INDEX, .index = 1, .find = KEYS_RANGE, .last = to, .step = by}, { 0 }               \
    }
#define MINI_TABLE(X)                                                                                                  \
    X(MINI_GET, get, CMD_READONLY | CMD_FAST, KEY_SPEC(KEY_RO, 0, 1))                                                  \
    X(MINI_MGET, mget, CMD_READONLY | CMD_FAST, KEY_SPEC(KEY_RO, -1, 1))                                               \
    X(MINI_SET, set, CMD_WRITE | CMD_DENYOOM, KEY_SPEC(KEY_OW, 0, 1))                                                  \
    X(MINI_SETNX, setnx, CMD_WRITE | CMD_FAST, KEY_SPEC(KEY_OW, 0, 1))                                                 \
    X(MINI_INCR, incr, CMD_WRITE | CMD_FAST, KEY_SPEC(KEY_RW, 0, 1))                                                   \
    X(MINI_DEL, del, CMD_WRITE, KEY_SPEC(KEY_RM, -1, 1))                                                               \
    X(MINI_MSET, mset, CMD_WRITE, KEY_SPEC(KEY_OW, -1, 2))                                                             \
    X(MINI_PERSIST, persist, CMD_WRITE | CMD_FAST, KEY_SPEC(KEY_RW, 0, 1))                                             \
    X(MINI_SIZE, size, CMD_READONLY | CMD_FAST, NULL)                                                                  \
    X(MINI_COPYALL, copyall, CMD_WRITE | CMD_LONG, NULL)                                                               \
    X(MINI_LIST, list, CMD_READONLY, NULL)                                                                             \
    X(MINI_DRAW, draw, CMD_WRITE, KEY_SPEC(KEY_OW, 0, 1))                                                              \
    X(MINI_FLUSH, flush, CMD_WRITE, NULL)                                                                              \
    X(MINI_PING, ping, CMD_SESSION | CMD_FAST | CMD_NO_AUTH, NULL)                                                     \
    X(MINI_FAIL, fail, CMD_SESSION | CMD_IN_PLACE, NULL)                                                               \
    X(MINI_SPIN, spin, CMD_WRITE, KEY_SPEC(KEY_OW, 0, 1))                                                              \
    X(MINI_PUSH, push, CMD_WRITE, KEY_SPEC(KEY_RW, 0, 1))                                                              \
    X(MINI_TAKE, take, CMD_WRITE, KEY_SPEC(KEY_RW, 0, 1))                                                              \
    X(MINI_MOVE, move, CMD_WRITE, KEY_SPEC(KEY_RW, 1, 1))                                                              \
    X(MINI_MULTI, multi, CMD_SESSION | CMD_FAST | CMD_UNQUEUED, NULL)                                                  \
    X(MINI_EXEC, exec, CMD_EXEC | CMD_UNQUEUED, NULL)                                                                  \
    X(MINI_DISCARD, discard, CMD_SESSION | CMD_FAST | CMD_UNQUEUED, NULL)                                              \
    X(MINI_WATCH, watch, CMD_LATCHED | CMD_UNQUEUED, KEY_SPEC(KEY_RO, -1, 1))
#define MINI_COMMAND(id, word, fl, spec)                                                                               \
    static const struct command command_##word = {                                                                     \
        .name = #word, .group = "mini", .flags = fl, .run = cmd_##word, .keys = spec};
MINI_TABLE(MINI_COMMAND)
#define MINI_ENTRY(number, word, fl, spec) [number] = {.command = &command_##word, .id = number, .full_name = #word},
const struct command_entry mini_entry[MINI_COUNT] = {MINI_TABLE(MINI_ENTRY)};

#define MINI_LONG(id, word, fl, spec)                                                                                  \
    static enum result long_run_##word(struct call *c)                                                                 \
    {                                                                                                                  \
        return (c->mode & (CALL_LATCHED | CALL_MAY_WAIT)) == CALL_LATCHED ? RES_WOULD_BLOCK : cmd_##word(c);           \
    }                                                                                                                  \
    static const struct command long_##word = {                                                                        \
        .name = #word, .group = "mini", .flags = (fl) | CMD_LONG, .run = long_run_##word};
MINI_TABLE(MINI_LONG)
#define MINI_LONG_ENTRY(number, word, fl, spec) [number] = {.command = &long_##word, .id = number, .full_name = #word},
static const struct command_entry long_entry[MINI_COUNT] = {MINI_TABLE(MINI_LONG_ENTRY)};

const struct command_entry *mini_long(enum mini_command cmd) { return &long_entry[cmd]; }

/* ---- clients ---- */

static void client_completed(struct session *s, struct buf *reply)
{
    struct mini_client *c = s->connection;
    os_mutex_lock(&c->lock);
    c->away = *reply;
    *reply = BUF_INIT;
    c->is_back = true;
    void (*fn)(struct mini_client *) = c->on_completed;
    os_cond_broadcast(&c->changed);
    os_mutex_unlock(&c->lock);
    if (fn)
        fn(c);
}

static void client_ref(struct session *s) { atomic_fetch_add(&((struct mini_client *)s->connection)->refs, 1); }

static void client_unref(struct session *s)
{
    struct mini_client *c = s->connection;
    os_mutex_lock(&c->lock);
    atomic_fetch_sub(&c->refs, 1);
    os_cond_broadcast(&c->changed);
    os_mutex_unlock(&c->lock);
}

static void client_blocked(struct session *s, struct waiter *w)
{
    struct mini_client *c = s->connection;
    os_mutex_lock(&c->lock);
    c->waiter = w;
    os_cond_broadcast(&c->changed);
    os_mutex_unlock(&c->lock);
}

static void client_address(struct session *s, char out[64]) { snprintf(out, 64, "test:%d", (int)s->id); }

static const struct session_ops client_ops = {
    .protocol = "resp",
    .completed = client_completed,
    .ref = client_ref,
    .unref = client_unref,
    .blocked = client_blocked,
    .address = client_address,
};

void mini_client_init(struct mini_client *c, uint64_t id)
{
    memset(c, 0, sizeof *c);
    c->session.ops = &client_ops;
    c->session.id = id;
    c->session.resp = 2;
    c->session.connection = c;
    os_mutex_init(&c->lock);
    os_cond_init(&c->changed);
    resp_sink_init(&c->sink, &c->out, 2);
}

void mini_client_fini(struct mini_client *c)
{
    assert(!c->session.watched); /* mini_do(MINI_DISCARD) first */
    session_multi_end(&c->session);
    os_mutex_lock(&c->lock);
    while (atomic_load(&c->refs))
        os_cond_wait(&c->changed, &c->lock);
    os_mutex_unlock(&c->lock);
    buf_fini(&c->out);
    buf_fini(&c->away);
    os_cond_fini(&c->changed);
    os_mutex_fini(&c->lock);
}

void mini_prepare(struct mini_client *c, enum mini_command cmd, const char *args)
{
    size_t len = strlen(args);
    assert(len < sizeof c->bytes);
    memcpy(c->bytes, args, len + 1);
    c->entry = &mini_entry[cmd];
    c->argv[0] = slice_str(c->entry->full_name);
    c->argc = 1;
    for (uint8_t *p = c->bytes; *p;) {
        uint8_t *end = (uint8_t *)strchr((char *)p, ' ');
        if (!end)
            end = p + strlen((char *)p);
        assert(c->argc < 32);
        c->argv[c->argc++] = slice_of(p, (size_t)(end - p));
        p = *end ? end + 1 : end;
    }
    buf_clear(&c->out);
}

void mini_prepare_arg(struct mini_client *c, struct slice arg)
{
    assert(c->argc < 32);
    c->argv[c->argc++] = arg;
}

enum exec_outcome mini_run(struct exec_worker *w, struct mini_client *c)
{
    enum exec_outcome o = exec_run(w, &c->session, c->entry, c->argc, c->argv, &c->sink.sink);
    if (o == EXEC_AWAY) {
        c->is_away = true;
        struct waiter *waiter = exec_take_waiter(w);
        if (waiter)
            client_blocked(&c->session, waiter);
    }
    return o;
}

bool mini_waits(struct mini_client *c)
{
    os_mutex_lock(&c->lock);
    bool waits = c->waiter && !c->is_back;
    os_mutex_unlock(&c->lock);
    return waits;
}

bool mini_end_wait(struct exec_worker *w, struct mini_client *c, enum wait_end why)
{
    os_mutex_lock(&c->lock);
    struct waiter *waiter = c->waiter;
    os_mutex_unlock(&c->lock);
    if (!waiter || !waiter_take(waiter, why))
        return false;
    c->is_away = false;
    assert(c->out.len == 0);
    if (why != WAIT_CLOSE)
        exec_wait_over(w, waiter, why, &c->sink.sink);
    waiter_unref(waiter);
    c->waiter = NULL;
    client_unref(&c->session);
    return true;
}

bool mini_is_back(struct mini_client *c)
{
    os_mutex_lock(&c->lock);
    bool back = c->is_back;
    os_mutex_unlock(&c->lock);
    return back;
}

void mini_collect(struct mini_client *c)
{
    if (!c->is_away)
        return;
    os_mutex_lock(&c->lock);
    while (!c->is_back)
        os_cond_wait(&c->changed, &c->lock);
    c->is_back = false;
    struct waiter *waiter = c->waiter;
    c->waiter = NULL;
    os_mutex_unlock(&c->lock);
    waiter_unref(waiter);
    c->is_away = false;
    assert(c->out.len == 0); /* nothing of the dropped run is left */
    buf_fini(&c->out);
    c->out = c->away;
    c->away = BUF_INIT;
}

const char *mini_reply(struct mini_client *c)
{
    enum result r = buf_append(&c->out, "", 1);
    assert(r == RES_OK);
    (void)r;
    c->out.len--;
    return (const char *)c->out.data;
}

const char *mini_do(struct exec_worker *w, struct mini_client *c, enum mini_command cmd, const char *args)
{
    mini_prepare(c, cmd, args);
    enum exec_outcome o;
    while ((o = mini_run(w, c)) == EXEC_PARKED) { /* a pool thread has the latch for a moment */
        exec_row_end(w);
        os_sleep_ns(100000);
    }
    exec_row_end(w);
    mini_collect(c);
    return mini_reply(c);
}

/* ---- workers ---- */

static void worker_wake(void *arg) { atomic_fetch_add(&((struct mini_worker *)arg)->wakes, 1); }

void mini_worker_init(struct mini_worker *w, struct shard *s, const char *name)
{
    atomic_store(&w->wakes, 0);
    w->exec = exec_worker_new(s, &(struct exec_worker_options){.name = name, .wake = worker_wake, .arg = w});
    assert(w->exec != NULL);
}

void mini_worker_fini(struct mini_worker *w) { exec_worker_free(w->exec); }
