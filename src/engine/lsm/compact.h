/* Compaction: choosing what to merge (pick.c), merging it (compact.c), and dead ranges (dead.c).
 *
 * The tree is leveled with dynamic sizes: the bottom level has what it has, each level above is to have a tenth of the
 * one below. The last one that is larger than base_level_bytes, and than what a merge of level 0 brings, is the base,
 * into which level 0 is merged: a level smaller than that would be rewritten for each merge and spare nothing. Levels
 * between 0 and the base are empty. (The sizes follow from the data, so the upper levels never hold more than
 * about a ninth of it: that bounds the space that superseded records take.)
 *
 * Level 0 falls apart into components: tables that overlap, directly or through others, and small tables of one region
 * that lie side by side. A component is merged as a whole, so no older record is left above a newer one; sequential
 * loads make components of one table, which are moved without being read.
 *
 * 1. While a job runs, its tables belong to it (table->job), and its range of keys is claimed for its levels: no other
 *    job and no absorb puts a table there, because a merged table may span gaps between its inputs.
 * 2. A tombstone is dropped only when no level below the output has a table around its key. Levels above the inputs
 *    hold newer records only, and what joins the version meanwhile does so above (1).
 * 3. A record in a dead range is dropped wherever it is met, tombstones too: whatever they hide is dead as well.
 * 4. A dead range's own record is dropped when no record lies in the range any more. Nothing older can arrive: what is
 *    older was committed before it, so it was absorbed before it or with it. */
#ifndef VARVE_ENGINE_LSM_COMPACT_H
#define VARVE_ENGINE_LSM_COMPACT_H

#include "engine/lsm/lsm.h"

#define LEVEL0_TRIGGER 4 /* runs over each other */
#define LEVEL0_MOST 8
#define LEVEL_RATIO 10

enum job_kind {
    JOB_MERGE,   /* read inputs, write outputs; in place when from == to */
    JOB_MOVE,    /* tables change their level */
    JOB_DISCARD, /* tables lie in dead ranges as a whole */
};

struct job_input {
    struct table *table;
    int level;
    uint32_t run; /* its place in the view's runs: newer ones first */
};
struct job {
    enum job_kind kind;
    int from, to;
    struct engine_view *view; /* pins the inputs and everything that is asked about older data */
    struct job_input *inputs; /* by run, then by key */
    size_t count;
    uint64_t bytes;
    struct engine_compression compression; /* of what it writes */
    struct slice lower, upper;
    struct lsm_claim claim;
    const atomic_bool *stop; /* of whoever compacts by hand; or NULL */
};

/* ---- pick.c; under lsm->lock ---- */
struct level_plan {
    int base;                       /* where level 0 goes */
    uint64_t target[ENGINE_LEVELS]; /* bytes */
    uint64_t pending;               /* bytes above the targets */
    unsigned depth;                 /* the most runs over each other in level 0 */
};
void plan_levels(const struct lsm *lsm, const struct engine_view *v, struct level_plan *p);
/* The most urgent job, claimed; NULL when there is none. idle: also what is only worth it when nobody else wants the
 * disk. */
struct job *pick_job(struct lsm *lsm, bool idle);
/* A step of compacting [lower, upper] by hand: RES_OK with a job, or without when all is at the bottom; RES_RETRY when
 * what is to be done is at work already. *level: start with 0 and pass it again. */
enum result pick_range_job(struct lsm *lsm, struct slice lower, struct slice upper, int *level, struct job **out)
    MUST_CHECK;
/* Gives the tables back and frees; the view must have been released or taken over: see job_free(). */
void job_unclaim(struct lsm *lsm, struct job *j);

/* ---- compact.c ---- */
/* Does it. RES_CLOSED when stopping. */
enum result job_run(struct lsm *lsm, struct job *j) MUST_CHECK;
/* After job_unclaim, without locks. */
void job_free(struct job *j);

/* ---- dead.c ---- */
/* Which keys of an ascending sequence are dead? Reads the ranges of a view beside the sequence. */
struct dead_cursor {
    struct iter *ranges; /* NULL: there are none */
    enum result at;      /* of the last move of `ranges` */
    uint8_t end[ENGINE_KEY_MAX + 1];
    size_t end_len; /* the largest end among the ranges that start at or below the last key asked about */
};
enum result dead_cursor_init(struct dead_cursor *d, struct engine_view *v, struct slice last) MUST_CHECK;
void dead_cursor_fini(struct dead_cursor *d);
/* RES_OK with *dead; after `true` all keys below slice_of(d->end, d->end_len) are dead, too. */
enum result dead_cursor_covers(struct dead_cursor *d, struct slice key, bool *dead) MUST_CHECK;

/* For records of the region DEAD: does any record lie in the range? */
enum result dead_range_is_empty(struct engine_view *v, const struct iter *record, bool *empty) MUST_CHECK;
/* Looks at all dead ranges and notes at the tables what they hold of them. */
enum result dead_scan(struct lsm *lsm) MUST_CHECK;
/* Does the version hold records of dead ranges? */
bool dead_any(const struct engine_view *v);

#endif
