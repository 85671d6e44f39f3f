/* A key directory: an ordered map in memory from keys to the places of their records in data files (datafile.h).
 *
 * It is a tree of nodes that never change once they are built, so a root is a state of the map for as long as it is held,
 * and readers need neither locks nor epochs. An edit takes a sorted stream of changes through the tree once and builds
 * anew only the nodes on its way; all others are shared with the old root. Nodes have exactly the size of what is in
 * them: a leaf has at most KEYDIR_LEAF keys, stored without the beginning that all of them share, and 15 bytes a key
 * besides. With leaves, on average, three quarters full, headers, fences and the allocator's rounding come to about 20
 * bytes a key beyond the key itself (tests/unit/test_keydir.c measures it).
 *
 * Threads: anything may be done with a root that is held, by any number of threads. */
#ifndef VARVE_ENGINE_KEYDIR_H
#define VARVE_ENGINE_KEYDIR_H

#include "engine/engine.h"

#define KEYDIR_LEAF 64
#define KEYDIR_FANOUT 128
#define KEYDIR_LEVELS 10

/* Where a record lies. */
struct keydir_place {
    uint64_t offset; /* below 2^40 */
    uint32_t file;   /* number of the data file, below 2^31 */
    uint32_t value;  /* length of the value */
    uint8_t kind;    /* enum record_kind; an engine's own directory has no tombstones, a private table's has */
};

struct keydir_node;
/* Bytes of all nodes that are alive, those of old roots included; atomic. */
struct keydir_memory {
    uint64_t bytes;
};

/* NULL is the empty map everywhere. */
void keydir_ref(struct keydir_node *root);
void keydir_unref(struct keydir_node *root, struct keydir_memory *memory);
uint64_t keydir_count(const struct keydir_node *root);
bool keydir_find(const struct keydir_node *root, struct slice key, struct keydir_place *out);
/* Brings what finds of these keys will touch into the processor's cache. */
void keydir_prefetch(const struct keydir_node *root, const struct engine_key *const *keys, unsigned n);

/* ---- cursors: over a root that the caller holds ---- */
struct keydir_cursor {
    const struct keydir_node *root;
    const struct keydir_node *node[KEYDIR_LEVELS]; /* by level; [0] is the leaf */
    int at[KEYDIR_LEVELS];
    struct slice key; /* in `bytes`; valid until the next move */
    struct keydir_place place;
    uint8_t bytes[ENGINE_KEY_MAX];
};
void keydir_cursor_init(struct keydir_cursor *c, const struct keydir_node *root);
/* All: false when there is no such key; then it stands nowhere. */
bool keydir_seek(struct keydir_cursor *c, struct slice target);      /* first key >= target */
bool keydir_seek_last(struct keydir_cursor *c, struct slice target); /* last key < target; empty target: the last */
bool keydir_next(struct keydir_cursor *c);
bool keydir_prev(struct keydir_cursor *c);

/* ---- edits ---- */
enum keydir_change_kind {
    KEYDIR_PUT,
    KEYDIR_REMOVE,
    KEYDIR_MOVE,         /* `place`, if the key has a place that `yields`; else nothing */
    KEYDIR_FORGET,       /* the key goes, if its place `yields` */
    KEYDIR_REMOVE_RANGE, /* all of [key, end) */
};
struct keydir_change {
    enum keydir_change_kind kind;
    struct slice key, end; /* valid until the next change is asked for */
    struct keydir_place place;
};
struct keydir_changes {
    /* The next change, keys ascending, each once, ranges disjoint; RES_NOT_FOUND at the end, or an error. */
    enum result (*next)(void *arg, struct keydir_change *out);
    /* What was at the key goes, or a move was not made and its new place is not needed. May be NULL. */
    void (*dropped)(void *arg, size_t key_len, const struct keydir_place *place);
    bool (*yields)(void *arg, const struct keydir_place *place); /* for MOVE and FORGET */
    void *arg;
};
/* The state after the changes as a root of its own; the old one stays as it is. */
enum result keydir_edit(struct keydir_node *root, const struct keydir_changes *changes, struct keydir_memory *memory,
                        struct keydir_node **out) MUST_CHECK;

/* ---- between keydir.c and keydir_edit.c ---- */
#define KEYDIR_PLACE 13 /* bytes of a place in a leaf: u32 file and tombstone bit, u40 offset, u32 value */

struct keydir_node {
    uint32_t refs; /* atomic: parents and roots */
    uint16_t count;
    uint8_t level;
    uint8_t spare;
    uint16_t prefix;  /* bytes that all keys begin with */
    uint32_t size;    /* of this node */
    uint64_t records; /* below it */
    uint8_t body[];   /* level 0: places; else pointers to children. Then u16 ends of the keys' rests, prefix, rests */
};
static inline size_t keydir_width(const struct keydir_node *n)
{
    return n->level ? sizeof(struct keydir_node *) : KEYDIR_PLACE;
}
static inline struct keydir_node *keydir_child(const struct keydir_node *n, int i)
{
    struct keydir_node *child;
    memcpy(&child, n->body + (size_t)i * sizeof child, sizeof child);
    return child;
}
/* Writes the i-th key of the node to out (ENGINE_KEY_MAX bytes). */
size_t keydir_key(const struct keydir_node *n, int i, uint8_t *out);
void keydir_place_get(const struct keydir_node *n, int i, struct keydir_place *out);
/* The last entry whose key is <= the key, or -1. */
int keydir_search(const struct keydir_node *n, struct slice key, bool *equal);

#endif
