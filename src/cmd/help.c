/* What containers of subcommands have in common: HELP, an array of status lines, and the error that points to it. */
#include "cmd/help.h"

#include <stdio.h>

#define NAME_MAX_LEN sizeof(((struct command_entry *)0)->full_name)

/* The container's name in capitals. */
static void container_name(const struct call *c, char out[NAME_MAX_LEN])
{
    const struct command_entry *entry = c->entry->parent ? c->entry->parent : c->entry;
    size_t i = 0;
    for (const char *p = entry->full_name; *p != 0; p++)
        out[i++] = (char)(*p >= 'a' && *p <= 'z' ? *p - 32 : *p);
    out[i] = 0;
}

enum result reply_help(struct call *c, const char *const *lines)
{
    char head[128], name[NAME_MAX_LEN];
    size_t count = 0;
    while (lines[count] != NULL)
        count++;
    container_name(c, name);
    snprintf(head, sizeof head, "%s <subcommand> [<arg> [value] [opt] ...]. Subcommands are:", name);
    reply_array(c->reply, count + 3);
    reply_status(c->reply, head);
    for (size_t i = 0; i < count; i++)
        reply_status(c->reply, lines[i]);
    reply_status(c->reply, "HELP");
    reply_status(c->reply, "    Print this text.");
    return RES_OK;
}

enum result reply_bad_subcommand(struct call *c)
{
    char name[NAME_MAX_LEN];
    struct slice sub = call_arg(c, 1);
    container_name(c, name);
    return reply_error(c->reply, "ERR unknown subcommand or wrong number of arguments for '%.*s'. Try %s HELP.",
                       sub.len < 128 ? (int)sub.len : 128, (const char *)sub.data, name);
}
