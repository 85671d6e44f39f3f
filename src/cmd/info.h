/* INFO's sections, between info.c and the files that fill them. */
#ifndef VARVE_CMD_INFO_H
#define VARVE_CMD_INFO_H

#include "cmd/host.h"
#include "cmd/saver.h"
#include "cmd/vitals.h"
#include "conf/settings.h"

/* One INFO: figures that several sections show are taken once. */
struct info {
    struct call *c;
    const struct settings *settings;
    const struct host *host; /* NULL without a server */
    struct host_stats clients;
    struct shard_stats exec;
    struct front_stats front;
    struct saver_figures saver;
    struct buf out;
    enum result res; /* of the first line that failed */
};

/* Adds "name:value" lines; the format carries its own "\r\n". */
void info_add(struct info *i, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* "1.50K" */
struct info_human {
    char text[24];
};
struct info_human info_human(uint64_t bytes);

typedef void info_section_fn(struct info *i);
info_section_fn info_server, info_clients, info_memory, info_persistence, info_stats, info_replication, info_cpu,
    info_modules, info_commandstats, info_errorstats, info_latencystats, info_cluster, info_keyspace, info_storage,
    info_compaction, info_execution;

#endif
