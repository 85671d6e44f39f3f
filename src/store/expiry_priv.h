/* Between the expiry index and its thread. */
#ifndef VARVE_STORE_EXPIRY_PRIV_H
#define VARVE_STORE_EXPIRY_PRIV_H

#include <stdint.h>

struct expiry;
/* A batch with this entry commits. Under the latch. */
struct expiry_note {
    uint32_t db;
    uint64_t ms;
};
void expiry_announce(struct expiry *e, const struct expiry_note *note, uint64_t sequence);

#endif
