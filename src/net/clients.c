/* Commands about clients: CLIENT LIST, CLIENT KILL, CLIENT INFO, MONITOR.
 *
 * A connection is touched by its own reactor only, so a question about all of them goes round as one message to each
 * reactor; the last one to answer makes the reply and sends it back as that of a command that was away. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#include "cmd/table.h"
#include "net/net_internal.h"

/* ---- one line of CLIENT LIST ---- */

static enum result describe(struct connection *c, struct buf *out)
{
    const struct session *s = &c->session;
    const struct subscriber *sub = s->subscriber;
    char peer[64], local[64], flags[16];
    size_t f = 0;
    connection_name_peer(c, peer);
    connection_name_local(c, local);
    if (s->monitor)
        flags[f++] = 'O';
    if (subscriber_total(sub) > 0)
        flags[f++] = 'P';
    bool quiet = c->away && c->batch != NULL && c->waiter == NULL && !s->answers_later; /* another thread has it */
    int queued = quiet ? -1 : session_multi_count(s);
    if (queued >= 0)
        flags[f++] = 'x';
    int64_t redirect;
    f += tracking_flags(c, flags + f, &redirect);
    if (c->waiter != NULL || (c->in_parked && shard_paused(c->reactor->shard) != SHARD_PAUSE_OFF))
        flags[f++] = 'b';
    if (!quiet && session_watch_broken(s))
        flags[f++] = 'd';
    if (c->closing || s->close_after_reply)
        flags[f++] = 'c';
    if (c->is_unix)
        flags[f++] = 'U';
    if (s->no_evict)
        flags[f++] = 'e';
    if (s->no_touch)
        flags[f++] = 'T';
    if (f == 0)
        flags[f++] = 'N';
    flags[f] = 0;
    uint64_t now = c->reactor->now_ms;
    /* While a command is away, the session's own account belongs to the thread it is on. */
    const struct command_entry *last =
        c->away && c->batch != NULL ? c->batch->requests[c->batch->next - 1].entry : s->last_command;
    /* As in Redis, what is being executed counts as unread. */
    size_t unread = c->batch != NULL ? c->in.len : c->in.len - c->in.pos, pending = outbox_pending(&c->out);
    return buf_printf(
        out,
        "id=%llu addr=%s laddr=%s fd=%d name=%.*s age=%llu idle=%llu flags=%s db=%u sub=%zu psub=%zu ssub=%zu "
        "multi=%d qbuf=%zu qbuf-free=%zu argv-mem=%zu multi-mem=%zu rbs=%zu rbp=%zu obl=%zu oll=%d omem=%zu "
        "tot-mem=%zu events=%s "
        "cmd=%s user=default redir=%lld resp=%d lib-name=%.*s lib-ver=%.*s\n",
        (unsigned long long)s->id, peer, local, c->fd, (int)s->name.len, (const char *)s->name.data,
        (unsigned long long)(now - s->created_ms) / 1000,
        (unsigned long long)(now > s->active_ms ? now - s->active_ms : 0) / 1000, flags, s->db,
        sub ? sub->count[PUBSUB_CHANNEL] : 0, sub ? sub->count[PUBSUB_PATTERN] : 0, sub ? sub->count[PUBSUB_SHARD] : 0,
        queued, unread, c->in.cap - c->in.len, c->batch ? sizeof *c->batch : 0, quiet ? 0 : session_multi_memory(s),
        c->out.buf.cap, c->out.buf.len, pending, c->out.streams != NULL, pending ? outbox_memory(&c->out) : 0,
        connection_memory(c), c->write_waiting ? "rw" : "r", last ? last->full_name : "NULL", (long long)redirect,
        s->resp, (int)s->lib_name.len, (const char *)s->lib_name.data, (int)s->lib_version.len,
        (const char *)s->lib_version.data);
}

enum result net_client_info(struct call *c, struct buf *out)
{
    if (c->session->ops != &connection_session_ops)
        return RES_UNSUPPORTED;
    return describe(c->session->connection, out);
}

/* ---- questions that go round ---- */

enum { ANSWER_LIST, ANSWER_COUNT, ANSWER_OLD_KILL, ANSWER_UNBLOCK, ANSWER_TRACKING };

struct question;
struct part { /* one reactor's */
    struct mail mail;
    struct question *question;
    struct buf lines;
    uint64_t killed;
    bool failed;
};
struct question {
    struct connection *asker; /* counted */
    uint64_t asker_id;
    int answer;
    bool kill;
    enum wait_end unblock;
    struct client_filter filter;
    uint64_t *ids;
    struct slice *prefixes; /* of tracking, with their bytes */
    char address[64], local_address[64], user[64];
    struct tracker *tracker;         /* the asker's; counted */
    struct client_tracking tracking; /* ANSWER_TRACKING: wanted, and from whom on */
    _Atomic(struct tracker *) redirect_to;
    atomic_int open; /* parts without an answer */
    int part_count;
    struct part parts[];
};

static bool has_id(const struct client_filter *f, uint64_t id)
{
    for (size_t i = 0; i < f->id_count; i++)
        if (f->ids[i] == id)
            return true;
    return false;
}

static bool matches(const struct question *q, struct connection *c)
{
    const struct client_filter *f = &q->filter;
    char name[64];
    if (f->ids != NULL && !has_id(f, c->session.id))
        return false;
    enum client_type type = connection_class(c) == OUTPUT_PUBSUB ? CLIENT_PUBSUB : CLIENT_NORMAL;
    if (f->type != CLIENT_ANY && f->type != (c->session.monitor ? CLIENT_REPLICA : type))
        return false;
    if (f->skip_me && c->session.id == q->asker_id)
        return false;
    if (f->user.data != NULL && strcmp(q->user, "default") != 0)
        return false;
    if (f->address.data != NULL) {
        connection_name_peer(c, name);
        if (strcmp(name, q->address) != 0)
            return false;
    }
    if (f->local_address.data != NULL) {
        connection_name_local(c, name);
        if (strcmp(name, q->local_address) != 0)
            return false;
    }
    return true;
}

struct line {
    uint64_t id;
    const char *text;
    size_t len;
};
static int by_id(const void *a, const void *b)
{
    const struct line *x = a, *y = b;
    return (x->id > y->id) - (x->id < y->id);
}

/* The lines of all parts, ordered by id, as one reply. */
static void reply_lines(struct question *q, struct sink *reply)
{
    size_t count = 0, total = 0;
    for (int i = 0; i < q->part_count; i++) {
        total += q->parts[i].lines.len;
        for (size_t k = 0; k < q->parts[i].lines.len; k++)
            count += q->parts[i].lines.data[k] == '\n';
        if (q->parts[i].failed) {
            reply_error(reply, "ERR out of memory");
            return;
        }
    }
    struct line *lines = malloc((count ? count : 1) * sizeof *lines), *next = lines;
    char *text = malloc(total ? total : 1), *at = text;
    if (lines == NULL || text == NULL) {
        reply_error(reply, "ERR out of memory");
    } else {
        for (int i = 0; i < q->part_count; i++) {
            if (q->parts[i].lines.len == 0)
                continue;
            const char *p = (const char *)q->parts[i].lines.data, *end = p + q->parts[i].lines.len;
            while (p < end) {
                const char *stop = (const char *)memchr(p, '\n', (size_t)(end - p)) + 1;
                *next++ = (struct line){strtoull(p + 3, NULL, 10), p, (size_t)(stop - p)};
                p = stop;
            }
        }
        qsort(lines, count, sizeof *lines, by_id);
        for (size_t i = 0; i < count; i++) {
            memcpy(at, lines[i].text, lines[i].len);
            at += lines[i].len;
        }
        reply->ops->verbatim(reply, "txt", slice_of(text, total));
    }
    free(lines);
    free(text);
}

static void answer_tracking(struct question *q, struct sink *reply)
{
    struct tracker *to = atomic_load(&q->redirect_to);
    if (to == NULL)
        reply_error(reply, "ERR The client ID you want redirect to does not exist");
    else
        tracking_set(q->asker->reactor->net->tracking, q->tracker, &q->tracking, to, reply);
    tracker_unref(to);
    tracker_unref(q->tracker);
    free(q->prefixes);
}

static void answer(struct question *q)
{
    struct session *s = &q->asker->session;
    struct buf reply = BUF_INIT;
    struct resp_sink sink;
    uint64_t killed = 0;
    resp_sink_init(&sink, &reply, s->resp);
    for (int i = 0; i < q->part_count; i++)
        killed += q->parts[i].killed;
    if (q->answer == ANSWER_LIST)
        reply_lines(q, &sink.sink);
    else if (q->answer == ANSWER_COUNT || q->answer == ANSWER_UNBLOCK)
        reply_integer(&sink.sink, (int64_t)killed);
    else if (q->answer == ANSWER_TRACKING)
        answer_tracking(q, &sink.sink);
    else if (killed > 0)
        reply_ok(&sink.sink);
    else
        reply_error(&sink.sink, "ERR No such client");
    s->ops->completed(s, &reply);
    s->ops->unref(s);
    for (int i = 0; i < q->part_count; i++)
        buf_fini(&q->parts[i].lines);
    free(q->ids);
    free(q);
}

static void ask(struct reactor *r, struct mail *m)
{
    struct part *p = (struct part *)m;
    struct question *q = p->question;
    struct connection *c, *next;
    for (c = TAILQ_FIRST(&r->all); c != NULL; c = next) {
        next = TAILQ_NEXT(c, all);
        if (!matches(q, c))
            continue;
        if (!q->kill) {
            p->failed |= describe(c, &p->lines) != RES_OK;
            continue;
        }
        if (q->answer == ANSWER_UNBLOCK) {
            p->killed += connection_end_wait(c, q->unblock);
            continue;
        }
        if (q->answer == ANSWER_TRACKING) {
            if (tracker_of(c) != NULL)
                atomic_store(&q->redirect_to, tracker_ref(c->tracker));
            continue;
        }
        p->killed++;
        if (c == q->asker)
            c->session.close_after_reply = true;
        else
            connection_close(c);
    }
    if (atomic_fetch_sub(&q->open, 1) == 1)
        answer(q);
}

static bool copy_text(char out[64], struct slice text)
{
    if (text.data == NULL)
        return true;
    size_t len = text.len < 63 ? text.len : 63;
    memcpy(out, text.data, len);
    out[len] = 0;
    return text.len < 64;
}

/* Arguments do not live until the answer. */
static bool copy_tracking(struct question *q, const struct client_tracking *from)
{
    size_t bytes = 0;
    for (size_t i = 0; i < from->prefix_count; i++)
        bytes += from->prefixes[i].len;
    q->prefixes = malloc(from->prefix_count * sizeof *q->prefixes + bytes + 1);
    if (q->prefixes == NULL)
        return false;
    uint8_t *at = (uint8_t *)(q->prefixes + from->prefix_count);
    for (size_t i = 0; i < from->prefix_count; i++) {
        memcpy(at, from->prefixes[i].data, from->prefixes[i].len);
        q->prefixes[i] = slice_of(at, from->prefixes[i].len);
        at += from->prefixes[i].len;
    }
    q->tracking = *from;
    q->tracker = tracker_ref(q->asker->tracker);
    q->tracking.prefixes = q->prefixes;
    return true;
}

static void go_round(struct call *call, const struct client_filter *filter, int answer_kind, enum wait_end unblock,
                     const struct client_tracking *tracking)
{
    struct session *s = call->session;
    if (s->ops != &connection_session_ops) {
        reply_error(call->reply, "ERR CLIENT is not available to this kind of client");
        return;
    }
    struct connection *c = s->connection;
    struct net *n = c->reactor->net;
    struct question *q = calloc(1, sizeof *q + (size_t)n->reactor_count * sizeof q->parts[0]);
    if (q == NULL || (filter->ids != NULL && (q->ids = malloc((filter->id_count + 1) * sizeof *q->ids)) == NULL)) {
        free(q);
        reply_error(call->reply, "ERR out of memory");
        return;
    }
    q->asker = c;
    q->asker_id = s->id;
    q->answer = answer_kind;
    q->kill = answer_kind != ANSWER_LIST;
    q->unblock = unblock;
    if (tracking != NULL && !copy_tracking(q, tracking)) {
        free(q->ids);
        free(q);
        reply_error(call->reply, "ERR out of memory");
        return;
    }
    q->filter = *filter;
    if (filter->ids != NULL) {
        memcpy(q->ids, filter->ids, filter->id_count * sizeof *q->ids);
        q->filter.ids = q->ids;
    }
    /* An address too long for us is nobody's; cut, it still is. */
    copy_text(q->address, filter->address);
    copy_text(q->local_address, filter->local_address);
    copy_text(q->user, filter->user);
    q->part_count = n->reactor_count;
    atomic_init(&q->open, n->reactor_count);
    s->ops->ref(s);
    s->answers_later = true;
    c->away = true;
    for (int i = 0; i < n->reactor_count; i++) {
        q->parts[i].question = q;
        q->parts[i].mail.deliver = ask;
    }
    for (int i = 0; i < n->reactor_count; i++)
        reactor_post(&n->reactors[i], &q->parts[i].mail);
}

void net_client_list(struct call *c, const struct client_filter *filter) { go_round(c, filter, ANSWER_LIST, 0, NULL); }

void net_client_kill(struct call *c, const struct client_filter *filter, bool old_form)
{
    go_round(c, filter, old_form ? ANSWER_OLD_KILL : ANSWER_COUNT, 0, NULL);
}

void net_client_unblock(struct call *c, uint64_t id, bool error)
{
    struct client_filter one = {.type = CLIENT_ANY, .ids = &id, .id_count = 1};
    go_round(c, &one, ANSWER_UNBLOCK, error ? WAIT_UNBLOCK_ERROR : WAIT_UNBLOCK, NULL);
}

/* Who is to get the messages may live on another reactor. */
void net_client_tracking(struct call *c, const struct client_tracking *want)
{
    struct session *s = c->session;
    struct client_filter one = {.type = CLIENT_ANY, .ids = &want->redirect, .id_count = 1};
    if (s->ops != &connection_session_ops) {
        reply_error(c->reply, "ERR CLIENT TRACKING is not available to this kind of client");
        return;
    }
    struct connection *self = s->connection;
    if (tracker_of(self) == NULL)
        reply_error(c->reply, "ERR out of memory");
    else if (!want->on || want->redirect == 0)
        tracking_set(self->reactor->net->tracking, self->tracker, want, NULL, c->reply);
    else
        go_round(c, &one, ANSWER_TRACKING, 0, want);
}

/* ---- MONITOR ---- */

void net_client_monitor(struct call *call, bool on)
{
    struct session *s = call->session;
    if (s->ops != &connection_session_ops) {
        reply_error(call->reply, "ERR MONITOR is not available to this kind of client");
        return;
    }
    struct connection *c = s->connection;
    if (s->monitor == on)
        return;
    s->monitor = on;
    atomic_fetch_add(&c->reactor->monitors, on ? 1 : -1);
    shard_monitors_add(call->shard, on ? 1 : -1);
}

/* One line, shared by the reactors that have monitors. */
struct monitor_line;
struct monitor_mail {
    struct mail mail;
    struct monitor_line *line;
};
struct monitor_line {
    atomic_int refs;
    uint64_t floor, from; /* from: the session it tells of */
    struct buf text;
    struct monitor_mail mails[];
};

static void tell_monitors(struct reactor *r, struct mail *m)
{
    struct monitor_line *line = ((struct monitor_mail *)m)->line;
    struct connection *c, *next;
    for (c = TAILQ_FIRST(&r->all); c != NULL; c = next) {
        next = TAILQ_NEXT(c, all);
        if (!c->session.monitor || c->closing)
            continue;
        if (buf_append(&c->out.buf, line->text.data, line->text.len) != RES_OK) {
            connection_close(c);
            continue;
        }
        if (line->floor > c->floor)
            c->floor = line->floor;
        connection_flush(c);
    }
    if (atomic_fetch_sub(&line->refs, 1) == 1) {
        buf_fini(&line->text);
        free(line);
    }
}

static enum result append_quoted(struct buf *out, struct slice text)
{
    static const char plain_escape[] = "\\\"\n\r\t\a\b", letters[] = "\\\"nrtab";
    enum result res = buf_append(out, " \"", 2);
    for (size_t i = 0; i < text.len && res == RES_OK; i++) {
        uint8_t b = text.data[i];
        const char *escape = b ? strchr(plain_escape, b) : NULL;
        if (escape != NULL)
            res = buf_printf(out, "\\%c", letters[escape - plain_escape]);
        else if (b >= 0x20 && b < 0x7f)
            res = buf_append(out, &b, 1);
        else
            res = buf_printf(out, "\\x%02x", b);
    }
    return res == RES_OK ? buf_append(out, "\"", 1) : res;
}

void net_monitor(void *arg, struct session *s, const struct slice *argv, int argc, uint64_t floor)
{
    struct net *n = arg;
    struct timeval now;
    char address[64] = "internal";
    struct monitor_line *line = calloc(1, sizeof *line + (size_t)n->reactor_count * sizeof line->mails[0]);
    if (line == NULL)
        return;
    gettimeofday(&now, NULL);
    if (s->ops->address != NULL)
        s->ops->address(s, address);
    line->floor = floor;
    line->from = s->id;
    enum result res =
        buf_printf(&line->text, "+%lld.%06ld [%u %s]", (long long)now.tv_sec, (long)now.tv_usec, s->db, address);
    for (int i = 0; i < argc && res == RES_OK; i++)
        res = append_quoted(&line->text, argv[i]);
    if (res == RES_OK)
        res = buf_append(&line->text, "\r\n", 2);
    if (res != RES_OK) {
        buf_fini(&line->text);
        free(line);
        return;
    }
    atomic_init(&line->refs, n->reactor_count);
    os_mutex_lock(&n->release_lock);
    for (int i = 0; i < n->reactor_count; i++) {
        line->mails[i].line = line;
        line->mails[i].mail.deliver = tell_monitors;
        reactor_post(&n->reactors[i], &line->mails[i].mail);
    }
    os_mutex_unlock(&n->release_lock);
}
