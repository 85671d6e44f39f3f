/* The checker itself (tests/lib/linear.h): it accepts what has an order and refuses what has none. */
#include "tests/lib/linear.h"
#include "tests/lib/tap.h"

static char why[8192];
#define N LINEAR_NIL
#define CHECK(...)                                                                                                     \
    linear_check((struct linear_op[]){__VA_ARGS__},                                                                    \
                 sizeof((struct linear_op[]){__VA_ARGS__}) / sizeof(struct linear_op), why, sizeof why)

static void orders_that_exist_are_found(void)
{
    tap_check(CHECK({LINEAR_GET, .result = {N}, .called = 1, .replied = 2}));
    /* A read beside a write may show either value. */
    tap_check(CHECK({LINEAR_SET, .value = 5, .called = 1, .replied = 10},
                    {LINEAR_GET, .result = {N}, .called = 2, .replied = 3},
                    {LINEAR_GET, .result = {5}, .called = 4, .replied = 5}));
    tap_check(CHECK({LINEAR_INCR, .result = {2}, .called = 1, .replied = 10},
                    {LINEAR_INCR, .result = {1}, .called = 2, .replied = 11},
                    {LINEAR_SETNX, .value = 7, .result = {0}, .called = 12, .replied = 13}));
    /* Without a reply it may have happened or not. */
    tap_check(CHECK({LINEAR_SET, .value = 5, .called = 1}, {LINEAR_GET, .result = {N}, .called = 2, .replied = 3}));
    tap_check(CHECK({LINEAR_SET, .value = 5, .called = 1}, {LINEAR_GET, .result = {5}, .called = 2, .replied = 3}));
    tap_check(CHECK({LINEAR_MSET, .value = 1, .called = 1, .replied = 9},
                    {LINEAR_SET, .key = 2, .value = 2, .called = 2, .replied = 8},
                    {LINEAR_MGET, .result = {1, 1, 2, 1}, .called = 10, .replied = 11}));
    /* Transactions take effect at one moment. */
    tap_check(CHECK({LINEAR_EXEC, .key = 3, .value = 5, .first = 1, .result = {5, N, 4, 1}, .called = 1, .replied = 9},
                    {LINEAR_SET, .key = 2, .value = 4, .called = 2, .replied = 8},
                    {LINEAR_CAS, .key = 3, .value = 7, .first = 1, .result = {1}, .called = 3, .replied = 12},
                    {LINEAR_LOOK, .result = {7, N, 4, 7}, .called = 10, .replied = 11}));
    tap_check(CHECK({LINEAR_SET, .value = 5, .called = 1, .replied = 9},
                    {LINEAR_CAS, .value = 6, .first = N, .result = {0}, .called = 2, .replied = 8},
                    {LINEAR_GET, .result = {5}, .called = 10, .replied = 11}));
}

static void histories_without_an_order_are_refused(void)
{
    /* A stale read. */
    tap_check(!CHECK({LINEAR_SET, .value = 5, .called = 1, .replied = 2},
                     {LINEAR_GET, .result = {N}, .called = 3, .replied = 4}));
    /* Back in time: new, then old. */
    tap_check(!CHECK({LINEAR_SET, .value = 5, .called = 1, .replied = 10},
                     {LINEAR_GET, .result = {5}, .called = 2, .replied = 3},
                     {LINEAR_GET, .result = {N}, .called = 4, .replied = 5}));
    /* A lost update, a torn batch, two winners. */
    tap_check(!CHECK({LINEAR_INCR, .result = {1}, .called = 1, .replied = 10},
                     {LINEAR_INCR, .result = {1}, .called = 2, .replied = 11}));
    tap_check(!CHECK({LINEAR_MSET, .value = 1, .called = 1, .replied = 9},
                     {LINEAR_MGET, .result = {1, N, 1, 1}, .called = 2, .replied = 8}));
    tap_check(!CHECK({LINEAR_SETNX, .value = 1, .result = {1}, .called = 1, .replied = 9},
                     {LINEAR_SETNX, .value = 2, .result = {1}, .called = 2, .replied = 8}));
    tap_check(strstr(why, "SETNX") != NULL);
    /* A pipeline: one client's operations overlap, and yet are in order. */
    tap_check(!CHECK({LINEAR_SET, .value = 5, .called = 1, .replied = 10, .client = 1},
                     {LINEAR_GET, .result = {N}, .called = 2, .replied = 11, .client = 1}));
    /* What went by itself does not come back, and does not go after it was told to stay. */
    tap_check(CHECK({LINEAR_SETEX, .value = 500, .called = 1, .replied = 2},
                    {LINEAR_GET, .result = {500}, .called = 3, .replied = 4},
                    {LINEAR_GET, .result = {N}, .called = 5, .replied = 6},
                    {LINEAR_PERSIST, .result = {0}, .called = 7, .replied = 8}));
    tap_check(!CHECK({LINEAR_SETEX, .value = 500, .called = 1, .replied = 2},
                     {LINEAR_GET, .result = {N}, .called = 3, .replied = 4},
                     {LINEAR_GET, .result = {500}, .called = 5, .replied = 6}));
    tap_check(!CHECK({LINEAR_SETEX, .value = 500, .called = 1, .replied = 2},
                     {LINEAR_PERSIST, .result = {1}, .called = 3, .replied = 9},
                     {LINEAR_GET, .result = {N}, .called = 4, .replied = 5}));
    tap_check(!CHECK({LINEAR_SET, .value = 500, .called = 1, .replied = 2},
                     {LINEAR_GET, .result = {N}, .called = 3, .replied = 4}));
    /* Transactions: a torn one, one that saw another half done, one that came although the key had been changed. */
    tap_check(!CHECK({LINEAR_EXEC, .value = 5, .first = 1, .result = {1, 5, N, N}, .called = 1, .replied = 9},
                     {LINEAR_LOOK, .result = {1, N, N, N}, .called = 2, .replied = 8}));
    tap_check(
        !CHECK({LINEAR_EXEC, .key = 0, .value = 5, .first = 1, .result = {1, 5, N, N}, .called = 1, .replied = 9},
               {LINEAR_EXEC, .key = 1, .value = 6, .first = 1, .result = {N, 1, 6, N}, .called = 2, .replied = 8}));
    tap_check(!CHECK({LINEAR_SET, .value = 5, .called = 1, .replied = 2},
                     {LINEAR_CAS, .value = 6, .first = N, .result = {1}, .called = 3, .replied = 4}));
    tap_check(!CHECK({LINEAR_CAS, .value = 6, .first = N, .result = {1}, .called = 1, .replied = 8},
                     {LINEAR_CAS, .value = 7, .first = N, .result = {1}, .called = 2, .replied = 9}));
    /* What never happened was seen. */
    tap_check(!CHECK({LINEAR_SET, .value = 5, .called = 1}, {LINEAR_GET, .result = {6}, .called = 2, .replied = 3}));
    tap_check(!CHECK({LINEAR_GET, .result = {5}, .called = 1, .replied = 3}, {LINEAR_SET, .value = 5, .called = 4}));
}

int main(void)
{
    tap_test(orders_that_exist_are_found);
    tap_test(histories_without_an_order_are_refused);
    return tap_done();
}
