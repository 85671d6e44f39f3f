/* What operators ask: is it alive, can it serve, what does it count. */
#include "cmd/metrics.h"
#include "cmd/vitals.h"
#include "net/net_internal.h"

#define TYPE_TEXT "text/plain; charset=utf-8"

static void answer(struct connection *c, int status, const char *type, struct slice text)
{
    struct http_state *s = c->http;
    s->status = status;
    s->type = type;
    s->text = text;
}

static void ready(struct connection *c)
{
    struct http_state *s = c->http;
    if (shard_frozen(c->reactor->shard)) {
        if (buf_printf(&s->body, "read-only: %s\n", front_failure(shard_front(c->reactor->shard))) != RES_OK)
            buf_clear(&s->body);
        answer(c, 503, TYPE_TEXT, buf_slice(&s->body));
        return;
    }
    /* Writers wait for a memtable as long as all of them are full. */
    struct vitals_figures f;
    const struct settings *set = settings_hold();
    vitals_figures(&f);
    bool stalled = f.front.memtables >= (uint64_t)set->memtables_max &&
                   f.front.memtable_bytes >= (uint64_t)set->memtables_max * (uint64_t)set->memtable_size / 16 * 15;
    settings_release(set);
    if (stalled)
        answer(c, 503, TYPE_TEXT, SLICE_LIT("stalled: writers wait until memtables have been written out\n"));
    else
        answer(c, 200, TYPE_TEXT, SLICE_LIT("ready\n"));
}

void http_begin_operation(struct connection *c)
{
    switch (c->http->route.action) {
    case HTTP_METRICS:
        http_argument(c, 0, SLICE_LIT("info"));
        http_use_command(c, metrics_entry(), 1);
        return;
    case HTTP_HEALTH:
        answer(c, 200, TYPE_TEXT, SLICE_LIT("ok\n"));
        return;
    case HTTP_READY:
        ready(c);
        return;
    case HTTP_OPENAPI:
        answer(c, 200, "application/json", http_openapi());
        return;
    default:
        http_refuse(c, 404, "not found");
    }
}
