/* Lists of what is taken next: see ahead.h. */
#include "store/ahead.h"

#include <stdlib.h>

#include "store/store_priv.h"

struct change {
    uint64_t id;
    uint32_t at, n;
    const void *fresh;
    size_t len;
};

static struct ahead *slot_of(const struct elements *e) { return &store_of(e->c)->ahead[e->id % AHEAD_SLOTS]; }

bool ahead_allowed(const struct elements *e) { return e->pieces && e->c->overlay && call_is_batch(e->c); }

static bool is_right(const struct elements *e, const struct ahead *a)
{
    return a->id == e->id && call_touched(e->c, e->o->key->hash) == a->sequence;
}

struct ahead *ahead_find(const struct elements *e)
{
    if (!(e->c->mode & CALL_LATCHED) || !ahead_allowed(e))
        return NULL;
    struct ahead *a = slot_of(e);
    return is_right(e, a) ? a : NULL;
}

/* Nobody commits to the object meanwhile; others may take its slot. */
static enum result copy_slot(const struct elements *e, struct ahead **out)
{
    struct store *s = store_of(e->c);
    struct ahead *copy = NULL;
    os_mutex_lock(&s->ahead_lock);
    const struct ahead *a = slot_of(e);
    bool right = is_right(e, a);
    if (right && (copy = arena_copy(e->c->arena, a, sizeof *a)) && a->len)
        copy->list = arena_copy(e->c->arena, a->list, a->len);
    os_mutex_unlock(&s->ahead_lock);
    *out = copy;
    return right && (!copy || (copy->len && !copy->list)) ? RES_NO_MEMORY : RES_OK;
}

enum result ahead_begin(const struct elements *e, struct ahead **a)
{
    enum result r = call_saw(e->c, e->o->key->hash, 0); /* under the latch: does somebody hold it? */
    if (r == RES_OK && !call_alone(e->c))
        r = RES_WOULD_BLOCK;
    return r == RES_OK && e->c->mode & CALL_PREPARED ? copy_slot(e, a) : r;
}

static bool install(struct ahead *a, const struct change *next)
{
    if (a->cap < next->len) {
        void *p = realloc(a->list, next->len);
        if (!p)
            return false;
        a->list = p;
        a->cap = next->len;
    }
    memcpy(a->list, next->fresh, next->len);
    a->len = next->len;
    return true;
}

static void begin_list(struct ahead *a, const struct change *next, uint64_t sequence)
{
    bool has = next->fresh && install(a, next);
    if (!has)
        a->len = 0;
    a->id = next->id;
    a->sequence = sequence;
    a->n = has ? next->n : 0;
    a->at = has ? next->at : 0;
}

static void committed(struct call *c, void *arg, uint64_t sequence)
{
    const struct change *next = arg;
    struct store *s = store_of(c);
    struct ahead *a = &s->ahead[next->id % AHEAD_SLOTS];
    if (!next->fresh && next->n && a->id == next->id) {
        a->sequence = sequence;
        a->at = next->at;
    } else if (os_mutex_try(&s->ahead_lock)) {
        begin_list(a, next, sequence);
        os_mutex_unlock(&s->ahead_lock);
    }
}

enum result ahead_commit(struct elements *e, uint32_t at, uint32_t n, const void *fresh, size_t len)
{
    struct change *next = arena_alloc(e->c->arena, sizeof *next);
    if (!next)
        return RES_NO_MEMORY;
    *next = (struct change){.id = e->id, .at = at, .n = n, .fresh = fresh, .len = len};
    return call_on_commit(e->c, committed, next);
}

void ahead_close(struct store *s)
{
    for (int i = 0; i < AHEAD_SLOTS; i++)
        free(s->ahead[i].list);
    os_mutex_fini(&s->ahead_lock);
}
