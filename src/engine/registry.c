/* The engines by name. This is the only file of the room that knows the rooms above it, by symbol, never by header: a
 * program that calls engine_by_name() links them all. */
#include "engine/engine.h"

const struct engine_ops *engine_by_name(const char *name)
{
    static const struct engine_ops *const engines[] = {&engine_lsm, &engine_btree, &engine_file, &engine_memory};

    for (size_t i = 0; i < sizeof engines / sizeof engines[0]; i++)
        if (strcmp(engines[i]->name, name) == 0)
            return engines[i];
    return NULL;
}
