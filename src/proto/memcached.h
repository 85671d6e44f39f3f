/* The memcached binary protocol: frames in, frames out. Free of sockets and of what the commands mean.
 *
 * Specification: memcached's wiki, "BinaryProtocolRevamped", "SASLAuthProtocol". All integers are big-endian.
 *
 *      0  magic u8: 0x80 request, 0x81 response     1  opcode u8        2  length of the key u16
 *      4  length of the extras u8                   5  data type u8, 0  6  vbucket u16, or status u16 in a response
 *      8  length of the body u32: extras, key, value                   12  opaque u32: comes back as it was
 *     16  CAS u64
 *     24  extras, key, value
 *
 * A request may be quiet: then only what its sender cannot assume is answered, errors, or for reads a hit. */
#ifndef VARVE_PROTO_MEMCACHED_H
#define VARVE_PROTO_MEMCACHED_H

#include "base/result.h"
#include "base/slice.h"

#define MEMCACHED_HEADER 24
#define MEMCACHED_KEY_MAX 250
#define MEMCACHED_EXTRAS_MAX 20

enum memcached_opcode {
    MC_GET = 0x00,
    MC_SET = 0x01,
    MC_ADD = 0x02,
    MC_REPLACE = 0x03,
    MC_DELETE = 0x04,
    MC_INCREMENT = 0x05,
    MC_DECREMENT = 0x06,
    MC_QUIT = 0x07,
    MC_FLUSH = 0x08,
    MC_GETQ = 0x09,
    MC_NOOP = 0x0a,
    MC_VERSION = 0x0b,
    MC_GETK = 0x0c,
    MC_GETKQ = 0x0d,
    MC_APPEND = 0x0e,
    MC_PREPEND = 0x0f,
    MC_STAT = 0x10,
    MC_SETQ = 0x11,
    MC_ADDQ = 0x12,
    MC_REPLACEQ = 0x13,
    MC_DELETEQ = 0x14,
    MC_INCREMENTQ = 0x15,
    MC_DECREMENTQ = 0x16,
    MC_QUITQ = 0x17,
    MC_FLUSHQ = 0x18,
    MC_APPENDQ = 0x19,
    MC_PREPENDQ = 0x1a,
    MC_TOUCH = 0x1c,
    MC_GAT = 0x1d,
    MC_GATQ = 0x1e,
    MC_SASL_LIST = 0x20,
    MC_SASL_AUTH = 0x21,
    MC_SASL_STEP = 0x22,
    MC_GATK = 0x23,
    MC_GATKQ = 0x24,
};

enum memcached_status {
    MC_OK = 0x00,
    MC_NOT_FOUND = 0x01,
    MC_EXISTS = 0x02,
    MC_TOO_LARGE = 0x03,
    MC_INVALID = 0x04,
    MC_NOT_STORED = 0x05,
    MC_NOT_A_NUMBER = 0x06,
    MC_AUTH_ERROR = 0x20,
    MC_UNKNOWN_COMMAND = 0x81,
    MC_NO_MEMORY = 0x82,
    MC_NOT_SUPPORTED = 0x83,
    MC_INTERNAL = 0x84,
    MC_BUSY = 0x85,
    MC_TEMPORARY = 0x86,
};
/* The text that goes with an error, as memcached says it. */
const char *memcached_status_text(enum memcached_status status);

struct memcached_request {
    uint8_t opcode; /* as sent */
    uint8_t loud; /* the opcode without quietness and without "answer with the key": MC_GET for all four of its forms */
    bool quiet, with_key;
    /* MC_OK; else its key, value or extras do not fit its opcode, or there is no such opcode: to be answered so. */
    enum memcached_status refused;
    uint32_t opaque;
    uint64_t cas;
    struct slice extras, key, value;
    struct slice head; /* header and extras: what a command is given (memcached_head_get) */
};
enum memcached_parse {
    MEMCACHED_REQUEST, /* *out is one; *used bytes are taken */
    MEMCACHED_MORE,    /* not whole yet */
    MEMCACHED_SKIP, /* longer than allowed: *out has what is to be answered; *used bytes, of which not all may have come
                          yet, are to be passed over */
    MEMCACHED_BROKEN,  /* lengths that do not add up: answer *out, close */
    MEMCACHED_FOREIGN, /* another protocol: close */
};
/* Takes the request at the beginning of `in`. Slices point into it. */
enum memcached_parse memcached_parse(struct slice in, uint64_t body_max, struct memcached_request *out, uint64_t *used)
    MUST_CHECK;

/* ---- what stands in extras, given the head of a request that was not refused ---- */
struct memcached_head {
    uint64_t cas;
    uint32_t flags;          /* SET, ADD, REPLACE */
    uint32_t expiry;         /* those, INCREMENT, DECREMENT, TOUCH, GAT, FLUSH; 0 when FLUSH has none */
    uint64_t delta, initial; /* INCREMENT, DECREMENT */
};
#define MEMCACHED_NO_CREATE UINT32_MAX /* as expiry of INCREMENT: do not make the key */
void memcached_head_get(struct slice head, struct memcached_head *out);

/* ---- answers ---- */
struct memcached_response {
    uint8_t opcode;
    enum memcached_status status;
    uint16_t key_len;
    uint8_t extras_len;
    uint64_t value_len;
    uint32_t opaque;
    uint64_t cas;
};
void memcached_response_put(uint8_t out[MEMCACHED_HEADER], const struct memcached_response *r);

#endif
