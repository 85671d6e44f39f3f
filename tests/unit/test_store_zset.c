/* Sorted sets in both shapes, through commands. What must hold:
 *   - any row of ZADD, ZINCRBY, ZREM, ZPOPMIN, ZPOPMAX, ZREMRANGEBYSCORE, ZREMRANGEBYRANK, COPY leaves what a plain sorted
 *     array would hold, and every way of looking at it says so: by member, by rank, by score, from both ends;
 *   - long members that agree in all that their name has are in the order of all their bytes;
 *   - a large set has its ranks counted by a tree, which stays right whatever happens to the set;
 *   - the same after everything was flushed to tables and the server started again;
 *   - bytes that are no elements are RES_CORRUPT, and those that are have one spelling. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "os/env_memory.h"
#include "store/zset_priv.h"
#include "tests/lib/talk.h"
#include "tests/lib/tap.h"

#define KEYS 3
#define MEMBERS 900

static struct talk t;
static uint64_t seed = 5;
static uint64_t draw(uint64_t below)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return below ? (seed >> 24) % below : 0;
}

/* ---- a model ---- */

struct one {
    int member;
    double score;
};
static struct one model[KEYS][MEMBERS]; /* in order */
static size_t count[KEYS];
static unsigned seen_inline, seen_pieces;

static struct slice key_name(int k)
{
    static const char *const names[KEYS] = {"small", "middle", "large"};
    return slice_str(names[k]);
}
static const int members_of[KEYS] = {11, 150, MEMBERS};

/* The empty one, short ones, and long ones that are alike up to their end. */
static struct slice member_name(int m)
{
    static char *names[MEMBERS];
    static size_t lens[MEMBERS];
    if (!names[m]) {
        size_t lengths[] = {430, 436, 448, 449, 700, 2000};
        char number[16];
        size_t n = (size_t)snprintf(number, sizeof number, "%d", m);
        lens[m] = m == 0 ? 0 : m % 12 ? n : lengths[m / 12 % 6];
        names[m] = malloc(lens[m] + 16);
        memset(names[m], 'p', lens[m] + 16);
        if (m)
            memcpy(names[m] + (m % 12 ? 0 : lens[m] - n), number, n);
    }
    return slice_of(names[m], lens[m]);
}

static int cmp_one(const void *a, const void *b)
{
    const struct one *x = a, *y = b;
    if (x->score != y->score)
        return x->score < y->score ? -1 : 1;
    return slice_cmp(member_name(x->member), member_name(y->member));
}

static int find(int k, int m)
{
    for (size_t i = 0; i < count[k]; i++)
        if (model[k][i].member == m)
            return (int)i;
    return -1;
}

static void put(int k, int m, double score)
{
    int at = find(k, m);
    if (at < 0)
        at = (int)count[k]++;
    model[k][at] = (struct one){m, score};
    qsort(model[k], count[k], sizeof model[k][0], cmp_one);
}

static void cut(int k, size_t at, size_t n)
{
    memmove(model[k] + at, model[k] + at + n, (count[k] - at - n) * sizeof model[k][0]);
    count[k] -= n;
}

/* ---- commands ---- */

static struct slice number(double v)
{
    static char text[8][40];
    static int at;
    at = (at + 1) % 8;
    return slice_of(text[at], (size_t)snprintf(text[at], sizeof text[at], "%.17g", v));
}

#define RUN(...) run((struct slice[]){__VA_ARGS__}, sizeof((struct slice[]){__VA_ARGS__}) / sizeof(struct slice))
static struct slice run(const struct slice *argv, size_t n) { return talk_run(&t, (int)n, argv); }
static int64_t integer(struct slice reply)
{
    return reply.data[0] == ':' ? strtoll((const char *)reply.data + 1, NULL, 10) : -999;
}
#define WORD(w) SLICE_LIT(w)

static double some_score(void) { return draw(6) ? (double)draw(20) / 2 - 4 : (double)draw(2000) - 1000; }

static void change(int k)
{
    struct slice key = key_name(k);
    int m = (int)draw((uint64_t)members_of[k]), at = find(k, m);
    double score = some_score();
    size_t n = draw(3);
    switch (draw(11)) {
    case 0:
        tap_check(integer(RUN(WORD("ZREM"), key, member_name(m))) == (at >= 0));
        if (at >= 0)
            cut(k, (size_t)at, 1);
        break;
    case 1:
        RUN(WORD("ZINCRBY"), key, number(0.5), member_name(m));
        put(k, m, at >= 0 ? model[k][at].score + 0.5 : 0.5);
        break;
    case 2:
        n = n < count[k] ? n : count[k];
        RUN(WORD("ZPOPMIN"), key, number((double)n));
        cut(k, 0, n);
        break;
    case 3:
        n = n < count[k] ? n : count[k];
        RUN(WORD("ZPOPMAX"), key, number((double)n));
        cut(k, count[k] - n, n);
        break;
    case 4: {
        size_t from = 0, to;
        if (draw(4))
            break;
        while (from < count[k] && model[k][from].score < score)
            from++;
        for (to = from; to < count[k] && model[k][to].score < score + 0.5;)
            to++;
        struct slice end = number(score + 0.5);
        char open[48];
        int len = snprintf(open, sizeof open, "(%.*s", (int)end.len, (const char *)end.data);
        tap_check(integer(RUN(WORD("ZREMRANGEBYSCORE"), key, number(score), slice_of(open, (size_t)len))) ==
                  (int64_t)(to - from));
        cut(k, from, to - from);
        break;
    }
    case 5:
        if (!count[k] || draw(4))
            break;
        at = (int)draw(count[k]);
        n = draw(5) + 1;
        if (n > count[k] - (size_t)at)
            n = count[k] - (size_t)at;
        tap_check(integer(RUN(WORD("ZREMRANGEBYRANK"), key, number(at), number(at + (double)n - 1))) == (int64_t)n);
        cut(k, (size_t)at, n);
        break;
    default:
        tap_check(integer(RUN(WORD("ZADD"), key, number(score), member_name(m))) == (at < 0));
        put(k, m, score);
    }
}

/* One way of looking, at random. */
static void look(int k)
{
    struct slice key = key_name(k), found[40];
    int m = (int)draw((uint64_t)members_of[k]), at = find(k, m);
    size_t from = draw(count[k] + 2), n = draw(10) + 1, have;
    switch (draw(6)) {
    case 0: {
        struct slice reply = talk_bulk(RUN(WORD("ZSCORE"), key, member_name(m)));
        tap_check(at < 0 ? !reply.data : slice_eq(reply, number(model[k][at].score)));
        break;
    }
    case 1:
        tap_check(integer(RUN(WORD("ZRANK"), key, member_name(m))) == (at < 0 ? -999 : at));
        break;
    case 2:
        tap_check(integer(RUN(WORD("ZREVRANK"), key, member_name(m))) == (at < 0 ? -999 : (int64_t)count[k] - 1 - at));
        break;
    case 3:
    case 4: {
        bool down = draw(2);
        have = from >= count[k] ? 0 : count[k] - from < n ? count[k] - from : n;
        struct slice reply =
            down ? RUN(WORD("ZRANGE"), key, number((double)from), number((double)(from + n - 1)), WORD("REV"))
                 : RUN(WORD("ZRANGE"), key, number((double)from), number((double)(from + n - 1)));
        tap_check(talk_array(reply, found, 40) == (int)have);
        for (size_t i = 0; i < have; i++) {
            size_t rank = down ? count[k] - 1 - from - i : from + i;
            tap_check(slice_eq(found[i], member_name(model[k][rank].member)));
        }
        break;
    }
    default: {
        double low = some_score(), high = low + (double)draw(5);
        size_t first = 0, end;
        while (first < count[k] && model[k][first].score < low)
            first++;
        for (end = first; end < count[k] && model[k][end].score <= high;)
            end++;
        tap_check(integer(RUN(WORD("ZCOUNT"), key, number(low), number(high))) == (int64_t)(end - first));
        have = end - first < n ? end - first : n;
        struct slice reply =
            RUN(WORD("ZRANGEBYSCORE"), key, number(low), number(high), WORD("LIMIT"), WORD("0"), number((double)n));
        tap_check(talk_array(reply, found, 40) == (int)have);
        for (size_t i = 0; i < have; i++)
            tap_check(slice_eq(found[i], member_name(model[k][first + i].member)));
    }
    }
}

static void look_at_all(void)
{
    static struct slice found[2 * MEMBERS];
    for (int k = 0; k < KEYS; k++) {
        tap_check(integer(RUN(WORD("ZCARD"), key_name(k))) == (int64_t)count[k]);
        struct slice reply = RUN(WORD("ZRANGE"), key_name(k), WORD("0"), WORD("-1"), WORD("WITHSCORES"));
        tap_check(talk_array(reply, found, 2 * MEMBERS) == (int)(2 * count[k]));
        for (size_t i = 0; i < count[k]; i++)
            tap_check(slice_eq(found[2 * i], member_name(model[k][i].member)) &&
                      slice_eq(found[2 * i + 1], number(model[k][i].score)));
    }
}

static enum result note_shape(struct call *c)
{
    for (int k = 0; k < KEYS; k++) {
        struct store_key key;
        struct object o;
        enum result r = store_key_init(c, 0, key_name(k), &key);
        if (r == RES_OK)
            r = store_read(c, &key, 0, &o);
        if (r != RES_OK)
            return r;
        if (o.exists)
            ++*(o.pieces ? &seen_pieces : &seen_inline);
    }
    return RES_OK;
}

static void any_row_leaves_what_a_sorted_array_holds(void)
{
    struct env *env = env_memory_new(3, ENV_MEMORY_PLAIN);
    struct talk_options o = {.env = env, .engine = &engine_lsm, .memtable_bytes = 1 << 20};
    talk_open(&t, &o);
    for (int i = 0; i < (tap_long() ? 100000 : 8000); i++) {
        int k = (int)draw(KEYS);
        for (uint64_t n = draw(4); n; n--)
            change(k);
        look(k);
        if (i % 1000 == 999) {
            look_at_all();
            talk_call(&t, note_shape, NULL, RES_OK);
        }
        if (i % 2000 == 1999) {
            tap_check(front_flush(shard_front(t.shard)) == RES_OK);
            talk_close(&t);
            talk_open(&t, &o);
            look_at_all();
        }
    }
    talk_close(&t);
    env_memory_free(env);
    tap_check(seen_inline > 0 && seen_pieces > 0);
}

/* ---- bytes ---- */

static void orders_are_those_of_scores(void)
{
    static const double rising[] = {-INFINITY, -1e308, -2, -1, -5e-324, 0, 5e-324, 0.5, 1, 1.5, 1e17, 1e308, INFINITY};
    bool holds = zset_order_of(-0.0) == zset_order_of(0.0);
    for (size_t i = 1; i < sizeof rising / sizeof rising[0]; i++)
        holds &= zset_order_of(rising[i - 1]) < zset_order_of(rising[i]);
    tap_check(holds);
}

static void hints_have_one_spelling(void)
{
    unsigned refused = 0;
    bool canonical = true;
    for (int i = 0; i < 200000; i++) {
        uint8_t bytes[ZSET_HINTS_MAX + 8], again[ZSET_HINTS_MAX];
        size_t n = draw(sizeof bytes + 1);
        for (size_t j = 0; j < n; j++)
            bytes[j] = (uint8_t)draw(draw(3) ? 12 : 256);
        if (n && draw(2))
            bytes[0] = draw(2) ? 0 : 8;
        struct zset_hints h;
        if (zset_hints_decode(slice_of(bytes, n), &h) != RES_OK)
            refused++;
        else
            canonical &= slice_eq(slice_of(again, zset_hints_encode(&h, again)), slice_of(bytes, n));
    }
    tap_check(canonical && refused > 1000 && refused < 200000);
}

static void a_large_set_is_popped_from_both_ends(void)
{
    struct env *env = env_memory_new(4, ENV_MEMORY_PLAIN);
    struct talk_options o = {.env = env};
    talk_open(&t, &o);
    for (int i = 0; i < 3000; i++)
        talk(&t, "ZADD q %d m%d", i % 100, i);
    for (int i = 0; i < 1500; i++) {
        struct slice low[2], high[2];
        char text[16];
        tap_check(talk_array(RUN(WORD("ZPOPMIN"), WORD("q")), low, 2) == 2);
        int len = snprintf(text, sizeof text, "%d", i / 30);
        tap_check(slice_eq(low[1], slice_of(text, (size_t)len)));
        tap_check(talk_array(RUN(WORD("ZPOPMAX"), WORD("q")), high, 2) == 2);
        len = snprintf(text, sizeof text, "%d", 99 - i / 30);
        tap_check(slice_eq(high[1], slice_of(text, (size_t)len)));
    }
    tap_check(strcmp(talk(&t, "EXISTS q"), ":0\r\n") == 0);
    talk(&t, "ZADD q 5 a 6 b");
    tap_check(talk_int(&t, "ZADD q -1 c 100 d") == 2 && talk_int(&t, "ZRANK q c") == 0 &&
              talk_int(&t, "ZRANK q d") == 3);
    talk_close(&t);
    env_memory_free(env);
}

/* Pops take from a list of what lies at an end. Here everything that can make a list wrong comes between. */
#define QUEUE 2000
static double queue_score[2 * QUEUE];
static bool queued[2 * QUEUE];
static int queue_length;

static int queue_end(bool down)
{
    int best = -1;
    for (int i = 0; i < 2 * QUEUE; i++) { /* names have one length: they are ordered like numbers */
        if (!queued[i])
            continue;
        if (best < 0 || (down ? queue_score[i] >= queue_score[best] : queue_score[i] < queue_score[best]))
            best = i;
    }
    return best;
}

static void enqueue(int m, double score)
{
    queue_length += !queued[m];
    queued[m] = true;
    queue_score[m] = score;
}

static void check_popped(const char *reply, bool down)
{
    int want = queue_end(down);
    const char *name = strchr(reply, 'm');
    tap_require(want >= 0 && name && atoi(name + 1) == want);
    tap_require(atof(strchr(strchr(name, '$') + 1, '\n') + 1) == queue_score[want]);
    queued[want] = false;
    queue_length--;
}

static void disturb_queue(const char *key)
{
    int m = (int)draw(2 * QUEUE), first = queue_end(draw(2));
    double score = (double)draw(400);
    switch (draw(9)) {
    case 0: /* anywhere */
        (void)talk(&t, "ZADD %s %.0f m%04d", key, score, m);
        enqueue(m, score);
        break;
    case 1: /* behind all, as queues do */
    case 2:
        (void)talk(&t, "ZADD %s 500 m%04d", key, m);
        enqueue(m, 500);
        break;
    case 3: /* before all */
        (void)talk(&t, "ZADD %s -5 m%04d", key, m);
        enqueue(m, -5);
        break;
    case 4:
        (void)talk(&t, "ZREM %s m%04d", key, first);
        queue_length -= first >= 0 && queued[first];
        if (first >= 0)
            queued[first] = false;
        break;
    case 5: /* an end goes to the middle */
        if (first >= 0) {
            (void)talk(&t, "ZADD %s 200 m%04d", key, first);
            enqueue(first, 200);
        }
        break;
    case 6:
        (void)talk(&t, "MULTI");
        (void)talk(&t, "ZADD %s -7 m%04d", key, m);
        (void)talk(&t, "ZPOPMIN %s", key);
        (void)talk(&t, "ZPOPMIN %s", key);
        enqueue(m, -7);
        const char *reply = talk(&t, "EXEC");
        reply = strchr(reply, 'm');
        check_popped(reply, false);
        if (queue_length)
            check_popped(strchr(reply + 1, 'm'), false);
        break;
    case 7: /* one that is built for the ranks of a neighbour, which may have the same place in memory */
        (void)talk(&t, "ZADD other %d m%04d", (int)score, m);
        (void)talk(&t, "ZPOPMIN other");
        break;
    default:
        (void)talk(&t, "RENAME %s aside", key);
        (void)talk(&t, "ZPOPMIN %s", key);
        (void)talk(&t, "RENAME aside %s", key);
        break;
    }
}

static void pops_in_a_row_see_every_change(void)
{
    struct env *env = env_memory_new(9, ENV_MEMORY_PLAIN);
    struct talk_options o = {.env = env};
    talk_open(&t, &o);
    for (int i = 0; i < 300; i++)
        (void)talk(&t, "ZADD other %d m%04d", i, i);
    for (int round = 0; round < (tap_long() ? 40 : 4); round++) {
        bool down = round % 2;
        for (int i = 0; i < QUEUE; i++) {
            enqueue(i, (double)draw(300));
            (void)talk(&t, "ZADD q %.0f m%04d", queue_score[i], i);
        }
        for (unsigned step = 0; queue_length > 0; step++) {
            if (draw(60) == 0)
                down = !down;
            unsigned n = draw(20) ? 1 : 1 + (unsigned)draw(16);
            const char *reply = n > 1 ? talk(&t, "%s q %u", down ? "ZPOPMAX" : "ZPOPMIN", n)
                                      : talk(&t, "%s q", down ? "ZPOPMAX" : "ZPOPMIN");
            static char kept[4096];
            snprintf(kept, sizeof kept, "%s", reply);
            const char *at = kept;
            for (unsigned i = 0; i < n && queue_length > 0; i++, at++) {
                at = strchr(at, 'm');
                tap_require(at);
                check_popped(at, down);
            }
            if (queue_length > 0 && draw(round < 2 ? 30 : 150) == 0)
                disturb_queue("q");
            tap_require(step < 100000);
        }
        tap_check(strcmp(talk(&t, "EXISTS q"), ":0\r\n") == 0);
    }
    talk_close(&t);
    env_memory_free(env);
}

/* ---- ranks of a large set ---- */

#define MANY 20000
static double score_of_many[MANY]; /* NAN: not there */

static struct slice name_of_many(int i)
{
    static char text[4][16];
    static int at;
    at = (at + 1) % 4;
    return slice_of(text[at], (size_t)snprintf(text[at], sizeof text[at], "m%05d", i));
}

static int64_t rank_of_many(int m)
{
    int64_t n = 0;
    for (int i = 0; i < MANY; i++)
        n += score_of_many[i] < score_of_many[m] || (score_of_many[i] == score_of_many[m] && i < m);
    return n;
}

/* The set is read like any other, by a command that is none; o and key outlive z. */
static enum result open_many(struct call *c, struct store_key *key, struct object *o, struct zset *z)
{
    enum result r = store_key_init(c, 0, SLICE_LIT("many"), key);
    if (r == RES_OK)
        r = store_read(c, key, 0, o);
    return r == RES_OK ? zset_open(z, c, o, (struct zset_limits){128, 64}) : r;
}

static struct counted tree_seen;
static enum result look_at_tree(struct call *c)
{
    struct store_key key;
    struct object o;
    struct zset z;
    enum result r = open_many(c, &key, &o, &z);
    if (r == RES_OK)
        tree_seen = z.hints.tree;
    return r;
}

/* A tree with a level that is not there: whatever fails leaves a cursor that can be closed. */
static enum result look_for_a_rank_in_a_broken_tree(struct call *c)
{
    struct store_key key;
    struct object o;
    struct zset z;
    struct zset_cursor k;
    memset(&k, 0xff, sizeof k);
    enum result r = open_many(c, &key, &o, &z);
    if (r != RES_OK)
        return r;
    z.hints.tree.levels++;
    r = zset_seek_rank(&z, &k, 1000, false);
    zset_cursor_close(&k);
    return r;
}

static void look_at_many(void)
{
    int64_t all = integer(RUN(WORD("ZCARD"), WORD("many")));
    for (int i = 0; i < 60; i++) {
        int m = (int)draw(MANY);
        struct slice found[1];
        bool down = draw(2);
        if (isnan(score_of_many[m]))
            continue;
        int64_t rank = rank_of_many(m), shown = down ? all - 1 - rank : rank;
        tap_eq_u64((uint64_t)integer(RUN(WORD("ZRANK"), WORD("many"), name_of_many(m))), (uint64_t)rank);
        struct slice at = number((double)shown), reply = down ? RUN(WORD("ZREVRANGE"), WORD("many"), at, at)
                                                              : RUN(WORD("ZRANGE"), WORD("many"), at, at);
        tap_check(talk_array(reply, found, 1) == 1 && slice_eq(found[0], name_of_many(m)));
        struct slice score = number(score_of_many[m]);
        int64_t same = 0, below = 0;
        for (int j = 0; j < MANY; j++) {
            same += score_of_many[j] == score_of_many[m];
            below += score_of_many[j] <= score_of_many[m];
        }
        tap_eq_u64((uint64_t)integer(RUN(WORD("ZCOUNT"), WORD("many"), score, score)), (uint64_t)same);
        tap_eq_u64((uint64_t)integer(RUN(WORD("ZCOUNT"), WORD("many"), WORD("-inf"), score)), (uint64_t)below);
    }
}

static void ranks_of_a_large_set_are_counted_by_a_tree(void)
{
    struct env *env = env_memory_new(5, ENV_MEMORY_PLAIN);
    struct talk_options o = {.env = env, .engine = &engine_lsm, .memtable_bytes = 4 << 20};
    talk_open(&t, &o);
    for (int i = 0; i < MANY; i++) {
        score_of_many[i] = (double)draw(200);
        RUN(WORD("ZADD"), WORD("many"), number(score_of_many[i]), name_of_many(i));
    }
    look_at_many();
    talk_call(&t, look_at_tree, NULL, RES_OK);
    tap_check(tree_seen.whole && tree_seen.levels == 1 && tree_seen.top > 30);
    talk_call(&t, look_for_a_rank_in_a_broken_tree, NULL, RES_CORRUPT);
    for (int i = 0; i < 20000; i++) {
        int m = (int)draw(MANY);
        bool remove = draw(i < 10000 ? 2 : 8);
        score_of_many[m] = remove ? NAN : (double)draw(300);
        if (remove)
            RUN(WORD("ZREM"), WORD("many"), name_of_many(m));
        else
            RUN(WORD("ZADD"), WORD("many"), number(score_of_many[m]), name_of_many(m));
        if (i % 4000 == 3999)
            look_at_many();
    }
    struct slice gone = number(50);
    RUN(WORD("ZREMRANGEBYSCORE"), WORD("many"), WORD("-inf"), gone);
    for (int i = 0; i < MANY; i++)
        score_of_many[i] = score_of_many[i] <= 50 ? NAN : score_of_many[i];
    look_at_many();
    RUN(WORD("COPY"), WORD("many"), WORD("copy"));
    RUN(WORD("RENAME"), WORD("copy"), WORD("many"));
    talk_close(&t);
    talk_open(&t, &o);
    look_at_many();
    talk_call(&t, look_at_tree, NULL, RES_OK);
    tap_check(tree_seen.whole);
    talk_close(&t);
    env_memory_free(env);
}

int main(void)
{
    tap_test(orders_are_those_of_scores);
    tap_test(hints_have_one_spelling);
    tap_test(a_large_set_is_popped_from_both_ends);
    tap_test(pops_in_a_row_see_every_change);
    tap_test(ranks_of_a_large_set_are_counted_by_a_tree);
    tap_test(any_row_leaves_what_a_sorted_array_holds);
    return tap_done();
}
