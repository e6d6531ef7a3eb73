/* The same bits: every strategy's records are equal, times aside, at any concurrency, thread
 * count and batch limit, and whether or not cells share a pool of samples. */
#include "run_support.h"
#include "tests/judge.h"

TestSuite(run_bits, .init = make_scratch, .fini = remove_scratch);

static const char config_text[] =
    "{ \"name\": \"bits\", \"models\": [\"thimble\", \"thimble-s\", \"thimble-grpo\"],"
    "  \"tasks\": [{ \"kind\": \"arithmetic\", \"operations\": 3 }, { \"kind\": \"countdown\" }],"
    "  \"problems\": 2, \"generation\": { \"max_new_tokens\": 40 },"
    "  \"strategies\": ["
    "    { \"strategy\": \"greedy\", \"models\": [\"thimble\", \"thimble-s\"] },"
    "    { \"strategy\": \"sampling\", \"models\": [\"thimble-s\"], \"num_return_sequences\": 3,"
    "      \"top_k\": 8, \"top_p\": 0.9, \"min_p\": 0.01, \"repetition_penalty\": 1.1 },"
    "    { \"strategy\": \"sampling\", \"models\": [\"thimble-s\"], \"typical_p\": 0.9,"
    "      \"independent\": true, \"label\": \"alone\" },"
    "    { \"strategy\": \"beam\", \"models\": [\"thimble-s\"], \"num_beams\": [2, 4] },"
    "    { \"strategy\": \"beam\", \"models\": [\"thimble-s\"], \"num_beams\": 4,"
    "      \"num_beam_groups\": 2, \"diversity_penalty\": 0.5, \"early_stopping\": \"never\","
    "      \"length_penalty\": 0, \"repetition_penalty\": 1.1, \"label\": \"diverse\" },"
    "    { \"strategy\": \"best-of-n\", \"models\": [\"thimble\"],"
    "      \"num_return_sequences\": [2, 5] },"
    "    { \"strategy\": \"mbr\", \"models\": [\"thimble\"], \"num_return_sequences\": 4,"
    "      \"utility\": \"chrf\" },"
    "    { \"strategy\": \"self-consistency\", \"models\": [\"thimble\"],"
    "      \"num_return_sequences\": [1, 4, 6], \"weight\": [\"majority\", \"mean_prob\"] },"
    "    { \"strategy\": \"adaptive-consistency\", \"models\": [\"thimble-s\"] },"
    "    { \"strategy\": \"ensemble-vote\", \"models\": [[\"thimble\", \"thimble-s\"]],"
    "      \"num_return_sequences\": 2 },"
    "    { \"strategy\": \"ensemble-token\", \"models\": [[\"thimble\", \"thimble-grpo\"]],"
    "      \"combine\": [\"mixture\", \"product\"] },"
    "    { \"strategy\": \"ensemble-token\", \"models\": [[\"thimble\", \"thimble-grpo\"]],"
    "      \"num_beams\": 3, \"num_return_sequences\": 2, \"weights\": [0.75, 0.25],"
    "      \"label\": \"beams of two\" },"
    "    { \"strategy\": \"ensemble-token\", \"models\": [[\"thimble\", \"thimble-grpo\"]],"
    "      \"combine\": \"product\", \"do_sample\": true, \"num_return_sequences\": 2,"
    "      \"label\": \"draws of two\" },"
    "    { \"strategy\": \"budget-forcing\", \"models\": [\"thimble-s\"], \"tasks\": [\"countdown\"],"
    "      \"max_tokens_thinking\": [12, 30], \"thinking_n_ignore\": 2, \"do_sample\": true },"
    "    { \"strategy\": \"step-beam\", \"models\": [\"thimble-s\"], \"num_beams\": 4, \"beam_width\": 2,"
    "      \"search\": [\"beam\", \"dvts\"] },"
    "    { \"strategy\": \"mcts\", \"models\": [\"thimble-s\"], \"simulations\": 6,"
    "      \"score\": [\"lp\", \"agreement\"] },"
    "    { \"strategy\": \"mcts\", \"models\": [\"thimble-s\"], \"simulations\": 4,"
    "      \"score\": \"verifier\", \"tasks\": [\"countdown\"] },"
    "    { \"strategy\": \"mcts\", \"models\": [\"thimble-s\"], \"simulations\": 4,"
    "      \"selection\": \"uct\", \"parallel\": 1, \"label\": \"uct\" },"
    "    { \"strategy\": \"mcts\", \"models\": [\"thimble-s\"], \"simulations\": 8,"
    "      \"evaluate\": [\"prefix\", \"mix\"], \"answer\": \"vote\", \"parallel\": 8,"
    "      \"noise_epsilon\": 0.25, \"label\": \"judged by prefixes\" } ] }";

/* Runs a configuration in which nothing fails. */
static char *records_of_text(const char *text, const char *dir, rm_runner_options options)
{
    rm_config *config;
    rm_store *store;
    rm_runner_summary summary;
    CHECK(rm_config_parse(in_scratch("config.json"), text, strlen(text), &config, err));
    CHECK(rm_run_create(config, in_scratch(dir), &store, err));
    CHECK(rm_runner_run(config, store, &options, &summary, err));
    cr_assert(summary.failed == 0, "%s", summary.first_failure.text);
    cr_assert(summary.recorded == summary.planned && summary.planned > 0);
    char *records = export_text(store);
    rm_store_close(store);
    rm_config_free(config);
    return records;
}

/* `kv_mib` above 0: a pool of this size. */
static char *records_of(const char *dir, rm_runner_options options, int kv_mib)
{
    char text[sizeof config_text + 64];
    snprintf(text, sizeof text, "{ \"engine\": { \"kv_mib\": %d },%s", kv_mib ? kv_mib : 1024,
             config_text + 1);
    return records_of_text(text, dir, options);
}

/* Every strategy there is must take part. */
static void assert_complete(const char *records)
{
    for (const rm_strategy *const *s = rm_strategies(); *s; s++) {
        char wanted[96];
        snprintf(wanted, sizeof wanted, "\"strategy\":\"%s\"", (*s)->name);
        cr_assert(strstr(records, wanted) != NULL, "%s is not tested", (*s)->name);
    }
}

static const struct variant {
    const char *what;
    rm_runner_options options;
    int kv_mib;
} variants[] = {
    { "concurrency 1", { .concurrency = 1, .threads = 2 }, 0 },
    { "concurrency 7, batches of 24 rows",
      { .concurrency = 7, .threads = 2, .max_batch_rows = 24 },
      0 },
    { "one thread", { .concurrency = 64, .threads = 1 }, 0 },
    { "no shared pools, batches of 16 rows",
      { .concurrency = 64, .threads = 2, .max_batch_rows = 16, .no_sharing = true }, 0 },
    { "a pool in which problems are suspended", { .concurrency = 64, .threads = 2 }, 12 },
};

/* A pool that holds one problem's quota (the search's: (60 + 4) paths of 79 positions of 4 KiB, and
 * the prompt) and far from all of them, and one that holds all. */
Test(run_bits, records_do_not_depend_on_the_pool)
{
    static const char text[] =
        "{ \"models\": [\"thimble-s\"], \"tasks\": [{ \"kind\": \"arithmetic\" }], \"problems\": 3,"
        "  \"engine\": { \"kv_mib\": %d }, \"generation\": { \"max_new_tokens\": 80 },"
        "  \"strategies\": ["
        "    { \"strategy\": \"self-consistency\", \"num_return_sequences\": 48 },"
        "    { \"strategy\": \"self-consistency\", \"num_return_sequences\": 32, \"top_k\": 9 },"
        "    { \"strategy\": \"beam\", \"num_beams\": 24 },"
        "    { \"strategy\": \"mcts\", \"simulations\": 15 } ] }";
    char *got[2];
    for (int i = 0; i < 2; i++) {
        char config_of_size[1024], dir[16];
        snprintf(config_of_size, sizeof config_of_size, text, i ? 512 : 21);
        snprintf(dir, sizeof dir, "pool%d", i);
        got[i] = records_of_text(config_of_size, dir,
                                 (rm_runner_options){ .concurrency = 64, .threads = 2 });
    }
    assert_same_text(got[1], got[0], "a small pool");
    cr_assert(strstr(got[0], "\"kv_bytes\":") && strstr(got[0], "\"rounds\":"));
    free(got[0]);
    free(got[1]);
}

/* The same of strategies that a reward model judges for, each with its own cache beside the
 * drawing model's. The largest quota is the search's: 44 paths of 79 positions and 16 readings of
 * prompt and 80 tokens, of 4 KiB each. */
Test(run_bits, judged_records_do_not_depend_on_the_pool)
{
    static const char text[] =
        "{ \"models\": { \"s\": \"thimble-s\", \"judge\": \"judge.gguf\" },"
        "  \"tasks\": [{ \"kind\": \"arithmetic\" }], \"problems\": 4,"
        "  \"engine\": { \"kv_mib\": %d }, \"generation\": { \"max_new_tokens\": 80 },"
        "  \"strategies\": ["
        "    { \"strategy\": \"best-of-n\", \"models\": [[\"s\", \"judge\"]],"
        "      \"score\": \"value\", \"num_return_sequences\": [8, 20] },"
        "    { \"strategy\": \"self-consistency\", \"models\": [[\"s\", \"judge\"]],"
        "      \"weight\": \"value\", \"num_return_sequences\": 20 },"
        "    { \"strategy\": \"step-beam\", \"models\": [[\"s\", \"judge\"]],"
        "      \"score\": \"value\", \"num_beams\": 16 },"
        "    { \"strategy\": \"mcts\", \"models\": [[\"s\", \"judge\"]], \"score\": \"value\","
        "      \"evaluate\": [\"prefix\", \"mix\"], \"simulations\": 10 } ] }";
    rm_engine *engine;
    CHECK(rm_engine_open(&(rm_engine_options){ .n_threads = 1 }, &engine, err));
    write_judge(engine, RM_MODELS_DIR "/thimble-s.gguf", in_scratch("judge.gguf"));
    rm_engine_close(engine);
    char *got[2];
    for (int i = 0; i < 2; i++) {
        char config_of_size[1024], dir[16];
        snprintf(config_of_size, sizeof config_of_size, text, i ? 512 : 21);
        snprintf(dir, sizeof dir, "judged%d", i);
        got[i] = records_of_text(config_of_size, dir,
                                 (rm_runner_options){ .concurrency = 64, .threads = 2 });
    }
    assert_same_text(got[1], got[0], "a small pool");
    free(got[0]);
    free(got[1]);
}

Test(run_bits, records_do_not_depend_on_what_runs_beside_them)
{
    char *wanted = records_of("reference", (rm_runner_options){ .concurrency = 64, .threads = 2 },
                              0);
    assert_complete(wanted);
    for (size_t i = 0; i < sizeof variants / sizeof *variants; i++) {
        char dir[32];
        snprintf(dir, sizeof dir, "variant%zu", i);
        char *got = records_of(dir, variants[i].options, variants[i].kv_mib);
        assert_same_text(wanted, got, variants[i].what);
        free(got);
    }
    free(wanted);
}
