/* The store: keys, their metadata and the values of strings, as records of the engine. docs/formats.md gives the bytes.
 *
 *   M: 'M' keyspace(4) slot(2) h32(4) key          -> metadata (and the value, when it is inline)
 *   E: 'E' keyspace(4) slot(2) object(8) subspace(1) element   -> kind byte, piece
 *   X: 'X' keyspace(4) time-ms(8) slot(2) h32(4) key           -> nothing
 *   S: 'S' name                                    -> system records (database map)
 *
 * A key longer than STORE_KEY_INLINE is stored as its prefix and a 128-bit hash; its bytes are in the metadata record and
 * compared on read. All functions work inside a call (exec/call.h) and follow its rules: RES_WOULD_BLOCK is passed up. */
#ifndef VARVE_STORE_STORE_H
#define VARVE_STORE_STORE_H

#include "exec/call.h"
#include "exec/shard.h"

#define STORE_KEY_INLINE 448      /* longer keys: prefix and hash, STORE_KEY_INLINE + 1 bytes exactly */
#define STORE_INLINE_STRING 16384 /* longer strings lie in pieces */
#define STORE_INLINE_TOUCHED 4096 /* a string touched in place (APPEND, SETRANGE, SETBIT) goes to pieces above this */
#define STORE_CHUNK 8192          /* a piece of a string: half a page of log and memtable per SETBIT, on average */
#define STORE_STRING_MAX (512u * 1024 * 1024)
#define STORE_KEY_MAX (512u * 1024 * 1024)

enum object_type { TYPE_STRING, TYPE_LIST, TYPE_SET, TYPE_ZSET, TYPE_HASH, TYPE_STREAM, TYPE_COUNT };
const char *object_type_name(enum object_type type);
enum object_encoding {
    ENCODING_RAW,
    ENCODING_INT,
    ENCODING_EMBSTR,
    ENCODING_LISTPACK,
    ENCODING_QUICKLIST,
    ENCODING_HASHTABLE,
    ENCODING_INTSET,
    ENCODING_SKIPLIST,
    ENCODING_STREAM,
    ENCODING_COUNT
};
const char *object_encoding_name(enum object_encoding encoding);

/* Opened after the shard: loads the database map, starts the expiry thread. */
struct store_options {
    uint32_t databases; /* 16 */
};
enum result store_open(struct shard *s, const struct store_options *options, struct errmsg *msg) MUST_CHECK;
void store_close(struct shard *s); /* before shard_close */
uint32_t store_databases(struct shard *s);

/* ---- keys ---- */
struct store_key {
    struct slice user; /* as the client sent it (borrowed) */
    uint32_t db;       /* database number */
    uint32_t keyspace; /* what it maps to at the snapshot */
    uint16_t slot;
    uint32_t h32;
    uint64_t hash;          /* for signals and validation */
    struct engine_key meta; /* its bytes lie in c->arena */
};
/* RES_RANGE: db is out of range. */
enum result store_key_init(struct call *c, uint32_t db, struct slice user, struct store_key *out) MUST_CHECK;

/* ---- objects ---- */
struct object {
    struct store_key *key;
    bool exists;
    bool pieces; /* the value lies in E records under `id` */
    enum object_type type;
    enum object_encoding encoding;
    uint64_t expire_ms;      /* 0: never */
    uint64_t fields_ms;      /* of a hash: before which no field expires; 0: none does */
    uint64_t index_ms;       /* time of its entry in the expiry index; 0: none */
    struct slice attributes; /* type-length-value, e.g. memcached flags, HTTP content type */
    struct slice value;      /* inline: the bytes; valid until the run ends. Of collections: without the count */
    uint64_t length;         /* bytes of a string, inline or not; of a collection, as it counts them (elements.h) */
    uint64_t count;          /* of a collection's elements */
    struct slice hints;      /* what a collection's type keeps beside them */
    uint64_t id;             /* pieces: object id */
    uint16_t home;           /* pieces: home slot; their keyspace is the key's */
};
enum store_lookup_flags {
    LOOKUP_NO_STATS = 1, /* does not count as hit or miss */
    LOOKUP_NO_TOUCH = 2, /* does not count as a use of the key (OBJECT IDLETIME) */
    LOOKUP_NO_EVENT = 4, /* that it is missing is no event */
};
/* An expired key is missing (exists = false), nothing is written. Counts a hit or miss. */
enum result store_read(struct call *c, struct store_key *key, int flags, struct object *out) MUST_CHECK;
/* Counts a hit or miss: for writers that Redis counts as readers (GETSET, GETEX, GETDEL, SET with GET). */
static inline void store_count_lookup(struct call *c, const struct object *o)
{
    if (o->exists) {
        c->keyspace_hits++;
    } else {
        c->keyspace_misses++;
        call_event_or_fail(c, EVENT_MISS, "keymiss", o->key->db, o->key->user);
    }
}
/* What is there, for WATCH: alive, or expired and not yet deleted. Changes and counts nothing. */
enum result store_peek(struct call *c, struct store_key *key, bool *alive, bool *expired) MUST_CHECK;
/* For writers: an expired key is deleted first in the same batch, with its event. Counts no hit or miss. */
enum result store_write(struct call *c, struct store_key *key, struct object *out) MUST_CHECK;

enum store_put_flags {
    PUT_KEEP_TTL = 1,        /* else expire_ms argument holds (0: none) */
    PUT_KEEP_ATTRIBUTES = 2, /* those of o, which the caller may have exchanged (store/attributes.h) */
    PUT_NOT_INT = 4,         /* OBJECT ENCODING is embstr or raw, though it may look like an integer (INCRBYFLOAT) */
    PUT_RAW = 8,             /* OBJECT ENCODING is raw (BITOP) */
};
/* Replaces the whole value by a string (encoding chosen as Redis would: int, embstr, raw). o comes from store_write and
 * describes the new object afterwards, as after all functions below. */
enum result store_set_string(struct call *c, struct object *o, struct slice value, uint64_t expire_ms, int flags)
    MUST_CHECK;
/* Removes the key (o exists). kind says why: SIGNAL_DELETED or SIGNAL_EXPIRED. O(1) for any size. */
enum result store_delete(struct call *c, struct object *o, enum signal_kind kind) MUST_CHECK;
/* Sets (ms > 0) or clears (0) the expiry. A time in the past deletes; that is the caller's to decide. */
enum result store_set_expiry(struct call *c, struct object *o, uint64_t expire_ms) MUST_CHECK;
/* Moves the object to another key of any database (RENAME, MOVE): metadata only where the keyspace is the same. dst
 * comes from store_write; an object there is replaced. */
enum result store_rename(struct call *c, struct object *src, struct object *dst) MUST_CHECK;
enum result store_copy(struct call *c, struct object *src, struct object *dst) MUST_CHECK;

/* Seconds since the key was last used: never more than the truth, and less where keys share a cell (recency.c). */
uint64_t store_idle_seconds(const struct call *c, const struct store_key *key);
/* When this run commits: as if the key had not been used for so long. Forgotten after some thousand others. */
enum result store_set_idle(struct call *c, const struct store_key *key, uint64_t seconds) MUST_CHECK;

/* ---- strings, whatever their shape ---- */
/* The whole value, assembled in c->arena when it lies in pieces. */
enum result store_string_all(struct call *c, const struct object *o, struct slice *out) MUST_CHECK;
/* Bytes [offset, offset + len), cut at the end; absent bytes are zeros. */
enum result store_string_range(struct call *c, const struct object *o, uint64_t offset, size_t len, struct slice *out)
    MUST_CHECK;
/* Overwrites from offset, growing with zeros as needed (SETRANGE, APPEND, SETBIT). Touches only the chunks concerned. The
 * key is created when o->exists is false. encoding becomes raw. */
enum result store_string_write(struct call *c, struct object *o, uint64_t offset, struct slice bytes) MUST_CHECK;
/* Replies with bytes [offset, offset + len), cut at the end, or with the whole value, as one bulk. Long ones are streamed
 * from the run's snapshot while the client takes them. */
enum result store_string_reply_range(struct call *c, const struct object *o, uint64_t offset, uint64_t len) MUST_CHECK;
static inline enum result store_string_reply(struct call *c, const struct object *o)
{
    return store_string_reply_range(c, o, 0, UINT64_MAX);
}

/* ---- databases ---- */
enum result store_flush_db(struct call *c, uint32_t db) MUST_CHECK; /* O(1) */
enum result store_swap_db(struct call *c, uint32_t a, uint32_t b) MUST_CHECK;
enum result store_db_size(struct call *c, uint32_t db, int64_t *keys, int64_t *expires) MUST_CHECK;
/* Milliseconds of TTL, averaged over a sample, for INFO keyspace. */
uint64_t store_avg_ttl(struct shard *s, uint32_t db);
/* false: due keys are deleted only when a command meets them, as a read or a write (DEBUG SET-ACTIVE-EXPIRE). */
void store_set_active_expiry(struct shard *s, bool on);

/* ---- iteration over keys ---- */
struct store_scan_entry {
    struct slice key;     /* whole; valid inside each() */
    struct object object; /* object.key is NULL */
};
/* Examines about `count` metadata records from the cursor (whole runs of equal hash), calls each for keys that are alive; sets *cursor
 * to the next point, 0 at the end. Cursor: slot(14) h32(32), below 2^53. */
typedef enum result store_scan_fn(struct call *c, void *arg, const struct store_scan_entry *entry);
enum result store_scan(struct call *c, uint32_t db, uint64_t *cursor, uint64_t count, store_scan_fn *each, void *arg)
    MUST_CHECK;
/* The same in steps, also when the run does not look at databases any more (call_stream): the keyspace is that of db now. */
enum result store_scan_begin(struct call *c, uint32_t db, uint32_t *keyspace) MUST_CHECK;
enum result store_scan_step(struct call *c, uint32_t keyspace, uint64_t *cursor, uint64_t count, store_scan_fn *each,
                            void *arg) MUST_CHECK;
/* Every key that is alive. RES_WOULD_BLOCK where it takes too long: for CMD_LONG commands. */
enum result store_each_key(struct call *c, uint32_t db, store_scan_fn *each, void *arg) MUST_CHECK;
/* A key drawn uniformly among those alive, in c->arena; *found = false when there is none. */
enum result store_random_key(struct call *c, uint32_t db, struct slice *out, bool *found) MUST_CHECK;

#endif
