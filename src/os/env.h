/* The environment: everything the engine and the executor ask of the operating system goes through this table, so that
 * tests can replace it: `env_posix()` is real, `env_memory_new()` (os/env_memory.h) keeps files in memory, loses what
 * was not synced, and fails calls on demand.
 *
 * Any thread may call any function; one file may be read by many threads and written by one at a time. Paths are
 * relative to the process' directory or absolute. Errors are the codes of base/result.h; RES_NO_SPACE stands for ENOSPC
 * and EDQUOT. After an error of write, sync or close the file's content is unknown: never retry and trust. */
#ifndef VARVE_OS_ENV_H
#define VARVE_OS_ENV_H

#include <sys/uio.h>

#include "base/result.h"
#include "base/slice.h"

struct env;
struct env_file;

enum env_open_flags {
    ENV_READ = 1, /* read only unless ENV_WRITE */
    ENV_WRITE = 2,
    ENV_CREATE = 4,  /* mode 0600 */
    ENV_EXCL = 8,    /* with ENV_CREATE: RES_EXISTS when it is there */
    ENV_DIRECT = 16, /* a wish; ignored where the file system refuses */
};
enum env_io_flags {
    ENV_NOWAIT = 1, /* pread: RES_WOULD_BLOCK unless the page cache has all of it. On tmpfs never blocks */
    ENV_DSYNC = 2,  /* pwritev: returns when the data is durable (RWF_DSYNC) */
    /* pwritev: a wish. The range has been allocated, and all of its pages were written through this file a moment ago, so
     * that they are in the page cache: the bytes may be stored there without asking the kernel, by a mapping of the file
     * that moves along with the writes. They are then where a plain write would have left them, for every reader and for
     * sync, whatever becomes of the process. One thread at a time may wish so for a file. */
    ENV_CACHED = 4,
};

typedef void env_list_fn(void *arg, const char *name);

struct env_ops {
    enum result (*open)(struct env *env, const char *path, int flags, struct env_file **out);
    enum result (*unlink)(struct env *env, const char *path);
    enum result (*rename)(struct env *env, const char *from, const char *to);
    enum result (*link)(struct env *env, const char *from, const char *to);
    enum result (*mkdir)(struct env *env, const char *path); /* mode 0700; RES_EXISTS when it is there */
    enum result (*rmdir)(struct env *env, const char *path);
    enum result (*list)(struct env *env, const char *path, env_list_fn *each, void *arg); /* without . and .. */
    enum result (*sync_dir)(struct env *env, const char *path);
    /* An exclusive lock on the file (created if missing) until unlock or the process' death; RES_LOCKED. */
    enum result (*lock)(struct env *env, const char *path, struct env_file **out);
    enum result (*space)(struct env *env, const char *path, uint64_t *free_bytes);
    uint64_t (*real_ms)(struct env *env);                   /* wall clock, milliseconds since 1970 */
    uint64_t (*mono_ns)(struct env *env);                   /* monotonic clock */
    void (*random)(struct env *env, void *out, size_t len); /* unpredictable bytes; never fails */
};
struct env {
    const struct env_ops *ops;
};

struct env_file_ops {
    /* Exactly len bytes or fewer at the end of the file (*got). */
    enum result (*pread)(struct env_file *f, void *buf, size_t len, uint64_t offset, int flags, size_t *got);
    /* All or an error (a short write by the kernel is continued inside). */
    enum result (*pwritev)(struct env_file *f, const struct iovec *iov, int count, uint64_t offset, int flags);
    enum result (*sync)(struct env_file *f); /* fdatasync */
    enum result (*size)(struct env_file *f, uint64_t *out);
    enum result (*truncate)(struct env_file *f, uint64_t size);
    enum result (*allocate)(struct env_file *f, uint64_t offset, uint64_t len); /* fallocate; RES_UNSUPPORTED */
    /* No more writes with ENV_CACHED are to come: what was kept for them is given back. By whoever may write so. */
    void (*release)(struct env_file *f);
    void (*advise)(struct env_file *f, uint64_t offset, uint64_t len, int posix_fadvise_advice);
    enum result (*close)(struct env_file *f); /* f is gone, whatever it returns */
};
struct env_file {
    const struct env_file_ops *ops;
};

struct env *env_posix(void); /* a static object */

/* Helpers over the table. */
enum result env_read_file(struct env *env, const char *path, size_t limit, uint8_t **data, size_t *len)
    MUST_CHECK; /* malloc'd */
/* Installs a small file whole: temporary name, write, fsync, rename, fsync of the directory. */
enum result env_install_file(struct env *env, const char *dir, const char *name, struct slice content) MUST_CHECK;
enum result env_write(struct env_file *f, const void *data, size_t len, uint64_t offset) MUST_CHECK;
bool env_exists(struct env *env, const char *path);
/* Removes a directory with all that is in it. RES_OK when there is none. */
enum result env_remove_tree(struct env *env, const char *dir) MUST_CHECK;

#endif
