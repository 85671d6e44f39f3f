/* The rows that SORT puts in order: all of them, or, where only the first few are wanted, no more than those. */
#ifndef VARVE_CMD_SORT_ROWS_H
#define VARVE_CMD_SORT_ROWS_H

#include "base/arena.h"
#include "base/result.h"
#include "base/slice.h"

struct sort_row {
    struct slice text;
    struct slice by; /* ALPHA with BY: data NULL is nothing, and before anything else */
    double score;    /* else */
    uint64_t index;  /* the order in which rows came: of what is equal */
};
struct sort_place;
struct sort_rows {
    bool alpha, by, descending;
    size_t most; /* how many are kept: the first in order */
    bool heap;   /* row is a heap, the last in order on top */
    struct sort_row *row;
    size_t count, cap;
    uint64_t met; /* rows so far */
    struct arena bytes;
    size_t live, dead; /* bytes of rows that are kept, and of others */
    struct sort_place *places, *in_order;
};
void sort_rows_init(struct sort_rows *s, size_t most);
void sort_rows_fini(struct sort_rows *s);
/* Adds a row, whose bytes are borrowed, if it is among the first `most` so far. */
enum result sort_rows_add(struct sort_rows *s, struct sort_row row) MUST_CHECK;
/* Puts all rows that are kept in order; then the text of row i. */
enum result sort_rows_finish(struct sort_rows *s) MUST_CHECK;
struct slice sort_rows_text(const struct sort_rows *s, size_t i);

#endif
