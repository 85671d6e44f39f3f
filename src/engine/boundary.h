/* The boundary that an engine keeps (engine.h): for whoever opens it, and for a checkpoint. */
#ifndef VARVE_ENGINE_BOUNDARY_H
#define VARVE_ENGINE_BOUNDARY_H

#include "base/buf.h"
#include "engine/engine.h"

struct kept_boundary {
    uint64_t sequence;
    struct buf state;
};
static inline struct engine_boundary boundary_of(const struct kept_boundary *k)
{
    return (struct engine_boundary){k->sequence, buf_slice(&k->state)};
}
static inline void boundary_fini(struct kept_boundary *k) { buf_fini(&k->state); }
/* Room for the state of the next one, so that boundary_keep cannot fail. */
enum result boundary_reserve(struct kept_boundary *k, const struct engine_boundary *b) MUST_CHECK;
void boundary_keep(struct kept_boundary *k, const struct engine_boundary *b);
/* What engine_ops.open answers: *state is malloc'd, of no bytes when there is none. */
enum result boundary_tell(struct engine_boundary b, uint64_t *sequence, struct slice *state, struct errmsg *msg)
    MUST_CHECK;
/* A checkpoint of this boundary: whether it is wanted, and a copy, which boundary_fini frees in any case. */
enum result boundary_accept(const struct kept_boundary *k, const struct engine_checkpoint *how,
                            struct kept_boundary *copy) MUST_CHECK;
/* Makes the directory, which may be there, and the folder in it, which may not. */
enum result boundary_folders(struct env *env, const char *dir, const char *folder) MUST_CHECK;

#endif
