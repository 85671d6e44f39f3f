/* A guest is, in this order:
 *     unknown   what he has sent so far is looked at, but stays in his socket
 *     asking    it is for us: his bytes are read, up to the end of the head
 *     leaving   he is answered; what he still sends is dropped until he has closed too
 * or, from unknown, waiting: his bytes are not ours, and the reactor that gets the socket finds all of them. */
#include "net/lobby.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/http_route.h"
#include "net/net_internal.h"

#define GUESTS_MAX 1024 /* more wait in the backlog */
#define LEAVE_MS 2000

enum guest_state { GUEST_UNKNOWN, GUEST_ASKING, GUEST_LEAVING, GUEST_WAITING };

struct guest {
    TAILQ_ENTRY(guest) all;
    struct lobby *lobby;
    struct newcomer who;
    struct event event;
    enum guest_state state;
    uint64_t since_ms; /* that he is in this state */
    struct http_parser parser;
    struct buf in;
};

struct lobby {
    struct net *net;
    enum lobby_kind kind;
    const char *why; /* /readyz says */
    struct event_base *base;
    struct os_thread thread;
    struct event wake_event, tick_event;
    struct listener door[LISTENERS_MAX];
    int wake_fd, doors, guests;
    bool doors_open;
    struct net_tuning tuning;
    TAILQ_HEAD(, guest) all;
};

static void on_door(evutil_socket_t fd, short what, void *arg);

static void open_doors(struct lobby *l, bool open)
{
    for (int i = 0; i < l->doors && open != l->doors_open; i++)
        (void)(open ? event_add(&l->door[i].event, NULL) : event_del(&l->door[i].event));
    l->doors_open = open;
}

static void forget(struct guest *g, bool close_too)
{
    struct lobby *l = g->lobby;
    event_del(&g->event);
    if (close_too)
        close(g->who.fd);
    TAILQ_REMOVE(&l->all, g, all);
    http_parser_fini(&g->parser);
    buf_fini(&g->in);
    free(g);
    l->guests--;
}

static void become(struct guest *g, enum guest_state state)
{
    g->state = state;
    g->since_ms = reactor_clock_ms();
}

/* ---- answering ---- */

static void answer(struct guest *g, enum http_verb verb, int status, const char *text)
{
    char out[512];
    struct slice date = http_date_line(reactor_clock_ms());
    int n = snprintf(out, sizeof out,
                     "HTTP/1.1 %d %s\r\n%.*sContent-Type: text/plain; charset=utf-8\r\nContent-Length: %zu\r\n"
                     "Connection: close\r\n\r\n%s",
                     status, http_reason(status), (int)date.len, (const char *)date.data, strlen(text),
                     verb == VERB_HEAD ? "" : text);
    ssize_t sent = send(g->who.fd, out, (size_t)n, MSG_NOSIGNAL | MSG_DONTWAIT);
    (void)sent; /* the first bytes on a connection: there is room */
    shutdown(g->who.fd, SHUT_WR);
    become(g, GUEST_LEAVING);
}

static void answer_head(struct guest *g)
{
    struct http_message m;
    struct http_route route;
    http_message_of(&g->parser, g->in.data, &m);
    http_route(&m, &route);
    if (route.action == HTTP_HEALTH)
        answer(g, m.verb, 200, "ok\n");
    else
        answer(g, m.verb, 503, g->lobby->why);
}

/* ---- guests ---- */

/* The first bytes of what is answered here. */
static const char *const ours[] = {"GET /readyz ", "HEAD /readyz ", "GET /healthz ", "HEAD /healthz "};

static void look(struct guest *g)
{
    char start[16];
    ssize_t n = recv(g->who.fd, start, sizeof start, MSG_PEEK | MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    bool perhaps = false;
    for (size_t i = 0; n > 0 && i < sizeof ours / sizeof ours[0]; i++) {
        size_t len = strlen(ours[i]);
        if (memcmp(start, ours[i], (size_t)n < len ? (size_t)n : len) != 0)
            continue;
        perhaps = true;
        if ((size_t)n >= len) {
            become(g, GUEST_ASKING);
            return;
        }
    }
    if (!perhaps) {
        event_del(&g->event); /* whatever it is, also an end */
        become(g, GUEST_WAITING);
    }
}

/* False: the guest is gone. */
static bool read_some(struct guest *g)
{
    uint8_t bytes[4096];
    for (;;) {
        ssize_t n = recv(g->who.fd, bytes, sizeof bytes, MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return true;
        if (n <= 0 || (g->state == GUEST_ASKING && buf_append(&g->in, bytes, (size_t)n) != RES_OK)) {
            forget(g, true);
            return false;
        }
        if (g->state == GUEST_ASKING && g->in.len > HTTP_HEAD_MAX)
            return true; /* the parser will have its say */
    }
}

static void ask(struct guest *g)
{
    if (!read_some(g) || g->state != GUEST_ASKING || g->in.len == 0)
        return;
    size_t used, len = g->in.len;
    switch (http_parse(&g->parser, g->in.data, &len, g->lobby->tuning.http.body_max, &used)) {
    case HTTP_WHOLE:
        answer_head(g);
        return;
    case HTTP_REFUSED:
        answer(g, VERB_OTHER, g->parser.status, "malformed request\n");
        return;
    case HTTP_NO_MEMORY:
        forget(g, true);
        return;
    case HTTP_MORE:
        g->in.len = len;
        if (http_parser_has_head(&g->parser))
            answer_head(g);
        return;
    }
}

static void on_guest(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what;
    struct guest *g = arg;
    if (g->state == GUEST_UNKNOWN)
        look(g);
    if (g->state == GUEST_ASKING)
        ask(g);
    else if (g->state == GUEST_LEAVING)
        (void)read_some(g);
}

static void let_in(struct lobby *l, struct listener *door, const struct newcomer *who, bool stranger)
{
    if (stranger && l->tuning.protected_mode && !l->tuning.password_set) {
        ssize_t sent =
            send(who->fd, door->protocol->denied, strlen(door->protocol->denied), MSG_NOSIGNAL | MSG_DONTWAIT);
        (void)sent;
        close(who->fd);
        atomic_fetch_add_explicit(&l->net->http_rejected, 1, memory_order_relaxed);
        return;
    }
    struct guest *g = calloc(1, sizeof *g);
    if (g == NULL) {
        close(who->fd);
        return;
    }
    g->lobby = l;
    g->who = *who;
    http_parser_init(&g->parser);
    become(g, l->kind == LOBBY_AT_START ? GUEST_UNKNOWN : GUEST_ASKING);
    TAILQ_INSERT_TAIL(&l->all, g, all);
    l->guests++;
    /* Edges: bytes that are left in the socket must not call again and again. */
    event_assign(&g->event, l->base, who->fd, EV_READ | EV_ET | EV_PERSIST, on_guest, g);
    if (event_add(&g->event, NULL) != 0)
        forget(g, true);
}

static void on_door(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what;
    struct listener *door = arg;
    struct lobby *l = (struct lobby *)((char *)(door - door->place) - offsetof(struct lobby, door));
    struct newcomer who;
    bool stranger;
    while (l->guests < GUESTS_MAX && listener_accept(door, &who, &stranger))
        let_in(l, door, &who, stranger);
    if (l->guests >= GUESTS_MAX)
        open_doors(l, false);
}

/* ---- life ---- */

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what;
    struct lobby *l = arg;
    uint64_t now = reactor_clock_ms();
    struct guest *g, *next;
    for (g = TAILQ_FIRST(&l->all); g != NULL; g = next) {
        next = TAILQ_NEXT(g, all);
        uint64_t limit = g->state == GUEST_ASKING    ? l->tuning.http.head_s * UINT64_C(1000)
                         : g->state == GUEST_LEAVING ? LEAVE_MS
                                                     : UINT64_MAX;
        if (now - g->since_ms > limit)
            forget(g, true);
    }
    open_doors(l, l->guests < GUESTS_MAX);
}

static void on_wake(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what;
    event_base_loopbreak(((struct lobby *)arg)->base);
}

static void run(void *arg) { event_base_dispatch(((struct lobby *)arg)->base); }

static bool make_base(struct lobby *l)
{
    struct event_config *config = event_config_new();
    if (config == NULL)
        return false;
    event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK);
    l->base = event_base_new_with_config(config);
    event_config_free(config);
    l->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (l->base == NULL || l->wake_fd < 0)
        return false;
    struct timeval second = {1, 0};
    event_assign(&l->wake_event, l->base, l->wake_fd, EV_READ, on_wake, l);
    event_assign(&l->tick_event, l->base, -1, EV_PERSIST, on_tick, l);
    return event_add(&l->wake_event, NULL) == 0 && event_add(&l->tick_event, &second) == 0;
}

static bool make_doors(struct lobby *l)
{
    const struct listeners *from = &l->net->http_listeners;
    for (int i = 0; i < from->count; i++) {
        struct listener *door = &l->door[l->doors];
        const struct listener *item = &from->item[i];
        int fd = fcntl(item->fd, F_DUPFD_CLOEXEC, 0);
        *door = (struct listener){.fd = fd, .place = l->doors, .protocol = item->protocol};
        if (door->fd < 0)
            return false;
        event_assign(&door->event, l->base, door->fd, EV_READ | EV_PERSIST, on_door, door);
        l->doors++;
    }
    open_doors(l, true);
    return true;
}

static void clean_up(struct lobby *l)
{
    if (l->base != NULL) {
        open_doors(l, false);
        event_del(&l->wake_event);
        event_del(&l->tick_event);
        event_base_free(l->base);
    }
    for (int i = 0; i < l->doors; i++)
        close(l->door[i].fd);
    if (l->wake_fd >= 0)
        close(l->wake_fd);
    free(l);
}

struct lobby *lobby_open(struct net *n, enum lobby_kind kind)
{
    if (n->http_listeners.count == 0)
        return NULL;
    struct lobby *l = calloc(1, sizeof *l);
    if (l == NULL)
        return NULL;
    l->net = n;
    l->kind = kind;
    l->why = kind == LOBBY_AT_START ? "recovering: the log is being read\n" : "stopping: the server is shutting down\n";
    l->wake_fd = -1;
    TAILQ_INIT(&l->all);
    os_mutex_lock(&n->tuning_lock);
    l->tuning = n->tuning;
    os_mutex_unlock(&n->tuning_lock);
    if (!make_base(l) || !make_doors(l) || os_thread_start(&l->thread, "lobby", run, l) != RES_OK) {
        clean_up(l);
        return NULL;
    }
    return l;
}

void lobby_close(struct lobby *l, bool served)
{
    if (l == NULL)
        return;
    uint64_t one = 1;
    ssize_t written = write(l->wake_fd, &one, sizeof one);
    (void)written;
    os_thread_join(&l->thread);
    struct guest *g;
    while ((g = TAILQ_FIRST(&l->all)) != NULL) {
        bool goes_on = served && (g->state == GUEST_UNKNOWN || g->state == GUEST_WAITING);
        event_del(&g->event); /* before another thread may watch the same socket */
        if (goes_on)
            net_let_in(l->net, &g->who);
        forget(g, !goes_on);
    }
    clean_up(l);
}
