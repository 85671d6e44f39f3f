/* Makes the documents of the settings from their declarations (src/conf/table.def):
 *
 *     settings_doc conf      conf/varved.conf
 *     settings_doc man       docs/man/varved.conf.5
 *     settings_doc table     docs/settings.md
 *
 * `make settings-docs` writes them; a test compares what is committed with what comes out. */
#include <stdio.h>
#include <stdlib.h>

#include "conf/setting.h"

static struct settings defaults;

static struct buf text_of(enum result (*write)(const struct setting *, struct buf *), const struct setting *d)
{
    struct buf text = BUF_INIT;
    if (write(d, &text) != RES_OK || buf_append(&text, "", 1) != RES_OK)
        abort();
    text.len--;
    return text;
}

static enum result write_default(const struct setting *d, struct buf *out) { return setting_write(d, &defaults, out); }

/* Prints text broken at spaces before column `width`, each line after `prefix`. */
static void wrap(const char *prefix, const char *text, int width)
{
    int column = 0;
    for (const char *at = text; *at != 0;) {
        int len = (int)strcspn(at, " ");
        if (column != 0 && column + 1 + len > width - (int)strlen(prefix)) {
            putchar('\n');
            column = 0;
        }
        printf("%s%.*s", column ? " " : prefix, len, at);
        column += len + (column != 0);
        at += len;
        at += *at == ' ';
    }
    putchar('\n');
}

static const char *when(const struct setting *d)
{
    return (d->flags & SETTING_RUN) != 0 ? "CONFIG SET changes it" : "only at the start";
}

/* ---- conf/varved.conf ---- */

static void conf_setting(const struct setting *d)
{
    struct buf value = text_of(write_default, d), allowed = text_of(setting_describe, d);
    char facts[1024];
    wrap("# ", d->doc, 100);
    snprintf(facts, sizeof facts, "(%s; %s%s)", (const char *)allowed.data, when(d),
             (d->flags & SETTING_AUTO) != 0 ? "; 0: the server chooses" : "");
    wrap("# ", facts, 100);
    printf("#%s %s\n\n", d->name, (const char *)value.data);
    buf_fini(&value);
    buf_fini(&allowed);
}

static void print_conf(void)
{
    const char *section = NULL;
    printf(
        "# Configuration of varved. Generated from the declarations of the settings: `make settings-docs`.\n"
        "#\n"
        "# A line is a name and its value. Values with spaces, or none, are quoted: \"a b\", \"\". Sizes take the "
        "units\n"
        "# kb, mb, gb (1024) and k, m, g (1000). `include PATTERN` reads other files at that place; later lines win.\n"
        "# Every setting is also a flag of the program, --name value, and flags win over files. CONFIG GET shows what\n"
        "# holds, CONFIG SET changes it, CONFIG REWRITE writes it back into the file.\n"
        "#\n"
        "# Each setting stands here with its default behind a #: take that away to change it.\n\n");
    for (int id = 0; id < SETTING_COUNT; id++) {
        const struct setting *d = setting_by_id((enum setting_id)id);
        section = setting_section((enum setting_id)id) ? setting_section((enum setting_id)id) : section;
        if ((d->flags & SETTING_NO_EFFECT) != 0)
            continue;
        if (section != NULL)
            printf("################ %s ################\n\n", section);
        section = NULL;
        conf_setting(d);
    }
    printf("################ Without effect ################\n\n"
           "# These settings of Redis are accepted and returned by CONFIG GET, and change nothing.\n\n");
    for (int id = 0; id < SETTING_COUNT; id++) {
        const struct setting *d = setting_by_id((enum setting_id)id);
        if ((d->flags & SETTING_NO_EFFECT) == 0)
            continue;
        struct buf value = text_of(write_default, d);
        printf("#%s %s\n", d->name, (const char *)value.data);
        buf_fini(&value);
    }
}

/* ---- docs/man/varved.conf.5 ---- */

/* Text of a manual page: hyphens that are meant, no line that begins with a dot, `code` in bold. */
static void roff(const char *text)
{
    bool bold = false;
    for (const char *p = text; *p != 0; p++) {
        if (*p == '`') {
            bold = !bold;
            printf("%s", bold ? "\\fB" : "\\fR");
        } else if (*p == '-') {
            printf("\\-");
        } else if (*p == '\\') {
            printf("\\e");
        } else if (*p == '.' && (p == text || p[-1] == '\n')) {
            printf("\\&.");
        } else {
            putchar(*p);
        }
    }
}

static void man_setting(const struct setting *d)
{
    struct buf value = text_of(write_default, d), allowed = text_of(setting_describe, d);
    const char *alias = setting_alias(d);
    printf(".TP\n\\fB");
    roff(d->name);
    printf("\\fR");
    if (alias != NULL) {
        printf(" (");
        roff(alias);
        printf(")");
    }
    printf("\n");
    roff(d->doc);
    printf("\n.br\nValue: ");
    roff((const char *)allowed.data);
    printf(". Default: \\fB");
    roff((const char *)value.data);
    printf("\\fR%s; %s.\n", (d->flags & SETTING_AUTO) != 0 ? " (the server chooses)" : "", when(d));
    buf_fini(&value);
    buf_fini(&allowed);
}

static void print_man(void)
{
    const char *section = NULL;
    printf(".\\\" Generated from the declarations of the settings: make settings-docs\n"
           ".TH VARVED.CONF 5 \"\" \"varve\" \"File formats\"\n"
           ".SH NAME\nvarved.conf \\- configuration of varved\n"
           ".SH DESCRIPTION\n"
           "A line is the name of a setting and its value. Empty lines and lines that begin with # are skipped.\n"
           "Words are parted by spaces; a word in double quotes may hold spaces and the escapes\n"
           "\\en \\er \\et \\eb \\ea \\exHH \\e\\(dq \\e\\e, a word in single quotes the escape \\e\\(aq alone.\n"
           "Sizes take the units kb, mb, gb (powers of 1024) and k, m, g (powers of 1000).\n"
           ".PP\n"
           "\\fBinclude\\fR \\fIPATTERN\\fR reads other files at that place; a pattern with wildcards may match none.\n"
           "Later lines win over earlier ones, except that \\fBsave\\fR and \\fBclient\\-output\\-buffer\\-limit\\fR "
           "add up.\n"
           "An unknown setting, or a value out of its range, stops the start with file and line.\n");
    for (int id = 0; id < SETTING_COUNT; id++) {
        const struct setting *d = setting_by_id((enum setting_id)id);
        section = setting_section((enum setting_id)id) ? setting_section((enum setting_id)id) : section;
        if ((d->flags & SETTING_NO_EFFECT) != 0)
            continue;
        if (section != NULL) {
            printf(".SH \"");
            roff(section);
            printf("\"\n");
        }
        section = NULL;
        man_setting(d);
    }
    printf(".SH \"WITHOUT EFFECT\"\n"
           "These settings of Redis are accepted and returned by CONFIG GET, and change nothing.\n");
    for (int id = 0; id < SETTING_COUNT; id++)
        if ((setting_by_id((enum setting_id)id)->flags & SETTING_NO_EFFECT) != 0)
            man_setting(setting_by_id((enum setting_id)id));
    printf(".SH \"SEE ALSO\"\n\\fBvarved\\fR(1)\n");
}

/* ---- docs/settings.md ---- */

static void table_row(const struct setting *d)
{
    struct buf value = text_of(write_default, d), allowed = text_of(setting_describe, d);
    const char *alias = setting_alias(d);
    printf("| `%s`%s%s%s | %s | `%s`%s | %s | %s |\n", d->name, alias ? ", `" : "", alias ? alias : "",
           alias ? "`" : "", (const char *)allowed.data, (const char *)value.data,
           (d->flags & SETTING_AUTO) != 0 ? " (automatic)" : "", (d->flags & SETTING_RUN) != 0 ? "yes" : "", d->doc);
    buf_fini(&value);
    buf_fini(&allowed);
}

static void table_head(const char *title)
{
    printf("\n## %s\n\n| setting | values | default | CONFIG SET | |\n|---|---|---|---|---|\n", title);
}

static void print_table(void)
{
    const char *section = NULL;
    printf("# Settings\n\nGenerated from the declarations in `src/conf/table.def` by `make settings-docs`; "
           "[configuration.md](configuration.md) says how\nthey are given.\n");
    for (int id = 0; id < SETTING_COUNT; id++) {
        const struct setting *d = setting_by_id((enum setting_id)id);
        section = setting_section((enum setting_id)id) ? setting_section((enum setting_id)id) : section;
        if ((d->flags & SETTING_NO_EFFECT) != 0)
            continue;
        if (section != NULL)
            table_head(section);
        section = NULL;
        table_row(d);
    }
    table_head("Accepted without effect");
    for (int id = 0; id < SETTING_COUNT; id++)
        if ((setting_by_id((enum setting_id)id)->flags & SETTING_NO_EFFECT) != 0)
            table_row(setting_by_id((enum setting_id)id));
}

int main(int argc, char **argv)
{
    const char *what = argc == 2 ? argv[1] : "";
    setting_defaults(&defaults);
    if (strcmp(what, "conf") == 0)
        print_conf();
    else if (strcmp(what, "man") == 0)
        print_man();
    else if (strcmp(what, "table") == 0)
        print_table();
    else
        return fprintf(stderr, "usage: settings_doc conf|man|table\n"), 2;
    return ferror(stdout) || fclose(stdout) != 0;
}
