/* Reading one log file: see log_reader.h. */
#include "front/log_reader.h"

#include <stdlib.h>

#include "base/bytes.h"

#define FILE_MAX ((size_t)4 << 30)

/* A whole valid record at the offset. */
static bool record_at(const struct log_reader *r, uint64_t offset, struct log_header *h, struct slice *payload)
{
    if (offset > r->len || r->len - offset < LOG_HEADER_BYTES)
        return false;
    if (!log_header_get(r->data + offset, r->number, offset, h))
        return false;
    if (h->length > r->len - offset - LOG_HEADER_BYTES || (h->type == LOG_START) != (offset == 0))
        return false;
    *payload = slice_of(r->data + offset + LOG_HEADER_BYTES, h->length);
    return log_payload_ok(h, offset, *payload);
}

enum result log_reader_open(struct log_reader *r, struct env *env, const char *path, uint64_t number)
{
    *r = (struct log_reader){.number = number};
    enum result res = env_read_file(env, path, FILE_MAX, &r->data, &r->len);
    if (res != RES_OK)
        return res;
    struct slice payload;
    if (!record_at(r, 0, &r->start_header, &payload) || r->start_header.type != LOG_START ||
        !log_start_get(payload, &r->start)) {
        log_reader_close(r);
        return RES_NOT_FOUND;
    }
    r->offset = log_record_bytes(payload.len);
    return RES_OK;
}

void log_reader_close(struct log_reader *r)
{
    free(r->data);
    *r = (struct log_reader){0};
}

enum log_step log_reader_next(struct log_reader *r, struct log_header *h, struct slice *payload)
{
    if (!record_at(r, r->offset, h, payload))
        return LOG_STEP_BAD;
    r->offset += log_record_bytes(h->length);
    return LOG_STEP_RECORD;
}

bool log_reader_says_durable(const struct log_reader *r, uint64_t from, uint64_t sequence)
{
    struct log_header h;
    struct slice payload;
    if (from == 0 && r->start_header.durable >= sequence)
        return true;
    for (uint64_t at = (from + 7) & ~(uint64_t)7; at < r->len; at += 8)
        if (record_at(r, at, &h, &payload) && h.durable >= sequence)
            return true;
    return false;
}

bool log_reader_skip(struct log_reader *r)
{
    struct log_header h;
    struct slice payload;
    for (uint64_t at = (r->offset + 7) & ~(uint64_t)7; at < r->len; at += 8)
        if (record_at(r, at, &h, &payload)) {
            r->offset = at;
            return true;
        }
    return false;
}

uint64_t log_reader_torn(const struct log_reader *r)
{
    if (r->offset > r->len || r->len - r->offset < LOG_HEADER_BYTES)
        return 0;
    const uint8_t *p = r->data + r->offset;
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
    struct log_reader r = {.number = number, .data = bytes, .len = got};
    struct slice payload;
    if (!record_at(&r, 0, h, &payload) || h->type != LOG_START || !log_start_get(payload, s))
        return RES_NOT_FOUND;
    return RES_OK;
}
