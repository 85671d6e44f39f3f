/* A second directory with the state of a moment: the records of a view, in order, into a new file, which has no waste in
 * it. Nobody is held up meanwhile; the view is not cut for what it holds back, only when the map has to grow. */
#include <stdio.h>
#include <stdlib.h>

#include "engine/btree/btree.h"

#define STEP_BYTES ((size_t)32 << 20) /* of one transaction */

struct copy {
    struct btree to; /* as much of one as writing a record takes */
    MDB_txn *txn;
};

static int begin(struct copy *c, const char *dir, size_t map)
{
    int rc = mdb_env_create(&c->to.mdb);
    if (rc == MDB_SUCCESS)
        rc = mdb_env_set_mapsize(c->to.mdb, map);
    if (rc == MDB_SUCCESS) /* synced at the end: before, the directory is of no use */
        rc = mdb_env_open(c->to.mdb, dir, MDB_NOSYNC | MDB_NOLOCK, 0600);
    if (rc == MDB_SUCCESS && (rc = mdb_txn_begin(c->to.mdb, NULL, 0, &c->txn)) == MDB_SUCCESS)
        rc = mdb_dbi_open(c->txn, NULL, 0, &c->to.dbi);
    return rc;
}

static int step(struct copy *c)
{
    MDB_txn *txn = c->txn;
    c->txn = NULL;
    int rc = mdb_txn_commit(txn);
    return rc == MDB_SUCCESS ? mdb_txn_begin(c->to.mdb, NULL, 0, &c->txn) : rc;
}

static enum result copy_records(struct copy *c, struct iter *it, const struct engine_checkpoint *how)
{
    size_t bytes = 0;
    enum result r = iter_seek(it, slice_of(NULL, 0));
    for (; r == RES_OK; r = iter_next(it)) {
        int rc = btree_put(&c->to, c->txn, it->key, it->value);
        bytes += it->key.len + it->value.len;
        if (rc == MDB_SUCCESS && bytes > STEP_BYTES) {
            bytes = 0;
            rc = step(c);
        }
        if (rc != MDB_SUCCESS)
            return btree_write_result(&c->to, rc);
        if (how && how->stop && atomic_load(how->stop))
            return RES_CLOSED;
    }
    return r == RES_NOT_FOUND ? RES_OK : r;
}

static enum result copy_view(struct btree *b, struct engine_view *v, const struct engine_boundary *boundary, char *dir,
                             const struct engine_checkpoint *how)
{
    struct copy c = {.to = {.dir = dir, .private_tables = {.next_number = b->private_tables.next_number}}};
    struct iter *it = NULL;
    int rc = begin(&c, dir, b->map);
    enum result r = rc == MDB_SUCCESS ? RES_OK : btree_write_result(&c.to, rc);
    if (r == RES_OK)
        r = btree_iter(v, slice_of(NULL, 0), slice_of(NULL, 0), ITER_NO_FILL, &it);
    if (r == RES_OK)
        r = copy_records(&c, it, how);
    if (r == RES_OK) {
        rc = btree_put_boundary(&c.to, c.txn, boundary->sequence, boundary->state);
        if (rc == MDB_SUCCESS) {
            rc = mdb_txn_commit(c.txn);
            c.txn = NULL;
        }
        if (rc == MDB_SUCCESS)
            rc = mdb_env_sync(c.to.mdb, 1);
        r = rc == MDB_SUCCESS ? RES_OK : btree_write_result(&c.to, rc);
    }
    iter_close(it);
    if (c.txn)
        mdb_txn_abort(c.txn);
    if (c.to.mdb)
        mdb_env_close(c.to.mdb);
    return r;
}

enum result btree_checkpoint(struct engine *e, const char *dir, const struct engine_checkpoint *how)
{
    struct btree *b = (struct btree *)e;
    struct env *env = env_posix();
    struct kept_boundary kept;
    char path[1024];
    if (snprintf(path, sizeof path, "%s/btree", dir) >= (int)sizeof path)
        return RES_INVALID;
    os_mutex_lock(&b->write_lock);
    struct engine_view *v = btree_view_acquire(e);
    __atomic_fetch_add(&v->kept, 1, __ATOMIC_RELAXED);
    enum result r = boundary_accept(&b->kept, how, &kept);
    os_mutex_unlock(&b->write_lock);
    struct engine_boundary boundary = boundary_of(&kept);
    if (r == RES_OK)
        r = boundary_folders(env, dir, path);
    if (r == RES_OK)
        r = copy_view(b, v, &boundary, path, how);
    if (r == RES_OK)
        r = env->ops->sync_dir(env, path);
    if (r == RES_OK)
        r = env->ops->sync_dir(env, dir);
    __atomic_fetch_sub(&v->kept, 1, __ATOMIC_RELAXED);
    btree_view_release(v);
    boundary_fini(&kept);
    return r;
}
