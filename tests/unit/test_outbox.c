/* What must hold for a client's outbox:
 * - bytes leave in the order they were said, each once, however little is written at a time;
 * - a marked byte does not leave before the gate has reached its floor, and unmarked ones behind it do not overtake it;
 * - the bytes of streams come at their place, and each source is closed once, also when its reply is taken back. */
#include <criterion/criterion.h>

#include <stdlib.h>

#include "net/outbox.h"

struct letters { /* a source of len times the same letter */
    struct sink_source source;
    char letter;
    int *closed;
};
static enum result letters_read(struct sink_source *s, uint8_t *buf, size_t cap, size_t *len)
{
    memset(buf, ((struct letters *)s)->letter, cap);
    *len = cap;
    return RES_OK;
}
static void letters_close(struct sink_source *s)
{
    ++*((struct letters *)s)->closed;
    free(s);
}
static struct sink_source *letters(char letter, int *closed)
{
    struct letters *l = calloc(1, sizeof *l);
    cr_assert(l != NULL);
    *l = (struct letters){{letters_read, letters_close}, letter, closed};
    return &l->source;
}

static void say(struct outbox *o, const char *text) { cr_assert_eq(buf_append(&o->buf, text, strlen(text)), RES_OK); }

/* Does what a connection does, at most `step` bytes at a time: everything up to the gate goes to `out`. */
static void drain(struct outbox *o, uint64_t gate, size_t step, struct buf *out)
{
    uint64_t upto = outbox_release(o, gate);
    for (;;) {
        struct outbox_stream *s = outbox_hungry(o, upto);
        if (s) {
            size_t n = s->remaining < 3 ? (size_t)s->remaining : 3;
            s->chunk = realloc(s->chunk, 3);
            cr_assert(s->chunk != NULL);
            cr_assert_eq(s->source->read(s->source, s->chunk, n, &s->chunk_len), RES_OK);
            s->chunk_sent = 0;
            s->remaining -= s->chunk_len;
        }
        struct iovec iov[2];
        int parts = outbox_gather(o, upto, iov);
        if (parts == 0)
            return;
        size_t left = step, taken = 0;
        for (int i = 0; i < parts; i++) {
            size_t n = iov[i].iov_len < left ? iov[i].iov_len : left;
            cr_assert_eq(buf_append(out, iov[i].iov_base, n), RES_OK);
            left -= n, taken += n;
        }
        outbox_written(o, taken);
    }
}

static void expect(struct outbox *o, uint64_t gate, size_t step, const char *want)
{
    struct buf out = BUF_INIT;
    drain(o, gate, step, &out);
    cr_assert_eq(buf_append(&out, "", 1), RES_OK);
    cr_assert_str_eq((char *)out.data, want);
    buf_fini(&out);
}

Test(outbox, bytes_leave_in_order)
{
    for (size_t step = 1; step < 8; step++) {
        struct outbox o;
        outbox_init(&o);
        say(&o, "hello");
        say(&o, " world");
        expect(&o, 0, step, "hello world");
        cr_assert(outbox_empty(&o));
        say(&o, "again");
        expect(&o, 0, step, "again");
        cr_assert_eq(outbox_end(&o), 16);
        outbox_fini(&o);
    }
}

Test(outbox, marked_bytes_wait_for_the_gate)
{
    struct outbox o;
    outbox_init(&o);
    say(&o, "a");
    expect(&o, 0, 10, "a");
    say(&o, "b");
    cr_assert_eq(outbox_hold(&o, 5), RES_OK);
    say(&o, "c");
    cr_assert_eq(outbox_hold(&o, 5), RES_OK);
    say(&o, "d");
    cr_assert_eq(outbox_hold(&o, 9), RES_OK);
    cr_assert_eq(outbox_waits_for(&o), 5);
    expect(&o, 4, 10, "");
    expect(&o, 5, 1, "bc");
    cr_assert_eq(outbox_waits_for(&o), 9);
    say(&o, "e"); /* said meanwhile, waits for nothing itself, but not before d */
    cr_assert_eq(outbox_hold(&o, 7), RES_OK);
    expect(&o, 8, 10, "");
    expect(&o, 9, 10, "de");
    cr_assert_eq(outbox_waits_for(&o), UINT64_MAX);
    outbox_fini(&o);
}

Test(outbox, many_marks_keep_their_order)
{
    struct outbox o;
    outbox_init(&o);
    for (int round = 0; round < 3; round++) {
        for (uint64_t i = 1; i <= 100; i++) {
            say(&o, "x");
            cr_assert_eq(outbox_hold(&o, (uint64_t)round * 1000 + i * 2), RES_OK);
        }
        for (uint64_t i = 1; i <= 100; i++) {
            expect(&o, (uint64_t)round * 1000 + i * 2 - 1, 7, "");
            expect(&o, (uint64_t)round * 1000 + i * 2, 7, "x");
        }
    }
    outbox_fini(&o);
}

Test(outbox, streams_come_at_their_place)
{
    for (size_t step = 1; step < 12; step++) {
        int closed = 0;
        struct outbox o;
        outbox_init(&o);
        say(&o, "$7 ");
        cr_assert_eq(outbox_add_stream(&o, outbox_end(&o), 7, letters('a', &closed)), RES_OK);
        say(&o, "; $4 ");
        cr_assert_eq(outbox_add_stream(&o, outbox_end(&o), 4, letters('b', &closed)), RES_OK);
        say(&o, ".");
        expect(&o, 0, step, "$7 aaaaaaa; $4 bbbb.");
        cr_assert_eq(closed, 2);
        cr_assert(outbox_empty(&o));
        outbox_fini(&o);
    }
}

Test(outbox, a_stream_waits_with_its_reply)
{
    int closed = 0;
    struct outbox o;
    outbox_init(&o);
    say(&o, "ok ");
    cr_assert_eq(outbox_hold(&o, 3), RES_OK);
    say(&o, "$2 ");
    cr_assert_eq(outbox_add_stream(&o, outbox_end(&o), 2, letters('a', &closed)), RES_OK);
    say(&o, ".");
    cr_assert_eq(outbox_hold(&o, 8), RES_OK);
    expect(&o, 3, 2, "ok ");
    expect(&o, 7, 2, "");
    expect(&o, 8, 2, "$2 aa.");
    outbox_fini(&o);
    cr_assert_eq(closed, 1);
}

Test(outbox, streams_taken_back_are_closed_once)
{
    int closed = 0;
    struct outbox o;
    outbox_init(&o);
    say(&o, "keep");
    cr_assert_eq(outbox_add_stream(&o, 4, 3, letters('k', &closed)), RES_OK);
    say(&o, "!");
    cr_assert_eq(outbox_add_stream(&o, 5, 3, letters('x', &closed)), RES_OK);
    cr_assert_eq(outbox_add_stream(&o, 5, 3, letters('y', &closed)), RES_OK);
    outbox_cut_streams(&o, 5);
    cr_assert_eq(closed, 2);
    cr_assert_eq(outbox_add_stream(&o, 5, 1, letters('z', &closed)), RES_OK);
    say(&o, ".");
    expect(&o, 0, 4, "keepkkk!z.");
    cr_assert_eq(closed, 4);
    outbox_fini(&o);
    cr_assert_eq(closed, 4);
}

Test(outbox, streams_of_a_reply_made_elsewhere_are_taken_over)
{
    int closed = 0;
    struct outbox o, other;
    outbox_init(&o);
    outbox_init(&other);
    say(&o, "before ");
    cr_assert_eq(outbox_add_stream(&other, 3, 2, letters('a', &closed)), RES_OK);
    outbox_move_streams(&o, &other, outbox_end(&o));
    say(&o, "$2 .");
    outbox_fini(&other);
    cr_assert_eq(closed, 0);
    expect(&o, 0, 5, "before $2 aa.");
    cr_assert_eq(closed, 1);
    outbox_fini(&o);
}

Test(outbox, what_was_written_is_forgotten)
{
    struct outbox o;
    struct iovec iov[2];
    outbox_init(&o);
    for (int i = 0; i < 1000; i++) {
        cr_assert_eq(buf_reserve(&o.buf, 1000), RES_OK);
        memset(o.buf.data + o.buf.len, 'a' + i % 26, 1000);
        o.buf.len += 1000;
        if (i > 100) { /* always a hundred behind */
            cr_assert_eq(outbox_gather(&o, outbox_end(&o), iov), 1);
            cr_assert_eq(*(char *)iov[0].iov_base, 'a' + (i - 101) % 26);
            outbox_written(&o, 1000);
        }
    }
    cr_assert_lt(outbox_memory(&o), 500 * 1000);
    outbox_fini(&o);
}
