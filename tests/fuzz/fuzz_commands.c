/* Rows of commands against a model: whatever the bytes make of strings, keys, expiry, bits and databases, every reply is
 * the one that a model of a few hundred lines gives, byte for byte. The commands run in the executor over the real
 * store, front and LSM engine, without sockets (tests/lib/talk.h), on a disk in memory and with a clock that obeys.
 * Between commands the bytes let time pass, memtables be flushed and tables compacted, and the machine lose its power, after
 * which nothing that was durable may be missing.
 *
 * A byte is a decision; where the input ends, zeros follow until the command is whole. A difference aborts and says which
 * command it was. VARVE_FUZZ_SHOW=1 prints all commands. The server is opened anew every 50 inputs, each of which begins
 * with FLUSHALL. */
#include <inttypes.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "front/front.h"
#include "os/env_memory.h"
#include "tests/lib/talk.h"

#define DATABASES 4
#define KEYS 14
#define COMMANDS 300
#define LONGEST 70000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* ---- the model ---- */

struct entry {
    uint8_t *data;
    size_t len;
    uint64_t expire; /* 0: never */
    bool present;
};
static struct entry model[DATABASES][KEYS];
static uint64_t now_ms = 1800000000000;
static unsigned db;

static void drop(struct entry *e)
{
    free(e->data);
    *e = (struct entry){NULL, 0, 0, false};
}

/* As any command meets it: expired ones are gone. */
static struct entry *look(unsigned d, unsigned k)
{
    struct entry *e = &model[d][k];
    if (e->present && e->expire && e->expire < now_ms)
        drop(e);
    return e;
}

/* Its value is `len` bytes from now on, zeros where there were none. */
static void resize(struct entry *e, size_t len)
{
    uint8_t *data = calloc(1, len + 1);
    if (e->len)
        memcpy(data, e->data, e->len < len ? e->len : len);
    free(e->data);
    e->data = data;
    e->len = len;
    e->present = true;
}

static void put(struct entry *e, const void *data, size_t len, uint64_t expire)
{
    drop(e);
    resize(e, len);
    if (len)
        memcpy(e->data, data, len);
    e->expire = expire;
}

/* Redis' idea of an integer: as it would print it. */
static bool integer(const struct entry *e, int64_t *out)
{
    char text[32], again[32];
    if (e->len == 0 || e->len > 20)
        return false;
    memcpy(text, e->data, e->len);
    text[e->len] = 0;
    *out = strtoll(text, NULL, 10);
    snprintf(again, sizeof again, "%" PRId64, *out);
    return strlen(text) == e->len && strcmp(text, again) == 0;
}

static bool bit(const struct entry *e, size_t at) { return at / 8 < e->len && (e->data[at / 8] >> (7 - at % 8) & 1); }

/* ---- the input ---- */

static const uint8_t *input, *input_end;
static unsigned byte(void) { return input < input_end ? *input++ : 0; }
static unsigned choose(unsigned n) { return byte() % n; }

static struct slice key_name(unsigned k)
{
    static char names[KEYS][512];
    static size_t lengths[KEYS];
    if (lengths[0] == 0) {
        for (unsigned i = 0; i < KEYS; i++)
            lengths[i] = (size_t)snprintf(names[i], sizeof names[i], i < 6 ? "k%u" : "{tag}%u", i);
        memset(names[10], 'L', 448), lengths[10] = 448;
        memset(names[11], 'L', 449), lengths[11] = 449;
        memset(names[12], 'L', 500), lengths[12] = 500;
        memcpy(names[13], "\0\xff\r\n*", 5), lengths[13] = 5;
    }
    return slice_of(names[k], lengths[k]);
}

/* A value from the input; valid until the next. */
static struct slice value(void)
{
    static char bytes[2][24000];
    static unsigned turn;
    static const size_t sizes[] = {0, 43, 44, 45, 1000, 4095, 4096, 4097, 8192, 16383, 16384, 16385, 20000};
    char *b = bytes[turn++ % 2];
    unsigned kind = byte();
    size_t len = 0;
    if (kind < 100) {
        static const int64_t numbers[] = {0, 1, -1, 10, 255, INT64_MAX, INT64_MIN, INT64_MAX - 1, 1000000007};
        len = (size_t)sprintf(b, "%" PRId64, kind < 50 ? (int64_t)kind - 25 : numbers[kind % 9]);
    } else if (kind < 200) {
        for (len = 0; len < kind % 8; len++)
            b[len] = (char)byte();
    } else {
        len = sizes[kind % 13];
        memset(b, 'a' + (int)kind % 26, len);
    }
    return slice_of(b, len);
}

static int64_t position(size_t len)
{
    static const int64_t some[] = {0,    1,    -1,   2,    -2,    7,     8,         100,          -100,
                                   4095, 4096, 8191, 8192, 16384, 20000, INT64_MAX, INT64_MIN + 1};
    unsigned b = byte();
    return b < 200 ? some[b % 17] : (int64_t)len - (int64_t)(b - 228);
}

static uint64_t in_ms(void)
{
    static const unsigned some[] = {1, 2, 100, 1000, 5000, 100000, 100000000};
    return some[choose(7)];
}

/* ---- a command and the reply it should get ---- */

static struct talk t;
static struct env *env;
static struct slice argv[16];
static int argc;
static char words[16][32];
static struct buf want = BUF_INIT;

static void arg(struct slice s) { argv[argc++] = s; }
static void PRINTF_LIKE(1, 2) word(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(words[argc], sizeof words[0], fmt, ap);
    va_end(ap);
    arg(slice_str(words[argc]));
}
static unsigned key_arg(void)
{
    unsigned k = choose(KEYS);
    arg(key_name(k));
    return k;
}

static void PRINTF_LIKE(1, 2) reply(const char *fmt, ...)
{
    char text[256];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (buf_append(&want, text, (size_t)n) != RES_OK)
        abort();
}
static void number(int64_t n) { reply(":%" PRId64 "\r\n", n); }
static void ok(void) { reply("+OK\r\n"); }
static void bulk(const struct entry *e)
{
    if (!e->present) {
        reply("$-1\r\n");
        return;
    }
    reply("$%zu\r\n", e->len);
    if (buf_append(&want, e->data, e->len) != RES_OK)
        abort();
    reply("\r\n");
}

static void show(void)
{
    fprintf(stderr, "db %u, %" PRIu64 " ms:", db, now_ms);
    for (int i = 0; i < argc; i++) {
        fputc(' ', stderr);
        for (size_t j = 0; j < argv[i].len && j < 40; j++)
            fprintf(stderr, argv[i].data[j] > 32 && argv[i].data[j] < 127 ? "%c" : "\\x%02x", argv[i].data[j]);
        if (argv[i].len > 40)
            fprintf(stderr, "...(%zu)", argv[i].len);
    }
    fputc('\n', stderr);
}

static void differs(struct slice got)
{
    show();
    fprintf(stderr, "got  %.*s\nwant %.*s\n", (int)(got.len < 200 ? got.len : 200), (const char *)got.data,
            (int)(want.len < 200 ? want.len : 200), (const char *)want.data);
    abort();
}

static void check(void)
{
    static int shown = -1;
    if (shown < 0)
        shown = getenv("VARVE_FUZZ_SHOW") != NULL;
    if (shown)
        show();
    struct slice got = talk_run(&t, argc, argv);
    if (got.len != want.len || memcmp(got.data, want.data, want.len) != 0)
        differs(got);
}

/* ---- strings ---- */

static void do_set(void)
{
    word("SET");
    struct entry *e = look(db, key_arg());
    struct slice v = value();
    arg(v);
    unsigned how = choose(4), when = choose(6);
    bool get = choose(8) == 0, keep = when == 1;
    uint64_t expire = keep && e->present ? e->expire : 0;
    if (how == 1)
        word("NX");
    if (how == 2)
        word("XX");
    if (get)
        word("GET");
    if (keep)
        word("KEEPTTL");
    if (when == 2) {
        uint64_t ms = in_ms();
        expire = now_ms + ms;
        word("PX"), word("%" PRIu64, ms);
    }
    if (when == 3) {
        expire = now_ms + in_ms();
        word("PXAT"), word("%" PRIu64, expire);
    }
    bool done = how == 1 ? !e->present : how == 2 ? e->present : true;
    if (get)
        bulk(e);
    else if (done)
        ok();
    else
        reply("$-1\r\n");
    if (done)
        put(e, v.data, v.len, expire);
    check();
}

static void do_get(void)
{
    static const char *const names[] = {"GET", "GETDEL", "GETEX", "GETSET", "STRLEN", "TYPE", "SETNX"};
    unsigned which = choose(7);
    word("%s", names[which]);
    struct entry *e = look(db, key_arg());
    if (which < 4)
        bulk(e);
    if (which == 1)
        drop(e);
    if (which == 2 && choose(3)) {
        if (choose(2)) {
            word("PERSIST");
            e->expire = 0;
        } else {
            uint64_t ms = in_ms();
            word("PX"), word("%" PRIu64, ms);
            if (e->present)
                e->expire = now_ms + ms;
        }
    }
    if (which == 3 || which == 6) {
        struct slice v = value();
        arg(v);
        if (which == 6)
            number(!e->present);
        if (which == 3 || !e->present)
            put(e, v.data, v.len, 0);
    }
    if (which == 4)
        number((int64_t)e->len);
    if (which == 5)
        reply(e->present ? "+string\r\n" : "+none\r\n");
    check();
}

static void do_append(void)
{
    word("APPEND");
    struct entry *e = look(db, key_arg());
    struct slice v = value();
    size_t had = e->len;
    if (had + v.len > LONGEST)
        return;
    arg(v);
    resize(e, had + v.len);
    if (v.len)
        memcpy(e->data + had, v.data, v.len);
    number((int64_t)e->len);
    check();
}

static void do_setrange(void)
{
    word("SETRANGE");
    struct entry *e = look(db, key_arg());
    int64_t at = position(e->len);
    struct slice v = value();
    if (at > LONGEST - (int64_t)v.len)
        return;
    word("%" PRId64, at), arg(v);
    if (at < 0) {
        reply("-ERR offset is out of range\r\n");
    } else {
        if (v.len) {
            if (e->len < (size_t)at + v.len)
                resize(e, (size_t)at + v.len);
            memcpy(e->data + at, v.data, v.len);
        }
        number((int64_t)e->len);
    }
    check();
}

static void do_getrange(void)
{
    word("GETRANGE");
    struct entry *e = look(db, key_arg());
    int64_t len = (int64_t)e->len, first = position(e->len), last = position(e->len);
    word("%" PRId64, first), word("%" PRId64, last);
    bool none = first < 0 && last < 0 && first > last;
    first = first < 0 ? (first + len < 0 ? 0 : first + len) : first;
    last = last < 0 ? (last + len < 0 ? 0 : last + len) : last >= len ? len - 1 : last;
    if (none || len == 0 || first > last) {
        reply("$0\r\n\r\n");
    } else {
        struct entry part = {e->data + first, (size_t)(last - first + 1), 0, true};
        bulk(&part);
    }
    check();
}

static void do_incr(void)
{
    static const int64_t steps[] = {1, -1, 2, 1000, INT64_MAX, INT64_MIN + 1};
    word("INCRBY");
    struct entry *e = look(db, key_arg());
    int64_t by = steps[choose(6)], n = 0, sum;
    word("%" PRId64, by);
    if (e->present && !integer(e, &n)) {
        reply("-ERR value is not an integer or out of range\r\n");
    } else if (__builtin_add_overflow(n, by, &sum)) {
        reply("-ERR increment or decrement would overflow\r\n");
    } else {
        char text[32];
        int length = sprintf(text, "%" PRId64, sum);
        put(e, text, (size_t)length, e->expire);
        number(sum);
    }
    check();
}

static void do_mset(void)
{
    bool nx = choose(2), free_keys = true;
    unsigned keys[2];
    struct slice values[2];
    word(nx ? "MSETNX" : "MSET");
    for (int i = 0; i < 2; i++) {
        keys[i] = key_arg();
        values[i] = value();
        arg(values[i]);
        free_keys = free_keys && !look(db, keys[i])->present;
    }
    for (int i = 0; i < 2 && (!nx || free_keys); i++)
        put(&model[db][keys[i]], values[i].data, values[i].len, 0);
    if (nx)
        number(free_keys);
    else
        ok();
    check();
}

static void do_mget(void)
{
    int n = (int)choose(5) + 1;
    word("MGET");
    reply("*%d\r\n", n);
    for (int i = 0; i < n; i++)
        bulk(look(db, key_arg()));
    check();
}

/* ---- bits ---- */

static void do_setbit(void)
{
    bool set = choose(2);
    word(set ? "SETBIT" : "GETBIT");
    struct entry *e = look(db, key_arg());
    size_t at = byte() * (choose(3) ? 1u : 256u) + choose(8);
    word("%zu", at);
    number(bit(e, at));
    if (set) {
        bool on = choose(2);
        word("%d", on);
        if (e->len < at / 8 + 1)
            resize(e, at / 8 + 1);
        uint8_t mask = (uint8_t)(1u << (7 - at % 8));
        e->data[at / 8] = (uint8_t)(on ? e->data[at / 8] | mask : e->data[at / 8] & ~mask);
    }
    check();
}

static void do_bitcount(void)
{
    bool count = choose(2);
    word(count ? "BITCOUNT" : "BITPOS");
    struct entry *e = look(db, key_arg());
    size_t bits = e->len * 8, at = 0;
    if (count) {
        int64_t n = 0;
        for (; at < bits; at++)
            n += bit(e, at);
        number(n);
    } else {
        bool which = choose(2);
        word("%d", which);
        while (at < bits && bit(e, at) != which)
            at++;
        number(!e->present ? (which ? -1 : 0) : bits == 0 ? -1 : at < bits || !which ? (int64_t)at : -1);
    }
    check();
}

static void do_bitop(void)
{
    static const char *const names[] = {"AND", "OR", "XOR", "NOT"};
    unsigned op = choose(4);
    word("BITOP"), word("%s", names[op]);
    unsigned to = key_arg();
    const struct entry *a = look(db, key_arg()), *b = op == 3 ? a : look(db, key_arg());
    size_t len = a->len > b->len ? a->len : b->len;
    uint8_t *out = calloc(1, len + 1);
    for (size_t i = 0; i < len; i++) {
        uint8_t x = i < a->len ? a->data[i] : 0, y = i < b->len ? b->data[i] : 0;
        out[i] = (uint8_t)(op == 0 ? x & y : op == 1 ? x | y : op == 2 ? x ^ y : ~x);
    }
    look(db, to);
    if (len)
        put(&model[db][to], out, len, 0);
    else
        drop(&model[db][to]);
    free(out);
    number((int64_t)len);
    check();
}

static void do_bitfield(void)
{
    word("BITFIELD");
    struct entry *e = look(db, key_arg());
    size_t at = byte() * (choose(4) ? 1u : 64u);
    int by = (int)byte() - 128;
    bool saturate = choose(2);
    word("OVERFLOW"), word(saturate ? "SAT" : "WRAP"), word("INCRBY"), word("i8"), word("#%zu", at), word("%d", by);
    if (e->len < at + 1)
        resize(e, at + 1);
    int sum = (int8_t)e->data[at] + by;
    if (saturate)
        sum = sum > 127 ? 127 : sum < -128 ? -128 : sum;
    e->data[at] = (uint8_t)sum;
    reply("*1\r\n");
    number((int8_t)sum);
    check();
}

/* ---- keys ---- */

static void do_del(void)
{
    static const char *const names[] = {"DEL", "UNLINK", "EXISTS", "TOUCH"};
    unsigned which = choose(4);
    int n = (int)choose(3) + 1;
    int64_t found = 0;
    word("%s", names[which]);
    for (int i = 0; i < n; i++) {
        struct entry *e = look(db, key_arg());
        found += e->present;
        if (which < 2)
            drop(e);
    }
    number(found);
    check();
}

/* What `from` holds goes to `to`, which forgets what it had. */
static void give(struct entry *from, struct entry *to)
{
    drop(to);
    *to = *from;
    *from = (struct entry){NULL, 0, 0, false};
}

static void do_rename(void)
{
    bool nx = choose(2);
    word(nx ? "RENAMENX" : "RENAME");
    struct entry *from = look(db, key_arg()), *to = look(db, key_arg());
    if (!from->present) {
        reply("-ERR no such key\r\n");
    } else if (nx) {
        number(!to->present);
        if (!to->present)
            give(from, to);
    } else {
        ok();
        if (from != to)
            give(from, to);
    }
    check();
}

static void do_copy(void)
{
    word("COPY");
    unsigned d = db;
    struct entry *from = look(db, key_arg());
    unsigned k = key_arg();
    if (choose(2)) {
        d = choose(DATABASES);
        word("DB"), word("%u", d);
    }
    bool replace = choose(2);
    if (replace)
        word("REPLACE");
    struct entry *to = look(d, k);
    if (from == to) {
        reply("-ERR source and destination objects are the same\r\n");
    } else if (!from->present || (to->present && !replace)) {
        number(0);
    } else {
        put(to, from->data, from->len, from->expire);
        number(1);
    }
    check();
}

static void do_move(void)
{
    word("MOVE");
    unsigned k = key_arg(), d = choose(DATABASES);
    word("%u", d);
    struct entry *from = look(db, k), *to = look(d, k);
    if (from == to) {
        reply("-ERR source and destination objects are the same\r\n");
    } else {
        bool moves = from->present && !to->present;
        number(moves);
        if (moves)
            give(from, to);
    }
    check();
}

static void do_expire(void)
{
    static const char *const conditions[] = {"", "NX", "XX", "GT", "LT"};
    bool at = choose(2);
    word(at ? "PEXPIREAT" : "PEXPIRE");
    struct entry *e = look(db, key_arg());
    uint64_t when = choose(6) ? now_ms + in_ms() : now_ms - choose(2);
    word("%" PRId64, at ? (int64_t)when : (int64_t)when - (int64_t)now_ms);
    unsigned condition = choose(5);
    if (condition)
        word("%s", conditions[condition]);
    bool done = e->present;
    if (condition == 1)
        done = done && !e->expire;
    if (condition == 2)
        done = done && e->expire;
    if (condition == 3)
        done = done && e->expire && when > e->expire;
    if (condition == 4)
        done = done && (!e->expire || when < e->expire);
    if (done && when <= now_ms)
        drop(e);
    else if (done)
        e->expire = when;
    number(done);
    check();
}

static void do_ttl(void)
{
    static const char *const names[] = {"PEXPIRETIME", "PTTL", "EXPIRETIME", "TTL", "PERSIST"};
    unsigned which = choose(5);
    word("%s", names[which]);
    struct entry *e = look(db, key_arg());
    int64_t expire = (int64_t)e->expire, left = expire - (int64_t)now_ms;
    if (which == 4)
        number(e->present && expire);
    else if (!e->present || !expire)
        number(e->present ? -1 : -2);
    else
        number(which == 0 ? expire : which == 1 ? left : which == 2 ? (expire + 500) / 1000 : (left + 500) / 1000);
    if (which == 4)
        e->expire = 0;
    check();
}

/* ---- databases ---- */

static void do_select(void)
{
    db = choose(DATABASES);
    word("SELECT"), word("%u", db);
    ok();
    check();
}

static void do_swapdb(void)
{
    unsigned a = choose(DATABASES), b = choose(DATABASES);
    struct entry kept[KEYS];
    word("SWAPDB"), word("%u", a), word("%u", b);
    memcpy(kept, model[a], sizeof kept);
    memmove(model[a], model[b], sizeof kept);
    memcpy(model[b], kept, sizeof kept);
    ok();
    check();
}

static void flush_model(unsigned first, unsigned end)
{
    for (unsigned d = first; d < end; d++)
        for (unsigned k = 0; k < KEYS; k++)
            drop(&model[d][k]);
}

static void do_flush(void)
{
    bool all = choose(3) == 0;
    word(all ? "FLUSHALL" : "FLUSHDB");
    flush_model(all ? 0 : db, all ? DATABASES : db + 1);
    ok();
    check();
}

/* SCAN, from end to end: each key that is there, once. */
static void do_scan(void)
{
    bool seen[KEYS] = {false};
    char cursor[32] = "0";
    unsigned step = choose(4) + 1;
    do {
        argc = 0;
        word("SCAN"), arg(slice_str(cursor)), word("COUNT"), word("%u", step);
        struct slice got = talk_run(&t, argc, argv);
        int at = 0, n, length;
        char next[32];
        const char *text = (const char *)got.data;
        if (sscanf(text, "*2\r\n$%*d\r\n%31[0-9]\r\n*%d\r\n%n", next, &n, &at) != 2 || at == 0)
            differs(got);
        for (int i = 0; i < n; i++) {
            int header = 0;
            sscanf(text + at, "$%d\r\n%n", &length, &header);
            struct slice name = slice_of(text + at + header, (size_t)length);
            unsigned k = 0;
            while (k < KEYS && !slice_eq(name, key_name(k)))
                k++;
            if (k == KEYS || seen[k] || !look(db, k)->present)
                differs(got);
            seen[k] = true;
            at += header + length + 2;
        }
        memcpy(cursor, next, sizeof cursor);
    } while (strcmp(cursor, "0") != 0);
    for (unsigned k = 0; k < KEYS; k++)
        if (look(db, k)->present && !seen[k])
            differs(key_name(k));
}

/* Exact as soon as the expiry thread has been at it; never less than what is there. */
static bool counted(void *unused)
{
    (void)unused;
    int64_t n = 0;
    for (unsigned k = 0; k < KEYS; k++)
        n += look(db, k)->present;
    return talk_int(&t, "DBSIZE") == n;
}

static void do_dbsize(void)
{
    argc = 0;
    word("DBSIZE");
    if (!talk_wait_for(counted, NULL))
        differs(talk_run(&t, argc, argv));
}

/* ---- what happens beside the commands ---- */

static void set_clock(void) { env_memory_set_clock(env, now_ms, now_ms * 1000000); }

static void open_server(void)
{
    struct talk_options o = {
        .env = env, .engine = &engine_lsm, .databases = DATABASES, .memtable_bytes = 1 << 18, .log_bytes = 1 << 18};
    set_clock();
    talk_open(&t, &o);
    t.session.db = db;
}

static void close_server(void)
{
    talk_close(&t);
    env_memory_free(env);
}

/* The power fails when everything that was answered is durable. */
static void lose_power(void)
{
    while (shard_gate(t.shard) < t.session.floor)
        sched_yield();
    struct env *left = env_memory_crash(env, ENV_MEMORY_NOW, choose(6));
    if (!left)
        abort();
    close_server();
    env = left;
    open_server();
}

static void tables(bool compact)
{
    if ((compact ? front_compact : front_flush)(shard_front(t.shard)) != RES_OK)
        abort();
}

static void (*const commands[])(void) = {do_set,    do_get,    do_append, do_setrange, do_getrange, do_incr,
                                         do_mset,   do_mget,   do_setbit, do_bitcount, do_bitop,    do_bitfield,
                                         do_del,    do_rename, do_copy,   do_move,     do_expire,   do_ttl,
                                         do_select, do_swapdb, do_flush,  do_scan,     do_dbsize};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static unsigned inputs;
    unsigned powers = 0, compactions = 0;
    if (inputs % 50 == 0) {
        log_set_level(LOG_NOTHING);
        if (inputs)
            close_server();
        env = env_memory_new(1, ENV_MEMORY_CRASH);
        db = 0;
        open_server();
    }
    inputs++;
    input = data, input_end = data + size;
    talk(&t, "FLUSHALL");
    flush_model(0, DATABASES);
    for (int i = 0; i < COMMANDS && input < input_end; i++) {
        unsigned b = byte();
        argc = 0;
        buf_clear(&want);
        if (b < 230) {
            commands[b % (sizeof commands / sizeof *commands)]();
        } else if (b < 245) {
            static const unsigned steps[] = {1, 2, 50, 1000, 4000, 100000};
            now_ms += steps[choose(6)];
            set_clock();
        } else if (b < 250 && compactions++ < 8) {
            tables(b == 249);
        } else if (b > 253 && powers++ < 2) {
            lose_power();
        }
    }
    for (db = 0; db < DATABASES; db++) {
        t.session.db = db;
        for (unsigned k = 0; k < KEYS; k++) {
            argc = 0;
            buf_clear(&want);
            word("GET"), arg(key_name(k)), bulk(look(db, k));
            check();
        }
        do_dbsize();
    }
    t.session.db = 0;
    db = 0;
    return 0;
}
