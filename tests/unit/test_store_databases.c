/* Databases. What must hold:
 *   - sixteen databases are really apart; a flush empties one, or all, at once and for ever, and costs the same for any
 *     number of keys; a swap exchanges two, for those who have them selected too;
 *   - keyspace ids and object ids are never given twice, restarts included;
 *   - a reader at an older snapshot finds the databases as they were then, though they have been flushed or swapped more
 *     often than memory remembers;
 *   - DBSIZE is what a count gives. */
#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "os/env_memory.h"
#include "store/store.h"
#include "tests/lib/talk.h"
#include "tests/lib/tap.h"

static struct talk t;
static struct env *env;
static struct talk_options options;

static void setup(const struct engine_ops *engine)
{
    env = env_memory_new(1, ENV_MEMORY_PLAIN);
    options = (struct talk_options){.env = env, .engine = engine, .memtable_bytes = 1 << 20};
    talk_open(&t, &options);
}
static void teardown(void)
{
    talk_close(&t);
    env_memory_free(env);
}
static void restart(void)
{
    talk_close(&t);
    talk_open(&t, &options);
}

static void databases_are_apart(void)
{
    setup(NULL);
    for (unsigned db = 0; db < 16; db++) {
        t.session.db = db;
        tap_eq_u64((uint64_t)talk_int(&t, "DBSIZE"), 0);
        (void)talk(&t, "SET k %u", db);
    }
    for (unsigned db = 0; db < 16; db++) {
        char want[32];
        t.session.db = db;
        snprintf(want, sizeof want, "$%d\r\n%u\r\n", db < 10 ? 1 : 2, db);
        tap_eq_str(talk(&t, "GET k"), want);
        tap_eq_u64((uint64_t)talk_int(&t, "DBSIZE"), 1);
    }
    t.session.db = 3;
    tap_eq_str(talk(&t, "FLUSHDB"), "+OK\r\n");
    tap_eq_u64((uint64_t)talk_int(&t, "EXISTS k"), 0);
    t.session.db = 4;
    tap_eq_u64((uint64_t)talk_int(&t, "EXISTS k"), 1);
    tap_eq_str(talk(&t, "SWAPDB 3 4"), "+OK\r\n");
    tap_eq_u64((uint64_t)talk_int(&t, "EXISTS k"), 0);
    t.session.db = 3;
    tap_eq_str(talk(&t, "GET k"), "$1\r\n4\r\n");
    tap_eq_str(talk(&t, "FLUSHALL"), "+OK\r\n");
    for (unsigned db = 0; db < 16; db++) {
        t.session.db = db;
        tap_eq_u64((uint64_t)talk_int(&t, "DBSIZE"), 0);
        tap_eq_str(talk(&t, "KEYS *"), "*0\r\n");
    }
    teardown();
}

static void a_flush_costs_the_same_for_any_number_of_keys(void)
{
    setup(NULL);
    struct front_stats before, after;
    uint64_t cost[2];
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < (round ? 5000 : 1); i++)
            (void)talk(&t, "SET key:%d v EX 1000", i);
        front_stats(shard_front(t.shard), &before);
        (void)talk(&t, "FLUSHDB");
        front_stats(shard_front(t.shard), &after);
        cost[round] = after.commit_records - before.commit_records;
    }
    tap_eq_u64(cost[0], cost[1]);
    tap_check(cost[0] <= 4);
    teardown();
}

static void a_restart_keeps_flushes_and_swaps(void)
{
    setup(&engine_lsm);
    (void)talk(&t, "SET old gone");
    tap_check(front_flush(shard_front(t.shard)) == RES_OK);
    (void)talk(&t, "FLUSHDB");
    (void)talk(&t, "SET new here");
    (void)talk(&t, "SWAPDB 0 5");
    restart();
    tap_eq_u64((uint64_t)talk_int(&t, "DBSIZE"), 0);
    t.session.db = 5;
    tap_eq_u64((uint64_t)talk_int(&t, "EXISTS old"), 0);
    tap_eq_str(talk(&t, "GET new"), "$4\r\nhere\r\n");
    tap_eq_u64((uint64_t)talk_int(&t, "DBSIZE"), 1);
    options.databases = 32; /* more of them, then fewer: nothing is lost */
    restart();
    t.session.db = 31;
    (void)talk(&t, "SET far away");
    options.databases = 16;
    restart();
    options.databases = 32;
    restart();
    t.session.db = 31;
    tap_eq_str(talk(&t, "GET far"), "$4\r\naway\r\n");
    t.session.db = 5;
    tap_eq_str(talk(&t, "GET new"), "$4\r\nhere\r\n");
    teardown();
}

/* ---- ids ---- */

struct ids {
    uint64_t id[4096];
    size_t count;
};

/* Every object id that any piece has, in the order of the records. */
static enum result collect_ids(struct call *c)
{
    struct ids *ids = call_background_arg(c);
    struct iter *it;
    ids->count = 0;
    enum result r = call_iter(c, SLICE_LIT("E"), SLICE_LIT("F"), 0, &it);
    if (r != RES_OK)
        return r;
    for (r = iter_seek(it, slice_of(NULL, 0)); r == RES_OK && ids->count < 4096; r = iter_next(it)) {
        uint64_t id = get_be64(it->key.data + 7);
        if (!ids->count || ids->id[ids->count - 1] != id)
            ids->id[ids->count++] = id;
    }
    iter_close(it);
    return r == RES_NOT_FOUND ? RES_OK : r;
}

static int by_value(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static void ids_are_never_given_twice(void)
{
    static struct ids ids;
    static uint64_t all[65536];
    size_t n = 0;
    setup(&engine_lsm);
    for (int boot = 0; boot < 5; boot++) {
        for (int i = 0; i < 40; i++) {
            (void)talk(&t, "SETRANGE key:%d 20000 x", i);
            if (i % 3 == 0)
                (void)talk(&t, "COPY key:%d copy:%d REPLACE", i, i);
        }
        talk_call(&t, collect_ids, &ids, RES_OK);
        for (size_t i = 0; i < ids.count; i++)
            all[n++] = ids.id[i];
        (void)talk(&t, "FLUSHALL");
        /* The dead pieces go, so that the next boot shows new ones only. */
        tap_check(front_compact(shard_front(t.shard)) == RES_OK);
        restart();
    }
    qsort(all, n, sizeof all[0], by_value);
    size_t twice = 0;
    for (size_t i = 1; i < n; i++)
        twice += all[i] == all[i - 1];
    tap_check(n >= 200);
    tap_eq_u64(twice, 0);
    teardown();
}

/* ---- old snapshots ---- */

struct old_reader {
    int step;
    unsigned wrong;
};

/* Runs at one snapshot while another client flushes and swaps between its looks. Called by the pool, so the client's
 * commands are run by a thread of the test. */
struct flusher {
    struct talk *t;
    int rounds;
};

static void flush_often(void *arg)
{
    struct flusher *f = arg;
    for (int i = 0; i < f->rounds; i++) {
        (void)talk(f->t, i % 2 ? "SWAPDB 0 1" : "FLUSHALL");
        (void)talk(f->t, "SET k %d", i);
    }
}

static enum result look_repeatedly(struct call *c)
{
    struct old_reader *reader = call_background_arg(c);
    reader->wrong = 0;
    uint32_t keyspace[2] = {0, 0};
    for (int i = 0; i < 2; i++) {
        struct store_key key;
        for (uint32_t db = 0; db < 2; db++) {
            enum result r = store_key_init(c, db, SLICE_LIT("k"), &key);
            if (r != RES_OK)
                return r;
            if (i)
                reader->wrong += key.keyspace != keyspace[db];
            keyspace[db] = key.keyspace;
        }
        if (i == 0 && reader->step++ == 0) { /* only in the first run: later ones are repetitions */
            struct flusher f = {&t, 50};
            struct os_thread thread;
            if (os_thread_start(&thread, "flusher", flush_often, &f) != RES_OK)
                return RES_NO_MEMORY;
            os_thread_join(&thread);
        }
    }
    return RES_OK;
}

static void an_old_snapshot_keeps_its_databases(void)
{
    setup(NULL);
    struct old_reader reader = {0, 0};
    talk_call(&t, look_repeatedly, &reader, RES_OK);
    tap_check(reader.step >= 1);
    tap_eq_u64(reader.wrong, 0);
    teardown();
}

int main(void)
{
    tap_test(databases_are_apart);
    tap_test(a_flush_costs_the_same_for_any_number_of_keys);
    tap_test(a_restart_keeps_flushes_and_swaps);
    tap_test(ids_are_never_given_twice);
    tap_test(an_old_snapshot_keeps_its_databases);
    return tap_done();
}
