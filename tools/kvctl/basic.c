/* The subcommands that are one Redis command, with the exit statuses of kvctl. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "config.h"
#include "tools/kvctl/kvctl.h"

/* ---- arguments ---- */

#define ARGS_MAX 12
struct args {
    int count;
    const char *word[ARGS_MAX];
    size_t len[ARGS_MAX];
};

static void add_bytes(struct args *a, const void *bytes, size_t len)
{
    a->word[a->count] = bytes ? bytes : "";
    a->len[a->count++] = len;
}
static void add(struct args *a, const char *word) { add_bytes(a, word, strlen(word)); }

bool read_input(const char *file, struct buf *out)
{
    FILE *in = strcmp(file, "-") == 0 ? stdin : fopen(file, "rb");
    if (!in) {
        (void)complain("cannot open %s: %s", file, strerror(errno));
        return false;
    }
    enum result r = RES_OK;
    size_t got;
    do {
        r = buf_reserve(out, 65536);
        got = r == RES_OK ? fread(out->data + out->len, 1, out->cap - out->len, in) : 0;
        out->len += got;
    } while (got > 0);
    bool good = r == RES_OK && !ferror(in);
    if (!good)
        (void)complain("cannot read %s: %s", file, r == RES_OK ? strerror(errno) : result_text(r));
    if (in != stdin)
        fclose(in);
    return good;
}

/* Seconds with a fraction, or whole milliseconds, as milliseconds. */
static bool parse_time(const char *text, bool ms, int64_t *out)
{
    char *end;
    errno = 0;
    double d = strtod(text, &end);
    if (end == text || *end || errno || !(d > -9e12 && d < 9e12)) {
        (void)complain("'%s' is no number of %sseconds", text, ms ? "milli" : "");
        return false;
    }
    d = ms ? d : d * 1000;
    *out = (int64_t)(d < 0 ? d - 0.5 : d + 0.5);
    return true;
}

/* Calls with the subcommand's arguments behind a command's name. */
static redisReply *call_with(struct kvctl *k, const char *name)
{
    int n = k->argc + 1;
    const char **argv = calloc((size_t)n, sizeof *argv);
    if (!argv) {
        (void)complain("out of memory");
        return NULL;
    }
    argv[0] = name;
    for (int i = 0; i < k->argc; i++)
        argv[i + 1] = k->argv[i];
    redisReply *r = client_call(k, n, argv, NULL);
    free(argv);
    return r;
}

/* Prints a number; 0 of it is "not found". */
static int counted(const struct kvctl *k, redisReply *r)
{
    if (!r)
        return KVCTL_ERROR;
    bool none = r->type == REDIS_REPLY_INTEGER && r->integer == 0;
    if (r->type != REDIS_REPLY_INTEGER)
        return answer(k, r);
    printf("%lld\n", r->integer);
    freeReplyObject(r);
    return none ? KVCTL_NOT_FOUND : KVCTL_DONE;
}

static int no_such_key(const char *key)
{
    fprintf(stderr, "kvctl: there is no key %s\n", key);
    return KVCTL_NOT_FOUND;
}

/* ---- one key ---- */

static bool put_value(struct kvctl *k, struct buf *value)
{
    const char *file = option("file");
    if (file && k->argc > 1)
        return complain("a value and --file are two values"), false;
    if (file || k->argc == 1 || strcmp(k->argv[1], "-") == 0)
        return read_input(file ? file : "-", value);
    return buf_append(value, k->argv[1], strlen(k->argv[1])) == RES_OK;
}

int run_put(struct kvctl *k)
{
    struct buf value = BUF_INIT;
    struct args a = {0};
    char ms[32];
    int64_t ttl;
    int status = KVCTL_ERROR;
    if (!put_value(k, &value))
        goto out;
    add(&a, "SET");
    add(&a, k->argv[0]);
    add_bytes(&a, value.data, value.len);
    if (option("ttl")) {
        if (!parse_time(option("ttl"), false, &ttl))
            goto out;
        snprintf(ms, sizeof ms, "%" PRId64, ttl);
        add(&a, "PX");
        add(&a, ms);
    }
    if (option("keep-ttl"))
        add(&a, "KEEPTTL");
    if (option("nx"))
        add(&a, "NX");
    if (option("xx"))
        add(&a, "XX");
    redisReply *r = client_call(k, a.count, a.word, a.len);
    bool kept_out = r && r->type == REDIS_REPLY_NIL;
    if (kept_out && !k->json) {
        fprintf(stderr, "kvctl: not stored: key %s %s\n", k->argv[0], option("nx") ? "exists" : "does not exist");
        freeReplyObject(r);
        status = KVCTL_NOT_FOUND;
    } else {
        status = answer(k, r);
    }
out:
    buf_fini(&value);
    return status;
}

int run_get(struct kvctl *k)
{
    redisReply *r = call_with(k, "GET");
    if (!r)
        return KVCTL_ERROR;
    if (k->json || r->type == REDIS_REPLY_ERROR)
        return answer(k, r);
    int status = r->type == REDIS_REPLY_NIL ? no_such_key(k->argv[0]) : KVCTL_DONE;
    if (status == KVCTL_DONE) {
        print_bytes(reply_slice(r));
        if (k->terminal)
            putchar('\n');
    }
    freeReplyObject(r);
    return status;
}

int run_delete(struct kvctl *k) { return counted(k, call_with(k, "DEL")); }
int run_exists(struct kvctl *k) { return counted(k, call_with(k, "EXISTS")); }
int run_incr(struct kvctl *k) { return answer(k, call_with(k, k->argc > 1 ? "INCRBY" : "INCR")); }

int run_expire(struct kvctl *k)
{
    int64_t ms;
    redisReply *r;
    if (strcmp(k->argv[1], "never") == 0) {
        r = client_callf(k, "PERSIST %s", k->argv[0]);
        if (r && r->type == REDIS_REPLY_INTEGER && r->integer == 0) { /* no such key, or it never expired */
            freeReplyObject(r);
            r = client_callf(k, "EXISTS %s", k->argv[0]);
        }
        return counted(k, r);
    }
    if (!parse_time(k->argv[1], option("ms") != NULL, &ms))
        return KVCTL_ERROR;
    return counted(k, client_callf(k, "PEXPIRE %s %lld", k->argv[0], (long long)ms));
}

int run_ttl(struct kvctl *k)
{
    redisReply *r = call_with(k, option("ms") ? "PTTL" : "TTL");
    if (!r || r->type != REDIS_REPLY_INTEGER || r->integer != -2)
        return answer(k, r);
    freeReplyObject(r);
    if (k->json)
        puts("null");
    return no_such_key(k->argv[0]);
}

int run_type(struct kvctl *k)
{
    redisReply *r = call_with(k, "TYPE");
    if (!r || r->type != REDIS_REPLY_STATUS || strcmp(r->str, "none") != 0)
        return answer(k, r);
    freeReplyObject(r);
    if (k->json)
        puts("null");
    return no_such_key(k->argv[0]);
}

/* ---- many keys ---- */

static void print_key(const struct kvctl *k, struct slice key)
{
    if (k->json) {
        print_json_string(stdout, key);
        putchar('\n');
    } else {
        print_bytes(key);
        putchar(option("null") ? 0 : '\n');
    }
}

/* Walks the keys; prints the first `limit` of them, or none. Returns how many, or -1 after a sentence. */
static int64_t walk(struct kvctl *k, const char *pattern, const char *type, int64_t limit, bool print)
{
    char cursor[32] = "0";
    int64_t n = 0;
    do {
        struct args a = {0};
        add(&a, "SCAN");
        add(&a, cursor);
        add(&a, "COUNT");
        add(&a, "1000");
        if (pattern) {
            add(&a, "MATCH");
            add(&a, pattern);
        }
        if (type) {
            add(&a, "TYPE");
            add(&a, type);
        }
        redisReply *r = client_call(k, a.count, a.word, a.len);
        if (!r || client_refused(r))
            return -1;
        snprintf(cursor, sizeof cursor, "%s", r->element[0]->str);
        const redisReply *keys = r->element[1];
        for (size_t i = 0; i < keys->elements && n < limit; i++, n++)
            if (print)
                print_key(k, reply_slice(keys->element[i]));
        freeReplyObject(r);
    } while (strcmp(cursor, "0") != 0 && n < limit && !ferror(stdout));
    return n;
}

int run_scan(struct kvctl *k)
{
    int64_t limit = option_number("limit", INT64_MAX, 0, INT64_MAX);
    int64_t n = walk(k, k->argc ? k->argv[0] : NULL, option("type"), limit, true);
    return n < 0 ? KVCTL_ERROR : n == 0 ? KVCTL_NOT_FOUND : KVCTL_DONE;
}

int run_count(struct kvctl *k)
{
    if (k->argc == 0)
        return answer(k, client_callf(k, "DBSIZE"));
    int64_t n = walk(k, k->argv[0], NULL, INT64_MAX, false);
    if (n < 0)
        return KVCTL_ERROR;
    printf("%" PRId64 "\n", n);
    return KVCTL_DONE;
}

int run_flush(struct kvctl *k)
{
    if (!option("yes")) {
        char line[16] = "";
        if (!isatty(STDIN_FILENO))
            return complain("flush deletes every key of database %d: say --yes", k->db);
        redisReply *r = client_callf(k, "DBSIZE");
        if (!r || client_refused(r))
            return KVCTL_ERROR;
        fprintf(stderr, "Delete all %lld keys of database %d? [y/N] ", r->integer, k->db);
        freeReplyObject(r);
        if (!fgets(line, sizeof line, stdin) || (line[0] != 'y' && line[0] != 'Y'))
            return complain("nothing was deleted");
    }
    return answer(k, client_callf(k, "FLUSHDB"));
}

/* ---- the server ---- */

int run_ping(struct kvctl *k)
{
    struct timespec a, b;
    clock_gettime(CLOCK_MONOTONIC, &a);
    redisReply *r = client_callf(k, "PING");
    clock_gettime(CLOCK_MONOTONIC, &b);
    if (!r || r->type == REDIS_REPLY_ERROR || k->json)
        return answer(k, r);
    double ms = (double)(b.tv_sec - a.tv_sec) * 1e3 + (double)(b.tv_nsec - a.tv_nsec) / 1e6;
    print_bytes(reply_slice(r));
    printf(" %.2f ms\n", ms);
    freeReplyObject(r);
    return KVCTL_DONE;
}

/* A field of INFO's text, up to the end of its line. */
static void print_field(const char *label, const char *info, const char *name)
{
    const char *at = strstr(info, name);
    if (at)
        printf("%s%.*s", label, (int)strcspn(at + strlen(name), "\r\n"), at + strlen(name));
}

int run_version(struct kvctl *k)
{
    printf("kvctl %s\n", PACKAGE_VERSION);
    fflush(stdout);
    int status = client_connect(k);
    if (status != 0)
        return status;
    redisReply *r = client_callf(k, "INFO server");
    if (!r || client_refused(r))
        return KVCTL_ERROR;
    print_field("server ", r->str, "\nserver_name:");
    print_field(" ", r->str, "\nvarve_version:");
    print_field(", as Redis ", r->str, "\nredis_version:");
    putchar('\n');
    freeReplyObject(r);
    return KVCTL_DONE;
}

/* Commands after which the server talks on: this program would end before it has heard anything. */
static bool talks_on(const char *name)
{
    static const char *const names[] = {"monitor", "subscribe", "psubscribe", "ssubscribe", "sync", "psync"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcasecmp(name, names[i]) == 0)
            return true;
    return false;
}

int run_other(struct kvctl *k)
{
    if (talks_on(k->argv[0]))
        return complain("%s goes on until it is ended: use redis-cli for it", k->argv[0]);
    const char **argv = calloc((size_t)k->argc, sizeof *argv);
    if (!argv)
        return complain("out of memory");
    for (int i = 0; i < k->argc; i++)
        argv[i] = k->argv[i];
    redisReply *r = client_call(k, k->argc, argv, NULL);
    free(argv);
    return answer(k, r);
}
