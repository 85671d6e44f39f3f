/* The engine as engine.h sees it: opening, closing, and the functions that only pass on. */
#include "engine/lsm/lsm.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "engine/boundary.h"

/* ---- files ---- */

uint64_t lsm_new_number(struct lsm *lsm) { return __atomic_fetch_add(&lsm->next_number, 1, __ATOMIC_RELAXED); }

char *lsm_table_path(const struct lsm *lsm, uint64_t number)
{
    size_t room = strlen(lsm->sst) + 32;
    char *path = malloc(room);
    if (path)
        snprintf(path, room, "%s/%06" PRIu64 ".sst", lsm->sst, number);
    return path;
}

enum result lsm_create_table(struct lsm *lsm, uint64_t number, bool direct, struct env_file **out)
{
    int flags = ENV_READ | ENV_WRITE | ENV_CREATE | ENV_EXCL | (direct ? ENV_DIRECT : 0);
    char *path = lsm_table_path(lsm, number);
    *out = NULL;
    enum result r = path ? lsm->env->ops->open(lsm->env, path, flags, out) : RES_NO_MEMORY;
    free(path);
    return r;
}

enum result lsm_open_table(struct lsm *lsm, uint64_t number, uint64_t size, struct table **out, struct errmsg *msg)
{
    char *path = lsm_table_path(lsm, number);
    struct env_file *file = NULL;

    *out = NULL;
    if (!path)
        return errmsg_set(msg, RES_NO_MEMORY, "no memory to open table %06" PRIu64, number);
    enum result r = lsm->env->ops->open(lsm->env, path, ENV_READ, &file);
    if (r != RES_OK)
        (void)errmsg_set(msg, r, "%s: %s", path, result_text(r));
    else
        r = table_open(file, path, number, size, lsm->cache, &lsm->owner, out, msg);
    free(path);
    return r;
}

static enum result reopen_table(struct table_owner *o, uint64_t number, struct env_file **out)
{
    struct lsm *lsm = (struct lsm *)((char *)o - offsetof(struct lsm, owner));
    char *path = lsm_table_path(lsm, number);
    *out = NULL;
    enum result r = path ? lsm->env->ops->open(lsm->env, path, ENV_READ, out) : RES_NO_MEMORY;
    free(path);
    return r == RES_NOT_FOUND ? RES_CORRUPT : r; /* it was there */
}

void lsm_remove_table(struct lsm *lsm, uint64_t number)
{
    char *path = lsm_table_path(lsm, number);
    if (path) /* what cannot be removed now is swept at the next start */
        (void)lsm->env->ops->unlink(lsm->env, path);
    free(path);
}

enum result lsm_sync_names(struct lsm *lsm)
{
    os_mutex_lock(&lsm->sync_lock);
    if (lsm->sync_failed == RES_OK && lsm->env->ops->sync_dir(lsm->env, lsm->sst) != RES_OK)
        lsm->sync_failed = RES_IO; /* whatever it was, it will not pass */
    enum result r = lsm->sync_failed;
    os_mutex_unlock(&lsm->sync_lock);
    return r;
}

static void table_gone(struct table_owner *o, struct table *t)
{
    struct lsm *lsm = (struct lsm *)((char *)o - offsetof(struct lsm, owner));
    os_mutex_lock(&lsm->lock);
    t->next_gone = lsm->gone;
    lsm->gone = t;
    os_cond_signal(&lsm->work);
    os_mutex_unlock(&lsm->lock);
}

void lsm_bury(struct lsm *lsm)
{
    for (;;) {
        os_mutex_lock(&lsm->lock);
        struct table *t = lsm->gone;
        if (t)
            lsm->gone = t->next_gone;
        os_mutex_unlock(&lsm->lock);
        if (!t)
            return;
        bool obsolete = __atomic_load_n(&t->obsolete, __ATOMIC_RELAXED);
        uint64_t number = t->meta.number;
        table_close(t);
        if (obsolete)
            lsm_remove_table(lsm, number);
    }
}

static bool table_number(const char *name, uint64_t *number)
{
    char end;
    const char *dot = strrchr(name, '.');
    return dot && strcmp(dot, ".sst") == 0 && sscanf(name, "%" SCNu64 ".sst%c", number, &end) == 1;
}

static void highest_number(void *arg, const char *name)
{
    uint64_t number, *highest = arg;
    if ((table_number(name, &number) || sscanf(name, "MANIFEST-%" SCNu64, &number) == 1) && number > *highest)
        *highest = number;
}

/* ---- sweeping ---- */

struct leftovers {
    struct lsm *lsm;
    uint64_t *numbers;
    size_t count, cap;
    bool failed;
};

static void leftover(void *arg, const char *name)
{
    struct leftovers *l = arg;
    uint64_t number;
    if (!table_number(name, &number) || number >= l->lsm->swept_below)
        return;
    if (l->count == l->cap) {
        size_t cap = l->cap ? l->cap * 2 : 64;
        uint64_t *numbers = realloc(l->numbers, cap * sizeof *numbers);
        if (!numbers) {
            l->failed = true;
            return;
        }
        l->numbers = numbers;
        l->cap = cap;
    }
    l->numbers[l->count++] = number;
}

/* Everything an open handle or a version refers to has a table object, and every table object is known to the cache. */
static bool in_use(struct lsm *lsm, uint64_t number)
{
    bool found = false;
    os_mutex_lock(&lsm->cache->lock);
    for (size_t i = 0; i < lsm->cache->count && !found; i++)
        found = lsm->cache->tables[i]->meta.number == number;
    os_mutex_unlock(&lsm->cache->lock);
    return found;
}

enum result lsm_table_sweep(struct engine *engine)
{
    struct lsm *lsm = (struct lsm *)engine;
    struct leftovers l = {.lsm = lsm};
    uint64_t removed = 0;

    enum result r = lsm->env->ops->list(lsm->env, lsm->sst, leftover, &l);
    if (r == RES_OK && l.failed)
        r = RES_NO_MEMORY;
    for (size_t i = 0; r == RES_OK && i < l.count; i++) {
        if (in_use(lsm, l.numbers[i]))
            continue;
        lsm_remove_table(lsm, l.numbers[i]);
        removed++;
    }
    free(l.numbers);
    if (removed)
        log_verbose("%s: removed %" PRIu64 " tables that no manifest names", lsm->sst, removed);
    os_mutex_lock(&lsm->edit_lock);
    if (r == RES_OK)
        r = manifest_sweep(&lsm->manifest);
    os_mutex_unlock(&lsm->edit_lock);
    return r;
}

/* ---- opening ---- */

static void set_defaults(struct engine_options *o)
{
    if (!o->block_bytes)
        o->block_bytes = 4096;
    if (!o->table_bytes)
        o->table_bytes = 16 << 20;
    if (!o->base_level_bytes)
        o->base_level_bytes = 4 * o->table_bytes;
    if (o->compaction_threads < 1)
        o->compaction_threads = 1;
    if (o->compaction_threads > LSM_THREADS_MAX)
        o->compaction_threads = LSM_THREADS_MAX;
}

static void set_compression(struct engine *e, const struct engine_compression levels[ENGINE_LEVELS])
{
    struct lsm *lsm = (struct lsm *)e;
    for (int i = 0; i < ENGINE_LEVELS; i++)
        atomic_store_explicit(&lsm->compression[i], (uint16_t)(levels[i].kind << 8 | levels[i].level),
                              memory_order_relaxed);
}

static struct lsm *lsm_new(const struct engine_options *options)
{
    struct lsm *lsm = calloc(1, sizeof *lsm);
    if (!lsm)
        return NULL;
    lsm->engine.ops = &engine_lsm;
    lsm->options = *options;
    set_defaults(&lsm->options);
    set_compression(&lsm->engine, options->compression);
    lsm->env = options->env;
    lsm->owner = (struct table_owner){.gone = table_gone, .open = reopen_table};
    os_mutex_init(&lsm->sync_lock);
    os_mutex_init(&lsm->edit_lock);
    os_mutex_init(&lsm->lock);
    os_cond_init(&lsm->work);
    os_cond_init(&lsm->done);
    size_t room = strlen(options->dir) + 8;
    lsm->dir = strdup(options->dir);
    lsm->sst = malloc(room);
    if (lsm->sst)
        snprintf(lsm->sst, room, "%s/sst", options->dir);
    lsm->options.dir = lsm->dir;
    lsm->cache = cache_new(options->cache_bytes);
    if (lsm->cache && options->max_open_tables > 0)
        lsm->cache->files_max = (uint64_t)options->max_open_tables;
    return lsm;
}

static void lsm_free(struct lsm *lsm)
{
    version_unref(lsm->current);
    lsm->current = NULL;
    if (lsm->cache)
        lsm_bury(lsm);
    manifest_close(&lsm->manifest);
    cache_free(lsm->cache);
    buf_fini(&lsm->state);
    free(lsm->doubtful);
    free(lsm->dir);
    free(lsm->sst);
    os_cond_fini(&lsm->done);
    os_cond_fini(&lsm->work);
    os_mutex_fini(&lsm->lock);
    os_mutex_fini(&lsm->edit_lock);
    os_mutex_fini(&lsm->sync_lock);
    free(lsm);
}

static enum result create(struct lsm *lsm, struct errmsg *msg)
{
    struct edit nothing = {0};
    struct env *env = lsm->env;

    enum result r = env->ops->mkdir(env, lsm->sst);
    if (r == RES_EXISTS)
        r = RES_OK;
    if (r == RES_OK)
        r = env->ops->sync_dir(env, lsm->dir);
    if (r != RES_OK)
        return errmsg_set(msg, r, "%s: cannot be made: %s", lsm->sst, result_text(r));
    lsm->next_number = lsm->next_number ? lsm->next_number : 1;
    if ((r = lsm_commit_edit(lsm, &nothing)) != RES_OK)
        return errmsg_set(msg, r, "%s: cannot write the first manifest: %s", lsm->dir, result_text(r));
    return RES_OK;
}

static enum result open_tables(struct lsm *lsm, const struct manifest_state *s, struct errmsg *msg)
{
    struct edit e = {0};
    struct engine_view *v = NULL;
    enum result r = RES_OK;
    size_t opened = 0;
    struct table **tables = calloc(s->count + 1, sizeof(struct table *));

    if (!tables)
        return errmsg_set(msg, RES_NO_MEMORY, "%s: no memory for %zu tables", lsm->dir, s->count);
    for (size_t i = 0; r == RES_OK && i < s->count; i++) {
        const struct manifest_table *m = &s->tables[i];
        if ((r = lsm_open_table(lsm, m->number, m->size, &tables[i], msg)) != RES_OK) {
            if (r == RES_NOT_FOUND)
                r = RES_CORRUPT; /* a table that the manifest names is missing */
            break;
        }
        opened++;
        if (m->region != tables[i]->meta.region)
            r = errmsg_set(msg, RES_CORRUPT, "%s: table %06" PRIu64 " is not the one that the manifest names", lsm->sst,
                           m->number);
        else if ((r = edit_add(&e, tables[i], m->level, m->run)) != RES_OK)
            (void)errmsg_set(msg, r, "%s: no memory for %zu tables", lsm->dir, s->count);
    }
    if (r == RES_OK && (r = version_edit(lsm, lsm->current, &e, &v)) != RES_OK)
        (void)errmsg_set(msg, r, "%s: the tables of a level overlap", lsm->sst);
    if (r == RES_OK) {
        version_unref(lsm->current);
        lsm->current = v;
        lsm->debt = lsm_debt_of(lsm, v);
    }
    while (opened)
        table_unref(tables[--opened]);
    free(tables);
    edit_fini(&e);
    return r;
}

static enum result recover(struct lsm *lsm, struct errmsg *msg)
{
    struct manifest_state s;
    uint64_t highest = 0;
    struct edit nothing = {0};

    enum result r = version_edit(lsm, NULL, &nothing, &lsm->current);
    if (r != RES_OK)
        return errmsg_set(msg, r, "%s: no memory", lsm->dir);
    r = lsm->env->ops->list(lsm->env, lsm->sst, highest_number, &highest);
    if (r != RES_OK && r != RES_NOT_FOUND)
        return errmsg_set(msg, r, "%s: cannot list the directory: %s", lsm->sst, result_text(r));
    r = lsm->env->ops->list(lsm->env, lsm->dir, highest_number, &highest);
    if (r != RES_OK)
        return errmsg_set(msg, r, "%s: cannot list the directory: %s", lsm->dir, result_text(r));
    lsm->next_number = highest + 1;
    r = manifest_open(&lsm->manifest, lsm->env, lsm->dir, &s, msg);
    if (r == RES_NOT_FOUND) {
        if (!lsm->options.create)
            return errmsg_set(msg, r, "%s: there is no engine here", lsm->dir);
        r = create(lsm, msg);
    } else if (r == RES_OK) {
        if (s.next_number > lsm->next_number)
            lsm->next_number = s.next_number;
        lsm->sequence = s.sequence;
        r = open_tables(lsm, &s, msg);
        if (r == RES_OK && (r = buf_append(&lsm->state, s.state.data, s.state.len)) != RES_OK)
            (void)errmsg_set(msg, r, "%s: no memory", lsm->dir);
        manifest_state_fini(&s);
    }
    lsm->swept_below = lsm->next_number;
    return r;
}

static enum result lsm_open(const struct engine_options *options, struct engine **out, uint64_t *sequence,
                            struct slice *state, struct errmsg *msg)
{
    struct lsm *lsm = lsm_new(options);

    *out = NULL;
    *sequence = 0;
    *state = slice_of(NULL, 0);
    if (!lsm)
        return errmsg_set(msg, RES_NO_MEMORY, "no memory for the engine");
    enum result r = RES_NO_MEMORY;
    if (!lsm->dir || !lsm->sst || !lsm->cache)
        goto fail;
    if ((r = recover(lsm, msg)) != RES_OK)
        goto fail_said;
    struct engine_boundary boundary = {lsm->sequence, buf_slice(&lsm->state)};
    if ((r = boundary_tell(boundary, sequence, state, msg)) != RES_OK)
        goto fail_said;
    lsm->wanted[REGION_META] = lsm->wanted[REGION_ELEMENT] = true;
    if ((r = lsm_start_threads(lsm)) != RES_OK)
        goto fail;
    *out = &lsm->engine;
    return RES_OK;
fail:
    (void)errmsg_set(msg, r, "%s: cannot start the engine: %s", options->dir, result_text(r));
fail_said:
    free((void *)(uintptr_t)state->data);
    *state = slice_of(NULL, 0);
    lsm_free(lsm);
    return r;
}

static void lsm_close(struct engine *e)
{
    struct lsm *lsm = (struct lsm *)e;
    lsm_stop_threads(lsm);
    assert(__atomic_load_n(&lsm->views, __ATOMIC_ACQUIRE) == 0);
    lsm_free(lsm);
}

/* ---- reading ---- */

static struct engine_view *view_acquire(struct engine *e) { return lsm_view_acquire((struct lsm *)e); }

static enum result fill(struct engine *e, struct engine_miss *miss)
{
    struct table *t = miss->table;
    struct block *b;
    const unsigned room = sizeof miss->held / sizeof miss->held[0];

    (void)e;
    enum result r = table_read_block(t, (uint32_t)miss->block, 0, &b);
    if (r != RES_OK)
        return r;
    epoch_enter();
    b = cache_insert(t->cache, t, b);
    epoch_leave();
    if (miss->held_count == room) {
        block_unref(miss->held[0]);
        memmove(&miss->held[0], &miss->held[1], (room - 1) * sizeof miss->held[0]);
        miss->held_count--;
    }
    miss->held[miss->held_count++] = b;
    epoch_poll();
    return RES_OK;
}

static void miss_fini(struct engine *e, struct engine_miss *miss)
{
    (void)e;
    while (miss->held_count)
        block_unref(miss->held[--miss->held_count]);
    *miss = (struct engine_miss){0};
}

/* ---- statistics ---- */

static void set_cache_bytes(struct engine *e, uint64_t bytes) { cache_set_capacity(((struct lsm *)e)->cache, bytes); }

static void add_run(struct engine_stats *s, int level, const struct run *r)
{
    s->level[level].files += r->count;
    s->level[level].bytes += r->bytes;
    s->level[level].records += r->records;
    s->level[level].tombstones += r->tombstones;
    s->level[level].data_bytes += r->data_bytes;
    s->bytes_on_disk += r->bytes;
}

static void stats(struct engine *e, struct engine_stats *out)
{
    struct lsm *lsm = (struct lsm *)e;
    struct cache_counts counts;

    uint64_t views = __atomic_load_n(&lsm->views, __ATOMIC_RELAXED);
    os_mutex_lock(&lsm->lock);
    *out = lsm->counted;
    out->compactions_running = (uint64_t)lsm->running;
    struct engine_view *v = lsm->current;
    version_ref(v);
    os_mutex_unlock(&lsm->lock);
    out->levels = ENGINE_LEVELS;
    out->views = views;
    for (uint32_t i = 0; i < v->level0_count; i++)
        add_run(out, 0, v->runs[i]);
    for (int level = 1; level < ENGINE_LEVELS; level++)
        if (v->level[level])
            add_run(out, level, v->level[level]);
    for (uint32_t i = 0; i < v->run_count; i++)
        for (uint32_t k = 0; k < v->runs[i]->count; k++) {
            const struct table *t = v->runs[i]->tables[k];
            out->filter_bytes += (uint64_t)t->filter.count * FILTER_LINE;
            out->index_bytes += t->resident - (uint64_t)t->filter.count * FILTER_LINE;
        }
    version_unref(v);
    out->cache_bytes = __atomic_load_n(&lsm->cache->used, __ATOMIC_RELAXED) + cache_work(lsm->cache);
    out->cache_capacity = __atomic_load_n(&lsm->cache->capacity, __ATOMIC_RELAXED);
    out->cache_fixed = __atomic_load_n(&lsm->cache->resident, __ATOMIC_RELAXED) + cache_work(lsm->cache);
    out->mapped_bytes = block_memory_resident();
    out->open_tables = __atomic_load_n(&lsm->cache->open_files, __ATOMIC_RELAXED);
    cache_counts_sum(lsm->cache, &counts);
    out->cache_hits = counts.hits;
    out->cache_misses = counts.misses;
    out->filter_checked = counts.filter_checked;
    out->filter_useful = counts.filter_useful;
    out->block_reads = counts.block_reads;
    out->block_read_bytes = counts.block_read_bytes;
}

const struct engine_ops engine_lsm = {
    .name = "lsm",
    .persistent = true,
    .open = lsm_open,
    .close = lsm_close,
    .absorb = lsm_absorb,
    .table_begin = lsm_table_begin,
    .table_add = lsm_table_add,
    .table_finish = lsm_table_finish,
    .table_abort = lsm_table_abort,
    .table_open = lsm_table_open,
    .table_get = lsm_table_get,
    .table_iter = lsm_table_iter,
    .table_release = lsm_table_release,
    .attach = lsm_attach,
    .table_sweep = lsm_table_sweep,
    .view_acquire = view_acquire,
    .view_release = lsm_view_release,
    .get = version_get,
    .fill = fill,
    .miss_fini = miss_fini,
    .prefetch = version_prefetch,
    .iter_open = version_iter,
    .range_bytes = version_range_bytes,
    .debt = lsm_debt,
    .compact = lsm_compact,
    .checkpoint = lsm_checkpoint,
    .set_cache_bytes = set_cache_bytes,
    .set_compression = set_compression,
    .stats = stats,
    .check = lsm_check,
};
