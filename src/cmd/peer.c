/* A connection to another server: see peer.h. */
#include "cmd/peer.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define AT_ONCE (64 * 1024) /* bytes for which a time limit counts */
#define LOOK_MS 100         /* how often it looks whether the server ends */
#define LINE_MAX_BYTES 1024

static uint64_t mono_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* Until the socket is ready. */
static enum result await(const struct peer *p, short events, uint64_t until_ms)
{
    for (;;) {
        struct pollfd fd = {.fd = p->fd, .events = events};
        uint64_t now = mono_ms();
        if (now >= until_ms || call_hurries(p->c))
            return RES_IO;
        uint64_t left = until_ms - now;
        int n = poll(&fd, 1, left < LOOK_MS ? (int)left : LOOK_MS);
        if (n > 0)
            return RES_OK;
        if (n < 0 && errno != EINTR)
            return RES_IO;
    }
}

static enum result connect_to(struct peer *p, const struct addrinfo *a)
{
    int on = 1, error = 0;
    socklen_t len = sizeof error;
    p->fd = socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (p->fd < 0)
        return RES_IO;
    (void)setsockopt(p->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(p->fd, a->ai_addr, a->ai_addrlen) == 0)
        return RES_OK;
    if (errno != EINPROGRESS || await(p, POLLOUT, mono_ms() + p->limit_ms) != RES_OK)
        return RES_IO;
    return getsockopt(p->fd, SOL_SOCKET, SO_ERROR, &error, &len) == 0 && error == 0 ? RES_OK : RES_CLOSED;
}

static bool copy_text(char *out, size_t cap, struct slice text)
{
    if (text.len >= cap || memchr(text.len ? (const void *)text.data : "", 0, text.len))
        return false;
    memcpy(out, text.len ? (const void *)text.data : "", text.len);
    out[text.len] = 0;
    return true;
}

enum result peer_connect(struct peer *p, struct call *c, struct slice host, struct slice port, uint64_t limit_ms)
{
    char name[256], service[16];
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *all = NULL;
    *p = (struct peer){.c = c, .fd = -1, .limit_ms = limit_ms};
    if (!copy_text(name, sizeof name, host) || !copy_text(service, sizeof service, port) ||
        getaddrinfo(name, service, &hints, &all) != 0)
        return RES_IO;
    enum result r = RES_IO;
    for (const struct addrinfo *a = all; a && r != RES_OK; a = a->ai_next) {
        peer_close(p);
        r = connect_to(p, a);
    }
    freeaddrinfo(all);
    return r;
}

void peer_close(struct peer *p)
{
    if (p->fd >= 0)
        close(p->fd);
    p->fd = -1;
    buf_fini(&p->in);
    p->taken = 0;
}

enum result peer_write(struct peer *p, struct slice bytes)
{
    uint64_t until = mono_ms() + p->limit_ms;
    size_t part = 0;
    while (bytes.len) {
        ssize_t n = send(p->fd, bytes.data, bytes.len < AT_ONCE ? bytes.len : AT_ONCE, MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN) {
            enum result r = await(p, POLLOUT, until);
            if (r != RES_OK)
                return r;
        } else if (n < 0 && errno != EINTR) {
            return RES_IO;
        }
        if (n <= 0)
            continue;
        bytes.data += n;
        bytes.len -= (size_t)n;
        if ((part += (size_t)n) >= AT_ONCE) {
            part = 0;
            until = mono_ms() + p->limit_ms;
        }
    }
    return RES_OK;
}

static enum result fill(struct peer *p, uint64_t until)
{
    enum result r = buf_reserve(&p->in, LINE_MAX_BYTES);
    while (r == RES_OK) {
        ssize_t n = recv(p->fd, p->in.data + p->in.len, LINE_MAX_BYTES, 0);
        if (n > 0) {
            p->in.len += (size_t)n;
            return RES_OK;
        }
        if (n == 0 || (errno != EAGAIN && errno != EINTR))
            return RES_IO;
        r = await(p, POLLIN, until);
    }
    return r;
}

enum result peer_read_line(struct peer *p, struct slice *line)
{
    uint64_t until = mono_ms() + p->limit_ms;
    buf_consume(&p->in, p->taken);
    p->taken = 0;
    for (;;) {
        const uint8_t *end = p->in.len ? memchr(p->in.data, '\n', p->in.len) : NULL;
        if (end) {
            size_t len = (size_t)(end - p->in.data);
            p->taken = len + 1;
            *line = slice_of(p->in.data, len && p->in.data[len - 1] == '\r' ? len - 1 : len);
            return RES_OK;
        }
        if (p->in.len >= LINE_MAX_BYTES)
            return RES_IO;
        enum result r = fill(p, until);
        if (r != RES_OK)
            return r;
    }
}
