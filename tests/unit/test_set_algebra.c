/* Unions, intersections and differences of sets of any size, against a table. What must hold:
 *   - they have the members that a table says, each once, whichever of the sets are inline or in pieces;
 *   - stored ones are sets with those members, also where the destination is one of the sources. */
#include <stdio.h>

#include "os/env_memory.h"
#include "tests/lib/talk.h"
#include "tests/lib/tap.h"

#define SETS 5
#define MEMBERS 2000

static struct talk t;
static bool model[SETS + 1][MEMBERS]; /* the last: what a command should give */
static uint64_t seed = 9;
static uint64_t draw(uint64_t below)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (seed >> 24) % below;
}

/* Numbers and words, a few longer than an engine key. */
static struct slice member(int i)
{
    static char text[700];
    size_t n = (size_t)snprintf(text, sizeof text, i % 2 ? "%d" : "word-%d", i);
    if (i % 50 == 0) {
        memset(text + n, 'x', 600);
        n += 600;
    }
    return slice_of(text, n);
}

static int number_of(struct slice s)
{
    unsigned long n = 0;
    for (size_t i = s.len > 5 && s.data[0] == 'w' ? 5 : 0; i < s.len && s.data[i] >= '0' && s.data[i] <= '9'; i++)
        n = n * 10 + (s.data[i] - '0');
    return n < MEMBERS && slice_eq(s, member((int)n)) ? (int)n : -1;
}

static void fill(int k, int most)
{
    (void)talk(&t, "DEL s%d", k);
    memset(model[k], 0, sizeof model[k]);
    int step = 1 + (int)draw(3);
    for (int i = (int)draw(50), n = 0; i < MEMBERS && n < most; i += step, n++) {
        char name[8];
        struct slice argv[3] = {SLICE_LIT("SADD"), slice_of(name, (size_t)snprintf(name, sizeof name, "s%d", k)),
                                member(i)};
        tap_check(slice_eq(talk_run(&t, 3, argv), SLICE_LIT(":1\r\n")));
        model[k][i] = true;
    }
}

static int expect(char op, int a, int b, int c)
{
    int count = 0;
    for (int i = 0; i < MEMBERS; i++) {
        bool x = model[a][i], y = model[b][i], z = model[c][i];
        model[SETS][i] = op == 'U' ? x || y || z : op == 'I' ? x && y && z : x && !y && !z;
        count += model[SETS][i];
    }
    return count;
}

static void check_members(struct slice reply, int count)
{
    static struct slice found[MEMBERS + 1];
    static bool seen[MEMBERS];
    memset(seen, 0, sizeof seen);
    int n = talk_array(reply, found, MEMBERS + 1);
    tap_check(n == count);
    for (int i = 0; i < n && i < MEMBERS; i++) {
        int m = number_of(found[i]);
        if (tap_check(m >= 0 && model[SETS][m] && !seen[m]))
            seen[m] = true;
    }
}

static void combine(void)
{
    static const char *const names[] = {"SUNION", "SINTER", "SDIFF"};
    const char *name = names[draw(3)];
    int a = (int)draw(SETS), b = (int)draw(SETS), c = (int)draw(SETS), to = (int)draw(SETS);
    int count = expect(name[1], a, b, c);
    if (name[1] == 'I')
        tap_check(talk_int(&t, "SINTERCARD 3 s%d s%d s%d", a, b, c) == count);
    const char *reply = talk(&t, "%s s%d s%d s%d", name, a, b, c);
    check_members(slice_str(reply), count);
    if (draw(3))
        return;
    tap_check(talk_int(&t, "%sSTORE s%d s%d s%d s%d", name, to, a, b, c) == count);
    memcpy(model[to], model[SETS], sizeof model[to]);
    check_members(slice_str(talk(&t, "SMEMBERS s%d", to)), count);
    tap_check(talk_int(&t, "SCARD s%d", to) == count && talk_int(&t, "EXISTS s%d", to) == (count > 0));
}

static void they_are_what_a_table_says(void)
{
    struct env *env = env_memory_new(1, ENV_MEMORY_PLAIN);
    struct talk_options o = {.env = env};
    talk_open(&t, &o);
    for (int round = 0; round < (tap_long() ? 60 : 6); round++) {
        for (int k = 0; k < SETS; k++)
            fill(k, draw(2) ? (int)draw(60) : MEMBERS);
        for (int i = 0; i < 12; i++)
            combine();
    }
    talk_close(&t);
    env_memory_free(env);
}

int main(void)
{
    tap_test(they_are_what_a_table_says);
    return tap_done();
}
