/* Epoch-based reclamation for lock-free readers: a thin wrapper over Concurrency Kit's ck_epoch, in one place, which
 * tells ThreadSanitizer what orders what. One domain for the process.
 *
 * A reader enters a section, loads shared pointers, and leaves; what it loaded stays valid until it leaves. Sections
 * end within 1 ms and never wait for a disk, a lock or another thread. They nest. A thread registers itself on its
 * first epoch_enter() and is unregistered when it ends. A writer that unlinked an object calls epoch_retire(): its
 * destructor runs on some thread after every section that might have seen it has ended. */
#ifndef VARVE_BASE_EPOCH_H
#define VARVE_BASE_EPOCH_H

struct epoch_entry { /* embed in what is to be reclaimed */
    void *opaque[4];
};
typedef void epoch_free_fn(struct epoch_entry *entry);

void epoch_enter(void);
void epoch_leave(void);
int epoch_depth(void); /* nesting depth of this thread, for asserts */
/* The object is unlinked already. Never called inside a section that still uses it afterwards. */
void epoch_retire(struct epoch_entry *entry, epoch_free_fn *destroy);
/* Runs destructors that are due, without waiting, a bounded number a call; reactors call it once a loop, background
 * threads between jobs. What any thread retired is destroyed by whoever polls; nothing to do costs a load or two. */
void epoch_poll(void);
/* Waits until everything retired by now, on any thread, has been destroyed. Not inside a section. For shutdown and tests. */
void epoch_drain(void);
/* Called by epoch_drain() between two tries; NULL: sleep a moment. The deterministic scheduler (os/sched.h) sets it, so
 * that the reader that is waited for gets its turn. */
extern void (*epoch_idle)(void);

#endif
