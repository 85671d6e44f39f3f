/* Log bytes: the reader, the batches, and recovery as a whole. Checksums are not compared in fuzzing builds.
 *
 * The first byte chooses: its low two bits the recovery mode, bit 2 whether a front is opened over the bytes as well. The
 * rest is the content of log 1 of a data directory, which is read in each format and in none. Whatever it is: no crash, no
 * byte read outside of it, and what opens closes again. */
#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/log.h"
#include "front/log_reader.h"
#include "os/env_memory.h"

#define LOG_PATH "/data/wal/000000000001.log"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_batches(const struct log_basis *basis, struct slice payload, uint32_t batches)
{
    struct log_batch b;
    volatile uint64_t sum = 0; /* so that the bytes are read */
    for (uint32_t i = 0; i < batches && log_batch_take(&payload, basis, &b); i++) {
        for (uint64_t k = 0; k < b.counters; k++) {
            struct batch_counter c;
            log_counter_take(&b, &c);
            sum += (uint64_t)c.keys;
        }
        for (uint64_t k = 0; k < b.records; k++) {
            struct batch_record r;
            log_record_take(&b, &r);
            assert(r.key.bytes.len > 0 && r.key.bytes.len <= ENGINE_KEY_MAX);
            sum += engine_hash(r.key.bytes) + (r.value.len ? r.value.data[r.value.len - 1] : 0);
        }
    }
    (void)sum;
}

static void read_all(uint32_t format, const uint8_t *data, size_t size)
{
    struct log_reader r = {
        .basis = {.number = 1, .format = format}, .len = size, .held = size, .data = malloc(size ? size : 1)};
    struct log_header h;
    struct slice payload;
    memcpy(r.data, data, size);
    do {
        while (log_reader_next(&r, 0, &h, &payload) == LOG_STEP_RECORD)
            if (h.type == LOG_GROUP)
                read_batches(&r.basis, payload, h.batches);
        (void)log_reader_says_durable(&r, r.offset, UINT64_MAX, h.first);
        (void)log_reader_torn(&r);
        r.offset += 8;
    } while (log_reader_skip(&r));
    log_reader_close(&r);
}

/* A data directory that was opened and closed once. */
static struct env *made(struct front_options *o)
{
    static struct env *env;
    if (!env) {
        struct front *f;
        env = env_memory_new(1, ENV_MEMORY_CRASH);
        o->env = env;
        enum result res = front_open(o, &f, NULL);
        assert(res == RES_OK);
        res = front_close(f);
        assert(res == RES_OK);
    }
    return env_memory_crash(env, ENV_MEMORY_NOW, 0);
}

static void recover(const uint8_t *data, size_t size, enum front_recovery mode)
{
    struct front_options o = {.engine = &engine_lsm,
                              .dir = "/data",
                              .create = true,
                              .memtable_bytes = 1 << 16,
                              .log_segment_bytes = 16384,
                              .log_ring_bytes = 65536,
                              .tuning = {.cache_bytes = 1 << 18}};
    struct env *env = made(&o);
    struct env_file *file;
    struct front *f;
    struct errmsg msg;
    o.env = env;
    o.recovery = mode;
    enum result res = env->ops->open(env, LOG_PATH, ENV_READ | ENV_WRITE, &file);
    assert(res == RES_OK);
    res = file->ops->truncate(file, 0);
    assert(res == RES_OK);
    res = env_write(file, data, size, 0);
    assert(res == RES_OK);
    res = file->ops->close(file);
    assert(res == RES_OK);
    res = front_open(&o, &f, &msg);
    if (res == RES_OK) {
        res = front_close(f);
        assert(res == RES_OK);
    } else {
        assert(msg.text[0] != 0);
    }
    assert(env_memory_open_files(env) == 0);
    env_memory_free(env);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    log_set_level(LOG_NOTHING);
    checksum32_any = true;
    if (size < 1 || size > 65536)
        return 0;
    for (uint32_t format = 0; format <= LOG_FORMAT_VERSION; format++)
        read_all(format, data + 1, size - 1);
    if (data[0] & 4)
        recover(data + 1, size - 1, (enum front_recovery)((data[0] & 3) % 3));
    return 0;
}
