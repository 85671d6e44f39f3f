/* Helpers over the environment's table, the same for every environment. */
#include "os/env.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

enum result env_read_file(struct env *env, const char *path, size_t limit, uint8_t **data, size_t *len)
{
    struct env_file *f = NULL;
    uint8_t *bytes = NULL;
    uint64_t size;
    size_t got = 0;

    *data = NULL;
    *len = 0;
    enum result r = env->ops->open(env, path, ENV_READ, &f);
    if (r != RES_OK)
        return r;
    r = f->ops->size(f, &size);
    if (r != RES_OK)
        goto out;
    if (size > limit) {
        r = RES_RANGE;
        goto out;
    }
    bytes = malloc((size_t)size + 1);
    if (!bytes) {
        r = RES_NO_MEMORY;
        goto out;
    }
    r = f->ops->pread(f, bytes, (size_t)size, 0, 0, &got);
    if (r != RES_OK)
        goto out;
    bytes[got] = 0; /* so that text can be used as a string */
    *data = bytes;
    *len = got;
    bytes = NULL;
out:
    free(bytes);
    (void)f->ops->close(f); /* only read: nothing to lose */
    return r;
}

enum result env_write(struct env_file *f, const void *data, size_t len, uint64_t offset)
{
    struct iovec iov = {(void *)(uintptr_t)data, len};
    return f->ops->pwritev(f, &iov, 1, offset, 0);
}

static enum result write_new(struct env *env, const char *path, struct slice content)
{
    struct env_file *f;
    enum result r = env->ops->open(env, path, ENV_WRITE | ENV_CREATE, &f);
    if (r != RES_OK)
        return r;
    r = f->ops->truncate(f, 0); /* a crash may have left one */
    if (r == RES_OK)
        r = env_write(f, content.data, content.len, 0);
    if (r == RES_OK)
        r = f->ops->sync(f);
    enum result closed = f->ops->close(f);
    return r != RES_OK ? r : closed;
}

enum result env_install_file(struct env *env, const char *dir, const char *name, struct slice content)
{
    size_t room = strlen(dir) + strlen(name) + sizeof "/.tmp";
    char *path = malloc(room), *temporary = malloc(room);
    enum result r = RES_NO_MEMORY;

    if (!path || !temporary)
        goto out;
    snprintf(path, room, "%s/%s", dir, name);
    snprintf(temporary, room, "%s/%s.tmp", dir, name);
    r = write_new(env, temporary, content);
    if (r == RES_OK)
        r = env->ops->rename(env, temporary, path);
    if (r != RES_OK) {
        enum result ignored = env->ops->unlink(env, temporary);
        (void)ignored; /* the next try overwrites it */
        goto out;
    }
    r = env->ops->sync_dir(env, dir);
out:
    free(path);
    free(temporary);
    return r;
}

bool env_exists(struct env *env, const char *path)
{
    struct env_file *f;
    enum result r = env->ops->open(env, path, ENV_READ, &f);
    if (r == RES_OK)
        (void)f->ops->close(f);
    return r != RES_NOT_FOUND;
}

struct names {
    char **name;
    size_t count, room;
    bool failed;
};

static void note_name(void *arg, const char *name)
{
    struct names *n = arg;
    if (n->count == n->room) {
        size_t room = n->room ? 2 * n->room : 64;
        char **more = realloc(n->name, room * sizeof *more);
        if (!more) {
            n->failed = true;
            return;
        }
        n->name = more;
        n->room = room;
    }
    n->name[n->count] = strdup(name);
    n->failed = n->failed || !n->name[n->count];
    n->count += n->name[n->count] != NULL;
}

static enum result remove_entry(struct env *env, const char *dir, const char *name)
{
    size_t room = strlen(dir) + strlen(name) + 2;
    char *path = malloc(room);
    if (!path)
        return RES_NO_MEMORY;
    snprintf(path, room, "%s/%s", dir, name);
    enum result r = env->ops->unlink(env, path);
    if (r != RES_OK)
        r = env_remove_tree(env, path);
    free(path);
    return r;
}

enum result env_remove_tree(struct env *env, const char *dir)
{
    struct names n = {0};
    enum result r = env->ops->list(env, dir, note_name, &n);
    if (r == RES_OK && n.failed)
        r = RES_NO_MEMORY;
    for (size_t i = 0; i < n.count; i++) {
        if (r == RES_OK)
            r = remove_entry(env, dir, n.name[i]);
        free(n.name[i]);
    }
    free(n.name);
    if (r == RES_OK)
        r = env->ops->rmdir(env, dir);
    return r == RES_NOT_FOUND ? RES_OK : r;
}
