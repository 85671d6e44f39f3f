/* JSON and base64 as text to write. (JSON that is read as a tree is jansson's.) */
#ifndef VARVE_PROTO_JSON_H
#define VARVE_PROTO_JSON_H

#include "base/buf.h"

/* Appends a string with its quotes. Bytes that are no UTF-8 become U+FFFD, one each. */
enum result json_put_string(struct buf *out, struct slice text) MUST_CHECK;
enum result base64_put(struct buf *out, struct slice bytes) MUST_CHECK;
/* Strict but for missing padding; false: it is no base64. *len is at most text.len / 4 * 3 + 2. */
bool base64_decode(struct slice text, uint8_t *out, size_t *len);

#endif
