/* JSON as far as kvctl needs it: strings of any bytes, and one object a line read back.
 *
 * JSON's strings are Unicode. Bytes that are valid UTF-8 are written as a string; others as {"base64":"..."}, so that
 * every value comes back byte for byte. */
#ifndef VARVE_KVCTL_JSON_H
#define VARVE_KVCTL_JSON_H

#include "base/buf.h"

bool json_is_utf8(struct slice s);
enum result json_put_string(struct buf *out, struct slice bytes) MUST_CHECK;

/* A parser over one text. Every function skips white space first and returns false when what stands there is something
 * else; then `error` says what was expected. */
struct json {
    const uint8_t *p, *end;
    const char *error;
};
void json_init(struct json *j, struct slice text);
bool json_take(struct json *j, char punctuation); /* this character, or false without an error */
bool json_expect(struct json *j, char punctuation);
bool json_end(struct json *j);
bool json_word(struct json *j, const char *word); /* true, false, null */
/* A string, or {"base64":"..."}: its bytes at the end of out. */
bool json_bytes(struct json *j, struct buf *out);
bool json_integer(struct json *j, int64_t *out);

#endif
