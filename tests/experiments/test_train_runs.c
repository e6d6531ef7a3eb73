/* test_train_runs.c - ramify train as a program: trainings that are killed end in the same bits,
 * what goes wrong is one sentence and leaves the last checkpoint, and drawing and training agree.
 */
#include "run_support.h"

#include "engine/train.h"

#include <math.h>
#include <signal.h>
#include <sys/resource.h>
#include <time.h>

TestSuite(train_runs, .init = make_scratch, .fini = remove_scratch);

#define SHAPE \
    "\"model\": { \"layers\": 1, \"width\": 32, \"heads\": 2, \"ffn\": 64, \"context\": 256 },"
#define TASKS                                                                                      \
    "\"tasks\": [ { \"task\": { \"kind\": \"arithmetic\", \"operations\": [1, 2] } },"             \
    "             { \"task\": { \"kind\": \"countdown\" }, \"failures\": [1, 1] } ],"

static const char sft[] = "{ \"name\": \"little\", " SHAPE TASKS
    " \"steps\": 40, \"tokens_per_step\": 512, \"checkpoint_every\": 3, \"weight_type\": \"f32\","
    " \"optimizer\": { \"warmup\": 5 }, \"evaluate\": { \"every\": 10, \"problems\": 4 } }";

static void sleep_ms(long ms)
{
    struct timespec t = { ms / 1000, ms % 1000 * 1000000 };
    nanosleep(&t, NULL);
}

static pid_t start_training(const char *kind, const char *file, const char *out,
                            const char *threads)
{
    return start_program(ARGS("train", kind, file, "--out", out, "--quiet", "--threads", threads),
                         in_scratch("stdout"), in_scratch("stderr"));
}

static void train(const char *kind, const char *file, const char *out, const char *threads)
{
    int status = wait_program(start_training(kind, file, out, threads));
    char *message = read_scratch("stderr");
    cr_assert(status == 0, "status %d: %s", status, message);
    free(message);
}

static void assert_same_file(const char *a, const char *b)
{
    char *x, *y;
    size_t n, m;
    CHECK(rm_file_read(a, 64 << 20, &x, &n, err));
    CHECK(rm_file_read(b, 64 << 20, &y, &m, err));
    cr_expect(n == m && memcmp(x, y, n) == 0, "%s and %s differ", a, b);
    free(x);
    free(y);
}

/* A log without what a clock measured. */
static char *log_without_times(const char *name)
{
    char *log = read_scratch(name), *to = log;
    for (char *at = log; *at; at++) {
        if (strncmp(at, ",\"seconds\":", 11) == 0)
            at = strchr(at, '}');
        *to++ = *at;
    }
    *to = '\0';
    return log;
}

/* Kills a training again and again until one attempt comes to its end: first when a checkpoint is
 * there, then anywhere. An attempt that was too quick to be killed is begun anew. */
static void train_with_kills(const char *kind, const char *file, const char *out,
                             const char *checkpoint, double took_ms)
{
    int kills = 0, status = 1;
    for (int round = 0; status != 0 && round < 40; round++) {
        pid_t pid = start_training(kind, file, out, round % 2 ? "1" : "2");
        for (int i = 0; i < 20000 && access(checkpoint, F_OK) != 0 && access(out, F_OK) != 0; i++)
            sleep_ms(1);
        if (kills)
            sleep_ms((long)(took_ms * rm_unit(rm_random(11, 0, (uint32_t)round, 0)) *
                            (0.2 + 0.1 * round)));
        kill(pid, SIGKILL);
        status = wait_program(pid);
        cr_assert(status == 0 || status == -SIGKILL, "%d", status);
        kills += status == -SIGKILL;
        if (access(out, F_OK) == 0 && access(checkpoint, F_OK) != 0) {
            status = 0; /* finished, perhaps killed between its last line and its exit */
            if (!kills) {
                unlink(out);
                status = 1;
            }
        }
    }
    if (status)
        train(kind, file, out, "2");
    cr_expect_gt(kills, 0);
}

Test(train_runs, weights_after_SIGKILL_are_those_of_an_uninterrupted_training)
{
    char file[PATH_MAX + 64], whole[PATH_MAX + 64], killed[PATH_MAX + 64],
        checkpoint[PATH_MAX + 64];
    snprintf(file, sizeof file, "%s", write_scratch("sft.json", sft));
    snprintf(whole, sizeof whole, "%s", in_scratch("whole.gguf"));
    snprintf(killed, sizeof killed, "%s", in_scratch("killed.gguf"));
    snprintf(checkpoint, sizeof checkpoint, "%s", in_scratch("killed.checkpoint"));
    double began = rm_now_s();
    train("sft", file, whole, "2");
    train_with_kills("sft", file, killed, checkpoint, 1e3 * (rm_now_s() - began));
    assert_same_file(whole, killed);
    char *a = log_without_times("whole.train.jsonl"), *b = log_without_times("killed.train.jsonl");
    assert_same_text(a, b, "log");
    cr_expect(strstr(a, "\"evaluated\":\"countdown\""));
    free(a);
    free(b);
    cr_expect_neq(access(in_scratch("killed.checkpoint"), F_OK), 0,
                  "a finished training keeps none");
}

Test(train_runs, weights_do_not_depend_on_threads)
{
    const char *file = write_scratch("sft.json", sft);
    static const char *const threads[] = { "1", "2", "7" };
    char out[3][PATH_MAX + 64];
    for (int i = 0; i < 3; i++) {
        snprintf(out[i], sizeof out[i], "%s.%d.gguf", in_scratch("model"), i);
        train("sft", file, out[i], threads[i]);
        assert_same_file(out[0], out[i]);
    }
}

/* ---- reinforcement learning, rejection sampling ---------------------------------------------- */

#define GRPO(objective, more)                                                                      \
    "{ \"name\": \"g\", \"model\": \"%s\"," TASKS " \"steps\": 4, \"checkpoint_every\": 1,"        \
    " \"weight_type\": \"f32\", \"optimizer\": { \"rate\": 0.01 }, \"grpo\": { \"objective\": \""  \
    objective "\", \"group\": 6, \"problems_per_step\": 6, \"updates\": 2, \"max_new_tokens\": 30" \
    more " } }"

static const char *const ways[][2] = {
    { "grpo", GRPO("grpo", ", \"beta\": 0.1, \"reward_format\": 0.5") },
    { "grpo", GRPO("dr-grpo", "") },
    { "grpo", GRPO("dapo", ", \"overlong\": 10, \"resample\": 2") },
    { "reject", "{ \"name\": \"r\", \"model\": \"%s\"," TASKS " \"steps\": 12,"
                " \"checkpoint_every\": 1, \"tokens_per_step\": 256, \"weight_type\": \"f32\","
                " \"reject\": { \"samples\": 12, \"keep\": 2, \"problems\": 60,"
                " \"max_new_tokens\": 60 } }" },
    { "reward", "{ \"name\": \"v\", \"model\": \"%s\"," TASKS " \"steps\": 6,"
                " \"checkpoint_every\": 1, \"tokens_per_step\": 256, \"weight_type\": \"f32\","
                " \"evaluate\": { \"every\": 2, \"problems\": 5 },"
                " \"reward\": { \"samples\": 4, \"problems\": 20, \"max_new_tokens\": 40 } }" },
};

/* A model that is right now and then, made once for each test process. */
static const char *teach(void)
{
    static char out[PATH_MAX + 64];
    snprintf(out, sizeof out, "%s", in_scratch("taught.gguf"));
    const char *file = write_scratch(
        "taught.json",
        "{ \"name\": \"taught\", \"model\": { \"layers\": 1, \"width\": 48, \"heads\": 2,"
        " \"head_size\": 32, \"ffn\": 64, \"context\": 256 }, \"tasks\": [ { \"task\": {"
        " \"kind\": \"arithmetic\", \"operations\": 1, \"leaves\": [1, 4] } } ],"
        " \"steps\": 150, \"tokens_per_step\": 512, \"optimizer\": { \"rate\": 0.01 } }");
    train("sft", file, out, "2");
    return out;
}

/* Not inlined: gcc 12 would take its variable for one that `log` points to. */
__attribute__((noinline)) static char *read_log(const char *name)
{
    return read_scratch(name);
}

static double number_of(const char *line, const char *key)
{
    char name[64];
    snprintf(name, sizeof name, "\"%s\":", key);
    const char *at = strstr(line, name);
    cr_assert(at, "%s has no %s", line, key);
    return strncmp(at + strlen(name), "null", 4) ? atof(at + strlen(name)) : (double)NAN;
}

Test(train_runs, groups_and_rejection_resume_to_the_same_bits)
{
    const char *taught = teach();
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        char text[PATH_MAX + 4096], file[PATH_MAX + 64], name[PATH_MAX + 64];
        char whole[PATH_MAX + 64], killed[PATH_MAX + 64];
        snprintf(text, sizeof text, ways[i][1], taught);
        snprintf(file, sizeof file, "%s", write_scratch("way.json", text));
        snprintf(name, sizeof name, "%s%zu.checkpoint", in_scratch("killed"), i);
        snprintf(whole, sizeof whole, "%s%zu.gguf", in_scratch("whole"), i);
        snprintf(killed, sizeof killed, "%s%zu.gguf", in_scratch("killed"), i);
        double began = rm_now_s();
        train(ways[i][0], file, whole, "2");
        train_with_kills(ways[i][0], file, killed, name, 1e3 * (rm_now_s() - began));
        assert_same_file(whole, killed);
    }
}

Test(train_runs, drawing_and_training_agree_and_the_log_says_what_happened)
{
    const char *taught = teach();
    char text[PATH_MAX + 4096];
    snprintf(text, sizeof text, ways[0][1], taught);
    train("grpo", write_scratch("way.json", text), in_scratch("g.gguf"), "2");
    char *log = read_log("g.train.jsonl");
    int lines = count_lines(log);
    cr_assert_eq(lines, 5, "%s", log);
    const char *line = strchr(log, '\n') + 1;
    for (int step = 1; step <= 4; step++, line = strchr(line, '\n') + 1) {
        cr_expect_eq(number_of(line, "step"), step);
        cr_expect_eq(number_of(line, "logprob_difference"), 0, "not one bit apart");
        cr_expect_eq(number_of(line, "groups"), 6);
        double silent = number_of(line, "zero_signal"), length = number_of(line, "length");
        cr_expect(silent >= 0 && silent <= 1);
        cr_expect(length > 0 && length <= 30);
        if (silent < 1)
            cr_expect(number_of(line, "entropy") > 0);
    }
    free(log);
    snprintf(text, sizeof text, ways[3][1], taught);
    train("reject", write_scratch("way.json", text), in_scratch("r.gguf"), "2");
    log = read_log("r.train.jsonl");
    cr_expect_eq(number_of(strstr(log, "\"sampled\""), "samples"), 720);
    double kept = number_of(strstr(log, "\"sampled\""), "kept");
    cr_expect(kept > 0 && kept <= 120, "at most two a problem");
    free(log);
    snprintf(text, sizeof text, ways[4][1], taught);
    train("reward", write_scratch("way.json", text), in_scratch("v.gguf"), "2");
    log = read_log("v.train.jsonl");
    line = strstr(log, "\"evaluated\":\"arithmetic\"");
    cr_assert(line, "%s", log);
    cr_expect_eq(number_of(line, "samples"), 4);
    cr_expect(number_of(line, "random") <= 1 && number_of(line, "accuracy") <= 1);
    cr_expect(number_of(line, "judged_loss") > 0);
    free(log);
}

/* ---- figures --------------------------------------------------------------------------------- */

Test(train_runs, logs_become_figures)
{
    static const char head[] = "{\"training\":\"grpo\",\"name\":\"a #b\"}\n";
    static const struct {
        const char *text, *says; /* NULL: it is drawn */
    } logs[] = {
        { "{\"step\":1,\"loss\":2.5,\"entropy\":null}\n{\"step\":2,\"loss\":2.25}\n", NULL },
        { "{\"step\":1,\"evaluated\":\"x\",\"problems\":9,\"accuracy\":0.5}\n", NULL },
        { "{\"step\":1,\"reward\":0.1,\"zero_signal\":1,\"length\":9,\"length_wrong\":null}\n",
          NULL },
        { "", "there is nothing to draw" },
        { "{\"step\":1}\n", "there is nothing to draw" },
        { "{\"loss\":1}\n", "log.jsonl:2:1: this is no line" },
        { "[]\n", "log.jsonl:2:1" },
        { "{\"step\":1\n", "expected ',' or" },
    };
    const char *out = in_scratch("figure.pdf"), *log = in_scratch("log.jsonl");
    for (size_t i = 0; i < sizeof logs / sizeof *logs; i++) {
        char text[512], *message;
        snprintf(text, sizeof text, "%s%s", head, logs[i].text);
        write_scratch("log.jsonl", text);
        unlink(out);
        int status = run_program(ARGS("plot", log, log, "--out", out), NULL, &message);
        if (logs[i].says)
            cr_expect(status == 1 && strstr(message, logs[i].says), "%zu: %s", i, message);
        else
            cr_expect(status == 0 && access(out, F_OK) == 0, "%zu: %s", i, message);
        free(message);
    }
    char *message;
    write_scratch("log.jsonl", "{\"step\":1}\n");
    cr_expect_eq(run_program(ARGS("plot", log, "--out", out), NULL, &message), 1);
    cr_expect(strstr(message, "begins with"), "%s", message);
    free(message);
}

/* Two long trainings that part after their 2,900th step have different figures. */
Test(train_runs, every_step_is_drawn)
{
    char *figure[2];
    for (int k = 0; k < 2; k++) {
        rm_text log = { 0 };
        char *message;
        size_t n;
        const char *out = in_scratch("long.svg");
        rm_text_puts(&log, "{\"training\":\"sft\",\"name\":\"long\"}\n");
        for (int i = 1; i <= 3000; i++)
            rm_text_printf(&log, "{\"step\":%d,\"loss\":%d}\n", i, i > 2900 && k ? 3 : 2 + i % 2);
        write_scratch("long.jsonl", log.data);
        cr_assert_eq(run_program(ARGS("plot", in_scratch("long.jsonl"), "--out", out), NULL,
                                 &message), 0, "%s", message);
        CHECK(rm_file_read(out, 64 << 20, &figure[k], &n, err));
        rm_text_free(&log);
        free(message);
        unlink(out);
    }
    cr_expect(strcmp(figure[0], figure[1]) != 0);
    free(figure[0]);
    free(figure[1]);
}

/* ---- what goes wrong ------------------------------------------------------------------------- */

static void fails(const char *kind, const char *text, const char *says)
{
    const char *file = write_scratch("bad.json", text), *out = in_scratch("bad.gguf");
    int status = wait_program(start_training(kind, file, out, "1"));
    char *message = read_scratch("stderr");
    int wanted = strcmp(kind, "stf") ? 1 : 2; /* a slip of the command line */
    cr_expect(status == wanted && strstr(message, says) && count_lines(message) == 1,
              "status %d, expected \"%s\": %s", status, says, message);
    free(message);
    cr_expect_neq(access(out, F_OK), 0);
}

static const struct {
    const char *kind, *text, *says;
} bad[] = {
    { "stf", sft, "did you mean sft?" },
    { "sft", "{", "bad.json:1:2" },
    { "sft", "{\n \"stpes\": 3 }",
      "bad.json:2:11: unknown key \"stpes\"; did you mean \"steps\"?" },
    { "sft", "{ \"grpo\": {} }", "unknown key" },
    { "sft", "{ \"steps\": 0 }", "steps: expected 1 to" },
    { "sft", "{ \"model\": \"thimble\", " TASKS " \"seed\": 1 }", "steps: how many is missing" },
    { "grpo", "{ " SHAPE TASKS " \"steps\": 1 }", "expected the name or file of a model" },
    { "sft",
      "{ \"model\": { \"layers\": 1, \"width\": 30, \"heads\": 2, \"ffn\": 64 }, \"steps\": 1 }",
      "n_embd is 30, expected a multiple of 16" },
    { "sft", "{ " SHAPE " \"steps\": 1, \"tasks\": [] }", "tasks: expected a list of 1" },
    { "sft",
      "{ " SHAPE " \"steps\": 1, \"tasks\": [ { \"task\": { \"kind\": \"countdown\", \"split\":"
      " \"test\" } } ] }",
      "split \"train\" only" },
    { "sft",
      "{ " SHAPE " \"steps\": 1, \"tasks\": [ { \"task\": { \"kind\": \"countdown\", \"numbers\":"
      " 2, \"range\": [1, 2], \"target\": [90, 100] } } ] }",
      "no problem found whose target" },
    { "sft",
      "{ " SHAPE " \"steps\": 1, \"tasks\": [ { \"task\": { \"kind\": \"arithmetic\" },"
      " \"failures\": [0] } ] }",
      "failures: expected" },
    { "sft",
      "{ " SHAPE " \"steps\": 1, \"evaluate\": { \"every\": 1, \"problems\": 99 }, \"tasks\": ["
      " { \"task\": { \"kind\": \"arithmetic\", \"operations\": 1, \"leaves\": [1, 3] } } ] }",
      "evaluate: 99 problems: task arithmetic: found no problem" },
    { "sft",
      "{ " SHAPE " \"steps\": 1, \"tasks\": [ { \"task\": { \"kind\": \"countdown\", \"range\":"
      " [1, 2], \"target\": [90, 100] } } ], \"evaluate\": { \"every\": 1 } }",
      "no problem found whose target" },
    { "sft", "{ " SHAPE TASKS " \"steps\": 1, \"weight_type\": \"q4\" }", "weight type \"q4\"" },
    { "grpo", "{ \"model\": \"thimbel\"," TASKS " \"steps\": 1 }", "did you mean thimble?" },
    { "grpo", "{ \"model\": \"thimble\"," TASKS " \"steps\": 1, \"grpo\": { \"group\": 1 } }",
      "grpo.group: expected 2 to" },
    { "grpo",
      "{ \"model\": \"thimble\"," TASKS " \"steps\": 1, \"grpo\": { \"updates\": 2,"
      " \"problems_per_step\": 1 } }",
      "an update takes at least one problem" },
};

Test(train_runs, impossible_configurations_are_one_sentence)
{
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        fails(bad[i].kind, bad[i].text, bad[i].says);
}

/* Trains until the first checkpoint is there, then stops it as a user does. */
static void begin(const char *file, const char *out, const char *checkpoint)
{
    pid_t pid = start_training("sft", file, out, "1");
    for (int i = 0; i < 4000 && access(checkpoint, F_OK) != 0; i++)
        sleep_ms(1);
    kill(pid, SIGINT);
    int status = wait_program(pid);
    char *message = read_scratch("stderr");
    cr_assert(status == 130 && strstr(message, "the same command goes on"), "%d %s", status,
              message);
    free(message);
}

Test(train_runs, a_checkpoint_of_another_configuration_is_refused)
{
    const char *checkpoint = in_scratch("little.checkpoint"), *out = in_scratch("little.gguf");
    begin(write_scratch("sft.json", sft), out, checkpoint);
    char other[sizeof sft + 8], *at;
    strcpy(other, sft);
    at = strstr(other, "\"steps\": 40");
    memcpy(at, "\"steps\": 41", 11);
    int status = wait_program(start_training("sft", write_scratch("other.json", other), out, "1"));
    char *message = read_scratch("stderr");
    cr_expect(status == 1 && strstr(message, "belongs to another configuration"), "%s", message);
    free(message);
    write_scratch("bad.checkpoint", "RMCHECK2 and nothing more");
    fails("sft", sft, "no checkpoint of a training");
}

/* The disk is full while a checkpoint is written: one sentence, and the one before is whole. */
Test(train_runs, a_full_disk_leaves_the_last_checkpoint)
{
    const char *checkpoint = in_scratch("little.checkpoint"), *out = in_scratch("little.gguf");
    const char *file = write_scratch("sft.json", sft), *whole = in_scratch("whole.gguf");
    train("sft", file, whole, "1");
    begin(file, out, checkpoint);
    struct stat before, after;
    cr_assert_eq(stat(checkpoint, &before), 0);
    char *kept = NULL, *now = NULL;
    size_t n, m;
    CHECK(rm_file_read(checkpoint, 64 << 20, &kept, &n, err));
    struct rlimit old, limit;
    getrlimit(RLIMIT_FSIZE, &old);
    limit = old;
    limit.rlim_cur = n / 2; /* the weights alone fit, a checkpoint does not */
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &limit);
    pid_t pid = start_training("sft", file, out, "1");
    setrlimit(RLIMIT_FSIZE, &old);
    int status = wait_program(pid);
    char *message = read_scratch("stderr");
    cr_expect(status == 1 && strstr(message, "is kept") && count_lines(message) == 1, "%d %s",
              status, message);
    free(message);
    CHECK(rm_file_read(checkpoint, 64 << 20, &now, &m, err));
    cr_expect(n == m && memcmp(kept, now, n) == 0);
    cr_assert_eq(stat(checkpoint, &after), 0);
    free(kept);
    free(now);
    train("sft", file, out, "1");
    assert_same_file(whole, out);
}

Test(train_runs, a_loss_that_is_no_number_is_one_sentence)
{
    rm_engine *engine;
    rm_trainer *t;
    rm_engine_options options = { .n_threads = 1 };
    const char *model = in_scratch("nan.gguf");
    CHECK(rm_engine_open(&options, &engine, err));
    CHECK(rm_trainer_open(engine, RM_MODELS_DIR "/thimble-s.gguf", &t, err));
    for (int i = 0; i < 2000; i++)
        rm_trainer_values(t)[i] = NAN;
    CHECK(rm_trainer_write(t, model, "nan", "f32", err));
    rm_trainer_free(t);
    rm_engine_close(engine);
    char text[PATH_MAX + 512];
    snprintf(text, sizeof text,
             "{ \"model\": \"%s\"," TASKS " \"steps\": 3, \"tokens_per_step\": 256 }", model);
    fails("sft", text, "step 1: the gradient of step 1 is not finite");
    /* weights that grow ninefold a step: the last good checkpoint is kept, and named */
    fails("sft", "{ \"model\": { \"layers\": 1, \"width\": 32, \"heads\": 2, \"ffn\": 48 }," TASKS
                 " \"steps\": 4000, \"tokens_per_step\": 128, \"checkpoint_every\": 5, \"optimizer\":"
                 " { \"rate\": 1, \"clip\": 0, \"warmup\": 0, \"decay\": 10 } }",
          "is kept): the gradient of step");
}

Test(train_runs, a_finished_model_is_not_trained_over)
{
    fails("sft", "{", "bad.json");
    write_scratch("bad.gguf", "a model");
    const char *file = write_scratch("sft.json", sft);
    int status = wait_program(start_training("sft", file, in_scratch("bad.gguf"), "1"));
    char *message = read_scratch("stderr");
    cr_expect(status == 1 && strstr(message, "exists already"), "%s", message);
    free(message);
}
