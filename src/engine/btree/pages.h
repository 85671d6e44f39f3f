/* LMDB's file read without LMDB: page by page, with every number in it doubted. LMDB trusts its file, and a damaged one
 * makes it read where there is nothing; who salvages or shows such a file goes through here. Nothing is written.
 *
 * The format is that of LMDB 0.9 (version 1) on a little-endian machine with 64 bits:
 *
 *     page   0  its number u64    10  flags u16: 1 branch, 2 leaf, 4 overflow, 8 meta
 *           12  end of the node offsets u16    14  start of the nodes u16        (overflow: 12  number of pages u32)
 *           16  offsets of the nodes, u16 each, in the order of their keys
 *     node   0  length of the value, low u16    2  high u16    4  flags u16    6  length of the key u16    8  key, value
 *            flag 1: the value lies in overflow pages, and here is the number of the first, u64
 *            of a branch: 0, 2, 4 are the child's number; the first node's key is empty
 *     meta  16  0xbeefc0de u32    20  version u32 = 1    40  the tree of free pages    88  the main tree
 *          136  last page u64    144  number of the transaction u64
 *     tree   0  (that of free pages:) size of a page u32    6  depth u16    32  records u64    40  root u64, all ones: none
 *
 * Pages 0 and 1 are metas, and the one with the higher transaction counts. A record of the tree of free pages has as key the
 * transaction that freed them (u64), as value how many (u64) and their numbers. Every page up to the last is in one of the
 * trees, or free. */
#ifndef VARVE_ENGINE_BTREE_PAGES_H
#define VARVE_ENGINE_BTREE_PAGES_H

#include "os/env.h"

struct pages_meta {
    bool holds;
    uint32_t page_bytes;
    uint64_t transaction, last_page;
    uint64_t free_root, root; /* UINT64_MAX: the tree is empty */
    uint64_t records;         /* of the main tree */
};
struct pages {
    struct env_file *file;
    uint64_t size;
    uint32_t page_bytes;
    struct pages_meta meta[2];
    int newest;    /* which of them counts */
    uint8_t *seen; /* a bit a page */
};
/* RES_CORRUPT: neither meta page holds, so nothing tells what counts. */
enum result pages_open(struct pages *p, struct env *env, const char *path, struct errmsg *msg) MUST_CHECK;
void pages_close(struct pages *p);

struct pages_visitor {
    void *arg;
    /* Each record; the slices are valid during the call. Anything but RES_OK ends the walk. */
    enum result (*record)(void *arg, uint64_t page, struct slice key, struct slice value);
    /* What lies at that page does not hold. whole: the page, with all that it leads to; else one record. May be NULL. */
    void (*fault)(void *arg, uint64_t page, bool whole, const char *what);
    /* A page is come to, before its records; may be NULL. */
    void (*page)(void *arg, uint64_t page, bool leaf, unsigned nodes);
};
/* All records that the main tree of the meta leads to, in their order. RES_OK whatever faults there were. */
enum result pages_walk(struct pages *p, const struct pages_meta *meta, const struct pages_visitor *v) MUST_CHECK;
/* After a walk with faults: the records of leaves to which neither a tree nor the free pages lead, which must have been
 * below what could not be read. In no order. */
enum result pages_walk_orphans(struct pages *p, const struct pages_meta *meta, const struct pages_visitor *v)
    MUST_CHECK;

/* ---- what the engine keeps in the records: see btree.h ---- */

/* The interface's value in the one that is stored; false when the checksum does not hold. */
bool btree_stored_value(struct slice key, struct slice stored, struct slice *value);
extern const struct slice btree_boundary_key;
struct btree_boundary {
    uint32_t version;
    uint64_t sequence, next_number;
    struct slice state;
};
bool btree_boundary_parse(struct slice stored, struct btree_boundary *out);

#endif
