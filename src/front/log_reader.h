/* Reading one log file back, record by record; the bytes are described in log_format.h. What is asked for is read in
 * a window of a megabyte, or of the length of the record where that is more: what nobody needs is neither read nor
 * checked. Used by recovery, by the offline checker and by the fuzzer. */
#ifndef VARVE_FRONT_LOG_READER_H
#define VARVE_FRONT_LOG_READER_H

#include "front/log_format.h"

struct log_reader {
    uint64_t len;
    struct env_file *file; /* NULL: all of it is held */
    uint8_t *data;         /* the window, from `begin` on; malloc'd */
    uint64_t begin;
    size_t held, room;
    enum result failed;     /* of a read: then nothing that is said below about missing records counts */
    uint64_t offset;        /* of the next record */
    struct log_basis basis; /* format 0: START does not hold up, and a record of any format is one */
    struct log_start start;
    struct log_header start_header;
};

enum log_step {
    LOG_STEP_RECORD,
    LOG_STEP_BAD, /* what lies at offset is no record of this file */
};

/* RES_OK; RES_NOT_FOUND: no such file, or it was never begun (no valid START); RES_UNSUPPORTED: a format that is not known
 * (start says which), and the reader is closed; RES_IO and the like. */
enum result log_reader_open(struct log_reader *r, struct env *env, const char *path, uint64_t number) MUST_CHECK;
/* The same for a file that may have no valid START, or an unknown one: from its first byte on. */
enum result log_reader_open_any(struct log_reader *r, struct env *env, const char *path, uint64_t number) MUST_CHECK;
void log_reader_close(struct log_reader *r);
/* The record at offset; moves behind it. Of groups that end at or below `known` only the header is looked at, and *payload
 * is empty. The payload is there until the reader is used again. */
enum log_step log_reader_next(struct log_reader *r, uint64_t known, struct log_header *h, struct slice *payload);
/* In [from, to): does a valid record say that the sequence was durable when it was written? */
bool log_reader_says_durable(struct log_reader *r, uint64_t from, uint64_t to, uint64_t sequence);
/* Moves offset to the next valid record at or behind it; false when there is none. */
bool log_reader_skip(struct log_reader *r);
/* Bytes of a record of this log that begins at offset and is not whole; 0 when nothing of it is there. */
uint64_t log_reader_torn(struct log_reader *r);

/* Only the START record of a file. */
enum result log_peek(struct env *env, const char *path, uint64_t number, struct log_header *h, struct log_start *s)
    MUST_CHECK;

#endif
