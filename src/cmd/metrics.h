/* What the server counts, for Prometheus (text format 0.0.4): metrics.def declares it. */
#ifndef VARVE_CMD_METRICS_H
#define VARVE_CMD_METRICS_H

#include <stdio.h>

#include "cmd/info.h"

/* The command that replies with the text of /metrics, as one bulk. It is none of the table: it is counted as INFO, and looks at
 * the figures of the last tick, at most VITALS_TICK_MS old. */
void metrics_init(void); /* after command_table_init(), before threads start */
const struct command_entry *metrics_entry(void);

enum metrics_section { METRICS_STORAGE, METRICS_COMPACTION, METRICS_EXECUTION };
/* The lines of a section of INFO, in the order of their declaration. */
void metrics_info(struct info *i, enum metrics_section section);
/* docs/metrics.md. */
void metrics_document(FILE *out);

#endif
