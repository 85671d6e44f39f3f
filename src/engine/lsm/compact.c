/* Running a compaction. */
#include "engine/lsm/compact.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/log.h"

#define POLL_BYTES ((uint64_t)256 << 10)

void job_free(struct job *j)
{
    version_unref(j->view);
    free(j->inputs);
    free(j);
}

/* Where the key stands among the tables of the levels below the output, for keys that ascend. */
struct position {
    const struct run *run;
    uint32_t at; /* the first table whose last key is at or above the key */
};

struct merge_state {
    struct lsm *lsm;
    struct job *job;
    struct iter *in;
    struct dead_cursor dead;
    struct output out;
    struct position below[ENGINE_LEVELS];
    int below_count;
    uint32_t border; /* the table of the next level in which the output is */
    uint64_t records, dropped_dead;
    uint64_t unpolled; /* bytes of values since blocks were given back */
    int64_t charged;   /* to the cache, for reading ahead */
    bool reading_failed;
};

static void advance(struct position *p, struct slice key)
{
    while (p->at < p->run->count && slice_cmp(p->run->tables[p->at]->meta.last, key) < 0)
        p->at++;
}

/* May an older record of the key lie below the output? */
static bool older_below(struct merge_state *m, struct slice key)
{
    for (int i = 0; i < m->below_count; i++) {
        struct position *p = &m->below[i];
        advance(p, key);
        if (p->at < p->run->count && slice_cmp(p->run->tables[p->at]->meta.first, key) <= 0)
            return true;
    }
    return false;
}

/* Cuts where the tables of the next level are cut, when the output is large enough to stand alone: so a later merge
 * down reads one table less. */
static bool at_border(struct merge_state *m, struct slice key)
{
    uint64_t bytes = output_table_bytes(&m->out), most = m->lsm->options.table_bytes;
    if (bytes >= most)
        return true;
    const struct run *next = m->job->to < BOTTOM_LEVEL ? m->job->view->level[m->job->to + 1] : NULL;
    if (!next)
        return false;
    uint32_t before = m->border;
    while (m->border < next->count && slice_cmp(next->tables[m->border]->meta.last, key) < 0)
        m->border++;
    return m->border != before && bytes >= most / 2;
}

static enum result open_inputs(struct merge_state *m)
{
    struct job *j = m->job;
    struct iter **children = malloc((j->count + 1) * sizeof(struct iter *));
    struct table **tables = malloc((j->count + 1) * sizeof(struct table *));
    struct slice none = slice_of(NULL, 0);
    size_t n = 0;
    enum result r = children && tables ? RES_OK : RES_NO_MEMORY;

    for (size_t i = 0; r == RES_OK && i < j->count;) {
        uint32_t count = 0, run = j->inputs[i].run;
        for (; i < j->count && j->inputs[i].run == run; i++)
            tables[count++] = j->inputs[i].table;
        r = run_iter(tables, count, none, none, ITER_NO_FILL | ITER_TOMBSTONES, &children[n]);
        n += r == RES_OK;
    }
    m->charged = (int64_t)(n * table_piece(m->lsm->cache, TABLE_AHEAD_MOST)); /* one table at a time of each run */
    cache_charge_work(m->lsm->cache, m->charged);
    if (r == RES_OK)
        r = iter_merge(children, n, ITER_TOMBSTONES, &m->in);
    else
        while (n)
            iter_close(children[--n]);
    free(children);
    free(tables);
    return r;
}

/* Is the record to be left out? *skip_to: all below it can be left out, too. */
static enum result leave_out(struct merge_state *m, bool *out, struct slice *skip_to)
{
    struct slice key = m->in->key;
    enum result r = dead_cursor_covers(&m->dead, key, out);
    if (r != RES_OK)
        return r;
    if (*out) {
        m->dropped_dead++;
        *skip_to = slice_of(m->dead.end, m->dead.end_len);
        return RES_OK;
    }
    if (m->in->kind == RECORD_DELETE) {
        *out = !older_below(m, key);
        return RES_OK;
    }
    return key.data[0] == REGION_DEAD ? dead_range_is_empty(m->job->view, m->in, out) : RES_OK;
}

static enum result merge_records(struct merge_state *m)
{
    enum result r = iter_seek(m->in, slice_of(NULL, 0));
    while (r == RES_OK) {
        bool out = false;
        struct slice skip_to = {NULL, 0};
        m->unpolled += m->in->value.len;
        if (++m->records % 64 == 0 || m->unpolled >= POLL_BYTES) {
            m->unpolled = 0;
            if (__atomic_load_n(&m->lsm->stopping, __ATOMIC_RELAXED) || (m->job->stop && atomic_load(m->job->stop)))
                return RES_CLOSED;
            epoch_poll(); /* blocks read so far: all of them would be as large as the tables */
        }
        if ((r = leave_out(m, &out, &skip_to)) != RES_OK)
            break;
        if (!out) {
            if (at_border(m, m->in->key) && (r = output_cut(&m->out)) != RES_OK)
                return r;
            if ((r = output_add(&m->out, m->in)) != RES_OK) {
                m->reading_failed = r == RES_CORRUPT;
                return r;
            }
        }
        r = skip_to.len ? iter_seek(m->in, skip_to) : iter_next(m->in);
    }
    m->reading_failed = r != RES_NOT_FOUND;
    return m->reading_failed ? r : output_finish(&m->out);
}

static enum result drop_inputs(const struct job *j, struct edit *e)
{
    enum result r = RES_OK;
    for (size_t i = 0; r == RES_OK && i < j->count; i++)
        r = edit_drop(e, j->inputs[i].table, j->inputs[i].level);
    return r;
}

/* Nothing it reads can be trusted, so nothing is merged from it; reads go on where they can. */
static void set_aside(struct lsm *lsm, struct job *j, enum result why)
{
    os_mutex_lock(&lsm->lock);
    for (size_t i = 0; i < j->count; i++)
        j->inputs[i].table->damaged = true;
    os_mutex_unlock(&lsm->lock);
    log_warning("compaction of %zu tables from table %06" PRIu64 " on could not read them (%s): they stay as they are",
                j->count, j->inputs[0].table->meta.number, result_text(why));
}

static void count_merge(struct lsm *lsm, const struct job *j, const struct merge_state *m)
{
    os_mutex_lock(&lsm->lock);
    lsm->counted.compactions++;
    lsm->counted.compaction_read_bytes += j->bytes;
    lsm->counted.compaction_write_bytes += m->out.bytes;
    lsm->counted.dropped_dead_records += m->dropped_dead;
    os_mutex_unlock(&lsm->lock);
}

/* Is most of what it reads cached? */
static bool inputs_are_warm(const struct job *j)
{
    uint64_t blocks = 0, cached = 0;
    for (size_t i = 0; i < j->count; i++) {
        blocks += j->inputs[i].table->fences.count;
        cached += table_cached_blocks(j->inputs[i].table);
    }
    return cached > blocks / 2;
}

static enum result run_merge(struct lsm *lsm, struct job *j)
{
    struct merge_state m = {.lsm = lsm, .job = j};
    struct edit e = {0};
    uint64_t boundary = 0;

    for (size_t i = 0; i < j->count; i++)
        if (j->inputs[i].table->meta.boundary > boundary)
            boundary = j->inputs[i].table->meta.boundary;
    output_init(&m.out, lsm, boundary, j->compression);
    m.out.warm = inputs_are_warm(j);
    for (int level = j->to + 1; level < ENGINE_LEVELS; level++)
        if (j->view->level[level])
            m.below[m.below_count++].run = j->view->level[level];
    enum result r = open_inputs(&m);
    if (r == RES_OK)
        r = dead_cursor_init(&m.dead, j->view, j->upper);
    if (r == RES_OK)
        r = merge_records(&m);
    dead_cursor_fini(&m.dead);
    iter_close(m.in);
    cache_charge_work(lsm->cache, -m.charged);
    if (r == RES_OK)
        r = drop_inputs(j, &e);
    for (size_t i = 0; r == RES_OK && i < m.out.count; i++)
        r = edit_add(&e, m.out.tables[i], j->to, 0);
    if (r == RES_OK)
        r = lsm_commit_edit(lsm, &e);
    if (r == RES_OK)
        count_merge(lsm, j, &m);
    else if (m.reading_failed && (r == RES_CORRUPT || r == RES_IO))
        set_aside(lsm, j, r);
    output_fini(&m.out, r != RES_OK && !e.in_doubt);
    edit_fini(&e);
    return m.reading_failed && (r == RES_CORRUPT || r == RES_IO) ? RES_OK : r;
}

static enum result run_move(struct lsm *lsm, struct job *j)
{
    struct edit e = {0};
    enum result r = drop_inputs(j, &e);
    for (size_t i = 0; r == RES_OK && i < j->count; i++)
        r = edit_add(&e, j->inputs[i].table, j->to, 0);
    if (r == RES_OK)
        r = lsm_commit_edit(lsm, &e);
    edit_fini(&e);
    return r;
}

static enum result run_discard(struct lsm *lsm, struct job *j)
{
    struct edit e = {0};
    enum result r = drop_inputs(j, &e);
    if (r == RES_OK)
        r = lsm_commit_edit(lsm, &e);
    if (r == RES_OK) {
        os_mutex_lock(&lsm->lock);
        for (size_t i = 0; i < j->count; i++)
            lsm->counted.dropped_dead_records += j->inputs[i].table->meta.records;
        os_mutex_unlock(&lsm->lock);
    }
    edit_fini(&e);
    return r;
}

enum result job_run(struct lsm *lsm, struct job *j)
{
    switch (j->kind) {
    case JOB_MOVE:
        return run_move(lsm, j);
    case JOB_DISCARD:
        return run_discard(lsm, j);
    case JOB_MERGE:
        break;
    }
    return run_merge(lsm, j);
}
