/* Data files: records one after the other in the order of their keys, each with a checksum that binds it to its place,
 * and beside each file a hint file from which a key directory can be filled without reading values. They are written
 * once, from the start to the end, and never changed. The engine `file` keeps everything in them, `btree` its private
 * tables.
 *
 * NNNNNN.dat, a row of records:
 *
 *      0  checksum32 of the bytes from 4 to the record's end, salted with (number << 40) + offset of the record
 *      4  length of the value u32
 *      8  length of the key u16
 *     10  kind u8 (enum record_kind)
 *     11  zero u8
 *     12  key, value
 *
 * NNNNNN.hint:
 *
 *      0  "VARVEHNT"        8  format version u32 = 1   12  zero u32
 *     16  number u64       24  records u64              32  size of the data file u64
 *     40  for each record, in their order: varint bytes that its key shares with the one before, varint length of the
 *         rest, the rest, kind u8, varint length of the value; a PUT in REGION_DEAD is followed by its value
 *      …  checksum32 of all bytes before, salted with number
 *
 * A hint file that is missing or does not hold is written anew from the data file. Integers are little-endian.
 *
 * Threads: a writer belongs to one thread; reading is for any. */
#ifndef VARVE_ENGINE_DATAFILE_H
#define VARVE_ENGINE_DATAFILE_H

#include "base/buf.h"
#include "base/epoch.h"
#include "engine/keydir.h"

#define DATAFILE_HEAD 12

struct datafile;
/* Told when the last reference goes, on whatever thread that happens: it may close the file at once or later. */
struct datafile_owner {
    void (*gone)(struct datafile_owner *o, struct datafile *d);
};
struct datafile {
    struct env *env;
    struct env_file *file;
    struct datafile_owner *owner; /* NULL: it is closed when the last reference goes */
    struct datafile *next_gone;   /* the owner's */
    char *path;                   /* without its ending */
    uint64_t number, size, records;
    uint64_t order; /* the engine's: newer is higher */
    uint64_t live;  /* atomic: bytes of records that the engine's directory leads to */
    /* atomic: bytes of tombstones, of dead ranges; known once its hints have been read */
    uint64_t tombstones, ranges;
    uint32_t refs; /* atomic */
    bool obsolete; /* atomic: the files go with the last reference */
    bool damaged;  /* a merge could not read it: none tries again */
};
int datafile_newest_first(const void *a, const void *b); /* for qsort of pointers */
void datafile_ref(struct datafile *d);
void datafile_unref(struct datafile *d);
/* Closes it, removes its files if it is obsolete. May wait for the disk. */
void datafile_close(struct datafile *d);

/* ---- writing ---- */
struct datafile_writer {
    struct env *env;
    struct env_file *file;
    char *path;
    uint64_t number, offset, written;     /* next record; what is in the file of it */
    uint64_t records, tombstones, ranges; /* bytes of the latter two */
    struct buf data, hint;
    uint8_t last[ENGINE_KEY_MAX];
    size_t last_len;
};
enum result datafile_begin(struct datafile_writer *w, struct env *env, const char *dir, uint64_t number) MUST_CHECK;
/* Keys ascend: RES_INVALID otherwise. *place says where it lies. */
enum result datafile_add(struct datafile_writer *w, struct slice key, uint8_t kind, struct slice value,
                         struct keydir_place *place) MUST_CHECK;
/* Writes what is left and the hint file, syncs both (their names are the caller's to sync), and opens it for reading. The
 * writer is done, whatever happens; after a failure no files are left. */
enum result datafile_finish(struct datafile_writer *w, struct datafile **out) MUST_CHECK;
void datafile_abort(struct datafile_writer *w);

/* ---- reading ---- */
/* size 0: what the hint file says, or all of the file. RES_NOT_FOUND, RES_CORRUPT ... */
enum result datafile_open(struct env *env, const char *dir, uint64_t number, uint64_t size, struct datafile **out,
                          struct errmsg *msg) MUST_CHECK;
void datafile_remove(struct env *env, const char *dir, uint64_t number);
/* The number in a name that ends in .dat or .hint. */
bool datafile_number(const char *name, uint64_t *number);

/* A record read from a file, checked. */
struct datafile_record {
    struct epoch_entry retired;
    const struct datafile *file;
    uint64_t offset;
    struct slice key, value;
    uint8_t kind;
    uint8_t bytes[]; /* the record */
};
/* Reads the record; free() or datafile_record_retire() it. flags: ENV_NOWAIT. RES_CORRUPT after a second try, with a line in
 * the log. */
enum result datafile_read(struct datafile *d, uint64_t offset, size_t size, int flags, struct datafile_record **out)
    MUST_CHECK;
/* The same where the size is not known: two reads. */
enum result datafile_read_at(struct datafile *d, uint64_t offset, int flags, struct datafile_record **out) MUST_CHECK;
void datafile_record_retire(struct datafile_record *r); /* freed when all sections of now have ended */
/* Does this memory hold the record of that place? */
bool datafile_parse(const struct datafile *d, uint64_t offset, const uint8_t *p, size_t len, struct slice *key,
                    uint8_t *kind, struct slice *value, size_t *size);
static inline size_t datafile_record_size(size_t key_len, const struct keydir_place *place)
{
    return DATAFILE_HEAD + key_len + (size_t)place->value;
}
/* Reads all of it and verifies every record, their order, and that the hint file says the same. */
enum result datafile_check(struct datafile *d, struct errmsg *msg) MUST_CHECK;

/* From the first record to the last, in pieces of a megabyte. Begin with {.d = d}. */
struct datafile_walk {
    struct datafile *d;
    struct buf window;
    size_t at, size;         /* of the record that is shown: where in the window, how long */
    uint64_t offset;         /* where in the file */
    struct slice key, value; /* until the next step */
    uint8_t kind;
};
/* RES_OK: the next record is shown; RES_NOT_FOUND: that was all; RES_CORRUPT: what lies at offset is none. */
enum result datafile_walk_next(struct datafile_walk *w) MUST_CHECK;
/* After RES_CORRUPT: to the next place that holds a record, which next will show. RES_NOT_FOUND: there is none. */
enum result datafile_walk_skip(struct datafile_walk *w) MUST_CHECK;
void datafile_walk_fini(struct datafile_walk *w);

/* Is there a hint file that was written for this data file, and is it whole? */
enum result datafile_hint_holds(struct datafile *d, bool *holds) MUST_CHECK;
/* ---- hints: an iterator over what the hint file says; value is the struct keydir_place, for a PUT in REGION_DEAD
 * followed by the range's end. Only seek to the first and next work. ---- */
enum result datafile_hints(struct datafile *d, struct iter **out, struct errmsg *msg) MUST_CHECK;

/* ---- records by directory: an iterator over a root that shows keys and values ---- */
struct datafile_set { /* ascending numbers */
    struct datafile **files;
    size_t count;
};
struct datafile *datafile_of(const struct datafile_set *set, uint32_t number);
/* on_close(arg) is called once, also when it fails: what keeps root and files ends there. */
enum result datafile_iter(const struct keydir_node *root, const struct datafile_set *set, struct slice lower,
                          struct slice upper, int flags, void (*on_close)(void *arg), void *arg, struct iter **out)
    MUST_CHECK;
/* A get by directory, as the engine's (engine.h); *kind may be NULL. miss->table is the data file, miss->block the
 * offset; what is held are datafile_records. */
enum result datafile_get(const struct keydir_node *root, const struct datafile_set *set, struct slice key, int flags,
                         uint8_t *kind, struct slice *value, struct engine_miss *miss) MUST_CHECK;
enum result datafile_fill(struct engine_miss *miss) MUST_CHECK;
void datafile_miss_fini(struct engine_miss *miss);

#endif
