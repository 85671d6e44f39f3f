/* The memory engine: ordered, nothing survives the process, no file is touched.
 *
 * It is the LSM engine over the environment that keeps files in memory. That was weighed against a tree of its own: a
 * tree with views needs copy-on-write nodes, its own iterators, private tables and reclamation of dead ranges, about a
 * thousand lines that would have to be proved anew; this is one screen, inherits every test of the other engine, and
 * keeps data denser than nodes and pointers would (blocks with shared prefixes, no allocation a record). What it costs:
 * a read that misses the block cache copies one block, and hot blocks lie in memory twice, up to cache_bytes.
 *
 * The front knows it by `persistent = false`: it keeps no log and promises nothing. The directory is a name only. */
#include <stdlib.h>
#include <string.h>

#include "engine/engine.h"
#include "os/env_memory.h"

struct memory {
    struct engine engine;
    struct env *env;
    struct engine *lsm;
};

static struct engine *inner(struct engine *e) { return ((struct memory *)e)->lsm; }

static enum result memory_open(const struct engine_options *options, struct engine **out, uint64_t *sequence,
                               struct slice *state, struct errmsg *msg)
{
    struct engine_options o = *options;
    struct memory *m = calloc(1, sizeof *m);
    enum result r = RES_NO_MEMORY;

    *out = NULL;
    *sequence = 0;
    *state = slice_of(NULL, 0);
    if (m)
        m->env = env_memory_new(0, ENV_MEMORY_PLAIN);
    if (!m || !m->env) {
        (void)errmsg_set(msg, r, "no memory for the engine");
        goto fail;
    }
    m->engine.ops = &engine_memory;
    o.env = m->env;
    o.dir = "/memory";
    o.create = true;
    memset(o.compression, 0, sizeof o.compression); /* what lies in memory is not read from a disk */
    if ((r = o.env->ops->mkdir(o.env, o.dir)) != RES_OK) {
        (void)errmsg_set(msg, r, "no memory for the engine");
        goto fail;
    }
    if ((r = engine_lsm.open(&o, &m->lsm, sequence, state, msg)) != RES_OK)
        goto fail;
    *out = &m->engine;
    return RES_OK;
fail:
    if (m && m->env)
        env_memory_free(m->env);
    free(m);
    return r;
}

static void memory_close(struct engine *e)
{
    struct memory *m = (struct memory *)e;
    engine_lsm.close(m->lsm);
    env_memory_free(m->env);
    free(m);
}

/* ---- all else is the other engine's ---- */

static enum result absorb(struct engine *e, struct iter *run, const struct engine_boundary *boundary)
{
    return engine_lsm.absorb(inner(e), run, boundary);
}

static enum result table_begin(struct engine *e, struct engine_table **out)
{
    return engine_lsm.table_begin(inner(e), out);
}

static enum result table_add(struct engine_table *t, struct slice key, uint8_t kind, struct slice value)
{
    return engine_lsm.table_add(t, key, kind, value);
}

static enum result table_finish(struct engine_table *t, uint64_t *number) { return engine_lsm.table_finish(t, number); }

static void table_abort(struct engine_table *t) { engine_lsm.table_abort(t); }

static enum result table_open(struct engine *e, uint64_t number, struct engine_table **out)
{
    return engine_lsm.table_open(inner(e), number, out);
}

static enum result table_get(struct engine_table *t, const struct engine_key *key, int flags, uint8_t *kind,
                             struct slice *value, struct engine_miss *miss)
{
    return engine_lsm.table_get(t, key, flags, kind, value, miss);
}

static enum result table_iter(struct engine_table *t, struct slice lower, struct slice upper, int flags,
                              struct iter **out)
{
    return engine_lsm.table_iter(t, lower, upper, flags, out);
}

static void table_release(struct engine_table *t) { engine_lsm.table_release(t); }

static enum result attach(struct engine *e, struct engine_table *t, const struct engine_boundary *boundary)
{
    return engine_lsm.attach(inner(e), t, boundary);
}

static enum result table_sweep(struct engine *e) { return engine_lsm.table_sweep(inner(e)); }

static struct engine_view *view_acquire(struct engine *e) { return engine_lsm.view_acquire(inner(e)); }

static void view_release(struct engine_view *v) { engine_lsm.view_release(v); }

static enum result get(struct engine_view *v, const struct engine_key *key, int flags, struct slice *value,
                       struct engine_miss *miss)
{
    return engine_lsm.get(v, key, flags, value, miss);
}

static enum result fill(struct engine *e, struct engine_miss *miss) { return engine_lsm.fill(inner(e), miss); }

static void miss_fini(struct engine *e, struct engine_miss *miss) { engine_lsm.miss_fini(inner(e), miss); }

static void prefetch(struct engine_view *v, const struct engine_key *const *keys, unsigned n)
{
    engine_lsm.prefetch(v, keys, n);
}

static enum result iter_open(struct engine_view *v, struct slice lower, struct slice upper, int flags,
                             struct iter **out)
{
    return engine_lsm.iter_open(v, lower, upper, flags, out);
}

static uint64_t range_bytes(struct engine_view *v, struct slice lower, struct slice upper)
{
    return engine_lsm.range_bytes(v, lower, upper);
}

static unsigned debt(struct engine *e) { return engine_lsm.debt(inner(e)); }

static enum result compact(struct engine *e, struct slice lower, struct slice upper, const atomic_bool *stop)
{
    return engine_lsm.compact(inner(e), lower, upper, stop);
}

/* There is no directory of the machine to write to. */
static enum result checkpoint(struct engine *e, const char *dir, const struct engine_checkpoint *how)
{
    (void)e, (void)dir, (void)how;
    return RES_UNSUPPORTED;
}

static void set_cache_bytes(struct engine *e, uint64_t bytes) { engine_lsm.set_cache_bytes(inner(e), bytes); }

static void stats(struct engine *e, struct engine_stats *out) { engine_lsm.stats(inner(e), out); }

static enum result check(struct engine *e, struct errmsg *msg) { return engine_lsm.check(inner(e), msg); }

const struct engine_ops engine_memory = {
    .name = "memory",
    .persistent = false,
    .open = memory_open,
    .close = memory_close,
    .absorb = absorb,
    .table_begin = table_begin,
    .table_add = table_add,
    .table_finish = table_finish,
    .table_abort = table_abort,
    .table_open = table_open,
    .table_get = table_get,
    .table_iter = table_iter,
    .table_release = table_release,
    .attach = attach,
    .table_sweep = table_sweep,
    .view_acquire = view_acquire,
    .view_release = view_release,
    .get = get,
    .fill = fill,
    .miss_fini = miss_fini,
    .prefetch = prefetch,
    .iter_open = iter_open,
    .range_bytes = range_bytes,
    .debt = debt,
    .compact = compact,
    .checkpoint = checkpoint,
    .set_cache_bytes = set_cache_bytes,
    .stats = stats,
    .check = check,
};
