/* Ctrl+C, and SIGTERM, for subcommands that have something to tidy up before they end. */
#ifndef VARVE_KVCTL_INTERRUPT_H
#define VARVE_KVCTL_INTERRUPT_H

#include <stdbool.h>

/* From now on they are noted, and end the program when they come a second time. */
void interrupt_catch(void);
bool interrupted(void);

#endif
