/* Any bytes as a manifest: parsing ends with a state or a refusal, and what was parsed survives being written whole and
 * parsed again. The input is the file, read as manifest 1. */
#include <stdlib.h>

#include "base/hash.h"
#include "base/log.h"
#include "engine/lsm/manifest.h"
#include "os/env_memory.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool put_state(struct buf *b, const struct manifest_state *s)
{
    if (manifest_put_number(b, MANIFEST_FORMAT, MANIFEST_VERSION) != RES_OK ||
        manifest_put_number(b, MANIFEST_NEXT_NUMBER, s->next_number) != RES_OK ||
        manifest_put_number(b, MANIFEST_SEQUENCE, s->sequence) != RES_OK ||
        manifest_put_bytes(b, MANIFEST_STATE, buf_slice(&s->state)) != RES_OK)
        return false;
    for (size_t i = 0; i < s->count; i++)
        if (manifest_put_add(b, &s->tables[i]) != RES_OK)
            return false;
    return true;
}

static bool equal(const struct manifest_state *a, const struct manifest_state *b)
{
    bool same = a->next_number == b->next_number && a->sequence == b->sequence && a->count == b->count &&
                slice_eq(buf_slice(&a->state), buf_slice(&b->state));
    for (size_t i = 0; same && i < a->count; i++) {
        const struct manifest_table *x = &a->tables[i], *y = &b->tables[i];
        same = x->number == y->number && x->run == y->run && x->size == y->size && x->level == y->level &&
               x->region == y->region;
    }
    return same;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct manifest_state s = {0}, again = {0};
    struct errmsg msg;
    size_t good;

    log_set_level(LOG_NOTHING);
    checksum32_any = true;
    if (manifest_parse(slice_of(data, size), "/m", 1, &s, &good, &msg) == RES_OK) {
        struct env *env = env_memory_new(0, ENV_MEMORY_PLAIN);
        struct manifest m = {.env = env, .dir = "/"}, back;
        struct buf b = BUF_INIT;
        bool in_doubt;
        if (good > size || !put_state(&b, &s) || manifest_start(&m, 1, buf_slice(&b), &in_doubt) != RES_OK)
            abort();
        manifest_close(&m);
        if (manifest_open(&back, env, "/", &again, &msg) != RES_OK || !equal(&s, &again))
            abort();
        manifest_close(&back);
        buf_fini(&b);
        env_memory_free(env);
    }
    manifest_state_fini(&s);
    manifest_state_fini(&again);
    return 0;
}
