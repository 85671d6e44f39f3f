/* kvctl bench: how fast the server answers SET and GET, in a few seconds.
 *
 * One thread, N connections, each with one group of requests on its way: the next is sent when the last has been answered,
 * so what is measured is the time a client waits. That is honest as long as this program keeps up, so it counts its own
 * processor time: near a whole processor it is the limit, and says so. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/hash.h"
#include "base/histogram.h"
#include "tools/kvctl/progress.h"
#include "tools/kvctl/server_info.h"

#define PREFIX "kvctl:bench:"

struct client {
    redisContext *c;
    uint64_t sent_ns;
    unsigned waiting; /* replies to come */
};

struct bench {
    struct kvctl *k;
    struct client *clients;
    struct pollfd *fds;
    int64_t count, requests, pipeline, size, keys;
    char *value;
    bool set;
    uint64_t sent, done, missing, seed;
    struct histogram latency;
};

static double cpu_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* ---- one group ---- */

static int send_group(struct bench *b, struct client *c)
{
    int written = 0;
    uint64_t left = (uint64_t)b->requests - b->sent;
    unsigned n = left < (uint64_t)b->pipeline ? (unsigned)left : (unsigned)b->pipeline;
    for (unsigned i = 0; i < n; i++) {
        char key[64];
        b->seed = hash_mix(b->seed + 1);
        size_t len =
            (size_t)snprintf(key, sizeof key, PREFIX "%012llu", (unsigned long long)(b->seed % (uint64_t)b->keys));
        const char *argv[3] = {b->set ? "SET" : "GET", key, b->value};
        size_t lens[3] = {3, len, (size_t)b->size};
        if (redisAppendCommandArgv(c->c, b->set ? 3 : 2, argv, lens) != REDIS_OK)
            return complain("out of memory");
    }
    b->sent += n;
    c->waiting = n;
    c->sent_ns = mono_ns();
    while (!written)
        if (redisBufferWrite(c->c, &written) != REDIS_OK)
            return complain("the connection broke: %s", c->c->errstr);
        else if (!written) { /* a group larger than the socket takes */
            struct pollfd fd = {.fd = c->c->fd, .events = POLLOUT};
            poll(&fd, 1, 1000);
        }
    return 0;
}

static int take_replies(struct bench *b, struct client *c)
{
    if (redisBufferRead(c->c) != REDIS_OK)
        return complain("the connection broke: %s", c->c->errstr);
    void *r;
    while (c->waiting > 0) {
        if (redisGetReplyFromReader(c->c, &r) != REDIS_OK)
            return complain("the connection broke: %s", c->c->errstr);
        if (!r)
            return 0;
        if (client_refused(r))
            return KVCTL_ERROR;
        b->missing += ((redisReply *)r)->type == REDIS_REPLY_NIL;
        freeReplyObject(r);
        b->done++;
        if (--c->waiting == 0)
            histogram_record(&b->latency, mono_ns() - c->sent_ns);
    }
    return 0;
}

static int run_round(struct bench *b)
{
    struct progress p;
    progress_begin(&p, b->set ? "SETs" : "GETs", 0, (uint64_t)b->requests, true);
    for (int64_t i = 0; i < b->count && b->sent < (uint64_t)b->requests; i++)
        if (send_group(b, &b->clients[i]))
            return KVCTL_ERROR;
    while (b->done < (uint64_t)b->requests) {
        if (poll(b->fds, (nfds_t)b->count, 10000) <= 0)
            return complain("the server has not answered for 10 s");
        for (int64_t i = 0; i < b->count; i++) {
            struct client *c = &b->clients[i];
            if (!b->fds[i].revents)
                continue;
            if (take_replies(b, c))
                return KVCTL_ERROR;
            if (c->waiting == 0 && b->sent < (uint64_t)b->requests && send_group(b, c))
                return KVCTL_ERROR;
        }
        progress_show(&p, b->done, b->done);
    }
    if (p.shown)
        fputs("\r\033[K", stderr);
    return 0;
}

/* ---- report ---- */

static double ms(const struct histogram *h, double q) { return (double)histogram_quantile(h, q) / 1e6; }

static void report(const struct bench *b, double seconds, double cpu)
{
    const struct histogram *h = &b->latency;
    const char *name = b->set ? "SET" : "GET";
    double rate = seconds > 0 ? (double)b->done / seconds : 0, share = seconds > 0 ? cpu / seconds : 0;
    if (b->k->json) {
        printf(
            "{\"test\":\"%s\",\"requests\":%llu,\"seconds\":%.3f,\"per_second\":%.0f,\"p50_ms\":%.3f,\"p95_ms\":%.3f,"
            "\"p99_ms\":%.3f,\"p999_ms\":%.3f,\"max_ms\":%.3f,\"missing\":%llu,\"client_cpu\":%.2f}\n",
            name, (unsigned long long)b->done, seconds, rate, ms(h, 0.5), ms(h, 0.95), ms(h, 0.99), ms(h, 0.999),
            (double)h->max / 1e6, (unsigned long long)b->missing, share);
        return;
    }
    printf("%s  %8.0f/s   p50 %.3f ms   p95 %.3f ms   p99 %.3f ms   p99.9 %.3f ms   max %.3f ms\n", name, rate,
           ms(h, 0.5), ms(h, 0.95), ms(h, 0.99), ms(h, 0.999), (double)h->max / 1e6);
    if (b->missing)
        printf("     %llu of them found no key\n", (unsigned long long)b->missing);
    if (share > 0.9)
        printf("     this program used %.0f%% of a processor: the server may be faster than that\n", share * 100);
}

static int run_kind(struct bench *b, bool set)
{
    b->set = set;
    b->sent = b->done = b->missing = 0;
    histogram_reset(&b->latency);
    double cpu = cpu_seconds();
    uint64_t start = mono_ns();
    int status = run_round(b);
    if (status == 0)
        report(b, (double)(mono_ns() - start) / 1e9, cpu_seconds() - cpu);
    return status;
}

/* ---- before and after ---- */

static int open_clients(struct bench *b)
{
    b->clients = calloc((size_t)b->count, sizeof *b->clients);
    b->fds = calloc((size_t)b->count, sizeof *b->fds);
    b->value = malloc((size_t)b->size + 1);
    if (!b->clients || !b->fds || !b->value)
        return complain("out of memory");
    for (int64_t i = 0; i < b->size; i++) { /* bytes that do not compress to nothing */
        b->seed = hash_mix(b->seed + 1);
        b->value[i] = (char)('!' + b->seed % 90);
    }
    for (int64_t i = 0; i < b->count; i++) {
        int status = client_open(b->k, &b->clients[i].c);
        if (status)
            return status;
        redisContext *c = b->clients[i].c;
        c->flags &= ~REDIS_BLOCK;
        if (fcntl(c->fd, F_SETFL, fcntl(c->fd, F_GETFL) | O_NONBLOCK) != 0)
            return complain("fcntl: %s", strerror(errno));
        b->fds[i] = (struct pollfd){.fd = c->fd, .events = POLLIN};
    }
    return 0;
}

static void say_what(const struct bench *b)
{
    char fsync[32] = "?";
    redisReply *r = redisCommand(b->k->redis, "CONFIG GET appendfsync");
    if (r && r->type == REDIS_REPLY_ARRAY && r->elements == 2)
        snprintf(fsync, sizeof fsync, "%s", r->element[1]->str);
    if (r)
        freeReplyObject(r);
    if (!b->k->json)
        printf(
            "%lld requests of each kind, %lld connections, pipeline %lld, values of %lld bytes, %lld keys, appendfsync "
            "%s\n",
            (long long)b->requests, (long long)b->count, (long long)b->pipeline, (long long)b->size, (long long)b->keys,
            fsync);
}

/* All keys of the benchmark, whether or not they were written. */
static int clean_up(struct bench *b)
{
    redisContext *c = b->k->redis;
    for (int64_t at = 0; at < b->keys;) {
        int n = 0;
        for (; n < 1000 && at < b->keys; n++, at++)
            redisAppendCommand(c, "DEL " PREFIX "%012lld", (long long)at);
        for (; n > 0; n--) {
            void *r = NULL;
            if (redisGetReply(c, &r) != REDIS_OK)
                return complain("the connection broke while the benchmark's keys were deleted: %s", c->errstr);
            freeReplyObject(r);
        }
    }
    return 0;
}

static void close_clients(struct bench *b)
{
    for (int64_t i = 0; b->clients && i < b->count; i++)
        if (b->clients[i].c)
            redisFree(b->clients[i].c);
    free(b->clients);
    free(b->fds);
    free(b->value);
    histogram_fini(&b->latency);
}

int run_bench(struct kvctl *k)
{
    const char *tests = option("tests") ? option("tests") : "set,get";
    struct bench b = {
        .k = k,
        .count = option_number("clients", 50, 1, 10000),
        .requests = option_number("requests", 100000, 1, INT64_MAX),
        .pipeline = option_number("pipeline", 1, 1, 100000),
        .size = option_number("size", 100, 0, 512 << 20),
        .keys = option_number("keys", 100000, 1, 1000000000000),
        .seed = mono_ns(),
    };
    bool set = strcmp(tests, "get") != 0, get = strcmp(tests, "set") != 0;
    if (strcmp(tests, "set,get") != 0 && strcmp(tests, "get,set") != 0 && set && get)
        return complain("--tests is set, get or set,get, not '%s'", tests);
    histogram_init(&b.latency);
    int status = open_clients(&b);
    if (status == 0)
        say_what(&b);
    if (status == 0 && set)
        status = run_kind(&b, true);
    if (status == 0 && get)
        status = run_kind(&b, false);
    if (set && clean_up(&b) && status == 0)
        status = KVCTL_ERROR;
    close_clients(&b);
    return status;
}
