/* See http_kv.h. Conditions are RFC 9110's, section 13: If-Match compares strongly, If-None-Match weakly, '*' asks whether
 * there is anything. They are tested in the same run that writes, so nobody comes between. */
#include "cmd/http_kv.h"

#include <assert.h>
#include <stdio.h>

#include "base/num.h"
#include "cmd/declare.h"
#include "cmd/support.h"
#include "cmd/table.h"
#include "store/attributes.h"

/* ---- conditions ---- */

bool http_etag_listed(struct slice field, uint64_t version, bool weak)
{
    char tag[20];
    snprintf(tag, sizeof tag, "\"%016llx\"", (unsigned long long)version);
    struct slice want = slice_of(tag, 18);
    for (size_t i = 0; i < field.len;) {
        bool is_weak = field.len - i > 2 && field.data[i] == 'W' && field.data[i + 1] == '/';
        i += is_weak ? 2 : 0;
        if (field.data[i] != '"') {
            i++;
            continue;
        }
        size_t end = i + 1;
        while (end < field.len && field.data[end] != '"')
            end++;
        if (end < field.len && (weak || !is_weak) && slice_eq(slice_of(field.data + i, end + 1 - i), want))
            return true;
        i = end + 1;
    }
    return false;
}

static bool is_star(struct slice field) { return field.len == 1 && field.data[0] == '*'; }

/* RES_OK and *hold. Fields that are empty ask nothing. */
static enum result conditions(struct call *c, const struct object *o, struct slice match, struct slice none_match,
                              bool *hold)
{
    uint64_t version = 0;
    *hold = true;
    if ((match.len > 0 && !is_star(match)) || (none_match.len > 0 && !is_star(none_match))) {
        enum result r = RES_OK;
        if (o->exists && o->type == TYPE_STRING)
            r = store_string_version(c, o, &version);
        if (r != RES_OK)
            return r;
    }
    if (match.len > 0)
        *hold = is_star(match) ? o->exists : version != 0 && http_etag_listed(match, version, false);
    if (none_match.len > 0 && *hold)
        *hold = is_star(none_match) ? !o->exists : version == 0 || !http_etag_listed(none_match, version, true);
    return RES_OK;
}

/* ---- reading ---- */

static enum result run_read(struct call *c)
{
    struct store_key key;
    struct object o;
    bool ready;
    enum result r = find_string(c, 1, &key, &o, &ready);
    if (r != RES_OK || !ready)
        return r;
    uint64_t version = 0;
    if (c->argc > 2 && (r = store_string_version(c, &o, &version)) != RES_OK)
        return r;
    reply_array(c->reply, 4);
    uint64_t left = o.expire_ms > c->now_ms ? o.expire_ms - c->now_ms : 0;
    reply_integer(c->reply, o.expire_ms ? (int64_t)left : -1);
    reply_integer(c->reply, (int64_t)version);
    reply_bulk(c->reply, attribute_get(o.attributes, ATTRIBUTE_CONTENT_TYPE));
    return store_string_reply(c, &o);
}

static const struct command read_command = {
    .name = "get",
    .arity = -2,
    .flags = CMD_READONLY | CMD_FAST,
    .acl = ACL_STRING,
    .group = "string",
    .keys = key_read,
    .run = run_read,
};

/* ---- writing ---- */

static enum result run_write(struct call *c)
{
    struct store_key key;
    struct object o;
    bool hold;
    uint64_t ms;
    enum result r = num_parse_u64(c->argv[3], &ms);
    assert(c->argc == 7 && r == RES_OK);
    if (ms > (uint64_t)INT64_MAX - c->now_ms)
        return reply_invalid_expire(c);
    r = arg_key(c, 1, &key);
    if (r == RES_OK)
        r = store_write(c, &key, &o);
    if (r == RES_OK)
        r = conditions(c, &o, c->argv[5], c->argv[6], &hold);
    if (r != RES_OK)
        return r;
    if (!hold) {
        reply_null(c->reply);
        return RES_OK;
    }
    uint8_t *room = arena_alloc(c->arena, ATTRIBUTE_MAX + 3);
    if (room == NULL)
        return RES_NO_MEMORY;
    bool created = !o.exists;
    o.attributes = attribute_only(ATTRIBUTE_CONTENT_TYPE, c->argv[4], room);
    uint64_t version = string_version(c->argv[2], o.attributes);
    r = store_set_string(c, &o, c->argv[2], ms ? c->now_ms + ms : 0, PUT_KEEP_ATTRIBUTES);
    if (r != RES_OK)
        return r;
    reply_array(c->reply, 2);
    reply_integer(c->reply, created);
    reply_integer(c->reply, (int64_t)version);
    return RES_OK;
}

static const struct command write_command = {
    .name = "set",
    .arity = 7,
    .flags = CMD_WRITE | CMD_DENYOOM,
    .acl = ACL_STRING,
    .group = "string",
    .keys = key_overwrite,
    .run = run_write,
};

static enum result run_remove(struct call *c)
{
    struct store_key key;
    struct object o;
    bool hold;
    enum result r = arg_key(c, 1, &key);
    if (r == RES_OK)
        r = store_write(c, &key, &o);
    if (r == RES_OK)
        r = conditions(c, &o, c->argv[2], c->argv[3], &hold);
    if (r != RES_OK)
        return r;
    if (!hold) {
        reply_null(c->reply);
        return RES_OK;
    }
    bool existed = o.exists;
    if (existed && (r = store_delete(c, &o, SIGNAL_DELETED)) != RES_OK)
        return r;
    reply_integer(c->reply, existed);
    return RES_OK;
}

static const struct command remove_command = {
    .name = "del",
    .arity = 4,
    .flags = CMD_WRITE,
    .acl = ACL_KEYSPACE,
    .group = "generic",
    .keys = (const struct command_keyspec[]){KEY_AT(1, KEY_RM | KEY_DELETE), KEYS_END},
    .run = run_remove,
};

/* ---- entries ---- */

static struct command_entry entries[HTTP_KV_COUNT];

void http_kv_init(void)
{
    static const struct command *const commands[HTTP_KV_COUNT] = {&read_command, &write_command, &remove_command};
    for (int i = 0; i < HTTP_KV_COUNT; i++) {
        const struct command_entry *model = command_lookup(slice_str(commands[i]->name));
        assert(model != NULL);
        entries[i] = *model;
        entries[i].command = commands[i];
    }
}

const struct command_entry *http_kv_entry(enum http_kv which) { return &entries[which]; }
