/* Tables: sorted, immutable files of records, one record a key.
 *
 *     blocks (block.h)                                   from offset 0, one after the other
 *     filter lines (filter.h)                            from filter_at
 *     index: for each block varint(span / 16), varint(length of its fence), fence      from index_at
 *     properties: varint(tag), varint(length), bytes     from properties_at
 *     footer, 64 bytes
 *
 * Fence i is at or below the first key of block i and above the last key of block i-1, as short as that allows; fence 0
 * is the first key. Footer:
 *
 *      0  "VARVESST"            8  format version u32         12  number of blocks u32
 *     16  table number u64     24  filter_at u64              32  index_at u64
 *     40  properties_at u64    48  zero u64
 *     56  checksum32 of the bytes from filter_at to the footer
 *     60  checksum32 of the footer up to here; both salted with table number and offset
 *
 * Properties (unknown tags are skipped): see enum table_property. All integers are little-endian, a property's integer
 * is a varint.
 *
 * A table holds keys of one region, but for private tables (engine.h), which hold what one batch holds: region 0.
 *
 * Reference counts: a table is held by the runs (version.h) and handles it is in. When the last reference goes it is
 * handed to its owner, who closes it on a thread that may wait, and removes the file if it is obsolete. Readers in an
 * epoch section may still look at it then: memory goes last, by epoch. */
#ifndef VARVE_ENGINE_LSM_TABLE_H
#define VARVE_ENGINE_LSM_TABLE_H

#include "engine/lsm/cache.h"
#include "engine/lsm/fences.h"
#include "engine/lsm/filter.h"

#define TABLE_FOOTER 64
#define TABLE_VERSION 2                         /* the newest; 1: no block is compressed by Zstandard */
#define TABLE_WRITE_PIECE ((size_t)1024 * 1024) /* bytes that a writer collects */
#define TABLE_AHEAD_MOST ((size_t)256 * 1024)   /* and that an iterator past the cache reads ahead */

/* The same where the cache is small: a quarter of them. */
#define TABLE_PIECES_FROM ((uint64_t)32 << 20)
static inline size_t table_piece(const struct cache *c, size_t most)
{
    return __atomic_load_n(&c->capacity, __ATOMIC_RELAXED) >= TABLE_PIECES_FROM ? most : most / 4;
}

enum table_property {
    TABLE_PROP_REGION = 1,
    TABLE_PROP_RECORDS = 2,
    TABLE_PROP_TOMBSTONES = 3,
    TABLE_PROP_BOUNDARY = 4, /* the boundary sequence of the run it was written for; 0 for a private table */
    TABLE_PROP_FIRST = 5,
    TABLE_PROP_LAST = 6,
    TABLE_PROP_KEY_BYTES = 7,
    TABLE_PROP_VALUE_BYTES = 8,
    TABLE_PROP_DEAD_END = 9, /* region DEAD: the largest end of a range in it */
    TABLE_PROP_PACKING = 10, /* enum engine_packing: what its writer was told */
};

/* What is known of a table besides its blocks. Slices live in memory of the holder. */
struct table_meta {
    uint64_t number, size;
    uint64_t records, tombstones, boundary, key_bytes, value_bytes;
    struct slice first, last, dead_end;
    uint64_t packing;
    uint8_t region;
};

struct table_owner;
struct job;

struct table {
    /* what a lookup touches first */
    struct filter filter;
    struct fences fences;    /* one a block */
    uintptr_t *slots;        /* atomic: struct block *, low bit CACHE_HOT */
    uint32_t *starts;        /* block i is bytes 16 * starts[i] .. 16 * starts[i + 1] */
    struct table_file *file; /* atomic; NULL while it is closed */
    struct cache *cache;
    struct table_meta meta;
    uint32_t refs;       /* atomic */
    bool file_used;      /* atomic: read since the hand last came by */
    bool obsolete;       /* atomic: the file goes with the table */
    struct job *job;     /* the compaction it is input of; under lsm->lock */
    bool kept;           /* its blocks came to the cache when it was written */
    bool damaged;        /* a compaction could not read it: none tries again; under lsm->lock */
    uint64_t dead_bytes; /* atomic: about so many bytes lie in dead ranges, by the last look (dead.c) */
    bool dead_whole;     /* atomic: all of it does */
    struct table_owner *owner;
    struct table *next_gone; /* in the owner's list */
    uint8_t *tail;           /* memory behind filter lines and slices of meta; the file's without the index */
    size_t resident;         /* bytes charged to the cache */
    struct epoch_entry retire;
};

/* Where tables go whose last reference went. */
struct table_owner {
    void (*gone)(struct table_owner *o, struct table *t);
    /* Opens the file of a table again, after it was closed for the limit on open files. */
    enum result (*open)(struct table_owner *o, uint64_t number, struct env_file **out);
};

/* ---- a table's open file: table_file.c ---- */
struct table_file {
    struct env_file *file;
    struct cache *cache;
    uint32_t refs; /* atomic */
    struct epoch_entry retire;
};
/* For one read. RES_WOULD_BLOCK when the file is closed and the caller may not wait. Never inside the lock of the cache. */
enum result table_file_acquire(struct table *t, bool may_wait, struct table_file **out) MUST_CHECK;
void table_file_release(struct table_file *h);
/* Takes the file over, also when it fails. */
enum result table_file_set(struct table *t, struct env_file *file) MUST_CHECK;
void table_file_drop(struct table *t);

/* The salt that binds bytes to a place in a table. */
static inline uint64_t table_salt(uint64_t number, uint64_t offset) { return number * 0x9e3779b97f4a7c15u + offset; }

/* Opens a finished table; takes over the file (closed on failure). size 0: whatever the file has. *msg says what is
 * wrong with it, naming `path`. */
enum result table_open(struct env_file *file, const char *path, uint64_t number, uint64_t size, struct cache *cache,
                       struct table_owner *owner, struct table **out, struct errmsg *msg) MUST_CHECK;
void table_ref(struct table *t);
void table_unref(struct table *t);
/* By the owner, after `gone`: drops its blocks, closes the file, retires the memory. */
void table_close(struct table *t);

/* Do tables of the region carry a filter, over all their keys? Nobody asks the others for single keys. */
static inline bool region_has_filter(uint8_t region) { return region != REGION_DEAD && region != REGION_EXPIRY; }

/* ---- reading; inside an epoch section ---- */

static inline uint64_t table_block_offset(const struct table *t, uint32_t i)
{
    return (uint64_t)t->starts[i] * BLOCK_UNIT;
}
static inline size_t table_block_span(const struct table *t, uint32_t i)
{
    return (size_t)(t->starts[i + 1] - t->starts[i]) * BLOCK_UNIT;
}

/* Block i from the cache, else from the miss, else from the file. flags: engine_get_flags. The block is borrowed until
 * the epoch section ends. */
enum result table_block(struct table *t, uint32_t i, int flags, struct engine_miss *miss, struct block **out)
    MUST_CHECK;
/* A reference on block i when it is cached, at any time; else NULL. */
struct block *table_block_cached(struct table *t, uint32_t i, bool touch);
/* The same with a reference, at any time, and iter_flags. */
enum result table_block_ref(struct table *t, uint32_t i, int iter_flags, struct block **out) MUST_CHECK;
/* Reads and checks block i, past the cache; one reference. env_flags: ENV_NOWAIT. */
enum result table_read_block(struct table *t, uint32_t i, int env_flags, struct block **out) MUST_CHECK;

/* RES_OK with *kind and *value (borrowed until the section ends), RES_NOT_FOUND, or why not. */
enum result table_get(struct table *t, const struct engine_key *key, int flags, uint8_t *kind, struct slice *value,
                      struct engine_miss *miss) MUST_CHECK;
/* The first steps of a get to come: the slot of the block that it would look into (NULL: none), then the cached block that
 * hangs there (NULL: none). Each is being fetched and wanted by the next step. */
const uintptr_t *table_prefetch_slot(const struct table *t, const struct engine_key *key);
const struct block *table_prefetch_block(const uintptr_t *slot);
/* How many of its blocks are cached. */
uint32_t table_cached_blocks(const struct table *t);
/* Have many of its blocks been read since it was written? */
bool table_is_read(const struct table *t);
/* Bytes of blocks that may hold keys of [lower, upper); an empty upper is the end. */
uint64_t table_range_bytes(const struct table *t, struct slice lower, struct slice upper);

/* Bounds are borrowed for the iterator's life unless `own`, then copied. Holds a reference on the table. */
enum result table_iter(struct table *t, struct slice lower, struct slice upper, int flags, bool own, struct iter **out)
    MUST_CHECK;

/* ---- writing ---- */

struct table_writer;
struct table_writer_options {
    struct env_file *file; /* taken over */
    uint64_t number;
    uint64_t boundary;
    size_t piece; /* bytes collected for one write; 0: TABLE_WRITE_PIECE */
    uint32_t block_bytes;
    uint8_t region; /* 0: any */
    struct engine_compression compression;
    bool direct;             /* the file takes aligned writes (ENV_DIRECT) */
    struct table_kept *keep; /* NULL: nothing is kept */
};
/* The blocks of a table that was just written, so that its readers need not read them again: for table_adopt(). Zeroed
 * before it is given to a writer. Blocks that there was no memory for are NULL. */
struct table_kept {
    struct block **blocks;
    uint32_t count, cap;
};
void table_kept_fini(struct table_kept *k);
/* Hangs them into the cache; the table is not shared yet. Empties k. */
void table_adopt(struct table *t, struct table_kept *k);
/* The file is closed when it fails, too. */
enum result table_writer_new(const struct table_writer_options *o, struct table_writer **out) MUST_CHECK;
/* Keys strictly ascending, of the writer's region. After a failure only abort is left. */
enum result table_writer_add(struct table_writer *w, struct slice key, uint8_t kind, struct slice value) MUST_CHECK;
/* Bytes written so far, the block at work included. */
uint64_t table_writer_bytes(const struct table_writer *w);
uint64_t table_writer_records(const struct table_writer *w);
struct slice table_writer_last(const struct table_writer *w);
/* Writes the rest and syncs. The writer is gone, whatever is returned. At least one record was added. The size is what
 * table_open() wants. */
enum result table_writer_finish(struct table_writer *w, uint64_t *size) MUST_CHECK;
void table_writer_abort(struct table_writer *w);

#endif
