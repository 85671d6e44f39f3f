/* Checkpoints: a second data directory, with the tables of this one by hard links.
 *
 * The caller has sealed the active memtable. When the flusher has taken it to the engine, the engine's boundary is at or
 * above all that was committed before, and its tables alone are a consistent state: the one after the commit of the
 * boundary. So the new directory needs no record of the log, only a log to go on from: a START at the boundary with the
 * number that the engine's state names, and the CLEAN note of a life that ended in order. Between the attach of a private
 * table and the flush of its batch's records the engine has a part of a batch above its boundary (the state says so); a
 * checkpoint of that moment is refused with RES_RETRY.
 *
 * All is made under DIR.tmp, synced, and then renamed: a crash, a full disk, or any failure leaves nothing under the name
 * DIR. Within DIR.tmp IDENTITY comes last, so that it is no data directory before it is whole. */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/log.h"
#include "front/internal.h"

#define PATH_ROOM 600

struct checkpoint {
    struct front *f;
    char dir[PATH_ROOM], tmp[PATH_ROOM], above[PATH_ROOM];
    const atomic_bool *stop;
    uint64_t sequence, log;
    bool renamed;
};

static enum result set_paths(struct checkpoint *c, const char *dir)
{
    int n = snprintf(c->dir, sizeof(c->dir), "%s", dir);
    const char *slash = strrchr(dir, '/');
    if (n <= 0 || (size_t)n + sizeof("/wal/000000000000.log.tmp") > sizeof(c->tmp) || dir[n - 1] == '/')
        return RES_INVALID;
    snprintf(c->tmp, sizeof(c->tmp), "%s.tmp", dir);
    snprintf(c->above, sizeof(c->above), "%.*s", slash ? (int)(slash - dir) : 1, slash ? dir : ".");
    if (c->above[0] == 0)
        snprintf(c->above, sizeof(c->above), "/");
    return RES_OK;
}

static enum result accept(void *arg, const struct engine_boundary *b)
{
    struct checkpoint *c = arg;
    c->sequence = b->sequence;
    c->log = 1; /* an engine that has nothing yet names none */
    if (b->state.len == 0)
        return RES_OK;
    assert(b->state.len >= FRONT_STATE_HEAD);
    if (get_le64(b->state.data + 16))
        c->log = get_le64(b->state.data + 16);
    return get_le64(b->state.data + 24) ? RES_RETRY : RES_OK;
}

/* START and CLEAN. */
static size_t log_of_nothing(const struct checkpoint *c, uint8_t out[LOG_START_RECORD + LOG_NOTE_RECORD])
{
    const struct front_identity *id = &c->f->identity;
    struct log_start s = {.format = LOG_FORMAT_VERSION, .epoch = id->boot_epoch};
    struct log_header start = {.length = LOG_START_BYTES,
                               .type = LOG_START,
                               .number = c->log,
                               .first = c->sequence,
                               .epoch = (uint32_t)id->boot_epoch,
                               .durable = c->sequence};
    struct log_header note = {
        .type = LOG_NOTE, .flags = LOG_CLEAN, .number = c->log, .first = c->sequence, .durable = c->sequence};
    memcpy(s.uuid, id->uuid, sizeof(s.uuid));
    log_start_put(out + LOG_START_HEADER_BYTES, &s);
    log_header_put(out, LOG_FORMAT_VERSION, &start, 0, out + LOG_START_HEADER_BYTES);
    log_header_put(out + LOG_START_RECORD, LOG_FORMAT_VERSION, &note, LOG_START_RECORD, "");
    return LOG_START_RECORD + LOG_NOTE_RECORD;
}

static enum result make_log(const struct checkpoint *c)
{
    struct env *env = c->f->o.env;
    uint8_t bytes[LOG_START_RECORD + LOG_NOTE_RECORD] = {0};
    char wal[PATH_ROOM + 8], name[32];
    size_t len = log_of_nothing(c, bytes);
    snprintf(wal, sizeof(wal), "%s/wal", c->tmp);
    snprintf(name, sizeof(name), "%012" PRIu64 ".log", c->log);
    enum result res = env->ops->mkdir(env, wal);
    return res == RES_OK ? env_install_file(env, wal, name, slice_of(bytes, len)) : res;
}

static enum result make(struct checkpoint *c)
{
    struct env *env = c->f->o.env;
    const struct engine_checkpoint how = {.accept = accept, .arg = c, .stop = c->stop};
    enum result res = front_await_engine(c->f, c->stop);
    if (res == RES_OK)
        res = env_remove_tree(env, c->tmp);
    if (res == RES_OK)
        res = c->f->ops->checkpoint(c->f->engine, c->tmp, &how);
    if (res == RES_OK)
        res = make_log(c);
    if (res == RES_OK)
        res = identity_copy(c->f, c->tmp); /* whose sync of the directory is wal's entry's as well */
    if (res == RES_OK)
        res = env->ops->rename(env, c->tmp, c->dir);
    c->renamed = res == RES_OK;
    return res == RES_OK ? env->ops->sync_dir(env, c->above) : res;
}

enum result front_checkpoint(struct front *f, const char *dir, const atomic_bool *stop, uint64_t *sequence,
                             struct errmsg *msg)
{
    struct checkpoint c = {.f = f, .stop = stop};
    *sequence = 0;
    if (!f->ops->persistent)
        return errmsg_set(msg, RES_UNSUPPORTED, "engine %s keeps nothing on disk: there is nothing to link to",
                          f->ops->name);
    enum result res = set_paths(&c, dir);
    if (res == RES_OK) {
        res = make(&c);
        enum result removed = res == RES_OK ? RES_OK
                              : c.renamed   ? front_checkpoint_remove(f->o.env, dir)
                                            : env_remove_tree(f->o.env, c.tmp);
        if (removed != RES_OK)
            log_warning("what was made of checkpoint %s cannot be removed: %s", dir, result_text(removed));
    }
    if (res == RES_READ_ONLY)
        return errmsg_set(msg, res, "%s", front_failure(f));
    if (res != RES_OK)
        return errmsg_set(msg, res, "a checkpoint in %s cannot be made: %s", dir, result_text(res));
    *sequence = c.sequence;
    return RES_OK;
}

/* Its name goes first, durably, then what is in it. */
enum result front_checkpoint_remove(struct env *env, const char *dir)
{
    struct checkpoint c;
    enum result res = set_paths(&c, dir);
    if (res == RES_OK)
        res = env_remove_tree(env, c.tmp);
    if (res == RES_OK)
        res = env->ops->rename(env, c.dir, c.tmp);
    if (res == RES_NOT_FOUND)
        return RES_OK;
    if (res == RES_OK)
        res = env->ops->sync_dir(env, c.above);
    return res == RES_OK ? env_remove_tree(env, c.tmp) : res;
}
