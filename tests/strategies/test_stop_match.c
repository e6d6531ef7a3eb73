/* Stop strings followed byte by byte, against strstr on every short text of two letters. */
#include "strategies/stop_match.h"
#include "tests/strategies/fixture.h"

enum { PATTERN = 7, TEXT = 11 };

/* The i-th word of n letters a and b. */
static void word(char *out, int n, unsigned i)
{
    for (int j = 0; j < n; j++)
        out[j] = i >> j & 1 ? 'b' : 'a';
    out[n] = '\0';
}

/* Bytes of `text` up to the end of the first occurrence of a or b; -1 without one. */
static long first_end(const char *text, const char *a, const char *b)
{
    const char *at_a = strstr(text, a), *at_b = strstr(text, b);
    long end_a = at_a ? at_a - text + (long)strlen(a) : -1;
    long end_b = at_b ? at_b - text + (long)strlen(b) : -1;
    return end_a < 0 ? end_b : end_b < 0 ? end_a : end_a < end_b ? end_a : end_b;
}

Test(stop_match, finds_what_strstr_finds)
{
    fixture f;
    rm_error err;
    fixture_engine(&f);
    for (unsigned p = 0; p < 1u << PATTERN; p++) {
        rm_run *run;
        stop_matcher m;
        char pattern[PATTERN + 1], text[TEXT + 1];
        word(pattern, PATTERN, p);
        const char *const strings[] = { pattern, "", "babb" };
        must(rm_run_open(f.engine, &(rm_run_options){ .seed = 1 }, &run, &err), &err);
        must(stop_matcher_open(&m, run, strings, 3, &err), &err);
        cr_assert_eq(m.n, 2, "the empty string would end every text");
        for (unsigned t = 0; t < 1u << TEXT; t++) {
            size_t seen[2] = { 0 };
            long end = -1;
            word(text, TEXT, t);
            for (int i = 0; i < TEXT && end < 0; i++)
                end = stop_matcher_follow(&m, seen, text + i, 1) ? i + 1 : -1;
            cr_assert_eq(end, first_end(text, pattern, "babb"), "\"%s\" in \"%s\": %ld", pattern,
                         text, end);
            size_t whole[2] = { 0 };
            cr_assert_eq(stop_matcher_follow(&m, whole, text, TEXT), end >= 0);
        }
        rm_run_close(run);
    }
    fixture_close(&f);
}
