/* See input_budget.h. */
#include "net/input_budget.h"

#include "base/log.h"
#include "net/net_internal.h"

#define COUNTED_LEAST (64 * 1024)
#define SMALL_SHARE 64 /* nobody is closed for less than this part of the budget but by make_room() */

void input_count(struct connection *c, size_t memory)
{
    size_t share = memory > COUNTED_LEAST ? memory : 0;
    if (share == c->counted_input)
        return;
    atomic_fetch_add_explicit(&c->reactor->net->input_bytes_held, share - c->counted_input, memory_order_relaxed);
    stat_add(&c->reactor->input_held, share - c->counted_input);
    c->counted_input = share;
}

void input_uncount(struct connection *c) { input_count(c, 0); }

static bool over_budget(const struct reactor *r, uint64_t times)
{
    uint64_t all = atomic_load_explicit(&r->net->input_bytes_held, memory_order_relaxed);
    return r->tuning.input_budget != 0 && all > r->tuning.input_budget * times;
}

/* Who has most of what this reactor holds. Closing one whose command runs elsewhere would free nothing. */
static struct connection *largest(struct reactor *r)
{
    struct connection *c, *most = NULL;
    TAILQ_FOREACH(c, &r->all, all)
    {
        if (c->counted_input)
            input_count(c, resp_input_memory(&c->in)); /* what was executed meanwhile is gone */
        if (c->counted_input && !c->away && (most == NULL || c->counted_input > most->counted_input))
            most = c;
    }
    return most;
}

static void make_room(struct reactor *r)
{
    struct connection *c;
    while (over_budget(r, 1) && (c = largest(r)) != NULL && over_budget(r, 1)) {
        log_warning(
            "client %s closed: it has sent %zu bytes that are not executed yet, and all clients together more than "
            "a quarter of maxmemory",
            c->peer, c->counted_input);
        stat_add(&r->stats.cut_by_query_limit, 1);
        connection_close(c);
    }
}

static void room_asked(struct reactor *r, struct mail *m)
{
    (void)m;
    atomic_store(&r->room_asked, false);
    make_room(r);
}

/* Where most is held. */
static struct reactor *fullest(struct net *n)
{
    struct reactor *from = &n->reactors[0];
    uint64_t most = 0;
    for (int i = 0; i < n->reactor_count; i++) {
        uint64_t held = atomic_load_explicit(&n->reactors[i].input_held, memory_order_relaxed);
        if (held > most)
            most = held, from = &n->reactors[i];
    }
    return from;
}

bool input_within_budget(struct connection *c, size_t memory)
{
    input_count(c, memory);
    if (c->counted_input == 0 || !over_budget(c->reactor, 1))
        return true;
    struct reactor *from = fullest(c->reactor->net);
    if (from == c->reactor) {
        make_room(from);
    } else if (!atomic_exchange(&from->room_asked, true)) {
        from->room_mail.deliver = room_asked;
        reactor_post(from, &from->room_mail);
    }
    if (c->closed || !over_budget(c->reactor, 2) || c->counted_input < c->reactor->tuning.input_budget / SMALL_SHARE)
        return true;
    log_warning("client %s closed: all clients together have sent more than half of maxmemory that is not executed yet",
                c->peer);
    return false;
}
