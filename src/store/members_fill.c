/* Many members at once, for a collection that takes the place of another: RESTORE, ZUNIONSTORE and their like.
 *
 * They are brought into the order of h40, which is (but for long members) that of their records. Two of one name then
 * stand beside each other; and a memtable's nodes that come in order are cheap to put in order, to go through, and to
 * write down. h40 is evenly spread, so members are dealt out by its first bits into about as many heaps as there are
 * members, and each heap, of one or two, is sorted by insertion. Whoever repeats a name to make a heap large is found
 * out by the first repetition.
 *
 * The object is new: none of its records can be there already, so none is looked for. */
#include <assert.h>

#include "store/elements.h"
#include "store/store_priv.h"

#define H40_BITS 40

static struct slice name_at(const struct member_names *names, size_t i)
{
    struct slice name;
    memcpy(&name, (const uint8_t *)names->first + i * names->stride, sizeof name);
    return name;
}

/* True: two have one name. */
static bool sort_heaps(const struct member_names *names, struct member_at *at, size_t n)
{
    for (size_t i = 1; i < n; i++) {
        struct member_at moved = at[i];
        size_t j = i;
        for (; j > 0 && at[j - 1].h40 >= moved.h40; j--) {
            if (at[j - 1].h40 == moved.h40) {
                int c = slice_cmp(name_at(names, at[j - 1].index), name_at(names, moved.index));
                if (c == 0)
                    return true;
                if (c < 0)
                    break;
            }
            at[j] = at[j - 1];
        }
        at[j] = moved;
    }
    return false;
}

enum result member_order(struct call *c, const struct member_names *names, size_t n, struct member_order *out,
                         bool *twins)
{
    unsigned bits = 0;
    if (n >= UINT32_MAX)
        return RES_TOO_MANY;
    while (bits < 32 && (size_t)1 << bits < n)
        bits++;
    uint64_t *h40 = arena_alloc(c->arena, n * sizeof *h40);
    uint32_t *heap = arena_alloc(c->arena, ((size_t)1 << bits) * sizeof *heap);
    out->at = arena_alloc(c->arena, n * sizeof *out->at);
    out->count = n;
    if (!h40 || !heap || !out->at)
        return RES_NO_MEMORY;
    memset(heap, 0, ((size_t)1 << bits) * sizeof *heap);
    const struct hash_seed *seed = &store_of(c)->seed;
    for (size_t i = 0; i < n; i++) {
        struct slice name = name_at(names, i);
        h40[i] = hash_siphash(seed, name.data, name.len) >> (64 - H40_BITS);
        heap[h40[i] >> (H40_BITS - bits)]++;
    }
    uint32_t sum = 0;
    for (size_t k = 0; k < (size_t)1 << bits; k++) {
        uint32_t count = heap[k];
        heap[k] = sum;
        sum += count;
    }
    for (size_t i = 0; i < n; i++)
        out->at[heap[h40[i] >> (H40_BITS - bits)]++] = (struct member_at){h40[i], (uint32_t)i};
    *twins = sort_heaps(names, out->at, n);
    return RES_OK;
}

enum result piece_put_new(struct elements *e, uint8_t subspace, struct slice element, const struct element *in,
                          bool long_key)
{
    size_t key_len = ELEMENT_KEY_OBJECT + 1 + element.len, len = piece_size(in, long_key);
    uint8_t *p = arena_alloc(e->c->arena, key_len + len);
    assert(e->pieces && e->replaces && key_len <= ENGINE_KEY_MAX);
    if (unlikely(!p))
        return RES_NO_MEMORY;
    piece_key_write(p, e, subspace, element);
    piece_write(p + key_len, in, long_key);
    struct engine_key key = {.bytes = slice_of(p, key_len)};
    key.hash = engine_hash(key.bytes);
    e->touched = true;
    return call_put_new(e->c, &key, slice_of(p + key_len, len));
}

enum result member_put_new(struct elements *e, uint64_t h40, const struct element *in)
{
    uint8_t element[MEMBER_KEY_MAX];
    bool is_long;
    size_t len = member_key_of(e, in->key, h40, element, &is_long);
    e->count++;
    e->bytes += in->key.len + in->value.len;
    return piece_put_new(e, SUBSPACE_MEMBERS, slice_of(element, len), in, is_long);
}

#define ASK_EVERY 64

enum result members_fill(struct elements *e, const struct element *in, const struct member_order *order)
{
    enum result r = RES_OK;
    assert(e->replaces && !e->count);
    if (!e->pieces && elements_fit(e, in, order->count)) {
        for (size_t i = 0; r == RES_OK && i < order->count; i++)
            r = member_add(e, &in[i]);
        return r;
    }
    r = elements_spill(e);
    for (size_t i = 0; r == RES_OK && i < order->count; i++) {
        r = member_put_new(e, order->at[i].h40, &in[order->at[i].index]);
        if (i % ASK_EVERY == ASK_EVERY - 1 && r == RES_OK && call_too_long(e->c))
            r = RES_WOULD_BLOCK;
    }
    return r;
}
