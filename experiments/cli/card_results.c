/* card_results.c - what the records of runs say of one model, for its card (card.c).
 *
 * Of each run: the model alone; what several samples add to one; the same beside other models that
 * did the same, on the problems that both met; the run's stated pairs in which it has a part, each
 * with a sentence; coverage and its crossings where samples are many. Differences are claims of the
 * analysis (analysis/claims.c): bootstrap over problems, corrected for all of a task together. */
#include "base/json.h"
#include "experiments/claims.h"
#include "experiments/cli/cli.h"
#include "plots/plots.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MANY_SAMPLES = 64, MOST_CLAIMS = 512 };

/* The name that the run gave the file of this hash, malloc'd; NULL: it had no part in it. */
static rm_status name_in_run(rm_store *store, const char *hash, char **name, rm_error *err)
{
    rm_text text = { 0 };
    rm_json *json = NULL;
    *name = NULL;
    rm_status status = rm_manifest_text(store, &text, err);
    if (!status)
        status = rm_json_parse(text.data, text.length, "manifest.json", 1, RM_JSON_NO_POSITIONS,
                               &json, err);
    const cJSON *session, *m;
    if (!status)
        cJSON_ArrayForEach(session,
                           cJSON_GetObjectItemCaseSensitive(rm_json_root(json), "sessions"))
        {
            const cJSON *with = cJSON_GetObjectItemCaseSensitive(session, "with");
            cJSON_ArrayForEach(m, cJSON_GetObjectItemCaseSensitive(with, "models"))
            {
                const cJSON *its = cJSON_GetObjectItemCaseSensitive(m, "hash_xxh3_128");
                const cJSON *called = cJSON_GetObjectItemCaseSensitive(m, "name");
                if (!*name && cJSON_IsString(its) && cJSON_IsString(called) &&
                    strcmp(its->valuestring, hash) == 0)
                    *name = strdup(called->valuestring);
            }
        }
    rm_json_free(json);
    rm_text_free(&text);
    return status;
}

/* ---- what is to be measured -------------------------------------------------------------------
 */

/* Columns of the tables of differences. */
typedef enum column {
    GREEDY,
    ONE,
    MAJORITY,
    ANY,
    LENGTH,
    LENGTH_RIGHT,
    LENGTH_WRONG,
    BESIDE,
    GAIN_MAJORITY = BESIDE,
    GAIN_ANY,
    OWN_RIGHT,
    OWN_WRONG,
    N_COLUMNS
} column;

static const struct {
    rm_measure measure;
    rm_against against;
    size_t k;    /* 0: all samples */
    bool greedy; /* of greedy cells, else of pools of samples */
} measured[N_COLUMNS] = {
    [GREEDY] = { RM_MEASURE_ACCURACY, RM_AGAINST_MEASURE, 0, true },
    [ONE] = { RM_MEASURE_PASS_AT_K, RM_AGAINST_MEASURE, 1, false },
    [MAJORITY] = { RM_MEASURE_MAJ_AT_K, RM_AGAINST_MEASURE, 0, false },
    [ANY] = { RM_MEASURE_PASS_AT_K, RM_AGAINST_MEASURE, 0, false },
    [LENGTH] = { RM_MEASURE_LENGTH, RM_AGAINST_MEASURE, 0, false },
    [LENGTH_RIGHT] = { RM_MEASURE_LENGTH_RIGHT, RM_AGAINST_MEASURE, 0, false },
    [LENGTH_WRONG] = { RM_MEASURE_LENGTH_WRONG, RM_AGAINST_MEASURE, 0, false },
    [GAIN_MAJORITY] = { RM_MEASURE_MAJ_AT_K, RM_AGAINST_ONE_SAMPLE, 0, false },
    [GAIN_ANY] = { RM_MEASURE_PASS_AT_K, RM_AGAINST_ONE_SAMPLE, 0, false },
    [OWN_RIGHT] = { RM_MEASURE_LENGTH_RIGHT, RM_AGAINST_NOTHING, 0, false },
    [OWN_WRONG] = { RM_MEASURE_LENGTH_WRONG, RM_AGAINST_NOTHING, 0, false },
};

/* Which column of which table a claim fills. */
typedef struct wanted {
    const char *name;  /* of the model */
    size_t first_cell; /* of the others: those before it are of the model's own run */
    column of[MOST_CLAIMS];
    const rm_cell *against[MOST_CLAIMS];
    size_t n;
} wanted;

static rm_status want(wanted *w, column of, const rm_cell *a, const rm_cell *b, rm_claims *out,
                      rm_error *err)
{
    if (w->n == MOST_CLAIMS)
        return rm_fail(err, RM_E_LIMIT, "the runs have more than %d differences for one card",
                       MOST_CLAIMS);
    const char **side = calloc(1, sizeof *side);
    rm_claim *c = &out->claim[out->n++];
    *c = (rm_claim){ .kind = RM_CLAIM_DIFFERENCE,
                     .measure = measured[of].measure,
                     .against = measured[of].against,
                     .k = measured[of].k,
                     .direction = RM_DIRECTION_HIGHER,
                     .text = strdup(""),
                     .a = strdup(a->label) };
    c->b = side;
    if (side && (side[0] = strdup(b->label)))
        c->n_b = 1;
    w->of[w->n] = of;
    w->against[w->n++] = b;
    return c->n_b && c->text && c->a ? RM_OK : rm_fail(err, RM_E_MEMORY, "no memory for a card");
}

static bool is_greedy(const rm_cell *cell)
{
    return strcmp(cell->strategy, "greedy") == 0;
}

/* The same cell of another task is the same to a claim. */
static bool first_of_label(const rm_records *records, size_t i)
{
    for (size_t k = 0; k < i; k++)
        if (strcmp(records->cells[k].label, records->cells[i].label) == 0)
            return false;
    return true;
}

/* The model's own greedy cell, or its largest pool of samples: of the first task that has it, as
 * first_of_label takes the others'. */
static const rm_cell *own_of(const rm_records *records, const char *name, bool greedy)
{
    const rm_cell *best = NULL;
    for (size_t i = 0; i < records->n_cells; i++) {
        const rm_cell *c = &records->cells[i];
        if (strcmp(c->model, name) == 0 &&
            (greedy ? !best && is_greedy(c)
                    : c->exchangeable && c->size > 1 && (!best || c->size > best->size)))
            best = c;
    }
    return best;
}

static rm_status make_claims(const rm_records *records, void *context, rm_claims *out,
                             rm_error *err)
{
    wanted *w = context;
    const rm_cell *greedy = own_of(records, w->name, true);
    const rm_cell *pool = own_of(records, w->name, false);
    rm_status status = RM_OK;
    if (!(out->claim = calloc(MOST_CLAIMS, sizeof *out->claim)))
        return rm_fail(err, RM_E_MEMORY, "no memory for a card");
    for (int of = BESIDE; of < N_COLUMNS && pool && !w->first_cell && !status; of++)
        status = want(w, (column)of, pool, pool, out, err);
    for (size_t i = w->first_cell; i < records->n_cells; i++) {
        const rm_cell *c = &records->cells[i], *own = is_greedy(c) ? greedy : pool;
        if (!own || strcmp(c->model, w->name) == 0 || strstr(c->model, " + ") ||
            strcmp(c->strategy, own->strategy) != 0 || strcmp(c->params, own->params) != 0 ||
            !first_of_label(records, i))
            continue;
        for (int of = 0; of < BESIDE && !status; of++)
            if (measured[of].greedy == is_greedy(c))
                status = want(w, (column)of, own, c, out, err);
    }
    return status;
}

/* What became of it in a task; NaN where it has none. */
static rm_estimate found(const cli_analysis *a, const rm_task_report *task, const wanted *w,
                         column of, const char *model)
{
    for (size_t i = 0; i < task->n_claims; i++) {
        size_t at = (size_t)(task->claims[i].claim - a->claims.claim);
        if (w->of[at] == of && strcmp(w->against[at]->model, model) == 0)
            return task->claims[i].theta;
    }
    return (rm_estimate){ .value = NAN, .low = NAN, .high = NAN };
}

/* ---- tables -------------------------------------------------------------------------------------
 */

static void put_share(rm_text *out, const rm_estimate *e)
{
    if (isfinite(e->value) && isfinite(e->low))
        rm_text_printf(out, " %.1f [%.1f, %.1f] |", 100 * e->value, 100 * e->low, 100 * e->high);
    else
        rm_text_puts(out, " – |");
}

static void put_length(rm_text *out, rm_estimate e)
{
    if (isfinite(e.value))
        rm_text_printf(out, " %.1f [%.1f, %.1f] |", e.value, e.low, e.high);
    else
        rm_text_puts(out, " – |");
}

static void put_difference(rm_text *out, rm_estimate e, double scale)
{
    if (isfinite(e.value))
        rm_text_printf(out, " %+.1f [%+.1f, %+.1f] |", scale * e.value, scale * e.low,
                       scale * e.high);
    else
        rm_text_puts(out, " – |");
}

/* The cell of a task that belongs to the model alone: its greedy one, or its largest pool. */
static const rm_cell_report *own_cell(const rm_analysis *a, const rm_task_report *task,
                                      const char *name, bool greedy)
{
    const rm_cell_report *best = NULL;
    for (size_t i = 0; i < task->n_cells; i++) {
        const rm_cell_report *c = &task->cells[i];
        const rm_cell *cell = &a->records->cells[c->cell];
        if (strcmp(cell->model, name) != 0)
            continue;
        if (greedy ? strcmp(cell->strategy, "greedy") == 0
                   : c->n_curves && (!best || c->curves[0].k[c->curves[0].n_points - 1] >
                                                  best->curves[0].k[best->curves[0].n_points - 1]))
            best = c;
    }
    return best;
}

/* pass@k or maj@k of the pool at its first or last k. */
static void put_curve(const rm_cell_report *pool, rm_subset_kind kind, bool last, rm_text *out)
{
    static const rm_estimate none = { .value = NAN, .low = NAN };
    const rm_estimate *e = &none;
    for (size_t i = 0; pool && i < pool->n_curves; i++)
        if (pool->curves[i].kind == kind && !pool->curves[i].by)
            e = &pool->curves[i].value[last ? pool->curves[i].n_points - 1 : 0];
    put_share(out, e);
}

/* One line a task: greedy, one sample, majority and coverage of all samples, tokens. */
static void put_alone(const cli_analysis *all, const wanted *w, rm_text *out)
{
    static const rm_estimate none = { .value = NAN, .low = NAN };
    const rm_analysis *a = all->analysis;
    bool any = false;
    for (size_t t = 0; t < a->n_tasks; t++) {
        const rm_task_report *task = &a->tasks[t];
        const rm_cell_report *greedy = own_cell(a, task, w->name, true);
        const rm_cell_report *pool = own_cell(a, task, w->name, false);
        if (!greedy && !pool)
            continue;
        if (!any)
            rm_text_puts(out,
                         "| task | problems | greedy % | one sample % | samples | majority % | "
                         "any right % | majority less one | any less one | tokens of a text | "
                         "of right ones | of wrong ones |\n"
                         "|---|---|---|---|---|---|---|---|---|---|---|---|\n");
        any = true;
        size_t n = pool ? pool->curves[0].k[pool->curves[0].n_points - 1] : 0;
        rm_text_printf(out, "| %s | %zu |", task->task, (greedy ? greedy : pool)->n_problems);
        put_share(out, greedy ? &greedy->quantities[RM_Q_ACCURACY] : &none);
        put_curve(pool, RM_PASS_AT_K, false, out);
        rm_text_printf(out, n ? " %zu |" : " – |", n);
        put_curve(pool, RM_MAJ_AT_K, true, out);
        put_curve(pool, RM_PASS_AT_K, true, out);
        put_difference(out, found(all, task, w, GAIN_MAJORITY, w->name), 100);
        put_difference(out, found(all, task, w, GAIN_ANY, w->name), 100);
        const rm_estimate *e = &(pool ? pool : greedy)->quantities[RM_Q_GENERATED_TOKENS];
        double texts = pool ? (double)n : 1;
        put_length(out, (rm_estimate){ .value = e->value / texts,
                                       .low = e->low / texts,
                                       .high = e->high / texts });
        put_length(out, found(all, task, w, OWN_RIGHT, w->name));
        put_length(out, found(all, task, w, OWN_WRONG, w->name));
        rm_text_puts(out, "\n");
    }
    if (any)
        rm_text_puts(out,
                     "\nA text is thought and answer, of the samples (without samples: greedy). "
                     "`less one`: than one sample, in points. The last five columns' "
                     "intervals hold for all that is measured in a task together.\n\n");
}

/* This model less another one that did the same, a line a task and model. */
static void put_beside(const cli_analysis *all, const wanted *w, rm_text *out)
{
    bool any = false;
    for (size_t t = 0; t < all->analysis->n_tasks; t++) {
        const rm_task_report *task = &all->analysis->tasks[t];
        for (size_t i = 0; i < task->n_claims; i++) {
            const rm_claim_report *r = &task->claims[i];
            const rm_cell *other = w->against[r->claim - all->claims.claim];
            bool met = strcmp(other->model, w->name) == 0;
            for (size_t k = 0; k < i && !met; k++)
                met = strcmp(w->against[task->claims[k].claim - all->claims.claim]->model,
                             other->model) == 0;
            if (met)
                continue;
            if (!any)
                rm_text_puts(
                    out, "| task | problems | less | greedy | one sample | majority | any right | "
                         "tokens of a text | of right ones | of wrong ones |\n"
                         "|---|---|---|---|---|---|---|---|---|---|\n");
            any = true;
            rm_text_printf(out, "| %s | %zu | %s |", task->task, r->theta.n, other->model);
            for (int of = 0; of < BESIDE; of++)
                put_difference(out, found(all, task, w, (column)of, other->model),
                               of < LENGTH ? 100 : 1);
            rm_text_puts(out, "\n");
        }
    }
    if (any)
        rm_text_printf(out,
                       "\n%s less the model named, on the same problems: points, and tokens of a "
                       "text. Right and wrong ones: of the problems for which both have some. "
                       "The intervals hold for all differences of a task together. What they "
                       "say is about this pair of files; of two ways to train it says nothing, for "
                       "that several trainings of each would be needed.\n\n",
                       w->name);
}

/* Is `name` one of the names that `joined` joins by " + "? */
static bool takes_part(const char *joined, const char *name)
{
    size_t n = strlen(name);
    for (const char *at = joined; at; at = strstr(at, " + ") ? strstr(at, " + ") + 3 : NULL)
        if (strncmp(at, name, n) == 0 && (!at[n] || strncmp(at + n, " + ", 3) == 0))
            return true;
    return false;
}

/* By how much it is better, or is not. */
static void put_pair_sentence(const rm_analysis *a, const rm_task_report *task,
                              const rm_comparison *c, const char *name, rm_text *out)
{
    const rm_cell *one = &a->records->cells[c->a], *two = &a->records->cells[c->b];
    if (!takes_part(one->model, name) && !takes_part(two->model, name))
        return;
    const char *what = c->corrected.low > 0    ? "is better than"
                       : c->corrected.high < 0 ? "is worse than"
                                               : "is not shown to differ from";
    rm_text_printf(out, "- %s: `%s` %s `%s`: %+.1f points [%+.1f, %+.1f].\n", task->task,
                   one->label, what, two->label, 100 * c->difference.value, 100 * c->corrected.low,
                   100 * c->corrected.high);
}

/* Cells of several models, this one among them, each with its difference from what it is held
 * against: the stated pairs of the run. */
static void put_together(const rm_analysis *a, const char *name, rm_text *out)
{
    bool any = false;
    for (size_t t = 0; t < a->n_tasks; t++) {
        const rm_task_report *task = &a->tasks[t];
        for (size_t i = 0; i < task->n_pairs; i++) {
            const rm_comparison *c = &task->pairs[i];
            const rm_cell *one = &a->records->cells[c->a], *two = &a->records->cells[c->b];
            if (!takes_part(one->model, name) && !takes_part(two->model, name))
                continue;
            if (!any)
                rm_text_puts(out, "| task | problems | cell | % | held against | % | difference | "
                                  "verdict |\n|---|---|---|---|---|---|---|---|\n");
            any = true;
            rm_text_printf(out,
                           "| %s | %zu | %s | %.1f | %s | %.1f | %+.1f [%+.1f, %+.1f] | %s |\n",
                           task->task, c->n, one->label, 100 * c->accuracy_a, two->label,
                           100 * c->accuracy_b, 100 * c->difference.value, 100 * c->corrected.low,
                           100 * c->corrected.high, rm_comparison_verdict(c, a->options.level));
        }
    }
    if (any)
        rm_text_puts(out, "\nDifferences in points; their intervals hold for all pairs of a task "
                          "together.\n\n");
    for (size_t t = 0; t < a->n_tasks; t++)
        for (size_t i = 0; i < a->tasks[t].n_pairs; i++)
            put_pair_sentence(a, &a->tasks[t], &a->tasks[t].pairs[i], name, out);
    rm_text_puts(out, any ? "\n" : "");
}

static const rm_subset_curve *coverage_of(const rm_cell_report *cell)
{
    for (size_t i = 0; i < cell->n_curves; i++)
        if (cell->curves[i].kind == RM_PASS_AT_K)
            return &cell->curves[i];
    return NULL;
}

static void put_coverage_at(const rm_subset_curve *curve, size_t k, rm_text *out)
{
    for (size_t i = 0; i < curve->n_points; i++)
        if (curve->k[i] == k) {
            put_share(out, &curve->value[i]);
            return;
        }
    rm_text_puts(out, " – |");
}

/* Coverage at each number of samples, and where it crosses that of other pools. */
static rm_status put_coverage(const rm_analysis *a, const char *name, rm_text *out, rm_error *err)
{
    rm_status status = RM_OK;
    for (size_t t = 0; t < a->n_tasks && !status; t++) {
        const rm_task_report *task = &a->tasks[t];
        const rm_cell_report *own = own_cell(a, task, name, false);
        const rm_subset_curve *pass = own ? coverage_of(own) : NULL;
        if (!pass || pass->k[pass->n_points - 1] < MANY_SAMPLES)
            continue;
        rm_text_printf(out,
                       "Coverage of %s, %zu problems: share of the problems of which one of k "
                       "samples is right, expected over all choices of k.\n\n| k |",
                       task->task, own->n_problems);
        for (size_t i = 0; i < task->n_cells; i++)
            if (coverage_of(&task->cells[i]))
                rm_text_printf(out, " %s |", a->records->cells[task->cells[i].cell].label);
        rm_text_puts(out, "\n|---|");
        for (size_t i = 0; i < task->n_cells; i++)
            if (coverage_of(&task->cells[i]))
                rm_text_puts(out, "---|");
        rm_text_puts(out, "\n");
        for (size_t p = 0; p < pass->n_points; p++) {
            rm_text_printf(out, "| %zu |", pass->k[p]);
            for (size_t i = 0; i < task->n_cells; i++)
                if (coverage_of(&task->cells[i]))
                    put_coverage_at(coverage_of(&task->cells[i]), pass->k[p], out);
            rm_text_puts(out, "\n");
        }
        rm_text_puts(out, "\n");
        if (rm_table_has_data(a, t, RM_TABLE_CROSSINGS))
            status = rm_table_render(a, t, RM_TABLE_CROSSINGS, RM_TABLE_MARKDOWN, out, err);
        rm_text_puts(out, "\n");
    }
    return status;
}

/* ---- runs ---------------------------------------------------------------------------------------
 */

static void put_caveat(const rm_records *records, rm_text *out)
{
    rm_text unfinished = { 0 };
    if (rm_records_caveat(records, &unfinished) && unfinished.data)
        rm_text_printf(out, "%s\n\n", unfinished.data);
    rm_text_free(&unfinished);
}

/* The model beside those of another run, on the problems that both runs met. */
static rm_status put_other_run(const cli_args *args, const char *dir, const char *other,
                               const char *name, rm_text *out, rm_error *err)
{
    cli_analysis a;
    rm_store *store = NULL;
    rm_records own = { 0 };
    wanted w = { .name = name };
    const char *dirs[] = { dir, other };
    rm_status status = rm_store_open(dir, false, &store, err);
    if (!status)
        status = rm_store_records(store, &own, err);
    w.first_cell = own.n_cells;
    rm_records_free(&own);
    rm_store_close(store);
    if (!status)
        status = cli_analyze_claims(args, dirs, 2, make_claims, &w, &a, err);
    if (status)
        return status;
    if (a.analysis) {
        put_caveat(a.analysis->records, out);
        put_beside(&a, &w, out);
    }
    cli_analysis_free(&a);
    return RM_OK;
}

rm_status cli_card_results(const cli_args *args, const char *dir, const char *const *beside,
                           int n_beside, const char *model, const char *hash, rm_text *out,
                           rm_error *err)
{
    cli_analysis a;
    rm_store *store = NULL;
    char *name = NULL;
    rm_text called = { 0 };
    rm_status status = rm_store_open(dir, false, &store, err);
    if (!status)
        status = name_in_run(store, hash, &name, err);
    if (!status && !name)
        status = rm_fail(err, RM_E_ARGUMENT,
                         "%s is no run of this file of %s (%s): its manifest "
                         "has no such hash",
                         dir, model, hash);
    if (!status)
        rm_store_get_meta(store, "name", &called);
    rm_store_close(store);
    wanted w = { .name = name };
    if (!status)
        status = cli_analyze_claims(args, &dir, 1, make_claims, &w, &a, err);
    if (!status) {
        rm_text_printf(out, "## %s\n\n", called.data ? called.data : dir);
        put_caveat(a.analysis->records, out);
        put_alone(&a, &w, out);
        put_beside(&a, &w, out);
        put_together(a.analysis, name, out);
        status = put_coverage(a.analysis, name, out, err);
        cli_analysis_free(&a);
    }
    for (int i = 0; i < n_beside && !status; i++)
        status = put_other_run(args, dir, beside[i], name, out, err);
    rm_text_free(&called);
    free(name);
    return status;
}
