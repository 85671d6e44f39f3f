/* A reply in RESP2 bytes, as the RESP writer made it, said once more to another sink: commands that were away come back as
 * bytes (exec/session.h), whatever protocol their client speaks. */
#ifndef VARVE_EXEC_RESP_REPLAY_H
#define VARVE_EXEC_RESP_REPLAY_H

#include "exec/sink.h"

/* A long bulk whose bytes are not there (session_ops.stream): gives its source for the place behind its head, or NULL. */
typedef struct sink_source *resp_hole_fn(void *arg, size_t at);
/* false: these are no whole reply, and the sink has got a part of one. hole may be NULL. */
bool resp_replay(struct slice bytes, struct sink *to, resp_hole_fn *hole, void *arg) MUST_CHECK;

#endif
