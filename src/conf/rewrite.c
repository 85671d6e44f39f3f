/* CONFIG REWRITE: the configuration file again, with the settings as they are now.
 *
 * A line whose setting has the value it gives stays byte for byte, as do comments, empty lines and includes. Where the
 * lines of a setting give another value, the first of them is replaced and the others go. Then the new text is read as a
 * start would read it, includes and all, and what still differs is added at the end: settings the file did not name, and
 * those that an included file sets otherwise. So a start with the new file finds what was there when it was written. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conf/load.h"
#include "conf/settings_change.h"
#include "conf/split.h"

#define ADDED "# Written by CONFIG REWRITE:"

struct rewrite {
    const struct snapshot *now;
    struct snapshot *file;    /* what the file's own lines say, without includes */
    bool keep[SETTING_COUNT]; /* they say what holds */
    bool done[SETTING_COUNT]; /* its new line is written */
    struct arena scratch;
    struct buf *out;
};

typedef enum result line_fn(struct rewrite *r, struct slice line, const struct setting *d, int argc,
                            const struct slice *argv);

/* The setting of a line and its words; NULL for comments, includes and what is no setting. */
static const struct setting *setting_of_line(struct rewrite *r, struct slice line, int *argc,
                                             struct slice words[SPLIT_WORDS_MAX])
{
    size_t start = 0, count;
    while (start < line.len && (line.data[start] == ' ' || line.data[start] == '\t'))
        start++;
    if (start == line.len || line.data[start] == '#')
        return NULL;
    if (split_line(line, &r->scratch, words, argc) != RES_OK || *argc == 0)
        return NULL;
    const struct setting *d = setting_find(words[0]);
    const struct setting_flag_alias *aliases = setting_flag_aliases(&count);
    for (size_t i = 0; i < count && d == NULL; i++)
        if (aliases[i].name != NULL && slice_eq_nocase(words[0], aliases[i].alias))
            d = setting_find(slice_str(aliases[i].name));
    return d;
}

static enum result each_line(struct rewrite *r, struct slice text, line_fn *each)
{
    struct slice words[SPLIT_WORDS_MAX];
    enum result res = RES_OK;
    for (size_t at = 0; at < text.len && res == RES_OK;) {
        const uint8_t *end = memchr(text.data + at, '\n', text.len - at);
        size_t len = end ? (size_t)(end - text.data) - at : text.len - at;
        struct slice line = slice_of(text.data + at, len);
        int argc = 0;
        const struct setting *d = setting_of_line(r, line, &argc, words);
        res = each(r, line, d, argc - 1, words + 1);
        arena_reset(&r->scratch);
        at += len + 1;
    }
    return res;
}

static enum result note_value(struct rewrite *r, struct slice line, const struct setting *d, int argc,
                              const struct slice *argv)
{
    (void)line;
    if (d == NULL)
        return RES_OK;
    enum result res = setting_parse(d, &r->file->said, &r->file->arena, argc, argv,
                                    (d->flags & SETTING_ADDS) != 0 && r->file->given[d->id], NULL);
    r->file->given[d->id] = true;
    return res == RES_NO_MEMORY ? res : RES_OK; /* a line that is wrong now is replaced */
}

static enum result write_setting(struct rewrite *r, const struct setting *d)
{
    enum result res = buf_printf(r->out, "%s ", d->name);
    if (res == RES_OK)
        res = setting_write(d, &r->now->said, r->out);
    return res == RES_OK ? buf_append(r->out, "\n", 1) : res;
}

static enum result write_line(struct rewrite *r, struct slice line, const struct setting *d, int argc,
                              const struct slice *argv)
{
    (void)argc;
    (void)argv;
    if (d == NULL || r->keep[d->id]) {
        enum result res = buf_append(r->out, line.data, line.len);
        return res == RES_OK ? buf_append(r->out, "\n", 1) : res;
    }
    if (r->done[d->id])
        return RES_OK;
    r->done[d->id] = true;
    return write_setting(r, d);
}

/* Adds what a start with the text so far would lack. */
static enum result write_missing(struct rewrite *r)
{
    struct snapshot *loaded = snapshot_new();
    struct slice text = buf_slice(r->out);
    bool added = false;
    if (loaded == NULL)
        return RES_NO_MEMORY;
    /* Our own headline must not be written again and again. */
    bool headed = memmem(text.data ? text.data : (const uint8_t *)"", text.len, ADDED, strlen(ADDED)) != NULL;
    enum result res = load_text(loaded, "rewritten file", text, 0, NULL);
    if (res != RES_NO_MEMORY) /* an include that cannot be read now is left for the start to complain of */
        res = RES_OK;
    for (int id = 0; id < SETTING_COUNT && res == RES_OK; id++) {
        const struct setting *d = setting_by_id((enum setting_id)id);
        if (setting_equal(d, &loaded->said, &r->now->said))
            continue;
        if (!added && !headed)
            res = buf_printf(r->out, "%s" ADDED "\n", r->out->len ? "\n" : "");
        added = true;
        if (res == RES_OK && d->type == SETTING_STRING && (d->flags & SETTING_ADDS) != 0 && loaded->given[id])
            res = buf_printf(r->out, "%s \"\"\n", d->name); /* forget the lines before, which would add up */
        if (res == RES_OK)
            res = write_setting(r, d);
    }
    snapshot_free(loaded);
    return res;
}

enum result settings_rewrite_text(struct slice old, struct buf *out)
{
    struct snapshot *now = snapshot_hold();
    struct rewrite r = {.now = now, .file = snapshot_new(), .out = out};
    enum result res = r.file == NULL ? RES_NO_MEMORY : RES_OK;
    arena_init(&r.scratch, 4096);
    if (res == RES_OK)
        res = each_line(&r, old, note_value);
    for (int id = 0; id < SETTING_COUNT && res == RES_OK; id++) {
        const struct setting *d = setting_by_id((enum setting_id)id);
        r.keep[id] = r.file->given[id] && setting_equal(d, &r.file->said, &now->said);
    }
    if (res == RES_OK)
        res = each_line(&r, old, write_line);
    if (res == RES_OK)
        res = write_missing(&r);
    arena_fini(&r.scratch);
    snapshot_free(r.file);
    snapshot_release(now);
    return res;
}

/* ---- the file ---- */

static enum result fail(struct errmsg *msg, const char *what, const char *path)
{
    return errmsg_set(msg, RES_IO, "%s '%.300s': %s", what, path, strerror(errno));
}

static enum result read_file(const char *path, struct buf *out, struct stat *st, struct errmsg *msg)
{
    uint8_t piece[4096];
    size_t got;
    enum result res = RES_OK;
    FILE *f = fopen(path, "re");
    if (f == NULL)
        return fail(msg, "cannot read", path);
    if (fstat(fileno(f), st) != 0)
        res = fail(msg, "cannot read", path);
    while (res == RES_OK && (got = fread(piece, 1, sizeof piece, f)) > 0)
        res = buf_append(out, piece, got);
    if (res == RES_OK && ferror(f))
        res = fail(msg, "cannot read", path);
    fclose(f);
    return res;
}

static bool write_all(int fd, struct slice text)
{
    while (text.len > 0) {
        ssize_t n = write(fd, text.data, text.len);
        if (n < 0 && errno != EINTR)
            return false;
        text = n > 0 ? slice_of(text.data + n, text.len - (size_t)n) : text;
    }
    return true;
}

/* Puts the text in place of the file, with its owner and mode: beside it first, then renamed over it. */
static enum result replace_file(const char *path, struct slice text, const struct stat *st, struct errmsg *msg)
{
    char temporary[PATH_MAX + 16], folder[PATH_MAX];
    snprintf(temporary, sizeof temporary, "%.*s.XXXXXX", PATH_MAX - 1, path);
    snprintf(folder, sizeof folder, "%s", path);
    *strrchr(folder, '/') = 0;
    int fd = mkostemp(temporary, O_CLOEXEC);
    if (fd < 0)
        return fail(msg, "cannot write beside", path);
    enum result res = RES_OK;
    if (fchown(fd, st->st_uid, st->st_gid) != 0 && errno != EPERM)
        res = fail(msg, "cannot set the owner of", temporary);
    else if (fchmod(fd, st->st_mode & 07777) != 0 || !write_all(fd, text) || fsync(fd) != 0)
        res = fail(msg, "cannot write", temporary);
    if (close(fd) != 0 && res == RES_OK)
        res = fail(msg, "cannot write", temporary);
    if (res == RES_OK && rename(temporary, path) != 0)
        res = fail(msg, "cannot replace", path);
    if (res != RES_OK) {
        unlink(temporary);
        return res;
    }
    fd = open(*folder ? folder : "/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) != 0)
        res = fail(msg, "cannot sync the folder of", path);
    if (fd >= 0)
        close(fd);
    return res;
}

enum result settings_rewrite(struct errmsg *msg)
{
    const char *path = settings_file();
    struct buf old = BUF_INIT, text = BUF_INIT;
    struct stat st;
    if (*path == 0)
        return RES_NOT_FOUND;
    enum result res = read_file(path, &old, &st, msg);
    if (res == RES_OK)
        res = settings_rewrite_text(buf_slice(&old), &text);
    if (res == RES_OK)
        res = replace_file(path, buf_slice(&text), &st, msg);
    buf_fini(&old);
    buf_fini(&text);
    return res;
}
