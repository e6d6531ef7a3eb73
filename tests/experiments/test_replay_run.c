/* ramify replay: the recorded run again, at another model's cost. */
#include "run_support.h"

#include <sqlite3.h>

TestSuite(replay_run, .init = make_scratch, .fini = remove_scratch);

static const char config[] =
    "// a comment {\n"
    "{ \"name\": \"replay\", \"models\": [\"thimble-s\"],\n"
    "  \"tasks\": [{ \"kind\": \"countdown\" }], \"problems\": 3, \"seeds\": [18446744073709551615],\n"
    "  \"generation\": { \"max_new_tokens\": 24 },\n"
    "  \"strategies\": [ { \"strategy\": \"greedy\" }, { \"strategy\": \"beam\", \"num_beams\": 3 },\n"
    "    { \"strategy\": \"mcts\", \"simulations\": 4 } ] }";

static int ramify(const char *const *words)
{
    return run_program(words, NULL, NULL);
}

static bool said(const char *what)
{
    char *message = read_scratch("stderr");
    bool found = strstr(message, what) != NULL;
    if (!found)
        cr_log_error("%s", message);
    free(message);
    return found;
}

static double flops_of(const char *dir)
{
    rm_store *store;
    sqlite3_stmt *row;
    CHECK(rm_store_open(in_scratch(dir), false, &store, err));
    cr_assert_eq(sqlite3_prepare_v2(rm_store_database(store), "SELECT sum(flops) FROM outcomes", -1,
                                    &row, NULL), SQLITE_OK);
    cr_assert_eq(sqlite3_step(row), SQLITE_ROW);
    double flops = sqlite3_column_double(row, 0);
    sqlite3_finalize(row);
    rm_store_close(store);
    return flops;
}

Test(replay_run, has_the_tokens_of_the_run_and_the_costs_of_the_model)
{
    const char *file = write_scratch("config.json", config);
    cr_assert_eq(ramify(ARGS("run", file, "--out", in_scratch("run"), "--quiet")), 0);
    cr_assert_eq(ramify(ARGS("replay", in_scratch("run"), "--on", "thimble", "--out",
                             in_scratch("again"))), 0);
    cr_expect(said("candidates are those of"));
    cr_expect(flops_of("again") > 2 * flops_of("run")); /* 2.7 million parameters for 0.8 */
    cr_assert_eq(ramify(ARGS("analyze", in_scratch("again"))), 0);
    char *table = read_scratch("stdout");
    cr_expect_not_null(strstr(table, "replayed on thimble.gguf (2.66 M parameters, f16)"), "%s",
                       table);
    free(table);

    cr_expect_eq(ramify(ARGS("replay", in_scratch("again"), "--on", "thimble", "--out",
                             in_scratch("third"))), 1);
    cr_expect(said("is itself a replay"));

    /* A run made otherwise is found out. */
    rm_store *store;
    CHECK(rm_store_open(in_scratch("run"), true, &store, err));
    cr_assert_eq(sqlite3_exec(rm_store_database(store), "UPDATE candidates SET tokens = x'05000000'"
                              " WHERE outcome = 1 AND k = 0", NULL, NULL, NULL), SQLITE_OK);
    CHECK(rm_store_commit(store, err));
    rm_store_close(store);
    cr_expect_eq(ramify(ARGS("replay", in_scratch("run"), "--on", "thimble", "--out",
                             in_scratch("again"))), 1);
    cr_expect(said("1 of "));
}

Test(replay_run, wants_both_names)
{
    cr_expect_eq(ramify(ARGS("replay", in_scratch("none"), "--out", in_scratch("x"))), 2);
    cr_expect_eq(ramify(ARGS("replay", in_scratch("none"), "--on", "thimble")), 2);
    cr_expect_eq(ramify(ARGS("replay", in_scratch("none"), "--on", "thimble", "--out",
                             in_scratch("x"))), 1);
    cr_expect(said("is not a run directory"));
}
