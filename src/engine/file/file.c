/* The engine: opening, reading, statistics, copies. */
#include "engine/file/file.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"

#define FILE_TABLES 16 /* a data file is cut at so many times table_bytes */

/* ---- files that go ---- */

/* On whatever thread: files are closed and removed by one that may wait. */
static void file_gone(struct datafile_owner *o, struct datafile *d)
{
    struct file_engine *fe = (struct file_engine *)((char *)o - offsetof(struct file_engine, owner));
    os_mutex_lock(&fe->lock);
    d->next_gone = fe->gone;
    fe->gone = d;
    os_cond_signal(&fe->work);
    os_mutex_unlock(&fe->lock);
}

void file_bury(struct file_engine *fe)
{
    for (;;) {
        os_mutex_lock(&fe->lock);
        struct datafile *d = fe->gone;
        if (d)
            fe->gone = d->next_gone;
        os_mutex_unlock(&fe->lock);
        if (!d)
            return;
        datafile_close(d);
    }
}

/* ---- opening ---- */

static struct file_engine *engine_new(const struct engine_options *options)
{
    struct file_engine *fe = calloc(1, sizeof *fe);
    if (!fe)
        return NULL;
    fe->engine.ops = &engine_file;
    fe->options = *options;
    fe->env = options->env;
    fe->file_bytes = FILE_TABLES * (options->table_bytes ? options->table_bytes : (uint64_t)16 << 20);
    fe->next_order = 1;
    fe->owner.gone = file_gone;
    os_mutex_init(&fe->edit_lock);
    os_mutex_init(&fe->lock);
    engine_failure_init(&fe->failure);
    os_cond_init(&fe->work);
    os_cond_init(&fe->done);
    size_t room = strlen(options->dir) + 8;
    fe->dir = strdup(options->dir);
    fe->data = malloc(room);
    if (fe->data)
        snprintf(fe->data, room, "%s/data", options->dir);
    private_init(&fe->private_tables, fe->env, fe->data);
    return fe;
}

static void engine_free(struct file_engine *fe)
{
    file_view_unref(fe->current);
    file_bury(fe);
    private_fini(&fe->private_tables);
    boundary_fini(&fe->kept);
    free(fe->dir);
    free(fe->data);
    os_cond_fini(&fe->done);
    os_cond_fini(&fe->work);
    engine_failure_fini(&fe->failure);
    os_mutex_fini(&fe->lock);
    os_mutex_fini(&fe->edit_lock);
    free(fe);
}

static enum result create(struct file_engine *fe, struct errmsg *msg)
{
    struct env *env = fe->env;
    bool in_doubt;
    if (!fe->options.create)
        return errmsg_set(msg, RES_NOT_FOUND, "%s: there is no engine here", fe->dir);
    if (fe->private_tables.next_number > 1)
        return errmsg_set(msg, RES_CORRUPT, "%s has data files and no %s/" FILES_NAME ": restore it from a backup",
                          fe->data, fe->dir);
    enum result r = env->ops->mkdir(env, fe->data);
    if (r == RES_EXISTS)
        r = RES_OK;
    if (r == RES_OK)
        r = env->ops->sync_dir(env, fe->dir);
    if (r != RES_OK)
        return errmsg_set(msg, r, "%s: cannot be made: %s", fe->data, result_text(r));
    os_mutex_lock(&fe->edit_lock);
    r = files_commit(fe, NULL, NULL, 0, NULL, 0, NULL, &in_doubt);
    os_mutex_unlock(&fe->edit_lock);
    return r == RES_OK ? r : errmsg_set(msg, r, "%s/" FILES_NAME " cannot be written: %s", fe->dir, result_text(r));
}

static enum result recover(struct file_engine *fe, struct errmsg *msg)
{
    enum result r = private_count_files(&fe->private_tables);
    if (r != RES_OK && r != RES_NOT_FOUND)
        return errmsg_set(msg, r, "%s: cannot list the directory: %s", fe->data, result_text(r));
    uint64_t from = fe->env->ops->mono_ns(fe->env);
    r = files_load(fe, msg);
    if (r == RES_NOT_FOUND)
        r = create(fe, msg);
    else if (r == RES_OK)
        log_verbose("%s: %" PRIu64 " keys of %zu files in %" PRIu64 " ms", fe->data, keydir_count(fe->current->root),
                    fe->current->set.count, (fe->env->ops->mono_ns(fe->env) - from) / 1000000);
    fe->swept_below = fe->private_tables.next_number;
    return r;
}

static enum result file_open(const struct engine_options *options, struct engine **out, uint64_t *sequence,
                             struct slice *state, struct errmsg *msg)
{
    struct file_engine *fe = engine_new(options);
    *out = NULL;
    *sequence = 0;
    *state = slice_of(NULL, 0);
    if (!fe)
        return errmsg_set(msg, RES_NO_MEMORY, "no memory for the engine");
    enum result r = fe->dir && fe->data ? recover(fe, msg) : errmsg_set(msg, RES_NO_MEMORY, "no memory for the engine");
    if (r == RES_OK && (r = file_start(fe)) != RES_OK)
        (void)errmsg_set(msg, r, "%s: cannot start a thread", fe->dir);
    if (r == RES_OK && (r = boundary_tell(boundary_of(&fe->kept), sequence, state, msg)) != RES_OK)
        file_stop(fe);
    if (r == RES_OK)
        *out = &fe->engine;
    else
        engine_free(fe);
    return r;
}

static void file_close(struct engine *e)
{
    struct file_engine *fe = (struct file_engine *)e;
    file_stop(fe);
    assert(__atomic_load_n(&fe->views, __ATOMIC_ACQUIRE) == 0);
    engine_free(fe);
}

/* ---- private tables ---- */

static enum result table_begin(struct engine *e, struct engine_table **out)
{
    struct file_engine *fe = (struct file_engine *)e;
    enum result r = engine_failed(&fe->failure);
    *out = NULL;
    return r == RES_OK ? private_begin(&fe->private_tables, out) : r;
}

static bool in_use(void *arg, uint64_t number)
{
    struct file_engine *fe = arg;
    if (number >= fe->swept_below)
        return true;
    struct engine_view *v = file_view_acquire(&fe->engine);
    bool found = datafile_of(&v->set, (uint32_t)number) != NULL;
    file_view_unref(v);
    return found;
}

/* Where the private table is gone its number may have been given to another: that is not what the log means. */
static enum result table_open(struct engine *e, uint64_t number, struct engine_table **out)
{
    struct file_engine *fe = (struct file_engine *)e;
    *out = NULL;
    return in_use(fe, number) ? RES_NOT_FOUND : private_open(&fe->private_tables, number, out);
}

static enum result table_sweep(struct engine *e)
{
    struct file_engine *fe = (struct file_engine *)e;
    return private_sweep(&fe->private_tables, in_use, fe);
}

/* ---- reading ---- */

static struct engine_view *view_acquire(struct engine *e)
{
    __atomic_fetch_add(&((struct file_engine *)e)->views, 1, __ATOMIC_RELAXED);
    return file_view_acquire(e);
}

static void view_release(struct engine_view *v)
{
    struct file_engine *fe = v->fe;
    file_view_unref(v);
    __atomic_fetch_sub(&fe->views, 1, __ATOMIC_RELEASE);
}

static enum result get(struct engine_view *v, const struct engine_key *key, int flags, struct slice *value,
                       struct engine_miss *miss)
{
    assert(epoch_depth() > 0);
    enum result r = datafile_get(v->root, &v->set, key->bytes, flags, NULL, value, miss);
    if (r == RES_OK)
        __atomic_fetch_add(&v->fe->reads, 1, __ATOMIC_RELAXED);
    return r;
}

static enum result fill(struct engine *e, struct engine_miss *miss)
{
    (void)e;
    return datafile_fill(miss);
}

static void miss_fini(struct engine *e, struct engine_miss *miss)
{
    (void)e;
    datafile_miss_fini(miss);
}

static void prefetch(struct engine_view *v, const struct engine_key *const *keys, unsigned n)
{
    keydir_prefetch(v->root, keys, n);
}

static void iterated(void *view) { file_view_unref(view); }

static enum result iter_open(struct engine_view *v, struct slice lower, struct slice upper, int flags,
                             struct iter **out)
{
    file_view_ref(v);
    return datafile_iter(v->root, &v->set, lower, upper, flags, iterated, v, out);
}

/* By the share of leaves, roughly: the average record times what a cursor counts, up to a bound. */
static uint64_t range_bytes(struct engine_view *v, struct slice lower, struct slice upper)
{
    struct keydir_cursor c;
    uint64_t all = 0, bytes = 0;
    for (size_t i = 0; i < v->set.count; i++)
        all += __atomic_load_n(&v->set.files[i]->live, __ATOMIC_RELAXED);
    if (lower.len == 0 && upper.len == 0)
        return all;
    keydir_cursor_init(&c, v->root);
    unsigned seen = 0;
    bool there = keydir_seek(&c, lower);
    for (; there && seen < 100000 && (upper.len == 0 || slice_cmp(c.key, upper) < 0); there = keydir_next(&c), seen++)
        bytes += datafile_record_size(c.key.len, &c.place);
    return bytes < all ? bytes : all;
}

/* ---- the rest ---- */

#define COPY_PIECE ((size_t)1 << 20)

static bool stopped(const struct engine_checkpoint *how) { return how && how->stop && atomic_load(how->stop); }

static enum result copy_file(struct env *env, const char *from, const char *to, const struct engine_checkpoint *how)
{
    struct env_file *in = NULL, *out = NULL;
    uint8_t *piece = malloc(COPY_PIECE);
    size_t got = COPY_PIECE;
    enum result r = piece ? env->ops->open(env, from, ENV_READ, &in) : RES_NO_MEMORY;
    if (r == RES_OK)
        r = env->ops->open(env, to, ENV_WRITE | ENV_CREATE | ENV_EXCL, &out);
    for (uint64_t at = 0; r == RES_OK && got == COPY_PIECE; at += got) {
        r = in->ops->pread(in, piece, COPY_PIECE, at, 0, &got);
        if (r == RES_OK)
            r = stopped(how) ? RES_CLOSED : env_write(out, piece, got, at);
    }
    if (r == RES_OK)
        r = out->ops->sync(out);
    enum result closed = out ? out->ops->close(out) : RES_OK;
    if (in)
        (void)!in->ops->close(in); /* only read */
    free(piece);
    return r == RES_OK ? closed : r;
}

static enum result link_file(struct file_engine *fe, const struct datafile *d, const char *dir, const char *ending,
                             const struct engine_checkpoint *how)
{
    char from[1024], to[1024];
    if (snprintf(from, sizeof from, "%s%s", d->path, ending) >= (int)sizeof from ||
        snprintf(to, sizeof to, "%s/%06" PRIu64 "%s", dir, d->number, ending) >= (int)sizeof to)
        return RES_INVALID;
    enum result r = fe->env->ops->link(fe->env, from, to);
    if (r == RES_OK || r == RES_NO_MEMORY || r == RES_NO_SPACE || r == RES_EXISTS || r == RES_NOT_FOUND)
        return r;
    return copy_file(fe->env, from, to, how); /* another file system, or one without links */
}

static enum result link_all(struct file_engine *fe, const struct engine_view *v, const char *data,
                            const struct engine_checkpoint *how)
{
    enum result r = RES_OK;
    for (size_t i = 0; r == RES_OK && i < v->set.count; i++) {
        r = link_file(fe, v->set.files[i], data, ".dat", how);
        if (r == RES_OK && (r = link_file(fe, v->set.files[i], data, ".hint", how)) == RES_NOT_FOUND)
            r = RES_OK; /* it will be made anew */
        if (r == RES_OK && stopped(how))
            r = RES_CLOSED;
    }
    return r == RES_OK ? fe->env->ops->sync_dir(fe->env, data) : r;
}

static enum result checkpoint(struct engine *e, const char *dir, const struct engine_checkpoint *how)
{
    struct file_engine *fe = (struct file_engine *)e;
    struct env *env = fe->env;
    struct kept_boundary kept;
    char data[1024];
    if (snprintf(data, sizeof data, "%s/data", dir) >= (int)sizeof data)
        return RES_INVALID;
    os_mutex_lock(&fe->edit_lock);
    struct engine_view *v = view_acquire(e);
    enum result r = boundary_accept(&fe->kept, how, &kept);
    os_mutex_unlock(&fe->edit_lock);
    if (r == RES_OK)
        r = boundary_folders(env, dir, data);
    if (r == RES_OK)
        r = link_all(fe, v, data, how);
    if (r == RES_OK) {
        os_mutex_lock(&fe->edit_lock); /* for the next order, which may be higher than it has to be */
        r = files_write(fe, dir, &v->set, kept.sequence, buf_slice(&kept.state));
        os_mutex_unlock(&fe->edit_lock);
    }
    view_release(v);
    boundary_fini(&kept);
    return r;
}

/* The operating system caches files; there is nothing to set. */
static void set_cache_bytes(struct engine *e, uint64_t bytes)
{
    ((struct file_engine *)e)->options.cache_bytes = bytes;
}

static void stats(struct engine *e, struct engine_stats *out)
{
    struct file_engine *fe = (struct file_engine *)e;
    *out = (struct engine_stats){.levels = 1, .views = __atomic_load_n(&fe->views, __ATOMIC_RELAXED)};
    struct engine_view *v = file_view_acquire(e);
    for (size_t i = 0; i < v->set.count; i++) {
        out->level[0].files++;
        out->level[0].bytes += v->set.files[i]->size;
    }
    out->level[0].records = keydir_count(v->root);
    file_view_unref(v);
    out->bytes_on_disk = out->level[0].bytes;
    out->open_tables = out->level[0].files;
    out->index_bytes = __atomic_load_n(&fe->private_tables.memory.bytes, __ATOMIC_RELAXED);
    out->block_reads = __atomic_load_n(&fe->reads, __ATOMIC_RELAXED);
    os_mutex_lock(&fe->lock);
    out->flushes = fe->flushes;
    out->flush_bytes = fe->flush_bytes;
    out->compactions = fe->merges;
    out->compaction_read_bytes = fe->merge_read;
    out->compaction_write_bytes = fe->merge_written;
    out->compactions_running = fe->merging;
    out->compaction_pending_bytes = fe->pending;
    out->dropped_dead_records = fe->dropped;
    os_mutex_unlock(&fe->lock);
}

/* All records of all files, and that the directory leads to records that are there. */
static enum result check(struct engine *e, struct errmsg *msg)
{
    struct engine_view *v = file_view_acquire(e);
    struct keydir_cursor c;
    enum result r = RES_OK;
    for (size_t i = 0; r == RES_OK && i < v->set.count; i++)
        r = datafile_check(v->set.files[i], msg);
    keydir_cursor_init(&c, v->root);
    for (bool there = keydir_seek(&c, slice_of(NULL, 0)); r == RES_OK && there; there = keydir_next(&c)) {
        const struct datafile *d = datafile_of(&v->set, c.place.file);
        if (!d || c.place.offset + datafile_record_size(c.key.len, &c.place) > d->size)
            r = errmsg_set(msg, RES_CORRUPT, "%s: the directory leads to file %06u, which does not have it",
                           v->fe->data, c.place.file);
    }
    file_view_unref(v);
    return r;
}

const struct engine_ops engine_file = {
    .name = "file",
    .persistent = true,
    .open = file_open,
    .close = file_close,
    .absorb = file_absorb,
    .table_begin = table_begin,
    .table_add = private_add,
    .table_finish = private_finish,
    .table_abort = private_abort,
    .table_open = table_open,
    .table_get = private_get,
    .table_iter = private_iter,
    .table_release = private_release,
    .attach = file_attach,
    .table_sweep = table_sweep,
    .view_acquire = view_acquire,
    .view_release = view_release,
    .get = get,
    .fill = fill,
    .miss_fini = miss_fini,
    .prefetch = prefetch,
    .iter_open = iter_open,
    .range_bytes = range_bytes,
    .debt = file_debt,
    .compact = file_compact,
    .checkpoint = checkpoint,
    .set_cache_bytes = set_cache_bytes,
    .stats = stats,
    .check = check,
};
