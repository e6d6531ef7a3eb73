/* test_claims.c - verdicts on records made by hand: each kind of claim supported, refuted and
 * inconclusive, by the rule that the corrected interval decides. */
#include "analysis/analysis.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A cell whose problem p is right if rightness[p % 10] is '1', with the lengths and costs given. */
static void add_cell(rm_records *r, const char *task, const char *family, double size,
                     const char *rightness, int n_problems, unsigned tokens, int n_samples)
{
    rm_error err;
    char label[64], name[] = "m", id[16];
    int cell, problem;
    snprintf(label, sizeof label, size > 0 ? "%s n=%g" : "%s", family, size);
    rm_cell made = { .model = name, .task = (char *)(uintptr_t)task,
                     .strategy = (char *)(uintptr_t)family, .params = NULL, .label = label,
                     .family = (char *)(uintptr_t)family, .size = size > 0 ? size : (double)NAN,
                     .exchangeable = true };
    cr_assert_eq(rm_records_add_cell(r, &made, &cell, &err), RM_OK, "%s", err.text);
    for (int p = 0; p < n_problems; p++) {
        problem = -1;
        snprintf(id, sizeof id, "p%d", p);
        for (size_t i = 0; i < r->n_problems && problem < 0; i++)
            if (!strcmp(r->problems[i].task, task) && !strcmp(r->problems[i].id, id))
                problem = (int)i;
        rm_problem_key key = { .task = (char *)(uintptr_t)task, .id = id };
        if (problem < 0)
            cr_assert_eq(rm_records_add_problem(r, &key, &problem, &err), RM_OK, "%s", err.text);
        bool right = rightness[p % 10] == '1';
        rm_sample samples[8];
        for (int s = 0; s < n_samples; s++)
            samples[s] = (rm_sample){ .answer = right ? "yes" : "no", .correct = right,
                                      .n_tokens = tokens + (unsigned)(p % 3), .lp = -1,
                                      .lp_sampling = (double)NAN, .score = (double)NAN };
        rm_result result = { .cell = cell, .problem = problem, .timing = RM_TIMING_THROUGHPUT,
                             .correct = right, .samples = samples, .n_samples = (size_t)n_samples,
                             .cost = { .generated_tokens = tokens + (unsigned)(p % 3) } };
        cr_assert_eq(rm_records_add_result(r, &result, NULL, &err), RM_OK, "%s", err.text);
    }
}

static const char *const good[] = { "good n=1" }, *const poor[] = { "poor n=1" };
static const char *const same[] = { "same n=1" }, *const poor_family[] = { "poor" };
static const char *const two[] = { "poor n=1", "good n=1" };

#define DIFFERENCE(A, B, M, D, MARGIN)                                                             \
    { .text = "t", .kind = RM_CLAIM_DIFFERENCE, .measure = M, .a = A, .b = B, .n_b = 1,            \
      .cost = -1, .direction = RM_DIRECTION_##D, .margin = MARGIN }
#define TREND(A, D, MARGIN)                                                                        \
    { .text = "t", .kind = RM_CLAIM_TREND, .a = A, .cost = -1, .direction = RM_DIRECTION_##D,      \
      .margin = MARGIN }

static const struct row {
    rm_claim claim;
    int n_problems;
    rm_verdict expected;
} rows[] = {
    { DIFFERENCE("good n=1", poor, RM_MEASURE_ACCURACY, HIGHER, 0.05), 100, RM_SUPPORTED },
    { DIFFERENCE("good n=1", poor, RM_MEASURE_ACCURACY, LOWER, 0.05), 100, RM_REFUTED },
    { DIFFERENCE("poor n=1", good, RM_MEASURE_ACCURACY, LOWER, 0.05), 100, RM_SUPPORTED },
    { DIFFERENCE("good n=1", poor, RM_MEASURE_ACCURACY, HIGHER, 0.05), 5, RM_INCONCLUSIVE },
    { DIFFERENCE("good n=1", poor, RM_MEASURE_ACCURACY, EQUAL, 0.05), 100, RM_REFUTED },
    { DIFFERENCE("good n=1", same, RM_MEASURE_ACCURACY, EQUAL, 0.1), 300, RM_SUPPORTED },
    { DIFFERENCE("good n=1", same, RM_MEASURE_ACCURACY, EQUAL, 0.0001), 100, RM_INCONCLUSIVE },
    { DIFFERENCE("good n=1", same, RM_MEASURE_ACCURACY, HIGHER, 0.1), 300, RM_REFUTED },
    { DIFFERENCE("good n=1", poor, RM_MEASURE_PASS_AT_K, HIGHER, 0.05), 100, RM_SUPPORTED },
    { DIFFERENCE("good n=1", poor, RM_MEASURE_MAJ_AT_K, LOWER, 0.05), 100, RM_REFUTED },
    { DIFFERENCE("good", poor_family, RM_MEASURE_LENGTH, HIGHER, 5), 100, RM_SUPPORTED },
    { DIFFERENCE("good n=1", poor, RM_MEASURE_LENGTH, HIGHER, 5), 100, RM_REFUTED },
    { DIFFERENCE("good n=1", poor, RM_MEASURE_LENGTH_RIGHT, EQUAL, 5), 100, RM_SUPPORTED },
    { DIFFERENCE("absent", poor, RM_MEASURE_ACCURACY, HIGHER, 0.05), 100, RM_INCONCLUSIVE },
    { TREND("good", HIGHER, 0.01), 100, RM_SUPPORTED },
    { TREND("good", LOWER, 0.01), 100, RM_REFUTED },
    { TREND("poor", HIGHER, 0.01), 100, RM_REFUTED }, /* level: all its sizes are equal */
    { TREND("good", HIGHER, 0.01), 7, RM_INCONCLUSIVE },
};
enum { ROWS = sizeof rows / sizeof *rows };

/* good rises 60, 70, 80, 90% at the sizes 1 to 8 and costs 10, 20, 40, 80 tokens; poor stays at 20%
 * for the same costs. */
static void fill(rm_records *r, const char *task, int n)
{
    static const char *const rising[] = { "1111110000", "1111111000", "1111111100", "1111111110" };
    *r = (rm_records){ 0 };
    for (int i = 0; i < 4; i++) {
        add_cell(r, task, "good", 1 << i, rising[i], n, 10u << i, 4);
        add_cell(r, task, "poor", 1 << i, "1100000000", n, 10u << (i > 2 ? 2 : i), 4);
    }
    add_cell(r, task, "same", 1, "1111110000", n, 10, 4);
}

static rm_claim_report verdict(const rm_records *records, const rm_claim *claims, size_t n,
                               rm_text *sentence)
{
    rm_error err;
    rm_analysis *analysis;
    rm_analysis_options options = { .resamples = 1000, .claims = claims, .n_claims = n };
    cr_assert_eq(rm_analyze(records, &options, &analysis, &err), RM_OK, "%s", err.text);
    rm_claim_report report = { .p = (double)NAN };
    for (size_t t = 0; t < analysis->n_tasks; t++)
        if (analysis->tasks[t].n_claims)
            report = analysis->tasks[t].claims[0];
    if (sentence && report.claim)
        rm_claim_sentence(&report, sentence);
    rm_analysis_free(analysis);
    return report;
}

Test(claims, the_interval_decides)
{
    for (size_t i = 0; i < ROWS; i++) {
        rm_records records;
        fill(&records, "task", rows[i].n_problems);
        rm_claim_report got = verdict(&records, &rows[i].claim, 1, NULL);
        cr_expect_eq(got.verdict, rows[i].expected, "row %zu: %s, [%g, %g]", i,
                     rm_verdict_name(got.verdict), got.theta.low, got.theta.high);
        rm_records_free(&records);
    }
}

/* At equal tokens: good is 55 points or so above poor; against itself there is no difference. */
Test(claims, budgets)
{
    static const char *const good_family[] = { "good" };
    rm_claim claim = { .text = "t", .kind = RM_CLAIM_BUDGET, .a = "good", .b = poor_family, .n_b = 1,
                       .cost = RM_Q_GENERATED_TOKENS, .direction = RM_DIRECTION_HIGHER,
                       .margin = 0.05 };
    rm_records records;
    rm_text sentence = { 0 };
    fill(&records, "task", 100);
    rm_claim_report got = verdict(&records, &claim, 1, &sentence);
    cr_expect_eq(got.verdict, RM_SUPPORTED);
    cr_expect(fabs(got.theta.value - 0.5) < 0.02, "%g", got.theta.value); /* 60 to 80% less 20% */
    cr_expect(strstr(sentence.data, "SUPPORTED: t. accuracy of good less that of poor at equal "
                                    "generated tokens"), "%s", sentence.data);
    claim.direction = RM_DIRECTION_EQUAL;
    cr_expect_eq(verdict(&records, &claim, 1, NULL).verdict, RM_REFUTED);
    claim.b = good_family;
    cr_expect_eq(verdict(&records, &claim, 1, NULL).verdict, RM_SUPPORTED);
    rm_text_free(&sentence);
    rm_records_free(&records);
}

/* The better of two is chosen on other problems; claims share the error rate of a task. */
Test(claims, sides_chosen_elsewhere_and_families)
{
    rm_records records;
    fill(&records, "test", 100);
    add_cell(&records, "tune", "poor", 1, "1000000000", 50, 10, 4);
    add_cell(&records, "tune", "good", 1, "1110000000", 50, 10, 4);
    rm_claim claim = { .text = "t", .a = "same n=1", .b = two, .n_b = 2, .chosen_on = "tune",
                       .cost = -1, .direction = RM_DIRECTION_EQUAL, .margin = 0.2 };
    rm_claim both[2] = { claim, claim };
    rm_claim_report one = verdict(&records, &claim, 1, NULL), of_two = verdict(&records, both, 2, NULL);
    cr_expect_str_eq(one.b, "good n=1");
    cr_expect_eq(one.verdict, RM_SUPPORTED);
    cr_expect_eq(of_two.n_family, 2);
    cr_expect(fabs(one.theta.level - 0.95) < 1e-12 && fabs(of_two.theta.level - 0.975) < 1e-12);
    rm_records_free(&records);
}

/* Of three samples two are right in 8 of 10 problems and one in the others: one sample is right in
 * 0.8 * 2/3 + 0.2 * 1/3 = 0.6, the majority in 0.8, and one of the three always. Right ones have 10
 * tokens, wrong ones 30. */
Test(claims, against_one_sample_and_against_nothing)
{
    static const struct {
        rm_measure measure;
        rm_against against;
        double theta;
    } table[] = {
        { RM_MEASURE_MAJ_AT_K, RM_AGAINST_ONE_SAMPLE, 0.2 },
        { RM_MEASURE_PASS_AT_K, RM_AGAINST_ONE_SAMPLE, 0.4 },
        { RM_MEASURE_MAJ_AT_K, RM_AGAINST_NOTHING, 0.8 },
        { RM_MEASURE_LENGTH_RIGHT, RM_AGAINST_NOTHING, 10 },
        { RM_MEASURE_LENGTH_WRONG, RM_AGAINST_NOTHING, 30 },
        { RM_MEASURE_MAJ_AT_K, RM_AGAINST_MEASURE, 0 },
    };
    rm_records records = { 0 };
    rm_error err;
    char text[] = "pool", task[] = "task", id[16];
    int cell, problem;
    rm_cell made = { .model = text, .task = task, .strategy = text, .label = text, .family = text,
                     .size = 3, .exchangeable = true };
    cr_assert_eq(rm_records_add_cell(&records, &made, &cell, &err), RM_OK, "%s", err.text);
    for (int p = 0; p < 50; p++) {
        snprintf(id, sizeof id, "p%d", p);
        rm_problem_key key = { .task = task, .id = id };
        cr_assert_eq(rm_records_add_problem(&records, &key, &problem, &err), RM_OK, "%s", err.text);
        rm_sample samples[3];
        for (int s = 0; s < 3; s++) {
            bool right = s < (p % 10 < 8 ? 2 : 1);
            samples[s] = (rm_sample){ .answer = right ? "yes" : "no", .correct = right,
                                      .n_tokens = right ? 10 : 30, .lp = -1,
                                      .lp_sampling = (double)NAN, .score = (double)NAN };
        }
        rm_result result = { .cell = cell, .problem = problem, .timing = RM_TIMING_THROUGHPUT,
                             .correct = p % 10 < 8, .samples = samples, .n_samples = 3 };
        cr_assert_eq(rm_records_add_result(&records, &result, NULL, &err), RM_OK, "%s", err.text);
    }
    static const char *const pool[] = { "pool" };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        rm_claim claim = DIFFERENCE("pool", pool, table[i].measure, HIGHER, 0);
        claim.against = table[i].against;
        rm_claim_report got = verdict(&records, &claim, 1, NULL);
        cr_expect(fabs(got.theta.value - table[i].theta) < 1e-12, "row %zu: %g", i, got.theta.value);
        cr_expect(got.theta.low <= table[i].theta + 1e-12 && got.theta.high >= table[i].theta - 1e-12,
                  "row %zu: [%g, %g]", i, got.theta.low, got.theta.high);
    }
    rm_records_free(&records);
}
