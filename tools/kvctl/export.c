/* kvctl export: walks the keys by SCAN and writes each with type, value and expiry.
 *
 * Keys are asked for in groups, each time as one pipeline: what they are and when they expire, how many elements collections
 * have, their values, and when fields of hashes expire. A key that has gone in between, or has become another type, is left
 * out or read again. A collection of more than DATA_WHOLE_MOST elements is read and written in parts: by cursor, which gives
 * every element that is there throughout, or a list by places, which a WATCH guards. A file is written under another name
 * and renamed when it is whole and on the disk. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/num.h"
#include "tools/kvctl/progress.h"
#include "tools/kvctl/types.h"

#define GROUP 128              /* keys whose values are asked for together */
#define FLUSH_BYTES (1u << 20) /* written to the file at a time */

struct export
{
    struct kvctl *k;
    bool resp;
    FILE *out;
    struct buf text;
    struct progress progress;
    uint64_t keys, seen, skipped, moved; /* moved: lists that changed while they were read in parts */
    bool fields_expire;                  /* the server can do that */
    struct buf items, expires;           /* of the value at hand */
};

static int broken(struct export *e)
{
    return complain("the connection broke after %llu keys: %s", (unsigned long long)e->keys, e->k->redis->errstr);
}

static int flush_text(struct export *e)
{
    if (e->text.len && fwrite(e->text.data, 1, e->text.len, e->out) != e->text.len)
        return complain("cannot write: %s", strerror(errno));
    e->text.len = 0;
    return 0;
}

/* What was learned of a key of the group. */
struct key_facts {
    const struct data_type *type; /* NULL: it is not written */
    uint64_t expire_ms;
    uint64_t count; /* elements */
    redisReply *value, *expires;
    bool changed; /* it became another type meanwhile */
};

static int next_reply(struct export *e, redisReply **out)
{
    void *r = NULL;
    *out = NULL;
    if (redisGetReply(e->k->redis, &r) != REDIS_OK || !r)
        return broken(e);
    *out = r;
    return 0;
}

/* The same, when no error is expected. */
static int good_reply(struct export *e, redisReply **out)
{
    return next_reply(e, out) ? KVCTL_ERROR : client_refused(*out);
}

static int learn(struct export *e, const redisReply *const *keys, size_t n, struct key_facts *facts)
{
    redisContext *c = e->k->redis;
    redisReply *type, *expiry;
    for (size_t i = 0; i < n; i++) {
        redisAppendCommand(c, "TYPE %b", keys[i]->str, (size_t)keys[i]->len);
        redisAppendCommand(c, "PEXPIRETIME %b", keys[i]->str, (size_t)keys[i]->len);
    }
    for (size_t i = 0; i < n; i++) {
        facts[i] = (struct key_facts){0};
        if (good_reply(e, &type))
            return KVCTL_ERROR;
        facts[i].type = data_type_find(reply_slice(type));
        bool unknown = !facts[i].type && strcmp(type->str, "none") != 0;
        if (unknown && e->skipped++ == 0)
            (void)complain("keys of type %s are left out: this program cannot move them", type->str);
        freeReplyObject(type);
        if (good_reply(e, &expiry))
            return KVCTL_ERROR;
        facts[i].expire_ms = expiry->integer > 0 ? (uint64_t)expiry->integer : 0;
        freeReplyObject(expiry);
    }
    return 0;
}

/* An answer that does not fit the type we were told: the key has changed meanwhile. */
static bool has_changed(const redisReply *r)
{
    return r->type == REDIS_REPLY_ERROR && strncmp(r->str, "WRONGTYPE", 9) == 0;
}

static int count_elements(struct export *e, const redisReply *const *keys, size_t n, struct key_facts *facts)
{
    redisReply *r;
    for (size_t i = 0; i < n; i++)
        if (facts[i].type && facts[i].type->count &&
            data_type_ask(facts[i].type->count, e->k->redis, reply_slice(keys[i]), NULL, NULL) != REDIS_OK)
            return broken(e);
    for (size_t i = 0; i < n; i++) {
        if (!facts[i].type || !facts[i].type->count)
            continue;
        if (next_reply(e, &r))
            return KVCTL_ERROR;
        facts[i].changed = has_changed(r);
        if (!facts[i].changed && client_refused(r))
            return KVCTL_ERROR;
        facts[i].count = r->type == REDIS_REPLY_INTEGER ? (uint64_t)r->integer : 0;
        freeReplyObject(r);
    }
    return 0;
}

static bool is_large(const struct key_facts *f) { return f->count > DATA_WHOLE_MOST; }
static bool is_whole(const struct key_facts *f) { return f->type && !f->changed && !is_large(f); }

static int read_values(struct export *e, const redisReply *const *keys, size_t n, struct key_facts *facts)
{
    for (size_t i = 0; i < n; i++)
        if (is_whole(&facts[i]) &&
            data_type_ask(facts[i].type->read, e->k->redis, reply_slice(keys[i]), NULL, NULL) != REDIS_OK)
            return broken(e);
    for (size_t i = 0; i < n; i++) {
        if (!is_whole(&facts[i]))
            continue;
        if (next_reply(e, &facts[i].value))
            return KVCTL_ERROR;
        facts[i].changed = has_changed(facts[i].value);
        if (!facts[i].changed && facts[i].value->type == REDIS_REPLY_ERROR) {
            redisReply *r = facts[i].value;
            facts[i].value = NULL;
            return client_refused(r);
        }
    }
    return 0;
}

/* ---- when fields of a hash expire ---- */

static bool asks_fields(const struct export *e, const struct data_type *t, const redisReply *value)
{
    return e->fields_expire && t->expires && value && value->type == REDIS_REPLY_ARRAY && value->elements > 1;
}

static int ask_fields(struct export *e, const redisReply *key, const redisReply *value)
{
    size_t n = value->elements / 2;
    char count[NUM_I64_MAX];
    const char **words = calloc(n + 4, sizeof *words);
    size_t *lens = calloc(n + 4, sizeof *lens);
    int status = REDIS_ERR;
    if (words && lens) {
        words[0] = "HPEXPIRETIME";
        words[1] = key->str;
        words[2] = "FIELDS";
        words[3] = count;
        lens[0] = strlen(words[0]);
        lens[1] = (size_t)key->len;
        lens[2] = strlen(words[2]);
        lens[3] = num_format_u64(count, n);
        for (size_t i = 0; i < n; i++) {
            words[i + 4] = value->element[2 * i]->str;
            lens[i + 4] = (size_t)value->element[2 * i]->len;
        }
        status = redisAppendCommandArgv(e->k->redis, (int)(n + 4), words, lens);
    }
    free(words);
    free(lens);
    return status == REDIS_OK ? 0 : complain("out of memory");
}

static int read_field_expiries(struct export *e, const redisReply *const *keys, size_t n, struct key_facts *facts)
{
    for (size_t i = 0; i < n; i++)
        if (is_whole(&facts[i]) && asks_fields(e, facts[i].type, facts[i].value) &&
            ask_fields(e, keys[i], facts[i].value))
            return KVCTL_ERROR;
    for (size_t i = 0; i < n; i++) {
        if (!is_whole(&facts[i]) || !asks_fields(e, facts[i].type, facts[i].value))
            continue;
        if (next_reply(e, &facts[i].expires))
            return KVCTL_ERROR;
        facts[i].changed = has_changed(facts[i].expires);
    }
    return 0;
}

/* Into v->item_expires, when there is a field that expires; those that are gone leave the value. */
static enum result take_field_expiries(struct export *e, struct data_value *v, const redisReply *expires)
{
    struct slice *item = (struct slice *)(void *)e->items.data;
    size_t n = v->count / 2, kept = 0;
    bool any = false;
    if (!expires || expires->type != REDIS_REPLY_ARRAY || expires->elements != n)
        return RES_OK; /* the key is gone, or was replaced: as it was read it is as good as any */
    enum result r = buf_reserve(&e->expires, n * sizeof(uint64_t));
    if (r != RES_OK)
        return r;
    uint64_t *ms = (uint64_t *)(void *)e->expires.data;
    for (size_t i = 0; i < n; i++) {
        int64_t at = expires->element[i]->type == REDIS_REPLY_INTEGER ? expires->element[i]->integer : -1;
        if (at == -2)
            continue;
        any |= at > 0;
        ms[kept] = at > 0 ? (uint64_t)at : 0;
        item[2 * kept] = item[2 * i];
        item[2 * kept + 1] = item[2 * i + 1];
        kept++;
    }
    v->count = 2 * kept;
    v->item_expires = any ? ms : NULL;
    return kept ? RES_OK : RES_NOT_FOUND;
}

/* ---- writing ---- */

static int write_value(struct export *e, const redisReply *key, const struct key_facts *f, const redisReply *value,
                       const redisReply *expires, bool *append)
{
    struct data_value v = {
        .type = f->type, .key = reply_slice(key), .expire_ms = f->expire_ms, .append = append && *append};
    unsigned commands;
    buf_clear(&e->items);
    buf_clear(&e->expires);
    enum result r = data_items(f->type, value, &e->items, &v.count);
    v.item = (const struct slice *)(const void *)e->items.data;
    if (r == RES_OK && f->type->expires)
        r = take_field_expiries(e, &v, expires);
    if (r == RES_NOT_FOUND) /* gone, or an empty part */
        return 0;
    if (r == RES_OK)
        r = e->resp ? data_to_resp(&v, &e->text, &commands) : data_to_json(&v, &e->text);
    if (r != RES_OK)
        return complain("a key cannot be written: %s", result_text(r));
    e->keys += !v.append;
    if (append)
        *append = true;
    return e->text.len > FLUSH_BYTES ? flush_text(e) : 0;
}

/* A part that has been read: its elements, which a scan has behind its cursor. */
static int write_part(struct export *e, const redisReply *key, const struct key_facts *f, const redisReply *part,
                      bool *append)
{
    redisReply *expires = NULL;
    if (asks_fields(e, f->type, part) && (ask_fields(e, key, part) || next_reply(e, &expires)))
        return KVCTL_ERROR;
    int status = write_value(e, key, f, part, expires, append);
    if (expires)
        freeReplyObject(expires);
    return status;
}

static int write_by_cursor(struct export *e, const redisReply *key, const struct key_facts *f)
{
    char cursor[32] = "0";
    bool append = false;
    do {
        redisReply *r;
        if (data_type_ask(f->type->part, e->k->redis, reply_slice(key), cursor, NULL) != REDIS_OK)
            return broken(e);
        if (next_reply(e, &r))
            return KVCTL_ERROR;
        if (has_changed(r)) { /* it was replaced: what was there is written */
            freeReplyObject(r);
            return 0;
        }
        if (client_refused(r))
            return KVCTL_ERROR;
        snprintf(cursor, sizeof cursor, "%s", r->element[0]->str);
        int status = write_part(e, key, f, r->element[1], &append);
        freeReplyObject(r);
        if (status)
            return status;
        progress_show(&e->progress, e->seen, e->keys);
    } while (strcmp(cursor, "0") != 0);
    return 0;
}

static int write_by_places(struct export *e, const redisReply *key, const struct key_facts *f)
{
    redisContext *c = e->k->redis;
    redisReply *r;
    bool append = false, end = false;
    redisAppendCommand(c, "WATCH %b", key->str, (size_t)key->len);
    if (good_reply(e, &r))
        return KVCTL_ERROR;
    freeReplyObject(r);
    for (uint64_t at = 0; !end; at += DATA_PART) {
        char from[NUM_I64_MAX + 1], to[NUM_I64_MAX + 1];
        from[num_format_u64(from, at)] = 0;
        to[num_format_u64(to, at + DATA_PART - 1)] = 0;
        if (data_type_ask(f->type->part, c, reply_slice(key), from, to) != REDIS_OK)
            return broken(e);
        if (next_reply(e, &r))
            return KVCTL_ERROR;
        end = has_changed(r) || r->elements < DATA_PART;
        int status = has_changed(r) ? 0 : r->type == REDIS_REPLY_ERROR ? 1 : write_part(e, key, f, r, &append);
        if (r->type == REDIS_REPLY_ERROR && status)
            return client_refused(r);
        freeReplyObject(r);
        if (status)
            return status;
        progress_show(&e->progress, e->seen, e->keys);
    }
    redisAppendCommand(c, "MULTI");
    redisAppendCommand(c, "EXEC");
    if (good_reply(e, &r))
        return KVCTL_ERROR;
    freeReplyObject(r);
    if (good_reply(e, &r))
        return KVCTL_ERROR;
    if (r->type == REDIS_REPLY_NIL && e->moved++ == 0)
        (void)complain("a list of %llu elements changed while it was read in parts: some may be twice or missing",
                       (unsigned long long)f->count);
    freeReplyObject(r);
    return 0;
}

static int read_group(struct export *e, const redisReply *const *keys, size_t n, struct key_facts *facts)
{
    int status = learn(e, keys, n, facts);
    if (status == 0)
        status = count_elements(e, keys, n, facts);
    if (status == 0)
        status = read_values(e, keys, n, facts);
    if (status == 0)
        status = read_field_expiries(e, keys, n, facts);
    for (size_t i = 0; i < n && status == 0; i++)
        if (is_whole(&facts[i]))
            status = write_value(e, keys[i], &facts[i], facts[i].value, facts[i].expires, NULL);
        else if (facts[i].type && !facts[i].changed)
            status =
                facts[i].type->places ? write_by_places(e, keys[i], &facts[i]) : write_by_cursor(e, keys[i], &facts[i]);
    for (size_t i = 0; i < n; i++) {
        if (facts[i].value)
            freeReplyObject(facts[i].value);
        if (facts[i].expires)
            freeReplyObject(facts[i].expires);
    }
    return status;
}

/* One group of keys; those that changed under our hands once more, each by itself. */
static int export_group(struct export *e, const redisReply *const *keys, size_t n)
{
    struct key_facts facts[GROUP] = {{0}}, one = {0};
    if (read_group(e, keys, n, facts))
        return KVCTL_ERROR;
    for (size_t i = 0; i < n; i++)
        for (one.changed = facts[i].changed; one.changed;)
            if (read_group(e, &keys[i], 1, &one))
                return KVCTL_ERROR;
    e->seen += n;
    progress_show(&e->progress, e->seen, e->keys);
    return 0;
}

static int export_all(struct export *e)
{
    char cursor[32] = "0";
    const char *match = option("match");
    do {
        redisReply *r = match ? client_callf(e->k, "SCAN %s COUNT 1000 MATCH %s", cursor, match)
                              : client_callf(e->k, "SCAN %s COUNT 1000", cursor);
        if (!r || client_refused(r))
            return KVCTL_ERROR;
        snprintf(cursor, sizeof cursor, "%s", r->element[0]->str);
        const redisReply *keys = r->element[1];
        int status = 0;
        for (size_t at = 0; at < keys->elements && status == 0; at += GROUP) {
            size_t n = keys->elements - at < GROUP ? keys->elements - at : GROUP;
            status = export_group(e, (const redisReply *const *)&keys->element[at], n);
        }
        freeReplyObject(r);
        if (status)
            return status;
    } while (strcmp(cursor, "0") != 0);
    return flush_text(e);
}

static int begin(struct export *e)
{
    const char *format = option("format");
    e->resp = format && strcmp(format, "resp") == 0;
    if (format && !e->resp && strcmp(format, "json") != 0)
        return complain("--format is json or resp, not '%s'", format);
    redisReply *r = client_callf(e->k, "COMMAND INFO HPEXPIRETIME");
    if (!r || client_refused(r))
        return KVCTL_ERROR;
    e->fields_expire = r->type == REDIS_REPLY_ARRAY && r->elements == 1 && r->element[0]->type == REDIS_REPLY_ARRAY;
    freeReplyObject(r);
    r = client_callf(e->k, "DBSIZE");
    if (!r || client_refused(r))
        return KVCTL_ERROR;
    bool wanted = !option("quiet") && (e->out != stdout || !e->k->terminal);
    progress_begin(&e->progress, "keys", 0, option("match") ? 0 : (uint64_t)r->integer, wanted);
    freeReplyObject(r);
    return 0;
}

/* The file is whole: to the disk with it, and under its name. */
static int install(FILE *out, const char *temporary, const char *file)
{
    bool good = fflush(out) == 0 && fsync(fileno(out)) == 0;
    good = fclose(out) == 0 && good;
    if (good && rename(temporary, file) == 0)
        return 0;
    return complain("cannot write %s: %s", file, strerror(errno));
}

int run_export(struct kvctl *k)
{
    struct export e = {.k = k, .out = stdout};
    const char *file = k->argc && strcmp(k->argv[0], "-") != 0 ? k->argv[0] : NULL;
    char *temporary = NULL;
    int status = KVCTL_ERROR;
    if (file) {
        if (asprintf(&temporary, "%s.part", file) < 0)
            return complain("out of memory");
        int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600); /* it is all of the data */
        e.out = fd < 0 ? NULL : fdopen(fd, "wb");
        if (!e.out) {
            status = complain("cannot make %s: %s", temporary, strerror(errno));
            free(temporary);
            return status;
        }
    }
    status = begin(&e);
    if (status == 0) {
        status = export_all(&e);
        progress_end(&e.progress, e.seen, e.keys);
    }
    if (file && status == 0) {
        status = install(e.out, temporary, file);
    } else if (file) {
        fclose(e.out);
    }
    if (file && status != 0)
        unlink(temporary);
    if (status == 0 && !option("quiet"))
        fprintf(stderr, "%llu keys exported%s%s\n", (unsigned long long)e.keys, file ? " to " : "", file ? file : "");
    if (status == 0 && e.skipped)
        status = complain("%llu keys were left out", (unsigned long long)e.skipped);
    if (status == 0 && e.moved)
        status = complain("%llu large lists changed while they were read", (unsigned long long)e.moved);
    free(temporary);
    buf_fini(&e.text);
    buf_fini(&e.items);
    buf_fini(&e.expires);
    return status;
}
