/* The one hash of an engine key. It is stored nowhere but in filters and in-block tags of table files, so it is part of
 * the table format: XXH3_64 with its default seed. It is not keyed: what a client can choose of an engine key is mixed
 * with a seeded hash before it gets here (EXECUTION.md, 32), and colliding keys cost time in one filter line only. */
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "engine/engine.h"

uint64_t engine_hash(struct slice key) { return XXH3_64bits(key.data, key.len); }
