/* Key directories: nodes, finding, cursors. Edits are in keydir_edit.c. */
#include "engine/keydir.h"

#include <assert.h>
#include <stdlib.h>

/* ---- nodes ---- */

static const uint8_t *ends_of(const struct keydir_node *n) { return n->body + n->count * keydir_width(n); }
static const uint8_t *text_of(const struct keydir_node *n) { return ends_of(n) + 2 * (size_t)n->count; }

static size_t end_at(const uint8_t *ends, int i)
{
    uint16_t end;
    memcpy(&end, ends + 2 * (size_t)i, 2);
    return end;
}

static struct slice rest_of(const struct keydir_node *n, int i)
{
    const uint8_t *ends = ends_of(n);
    size_t from = i ? end_at(ends, i - 1) : 0;
    return slice_of(text_of(n) + n->prefix + from, end_at(ends, i) - from);
}

size_t keydir_key(const struct keydir_node *n, int i, uint8_t *out)
{
    struct slice rest = rest_of(n, i);
    memcpy(out, text_of(n), n->prefix);
    memcpy(out + n->prefix, rest.data, rest.len);
    return n->prefix + rest.len;
}

void keydir_place_get(const struct keydir_node *n, int i, struct keydir_place *out)
{
    const uint8_t *p = n->body + (size_t)i * KEYDIR_PLACE;
    uint32_t file, low;
    memcpy(&file, p, 4);
    memcpy(&low, p + 4, 4);
    memcpy(&out->value, p + 9, 4);
    out->file = file & 0x7fffffffu;
    out->kind = file >> 31 ? RECORD_DELETE : RECORD_PUT;
    out->offset = (uint64_t)p[8] << 32 | low;
}

int keydir_search(const struct keydir_node *n, struct slice key, bool *equal)
{
    struct slice prefix = slice_of(text_of(n), n->prefix);
    struct slice start = slice_of(key.data, key.len < prefix.len ? key.len : prefix.len);
    int c = slice_cmp(start, prefix);
    *equal = false;
    if (c)
        return c < 0 ? -1 : n->count - 1;
    struct slice rest = slice_of(key.data + prefix.len, key.len - prefix.len);
    int lo = 0, hi = n->count; /* the first whose key is above */
    while (lo < hi) {
        int mid = lo + (hi - lo) / 2;
        c = slice_cmp(rest_of(n, mid), rest);
        if (c == 0) {
            *equal = true;
            return mid;
        }
        if (c < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo - 1;
}

void keydir_ref(struct keydir_node *root)
{
    if (root)
        __atomic_fetch_add(&root->refs, 1, __ATOMIC_RELAXED);
}

void keydir_unref(struct keydir_node *n, struct keydir_memory *memory)
{
    if (!n || __atomic_fetch_sub(&n->refs, 1, __ATOMIC_ACQ_REL) != 1)
        return;
    for (int i = 0; n->level && i < n->count; i++)
        keydir_unref(keydir_child(n, i), memory);
    __atomic_fetch_sub(&memory->bytes, n->size, __ATOMIC_RELAXED);
    free(n);
}

uint64_t keydir_count(const struct keydir_node *root) { return root ? root->records : 0; }

static const struct keydir_node *leaf_of(const struct keydir_node *n, struct slice key)
{
    while (n && n->level) {
        bool equal;
        int i = keydir_search(n, key, &equal);
        n = i < 0 ? NULL : keydir_child(n, i);
    }
    return n;
}

bool keydir_find(const struct keydir_node *root, struct slice key, struct keydir_place *out)
{
    bool equal;
    const struct keydir_node *leaf = leaf_of(root, key);
    int i = leaf ? keydir_search(leaf, key, &equal) : -1;
    if (i < 0 || !equal)
        return false;
    keydir_place_get(leaf, i, out);
    return true;
}

void keydir_prefetch(const struct keydir_node *root, const struct engine_key *const *keys, unsigned n)
{
    const struct keydir_node *at[ENGINE_PREFETCH_MAX];
    bool deeper = root != NULL;
    assert(n <= ENGINE_PREFETCH_MAX);
    for (unsigned i = 0; i < n; i++)
        at[i] = root;
    while (deeper) {
        deeper = false;
        for (unsigned i = 0; i < n; i++) {
            bool equal;
            int child = at[i] && at[i]->level ? keydir_search(at[i], keys[i]->bytes, &equal) : -1;
            if (child < 0)
                continue;
            at[i] = keydir_child(at[i], child);
            for (unsigned line = 0; line < 4; line++) /* header, and part of what is searched */
                __builtin_prefetch((const char *)at[i] + (size_t)line * 64);
            if (at[i]->level == 0) {
                const char *ends = (const char *)ends_of(at[i]);
                __builtin_prefetch(ends + 64);
                __builtin_prefetch(ends + 2 * (size_t)at[i]->count + at[i]->size / 4);
                at[i] = NULL;
            } else {
                deeper = true;
            }
        }
    }
}

/* ---- cursors ---- */

void keydir_cursor_init(struct keydir_cursor *c, const struct keydir_node *root)
{
    c->root = root;
    c->node[0] = NULL;
    c->key = slice_of(NULL, 0);
}

static bool stand(struct keydir_cursor *c)
{
    c->key = slice_of(c->bytes, keydir_key(c->node[0], c->at[0], c->bytes));
    keydir_place_get(c->node[0], c->at[0], &c->place);
    return true;
}

static bool nowhere(struct keydir_cursor *c)
{
    c->node[0] = NULL;
    return false;
}

/* From the node at `level` down along its border, to the first leaf below it or to the last. */
static void descend(struct keydir_cursor *c, int level, bool last)
{
    for (; level > 0; level--) {
        c->node[level - 1] = keydir_child(c->node[level], c->at[level]);
        c->at[level - 1] = last ? c->node[level - 1]->count - 1 : 0;
    }
}

static bool step(struct keydir_cursor *c, int by)
{
    int level = 0;
    while (level < c->root->level && (by > 0 ? c->at[level] + 1 >= c->node[level]->count : c->at[level] == 0))
        level++;
    c->at[level] += by;
    if (c->at[level] < 0 || c->at[level] >= c->node[level]->count)
        return nowhere(c);
    descend(c, level, by < 0);
    return stand(c);
}

bool keydir_next(struct keydir_cursor *c) { return c->node[0] ? step(c, 1) : false; }
bool keydir_prev(struct keydir_cursor *c) { return c->node[0] ? step(c, -1) : false; }

/* Stands at the last key <= target, if there is one; else at the first of all, and says so. */
static bool find_below(struct keydir_cursor *c, struct slice target, bool *equal)
{
    const struct keydir_node *n = c->root;
    *equal = false;
    for (int level = n->level;; level--) {
        int i = keydir_search(n, target, equal);
        c->node[level] = n;
        if (i < 0) {
            c->at[level] = 0;
            descend(c, level, false);
            return false;
        }
        c->at[level] = i;
        if (level == 0)
            return true;
        n = keydir_child(n, i);
    }
}

bool keydir_seek(struct keydir_cursor *c, struct slice target)
{
    bool equal;
    if (!c->root)
        return false;
    if (!find_below(c, target, &equal) || equal)
        return stand(c);
    return step(c, 1);
}

bool keydir_seek_last(struct keydir_cursor *c, struct slice target)
{
    bool equal;
    if (!c->root)
        return false;
    if (target.len == 0) {
        int top = c->root->level;
        c->node[top] = c->root;
        c->at[top] = c->root->count - 1;
        descend(c, top, true);
        return stand(c);
    }
    if (!find_below(c, target, &equal))
        return nowhere(c);
    return equal ? step(c, -1) : stand(c);
}
