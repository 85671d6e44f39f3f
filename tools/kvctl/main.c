/* kvctl: global options, the environment, and which subcommand runs. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/num.h"
#include "config.h"
#include "tools/kvctl/kvctl.h"

static bool number_in(const char *text, int least, int most, int *out)
{
    int64_t n;
    if (num_parse_i64(slice_str(text), &n) != RES_OK || n < least || n > most)
        return false;
    *out = (int)n;
    return true;
}

/* ---- KVCTL_URL ---- */

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 32;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Undoes %XX in place. */
static char *decoded(char *text)
{
    char *w = text;
    for (char *r = text; *r; r++) {
        if (*r == '%' && hex(r[1]) >= 0 && hex(r[2]) >= 0) {
            *w++ = (char)(hex(r[1]) * 16 + hex(r[2]));
            r += 2;
        } else {
            *w++ = *r;
        }
    }
    *w = 0;
    return text;
}

static bool take_address(struct kvctl *k, char *address)
{
    char *db = strchr(address, '/'), *port;
    if (db) {
        *db++ = 0;
        if (*db && !number_in(db, 0, 1 << 30, &k->db))
            return false;
    }
    if (*address == '[') { /* [::1]:6379 */
        char *end = strchr(++address, ']');
        if (!end)
            return false;
        *end = 0;
        port = end[1] == ':' ? end + 1 : NULL;
    } else {
        port = strrchr(address, ':');
    }
    if (port) {
        *port++ = 0;
        if (!number_in(port, 1, 65535, &k->port))
            return false;
    }
    if (*address)
        k->host = decoded(address);
    return true;
}

/* redis://[[USER][:PASSWORD]@]HOST[:PORT][/DB] or unix://PATH. The text is cut up and kept. */
static bool take_url(struct kvctl *k, char *url)
{
    if (strncmp(url, "unix://", 7) == 0) {
        k->socket = url + 7;
        return *k->socket != 0;
    }
    if (strncmp(url, "redis://", 8) != 0)
        return false;
    char *rest = url + 8, *at = strrchr(rest, '@');
    if (at) {
        *at = 0;
        char *colon = strchr(rest, ':');
        if (colon) {
            *colon = 0;
            k->password = decoded(colon + 1);
        }
        if (*rest)
            k->user = decoded(rest);
        rest = at + 1;
    }
    return take_address(k, rest);
}

static bool take_environment(struct kvctl *k)
{
    const char *password = getenv("REDISCLI_AUTH"), *url = getenv("KVCTL_URL");
    k->password = password && *password ? password : NULL;
    if (!url || !*url)
        return true;
    k->url = strdup(url);
    if (k->url && take_url(k, k->url))
        return true;
    (void)complain("KVCTL_URL is not redis://[[USER][:PASSWORD]@]HOST[:PORT][/DB] or unix://PATH");
    return false;
}

/* ---- global options ---- */

static bool take_global(struct kvctl *k, const char *name, const char *value)
{
    if (strcmp(name, "host") == 0)
        k->host = value, k->socket = NULL;
    else if (strcmp(name, "socket") == 0)
        k->socket = value;
    else if (strcmp(name, "password") == 0)
        k->password = value;
    else if (strcmp(name, "user") == 0)
        k->user = value;
    else if (strcmp(name, "json") == 0)
        k->json = true;
    else if (strcmp(name, "port") == 0 && number_in(value, 1, 65535, &k->port))
        k->socket = NULL;
    else if (strcmp(name, "port") == 0)
        return complain("'%s' is no port", value), false;
    else if (strcmp(name, "db") == 0 && !number_in(value, 0, 1 << 30, &k->db))
        return complain("'%s' is no number of a database", value), false;
    return true;
}

static void end_with(FILE *out, int status)
{
    (void)out;
    exit(output_failed() ? KVCTL_ERROR : status);
}

/* Reads global options; returns the position of the first word that is none, or -1 after a sentence. */
static int take_globals(struct kvctl *k, int argc, char **argv)
{
    int i = 1;
    for (; i < argc && argv[i][0] == '-' && argv[i][1]; i++) {
        const char *word = argv[i], *value = NULL;
        const struct option_spec *o = global_options;
        if (strcmp(word, "--") == 0)
            return i + 1;
        for (; o->name; o++) {
            size_t len = strlen(o->name);
            if (word[1] == '-' && strncmp(word + 2, o->name, len) == 0 && (!word[2 + len] || word[2 + len] == '=')) {
                value = word[2 + len] ? word + 3 + len : NULL;
                break;
            }
            if (word[1] != '-' && o->letter && word[1] == o->letter) {
                value = word[2] ? word + 2 : NULL;
                break;
            }
        }
        if (!o->name)
            return complain("there is no option %s; kvctl --help lists them", word), -1;
        if (strcmp(o->name, "help") == 0) {
            print_help(stdout);
            end_with(stdout, KVCTL_DONE);
        }
        if (strcmp(o->name, "version") == 0) {
            printf("kvctl %s\n", PACKAGE_VERSION);
            end_with(stdout, KVCTL_DONE);
        }
        if (o->arg && !value && ++i < argc)
            value = argv[i];
        if (!o->arg != !value)
            return complain("option --%s %s", o->name, o->arg ? "wants an argument" : "takes no argument"), -1;
        if (!take_global(k, o->name, value))
            return -1;
    }
    return i;
}

static int run(struct kvctl *k, int argc, char **argv)
{
    if (!take_environment(k))
        return KVCTL_ERROR;
    int at = take_globals(k, argc, argv);
    if (at < 0)
        return KVCTL_ERROR;
    if (at == argc) {
        print_help(stderr);
        return KVCTL_ERROR;
    }
    int status;
    k->command = subcommand_find(argv[at]);
    if (k->command) {
        if (!options_take(k, argc - at - 1, argv + at + 1))
            return KVCTL_ERROR;
        status = k->command->offline || k->command->run == run_version ? 0 : client_connect(k);
    } else {
        k->argc = argc - at;
        k->argv = argv + at;
        status = client_connect(k);
    }
    if (status == 0)
        status = k->command ? k->command->run(k) : run_other(k);
    if (output_failed() && status != KVCTL_ERROR)
        status = complain("standard output does not take what is written");
    return status;
}

int main(int argc, char **argv)
{
    struct kvctl k = {.host = "127.0.0.1", .port = 6379, .terminal = isatty(STDOUT_FILENO)};
    signal(SIGPIPE, SIG_IGN);                            /* output_failed() and the connection's errors tell */
    if (argc == 3 && strcmp(argv[1], "--generate") == 0) /* for the build: see room.am */
        return document_write(argv[2], stdout) && !output_failed() ? KVCTL_DONE : KVCTL_ERROR;
    int status = run(&k, argc, argv);
    if (k.redis)
        redisFree(k.redis);
    free(k.url);
    return status;
}
