/* Sorting entries: see memtable_order.c.
 *
 * Keys are spread behind what they have in common (in REGION_META a hash stands there, formats.md), so entries are sorted
 * by the leading bits in which their prefixes differ at all, eleven at a time from the lowest (LSD radix sort): four
 * rounds over entries beside each other, instead of some twenty with a comparison each; what is equal in them stays in
 * the order in which it came. What is equal in those bits is sorted by comparing, or, when it is more than a few, as
 * the elements of one object are, in the same way by what lies behind what these have in common, unless it came in
 * order. */
#include <assert.h>

#include "front/memtable.h"

#define RADIX_LEAST 512 /* fewer are sorted by comparing */
#define RADIX_BITS 11
#define RADIX_ROUNDS 4
#define SORT_SMALL 12
#define DEEPER 4 /* times prefixes are taken from further behind; keys made for it could ask for more */
#define FETCH 8

void memtable_merge_entries(const struct memtable_entry *a, size_t na, const struct memtable_entry *b, size_t nb,
                            struct memtable_entry *out)
{
    const struct memtable_entry *ea = a + na, *eb = b + nb;
    while (a < ea && b < eb)
        *out++ = memtable_entry_less(b, a) ? *b++ : *a++;
    while (a < ea)
        *out++ = *a++;
    while (b < eb)
        *out++ = *b++;
}

static void sort_small(struct memtable_entry *e, size_t n)
{
    for (size_t i = 1; i < n; i++) {
        struct memtable_entry moved = e[i];
        size_t j = i;
        for (; j > 0 && memtable_entry_less(&moved, &e[j - 1]); j--)
            e[j] = e[j - 1];
        e[j] = moved;
    }
}

/* Bottom-up merge sort. */
static void sort_by_comparing(struct memtable_entry *e, size_t n, struct memtable_entry *spare)
{
    for (size_t i = 0; i < n; i += SORT_SMALL)
        sort_small(e + i, n - i < SORT_SMALL ? n - i : SORT_SMALL);
    struct memtable_entry *from = e, *to = spare;
    for (size_t width = SORT_SMALL; width < n; width *= 2) {
        for (size_t i = 0; i < n; i += 2 * width) {
            size_t na = n - i < width ? n - i : width;
            size_t nb = n - i - na < width ? n - i - na : width;
            memtable_merge_entries(from + i, na, from + i + na, nb, to + i);
        }
        struct memtable_entry *swap = from;
        from = to;
        to = swap;
    }
    if (from != e)
        memcpy(e, from, n * sizeof(*e));
}

static void radix_round(const struct memtable_entry *from, size_t n, unsigned shift, struct memtable_entry *to)
{
    uint32_t at[1 << RADIX_BITS] = {0};
    const uint64_t mask = (1 << RADIX_BITS) - 1;
    for (size_t i = 0; i < n; i++)
        at[from[i].prefix >> shift & mask]++;
    uint32_t sum = 0;
    for (size_t d = 0; d <= mask; d++) {
        uint32_t count = at[d];
        at[d] = sum;
        sum += count;
    }
    for (size_t i = 0; i < n; i++)
        to[at[from[i].prefix >> shift & mask]++] = from[i];
}

/* A load in the order of keys, a list that grows at its end, or the elements of a collection that was written at once
 * are in order already; a list that grows at its head is in the opposite one. Keys are different, so one look tells
 * which it may be. */
static bool in_order(struct memtable_entry *e, size_t n)
{
    bool back = n > 1 && memtable_entry_less(&e[1], &e[0]);
    for (size_t i = 1; i < n; i++)
        if (memtable_entry_less(&e[i], &e[i - 1]) != back)
            return false;
    for (size_t i = 0; back && i < n / 2; i++) {
        struct memtable_entry swap = e[i];
        e[i] = e[n - 1 - i];
        e[n - 1 - i] = swap;
    }
    return true;
}

static void sort_at(struct memtable_entry *e, size_t n, size_t skip, int deeper, struct memtable_entry *spare);

/* Entries with the same prefix. */
static void sort_equal(struct memtable_entry *e, size_t n, size_t skip, int deeper, struct memtable_entry *spare)
{
    uint64_t same = e[0].prefix;
    struct slice first = memtable_node_key(e[0].node);
    size_t shared = first.len;
    for (size_t i = 1; i < n && shared >= skip + 8; i++) {
        if (i + FETCH < n) {
            __builtin_prefetch(e[i + FETCH].node);
            __builtin_prefetch((const char *)e[i + FETCH].node + 64);
        }
        shared = memtable_key_common(first, memtable_node_key(e[i].node), shared);
    }
    if (shared < skip + 8 || deeper == 0) { /* a key that ends in its prefix looks like one with zeros there */
        sort_by_comparing(e, n, spare);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        if (i + FETCH < n)
            __builtin_prefetch((const char *)e[i + FETCH].node + 64);
        e[i].prefix = memtable_key_prefix(memtable_node_key(e[i].node), shared);
    }
    if (!in_order(e, n))
        sort_at(e, n, shared, deeper - 1, spare);
    for (size_t i = 0; i < n; i++)
        e[i].prefix = same;
}

/* Sorts each group of entries that are equal above `shift`. */
static void sort_groups(struct memtable_entry *e, size_t n, unsigned shift, size_t skip, int deeper,
                        struct memtable_entry *spare)
{
    for (size_t from = 0, to; from < n; from = to) {
        uint64_t differ = 0;
        for (to = from + 1; to < n && e[to].prefix >> shift == e[from].prefix >> shift; to++)
            differ |= e[to].prefix ^ e[from].prefix;
        if (to - from > SORT_SMALL && differ == 0)
            sort_equal(e + from, to - from, skip, deeper, spare);
        else if (to - from > SORT_SMALL)
            sort_by_comparing(e + from, to - from, spare);
        else
            sort_small(e + from, to - from);
    }
}

static void sort_at(struct memtable_entry *e, size_t n, size_t skip, int deeper, struct memtable_entry *spare)
{
    uint64_t differ = 0;
    for (size_t i = 1; i < n; i++)
        differ |= e[i].prefix ^ e[0].prefix;
    if (n < RADIX_LEAST) {
        sort_by_comparing(e, n, spare);
        return;
    }
    if (differ == 0) {
        sort_equal(e, n, skip, deeper, spare);
        return;
    }
    unsigned top = 64 - (unsigned)__builtin_clzll(differ);
    unsigned low = top > RADIX_ROUNDS * RADIX_BITS ? top - RADIX_ROUNDS * RADIX_BITS : 0;
    struct memtable_entry *from = e, *to = spare;
    for (unsigned shift = low; shift < top; shift += RADIX_BITS) {
        if ((differ >> shift & ((1 << RADIX_BITS) - 1)) == 0) /* as in the upper bytes of object ids */
            continue;
        radix_round(from, n, shift, to);
        struct memtable_entry *swap = from;
        from = to;
        to = swap;
    }
    if (from != e)
        memcpy(e, from, n * sizeof(*e));
    sort_groups(e, n, low, skip, deeper, spare);
}

void memtable_sort(struct memtable_entry *e, size_t n, size_t skip, struct memtable_entry *spare)
{
    assert(n <= UINT32_MAX);
    if (!in_order(e, n))
        sort_at(e, n, skip, DEEPER, spare);
}
