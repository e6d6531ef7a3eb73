/* The same bits: every strategy's records are equal, times aside, at any concurrency, thread
 * count and batch limit, and whether or not cells share a pool of samples. */
#include "run_support.h"

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
    "    { \"strategy\": \"best-of-n\", \"models\": [\"thimble\"], \"num_return_sequences\": [2, 5] },"
    "    { \"strategy\": \"self-consistency\", \"models\": [\"thimble\"],"
    "      \"num_return_sequences\": [1, 4, 6], \"weight\": [\"majority\", \"mean_prob\"] },"
    "    { \"strategy\": \"adaptive-consistency\", \"models\": [\"thimble-s\"] },"
    "    { \"strategy\": \"ensemble-vote\", \"models\": [[\"thimble\", \"thimble-s\"]],"
    "      \"num_return_sequences\": 2 },"
    "    { \"strategy\": \"ensemble-token\", \"models\": [[\"thimble\", \"thimble-grpo\"]],"
    "      \"combine\": [\"mixture\", \"product\"] },"
    "    { \"strategy\": \"mcts\", \"models\": [\"thimble-s\"], \"simulations\": 6,"
    "      \"score\": [\"lp\", \"agreement\"] },"
    "    { \"strategy\": \"mcts\", \"models\": [\"thimble-s\"], \"simulations\": 4,"
    "      \"score\": \"verifier\", \"tasks\": [\"countdown\"] },"
    "    { \"strategy\": \"mcts\", \"models\": [\"thimble-s\"], \"simulations\": 4,"
    "      \"selection\": \"uct\", \"label\": \"uct\" } ] }";

static char *records_of(const char *dir, rm_runner_options options)
{
    rm_config *config;
    rm_store *store;
    rm_runner_summary summary;
    CHECK(rm_config_parse(in_scratch("config.json"), config_text, sizeof config_text - 1, &config,
                          err));
    CHECK(rm_run_create(config, in_scratch(dir), &store, err));
    CHECK(rm_runner_run(config, store, &options, &summary, err));
    cr_assert(summary.failed == 0, "%s", summary.first_failure.text);
    cr_assert(summary.recorded == summary.planned && summary.planned > 0);
    char *text = export_text(store);
    rm_store_close(store);
    rm_config_free(config);
    return text;
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
} variants[] = {
    { "concurrency 1", { .concurrency = 1, .threads = 2 } },
    { "concurrency 7, batches of 24 rows", { .concurrency = 7, .threads = 2, .max_batch_rows = 24 } },
    { "one thread", { .concurrency = 64, .threads = 1 } },
    { "no shared pools, batches of 16 rows",
      { .concurrency = 64, .threads = 2, .max_batch_rows = 16, .no_sharing = true } },
};

Test(run_bits, records_do_not_depend_on_what_runs_beside_them)
{
    char *wanted = records_of("reference", (rm_runner_options){ .concurrency = 64, .threads = 2 });
    assert_complete(wanted);
    for (size_t i = 0; i < sizeof variants / sizeof *variants; i++) {
        char dir[32];
        snprintf(dir, sizeof dir, "variant%zu", i);
        char *got = records_of(dir, variants[i].options);
        assert_same_text(wanted, got, variants[i].what);
        free(got);
    }
    free(wanted);
}
