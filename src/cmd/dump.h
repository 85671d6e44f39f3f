/* A value as DUMP gives it. */
#ifndef VARVE_CMD_DUMP_H
#define VARVE_CMD_DUMP_H

#include "base/buf.h"
#include "cmd/support.h"

/* Appends the payload of an object that is there. */
enum result dump_object(struct call *c, struct object *o, struct buf *out) MUST_CHECK;

#endif
