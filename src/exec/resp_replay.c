/* See resp_replay.h. Heads and values come one after the other in both forms, so nothing is nested here. */
#include "exec/resp_replay.h"

#include "base/num.h"

struct replay {
    const uint8_t *data;
    size_t at, len;
    struct sink *to;
    resp_hole_fn *hole;
    void *arg;
};

static bool take_line(struct replay *r, struct slice *out)
{
    const uint8_t *from = r->data + r->at, *end = memchr(from, '\r', r->len - r->at);
    if (end == NULL || (size_t)(end - r->data) + 2 > r->len)
        return false;
    *out = slice_of(from, (size_t)(end - from));
    r->at = (size_t)(end - r->data) + 2;
    return true;
}

static bool take_bulk(struct replay *r, int64_t len)
{
    const struct sink_ops *ops = r->to->ops;
    if (len < 0) {
        ops->null(r->to);
        return true;
    }
    struct sink_source *source = r->hole ? r->hole(r->arg, r->at) : NULL;
    if (source != NULL) {
        ops->bulk_stream(r->to, (uint64_t)len, source);
        len = 0;
    }
    if (r->len - r->at < 2 || (uint64_t)len > r->len - r->at - 2)
        return false;
    if (source == NULL)
        ops->bulk(r->to, slice_of(r->data + r->at, (size_t)len));
    r->at += (size_t)len + 2;
    return true;
}

static bool take_value(struct replay *r)
{
    const struct sink_ops *ops = r->to->ops;
    uint8_t sign = r->data[r->at++];
    struct slice line;
    int64_t number = 0;
    if (!take_line(r, &line))
        return false;
    if (sign != '+' && sign != '-' && num_parse_i64(line, &number) != RES_OK)
        return false;
    switch (sign) {
    case '+':
        ops->status(r->to, line);
        return true;
    case '-':
        ops->error(r->to, line);
        return true;
    case ':':
        ops->integer(r->to, number);
        return true;
    case '$':
        return take_bulk(r, number);
    case '*':
        if (number < 0)
            ops->null_array(r->to);
        else
            ops->array(r->to, (size_t)number);
        return true;
    default:
        return false;
    }
}

bool resp_replay(struct slice bytes, struct sink *to, resp_hole_fn *hole, void *arg)
{
    struct replay r = {bytes.data, 0, bytes.len, to, hole, arg};
    while (r.at < r.len)
        if (!take_value(&r))
            return false;
    return bytes.len > 0;
}
