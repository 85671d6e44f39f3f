/* The thread that looks after the file: dead ranges, and what of the file is in memory. */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/log.h"
#include "engine/btree/btree.h"

#define STEP 2000 /* keys deleted in one transaction */
#define LOOK_LEAST_NS 100000000u
#define LOOK_SHARE 100 /* at most so small a part of a thread's time */
#define LOOK_PIECE ((size_t)1 << 30)

/* ---- what is in memory ---- */

/* A mapping of our own asks the page cache, whatever LMDB has mapped. */
static bool piece_is_resident(int fd, uint64_t offset, size_t len, uint8_t *pages)
{
    void *map = mmap(NULL, len, PROT_READ, MAP_SHARED, fd, (off_t)offset);
    if (map == MAP_FAILED)
        return false;
    size_t n = (len + 4095) / 4096;
    bool all = mincore(map, len, pages) == 0;
    for (size_t i = 0; all && i < n; i++)
        all = pages[i] & 1;
    munmap(map, len);
    return all;
}

void btree_look(struct btree *b)
{
    MDB_envinfo info;
    MDB_stat stat;
    mdb_filehandle_t fd;
    uint8_t *pages = malloc(LOOK_PIECE / 4096);
    btree_figures(b, &stat, &info);
    bool all = pages && mdb_env_get_fd(b->mdb, &fd) == MDB_SUCCESS;
    uint64_t size = all ? (uint64_t)(info.me_last_pgno + 1) * 4096 : 0;
    for (uint64_t at = 0; all && at < size; at += LOOK_PIECE)
        all = piece_is_resident(fd, at, size - at < LOOK_PIECE ? (size_t)(size - at) : LOOK_PIECE, pages);
    free(pages);
    __atomic_store_n(&b->resident, all, __ATOMIC_RELAXED);
    if (!all && size && size <= __atomic_load_n(&b->options.cache_bytes, __ATOMIC_RELAXED))
        (void)!posix_fadvise(fd, 0, (off_t)size, POSIX_FADV_WILLNEED); /* it has been promised the memory */
}

/* ---- dead ranges ---- */

struct place {
    uint8_t key[ENGINE_KEY_MAX];
    size_t len;
};
struct drop {
    struct place from, to; /* the range's record, or where to go on looking: before and after a step */
    uint64_t keys, ranges;
    bool more;
};

static bool range_of(const MDB_val *k, struct slice value, struct slice *start)
{
    *start = slice_of((const uint8_t *)k->mv_data + 1, k->mv_size - 1);
    return start->len && value.len && value.len <= ENGINE_KEY_MAX && start->data[0] != REGION_DEAD &&
           slice_cmp(*start, value) < 0;
}

/* Deletes keys from start on that are below end, at most `most`. */
static int delete_some(MDB_cursor *c, struct slice start, struct slice end, unsigned most, unsigned *done)
{
    MDB_val k = {start.len, (void *)(uintptr_t)start.data}, v;
    int rc = mdb_cursor_get(c, &k, &v, MDB_SET_RANGE);
    for (*done = 0; rc == MDB_SUCCESS && *done < most; ++*done) {
        if (slice_cmp(slice_of(k.mv_data, k.mv_size), end) >= 0)
            return MDB_NOTFOUND;
        if ((rc = mdb_cursor_del(c, 0)) == MDB_SUCCESS)
            rc = mdb_cursor_get(c, &k, &v, MDB_NEXT);
    }
    return rc;
}

/* The range whose record is at or behind the place; the place is moved to it. Bounds are copied, since deleting moves
 * what LMDB shows. MDB_NOTFOUND: there is none. *good: it makes sense. */
static int next_range(MDB_cursor *c, struct place *at, struct place *start, struct place *end, bool *good)
{
    MDB_val k = {at->len, at->key}, stored;
    struct slice value, first;
    int rc = mdb_cursor_get(c, &k, &stored, MDB_SET_RANGE);
    if (rc != MDB_SUCCESS)
        return rc;
    if (((const uint8_t *)k.mv_data)[0] != REGION_DEAD)
        return MDB_NOTFOUND;
    memcpy(at->key, k.mv_data, k.mv_size);
    at->len = k.mv_size;
    *good = btree_value(slice_of(at->key, at->len), &stored, &value) && range_of(&k, value, &first);
    if (!*good)
        return MDB_SUCCESS;
    memcpy(start->key, first.data, first.len);
    start->len = first.len;
    memcpy(end->key, value.data, value.len);
    end->len = value.len;
    return MDB_SUCCESS;
}

static void behind(struct place *at)
{
    if (at->len < ENGINE_KEY_MAX)
        at->key[at->len++] = 0;
    else
        at->key[at->len - 1]++;
}

/* One step: ranges in their order, as many keys as a transaction should delete; a range's record goes with the last of
 * its keys. */
static int drop_step(struct btree *b, MDB_txn *txn, void *arg, enum result *r)
{
    struct drop *d = arg;
    struct place start, end;
    MDB_cursor *c;
    unsigned left = STEP, done;
    bool good;
    int rc = mdb_cursor_open(txn, b->dbi, &c);
    (void)r;
    if (rc != MDB_SUCCESS)
        return rc;
    d->keys = d->ranges = 0;
    d->to = d->from; /* a transaction that is tried again begins where this one did */
    while (left && (rc = next_range(c, &d->to, &start, &end, &good)) == MDB_SUCCESS) {
        if (good) {
            rc = delete_some(c, slice_of(start.key, start.len), slice_of(end.key, end.len), left, &done);
            d->keys += done;
            left -= done;
            if (rc == MDB_SUCCESS)
                continue; /* as many as should be */
            MDB_val record = {d->to.len, d->to.key};
            if (rc == MDB_NOTFOUND && (rc = mdb_del(txn, b->dbi, &record, NULL)) == MDB_SUCCESS) {
                d->ranges++;
                left--;
            }
            if (rc != MDB_SUCCESS)
                break;
        }
        behind(&d->to);
    }
    d->more = left == 0;
    mdb_cursor_close(c);
    return rc == MDB_NOTFOUND ? MDB_SUCCESS : rc;
}

static bool any_dead(struct btree *b)
{
    struct engine_view *v = btree_view_acquire(&b->engine);
    static const uint8_t from[] = {REGION_DEAD}, to[] = {REGION_DEAD + 1};
    struct iter *it;
    enum result r = btree_iter(v, slice_of(from, 1), slice_of(to, 1), 0, &it);
    if (r == RES_OK) {
        r = iter_seek(it, slice_of(NULL, 0));
        iter_close(it);
    }
    btree_view_release(v);
    return r == RES_OK;
}

enum result btree_drop_dead(struct btree *b, const atomic_bool *stop)
{
    struct drop d = {.from = {{REGION_DEAD}, 1}};
    enum result r = RES_OK;
    bool changed = false;
    if (!b->writes || !any_dead(b))
        return RES_OK;
    do {
        os_mutex_lock(&b->write_lock);
        r = btree_write(b, drop_step, &d);
        os_mutex_unlock(&b->write_lock);
        os_mutex_lock(&b->lock);
        b->dropped += d.keys;
        b->ranges += d.ranges;
        os_mutex_unlock(&b->lock);
        changed |= d.keys || d.ranges;
        d.from = d.to;
        if (changed && b->options.on_change) /* or old pages could not be used again */
            b->options.on_change(b->options.arg);
        if (r == RES_OK && d.more && stop && atomic_load(stop))
            r = RES_CLOSED;
    } while (r == RES_OK && d.more && !__atomic_load_n(&b->stopping, __ATOMIC_RELAXED));
    if (r == RES_NO_SPACE && b->options.on_full)
        b->options.on_full(b->options.arg);
    return r;
}

/* ---- the thread ---- */

static void tend(void *arg)
{
    struct btree *b = arg;
    struct env *clock = env_posix();
    uint64_t pause = LOOK_LEAST_NS;
    bool retry = false;
    os_mutex_lock(&b->lock);
    while (!b->stopping) {
        (void)os_cond_wait_for(&b->wake, &b->lock, pause);
        if (b->stopping)
            break;
        bool dead = b->dead_due || retry;
        b->dead_due = false;
        os_mutex_unlock(&b->lock);
        uint64_t from = clock->ops->mono_ns(clock);
        btree_look(b);
        pause = (clock->ops->mono_ns(clock) - from) * LOOK_SHARE;
        if (pause < LOOK_LEAST_NS)
            pause = LOOK_LEAST_NS;
        enum result r = dead ? btree_drop_dead(b, NULL) : RES_OK;
        retry = r == RES_NO_SPACE || r == RES_NO_MEMORY;
        if (retry)
            pause = 1000000000;
        epoch_poll();
        os_mutex_lock(&b->lock);
    }
    os_mutex_unlock(&b->lock);
}

enum result btree_start(struct btree *b)
{
    b->dead_due = b->writes;
    enum result r = os_thread_start(&b->thread, "tree", tend, b);
    b->started = r == RES_OK;
    return r;
}

void btree_stop(struct btree *b)
{
    os_mutex_lock(&b->lock);
    __atomic_store_n(&b->stopping, true, __ATOMIC_RELAXED);
    os_cond_broadcast(&b->wake);
    os_mutex_unlock(&b->lock);
    if (b->started)
        os_thread_join(&b->thread);
}
