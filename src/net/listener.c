/* Listening sockets, and the moment a client is let in or turned away.
 *
 * A client is turned away with a sentence when there are too many (maxclients), and when protected mode finds a stranger:
 * no password is set and the client is not on this machine. When the process has no descriptor left, a spare one is given
 * up to accept the client and close it at once: otherwise it would hang in the backlog, and the event loop would spin. */
#include "net/listener.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"
#include "net/net_internal.h"

#define ACCEPTS_IN_A_ROW 64
static void on_connection(evutil_socket_t fd, short what, void *arg);

/* ---- opening ---- */

static enum result add(struct listeners *l, const struct protocol *protocol, int fd, bool is_unix, int backlog,
                       const char *name, struct errmsg *msg)
{
    if (l->count == LISTENERS_MAX) {
        close(fd);
        return errmsg_set(msg, RES_TOO_MANY, "more than %d addresses to listen on", LISTENERS_MAX);
    }
    if (listen(fd, backlog) != 0) {
        enum result res = errmsg_set(msg, result_from_errno(errno), "cannot listen on %s: %s", name, strerror(errno));
        close(fd);
        return res;
    }
    l->item[l->count++] =
        (struct listener){.fd = fd, .place = l->count, .is_unix = is_unix, .protocol = protocol, .all = l};
    return RES_OK;
}

static enum result open_tcp(struct listeners *l, const struct protocol *protocol, const char *address, int port_number,
                            int backlog, struct errmsg *msg)
{
    bool optional = *address == '-';
    address += optional;
    bool any4 = strcmp(address, "*") == 0, any6 = strcmp(address, "::*") == 0;
    char port[16], name[128];
    struct addrinfo hints = {.ai_family = any4   ? AF_INET
                                          : any6 ? AF_INET6
                                                 : AF_UNSPEC,
                             .ai_socktype = SOCK_STREAM,
                             .ai_flags = AI_PASSIVE | AI_NUMERICSERV},
                    *found = NULL;
    snprintf(port, sizeof port, "%d", port_number);
    snprintf(name, sizeof name, "%s port %s", address, port);
    int why = getaddrinfo(any4 || any6 ? NULL : address, port, &hints, &found);
    if (why != 0)
        return optional ? RES_OK : errmsg_set(msg, RES_INVALID, "cannot listen on %s: %s", name, gai_strerror(why));
    enum result res = RES_OK;
    for (struct addrinfo *a = found; a != NULL && res == RES_OK; a = a->ai_next) {
        int one = 1, fd = socket(a->ai_family, a->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, a->ai_protocol);
        if (fd >= 0) {
            if (a->ai_family == AF_INET6)
                setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one);
            setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
            if (bind(fd, a->ai_addr, a->ai_addrlen) == 0) {
                res = add(l, protocol, fd, false, backlog, name, msg);
                continue;
            }
        }
        int error = errno;
        if (fd >= 0)
            close(fd);
        if (!optional || (error != EADDRNOTAVAIL && error != EAFNOSUPPORT && error != EPROTONOSUPPORT))
            res = errmsg_set(msg, result_from_errno(error), "cannot listen on %s: %s", name, strerror(error));
    }
    freeaddrinfo(found);
    return res;
}

static enum result open_unix(struct listeners *l, const struct net_options *o, struct errmsg *msg)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    if (strlen(o->unix_path) >= sizeof a.sun_path)
        return errmsg_set(msg, RES_INVALID, "unixsocket %s: the path is longer than %zu bytes", o->unix_path,
                          sizeof a.sun_path - 1);
    strcpy(a.sun_path, o->unix_path);
    struct stat st;
    if (lstat(o->unix_path, &st) == 0 && !S_ISSOCK(st.st_mode))
        return errmsg_set(msg, RES_EXISTS, "unixsocket %s: a file is there that is not a socket", o->unix_path);
    unlink(o->unix_path); /* left behind by an earlier run */
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof a) != 0 ||
        (o->unix_mode != 0 && chmod(o->unix_path, o->unix_mode) != 0)) {
        enum result res =
            errmsg_set(msg, result_from_errno(errno), "cannot listen on %s: %s", o->unix_path, strerror(errno));
        if (fd >= 0)
            close(fd);
        return res;
    }
    l->unix_path = strdup(o->unix_path);
    return l->unix_path == NULL ? RES_NO_MEMORY : add(l, &protocol_resp, fd, true, o->backlog, o->unix_path, msg);
}

void listeners_init(struct listeners *l)
{
    *l = (struct listeners){.spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC)};
}

enum result listeners_add(struct listeners *l, const char *address, const struct protocol *protocol, int backlog,
                          struct errmsg *msg)
{
    const char *colon = strrchr(address, ':');
    char host[256];
    int port = colon == NULL ? 0 : atoi(colon + 1);
    size_t len = colon == NULL ? 0 : (size_t)(colon - address);
    if (len > 1 && address[0] == '[' && colon[-1] == ']')
        address++, len -= 2;
    if (port < 1 || port > 65535 || len >= sizeof host)
        return errmsg_set(msg, RES_INVALID, "cannot listen on %s: it is no address and port", address);
    snprintf(host, sizeof host, "%.*s", (int)len, address);
    return open_tcp(l, protocol, len == 0 ? "*" : host, port, backlog, msg);
}

enum result listeners_open(struct listeners *l, const struct net_options *o, struct errmsg *msg)
{
    listeners_init(l);
    l->port = o->port;
    char *words = strdup(o->bind);
    if (words == NULL)
        return errmsg_set(msg, RES_NO_MEMORY, "no memory for the network");
    const char *binds[BINDS_MAX];
    int count = net_split_binds(words, binds);
    enum result res = RES_OK;
    for (int i = 0; o->port != 0 && i < count && res == RES_OK; i++)
        res = open_tcp(l, &protocol_resp, binds[i], o->port, o->backlog, msg);
    free(words);
    if (res != RES_OK)
        return res;
    if (o->unix_path != NULL && *o->unix_path) {
        res = open_unix(l, o, msg);
        if (res != RES_OK)
            return res;
    }
    if (o->port != 0 && count > 0 && (l->count == 0 || l->item[0].is_unix))
        return errmsg_set(msg, RES_INVALID, "none of the addresses to listen on exists on this machine");
    return RES_OK;
}

static void start(struct listener *item)
{
    event_assign(&item->event, item->all->reactor->base, item->fd, EV_READ | EV_PERSIST, on_connection, item);
    event_add(&item->event, NULL);
}

void listeners_start(struct listeners *l, struct reactor *r)
{
    l->accepting = true;
    l->reactor = r;
    for (int i = 0; i < l->count; i++)
        start(&l->item[i]);
}

/* ---- other addresses while it runs ---- */

static bool is_tcp(const struct listener *item)
{
    return item->fd >= 0 && !item->is_unix && item->protocol == &protocol_resp;
}

void listeners_list(const struct listeners *l, struct listen_row *row)
{
    row->count = 0;
    for (int i = 0; i < l->count; i++)
        if (is_tcp(&l->item[i]))
            row->fd[row->count++] = l->item[i].fd;
}

enum result listen_open(struct listen_row *row, const char *const *binds, int count, int port, int backlog,
                        struct errmsg *msg)
{
    struct listeners fresh = {.count = 0};
    enum result res = RES_OK;
    for (int i = 0; port != 0 && i < count && res == RES_OK; i++)
        res = open_tcp(&fresh, &protocol_resp, binds[i], port, backlog, msg);
    if (res == RES_OK && port != 0 && count > 0 && fresh.count == 0)
        res = errmsg_set(msg, RES_INVALID, "none of the addresses to listen on exists on this machine");
    listeners_list(&fresh, row);
    if (res == RES_OK)
        return RES_OK;
    listen_close(row);
    return res;
}

void listen_close(struct listen_row *row)
{
    for (int i = 0; i < row->count; i++)
        close(row->fd[i]);
    row->count = 0;
}

static struct listener *free_place(struct listeners *l)
{
    for (int i = 0; i < l->count; i++)
        if (l->item[i].fd < 0)
            return &l->item[i];
    if (l->count == LISTENERS_MAX)
        return NULL;
    l->item[l->count] = (struct listener){.fd = -1, .place = l->count, .all = l};
    return &l->item[l->count++];
}

void listeners_exchange(struct listeners *l, struct listen_row *row)
{
    if (!l->accepting) { /* the server ends */
        listen_close(row);
        return;
    }
    for (int i = 0; i < l->count; i++)
        if (is_tcp(&l->item[i])) {
            event_del(&l->item[i].event);
            close(l->item[i].fd);
            l->item[i].fd = -1;
        }
    for (int i = 0; i < row->count; i++) {
        struct listener *item = free_place(l);
        if (item == NULL) { /* beside those of other protocols */
            log_warning("more than %d addresses to listen on", LISTENERS_MAX);
            close(row->fd[i]);
            continue;
        }
        item->fd = row->fd[i];
        item->is_unix = false;
        item->protocol = &protocol_resp;
        start(item);
    }
}

void listeners_stop(struct listeners *l)
{
    if (!l->accepting)
        return;
    l->accepting = false;
    for (int i = 0; i < l->count; i++) {
        if (l->item[i].fd < 0)
            continue;
        event_del(&l->item[i].event);
        close(l->item[i].fd);
    }
    l->count = 0;
    if (l->unix_path != NULL)
        unlink(l->unix_path); /* the name itself stays until nobody asks a connection for its address any more */
}

void listeners_close(struct listeners *l)
{
    for (int i = 0; i < l->count; i++)
        if (l->item[i].fd >= 0)
            close(l->item[i].fd);
    if (l->unix_path != NULL && l->count > 0)
        unlink(l->unix_path);
    free(l->unix_path);
    if (l->spare_fd >= 0)
        close(l->spare_fd);
    *l = (struct listeners){.spare_fd = -1, .port = l->port};
}

/* ---- letting in ---- */

static bool is_local(const struct sockaddr_storage *a)
{
    if (a->ss_family == AF_INET)
        return ntohl(((const struct sockaddr_in *)a)->sin_addr.s_addr) >> 24 == 127;
    if (a->ss_family == AF_INET6) {
        const struct in6_addr *ip = &((const struct sockaddr_in6 *)a)->sin6_addr;
        return IN6_IS_ADDR_LOOPBACK(ip) || (IN6_IS_ADDR_V4MAPPED(ip) && ip->s6_addr[12] == 127);
    }
    return a->ss_family == AF_UNIX;
}

static void turn_away(struct reactor *r, int fd, const char *text)
{
    ssize_t sent = send(fd, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT);
    (void)sent;
    close(fd);
    atomic_fetch_add_explicit(r->is_http ? &r->net->http_rejected : &r->net->rejected, 1, memory_order_relaxed);
}

static void complain(struct listeners *l, const char *why)
{
    uint64_t now = reactor_clock_ms();
    if (now - l->last_complaint_ms < 1000)
        return;
    l->last_complaint_ms = now;
    log_warning("clients are turned away: %s", why);
}

static void no_descriptors(struct listener *item)
{
    struct listeners *l = item->all;
    complain(l, "no file descriptors left");
    if (l->spare_fd < 0)
        return;
    close(l->spare_fd);
    int fd = accept4(item->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0)
        turn_away(l->reactor, fd, item->protocol->full);
    l->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

bool listener_accept(const struct listener *item, struct newcomer *who, bool *stranger)
{
    struct sockaddr_storage a;
    socklen_t len = sizeof a;
    memset(&a, 0, sizeof a);
    int fd = accept4(item->fd, (struct sockaddr *)&a, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0)
        return false;
    *who = (struct newcomer){.protocol = item->protocol, .fd = fd, .is_unix = item->is_unix};
    address_name(&a, who->peer, sizeof who->peer, &who->port);
    *stranger = !item->is_unix && !is_local(&a);
    return true;
}

static void on_connection(evutil_socket_t listen_fd, short what, void *arg)
{
    (void)listen_fd, (void)what;
    struct listener *item = arg;
    struct reactor *r = item->all->reactor;
    reactor_take_tuning(r); /* a password set a moment ago counts for whoever comes now */
    const struct net_tuning *tuning = &r->tuning;
    for (int i = 0; i < ACCEPTS_IN_A_ROW; i++) {
        struct newcomer who;
        bool stranger;
        if (!listener_accept(item, &who, &stranger)) {
            if (errno == ECONNABORTED)
                continue;
            if (errno == EMFILE || errno == ENFILE)
                no_descriptors(item);
            return;
        }
        if (atomic_load_explicit(reactor_clients(r), memory_order_relaxed) >= tuning->max_clients) {
            complain(item->all, "maxclients is reached");
            turn_away(r, who.fd, item->protocol->full);
        } else if (stranger && tuning->protected_mode && !tuning->password_set) {
            turn_away(r, who.fd, item->protocol->denied);
        } else {
            net_accepted(r, &who);
        }
    }
}
