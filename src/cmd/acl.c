/* Categories of commands: see acl.h. */
#include "cmd/acl.h"

#include <assert.h>

enum acl_category {
    IN_KEYSPACE,
    IN_READ,
    IN_WRITE,
    IN_SET,
    IN_SORTEDSET,
    IN_LIST,
    IN_HASH,
    IN_STRING,
    IN_BITMAP,
    IN_HYPERLOGLOG,
    IN_GEO,
    IN_STREAM,
    IN_PUBSUB,
    IN_ADMIN,
    IN_FAST,
    IN_SLOW,
    IN_BLOCKING,
    IN_DANGEROUS,
    IN_CONNECTION,
    IN_TRANSACTION,
    IN_SCRIPTING,
};
static const struct {
    const char *name;
    uint32_t declared; /* the declaration's bit; 0: follows from flags */
} categories[ACL_CATEGORY_COUNT] = {
    [IN_KEYSPACE] = {"keyspace", ACL_KEYSPACE},
    [IN_READ] = {"read", 0},
    [IN_WRITE] = {"write", 0},
    [IN_SET] = {"set", ACL_SET},
    [IN_SORTEDSET] = {"sortedset", ACL_SORTEDSET},
    [IN_LIST] = {"list", ACL_LIST},
    [IN_HASH] = {"hash", ACL_HASH},
    [IN_STRING] = {"string", ACL_STRING},
    [IN_BITMAP] = {"bitmap", ACL_BITMAP},
    [IN_HYPERLOGLOG] = {"hyperloglog", ACL_HYPERLOGLOG},
    [IN_GEO] = {"geo", ACL_GEO},
    [IN_STREAM] = {"stream", ACL_STREAM},
    [IN_PUBSUB] = {"pubsub", 0},
    [IN_ADMIN] = {"admin", ACL_ADMIN},
    [IN_FAST] = {"fast", 0},
    [IN_SLOW] = {"slow", 0},
    [IN_BLOCKING] = {"blocking", ACL_BLOCKING},
    [IN_DANGEROUS] = {"dangerous", ACL_DANGEROUS},
    [IN_CONNECTION] = {"connection", ACL_CONNECTION},
    [IN_TRANSACTION] = {"transaction", ACL_TRANSACTION},
    [IN_SCRIPTING] = {"scripting", ACL_SCRIPTING},
};

const char *acl_category_name(int category)
{
    assert(category >= 0 && category < ACL_CATEGORY_COUNT);
    return categories[category].name;
}

int acl_category_by_name(struct slice name)
{
    for (int i = 0; i < ACL_CATEGORY_COUNT; i++)
        if (slice_eq_nocase(name, categories[i].name))
            return i;
    return -1;
}

uint32_t command_acl_categories(const struct command *cmd)
{
    uint32_t in = 0;
    for (int i = 0; i < ACL_CATEGORY_COUNT; i++)
        if (cmd->acl & categories[i].declared)
            in |= UINT32_C(1) << i;
    if (cmd->flags & CMD_WRITE)
        in |= 1 << IN_WRITE;
    if (cmd->flags & CMD_READONLY && !(cmd->acl & ACL_SCRIPTING))
        in |= 1 << IN_READ;
    if (cmd->flags & CMD_ADMIN)
        in |= 1 << IN_ADMIN | 1 << IN_DANGEROUS;
    if (cmd->flags & CMD_PUBSUB)
        in |= 1 << IN_PUBSUB;
    if (cmd->flags & CMD_BLOCKING)
        in |= 1 << IN_BLOCKING;
    return in | (cmd->flags & CMD_FAST ? 1 << IN_FAST : 1 << IN_SLOW);
}
