/* The log's bytes. A log is a sequence of files DIR/wal/NNNNNNNNNNNN.log; numbers grow and are never used twice. All
 * integers are little-endian, varints LEB128, signed varints zigzag.
 *
 * A file is a START record and then GROUP and NOTE records, back to back, each beginning at a multiple of 8 and followed
 * by 0 to 7 bytes of 0. START says which format the others have; its own is the same in all of them, so that a program
 * knows a log that it cannot read.
 *
 *     header of START, 64 bytes (and of every record in format 1)
 *        0  u32  checksum of bytes 4..63
 *        4  u32  checksum of the payload
 *        8  u32  length of the payload
 *       12  u8   type: 1 START, 2 GROUP, 3 NOTE
 *       13  u8   flags: 1 = CLEAN, on a NOTE: the server was closed in order behind this record
 *       14  u16  0
 *       16  u64  log number
 *       24  u64  GROUP: sequence of its first batch; START, NOTE: the last sequence given before it
 *       32  u32  batches in the group; 0
 *       36  u32  boot epoch, low half
 *       40  u64  highest sequence known to be durable when this was written
 *       48  u64  0 (format 1: term)
 *       56  u64  0
 *
 *     header of GROUP and NOTE, 22 bytes
 *        0  u32  checksum of bytes 4..21
 *        4  u32  checksum of the payload
 *        8  u32  length of the payload
 *       12  u8   type + 16 * flags
 *       13  u24  commits before the group (or up to the NOTE) that were not known to be durable when this was written;
 *                0xffffff: as many or more
 *       16  u16  batches in the group; 0
 *       18  u32  low part of: GROUP, sequence of its first batch; NOTE, the last sequence given before it. The whole is
 *                the number nearest to the sequence in START that ends so: no file has room for 2^31 batches
 *
 * Checksums are salted with the place, log number and offset of the record, because files are recycled: what an earlier
 * life left behind a record is never valid. Of the salt header and payload of the short form take different halves: a
 * whole record stands for 64 bits, not for the same 32 twice. (In the long form both take the same, and the number
 * stands beside it.) What a stale record that passed all the same would say is older than anything that is looked for.
 *
 * The durable mark tells a torn tail from damage: bytes that do not hold up are damage if any later record says that their
 * sequence was durable, and otherwise the tail of what a crash interrupted. A mark that does not fit says nothing, and
 * START has its own, in full.
 *
 *     START payload, 56 bytes
 *        0  u32  format version: 2, or 1
 *        4  u32  checksum (first header field) of the last record of the predecessor
 *        8  u64  number of the predecessor; 0: none
 *       16  u64  offset at which the predecessor ends
 *       24  u64  boot epoch
 *       32  16   uuid of the data directory
 *       48  u64  time (ms since 1970) that the batches' times are told from (format 1: 0)
 *
 *     GROUP payload: batches. The i-th has the sequence first + i.
 *        varint  length of the rest of the batch
 *        varint  number of records * 4 + flags: 1 = counters, 2 = private table
 *        varint  signed: time at which the command was executed, less START's
 *        counters:      varint n, n times: varint id, signed varint keys, signed varint keys with expiry
 *        private table: varint number of the table
 *        records: varint key length * 2 + 1 for a delete, varint value length unless it is one, key, value
 *
 *     and in format 1
 *        u32     length of the rest of the batch
 *        u8      flags
 *        varint  time (ms since 1970)
 *        varint  number of records
 *        counters, private table: the same
 *        records: u8 kind, varint key length, varint value length, key, value
 *
 * A group is what one write carried: its checksum is computed by the log's writer, not under the write latch, and a
 * batch is in the log whole or not at all because its group is. A term of the Raft log, when there is one, goes into
 * START, whose header has the room: it changes as seldom as files do. */
#ifndef VARVE_FRONT_LOG_FORMAT_H
#define VARVE_FRONT_LOG_FORMAT_H

#include "front/front.h"

#define LOG_HEADER_BYTES 22       /* of what is written now */
#define LOG_PEEK_BYTES 24         /* see log_header_may_be */
#define LOG_START_HEADER_BYTES 64 /* of START, and of all in format 1 */
#define LOG_START_BYTES 56        /* payload of START */
#define LOG_START_RECORD (LOG_START_HEADER_BYTES + LOG_START_BYTES)
#define LOG_NOTE_RECORD ((LOG_HEADER_BYTES + 7) & ~7) /* a NOTE and the zeros behind it */
#define LOG_FORMAT_VERSION 2
#define LOG_FORMAT_OLDEST 1      /* that can be read */
#define LOG_GROUP_BATCHES 0xffff /* at most so many */

enum log_type { LOG_START = 1, LOG_GROUP = 2, LOG_NOTE = 3 };
enum log_flags { LOG_CLEAN = 1 };

/* What the records of a file lean on: its number, and what its START says. */
struct log_basis {
    uint64_t number;
    uint32_t format;
    uint64_t base; /* the last sequence before the file */
    uint64_t time_ms;
};

struct log_header {
    uint32_t checksum, payload_checksum, length;
    uint32_t bytes; /* of the header itself */
    uint8_t type, flags;
    uint64_t number, first;
    uint32_t batches, epoch; /* epoch: START alone */
    uint64_t durable;        /* 0: not known */
};

struct log_start {
    uint32_t format, before_checksum;
    uint64_t before, before_end, epoch, time_ms;
    uint8_t uuid[16];
};

/* From a record to the next. */
static inline uint64_t log_record_bytes(const struct log_header *h)
{
    return ((uint64_t)h->bytes + h->length + 7) & ~(uint64_t)7;
}
static inline uint32_t log_header_bytes(uint32_t format, enum log_type type)
{
    return format == 1 || type == LOG_START ? LOG_START_HEADER_BYTES : LOG_HEADER_BYTES;
}
static inline bool log_format_known(uint32_t format)
{
    return format >= LOG_FORMAT_OLDEST && format <= LOG_FORMAT_VERSION;
}

/* Fills the header at p, both checksums included, and h->checksum and h->bytes. */
void log_header_put(uint8_t *p, uint32_t format, struct log_header *h, uint64_t offset, const void *payload);
/* False when this is no header of that log at that offset: at 0 stands START and nowhere else. There must be
 * log_header_bytes() of it. */
bool log_header_get(const uint8_t *p, const struct log_basis *b, uint64_t offset, struct log_header *h);
/* Cheaply: false when log_header_get, anywhere but at 0, says so of the header that begins at p, of which LOG_PEEK_BYTES are
 * looked at, or log_header_bytes() if that is less. */
bool log_header_may_be(const uint8_t *p, const struct log_basis *b);
bool log_payload_ok(const struct log_header *h, uint64_t offset, struct slice payload);

void log_start_put(uint8_t *p, const struct log_start *s);
bool log_start_get(struct slice payload, struct log_start *s);

/* What a batch takes in a log whose times are told from time_ms, its length included. */
size_t log_batch_bytes(const struct batch *b, uint64_t time_ms);
/* Writes it: so many bytes. */
void log_batch_put(uint8_t *p, size_t bytes, const struct batch *b, uint64_t time_ms);
/* The bytes of a batch that log_batch_put() wrote. */
uint64_t log_batch_length(const uint8_t *p);

/* The most that log_batch_bytes() says of a batch without a private table, with so many bytes of keys and values. */
size_t log_batch_most(size_t bytes, size_t records, size_t counters);

/* A batch read back. Slices point into the payload. */
struct log_batch {
    uint32_t format;
    uint64_t now_ms, table; /* table: 0 none */
    uint64_t records, counters;
    struct slice counter_bytes, record_bytes;
};
/* Takes the next batch off the payload after checking all of its structure; false when it does not hold up. */
bool log_batch_take(struct slice *payload, const struct log_basis *basis, struct log_batch *b);
/* Both take the next one off the batch, which has been checked. */
void log_counter_take(struct log_batch *b, struct batch_counter *c);
void log_record_take(struct log_batch *b, struct batch_record *r); /* key.hash is not set */

#endif
