/* Encoding and checking of log records: the bytes are described in log_format.h. */
#include "front/log_format.h"

#include <assert.h>

#include "base/bytes.h"
#include "base/hash.h"

enum { BATCH_COUNTERS = 1, BATCH_TABLE = 2 };

#define LAG_UNKNOWN 0xffffffu
#define LOW_BITS 32

static uint64_t place_salt(uint64_t number, uint64_t offset) { return hash_mix(number * 0x9e3779b97f4a7c15u + offset); }

static uint64_t payload_salt(uint32_t header_bytes, uint64_t salt)
{
    return header_bytes == LOG_HEADER_BYTES ? salt ^ 0x7061796c6f6164 : salt;
}

/* The last sequence before the record. */
static uint64_t last_before(const struct log_header *h) { return h->type == LOG_GROUP ? h->first - 1 : h->first; }

static void put_short(uint8_t *p, const struct log_header *h)
{
    uint64_t last = last_before(h), lag = last > h->durable ? last - h->durable : 0;
    assert(h->batches <= LOG_GROUP_BATCHES);
    p[12] = (uint8_t)(h->type | h->flags << 4);
    uint32_t lag24 = lag < LAG_UNKNOWN ? (uint32_t)lag : LAG_UNKNOWN;
    p[13] = (uint8_t)lag24;
    put_le16(p + 14, (uint16_t)(lag24 >> 8));
    put_le16(p + 16, (uint16_t)h->batches);
    put_le32(p + 18, (uint32_t)h->first);
}

static void put_long(uint8_t *p, const struct log_header *h)
{
    memset(p + 12, 0, LOG_START_HEADER_BYTES - 12);
    p[12] = h->type;
    p[13] = h->flags;
    put_le64(p + 16, h->number);
    put_le64(p + 24, h->first);
    put_le32(p + 32, h->batches);
    put_le32(p + 36, h->epoch);
    put_le64(p + 40, h->durable);
}

void log_header_put(uint8_t *p, uint32_t format, struct log_header *h, uint64_t offset, const void *payload)
{
    uint64_t salt = place_salt(h->number, offset);
    h->bytes = log_header_bytes(format, (enum log_type)h->type);
    h->payload_checksum = checksum32(payload, h->length, payload_salt(h->bytes, salt));
    put_le32(p + 4, h->payload_checksum);
    put_le32(p + 8, h->length);
    if (h->bytes == LOG_HEADER_BYTES)
        put_short(p, h);
    else
        put_long(p, h);
    h->checksum = checksum32(p + 4, h->bytes - 4, salt);
    put_le32(p, h->checksum);
}

/* The number with these low bits that is nearest to the other. */
static uint64_t nearest(uint64_t low, uint64_t to)
{
    uint64_t ahead = (low - to) << (64 - LOW_BITS) >> (64 - LOW_BITS);
    return ahead >> (LOW_BITS - 1) ? to + ahead - ((uint64_t)1 << LOW_BITS) : to + ahead;
}

static void get_short(const uint8_t *p, uint64_t base, struct log_header *h)
{
    uint32_t lag = p[13] | (uint32_t)get_le16(p + 14) << 8;
    h->type = p[12] & 15;
    h->flags = p[12] >> 4;
    h->batches = get_le16(p + 16);
    h->first = nearest(get_le32(p + 18), base);
    uint64_t last = last_before(h);
    h->durable = lag == LAG_UNKNOWN || lag > last ? 0 : last - lag;
}

static void get_long(const uint8_t *p, struct log_header *h)
{
    h->type = p[12];
    h->flags = p[13];
    h->first = get_le64(p + 24);
    h->batches = get_le32(p + 32);
    h->epoch = get_le32(p + 36);
    h->durable = get_le64(p + 40);
}

bool log_header_may_be(const uint8_t *p, const struct log_basis *b)
{
    if (b->format == 1)
        return get_le64(p + 16) == b->number;
    return (p[12] & 15) == LOG_GROUP || (p[12] & 15) == LOG_NOTE;
}

bool log_header_get(const uint8_t *p, const struct log_basis *b, uint64_t offset, struct log_header *h)
{
    *h = (struct log_header){
        .checksum = get_le32(p),
        .payload_checksum = get_le32(p + 4),
        .length = get_le32(p + 8),
        .bytes = log_header_bytes(b->format, offset == 0 ? LOG_START : LOG_GROUP),
        .number = b->number,
    };
    if (h->bytes == LOG_HEADER_BYTES)
        get_short(p, b->base, h);
    else if (get_le64(p + 16) == b->number)
        get_long(p, h);
    if (offset == 0 ? h->type != LOG_START : h->type != LOG_GROUP && h->type != LOG_NOTE)
        return false;
    return checksum32_holds(h->checksum, p + 4, h->bytes - 4, place_salt(b->number, offset));
}

bool log_payload_ok(const struct log_header *h, uint64_t offset, struct slice payload)
{
    uint64_t salt = payload_salt(h->bytes, place_salt(h->number, offset));
    return checksum32_holds(h->payload_checksum, payload.data, payload.len, salt);
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
    put_le64(p + 48, s->time_ms);
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
        .time_ms = get_le64(p + 48),
    };
    memcpy(s->uuid, p + 32, 16);
    return true;
}

/* ---- batches ---- */

static uint64_t zigzag(int64_t v) { return ((uint64_t)v << 1) ^ (uint64_t)(v >> 63); }
static int64_t unzigzag(uint64_t v) { return (int64_t)(v >> 1) ^ -(int64_t)(v & 1); }

/* All of a batch behind its length. */
static size_t rest_bytes(const struct batch *b, uint64_t time_ms)
{
    size_t bytes = varint_size((uint64_t)b->count << 2) + varint_size(zigzag((int64_t)(b->now_ms - time_ms)));
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
        bytes += varint_size(key << 1) + key;
        bytes += b->records[i].kind == RECORD_DELETE ? 0 : varint_size(value) + value;
    }
    return bytes;
}

size_t log_batch_bytes(const struct batch *b, uint64_t time_ms)
{
    size_t rest = rest_bytes(b, time_ms);
    return varint_size(rest) + rest;
}

size_t log_batch_most(size_t bytes, size_t records, size_t counters)
{
    return 4 * VARINT_MAX + counters * 3 * VARINT_MAX + records * 2 * VARINT_MAX + bytes;
}

uint64_t log_batch_length(const uint8_t *p)
{
    uint64_t rest = 0;
    unsigned n = 0;
    do
        rest |= (uint64_t)(p[n] & 127) << (7 * n);
    while (p[n++] & 128);
    return n + rest;
}

/* The length of what is left of so many bytes when it stands before it. */
static size_t rest_of(size_t bytes)
{
    size_t n = varint_size(bytes);
    return varint_size(bytes - n) == n ? bytes - n : bytes - n + 1;
}

static uint8_t *put_record(uint8_t *p, const struct batch_record *r)
{
    bool gone = r->kind == RECORD_DELETE;
    p += put_varint(p, r->key.bytes.len << 1 | gone);
    if (!gone)
        p += put_varint(p, r->value.len);
    memcpy(p, r->key.bytes.data, r->key.bytes.len);
    p += r->key.bytes.len;
    if (r->value.len)
        memcpy(p, r->value.data, r->value.len);
    return p + r->value.len;
}

void log_batch_put(uint8_t *p, size_t bytes, const struct batch *b, uint64_t time_ms)
{
    uint8_t *start = p;
    unsigned flags = (b->counter_count ? BATCH_COUNTERS : 0) | (b->table ? BATCH_TABLE : 0);
    p += put_varint(p, rest_of(bytes));
    p += put_varint(p, (uint64_t)b->count << 2 | flags);
    p += put_varint(p, zigzag((int64_t)(b->now_ms - time_ms)));
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
    for (size_t i = 0; i < b->count; i++)
        p = put_record(p, &b->records[i]);
    assert((size_t)(p - start) == bytes);
}

/* What stands before a record's key in format 1. */
static bool take_long_head(struct slice *in, uint8_t *kind, uint64_t *key, uint64_t *value)
{
    if (in->len < 1)
        return false;
    *kind = in->data[0];
    *in = slice_of(in->data + 1, in->len - 1);
    if (*kind != RECORD_PUT && *kind != RECORD_DELETE)
        return false;
    return take_varint(in, key) && take_varint(in, value) && (*kind == RECORD_PUT || *value == 0);
}

static bool take_short_head(struct slice *in, uint8_t *kind, uint64_t *key, uint64_t *value)
{
    uint64_t head;
    if (!take_varint(in, &head))
        return false;
    *kind = head & 1 ? RECORD_DELETE : RECORD_PUT;
    *key = head >> 1;
    *value = 0;
    return *kind == RECORD_DELETE || take_varint(in, value);
}

/* One record off the front; false when it does not hold up. */
static bool take_record(struct slice *in, uint32_t format, struct batch_record *r)
{
    uint64_t key = 0, value = 0;
    if (!(format == 1 ? take_long_head : take_short_head)(in, &r->kind, &key, &value))
        return false;
    if (key == 0 || key > ENGINE_KEY_MAX || value > in->len)
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

/* The next batch of format 1 off the payload, and what stands at its beginning off the batch. */
static bool take_long_batch(struct slice *payload, struct slice *in, uint64_t *flags, struct log_batch *b)
{
    struct slice head;
    if (!take_bytes(payload, 4, &head) || !take_bytes(payload, get_le32(head.data), in) || in->len < 1)
        return false;
    *flags = in->data[0];
    *in = slice_of(in->data + 1, in->len - 1);
    return take_varint(in, &b->now_ms) && take_varint(in, &b->records);
}

static bool take_short_batch(struct slice *payload, struct slice *in, uint64_t *flags, uint64_t time_ms,
                             struct log_batch *b)
{
    uint64_t len, time;
    if (!take_varint(payload, &len) || len > payload->len || !take_bytes(payload, len, in) || !take_varint(in, flags) ||
        !take_varint(in, &time))
        return false;
    b->records = *flags >> 2;
    *flags &= 3;
    b->now_ms = time_ms + (uint64_t)unzigzag(time);
    return true;
}

bool log_batch_take(struct slice *payload, const struct log_basis *basis, struct log_batch *b)
{
    struct slice in;
    uint64_t flags;
    *b = (struct log_batch){.format = basis->format};
    if (!(basis->format == 1 ? take_long_batch(payload, &in, &flags, b)
                             : take_short_batch(payload, &in, &flags, basis->time_ms, b)))
        return false;
    if (flags & ~(uint64_t)(BATCH_COUNTERS | BATCH_TABLE))
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
        if (!take_record(&in, basis->format, &r))
            return false;
    return in.len == 0;
}

void log_counter_take(struct log_batch *b, struct batch_counter *c)
{
    bool ok = take_counter(&b->counter_bytes, c);
    assert(ok);
    (void)ok;
}

void log_record_take(struct log_batch *b, struct batch_record *r)
{
    bool ok = take_record(&b->record_bytes, b->format, r);
    assert(ok);
    (void)ok;
}
