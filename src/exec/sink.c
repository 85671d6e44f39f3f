/* What all reply writers share: the errors that many commands give, and the sink that swallows everything (CLIENT REPLY
 * OFF, background work). The texts are Redis', because clients match on them. */
#include "exec/sink.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void sink_note_error(struct sink *s, struct slice text)
{
    if (s->nested)
        return;
    s->is_error = true;
    size_t n = 0;
    while (n < text.len && n < sizeof s->error_code - 1 && text.data[n] > ' ') {
        s->error_code[n] = (char)text.data[n];
        n++;
    }
    s->error_code[n] = 0;
}

enum result reply_error(struct sink *s, const char *fmt, ...)
{
    char text[512], *longer = NULL;
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (n < 0)
        n = 0;
    if ((size_t)n >= sizeof text) { /* an argument of the client stands in it */
        va_start(ap, fmt);
        n = vasprintf(&longer, fmt, ap);
        va_end(ap);
        if (n < 0) {
            longer = NULL;
            n = sizeof text - 1;
        }
    }
    /* As Redis: line ends around it go, those within become spaces (the sink's work). */
    const char *first = longer ? longer : text, *end = first + n;
    while (end > first && (end[-1] == '\r' || end[-1] == '\n'))
        end--;
    while (first < end && (*first == '\r' || *first == '\n'))
        first++;
    s->ops->error(s, slice_of(first, (size_t)(end - first)));
    free(longer);
    return RES_OK;
}

enum result reply_wrong_type(struct sink *s)
{
    s->ops->error(s, SLICE_LIT("WRONGTYPE Operation against a key holding the wrong kind of value"));
    return RES_OK;
}

enum result reply_syntax_error(struct sink *s)
{
    s->ops->error(s, SLICE_LIT("ERR syntax error"));
    return RES_OK;
}

enum result reply_not_integer(struct sink *s)
{
    s->ops->error(s, SLICE_LIT("ERR value is not an integer or out of range"));
    return RES_OK;
}

void result_sentence(enum result code, char text[256])
{
    const char *sentence = NULL;
    switch (code) {
    case RES_NO_MEMORY:
        sentence = "OOM not enough memory to run this command";
        break;
    case RES_NO_SPACE:
        sentence = "MISCONF No space left on the disk for this write. Nothing was changed; writes go on when there is "
                   "space again";
        break;
    case RES_READ_ONLY:
        sentence = "MISCONF Writing the log failed, so that writes are refused until a restart. See the server's log";
        break;
    case RES_TOO_MANY:
        sentence = "ERR the command writes more than one command may";
        break;
    case RES_CORRUPT:
        sentence = "ERR the data of this command is damaged on disk. See the server's log";
        break;
    case RES_IO:
        sentence = "ERR input/output error while reading the data of this command";
        break;
    case RES_INTERRUPTED:
        sentence = "ERR this command read for so long that its snapshot was ended: send it again";
        break;
    default:
        break;
    }
    if (sentence)
        (void)snprintf(text, 256, "%s", sentence);
    else
        (void)snprintf(text, 256, "ERR %s", result_text(code));
}

void reply_result(struct sink *s, enum result code)
{
    char text[256];
    result_sentence(code, text);
    s->ops->error(s, slice_str(text));
}

/* ---- the sink that drops ---- */

static void drop_slice(struct sink *s, struct slice text)
{
    (void)s;
    (void)text;
}
static void drop_error(struct sink *s, struct slice text) { sink_note_error(s, text); }
static void drop_integer(struct sink *s, int64_t value)
{
    (void)s;
    (void)value;
}

/* bulk_room() promises memory to write into; what is written there is never read, so one block a thread will do. */
static pthread_key_t scratch_key;
static pthread_once_t scratch_once = PTHREAD_ONCE_INIT;
static _Thread_local struct {
    uint8_t *data;
    size_t cap;
} scratch;

static void scratch_make_key(void) { (void)pthread_key_create(&scratch_key, free); }

static uint8_t *drop_bulk_room(struct sink *s, size_t len)
{
    (void)s;
    if (len <= scratch.cap && scratch.data)
        return scratch.data;
    (void)pthread_once(&scratch_once, scratch_make_key);
    size_t cap = len < 4096 ? 4096 : len;
    uint8_t *p = realloc(scratch.data, cap);
    if (!p)
        return NULL;
    scratch.data = p;
    scratch.cap = cap;
    (void)pthread_setspecific(scratch_key, p);
    return p;
}

static void drop_bulk_stream(struct sink *s, uint64_t len, struct sink_source *src)
{
    (void)s;
    (void)len;
    src->close(src);
}
static void drop_null(struct sink *s) { (void)s; }
static void drop_head(struct sink *s, size_t count) { s->nested |= count > 0; }
static void drop_real(struct sink *s, double value)
{
    (void)s;
    (void)value;
}
static void drop_boolean(struct sink *s, bool value)
{
    (void)s;
    (void)value;
}
static void drop_verbatim(struct sink *s, const char format[4], struct slice text)
{
    (void)s;
    (void)format;
    (void)text;
}
static size_t drop_mark(struct sink *s)
{
    (void)s;
    return 0;
}
static void drop_rewind(struct sink *s, size_t mark)
{
    (void)mark;
    sink_begin(s);
}

const struct sink_ops sink_drop_ops = {
    .status = drop_slice,
    .error = drop_error,
    .integer = drop_integer,
    .bulk = drop_slice,
    .bulk_room = drop_bulk_room,
    .bulk_stream = drop_bulk_stream,
    .null = drop_null,
    .null_array = drop_null,
    .array = drop_head,
    .map = drop_head,
    .set = drop_head,
    .push = drop_head,
    .attribute = drop_head,
    .real = drop_real,
    .real_text = drop_slice,
    .boolean = drop_boolean,
    .big_number = drop_slice,
    .verbatim = drop_verbatim,
    .mark = drop_mark,
    .rewind = drop_rewind,
};
