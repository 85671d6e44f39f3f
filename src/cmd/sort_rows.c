/* Rows in order: see sort_rows.h. */
#include "cmd/sort_rows.h"

#include <stdlib.h>

#include "base/bytes.h"

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
    free(s->places);
    s->places = s->in_order = NULL;
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

/* ---- all in order ----
 *
 * What is sorted is small: a number that goes with the order of the row, and where the row is. Rows are compared where the
 * numbers are equal. Merges of ever longer runs, begun with runs of RUN that are put in order one by one. */

#define RUN 8

struct sort_place {
    uint64_t key; /* less: the row comes first */
    const struct sort_row *row;
};

static uint64_t key_of_bytes(struct slice text)
{
    uint8_t first[8] = {0};
    if (text.len)
        memcpy(first, text.data, text.len < sizeof first ? text.len : sizeof first);
    return get_be64(first);
}

static uint64_t key_of_score(double score)
{
    uint64_t bits;
    score += 0.0; /* there are two zeros, which are equal */
    memcpy(&bits, &score, sizeof bits);
    return bits >> 63 ? ~bits : bits | UINT64_C(1) << 63;
}

static uint64_t key_of(const struct sort_rows *s, const struct sort_row *row)
{
    uint64_t key = s->alpha ? key_of_bytes(s->by ? row->by : row->text) : key_of_score(row->score);
    return s->descending ? ~key : key;
}

static inline bool is_before(const struct sort_rows *s, const struct sort_place *a, const struct sort_place *b)
{
    return likely(a->key != b->key) ? a->key < b->key : compare(s, a->row, b->row) < 0;
}

static void sort_run(const struct sort_rows *s, struct sort_place *p, size_t n)
{
    for (size_t i = 1; i < n; i++) {
        struct sort_place x = p[i];
        size_t j = i;
        for (; j > 0 && is_before(s, &x, &p[j - 1]); j--)
            p[j] = p[j - 1];
        p[j] = x;
    }
}

/* in[0, half) and in[half, n), each in order. */
static void merge_runs(const struct sort_rows *s, const struct sort_place *in, size_t half, size_t n,
                       struct sort_place *out)
{
    const struct sort_place *a = in, *b = in + half, *a_end = b, *b_end = in + n;
    while (a < a_end && b < b_end) {
        bool second = is_before(s, b, a);
        *out++ = *(second ? b : a);
        b += second;
        a += !second;
    }
    memcpy(out, a, (size_t)(a_end - a) * sizeof *out);
    memcpy(out + (a_end - a), b, (size_t)(b_end - b) * sizeof *out);
}

enum result sort_rows_finish(struct sort_rows *s)
{
    size_t n = s->count;
    struct sort_place *from = malloc((2 * n + 1) * sizeof *from), *to = from + n;
    if (!from)
        return RES_NO_MEMORY;
    s->places = from;
    for (size_t i = 0; i < n; i++)
        from[i] = (struct sort_place){key_of(s, &s->row[i]), &s->row[i]};
    for (size_t i = 0; i < n; i += RUN)
        sort_run(s, from + i, n - i < RUN ? n - i : RUN);
    for (size_t run = RUN; run < n; run *= 2) {
        for (size_t i = 0; i < n; i += 2 * run) {
            size_t left = n - i;
            merge_runs(s, from + i, left < run ? left : run, left < 2 * run ? left : 2 * run, to + i);
        }
        struct sort_place *other = from;
        from = to;
        to = other;
    }
    s->in_order = from;
    return RES_OK;
}

struct slice sort_rows_text(const struct sort_rows *s, size_t i) { return s->in_order[i].row->text; }
