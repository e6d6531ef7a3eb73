/* What a user may do by mistake: each case was once taken in silence, or lost something. */
#include "run_support.h"

#include "base/json.h"
#include "plots/plots.h"

#include <sqlite3.h>
#include <math.h>

TestSuite(cli_slips, .init = make_scratch, .fini = remove_scratch);

#define HEAD "{ \"name\": \"s\", \"models\": [\"thimble-s\"], \"problems\": 4,\n"
#define ARITHMETIC "\"tasks\": [{ \"kind\": \"arithmetic\", \"operations\": 3 }],\n"

static const char greedy[] =
    HEAD ARITHMETIC "\"strategies\": [{ \"strategy\": \"greedy\", \"max_new_tokens\": 60 }] }";

static void run_config(const char *name, const char *config, const char *dir)
{
    char *message;
    cr_assert(run_program(ARGS("run", write_scratch(name, config), "--out", dir, "-q"), NULL,
                          &message) == 0, "%s", message);
    free(message);
}

static void alter(const char *dir, const char *sql)
{
    rm_store *store;
    CHECK(rm_store_open(dir, true, &store, err));
    cr_assert(sqlite3_exec(rm_store_database(store), sql, NULL, NULL, NULL) == SQLITE_OK);
    rm_store_close(store);
}

/* ---- messages ---------------------------------------------------------------------------- */

/* "@" stands for the scratch directory; status -1: any but 0. */
static const struct slip {
    const char *config;             /* written to @c.json, or NULL */
    const char *args[12], *sentence;
} slips[] = {
    { NULL, { "generate", "-m", "thimble-s", "-p", "1", "-f", "@none" }, "given twice" },
    { NULL, { "generate", "-m", "thimble-s", "-p", "1", "--stop", "x" }, "--stop-string?" },
    { NULL, { "generate", "-m", "thimble-s", "-p", "1", "--max-wall-ms", "0" }, "--max-wall-ms" },
    { NULL,
      { "generate", "-m", "thimble-s", "-p", "1", "-s", "adaptive-consistency", "--window", "2" },
      "window has no effect with stop = beta" },
    { NULL,
      { "generate", "-m", "thimble-s", "-p", "1", "-s", "adaptive-consistency", "--stop", "window",
        "--parallel", "2" },
      "parallel has no effect with stop = window" },
    { HEAD ARITHMETIC "\"generation\": { \"temprature\": 1 },"
      " \"strategies\": [{ \"strategy\": \"greedy\" }] }",
      { "check", "@c.json" }, "did you mean \"temperature\"?" },
    { HEAD ARITHMETIC "\"generation\": { \"temperature\": [0.5, 1] },"
      " \"strategies\": [{ \"strategy\": \"sampling\" }] }",
      { "check", "@c.json" }, "expected one value for all strategies, found a list" },
    { HEAD "\"tasks\": [{ \"kind\": \"jsonl\", \"path\": \"none.jsonl\" }],"
      " \"strategies\": [{ \"strategy\": \"greedy\" }] }",
      { "check", "@c.json" }, "c.json:2:" },
    { HEAD "\"tasks\": [{ \"kind\": \"countdown\", \"prompt\": \"Hello {numbers}\" }],"
      " \"strategies\": [{ \"strategy\": \"greedy\" }] }",
      { "check", "@c.json" }, "model thimble-s cannot read the first prompt of task countdown" },
    { "{ \"problems\": 4,\n\"models\": [\"thimbel\"],\n" ARITHMETIC
      "\"strategies\": [{ \"strategy\": \"greedy\" }] }",
      { "check", "@c.json" }, "c.json:2: model thimbel" },
    { HEAD ARITHMETIC "\"latency\": { \"problems\": 2000000 },"
      " \"strategies\": [{ \"strategy\": \"greedy\" }] }",
      { "check", "@c.json" }, "expected 0 to 1000000, found 2000000" },
};

Test(cli_slips, get_a_sentence_that_helps)
{
    for (size_t i = 0; i < sizeof slips / sizeof *slips; i++) {
        const char *args[13] = { NULL };
        char *message;
        if (slips[i].config)
            write_scratch("c.json", slips[i].config);
        for (int a = 0; slips[i].args[a]; a++)
            args[a] = slips[i].args[a][0] == '@' ? in_scratch(slips[i].args[a] + 1)
                                                 : slips[i].args[a];
        cr_expect(run_program(args, NULL, &message) > 0, "%s", slips[i].sentence);
        cr_expect(strstr(message, slips[i].sentence) != NULL, "%s: %s", slips[i].sentence, message);
        free(message);
    }
}

/* The parameter of the strategy, not an option of the program, has the name. */
Test(cli_slips, stop_is_a_parameter)
{
    char *out;
    cr_assert(run_program(ARGS("generate", "-m", "thimble-s", "-p", "1+2=<think>", "-s",
                               "adaptive-consistency", "--stop", "window", "--window", "2",
                               "--num-return-sequences", "2", "--json"), &out, NULL) == 0);
    cr_expect(strstr(out, "\"stop\":\"window\"") != NULL, "%s", out);
    free(out);
}

Test(cli_slips, a_random_model_replaces_no_file)
{
    char *message;
    const char *file = write_scratch("m.gguf", "precious");
    cr_assert(run_program(ARGS("models", file, "--random"), NULL, &message) > 0);
    cr_expect(strstr(message, "exists already") != NULL, "%s", message);
    free(message);
    char *text = read_scratch("m.gguf");
    cr_expect_str_eq(text, "precious");
    free(text);
}

/* ---- records ----------------------------------------------------------------------------- */

Test(cli_slips, regrade_refuses_other_problems)
{
    const char *dir = in_scratch("run");
    char *message;
    run_config("c.json", greedy, dir);
    char *before = export_dir(dir);
    const char *other = write_scratch(
        "other.json", HEAD "\"tasks\": [{ \"kind\": \"arithmetic\", \"operations\": 3,"
                           " \"seed\": 99 }],"
                           "\"strategies\": [{ \"strategy\": \"greedy\" }] }");
    cr_assert(run_program(ARGS("regrade", dir, "--config", other, "--write"), NULL, &message) > 0);
    cr_expect(strstr(message, "another one in the configuration") != NULL, "%s", message);
    free(message);
    char *after = export_dir(dir);
    assert_same_text(before, after, "refused");
    free(before);
    free(after);
}

static const cJSON *member(const cJSON *item, const char *key)
{
    const cJSON *value = cJSON_GetObjectItemCaseSensitive(item, key);
    cr_assert(value != NULL, "%s is missing", key);
    return value;
}

static double missing_outcomes(const char *dir)
{
    char *out;
    rm_json *json;
    cr_assert(run_program(ARGS("analyze", dir, "--resamples", "100", "--json"), &out, NULL) == 0);
    CHECK(rm_json_parse(out, strlen(out), "stdout", 1, 0, &json, err));
    double missing = member(rm_json_root(json), "missing")->valuedouble;
    rm_json_free(json);
    free(out);
    return missing;
}

Test(cli_slips, an_unfinished_run_says_so)
{
    static const char config[] =
        HEAD ARITHMETIC "\"strategies\": [{ \"strategy\": \"greedy\" }, { \"strategy\": \"beam\","
                        " \"num_beams\": 2 }], \"latency\": { \"problems\": 1, \"repeats\": 3 } }";
    static const char sentence[] = "unfinished: 12 of 14 outcomes are recorded";
    const char *dir = in_scratch("run");
    char *out;
    run_config("c.json", config, dir);
    cr_assert(run_program(ARGS("analyze", dir, "--resamples", "100"), &out, NULL) == 0);
    cr_expect(strstr(out, "unfinished") == NULL, "%s", out);
    free(out);
    cr_expect(missing_outcomes(dir) == 0);

    alter(dir, "CREATE TEMP TABLE gone AS SELECT outcome FROM outcomes WHERE cell = 1 AND"
               " timing = 'throughput' ORDER BY outcome LIMIT 2;"
               "DELETE FROM candidates WHERE outcome IN gone;"
               "DELETE FROM outcomes WHERE outcome IN gone;");
    cr_expect(missing_outcomes(dir) == 2);
    cr_assert(run_program(ARGS("analyze", dir, "--resamples", "100"), &out, NULL) == 0);
    cr_expect(strstr(out, sentence) && strstr(out, "problems  "), "%s", out);
    free(out);
    cr_assert(run_program(ARGS("report", dir, "--resamples", "100"), NULL, NULL) == 0);
    char *page = read_scratch("run/report.html"), *markdown = read_scratch("run/report.md");
    cr_expect(strstr(page, sentence) && strstr(markdown, sentence));
    free(page);
    free(markdown);
    cr_assert(run_program(ARGS("resume", dir, "-q"), NULL, NULL) == 0);
    cr_expect(missing_outcomes(dir) == 0);
}

Test(cli_slips, an_export_is_whole_or_not_there)
{
    const char *dir = in_scratch("run"), *file = in_scratch("out.jsonl");
    char *message;
    run_config("c.json", greedy, dir);
    cr_assert(run_program(ARGS("export", dir, "--out", file), NULL, NULL) == 0);
    char *text = read_scratch("out.jsonl");
    cr_expect(count_lines(text) == 4);
    free(text);
    cr_assert(run_program(ARGS("export", dir, "--out", "/dev/null"), NULL, NULL) == 0);
    alter(dir, "PRAGMA foreign_keys = OFF; DELETE FROM problems WHERE idx > 0");
    cr_assert(remove(file) == 0);
    cr_assert(run_program(ARGS("export", dir, "--out", file), NULL, &message) > 0);
    cr_expect(strstr(message, "only 1 of its 4 outcomes") != NULL, "%s", message);
    cr_expect(access(file, F_OK) != 0);
    free(message);
}

/* A run that recorded nothing does not hold its directory; one with outcomes does. */
Test(cli_slips, a_directory_without_outcomes_is_taken_again)
{
    const char *dir = in_scratch("run");
    char *message;
    const char *refused = write_scratch(
        "bad.json", "{ \"models\": [\"none\"], \"problems\": 4,\n" ARITHMETIC
                    "\"strategies\": [{ \"strategy\": \"greedy\" }] }");
    cr_assert(run_program(ARGS("run", refused, "--out", dir, "-q"), NULL, &message) > 0);
    free(message);
    run_config("c.json", greedy, dir);
    char *config = read_scratch("run/config.json");
    cr_expect_str_eq(config, greedy);
    free(config);
    const char *other = write_scratch(
        "other.json", "{ \"models\": [\"thimble-s\"], \"problems\": 5,\n" ARITHMETIC
                      "\"strategies\": [{ \"strategy\": \"greedy\" }] }");
    cr_assert(run_program(ARGS("run", other, "--out", dir, "-q"), NULL, &message) > 0);
    cr_expect(strstr(message, "holds a run of another configuration") != NULL, "%s", message);
    free(message);
}

Test(cli_slips, the_manifest_can_be_read)
{
    rm_json *json;
    run_config("c.json", greedy, in_scratch("run"));
    char *text = read_scratch("run/manifest.json");
    cr_expect(strstr(text, "\n          \"configuration\": ") != NULL, "%s", text);
    CHECK(rm_json_parse(text, strlen(text), "manifest.json", 1, 0, &json, err));
    const cJSON *session = cJSON_GetArrayItem(member(rm_json_root(json), "sessions"), 0);
    const cJSON *settings = member(member(session, "with"), "settings");
    cr_expect(member(settings, "concurrency")->valuedouble == 64);
    rm_json_free(json);
    free(text);
}

/* ---- labels and tables ------------------------------------------------------------------- */

static const char two_models[] =
    "{ \"name\": \"t\", \"models\": [\"thimble-s\", \"thimble\"], \"problems\": 4,\n"
    "\"tasks\": [{ \"kind\": \"countdown\" }], \"generation\": { \"max_new_tokens\": 60 }, "
    "\"strategies\": [{ \"strategy\": \"greedy\" },"
    " { \"strategy\": \"beam\", \"num_beams\": 2, \"models\": [\"thimble\"] },"
    " { \"strategy\": \"mcts\", \"simulations\": [4, 8], \"models\": [\"thimble\"],"
    " \"score\": \"verifier\" }] }";

Test(cli_slips, labels_may_be_given_by_their_ends)
{
    const char *dir = in_scratch("run"), *config = write_scratch("c.json", two_models);
    char *out, *message;
    cr_assert(run_program(ARGS("check", config), &out, NULL) == 0);
    cr_expect(strstr(out, "warning: thimble: mcts sims=4 follows visits") != NULL, "%s", out);
    free(out);
    run_config("c.json", two_models, dir);
    cr_assert(run_program(ARGS("analyze", dir, "--resamples", "100", "--baseline", "beam 2",
                               "--compare", "sims=4 vs thimble: greedy"), &out, NULL) == 0);
    cr_expect(strstr(out, "compared with thimble: beam 2"), "%s", out);
    cr_expect(strstr(out, "thimble: mcts sims=4 † vs thimble: greedy"), "%s", out);
    cr_expect(strstr(out, "\nthimble\n  greedy"), "the model stands once: %s", out);
    free(out);
    cr_assert(run_program(ARGS("analyze", dir, "--baseline", "greedy"), NULL, &message) > 0);
    cr_expect(strstr(message, "2 cells end in \"greedy\": \"thimble-s: greedy\", "
                              "\"thimble: greedy\"") != NULL, "%s", message);
    free(message);
    cr_assert(run_program(ARGS("tree", dir, "--cell", "sims=8"), &out, NULL) == 0);
    cr_expect(strstr(out, "thimble: mcts sims=8") != NULL, "%s", out);
    free(out);
    cr_assert(run_program(ARGS("tree", dir, "--cell", "mcts"), NULL, &message) > 0);
    cr_expect(strstr(message, "did you mean \"thimble: mcts sims=4\"?") != NULL, "%s", message);
    free(message);
}

/* The table's interval is the one that the verdict goes by. */
Test(cli_slips, analyze_prints_the_corrected_interval)
{
    const char *dir = in_scratch("run");
    char *out, interval[64];
    rm_json *json;
    run_config("c.json", two_models, dir);
    cr_assert(run_program(ARGS("analyze", dir, "--resamples", "400", "--json"), &out, NULL) == 0);
    CHECK(rm_json_parse(out, strlen(out), "stdout", 1, 0, &json, err));
    const cJSON *task = cJSON_GetArrayItem(member(rm_json_root(json), "tasks"), 0);
    const cJSON *first = cJSON_GetArrayItem(member(task, "comparisons"), 0);
    const cJSON *corrected = member(first, "corrected"), *alone = member(first, "difference");
    cr_assert(member(corrected, "low")->valuedouble < member(alone, "low")->valuedouble);
    snprintf(interval, sizeof interval, "[%+.1f, %+.1f]",
             100 * member(corrected, "low")->valuedouble,
             100 * member(corrected, "high")->valuedouble);
    rm_json_free(json);
    free(out);
    cr_assert(run_program(ARGS("analyze", dir, "--resamples", "400"), &out, NULL) == 0);
    cr_expect(strstr(out, interval) != NULL, "%s: %s", interval, out);
    cr_expect(strstr(out, ": \n") == NULL, "no blank at the end of a line: %s", out);
    free(out);
}

/* Sums of verdicts are exact: no 0.46500000000000030. */
Test(cli_slips, shares_are_printed_as_counts_divide)
{
    rm_text lines = { 0 };
    char *out;
    for (int i = 0; i < 200; i++)
        for (int s = 0; s < 2; s++)
            rm_text_printf(&lines, "{\"problem\":%d,\"strategy\":\"%s\",\"candidate\":0,"
                           "\"answer\":\"1\",\"correct\":%s}\n", i, s ? "b" : "a",
                           (i * 7 + s) % 200 < 93 ? "true" : "false");
    cr_assert(run_program(ARGS("import", write_scratch("l.jsonl", lines.data), "--out",
                               in_scratch("run")), NULL, NULL) == 0);
    rm_text_free(&lines);
    cr_assert(run_program(ARGS("analyze", in_scratch("run"), "--resamples", "100", "--json"), &out,
                          NULL) == 0);
    cr_expect(strstr(out, "\"accuracy_a\": 0.465,") && strstr(out, "\"accuracy_b\": 0.465,"), "%s",
              out);
    free(out);
}

Test(cli_slips, plot_names_its_figures)
{
    char *out;
    cr_assert(run_program(ARGS("plot", "--help"), &out, NULL) == 0);
    for (int f = 0; f < RM_N_FIGURES; f++)
        cr_expect(strstr(out, rm_figure_describe((rm_figure)f)->name) != NULL, "%s",
                  rm_figure_describe((rm_figure)f)->name);
    free(out);
}
