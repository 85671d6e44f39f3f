/* Epochs: what a section has loaded stays valid until the section ends; what was retired is destroyed, exactly once, on
 * busy readers too, and also when the thread that retired it has ended. Under ThreadSanitizer and AddressSanitizer an
 * early destruction is a report. */
#include <pthread.h>
#include <unistd.h>

#include "base/epoch.h"
#include "tests/lib/tap.h"

struct object {
    struct epoch_entry entry;
    uint64_t value;
};

static atomic_ullong destroyed;
static atomic_bool stop;
static struct object *_Atomic shared;

static struct object *object_new(uint64_t value)
{
    struct object *o = malloc(sizeof *o);
    if (!o)
        abort();
    o->value = value;
    return o;
}

static void object_destroy(struct epoch_entry *e)
{
    struct object *o = (struct object *)e;
    o->value = UINT64_MAX; /* a reader that still holds it would see */
    free(o);
    atomic_fetch_add(&destroyed, 1);
}

static void *reader(void *arg)
{
    uint64_t last = 0, rounds = 0;
    (void)arg;
    while (!atomic_load(&stop)) {
        epoch_enter();
        epoch_enter();
        struct object *o = atomic_load_explicit(&shared, memory_order_acquire);
        uint64_t v = o->value;
        tap_check(v != UINT64_MAX && v >= last);
        last = v;
        epoch_leave();
        tap_check(epoch_depth() == 1);
        tap_check(o->value == v);
        epoch_leave();
        epoch_poll();
        rounds++;
    }
    tap_check(rounds > 0);
    return NULL;
}

static void readers_never_see_a_destroyed_object(void)
{
    enum { COUNT = 200000 };
    pthread_t threads[3];
    uint64_t before = atomic_load(&destroyed);

    atomic_store(&stop, false);
    atomic_store(&shared, object_new(0));
    for (int i = 0; i < 3; i++)
        pthread_create(&threads[i], NULL, reader, NULL);
    for (uint64_t i = 1; i <= COUNT; i++) {
        struct object *old = atomic_exchange(&shared, object_new(i));
        epoch_retire(&old->entry, object_destroy);
        if (i % 1000 == 0)
            usleep(100);
    }
    /* Nobody but the busy readers polls now. */
    for (int i = 0; i < 10000 && atomic_load(&destroyed) - before < COUNT; i++)
        usleep(1000);
    tap_eq_u64(atomic_load(&destroyed) - before, COUNT);
    atomic_store(&stop, true);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    free(atomic_load(&shared));
}

static atomic_int step;

static void *holder(void *arg)
{
    (void)arg;
    epoch_enter();
    atomic_store(&step, 1);
    while (atomic_load(&step) != 2)
        usleep(100);
    epoch_leave();
    return NULL;
}

static void an_open_section_holds_destruction_back(void)
{
    pthread_t t;
    uint64_t before = atomic_load(&destroyed);

    atomic_store(&step, 0);
    pthread_create(&t, NULL, holder, NULL);
    while (atomic_load(&step) != 1)
        usleep(100);
    epoch_retire(&object_new(1)->entry, object_destroy);
    for (int i = 0; i < 1000; i++)
        epoch_poll();
    tap_eq_u64(atomic_load(&destroyed), before);
    atomic_store(&step, 2);
    epoch_drain();
    tap_eq_u64(atomic_load(&destroyed), before + 1);
    pthread_join(t, NULL);
}

static void own_section_holds_destruction_back(void)
{
    uint64_t before = atomic_load(&destroyed);
    epoch_enter();
    epoch_retire(&object_new(1)->entry, object_destroy);
    for (int i = 0; i < 1000; i++)
        epoch_poll();
    tap_eq_u64(atomic_load(&destroyed), before);
    epoch_leave();
    for (int i = 0; i < 10; i++)
        epoch_poll();
    tap_eq_u64(atomic_load(&destroyed), before + 1);
}

static void *retire_and_end(void *arg)
{
    (void)arg;
    epoch_enter();
    epoch_retire(&object_new(1)->entry, object_destroy);
    epoch_leave();
    epoch_retire(&object_new(1)->entry, object_destroy);
    return NULL;
}

static void what_an_ended_thread_retired_is_destroyed(void)
{
    uint64_t before = atomic_load(&destroyed);
    for (int i = 0; i < 500; i++) {
        pthread_t t;
        pthread_create(&t, NULL, retire_and_end, NULL);
        pthread_join(t, NULL);
    }
    epoch_drain();
    tap_eq_u64(atomic_load(&destroyed) - before, 1000);
}

static void *retire_many(void *arg)
{
    (void)arg;
    for (int i = 0; i < 20000; i++) {
        epoch_retire(&object_new(1)->entry, object_destroy);
        if (i % 64 == 0)
            epoch_poll();
    }
    return NULL;
}

static void retiring_from_many_threads_loses_nothing(void)
{
    pthread_t t[4];
    uint64_t before = atomic_load(&destroyed);
    for (int i = 0; i < 4; i++)
        pthread_create(&t[i], NULL, retire_many, NULL);
    for (int i = 0; i < 4; i++)
        pthread_join(t[i], NULL);
    epoch_drain();
    tap_eq_u64(atomic_load(&destroyed) - before, 80000);
}

static void chain_destroy(struct epoch_entry *e)
{
    struct object *o = (struct object *)e;
    if (o->value > 0)
        epoch_retire(&object_new(o->value - 1)->entry, chain_destroy);
    object_destroy(e);
    epoch_poll(); /* allowed, does nothing here */
}

static void a_destructor_may_retire(void)
{
    uint64_t before = atomic_load(&destroyed);
    epoch_retire(&object_new(9)->entry, chain_destroy);
    for (int i = 0; i < 10; i++)
        epoch_drain();
    tap_eq_u64(atomic_load(&destroyed) - before, 10);
}

int main(void)
{
    tap_test(own_section_holds_destruction_back);
    tap_test(an_open_section_holds_destruction_back);
    tap_test(readers_never_see_a_destroyed_object);
    tap_test(what_an_ended_thread_retired_is_destroyed);
    tap_test(retiring_from_many_threads_loses_nothing);
    tap_test(a_destructor_may_retire);
    return tap_done();
}
