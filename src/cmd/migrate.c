/* MIGRATE: keys go to another server, by RESTORE, and here they are deleted when it has said that it has them.
 *
 * Between the two nobody may write them. The command finds out its keys, asks for them to be held (call_may_act), sends what
 * they are, and notes what was answered: a run that comes to nothing afterwards is repeated without sending again, and
 * deletes what is still the value that was sent. Readers, and writers of other keys, go on meanwhile. */
#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/num.h"
#include "cmd/declare.h"
#include "cmd/dump.h"
#include "cmd/peer.h"

#define DEFAULT_MS 1000
#define LATER ((uint64_t)1 << 50)

struct migrate {
    struct slice host, port, user, password;
    bool copy, replace, with_user, with_password;
    int64_t db;
    uint64_t limit_ms;
    int first_key, keys;
};

/* A key that is here. */
struct leaving {
    int number; /* of the request's keys */
    struct store_key key;
    struct object o;
};

/* What was sent, and what came back. */
struct outcome {
    enum { MIGRATED, REFUSED, NO_CONNECTION, NOT_WRITTEN, NOT_READ } how;
    char error[512];      /* REFUSED: by the target */
    enum result failure;  /* not RES_OK: it could not be read or made here */
    struct sent {         /* by number */
        bool done;        /* the target has it */
        uint64_t content; /* what was sent */
    } sent[];
};

/* ---- the request ---- */

/* False: an error is replied. */
static bool parse_option(struct call *c, struct migrate *m, int *i)
{
    int more = c->argc - 1 - *i;
    if (arg_is(c, *i, "copy")) {
        m->copy = true;
    } else if (arg_is(c, *i, "replace")) {
        m->replace = true;
    } else if (arg_is(c, *i, "auth") && more >= 1) {
        m->password = c->argv[++*i];
        m->with_password = true;
        call_hide_arg(c, *i);
    } else if (arg_is(c, *i, "auth2") && more >= 2) {
        m->user = c->argv[++*i];
        call_hide_arg(c, *i);
        m->password = c->argv[++*i];
        m->with_user = m->with_password = true;
        call_hide_arg(c, *i);
    } else if (arg_is(c, *i, "keys")) {
        if (c->argv[3].len) {
            (void)reply_error(c->reply, "ERR When using MIGRATE KEYS option, the key argument must be set to the empty "
                                        "string");
            return false;
        }
        m->first_key = *i + 1;
        m->keys = more;
        *i = c->argc; /* all that remain */
    } else {
        (void)reply_syntax_error(c->reply);
        return false;
    }
    return true;
}

static bool parse(struct call *c, struct migrate *m)
{
    int64_t limit;
    *m = (struct migrate){.host = c->argv[1], .port = c->argv[2], .first_key = 3, .keys = 1};
    for (int i = 6; i < c->argc; i++)
        if (!parse_option(c, m, &i))
            return false;
    if (!arg_i64(c, 5, &limit) || !arg_i64(c, 4, &m->db))
        return false;
    m->limit_ms = limit <= 0 ? DEFAULT_MS : (uint64_t)limit < LATER ? (uint64_t)limit : LATER;
    return true;
}

/* The keys that are here, in the arena. */
static enum result find_keys(struct call *c, const struct migrate *m, struct leaving **out, size_t *count)
{
    struct leaving *all = arena_alloc(c->arena, (size_t)m->keys * sizeof *all);
    if (!all)
        return RES_NO_MEMORY;
    *out = all;
    *count = 0;
    for (int i = 0; i < m->keys; i++) {
        struct leaving *k = &all[*count];
        enum result r = arg_key(c, m->first_key + i, &k->key);
        if (r == RES_OK)
            r = m->copy ? store_read(c, &k->key, 0, &k->o) : store_write(c, &k->key, &k->o);
        if (r != RES_OK)
            return r;
        if (!m->copy)
            store_count_lookup(c, &k->o);
        k->number = i;
        *count += k->o.exists;
    }
    return RES_OK;
}

/* ---- sending ---- */

static enum result add_bulk(struct buf *out, struct slice bytes)
{
    enum result r = buf_printf(out, "$%zu\r\n", bytes.len);
    if (r == RES_OK)
        r = buf_append(out, bytes.data, bytes.len);
    return r == RES_OK ? buf_append(out, "\r\n", 2) : r;
}

static enum result add_number(struct buf *out, int64_t n)
{
    char digits[NUM_I64_MAX];
    return add_bulk(out, slice_of(digits, num_format_i64(digits, n)));
}

static enum result add_head(struct buf *out, const struct migrate *m)
{
    enum result r = RES_OK;
    if (m->with_password) {
        r = buf_printf(out, "*%d\r\n$4\r\nAUTH\r\n", m->with_user ? 3 : 2);
        if (r == RES_OK && m->with_user)
            r = add_bulk(out, m->user);
        if (r == RES_OK)
            r = add_bulk(out, m->password);
    }
    if (r == RES_OK)
        r = buf_printf(out, "*2\r\n$6\r\nSELECT\r\n");
    return r == RES_OK ? add_number(out, m->db) : r;
}

/* What tells one value from another. */
static uint64_t content_of(const struct buf *payload) { return get_le64(payload->data + payload->len - 8); }

/* RESTORE of a key. *payload is room. */
static enum result add_restore(struct call *c, const struct migrate *m, struct leaving *k, struct buf *out,
                               struct buf *payload, struct sent *sent)
{
    uint64_t ttl = 0;
    if (k->o.expire_ms)
        ttl = k->o.expire_ms > c->now_ms ? k->o.expire_ms - c->now_ms : 1;
    buf_clear(payload);
    enum result r = dump_object(c, &k->o, payload);
    if (r != RES_OK)
        return r;
    sent->content = content_of(payload);
    r = buf_printf(out, "*%d\r\n$7\r\nRESTORE\r\n", m->replace ? 5 : 4);
    if (r == RES_OK)
        r = add_bulk(out, k->key.user);
    if (r == RES_OK)
        r = add_number(out, (int64_t)ttl);
    if (r == RES_OK)
        r = add_bulk(out, buf_slice(payload));
    return r == RES_OK && m->replace ? add_bulk(out, SLICE_LIT("REPLACE")) : r;
}

/* A key at a time, so that no more than one is in memory. False: the outcome says why. */
static bool send_all(struct call *c, const struct migrate *m, struct leaving *keys, size_t count, struct peer *p,
                     struct outcome *o)
{
    struct buf out = BUF_INIT, payload = BUF_INIT;
    enum result r = add_head(&out, m), written = RES_OK;
    for (size_t i = 0; r == RES_OK && written == RES_OK && i < count; i++) {
        r = add_restore(c, m, &keys[i], &out, &payload, &o->sent[keys[i].number]);
        if (r == RES_OK)
            written = peer_write(p, buf_slice(&out));
        buf_clear(&out);
    }
    buf_fini(&out);
    buf_fini(&payload);
    o->failure = r;
    if (written != RES_OK)
        o->how = NOT_WRITTEN;
    return r == RES_OK && written == RES_OK;
}

/* The answer to one request. An error is kept if it is the first. */
static enum result read_answer(struct peer *p, struct outcome *o, bool *good)
{
    struct slice line;
    enum result r = peer_read_line(p, &line);
    if (r != RES_OK)
        return r;
    if (line.len && line.data[0] == '-') {
        *good = false;
        if (!o->error[0])
            snprintf(o->error, sizeof o->error, "%.*s", (int)(line.len - 1), (const char *)line.data + 1);
        o->how = REFUSED;
    }
    return RES_OK;
}

static void read_answers(const struct migrate *m, const struct leaving *keys, size_t count, struct peer *p,
                         struct outcome *o)
{
    bool good = true;
    enum result r = m->with_password ? read_answer(p, o, &good) : RES_OK;
    if (r == RES_OK)
        r = read_answer(p, o, &good); /* SELECT's */
    for (size_t i = 0; r == RES_OK && i < count; i++) {
        bool this_one = good;
        r = read_answer(p, o, &this_one);
        o->sent[keys[i].number].done = r == RES_OK && this_one;
    }
    if (r != RES_OK && o->how != REFUSED)
        o->how = NOT_READ;
}

static struct outcome *transfer(struct call *c, const struct migrate *m, struct leaving *keys, size_t count)
{
    struct peer p;
    struct outcome *o = calloc(1, sizeof *o + (size_t)m->keys * sizeof o->sent[0]);
    if (!o)
        return NULL;
    enum result r = peer_connect(&p, c, m->host, m->port, m->limit_ms);
    if (r != RES_OK) /* Redis notices a refusal when it writes */
        o->how = r == RES_CLOSED ? NOT_WRITTEN : NO_CONNECTION;
    else if (send_all(c, m, keys, count, &p, o))
        read_answers(m, keys, count, &p, o);
    peer_close(&p);
    return o;
}

/* ---- afterwards ---- */

/* Is it what was sent? In the run that sent it, it is. */
static enum result is_the_same(struct call *c, struct leaving *k, const struct sent *sent, bool *same)
{
    struct buf payload = BUF_INIT;
    enum result r = dump_object(c, &k->o, &payload);
    *same = r == RES_OK && content_of(&payload) == sent->content;
    buf_fini(&payload);
    return r;
}

/* The keys that the target has go. `again`: they may be others than those that were sent, for a database was emptied or
 * exchanged, or one has expired. */
static enum result delete_sent(struct call *c, struct leaving *keys, size_t count, const struct outcome *o, bool again)
{
    enum result r = RES_OK;
    for (size_t i = 0; r == RES_OK && i < count; i++) {
        bool same = true;
        const struct sent *sent = &o->sent[keys[i].number];
        if (!sent->done)
            continue;
        if (again)
            r = is_the_same(c, &keys[i], sent, &same);
        if (r == RES_OK && same) {
            r = store_write(c, &keys[i].key, &keys[i].o); /* one key may be given twice */
            if (r == RES_OK && keys[i].o.exists)
                r = delete_key(c, &keys[i].o);
        }
    }
    return r;
}

static enum result reply_outcome(struct call *c, const struct outcome *o)
{
    switch (o->how) {
    case REFUSED:
        return reply_error(c->reply, "ERR Target instance replied with error: %s", o->error);
    case NO_CONNECTION:
        return reply_error(c->reply, "IOERR error or timeout connecting to the client");
    case NOT_WRITTEN:
        return reply_error(c->reply, "IOERR error or timeout writing to target instance");
    case NOT_READ:
        return reply_error(c->reply, "IOERR error or timeout reading to target instance");
    default:
        reply_ok(c->reply);
        return RES_OK;
    }
}

static enum result run_migrate(struct call *c)
{
    struct migrate m;
    struct leaving *keys;
    size_t count;
    if (!parse(c, &m))
        return RES_OK;
    struct outcome *o = call_kept(c);
    bool again = o != NULL;
    enum result r = find_keys(c, &m, &keys, &count);
    if (r != RES_OK)
        return r;
    if (!o && !count) {
        reply_status(c->reply, "NOKEY");
        return RES_OK;
    }
    if (!o) {
        if (m.copy ? !(c->mode & CALL_MAY_WAIT) : !call_may_act(c))
            return RES_WOULD_BLOCK;
        if (!(o = transfer(c, &m, keys, count)))
            return RES_NO_MEMORY;
        call_keep(c, o, free);
    }
    if (o->failure != RES_OK)
        return o->failure;
    if (!m.copy && (r = delete_sent(c, keys, count, o, again)) != RES_OK)
        return r;
    return reply_outcome(c, o);
}

static bool migrate_keys(int argc, const struct slice *argv, command_key_fn *each, void *arg)
{
    int first = 3, count = 1;
    for (int i = 6; i < argc; i++) {
        if (slice_eq_nocase(argv[i], "keys")) {
            first = i + 1;
            count = argv[3].len ? 0 : argc - first;
            break;
        }
        i += slice_eq_nocase(argv[i], "auth") ? 1 : slice_eq_nocase(argv[i], "auth2") ? 2 : 0;
    }
    for (int i = 0; i < count; i++)
        each(arg, argv[first + i], KEY_RW | KEY_ACCESS | KEY_DELETE);
    return count > 0;
}

static const struct command_arg key_choice[] = {ARG("key", ARG_KEY), ARG_TOKEN("empty-string", "\"\""), ARGS_END};
static const struct command_arg user_and_password[] = {ARG("username", ARG_STRING), ARG("password", ARG_STRING),
                                                       ARGS_END};
static const struct command_arg authentication[] = {
    ARG("auth", ARG_STRING, .token = "AUTH", .since = "4.0.7", .display = "password"),
    ARG("auth2", ARG_BLOCK, .token = "AUTH2", .since = "6.0.0", .children = user_and_password), ARGS_END};
static const char *const tips_changing[] = {"nondeterministic_output", NULL};

const struct command cmd_migrate = {
    .name = "migrate",
    .arity = -6,
    .flags = CMD_WRITE | CMD_MOVABLE_KEYS | CMD_LONG | CMD_NO_MULTI,
    .acl = ACL_KEYSPACE | ACL_DANGEROUS,
    .group = "generic",
    .since = "2.6.0",
    .complexity = "As DUMP and DEL here, as RESTORE there, and O(N) for N bytes on their way",
    .summary = "Moves keys to another server, here or Redis.",
    .keys = (const struct command_keyspec[]){KEY_AT(3, KEY_RW | KEY_ACCESS | KEY_DELETE),
                                             {.flags = KEY_RW | KEY_ACCESS | KEY_DELETE | KEY_INCOMPLETE,
                                              .begin = KEYS_KEYWORD,
                                              .keyword = "KEYS",
                                              .startfrom = -2,
                                              .find = KEYS_RANGE,
                                              .last = -1,
                                              .step = 1},
                                             KEYS_END},
    .args =
        (const struct command_arg[]){
            ARG("host", ARG_STRING), ARG("port", ARG_INTEGER), ARG("key-selector", ARG_ONEOF, .children = key_choice),
            ARG("destination-db", ARG_INTEGER), ARG("timeout", ARG_INTEGER),
            ARG_TOKEN("copy", "COPY", .since = "3.0.0", .flags = ARG_OPTIONAL),
            ARG_TOKEN("replace", "REPLACE", .since = "3.0.0", .flags = ARG_OPTIONAL),
            ARG("authentication", ARG_ONEOF, .flags = ARG_OPTIONAL, .children = authentication),
            ARG("keys", ARG_KEY, .token = "KEYS", .key_spec = 1, .since = "3.0.6", .flags = ARG_OPTIONAL | ARG_MULTIPLE,
                .display = "key"),
            ARGS_END},
    .history = (const struct command_history[]){SINCE("3.0.0", "`COPY` and `REPLACE`."), SINCE("3.0.6", "`KEYS`."),
                                                SINCE("4.0.7", "`AUTH`."), SINCE("6.0.0", "`AUTH2`."), HISTORY_END},
    .tips = tips_changing,
    .run = run_migrate,
    .find_keys = migrate_keys,
};
