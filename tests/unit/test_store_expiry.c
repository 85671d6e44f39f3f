/* The expiry index, against a model and a clock that obeys. What must hold after any row of commands that set, move,
 * refresh and remove expiries, in several databases, flushed and swapped meanwhile:
 *   - a key lives as long as it should: it is there while its time has not come, and is gone afterwards, for every
 *     command at once and from DBSIZE within the thread's time, though nobody touches it;
 *   - every key that expires has exactly one entry, at the time its metadata says, never after its expiry, and there is
 *     no other entry;
 *   - refreshing a TTL writes no entry;
 *   - the counters are what a full count gives. */
#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "os/env_memory.h"
#include "store/meta.h"
#include "store/store.h"
#include "tests/lib/talk.h"
#include "tests/lib/tap.h"

#define DATABASES 3
#define KEYS 12

static struct talk t;
static struct env *env;
static uint64_t now_ms;
static struct {
    bool present;
    uint64_t expire; /* 0: never */
} model[DATABASES][KEYS];
static uint64_t seed = 11;

static uint64_t draw(uint64_t below)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return below ? (seed >> 24) % below : 0;
}

static void set_time(uint64_t ms)
{
    now_ms = ms;
    env_memory_set_clock(env, ms, ms * 1000000);
}

static void setup(const struct engine_ops *engine)
{
    env = env_memory_new(1, ENV_MEMORY_PLAIN);
    set_time(1800000000000);
    struct talk_options o = {.env = env, .engine = engine, .databases = DATABASES, .memtable_bytes = 1 << 20};
    talk_open(&t, &o);
    memset(model, 0, sizeof model);
}

static void teardown(void)
{
    talk_close(&t);
    env_memory_free(env);
}

/* ---- the model ---- */

static bool alive(unsigned db, unsigned k)
{
    return model[db][k].present && (!model[db][k].expire || model[db][k].expire >= now_ms);
}

static void forget_expired(void)
{
    for (unsigned db = 0; db < DATABASES; db++)
        for (unsigned k = 0; k < KEYS; k++)
            model[db][k].present = alive(db, k);
}

static void model_set(unsigned db, unsigned k, uint64_t expire)
{
    model[db][k].present = true;
    model[db][k].expire = expire;
}

static void one_step(void)
{
    unsigned db = (unsigned)draw(DATABASES), k = (unsigned)draw(KEYS), other = (unsigned)draw(KEYS);
    uint64_t ttl = 1 + draw(draw(2) ? 200 : 5000);
    bool was = alive(db, k);
    t.session.db = db;
    switch (draw(14)) {
    case 0:
        (void)talk(&t, "SET k%u v", k);
        model_set(db, k, 0);
        break;
    case 1:
    case 2:
        (void)talk(&t, "SET k%u v PX %llu", k, (unsigned long long)ttl);
        model_set(db, k, now_ms + ttl);
        break;
    case 3:
    case 4:
        tap_eq_u64((uint64_t)talk_int(&t, "PEXPIRE k%u %llu", k, (unsigned long long)ttl), was);
        if (was)
            model[db][k].expire = now_ms + ttl;
        break;
    case 5:
        tap_eq_u64((uint64_t)talk_int(&t, "PERSIST k%u", k), was && model[db][k].expire);
        if (was)
            model[db][k].expire = 0;
        break;
    case 6:
        tap_eq_u64((uint64_t)talk_int(&t, "DEL k%u", k), was);
        model[db][k].present = false;
        break;
    case 7:
        (void)talk(&t, "RENAME k%u k%u", k, other);
        if (was && k != other) {
            model[db][other] = model[db][k];
            model[db][k].present = false;
        }
        break;
    case 8:
        (void)talk(&t, "COPY k%u k%u DB %u REPLACE", k, other, (db + 1) % DATABASES);
        if (was)
            model[(db + 1) % DATABASES][other] = model[db][k];
        break;
    case 9: {
        unsigned to = (db + 1) % DATABASES;
        bool moves = was && !alive(to, k);
        tap_eq_u64((uint64_t)talk_int(&t, "MOVE k%u %u", k, to), moves);
        if (moves) {
            model[to][k] = model[db][k];
            model[db][k].present = false;
        }
        break;
    }
    case 10:
        (void)talk(&t, "APPEND k%u x", k);
        if (!was)
            model_set(db, k, 0);
        break;
    case 11:
        if (draw(20) == 0) {
            (void)talk(&t, "FLUSHDB");
            memset(model[db], 0, sizeof model[db]);
        } else if (draw(10) == 0) {
            unsigned to = (unsigned)draw(DATABASES);
            (void)talk(&t, "SWAPDB %u %u", db, to);
            typeof(model[0]) kept;
            memcpy(kept, model[db], sizeof kept);
            memmove(model[db], model[to], sizeof kept);
            memcpy(model[to], kept, sizeof kept);
        }
        break;
    case 12:
        tap_eq_u64((uint64_t)talk_int(&t, "EXISTS k%u", k), was);
        break;
    default:
        if (draw(8) == 0) {
            set_time(now_ms + draw(300));
            forget_expired();
        }
    }
}

/* ---- what lies below ---- */

struct truth {
    int64_t keys[DATABASES], expires[DATABASES]; /* by full count */
    int64_t counted_keys[DATABASES], counted_expires[DATABASES];
    unsigned wrong; /* entries or metadata that do not fit each other */
    unsigned entries;
    uint64_t now;
};

static enum result look_at_key(struct call *c, struct truth *truth, const struct iter *it, unsigned db)
{
    struct meta m;
    enum result r = meta_decode(it->value, &m);
    if (r != RES_OK)
        return r;
    truth->keys[db]++;
    if (!m.expire_ms)
        return RES_OK;
    truth->expires[db]++;
    truth->wrong += m.index_ms == 0 || m.index_ms > m.expire_ms;
    uint8_t name[ENGINE_KEY_MAX];
    memcpy(name, it->key.data, 5);
    name[0] = 'X';
    put_be64(name + 5, m.index_ms);
    memcpy(name + 13, it->key.data + 5, it->key.len - 5);
    struct engine_key entry = {.bytes = slice_of(name, it->key.len + 8)};
    entry.hash = engine_hash(entry.bytes);
    struct slice nothing;
    r = call_get(c, &entry, &nothing);
    truth->wrong += r == RES_NOT_FOUND;
    return r == RES_NOT_FOUND ? RES_OK : r;
}

static enum result walk(struct call *c, uint8_t region, uint32_t keyspace, struct truth *truth, unsigned db)
{
    uint8_t lower[5] = {region}, upper[5] = {region};
    put_be32(lower + 1, keyspace);
    put_be32(upper + 1, keyspace + 1);
    struct iter *it;
    enum result r = call_iter(c, slice_of(lower, 5), slice_of(upper, 5), 0, &it);
    if (r != RES_OK)
        return r;
    for (r = iter_seek(it, slice_of(NULL, 0)); r == RES_OK; r = iter_next(it)) {
        if (region == 'M' && (r = look_at_key(c, truth, it, db)) != RES_OK)
            break;
        truth->entries += region == 'X';
    }
    iter_close(it);
    return r == RES_NOT_FOUND ? RES_OK : r;
}

static enum result find_truth(struct call *c)
{
    struct truth *truth = call_background_arg(c);
    memset(truth, 0, sizeof *truth);
    truth->now = c->now_ms;
    for (unsigned db = 0; db < DATABASES; db++) {
        struct store_key key; /* tells the keyspace */
        enum result r = store_key_init(c, db, SLICE_LIT("x"), &key);
        if (r == RES_OK)
            r = walk(c, 'M', key.keyspace, truth, db);
        if (r == RES_OK)
            r = walk(c, 'X', key.keyspace, truth, db);
        if (r == RES_OK)
            r = store_db_size(c, db, &truth->counted_keys[db], &truth->counted_expires[db]);
        if (r != RES_OK)
            return r;
    }
    return RES_OK;
}

static bool thread_has_caught_up(void *arg)
{
    struct truth *truth = arg;
    int64_t living[DATABASES] = {0};
    for (unsigned db = 0; db < DATABASES; db++)
        for (unsigned k = 0; k < KEYS; k++)
            living[db] += alive(db, k);
    talk_call(&t, find_truth, truth, RES_OK);
    for (unsigned db = 0; db < DATABASES; db++)
        if (truth->keys[db] != living[db])
            return false;
    return true;
}

static void check_everything(void)
{
    struct truth truth;
    if (!tap_check(talk_wait_for(thread_has_caught_up, &truth)))
        for (unsigned db = 0; db < DATABASES; db++)
            tap_diag("database %u: %lld keys lie there", db, (long long)truth.keys[db]);
    int64_t expires = 0;
    for (unsigned db = 0; db < DATABASES; db++) {
        tap_eq_u64((uint64_t)truth.counted_keys[db], (uint64_t)truth.keys[db]);
        tap_eq_u64((uint64_t)truth.counted_expires[db], (uint64_t)truth.expires[db]);
        expires += truth.expires[db];
        for (unsigned k = 0; k < KEYS; k++) {
            t.session.db = db;
            int64_t at = talk_int(&t, "PEXPIRETIME k%u", k);
            int64_t want = !alive(db, k) ? -2 : model[db][k].expire ? (int64_t)model[db][k].expire : -1;
            tap_eq_u64((uint64_t)at, (uint64_t)want);
        }
    }
    tap_eq_u64(truth.wrong, 0);
    tap_eq_u64(truth.entries, (uint64_t)expires);
}

static void random_rows(const struct engine_ops *engine, int rounds)
{
    setup(engine);
    for (int i = 0; i < rounds; i++) {
        for (int k = 0; k < 60; k++)
            one_step();
        check_everything();
        if (draw(2)) {
            set_time(now_ms + draw(3000));
            forget_expired();
            check_everything();
        }
    }
    teardown();
}

static void no_key_lives_or_dies_by_itself(void) { random_rows(&engine_memory, tap_long() ? 500 : 40); }
static void nor_over_the_lsm_engine(void) { random_rows(&engine_lsm, tap_long() ? 500 : 40); }

static bool half_are_left(void *arg)
{
    (void)arg;
    return talk_int(&t, "DBSIZE") == 500; /* as the gate has it */
}

static void a_restart_finds_what_is_due(void)
{
    setup(&engine_lsm);
    for (int i = 0; i < 1000; i++)
        (void)talk(&t, "SET key:%d v PX %d", i, i % 2 ? 1000 : 100000);
    talk_close(&t);
    set_time(now_ms + 2000);
    struct talk_options o = {.env = env, .engine = &engine_lsm, .databases = DATABASES};
    talk_open(&t, &o);
    tap_check(talk_wait_for(half_are_left, NULL));
    tap_eq_u64((uint64_t)talk_int(&t, "DBSIZE"), 500);
    struct shard_stats s; /* nobody was in the way: what has been prepared is what was committed */
    shard_stats(t.shard, &s);
    tap_eq_u64(s.prepared_retries, 0);
    teardown();
}

static void refreshing_writes_no_entry(void)
{
    struct truth before, after;
    setup(&engine_memory);
    (void)talk(&t, "SET k v PX 1000");
    talk_call(&t, find_truth, &before, RES_OK);
    struct front_stats a, b;
    front_stats(shard_front(t.shard), &a);
    for (int i = 0; i < 100; i++)
        tap_eq_u64((uint64_t)talk_int(&t, "PEXPIRE k %d", 2000 + i), 1);
    front_stats(shard_front(t.shard), &b);
    tap_eq_u64(b.commit_records - a.commit_records, 100);
    talk_call(&t, find_truth, &after, RES_OK);
    tap_eq_u64(after.entries, 1);
    /* Its entry comes due, the key does not. */
    set_time(now_ms + 1500);
    tap_eq_u64((uint64_t)talk_int(&t, "EXISTS k"), 1);
    set_time(now_ms + 599);
    tap_eq_u64((uint64_t)talk_int(&t, "EXISTS k"), 1);
    set_time(now_ms + 1);
    tap_eq_u64((uint64_t)talk_int(&t, "EXISTS k"), 0);
    teardown();
}

int main(void)
{
    tap_test(no_key_lives_or_dies_by_itself);
    tap_test(nor_over_the_lsm_engine);
    tap_test(a_restart_finds_what_is_due);
    tap_test(refreshing_writes_no_entry);
    return tap_done();
}
