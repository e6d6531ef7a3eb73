/* test_value.c - a reward model as scorer: its values follow from the two log-probabilities of its
 * verdicts, and best-of-n, the weighted vote and the search choose by them. */
#include "tests/judge.h"
#include "tests/strategies/fixture.h"

#include "strategies/value.h"

enum { GOOD = JUDGE_GOOD, BAD = JUDGE_BAD };

/* thimble-s draws, a judge made of it is the scorer. */
static void open_judge(fixture *f)
{
    static const char *const names[] = { "thimble-s" };
    rm_error err;
    fixture_open(f, names, 1);
    char *file = f->file[1];
    snprintf(file, sizeof f->file[0], "/tmp/ramify-test-XXXXXX");
    int handle = mkstemp(file);
    cr_assert(handle >= 0);
    close(handle);
    write_judge(f->engine, RM_MODELS_DIR "/thimble-s.gguf", file);
    must(rm_model_open(f->engine, file, NULL, &f->model[f->n_models++], &err), &err);
    cr_assert_eq(rm_model_describe(f->model[1])->value_good, GOOD);
    cr_assert_eq(rm_model_describe(f->model[1])->value_bad, BAD);
    cr_assert_eq(rm_model_describe(f->model[0])->value_good, -1);
}

/* From the distribution behind the whole text, evaluated as one prompt. */
static double expected_value(fixture *f, const char *prompt, const rm_candidate *c)
{
    rm_error err;
    rm_run *run;
    rm_request want = { .want = RM_WANT_ALL };
    int32_t *tokens, all[512];
    int n;
    must(rm_tokenize(f->model[1], prompt, strlen(prompt), true, &tokens, &n, &err), &err);
    memcpy(all, tokens, (size_t)n * sizeof *all);
    memcpy(all + n, c->tokens, (size_t)c->n_tokens * sizeof *all);
    free(tokens);
    must(rm_run_open(f->engine, &(rm_run_options){ .seed = 2 }, &run, &err), &err);
    must(rm_path_new(run, f->model[1], all, n + c->n_tokens, &want.path, &err), &err);
    must(rm_eval(run, &want, 1, &err), &err);
    double good = exp(want.result.lp[GOOD]), bad = exp(want.result.lp[BAD]);
    rm_run_close(run);
    return good / (good + bad);
}

static char prompt[] = "(17+5)*(9-4)-36=<think>";

Test(value, best_of_n_takes_the_highest)
{
    fixture f;
    open_judge(&f);
    rm_problem problem = arithmetic_problem(prompt, "74");
    rm_trial trial = trial_open(&f, &problem, 2, NULL);
    rm_outcome out = outcome_of(&trial, "best-of-n",
                                "score=value num_return_sequences=20 max_new_tokens=60");
    int best = 0;
    cr_assert_eq(out.n_candidates, 20);
    for (int i = 0; i < 20; i++) {
        double v = expected_value(&f, prompt, &out.candidates[i]);
        cr_expect(fabs(out.candidates[i].score - v) < 1e-9, "%d: %g, expected %g", i,
                  out.candidates[i].score, v);
        if (out.candidates[i].score > out.candidates[best].score)
            best = i;
    }
    cr_expect(out.candidates[best].score > out.candidates[(best + 1) % 20].score);
    cr_expect_eq(out.candidates[out.chosen].score, out.candidates[best].score);
    rm_run_close(trial.run);
    fixture_close(&f);
}

/* The samples are those of one model alone; reading them is not generating them. */
Test(value, votes_weigh_their_values)
{
    fixture f;
    open_judge(&f);
    rm_problem problem = arithmetic_problem(prompt, "74");
    rm_trial one = trial_open(&f, &problem, 1, NULL), two = trial_open(&f, &problem, 2, NULL);
    const char *words = "num_return_sequences=18 max_new_tokens=60";
    char with[128];
    snprintf(with, sizeof with, "weight=value %s", words);
    rm_outcome plain = outcome_of(&one, "self-consistency", words);
    rm_outcome valued = outcome_of(&two, "self-consistency", with);
    double value[18], sum = 0;
    for (int i = 0; i < 18; i++) {
        cr_expect_str_eq(plain.candidates[i].text, valued.candidates[i].text);
        value[i] = expected_value(&f, prompt, &valued.candidates[i]);
        sum += valued.candidates[i].answer ? value[i] : 0;
    }
    for (int i = 0; i < 18; i++) {
        double share = 0;
        const char *answer = valued.candidates[i].answer;
        for (int k = 0; answer && k < 18; k++)
            if (valued.candidates[k].answer && !strcmp(answer, valued.candidates[k].answer))
                share += value[k] / sum;
        cr_expect(fabs(valued.candidates[i].score - share) < 1e-9, "%d: %g, expected %g", i,
                  valued.candidates[i].score, share);
    }
    cr_expect_eq(rm_run_cost(one.run).generated_tokens, rm_run_cost(two.run).generated_tokens);
    rm_run_close(one.run);
    rm_run_close(two.run);
    fixture_close(&f);
}

Test(value, the_search_is_led_by_it)
{
    static const char *const ways[] = { "rollout", "prefix", "mix" };
    fixture f;
    open_judge(&f);
    rm_problem problem = arithmetic_problem(prompt, "74");
    for (int w = 0; w < 3; w++) {
        char words[128];
        rm_trial trial = trial_open(&f, &problem, 2, NULL);
        snprintf(words, sizeof words, "score=value simulations=6 max_new_tokens=60 evaluate=%s",
                 ways[w]);
        rm_outcome out = outcome_of(&trial, "mcts", words);
        cr_assert_geq(out.chosen, 0);
        for (int i = 0; i < out.n_candidates; i++) {
            double v = expected_value(&f, prompt, &out.candidates[i]);
            cr_expect(fabs(out.candidates[i].score - v) < 1e-9, "%s, %d", ways[w], i);
        }
        if (w == 1) /* the root's value is that of the prompt, and the first backed up */
            cr_expect(fabs(out.nodes[0].value - 0.5) < 0.5 && out.nodes[0].value > 0);
        rm_run_close(trial.run);
    }
    fixture_close(&f);
}

/* Every prefix has its value, and what is finished the one of its whole text. */
Test(value, the_step_beam_is_led_by_it)
{
    fixture f;
    open_judge(&f);
    rm_problem problem = arithmetic_problem(prompt, "74");
    rm_trial trial = trial_open(&f, &problem, 2, NULL);
    rm_outcome out = outcome_of(&trial, "step-beam",
                                "score=value num_beams=8 beam_width=4 max_new_tokens=60");
    cr_assert(out.n_candidates > 0);
    for (int i = 0; i < out.n_candidates; i++) {
        double v = expected_value(&f, prompt, &out.candidates[i]);
        cr_expect(fabs(out.candidates[i].score - v) < 1e-9, "%d: %g, expected %g", i,
                  out.candidates[i].score, v);
        cr_expect(out.candidates[i].score <= out.candidates[out.chosen].score);
    }
    for (int i = 1; i < out.n_nodes; i++)
        cr_expect(out.nodes[i].value > 0 && out.nodes[i].value < 1);
    rm_run_close(trial.run);
    fixture_close(&f);
}

/* ---- quotas -------------------------------------------------------------------------------- */

/* A judge reads what was drawn together with the prompt, so that long prompts and short texts are
 * where its cache is the larger one. */
static const struct valued {
    const char *strategy, *words;
    bool samples; /* given back before they are judged: the judge's cache alone is the bound */
} valued[] = {
    { "best-of-n", "score=value num_return_sequences=1 max_new_tokens=60", true },
    { "best-of-n", "score=value num_return_sequences=12 max_new_tokens=2 temperature=3", true },
    { "best-of-n", "score=value num_return_sequences=40 max_new_tokens=20 temperature=3", false },
    { "self-consistency", "weight=value num_return_sequences=9 max_new_tokens=20", true },
    { "step-beam", "score=value num_beams=8 beam_width=4 max_new_tokens=60", false },
    { "step-beam", "score=value num_beams=24 beam_width=2 max_new_tokens=5 temperature=3", false },
    { "mcts", "score=value simulations=6 max_new_tokens=60", false },
    { "mcts", "score=value evaluate=prefix simulations=9 max_new_tokens=4 temperature=3", false },
    { "mcts", "score=value evaluate=mix simulations=8 parallel=8 max_new_tokens=3", false },
};

static size_t promised(fixture *f, const rm_problem *problem, const struct valued *row)
{
    rm_error err;
    rm_params *params = params_of(row->strategy, row->words);
    int32_t *tokens;
    int length[2];
    for (int m = 0; m < 2; m++) {
        must(rm_problem_tokenize(problem, f->model[m], &tokens, &length[m], &err), &err);
        free(tokens);
    }
    size_t bytes = (size_t)rm_params_kv_bytes(params, f->model, 2, length);
    rm_params_free(params);
    return bytes;
}

typedef struct seen {
    rm_cost cost;
    int n_candidates, chosen;
    bool cut_short;
    double score;
} seen;

static seen look(fixture *f, const rm_problem *problem, const struct valued *row, size_t quota)
{
    rm_run_options options = { .seed = 1, .problem = 7, .kv_quota_bytes = quota };
    rm_trial trial = trial_open(f, problem, 2, &options);
    rm_outcome out = outcome_of(&trial, row->strategy, row->words);
    seen s = { rm_run_cost(trial.run), out.n_candidates, out.chosen, out.cut_short, 0 };
    for (int i = 0; i < out.n_candidates; i++)
        s.score += out.candidates[i].score;
    rm_run_close(trial.run);
    return s;
}

Test(value, the_quota_holds_what_the_judge_reads)
{
    fixture f;
    open_judge(&f);
    rm_problem problem = arithmetic_problem(prompt, "74");
    size_t held = rm_model_describe(f.model[0])->kv_held_bytes;
    cr_assert_eq(held, rm_model_describe(f.model[1])->kv_held_bytes);
    for (size_t i = 0; i < sizeof valued / sizeof *valued; i++) {
        size_t bytes = promised(&f, &problem, &valued[i]);
        seen whole = look(&f, &problem, &valued[i], 0), within = look(&f, &problem, &valued[i], bytes);
        cr_expect_leq(whole.cost.kv_peak_positions * held, bytes, "row %zu", i);
        cr_expect(!within.cut_short && within.n_candidates == whole.n_candidates &&
                      within.chosen == whole.chosen && within.score == whole.score,
                  "row %zu: another outcome", i);
        cr_expect(within.cost.rounds == whole.cost.rounds &&
                      within.cost.evaluated_tokens == whole.cost.evaluated_tokens &&
                      within.cost.kv_peak_positions == whole.cost.kv_peak_positions,
                  "row %zu: another account", i);
        if (!valued[i].samples || whole.n_candidates == 1)
            continue;
        /* the bound is what they ask for: a byte less, and they are judged in two groups */
        seen less = look(&f, &problem, &valued[i], bytes - 1);
        cr_expect(less.score == whole.score && less.chosen == whole.chosen, "row %zu: less room", i);
        cr_expect_gt(less.cost.rounds, whole.cost.rounds, "row %zu", i);
    }
    fixture_close(&f);
}

/* ---- what is refused ------------------------------------------------------------------------- */

static const struct {
    const char *strategy, *words, *says;
    int n_models;
} bad[] = {
    { "best-of-n", "score=value", "takes two models", 1 },
    { "best-of-n", "score=sum_lp", "the second one judges", 2 },
    { "self-consistency", "weight=value", "takes two models", 1 },
    { "self-consistency", "", "the second one judges", 2 },
    { "step-beam", "score=value", "takes two models", 1 },
    { "step-beam", "", "the second one judges", 2 },
    { "step-beam", "num_beams=6 beam_width=4", "must be a multiple of beam_width = 4", 1 },
    { "mcts", "score=value", "takes two models", 1 },
    { "mcts", "score=lp", "the second one judges", 2 },
    { "mcts", "score=agreement evaluate=prefix", "needs score = lp or value", 1 },
};

Test(value, wrong_combinations_are_named)
{
    fixture f;
    rm_error err;
    rm_outcome out;
    open_judge(&f);
    rm_problem problem = arithmetic_problem(prompt, "74");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        rm_trial trial = trial_open(&f, &problem, bad[i].n_models, NULL);
        rm_params *params = params_of(bad[i].strategy, bad[i].words);
        cr_expect_eq(rm_strategy_run(&trial, params, &out, &err), RM_E_ARGUMENT);
        cr_expect(strstr(err.text, bad[i].says), "%s", err.text);
        rm_params_free(params);
        rm_run_close(trial.run);
    }
    /* a model that is no judge in the judge's place */
    rm_model *swap = f.model[0];
    f.model[0] = f.model[1];
    f.model[1] = swap;
    rm_trial trial = trial_open(&f, &problem, 2, NULL);
    cr_expect_eq(value_check(&trial, "score = value", &err), RM_E_ARGUMENT);
    cr_expect(strstr(err.text, "needs a reward model"), "%s", err.text);
    rm_run_close(trial.run);
    f.model[1] = f.model[0];
    f.model[0] = swap;
    fixture_close(&f);
}
