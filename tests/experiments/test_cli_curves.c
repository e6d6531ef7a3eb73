/* What `ramify analyze` and `ramify plot` say of curves, from imported samples to tables, JSON and
 * figures. */
#include "run_support.h"

#include "base/json.h"
#include "plots/plots.h"

#include <math.h>

TestSuite(cli_curves, .init = make_scratch, .fini = remove_scratch);

Test(cli_curves, help_names_every_figure)
{
    char *out, *message;
    cr_assert_eq(run_program(ARGS("plot", "--help"), &out, &message), 0);
    for (int f = 0; f < RM_N_FIGURES; f++)
        cr_assert(strstr(out, rm_figure_describe((rm_figure)f)->name), "%s",
                  rm_figure_describe((rm_figure)f)->name);
    free(out);
    free(message);
}

/* 20 problems. A pool with 2 right ones among 8 for each: pass@1 = 1/4, pass@2 = 1 - 15/28,
 * pass@4 = 1 - 15/70. A greedy cell that solves half of them. On the line through pass@2 and pass@4
 * over ln k, one half is reached at 2 * 2^((1/2 - 13/28) / (11/14 - 13/28)) = 2 * 2^(1/9). */
static void import_pool(void)
{
    rm_text lines = { 0 };
    char *out, *message;
    for (int p = 0; p < 20; p++) {
        for (int i = 0; i < 8; i++)
            rm_text_printf(&lines,
                           "{\"problem\": \"p%d\", \"strategy\": \"sampling\", \"candidate\": %d, "
                           "\"answer\": \"%d\", \"correct\": %s}\n",
                           p, i, i < 2 ? 42 : i, i < 2 ? "true" : "false");
        rm_text_printf(&lines,
                       "{\"problem\": \"p%d\", \"strategy\": \"greedy\", \"candidate\": 0, "
                       "\"answer\": \"%d\", \"correct\": %s}\n",
                       p, p % 2 ? 42 : 1, p % 2 ? "true" : "false");
    }
    cr_assert_not(lines.failed);
    const char *file = write_scratch("pool.jsonl", lines.data);
    rm_text_free(&lines);
    int status = run_program(ARGS("import", file, "--out", in_scratch("pool")), &out, &message);
    cr_assert_eq(status, 0, "%s", message);
    free(out);
    free(message);
}

Test(cli_curves, samples_that_equal_one_pass)
{
    char *out, *message;
    rm_json *json = NULL;
    import_pool();
    cr_assert_eq(run_program(ARGS("analyze", in_scratch("pool"), "--json"), &out, &message), 0,
                 "%s",
                 message);
    CHECK(rm_json_parse(out, strlen(out), "analysis", 1, 0, &json, err));
    const cJSON *task = cJSON_GetArrayItem(
        cJSON_GetObjectItemCaseSensitive(rm_json_root(json), "tasks"), 0);
    const cJSON *pass = cJSON_GetArrayItem(
        cJSON_GetObjectItemCaseSensitive(task, "equal_passes"), 0);
    const cJSON *k = cJSON_GetObjectItemCaseSensitive(pass, "k");
    cr_assert_str_eq(cJSON_GetObjectItemCaseSensitive(pass, "curve")->valuestring, "pass@k");
    cr_assert_float_eq(cJSON_GetObjectItemCaseSensitive(k, "value")->valuedouble,
                       2 * pow(2, 1 / 9.),
                       1e-9);
    cr_assert_gt(cJSON_GetObjectItemCaseSensitive(k, "high")->valuedouble, 2.2);
    rm_json_free(json);
    free(out);
    free(message);
}

Test(cli_curves, tables_and_figures)
{
    char *out, *message;
    import_pool();
    cr_assert_eq(run_program(ARGS("analyze", in_scratch("pool"), "--curves"), &out, &message), 0,
                 "%s", message);
    cr_assert(strstr(out, "sampling equals one pass of greedy"), "%s", out);
    cr_assert(strstr(out, "The law of coverage"), "%s", out);
    cr_assert(strstr(out, "finds a true difference of 32.1 points in 80% of such runs."), "%s",
              out);
    free(out);
    free(message);
    cr_assert_eq(run_program(ARGS("plot", in_scratch("pool"), "--figure", "coverage", "--out",
                                  in_scratch("coverage.svg")),
                             &out, &message),
                 0, "%s", message);
    free(out);
    free(message);
}
