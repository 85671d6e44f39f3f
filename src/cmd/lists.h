/* What the files of list commands share. */
#ifndef VARVE_CMD_LISTS_H
#define VARVE_CMD_LISTS_H

#include "cmd/support.h"
#include "store/list.h"

/* A key with its list. Not to be moved: they point at each other. */
struct list_key {
    struct store_key key;
    struct object o;
    struct list list;
};
/* *ready is false when WRONGTYPE has been replied. A missing key is an empty list (x->o.exists). */
enum result list_key_read(struct call *c, struct slice name, struct list_key *x, bool *ready) MUST_CHECK;
enum result list_key_write(struct call *c, struct slice name, struct list_key *x, bool *ready) MUST_CHECK;
/* The list of x->o, which is one or missing. */
enum result list_key_open(struct call *c, struct list_key *x) MUST_CHECK;
/* Writes what has changed, with the event, and "del" when nothing is left. */
enum result list_key_finish(struct list_key *x, const char *event) MUST_CHECK;
/* A new list in the place of what o is, with the encoding that Redis' comes to while it is made of nodes: SORT with STORE,
 * RESTORE. Short elements are gathered until they fill a block. */
struct list_builder {
    struct list list; /* first */
    size_t waiting;
    uint64_t waiting_bytes; /* as entries of Redis' listpack */
    struct slice element[LIST_BLOCK];
    uint8_t bytes[LIST_BLOCK][LIST_SHORT];
};
void list_build(struct list_builder *b, struct call *c, struct object *o);
enum result list_build_add(struct list_builder *b, struct slice value) MUST_CHECK;
enum result list_build_finish(struct list_builder *b) MUST_CHECK;
static inline const char *list_pop_event(enum list_end end) { return end == LIST_HEAD ? "lpop" : "rpop"; }
static inline const char *list_push_event(enum list_end end) { return end == LIST_HEAD ? "lpush" : "rpush"; }

/* LEFT or RIGHT; false: a syntax error is replied. */
bool arg_list_end(struct call *c, int i, enum list_end *end);
/* An element from the list at argument `from`, which is x and has some, to that at argument 2: replied. */
enum result list_move(struct call *c, struct list_key *x, enum list_end from, enum list_end to) MUST_CHECK;
/* Pops at most n elements, replies with them in an array, tells the events. */
enum result list_pop_many(struct call *c, struct list_key *x, enum list_end end, uint64_t n) MUST_CHECK;

/* What LMPOP and BLMPOP say: the keys stand from first_key on. */
struct mpop_args {
    int first_key, keys;
    enum list_end end;
    int64_t count;
};
/* numkeys at argument i, and all behind it. False: an error is replied. */
bool arg_mpop(struct call *c, int i, struct mpop_args *out);
/* The reply of both: the key and what was popped. */
enum result list_reply_mpop(struct call *c, struct list_key *x, const struct mpop_args *a) MUST_CHECK;

extern const struct command_arg args_list_end[]; /* LEFT | RIGHT */
extern const struct command_keyspec keys_list_move[];

#endif
