/* Strings in both shapes, through commands. What must hold:
 *   - any row of SET, APPEND, SETRANGE, SETBIT, BITFIELD, GETRANGE, COPY, RENAME leaves what a plain buffer would hold,
 *     across the borders between inline and pieces and between chunks;
 *   - replacing or removing a string in pieces leaves no piece behind that is not named dead;
 *   - the same after everything was flushed to tables and the server started again. */
#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "os/env_memory.h"
#include "store/store.h"
#include "tests/lib/talk.h"
#include "tests/lib/tap.h"

#define KEYS 6
#define LIMIT 80000

static struct talk t;
static uint8_t *model[KEYS];
static size_t length[KEYS];
static bool present[KEYS];
static uint64_t seed = 7;

static uint64_t draw(uint64_t below)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return below ? (seed >> 24) % below : 0;
}

static struct slice key_name(int k)
{
    static char names[KEYS][16];
    return slice_of(names[k], (size_t)snprintf(names[k], sizeof names[k], "key:%d", k));
}

static struct slice number(uint64_t n)
{
    static char text[4][24];
    static int at;
    at = (at + 1) % 4;
    return slice_of(text[at], (size_t)snprintf(text[at], sizeof text[at], "%llu", (unsigned long long)n));
}

static struct slice run(struct slice a, struct slice b, struct slice c, struct slice d)
{
    struct slice argv[4] = {a, b, c, d};
    return talk_run(&t, d.data ? 4 : c.data ? 3 : 2, argv);
}
#define NONE ((struct slice){NULL, 0})
#define WORD(w) SLICE_LIT(w)

static size_t some_offset(void)
{
    static const size_t borders[] = {0, 4095, 4096, 8191, 8192, 8193, 16383, 16384, 16385, 24576, 40000};
    return draw(3) ? draw(LIMIT / 2) : borders[draw(sizeof borders / sizeof borders[0])];
}

static struct slice some_bytes(void)
{
    static uint8_t bytes[30000];
    static const size_t sizes[] = {1, 2, 10, 100, 1000, 4096, 8192, 16384, 20000};
    size_t n = draw(2) ? 1 + draw(50) : sizes[draw(sizeof sizes / sizeof sizes[0])];
    for (size_t i = 0; i < n; i++)
        bytes[i] = (uint8_t)draw(256);
    return slice_of(bytes, n);
}

static void model_write(int k, size_t at, struct slice bytes)
{
    size_t end = at + bytes.len;
    if (!present[k])
        length[k] = 0;
    if (end > length[k]) {
        memset(model[k] + length[k], 0, end - length[k]);
        length[k] = end;
    }
    memcpy(model[k] + at, bytes.data, bytes.len);
    present[k] = true;
}

static void check_int(struct slice reply, uint64_t want)
{
    char expected[32];
    int n = snprintf(expected, sizeof expected, ":%llu\r\n", (unsigned long long)want);
    if (!slice_eq(reply, slice_of(expected, (size_t)n)))
        tap_diag("got %.*s, not %s", (int)(reply.len < 60 ? reply.len : 60), (const char *)reply.data, expected);
    tap_check(slice_eq(reply, slice_of(expected, (size_t)n)));
}

static void check_whole(int k)
{
    struct slice value = talk_bulk(run(WORD("GET"), key_name(k), NONE, NONE));
    tap_check(present[k] == (value.data != NULL));
    if (present[k])
        tap_check(slice_eq(value, slice_of(model[k], length[k])));
    check_int(run(WORD("STRLEN"), key_name(k), NONE, NONE), present[k] ? length[k] : 0);
}

static void change_bit(int k)
{
    uint64_t bit = some_offset() * 8 + draw(8);
    uint8_t byte = present[k] && bit / 8 < length[k] ? model[k][bit / 8] : 0, mask = (uint8_t)(128 >> bit % 8);
    bool on = draw(2);
    check_int(run(WORD("SETBIT"), key_name(k), number(bit), number(on)), (byte & mask) != 0);
    byte = on ? byte | mask : byte & (uint8_t)~mask;
    model_write(k, bit / 8, slice_of(&byte, 1));
}

static void change_field(int k)
{
    uint64_t bit = some_offset() * 8 + draw(8), value = draw(1 << 13), old = 0;
    uint8_t bytes[3];
    for (int i = 0; i < 3; i++)
        bytes[i] = present[k] && bit / 8 + (unsigned)i < length[k] ? model[k][bit / 8 + (unsigned)i] : 0;
    uint32_t window = (uint32_t)bytes[0] << 16 | (uint32_t)bytes[1] << 8 | bytes[2];
    unsigned shift = 24 - 13 - bit % 8;
    old = window >> shift & 0x1fff;
    window = (window & ~(UINT32_C(0x1fff) << shift)) | (uint32_t)value << shift;
    struct slice argv[6] = {WORD("BITFIELD"), key_name(k), WORD("SET"), WORD("u13"), number(bit), number(value)};
    struct slice reply = talk_run(&t, 6, argv);
    tap_check(reply.len > 4 && memcmp(reply.data, "*1\r\n", 4) == 0);
    if (reply.len > 4)
        check_int(slice_of(reply.data + 4, reply.len - 4), old);
    bytes[0] = (uint8_t)(window >> 16);
    bytes[1] = (uint8_t)(window >> 8);
    bytes[2] = (uint8_t)window;
    model_write(k, bit / 8, slice_of(bytes, (bit % 8 + 13 + 7) / 8));
}

static void copy_or_rename(int k)
{
    int to = (int)draw(KEYS);
    if (to == k)
        return;
    bool rename = draw(2);
    struct slice argv[4] = {rename ? WORD("RENAME") : WORD("COPY"), key_name(k), key_name(to), WORD("REPLACE")};
    struct slice reply = talk_run(&t, rename ? 3 : 4, argv);
    if (!present[k]) {
        tap_check(reply.data[0] == (rename ? '-' : ':'));
        return;
    }
    memcpy(model[to], model[k], length[k]);
    length[to] = length[k];
    present[to] = true;
    if (rename)
        present[k] = false;
}

static void read_range(int k)
{
    size_t from = some_offset(), to = from + draw(30000), have = present[k] ? length[k] : 0;
    struct slice got = talk_bulk(run(WORD("GETRANGE"), key_name(k), number(from), number(to)));
    size_t n = from >= have ? 0 : (to + 1 < have ? to + 1 : have) - from;
    tap_check(got.data && slice_eq(got, slice_of(model[k] + from, n)));
}

static void one_step(void)
{
    int k = (int)draw(KEYS);
    struct slice bytes = some_bytes();
    switch (draw(12)) {
    case 0:
        (void)run(WORD("SET"), key_name(k), bytes, NONE);
        present[k] = false;
        model_write(k, 0, bytes);
        break;
    case 1:
    case 2:
    case 3: {
        size_t have = present[k] ? length[k] : 0;
        if (have + bytes.len > LIMIT)
            break;
        check_int(run(WORD("APPEND"), key_name(k), bytes, NONE), have + bytes.len);
        model_write(k, have, bytes);
        break;
    }
    case 4:
    case 5: {
        size_t at = some_offset();
        model_write(k, at, bytes);
        check_int(run(WORD("SETRANGE"), key_name(k), number(at), bytes), length[k]);
        break;
    }
    case 6:
        change_bit(k);
        break;
    case 7:
        change_field(k);
        break;
    case 8:
        copy_or_rename(k);
        break;
    case 9:
        if (draw(3) == 0) {
            check_int(run(WORD("DEL"), key_name(k), NONE, NONE), present[k]);
            present[k] = false;
        }
        break;
    case 10:
        check_whole(k);
        break;
    default:
        read_range(k);
    }
}

/* ---- what lies below ---- */

struct pieces_found {
    unsigned live, dead, orphans;
};

/* Counts pieces whose object no metadata names; all of those must lie in a dead range. */
static enum result find_orphans(struct call *c)
{
    struct pieces_found *found = call_background_arg(c);
    *found = (struct pieces_found){0, 0, 0};
    uint64_t live[KEYS];
    for (int k = 0; k < KEYS; k++) {
        struct store_key key;
        struct object o;
        enum result r = store_key_init(c, 0, key_name(k), &key);
        if (r == RES_OK)
            r = store_read(c, &key, LOOKUP_NO_STATS, &o);
        if (r != RES_OK)
            return r;
        live[k] = o.pieces ? o.id : 0;
    }
    struct iter *it;
    enum result r = call_iter(c, SLICE_LIT("E"), SLICE_LIT("F"), 0, &it);
    if (r != RES_OK)
        return r;
    for (r = iter_seek(it, slice_of(NULL, 0)); r == RES_OK; r = iter_next(it)) {
        uint64_t id = get_be64(it->key.data + 7);
        bool named = false;
        for (int k = 0; k < KEYS; k++)
            named |= live[k] == id;
        uint8_t name[16] = {'G'};
        memcpy(name + 1, it->key.data, 15);
        struct engine_key grave = {.bytes = slice_of(name, sizeof name), .hash = engine_hash(slice_of(name, 16))};
        struct slice end;
        enum result g = call_get(c, &grave, &end);
        if (g != RES_OK && g != RES_NOT_FOUND) {
            r = g;
            break;
        }
        found->live += named && g == RES_NOT_FOUND;
        found->dead += !named && g == RES_OK;
        found->orphans += named == (g == RES_OK);
    }
    iter_close(it);
    return r == RES_NOT_FOUND ? RES_OK : r;
}

static void check_everything(void)
{
    struct pieces_found found;
    for (int k = 0; k < KEYS; k++)
        check_whole(k);
    talk_call(&t, find_orphans, &found, RES_OK);
    tap_eq_u64(found.orphans, 0);
}

static void random_changes(const struct talk_options *o, int rounds, int steps)
{
    for (int k = 0; k < KEYS; k++) {
        model[k] = calloc(1, 4 * LIMIT);
        present[k] = false;
        length[k] = 0;
    }
    talk_open(&t, o);
    for (int round = 0; round < rounds; round++) {
        for (int i = 0; i < steps; i++)
            one_step();
        check_everything();
        if (o->engine && o->engine->persistent) {
            if (round % 2)
                tap_check(front_flush(shard_front(t.shard)) == RES_OK);
            check_everything();
            talk_close(&t);
            talk_open(&t, o);
            check_everything();
        }
    }
    talk_close(&t);
    for (int k = 0; k < KEYS; k++)
        free(model[k]);
}

static void strings_hold_what_a_buffer_would(void)
{
    struct env *env = env_memory_new(1, ENV_MEMORY_PLAIN);
    struct talk_options o = {.env = env};
    random_changes(&o, tap_long() ? 40 : 4, 1000);
    env_memory_free(env);
}

static void they_do_over_tables_and_restarts(void)
{
    struct env *env = env_memory_new(2, ENV_MEMORY_PLAIN);
    struct talk_options o = {.env = env, .engine = &engine_lsm, .memtable_bytes = 1 << 20};
    random_changes(&o, tap_long() ? 30 : 4, 400);
    env_memory_free(env);
}

static void long_replies_are_streamed_whole(void)
{
    struct env *env = env_memory_new(4, ENV_MEMORY_PLAIN);
    struct talk_options o = {.env = env};
    size_t len = 5000003;
    uint8_t *value = malloc(len);
    for (size_t i = 0; i < len; i++)
        value[i] = (uint8_t)(i >> 9 ^ i);
    talk_open(&t, &o);
    (void)run(WORD("SET"), WORD("long"), slice_of(value, len), NONE);
    tap_check(slice_eq(talk_bulk(run(WORD("GET"), WORD("long"), NONE, NONE)), slice_of(value, len)));
    struct slice part = talk_bulk(run(WORD("GETRANGE"), WORD("long"), number(8191), number(3000000)));
    tap_check(slice_eq(part, slice_of(value + 8191, 3000000 - 8190)));
    (void)run(WORD("SETRANGE"), WORD("long"), number(9000000), WORD("!"));
    part = talk_bulk(run(WORD("GETRANGE"), WORD("long"), number(4000000), number(9000000)));
    tap_check(part.len == 5000001 && memcmp(part.data, value + 4000000, 1000003) == 0);
    size_t wrong = 0;
    for (size_t i = 1000003; i < 5000000; i++)
        wrong += part.data[i] != 0;
    tap_check(wrong == 0 && part.data[5000000] == '!');
    talk_close(&t);
    free(value);
    env_memory_free(env);
}

static void sparse_strings_cost_what_is_written(void)
{
    struct env *env = env_memory_new(3, ENV_MEMORY_PLAIN);
    struct talk_options o = {.env = env};
    struct front_stats before, after;
    talk_open(&t, &o);
    front_stats(shard_front(t.shard), &before);
    tap_eq_u64((uint64_t)talk_int(&t, "SETRANGE sparse 536870900 end"), 536870903);
    tap_eq_u64((uint64_t)talk_int(&t, "SETBIT sparse 7 1"), 0);
    tap_eq_u64((uint64_t)talk_int(&t, "BITCOUNT sparse 0 100000"), 1);
    tap_eq_str(talk(&t, "GETRANGE sparse 536870900 -1"), "$3\r\nend\r\n");
    tap_eq_str(talk(&t, "SETRANGE sparse 536870910 xyz"),
               "-ERR string exceeds maximum allowed size (proto-max-bulk-len)\r\n");
    tap_eq_u64((uint64_t)talk_int(&t, "STRLEN sparse"), 536870903);
    front_stats(shard_front(t.shard), &after);
    tap_check(after.memtable_bytes - before.memtable_bytes < 1 << 20);
    talk_close(&t);
    env_memory_free(env);
}

int main(void)
{
    tap_test(strings_hold_what_a_buffer_would);
    tap_test(they_do_over_tables_and_restarts);
    tap_test(long_replies_are_streamed_whole);
    tap_test(sparse_strings_cost_what_is_written);
    return tap_done();
}
