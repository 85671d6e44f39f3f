/* SAVE, BGSAVE, LASTSAVE, BGREWRITEAOF. What Redis writes into dump.rdb is a checkpoint here, a data directory of its own,
 * and a rewrite of the log a compaction of everything. The two do not exclude each other, as Redis' child processes do. */
#include "cmd/declare.h"
#include "cmd/saver.h"
#include "cmd/support.h"
#include "conf/settings.h"

static const char busy[] = "ERR Background save already in progress";

/* Else the error has been replied. */
static bool has_files(struct call *c)
{
    if (c->settings->engine != SETTING_ENGINE_MEMORY)
        return true;
    (void)!reply_error(c->reply, "ERR The engine `memory` keeps nothing on disk: there is nothing to save");
    return false;
}

static enum result reply_sentence(struct call *c, const struct errmsg *msg)
{
    return reply_error(c->reply, "ERR %s", msg->text);
}

/* ---- SAVE ---- */

static enum result run_save(struct call *c)
{
    struct errmsg msg = {""};
    if (!has_files(c))
        return RES_OK;
    enum result r = saver_save_now(&msg);
    if (r == RES_LOCKED)
        return reply_error(c->reply, "%s", busy);
    if (r != RES_OK)
        return reply_sentence(c, &msg);
    reply_ok(c->reply);
    return RES_OK;
}

const struct command cmd_save = {
    .name = "save",
    .arity = 1,
    .flags = CMD_ADMIN | CMD_NOSCRIPT | CMD_NO_MULTI | CMD_NO_ASYNC_LOADING | CMD_LONG,
    .group = "server",
    .since = "1.0.0",
    .complexity = "O(N) with N tables: they are linked, not copied",
    .summary = "Makes a checkpoint, and replies when it is on disk. Other clients do not wait.",
    .run = run_save,
};

/* ---- BGSAVE ---- */

static enum result run_bgsave(struct call *c)
{
    struct errmsg msg = {""};
    if (c->argc > 2 || (c->argc == 2 && !arg_is(c, 1, "schedule")))
        return reply_syntax_error(c->reply);
    if (!has_files(c))
        return RES_OK;
    enum result r = saver_save(&msg);
    if (r == RES_LOCKED)
        return reply_error(c->reply, "%s", busy);
    if (r != RES_OK)
        return reply_sentence(c, &msg);
    reply_status(c->reply, "Background saving started");
    return RES_OK;
}

const struct command cmd_bgsave = {
    .name = "bgsave",
    .arity = -1,
    .flags = CMD_ADMIN | CMD_NOSCRIPT | CMD_NO_ASYNC_LOADING | CMD_SESSION,
    .group = "server",
    .since = "1.0.0",
    .complexity = "O(1)",
    .summary = "Makes a checkpoint in the background.",
    .args = (const struct command_arg[]){ARG_TOKEN("schedule", "SCHEDULE", .since = "3.2.2", .flags = ARG_OPTIONAL),
                                         ARGS_END},
    .history = (const struct command_history[]){SINCE("3.2.2", "`SCHEDULE`."), HISTORY_END},
    .run = run_bgsave,
};

/* ---- LASTSAVE ---- */

static enum result run_lastsave(struct call *c)
{
    struct saver_figures f;
    saver_figures(&f);
    reply_integer(c->reply, (int64_t)f.last_save);
    return RES_OK;
}

static const char *const tips_nondeterministic[] = {"nondeterministic_output", NULL};
const struct command cmd_lastsave = {
    .name = "lastsave",
    .arity = 1,
    .flags = CMD_LOADING | CMD_STALE | CMD_FAST | CMD_SESSION,
    .acl = ACL_ADMIN | ACL_DANGEROUS,
    .group = "server",
    .since = "1.0.0",
    .complexity = "O(1)",
    .summary = "Returns when the last checkpoint was made, in seconds since 1970.",
    .tips = tips_nondeterministic,
    .run = run_lastsave,
};

/* ---- BGREWRITEAOF ---- */

static enum result run_bgrewriteaof(struct call *c)
{
    struct errmsg msg = {""};
    enum result r = saver_compact(&msg);
    if (r == RES_LOCKED)
        return reply_error(c->reply, "ERR Background append only file rewriting already in progress");
    if (r != RES_OK)
        return reply_sentence(c, &msg);
    reply_status(c->reply, "Background append only file rewriting started");
    return RES_OK;
}

const struct command cmd_bgrewriteaof = {
    .name = "bgrewriteaof",
    .arity = 1,
    .flags = CMD_ADMIN | CMD_NOSCRIPT | CMD_NO_ASYNC_LOADING | CMD_SESSION,
    .group = "server",
    .since = "1.0.0",
    .complexity = "O(1)",
    .summary = "Compacts all data in the background.",
    .run = run_bgrewriteaof,
};
