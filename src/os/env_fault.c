/* The table of faults, and the environment that applies it to another one. */
#include "os/env_fault.h"

#include <assert.h>
#include <stdlib.h>

struct env_fault_rule {
    struct env_fault fault;
    char *path;
    uint64_t seen; /* matching calls so far */
};

const char *env_op_name(enum env_op op)
{
    static const char *const names[] = {
#define ENV_OP_NAME(name) #name,
        ENV_OP_TABLE(ENV_OP_NAME)
#undef ENV_OP_NAME
    };
    return (unsigned)op < ENV_OP_COUNT ? names[op] : "?";
}

void env_faults_init(struct env_faults *t)
{
    memset(t, 0, sizeof *t);
    pthread_mutex_init(&t->lock, NULL);
}

void env_faults_fini(struct env_faults *t)
{
    env_faults_clear(t);
    pthread_mutex_destroy(&t->lock);
}

void env_faults_add(struct env_faults *t, const struct env_fault *fault)
{
    pthread_mutex_lock(&t->lock);
    t->rules = realloc(t->rules, (t->count + 1) * sizeof *t->rules);
    assert(t->rules); /* only tests come here */
    struct env_fault_rule *rule = &t->rules[t->count++];
    *rule = (struct env_fault_rule){.fault = *fault};
    if (fault->path) {
        rule->path = strdup(fault->path);
        assert(rule->path);
    }
    rule->fault.path = rule->path;
    if (rule->fault.nth == 0)
        rule->fault.nth = 1;
    if (rule->fault.times == 0)
        rule->fault.times = 1;
    pthread_mutex_unlock(&t->lock);
}

void env_faults_clear(struct env_faults *t)
{
    pthread_mutex_lock(&t->lock);
    for (size_t i = 0; i < t->count; i++)
        free(t->rules[i].path);
    free(t->rules);
    t->rules = NULL;
    t->count = 0;
    pthread_mutex_unlock(&t->lock);
}

uint64_t env_faults_hits(struct env_faults *t)
{
    pthread_mutex_lock(&t->lock);
    uint64_t hits = t->hits;
    pthread_mutex_unlock(&t->lock);
    return hits;
}

uint64_t env_faults_calls(struct env_faults *t, uint32_t ops)
{
    uint64_t n = 0;
    pthread_mutex_lock(&t->lock);
    for (int op = 0; op < ENV_OP_COUNT; op++)
        if (ops & ENV_OP_BIT(op))
            n += t->calls[op];
    pthread_mutex_unlock(&t->lock);
    return n;
}

bool env_faults_hit(struct env_faults *t, enum env_op op, const char *path, struct env_fault *out)
{
    bool hit = false;

    pthread_mutex_lock(&t->lock);
    t->calls[op]++;
    for (size_t i = 0; i < t->count; i++) {
        struct env_fault_rule *rule = &t->rules[i];
        if (!(rule->fault.ops & ENV_OP_BIT(op)) || (rule->path && !strstr(path, rule->path)))
            continue;
        rule->seen++;
        if (!hit && rule->seen >= rule->fault.nth && rule->seen - rule->fault.nth < rule->fault.times) {
            *out = rule->fault;
            hit = true;
            t->hits++;
        }
    }
    pthread_mutex_unlock(&t->lock);
    return hit;
}

/* ---- the wrapper ---------------------------------------------------------------------------------------------- */

struct fault_env {
    struct env base;
    struct env *inner;
    struct env_faults faults;
};

struct fault_file {
    struct env_file base;
    struct env_file *inner;
    struct fault_env *env;
    char *path;
};

static struct fault_env *env_self(struct env *env) { return (struct fault_env *)env; }
static struct fault_file *file_self(struct env_file *f) { return (struct fault_file *)f; }

/* For a call that either happens or not: `call` is the inner one. */
#define FAULTY(faults, op, path, call)                                                                                 \
    do {                                                                                                               \
        struct env_fault fault;                                                                                        \
        if (!env_faults_hit(faults, op, path, &fault))                                                                 \
            return (call);                                                                                             \
        if (fault.done) {                                                                                              \
            enum result inner_result = (call);                                                                         \
            if (inner_result != RES_OK)                                                                                \
                return inner_result;                                                                                   \
        }                                                                                                              \
        return fault.code;                                                                                             \
    } while (0)

static enum result fault_pread(struct env_file *file, void *buf, size_t len, uint64_t offset, int flags, size_t *got)
{
    struct fault_file *f = file_self(file);
    struct env_fault fault;

    if (!env_faults_hit(&f->env->faults, ENV_OP_PREAD, f->path, &fault))
        return f->inner->ops->pread(f->inner, buf, len, offset, flags, got);
    *got = 0;
    if (fault.code != RES_OK)
        return fault.code;
    if (fault.partial >= 0 && (uint64_t)fault.partial < len)
        len = (size_t)fault.partial;
    return f->inner->ops->pread(f->inner, buf, len, offset, flags, got);
}

/* The first `len` bytes of a vector, as a vector of its own. */
static enum result write_part(struct env_file *inner, const struct iovec *iov, int count, uint64_t offset, int flags,
                              uint64_t len)
{
    for (int i = 0; i < count && len; i++) {
        struct iovec part = iov[i];
        if (part.iov_len > len)
            part.iov_len = (size_t)len;
        enum result r = inner->ops->pwritev(inner, &part, 1, offset, flags);
        if (r != RES_OK)
            return r;
        offset += part.iov_len;
        len -= part.iov_len;
    }
    return RES_OK;
}

static enum result fault_pwritev(struct env_file *file, const struct iovec *iov, int count, uint64_t offset, int flags)
{
    struct fault_file *f = file_self(file);
    struct env_fault fault;

    if (!env_faults_hit(&f->env->faults, ENV_OP_PWRITEV, f->path, &fault))
        return f->inner->ops->pwritev(f->inner, iov, count, offset, flags);
    uint64_t part = fault.done ? UINT64_MAX : fault.partial > 0 ? (uint64_t)fault.partial : 0;
    enum result r = write_part(f->inner, iov, count, offset, flags, part);
    return r != RES_OK ? r : fault.code;
}

static enum result fault_sync(struct env_file *file)
{
    struct fault_file *f = file_self(file);
    FAULTY(&f->env->faults, ENV_OP_SYNC, f->path, f->inner->ops->sync(f->inner));
}

static enum result fault_size(struct env_file *file, uint64_t *out)
{
    struct fault_file *f = file_self(file);
    FAULTY(&f->env->faults, ENV_OP_SIZE, f->path, f->inner->ops->size(f->inner, out));
}

static enum result fault_truncate(struct env_file *file, uint64_t size)
{
    struct fault_file *f = file_self(file);
    FAULTY(&f->env->faults, ENV_OP_TRUNCATE, f->path, f->inner->ops->truncate(f->inner, size));
}

static enum result fault_allocate(struct env_file *file, uint64_t offset, uint64_t len)
{
    struct fault_file *f = file_self(file);
    FAULTY(&f->env->faults, ENV_OP_ALLOCATE, f->path, f->inner->ops->allocate(f->inner, offset, len));
}

static void fault_release(struct env_file *file)
{
    struct fault_file *f = (struct fault_file *)file;
    f->inner->ops->release(f->inner);
}

static void fault_advise(struct env_file *file, uint64_t offset, uint64_t len, int advice)
{
    struct fault_file *f = file_self(file);
    f->inner->ops->advise(f->inner, offset, len, advice);
}

static enum result fault_close(struct env_file *file)
{
    struct fault_file *f = file_self(file);
    struct env_fault fault;
    bool hit = env_faults_hit(&f->env->faults, ENV_OP_CLOSE, f->path, &fault);
    enum result r = f->inner->ops->close(f->inner); /* gone, whatever it returns */
    free(f->path);
    free(f);
    return hit ? fault.code : r;
}

static const struct env_file_ops fault_file_ops = {
    .pread = fault_pread,
    .pwritev = fault_pwritev,
    .sync = fault_sync,
    .size = fault_size,
    .truncate = fault_truncate,
    .allocate = fault_allocate,
    .release = fault_release,
    .advise = fault_advise,
    .close = fault_close,
};

static enum result wrap(struct fault_env *env, const char *path, struct env_file *inner, struct env_file **out)
{
    struct fault_file *f = malloc(sizeof *f);
    char *copy = strdup(path);

    if (!f || !copy) {
        free(f);
        free(copy);
        (void)inner->ops->close(inner);
        return RES_NO_MEMORY;
    }
    *f = (struct fault_file){{&fault_file_ops}, inner, env, copy};
    *out = &f->base;
    return RES_OK;
}

static enum result fault_open(struct env *env, const char *path, int flags, struct env_file **out)
{
    struct fault_env *e = env_self(env);
    struct env_fault fault;
    struct env_file *inner;

    *out = NULL;
    bool hit = env_faults_hit(&e->faults, ENV_OP_OPEN, path, &fault);
    if (hit && !fault.done)
        return fault.code;
    enum result r = e->inner->ops->open(e->inner, path, flags, &inner);
    if (r != RES_OK)
        return r;
    if (hit) { /* a file may have been created, but nobody has it */
        (void)inner->ops->close(inner);
        return fault.code;
    }
    return wrap(e, path, inner, out);
}

static enum result fault_lock(struct env *env, const char *path, struct env_file **out)
{
    struct fault_env *e = env_self(env);
    struct env_fault fault;
    struct env_file *inner;

    *out = NULL;
    if (env_faults_hit(&e->faults, ENV_OP_LOCK, path, &fault))
        return fault.code;
    enum result r = e->inner->ops->lock(e->inner, path, &inner);
    return r != RES_OK ? r : wrap(e, path, inner, out);
}

static enum result fault_unlink(struct env *env, const char *path)
{
    struct fault_env *e = env_self(env);
    FAULTY(&e->faults, ENV_OP_UNLINK, path, e->inner->ops->unlink(e->inner, path));
}

static enum result fault_rename(struct env *env, const char *from, const char *to)
{
    struct fault_env *e = env_self(env);
    FAULTY(&e->faults, ENV_OP_RENAME, to, e->inner->ops->rename(e->inner, from, to));
}

static enum result fault_link(struct env *env, const char *from, const char *to)
{
    struct fault_env *e = env_self(env);
    FAULTY(&e->faults, ENV_OP_LINK, to, e->inner->ops->link(e->inner, from, to));
}

static enum result fault_mkdir(struct env *env, const char *path)
{
    struct fault_env *e = env_self(env);
    FAULTY(&e->faults, ENV_OP_MKDIR, path, e->inner->ops->mkdir(e->inner, path));
}

static enum result fault_rmdir(struct env *env, const char *path)
{
    struct fault_env *e = env_self(env);
    FAULTY(&e->faults, ENV_OP_RMDIR, path, e->inner->ops->rmdir(e->inner, path));
}

static enum result fault_list(struct env *env, const char *path, env_list_fn *each, void *arg)
{
    struct fault_env *e = env_self(env);
    FAULTY(&e->faults, ENV_OP_LIST, path, e->inner->ops->list(e->inner, path, each, arg));
}

static enum result fault_sync_dir(struct env *env, const char *path)
{
    struct fault_env *e = env_self(env);
    FAULTY(&e->faults, ENV_OP_SYNC_DIR, path, e->inner->ops->sync_dir(e->inner, path));
}

static enum result fault_space(struct env *env, const char *path, uint64_t *free_bytes)
{
    struct fault_env *e = env_self(env);
    FAULTY(&e->faults, ENV_OP_SPACE, path, e->inner->ops->space(e->inner, path, free_bytes));
}

static uint64_t fault_real_ms(struct env *env)
{
    struct env *inner = env_self(env)->inner;
    return inner->ops->real_ms(inner);
}

static uint64_t fault_mono_ns(struct env *env)
{
    struct env *inner = env_self(env)->inner;
    return inner->ops->mono_ns(inner);
}

static void fault_random(struct env *env, void *out, size_t len)
{
    struct env *inner = env_self(env)->inner;
    inner->ops->random(inner, out, len);
}

static const struct env_ops fault_ops = {
    .open = fault_open,
    .unlink = fault_unlink,
    .rename = fault_rename,
    .link = fault_link,
    .mkdir = fault_mkdir,
    .rmdir = fault_rmdir,
    .list = fault_list,
    .sync_dir = fault_sync_dir,
    .lock = fault_lock,
    .space = fault_space,
    .real_ms = fault_real_ms,
    .mono_ns = fault_mono_ns,
    .random = fault_random,
};

struct env *env_fault_new(struct env *inner)
{
    struct fault_env *e = malloc(sizeof *e);
    assert(e);
    e->base.ops = &fault_ops;
    e->inner = inner;
    env_faults_init(&e->faults);
    return &e->base;
}

void env_fault_free(struct env *env)
{
    struct fault_env *e = env_self(env);
    env_faults_fini(&e->faults);
    free(e);
}

struct env_faults *env_fault_table(struct env *env) { return &env_self(env)->faults; }
