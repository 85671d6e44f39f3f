/* What kvctl prints: answers for a terminal, for a pipe, and as JSON. */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "tools/kvctl/json.h"
#include "tools/kvctl/kvctl.h"

int complain(const char *fmt, ...)
{
    va_list ap;
    fflush(stdout);
    va_start(ap, fmt);
    fputs("kvctl: ", stderr);
    vfprintf(stderr, fmt, ap);
    fputc('\n', stderr);
    va_end(ap);
    return KVCTL_ERROR;
}

bool output_failed(void) { return fflush(stdout) != 0 || ferror(stdout) != 0; }

void print_bytes(struct slice b)
{
    if (b.len)
        fwrite(b.data, 1, b.len, stdout);
}

/* ---- replies ---- */

void print_json_string(FILE *out, struct slice bytes)
{
    struct buf b = BUF_INIT;
    if (json_put_string(&b, bytes) == RES_OK)
        fwrite(b.data, 1, b.len, out);
    buf_fini(&b);
}

void print_reply_json(FILE *out, const redisReply *r)
{
    switch (r->type) {
    case REDIS_REPLY_INTEGER:
        fprintf(out, "%lld", r->integer);
        break;
    case REDIS_REPLY_NIL:
        fputs("null", out);
        break;
    case REDIS_REPLY_ERROR:
        fputs("{\"error\":", out);
        print_json_string(out, reply_slice(r));
        fputc('}', out);
        break;
    case REDIS_REPLY_ARRAY:
        fputc('[', out);
        for (size_t i = 0; i < r->elements; i++) {
            if (i)
                fputc(',', out);
            print_reply_json(out, r->element[i]);
        }
        fputc(']', out);
        break;
    default:
        print_json_string(out, reply_slice(r));
    }
}

/* In quotes, with what does not print written as \xHH. */
static void print_quoted(struct slice s)
{
    putchar('"');
    for (size_t i = 0; i < s.len; i++) {
        uint8_t c = s.data[i];
        if (c == '"' || c == '\\')
            printf("\\%c", c);
        else if (c == '\n')
            fputs("\\n", stdout);
        else if (c == '\r')
            fputs("\\r", stdout);
        else if (c == '\t')
            fputs("\\t", stdout);
        else if (c < 32 || c == 127 || (c >= 128 && !json_is_utf8(s)))
            printf("\\x%02x", c);
        else
            putchar(c);
    }
    putchar('"');
}

static void print_for_eyes(const redisReply *r, int indent)
{
    switch (r->type) {
    case REDIS_REPLY_INTEGER:
        printf("(integer) %lld\n", r->integer);
        return;
    case REDIS_REPLY_NIL:
        puts("(nil)");
        return;
    case REDIS_REPLY_STATUS:
        print_bytes(reply_slice(r));
        putchar('\n');
        return;
    case REDIS_REPLY_ERROR:
        printf("(error) %s\n", r->str);
        return;
    case REDIS_REPLY_ARRAY:
        if (r->elements == 0)
            puts("(empty)");
        int width = snprintf(NULL, 0, "%zu", r->elements);
        for (size_t i = 0; i < r->elements; i++) {
            printf("%*s%*zu) ", i ? indent : 0, "", width, i + 1);
            print_for_eyes(r->element[i], indent + width + 2);
        }
        return;
    default:
        print_quoted(reply_slice(r));
        putchar('\n');
    }
}

static void print_raw(const redisReply *r)
{
    if (r->type == REDIS_REPLY_INTEGER) {
        printf("%lld\n", r->integer);
    } else if (r->type == REDIS_REPLY_ARRAY) {
        for (size_t i = 0; i < r->elements; i++)
            print_raw(r->element[i]);
    } else {
        print_bytes(reply_slice(r));
        putchar('\n');
    }
}

void print_reply(const struct kvctl *k, const redisReply *r)
{
    if (k->json) {
        print_reply_json(stdout, r);
        putchar('\n');
    } else if (k->terminal && r->type == REDIS_REPLY_STRING && memchr(r->str, '\n', (size_t)r->len) &&
               json_is_utf8(reply_slice(r))) { /* a text: INFO, CLIENT LIST */
        print_bytes(reply_slice(r));
        if (r->str[r->len - 1] != '\n')
            putchar('\n');
    } else if (k->terminal) {
        print_for_eyes(r, 0);
    } else {
        print_raw(r);
    }
}

int answer(const struct kvctl *k, redisReply *r)
{
    int status = KVCTL_DONE;
    if (!r)
        return KVCTL_ERROR;
    if (r->type == REDIS_REPLY_ERROR && !k->json)
        return client_refused(r);
    if (r->type == REDIS_REPLY_ERROR)
        status = KVCTL_ERROR;
    else if (r->type == REDIS_REPLY_NIL)
        status = KVCTL_NOT_FOUND;
    if (status != KVCTL_NOT_FOUND || k->json || k->terminal)
        print_reply(k, r);
    freeReplyObject(r);
    return status;
}

/* ---- figures ---- */

const char *human_bytes(double n, char *out)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
    int u = 0;
    while (fabs(n) >= 1024 && u < 5)
        n /= 1024, u++;
    snprintf(out, 32, u == 0 ? "%.0f %s" : n < 10 ? "%.2f %s" : n < 100 ? "%.1f %s" : "%.0f %s", n, units[u]);
    return out;
}

const char *human_count(double n, char *out)
{
    if (n < 10000)
        snprintf(out, 32, "%.0f", n);
    else if (n < 1e6)
        snprintf(out, 32, "%.1fk", n / 1e3);
    else if (n < 1e9)
        snprintf(out, 32, "%.2fM", n / 1e6);
    else
        snprintf(out, 32, "%.2fG", n / 1e9);
    return out;
}

const char *human_seconds(double s, char *out)
{
    uint64_t n = s > 0 ? (uint64_t)s : 0;
    unsigned d = (unsigned)(n / 86400), h = (unsigned)(n / 3600 % 24), m = (unsigned)(n / 60 % 60),
             sec = (unsigned)(n % 60);
    if (d)
        snprintf(out, 32, "%ud %uh %um", d, h, m);
    else if (h)
        snprintf(out, 32, "%uh %um", h, m);
    else if (m)
        snprintf(out, 32, "%um %us", m, sec);
    else
        snprintf(out, 32, "%us", sec);
    return out;
}
