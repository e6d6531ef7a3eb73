/* test_analysis_records.c - what may be recorded, what is copied, and how runs are joined. */
#include "tests/analysis/simulate.h"

#include <criterion/criterion.h>

Test(records, strings_are_copied)
{
    rm_records r = { 0 };
    char task[] = "task", id[] = "p", text[] = "hello", answer[] = "1", name[] = "prm";
    rm_cell cell = { .model = task, .task = task, .strategy = task, .label = id, .size = NAN };
    rm_problem_key key = { .task = task, .id = id };
    rm_named_score score = { name, 0.25 };
    rm_sample sample = { .text = text, .answer = answer, .scores = &score, .n_scores = 1 };
    rm_result result = { .chosen = 0, .samples = &sample, .n_samples = 1 };
    int index;
    cr_assert_eq(rm_records_add_cell(&r, &cell, &index, NULL), RM_OK);
    cr_assert_eq(index, 0);
    cr_assert_eq(rm_records_add_problem(&r, &key, NULL, NULL), RM_OK);
    cr_assert_eq(rm_records_add_result(&r, &result, NULL, NULL), RM_OK);
    memset(text, 'x', sizeof text - 1);
    name[0] = answer[0] = id[0] = 'x';
    cr_assert_str_eq(r.cells[0].label, "p");
    cr_assert_str_eq(r.cells[0].params, "{}");
    cr_assert_str_eq(r.cells[0].family, "p");
    cr_assert_str_eq(r.results[0].samples[0].text, "hello");
    cr_assert_str_eq(r.results[0].samples[0].answer, "1");
    cr_assert_str_eq(r.results[0].samples[0].scores[0].name, "prm");
    rm_records_free(&r);
    cr_assert_eq(r.n_results, 0);
    rm_records_free(&r);
    rm_records_free(NULL);
}

Test(records, impossible_entries_are_refused)
{
    rm_records r = { 0 };
    rm_error err;
    int cell = sim_cell(&r, "t", "a", "x", NAN, false);
    int problem = sim_problem(&r, "t", 0, NULL), other = sim_problem(&r, "u", 0, NULL);
    rm_sample sample = { 0 };
    const rm_result bad[] = {
        { .cell = 1, .problem = problem, .chosen = -1 },
        { .cell = -1, .problem = problem, .chosen = -1 },
        { .cell = cell, .problem = 2, .chosen = -1 },
        { .cell = cell, .problem = -1, .chosen = -1 },
        { .cell = cell, .problem = other, .chosen = -1 },
        { .cell = cell, .problem = problem, .chosen = 0 },
        { .cell = cell, .problem = problem, .chosen = 1, .samples = &sample, .n_samples = 1 },
        { .cell = cell, .problem = problem, .chosen = -2 },
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        err.text[0] = '\0';
        cr_assert_eq(rm_records_add_result(&r, &bad[i], NULL, &err), RM_E_ARGUMENT, "row %zu", i);
        cr_assert(err.text[0]);
    }
    rm_cell nameless = { .model = r.cells[0].model, .task = r.cells[0].task };
    cr_assert_eq(rm_records_add_cell(&r, &nameless, NULL, &err), RM_E_ARGUMENT);
    rm_problem_key no_id = { .task = r.cells[0].task };
    cr_assert_eq(rm_records_add_problem(&r, &no_id, NULL, &err), RM_E_ARGUMENT);
    cr_assert_eq(r.n_results, 0);
    cr_assert_eq(rm_records_append(&r, &r, NULL, &err), RM_E_ARGUMENT);
    rm_records_free(&r);
}

Test(records, many_entries)
{
    rm_records r = { 0 };
    int cell = sim_cell(&r, "t", "a", "x", NAN, false);
    for (int i = 0; i < 5000; i++)
        sim_verdict(&r, cell, sim_problem(&r, "t", i, NULL), (uint64_t)i, i % 2);
    cr_assert_eq(r.n_problems, 5000);
    for (int i = 0; i < 5000; i++)
        cr_assert(r.results[i].problem == i && r.results[i].seed == (uint64_t)i &&
                  r.results[i].correct == (i % 2));
    rm_records_free(&r);
}

Test(records, runs_are_joined_by_problem)
{
    rm_records a = { 0 }, b = { 0 };
    int x = sim_cell(&a, "t", "x", "x", NAN, false), y = sim_cell(&b, "t", "x", "x", NAN, false);
    int z = sim_cell(&b, "u", "z", "x", NAN, false);
    for (int p = 0; p < 10; p++)
        sim_verdict(&a, x, sim_problem(&a, "t", p, NULL), 0, true);
    sim_verdict(&b, z, sim_problem(&b, "u", 3, NULL), 0, true); /* the same id in another task */
    for (int p = 12; p >= 5; p--)
        sim_verdict(&b, y, sim_problem(&b, "t", p, NULL), 0, false);
    cr_assert_eq(rm_records_append(&a, &b, "run 2", NULL), RM_OK);
    cr_assert_eq(a.n_problems, 14); /* t: 0..12, u: 3 */
    cr_assert_eq(a.n_cells, 3);
    cr_assert_str_eq(a.cells[1].label, "run 2: x");
    cr_assert_str_eq(a.cells[1].family, "run 2: x");
    cr_assert_eq(rm_records_find_cell(&a, "u", "run 2: z"), 2);
    cr_assert_eq(rm_records_find_cell(&a, "t", "run 2: z"), -1);
    for (size_t i = 10; i < a.n_results; i++) {
        const rm_result *from = &b.results[i - 10], *to = &a.results[i];
        cr_assert_str_eq(a.problems[to->problem].id, b.problems[from->problem].id);
        cr_assert_str_eq(a.problems[to->problem].task, b.problems[from->problem].task);
        cr_assert_eq(to->cell, from->cell + 1);
    }
    rm_records_free(&a);
    rm_records_free(&b);
}
