/* The shadow environment: see env_shadow.h.
 *
 * Names that were changed are in a list: each leads to a node, or says that the inner file of that name is gone. A node is
 * a file: an inner file opened for reading, of which the first `limit` bytes still count, and chunks that were written
 * over it. A chunk is filled from the inner file when it is first touched. */
#include "os/env_shadow.h"

#include <assert.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#define CHUNK (64u * 1024)

struct node {
    unsigned refs; /* names and open files */
    bool is_dir;
    struct env_file *inner; /* NULL: none, or nothing of it counts */
    uint64_t limit, size;
    uint8_t **chunks;
    size_t chunk_count;
};

struct name {
    char *path;
    struct node *node; /* NULL: removed */
    struct name *next;
};

struct shadow {
    struct env base;
    struct env *inner;
    pthread_mutex_t lock; /* of all that follows, nodes included */
    struct name *names;
    bool refuse;
    uint64_t bytes;
};

struct shadow_file {
    struct env_file base;
    struct shadow *env;
    struct node *node;       /* NULL: a lock that only we know of */
    struct env_file *locked; /* the inner lock */
};

static struct shadow *self(struct env *env) { return (struct shadow *)env; }
static struct shadow_file *file_self(struct env_file *f) { return (struct shadow_file *)f; }

/* ---- nodes ---- */

static struct node *node_new(bool is_dir)
{
    struct node *n = calloc(1, sizeof *n);
    if (n)
        n->is_dir = is_dir;
    return n;
}

static void node_unref(struct shadow *s, struct node *n)
{
    if (!n || (n->refs > 0 && --n->refs > 0))
        return;
    if (n->inner)
        (void)n->inner->ops->close(n->inner);
    for (size_t i = 0; i < n->chunk_count; i++)
        if (n->chunks[i]) {
            free(n->chunks[i]);
            s->bytes -= CHUNK;
        }
    free(n->chunks);
    free(n);
}

/* The chunk at index i, to be written. */
static enum result chunk_for_write(struct shadow *s, struct node *n, size_t i, uint8_t **out)
{
    if (i >= n->chunk_count) {
        size_t count = i + 1 > 2 * n->chunk_count ? i + 1 : 2 * n->chunk_count;
        uint8_t **more = realloc(n->chunks, count * sizeof *more);
        if (!more)
            return RES_NO_MEMORY;
        memset(more + n->chunk_count, 0, (count - n->chunk_count) * sizeof *more);
        n->chunks = more;
        n->chunk_count = count;
    }
    if (!n->chunks[i]) {
        uint64_t from = (uint64_t)i * CHUNK;
        size_t got = 0;
        uint8_t *bytes = calloc(1, CHUNK);
        if (!bytes)
            return RES_NO_MEMORY;
        if (n->inner && from < n->limit) {
            size_t len = n->limit - from < CHUNK ? (size_t)(n->limit - from) : CHUNK;
            enum result r = n->inner->ops->pread(n->inner, bytes, len, from, 0, &got);
            if (r != RES_OK) {
                free(bytes);
                return r;
            }
        }
        n->chunks[i] = bytes;
        s->bytes += CHUNK;
    }
    *out = n->chunks[i];
    return RES_OK;
}

static enum result node_write(struct shadow *s, struct node *n, const uint8_t *data, size_t len, uint64_t offset)
{
    while (len) {
        uint8_t *chunk;
        size_t at = (size_t)(offset % CHUNK), part = CHUNK - at < len ? CHUNK - at : len;
        enum result r = chunk_for_write(s, n, (size_t)(offset / CHUNK), &chunk);
        if (r != RES_OK)
            return r;
        memcpy(chunk + at, data, part);
        data += part;
        len -= part;
        offset += part;
    }
    return RES_OK;
}

static enum result node_read(struct node *n, uint8_t *out, size_t len, uint64_t offset, size_t *got)
{
    *got = 0;
    if (offset >= n->size)
        return RES_OK;
    len = n->size - offset < len ? (size_t)(n->size - offset) : len;
    while (*got < len) {
        size_t i = (size_t)(offset / CHUNK), at = (size_t)(offset % CHUNK), part = CHUNK - at, read = 0;
        part = part < len - *got ? part : len - *got;
        if (i < n->chunk_count && n->chunks[i]) {
            memcpy(out, n->chunks[i] + at, part);
        } else {
            memset(out, 0, part);
            size_t inner = n->inner && offset < n->limit ? part : 0;
            inner = inner && n->limit - offset < inner ? (size_t)(n->limit - offset) : inner;
            enum result r = inner ? n->inner->ops->pread(n->inner, out, inner, offset, 0, &read) : RES_OK;
            if (r != RES_OK)
                return r;
        }
        out += part;
        offset += part;
        *got += part;
    }
    return RES_OK;
}

/* What lies behind `size` is zeros when the file grows again. */
static enum result node_truncate(struct shadow *s, struct node *n, uint64_t size)
{
    if (size < n->size) {
        size_t i = (size_t)(size / CHUNK), at = (size_t)(size % CHUNK);
        if (at && i < n->chunk_count && n->chunks[i])
            memset(n->chunks[i] + at, 0, CHUNK - at);
        for (i += at > 0; i < n->chunk_count; i++)
            if (n->chunks[i]) {
                free(n->chunks[i]);
                n->chunks[i] = NULL;
                s->bytes -= CHUNK;
            }
        n->limit = n->limit < size ? n->limit : size;
    }
    n->size = size;
    return RES_OK;
}

/* ---- names ---- */

static struct name *find(struct shadow *s, const char *path)
{
    for (struct name *n = s->names; n; n = n->next)
        if (strcmp(n->path, path) == 0)
            return n;
    return NULL;
}

/* The name means this node from now on (takes a reference), or nothing. */
static enum result set_name(struct shadow *s, const char *path, struct node *node)
{
    struct name *n = find(s, path);
    if (!n) {
        n = calloc(1, sizeof *n);
        if (!n || !(n->path = strdup(path))) {
            free(n);
            return RES_NO_MEMORY;
        }
        n->next = s->names;
        s->names = n;
    }
    if (node)
        node->refs++;
    struct node *old = n->node;
    n->node = node;
    node_unref(s, old);
    return RES_OK;
}

/* The node behind a name, made of the inner file when there is none yet. */
static enum result node_of(struct shadow *s, const char *path, struct node **out)
{
    struct name *name = find(s, path);
    *out = name ? name->node : NULL;
    if (name)
        return name->node ? RES_OK : RES_NOT_FOUND;
    struct env_file *inner;
    enum result r = s->inner->ops->open(s->inner, path, ENV_READ, &inner);
    if (r != RES_OK)
        return r;
    struct node *n = node_new(false);
    if (!n) {
        (void)inner->ops->close(inner);
        return RES_NO_MEMORY;
    }
    n->inner = inner;
    r = inner->ops->size(inner, &n->size);
    n->limit = n->size;
    if (r == RES_OK)
        r = set_name(s, path, n);
    if (r != RES_OK)
        node_unref(s, n);
    else
        *out = n;
    return r;
}

static void ignore_name(void *arg, const char *name) { (void)arg, (void)name; }

static bool inner_dir(struct shadow *s, const char *path)
{
    return s->inner->ops->list(s->inner, path, ignore_name, NULL) == RES_OK;
}

/* ---- files ---- */

static enum result shadow_pread(struct env_file *f, void *buf, size_t len, uint64_t offset, int flags, size_t *got)
{
    (void)flags; /* memory, or the page cache of a file that is read once */
    struct shadow_file *file = file_self(f);
    pthread_mutex_lock(&file->env->lock);
    enum result r = node_read(file->node, buf, len, offset, got);
    pthread_mutex_unlock(&file->env->lock);
    return r;
}

static enum result shadow_pwritev(struct env_file *f, const struct iovec *iov, int count, uint64_t offset, int flags)
{
    (void)flags;
    struct shadow_file *file = file_self(f);
    struct node *n = file->node;
    enum result r = RES_OK;
    pthread_mutex_lock(&file->env->lock);
    for (int i = 0; r == RES_OK && i < count; i++) {
        if (file->env->refuse && offset + iov[i].iov_len > n->size)
            r = RES_NO_SPACE;
        else
            r = node_write(file->env, n, iov[i].iov_base, iov[i].iov_len, offset);
        if (r != RES_OK)
            break;
        offset += iov[i].iov_len;
        n->size = n->size > offset ? n->size : offset;
    }
    pthread_mutex_unlock(&file->env->lock);
    return r;
}

static enum result shadow_sync(struct env_file *f) { return (void)f, RES_OK; }

static enum result shadow_size(struct env_file *f, uint64_t *out)
{
    struct shadow_file *file = file_self(f);
    pthread_mutex_lock(&file->env->lock);
    *out = file->node->size;
    pthread_mutex_unlock(&file->env->lock);
    return RES_OK;
}

static enum result shadow_truncate(struct env_file *f, uint64_t size)
{
    struct shadow_file *file = file_self(f);
    pthread_mutex_lock(&file->env->lock);
    enum result r =
        file->env->refuse && size > file->node->size ? RES_NO_SPACE : node_truncate(file->env, file->node, size);
    pthread_mutex_unlock(&file->env->lock);
    return r;
}

/* Space is not needed for what is not kept. */
static enum result shadow_allocate(struct env_file *f, uint64_t offset, uint64_t len)
{
    struct shadow_file *file = file_self(f);
    enum result r = RES_OK;
    pthread_mutex_lock(&file->env->lock);
    if (file->env->refuse && offset + len > file->node->size)
        r = RES_NO_SPACE;
    else if (offset + len > file->node->size)
        file->node->size = offset + len;
    pthread_mutex_unlock(&file->env->lock);
    return r;
}

static void shadow_release(struct env_file *f) { (void)f; }

static void shadow_advise(struct env_file *f, uint64_t offset, uint64_t len, int advice)
{
    (void)f, (void)offset, (void)len, (void)advice;
}

static enum result shadow_close(struct env_file *f)
{
    struct shadow_file *file = file_self(f);
    struct shadow *s = file->env;
    if (file->locked)
        (void)file->locked->ops->close(file->locked);
    pthread_mutex_lock(&s->lock);
    node_unref(s, file->node);
    pthread_mutex_unlock(&s->lock);
    free(file);
    return RES_OK;
}

static const struct env_file_ops file_ops = {
    .pread = shadow_pread,
    .pwritev = shadow_pwritev,
    .sync = shadow_sync,
    .size = shadow_size,
    .truncate = shadow_truncate,
    .allocate = shadow_allocate,
    .release = shadow_release,
    .advise = shadow_advise,
    .close = shadow_close,
};

static enum result file_new(struct shadow *s, struct node *n, struct env_file **out)
{
    struct shadow_file *f = calloc(1, sizeof *f);
    if (!f)
        return RES_NO_MEMORY;
    *f = (struct shadow_file){.base = {&file_ops}, .env = s, .node = n};
    if (n)
        n->refs++;
    *out = &f->base;
    return RES_OK;
}

/* ---- the environment ---- */

/* Under the lock. */
static enum result open_node(struct shadow *s, const char *path, int flags, struct env_file **out)
{
    struct node *n;
    enum result r = node_of(s, path, &n);
    if (r == RES_OK && flags & ENV_CREATE && flags & ENV_EXCL)
        return RES_EXISTS;
    if (r == RES_OK && n->is_dir)
        return RES_INVALID;
    if (r == RES_NOT_FOUND && flags & ENV_CREATE) {
        if (s->refuse)
            return RES_NO_SPACE;
        if (!(n = node_new(false)))
            return RES_NO_MEMORY;
        r = set_name(s, path, n);
        if (r != RES_OK)
            node_unref(s, n);
    }
    return r == RES_OK ? file_new(s, n, out) : r;
}

static enum result shadow_open(struct env *env, const char *path, int flags, struct env_file **out)
{
    struct shadow *s = self(env);
    *out = NULL;
    pthread_mutex_lock(&s->lock);
    bool untouched = !(flags & ENV_WRITE) && find(s, path) == NULL;
    enum result r = untouched ? RES_OK : open_node(s, path, flags, out);
    pthread_mutex_unlock(&s->lock);
    return untouched ? s->inner->ops->open(s->inner, path, ENV_READ, out) : r;
}

static enum result shadow_unlink(struct env *env, const char *path)
{
    struct shadow *s = self(env);
    struct node *n;
    pthread_mutex_lock(&s->lock);
    enum result r = node_of(s, path, &n);
    if (r == RES_OK)
        r = n->is_dir ? RES_INVALID : set_name(s, path, NULL);
    pthread_mutex_unlock(&s->lock);
    return r;
}

static enum result give_name(struct env *env, const char *from, const char *to, bool move)
{
    struct shadow *s = self(env);
    struct node *n;
    pthread_mutex_lock(&s->lock);
    enum result r = node_of(s, from, &n);
    if (r == RES_OK && !move) {
        struct node *there;
        enum result taken = node_of(s, to, &there);
        r = taken == RES_NOT_FOUND ? RES_OK : taken == RES_OK ? RES_EXISTS : taken;
    }
    if (r == RES_OK)
        r = set_name(s, to, n);
    if (r == RES_OK && move && strcmp(from, to) != 0)
        r = set_name(s, from, NULL);
    pthread_mutex_unlock(&s->lock);
    return r;
}

static enum result shadow_rename(struct env *env, const char *from, const char *to)
{
    return give_name(env, from, to, true);
}
static enum result shadow_link(struct env *env, const char *from, const char *to)
{
    return give_name(env, from, to, false);
}

static enum result shadow_mkdir(struct env *env, const char *path)
{
    struct shadow *s = self(env);
    enum result r = RES_EXISTS;
    pthread_mutex_lock(&s->lock);
    struct name *name = find(s, path);
    if (!(name ? name->node != NULL : inner_dir(s, path))) {
        struct node *n = node_new(true);
        r = n ? set_name(s, path, n) : RES_NO_MEMORY;
        if (n && r != RES_OK)
            node_unref(s, n);
    }
    pthread_mutex_unlock(&s->lock);
    return r;
}

static enum result shadow_rmdir(struct env *env, const char *path)
{
    struct shadow *s = self(env);
    pthread_mutex_lock(&s->lock);
    struct name *name = find(s, path);
    bool there = name ? name->node != NULL : inner_dir(s, path);
    enum result r = there ? set_name(s, path, NULL) : RES_NOT_FOUND;
    pthread_mutex_unlock(&s->lock);
    return r;
}

struct listing {
    struct shadow *s;
    const char *dir;
    env_list_fn *each;
    void *arg;
};

/* The name of what lies right in the folder; NULL: elsewhere. */
static const char *name_in(const char *dir, const char *path)
{
    size_t len = strlen(dir);
    return strncmp(path, dir, len) == 0 && path[len] == '/' && !strchr(path + len + 1, '/') ? path + len + 1 : NULL;
}

static void list_inner(void *arg, const char *name)
{
    struct listing *l = arg;
    for (struct name *n = l->s->names; n; n = n->next) {
        const char *own = name_in(l->dir, n->path);
        if (own && strcmp(own, name) == 0)
            return; /* list_own's, if it is still there */
    }
    l->each(l->arg, name);
}

static enum result shadow_list(struct env *env, const char *path, env_list_fn *each, void *arg)
{
    struct shadow *s = self(env);
    struct listing l = {s, path, each, arg};
    pthread_mutex_lock(&s->lock);
    struct name *own = find(s, path);
    enum result r = own ? own->node ? RES_OK : RES_NOT_FOUND : s->inner->ops->list(s->inner, path, list_inner, &l);
    for (struct name *n = s->names; r == RES_OK && n; n = n->next)
        if (n->node && name_in(path, n->path))
            each(arg, name_in(path, n->path));
    pthread_mutex_unlock(&s->lock);
    return r;
}

static enum result shadow_sync_dir(struct env *env, const char *path) { return (void)env, (void)path, RES_OK; }

static enum result shadow_lock(struct env *env, const char *path, struct env_file **out)
{
    struct shadow *s = self(env);
    struct env_file *locked = NULL;
    *out = NULL;
    if (env_exists(s->inner, path)) {
        enum result r = s->inner->ops->lock(s->inner, path, &locked);
        if (r == RES_LOCKED || r == RES_NO_MEMORY)
            return r;
        if (r != RES_OK) /* a directory that we may only read: nobody can be kept out of it, nor changes it */
            locked = NULL;
    }
    enum result r = file_new(s, NULL, out);
    if (r == RES_OK)
        file_self(*out)->locked = locked;
    else if (locked)
        (void)locked->ops->close(locked);
    return r;
}

static enum result shadow_space(struct env *env, const char *path, uint64_t *free_bytes)
{
    return self(env)->inner->ops->space(self(env)->inner, path, free_bytes);
}
static uint64_t shadow_real_ms(struct env *env) { return self(env)->inner->ops->real_ms(self(env)->inner); }
static uint64_t shadow_mono_ns(struct env *env) { return self(env)->inner->ops->mono_ns(self(env)->inner); }
static void shadow_random(struct env *env, void *out, size_t len)
{
    self(env)->inner->ops->random(self(env)->inner, out, len);
}

static const struct env_ops shadow_ops = {
    .open = shadow_open,
    .unlink = shadow_unlink,
    .rename = shadow_rename,
    .link = shadow_link,
    .mkdir = shadow_mkdir,
    .rmdir = shadow_rmdir,
    .list = shadow_list,
    .sync_dir = shadow_sync_dir,
    .lock = shadow_lock,
    .space = shadow_space,
    .real_ms = shadow_real_ms,
    .mono_ns = shadow_mono_ns,
    .random = shadow_random,
};

struct env *env_shadow_new(struct env *inner)
{
    struct shadow *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->base.ops = &shadow_ops;
    s->inner = inner;
    pthread_mutex_init(&s->lock, NULL);
    return &s->base;
}

void env_shadow_free(struct env *env)
{
    struct shadow *s = self(env);
    if (!s)
        return;
    struct name *next;
    for (struct name *n = s->names; n; n = next) {
        next = n->next;
        node_unref(s, n->node);
        free(n->path);
        free(n);
    }
    assert(s->bytes == 0); /* else a file is still open */
    pthread_mutex_destroy(&s->lock);
    free(s);
}

void env_shadow_refuse(struct env *env)
{
    pthread_mutex_lock(&self(env)->lock);
    self(env)->refuse = true;
    pthread_mutex_unlock(&self(env)->lock);
}

uint64_t env_shadow_bytes(struct env *env)
{
    pthread_mutex_lock(&self(env)->lock);
    uint64_t n = self(env)->bytes;
    pthread_mutex_unlock(&self(env)->lock);
    return n;
}
