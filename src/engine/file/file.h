/* The engine `file`: append-only data files, and in memory an ordered directory of all keys, which says where each record
 * lies (after J. Sheehy and D. Smith, "Bitcask: a log-structured hash table for fast key/value data", 2010, but ordered).
 * A read is one look into the directory and one read of a file; what is not there costs no read at all. Memory holds
 * every key and about 20 bytes more for each (keydir.h); values are cached by the operating system.
 *
 * Files: DIR/FILES, which says what is in force; DIR/data/NNNNNN.dat and NNNNNN.hint (datafile.h). Numbers come from one
 * counter and are never used twice. FILES is written whole and installed by rename; it is:
 *
 *      0  "VARVEFIL"            8  format version u32 = 1    12  number of files u32
 *     16  next number u64      24  next order u64
 *     32  boundary u64         40  length of the front's state u32    44  zero u32
 *     48  for each file: number u64, size u64, order u64
 *      …  the front's state
 *      …  checksum32 of all before, salted with 0x66696c6573
 *
 * 1. Of two records of one key that of the file with the higher order is newer. Files of equal order have no key in
 *    common.
 * 2. An absorbed run is a file (or several, cut by size), a private table is one that was written before. Both are
 *    synced, then named in FILES, then visible: a state (struct engine_view) is a directory root and a set of files.
 * 3. A merge copies what is live in some files to new ones and takes their place. Its order is taken when it begins, with
 *    the state that it copies from: what it copies is then the newest of its key, so it is newer than all files of that
 *    moment and older than all that come later.
 * 4. A tombstone, and a dead range, must be kept as long as there is a file of lower order than its own that is not
 *    merged together with it.
 * 5. A dead range takes its keys out of the directory as soon as it is absorbed; when the directory is filled from hints,
 *    ranges do so again, whatever the order: what lies in one never comes back (engine.h).
 * 6. A file is removed when it is in no state and no handle any more, after FILES without it is durable.
 *
 * Locks, in their order:
 *   edit_lock   one change of state at a time: absorb, attach, the end of a merge
 *   lock        the current state, what is to be buried, counters */
#ifndef VARVE_ENGINE_FILE_FILE_H
#define VARVE_ENGINE_FILE_FILE_H

#include "engine/boundary.h"
#include "engine/failure.h"
#include "engine/private.h"

#define FILES_NAME "FILES"

struct engine_view {
    struct file_engine *fe;
    uint64_t refs; /* atomic */
    struct keydir_node *root;
    struct datafile_set set; /* each with a reference */
};
struct file_engine {
    struct engine engine;
    struct engine_options options;
    struct env *env;
    char *dir, *data;
    uint64_t file_bytes;                  /* files are cut when they have about so many */
    struct private_tables private_tables; /* and all numbers, names and directories */
    uint64_t swept_below;                 /* files with such numbers are an earlier process' */

    struct os_mutex edit_lock;
    uint64_t next_order;       /* edit_lock */
    struct kept_boundary kept; /* edit_lock */

    struct os_mutex lock;
    struct engine_view *current; /* lock */
    struct datafile *gone;       /* lock: nobody holds them any more */
    struct datafile_owner owner;
    uint64_t views; /* atomic: references given out */
    struct engine_failure failure;
    uint64_t reads;                                                            /* atomic: gets that read a file */
    uint64_t flushes, flush_bytes, merges, merge_read, merge_written, dropped; /* lock */
    uint64_t pending; /* lock: bytes that the merge at work reads */

    struct os_cond work; /* lock: there may be something to do */
    struct os_cond done; /* lock: a merge has ended */
    bool stopping;       /* lock; atomic for those who only look */
    bool merging;        /* lock: one merge at a time */
    bool started;
    struct os_thread thread;
};

/* What an edit of the directory takes away from which file: states change only when it has been made durable. */
struct tally {
    struct datafile **files; /* ascending numbers */
    uint64_t *bytes;
    size_t count, cap;
    uint64_t records;
};
enum result tally_init(struct tally *t, const struct datafile_set *set) MUST_CHECK;
/* The newest file: its number is higher than all others'. */
enum result tally_add(struct tally *t, struct datafile *d) MUST_CHECK;
void tally_note(struct tally *t, size_t key_len, const struct keydir_place *place);
void tally_apply(const struct tally *t);
void tally_fini(struct tally *t);

/* Ranges that were found dead, as changes. */
struct dead_list {
    struct buf bytes; /* u16 length, start, u16 length, end; starts ascend */
    uint64_t count;
};
/* A PUT in REGION_DEAD; what makes no sense is left alone. */
enum result dead_list_add(struct dead_list *d, struct slice key, struct slice end) MUST_CHECK;
/* Takes the ranges out of the directory: *root becomes another one. */
enum result dead_list_apply(struct dead_list *d, struct file_engine *fe, struct keydir_node **root, struct tally *tally)
    MUST_CHECK;

/* ---- files.c ---- */
/* What FILES says. */
struct files_entry {
    uint64_t number, size, order;
};
struct files_list {
    uint64_t next_number, next_order, sequence;
    struct files_entry *entries; /* ascending numbers; malloc'd */
    size_t count;
    struct slice state;
    uint8_t *bytes; /* what was read; state lies in it */
    size_t len;
};
/* RES_NOT_FOUND, without a sentence: there is none. */
enum result files_read(struct env *env, const char *path, struct files_list *out, struct errmsg *msg) MUST_CHECK;
enum result files_encode(const struct files_list *l, struct buf *out) MUST_CHECK;
void files_list_fini(struct files_list *l);
enum result files_load(struct file_engine *fe, struct errmsg *msg) MUST_CHECK;
/* Makes the next state durable and publishes it: `root` and the reference on it are taken over, files are added and
 * removed. boundary NULL: as before. After a failure nothing has changed; *in_doubt: files that were added may not be
 * removed all the same. */
enum result files_commit(struct file_engine *fe, struct keydir_node *root, struct datafile **add, size_t add_count,
                         struct datafile **remove, size_t remove_count, const struct engine_boundary *boundary,
                         bool *in_doubt) MUST_CHECK REQUIRES(fe->edit_lock);
enum result files_write(struct file_engine *fe, const char *dir, const struct datafile_set *set, uint64_t sequence,
                        struct slice state) MUST_CHECK;
struct engine_view *file_view_acquire(struct engine *e);
void file_view_ref(struct engine_view *v);
void file_view_unref(struct engine_view *v);

/* ---- file.c ---- */
/* Closes the files that nobody holds any more, removes the obsolete ones. */
void file_bury(struct file_engine *fe);

/* ---- absorb.c ---- */
enum result file_absorb(struct engine *e, struct iter *run, const struct engine_boundary *boundary);
enum result file_attach(struct engine *e, struct engine_table *t, const struct engine_boundary *boundary);

/* ---- merge.c ---- */
enum result file_start(struct file_engine *fe) MUST_CHECK;
void file_stop(struct file_engine *fe);
enum result file_compact(struct engine *e, struct slice lower, struct slice upper, const atomic_bool *stop);
unsigned file_debt(struct engine *e);
/* Several output files, one after the other. */
struct file_output {
    struct file_engine *fe;
    struct datafile_writer writer; /* path NULL: none is begun */
    struct datafile **files;       /* finished */
    size_t count, cap;
    uint64_t bytes;
};
/* *place is where it lies. */
enum result file_output_add(struct file_output *o, struct slice key, uint8_t kind, struct slice value,
                            struct keydir_place *place) MUST_CHECK;
/* Ends the last file and makes all names durable. */
enum result file_output_finish(struct file_output *o) MUST_CHECK;
void file_output_fini(struct file_output *o, bool remove);

#endif
