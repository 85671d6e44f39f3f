/* Commands on collections: see collection.h. */
#include "cmd/collection.h"

#include <errno.h>
#include <stdlib.h>

#include "base/glob.h"
#include "base/num.h"
#include "cmd/declare.h"

/* ---- opening and finishing ---- */

static enum result open_checked(struct call *c, const struct elements_kind *kind, struct collection *x, bool *ready)
{
    *ready = !x->o.exists || x->o.type == kind->type;
    return *ready ? elements_open(&x->e, c, &x->o, kind) : reply_wrong_type(c->reply);
}

enum result collection_read(struct call *c, struct slice name, const struct elements_kind *kind, struct collection *x,
                            bool *ready)
{
    *ready = false;
    enum result r = store_key_init(c, c->session->db, name, &x->key);
    if (r == RES_OK)
        r = store_read(c, &x->key, 0, &x->o);
    return r == RES_OK ? open_checked(c, kind, x, ready) : r;
}

enum result collection_write(struct call *c, struct slice name, const struct elements_kind *kind, struct collection *x,
                             bool *ready)
{
    *ready = false;
    enum result r = store_key_init(c, c->session->db, name, &x->key);
    if (r == RES_OK)
        r = store_write(c, &x->key, &x->o);
    return r == RES_OK ? open_checked(c, kind, x, ready) : r;
}

enum result collection_finish(struct collection *x, enum event_class event_class, const char *event)
{
    struct call *c = x->e.c;
    bool touched = x->e.touched;
    enum result r = elements_finish(&x->e);
    if (r == RES_OK && touched)
        r = call_event(c, event_class, event, x->key.db, x->key.user);
    if (r == RES_OK && touched && !x->o.exists)
        r = call_event(c, EVENT_GENERIC, "del", x->key.db, x->key.user);
    return r;
}

enum result collection_store(struct collection *x, enum event_class event_class, const char *event)
{
    struct call *c = x->e.c;
    bool existed = x->o.exists;
    enum result r = elements_finish(&x->e);
    if (r == RES_OK && x->o.exists)
        return call_event(c, event_class, event, x->key.db, x->key.user);
    return r == RES_OK && existed ? call_event(c, EVENT_GENERIC, "del", x->key.db, x->key.user) : r;
}

/* ---- results ---- */

struct gathered_one {
    struct gathered_one *next;
    size_t len;
    uint8_t bytes[];
};

enum result gather(struct call *c, struct gathered *g, struct slice bytes)
{
    struct gathered_one *one = arena_alloc(c->arena, sizeof *one + bytes.len);
    if (!one)
        return RES_NO_MEMORY;
    one->next = NULL;
    one->len = bytes.len;
    if (bytes.len)
        memcpy(one->bytes, bytes.data, bytes.len);
    *g->last = one;
    g->last = &one->next;
    g->count++;
    return RES_OK;
}

void reply_gathered(struct call *c, const struct gathered *g)
{
    for (const struct gathered_one *one = g->first; one; one = one->next)
        reply_bulk(c->reply, slice_of(one->bytes, one->len));
}

/* ---- SCAN and its like ---- */

/* As strtoul reads a number, since that is what clients are used to: nothing is 0, and a zero byte ends it. */
bool scan_cursor(struct call *c, struct slice text, uint64_t *out)
{
    char copy[64], *end;
    const uint8_t *zero = text.len ? memchr(text.data, 0, text.len) : NULL;
    errno = 0;
    if (zero)
        text.len = (size_t)(zero - text.data);
    if (text.len < sizeof copy) {
        memcpy(copy, text.len ? (const void *)text.data : "", text.len);
        copy[text.len] = 0;
        unsigned long long value = strtoull(copy, &end, 10);
        bool space = copy[0] == ' ' || (copy[0] >= '\t' && copy[0] <= '\r');
        if (!space && *end == 0 && errno != ERANGE) {
            *out = value;
            return true;
        }
    }
    (void)reply_error(c->reply, "ERR invalid cursor");
    return false;
}

static enum object_type type_named(struct slice name)
{
    for (enum object_type t = 0; t < TYPE_COUNT; t++)
        if (slice_eq_nocase(name, object_type_name(t)))
            return t;
    return TYPE_COUNT;
}

bool scan_options(struct call *c, int from, bool takes_type, struct scan_options *out)
{
    *out = (struct scan_options){.all = true, .count = 10};
    for (int i = from; i < c->argc; i += 2) {
        bool more = i + 1 < c->argc;
        int64_t count;
        if (more && arg_is(c, i, "count")) {
            if (!arg_i64(c, i + 1, &count))
                return false;
            if (count < 1) {
                (void)reply_syntax_error(c->reply);
                return false;
            }
            out->count = (uint64_t)count;
        } else if (more && arg_is(c, i, "match")) {
            out->pattern = c->argv[i + 1];
            out->all = slice_eq(out->pattern, SLICE_LIT("*"));
        } else if (more && takes_type && arg_is(c, i, "type")) {
            out->typed = true;
            out->type = type_named(c->argv[i + 1]);
        } else {
            (void)reply_syntax_error(c->reply);
            return false;
        }
    }
    return true;
}

bool scan_wants(const struct scan_options *o, struct slice name)
{
    return o->all || glob_match(o->pattern, name, false);
}

void reply_scan(struct call *c, uint64_t cursor, const struct gathered *found)
{
    char text[NUM_I64_MAX];
    reply_array(c->reply, 2);
    reply_bulk(c->reply, slice_of(text, num_format_u64(text, cursor)));
    reply_array(c->reply, found->count);
    reply_gathered(c, found);
}

struct member_scan {
    struct scan_options options;
    member_filter *may;
    scan_show_fn *show;
    struct gathered found;
};

static enum result show_member(struct elements *e, void *arg, const struct element *element)
{
    struct member_scan *s = arg;
    if ((s->may && !s->may(e, element)) || !scan_wants(&s->options, element->key))
        return RES_OK;
    return s->show(e->c, &s->found, element);
}

enum result scan_members(struct call *c, const struct elements_kind *kind, member_filter *may, scan_show_fn *show)
{
    uint64_t cursor;
    struct collection x;
    struct member_scan s = {.may = may, .show = show};
    bool ready;
    gather_init(&s.found);
    if (!scan_cursor(c, c->argv[2], &cursor))
        return RES_OK;
    enum result r = collection_read(c, c->argv[1], kind, &x, &ready);
    if (r != RES_OK || !ready)
        return r;
    if (!x.o.exists) { /* options are not looked at then */
        reply_scan(c, 0, &s.found);
        return RES_OK;
    }
    if (!scan_options(c, 3, false, &s.options))
        return RES_OK;
    r = member_scan(&x.e, &cursor, s.options.count, show_member, &s);
    if (r == RES_OK)
        reply_scan(c, cursor, &s.found);
    return r;
}

const struct command_arg args_member_scan[] = {ARG("key", ARG_KEY), ARG("cursor", ARG_INTEGER),
                                               ARG("pattern", ARG_PATTERN, .token = "MATCH", .flags = ARG_OPTIONAL),
                                               ARG("count", ARG_INTEGER, .token = "COUNT", .flags = ARG_OPTIONAL),
                                               ARGS_END};
