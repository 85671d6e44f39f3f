/* The connection to the server. */
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "tools/kvctl/kvctl.h"

#define CONNECT_SECONDS 10

static int cannot(const struct kvctl *k, const char *why)
{
    if (k->socket)
        (void)complain("cannot connect to %s: %s", k->socket, why);
    else
        (void)complain("cannot connect to %s port %d: %s", k->host, k->port, why);
    return KVCTL_NO_CONNECTION;
}

/* AUTH and SELECT. A server that ends the connection instead (protected mode, too many clients) says why first. */
static int introduce(const struct kvctl *k, redisContext *c)
{
    redisReply *r = NULL;
    if (k->password && k->user)
        r = redisCommand(c, "AUTH %s %s", k->user, k->password);
    else if (k->password)
        r = redisCommand(c, "AUTH %s", k->password);
    if (k->password && !r)
        return cannot(k, c->errstr);
    if (r && r->type == REDIS_REPLY_ERROR)
        return client_refused(r);
    freeReplyObject(r);
    if (k->db == 0)
        return 0;
    r = redisCommand(c, "SELECT %d", k->db);
    if (!r)
        return cannot(k, c->errstr);
    int status = client_refused(r);
    if (status == 0)
        freeReplyObject(r);
    return status;
}

int client_open(const struct kvctl *k, redisContext **out)
{
    struct timeval patience = {.tv_sec = CONNECT_SECONDS};
    redisContext *c = k->socket ? redisConnectUnixWithTimeout(k->socket, patience)
                                : redisConnectWithTimeout(k->host, k->port, patience);
    *out = NULL;
    if (!c || c->err) {
        int status = cannot(k, c ? c->errstr : "no memory");
        if (c)
            redisFree(c);
        return status;
    }
    if (!k->socket) /* it would fail, and take the connection with it */
        redisEnableKeepAlive(c);
    c->reader->maxbuf = 0; /* keep the buffer between replies */
    int status = introduce(k, c);
    if (status != 0) {
        redisFree(c);
        return status;
    }
    *out = c;
    return 0;
}

int client_connect(struct kvctl *k) { return client_open(k, &k->redis); }

int client_refused(redisReply *r)
{
    if (r->type != REDIS_REPLY_ERROR)
        return 0;
    (void)complain("the server says: %s", r->str);
    freeReplyObject(r);
    return KVCTL_ERROR;
}

static redisReply *whole(struct kvctl *k, redisReply *r)
{
    if (!r)
        (void)complain("the connection broke: %s", k->redis->errstr);
    return r;
}

redisReply *client_call(struct kvctl *k, int argc, const char **argv, const size_t *lens)
{
    return whole(k, redisCommandArgv(k->redis, argc, argv, lens));
}

redisReply *client_callf(struct kvctl *k, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    redisReply *r = redisvCommand(k->redis, fmt, ap);
    va_end(ap);
    return whole(k, r);
}
