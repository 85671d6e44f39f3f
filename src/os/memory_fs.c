/* Files and directories of the in-memory environment: see memory_fs.h for the rules. */
#include "os/memory_fs.h"

#include <assert.h>
#include <stdlib.h>

#include "base/hash.h"

/* For what is small and ours. What a file's size decides is allocated with a failure that is handled. */
static void *must(void *p)
{
    assert(p);
    return p;
}

uint64_t fs_random(uint64_t *state) { return hash_mix(*state += 0x9e3779b97f4a7c15u); }

/* ---- bytes ---------------------------------------------------------------------------------------------------- */

enum result fs_bytes_resize(struct fs_bytes *b, uint64_t len)
{
    if (len > b->cap) {
        uint64_t cap = b->cap * 2 > len ? b->cap * 2 : len;
        uint8_t *data = cap <= (uint64_t)1 << 40 ? realloc(b->data, (size_t)cap) : NULL;
        if (!data)
            return RES_NO_MEMORY;
        b->data = data;
        b->cap = cap;
    }
    if (len > b->len)
        memset(b->data + b->len, 0, (size_t)(len - b->len));
    b->len = len;
    return RES_OK;
}

enum result fs_bytes_write(struct fs_bytes *b, uint64_t at, const uint8_t *data, size_t len)
{
    if (at + len > b->len) {
        enum result r = fs_bytes_resize(b, at + len);
        if (r != RES_OK)
            return r;
    }
    if (len)
        memcpy(b->data + at, data, len);
    return RES_OK;
}

static void bytes_fini(struct fs_bytes *b)
{
    free(b->data);
    *b = (struct fs_bytes){0};
}

struct fs_blob *fs_blob_new(size_t len)
{
    struct fs_blob *blob = malloc(sizeof *blob + len);
    if (blob) {
        blob->refs = 1;
        blob->len = len;
    }
    return blob;
}

void fs_blob_unref(struct fs_blob *blob)
{
    if (blob && --blob->refs == 0)
        free(blob);
}

/* ---- names ---------------------------------------------------------------------------------------------------- */

static size_t names_index(const struct fs_names *n, struct slice name)
{
    for (size_t i = 0; i < n->count; i++)
        if (slice_eq(slice_str(n->entry[i].name), name))
            return i;
    return SIZE_MAX;
}

struct fs_node *fs_names_get(const struct fs_names *n, struct slice name)
{
    size_t i = names_index(n, name);
    return i == SIZE_MAX ? NULL : n->entry[i].node;
}

/* Takes a reference on node; gives back the node that had the name, with its reference, or NULL. */
static struct fs_node *names_set(struct fs_names *n, const char *name, struct fs_node *node)
{
    size_t i = names_index(n, slice_str(name));
    struct fs_node *old = NULL;

    node->refs++;
    if (i != SIZE_MAX) {
        old = n->entry[i].node;
        n->entry[i].node = node;
        return old;
    }
    if (n->count == n->cap) {
        n->cap = n->cap ? n->cap * 2 : 8;
        n->entry = must(realloc(n->entry, n->cap * sizeof *n->entry));
    }
    n->entry[n->count++] = (struct fs_entry){must(strdup(name)), node};
    return NULL;
}

static struct fs_node *names_remove(struct fs_names *n, const char *name)
{
    size_t i = names_index(n, slice_str(name));
    if (i == SIZE_MAX)
        return NULL;
    struct fs_node *old = n->entry[i].node;
    free(n->entry[i].name);
    n->count--;
    memmove(&n->entry[i], &n->entry[i + 1], (n->count - i) * sizeof *n->entry);
    return old;
}

static void names_fini(struct fs *fs, struct fs_names *n)
{
    while (n->count) {
        struct fs_entry e = n->entry[--n->count];
        free(e.name);
        fs_node_unref(fs, e.node);
    }
    free(n->entry);
    *n = (struct fs_names){0};
}

/* ---- nodes ---------------------------------------------------------------------------------------------------- */

static struct fs_node *node_new(struct fs *fs, bool is_dir)
{
    struct fs_node *node = must(calloc(1, sizeof *node));
    if ((fs->ids & (fs->ids - 1)) == 0) /* doubles at every power of two */
        fs->by_id = must(realloc(fs->by_id, (fs->ids ? fs->ids * 2 : 1) * sizeof(struct fs_node *)));
    node->id = fs->ids;
    node->is_dir = is_dir;
    fs->by_id[fs->ids++] = node;
    return node;
}

static void changes_clear(struct fs_node *node)
{
    for (size_t i = 0; i < node->changes; i++)
        fs_blob_unref(node->change[i].data);
    node->changes = 0;
}

void fs_node_unref(struct fs *fs, struct fs_node *node)
{
    if (!node || --node->refs)
        return;
    fs->by_id[node->id] = NULL;
    changes_clear(node);
    free(node->change);
    bytes_fini(&node->now);
    bytes_fini(&node->durable);
    names_fini(fs, &node->names);
    names_fini(fs, &node->durable_names);
    free(node->warm);
    free(node);
}

void fs_node_alive(struct fs *fs, struct fs_node *node)
{
    if (node->links == 0 && node->handles == 0) {
        fs->used -= node->now.len;
        bytes_fini(&node->now);
    }
}

struct fs_node *fs_plant(struct fs *fs, struct fs_node *dir, const char *name, struct fs_node *node, bool is_dir)
{
    if (!node)
        node = node_new(fs, is_dir);
    node->links++;
    struct fs_node *old = names_set(&dir->names, name, node);
    assert(!old);
    if (fs->durability) {
        old = names_set(&dir->durable_names, name, node);
        assert(!old);
    }
    return node;
}

void fs_init(struct fs *fs, uint64_t seed, bool durability, bool replay)
{
    *fs = (struct fs){.seed = seed, .durability = durability, .replay = replay, .limit = UINT64_MAX};
    fs->root = node_new(fs, true);
    fs->root->refs = fs->root->links = 1;
}

static void name_change_fini(struct fs *fs, struct fs_name_change *c)
{
    fs_node_unref(fs, c->dir);
    fs_node_unref(fs, c->dir2);
    fs_node_unref(fs, c->node);
    free(c->name);
    free(c->name2);
}

void fs_fini(struct fs *fs)
{
    for (size_t i = 0; i < fs->pendings; i++)
        name_change_fini(fs, &fs->pending[i]);
    free(fs->pending);
    fs_node_unref(fs, fs->root);
    for (uint64_t i = 0; i < fs->ids; i++)
        assert(!fs->by_id[i]); /* rule 2 */
    free(fs->by_id);
}

/* ---- paths ---------------------------------------------------------------------------------------------------- */

/* Takes the next component off *path; empty at the end. */
static struct slice component(const char **path)
{
    for (;;) {
        while (**path == '/')
            (*path)++;
        const char *start = *path;
        while (**path && **path != '/')
            (*path)++;
        struct slice c = slice_of(start, (size_t)(*path - start));
        if (c.len == 1 && c.data[0] == '.')
            continue;
        return c;
    }
}

/* The directory of the last component, and that. RES_INVALID for a path without one. */
static enum result find_parent(struct fs *fs, const char *path, struct fs_node **dir, char *name, size_t room)
{
    struct fs_node *at = fs->root;
    struct slice c = component(&path);

    if (c.len == 0)
        return RES_INVALID;
    for (;;) {
        struct slice next = component(&path);
        if (next.len == 0)
            break;
        at = fs_names_get(&at->names, c);
        if (!at)
            return RES_NOT_FOUND;
        if (!at->is_dir)
            return RES_INVALID;
        c = next;
    }
    if (c.len >= room || (c.len == 2 && memcmp(c.data, "..", 2) == 0))
        return RES_INVALID;
    memcpy(name, c.data, c.len);
    name[c.len] = 0;
    *dir = at;
    return RES_OK;
}

struct fs_node *fs_find(struct fs *fs, const char *path)
{
    struct fs_node *at = fs->root;
    for (;;) {
        struct slice c = component(&path);
        if (c.len == 0)
            return at;
        at = at->is_dir ? fs_names_get(&at->names, c) : NULL;
        if (!at)
            return NULL;
    }
}

/* ---- changes of names ----------------------------------------------------------------------------------------- */

#define NAME_ROOM 256

static char *name_copy(const char *name) { return name ? must(strdup(name)) : NULL; }

static void pending_add(struct fs *fs, enum fs_name_kind kind, struct fs_node *node, struct fs_node *dir,
                        const char *name, struct fs_node *dir2, const char *name2)
{
    fs->number++;
    if (!fs->durability)
        return;
    if (fs->pendings == fs->pending_cap) {
        fs->pending_cap = fs->pending_cap ? fs->pending_cap * 2 : 16;
        fs->pending = must(realloc(fs->pending, fs->pending_cap * sizeof *fs->pending));
    }
    node->refs++;
    dir->refs++;
    if (dir2)
        dir2->refs++;
    fs->pending[fs->pendings++] =
        (struct fs_name_change){fs->number, kind, dir, dir2, name_copy(name), name_copy(name2), node};
}

static void link_present(struct fs *fs, struct fs_node *dir, const char *name, struct fs_node *node)
{
    node->links++;
    struct fs_node *old = names_set(&dir->names, name, node);
    if (old) {
        old->links--;
        fs_node_alive(fs, old);
        fs_node_unref(fs, old);
    }
}

static void unlink_present(struct fs *fs, struct fs_node *dir, const char *name)
{
    struct fs_node *old = names_remove(&dir->names, name);
    assert(old);
    old->links--;
    fs_node_alive(fs, old);
    fs_node_unref(fs, old);
}

static enum result apply_create(struct fs *fs, const char *path, bool is_dir)
{
    struct fs_node *dir;
    char name[NAME_ROOM];
    enum result r = find_parent(fs, path, &dir, name, sizeof name);

    if (r != RES_OK)
        return r;
    if (fs_names_get(&dir->names, slice_str(name)))
        return RES_EXISTS;
    struct fs_node *node = node_new(fs, is_dir);
    link_present(fs, dir, name, node);
    pending_add(fs, FS_NAME_ADD, node, dir, name, NULL, NULL);
    return RES_OK;
}

static enum result apply_remove(struct fs *fs, const char *path, bool is_dir)
{
    struct fs_node *dir;
    char name[NAME_ROOM];
    enum result r = find_parent(fs, path, &dir, name, sizeof name);

    if (r != RES_OK)
        return r;
    struct fs_node *node = fs_names_get(&dir->names, slice_str(name));
    if (!node)
        return RES_NOT_FOUND;
    if (node->is_dir != is_dir)
        return RES_INVALID;
    if (node->names.count)
        return RES_EXISTS;
    pending_add(fs, FS_NAME_REMOVE, node, dir, name, NULL, NULL);
    unlink_present(fs, dir, name);
    return RES_OK;
}

static bool is_below(const struct fs_node *node, const struct fs_node *dir)
{
    if (node == dir)
        return true;
    for (size_t i = 0; i < dir->names.count; i++)
        if (dir->names.entry[i].node->is_dir && is_below(node, dir->names.entry[i].node))
            return true;
    return false;
}

static enum result apply_move(struct fs *fs, const char *from, const char *to, bool keep_old)
{
    struct fs_node *dir, *dir2;
    char name[NAME_ROOM], name2[NAME_ROOM];
    enum result r = find_parent(fs, from, &dir, name, sizeof name);

    if (r == RES_OK)
        r = find_parent(fs, to, &dir2, name2, sizeof name2);
    if (r != RES_OK)
        return r;
    struct fs_node *node = fs_names_get(&dir->names, slice_str(name));
    struct fs_node *target = fs_names_get(&dir2->names, slice_str(name2));
    if (!node)
        return RES_NOT_FOUND;
    if (keep_old) {
        if (target)
            return RES_EXISTS;
        if (node->is_dir)
            return RES_NO_ACCESS;
        link_present(fs, dir2, name2, node);
        pending_add(fs, FS_NAME_ADD, node, dir2, name2, NULL, NULL);
        return RES_OK;
    }
    if (target == node) { /* as POSIX has it: nothing happens */
        fs->number++;
        return RES_OK;
    }
    if (target && (target->is_dir != node->is_dir))
        return RES_INVALID;
    if (target && target->names.count)
        return RES_EXISTS;
    if (node->is_dir && is_below(dir2, node))
        return RES_INVALID;
    pending_add(fs, FS_NAME_MOVE, node, dir, name, dir2, name2);
    link_present(fs, dir2, name2, node);
    unlink_present(fs, dir, name);
    return RES_OK;
}

static void name_change_durable(struct fs *fs, const struct fs_name_change *c)
{
    if (c->kind != FS_NAME_ADD)
        fs_node_unref(fs, names_remove(&c->dir->durable_names, c->name));
    if (c->kind == FS_NAME_ADD)
        fs_node_unref(fs, names_set(&c->dir->durable_names, c->name, c->node));
    else if (c->kind == FS_NAME_MOVE)
        fs_node_unref(fs, names_set(&c->dir2->durable_names, c->name2, c->node));
}

static bool same_name(const struct fs_node *dir, const char *name, const struct fs_node *dir2, const char *name2)
{
    return dir && dir == dir2 && strcmp(name, name2) == 0;
}

bool fs_name_needs(const struct fs_name_change *later, const struct fs_name_change *earlier)
{
    const struct fs_name_change *a = earlier, *b = later;
    return same_name(a->dir, a->name, b->dir, b->name) || same_name(a->dir, a->name, b->dir2, b->name2) ||
           same_name(a->dir2, a->name2, b->dir, b->name) || same_name(a->dir2, a->name2, b->dir2, b->name2) ||
           (b->kind == FS_NAME_MOVE && a->node == b->dir2);
}

/* All changes in this directory become durable, and with each the earlier ones it needs. */
static enum result apply_sync_dir(struct fs *fs, const char *path)
{
    struct fs_node *dir = fs_find(fs, path);

    if (!dir)
        return RES_NOT_FOUND;
    if (!dir->is_dir)
        return RES_INVALID;
    fs->number++;
    bool *take = must(calloc(fs->pendings + 1, sizeof *take));
    for (size_t i = fs->pendings; i-- > 0;) {
        struct fs_name_change *c = &fs->pending[i];
        take[i] = c->dir == dir || c->dir2 == dir;
        for (size_t later = i + 1; later < fs->pendings && !take[i]; later++)
            take[i] = take[later] && fs_name_needs(&fs->pending[later], c);
    }
    size_t left = 0;
    for (size_t i = 0; i < fs->pendings; i++)
        if (take[i]) {
            name_change_durable(fs, &fs->pending[i]);
            name_change_fini(fs, &fs->pending[i]);
        } else {
            fs->pending[left++] = fs->pending[i];
        }
    fs->pendings = left;
    free(take);
    return RES_OK;
}

/* ---- changes of content --------------------------------------------------------------------------------------- */

static enum result change_durable(struct fs_node *node, const struct fs_change *c)
{
    return c->data ? fs_bytes_write(&node->durable, c->at, c->data->bytes, c->data->len)
                   : fs_bytes_resize(&node->durable, c->at);
}

static enum result changes_room(struct fs_node *node)
{
    if (node->changes < node->change_cap)
        return RES_OK;
    size_t cap = node->change_cap ? node->change_cap * 2 : 8;
    struct fs_change *change = realloc(node->change, cap * sizeof *change);
    if (!change)
        return RES_NO_MEMORY;
    node->change = change;
    node->change_cap = cap;
    return RES_OK;
}

/* A write (data) or a change of size (no data). */
static enum result apply_content(struct fs *fs, struct fs_node *node, uint64_t at, struct fs_blob *data)
{
    uint64_t before = node->now.len;
    enum result r = fs->durability ? changes_room(node) : RES_OK;

    if (r == RES_OK && !fs->replay)
        r = data ? fs_bytes_write(&node->now, at, data->bytes, data->len) : fs_bytes_resize(&node->now, at);
    if (r != RES_OK)
        return r;
    fs->used += node->now.len - before;
    fs->number++;
    if (fs->durability) {
        if (data)
            data->refs++;
        node->change[node->changes++] = (struct fs_change){fs->number, at, data};
    }
    return RES_OK;
}

/* The first n changes become durable. */
static enum result settle(struct fs_node *node, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        enum result r = change_durable(node, &node->change[i]);
        if (r != RES_OK)
            return r;
    }
    for (size_t i = 0; i < n; i++)
        fs_blob_unref(node->change[i].data);
    node->changes -= n;
    if (node->changes)
        memmove(node->change, node->change + n, node->changes * sizeof *node->change);
    return RES_OK;
}

static enum result apply_sync(struct fs *fs, struct fs_node *node)
{
    enum result r = settle(node, node->changes);
    if (r == RES_OK)
        fs->number++;
    return r;
}

/* What of `c` the write `newer` covers becomes equal to it, so that the order of the two no longer matters. */
static enum result yield_to(struct fs_change *c, const struct fs_change *newer)
{
    uint64_t end = c->at + c->data->len, newer_end = newer->at + newer->data->len;
    uint64_t from = c->at > newer->at ? c->at : newer->at, to = end < newer_end ? end : newer_end;

    if (from >= to)
        return RES_OK;
    if (c->data->refs > 1) { /* the history keeps what was written */
        struct fs_blob *copy = fs_blob_new(c->data->len);
        if (!copy)
            return RES_NO_MEMORY;
        memcpy(copy->bytes, c->data->bytes, copy->len);
        fs_blob_unref(c->data);
        c->data = copy;
    }
    memcpy(c->data->bytes + (from - c->at), newer->data->bytes + (from - newer->at), (size_t)(to - from));
    return RES_OK;
}

/* The write with this number, made with ENV_DSYNC, becomes durable before writes in front of it: changes of size do so
 * with it (its inode is written), earlier writes stay behind, but cannot undo it any more. Another thread's sync may
 * have taken it already. */
static enum result apply_sync_range(struct fs *fs, struct fs_node *node, uint64_t number)
{
    size_t at = 0;

    fs->number++;
    while (at < node->changes && node->change[at].number != number)
        at++;
    if (at == node->changes)
        return RES_OK;
    size_t sizes = at;
    while (sizes > 0 && node->change[sizes - 1].data)
        sizes--;
    enum result r = settle(node, sizes);
    if (r != RES_OK)
        return r;
    at -= sizes;
    struct fs_change write = node->change[at];
    r = change_durable(node, &write);
    for (size_t i = 0; i < at && r == RES_OK; i++)
        r = yield_to(&node->change[i], &write);
    if (r != RES_OK)
        return r;
    fs_blob_unref(write.data);
    node->changes--;
    memmove(node->change + at, node->change + at + 1, (node->changes - at) * sizeof *node->change);
    return RES_OK;
}

/* Some of the changes reached the disk, nobody knows which; none ever will again. */
static enum result apply_sync_failed(struct fs *fs, struct fs_node *node)
{
    uint64_t state = fs->seed ^ hash_mix(fs->number);

    for (size_t i = 0; i < node->changes; i++)
        if (fs_random(&state) % 3 == 0) {
            enum result r = change_durable(node, &node->change[i]);
            if (r != RES_OK)
                return r;
        }
    changes_clear(node);
    fs->number++;
    return RES_OK;
}

enum result fs_apply(struct fs *fs, const struct fs_record *record)
{
    switch (record->kind) {
    case FS_CREATE:
    case FS_MKDIR:
        return apply_create(fs, record->path, record->kind == FS_MKDIR);
    case FS_UNLINK:
    case FS_RMDIR:
        return apply_remove(fs, record->path, record->kind == FS_RMDIR);
    case FS_RENAME:
    case FS_LINK:
        return apply_move(fs, record->path, record->path2, record->kind == FS_LINK);
    case FS_SYNC_DIR:
        return apply_sync_dir(fs, record->path);
    default:
        break;
    }
    struct fs_node *node = fs->by_id[record->id];
    if (!node) { /* in a replay nobody holds an unlinked file open; what happens to it can no longer be seen */
        assert(fs->replay);
        fs->number++;
        return RES_OK;
    }
    switch (record->kind) {
    case FS_WRITE:
        return apply_content(fs, node, record->at, record->data);
    case FS_RESIZE:
        return apply_content(fs, node, record->at, NULL);
    case FS_SYNC:
        return apply_sync(fs, node);
    case FS_SYNC_RANGE:
        return apply_sync_range(fs, node, record->at);
    case FS_SYNC_FAILED:
        return apply_sync_failed(fs, node);
    default:
        assert(!"unknown record");
        return RES_INVALID;
    }
}
