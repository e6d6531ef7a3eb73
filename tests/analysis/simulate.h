/* simulate.h - a model whose answer distribution is known, as the oracle of the estimators.
 *
 * Problem p is answered with "right" with probability right[p], with wrong answer "w<i>" with
 * probability wrong[i] of the rest, and not at all with probability `missing`. All draws come from
 * rm_random, so a fixed seed fixes every test. */
#ifndef RM_TESTS_SIMULATE_H
#define RM_TESTS_SIMULATE_H

#include "analysis/analysis.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { SIM_MAX_SAMPLES = 128 };

typedef struct sim_source {
    uint64_t seed, stream;
    uint32_t next;
} sim_source;

static inline double sim_unit(sim_source *s)
{
    uint32_t i = s->next++;
    return rm_unit(rm_random(s->seed, s->stream, i, 0));
}

typedef struct sim_answers {
    double right, missing;
    int n_wrong; /* equally likely among themselves */
} sim_answers;

/* Class of one draw: 0 right, 1.. wrong, -1 missing. */
static inline int sim_draw(const sim_answers *a, sim_source *s)
{
    double u = sim_unit(s);
    if (u < a->right)
        return 0;
    if (u < a->right + a->missing)
        return -1;
    double rest = (u - a->right - a->missing) / (1 - a->right - a->missing);
    return 1 + (int)(rest * a->n_wrong);
}

/* ---- records (indices are -1 without memory) --------------------------------------------- */

static inline int sim_cell(rm_records *r, const char *task, const char *label, const char *strategy,
                           double size, bool exchangeable)
{
    int index = -1;
    rm_cell cell = { .model = "sim",
                     .task = (char *)task,
                     .strategy = (char *)strategy,
                     .label = (char *)label,
                     .family = (char *)strategy,
                     .size = size,
                     .size_name = "n",
                     .exchangeable = exchangeable };
    rm_records_add_cell(r, &cell, &index, NULL);
    return index;
}

static inline int sim_problem(rm_records *r, const char *task, int number, const char *cluster)
{
    char id[32];
    int index = -1;
    snprintf(id, sizeof id, "p%d", number);
    rm_problem_key key = { .task = (char *)task, .id = id, .cluster = (char *)cluster };
    rm_records_add_problem(r, &key, &index, NULL);
    return index;
}

/* A result without candidates. */
static inline void sim_verdict(rm_records *r, int cell, int problem, uint64_t seed, bool correct)
{
    rm_result result = { .cell = cell,
                         .problem = problem,
                         .seed = seed,
                         .timing = RM_TIMING_NONE,
                         .correct = correct,
                         .chosen = -1 };
    result.cost.wall_ms = result.cost.ttft_ms = result.cost.load = result.cost.energy_j = NAN;
    rm_records_add_result(r, &result, NULL, NULL);
}

/* A result of n drawn candidates; the first is chosen. */
static inline void sim_samples(rm_records *r, int cell, int problem, uint64_t seed,
                               const sim_answers *a, size_t n, sim_source *s)
{
    rm_sample samples[SIM_MAX_SAMPLES];
    char answers[SIM_MAX_SAMPLES][16], texts[SIM_MAX_SAMPLES][64];
    for (size_t i = 0; i < n; i++) {
        int category = sim_draw(a, s);
        snprintf(answers[i], sizeof answers[i], category == 0 ? "right" : "w%d", category);
        snprintf(texts[i], sizeof texts[i], "so it is %d then %d", category,
                 (int)(4 * sim_unit(s)));
        samples[i] = (rm_sample){ .text = texts[i],
                                  .answer = category < 0 ? NULL : answers[i],
                                  .correct = category == 0,
                                  .n_tokens = 10,
                                  .lp = -10 * sim_unit(s),
                                  .lp_sampling = NAN,
                                  .score = NAN };
    }
    rm_result result = { .cell = cell,
                         .problem = problem,
                         .seed = seed,
                         .timing = RM_TIMING_THROUGHPUT,
                         .correct = n && samples[0].correct,
                         .chosen = n ? 0 : -1,
                         .samples = samples,
                         .n_samples = n };
    result.cost.prompt_tokens = 50;
    result.cost.generated_tokens = 10 * n + (uint64_t)(10 * sim_unit(s));
    result.cost.evaluated_tokens = result.cost.generated_tokens + 50;
    result.cost.flops = 1e6 * (double)result.cost.evaluated_tokens;
    result.cost.wall_ms = (double)n * (1 + sim_unit(s));
    result.cost.ttft_ms = 1 + sim_unit(s);
    result.cost.load = 3;
    result.cost.energy_j = NAN;
    rm_records_add_result(r, &result, NULL, NULL);
}

#endif
