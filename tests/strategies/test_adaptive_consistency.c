/* test_adaptive_consistency.c - when sampling stops, recomputed from the candidates. */
#include "tests/strategies/fixture.h"

static fixture thimble;

static void open_thimble(void)
{
    static const char *const names[] = { "thimble" };
    fixture_open(&thimble, names, 1);
}

static void close_thimble(void)
{
    fixture_close(&thimble);
}

TestSuite(adaptive, .init = open_thimble, .fini = close_thimble);

/* 1 - I_{1/2}(v1 + 1, v2 + 1) is the probability that a fair coin shows at most v1 heads in v1 + v2
 * + 1 throws: counted from Pascal's triangle. */
static double leads(int v1, int v2)
{
    int n = v1 + v2 + 1;
    double row[128] = { 1 }, sum = 0;
    for (int i = 1; i <= n; i++)
        for (int k = i; k > 0; k--)
            row[k] += row[k - 1];
    for (int k = 0; k <= v1; k++)
        sum += row[k];
    return sum / pow(2, n);
}

static void top_counts(const rm_candidate *c, int n, int *first, int *second)
{
    *first = *second = 0;
    for (int i = 0; i < n; i++) {
        int count = 0;
        for (int j = 0; j < n && c[i].answer; j++)
            if (c[j].answer && strcmp(c[i].answer, c[j].answer) == 0)
                count += j >= i ? 1 : n + 1; /* only an answer's first candidate counts it */
        if (count > n)
            continue;
        if (count > *first) {
            *second = *first;
            *first = count;
        } else if (count > *second) {
            *second = count;
        }
    }
}

static char easy[] = "(17+5)*(9-4)-36=<think>", hard[] = "(36-7*4)*(24+55)-18*(3+9)+61=<think>";
static const struct {
    char *prompt;
    const char *answer, *words;
    int parallel;
    double threshold;
} beta_cases[] = {
    { easy, "74", "temperature=0.5", 1, 0.95 },
    { hard, "477", "num_return_sequences=24", 1, 0.95 },
    { hard, "477", "num_return_sequences=24 threshold=0.8 parallel=4", 4, 0.8 },
    { hard, "477", "num_return_sequences=7 threshold=1", 1, 1 },
    { hard, "477", "num_return_sequences=40 threshold=0.7", 1, 0.7 },
    { hard, "477", "num_return_sequences=40 threshold=0.6 temperature=1.3", 1, 0.6 },
};

Test(adaptive, beta)
{
    for (size_t i = 0; i < sizeof beta_cases / sizeof *beta_cases; i++) {
        rm_problem problem = arithmetic_problem(beta_cases[i].prompt, beta_cases[i].answer);
        rm_trial trial = trial_open(&thimble, &problem, 1, NULL);
        rm_outcome out = outcome_of(&trial, "adaptive-consistency", beta_cases[i].words);
        const char *size = strstr(beta_cases[i].words, "sequences=");
        int most = size ? atoi(size + 10) : 40, n = out.n_candidates, first, second;
        cr_assert(n >= 1 && n <= most);
        for (int k = beta_cases[i].parallel; k < n; k += beta_cases[i].parallel) {
            top_counts(out.candidates, k, &first, &second);
            cr_expect_not(leads(first, second) > beta_cases[i].threshold,
                          "case %zu should have stopped at %d", i, k);
        }
        top_counts(out.candidates, n, &first, &second);
        cr_expect(n == most || leads(first, second) > beta_cases[i].threshold);
        if (i == 0) /* four that agree: 1 - 2^-5 = 0.969 > 0.95 > 1 - 2^-4 */
            cr_expect_eq(n, 4);
        int answered = 0, won = 0;
        for (int k = 0; k < n; k++) {
            const char *answer = out.candidates[k].answer;
            answered += answer != NULL;
            won += answer && strcmp(answer, out.candidates[out.chosen].answer) == 0;
        }
        cr_expect_eq(won, first);
        cr_expect_eq(out.candidates[out.chosen].score, (double)won / answered);
        rm_run_close(trial.run);
    }
}

Test(adaptive, window)
{
    rm_problem problem = arithmetic_problem(hard, "477");
    rm_trial trial = trial_open(&thimble, &problem, 1, NULL);
    rm_outcome out = outcome_of(&trial, "adaptive-consistency",
                                "stop=window window=3 num_return_sequences=20");
    int n = out.n_candidates;
    for (int from = 0; from + 3 <= n; from += 3) {
        const rm_candidate *c = out.candidates + from;
        bool agree = c[0].answer && c[1].answer && c[2].answer &&
                     !strcmp(c[0].answer, c[1].answer) && !strcmp(c[0].answer, c[2].answer);
        cr_expect_eq(agree, from + 3 == n && n < 20, "window at %d", from);
    }
    cr_expect(n == 20 || n % 3 == 0);
    rm_run_close(trial.run);

    problem = arithmetic_problem(easy, "74");
    trial = trial_open(&thimble, &problem, 1, NULL);
    out = outcome_of(&trial, "adaptive-consistency", "stop=window temperature=0.3");
    cr_expect_eq(out.n_candidates, 5);
    cr_expect_str_eq(out.candidates[out.chosen].answer, "74");
    rm_run_close(trial.run);
}

/* Its samples are self-consistency's, and so is its vote on them. */
Test(adaptive, samples_and_vote_are_those_of_self_consistency)
{
    rm_problem problem = arithmetic_problem(hard, "477");
    rm_trial a = trial_open(&thimble, &problem, 1, NULL),
             b = trial_open(&thimble, &problem, 1, NULL);
    rm_outcome adaptive =
        outcome_of(&a, "adaptive-consistency", "num_return_sequences=9 threshold=1");
    rm_outcome fixed = outcome_of(&b, "self-consistency", "num_return_sequences=9");
    cr_assert_eq(adaptive.n_candidates, 9);
    cr_expect_eq(adaptive.chosen, fixed.chosen);
    for (int i = 0; i < 9; i++) {
        cr_expect_str_eq(adaptive.candidates[i].text, fixed.candidates[i].text);
        cr_expect(fabs(adaptive.candidates[i].score - fixed.candidates[i].score) < 1e-12);
    }
    rm_run_close(a.run);
    rm_run_close(b.run);
}
