/* A checkpoint: another directory with the tables of the current version, by hard links where the file system can, and a
 * manifest of its own. Tables are immutable, so both may go on independently. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/boundary.h"
#include "engine/lsm/lsm.h"

#define COPY_PIECE (1024 * 1024)

static bool stopped(const struct engine_checkpoint *how) { return how && how->stop && atomic_load(how->stop); }

static enum result copy_file(struct env *env, const char *from, const char *to, const struct engine_checkpoint *how)
{
    struct env_file *in = NULL, *out = NULL;
    uint8_t *piece = malloc(COPY_PIECE);
    enum result r = RES_NO_MEMORY;
    uint64_t at = 0;
    size_t got = 1;

    if (!piece || (r = env->ops->open(env, from, ENV_READ, &in)) != RES_OK ||
        (r = env->ops->open(env, to, ENV_READ | ENV_WRITE | ENV_CREATE | ENV_EXCL, &out)) != RES_OK)
        goto done;
    while (r == RES_OK && got) {
        r = in->ops->pread(in, piece, COPY_PIECE, at, 0, &got);
        if (r == RES_OK && got)
            r = stopped(how) ? RES_CLOSED : env_write(out, piece, got, at);
        at += got;
    }
    if (r == RES_OK)
        r = out->ops->sync(out);
done:
    if (in)
        (void)in->ops->close(in); /* only read */
    if (out) {
        enum result closed = out->ops->close(out);
        r = r != RES_OK ? r : closed;
    }
    free(piece);
    return r;
}

static enum result link_tables(struct lsm *lsm, const struct engine_view *v, const char *sst,
                               const struct engine_checkpoint *how)
{
    size_t room = strlen(sst) + 32;
    char *to = malloc(room);
    enum result r = to ? RES_OK : RES_NO_MEMORY;

    for (uint32_t i = 0; r == RES_OK && i < v->run_count; i++)
        for (uint32_t k = 0; r == RES_OK && k < v->runs[i]->count; k++) {
            uint64_t number = v->runs[i]->tables[k]->meta.number;
            char *from = lsm_table_path(lsm, number);
            snprintf(to, room, "%s/%06" PRIu64 ".sst", sst, number);
            r = from ? lsm->env->ops->link(lsm->env, from, to) : RES_NO_MEMORY;
            /* another file system, one without links, or as many as it allows */
            if (r != RES_OK && r != RES_NO_MEMORY && r != RES_EXISTS && r != RES_NO_SPACE)
                r = copy_file(lsm->env, from, to, how);
            if (r == RES_OK && stopped(how))
                r = RES_CLOSED;
            free(from);
        }
    free(to);
    return r;
}

enum result lsm_checkpoint(struct engine *e, const char *dir, const struct engine_checkpoint *how)
{
    struct lsm *lsm = (struct lsm *)e;
    struct env *env = lsm->env;
    struct manifest m = {.env = env, .dir = dir};
    struct buf payload = BUF_INIT;
    size_t room = strlen(dir) + 8;
    char *sst = malloc(room);
    bool in_doubt;

    if (!sst)
        return RES_NO_MEMORY;
    snprintf(sst, room, "%s/sst", dir);
    os_mutex_lock(&lsm->edit_lock);
    struct engine_view *v = lsm_view_acquire(lsm);
    uint64_t next = __atomic_load_n(&lsm->next_number, __ATOMIC_RELAXED);
    struct engine_boundary boundary = {lsm->sequence, buf_slice(&lsm->state)};
    enum result r = how && how->accept ? how->accept(how->arg, &boundary) : RES_OK;
    if (r == RES_OK)
        r = lsm_encode_state(&payload, v, next + 1, lsm->sequence, buf_slice(&lsm->state));
    os_mutex_unlock(&lsm->edit_lock);
    if (r == RES_OK)
        r = boundary_folders(env, dir, sst);
    if (r == RES_OK)
        r = link_tables(lsm, v, sst, how);
    if (r == RES_OK)
        r = env->ops->sync_dir(env, sst);
    if (r == RES_OK)
        r = manifest_start(&m, next, buf_slice(&payload), &in_doubt);
    manifest_close(&m);
    lsm_view_release(v);
    buf_fini(&payload);
    free(sst);
    return r;
}
