/* Glob patterns match as Redis' do, corners included (checked against a running Redis when this was written), and no
 * pattern takes more than its length times the text's. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <time.h>

#include "base/glob.h"

static bool match(const char *pattern, const char *text)
{
    return glob_match(slice_str(pattern), slice_str(text), false);
}

Test(glob, plain_patterns)
{
    cr_assert(match("abc", "abc"));
    cr_assert_not(match("abc", "ab"));
    cr_assert_not(match("ab", "abc"));
    cr_assert(match("a?c", "abc"));
    cr_assert_not(match("a?c", "ac"));
    cr_assert(match("", ""));
    cr_assert_not(match("", "a"));
}

Test(glob, stars)
{
    cr_assert(match("*", "anything"));
    cr_assert(match("*", ""));
    cr_assert(match("a*", "a"));
    cr_assert(match("a**", "a"));
    cr_assert(match("*a", "a"));
    cr_assert(match("h*llo", "heeeello"));
    cr_assert(match("h*llo", "hllo"));
    cr_assert(match("*ab*ab*", "ab__ab"));
    cr_assert_not(match("*ab*ab*", "aab"));
    cr_assert_not(match("*ab*ab", "ab"));
    cr_assert(match("*ab*ab", "abab"));
    cr_assert_not(match("ab*ba", "aba"), "the last segment has bytes of its own");
    cr_assert(match("a*b?c*d", "a__b_c__d"));
    cr_assert_not(match("a*b?c*d", "a__b_c__"));
    cr_assert(match("*?", "a"));
    cr_assert(match("a*[0-9]", "abc5"));
    cr_assert_not(match("a*[0-9]", "abc"));
    cr_assert(match("*[ab]x*", "__ax_bx"));
}

Test(glob, brackets)
{
    cr_assert(match("h[ae]llo", "hello"));
    cr_assert_not(match("h[ae]llo", "hillo"));
    cr_assert(match("h[^e]llo", "hallo"));
    cr_assert_not(match("h[^e]llo", "hello"));
    cr_assert(match("h[a-b]llo", "hbllo"));
    cr_assert(match("h[b-a]llo", "hallo"), "a range runs either way");
    cr_assert(match("[a-]", "_") && !match("[a-]", "-"), "the bracket is the end of a range");
    cr_assert(match("[\\]]", "]"));
    cr_assert(match("[\\-a]", "-"));
    cr_assert_not(match("[]", "]"));
    cr_assert(match("[^]", "x"), "no member is excluded");
    cr_assert(match("[abc", "b"), "an open bracket ends with the pattern");
    cr_assert_not(match("[", "["));
    cr_assert(match("[^", "["));
    cr_assert(match("[\x80-\xff]", "\xe4"));
    cr_assert(match("[\x01-\xff]", "\xff"), "bytes of a range compare as signed");
    cr_assert_not(match("[\x02-\x7f]", "\xe4"));
}

Test(glob, quoting)
{
    cr_assert(match("a\\*", "a*"));
    cr_assert_not(match("a\\*", "ab"));
    cr_assert(match("\\?", "?"));
    cr_assert(match("\\[a]", "[a]"));
    cr_assert(match("a\\", "a\\"), "a backslash at the end stands for itself");
    cr_assert(match("*\\*b", "a*b"));
}

Test(glob, an_empty_text_is_matched_by_the_empty_pattern_and_the_star_alone)
{
    cr_assert_not(match("**", ""));
    cr_assert_not(match("a", ""));
    cr_assert_not(match("?", ""));
}

Test(glob, case_can_be_ignored)
{
    cr_assert(glob_match(SLICE_LIT("MAXmem*"), SLICE_LIT("maxMEMory"), true));
    cr_assert(glob_match(SLICE_LIT("*MEM*"), SLICE_LIT("maxmemory"), true));
    cr_assert(glob_match(SLICE_LIT("[A-C]"), SLICE_LIT("b"), true));
    cr_assert(glob_match(SLICE_LIT("[abc]"), SLICE_LIT("B"), true));
    cr_assert_not(glob_match(SLICE_LIT("[\\a]"), SLICE_LIT("A"), true), "a quoted byte keeps its case");
    cr_assert_not(glob_match(SLICE_LIT("*MEM*"), SLICE_LIT("maxmemory"), false));
}

Test(glob, zero_bytes_are_bytes)
{
    cr_assert(glob_match(SLICE_LIT("a\0*c"), SLICE_LIT("a\0bc"), false));
    cr_assert_not(glob_match(SLICE_LIT("a\0c"), SLICE_LIT("a\0b"), false));
}

Test(glob, prefix_is_what_every_match_starts_with)
{
    uint8_t out[32];
    bool exact;
    cr_assert_eq(glob_prefix(SLICE_LIT("user:*"), out, &exact), 5);
    cr_assert(memcmp(out, "user:", 5) == 0 && !exact);
    cr_assert_eq(glob_prefix(SLICE_LIT("a\\*b[c]"), out, &exact), 3);
    cr_assert(memcmp(out, "a*b", 3) == 0 && !exact);
    cr_assert_eq(glob_prefix(SLICE_LIT("plain\\"), out, &exact), 6);
    cr_assert(memcmp(out, "plain\\", 6) == 0 && exact);
    cr_assert_eq(glob_prefix(SLICE_LIT("*"), out, &exact), 0);
    cr_assert_not(exact);
    cr_assert_eq(glob_prefix(SLICE_LIT(""), out, &exact), 0);
    cr_assert(exact);
}

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

enum { BIG = 100000 };

/* `unit` repeated to BIG bytes, then `last`. */
static struct slice repeated(char *room, const char *unit, const char *last)
{
    size_t n = strlen(unit), at = 0;
    for (; at + n <= BIG; at += n)
        memcpy(room + at, unit, n);
    memcpy(room + at, last, strlen(last));
    return slice_of(room, at + strlen(last));
}

Test(glob, hostile_patterns_take_bounded_time)
{
    static char pattern[BIG + 10], text[BIG + 10];
    struct slice as = repeated(text, "a", "");
    double start = seconds();

    cr_assert(glob_match(repeated(pattern, "*", ""), as, false));
    cr_assert_not(glob_match(repeated(pattern, "*", "b"), as, false));
    cr_assert_not(glob_match(repeated(pattern, "a*", "b"), as, false));
    cr_assert_not(glob_match(repeated(pattern, "*a", "b"), as, false));
    cr_assert_not(glob_match(repeated(pattern, "[", ""), as, false));
    cr_assert_not(glob_match(repeated(pattern, "[a", "*b"), as, false));
    cr_assert_not(glob_match(repeated(pattern, "\\", "*b"), as, false));
    cr_assert_not(glob_match(repeated(pattern, "?*", "b"), as, false));
    cr_assert_not(glob_match(repeated(pattern, "[a]*", "b"), as, false));
    /* One long plain segment between two stars: linear. */
    pattern[0] = '*';
    memset(pattern + 1, 'a', BIG / 2);
    memcpy(pattern + 1 + BIG / 2, "b*", 2);
    cr_assert_not(glob_match(slice_of(pattern, BIG / 2 + 3), as, false));
    cr_assert_lt(seconds() - start, 2.0);
}
