/* series.c - which cells form a line, what it is called and how it is drawn.
 *
 * Colour and shape go by strategy, the same in every figure: known strategies have theirs, others
 * take what is left in the order of their appearance. A second model is drawn hollow; a further
 * line that would look like an earlier one changes its shape.
 * A line is called by what the labels of its cells begin with in common ("beam 2", "beam 4":
 * "beam"), less the words that the labels of all cells begin with. Where labels begin with
 * "MODEL: ", the model most cells are of is not named again and again: the note below the figure
 * says it once. Nor are the members of an ensemble, unless two ensembles differ in nothing else. */
#include "plots/panel.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_CHARS = 44 };

const rm_cell *fig_cell(const fig_view *v, int report)
{
    return &v->analysis->records->cells[v->task->cells[report].cell];
}

const rm_estimate *fig_quantity(const fig_view *v, int report, rm_quantity q)
{
    return &v->task->cells[report].quantities[q];
}

const fig_style *fig_style_of(const fig_view *v, int report)
{
    for (size_t i = 0; i < v->n_series; i++)
        for (size_t j = 0; j < v->series[i].n; j++)
            if (v->series[i].reports[j] == report)
                return &v->series[i].style;
    return &v->series[0].style;
}

const char *fig_dagger(const rm_cell *cell)
{
    return cell->oracle ? " ‡" : cell->verifier ? " †" : "";
}

/* ---- names ----------------------------------------------------------------------------- */

/* an ensemble is not "another model" but another strategy */
static bool is_ensemble(const rm_cell *cell)
{
    return strstr(cell->strategy, "ensemble") != NULL;
}

/* Length of "MODEL: " at the beginning of a label, 0 where it does not begin so. */
static size_t model_prefix(const rm_cell *cell)
{
    size_t n = strlen(cell->model);
    bool begins = n && !strncmp(cell->label, cell->model, n) && cell->label[n] == ':' &&
                  cell->label[n + 1] == ' ' && cell->label[n + 2];
    return begins ? n + 2 : 0;
}

/* The model that more than half of the cells of single models are of, if there are others too and
 * labels name it; else NULL. */
static const char *find_main_model(const rm_analysis *a, const rm_task_report *t)
{
    size_t single = 0;
    for (size_t i = 0; i < t->n_cells; i++)
        single += !is_ensemble(&a->records->cells[t->cells[i].cell]);
    for (size_t i = 0; i < t->n_cells; i++) {
        const rm_cell *cell = &a->records->cells[t->cells[i].cell];
        size_t same = 0;
        for (size_t j = 0; j < t->n_cells && !is_ensemble(cell); j++) {
            const rm_cell *other = &a->records->cells[t->cells[j].cell];
            same += !is_ensemble(other) && !strcmp(other->model, cell->model);
        }
        if (2 * same > single && model_prefix(cell))
            return same < t->n_cells ? cell->model : NULL;
    }
    return NULL;
}

/* How much of a cell's label goes without saying: "MODEL: ", or nothing. */
static size_t unsaid(const fig_view *v, const rm_cell *cell)
{
    if (!v->main_model)
        return 0;
    if (!is_ensemble(cell))
        return strcmp(cell->model, v->main_model) ? 0 : model_prefix(cell);
    for (size_t i = 0; i < v->task->n_cells; i++) {
        const rm_cell *other = fig_cell(v, (int)i);
        if (!strcmp(other->strategy, cell->strategy) && strcmp(other->model, cell->model))
            return 0;
    }
    return model_prefix(cell);
}

const char *fig_name_of(const fig_view *v, const rm_cell *cell)
{
    return cell->label + unsaid(v, cell);
}

bool fig_needs_model(const fig_view *v, const rm_cell *cell)
{
    if (v->main_model)
        return strcmp(cell->model, v->main_model) != 0;
    for (size_t i = 0; i < v->task->n_cells; i++)
        if (strcmp(fig_cell(v, (int)i)->model, cell->model))
            return true;
    return false;
}

/* Length of the common beginning of two texts, cut back to whole words. */
static size_t common_words(const char *a, const char *b, size_t n)
{
    size_t i = 0;
    while (i < n && a[i] && a[i] == b[i])
        i++;
    if (i == n && (!b[i] || b[i] == ' '))
        return i;
    if (!a[i] && (!b[i] || b[i] == ' '))
        return i;
    while (i > 0 && a[i - 1] != ' ')
        i--;
    while (i > 0 && strchr(" ,;:=(", a[i - 1]))
        i--;
    return i;
}

static size_t common_of_series(const fig_view *v, const fig_series *s)
{
    const char *first = fig_cell(v, s->reports[0])->label;
    size_t n = strlen(first);
    for (size_t i = 1; i < s->n; i++)
        n = common_words(first, fig_cell(v, s->reports[i])->label, n);
    return n;
}

/* Length of what the labels of all cells begin with, whole words with the space after them: a
 * model's name, where there is but one. No label is used up by it. */
static size_t common_of_all(const fig_view *v)
{
    if (v->task->n_cells < 2)
        return 0;
    const char *first = fig_cell(v, 0)->label;
    size_t n = strlen(first);
    for (size_t c = 1; c < v->task->n_cells; c++) {
        const char *other = fig_cell(v, (int)c)->label;
        size_t i = 0;
        while (i < n && other[i] == first[i])
            i++;
        n = i;
    }
    while (n > 0 && first[n - 1] != ' ')
        n--;
    return n;
}

static char *series_name(const fig_view *v, const fig_series *s)
{
    const rm_cell *first = fig_cell(v, s->reports[0]);
    size_t n = common_of_series(v, s), skip = common_of_all(v), model = unsaid(v, first);
    if (model > skip)
        skip = model;
    rm_text raw = { 0 }, name = { 0 };
    if (n > skip)
        rm_text_add(&raw, first->label + skip, n - skip);
    else
        rm_text_puts(&raw, first->strategy);
    if (!raw.failed)
        fig_text_plain(&name, raw.data, NAME_CHARS);
    rm_text_puts(&name, fig_dagger(first));
    rm_text_free(&raw);
    if (name.failed)
        rm_text_free(&name);
    return name.data;
}

/* ---- styles ---------------------------------------------------------------------------- */

typedef struct look {
    const char *part; /* of the strategy's name */
    const fig_color *color;
    fig_marker marker;
} look;

static const look known[] = {
    { "greedy", &FIG_GRAY, FIG_CIRCLE },        { "beam", &FIG_PURPLE, FIG_DIAMOND },
    { "best-of", &FIG_VERMILLION, FIG_SQUARE }, { "consistency", &FIG_BLUE, FIG_CIRCLE },
    { "mcts", &FIG_SKY, FIG_TRIANGLE },         { "ensemble", &FIG_GREEN, FIG_TRIANGLE_DOWN },
    { "sampl", &FIG_ORANGE, FIG_SQUARE },
};
enum { N_KNOWN = sizeof known / sizeof *known };

static const look *find_look(const char *strategy)
{
    for (size_t i = 0; i < N_KNOWN; i++)
        if (strstr(strategy, known[i].part))
            return &known[i];
    return NULL;
}

/* Number of distinct values among the cells' `what` before and without this one's. */
static size_t order_of(const fig_view *v, size_t series, bool unknown_only,
                       const char *(*what)(const rm_cell *))
{
    const char *mine = what(fig_cell(v, v->series[series].reports[0]));
    size_t n = 0;
    for (size_t i = 0; i < series; i++) {
        const rm_cell *cell = fig_cell(v, v->series[i].reports[0]);
        if (!strcmp(what(cell), mine))
            return n; /* i was the first with mine: n counts before it */
        bool fresh = !(unknown_only && find_look(cell->strategy));
        for (size_t j = 0; fresh && j < i; j++)
            fresh = strcmp(what(fig_cell(v, v->series[j].reports[0])), what(cell)) != 0;
        n += fresh;
    }
    return n;
}

static const char *strategy_of(const rm_cell *cell)
{
    return cell->strategy;
}
static const char *model_of(const rm_cell *cell)
{
    return cell->model;
}

static fig_style make_style(const fig_view *v, size_t series)
{
    const rm_cell *cell = fig_cell(v, v->series[series].reports[0]);
    const look *l = find_look(cell->strategy);
    if (!l) { /* free looks first: from the end of the table */
        static const look others[] = {
            { NULL, &FIG_GREEN, FIG_PENTAGON }, { NULL, &FIG_PURPLE, FIG_STAR },
            { NULL, &FIG_ORANGE, FIG_DIAMOND }, { NULL, &FIG_SKY, FIG_SQUARE },
            { NULL, &FIG_BLUE, FIG_TRIANGLE },  { NULL, &FIG_VERMILLION, FIG_TRIANGLE_DOWN },
        };
        l = &others[order_of(v, series, true, strategy_of) % (sizeof others / sizeof *others)];
    }
    fig_style style = { .color = *l->color,
                        .marker = l->marker,
                        .ringed = cell->verifier || cell->oracle };
    if (!is_ensemble(cell))
        style.hollow = order_of(v, series, false, model_of) % 2 == 1;
    size_t siblings = 0; /* lines before this one that would look the same */
    for (size_t i = 0; i < series; i++) {
        const rm_cell *other = fig_cell(v, v->series[i].reports[0]);
        bool alike = find_look(cell->strategy)
                         ? find_look(cell->strategy) == find_look(other->strategy)
                         : !strcmp(other->strategy, cell->strategy);
        siblings += alike && v->series[i].style.hollow == style.hollow;
    }
    style.marker = (fig_marker)(((size_t)style.marker + siblings) % FIG_N_MARKERS);
    return style;
}

/* ---- the view -------------------------------------------------------------------------- */

static bool add_series(fig_view *v, const int *reports, size_t n)
{
    fig_series *s = &v->series[v->n_series];
    *s = (fig_series){ .n = n, .reports = malloc(n * sizeof *reports) };
    if (!s->reports)
        return false;
    memcpy(s->reports, reports, n * sizeof *reports);
    s->name = series_name(v, s);
    v->n_series++;
    return s->name != NULL;
}

rm_status fig_view_new(const rm_analysis *analysis, size_t task, fig_view *v, rm_error *err)
{
    *v = (fig_view){ .analysis = analysis };
    if (task >= analysis->n_tasks)
        return rm_fail(err, RM_E_ARGUMENT, "Task %zu was asked for; the analysis has %zu.", task,
                       analysis->n_tasks);
    const rm_task_report *t = v->task = &analysis->tasks[task];
    v->main_model = find_main_model(analysis, t);
    bool *joined = calloc(t->n_cells + 1, sizeof *joined);
    v->series = calloc(t->n_cells + t->n_families + 1, sizeof *v->series);
    bool ok = joined && v->series;
    for (size_t f = 0; ok && f < t->n_families; f++) {
        if (t->families[f].n < 1)
            continue;
        ok = add_series(v, t->families[f].reports, t->families[f].n);
        for (size_t i = 0; i < t->families[f].n; i++)
            joined[t->families[f].reports[i]] = true;
    }
    for (size_t c = 0; ok && c < t->n_cells; c++) {
        int report = (int)c;
        if (!joined[c])
            ok = add_series(v, &report, 1);
    }
    for (size_t i = 0; ok && i < v->n_series; i++)
        v->series[i].style = make_style(v, i);
    free(joined);
    if (ok)
        return RM_OK;
    fig_view_free(v);
    return rm_fail(err, RM_E_MEMORY, "There is no memory for the series of a figure.");
}

void fig_view_free(fig_view *v)
{
    for (size_t i = 0; v->series && i < v->n_series; i++) {
        free(v->series[i].name);
        free(v->series[i].reports);
    }
    free(v->series);
    *v = (fig_view){ 0 };
}
