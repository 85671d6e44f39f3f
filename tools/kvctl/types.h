/* The data types, in one place: how each is read from a server, how it stands in a line of JSON and in RESP, and how it is
 * stored again. A new type is one row of the table in types.c. */
#ifndef VARVE_KVCTL_TYPES_H
#define VARVE_KVCTL_TYPES_H

#include "tools/kvctl/json.h"
#include "tools/kvctl/kvctl.h"

struct data_type;
/* By the name that TYPE answers; NULL: this program cannot move it. */
const struct data_type *data_type_find(struct slice name);
const char *data_type_name(const struct data_type *t);

/* Sends the command that reads a key whole; its reply goes to one of the next two. */
int data_type_ask(const struct data_type *t, redisContext *c, struct slice key);
/* A line of JSON, or RESP commands that store the key, at the end of out. expire_ms 0: never. RES_NOT_FOUND: the reply is
 * that of a key that is gone; RES_INVALID: of something else. */
enum result data_type_to_json(const struct data_type *t, struct buf *out, struct slice key, uint64_t expire_ms,
                              const redisReply *value) MUST_CHECK;
enum result data_type_to_resp(const struct data_type *t, struct buf *out, struct slice key, uint64_t expire_ms,
                              const redisReply *value) MUST_CHECK;
/* A line of JSON as RESP commands. *commands: how many. RES_INVALID: *error says what is wrong. */
enum result data_type_from_json(struct slice line, struct buf *out, unsigned *commands, const char **error) MUST_CHECK;

#endif
