/* The reply of a container's HELP. */
#ifndef VARVE_CMD_HELP_H
#define VARVE_CMD_HELP_H

#include "exec/call.h"

/* lines: NULL-terminated, "NAME [<arg>]" and its indented sentence by turns; the head and HELP itself are added. The name
 * is that of the command that runs, or of its container. */
enum result reply_help(struct call *c, const char *const *lines);

/* "ERR unknown subcommand or wrong number of arguments for 'x'. Try NAME HELP." */
enum result reply_bad_subcommand(struct call *c);

#endif
