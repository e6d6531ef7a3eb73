/* stop_match.c - see stop_match.h. */
#include "strategies/stop_match.h"

#include "strategies/samples.h"

#include <string.h>

static void find_borders(const char *string, size_t length, size_t *border)
{
    border[0] = 0;
    for (size_t i = 1, b = 0; i < length; i++) {
        while (b > 0 && string[i] != string[b])
            b = border[b - 1];
        b += string[i] == string[b];
        border[i] = b;
    }
}

rm_status stop_matcher_open(stop_matcher *m, rm_run *run, const char *const *strings, int n,
                            rm_error *err)
{
    *m = (stop_matcher){ 0 };
    rm_status status = run_array(run, (size_t)n, sizeof *m->string, &m->string, err);
    if (!status)
        status = run_array(run, (size_t)n, sizeof *m->length, &m->length, err);
    if (!status)
        status = run_array(run, (size_t)n, sizeof *m->border, &m->border, err);
    for (int i = 0; i < n && !status; i++) {
        size_t length = strlen(strings[i]);
        if (length == 0)
            continue; /* would end every text */
        m->string[m->n] = strings[i];
        m->length[m->n] = length;
        status = run_array(run, length, sizeof **m->border, &m->border[m->n], err);
        if (!status)
            find_borders(strings[i], length, m->border[m->n++]);
    }
    return status;
}

bool stop_matcher_follow(const stop_matcher *m, size_t *seen, const char *bytes, size_t n)
{
    for (int i = 0; i < m->n; i++)
        for (size_t b = 0; b < n; b++) {
            while (seen[i] > 0 && m->string[i][seen[i]] != bytes[b])
                seen[i] = m->border[i][seen[i] - 1];
            seen[i] += m->string[i][seen[i]] == bytes[b];
            if (seen[i] == m->length[i])
                return true;
        }
    return false;
}
