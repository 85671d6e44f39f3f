/* The request half of RESP: bytes from a client in, commands out.
 *
 * A resp_input owns the bytes a client has sent and that have not been executed yet. The connection reads straight into
 * it (resp_input_room), and takes requests out (resp_parse) whose arguments are slices of these bytes: nothing is copied
 * and nothing is allocated while requests arrive whole. A request that arrives in parts is resumed where it stopped, so
 * that the work stays linear however the bytes are cut. An argument longer than RESP_BIG_ARGUMENT that is still on its
 * way gets memory of its own that grows with it up to exactly its size, and the rest of it is read to its place.
 *
 * Two forms (https://redis.io/docs/latest/develop/reference/protocol-spec/):
 *     *2\r\n$3\r\nGET\r\n$1\r\nk\r\n      array of bulk strings; binary safe
 *     GET k\r\n                           inline, for people: words, 'single' and "double" quotes with \xHH escapes
 * As in Redis, the byte behind a \r is skipped without a look, and so are the two behind a bulk string.
 *
 * Owned by one connection, used by one thread at a time. */
#ifndef VARVE_PROTO_RESP_PARSE_H
#define VARVE_PROTO_RESP_PARSE_H

#include <sys/uio.h>

#include "base/result.h"
#include "base/slice.h"

#define RESP_BLOCK (16 * 1024)        /* usual size of a query buffer */
#define RESP_BIG_ARGUMENT (32 * 1024) /* longer ones get memory of their own */
#define RESP_LINE_MAX (64 * 1024)     /* an inline request or a header line without an end */

struct resp_limits {
    uint64_t bulk_max;  /* proto-max-bulk-len */
    bool authenticated; /* false: at most 10 arguments of at most 16 KiB */
};

struct resp_partial;
struct resp_input {
    uint8_t *data; /* malloc'd; [pos, len) is what no request has been made of */
    size_t pos, len, cap;
    struct resp_partial *partial; /* a request that did not fit the short way; NULL: none */
};

enum resp_status {
    RESP_REQUEST,   /* *out is one */
    RESP_MORE,      /* not whole yet: read more */
    RESP_ERROR,     /* out->error; nothing after it can be understood: reply, close */
    RESP_NO_MEMORY, /* a size the client chose could not be had: close */
};
struct resp_request {
    struct slice *argv;
    int argc;
    bool alone;        /* argv lives in the input: take no other request before resp_request_done() */
    const char *error; /* without the leading '-' ("ERR Protocol error: ..."); valid until the next call */
};

static inline void resp_input_init(struct resp_input *in) { *in = (struct resp_input){0}; }
void resp_input_fini(struct resp_input *in);

/* Takes the next request. argv (room for `room` slices, the caller's) is used unless the request has more arguments or
 * did not come whole; the slices are valid until resp_input_room() or resp_input_take() is called. Empty requests
 * ("*0", an empty line) are passed over. */
enum resp_status resp_parse(struct resp_input *in, const struct resp_limits *limits, struct slice *argv, int room,
                            struct resp_request *out) MUST_CHECK;
/* After a request that was `alone` has been executed: frees what it held. */
void resp_request_done(struct resp_input *in);

/* Where the next bytes from the client belong: one or two places. At least `want` bytes, more when it is known how much
 * will come. No request may be in use. Returns how many iov are filled, 0 when there is no memory. */
int resp_input_room(struct resp_input *in, size_t want, struct iovec iov[2]) MUST_CHECK;
/* n bytes were put there, in order. */
void resp_input_received(struct resp_input *in, size_t n);

/* Bytes kept for this client: what client-query-buffer-limit and memory accounting look at. */
size_t resp_input_memory(const struct resp_input *in);
static inline bool resp_input_empty(const struct resp_input *in) { return in->pos == in->len && in->partial == NULL; }
/* An empty input can give its buffer back for others, and get one (malloc'd) before it reads again. */
uint8_t *resp_input_take(struct resp_input *in, size_t *cap);
void resp_input_give(struct resp_input *in, uint8_t *data, size_t cap);

#endif
