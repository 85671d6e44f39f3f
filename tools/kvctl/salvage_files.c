/* Salvaging a directory of the engine file: see salvage.h. The list of files is put in force in one step, as the engine does
 * it; until then, what was written are files that nothing names. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/file/file.h"
#include "tools/kvctl/salvage.h"

static void highest_number(void *arg, const char *name)
{
    uint64_t number, *highest = arg;
    if (datafile_number(name, &number) && number > *highest)
        *highest = number;
}

static bool is_listed(void *arg, uint64_t number)
{
    const struct files_list *l = arg;
    for (size_t i = 0; i < l->count; i++)
        if (l->entries[i].number == number)
            return true;
    return false;
}

/* *keep: the file, or its copy, stays in the list. */
static enum result salvage_one(struct salvage_data *d, struct files_list *l, struct files_entry *e, bool *keep)
{
    char name[64];
    bool whole;
    uint64_t size = e->size;
    *keep = true;
    enum result r = salvage_data_look(d, e->number, size, &whole);
    if (r == RES_OK && whole)
        return r;
    if (r != RES_OK && r != RES_NOT_FOUND)
        return r;
    *keep = r == RES_OK && d->records > 0;
    d->salvage->changed = true;
    d->lost += !*keep;
    d->cut += *keep;
    snprintf(name, sizeof name, "%06" PRIu64 ".dat", e->number);
    r = salvage_keep(d->salvage, d->env, d->dir, d->folder, name, d->msg);
    if (r != RES_OK || !*keep)
        return r;
    uint64_t number = l->next_number++;
    r = salvage_data_copy(d, e->number, size, d->folder, number);
    e->number = number;
    e->size = d->size;
    return r;
}

static int by_number(const void *a, const void *b)
{
    const struct files_entry *x = a, *y = b;
    return (x->number > y->number) - (x->number < y->number);
}

static enum result install(struct salvage_data *d, struct files_list *l)
{
    char folder[4096];
    struct buf b = BUF_INIT;
    snprintf(folder, sizeof folder, "%s/%s", d->dir, d->folder);
    if (l->count)
        qsort(l->entries, l->count, sizeof *l->entries, by_number);
    enum result r = d->env->ops->sync_dir(d->env, folder);
    if (r == RES_OK)
        r = files_encode(l, &b);
    if (r == RES_OK)
        r = env_install_file(d->env, d->dir, FILES_NAME, buf_slice(&b));
    buf_fini(&b);
    return r == RES_OK ? r : errmsg_set(d->msg, r, "%s/" FILES_NAME " cannot be written: %s", d->dir, result_text(r));
}

static enum result each_file(struct salvage_data *d, struct files_list *l)
{
    size_t kept = 0;
    enum result r = salvage_private(d, is_listed, l);
    uint64_t before = d->lost + d->cut;
    for (size_t i = 0; r == RES_OK && i < l->count; i++) {
        bool keep;
        r = salvage_one(d, l, &l->entries[i], &keep);
        if (r == RES_OK && keep)
            l->entries[kept++] = l->entries[i];
    }
    if (r != RES_OK)
        return r;
    l->count = kept;
    return d->lost + d->cut > before ? install(d, l) : RES_OK;
}

enum result salvage_files(struct env *env, const char *dir, struct salvage *out, struct errmsg *msg)
{
    struct salvage_data d = {.salvage = out, .env = env, .dir = dir, .folder = "data", .msg = msg};
    struct files_list l;
    char path[4096];
    uint64_t highest = 0;
    out->tried = true;
    snprintf(path, sizeof path, "%s/" FILES_NAME, dir);
    enum result r = files_read(env, path, &l, msg);
    if (r != RES_OK) /* what it says names the file */
        return r == RES_NOT_FOUND
                   ? errmsg_set(msg, RES_CORRUPT, "%s is missing: which data files count cannot be told", path)
                   : r;
    snprintf(path, sizeof path, "%s/data", dir);
    r = env->ops->list(env, path, highest_number, &highest);
    if (r != RES_OK)
        (void)errmsg_set(msg, r, "cannot list %s: %s", path, result_text(r));
    if (l.next_number <= highest)
        l.next_number = highest + 1;
    if (r == RES_OK)
        r = each_file(&d, &l);
    files_list_fini(&l);
    snprintf(out->told, sizeof out->told,
             "%" PRIu64 " data files: %" PRIu64 " lost, %" PRIu64 " without some of their records, %" PRIu64
             " hint files made anew",
             d.files, d.lost, d.cut, d.hints);
    return r;
}
