/* Salvaging tables: see salvage.h. The new manifest is put in force in one step, as the engine does it; until then, what
 * was written are files that no manifest names. */
#include "tools/kvctl/salvage.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/lsm/manifest.h"
#include "engine/lsm/table.h"

struct work {
    struct env *env;
    const char *dir;
    struct cache *cache;
    struct table_owner owner;
    struct manifest_state state;
    struct salvage *out;
    struct errmsg *msg;
    uint64_t tables, lost, cut;
};

static void path_of(const struct work *w, const char *folder, uint64_t number, char out[4096])
{
    snprintf(out, 4096, "%s/%s/%06" PRIu64 ".sst", w->dir, folder, number);
}

static void gone(struct table_owner *o, struct table *t)
{
    (void)o;
    table_close(t);
}

/* Tables of a salvage stay open: there is no limit on files. */
static enum result no_reopening(struct table_owner *o, uint64_t number, struct env_file **out)
{
    (void)o, (void)number;
    *out = NULL;
    return RES_UNSUPPORTED;
}

/* The damaged file under a name that nobody sweeps. */
static enum result keep_aside(struct work *w, uint64_t number)
{
    char name[64];
    snprintf(name, sizeof name, "%06" PRIu64 ".sst", number);
    return salvage_keep(w->out, w->env, w->dir, "sst", name, w->msg);
}

/* ---- one table ---- */

static enum result open_table(struct work *w, const struct manifest_table *m, struct table **out, struct errmsg *why)
{
    char path[4096];
    struct env_file *file;
    *out = NULL;
    path_of(w, "sst", m->number, path);
    enum result r = w->env->ops->open(w->env, path, ENV_READ, &file);
    if (r != RES_OK)
        return errmsg_set(why, r, "%s: %s", path, result_text(r));
    r = table_open(file, path, m->number, m->size, w->cache, &w->owner, out, why);
    if (r == RES_OK && (*out)->meta.region != m->region) {
        table_unref(*out);
        *out = NULL;
        r = errmsg_set(why, RES_CORRUPT, "%s is not the table that the manifest names", path);
    }
    return r;
}

/* Copies the records of a block behind the others. */
static enum result copy_block(struct table_writer *to, const struct block *b)
{
    uint8_t key[ENGINE_KEY_MAX];
    enum result r = RES_OK;
    memcpy(key, b->image + b->prefix_at, b->prefix_len);
    for (uint32_t i = 0; r == RES_OK && i < b->count; i++) {
        struct block_record record;
        block_record_at(b, i, &record);
        memcpy(key + b->prefix_len, record.rest.data, record.rest.len);
        r = table_writer_add(to, slice_of(key, b->prefix_len + record.rest.len), record.kind, record.value);
    }
    return r;
}

static uint32_t count_damaged(struct work *w, struct table *t, const char *path)
{
    uint32_t damaged = 0;
    for (uint32_t i = 0; i < t->fences.count; i++) {
        struct block *b;
        enum result r = table_read_block(t, i, 0, &b);
        if (r == RES_OK) {
            block_unref(b);
            continue;
        }
        if (damaged++ < 5)
            salvage_say(w->out, "%s: block %" PRIu32 " at offset %" PRIu64 " is lost (%s)", path, i,
                        table_block_offset(t, i), result_text(r));
    }
    return damaged;
}

/* A new table of the blocks that can be read; m becomes its entry in the manifest. */
static enum result rewrite(struct work *w, struct table *t, struct manifest_table *m)
{
    char path[4096];
    struct env_file *file;
    struct table_writer *to;
    uint64_t number = w->state.next_number++;
    path_of(w, "sst", number, path);
    enum result r = w->env->ops->open(w->env, path, ENV_READ | ENV_WRITE | ENV_CREATE | ENV_EXCL, &file);
    if (r != RES_OK)
        return errmsg_set(w->msg, r, "cannot make %s: %s", path, result_text(r));
    struct table_writer_options o = {
        .file = file, .number = number, .boundary = t->meta.boundary, .block_bytes = 4096, .region = t->meta.region};
    r = table_writer_new(&o, &to);
    if (r != RES_OK)
        return errmsg_set(w->msg, r, "cannot write %s: %s", path, result_text(r));
    for (uint32_t i = 0; r == RES_OK && i < t->fences.count; i++) {
        struct block *b;
        if (table_read_block(t, i, 0, &b) != RES_OK)
            continue;
        r = copy_block(to, b);
        block_unref(b);
    }
    if (r == RES_OK)
        r = table_writer_finish(to, &m->size);
    else
        table_writer_abort(to);
    if (r != RES_OK)
        return errmsg_set(w->msg, r, "cannot write %s: %s", path, result_text(r));
    m->number = number;
    return RES_OK;
}

/* *keep: the table, or its copy, stays in the manifest. */
static enum result salvage_table(struct work *w, struct manifest_table *m, bool *keep)
{
    char path[4096];
    struct errmsg why = {""};
    struct table *t;
    uint64_t number = m->number;
    path_of(w, "sst", number, path);
    *keep = true;
    enum result r = open_table(w, m, &t, &why);
    if (r == RES_NO_MEMORY || r == RES_TOO_MANY)
        return errmsg_set(w->msg, r, "%s", why.text);
    if (r != RES_OK) {
        salvage_say(w->out, "%s (lost)", why.text);
        w->lost++;
        w->out->changed = true;
        *keep = false;
        return keep_aside(w, number);
    }
    uint32_t damaged = count_damaged(w, t, path);
    r = RES_OK;
    if (damaged) {
        salvage_say(w->out, "%s: %" PRIu32 " of %" PRIu32 " blocks are lost", path, damaged, t->fences.count);
        w->out->changed = true;
        *keep = damaged < t->fences.count;
        w->lost += !*keep;
        w->cut += *keep;
        r = keep_aside(w, number);
        if (r == RES_OK && *keep)
            r = rewrite(w, t, m);
    }
    table_unref(t);
    return r;
}

/* ---- all of them ---- */

static enum result put_state(const struct work *w, struct buf *b)
{
    const struct manifest_state *s = &w->state;
    enum result r = manifest_put_number(b, MANIFEST_FORMAT, MANIFEST_VERSION);
    if (r == RES_OK)
        r = manifest_put_number(b, MANIFEST_NEXT_NUMBER, s->next_number);
    if (r == RES_OK)
        r = manifest_put_number(b, MANIFEST_SEQUENCE, s->sequence);
    if (r == RES_OK)
        r = manifest_put_bytes(b, MANIFEST_STATE, buf_slice(&s->state));
    for (size_t i = 0; r == RES_OK && i < s->count; i++)
        r = manifest_put_add(b, &s->tables[i]);
    return r;
}

static enum result install(struct work *w, struct manifest *m)
{
    char folder[4096];
    struct buf payload = BUF_INIT;
    bool in_doubt;
    uint64_t number = w->state.next_number++;
    snprintf(folder, sizeof folder, "%s/sst", w->dir);
    enum result r = w->env->ops->sync_dir(w->env, folder);
    if (r == RES_OK)
        r = put_state(w, &payload);
    if (r == RES_OK)
        r = manifest_start(m, number, buf_slice(&payload), &in_doubt);
    buf_fini(&payload);
    return r == RES_OK ? RES_OK : errmsg_set(w->msg, r, "%s: cannot write a manifest: %s", w->dir, result_text(r));
}

static enum result each_table(struct work *w)
{
    size_t kept = 0;
    for (size_t i = 0; i < w->state.count; i++) {
        bool keep;
        enum result r = salvage_table(w, &w->state.tables[i], &keep);
        if (r != RES_OK)
            return r;
        w->tables++;
        if (keep)
            w->state.tables[kept++] = w->state.tables[i];
    }
    w->state.count = kept;
    return RES_OK;
}

static void highest_number(void *arg, const char *name)
{
    uint64_t number, *highest = arg;
    if ((sscanf(name, "%" SCNu64 ".sst", &number) == 1 || sscanf(name, "MANIFEST-%" SCNu64, &number) == 1) &&
        number > *highest)
        *highest = number;
}

enum result salvage_tables(struct env *env, const char *dir, struct salvage *out, struct errmsg *msg)
{
    struct work w = {.env = env, .dir = dir, .out = out, .msg = msg, .owner = {.gone = gone, .open = no_reopening}};
    struct manifest m;
    char folder[4096];
    uint64_t highest = 0;
    out->tried = true;
    enum result r = manifest_open(&m, env, dir, &w.state, msg);
    if (r != RES_OK) /* what it says names file and offset */
        return r == RES_NOT_FOUND
                   ? errmsg_set(msg, RES_CORRUPT, "%s has no manifest: which tables count cannot be told", dir)
                   : r;
    snprintf(folder, sizeof folder, "%s/sst", dir);
    r = env->ops->list(env, folder, highest_number, &highest);
    if (r == RES_OK)
        r = env->ops->list(env, dir, highest_number, &highest);
    if (r != RES_OK)
        (void)errmsg_set(msg, r, "cannot list %s: %s", dir, result_text(r));
    if (w.state.next_number <= highest)
        w.state.next_number = highest + 1;
    w.cache = r == RES_OK ? cache_new((uint64_t)16 << 20) : NULL;
    if (r == RES_OK && !w.cache)
        r = errmsg_set(msg, RES_NO_MEMORY, "out of memory");
    if (r == RES_OK)
        r = each_table(&w);
    if (r == RES_OK && out->changed)
        r = install(&w, &m);
    if (w.cache)
        cache_free(w.cache);
    manifest_close(&m);
    manifest_state_fini(&w.state);
    snprintf(out->told, sizeof out->told,
             "%" PRIu64 " tables: %" PRIu64 " lost, %" PRIu64 " without some of their blocks", w.tables, w.lost, w.cut);
    return r;
}
