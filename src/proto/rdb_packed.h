/* Elements inside of one string: see rdb_packed.c. */
#ifndef VARVE_PROTO_RDB_PACKED_H
#define VARVE_PROTO_RDB_PACKED_H

#include "proto/rdb.h"

/* RES_CORRUPT: it is none. */
enum result packed_open(struct rdb_packed *p, int form, struct slice blob) MUST_CHECK;
/* The next entry, as text: borrowed from the blob, or digits in the arena. RES_NOT_FOUND behind the last. */
enum result packed_next(struct rdb_packed *p, struct arena *arena, struct slice *text) MUST_CHECK;

#endif
