/* kvctl dump of the files that the engines file and btree have: data and hint files, FILES, LMDB's file. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "engine/btree/pages.h"
#include "engine/file/file.h"
#include "tools/kvctl/dump.h"

/* ---- data and hint files ---- */

static int open_data(const char *path, uint64_t number, struct datafile **out)
{
    struct errmsg msg = {""};
    const char *slash = strrchr(path, '/');
    char *dir = slash ? strndup(path, slash == path ? 1 : (size_t)(slash - path)) : strdup(".");
    if (!dir)
        return complain("out of memory");
    enum result r = datafile_open(env_posix(), dir, number, 0, out, &msg);
    free(dir);
    return r == RES_OK ? KVCTL_DONE : complain("%s", msg.text);
}

int dump_data(const char *path, uint64_t number)
{
    struct datafile_walk w = {.d = NULL};
    uint64_t records = 0;
    int status = open_data(path, number, &w.d);
    if (status != KVCTL_DONE)
        return status;
    printf("data file %06" PRIu64 ", %" PRIu64 " bytes\n", number, w.d->size);
    enum result r;
    while ((r = datafile_walk_next(&w)) == RES_OK) {
        printf("%" PRIu64 ": ", w.offset);
        dump_record(w.kind, w.key, w.value);
        records++;
    }
    if (r == RES_NOT_FOUND)
        printf("%" PRIu64 ": the end, %" PRIu64 " records\n", w.offset, records);
    else
        status = complain("%s: the record at offset %" PRIu64 " does not hold: %s", path, w.offset, result_text(r));
    datafile_walk_fini(&w);
    datafile_close(w.d);
    return status;
}

static void put_hint(const struct iter *it)
{
    struct keydir_place place;
    memcpy(&place, it->value.data, sizeof place);
    printf("%" PRIu64 ": %s ", place.offset, it->kind == RECORD_DELETE ? "delete" : "put");
    dump_bytes(it->key, SIZE_MAX);
    if (it->kind != RECORD_DELETE)
        printf(", %" PRIu32 " bytes", place.value);
    if (it->value.len > sizeof place) {
        fputs(", up to ", stdout);
        dump_bytes(slice_of(it->value.data + sizeof place, it->value.len - sizeof place), SIZE_MAX);
    }
    putchar('\n');
}

int dump_hints(const char *path, uint64_t number)
{
    struct datafile *d;
    struct errmsg msg = {""};
    struct iter *it;
    bool holds;
    int status = open_data(path, number, &d);
    if (status != KVCTL_DONE)
        return status;
    enum result r = datafile_hint_holds(d, &holds);
    if (r == RES_OK && !holds)
        r = RES_CORRUPT; /* read on, it would be made anew */
    if (r != RES_OK) {
        datafile_close(d);
        return complain("%s does not hold, or is not that of its data file: %s", path, result_text(r));
    }
    if ((r = datafile_hints(d, &it, &msg)) == RES_OK) {
        printf("hint file %06" PRIu64 " of a data file of %" PRIu64 " bytes, %" PRIu64 " records\n", number, d->size,
               d->records);
        for (r = iter_seek(it, slice_of(NULL, 0)); r == RES_OK; r = iter_next(it))
            put_hint(it);
        iter_close(it);
    }
    datafile_close(d);
    return r == RES_NOT_FOUND ? KVCTL_DONE : complain("%s does not hold: %s", path, result_text(r));
}

/* ---- FILES ---- */

static void put_state(struct slice state)
{
    if (state.len >= 36)
        printf("  state: log %012" PRIu64 " holds the boundary, %" PRIu32 " counters\n", get_le64(state.data + 16),
               get_le32(state.data + 32));
}

int dump_files(const char *path)
{
    struct files_list l;
    struct errmsg msg = {""};
    enum result r = files_read(env_posix(), path, &l, &msg);
    if (r != RES_OK)
        return complain("%s", msg.text[0] ? msg.text : result_text(r));
    printf("list of files: next number %" PRIu64 ", next order %" PRIu64 ", boundary %" PRIu64 ", %zu files\n",
           l.next_number, l.next_order, l.sequence, l.count);
    put_state(l.state);
    for (size_t i = 0; i < l.count; i++)
        printf("  file %06" PRIu64 " order %" PRIu64 " %" PRIu64 " bytes\n", l.entries[i].number, l.entries[i].order,
               l.entries[i].size);
    files_list_fini(&l);
    return KVCTL_DONE;
}

/* ---- LMDB ---- */

struct tree {
    const char *path;
    uint32_t page_bytes;
    uint64_t records, faults;
};

static void put_page(void *arg, uint64_t page, bool leaf, unsigned nodes)
{
    const struct tree *t = arg;
    printf("%" PRIu64 ": page %" PRIu64 ", %s, %u %s\n", page * t->page_bytes, page, leaf ? "leaf" : "branch", nodes,
           leaf ? "records" : "children");
}

static enum result put_stored(void *arg, uint64_t page, struct slice key, struct slice stored)
{
    struct tree *t = arg;
    struct slice value;
    struct btree_boundary b;
    bool boundary = slice_eq(key, btree_boundary_key);
    (void)page;
    t->records++;
    fputs("  ", stdout);
    if (boundary && btree_boundary_parse(stored, &b)) {
        printf("boundary %" PRIu64 ", next number %" PRIu64 ", format %" PRIu32 "\n", b.sequence, b.next_number,
               b.version);
        put_state(b.state);
    } else if (!boundary && btree_stored_value(key, stored, &value)) {
        dump_record(RECORD_PUT, key, value);
    } else {
        t->faults++;
        fputs("damaged ", stdout);
        dump_record(RECORD_PUT, key, stored);
    }
    return RES_OK;
}

static void put_fault(void *arg, uint64_t page, bool whole, const char *what)
{
    struct tree *t = arg;
    t->faults++;
    printf("%" PRIu64 ": page %" PRIu64 "%s does not hold: %s\n", page * t->page_bytes, page, whole ? "" : ", a record",
           what);
}

int dump_tree(const char *path)
{
    struct errmsg msg = {""};
    struct pages p;
    struct tree t = {.path = path};
    const struct pages_visitor v = {&t, put_stored, put_fault, put_page};
    enum result r = pages_open(&p, env_posix(), path, &msg);
    if (r != RES_OK)
        return complain("%s", msg.text);
    t.page_bytes = p.page_bytes;
    printf("tree in pages of %" PRIu32 " bytes, the file has %" PRIu64 "\n", p.page_bytes, p.size);
    for (int i = 0; i < 2; i++) {
        const struct pages_meta *m = &p.meta[i];
        if (m->holds)
            printf("%" PRIu64 ": page %d, transaction %" PRIu64 "%s: root %" PRId64 ", %" PRIu64
                   " records, last page %" PRIu64 "\n",
                   (uint64_t)i * p.page_bytes, i, m->transaction, i == p.newest ? ", in force" : "", (int64_t)m->root,
                   m->records, m->last_page);
        else
            put_fault(&t, (uint64_t)i, true, "it is one of the two that name the tree");
    }
    r = pages_walk(&p, &p.meta[p.newest], &v);
    uint64_t expected = p.meta[p.newest].records;
    pages_close(&p);
    if (r != RES_OK)
        return complain("%s: %s", path, result_text(r));
    printf("%" PRIu64 " records of %" PRIu64 "\n", t.records, expected);
    return t.faults || t.records != expected ? complain("%s: %" PRIu64 " things do not hold", path, t.faults)
                                             : KVCTL_DONE;
}
