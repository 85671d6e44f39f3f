/* Settings read while they change. What must hold: a reader sees each change whole, inside an epoch section and by a
 * reference it holds; what it holds stays as it was; changes by several threads follow each other, and all snapshots are
 * given back. Run under ThreadSanitizer and AddressSanitizer. */
#include "base/epoch.h"
#include "conf/settings.h"
#include "conf/settings_change.h"
#include "os/thread.h"
#include "tests/lib/tap.h"

#define READERS 3
#define WRITERS 2

static atomic_bool stop;
static atomic_int published_wrong;

/* Writers set timeout and tcp-keepalive to the same number, and the password to that number as text. */
static bool whole(const struct settings *s)
{
    char text[32];
    snprintf(text, sizeof text, "%lld", (long long)s->timeout);
    return s->timeout == s->tcp_keepalive && strcmp(s->requirepass, text) == 0;
}

static void read_settings(void *arg)
{
    (void)arg;
    while (!atomic_load(&stop)) {
        epoch_enter();
        tap_check(whole(settings_current()));
        epoch_leave();
        const struct settings *s = settings_hold();
        int64_t before = s->timeout;
        os_pause();
        tap_check(whole(s) && s->timeout == before);
        settings_release(s);
        epoch_poll();
    }
}

static void write_settings(void *arg)
{
    int first = *(int *)arg, changes = tap_long() ? 20000 : 1000;
    for (int i = 0; i < changes; i++) {
        char text[32];
        int culprit, len = snprintf(text, sizeof text, "%d", first + i);
        struct slice value = slice_of(text, (size_t)len);
        struct slice pairs[] = {SLICE_LIT("timeout"),       value, SLICE_LIT("requirepass"), value,
                                SLICE_LIT("tcp-keepalive"), value};
        tap_check(settings_change(3, pairs, &culprit, NULL) == RES_OK);
    }
}

static void published(void *arg, const struct settings *now)
{
    (void)arg;
    if (!whole(now))
        atomic_fetch_add(&published_wrong, 1);
}

static void every_change_is_seen_whole(void)
{
    struct os_thread readers[READERS], writers[WRITERS];
    int first[WRITERS] = {0, 1000000}, culprit;
    struct slice start[] = {SLICE_LIT("timeout"),       SLICE_LIT("5"), SLICE_LIT("requirepass"), SLICE_LIT("5"),
                            SLICE_LIT("tcp-keepalive"), SLICE_LIT("5")};
    tap_require(settings_load_defaults(NULL) == RES_OK);
    tap_require(settings_change(3, start, &culprit, NULL) == RES_OK);
    settings_on_publish(published, NULL);
    for (int i = 0; i < READERS; i++)
        tap_require(os_thread_start(&readers[i], "reader", read_settings, NULL) == RES_OK);
    for (int i = 0; i < WRITERS; i++)
        tap_require(os_thread_start(&writers[i], "writer", write_settings, &first[i]) == RES_OK);
    for (int i = 0; i < WRITERS; i++)
        os_thread_join(&writers[i]);
    atomic_store(&stop, true);
    for (int i = 0; i < READERS; i++)
        os_thread_join(&readers[i]);
    tap_check(atomic_load(&published_wrong) == 0);
    settings_unload();
    epoch_drain();
}

int main(void)
{
    tap_test(every_change_is_seen_whole);
    return tap_done();
}
