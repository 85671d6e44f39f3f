/* SCAN and RANDOMKEY. What must hold:
 *   - a key that is there from the first call of a scan to the last is returned at least once, whatever is added,
 *     overwritten, deleted, expired, flushed to tables and compacted between the calls;
 *   - a scan ends; its cursors stay below 2^53; nothing is returned that was never there;
 *   - RANDOMKEY draws every living key with the same probability: few keys, many, crowded into few slots by hash tags,
 *     among expired ones (chi-square at 99.99%). */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "os/env_memory.h"
#include "tests/lib/talk.h"
#include "tests/lib/tap.h"

static struct talk t;
static struct env *env;
static uint64_t seed = 5;

static uint64_t draw(uint64_t below)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return below ? (seed >> 24) % below : 0;
}

static void setup(const struct engine_ops *engine)
{
    env = env_memory_new(1, ENV_MEMORY_PLAIN);
    struct talk_options o = {.env = env, .engine = engine, .memtable_bytes = 256 << 10};
    talk_open(&t, &o);
}
static void teardown(void)
{
    talk_close(&t);
    env_memory_free(env);
}

#define MAX_KEYS 3000
#define BATCH 400
static struct slice page[BATCH];

/* One call; the number of keys in page[], and the next cursor. */
static int scan(uint64_t *cursor, unsigned count)
{
    char number[2][24];
    snprintf(number[0], sizeof number[0], "%llu", (unsigned long long)*cursor);
    snprintf(number[1], sizeof number[1], "%u", count);
    struct slice argv[4] = {SLICE_LIT("SCAN"), slice_str(number[0]), SLICE_LIT("COUNT"), slice_str(number[1])};
    struct slice reply = talk_run(&t, 4, argv), next;
    tap_require(reply.len > 4 && reply.data[0] == '*');
    next = talk_bulk(slice_of(reply.data + 4, reply.len - 4));
    *cursor = strtoull((const char *)next.data, NULL, 10);
    const uint8_t *rest = next.data + next.len + 2;
    return talk_array(slice_of(rest, (size_t)(reply.data + reply.len - rest)), page, BATCH);
}

/* Keys 0 .. stable-1 stay; the others come and go. */
static void churn(unsigned stable)
{
    for (unsigned i = 0; i < 20; i++) {
        unsigned k = (unsigned)draw(MAX_KEYS);
        if (k < stable)
            (void)talk(&t, draw(2) ? "SET key:%u again" : "EXPIRE key:%u 10000", k);
        else if (draw(3) == 0)
            (void)talk(&t, "SET key:%u v PX %u", k, (unsigned)draw(3));
        else
            (void)talk(&t, draw(2) ? "SET key:%u v" : "DEL key:%u", k);
    }
    if (draw(30) == 0)
        tap_check(front_flush(shard_front(t.shard)) == RES_OK);
}

static void one_scan(unsigned stable, unsigned count, bool with_churn)
{
    static unsigned seen[MAX_KEYS];
    memset(seen, 0, sizeof seen);
    uint64_t cursor = 0;
    unsigned calls = 0, strange = 0, missing = 0;
    do {
        int n = scan(&cursor, count);
        tap_check(n >= 0 && cursor < UINT64_C(1) << 53);
        for (int i = 0; i < n && i < BATCH; i++) {
            unsigned k = page[i].len > 4 ? (unsigned)strtoul((const char *)page[i].data + 4, NULL, 10) : MAX_KEYS;
            if (k < MAX_KEYS)
                seen[k]++;
            else
                strange++;
        }
        if (with_churn)
            churn(stable);
        calls++;
    } while (cursor && calls < 10 * MAX_KEYS);
    tap_eq_u64(cursor, 0);
    for (unsigned k = 0; k < stable; k++)
        missing += !seen[k];
    tap_eq_u64(missing, 0);
    tap_eq_u64(strange, 0);
}

static void what_stays_is_found(const struct engine_ops *engine)
{
    setup(engine);
    for (unsigned k = 0; k < 500; k++)
        (void)talk(&t, "SET key:%u v", k);
    for (unsigned i = 0; i < (tap_long() ? 100u : 8u); i++)
        one_scan(500, 1 + (unsigned)draw(i % 2 ? 300 : 20), true);
    for (unsigned k = 0; k < MAX_KEYS; k++)
        (void)talk(&t, "SET key:%u v", k);
    one_scan(MAX_KEYS, 7, false);
    teardown();
}

static void scan_under_churn_in_memory(void) { what_stays_is_found(&engine_memory); }
static void scan_under_churn_over_tables(void) { what_stays_is_found(&engine_lsm); }

static void a_scan_of_nothing_ends_at_once(void)
{
    setup(NULL);
    tap_eq_str(talk(&t, "SCAN 0"), "*2\r\n$1\r\n0\r\n*0\r\n");
    tap_eq_str(talk(&t, "SCAN 70368744177663"), "*2\r\n$1\r\n0\r\n*0\r\n"); /* the last point there is */
    tap_eq_str(talk(&t, "SCAN 18446744073709551615"), "*2\r\n$1\r\n0\r\n*0\r\n");
    teardown();
}

/* ---- RANDOMKEY ---- */

static void check_uniform(unsigned keys, unsigned draws)
{
    unsigned *hits = calloc(keys, sizeof *hits), strange = 0;
    for (unsigned i = 0; i < draws; i++) {
        struct slice argv[1] = {SLICE_LIT("RANDOMKEY")};
        struct slice key = talk_bulk(talk_run(&t, 1, argv));
        const uint8_t *digits = key.data ? memchr(key.data, ':', key.len) : NULL;
        unsigned k = digits ? (unsigned)strtoul((const char *)digits + 1, NULL, 10) : keys;
        if (k < keys)
            hits[k]++;
        else
            strange++;
    }
    tap_eq_u64(strange, 0);
    double expected = (double)draws / keys, chi = 0;
    for (unsigned k = 0; k < keys; k++)
        chi += (hits[k] - expected) * (hits[k] - expected) / expected;
    /* Wilson and Hilferty's approximation of the quantile at 0.9999 */
    double df = keys - 1, z = 3.719, w = 1 - 2 / (9 * df) + z * sqrt(2 / (9 * df));
    double limit = df * w * w * w;
    if (!tap_check(chi < limit))
        tap_diag("%u keys: chi-square %.1f, limit %.1f", keys, chi, limit);
    free(hits);
}

static void draws_are_uniform(void)
{
    setup(NULL);
    tap_eq_str(talk(&t, "RANDOMKEY"), "$-1\r\n");
    unsigned made = 0;
    static const unsigned sizes[] = {2, 10, 64, 65, 200, 2000};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        for (; made < sizes[i]; made++)
            (void)talk(&t, "SET key:%u v", made);
        check_uniform(made, tap_long() ? 20000 + made * 50 : 2000 + made * 15);
    }
    teardown();
}

static void crowded_slots_do_not_matter(void)
{
    setup(NULL);
    for (unsigned k = 0; k < 1000; k++) /* 900 in one slot, 100 anywhere */
        (void)talk(&t, k < 900 ? "SET {tag}:%u v" : "SET other:%u v", k);
    check_uniform(1000, tap_long() ? 100000 : 15000);
    teardown();
}

static void expired_keys_are_not_drawn(void)
{
    setup(NULL);
    for (unsigned k = 0; k < 300; k++)
        (void)talk(&t, "SET key:%u v", k);
    for (unsigned k = 300; k < 3000; k++)
        (void)talk(&t, "SET key:%u v PX 100000000", k);
    env_memory_advance(env, UINT64_C(100000001) * 1000000);
    check_uniform(300, tap_long() ? 50000 : 5000);
    teardown();
}

int main(void)
{
    tap_test(scan_under_churn_in_memory);
    tap_test(scan_under_churn_over_tables);
    tap_test(a_scan_of_nothing_ends_at_once);
    tap_test(draws_are_uniform);
    tap_test(crowded_slots_do_not_matter);
    tap_test(expired_keys_are_not_drawn);
    return tap_done();
}
