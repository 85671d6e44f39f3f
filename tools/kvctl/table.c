/* The table of subcommands and of their options, and how options are read. */
#include <stdlib.h>
#include <string.h>

#include "base/num.h"
#include "tools/kvctl/kvctl.h"

#define OPTION(l, n, a, h, ...)                                                                                        \
    {                                                                                                                  \
        .letter = l, .name = n, .arg = a, .help = h, ##__VA_ARGS__                                                     \
    }
#define OPTIONS_END                                                                                                    \
    {                                                                                                                  \
        .name = NULL                                                                                                   \
    }

const struct option_spec global_options[] = {
    OPTION('h', "host", "HOST", "server to connect to (127.0.0.1)"),
    OPTION('p', "port", "PORT", "its port (6379)"),
    OPTION('s', "socket", "PATH", "its Unix socket, instead of host and port"),
    OPTION('a', "password", "PASSWORD", "password; better in REDISCLI_AUTH, where others do not see it"),
    OPTION('u', "user", "USER", "user name that goes with the password"),
    OPTION('n', "db", "DB", "number of the database (0)"),
    OPTION('j', "json", NULL, "answers as JSON, one value a line"),
    OPTION(0, "help", NULL, "this text; behind a subcommand, that subcommand's"),
    OPTION(0, "version", NULL, "the version of kvctl"),
    OPTIONS_END,
};
static const struct option_spec no_options[] = {OPTIONS_END};
static const struct option_spec put_options[] = {
    OPTION('f', "file", "FILE", "the value is what is in FILE"),
    OPTION('t', "ttl", "SECONDS", "it expires after so many seconds; a fraction is allowed"),
    OPTION(0, "keep-ttl", NULL, "it expires when what was there before would have"),
    OPTION(0, "nx", NULL, "only if there is no such key yet"),
    OPTION(0, "xx", NULL, "only if there is such a key already"),
    OPTIONS_END,
};
static const struct option_spec expire_options[] = {
    OPTION(0, "ms", NULL, "milliseconds instead of seconds"),
    OPTIONS_END,
};
static const struct option_spec scan_options[] = {
    OPTION('t', "type", "TYPE", "keys of this type alone", .values = "string list set zset hash stream"),
    OPTION('l', "limit", "N", "at most N keys"),
    OPTION('0', "null", NULL, "a zero byte behind each key instead of a line feed"),
    OPTIONS_END,
};
static const struct option_spec flush_options[] = {
    OPTION('y', "yes", NULL, "do not ask"),
    OPTIONS_END,
};
static const struct option_spec stats_options[] = {
    OPTION('i', "interval", "SECONDS", "a line so often (1)"),
    OPTION('c', "count", "N", "end after N lines"),
    OPTIONS_END,
};
static const struct option_spec import_options[] = {
    OPTION('r', "resume", NULL, "go on where an interrupted import of FILE stopped"),
    OPTION('q', "quiet", NULL, "no progress bar"),
    OPTIONS_END,
};
static const struct option_spec export_options[] = {
    OPTION('f', "format", "FORMAT", "json (lines) or resp (commands, also for redis-cli --pipe); json",
           .values = "json resp"),
    OPTION('m', "match", "PATTERN", "keys that match this glob alone"),
    OPTION('q', "quiet", NULL, "no progress bar"),
    OPTIONS_END,
};
static const struct option_spec bench_options[] = {
    OPTION('c', "clients", "N", "connections (50)"),
    OPTION('r', "requests", "N", "requests of each kind (100000)"),
    OPTION('P', "pipeline", "N", "requests sent together on a connection (1)"),
    OPTION('d', "size", "BYTES", "length of the values (100)"),
    OPTION('k', "keys", "N", "different keys (100000)"),
    OPTION('t', "tests", "LIST", "kinds, separated by commas (set,get)", .values = "set,get set get"),
    OPTIONS_END,
};
static const struct option_spec check_options[] = {
    OPTION('q', "quiet", NULL, "only what does not hold"),
    OPTIONS_END,
};
static const struct option_spec convert_options[] = {
    OPTION('t', "to", "ENGINE", "the engine that DIR2 is made for", .values = "lsm btree file"),
    OPTION('q', "quiet", NULL, "no progress bar, no summary"),
    OPTIONS_END,
};
static const struct option_spec repair_options[] = {
    OPTION('y', "yes", NULL, "do it"),
    OPTIONS_END,
};

const struct subcommand subcommands[] = {
#define SUBCOMMAND(n, fn, a, min, max, off, comp, opts, sum, det)                                                      \
    {.name = n,                                                                                                        \
     .args = a,                                                                                                        \
     .summary = sum,                                                                                                   \
     .detail = det,                                                                                                    \
     .least = min,                                                                                                     \
     .most = max,                                                                                                      \
     .offline = off,                                                                                                   \
     .completes = comp,                                                                                                \
     .options = opts,                                                                                                  \
     .run = fn},
#include "tools/kvctl/subcommands.def"
#undef SUBCOMMAND
    {.name = NULL},
};

const struct subcommand *subcommand_find(const char *name)
{
    for (const struct subcommand *s = subcommands; s->name; s++)
        if (strcmp(s->name, name) == 0)
            return s;
    return NULL;
}

/* ---- options ---- */

static struct {
    const struct option_spec *specs;
    const char *value[OPTIONS_MAX];
} given;

const char *option(const char *name)
{
    for (int i = 0; given.specs && given.specs[i].name; i++)
        if (strcmp(given.specs[i].name, name) == 0)
            return given.value[i];
    return NULL;
}

int64_t option_number(const char *name, int64_t otherwise, int64_t least, int64_t most)
{
    const char *text = option(name);
    int64_t n;
    if (!text)
        return otherwise;
    if (num_parse_i64(slice_str(text), &n) == RES_OK && n >= least && n <= most)
        return n;
    complain("--%s wants a number from %lld to %lld, not '%s'", name, (long long)least, (long long)most, text);
    exit(KVCTL_ERROR);
}

/* The option that a word names: "--name", "--name=value", "-x", "-xvalue". -1: there is none. */
static int option_at(const struct option_spec *specs, const char *word, const char **value)
{
    *value = NULL;
    for (int i = 0; specs[i].name; i++) {
        size_t len = strlen(specs[i].name);
        if (word[1] == '-' && strncmp(word + 2, specs[i].name, len) == 0 &&
            (word[2 + len] == 0 || word[2 + len] == '=')) {
            *value = word[2 + len] ? word + 3 + len : NULL;
            return i;
        }
        if (word[1] != '-' && specs[i].letter == word[1] && word[1]) {
            *value = word[2] ? word + 2 : NULL;
            return i;
        }
    }
    return -1;
}

static bool is_number(const char *word)
{
    int64_t n;
    return num_parse_i64(slice_str(word), &n) == RES_OK;
}

bool options_take(struct kvctl *k, int argc, char **argv)
{
    const struct option_spec *specs = k->command->options;
    given.specs = specs;
    k->argc = 0;
    k->argv = argv;
    for (int i = 0; i < argc; i++) {
        char *word = argv[i];
        const char *value;
        if (strcmp(word, "--") == 0) { /* behind it nothing is an option */
            while (++i < argc)
                argv[k->argc++] = argv[i];
            break;
        }
        if (word[0] != '-' || !word[1] || is_number(word)) {
            argv[k->argc++] = word;
            continue;
        }
        if (strcmp(word, "--help") == 0) {
            print_subcommand_help(stdout, k->command);
            exit(output_failed() ? KVCTL_ERROR : KVCTL_DONE);
        }
        int at = option_at(specs, word, &value);
        if (at < 0) {
            complain("%s has no option %s (a key that begins with '-' stands behind --)", k->command->name, word);
            return false;
        }
        if (specs[at].arg && !value && ++i < argc)
            value = argv[i];
        if (!specs[at].arg != !value) {
            complain("option --%s %s", specs[at].name, specs[at].arg ? "wants an argument" : "takes no argument");
            return false;
        }
        given.value[at] = value ? value : "";
    }
    if (k->argc >= k->command->least && (k->command->most < 0 || k->argc <= k->command->most))
        return true;
    complain("usage: kvctl %s%s%s", k->command->name, *k->command->args ? " " : "", k->command->args);
    return false;
}
