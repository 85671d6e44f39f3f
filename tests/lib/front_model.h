/* A model of a front for tests: random commits whose every byte can be told again from a number, and the comparison of a
 * front with the state after the first n of them.
 *
 * Each commit also writes its number under one marker key, so that what a recovered front holds tells by itself which
 * prefix of the commits it should equal. Keys lie in three regions and in three keyspaces; the counters of a keyspace
 * count its present keys in REGION_META, and those of them with an odd length as "with expiry". */
#ifndef VARVE_TESTS_LIB_FRONT_MODEL_H
#define VARVE_TESTS_LIB_FRONT_MODEL_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/epoch.h"
#include "base/hash.h"
#include "front/front.h"
#include "os/thread.h"

#define MODEL_KEYS 90
#define MODEL_BATCH 12 /* records in a commit, at most */
#define MODEL_KEY_BYTES 32

struct model_commit {
    uint64_t sequence;
    uint64_t mark; /* the test's: e.g. when it was acknowledged; UINT64_MAX: never */
    int count;
    struct {
        uint8_t key;
        bool put;
        uint32_t len;
    } change[MODEL_BATCH];
    bool table; /* its first half went into a private table */
};

struct model {
    struct model_commit *commits; /* [0] is commit 1 */
    size_t count, room;
    uint64_t seed;
    uint32_t value_max;
};

static inline uint64_t model_draw(struct model *m, uint64_t n)
{
    m->seed = m->seed * 6364136223846793005u + 1442695040888963407u;
    return hash_mix(m->seed) % n;
}

static inline void model_init(struct model *m, uint64_t seed, uint32_t value_max)
{
    *m = (struct model){.seed = hash_mix(seed + 1), .value_max = value_max};
}

static inline void model_fini(struct model *m) { free(m->commits); }

static inline int model_keyspace(int key) { return key % 3; }

/* Key 0 is the marker. Returns the length. */
static inline size_t model_key(int key, uint8_t out[MODEL_KEY_BYTES])
{
    if (key == 0)
        return (size_t)snprintf((char *)out, MODEL_KEY_BYTES, "Smarker");
    uint32_t h = (uint32_t)hash_mix((uint64_t)key);
    return (size_t)snprintf((char *)out, MODEL_KEY_BYTES, "%c%02d%04x:%.*s%d",
                            "MMME"[key % 4] == 'E' ? "EX"[key / 4 % 2] : 'M', model_keyspace(key), h & 0xffff, key % 7,
                            "abcdefg", key);
}

static inline void model_value(uint8_t *out, uint32_t len, size_t commit, int key)
{
    uint64_t x = hash_mix(commit * 1000 + (uint64_t)key);
    for (uint32_t i = 0; i < len; i++) {
        if (i % 8 == 0)
            x = hash_mix(x + i);
        out[i] = (uint8_t)(x >> (8 * (i % 8)));
    }
}

static inline bool model_counted(int key)
{
    uint8_t bytes[MODEL_KEY_BYTES];
    model_key(key, bytes);
    return bytes[0] == 'M';
}

/* What the front should hold after the first n commits: for each key the commit that wrote it, or 0. */
struct model_state {
    size_t by[MODEL_KEYS];
    uint32_t len[MODEL_KEYS];
};

static inline void model_apply(const struct model *m, size_t commit, struct model_state *s)
{
    const struct model_commit *c = &m->commits[commit - 1];
    for (int i = 0; i < c->count; i++) {
        s->by[c->change[i].key] = c->change[i].put ? commit : 0;
        s->len[c->change[i].key] = c->change[i].len;
    }
}

static inline struct model_state model_state_at(const struct model *m, size_t n)
{
    struct model_state s = {0};
    for (size_t i = 1; i <= n; i++)
        model_apply(m, i, &s);
    return s;
}

static inline struct front_counts model_counts(const struct model_state *s, int keyspace)
{
    struct front_counts n = {0, 0};
    for (int k = 1; k < MODEL_KEYS; k++)
        if (s->by[k] && model_keyspace(k) == keyspace && model_counted(k)) {
            n.keys++;
            n.expires += s->len[k] & 1;
        }
    return n;
}

/* One more random commit, in the model only. */
static inline struct model_commit *model_next(struct model *m)
{
    if (m->count == m->room) {
        m->room = m->room ? 2 * m->room : 256;
        m->commits = realloc(m->commits, m->room * sizeof(*m->commits));
    }
    struct model_commit *c = &m->commits[m->count++];
    memset(c, 0, sizeof(*c));
    c->mark = UINT64_MAX;
    bool used[MODEL_KEYS] = {false};
    int n = 1 + (int)model_draw(m, model_draw(m, 8) == 0 ? MODEL_BATCH - 1 : 3);
    for (int i = 0; i < n; i++) {
        int key = i == 0 ? 0 : 1 + (int)model_draw(m, MODEL_KEYS - 1);
        if (used[key])
            continue;
        used[key] = true;
        bool put = key == 0 || model_draw(m, 4) > 0;
        uint32_t len = key == 0 ? 8 : (uint32_t)model_draw(m, model_draw(m, 16) == 0 ? m->value_max : 60);
        c->change[c->count].key = (uint8_t)key;
        c->change[c->count].put = put;
        c->change[c->count++].len = put ? len : 0;
    }
    return c;
}

struct model_batch {
    struct batch batch;
    struct batch_record records[MODEL_BATCH];
    struct batch_counter counters[3];
    uint8_t keys[MODEL_BATCH][MODEL_KEY_BYTES];
    uint8_t *values;
};

/* The batch of the newest commit, over the state before it. */
static inline void model_batch(const struct model *m, const struct model_state *before, struct model_batch *b)
{
    const struct model_commit *c = &m->commits[m->count - 1];
    size_t bytes = 0;
    memset(b, 0, sizeof(*b));
    for (int i = 0; i < c->count; i++)
        bytes += c->change[i].len;
    b->values = malloc(bytes + 1);
    uint8_t *at = b->values;
    for (int i = 0; i < c->count; i++) {
        int key = c->change[i].key;
        uint32_t len = c->change[i].len;
        struct batch_record *r = &b->records[i];
        r->key.bytes = slice_of(b->keys[i], model_key(key, b->keys[i]));
        r->key.hash = engine_hash(r->key.bytes);
        r->kind = c->change[i].put ? RECORD_PUT : RECORD_DELETE;
        if (key == 0)
            memcpy(at, &(uint64_t){m->count}, 8);
        else
            model_value(at, len, m->count, key);
        r->value = slice_of(at, len);
        at += len;
    }
    struct model_state after = *before;
    model_apply(m, m->count, &after);
    for (int ks = 0; ks < 3; ks++) {
        struct front_counts was = model_counts(before, ks), is = model_counts(&after, ks);
        if (was.keys != is.keys || was.expires != is.expires)
            b->counters[b->batch.counter_count++] =
                (struct batch_counter){(uint32_t)ks, is.keys - was.keys, is.expires - was.expires};
    }
    b->batch.records = b->records;
    b->batch.count = (size_t)c->count;
    b->batch.counters = b->counters;
    b->batch.now_ms = 1767225600000 + m->count;
}

/* 50 µs, of real or of a scheduler's time. */
static inline void model_pause(void)
{
    struct os_mutex m;
    struct os_cond c;
    os_mutex_init(&m);
    os_cond_init(&c);
    os_mutex_lock(&m);
    (void)os_cond_wait_for(&c, &m, 50000);
    os_mutex_unlock(&m);
    os_cond_fini(&c);
    os_mutex_fini(&m);
}

/* Moves the first half of the records, sorted, into a private table. Anything but RES_OK: nothing was changed. */
static inline enum result model_into_table(struct front *f, struct model_batch *b)
{
    size_t half = b->batch.count / 2;
    if (half == 0)
        return RES_INVALID;
    for (size_t i = 1; i < half; i++) /* in key order; the record at 0 is the marker, which stays */
        for (size_t j = i + 1; j <= half; j++)
            if (slice_cmp(b->records[j].key.bytes, b->records[i].key.bytes) < 0) {
                struct batch_record swap = b->records[i];
                b->records[i] = b->records[j];
                b->records[j] = swap;
            }
    struct engine_table *t;
    uint64_t number = 0;
    enum result res = front_table_begin(f, &t);
    if (res != RES_OK)
        return res;
    for (size_t i = 1; i <= half && res == RES_OK; i++)
        res = front_table_add(f, t, b->records[i].key.bytes, b->records[i].kind, b->records[i].value);
    if (res == RES_OK)
        res = front_table_finish(f, t, &number);
    if (res != RES_OK) {
        front_table_abort(f, t);
        return res;
    }
    memmove(&b->records[1], &b->records[half + 1], sizeof(b->records[0]) * (b->batch.count - half - 1));
    b->batch.count -= half;
    b->batch.table = t;
    b->batch.table_number = number;
    return RES_OK;
}

/* Commits one more random batch. `state` follows. The commit is taken back from the model when it fails. */
static inline enum result model_commit(struct model *m, struct front *f, struct model_state *state, bool table)
{
    struct model_batch b;
    struct model_commit *c = model_next(m);
    model_batch(m, state, &b);
    c->table = table && model_into_table(f, &b) == RES_OK;
    enum result res;
    while ((res = front_reserve(f, &b.batch)) == RES_WOULD_BLOCK) {
        front_kick(f);
        model_pause();
    }
    if (res == RES_OK) {
        c->sequence = front_commit(f, &b.batch);
        model_apply(m, m->count, state);
    } else {
        if (c->table)
            front_table_abort(f, b.batch.table);
        m->count--;
    }
    free(b.values);
    return res;
}

static inline bool model_differ(char *why, size_t room, const char *what, int key)
{
    uint8_t bytes[MODEL_KEY_BYTES] = {0};
    model_key(key, bytes);
    snprintf(why, room, "%s at key %d (%s)", what, key, (const char *)bytes);
    return false;
}

/* The marker of a view at a snapshot: the number of its last commit; UINT64_MAX on an error. */
static inline uint64_t model_marker(struct front_view *v, uint64_t snapshot)
{
    uint8_t bytes[MODEL_KEY_BYTES], *value = NULL;
    struct engine_key key = {slice_of(bytes, model_key(0, bytes)), 0};
    size_t len = 0;
    uint64_t n = UINT64_MAX;
    key.hash = engine_hash(key.bytes);
    enum result res = front_get_wait(v, snapshot, &key, &value, &len);
    if (res == RES_NOT_FOUND)
        n = 0;
    else if (res == RES_OK && len == 8)
        memcpy(&n, value, 8);
    free(value);
    return n;
}

static inline bool model_same_value(const struct model_state *s, int key, const uint8_t *value, size_t len)
{
    if (len != s->len[key])
        return false;
    uint8_t *want = malloc(len + 1);
    if (key == 0)
        memcpy(want, &(uint64_t){s->by[key]}, 8);
    else
        model_value(want, (uint32_t)len, s->by[key], key);
    bool same = memcmp(want, value, len) == 0;
    free(want);
    return same;
}

/* Does the front, at the snapshot, hold exactly the state? By gets, by an iterator forth and back, and by counters. */
static inline bool model_equal(struct front *f, struct front_view *v, uint64_t snapshot, const struct model_state *s,
                               char *why, size_t room)
{
    size_t present = 0, forth = 0, back = 0;
    for (int k = 0; k < MODEL_KEYS; k++) {
        uint8_t bytes[MODEL_KEY_BYTES], *value = NULL;
        struct engine_key key = {slice_of(bytes, model_key(k, bytes)), 0};
        size_t len = 0;
        key.hash = engine_hash(key.bytes);
        enum result res = front_get_wait(v, snapshot, &key, &value, &len);
        bool same = s->by[k] ? res == RES_OK && model_same_value(s, k, value, len) : res == RES_NOT_FOUND;
        free(value);
        present += s->by[k] != 0;
        if (!same)
            return model_differ(why, room, s->by[k] ? "get misses or is wrong" : "get finds what is not there", k);
    }
    struct iter *it;
    enum result res = front_iter(v, snapshot, slice_of(NULL, 0), slice_of(NULL, 0), 0, &it);
    if (res != RES_OK) {
        snprintf(why, room, "front_iter: %s", result_text(res));
        return false;
    }
    for (res = iter_seek(it, slice_of(NULL, 0)); res == RES_OK; res = iter_next(it))
        forth++;
    enum result end = res;
    for (res = iter_seek_last(it, slice_of(NULL, 0)); res == RES_OK; res = iter_prev(it))
        back++;
    iter_close(it);
    if (forth != present || back != present || end != RES_NOT_FOUND || res != RES_NOT_FOUND) {
        snprintf(why, room, "iterators show %zu and %zu records, not %zu", forth, back, present);
        return false;
    }
    for (int ks = 0; ks < 3; ks++) {
        struct front_counts got = front_counts_at(f, (uint32_t)ks, snapshot), want = model_counts(s, ks);
        if (got.keys != want.keys || got.expires != want.expires) {
            snprintf(why, room, "keyspace %d counts %lld, %lld and not %lld, %lld", ks, (long long)got.keys,
                     (long long)got.expires, (long long)want.keys, (long long)want.expires);
            return false;
        }
    }
    return true;
}

#endif
