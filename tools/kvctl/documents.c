/* What is made from the table of subcommands: --help, the man page and the completions of three shells. */
#include <string.h>

#include "tools/kvctl/kvctl.h"

static const char usage[] = "kvctl [-h HOST] [-p PORT] [-a PASSWORD] [--user USER] [-n DB] [--json] COMMAND";

/* ---- --help ---- */

static void print_option(FILE *out, const struct option_spec *o)
{
    char left[64];
    char letter[8] = "    ";
    if (o->letter)
        snprintf(letter, sizeof letter, "-%c, ", o->letter);
    snprintf(left, sizeof left, "%s--%s%s%s", letter, o->name, o->arg ? " " : "", o->arg ? o->arg : "");
    fprintf(out, "  %-26s %s\n", left, o->help);
}

static void print_left(FILE *out, const struct subcommand *s)
{
    char left[64];
    snprintf(left, sizeof left, "%s %s", s->name, s->args);
    fprintf(out, "  %-26s %s\n", left, s->summary);
}

void print_help(FILE *out)
{
    fprintf(out, "%s\n\nCommands (kvctl COMMAND --help tells more):\n", usage);
    for (const struct subcommand *s = subcommands; s->name; s++)
        print_left(out, s);
    fputs("\nAnything else is sent as a Redis command, and so is a command's name in capitals:\n"
          "  kvctl zrange k 0 -1        kvctl INFO everything\n\nOptions:\n",
          out);
    for (const struct option_spec *o = global_options; o->name; o++)
        print_option(out, o);
    fputs("\nKVCTL_URL: redis://[[USER][:PASSWORD]@]HOST[:PORT][/DB] or unix://PATH, for what no option says.\n"
          "REDISCLI_AUTH: the password.\n"
          "Exit status: 0 found or done, 1 not found, 2 error, 3 cannot connect.\n",
          out);
}

void print_subcommand_help(FILE *out, const struct subcommand *s)
{
    fprintf(out, "kvctl %s%s%s%s\n\n%s %s\n", s->name, s->options->name ? " [OPTION...]" : "", *s->args ? " " : "",
            s->args, s->summary, s->detail);
    if (s->options->name)
        fputc('\n', out);
    for (const struct option_spec *o = s->options; o->name; o++)
        print_option(out, o);
}

/* ---- man ---- */

/* Text for troff: what it would take for its own is escaped. */
static void put_man(FILE *out, const char *text)
{
    if (*text == '.' || *text == '\'')
        fputs("\\&", out);
    for (; *text; text++) {
        if (*text == '-')
            fputs("\\-", out);
        else if (*text == '\\')
            fputs("\\e", out);
        else
            fputc(*text, out);
    }
}

static void man_option(FILE *out, const struct option_spec *o)
{
    fputs(".TP\n", out);
    if (o->letter)
        fprintf(out, "\\fB\\-%c\\fR, ", o->letter);
    fputs("\\fB\\-\\-", out);
    put_man(out, o->name);
    fputs("\\fR", out);
    if (o->arg)
        fprintf(out, " \\fI%s\\fR", o->arg);
    fputc('\n', out);
    put_man(out, o->help);
    fputc('\n', out);
}

static void man_subcommand(FILE *out, const struct subcommand *s)
{
    fprintf(out, ".SS \"%s%s%s%s\"\n", s->name, s->options->name ? " [OPTION...]" : "", *s->args ? " " : "", s->args);
    put_man(out, s->summary);
    fputc('\n', out);
    put_man(out, s->detail);
    fputc('\n', out);
    for (const struct option_spec *o = s->options; o->name; o++)
        man_option(out, o);
}

static void write_man(FILE *out)
{
    fputs(".\\\" Made from tools/kvctl/subcommands.def by `make kvctl-docs`: do not edit.\n"
          ".TH KVCTL 1 \"\" \"varve\" \"User Commands\"\n"
          ".SH NAME\nkvctl \\- command line of the varve key\\-value server\n.SH SYNOPSIS\n",
          out);
    put_man(out, usage);
    fputs("\n.SH DESCRIPTION\n"
          "Stores, reads and looks at keys of a server that speaks the Redis protocol, shows how it does, moves data "
          "in and\n"
          "out, and verifies data directories that no server uses. Values go byte for byte from arguments, files or\n"
          "standard input to standard output.\n.PP\n"
          "What is no command of the list below is sent as a Redis command, and its answer printed:\n"
          ".B kvctl zrange k 0 \\-1\n.PP\nA name in capitals always is:\n.B kvctl INFO everything\n.SH OPTIONS\n",
          out);
    for (const struct option_spec *o = global_options; o->name; o++)
        man_option(out, o);
    fputs(".SH COMMANDS\n", out);
    for (const struct subcommand *s = subcommands; s->name; s++)
        man_subcommand(out, s);
    fputs(".SH ENVIRONMENT\n.TP\n.B KVCTL_URL\nredis://[[USER][:PASSWORD]@]HOST[:PORT][/DB] or unix://PATH: the "
          "server, for "
          "what no option says.\n.TP\n.B REDISCLI_AUTH\nThe password.\n"
          ".SH EXIT STATUS\n.TP\n.B 0\nfound, or done\n.TP\n.B 1\nnot found\n.TP\n.B 2\nan error, said on standard "
          "error\n"
          ".TP\n.B 3\nno connection to the server\n.SH SEE ALSO\n.BR varved (1)\n",
          out);
}

/* ---- completions ---- */

static void put_words(FILE *out, const struct option_spec *specs)
{
    for (const struct option_spec *o = specs; o->name; o++) {
        if (o->letter)
            fprintf(out, " -%c", o->letter);
        fprintf(out, " --%s", o->name);
    }
}

static void write_bash(FILE *out)
{
    fputs("# bash completion for kvctl. Made from tools/kvctl/subcommands.def by `make kvctl-docs`: do not edit.\n"
          "_kvctl()\n{\n    local cur=${COMP_WORDS[COMP_CWORD]} command= i\n"
          "    for ((i = 1; i < COMP_CWORD; i++)); do\n        case ${COMP_WORDS[i]} in\n            ",
          out);
    const char *sep = "";
    for (const struct option_spec *o = global_options; o->name; o++)
        if (o->arg) {
            fprintf(out, "%s-%c | --%s", sep, o->letter, o->name);
            sep = " | ";
        }
    fputs(
        ") ((i++)) ;;\n            -*) ;;\n            *) command=${COMP_WORDS[i]}; break ;;\n        esac\n    done\n"
        "    case $command in\n        '') COMPREPLY=($(compgen -W '",
        out);
    for (const struct subcommand *s = subcommands; s->name; s++)
        fprintf(out, "%s ", s->name);
    put_words(out, global_options);
    fputs("' -- \"$cur\")) ;;\n", out);
    for (const struct subcommand *s = subcommands; s->name; s++) {
        fprintf(out, "        %s) COMPREPLY=($(compgen -W '--help", s->name);
        put_words(out, s->options);
        for (const struct option_spec *o = s->options; o->name; o++)
            if (o->values)
                fprintf(out, " %s", o->values);
        if (strcmp(s->completes, "shell") == 0)
            fputs(" bash zsh fish", out);
        fprintf(out, "' %s-- \"$cur\")) ;;\n",
                strcmp(s->completes, "dir") == 0    ? "-d "
                : strcmp(s->completes, "file") == 0 ? "-f "
                                                    : "");
    }
    fputs("    esac\n}\ncomplete -o filenames -F _kvctl kvctl\n", out);
}

/* Text inside '...' of zsh and fish. */
static void put_quoted(FILE *out, const char *text, const char *escaped)
{
    for (; *text; text++) {
        if (*text == '\'')
            fputs("'\\''", out);
        else if (strchr(escaped, *text))
            fprintf(out, "\\%c", *text);
        else
            fputc(*text, out);
    }
}

static const char *zsh_action(const struct subcommand *s)
{
    if (strcmp(s->completes, "dir") == 0)
        return "_files -/";
    if (strcmp(s->completes, "file") == 0)
        return "_files";
    return strcmp(s->completes, "shell") == 0 ? "(bash zsh fish)" : "";
}

static void zsh_options(FILE *out, const struct option_spec *specs)
{
    for (const struct option_spec *o = specs; o->name; o++) {
        for (int form = o->letter ? 0 : 1; form < 2; form++) {
            fputs(" \\\n            '", out);
            if (form == 0)
                fprintf(out, "-%c", o->letter);
            else
                fprintf(out, "--%s", o->name);
            fputc('[', out);
            put_quoted(out, o->help, "[]:\\");
            fputc(']', out);
            if (o->arg)
                fprintf(out, ":%s:", o->arg);
            if (o->values)
                fprintf(out, "(%s)", o->values);
            fputc('\'', out);
        }
    }
}

static void write_zsh(FILE *out)
{
    fputs("#compdef kvctl\n# Made from tools/kvctl/subcommands.def by `make kvctl-docs`: do not edit.\n"
          "_kvctl() {\n    local curcontext=$curcontext state line\n    local -a commands\n    commands=(\n",
          out);
    for (const struct subcommand *s = subcommands; s->name; s++) {
        fprintf(out, "        '%s:", s->name);
        put_quoted(out, s->summary, ":\\");
        fputs("'\n", out);
    }
    fputs("    )\n    _arguments -C", out);
    zsh_options(out, global_options);
    fputs(" \\\n            '1:command:->command' '*::argument:->argument'\n    case $state in\n"
          "    command) _describe command commands ;;\n    argument)\n        case $words[1] in\n",
          out);
    for (const struct subcommand *s = subcommands; s->name; s++) {
        fprintf(out, "        %s) _arguments '--help[tell more]'", s->name);
        zsh_options(out, s->options);
        if (s->most != 0)
            fprintf(out, " \\\n            '*:%s:%s'", s->args, zsh_action(s));
        fputs(" ;;\n", out);
    }
    fputs("        esac ;;\n    esac\n}\nif [ \"$funcstack[1]\" = _kvctl ]; then _kvctl \"$@\"; else compdef _kvctl "
          "kvctl; fi\n",
          out);
}

static void fish_option(FILE *out, const char *condition, const struct option_spec *o)
{
    fprintf(out, "complete -c kvctl -n '%s'", condition);
    if (o->letter)
        fprintf(out, " -s %c", o->letter);
    fprintf(out, " -l %s%s -d '", o->name, o->arg ? " -x" : "");
    put_quoted(out, o->help, "\\");
    fputc('\'', out);
    if (o->values)
        fprintf(out, " -a '%s'", o->values);
    fputc('\n', out);
}

static void write_fish(FILE *out)
{
    char condition[64];
    fputs("# fish completion for kvctl. Made from tools/kvctl/subcommands.def by `make kvctl-docs`: do not edit.\n"
          "complete -c kvctl -f\n",
          out);
    for (const struct option_spec *o = global_options; o->name; o++)
        fish_option(out, "__fish_use_subcommand", o);
    for (const struct subcommand *s = subcommands; s->name; s++) {
        fprintf(out, "complete -c kvctl -n __fish_use_subcommand -a %s -d '", s->name);
        put_quoted(out, s->summary, "\\");
        fputs("'\n", out);
        snprintf(condition, sizeof condition, "__fish_seen_subcommand_from %s", s->name);
        for (const struct option_spec *o = s->options; o->name; o++)
            fish_option(out, condition, o);
        if (strcmp(s->completes, "dir") == 0)
            fprintf(out, "complete -c kvctl -n '%s' -a '(__fish_complete_directories)'\n", condition);
        else if (strcmp(s->completes, "file") == 0)
            fprintf(out, "complete -c kvctl -n '%s' -F\n", condition);
        else if (strcmp(s->completes, "shell") == 0)
            fprintf(out, "complete -c kvctl -n '%s' -a 'bash zsh fish'\n", condition);
    }
}

bool document_write(const char *what, FILE *out)
{
    static const struct {
        const char *name;
        void (*write)(FILE *out);
    } all[] = {{"man", write_man}, {"bash", write_bash}, {"zsh", write_zsh}, {"fish", write_fish}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (strcmp(all[i].name, what) == 0) {
            all[i].write(out);
            return true;
        }
    return false;
}

int run_completion(struct kvctl *k)
{
    if (strcmp(k->argv[0], "man") == 0 || !document_write(k->argv[0], stdout))
        return complain("'%s' is none of bash, zsh, fish", k->argv[0]);
    return KVCTL_DONE;
}
