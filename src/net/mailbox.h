/* Messages to a reactor from any thread: a lock-free stack of intrusive messages that its reactor takes whole and turns
 * round, so that each sender's messages come in the order they were sent. */
#ifndef VARVE_NET_MAILBOX_H
#define VARVE_NET_MAILBOX_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

struct reactor;
struct mail {
    struct mail *next;
    /* On the reactor; the message may be freed or sent again in here. */
    void (*deliver)(struct reactor *r, struct mail *m);
};
struct mailbox {
    _Atomic(struct mail *) newest;
};

static inline void mailbox_put(struct mailbox *b, struct mail *m)
{
    struct mail *head = atomic_load_explicit(&b->newest, memory_order_relaxed);
    do {
        m->next = head;
    } while (!atomic_compare_exchange_weak(&b->newest, &head, m)); /* seq_cst: see reactor_notify() */
}

static inline bool mailbox_empty(struct mailbox *b) { return atomic_load(&b->newest) == NULL; }

/* All messages, the oldest first. */
static inline struct mail *mailbox_take(struct mailbox *b)
{
    if (atomic_load_explicit(&b->newest, memory_order_relaxed) == NULL)
        return NULL;
    struct mail *m = atomic_exchange(&b->newest, NULL), *oldest = NULL;
    while (m != NULL) {
        struct mail *next = m->next;
        m->next = oldest;
        oldest = m;
        m = next;
    }
    return oldest;
}

#endif
