/* test_train_thoughts.c - chains of thought: each step is right, each ends in the answer, failed
 * attempts come as often as the recipe says, and no document is of another split than "train". */
#include "experiments/train/train.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const thought_recipe recipe = { .failures = { 0.6, 0.25, 0.15 }, .n_failures = 3,
                                       .give_up = 0.5, .max_factor = 99, .max_value = 2000 };

static rm_draws draws_at(uint64_t i)
{
    return (rm_draws){ .seed = 7, .stream = rm_mix(i, 1) };
}

/* ---- arithmetic ------------------------------------------------------------------------------ */

static const struct {
    const char *question, *answer;
    const char *thoughts[4]; /* all there are, worked out by hand */
} sums[] = {
    { "7", "7", { "" } },
    { "(17+5)", "22", { "17+5=22" } },
    { "2+3*4", "14", { "3*4=12;2+12=14" } },
    { "9-4+1", "6", { "9-4=5;5+1=6" } },
    { "9-(4+1)", "4", { "4+1=5;9-5=4" } },
    { "1+2+3", "6", { "1+2=3;3+3=6", "2+3=5;1+5=6" } },
    { "1+2-3", "0", { "1+2=3;3-3=0", "2-3=-1;1+-1=0" } },
    { "2*3*4", "24", { "2*3=6;6*4=24", "3*4=12;2*12=24" } },
    { "2-3*4-5", "-15", { "3*4=12;2-12=-10;-10-5=-15" } },
    { "(1+2)*(3-8)", "-15", { "1+2=3;3-8=-5;3*-5=-15", "3-8=-5;1+2=3;3*-5=-15" } },
    /* 90*150 has a factor beyond 99 and waits until nothing else is ready */
    { "1*90*150", "13500", { "1*90=90;90*150=13500" } },
};

Test(train_thoughts, arithmetic_takes_every_order_and_no_wrong_one)
{
    rm_error error = { "" };
    for (size_t s = 0; s < sizeof sums / sizeof *sums; s++) {
        bool seen[4] = { false };
        for (uint64_t i = 0; i < 60; i++) {
            rm_text thought = { 0 }, answer = { 0 };
            rm_draws draws = draws_at(i);
            rm_text_puts(&thought, "");
            cr_assert_eq(thought_arithmetic(sums[s].question, &recipe, &draws, &thought, &answer,
                                            &error), RM_OK, "%s", error.text);
            cr_expect_str_eq(answer.data, sums[s].answer);
            int found = -1;
            for (int k = 0; k < 4 && sums[s].thoughts[k]; k++)
                if (!strcmp(sums[s].thoughts[k], thought.data ? thought.data : ""))
                    found = k;
            cr_assert_geq(found, 0, "%s: %s", sums[s].question, thought.data);
            seen[found] = true;
            rm_text_free(&thought);
            rm_text_free(&answer);
        }
        for (int k = 0; k < 4 && sums[s].thoughts[k]; k++)
            cr_expect(seen[k], "%s never became %s", sums[s].question, sums[s].thoughts[k]);
    }
    static const char *const bad[] = { "",   "1+",  "a",
                                       "(1", "1 2", "99999999999*99999999999*9999999999" };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        rm_text thought = { 0 }, answer = { 0 };
        rm_draws draws = draws_at(1);
        cr_expect_neq(thought_arithmetic(bad[i], &recipe, &draws, &thought, &answer, &error), RM_OK,
                      "\"%s\"", bad[i]);
        rm_text_free(&thought);
        rm_text_free(&answer);
    }
}

/* ---- countdown ------------------------------------------------------------------------------- */

/* Checks one attempt "25-7=18(4 8 18)...": every step, and what it says is left. Returns what was
 * reached and moves *at behind the mark. */
static int follow(const char **at, const int *numbers, int n, char *mark)
{
    int left[8], last = 0;
    memcpy(left, numbers, (size_t)n * sizeof *left);
    while (n > 1) {
        int a, b, r, used;
        char op;
        cr_assert_eq(sscanf(*at, "%d%c%d=%d(%n", &a, &op, &b, &r, &used), 4, "%s", *at);
        *at += used;
        cr_expect_eq(r,
                     op == '+'   ? a + b
                     : op == '-' ? a - b
                     : op == '*' ? a * b
                                 : a / b,
                     "%s", *at);
        cr_expect(a >= b && r > 0 && (op != '/' || a % b == 0));
        for (int k = 0; k < 2; k++) {
            int take = k ? b : a, i = 0;
            while (i < n && left[i] != take)
                i++;
            cr_assert_lt(i, n, "%d is not left at %s", take, *at);
            left[i] = left[--n];
        }
        left[n++] = last = r;
        for (int i = 0, before = 0; i < n; i++) {
            int value, width;
            cr_assert_eq(sscanf(*at, "%d%n", &value, &width), 1);
            cr_expect_geq(value, before);
            before = value;
            *at += width + 1; /* a space, or the bracket */
            bool there = false;
            for (int k = 0; k < n; k++)
                there |= left[k] == value;
            cr_expect(there);
        }
    }
    *mark = *(*at)++;
    return last;
}

Test(train_thoughts, countdown_steps_are_right_and_failures_as_frequent_as_asked)
{
    enum { N = 4000 };
    static const int numbers[] = { 4, 7, 8, 25 };
    rm_error error = { "" };
    int failures[3] = { 0 }, gave_up = 0, failed = 0;
    const char *json = "{\"kind\":\"countdown\"}";
    rm_json *tree;
    rm_task *task;
    const rm_item *item;
    cr_assert_eq(rm_json_parse(json, strlen(json), "x", 1, 0, &tree, &error), RM_OK);
    cr_assert_eq(rm_task_new(tree, rm_json_root(tree), ".", "t", &task, &error), RM_OK, "%s",
                 error.text);
    cr_assert_eq(rm_task_item(task, 0, &item, &error), RM_OK);
    for (uint64_t i = 0; i < N; i++) {
        rm_text thought = { 0 }, answer = { 0 };
        rm_draws draws = draws_at(i);
        cr_assert_eq(thought_countdown("4 7 8 25>80", &recipe, &draws, &thought, &answer, &error),
                     RM_OK, "%s", error.text);
        const char *at = thought.data;
        int n_failed = 0;
        char mark = '?';
        for (;;) {
            int reached = follow(&at, numbers, 4, &mark);
            cr_expect_eq(mark, reached == 80 ? '!' : '?');
            if (mark == '!' || !*at)
                break;
            cr_expect_eq(*at++, '~');
            n_failed++;
        }
        cr_expect_eq(*at, '\0', "%s", at);
        n_failed += mark == '?';
        cr_assert_leq(n_failed, 2);
        failures[n_failed]++;
        failed += n_failed > 0;
        gave_up += mark == '?';
        rm_text_free(&thought);
        rm_text_free(&answer);
    }
    /* five standard deviations of a binomial count */
    static const double expected[] = { 0.6, 0.25, 0.15 };
    for (int i = 0; i < 3; i++)
        cr_expect(fabs(failures[i] - N * expected[i]) < 5 * sqrt(N * expected[i]), "%d: %d", i,
                  failures[i]);
    cr_expect(fabs(gave_up - failed / 2.0) < 5 * sqrt(failed) / 2, "%d of %d", gave_up, failed);
    rm_task_free(task);
    rm_json_free(tree);
}

/* 385 = 5 * 7 * 11 is reached by products alone, in any order. */
Test(train_thoughts, countdown_answers_are_the_expressions_of_the_thought)
{
    rm_error error = { "" };
    rm_text thought = { 0 }, answer = { 0 };
    rm_draws draws = draws_at(1);
    thought_recipe sure = recipe;
    sure.n_failures = 1;
    cr_assert_eq(thought_countdown("5 7 11>385", &sure, &draws, &thought, &answer, &error), RM_OK);
    int a, b, c, d;
    cr_expect_eq(sscanf(answer.data, "(%d*%d)*%d", &a, &b, &c) == 3 ||
                     sscanf(answer.data, "%d*(%d*%d)", &b, &c, &d) == 3, 1, "%s", answer.data);
    cr_expect_eq(thought.data[thought.length - 1], '!');
    cr_expect_eq(thought_countdown("1 1>9", &sure, &draws, &thought, &answer, &error),
                 RM_E_ARGUMENT);
    cr_expect(strstr(error.text, "no solution"), "%s", error.text);
    cr_expect_eq(thought_countdown("1 2 3 4 5 6>9", &sure, &draws, &thought, &answer, &error),
                 RM_E_ARGUMENT);
    cr_expect_eq(thought_countdown("hello", &sure, &draws, &thought, &answer, &error),
                 RM_E_ARGUMENT);
    rm_text_free(&thought);
    rm_text_free(&answer);
}

/* ---- splits ---------------------------------------------------------------------------------- */

Test(train_thoughts, training_and_test_problems_are_disjoint)
{
    static const char *const texts[] = {
        "{\"kind\":\"countdown\",\"split\":\"train\",\"numbers\":3,\"range\":[1,9]}",
        "{\"kind\":\"countdown\",\"split\":\"test\",\"numbers\":3,\"range\":[1,9]}",
    };
    rm_error error = { "" };
    rm_hash_set trained = { 0 };
    int repeated = 0;
    for (int side = 0; side < 2; side++) {
        rm_json *tree;
        rm_task *task;
        cr_assert_eq(rm_json_parse(texts[side], strlen(texts[side]), "x", 1, 0, &tree, &error),
                     RM_OK);
        cr_assert_eq(rm_task_new(tree, rm_json_root(tree), ".", "t", &task, &error), RM_OK, "%s",
                     error.text);
        for (size_t i = 0; i < 2000; i++) {
            rm_draft draft = { 0 };
            uint64_t hash;
            bool added = false;
            cr_assert_eq(rm_task_draft(task, i, &draft, &hash, &error), RM_OK, "%s", error.text);
            if (side)
                cr_expect(!rm_hash_set_has(&trained, hash), "%s", draft.question.data);
            else
                cr_assert_eq(rm_hash_set_add(&trained, hash, &added, &error), RM_OK);
            repeated += !side && !added;
            rm_draft_free(&draft);
        }
        rm_task_free(task);
        rm_json_free(tree);
    }
    cr_expect_gt(repeated, 0, "so many draws from so few problems repeat some");
    free(trained.slots);
}
