/* test_beam_search.c - beam search on real engines: a tiny random model against exhaustive
 * enumeration, and an embedded model for everything a text brings along. */
#include "tests/strategies/fixture.h"

#include "strategies/stop_match.h"

/* ---- exhaustive enumeration -------------------------------------------------------------------
 *
 * Vocabulary of 5, at most 4 tokens, one stop token: sum_{l=1..4} 4^(l-1) texts that end with it
 * and 4^4 that are cut: 341 in all. Every one is scored by the engine; a beam as wide as the tree
 * must find exactly the best of them, with the same bits. */
enum { VOCAB = 5, LENGTH = 4, TEXTS = 341 };

typedef struct text {
    int32_t token[LENGTH];
    int n;
    double lp;
} text;

static int32_t stop_token;

static void enumerate(text *texts, int *n, const int32_t *prefix, int length)
{
    for (int32_t v = 0; v < VOCAB; v++) {
        text t = { .n = length + 1 };
        memcpy(t.token, prefix, (size_t)length * sizeof *prefix);
        t.token[length] = v;
        if (v == stop_token || t.n == LENGTH)
            texts[(*n)++] = t;
        else
            enumerate(texts, n, t.token, t.n);
    }
}

static void score_all(const rm_trial *trial, text *texts, int n)
{
    rm_error err;
    rm_path *root;
    int32_t *tokens;
    int n_tokens;
    static rm_request request[TEXTS];
    must(rm_tokenize(trial->models[0], trial->problem->prompt, strlen(trial->problem->prompt), true,
                     &tokens, &n_tokens, &err), &err);
    must(rm_path_new(trial->run, trial->models[0], tokens, n_tokens, &root, &err), &err);
    free(tokens);
    for (int i = 0; i < n; i++) {
        request[i] = (rm_request){ .want = RM_WANT_SCORE, .tokens = texts[i].token,
                                   .n_tokens = texts[i].n };
        must(rm_path_fork(root, (uint32_t)i, &request[i].path, &err), &err);
    }
    must(rm_eval(trial->run, request, n, &err), &err);
    for (int i = 0; i < n; i++)
        for (int t = 0; t < texts[i].n; t++)
            texts[i].lp += request[i].result.lp[t];
}

static const char *no_answer(const rm_problem *problem, rm_run *run, const char *candidate)
{
    (void)problem, (void)run, (void)candidate;
    return NULL;
}

static double length_norm(const char *kind, double alpha, int generated, int prompt)
{
    if (strcmp(kind, "total") == 0)
        return pow(prompt + generated, alpha);
    if (strcmp(kind, "gnmt") == 0)
        return pow((5.0 + generated) / 6.0, alpha);
    return strcmp(kind, "none") == 0 ? 1 : pow(generated, alpha);
}

static const struct {
    const char *norm;
    double alpha;
} rankings[] = { { "generated", 0 }, { "generated", 1 }, { "generated", 2 }, { "total", 1 },
                 { "gnmt", 0.6 },    { "none", 1 } };

Test(beam_search, finds_the_optimum_when_wide_enough)
{
    fixture f;
    fixture_engine(&f);
    for (uint64_t seed = 1; seed <= 2; seed++)
        fixture_add_random(&f, VOCAB, 32, seed);
    rm_problem problem = { .id = "tiny", .prompt = "!", .answer = no_answer };
    for (int m = 0; m < f.n_models; m++) {
        int n_stop, n = 0;
        stop_token = rm_model_stop_tokens(f.model[m], &n_stop)[0];
        cr_assert_eq(n_stop, 1);
        static text texts[TEXTS];
        memset(texts, 0, sizeof texts);
        enumerate(texts, &n, (const int32_t[1]){ 0 }, 0);
        cr_assert_eq(n, TEXTS);
        rm_trial trial = trial_open(&f, &problem, 1, NULL);
        trial.models = &f.model[m];
        score_all(&trial, texts, n);
        int n_prompt = 2; /* <bos> ! */
        for (size_t r = 0; r < sizeof rankings / sizeof *rankings; r++) {
            char words[128];
            snprintf(words, sizeof words, "num_beams=300 early_stopping=never max_new_tokens=4 "
                     "length_penalty=%g length_norm=%s num_return_sequences=8", rankings[r].alpha,
                     rankings[r].norm);
            rm_outcome out = outcome_of(&trial, "beam", words);
            cr_assert_eq(out.n_candidates, 8);
            bool taken[TEXTS] = { false };
            for (int c = 0; c < 8; c++) { /* the c-th best text is the c-th candidate */
                int best = -1;
                double best_score = 0;
                for (int i = 0; i < n; i++) {
                    double score = texts[i].lp / length_norm(rankings[r].norm, rankings[r].alpha,
                                                             texts[i].n, n_prompt);
                    if (!taken[i] && (best < 0 || score > best_score)) {
                        best = i;
                        best_score = score;
                    }
                }
                taken[best] = true;
                const rm_candidate *got = &out.candidates[c];
                cr_assert_eq(got->n_tokens, texts[best].n, "ranking %zu, candidate %d", r, c);
                cr_assert(memcmp(got->tokens, texts[best].token,
                                 (size_t)got->n_tokens * sizeof *got->tokens) == 0,
                          "ranking %zu, candidate %d is another text", r, c);
                cr_expect(got->lp == texts[best].lp, "lp %.17g, scored %.17g", got->lp,
                          texts[best].lp);
                cr_expect(fabs(got->score - best_score) < 1e-12); /* pow against ours */
                cr_expect_eq(got->reason, got->tokens[got->n_tokens - 1] == stop_token
                                              ? RM_STOP_TOKEN : RM_STOP_LENGTH);
            }
        }
        rm_run_close(trial.run);
    }
    fixture_close(&f);
}

/* ---- an embedded model ------------------------------------------------------------------- */

static fixture thimble;
static char prompt[] = "(17+5)*(9-4)-36=<think>";
static rm_problem sum;

static void open_thimble(void)
{
    static const char *const names[] = { "thimble" };
    fixture_open(&thimble, names, 1);
    sum = arithmetic_problem(prompt, "74");
}

static void close_thimble(void)
{
    fixture_close(&thimble);
}

TestSuite(beam_text, .init = open_thimble, .fini = close_thimble);

Test(beam_text, one_beam_is_greedy)
{
    rm_trial trial = trial_open(&thimble, &sum, 1, NULL);
    rm_outcome greedy = outcome_of(&trial, "greedy", "");
    rm_outcome beam = outcome_of(&trial, "beam", "num_beams=1 early_stopping=true");
    cr_assert_not_null(greedy.candidates[0].answer, "no answer in %s", greedy.candidates[0].text);
    cr_expect_str_eq(beam.candidates[0].text, greedy.candidates[0].text);
    cr_expect(beam.candidates[0].lp == greedy.candidates[0].lp);
    cr_expect_eq(beam.candidates[0].n_tokens, greedy.candidates[0].n_tokens);
    rm_run_close(trial.run);
}

Test(beam_text, candidates_are_sorted_and_complete)
{
    rm_trial trial = trial_open(&thimble, &sum, 1, NULL);
    rm_outcome out = outcome_of(&trial, "beam", "num_beams=6");
    cr_assert_eq(out.n_candidates, 6);
    cr_assert_eq(out.chosen, 0);
    for (int i = 0; i < 6; i++) {
        const rm_candidate *c = &out.candidates[i];
        cr_expect(c->score == c->lp / c->n_tokens);
        cr_expect(isnan(c->lp_sampling));
        cr_expect(i == 0 || c->score <= c[-1].score);
        for (int j = 0; j < i; j++)
            cr_expect_str_neq(c->text, out.candidates[j].text);
    }
    rm_outcome two = outcome_of(&trial, "beam", "num_beams=6 num_return_sequences=2");
    cr_assert_eq(two.n_candidates, 2);
    for (int i = 0; i < 2; i++)
        cr_expect_str_eq(two.candidates[i].text, out.candidates[i].text);
    rm_run_close(trial.run);
}

/* Dead beams give their pages back while the search runs, and it leaves none behind. */
Test(beam_text, pages_come_back)
{
    rm_trial trial = trial_open(&thimble, &sum, 1, NULL);
    outcome_of(&trial, "beam", "num_beams=4 early_stopping=never max_new_tokens=64");
    rm_kv_stats kv = rm_engine_kv(thimble.engine);
    rm_cost cost = rm_run_cost(trial.run);
    cr_expect_eq(kv.pages_in_use, 0);
    /* prompt + 4 beams of 64 tokens is the most that can live at once */
    cr_expect(cost.kv_peak_positions < 24 + 4 * 64 + 8, "%llu positions",
              (unsigned long long)cost.kv_peak_positions);
    rm_run_close(trial.run);
}

Test(beam_text, a_stop_string_ends_a_beam_and_is_cut_off)
{
    static const char *const stops[] = { "=22;", "9-4=5;1" };
    rm_problem problem = sum;
    problem.stop_strings = stops;
    problem.n_stop_strings = 2;
    rm_trial trial = trial_open(&thimble, &problem, 1, NULL);
    rm_outcome out = outcome_of(&trial, "beam", "num_beams=2 early_stopping=true");
    cr_assert_eq(out.n_candidates, 2);
    for (int i = 0; i < 2; i++) {
        const rm_candidate *c = &out.candidates[i];
        cr_expect_eq(c->reason, RM_STOP_STRING);
        bool first = strcmp(c->text, "17+5") == 0, second = strcmp(c->text, "") == 0;
        cr_expect(first || second, "\"%s\"", c->text);
        cr_expect_eq(c->n_tokens, first ? 8 : 7); /* the match is among the tokens */
    }
    rm_run_close(trial.run);
}

/* The running score carries the repetition penalty, lp does not: it equals the engine's score of
 * the same tokens. */
Test(beam_text, lp_is_the_raw_models)
{
    static const char *const words[] = {
        "repetition_penalty=1.3 max_new_tokens=24",
        "num_beam_groups=2 diversity_penalty=2 max_new_tokens=24"
    };
    for (int w = 0; w < 2; w++) {
        rm_error err;
        rm_trial trial = trial_open(&thimble, &sum, 1, NULL);
        rm_outcome out = outcome_of(&trial, "beam", words[w]);
        int32_t *tokens;
        int n;
        rm_path *root;
        must(rm_tokenize(thimble.model[0], prompt, strlen(prompt), true, &tokens, &n, &err), &err);
        must(rm_path_new(trial.run, thimble.model[0], tokens, n, &root, &err), &err);
        free(tokens);
        for (int i = 0; i < out.n_candidates; i++) {
            const rm_candidate *c = &out.candidates[i];
            rm_request r = { .want = RM_WANT_SCORE, .tokens = c->tokens, .n_tokens = c->n_tokens };
            double lp = 0;
            must(rm_path_fork(root, (uint32_t)i, &r.path, &err), &err);
            must(rm_eval(trial.run, &r, 1, &err), &err);
            for (int t = 0; t < r.result.n; t++)
                lp += r.result.lp[t];
            /* dividing the penalty out again rounds once a token */
            cr_expect(fabs(c->lp - lp) < 1e-13 * c->n_tokens * fabs(lp), "%.17g %.17g", c->lp, lp);
            if (w == 0)
                cr_expect(c->score * c->n_tokens < c->lp - 1e-6);
        }
        rm_run_close(trial.run);
    }
}

Test(beam_text, groups)
{
    rm_trial trial = trial_open(&thimble, &sum, 1, NULL);
    rm_outcome two = outcome_of(&trial, "beam", "num_beams=2");
    rm_outcome same = outcome_of(&trial, "beam", "num_beams=4 num_beam_groups=2");
    cr_assert_eq(same.n_candidates, 4); /* without a penalty every group is the same search */
    for (int i = 0; i < 4; i++)
        cr_expect_str_eq(same.candidates[i].text, two.candidates[i / 2].text);
    rm_outcome other =
        outcome_of(&trial, "beam", "num_beams=2 num_beam_groups=2 diversity_penalty=3");
    cr_expect_str_eq(other.candidates[0].text, two.candidates[0].text);
    cr_expect_neq(other.candidates[1].tokens[0], other.candidates[0].tokens[0]);
    rm_run_close(trial.run);
}

/* ---- budgets -------------------------------------------------------------------------------- */

Test(beam_text, a_budget_leaves_what_there_is)
{
    rm_run_options options = { .seed = 1, .problem = 7, .max_generated_tokens = 41 };
    rm_trial trial = trial_open(&thimble, &sum, 1, &options);
    rm_outcome out = outcome_of(&trial, "beam", "num_beams=4");
    cr_expect(out.cut_short);
    cr_assert_eq(out.n_candidates, 4);
    for (int i = 0; i < 4; i++) {
        cr_expect_eq(out.candidates[i].reason, RM_STOP_BUDGET);
        cr_expect_eq(out.candidates[i].n_tokens, 11); /* 4 tokens a step; after 44 >= 41 no more */
        cr_expect_null(out.candidates[i].answer);
    }
    rm_run_close(trial.run);
}

Test(beam_text, a_quota_leaves_what_there_is)
{
    size_t position = rm_model_describe(thimble.model[0])->kv_position_bytes;
    rm_run_options options = { .seed = 1, .problem = 7, .kv_quota_bytes = 60 * position };
    rm_trial trial = trial_open(&thimble, &sum, 1, &options);
    rm_outcome out = outcome_of(&trial, "beam", "num_beams=4");
    cr_expect(out.cut_short);
    cr_expect_eq(out.n_candidates, 4);
    rm_run_close(trial.run);

    options.kv_quota_bytes = 4 * position; /* not even the prompt */
    trial = trial_open(&thimble, &sum, 1, &options);
    rm_params *params = params_of("beam", "");
    rm_error err;
    cr_expect_eq(rm_strategy_run(&trial, params, &out, &err), RM_E_LIMIT);
    cr_expect(strlen(err.text) > 20);
    rm_params_free(params);
    rm_run_close(trial.run);
}

Test(beam_text, a_full_context_ends_a_beam)
{
    fixture f;
    fixture_engine(&f);
    fixture_add_random(&f, 40, 16, 3);
    rm_problem problem = { .id = "short", .prompt = "!!!!!!!", .answer = no_answer };
    rm_trial trial = trial_open(&f, &problem, 1, NULL);
    rm_outcome out =
        outcome_of(&trial, "beam", "num_beams=2 early_stopping=never length_penalty=9");
    cr_assert(out.n_candidates == 2);
    cr_expect_eq(out.candidates[0].reason, RM_STOP_CONTEXT);
    cr_expect_eq(out.candidates[0].n_tokens, 16 - 8);
    rm_run_close(trial.run);
    fixture_close(&f);
}

/* ---- stop strings token by token ------------------------------------------------------------- */

/* Two tokens' bytes against strings: which of them completes one. */
static const struct {
    const char *string, *first, *second;
    int completes;   /* 0 neither, 1, 2 */
} follows[] = {
    { "ab", "a", "b", 2 },        { "ab", "xab", "", 1 },      { "ab", "b", "a", 0 },
    { "aab", "aa", "ab", 2 },     { "abab", "ab", "aabab", 2 }, { "aaa", "aa", "b", 0 },
    { "aaa", "aab", "aaa", 2 },   { "\n\n", "x\n", "\n", 2 },  { "abcabd", "abcabc", "abd", 2 },
    { "abc", "ab", "abc", 2 },
};

Test(stop_match, tokens_and_strings)
{
    fixture f;
    fixture_engine(&f);
    rm_problem problem = { .id = "none" };
    rm_trial trial = trial_open(&f, &problem, 0, NULL);
    for (size_t i = 0; i < sizeof follows / sizeof *follows; i++) {
        const char *strings[] = { "", follows[i].string }; /* the empty one never matches */
        stop_matcher m;
        rm_error err;
        size_t seen[2] = { 0, 0 };
        must(stop_matcher_open(&m, trial.run, strings, 2, &err), &err);
        int completes = 0;
        if (stop_matcher_follow(&m, seen, follows[i].first, strlen(follows[i].first)))
            completes = 1;
        else if (stop_matcher_follow(&m, seen, follows[i].second, strlen(follows[i].second)))
            completes = 2;
        cr_expect_eq(completes, follows[i].completes, "row %zu: %d", i, completes);
    }
    rm_run_close(trial.run);
    fixture_close(&f);
}
