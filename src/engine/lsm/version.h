/* Versions: what the engine consists of at one moment, immutable. The engine_view of engine.h is a version.
 *
 * A version is a list of runs, newest first; a run is a sequence of tables whose key ranges do not overlap, in key
 * order. Level 0 has any number of runs, one for each absorbed or attached piece, with ids that grow; each level below
 * is one run. Of two records of one key the one in the newer run counts:
 *
 * 1. For any key, all records in level n are newer than all in level n + 1, and in level 0 those of a run with a higher
 *    id are newer than those of a lower one.
 *
 * Runs are shared between versions and counted; an edit makes new runs only for the levels it touches. */
#ifndef VARVE_ENGINE_LSM_VERSION_H
#define VARVE_ENGINE_LSM_VERSION_H

#include "engine/lsm/table.h"

#define BOTTOM_LEVEL (ENGINE_LEVELS - 1)

struct lsm;

struct run {
    uint32_t refs; /* atomic */
    uint32_t count;
    uint64_t id; /* 0 below level 0 */
    uint64_t bytes, records, tombstones, data_bytes;
    struct fences fences; /* the first key of each table */
    struct table *tables[];
};

struct engine_view {
    struct lsm *lsm;
    uint32_t refs;                          /* atomic */
    uint32_t run_count;                     /* all runs that are not empty */
    uint32_t level0_count;                  /* the first of them, newest first */
    const struct run *level[ENGINE_LEVELS]; /* 1..BOTTOM_LEVEL; NULL when empty */
    struct run *runs[];                     /* in the order a read asks them */
};

/* ---- edits ---- */

struct edit_add {
    struct table *table; /* borrowed */
    int level;
    uint64_t run; /* level 0 */
};
struct edit_drop {
    struct table *table; /* borrowed; pinned by the caller's view or the current version */
    int level;
};
struct edit {
    struct edit_add *adds;
    struct edit_drop *drops;
    size_t add_count, drop_count, add_cap, drop_cap;
    const struct engine_boundary *boundary; /* NULL: stays */
    bool private_table; /* what it adds has a handle, which has the file too, whether or not the edit counts */
    bool in_doubt;      /* out: the commit failed, but the edit may count after a crash: its files must stay */
};
void edit_fini(struct edit *e);
enum result edit_add(struct edit *e, struct table *t, int level, uint64_t run) MUST_CHECK;
enum result edit_drop(struct edit *e, struct table *t, int level) MUST_CHECK;

/* ---- versions ---- */

/* A version with one reference; old may be NULL. RES_CORRUPT when tables of a level would overlap. */
enum result version_edit(struct lsm *lsm, const struct engine_view *old, const struct edit *e, struct engine_view **out)
    MUST_CHECK;
void version_ref(struct engine_view *v);
void version_unref(struct engine_view *v);

/* The tables of a run that overlap [lower, upper], both ends belonging to it: first and one past the last. An empty
 * upper is the end. */
void run_overlap(const struct run *r, struct slice lower, struct slice upper, uint32_t *from, uint32_t *to);
bool run_overlaps(const struct run *r, struct slice lower, struct slice upper);

enum result version_get(struct engine_view *v, const struct engine_key *key, int flags, struct slice *value,
                        struct engine_miss *miss);
void version_prefetch(struct engine_view *v, const struct engine_key *const *keys, unsigned n);
uint64_t version_range_bytes(struct engine_view *v, struct slice lower, struct slice upper);
/* Holds a reference on the version. */
enum result version_iter(struct engine_view *v, struct slice lower, struct slice upper, int flags, struct iter **out)
    MUST_CHECK;
/* Over tables of one run, in key order; the array is copied, tables are referenced. Bounds are borrowed. */
enum result run_iter(struct table *const *tables, uint32_t count, struct slice lower, struct slice upper, int flags,
                     struct iter **out) MUST_CHECK;

#endif
