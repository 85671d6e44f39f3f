/* Any bytes as a table file. Checksums are not compared in fuzzing builds, so structure is all that protects: opening,
 * gets and iterators both ways must end, inside the file's own bytes, with an answer or RES_CORRUPT.
 *
 * The input is the file; the corpus holds small real tables. */
#include <stdlib.h>

#include "base/epoch.h"
#include "base/hash.h"
#include "base/log.h"
#include "engine/lsm/table.h"
#include "os/env_memory.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void gone(struct table_owner *o, struct table *t)
{
    (void)o;
    table_close(t);
}

static void look(struct table *t)
{
    struct iter *it;
    struct slice none = slice_of(NULL, 0), value, keys[16];
    uint8_t kept[16][ENGINE_KEY_MAX], kind;
    size_t n = 0;

    if (table_iter(t, none, none, 0, false, &it) != RES_OK)
        return;
    for (enum result r = iter_seek(it, none); r == RES_OK; r = iter_next(it))
        if (n < 16) {
            memcpy(kept[n], it->key.data, it->key.len);
            keys[n] = slice_of(kept[n], it->key.len);
            n++;
        }
    for (enum result r = iter_seek_last(it, none); r == RES_OK; r = iter_prev(it))
        ;
    for (size_t i = 0; i < n; i++) {
        struct engine_key key = {keys[i], engine_hash(keys[i])};
        (void)!iter_seek(it, keys[i]);
        epoch_enter();
        (void)!table_get(t, &key, 0, &kind, &value, NULL);
        epoch_leave();
        (void)table_range_bytes(t, keys[0], keys[i]);
    }
    iter_close(it);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct env *env = env_memory_new(0, ENV_MEMORY_PLAIN);
    struct cache *cache = cache_new(100000);
    struct table_owner owner = {.gone = gone};
    struct env_file *file;
    struct table *t;
    struct errmsg msg;

    log_set_level(LOG_NOTHING);
    checksum32_any = true;
    if (env->ops->open(env, "/t", ENV_READ | ENV_WRITE | ENV_CREATE, &file) != RES_OK)
        abort();
    if (env_write(file, data, size, 0) != RES_OK)
        abort();
    if (table_open(file, "/t", 7, 0, cache, &owner, &t, &msg) == RES_OK) {
        look(t);
        table_unref(t);
    }
    epoch_drain();
    cache_free(cache);
    env_memory_free(env);
    return 0;
}
