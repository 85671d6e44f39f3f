/* Hashes: fields with values, in the element map (elements.h). A field may expire by itself, as in Redis 7.4: the time
 * stands in its element. The hint of a hash, u64 little-endian, is a time before which no field expires; a hash without it
 * has no field that does. */
#ifndef VARVE_STORE_HASH_H
#define VARVE_STORE_HASH_H

#include "store/elements.h"

struct field_place {
    struct slice name;
    struct member_place member;
    bool alive; /* it is there and has not expired */
};
enum result hash_find(struct elements *e, struct slice field, struct field_place *p) MUST_CHECK;
/* A new value for a field, which keeps its expiry when it is alive. */
enum result hash_set_kept(struct elements *e, struct field_place *p, struct slice value) MUST_CHECK;
/* Whether it has not expired: a member_filter. */
bool hash_field_alive(struct elements *e, const struct element *x);
/* 0: no field expires. */
uint64_t hash_first_expiry(const struct elements *e);
/* The filter, or NULL where nothing can have expired: drawing and counting are cheaper without. */
member_filter *hash_filter(const struct elements *e);
/* How many fields are alive: the count, but where some may have expired. */
enum result hash_count_alive(struct elements *e, uint64_t *count) MUST_CHECK;

#endif
