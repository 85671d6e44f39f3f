/* CRC-64 as Redis puts it behind its snapshots and DUMP payloads: polynomial 0xad93d23594c935a9 (D. T. Jones, "Improved
 * 64-bit Cyclic Redundancy Check for Protein Sequences"), reflected, starting from 0 and not inverted at the end. */
#ifndef VARVE_BASE_CRC64_H
#define VARVE_BASE_CRC64_H

#include <stddef.h>
#include <stdint.h>

/* Goes on from crc, which is 0 at first. */
uint64_t crc64(uint64_t crc, const void *data, size_t len);

#endif
