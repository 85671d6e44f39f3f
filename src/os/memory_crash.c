/* What a disk may hold after the power failed: the durable state, plus a choice among the changes that were not synced.
 *
 * A third of the mixtures keep all changes up to some moment, across all files and directories (a file system with an
 * ordered journal), the change after it torn. In the others every file chooses for itself, so that files are reordered
 * against each other, and names are kept or dropped one by one. */
#include <assert.h>
#include <stdlib.h>

#include "base/hash.h"
#include "os/memory_fs.h"

#define SECTOR 512

enum crash_mode { CRASH_ALL, CRASH_NONE, CRASH_PREFIX, CRASH_MIXED };

struct crash {
    struct fs *fs, *out;
    enum crash_mode mode;
    uint64_t random;
    uint64_t until;            /* CRASH_PREFIX: the last change that is kept whole */
    struct fs_names *names;    /* by node id: the entries of directories in the image */
    struct fs_node **new_node; /* by node id: for hard links */
};

static uint64_t below(struct crash *c, uint64_t n) { return fs_random(&c->random) % n; }

/* ---- names ---------------------------------------------------------------------------------------------------- */

static bool *choose_names(struct crash *c)
{
    struct fs *fs = c->fs;
    bool *keep = calloc(fs->pendings + 1, sizeof *keep);
    /* One by one, or as a prefix of all that is pending; most often nearly everything or nearly nothing is there. */
    bool prefix = below(c, 3) == 0;
    uint64_t kept = below(c, fs->pendings + 1), percent = below(c, 101);

    if (!keep)
        return NULL;
    for (size_t i = 0; i < fs->pendings; i++) {
        struct fs_name_change *change = &fs->pending[i];
        if (c->mode == CRASH_MIXED)
            keep[i] = prefix ? i < kept : below(c, 100) < percent;
        else if (c->mode == CRASH_PREFIX)
            keep[i] = change->number <= c->until;
        else
            keep[i] = c->mode == CRASH_ALL;
        for (size_t k = 0; k < i && keep[i]; k++)
            keep[i] = keep[k] || !fs_name_needs(change, &fs->pending[k]);
    }
    return keep;
}

static void image_remove(struct fs_names *n, const char *name)
{
    for (size_t i = 0; i < n->count; i++)
        if (strcmp(n->entry[i].name, name) == 0) {
            n->entry[i] = n->entry[--n->count];
            return;
        }
}

/* Entries in an image borrow their names and nodes. */
static bool image_add(struct fs_names *n, char *name, struct fs_node *node)
{
    image_remove(n, name);
    if (n->count == n->cap) {
        size_t cap = n->cap ? n->cap * 2 : 8;
        struct fs_entry *entry = realloc(n->entry, cap * sizeof *entry);
        if (!entry)
            return false;
        n->entry = entry;
        n->cap = cap;
    }
    n->entry[n->count++] = (struct fs_entry){name, node};
    return true;
}

static bool image_names(struct crash *c, const bool *keep)
{
    struct fs *fs = c->fs;

    for (uint64_t id = 0; id < fs->ids; id++) {
        struct fs_names *durable = fs->by_id[id] ? &fs->by_id[id]->durable_names : NULL;
        for (size_t i = 0; durable && i < durable->count; i++)
            if (!image_add(&c->names[id], durable->entry[i].name, durable->entry[i].node))
                return false;
    }
    for (size_t i = 0; i < fs->pendings; i++) {
        struct fs_name_change *change = &fs->pending[i];
        if (!keep[i])
            continue;
        if (change->kind != FS_NAME_ADD)
            image_remove(&c->names[change->dir->id], change->name);
        if (change->kind == FS_NAME_ADD && !image_add(&c->names[change->dir->id], change->name, change->node))
            return false;
        if (change->kind == FS_NAME_MOVE && !image_add(&c->names[change->dir2->id], change->name2, change->node))
            return false;
    }
    return true;
}

/* ---- content -------------------------------------------------------------------------------------------------- */

static enum result put(struct fs_bytes *to, const struct fs_change *change)
{
    return change->data ? fs_bytes_write(to, change->at, change->data->bytes, change->data->len)
                        : fs_bytes_resize(to, change->at);
}

/* A part of a write, cut at any byte or at a sector's end. */
static enum result put_torn(struct crash *c, struct fs_bytes *to, const struct fs_change *change)
{
    if (!change->data || change->data->len == 0)
        return RES_OK;
    uint64_t cut = below(c, change->data->len);
    if (below(c, 3) == 0) {
        uint64_t end = (change->at + cut) / SECTOR * SECTOR;
        cut = end > change->at ? end - change->at : 0;
    }
    return fs_bytes_write(to, change->at, change->data->bytes, (size_t)cut);
}

/* Sectors reach the disk in any order; where the file has grown, those that did not are zeros. */
static enum result put_scattered(struct crash *c, struct fs_bytes *to, const struct fs_change *change, uint64_t percent)
{
    if (!change->data)
        return put(to, change);
    uint64_t at = change->at, end = at + change->data->len;
    while (at < end) {
        uint64_t next = (at / SECTOR + 1) * SECTOR < end ? (at / SECTOR + 1) * SECTOR : end;
        if (below(c, 100) < percent) {
            enum result r = fs_bytes_write(to, at, change->data->bytes + (at - change->at), (size_t)(next - at));
            if (r != RES_OK)
                return r;
        }
        at = next;
    }
    return RES_OK;
}

static enum result put_prefix(struct crash *c, struct fs_bytes *to, const struct fs_node *node, size_t n, bool torn)
{
    enum result r = RES_OK;
    for (size_t i = 0; i < n && r == RES_OK; i++)
        r = put(to, &node->change[i]);
    if (r == RES_OK && torn && n < node->changes)
        r = put_torn(c, to, &node->change[n]);
    return r;
}

static enum result put_content(struct crash *c, struct fs_bytes *to, const struct fs_node *node)
{
    enum result r = fs_bytes_write(to, 0, node->durable.data, (size_t)node->durable.len);
    size_t n = 0;

    if (r != RES_OK || node->changes == 0)
        return r;
    switch (c->mode) {
    case CRASH_ALL:
        return put_prefix(c, to, node, node->changes, false);
    case CRASH_NONE:
        return RES_OK;
    case CRASH_PREFIX:
        while (n < node->changes && node->change[n].number <= c->until)
            n++;
        return put_prefix(c, to, node, n, n < node->changes && node->change[n].number == c->until + 1);
    case CRASH_MIXED:
        break;
    }
    switch (below(c, 5)) {
    case 0:
        return put_prefix(c, to, node, node->changes, false);
    case 1:
        return RES_OK;
    case 2: {
        uint64_t percent = below(c, 101);
        n = below(c, node->changes) + 1;
        for (size_t i = 0; i < n && r == RES_OK; i++)
            r = put_scattered(c, to, &node->change[i], percent);
        return r;
    }
    default:
        return put_prefix(c, to, node, below(c, node->changes), true);
    }
}

/* ---- the image ------------------------------------------------------------------------------------------------ */

static enum result build(struct crash *c, const struct fs_names *names, struct fs_node *dir)
{
    for (size_t i = 0; i < names->count; i++) {
        struct fs_node *old = names->entry[i].node;
        struct fs_node *known = c->new_node[old->id];
        struct fs_node *node = fs_plant(c->out, dir, names->entry[i].name, known, old->is_dir);
        enum result r = RES_OK;
        if (known)
            continue;
        c->new_node[old->id] = node;
        if (old->is_dir) {
            r = build(c, &c->names[old->id], node);
        } else {
            r = put_content(c, &node->durable, old);
            if (r == RES_OK && !c->out->replay)
                r = fs_bytes_write(&node->now, 0, node->durable.data, (size_t)node->durable.len);
            c->out->used += node->now.len;
        }
        if (r != RES_OK)
            return r;
    }
    return RES_OK;
}

enum result fs_crash(struct fs *fs, uint64_t seed, struct fs *out)
{
    struct crash c = {.fs = fs, .out = out, .random = hash_mix(seed) ^ hash_mix(fs->number + 1)};
    enum result r = RES_NO_MEMORY;
    bool *keep = NULL;

    assert(fs->durability && out->durability);
    c.mode = seed == 0 ? CRASH_ALL : seed == 1 ? CRASH_NONE : below(&c, 3) == 0 ? CRASH_PREFIX : CRASH_MIXED;
    if (c.mode == CRASH_PREFIX) {
        /* Between the oldest unsynced change and now. */
        uint64_t oldest = fs->pendings ? fs->pending[0].number : fs->number;
        for (uint64_t id = 0; id < fs->ids; id++)
            if (fs->by_id[id] && fs->by_id[id]->changes && fs->by_id[id]->change[0].number < oldest)
                oldest = fs->by_id[id]->change[0].number;
        c.until = oldest ? oldest - 1 + below(&c, fs->number - oldest + 2) : 0;
    }
    c.names = calloc(fs->ids, sizeof *c.names);
    c.new_node = calloc(fs->ids, sizeof(struct fs_node *));
    if (c.names && c.new_node && (keep = choose_names(&c)) != NULL && image_names(&c, keep))
        r = build(&c, &c.names[fs->root->id], out->root);
    for (uint64_t id = 0; c.names && id < fs->ids; id++)
        free(c.names[id].entry);
    free(c.names);
    free(c.new_node);
    free(keep);
    return r;
}
