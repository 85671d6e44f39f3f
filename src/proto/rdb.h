/* Values as Redis serialises them: what DUMP gives, RESTORE takes and MIGRATE sends.
 *
 *   payload:  type u8, value, version u16, CRC-64 of all before (base/crc64.h); both little-endian
 *   length:   00llllll | 01llllll llllllll | 10000000 u32 | 10000001 u64; big-endian. 11eeeeee: a string is encoded
 *   string:   length, bytes; or one of the encodings: 0, 1, 2: an integer of 1, 2 or 4 bytes, little-endian, that stands for
 *             its digits; 3: LZF: length packed, length plain, packed bytes (base/lzf.h)
 *
 *   type                     value
 *    0 string                string
 *    1 list, 2 set           length, then as many strings
 *    3 sorted set            length, (string, score as text: length u8, digits; 253 NaN, 254 and 255 the infinities) ...
 *    4 hash                  length, (field, value) ...
 *    5 sorted set            length, (string, score as IEEE 754 double, little-endian) ...
 *    9 hash                  string: a zipmap
 *   10 list                  string: a ziplist
 *   11 set                   string: an intset
 *   12 sorted set, 13 hash   string: a ziplist of pairs
 *   14 list                  length, as many strings: ziplists
 *   16 hash, 17 sorted set   string: a listpack of pairs
 *   18 list                  length, as many (length 1: string is an element; length 2: string is a listpack)
 *   20 set                   string: a listpack
 *   24 hash                  first expiry u64, length, (length: expiry - first expiry + 1, or 0; field, value) ...
 *   25 hash                  first expiry u64, string: a listpack of (field, value, expiry or 0)
 *
 * Types up to 18 are those of Redis 7.0, which writes version 10; 20 is 7.2's (11), 24 and 25 are 7.4's (12). A value is
 * written in the type that keeps least of Redis' representation, 0, 1, 2, 4, 5: who reads it chooses anew. A hash of which
 * fields expire is written as 24 in version 12, so that a server which would forget their times refuses it.
 *
 * Bytes come from anywhere: whatever they are, reading ends with a code. */
#ifndef VARVE_PROTO_RDB_H
#define VARVE_PROTO_RDB_H

#include "base/arena.h"
#include "base/buf.h"

enum rdb_kind { RDB_STRING, RDB_LIST, RDB_SET, RDB_ZSET, RDB_HASH };

struct rdb_item {
    struct slice first;  /* the string; an element, a member, a field */
    struct slice second; /* hashes: the value */
    double score;        /* sorted sets; no NaN */
    uint64_t expire_ms;  /* hashes: of this field; 0: never */
};

/* ---- reading ---- */

/* An opaque string that holds elements: a listpack, ziplist, intset or zipmap. */
struct rdb_packed {
    enum { PACKED_LISTPACK, PACKED_ZIPLIST, PACKED_INTSET, PACKED_ZIPMAP } form;
    struct slice rest;   /* entries that are left, with the end mark */
    uint64_t count;      /* entries that the head tells; UNKNOWN: it does not */
    uint64_t met;        /* entries so far */
    size_t previous;     /* ziplist: bytes of the last entry; intset: bytes of a number */
    size_t at, tail;     /* ziplist: where the next entry begins, where the last one is to */
    size_t last;         /* ziplist: where the last one was */
    int64_t last_number; /* intset */
    bool value_next;     /* zipmap */
};
struct rdb_reader {
    enum rdb_kind kind;
    uint64_t expected; /* items, where the head tells; 0: it does not */
    uint64_t given;    /* items so far */
    uint64_t nodes;    /* lists: parts that had elements; an element that is a part of its own counts twice */
    /* the rest is the reader's own */
    struct arena *arena;
    struct slice in;
    uint64_t left, expanded, first_expiry;
    enum { SHAPE_ONE, SHAPE_STRINGS, SHAPE_PACKED, SHAPE_NODES } shape;
    int type, version;
    bool in_packed;
    struct rdb_packed packed;
};

/* Cuts a payload into version and what comes before it. RES_INVALID: it is too short, its version is not one that is known,
 * or its checksum is another. */
enum result rdb_payload(struct slice payload, struct slice *value, int *version) MUST_CHECK;
/* Begins to read a value. Items live as long as the value and the arena. RES_CORRUPT, or RES_UNSUPPORTED: another type. */
enum result rdb_open(struct rdb_reader *r, struct slice value, int version, struct arena *arena) MUST_CHECK;
/* The next item; RES_NOT_FOUND when all have been read. RES_CORRUPT: the bytes are damaged, or there is no item at all.
 * RES_NO_MEMORY; RES_TOO_MANY: it expands to more than anybody may send. That members differ is the caller's to see. */
enum result rdb_next(struct rdb_reader *r, struct rdb_item *item) MUST_CHECK;

/* ---- writing ---- */

#define RDB_VERSION 10
#define RDB_VERSION_FIELDS 12 /* with fields that expire */

/* The head: items in number; first_ms: of a hash whose fields expire, the first expiry; else 0. */
enum result rdb_write_head(struct buf *out, enum rdb_kind kind, uint64_t count, uint64_t first_ms) MUST_CHECK;
enum result rdb_write_item(struct buf *out, enum rdb_kind kind, const struct rdb_item *item, uint64_t first_ms)
    MUST_CHECK;
enum result rdb_write_string(struct buf *out, struct slice text) MUST_CHECK;
/* Version and checksum, of all from `start` on. */
enum result rdb_write_end(struct buf *out, size_t start, int version) MUST_CHECK;

#endif
