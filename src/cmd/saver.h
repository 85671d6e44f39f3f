/* The saver: checkpoints and compactions of everything, in the background, for BGSAVE, SAVE, LASTSAVE and BGREWRITEAOF.
 *
 * A checkpoint is a data directory of its own (front_checkpoint): DIR/checkpoint-NNNNNN, numbered upwards. Behind each the
 * oldest are removed, down to `checkpoint-keep`. What an interrupted one left, checkpoint-NNNNNN.tmp, goes at the start and
 * before the next one.
 *
 * Any thread may call what is here, but for start and stop, which are the server's. Without a start nothing is saved. */
#ifndef VARVE_CMD_SAVER_H
#define VARVE_CMD_SAVER_H

#include "exec/shard.h"

/* `dir`: where the checkpoints lie; it is made when it is needed. */
enum result saver_start(struct shard *s, struct env *env, const char *dir, struct errmsg *msg) MUST_CHECK;
/* Ends what runs, and waits for that; checkpoints that SAVE makes end soon, too. The shard is still open. */
void saver_stop(void);

/* Begins a checkpoint on a thread of its own. RES_LOCKED: one is being made; others with a sentence. */
enum result saver_save(struct errmsg *msg) MUST_CHECK;
/* Makes one on the calling thread. */
enum result saver_save_now(struct errmsg *msg) MUST_CHECK;
/* Begins a compaction of everything on a thread of its own. */
enum result saver_compact(struct errmsg *msg) MUST_CHECK;

struct saver_job_figures {
    bool running;        /* on a thread of its own */
    bool failed;         /* the last one to end */
    int64_t seconds;     /* that the last one took; -1: there was none */
    int64_t running_for; /* seconds; -1: none runs */
    uint64_t begun;      /* since the start, SAVE's included */
};
struct saver_figures {
    struct saver_job_figures save, compact;
    uint64_t last_save;     /* seconds since 1970: of the last good one, or of the start */
    uint64_t changes;       /* shard_stats.changes when that one began */
    uint64_t last_sequence; /* the last commit in it; 0: there was none */
    char last_path[512];    /* "": there was none */
};
void saver_figures(struct saver_figures *out);

#endif
