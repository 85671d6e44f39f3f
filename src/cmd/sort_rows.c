/* Rows in order: see sort_rows.h. */
#include "cmd/sort_rows.h"

#include <stdlib.h>

#define DEAD_BYTES ((size_t)1 << 20) /* are not worth moving the others */

void sort_rows_init(struct sort_rows *s, size_t most)
{
    *s = (struct sort_rows){.most = most};
    arena_init(&s->bytes, 4096);
}

void sort_rows_fini(struct sort_rows *s)
{
    free(s->row);
    s->row = NULL;
    arena_fini(&s->bytes);
}

/* ---- the order ---- */

static int compare_by(struct slice a, struct slice b)
{
    if (!a.data || !b.data)
        return (a.data != NULL) - (b.data != NULL);
    return slice_cmp(a, b);
}

/* Never 0: no two rows have one index. */
static int compare(const struct sort_rows *s, const struct sort_row *a, const struct sort_row *b)
{
    int order;
    if (s->alpha)
        order = s->by ? compare_by(a->by, b->by) : slice_cmp(a->text, b->text);
    else if (a->score != b->score)
        order = a->score > b->score ? 1 : -1;
    else
        order = slice_cmp(a->text, b->text);
    if (order)
        return s->descending ? -order : order;
    return a->index > b->index ? 1 : -1;
}

static int compare_rows(const void *a, const void *b, void *rows) { return a == b ? 0 : compare(rows, a, b); }

/* ---- a heap: the last in order is the first to go ---- */

static void sift_down(struct sort_rows *s, size_t at)
{
    for (size_t child; (child = 2 * at + 1) < s->count; at = child) {
        if (child + 1 < s->count && compare(s, &s->row[child + 1], &s->row[child]) > 0)
            child++;
        if (compare(s, &s->row[at], &s->row[child]) > 0)
            return;
        struct sort_row x = s->row[at];
        s->row[at] = s->row[child];
        s->row[child] = x;
    }
}

static size_t bytes_of(const struct sort_row *row) { return row->text.len + row->by.len; }

static enum result keep_bytes(struct arena *a, struct sort_row *row)
{
    const void *text = arena_copy(a, row->text.data, row->text.len);
    const void *by = row->by.data ? arena_copy(a, row->by.data, row->by.len) : NULL;
    if (!text || (row->by.data && !by))
        return RES_NO_MEMORY;
    row->text.data = text;
    row->by.data = by;
    return RES_OK;
}

/* Bytes that belong to no row any more are given back. */
static enum result move_bytes(struct sort_rows *s)
{
    struct arena fresh;
    enum result r = RES_OK;
    arena_init(&fresh, 4096);
    for (size_t i = 0; r == RES_OK && i < s->count; i++)
        r = keep_bytes(&fresh, &s->row[i]);
    /* what was not moved lies in the old one: a failure ends the command */
    struct arena old = s->bytes;
    if (r == RES_OK)
        s->bytes = fresh;
    arena_fini(r == RES_OK ? &old : &fresh);
    s->dead = 0;
    return r;
}

static enum result replace_last(struct sort_rows *s, struct sort_row *row)
{
    if (compare(s, row, &s->row[0]) > 0)
        return RES_OK;
    s->dead += bytes_of(&s->row[0]);
    s->live += bytes_of(row) - bytes_of(&s->row[0]);
    enum result r = keep_bytes(&s->bytes, row);
    if (r != RES_OK)
        return r;
    s->row[0] = *row;
    sift_down(s, 0);
    return s->dead > s->live + DEAD_BYTES ? move_bytes(s) : RES_OK;
}

enum result sort_rows_add(struct sort_rows *s, struct sort_row row)
{
    row.index = s->met++;
    if (s->count == s->most) {
        if (!s->most)
            return RES_OK;
        for (size_t i = s->count / 2; !s->heap && i-- > 0;)
            sift_down(s, i);
        s->heap = true;
        return replace_last(s, &row);
    }
    if (s->count == s->cap) {
        size_t cap = s->cap ? s->cap * 2 : 64;
        void *p = realloc(s->row, cap * sizeof *s->row);
        if (!p)
            return RES_NO_MEMORY;
        s->row = p;
        s->cap = cap;
    }
    enum result r = keep_bytes(&s->bytes, &row);
    if (r != RES_OK)
        return r;
    s->live += bytes_of(&row);
    s->row[s->count++] = row;
    return RES_OK;
}

void sort_rows_finish(struct sort_rows *s)
{
    if (s->count)
        qsort_r(s->row, s->count, sizeof *s->row, compare_rows, s);
}
