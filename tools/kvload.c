/* kvload: a load generator for servers that speak the Redis protocol.
 *
 * One thread, epoll, N connections, P requests in flight on each. It does as little per request as it can (no timer, no
 * allocation, one read and one write for a whole batch, replies are measured and dropped), so that one core of load
 * keeps a server busy that redis-benchmark could not. It ends with one line of JSON on stdout; an error reply is
 * counted, and the first three are shown on stderr.
 *
 * Closed loop (default): a connection sends its next batch of P requests when the last reply of the batch before has
 * come; a batch's latency runs from the write to that reply. Open loop (-R): batches are due at a fixed rate, and
 * latency runs from the time a batch was due, so that a stalled server cannot hide behind a load that waits for it.
 *
 * "life" is a bit of everything for long runs: half GETs; SETs, a third of which expire after 1 to 60 s; DELs; ZADDs, and
 * ZRANGEs of ten, on a thousandth as many sorted sets. -i prints a line every so often. Where -i or "life" is given,
 * batches during which the machine itself was disturbed (bench/sleepers.h) are counted apart: own_... leaves them out.
 *
 * Keys are 16 bytes, "key:" and 12 decimal digits, as redis-benchmark -r makes them. Values are runs of a megabyte of
 * text with 6 bits of entropy a byte, chosen by the key's number, the same in every run: -V of a later run can tell
 * whether what it reads is what an earlier one wrote. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tools/bench/measure.h"
#include "tools/bench/sleepers.h"
#include "tools/bench/zipf.h"

#define OPERATIONS(X)                                                                                                  \
    X(PING, "ping")                                                                                                    \
    X(GET, "get")                                                                                                      \
    X(SET, "set")                                                                                                      \
    X(MSET, "mset")                                                                                                    \
    X(MGET, "mget")                                                                                                    \
    X(INCR, "incr")                                                                                                    \
    X(LPUSH, "lpush")                                                                                                  \
    X(LPOP, "lpop")                                                                                                    \
    X(RPUSH, "rpush")                                                                                                  \
    X(SADD, "sadd")                                                                                                    \
    X(SPOP, "spop")                                                                                                    \
    X(HSET, "hset")                                                                                                    \
    X(ZADD, "zadd")                                                                                                    \
    X(ZPOPMIN, "zpopmin")                                                                                              \
    X(ZPOPMAX, "zpopmax")                                                                                              \
    X(LRANGE, "lrange100")                                                                                             \
    X(MIX, "mix")                                                                                                      \
    X(LIFE, "life")

enum operation {
#define OP_ENUM(id, name) OP_##id,
    OPERATIONS(OP_ENUM)
#undef OP_ENUM
        OP_COUNT
};
static const char *const op_names[] = {
#define OP_NAME(id, name) name,
    OPERATIONS(OP_NAME)
#undef OP_NAME
};

enum key_order { KEYS_RANDOM, KEYS_SEQUENTIAL, KEYS_SHUFFLED, KEYS_ZIPF };

#define MULTI_KEYS 10           /* keys of one MSET or MGET */
#define POOL_BYTES (1u << 20)   /* of the text that values are cut from */
#define NOT_VERIFIED UINT64_MAX /* this request's reply is no value of a known key */

static const char usage[] =
    "usage: kvload [options]\n"
    "  -h HOST    address (127.0.0.1)             -p PORT    port (6379)\n"
    "  -c N       connections (50)                -P N       requests in flight on each (1)\n"
    "  -t SECS    duration (5)                    -n N       number of requests instead\n"
    "  -o OP      ping get set mset(10) mget(10) incr lpush lpop rpush sadd spop hset zadd zpopmin zpopmax lrange100 "
    "mix life\n"
    "  -w PERCENT of SETs in mix (50)             -d BYTES   value size (100)\n"
    "  -r N       number of different keys (1000000)\n"
    "  -s         keys in order                   -q         keys shuffled, each once in N\n"
    "  -z         keys by Zipf's law              -i SECS    a line of JSON every so many seconds\n"
    "  -R RATE    open loop: requests a second    -S SEED    of the random keys (1)\n"
    "  -V         a GET must return what SET of that key writes; the others are counted as bad\n";

struct options {
    const char *host;
    int port;
    unsigned connections, pipeline;
    double seconds, rate, interval;
    uint64_t requests, keyspace, seed;
    enum operation op;
    unsigned set_percent, value_bytes;
    enum key_order order;
    bool verify;
};
static struct options opt = {.host = "127.0.0.1",
                             .port = 6379,
                             .connections = 50,
                             .pipeline = 1,
                             .keyspace = 1000000,
                             .seed = 1,
                             .op = OP_GET,
                             .set_percent = 50,
                             .value_bytes = 100};

struct connection {
    int fd;
    bool want_write;
    char *out; /* the batch: room for opt.pipeline requests */
    size_t out_len, out_sent;
    char *in;
    size_t in_cap, in_len;
    unsigned pending;  /* replies of the batch still to come */
    unsigned answered; /* replies of the batch that came */
    uint64_t started;  /* when the batch was sent, or was due */
    uint64_t *keys;    /* what each request of the batch asked for; NULL when nobody looks */
};

static struct {
    int epoll;
    struct connection *connections;
    struct connection **idle; /* open loop: a ring of those that wait for their next batch to be due */
    unsigned idle_first, idle_count;
    uint64_t start, scheduled, next_key, stride;
    uint64_t issued, done, errors, misses, bad, bytes_read, reads, writes;
    struct zipf zipf;
    struct latencies {
        struct latency all, own; /* own: while the machine did not stand still */
    } whole, step;               /* step: of this interval */
    uint64_t step_began, step_done;
    bool watched; /* by sleepers */
} load;

static void die(const char *what)
{
    fprintf(stderr, "kvload: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void *allocate(size_t count, size_t size)
{
    void *p = calloc(count ? count : 1, size);
    if (!p)
        die("memory");
    return p;
}

/* ---- keys, values and requests ---- */

/* xorshift128+ (Vigna, 2014) */
static uint64_t random_state[2] = {0x9E3779B97F4A7C15u, 0xD1B54A32D192ED03u};
static uint64_t random_next(void)
{
    uint64_t a = random_state[0], b = random_state[1];
    random_state[0] = b;
    a ^= a << 23;
    random_state[1] = a ^ b ^ (a >> 17) ^ (b >> 26);
    return random_state[1] + b;
}

static char value_pool[POOL_BYTES];

/* The pool comes first and from the fixed state: values do not depend on the seed. */
static void random_start(void)
{
    for (unsigned i = 0; i < POOL_BYTES; i++)
        value_pool[i] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"[random_next() & 63];
    random_state[0] ^= opt.seed * 0xBF58476D1CE4E5B9u;
    for (int i = 0; i < 16; i++)
        (void)random_next();
}

/* Steps of a length that has no factor in common with the number of keys come to each key once. */
static uint64_t stride_for(uint64_t keys)
{
    for (uint64_t stride = 2654435769u;; stride += 2) {
        uint64_t a = stride, b = keys;
        while (b) {
            uint64_t rest = a % b;
            a = b;
            b = rest;
        }
        if (a == 1)
            return stride;
    }
}

static const char *value_of(uint64_t key) { return value_pool + key * 2654435761u % (POOL_BYTES - opt.value_bytes); }

static uint64_t next_key(void)
{
    switch (opt.order) {
    case KEYS_SEQUENTIAL:
        return load.next_key++ % opt.keyspace;
    case KEYS_SHUFFLED:
        return (uint64_t)((unsigned __int128)load.next_key++ * load.stride % opt.keyspace);
    case KEYS_ZIPF:
        return (uint64_t)((unsigned __int128)zipf_rank(&load.zipf, (double)(random_next() >> 11) * 0x1p-53) *
                          load.stride % opt.keyspace);
    case KEYS_RANDOM:
        break;
    }
    return (uint64_t)(((unsigned __int128)random_next() * opt.keyspace) >> 64);
}

static char *put(char *p, const void *bytes, size_t n)
{
    memcpy(p, bytes, n);
    return p + n;
}
#define PUT_LITERAL(p, text) put(p, text, sizeof(text) - 1)

static char *put_number(char *p, uint64_t v)
{
    char digits[20];
    int n = 0;
    do
        digits[n++] = (char)('0' + v % 10);
    while (v /= 10);
    while (n)
        *p++ = digits[--n];
    return p;
}

static char *put_key(char *p, const char *prefix, uint64_t key)
{
    p = PUT_LITERAL(p, "$16\r\n");
    p = put(p, prefix, 4);
    for (int i = 11; i >= 0; i--) {
        p[i] = (char)('0' + key % 10);
        key /= 10;
    }
    return PUT_LITERAL(p + 12, "\r\n");
}

static char *put_value(char *p, uint64_t key)
{
    *p++ = '$';
    p = put_number(p, opt.value_bytes);
    p = PUT_LITERAL(p, "\r\n");
    p = put(p, value_of(key), opt.value_bytes);
    return PUT_LITERAL(p, "\r\n");
}

static char *put_zadd(char *p)
{
    uint64_t key = next_key();
    char score[24];
    int n = snprintf(score, sizeof score, "%" PRIu64, random_next() % opt.keyspace);
    p = PUT_LITERAL(p, "*4\r\n$4\r\nZADD\r\n$6\r\nmyzset\r\n$");
    p = put_number(p, (uint64_t)n);
    p = PUT_LITERAL(p, "\r\n");
    p = put(p, score, (size_t)n);
    return put_key(PUT_LITERAL(p, "\r\n"), "elt:", key);
}

static char *put_life(char *p, uint64_t *asked)
{
    uint64_t kind = random_next() % 100, key = next_key();
    if (kind < 50) {
        *asked = key;
        return put_key(PUT_LITERAL(p, "*2\r\n$3\r\nGET\r\n"), "key:", key);
    }
    if (kind < 75)
        return put_value(put_key(PUT_LITERAL(p, "*3\r\n$3\r\nSET\r\n"), "key:", key), key);
    if (kind < 85) {
        p = put_value(put_key(PUT_LITERAL(p, "*5\r\n$3\r\nSET\r\n"), "key:", key), key);
        p = PUT_LITERAL(p, "$2\r\nPX\r\n$5\r\n");
        p = put_number(p, 10000 + random_next() % 50000);
        return PUT_LITERAL(p, "\r\n");
    }
    if (kind < 90)
        return put_key(PUT_LITERAL(p, "*2\r\n$3\r\nDEL\r\n"), "key:", key);
    if (kind < 95) {
        p = put_key(PUT_LITERAL(p, "*4\r\n$4\r\nZADD\r\n"), "zst:", key / 1000);
        p = PUT_LITERAL(p, "$6\r\n");
        p = put_number(p, 100000 + random_next() % 900000);
        return put_key(PUT_LITERAL(p, "\r\n"), "elt:", key);
    }
    return PUT_LITERAL(put_key(PUT_LITERAL(p, "*4\r\n$6\r\nZRANGE\r\n"), "zst:", key / 1000), "$1\r\n0\r\n$1\r\n9\r\n");
}

/* Writes one request; *asked: the key whose value the reply must be, or NOT_VERIFIED. */
static char *put_request(char *p, uint64_t *asked)
{
    enum operation op = opt.op;
    uint64_t key;
    *asked = NOT_VERIFIED;
    if (op == OP_MIX)
        op = random_next() % 100 < opt.set_percent ? OP_SET : OP_GET;
    switch (op) {
    case OP_PING:
        return PUT_LITERAL(p, "*1\r\n$4\r\nPING\r\n");
    case OP_GET:
        *asked = next_key();
        return put_key(PUT_LITERAL(p, "*2\r\n$3\r\nGET\r\n"), "key:", *asked);
    case OP_SET:
        key = next_key();
        return put_value(put_key(PUT_LITERAL(p, "*3\r\n$3\r\nSET\r\n"), "key:", key), key);
    case OP_MSET:
        p = PUT_LITERAL(p, "*21\r\n$4\r\nMSET\r\n");
        for (int i = 0; i < MULTI_KEYS; i++) {
            key = next_key();
            p = put_value(put_key(p, "key:", key), key);
        }
        return p;
    case OP_MGET:
        p = PUT_LITERAL(p, "*11\r\n$4\r\nMGET\r\n");
        for (int i = 0; i < MULTI_KEYS; i++)
            p = put_key(p, "key:", next_key());
        return p;
    case OP_INCR:
        return put_key(PUT_LITERAL(p, "*2\r\n$4\r\nINCR\r\n"), "cnt:", next_key());
    case OP_LPUSH:
        return put_value(PUT_LITERAL(p, "*3\r\n$5\r\nLPUSH\r\n$6\r\nmylist\r\n"), random_next());
    case OP_RPUSH:
        return put_value(PUT_LITERAL(p, "*3\r\n$5\r\nRPUSH\r\n$6\r\nmylist\r\n"), random_next());
    case OP_LPOP:
        return PUT_LITERAL(p, "*2\r\n$4\r\nLPOP\r\n$6\r\nmylist\r\n");
    case OP_SADD:
        return put_key(PUT_LITERAL(p, "*3\r\n$4\r\nSADD\r\n$5\r\nmyset\r\n"), "elt:", next_key());
    case OP_SPOP:
        return PUT_LITERAL(p, "*2\r\n$4\r\nSPOP\r\n$5\r\nmyset\r\n");
    case OP_HSET:
        key = next_key();
        return put_value(put_key(PUT_LITERAL(p, "*4\r\n$4\r\nHSET\r\n$6\r\nmyhash\r\n"), "fld:", key), key);
    case OP_ZADD:
        return put_zadd(p);
    case OP_ZPOPMIN:
        return PUT_LITERAL(p, "*2\r\n$7\r\nZPOPMIN\r\n$6\r\nmyzset\r\n");
    case OP_ZPOPMAX:
        return PUT_LITERAL(p, "*2\r\n$7\r\nZPOPMAX\r\n$6\r\nmyzset\r\n");
    case OP_LRANGE:
        return PUT_LITERAL(p, "*4\r\n$6\r\nLRANGE\r\n$6\r\nmylist\r\n$1\r\n0\r\n$2\r\n99\r\n");
    case OP_LIFE:
        return put_life(p, asked);
    case OP_MIX:
    case OP_COUNT:
        break;
    }
    return p;
}

/* Room that one request needs at most. */
static size_t request_room(void)
{
    size_t keyed = (size_t)opt.value_bytes + 160;
    return opt.op == OP_MSET || opt.op == OP_MGET ? MULTI_KEYS * keyed : keyed;
}

/* ---- connections ---- */

static void send_rest(struct connection *c)
{
    while (c->out_sent < c->out_len) {
        ssize_t n = write(c->fd, c->out + c->out_sent, c->out_len - c->out_sent);
        load.writes++;
        if (n < 0) {
            if (errno == EAGAIN)
                break;
            die("write");
        }
        c->out_sent += (size_t)n;
    }
    bool want_write = c->out_sent < c->out_len;
    if (want_write != c->want_write) {
        struct epoll_event e = {.events = EPOLLIN | (want_write ? EPOLLOUT : 0u), .data.ptr = c};
        epoll_ctl(load.epoll, EPOLL_CTL_MOD, c->fd, &e);
        c->want_write = want_write;
    }
}

static void send_batch(struct connection *c, uint64_t started)
{
    uint64_t n = opt.pipeline;
    if (opt.requests && load.issued + n > opt.requests)
        n = opt.requests > load.issued ? opt.requests - load.issued : 0;
    if (n == 0)
        return;
    char *p = c->out;
    uint64_t ignored;
    for (uint64_t i = 0; i < n; i++)
        p = put_request(p, c->keys ? &c->keys[i] : &ignored);
    c->out_len = (size_t)(p - c->out);
    c->out_sent = 0;
    c->pending = (unsigned)n;
    c->answered = 0;
    c->started = started;
    load.issued += n;
    load.scheduled += n;
    send_rest(c);
}

/* Open loop: when the next batch is due. */
static uint64_t next_due(void) { return load.start + (uint64_t)((double)load.scheduled * 1e9 / opt.rate); }

static void send_due_batches(uint64_t now)
{
    uint64_t due;
    while (load.idle_count && (due = next_due()) <= now) {
        struct connection *c = load.idle[load.idle_first];
        load.idle_first = (load.idle_first + 1) % opt.connections;
        load.idle_count--;
        send_batch(c, due);
    }
}

/* The connection has nothing in flight. */
static void connection_ready(struct connection *c, uint64_t now)
{
    if (opt.rate > 0) {
        load.idle[(load.idle_first + load.idle_count++) % opt.connections] = c;
        send_due_batches(now);
    } else {
        send_batch(c, now);
    }
}

static void check_value(const struct connection *c, const char *value, size_t len)
{
    uint64_t key = c->keys[c->answered];
    if (key != NOT_VERIFIED && (len != opt.value_bytes || memcmp(value, value_of(key), len) != 0))
        load.bad++;
}

/* Measures the reply at the start of bytes: its length, or 0 when it is not all there. */
static size_t reply_length(struct connection *c, const char *bytes, size_t n, bool top)
{
    const char *newline = memchr(bytes, '\n', n);
    if (!newline)
        return 0;
    size_t line = (size_t)(newline - bytes) + 1;
    switch (bytes[0]) {
    case '+':
    case ':':
    case '_':
    case ',':
    case '#':
        return line;
    case '-':
        if (++load.errors <= 3)
            fprintf(stderr, "kvload: %.*s\n", (int)line - 2, bytes);
        return line;
    case '$': {
        long len = strtol(bytes + 1, NULL, 10);
        if (len < 0) {
            load.misses += top;
            return line;
        }
        if (line + (size_t)len + 2 > n)
            return 0;
        if (opt.verify && top && c->keys)
            check_value(c, bytes + line, (size_t)len);
        return line + (size_t)len + 2;
    }
    case '*':
    case '~':
    case '%': {
        long count = strtol(bytes + 1, NULL, 10) * (bytes[0] == '%' ? 2 : 1);
        size_t used = line;
        for (long i = 0; i < count; i++) {
            size_t one = reply_length(c, bytes + used, n - used, false);
            if (!one)
                return 0;
            used += one;
        }
        return used;
    }
    }
    fprintf(stderr, "kvload: a reply begins with byte 0x%02x\n", (unsigned char)bytes[0]);
    exit(1);
}

static void note_latency(uint64_t started, uint64_t now)
{
    latency_add(&load.whole.all, now - started);
    if (!load.watched)
        return;
    bool own = now - started < 1000000 || !sleepers_disturbed_since(started);
    latency_add(&load.step.all, now - started);
    if (own) {
        latency_add(&load.whole.own, now - started);
        latency_add(&load.step.own, now - started);
    }
}

static void read_replies(struct connection *c)
{
    if (c->in_len == c->in_cap) {
        c->in_cap *= 2;
        c->in = realloc(c->in, c->in_cap);
        if (!c->in)
            die("memory");
    }
    ssize_t got = read(c->fd, c->in + c->in_len, c->in_cap - c->in_len);
    load.reads++;
    if (got == 0) {
        fprintf(stderr, "kvload: the server closed a connection\n");
        exit(1);
    }
    if (got < 0) {
        if (errno == EAGAIN)
            return;
        die("read");
    }
    load.bytes_read += (uint64_t)got;
    c->in_len += (size_t)got;
    size_t used = 0, one;
    while (c->pending && used < c->in_len && (one = reply_length(c, c->in + used, c->in_len - used, true)) != 0) {
        used += one;
        c->pending--;
        c->answered++;
        load.done++;
    }
    c->in_len -= used;
    if (used && c->in_len)
        memmove(c->in, c->in + used, c->in_len);
    if (!c->pending) {
        uint64_t now = clock_ns();
        note_latency(c->started, now);
        connection_ready(c, now);
    }
}

static int connect_one(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)opt.port)};
    int on = 1;
    if (inet_pton(AF_INET, opt.host, &address.sin_addr) != 1) {
        fprintf(stderr, "kvload: %s is no IPv4 address\n", opt.host);
        exit(2);
    }
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address))
        die("connect");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    return fd;
}

static void connect_all(void)
{
    load.epoll = epoll_create1(EPOLL_CLOEXEC);
    load.connections = allocate(opt.connections, sizeof *load.connections);
    load.idle = allocate(opt.connections, sizeof(struct connection *));
    for (unsigned i = 0; i < opt.connections; i++) {
        struct connection *c = &load.connections[i];
        c->fd = connect_one();
        c->out = allocate(opt.pipeline, request_room());
        c->in_cap = 1 << 16;
        c->in = allocate(c->in_cap, 1);
        if (opt.verify)
            c->keys = allocate(opt.pipeline, sizeof *c->keys);
        struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
        if (epoll_ctl(load.epoll, EPOLL_CTL_ADD, c->fd, &e))
            die("epoll");
    }
}

/* In an open loop: until the next batch is due, spinning through the last millisecond. */
static int wait_ms(void)
{
    if (!load.idle_count)
        return 1000;
    double ms = ((double)next_due() - (double)clock_ns()) / 1e6;
    return ms > 1 ? (int)ms : 0;
}

static void print_latencies(const struct latencies *l)
{
    const struct latency *all = &l->all, *own = &l->own;
    printf("\"p50_us\":%.1f,\"p99_us\":%.1f,\"p999_us\":%.1f,\"max_us\":%.1f,",
           (double)latency_quantile(all, 0.5) / 1e3, (double)latency_quantile(all, 0.99) / 1e3,
           (double)latency_quantile(all, 0.999) / 1e3, (double)all->max / 1e3);
    if (load.watched)
        printf("\"own_p999_us\":%.1f,\"own_max_us\":%.1f,\"disturbed\":%" PRIu64 ",",
               (double)latency_quantile(own, 0.999) / 1e3, (double)own->max / 1e3, all->count - own->count);
}

static void end_step(uint64_t now)
{
    double seconds = (double)(now - load.step_began) / 1e9;
    if (!opt.interval || seconds < opt.interval)
        return;
    printf("{\"until_s\":%.1f,\"rps\":%.0f,", (double)(now - load.start) / 1e9,
           (double)(load.done - load.step_done) / seconds);
    print_latencies(&load.step);
    printf("\"errs\":%" PRIu64 "}\n", load.errors);
    fflush(stdout);
    memset(&load.step, 0, sizeof load.step);
    load.step_began = now;
    load.step_done = load.done;
}

/* Returns the seconds that it took. */
static double run(void)
{
    struct epoll_event events[256];
    load.start = load.step_began = clock_ns();
    uint64_t now = load.start, end = opt.seconds > 0 ? now + (uint64_t)(opt.seconds * 1e9) : UINT64_MAX;
    for (unsigned i = 0; i < opt.connections; i++)
        connection_ready(&load.connections[i], now);
    while (now < end && !(opt.requests && load.done >= opt.requests)) {
        int n = epoll_wait(load.epoll, events, 256, wait_ms());
        for (int i = 0; i < n; i++) {
            struct connection *c = events[i].data.ptr;
            if (events[i].events & EPOLLOUT)
                send_rest(c);
            if (events[i].events & ~(uint32_t)EPOLLOUT)
                read_replies(c);
        }
        now = clock_ns();
        send_due_batches(now);
        end_step(now);
    }
    return (double)(now - load.start) / 1e9;
}

static double seconds_of(struct timeval t) { return (double)t.tv_sec + (double)t.tv_usec / 1e6; }

static void print_result(double seconds)
{
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    printf("{\"op\":\"%s\",\"conns\":%u,\"pipeline\":%u,\"dsize\":%u,\"keyspace\":%" PRIu64 ",\"ops\":%" PRIu64
           ",\"secs\":%.3f,\"rps\":%.0f,",
           op_names[opt.op], opt.connections, opt.pipeline, opt.value_bytes, opt.keyspace, load.done, seconds,
           (double)load.done / seconds);
    print_latencies(&load.whole);
    printf("\"errs\":%" PRIu64 ",\"misses\":%" PRIu64 ",\"bad\":%" PRIu64 ",\"rx_mb\":%.1f,", load.errors, load.misses,
           load.bad, (double)load.bytes_read / 1e6);
    printf("\"client_user\":%.3f,\"client_sys\":%.3f,\"client_reads\":%" PRIu64 ",\"client_writes\":%" PRIu64 "}\n",
           seconds_of(used.ru_utime), seconds_of(used.ru_stime), load.reads, load.writes);
}

/* ---- command line ---- */

static _Noreturn void bad_usage(const char *why)
{
    fprintf(stderr, "kvload: %s\n%s", why, usage);
    exit(2);
}

static uint64_t number(const char *text, uint64_t least, uint64_t most)
{
    char *end;
    errno = 0;
    uint64_t v = strtoull(text, &end, 10);
    if (errno || end == text || *end || *text == '-' || v < least || v > most)
        bad_usage("a number is out of range");
    return v;
}

static double real(const char *text)
{
    char *end;
    double v = strtod(text, &end);
    if (end == text || *end || !(v > 0 && v < 1e9))
        bad_usage("a number is out of range");
    return v;
}

static enum operation operation_named(const char *name)
{
    for (unsigned i = 0; i < OP_COUNT; i++)
        if (!strcmp(op_names[i], name))
            return (enum operation)i;
    bad_usage("no such operation");
}

static void parse_option(int letter, const char *value)
{
    switch (letter) {
    case 'h':
        opt.host = value;
        break;
    case 'p':
        opt.port = (int)number(value, 1, 65535);
        break;
    case 'c':
        opt.connections = (unsigned)number(value, 1, 1000000);
        break;
    case 'P':
        opt.pipeline = (unsigned)number(value, 1, 1000000);
        break;
    case 't':
        opt.seconds = real(value);
        break;
    case 'n':
        opt.requests = number(value, 1, UINT64_MAX / 2);
        break;
    case 'r':
        opt.keyspace = number(value, 1, 999999999999u);
        break;
    case 'd':
        opt.value_bytes = (unsigned)number(value, 0, POOL_BYTES - 1);
        break;
    case 'w':
        opt.set_percent = (unsigned)number(value, 0, 100);
        break;
    case 'R':
        opt.rate = real(value);
        break;
    case 'S':
        opt.seed = number(value, 0, UINT64_MAX);
        break;
    case 'o':
        opt.op = operation_named(value);
        break;
    case 's':
        opt.order = KEYS_SEQUENTIAL;
        break;
    case 'q':
        opt.order = KEYS_SHUFFLED;
        break;
    case 'z':
        opt.order = KEYS_ZIPF;
        break;
    case 'i':
        opt.interval = real(value);
        break;
    case 'V':
        opt.verify = true;
        break;
    default:
        bad_usage("no such option");
    }
}

int main(int argc, char **argv)
{
    int letter;
    while ((letter = getopt(argc, argv, "h:p:c:P:t:n:r:d:o:w:R:S:i:sqzV")) != -1)
        parse_option(letter, optarg);
    if (optind < argc)
        bad_usage("there are only options");
    if (opt.seconds == 0 && opt.requests == 0)
        opt.seconds = 5;
    signal(SIGPIPE, SIG_IGN);
    random_start();
    load.stride = stride_for(opt.keyspace);
    if (opt.order == KEYS_ZIPF)
        zipf_make(&load.zipf, opt.keyspace);
    load.watched = opt.interval > 0 || opt.op == OP_LIFE;
    if (load.watched)
        sleepers_start();
    connect_all();
    print_result(run());
    return 0;
}
