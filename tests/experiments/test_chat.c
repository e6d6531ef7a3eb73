/* Chat templates at work: which one is taken, what it makes of messages, how the result becomes
 * tokens; prompts of tasks and of the command line through them. The expected texts of the built-in
 * formats are those of their makers' documentation, written out by hand. */
#include "chat_model.h"
#include "experiments/chat/chat.h"
#include "experiments/runner.h"

#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

TestSuite(chat, .init = make_scratch, .fini = remove_scratch);

#define QUESTION "{{ '<u>' ~ messages[-1].content ~ '<a>' }}"
#define THINKING QUESTION "{% if enable_thinking is not defined or enable_thinking %}" \
                 "<think>\n{% else %}<think></think>\n{% endif %}"

static const struct {
    const char *specials, *own, *wanted, *system, *user;
    const char *prompt;      /* NULL: refused with the words of `says` */
    const char *says;        /* where the template came from */
} cases[] = {
    { "<s> </s>", QUESTION, NULL, NULL, "Hi", "<u>Hi<a>", "the model's own" },
    { "<s> </s>", "{{ bos_token ~ messages[0].role ~ messages | length ~ eos_token }}", NULL, "S",
      "Hi",
      "<s>system2</s>", "own" },
    { "<s> </s>", QUESTION, "chatml", "S", "Hi",
      "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n",
      "built-in chatml" },
    { "<s> </s> <|im_start|> <|im_end|>", NULL, NULL, NULL, "Hi",
      "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n", "vocabulary has <|im_start|>" },
    { "<|begin_of_text|> <|eot_id|> <|start_header_id|> <|end_header_id|>", NULL, NULL, "S", " Hi ",
      "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nS<|eot_id|>"
      "<|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>"
      "<|start_header_id|>assistant<|end_header_id|>\n\n", "built-in llama-3" },
    { "<s> </s> [INST] [/INST]", NULL, NULL, "S", "Hi", "<s>[INST] S\n\nHi [/INST]",
      "built-in mistral" },
    { "<s> </s>", NULL, "llama-2", "S", "Hi", "<s>[INST] <<SYS>>\nS\n<</SYS>>\n\nHi [/INST]",
      "llama-2" },
    { "<s> </s> <\xef\xbd\x9cUser\xef\xbd\x9c> <\xef\xbd\x9c" "Assistant\xef\xbd\x9c>", NULL, NULL,
      "S",
      "Hi", "<s>S<\xef\xbd\x9cUser\xef\xbd\x9c>Hi<\xef\xbd\x9c" "Assistant\xef\xbd\x9c><think>\n",
      "deepseek-r1" },
    { "<s> </s> <start_of_turn>", NULL, NULL, NULL, "Hi", NULL, "as in gemma" },
    { "<s> </s>", NULL, NULL, NULL, "Hi", NULL, "has no chat template" },
    { "<s> </s>", QUESTION, "no-such-file", NULL, "Hi", NULL, "built-in ones are chatml" },
    { "<s> </s>", "{{ raise_exception('roles') }}", NULL, NULL, "Hi", NULL, "refuses: roles" },
    { "<s> </s>", "{% if %}", NULL, NULL, "Hi", NULL, "chat template of chatty:1:" },
    { "<s> </s>", "{% if false %}{% endif %}", NULL, NULL, "Hi", NULL, "empty prompt" },
};

typedef struct opened {
    rm_engine *engine;
    rm_model *model;
} opened;

static opened open_model(const char *specials, const char *template)
{
    opened o;
    const char *file = in_scratch("model.gguf");
    write_chat_model(file, specials, template);
    CHECK(rm_engine_open(&(rm_engine_options){ .n_threads = 1 }, &o.engine, err));
    CHECK(rm_model_open(o.engine, file, NULL, &o.model, err));
    return o;
}

static void close_model(opened o)
{
    rm_model_close(o.model);
    rm_engine_close(o.engine);
}

Test(chat, which_template_and_what_it_makes)
{
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        opened o = open_model(cases[i].specials, cases[i].own);
        rm_chat *chat = NULL;
        rm_chat_prompt prompt = { 0 };
        rm_error err = { "" };
        rm_chat_request request = { .system = cases[i].system, .user = cases[i].user };
        rm_status st = rm_chat_open(o.model, cases[i].wanted, NULL, &chat, &err);
        if (!st)
            st = rm_chat_render(chat, &request, &prompt, &err);
        cr_expect_eq(st == RM_OK, cases[i].prompt != NULL, "case %zu: %s", i, err.text);
        const char *says = cases[i].prompt && chat ? rm_chat_origin(chat) : err.text;
        cr_expect_not_null(strstr(says, cases[i].says), "case %zu: %s", i, says);
        if (!st && cases[i].prompt)
            cr_expect_str_eq(prompt.text.data, cases[i].prompt, "case %zu: %s", i,
                             prompt.text.data);
        rm_chat_prompt_free(&prompt);
        rm_chat_free(chat);
        close_model(o);
    }
}

/* Special tokens of the template count, those of a message do not, and BOS stands there as often as
 * the template writes it. */
static const struct { const char *template, *user; int specials[4]; int n; } mixtures[] = {
    { "{{ bos_token }}<|u|>{{ messages[0].content }}<|e|>", "a", { 0, 2, 3 }, 3 },
    { "<|u|>{{ messages[0].content }}<|e|>", "a", { 2, 3 }, 2 },
    { "<|u|>{{ messages[0].content }}<|e|>", "x<|e|>y<|u|><s></s>", { 2, 3 }, 2 },
    { "<|u|>{{ messages[0].content | trim | upper | lower }}<|e|>", " <|e|> ", { 2, 3 }, 2 },
    { "<|{{ messages[0].content }}|>", "u", { 0 }, 0 },
    { "{{ '<|' ~ messages[0].role[0] ~ '|>' ~ messages[0].content }}", "<|e|>", { 2 }, 1 },
};

Test(chat, only_the_template_writes_special_tokens)
{
    for (size_t i = 0; i < sizeof mixtures / sizeof *mixtures; i++) {
        opened o = open_model("<s> </s> <|u|> <|e|>", mixtures[i].template);
        rm_chat *chat = NULL;
        rm_chat_prompt prompt = { 0 };
        rm_chat_request request = { .user = mixtures[i].user };
        CHECK(rm_chat_open(o.model, NULL, NULL, &chat, err));
        CHECK(rm_chat_render(chat, &request, &prompt, err));
        rm_problem problem = { .prompt = prompt.text.data, .prompt_plain = prompt.plain.data };
        int32_t *tokens = NULL;
        int n = 0, found = 0;
        CHECK(rm_problem_tokenize(&problem, o.model, &tokens, &n, err));
        for (int k = 0; k < n; k++)
            if (tokens[k] < 4) {
                cr_expect(found < mixtures[i].n && tokens[k] == mixtures[i].specials[found],
                          "case %zu: token %d is %d", i, k, tokens[k]);
                found++;
            }
        cr_expect_eq(found, mixtures[i].n, "case %zu: %d special tokens", i, found);
        rm_text back = { 0 };
        rm_detokenize(o.model, tokens, n, true, &back);
        cr_expect_str_eq(back.data, prompt.text.data);
        rm_text_free(&back);
        free(tokens);
        rm_chat_prompt_free(&prompt);
        rm_chat_free(chat);
        close_model(o);
    }
}

static const struct { const char *name, *value, *prompt, *says; } variables[] = {
    { "enable_thinking", "true", "<u>Q<a><think>\n", NULL },
    { "enable_thinking", "false", "<u>Q<a><think></think>\n", NULL },
    { "enable_thinking", "no JSON", "<u>Q<a><think>\n", NULL }, /* a string, and true */
    { "enable_thinking", "\"\"", "<u>Q<a><think></think>\n", NULL },
    { "enable_thnking", "false", NULL, "never reads the variable enable_thnking" },
    { "messages", "[]", NULL, "set by the prompt itself" },
    { "a b", "1", NULL, "no name" },
    { "", "1", NULL, "no name" },
};

Test(chat, template_variables)
{
    opened o = open_model("<s> </s>", THINKING);
    rm_chat *chat = NULL;
    CHECK(rm_chat_open(o.model, NULL, NULL, &chat, err));
    for (size_t i = 0; i < sizeof variables / sizeof *variables; i++) {
        rm_text object = { 0 };
        rm_chat_prompt prompt = { 0 };
        rm_error err = { "" };
        rm_status st = rm_chat_add_variable(&object, variables[i].name, variables[i].value, &err);
        rm_chat_request request = { .user = "Q", .variables = object.data };
        if (!st)
            st = rm_chat_render(chat, &request, &prompt, &err);
        cr_expect_eq(st == RM_OK, variables[i].prompt != NULL, "case %zu: %s", i, err.text);
        if (!st)
            cr_expect_str_eq(prompt.text.data, variables[i].prompt, "case %zu", i);
        else
            cr_expect_not_null(strstr(err.text, variables[i].says), "case %zu: %s", i, err.text);
        rm_text_free(&object);
        rm_chat_prompt_free(&prompt);
    }
    rm_chat_free(chat);
    close_model(o);
}

Test(chat, dates_and_opening_tags)
{
    int now[6];
    cr_expect(rm_chat_parse_date("2026-01-31", now) && now[0] == 2026 && now[1] == 1
              && now[2] == 31);
    static const char *const bad[] = { "2026-1-31", "2026-13-01", "2026-01-32", "20260131", "",
                                       "x" };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        cr_expect(!rm_chat_parse_date(bad[i], now), "%s", bad[i]);
    cr_expect(rm_chat_opens("a<think>\n\n", "<think>"));
    cr_expect(rm_chat_opens("<think>", "<think>"));
    cr_expect(!rm_chat_opens("<think></think>", "<think>"));
    cr_expect(!rm_chat_opens("", "<think>"));
}

/* ---- tasks ------------------------------------------------------------------------------- */

static const char problems[] =
    "{\"q\": \"What is 1+1? <|e|>\", \"a\": \"2\"}\n{\"q\": \"What is 2+1?\", \"a\": \"3\"}\n";

static const char *task_config(const char *keys)
{
    static char text[2048];
    snprintf(text, sizeof text,
             "{\"models\": {\"m\": \"model.gguf\"}, \"tasks\": [{\"kind\": \"jsonl\","
             " \"path\": \"p.jsonl\", \"question\": \"q\", \"answer\": \"a\", \"prompt\": "
             "\"{question}\","
             " \"max_new_tokens\": 4%s}], \"strategies\": [{\"strategy\": \"greedy\"}, "
             "{\"strategy\":"
             " \"self-consistency\", \"num_return_sequences\": [2, 3]}], \"problems\": 2}", keys);
    return write_scratch("c.json", text);
}

static const struct { const char *keys, *prompt, *says; } tasks[] = {
    { ", \"chat\": \"model\"", "<u>What is 1+1? <|e|><a><think>\n", NULL },
    { ", \"chat\": \"model\", \"template_variables\": {\"enable_thinking\": false}",
      "<u>What is 1+1? <|e|><a><think></think>\n", NULL },
    { ", \"chat_template\": \"chatml\", \"system\": \"Be brief.\"",
      "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nWhat is 1+1? <|e|><|im_end|>\n"
      "<|im_start|>assistant\n", NULL },
    { ", \"chat_template\": \"own.jinja\", \"date\": \"2026-01-31\"",
      "Saturday, What is 1+1? <|e|>",
      NULL },
    { ", \"chat_template\": \"own.jinja\"", NULL, "strftime_now is not defined" },
    { ", \"chat\": \"model\", \"template_variables\": {\"thinking\": false}", NULL, "never reads" },
    { ", \"chat\": \"model\", \"template_variables\": 3", NULL, "expected an object" },
    { ", \"chat\": \"model\", \"date\": \"tomorrow\"", NULL, "as 2026-01-31" },
    { ", \"chat\": \"chatml\", \"date\": \"2026-01-31\"", NULL, "go with" },
    { ", \"chat_template\": \"chatml\", \"reply_prefix\": \"So \", \"few_shot\": {\"as\": \"turns\", "
      "\"examples\": [{\"question\": \"a?\", \"answer\": 1}, {\"question\": \"b?\", \"answer\": 2}], "
      "\"template\": \"It is {answer}.\"}",
      "<|im_start|>user\na?<|im_end|>\n<|im_start|>assistant\nIt is 1.<|im_end|>\n<|im_start|>user\n"
      "b?<|im_end|>\n<|im_start|>assistant\nIt is 2.<|im_end|>\n<|im_start|>user\n"
      "What is 1+1? <|e|><|im_end|>\n<|im_start|>assistant\nSo ", NULL },
    { ", \"few_shot\": {\"as\": \"turns\", \"examples\": [{\"question\": \"a\", \"answer\": 1}]}", NULL,
      "examples as turns go with" },
    { ", \"chat\": \"model\", \"few_shot\": {\"as\": \"turns\", \"template\": \"{nothing}\", \"examples\": "
      "[{\"question\": \"a\", \"answer\": 1}]}", NULL, "few_shot example 1" },
    { ", \"chat_template\": \"none.jinja\"", NULL, "built-in" },
};

Test(chat, prompts_of_tasks)
{
    write_scratch("p.jsonl", problems);
    write_scratch("own.jinja", "{{ strftime_now('%A, ') ~ messages[0].content }}");
    opened o = open_model("<s> </s> <|u|> <|e|>", THINKING);
    for (size_t i = 0; i < sizeof tasks / sizeof *tasks; i++) {
        rm_config *config = NULL;
        const rm_item *item;
        rm_error err = { "" };
        rm_text text = { 0 }, plain = { 0 };
        rm_status st = rm_config_open(task_config(tasks[i].keys), &config, &err);
        if (!st)
            st = rm_task_item(config->tasks[0], 0, &item, &err);
        if (!st)
            st = rm_task_prompt(config->tasks[0], item, o.model, &text, &plain, &err);
        cr_expect_eq(st == RM_OK, tasks[i].prompt != NULL, "case %zu: %s", i, err.text);
        if (!st) {
            cr_expect_str_eq(text.data, tasks[i].prompt, "case %zu: %s", i, text.data);
            cr_expect_eq(plain.length, text.length);
        } else {
            cr_expect_not_null(strstr(err.text, tasks[i].says), "case %zu: %s", i, err.text);
        }
        rm_text_free(&text);
        rm_text_free(&plain);
        rm_config_free(config);
    }
    close_model(o);
}

/* Where the template has opened the thought, a text that does not close it states no answer. */
Test(chat, an_open_thought_has_no_answer)
{
    write_scratch("p.jsonl", problems);
    rm_config *config = NULL;
    CHECK(rm_config_open(task_config(", \"chat\": \"model\""), &config, err));
    const char *open = "<u>Q<a><think>\n", *closed = "<u>Q<a><think></think>\n";
    const struct { const char *prompt, *text, *answer; } table[] = {
        { open, "it is 2", NULL }, { open, "1 or 3</think>it is 2", "2" },
        { closed, "it is 2", "2" }, { closed, "<think>3</think>it is 2", "2" },
        { closed, "<think>it is 2", NULL },
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        char *answer = NULL;
        CHECK(rm_task_answer(config->tasks[0], table[i].prompt, table[i].text, false, &answer,
                             err));
        cr_expect_eq(answer == NULL, table[i].answer == NULL, "case %zu: %s", i, answer);
        if (answer && table[i].answer)
            cr_expect_str_eq(answer, table[i].answer);
        free(answer);
    }
    rm_config_free(config);
}

static sqlite3_int64 count(rm_store *store, const char *sql)
{
    sqlite3_stmt *statement = NULL;
    CHECK(rm_store_prepare(store, sql, &statement, err));
    cr_assert_eq(sqlite3_step(statement), SQLITE_ROW);
    sqlite3_int64 n = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    return n;
}

Test(chat, a_run_records_what_the_models_read)
{
    write_scratch("p.jsonl", problems);
    write_chat_model(in_scratch("model.gguf"), "<s> </s> <|u|> <|e|>", THINKING);
    const char *const run[] = { "run", task_config(", \"chat\": \"model\""), "--out",
                                in_scratch("run"), NULL };
    const char *const regrade[] = { "regrade", in_scratch("run"), NULL };
    char *out, *message;
    cr_assert_eq(run_program(run, &out, &message), 0, "%s", message);
    free(out);
    free(message);
    rm_store *store;
    CHECK(rm_store_open(in_scratch("run"), false, &store, err));
    cr_expect_eq(count(store, "SELECT count(*) FROM prompts"), 2);
    cr_expect_eq(count(store, "SELECT count(*) FROM prompts WHERE model = 'm' AND prompt ="
                              " '<u>What is 1+1? <|e|><a><think>' || char(10)"), 1);
    cr_expect_eq(count(store, "SELECT count(*) FROM outcomes WHERE error IS NULL"), 6);
    /* 31 characters and no BOS: every byte is a token, also those of the message's <|e|> */
    cr_expect_eq(count(store, "SELECT count(*) FROM outcomes o JOIN prompts USING (problem)"
                              " WHERE prompt_tokens != length(prompt)"), 0);
    rm_store_close(store);
    /* A text without </think> behind this prompt has no answer, also when it is graded again. */
    CHECK(rm_store_open(in_scratch("run"), true, &store, err));
    cr_assert_eq(sqlite3_exec(rm_store_database(store), "UPDATE candidates SET text = 'it is 2',"
                              " answer = NULL, correct = 0, truncated = 0", NULL, NULL, NULL),
                 SQLITE_OK);
    rm_store_close(store);
    cr_assert_eq(run_program(regrade, &out, &message), 0, "%s", message);
    cr_expect_not_null(strstr(message, "0 verdicts and 0 answers"), "%s", message);
    free(out);
    free(message);
    cr_expect_eq(run_program(run, &out, &message), 0, "going on with a finished run: %s", message);
    free(out);
    free(message);
}

/* generation_config.json is offered by every command that opens a folder, and applied by none. */
Test(chat, what_the_makers_sample_with)
{
    static const char *const files[] = { "config.json", "model.safetensors", "tokenizer.json",
                                         "tokenizer_config.json" };
    char folder[600], path[700], golden[700], config[900];
    snprintf(folder, sizeof folder, "%s", in_scratch("folder"));
    cr_assert_eq(mkdir(folder, 0777), 0);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        snprintf(golden, sizeof golden, RM_SOURCE_DIR "/tests/engine/goldens/qwen3/%s", files[i]);
        snprintf(path, sizeof path, "%s/%s", folder, files[i]);
        cr_assert_eq(symlink(golden, path), 0);
    }
    write_scratch("folder/generation_config.json", "{\"do_sample\": true, \"temperature\": 0.6, \"top_p\": 0.95}");
    snprintf(config, sizeof config, "{\"models\": {\"m\": \"%s\"}, \"tasks\": [{\"kind\": \"arithmetic\"}], "
             "\"strategies\": [{\"strategy\": \"greedy\"}], \"problems\": 1}", folder);
    write_scratch("sampling.json", config);
    snprintf(config, sizeof config, "%s", in_scratch("sampling.json"));
    static const char said[] = "makers sample with do_sample true, temperature 0.6, top_p 0.95 (not applied";
    const struct { const char *args[10]; const char *out, *message; } table[] = {
        { { "generate", "-m", folder, "-p", "Hi", "--max-new-tokens", "1" }, "", said },
        { { "generate", "-m", folder, "-p", "Hi", "--max-new-tokens", "1", "--raw" }, "", "" },
        { { "check", config }, said, "" },
        { { "check", config, "--json" }, "\"makers_sampling\": \"do_sample true, temperature 0.6, top_p 0.95\"", "" },
        { { "models", folder, "--json" }, "\"makers_sampling\": \"do_sample true", "" },
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        char *out, *message;
        int status = run_program(table[i].args, &out, &message);
        cr_expect_eq(status, 0, "case %zu: %d %s", i, status, message);
        cr_expect_not_null(strstr(out, table[i].out), "case %zu: %s", i, out);
        cr_expect(*table[i].message || i == 2 ? strstr(message, table[i].message) != NULL
                                              : !strstr(message, "makers"), "case %zu: %s", i, message);
        free(out);
        free(message);
    }
}

Test(chat, the_program)
{
    write_scratch("p.jsonl", problems);
    const char *model = in_scratch("model.gguf"), *base = in_scratch("base.gguf");
    write_chat_model(model, "<s> </s> <|u|> <|e|>", THINKING);
    write_chat_model(base, "<s> </s> <|u|> <|e|>", NULL);
    const char *config = task_config(", \"chat\": \"model\"");
    const struct { int status; const char *args[16]; const char *out, *message; } table[] = {
        { 0, { "models", model }, "chat          the model's own", "" },
        { 0, { "models", base }, "has no chat template", "" },
        { 0, { "models", model, "--json" }, "\"chat\": \"the model's own\"", "" },
        { 0, { "check", config }, "| <u>What is 1+1? <|e|><a><think>", "" },
        { 0, { "check", config, "--json" }, "<a><think>\\n\"", "" },
        { 0, { "generate", "-m", model, "-p", "Hi", "--chat", "--max-new-tokens", "2", "--json" },
          "\"prompt\": \"<u>Hi<a><think>\\n\"", "" },
        { 0, { "generate", "-m", model, "-p", "Hi", "--template-var", "enable_thinking=false",
               "--max-new-tokens", "2", "--json" }, "<u>Hi<a><think></think>", "" },
        { 0, { "generate", "-m", model, "-p", "Hi", "--chat", "--max-new-tokens", "2" }, "",
          "chat template: the model's own" },
        { 0, { "generate", "-m", base, "-p", "Hi", "--chat-template", "mistral", "--system", "S",
               "--max-new-tokens", "2", "--json" }, "<s>[INST] S\\n\\nHi [/INST]", "" },
        { 1, { "generate", "-m", base, "-p", "Hi", "--chat" }, "", "has no chat template" },
        { 1, { "generate", "-m", model, "-p", "Hi", "--template-var", "x" }, "", "NAME=VALUE" },
        { 1, { "generate", "-m", model, "-m", base, "-p", "Hi", "--chat", "-s", "ensemble" }, "",
          "has no chat template" },
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        char *out, *message;
        int status = run_program(table[i].args, &out, &message);
        cr_expect_eq(status, table[i].status, "case %zu: %d %s", i, status, message);
        cr_expect_not_null(strstr(out, table[i].out), "case %zu: %s", i, out);
        cr_expect_not_null(strstr(message, table[i].message), "case %zu: %s", i, message);
        free(out);
        free(message);
    }
}
