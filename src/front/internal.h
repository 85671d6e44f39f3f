/* What the files of this room share. Nobody outside includes it.
 *
 * Sources. Commits lie, newest first, in sources: the active memtable, sealed memtables, and private tables in their
 * places between them, then the engine. A view is an array of references to sources and a reference to an engine view.
 *
 * Invariants
 *   1. sources[0] is the active memtable; only the latch holder inserts into it.
 *   2. A memtable is sealed by setting `last` before any later commit; from then on it never changes.
 *   3. A source leaves the list only after the engine has it, and only the oldest one does; the view with the new engine
 *      view and without the source is published in one step.
 *   4. The engine's boundary never exceeds the gate, nor the log's durable mark.
 *   5. A view covers all commits up to its sources[0]->last.
 *
 * Locks: view_lock (sources, the published view) is short and never held while waiting for a disk; the latch holder
 * only tries it. flush_lock and keep_lock guard conditions. None is taken inside another. */
#ifndef VARVE_FRONT_INTERNAL_H
#define VARVE_FRONT_INTERNAL_H

#include <stdalign.h>
#include <stdatomic.h>

#include "base/epoch.h"
#include "front/counters.h"
#include "front/memtable.h"
#include "front/wal.h"

#define SOURCES_MAX 24
#define MEMTABLE_LEAST ((uint64_t)4096)
#define FRONT_REST_NS 5000000000ull        /* how often is looked whether little is written */
#define SEAL_DELETES_NS 30000000000ull     /* how long deletes wait in a memtable that is not full */
#define MEMTABLE_ROOM ((uint64_t)32 << 20) /* address space for the batch that crosses the limit */

struct front_source {
    _Atomic uint64_t refs;
    struct front *front;
    struct memtable *memtable;  /* or */
    struct engine_table *table; /* with its */
    uint64_t number;
    uint64_t first;        /* table: its batch's sequence */
    _Atomic uint64_t last; /* memtable: its last sequence, UINT64_MAX while active; table: first */
    /* Known once it is no longer the newest: what the engine covers after absorbing it, and the counters then. */
    uint64_t boundary;
    uint8_t *counts;
    size_t counts_len;
    uint64_t log_position;     /* when it became active */
    uint64_t log;              /* the file that the engine's state names behind it; the flusher's */
    struct front_source *next; /* in the list of the dead */
};

struct front_view {
    _Atomic uint64_t refs;
    struct front *front;
    struct engine_view *engine;
    struct epoch_entry retired;
    uint64_t low;               /* no snapshot chosen with this view is below it */
    struct front_view *younger; /* in the list of those that are not destroyed */
    struct front_view **link;
    int count;
    struct front_source *sources[SOURCES_MAX];
};

struct front {
    struct front_options o;
    char *dir, *wal_dir;
    struct engine *engine;
    const struct engine_ops *ops;
    struct wal *wal; /* NULL: the engine is not persistent */
    struct env_file *lock;
    struct front_identity identity;
    struct counters counters;

    alignas(64) _Atomic uint64_t visible;
    alignas(64) _Atomic uint64_t gate;
    alignas(64) _Atomic(struct front_view *) view;

    /* The latch holder's. */
    alignas(64) struct memtable *active;
    const struct memtable *deletes_in; /* the active one when it was seen to have deletes, at */
    uint64_t deletes_since;
    uint64_t rest_looked, rest_written; /* when was looked last whether little is written; bytes of log then */
    bool active_unlisted;               /* while opening: not yet in sources */
    const struct batch *reserved;
    size_t reserved_bytes, room_bytes, batch_max;
    uint64_t log_time_ms;              /* that times in the log are told from */
    struct front_source *in_hand;      /* the spare, taken and not yet active */
    struct front_source *table_source; /* for the batch with a private table that was reserved */
    struct front_view *table_view;
    _Atomic uint64_t commits, commit_records, reserve_waits, pace_waits;
    uint64_t replay_most; /* ns that replaying one memtable may take */
    double pace_tokens;   /* bytes */
    uint64_t pace_at;     /* when they were counted */
    uint64_t pace_used;   /* of the active memtable then */
    uint64_t populate_at; /* the active memtable's use at which the keeper is told */

    struct os_mutex view_lock;
    struct front_source *sources[SOURCES_MAX]; /* newest first */
    _Atomic int source_count;
    int memtable_count;

    _Atomic uint64_t memtable_bytes;                    /* of memtables that are made from now on */
    _Atomic uint64_t pace_rate;                         /* bytes a second that writers may have; 0: no limit */
    _Atomic uint64_t flush_started_ns, walk_started_ns; /* of the flush under way; 0: none */
    _Atomic uint64_t flush_walked, flush_total;         /* its records */
    _Atomic uint64_t flush_speed;                       /* memtable bytes a second, of earlier ones */

    _Atomic(struct front_source *) spare; /* a memtable that is ready to be made active */
    _Atomic bool spare_wanted;            /* now */
    int living;                           /* the keeper's: all memtables there are */
    int put_off;                          /* the keeper's: turns since it might have made a spare */
    _Atomic bool space_wanted;
    _Atomic bool disk_low;   /* the reserve is spent: only deletes */
    uint64_t reserve_target; /* 0: none */
    bool reserve_held;       /* the keeper's */
    _Atomic bool read_only;  /* frozen */
    _Atomic uint64_t told;   /* on_gate's last, without a log */

    struct os_mutex views_lock;      /* a leaf */
    struct front_view *oldest_view;  /* views_lock: all that may still be read through, by age */
    struct front_view **newest_link; /* views_lock */
    uint64_t prune_at;               /* the latch holder's: when pruning is tried again after a held view forbade it */

    struct os_mutex gate_lock; /* front_wait */
    struct os_cond gate_cond;
    _Atomic int gate_waiters;

    struct os_mutex flush_lock; /* the flusher's condition, and those who wait for it */
    struct os_cond flush_wake, flushed_cond;
    _Atomic uint64_t taken;          /* sources that the engine has taken and the list no longer has */
    _Atomic uint64_t flusher_awaits; /* the gate that the sleeping flusher wants to hear of; UINT64_MAX: none */
    _Atomic bool flush_refused;      /* the file system has no space for the oldest memtable */

    struct os_mutex keep_lock;
    struct os_cond keep_wake;
    _Atomic bool keeper_wanted; /* front_kick wakes it */
    _Atomic bool view_aged;     /* the keeper shall publish another one */
    bool keeper_woken;
    struct front_source *dead; /* to be reused or freed */
    _Atomic int dead_count;
    bool stop;

    struct os_thread flush_thread, keep_thread;
    int threads;

    uint64_t attached; /* number of the table that the engine has above its boundary, or 0 */

    uint64_t recovered_commits, recovered_bytes, recovery_ms, torn_bytes;
    _Atomic uint64_t views;
    _Atomic bool opened; /* before: a failure makes front_open fail */
    enum result failed_why;
    char failure[512];
};

/* view.c */
struct front_source *source_new(struct front *f, struct memtable *m);
void source_unref(struct front_source *s);
/* Publishes a view of the present sources in `room` (allocated by the caller, who keeps nothing). */
void view_publish(struct front *f, struct front_view *room) REQUIRES(f->view_lock);
void view_drop_all(struct front *f);
/* No snapshot that somebody keeps beyond an epoch section is below this. Anybody; 0 when it cannot be told now. */
uint64_t view_held_from(struct front *f);
void view_engine_changed(void *front);

/* commit.c */
void front_tell_space(struct front *f);
void front_want_space(struct front *f);
void front_progress(void *front);
void front_fail(void *front, enum result why, const char *sentence);
enum result front_take_counts(struct front *f, struct front_source *s) MUST_CHECK;
enum result front_insert(struct front *f, struct log_batch *b, uint64_t sequence) MUST_CHECK;

/* flush.c */
void front_flush_thread(void *front);
void front_wake_flusher(struct front *f);
size_t front_state_put(const struct front *f, uint8_t *out, uint64_t boundary, uint64_t log, uint64_t attached,
                       struct slice counts);
#define FRONT_STATE_HEAD 32
/* While opening: the engine has all there is, so no log before the present one is needed any more. */
enum result front_forget_logs(struct front *f, uint64_t sequence) MUST_CHECK;
/* keeper.c */
void front_keep_thread(void *front);
void front_wake_keeper(struct front *f);
static inline uint64_t front_memtable_bytes(const struct front *f)
{
    return atomic_load_explicit(&f->memtable_bytes, memory_order_relaxed);
}

/* reserve.c */
/* The file system is full: called by whoever met it, without locks. */
void front_spend_reserve(void *front);
void front_engine_full(void *front);
void front_reserve_at_start(struct front *f);
/* The keeper's: makes it when it is not there. True: it has to be tried again in a while. */
bool front_keep_reserve(struct front *f);
/* Does the batch only delete? */
bool front_batch_shrinks(const struct batch *b);

/* pace.c */
void front_pace_flush_begins(struct front *f, uint64_t records);
void front_pace_walk_begins(struct front *f);                /* it counts in f->flush_walked */
void front_pace_flush_ends(struct front *f, uint64_t bytes); /* 0: failed */
bool front_pace_update(struct front *f);
bool front_pace_take(struct front *f, uint64_t rate);

/* identity.c */
/* Writes BOOT and IDENTITY into another directory, which is complete with that. */
enum result identity_copy(struct front *f, const char *dir) MUST_CHECK;
enum result identity_begin(struct front *f, bool *fresh, struct errmsg *msg) MUST_CHECK;
enum result identity_finish(struct front *f, bool fresh, struct errmsg *msg) MUST_CHECK;

/* recovery.c: fills the active memtable, the counters, and what the new log has to begin with. */
struct recovered {
    uint64_t base;
    struct log_start before;
    uint64_t number;
    struct recovered_file {
        uint64_t number, base;
        bool needed, damaged;
    } * files;
    size_t file_count;
    bool damaged; /* a mode other than strict left something out */
};
enum result front_recover(struct front *f, bool fresh, uint64_t boundary, struct slice state, struct recovered *out,
                          struct errmsg *msg) MUST_CHECK;

#endif
