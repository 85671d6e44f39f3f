/* The audit: what its two files share. */
#ifndef VARVE_KVCTL_AUDIT_H
#define VARVE_KVCTL_AUDIT_H

#include "store/elements.h"
#include "store/store_priv.h"
#include "tools/kvctl/offline.h"

struct range {
    uint8_t *start, *end; /* one block of memory, start first */
    size_t start_len, end_len;
    size_t furthest; /* index of the range among this and all before whose end is greatest */
};

struct object_name {
    uint64_t id, count, members, scores; /* of a collection: as its record says, as they were seen */
    uint8_t *key;                        /* of a collection: its metadata record's, and how long it is */
    uint32_t keyspace;
    uint16_t home, key_len;
    uint8_t type;
    bool counted; /* there are records of a counted tree */
};

struct auditor {
    struct front *front;
    struct front_view *view;
    uint64_t snapshot;
    struct store store; /* its seed alone */
    audit_fn *problem;
    void *arg;
    struct audit *out;
    struct range *ranges;
    size_t range_count, range_room;
    struct object_name *objects;
    size_t object_count, object_room;
    uint32_t *keyspaces; /* that databases mean */
    size_t keyspace_count;
};

void problem(struct auditor *a, const struct audit_fix *fix, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* A key for the eye: what does not print as \xHH, cut where it is long. */
const char *shown(struct slice key, char out[256]);
/* *value is malloc'd. */
enum result read_record(struct auditor *a, struct slice key, uint8_t **value, size_t *len) MUST_CHECK;

/* ---- audit_collections.c ---- */
/* Positions without an element get an empty one, so that the others keep their numbers. */
enum result audit_list(struct auditor *a, const struct object_name *o) MUST_CHECK;
/* Do the levels of its counted tree tell the same? */
enum result audit_counts(struct auditor *a, const struct object_name *o, bool *good) MUST_CHECK;
/* Members without a score record get it, score records without a member go, and so does the counted tree. */
enum result audit_zset(struct auditor *a, const struct object_name *o) MUST_CHECK;

#endif
