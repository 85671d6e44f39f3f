/* The command reference: one chapter a group, one section a command, in Markdown. Nothing is said here that is not in a
 * declaration, so the page cannot go stale unnoticed: a test compares it. */
#include "cmd/reference.h"

#include <string.h>

#include "cmd/acl.h"
#include "cmd/table.h"

static void write_upper(FILE *out, const char *text)
{
    for (; *text; text++)
        fputc(*text >= 'a' && *text <= 'z' ? *text - 32 : *text == '|' ? ' ' : *text, out);
}

static void write_args(FILE *out, const struct command_arg *args, const char *separator);

static void write_arg_value(FILE *out, const struct command_arg *a)
{
    if (a->token)
        fprintf(out, "%s%s", *a->token ? a->token : "\"\"", a->type == ARG_PURE_TOKEN ? "" : " ");
    if (a->type == ARG_ONEOF) {
        fputc('<', out);
        write_args(out, a->children, " | ");
        fputc('>', out);
    } else if (a->type == ARG_BLOCK) {
        write_args(out, a->children, " ");
    } else if (a->type != ARG_PURE_TOKEN) {
        fputs(a->display ? a->display : a->name, out);
    }
}

static void write_arg(FILE *out, const struct command_arg *a)
{
    if (a->flags & ARG_OPTIONAL)
        fputc('[', out);
    write_arg_value(out, a);
    if (a->flags & ARG_MULTIPLE) {
        struct command_arg again = *a;
        if (!(a->flags & ARG_MULTIPLE_TOKEN))
            again.token = NULL;
        fputs(" [", out);
        write_arg_value(out, &again);
        fputs(" ...]", out);
    }
    if (a->flags & ARG_OPTIONAL)
        fputc(']', out);
}

static void write_args(FILE *out, const struct command_arg *args, const char *separator)
{
    for (const struct command_arg *a = args; a && a->name; a++) {
        if (a != args)
            fputs(separator, out);
        write_arg(out, a);
    }
}

static void write_command(FILE *out, const struct command_entry *e)
{
    const struct command *cmd = e->command;
    fputs("### ", out);
    write_upper(out, e->full_name);
    fputs("\n\n", out);
    if (cmd->run) {
        fputs("    ", out);
        write_upper(out, e->full_name);
        if (cmd->args)
            fputc(' ', out);
        write_args(out, cmd->args, " ");
        fputs("\n\n", out);
    }
    fprintf(out, "%s\n\n", cmd->summary);
    fprintf(out, "Since %s", cmd->since);
    if (cmd->deprecated_since)
        fprintf(out, ", deprecated since %s", cmd->deprecated_since);
    if (cmd->replaced_by)
        fprintf(out, " in favour of %s", cmd->replaced_by);
    fputc('.', out);
    if (cmd->complexity)
        fprintf(out, " %s%s", cmd->complexity, cmd->complexity[strlen(cmd->complexity) - 1] == '.' ? "" : ".");
    uint32_t categories = command_acl_categories(cmd);
    for (int i = 0, first = 1; i < ACL_CATEGORY_COUNT; i++)
        if (categories >> i & 1) {
            fprintf(out, "%s@%s", first ? " Categories: " : ", ", acl_category_name(i));
            first = 0;
        }
    fputs(".\n\n", out);
    for (const struct command_history *h = cmd->history; h && h->since; h++)
        fprintf(out, "- %s: %s\n", h->since, h->change);
    if (cmd->history)
        fputc('\n', out);
}

static const struct command_entry *entry_at(size_t i) { return command_by_id((uint16_t)i); }

/* The first command of each group opens its chapter. */
static int opens_group(size_t at)
{
    for (size_t i = 0; i < at; i++)
        if (strcmp(entry_at(i)->command->group, entry_at(at)->command->group) == 0)
            return 0;
    return 1;
}

void command_reference_write(FILE *out)
{
    fputs("# Commands\n\nMade from the declarations in `src/cmd` by `make commands-docs`; do not edit. The versions "
          "are\n"
          "those of Redis in which a command or option appeared.\n\n",
          out);
    for (size_t i = 0; i < command_count(); i++) {
        if (!opens_group(i))
            continue;
        const char *group = entry_at(i)->command->group;
        fprintf(out, "## Group %s\n\n", group);
        for (size_t j = i; j < command_count(); j++)
            if (strcmp(entry_at(j)->command->group, group) == 0)
                write_command(out, entry_at(j));
    }
}
