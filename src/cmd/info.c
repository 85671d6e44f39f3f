/* INFO: which sections are asked for, in which order they come. Sections and their order are Redis'; ours follow. */
#include "cmd/info.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>

enum section_kind {
    IN_DEFAULT, /* shown when nothing is named */
    IN_ALL,     /* shown by "all" and "everything" too */
};

static const struct section {
    const char *name, *title;
    enum section_kind kind;
    info_section_fn *add;
} sections[] = {
    {"server", "Server", IN_DEFAULT, info_server},
    {"clients", "Clients", IN_DEFAULT, info_clients},
    {"memory", "Memory", IN_DEFAULT, info_memory},
    {"persistence", "Persistence", IN_DEFAULT, info_persistence},
    {"stats", "Stats", IN_DEFAULT, info_stats},
    {"replication", "Replication", IN_DEFAULT, info_replication},
    {"cpu", "CPU", IN_DEFAULT, info_cpu},
    {"modules", "Modules", IN_DEFAULT, info_modules},
    {"commandstats", "Commandstats", IN_ALL, info_commandstats},
    {"errorstats", "Errorstats", IN_DEFAULT, info_errorstats},
    {"latencystats", "Latencystats", IN_ALL, info_latencystats},
    {"cluster", "Cluster", IN_DEFAULT, info_cluster},
    {"keyspace", "Keyspace", IN_DEFAULT, info_keyspace},
    {"storage", "Storage", IN_DEFAULT, info_storage},
    {"compaction", "Compaction", IN_DEFAULT, info_compaction},
    {"execution", "Execution", IN_DEFAULT, info_execution},
};
#define SECTIONS (sizeof sections / sizeof sections[0])

void info_add(struct info *i, const char *fmt, ...)
{
    char line[1024];
    va_list ap;
    if (i->res != RES_OK)
        return;
    va_start(ap, fmt);
    int len = vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    assert(len >= 0 && (size_t)len < sizeof line);
    i->res = buf_append(&i->out, line, (size_t)len);
}

struct info_human info_human(uint64_t bytes)
{
    static const char units[] = "BKMGTPE";
    struct info_human h;
    double value = (double)bytes;
    int unit = 0;
    while (value >= 1024 && units[unit + 1] != 0) {
        value /= 1024;
        unit++;
    }
    snprintf(h.text, sizeof h.text, unit ? "%.2f%c" : "%.0f%c", value, units[unit]);
    return h;
}

/* Marks what a word asks for: a section, or a group of them. Unknown words ask for nothing. */
static void select_sections(struct slice word, bool wanted[SECTIONS])
{
    bool all = slice_eq_nocase(word, "all"), everything = slice_eq_nocase(word, "everything");
    bool usual = slice_eq_nocase(word, "default");
    for (size_t n = 0; n < SECTIONS; n++) {
        enum section_kind kind = sections[n].kind;
        wanted[n] |= everything || all || (usual && kind != IN_ALL) || slice_eq_nocase(word, sections[n].name);
    }
}

static enum result info_run(struct call *c)
{
    bool wanted[SECTIONS] = {false};
    struct info i = {.c = c, .settings = settings_hold(), .host = host_get(), .out = BUF_INIT};
    if (c->argc == 1)
        select_sections(SLICE_LIT("default"), wanted);
    for (int arg = 1; arg < c->argc; arg++)
        select_sections(call_arg(c, arg), wanted);
    if (i.host != NULL)
        i.host->ops->stats(&i.clients);
    saver_figures(&i.saver); /* before what is counted on */
    shard_stats(c->shard, &i.exec);
    front_stats(shard_front(c->shard), &i.front);
    for (size_t n = 0; n < SECTIONS; n++) {
        if (!wanted[n])
            continue;
        info_add(&i, "%s# %s\r\n", i.out.len ? "\r\n" : "", sections[n].title);
        sections[n].add(&i);
    }
    if (i.res == RES_OK)
        c->reply->ops->verbatim(c->reply, "txt", buf_slice(&i.out));
    buf_fini(&i.out);
    settings_release(i.settings);
    return i.res;
}

static const struct command_arg args[] = {{.name = "section", .type = ARG_STRING, .flags = ARG_OPTIONAL | ARG_MULTIPLE},
                                          {0}};
static const struct command_history history[] = {{"7.0.0", "Takes several sections."}, {0}};
static const char *const tips[] = {"nondeterministic_output", "request_policy:all_shards", "response_policy:special",
                                   NULL};

const struct command cmd_info = {
    .name = "info",
    .arity = -1,
    .flags = CMD_LOADING | CMD_STALE,
    .acl = ACL_DANGEROUS,
    .group = "server",
    .since = "1.0.0",
    .complexity = "O(1)",
    .summary = "Returns what the server knows of itself, in sections.",
    .args = args,
    .history = history,
    .tips = tips,
    .run = info_run,
};
