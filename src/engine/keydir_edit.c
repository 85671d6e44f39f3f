/* Editing a key directory: one pass of sorted changes through the tree.
 *
 * Every node on the way is taken apart into a list of what shall stand in its place, which its parent cuts into nodes
 * again:
 *   1. A child into whose range no change falls goes into the list as it is, by a reference more.
 *   2. Leaves are collected in a buffer and cut evenly, so that no crumbs are left behind a full one.
 *   3. Neighbours of which one is new become one if that fits with room to spare: deletions do not leave a tree of
 *      almost empty nodes. */
#include <assert.h>
#include <stdlib.h>

#include "engine/keydir.h"

/* What shall stand side by side at one level. */
struct row {
    struct keydir_node **nodes;
    bool *fresh;
    size_t count, cap;
};

struct edit {
    const struct keydir_changes *changes;
    struct keydir_memory *memory;
    struct keydir_change now; /* the next change */
    enum result state;        /* RES_OK: `now` is one; RES_NOT_FOUND: no more; else what failed */
};

static void advance(struct edit *e) { e->state = e->changes->next(e->changes->arg, &e->now); }

static void dropped(struct edit *e, size_t key_len, const struct keydir_place *place)
{
    if (e->changes->dropped)
        e->changes->dropped(e->changes->arg, key_len, place);
}

/* ---- rows ---- */

static void row_fini(struct row *r, struct keydir_memory *memory)
{
    for (size_t i = 0; i < r->count; i++)
        keydir_unref(r->nodes[i], memory);
    free(r->nodes);
    free(r->fresh);
    *r = (struct row){0};
}

/* Takes over the reference, also when it fails. */
static enum result row_add(struct row *r, struct keydir_node *n, bool fresh, struct keydir_memory *memory)
{
    if (r->count == r->cap) {
        size_t cap = r->cap ? r->cap * 2 : 16;
        struct keydir_node **nodes = realloc(r->nodes, cap * sizeof(struct keydir_node *));
        if (nodes)
            r->nodes = nodes;
        bool *flags = nodes ? realloc(r->fresh, cap) : NULL;
        if (flags)
            r->fresh = flags;
        if (!nodes || !flags) {
            keydir_unref(n, memory);
            return RES_NO_MEMORY;
        }
        r->cap = cap;
    }
    r->nodes[r->count] = n;
    r->fresh[r->count++] = fresh;
    return RES_OK;
}

/* ---- building nodes ---- */

/* Entries on their way into nodes: keys one after the other, and for leaves their places. */
struct pending {
    uint8_t text[2 * KEYDIR_LEAF * ENGINE_KEY_MAX];
    uint32_t end[2 * KEYDIR_LEAF];
    struct keydir_place place[2 * KEYDIR_LEAF];
    int count;
};

static struct slice pending_key(const struct pending *p, int i)
{
    uint32_t from = i ? p->end[i - 1] : 0;
    return slice_of(p->text + from, p->end[i] - from);
}

static size_t shared(struct slice a, struct slice b)
{
    size_t n = 0, most = a.len < b.len ? a.len : b.len;
    while (n < most && a.data[n] == b.data[n])
        n++;
    return n;
}

static struct keydir_node *node_new(struct keydir_memory *memory, int level, int count, size_t prefix, size_t rests)
{
    size_t width = level ? sizeof(struct keydir_node *) : KEYDIR_PLACE;
    size_t size = sizeof(struct keydir_node) + (size_t)count * (width + 2) + prefix + rests;
    struct keydir_node *n = malloc(size);
    if (!n)
        return NULL;
    *n = (struct keydir_node){.refs = 1,
                              .count = (uint16_t)count,
                              .level = (uint8_t)level,
                              .prefix = (uint16_t)prefix,
                              .size = (uint32_t)size};
    __atomic_fetch_add(&memory->bytes, size, __ATOMIC_RELAXED);
    return n;
}

static void put_place(struct keydir_node *n, int i, const struct keydir_place *place)
{
    uint8_t *p = n->body + (size_t)i * KEYDIR_PLACE;
    uint32_t file = place->file | (place->kind == RECORD_DELETE ? 0x80000000u : 0), low = (uint32_t)place->offset;
    memcpy(p, &file, 4);
    memcpy(p + 4, &low, 4);
    p[8] = (uint8_t)(place->offset >> 32);
    memcpy(p + 9, &place->value, 4);
}

/* Keys in order, one by one. */
struct text_writer {
    uint8_t *ends, *rests;
    size_t prefix, len;
};

static struct text_writer text_begin(struct keydir_node *n, struct slice first)
{
    uint8_t *ends = n->body + n->count * keydir_width(n), *text = ends + 2 * (size_t)n->count;
    memcpy(text, first.data, n->prefix);
    return (struct text_writer){ends, text + n->prefix, n->prefix, 0};
}

static void text_add(struct text_writer *w, struct slice key)
{
    memcpy(w->rests + w->len, key.data + w->prefix, key.len - w->prefix);
    w->len += key.len - w->prefix;
    uint16_t end = (uint16_t)w->len;
    memcpy(w->ends, &end, 2);
    w->ends += 2;
}

static enum result cut_leaf(struct edit *e, struct pending *p, int from, int to, struct row *out)
{
    size_t prefix = shared(pending_key(p, from), pending_key(p, to - 1));
    size_t bytes = p->end[to - 1] - (from ? p->end[from - 1] : 0);
    struct keydir_node *n = node_new(e->memory, 0, to - from, prefix, bytes - (size_t)(to - from) * prefix);
    if (!n)
        return RES_NO_MEMORY;
    struct text_writer w = text_begin(n, pending_key(p, from));
    for (int i = from; i < to; i++) {
        text_add(&w, pending_key(p, i));
        put_place(n, i - from, &p->place[i]);
    }
    n->records = n->count;
    return row_add(out, n, true, e->memory);
}

/* Writes the first `count` of what is pending as one leaf, and keeps the rest. */
static enum result cut_first(struct edit *e, struct pending *p, int count, struct row *out)
{
    enum result r = cut_leaf(e, p, 0, count, out);
    uint32_t gone = p->end[count - 1];
    memmove(p->text, p->text + gone, p->end[p->count - 1] - gone);
    for (int i = count; i < p->count; i++) {
        p->end[i - count] = p->end[i] - gone;
        p->place[i - count] = p->place[i];
    }
    p->count -= count;
    return r;
}

static enum result pending_add(struct edit *e, struct pending *p, struct slice key, const struct keydir_place *place,
                               struct row *out)
{
    enum result r = p->count == 2 * KEYDIR_LEAF ? cut_first(e, p, KEYDIR_LEAF, out) : RES_OK;
    uint32_t from = p->count ? p->end[p->count - 1] : 0;
    if (r != RES_OK)
        return r;
    memcpy(p->text + from, key.data, key.len);
    p->place[p->count] = *place;
    p->end[p->count++] = from + (uint32_t)key.len;
    return RES_OK;
}

static enum result pending_flush(struct edit *e, struct pending *p, struct row *out)
{
    enum result r = RES_OK;
    if (p->count > KEYDIR_LEAF)
        r = cut_first(e, p, p->count / 2, out);
    if (r == RES_OK && p->count)
        r = cut_leaf(e, p, 0, p->count, out);
    p->count = 0;
    return r;
}

/* One node over row[from .. to); references are taken, not given. */
static struct keydir_node *inner_new(struct edit *e, struct keydir_node *const *nodes, int count)
{
    uint8_t first[ENGINE_KEY_MAX], key[ENGINE_KEY_MAX];
    size_t first_len = keydir_key(nodes[0], 0, first), bytes = first_len;
    size_t last_len = keydir_key(nodes[count - 1], 0, key);
    size_t prefix = shared(slice_of(first, first_len), slice_of(key, last_len));
    for (int i = 1; i < count; i++)
        bytes += keydir_key(nodes[i], 0, key);
    struct keydir_node *n = node_new(e->memory, nodes[0]->level + 1, count, prefix, bytes - (size_t)count * prefix);
    if (!n)
        return NULL;
    struct text_writer w = text_begin(n, slice_of(first, first_len));
    for (int i = 0; i < count; i++) {
        text_add(&w, slice_of(key, keydir_key(nodes[i], 0, key)));
        memcpy(n->body + (size_t)i * sizeof nodes[i], &nodes[i], sizeof nodes[i]);
        n->records += nodes[i]->records;
        keydir_ref(nodes[i]);
    }
    return n;
}

/* ---- merging neighbours ---- */

static enum result join(struct edit *e, struct pending *p, const struct keydir_node *a, const struct keydir_node *b,
                        struct keydir_node **out)
{
    *out = NULL;
    if (a->level) {
        struct keydir_node *children[KEYDIR_FANOUT];
        for (int i = 0; i < a->count + b->count; i++)
            children[i] = i < a->count ? keydir_child(a, i) : keydir_child(b, i - a->count);
        *out = inner_new(e, children, a->count + b->count);
        return *out ? RES_OK : RES_NO_MEMORY;
    }
    struct row row = {0};
    enum result r = RES_OK;
    assert(p->count == 0);
    for (int i = 0; r == RES_OK && i < a->count + b->count; i++) {
        const struct keydir_node *n = i < a->count ? a : b;
        uint8_t key[ENGINE_KEY_MAX];
        struct keydir_place place;
        int at = i < a->count ? i : i - a->count;
        size_t len = keydir_key(n, at, key);
        keydir_place_get(n, at, &place);
        r = pending_add(e, p, slice_of(key, len), &place, &row);
    }
    if (r == RES_OK)
        r = pending_flush(e, p, &row);
    p->count = 0;
    if (r == RES_OK) {
        assert(row.count == 1);
        *out = row.nodes[0];
        row.count = 0;
    }
    row_fini(&row, e->memory);
    return r;
}

static enum result join_neighbours(struct edit *e, struct pending *p, struct row *r)
{
    size_t kept = 0;
    for (size_t i = 0; i < r->count; i++) {
        struct keydir_node *a = kept ? r->nodes[kept - 1] : NULL, *b = r->nodes[i], *both;
        int most = (b->level ? KEYDIR_FANOUT : KEYDIR_LEAF) * 3 / 4;
        if (!a || !(r->fresh[kept - 1] || r->fresh[i]) || a->count + b->count > most) {
            r->nodes[kept] = b;
            r->fresh[kept++] = r->fresh[i];
            continue;
        }
        enum result res = join(e, p, a, b, &both);
        if (res != RES_OK) { /* all references stay in the row */
            while (i < r->count)
                r->nodes[kept++] = r->nodes[i++];
            r->count = kept;
            return res;
        }
        keydir_unref(a, e->memory);
        keydir_unref(b, e->memory);
        r->nodes[kept - 1] = both;
        r->fresh[kept - 1] = true;
    }
    r->count = kept;
    return RES_OK;
}

/* Cuts a row into nodes one level up; the row is empty afterwards. */
static enum result cover(struct edit *e, struct row *row, struct row *out)
{
    size_t nodes = (row->count + KEYDIR_FANOUT - 1) / KEYDIR_FANOUT, from = 0;
    enum result r = RES_OK;
    for (size_t i = 0; r == RES_OK && i < nodes; i++) {
        size_t to = row->count * (i + 1) / nodes;
        struct keydir_node *n = inner_new(e, row->nodes + from, (int)(to - from));
        r = n ? row_add(out, n, true, e->memory) : RES_NO_MEMORY;
        from = to;
    }
    row_fini(row, e->memory);
    return r;
}

/* ---- the pass ---- */

/* Is the next change below the bound? No bound: there is no node to the right. */
static bool falls_below(const struct edit *e, struct slice upper)
{
    return e->state == RES_OK && (upper.len == 0 || slice_cmp(e->now.key, upper) < 0);
}

static bool range_is_over(const struct edit *e, struct slice key)
{
    return e->state == RES_OK && e->now.kind == KEYDIR_REMOVE_RANGE && slice_cmp(e->now.end, key) <= 0;
}

/* The change at a key that the leaf does not have. */
static enum result change_absent(struct edit *e, struct pending *p, struct row *out)
{
    enum result r = RES_OK;
    if (e->now.kind == KEYDIR_PUT)
        r = pending_add(e, p, e->now.key, &e->now.place, out);
    else if (e->now.kind == KEYDIR_MOVE)
        dropped(e, e->now.key.len, &e->now.place);
    return r;
}

/* The change at a key that the leaf has at `place`. */
static enum result change_present(struct edit *e, struct pending *p, struct slice key, const struct keydir_place *place,
                                  struct row *out)
{
    bool asks = e->now.kind == KEYDIR_MOVE || e->now.kind == KEYDIR_FORGET;
    bool stays = asks && !e->changes->yields(e->changes->arg, place);
    if (!stays || e->now.kind == KEYDIR_MOVE)
        dropped(e, key.len, stays ? &e->now.place : place);
    if (!stays && (e->now.kind == KEYDIR_REMOVE || e->now.kind == KEYDIR_FORGET))
        return RES_OK;
    return pending_add(e, p, key, stays ? place : &e->now.place, out);
}

static enum result edit_leaf(struct edit *e, struct pending *p, const struct keydir_node *n, struct slice upper,
                             struct row *out)
{
    uint8_t bytes[ENGINE_KEY_MAX];
    enum result r = RES_OK;
    for (int i = 0; r == RES_OK && n && i < n->count; i++) {
        struct slice key = slice_of(bytes, keydir_key(n, i, bytes));
        struct keydir_place place;
        keydir_place_get(n, i, &place);
        while (r == RES_OK && e->state == RES_OK) {
            if (e->now.kind == KEYDIR_REMOVE_RANGE ? !range_is_over(e, key) : slice_cmp(e->now.key, key) >= 0)
                break;
            if (e->now.kind != KEYDIR_REMOVE_RANGE)
                r = change_absent(e, p, out);
            advance(e);
        }
        if (r != RES_OK)
            break;
        if (e->state == RES_OK && slice_cmp(e->now.key, key) <= 0) {
            if (e->now.kind == KEYDIR_REMOVE_RANGE) {
                dropped(e, key.len, &place);
                continue;
            }
            r = change_present(e, p, key, &place, out);
            advance(e);
        } else {
            r = pending_add(e, p, key, &place, out);
        }
    }
    while (r == RES_OK && falls_below(e, upper)) {
        if (e->now.kind == KEYDIR_REMOVE_RANGE && upper.len && slice_cmp(e->now.end, upper) > 0)
            break; /* goes on in the next leaf */
        if (e->now.kind != KEYDIR_REMOVE_RANGE)
            r = change_absent(e, p, out);
        advance(e);
    }
    if (r == RES_OK)
        r = pending_flush(e, p, out);
    p->count = 0;
    if (r == RES_OK && e->state != RES_OK && e->state != RES_NOT_FOUND)
        r = e->state;
    return r;
}

/* Puts into `out` what shall stand in the node's place, nodes of the same level. */
static enum result edit_node(struct edit *e, struct pending *p, struct keydir_node *n, struct slice upper,
                             struct row *out)
{
    if (n->level == 0)
        return edit_leaf(e, p, n, upper, out);
    struct row row = {0};
    uint8_t bound[ENGINE_KEY_MAX];
    enum result r = RES_OK;
    for (int i = 0; r == RES_OK && i < n->count; i++) {
        struct keydir_node *child = keydir_child(n, i);
        struct slice end = i + 1 < n->count ? slice_of(bound, keydir_key(n, i + 1, bound)) : upper;
        uint8_t first[ENGINE_KEY_MAX];
        struct slice start = slice_of(first, keydir_key(n, i, first));
        while (range_is_over(e, start))
            advance(e);
        if (falls_below(e, end)) {
            r = edit_node(e, p, child, end, &row);
        } else {
            keydir_ref(child);
            r = row_add(&row, child, false, e->memory);
        }
    }
    if (r == RES_OK)
        r = join_neighbours(e, p, &row);
    if (r == RES_OK)
        r = cover(e, &row, out);
    row_fini(&row, e->memory);
    return r;
}

/* Joins and covers the topmost row until one node is left. */
static enum result grow(struct edit *e, struct pending *p, struct row *row)
{
    enum result r = join_neighbours(e, p, row);
    while (r == RES_OK && row->count > 1) {
        struct row above = {0};
        r = cover(e, row, &above);
        row_fini(row, e->memory);
        *row = above;
    }
    while (r == RES_OK && row->count == 1 && row->nodes[0]->level && row->nodes[0]->count == 1) {
        struct keydir_node *child = keydir_child(row->nodes[0], 0);
        keydir_ref(child);
        keydir_unref(row->nodes[0], e->memory);
        row->nodes[0] = child;
    }
    return r;
}

enum result keydir_edit(struct keydir_node *root, const struct keydir_changes *changes, struct keydir_memory *memory,
                        struct keydir_node **out)
{
    struct edit e = {.changes = changes, .memory = memory};
    struct row row = {0};
    struct slice none = slice_of(NULL, 0);
    struct pending *p = malloc(sizeof *p);

    *out = NULL;
    if (!p)
        return RES_NO_MEMORY;
    p->count = 0;
    advance(&e);
    enum result r = root ? edit_node(&e, p, root, none, &row) : edit_leaf(&e, p, NULL, none, &row);
    if (r == RES_OK && e.state != RES_NOT_FOUND)
        r = e.state == RES_OK ? RES_INVALID : e.state; /* changes out of order, or a source that failed */
    if (r == RES_OK)
        r = grow(&e, p, &row);
    if (r == RES_OK && row.count) {
        *out = row.nodes[0];
        row.count = 0;
    }
    row_fini(&row, memory);
    free(p);
    return r;
}
