/* Keys of every length, and their places. What must hold:
 *   - keys of 1 byte up to 100 MB (1 MB without VARVE_TEST_LONG), and the empty one, are set, read, listed, scanned,
 *     renamed, expired and deleted like any other; keys that share all that fits into an engine key stay apart;
 *   - no engine key is longer than ENGINE_KEY_MAX;
 *   - a metadata record under another key's name is reported as damage, not returned. */
#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "os/env_memory.h"
#include "store/meta.h"
#include "store/store.h"
#include "tests/lib/talk.h"
#include "tests/lib/tap.h"

static struct talk t;
static struct env *env;

static void setup(const struct engine_ops *engine)
{
    env = env_memory_new(1, ENV_MEMORY_PLAIN);
    struct talk_options o = {.env = env, .engine = engine};
    talk_open(&t, &o);
}
static void teardown(void)
{
    talk_close(&t);
    env_memory_free(env);
}

static struct slice run(const char *name, int argc, struct slice a, struct slice b)
{
    struct slice argv[3] = {slice_str(name), a, b};
    return talk_run(&t, argc, argv);
}
#define NONE ((struct slice){NULL, 0})

static bool replies(struct slice reply, const char *text) { return slice_eq(reply, slice_str(text)); }

/* Two keys of this length that differ in the last byte only. */
struct pair {
    struct slice a, b;
    uint8_t *bytes;
};
static struct pair make_pair(size_t len)
{
    struct pair p = {.bytes = malloc(2 * len + 2)};
    memset(p.bytes, 'k', 2 * len);
    p.a = slice_of(p.bytes, len);
    p.b = slice_of(p.bytes + len, len);
    p.bytes[2 * len - 1] = 'l';
    return p;
}

static int count_scanned(struct slice wanted)
{
    char cursor[24] = "0";
    int found = 0;
    do {
        struct slice argv[2] = {SLICE_LIT("SCAN"), slice_str(cursor)};
        struct slice reply = talk_run(&t, 2, argv);
        /* "*2\r\n$n\r\ncursor\r\n*..." */
        struct slice c = talk_bulk(slice_of(reply.data + 4, reply.len - 4)), keys[64];
        snprintf(cursor, sizeof cursor, "%.*s", (int)c.len, (const char *)c.data);
        const uint8_t *rest = c.data + c.len + 2;
        int n = talk_array(slice_of(rest, (size_t)(reply.data + reply.len - rest)), keys, 64);
        for (int i = 0; i < n && i < 64; i++)
            found += slice_eq(keys[i], wanted);
    } while (strcmp(cursor, "0") != 0);
    return found;
}

static void one_length(size_t len)
{
    struct pair p = make_pair(len);
    struct slice found[4], value;
    tap_check(replies(run("SET", 3, p.a, SLICE_LIT("one")), "+OK\r\n"));
    tap_check(replies(run("EXISTS", 2, p.b, NONE), ":0\r\n"));
    tap_check(replies(run("SET", 3, p.b, SLICE_LIT("two")), "+OK\r\n"));
    value = talk_bulk(run("GET", 2, p.a, NONE));
    tap_check(slice_eq(value, SLICE_LIT("one")));
    value = talk_bulk(run("GET", 2, p.b, NONE));
    tap_check(slice_eq(value, SLICE_LIT("two")));
    tap_eq_u64((uint64_t)talk_array(run("KEYS", 2, SLICE_LIT("*"), NONE), found, 4), 2);
    tap_check(slice_eq(found[0], p.a) ? slice_eq(found[1], p.b) : slice_eq(found[0], p.b) && slice_eq(found[1], p.a));
    tap_check(count_scanned(p.a) == 1 && count_scanned(p.b) == 1);
    value = talk_bulk(run("RANDOMKEY", 1, NONE, NONE));
    tap_check(slice_eq(value, p.a) || slice_eq(value, p.b));
    tap_check(replies(run("EXPIRE", 3, p.a, SLICE_LIT("1000")), ":1\r\n"));
    tap_check(replies(run("TTL", 2, p.a, NONE), ":1000\r\n"));
    tap_check(replies(run("RENAME", 3, p.a, SLICE_LIT("short")), "+OK\r\n"));
    tap_check(replies(run("EXISTS", 2, p.a, NONE), ":0\r\n"));
    tap_eq_u64((uint64_t)talk_int(&t, "TTL short"), 1000);
    tap_check(replies(run("RENAME", 3, SLICE_LIT("short"), p.a), "+OK\r\n"));
    tap_check(replies(run("TTL", 2, p.a, NONE), ":1000\r\n"));
    tap_check(replies(run("PEXPIRE", 3, p.b, SLICE_LIT("50")), ":1\r\n"));
    env_memory_advance(env, 100000000);
    tap_check(replies(run("EXISTS", 2, p.b, NONE), ":0\r\n"));
    tap_check(replies(run("DEL", 2, p.a, NONE), ":1\r\n"));
    free(p.bytes);
}

static bool is_empty(void *arg)
{
    (void)arg;
    return talk_int(&t, "DBSIZE") == 0;
}

static void keys_of_every_length(void)
{
    static const size_t lengths[] = {1, 2, 447, 448, 449, 450, 480, 481, 1000, 65536, 1000000};
    setup(&engine_lsm);
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        one_length(lengths[i]);
        tap_check(talk_wait_for(is_empty, NULL)); /* the expired one is gone too, untouched */
    }
    if (tap_long()) {
        one_length(100000000);
        tap_check(talk_wait_for(is_empty, NULL));
    }
    teardown();
}

static void the_empty_key_is_a_key(void)
{
    setup(NULL);
    struct slice found[2], empty = SLICE_LIT("");
    tap_check(replies(run("SET", 3, empty, SLICE_LIT("v")), "+OK\r\n"));
    tap_eq_u64((uint64_t)talk_array(run("KEYS", 2, SLICE_LIT("*"), NONE), found, 2), 1);
    tap_eq_u64(found[0].len, 0);
    tap_check(replies(run("RENAME", 3, empty, SLICE_LIT("x")), "+OK\r\n"));
    tap_check(replies(run("EXISTS", 2, empty, NONE), ":0\r\n"));
    teardown();
}

/* ---- what lies below ---- */

static enum result longest_engine_key(struct call *c)
{
    size_t *longest = call_background_arg(c);
    struct iter *it;
    *longest = 0;
    enum result r = call_iter(c, slice_of("\1", 1), slice_of("\377", 1), 0, &it);
    if (r != RES_OK)
        return r;
    for (r = iter_seek(it, slice_of(NULL, 0)); r == RES_OK; r = iter_next(it))
        if (it->key.len > *longest)
            *longest = it->key.len;
    iter_close(it);
    return r == RES_NOT_FOUND ? RES_OK : r;
}

static void engine_keys_stay_short(void)
{
    setup(NULL);
    for (size_t len = 440; len < 490; len++) {
        struct pair p = make_pair(len);
        (void)run("SET", 3, p.a, SLICE_LIT("v"));
        (void)run("EXPIRE", 3, p.a, SLICE_LIT("100"));
        free(p.bytes);
    }
    size_t longest;
    talk_call(&t, longest_engine_key, &longest, RES_OK);
    tap_check(longest > 448 && longest <= ENGINE_KEY_MAX);
    teardown();
}

/* Puts the record of one long key under the name of another. */
static enum result misplace(struct call *c)
{
    struct pair *p = call_background_arg(c);
    struct store_key a, b;
    struct slice record;
    enum result r = store_key_init(c, 0, p->a, &a);
    if (r == RES_OK)
        r = store_key_init(c, 0, p->b, &b);
    if (r == RES_OK)
        r = call_get(c, &a.meta, &record);
    return r == RES_OK ? call_put(c, &b.meta, record) : r;
}

static void a_misplaced_record_is_damage(void)
{
    setup(NULL);
    struct pair p = make_pair(1000);
    (void)run("SET", 3, p.a, SLICE_LIT("v"));
    talk_call(&t, misplace, &p, RES_OK);
    tap_check(slice_eq(talk_bulk(run("GET", 2, p.a, NONE)), SLICE_LIT("v")));
    struct slice reply = run("GET", 2, p.b, NONE);
    tap_check(reply.len > 1 && reply.data[0] == '-');
    free(p.bytes);
    teardown();
}

int main(void)
{
    tap_test(keys_of_every_length);
    tap_test(the_empty_key_is_a_key);
    tap_test(engine_keys_stay_short);
    tap_test(a_misplaced_record_is_damage);
    return tap_done();
}
