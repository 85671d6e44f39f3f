/* The overlay: everything one run of a command wants to change, and nothing else has seen yet.
 *
 * It holds the last write of each key, in the form that front_commit takes, so that committing copies nothing: keys and
 * values lie in the run's arena or in the command's arguments. Up to OVERLAY_LINEAR records are found by comparing
 * hashes one after the other; above, a hash table is kept beside the array. Counter deltas and the list of signalled
 * keys (EXECUTION, rule 25) go the same way. Used by one thread; memory is kept between runs. */
#ifndef VARVE_EXEC_OVERLAY_H
#define VARVE_EXEC_OVERLAY_H

#include "base/arena.h"
#include "front/front.h"

#define OVERLAY_LINEAR 8

struct overlay_signal {
    uint64_t hash;
    struct slice key;
    uint32_t db;
    uint8_t kind; /* enum signal_kind */
};

struct overlay {
    struct batch_record *records;
    uint32_t count, cap;
    uint32_t *slots; /* index + 1 by hash; in use when count > OVERLAY_LINEAR */
    uint32_t slot_cap;
    struct batch_counter *counters;
    uint32_t counter_count, counter_cap;
    struct overlay_signal *signals;
    uint32_t signal_count, signal_cap;
    bool dbs;                /* the database map was changed; signals say which */
    size_t bytes;            /* of keys and values */
    struct overlay_old *old; /* what was replaced since overlay_mark() of what was there then */
    uint32_t old_count, old_cap;
    uint32_t marked; /* records that were there then */
};

#define OVERLAY_MARKED_COUNTERS 8 /* as many at most, where a mark is set */
struct overlay_mark {
    uint32_t count, counter_count, signal_count;
    size_t bytes;
    struct batch_counter counters[OVERLAY_MARKED_COUNTERS];
};

void overlay_init(struct overlay *o);
void overlay_fini(struct overlay *o);
void overlay_reset(struct overlay *o); /* for the next run */
static inline bool overlay_empty(const struct overlay *o) { return o->count == 0; }

/* NULL: not written by this run. */
struct batch_record *overlay_find_slow(const struct overlay *o, const struct engine_key *key);
static inline struct batch_record *overlay_find(const struct overlay *o, const struct engine_key *key)
{
    return o->count == 0 ? NULL : overlay_find_slow(o, key);
}
/* A key that overlay_find() did not find. Its bytes and the value must live as long as the run. */
enum result overlay_add(struct overlay *o, const struct engine_key *key, struct slice value, uint8_t kind) MUST_CHECK;
/* Replaces what overlay_find() found. */
enum result overlay_replace(struct overlay *o, struct batch_record *r, struct slice value, uint8_t kind) MUST_CHECK;
enum result overlay_count(struct overlay *o, uint32_t keyspace, int64_t keys, int64_t expires) MUST_CHECK;
enum result overlay_signal(struct overlay *o, const struct overlay_signal *signal) MUST_CHECK;

/* From here on what comes can be undone, until there is another mark or a reset. The database map was not changed. */
void overlay_mark(struct overlay *o, struct overlay_mark *m);
void overlay_undo(struct overlay *o, const struct overlay_mark *m);

/* The records in [lower, upper) as they are now, tombstones included, in key order. Lives in the arena. */
enum result overlay_iter(const struct overlay *o, struct arena *arena, struct slice lower, struct slice upper,
                         struct iter **out) MUST_CHECK;
/* For a private table: brings the records of `region` (0: all) behind the others, each part in key order. Returns how many
 * others there are. Nothing is found in the overlay afterwards. */
uint32_t overlay_split(struct overlay *o, uint8_t region);
void overlay_batch(const struct overlay *o, uint64_t now_ms, struct batch *b);

#endif
