/* The slow log and the latency monitor: what was slow, for SLOWLOG and LATENCY. Both are lists under a mutex of their
 * own, touched only by commands that were slow and by those that ask. */
#include <stdio.h>
#include <stdlib.h>

#include "exec/internal.h"

/* Redis' limits, so that the same tools read the same shape. */
#define SLOWLOG_ARGC 32
#define SLOWLOG_STRING 128

struct slow_record {
    struct slow_record *older;
    struct slowlog_entry entry;
    struct slice argv[SLOWLOG_ARGC];
    uint8_t bytes[]; /* the arguments, one after the other */
};

void slowlog_init(struct shard *s) { os_mutex_init(&s->slow.lock); }

void slowlog_fini(struct shard *s)
{
    shard_slowlog_reset(s);
    os_mutex_fini(&s->slow.lock);
}

/* Argument i of the record, cut as Redis cuts it: "... (12 more bytes)", "... (3 more arguments)"; passwords are not shown. */
_Static_assert(SLOWLOG_ARGC <= 63, "each argument shown has its bit in call.secret");
static struct slice cut(char text[SLOWLOG_STRING + 64], const struct call *c, int i)
{
    if (i == SLOWLOG_ARGC - 1 && c->argc > SLOWLOG_ARGC) {
        int n = snprintf(text, SLOWLOG_STRING + 64, "... (%d more arguments)", c->argc - SLOWLOG_ARGC + 1);
        return slice_of(text, (size_t)n);
    }
    if (c->secret & UINT64_C(1) << i)
        return SLICE_LIT("(redacted)");
    struct slice a = c->argv[i];
    if (a.len <= SLOWLOG_STRING)
        return a;
    memcpy(text, a.data, SLOWLOG_STRING);
    int n = snprintf(text + SLOWLOG_STRING, 64, "... (%zu more bytes)", a.len - SLOWLOG_STRING);
    return slice_of(text, SLOWLOG_STRING + (size_t)n);
}

static struct slow_record *record_new(const struct call *c, uint64_t us)
{
    int argc = c->argc < SLOWLOG_ARGC ? c->argc : SLOWLOG_ARGC;
    struct slow_record *r = calloc(1, sizeof *r + (size_t)argc * (SLOWLOG_STRING + 64));
    if (!r)
        return NULL;
    uint8_t *p = r->bytes;
    for (int i = 0; i < argc; i++) {
        char text[SLOWLOG_STRING + 64];
        struct slice a = cut(text, c, i);
        if (a.len)
            memcpy(p, a.data, a.len);
        r->argv[i] = slice_of(p, a.len);
        p += a.len;
    }
    r->entry.argc = argc;
    r->entry.argv = r->argv;
    r->entry.duration_us = us;
    r->entry.time_s = c->shard->env->ops->real_ms(c->shard->env) / 1000;
    struct session *session = c->session;
    if (session && session->ops->address)
        session->ops->address(session, r->entry.address);
    if (session && session->name.len)
        snprintf(r->entry.name, sizeof r->entry.name, "%.*s", (int)session->name.len, (const char *)session->name.data);
    return r;
}

static void cut_list(struct slow_log *l, size_t max)
{
    struct slow_record **at = &l->newest;
    for (size_t i = 0; i < max && *at; i++)
        at = &(*at)->older;
    struct slow_record *r = *at;
    *at = NULL;
    while (r) {
        struct slow_record *older = r->older;
        free(r);
        l->count--;
        r = older;
    }
}

bool slowlog_wants(const struct shard *s, uint32_t flags, uint64_t ns)
{
    int64_t limit = atomic_load_explicit(&s->slowlog_us, memory_order_relaxed);
    return limit >= 0 && ns >= (uint64_t)limit * 1000 && !(flags & CMD_SKIP_SLOWLOG);
}

static void add(struct shard *s, struct slow_record *r)
{
    size_t max = atomic_load(&s->slowlog_max);
    os_mutex_lock(&s->slow.lock);
    r->entry.id = s->slow.next_id++;
    r->older = s->slow.newest;
    s->slow.newest = r;
    s->slow.count++;
    if (s->slow.count > max)
        cut_list(&s->slow, max);
    os_mutex_unlock(&s->slow.lock);
}

/* A missing line is better than a failed command. */
void slowlog_add(struct shard *s, const struct call *c, uint64_t us)
{
    struct slow_record *r = record_new(c, us);
    if (r)
        add(s, r);
}

void slowlog_later(struct slow_later *l, const struct call *c, uint64_t us)
{
    struct slow_record *r = record_new(c, us);
    if (!r)
        return;
    if (l->last)
        l->last->older = r; /* until it is in the log: the next one */
    else
        l->first = r;
    l->last = r;
}

void slowlog_move(struct slow_later *to, struct slow_later *from)
{
    if (to->last)
        to->last->older = from->first;
    else
        to->first = from->first;
    if (from->last)
        to->last = from->last;
    *from = (struct slow_later){NULL, NULL};
}

void slowlog_add_later(struct shard *s, struct slow_later *l)
{
    struct slow_record *r = l->first;
    *l = (struct slow_later){NULL, NULL};
    for (struct slow_record *next; r; r = next) {
        next = r->older;
        add(s, r);
    }
}

void shard_slowlog_each(struct shard *s, size_t newest, slowlog_fn *fn, void *arg)
{
    os_mutex_lock(&s->slow.lock);
    const struct slow_record *r = s->slow.newest;
    for (size_t i = 0; i < newest && r; i++, r = r->older)
        fn(arg, &r->entry);
    os_mutex_unlock(&s->slow.lock);
}

size_t shard_slowlog_len(struct shard *s)
{
    os_mutex_lock(&s->slow.lock);
    size_t n = s->slow.count;
    os_mutex_unlock(&s->slow.lock);
    return n;
}

void shard_slowlog_reset(struct shard *s)
{
    os_mutex_lock(&s->slow.lock);
    cut_list(&s->slow, 0);
    os_mutex_unlock(&s->slow.lock);
}

/* ---- latency monitor ---- */

#define SAMPLES 160
struct latency_event {
    char name[32];
    uint32_t max;
    int count, at; /* at: where the next sample goes */
    struct latency_sample sample[SAMPLES];
};

void latency_init(struct shard *s) { os_mutex_init(&s->latency.lock); }

void latency_fini(struct shard *s)
{
    (void)shard_latency_reset(s, NULL);
    os_mutex_fini(&s->latency.lock);
}

static struct latency_event *event_find(struct latency_log *l, const char *name)
{
    for (int i = 0; i < l->count; i++)
        if (strcmp(l->event[i]->name, name) == 0)
            return l->event[i];
    if (l->count == LATENCY_EVENTS)
        return NULL;
    struct latency_event *e = calloc(1, sizeof *e);
    if (e) {
        snprintf(e->name, sizeof e->name, "%s", name);
        l->event[l->count++] = e;
    }
    return e;
}

void shard_latency_add(struct shard *s, const char *event, uint64_t ms)
{
    uint32_t value = ms > UINT32_MAX ? UINT32_MAX : (uint32_t)ms;
    uint32_t now = (uint32_t)(s->env->ops->real_ms(s->env) / 1000);
    os_mutex_lock(&s->latency.lock);
    struct latency_event *e = event_find(&s->latency, event);
    if (e) {
        if (value > e->max)
            e->max = value;
        struct latency_sample *last = &e->sample[(e->at + SAMPLES - 1) % SAMPLES];
        if (e->count && last->time_s == now) { /* one sample a second: its worst */
            if (value > last->ms)
                last->ms = value;
        } else {
            e->sample[e->at] = (struct latency_sample){.time_s = now, .ms = value};
            e->at = (e->at + 1) % SAMPLES;
            if (e->count < SAMPLES)
                e->count++;
        }
    }
    os_mutex_unlock(&s->latency.lock);
}

void shard_latency_each(struct shard *s, latency_fn *fn, void *arg)
{
    os_mutex_lock(&s->latency.lock);
    for (int i = 0; i < s->latency.count; i++) {
        const struct latency_event *e = s->latency.event[i];
        struct latency_series series = {.event = e->name, .max = e->max, .count = e->count};
        for (int k = 0; k < e->count; k++)
            series.sample[k] = e->sample[(e->at + SAMPLES - e->count + k) % SAMPLES];
        fn(arg, &series);
    }
    os_mutex_unlock(&s->latency.lock);
}

int shard_latency_reset(struct shard *s, const char *event)
{
    int n = 0;
    os_mutex_lock(&s->latency.lock);
    struct latency_log *l = &s->latency;
    for (int i = 0; i < l->count;) {
        if (event && strcmp(l->event[i]->name, event) != 0) {
            i++;
            continue;
        }
        free(l->event[i]);
        memmove(&l->event[i], &l->event[i + 1], (size_t)(l->count - i - 1) * sizeof *l->event);
        l->count--;
        n++;
    }
    os_mutex_unlock(&s->latency.lock);
    return n;
}
