/* test_positions.c - no run ever holds more positions than its strategy says, and a quota of that
 * much is never met: the outcome and its account are those of a run without one. */
#include "tests/strategies/fixture.h"

static fixture models;
static char prompt[] = "7*8+(31-19)*4-5*6=<think>";
static rm_problem sum;

static void open_models(void)
{
    static const char *const names[] = { "thimble-s", "thimble", "thimble-grpo" };
    fixture_open(&models, names, 3);
    sum = arithmetic_problem(prompt, "74");
    sum.think_end = "</think>";
    sum.wait = ";";
}

static void close_models(void)
{
    fixture_close(&models);
}

TestSuite(positions, .init = open_models, .fini = close_models);

static const struct row {
    const char *strategy, *words;
    int n_models;
} rows[] = {
    { "greedy", "max_new_tokens=60", 1 },
    { "greedy", "max_new_tokens=1", 1 },
    { "sampling", "num_return_sequences=5 max_new_tokens=60", 1 },
    { "best-of-n", "num_return_sequences=9 max_new_tokens=40 temperature=2", 1 },
    { "mbr", "num_return_sequences=9 utility=chrf max_new_tokens=40 temperature=2", 1 },
    { "self-consistency", "num_return_sequences=16 max_new_tokens=60 temperature=3", 1 },
    { "self-consistency", "num_return_sequences=3 max_new_tokens=100000", 1 },
    { "adaptive-consistency", "num_return_sequences=12 parallel=4 max_new_tokens=40 temperature=3",
      1 },
    { "adaptive-consistency", "num_return_sequences=12 stop=window window=5 max_new_tokens=40 "
      "temperature=3", 1 },
    { "beam", "num_beams=8 max_new_tokens=60", 1 },
    { "beam", "num_beams=8 num_beam_groups=4 diversity_penalty=2 max_new_tokens=40 "
      "early_stopping=never", 1 },
    { "beam", "num_beams=1 max_new_tokens=20", 1 },
    { "ensemble-vote", "num_return_sequences=3 max_new_tokens=40 temperature=3", 3 },
    { "ensemble-token", "max_new_tokens=40", 2 },
    { "ensemble-token", "do_sample=true num_return_sequences=4 max_new_tokens=40 temperature=3",
      2 },
    { "ensemble-token", "num_beams=5 max_new_tokens=30", 2 },
    { "budget-forcing", "thinking_n_ignore=3 max_new_tokens=60", 1 },
    { "budget-forcing", "max_tokens_thinking=20 max_new_tokens=21 do_sample=true", 1 },
    { "step-beam", "num_beams=8 beam_width=4 max_new_tokens=40 temperature=2", 1 },
    { "step-beam", "num_beams=6 beam_width=2 search=dvts max_new_tokens=60", 1 },
    { "step-beam", "num_beams=3 beam_width=3 max_new_tokens=2", 1 },
    { "mcts", "simulations=12 max_new_tokens=60", 1 },
    { "mcts", "simulations=3 parallel=8 expand=6 max_new_tokens=40 temperature=3", 1 },
    { "mcts", "simulations=10 evaluate=prefix max_new_tokens=40", 1 },
    { "mcts", "simulations=6 evaluate=mix parallel=1 max_new_tokens=2", 1 },
};

enum { ROWS = sizeof rows / sizeof *rows };

static int prompt_length(const rm_model *model)
{
    rm_error err;
    int32_t *tokens;
    int n;
    must(rm_tokenize(model, prompt, strlen(prompt), true, &tokens, &n, &err), &err);
    free(tokens);
    return n;
}

typedef struct result {
    rm_cost cost;
    int n_candidates, chosen;
    bool cut_short;
    double lp;
} result;

static result run_row(const struct row *row, size_t quota)
{
    rm_run_options options = { .seed = 1, .problem = 7, .kv_quota_bytes = quota };
    rm_trial trial = trial_open(&models, &sum, row->n_models, &options);
    rm_outcome out = outcome_of(&trial, row->strategy, row->words);
    result r = { rm_run_cost(trial.run), out.n_candidates, out.chosen, out.cut_short, 0 };
    for (int i = 0; i < out.n_candidates; i++)
        r.lp += out.candidates[i].lp;
    rm_run_close(trial.run);
    return r;
}

static void check_row(size_t i)
{
    const struct row *row = &rows[i];
    rm_params *params = params_of(row->strategy, row->words);
    uint64_t most = 0;
    int length[3];
    for (int m = 0; m < row->n_models; m++) {
        const rm_model_info *info = rm_model_describe(models.model[m]);
        length[m] = prompt_length(models.model[m]);
        most += rm_params_positions(params, length[m], info->n_ctx, info->window);
        cr_expect(rm_params_positions(params, length[m], info->n_ctx, info->window) <=
                  rm_params_positions(params, length[m], info->n_ctx, 0));
    }
    size_t bytes = (size_t)rm_params_kv_bytes(params, models.model, row->n_models, length);
    rm_params_free(params);
    result free_of_it = run_row(row, 0), within = run_row(row, bytes);
    cr_expect(free_of_it.cost.kv_peak_positions <= most, "row %zu: %llu positions of %llu", i,
              (unsigned long long)free_of_it.cost.kv_peak_positions, (unsigned long long)most);
    cr_expect(!within.cut_short, "row %zu met its quota", i);
    cr_expect(within.n_candidates == free_of_it.n_candidates &&
                  within.chosen == free_of_it.chosen && within.lp == free_of_it.lp,
              "row %zu: another outcome", i);
    cr_expect(within.cost.rounds == free_of_it.cost.rounds &&
                  within.cost.kv_bytes == free_of_it.cost.kv_bytes &&
                  within.cost.weight_bytes == free_of_it.cost.weight_bytes &&
                  within.cost.kv_peak_positions == free_of_it.cost.kv_peak_positions,
              "row %zu: another account", i);
}

Test(positions, no_run_holds_more_than_its_strategy_says)
{
    for (const rm_strategy *const *s = rm_strategies(); *s; s++) {
        bool there = false;
        for (size_t i = 0; i < ROWS; i++)
            there |= strcmp(rows[i].strategy, (*s)->name) == 0;
        cr_expect(there, "%s is not tested", (*s)->name);
    }
    for (size_t i = 0; i < ROWS; i++)
        check_row(i);
}

/* The same under sliding windows, which are far shorter than the texts, and shorter and longer than the
 * prompt: less is planned with, and it is enough. */
Test(positions, windows)
{
    static const int windows[] = { 8, 30 };
    static const char *const names[] = { "thimble-s", "thimble", "thimble-grpo" };
    for (size_t w = 0; w < sizeof windows / sizeof *windows; w++) {
        fixture_close(&models);
        fixture_engine(&models);
        for (int m = 0; m < 3; m++)
            fixture_add_windowed(&models, names[m], windows[w]);
        cr_assert_eq(rm_model_describe(models.model[0])->window, windows[w]);
        for (size_t i = 0; i < ROWS; i++)
            check_row(i);
    }
}

/* 16 samples of 120 tokens fit a cache that could not hold them without the window of 30; with a quota
 * one byte smaller they are drawn in two groups. */
Test(positions, what_fits_for_its_window_only)
{
    enum { WINDOW = 30 };
    fixture_close(&models);
    fixture_engine(&models);
    fixture_add_windowed(&models, "thimble", WINDOW);
    const struct row row = { "self-consistency", "num_return_sequences=16 max_new_tokens=120", 1 };
    const rm_model_info *info = rm_model_describe(models.model[0]);
    rm_params *params = params_of(row.strategy, row.words);
    int length = prompt_length(models.model[0]);
    size_t need = (size_t)rm_params_kv_bytes(params, models.model, 1, &length);
    cr_expect_eq(need, ((length < WINDOW ? (size_t)length : WINDOW) + 16 * WINDOW) * info->kv_held_bytes);
    cr_expect(rm_params_positions(params, length, info->n_ctx, 0) * info->kv_held_bytes > 3 * need);
    rm_params_free(params);
    result whole = run_row(&row, 0);
    fixture_close(&models);

    rm_engine_options options = { .n_threads = 1, .kv_bytes = need };
    rm_error err;
    models = (fixture){ 0 };
    must(rm_engine_open(&options, &models.engine, &err), &err);
    fixture_add_windowed(&models, "thimble", WINDOW);
    result tight = run_row(&row, need), less = run_row(&row, need - 1);
    cr_expect(tight.lp == whole.lp && tight.chosen == whole.chosen && !tight.cut_short);
    cr_expect_eq(tight.cost.rounds, whole.cost.rounds);
    cr_expect(less.lp == whole.lp && less.cost.rounds > whole.cost.rounds, "drawn in two groups");
}

/* The bound of samples is what they ask for: one position less, and they are drawn in two
 * groups. */
Test(positions, the_bound_of_samples_is_exact)
{
    const struct row row = { "self-consistency", "num_return_sequences=8 max_new_tokens=60", 1 };
    rm_params *params = params_of(row.strategy, row.words);
    int length = prompt_length(models.model[0]);
    size_t bytes = (size_t)rm_params_kv_bytes(params, models.model, 1, &length);
    rm_params_free(params);
    cr_expect_eq(bytes, (size_t)(length + 8 * 59) *
                            rm_model_describe(models.model[0])->kv_held_bytes);
    result whole = run_row(&row, bytes), less = run_row(&row, bytes - 1);
    cr_expect(less.lp == whole.lp, "the same samples");
    cr_expect(less.cost.rounds > whole.cost.rounds && !less.cut_short);
}
