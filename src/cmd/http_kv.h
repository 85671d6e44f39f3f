/* Commands that HTTP needs and Redis has no words for: a value with what HTTP says about it, and writes under conditions.
 * They are no commands of the table: nobody can send them. Each is counted, prefetched, logged and shown by MONITOR as the
 * Redis command whose work it does (GET, SET, DEL), and runs as that does. */
#ifndef VARVE_CMD_HTTP_KV_H
#define VARVE_CMD_HTTP_KV_H

#include "exec/command.h"

enum http_kv {
    /* GET key ["version"]: null, or [value-of-pttl (-1: none), version (0 unless asked for), content type, value] */
    HTTP_KV_READ,
    /* SET key value ms (0: for ever) content-type if-match if-none-match: null (the condition does not hold), or
     * [1 created, 0 replaced; version] */
    HTTP_KV_WRITE,
    /* DEL key if-match if-none-match: null, or 1 or 0 */
    HTTP_KV_REMOVE,
    HTTP_KV_COUNT
};

void http_kv_init(void); /* after command_table_init(), before threads start */
const struct command_entry *http_kv_entry(enum http_kv which);

/* Is the version among those of an If-Match or If-None-Match field ("\"16 hex digits\", ...")? weak: W/ is passed over,
 * else such an entry never matches. '*' is the caller's to know. */
bool http_etag_listed(struct slice field, uint64_t version, bool weak);

#endif
