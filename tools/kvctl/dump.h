/* kvctl dump: what its files share. The functions print a file and return the exit status. */
#ifndef VARVE_KVCTL_DUMP_H
#define VARVE_KVCTL_DUMP_H

#include "tools/kvctl/kvctl.h"

/* Bytes as text: what does not print as \\xHH. */
void dump_bytes(struct slice s, size_t most);
/* "put KEY = VALUE", "delete KEY", and the end of the line. */
void dump_record(uint8_t kind, struct slice key, struct slice value);

/* ---- dump_engines.c: files of the engines file and btree ---- */
int dump_data(const char *path, uint64_t number);
int dump_hints(const char *path, uint64_t number);
int dump_files(const char *path);
int dump_tree(const char *path);

#endif
