/* Counted trees: see counted.h. */
#include "store/counted.h"

#include "base/bytes.h"

#define LEAF_FILL (COUNTED_LEAF / 4 * 3) /* elements a leaf is built with */
#define LEAF_TRIES (COUNTED_LEAF / 8)    /* one that cannot be parted is looked at only now and then */
#define STEP_LEAVES 48
#define LEVEL_END 255
#define KEY_MAX (1 + COUNTED_CUT)

struct node {
    uint8_t level;
    size_t len; /* of the boundary */
    uint8_t boundary[COUNTED_CUT];
    uint64_t count, children; /* children: above level 0 */
};

static struct slice cut(struct slice key) { return slice_of(key.data, key.len < COUNTED_CUT ? key.len : COUNTED_CUT); }
static struct slice boundary_of(const struct node *n) { return slice_of(n->boundary, n->len); }
static void set_boundary(struct node *n, struct slice key)
{
    n->len = key.len;
    if (key.len)
        memcpy(n->boundary, key.data, key.len);
}

/* ---- records ---- */

static enum result node_key(const struct counted_tree *t, uint8_t level, struct slice boundary, struct engine_key *out)
{
    uint8_t element[KEY_MAX] = {level};
    if (boundary.len)
        memcpy(element + 1, boundary.data, boundary.len);
    return piece_key(t->e, SUBSPACE_RANKS, slice_of(element, 1 + boundary.len), out);
}

static enum result node_put(const struct counted_tree *t, const struct node *n)
{
    uint8_t value[2 * VARINT_MAX];
    struct engine_key key;
    size_t len = put_varint(value, n->count);
    if (n->level)
        len += put_varint(value + len, n->children);
    struct element in = {.value = slice_of(value, len)};
    enum result r = node_key(t, n->level, boundary_of(n), &key);
    return r == RES_OK ? piece_put(t->e, &key, &in, false) : r;
}

static enum result node_delete(const struct counted_tree *t, uint8_t level, struct slice boundary)
{
    struct engine_key key;
    enum result r = node_key(t, level, boundary, &key);
    return r == RES_OK ? piece_delete(t->e, &key) : r;
}

static bool take_number(struct slice *in, uint64_t *out)
{
    size_t before = in->len;
    return take_varint(in, out) && before - in->len == varint_size(*out);
}

static enum result node_read(const struct iter *it, struct node *n)
{
    struct slice element = piece_element(it);
    struct element piece;
    enum result r = piece_read(it->value, &piece);
    if (r != RES_OK)
        return r;
    if (element.len < 1 || element.len > KEY_MAX || piece.key.len || piece.expire_ms)
        return RES_CORRUPT;
    n->level = element.data[0];
    n->children = 0;
    set_boundary(n, slice_of(element.data + 1, element.len - 1));
    if (!take_number(&piece.value, &n->count) || (n->level && !take_number(&piece.value, &n->children)) ||
        piece.value.len || (n->level && !n->children))
        return RES_CORRUPT;
    return RES_OK;
}

/* Over the nodes of a level from a boundary on. */
static enum result nodes_from(const struct counted_tree *t, uint8_t level, struct slice boundary, struct iter **it)
{
    uint8_t lower[KEY_MAX] = {level}, upper = level + 1;
    if (boundary.len)
        memcpy(lower + 1, boundary.data, boundary.len);
    return piece_iter(t->e, SUBSPACE_RANKS, slice_of(lower, 1 + boundary.len), slice_of(&upper, 1), 0, it);
}

/* The node of a level in whose range a key lies. */
static enum result node_at(const struct counted_tree *t, uint8_t level, struct slice key, struct node *n)
{
    uint8_t upper[KEY_MAX + 1] = {level};
    struct iter *it;
    key = cut(key);
    if (key.len)
        memcpy(upper + 1, key.data, key.len);
    upper[1 + key.len] = 0;
    enum result r = piece_iter(t->e, SUBSPACE_RANKS, slice_of(&level, 1), slice_of(upper, key.len + 2), 0, &it);
    if (r != RES_OK)
        return r;
    r = iter_seek_last(it, slice_of(NULL, 0));
    if (r == RES_OK)
        r = node_read(it, n);
    iter_close(it);
    return r == RES_NOT_FOUND ? RES_CORRUPT : r;
}

static enum result end_get(const struct counted_tree *t, struct slice *end)
{
    struct engine_key key;
    struct element piece;
    enum result r = node_key(t, LEVEL_END, slice_of(NULL, 0), &key);
    if (r == RES_OK)
        r = piece_get(t->e, &key, &piece);
    *end = r == RES_OK ? piece.value : slice_of(NULL, 0);
    if (r == RES_OK && (!end->len || end->len > COUNTED_CUT))
        return RES_CORRUPT;
    return r == RES_NOT_FOUND ? RES_CORRUPT : r;
}

static enum result end_put(const struct counted_tree *t, struct slice end)
{
    struct engine_key key;
    struct element in = {.value = end};
    enum result r = node_key(t, LEVEL_END, slice_of(NULL, 0), &key);
    if (r != RES_OK)
        return r;
    return end.len ? piece_put(t->e, &key, &in, false) : piece_delete(t->e, &key);
}

/* ---- more nodes ---- */

/* Looks for where to part a node in two: the child (or, of a leaf, the element) at which half is left behind. Left is what
 * stays, right the new node; RES_NOT_FOUND: it cannot be parted. */
static enum result find_middle(const struct counted_tree *t, const struct node *n, struct node *left,
                               struct node *right)
{
    struct iter *it;
    uint64_t all = n->level ? n->children : n->count, half = all / 2, seen = 0, counted = 0;
    enum result r = n->level ? nodes_from(t, n->level - 1, boundary_of(n), &it)
                             : piece_iter(t->e, t->subspace, boundary_of(n), slice_of(NULL, 0), 0, &it);
    if (r != RES_OK)
        return r;
    *left = *right = *n;
    struct node child = {.count = 0};
    uint8_t last[COUNTED_CUT];
    size_t last_len = 0;
    for (r = iter_seek(it, slice_of(NULL, 0)); r == RES_OK && seen < all; r = iter_next(it), seen++) {
        if (n->level && (r = node_read(it, &child)) != RES_OK)
            break;
        struct slice here = n->level ? boundary_of(&child) : cut(piece_element(it));
        if (seen >= half && seen && !slice_eq(here, slice_of(last, last_len))) {
            set_boundary(right, here);
            left->count = n->level ? counted : seen;
            right->count = n->count - left->count;
            left->children = seen;
            right->children = n->children - seen;
            break;
        }
        memcpy(last, here.data, here.len);
        last_len = here.len;
        counted += child.count;
    }
    bool found = r == RES_OK && seen < all;
    iter_close(it);
    if (found && left->count > n->count)
        return RES_CORRUPT;
    return found ? RES_OK : r == RES_OK ? RES_NOT_FOUND : r;
}

/* A level above the highest, two nodes wide. */
static enum result grow(const struct counted_tree *t)
{
    struct node all = {.level = t->state->levels}, child, left, right;
    struct iter *it;
    if (all.level == COUNTED_LEVELS)
        return RES_OK; /* the highest level just gets wider */
    enum result r = nodes_from(t, all.level - 1, slice_of(NULL, 0), &it);
    if (r != RES_OK)
        return r;
    for (r = iter_seek(it, slice_of(NULL, 0)); r == RES_OK; r = iter_next(it)) {
        if ((r = node_read(it, &child)) != RES_OK)
            break;
        all.count += child.count;
        all.children++;
    }
    iter_close(it);
    if (r != RES_NOT_FOUND)
        return r;
    r = find_middle(t, &all, &left, &right);
    if (r == RES_OK)
        r = node_put(t, &left);
    if (r == RES_OK)
        r = node_put(t, &right);
    t->state->levels++;
    t->state->top = 2;
    t->state->changed = true;
    return r == RES_NOT_FOUND ? RES_CORRUPT : r;
}

/* A node of the level below has come at this boundary, which its parent has counted already. */
static enum result new_child(const struct counted_tree *t, uint8_t level, struct slice boundary)
{
    struct node n, left, right;
    if (level == t->state->levels) {
        t->state->top++;
        t->state->changed = true;
        return t->state->top > COUNTED_FAN ? grow(t) : RES_OK;
    }
    enum result r = node_at(t, level, boundary, &n);
    if (r != RES_OK)
        return r;
    n.children++;
    if (n.children <= COUNTED_FAN)
        return node_put(t, &n);
    r = find_middle(t, &n, &left, &right);
    if (r == RES_OK)
        r = node_put(t, &left);
    if (r == RES_OK)
        r = node_put(t, &right);
    return r == RES_OK ? new_child(t, level + 1, boundary_of(&right)) : r == RES_NOT_FOUND ? RES_CORRUPT : r;
}

static enum result part_leaf(const struct counted_tree *t, const struct node *n)
{
    struct node left, right;
    enum result r = find_middle(t, n, &left, &right);
    if (r != RES_OK) /* all of one cut: it stays large */
        return r == RES_NOT_FOUND ? RES_OK : r;
    r = node_put(t, &left);
    if (r == RES_OK)
        r = node_put(t, &right);
    return r == RES_OK ? new_child(t, 1, boundary_of(&right)) : r;
}

/* ---- fewer nodes ---- */

/* The nodes at `from`, which is empty and whose descendants are, on this level and all below, become those of their right
 * neighbour, which go. */
static enum result take_over(const struct counted_tree *t, uint8_t level, struct slice from)
{
    struct node next = {.level = 0};
    struct iter *it;
    enum result r = nodes_from(t, level, from, &it);
    if (r != RES_OK)
        return r;
    r = iter_seek(it, slice_of(NULL, 0));
    if (r == RES_OK)
        r = iter_next(it);
    if (r == RES_OK)
        r = node_read(it, &next);
    iter_close(it);
    struct node gone = next;
    for (int l = level; r == RES_OK && l >= 0; l--) {
        r = node_at(t, (uint8_t)l, boundary_of(&gone), &next);
        if (r == RES_OK && !slice_eq(boundary_of(&next), boundary_of(&gone)))
            r = RES_CORRUPT;
        if (r == RES_OK)
            r = node_delete(t, (uint8_t)l, boundary_of(&gone));
        set_boundary(&next, from);
        if (r == RES_OK)
            r = node_put(t, &next);
    }
    return r == RES_NOT_FOUND ? RES_CORRUPT : r;
}

/* A leaf has become empty: it goes, with those above it that have nothing else; n is their boundary. */
static enum result drop_empty(const struct counted_tree *t, const struct node *leaf)
{
    struct node parent = *leaf;
    uint8_t level = 0;
    enum result r = RES_OK;
    for (;; level++) { /* `level` is where the empty branch begins that hangs on `parent` */
        if (level + 1 == t->state->levels)
            break;
        r = node_at(t, level + 1, boundary_of(leaf), &parent);
        if (r != RES_OK)
            return r;
        if (parent.children > 1)
            break;
    }
    bool at_top = level + 1 == t->state->levels;
    bool is_first = at_top ? leaf->len == 0 : slice_eq(boundary_of(&parent), boundary_of(leaf));
    if (at_top && t->state->top == 1)
        return RES_OK; /* the last there is */
    if (is_first)
        r = take_over(t, level, boundary_of(leaf));
    for (int l = level; !is_first && r == RES_OK && l >= 0; l--)
        r = node_delete(t, (uint8_t)l, boundary_of(leaf));
    if (r != RES_OK)
        return r;
    if (at_top) {
        t->state->top--;
        t->state->changed = true;
        return RES_OK;
    }
    parent.children--;
    return node_put(t, &parent);
}

/* ---- changes ---- */

static enum result is_counted(const struct counted_tree *t, struct slice key, bool *yes)
{
    struct slice end;
    *yes = t->state->whole;
    if (*yes)
        return RES_OK;
    enum result r = end_get(t, &end);
    *yes = r == RES_OK && slice_cmp(cut(key), end) < 0;
    return r;
}

static enum result add_to(const struct counted_tree *t, uint8_t level, struct slice key, int64_t by, struct node *n)
{
    enum result r = node_at(t, level, key, n);
    if (r != RES_OK)
        return r;
    if (by < 0 && n->count < (uint64_t)-by)
        return RES_CORRUPT;
    n->count += (uint64_t)by;
    return node_put(t, n);
}

enum result counted_change(const struct counted_tree *t, struct slice key, int by)
{
    struct node leaf, n;
    bool counted;
    if (!t->state->levels)
        return RES_OK;
    enum result r = is_counted(t, key, &counted);
    if (r != RES_OK || !counted)
        return r;
    r = add_to(t, 0, key, by, &leaf);
    for (uint8_t level = 1; r == RES_OK && level < t->state->levels; level++)
        r = add_to(t, level, key, by, &n);
    if (r == RES_OK && by > 0 && leaf.count > COUNTED_LEAF && leaf.count % LEAF_TRIES == 0)
        r = part_leaf(t, &leaf);
    if (r == RES_OK && leaf.count == 0)
        r = drop_empty(t, &leaf);
    return r;
}

/* ---- searching ---- */

/* Goes down by a test: whether to go on from a node to the next, `next` being its boundary. */
typedef bool go_on_fn(const void *arg, uint64_t before, const struct node *here, struct slice next);
static enum result descend(const struct counted_tree *t, go_on_fn *go_on, const void *arg, uint64_t *before,
                           struct node *leaf)
{
    enum result r = RES_OK;
    *before = 0;
    leaf->len = 0;
    for (int level = t->state->levels - 1; r == RES_OK && level >= 0; level--) {
        struct iter *it;
        struct node next;
        r = nodes_from(t, (uint8_t)level, boundary_of(leaf), &it);
        if (r != RES_OK)
            return r;
        r = iter_seek(it, slice_of(NULL, 0));
        r = r == RES_OK ? node_read(it, leaf) : r == RES_NOT_FOUND ? RES_CORRUPT : r;
        while (r == RES_OK && (r = iter_next(it)) == RES_OK && (r = node_read(it, &next)) == RES_OK) {
            if (!go_on(arg, *before, leaf, boundary_of(&next)))
                break;
            *before += leaf->count;
            *leaf = next;
        }
        iter_close(it);
        if (r == RES_NOT_FOUND)
            r = RES_OK;
    }
    return r;
}

static bool not_beyond(const void *arg, uint64_t before, const struct node *here, struct slice next)
{
    (void)before;
    (void)here;
    return slice_cmp(next, *(const struct slice *)arg) <= 0;
}

static bool rank_is_later(const void *arg, uint64_t before, const struct node *here, struct slice next)
{
    (void)next;
    return before + here->count <= *(const uint64_t *)arg;
}

/* What lies before the end of what is counted, if that is not beyond it. */
static enum result beyond_end(const struct counted_tree *t, struct node *leaf, uint64_t *before, uint8_t *base,
                              size_t *len)
{
    struct slice end;
    if (!t->state->whole) {
        enum result r = end_get(t, &end);
        if (r != RES_OK)
            return r;
        *before += leaf->count;
        set_boundary(leaf, end);
    }
    memcpy(base, leaf->boundary, leaf->len);
    *len = leaf->len;
    return RES_OK;
}

enum result counted_before(const struct counted_tree *t, struct slice key, uint64_t *before, uint8_t *base, size_t *len)
{
    struct node leaf;
    bool counted;
    key = cut(key);
    enum result r = is_counted(t, key, &counted);
    if (r == RES_OK)
        r = descend(t, not_beyond, &key, before, &leaf);
    if (r != RES_OK)
        return r;
    if (!counted)
        return beyond_end(t, &leaf, before, base, len);
    memcpy(base, leaf.boundary, leaf.len);
    *len = leaf.len;
    return RES_OK;
}

enum result counted_find(const struct counted_tree *t, uint64_t rank, uint64_t *before, uint8_t *base, size_t *len)
{
    struct node leaf;
    enum result r = descend(t, rank_is_later, &rank, before, &leaf);
    if (r != RES_OK)
        return r;
    if (*before + leaf.count <= rank)
        return beyond_end(t, &leaf, before, base, len);
    memcpy(base, leaf.boundary, leaf.len);
    *len = leaf.len;
    return RES_OK;
}

/* ---- building ---- */

static enum result append_leaf(const struct counted_tree *t, struct node *leaf)
{
    struct node n;
    enum result r = node_put(t, leaf);
    for (uint8_t level = 1; r == RES_OK && level < t->state->levels; level++)
        r = add_to(t, level, boundary_of(leaf), (int64_t)leaf->count, &n);
    return r == RES_OK ? new_child(t, 1, boundary_of(leaf)) : r;
}

/* Fills leaves from the iterator's place on; *next becomes the boundary of what is left, empty: nothing is. */
static enum result build_leaves(const struct counted_tree *t, struct iter *it, struct node *leaf, struct node *next)
{
    unsigned leaves = 0;
    enum result r;
    for (r = iter_seek(it, slice_of(NULL, 0)); r == RES_OK; r = iter_next(it)) {
        struct slice here = cut(piece_element(it));
        if (leaf->count >= LEAF_FILL && !slice_eq(here, boundary_of(next))) {
            if ((r = append_leaf(t, leaf)) != RES_OK)
                return r;
            leaf->count = 0;
            set_boundary(leaf, here);
            if (++leaves == STEP_LEAVES) {
                set_boundary(next, here);
                return RES_OK;
            }
        }
        set_boundary(next, here); /* the last cut seen */
        leaf->count++;
    }
    if (r != RES_NOT_FOUND)
        return r;
    next->len = 0;
    return leaf->count ? append_leaf(t, leaf) : RES_OK;
}

enum result counted_extend(const struct counted_tree *t)
{
    struct node leaf = {.level = 0}, next = {.level = 0};
    struct slice end = slice_of(NULL, 0);
    struct iter *it;
    enum result r = RES_OK;
    if (t->state->whole)
        return RES_OK;
    if (t->state->levels)
        r = end_get(t, &end);
    else
        *t->state = (struct counted){.levels = 1, .top = 0};
    if (r != RES_OK)
        return r;
    set_boundary(&leaf, end);
    r = piece_iter(t->e, t->subspace, end, slice_of(NULL, 0), 0, &it);
    if (r != RES_OK)
        return r;
    r = build_leaves(t, it, &leaf, &next);
    iter_close(it);
    if (r != RES_OK)
        return r;
    t->state->whole = next.len == 0;
    t->state->changed = true;
    return end_put(t, boundary_of(&next));
}
