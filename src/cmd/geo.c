/* Positions: sorted sets whose scores are geohashes. GEOADD, GEOPOS, GEOHASH, GEODIST, and the searches: GEOSEARCH,
 * GEOSEARCHSTORE and the older GEORADIUS, GEORADIUSBYMEMBER with their read-only forms. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/num.h"
#include "cmd/declare.h"
#include "cmd/geo_math.h"
#include "cmd/zset.h"

/* ---- arguments and replies ---- */

/* Longitude and latitude at arguments i and i + 1. */
static bool arg_point(struct call *c, int i, struct geo_point *p)
{
    if (!arg_double(c, i, &p->longitude, NULL) || !arg_double(c, i + 1, &p->latitude, NULL))
        return false;
    if (geo_valid(*p))
        return true;
    (void)reply_error(c->reply, "ERR invalid longitude,latitude pair %f,%f", p->longitude, p->latitude);
    return false;
}

static bool arg_unit(struct call *c, int i, double *metres)
{
    static const struct {
        const char *name;
        double metres;
    } units[] = {{"m", 1}, {"km", 1000}, {"ft", 0.3048}, {"mi", 1609.34}};
    for (size_t j = 0; j < sizeof units / sizeof units[0]; j++)
        if (arg_is(c, i, units[j].name)) {
            *metres = units[j].metres;
            return true;
        }
    (void)reply_error(c->reply, "ERR unsupported unit provided. please use M, KM, FT, MI");
    return false;
}

/* A radius and its unit. */
static bool arg_circle(struct call *c, int i, struct geo_shape *shape)
{
    shape->box = false;
    if (!arg_double(c, i, &shape->radius, "need numeric radius"))
        return false;
    if (shape->radius < 0) {
        (void)reply_error(c->reply, "ERR radius cannot be negative");
        return false;
    }
    return arg_unit(c, i + 1, &shape->unit);
}

static bool arg_box(struct call *c, int i, struct geo_shape *shape)
{
    shape->box = true;
    if (!arg_double(c, i, &shape->width, "need numeric width") ||
        !arg_double(c, i + 1, &shape->height, "need numeric height"))
        return false;
    if (shape->width < 0 || shape->height < 0) {
        (void)reply_error(c->reply, "ERR height or width cannot be negative");
        return false;
    }
    return arg_unit(c, i + 2, &shape->unit);
}

/* Four digits behind the point, rounded to even. */
static void reply_distance(struct call *c, double d)
{
    char text[40];
    long long value = llrint(d * 10000), rest = llabs(value % 10000);
    int len = snprintf(text, sizeof text, "%s%lld.%04lld", value < 0 ? "-" : "", llabs(value / 10000), rest);
    reply_bulk(c->reply, slice_of(text, (size_t)len));
}

static void reply_point(struct call *c, struct geo_point p)
{
    char text[NUM_LD_MAX];
    reply_array(c->reply, 2);
    for (int i = 0; i < 2; i++) {
        size_t len = num_format_long_double(text, i ? p.latitude : p.longitude);
        c->reply->ops->real_text(c->reply, slice_of(text, len));
    }
}

/* ---- GEOADD ---- */

static enum result run_geoadd(struct call *c)
{
    unsigned flags = 0;
    int first = 2;
    for (; first < c->argc; first++) {
        if (arg_is(c, first, "nx"))
            flags |= ZADD_NX;
        else if (arg_is(c, first, "xx"))
            flags |= ZADD_XX;
        else if (arg_is(c, first, "ch"))
            flags |= ZADD_CH;
        else
            break;
    }
    int words = c->argc - first;
    if (words % 3 || (flags & ZADD_NX && flags & ZADD_XX))
        return reply_syntax_error(c->reply);
    size_t n = (size_t)words / 3;
    if (!n)
        return reply_syntax_error(c->reply);
    double *scores = arena_alloc(c->arena, n * sizeof *scores);
    if (!scores)
        return RES_NO_MEMORY;
    for (size_t i = 0; i < n; i++) {
        struct geo_point p;
        if (!arg_point(c, first + 3 * (int)i, &p))
            return RES_OK;
        scores[i] = (double)geo_encode(p);
    }
    return zadd(c, flags, scores, n, first + 2, 3);
}

/* ---- GEOPOS, GEOHASH, GEODIST ---- */

typedef void show_fn(struct call *c, struct geo_point p);
static enum result show_members(struct call *c, show_fn *show, void (*nothing)(struct sink *s))
{
    struct zset_key k;
    bool ready;
    enum result r = read_zset(c, 1, &k, &ready);
    if (r != RES_OK || !ready)
        return r;
    reply_array(c->reply, (size_t)c->argc - 2);
    for (int i = 2; r == RES_OK && i < c->argc; i++) {
        struct zset_member m;
        r = zset_find(&k.z, c->argv[i], &m);
        if (r == RES_OK && m.found)
            show(c, geo_decode(m.score));
        else if (r == RES_OK)
            nothing(c->reply);
        if (i % 256 == 0 && r == RES_OK && call_too_long(c))
            r = RES_WOULD_BLOCK;
    }
    return r;
}

static void show_hash(struct call *c, struct geo_point p)
{
    char text[11];
    geo_text(p, text);
    reply_bulk(c->reply, slice_of(text, sizeof text));
}

static enum result run_geopos(struct call *c) { return show_members(c, reply_point, c->reply->ops->null_array); }
static enum result run_geohash(struct call *c) { return show_members(c, show_hash, c->reply->ops->null); }

static enum result run_geodist(struct call *c)
{
    struct zset_key k;
    struct zset_member a, b = {.found = false};
    bool ready;
    double unit = 1;
    if (c->argc > 5)
        return reply_syntax_error(c->reply);
    if (c->argc == 5 && !arg_unit(c, 4, &unit))
        return RES_OK;
    enum result r = read_zset(c, 1, &k, &ready);
    if (r != RES_OK || !ready)
        return r;
    r = zset_find(&k.z, c->argv[2], &a);
    if (r == RES_OK)
        r = zset_find(&k.z, c->argv[3], &b);
    if (r != RES_OK)
        return r;
    if (a.found && b.found)
        reply_distance(c, geo_distance(geo_decode(a.score), geo_decode(b.score)) / unit);
    else
        reply_null(c->reply);
    return RES_OK;
}

/* ---- searches ---- */

enum search_form { BY_POINT, BY_MEMBER, SEARCH, SEARCH_STORE };
struct found {
    struct zset_entry e;
    struct geo_point p;
    double distance;
};
struct search {
    enum search_form form;
    bool may_store; /* GEORADIUS, not its read-only form */
    struct zset_key k;
    struct geo_shape shape;
    bool from, by; /* what FROM... and BY... say is known */
    bool by_point; /* FROMLONLAT, not FROMMEMBER */
    bool with_distance, with_hash, with_point, any, store_distance;
    int sort; /* 1: ascending, -1: descending */
    int64_t count;
    int store; /* argument of the destination; 0: none */
    struct found *found;
    size_t n, cap;
};

/* The position of a member as the centre. *ready: false when an error is replied. */
static enum result centre_of(struct call *c, int i, struct search *s, bool *ready)
{
    struct zset_member m;
    enum result r = zset_find(&s->k.z, c->argv[i], &m);
    if (r != RES_OK)
        return r;
    *ready = m.found;
    if (!m.found)
        return reply_error(c->reply, "ERR could not decode requested zset member");
    s->shape.centre = geo_decode(m.score);
    return RES_OK;
}

/* What stands at fixed places; *i is the first option. */
static enum result parse_fixed(struct call *c, struct search *s, int *i, bool *ready)
{
    enum result r = RES_OK;
    *ready = true;
    if (s->form == SEARCH || s->form == SEARCH_STORE) {
        *i = s->form == SEARCH ? 2 : 3;
        s->store = s->form == SEARCH ? 0 : 1;
        return RES_OK;
    }
    *i = s->form == BY_POINT ? 6 : 5;
    if (s->form == BY_POINT)
        *ready = arg_point(c, 2, &s->shape.centre);
    else if (s->k.o.exists)
        r = centre_of(c, 2, s, ready);
    else
        return RES_OK; /* the rest decides about the kind of reply alone */
    if (r == RES_OK && *ready)
        *ready = arg_circle(c, *i - 2, &s->shape);
    return r;
}

/* One word that says how to reply; false: it is none. */
static bool parse_flag(struct call *c, int i, struct search *s)
{
    if (arg_is(c, i, "withdist"))
        s->with_distance = true;
    else if (arg_is(c, i, "withhash"))
        s->with_hash = true;
    else if (arg_is(c, i, "withcoord"))
        s->with_point = true;
    else if (arg_is(c, i, "any"))
        s->any = true;
    else if (arg_is(c, i, "asc"))
        s->sort = 1;
    else if (arg_is(c, i, "desc"))
        s->sort = -1;
    else if (s->form == SEARCH_STORE && arg_is(c, i, "storedist"))
        s->store_distance = true;
    else
        return false;
    return true;
}

static bool parse_count(struct call *c, int i, struct search *s)
{
    if (!arg_i64(c, i, &s->count))
        return false;
    if (s->count <= 0)
        (void)reply_error(c->reply, "ERR COUNT must be > 0");
    return s->count > 0;
}

/* An option of more words: how many it takes, 0: it is none. *ready: false when an error is replied. */
static enum result parse_option(struct call *c, int i, struct search *s, int *words, bool *ready)
{
    int more = c->argc - i - 1;
    bool search = s->form == SEARCH || s->form == SEARCH_STORE;
    *words = 2;
    if (more >= 1 && arg_is(c, i, "count")) {
        *ready = parse_count(c, i + 1, s);
    } else if (more >= 1 && s->may_store && (arg_is(c, i, "store") || arg_is(c, i, "storedist"))) {
        s->store = i + 1;
        s->store_distance = arg_is(c, i, "storedist");
    } else if (more >= 1 && search && !s->by_point && arg_is(c, i, "frommember")) {
        s->from = true;
        return s->k.o.exists ? centre_of(c, i + 1, s, ready) : RES_OK;
    } else if (more >= 2 && search && !(s->from && !s->by_point) && arg_is(c, i, "fromlonlat")) {
        s->from = s->by_point = true;
        *words = 3;
        *ready = arg_point(c, i + 1, &s->shape.centre);
    } else if (more >= 2 && search && !(s->by && s->shape.box) && arg_is(c, i, "byradius")) {
        s->by = true;
        *words = 3;
        *ready = arg_circle(c, i + 1, &s->shape);
    } else if (more >= 3 && search && !(s->by && !s->shape.box) && arg_is(c, i, "bybox")) {
        s->by = true;
        *words = 4;
        *ready = arg_box(c, i + 1, &s->shape);
    } else {
        *words = 0;
    }
    return RES_OK;
}

static bool options_fit(struct call *c, const struct search *s)
{
    bool search = s->form == SEARCH || s->form == SEARCH_STORE;
    const char *name = (const char *)c->argv[0].data;
    if (s->store && (s->with_distance || s->with_hash || s->with_point))
        (void)reply_error(c->reply, "ERR %s is not compatible with WITHDIST, WITHHASH and WITHCOORD options",
                          search ? "GEOSEARCHSTORE" : "STORE option in GEORADIUS");
    else if (search && !s->from)
        (void)reply_error(c->reply, "ERR exactly one of FROMMEMBER or FROMLONLAT can be specified for %.*s",
                          (int)c->argv[0].len, name);
    else if (search && !s->by)
        (void)reply_error(c->reply, "ERR exactly one of BYRADIUS and BYBOX can be specified for %.*s",
                          (int)c->argv[0].len, name);
    else if (s->any && !s->count)
        (void)reply_error(c->reply, "ERR the ANY argument requires COUNT argument");
    else
        return true;
    return false;
}

/* Everything behind the key. *ready: false when an error is replied. */
static enum result parse_search(struct call *c, struct search *s, bool *ready)
{
    int i, words;
    enum result r = parse_fixed(c, s, &i, ready);
    for (; r == RES_OK && *ready && i < c->argc; i += words) {
        words = 1;
        if (parse_flag(c, i, s))
            continue;
        r = parse_option(c, i, s, &words, ready);
        if (r == RES_OK && !words) {
            *ready = false;
            return reply_syntax_error(c->reply);
        }
    }
    if (r == RES_OK && *ready)
        *ready = options_fit(c, s);
    return r;
}

/* An element of one of the squares. RES_NOT_FOUND ends the search: there are enough. */
static enum result consider(struct call *c, void *arg, struct zset_entry e)
{
    struct search *s = arg;
    struct found f = {.e = e, .p = geo_decode(e.score)};
    if (geo_within(&s->shape, f.p, &f.distance)) {
        if (s->n == s->cap) {
            size_t cap = s->cap ? s->cap * 2 : 64;
            struct found *p = arena_alloc(c->arena, cap * sizeof *p);
            if (!p)
                return RES_NO_MEMORY;
            if (s->n)
                memcpy(p, s->found, s->n * sizeof *p);
            s->found = p;
            s->cap = cap;
        }
        enum result r = zset_keep(c, &f.e);
        if (r != RES_OK)
            return r;
        s->found[s->n++] = f;
    }
    return s->any && s->n && s->n >= (uint64_t)s->count ? RES_NOT_FOUND : RES_OK;
}

static enum result search_squares(struct search *s)
{
    struct geo_range squares[GEO_RANGES];
    unsigned n = geo_cover(&s->shape, squares);
    for (unsigned i = 0; i < n; i++) {
        struct zset_range range = {
            .kind = RANGE_SCORE, .min = squares[i].min, .max = squares[i].max, .max_exclusive = true};
        if (s->any && s->n >= (uint64_t)s->count)
            break;
        enum result r = zset_in_range(&s->k.z, &range, false, 0, -1, consider, s);
        if (r != RES_OK)
            return r;
    }
    return RES_OK;
}

static int by_distance(const void *a, const void *b)
{
    const struct found *x = *(struct found *const *)a, *y = *(struct found *const *)b;
    if (x->distance != y->distance)
        return x->distance < y->distance ? -1 : 1;
    return x < y ? -1 : 1; /* as they were found */
}
static int by_distance_down(const void *a, const void *b)
{
    const struct found *x = *(struct found *const *)a, *y = *(struct found *const *)b;
    if (x->distance != y->distance)
        return x->distance > y->distance ? -1 : 1;
    return x < y ? -1 : 1;
}

static void reply_found(struct call *c, const struct search *s, struct found *const *order, size_t n)
{
    size_t parts = (size_t)s->with_distance + s->with_hash + s->with_point;
    reply_array(c->reply, n);
    for (size_t i = 0; i < n; i++) {
        const struct found *f = order[i];
        if (parts)
            reply_array(c->reply, parts + 1);
        reply_bulk(c->reply, f->e.member);
        if (s->with_distance)
            reply_distance(c, f->distance / s->shape.unit);
        if (s->with_hash)
            reply_integer(c->reply, (int64_t)f->e.score);
        if (s->with_point)
            reply_point(c, f->p);
    }
}

static enum result store_found(struct call *c, const struct search *s, struct found *const *order, size_t n)
{
    bool search = s->form == SEARCH || s->form == SEARCH_STORE;
    struct zset_list list = {.count = 0};
    enum result r = RES_OK;
    for (size_t i = 0; r == RES_OK && i < n; i++) {
        struct zset_entry e = order[i]->e;
        if (s->store_distance)
            e.score = order[i]->distance / s->shape.unit;
        r = zset_list_add(c, &list, e, false);
    }
    if (r == RES_OK)
        r = store_zset(c, s->store, list.entry, n, search ? "geosearchstore" : "georadiusstore");
    if (r == RES_OK)
        reply_integer(c->reply, (int64_t)n);
    return r;
}

static enum result run_search(struct call *c, struct search s)
{
    bool ready;
    enum result r = read_zset(c, s.form == SEARCH_STORE ? 2 : 1, &s.k, &ready);
    if (r == RES_OK && ready)
        r = parse_search(c, &s, &ready);
    if (r != RES_OK || !ready)
        return r;
    if (s.k.o.exists)
        r = search_squares(&s);
    struct found **order = arena_alloc(c->arena, (s.n + 1) * sizeof *order);
    if (r != RES_OK || !order)
        return r == RES_OK ? RES_NO_MEMORY : r;
    for (size_t i = 0; i < s.n; i++)
        order[i] = &s.found[i];
    int sort = s.count && !s.sort && !s.any ? 1 : s.sort; /* the first so many are the nearest */
    if (sort && s.n > 1)
        qsort(order, s.n, sizeof *order, sort > 0 ? by_distance : by_distance_down);
    size_t n = s.count && (uint64_t)s.count < s.n ? (size_t)s.count : s.n;
    if (s.store)
        return store_found(c, &s, order, n);
    reply_found(c, &s, order, n);
    return RES_OK;
}

static enum result run_geosearch(struct call *c) { return run_search(c, (struct search){.form = SEARCH}); }
static enum result run_geosearchstore(struct call *c) { return run_search(c, (struct search){.form = SEARCH_STORE}); }
static enum result run_georadius(struct call *c)
{
    return run_search(c, (struct search){.form = BY_POINT, .may_store = true});
}
static enum result run_georadius_ro(struct call *c) { return run_search(c, (struct search){.form = BY_POINT}); }
static enum result run_georadiusbymember(struct call *c)
{
    return run_search(c, (struct search){.form = BY_MEMBER, .may_store = true});
}
static enum result run_georadiusbymember_ro(struct call *c)
{
    return run_search(c, (struct search){.form = BY_MEMBER});
}

static const struct command_arg args_condition[] = {ARG_TOKEN("nx", "NX"), ARG_TOKEN("xx", "XX"), ARGS_END};

static const struct command_arg args_data[] = {ARG("longitude", ARG_DOUBLE), ARG("latitude", ARG_DOUBLE),
                                               ARG("member", ARG_STRING), ARGS_END};

const struct command cmd_geoadd = {
    .name = "geoadd",
    .arity = -5,
    .flags = CMD_WRITE | CMD_DENYOOM,
    .acl = ACL_GEO,
    .group = "geo",
    .since = "3.2.0",
    .complexity = "O(log(N)) for each member, for N in the set",
    .summary = "Puts members with their positions on earth into a sorted set.",
    .keys = key_update,
    .args =
        (const struct command_arg[]){
            ARG("key", ARG_KEY),
            ARG("condition", ARG_ONEOF, .flags = ARG_OPTIONAL, .since = "6.2.0", .children = args_condition),
            ARG_TOKEN("change", "CH", .flags = ARG_OPTIONAL, .since = "6.2.0"),
            ARG("data", ARG_BLOCK, .flags = ARG_MULTIPLE, .children = args_data), ARGS_END},
    .history = (const struct command_history[]){SINCE("6.2.0", "Options `CH`, `NX` and `XX`."), HISTORY_END},
    .run = run_geoadd,
};

static const struct command_arg args_unit[] = {ARG_TOKEN("m", "m"), ARG_TOKEN("km", "km"), ARG_TOKEN("ft", "ft"),
                                               ARG_TOKEN("mi", "mi"), ARGS_END};

const struct command cmd_geodist = {
    .name = "geodist",
    .arity = -4,
    .flags = CMD_READONLY,
    .acl = ACL_GEO,
    .group = "geo",
    .since = "3.2.0",
    .complexity = "O(1)",
    .summary = "Returns the distance between two members.",
    .keys = key_read,
    .args =
        (const struct command_arg[]){ARG("key", ARG_KEY), ARG("member1", ARG_STRING), ARG("member2", ARG_STRING),
                                     ARG("unit", ARG_ONEOF, .flags = ARG_OPTIONAL, .children = args_unit), ARGS_END},
    .run = run_geodist,
};

const struct command cmd_geohash = {
    .name = "geohash",
    .arity = -2,
    .flags = CMD_READONLY,
    .acl = ACL_GEO,
    .group = "geo",
    .since = "3.2.0",
    .complexity = "O(N) for N members named",
    .summary = "Returns the positions of members as geohashes.",
    .keys = key_read,
    .args = (const struct command_arg[]){ARG("key", ARG_KEY),
                                         ARG("member", ARG_STRING, .flags = ARG_OPTIONAL | ARG_MULTIPLE), ARGS_END},
    .run = run_geohash,
};

const struct command cmd_geopos = {
    .name = "geopos",
    .arity = -2,
    .flags = CMD_READONLY,
    .acl = ACL_GEO,
    .group = "geo",
    .since = "3.2.0",
    .complexity = "O(N) for N members named",
    .summary = "Returns the positions of members as longitude and latitude.",
    .keys = key_read,
    .args = (const struct command_arg[]){ARG("key", ARG_KEY),
                                         ARG("member", ARG_STRING, .flags = ARG_OPTIONAL | ARG_MULTIPLE), ARGS_END},
    .run = run_geopos,
};

static const struct command_arg args_fromlonlat[] = {ARG("longitude", ARG_DOUBLE), ARG("latitude", ARG_DOUBLE),
                                                     ARGS_END};

static const struct command_arg args_from[] = {
    ARG("member", ARG_STRING, .token = "FROMMEMBER"),
    ARG("fromlonlat", ARG_BLOCK, .token = "FROMLONLAT", .children = args_fromlonlat), ARGS_END};

static const struct command_arg args_circle[] = {ARG("radius", ARG_DOUBLE, .token = "BYRADIUS"),
                                                 ARG("unit", ARG_ONEOF, .children = args_unit), ARGS_END};

static const struct command_arg args_box[] = {ARG("width", ARG_DOUBLE, .token = "BYBOX"), ARG("height", ARG_DOUBLE),
                                              ARG("unit", ARG_ONEOF, .children = args_unit), ARGS_END};

static const struct command_arg args_by[] = {ARG("circle", ARG_BLOCK, .children = args_circle),
                                             ARG("box", ARG_BLOCK, .children = args_box), ARGS_END};

static const struct command_arg args_order[] = {ARG_TOKEN("asc", "ASC"), ARG_TOKEN("desc", "DESC"), ARGS_END};

static const struct command_arg args_count_block[] = {ARG("count", ARG_INTEGER, .token = "COUNT"),
                                                      ARG_TOKEN("any", "ANY", .flags = ARG_OPTIONAL), ARGS_END};

const struct command cmd_geosearch = {
    .name = "geosearch",
    .arity = -7,
    .flags = CMD_READONLY,
    .acl = ACL_GEO,
    .group = "geo",
    .since = "6.2.0",
    .complexity = "O(N+log(M)) for N members in the squares around the shape, M in it",
    .summary = "Returns the members within a circle or a box.",
    .keys = key_read,
    .args =
        (const struct command_arg[]){ARG("key", ARG_KEY), ARG("from", ARG_ONEOF, .children = args_from),
                                     ARG("by", ARG_ONEOF, .children = args_by),
                                     ARG("order", ARG_ONEOF, .flags = ARG_OPTIONAL, .children = args_order),
                                     ARG("count-block", ARG_BLOCK, .flags = ARG_OPTIONAL, .children = args_count_block),
                                     ARG_TOKEN("withcoord", "WITHCOORD", .flags = ARG_OPTIONAL),
                                     ARG_TOKEN("withdist", "WITHDIST", .flags = ARG_OPTIONAL),
                                     ARG_TOKEN("withhash", "WITHHASH", .flags = ARG_OPTIONAL), ARGS_END},
    .history = (const struct command_history[]){SINCE("7.0.0", "Units in upper case."), HISTORY_END},
    .run = run_geosearch,
};

const struct command cmd_geosearchstore = {
    .name = "geosearchstore",
    .arity = -8,
    .flags = CMD_WRITE | CMD_DENYOOM,
    .acl = ACL_GEO,
    .group = "geo",
    .since = "6.2.0",
    .complexity = "O(N+log(M)) for N members in the squares around the shape, M in it",
    .summary = "Stores the members within a circle or a box under another key.",
    .keys = (const struct command_keyspec[]){KEY_AT(1, KEY_OW | KEY_UPDATE), KEY_AT(2, KEY_RO | KEY_ACCESS), KEYS_END},
    .args =
        (const struct command_arg[]){ARG("destination", ARG_KEY), ARG("source", ARG_KEY, .key_spec = 1),
                                     ARG("from", ARG_ONEOF, .children = args_from),
                                     ARG("by", ARG_ONEOF, .children = args_by),
                                     ARG("order", ARG_ONEOF, .flags = ARG_OPTIONAL, .children = args_order),
                                     ARG("count-block", ARG_BLOCK, .flags = ARG_OPTIONAL, .children = args_count_block),
                                     ARG_TOKEN("storedist", "STOREDIST", .flags = ARG_OPTIONAL), ARGS_END},
    .history = (const struct command_history[]){SINCE("7.0.0", "Units in upper case."), HISTORY_END},
    .run = run_geosearchstore,
};

static const struct command_arg args_count_block_2[] = {
    ARG("count", ARG_INTEGER, .token = "COUNT"), ARG_TOKEN("any", "ANY", .flags = ARG_OPTIONAL, .since = "6.2.0"),
    ARGS_END};

static const struct command_arg args_store[] = {
    ARG("storekey", ARG_KEY, .key_spec = 1, .token = "STORE", .display = "key"),
    ARG("storedistkey", ARG_KEY, .key_spec = 2, .token = "STOREDIST", .display = "key"), ARGS_END};

const struct command cmd_georadius = {
    .name = "georadius",
    .arity = -6,
    .flags = CMD_WRITE | CMD_DENYOOM,
    .acl = ACL_GEO,
    .group = "geo",
    .since = "3.2.0",
    .complexity = "O(N+log(M)) for N members in the squares around the circle, M in it",
    .summary = "Returns or stores the members within a circle around a position.",
    .deprecated_since = "6.2.0",
    .replaced_by = "`GEOSEARCH` and `GEOSEARCHSTORE` with the `BYRADIUS` argument",
    .keys = (const struct command_keyspec[]){KEY_AT(1, KEY_RO | KEY_ACCESS),
                                             {.flags = KEY_OW | KEY_UPDATE,
                                              .begin = KEYS_KEYWORD,
                                              .keyword = "STORE",
                                              .startfrom = 6,
                                              .find = KEYS_RANGE,
                                              .last = 0,
                                              .step = 1},
                                             {.flags = KEY_OW | KEY_UPDATE,
                                              .begin = KEYS_KEYWORD,
                                              .keyword = "STOREDIST",
                                              .startfrom = 6,
                                              .find = KEYS_RANGE,
                                              .last = 0,
                                              .step = 1},
                                             KEYS_END},
    .args =
        (const struct command_arg[]){
            ARG("key", ARG_KEY), ARG("longitude", ARG_DOUBLE), ARG("latitude", ARG_DOUBLE), ARG("radius", ARG_DOUBLE),
            ARG("unit", ARG_ONEOF, .children = args_unit), ARG_TOKEN("withcoord", "WITHCOORD", .flags = ARG_OPTIONAL),
            ARG_TOKEN("withdist", "WITHDIST", .flags = ARG_OPTIONAL),
            ARG_TOKEN("withhash", "WITHHASH", .flags = ARG_OPTIONAL),
            ARG("count-block", ARG_BLOCK, .flags = ARG_OPTIONAL, .children = args_count_block_2),
            ARG("order", ARG_ONEOF, .flags = ARG_OPTIONAL, .children = args_order),
            ARG("store", ARG_ONEOF, .flags = ARG_OPTIONAL, .children = args_store), ARGS_END},
    .history = (const struct command_history[]){SINCE("6.2.0", "Option `ANY`."), SINCE("7.0.0", "Units in upper case."),
                                                HISTORY_END},
    .run = run_georadius,
};

const struct command cmd_georadius_ro = {
    .name = "georadius_ro",
    .arity = -6,
    .flags = CMD_READONLY,
    .acl = ACL_GEO,
    .group = "geo",
    .since = "3.2.10",
    .complexity = "O(N+log(M)) for N members in the squares around the circle, M in it",
    .summary = "Returns the members within a circle around a position.",
    .deprecated_since = "6.2.0",
    .replaced_by = "`GEOSEARCH` with the `BYRADIUS` argument",
    .keys = key_read,
    .args =
        (const struct command_arg[]){
            ARG("key", ARG_KEY), ARG("longitude", ARG_DOUBLE), ARG("latitude", ARG_DOUBLE), ARG("radius", ARG_DOUBLE),
            ARG("unit", ARG_ONEOF, .children = args_unit), ARG_TOKEN("withcoord", "WITHCOORD", .flags = ARG_OPTIONAL),
            ARG_TOKEN("withdist", "WITHDIST", .flags = ARG_OPTIONAL),
            ARG_TOKEN("withhash", "WITHHASH", .flags = ARG_OPTIONAL),
            ARG("count-block", ARG_BLOCK, .flags = ARG_OPTIONAL, .children = args_count_block_2),
            ARG("order", ARG_ONEOF, .flags = ARG_OPTIONAL, .children = args_order), ARGS_END},
    .history = (const struct command_history[]){SINCE("6.2.0", "Option `ANY`."), HISTORY_END},
    .run = run_georadius_ro,
};

const struct command cmd_georadiusbymember = {
    .name = "georadiusbymember",
    .arity = -5,
    .flags = CMD_WRITE | CMD_DENYOOM,
    .acl = ACL_GEO,
    .group = "geo",
    .since = "3.2.0",
    .complexity = "O(N+log(M)) for N members in the squares around the circle, M in it",
    .summary = "Returns or stores the members within a circle around one of them.",
    .deprecated_since = "6.2.0",
    .replaced_by = "`GEOSEARCH` and `GEOSEARCHSTORE` with the `BYRADIUS` and `FROMMEMBER` arguments",
    .keys = (const struct command_keyspec[]){KEY_AT(1, KEY_RO | KEY_ACCESS),
                                             {.flags = KEY_OW | KEY_UPDATE,
                                              .begin = KEYS_KEYWORD,
                                              .keyword = "STORE",
                                              .startfrom = 5,
                                              .find = KEYS_RANGE,
                                              .last = 0,
                                              .step = 1},
                                             {.flags = KEY_OW | KEY_UPDATE,
                                              .begin = KEYS_KEYWORD,
                                              .keyword = "STOREDIST",
                                              .startfrom = 5,
                                              .find = KEYS_RANGE,
                                              .last = 0,
                                              .step = 1},
                                             KEYS_END},
    .args =
        (const struct command_arg[]){ARG("key", ARG_KEY), ARG("member", ARG_STRING), ARG("radius", ARG_DOUBLE),
                                     ARG("unit", ARG_ONEOF, .children = args_unit),
                                     ARG_TOKEN("withcoord", "WITHCOORD", .flags = ARG_OPTIONAL),
                                     ARG_TOKEN("withdist", "WITHDIST", .flags = ARG_OPTIONAL),
                                     ARG_TOKEN("withhash", "WITHHASH", .flags = ARG_OPTIONAL),
                                     ARG("count-block", ARG_BLOCK, .flags = ARG_OPTIONAL, .children = args_count_block),
                                     ARG("order", ARG_ONEOF, .flags = ARG_OPTIONAL, .children = args_order),
                                     ARG("store", ARG_ONEOF, .flags = ARG_OPTIONAL, .children = args_store), ARGS_END},
    .history = (const struct command_history[]){SINCE("7.0.0", "Units in upper case."), HISTORY_END},
    .run = run_georadiusbymember,
};

const struct command cmd_georadiusbymember_ro = {
    .name = "georadiusbymember_ro",
    .arity = -5,
    .flags = CMD_READONLY,
    .acl = ACL_GEO,
    .group = "geo",
    .since = "3.2.10",
    .complexity = "O(N+log(M)) for N members in the squares around the circle, M in it",
    .summary = "Returns the members within a circle around one of them.",
    .deprecated_since = "6.2.0",
    .replaced_by = "`GEOSEARCH` with the `BYRADIUS` and `FROMMEMBER` arguments",
    .keys = key_read,
    .args =
        (const struct command_arg[]){ARG("key", ARG_KEY), ARG("member", ARG_STRING), ARG("radius", ARG_DOUBLE),
                                     ARG("unit", ARG_ONEOF, .children = args_unit),
                                     ARG_TOKEN("withcoord", "WITHCOORD", .flags = ARG_OPTIONAL),
                                     ARG_TOKEN("withdist", "WITHDIST", .flags = ARG_OPTIONAL),
                                     ARG_TOKEN("withhash", "WITHHASH", .flags = ARG_OPTIONAL),
                                     ARG("count-block", ARG_BLOCK, .flags = ARG_OPTIONAL, .children = args_count_block),
                                     ARG("order", ARG_ONEOF, .flags = ARG_OPTIONAL, .children = args_order), ARGS_END},
    .run = run_georadiusbymember_ro,
};
