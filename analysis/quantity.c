/* quantity.c - the table of everything that is measured of a cell: names, titles, and the value
 * that one result contributes. Adding a quantity means an entry in rm_quantity, a row in
 * `describe`, and, if it is a mean or a ratio of sums, a row in `sources`. */
#include "analysis/internal.h"

#include <math.h>
#include <string.h>

static const rm_quantity_info describe[RM_N_QUANTITIES] = {
    [RM_Q_ACCURACY] = { "accuracy", "accuracy", "", true, true },
    [RM_Q_MISSING] = { "missing", "missing answers", "", true, false },
    [RM_Q_TRUNCATED] = { "truncated", "truncated candidates", "", true, false },
    [RM_Q_FAILED] = { "failed", "failed problems", "", true, false },
    [RM_Q_CANDIDATES] = { "candidates", "candidates", "", false, false },
    [RM_Q_PROMPT_TOKENS] = { "prompt_tokens", "prompt tokens", "tokens", false, false },
    [RM_Q_GENERATED_TOKENS] = { "generated_tokens", "generated tokens", "tokens", false, false },
    [RM_Q_EVALUATED_TOKENS] = { "evaluated_tokens", "evaluated tokens", "tokens", false, false },
    [RM_Q_SHARED_TOKENS] = { "shared_tokens", "shared tokens", "tokens", false, true },
    [RM_Q_ROUNDS] = { "rounds", "sequential rounds", "", false, false },
    [RM_Q_FLOPS] = { "flops", "model FLOPs", "FLOP", false, false },
    [RM_Q_WEIGHT_BYTES] = { "weight_bytes", "weight bytes read", "bytes", false, false },
    [RM_Q_KV_BYTES] = { "kv_bytes", "key/value bytes read", "bytes", false, false },
    [RM_Q_KV_PEAK] = { "kv_peak_positions", "peak key/value positions", "", false, false },
    [RM_Q_ENERGY_J] = { "energy_j", "energy", "J", false, false },
    [RM_Q_TOKENS_PER_CORRECT] = { "tokens_per_correct", "generated tokens per correct answer",
                                  "tokens", false, false },
    [RM_Q_FLOPS_PER_CORRECT] = { "flops_per_correct", "FLOPs per correct answer", "FLOP", false,
                                 false },
    [RM_Q_TOKENS_P50] = { "tokens_p50", "median generated tokens", "tokens", false, false },
    [RM_Q_TOKENS_P95] = { "tokens_p95", "95th percentile of generated tokens", "tokens", false,
                          false },
    [RM_Q_CHOSEN_LP] = { "chosen_lp", "log-probability of the chosen answer", "nats", false, true },
    [RM_Q_LATENCY_MEAN_MS] = { "latency_mean_ms", "mean latency", "ms", false, false },
    [RM_Q_LATENCY_P50_MS] = { "latency_p50_ms", "median latency", "ms", false, false },
    [RM_Q_LATENCY_P95_MS] = { "latency_p95_ms", "95th percentile of latency", "ms", false, false },
    [RM_Q_TTFT_P50_MS] = { "ttft_p50_ms", "median time to first token", "ms", false, false },
    [RM_Q_TTFT_P95_MS] = { "ttft_p95_ms", "95th percentile of time to first token", "ms", false,
                           false },
    [RM_Q_TOKENS_PER_S] = { "tokens_per_s", "generated tokens per second", "tokens/s", false,
                            true },
    [RM_Q_LOAD] = { "load", "other problems in flight", "", false, false },
    [RM_Q_DISTINCT_ANSWERS] = { "distinct_answers", "distinct answers", "", false, true },
    [RM_Q_ANSWER_ENTROPY] = { "answer_entropy", "answer entropy", "nats", false, true },
    [RM_Q_DISTINCT_1] = { "distinct_1", "distinct-1", "", true, true },
    [RM_Q_DISTINCT_2] = { "distinct_2", "distinct-2", "", true, true },
    [RM_Q_EDIT_DISTANCE] = { "edit_distance", "pairwise edit distance", "", true, true },
    [RM_Q_SELF_BLEU] = { "self_bleu", "self-BLEU", "", true, false },
};

const rm_quantity_info *rm_quantity_describe(rm_quantity quantity)
{
    if ((unsigned)quantity >= RM_N_QUANTITIES)
        return NULL;
    return &describe[quantity];
}

/* ---- what one result contributes --------------------------------------------------------- */

double an_result_accuracy(const rm_result *r, const rm_cell *cell)
{
    if (r->failed)
        return 0;
    if (r->chosen >= 0 || !cell->exchangeable || r->n_samples == 0)
        return r->correct;
    /* A pool of samples that chose none of them: one drawn at random, which is pass@1. */
    double right = 0;
    for (size_t i = 0; i < r->n_samples; i++)
        right += r->samples[i].correct;
    return right / (double)r->n_samples;
}

static double chosen_lp(const rm_result *r, const rm_cell *cell)
{
    (void)cell;
    return r->chosen >= 0 && (size_t)r->chosen < r->n_samples ? r->samples[r->chosen].lp : NAN;
}

static double missing(const rm_result *r, const rm_cell *cell)
{
    (void)cell;
    double n = 0;
    for (size_t i = 0; i < r->n_samples; i++)
        n += !r->samples[i].answer;
    return r->n_samples ? n / (double)r->n_samples : NAN;
}

static double truncated(const rm_result *r, const rm_cell *cell)
{
    (void)cell;
    double n = 0;
    for (size_t i = 0; i < r->n_samples; i++)
        n += r->samples[i].truncated;
    return r->n_samples ? n / (double)r->n_samples : NAN;
}

double an_result_latency(const rm_result *r, const rm_cell *cell)
{
    (void)cell;
    return r->timing == RM_TIMING_LATENCY ? r->cost.wall_ms : NAN;
}

double an_result_ttft(const rm_result *r, const rm_cell *cell)
{
    (void)cell;
    return r->timing == RM_TIMING_LATENCY ? r->cost.ttft_ms : NAN;
}

/* Seconds of the machine that a result of throughput timing took: while `load` others were in
 * flight it had one part in 1 + load of the machine. */
static double machine_s(const rm_result *r, const rm_cell *cell)
{
    (void)cell;
    return r->timing == RM_TIMING_THROUGHPUT ? r->cost.wall_ms / 1000 / (1 + r->cost.load) : NAN;
}

static double load(const rm_result *r, const rm_cell *cell)
{
    (void)cell;
    return r->timing == RM_TIMING_THROUGHPUT ? r->cost.load : NAN;
}

/* Samples made elsewhere may come without an account. */
static double counted(uint64_t count)
{
    return count == RM_NOT_COUNTED ? NAN : (double)count;
}

#define VALUE(name, expression)                                 \
    static double name(const rm_result *r, const rm_cell *cell) \
    {                                                           \
        (void)cell;                                             \
        return (double)(expression);                            \
    }
VALUE(failed, r->failed)
VALUE(candidates, r->n_samples)
VALUE(prompt_tokens, counted(r->cost.prompt_tokens))
VALUE(generated_tokens, counted(r->cost.generated_tokens))
VALUE(evaluated_tokens, counted(r->cost.evaluated_tokens))
VALUE(shared_tokens, counted(r->cost.shared_tokens))
VALUE(rounds, counted(r->cost.rounds))
VALUE(flops, r->cost.flops)
VALUE(weight_bytes, r->cost.weight_bytes)
VALUE(kv_bytes, r->cost.kv_bytes)
VALUE(kv_peak_positions, counted(r->cost.kv_peak_positions))
VALUE(energy_j, r->cost.energy_j)
#undef VALUE

static const struct source {
    an_result_value *value, *per; /* mean of value, or ratio of the sums value / per */
} sources[RM_N_QUANTITIES] = {
    [RM_Q_ACCURACY] = { an_result_accuracy, NULL },
    [RM_Q_MISSING] = { missing, NULL },
    [RM_Q_TRUNCATED] = { truncated, NULL },
    [RM_Q_FAILED] = { failed, NULL },
    [RM_Q_CANDIDATES] = { candidates, NULL },
    [RM_Q_PROMPT_TOKENS] = { prompt_tokens, NULL },
    [RM_Q_GENERATED_TOKENS] = { generated_tokens, NULL },
    [RM_Q_EVALUATED_TOKENS] = { evaluated_tokens, NULL },
    [RM_Q_SHARED_TOKENS] = { shared_tokens, NULL },
    [RM_Q_ROUNDS] = { rounds, NULL },
    [RM_Q_FLOPS] = { flops, NULL },
    [RM_Q_WEIGHT_BYTES] = { weight_bytes, NULL },
    [RM_Q_KV_BYTES] = { kv_bytes, NULL },
    [RM_Q_KV_PEAK] = { kv_peak_positions, NULL },
    [RM_Q_ENERGY_J] = { energy_j, NULL },
    [RM_Q_TOKENS_PER_CORRECT] = { generated_tokens, an_result_accuracy },
    [RM_Q_FLOPS_PER_CORRECT] = { flops, an_result_accuracy },
    [RM_Q_CHOSEN_LP] = { chosen_lp, NULL },
    [RM_Q_LATENCY_MEAN_MS] = { an_result_latency, NULL },
    [RM_Q_TOKENS_PER_S] = { generated_tokens, machine_s },
    [RM_Q_LOAD] = { load, NULL },
};

rm_status an_quantity_column(const an_frame *frame, int cell_at, rm_quantity quantity,
                             an_column *column, bool *has, rm_error *err)
{
    struct source source = sources[quantity];
    *has = source.value != NULL;
    if (!*has)
        return RM_OK;
    rm_status status = an_column_new(frame, column, err);
    if (status)
        return status;
    if (source.per)
        an_column_ratio(frame, cell_at, source.value, source.per, column);
    else
        an_column_mean(frame, cell_at, source.value, column);
    return RM_OK;
}

static const struct {
    rm_quantity quantity;
    an_result_value *value;
    double q;
} quantiles[] = {
    { RM_Q_TOKENS_P50, generated_tokens, 0.50 },
    { RM_Q_TOKENS_P95, generated_tokens, 0.95 },
    { RM_Q_LATENCY_P50_MS, an_result_latency, 0.50 },
    { RM_Q_LATENCY_P95_MS, an_result_latency, 0.95 },
    { RM_Q_TTFT_P50_MS, an_result_ttft, 0.50 },
    { RM_Q_TTFT_P95_MS, an_result_ttft, 0.95 },
};

bool an_quantity_quantile(rm_quantity quantity, an_result_value **value, double *q)
{
    for (size_t i = 0; i < sizeof quantiles / sizeof *quantiles; i++)
        if (quantiles[i].quantity == quantity) {
            *value = quantiles[i].value;
            *q = quantiles[i].q;
            return true;
        }
    return false;
}

/* ---- one quantity of one cell ------------------------------------------------------------ */

static rm_status one_diversity(const an_frame *frame, int at, rm_quantity quantity,
                               const rm_analysis_options *options, an_column *column, rm_error *err)
{
    double *values[AN_N_DIVERSITY];
    rm_status status = an_diversity_new(frame, at, options, values, err);
    if (status)
        return status;
    status = an_column_new(frame, column, err);
    if (!status)
        an_column_from_problems(frame, values[quantity - RM_Q_DISTINCT_ANSWERS], column);
    an_diversity_free(values);
    return status;
}

rm_status rm_cell_quantity(const rm_records *records, int cell, rm_quantity quantity,
                           const rm_analysis_options *given, rm_estimate *out, rm_error *err)
{
    rm_analysis_options options;
    an_result_value *value;
    an_frame *frame = NULL;
    an_jobs jobs = { 0 };
    an_column column = { 0 };
    double q;
    bool has = true;

    rm_status status = an_options(given, &options, err);
    if (!status)
        status = an_frame_of_cell(records, cell, &frame, err);
    if (!status && (unsigned)quantity >= RM_N_QUANTITIES)
        status = rm_fail(err, RM_E_ARGUMENT, "there is no quantity %d", (int)quantity);
    if (status)
        goto done;
    int at = an_frame_find(frame, cell);
    if (an_quantity_quantile(quantity, &value, &q)) {
        status = an_quantile(frame, at, value, q, &options, out, err);
        goto done;
    }
    if (quantity >= RM_Q_DISTINCT_ANSWERS)
        status = one_diversity(frame, at, quantity, &options, &column, err);
    else
        status = an_quantity_column(frame, at, quantity, &column, &has, err);
    if (!status)
        status =
            an_jobs_add(&jobs, &column, describe[quantity].share ? AN_SHARE : AN_MEAN, out, err);
    if (!status)
        status = an_jobs_run(frame, &jobs, &options, err);
done:
    an_jobs_free(&jobs);
    an_frame_free(frame);
    return status;
}
