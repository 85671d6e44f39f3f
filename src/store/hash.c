/* Hashes: see hash.h. */
#include "store/hash.h"

#include "base/bytes.h"

#define HINT 8

const struct elements_kind elements_of_hash = {.type = TYPE_HASH, .has_keys = true, .has_values = true};

bool hash_field_alive(struct elements *e, const struct element *x)
{
    return !x->expire_ms || x->expire_ms > e->c->now_ms;
}

enum result hash_find(struct elements *e, struct slice field, struct field_place *p)
{
    p->name = field;
    enum result r = member_find(e, field, &p->member);
    p->alive = r == RES_OK && p->member.found && hash_field_alive(e, &p->member.element);
    return r;
}

enum result hash_set_kept(struct elements *e, struct field_place *p, struct slice value)
{
    struct element in = {.key = p->name, .value = value, .expire_ms = p->alive ? p->member.element.expire_ms : 0};
    return member_put(e, &p->member, &in);
}

uint64_t hash_first_expiry(const struct elements *e) { return e->hints_len == HINT ? get_le64(e->hints) : 0; }

member_filter *hash_filter(const struct elements *e)
{
    uint64_t first = hash_first_expiry(e);
    return first && first <= e->c->now_ms ? hash_field_alive : NULL;
}

static enum result count_alive(struct elements *e, void *arg, const struct element *x)
{
    uint64_t *count = arg;
    *count += hash_field_alive(e, x);
    return RES_OK;
}

enum result hash_count_alive(struct elements *e, uint64_t *count)
{
    *count = e->count;
    if (!hash_filter(e))
        return RES_OK;
    *count = 0;
    return member_each(e, count_alive, count);
}
