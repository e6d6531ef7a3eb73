/* labels.c - labels of cells as people type them: whole, or by an end that only one label has.
 *
 *     greedy      thimble: greedy
 *     sims=32     thimble: mcts sims=32
 *
 * An end begins after a blank, so that "4" is not the end of "beam 64". */
#include "experiments/cli/cli.h"

#include <stdlib.h>
#include <string.h>

static bool ends_with(const char *label, const char *end)
{
    size_t n = strlen(label), k = strlen(end);
    return k && k < n && label[n - k - 1] == ' ' && strcmp(label + n - k, end) == 0;
}

/* The distance to the label or to its end after the model's name; what it holds is near. */
static int distance_to(const char *label, const char *typed)
{
    if (typed[0] && strstr(label, typed))
        return 1;
    const char *colon = strstr(label, ": ");
    int whole = rm_word_distance(typed, label);
    int end = colon ? rm_word_distance(typed, colon + 2) : whole;
    return end < whole ? end : whole;
}

static rm_status no_label(const char *const *labels, size_t n, const char *typed, rm_error *err)
{
    const char *near = NULL;
    int best = (int)(strlen(typed) % 1000) / 2 + 2; /* farther off is no slip */
    for (size_t i = 0; i < n; i++) {
        int distance = distance_to(labels[i], typed);
        if (distance < best) {
            best = distance;
            near = labels[i];
        }
    }
    return rm_fail(err, RM_E_ARGUMENT, "no cell is called \"%s\"%s%s%s", typed,
                   near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
}

rm_status cli_find_label(const char *const *labels, size_t n, const char *typed,
                         const char **label, rm_error *err)
{
    enum { MAX_SHOWN = 6 };
    rm_text list = { 0 };
    size_t found = 0;
    rm_status status = RM_OK;
    for (size_t i = 0; i < n; i++)
        if (strcmp(labels[i], typed) == 0) {
            *label = labels[i];
            return RM_OK;
        }
    for (size_t i = 0; i < n; i++) {
        bool seen = !ends_with(labels[i], typed);
        for (size_t k = 0; k < i && !seen; k++) /* other tasks have cells of the same label */
            seen = strcmp(labels[k], labels[i]) == 0;
        if (seen)
            continue;
        *label = labels[i];
        if (found < MAX_SHOWN)
            rm_text_printf(&list, "%s\"%s\"", found ? ", " : "", labels[i]);
        found++;
    }
    if (!found)
        status = no_label(labels, n, typed, err);
    else if (found > 1)
        status = rm_fail(err, RM_E_ARGUMENT, "%zu cells end in \"%s\": %s%s", found, typed,
                         list.data ? list.data : "", found > MAX_SHOWN ? ", ..." : "");
    rm_text_free(&list);
    return status;
}

rm_status cli_find_cell(const rm_records *records, const char *typed, const char **label,
                        rm_error *err)
{
    const char **labels = malloc((records->n_cells + 1) * sizeof *labels);
    if (!labels)
        return rm_fail(err, RM_E_MEMORY, "no memory for %zu labels", records->n_cells);
    for (size_t i = 0; i < records->n_cells; i++)
        labels[i] = records->cells[i].label;
    rm_status status = cli_find_label(labels, records->n_cells, typed, label, err);
    free(labels);
    return status;
}
