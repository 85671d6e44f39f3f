/* What list.c and list_segments.c share. */
#ifndef VARVE_STORE_LIST_PRIV_H
#define VARVE_STORE_LIST_PRIV_H

#include "store/list.h"
#include "store/store_priv.h"

/* ---- list_segments.c: positions and segments ---- */

enum result list_hints_read(struct list *l) MUST_CHECK;
/* Its two halves, which need no call: the first segment and the last, whether there is a table; the next segment of that. */
enum result list_hints_parse(struct list *l) MUST_CHECK;
bool list_table_next(const struct list *l, struct slice *in, struct list_segment *s);
/* Writes hints and, where it has changed, the table. */
enum result list_hints_write(struct list *l) MUST_CHECK;
void list_one_segment(struct list *l, uint64_t position, uint64_t count);
/* The segment that holds element `index`, and its place in it. */
size_t list_find(const struct list *l, uint64_t index, uint64_t *within);
static inline uint64_t list_position(const struct list *l, uint64_t index)
{
    uint64_t within;
    size_t s = list_find(l, index, &within);
    return l->segments[s].position + within;
}
/* A position for one more element at an end; segments are extended. RES_TOO_MANY: there is none left. */
enum result list_extend(struct list *l, enum list_end end, uint64_t *position) MUST_CHECK;
/* Takes n positions, not all, off an end; their records are deleted or named dead. */
enum result list_cut(struct list *l, enum list_end end, uint64_t n) MUST_CHECK;
/* Reads the element at an end and takes it off; the last one of all stays where it is, to go with its object. */
enum result list_take(struct list *l, enum list_end end, struct slice *value) MUST_CHECK;
/* Makes room between elements index - 1 and index, away from both ends, without moving anything. */
enum result list_split_in(struct list *l, uint64_t index, uint64_t *position) MUST_CHECK;
/* Deletes the record of element `index` and leaves it out of the segments. */
enum result list_split_out(struct list *l, uint64_t index) MUST_CHECK;
/* Joins segments until there are not too many. */
enum result list_join(struct list *l) MUST_CHECK;

/* ---- list_blocks.c: where elements lie ---- */

/* The bytes of a long element's record: of all kinds of pieces, the plain one. */
static inline MUST_CHECK enum result list_long_value(struct slice record, struct slice *value)
{
    if (unlikely(!record.len || record.data[0] != PIECE_BYTES))
        return RES_CORRUPT;
    *value = slice_of(record.data + 1, record.len - 1);
    return RES_OK;
}
enum result list_block_decode(struct slice record, struct list_block *b) MUST_CHECK;
enum result list_block_get(struct list *l, uint64_t number, struct list_block *b) MUST_CHECK;
/* A block of positions that are taken one after the other, to be written as a whole: without reading it first where
 * none of its positions has been in use. */
struct list_filling {
    bool open;
    uint64_t number;
    struct engine_key key;
    struct list_block block;
};
/* Puts an element at a position that list_extend has given; before anything else is done with the list, the last block
 * is written. */
enum result list_fill(struct list *l, struct list_filling *f, enum list_end end, uint64_t position, struct slice value)
    MUST_CHECK;
enum result list_fill_end(struct list *l, struct list_filling *f) MUST_CHECK;
/* fresh: no element has this position now. */
enum result list_piece_put(struct list *l, uint64_t position, struct slice value, bool fresh) MUST_CHECK;
enum result list_piece_get(struct list *l, uint64_t position, struct slice *value) MUST_CHECK;
/* What lies at positions that no segment has any more: deleted, or named dead. The former may be used again. */
enum result list_pieces_clear(struct list *l, uint64_t position, uint64_t count) MUST_CHECK;
enum result list_pieces_bury(struct list *l, uint64_t position, uint64_t count) MUST_CHECK;

#endif
