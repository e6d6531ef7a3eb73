/* synthetic.h - records of a run that never happened, for the tests of plots/.
 *
 * Problem i has a difficulty; a sample is right with a probability that falls with it, wrong
 * answers scatter over a few values. Costs and latencies grow with the samples a strategy takes.
 * Everything is drawn from rm_random, so equal specifications give equal records. */
#ifndef RM_TESTS_PLOTS_SYNTHETIC_H
#define RM_TESTS_PLOTS_SYNTHETIC_H

#include "analysis/analysis.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct synthetic_spec {
    size_t n_problems, n_tasks, n_models;
    bool one_cell; /* greedy only */
    bool no_latency;
    bool long_names;
    bool hostile;     /* markup, escapes, control characters, broken UTF-8 in every text */
    bool all_missing; /* no candidate has an answer, no cost is known */
    double scale;     /* of latencies and tokens; 0: 1 */
    int copies;       /* every cell that many times under other names; 0: 1 */
} synthetic_spec;

typedef struct synthetic_cell {
    const char *strategy;
    const char *size_name;
    int size;     /* samples, beams, simulations; 0: not swept */
    double skill; /* added to the chance of a right choice */
    double cost;  /* relative */
    bool pool, verifier, oracle;
} synthetic_cell;

static const synthetic_cell synthetic_cells[] = {
    { "greedy", NULL, 0, 0.00, 1, false, false, false },
    { "sampling", NULL, 0, -0.06, 1, false, false, false },
    { "beam-search", "num_beams", 2, 0.03, 2.1, false, false, false },
    { "beam-search", "num_beams", 4, 0.05, 4.2, false, false, false },
    { "beam-search", "num_beams", 8, 0.04, 8.6, false, false, false },
    { "best-of-n", "num_return_sequences", 4, 0.07, 4, true, false, false },
    { "best-of-n", "num_return_sequences", 16, 0.11, 16, true, false, false },
    { "self-consistency", "num_return_sequences", 4, 0.05, 4, true, false, false },
    { "self-consistency", "num_return_sequences", 16, 0.15, 16, true, false, false },
    { "self-consistency", "num_return_sequences", 64, 0.19, 64, true, false, false },
    { "mcts", "simulations", 16, 0.08, 12, false, false, false },
    { "mcts", "simulations", 64, 0.17, 50, false, false, false },
    { "mcts", "simulations", 256, 0.22, 210, false, false, false },
    { "mcts-verified", "simulations", 64, 0.38, 45, false, true, false },
    { "best-of-n-oracle", "num_return_sequences", 16, 0.42, 16, false, false, true },
};
enum { N_SYNTHETIC_CELLS = sizeof synthetic_cells / sizeof *synthetic_cells };

static inline double synthetic_draw(uint64_t stream, uint32_t i, uint32_t j)
{
    return rm_unit(rm_random(20240229, stream, i, j));
}

static inline void synthetic_check(rm_status st, const rm_error *err)
{
    if (!st)
        return;
    fprintf(stderr, "synthetic records: %s\n", err->text);
    abort();
}

#define HOSTILE \
    "<script>alert(1)</script> \\input{x} %$&_#{}~^ | `x` **b** \x01\xff\xc3 #<bold/> ]]>"

static inline void synthetic_add_cell(rm_records *r, const synthetic_spec *spec, const char *task,
                                      const synthetic_cell *c, size_t model, int copy, int *index)
{
    static const char *const models[] = { "thimble", "acorn", "walnut", "hazel" };
    char label[480], family[400], params[100], suffix[32] = "";
    if (copy)
        snprintf(suffix, sizeof suffix, " v%d", copy + 1);
    const char *strategy = c->strategy;
    char prefix[160] = "";
    if (spec->n_models > 1)
        snprintf(prefix, sizeof prefix, "%s ", models[model]);
    if (spec->long_names)
        snprintf(prefix, sizeof prefix, "organisation/a-very-long-model-name-%s-7B-instruct-v0.3 ",
                 models[model]);
    if (spec->hostile)
        snprintf(prefix, sizeof prefix, "%s ", HOSTILE);
    snprintf(family, sizeof family, "%s%s%s", prefix, strategy, suffix);
    if (c->size)
        snprintf(label, sizeof label, "%s %s=%d", family, c->size_name[0] == 'n' ? "n" : "sims",
                 c->size);
    else
        snprintf(label, sizeof label, "%s", family);
    snprintf(params, sizeof params, "{\"n\": %d}", c->size);
    char size_name[40] = "";
    if (c->size_name)
        snprintf(size_name, sizeof size_name, "%s", c->size_name);
    char task_copy[200], strategy_copy[80], model_copy[40];
    snprintf(task_copy, sizeof task_copy, "%s", task);
    snprintf(strategy_copy, sizeof strategy_copy, "%s", strategy);
    snprintf(model_copy, sizeof model_copy, "%s", models[model]);
    rm_error err;
    synthetic_check(rm_records_add_cell(r,
                                        &(rm_cell){ .model = model_copy,
                                                    .task = task_copy,
                                                    .strategy = strategy_copy,
                                                    .params = params,
                                                    .label = label,
                                                    .family = family,
                                                    .size = c->size ? (double)c->size : (double)NAN,
                                                    .size_name = c->size ? size_name : NULL,
                                                    .exchangeable = c->pool,
                                                    .verifier = c->verifier,
                                                    .oracle = c->oracle },
                                        index, &err),
                    &err);
}

/* Candidates of one result; the vote of the first n decides what is chosen where it votes. */
static inline void synthetic_samples(const synthetic_spec *spec, uint64_t stream, double p, int n,
                                     rm_sample *samples, char answers[][8])
{
    for (int k = 0; k < n; k++) {
        bool right = synthetic_draw(stream, (uint32_t)k, 0) < p;
        int wrong = (int)(5 * synthetic_draw(stream, (uint32_t)k, 1));
        bool missing =
            spec->all_missing || (!right && synthetic_draw(stream, (uint32_t)k, 4) < 0.08);
        snprintf(answers[k], 8, "%d", right ? 42 : wrong);
        samples[k] =
            (rm_sample){ .text = NULL,
                         .answer = missing ? NULL : answers[k],
                         .correct = right && !missing,
                         .truncated = synthetic_draw(stream, (uint32_t)k, 5) < 0.03,
                         .n_tokens = 30 + (uint32_t)(40 * synthetic_draw(stream, (uint32_t)k, 2)),
                         .lp = -8 + 1.2 * right - 6 * synthetic_draw(stream, (uint32_t)k, 3),
                         .lp_sampling = NAN,
                         .score = NAN };
    }
}

static inline void synthetic_add_result(rm_records *r, const synthetic_spec *spec,
                                        const synthetic_cell *c, int cell, int problem,
                                        size_t model)
{
    double scale = spec->scale > 0 ? spec->scale : 1;
    double hard = synthetic_draw(7, (uint32_t)problem, 0);
    double p = fmin(fmax(0.72 - 0.75 * hard + 0.1 * (double)model, 0.02), 0.98);
    int n = c->pool ? c->size : c->size && c->size < 9 ? c->size : 1;
    rm_sample samples[64];
    char answers[64][8];
    uint64_t stream = rm_mix((uint64_t)problem, 1000 + model);
    synthetic_samples(spec, stream, p, n, samples, answers);
    bool right =
        synthetic_draw(rm_mix(stream, (uint64_t)cell), 0, 9) < fmin(fmax(p + c->skill, 0), 1);
    double wobble = 0.7 + 0.6 * synthetic_draw(rm_mix(stream, (uint64_t)cell), 1, 9) + 0.4 * hard;
    bool missing = spec->all_missing;
    double tokens = floor(52 * c->cost * wobble * scale);
    rm_result result = {
        .cell = cell,
        .problem = problem,
        .seed = 1,
        .timing = RM_TIMING_THROUGHPUT,
        .correct = right && !missing,
        .chosen = missing ? -1 : 0,
        .samples = samples,
        .n_samples = (size_t)n,
        .cost = { .prompt_tokens = 40,
                  .generated_tokens = missing ? 0 : (uint64_t)tokens,
                  .evaluated_tokens = missing ? 0 : (uint64_t)(tokens * 0.93) + 40,
                  .shared_tokens = (uint64_t)(tokens * 0.3),
                  .rounds = 60,
                  .flops = missing ? NAN : 2.4e6 * tokens * (1 + (double)model),
                  .weight_bytes = 1e6 * tokens,
                  .kv_bytes = 3e5 * tokens,
                  .kv_peak_positions = 90,
                  .wall_ms = missing ? NAN : 40 * wobble,
                  .ttft_ms = NAN,
                  .load = 20,
                  .energy_j = NAN },
    };
    samples[0].correct = result.correct;
    rm_error err;
    synthetic_check(rm_records_add_result(r, &result, NULL, &err), &err);
    if (spec->no_latency || missing)
        return;
    result.timing = RM_TIMING_LATENCY;
    double tail = pow(synthetic_draw(rm_mix(stream, (uint64_t)cell), 2, 9), -0.25);
    result.cost.wall_ms = scale * 9 * (1 + (double)model) * (pow(c->cost, 0.62)) * wobble * tail;
    result.cost.ttft_ms = 2 * wobble;
    synthetic_check(rm_records_add_result(r, &result, NULL, &err), &err);
}

static inline void synthetic_fill(rm_records *r, const synthetic_spec *spec)
{
    static const char *const tasks[] = { "arithmetic", "countdown", "gsm8k", "game24", "svamp" };
    *r = (rm_records){ 0 };
    size_t n_cells = spec->one_cell ? 1 : N_SYNTHETIC_CELLS;
    int copies = spec->copies ? spec->copies : 1;
    for (size_t t = 0; t < spec->n_tasks; t++) {
        char task[200];
        snprintf(task, sizeof task, "%s", spec->hostile ? HOSTILE : tasks[t % 5]);
        int first = 0;
        rm_error err;
        for (size_t i = 0; i < spec->n_problems; i++) {
            char id[32];
            int at;
            snprintf(id, sizeof id, "p%zu", i);
            synthetic_check(
                rm_records_add_problem(r, &(rm_problem_key){ .task = task, .id = id }, &at, &err),
                &err);
            if (!i)
                first = at;
        }
        for (size_t m = 0; m < (spec->n_models ? spec->n_models : 1); m++)
            for (int copy = 0; copy < copies; copy++)
                for (size_t c = 0; c < n_cells; c++) {
                    int cell;
                    synthetic_add_cell(r, spec, task, &synthetic_cells[c], m, copy, &cell);
                    for (size_t i = 0; i < spec->n_problems; i++)
                        synthetic_add_result(r, spec, &synthetic_cells[c], cell, first + (int)i, m);
                }
    }
}

#endif
