/* Reading one log file: see log_reader.h. */
#include "front/log_reader.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

#define FILE_MAX ((uint64_t)4 << 30)
#define WINDOW ((size_t)1 << 20)
#define PIECE ((size_t)256 << 10)

/* Makes [offset, offset + len) of the file, and what lies behind it as far as a window goes, stand in memory. What is
 * there of it already is kept. */
static bool move_window(struct log_reader *r, uint64_t offset, uint64_t len)
{
    size_t want = len > WINDOW ? (size_t)len : WINDOW, kept = 0, got = 0;
    if (offset >= r->begin && offset < r->begin + r->held)
        kept = (size_t)(r->begin + r->held - offset);
    if (want > r->len - offset)
        want = (size_t)(r->len - offset);
    if (kept)
        memmove(r->data, r->data + (offset - r->begin), kept);
    r->begin = offset;
    r->held = kept;
    if (want > r->room) {
        uint8_t *more = realloc(r->data, want);
        if (!more) {
            r->failed = RES_NO_MEMORY;
            return false;
        }
        r->data = more;
        r->room = want;
    }
    enum result res = r->file->ops->pread(r->file, r->data + kept, want - kept, offset + kept, 0, &got);
    if (res == RES_OK && got != want - kept)
        res = RES_IO; /* it has become shorter */
    if (res != RES_OK)
        r->failed = res;
    else
        r->held = want;
    return res == RES_OK;
}

/* Are these bytes there, and in memory? What at() has told before is over. */
static bool have(struct log_reader *r, uint64_t offset, uint64_t len)
{
    if (offset > r->len || r->len - offset < len)
        return false;
    bool held = offset >= r->begin && offset + len <= r->begin + r->held;
    return held || len == 0 || move_window(r, offset, len);
}

static const uint8_t *at(const struct log_reader *r, uint64_t offset) { return r->data + (offset - r->begin); }

/* A valid header at the offset, whatever of its record there is. */
static bool header_as(struct log_reader *r, uint32_t format, uint64_t offset, struct log_header *h)
{
    struct log_basis basis = r->basis;
    basis.format = format;
    return have(r, offset, log_header_bytes(format, offset == 0 ? LOG_START : LOG_GROUP)) &&
           log_header_get(at(r, offset), &basis, offset, h);
}

static bool record_as(struct log_reader *r, uint32_t format, uint64_t offset, struct log_header *h,
                      struct slice *payload)
{
    if (!header_as(r, format, offset, h) || !have(r, offset + h->bytes, h->length))
        return false;
    *payload = slice_of(h->length ? at(r, offset + h->bytes) : NULL, h->length);
    return log_payload_ok(h, offset, *payload);
}

/* A whole valid record at the offset. */
static bool record_at(struct log_reader *r, uint64_t offset, struct log_header *h, struct slice *payload)
{
    if (r->basis.format)
        return record_as(r, r->basis.format, offset, h, payload);
    for (uint32_t format = LOG_FORMAT_OLDEST; format <= LOG_FORMAT_VERSION; format++)
        if (record_as(r, format, offset, h, payload))
            return true;
    return false;
}

/* Of the file, if there is a valid one. */
static bool read_start(struct log_reader *r, struct log_header *h, struct log_start *s)
{
    struct slice payload;
    if (!record_as(r, LOG_FORMAT_VERSION, 0, h, &payload) || !log_start_get(payload, s))
        return false;
    r->basis.format = s->format;
    r->basis.base = h->first;
    r->basis.time_ms = s->time_ms;
    return true;
}

static enum result open_file(struct log_reader *r, struct env *env, const char *path)
{
    enum result res = env->ops->open(env, path, ENV_READ, &r->file);
    if (res == RES_OK)
        res = r->file->ops->size(r->file, &r->len);
    return res == RES_OK && r->len > FILE_MAX ? RES_RANGE : res;
}

enum result log_reader_open_any(struct log_reader *r, struct env *env, const char *path, uint64_t number)
{
    *r = (struct log_reader){.basis = {.number = number}};
    enum result res = open_file(r, env, path);
    if (res == RES_OK && !read_start(r, &r->start_header, &r->start)) {
        r->start_header = (struct log_header){0};
        res = r->failed;
    }
    if (res != RES_OK)
        log_reader_close(r);
    return res;
}

enum result log_reader_open(struct log_reader *r, struct env *env, const char *path, uint64_t number)
{
    enum result res = log_reader_open_any(r, env, path, number);
    if (res != RES_OK)
        return res;
    struct log_start start = r->start;
    if (r->start_header.type != LOG_START)
        res = RES_NOT_FOUND;
    else if (!log_format_known(start.format))
        res = RES_UNSUPPORTED;
    if (res != RES_OK) {
        log_reader_close(r);
        r->start = start;
        return res;
    }
    r->offset = log_record_bytes(&r->start_header);
    return RES_OK;
}

void log_reader_close(struct log_reader *r)
{
    if (r->file)
        (void)r->file->ops->close(r->file); /* only read */
    free(r->data);
    *r = (struct log_reader){0};
}

enum log_step log_reader_next(struct log_reader *r, uint64_t known, struct log_header *h, struct slice *payload)
{
    *payload = slice_of(NULL, 0);
    bool good = r->basis.format && header_as(r, r->basis.format, r->offset, h) && h->type == LOG_GROUP &&
                h->length <= r->len - r->offset - h->bytes && h->batches > 0 && h->first + h->batches - 1 <= known;
    if (!good)
        good = record_at(r, r->offset, h, payload);
    if (!good)
        return LOG_STEP_BAD;
    r->offset += log_record_bytes(h);
    return LOG_STEP_RECORD;
}

/* A header of the file's format, or of any when that is not known, for which the file has room there. */
static bool may_be_header(const struct log_reader *r, uint64_t offset)
{
    struct log_basis basis = r->basis;
    uint32_t newest = basis.format ? basis.format : LOG_FORMAT_VERSION;
    if (!basis.format)
        basis.format = LOG_FORMAT_OLDEST;
    for (; basis.format <= newest; basis.format++)
        if (r->len - offset >= log_header_bytes(basis.format, LOG_GROUP) && log_header_may_be(at(r, offset), &basis))
            return true;
    return false;
}

/* The first place at or behind `from` where a header may stand, or `to`. */
static uint64_t next_candidate(struct log_reader *r, uint64_t from, uint64_t to)
{
    uint64_t place = (from + 7) & ~(uint64_t)7;
    uint64_t last = r->len < LOG_HEADER_BYTES ? 0 : r->len - LOG_HEADER_BYTES + 1;
    if (last > to)
        last = to;
    while (place < last) {
        uint64_t end = place + PIECE < last ? place + PIECE : last;
        uint64_t seen = end - place + LOG_PEEK_BYTES - 1; /* for a header at end - 1 */
        if (seen > r->len - place)
            seen = r->len - place;
        if (!have(r, place, seen))
            return to;
        for (; place < end; place += 8)
            if (place == 0 || may_be_header(r, place))
                return place;
    }
    return to;
}

bool log_reader_says_durable(struct log_reader *r, uint64_t from, uint64_t to, uint64_t sequence)
{
    struct log_header h;
    struct slice payload;
    if (from == 0 && r->start_header.durable >= sequence)
        return true;
    if (r->basis.format == 0)
        r->basis.base = sequence; /* what could say so is not far from it */
    if (to > r->len)
        to = r->len;
    for (uint64_t place = next_candidate(r, from, to); place < to; place = next_candidate(r, place + 8, to))
        if (record_at(r, place, &h, &payload) && h.durable >= sequence)
            return true;
    return false;
}

bool log_reader_skip(struct log_reader *r)
{
    struct log_header h;
    struct slice payload;
    for (uint64_t place = next_candidate(r, r->offset, r->len); place < r->len;
         place = next_candidate(r, place + 8, r->len))
        if (record_at(r, place, &h, &payload)) {
            r->offset = place;
            return true;
        }
    return false;
}

uint64_t log_reader_torn(struct log_reader *r)
{
    struct log_header h;
    if (r->basis.format == 0 || !header_as(r, r->basis.format, r->offset, &h)) /* zeros, or a former life of the file */
        return 0;
    uint64_t rest = r->len - r->offset, claimed = (uint64_t)h.bytes + h.length;
    return claimed < rest ? claimed : rest;
}

enum result log_peek(struct env *env, const char *path, uint64_t number, struct log_header *h, struct log_start *s)
{
    uint8_t bytes[LOG_START_RECORD];
    struct env_file *file = NULL;
    size_t got = 0;
    enum result res = env->ops->open(env, path, ENV_READ, &file);
    if (res != RES_OK)
        return res;
    res = file->ops->pread(file, bytes, sizeof(bytes), 0, 0, &got);
    (void)file->ops->close(file);
    if (res != RES_OK)
        return res;
    struct log_reader r = {.basis = {.number = number}, .data = bytes, .len = got, .held = got};
    return read_start(&r, h, s) ? RES_OK : RES_NOT_FOUND;
}
