/* Commands about the process: TIME, SHUTDOWN, LOLWUT. */
#include <stdio.h>
#include <sys/time.h>

#include "base/num.h"
#include "cmd/declare.h"
#include "cmd/host.h"
#include "cmd/support.h"
#include "config.h"

/* ---- TIME ---- */

static enum result run_time(struct call *c)
{
    /* Not the call's clock: it counts milliseconds, and nothing is written here that must be the same when repeated. */
    struct timeval now;
    char digits[NUM_I64_MAX];
    gettimeofday(&now, NULL);
    reply_array(c->reply, 2);
    reply_bulk(c->reply, slice_of(digits, num_format_i64(digits, now.tv_sec)));
    reply_bulk(c->reply, slice_of(digits, num_format_i64(digits, now.tv_usec)));
    return RES_OK;
}

static const char *const tips_nondeterministic[] = {"nondeterministic_output", NULL};
const struct command cmd_time = {
    .name = "time",
    .arity = 1,
    .flags = CMD_LOADING | CMD_STALE | CMD_FAST | CMD_SESSION,
    .group = "server",
    .since = "2.6.0",
    .complexity = "O(1)",
    .summary = "Returns the server's time: seconds since 1970, and microseconds.",
    .tips = tips_nondeterministic,
    .run = run_time,
};

/* ---- SHUTDOWN ---- */

static enum result run_shutdown(struct call *c)
{
    const struct host *host = host_get();
    unsigned flags = 0;
    bool abort_it = false;
    for (int i = 1; i < c->argc; i++) {
        if (arg_is(c, i, "nosave"))
            flags |= SHUTDOWN_NOSAVE;
        else if (arg_is(c, i, "save"))
            flags |= SHUTDOWN_SAVE;
        else if (arg_is(c, i, "now"))
            flags |= SHUTDOWN_NOW;
        else if (arg_is(c, i, "force"))
            flags |= SHUTDOWN_FORCE;
        else if (arg_is(c, i, "abort"))
            abort_it = true;
        else
            return reply_syntax_error(c->reply);
    }
    if ((abort_it && flags != 0) || (flags & SHUTDOWN_NOSAVE && flags & SHUTDOWN_SAVE))
        return reply_syntax_error(c->reply);
    if (abort_it)
        return reply_error(c->reply, "ERR No shutdown in progress."); /* it takes no time one could use to abort it */
    if (host == NULL || !host->ops->shutdown(flags))
        return reply_error(c->reply, "ERR Errors trying to SHUTDOWN. Check logs.");
    c->session->close_after_reply = true;
    return RES_OK;
}

static const struct command_arg args_save_choice[] = {ARG_TOKEN("nosave", "NOSAVE"), ARG_TOKEN("save", "SAVE"),
                                                      ARGS_END};
const struct command cmd_shutdown = {
    .name = "shutdown",
    .arity = -1,
    .flags = CMD_ADMIN | CMD_NOSCRIPT | CMD_LOADING | CMD_STALE | CMD_NO_MULTI | CMD_ALLOW_BUSY | CMD_SESSION,
    .group = "server",
    .since = "1.0.0",
    .complexity = "O(1): what is acknowledged is on disk already",
    .summary = "Ends the server.",
    .args =
        (const struct command_arg[]){
            ARG("save-selector", ARG_ONEOF, .flags = ARG_OPTIONAL, .children = args_save_choice),
            ARG_TOKEN("now", "NOW", .since = "7.0.0", .flags = ARG_OPTIONAL),
            ARG_TOKEN("force", "FORCE", .since = "7.0.0", .flags = ARG_OPTIONAL),
            ARG_TOKEN("abort", "ABORT", .since = "7.0.0", .flags = ARG_OPTIONAL), ARGS_END},
    .history = (const struct command_history[]){SINCE("7.0.0", "`NOW`, `FORCE` and `ABORT`."), HISTORY_END},
    .run = run_shutdown,
};

/* ---- LOLWUT: a core out of the lake's bed, one layer a year ---- */

#define CORE_YEARS 24
#define CORE_WIDTH 44

static enum result run_lolwut(struct call *c)
{
    static const char grain[] = " .:-=+*#%@";
    int64_t years = CORE_YEARS;
    int first = 1;
    if (c->argc > 1 && arg_is(c, 1, "version")) {
        if (c->argc == 2)
            return reply_syntax_error(c->reply);
        if (!arg_i64(c, 2, &years))
            return RES_OK;
        first = 3;
        years = CORE_YEARS;
    }
    if (c->argc > first && !arg_i64(c, first, &years))
        return RES_OK;
    years = years < 1 ? 1 : years > 200 ? 200 : years;
    struct buf out = BUF_INIT;
    enum result r = RES_OK;
    for (int64_t y = 0; y < years && r == RES_OK; y++) {
        /* Summer's silt is coarse and pale, winter's clay fine and dark; some years bring more of it. */
        uint64_t random = call_random(c);
        int thick = 1 + (int)(random % 3), tilt = (int)(random >> 8) % 5;
        for (int k = 0; k < thick && r == RES_OK; k++) {
            char line[CORE_WIDTH + 1];
            int dark = 9 - k * 4;
            for (int x = 0; x < CORE_WIDTH; x++) {
                int shade = dark - ((x + tilt * 3) / 11) % 2 - (int)((random >> (16 + x % 40)) & 1);
                line[x] = grain[shade < 0 ? 0 : shade];
            }
            line[CORE_WIDTH] = 0;
            r = buf_printf(&out, "   |%s|\n", line);
        }
    }
    if (r == RES_OK)
        r = buf_printf(&out, "\n   %d years of sediment, the newest on top. Varve ver. %s, speaks Redis ver. %s\n",
                       (int)years, PACKAGE_VERSION, REDIS_LEVEL);
    if (r == RES_OK)
        c->reply->ops->verbatim(c->reply, "txt", buf_slice(&out));
    buf_fini(&out);
    return r;
}

const struct command cmd_lolwut = {
    .name = "lolwut",
    .arity = -1,
    .flags = CMD_READONLY | CMD_FAST | CMD_SESSION,
    .group = "server",
    .since = "5.0.0",
    .summary = "Draws a picture, and tells the version.",
    .args =
        (const struct command_arg[]){ARG("version", ARG_INTEGER, .token = "VERSION", .flags = ARG_OPTIONAL), ARGS_END},
    .run = run_lolwut,
};
