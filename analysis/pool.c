/* pool.c - the candidates of one cell, gathered by problem or by unit, with their answers sorted
 * into classes. Answers are recorded in canonical form, so equal answers are equal strings. */
#include "analysis/internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const rm_sample *const *slot(const void *element)
{
    return *(const rm_sample *const *const *)element;
}

/* Elements point into pool->sample: missing answers first, then by answer, then by place. */
static int by_answer(const void *left, const void *right)
{
    const rm_sample *const *a = slot(left), *const *b = slot(right);
    if (!(*a)->answer || !(*b)->answer) {
        int order = ((*a)->answer != NULL) - ((*b)->answer != NULL);
        return order ? order : (a > b) - (a < b);
    }
    int order = strcmp((*a)->answer, (*b)->answer);
    return order ? order : (a > b) - (a < b);
}

static void classify(an_pool *pool, size_t group, const rm_sample ***order)
{
    size_t first = pool->first[group], n = pool->first[group + 1] - first;
    for (size_t i = 0; i < n; i++)
        order[i] = &pool->sample[first + i];
    qsort(order, n, sizeof *order, by_answer);
    int category = -1;
    for (size_t i = 0; i < n; i++) {
        const char *answer = (*order[i])->answer;
        if (answer &&
            (i == 0 || !(*order[i - 1])->answer || strcmp((*order[i - 1])->answer, answer) != 0))
            category++;
        pool->answer[order[i] - pool->sample] = answer ? category : -1;
    }
}

/* Lays out the samples of the cell's entries; with sample NULL only counts them. */
static size_t lay_out(const an_frame *frame, int cell_at, bool by_unit, an_pool *pool)
{
    size_t n = 0, group = 0, end = frame->cell_first[cell_at + 1];
    for (size_t i = frame->cell_first[cell_at]; i < end;) {
        size_t unit = frame->entries[i].unit;
        size_t of = by_unit ? unit : frame->unit_problem[unit];
        const rm_result *with_samples = NULL;
        for (; i < end && frame->entries[i].unit == unit; i++)
            if (!with_samples && frame->entries[i].result->n_samples)
                with_samples = frame->entries[i].result;
        if (pool->sample) {
            while (group <= of)
                pool->first[group++] = n;
            pool->present[of] = true;
        }
        for (size_t s = 0; with_samples && s < with_samples->n_samples; s++, n++)
            if (pool->sample)
                pool->sample[n] = &with_samples->samples[s];
    }
    while (pool->sample && group <= pool->n_groups)
        pool->first[group++] = n;
    return n;
}

rm_status an_pool_new(const an_frame *frame, int cell_at, bool by_unit, an_pool *out, rm_error *err)
{
    rm_status status = RM_OK;
    an_pool pool = { .n_groups = by_unit ? frame->n_units : frame->n_problems };
    size_t n = lay_out(frame, cell_at, by_unit, &pool);
    const rm_sample ***order = malloc((n + 1) * sizeof *order);
    pool.first = calloc(pool.n_groups + 1, sizeof *pool.first);
    pool.sample = malloc((n + 1) * sizeof *pool.sample);
    pool.answer = malloc((n + 1) * sizeof *pool.answer);
    pool.present = calloc(pool.n_groups, sizeof *pool.present);
    if (!order || !pool.first || !pool.sample || !pool.answer || !pool.present) {
        status = rm_fail(err, RM_E_MEMORY, "no memory to gather %zu candidates", n);
        goto done;
    }
    lay_out(frame, cell_at, by_unit, &pool);
    for (size_t g = 0; g < pool.n_groups; g++) {
        classify(&pool, g, order);
        size_t has = pool.first[g + 1] - pool.first[g];
        if (has && (pool.n_min == 0 || has < pool.n_min))
            pool.n_min = has;
        if (has > pool.n_max)
            pool.n_max = has;
    }
    *out = pool;
    pool = (an_pool){ 0 };
done:
    free(order);
    an_pool_free(&pool);
    return status;
}

void an_pool_free(an_pool *pool)
{
    free(pool->first);
    free(pool->sample);
    free(pool->answer);
    free(pool->present);
    *pool = (an_pool){ 0 };
}

double an_sample_score(const rm_sample *sample, const char *by)
{
    if (strcmp(by, "lp") == 0)
        return sample->lp;
    if (strcmp(by, "lp/len") == 0)
        return sample->n_tokens ? sample->lp / sample->n_tokens : NAN;
    if (strcmp(by, "score") == 0)
        return sample->score;
    for (size_t i = 0; i < sample->n_scores; i++)
        if (strcmp(sample->scores[i].name, by) == 0)
            return sample->scores[i].value;
    return NAN;
}

size_t an_tally(const an_pool *pool, size_t group, size_t *count, double *right, size_t *n_missing)
{
    size_t classes = 0;
    *n_missing = 0;
    for (size_t i = pool->first[group]; i < pool->first[group + 1]; i++) {
        if (pool->answer[i] < 0) {
            ++*n_missing;
            continue;
        }
        size_t category = (size_t)pool->answer[i];
        for (; classes <= category; classes++) {
            count[classes] = 0;
            if (right)
                right[classes] = 0;
        }
        count[category]++;
        if (right)
            right[category] += pool->sample[i]->correct;
    }
    for (size_t category = 0; right && category < classes; category++)
        right[category] /= (double)count[category];
    return classes;
}
