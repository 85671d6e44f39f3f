/* Private tables (engine.h) of engines that have no sorted files of their own making: each is a data file with a key
 * directory over it, in the engine's folder.
 *
 * Threads: as engine.h says. `lock` is a leaf. */
#ifndef VARVE_ENGINE_PRIVATE_H
#define VARVE_ENGINE_PRIVATE_H

#include "engine/datafile.h"
#include "os/thread.h"

struct private_tables { /* part of an engine */
    struct env *env;
    char *dir;                   /* where the files lie; the engine's */
    struct keydir_memory memory; /* of all key directories in the engine */
    uint64_t next_number;        /* atomic: of the next file, whatever it is for */
    struct os_mutex lock;
    struct engine_table *tables; /* lock: all handles */
    struct os_mutex sync_lock;
    enum result sync_failed; /* sync_lock */
};
struct engine_table {
    struct private_tables *owner;
    struct engine_table *next;     /* owner->lock */
    struct datafile_writer writer; /* until it is finished */
    struct datafile *file;         /* from then on */
    struct datafile_set set;       /* the file alone */
    struct keydir_node *root;
    uint64_t number;
    uint32_t refs; /* atomic: the handle, iterators, whoever else */
    bool remove;   /* owner->lock: the files go with the last reference */
    bool in_doubt; /* owner->lock: they do not, all the same */
};

void private_init(struct private_tables *p, struct env *env, char *dir);
void private_fini(struct private_tables *p);
/* A number that was never used; what is in the folder and what was stored must have been told before. */
uint64_t private_new_number(struct private_tables *p);
/* Raises the counter above all numbers in the folder. */
enum result private_count_files(struct private_tables *p) MUST_CHECK;
/* Makes the names of new files durable. Once that has failed it fails for ever: what was new then may be lost although a
 * later sync succeeds. */
enum result private_sync_names(struct private_tables *p) MUST_CHECK;

enum result private_begin(struct private_tables *p, struct engine_table **out) MUST_CHECK;
enum result private_open(struct private_tables *p, uint64_t number, struct engine_table **out) MUST_CHECK;
/* Removes the data files that no handle is on, unless keep(arg, number). */
enum result private_sweep(struct private_tables *p, bool (*keep)(void *arg, uint64_t number), void *arg) MUST_CHECK;
void private_ref(struct engine_table *t);
/* Attached, and copied: its files are not needed any more once the handle is gone. */
void private_taken(struct engine_table *t);
/* It is not known whether it is attached: its files stay, whatever becomes of the handle. */
void private_in_doubt(struct engine_table *t);
/* All records, tombstones included. The table must outlive it. */
enum result private_records(struct engine_table *t, struct iter **out) MUST_CHECK;

/* ---- the interface's functions as they stand there ---- */
enum result private_add(struct engine_table *t, struct slice key, uint8_t kind, struct slice value);
enum result private_finish(struct engine_table *t, uint64_t *number);
void private_abort(struct engine_table *t);
enum result private_get(struct engine_table *t, const struct engine_key *key, int flags, uint8_t *kind,
                        struct slice *value, struct engine_miss *miss);
enum result private_iter(struct engine_table *t, struct slice lower, struct slice upper, int flags, struct iter **out);
void private_release(struct engine_table *t);

#endif
