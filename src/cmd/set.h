/* What the files of set commands share: adding members, with the encoding that Redis would have. A set that Redis would keep
 * as an intset is sorted by number while it is inline. */
#ifndef VARVE_CMD_SET_H
#define VARVE_CMD_SET_H

#include "cmd/collection.h"

/* For a new set, of which about `hint` members will come, `first` first; and for one that is there. */
enum object_encoding set_first_encoding(const struct call *c, struct slice first, uint64_t hint);
void set_expect(struct elements *e, uint64_t hint);
enum result set_add(struct elements *e, struct slice member, bool *added) MUST_CHECK;
/* A member that is known not to be there. */
enum result set_add_new(struct elements *e, struct slice member) MUST_CHECK;
/* Many of them, for a set that replaces another: with the encoding to which they would bring it one by one. */
enum result set_fill(struct elements *e, const struct element *in, const struct member_order *order) MUST_CHECK;
/* All members are integers: an intset, if there are not too many. */
enum result set_becomes_intset(struct elements *e) MUST_CHECK;
/* All members as the reply to a command that names the set in its first argument; and as elements of one, without their
 * number. */
enum result set_reply(struct elements *e) MUST_CHECK;
enum result set_reply_members(struct elements *e) MUST_CHECK;

#endif
