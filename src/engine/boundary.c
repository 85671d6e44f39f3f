/* The boundary that an engine keeps: see boundary.h. */
#include "engine/boundary.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum result boundary_reserve(struct kept_boundary *k, const struct engine_boundary *b)
{
    return buf_reserve(&k->state, b->state.len); /* behind what it has: more than enough */
}

void boundary_keep(struct kept_boundary *k, const struct engine_boundary *b)
{
    k->sequence = b->sequence;
    buf_clear(&k->state);
    enum result r = buf_append(&k->state, b->state.data, b->state.len);
    assert(r == RES_OK);
}

enum result boundary_tell(struct engine_boundary b, uint64_t *sequence, struct slice *state, struct errmsg *msg)
{
    uint8_t *copy = b.state.len ? malloc(b.state.len) : NULL;
    if (b.state.len && !copy)
        return errmsg_set(msg, RES_NO_MEMORY, "no memory for the engine's state");
    if (copy)
        memcpy(copy, b.state.data, b.state.len);
    *sequence = b.sequence;
    *state = slice_of(copy, b.state.len);
    return RES_OK;
}

enum result boundary_accept(const struct kept_boundary *k, const struct engine_checkpoint *how,
                            struct kept_boundary *copy)
{
    struct engine_boundary b = boundary_of(k);
    *copy = (struct kept_boundary){.sequence = k->sequence};
    enum result r = how && how->accept ? how->accept(how->arg, &b) : RES_OK;
    return r == RES_OK ? buf_append(&copy->state, b.state.data, b.state.len) : r;
}

enum result boundary_folders(struct env *env, const char *dir, const char *folder)
{
    enum result r = env->ops->mkdir(env, dir);
    return r == RES_OK || r == RES_EXISTS ? env->ops->mkdir(env, folder) : r;
}
