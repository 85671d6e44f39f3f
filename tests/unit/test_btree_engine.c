/* LMDB as an engine, apart from what the contract asks of it:
 *
 * 1. The map grows while views and iterators are in use: those of the newest state go on, older ones are cut and say so.
 * 2. A view that holds back much is cut, and says so.
 * 3. Who may not wait is not made to: with pages that may be on disk, get answers RES_WOULD_BLOCK, fill() helps.
 * 4. Over a shadow nothing on the disk is changed, and what is absorbed is seen all the same.
 * 5. A flipped bit in a value is found. */
#include <fcntl.h>
#include <ftw.h>
#include <unistd.h>

#include "engine/btree/btree.h"
#include "os/env_shadow.h"
#include "tests/lib/tap.h"

#define KEYS 300

static char dir[64];

static int remove_one(const char *path, const struct stat *st, int what, struct FTW *at)
{
    (void)st, (void)what, (void)at;
    return remove(path);
}

static void make_dir(void)
{
    const char *above = getenv("TMPDIR");
    snprintf(dir, sizeof dir, "%s/varve-XXXXXX", above && strlen(above) < 40 ? above : "/tmp");
    tap_require(mkdtemp(dir) != NULL);
}

static void remove_dir(void)
{
    epoch_drain();
    tap_check(nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS) == 0);
}

static struct engine *open_in(struct env *env, uint64_t table_bytes, uint64_t want_sequence)
{
    struct engine_options o = {.env = env, .dir = dir, .table_bytes = table_bytes, .create = true};
    struct engine *e;
    struct slice state;
    struct errmsg msg = {""};
    uint64_t sequence;
    enum result r = engine_btree.open(&o, &e, &sequence, &state, &msg);
    if (r != RES_OK)
        tap_diag("%s", msg.text);
    tap_require(r == RES_OK);
    tap_eq_u64(sequence, want_sequence);
    free((void *)(uintptr_t)state.data);
    return e;
}

static char key_room[KEYS][16];
static uint8_t value_room[16384];

/* Run `s`: every key with `len` bytes of s. */
static enum result absorb(struct engine *e, unsigned s, size_t len)
{
    static struct iter_record records[KEYS];
    memset(value_room, (int)s, sizeof value_room);
    for (size_t i = 0; i < KEYS; i++)
        records[i] = (struct iter_record){slice_of(key_room[i], (size_t)sprintf(key_room[i], "M%05zu", i)),
                                          slice_of(value_room, len), RECORD_PUT};
    struct iter *run;
    tap_require(iter_over_array(records, KEYS, slice_of(NULL, 0), slice_of(NULL, 0), &run) == RES_OK);
    struct engine_boundary b = {s, slice_of(&s, sizeof s)};
    enum result r = engine_btree.absorb(e, run, &b);
    iter_close(run);
    return r;
}

static struct engine_key key_at(size_t i)
{
    struct slice bytes = slice_of(key_room[i], (size_t)sprintf(key_room[i], "M%05zu", i));
    return (struct engine_key){bytes, engine_hash(bytes)};
}

static enum result get_at(struct engine_view *v, size_t i, int flags, unsigned s, size_t len, struct engine_miss *miss)
{
    struct slice value;
    struct engine_key key = key_at(i);
    epoch_enter();
    enum result r = engine_btree.get(v, &key, flags, &value, miss);
    if (r == RES_OK) {
        memset(value_room, (int)s, sizeof value_room);
        tap_check(slice_eq(value, slice_of(value_room, len)));
    }
    epoch_leave();
    return r;
}

static bool shows(struct engine *e, unsigned s, size_t len)
{
    struct engine_view *v = engine_btree.view_acquire(e);
    bool good = true;
    for (size_t i = 0; i < KEYS; i++)
        good &= get_at(v, i, 0, s, len, NULL) == RES_OK;
    engine_btree.view_release(v);
    return good;
}

static void the_map_grows_under_its_readers(void)
{
    make_dir();
    struct engine *e = open_in(env_posix(), 1024, 0);
    struct btree *b = (struct btree *)e;
    tap_require(absorb(e, 1, 100) == RES_OK);
    struct engine_view *old = engine_btree.view_acquire(e);
    tap_require(absorb(e, 2, 100) == RES_OK);
    struct engine_view *newest = engine_btree.view_acquire(e);
    struct iter *it;
    struct slice none = slice_of(NULL, 0);
    tap_require(engine_btree.iter_open(newest, none, none, 0, &it) == RES_OK && iter_seek(it, none) == RES_OK);
    for (int i = 0; i < 100; i++)
        tap_check(iter_next(it) == RES_OK);
    uint64_t before = b->map;
    os_mutex_lock(&b->write_lock);
    tap_check(btree_grow(b) == RES_OK); /* as a full map in the middle of a transaction does it */
    os_mutex_unlock(&b->write_lock);
    tap_eq_u64(b->map, 2 * before);
    size_t left = 0;
    for (enum result r = iter_next(it); r == RES_OK; r = iter_next(it))
        left++;
    tap_eq_u64(left, KEYS - 101);
    tap_check(iter_prev(it) == RES_NOT_FOUND && iter_seek_last(it, none) == RES_OK && iter_prev(it) == RES_OK);
    for (size_t i = 0; i < KEYS; i++) {
        tap_check(get_at(newest, i, 0, 2, 100, NULL) == RES_OK);
        tap_check(get_at(old, i, 0, 1, 100, NULL) == RES_INTERRUPTED);
    }
    tap_require(absorb(e, 3, 16384) == RES_OK); /* 5 MB: more than there is, several times */
    tap_check(b->map > 2 * before);
    tap_check(shows(e, 3, 16384));
    iter_close(it);
    engine_btree.view_release(old);
    engine_btree.view_release(newest);
    engine_btree.close(e);
    e = open_in(env_posix(), 1024, 3);
    tap_check(shows(e, 3, 16384));
    engine_btree.close(e);
    remove_dir();
}

static void a_view_that_holds_back_much_is_cut(void)
{
    make_dir();
    struct engine *e = open_in(env_posix(), 16384, 0);
    struct btree *b = (struct btree *)e;
    unsigned s = 1;
    tap_require(absorb(e, s, 500) == RES_OK);
    struct engine_view *old = engine_btree.view_acquire(e);
    uint64_t map = b->map;
    while (s < 100 && get_at(old, 7, 0, 1, 500, NULL) == RES_OK)
        tap_require(absorb(e, ++s, 500) == RES_OK);
    tap_check(s > 1 && s < 100 && b->map == map);
    tap_check(get_at(old, 7, 0, 1, 500, NULL) == RES_INTERRUPTED);
    struct iter *it;
    tap_require(engine_btree.iter_open(old, slice_of(NULL, 0), slice_of(NULL, 0), 0, &it) == RES_OK);
    tap_check(iter_seek(it, slice_of(NULL, 0)) == RES_INTERRUPTED);
    iter_close(it);
    tap_check(shows(e, s, 500));
    struct engine_stats before, after;
    engine_btree.stats(e, &before);
    for (int i = 0; i < 20; i++) /* and the file grows no more */
        tap_require(absorb(e, ++s, 500) == RES_OK);
    engine_btree.stats(e, &after);
    tap_check(after.bytes_on_disk <= before.bytes_on_disk * 3 / 2);
    engine_btree.view_release(old);
    engine_btree.close(e);
    remove_dir();
}

static void who_may_not_wait_is_told_and_helped(void)
{
    make_dir();
    struct engine *e = open_in(env_posix(), 1 << 20, 0);
    struct btree *b = (struct btree *)e;
    unsigned blocked = 0;
    tap_require(absorb(e, 1, 500) == RES_OK);
    btree_look(b);
    tap_check(__atomic_load_n(&b->resident, __ATOMIC_RELAXED)); /* just written */
    struct engine_view *v = engine_btree.view_acquire(e);
    for (size_t i = 0; i < KEYS; i++) {
        struct engine_miss miss = {0};
        struct engine_key key = key_at(i), absent = {SLICE_LIT("Mabsent"), 12345};
        struct slice value;
        __atomic_store_n(&b->resident, false, __ATOMIC_RELAXED); /* until the thread looks again */
        epoch_enter();
        enum result r = engine_btree.get(v, &key, ENGINE_NOWAIT, &value, &miss);
        epoch_leave();
        if (r == RES_WOULD_BLOCK) {
            blocked++;
            tap_check(engine_btree.fill(e, &miss) == RES_OK);
            __atomic_store_n(&b->resident, false, __ATOMIC_RELAXED);
            epoch_enter();
            r = engine_btree.get(v, &key, ENGINE_NOWAIT, &value, &miss);
            tap_check(r == RES_OK && value.len == 500 && value.data[0] == 1);
            r = engine_btree.get(v, &key, ENGINE_NOWAIT, &value, NULL); /* and others find it, too */
            epoch_leave();
        }
        tap_check(r == RES_OK);
        engine_btree.miss_fini(e, &miss);
        epoch_enter();
        r = engine_btree.get(v, &absent, ENGINE_NOWAIT, &value, &miss);
        epoch_leave();
        if (r == RES_WOULD_BLOCK) {
            tap_check(engine_btree.fill(e, &miss) == RES_OK);
            epoch_enter();
            r = engine_btree.get(v, &absent, ENGINE_NOWAIT, &value, &miss);
            epoch_leave();
        }
        tap_check(r == RES_NOT_FOUND);
        engine_btree.miss_fini(e, &miss);
    }
    tap_check(blocked > KEYS / 2);
    engine_btree.view_release(v);
    engine_btree.close(e);
    remove_dir();
}

static void over_a_shadow_nothing_is_changed(void)
{
    char path[80];
    make_dir();
    struct engine *e = open_in(env_posix(), 1 << 20, 0);
    tap_require(absorb(e, 1, 300) == RES_OK);
    engine_btree.close(e);
    snprintf(path, sizeof path, "%s/btree/data.mdb", dir);
    uint8_t *before, *after;
    size_t before_len, after_len;
    tap_require(env_read_file(env_posix(), path, 1 << 30, &before, &before_len) == RES_OK);
    struct env *shadow = env_shadow_new(env_posix());
    e = open_in(shadow, 1 << 20, 1);
    tap_check(shows(e, 1, 300));
    tap_check(absorb(e, 2, 200) == RES_OK);
    tap_check(shows(e, 2, 200));
    tap_check(absorb(e, 3, 10) == RES_OK);
    tap_check(shows(e, 3, 10));
    struct errmsg msg;
    tap_check(engine_btree.check(e, &msg) == RES_OK);
    engine_btree.close(e);
    env_shadow_free(shadow);
    tap_require(env_read_file(env_posix(), path, 1 << 30, &after, &after_len) == RES_OK);
    tap_check(slice_eq(slice_of(before, before_len), slice_of(after, after_len)));
    free(before);
    free(after);
    e = open_in(env_posix(), 1 << 20, 1);
    tap_check(shows(e, 1, 300));
    engine_btree.close(e);
    remove_dir();
}

static void a_flipped_bit_in_a_value_is_found(void)
{
    char path[80];
    uint8_t *data;
    size_t len;
    make_dir();
    struct engine *e = open_in(env_posix(), 1 << 20, 0);
    tap_require(absorb(e, 0x5a, 300) == RES_OK);
    engine_btree.close(e);
    snprintf(path, sizeof path, "%s/btree/data.mdb", dir);
    tap_require(env_read_file(env_posix(), path, 1 << 30, &data, &len) == RES_OK);
    static const uint8_t pattern[64] = {[0 ... 63] = 0x5a};
    int fd = open(path, O_RDWR);
    uint8_t *at = memmem(data + 2 * 4096, len - 2 * 4096, pattern, sizeof pattern);
    tap_require(at && fd >= 0);
    for (uint8_t *p = at; p; p = memmem(p, len - (size_t)(p - data), pattern, sizeof pattern)) {
        uint8_t wrong = 0x5b; /* in each copy of each value: pages that are free may have some, too */
        tap_check(pwrite(fd, &wrong, 1, p - data + 10) == 1);
        p += 300;
    }
    close(fd);
    free(data);
    e = open_in(env_posix(), 1 << 20, 0x5a);
    struct engine_view *v = engine_btree.view_acquire(e);
    unsigned damaged = 0;
    for (size_t i = 0; i < KEYS; i++) {
        struct slice value;
        struct engine_key key = key_at(i);
        epoch_enter();
        enum result r = engine_btree.get(v, &key, 0, &value, NULL);
        tap_check(r == RES_CORRUPT || (r == RES_OK && value.len == 300 && value.data[10] == 0x5a));
        damaged += r == RES_CORRUPT;
        epoch_leave();
    }
    tap_check(damaged > 0);
    engine_btree.view_release(v);
    struct errmsg msg = {""};
    tap_check(engine_btree.check(e, &msg) == RES_CORRUPT && strstr(msg.text, "data.mdb"));
    engine_btree.close(e);
    remove_dir();
}

int main(void)
{
    tap_test(the_map_grows_under_its_readers);
    tap_test(a_view_that_holds_back_much_is_cut);
    tap_test(who_may_not_wait_is_told_and_helped);
    tap_test(over_a_shadow_nothing_is_changed);
    tap_test(a_flipped_bit_in_a_value_is_found);
    return tap_done();
}
