/* The data directory: what it is, whose it is, how often it was opened.
 *
 *     LOCK      held while a process has the directory open
 *     IDENTITY  text, written once:
 *                   varve data directory
 *                   format 1
 *                   engine lsm
 *                   uuid 32 hex digits
 *                   seed 32 hex digits
 *                   checksum 8 hex digits       (of all lines before)
 *     BOOT      text: "boot N", "checksum ...". N is raised durably at each open before anything else is done.
 *     wal/      the log (log_format.h)
 *     ...       the engine's files
 *
 * Making a directory: BOOT with 0, the engine's first files, IDENTITY. So BOOT 0 without IDENTITY is a directory whose
 * making was interrupted, nothing was committed, and it is made anew; any other BOOT without IDENTITY is one that has
 * lost its identity, and is refused. */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/num.h"
#include "front/internal.h"

#define FORMAT 1
#define CHECKSUM_SALT 0x7661727665 /* "varve" */
#define SMALL_FILE 4096

static enum result path_of(const struct front *f, const char *name, char out[512])
{
    int n = snprintf(out, 512, "%s/%s", f->dir, name);
    return n > 0 && n < 512 ? RES_OK : RES_INVALID;
}

/* Appends the checksum line and installs the file. */
static enum result install(struct front *f, const char *dir, const char *name, char *text, size_t room)
{
    size_t len = strlen(text);
    int n = snprintf(text + len, room - len, "checksum %08" PRIx32 "\n", checksum32(text, len, CHECKSUM_SALT));
    assert(n > 0 && (size_t)n < room - len);
    return env_install_file(f->o.env, dir, name, slice_of(text, len + (size_t)n));
}

/* Reads a file and checks its last line, which is cut off. The text is malloc'd and ends with a 0. */
static enum result load(struct front *f, const char *name, char **text, struct errmsg *msg)
{
    char path[512];
    uint8_t *data = NULL;
    size_t len = 0;
    *text = NULL;
    enum result res = path_of(f, name, path);
    if (res == RES_OK)
        res = env_read_file(f->o.env, path, SMALL_FILE, &data, &len);
    if (res == RES_NOT_FOUND)
        return res;
    if (res != RES_OK)
        return errmsg_set(msg, res, "cannot read %s: %s", path, result_text(res));
    unsigned checksum = 0;
    char *copy = malloc(len + 1);
    if (copy) {
        memcpy(copy, data, len);
        copy[len] = 0;
    }
    free(data);
    if (!copy)
        return RES_NO_MEMORY;
    char *line = strstr(copy, "\nchecksum ");
    size_t body = line ? (size_t)(line + 1 - copy) : 0;
    if (!line || len != body + 18 || sscanf(line + 10, "%8x", &checksum) != 1 ||
        checksum != checksum32(copy, body, CHECKSUM_SALT)) {
        free(copy);
        return errmsg_set(msg, RES_CORRUPT, "%s is damaged (its checksum does not fit): restore it from a backup",
                          path);
    }
    copy[body] = 0;
    *text = copy;
    return RES_OK;
}

static void put_hex(char *out, const void *data, size_t len)
{
    for (size_t i = 0; i < len; i++)
        sprintf(out + 2 * i, "%02x", ((const uint8_t *)data)[i]);
}

static bool get_hex(const char *in, void *data, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        unsigned byte;
        if (sscanf(in + 2 * i, "%2x", &byte) != 1)
            return false;
        ((uint8_t *)data)[i] = (uint8_t)byte;
    }
    return true;
}

static enum result parse_identity(struct front *f, const char *text, struct errmsg *msg)
{
    char uuid[33], seed[33];
    unsigned format = 0;
    struct front_identity *id = &f->identity;
    if (sscanf(text, "varve data directory\nformat %u\n", &format) != 1)
        return errmsg_set(msg, RES_CORRUPT, "%s/IDENTITY is not the identity of a Varve data directory", f->dir);
    if (format != FORMAT)
        return errmsg_set(msg, RES_UNSUPPORTED,
                          "%s has format version %u, this program knows version %d: use the program that wrote it",
                          f->dir, format, FORMAT);
    if (sscanf(text, "varve data directory\nformat %u\nengine %15s\nuuid %32s\nseed %32s\n", &format, id->engine, uuid,
               seed) != 4 ||
        !get_hex(uuid, id->uuid, 16) || !get_hex(seed, id->seed, 16))
        return errmsg_set(msg, RES_CORRUPT, "%s/IDENTITY cannot be understood: restore it from a backup", f->dir);
    id->format = format;
    if (strcmp(id->engine, f->ops->name) != 0)
        return errmsg_set(msg, RES_UNSUPPORTED,
                          "%s belongs to engine %s, not %s: set engine %s, or make a directory for the other one by: "
                          "kvctl convert %s --to %s DIR2",
                          f->dir, id->engine, f->ops->name, id->engine, f->dir, f->ops->name);
    return RES_OK;
}

static enum result write_boot(struct front *f, uint64_t epoch, struct errmsg *msg)
{
    char text[128];
    snprintf(text, sizeof(text), "boot %" PRIu64 "\n", epoch);
    enum result res = install(f, f->dir, "BOOT", text, sizeof(text));
    if (res != RES_OK)
        return errmsg_set(msg, res, "cannot write %s/BOOT: %s", f->dir, result_text(res));
    return RES_OK;
}

static void new_identity(struct front *f)
{
    struct front_identity *id = &f->identity;
    f->o.env->ops->random(f->o.env, id->uuid, sizeof(id->uuid));
    f->o.env->ops->random(f->o.env, id->seed, sizeof(id->seed));
    if (f->o.like) /* keys are ordered by it */
        memcpy(id->seed, f->o.like->seed, sizeof(id->seed));
    id->uuid[6] = (uint8_t)((id->uuid[6] & 0x0f) | 0x40); /* RFC 4122, version 4 */
    id->uuid[8] = (uint8_t)((id->uuid[8] & 0x3f) | 0x80);
    id->format = FORMAT;
    snprintf(id->engine, sizeof(id->engine), "%s", f->ops->name);
}

/* Is this the name of a file or folder that front or engine keep in a data directory? Others may lie there too (a log
 * file, a configuration): they are left alone. */
static bool is_ours(const char *name)
{
    static const char *const names[] = {"LOCK", "BOOT", "IDENTITY", "CURRENT", "wal", "sst", "btree", "FILES", "data"};
    size_t len = strlen(name);
    if (len > 4 && strcmp(name + len - 4, ".tmp") == 0) /* env_install_file's, interrupted */
        len -= 4;
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
        if (strlen(names[i]) == len && strncmp(names[i], name, len) == 0)
            return true;
    return strncmp(name, "MANIFEST-", 9) == 0;
}

/* Files of a data directory in one that has no IDENTITY. */
struct listing {
    int remains;
    char first[256];
};

static void note_remains(void *arg, const char *name)
{
    struct listing *l = arg;
    if (!is_ours(name) || strcmp(name, "LOCK") == 0 || strcmp(name, "BOOT.tmp") == 0)
        return;
    if (l->remains++ == 0)
        snprintf(l->first, sizeof(l->first), "%s", name);
}

struct ours {
    struct front *f;
    enum result res;
};

static void remove_ours(void *arg, const char *name)
{
    struct ours *o = arg;
    char path[512];
    if (o->res != RES_OK || !is_ours(name) || strcmp(name, "LOCK") == 0 || strcmp(name, "BOOT") == 0)
        return;
    o->res = path_of(o->f, name, path);
    if (o->res == RES_OK && o->f->o.env->ops->unlink(o->f->o.env, path) != RES_OK)
        o->res = env_remove_tree(o->f->o.env, path);
}

/* Removes what an interrupted making left in the directory, but LOCK and BOOT, and what is not ours. */
static enum result clear(struct front *f)
{
    struct ours o = {.f = f};
    enum result res = f->o.env->ops->list(f->o.env, f->dir, remove_ours, &o);
    return res == RES_OK ? o.res : res;
}

/* No IDENTITY: a new directory, one whose making was interrupted, or none of ours. */
static enum result begin_fresh(struct front *f, const char *boot, struct errmsg *msg)
{
    if (boot && strcmp(boot, "boot 0\n") != 0)
        return errmsg_set(msg, RES_CORRUPT, "%s has lost its IDENTITY file: restore it from a backup", f->dir);
    if (!boot) {
        struct listing l = {0};
        enum result res = f->o.env->ops->list(f->o.env, f->dir, note_remains, &l);
        if (res != RES_OK)
            return errmsg_set(msg, res, "cannot list %s: %s", f->dir, result_text(res));
        if (l.remains)
            return errmsg_set(msg, RES_CORRUPT,
                              "%s has %s but no IDENTITY file: restore it from a backup, or name another directory",
                              f->dir, l.first);
        if (!f->o.create)
            return errmsg_set(msg, RES_NOT_FOUND, "%s is no data directory and not to be made one", f->dir);
    }
    new_identity(f);
    f->identity.boot_epoch = 0;
    if (boot) {
        enum result res = clear(f);
        return res == RES_OK ? RES_OK
                             : errmsg_set(msg, res, "cannot clear %s, whose making was interrupted: %s", f->dir,
                                          result_text(res));
    }
    return write_boot(f, 0, msg);
}

static enum result make_dir(struct front *f, struct errmsg *msg)
{
    enum result res = f->o.env->ops->mkdir(f->o.env, f->dir);
    if (res == RES_EXISTS)
        return RES_OK;
    if (res == RES_OK) { /* its entry in the directory above must be durable too */
        char above[512];
        snprintf(above, sizeof(above), "%s", f->dir);
        for (size_t n = strlen(above); n > 1 && above[n - 1] == '/'; n--)
            above[n - 1] = 0;
        char *slash = strrchr(above, '/');
        if (slash && slash != above)
            *slash = 0;
        else
            snprintf(above, sizeof(above), "%s", slash ? "/" : ".");
        res = f->o.env->ops->sync_dir(f->o.env, above);
    }
    if (res != RES_OK)
        return errmsg_set(msg, res, "cannot make the directory %s: %s", f->dir, result_text(res));
    return RES_OK;
}

static enum result lock_dir(struct front *f, struct errmsg *msg)
{
    char path[512];
    enum result res = path_of(f, "LOCK", path);
    if (res == RES_OK)
        res = f->o.env->ops->lock(f->o.env, path, &f->lock);
    if (res == RES_LOCKED)
        return errmsg_set(msg, res, "%s is in use by another process (it holds %s)", f->dir, path);
    if (res != RES_OK)
        return errmsg_set(msg, res, "cannot lock %s: %s", path, result_text(res));
    return RES_OK;
}

/* Locks, reads the identity and raises the boot epoch; or prepares a fresh directory (*fresh). */
enum result identity_begin(struct front *f, bool *fresh, struct errmsg *msg)
{
    char *identity = NULL, *boot = NULL;
    uint64_t epoch = 0;
    *fresh = false;
    enum result res = make_dir(f, msg);
    if (res == RES_OK)
        res = lock_dir(f, msg);
    if (res != RES_OK)
        return res;
    res = load(f, "BOOT", &boot, msg);
    if (res == RES_OK || res == RES_NOT_FOUND)
        res = load(f, "IDENTITY", &identity, msg);
    if (res == RES_NOT_FOUND) {
        *fresh = true;
        res = begin_fresh(f, boot, msg);
    } else if (res == RES_OK) {
        if (!boot || sscanf(boot, "boot %" SCNu64 "\n", &epoch) != 1)
            res = errmsg_set(msg, RES_CORRUPT, "%s/BOOT is missing or damaged: restore it from a backup", f->dir);
        else
            res = parse_identity(f, identity, msg);
        f->identity.boot_epoch = epoch + 1;
        if (res == RES_OK)
            res = write_boot(f, epoch + 1, msg);
    }
    free(identity);
    free(boot);
    return res;
}

static enum result write_identity(struct front *f, const char *dir)
{
    char text[512], uuid[33], seed[33];
    const struct front_identity *id = &f->identity;
    put_hex(uuid, id->uuid, 16);
    put_hex(seed, id->seed, 16);
    snprintf(text, sizeof(text), "varve data directory\nformat %u\nengine %s\nuuid %s\nseed %s\n", id->format,
             id->engine, uuid, seed);
    return install(f, dir, "IDENTITY", text, sizeof(text));
}

/* After the engine's first files are there. */
enum result identity_finish(struct front *f, bool fresh, struct errmsg *msg)
{
    if (!fresh)
        return RES_OK;
    enum result res = write_identity(f, f->dir);
    if (res != RES_OK)
        return errmsg_set(msg, res, "cannot write %s/IDENTITY: %s", f->dir, result_text(res));
    f->identity.boot_epoch = f->o.like ? f->o.like->boot_epoch : 1; /* object ids are not to come again */
    return write_boot(f, f->identity.boot_epoch, msg);
}

enum result identity_copy(struct front *f, const char *dir)
{
    char text[128];
    snprintf(text, sizeof(text), "boot %" PRIu64 "\n", f->identity.boot_epoch);
    enum result res = install(f, dir, "BOOT", text, sizeof(text));
    return res == RES_OK ? write_identity(f, dir) : res;
}
