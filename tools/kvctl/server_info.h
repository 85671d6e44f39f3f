/* The text of INFO, as fields. Servers other than ours have other fields: what is missing is 0 or "". */
#ifndef VARVE_KVCTL_SERVER_INFO_H
#define VARVE_KVCTL_SERVER_INFO_H

#include "tools/kvctl/kvctl.h"

/* Malloc'd text with '\n' for ends of lines; NULL after a sentence. */
char *info_fetch(struct kvctl *k);
/* The value of a field up to the end of its line, in out (room bytes, cut to it); "" when it is not there. */
const char *info_text(const char *info, const char *name, char *out, size_t room);
double info_number(const char *info, const char *name);
/* Of "level0:files=1,bytes=2": part "files". */
double info_part(const char *info, const char *name, const char *part);
/* Sums `part` over "db0:keys=1,...", "db1:...". */
double info_keys(const char *info, const char *part);

#endif
