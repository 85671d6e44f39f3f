/* The elements of a collection: one map under hashes, sets, sorted sets, lists and streams, in one of two shapes.
 *
 * Inline: up to ELEMENTS_INLINE_COUNT elements in up to ELEMENTS_INLINE_BYTES, in the metadata record, in an order that the
 * type decides (insertion, score, position). An element is there once, whatever indexes the type keeps in pieces.
 *
 *   inline value: varint count, then for each element
 *     kind u8 (1, + 4: expires), [expires: u64 ms], [types with keys: varint length, key], [with values: varint length, value]
 *
 * Pieces: records of their own under an object id, in subspaces that the type divides up. A collection that has once come to
 * pieces stays there until it is deleted or replaced.
 *
 *   E key: ... subspace u8, element
 *     -> kind u8 (1, + 2: long key, + 4: expires), [long key: varint length, key], [expires: u64 ms], value
 *
 * Members (fields of hashes, members of sets and sorted sets) are ordered by (h40, member): their element is 5 bytes of a
 * seeded hash, big-endian, then the member. That order is HSCAN's cursor, spreads members evenly for random draws, and is
 * the same in every collection, so that sets can be merged. A member longer than MEMBER_INLINE is named by its first bytes
 * and a 128-bit hash; all of it stands in the piece and is compared on read.
 *
 * A handler opens the elements of an object that store_read or store_write gave it, looks, changes, and ends with
 * elements_finish, which writes the metadata if it has changed, deletes the key if nothing is left, and signals. Changes go
 * to the overlay of the run, so everything can be dropped at any point. All functions pass RES_WOULD_BLOCK up, as those of
 * store.h do; bytes that are no elements are RES_CORRUPT. */
#ifndef VARVE_STORE_ELEMENTS_H
#define VARVE_STORE_ELEMENTS_H

#include "store/store.h"

#define ELEMENTS_INLINE_COUNT 128
#define ELEMENTS_INLINE_BYTES 1024
#define ELEMENTS_HINTS_MAX 120 /* bytes that a type keeps in the metadata */
#define MEMBER_INLINE STORE_KEY_INLINE
#define MEMBER_KEY_MAX (5 + MEMBER_INLINE + 1) /* the element of a member: h40, then at most this */
#define ELEMENT_MAX 464                        /* bytes of an element behind its subspace */

/* What is where in E. Strings have subspace 0 (store_priv.h). */
enum element_subspace {
    SUBSPACE_MEMBERS = 1,   /* h40, member -> hash: value; set: nothing; sorted set: score */
    SUBSPACE_SCORES = 2,    /* sorted sets: score, member -> nothing */
    SUBSPACE_POSITIONS = 3, /* lists: position; streams: id */
    SUBSPACE_GROUPS = 4,    /* streams: consumer groups and what hangs on them */
    SUBSPACE_RANKS = 5,     /* counted trees */
    SUBSPACE_EXPIRY = 6,    /* hashes: time of a field that expires, h40, member -> nothing */
    SUBSPACE_BLOCKS = 7,    /* lists: position / 16 -> the short elements there */
};

struct element {
    struct slice key;   /* whole; empty in lists */
    struct slice value; /* empty in sets */
    uint64_t expire_ms; /* of this element alone; 0: never */
};

struct elements;
/* Comes to pieces: writes the piece or pieces of one inline element by piece_put. Called for all of them in their order,
 * index from 0 to count - 1. May change hints. */
typedef enum result elements_spill_fn(struct elements *e, const struct element *in, uint64_t index, uint64_t count);
/* What a type is; constants of store/hash.c and its like. */
struct elements_kind {
    enum object_type type;
    bool has_keys, has_values; /* what an inline element consists of */
    bool may_be_empty;         /* the key stays when the last element has gone (streams) */
    elements_spill_fn *spill;  /* NULL: elements_spill_member */
};
extern const struct elements_kind elements_of_hash, elements_of_set, elements_of_zset, elements_of_list;
/* For what holds for all maps of members: hashes, sets and sorted sets. NULL: another type. */
const struct elements_kind *members_kind_of(enum object_type type);

struct elements {
    struct call *c;
    struct object *o; /* as it was opened, until finish */
    const struct elements_kind *kind;
    enum object_encoding encoding; /* what finish will write: the type sets it */
    bool pieces;
    bool replaces;      /* takes the place of o, whatever it was */
    bool touched;       /* something has changed */
    uint64_t count;     /* of elements. In pieces: piece_put and piece_delete leave it to the caller */
    uint64_t bytes;     /* in pieces: logical bytes, keys and values; the caller's as well */
    uint64_t id;        /* pieces: the object they belong to */
    uint16_t slot;      /* and its home slot */
    struct slice list;  /* inline: the elements, without their count */
    uint8_t *own;       /* list's bytes when this run has changed it: ELEMENTS_INLINE_BYTES of room */
    uint64_t fields_ms; /* hashes: see struct object */
    uint8_t hints_len;
    uint8_t hints[ELEMENTS_HINTS_MAX];
};

/* ---- opening and finishing ---- */

/* o comes from store_read or store_write, and is of this type or missing. RES_CORRUPT: its inline elements are damaged. */
enum result elements_open(struct elements *e, struct call *c, struct object *o, const struct elements_kind *kind)
    MUST_CHECK;
/* Starts an empty collection that takes the place of whatever o is, of any type, with no expiry: *STORE, RESTORE. Nothing
 * of o is lost before finish. */
void elements_replace(struct elements *e, struct call *c, struct object *o, const struct elements_kind *kind,
                      enum object_encoding encoding);
/* Moves to pieces now: for a caller that knows many elements will come. Nothing happens where they are there already. */
enum result elements_spill(struct elements *e) MUST_CHECK;
/* Writes the metadata if count, bytes, hints, encoding or inline elements have changed, deletes the key if it is empty
 * (o->exists is false then, and the caller tells the event "del"), signals if anything was touched. o is the object as it is
 * now; e is used no more, unless it is opened again. */
enum result elements_finish(struct elements *e) MUST_CHECK;
/* The same with another expiry of the key (0: none), where it is replaced (RESTORE). */
enum result elements_finish_with(struct elements *e, uint64_t expire_ms) MUST_CHECK;
static inline void elements_set_hints(struct elements *e, struct slice hints)
{
    e->hints_len = (uint8_t)hints.len;
    if (hints.len)
        memcpy(e->hints, hints.data, hints.len);
    e->touched = true;
}

/* ---- inline: a sequence ---- */

/* Where an element stands in e->list. Void after any change but that of the place it was given to. */
struct inline_place {
    size_t at, end; /* its bytes; at == end == e->list.len: behind the last */
    uint64_t index;
};
/* RES_NOT_FOUND behind the last; out (may be NULL) borrows from the list until it is changed. */
enum result inline_first(const struct elements *e, struct inline_place *p, struct element *out) MUST_CHECK;
enum result inline_next(const struct elements *e, struct inline_place *p, struct element *out) MUST_CHECK;
/* Element number `index`; RES_NOT_FOUND with *p behind the last when there are fewer. */
enum result inline_at(const struct elements *e, uint64_t index, struct inline_place *p, struct element *out) MUST_CHECK;
static inline struct inline_place inline_end(const struct elements *e)
{
    return (struct inline_place){e->list.len, e->list.len, e->count};
}
/* Before p; in place of p; away with p, which then stands on what followed. Where it gets too large for the metadata, all
 * elements go to pieces (the new one among them, by spill) and e->pieces is set. `in` may borrow from the list itself. */
enum result inline_insert(struct elements *e, struct inline_place *p, const struct element *in) MUST_CHECK;
enum result inline_replace(struct elements *e, struct inline_place *p, const struct element *in) MUST_CHECK;
enum result inline_remove(struct elements *e, struct inline_place *p) MUST_CHECK;

/* ---- pieces: records ---- */

/* The key of a piece, in c->arena. */
enum result piece_key(struct elements *e, uint8_t subspace, struct slice element, struct engine_key *out) MUST_CHECK;
/* RES_OK, RES_NOT_FOUND or another. out->key is empty but for long keys, of which it is the whole. */
enum result piece_get(struct elements *e, const struct engine_key *key, struct element *out) MUST_CHECK;
/* Writes it; in->key is kept only when it does not fit into the engine's key (long_key). key's bytes live in c->arena. Count
 * and bytes are the caller's. */
enum result piece_put(struct elements *e, const struct engine_key *key, const struct element *in, bool long_key)
    MUST_CHECK;
/* The bytes of a piece by itself, and of its key: ELEMENT_KEY_OBJECT + 1 + element.len. */
void piece_key_write(uint8_t *p, const struct elements *e, uint8_t subspace, struct slice element);
size_t piece_size(const struct element *in, bool long_key);
void piece_write(uint8_t *p, const struct element *in, bool long_key);
enum result piece_delete(struct elements *e, const struct engine_key *key) MUST_CHECK;
/* Over [lower, upper) of a subspace in the order of elements; empty bounds: from its start, to its end. With iter_seek and
 * iter_next, or iter_seek_last and iter_prev (an empty target is the first or the last of the range); other targets are
 * engine keys: piece_key. Closed by iter_close. Sees what the run has written before it was opened, and nothing later. */
enum result piece_iter(struct elements *e, uint8_t subspace, struct slice lower, struct slice upper, int flags,
                       struct iter **out) MUST_CHECK;
/* The element an iterator stands on, behind its subspace, and its piece. Borrowed until it moves. */
struct slice piece_element(const struct iter *it);
enum result piece_read(struct slice piece, struct element *out) MUST_CHECK;
/* Names all elements of [lower, upper) of a subspace dead, in O(1), for bounds below which nothing is ever written again (ids
 * and positions that are not given twice). */
enum result piece_bury(struct elements *e, uint8_t subspace, struct slice lower, struct slice upper) MUST_CHECK;

/* ---- members: a map, in both shapes ---- */

/* The element of a member: h40, then the member or, *is_long, its short name. Returns its length. */
size_t member_key(const struct elements *e, struct slice member, uint8_t out[MEMBER_KEY_MAX], bool *is_long);
uint64_t member_h40(const struct elements *e, struct slice member);

/* The same for a member whose h40 is known. */
size_t member_key_of(const struct elements *e, struct slice member, uint64_t h40, uint8_t out[MEMBER_KEY_MAX],
                     bool *is_long);

struct member_place {
    bool found;
    struct element element;      /* found: what is there */
    struct inline_place in_list; /* inline: where it is or belongs */
    struct engine_key key;       /* pieces */
    bool is_long;
};
/* Finds a member. An element that has expired is found: its type decides. */
enum result member_find(struct elements *e, struct slice member, struct member_place *p) MUST_CHECK;
/* Puts (at the end of the inline list, when it is new) and removes what member_find has looked for, with count and bytes.
 * p is used up. Sets and hashes need nothing else; for sorted sets these change the member index alone. */
enum result member_put(struct elements *e, struct member_place *p, const struct element *in) MUST_CHECK;
enum result member_remove(struct elements *e, struct member_place *p) MUST_CHECK;
/* Puts what is known to be new, and removes what is known to be there (as a draw or a walk gave it), without looking. */
enum result member_add(struct elements *e, const struct element *in) MUST_CHECK;
enum result member_take(struct elements *e, const struct element *in) MUST_CHECK;
/* Whether it is there. Takes next to nothing of the run's memory: for loops over many. */
enum result member_has(struct elements *e, struct slice member, bool *has) MUST_CHECK;
/* ---- many new members at once (members_fill.c) ---- */

/* The names of members, each at the beginning of something that is `stride` bytes long. */
struct member_names {
    const struct slice *first;
    size_t stride;
};
struct member_at {
    uint64_t h40;
    uint32_t index;
};
struct member_order {
    struct member_at *at;
    size_t count;
};
/* Their order in pieces, in c->arena. *twins: two have one name. */
enum result member_order(struct call *c, const struct member_names *names, size_t n, struct member_order *out,
                         bool *twins) MUST_CHECK;
/* Whether so many more elements lie inline. */
bool elements_fit(const struct elements *e, const struct element *in, size_t n);
/* Puts all into a collection that replaces another and is empty yet: inline in their own order, else in pieces. They
 * are distinct, and live as long as the run. */
enum result members_fill(struct elements *e, const struct element *in, const struct member_order *order) MUST_CHECK;
/* One of them, in pieces; and a piece beside it, with nothing counted. */
enum result member_put_new(struct elements *e, uint64_t h40, const struct element *in) MUST_CHECK;
enum result piece_put_new(struct elements *e, uint8_t subspace, struct slice element, const struct element *in,
                          bool long_key) MUST_CHECK;

/* What spill does for hashes and sets. */
elements_spill_fn elements_spill_member;

/* A walk over members, in either shape: inline in the list's order, in pieces in that of (h40, member). What is put or
 * removed while it goes on is not seen, and inline it must not happen. */
struct member_walk {
    struct elements *e;
    struct iter *it;           /* pieces */
    struct inline_place place; /* inline */
    bool started;
    struct element element; /* where it stands, borrowed until it moves */
    struct slice sort_key;  /* pieces: h40 and member, as member_key gives it */
};
enum result member_walk_open(struct member_walk *w, struct elements *e, int iter_flags) MUST_CHECK;
/* Over the members in pieces whose h40 is in [from, to); its member_walk_seek() is not to be used. */
enum result member_walk_open_range(struct member_walk *w, struct elements *e, uint64_t from, uint64_t to) MUST_CHECK;
/* The first, or the first not below h40 in pieces; then one after the other. RES_NOT_FOUND at the end. */
enum result member_walk_seek(struct member_walk *w, uint64_t h40) MUST_CHECK;
enum result member_walk_next(struct member_walk *w) MUST_CHECK;
void member_walk_close(struct member_walk *w);
uint64_t member_walk_h40(const struct member_walk *w); /* of where it stands */

/* About `count` members from the cursor (an h40), whole runs of equal h40; *cursor is the next, 0 at the end. Inline: all.
 * What is there from the first call to the last is given. each() borrows the element. */
typedef enum result member_fn(struct elements *e, void *arg, const struct element *element);
#define H40_END (UINT64_C(1) << 40)
enum result member_scan(struct elements *e, uint64_t *cursor, uint64_t count, member_fn *each, void *arg) MUST_CHECK;
enum result member_each(struct elements *e, member_fn *each, void *arg) MUST_CHECK;

/* ---- random members ---- */

/* What may not be drawn (a field that has expired); NULL: everything may. */
typedef bool member_filter(struct elements *e, const struct element *element);
/* One member, uniform among those that may be drawn; its bytes in c->arena. RES_NOT_FOUND when there is none. */
enum result member_random(struct elements *e, member_filter *may, struct element *out) MUST_CHECK;
/* The same for a caller who removes it then. One who does so again and again, and nobody else changing the collection, is
 * given what was drawn ahead. */
enum result member_random_to_take(struct elements *e, struct element *out) MUST_CHECK;
/* `want` different ones, or all when there are no more, each subset as likely as any other; each() is called in no
 * particular order. */
enum result member_random_distinct(struct elements *e, member_filter *may, uint64_t want, member_fn *each, void *arg)
    MUST_CHECK;
/* `want` ones, each drawn from all of them. */
enum result member_random_repeated(struct elements *e, member_filter *may, uint64_t want, member_fn *each, void *arg)
    MUST_CHECK;

#endif
