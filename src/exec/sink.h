/* The reply sink: a command writes its reply as typed values and never knows which protocol carries them. RESP2, RESP3
 * and HTTP are writers behind it. Heads (array, map, set, push) are followed by exactly as many values.
 *
 * A sink never fails towards the command: when memory runs out it remembers that, drops what follows, and the
 * connection is closed. A reply can be taken back as long as the command has not finished: mark, rewind. */
#ifndef VARVE_EXEC_SINK_H
#define VARVE_EXEC_SINK_H

#include "base/result.h"
#include "base/slice.h"

/* A long bulk string that is produced piece by piece as the client takes it. read() is called on a thread that may
 * wait, never on two at once; RES_OK with *len > 0 until all is produced; close() exactly once, also when the client is gone. */
struct sink_source {
    enum result (*read)(struct sink_source *src, uint8_t *buf, size_t cap, size_t *len);
    void (*close)(struct sink_source *src);
};

/* As a length: of elements rather than of a bulk. The source gives the bytes of whole replies, without the very last CRLF,
 * until it gives none. */
#define SINK_ELEMENTS UINT64_MAX

struct sink;
struct sink_ops {
    void (*status)(struct sink *s, struct slice text); /* +OK */
    void (*error)(struct sink *s, struct slice text);  /* "ERR what" without the sign; CR and LF become spaces */
    void (*integer)(struct sink *s, int64_t value);
    void (*bulk)(struct sink *s, struct slice value);
    /* a bulk of len bytes for the caller to fill at once; NULL: no memory */
    uint8_t *(*bulk_room)(struct sink *s, size_t len);
    void (*bulk_stream)(struct sink *s, uint64_t len, struct sink_source *src);
    /* All that a head has announced, as RESP bytes. Only where takes_elements; else NULL. */
    void (*elements)(struct sink *s, struct sink_source *src);
    void (*null)(struct sink *s);
    void (*null_array)(struct sink *s);
    void (*array)(struct sink *s, size_t count);
    void (*map)(struct sink *s, size_t pairs); /* RESP2: array of 2 * pairs */
    void (*set)(struct sink *s, size_t count);
    void (*push)(struct sink *s, size_t count); /* RESP2: array */
    /* Pairs that say something about the reply that follows; only where s->resp is 3. */
    void (*attribute)(struct sink *s, size_t pairs);
    void (*real)(struct sink *s, double value);              /* RESP2: bulk */
    void (*real_text)(struct sink *s, struct slice decimal); /* the same with digits that the command has chosen */
    void (*boolean)(struct sink *s, bool value);             /* RESP2: 0 or 1 */
    void (*big_number)(struct sink *s, struct slice decimal);
    void (*verbatim)(struct sink *s, const char format[4], struct slice text); /* "txt", "mkd" */
    size_t (*mark)(struct sink *s);
    void (*rewind)(struct sink *s, size_t mark);
};
struct sink {
    const struct sink_ops *ops;
    int resp;            /* 2 or 3 */
    bool takes_elements; /* a reply's elements may come from a source */
    bool failed;         /* memory ran out */
    bool is_error; /* the last top-level reply was an error: for statistics; cleared by whoever runs the command */
    bool nested;   /* a head has been written since sink_begin(): errors that follow are elements, not the reply */
    char error_code[24]; /* is_error: its code word, "WRONGTYPE" */
};

/* Before each command. */
static inline void sink_begin(struct sink *s) { s->is_error = s->nested = false; }
/* For writers: to be called by their error(); keeps is_error and error_code. */
void sink_note_error(struct sink *s, struct slice text);

static inline void reply_ok(struct sink *s) { s->ops->status(s, SLICE_LIT("OK")); }
static inline void reply_status(struct sink *s, const char *text) { s->ops->status(s, slice_str(text)); }
static inline void reply_integer(struct sink *s, int64_t v) { s->ops->integer(s, v); }
static inline void reply_bulk(struct sink *s, struct slice v) { s->ops->bulk(s, v); }
static inline void reply_bulk_str(struct sink *s, const char *v) { s->ops->bulk(s, slice_str(v)); }
static inline void reply_null(struct sink *s) { s->ops->null(s); }
static inline void reply_array(struct sink *s, size_t n) { s->ops->array(s, n); }
static inline void reply_map(struct sink *s, size_t n) { s->ops->map(s, n); }
/* "ERR ..." with its code word. Always returns RES_OK, so that a handler can `return reply_error(...)`. */
enum result reply_error(struct sink *s, const char *fmt, ...) PRINTF_LIKE(2, 3);
enum result reply_wrong_type(struct sink *s);
enum result reply_syntax_error(struct sink *s);
enum result reply_not_integer(struct sink *s);
/* The error for a result code that a handler returned instead of replying. */
void result_sentence(enum result code, char text[256]);
void reply_result(struct sink *s, enum result code);

/* The RESP writer: appends to a buffer. exec/resp_sink.c */
struct buf;
struct resp_sink {
    struct sink sink;
    struct buf *out;
    /* Called for bulk_stream after the header ($len CRLF) has been appended to out (there is none of SINK_ELEMENTS); whoever
     * takes the source also sends the CRLF behind its bytes, and closes it. NULL: the source is read whole into the buffer. */
    void (*stream)(struct resp_sink *s, uint64_t len, struct sink_source *src);
    /* The reply was cut back to mark bytes: streams taken behind it are to be closed. May be NULL. */
    void (*rewound)(struct resp_sink *s, size_t mark);
    void *host;
};
void resp_sink_init(struct resp_sink *s, struct buf *out, int resp);
/* Swallows everything. */
extern const struct sink_ops sink_drop_ops;

#endif
