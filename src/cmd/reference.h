/* The command reference, docs/commands.md, written from the declarations. */
#ifndef VARVE_CMD_REFERENCE_H
#define VARVE_CMD_REFERENCE_H

#include <stdio.h>

/* After command_table_init. */
void command_reference_write(FILE *out);

#endif
