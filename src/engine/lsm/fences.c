#include "engine/lsm/fences.h"

#include <stdlib.h>

#include "base/bytes.h"

static uint64_t head_of(const uint8_t *p, size_t len)
{
    if (len >= 8)
        return get_be64(p);
    uint64_t head = 0;
    for (size_t i = 0; i < len; i++)
        head |= (uint64_t)p[i] << (56 - 8 * i);
    return head;
}

static size_t common(struct slice a, struct slice b)
{
    size_t n = a.len < b.len ? a.len : b.len, i = 0;
    while (i < n && a.data[i] == b.data[i])
        i++;
    return i;
}

enum result fences_init(struct fences *f, const struct slice *keys, uint32_t n)
{
    uint64_t bytes = 0;

    *f = (struct fences){0};
    if (n == 0)
        return RES_OK;
    f->prefix_len = (uint32_t)common(keys[0], keys[n - 1]);
    for (uint32_t i = 0; i < n; i++)
        bytes += keys[i].len - f->prefix_len;
    if (bytes > UINT32_MAX)
        return RES_RANGE;
    f->memory = (size_t)n * 12 + f->prefix_len + (size_t)bytes + 1;
    uint8_t *memory = malloc(f->memory);
    if (!memory)
        return RES_NO_MEMORY;
    f->heads = (uint64_t *)(void *)memory;
    f->ends = (uint32_t *)(void *)(memory + (size_t)n * 8);
    f->prefix = memory + (size_t)n * 12;
    f->rest = f->prefix + f->prefix_len;
    f->count = n;
    memcpy(f->prefix, keys[0].data, f->prefix_len);
    uint32_t end = 0;
    for (uint32_t i = 0; i < n; i++) {
        const uint8_t *p = keys[i].data + f->prefix_len;
        size_t len = keys[i].len - f->prefix_len;
        f->heads[i] = head_of(p, len);
        memcpy(f->rest + end, p, len);
        end += (uint32_t)len;
        f->ends[i] = end;
    }
    if (f->heads[n - 1] > f->heads[0])
        f->scale = (double)(n - 1) / (double)(f->heads[n - 1] - f->heads[0]);
    return RES_OK;
}

void fences_fini(struct fences *f)
{
    free(f->heads);
    *f = (struct fences){0};
}

static struct slice rest_of(const struct fences *f, uint32_t i)
{
    uint32_t begin = i ? f->ends[i - 1] : 0;
    return slice_of(f->rest + begin, f->ends[i] - begin);
}

int fences_cmp(const struct fences *f, uint32_t i, struct slice key)
{
    size_t n = key.len < f->prefix_len ? key.len : f->prefix_len;
    int c = n ? memcmp(f->prefix, key.data, n) : 0;
    if (c)
        return c;
    if (n < f->prefix_len)
        return 1;
    return slice_cmp(rest_of(f, i), slice_of(key.data + n, key.len - n));
}

/* The number of heads below `head`. */
static uint32_t heads_below(const struct fences *f, uint64_t head)
{
    const uint64_t *heads = f->heads;
    uint32_t lo = 0, hi = f->count; /* the answer lies in lo..hi */

    if (head <= heads[0])
        return 0;
    if (head > heads[hi - 1])
        return hi;
    if (hi > 8) {
        uint32_t guess = (uint32_t)((double)(head - heads[0]) * f->scale), reach = 1;
        if (guess >= hi)
            guess = hi - 1;
        if (heads[guess] < head) {
            lo = guess + 1;
            while (lo + reach < hi && heads[lo + reach - 1] < head) {
                lo += reach;
                reach *= 2;
            }
            if (lo + reach < hi)
                hi = lo + reach;
        } else {
            hi = guess;
            while (hi > reach && heads[hi - reach] >= head) {
                hi -= reach;
                reach *= 2;
            }
            if (hi > reach)
                lo = hi - reach;
        }
    }
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (heads[mid] < head)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

/* The number of fences below the key, or at and below it. */
static uint32_t count_below(const struct fences *f, struct slice key, bool equal_too)
{
    size_t n = key.len < f->prefix_len ? key.len : f->prefix_len;
    int c = n ? memcmp(f->prefix, key.data, n) : 0;
    if (c == 0 && n < f->prefix_len)
        c = 1;
    if (c)
        return c < 0 ? f->count : 0;
    struct slice rest = slice_of(key.data + n, key.len - n);
    uint64_t head = head_of(rest.data, rest.len);
    uint32_t lo = heads_below(f, head), hi = lo;
    /* Few fences share a head; where many do (one long common prefix in a part of the table) the end is galloped to. */
    for (uint32_t reach = 1; hi < f->count && f->heads[hi] == head; reach *= 2)
        hi = f->count - hi > reach ? hi + reach : f->count;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        int m = f->heads[mid] > head ? 1 : slice_cmp(rest_of(f, mid), rest);
        if (m < 0 || (m == 0 && equal_too))
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

int64_t fences_find(const struct fences *f, struct slice key)
{
    return f->count ? (int64_t)count_below(f, key, true) - 1 : -1;
}

int64_t fences_find_before(const struct fences *f, struct slice key)
{
    return f->count ? (int64_t)count_below(f, key, false) - 1 : -1;
}
