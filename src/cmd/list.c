/* Lists: pushing and popping, reading and changing by number, trimming. Searching is in list_search.c, moving between
 * lists in list_move.c, waiting for elements in list_wait.c. */
#include <inttypes.h>

#include "cmd/declare.h"
#include "cmd/lists.h"
#include "conf/settings.h"

/* ---- what they share ---- */

enum result list_key_open(struct call *c, struct list_key *x)
{
    enum result r = list_open(&x->list, c, &x->o);
    if (c->settings)
        x->list.node_size = c->settings->list_max_listpack_size;
    return r;
}

static enum result open_checked(struct call *c, struct list_key *x, bool *ready)
{
    *ready = !x->o.exists || x->o.type == TYPE_LIST;
    return *ready ? list_key_open(c, x) : reply_wrong_type(c->reply);
}

enum result list_key_read(struct call *c, struct slice name, struct list_key *x, bool *ready)
{
    *ready = false;
    enum result r = store_key_init(c, c->session->db, name, &x->key);
    if (r == RES_OK)
        r = store_read(c, &x->key, 0, &x->o);
    return r == RES_OK ? open_checked(c, x, ready) : r;
}

enum result list_key_write(struct call *c, struct slice name, struct list_key *x, bool *ready)
{
    *ready = false;
    enum result r = store_key_init(c, c->session->db, name, &x->key);
    if (r == RES_OK)
        r = store_write(c, &x->key, &x->o);
    return r == RES_OK ? open_checked(c, x, ready) : r;
}

enum result list_key_finish(struct list_key *x, const char *event)
{
    struct call *c = x->list.e.c;
    enum result r = list_finish(&x->list);
    if (r == RES_OK)
        r = call_event(c, EVENT_LIST, event, x->key.db, x->key.user);
    if (r == RES_OK && !x->o.exists)
        r = call_event(c, EVENT_GENERIC, "del", x->key.db, x->key.user);
    return r;
}

void list_build(struct list_builder *b, struct call *c, struct object *o)
{
    list_replace(&b->list, c, o);
    b->waiting = 0;
    b->waiting_bytes = 0;
    if (c->settings)
        b->list.node_size = c->settings->list_max_listpack_size;
}

/* What Redis reckons with for the entry of an element beside its bytes, before it adds it to a node. */
#define NODE_ENTRY 8

static enum result push_waiting(struct list_builder *b)
{
    size_t n = b->waiting;
    b->waiting = 0;
    b->waiting_bytes = 0;
    return list_push_all(&b->list, LIST_TAIL, b->element, n);
}

enum result list_build_add(struct list_builder *b, struct slice value)
{
    struct list *l = &b->list;
    enum result r = RES_OK;
    if (list_length(l) + b->waiting)
        r = list_will_grow(l, b->waiting + 1, b->waiting_bytes + value.len + NODE_ENTRY);
    if (r == RES_OK && (value.len > LIST_SHORT || (list_length(l) + b->waiting) % LIST_BLOCK == 0))
        r = push_waiting(b); /* a block is full */
    if (r != RES_OK || value.len > LIST_SHORT)
        return r == RES_OK ? list_push(l, LIST_TAIL, value) : r;
    if (value.len)
        memcpy(b->bytes[b->waiting], value.data, value.len);
    b->element[b->waiting] = slice_of(b->bytes[b->waiting], value.len);
    b->waiting++;
    b->waiting_bytes += list_entry_size(value);
    return RES_OK;
}

enum result list_build_finish(struct list_builder *b)
{
    enum result r = push_waiting(b);
    if (r == RES_OK)
        r = list_will_grow(&b->list, 0, 0);
    return r == RES_OK ? list_finish(&b->list) : r;
}

enum result list_pop_many(struct call *c, struct list_key *x, enum list_end end, uint64_t n)
{
    struct list *l = &x->list;
    struct list_cursor w;
    if (n > list_length(l))
        n = list_length(l);
    enum result r = list_cursor_open(&w, l, end == LIST_HEAD ? 0 : list_length(l) - 1, n, end == LIST_TAIL);
    if (r != RES_OK)
        return r;
    uint64_t bytes = 0;
    reply_array(c->reply, n);
    while ((r = list_cursor_next(&w)) == RES_OK) {
        reply_bulk(c->reply, w.value);
        bytes += list_entry_size(w.value);
    }
    list_cursor_close(&w);
    if (r != RES_NOT_FOUND)
        return r;
    r = list_drop(l, end, n, bytes);
    if (r == RES_OK)
        r = list_has_shrunk(l);
    return r == RES_OK ? list_key_finish(x, list_pop_event(end)) : r;
}

/* Numbers from the end are negative. */
static uint64_t from_end(int64_t index, uint64_t length)
{
    return index >= 0 ? (uint64_t)index : length + (uint64_t)index; /* far below 0: a number beyond any list */
}

/* Redis' range [start, stop], negative ones from the end, as [*from, *to). */
static void clip(int64_t start, int64_t stop, uint64_t length, uint64_t *from, uint64_t *to)
{
    int64_t n = (int64_t)length;
    if (start < 0)
        start = start < -n ? 0 : start + n;
    if (stop < 0)
        stop = stop < -n ? -1 : stop + n;
    if (stop >= n)
        stop = n - 1;
    *from = *to = 0;
    if (start <= stop) {
        *from = (uint64_t)start;
        *to = (uint64_t)stop + 1;
    }
}

static const struct command_keyspec key_insert[] = {KEY_AT(1, KEY_RW | KEY_INSERT), KEYS_END};
static const struct command_keyspec key_pop[] = {KEY_AT(1, KEY_RW | KEY_ACCESS | KEY_DELETE), KEYS_END};
static const struct command_keyspec key_delete[] = {KEY_AT(1, KEY_RW | KEY_DELETE), KEYS_END};
static const struct command_arg args_push[] = {ARG("key", ARG_KEY), ARG("element", ARG_STRING, .flags = ARG_MULTIPLE),
                                               ARGS_END};
static const struct command_arg args_pop[] = {
    ARG("key", ARG_KEY), ARG("count", ARG_INTEGER, .flags = ARG_OPTIONAL, .since = "6.2.0"), ARGS_END};
static const struct command_arg args_range[] = {ARG("key", ARG_KEY), ARG("start", ARG_INTEGER),
                                                ARG("stop", ARG_INTEGER), ARGS_END};

/* ---- pushing ---- */

static enum result push(struct call *c, enum list_end end, bool only_existing)
{
    struct list_key x;
    bool ready;
    enum result r = list_key_write(c, c->argv[1], &x, &ready);
    if (r != RES_OK || !ready)
        return r;
    if (only_existing && !x.o.exists) {
        reply_integer(c->reply, 0);
        return RES_OK;
    }
    uint64_t bytes = 0;
    for (int i = 2; i < c->argc; i++)
        bytes += c->argv[i].len;
    r = list_will_grow(&x.list, (uint64_t)c->argc - 2, bytes);
    if (r == RES_OK && c->argc == 3)
        r = list_push(&x.list, end, c->argv[2]);
    else if (r == RES_OK)
        r = list_push_all(&x.list, end, c->argv + 2, (size_t)c->argc - 2);
    if (r != RES_OK)
        return r;
    reply_integer(c->reply, (int64_t)list_length(&x.list));
    return list_key_finish(&x, list_push_event(end));
}

static enum result run_lpush(struct call *c) { return push(c, LIST_HEAD, false); }
static enum result run_rpush(struct call *c) { return push(c, LIST_TAIL, false); }
static enum result run_lpushx(struct call *c) { return push(c, LIST_HEAD, true); }
static enum result run_rpushx(struct call *c) { return push(c, LIST_TAIL, true); }

const struct command cmd_lpush = {
    .name = "lpush",
    .arity = -3,
    .flags = CMD_WRITE | CMD_DENYOOM | CMD_FAST,
    .acl = ACL_LIST,
    .group = "list",
    .since = "1.0.0",
    .complexity = "O(N) for N elements",
    .summary = "Puts elements before the first of a list, one after the other; a missing list is created.",
    .keys = key_insert,
    .args = args_push,
    .history = (const struct command_history[]){SINCE("2.4.0", "Several `element` arguments."), HISTORY_END},
    .run = run_lpush,
};
const struct command cmd_rpush = {
    .name = "rpush",
    .arity = -3,
    .flags = CMD_WRITE | CMD_DENYOOM | CMD_FAST,
    .acl = ACL_LIST,
    .group = "list",
    .since = "1.0.0",
    .complexity = "O(N) for N elements",
    .summary = "Puts elements behind the last of a list, which is created when it is missing.",
    .keys = key_insert,
    .args = args_push,
    .history = (const struct command_history[]){SINCE("2.4.0", "Several `element` arguments."), HISTORY_END},
    .run = run_rpush,
};
const struct command cmd_lpushx = {
    .name = "lpushx",
    .arity = -3,
    .flags = CMD_WRITE | CMD_DENYOOM | CMD_FAST,
    .acl = ACL_LIST,
    .group = "list",
    .since = "2.2.0",
    .complexity = "O(N) for N elements",
    .summary = "Puts elements before the first of a list that exists.",
    .keys = key_insert,
    .args = args_push,
    .history = (const struct command_history[]){SINCE("4.0.0", "Several `element` arguments."), HISTORY_END},
    .run = run_lpushx,
};
const struct command cmd_rpushx = {
    .name = "rpushx",
    .arity = -3,
    .flags = CMD_WRITE | CMD_DENYOOM | CMD_FAST,
    .acl = ACL_LIST,
    .group = "list",
    .since = "2.2.0",
    .complexity = "O(N) for N elements",
    .summary = "Puts elements behind the last of a list that exists.",
    .keys = key_insert,
    .args = args_push,
    .history = (const struct command_history[]){SINCE("4.0.0", "Several `element` arguments."), HISTORY_END},
    .run = run_rpushx,
};

/* ---- popping ---- */

static enum result pop_one(struct call *c, struct list_key *x, enum list_end end)
{
    struct slice value;
    enum result r = list_pop(&x->list, end, &value);
    if (r == RES_OK)
        r = list_has_shrunk(&x->list);
    if (r != RES_OK)
        return r;
    reply_bulk(c->reply, value);
    return list_key_finish(x, list_pop_event(end));
}

static enum result pop(struct call *c, enum list_end end)
{
    struct list_key x;
    bool ready, counted = c->argc == 3;
    int64_t count = 1;
    if (c->argc > 3)
        return reply_error(c->reply, "ERR wrong number of arguments for '%s' command", c->entry->full_name);
    if (counted && !arg_count(c, 2, &count))
        return RES_OK;
    enum result r = list_key_write(c, c->argv[1], &x, &ready);
    if (r != RES_OK || !ready)
        return r;
    if (!x.o.exists) {
        if (counted)
            c->reply->ops->null_array(c->reply);
        else
            reply_null(c->reply);
        return RES_OK;
    }
    if (!counted)
        return pop_one(c, &x, end);
    if (count == 0) {
        reply_array(c->reply, 0);
        return RES_OK;
    }
    return list_pop_many(c, &x, end, (uint64_t)count);
}

static enum result run_lpop(struct call *c) { return pop(c, LIST_HEAD); }
static enum result run_rpop(struct call *c) { return pop(c, LIST_TAIL); }

const struct command cmd_lpop = {
    .name = "lpop",
    .arity = -2,
    .flags = CMD_WRITE | CMD_FAST,
    .acl = ACL_LIST,
    .group = "list",
    .since = "1.0.0",
    .complexity = "O(N) for N elements",
    .summary = "Takes the first elements off a list and returns them.",
    .keys = key_pop,
    .args = args_pop,
    .history = (const struct command_history[]){SINCE("6.2.0", "Argument `count`."), HISTORY_END},
    .run = run_lpop,
};
const struct command cmd_rpop = {
    .name = "rpop",
    .arity = -2,
    .flags = CMD_WRITE | CMD_FAST,
    .acl = ACL_LIST,
    .group = "list",
    .since = "1.0.0",
    .complexity = "O(N) for N elements",
    .summary = "Takes the last elements off a list and returns them.",
    .keys = key_pop,
    .args = args_pop,
    .history = (const struct command_history[]){SINCE("6.2.0", "Argument `count`."), HISTORY_END},
    .run = run_rpop,
};

/* ---- reading ---- */

static enum result run_llen(struct call *c)
{
    struct store_key key;
    struct object o;
    enum result r = arg_key(c, 1, &key);
    if (r == RES_OK)
        r = store_read(c, &key, 0, &o);
    if (r != RES_OK)
        return r;
    if (o.exists && o.type != TYPE_LIST)
        return reply_wrong_type(c->reply);
    reply_integer(c->reply, o.exists ? (int64_t)o.count : 0);
    return RES_OK;
}

const struct command cmd_llen = {
    .name = "llen",
    .arity = 2,
    .flags = CMD_READONLY | CMD_FAST,
    .acl = ACL_LIST,
    .group = "list",
    .since = "1.0.0",
    .complexity = "O(1)",
    .summary = "Returns how many elements a list has.",
    .keys = key_look,
    .args = args_key,
    .run = run_llen,
};

struct range_stream {
    struct list_key x;
    struct list_cursor cursor;
    bool opened;
    uint64_t left; /* elements that the head of the reply has announced */
};
struct list_part {
    uint64_t from, to;
};

static enum result range_open(struct call *c, void *state, const void *from)
{
    struct range_stream *s = state;
    const struct list_part *part = from;
    bool ready;
    s->left = part->to - part->from;
    enum result r = list_key_read(c, c->argv[1], &s->x, &ready);
    if (r == RES_OK)
        r = ready ? list_cursor_open(&s->cursor, &s->x.list, part->from, s->left, false) : RES_CORRUPT;
    s->opened = r == RES_OK;
    return r;
}

static enum result range_next(struct call *c, void *state)
{
    struct range_stream *s = state;
    enum result r = list_cursor_next(&s->cursor);
    if (r == RES_NOT_FOUND && s->left)
        return RES_CORRUPT;
    if (r != RES_OK)
        return r;
    s->left--;
    reply_bulk(c->reply, s->cursor.value);
    return RES_OK;
}

static void range_close(void *state)
{
    struct range_stream *s = state;
    if (s->opened)
        list_cursor_close(&s->cursor);
}

static const struct call_stream range_stream = {sizeof(struct range_stream), range_open, range_next, range_close};

static enum result run_lrange(struct call *c)
{
    struct list_key x;
    bool ready, streams;
    int64_t start, stop;
    struct list_part part;
    if (!arg_i64(c, 2, &start) || !arg_i64(c, 3, &stop))
        return RES_OK;
    enum result r = list_key_read(c, c->argv[1], &x, &ready);
    if (r != RES_OK || !ready)
        return r;
    clip(start, stop, list_length(&x.list), &part.from, &part.to);
    uint64_t n = part.to - part.from;
    r = call_streams(c, n ? x.list.e.bytes / list_length(&x.list) * n : 0, &streams);
    if (r != RES_OK)
        return r;
    reply_array(c->reply, n);
    if (n == 0)
        return RES_OK;
    if (streams)
        return call_stream(c, &range_stream, &part);
    struct list_cursor w;
    r = list_cursor_open(&w, &x.list, part.from, n, false);
    if (r != RES_OK)
        return r;
    while ((r = list_cursor_next(&w)) == RES_OK)
        reply_bulk(c->reply, w.value);
    list_cursor_close(&w);
    return r == RES_NOT_FOUND ? RES_OK : r;
}

const struct command cmd_lrange = {
    .name = "lrange",
    .arity = 4,
    .flags = CMD_READONLY,
    .acl = ACL_LIST,
    .group = "list",
    .since = "1.0.0",
    .complexity = "O(N) for N elements returned",
    .summary = "Returns elements of a list from one index to another.",
    .keys = key_read,
    .args = args_range,
    .run = run_lrange,
};

static enum result run_lindex(struct call *c)
{
    struct list_key x;
    bool ready;
    int64_t index;
    struct slice value;
    enum result r = list_key_read(c, c->argv[1], &x, &ready);
    if (r != RES_OK || !ready)
        return r;
    if (x.o.exists && !arg_i64(c, 2, &index))
        return RES_OK;
    if (!x.o.exists || from_end(index, list_length(&x.list)) >= list_length(&x.list)) {
        reply_null(c->reply);
        return RES_OK;
    }
    r = list_get(&x.list, from_end(index, list_length(&x.list)), &value);
    if (r == RES_OK)
        reply_bulk(c->reply, value);
    return r;
}

const struct command cmd_lindex = {
    .name = "lindex",
    .arity = 3,
    .flags = CMD_READONLY,
    .acl = ACL_LIST,
    .group = "list",
    .since = "1.0.0",
    .complexity = "O(1)",
    .summary = "Returns the element of a list at an index.",
    .keys = key_read,
    .args = (const struct command_arg[]){ARG("key", ARG_KEY), ARG("index", ARG_INTEGER), ARGS_END},
    .run = run_lindex,
};

/* ---- changing by number ---- */

static enum result run_lset(struct call *c)
{
    struct list_key x;
    bool ready;
    int64_t index;
    enum result r = list_key_write(c, c->argv[1], &x, &ready);
    if (r != RES_OK || !ready)
        return r;
    if (!x.o.exists)
        return reply_error(c->reply, "ERR no such key");
    if (!arg_i64(c, 2, &index))
        return RES_OK;
    uint64_t at = from_end(index, list_length(&x.list));
    if (at >= list_length(&x.list))
        return reply_error(c->reply, "ERR index out of range");
    r = list_will_grow(&x.list, 1, c->argv[3].len);
    if (r == RES_OK)
        r = list_set(&x.list, at, c->argv[3]);
    if (r == RES_OK)
        r = list_has_shrunk(&x.list);
    if (r != RES_OK)
        return r;
    reply_ok(c->reply);
    return list_key_finish(&x, "lset");
}

const struct command cmd_lset = {
    .name = "lset",
    .arity = 4,
    .flags = CMD_WRITE | CMD_DENYOOM,
    .acl = ACL_LIST,
    .group = "list",
    .since = "1.0.0",
    .complexity = "O(1)",
    .summary = "Replaces the element of a list at an index.",
    .keys = key_update,
    .args = (const struct command_arg[]){ARG("key", ARG_KEY), ARG("index", ARG_INTEGER), ARG("element", ARG_STRING),
                                         ARGS_END},
    .run = run_lset,
};

static enum result run_ltrim(struct call *c)
{
    struct list_key x;
    bool ready;
    int64_t start, stop;
    uint64_t from, to;
    if (!arg_i64(c, 2, &start) || !arg_i64(c, 3, &stop))
        return RES_OK;
    enum result r = list_key_write(c, c->argv[1], &x, &ready);
    if (r != RES_OK || !ready)
        return r;
    if (!x.o.exists) {
        reply_ok(c->reply);
        return RES_OK;
    }
    clip(start, stop, list_length(&x.list), &from, &to);
    uint64_t behind = list_length(&x.list) - to;
    if (from == to) {
        r = list_drop(&x.list, LIST_HEAD, list_length(&x.list), LIST_UNKNOWN);
    } else {
        r = list_drop(&x.list, LIST_HEAD, from, LIST_UNKNOWN);
        if (r == RES_OK)
            r = list_drop(&x.list, LIST_TAIL, behind, LIST_UNKNOWN);
        if (r == RES_OK)
            r = list_has_shrunk(&x.list);
    }
    if (r != RES_OK)
        return r;
    reply_ok(c->reply);
    return list_key_finish(&x, "ltrim");
}

const struct command cmd_ltrim = {
    .name = "ltrim",
    .arity = 4,
    .flags = CMD_WRITE,
    .acl = ACL_LIST,
    .group = "list",
    .since = "1.0.0",
    .complexity = "O(1); in short lists O(N) for N elements removed",
    .summary = "Keeps the elements of a list from one index to another and removes the others.",
    .keys = key_delete,
    .args = args_range,
    .run = run_ltrim,
};
