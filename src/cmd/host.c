/* Holds the one pointer to the program around the commands. */
#include "cmd/host.h"

static const struct host *the_host; /* written before the first thread that reads it starts */

void host_set(const struct host *host) { the_host = host; }

const struct host *host_get(void) { return the_host; }
