/* HTTP/1.1 requests out of bytes (RFC 9112), free of sockets, as strict as the RFC allows and in places stricter: whatever
 * two programs could read differently is refused, because that is what request smuggling lives on.
 *
 * The bytes of a request lie in one piece from its first byte on, in a buffer of the caller's, which grows until the
 * request is whole; the parser keeps offsets, so the buffer may move. A chunked body is decoded where it lies: the decoded
 * bytes follow the head, and what has been decoded is dropped from the buffer at once. So a body is always one slice, and
 * the usual request is not copied at all.
 *
 * The work is llhttp's, which is given a head when all of it is there and the pieces of a chunked body as they come.
 * Checked here, because llhttp passes it or because it must be told apart:
 *
 *     bare LF, CR within a line, NUL and other control characters, folded lines, space before a colon
 *     Host: missing in HTTP/1.1, twice, or with characters that no host has
 *     Content-Length: twice (even if equal), a list, not digits; together with Transfer-Encoding
 *     Transfer-Encoding: anything but "chunked", twice, in HTTP/1.0
 *     limits of lines, of the head and of what frames the chunks
 *
 * Owned by one connection, used by one thread at a time. */
#ifndef VARVE_PROTO_HTTP_PARSE_H
#define VARVE_PROTO_HTTP_PARSE_H

#include "base/result.h"
#include "base/slice.h"

#define HTTP_LINE_MAX 8192  /* the request line, without its end */
#define HTTP_HEAD_MAX 16384 /* all lines of the head together, with their ends */
#define HTTP_LINES_MAX 100  /* header lines */

enum http_verb { VERB_GET, VERB_HEAD, VERB_PUT, VERB_POST, VERB_DELETE, VERB_OTHER };

/* Header fields that anybody here looks at. Each may come once. */
enum http_field {
    FIELD_HOST,
    FIELD_CONTENT_LENGTH,
    FIELD_TRANSFER_ENCODING,
    FIELD_EXPECT,
    FIELD_AUTHORIZATION,
    FIELD_CONTENT_TYPE,
    FIELD_IF_MATCH,
    FIELD_IF_NONE_MATCH,
    FIELD_ORIGIN,
    FIELD_UPSTASH_ENCODING,
    FIELD_COUNT
};

struct http_span {
    uint32_t at, len; /* in the bytes of the request */
};

/* A request, valid as long as its bytes stay where they are. */
struct http_message {
    enum http_verb verb;
    bool http10, keep_alive;
    struct slice target;             /* as sent */
    struct slice path, query;        /* of it; query without its '?' */
    struct slice field[FIELD_COUNT]; /* data NULL: not there */
    struct slice body;
};

struct http_parser {
    enum { HTTP_IN_HEAD, HTTP_IN_BODY, HTTP_IN_CHUNKS, HTTP_DONE } state;
    enum http_verb verb;
    bool http10, keep_alive, expects_continue;
    uint8_t lines;                    /* header lines so far */
    uint32_t line_at, scanned, start; /* of the head: the unfinished line, what was looked at, the request line */
    uint32_t head_len;                /* with everything before it */
    uint64_t content_length;
    size_t body_len;  /* decoded, of a chunked body */
    uint64_t framing; /* bytes around it */
    struct http_span target, field[FIELD_COUNT];
    uint32_t seen;   /* fields, by bit */
    void *llhttp;    /* of a chunked body that is on its way */
    int status;      /* HTTP_REFUSED: of the answer ... */
    const char *why; /* ... and its reason, a sentence without end */
};

enum http_outcome {
    HTTP_MORE,     /* not whole yet */
    HTTP_WHOLE,    /* http_message_of() gives it; *used bytes are its own */
    HTTP_REFUSED,  /* p->status, p->why; nothing after it can be trusted: answer, close */
    HTTP_NO_MEMORY /* close */
};

static inline void http_parser_init(struct http_parser *p) { *p = (struct http_parser){.state = HTTP_IN_HEAD}; }
void http_parser_fini(struct http_parser *p);
/* data: all bytes of the request so far, and perhaps what follows it. *len shrinks where a chunked body was decoded.
 * After anything but HTTP_MORE the parser is to be made anew for the next request. */
enum http_outcome http_parse(struct http_parser *p, uint8_t *data, size_t *len, uint64_t body_max, size_t *used)
    MUST_CHECK;
/* The head is there, the body not yet: a client that expects 100 may be told to go on. */
static inline bool http_parser_has_head(const struct http_parser *p) { return p->state != HTTP_IN_HEAD; }
/* Body bytes that are known to come still. */
uint64_t http_parser_missing(const struct http_parser *p, size_t len);
/* Of a whole request; or of the head alone, as soon as it is there. */
void http_message_of(const struct http_parser *p, const uint8_t *data, struct http_message *out);

/* %XX decoded into out (room for in.len bytes; may be the same memory). False: a '%' without two hexadecimal digits. */
bool http_percent_decode(struct slice in, uint8_t *out, size_t *len);
/* The value of name in "a=1&b=2", still encoded. */
bool http_query_value(struct slice query, const char *name, struct slice *out);

#endif
