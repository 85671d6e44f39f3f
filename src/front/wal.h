/* The log as the commit pipeline sees it: reserve, put, publish under the write latch; marks that follow. The bytes are
 * described in log_format.h, reading them back is log_reader.h's.
 *
 * The way of a batch. The latch holder reserves (wal_reserve), encodes the batch into the ring (wal_put) and, when it
 * is visible, publishes the ring's head (wal_publish). Whoever holds the *turn* takes everything between tail and head,
 * writes it behind one header as one GROUP record with one pwritev straight from the ring, where the header takes the
 * place of bytes that have been written (so that a write is of one piece), and moves the marks:
 *     always         the log thread, which wal_kick wakes; the write is RWF_DSYNC. Groups form by themselves: what is
 *                    committed during one write shares the next.
 *     everysec, no   the caller of wal_kick, if nobody else is at it; who leaves looks again. A thread of its own syncs
 *                    each second. What stays within pages that have been written to since the last sync is stored into
 *                    the page cache (ENV_CACHED): a small group costs no system call.
 *
 * Space. A file is written with zeros and synced by the preparer thread before a record may go there, so that the file
 * system's refusal meets the preparer and never a batch that has its sequence. wal_reserve promises a place:
 *     prepared - position >= bytes pending in the ring, each batch with a header of its own, + what may be lost at
 *     the end of each file (less than the largest batch so far)
 * where position and prepared count bytes over all files of this process' life. Groups made of several batches only
 * need less. What is full is recycled once the engine has what it covers (wal_release). On a disk that is nearly full the
 * preparer goes no further ahead than it must and leaves the rest to the tables: were it to take that too, no memtable
 * could be written any more, and so no log be recycled. When little is written, little is prepared (wal_rest.c).
 *
 * Failure of a write or sync is final (wal_failed): marks stop, nothing more is written.
 *
 * Threads: reserve, put, publish: the latch holder. Everything else: any thread. Lock order: files_lock and sync_lock
 * are leaves; the turn is taken before either. */
#ifndef VARVE_FRONT_WAL_H
#define VARVE_FRONT_WAL_H

#include <stdalign.h>
#include <stdatomic.h>

#include "front/log_format.h"
#include "front/ring.h"
#include "os/thread.h"

#define WAL_GROUP_MAX (1024 * 1024)   /* payload of a group made of several batches */
#define WAL_BATCH_OVERHEAD 32         /* a header and its padding */
#define WAL_HEADROOM LOG_HEADER_BYTES /* of the ring, kept free before its tail: the group's header */
#define WAL_PAGE 4096
#define WAL_FREE_MAX 2 /* recycled files kept for later */

struct wal_file {
    struct wal_file *next; /* newer */
    struct env_file *file; /* NULL: of an earlier process, not open */
    uint64_t number;
    uint64_t base;             /* last sequence before its first record */
    bool begun;                /* base is known */
    _Atomic uint64_t prepared; /* bytes that may be written to */
    _Atomic bool untouched;    /* allocated, never written before: part of a page is written without reading it */
    _Atomic bool unsynced;     /* written without DSYNC since the last sync */
    bool started;              /* its START is durable, with all before it; files_lock */
    bool syncing;              /* a thread syncs it: not to be freed */
};

struct wal_options {
    struct env *env;
    const char *dir; /* DIR/wal, exists */
    enum front_fsync mode;
    uint64_t segment_bytes, ring_bytes;
    uint64_t leave_bytes; /* of the disk, for tables, as long as the log can do without */
    uint8_t uuid[16];
    uint64_t epoch;
    uint64_t base;           /* the last sequence given */
    uint64_t time_ms;        /* that the batches' times are told from */
    uint64_t number;         /* of the first file to write: above every number ever used */
    struct log_start before; /* before, before_end, before_checksum: the chain behind it */
    /* written or durable moved / wal_reserve may succeed again / first failure. Called with no lock but the turn. */
    void (*on_progress)(void *arg);
    void (*on_space)(void *arg);
    void (*on_failure)(void *arg, enum result why, const char *sentence);
    void (*on_full)(void *arg); /* the file system refuses room for the log; or NULL */
    void *arg;
};

struct wal_stats {
    _Atomic uint64_t bytes, writes, syncs, groups, sync_ns, sync_ns_max;
};

struct wal {
    struct wal_options o;
    char *dir;
    struct ring ring;

    /* The latch holder's. */
    alignas(64) uint64_t put_head;
    uint64_t budget;          /* bytes that may be put before the marks have to be looked at again */
    _Atomic uint64_t largest; /* the preparer reads it */
    uint64_t put_sequence;

    alignas(64) _Atomic uint64_t head; /* published */
    _Atomic bool log_sleeps;

    /* Moved by the holder of the turn, in this order after a write: position, written, tail. */
    alignas(64) _Atomic uint64_t position;
    _Atomic uint64_t written;
    _Atomic uint64_t durable;
    _Atomic uint64_t tail;
    _Atomic uint64_t prepared; /* by the preparer */
    _Atomic bool turn;
    _Atomic int mode; /* enum front_fsync */
    _Atomic bool failing, failed, no_space, space_wanted, preparer_sleeps;
    _Atomic bool sync_early;    /* the syncer shall not wait for the second to end */
    _Atomic bool frugal;        /* prepared only as far ahead as must be; nothing is kept for recycling */
    _Atomic bool resting;       /* the latch holder has been promised nothing: see wal_rest.c */
    _Atomic uint64_t rested_at; /* position */

    /* Of the holder of the turn. */
    struct wal_file *current;
    uint64_t offset;         /* in the current file */
    uint64_t touched;        /* up to here this life has written to all of its pages; whole pages */
    uint64_t unsynced_bytes; /* since the syncer was last told */
    uint32_t last_checksum;
    uint64_t files_begun; /* files written full in this life: position's whole files */
    uint8_t start_record[LOG_START_RECORD];

    struct os_mutex files_lock; /* the list, its flags, the free list */
    struct wal_file *oldest, *newest;
    struct wal_file *freed; /* to be recycled or unlinked by the preparer */
    int freed_count;
    uint64_t next_number;
    uint64_t files_made; /* in this life; the preparer's */

    struct os_mutex sync_lock; /* one sync of all at a time */

    struct os_mutex wake_lock; /* the threads' conditions */
    struct os_cond log_wake, prepare_wake, sync_wake;
    bool stop_log, stop_others;
    struct os_thread log_thread, prepare_thread, sync_thread;
    int threads;

    struct wal_stats stats;
};

/* Makes the first file, with a durable START, before it returns. */
enum result wal_open(const struct wal_options *o, struct wal **out, struct errmsg *msg) MUST_CHECK;
/* Starts the threads: from now on there are callbacks. */
enum result wal_start(struct wal *w) MUST_CHECK;
/* Stops the threads, writes and syncs what is published, adds the CLEAN note. What could not be written is the result. */
enum result wal_stop(struct wal *w) MUST_CHECK;
/* After wal_stop, or when it was never started. Others may report failures (wal_fail) until then. */
void wal_free(struct wal *w);

/* ---- under the latch ---- */
/* RES_OK, RES_WOULD_BLOCK (on_space will tell), RES_NO_SPACE, RES_READ_ONLY, RES_INVALID. */
enum result wal_reserve(struct wal *w, uint64_t bytes) MUST_CHECK;
/* A place for that many bytes, to be filled before wal_publish. */
uint8_t *wal_put(struct wal *w, uint64_t bytes);
void wal_publish(struct wal *w, uint64_t sequence);
/* Little is written: what lies ready for more may go, and the file that is written may be ended. Between commits. */
void wal_rest(struct wal *w);

/* ---- anywhere ---- */
void wal_kick(struct wal *w);
void wal_set_mode(struct wal *w, enum front_fsync mode);
void wal_set_frugal(struct wal *w, bool on);
static inline bool wal_failed(const struct wal *w) { return atomic_load_explicit(&w->failed, memory_order_acquire); }
/* Freezes, with a reason that did not come from the log itself. */
void wal_fail(struct wal *w, enum result why, const char *sentence);

/* The file that holds the first record above the sequence. */
uint64_t wal_file_for(struct wal *w, uint64_t sequence);
/* The engine's state names this file: those before it are no longer needed. */
void wal_release(struct wal *w, uint64_t number);
/* A file of an earlier process that is still needed: oldest first, before any commit. base: last sequence before it. */
enum result wal_adopt(struct wal *w, uint64_t number, uint64_t base) MUST_CHECK;
/* A file nobody needs any more: recycled or removed. */
enum result wal_discard(struct wal *w, uint64_t number) MUST_CHECK;
uint64_t wal_live_bytes(struct wal *w);
/* No file is needed but the one that is written. */
bool wal_is_one_file(struct wal *w);

/* ---- between wal.c, wal_write.c, wal_files.c and wal_rest.c ---- */
enum result wal_path(const struct wal *w, uint64_t number, char path[512]) MUST_CHECK;
enum result wal_first_file(struct wal *w, struct errmsg *msg) MUST_CHECK;
void wal_files_free(struct wal *w);
void wal_write_pending(struct wal *w);
enum result wal_sync_all(struct wal *w) MUST_CHECK;
void wal_log_thread(void *arg);
void wal_prepare_thread(void *arg);
void wal_sync_thread(void *arg);
void wal_space(struct wal *w);         /* tells whoever waits for space */
void wal_wake_preparer(struct wal *w); /* if it sleeps */
uint64_t wal_prepare_goal(const struct wal *w);
uint64_t wal_batch_max(const struct wal *w);
/* By the holder of the turn: the next file takes over. Its START record, in w->start_record, has to be written. */
void wal_begin_next_file(struct wal *w);
/* The preparer's: a file with something prepared, which is not in the list yet; into the list as the newest, then count. */
enum result wal_make_file(struct wal *w, struct wal_file **out) MUST_CHECK;
void wal_append_file(struct wal *w, struct wal_file *f);
void wal_count_prepared(struct wal *w);
void wal_remove_file(struct wal *w, struct wal_file *f);
/* wal_rest.c */
void wal_take_rest(struct wal *w); /* the preparer's, when it has nothing more urgent */
void wal_end_rest(struct wal *w);  /* the latch holder's */
uint64_t wal_ahead_after_rest(const struct wal *w);

#endif
