/* Runs in process: what is planned, recorded, resumed, failed and refused. */
#include "run_support.h"

#include <math.h>

TestSuite(runner, .init = make_scratch, .fini = remove_scratch);

static const char small[] =
    "{ \"name\": \"small\", \"models\": [\"thimble-s\"],"
    "  \"tasks\": [{ \"kind\": \"arithmetic\", \"operations\": 3 }], \"problems\": 3,"
    "  \"seeds\": [1, 2], \"generation\": { \"max_new_tokens\": 24 },"
    "  \"strategies\": [ { \"strategy\": \"greedy\" },"
    "    { \"strategy\": \"self-consistency\", \"num_return_sequences\": [2, 4] },"
    "    { \"strategy\": \"best-of-n\", \"num_return_sequences\": 3 } ] }";

static rm_config *parse(const char *text)
{
    rm_config *config;
    CHECK(rm_config_parse(in_scratch("config.json"), text, strlen(text), &config, err));
    return config;
}

static rm_status try_run(const char *text, const char *dir, rm_runner_options options,
                         rm_runner_summary *summary, rm_error *err)
{
    rm_config *config = parse(text);
    rm_store *store = NULL;
    rm_runner_summary ignored;
    rm_status status = rm_run_create(config, in_scratch(dir), &store, err);
    if (!status)
        status = rm_runner_run(config, store, &options, summary ? summary : &ignored, err);
    rm_store_close(store);
    rm_config_free(config);
    return status;
}

static rm_runner_summary run(const char *text, const char *dir, rm_runner_options options)
{
    rm_runner_summary summary = { 0 };
    CHECK(try_run(text, dir, options, &summary, err));
    return summary;
}

Test(runner, a_second_run_has_nothing_to_do)
{
    rm_runner_summary first = run(small, "run", (rm_runner_options){ .threads = 1 });
    cr_assert(first.planned == 4 * 3 * 2 && first.recorded == 24 && first.found == 0);
    char *before = export_dir(in_scratch("run"));
    rm_runner_summary second = run(small, "run", (rm_runner_options){ .threads = 1 });
    cr_assert(second.planned == 0 && second.found == 24);
    char *after = export_dir(in_scratch("run"));
    assert_same_text(before, after, "after a second run");
    /* Candidates: greedy 1, votes 2 and 4, best-of-n 3, on 3 problems under 2 seeds. */
    cr_assert(count_lines(before) == (1 + 2 + 4 + 3) * 3 * 2, "%d", count_lines(before));
    free(before);
    free(after);
}

Test(runner, fewer_problems_first_and_the_rest_later_is_the_same_run)
{
    run(small, "whole", (rm_runner_options){ .threads = 1 });
    run(small, "parts", (rm_runner_options){ .threads = 1, .problems = 1 });
    run(small, "parts", (rm_runner_options){ .threads = 1, .problems = 2, .no_sharing = true });
    run(small, "parts", (rm_runner_options){ .threads = 1 });
    char *whole = export_dir(in_scratch("whole")), *parts = export_dir(in_scratch("parts"));
    assert_same_text(whole, parts, "in parts");
    free(whole);
    free(parts);
}

/* Solved examples in front of every question are one prefix in the token tree, unless there is but
 * one problem: the first problem by itself and then the rest take the way without and the way
 * with it. Texts, probabilities and accounts are the same. */
Test(runner, solved_examples_are_computed_once_and_change_no_record)
{
    static const char problems[] = "{\"q\": \"(1+2)*3=\", \"a\": 9}\n{\"q\": \"7*5-9=\", \"a\": "
        "26}\n"
                                   "{\"q\": \"12-3*4=\", \"a\": 0}\n";
    static const char few[] =
        "{ \"name\": \"few\", \"models\": [\"thimble-s\"], \"problems\": 3,"
        "  \"tasks\": [{ \"kind\": \"jsonl\", \"path\": \"few.jsonl\", \"question\": \"q\","
        "    \"answer\": \"a\", \"prompt\": \"{question}<think>\", \"grader\": \"numeric\","
        "    \"step_ends\": [\";\"], \"few_shot\": { \"separator\": \";\", \"examples\": ["
        "      { \"question\": \"4+5*6=\", \"answer\": \"5*6=30;4+30=34</think>34\" },"
        "      { \"question\": \"(8-2)*7=\", \"answer\": \"8-2=6;6*7=42</think>42\" }] } }],"
        "  \"generation\": { \"max_new_tokens\": 24 },"
        "  \"strategies\": [ { \"strategy\": \"greedy\" }, { \"strategy\": \"beam\", "
        "\"num_beams\": 3 },"
        "    { \"strategy\": \"self-consistency\", \"num_return_sequences\": [2, 4] },"
        "    { \"strategy\": \"mcts\", \"simulations\": 4, \"score\": \"agreement\" } ] }";
    write_scratch("few.jsonl", problems);
    run(few, "whole", (rm_runner_options){ .threads = 1 });
    run(few, "parts", (rm_runner_options){ .threads = 1, .problems = 1 });
    char *without = read_scratch("parts/log.txt"), *with = read_scratch("whole/log.txt");
    cr_assert(!strstr(without, "computed once") && strstr(with, "computed once"), "%s", with);
    free(without);
    free(with);
    without = read_scratch("parts/manifest.json");
    with = read_scratch("whole/manifest.json");
    cr_assert(strstr(without, "\"shared_prefixes\": []") &&
                  strstr(with,
                         "\"shared_prefixes\": [\n    {\"model\":\"thimble-s\",\"task\":\"jsonl\","
                               "\"tokens\":"), "what no time holds is in the manifest: %s", with);
    free(without);
    free(with);
    run(few, "parts", (rm_runner_options){ .threads = 1 });
    char *whole = export_dir(in_scratch("whole")), *parts = export_dir(in_scratch("parts"));
    assert_same_text(whole, parts, "with and without the prefix");
    free(whole);
    free(parts);
}

Test(runner, first_samples_are_shared_by_strategies)
{
    run(small, "run", (rm_runner_options){ .threads = 1, .no_sharing = true });
    rm_records records = { 0 };
    rm_store *store;
    CHECK(rm_store_open(in_scratch("run"), false, &store, err));
    CHECK(rm_store_records(store, &records, err));
    int compared = 0;
    for (size_t i = 0; i < records.n_results; i++)
        for (size_t j = 0; j < records.n_results; j++) {
            const rm_result *a = &records.results[i], *b = &records.results[j];
            if (a->cell >= b->cell || a->problem != b->problem || a->seed != b->seed ||
                !records.cells[a->cell].exchangeable || !records.cells[b->cell].exchangeable)
                continue;
            for (size_t k = 0; k < a->n_samples && k < b->n_samples; k++, compared++)
                cr_assert(strcmp(a->samples[k].text, b->samples[k].text) == 0);
        }
    cr_assert(compared > 0);
    rm_records_free(&records);
    rm_store_close(store);
}

Test(runner, latency_mode_repeats_and_measures)
{
    rm_runner_summary s = run(small, "run", (rm_runner_options){ .mode = RM_MODE_LATENCY,
                                                                 .problems = 2, .threads = 1 });
    cr_assert(s.recorded == 4 * 2 * 3, "%zu", s.recorded); /* cells x problems x 3 repeats */
    rm_records records = { 0 };
    rm_store *store;
    CHECK(rm_store_open(in_scratch("run"), false, &store, err));
    CHECK(rm_store_records(store, &records, err));
    for (size_t i = 0; i < records.n_results; i++) {
        const rm_result *r = &records.results[i];
        cr_assert(r->timing == RM_TIMING_LATENCY && r->repeat >= 0 && r->repeat < 3);
        cr_assert(r->cost.wall_ms > 0 && r->cost.load == 0, "%g %g", r->cost.wall_ms,
                  r->cost.load);
    }
    rm_records_free(&records);
    rm_store_close(store);
}

/* Of 256 positions a greedy path needs about half, the search's first simulation 65 paths: only the
 * search fails, and what stands beside it is what it is without it. */
#define QUOTA                                                                                      \
    "{ \"name\": \"quota\", \"models\": [\"thimble-s\"], \"problems\": 2,"                         \
    "  \"tasks\": [{ \"kind\": \"arithmetic\", \"operations\": 3 }],"                              \
    "  \"generation\": { \"max_new_tokens\": 100 }, \"limits\": { \"kv_quota_mib\": 1 },"          \
    "  \"strategies\": [ { \"strategy\": \"greedy\" }"

Test(runner, an_outcome_beyond_its_quota_is_recorded_as_failed)
{
    rm_runner_summary alone = run(QUOTA "] }", "alone", (rm_runner_options){ .threads = 1 });
    rm_runner_summary both = run(QUOTA ", { \"strategy\": \"mcts\", \"expand\": 64 } ] }", "both",
                                 (rm_runner_options){ .threads = 1 });
    cr_assert(alone.recorded == 2 && alone.failed == 0);
    cr_assert(both.recorded == 4 && both.failed == 2);
    cr_assert(strstr(both.first_failure.text, "of the quota of 1048576 bytes") != NULL, "%s",
              both.first_failure.text);
    char *wanted = export_dir(in_scratch("alone")), *got = export_dir(in_scratch("both"));
    size_t n = strlen(wanted);
    cr_assert(n > 0 && strncmp(wanted, got, n) == 0, "%.900s\n%.900s", wanted, got);
    cr_assert_null(strstr(wanted, "\"candidate\":null"));
    int failed = 0;
    for (const char *at = got + n; (at = strstr(at, "\"candidate\":null")); at++)
        failed++;
    cr_assert(failed == 2, "%s", got + n);
    free(wanted);
    free(got);
}

/* The same search in a cache too small for what it may hold: no quota is stated, so that its
 * outcome would depend on the machine. Nothing is computed, until there is a larger cache. */
Test(runner, a_cache_too_small_for_one_problem_changes_no_record)
{
    static const char config[] =
        "{ \"name\": \"pool\", \"models\": [\"thimble-s\"], \"problems\": 2,"
        "  \"tasks\": [{ \"kind\": \"arithmetic\", \"operations\": 3 }],"
        "  \"generation\": { \"max_new_tokens\": 100 }, \"engine\": { \"kv_mib\": 1 },"
        "  \"strategies\": [ { \"strategy\": \"greedy\" },"
        "    { \"strategy\": \"mcts\", \"expand\": 64, \"simulations\": 2 } ] }";
    rm_runner_options larger = { .threads = 1, .kv_bytes = (size_t)64 << 20 };
    rm_error err = { "" };
    cr_assert(try_run(config, "run", (rm_runner_options){ .threads = 1 }, NULL, &err) ==
              RM_E_LIMIT);
    cr_assert(strstr(err.text, "cell mcts sims=2 may hold up to") &&
                  strstr(err.text, "raise engine.kv_mib"), "%s", err.text);
    rm_runner_summary rest = run(config, "run", larger);
    rm_runner_summary all = run(config, "whole", larger);
    cr_assert(all.recorded == 4 && rest.recorded + rest.found == 4);
    char *resumed = export_dir(in_scratch("run")), *whole = export_dir(in_scratch("whole"));
    assert_same_text(whole, resumed, "after a cache that was too small");
    free(resumed);
    free(whole);
}

/* The instruction set of the experiment file, and an option that replaces it. f32 goes on with any
 * variant. */
Test(runner, isa_of_the_file_and_of_the_command_line)
{
    static const char config[] =
        "{ \"name\": \"isa\", \"models\": { \"m\": { \"file\": \"thimble-s\","
        "  \"compute\": \"%s\" } }, \"engine\": { \"isa\": \"portable\" },"
        "  \"tasks\": [{ \"kind\": \"arithmetic\", \"operations\": 3 }], \"problems\": 2,"
        "  \"strategies\": [{ \"strategy\": \"greedy\", \"max_new_tokens\": 4 }] }";
    for (int bf16 = 0; bf16 < 2; bf16++) {
        char text[512], file[32];
        rm_error err = { "" };
        const char *dir = bf16 ? "bf16" : "f32";
        snprintf(text, sizeof text, config, dir);
        run(text, dir, (rm_runner_options){ .threads = 1, .problems = 1 });
        snprintf(file, sizeof file, "%s/manifest.json", dir);
        char *manifest = read_scratch(file);
        cr_expect(strstr(manifest, "\"isa\": \"portable\""), "%s", manifest);
        free(manifest);
        rm_status status = try_run(text, dir, (rm_runner_options){ .threads = 1, .isa = "avx2" },
                                   NULL, &err);
        if (status == RM_E_UNSUPPORTED)
            cr_skip("this processor has no avx2");
        cr_expect_eq(status, bf16 ? RM_E_ARGUMENT : RM_OK, "%s", err.text);
        cr_expect(!bf16 || strstr(err.text, "was begun with the instruction-set variant portable"),
                  "%s", err.text);
    }
}

Test(runner, cancelling_keeps_what_was_finished)
{
    volatile bool cancel = true;
    rm_runner_summary s = { 0 };
    rm_error err;
    cr_assert(try_run(small, "run", (rm_runner_options){ .cancel = &cancel, .threads = 1 }, &s,
                      &err) == RM_E_CANCELLED);
    cr_assert(s.recorded < 24);
    s = run(small, "run", (rm_runner_options){ .threads = 1 });
    run(small, "whole", (rm_runner_options){ .threads = 1 });
    char *whole = export_dir(in_scratch("whole")), *resumed = export_dir(in_scratch("run"));
    assert_same_text(whole, resumed, "after cancelling");
    free(whole);
    free(resumed);
}

/* Things that no run can begin with: one sentence each. */
static const struct refusal {
    const char *config, *sentence;
} refusals[] = {
    { "{ \"name\": \"x\", \"models\": [\"thimbel\"], \"tasks\": [{ \"kind\": \"countdown\" }],"
      " \"problems\": 1, \"strategies\": [{ \"strategy\": \"greedy\" }] }",
      "did you mean thimble" },
    { "{ \"name\": \"x\", \"models\": [\"/dev/null\"], \"tasks\": [{ \"kind\": \"countdown\" }],"
      " \"problems\": 1, \"strategies\": [{ \"strategy\": \"greedy\" }] }",
      "/dev/null" },
};

Test(runner, what_cannot_run_is_one_sentence)
{
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
        rm_error err = { "" };
        char dir[16];
        snprintf(dir, sizeof dir, "run%zu", i);
        cr_assert(try_run(refusals[i].config, dir, (rm_runner_options){ .threads = 1 }, NULL,
                          &err) != RM_OK);
        cr_assert(strstr(err.text, refusals[i].sentence) != NULL, "%s", err.text);
    }
}

Test(runner, an_ensemble_of_two_vocabularies_is_refused)
{
    rm_random_model other = { .n_layers = 1, .n_embd = 32, .n_heads = 2, .n_ff = 32,
                              .n_vocab = 300, .n_ctx = 128, .weight_type = "f32" };
    CHECK(rm_model_write_random(&other, in_scratch("other.gguf"), err));
    char config[1024];
    snprintf(config, sizeof config,
             "{ \"name\": \"x\", \"models\": { \"a\": \"thimble-s\", \"b\": \"%s\" },"
             " \"tasks\": [{ \"kind\": \"arithmetic\", \"operations\": 3 }], \"problems\": 1,"
             " \"strategies\": [{ \"strategy\": \"ensemble-token\", \"models\": [[\"a\", \"b\"]] }]"
             " }", in_scratch("other.gguf"));
    rm_error err = { "" };
    cr_assert(try_run(config, "run", (rm_runner_options){ .threads = 1 }, NULL, &err) != RM_OK);
    cr_assert(strstr(err.text, "cell ensemble-token") && strstr(err.text, "but a and b differ"),
              "%s", err.text);
}

Test(runner, a_run_goes_on_only_with_the_model_it_began_with)
{
    rm_random_model other = { .n_layers = 1, .n_embd = 32, .n_heads = 2, .n_ff = 32,
                              .n_vocab = 300, .n_ctx = 256, .weight_type = "f32" };
    char config[1024];
    snprintf(config, sizeof config,
             "{ \"name\": \"x\", \"models\": { \"a\": \"%s\" },"
             " \"tasks\": [{ \"kind\": \"arithmetic\", \"operations\": 3 }], \"problems\": 1,"
             " \"strategies\": [{ \"strategy\": \"greedy\", \"max_new_tokens\": 4 }] }",
             in_scratch("m.gguf"));
    CHECK(rm_model_write_random(&other, in_scratch("m.gguf"), err));
    run(config, "run", (rm_runner_options){ .threads = 1 });
    other.seed = 1;
    CHECK(rm_model_write_random(&other, in_scratch("m.gguf"), err));
    rm_error err = { "" };
    cr_assert(try_run(config, "run", (rm_runner_options){ .threads = 1 }, NULL, &err) ==
              RM_E_ARGUMENT);
    cr_assert(strstr(err.text, "begun with model a") != NULL, "%s", err.text);
}
