/* Flushes, checkpoints and compactions by hand: what of them needs the write latch. */
#include "exec/internal.h"

#define TRIES_MOST 10000 /* of a checkpoint that met a private table half way, each after another flush */

/* All that is committed by now will be in the engine when the flusher has come this far. */
static enum result seal(struct shard *s, const atomic_bool *stop)
{
    for (;;) {
        uint64_t space = moved_turn(s, &s->space_turns);
        latch_lock(&s->latch);
        enum result res = front_seal(s->front);
        latch_end(s, NULL, false);
        if (res == RES_WOULD_BLOCK) {
            front_kick(s->front);
            res = wait_moved(s, &s->space_turns, space);
            if (res == RES_OK && stop && atomic_load(stop))
                res = RES_CLOSED;
            if (res == RES_OK)
                continue;
        }
        return res;
    }
}

void shard_keep(struct shard *s)
{
    latch_lock(&s->latch);
    enum result res = front_seal_deletes(s->front);
    if (res == RES_OK)
        res = front_rest(s->front);
    latch_end(s, NULL, false);
    if (res == RES_WOULD_BLOCK) /* next time */
        front_kick(s->front);
}

enum result shard_flush(struct shard *s)
{
    enum result res = seal(s, NULL);
    return res == RES_OK ? front_await_engine(s->front, NULL) : res;
}

enum result shard_checkpoint(struct shard *s, const char *dir, const atomic_bool *stop, uint64_t *sequence,
                             struct errmsg *msg)
{
    for (int tries = 0;; tries++) {
        enum result res = seal(s, stop);
        if (res != RES_OK)
            return errmsg_set(msg, res, "what was written last cannot be brought to the tables: %s", result_text(res));
        res = front_checkpoint(s->front, dir, stop, sequence, msg);
        if (res != RES_RETRY || tries >= TRIES_MOST)
            return res;
    }
}

enum result shard_compact(struct shard *s, const atomic_bool *stop)
{
    enum result res = seal(s, stop);
    if (res == RES_OK)
        res = front_await_engine(s->front, stop);
    return res == RES_OK ? front_compact_engine(s->front, stop) : res;
}
