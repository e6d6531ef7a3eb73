/* test_pool.c - strategies that choose among independent samples: common random numbers, choosing
 * on a shared pool, the votes and scores recomputed by hand, budgets and quotas. */
#include "tests/strategies/fixture.h"

static fixture thimble;
static char prompt[] = "7*8+(31-19)*4-5*6=<think>"; /* 74: hard enough for several answers */
static rm_problem sum;

static void open_thimble(void)
{
    static const char *const names[] = { "thimble-s" };
    fixture_open(&thimble, names, 1);
    sum = arithmetic_problem(prompt, "74");
}

static void close_thimble(void)
{
    fixture_close(&thimble);
}

TestSuite(pool, .init = open_thimble, .fini = close_thimble);

static void expect_same_path(const rm_candidate *a, const rm_candidate *b)
{
    cr_expect_str_eq(a->text, b->text);
    cr_assert_eq(a->n_tokens, b->n_tokens);
    cr_expect(memcmp(a->tokens, b->tokens, (size_t)a->n_tokens * sizeof *a->tokens) == 0);
    cr_expect(a->lp == b->lp && a->lp_sampling == b->lp_sampling && a->reason == b->reason);
    cr_expect((a->answer == NULL) == (b->answer == NULL));
    if (a->answer && b->answer)
        cr_expect_str_eq(a->answer, b->answer);
}

Test(pool, the_first_samples_do_not_depend_on_how_many_follow)
{
    rm_trial few = trial_open(&thimble, &sum, 1, NULL), many = trial_open(&thimble, &sum, 1, NULL);
    rm_outcome four = outcome_of(&few, "sampling", "num_return_sequences=4 temperature=0.8");
    rm_outcome sixteen = outcome_of(&many, "sampling", "num_return_sequences=16 temperature=0.8");
    cr_assert(four.n_candidates == 4 && sixteen.n_candidates == 16);
    bool differ = false;
    for (int i = 0; i < 4; i++) {
        expect_same_path(&four.candidates[i], &sixteen.candidates[i]);
        differ |= strcmp(four.candidates[i].text, four.candidates[0].text) != 0;
    }
    cr_expect(differ, "samples of one prompt must differ");
    rm_run_close(few.run);
    rm_run_close(many.run);
}

/* Strategies over one pool draw the same paths; a cell that chooses on the first samples of a
 * larger pool decides as if it had run alone. */
Test(pool, choosing_on_a_shared_pool_equals_running)
{
    static const char *const cells[][2] = {
        { "sampling", "num_return_sequences=6" },
        { "best-of-n", "num_return_sequences=6" },
        { "best-of-n", "num_return_sequences=12 score=sum_lp" },
        { "best-of-n", "num_return_sequences=5 score=agreement" },
        { "best-of-n", "num_return_sequences=8 score=verifier" },
        { "best-of-n", "num_return_sequences=12 score=oracle" },
        { "mbr", "num_return_sequences=11 utility=chrf" },
        { "mbr", "num_return_sequences=9 utility=token_f1" },
        { "self-consistency", "num_return_sequences=12" },
        { "self-consistency", "num_return_sequences=7 weight=prob" },
        { "self-consistency", "num_return_sequences=12 weight=mean_prob" },
    };
    rm_error err;
    rm_trial shared = trial_open(&thimble, &sum, 1, NULL);
    rm_outcome pool;
    rm_sampling sampling = RM_SAMPLING_DEFAULT;
    must(rm_pool_draw(&shared, &sampling, 12, 256, &pool, &err), &err);
    for (size_t i = 0; i < sizeof cells / sizeof *cells; i++) {
        rm_params *params = params_of(cells[i][0], cells[i][1]);
        const rm_strategy *strategy = rm_params_strategy(params);
        int n, max_new_tokens;
        strategy->pool(rm_params_values(params), &sampling, &n, &max_new_tokens);
        rm_outcome chosen = { .chosen = -1, .n_candidates = n };
        chosen.candidates = rm_run_alloc(shared.run, (size_t)n * sizeof *chosen.candidates);
        memcpy(chosen.candidates, pool.candidates, (size_t)n * sizeof *chosen.candidates);
        must(strategy->choose(&shared, rm_params_values(params), &chosen, &err), &err);

        rm_trial alone = trial_open(&thimble, &sum, 1, NULL);
        rm_outcome ran;
        must(rm_strategy_run(&alone, params, &ran, &err), &err);
        cr_expect_eq(chosen.chosen, ran.chosen, "%s %s", cells[i][0], cells[i][1]);
        cr_assert_eq(ran.n_candidates, n);
        for (int c = 0; c < n; c++) {
            expect_same_path(&chosen.candidates[c], &ran.candidates[c]);
            double a = chosen.candidates[c].score, b = ran.candidates[c].score;
            cr_expect((isnan(a) && isnan(b)) || a == b);
        }
        rm_run_close(alone.run);
        rm_params_free(params);
    }
    rm_run_close(shared.run);
}

/* ---- choices on hand-made candidates ----------------------------------------------------- */

static const struct {
    const char *answer;
    double lp;
    int n_tokens;
} made[] = { { "74", -8, 4 }, { "70", -3, 4 }, { NULL, -1, 4 }, { "74", -6, 2 }, { "70", -6, 12 },
             { "74", -7, 7 } };
enum { MADE = 6 };

/* sum_lp -1 leads (no answer); mean_lp: -2 -.75 -.25 -3 -.5 -1; agreement: 74 has 2 others of 5,
 * of them the likeliest is 3; prob: 70 e^-3 + e^-6 > 74; mean_prob 70: .47 + .61 = 1.08, 74: .14 +
 * .05 + .37 = .55. The shares of the sums were computed with Python's math.exp. */
static const struct {
    const char *strategy, *words;
    int chosen;
    double score[MADE];
} choices[] = {
    { "greedy", "", 0, { NAN, NAN, NAN, NAN, NAN, NAN } },
    { "sampling", "", 0, { NAN, NAN, NAN, NAN, NAN, NAN } },
    { "best-of-n", "score=sum_lp", 2, { -8, -3, -1, -6, -6, -7 } },
    { "best-of-n", "score=mean_lp", 2, { -2, -.75, -.25, -3, -.5, -1 } },
    { "best-of-n", "score=agreement", 3, { .4, .2, 0, .4, .2, .4 } },
    { "best-of-n", "score=verifier", 3, { 1, 0, 0, 1, 0, 1 } },
    { "best-of-n", "score=oracle", 3, { 1, 0, 0, 1, 0, 1 } },
    { "self-consistency", "", 3, { .6, .4, 0, .6, .4, .6 } },
    { "self-consistency", "weight=prob", 1,
      { 0.0665470473, 0.9334529527, 0, 0.0665470473, 0.9334529527, 0.0665470473 } },
    { "self-consistency", "weight=mean_prob", 1,
      { 0.3388701084, 0.6611298916, 0, 0.3388701084, 0.6611298916, 0.3388701084 } },
};

Test(pool, choices_by_hand)
{
    rm_trial trial = trial_open(&thimble, &sum, 1, NULL);
    for (size_t i = 0; i < sizeof choices / sizeof *choices; i++) {
        rm_candidate candidates[MADE];
        for (int c = 0; c < MADE; c++)
            candidates[c] = (rm_candidate){ .text = "",
                                            .lp = made[c].lp,
                                            .score = NAN,
                                            .n_tokens = made[c].n_tokens,
                                            .answer = made[c].answer };
        rm_outcome out = { .candidates = candidates, .n_candidates = MADE, .chosen = -1 };
        rm_error err;
        rm_params *params = params_of(choices[i].strategy, choices[i].words);
        const rm_strategy *strategy = rm_params_strategy(params);
        must(strategy->choose(&trial, rm_params_values(params), &out, &err), &err);
        cr_expect_eq(out.chosen, choices[i].chosen, "%s %s chose %d", choices[i].strategy,
                     choices[i].words, out.chosen);
        for (int c = 0; c < MADE; c++) {
            double score = candidates[c].score, expected = choices[i].score[c];
            cr_expect(isnan(expected) ? isnan(score) : fabs(score - expected) < 1e-9,
                      "%s %s: score of %d is %.10g", choices[i].strategy, choices[i].words, c,
                      score);
        }
        rm_params_free(params);
    }
    rm_run_close(trial.run);
}

static const struct {
    const char *strategy, *words;
    bool exchangeable, verifier, oracle;
    unsigned needs;
} marks[] = {
    { "greedy", "", false, false, false, RM_NEEDS_SAMPLES },
    { "sampling", "", true, false, false, RM_NEEDS_SAMPLES },
    { "best-of-n", "", true, false, false, RM_NEEDS_SAMPLES | RM_NEEDS_LOGPROBS },
    { "best-of-n", "score=agreement", true, false, false, RM_NEEDS_SAMPLES },
    { "best-of-n", "score=verifier", true, true, false, RM_NEEDS_SAMPLES | RM_NEEDS_VERIFIER },
    { "best-of-n", "score=oracle", true, false, true, RM_NEEDS_SAMPLES },
    { "best-of-n", "score=value", true, false, false,
      RM_NEEDS_SAMPLES | RM_NEEDS_SCORING | RM_NEEDS_ONE_VOCABULARY },
    { "self-consistency", "", true, false, false, RM_NEEDS_SAMPLES },
    { "self-consistency", "weight=prob", true, false, false, RM_NEEDS_SAMPLES | RM_NEEDS_LOGPROBS },
    { "self-consistency", "weight=value", true, false, false,
      RM_NEEDS_SAMPLES | RM_NEEDS_SCORING | RM_NEEDS_ONE_VOCABULARY },
    { "beam", "", false, false, false, RM_NEEDS_TOP | RM_NEEDS_FORK },
    { "ensemble-vote", "", false, false, false, RM_NEEDS_SAMPLES },
    { "ensemble-token", "", false, false, false, RM_NEEDS_SAMPLES | RM_NEEDS_ONE_VOCABULARY },
    { "ensemble-token", "do_sample=true", true, false, false,
      RM_NEEDS_SAMPLES | RM_NEEDS_ONE_VOCABULARY },
    { "ensemble-token", "num_beams=2", false, false, false,
      RM_NEEDS_TOP | RM_NEEDS_FORK | RM_NEEDS_ONE_VOCABULARY },
    { "budget-forcing", "", false, false, false,
      RM_NEEDS_SAMPLES | RM_NEEDS_FORK | RM_NEEDS_SCORING | RM_NEEDS_THOUGHT },
    { "budget-forcing", "do_sample=true", true, false, false,
      RM_NEEDS_SAMPLES | RM_NEEDS_FORK | RM_NEEDS_SCORING | RM_NEEDS_THOUGHT },
    { "step-beam", "", false, false, false,
      RM_NEEDS_SAMPLES | RM_NEEDS_FORK | RM_NEEDS_STEPS | RM_NEEDS_LOGPROBS },
    { "step-beam", "score=value", false, false, false,
      RM_NEEDS_SAMPLES | RM_NEEDS_FORK | RM_NEEDS_STEPS | RM_NEEDS_SCORING |
          RM_NEEDS_ONE_VOCABULARY },
    { "mcts", "", false, false, false,
      RM_NEEDS_SAMPLES | RM_NEEDS_FORK | RM_NEEDS_STEPS | RM_NEEDS_LOGPROBS },
    { "mcts", "score=verifier", false, true, false,
      RM_NEEDS_SAMPLES | RM_NEEDS_FORK | RM_NEEDS_STEPS | RM_NEEDS_VERIFIER | RM_NEEDS_LOGPROBS },
    { "mcts", "score=value", false, false, false,
      RM_NEEDS_SAMPLES | RM_NEEDS_FORK | RM_NEEDS_STEPS | RM_NEEDS_SCORING |
          RM_NEEDS_ONE_VOCABULARY | RM_NEEDS_LOGPROBS },
};

Test(marks, of_every_strategy)
{
    for (size_t i = 0; i < sizeof marks / sizeof *marks; i++) {
        rm_params *params = params_of(marks[i].strategy, marks[i].words);
        const rm_strategy *s = rm_params_strategy(params);
        const void *values = rm_params_values(params);
        cr_expect_eq(s->exchangeable(values), marks[i].exchangeable, "row %zu", i);
        cr_expect_eq(s->uses_verifier && s->uses_verifier(values), marks[i].verifier, "row %zu", i);
        cr_expect_eq(s->uses_oracle && s->uses_oracle(values), marks[i].oracle, "row %zu", i);
        cr_expect_eq(s->needs(values), marks[i].needs, "row %zu", i);
        rm_params_free(params);
    }
}

Test(marks, of_scores_that_depend_on_the_other_candidates)
{
    static const struct {
        const char *strategy, *words;
        bool relative;
    } scores[] = {
        { "sampling", "", false },
        { "best-of-n", "", false },
        { "best-of-n", "score=sum_lp", false },
        { "best-of-n", "score=agreement", true },
        { "self-consistency", "", true },
    };
    for (size_t i = 0; i < sizeof scores / sizeof *scores; i++) {
        rm_params *params = params_of(scores[i].strategy, scores[i].words);
        const rm_strategy *s = rm_params_strategy(params);
        cr_expect_eq(s->relative_score && s->relative_score(rm_params_values(params)),
                     scores[i].relative, "row %zu", i);
        rm_params_free(params);
    }
}

Test(pool, a_task_without_verifier_is_refused)
{
    rm_problem problem = sum;
    problem.verify = NULL;
    rm_trial trial = trial_open(&thimble, &problem, 1, NULL);
    static const char *const names[] = { "best-of-n", "mcts" };
    for (int i = 0; i < 2; i++) {
        rm_params *params = params_of(names[i], "score=verifier");
        rm_outcome out;
        rm_error err;
        cr_expect_eq(rm_strategy_run(&trial, params, &out, &err), RM_E_ARGUMENT);
        cr_expect(strstr(err.text, "verifier"), "%s", err.text);
        rm_params_free(params);
    }
    rm_run_close(trial.run);
}

/* ---- quotas and budgets ------------------------------------------------------------------ */

/* With room for few samples at once they are drawn group by group, to the same bits. */
Test(pool, a_small_quota_changes_no_sample)
{
    size_t position = rm_model_describe(thimble.model[0])->kv_position_bytes;
    rm_run_options options = { .seed = 1, .problem = 7, .kv_quota_bytes = 400 * position };
    rm_trial wide = trial_open(&thimble, &sum, 1, NULL);
    rm_trial narrow = trial_open(&thimble, &sum, 1, &options);
    const char *words = "num_return_sequences=12 max_new_tokens=120";
    rm_outcome a = outcome_of(&wide, "self-consistency", words);
    rm_outcome b = outcome_of(&narrow, "self-consistency", words);
    cr_assert_eq(a.n_candidates, b.n_candidates);
    cr_expect_not(b.cut_short);
    for (int i = 0; i < a.n_candidates; i++)
        expect_same_path(&a.candidates[i], &b.candidates[i]);
    cr_expect_eq(a.chosen, b.chosen);
    cr_expect_eq(rm_run_cost(wide.run).generated_tokens, rm_run_cost(narrow.run).generated_tokens);
    cr_expect_eq(rm_engine_kv(thimble.engine).pages_in_use, 0);
    rm_run_close(wide.run);
    rm_run_close(narrow.run);

    options.kv_quota_bytes = 30 * position; /* the prompt, but not one sample */
    narrow = trial_open(&thimble, &sum, 1, &options);
    rm_params *params = params_of("self-consistency", words);
    rm_error err;
    cr_expect_eq(rm_strategy_run(&narrow, params, &b, &err), RM_E_LIMIT);
    rm_params_free(params);
    rm_run_close(narrow.run);
}

Test(pool, a_token_budget_cuts_samples)
{
    rm_run_options options = { .seed = 1, .problem = 7, .max_generated_tokens = 100 };
    rm_trial trial = trial_open(&thimble, &sum, 1, &options);
    rm_outcome out = outcome_of(&trial, "sampling", "num_return_sequences=6");
    cr_expect(out.cut_short);
    cr_assert(out.n_candidates > 0 && out.chosen == 0);
    int total = 0;
    for (int i = 0; i < out.n_candidates; i++)
        total += out.candidates[i].n_tokens;
    cr_expect_eq(total, 100);
    rm_run_close(trial.run);
}

/* What a run of samples costs is what the engine says such a run costs. */
Test(pool, the_account_is_that_of_samples)
{
    rm_trial trial = trial_open(&thimble, &sum, 1, NULL);
    rm_outcome out = outcome_of(&trial, "self-consistency", "num_return_sequences=5");
    int n[5];
    for (int i = 0; i < 5; i++)
        n[i] = out.candidates[i].n_tokens;
    rm_cost spent = rm_run_cost(trial.run);
    rm_cost said = rm_cost_of_samples(thimble.model[0], (int)strlen(prompt) - 6 + 1, n, 5);
    cr_expect_eq(spent.prompt_tokens, said.prompt_tokens);
    cr_expect_eq(spent.generated_tokens, said.generated_tokens);
    cr_expect_eq(spent.evaluated_tokens, said.evaluated_tokens);
    cr_expect_eq(spent.shared_tokens, said.shared_tokens);
    cr_expect_eq(spent.rounds, said.rounds);
    cr_expect_eq(spent.kv_peak_positions, said.kv_peak_positions);
    cr_expect_eq(spent.flops, said.flops);
    rm_run_close(trial.run);
}
