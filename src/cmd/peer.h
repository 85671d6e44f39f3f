/* Another server, spoken to by a command on a thread that may wait. Each step has the whole of the time limit, as in Redis;
 * all give up when the server ends. */
#ifndef VARVE_CMD_PEER_H
#define VARVE_CMD_PEER_H

#include "base/buf.h"
#include "exec/call.h"

struct peer {
    struct call *c;
    int fd; /* -1: none */
    uint64_t limit_ms;
    struct buf in; /* read and not yet taken */
    size_t taken;
};
/* RES_IO for every failure, time included; RES_CLOSED: the connection was refused. */
enum result peer_connect(struct peer *p, struct call *c, struct slice host, struct slice port, uint64_t limit_ms)
    MUST_CHECK;
enum result peer_write(struct peer *p, struct slice bytes) MUST_CHECK;
/* A line without its end; borrowed until the next one. */
enum result peer_read_line(struct peer *p, struct slice *line) MUST_CHECK;
void peer_close(struct peer *p);

#endif
