/* Commands of the memcached protocol that Redis has no words for: conditions by CAS, flags, counters that begin somewhere.
 * They are no commands of the table: nobody can send them over RESP. Each is counted, prefetched, logged and shown by
 * MONITOR as the Redis command whose work it does, and runs as that does.
 *
 * Arguments: the name, the key, for those that bring one the value, and last the request's head, header and extras as they
 * came (memcached_head_get). Replies:
 *
 *     status                       an integer, enum memcached_status, when it is not MC_OK
 *     [0, cas]                     what stores or deletes (0)
 *     [0, cas, number]             INCREMENT, DECREMENT
 *     [0, cas, flags]              TOUCH
 *     [0, cas, flags, value]       GET, GAT
 *     [name, value, ...]           STAT
 *
 * CAS is the version of the value (store/attributes.h): the same content has the same CAS again. */
#ifndef VARVE_CMD_MEMCACHED_H
#define VARVE_CMD_MEMCACHED_H

#include "exec/command.h"

/* The memcached whose protocol this is: what VERSION begins with, because clients read numbers there, and some of them
 * (libmemcached) refuse a 0. */
#define MEMCACHED_LEVEL "1.6.18"

void memcached_commands_init(void); /* after command_table_init(), before threads start */
/* For a request's loud opcode; NULL: it is none that touches data. FLUSH is FLUSHDB itself, SASL_AUTH is AUTH. */
const struct command_entry *memcached_entry(uint8_t loud);

#endif
