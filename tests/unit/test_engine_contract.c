/* What every engine must do, whatever it is made of (engine.h). Random runs, private tables, views, iterators and
 * restarts are compared with a model: an array with one entry for each of a few hundred keys.
 *
 * 1. get() and iterators show exactly the newest record of each key, tombstones hidden; a view shows the same for as
 *    long as it is held, whatever is absorbed, attached and compacted meanwhile.
 * 2. From every record an iterator goes both ways, and seeks land where the bounds say.
 * 3. NOWAIT never waits: a miss is reported, fill() brings what it names, and the retry needs no more than that.
 * 4. absorb and attach install their boundary with their data; a persistent engine finds both again.
 * 5. A private table is readable before it is attached, is the newest data afterwards, and leaves nothing behind when it
 *    is aborted.
 * 6. A checkpoint is a directory that opens as what the engine was, whatever the engine does afterwards.
 * 7. What lies in a dead range goes, and so does the range's record; also over a restart. */
#include <ftw.h>

#include "base/epoch.h"
#include "base/hash.h"
#include "engine/engine.h"
#include "os/env_memory.h"
#include "os/thread.h"
#include "tests/lib/tap.h"

#if TAP_THREAD_SANITIZER || TAP_COVERAGE /* here only the races are looked for, or the ways that are gone */
#define HISTORIES 2
#define VIEW_STEPS 20
#else
#define HISTORIES 6
#define VIEW_STEPS 60
#endif

#define KEYS 400
#define MODELS 4

static uint64_t rng_state;
static uint64_t rng(void) { return hash_mix(rng_state += 0x9e3779b97f4a7c15u); }
static uint64_t below(uint64_t n) { return rng() % n; }

/* ---- keys and values ---- */

static uint8_t key_bytes[KEYS][ENGINE_KEY_MAX];
static struct slice keys[KEYS]; /* ascending */

static int by_key(const void *a, const void *b)
{
    return slice_cmp(*(const struct slice *)a, *(const struct slice *)b);
}

static void make_keys(void)
{
    static const char regions[] = "EMSX";
    for (size_t i = 0; i < KEYS; i++) {
        uint8_t *p = key_bytes[i];
        size_t n = 0;
        p[n++] = (uint8_t)regions[i % 4];
        n += (size_t)snprintf((char *)p + n, 20, "%c%03zu", (char)('a' + below(3)), i);
        if (i % 7 == 0) /* long ones, ones that are a beginning of others, ones with zeros */
            for (size_t more = below(400); more; more--)
                p[n++] = (uint8_t)below(256);
        keys[i] = slice_of(p, n);
    }
    qsort(keys, KEYS, sizeof keys[0], by_key);
}

static struct engine_key ekey(size_t i) { return (struct engine_key){keys[i], engine_hash(keys[i])}; }

static uint8_t value_room[64 * 1024];
/* The value of version v of any key: its length and bytes follow from v. */
static struct slice value_of(uint32_t v)
{
    uint64_t h = hash_mix(v);
    size_t len = h % 150;
    if (h >> 40 & 15 ? 0 : 1)
        len = h % sizeof value_room;
    for (size_t i = 0; i < len; i++)
        value_room[i] = (uint8_t)(h + i * 31);
    return slice_of(value_room, len);
}

/* ---- the model ---- */

struct model {
    uint32_t version[KEYS]; /* 0: absent */
};
static uint32_t last_version;

struct fixture {
    const struct engine_ops *ops;
    struct env *env;
    struct engine *engine;
    struct engine_options options;
    struct model model;
    uint64_t sequence;
    bool real; /* an engine that goes past the environment to files of its own: it has a directory on the disk */
    char dir[80];
};

static void open_engine(struct fixture *f)
{
    struct slice state;
    struct errmsg msg = {""};
    uint64_t sequence;
    enum result r = f->ops->open(&f->options, &f->engine, &sequence, &state, &msg);
    if (r != RES_OK)
        tap_diag("open: %s", msg.text);
    tap_require(r == RES_OK);
    tap_eq_u64(sequence, f->sequence);
    tap_check(f->sequence == 0 ? state.data == NULL : state.len == 8 && memcmp(state.data, &f->sequence, 8) == 0);
    free((void *)(uintptr_t)state.data);
}

static void setup(struct fixture *f, const struct engine_ops *ops, uint64_t seed)
{
    rng_state = seed;
    make_keys();
    *f = (struct fixture){.ops = ops, .real = ops == &engine_btree, .dir = "/db"};
    if (f->real) {
        const char *above = getenv("TMPDIR");
        snprintf(f->dir, sizeof f->dir, "%s/varve-XXXXXX", above && strlen(above) < 40 ? above : "/tmp");
        tap_require(mkdtemp(f->dir) != NULL);
        f->env = env_posix();
    } else {
        f->env = env_memory_new(seed, ENV_MEMORY_PLAIN);
        tap_require(f->env->ops->mkdir(f->env, f->dir) == RES_OK);
    }
    f->options = (struct engine_options){
        .env = f->env,
        .dir = f->dir,
        .cache_bytes = 64 * 1024,
        .block_bytes = 256,
        .table_bytes = f->real ? 1 << 20 : 8 * 1024,
        .max_open_tables = seed % 2 ? 3 : 0,
        .create = true,
    };
    open_engine(f);
}

static int remove_one(const char *path, const struct stat *st, int what, struct FTW *at)
{
    (void)st, (void)what, (void)at;
    return remove(path);
}

static void teardown(struct fixture *f)
{
    f->ops->close(f->engine);
    if (f->real) {
        tap_check(nftw(f->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS) == 0);
        return;
    }
    tap_eq_u64(env_memory_open_files(f->env), 0);
    env_memory_free(f->env);
}

static struct engine_boundary boundary_of(struct fixture *f)
{
    f->sequence++;
    return (struct engine_boundary){f->sequence, slice_of(&f->sequence, 8)};
}

/* A random run as an array; applies it to the model. Values are malloc'd. */
static size_t random_run(struct fixture *f, struct iter_record *records, unsigned percent)
{
    size_t n = 0, from = below(KEYS), to = from + below(KEYS - from) + 1;
    if (below(3) == 0)
        from = 0, to = KEYS;
    for (size_t i = from; i < to; i++) {
        if (below(100) >= percent)
            continue;
        struct iter_record *r = &records[n++];
        *r = (struct iter_record){.key = keys[i], .kind = below(4) ? RECORD_PUT : RECORD_DELETE};
        f->model.version[i] = 0;
        if (r->kind == RECORD_DELETE)
            continue;
        f->model.version[i] = ++last_version;
        struct slice v = value_of(last_version);
        uint8_t *copy = malloc(v.len + 1);
        memcpy(copy, v.data, v.len);
        r->value = slice_of(copy, v.len);
    }
    return n;
}

static void free_run(struct iter_record *records, size_t n)
{
    for (size_t i = 0; i < n; i++)
        free((void *)(uintptr_t)records[i].value.data);
}

static void absorb_some(struct fixture *f)
{
    static struct iter_record records[KEYS];
    size_t n = random_run(f, records, 5 + (unsigned)below(60));
    struct iter *run;
    tap_require(iter_over_array(records, n, slice_of(NULL, 0), slice_of(NULL, 0), &run) == RES_OK);
    struct engine_boundary b = boundary_of(f);
    tap_check(f->ops->absorb(f->engine, run, &b) == RES_OK);
    iter_close(run);
    free_run(records, n);
}

/* ---- comparing ---- */

/* A get as the front does it: without waiting, then fill and again. */
static enum result get_patiently(struct fixture *f, struct engine_view *v, const struct engine_key *key,
                                 struct slice *value, struct engine_miss *miss)
{
    for (int tries = 0; tries < 64; tries++) {
        enum result r = f->ops->get(v, key, ENGINE_NOWAIT, value, miss);
        if (r != RES_WOULD_BLOCK)
            return r;
        epoch_leave();
        r = f->ops->fill(f->engine, miss);
        epoch_enter();
        if (r != RES_OK)
            return r;
    }
    return RES_WOULD_BLOCK;
}

static bool same_gets(struct fixture *f, struct engine_view *v, const struct model *m)
{
    bool good = true;
    for (size_t i = 0; i < KEYS; i++) {
        struct engine_key key = ekey(i);
        struct engine_miss miss = {0};
        struct slice value;
        epoch_enter();
        enum result r = below(2) ? get_patiently(f, v, &key, &value, &miss) : f->ops->get(v, &key, 0, &value, NULL);
        if (m->version[i] == 0)
            good &= r == RES_NOT_FOUND;
        else
            good &= r == RES_OK && slice_eq(value, value_of(m->version[i]));
        f->ops->miss_fini(f->engine, &miss);
        epoch_leave();
    }
    return good;
}

static bool stands_on(const struct iter *it, const struct model *m, size_t i)
{
    return slice_eq(it->key, keys[i]) && it->kind == RECORD_PUT && slice_eq(it->value, value_of(m->version[i]));
}

/* The next present key from i on in a direction within [lo, hi), or KEYS. */
static size_t present(const struct model *m, int64_t i, int step, size_t lo, size_t hi)
{
    for (; i >= (int64_t)lo && i < (int64_t)hi; i += step)
        if (m->version[i])
            return (size_t)i;
    return KEYS;
}

static bool agrees(enum result r, const struct iter *it, const struct model *m, size_t want)
{
    return want == KEYS ? r == RES_NOT_FOUND : r == RES_OK && stands_on(it, m, want);
}

static bool same_scan(struct fixture *f, struct engine_view *v, const struct model *m, size_t lo, size_t hi)
{
    struct iter *it;
    bool good = true;
    struct slice none = slice_of(NULL, 0);
    if (f->ops->iter_open(v, lo ? keys[lo] : none, hi < KEYS ? keys[hi] : none, 0, &it) != RES_OK)
        return false;
    size_t want = present(m, (int64_t)lo, 1, lo, hi);
    for (enum result r = iter_seek(it, none); good; r = iter_next(it)) {
        good = agrees(r, it, m, want);
        if (want == KEYS)
            break;
        want = present(m, (int64_t)want + 1, 1, lo, hi);
    }
    want = present(m, (int64_t)hi - 1, -1, lo, hi);
    for (enum result r = iter_seek_last(it, none); good; r = iter_prev(it)) {
        good = agrees(r, it, m, want);
        if (want == KEYS)
            break;
        want = present(m, (int64_t)want - 1, -1, lo, hi);
    }
    iter_close(it);
    return good;
}

/* Seeks everywhere, and a walk with turns. */
static bool same_walk(struct fixture *f, struct engine_view *v, const struct model *m)
{
    struct iter *it;
    bool good = true;
    struct slice none = slice_of(NULL, 0);
    if (f->ops->iter_open(v, none, none, below(2) ? ITER_NO_FILL : 0, &it) != RES_OK)
        return false;
    for (size_t start = 0; start < KEYS && good; start++) {
        bool forward = below(2);
        size_t at = forward ? present(m, (int64_t)start, 1, 0, KEYS) : present(m, (int64_t)start - 1, -1, 0, KEYS);
        enum result r = forward ? iter_seek(it, keys[start]) : iter_seek_last(it, keys[start]);
        good = agrees(r, it, m, at);
        for (int steps = 6; steps && good && at != KEYS; steps--) {
            int step = below(2) ? 1 : -1;
            at = present(m, (int64_t)at + step, step, 0, KEYS);
            good = agrees(step > 0 ? iter_next(it) : iter_prev(it), it, m, at);
        }
    }
    iter_close(it);
    return good;
}

static bool same(struct fixture *f, struct engine_view *v, const struct model *m)
{
    size_t lo = below(KEYS), hi = lo + below(KEYS - lo) + 1;
    bool gets = same_gets(f, v, m), all = same_scan(f, v, m, 0, KEYS), part = same_scan(f, v, m, lo, hi);
    bool walk = same_walk(f, v, m);
    if (!gets || !all || !part || !walk)
        tap_diag("gets %d, whole scan %d, scan of [%zu, %zu) %d, walk %d", gets, all, lo, hi, part, walk);
    return gets && all && part && walk;
}

static bool same_now(struct fixture *f)
{
    struct engine_view *v = f->ops->view_acquire(f->engine);
    bool good = same(f, v, &f->model);
    f->ops->view_release(v);
    return good;
}

/* ---- private tables ---- */

static struct engine_table *write_private(struct fixture *f, struct iter_record *records, size_t n, uint64_t *number)
{
    struct engine_table *t;
    tap_require(f->ops->table_begin(f->engine, &t) == RES_OK);
    for (size_t i = 0; i < n; i++)
        tap_check(f->ops->table_add(t, records[i].key, records[i].kind, records[i].value) == RES_OK);
    tap_require(f->ops->table_finish(t, number) == RES_OK);
    return t;
}

static bool private_shows(struct fixture *f, struct engine_table *t, const struct iter_record *records, size_t n)
{
    struct iter *it;
    struct slice none = slice_of(NULL, 0);
    bool good = true;
    epoch_enter();
    for (size_t i = 0; i < n; i++) {
        struct engine_key key = {records[i].key, engine_hash(records[i].key)};
        struct slice value;
        uint8_t kind = 0;
        good &= f->ops->table_get(t, &key, 0, &kind, &value, NULL) == RES_OK && kind == records[i].kind &&
                slice_eq(value, records[i].value);
    }
    epoch_leave();
    if (f->ops->table_iter(t, none, none, ITER_TOMBSTONES, &it) != RES_OK)
        return false;
    enum result r = iter_seek(it, none);
    for (size_t i = 0; i < n && good; i++, r = iter_next(it))
        good = r == RES_OK && slice_eq(it->key, records[i].key) && it->kind == records[i].kind &&
               slice_eq(it->value, records[i].value);
    good &= r == RES_NOT_FOUND;
    iter_close(it);
    return good;
}

static void attach_some(struct fixture *f)
{
    static struct iter_record records[KEYS];
    struct model before = f->model;
    size_t n = random_run(f, records, 30);
    uint64_t number;
    if (n == 0)
        return;
    struct engine_table *t = write_private(f, records, n, &number);
    tap_check(private_shows(f, t, records, n));
    struct model after = f->model;
    f->model = before;
    struct engine_view *v = f->ops->view_acquire(f->engine);
    tap_check(same_gets(f, v, &before)); /* nobody sees it yet */
    f->ops->view_release(v);
    f->model = after;
    struct engine_boundary b = boundary_of(f);
    tap_check(f->ops->attach(f->engine, t, &b) == RES_OK);
    tap_check(private_shows(f, t, records, n));
    f->ops->table_release(t);
    free_run(records, n);
}

/* ---- tests, each for every engine ---- */

static const struct engine_ops *engine_under_test;

static void an_empty_engine_has_nothing(void)
{
    struct fixture f;
    setup(&f, engine_under_test, 1);
    tap_check(same_now(&f));
    struct engine_boundary b = boundary_of(&f);
    tap_check(f.ops->absorb(f.engine, NULL, &b) == RES_OK);
    tap_check(same_now(&f));
    teardown(&f);
}

static void random_histories_agree_with_the_model(void)
{
    int histories = tap_long() ? 60 : HISTORIES;
    for (int h = 0; h < histories; h++) {
        struct fixture f;
        setup(&f, engine_under_test, 100 + (uint64_t)h);
        for (int step = 0; step < 40; step++) {
            uint64_t what = below(12);
            if (what < 7)
                absorb_some(&f);
            else if (what < 9)
                attach_some(&f);
            else if (what < 10)
                tap_check(f.ops->compact(f.engine, slice_of(NULL, 0), slice_of(NULL, 0), NULL) == RES_OK);
            else if (what < 11)
                f.ops->set_cache_bytes(f.engine, below(200 * 1024));
            else if (f.ops->persistent) {
                f.ops->close(f.engine);
                open_engine(&f);
                tap_check(f.ops->table_sweep(f.engine) == RES_OK);
            }
            if (!tap_check(same_now(&f))) {
                tap_diag("history %d, step %d", h, step);
                break;
            }
        }
        struct errmsg msg = {""};
        if (!tap_check(f.ops->check(f.engine, &msg) == RES_OK))
            tap_diag("%s", msg.text);
        teardown(&f);
    }
}

static void views_stay_as_they_were(void)
{
    struct fixture f;
    struct engine_view *views[MODELS];
    static struct model models[MODELS];

    setup(&f, engine_under_test, 7);
    for (int i = 0; i < MODELS; i++)
        views[i] = NULL;
    for (int step = 0; step < (tap_long() ? 400 : VIEW_STEPS); step++) {
        absorb_some(&f);
        int i = (int)below(MODELS);
        if (views[i]) {
            tap_check(same(&f, views[i], &models[i]));
            f.ops->view_release(views[i]);
        }
        models[i] = f.model;
        views[i] = f.ops->view_acquire(f.engine);
        if (below(8) == 0)
            tap_check(f.ops->compact(f.engine, slice_of(NULL, 0), slice_of(NULL, 0), NULL) == RES_OK);
    }
    for (int i = 0; i < MODELS; i++) {
        if (!views[i])
            continue;
        tap_check(same(&f, views[i], &models[i]));
        f.ops->view_release(views[i]);
    }
    teardown(&f);
}

static void an_iterator_outlives_its_view_and_an_epoch_section(void)
{
    struct fixture f;
    struct iter *it;
    struct slice none = slice_of(NULL, 0);
    setup(&f, engine_under_test, 8);
    absorb_some(&f);
    absorb_some(&f);
    struct model m = f.model;
    struct engine_view *v = f.ops->view_acquire(f.engine);
    tap_require(f.ops->iter_open(v, none, none, 0, &it) == RES_OK);
    f.ops->view_release(v);
    size_t want = present(&m, 0, 1, 0, KEYS);
    enum result r = iter_seek(it, none);
    while (tap_check(agrees(r, it, &m, want)) && want != KEYS) {
        if (below(10) == 0) {
            absorb_some(&f);
            f.ops->set_cache_bytes(f.engine, below(2) ? 0 : 64 * 1024);
            tap_check(f.ops->compact(f.engine, none, none, NULL) == RES_OK);
            epoch_poll();
        }
        want = present(&m, (int64_t)want + 1, 1, 0, KEYS);
        r = iter_next(it);
    }
    iter_close(it);
    teardown(&f);
}

static void an_aborted_private_table_leaves_nothing(void)
{
    struct fixture f;
    static struct iter_record records[KEYS];
    struct engine_table *t;
    uint64_t number;

    setup(&f, engine_under_test, 9);
    absorb_some(&f);
    struct model before = f.model;
    size_t n = 0;
    while (n == 0)
        n = random_run(&f, records, 40);
    f.model = before;
    t = write_private(&f, records, n, &number);
    f.ops->table_abort(t);
    tap_require(f.ops->table_begin(f.engine, &t) == RES_OK);
    tap_check(f.ops->table_add(t, records[0].key, records[0].kind, records[0].value) == RES_OK);
    f.ops->table_abort(t);
    tap_check(same_now(&f));
    tap_check(f.ops->table_open(f.engine, number + 1000, &t) != RES_OK);
    free_run(records, n);
    teardown(&f);
}

static void private_tables_are_found_by_number_after_a_restart(void)
{
    struct fixture f;
    static struct iter_record records[KEYS];
    uint64_t number, other;

    setup(&f, engine_under_test, 10);
    if (!f.ops->persistent) {
        teardown(&f);
        tap_skip("not persistent");
        return;
    }
    absorb_some(&f);
    struct model before = f.model;
    size_t n = 0;
    while (n == 0)
        n = random_run(&f, records, 40);
    f.ops->table_release(write_private(&f, records, n, &number));
    f.ops->table_release(write_private(&f, records, n, &other));
    struct model after = f.model;
    f.model = before;
    f.ops->close(f.engine);
    open_engine(&f);
    tap_check(same_now(&f));
    struct engine_table *t;
    tap_require(f.ops->table_open(f.engine, number, &t) == RES_OK);
    tap_check(f.ops->table_sweep(f.engine) == RES_OK);
    tap_check(private_shows(&f, t, records, n));
    struct engine_boundary b = boundary_of(&f);
    tap_check(f.ops->attach(f.engine, t, &b) == RES_OK);
    f.ops->table_release(t);
    f.model = after;
    tap_check(same_now(&f));
    tap_check(f.ops->table_open(f.engine, other, &t) == RES_NOT_FOUND); /* swept */
    f.ops->close(f.engine);
    open_engine(&f);
    tap_check(same_now(&f));
    free_run(records, n);
    teardown(&f);
}

static bool has_file(struct fixture *f, const char *path)
{
    struct env_file *file;
    if (f->env->ops->open(f->env, path, ENV_READ, &file) != RES_OK)
        return false;
    (void)file->ops->close(file);
    return true;
}

/* The files of a private table are gone, and its number is given once more: to what is absorbed, which is then merged into
 * something else and stays for a view that needs it. None of that is the private table. */
static void another_file_is_not_taken_for_a_private_table(void)
{
    static const char *const names[][2] = {{"sst", "sst"}, {"data", "dat"}, {"data", "hint"}};
    struct fixture f;
    struct engine_table *t = NULL;
    uint64_t number;
    char path[3][120];

    setup(&f, engine_under_test, 12);
    if (!f.ops->persistent || f.real) {
        teardown(&f);
        tap_skip("not persistent, or no files of this environment");
        return;
    }
    absorb_some(&f);
    struct iter_record record = {.key = keys[7], .value = SLICE_LIT("private"), .kind = RECORD_PUT};
    f.ops->table_release(write_private(&f, &record, 1, &number));
    f.ops->close(f.engine);
    for (int i = 0; i < 3; i++) {
        snprintf(path[i], sizeof path[i], "%s/%s/%06d.%s", f.dir, names[i][0], (int)number, names[i][1]);
        (void)f.env->ops->unlink(f.env, path[i]);
    }
    open_engine(&f);
    tap_check(f.ops->table_open(f.engine, number, &t) == RES_NOT_FOUND && !t);
    absorb_some(&f);
    absorb_some(&f);
    tap_check(has_file(&f, path[0]) || has_file(&f, path[1]));
    struct engine_view *v = f.ops->view_acquire(f.engine);
    tap_check(f.ops->table_open(f.engine, number, &t) == RES_NOT_FOUND && !t);
    tap_check(f.ops->compact(f.engine, slice_of(NULL, 0), slice_of(NULL, 0), NULL) == RES_OK);
    tap_check(has_file(&f, path[0]) || has_file(&f, path[1]));
    tap_check(f.ops->table_open(f.engine, number, &t) == RES_NOT_FOUND && !t);
    f.ops->view_release(v);
    tap_check(same_now(&f));
    teardown(&f);
}

static void nowait_reports_what_is_missing_and_fill_brings_it(void)
{
    struct fixture f;
    unsigned blocked = 0;

    setup(&f, engine_under_test, 11);
    if (!f.ops->persistent) {
        teardown(&f);
        tap_skip("everything is in memory");
        return;
    }
    if (f.real) {
        teardown(&f);
        tap_skip("what the kernel has in memory is not ours to say: test_btree_engine does it otherwise");
        return;
    }
    absorb_some(&f);
    absorb_some(&f);
    absorb_some(&f);
    struct engine_view *v = f.ops->view_acquire(f.engine);
    env_memory_set_cold(f.env, 1000);
    for (size_t i = 0; i < KEYS; i++) {
        struct engine_key key = ekey(i);
        struct engine_miss miss = {0};
        struct slice value;
        f.ops->set_cache_bytes(f.engine, 0); /* so that only what the miss holds can help */
        env_memory_chill(f.env);
        epoch_enter();
        enum result r = f.ops->get(v, &key, ENGINE_NOWAIT, &value, &miss);
        epoch_leave();
        for (int tries = 0; r == RES_WOULD_BLOCK && tries < 20; tries++) {
            blocked++;
            tap_check(f.ops->fill(f.engine, &miss) == RES_OK);
            env_memory_chill(f.env);
            epoch_enter();
            r = f.ops->get(v, &key, ENGINE_NOWAIT, &value, &miss);
            if (r == RES_OK)
                tap_check(slice_eq(value, value_of(f.model.version[i])));
            epoch_leave();
        }
        tap_check(r == (f.model.version[i] ? RES_OK : RES_NOT_FOUND));
        f.ops->miss_fini(f.engine, &miss);
    }
    tap_check(blocked > 10);
    struct iter *it;
    tap_require(f.ops->iter_open(v, slice_of(NULL, 0), slice_of(NULL, 0), ITER_NOWAIT, &it) == RES_OK);
    env_memory_chill(f.env);
    tap_check(iter_seek(it, slice_of(NULL, 0)) == RES_WOULD_BLOCK);
    iter_close(it);
    f.ops->view_release(v);
    teardown(&f);
}

static uint64_t records_in(struct fixture *f, struct slice lower, struct slice upper)
{
    struct engine_view *v = f->ops->view_acquire(f->engine);
    struct iter *it;
    uint64_t n = 0;
    tap_require(f->ops->iter_open(v, lower, upper, ITER_NO_FILL, &it) == RES_OK);
    for (enum result r = iter_seek(it, slice_of(NULL, 0)); r == RES_OK; r = iter_next(it))
        n++;
    iter_close(it);
    f->ops->view_release(v);
    return n;
}

/* Compacts until the range is empty and forgotten, for a while. */
static bool range_goes(struct fixture *f, struct slice lower, struct slice upper)
{
    struct slice dead = SLICE_LIT("G"), behind = SLICE_LIT("H");
    for (int tries = 0; tries < 200; tries++) {
        if (records_in(f, lower, upper) == 0 && records_in(f, dead, behind) == 0)
            return true;
        tap_check(f->ops->compact(f->engine, slice_of(NULL, 0), slice_of(NULL, 0), NULL) == RES_OK);
        os_sleep_ns(10000000);
    }
    return false;
}

static void what_lies_in_a_dead_range_goes(void)
{
    for (int way = 0; way < 4; way++) { /* absorbed or attached, with a restart in between or without */
        struct fixture f;
        struct slice none = slice_of(NULL, 0);
        setup(&f, engine_under_test, 20 + (uint64_t)way);
        absorb_some(&f);
        absorb_some(&f);
        size_t lo = 0, hi = 0;
        while (hi < KEYS && keys[hi].data[0] == 'E')
            hi++;
        lo = hi / 3;
        hi = hi * 2 / 3;
        uint8_t range[ENGINE_KEY_MAX + 1] = {REGION_DEAD};
        memcpy(range + 1, keys[lo].data, keys[lo].len);
        struct iter_record record = {slice_of(range, keys[lo].len + 1), keys[hi], RECORD_PUT};
        struct engine_boundary b = boundary_of(&f);
        if (way % 2) {
            uint64_t number;
            struct engine_table *t = write_private(&f, &record, 1, &number);
            tap_check(f.ops->attach(f.engine, t, &b) == RES_OK);
            f.ops->table_release(t);
        } else {
            struct iter *run;
            tap_require(iter_over_array(&record, 1, none, none, &run) == RES_OK);
            tap_check(f.ops->absorb(f.engine, run, &b) == RES_OK);
            iter_close(run);
        }
        if (way >= 2 && f.ops->persistent) {
            f.ops->close(f.engine);
            open_engine(&f);
        }
        for (size_t i = lo; i < hi; i++)
            f.model.version[i] = 0;
        tap_check(range_goes(&f, keys[lo], keys[hi]));
        tap_check(same_now(&f));
        if (f.ops->persistent) {
            f.ops->close(f.engine);
            open_engine(&f);
            tap_check(same_now(&f));
        }
        teardown(&f);
    }
}

static void a_checkpoint_opens_as_what_the_engine_was(void)
{
    struct fixture f, copy;
    setup(&f, engine_under_test, 30);
    absorb_some(&f);
    attach_some(&f);
    absorb_some(&f);
    copy = f;
    snprintf(copy.dir, sizeof copy.dir, "%.60s-copy", f.dir);
    copy.options.dir = copy.dir;
    enum result r = f.ops->checkpoint(f.engine, copy.dir, NULL);
    if (!f.ops->persistent) {
        tap_check(r == RES_UNSUPPORTED);
        teardown(&f);
        return;
    }
    tap_check(r == RES_OK);
    absorb_some(&f);
    tap_check(f.ops->compact(f.engine, slice_of(NULL, 0), slice_of(NULL, 0), NULL) == RES_OK);
    open_engine(&copy);
    tap_check(same_now(&copy));
    absorb_some(&copy);
    struct errmsg msg;
    tap_check(f.ops->check(copy.engine, &msg) == RES_OK);
    tap_check(same_now(&copy) && same_now(&f));
    copy.ops->close(copy.engine);
    if (f.real)
        tap_check(nftw(copy.dir, remove_one, 8, FTW_DEPTH | FTW_PHYS) == 0);
    teardown(&f);
}

static void stats_and_sizes_are_plausible(void)
{
    struct fixture f;
    struct engine_stats s;
    struct slice none = slice_of(NULL, 0);
    setup(&f, engine_under_test, 12);
    for (int i = 0; i < 5; i++)
        absorb_some(&f);
    struct engine_view *v = f.ops->view_acquire(f.engine);
    f.ops->stats(f.engine, &s);
    tap_check(s.views >= 1);
    tap_check(s.bytes_on_disk > 0);
    uint64_t all = f.ops->range_bytes(v, none, none);
    tap_check(all > 0 && all <= s.bytes_on_disk);
    tap_check(f.ops->range_bytes(v, keys[10], keys[20]) <= all);
    tap_check(f.ops->debt(f.engine) <= 1000);
    f.ops->view_release(v);
    teardown(&f);
}

int main(void)
{
    const struct engine_ops *engines[] = {&engine_lsm, &engine_memory, &engine_btree, &engine_file};
    for (size_t i = 0; i < sizeof engines / sizeof engines[0]; i++) {
        engine_under_test = engines[i];
        tap_diag("engine %s", engine_under_test->name);
        tap_check(engine_by_name(engine_under_test->name) == engine_under_test);
        tap_test(an_empty_engine_has_nothing);
        tap_test(random_histories_agree_with_the_model);
        tap_test(views_stay_as_they_were);
        tap_test(an_iterator_outlives_its_view_and_an_epoch_section);
        tap_test(an_aborted_private_table_leaves_nothing);
        tap_test(private_tables_are_found_by_number_after_a_restart);
        tap_test(another_file_is_not_taken_for_a_private_table);
        tap_test(nowait_reports_what_is_missing_and_fill_brings_it);
        tap_test(what_lies_in_a_dead_range_goes);
        tap_test(a_checkpoint_opens_as_what_the_engine_was);
        tap_test(stats_and_sizes_are_plausible);
    }
    return tap_done();
}
