/* test_mbr.c - overlap of texts against sacreBLEU and hand counts; the choice by it; and that agreement
 * in answers is the majority vote. */
#include "strategies/overlap.h"
#include "tests/strategies/fixture.h"

static fixture thimble;
static char prompt[] = "7*8+(31-19)*4-5*6=<think>";
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

TestSuite(mbr, .init = open_thimble, .fini = close_thimble);

/* sacreBLEU 2.6.0: CHRF().sentence_score(hypothesis, [reference]).score / 100. */
Test(mbr, chrf_is_that_of_sacrebleu)
{
    static const struct {
        const char *hypothesis, *reference;
        double score;
    } table[] = {
        { "the cat sat on the mat", "the cat is on the mat", 0.645779420625287 },
        { "17+5=22;22*5=110", "17+5=22;9-4=5;22*5=110", 0.635953754410066 },
        { "abc", "abc", 1 },
        { "abc", "xyz", 0 },
        { "ab", "ab cdefgh", 0.234042553191489 },
        { "über größe 日本", "uber größe 日本語", 0.799577242965773 },
        { "a", "abcdefgh", 0.151515151515152 },
        { "", "abc", 0 },
    };
    rm_error err;
    rm_trial trial = trial_open(&thimble, &sum, 1, NULL);
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        grams h, r;
        must(grams_of_text(&h, trial.run, table[i].hypothesis, &err), &err);
        must(grams_of_text(&r, trial.run, table[i].reference, &err), &err);
        cr_expect_float_eq(grams_f(&h, &r, 2), table[i].score, 1e-12, "%s: %.15f",
                           table[i].hypothesis, grams_f(&h, &r, 2));
    }
    rm_run_close(trial.run);
}

/* By hand: of 4 tokens 3 are among the reference's 6 (the second 7 is not): precision 3/4, recall 1/2,
 * F1 = 2 * 3/8 / (5/4) = 0.6. */
Test(mbr, token_f1_counts_every_token_once)
{
    static const int32_t hypothesis[] = { 7, 5, 7, 9 }, reference[] = { 5, 6, 7, 8, 9, 10 };
    rm_error err;
    rm_trial trial = trial_open(&thimble, &sum, 1, NULL);
    grams h, r;
    must(grams_of_tokens(&h, trial.run, hypothesis, 4, &err), &err);
    must(grams_of_tokens(&r, trial.run, reference, 6, &err), &err);
    cr_expect_float_eq(grams_f(&h, &r, 1), 0.6, 1e-15);
    rm_run_close(trial.run);
}

static rm_outcome choose(const rm_trial *trial, const char *values, rm_candidate *candidates, int n)
{
    rm_error err;
    rm_params *params = params_of("mbr", values);
    rm_outcome out = { .candidates = candidates, .n_candidates = n, .chosen = -1 };
    must(rm_params_strategy(params)->choose(trial, rm_params_values(params), &out, &err), &err);
    rm_params_free(params);
    return out;
}

/* Two texts in three agree in most of their characters, none in its answer; then lp decides. */
Test(mbr, the_text_most_like_the_others_is_chosen)
{
    rm_trial trial = trial_open(&thimble, &sum, 1, NULL);
    rm_candidate c[] = { { .text = "abcdefghij", .answer = "1", .lp = -9 },
                         { .text = "abcdefghik", .answer = "2", .lp = -8 },
                         { .text = "zzzz", .answer = "3", .lp = -1 } };
    rm_outcome by_text = choose(&trial, "num_return_sequences=3 utility=chrf", c, 3);
    cr_expect_eq(by_text.chosen, 1);
    cr_expect(c[0].score == c[1].score && c[2].score == 1.0 / 3);
    rm_outcome by_answer = choose(&trial, "num_return_sequences=3", c, 3);
    cr_expect_eq(by_answer.chosen, 2);
    cr_expect(c[0].score == 1.0 / 3 && c[2].score == 1.0 / 3);
    rm_run_close(trial.run);
}

Test(mbr, agreement_in_answers_is_the_majority_vote)
{
    static const int sizes[] = { 1, 5, 16, 40 };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        char values[64];
        snprintf(values, sizeof values, "num_return_sequences=%d temperature=1.2", sizes[i]);
        rm_trial one = trial_open(&thimble, &sum, 1, NULL), two = trial_open(&thimble, &sum, 1, NULL);
        rm_outcome mbr = outcome_of(&one, "mbr", values);
        rm_outcome vote = outcome_of(&two, "self-consistency", values);
        cr_expect_eq(mbr.chosen, vote.chosen, "%d samples: %d, %d", sizes[i], mbr.chosen, vote.chosen);
        rm_run_close(one.run);
        rm_run_close(two.run);
    }
}
