/* HTTP on a connection, between the files that make it up:
 *
 *   http_conn.c     bytes to requests, deadlines, the way of a request, coming back from the pool
 *   http_request.c  who may ask; a request's key, value and conditions as a command
 *   http_answer.c   a command's reply as an answer, in the words of the dialect asked
 *   http_command.c  Redis commands as JSON: /, /pipeline, /multi-exec
 *   http_say.c      status line, header lines, body into the connection's output
 *   http_ops.c      health, readiness, metrics, the description of it all
 *   http_route.c    which request is what; http_sink.c a reply as values
 *
 * A connection executes one HTTP request at a time; the next one is parsed when it has been answered. All of it happens on
 * the connection's reactor; docs/http.md tells what clients see. */
#ifndef VARVE_NET_HTTP_H
#define VARVE_NET_HTTP_H

#include <jansson.h>
#include <stdatomic.h>

#include "net/connection.h"
#include "net/http_route.h"
#include "net/http_sink.h"
#include "proto/http_parse.h"

struct reactor;

/* Answers by class of their status, and connections cut off; of all reactors, any thread reads. */
struct http_counts {
    _Atomic uint64_t answers[6]; /* [2]: 2xx ...; [0] is not used */
    _Atomic uint64_t malformed, timed_out;
};

#define HTTP_LINES_ROOM 768 /* header lines that an answer adds */
struct http_state {
    struct http_parser parser;
    uint64_t began_ms, head_ms; /* when the request's first byte came, its head was whole; 0: not yet */
    size_t used;                /* bytes of the request that is being executed */
    bool routed;                /* m and route are those of the request on its way */
    struct http_message m;
    struct http_route route;
    /* An answer that no command makes, ready to be said. status 0: there is none. */
    int status;
    const char *type;
    struct slice text;
    struct buf body; /* what text lies in, when it is no constant */
    char lines[HTTP_LINES_ROOM];
    size_t lines_len;
    /* Commands out of a JSON body. */
    json_t *json;
    size_t next;                                             /* of a pipeline */
    enum { MULTI_QUEUES, MULTI_EXEC, MULTI_GIVEN_UP } stage; /* of a transaction */
    struct slice *argv;                                      /* arguments that the batch has no room for */
    struct buf words, out;                                   /* arguments that had to be written; the answer so far */
    bool base64;
    char number[2][24];
    /* A command that must go to the pool at once: its reply is wanted whole (http_conn.c). */
    struct command whole;
    struct command_entry whole_entry;
};

/* ---- http_request.c ---- */

/* The request is whole: s->status is set, or c->batch holds its (first) command. */
void http_begin(struct connection *c);
/* May it be made, as far as its head tells? false: s->status is set. */
bool http_admit(struct connection *c);
/* Sets the answer; text is a constant, without end of line. */
void http_refuse(struct connection *c, int status, const char *text);
/* Argument i of the batch's command. */
void http_argument(struct connection *c, int i, struct slice value);
void http_use_command(struct connection *c, const struct command_entry *entry, int argc);
/* A body as JSON, of a bounded number of values; NULL: it is none. */
json_t *http_json_body(struct slice body);

/* ---- http_answer.c ---- */

/* The reply of the batch's command. true: the request is answered; false: another command has been put into the batch. */
bool http_answer(struct connection *c, struct http_sink *reply);
/* Can a long value be sent piece by piece? */
bool http_streams(const struct http_state *s);

/* ---- http_command.c ---- */

void http_begin_commands(struct connection *c);
bool http_answer_command(struct connection *c, struct http_sink *reply);

/* ---- http_say.c ---- */

/* A header line, e.g. http_line(s, "Allow: %s", ...). One that has no room is left out. */
void http_line(struct http_state *s, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Says the answer, with what http_line() has added. source: the body comes from there, len bytes of it. */
void http_say(struct connection *c, int status, const char *type, struct slice body);
void http_say_stream(struct connection *c, int status, const char *type, struct sink_source *source, uint64_t len);
/* An error, in the style of the request's dialect; detail without end of line. */
void http_say_error(struct connection *c, int status, const char *detail);
const char *http_reason(int status);
/* "Date: ...\r\n". */
struct slice http_date_line(uint64_t now_ms);
/* The body of an error in that style, appended. */
enum result http_error_body(struct buf *out, enum http_style style, int status, const char *detail) MUST_CHECK;
const char *http_error_type(enum http_style style);

/* ---- http_ops.c ---- */

void http_begin_operation(struct connection *c);
struct slice http_openapi(void);

#endif
