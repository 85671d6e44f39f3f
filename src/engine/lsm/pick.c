/* Which tables to merge next. Everything here runs under lsm->lock and only computes. */
#include <assert.h>
#include <stdlib.h>

#include "engine/lsm/compact.h"

/* A merge that drops so much of a table is worth reading the rest: in 1/1000 of its records or bytes. */
#define TOMBSTONES_DENSE 500
#define TOMBSTONES_IDLE 10 /* when nobody else wants the disk */
#define DEAD_WORTH 100
#define REST_SHARE 16 /* of what lies below: that level 0 has when it is merged although nothing has come for a while */

/* ---- targets ---- */

static uint64_t level_bytes(const struct engine_view *v, int level)
{
    return v->level[level] ? v->level[level]->bytes : 0;
}

static uint64_t level0_bytes(const struct engine_view *v)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < v->level0_count; i++)
        bytes += v->runs[i]->bytes;
    return bytes;
}

static unsigned region_depth(const struct engine_view *v)
{
    unsigned most = 0;
    static const uint8_t regions[] = {REGION_ELEMENT, REGION_DEAD, REGION_META, REGION_SYSTEM, REGION_EXPIRY};
    for (size_t r = 0; r < sizeof regions; r++) {
        struct slice lower = slice_of(&regions[r], 1);
        uint8_t after = (uint8_t)(regions[r] + 1);
        unsigned depth = 0;
        for (uint32_t i = 0; i < v->level0_count; i++)
            depth += run_overlaps(v->runs[i], lower, slice_of(&after, 1));
        most = depth > most ? depth : most;
    }
    return most;
}

void plan_levels(const struct lsm *lsm, const struct engine_view *v, struct level_plan *p)
{
    uint64_t least = lsm->options.base_level_bytes, size = level_bytes(v, BOTTOM_LEVEL);

    if (least < LEVEL0_TRIGGER * lsm->run_bytes)
        least = LEVEL0_TRIGGER * lsm->run_bytes; /* what comes down at a time */
    *p = (struct level_plan){.base = BOTTOM_LEVEL, .depth = region_depth(v)};
    p->target[BOTTOM_LEVEL] = UINT64_MAX;
    while (size / LEVEL_RATIO > least && p->base > 1) {
        size /= LEVEL_RATIO;
        p->target[--p->base] = size;
    }
    for (int level = 1; level < BOTTOM_LEVEL; level++) {
        uint64_t have = level_bytes(v, level);
        if (have > p->target[level])
            p->pending += have - p->target[level];
    }
    /* Data that lies above the base, because the bottom has shrunk, goes down level by level. */
    for (int level = 1; level < p->base; level++)
        if (v->level[level]) {
            p->base = level;
            break;
        }
}

/* ---- jobs ---- */

static struct job *job_new(struct lsm *lsm, enum job_kind kind, int from, int to)
{
    struct job *j = calloc(1, sizeof *j);
    if (!j)
        return NULL;
    j->kind = kind;
    j->from = from;
    j->to = to;
    j->view = lsm->current;
    version_ref(j->view);
    return j;
}

/* Makes the table an input. */
static bool take(struct job *j, struct table *t)
{
    if (t->job == j)
        return true;
    if (t->job || t->damaged)
        return false;
    t->job = j;
    if (j->lower.len == 0 || slice_cmp(t->meta.first, j->lower) < 0)
        j->lower = t->meta.first;
    if (j->upper.len == 0 || slice_cmp(t->meta.last, j->upper) > 0)
        j->upper = t->meta.last;
    j->bytes += t->meta.size;
    return true;
}

static bool take_overlapping(struct job *j, int level)
{
    uint32_t from, to;
    const struct run *r = j->view->level[level];
    run_overlap(r, j->lower, j->upper, &from, &to);
    for (; from < to; from++)
        if (!take(j, r->tables[from]))
            return false;
    return true;
}

static void drop_inputs(struct job *j)
{
    for (uint32_t i = 0; i < j->view->run_count; i++)
        for (uint32_t k = 0; k < j->view->runs[i]->count; k++)
            if (j->view->runs[i]->tables[k]->job == j)
                j->view->runs[i]->tables[k]->job = NULL;
}

/* Its view may be the last to hold tables, and letting go of them takes lsm->lock: so not here. */
static void give_up(struct job *j)
{
    drop_inputs(j);
    __atomic_fetch_sub(&j->view->refs, 1, __ATOMIC_ACQ_REL); /* lsm->current holds another */
    free(j->inputs);
    free(j);
}

static bool collides(const struct lsm *lsm, const struct job *j)
{
    for (const struct lsm_claim *c = lsm->claims; c; c = c->next)
        if (c->from_level <= j->to && j->from <= c->to_level && slice_cmp(c->lower, j->upper) <= 0 &&
            slice_cmp(j->lower, c->upper) <= 0)
            return true;
    return false;
}

/* Lists the inputs and claims the range; NULL when somebody else is at work there. */
static struct job *claim(struct lsm *lsm, struct job *j)
{
    struct level_plan plan;
    size_t n = 0;
    for (uint32_t i = 0; i < j->view->run_count; i++)
        for (uint32_t k = 0; k < j->view->runs[i]->count; k++)
            n += j->view->runs[i]->tables[k]->job == j;
    j->inputs = calloc(n, sizeof *j->inputs);
    if (!j->inputs || collides(lsm, j)) {
        give_up(j);
        return NULL;
    }
    for (uint32_t i = 0; i < j->view->run_count; i++) {
        const struct run *r = j->view->runs[i];
        int level = 0;
        if (i >= j->view->level0_count)
            for (level = 1; j->view->level[level] != r;)
                level++;
        for (uint32_t k = 0; k < r->count; k++)
            if (r->tables[k]->job == j)
                j->inputs[j->count++] = (struct job_input){r->tables[k], level, i};
    }
    j->claim = (struct lsm_claim){lsm->claims, j->lower, j->upper, j->from, j->to};
    lsm->claims = &j->claim;
    plan_levels(lsm, j->view, &plan);
    j->compression = lsm_compression(lsm, j->to, plan.base);
    lsm->running++;
    return j;
}

void job_unclaim(struct lsm *lsm, struct job *j)
{
    struct lsm_claim **p = &lsm->claims;
    while (*p != &j->claim)
        p = &(*p)->next;
    *p = j->claim.next;
    for (size_t i = 0; i < j->count; i++)
        j->inputs[i].table->job = NULL;
    lsm->running--;
}

/* Does no table of a level at or below `level` begin between the two? Then one table may span both: merging it further
 * down rewrites nothing that lies between. */
static bool nothing_between(const struct engine_view *v, int level, const struct table *a, const struct table *b)
{
    for (; level < ENGINE_LEVELS; level++) {
        uint32_t from, to;
        const struct run *r = v->level[level];
        run_overlap(r, a->meta.last, b->meta.first, &from, &to);
        for (; from < to; from++)
            if (r->tables[from] != a && r->tables[from] != b)
                return false;
    }
    return true;
}

/* Inputs much smaller than a table are merged with small neighbours of their region, in geometric steps, so that the
 * level does not fill with crumbs and no byte is rewritten more than a few times for it. */
static void take_crumbs(struct lsm *lsm, struct job *j)
{
    const struct run *r = j->view->level[j->to];
    uint64_t most = lsm->options.table_bytes / 2;
    bool more = r != NULL;

    while (more && j->bytes < most) {
        uint32_t from, to;
        more = false;
        run_overlap(r, j->lower, j->upper, &from, &to);
        for (int side = 0; side < 2; side++) {
            struct table *t = side ? to < r->count ? r->tables[to] : NULL : from > 0 ? r->tables[from - 1] : NULL;
            struct table ends = {.meta = {.first = j->lower, .last = j->upper}};
            if (t && !t->job && !t->damaged && t->meta.region == j->lower.data[0] &&
                t->meta.region == j->upper.data[0] && t->meta.size < 4 * j->bytes && t->meta.size < most &&
                nothing_between(j->view, j->to + 1, side ? &ends : t, side ? t : &ends))
                more |= take(j, t);
        }
    }
}

static bool has_tombstones(const struct table *t, uint64_t share)
{
    return t->meta.tombstones * 1000 > t->meta.records * share;
}
static bool dense(const struct table *t) { return has_tombstones(t, TOMBSTONES_DENSE); }

/* Can the tables change level as they are? Only when none is better rewritten. */
static bool movable(const struct job *j)
{
    struct slice last = {NULL, 0};
    for (size_t i = 0; i < j->count; i++) {
        const struct table *t = j->inputs[i].table;
        if (j->inputs[i].level != j->from || t->meta.region == 0 || dense(t) ||
            __atomic_load_n(&t->dead_bytes, __ATOMIC_RELAXED) || t->meta.packing != j->compression.kind)
            return false;
        if (i && j->inputs[i].run != j->inputs[i - 1].run)
            return false;
        last = t->meta.last;
    }
    return last.len > 0;
}

/* From here on the usual way: what lies in the way at the output level joins, then the job is claimed. */
static struct job *complete(struct lsm *lsm, struct job *j)
{
    if (!take_overlapping(j, j->to)) {
        give_up(j);
        return NULL;
    }
    take_crumbs(lsm, j);
    j = claim(lsm, j);
    if (j && j->from != j->to && movable(j))
        j->kind = JOB_MOVE;
    return j;
}

/* ---- level 0 ---- */

static int by_first(const void *a, const void *b)
{
    struct table *const *x = a, *const *y = b;
    return slice_cmp((*x)->meta.first, (*y)->meta.first);
}

static struct table **level0_tables(const struct engine_view *v, size_t *count)
{
    size_t n = 0;
    for (uint32_t i = 0; i < v->level0_count; i++)
        n += v->runs[i]->count;
    struct table **tables = malloc((n + 1) * sizeof(struct table *));
    *count = tables ? n : 0;
    if (!tables)
        return NULL;
    n = 0;
    for (uint32_t i = 0; i < v->level0_count; i++)
        for (uint32_t k = 0; k < v->runs[i]->count; k++)
            tables[n++] = v->runs[i]->tables[k];
    qsort(tables, n, sizeof(struct table *), by_first);
    return tables;
}

/* Does the table belong to the component that reaches up to `upper`, whose last table was `before`? */
static bool belongs(const struct lsm *lsm, const struct table *before, struct slice upper, const struct table *t)
{
    if (slice_cmp(t->meta.first, upper) <= 0)
        return true;
    uint64_t small = lsm->options.table_bytes / 4;
    return t->meta.region && t->meta.region == before->meta.region && t->meta.size < small &&
           before->meta.size < small && nothing_between(lsm->current, 1, before, t);
}

/* How many runs have tables among these? *oldest: the place of the oldest in the view. */
static unsigned runs_among(const struct engine_view *v, struct table *const *tables, size_t n, uint32_t *oldest)
{
    unsigned runs = 0;
    for (uint32_t i = 0; i < v->level0_count; i++)
        for (size_t k = 0; k < n; k++) {
            int64_t at = fences_find(&v->runs[i]->fences, tables[k]->meta.first);
            if (at >= 0 && v->runs[i]->tables[at] == tables[k]) {
                runs++;
                *oldest = i;
                break;
            }
        }
    return runs;
}

struct component {
    struct table **tables; /* in the array of all */
    size_t count;
    unsigned runs;
    uint32_t oldest;
    uint64_t bytes;
    bool free, dense, dead;
};

/* The component that starts at tables[at]. */
static struct component component_at(const struct lsm *lsm, struct table **tables, size_t n, size_t at)
{
    struct component c = {.tables = tables + at, .free = true};
    struct slice upper = tables[at]->meta.last;
    while (at < n && (c.count == 0 || belongs(lsm, tables[at - 1], upper, tables[at]))) {
        const struct table *t = tables[at++];
        c.count++;
        c.bytes += t->meta.size;
        c.free &= !t->job && !t->damaged;
        c.dense |= dense(t);
        c.dead |= __atomic_load_n(&t->dead_bytes, __ATOMIC_RELAXED) * 1000 > t->meta.size * DEAD_WORTH;
        if (slice_cmp(t->meta.last, upper) > 0)
            upper = t->meta.last;
    }
    c.runs = runs_among(lsm->current, c.tables, c.count, &c.oldest);
    return c;
}

static struct job *level0_job(struct lsm *lsm, const struct level_plan *p, const struct component *c)
{
    struct job *j = job_new(lsm, JOB_MERGE, 0, p->base);
    for (size_t i = 0; j && i < c->count; i++)
        if (!take(j, c->tables[i])) {
            give_up(j);
            return NULL;
        }
    return j ? complete(lsm, j) : NULL;
}

/* Is it time to merge level 0 down? Each merge rewrites the base level, so it waits for data that is worth it: a third of
 * what lies there, but for no more than LEVEL0_MOST runs, each of which costs reads a look into a filter. */
static bool level0_is_due(const struct lsm *lsm, const struct level_plan *p)
{
    if (p->depth < LEVEL0_TRIGGER)
        return false;
    return p->depth >= LEVEL0_MOST || 3 * level0_bytes(lsm->current) >= level_bytes(lsm->current, p->base);
}

/* Nothing has come for a while, and what came last may hide so much of what lies below that it is worth a merge for the
 * space alone. */
static bool level0_may_rest(const struct lsm *lsm)
{
    const struct engine_view *v = lsm->current;
    uint64_t below = 0, bytes = level0_bytes(v);
    for (int level = 1; level <= BOTTOM_LEVEL; level++)
        below += level_bytes(v, level);
    return bytes && REST_SHARE * bytes >= below && lsm->env->ops->mono_ns(lsm->env) >= lsm->rest_from;
}

/* The component with the most runs. Of those with too few runs only one that is worth it for another reason, or the one
 * with the oldest data: that so many runs have only such ones costs reads all the same. */
static struct job *pick_level0(struct lsm *lsm, const struct level_plan *p, bool side_reasons)
{
    size_t n;
    struct table **tables = level0_tables(lsm->current, &n);
    struct component best = {0}, oldest = {0};

    for (size_t at = 0; at < n;) {
        struct component c = component_at(lsm, tables, n, at);
        at += c.count;
        if (c.free && !side_reasons && (!oldest.count || c.oldest > oldest.oldest))
            oldest = c;
        bool wanted = c.runs >= LEVEL0_TRIGGER || (side_reasons && (c.dense || c.dead));
        if (c.free && wanted && (c.runs > best.runs || (c.runs == best.runs && c.bytes > best.bytes)))
            best = c;
    }
    if (!best.count)
        best = oldest;
    struct job *j = best.count ? level0_job(lsm, p, &best) : NULL;
    free(tables);
    return j;
}

/* ---- the levels below ---- */

static struct job *table_job(struct lsm *lsm, struct table *t, int from, int to)
{
    struct job *j = job_new(lsm, JOB_MERGE, from, to);
    if (!j)
        return NULL;
    if (!take(j, t)) {
        give_up(j);
        return NULL;
    }
    if (from != to)
        return complete(lsm, j);
    return claim(lsm, j);
}

static uint64_t overlapping_bytes(const struct run *r, const struct table *t)
{
    uint32_t from, to;
    uint64_t bytes = 0;
    run_overlap(r, t->meta.first, t->meta.last, &from, &to);
    for (; from < to; from++)
        bytes += r->tables[from]->meta.size;
    return bytes;
}

/* The table of the level whose move down rewrites least for its size. */
static struct job *pick_level(struct lsm *lsm, int level)
{
    const struct run *r = lsm->current->level[level];
    for (int tries = 0; tries < 3; tries++) { /* the best may collide with somebody's claim; the next ones rarely do */
        struct table *best = NULL;
        double best_cost = 0;
        int skip = tries;
        for (uint32_t i = 0; i < r->count; i++) {
            struct table *t = r->tables[i];
            if (t->job || t->damaged)
                continue;
            double cost = (double)overlapping_bytes(lsm->current->level[level + 1], t) / (double)t->meta.size;
            if (!best || cost < best_cost) {
                if (best && skip-- > 0)
                    continue;
                best = t;
                best_cost = cost;
            }
        }
        struct job *j = best ? table_job(lsm, best, level, level + 1) : NULL;
        if (j || !best)
            return j;
    }
    return NULL;
}

static uint64_t free_bytes(const struct run *r)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; r && i < r->count; i++)
        bytes += r->tables[i]->job ? 0 : r->tables[i]->meta.size;
    return bytes;
}

/* Nothing older lies below: records may be dropped in place. */
static bool nothing_below(const struct engine_view *v, const struct table *t, int level)
{
    for (level++; level < ENGINE_LEVELS; level++)
        if (run_overlaps(v->level[level], t->meta.first, t->meta.last))
            return false;
    return true;
}

/* Tables full of tombstones go down, or are rewritten where nothing older lies below. */
static struct job *pick_dense(struct lsm *lsm, uint64_t share)
{
    const struct engine_view *v = lsm->current;
    for (int level = 1; level < ENGINE_LEVELS; level++)
        for (uint32_t i = 0; v->level[level] && i < v->level[level]->count; i++) {
            struct table *t = v->level[level]->tables[i];
            if (!has_tombstones(t, share) || t->job || t->damaged)
                continue;
            struct job *j = table_job(lsm, t, level, nothing_below(v, t, level) ? level : level + 1);
            if (j)
                return j;
        }
    return NULL;
}

/* ---- dead ranges ---- */

static struct job *pick_discard(struct lsm *lsm)
{
    const struct engine_view *v = lsm->current;
    for (uint32_t i = 0; i < v->run_count; i++)
        for (uint32_t k = 0; k < v->runs[i]->count; k++) {
            struct table *t = v->runs[i]->tables[k];
            if (!__atomic_load_n(&t->dead_whole, __ATOMIC_RELAXED) || t->job || t->damaged)
                continue;
            struct job *j = job_new(lsm, JOB_DISCARD, 0, 0);
            for (; j && k < v->runs[i]->count; k++) /* with all that lie side by side */
                if (!__atomic_load_n(&v->runs[i]->tables[k]->dead_whole, __ATOMIC_RELAXED) ||
                    !take(j, v->runs[i]->tables[k]))
                    break;
            return j ? claim(lsm, j) : NULL;
        }
    return NULL;
}

/* The table with the largest share of dead bytes, when that is worth it. Level 0 goes down by components instead. */
static struct job *pick_dead(struct lsm *lsm, uint64_t worth)
{
    const struct engine_view *v = lsm->current;
    struct table *best = NULL;
    uint64_t best_share = 0;
    int best_level = 0;

    for (int level = 1; level < ENGINE_LEVELS; level++)
        for (uint32_t i = 0; v->level[level] && i < v->level[level]->count; i++) {
            struct table *t = v->level[level]->tables[i];
            uint64_t dead = __atomic_load_n(&t->dead_bytes, __ATOMIC_RELAXED);
            uint64_t share = dead * 1000 / t->meta.size;
            if (dead && share >= worth && share >= best_share && !t->job && !t->damaged) {
                best = t;
                best_share = share;
                best_level = level;
            }
        }
    return best ? table_job(lsm, best, best_level, best_level) : NULL;
}

/* When idle: level 0 components that hold anything dead, or tombstones. */
static struct job *pick_dead_level0(struct lsm *lsm, const struct level_plan *p)
{
    size_t n;
    struct table **tables = level0_tables(lsm->current, &n);
    struct job *j = NULL;

    for (size_t at = 0; at < n && !j;) {
        struct component c = component_at(lsm, tables, n, at);
        bool dead = false;
        at += c.count;
        for (size_t i = 0; i < c.count; i++)
            dead |= __atomic_load_n(&c.tables[i]->dead_bytes, __ATOMIC_RELAXED) > 0 ||
                    has_tombstones(c.tables[i], TOMBSTONES_IDLE);
        if (dead && c.free)
            j = level0_job(lsm, p, &c);
    }
    free(tables);
    return j;
}

/* ---- all ---- */

struct job *pick_job(struct lsm *lsm, bool idle)
{
    struct level_plan p;
    struct job *j;

    plan_levels(lsm, lsm->current, &p);
    if ((j = pick_discard(lsm)) || (level0_is_due(lsm, &p) && (j = pick_level0(lsm, &p, false))))
        return j;
    int worst = 0;
    double worst_score = 1;
    for (int level = 1; level < BOTTOM_LEVEL; level++) {
        uint64_t bytes = free_bytes(lsm->current->level[level]);
        double score = (double)bytes / (double)(p.target[level] ? p.target[level] : 1);
        if (bytes && score > worst_score) {
            worst = level;
            worst_score = score;
        }
    }
    if (worst && (j = pick_level(lsm, worst)))
        return j;
    if ((j = pick_level0(lsm, &p, true)) || (j = pick_dense(lsm, TOMBSTONES_DENSE)) || (j = pick_dead(lsm, DEAD_WORTH)))
        return j;
    if (idle && ((j = pick_dead(lsm, 0)) || (j = pick_dead_level0(lsm, &p)) || (j = pick_dense(lsm, TOMBSTONES_IDLE)) ||
                 (level0_may_rest(lsm) && (j = pick_level0(lsm, &p, false)))))
        return j;
    return NULL;
}

/* ---- by hand ---- */

static bool inside(const struct table *t, struct slice lower, struct slice upper)
{
    return slice_cmp(t->meta.last, lower) >= 0 && (upper.len == 0 || slice_cmp(t->meta.first, upper) < 0);
}

/* Why there is no job for tables that want one. RES_RETRY: somebody else is at work, perhaps on them, which passes.
 * RES_NOT_FOUND: they cannot be had, for one that would have to join is damaged. Waiting for that would be for ever. */
static enum result why_none(const struct lsm *lsm)
{
    if (lsm->claims)
        return RES_RETRY;
    for (uint32_t i = 0; i < lsm->current->run_count; i++)
        for (uint32_t k = 0; k < lsm->current->runs[i]->count; k++)
            if (lsm->current->runs[i]->tables[k]->damaged)
                return RES_NOT_FOUND;
    return RES_NO_MEMORY;
}

static enum result range_level0(struct lsm *lsm, struct slice lower, struct slice upper, struct job **out)
{
    struct level_plan p;
    size_t n;
    struct table **tables = level0_tables(lsm->current, &n);
    enum result r = tables ? RES_NOT_FOUND : RES_NO_MEMORY;

    plan_levels(lsm, lsm->current, &p);
    for (size_t at = 0; at < n && !*out;) {
        struct component c = component_at(lsm, tables, n, at);
        bool wanted = false;
        at += c.count;
        for (size_t i = 0; i < c.count; i++)
            wanted |= inside(c.tables[i], lower, upper) && !c.tables[i]->damaged;
        if (!wanted)
            continue;
        *out = level0_job(lsm, &p, &c);
        if (*out)
            r = RES_OK;
        else if (r == RES_NOT_FOUND)
            r = why_none(lsm);
    }
    free(tables);
    return r;
}

/* A table at the bottom, or with nothing below it, that a rewrite would make smaller. */
static bool wants_rewrite(const struct table *t)
{
    return t->meta.tombstones || __atomic_load_n(&t->dead_bytes, __ATOMIC_RELAXED);
}

enum result pick_range_job(struct lsm *lsm, struct slice lower, struct slice upper, int *level, struct job **out)
{
    *out = NULL;
    if (*level == 0) {
        enum result r = range_level0(lsm, lower, upper, out);
        if (r != RES_NOT_FOUND)
            return r;
        *level = 1;
    }
    for (; *level < ENGINE_LEVELS; ++*level) {
        const struct run *r = lsm->current->level[*level];
        enum result why = RES_NOT_FOUND;
        for (uint32_t i = 0; r && i < r->count; i++) {
            struct table *t = r->tables[i];
            if (!inside(t, lower, upper) || t->damaged || (*level == BOTTOM_LEVEL && !wants_rewrite(t)))
                continue;
            *out = table_job(lsm, t, *level, *level == BOTTOM_LEVEL ? BOTTOM_LEVEL : *level + 1);
            if (*out)
                return RES_OK;
            if (why == RES_NOT_FOUND)
                why = why_none(lsm);
        }
        if (why != RES_NOT_FOUND)
            return why;
    }
    return RES_OK;
}
