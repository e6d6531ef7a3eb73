/* test_long_runs.c - thousands of tokens a problem: killed in the middle of one, and drawn group by group
 * where a pool does not hold all paths at once. */
#include "run_support.h"

#include <signal.h>
#include <sqlite3.h>
#include <time.h>

TestSuite(long_runs, .init = make_scratch, .fini = remove_scratch);

enum { TOKENS = 3000 };

/* Random weights at a low temperature run in circles: few paths end before the limit. */
static void make_model(void)
{
    rm_random_model m = { .n_layers = 2, .n_embd = 32, .n_heads = 2, .n_ff = 64, .n_vocab = 2048,
                          .n_ctx = 8192, .weight_type = "f32" };
    rm_error err = { "" };
    cr_assert_eq(rm_model_write_random(&m, in_scratch("tiny.gguf"), &err), RM_OK, "%s", err.text);
}

static const char *write_config(const char *name, const char *more)
{
    char text[PATH_MAX + 1024], model[PATH_MAX];
    snprintf(model, sizeof model, "%s", in_scratch("tiny.gguf"));
    snprintf(text, sizeof text,
             "{ \"name\": \"long\", \"models\": { \"tiny\": \"%s\" }, %s"
             "  \"tasks\": [{ \"kind\": \"arithmetic\", \"operations\": 3 }], \"problems\": 1,"
             "  \"generation\": { \"max_new_tokens\": %d, \"temperature\": 0.05 },"
             "  \"strategies\": [ { \"strategy\": \"self-consistency\", \"num_return_sequences\": [2, 4] } ] }",
             model, more, (int)TOKENS);
    return write_scratch(name, text);
}

/* The first value of a query; -1 if the records are not there yet, or not readable now. */
static int64_t ask(const char *dir, const char *sql)
{
    char path[PATH_MAX + 32];
    sqlite3 *db = NULL;
    sqlite3_stmt *row = NULL;
    int64_t value = -1;
    snprintf(path, sizeof path, "%s/records.sqlite", dir);
    if (sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, NULL) == SQLITE_OK &&
        sqlite3_prepare_v2(db, sql, -1, &row, NULL) == SQLITE_OK && sqlite3_step(row) == SQLITE_ROW)
        value = sqlite3_column_int64(row, 0);
    sqlite3_finalize(row);
    sqlite3_close(db);
    return value;
}

static pid_t start(const char *file, const char *dir, const char *keep)
{
    return start_program(ARGS("run", file, "--out", dir, "--quiet", "--threads", "1", "--keep-every", keep),
                         in_scratch("stdout"), in_scratch("stderr"));
}

/* Killed after something was kept, twice, the run ends with the records of one that was not: texts, tokens,
 * log-probabilities, and the account (an export holds them all). */
Test(long_runs, killed_inside_a_problem)
{
    struct timespec nap = { 0, 5000000 };
    char whole[PATH_MAX + 16], killed[PATH_MAX + 16], journals[40];
    make_model();
    const char *file = write_config("config.json", "");
    snprintf(whole, sizeof whole, "%s", in_scratch("whole"));
    snprintf(killed, sizeof killed, "%s", in_scratch("killed"));
    cr_assert_eq(wait_program(start(file, whole, "0")), 0);
    int64_t kept = 0;
    for (int kills = 0; kills < 2; kills++) {
        pid_t pid = start(file, killed, "0.01");
        int status = 1;
        for (int64_t now = 0; now <= kept && waitpid(pid, &status, WNOHANG) == 0; nanosleep(&nap, NULL))
            now = ask(killed, "select sum(length(data)) from journals");
        if (status != 1)
            break; /* it was faster */
        kill(pid, SIGKILL);
        cr_assert_eq(wait_program(pid), -SIGKILL);
        cr_assert_eq(ask(killed, "select count(*) from outcomes"), 0);
        kept = ask(killed, "select sum(length(data)) from journals");
    }
    cr_assert_gt(kept, 1000, "nothing was kept before the end");
    cr_assert_eq(wait_program(start(file, killed, "10")), 0);
    cr_expect_eq(ask(killed, "select count(*) from journals"), 0, "what was kept is no longer needed");
    char *a = export_dir(whole), *b = export_dir(killed);
    assert_same_text(a, b, "after SIGKILL inside a problem");
    free(a);
    free(b);
    snprintf(journals, sizeof journals, "select sum(rounds) from outcomes");
    cr_expect_eq(ask(whole, journals), ask(killed, journals));
}

/* A pool that holds two of four paths: the others wait, the texts are the same, and a limit that is
 * reached is a truncation. */
Test(long_runs, more_paths_than_the_pool_holds)
{
    char whole[PATH_MAX + 16], small[PATH_MAX + 16], *out, *message;
    make_model();
    const char *file = write_config("config.json", "");
    snprintf(whole, sizeof whole, "%s", in_scratch("whole"));
    cr_assert_eq(wait_program(start(file, whole, "0")), 0);
    int refused = run_program(ARGS("run", file, "--out", in_scratch("refused"), "--kv-mib", "4"), &out, &message);
    cr_expect_neq(refused, 0);
    cr_expect_not_null(strstr(message, "state a smaller quota with limits.kv_quota_mib"), "%s", message);
    free(out);
    free(message);
    file = write_config("small.json", "\"limits\": { \"kv_quota_mib\": 4 }, \"engine\": { \"kv_mib\": 4 },");
    snprintf(small, sizeof small, "%s", in_scratch("small"));
    cr_assert_eq(wait_program(start(file, small, "0")), 0);
    cr_expect_eq(ask(small, "select count(*) from outcomes where error is null and not cut_short"), 2);
    static const char texts[] = "select sum(length(text) * 31 + n_tokens * 7 + k) from candidates";
    cr_expect_eq(ask(small, texts), ask(whole, texts));
    cr_expect_leq(ask(small, "select max(kv_peak_positions) from outcomes") * 512, 4 << 20);
    cr_expect_gt(ask(whole, "select max(kv_peak_positions) from outcomes") * 512, 4 << 20);
    cr_expect_gt(ask(small, "select count(*) from candidates where reason = 'length' and truncated and"
                            " n_tokens = 3000"), 0);
}
