/* The common budget of what clients have sent and what is not executed yet: requests still on their way, and those whose
 * command runs. client-query-buffer-limit bounds one client; a hundred of them may each stay below it and still be more than
 * the machine has. Nobody can be made to wait here, since who has sent half a request keeps its memory for as long as he
 * likes. So when the sum is over the budget, the client that has most of it is closed, on the reactor that has most of it;
 * should that reactor be busy, at twice the budget whoever sends more, unless it is little.
 *
 * Only shares above 64 KiB are counted: the sum costs nothing where requests are small. */
#ifndef VARVE_NET_INPUT_BUDGET_H
#define VARVE_NET_INPUT_BUDGET_H

#include "net/connection.h"

/* On the connection's reactor: after its input has grown or been executed. */
void input_count(struct connection *c, size_t memory);
/* After it has grown to `memory`. False: this client has to be closed now. Others, and this one too, may be closed
 * already when it returns. */
bool input_within_budget(struct connection *c, size_t memory) MUST_CHECK;
/* Its share is no longer counted. */
void input_uncount(struct connection *c);

#endif
