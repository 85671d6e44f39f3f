/* Configuration files. What must hold for any bytes: they are read or refused with a message; nothing of a refused line
 * crashes; and what was read, written out as CONFIG REWRITE does, reads back as the same settings. */
#include <stdlib.h>

#include "conf/load.h"
#include "conf/settings_change.h"
#include "conf/split.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds)
        abort();
}

static void check_quoting(struct slice bytes)
{
    struct arena arena;
    struct buf line = BUF_INIT;
    struct slice words[SPLIT_WORDS_MAX];
    int count = 0;
    arena_init(&arena, 512);
    require(split_quote(bytes, &line) == RES_OK);
    require(split_line(buf_slice(&line), &arena, words, &count) == RES_OK);
    require(count == 1 && slice_eq(words[0], bytes));
    buf_fini(&line);
    arena_fini(&arena);
}

/* Every setting as a line of a file, and back. */
static void check_round_trip(const struct snapshot *s)
{
    struct buf text = BUF_INIT;
    struct errmsg msg = {""};
    struct snapshot *again = snapshot_new();
    require(again != NULL);
    for (int id = 0; id < SETTING_COUNT; id++) {
        const struct setting *d = setting_by_id((enum setting_id)id);
        require(buf_printf(&text, "%s ", d->name) == RES_OK);
        require(setting_write(d, &s->said, &text) == RES_OK);
        require(buf_append(&text, "\n", 1) == RES_OK);
    }
    require(load_text(again, "again", buf_slice(&text), LOAD_NO_INCLUDE, &msg) == RES_OK);
    for (int id = 0; id < SETTING_COUNT; id++)
        require(setting_equal(setting_by_id((enum setting_id)id), &s->said, &again->said));
    snapshot_free(again);
    buf_fini(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice text = slice_of(data, size);
    struct errmsg msg = {""};
    const struct setting *culprit = NULL;
    struct snapshot *s = snapshot_new();
    require(s != NULL);
    check_quoting(text);
    if (load_text(s, "fuzz", text, LOAD_NO_INCLUDE, &msg) != RES_OK) {
        require(msg.text[0] != 0);
    } else {
        struct snapshot *clone = snapshot_clone(s);
        require(clone != NULL);
        check_round_trip(clone);
        if (snapshot_settle(clone, NULL, &culprit, &msg) != RES_OK)
            require(culprit != NULL && msg.text[0] != 0);
        snapshot_free(clone);
    }
    snapshot_free(s);
    return 0;
}
