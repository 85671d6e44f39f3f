/* --help: the settings for a person at a terminal. The other documents are made by tools/settings_doc. */
#include "conf/setting.h"

#define WIDTH 100

/* Prints text broken at spaces, each line indented. */
static void print_wrapped(FILE *out, const char *text, int indent)
{
    int column = 0;
    for (const char *at = text; *at != 0;) {
        int len = (int)strcspn(at, " ");
        if (column != 0 && column + 1 + len > WIDTH - indent) {
            fputc('\n', out);
            column = 0;
        }
        fprintf(out, "%*s%.*s", column ? 1 : indent, column ? " " : "", len, at);
        column += len + (column != 0);
        at += len;
        at += *at == ' ';
    }
    fputc('\n', out);
}

static void print_setting(FILE *out, const struct setting *d, const struct settings *defaults)
{
    struct buf value = BUF_INIT, allowed = BUF_INIT;
    if (setting_format(d, defaults, &value) == RES_OK && setting_describe(d, &allowed) == RES_OK) {
        const char *alias = setting_alias(d);
        fprintf(out, "  --%s%s%s  (%.*s; default %s%.*s%s%s)\n", d->name, alias ? ", --" : "", alias ? alias : "",
                (int)allowed.len, (const char *)allowed.data, value.len ? "" : "empty", (int)value.len,
                value.len ? (const char *)value.data : "", (d->flags & SETTING_AUTO) ? ": automatic" : "",
                (d->flags & SETTING_RUN) ? "; CONFIG SET" : "");
        print_wrapped(out, d->doc, 6);
    }
    buf_fini(&value);
    buf_fini(&allowed);
}

static void print_without_effect(FILE *out)
{
    struct buf names = BUF_INIT;
    enum result res = RES_OK;
    for (int id = 0; id < SETTING_COUNT && res == RES_OK; id++) {
        const struct setting *d = setting_by_id((enum setting_id)id);
        if ((d->flags & SETTING_NO_EFFECT) == 0)
            continue;
        const char *alias = setting_alias(d);
        res = buf_printf(&names, "%s%s%s%s", names.len ? ", " : "", d->name, alias ? ", " : "", alias ? alias : "");
    }
    if (res == RES_OK && (res = buf_append(&names, "", 1)) == RES_OK)
        print_wrapped(out, (const char *)names.data, 2);
    buf_fini(&names);
}

void settings_print_help(FILE *out, const char *program)
{
    struct settings defaults;
    size_t count;
    const struct setting_flag_alias *aliases = setting_flag_aliases(&count);
    const char *section = NULL; /* begun, title not printed yet */
    setting_defaults(&defaults);
    fprintf(out,
            "Usage: %s [FILE | -] [--SETTING VALUE]...\n\n"
            "FILE is the configuration file; - reads it from standard input. Every setting is a flag, with one dash\n"
            "or two, and its value follows as the next argument or after '='. Flags win over the file.\n\n"
            "  -h, --help       this text\n"
            "  -v, --version    the version\n"
            "  --check-config   check file and flags, start nothing\n"
            "  --include FILE   read a file of settings at this place\n",
            program);
    for (int id = 0; id < SETTING_COUNT; id++) {
        const struct setting *d = setting_by_id((enum setting_id)id);
        const char *begins = setting_section((enum setting_id)id);
        section = begins ? begins : section;
        if ((d->flags & SETTING_NO_EFFECT) != 0)
            continue;
        if (section != NULL)
            fprintf(out, "\n%s:\n", section);
        section = NULL;
        print_setting(out, d, &defaults);
    }
    fprintf(out, "\nOther names:\n");
    for (size_t i = 0; i < count; i++)
        fprintf(out, "  --%s  %s%s%s%s\n", aliases[i].alias, aliases[i].name ? "--" : "",
                aliases[i].name ? aliases[i].name : "", aliases[i].name ? ": " : "", aliases[i].doc);
    fprintf(out, "\nAccepted and returned by CONFIG GET, without effect:\n");
    print_without_effect(out);
}
