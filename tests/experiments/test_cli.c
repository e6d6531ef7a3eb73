/* The program itself: exit status, what goes to stdout, what to stderr. */
#include "run_support.h"

#include "base/json.h"

#include <sqlite3.h>
#include <math.h>
#include <sys/resource.h>

TestSuite(cli, .init = make_scratch, .fini = remove_scratch);

/* "@" in front of an argument stands for the scratch directory. */
static const struct command {
    int status;
    const char *args[10];
    const char *out, *message; /* NULL: nothing at all; "": anything; else it holds this */
} commands[] = {
    { 0, { "--version" }, "ramify 0.", NULL },
    { 0, { "--help" }, "generate", NULL },
    { 0, { "run", "--help" }, "Example\n", NULL },
    { 2, { "anlyze" }, NULL, "did you mean analyze?" },
    { 2, { "run", "--probems", "3", "x" }, NULL, "did you mean --problems?" },
    { 2, { "export" }, NULL, "export: DIR is missing" },
    { 2, { "run", "a", "b" }, NULL, "one argument too many: b" },
    { 2, { "run", "a", "--out", "@run", "--problems", "none" }, NULL, "--problems takes" },
    { 1, { "check", "@none.json" }, NULL, "none.json" },
    { 1, { "analyze", "@none" }, NULL, "not a run directory" },
    { 1, { "resume", "@none" }, NULL, "not a run directory" },
    { 2, { "export", "@none", "--format", "xml" }, NULL, "one of jsonl, csv, not xml" },
    { 1, { "generate", "-m", "thimbel", "-p", "1" }, NULL, "did you mean thimble?" },
    { 2, { "generate", "-m", "thimble", "-p", "1", "--strategy", "bem" }, NULL, "beam" },
    { 2,
      { "generate", "-m", "thimble", "-p", "1", "-s", "beam", "--num-bems", "2" },
      NULL,
      "num_beams" },
    { 2, { "generate", "-m", "thimble" }, NULL, "-p TEXT" },
    { 0, { "strategies" }, "self-consistency", NULL },
    { 0, { "strategies", "beam" }, "num_beams", NULL },
    { 2, { "strategies", "beem" }, NULL, "beam" },
    { 0, { "tasks", "countdown" }, "target", NULL },
    { 2, { "tasks", "chess" }, NULL, "no kind of task" },
    { 2, { "tasks", "countdwn" }, NULL, "no kind of task 'countdwn'; the nearest is 'countdown'" },
    { 0, { "models" }, "thimble-s", "" },
    { 0, { "models", "thimble" }, "6 layers", NULL },
    /* The vocabulary: engine/models, <bos> 0, <think> 2, digits from 4 (see the models' README). */
    { 0, { "models", "thimble", "--tokenize", "1+2=<think>" }, "0 5 14 6 20 2\n", NULL },
    { 0, { "models", "thimble", "--tokenize", "1+2=", "--no-special" }, "5 14 6 20\n", NULL },
};

static bool fits(const char *wanted, const char *got)
{
    return wanted ? strstr(got, wanted) != NULL : got[0] == '\0';
}

/* "@name" becomes the path in the scratch directory. */
static void scratch_arguments(const char *const *given, int most, const char **args)
{
    int n = 0;
    for (; n < most && given[n]; n++)
        args[n] = given[n][0] == '@' ? in_scratch(given[n] + 1) : given[n];
    args[n] = NULL;
}

Test(cli, commands)
{
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        const struct command *c = &commands[i];
        const char *args[12];
        char *out, *message;
        scratch_arguments(c->args, 10, args);
        int status = run_program(args, &out, &message);
        cr_assert(status == c->status && fits(c->out, out) && fits(c->message, message),
                  "ramify %s %s: status %d\nstdout: %s\nstderr: %s", args[0],
                  args[1] ? args[1] : "", status, out, message);
        free(out);
        free(message);
    }
}

/* A quota that the engine cannot hold is refused before a directory is made; a smaller one that is
 * stated is a remedy, a larger pool another. */
Test(cli, a_quota_must_fit_into_the_engine)
{
    static const struct {
        const char *limits;
        int kv_mib, status;
        const char *message;
    } table[] = {
        { "", 16, 1, "cell beam 64 may hold up to 25 MiB of keys and values on one problem" },
        { "", 26, 0, "" },
        { "\"limits\": { \"kv_quota_mib\": 8 },", 16, 0, "" },
        { "\"limits\": { \"kv_quota_mib\": 20 },", 16, 1,
          "limits.kv_quota_mib gives a problem 20 MiB of keys and values, but the engine has 16" },
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        char text[512], dir[16], *out, *message;
        snprintf(text, sizeof text,
                 "{ \"models\": [\"thimble-s\"], \"tasks\": [{ \"kind\": \"arithmetic\" }], %s"
                 "  \"problems\": 1, \"engine\": { \"kv_mib\": %d }, \"strategies\": ["
                 "  { \"strategy\": \"beam\", \"num_beams\": 64, \"max_new_tokens\": 100 } ] }",
                 table[i].limits, table[i].kv_mib);
        snprintf(dir, sizeof dir, "quota%zu", i);
        const char *config = write_scratch("quota.json", text);
        cr_assert(run_program(ARGS("check", config), &out, &message) == table[i].status, "%s",
                  message);
        cr_expect(strstr(message, table[i].message), "%s", message);
        free(out);
        free(message);
        cr_assert(run_program(ARGS("run", config, "--out", in_scratch(dir)), &out, &message) ==
                      table[i].status, "%s", message);
        cr_expect(strstr(message, table[i].message), "%s", message);
        cr_expect((access(in_scratch(dir), F_OK) == 0) == (table[i].status == 0), "%s", dir);
        free(out);
        free(message);
    }
    char *out, *message;
    cr_assert(run_program(ARGS("generate", "-m", "thimble-s", "-p", "1+2=", "-s", "beam",
                               "--num-beams", "64", "--max-new-tokens", "100", "--kv-mib", "16"),
                          &out, &message) == 1);
    cr_expect(strstr(message, "beam may hold up to 25 MiB"), "%s", message);
    cr_expect(strstr(message, "raise --kv-mib, or state a smaller quota with --kv-quota-mib"));
    free(out);
    free(message);
    cr_assert(run_program(ARGS("generate", "-m", "thimble-s", "-p", "1+2=", "-s", "beam",
                               "--num-beams", "64", "--max-new-tokens", "100", "--kv-mib", "16",
                               "--kv-quota-mib", "15"), &out, &message) == 0, "%s", message);
    free(out);
    free(message);
}

Test(cli, every_command_has_help_with_an_example)
{
    static const char *const names[] = { "run",    "resume", "check",  "generate", "bench",
                                         "analyze", "plot",  "report", "tree",     "models",
                                         "tasks",  "strategies", "export", "import", "regrade",
                                         "train" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char *out, *message, example[64];
        cr_assert(run_program(ARGS(names[i], "--help"), &out, &message) == 0);
        snprintf(example, sizeof example, "Example\n  ramify %s", names[i]);
        cr_assert(strstr(out, example) != NULL, "%s", out);
        free(out);
        free(message);
    }
}

Test(cli, raw_generation_is_the_text_and_nothing_else)
{
    char *out, *message;
    /* The worked example of the models' README; any correct order of steps ends in 74. */
    cr_assert(run_program(ARGS("generate", "-m", "thimble", "-p", "(17+5)*(9-4)-36=<think>",
                               "--strategy", "greedy", "--max-new-tokens", "80", "--raw"),
                          &out, &message) == 0);
    cr_assert(message[0] == '\0', "%s", message);
    cr_assert(strlen(out) > 12 && strcmp(out + strlen(out) - 10, "</think>74") == 0, "%s", out);
    free(out);
    free(message);
}

static double number_at(const cJSON *item, const char *key)
{
    const cJSON *value = cJSON_GetObjectItemCaseSensitive(item, key);
    cr_assert(cJSON_IsNumber(value), "%s is no number", key);
    return value->valuedouble;
}

Test(cli, generate_json_holds_the_candidates)
{
    char *out;
    rm_json *json;
    cr_assert(run_program(ARGS("generate", "-m", "thimble-s", "-p", "1+2=<think>", "--strategy",
                               "self-consistency", "--num_return_sequences", "3", "--seed", "5",
                               "--json"), &out, NULL) == 0);
    CHECK(rm_json_parse(out, strlen(out), "stdout", 1, 0, &json, err));
    const cJSON *root = rm_json_root(json);
    cr_assert(cJSON_GetArraySize(cJSON_GetObjectItemCaseSensitive(root, "candidates")) == 3);
    cr_assert(number_at(root, "seed") == 5);
    cr_assert(number_at(cJSON_GetObjectItemCaseSensitive(root, "cost"), "generated_tokens") > 0);
    rm_json_free(json);
    free(out);
}

Test(cli, bench_json)
{
    char *out;
    rm_json *json;
    cr_assert(run_program(ARGS("models", in_scratch("r.gguf"), "--random", "--layers", "1",
                               "--embd", "64", "--heads", "2", "--ff", "64", "--vocab", "300"),
                          NULL, NULL) == 0);
    cr_assert(run_program(ARGS("bench", "-m", in_scratch("r.gguf"), "--batch", "1,3", "--prompt",
                               "8", "--generate", "4", "--threads", "1", "--repeats", "2",
                               "--json"), &out, NULL) == 0);
    CHECK(rm_json_parse(out, strlen(out), "stdout", 1, 0, &json, err));
    const cJSON *results = cJSON_GetObjectItemCaseSensitive(rm_json_root(json), "results"), *r;
    cr_assert(cJSON_GetArraySize(results) == 2);
    cJSON_ArrayForEach(r, results)
    {
        cr_assert(number_at(r, "decode_tokens_per_s") > 0);
        cr_assert(number_at(r, "prefill_tokens_per_s") > 0);
    }
    rm_json_free(json);
    free(out);
}

static const struct slip {
    const char *args[8], *sentence;
    int status;
} slips[] = {
    { { "generate", "-m", "thimble-s", "-p", "1", "--sed", "3" }, "did you mean --seed?", 2 },
    { { "generate", "-m", "thimble-s", "-p", "1", "--top-kk", "3" }, "has no parameter 'top_kk'",
      2 },
    { { "generate", "-m", "thimbl", "-p", "1" }, "did you mean thimble?", 1 },
    { { "generate", "-m", "thimble-s" }, "-f - reads standard input", 2 },
    { { "generate", "-m", "thimble-s", "-p", "1", "--strategy", "beem" }, "'beam'", 2 },
    { { "run", "x.json" }, "--out DIR is missing", 2 },
    { { "run" }, "CONFIG --out DIR is missing", 2 },
    { { "run", "x.json", "--out", "x", "--isa", "sse" }, "one of avx512-bf16, avx512", 2 },
    { { "run", "x.json", "--out", "x", "--kv-mib", "0" }, "--kv-mib takes a number from 1", 2 },
    { { "resume", "x", "--mode", "fast" }, "one of all, throughput, latency, not fast", 2 },
    { { "check" }, "check: CONFIG is missing", 2 },
    { { "check", "none.json", "--problems", "0" }, "--problems takes", 2 },
    { { "bench" }, "-m MODEL is missing", 2 },
    { { "bench", "-m", "thimble-s", "--batch", "1,x" }, "--batch takes up to", 2 },
    { { "bench", "-m", "thimble-s", "--compute", "q7" }, "one of f32, bf16, q8, not q7", 2 },
    { { "import", "x.jsonl" }, "--out DIR is missing", 2 },
    { { "plot", "x" }, "--out DIR is missing", 2 },
    { { "plot", "x", "--figure", "overvew", "--out", "x.pdf" }, "did you mean \"overview\"?", 2 },
    { { "analyze", "x", "--direction", "up" }, "one of none, higher, lower, equal, not up", 2 },
    { { "report", "x", "--level", "2" }, "--level takes", 2 },
    { { "analyze", "x", "--compare", "a" }, "is not a run directory", 1 },
    { { "tree", "x", "--depth", "0" }, "--depth takes", 2 },
    { { "regrade" }, "regrade: DIR is missing", 2 },
    { { "export", "x", "y" }, "one argument too many: y", 2 },
    { { "models", "--random" }, "--random needs", 2 },
    { { "models", "--tokenize", "1" }, "--tokenize needs a MODEL", 2 },
    { { "models", "x.gguf", "--random", "--type", "q9" }, "one of f32, f16, bf16, q8_0", 2 },
    { { "models", "/dev/null", "--random", "--layers", "1" }, "not a regular file", 1 },
    { { "generate", "-m", "thimble-s", "-p", "1", "--kv-mib", "x" }, "--kv-mib takes", 2 },
    { { "generate", "-m", "thimble-s", "-p", "1", "--num-beams", "2" }, "no parameter", 2 },
    { { "generate", "-m", "thimble-s", "-p", "1", "-s", "ensemble-vote" }, "takes 2 to 8", 2 },
    { { "generate", "-p", "1" }, "-m MODEL is missing", 2 },
    { { "run", "x.json", "--problem", "3" }, "did you mean --problems?", 2 },
    { { "analyze", "--basline", "x" }, "did you mean --baseline?", 2 },
    { { "analize" }, "did you mean analyze?", 2 },
};

Test(cli, slips_get_a_sentence)
{
    for (size_t i = 0; i < sizeof slips / sizeof *slips; i++) {
        char *out, *message;
        int status = run_program(slips[i].args, &out, &message);
        cr_expect(status == slips[i].status, "%s: %d", slips[i].sentence, status);
        cr_expect(strstr(message, slips[i].sentence) != NULL, "%s: %s", slips[i].sentence, message);
        cr_expect(out[0] == '\0' && count_lines(message) == 1, "one sentence: %s", message);
        free(out);
        free(message);
    }
}

/* A full disk and a place that cannot be written: one sentence, status 1. */
static const struct unwritable {
    const char *args[8], *sentence;
} unwritable[] = {
    { { "export", "@run", "--out", "/dev/full" }, "No space left" },
    { { "export", "@run", "--out", "@tree.json/x" }, "cannot create" },
    { { "plot", "@run", "--out", "@tree.json/x" }, "cannot create" },
    { { "plot", "@run", "--figure", "overview", "--out", "@tree.json/x.png" }, "cannot create" },
    { { "report", "@run", "--out", "@tree.json/x" }, "cannot be made" },
    { { "tree", "@run", "--out", "@tree.json/x.svg" }, "cannot create" },
    { { "run", "@tree.json", "--out", "@tree.json/x", "-q" }, "Not a directory" },
    { { "run", "@tree.json", "--out", "@tree.json", "-q" }, "cannot use" },
    { { "import", "@one.jsonl", "--out", "@tree.json/x" }, "Not a directory" },
    { { "models", "@tree.json/x.gguf", "--random", "--layers", "1" }, "cannot create" },
    { { "run", "@tree.json", "--out", "", "-q" }, "name of the run directory is empty" },
};

/* With a limit on the size of files, in bytes: the signal that comes with it ends nothing. */
static const struct limited {
    const char *args[8], *sentence;
    rlim_t bytes;
} limited[] = {
    { { "export", "@run", "--out", "@x.jsonl" }, "cannot write the export: File too large", 100 },
    { { "models", "@x.gguf", "--random" }, "x.gguf: cannot write: File too large", 10000 },
    { { "report", "@run", "--out", "@limited" }, "File too large", 5000 },
    { { "run", "@tree.json", "--out", "@limited", "-q" }, "records.sqlite", 20000 },
};

/* Commands whose standard output is full. */
static const char *const talkative[][8] = {
    { "--version" }, { "--help" }, { "help", "run" }, { "run", "--help" }, { "tasks" },
    { "strategies", "--json" }, { "models" }, { "check", "@tree.json" }, { "analyze", "@run" },
    { "analyze", "@run", "--json" }, { "tree", "@run" }, { "export", "@run" }, { "report", "@run" },
    { "generate", "-m", "thimble-s", "-p", "1+2=", "--raw" },
};

static void make_tree_run(void)
{
    write_scratch("one.jsonl", "{\"problem\": 1, \"strategy\": \"s\", \"candidate\": 0,"
                               " \"answer\": \"1\", \"correct\": true}");
    const char *config = write_scratch(
        "tree.json", "{ \"models\": [\"thimble-s\"], \"tasks\": [{ \"kind\": \"arithmetic\" }],"
                     " \"problems\": 2, \"strategies\": [{ \"strategy\": \"mcts\","
                     " \"simulations\": 2, \"max_new_tokens\": 40 }] }");
    cr_assert(run_program(ARGS("run", config, "--out", in_scratch("run"), "-q"), NULL, NULL) == 0);
}

Test(cli, output_that_cannot_be_written)
{
    const char *args[12];
    make_tree_run();
    for (size_t i = 0; i < sizeof unwritable / sizeof *unwritable; i++) {
        char *out, *message;
        scratch_arguments(unwritable[i].args, 8, args);
        int status = run_program(args, &out, &message);
        cr_expect(status == 1 && strstr(message, unwritable[i].sentence) &&
                      count_lines(message) == 1,
                  "%s %s: %d, %s", args[0], args[1], status, message);
        free(out);
        free(message);
    }
    for (size_t i = 0; i < sizeof talkative / sizeof *talkative; i++) {
        scratch_arguments(talkative[i], 8, args);
        int status = wait_program(start_program(args, "/dev/full", in_scratch("stderr")));
        char *message = read_scratch("stderr");
        const char *sentence = strstr(message, "cannot write");
        cr_expect(status == 1 && sentence && count_lines(sentence) == 1, "%s: %d, %s", args[0],
                  status, message);
        free(message);
    }
}

Test(cli, files_that_may_not_grow)
{
    const char *args[12];
    make_tree_run();
    struct rlimit old, limit;
    getrlimit(RLIMIT_FSIZE, &old);
    limit = old;
    for (size_t i = 0; i < sizeof limited / sizeof *limited; i++) {
        scratch_arguments(limited[i].args, 8, args);
        limit.rlim_cur = limited[i].bytes;
        setrlimit(RLIMIT_FSIZE, &limit);
        pid_t pid = start_program(args, "/dev/null", in_scratch("stderr"));
        setrlimit(RLIMIT_FSIZE, &old);
        int status = wait_program(pid);
        char *message = read_scratch("stderr");
        cr_expect(status == 1 && strstr(message, limited[i].sentence) && count_lines(message) == 1,
                  "%s: %d, %s", args[0], status, message);
        free(message);
    }
    cr_assert(run_program(ARGS("run", in_scratch("tree.json"), "--out", in_scratch("limited"), "-q"),
                          NULL, NULL) == 0, "the same command does not go on");
}

/* What a run would refuse before it spends anything, check refuses too. A vote needs no common
 * vocabulary. */
Test(cli, check_refuses_an_ensemble_of_two_vocabularies)
{
    static const char *const strategies[] = { "ensemble-token", "ensemble-vote" };
    cr_assert(run_program(ARGS("models", in_scratch("b.gguf"), "--random", "--layers", "1",
                               "--embd", "64", "--heads", "2", "--ff", "64", "--vocab", "300"),
                          NULL, NULL) == 0);
    for (int i = 0; i < 2; i++) {
        char config[512], *out, *message;
        snprintf(config, sizeof config,
                 "{ \"models\": { \"a\": \"thimble-s\", \"b\": \"b.gguf\" },"
                 " \"tasks\": [{ \"kind\": \"arithmetic\" }], \"strategies\": ["
                 "{ \"strategy\": \"%s\", \"models\": [[\"a\", \"b\"]] }] }", strategies[i]);
        int status = run_program(ARGS("check", write_scratch("two.json", config)), &out, &message);
        cr_expect(status == (i == 0), "%d: %s", status, message);
        cr_expect(i == 1
                  || (strstr(message, "needs models of one vocabulary, but a and b differ") &&
                             out[0] == '\0' && count_lines(message) == 1),
                  "%s", message);
        free(out);
        free(message);
    }
}

/* ---- stated comparisons ------------------------------------------------------------------ */

static const char stated[] =
    "{ \"name\": \"pairs\", \"models\": [\"thimble-s\"],"
    "  \"tasks\": [{ \"kind\": \"arithmetic\", \"operations\": 3 }], \"problems\": 4,"
    "  \"generation\": { \"max_new_tokens\": 40, \"temperature\": 0.8 },"
    "  \"strategies\": [ { \"strategy\": \"greedy\" },"
    "    { \"strategy\": \"self-consistency\", \"num_return_sequences\": [2, 3] } ],"
    "  \"analysis\": { \"direction\": \"lower\", \"margin\": 0.25, \"baseline\": "
    "\"self-consistency n=2\","
    "    \"comparisons\": [[\"self-consistency n=3\", \"greedy\"]] } }";

static const char *string_at(const cJSON *item, const char *key)
{
    const cJSON *value = cJSON_GetObjectItemCaseSensitive(item, key);
    cr_assert(cJSON_IsString(value), "%s is no string", key);
    return value->valuestring;
}

/* What the experiment states reaches the analysis: pairs are a family of their own. */
Test(cli, stated_comparisons_are_a_family_of_their_own)
{
    char *out, *message;
    rm_json *json;
    const char *dir = in_scratch("run");
    cr_assert(run_program(ARGS("run", write_scratch("pairs.json", stated), "--out", dir, "-q"),
                          NULL, NULL) == 0);
    cr_assert(run_program(ARGS("analyze", dir, "--json", "--compare",
                               "self-consistency n=2 vs greedy"), &out, NULL) == 0);
    CHECK(rm_json_parse(out, strlen(out), "stdout", 1, 0, &json, err));
    cr_assert(number_at(rm_json_root(json), "margin") == 0.25);
    cr_expect_str_eq(string_at(rm_json_root(json), "direction"), "lower");
    const cJSON *task = cJSON_GetArrayItem(
        cJSON_GetObjectItemCaseSensitive(rm_json_root(json), "tasks"), 0);
    const cJSON *family = cJSON_GetObjectItemCaseSensitive(task, "comparisons");
    const cJSON *pairs = cJSON_GetObjectItemCaseSensitive(task, "pairs");
    cr_assert(cJSON_GetArraySize(family) == 2 && cJSON_GetArraySize(pairs) == 2, "%s", out);
    cr_expect_str_eq(string_at(cJSON_GetArrayItem(family, 0), "b"), "self-consistency n=2");
    const cJSON *first = cJSON_GetArrayItem(pairs, 0);
    cr_expect_str_eq(string_at(first, "a"), "self-consistency n=3");
    cr_expect_str_eq(string_at(first, "b"), "greedy");
    cr_expect(number_at(first, "n") == 4 && number_at(first, "n_family") == 2);
    cr_expect_str_eq(string_at(first, "claim"), "inconclusive"); /* of 4 problems */
    rm_json_free(json);
    free(out);
    cr_assert(run_program(ARGS("analyze", dir), &out, NULL) == 0);
    cr_expect(strstr(out, "self-consistency n=3 vs greedy") && strstr(out, "verdict") &&
                  strstr(out, "lower?") && strstr(out, "The claim: accuracy is lower."), "%s", out);
    free(out);
    cr_assert(run_program(ARGS("analyze", dir, "--direction", "none"), &out, NULL) == 0);
    cr_expect(!strstr(out, "lower?") && !strstr(out, "The claim"), "%s", out);
    free(out);
    cr_assert(run_program(ARGS("analyze", dir, "--compare", "gredy vs self-consistency n=2"), NULL,
                          &message) == 1);
    cr_expect(strstr(message, "did you mean \"greedy\"?"), "%s", message);
    free(message);
}

/* ---- samples made elsewhere ------------------------------------------------------------------ */

/* 1,319 problems: "a" solves 742; 209 only "a" solves, 152 only "b". Wilson's 95% interval for
 * 742/1319 is [0.53563, 0.58910]; the exact McNemar test of 209 against 152 gives p = 0.003151. */
static void write_pair(const char *name)
{
    rm_text text = { 0 };
    for (int i = 0; i < 1319; i++) {
        bool a = i < 742, b = i >= 209 && i < 742 + 152;
        rm_text_printf(&text, "{\"problem\": %d, \"strategy\": \"a\", \"candidate\": 0, "
                       "\"answer\": \"x\", \"correct\": %s}\n", i, a ? "true" : "false");
        rm_text_printf(&text, "{\"problem\": %d, \"strategy\": \"b\", \"candidate\": 0, "
                       "\"answer\": null, \"correct\": %s}\n", i, b ? "true" : "false");
    }
    write_scratch(name, text.data);
    rm_text_free(&text);
}

Test(cli, import_and_analyze_hit_known_values)
{
    char *out;
    rm_json *json;
    write_pair("pair.jsonl");
    cr_assert(run_program(ARGS("import", in_scratch("pair.jsonl"), "--out", in_scratch("pair")),
                          NULL, NULL) == 0);
    cr_assert(run_program(ARGS("analyze", in_scratch("pair"), "--baseline", "b", "--resamples",
                               "200", "--json"), &out, NULL) == 0);
    cr_assert(strstr(out, "0.5356") && strstr(out, "0.589"), "%.2000s", out);
    CHECK(rm_json_parse(out, strlen(out), "stdout", 1, 0, &json, err));
    const cJSON *task = cJSON_GetArrayItem(
        cJSON_GetObjectItemCaseSensitive(rm_json_root(json), "tasks"), 0);
    const cJSON *comparison =
        cJSON_GetArrayItem(cJSON_GetObjectItemCaseSensitive(task, "comparisons"), 0);
    cr_assert(fabs(number_at(comparison, "p") - 0.003151) < 5e-7, "%s", out);
    rm_json_free(json);
    free(out);
    /* The difference is 57/1319 = 0.043, its interval beyond 0 and beyond no 0.1. */
    static const struct {
        const char *direction, *claim;
    } table[] = { { "higher", "supported" }, { "lower", "refuted" }, { "equal", "supported" } };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        char wanted[64];
        snprintf(wanted, sizeof wanted, "\"claim\": \"%s\"", table[i].claim);
        cr_assert(run_program(ARGS("analyze", in_scratch("pair"), "--baseline", "b", "--resamples",
                                   "200", "--json", "--margin", "0.1", "--direction",
                                   table[i].direction), &out, NULL) == 0);
        cr_expect(strstr(out, wanted), "%s: %s", table[i].direction, out);
        free(out);
    }
}

#define LINE(candidate, more)                                                                      \
    "{\"problem\": \"p\", \"strategy\": \"s\", \"candidate\": " candidate                          \
    ", \"answer\": \"1\", \"correct\": true, " more "}"

static const struct bad_line {
    const char *text, *sentence;
} bad_lines[] = {
    { "", "no lines" },
    { "[1]", "one JSON object" },
    { "{\"problem\": \"p\"}", "no strategy" },
    { "{\"problem\": \"p\", \"strategy\": \"s\"}", "no candidate" },
    { "{\"problem\": \"p\", \"strategy\": \"s\", \"candidate\": -1, \"answer\": \"1\", "
      "\"correct\": true}",
      "candidate should be" },
    { "{\"problem\": \"p\", \"strategy\": \"s\", \"candidate\": 0, \"correct\": true}", "answer" },
    { "{\"problem\": \"p\", \"strategy\": \"s\", \"candidate\": 0, \"answer\": \"1\"}", "correct" },
    { "{\"problem\": \"p\", \"strategy\": \"s\", \"candidate\": 0, \"answer\": \"1\", "
      "\"correct\": 2}",
      "correct should be" },
    { "{\"problem\": \"p\", \"strategy\": 1, \"candidate\": 0, \"answer\": \"1\", \"correct\": "
      "true}",
      "strategy should be" },
    { "{\"problem\": \"p\", \"strategy\": \"s\", \"candidate\": 0, \"answer\": \"1\", "
      "\"correct\": true}\n"
      "{\"problem\": \"p\", \"strategy\": \"s\", \"candidate\": 0, \"answer\": \"2\", "
      "\"correct\": true}",
      "lines 1 and 2" },
    { "{\"problem\": \"p\", \"strategy\": \"s\", \"candidate\": 0, \"answer\": \"1\", "
      "\"correct\": true,"
      " \"scores\": [1]}", "scores should be" },
    { "{\"problem\": \"p\", \"strategy\": \"s\", \"candidate\": 0, \"answer\": \"1\", "
      "\"correct\": true,"
      " \"latency_ms\": -3}", "latency_ms should be" },
    { "{\"problem\": \"p\", \"strategy\": \"s\", \"candidate\": 0, \"answer\": \"1\", "
      "\"correct\": true,"
      " \"timing\": \"fast\"}", "timing should be" },
    { "{\"problem\": \"p\", \"strategy\": \"s\", \"candidate\": null, \"answer\": null, "
      "\"correct\": false}\n"
      "{\"problem\": \"p\", \"strategy\": \"s\", \"candidate\": 0, \"answer\": \"1\", "
      "\"correct\": true}",
      "an outcome without a candidate" },
    { "{\"problem\"", "1:" },
    { LINE("0", "\"finish_reason\": \"stop\"") "\n" LINE("1", "\"finish_reason\": \"tired\""),
      "bad.jsonl:2:" },
    { LINE("0", "\"finish_reason\": \"tired\""),
      "finish_reason is \"tired\", expected one of none, token, string, step, length, context, "
      "budget, stop, eos, eos_token, end_turn, stop_sequence, max_tokens, max_new_tokens, or "
      "null" },
    { LINE("0", "\"finish_reason\": 3"), "finish_reason should be a string" },
    { LINE("0", "\"verifier\": \"yes\""), "verifier should be true or false" },
    { LINE("0", "\"oracle\": true") "\n" LINE("1", "\"oracle\": false"),
      "bad.jsonl:2: oracle differs from line 1" },
    { LINE("0", "\"label\": \"a\"") "\n" LINE("1", "\"label\": \"b\""),
      "label \"b\" differs from \"a\" of line 1" },
    { LINE("0", "\"label\": \"\""), "label should be" },
    { LINE("0", "\"label\": \"a\"") "\n" LINE("0", "\"params\": {\"n\": 2}, \"label\": \"a\""),
      "two cells of task imported have the label \"a\"" },
    { LINE("0", "\"params\": {\"n\": 2}") "\n" LINE("0", "\"label\": \"s n=2\""),
      "have the label \"s n=2\"" },
    { LINE("0", "\"reference\": 5"), "reference should be a string" },
    { LINE("0", "\"exchangeable\": true") "\n" LINE("1", "\"seed\": 4, \"exchangeable\": false"),
      "exchangeable differs from line 1" },
};

Test(cli, lines_that_cannot_be_imported)
{
    for (size_t i = 0; i < sizeof bad_lines / sizeof *bad_lines; i++) {
        size_t n;
        rm_error err = { "" };
        const char *file = write_scratch("bad.jsonl", bad_lines[i].text);
        cr_assert(rm_import(file, in_scratch("bad"), "test", &n, &err) != RM_OK, "%s",
                  bad_lines[i].text);
        cr_assert(strstr(err.text, bad_lines[i].sentence) != NULL, "%s\n%s", bad_lines[i].text,
                  err.text);
        cr_assert(access(in_scratch("bad"), F_OK) != 0, "a bad file must leave nothing behind");
    }
}

/* Labels and marks of cells come with the lines; one line is enough to say them. */
Test(cli, import_keeps_labels_and_marks)
{
    static const char lines[] =
        LINE("0", "\"label\": \"judged\", \"verifier\": true") "\n" LINE("1", "\"lp\": -1") "\n"
        LINE("0", "\"params\": {\"n\": 2}, \"oracle\": true, \"finish_reason\": \"stop\"");
    size_t n;
    rm_store *store;
    rm_records records = { 0 };
    CHECK(rm_import(write_scratch("marks.jsonl", lines), in_scratch("marks"), "test", &n, err));
    CHECK(rm_store_open(in_scratch("marks"), false, &store, err));
    CHECK(rm_store_records(store, &records, err));
    cr_assert(n == 3 && records.n_cells == 2);
    const rm_cell *judged = &records.cells[0], *best = &records.cells[1];
    cr_expect_str_eq(judged->label, "judged");
    cr_expect(judged->verifier && !judged->oracle && judged->exchangeable);
    cr_expect_str_eq(best->label, "s n=2");
    cr_expect(!best->verifier && best->oracle && !best->exchangeable);
    rm_records_free(&records);
    rm_store_close(store);
}

/* A run's cells are the same after export and import: those that a verifier judged stay marked, and
 * so never join a front of the others. */
Test(cli, a_run_keeps_its_cells_through_export_and_import)
{
    static const char config[] =
        "{ \"models\": [\"thimble-s\"], \"tasks\": [{ \"kind\": \"countdown\" }], \"problems\": 2,"
        " \"strategies\": [{ \"strategy\": \"greedy\", \"max_new_tokens\": 30 },"
        " { \"strategy\": \"mcts\", \"simulations\": 2, \"score\": [\"verifier\", \"lp\"],"
        " \"max_new_tokens\": 30 }] }";
    rm_store *store;
    size_t n;
    cr_assert(run_program(ARGS("run", write_scratch("c.json", config), "--out", in_scratch("run"),
                               "-q"), NULL, NULL) == 0);
    char *first = export_dir(in_scratch("run"));
    CHECK(rm_import(write_scratch("run.jsonl", first), in_scratch("back"), "test", &n, err));
    rm_records was = { 0 }, is = { 0 };
    CHECK(rm_store_open(in_scratch("run"), false, &store, err));
    CHECK(rm_store_records(store, &was, err));
    rm_store_close(store);
    CHECK(rm_store_open(in_scratch("back"), false, &store, err));
    CHECK(rm_store_records(store, &is, err));
    rm_store_close(store);
    cr_assert(was.n_cells == 3 && is.n_cells == 3);
    int verified = 0;
    for (size_t i = 0; i < 3; i++) {
        cr_expect_str_eq(is.cells[i].label, was.cells[i].label);
        cr_expect_eq(is.cells[i].verifier, was.cells[i].verifier);
        cr_expect_eq(is.cells[i].oracle, was.cells[i].oracle);
        cr_expect_eq(is.cells[i].exchangeable, was.cells[i].exchangeable);
        verified += is.cells[i].verifier;
    }
    cr_expect_eq(verified, 1);
    rm_records_free(&was);
    rm_records_free(&is);
    free(first);
}

Test(cli, an_export_can_be_imported_and_exports_the_same)
{
    static const char lines[] =
        "{\"problem\":\"p\",\"strategy\":\"s\",\"candidate\":1,\"answer\":\"2\",\"correct\":false,"
        "\"lp\":-0.1,\"text\":\"a\\\"b\\u0001\",\"scores\":{\"prm\":0.30000000000000004},"
        "\"step_scores\":[0.5,0.25],\"finish_reason\":\"max_tokens\",\"chosen\":true}\n"
        "{\"problem\":\"p\",\"strategy\":\"s\",\"candidate\":0,\"answer\":null,\"correct\":false,"
        "\"n_generated\":7,\"cluster\":\"c\",\"level\":\"hard\",\"params\":{\"b\":1,\"a\":[2]}}\n"
        "{\"problem\":\"p\",\"strategy\":\"s\",\"candidate\":0,\"answer\":null,\"correct\":false,"
        "\"params\":{\"a\":[2],\"b\":1},\"seed\":9,\"generated_tokens\":70,\"rounds\":8,"
        "\"flops\":1e9}\n"
        "{\"problem\":\"p\",\"strategy\":\"s\",\"candidate\":null,\"answer\":null,\"correct\":false,"
        "\"seed\":10,\"error\":\"out of pages\"}\n";
    size_t n;
    CHECK(rm_import(write_scratch("one.jsonl", lines), in_scratch("one"), "test", &n, err));
    cr_assert(n == 4);
    char *first = export_dir(in_scratch("one"));
    cr_assert(strstr(first, "0.30000000000000004") && strstr(first, "\"finish_reason\":\"length\""),
              "%s", first);
    cr_assert(strstr(first, "\"generated_tokens\":70") && strstr(first, "\"rounds\":8") &&
                  strstr(first, "\"error\":\"out of pages\""),
              "the account of an outcome and its failure are kept: %s", first);
    CHECK(rm_import(write_scratch("two.jsonl", first), in_scratch("two"), "test", &n, err));
    char *second = export_dir(in_scratch("two"));
    assert_same_text(first, second, "exported, imported, exported");
    rm_records records = { 0 };
    rm_store *store;
    CHECK(rm_store_open(in_scratch("two"), false, &store, err));
    CHECK(rm_store_records(store, &records, err));
    cr_assert(records.n_cells == 2, "equal parameters in another order are one cell");
    rm_records_free(&records);
    rm_store_close(store);
    free(first);
    free(second);
}

/* ---- regrade ----------------------------------------------------------------------------- */

Test(cli, regrade_finds_a_changed_verdict_and_writes_it)
{
    static const char config[] =
        "{ \"name\": \"r\", \"models\": [\"thimble-s\"],"
        " \"tasks\": [{ \"kind\": \"arithmetic\", \"operations\": 3 }], \"problems\": 4,"
        " \"strategies\": [{ \"strategy\": \"greedy\", \"max_new_tokens\": 60 }] }";
    char *out;
    const char *dir = in_scratch("run");
    cr_assert(run_program(ARGS("run", write_scratch("config.json", config), "--out", dir, "-q"),
                          NULL, NULL) == 0);
    cr_assert(run_program(ARGS("regrade", dir), &out, NULL) == 0);
    cr_assert(out[0] == '\0', "a fresh run has nothing to change: %s", out);
    free(out);
    char *before = export_dir(dir);

    rm_store *store;
    CHECK(rm_store_open(dir, true, &store, err));
    sqlite3_exec(rm_store_database(store),
                 "UPDATE candidates SET answer = '123456', correct = 1 - correct;"
                 "UPDATE outcomes SET correct = 1 - correct", NULL, NULL, NULL);
    rm_store_close(store);
    cr_assert(run_program(ARGS("regrade", dir), &out, NULL) == 0);
    cr_assert(count_lines(out) == 4, "%s", out);
    free(out);
    cr_assert(run_program(ARGS("regrade", dir, "--write"), NULL, NULL) == 0);
    char *after = export_dir(dir);
    assert_same_text(before, after, "regraded");
    free(before);
    free(after);
}
