/* Encoding and checking of log records: the bytes are described in log_format.h. */
#include "front/log_format.h"

#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <assert.h>

#include "base/bytes.h"
#include "base/hash.h"

enum { BATCH_COUNTERS = 1, BATCH_TABLE = 2 };

static uint64_t place_salt(uint64_t number, uint64_t offset) { return hash_mix(number * 0x9e3779b97f4a7c15u + offset); }

void log_header_put(uint8_t *p, struct log_header *h, uint64_t offset, const void *payload)
{
    uint64_t salt = place_salt(h->number, offset);
    h->payload_checksum = checksum32(payload, h->length, salt);
    memset(p, 0, LOG_HEADER_BYTES);
    put_le32(p + 4, h->payload_checksum);
    put_le32(p + 8, h->length);
    p[12] = h->type;
    p[13] = h->flags;
    put_le64(p + 16, h->number);
    put_le64(p + 24, h->first);
    put_le32(p + 32, h->batches);
    put_le32(p + 36, h->epoch);
    put_le64(p + 40, h->durable);
    h->checksum = checksum32(p + 4, LOG_HEADER_BYTES - 4, salt);
    put_le32(p, h->checksum);
}

static bool checksum_matches(uint32_t stored, const void *data, size_t len, uint64_t salt)
{
#ifdef VARVE_FUZZING
    (void)stored, (void)data, (void)len, (void)salt;
    return true;
#else
    return stored == checksum32(data, len, salt);
#endif
}

bool log_header_get(const uint8_t *p, uint64_t number, uint64_t offset, struct log_header *h)
{
    if (get_le64(p + 16) != number)
        return false;
    *h = (struct log_header){
        .checksum = get_le32(p),
        .payload_checksum = get_le32(p + 4),
        .length = get_le32(p + 8),
        .type = p[12],
        .flags = p[13],
        .number = number,
        .first = get_le64(p + 24),
        .batches = get_le32(p + 32),
        .epoch = get_le32(p + 36),
        .durable = get_le64(p + 40),
    };
    if (h->type < LOG_START || h->type > LOG_NOTE)
        return false;
    return checksum_matches(h->checksum, p + 4, LOG_HEADER_BYTES - 4, place_salt(number, offset));
}

bool log_payload_ok(const struct log_header *h, uint64_t offset, struct slice payload)
{
    return checksum_matches(h->payload_checksum, payload.data, payload.len, place_salt(h->number, offset));
}

void log_start_put(uint8_t *p, const struct log_start *s)
{
    memset(p, 0, LOG_START_BYTES);
    put_le32(p, s->format);
    put_le32(p + 4, s->before_checksum);
    put_le64(p + 8, s->before);
    put_le64(p + 16, s->before_end);
    put_le64(p + 24, s->epoch);
    memcpy(p + 32, s->uuid, 16);
}

bool log_start_get(struct slice payload, struct log_start *s)
{
    if (payload.len < LOG_START_BYTES)
        return false;
    const uint8_t *p = payload.data;
    *s = (struct log_start){
        .format = get_le32(p),
        .before_checksum = get_le32(p + 4),
        .before = get_le64(p + 8),
        .before_end = get_le64(p + 16),
        .epoch = get_le64(p + 24),
    };
    memcpy(s->uuid, p + 32, 16);
    return true;
}

/* ---- batches ---- */

static uint64_t zigzag(int64_t v) { return ((uint64_t)v << 1) ^ (uint64_t)(v >> 63); }
static int64_t unzigzag(uint64_t v) { return (int64_t)(v >> 1) ^ -(int64_t)(v & 1); }

size_t front_batch_bytes(const struct batch *b)
{
    size_t bytes = 4 + 1 + varint_size(b->now_ms) + varint_size(b->count);
    if (b->counter_count) {
        bytes += varint_size(b->counter_count);
        for (size_t i = 0; i < b->counter_count; i++) {
            const struct batch_counter *c = &b->counters[i];
            bytes += varint_size(c->id) + varint_size(zigzag(c->keys)) + varint_size(zigzag(c->expires));
        }
    }
    if (b->table)
        bytes += varint_size(b->table_number);
    for (size_t i = 0; i < b->count; i++) {
        size_t key = b->records[i].key.bytes.len, value = b->records[i].value.len;
        bytes += 1 + varint_size(key) + varint_size(value) + key + value;
    }
    return bytes;
}

void log_batch_put(uint8_t *p, size_t bytes, const struct batch *b)
{
    uint8_t *start = p;
    put_le32(p, (uint32_t)(bytes - 4));
    p += 4;
    *p++ = (uint8_t)((b->counter_count ? BATCH_COUNTERS : 0) | (b->table ? BATCH_TABLE : 0));
    p += put_varint(p, b->now_ms);
    p += put_varint(p, b->count);
    if (b->counter_count) {
        p += put_varint(p, b->counter_count);
        for (size_t i = 0; i < b->counter_count; i++) {
            p += put_varint(p, b->counters[i].id);
            p += put_varint(p, zigzag(b->counters[i].keys));
            p += put_varint(p, zigzag(b->counters[i].expires));
        }
    }
    if (b->table)
        p += put_varint(p, b->table_number);
    for (size_t i = 0; i < b->count; i++) {
        const struct batch_record *r = &b->records[i];
        *p++ = r->kind;
        p += put_varint(p, r->key.bytes.len);
        p += put_varint(p, r->value.len);
        memcpy(p, r->key.bytes.data, r->key.bytes.len);
        p += r->key.bytes.len;
        if (r->value.len)
            memcpy(p, r->value.data, r->value.len);
        p += r->value.len;
    }
    assert((size_t)(p - start) == bytes);
}

/* One record off the front; false when it does not hold up. */
static bool take_record(struct slice *in, struct batch_record *r)
{
    uint64_t key = 0, value = 0;
    if (in->len < 1)
        return false;
    r->kind = in->data[0];
    *in = slice_of(in->data + 1, in->len - 1);
    if ((r->kind != RECORD_PUT && r->kind != RECORD_DELETE) || !take_varint(in, &key) || !take_varint(in, &value))
        return false;
    if (key == 0 || key > ENGINE_KEY_MAX || value > in->len || (r->kind == RECORD_DELETE && value != 0))
        return false;
    return take_bytes(in, key, &r->key.bytes) && take_bytes(in, value, &r->value);
}

static bool take_counter(struct slice *in, struct batch_counter *c)
{
    uint64_t id, keys, expires;
    if (!take_varint(in, &id) || id > UINT32_MAX || !take_varint(in, &keys) || !take_varint(in, &expires))
        return false;
    *c = (struct batch_counter){(uint32_t)id, unzigzag(keys), unzigzag(expires)};
    return true;
}

bool log_batch_take(struct slice *payload, struct log_batch *b)
{
    struct slice head, in;
    if (!take_bytes(payload, 4, &head) || !take_bytes(payload, get_le32(head.data), &in) || in.len < 1)
        return false;
    uint8_t flags = in.data[0];
    in = slice_of(in.data + 1, in.len - 1);
    *b = (struct log_batch){0};
    if ((flags & ~(BATCH_COUNTERS | BATCH_TABLE)) || !take_varint(&in, &b->now_ms) || !take_varint(&in, &b->records))
        return false;
    if (flags & BATCH_COUNTERS) {
        if (!take_varint(&in, &b->counters))
            return false;
        b->counter_bytes.data = in.data;
        struct batch_counter c;
        for (uint64_t i = 0; i < b->counters; i++)
            if (!take_counter(&in, &c))
                return false;
        b->counter_bytes.len = (size_t)(in.data - b->counter_bytes.data);
    }
    if ((flags & BATCH_TABLE) && (!take_varint(&in, &b->table) || b->table == 0))
        return false;
    b->record_bytes = in;
    struct batch_record r;
    for (uint64_t i = 0; i < b->records; i++)
        if (!take_record(&in, &r))
            return false;
    return in.len == 0;
}

void log_counter_take(struct slice *bytes, struct batch_counter *c)
{
    bool ok = take_counter(bytes, c);
    assert(ok);
    (void)ok;
}

void log_record_take(struct slice *bytes, struct batch_record *r)
{
    bool ok = take_record(bytes, r);
    assert(ok);
    (void)ok;
}
