/* Whole data directories, damaged: for the fuzzer of directories and for the test beside it.
 *
 * A directory is made once by commits of a model (front_model.h), in the in-memory environment, and copied for each try. A
 * few bytes then say what happens to the copy's files, any of them: bits flipped, bytes overwritten, moved about or zeroed,
 * files cut, made longer, removed, or put in another's place. Whatever that was, opening ends with a sentence or a front; of a
 * front every read ends with an error or with what the model says of the commits that it claims to hold; it takes commits, and
 * closes; and what is left does the same once more. */
#ifndef VARVE_TESTS_LIB_DIRECTORY_H
#define VARVE_TESTS_LIB_DIRECTORY_H

#include <sys/stat.h>

#include "front/front.h"
#include "os/env_memory.h"
#include "tests/lib/front_model.h"

#define DIRECTORY_KINDS 5
#define DIRECTORY_FILES 64
#define DIRECTORY_EDITS 12

struct directory {
    const struct engine_ops *engine;
    struct env *env; /* no front is open there */
    struct model model;
    int count;
    char path[DIRECTORY_FILES][48];
    uint64_t size[DIRECTORY_FILES];
};

struct directory_listing {
    struct directory *d;
    const char *in;
};

static inline void directory_note(void *arg, const char *name)
{
    struct directory_listing *l = arg;
    struct directory *d = l->d;
    struct env_file *f;
    char *path = d->path[d->count];
    snprintf(path, sizeof(d->path[0]), "%s/%s", l->in, name);
    if (d->count == DIRECTORY_FILES - 1 || d->env->ops->open(d->env, path, ENV_READ, &f) != RES_OK)
        return;
    if (f->ops->size(f, &d->size[d->count]) == RES_OK && d->size[d->count] > 0)
        d->count++;
    (void)f->ops->close(f);
}

static inline void directory_list(struct directory *d)
{
    static const char *const folders[] = {"/data", "/data/wal", "/data/sst", "/data/data"};
    for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++)
        (void)d->env->ops->list(d->env, folders[i], directory_note, &(struct directory_listing){d, folders[i]});
}

static inline struct front_options directory_options(const struct directory *d, struct env *env)
{
    return (struct front_options){.env = env,
                                  .engine = d->engine,
                                  .dir = "/data",
                                  .fsync = FRONT_FSYNC_ALWAYS,
                                  .memtable_bytes = 5000,
                                  .log_segment_bytes = 16384,
                                  .log_ring_bytes = 65536,
                                  .tuning = {.table_bytes = 4096,
                                             .block_bytes = 512,
                                             .base_level_bytes = 8192,
                                             .cache_bytes = 1 << 18,
                                             .compression = {{0}, {ENGINE_PACK_LZ4, 0}, {ENGINE_PACK_ZSTD, 1}}}};
}

/* kind: 0 and 1 over lsm, 2 over lsm after a crash that lost something, 3 and 4 over file; 0 and 3 killed, 1 and 4 closed.
 * False: it could not be made. */
static inline bool directory_make(struct directory *d, int kind)
{
    struct model_state state = {0};
    struct front *f;
    *d = (struct directory){.engine = kind < 3 ? &engine_lsm : &engine_file};
    model_init(&d->model, 40 + (uint64_t)kind, 700);
    struct env *env = env_memory_new(7 + (uint64_t)kind, ENV_MEMORY_CRASH);
    struct front_options o = directory_options(d, env);
    o.create = true;
    bool good = front_open(&o, &f, NULL) == RES_OK;
    for (int i = 0; good && i < 150; i++) {
        good = model_commit(&d->model, f, &state, i % 13 == 5) == RES_OK && front_wait(f, front_visible(f)) == RES_OK;
        if (good && (i == 70 || i == 120))
            good = front_flush(f) == RES_OK;
    }
    if (!good)
        return false;
    bool closed = kind == 1 || kind == 4;
    if (closed)
        good = front_close(f) == RES_OK;
    d->env = env_memory_crash(env, ENV_MEMORY_NOW, kind == 2 ? 5 : 0);
    if (!closed)
        good = front_close(f) == RES_OK;
    env_memory_free(env);
    if (good && d->env)
        directory_list(d);
    return good && d->count > 3;
}

static inline void directory_free(struct directory *d)
{
    env_memory_free(d->env);
    model_fini(&d->model);
}

/* ---- damage ---- */

struct directory_bytes {
    const uint8_t *at;
    size_t left;
};

static inline uint64_t directory_take(struct directory_bytes *b, int bytes)
{
    uint64_t v = 0;
    for (; bytes > 0 && b->left > 0; bytes--, b->left--)
        v = v << 8 | *b->at++;
    return v;
}

static inline void directory_write(struct env *env, const char *path, uint64_t at, const uint8_t *bytes, size_t len)
{
    struct env_file *f;
    if (env->ops->open(env, path, ENV_READ | ENV_WRITE, &f) != RES_OK)
        return; /* an earlier edit removed it */
    (void)!env_write(f, bytes, len, at);
    (void)f->ops->close(f);
}

static inline void directory_cut(struct env *env, const char *path, uint64_t size)
{
    struct env_file *f;
    if (env->ops->open(env, path, ENV_READ | ENV_WRITE, &f) != RES_OK)
        return;
    (void)f->ops->truncate(f, size);
    (void)f->ops->close(f);
}

static inline size_t directory_read(struct env *env, const char *path, uint64_t at, uint8_t *out, size_t len)
{
    struct env_file *f;
    size_t got = 0;
    if (env->ops->open(env, path, ENV_READ, &f) != RES_OK)
        return 0;
    if (f->ops->pread(f, out, len, at, 0, &got) != RES_OK)
        got = 0;
    (void)f->ops->close(f);
    return got;
}

/* One edit of the copy's files. */
static inline void directory_edit(const struct directory *d, struct env *env, struct directory_bytes *b)
{
    uint8_t bytes[512] = {0};
    unsigned what = (unsigned)directory_take(b, 1) % 8;
    int a = (int)(directory_take(b, 1) % (uint64_t)d->count);
    const char *path = d->path[a];
    uint64_t at = directory_take(b, 3) % d->size[a];
    int other;
    size_t n;
    switch (what) {
    case 0:
        (void)!env_memory_flip(env, path, at, (unsigned)directory_take(b, 1) % 8);
        break;
    case 1:
        n = 1 + (size_t)directory_take(b, 1) % 32;
        for (size_t i = 0; i < n; i++)
            bytes[i] = (uint8_t)directory_take(b, 1);
        directory_write(env, path, at, bytes, n);
        break;
    case 2:
        directory_cut(env, path, at);
        break;
    case 3:
        memset(bytes, (int)directory_take(b, 1), sizeof(bytes));
        directory_write(env, path, d->size[a], bytes, 1 + (size_t)directory_take(b, 2) % sizeof(bytes));
        break;
    case 4:
        other = (int)(directory_take(b, 1) % (uint64_t)d->count);
        n = directory_read(env, d->path[other], directory_take(b, 3) % d->size[other], bytes,
                           1 + (size_t)directory_take(b, 2) % sizeof(bytes));
        directory_write(env, path, at, bytes, n);
        break;
    case 5:
        (void)env->ops->unlink(env, path);
        break;
    case 6:
        other = (int)(directory_take(b, 1) % (uint64_t)d->count);
        (void)env->ops->rename(env, path, d->path[other]);
        break;
    default: /* a sector that was never written */
        directory_write(env, path, at / 512 * 512, bytes, sizeof(bytes));
    }
}

/* ---- what then holds ---- */

/* Is all that can be read right, as the state after the commits that the front says it has? An error is right, too. */
static inline bool directory_reads_right(const struct directory *d, struct front *f, char *why, size_t room)
{
    struct front_view *v = front_view_ref(f);
    uint64_t snapshot = front_snapshot(v), n = model_marker(v, snapshot);
    bool right = n <= d->model.count || n == UINT64_MAX;
    size_t present = 0, seen = 0;
    if (!right)
        snprintf(why, room, "claims to hold %llu commits", (unsigned long long)n);
    struct model_state s = model_state_at(&d->model, n <= d->model.count ? n : 0);
    for (int k = 1; right && n != UINT64_MAX && k < MODEL_KEYS; k++) {
        uint8_t bytes[MODEL_KEY_BYTES], *value = NULL;
        struct engine_key key = {slice_of(bytes, model_key(k, bytes)), 0};
        size_t len = 0;
        key.hash = engine_hash(key.bytes);
        enum result res = front_get_wait(v, snapshot, &key, &value, &len);
        if ((res == RES_OK && !(s.by[k] && model_same_value(&s, k, value, len))) || (res == RES_NOT_FOUND && s.by[k]))
            right = model_differ(why, room, res == RES_OK ? "get is wrong" : "get misses", k);
        free(value);
        present += s.by[k] != 0;
    }
    struct iter *it;
    if (right && front_iter(v, snapshot, slice_of(NULL, 0), slice_of(NULL, 0), 0, &it) == RES_OK) {
        enum result res = iter_seek(it, slice_of(NULL, 0));
        for (; res == RES_OK; res = iter_next(it))
            seen++;
        if (res == RES_NOT_FOUND && n != UINT64_MAX && seen != present + (n > 0)) {
            snprintf(why, room, "an iterator shows %zu records, not %zu", seen, present + (n > 0));
            right = false;
        }
        for (res = iter_seek_last(it, slice_of(NULL, 0)); res == RES_OK; res = iter_prev(it))
            ;
        iter_close(it);
    }
    front_view_unref(v);
    return right;
}

/* Opens it, reads everything, commits, closes. compare: what is read must be right. */
static inline bool directory_open(const struct directory *d, struct env *env, enum front_recovery mode, bool compare,
                                  bool commit, char *why, size_t room)
{
    struct front_options o = directory_options(d, env);
    struct front *f;
    struct errmsg msg = {0};
    o.recovery = mode;
    if (front_open(&o, &f, &msg) != RES_OK) {
        snprintf(why, room, "refused without a sentence");
        return msg.text[0] != 0;
    }
    bool right = directory_reads_right(d, f, why, room) || !compare;
    (void)!front_check(f, &msg);
    if (commit) {
        struct model more = {.seed = 5, .value_max = 700};
        struct model_state state = {0};
        for (int i = 0; i < 12; i++)
            if (model_commit(&more, f, &state, i == 5) != RES_OK)
                break;
        (void)!front_flush(f);
        model_fini(&more);
    }
    (void)!front_close(f);
    return right;
}

/* The first byte: the recovery mode, and whether more is committed; the others: edits. False, with why: wrong. */
static inline bool directory_try(const struct directory *d, const uint8_t *data, size_t size, bool compare, char *why,
                                 size_t room)
{
    struct directory_bytes b = {data, size};
    uint64_t first = directory_take(&b, 1);
    enum front_recovery mode = (enum front_recovery)(first % 3);
    struct env *env = env_memory_crash(d->env, ENV_MEMORY_NOW, 0);
    for (int i = 0; i < DIRECTORY_EDITS && b.left > 0; i++)
        directory_edit(d, env, &b);
    bool commit = first & 64;
    bool right = directory_open(d, env, mode, compare && mode != FRONT_RECOVER_SALVAGE, commit, why, room) &&
                 directory_open(d, env, mode, compare && mode != FRONT_RECOVER_SALVAGE && !commit, false, why, room);
    if (right && env_memory_open_files(env) != 0) {
        snprintf(why, room, "files were left open");
        right = false;
    }
    env_memory_free(env);
    return right;
}

/* One edit in words; b as directory_edit takes it. */
static inline int directory_tell_edit(const struct directory *d, struct directory_bytes *b, char *out, size_t room)
{
    static const char *const words[] = {
        "a bit flipped in", "bytes overwritten in", "cut:", "made longer:", "bytes moved into", "removed:",
        "moved:",           "a sector zeroed in"};
    unsigned what = (unsigned)directory_take(b, 1) % 8;
    int a = (int)(directory_take(b, 1) % (uint64_t)d->count);
    uint64_t at = directory_take(b, 3) % d->size[a], n = 0;
    if (what == 0 || what == 3)
        n = directory_take(b, 1);
    if (what == 3)
        n = 1 + directory_take(b, 2) % 512;
    if (what == 1) {
        n = 1 + directory_take(b, 1) % 32;
        (void)directory_take(b, (int)n);
    }
    const char *other = what == 4 || what == 6 ? d->path[directory_take(b, 1) % (uint64_t)d->count] : "";
    if (what == 4) {
        (void)directory_take(b, 3);
        n = 1 + directory_take(b, 2) % 512;
    }
    return snprintf(out, room, "%s %s at %llu (%llu) %s", words[what], d->path[a], (unsigned long long)at,
                    (unsigned long long)n, other);
}

static inline bool directory_copy_out(const struct directory *d, const char *path, const char *to)
{
    uint8_t bytes[4096];
    size_t n;
    FILE *out = fopen(to, "wb");
    if (!out)
        return false;
    for (uint64_t at = 0; (n = directory_read(d->env, path, at, bytes, sizeof(bytes))) > 0; at += n)
        if (fwrite(bytes, 1, n, out) != n)
            break;
    return fclose(out) == 0;
}

/* Writes the undamaged files to `to` and its folders wal, sst, data: what a directory is made of differs from run to run,
 * and so the bytes of the edits alone do not bring a failure back. */
static inline bool directory_keep(const struct directory *d, const char *to)
{
    static const char *const folders[] = {"", "/wal", "/sst", "/data"};
    char path[512];
    bool good = true;
    for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++) {
        snprintf(path, sizeof(path), "%s%s", to, folders[i]);
        good &= mkdir(path, 0755) == 0;
    }
    for (int i = 0; i < d->count; i++) {
        snprintf(path, sizeof(path), "%s%s", to, d->path[i] + sizeof("/data") - 1);
        good &= directory_copy_out(d, d->path[i], path);
    }
    return good;
}

#endif
