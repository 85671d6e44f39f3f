/* Lists: elements by number, in the two shapes of elements.h.
 *
 * Inline the elements stand in their order. In pieces each element has a position, 8 bytes big-endian, and the list is a
 * row of *segments*, runs of positions without holes, in the order of the list. Short elements lie in *blocks*, one for
 * sixteen positions, long ones in records of their own:
 *
 *   E key: ... subspace 7 (SUBSPACE_BLOCKS), position / 16 u64  ->
 *              kind u8 (1), u16: bit i says that the element at position i of the block is here; of each of those, in their
 *              order: length u8, bytes
 *          ... subspace 3 (SUBSPACE_POSITIONS), position u64  ->  kind u8 (1), bytes of the element
 *
 * An element is where its block's bit says. A block keeps what was popped until none of its positions is in use.
 *
 * A list that is used as queue, stack or array has one segment, [head, head + count), so element number i is one look-up
 * away; pushing touches one record beside the metadata, popping seldom more than that, and neither ever meets a tombstone. LINSERT and LREM move what
 * is on their shorter side by one position, up to LIST_SHIFT elements. Further inside they split a segment instead, which
 * moves nothing. Numbers are found by adding up segments, at most LIST_SEGMENTS_MAX of them; when there are more, the two
 * neighbours with the fewest elements are copied into one. Dropping many elements at an end names their positions dead.
 *
 * No position that was named dead may come back (a dead range has no date), so the next position of either end stands in
 * the metadata: head_next is below all that is or was there, tail_next above. Segments in the middle take fresh positions
 * from a region of their own.
 *
 *   hints: flags u8 (1: bytes are an estimate, 2: several segments, 4: and more than two)
 *          varint fresh, position of the first segment, zigzag varint: that - 1 - head_next,
 *          zigzag varint: tail_next - end of the last segment,
 *          [2: varint count of the first segment, position and varint count of the last]
 *   subspace 5 (SUBSPACE_RANKS), no element: kind u8 (1), the segments between: position and varint count, repeated
 *   a position is a varint: (zigzag of its distance from LIST_BASE) * 2, or in the inner region itself * 2 + 1
 *
 * `bytes` of the metadata are those of the entries of Redis' listpack, because OBJECT ENCODING hangs on them. */
#ifndef VARVE_STORE_LIST_H
#define VARVE_STORE_LIST_H

#include "store/elements.h"

#define LIST_BASE (UINT64_C(3) << 62) /* where the first element lies; the ends grow from here, in [2^63, 2^64) */
#define LIST_INNER_END (UINT64_C(1) << 63)
#define LIST_SHIFT 1000       /* elements that an insertion or removal moves rather than splitting */
#define LIST_SEGMENTS_MAX 512 /* then segments are joined */
#define LIST_NODE_SIZE (-2)   /* list-max-listpack-size where nobody says otherwise: 8 KiB */
#define LIST_TOMBSTONES 256   /* elements dropped one by one; more: a dead range */
#define LIST_BLOCK 16         /* positions */
#define LIST_SHORT 128        /* bytes of an element that lies in its block: a push writes the block anew */

enum list_end { LIST_HEAD, LIST_TAIL };
struct list_segment {
    uint64_t position, count;
};
struct list {
    struct elements e; /* first */
    bool estimated;    /* bytes are */
    bool table_stored, table_changed;
    int64_t node_size; /* list-max-listpack-size, for OBJECT ENCODING: the caller may set it */
    uint64_t head_next, tail_next, fresh;
    struct list_segment *segments;
    size_t segment_count, segment_cap;
    struct list_segment few[4];
};

struct list_block {
    uint16_t set;
    struct slice slot[LIST_BLOCK]; /* of those that are set */
};

/* o comes from store_read or store_write, and is a list or missing. Not to be moved afterwards. */
enum result list_open(struct list *l, struct call *c, struct object *o) MUST_CHECK;
/* An empty list in the place of whatever o is (SORT with STORE, RESTORE). */
void list_replace(struct list *l, struct call *c, struct object *o);
/* elements_finish: an empty list deletes its key. */
enum result list_finish(struct list *l) MUST_CHECK;
/* A list in pieces as another key, for store_copy: in one segment, and without what was named dead. */
enum result list_copy(struct call *c, struct object *src, struct object *dst) MUST_CHECK;
static inline uint64_t list_length(const struct list *l) { return l->e.count; }

/* The size of an element as an entry of Redis' listpack. */
uint64_t list_entry_size(struct slice value);
/* OBJECT ENCODING as Redis decides it: before elements are added or set, by their number and plain bytes; after elements
 * were removed or set. */
enum result list_will_grow(struct list *l, uint64_t count, uint64_t bytes) MUST_CHECK;
enum result list_has_shrunk(struct list *l) MUST_CHECK;

enum result list_push(struct list *l, enum list_end end, struct slice value) MUST_CHECK;
/* Pushes one after the other, as list_push does, and writes each block once. Values live as long as the run. Asks
 * call_too_long by itself. */
enum result list_push_all(struct list *l, enum list_end end, const struct slice *values, size_t n) MUST_CHECK;
/* *value lives as long as the run. The list has an element. */
enum result list_pop(struct list *l, enum list_end end, struct slice *value) MUST_CHECK;
/* Drops n elements at an end. bytes: the sum of their list_entry_size, or LIST_UNKNOWN. */
#define LIST_UNKNOWN UINT64_MAX
enum result list_drop(struct list *l, enum list_end end, uint64_t n, uint64_t bytes) MUST_CHECK;
/* index < list_length(). *value lives as long as the run, or inline until the list is changed. */
enum result list_get(struct list *l, uint64_t index, struct slice *value) MUST_CHECK;
enum result list_set(struct list *l, uint64_t index, struct slice value) MUST_CHECK;
/* The new element gets this number, 0 to list_length(). */
enum result list_insert(struct list *l, uint64_t index, struct slice value) MUST_CHECK;
/* Removes elements: their numbers, ascending, and the sum of their entry sizes. */
enum result list_remove(struct list *l, const uint64_t *indexes, uint64_t n, uint64_t bytes) MUST_CHECK;

/* A walk from element `index` to the tail, or backward to the head, over at most `max` elements. What is changed while it
 * goes on is not seen, and inline the list must not be changed. Asks call_too_long by itself. */
struct list_cursor {
    struct list *l;
    struct slice value; /* of the element it stands on, borrowed until it moves */
    uint64_t index;     /* its number */
    uint64_t position;  /* in pieces: where it lies */
    uint64_t left;      /* how many may come yet */
    bool backward;
    unsigned steps;
    const struct slice *inline_values;
    const struct list_segment *segments;
    size_t segment;
    uint64_t next, in_segment; /* position of the next one; how many this segment still has */
    bool has_block;
    uint64_t block_number;
    struct list_block block;
    struct list_stream {
        struct iter *it;
        bool end;
    } blocks, longs;
};
enum result list_cursor_open(struct list_cursor *w, struct list *l, uint64_t index, uint64_t max, bool backward)
    MUST_CHECK;
enum result list_cursor_next(struct list_cursor *w) MUST_CHECK; /* RES_NOT_FOUND at the end */
void list_cursor_close(struct list_cursor *w);

#endif
