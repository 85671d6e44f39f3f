/* The data types, in one place: how each is read from a server, how it stands in a line of JSON and in RESP, and how it is
 * stored again. A new type is one row of the table in types.c. */
#ifndef VARVE_KVCTL_TYPES_H
#define VARVE_KVCTL_TYPES_H

#include "tools/kvctl/json.h"
#include "tools/kvctl/kvctl.h"

#define DATA_WHOLE_MOST 65536 /* elements that are read, written and stored at once; more are moved in parts */
#define DATA_PART 8192        /* elements of a part */

struct data_type {
    const char *name;
    const char *read;  /* command that answers with the whole: its words, KEY for the key */
    const char *count; /* one that answers how many elements there are; NULL: it has none */
    const char *part;  /* one that answers with a part: FROM a place TO another, or FROM a cursor */
    const char *write; /* command that stores elements behind the key */
    int arity;         /* strings an element has; 0: the value is one string */
    bool swapped;      /* they are written the other way round than they are read (ZADD) */
    bool places;       /* parts are places of a list; else cursors of a scan */
    bool expires;      /* elements may expire by themselves, where the server can do that */
};
/* By the name that TYPE answers; NULL: this program cannot move it. */
const struct data_type *data_type_find(struct slice name);

/* Sends one of the commands above. from, to: what its words FROM and TO stand for. */
int data_type_ask(const char *command, redisContext *c, struct slice key, const char *from, const char *to);

/* A key, or a part of one. */
struct data_value {
    const struct data_type *type;
    struct slice key;
    uint64_t expire_ms; /* since 1970; 0: never */
    bool append;        /* what a part before it has stored stays */
    size_t count;       /* strings: arity for each element, or one */
    const struct slice *item;
    const uint64_t *item_expires; /* for each element, as expire_ms; NULL: none does */
};
/* The strings of a reply that has them one after the other; they stay the reply's. RES_NOT_FOUND: the key is gone;
 * RES_INVALID: it is a reply of something else. */
enum result data_items(const struct data_type *t, const redisReply *reply, struct buf *room, size_t *count) MUST_CHECK;
/* A line of JSON, or RESP commands that store the key, at the end of out. */
enum result data_to_json(const struct data_value *v, struct buf *out) MUST_CHECK;
enum result data_to_resp(const struct data_value *v, struct buf *out, unsigned *commands) MUST_CHECK;
/* A line of JSON as RESP commands. *append: it goes on with the key of the line before. RES_INVALID: *error says what is
 * wrong. types_line.c */
enum result data_from_json(struct slice line, struct buf *out, unsigned *commands, bool *append, const char **error)
    MUST_CHECK;

#endif
