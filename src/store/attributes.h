/* What a string carries beside its bytes: small attributes in its metadata record (docs/formats.md), written by protocols that
 * have them and cleared by every command that writes the string anew; and its version, a hash of content and attributes, which
 * therefore needs no storage and is the same after a restart and in every engine: ETag and CAS. */
#ifndef VARVE_STORE_ATTRIBUTES_H
#define VARVE_STORE_ATTRIBUTES_H

#include "store/store.h"

enum attribute_type {
    ATTRIBUTE_FLAGS = 1,        /* memcached's, four bytes, big-endian */
    ATTRIBUTE_CONTENT_TYPE = 2, /* HTTP's, as sent */
};
#define ATTRIBUTE_MAX 255

/* Empty: there is none. */
struct slice attribute_get(struct slice attributes, enum attribute_type type);
/* attributes holding this one alone, in `room` (ATTRIBUTE_MAX + 3 bytes): goes into object.attributes, for
 * store_set_string with PUT_KEEP_ATTRIBUTES. An empty value: none. */
struct slice attribute_only(enum attribute_type type, struct slice value, uint8_t *room);

/* Never 0. */
uint64_t string_version(struct slice value, struct slice attributes);
/* Of a string that is stored, whatever its shape. RES_WOULD_BLOCK: it is cold, or long. */
enum result store_string_version(struct call *c, const struct object *o, uint64_t *out) MUST_CHECK;

#endif
