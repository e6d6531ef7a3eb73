/* pattern.c - regular expressions by PCRE2, in UTF-8, with bounded effort.
 *
 * Generated text may hold bytes that are no UTF-8; PCRE2_MATCH_INVALID_UTF lets them match
 * nothing instead of failing. The match limit stops expressions that would backtrack for ever:
 * 200,000 steps are some milliseconds. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "experiments/graders/grader.h"

#include <pcre2.h>
#include <stdlib.h>
#include <string.h>

struct rm_pattern {
    pcre2_code *code;
    pcre2_match_context *limits;
};

rm_status rm_pattern_new(const char *expression, bool whole, rm_pattern **out, rm_error *err)
{
    rm_pattern *pattern = calloc(1, sizeof *pattern);
    if (!pattern)
        return rm_fail(err, RM_E_MEMORY, "out of memory for a pattern");
    uint32_t options = PCRE2_UTF | PCRE2_MATCH_INVALID_UTF | PCRE2_NEVER_BACKSLASH_C
                       | (whole ? PCRE2_ANCHORED | PCRE2_ENDANCHORED : 0);
    int code = 0;
    PCRE2_SIZE where = 0;
    pattern->code = pcre2_compile((PCRE2_SPTR)expression, strlen(expression), options, &code,
                                  &where, NULL);
    if (!pattern->code) {
        PCRE2_UCHAR reason[160] = "";
        pcre2_get_error_message(code, reason, sizeof reason);
        rm_pattern_free(pattern);
        return rm_fail(err, RM_E_ARGUMENT, "the pattern \"%.120s\" is wrong at character %zu: %s",
                       expression, (size_t)where + 1, (const char *)reason);
    }
    pattern->limits = pcre2_match_context_create(NULL);
    if (!pattern->limits) {
        rm_pattern_free(pattern);
        return rm_fail(err, RM_E_MEMORY, "out of memory for a pattern");
    }
    pcre2_set_match_limit(pattern->limits, 200000);
    pcre2_set_depth_limit(pattern->limits, 5000);
    pcre2_set_heap_limit(pattern->limits, 20000); /* KiB */
    *out = pattern;
    return RM_OK;
}

void rm_pattern_free(rm_pattern *pattern)
{
    if (!pattern)
        return;
    pcre2_match_context_free(pattern->limits);
    pcre2_code_free(pattern->code);
    free(pattern);
}

bool rm_pattern_find(const rm_pattern *pattern, const char *text, size_t n, bool last,
                     size_t *start, size_t *length, size_t *end)
{
    pcre2_match_data *data = pcre2_match_data_create_from_pattern(pattern->code, NULL);
    if (!data)
        return false;
    bool found = false;
    size_t at = 0;
    while (at <= n) {
        int rc = pcre2_match(pattern->code, (PCRE2_SPTR)text, n, at, 0, data, pattern->limits);
        if (rc < 1)
            break;
        const PCRE2_SIZE *v = pcre2_get_ovector_pointer(data);
        size_t group = rc > 1 && v[2] != PCRE2_UNSET ? 1 : 0;
        if (v[2 * group + 1] < v[2 * group]) /* \K in a lookahead can turn a match round */
            break;
        *start = v[2 * group];
        *length = v[2 * group + 1] - v[2 * group];
        *end = v[1];
        found = true;
        if (!last)
            break;
        at = v[1] > at ? v[1] : at + 1;
        while (at < n && ((unsigned char)text[at] & 0xC0) == 0x80)
            at++;
    }
    pcre2_match_data_free(data);
    return found;
}
