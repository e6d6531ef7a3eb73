/* test_budget_forcing.c - thoughts made shorter and longer: which tokens stand where, their
 * log-probabilities against a pass over the whole text, and what the account has of an ignored end. */
#include "tests/strategies/fixture.h"

static fixture thimble;
static char prompt[] = "4 7 8 25>80<think>";
static rm_problem countdown;

static void open_thimble(void)
{
    static const char *const names[] = { "thimble" };
    fixture_open(&thimble, names, 1);
    countdown = arithmetic_problem(prompt, "80");
    countdown.think_end = "</think>";
    countdown.wait = "~";
}

static void close_thimble(void)
{
    fixture_close(&thimble);
}

TestSuite(budget_forcing, .init = open_thimble, .fini = close_thimble);

static int32_t token_of(const char *text)
{
    rm_error err;
    int32_t *tokens, token;
    int n;
    must(rm_tokenize_rendered(thimble.model[0], text, NULL, strlen(text), &tokens, &n, &err), &err);
    cr_assert_eq(n, 1);
    token = tokens[0];
    free(tokens);
    return token;
}

/* The log-probability of a text's tokens in one pass. */
static double scored(const rm_candidate *c)
{
    rm_error err;
    rm_run *run;
    int32_t *tokens;
    int n;
    must(rm_tokenize(thimble.model[0], prompt, strlen(prompt), true, &tokens, &n, &err), &err);
    must(rm_run_open(thimble.engine, &(rm_run_options){ .seed = 9 }, &run, &err), &err);
    rm_request r = { .want = RM_WANT_SCORE, .tokens = c->tokens, .n_tokens = c->n_tokens };
    must(rm_path_new(run, thimble.model[0], tokens, n, &r.path, &err), &err);
    must(rm_eval(run, &r, 1, &err), &err);
    double sum = 0;
    for (int i = 0; i < r.result.n; i++)
        sum += r.result.lp[i];
    rm_run_close(run);
    free(tokens);
    return sum;
}

static int position_of(const rm_candidate *c, int32_t token)
{
    for (int i = 0; i < c->n_tokens; i++)
        if (c->tokens[i] == token)
            return i;
    return -1;
}

Test(budget_forcing, without_either_it_is_the_plain_path)
{
    static const char *const rows[][3] = {
        { "greedy", "", "" },
        { "sampling", "temperature=0.8", "do_sample=true temperature=0.8" },
    };
    for (int i = 0; i < 2; i++) {
        rm_trial a = trial_open(&thimble, &countdown, 1, NULL);
        rm_trial b = trial_open(&thimble, &countdown, 1, NULL);
        rm_outcome plain = outcome_of(&a, rows[i][0], rows[i][1]);
        rm_outcome forced = outcome_of(&b, "budget-forcing", rows[i][2]);
        const rm_candidate *x = &plain.candidates[0], *y = &forced.candidates[0];
        cr_expect_str_eq(x->text, y->text);
        cr_expect_eq(x->n_tokens, y->n_tokens);
        cr_expect(fabs(x->lp - y->lp) < 1e-9 && x->reason == y->reason);
        cr_expect(i == 0 ? isnan(y->lp_sampling) : fabs(x->lp_sampling - y->lp_sampling) < 1e-9);
        rm_cost p = rm_run_cost(a.run), f = rm_run_cost(b.run);
        cr_expect(p.generated_tokens == f.generated_tokens && p.rounds == f.rounds &&
                  p.evaluated_tokens == f.evaluated_tokens && p.flops == f.flops);
        rm_run_close(a.run);
        rm_run_close(b.run);
    }
}

Test(budget_forcing, the_cap_ends_the_thought)
{
    int32_t end = token_of("</think>");
    static const int caps[] = { 1, 10, 30 };
    rm_trial plain = trial_open(&thimble, &countdown, 1, NULL);
    rm_outcome greedy = outcome_of(&plain, "greedy", "");
    for (int i = 0; i < 3; i++) {
        char words[64];
        snprintf(words, sizeof words, "max_tokens_thinking=%d thinking_n_ignore=2", caps[i]);
        rm_trial trial = trial_open(&thimble, &countdown, 1, NULL);
        rm_outcome out = outcome_of(&trial, "budget-forcing", words);
        const rm_candidate *c = &out.candidates[0];
        cr_expect_eq(position_of(c, end), caps[i]);
        cr_expect(memcmp(c->tokens, greedy.candidates[0].tokens,
                         (size_t)caps[i] * sizeof *c->tokens) == 0);
        cr_expect(c->scores[0].value == 0 && c->scores[1].value == 1);
        cr_expect(fabs(c->lp - scored(c)) < 1e-9, "%g, scored %g", c->lp, scored(c));
        rm_cost cost = rm_run_cost(trial.run);
        cr_expect_eq(cost.generated_tokens, (uint64_t)c->n_tokens);
        cr_expect_eq(cost.rounds, (uint64_t)c->n_tokens);
        rm_run_close(trial.run);
    }
    rm_run_close(plain.run);
}

/* An ignored end is one discarded token and one token evaluated twice; the text is as if the
 * continuation had been drawn, which the pass over it shows. */
Test(budget_forcing, the_floor_goes_on)
{
    int32_t end = token_of("</think>"), wait = token_of("~");
    rm_trial plain = trial_open(&thimble, &countdown, 1, NULL);
    rm_outcome greedy = outcome_of(&plain, "greedy", "");
    int ended = position_of(&greedy.candidates[0], end);
    cr_assert(ended > 0);
    for (int n = 1; n <= 3; n++) {
        char words[64];
        snprintf(words, sizeof words, "thinking_n_ignore=%d max_new_tokens=400", n);
        rm_trial trial = trial_open(&thimble, &countdown, 1, NULL);
        rm_outcome out = outcome_of(&trial, "budget-forcing", words);
        const rm_candidate *c = &out.candidates[0];
        cr_expect(memcmp(c->tokens, greedy.candidates[0].tokens,
                         (size_t)ended * sizeof *c->tokens) == 0);
        cr_expect_eq(c->tokens[ended], wait);
        int ignored = (int)c->scores[0].value;
        cr_expect(ignored >= 1 && ignored <= n);
        cr_expect(fabs(c->lp - scored(c)) < 1e-9, "%g, scored %g", c->lp, scored(c));
        rm_cost cost = rm_run_cost(trial.run);
        cr_expect_eq(cost.generated_tokens, (uint64_t)(c->n_tokens + ignored));
        rm_cost same = rm_cost_of_samples(thimble.model[0], (int)cost.prompt_tokens, &c->n_tokens, 1);
        cr_expect_eq(cost.evaluated_tokens, same.evaluated_tokens + (uint64_t)ignored);
        cr_expect_eq(cost.kv_peak_positions, same.kv_peak_positions);
        rm_run_close(trial.run);
    }
    rm_run_close(plain.run);
}

/* With a floor that never gives in, the thought is as long as the cap says. */
Test(budget_forcing, floor_and_cap_together_set_the_length)
{
    int32_t end = token_of("</think>");
    rm_trial trial = trial_open(&thimble, &countdown, 1, NULL);
    rm_outcome out = outcome_of(&trial, "budget-forcing", "do_sample=true max_tokens_thinking=150 "
                                "thinking_n_ignore=1000 max_new_tokens=200");
    cr_expect(position_of(&out.candidates[0], end) >= 149);
    cr_expect(fabs(out.candidates[0].lp - scored(&out.candidates[0])) < 1e-9);
    rm_run_close(trial.run);
}

/* The end comes first of all: here it is what the model begins with. */
Test(budget_forcing, an_end_at_the_very_beginning)
{
    rm_trial plain = trial_open(&thimble, &countdown, 1, NULL);
    rm_outcome greedy = outcome_of(&plain, "greedy", "");
    char first[2] = { greedy.candidates[0].text[0], '\0' };
    rm_problem problem = countdown;
    problem.think_end = first;
    rm_trial trial = trial_open(&thimble, &problem, 1, NULL);
    rm_outcome out = outcome_of(&trial, "budget-forcing", "thinking_n_ignore=1");
    cr_expect_eq(out.candidates[0].tokens[0], token_of("~"));
    cr_expect(fabs(out.candidates[0].lp - scored(&out.candidates[0])) < 1e-9);
    rm_run_close(plain.run);
    rm_run_close(trial.run);
}

Test(budget_forcing, budgets_leave_what_was_written)
{
    rm_run_options options = { .seed = 1, .problem = 7, .max_generated_tokens = 25 };
    rm_trial trial = trial_open(&thimble, &countdown, 1, &options);
    rm_outcome out = outcome_of(&trial, "budget-forcing", "");
    cr_expect(out.cut_short);
    cr_expect_eq(out.candidates[0].n_tokens, 25);
    cr_expect_eq(out.candidates[0].reason, RM_STOP_BUDGET);
    rm_run_close(trial.run);
    trial = trial_open(&thimble, &countdown, 1, NULL);
    out = outcome_of(&trial, "budget-forcing", "max_new_tokens=5 max_tokens_thinking=5");
    cr_expect_eq(out.candidates[0].reason, RM_STOP_LENGTH);
    cr_expect_eq(out.candidates[0].n_tokens, 5);
    rm_run_close(trial.run);
}

Test(budget_forcing, words_that_do_not_do_are_named)
{
    static const char *const bad[][3] = {
        { "</think>1", "~", "is 2 tokens" },
        { "</think>", "W", "needs the character" },
        { NULL, "~", "has no thought to prolong" },
    };
    for (int i = 0; i < 3; i++) {
        rm_error err;
        rm_outcome out;
        rm_problem problem = countdown;
        problem.think_end = bad[i][0];
        problem.wait = bad[i][1];
        rm_trial trial = trial_open(&thimble, &problem, 1, NULL);
        rm_params *params = params_of("budget-forcing", "");
        cr_expect_eq(rm_strategy_run(&trial, params, &out, &err), RM_E_ARGUMENT);
        cr_expect(strstr(err.text, bad[i][2]), "%s", err.text);
        rm_params_free(params);
        rm_run_close(trial.run);
    }
}

/* Only what is still to be evaluated can be taken back, and only where it is nobody else's. */
Test(budget_forcing, taking_back_is_refused_where_it_cannot_be)
{
    rm_error err;
    rm_trial trial = trial_open(&thimble, &countdown, 1, NULL);
    int32_t *tokens, more = token_of("7");
    int n;
    rm_path *path, *child;
    must(rm_tokenize(thimble.model[0], prompt, strlen(prompt), true, &tokens, &n, &err), &err);
    must(rm_path_new(trial.run, thimble.model[0], tokens, n, &path, &err), &err);
    rm_request r = { .want = RM_WANT_NOTHING, .path = path };
    must(rm_eval(trial.run, &r, 1, &err), &err);
    cr_expect_eq(rm_path_take_back(path, &err), RM_E_ARGUMENT);
    cr_expect(strstr(err.text, "has not been evaluated"));
    must(rm_path_fork(path, 0, &child, &err), &err);
    must(rm_path_append(child, &more, 1, &err), &err);
    cr_expect_eq(rm_path_take_back(child, &err), RM_E_ARGUMENT);
    cr_expect(strstr(err.text, "belongs to another path"));
    rm_run_close(trial.run);
    free(tokens);
}
