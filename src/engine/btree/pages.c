/* LMDB's file without LMDB: see pages.h. */
#include "engine/btree/pages.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/hash.h"

#define MAGIC 0xbeefc0de
#define VERSION 1
#define PAGE_HEAD 16
#define NODE_HEAD 8
#define META_END 152
#define PAGE_LEAST 512
#define PAGE_MOST 65536
#define KEY_MOST 511
#define DEPTH_MOST 32 /* as LMDB has it */
#define VALUE_MOST ((uint64_t)1 << 32)
#define NO_PAGE UINT64_MAX

enum page_flags { PAGE_BRANCH = 1, PAGE_LEAF = 2, PAGE_OVERFLOW = 4, PAGE_META = 8 };
#define PAGE_KINDS 15
#define NODE_BIG 1

/* ---- pages ---- */

static enum result read_bytes(struct pages *p, uint64_t offset, uint8_t *out, size_t len)
{
    size_t got;
    enum result r = p->file->ops->pread(p->file, out, len, offset, 0, &got);
    return r != RES_OK ? r : got == len ? RES_OK : RES_CORRUPT;
}

static bool mark(struct pages *p, uint64_t page)
{
    bool fresh = !(p->seen[page / 8] & 1u << page % 8);
    p->seen[page / 8] |= (uint8_t)(1u << page % 8);
    return fresh;
}

static bool is_marked(const struct pages *p, uint64_t page) { return p->seen[page / 8] & 1u << page % 8; }

static unsigned kind_of(const uint8_t *page) { return get_le16(page + 10) & PAGE_KINDS; }

static unsigned nodes_of(const struct pages *p, const uint8_t *page)
{
    unsigned end = get_le16(page + 12), start = get_le16(page + 14);
    return end < PAGE_HEAD || end > start || start > p->page_bytes || end % 2 ? 0 : (end - PAGE_HEAD) / 2;
}

static struct pages_meta parse_meta(const uint8_t *page, uint64_t number)
{
    struct pages_meta m = {
        .page_bytes = get_le32(page + 40),
        .free_root = get_le64(page + 40 + 40),
        .records = get_le64(page + 88 + 32),
        .root = get_le64(page + 88 + 40),
        .last_page = get_le64(page + 136),
        .transaction = get_le64(page + 144),
    };
    m.holds = get_le64(page) == number && kind_of(page) == PAGE_META && get_le32(page + 16) == MAGIC &&
              get_le32(page + 20) == VERSION && m.page_bytes >= PAGE_LEAST && m.page_bytes <= PAGE_MOST &&
              (m.page_bytes & (m.page_bytes - 1)) == 0 && m.last_page < UINT64_MAX / PAGE_MOST;
    return m;
}

/* The second meta lies behind the first, whose size it tells itself when the first does not. */
static void read_metas(struct pages *p)
{
    uint8_t page[META_END];
    if (read_bytes(p, 0, page, sizeof page) == RES_OK)
        p->meta[0] = parse_meta(page, 0);
    uint32_t least = p->meta[0].holds ? p->meta[0].page_bytes : PAGE_LEAST;
    uint32_t most = p->meta[0].holds ? p->meta[0].page_bytes : PAGE_MOST;
    for (uint32_t at = least; at <= most && !p->meta[1].holds; at *= 2)
        if (read_bytes(p, at, page, sizeof page) == RES_OK) {
            p->meta[1] = parse_meta(page, 1);
            p->meta[1].holds = p->meta[1].holds && p->meta[1].page_bytes == at;
        }
}

enum result pages_open(struct pages *p, struct env *env, const char *path, struct errmsg *msg)
{
    *p = (struct pages){.newest = 0};
    enum result r = env->ops->open(env, path, ENV_READ, &p->file);
    if (r != RES_OK) {
        p->file = NULL;
        return errmsg_set(msg, r, "%s cannot be opened: %s", path, result_text(r));
    }
    if ((r = p->file->ops->size(p->file, &p->size)) != RES_OK) {
        pages_close(p);
        return errmsg_set(msg, r, "%s cannot be read: %s", path, result_text(r));
    }
    read_metas(p);
    if (!p->meta[0].holds && !p->meta[1].holds) {
        pages_close(p);
        return errmsg_set(msg, RES_CORRUPT,
                          "%s: neither of its first two pages holds, and nothing else tells which pages count", path);
    }
    p->newest = !p->meta[0].holds || (p->meta[1].holds && p->meta[1].transaction > p->meta[0].transaction);
    p->page_bytes = p->meta[p->newest].page_bytes;
    return RES_OK;
}

void pages_close(struct pages *p)
{
    if (p->file)
        (void)!p->file->ops->close(p->file); /* only read */
    free(p->seen);
    *p = (struct pages){.newest = 0};
}

/* ---- walking ---- */

struct walk {
    struct pages *p;
    const struct pages_visitor *v;
    uint64_t last_page;
    uint8_t *big; /* a value in overflow pages */
    size_t big_room;
};

static void fault(const struct walk *w, uint64_t page, bool whole, const char *what)
{
    if (w->v->fault)
        w->v->fault(w->v->arg, page, whole, what);
}

/* A node: NULL when it is not all inside of its page. */
static const uint8_t *node_at(const struct walk *w, const uint8_t *page, unsigned i, struct slice *key)
{
    unsigned at = get_le16(page + PAGE_HEAD + 2 * i), size = w->p->page_bytes;
    if (at < PAGE_HEAD || at > size - NODE_HEAD)
        return NULL;
    unsigned len = get_le16(page + at + 6);
    if (len > KEY_MOST || len > size - NODE_HEAD - at)
        return NULL;
    *key = slice_of(page + at + NODE_HEAD, len);
    return page + at;
}

/* The value in the pages from `first` on. */
static enum result big_value(struct walk *w, uint64_t first, uint64_t len, struct slice *out, const char **why)
{
    struct pages *p = w->p;
    uint8_t head[PAGE_HEAD];
    uint64_t pages = (PAGE_HEAD + len + p->page_bytes - 1) / p->page_bytes;
    *why = "its value's pages are none of this file";
    if (len > VALUE_MOST || first < 2 || first > w->last_page || pages > w->last_page - first + 1)
        return RES_CORRUPT;
    *why = "its value's pages cannot be read";
    enum result r = read_bytes(p, first * p->page_bytes, head, sizeof head);
    if (r != RES_OK)
        return r;
    *why = "its value's pages are those of something else";
    if (get_le64(head) != first || kind_of(head) != PAGE_OVERFLOW || get_le32(head + 12) < pages)
        return RES_CORRUPT;
    for (uint64_t i = 0; i < pages; i++)
        if (!mark(p, first + i))
            return RES_CORRUPT;
    if (w->big_room < len) {
        uint8_t *more = realloc(w->big, (size_t)len);
        if (!more)
            return RES_NO_MEMORY;
        w->big = more;
        w->big_room = (size_t)len;
    }
    *why = "its value's pages cannot be read";
    r = read_bytes(p, first * p->page_bytes + PAGE_HEAD, w->big, (size_t)len);
    *out = slice_of(w->big, (size_t)len);
    return r;
}

static enum result visit_leaf(struct walk *w, const uint8_t *page, uint64_t number)
{
    enum result r = RES_OK;
    for (unsigned i = 0, n = nodes_of(w->p, page); r == RES_OK && i < n; i++) {
        struct slice key, value;
        const char *why = "a node reaches beyond its page";
        const uint8_t *node = node_at(w, page, i, &key);
        uint64_t len = node ? get_le16(node) | (uint32_t)get_le16(node + 2) << 16 : 0;
        size_t room = node ? (size_t)(page + w->p->page_bytes - (key.data + key.len)) : 0;
        bool big = node && get_le16(node + 4) == NODE_BIG, good = false;
        if (big && room >= 8) {
            r = big_value(w, get_le64(key.data + key.len), len, &value, &why);
            if (r == RES_NO_MEMORY)
                return r;
            good = r == RES_OK;
        } else if (node && !big && get_le16(node + 4) == 0 && len <= room) {
            value = slice_of(key.data + key.len, (size_t)len);
            good = true;
        }
        r = RES_OK;
        if (good)
            r = w->v->record(w->v->arg, number, key, value);
        else
            fault(w, number, false, why);
    }
    return r;
}

static enum result visit(struct walk *w, uint64_t number, int depth);

static enum result visit_branch(struct walk *w, const uint8_t *page, uint64_t number, int depth)
{
    enum result r = RES_OK;
    for (unsigned i = 0, n = nodes_of(w->p, page); r == RES_OK && i < n; i++) {
        struct slice key;
        const uint8_t *node = node_at(w, page, i, &key);
        if (node)
            r = visit(w, get_le16(node) | (uint64_t)get_le16(node + 2) << 16 | (uint64_t)get_le16(node + 4) << 32,
                      depth + 1);
        else
            fault(w, number, true, "a node reaches beyond its page");
    }
    return r;
}

/* What makes a page one of the tree; NULL: it is. */
static const char *refuse(const struct walk *w, uint64_t number, const uint8_t *page, int depth)
{
    if (get_le64(page) != number)
        return "it has another page's number";
    if (kind_of(page) != PAGE_LEAF && kind_of(page) != PAGE_BRANCH)
        return "it is neither branch nor leaf";
    if (nodes_of(w->p, page) == 0)
        return "it has no nodes";
    return depth > DEPTH_MOST ? "it lies too deep" : NULL;
}

static enum result visit(struct walk *w, uint64_t number, int depth)
{
    const struct pages *p = w->p;
    if (number < 2 || number > w->last_page) {
        fault(w, number, true, "there is no such page");
        return RES_OK;
    }
    if (!mark(w->p, number)) {
        fault(w, number, true, "two places lead to it");
        return RES_OK;
    }
    uint8_t *page = malloc(p->page_bytes);
    if (!page)
        return RES_NO_MEMORY;
    enum result r = read_bytes(w->p, number * p->page_bytes, page, p->page_bytes);
    const char *why = r != RES_OK ? result_text(r) : refuse(w, number, page, depth);
    if (why) {
        fault(w, number, true, r == RES_CORRUPT ? "the file ends before it" : why);
        free(page);
        return RES_OK;
    }
    bool leaf = kind_of(page) == PAGE_LEAF;
    if (w->v->page)
        w->v->page(w->v->arg, number, leaf, nodes_of(p, page));
    r = leaf ? visit_leaf(w, page, number) : visit_branch(w, page, number, depth);
    free(page);
    return r;
}

static enum result begin(struct walk *w, struct pages *p, const struct pages_meta *meta, const struct pages_visitor *v)
{
    /* what a damaged meta says may be far beyond the file: pages there cannot be read, but are told */
    uint64_t most = p->size / p->page_bytes + ((uint64_t)1 << 20);
    *w = (struct walk){.p = p, .v = v, .last_page = meta->last_page < most ? meta->last_page : most};
    free(p->seen);
    p->seen = calloc((size_t)(w->last_page / 8 + 1), 1);
    return p->seen ? RES_OK : RES_NO_MEMORY;
}

enum result pages_walk(struct pages *p, const struct pages_meta *meta, const struct pages_visitor *v)
{
    struct walk w;
    enum result r = begin(&w, p, meta, v);
    if (r == RES_OK && meta->root != NO_PAGE)
        r = visit(&w, meta->root, 0);
    free(w.big);
    return r;
}

/* ---- orphans ---- */

static enum result note_free(void *arg, uint64_t page, struct slice key, struct slice value)
{
    struct walk *w = arg;
    (void)page;
    uint64_t n = value.len >= 8 ? get_le64(value.data) : 0;
    if (key.len != 8 || n > value.len / 8 - (value.len >= 8))
        return RES_OK;
    for (uint64_t i = 1; i <= n; i++) {
        uint64_t free_page = get_le64(value.data + 8 * i);
        if (free_page >= 2 && free_page <= w->last_page)
            (void)mark(w->p, free_page);
    }
    return RES_OK;
}

enum result pages_walk_orphans(struct pages *p, const struct pages_meta *meta, const struct pages_visitor *v)
{
    struct walk w = {.p = p, .v = v, .last_page = meta->last_page}, free_walk = w;
    struct pages_visitor free_visitor = {.arg = &w, .record = note_free};
    if (p->size / p->page_bytes <= w.last_page)
        w.last_page = p->size / p->page_bytes ? p->size / p->page_bytes - 1 : 0;
    free_walk.last_page = w.last_page;
    free_walk.v = &free_visitor;
    enum result r = meta->free_root == NO_PAGE ? RES_OK : visit(&free_walk, meta->free_root, 0);
    uint8_t *page = malloc(p->page_bytes);
    if (!page)
        r = RES_NO_MEMORY;
    for (uint64_t i = 2; r == RES_OK && i <= w.last_page; i++) {
        if (is_marked(p, i) || read_bytes(p, i * p->page_bytes, page, p->page_bytes) != RES_OK)
            continue;
        if (get_le64(page) == i && kind_of(page) == PAGE_LEAF && nodes_of(p, page)) {
            (void)mark(p, i);
            if (v->page)
                v->page(v->arg, i, true, nodes_of(p, page));
            r = visit_leaf(&w, page, i);
        }
    }
    free(page);
    free(w.big);
    free(free_walk.big);
    return r;
}

/* ---- records ---- */

#define BOUNDARY_HEAD 24

const struct slice btree_boundary_key = {(const uint8_t *)"\0boundary", 9};

bool btree_stored_value(struct slice key, struct slice stored, struct slice *value)
{
    if (stored.len < 4)
        return false;
    *value = slice_of(stored.data + 4, stored.len - 4);
    return get_le32(stored.data) == checksum32(value->data, value->len, hash_content(key.data, key.len));
}

bool btree_boundary_parse(struct slice stored, struct btree_boundary *out)
{
    const uint8_t *p = stored.data;
    if (stored.len < BOUNDARY_HEAD || get_le32(p) != checksum32(p + 4, stored.len - 4, 0))
        return false;
    *out = (struct btree_boundary){get_le32(p + 4), get_le64(p + 8), get_le64(p + 16),
                                   slice_of(p + BOUNDARY_HEAD, stored.len - BOUNDARY_HEAD)};
    return true;
}
