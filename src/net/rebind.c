/* CONFIG SET bind and port: other sockets to listen on, while the server runs.
 *
 * Whoever changes settings opens them, and the reactor that accepts takes them over when it comes to it; those who connect
 * meanwhile wait in the kernel. The old sockets stop listening before, because an address may be among both. That can be undone:
 * a socket that was shut down keeps its address, and listens again. */
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/log.h"
#include "net/net_internal.h"

struct exchange {
    struct mail mail;
    struct net *net;
    struct listen_row row;
};

static void take_over(struct reactor *r, struct mail *m)
{
    struct exchange *x = (struct exchange *)m;
    (void)r;
    listeners_exchange(&x->net->listeners, &x->row);
    free(x);
}

int net_split_binds(char *words, const char *binds[BINDS_MAX])
{
    char *save = NULL;
    int count = 0;
    for (char *word = strtok_r(words, " ", &save); word != NULL && count < BINDS_MAX; word = strtok_r(NULL, " ", &save))
        binds[count++] = word;
    return count;
}

static enum result exchange(struct net *n, const char *bind, int port, struct errmsg *msg)
{
    struct exchange *x = calloc(1, sizeof *x);
    char *words = strdup(bind), *kept = strdup(bind);
    const char *binds[BINDS_MAX];
    struct listen_row *old = &n->bound.row;
    enum result res = x && words && kept ? RES_OK : errmsg_set(msg, RES_NO_MEMORY, "out of memory");
    if (res == RES_OK) {
        for (int i = 0; i < old->count; i++)
            shutdown(old->fd[i], SHUT_RDWR);
        res = listen_open(&x->row, binds, net_split_binds(words, binds), port, n->bound.backlog, msg);
        for (int i = 0; res != RES_OK && i < old->count; i++)
            if (listen(old->fd[i], n->bound.backlog) != 0)
                log_warning("an address that was listened on is lost: %s", strerror(errno));
    }
    free(words);
    if (res != RES_OK) {
        free(kept);
        free(x);
        return res;
    }
    free(n->bound.bind);
    n->bound.bind = kept;
    n->bound.row = x->row;
    __atomic_store_n(&n->listeners.port, port, __ATOMIC_RELAXED);
    x->mail.deliver = take_over;
    x->net = n;
    reactor_post(&n->reactors[0], &x->mail);
    return RES_OK;
}

enum result net_listen(struct net *n, const char *bind, int port, struct errmsg *msg)
{
    enum result res = RES_OK;
    os_mutex_lock(&n->bound.lock);
    if (n->bound.ended)
        res = errmsg_set(msg, RES_CLOSED, "the server ends");
    else if (port != n->listeners.port || strcmp(bind, n->bound.bind) != 0)
        res = exchange(n, bind, port, msg);
    os_mutex_unlock(&n->bound.lock);
    return res;
}

void net_stop_listening(struct net *n)
{
    os_mutex_lock(&n->bound.lock);
    n->bound.ended = true;
    os_mutex_unlock(&n->bound.lock);
}
