/* What the files of the store share: the state it keeps beside the shard, and the records only it writes. */
#ifndef VARVE_STORE_STORE_PRIV_H
#define VARVE_STORE_STORE_PRIV_H

#include <stdatomic.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "os/thread.h"
#include "store/ahead.h"
#include "store/meta.h"
#include "store/store.h"

#define META_KEY_HEAD 11 /* region, keyspace, slot, h32 */
#define META_KEY_SLOT 5  /* where slot, h32 and key begin */
#define EXPIRY_KEY_HEAD 19
#define ELEMENT_KEY_OBJECT 15 /* region, keyspace, home slot, object id */

/* ---- database map (databases.c) ---- */

/* Which keyspace each database number means; ids are never reused. */
struct db_map {
    uint32_t next; /* the next keyspace id to give */
    uint32_t count;
    uint32_t keyspace[];
};

/* The copy in memory: the newest versions, each with the sequence since which it holds, in a ring of slots that are
 * overwritten under the latch. A reader takes what it needs and looks at `version` again (a seqlock); a reader whose
 * snapshot is older than the ring reads the record itself. */
#define DB_MAP_VERSIONS 8
struct db_map_slot {
    _Atomic uint32_t version; /* odd: being written */
    _Atomic uint64_t since;
    _Atomic uint32_t *keyspace;
};
struct db_map_ring {
    _Atomic uint32_t newest;
    struct db_map_slot slot[DB_MAP_VERSIONS];
};

struct expiry;
struct sampler;

struct store {
    struct shard *shard;
    struct hash_seed seed;
    uint32_t databases;
    uint64_t object_epoch;
    _Atomic uint64_t objects; /* ids given in this epoch */
    _Atomic bool counting;    /* somebody builds a counted tree (zset_count.c) */
    struct db_map_ring maps;
    struct expiry *expiry;
    struct sampler *sampler;
    struct os_mutex ahead_lock;
    struct ahead ahead[AHEAD_SLOTS]; /* ahead.h */
    _Atomic uint32_t *last_use;      /* recency.c */
    struct idle_note *idle_notes;
    _Atomic uint64_t *avg_ttl; /* by database number; ttl.c */
};
static inline struct store *store_of(const struct call *c) { return shard_store(c->shard); }

/* The keyspace of a database at this run's snapshot, its own changes included. */
enum result store_keyspace(struct call *c, uint32_t db, uint32_t *keyspace) MUST_CHECK;
/* The newest one that is known, which may change at any time; false: it is just changing. */
bool store_keyspace_now(struct store *s, uint32_t db, uint32_t *keyspace);
enum result db_maps_open(struct store *s, struct errmsg *msg) MUST_CHECK;
void db_maps_close(struct store *s);

/* ---- keys (key.c) ---- */

/* What shard_set_prefetch() is given. */
bool store_key_ahead(struct shard *shard, uint32_t db, struct slice user, uint8_t *room, size_t len,
                     struct shard_key *out);
/* A fresh object id; RES_TOO_MANY when this epoch has none left. */
enum result store_new_object_id(struct store *s, uint64_t *id) MUST_CHECK;
/* [lower, upper) of a region in a keyspace. */
#define REGION_BOUND 5
void region_bounds(enum region region, uint32_t keyspace, uint8_t lower[REGION_BOUND], uint8_t upper[REGION_BOUND]);
/* The beginning of all keys of an object's pieces. */
void element_prefix_put(uint8_t out[ELEMENT_KEY_OBJECT], uint32_t keyspace, uint16_t home, uint64_t id);
/* The key of a piece, in c->arena. */
enum result element_key(struct call *c, const struct object *o, uint8_t subspace, struct slice element,
                        struct engine_key *out) MUST_CHECK;
/* Names keys to which nothing leads any more: [start, end). */
enum result bury_range(struct call *c, struct slice start, struct slice end) MUST_CHECK;
enum result bury_object(struct call *c, uint32_t keyspace, uint16_t home, uint64_t id) MUST_CHECK;
/* The user's key behind a metadata record, checked against the engine's key: RES_CORRUPT when they do not fit. */
enum result user_key_of(const struct store *s, struct slice engine_key, const struct meta *m, struct slice *user)
    MUST_CHECK;

/* ---- objects (object.c) ---- */

void object_from_meta(struct object *o, struct store_key *key, const struct meta *m);
void meta_from_object(struct meta *m, const struct object *o);
/* The record as it stands, expired or not. */
enum result object_load(struct call *c, struct store_key *key, struct object *out) MUST_CHECK;
/* Makes *m the object at o's key. m's expiry is taken, its index time and long key are found here. o describes the new
 * object afterwards. */
enum object_replace_flags {
    OBJECT_KEEP_PIECES = 1, /* m names the same pieces as o */
    OBJECT_UNSEEN = 2,      /* a change that no client can see: only validation is told */
};
enum result object_replace(struct call *c, struct object *o, struct meta *m, int flags) MUST_CHECK;
/* Marks the run as having looked up this key. */
static inline enum result object_saw(struct call *c, const struct store_key *key, uint64_t expire_ms)
{
    return c->mode & CALL_PREPARED ? call_saw(c, key->hash, expire_ms) : RES_OK;
}
static inline bool is_expired(const struct call *c, uint64_t expire_ms) { return expire_ms && expire_ms < c->now_ms; }

/* ---- when keys were last used (recency.c) ---- */

#define RECENCY_CELLS 65536
static inline _Atomic uint32_t *recency_cell(const struct store *s, const struct store_key *key)
{
    return &s->last_use[key->hash % RECENCY_CELLS];
}
static inline void recency_touch(const struct call *c, const struct store_key *key)
{
    uint32_t now = (uint32_t)(c->now_ms / 1000);
    _Atomic uint32_t *cell = recency_cell(store_of(c), key);
    if ((!c->session || !c->session->no_touch) && atomic_load_explicit(cell, memory_order_relaxed) != now)
        atomic_store_explicit(cell, now, memory_order_relaxed);
}
enum result recency_open(struct store *s) MUST_CHECK;
void recency_close(struct store *s);

/* ---- what is taken next (ahead.c) ---- */

void ahead_close(struct store *s);

/* ---- strings in pieces (pieces.c) ---- */

#define SUBSPACE_STRING 0
#define PIECE_BYTES 1 /* kind byte of a piece that is plain bytes */
/* Writes value as the chunks of object o->id (fresh). */
enum result pieces_write_all(struct call *c, const struct object *o, struct slice value) MUST_CHECK;
/* Copies every piece of src, of any type, to the fresh object dst. */
enum result pieces_copy(struct call *c, const struct object *src, const struct object *dst) MUST_CHECK;

#define STORE_STREAM (1024 * 1024) /* longer strings are replied piece by piece */
/* Replies with a part of a string in pieces, in a run that only reads. stream.c */
enum result string_stream_reply(struct call *c, const struct object *o, uint64_t offset, uint64_t len) MUST_CHECK;
/* The bytes of a chunk's record. */
enum result chunk_bytes(struct slice piece, struct slice *out) MUST_CHECK;
/* The key of a chunk, at most this long. */
#define CHUNK_KEY (ELEMENT_KEY_OBJECT + 5)
void chunk_key_put(uint8_t out[CHUNK_KEY], uint32_t keyspace, uint16_t home, uint64_t id, uint32_t number);

/* ---- expiry index (expiry.c, expiry_thread.c) ---- */

/* The entry of a key at a time, in c->arena. */
enum result expiry_key(struct call *c, const struct store_key *key, uint64_t ms, struct engine_key *out) MUST_CHECK;
/* Keeps the index right when key, or the first of its fields, is due at due_ms (0: never); *index_ms is its entry's time
 * before and after. */
enum result expiry_reindex(struct call *c, const struct store_key *key, uint64_t due_ms, uint64_t *index_ms) MUST_CHECK;
enum result expiry_move_entry(struct call *c, struct object *o) MUST_CHECK;
enum result expiry_database_changed(struct call *c, uint32_t db) MUST_CHECK;
/* A read has met a due key. Nothing, unless active expiry is stopped: then this is what deletes it, on the pool. */
enum result expiry_met_due_key(struct call *c, struct store_key *key) MUST_CHECK;
enum result expiry_open(struct store *s, struct errmsg *msg) MUST_CHECK;
void expiry_close(struct store *s);

/* ---- walks over keys (scan.c) ---- */

struct key_walk {
    uint64_t count; /* metadata records to examine; whole runs of equal points */
    bool may_stop;  /* stops early, at `next`, where the run should give up its place; else RES_WOULD_BLOCK */
    int iter_flags;
    store_scan_fn *each; /* for keys that are alive; object.key is NULL */
    void *arg;
    uint64_t next; /* out: the first point not examined */
};
/* Points are slot << 32 | h32; examines those in [from, to). */
#define POINT_END ((uint64_t)16384 << 32)
enum result keys_walk(struct call *c, uint32_t keyspace, uint64_t from, uint64_t to, struct key_walk *walk) MUST_CHECK;

/* ---- samples (random.c) ---- */
enum result sampler_open(struct store *s) MUST_CHECK;
void sampler_close(struct store *s);
/* Walks random windows of keys; all keys, *exact, when they are few. */
enum result walk_sample(struct call *c, uint32_t keyspace, int64_t keys, unsigned windows, bool *exact,
                        store_scan_fn *each, void *arg) MUST_CHECK;

/* ---- average TTL (ttl.c) ---- */
enum result ttl_open(struct store *s) MUST_CHECK;
void ttl_close(struct store *s);
void ttl_sample(struct store *s, uint32_t db); /* on a thread that may wait */

#endif
