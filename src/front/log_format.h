/* The log's bytes. A log is a sequence of files DIR/wal/NNNNNNNNNNNN.log; numbers grow and are never used twice. All
 * integers are little-endian, varints LEB128, signed varints zigzag.
 *
 * A file is a START record and then GROUP and NOTE records, back to back, each beginning at a multiple of 8:
 *
 *     header, 64 bytes
 *        0  u32  checksum of bytes 4..63, salted with log number and offset of the record
 *        4  u32  checksum of the payload, the same salt
 *        8  u32  length of the payload
 *       12  u8   type: 1 START, 2 GROUP, 3 NOTE
 *       13  u8   flags: 1 = CLEAN, on a NOTE: the server was closed in order behind this record
 *       14  u16  0
 *       16  u64  log number
 *       24  u64  GROUP: sequence of its first batch; START, NOTE: the last sequence given before it
 *       32  u32  batches in the group; 0
 *       36  u32  boot epoch, low half
 *       40  u64  highest sequence known to be durable when this was written
 *       48  u64  term: 0 (room for the Raft log)
 *       56  u64  0
 *     payload
 *     0 to 7 bytes of 0
 *
 * The checksum is salted with the place, and the header has the log number, because files are recycled: what an
 * earlier life left behind a record is never valid. The durable mark tells a torn tail from damage: bytes that do not
 * hold up are damage if any later record says that their sequence was durable, and otherwise the tail of what a crash
 * interrupted.
 *
 *     START payload, 56 bytes
 *        0  u32  format version, 1
 *        4  u32  checksum (first header field) of the last record of the predecessor
 *        8  u64  number of the predecessor; 0: none
 *       16  u64  offset at which the predecessor ends
 *       24  u64  boot epoch
 *       32  16   uuid of the data directory
 *       48  u64  0
 *
 *     GROUP payload: batches. The i-th has the sequence first + i.
 *        u32     length of the rest of the batch
 *        u8      flags: 1 = counters, 2 = private table
 *        varint  time (ms since 1970) at which the command was executed
 *        varint  number of records
 *        counters:      varint n, n times: varint id, signed varint keys, signed varint keys with expiry
 *        private table: varint number of the table
 *        records: u8 kind, varint key length, varint value length, key, value
 *
 * A group is what one write carried: its checksum is computed by the log's writer, not under the write latch, and a
 * batch is in the log whole or not at all because its group is. */
#ifndef VARVE_FRONT_LOG_FORMAT_H
#define VARVE_FRONT_LOG_FORMAT_H

#include "front/front.h"

#define LOG_HEADER_BYTES 64
#define LOG_START_BYTES 56 /* payload of START */
#define LOG_START_RECORD (LOG_HEADER_BYTES + LOG_START_BYTES)
#define LOG_FORMAT_VERSION 1

enum log_type { LOG_START = 1, LOG_GROUP = 2, LOG_NOTE = 3 };
enum log_flags { LOG_CLEAN = 1 };

struct log_header {
    uint32_t checksum, payload_checksum, length;
    uint8_t type, flags;
    uint64_t number, first;
    uint32_t batches, epoch;
    uint64_t durable;
};

struct log_start {
    uint32_t format, before_checksum;
    uint64_t before, before_end, epoch;
    uint8_t uuid[16];
};

static inline uint64_t log_record_bytes(uint64_t payload) { return (LOG_HEADER_BYTES + payload + 7) & ~(uint64_t)7; }

/* Fills p[0..63], both checksums included, and h->checksum. */
void log_header_put(uint8_t *p, struct log_header *h, uint64_t offset, const void *payload);
/* False when this is no header of that log at that offset. */
bool log_header_get(const uint8_t *p, uint64_t number, uint64_t offset, struct log_header *h);
bool log_payload_ok(const struct log_header *h, uint64_t offset, struct slice payload);

void log_start_put(uint8_t *p, const struct log_start *s);
bool log_start_get(struct slice payload, struct log_start *s);

/* Writes a batch, its length included: front_batch_bytes(b) bytes. */
void log_batch_put(uint8_t *p, size_t bytes, const struct batch *b);

/* A batch read back. Slices point into the payload. */
struct log_batch {
    uint64_t now_ms, table; /* table: 0 none */
    uint64_t records, counters;
    struct slice counter_bytes, record_bytes;
};
/* Takes the next batch off the payload after checking all of its structure; false when it does not hold up. */
bool log_batch_take(struct slice *payload, struct log_batch *b);
/* Both take the next one off; the batch has been checked. */
void log_counter_take(struct slice *bytes, struct batch_counter *c);
void log_record_take(struct slice *bytes, struct batch_record *r); /* key.hash is not set */

#endif
