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

static bool header_at(struct log_reader *r, uint64_t offset, struct log_header *h)
{
    return have(r, offset, LOG_HEADER_BYTES) && log_header_get(at(r, offset), r->number, offset, h) &&
           h->length <= r->len - offset - LOG_HEADER_BYTES && (h->type == LOG_START) == (offset == 0);
}

/* A whole valid record at the offset. */
static bool record_at(struct log_reader *r, uint64_t offset, struct log_header *h, struct slice *payload)
{
    if (!header_at(r, offset, h) || !have(r, offset + LOG_HEADER_BYTES, h->length))
        return false;
    *payload = slice_of(h->length ? at(r, offset + LOG_HEADER_BYTES) : NULL, h->length);
    return log_payload_ok(h, offset, *payload);
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
    *r = (struct log_reader){.number = number};
    enum result res = open_file(r, env, path);
    if (res != RES_OK)
        log_reader_close(r);
    return res;
}

enum result log_reader_open(struct log_reader *r, struct env *env, const char *path, uint64_t number)
{
    struct slice payload;
    enum result res = log_reader_open_any(r, env, path, number);
    if (res != RES_OK)
        return res;
    if (!record_at(r, 0, &r->start_header, &payload) || r->start_header.type != LOG_START ||
        !log_start_get(payload, &r->start)) {
        res = r->failed != RES_OK ? r->failed : RES_NOT_FOUND;
        log_reader_close(r);
        return res;
    }
    r->offset = log_record_bytes(payload.len);
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
    bool good =
        header_at(r, r->offset, h) && h->type == LOG_GROUP && h->batches > 0 && h->first + h->batches - 1 <= known;
    if (!good)
        good = record_at(r, r->offset, h, payload);
    if (!good)
        return LOG_STEP_BAD;
    r->offset += log_record_bytes(h->length);
    return LOG_STEP_RECORD;
}

/* The first place at or behind `from` where a header may stand: one that names this log; or `to`. */
static uint64_t next_candidate(struct log_reader *r, uint64_t from, uint64_t to)
{
    uint64_t place = (from + 7) & ~(uint64_t)7;
    uint64_t last = r->len < LOG_HEADER_BYTES ? 0 : r->len - LOG_HEADER_BYTES + 1;
    if (last > to)
        last = to;
    while (place < last) {
        uint64_t end = place + PIECE < last ? place + PIECE : last;
        if (!have(r, place, end - place + 23)) /* the number of a header at end - 1 */
            return to;
        for (; place < end; place += 8)
            if (get_le64(at(r, place + 16)) == r->number)
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
    if (!have(r, r->offset, LOG_HEADER_BYTES))
        return 0;
    const uint8_t *p = at(r, r->offset);
    uint64_t rest = r->len - r->offset, claimed = LOG_HEADER_BYTES + (uint64_t)get_le32(p + 8);
    if (get_le64(p + 16) != r->number) /* zeros, or a former life of the file */
        return 0;
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
    struct log_reader r = {.number = number, .data = bytes, .len = got, .held = got};
    struct slice payload;
    if (!record_at(&r, 0, h, &payload) || h->type != LOG_START || !log_start_get(payload, s))
        return RES_NOT_FOUND;
    return RES_OK;
}
