/* kvctl export: walks the keys by SCAN and writes each with type, value and expiry.
 *
 * Keys are asked for in groups, first what they are and when they expire, then their values, each group as one pipeline;
 * a key that has gone in between, or has become another type, is left out or read again. A file is written under another
 * name and renamed when it is whole and on the disk. */
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
    uint64_t keys, seen, skipped;
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
    const struct data_type *type;
    uint64_t expire_ms;
};

static int next_reply(struct export *e, redisReply **out)
{
    void *r = NULL;
    if (redisGetReply(e->k->redis, &r) != REDIS_OK || !r)
        return broken(e);
    *out = r;
    return client_refused(*out);
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
        if (next_reply(e, &type))
            return KVCTL_ERROR;
        facts[i].type = data_type_find(reply_slice(type));
        bool unknown = !facts[i].type && strcmp(type->str, "none") != 0;
        if (unknown && e->skipped++ == 0)
            (void)complain("keys of type %s are left out: this program cannot move them", type->str);
        freeReplyObject(type);
        if (next_reply(e, &expiry))
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

static int write_values(struct export *e, const redisReply *const *keys, size_t n, const struct key_facts *facts,
                        bool *changed)
{
    redisContext *c = e->k->redis;
    for (size_t i = 0; i < n; i++)
        if (facts[i].type && data_type_ask(facts[i].type, c, reply_slice(keys[i])) != REDIS_OK)
            return broken(e);
    for (size_t i = 0; i < n; i++) {
        void *any = NULL;
        changed[i] = false;
        if (!facts[i].type)
            continue;
        if (redisGetReply(c, &any) != REDIS_OK || !any)
            return broken(e);
        redisReply *r = any;
        changed[i] = has_changed(r);
        if (!changed[i] && client_refused(r))
            return KVCTL_ERROR;
        enum result res = changed[i] ? RES_NOT_FOUND
                          : e->resp
                              ? data_type_to_resp(facts[i].type, &e->text, reply_slice(keys[i]), facts[i].expire_ms, r)
                              : data_type_to_json(facts[i].type, &e->text, reply_slice(keys[i]), facts[i].expire_ms, r);
        freeReplyObject(r);
        e->keys += res == RES_OK;
        if (res != RES_OK && res != RES_NOT_FOUND)
            return complain("a key cannot be written: %s", result_text(res));
        if (e->text.len > FLUSH_BYTES && flush_text(e))
            return KVCTL_ERROR;
    }
    return 0;
}

/* One group of keys; those that changed under our hands once more, each by itself. */
static int export_group(struct export *e, const redisReply *const *keys, size_t n)
{
    struct key_facts facts[GROUP];
    bool changed[GROUP], again;
    if (learn(e, keys, n, facts) || write_values(e, keys, n, facts, changed))
        return KVCTL_ERROR;
    for (size_t i = 0; i < n; i++)
        for (again = changed[i]; again;)
            if (learn(e, &keys[i], 1, facts) || write_values(e, &keys[i], 1, facts, &again))
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
    redisReply *r = client_callf(e->k, "DBSIZE");
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
    free(temporary);
    buf_fini(&e.text);
    return status;
}
