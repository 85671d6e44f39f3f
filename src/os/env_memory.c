/* The in-memory environment: the table's functions over memory_fs.c, under one lock. Each first asks the table of
 * faults. With a history, every change's record is kept, and an image of an earlier moment is made by replaying it. */
#include "os/env_memory.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"
#include "os/memory_fs.h"
#include "os/thread.h"

#define PAGE 4096

struct memory_env {
    struct env base;
    pthread_mutex_t lock;
    int flags;
    struct fs fs;
    struct env_faults faults;
    struct fs_record *history; /* [i] is change i + 1 */
    size_t history_cap;
    struct fs origin; /* what a crash image with a history started from, when origin.root */
    struct fs replay; /* the history up to replay.number, when replay.root */
    uint64_t real_ms, mono_ns;
    uint64_t (*now_ns)(void);
    uint64_t followed; /* value of now_ns() at real_ms, mono_ns */
    uint64_t random;
    unsigned cold;
    struct memory_file *files; /* open ones */
    uint64_t open_files;
};

struct memory_file {
    struct env_file base;
    struct memory_env *env;
    struct fs_node *node;
    char *path;
    bool writable, holds_lock;
    struct memory_file *next, *prev;
};

static struct memory_env *env_self(struct env *env) { return (struct memory_env *)env; }
static struct memory_file *file_self(struct env_file *f) { return (struct memory_file *)f; }

/* ---- changes -------------------------------------------------------------------------------------------------- */

static void record_fini(struct fs_record *r)
{
    free(r->path);
    free(r->path2);
    fs_blob_unref(r->data);
}

/* Applies the change and, when a history is kept, remembers it. */
static enum result change(struct memory_env *e, struct fs_record record)
{
    bool keep = (e->flags & ENV_MEMORY_HISTORY) == ENV_MEMORY_HISTORY;

    if (keep && e->fs.number == e->history_cap) {
        size_t cap = e->history_cap ? e->history_cap * 2 : 64;
        struct fs_record *history = realloc(e->history, cap * sizeof *history);
        if (!history)
            return RES_NO_MEMORY;
        e->history = history;
        e->history_cap = cap;
    }
    enum result r = fs_apply(&e->fs, &record);
    if (r != RES_OK || !keep)
        return r;
    if (record.path)
        record.path = strdup(record.path);
    if (record.path2)
        record.path2 = strdup(record.path2);
    assert(record.path || record.kind >= FS_WRITE); /* histories are for tests */
    if (record.data)
        record.data->refs++;
    e->history[e->fs.number - 1] = record;
    return RES_OK;
}

/* A path for a record: apply only reads it, and the history copies it. */
static char *unconst(const char *path) { return (char *)(uintptr_t)path; }

/* ---- files ---------------------------------------------------------------------------------------------------- */

static bool is_cold(const struct memory_env *e, const struct fs_node *node, uint64_t page)
{
    if (page < node->warm_pages && node->warm[page])
        return false;
    return hash_mix(hash_mix(e->fs.seed + node->id) + page) % 1000 < e->cold;
}

static void make_warm(struct fs_node *node, uint64_t first, uint64_t last)
{
    if (last >= node->warm_pages) {
        uint64_t pages = node->warm_pages * 2 > last + 1 ? node->warm_pages * 2 : last + 1;
        uint8_t *warm = realloc(node->warm, (size_t)pages);
        if (!warm)
            return; /* it stays cold */
        memset(warm + node->warm_pages, 0, (size_t)(pages - node->warm_pages));
        node->warm = warm;
        node->warm_pages = pages;
    }
    memset(node->warm + first, 1, (size_t)(last - first + 1));
}

/* Under the lock. */
static enum result read_locked(struct memory_file *f, void *buf, size_t len, uint64_t offset, int flags, size_t *got)
{
    struct fs_node *node = f->node;

    if (offset >= node->now.len)
        return RES_OK;
    if (len > node->now.len - offset)
        len = (size_t)(node->now.len - offset);
    if (len && f->env->cold) {
        uint64_t first = offset / PAGE, last = (offset + len - 1) / PAGE;
        for (uint64_t page = first; (flags & ENV_NOWAIT) && page <= last; page++)
            if (is_cold(f->env, node, page))
                return RES_WOULD_BLOCK;
        make_warm(node, first, last);
    }
    if (len)
        memcpy(buf, node->now.data + offset, len);
    *got = len;
    return RES_OK;
}

static enum result memory_pread(struct env_file *file, void *buf, size_t len, uint64_t offset, int flags, size_t *got)
{
    struct memory_file *f = file_self(file);
    struct env_fault fault;

    sched_point(SCHED_IO);
    *got = 0;
    if (env_faults_hit(&f->env->faults, ENV_OP_PREAD, f->path, &fault)) {
        if (fault.code != RES_OK)
            return fault.code;
        if (fault.partial >= 0 && (uint64_t)fault.partial < len)
            len = (size_t)fault.partial;
    }
    pthread_mutex_lock(&f->env->lock);
    enum result r = read_locked(f, buf, len, offset, flags, got);
    pthread_mutex_unlock(&f->env->lock);
    return r;
}

/* How many of len bytes at offset the limit allows. */
static uint64_t room_for(const struct fs *fs, const struct fs_node *node, uint64_t offset, uint64_t len)
{
    uint64_t end = offset + len;
    if (end <= node->now.len)
        return len;
    uint64_t left = fs->limit > fs->used ? fs->limit - fs->used : 0;
    if (end - node->now.len <= left)
        return len;
    uint64_t reach = node->now.len + left;
    return reach > offset ? reach - offset : 0;
}

static enum result gather(const struct iovec *iov, int count, uint64_t limit, struct fs_blob **out)
{
    size_t total = 0, at = 0;

    for (int i = 0; i < count; i++)
        total += iov[i].iov_len;
    if (total > limit)
        total = (size_t)limit;
    struct fs_blob *blob = fs_blob_new(total);
    *out = blob;
    if (!blob)
        return RES_NO_MEMORY;
    for (int i = 0; i < count && at < total; i++) {
        size_t n = iov[i].iov_len < total - at ? iov[i].iov_len : total - at;
        if (n)
            memcpy(blob->bytes + at, iov[i].iov_base, n);
        at += n;
    }
    return RES_OK;
}

/* Under the lock. The second half of a write with ENV_DSYNC: change `number` becomes durable, or fails to. */
static enum result write_durable(struct memory_env *e, uint64_t id, uint64_t number, bool fails)
{
    pthread_mutex_unlock(&e->lock);
    sched_point(SCHED_IO); /* a reader may see it before it is durable */
    pthread_mutex_lock(&e->lock);
    return change(e, (struct fs_record){.kind = fails ? FS_SYNC_FAILED : FS_SYNC_RANGE, .id = id, .at = number});
}

static enum result memory_pwritev(struct env_file *file, const struct iovec *iov, int count, uint64_t offset, int flags)
{
    struct memory_file *f = file_self(file);
    struct memory_env *e = f->env;
    struct env_fault fault = {.code = RES_OK};
    struct fs_blob *blob;

    sched_point(SCHED_IO);
    if (!f->writable || offset > INT64_MAX)
        return RES_INVALID;
    bool hit = env_faults_hit(&e->faults, ENV_OP_PWRITEV, f->path, &fault);
    uint64_t part = !hit || fault.done ? UINT64_MAX : fault.partial > 0 ? (uint64_t)fault.partial : 0;
    enum result r = gather(iov, count, part, &blob);
    if (r != RES_OK)
        return r;
    pthread_mutex_lock(&e->lock);
    uint64_t room = room_for(&e->fs, f->node, offset, blob->len);
    bool full = room < blob->len;
    if (full)
        blob->len = (size_t)room;
    if (blob->len) {
        uint64_t id = f->node->id;
        r = change(e, (struct fs_record){.kind = FS_WRITE, .id = id, .at = offset, .data = blob});
        if (r == RES_OK && (flags & ENV_DSYNC) && !full)
            r = write_durable(e, id, e->fs.number, hit && !fault.done);
    }
    fs_blob_unref(blob); /* its count is the lock's too */
    pthread_mutex_unlock(&e->lock);
    return r != RES_OK ? r : hit ? fault.code : full ? RES_NO_SPACE : RES_OK;
}

static enum result memory_sync(struct env_file *file)
{
    struct memory_file *f = file_self(file);
    struct memory_env *e = f->env;
    struct env_fault fault = {.code = RES_OK};

    sched_point(SCHED_IO);
    bool hit = env_faults_hit(&e->faults, ENV_OP_SYNC, f->path, &fault);
    pthread_mutex_lock(&e->lock);
    enum fs_record_kind kind = !hit || fault.done ? FS_SYNC : FS_SYNC_FAILED;
    enum result r = change(e, (struct fs_record){.kind = kind, .id = f->node->id});
    pthread_mutex_unlock(&e->lock);
    return hit ? fault.code : r;
}

static enum result memory_size(struct env_file *file, uint64_t *out)
{
    struct memory_file *f = file_self(file);
    struct env_fault fault;

    if (env_faults_hit(&f->env->faults, ENV_OP_SIZE, f->path, &fault))
        return fault.code;
    pthread_mutex_lock(&f->env->lock);
    *out = f->node->now.len;
    pthread_mutex_unlock(&f->env->lock);
    return RES_OK;
}

/* To `size`, or to at least `size` when `grow_only`. */
static enum result resize(struct memory_file *f, enum env_op op, uint64_t size, bool grow_only)
{
    struct memory_env *e = f->env;
    struct env_fault fault = {.code = RES_OK};
    enum result r = RES_OK;

    sched_point(SCHED_IO);
    if (!f->writable || size > INT64_MAX)
        return RES_INVALID;
    bool hit = env_faults_hit(&e->faults, op, f->path, &fault);
    if (hit && !fault.done)
        return fault.code;
    pthread_mutex_lock(&e->lock);
    uint64_t len = f->node->now.len;
    if (size > len && room_for(&e->fs, f->node, len, size - len) < size - len)
        r = RES_NO_SPACE;
    else if (!grow_only || size > len)
        r = change(e, (struct fs_record){.kind = FS_RESIZE, .id = f->node->id, .at = size});
    pthread_mutex_unlock(&e->lock);
    return r != RES_OK ? r : fault.code;
}

static enum result memory_truncate(struct env_file *file, uint64_t size)
{
    return resize(file_self(file), ENV_OP_TRUNCATE, size, false);
}

static enum result memory_allocate(struct env_file *file, uint64_t offset, uint64_t len)
{
    return resize(file_self(file), ENV_OP_ALLOCATE, offset + len, true);
}

/* ENV_CACHED: every write is one. */
static void memory_release(struct env_file *file) { (void)file; }

static void memory_advise(struct env_file *file, uint64_t offset, uint64_t len, int advice)
{
    (void)file;
    (void)offset;
    (void)len;
    (void)advice;
}

/* Under the lock. */
static void file_gone(struct memory_file *f)
{
    struct memory_env *e = f->env;

    if (f->holds_lock)
        f->node->locked = false;
    f->node->handles--;
    fs_node_alive(&e->fs, f->node);
    fs_node_unref(&e->fs, f->node);
    if (f->prev)
        f->prev->next = f->next;
    else
        e->files = f->next;
    if (f->next)
        f->next->prev = f->prev;
    e->open_files--;
    free(f->path);
    free(f);
}

static enum result memory_close(struct env_file *file)
{
    struct memory_file *f = file_self(file);
    struct memory_env *e = f->env;
    struct env_fault fault;

    bool hit = env_faults_hit(&e->faults, ENV_OP_CLOSE, f->path, &fault);
    pthread_mutex_lock(&e->lock);
    file_gone(f);
    pthread_mutex_unlock(&e->lock);
    return hit ? fault.code : RES_OK;
}

static const struct env_file_ops file_ops = {
    .pread = memory_pread,
    .pwritev = memory_pwritev,
    .sync = memory_sync,
    .size = memory_size,
    .truncate = memory_truncate,
    .allocate = memory_allocate,
    .release = memory_release,
    .advise = memory_advise,
    .close = memory_close,
};

/* ---- names ---------------------------------------------------------------------------------------------------- */

/* Under the lock. */
static enum result open_locked(struct memory_env *e, const char *path, int flags, struct fs_node **out)
{
    struct fs_node *node = fs_find(&e->fs, path);

    if (!node) {
        if (!(flags & ENV_CREATE))
            return RES_NOT_FOUND;
        enum result r = change(e, (struct fs_record){.kind = FS_CREATE, .path = unconst(path)});
        if (r != RES_OK)
            return r;
        node = fs_find(&e->fs, path);
    } else if ((flags & (ENV_CREATE | ENV_EXCL)) == (ENV_CREATE | ENV_EXCL)) {
        return RES_EXISTS;
    }
    *out = node;
    return node->is_dir ? RES_INVALID : RES_OK;
}

static enum result open_any(struct memory_env *e, const char *path, int flags, bool lock, struct env_file **out)
{
    struct memory_file *f = calloc(1, sizeof *f);
    char *copy = strdup(path);
    struct fs_node *node = NULL;
    enum result r = RES_NO_MEMORY;

    *out = NULL;
    if (!f || !copy) {
        free(f);
        free(copy);
        return r;
    }
    pthread_mutex_lock(&e->lock);
    r = open_locked(e, path, flags, &node);
    if (r == RES_OK && lock && node->locked)
        r = RES_LOCKED;
    if (r == RES_OK) {
        node->handles++;
        node->refs++;
        node->locked |= lock;
        *f = (struct memory_file){{&file_ops}, e, node, copy, (flags & ENV_WRITE) != 0, lock, e->files, NULL};
        if (e->files)
            e->files->prev = f;
        e->files = f;
        e->open_files++;
        *out = &f->base;
    }
    pthread_mutex_unlock(&e->lock);
    if (r != RES_OK) {
        free(f);
        free(copy);
    }
    return r;
}

static enum result memory_open(struct env *env, const char *path, int flags, struct env_file **out)
{
    struct memory_env *e = env_self(env);
    struct env_fault fault;

    sched_point(SCHED_IO);
    *out = NULL;
    if (!env_faults_hit(&e->faults, ENV_OP_OPEN, path, &fault))
        return open_any(e, path, flags, false, out);
    if (fault.done && open_any(e, path, flags, false, out) == RES_OK) {
        (void)memory_close(*out);
        *out = NULL;
    }
    return fault.code;
}

static enum result memory_lock(struct env *env, const char *path, struct env_file **out)
{
    struct memory_env *e = env_self(env);
    struct env_fault fault;

    *out = NULL;
    if (env_faults_hit(&e->faults, ENV_OP_LOCK, path, &fault))
        return fault.code;
    return open_any(e, path, ENV_WRITE | ENV_CREATE, true, out);
}

static enum result name_op(struct env *env, enum env_op op, enum fs_record_kind kind, const char *path,
                           const char *path2)
{
    struct memory_env *e = env_self(env);
    struct env_fault fault = {.code = RES_OK};

    sched_point(SCHED_IO);
    if (env_faults_hit(&e->faults, op, path2 ? path2 : path, &fault) && !fault.done)
        return fault.code;
    pthread_mutex_lock(&e->lock);
    enum result r = change(e, (struct fs_record){.kind = kind, .path = unconst(path), .path2 = unconst(path2)});
    pthread_mutex_unlock(&e->lock);
    return r != RES_OK ? r : fault.code;
}

static enum result memory_unlink(struct env *env, const char *path)
{
    return name_op(env, ENV_OP_UNLINK, FS_UNLINK, path, NULL);
}

static enum result memory_rename(struct env *env, const char *from, const char *to)
{
    return name_op(env, ENV_OP_RENAME, FS_RENAME, from, to);
}

static enum result memory_link(struct env *env, const char *from, const char *to)
{
    return name_op(env, ENV_OP_LINK, FS_LINK, from, to);
}

static enum result memory_mkdir(struct env *env, const char *path)
{
    return name_op(env, ENV_OP_MKDIR, FS_MKDIR, path, NULL);
}

static enum result memory_rmdir(struct env *env, const char *path)
{
    return name_op(env, ENV_OP_RMDIR, FS_RMDIR, path, NULL);
}

static enum result memory_sync_dir(struct env *env, const char *path)
{
    return name_op(env, ENV_OP_SYNC_DIR, FS_SYNC_DIR, path, NULL);
}

static enum result memory_list(struct env *env, const char *path, env_list_fn *each, void *arg)
{
    struct memory_env *e = env_self(env);
    struct env_fault fault;
    char **names = NULL;
    size_t count = 0;
    enum result r = RES_OK;

    if (env_faults_hit(&e->faults, ENV_OP_LIST, path, &fault))
        return fault.code;
    /* Copied, so that the caller's function may use the environment. */
    pthread_mutex_lock(&e->lock);
    struct fs_node *dir = fs_find(&e->fs, path);
    if (!dir)
        r = RES_NOT_FOUND;
    else if (!dir->is_dir)
        r = RES_INVALID;
    else if ((names = calloc(dir->names.count + 1, sizeof *names)) == NULL)
        r = RES_NO_MEMORY;
    for (size_t i = 0; r == RES_OK && i < dir->names.count; i++) {
        names[count] = strdup(dir->names.entry[i].name);
        if (names[count])
            count++;
        else
            r = RES_NO_MEMORY;
    }
    pthread_mutex_unlock(&e->lock);
    for (size_t i = 0; i < count; i++) {
        if (r == RES_OK)
            each(arg, names[i]);
        free(names[i]);
    }
    free(names);
    return r;
}

static enum result memory_space(struct env *env, const char *path, uint64_t *free_bytes)
{
    struct memory_env *e = env_self(env);
    struct env_fault fault;

    *free_bytes = 0;
    if (env_faults_hit(&e->faults, ENV_OP_SPACE, path, &fault))
        return fault.code;
    pthread_mutex_lock(&e->lock);
    if (e->fs.limit == UINT64_MAX)
        *free_bytes = (uint64_t)1 << 40;
    else if (e->fs.limit > e->fs.used)
        *free_bytes = e->fs.limit - e->fs.used;
    pthread_mutex_unlock(&e->lock);
    return RES_OK;
}

/* ---- clock and random ----------------------------------------------------------------------------------------- */

/* Under the lock. */
static uint64_t elapsed(const struct memory_env *e) { return e->now_ns ? e->now_ns() - e->followed : 0; }

static uint64_t memory_real_ms(struct env *env)
{
    struct memory_env *e = env_self(env);
    pthread_mutex_lock(&e->lock);
    uint64_t t = e->real_ms + (e->mono_ns % 1000000 + elapsed(e)) / 1000000;
    pthread_mutex_unlock(&e->lock);
    return t;
}

static uint64_t memory_mono_ns(struct env *env)
{
    struct memory_env *e = env_self(env);
    pthread_mutex_lock(&e->lock);
    uint64_t t = e->mono_ns + elapsed(e);
    pthread_mutex_unlock(&e->lock);
    return t;
}

void env_memory_set_clock(struct env *env, uint64_t real_ms, uint64_t mono_ns)
{
    struct memory_env *e = env_self(env);
    pthread_mutex_lock(&e->lock);
    e->real_ms = real_ms;
    e->mono_ns = mono_ns;
    e->followed = e->now_ns ? e->now_ns() : 0;
    pthread_mutex_unlock(&e->lock);
}

void env_memory_advance(struct env *env, uint64_t ns)
{
    struct memory_env *e = env_self(env);
    pthread_mutex_lock(&e->lock);
    e->real_ms += (e->mono_ns % 1000000 + ns) / 1000000;
    e->mono_ns += ns;
    pthread_mutex_unlock(&e->lock);
}

void env_memory_follow(struct env *env, uint64_t (*now_ns)(void))
{
    struct memory_env *e = env_self(env);
    pthread_mutex_lock(&e->lock);
    uint64_t ns = elapsed(e);
    e->real_ms += (e->mono_ns % 1000000 + ns) / 1000000;
    e->mono_ns += ns;
    e->now_ns = now_ns;
    e->followed = now_ns ? now_ns() : 0;
    pthread_mutex_unlock(&e->lock);
}

static void memory_random(struct env *env, void *out, size_t len)
{
    struct memory_env *e = env_self(env);
    uint8_t *p = out;

    pthread_mutex_lock(&e->lock);
    for (uint64_t bits = 0, left = 0; len; len--, left--) {
        if (left == 0) {
            bits = fs_random(&e->random);
            left = 8;
        }
        *p++ = (uint8_t)bits;
        bits >>= 8;
    }
    pthread_mutex_unlock(&e->lock);
}

static const struct env_ops memory_ops = {
    .open = memory_open,
    .unlink = memory_unlink,
    .rename = memory_rename,
    .link = memory_link,
    .mkdir = memory_mkdir,
    .rmdir = memory_rmdir,
    .list = memory_list,
    .sync_dir = memory_sync_dir,
    .lock = memory_lock,
    .space = memory_space,
    .real_ms = memory_real_ms,
    .mono_ns = memory_mono_ns,
    .random = memory_random,
};

/* ---- for tests ------------------------------------------------------------------------------------------------ */

struct env *env_memory_new(uint64_t seed, int flags)
{
    struct memory_env *e = calloc(1, sizeof *e);
    if (!e)
        return NULL;
    e->base.ops = &memory_ops;
    pthread_mutex_init(&e->lock, NULL);
    e->flags = flags;
    fs_init(&e->fs, seed, (flags & ENV_MEMORY_CRASH) != 0, false);
    env_faults_init(&e->faults);
    e->real_ms = 1767225600000u;
    e->mono_ns = 1000000000u;
    e->random = hash_mix(seed ^ 0x72616e646f6d);
    return &e->base;
}

void env_memory_free(struct env *env)
{
    struct memory_env *e = env_self(env);

    while (e->files)
        file_gone(e->files);
    if ((e->flags & ENV_MEMORY_HISTORY) == ENV_MEMORY_HISTORY)
        for (uint64_t i = 0; i < e->fs.number; i++)
            record_fini(&e->history[i]);
    free(e->history);
    if (e->replay.root)
        fs_fini(&e->replay);
    if (e->origin.root)
        fs_fini(&e->origin);
    fs_fini(&e->fs);
    env_faults_fini(&e->faults);
    pthread_mutex_destroy(&e->lock);
    free(e);
}

struct env_faults *env_memory_faults(struct env *env) { return &env_self(env)->faults; }

uint64_t env_memory_open_files(struct env *env)
{
    struct memory_env *e = env_self(env);
    pthread_mutex_lock(&e->lock);
    uint64_t n = e->open_files;
    pthread_mutex_unlock(&e->lock);
    return n;
}

uint64_t env_memory_changes(struct env *env)
{
    struct memory_env *e = env_self(env);
    pthread_mutex_lock(&e->lock);
    uint64_t n = e->fs.number;
    pthread_mutex_unlock(&e->lock);
    return n;
}

/* Under the lock: the state after change k, replayed from the last one asked for where that is earlier. */
static struct fs *state_at(struct memory_env *e, uint64_t k)
{
    if (k == ENV_MEMORY_NOW || k == e->fs.number)
        return &e->fs;
    assert(k < e->fs.number && (e->flags & ENV_MEMORY_HISTORY) == ENV_MEMORY_HISTORY);
    if (e->replay.root && e->replay.number > k) {
        fs_fini(&e->replay);
        e->replay.root = NULL;
    }
    if (!e->replay.root) {
        fs_init(&e->replay, e->fs.seed, true, true);
        if (e->origin.root && fs_crash(&e->origin, 0, &e->replay) != RES_OK)
            return NULL;
    }
    while (e->replay.number < k) {
        uint64_t next = e->replay.number + 1;
        if (fs_apply(&e->replay, &e->history[next - 1]) != RES_OK)
            return NULL; /* memory: it worked the first time */
        assert(e->replay.number == next);
    }
    return &e->replay;
}

struct env *env_memory_crash(struct env *env, uint64_t k, uint64_t seed)
{
    struct memory_env *e = env_self(env);
    struct env *image = env_memory_new(hash_mix(seed + 1) ^ e->fs.seed, e->flags);

    if (!image)
        return NULL;
    struct memory_env *i = env_self(image);
    pthread_mutex_lock(&e->lock);
    struct fs *fs = state_at(e, k);
    bool ok = fs && fs_crash(fs, seed, &i->fs) == RES_OK;
    i->fs.limit = e->fs.limit;
    i->cold = e->cold;
    i->real_ms = e->real_ms + (e->mono_ns % 1000000 + elapsed(e)) / 1000000;
    i->mono_ns = e->mono_ns + elapsed(e);
    i->now_ns = e->now_ns;
    i->followed = e->now_ns ? e->now_ns() : 0;
    pthread_mutex_unlock(&e->lock);
    if (ok && (i->flags & ENV_MEMORY_HISTORY) == ENV_MEMORY_HISTORY) {
        fs_init(&i->origin, i->fs.seed, true, true);
        ok = fs_crash(&i->fs, 0, &i->origin) == RES_OK;
    }
    if (!ok) {
        env_memory_free(image);
        return NULL;
    }
    return image;
}

void env_memory_describe(struct env *env, uint64_t k, char *out, size_t room)
{
    static const char *const kinds[] = {"create",  "unlink", "rename", "link", "mkdir",   "rmdir",
                                        "syncdir", "write",  "resize", "sync", "durable", "failed sync"};
    struct memory_env *e = env_self(env);

    pthread_mutex_lock(&e->lock);
    if (k == 0 || k > e->fs.number || !e->history) {
        snprintf(out, room, "%llu: no record", (unsigned long long)k);
    } else {
        const struct fs_record *r = &e->history[k - 1];
        if (r->path)
            snprintf(out, room, "%llu: %s %s%s%s", (unsigned long long)k, kinds[r->kind], r->path,
                     r->path2 ? " to " : "", r->path2 ? r->path2 : "");
        else
            snprintf(out, room, "%llu: %s file %llu at %llu, %zu bytes", (unsigned long long)k, kinds[r->kind],
                     (unsigned long long)r->id, (unsigned long long)r->at, r->data ? r->data->len : 0);
    }
    pthread_mutex_unlock(&e->lock);
}

enum result env_memory_flip(struct env *env, const char *path, uint64_t offset, unsigned bit)
{
    struct memory_env *e = env_self(env);
    enum result r = RES_OK;

    pthread_mutex_lock(&e->lock);
    struct fs_node *node = fs_find(&e->fs, path);
    if (!node || node->is_dir)
        r = RES_NOT_FOUND;
    else if (offset >= node->now.len)
        r = RES_RANGE;
    if (r == RES_OK) {
        node->now.data[offset] ^= (uint8_t)(1u << (bit & 7));
        if (offset < node->durable.len)
            node->durable.data[offset] ^= (uint8_t)(1u << (bit & 7));
    }
    pthread_mutex_unlock(&e->lock);
    return r;
}

void env_memory_set_cold(struct env *env, unsigned permille)
{
    struct memory_env *e = env_self(env);
    pthread_mutex_lock(&e->lock);
    e->cold = permille;
    pthread_mutex_unlock(&e->lock);
}

void env_memory_chill(struct env *env)
{
    struct memory_env *e = env_self(env);
    pthread_mutex_lock(&e->lock);
    for (uint64_t id = 0; id < e->fs.ids; id++)
        if (e->fs.by_id[id])
            e->fs.by_id[id]->warm_pages = 0; /* grown anew, as zeros */
    pthread_mutex_unlock(&e->lock);
}

void env_memory_set_space(struct env *env, uint64_t limit)
{
    struct memory_env *e = env_self(env);
    pthread_mutex_lock(&e->lock);
    e->fs.limit = limit;
    pthread_mutex_unlock(&e->lock);
}

uint64_t env_memory_used(struct env *env)
{
    struct memory_env *e = env_self(env);
    pthread_mutex_lock(&e->lock);
    uint64_t n = e->fs.used;
    pthread_mutex_unlock(&e->lock);
    return n;
}
