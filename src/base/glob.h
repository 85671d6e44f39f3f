/* Redis' glob patterns: * ? [abc] [^a-z] and \ to quote. */
#ifndef VARVE_BASE_GLOB_H
#define VARVE_BASE_GLOB_H

#include "base/slice.h"

/* True when the whole text matches. No memory, and time bounded by pattern length times text length, linear for stars
 * between plain bytes: no exponential backtracking, whatever the pattern. Callers of Redis' commands treat the pattern
 * "*" as "everything", and so does this. */
bool glob_match(struct slice pattern, struct slice text, bool ignore_case);
/* The literal prefix every match must start with (possibly empty), without quoting: NULL data never. out has room for
 * pattern.len bytes; returns the prefix length. *exact is set when the pattern has no wildcard at all. */
size_t glob_prefix(struct slice pattern, uint8_t *out, bool *exact);

#endif
