/* Arbitrary bytes as frames of the memcached binary protocol: whatever they are, the codec's slices lie in what it was
 * given, what it takes is what it says, and a frame means the same when it comes in parts. */
#include <assert.h>
#include <stddef.h>
#include <stdlib.h>

#include "proto/memcached.h"

#define BODY_MAX 4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void inside(struct slice part, struct slice whole)
{
    assert(part.len == 0 || (part.data >= whole.data && part.data + part.len <= whole.data + whole.len));
}

/* Shorter inputs must ask for more, or say what the whole says: never take a frame that is not there. */
static void in_parts(struct slice in, enum memcached_parse whole, uint64_t used)
{
    struct memcached_request q;
    uint64_t part_used;
    for (size_t len = 0; len < in.len && len < used; len = len < 32 ? len + 1 : len + 17) {
        /* in memory of its own, so that a read behind it is seen */
        uint8_t *copy = malloc(len ? len : 1);
        assert(copy);
        memcpy(copy, in.data, len);
        enum memcached_parse r = memcached_parse(slice_of(copy, len), BODY_MAX, &q, &part_used);
        assert(r == MEMCACHED_MORE || (r == whole && r != MEMCACHED_REQUEST));
        free(copy);
    }
}

static void look_at(const struct memcached_request *q, struct slice in, uint64_t used)
{
    assert(used <= in.len && used == q->head.len + q->key.len + q->value.len);
    inside(q->head, in);
    inside(q->extras, in);
    inside(q->key, in);
    inside(q->value, in);
    assert(q->value.len <= BODY_MAX);
    if (q->refused != MC_OK) {
        assert(memcached_status_text(q->refused)[0]);
        return;
    }
    assert(q->key.len <= MEMCACHED_KEY_MAX && q->extras.len <= MEMCACHED_EXTRAS_MAX);
    struct memcached_head h;
    memcached_head_get(q->head, &h);
    assert(h.cas == q->cas);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice in = slice_of(data, size);
    while (in.len) {
        struct memcached_request q;
        uint64_t used;
        enum memcached_parse r = memcached_parse(in, BODY_MAX, &q, &used);
        if (r == MEMCACHED_MORE || r == MEMCACHED_FOREIGN || r == MEMCACHED_BROKEN)
            break;
        in_parts(in, r, used);
        if (r == MEMCACHED_SKIP) {
            assert(used > BODY_MAX && q.refused != MC_OK);
            if (used > in.len)
                break;
        } else {
            look_at(&q, in, used);
        }
        in.data += used;
        in.len -= (size_t)used;
    }
    return 0;
}
