/* What a client asks to learn whether it talks to a cluster or a replica: it does not. CLUSTER and its companions answer
 * as Redis does outside of cluster mode, ROLE as a master without replicas. */
#include "cmd/declare.h"
#include "exec/call.h"

static enum result no_cluster(struct call *c)
{
    return reply_error(c->reply, "ERR This instance has cluster support disabled");
}

static enum result role(struct call *c)
{
    reply_array(c->reply, 3);
    reply_bulk_str(c->reply, "master");
    reply_integer(c->reply, 0);
    reply_array(c->reply, 0);
    return RES_OK;
}

const struct command cmd_cluster = {
    .name = "cluster",
    .arity = -2,
    .flags = CMD_LOADING | CMD_STALE | CMD_SESSION,
    .group = "cluster",
    .since = "3.0.0",
    .complexity = "O(1)",
    .summary = "Answers that there is no cluster.",
    .run = no_cluster,
};

const struct command cmd_readonly = {
    .name = "readonly",
    .arity = 1,
    .flags = CMD_FAST | CMD_LOADING | CMD_STALE | CMD_SESSION,
    .acl = ACL_CONNECTION,
    .group = "cluster",
    .since = "3.0.0",
    .complexity = "O(1)",
    .summary = "Answers that there is no cluster.",
    .run = no_cluster,
};

const struct command cmd_readwrite = {
    .name = "readwrite",
    .arity = 1,
    .flags = CMD_FAST | CMD_LOADING | CMD_STALE | CMD_SESSION,
    .acl = ACL_CONNECTION,
    .group = "cluster",
    .since = "3.0.0",
    .complexity = "O(1)",
    .summary = "Answers that there is no cluster.",
    .run = no_cluster,
};

const struct command cmd_role = {
    .name = "role",
    .arity = 1,
    .flags = CMD_NOSCRIPT | CMD_LOADING | CMD_STALE | CMD_FAST | CMD_SESSION,
    .acl = ACL_DANGEROUS,
    .group = "server",
    .since = "2.8.12",
    .complexity = "O(1)",
    .summary = "Returns the server's part in replication: a master without replicas.",
    .run = role,
};
