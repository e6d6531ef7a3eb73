/* test_ensemble.c - several models: combined distributions against their closed forms, and the
 * weighted vote recomputed from the candidates. */
#include "tests/strategies/fixture.h"

enum { VOCAB = 12 };

static const char *no_answer(const rm_problem *problem, rm_run *run, const char *text)
{
    (void)problem, (void)run, (void)text;
    return NULL;
}

/* log p(v | prompt) of one model, by the engine. */
static void model_lp(fixture *f, const rm_problem *problem, int m, double lp[VOCAB])
{
    rm_error err;
    rm_trial trial = trial_open(f, problem, 1, NULL);
    int32_t *tokens;
    int n;
    rm_request r = { .want = RM_WANT_ALL };
    must(
        rm_tokenize(f->model[m], problem->prompt, strlen(problem->prompt), true, &tokens, &n, &err),
        &err);
    must(rm_path_new(trial.run, f->model[m], tokens, n, &r.path, &err), &err);
    free(tokens);
    must(rm_eval(trial.run, &r, 1, &err), &err);
    cr_assert_eq(r.result.n, VOCAB);
    memcpy(lp, r.result.lp, sizeof(double) * VOCAB);
    rm_run_close(trial.run);
}

static const struct {
    const char *combine, *weights;
    double w[2];          /* normalised for the mixture */
} combinations[] = {
    { "mixture", "", { .5, .5 } },   { "mixture", "3,1", { .75, .25 } },
    { "product", "", { .5, .5 } },   { "product", "1,1", { 1, 1 } },
    { "product", "2,0.5", { 2, .5 } },
};

static void combine(int i, double a[VOCAB], double b[VOCAB], double out[VOCAB])
{
    const double *w = combinations[i].w;
    double z = 0;
    bool mixture = strcmp(combinations[i].combine, "mixture") == 0;
    for (int v = 0; v < VOCAB; v++) {
        out[v] = mixture ? w[0] * exp(a[v]) + w[1] * exp(b[v]) : exp(w[0] * a[v] + w[1] * b[v]);
        z += out[v];
    }
    for (int v = 0; v < VOCAB; v++)
        out[v] = log(out[v] / z);
}

Test(ensemble_token, closed_forms)
{
    fixture f;
    fixture_engine(&f);
    fixture_add_random(&f, VOCAB, 32, 5);
    fixture_add_random(&f, VOCAB, 32, 6);
    rm_problem problem = { .id = "tiny", .prompt = "!\"#", .answer = no_answer };
    double a[VOCAB], b[VOCAB], expected[VOCAB];
    model_lp(&f, &problem, 0, a);
    model_lp(&f, &problem, 1, b);
    for (size_t i = 0; i < sizeof combinations / sizeof *combinations; i++) {
        combine((int)i, a, b, expected);
        int best = 0;
        for (int v = 1; v < VOCAB; v++)
            best = expected[v] > expected[best] ? v : best;
        char words[160];
        snprintf(words, sizeof words, "combine=%s weights=%s max_new_tokens=1",
                 combinations[i].combine, combinations[i].weights);
        rm_trial trial = trial_open(&f, &problem, 2, NULL);
        rm_outcome greedy = outcome_of(&trial, "ensemble-token", words);
        cr_assert_eq(greedy.n_candidates, 1);
        cr_expect_eq(greedy.candidates[0].tokens[0], best);
        cr_expect(fabs(greedy.candidates[0].lp - expected[best]) < 1e-12);

        strcat(words, " num_beams=12 num_return_sequences=12"); /* the whole distribution */
        rm_outcome beam = outcome_of(&trial, "ensemble-token", words);
        cr_assert_eq(beam.n_candidates, VOCAB);
        for (int c = 0; c < VOCAB; c++) {
            const rm_candidate *got = &beam.candidates[c];
            cr_expect(fabs(got->lp - expected[got->tokens[0]]) < 1e-12, "%.17g for %.17g", got->lp,
                      expected[got->tokens[0]]);
            cr_expect(c == 0 || got->lp <= got[-1].lp);
        }
        rm_run_close(trial.run);
    }
    fixture_close(&f);
}

/* 4,000 first tokens drawn from a mixture against its closed form: chi-square below mean + 5 sd. */
Test(ensemble_token, sampled_first_tokens_follow_the_mixture)
{
    fixture f;
    fixture_engine(&f);
    fixture_add_random(&f, VOCAB, 32, 5);
    fixture_add_random(&f, VOCAB, 32, 6);
    rm_problem problem = { .id = "tiny", .prompt = "!\"#", .answer = no_answer };
    double a[VOCAB], b[VOCAB], expected[VOCAB], chi = 0;
    int count[VOCAB] = { 0 };
    model_lp(&f, &problem, 0, a);
    model_lp(&f, &problem, 1, b);
    combine(1, a, b, expected);
    rm_trial trial = trial_open(&f, &problem, 2, NULL);
    rm_outcome out = outcome_of(&trial, "ensemble-token", "weights=3,1 do_sample=true "
                                "max_new_tokens=1 num_return_sequences=4000");
    cr_assert_eq(out.n_candidates, 4000);
    for (int c = 0; c < 4000; c++) {
        const rm_candidate *got = &out.candidates[c];
        count[got->tokens[0]]++;
        cr_assert(fabs(got->lp - expected[got->tokens[0]]) < 1e-12);
        cr_assert(fabs(got->lp_sampling - got->lp) < 1e-9); /* weights have 40 bits */
    }
    for (int v = 0; v < VOCAB; v++) {
        double mean = 4000 * exp(expected[v]);
        chi += (count[v] - mean) * (count[v] - mean) / mean;
    }
    cr_expect(chi < (VOCAB - 1) + 5 * sqrt(2.0 * (VOCAB - 1)), "chi-square %g", chi);
    rm_run_close(trial.run);
    fixture_close(&f);
}

/* A model combined with itself is itself: same text, and a mixture's lp to rounding. Tokens count
 * once, however many models they are appended to. */
Test(ensemble_token, of_a_model_with_itself)
{
    static const char *const names[] = { "thimble", "thimble" };
    fixture f;
    char prompt[] = "(17+5)*(9-4)-36=<think>";
    fixture_open(&f, names, 2);
    rm_problem problem = arithmetic_problem(prompt, "74");
    static const char *const pairs[][2] = {
        { "greedy", "max_new_tokens=64" },
        { "beam", "num_beams=3" },
    };
    static const char *const words[] = { "max_new_tokens=64",
                                         "num_beams=3 num_return_sequences=3" };
    for (int i = 0; i < 2; i++) {
        rm_trial one = trial_open(&f, &problem, 1, NULL), two = trial_open(&f, &problem, 2, NULL);
        rm_outcome single = outcome_of(&one, pairs[i][0], pairs[i][1]);
        rm_outcome both = outcome_of(&two, "ensemble-token", words[i]);
        cr_assert_eq(both.n_candidates, single.n_candidates);
        for (int c = 0; c < both.n_candidates; c++) {
            cr_expect_str_eq(both.candidates[c].text, single.candidates[c].text);
            cr_expect(fabs(both.candidates[c].lp - single.candidates[c].lp) < 1e-9);
        }
        cr_expect_eq(rm_run_cost(one.run).generated_tokens, rm_run_cost(two.run).generated_tokens);
        cr_expect_eq(2 * rm_run_cost(one.run).evaluated_tokens,
                     rm_run_cost(two.run).evaluated_tokens);
        rm_run_close(one.run);
        rm_run_close(two.run);
    }
    fixture_close(&f);
}

/* Drawn group by group where the quota does not hold all: the same samples. */
Test(ensemble_token, a_small_quota_changes_no_sample)
{
    static const char *const names[] = { "thimble", "thimble-s" };
    fixture f;
    char prompt[] = "7*8+(31-19)*4-5*6=<think>";
    fixture_open(&f, names, 2);
    rm_problem problem = arithmetic_problem(prompt, "74");
    size_t both = rm_model_describe(f.model[0])->kv_position_bytes +
                  rm_model_describe(f.model[1])->kv_position_bytes;
    rm_run_options options = { .seed = 1, .problem = 7, .kv_quota_bytes = 300 * both };
    rm_trial wide = trial_open(&f, &problem, 2, NULL),
             narrow = trial_open(&f, &problem, 2, &options);
    const char *words = "do_sample=true num_return_sequences=6 max_new_tokens=100";
    rm_outcome a = outcome_of(&wide, "ensemble-token", words);
    rm_outcome b = outcome_of(&narrow, "ensemble-token", words);
    cr_assert(a.n_candidates == 6 && b.n_candidates == 6);
    for (int i = 0; i < 6; i++) {
        cr_expect_str_eq(a.candidates[i].text, b.candidates[i].text);
        cr_expect(a.candidates[i].lp == b.candidates[i].lp);
    }
    cr_expect_eq(rm_engine_kv(f.engine).pages_in_use, 0);
    rm_run_close(wide.run);
    rm_run_close(narrow.run);
    fixture_close(&f);
}

Test(ensemble_token, another_vocabulary_is_refused)
{
    fixture f;
    fixture_engine(&f);
    fixture_add_random(&f, VOCAB, 32, 5);
    fixture_add_random(&f, VOCAB + 1, 32, 6);
    rm_problem problem = { .id = "tiny", .prompt = "!", .answer = no_answer };
    rm_trial trial = trial_open(&f, &problem, 2, NULL);
    rm_params *params = params_of("ensemble-token", "");
    rm_outcome out;
    rm_error err;
    cr_expect_eq(rm_strategy_run(&trial, params, &out, &err), RM_E_ARGUMENT);
    cr_expect(strstr(err.text, "vocabular"), "%s", err.text);
    rm_params_free(params);
    rm_run_close(trial.run);
    fixture_close(&f);
}

/* ---- the vote of several models ------------------------------------------------------------- */

/* w = log(p (K - 1) / (1 - p)) by hand for K answers. */
static double log_odds(double p, int k)
{
    return log(p * (k - 1) / (1 - p));
}

static const struct {
    const char *words;
    double p[2];          /* after clamping; 0: plurality */
} votes[] = {
    { "", { 0, 0 } },
    { "weight=log_odds accuracy=0.8,0.3", { .8, .3 } },
    { "weight=log_odds accuracy=0.05,0.9", { .05, .9 } },
    { "weight=log_odds accuracy=1,0 accuracy_n=50", { .99, .01 } },
};

Test(ensemble_vote, weights)
{
    static const char *const names[] = { "thimble", "thimble-s" };
    fixture f;
    char prompt[] = "7*8+(31-19)*4-5*6=<think>";
    fixture_open(&f, names, 2);
    rm_problem problem = arithmetic_problem(prompt, "74");
    for (size_t i = 0; i < sizeof votes / sizeof *votes; i++) {
        char words[128];
        snprintf(words, sizeof words, "num_return_sequences=5 %s", votes[i].words);
        rm_trial trial = trial_open(&f, &problem, 2, NULL);
        rm_outcome out = outcome_of(&trial, "ensemble-vote", words);
        cr_assert_eq(out.n_candidates, 10);
        int k = 0;
        for (int c = 0; c < 10; c++) {
            bool first = out.candidates[c].answer != NULL;
            cr_expect_eq(out.candidates[c].model, c % 2);
            for (int d = 0; d < c && first; d++)
                first = !out.candidates[d].answer ||
                        strcmp(out.candidates[d].answer, out.candidates[c].answer) != 0;
            k += first;
        }
        cr_assert_geq(k, 2, "the models must disagree for this test to mean something");
        double best = -INFINITY;
        for (int c = 0; c < 10; c++) {
            double total = 0;
            for (int d = 0; d < 10 && out.candidates[c].answer; d++)
                if (out.candidates[d].answer &&
                    strcmp(out.candidates[d].answer, out.candidates[c].answer) == 0)
                    total += votes[i].p[0] == 0 ? 1 : log_odds(votes[i].p[d % 2], k);
            cr_expect(fabs(total - out.candidates[c].score) < 1e-12, "vote %zu, %d: %g, %g", i, c,
                      total, out.candidates[c].score);
            if (out.candidates[c].answer)
                best = total > best ? total : best;
        }
        cr_expect(fabs(out.candidates[out.chosen].score - best) < 1e-12);
        rm_run_close(trial.run);
    }
    fixture_close(&f);
}

/* Each model's samples are those it draws alone. */
Test(ensemble_vote, members_draw_as_if_alone)
{
    static const char *const names[] = { "thimble", "thimble-s" };
    fixture f;
    char prompt[] = "7*8+(31-19)*4-5*6=<think>";
    fixture_open(&f, names, 2);
    rm_problem problem = arithmetic_problem(prompt, "74");
    rm_trial both = trial_open(&f, &problem, 2, NULL);
    rm_outcome vote = outcome_of(&both, "ensemble-vote", "num_return_sequences=3");
    for (int m = 0; m < 2; m++) {
        rm_trial one = trial_open(&f, &problem, 1, NULL);
        one.models = &f.model[m];
        rm_outcome alone = outcome_of(&one, "sampling", "num_return_sequences=3");
        for (int i = 0; i < 3; i++) {
            cr_expect_str_eq(vote.candidates[2 * i + m].text, alone.candidates[i].text);
            cr_expect(vote.candidates[2 * i + m].lp == alone.candidates[i].lp);
        }
        rm_run_close(one.run);
    }
    rm_run_close(both.run);
    fixture_close(&f);
}
