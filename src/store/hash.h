/* Hashes: fields with values, in the element map (elements.h). A field may expire by itself, as in Redis 7.4: the time
 * stands in its element; a hash in pieces has its expiring fields in the order of their times as well (SUBSPACE_EXPIRY), and
 * the metadata knows a time before which none is due, for which the key stands in the expiry index like one that expires. */
#ifndef VARVE_STORE_HASH_H
#define VARVE_STORE_HASH_H

#include "store/elements.h"

struct field_place {
    struct slice name;
    struct member_place member;
    bool alive; /* it is there and has not expired */
};
enum result hash_find(struct elements *e, struct slice field, struct field_place *p) MUST_CHECK;
/* Puts what hash_find has looked for (0: it does not expire), or removes it, expired or not. p is used up. */
enum result hash_put(struct elements *e, struct field_place *p, struct slice value, uint64_t expire_ms) MUST_CHECK;
enum result hash_remove(struct elements *e, struct field_place *p) MUST_CHECK;
/* members_fill for fields, of which some may expire. */
enum result hash_fill(struct elements *e, const struct element *in, const struct member_order *order) MUST_CHECK;
/* The expiry of a field that is alive, for a new value that keeps it. */
static inline uint64_t hash_expiry_of(const struct field_place *p)
{
    return p->alive ? p->member.element.expire_ms : 0;
}
/* Whether it has not expired: a member_filter. */
bool hash_field_alive(struct elements *e, const struct element *x);
/* The filter, or NULL where nothing can have expired: drawing and counting are cheaper without. */
member_filter *hash_filter(const struct elements *e);
/* How many fields are alive: the count, but where some may have expired. */
enum result hash_count_alive(struct elements *e, uint64_t *count) MUST_CHECK;
/* For the expiry thread: removes fields that are due, the first HASH_EXPIRE_MOST of them, and with the last field the key. */
#define HASH_EXPIRE_MOST 256
enum result hash_expire_fields(struct call *c, struct object *o) MUST_CHECK;

#endif
