/* RESP requests: the bytes are parsed whole, and again cut at places the input chooses; both must agree, and no slice
 * may leave the memory it belongs to (AddressSanitizer sees to that: every byte of every argument is read). */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "proto/resp_parse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct outcome {
    uint64_t sum;
    uint64_t requests;
    bool error;
};

static bool drain(struct resp_input *in, bool authenticated, struct outcome *o)
{
    const struct resp_limits limits = {1u << 20, authenticated};
    struct slice argv[3];
    struct resp_request r;
    for (;;) {
        enum resp_status status = resp_parse(in, &limits, argv, 3, &r);
        if (status == RESP_MORE)
            return true;
        if (status != RESP_REQUEST) {
            o->error = true;
            o->sum = o->sum * 31 + strlen(r.error);
            return false;
        }
        o->requests++;
        for (int i = 0; i < r.argc; i++) {
            o->sum = o->sum * 31 + r.argv[i].len + 1;
            for (size_t k = 0; k < r.argv[i].len; k++)
                o->sum = o->sum * 31 + r.argv[i].data[k];
        }
        if (r.alone)
            resp_request_done(in);
    }
}

static struct outcome run(const uint8_t *data, size_t size, bool authenticated, uint32_t seed)
{
    struct outcome o = {0};
    struct resp_input in;
    resp_input_init(&in);
    for (size_t at = 0; at < size;) {
        seed = seed * 1664525u + 1013904223u;
        size_t part = seed == 0 ? size : 1 + (seed >> 16) % 64;
        part = part < size - at ? part : size - at;
        while (part > 0) {
            struct iovec iov[2];
            int n = resp_input_room(&in, 1, iov);
            assert(n > 0);
            size_t take = iov[0].iov_len < part ? iov[0].iov_len : part;
            memcpy(iov[0].iov_base, data + at, take);
            resp_input_received(&in, take);
            at += take, part -= take;
        }
        if (!drain(&in, authenticated, &o))
            break;
    }
    resp_input_fini(&in);
    return o;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2 || size > RESP_LINE_MAX) /* where the end of a line comes too late depends on the cuts */
        return 0;
    bool authenticated = data[0] & 1;
    uint32_t seed = 1u + data[1];
    data += 2, size -= 2;
    struct outcome once = {0};
    struct resp_input in;
    struct iovec iov[2];
    resp_input_init(&in);
    int n = resp_input_room(&in, size + 1, iov);
    assert(n > 0);
    if (size > 0)
        memcpy(iov[0].iov_base, data, size);
    resp_input_received(&in, size);
    drain(&in, authenticated, &once);
    resp_input_fini(&in);
    struct outcome cut = run(data, size, authenticated, seed);
    assert(once.sum == cut.sum && once.requests == cut.requests && once.error == cut.error);
    return 0;
}
