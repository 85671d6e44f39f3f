/* The element map. What must hold:
 *   - any row of HSET, HDEL, COPY, RENAME, DEL leaves the fields a plain table would hold, in both shapes and across the
 *     border between them, and count and bytes of the metadata are those of the pieces;
 *   - inline elements keep the order they were put in, and come to pieces in that order, the change that was too much included;
 *   - an object that was removed or replaced leaves no piece that is not named dead;
 *   - random members are uniform, and different where they should be;
 *   - bytes that are no elements are RES_CORRUPT. */
#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "os/env_memory.h"
#include "store/hash.h"
#include "store/store_priv.h"
#include "tests/lib/talk.h"
#include "tests/lib/tap.h"

#define KEYS 4
#define FIELDS 600
#define LONGEST 2500

static struct talk t;
static uint64_t seed = 11;
static uint64_t draw(uint64_t below)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return below ? (seed >> 24) % below : 0;
}

#define WORD(w) SLICE_LIT(w)

/* ---- a model of hashes ---- */

struct field {
    bool there;
    uint64_t stamp; /* when it came */
    size_t len;
    uint8_t *value;
};
static struct field model[KEYS][FIELDS];
static uint64_t stamps;
static unsigned seen_inline, seen_pieces;

static struct slice key_name(int k)
{
    static char names[KEYS][16];
    return slice_of(names[k], (size_t)snprintf(names[k], sizeof names[k], "key:%d", k));
}

/* The empty one, short ones, and some around and beyond what an engine key holds, alike up to their end. */
static struct slice field_name(int f)
{
    static char *names[FIELDS];
    static size_t lens[FIELDS];
    if (!names[f]) {
        size_t lengths[] = {447, 448, 449, 450, 900, 2000};
        char number[16];
        int n = snprintf(number, sizeof number, "f%d", f);
        lens[f] = f == 0 ? 0 : f % 25 ? (size_t)n : lengths[f / 25 % 6];
        names[f] = malloc(lens[f] + 16);
        memset(names[f], 'x', lens[f] + 16);
        if (lens[f])
            memcpy(names[f] + lens[f] - (size_t)n, number, (size_t)n);
    }
    return slice_of(names[f], lens[f]);
}

static int field_number(struct slice name)
{
    for (int f = 0; f < FIELDS; f++)
        if (slice_eq(name, field_name(f)))
            return f;
    return -1;
}

static struct slice number(uint64_t n)
{
    static char text[8][24];
    static int at;
    at = (at + 1) % 8;
    return slice_of(text[at], (size_t)snprintf(text[at], sizeof text[at], "%llu", (unsigned long long)n));
}

static uint64_t model_count(int k)
{
    uint64_t n = 0;
    for (int f = 0; f < FIELDS; f++)
        n += model[k][f].there;
    return n;
}

static uint64_t model_bytes(int k)
{
    uint64_t n = 0;
    for (int f = 0; f < FIELDS; f++)
        n += model[k][f].there ? field_name(f).len + model[k][f].len : 0;
    return n;
}

static void model_set(int k, int f, struct slice value)
{
    struct field *m = &model[k][f];
    if (!m->there)
        m->stamp = ++stamps;
    m->there = true;
    m->len = value.len;
    memcpy(m->value, value.data, value.len);
}

static void check_int(struct slice reply, uint64_t want, const char *what)
{
    char expected[32];
    int n = snprintf(expected, sizeof expected, ":%llu\r\n", (unsigned long long)want);
    if (!tap_check(slice_eq(reply, slice_of(expected, (size_t)n))))
        tap_diag("%s: got %.*s, not %s", what, (int)(reply.len < 60 ? reply.len : 60), (const char *)reply.data,
                 expected);
}

static struct slice run2(struct slice a, struct slice b)
{
    struct slice argv[2] = {a, b};
    return talk_run(&t, 2, argv);
}

/* ---- looking below: the shape of a key, its metadata against its pieces, pieces that nothing names ---- */

struct below {
    int key;
    struct object o;
    uint64_t pieces, bytes;
    unsigned orphans;
};

static enum result look_below(struct call *c)
{
    struct below *b = call_background_arg(c);
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
        if (k == b->key)
            b->o = o;
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
        b->orphans += named == (g == RES_OK);
        if (id == live[b->key]) {
            struct element x;
            if ((r = piece_read(it->value, &x)) != RES_OK)
                break;
            b->pieces++;
            b->bytes += x.value.len + (x.key.len ? x.key.len : piece_element(it).len - 5);
        }
    }
    iter_close(it);
    return r == RES_NOT_FOUND ? RES_OK : r;
}

static void check_whole(int k)
{
    static struct slice items[2 * FIELDS + 2];
    uint64_t count = model_count(k), last = 0;
    struct below b = {.key = k};
    talk_call(&t, look_below, &b, RES_OK);
    tap_eq_u64(b.orphans, 0);
    tap_eq_u64(b.o.exists, count > 0);
    tap_eq_u64(b.o.count, count);
    seen_inline += b.o.exists && !b.o.pieces;
    seen_pieces += b.o.pieces;
    if (b.o.pieces) {
        tap_eq_u64(b.pieces, count);
        tap_eq_u64(b.o.length, b.bytes);
        tap_eq_u64(b.o.length, model_bytes(k));
    }
    check_int(run2(WORD("HLEN"), key_name(k)), count, "HLEN");
    int n = talk_array(run2(WORD("HGETALL"), key_name(k)), items, 2 * FIELDS + 2);
    tap_eq_u64((uint64_t)n, 2 * count);
    for (int i = 0; i + 1 < n; i += 2) {
        int f = field_number(items[i]);
        if (!tap_check(f >= 0 && model[k][f].there))
            continue;
        tap_check(slice_eq(items[i + 1], slice_of(model[k][f].value, model[k][f].len)));
        if (!b.o.pieces)
            tap_check(model[k][f].stamp > last);
        last = model[k][f].stamp;
    }
}

/* ---- random changes ---- */

static void set_some(int k)
{
    static uint8_t bytes[8][LONGEST];
    struct slice argv[2 + 16] = {WORD("HSET"), key_name(k)};
    int n = 1 + (int)draw(draw(4) ? 3 : 8), range = draw(3) ? FIELDS : 40;
    uint64_t created = 0;
    for (int i = 0; i < n; i++) {
        int f = (int)draw((uint64_t)range);
        size_t len = draw(30) ? draw(12) : draw(LONGEST);
        for (size_t j = 0; j < len; j++)
            bytes[i][j] = (uint8_t)draw(256);
        argv[2 + 2 * i] = field_name(f);
        argv[3 + 2 * i] = slice_of(bytes[i], len);
        created += !model[k][f].there;
        model_set(k, f, argv[3 + 2 * i]);
    }
    check_int(talk_run(&t, 2 + 2 * n, argv), created, "HSET");
}

static void remove_some(int k)
{
    struct slice argv[2 + 64] = {WORD("HDEL"), key_name(k)};
    int n = 1 + (int)draw(draw(8) ? 4 : 64);
    uint64_t removed = 0;
    for (int i = 0; i < n; i++) {
        int f = (int)draw(FIELDS);
        argv[2 + i] = field_name(f);
        removed += model[k][f].there;
        model[k][f].there = false;
    }
    check_int(talk_run(&t, 2 + n, argv), removed, "HDEL");
}

static void read_one(int k)
{
    int f = (int)draw(FIELDS);
    struct slice argv[3] = {WORD("HGET"), key_name(k), field_name(f)};
    struct slice got = talk_bulk(talk_run(&t, 3, argv));
    tap_check((got.data != NULL) == model[k][f].there);
    if (got.data && model[k][f].there)
        tap_check(slice_eq(got, slice_of(model[k][f].value, model[k][f].len)));
}

static void copy_or_rename(int k)
{
    int to = (int)draw(KEYS);
    if (to == k)
        return;
    bool rename = draw(2);
    struct slice argv[4] = {rename ? WORD("RENAME") : WORD("COPY"), key_name(k), key_name(to), WORD("REPLACE")};
    struct slice reply = talk_run(&t, rename ? 3 : 4, argv);
    if (!model_count(k)) {
        tap_check(reply.data[0] == (rename ? '-' : ':'));
        return;
    }
    for (int f = 0; f < FIELDS; f++) {
        struct field *a = &model[k][f], *b = &model[to][f];
        b->there = a->there;
        b->stamp = a->stamp;
        b->len = a->len;
        memcpy(b->value, a->value, a->len);
        if (rename)
            a->there = false;
    }
}

/* A scan to its end finds what is there exactly once: nothing changes meanwhile. */
static void scan_all(int k)
{
    static bool seen[FIELDS];
    static struct slice items[2 * FIELDS + 2];
    uint64_t found = 0;
    char cursor[32] = "0";
    memset(seen, 0, sizeof seen);
    do {
        struct slice argv[5] = {WORD("HSCAN"), key_name(k), slice_str(cursor), WORD("COUNT"), number(1 + draw(50))};
        struct slice reply = talk_run(&t, 5, argv);
        tap_require(reply.len > 4 && memcmp(reply.data, "*2\r\n", 4) == 0);
        struct slice next = talk_bulk(slice_of(reply.data + 4, reply.len - 4));
        tap_require(next.data && next.len < sizeof cursor);
        const uint8_t *rest = next.data + next.len + 2;
        memcpy(cursor, next.data, next.len);
        cursor[next.len] = 0;
        int n = talk_array(slice_of(rest, (size_t)(reply.data + reply.len - rest)), items, 2 * FIELDS + 2);
        for (int i = 0; i + 1 < n; i += 2) {
            int f = field_number(items[i]);
            tap_check(f >= 0 && model[k][f].there && !seen[f]);
            if (f >= 0)
                seen[f] = true;
            found++;
        }
    } while (strcmp(cursor, "0") != 0);
    tap_eq_u64(found, model_count(k));
}

static void draw_some(int k)
{
    static struct slice items[FIELDS + 1];
    uint64_t want = draw(2) ? draw(10) : draw(FIELDS), have = model_count(k);
    struct slice argv[3] = {WORD("HRANDFIELD"), key_name(k), number(want)};
    int n = talk_array(talk_run(&t, 3, argv), items, FIELDS + 1);
    tap_eq_u64((uint64_t)n, want < have ? want : have);
    for (int i = 0; i < n; i++) {
        int f = field_number(items[i]);
        tap_check(f >= 0 && model[k][f].there);
        for (int j = 0; j < i; j++)
            tap_check(!slice_eq(items[i], items[j]));
    }
}

static void one_step(void)
{
    int k = (int)draw(KEYS);
    switch (draw(14)) {
    case 0:
        copy_or_rename(k);
        break;
    case 1:
        if (draw(4) == 0) {
            check_int(run2(draw(2) ? WORD("DEL") : WORD("UNLINK"), key_name(k)), model_count(k) > 0, "DEL");
            for (int f = 0; f < FIELDS; f++)
                model[k][f].there = false;
        }
        break;
    case 2:
        scan_all(k);
        break;
    case 3:
        draw_some(k);
        break;
    case 4:
    case 5:
        remove_some(k);
        break;
    case 6:
    case 7:
        read_one(k);
        break;
    case 8:
        check_whole(k);
        break;
    default:
        set_some(k);
    }
}

static void random_changes(const struct talk_options *o, int rounds, int steps)
{
    for (int k = 0; k < KEYS; k++)
        for (int f = 0; f < FIELDS; f++)
            model[k][f] = (struct field){.value = malloc(LONGEST)};
    talk_open(&t, o);
    for (int round = 0; round < rounds; round++) {
        for (int i = 0; i < steps; i++)
            one_step();
        for (int k = 0; k < KEYS; k++)
            check_whole(k);
        if (o->engine && o->engine->persistent) {
            if (round % 2)
                tap_check(front_flush(shard_front(t.shard)) == RES_OK);
            talk_close(&t);
            talk_open(&t, o);
            for (int k = 0; k < KEYS; k++)
                check_whole(k);
        }
    }
    talk_close(&t);
    tap_check(seen_inline > 10 && seen_pieces > 10);
    for (int k = 0; k < KEYS; k++)
        for (int f = 0; f < FIELDS; f++)
            free(model[k][f].value);
}

static void hashes_hold_what_a_table_would(void)
{
    struct env *env = env_memory_new(1, ENV_MEMORY_PLAIN);
    struct talk_options o = {.env = env};
    random_changes(&o, tap_long() ? 40 : 3, 700);
    env_memory_free(env);
}

static void they_do_over_tables_and_restarts(void)
{
    struct env *env = env_memory_new(2, ENV_MEMORY_PLAIN);
    struct talk_options o = {.env = env, .engine = &engine_lsm, .memtable_bytes = 1 << 20};
    random_changes(&o, tap_long() ? 30 : 4, 300);
    env_memory_free(env);
}

/* ---- the inline list by itself ---- */

#define ITEMS 140
static uint64_t line[ITEMS]; /* what the list should hold */
static uint64_t line_count;
static bool line_spilled;

static struct element item(uint64_t n)
{
    static uint8_t bytes[400];
    put_le64(bytes, n);
    return (struct element){.value = slice_of(bytes, 8 + n % 7 + (n % 97 ? 0 : 300)), .expire_ms = n % 5 ? 0 : n + 1};
}
static bool is_item(const struct element *x, uint64_t n)
{
    struct element want = item(n);
    return slice_eq(x->value, want.value) && x->expire_ms == want.expire_ms && !x->key.len;
}

static enum result note_spilled(struct elements *e, const struct element *in, uint64_t index, uint64_t count)
{
    line_spilled = true;
    tap_check(e->pieces && index < line_count && count == line_count && is_item(in, line[index]));
    return RES_OK;
}
static const struct elements_kind kind_of_line = {.type = TYPE_LIST, .has_values = true, .spill = note_spilled};

static enum result change_line(struct elements *e, uint64_t what, uint64_t index)
{
    static uint64_t next;
    struct inline_place p;
    enum result r = inline_at(e, index, &p, NULL);
    if (r != RES_OK && r != RES_NOT_FOUND)
        return r;
    tap_check((r == RES_NOT_FOUND) == (index >= line_count));
    uint64_t *at = line + index;
    struct element new = item(++next);
    if (what < 5) {
        memmove(at + 1, at, (line_count++ - index) * sizeof *at);
        *at = next;
        return inline_insert(e, &p, &new);
    }
    if (r == RES_NOT_FOUND)
        return RES_OK;
    if (what < 7) {
        *at = next;
        return inline_replace(e, &p, &new);
    }
    memmove(at, at + 1, (--line_count - index) * sizeof *at);
    return inline_remove(e, &p);
}

static enum result play_with_line(struct call *c)
{
    struct store_key key;
    struct object o;
    struct elements e;
    enum result r = store_key_init(c, 0, SLICE_LIT("line"), &key);
    if (r == RES_OK)
        r = store_write(c, &key, &o);
    if (r == RES_OK)
        r = elements_open(&e, c, &o, &kind_of_line);
    line_count = 0;
    line_spilled = false;
    while (r == RES_OK && !e.pieces) {
        r = change_line(&e, draw(8), draw(line_count + 1));
        if (r != RES_OK || e.pieces)
            break;
        struct inline_place p;
        struct element x;
        uint64_t n = 0;
        for (r = inline_first(&e, &p, &x); r == RES_OK; r = inline_next(&e, &p, &x)) {
            tap_check(p.index == n && n < line_count && is_item(&x, line[n]));
            n++;
        }
        tap_check(r == RES_NOT_FOUND && n == line_count && e.count == n && e.list.len <= ELEMENTS_INLINE_BYTES);
        r = RES_OK;
    }
    tap_check(line_spilled && e.count == line_count);
    return r;
}

static void a_list_keeps_its_order_and_spills_in_it(void)
{
    struct env *env = env_memory_new(3, ENV_MEMORY_PLAIN);
    struct talk_options o = {.env = env};
    talk_open(&t, &o);
    for (int i = 0; i < 60; i++)
        talk_call(&t, play_with_line, NULL, RES_OK);
    talk_close(&t);
    env_memory_free(env);
}

/* ---- chance ---- */

struct lottery {
    uint64_t draws, each; /* each: members a draw takes; 0: member_random */
    bool repeated;
    uint64_t *hits, members;
};

static enum result note_hit(struct elements *e, void *arg, const struct element *x)
{
    struct lottery *l = arg;
    (void)e;
    unsigned long n = strtoul((const char *)x->key.data + 1, NULL, 10);
    tap_require(n < l->members);
    l->hits[n]++;
    return RES_OK;
}

static enum result play_lottery(struct call *c)
{
    struct lottery *l = call_background_arg(c);
    struct store_key key;
    struct object o;
    struct elements e;
    enum result r = store_key_init(c, 0, SLICE_LIT("lottery"), &key);
    if (r == RES_OK)
        r = store_read(c, &key, 0, &o);
    if (r == RES_OK)
        r = elements_open(&e, c, &o, &elements_of_hash);
    for (uint64_t i = 0; r == RES_OK && i < l->draws; i++) {
        struct element x;
        if (l->repeated)
            r = member_random_repeated(&e, NULL, l->each, note_hit, l);
        else if (l->each)
            r = member_random_distinct(&e, NULL, l->each, note_hit, l);
        else if ((r = member_random(&e, NULL, &x)) == RES_OK)
            r = note_hit(&e, l, &x);
    }
    return r;
}

/* Members drawn evenly: chi-square within six standard deviations of its mean. */
static void lottery(uint64_t members, uint64_t each, bool repeated)
{
    struct lottery l = {.each = each, .repeated = repeated, .members = members, .hits = calloc(members, 8)};
    uint64_t total = members * 40;
    l.draws = each ? total / each : total;
    total = l.draws * (each ? each : 1);
    (void)talk(&t, "DEL lottery");
    for (uint64_t i = 0; i < members; i++) /* a letter ends the number, whatever lies behind the field */
        (void)talk(&t, "HSET lottery m%llux v", (unsigned long long)i);
    talk_call(&t, play_lottery, &l, RES_OK);
    double expected = (double)total / (double)members, chi = 0, mean = (double)members - 1;
    uint64_t seen = 0;
    for (uint64_t i = 0; i < members; i++) {
        chi += ((double)l.hits[i] - expected) * ((double)l.hits[i] - expected) / expected;
        seen += l.hits[i];
    }
    tap_eq_u64(seen, total);
    /* chi has variance 2 (members - 1); drawing distinct ones only makes it smaller */
    if (!tap_check((chi - mean) * (chi - mean) <= 36 * 2 * mean || chi < mean))
        tap_diag("%llu members, %llu at a time: chi-square %.0f", (unsigned long long)members, (unsigned long long)each,
                 chi);
    free(l.hits);
}

static void random_members_are_uniform(void)
{
    struct env *env = env_memory_new(4, ENV_MEMORY_PLAIN);
    struct talk_options o = {.env = env};
    talk_open(&t, &o);
    uint64_t sizes[] = {1, 7, 60, 130, 900};
    for (unsigned i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        lottery(sizes[i], 0, false);
        if (sizes[i] > 10) {
            lottery(sizes[i], sizes[i] / 8, false);
            lottery(sizes[i], sizes[i] / 2, false);
            lottery(sizes[i], 10, true);
            lottery(sizes[i], sizes[i], true);
        }
    }
    talk_close(&t);
    env_memory_free(env);
}

/* What SPOP took, of a set of "m<number>x". */
static uint64_t popped(struct talk *from)
{
    const char *reply = talk(from, "SPOP urn"), *name = strchr(reply, 'm');
    return name ? strtoul(name + 1, NULL, 10) : UINT64_MAX;
}

/* One pop after the other, which are drawn ahead, against single ones: all equally likely. */
static void pops_in_rows_of(unsigned row)
{
    enum { MEMBERS = 900, EACH = 40 };
    uint64_t hits[MEMBERS] = {0}, took[MEMBERS], total = 0;
    struct env *env = env_memory_new(6, ENV_MEMORY_PLAIN);
    struct talk_options o = {.env = env};
    talk_open(&t, &o);
    for (unsigned i = 0; i < MEMBERS; i++)
        (void)talk(&t, "SADD urn m%ux", i);
    while (total < MEMBERS * EACH) {
        for (unsigned i = 0; i < row; i++) {
            took[i] = popped(&t);
            tap_require(took[i] < MEMBERS);
            hits[took[i]] += i > 0; /* the first is drawn alone: somebody else has changed the set */
        }
        total += row - 1;
        for (unsigned i = 0; i < row; i++)
            (void)talk(&t, "SADD urn m%llux", (unsigned long long)took[i]);
    }
    double chi = 0, mean = MEMBERS - 1, expected = (double)total / MEMBERS;
    for (unsigned i = 0; i < MEMBERS; i++)
        chi += ((double)hits[i] - expected) * ((double)hits[i] - expected) / expected;
    /* no member comes twice in a row: that only makes it smaller */
    if (!tap_check((chi - mean) * (chi - mean) <= 36 * 2 * mean || chi < mean))
        tap_diag("rows of %u: chi-square %.0f", row, chi);
    talk_close(&t);
    env_memory_free(env);
}

static void pops_in_a_row_are_uniform(void)
{
    pops_in_rows_of(3);
    pops_in_rows_of(250); /* several lists */
}

/* Many more than one list has, most of them in tables, some in memory, and some removed before. */
static void pops_empty_a_set_in_tables(void)
{
    enum { MEMBERS = 30000 };
    static bool gone[MEMBERS];
    struct env *env = env_memory_new(8, ENV_MEMORY_PLAIN);
    struct talk_options o = {.env = env, .engine = &engine_lsm, .memtable_bytes = 1 << 20};
    talk_open(&t, &o);
    for (unsigned i = 0; i < MEMBERS; i += 4)
        (void)talk(&t, "SADD urn m%ux m%ux m%ux m%ux", i, i + 1, i + 2, i + 3);
    for (unsigned i = 0; i < MEMBERS; i += 3) {
        (void)talk(&t, "SREM urn m%ux", i);
        gone[i] = true;
    }
    unsigned left = MEMBERS - (MEMBERS + 2) / 3, added = 0;
    for (uint64_t took; (took = popped(&t)) < MEMBERS; left--) {
        tap_require(!gone[took]);
        gone[took] = true;
        if (left == MEMBERS / 2 && !added++) { /* what was drawn ahead is void, and what was known of the cells */
            (void)talk(&t, "SADD urn m0x");
            gone[0] = false;
            left++;
        }
        if (left % 1000 == 999) { /* these do not take from a list, and the next one notices it */
            (void)talk(&t, "MULTI");
            (void)talk(&t, "SPOP urn");
            const char *reply = talk(&t, "EXEC"), *name = strchr(reply, 'm');
            tap_require(name && !gone[strtoul(name + 1, NULL, 10)]);
            gone[strtoul(name + 1, NULL, 10)] = true;
            left--;
        }
    }
    tap_eq_u64(left, 0);
    tap_check(strcmp(talk(&t, "EXISTS urn"), ":0\r\n") == 0);
    talk_close(&t);
    env_memory_free(env);
}

/* What was drawn ahead and has gone meanwhile is not given; what has come is found in the end. */
static void pops_empty_a_set_that_changes(void)
{
    enum { MEMBERS = 3000 };
    static int state[MEMBERS]; /* 0: in the set; 1: popped; 2: removed */
    struct env *env = env_memory_new(7, ENV_MEMORY_PLAIN);
    struct talk_options o = {.env = env};
    talk_open(&t, &o);
    for (unsigned i = 0; i < MEMBERS; i++)
        (void)talk(&t, "SADD urn m%ux", i);
    unsigned left = MEMBERS;
    while (left) {
        uint64_t took = popped(&t);
        tap_require(took < MEMBERS && state[took] == 0);
        state[took] = 1;
        left--;
        unsigned other = draw(MEMBERS), another = draw(MEMBERS);
        if (draw(7) == 0 && state[other] == 0 && state[another]) { /* the count stays */
            (void)talk(&t, "SREM urn m%ux", other);
            (void)talk(&t, "SADD urn m%ux", another);
            state[other] = 2;
            state[another] = left > MEMBERS / 2 ? 0 : 2;
            if (state[another])
                (void)talk(&t, "SREM urn m%ux", another);
            left -= state[another] ? 1 : 0;
        }
    }
    tap_eq_u64(popped(&t), UINT64_MAX);
    tap_check(strcmp(talk(&t, "EXISTS urn"), ":0\r\n") == 0);
    talk_close(&t);
    env_memory_free(env);
}

/* ---- damage ---- */

static enum result plant(struct call *c)
{
    const struct slice *record = call_background_arg(c);
    struct store_key key;
    enum result r = store_key_init(c, 0, SLICE_LIT("bad"), &key);
    return r == RES_OK ? call_put(c, &key.meta, *record) : r;
}

static void damaged_elements_are_told(void)
{
    struct {
        const char *bytes;
        size_t len;
        const char *why;
        bool good;
    } cases[] = {
        /* format, hash listpack, flags; count; kind, length, key, length, value */
        {"\x01\x43\x00\x01\x01\x01k\x01v", 9, "as it should be", true},
        {"\x01\x43\x00\x02\x01\x01k\x01v", 9, "fewer elements than counted", false},
        {"\x01\x43\x00\x01\x01\x01k\x01vx", 10, "a byte too many", false},
        {"\x01\x43\x00\x01\x02\x01k\x01v", 9, "another kind", false},
        {"\x01\x43\x00\x01\x03\x01k\x01v", 9, "a long key inline", false},
        {"\x01\x43\x00\x01\x01\x01k\x02v", 9, "a value that ends too late", false},
        {"\x01\x43\x00\x01\x01\x81\x00k\x01v", 10, "a length with two spellings", false},
        {"\x01\x43\x00\x01\x05\x00\x00\x00\x00\x00\x00\x00\x00\x01k\x01v", 17, "an expiry of 0", false},
        {"\x01\x43\x00\x01\x05\xff\xff\xff\xff\xff\xff\xff\x7f\x01k\x01v", 17, "an expiry that is one", true},
    };
    struct env *env = env_memory_new(5, ENV_MEMORY_PLAIN);
    struct talk_options o = {.env = env};
    talk_open(&t, &o);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct slice record = slice_of(cases[i].bytes, cases[i].len);
        talk_call(&t, plant, &record, RES_OK);
        bool good = strcmp(talk(&t, "HGET bad k"), "$1\r\nv\r\n") == 0;
        bool told = strncmp(talk(&t, "HGET bad k"), "-ERR the data of this command is damaged", 40) == 0;
        if (!tap_check(good == cases[i].good && told == !cases[i].good))
            tap_diag("%s: %s", cases[i].why, talk(&t, "HGET bad k"));
    }
    struct element x;
    tap_check(piece_read(SLICE_LIT(""), &x) == RES_CORRUPT);
    tap_check(piece_read(SLICE_LIT("\x02"), &x) == RES_CORRUPT);
    tap_check(piece_read(SLICE_LIT("\x09z"), &x) == RES_CORRUPT);
    tap_check(piece_read(SLICE_LIT("\x03\x01k"), &x) == RES_CORRUPT); /* a long key that is short */
    tap_check(piece_read(SLICE_LIT("\x05\x01\x00"), &x) == RES_CORRUPT);
    tap_check(piece_read(SLICE_LIT("\x01"), &x) == RES_OK && !x.value.len);
    talk_close(&t);
    env_memory_free(env);
}

int main(void)
{
    tap_test(hashes_hold_what_a_table_would);
    tap_test(they_do_over_tables_and_restarts);
    tap_test(a_list_keeps_its_order_and_spills_in_it);
    tap_test(random_members_are_uniform);
    tap_test(pops_in_a_row_are_uniform);
    tap_test(pops_empty_a_set_that_changes);
    tap_test(pops_empty_a_set_in_tables);
    tap_test(damaged_elements_are_told);
    return tap_done();
}
