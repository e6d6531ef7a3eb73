/* test_remote_run.c - whole experiments on a model behind a server: nothing lost, nothing invented. */
#include "../experiments/run_support.h"

#include "http_server.h"

#include <sqlite3.h>

TestSuite(remote_run, .init = make_scratch, .fini = remove_scratch);

static const char *config_of(const char *url, const char *more, const char *strategies)
{
    static char text[4096];
    snprintf(text, sizeof text,
             "{ \"name\": \"remote\", \"models\": { \"far\": { \"remote\": \"%s\", \"backoff_s\": 0.01,"
             "  \"concurrency\": 8%s }, \"near\": \"thimble-s\" },"
             "  \"tasks\": [{ \"kind\": \"arithmetic\", \"operations\": 2,"
             "    \"prompt\": \"{question}=\", \"answer_rules\": [\"last number\"] }],"
             "  \"problems\": 12, \"generation\": { \"max_new_tokens\": 16 },"
             "  \"strategies\": [ %s ] }", url, more, strategies);
    return text;
}

static rm_status try_run(const char *text, const char *dir, rm_runner_summary *summary, rm_error *err)
{
    rm_config *config = NULL;
    rm_store *store = NULL;
    rm_runner_options options = { .threads = 1 };
    rm_status status = rm_config_parse(in_scratch("config.json"), text, strlen(text), &config, err);
    if (!status)
        status = rm_run_create(config, in_scratch(dir), &store, err);
    if (!status)
        status = rm_runner_run(config, store, &options, summary, err);
    rm_store_close(store);
    rm_config_free(config);
    return status;
}

static int64_t query(const char *dir, const char *sql)
{
    char path[PATH_MAX];
    sqlite3 *db;
    sqlite3_stmt *row;
    snprintf(path, sizeof path, "%s/records.sqlite", in_scratch(dir));
    cr_assert_eq(sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
    cr_assert_eq(sqlite3_prepare_v2(db, sql, -1, &row, NULL), SQLITE_OK, "%s", sqlite3_errmsg(db));
    cr_assert_eq(sqlite3_step(row), SQLITE_ROW);
    int64_t value = sqlite3_column_int64(row, 0);
    sqlite3_finalize(row);
    sqlite3_close(db);
    return value;
}

static const char several[] =
    "{ \"strategy\": \"greedy\", \"models\": [\"far\"] },"
    "{ \"strategy\": \"self-consistency\", \"models\": [\"far\"], \"num_return_sequences\": [2, 5] },"
    "{ \"strategy\": \"ensemble-vote\", \"models\": [[\"far\", \"near\"]], \"num_return_sequences\": 2 }";

/* The same records from a server that is well and from one that fails now and then; every request is
 * answered once, pools are shared, and what the server does not tell is NULL. */
Test(remote_run, a_failing_server_loses_nothing)
{
    char *exported[2];
    for (int turn = 0; turn < 2; turn++) {
        http_server server = { .faults = turn ? "ecj..h.e...c..j.eee....c....h" : NULL };
        char url[64];
        rm_error err = { { 0 } };
        rm_runner_summary summary = { 0 };
        const char *dir = turn ? "failing" : "well";
        http_start(&server, url, sizeof url);
        cr_assert_eq(try_run(config_of(url, "", several), dir, &summary, &err), RM_OK, "%s", err.text);
        http_stop(&server);
        cr_expect_eq(summary.recorded, 4 * 12);
        cr_expect_eq(summary.failed, 0);
        exported[turn] = export_dir(in_scratch(dir));
        /* greedy 1, a pool of 5, the far half of an ensemble of 2 each: 2 */
        cr_expect_eq(server.n_requests - (turn ? 12 : 0), 12 * (1 + 5 + 2), "%d",
                     (int)server.n_requests);
        cr_expect_eq(query(dir, "select count(*) from outcomes where evaluated_tokens is null and"
                                " flops is null and rounds is null"), 4 * 12);
        cr_expect_eq(query(dir, "select count(*) from outcomes where ttft_ms is null"), 2 * 12,
                     "of shared pools, whose cells are charged by a formula");
        cr_expect_eq(query(dir, "select count(*) from candidates where tokens is null and n_tokens = 6"),
                     12 * (1 + 2 + 5 + 2));
        cr_expect_eq(query(dir, "select count(*) from outcomes where generated_tokens is null"), 0);
        cr_expect_eq(query(dir, "select count(*) from v_outcomes where label like '%n=5%' and"
                                " prompt_tokens = 7 and generated_tokens = 30"), 12);
        cr_expect_eq(query(dir, "select count(*) from candidates where lp is null"), 0);
    }
    assert_same_text(exported[0], exported[1], "with and without failures");
    free(exported[0]);
    free(exported[1]);
}

/* A search that forks in the middle of texts goes on from text. */
Test(remote_run, tree_search)
{
    http_server server = { 0 };
    char url[64];
    rm_error err = { { 0 } };
    rm_runner_summary summary = { 0 };
    http_start(&server, url, sizeof url);
    const char *text = config_of(url, "", "{ \"strategy\": \"mcts\", \"models\": [\"far\"],"
                                          " \"simulations\": 4, \"score\": \"agreement\" }");
    cr_assert_eq(try_run(text, "mcts", &summary, &err), RM_OK, "%s", err.text);
    http_stop(&server);
    cr_expect_eq(summary.recorded, 12);
    cr_expect_eq(summary.failed, 0);
    cr_expect_gt(query("mcts", "select count(*) from nodes"), 12);
}

/* A server that is gone ends the run with one sentence; the same command goes on. */
Test(remote_run, an_outage_is_resumed)
{
    http_server server = { .faults = "e", .every = true };
    char url[64];
    rm_error err = { { 0 } };
    rm_runner_summary summary = { 0 };
    http_start(&server, url, sizeof url);
    const char *text = config_of(url, ", \"retries\": 1", "{ \"strategy\": \"greedy\", \"models\": [\"far\"] }");
    cr_expect_eq(try_run(text, "outage", &summary, &err), RM_E_IO);
    cr_expect_not_null(strstr(err.text, "HTTP status 500 (attempt 2 of 2)"), "%s", err.text);
    server.every = false;
    server.faults = NULL;
    summary = (rm_runner_summary){ 0 };
    cr_expect_eq(try_run(text, "outage", &summary, &err), RM_OK, "%s", err.text);
    cr_expect_eq(query("outage", "select count(*) from outcomes"), 12);
    cr_expect_eq(query("outage", "select count(*) from outcomes where error is not null"), 0);
    http_stop(&server);
}

/* A prompt that the server refuses is its outcome's failure and nobody else's. */
Test(remote_run, a_refused_prompt_is_recorded)
{
    http_server server = { .faults = "...b" };
    char url[64];
    rm_error err = { { 0 } };
    rm_runner_summary summary = { 0 };
    http_start(&server, url, sizeof url);
    cr_expect_eq(try_run(config_of(url, "", "{ \"strategy\": \"greedy\", \"models\": [\"far\"] }"), "refused",
                         &summary, &err), RM_OK, "%s", err.text);
    http_stop(&server);
    cr_expect_eq(summary.failed, 1);
    cr_expect_eq(query("refused", "select count(*) from outcomes where error like"
                                  " '%HTTP status 400: the prompt is too long%'"), 1);
    cr_expect_eq(query("refused", "select count(*) from outcomes"), 12);
}

static const struct { const char *more, *strategies, *message; } refusals[] = {
    { "", "{ \"strategy\": \"beam\", \"num_beams\": 2, \"models\": [\"far\"] }",
      "strategy \"beam\" needs the most likely next tokens (of which \"top_logprobs\" says how many a server "
      "lists), and model \"far\", which is behind a server" },
    { ", \"top_logprobs\": 7", "{ \"strategy\": \"beam\", \"num_beams\": 4, \"models\": [\"far\"] }",
      "needs the 8 most likely next tokens at once, and model \"far\", which is behind a server, lists 7" },
    { ", \"endpoint\": \"chat\"", "{ \"strategy\": \"mcts\", \"score\": \"agreement\", \"models\": [\"far\"] }",
      "needs texts that are continued, which chat completions only begin" },
    { ", \"endpoint\": \"chat\", \"top_logprobs\": 5", "{ \"strategy\": \"greedy\", \"models\": [\"far\"] }",
      "top_logprobs cannot be had of chat completions" },
    { ", \"endpoint\": \"responses\"", "{ \"strategy\": \"greedy\", \"models\": [\"far\"] }",
      "is not one of \"completions\", \"chat\"" },
    { "", "{ \"strategy\": \"ensemble-token\", \"models\": [[\"far\", \"near\"]] }",
      "strategy \"ensemble-token\" needs distributions of several models" },
    { ", \"logprobs\": false", "{ \"strategy\": \"best-of-n\", \"models\": [\"far\"] }",
      "strategy \"best-of-n\" needs log-probabilities" },
    { ", \"file\": \"x.gguf\"", "{ \"strategy\": \"greedy\" }", "\"file\", \"compute\", \"kv\" and \"context\" are for" },
    { ", \"concurency\": 3", "{ \"strategy\": \"greedy\" }", "did you mean \"concurrency\"?" },
    { ", \"retries\": -1", "{ \"strategy\": \"greedy\" }", "retries: expected 0 to 100" },
};

/* Refused by name, before anything is sent. */
Test(remote_run, refusals)
{
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
        const char *text = config_of("http://127.0.0.1:9/v1", refusals[i].more, refusals[i].strategies);
        rm_config *config = NULL;
        rm_error err = { { 0 } };
        cr_expect_eq(rm_config_parse("c.json", text, strlen(text), &config, &err), RM_E_ARGUMENT);
        cr_expect_not_null(strstr(err.text, refusals[i].message), "%s", err.text);
        rm_config_free(config);
    }
}

/* One prompt through a server, from the command line; what it does not tell is null and not a number. */
Test(remote_run, generate)
{
    http_server server = { .key = "sk-hidden-7431" };
    char url[64], *out, *message;
    setenv("RM_TEST_KEY", "sk-hidden-7431", 1);
    http_start(&server, url, sizeof url);
    cr_expect_eq(run_program(ARGS("generate", "-m", url, "--api-key-env", "RM_TEST_KEY", "-p", "1+2=", "--json"),
                             &out, &message), 0, "%s", message);
    cr_expect_not_null(strstr(out, "\"generated_tokens\": 6"), "%s", out);
    cr_expect_not_null(strstr(out, "\"rounds\": null"), "%s", out);
    cr_expect_not_null(strstr(out, "\"tokens\": null"), "%s", out);
    free(out);
    free(message);
    cr_expect_neq(run_program(ARGS("generate", "-m", url, "--api-key-env", "RM_TEST_KEY", "-p", "1+2=",
                                   "--strategy", "beam"), &out, &message), 0);
    cr_expect_not_null(strstr(message, "not known to tell them (top_logprobs)"), "%s", message);
    cr_expect_null(strstr(message, "sk-hidden"));
    cr_expect_eq(server.n_requests, 1, "refused before anything is sent");
    http_stop(&server);
    free(out);
    free(message);
}

/* What can be seen of a server's speed: every request is sent as often as said, what it does not tell is
 * null, faults are counted. */
Test(remote_run, bench)
{
    static const struct {
        const char *faults, *generate, *flag;
        int failed, short_answers;
    } rows[] = {
        { NULL, "4", "--one-prompt", 0, 0 },
        { NULL, "9", "--greedy", 0, 6 }, /* its answers end after 6 tokens, the end among them */
        { ".......ej", "4", "--greedy", 2, 0 }, /* 3 to fit the prompt, 3 to warm up */
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        http_server server = { .faults = rows[i].faults };
        char url[64], *out, *message;
        rm_json *json = NULL;
        http_start(&server, url, sizeof url);
        cr_assert_eq(run_program(ARGS("bench", "-m", url, "--batch", "3", "--prompt", "16", "--generate",
                                      rows[i].generate, "--repeats", "2", rows[i].flag, "--json"),
                                 &out, &message), 0, "%s", message);
        http_stop(&server);
        CHECK(rm_json_parse(out, strlen(out), "stdout", 1, 0, &json, err));
        const cJSON *r = cJSON_GetArrayItem(cJSON_GetObjectItem(rm_json_root(json), "results"), 0);
        cr_expect_eq(server.n_requests, 3 + 3 + 2 * 3 + rows[i].failed, "%d", server.n_requests);
        cr_expect_eq(http_member(r, "failed_attempts", -1), rows[i].failed, "%s", out);
        cr_expect_eq(http_member(r, "short_answers", -1), rows[i].short_answers, "%s", out);
        cr_expect_eq(http_member(r, "prompt_tokens", -1), 7, "as the server says");
        cr_expect_eq(http_member(r, "generated_tokens", -1), rows[i].short_answers ? 6 : 4);
        cr_expect_eq(http_member(r, "cached_tokens", -1), 6 * 3);
        cr_expect_gt(cJSON_GetObjectItem(r, "tokens_per_s")->valuedouble, 0);
        cr_expect_gt(cJSON_GetObjectItem(r, "ttft_ms")->valuedouble, 0);
        cr_expect_not_null(strstr(server.last, "\"ignore_eos\":true"), "%s", server.last);
        rm_json_free(json);
        free(out);
        free(message);
    }
}

/* A server that counts nothing gives no rates, and one that is asked what only a model here can be
 * asked is not asked. */
Test(remote_run, bench_of_the_untold)
{
    http_server server = { .faults = "x", .every = true,
                           .raw = "{\"choices\": [{\"text\": \" a\", \"finish_reason\": \"length\"}]}" };
    char url[64], *out, *message;
    http_start(&server, url, sizeof url);
    cr_assert_eq(run_program(ARGS("bench", "-m", url, "--batch", "2", "--repeats", "1", "--no-logprobs"), &out,
                             &message), 0, "%s", message);
    cr_expect_not_null(strstr(message, "how many tokens a prompt has is not told; it has 128 words"), "%s",
                       message);
    cr_expect_not_null(strstr(message, "how many tokens an answer has is not told"), "%s", message);
    cr_expect_eq(server.n_requests, 1 + 2 + 2);
    free(out);
    free(message);
    cr_expect_eq(run_program(ARGS("bench", "-m", url, "--roof"), &out, &message), 2);
    cr_expect_not_null(strstr(message, "--roof is for a model that is computed here"), "%s", message);
    cr_expect_eq(server.n_requests, 5);
    http_stop(&server);
    free(out);
    free(message);
}

/* The key is sent, and lies nowhere. */
Test(remote_run, the_key_is_nowhere)
{
    static const char *const files[] = { "manifest.json", "config.json", "log.txt", "records.sqlite" };
    http_server server = { .key = "sk-hidden-7431" };
    char url[64];
    char *out, *message;
    setenv("RM_TEST_KEY", "sk-hidden-7431", 1);
    http_start(&server, url, sizeof url);
    write_scratch("c.json", config_of(url, ", \"api_key_env\": \"RM_TEST_KEY\"",
                                      "{ \"strategy\": \"greedy\", \"models\": [\"far\"] }"));
    cr_expect_eq(run_program(ARGS("check", in_scratch("c.json")), &out, &message), 0, "%s", message);
    cr_expect_not_null(strstr(out, "a server: records depend on it"), "%s", out);
    cr_expect_eq(server.n_requests, 0);
    free(out);
    free(message);
    cr_expect_eq(run_program(ARGS("run", in_scratch("c.json"), "--out", in_scratch("run")), &out, &message), 0,
                 "%s", message);
    http_stop(&server);
    cr_expect_null(strstr(out, "sk-hidden"));
    cr_expect_null(strstr(message, "sk-hidden"));
    free(out);
    free(message);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char path[PATH_MAX], *text;
        size_t n;
        snprintf(path, sizeof path, "%s/%s", in_scratch("run"), files[i]);
        CHECK(rm_file_read(path, 64 << 20, &text, &n, err));
        cr_expect_null(memmem(text, n, "sk-hidden", 9), "%s", files[i]);
        if (i == 0)
            cr_expect_not_null(strstr(text, "equal_bits_promised"), "%s", text);
        free(text);
    }
}
