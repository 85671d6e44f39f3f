/* The start: settings from the command line, from files and from standard input.
 *
 *     varved [FILE | -] [FLAG...] [-]
 *
 * A first argument that is no flag names the configuration file; "-", first or last, reads one from standard input. Flags
 * are settings with one dash or two, `--port 7000`, `-port 7000`, `--port=7000`, and count after everything that was
 * read. A line of a file is a name and its words (split.h); empty lines and those beginning with '#' are skipped; `include
 * PATTERN` reads other files at that place, a pattern without a match none. Later lines win over earlier ones, except
 * where a setting adds up (save, client-output-buffer-limit). */
#include <ctype.h>
#include <errno.h>
#include <glob.h>
#include <stdlib.h>

#include "conf/load.h"
#include "conf/split.h"

#define FILE_MAX ((size_t)16 * 1024 * 1024)
#define INCLUDE_DEPTH 16

struct loader {
    struct snapshot *snapshot;
    struct arena scratch;             /* texts of files, words, places */
    const char *place;                /* "file:line" or "command line" */
    const char *where[SETTING_COUNT]; /* the place each setting was last given at */
    bool begun[SETTING_COUNT];        /* given already in this round: ADDS */
    int depth;
    int flags; /* enum load_flags */
    struct errmsg *msg;
};

static enum result load_file(struct loader *l, const char *path);

static enum result out_of_memory(struct loader *l)
{
    return errmsg_set(l->msg, RES_NO_MEMORY, "%s: out of memory", l->place);
}

static char *copy_text(struct loader *l, const char *text) { return arena_copy(&l->scratch, text, strlen(text) + 1); }

static char *copy_slice(struct loader *l, struct slice text)
{
    char *copy = arena_alloc(&l->scratch, text.len + 1);
    if (copy != NULL) {
        memcpy(copy, text.len ? text.data : (const uint8_t *)"", text.len);
        copy[text.len] = 0;
    }
    return copy;
}

static enum result unknown_setting(struct loader *l, struct slice name)
{
    const char *near = setting_nearest(name);
    int len = name.len < 100 ? (int)name.len : 100;
    if (near != NULL)
        return errmsg_set(l->msg, RES_INVALID, "%s: unknown setting '%.*s'; did you mean '%s'?", l->place, len,
                          name.data, near);
    if (setting_is_foreign(name))
        return errmsg_set(l->msg, RES_INVALID, "%s: '%.*s' is a setting of Redis that this server does not have",
                          l->place, len, name.data);
    return errmsg_set(l->msg, RES_INVALID, "%s: unknown setting '%.*s'; --help lists all of them", l->place, len,
                      name.data);
}

/* Says which setting is wrong, why, and what is allowed. */
static enum result refuse(struct loader *l, const struct setting *d, const char *place, int argc,
                          const struct slice *argv, enum result res, const char *why)
{
    struct buf allowed = BUF_INIT;
    char value[120] = "";
    if (setting_describe(d, &allowed) != RES_OK)
        buf_clear(&allowed);
    if (argc == 1 && (d->flags & SETTING_SECRET) == 0)
        snprintf(value, sizeof value, " '%.*s'", argv[0].len < 100 ? (int)argv[0].len : 100,
                 (const char *)argv[0].data);
    errmsg_set(l->msg, res, "%s: %s%s: %s (allowed: %.*s)", place, d->name, value, why, (int)allowed.len,
               (const char *)allowed.data);
    buf_fini(&allowed);
    return res;
}

static enum result set_words(struct loader *l, const struct setting *d, int argc, const struct slice *argv)
{
    struct errmsg why = {""};
    enum result res = setting_parse(d, &l->snapshot->said, &l->snapshot->arena, argc, argv,
                                    (d->flags & SETTING_ADDS) != 0 && l->begun[d->id], &why);
    if (res == RES_NO_MEMORY)
        return out_of_memory(l);
    if (res != RES_OK)
        return refuse(l, d, l->place, argc, argv, res, why.text);
    l->snapshot->given[d->id] = l->begun[d->id] = true;
    l->where[d->id] = l->place;
    return RES_OK;
}

/* The setting a file or flag means, aliases included; NULL with the message set. */
static const struct setting *find_setting(struct loader *l, struct slice name)
{
    const struct setting *d = setting_find(name);
    size_t count;
    const struct setting_flag_alias *aliases = setting_flag_aliases(&count);
    for (size_t i = 0; i < count && d == NULL; i++) {
        if (!slice_eq_nocase(name, aliases[i].alias))
            continue;
        if (aliases[i].name == NULL) {
            errmsg_set(l->msg, RES_UNSUPPORTED, "%s: '%s': %s", l->place, aliases[i].alias, aliases[i].doc);
            return NULL;
        }
        return setting_find(slice_str(aliases[i].name));
    }
    if (d == NULL && unknown_setting(l, name) == RES_OK)
        abort();
    return d;
}

/* ---- files ---- */

static enum result load_include(struct loader *l, int argc, const struct slice *argv)
{
    if (argc != 1)
        return errmsg_set(l->msg, RES_INVALID, "%s: include takes one file name or pattern", l->place);
    if ((l->flags & LOAD_NO_INCLUDE) != 0)
        return errmsg_set(l->msg, RES_INVALID, "%s: include is not allowed here", l->place);
    char *pattern = copy_slice(l, argv[0]);
    if (pattern == NULL)
        return out_of_memory(l);
    glob_t found;
    int failed = glob(pattern, 0, NULL, &found);
    if (failed == GLOB_NOMATCH) /* no such file is an error unless it was a pattern */
        return strpbrk(pattern, "*?[") != NULL ? RES_OK : load_file(l, pattern);
    if (failed != 0)
        return errmsg_set(l->msg, RES_IO, "%s: include '%s': the folder cannot be read", l->place, pattern);
    enum result res = RES_OK;
    for (size_t i = 0; i < found.gl_pathc && res == RES_OK; i++)
        res = load_file(l, found.gl_pathv[i]);
    globfree(&found);
    return res;
}

static enum result load_line(struct loader *l, struct slice line)
{
    struct slice words[SPLIT_WORDS_MAX];
    int count = 0;
    size_t start = 0;
    while (start < line.len && isspace(line.data[start]))
        start++;
    if (start == line.len || line.data[start] == '#')
        return RES_OK;
    enum result res = split_line(line, &l->scratch, words, &count);
    if (res == RES_NO_MEMORY)
        return out_of_memory(l);
    if (res != RES_OK)
        return errmsg_set(l->msg, RES_INVALID, "%s: %s", l->place,
                          res == RES_INVALID ? "unbalanced quotes" : "too many words in one line");
    if (slice_eq_nocase(words[0], "include"))
        return load_include(l, count - 1, words + 1);
    const struct setting *d = find_setting(l, words[0]);
    return d == NULL ? RES_INVALID : set_words(l, d, count - 1, words + 1);
}

static enum result load_lines(struct loader *l, const char *name, struct slice text)
{
    const char *outer = l->place;
    enum result res = RES_OK;
    int line = 0;
    for (size_t at = 0; at < text.len && res == RES_OK;) {
        const uint8_t *end = memchr(text.data + at, '\n', text.len - at);
        size_t len = end ? (size_t)(end - text.data) - at : text.len - at;
        char place[512];
        snprintf(place, sizeof place, "%.480s:%d", name, ++line);
        if ((l->place = copy_text(l, place)) == NULL) {
            l->place = name;
            return out_of_memory(l);
        }
        res = load_line(l, slice_of(text.data + at, len));
        at += len + 1;
    }
    l->place = outer;
    return res;
}

static enum result load_stream(struct loader *l, const char *name, FILE *f)
{
    struct buf text = BUF_INIT;
    uint8_t piece[4096];
    size_t got;
    enum result res = RES_OK;
    while (res == RES_OK && (got = fread(piece, 1, sizeof piece, f)) > 0)
        res = text.len + got > FILE_MAX ? RES_RANGE : buf_append(&text, piece, got);
    if (res == RES_RANGE)
        errmsg_set(l->msg, res, "%s: larger than any configuration file (16 MB)", name);
    else if (res != RES_OK)
        out_of_memory(l);
    else if (ferror(f))
        res = errmsg_set(l->msg, RES_IO, "%s: cannot be read: %s", name, strerror(errno));
    else
        res = load_lines(l, name, buf_slice(&text));
    buf_fini(&text);
    return res;
}

static enum result load_file(struct loader *l, const char *path)
{
    if (l->depth == INCLUDE_DEPTH)
        return errmsg_set(l->msg, RES_INVALID, "%s: files include each other more than %d deep", l->place,
                          INCLUDE_DEPTH);
    FILE *f = fopen(path, "re");
    if (f == NULL)
        return errmsg_set(l->msg, result_from_errno(errno), "%s: cannot open '%s': %s", l->place, path,
                          strerror(errno));
    l->depth++;
    enum result res = load_stream(l, path, f);
    l->depth--;
    fclose(f);
    return res;
}

enum result load_text(struct snapshot *s, const char *name, struct slice text, int flags, struct errmsg *msg)
{
    struct loader l = {.snapshot = s, .msg = msg, .flags = flags, .place = name};
    arena_init(&l.scratch, 4096);
    enum result res = load_lines(&l, name, text);
    arena_fini(&l.scratch);
    return res;
}

/* ---- flags ---- */

static bool is_flag(const char *arg)
{
    return arg[0] == '-' && (isalpha((unsigned char)arg[1]) || (arg[1] == '-' && isalpha((unsigned char)arg[2])));
}

/* Takes the flag at argv[*at] with its values, and moves *at behind them. */
static enum result load_flag(struct loader *l, int argc, char **argv, int *at)
{
    struct slice words[SPLIT_WORDS_MAX];
    int count = 0;
    const char *flag = argv[(*at)++], *name = flag + 1 + (flag[1] == '-');
    size_t len = strcspn(name, "=");
    bool include = slice_eq_nocase(slice_of(name, len), "include");
    const struct setting *d = include ? NULL : find_setting(l, slice_of(name, len));
    if (!include && d == NULL)
        return RES_INVALID;
    bool several = d != NULL && (d->flags & SETTING_WORDS) != 0;
    if (name[len] == '=')
        words[count++] = slice_str(name + len + 1);
    else if (!several && *at == argc)
        return errmsg_set(l->msg, RES_INVALID, "%s: %s needs a value", l->place, flag);
    else if (!several) /* whatever it looks like: a password may begin with a dash */
        words[count++] = slice_str(argv[(*at)++]);
    else
        while (*at < argc && !is_flag(argv[*at]) && strcmp(argv[*at], "-") != 0 && count < SPLIT_WORDS_MAX)
            words[count++] = slice_str(argv[(*at)++]);
    return include ? load_include(l, count, words) : set_words(l, d, count, words);
}

static enum result load_arguments(struct loader *l, int argc, char **argv, enum settings_action *action)
{
    int at = 1;
    bool from_stdin = argc > 1 && strcmp(argv[argc - 1], "-") == 0;
    enum result res = RES_OK;
    l->place = "command line";
    if (from_stdin)
        argc--;
    if (at < argc && argv[at][0] != '-') {
        res = load_file(l, argv[at]);
        if (res == RES_OK && settings_set_file(argv[at]) != RES_OK)
            return errmsg_set(l->msg, RES_IO, "%s: cannot find the folder of '%s'", l->place, argv[at]);
        at++;
    } else if (at < argc && strcmp(argv[at], "-") == 0) {
        from_stdin = true;
        at++;
    }
    if (res == RES_OK && from_stdin)
        res = load_stream(l, "standard input", stdin);
    memset(l->begun, 0, sizeof l->begun);
    while (res == RES_OK && at < argc) {
        if (strcmp(argv[at], "--check-config") == 0 || strcmp(argv[at], "-check-config") == 0) {
            *action = SETTINGS_CHECK;
            at++;
        } else if (is_flag(argv[at])) {
            res = load_flag(l, argc, argv, &at);
        } else {
            return errmsg_set(l->msg, RES_INVALID, "%s: '%s' belongs to no flag; see --help", l->place, argv[at]);
        }
    }
    return res;
}

static bool asks_for(int argc, char **argv, const char *full, const char *brief)
{
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], full) == 0 || strcmp(argv[i], full + 1) == 0 || (i == 1 && strcmp(argv[i], brief) == 0))
            return true;
    return false;
}

enum result settings_load(int argc, char **argv, enum settings_action *action, struct errmsg *msg)
{
    *action = asks_for(argc, argv, "--help", "-h")      ? SETTINGS_HELP
              : asks_for(argc, argv, "--version", "-v") ? SETTINGS_VERSION
                                                        : SETTINGS_START;
    if (*action != SETTINGS_START)
        return RES_OK;
    struct loader l = {.snapshot = snapshot_new(), .msg = msg};
    const struct setting *culprit;
    struct errmsg why = {""};
    if (l.snapshot == NULL)
        return errmsg_set(msg, RES_NO_MEMORY, "out of memory");
    arena_init(&l.scratch, 4096);
    enum result res = load_arguments(&l, argc, argv, action);
    if (res == RES_OK && (res = snapshot_settle(l.snapshot, NULL, &culprit, &why)) != RES_OK)
        res = refuse(&l, culprit, l.where[culprit->id] ? l.where[culprit->id] : "settings", 0, NULL, res, why.text);
    if (res == RES_OK)
        snapshot_publish(l.snapshot);
    else
        snapshot_free(l.snapshot);
    arena_fini(&l.scratch);
    return res;
}
