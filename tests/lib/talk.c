/* See talk.h. */
#include "tests/lib/talk.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "cmd/table.h"
#include "conf/settings.h"
#include "store/store.h"

static void die(const char *what, enum result r, const char *more)
{
    printf("Bail out! %s: %s %s\n", what, result_text(r), more);
    fflush(stdout);
    _exit(1);
}

static struct talk *owner(struct session *s) { return s->connection; }

static void completed(struct session *s, struct buf *reply)
{
    struct talk *t = owner(s);
    os_mutex_lock(&t->lock);
    t->away = *reply;
    *reply = BUF_INIT;
    t->back = true;
    os_cond_signal(&t->changed);
    os_mutex_unlock(&t->lock);
}

static void nothing(struct session *s) { (void)s; }
static const struct session_ops session_ops = {.protocol = "resp",
                                               .completed = completed,
                                               .ref = nothing,
                                               .unref = nothing};

static void woken(void *arg)
{
    struct talk *t = arg;
    os_mutex_lock(&t->lock);
    atomic_fetch_add(&t->wakes, 1);
    os_cond_signal(&t->changed);
    os_mutex_unlock(&t->lock);
}

void talk_open(struct talk *t, const struct talk_options *o)
{
    struct errmsg msg = {""};
    memset(t, 0, sizeof *t);
    command_table_init();
    struct shard_options so = {
        .front = {.env = o->env ? o->env : env_posix(),
                  .engine = o->engine ? o->engine : &engine_memory,
                  .dir = o->dir ? o->dir : "talk",
                  .create = true,
                  .fsync = o->engine && o->engine->persistent ? FRONT_FSYNC_ALWAYS : FRONT_FSYNC_NO,
                  .memtable_bytes = o->memtable_bytes,
                  .log_segment_bytes = o->log_bytes,
                  .log_ring_bytes = o->log_bytes},
        .pool_threads = 4,
        .command_count = command_count(),
    };
    enum result r = shard_open(&so, &t->shard, &msg);
    if (r != RES_OK)
        die("shard_open", r, msg.text);
    if (settings_current() == NULL && (r = settings_load_defaults(&msg)) != RES_OK)
        die("settings", r, msg.text);
    shard_set_settings(t->shard, settings_current());
    struct store_options sto = {.databases = o->databases};
    if ((r = store_open(t->shard, &sto, &msg)) != RES_OK)
        die("store_open", r, msg.text);
    os_mutex_init(&t->lock);
    os_cond_init(&t->changed);
    struct exec_worker_options wo = {.name = "talk", .wake = woken, .arg = t};
    t->worker = exec_worker_new(t->shard, &wo);
    t->session = (struct session){.ops = &session_ops, .id = 1, .resp = 2, .authenticated = true, .connection = t};
}

void talk_close(struct talk *t)
{
    exec_worker_free(t->worker);
    store_close(t->shard);
    enum result r = shard_close(t->shard);
    if (r != RES_OK)
        die("shard_close", r, "");
    buf_fini(&t->out);
    buf_fini(&t->away);
    os_cond_fini(&t->changed);
    os_mutex_fini(&t->lock);
}

/* A 0 behind the reply, so that it can be read as text. */
static struct slice finish(struct buf *b)
{
    if (buf_append(b, "", 1) != RES_OK)
        die("a reply", RES_NO_MEMORY, "");
    b->len--;
    return buf_slice(b);
}

struct slice talk_run(struct talk *t, int argc, const struct slice *argv)
{
    char error[512];
    buf_clear(&t->out);
    buf_fini(&t->away);
    resp_sink_init(&t->sink, &t->out, t->session.resp);
    const struct command_entry *e = command_resolve(argc, argv, error);
    if (!e) {
        (void)reply_error(&t->sink.sink, "%s", error);
        return finish(&t->out);
    }
    for (;;) {
        int wakes = atomic_load(&t->wakes);
        t->back = false;
        enum exec_outcome outcome = exec_run(t->worker, &t->session, e, argc, argv, &t->sink.sink);
        exec_row_end(t->worker);
        if (outcome == EXEC_DONE)
            return finish(&t->out);
        os_mutex_lock(&t->lock);
        while (outcome == EXEC_AWAY ? !t->back : atomic_load(&t->wakes) == wakes)
            if (!os_cond_wait_for(&t->changed, &t->lock, 60000000000u))
                die("a command", RES_INTERRUPTED, "does not end");
        os_mutex_unlock(&t->lock);
        if (outcome == EXEC_AWAY)
            return finish(&t->away);
    }
}

static struct slice PRINTF_LIKE(2, 0) run_words(struct talk *t, const char *fmt, va_list ap)
{
    char text[4096];
    struct slice argv[64];
    int argc = 0;
    vsnprintf(text, sizeof text, fmt, ap);
    for (char *p = text; argc < 64; p++) {
        size_t n = strcspn(p, " ");
        argv[argc++] = slice_of(p, n);
        p += n;
        if (!*p)
            break;
    }
    return talk_run(t, argc, argv);
}

const char *talk(struct talk *t, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    struct slice reply = run_words(t, fmt, ap);
    va_end(ap);
    return (const char *)reply.data;
}

int64_t talk_int(struct talk *t, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    struct slice s = run_words(t, fmt, ap);
    va_end(ap);
    return s.len && s.data[0] == ':' ? strtoll((const char *)s.data + 1, NULL, 10) : INT64_MIN;
}

struct slice talk_bulk(struct slice reply)
{
    if (!reply.len || reply.data[0] != '$')
        return slice_of(NULL, 0);
    char *end;
    long n = strtol((const char *)reply.data + 1, &end, 10);
    return n < 0 ? slice_of(NULL, 0) : slice_of(end + 2, (size_t)n);
}

int talk_array(struct slice reply, struct slice *out, int max)
{
    if (!reply.len || reply.data[0] != '*')
        return -1;
    char *p;
    long n = strtol((const char *)reply.data + 1, &p, 10);
    p += 2;
    for (long i = 0; i < n; i++) {
        long len = strtol(p + 1, &p, 10);
        p += 2;
        if (i < max)
            out[i] = slice_of(p, (size_t)len);
        p += len + 2;
    }
    return (int)n;
}

void talk_call(struct talk *t, command_fn *fn, void *arg, enum result expected)
{
    uint64_t sequence;
    enum result r = exec_background(t->shard, fn, arg, &sequence);
    if (r != expected)
        die("background", r, "");
}

bool talk_wait_for(bool (*holds)(void *arg), void *arg)
{
    for (int i = 0; i < 2000; i++) {
        if (holds(arg))
            return true;
        usleep(5000);
    }
    return false;
}
