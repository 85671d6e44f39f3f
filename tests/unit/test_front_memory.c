/* No memory: in a run over the front and an lsm engine with real files, the n-th allocation fails, for every n until there are
 * no more of them. Whatever that hits, a command, a flush, a compaction, a checkpoint, opening or closing: it answers a code,
 * the process lives, and what was acknowledged is there when the directory is opened with memory again.
 *
 * The linker puts the functions below in front of malloc, calloc and realloc of everything that is linked in. */
#include <stdlib.h>
#include <unistd.h>

#include "base/epoch.h"
#include "base/log.h"
#include "front/front.h"
#include "tests/lib/tap.h"

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t size);

static _Atomic int64_t left = INT64_MAX; /* allocations until one fails */

static bool fails(void) { return atomic_fetch_sub_explicit(&left, 1, memory_order_relaxed) == 1; }
void *__wrap_malloc(size_t size) { return fails() ? NULL : __real_malloc(size); }
void *__wrap_calloc(size_t n, size_t size) { return fails() ? NULL : __real_calloc(n, size); }
void *__wrap_realloc(void *p, size_t size) { return fails() ? NULL : __real_realloc(p, size); }

#define KEYS 40
#define COMMITS 120
#define VALUE 60

static char dir[512], copy[600];
static uint32_t acknowledged[KEYS]; /* the commit that wrote it last, or 0 */
static uint32_t written[KEYS];      /* the same, but perhaps it failed */

static struct front_options options(void)
{
    return (struct front_options){.env = env_posix(),
                                  .engine = &engine_lsm,
                                  .dir = dir,
                                  .create = true,
                                  .fsync = FRONT_FSYNC_NO,
                                  .memtable_bytes = 5000,
                                  .log_segment_bytes = 65536,
                                  .log_ring_bytes = 65536,
                                  .tuning = {.table_bytes = 2048,
                                             .block_bytes = 512,
                                             .base_level_bytes = 4096,
                                             .cache_bytes = 1 << 18,
                                             .compression = {{0}, {ENGINE_PACK_LZ4, 0}, {ENGINE_PACK_ZSTD, 1}}}};
}

static struct engine_key key_of(int i, char text[16])
{
    int n = snprintf(text, 16, "%c%06d", "ME"[i % 2], i);
    struct slice s = slice_of((const uint8_t *)text, (size_t)n);
    return (struct engine_key){s, engine_hash(s)};
}

static void value_of(int i, uint32_t commit, char out[VALUE + 1]) { snprintf(out, VALUE + 1, "%028d%032u", i, commit); }

/* One commit of two records, of one database's counter, and sometimes of a private table with a third. */
static enum result commit(struct front *f, uint32_t number)
{
    char names[3][16], values[3][VALUE + 1];
    int which[3] = {(int)(number * 7 % KEYS), (int)((number * 7 + 11) % KEYS), (int)((number * 7 + 20) % KEYS)};
    struct batch_record records[3];
    struct batch_counter counter = {number % 50, 1, 0};
    struct batch b = {
        .records = records, .count = 2, .counters = &counter, .counter_count = 1, .now_ms = 1000 + number};
    for (int i = 0; i < 3; i++) {
        value_of(which[i], number, values[i]);
        records[i] =
            (struct batch_record){key_of(which[i], names[i]), slice_of((uint8_t *)values[i], VALUE), RECORD_PUT};
    }
    enum result res = RES_OK;
    bool table = number % 9 == 0;
    if (table) {
        res = front_table_begin(f, &b.table);
        if (res != RES_OK)
            return res;
        res = front_table_add(f, b.table, records[2].key.bytes, RECORD_PUT, records[2].value);
        if (res == RES_OK)
            res = front_table_finish(f, b.table, &b.table_number);
    }
    for (int tries = 0; res == RES_OK && (res = front_reserve(f, &b)) == RES_WOULD_BLOCK && tries < 20000; tries++) {
        front_kick(f);
        usleep(50);
        res = RES_OK;
    }
    if (res != RES_OK) {
        if (table)
            front_table_abort(f, b.table);
        return res;
    }
    for (int i = 0; i < (table ? 3 : 2); i++)
        written[which[i]] = number;
    uint64_t sequence = front_commit(f, &b);
    front_kick(f);
    res = front_wait(f, sequence);
    for (int i = 0; res == RES_OK && i < (table ? 3 : 2); i++)
        acknowledged[which[i]] = number;
    return res;
}

/* An error is right, and so is a value at or above the acknowledged one. */
static void look(struct front *f, bool must)
{
    struct front_view *v = front_view_ref(f);
    if (!v) {
        tap_check(!must);
        return;
    }
    for (int i = 0; i < KEYS; i++) {
        char name[16], want[VALUE + 1];
        uint8_t *value = NULL;
        size_t len = 0;
        struct engine_key key = key_of(i, name);
        enum result res = front_get_wait(v, front_snapshot(v), &key, &value, &len);
        if (res == RES_OK) {
            char digits[33] = "";
            if (len == VALUE)
                memcpy(digits, value + 28, 32);
            uint32_t by = (uint32_t)strtoul(digits, NULL, 10);
            value_of(i, by, want);
            tap_check(len == VALUE && memcmp(value, want, 28) == 0 && by >= acknowledged[i] && by <= written[i]);
        } else {
            tap_check(!must || (res == RES_NOT_FOUND && acknowledged[i] == 0));
            tap_check(res != RES_NOT_FOUND || acknowledged[i] == 0);
        }
        free(value);
    }
    struct iter *it;
    if (front_iter(v, front_snapshot(v), slice_of(NULL, 0), slice_of(NULL, 0), 0, &it) == RES_OK) {
        enum result res = iter_seek(it, slice_of(NULL, 0));
        while (res == RES_OK)
            res = iter_next(it);
        for (res = iter_seek_last(it, slice_of(NULL, 0)); res == RES_OK; res = iter_prev(it))
            ;
        iter_close(it);
    } else {
        tap_check(!must);
    }
    front_view_unref(v);
}

static void life(void)
{
    struct front_options o = options();
    struct front *f;
    struct errmsg msg;
    uint64_t sequence;
    if (front_open(&o, &f, &msg) != RES_OK)
        return;
    for (uint32_t i = 1; i <= COMMITS; i++) {
        (void)!commit(f, i);
        if (i % 40 == 20)
            look(f, false);
        if (i == 70 && front_flush(f) == RES_OK && front_checkpoint(f, copy, NULL, &sequence, &msg) == RES_OK)
            (void)!front_checkpoint_remove(o.env, copy);
    }
    (void)!front_compact(f);
    (void)!front_check(f, &msg);
    look(f, false);
    (void)!front_close(f);
}

static void the_nth_allocation_fails(void)
{
    int64_t n = 1, step = tap_long() ? 1 : TAP_THREAD_SANITIZER || TAP_ADDRESS_SANITIZER ? 23 : TAP_COVERAGE ? 3 : 7;
    for (;; n += step) {
        memset(acknowledged, 0, sizeof(acknowledged));
        memset(written, 0, sizeof(written));
        tap_require(env_remove_tree(env_posix(), dir) == RES_OK && env_remove_tree(env_posix(), copy) == RES_OK);
        atomic_store(&left, n);
        life();
        bool reached = atomic_exchange(&left, INT64_MAX) <= 0;
        struct front_options o = options();
        struct front *f;
        struct errmsg msg = {0};
        if (tap_check(front_open(&o, &f, &msg) == RES_OK)) {
            look(f, true);
            if (!tap_check(front_check(f, &msg) == RES_OK))
                tap_diag("allocation %lld: %s", (long long)n, msg.text);
            tap_check(front_close(f) == RES_OK);
        } else {
            tap_diag("allocation %lld: %s", (long long)n, msg.text);
        }
        if (!reached)
            break;
    }
    tap_diag("%lld allocations", (long long)n);
}

int main(void)
{
    const char *above = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : getenv("TMPDIR"); /* thousands of syncs */
    log_set_level(LOG_NOTHING);
    snprintf(dir, sizeof(dir), "%s/varve-memory-XXXXXX", above ? above : "/tmp");
    tap_require(mkdtemp(dir) != NULL);
    snprintf(copy, sizeof(copy), "%s-copy", dir);
    tap_test(the_nth_allocation_fails);
    (void)!env_remove_tree(env_posix(), dir);
    (void)!env_remove_tree(env_posix(), copy);
    return tap_done();
}
