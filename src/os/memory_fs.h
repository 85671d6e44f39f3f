/* Private to the in-memory environment: files and directories, each with what it is now, what of it is durable, and
 * the changes in between, in order. Not thread-safe: env_memory.c holds its lock.
 *
 * 1. durable + all changes = now. A sync applies the changes it covers to the durable state and forgets them.
 * 2. A node lives as long as a present name, a durable name, a pending name change or an open file refers to it.
 * 3. Every change is a function of the state and its record alone, so a history replays to the same state, with the
 *    same node ids. */
#ifndef VARVE_OS_MEMORY_FS_H
#define VARVE_OS_MEMORY_FS_H

#include "base/result.h"
#include "base/slice.h"

struct fs_bytes {
    uint8_t *data;
    uint64_t len, cap;
};
struct fs_blob { /* bytes shared by a history and the changes of several states */
    uint32_t refs;
    size_t len;
    uint8_t bytes[];
};
struct fs_change { /* of a file's content */
    uint64_t number;
    uint64_t at;          /* offset of a write, or the new size */
    struct fs_blob *data; /* NULL: a change of size */
};
struct fs_entry {
    char *name;
    struct fs_node *node;
};
struct fs_names {
    struct fs_entry *entry;
    size_t count, cap;
};
struct fs_node {
    uint64_t id;
    uint32_t refs;    /* by all that keeps it alive */
    uint32_t links;   /* present names */
    uint32_t handles; /* open files */
    bool is_dir, locked;
    struct fs_bytes now, durable;
    struct fs_change *change;
    size_t changes, change_cap;
    struct fs_names names, durable_names;
    uint8_t *warm; /* a byte a page: was read by one that waited */
    uint64_t warm_pages;
};
enum fs_name_kind { FS_NAME_ADD, FS_NAME_REMOVE, FS_NAME_MOVE };
struct fs_name_change {
    uint64_t number;
    enum fs_name_kind kind;
    struct fs_node *dir, *dir2; /* dir2 and name2: where a move goes */
    char *name, *name2;
    struct fs_node *node;
};

struct fs {
    bool durability; /* keep durable state and changes */
    bool replay;     /* a replayed history: nobody reads, so present content is not kept */
    uint64_t seed;
    uint64_t number; /* of the last change */
    struct fs_node *root;
    struct fs_node **by_id; /* index id; NULL when gone */
    uint64_t ids;
    struct fs_name_change *pending;
    size_t pendings, pending_cap;
    uint64_t used, limit; /* bytes of present files, and how many there may be */
};

enum fs_record_kind {
    FS_CREATE,
    FS_UNLINK,
    FS_RENAME,
    FS_LINK,
    FS_MKDIR,
    FS_RMDIR,
    FS_SYNC_DIR,
    FS_WRITE,
    FS_RESIZE,
    FS_SYNC,
    FS_SYNC_RANGE,
    FS_SYNC_FAILED
};
struct fs_record {
    enum fs_record_kind kind;
    uint64_t id; /* of the file, for what happens through an open file */
    uint64_t at; /* offset, new size, or for FS_SYNC_RANGE the number of the write */
    char *path, *path2;
    struct fs_blob *data;
};

void fs_init(struct fs *fs, uint64_t seed, bool durability, bool replay);
void fs_fini(struct fs *fs);
/* Does what the record says; its number is fs->number afterwards. On failure nothing has changed. */
enum result fs_apply(struct fs *fs, const struct fs_record *record) MUST_CHECK;
/* NULL when the path leads nowhere. */
struct fs_node *fs_find(struct fs *fs, const char *path);

/* A change of names cannot be durable without an earlier one of the same names, and a move not without the directory
 * it goes to: else what is moved would be nowhere. */
bool fs_name_needs(const struct fs_name_change *later, const struct fs_name_change *earlier);
void fs_node_unref(struct fs *fs, struct fs_node *node);
void fs_node_alive(struct fs *fs, struct fs_node *node); /* call after links or handles went down */

struct fs_blob *fs_blob_new(size_t len); /* NULL when memory is short; refs 1 */
void fs_blob_unref(struct fs_blob *blob);
enum result fs_bytes_write(struct fs_bytes *b, uint64_t at, const uint8_t *data, size_t len) MUST_CHECK;
enum result fs_bytes_resize(struct fs_bytes *b, uint64_t len) MUST_CHECK;
struct fs_node *fs_names_get(const struct fs_names *n, struct slice name);

/* memory_crash.c: fills the empty file system `out`. Of a state without changes it makes a copy with the same ids. */
enum result fs_crash(struct fs *fs, uint64_t seed, struct fs *out) MUST_CHECK;
/* For it: a new node under this name, present and durable; node NULL creates one. Takes no number. */
struct fs_node *fs_plant(struct fs *fs, struct fs_node *dir, const char *name, struct fs_node *node, bool is_dir);

uint64_t fs_random(uint64_t *state);

#endif
