/* LATENCY: samples of slow events, which the executor keeps (shard_latency_each), and the distribution of each command's
 * run time. The reports for people are in latency_report.c. */
#include "cmd/help.h"
#include "cmd/latency_report.h"
#include "cmd/table.h"
#include "conf/settings.h"
#include "exec/shard.h"

/* ---- samples ---- */

struct series_list {
    struct arena *arena;
    struct slice event; /* data NULL: all */
    struct latency_series *series;
    size_t count, cap;
};

static void copy_series(void *arg, const struct latency_series *series)
{
    struct series_list *list = arg;
    if (list->event.data != NULL && !slice_eq(list->event, slice_str(series->event)))
        return;
    if (list->count == list->cap) {
        size_t cap = list->cap ? 2 * list->cap : 8;
        struct latency_series *grown = arena_alloc(list->arena, cap * sizeof *grown);
        if (grown == NULL)
            return;
        if (list->count != 0)
            memcpy(grown, list->series, list->count * sizeof *grown);
        list->series = grown;
        list->cap = cap;
    }
    list->series[list->count] = *series;
    list->series[list->count].event = arena_copy(list->arena, series->event, strlen(series->event) + 1);
    list->count += list->series[list->count].event != NULL;
}

static struct series_list series_of(struct call *c, struct slice event)
{
    struct series_list list = {.arena = c->arena, .event = event};
    shard_latency_each(c->shard, copy_series, &list);
    return list;
}

static enum result latency_latest(struct call *c)
{
    struct series_list list = series_of(c, slice_of(NULL, 0));
    size_t shown = 0;
    for (size_t i = 0; i < list.count; i++)
        shown += list.series[i].count > 0;
    reply_array(c->reply, shown);
    for (size_t i = 0; i < list.count; i++) {
        const struct latency_series *s = &list.series[i];
        if (s->count == 0)
            continue;
        reply_array(c->reply, 4);
        reply_bulk_str(c->reply, s->event);
        reply_integer(c->reply, s->sample[s->count - 1].time_s);
        reply_integer(c->reply, s->sample[s->count - 1].ms);
        reply_integer(c->reply, s->max);
    }
    return RES_OK;
}

static enum result latency_history(struct call *c)
{
    struct series_list list = series_of(c, call_arg(c, 2));
    int count = list.count ? list.series[0].count : 0;
    reply_array(c->reply, (size_t)count);
    for (int i = 0; i < count; i++) {
        reply_array(c->reply, 2);
        reply_integer(c->reply, list.series[0].sample[i].time_s);
        reply_integer(c->reply, list.series[0].sample[i].ms);
    }
    return RES_OK;
}

static enum result latency_graph(struct call *c)
{
    struct series_list list = series_of(c, call_arg(c, 2));
    struct buf text = BUF_INIT;
    struct slice name = call_arg(c, 2);
    if (list.count == 0 || list.series[0].count == 0)
        return reply_error(c->reply, "ERR No samples available for event '%.*s'", name.len < 128 ? (int)name.len : 128,
                           (const char *)name.data);
    enum result res = latency_graph_text(&list.series[0], (uint32_t)(c->now_ms / 1000), &text);
    if (res == RES_OK)
        c->reply->ops->verbatim(c->reply, "txt", buf_slice(&text));
    buf_fini(&text);
    return res;
}

static enum result latency_doctor(struct call *c)
{
    struct series_list list = series_of(c, slice_of(NULL, 0));
    struct buf text = BUF_INIT;
    enum result res = latency_doctor_text(list.series, list.count, c->settings->latency_monitor_threshold, &text);
    if (res == RES_OK)
        c->reply->ops->verbatim(c->reply, "txt", buf_slice(&text));
    buf_fini(&text);
    return res;
}

static enum result latency_reset(struct call *c)
{
    int64_t count = 0;
    if (c->argc == 2)
        count = shard_latency_reset(c->shard, NULL);
    for (int i = 2; i < c->argc; i++) {
        struct slice name = call_arg(c, i);
        char *event = arena_alloc(c->arena, name.len + 1);
        if (event == NULL)
            return RES_NO_MEMORY;
        memcpy(event, name.data, name.len);
        event[name.len] = 0;
        count += shard_latency_reset(c->shard, event);
    }
    reply_integer(c->reply, count);
    return RES_OK;
}

/* ---- distributions ---- */

/* Upper bounds in µs as Redis' histogram shows them: powers of two of 1,024 ns, rounded up to the histogram's step. */
#define BOUNDS_MAX 34
static int64_t bound_us(uint64_t bound_ns) { return (int64_t)((bound_ns + bound_ns / 128 - 1) / 1000); }

struct step {
    int64_t us;
    uint64_t count;
};

/* The bounds at which the cumulative count grows. */
static size_t steps_of(const struct histogram *h, struct step steps[BOUNDS_MAX])
{
    uint64_t seen = 0;
    size_t n = 0;
    for (uint64_t bound = 1024; n < BOUNDS_MAX && seen < h->count; bound *= 2) {
        uint64_t at_most = bound >= (UINT64_C(1) << 44) ? h->count : histogram_at_most(h, bound);
        if (at_most > seen)
            steps[n++] = (struct step){bound_us(bound), at_most};
        seen = at_most > seen ? at_most : seen;
        if (bound >= (UINT64_C(1) << 44))
            break;
    }
    return n;
}

struct chosen {
    const struct command_entry *entry;
    struct command_stats stats;
};

/* Adds an entry, and for a container its subcommands, when they have run. */
static void choose(struct call *c, const struct command_entry *e, bool subcommands, struct chosen *list, size_t *count)
{
    for (size_t i = 0; i < *count; i++)
        if (list[i].entry == e)
            return;
    struct command_stats stats = {0};
    histogram_init(&stats.latency);
    shard_command_stats(c->shard, e->id, &stats);
    if (stats.latency.count != 0)
        list[(*count)++] = (struct chosen){e, stats};
    else
        histogram_fini(&stats.latency);
    for (size_t id = 0; subcommands && e->command->subcommands != NULL && id < command_count(); id++)
        if (command_by_id((uint16_t)id)->parent == e)
            choose(c, command_by_id((uint16_t)id), false, list, count);
}

static void reply_distribution(struct sink *reply, const struct chosen *chosen)
{
    struct step steps[BOUNDS_MAX];
    size_t n = steps_of(&chosen->stats.latency, steps);
    reply_bulk_str(reply, chosen->entry->full_name);
    reply_map(reply, 2);
    reply_bulk_str(reply, "calls");
    reply_integer(reply, (int64_t)chosen->stats.latency.count);
    reply_bulk_str(reply, "histogram_usec");
    reply_map(reply, n);
    for (size_t i = 0; i < n; i++) {
        reply_integer(reply, steps[i].us);
        reply_integer(reply, (int64_t)steps[i].count);
    }
}

static enum result latency_histogram(struct call *c)
{
    struct chosen *list = arena_alloc(c->arena, command_count() * sizeof *list);
    size_t count = 0;
    if (list == NULL)
        return RES_NO_MEMORY;
    for (size_t id = 0; c->argc == 2 && id < command_count(); id++)
        choose(c, command_by_id((uint16_t)id), false, list, &count);
    for (int i = 2; i < c->argc; i++) {
        const struct command_entry *e = command_lookup_full(call_arg(c, i));
        if (e != NULL)
            choose(c, e, true, list, &count);
    }
    reply_map(c->reply, count);
    for (size_t i = 0; i < count; i++) {
        reply_distribution(c->reply, &list[i]);
        histogram_fini(&list[i].stats.latency);
    }
    return RES_OK;
}

/* ---- declarations ---- */

static enum result latency_help(struct call *c)
{
    static const char *const lines[] = {
        "DOCTOR",
        "    What the samples say, in sentences.",
        "GRAPH <event>",
        "    The samples of an event as a picture of characters.",
        "HISTORY <event>",
        "    The samples of an event: time and milliseconds.",
        "LATEST",
        "    The newest sample and the longest time of every event.",
        "RESET [<event> ...]",
        "    Forget the samples of these events, or of all.",
        "HISTOGRAM [<command> ...]",
        "    How long these commands, or all, took: cumulative counts by microseconds.",
        NULL,
    };
    return reply_help(c, lines);
}

#define ADMIN_FLAGS (CMD_ADMIN | CMD_NOSCRIPT | CMD_LOADING | CMD_STALE | CMD_SESSION)

static const struct command_arg event_args[] = {{.name = "event", .type = ARG_STRING}, {0}};
static const struct command_arg reset_args[] = {
    {.name = "event", .type = ARG_STRING, .flags = ARG_OPTIONAL | ARG_MULTIPLE},
    {0}};
static const struct command_arg histogram_args[] = {
    {.name = "command", .type = ARG_STRING, .flags = ARG_OPTIONAL | ARG_MULTIPLE},
    {0}};
static const char *const read_tips[] = {"nondeterministic_output", "request_policy:all_nodes",
                                        "response_policy:special", NULL};
static const char *const reset_tips[] = {"request_policy:all_nodes", "response_policy:all_succeeded", NULL};

#define LATENCY(var, word, words, version, args_of, tips_of, cost, what, fn)                                           \
    static const struct command var = {                                                                                \
        .name = word,                                                                                                  \
        .arity = words,                                                                                                \
        .flags = ADMIN_FLAGS,                                                                                          \
        .group = "server",                                                                                             \
        .since = version,                                                                                              \
        .complexity = cost,                                                                                            \
        .summary = what,                                                                                               \
        .args = args_of,                                                                                               \
        .tips = tips_of,                                                                                               \
        .run = fn,                                                                                                     \
    }
LATENCY(sub_doctor, "doctor", 2, "2.8.13", NULL, read_tips, "O(1)", "Explains the latency samples in sentences.",
        latency_doctor);
LATENCY(sub_graph, "graph", 3, "2.8.13", event_args, read_tips, "O(1)", "Draws the samples of an event.",
        latency_graph);
LATENCY(sub_history, "history", 3, "2.8.13", event_args, read_tips, "O(1)", "Returns the samples of an event.",
        latency_history);
LATENCY(sub_latest, "latest", 2, "2.8.13", NULL, read_tips, "O(1)", "Returns the newest sample of every event.",
        latency_latest);
LATENCY(sub_reset, "reset", -2, "2.8.13", reset_args, reset_tips, "O(1)", "Forgets the samples of events.",
        latency_reset);
LATENCY(sub_histogram, "histogram", -2, "7.0.0", histogram_args, read_tips,
        "O(N) where N is the number of commands shown", "Returns the distribution of commands' run times.",
        latency_histogram);
static const struct command sub_help = {
    .name = "help",
    .arity = 2,
    .flags = CMD_LOADING | CMD_STALE | CMD_SESSION,
    .group = "server",
    .since = "2.8.13",
    .complexity = "O(1)",
    .summary = "Lists the subcommands.",
    .run = latency_help,
};
static const struct command *const subcommands[] = {&sub_doctor, &sub_graph,     &sub_history, &sub_latest,
                                                    &sub_reset,  &sub_histogram, &sub_help,    NULL};

const struct command cmd_latency = {
    .name = "latency",
    .arity = -2,
    .group = "server",
    .since = "2.8.13",
    .complexity = "Depends on subcommand.",
    .summary = "Commands about slow events and run times.",
    .subcommands = subcommands,
};
