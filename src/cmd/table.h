/* The command table: all declarations (cmd/commands.def), found by name. Built once at start; read-only afterwards, any
 * thread. */
#ifndef VARVE_CMD_TABLE_H
#define VARVE_CMD_TABLE_H

#include <stdbool.h>

#include "exec/command.h"

void command_table_init(void);    /* idempotent; call before threads start */
size_t command_count(void);       /* entries, subcommands included: ids are below it */
size_t command_count_names(void); /* without subcommands: what COMMAND COUNT says */
const struct command_entry *command_by_id(uint16_t id);
/* Case-insensitive. The container for a command with subcommands. NULL: unknown. */
const struct command_entry *command_lookup(struct slice name);
/* The subcommand of that name, NULL when there is none. */
const struct command_entry *command_lookup_sub(const struct command_entry *container, struct slice name);
/* Like command_lookup, but takes "config|get" as well: the form of COMMAND INFO and DOCS. */
const struct command_entry *command_lookup_full(struct slice name);
/* For a request: resolves the subcommand and checks arity. On failure NULL, and *error (text of at least 512 bytes) is
 * the reply Redis would give ("ERR unknown command ..."). */
const struct command_entry *command_resolve(int argc, const struct slice *argv, char error[512]);
bool command_arity_fits(const struct command_entry *entry, int argc);
/* Calls each for the keys of a request, by its key specifications; false when they cannot be found or do not fit. */
bool command_keys(const struct command_entry *entry, int argc, const struct slice *argv, command_key_fn *each,
                  void *arg);

#endif
