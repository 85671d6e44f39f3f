/* MULTI and EXEC (EXECUTION, rule 11 and the table there).
 *
 * After MULTI a session's commands are copied and queued. EXEC is a command like others: its handler runs the queue over
 * one overlay, which becomes one batch, so all of it is there or nothing, and it can be dropped and run again, on the pool
 * if what it touches is cold, long or large. It runs in the way that its commands need: as a write if one of them writes
 * or keys are watched, else as a read, or without data at all.
 *
 * Commands about connections and the server cannot be taken back, and some must not run under the latch (CONFIG SET,
 * INFO, CLIENT LIST). Those few that can (CMD_IN_PLACE) run in their place; the others follow when the rest of EXEC has
 * been committed, on the reactor, and their replies are put where they belong before the client gets anything. */
#include <stdlib.h>

#include "exec/internal.h"

struct deferred {
    uint32_t index;
    size_t at; /* how much of EXEC's reply comes before */
};
struct multi {
    struct multi_command *commands;
    uint32_t count, cap;
    uint32_t flags;   /* of all commands, ored */
    uint32_t data;    /* commands that are not CMD_SESSION */
    uint32_t waiting; /* commands that follow the others */
    uint32_t start_db;
    int start_resp;
    bool failed; /* a command was refused: EXEC aborts */
    bool started;
    uint64_t bytes;
    struct deferred *deferred; /* room for all `waiting` */
    uint32_t deferred_count;
};
/* EXEC has been answered but for these. */
struct multi_rest {
    struct multi *multi;
    uint32_t next;
    bool started;
    struct buf reply;  /* EXEC's own */
    struct buf pieces; /* the others', one after the other */
    size_t *ends;
    struct slow_later served; /* by EXEC */
};

/* ---- the queue ---- */

bool session_multi_begin(struct session *s)
{
    if (!(s->multi = calloc(1, sizeof *s->multi)))
        return false;
    s->state |= SESSION_MULTI;
    return true;
}

static void multi_free(struct multi *m)
{
    if (!m)
        return;
    for (uint32_t i = 0; i < m->count; i++)
        free(m->commands[i].argv);
    free(m->commands);
    free(m->deferred);
    free(m);
}

void session_multi_end(struct session *s)
{
    multi_free(s->multi);
    s->multi = NULL;
    s->state &= ~(unsigned)SESSION_MULTI;
}

void session_multi_fail(struct session *s)
{
    if (s->multi)
        s->multi->failed = true;
}

void session_multi_each(const struct session *s, multi_each_fn *each, void *arg)
{
    for (uint32_t i = 0; s->multi && i < s->multi->count; i++)
        each(arg, s->multi->commands[i].entry, s->multi->commands[i].argc, s->multi->commands[i].argv);
}

bool session_multi_failed(const struct session *s) { return s->multi && s->multi->failed; }
int session_multi_count(const struct session *s) { return s->multi ? (int)s->multi->count : -1; }
size_t session_multi_memory(const struct session *s)
{
    return s->multi ? s->multi->bytes + s->multi->cap * sizeof *s->multi->commands : 0;
}

static enum result copy_command(struct multi_command *out, const struct command_entry *entry, int argc,
                                const struct slice *argv)
{
    size_t n = (size_t)argc, bytes = exec_argument_bytes(argc, argv);
    struct slice *copy = malloc(n * sizeof *copy + bytes);
    if (!copy)
        return RES_NO_MEMORY;
    uint8_t *p = (uint8_t *)(copy + n);
    for (size_t i = 0; i < n; i++) {
        if (argv[i].len)
            memcpy(p, argv[i].data, argv[i].len);
        copy[i] = slice_of(p, argv[i].len);
        p += argv[i].len;
    }
    *out = (struct multi_command){entry, argc, copy};
    return RES_OK;
}

enum result multi_queue(struct session *s, const struct command_entry *entry, int argc, const struct slice *argv)
{
    struct multi *m = s->multi;
    if (m->failed || session_watch_broken(s))
        return RES_OK; /* it will not run */
    if (m->count == m->cap) {
        uint32_t cap = m->cap ? m->cap * 2 : 4;
        void *p = cap < UINT32_MAX / 4 ? realloc(m->commands, cap * sizeof *m->commands) : NULL;
        if (!p)
            return RES_NO_MEMORY;
        m->commands = p;
        m->cap = cap;
    }
    enum result r = copy_command(&m->commands[m->count], entry, argc, argv);
    if (r != RES_OK)
        return r;
    uint32_t flags = entry->command->flags;
    m->count++;
    m->bytes += exec_argument_bytes(argc, argv) + (size_t)argc * sizeof *argv;
    m->flags |= flags;
    m->data += !(flags & CMD_SESSION);
    m->waiting += (flags & (CMD_SESSION | CMD_IN_PLACE)) == CMD_SESSION;
    return RES_OK;
}

/* ---- the way of EXEC ---- */

uint32_t multi_flags(const struct session *s)
{
    return s->multi ? s->multi->flags & (CMD_WRITE | CMD_DENYOOM | CMD_MAY_REPLICATE) : 0;
}

/* The flags by which exec_run chooses. */
uint32_t multi_way(struct session *s, uint32_t flags)
{
    struct multi *m = s->multi;
    if (!m || m->failed)
        return flags | CMD_SESSION;
    if (!m->started) {
        m->started = true;
        m->start_db = s->db;
        m->start_resp = s->resp;
    }
    if (s->watched || m->flags & CMD_WRITE || (m->data && m->waiting))
        flags |= CMD_WRITE;
    else if (m->data)
        flags |= CMD_READONLY;
    else
        return flags | CMD_SESSION;
    return flags | (m->flags & CMD_LONG) | (m->bytes > LARGE_ARGUMENTS ? CMD_LONG : 0);
}

/* ---- EXEC's handler ---- */

/* One command of the queue, in its place. */
static enum result run_inner(struct call *c, const struct multi_command *q, struct inner *in)
{
    struct sink *reply = c->reply;
    c->entry = q->entry;
    c->argc = q->argc;
    c->argv = q->argv;
    c->secret = 0;
    sink_begin(reply);
    enum result res = RES_OK;
    if (q->entry->command->check)
        res = q->entry->command->check(c);
    if (res == RES_OK && !reply->is_error)
        res = q->entry->command->run(c);
    *in = (struct inner){.command = *q, .secret = c->secret, .is_error = reply->is_error};
    memcpy(in->code, reply->error_code, sizeof in->code);
    reply->is_error = false;
    reply->nested = true; /* what follows belongs to EXEC */
    return res;
}

static enum result run_queue(struct call *c, struct multi *m, size_t start)
{
    struct run *r = call_run(c);
    uint64_t from = r->started_ns, too_long = r->started_ns + TOO_LONG_NS;
    for (uint32_t i = 0; i < m->count; i++) {
        const struct multi_command *q = &m->commands[i];
        if ((q->entry->command->flags & (CMD_SESSION | CMD_IN_PLACE)) == CMD_SESSION) {
            m->deferred[m->deferred_count++] = (struct deferred){i, c->reply->ops->mark(c->reply) - start};
            continue;
        }
        struct inner *in = &r->inner[r->inner_count];
        enum result res = run_inner(c, q, in);
        if (res != RES_OK)
            return res;
        uint64_t now = shard_mono(c->shard);
        in->ns = now - from;
        from = now;
        r->inner_count++;
        if (now >= too_long && !(c->mode & CALL_MAY_WAIT) && c->mode && i + 1 < m->count) {
            r->too_long = true;
            return RES_WOULD_BLOCK;
        }
    }
    return RES_OK;
}

enum result call_exec(struct call *c)
{
    struct run *r = call_run(c);
    struct session *s = c->session;
    struct multi *m = s->multi;
    s->db = m->start_db; /* an earlier run may have been dropped behind a SELECT or HELLO */
    s->resp = c->reply->resp = m->start_resp;
    m->deferred_count = 0;
    r->inner = arena_alloc(c->arena, (m->count + 1) * sizeof *r->inner);
    if (m->waiting && !m->deferred)
        m->deferred = calloc(m->waiting, sizeof *m->deferred);
    if (!r->inner || (m->waiting && !m->deferred))
        return RES_NO_MEMORY;
    const struct command_entry *entry = c->entry;
    const struct slice *argv = c->argv;
    int argc = c->argc;
    size_t start = c->reply->ops->mark(c->reply);
    r->in_exec = true;
    reply_array(c->reply, m->count);
    enum result res = run_queue(c, m, start);
    c->entry = entry;
    c->argv = argv;
    c->argc = argc;
    c->secret = 0;
    if (res != RES_OK) {
        s->db = m->start_db;
        s->resp = c->reply->resp = m->start_resp;
        r->inner_count = 0;
    }
    return res;
}

/* ---- when EXEC has counted ---- */

void multi_over(struct run *r)
{
    struct session *s = r->call.session;
    struct multi *m = s->multi;
    session_unwatch(r->call.shard, s);
    if (r->in_exec && m->deferred_count > 0 && !r->exec_failed) {
        struct multi_rest *rest = calloc(1, sizeof *rest);
        size_t *ends = calloc(m->deferred_count, sizeof *ends);
        if (rest && ends) {
            rest->multi = m;
            rest->ends = ends;
            s->rest = rest;
            s->multi = NULL;
        } else { /* there is no other reply to give now */
            free(rest);
            free(ends);
            s->close_after_reply = true;
        }
    }
    session_multi_end(s);
}

struct slow_later *multi_later(struct session *s) { return s->rest ? &s->rest->served : NULL; }

void session_rest_drop(struct shard *shard, struct session *s)
{
    struct multi_rest *rest = s->rest;
    if (!rest)
        return;
    s->rest = NULL;
    slowlog_add_later(shard, &rest->served);
    multi_free(rest->multi);
    buf_fini(&rest->reply);
    buf_fini(&rest->pieces);
    free(rest->ends);
    free(rest);
}

/* EXEC's reply with the others' in their places. */
static enum result put_together(const struct multi_rest *rest, struct buf *out)
{
    size_t at = 0, piece = 0;
    enum result res = buf_reserve(out, rest->reply.len + rest->pieces.len);
    for (uint32_t i = 0; res == RES_OK && i < rest->next; i++) {
        size_t until = rest->multi->deferred[i].at;
        res = buf_append(out, rest->reply.data + at, until - at);
        if (res == RES_OK && rest->ends[i] > piece)
            res = buf_append(out, rest->pieces.data + piece, rest->ends[i] - piece);
        at = until;
        piece = rest->ends[i];
    }
    return res == RES_OK ? buf_append(out, rest->reply.data + at, rest->reply.len - at) : res;
}

enum exec_outcome exec_rest(struct exec_worker *w, struct session *s, struct buf *reply)
{
    struct multi_rest *rest = s->rest;
    const struct multi *m = rest->multi;
    enum result res = RES_OK;
    if (!rest->started) {
        rest->started = true;
        rest->reply = *reply;
        *reply = BUF_INIT;
    } else {
        res = buf_append(&rest->pieces, reply->data, reply->len);
        rest->ends[rest->next++] = rest->pieces.len;
        buf_clear(reply);
    }
    while (res == RES_OK && rest->next < m->deferred_count) {
        const struct multi_command *q = &m->commands[m->deferred[rest->next].index];
        struct resp_sink sink;
        resp_sink_init(&sink, &rest->pieces, s->resp);
        s->answers_later = false;
        exec_session_command(w, s, q->entry, q->argc, q->argv, &sink.sink);
        if (s->answers_later)
            return EXEC_AWAY;
        res = sink.sink.failed ? RES_NO_MEMORY : RES_OK;
        rest->ends[rest->next++] = rest->pieces.len;
    }
    if (res == RES_OK)
        res = put_together(rest, reply);
    if (res != RES_OK)
        s->close_after_reply = true;
    session_rest_drop(w->shard, s);
    return EXEC_DONE;
}
