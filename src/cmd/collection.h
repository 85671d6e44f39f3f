/* What commands on collections share: opening one by an argument, finishing it with its events, going through its members
 * for the *SCAN commands, and results that are gathered before their number can be told. */
#ifndef VARVE_CMD_COLLECTION_H
#define VARVE_CMD_COLLECTION_H

#include "cmd/support.h"
#include "store/elements.h"

/* A key with its elements. Not to be moved: they point at each other. */
struct collection {
    struct store_key key;
    struct object o;
    struct elements e;
};
/* *ready is false when WRONGTYPE has been replied. A missing key is an empty collection (x->o.exists). */
enum result collection_read(struct call *c, struct slice name, const struct elements_kind *kind, struct collection *x,
                            bool *ready) MUST_CHECK;
enum result collection_write(struct call *c, struct slice name, const struct elements_kind *kind, struct collection *x,
                             bool *ready) MUST_CHECK;
/* elements_finish; if anything was changed the event, and "del" when nothing is left. */
enum result collection_finish(struct collection *x, enum event_class event_class, const char *event) MUST_CHECK;
/* For *STORE: what was built by elements_replace takes the key's place, or deletes it when there is nothing; events. */
enum result collection_store(struct collection *x, enum event_class event_class, const char *event) MUST_CHECK;

/* ---- results whose number comes first in the reply ---- */

struct gathered {
    struct gathered_one *first, **last;
    size_t count;
};
static inline void gather_init(struct gathered *g) { *g = (struct gathered){.last = &g->first}; }
enum result gather(struct call *c, struct gathered *g, struct slice bytes) MUST_CHECK; /* a copy */
void reply_gathered(struct call *c, const struct gathered *g);                         /* the bulks, without a head */

/* ---- SCAN and its like ---- */

struct scan_options {
    struct slice pattern;
    bool all;              /* the pattern is "*" */
    bool typed;            /* only keys of `type`: SCAN alone takes it */
    enum object_type type; /* TYPE_COUNT: of no type there is */
    uint64_t count;
};
/* False: an error is replied. */
bool scan_cursor(struct call *c, struct slice text, uint64_t *out);
bool scan_options(struct call *c, int from, bool takes_type, struct scan_options *out);
bool scan_wants(const struct scan_options *o, struct slice name);
void reply_scan(struct call *c, uint64_t cursor, const struct gathered *found);
/* HSCAN, SSCAN, ZSCAN whole. show() gathers what is replied for a member. */
typedef enum result scan_show_fn(struct call *c, struct gathered *found, const struct element *element);
enum result scan_members(struct call *c, const struct elements_kind *kind, member_filter *may, scan_show_fn *show)
    MUST_CHECK;

extern const struct command_arg args_member_scan[]; /* key cursor [MATCH pattern] [COUNT count] */

#endif
