/* The engine: opening, writing, statistics. */
#include "engine/btree/btree.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "base/log.h"
#include "engine/btree/pages.h"

#define MAP_FIRST ((uint64_t)64 << 30)
#define MAP_LEAST ((uint64_t)1 << 20)
#define MAP_ROOM ((uint64_t)1 << 30) /* what a file has at least to grow into; less only for tests' tiny tables */
#define READER_SLOTS 4096
#define NEARLY_FULL ((uint64_t)64 << 20)

_Static_assert(ENGINE_KEY_MAX <= 511, "LMDB takes no longer keys");

#define BOUNDARY_HEAD 24 /* of its record */

/* ---- codes ---- */

enum result btree_result(int rc)
{
    switch (rc) {
    case MDB_SUCCESS:
        return RES_OK;
    case MDB_NOTFOUND:
        return RES_NOT_FOUND;
    case MDB_MAP_FULL:
        return RES_NO_SPACE;
    case MDB_READERS_FULL:
    case MDB_TLS_FULL:
        return RES_TOO_MANY;
    case MDB_TXN_FULL:
        return RES_NO_MEMORY;
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
    case MDB_INVALID:
        return RES_CORRUPT;
    case MDB_VERSION_MISMATCH:
        return RES_UNSUPPORTED;
    case MDB_BAD_VALSIZE:
        return RES_INVALID;
    default:
        return rc > 0 ? result_from_errno(rc) : RES_IO;
    }
}

/* ---- records ---- */

static MDB_val val_of(struct slice s) { return (MDB_val){s.len, (void *)(uintptr_t)s.data}; }

int btree_put(struct btree *b, MDB_txn *txn, struct slice key, struct slice value)
{
    MDB_val k = val_of(key), v = {value.len + 4, NULL};
    int rc = mdb_put(txn, b->dbi, &k, &v, MDB_RESERVE);
    if (rc != MDB_SUCCESS)
        return rc;
    put_le32(v.mv_data, checksum32(value.data, value.len, hash_content(key.data, key.len)));
    if (value.len)
        memcpy((uint8_t *)v.mv_data + 4, value.data, value.len);
    return MDB_SUCCESS;
}

bool btree_value(struct slice key, const MDB_val *stored, struct slice *value)
{
    return btree_stored_value(key, slice_of(stored->mv_data, stored->mv_size), value);
}

int btree_put_boundary(struct btree *b, MDB_txn *txn, uint64_t sequence, struct slice state)
{
    MDB_val k = val_of(btree_boundary_key), v = {BOUNDARY_HEAD + state.len, NULL};
    int rc = mdb_put(txn, b->dbi, &k, &v, MDB_RESERVE);
    if (rc != MDB_SUCCESS)
        return rc;
    uint8_t *p = v.mv_data;
    put_le32(p + 4, BTREE_VERSION);
    put_le64(p + 8, sequence);
    put_le64(p + 16, __atomic_load_n(&b->private_tables.next_number, __ATOMIC_RELAXED));
    if (state.len)
        memcpy(p + BOUNDARY_HEAD, state.data, state.len);
    put_le32(p, checksum32(p + 4, v.mv_size - 4, 0));
    return MDB_SUCCESS;
}

/* RES_NOT_FOUND: the file is new. */
static enum result read_boundary(struct btree *b, struct errmsg *msg)
{
    MDB_val k = val_of(btree_boundary_key), v;
    struct btree_boundary found = {0};
    MDB_txn *txn;
    int rc = mdb_txn_begin(b->mdb, NULL, MDB_RDONLY, &txn);
    if (rc != MDB_SUCCESS)
        return errmsg_set(msg, btree_result(rc), "%s: %s", b->dir, mdb_strerror(rc));
    rc = mdb_get(txn, b->dbi, &k, &v);
    enum result r = btree_result(rc);
    if (rc == MDB_SUCCESS && !btree_boundary_parse(slice_of(v.mv_data, v.mv_size), &found))
        r = errmsg_set(msg, RES_CORRUPT,
                       "%s/data.mdb: the boundary's record is damaged: salvage the directory with kvctl repair",
                       b->dir);
    else if (rc == MDB_SUCCESS && found.version != BTREE_VERSION)
        r = errmsg_set(msg, RES_UNSUPPORTED, "%s/data.mdb has format version %u, this program knows version %d", b->dir,
                       found.version, BTREE_VERSION);
    else if (rc != MDB_SUCCESS && rc != MDB_NOTFOUND)
        (void)errmsg_set(msg, r, "%s: %s", b->dir, mdb_strerror(rc));
    if (r == RES_OK) {
        if (found.next_number > b->private_tables.next_number)
            b->private_tables.next_number = found.next_number;
        struct engine_boundary at = {found.sequence, found.state};
        r = boundary_reserve(&b->kept, &at);
        if (r == RES_OK)
            boundary_keep(&b->kept, &at);
    }
    mdb_txn_abort(txn);
    return r;
}

struct slice btree_lower(struct slice lower) { return lower.len ? lower : slice_of("\1", 1); }

/* ---- writing ---- */

/* LMDB calls a write that came short of space an input/output error. */
enum result btree_write_result(const struct btree *b, int rc)
{
    struct statvfs s;
    if (rc == EIO && statvfs(b->dir, &s) == 0 && (uint64_t)s.f_bavail * s.f_frsize < NEARLY_FULL)
        return RES_NO_SPACE;
    return btree_result(rc);
}

enum result btree_write(struct btree *b, btree_body *body, void *arg)
{
    struct engine_view *v;
    enum result r = engine_failed(&b->failure);
    if (r == RES_OK)
        r = btree_view_new(b, &v);
    if (r != RES_OK)
        return r;
    int rc;
    for (;;) {
        MDB_txn *txn;
        r = RES_OK;
        rc = mdb_txn_begin(b->mdb, NULL, 0, &txn);
        if (rc == MDB_SUCCESS && (rc = body(b, txn, arg, &r)) != MDB_SUCCESS)
            mdb_txn_abort(txn);
        else if (rc == MDB_SUCCESS)
            rc = mdb_txn_commit(txn);
        if (rc != MDB_MAP_FULL)
            break;
        if ((r = btree_grow(b)) != RES_OK)
            break;
    }
    if (rc != MDB_SUCCESS && r == RES_OK)
        r = btree_write_result(b, rc);
    if (rc == MDB_SUCCESS && (r = btree_view_start(v)) == RES_OK) {
        btree_view_publish(b, v);
        return RES_OK;
    }
    btree_view_unref(v);
    if (r == RES_IO || r == RES_CORRUPT)
        engine_fail(&b->failure, &b->options, r, "writing to the tree", b->dir);
    return r;
}

struct absorption {
    struct iter *run;
    const struct engine_boundary *boundary;
    uint64_t bytes;
    bool ranges;
};

static int write_record(struct btree *b, MDB_txn *txn, struct absorption *a)
{
    const struct iter *it = a->run;
    if (it->key.data[0] == REGION_DEAD)
        a->ranges = true;
    a->bytes += it->key.len + it->value.len;
    if (it->kind == RECORD_PUT)
        return btree_put(b, txn, it->key, it->value);
    MDB_val k = val_of(it->key);
    int rc = mdb_del(txn, b->dbi, &k, NULL);
    return rc == MDB_NOTFOUND ? MDB_SUCCESS : rc;
}

static int write_run(struct btree *b, MDB_txn *txn, void *arg, enum result *r)
{
    struct absorption *a = arg;
    int rc = MDB_SUCCESS;
    a->bytes = 0;
    if (a->run) {
        *r = iter_seek(a->run, slice_of(NULL, 0));
        for (; *r == RES_OK && rc == MDB_SUCCESS; *r = iter_next(a->run))
            if ((rc = write_record(b, txn, a)) != MDB_SUCCESS)
                break;
        if (*r != RES_NOT_FOUND && *r != RES_OK)
            return -1;
        *r = RES_OK;
    }
    return rc == MDB_SUCCESS ? btree_put_boundary(b, txn, a->boundary->sequence, a->boundary->state) : rc;
}

/* Without writing: the run becomes a layer. */
static enum result absorb_aside(struct btree *b, struct iter *run) REQUIRES(b->write_lock)
{
    struct engine_table *t;
    uint64_t number;
    enum result r = run ? iter_seek(run, slice_of(NULL, 0)) : RES_NOT_FOUND;
    if (r != RES_OK)
        return r == RES_NOT_FOUND ? RES_OK : r;
    if ((r = private_begin(&b->private_tables, &t)) != RES_OK)
        return r;
    for (; r == RES_OK; r = iter_next(run))
        if ((r = private_add(t, run->key, run->kind, run->value)) != RES_OK)
            break;
    if (r == RES_NOT_FOUND && (r = private_finish(t, &number)) == RES_OK)
        r = btree_add_layer(b, t);
    if (r != RES_OK)
        private_abort(t);
    else
        private_release(t);
    return r;
}

static enum result absorb(struct engine *e, struct iter *run, const struct engine_boundary *boundary)
{
    struct btree *b = (struct btree *)e;
    struct absorption a = {.run = run, .boundary = boundary};
    os_mutex_lock(&b->write_lock);
    enum result r = boundary_reserve(&b->kept, boundary);
    if (r == RES_OK)
        r = b->writes ? btree_write(b, write_run, &a) : absorb_aside(b, run);
    if (r == RES_OK) {
        boundary_keep(&b->kept, boundary);
        btree_cut_long(b);
    }
    os_mutex_unlock(&b->write_lock);
    if (r != RES_OK || !run)
        return r;
    os_mutex_lock(&b->lock);
    b->flushes++;
    b->flush_bytes += a.bytes;
    b->dead_due |= a.ranges;
    os_cond_signal(&b->wake);
    os_mutex_unlock(&b->lock);
    return RES_OK;
}

/* ---- attaching ---- */

static enum result attach(struct engine *e, struct engine_table *t, const struct engine_boundary *boundary)
{
    struct btree *b = (struct btree *)e;
    struct absorption a = {.boundary = boundary};
    enum result r = private_records(t, &a.run);
    if (r != RES_OK)
        return r;
    os_mutex_lock(&b->write_lock);
    r = boundary_reserve(&b->kept, boundary);
    if (r == RES_OK)
        r = b->writes ? btree_write(b, write_run, &a) : btree_add_layer(b, t);
    if (r == RES_OK) {
        boundary_keep(&b->kept, boundary);
        btree_cut_long(b);
    }
    os_mutex_unlock(&b->write_lock);
    iter_close(a.run);
    if (r != RES_OK)
        return r;
    if (b->writes)
        private_taken(t); /* all of it is in the tree */
    os_mutex_lock(&b->lock);
    b->dead_due |= a.ranges;
    os_cond_signal(&b->wake);
    os_mutex_unlock(&b->lock);
    return RES_OK;
}

/* ---- private tables ---- */

static enum result table_begin(struct engine *e, struct engine_table **out)
{
    struct btree *b = (struct btree *)e;
    *out = NULL;
    enum result r = engine_failed(&b->failure);
    return r == RES_OK ? private_begin(&b->private_tables, out) : r;
}

static enum result table_open(struct engine *e, uint64_t number, struct engine_table **out)
{
    return private_open(&((struct btree *)e)->private_tables, number, out);
}

static enum result table_sweep(struct engine *e)
{
    return private_sweep(&((struct btree *)e)->private_tables, NULL, NULL);
}

/* ---- opening ---- */

static void btree_free(struct btree *b)
{
    if (b->current)
        btree_view_unref(b->current);
    if (b->mdb)
        mdb_env_close(b->mdb);
    for (size_t i = 0; b->rows && i < BTREE_ROWS; i++)
        free(b->rows[i]);
    free(b->rows);
    private_fini(&b->private_tables);
    boundary_fini(&b->kept);
    free(b->dir);
    os_cond_fini(&b->wake);
    engine_failure_fini(&b->failure);
    os_mutex_fini(&b->map_lock);
    os_mutex_fini(&b->lock);
    os_mutex_fini(&b->write_lock);
    free(b);
}

static struct btree *btree_new(const struct engine_options *options)
{
    struct btree *b = calloc(1, sizeof *b);
    if (!b)
        return NULL;
    b->engine.ops = &engine_btree;
    b->options = *options;
    if (!b->options.table_bytes)
        b->options.table_bytes = 16 << 20;
    b->writes = options->env == env_posix();
    os_mutex_init(&b->write_lock);
    os_mutex_init(&b->lock);
    os_mutex_init(&b->map_lock);
    engine_failure_init(&b->failure);
    os_cond_init(&b->wake);
    size_t room = strlen(options->dir) + 16;
    b->dir = malloc(room);
    if (b->dir)
        snprintf(b->dir, room, "%s/btree", options->dir);
    private_init(&b->private_tables, options->env, b->dir);
    b->rows = calloc(BTREE_ROWS, sizeof(struct btree_row *));
    return b;
}

/* Tests' tiny tables make a tiny map, so that it has to grow. */
static uint64_t first_map(const struct btree *b, uint64_t file)
{
    uint64_t want = btree_tiny(b) ? 64 * b->options.table_bytes : MAP_FIRST;
    while (want < 2 * file + MAP_LEAST)
        want *= 2;
    return want < MAP_LEAST ? MAP_LEAST : want;
}

/* LMDB's table of readers is written through a map: on a disk without room for its pages that would be SIGBUS. */
static int allocate_readers(struct btree *b)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/lock.mdb", b->dir);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return errno;
    int rc = posix_fallocate(fd, 0, READER_SLOTS * 64 + 4096);
    close(fd);
    return rc;
}

static int open_mdb(struct btree *b, uint64_t file)
{
    int rc = b->writes ? allocate_readers(b) : MDB_SUCCESS;
    if (rc != MDB_SUCCESS)
        return rc;
    for (b->map = first_map(b, file);; b->map /= 2) { /* address space may be rationed */
        if ((rc = mdb_env_create(&b->mdb)) != MDB_SUCCESS)
            return rc;
        if ((rc = mdb_env_set_mapsize(b->mdb, (size_t)b->map)) == MDB_SUCCESS &&
            (rc = mdb_env_set_maxreaders(b->mdb, READER_SLOTS)) == MDB_SUCCESS)
            rc = mdb_env_open(b->mdb, b->dir, MDB_NOTLS | MDB_NORDAHEAD | (b->writes ? 0 : MDB_RDONLY | MDB_NOLOCK),
                              0600);
        if (rc == MDB_SUCCESS)
            break;
        mdb_env_close(b->mdb);
        b->mdb = NULL;
        if (rc != ENOMEM || b->map / 2 < file + MAP_ROOM)
            return rc;
    }
    MDB_txn *txn;
    if ((rc = mdb_txn_begin(b->mdb, NULL, b->writes ? 0 : MDB_RDONLY, &txn)) != MDB_SUCCESS)
        return rc;
    if ((rc = mdb_dbi_open(txn, NULL, 0, &b->dbi)) != MDB_SUCCESS) {
        mdb_txn_abort(txn);
        return rc;
    }
    return mdb_txn_commit(txn);
}

static uint64_t size_of(const char *path)
{
    struct env_file *f;
    uint64_t size = 0;
    if (env_posix()->ops->open(env_posix(), path, ENV_READ, &f) != RES_OK)
        return 0;
    if (f->ops->size(f, &size) != RES_OK)
        size = 0;
    (void)!f->ops->close(f);
    return size;
}

static enum result prepare_dir(struct btree *b, bool there, struct errmsg *msg)
{
    struct env *env = env_posix();
    if (!there && !(b->options.create && b->writes))
        return errmsg_set(msg, RES_NOT_FOUND, "%s: there is no engine here", b->dir);
    enum result r = there ? RES_OK : env->ops->mkdir(env, b->dir);
    if (r == RES_EXISTS)
        r = RES_OK;
    if (r == RES_OK && !there)
        r = env->ops->sync_dir(env, b->options.dir);
    if (r != RES_OK)
        return errmsg_set(msg, r, "%s: cannot be made: %s", b->dir, result_text(r));
    r = private_count_files(&b->private_tables);
    if (r != RES_OK)
        return errmsg_set(msg, r, "%s: cannot list the directory: %s", b->dir, result_text(r));
    return RES_OK;
}

static int write_first(struct btree *b, MDB_txn *txn, void *arg, enum result *r)
{
    (void)arg, (void)r;
    return btree_put_boundary(b, txn, 0, slice_of(NULL, 0));
}

static enum result recover(struct btree *b, struct errmsg *msg)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/data.mdb", b->dir);
    uint64_t file = size_of(path);
    enum result r = prepare_dir(b, file > 0, msg);
    if (r != RES_OK)
        return r;
    int rc = open_mdb(b, file);
    if (rc != MDB_SUCCESS)
        return errmsg_set(msg, btree_result(rc), "%s: cannot be opened: %s", path, mdb_strerror(rc));
    r = read_boundary(b, msg);
    bool fresh = r == RES_NOT_FOUND;
    if (fresh && !(b->options.create && b->writes))
        return errmsg_set(msg, r, "%s: there is no engine here", b->dir);
    if (r != RES_OK && !fresh)
        return r;
    if (fresh && (r = env_posix()->ops->sync_dir(env_posix(), b->dir)) != RES_OK) /* data.mdb's name */
        return errmsg_set(msg, r, "%s: cannot be synced: %s", b->dir, result_text(r));
    os_mutex_lock(&b->write_lock);
    struct engine_view *v;
    if (fresh) {
        r = btree_write(b, write_first, NULL);
    } else if ((r = btree_view_new(b, &v)) == RES_OK) {
        r = btree_view_start(v);
        if (r == RES_OK)
            btree_view_publish(b, v);
        else
            btree_view_unref(v);
    }
    os_mutex_unlock(&b->write_lock);
    return r == RES_OK ? r : errmsg_set(msg, r, "%s: cannot be begun: %s", b->dir, result_text(r));
}

static enum result btree_open(const struct engine_options *options, struct engine **out, uint64_t *sequence,
                              struct slice *state, struct errmsg *msg)
{
    struct btree *b = btree_new(options);
    *out = NULL;
    *sequence = 0;
    *state = slice_of(NULL, 0);
    if (!b)
        return errmsg_set(msg, RES_NO_MEMORY, "no memory for the engine");
    enum result r = b->dir && b->rows ? recover(b, msg) : errmsg_set(msg, RES_NO_MEMORY, "no memory for the engine");
    if (r == RES_OK)
        btree_look(b);
    if (r == RES_OK && (r = btree_start(b)) != RES_OK)
        (void)errmsg_set(msg, r, "%s: cannot start a thread", b->dir);
    if (r == RES_OK && (r = boundary_tell(boundary_of(&b->kept), sequence, state, msg)) != RES_OK)
        btree_stop(b);
    if (r == RES_OK)
        *out = &b->engine;
    else
        btree_free(b);
    return r;
}

static void btree_close(struct engine *e)
{
    struct btree *b = (struct btree *)e;
    btree_stop(b);
    assert(__atomic_load_n(&b->views, __ATOMIC_ACQUIRE) == 0);
    btree_free(b);
}

/* ---- the rest ---- */

void btree_figures(struct btree *b, MDB_stat *stat, MDB_envinfo *info)
{
    os_mutex_lock(&b->map_lock);
    (void)mdb_env_stat(b->mdb, stat); /* neither fails on an environment that is open */
    (void)mdb_env_info(b->mdb, info);
    os_mutex_unlock(&b->map_lock);
}

static uint64_t range_bytes(struct engine_view *v, struct slice lower, struct slice upper)
{
    struct iter *it;
    uint64_t bytes = 0, all;
    MDB_stat stat;
    MDB_envinfo info;
    btree_figures(v->b, &stat, &info);
    all = (uint64_t)(stat.ms_branch_pages + stat.ms_leaf_pages + stat.ms_overflow_pages) * stat.ms_psize;
    if (lower.len == 0 && upper.len == 0)
        return all;
    if (btree_iter(v, lower, upper, 0, &it) != RES_OK)
        return 0;
    unsigned seen = 0;
    enum result r = iter_seek(it, slice_of(NULL, 0));
    for (; r == RES_OK && seen < 1000; r = iter_next(it), seen++)
        bytes += it->key.len + it->value.len + 16;
    iter_close(it);
    if (r == RES_OK) /* more than that: LMDB does not tell how much, half of all is as good as anything */
        bytes = all / 2;
    return bytes < all ? bytes : all;
}

static unsigned debt(struct engine *e)
{
    (void)e;
    return 0; /* a run is where it belongs once it is written */
}

static enum result compact(struct engine *e, struct slice lower, struct slice upper, const atomic_bool *stop)
{
    (void)lower, (void)upper;
    return btree_drop_dead((struct btree *)e, stop);
}

static void set_cache_bytes(struct engine *e, uint64_t bytes)
{
    __atomic_store_n(&((struct btree *)e)->options.cache_bytes, bytes, __ATOMIC_RELAXED);
}

static void stats(struct engine *e, struct engine_stats *out)
{
    struct btree *b = (struct btree *)e;
    MDB_stat stat;
    MDB_envinfo info;
    *out = (struct engine_stats){.levels = 1, .views = __atomic_load_n(&b->views, __ATOMIC_RELAXED)};
    btree_figures(b, &stat, &info);
    out->bytes_on_disk = (uint64_t)(info.me_last_pgno + 1) * stat.ms_psize;
    out->level[0].files = 1;
    out->level[0].bytes =
        (uint64_t)(stat.ms_branch_pages + stat.ms_leaf_pages + stat.ms_overflow_pages) * stat.ms_psize;
    out->level[0].records = stat.ms_entries ? stat.ms_entries - 1 : 0; /* the boundary */
    out->open_tables = 1;
    out->cache_capacity = __atomic_load_n(&b->options.cache_bytes, __ATOMIC_RELAXED);
    out->index_bytes = __atomic_load_n(&b->private_tables.memory.bytes, __ATOMIC_RELAXED);
    uint64_t reads = __atomic_load_n(&b->reads, __ATOMIC_RELAXED), cold = __atomic_load_n(&b->cold, __ATOMIC_RELAXED);
    out->cache_hits = reads - (cold < reads ? cold : reads);
    out->cache_misses = cold;
    os_mutex_lock(&b->lock);
    out->flushes = b->flushes;
    out->flush_bytes = b->flush_bytes;
    out->dropped_dead_records = b->dropped;
    out->dead_ranges = b->ranges;
    os_mutex_unlock(&b->lock);
}

static enum result check(struct engine *e, struct errmsg *msg)
{
    struct btree *b = (struct btree *)e;
    struct engine_view *v = btree_view_acquire(e);
    struct iter *it;
    struct slice none = slice_of(NULL, 0);
    uint8_t last[ENGINE_KEY_MAX];
    size_t last_len = 0;
    enum result r = btree_iter(v, none, none, 0, &it);
    if (r == RES_OK) {
        for (r = iter_seek(it, none); r == RES_OK; r = iter_next(it)) {
            if (slice_cmp(slice_of(last, last_len), it->key) >= 0) {
                r = errmsg_set(msg, RES_CORRUPT, "%s/data.mdb: keys are out of order", b->dir);
                break;
            }
            memcpy(last, it->key.data, it->key.len);
            last_len = it->key.len;
        }
        iter_close(it);
    }
    btree_view_release(v);
    if (r == RES_CORRUPT && (!msg || msg->text[0] == 0))
        return errmsg_set(msg, r, "%s/data.mdb: the record behind the %zu bytes of key '%.*s' is damaged", b->dir,
                          last_len, (int)(last_len < 40 ? last_len : 40), (const char *)last);
    return r == RES_NOT_FOUND ? RES_OK : r;
}

const struct engine_ops engine_btree = {
    .name = "btree",
    .persistent = true,
    .open = btree_open,
    .close = btree_close,
    .absorb = absorb,
    .table_begin = table_begin,
    .table_add = private_add,
    .table_finish = private_finish,
    .table_abort = private_abort,
    .table_open = table_open,
    .table_get = private_get,
    .table_iter = private_iter,
    .table_release = private_release,
    .attach = attach,
    .table_sweep = table_sweep,
    .view_acquire = btree_view_acquire,
    .view_release = btree_view_release,
    .get = btree_get,
    .fill = btree_fill,
    .miss_fini = btree_miss_fini,
    .iter_open = btree_iter,
    .range_bytes = range_bytes,
    .debt = debt,
    .compact = compact,
    .checkpoint = btree_checkpoint,
    .set_cache_bytes = set_cache_bytes,
    .stats = stats,
    .check = check,
};
