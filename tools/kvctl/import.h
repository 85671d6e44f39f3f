/* The file an import reads, as a sequence of commands: import_source.c. */
#ifndef VARVE_KVCTL_IMPORT_H
#define VARVE_KVCTL_IMPORT_H

#include <stdio.h>

#include "tools/kvctl/types.h"

struct import_source {
    FILE *in;
    bool resp;           /* else JSON lines */
    uint64_t at;         /* bytes of the file that have been taken */
    uint64_t unit_start; /* where the unit begins that was taken last: see import.c */
    uint64_t lines;
    struct buf line; /* what was read last */
    char *text;      /* getline's */
    size_t room;
};
/* Finds out which form it is; goes to a place first where the file allows it. */
enum result import_source_begin(struct import_source *s, uint64_t offset) MUST_CHECK;
void import_source_end(struct import_source *s);
/* The next line, or command, as *commands RESP commands at the end of out. *starts_unit: something new begins with it.
 * RES_NOT_FOUND: that was all. RES_INVALID: *error says what is wrong; out is as it was. */
enum result import_next(struct import_source *s, struct buf *out, unsigned *commands, bool *starts_unit,
                        const char **error) MUST_CHECK;

#endif
