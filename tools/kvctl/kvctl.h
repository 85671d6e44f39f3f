/* kvctl, the command line of the server: what its files share.
 *
 * Everything over the network goes through one blocking hiredis connection; `check`, `repair` and `dump` use none and
 * open a data directory with the code of src/front and src/engine. Subcommands are declared once, in subcommands.def:
 * --help, the man page and the shells' completions are made from there.
 *
 * Exit status: 0 found or done, 1 not found, 2 error, 3 cannot connect. */
#ifndef VARVE_KVCTL_KVCTL_H
#define VARVE_KVCTL_KVCTL_H

#include <hiredis/hiredis.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/buf.h"
#include "base/slice.h"

enum kvctl_status { KVCTL_DONE = 0, KVCTL_NOT_FOUND = 1, KVCTL_ERROR = 2, KVCTL_NO_CONNECTION = 3 };

struct subcommand;

/* What the command line says. */
struct kvctl {
    const char *host, *password, *user, *socket; /* socket: a path instead of host and port; NULL: none */
    char *url;                                   /* KVCTL_URL, cut up; malloc'd */
    int port, db;
    bool json;
    bool terminal; /* stdout is one: answers for the eye, not for a program */
    const struct subcommand *command;
    int argc; /* arguments of the subcommand, options taken out */
    char **argv;
    redisContext *redis; /* NULL before client_connect() */
};

/* ---- the table: table.c, subcommands.def ---- */
#define OPTIONS_MAX 8
struct option_spec {
    char letter;      /* 0: none */
    const char *name; /* without "--"; NULL ends an array */
    const char *arg;  /* what its argument is, "SECONDS"; NULL: takes none */
    const char *help;
    const char *values; /* words to complete, separated by spaces; NULL: any */
};
typedef int subcommand_fn(struct kvctl *k);
struct subcommand {
    const char *name, *args, *summary, *detail;
    int least, most;       /* arguments; most < 0: any number */
    bool offline;          /* opens no connection by itself */
    const char *completes; /* what its arguments are, for the shells: "dir", "file", "" */
    const struct option_spec *options;
    subcommand_fn *run;
};
extern const struct subcommand subcommands[]; /* name NULL ends it */
extern const struct option_spec global_options[];
const struct subcommand *subcommand_find(const char *name);
/* The value of an option of the subcommand that runs; NULL: not given. An option without argument has "". */
const char *option(const char *name);
/* The option as a number; `otherwise` when not given. Ends the program with a sentence when it is none. */
int64_t option_number(const char *name, int64_t otherwise, int64_t least, int64_t most);
/* Takes the options out of argv[0..argc), which begins behind the subcommand's name. False: a sentence was said. */
bool options_take(struct kvctl *k, int argc, char **argv);
/* Documents made from the table (documents.c). False: no such document. */
bool document_write(const char *what, FILE *out);
void print_help(FILE *out);
void print_subcommand_help(FILE *out, const struct subcommand *s);

/* ---- saying: output.c ---- */
/* "kvctl: ..." on stderr; returns KVCTL_ERROR. */
int complain(const char *fmt, ...) PRINTF_LIKE(1, 2);
void print_bytes(struct slice bytes); /* to stdout as they are */
void print_json_string(FILE *out, struct slice bytes);
void print_reply(const struct kvctl *k, const redisReply *reply);
void print_reply_json(FILE *out, const redisReply *reply);
/* The answer of a command as the end of the program: prints it, returns the status that fits. */
int answer(const struct kvctl *k, redisReply *reply);
/* "1.5 GiB"; "12d 3h 4m". out has room for 32 bytes. */
const char *human_bytes(double n, char *out);
const char *human_seconds(double s, char *out);
const char *human_count(double n, char *out); /* "1.25M" */
bool output_failed(void);                     /* stdout did not take everything */

/* ---- the connection: client.c ---- */
/* 0, or the exit status after a sentence on stderr. */
int client_connect(struct kvctl *k);
int client_open(const struct kvctl *k, redisContext **out);
/* One command; NULL after a sentence: the connection broke. */
redisReply *client_call(struct kvctl *k, int argc, const char **argv, const size_t *lens);
redisReply *client_callf(struct kvctl *k, const char *fmt, ...) PRINTF_LIKE(2, 3); /* hiredis' format; no % of others */
/* A reply that is an error: says it, frees the reply, returns KVCTL_ERROR. Else 0. */
int client_refused(redisReply *reply);
static inline struct slice reply_slice(const redisReply *r) { return slice_of(r->str, r->str ? (size_t)r->len : 0); }

/* ---- subcommands ---- */
subcommand_fn run_put, run_get, run_delete, run_exists, run_incr, run_expire, run_ttl, run_type, run_scan, run_count,
    run_flush, run_info, run_stats, run_import, run_export, run_bench, run_check, run_repair, run_convert, run_dump,
    run_ping, run_version, run_completion, run_other;

/* All that `file` has (stdin for "-"); false after a sentence. */
bool read_input(const char *file, struct buf *out);

#endif
