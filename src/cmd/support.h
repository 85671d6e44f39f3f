/* What handlers share: arguments read as numbers, words and keys, with the errors that clients know. */
#ifndef VARVE_CMD_SUPPORT_H
#define VARVE_CMD_SUPPORT_H

#include "store/store.h"

static inline bool arg_is(const struct call *c, int i, const char *lower) { return slice_eq_nocase(c->argv[i], lower); }
/* False: the error is replied ("value is not an integer or out of range"). */
bool arg_i64(struct call *c, int i, int64_t *out);
/* The same with an error of the command's own. */
bool arg_i64_or(struct call *c, int i, int64_t *out, const char *error);

/* The same within bounds; another integer gets the error that names them. */
bool arg_i64_within(struct call *c, int i, int64_t low, int64_t high, int64_t *out);
/* The same from 0 on ("value is out of range, must be positive"). */
bool arg_count(struct call *c, int i, int64_t *out);

/* The key at argument i in the session's database. */
static inline enum result arg_key(struct call *c, int i, struct store_key *key)
{
    return store_key_init(c, c->session->db, c->argv[i], key);
}
/* An event of this key. */
static inline MUST_CHECK enum result key_event(struct call *c, enum event_class event_class, const char *name,
                                               const struct store_key *key)
{
    return call_event(c, event_class, name, key->db, key->user);
}
/* store_delete() and its event, "del". */
enum result delete_key(struct call *c, struct object *o) MUST_CHECK;
/* store_set_string() and its events. */
enum result set_key(struct call *c, struct object *o, struct slice value, uint64_t expire_ms, int flags) MUST_CHECK;
/* A string to read or write. *ready is false when the reply has been given: WRONGTYPE, and for find_string null. */
enum result read_string(struct call *c, int i, struct store_key *key, struct object *o, bool *ready) MUST_CHECK;
enum result write_string(struct call *c, int i, struct store_key *key, struct object *o, bool *ready) MUST_CHECK;
/* Missing: replies null. */
enum result find_string(struct call *c, int i, struct store_key *key, struct object *o, bool *ready) MUST_CHECK;
enum result find_string_to_write(struct call *c, int i, struct store_key *key, struct object *o, bool *ready)
    MUST_CHECK;

/* Units of a time argument. */
enum time_unit { TIME_SECONDS, TIME_MS };
/* argv[i] as an absolute time in ms: relative times count from now. It must be positive and fit, else the error
 * "invalid expire time in 'command' command" is replied and false returned. */
bool arg_expire_time(struct call *c, int i, enum time_unit unit, bool relative, uint64_t *ms);
enum result reply_invalid_expire(struct call *c);
/* How long a blocking command waits, in seconds with a fraction; 0: for ever. False: the error is replied. */
bool arg_timeout(struct call *c, int i, uint64_t *ms);

/* Takes the same time wherever the first difference is, and tells nothing about lengths but by the given one. */
bool same_secret(struct slice given, const char *secret);

/* Would a string of size + more bytes be too long? Then the error is replied. */
bool string_too_long(struct call *c, uint64_t size, uint64_t more);
uint64_t string_limit(const struct call *c);

#endif
