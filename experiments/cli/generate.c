/* generate.c - ramify generate: one prompt through any strategy.
 *
 * Without a task nobody knows what an answer is, so that for strategies that vote the answer of a
 * text is what follows its last </think> (all of it, if there is none), blanks trimmed. Where the
 * prompt itself opened the thought, a text that never closes it has no answer. */
#include "base/json.h"
#include "engine/remote/remote.h"
#include "experiments/chat/chat.h"
#include "experiments/cli/cli.h"
#include "experiments/quota.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MAX_MODELS = 16, MAX_STRINGS = 16 };

typedef struct generation {
    const cli_args *args;
    rm_engine *engine;
    rm_model *models[MAX_MODELS];
    int n_models;
    rm_params *params;
    rm_problem problem;
    rm_chat_prompt chat;     /* the prompt, with --chat */
    const char *question;    /* what was asked, with --chat */
    const char *stops[MAX_STRINGS], *steps[MAX_STRINGS];
    rm_text out;             /* what goes to stdout */
    rm_cost cost;
} generation;

/* ---- the problem ------------------------------------------------------------------------- */

static const char *plain_answer(const rm_problem *problem, rm_run *run, const char *text)
{
    static const char end[] = "</think>", blanks[] = " \t\r\n";
    if (rm_chat_opens(problem->prompt, "<think>") && !strstr(text, end))
        return NULL;
    for (const char *at; (at = strstr(text, end));)
        text = at + sizeof end - 1;
    text += strspn(text, blanks);
    size_t n = strlen(text);
    while (n && strchr(blanks, text[n - 1]))
        n--;
    char *copy = n ? rm_run_alloc(run, n + 1) : NULL;
    return copy ? memcpy(copy, text, n) : NULL;
}

static double no_reference(const rm_problem *problem, const char *answer)
{
    (void)problem;
    (void)answer;
    return 0;
}

static rm_status gather(const cli_args *args, const char *name, const char **list, int *n,
                        rm_error *err)
{
    for (int i = 0; i < args->n_given; i++) {
        if (strcmp(args->given[i].name, name) != 0)
            continue;
        if (*n == MAX_STRINGS)
            return cli_misuse(args, err, "--%s can be given %d times at most", name, MAX_STRINGS);
        list[(*n)++] = args->given[i].value;
    }
    return RM_OK;
}

static rm_status set_problem(generation *g, const char *prompt, rm_error *err)
{
    rm_status status = gather(g->args, "stop-string", g->stops, &g->problem.n_stop_strings, err);
    if (!status)
        status = gather(g->args, "step-end", g->steps, &g->problem.n_step_ends, err);
    g->problem.id = "command line";
    g->problem.prompt = prompt;
    g->problem.stop_strings = g->stops;
    g->problem.step_ends = g->steps;
    g->problem.think_end = cli_text(g->args, "think-end", "</think>");
    g->problem.wait = cli_text(g->args, "wait", "Wait");
    g->problem.answer = plain_answer;
    g->problem.oracle = no_reference;
    return status;
}

/* ---- chat -------------------------------------------------------------------------------- */

static bool wants_chat(const cli_args *args)
{
    return cli_flag(args, "chat") || cli_text(args, "chat-template", NULL) ||
           cli_text(args, "system", NULL) || cli_text(args, "template-var", NULL);
}

/* "name=value" as often as it was given, as a JSON object. */
static rm_status template_variables(const cli_args *args, rm_text *object, rm_error *err)
{
    rm_status status = RM_OK;
    for (int i = 0; i < args->n_given && !status; i++) {
        const char *text = args->given[i].value, *equals;
        if (strcmp(args->given[i].name, "template-var") != 0)
            continue;
        if (!(equals = strchr(text, '=')))
            return rm_fail(err, RM_E_ARGUMENT, "--template-var %s: expected NAME=VALUE", text);
        char *name = strndup(text, (size_t)(equals - text));
        status = name ? rm_chat_add_variable(object, name, equals + 1, err)
                      : rm_fail(err, RM_E_MEMORY, "no memory for a template variable");
        free(name);
    }
    return status;
}

static void local_time(int now[6])
{
    time_t seconds = time(NULL);
    struct tm t = { .tm_mday = 1 };
    localtime_r(&seconds, &t);
    const int parts[6] = { t.tm_year + 1900, t.tm_mon + 1, t.tm_mday, t.tm_hour, t.tm_min,
                           t.tm_sec };
    memcpy(now, parts, sizeof parts);
}

static rm_status render_for(generation *g, int model, const rm_chat_request *request,
                            rm_chat_prompt *prompt, rm_error *err)
{
    rm_chat *chat = NULL;
    rm_status status = rm_chat_open(g->models[model], cli_text(g->args, "chat-template", NULL),
                                    NULL,
                                    &chat, err);
    if (!status)
        status = rm_chat_render(chat, request, prompt, err);
    if (!status && !model && !cli_flag(g->args, "json") && !cli_flag(g->args, "raw"))
        fprintf(stderr, "chat template: %s\n", rm_chat_origin(chat));
    rm_chat_free(chat);
    return status;
}

/* Puts the prompt through the chat template; several models must agree on what it becomes. */
static rm_status apply_chat(generation *g, rm_error *err)
{
    rm_text variables = { 0 };
    int now[6];
    local_time(now);
    rm_status status = template_variables(g->args, &variables, err);
    rm_chat_request request = { .system = cli_text(g->args, "system", NULL),
                                .user = g->problem.prompt, .variables = variables.data,
                                .now = now };
    if (!status)
        status = render_for(g, 0, &request, &g->chat, err);
    for (int i = 1; i < g->n_models && !status; i++) {
        rm_chat_prompt other = { 0 };
        status = render_for(g, i, &request, &other, err);
        if (!status && strcmp(other.text.data, g->chat.text.data) != 0)
            status = rm_fail(err, RM_E_ARGUMENT, "the chat templates of %s and %s make different "
                             "prompts; give one with --chat-template",
                             rm_model_describe(g->models[0])->name,
                             rm_model_describe(g->models[i])->name);
        rm_chat_prompt_free(&other);
    }
    if (!status) {
        g->question = g->problem.prompt;
        g->problem.prompt = g->chat.text.data;
        g->problem.prompt_plain = g->chat.plain.data;
    }
    rm_text_free(&variables);
    return status;
}

/* ---- models and parameters --------------------------------------------------------------- */

/* A model behind a server; several share the options. */
static rm_status open_remote(generation *g, const char *url, rm_model **model, rm_error *err)
{
    rm_remote_options options = { .url = url, .model = cli_text(g->args, "remote-model", NULL),
                                  .api_key_env = cli_text(g->args, "api-key-env", NULL),
                                  .end_token = cli_text(g->args, "end-token", NULL) };
    rm_status status = cli_int(g->args, "top-logprobs", 1, 1024, &options.most_top, err);
    return status ? status : rm_remote_open(g->engine, &options, model, err);
}

static rm_status open_models(generation *g, rm_error *err)
{
    const cli_args *args = g->args;
    rm_engine_options engine = { 0 };
    rm_model_options options = { 0 };
    rm_status status = cli_engine_options(args, &engine, err);
    if (!status)
        status = cli_model_options(args, &options, err);
    if (!status && !cli_flag(args, "model"))
        return cli_misuse(args, err, "-m MODEL is missing (`ramify models` lists the embedded "
                          "ones)");
    if (!status)
        status = cli_engine_open(&engine, &g->engine, err);
    for (int i = 0; i < args->n_given && !status; i++) {
        char *path = NULL;
        if (strcmp(args->given[i].name, "model") != 0)
            continue;
        if (g->n_models == MAX_MODELS)
            return cli_misuse(args, err, "at most %d models can be given", MAX_MODELS);
        if (cli_is_address(args->given[i].value))
            status = open_remote(g, args->given[i].value, &g->models[g->n_models], err);
        else
            status = rm_model_find(args->given[i].value, NULL, &path, err);
        if (!status && path)
            status = rm_model_open(g->engine, path, &options, &g->models[g->n_models], err);
        if (!status)
            g->n_models++;
        free(path);
    }
    return status;
}

/* A slip in the name of an option of ours reads like a parameter of the strategy: names the option
 * where it is nearer than any parameter, or where it is what the option's name begins with. */
static void hint_option(const cli_args *args, const rm_strategy *strategy, const char *typed,
                        rm_error *err)
{
    int nearest_param = 3; /* farther off is no slip */
    const char *option = NULL;
    for (const rm_param *p = strategy->params; p->name; p++) {
        int distance = rm_word_distance(typed, p->name);
        nearest_param = distance < nearest_param ? distance : nearest_param;
    }
    for (const cli_option *o = args->command->options; o->name; o++) {
        bool begins = strlen(typed) >= 3 && strncmp(o->name, typed, strlen(typed)) == 0;
        int distance = begins ? 1 : rm_word_distance(typed, o->name);
        if (distance < nearest_param) {
            nearest_param = distance;
            option = o->name;
        }
    }
    if (option)
        rm_fail(err, RM_E_ARGUMENT, "generate has no option --%s (did you mean --%s?)", typed,
                option);
}

static rm_status set_params(generation *g, rm_error *err)
{
    const rm_strategy *strategy;
    const cli_args *args = g->args;
    rm_status status = rm_strategy_find(cli_text(args, "strategy", "greedy"), &strategy, err);
    if (!status)
        status = rm_params_new(strategy, &g->params, err);
    for (int i = 0; i < args->n_others && !status; i++) {
        rm_text name = { 0 };
        rm_text_puts(&name, args->others[i].name);
        for (size_t c = 0; c < name.length; c++)
            if (name.data[c] == '-')
                name.data[c] = '_';
        status = name.failed ? rm_fail(err, RM_E_MEMORY, "no memory for a parameter")
                             : rm_params_set(g->params, name.data, args->others[i].value, err);
        if (status)
            hint_option(args, strategy, args->others[i].name, err);
        rm_text_free(&name);
    }
    if (!status)
        status = rm_params_check(g->params, g->n_models, err);
    if (status)
        return cli_misused(args, status);
    const void *values = rm_params_values(g->params);
    unsigned needs = strategy->needs ? strategy->needs(values) : 0;
    if (needs & RM_NEEDS_STEPS && !g->problem.n_step_ends)
        return cli_misuse(args, err, "%s works step by step: say with --step-end STRING where a "
                          "step ends", strategy->name);
    if (needs & RM_NEEDS_THOUGHT && (!*g->problem.think_end || !*g->problem.wait))
        return cli_misuse(args, err, "%s prolongs thoughts: --think-end and --wait must not be "
                          "empty", strategy->name);
    if (needs & RM_NEEDS_VERIFIER ||
        (strategy->uses_oracle && strategy->uses_oracle(values)))
        return cli_misuse(args, err, "these parameters of %s need a task with answers to check; "
                          "use `ramify run`", strategy->name);
    return RM_OK;
}

/* ---- output ------------------------------------------------------------------------------ */

/* What a server does not tell is null. */
static void put_count(rm_json_writer *w, const char *name, uint64_t count)
{
    if (count == RM_NOT_COUNTED)
        rm_json_null(w, name);
    else
        rm_json_uint(w, name, count);
}

static void put_cost(rm_json_writer *w, const rm_cost *cost)
{
    rm_json_object(w, "cost");
    put_count(w, "prompt_tokens", cost->prompt_tokens);
    put_count(w, "generated_tokens", cost->generated_tokens);
    put_count(w, "evaluated_tokens", cost->evaluated_tokens);
    put_count(w, "shared_tokens", cost->shared_tokens);
    put_count(w, "rounds", cost->rounds);
    rm_json_real(w, "flops", cost->flops);
    rm_json_real(w, "weight_bytes", cost->weight_bytes);
    rm_json_real(w, "kv_bytes", cost->kv_bytes);
    put_count(w, "kv_peak_positions", cost->kv_peak_positions);
    rm_json_real(w, "wall_ms", cost->wall_ms);
    rm_json_real(w, "ttft_ms", cost->ttft_ms);
    rm_json_end(w);
}

/* The tokens of a server's model are pieces of text, whose numbers mean nothing: null. */
static void put_candidate(rm_json_writer *w, const generation *g, const rm_candidate *c)
{
    rm_json_object(w, NULL);
    rm_json_string(w, "text", c->text);
    rm_json_string(w, "answer", c->answer);
    rm_json_string(w, "finish_reason", rm_stop_reason_name(c->reason));
    rm_json_real(w, "lp", c->lp);
    rm_json_real(w, "lp_sampling", c->lp_sampling);
    rm_json_real(w, "score", c->score);
    rm_json_int(w, "model", c->model);
    if (rm_model_describe(g->models[c->model])->served) {
        rm_json_null(w, "tokens");
    } else {
        rm_json_array(w, "tokens");
        for (int i = 0; i < c->n_tokens; i++)
            rm_json_int(w, NULL, c->tokens[i]);
        rm_json_end(w);
    }
    rm_json_end(w);
}

static void put_json(generation *g, const rm_outcome *o, uint64_t seed)
{
    rm_json_writer w = { .out = &g->out, .pretty = true };
    rm_text params = { 0 };
    rm_json_object(&w, NULL);
    rm_json_array(&w, "models");
    for (int i = 0; i < g->n_models; i++)
        rm_json_string(&w, NULL, rm_model_describe(g->models[i])->name);
    rm_json_end(&w);
    rm_json_string(&w, "strategy", rm_params_strategy(g->params)->name);
    rm_params_json(g->params, &params);
    if (params.failed)
        g->out.failed = true;
    else
        rm_json_raw(&w, "params", params.data);
    rm_json_uint(&w, "seed", seed);
    rm_json_string(&w, "prompt", g->problem.prompt);
    if (g->question)
        rm_json_string(&w, "user", g->question);
    rm_json_string(&w, "text", o->chosen >= 0 ? o->candidates[o->chosen].text : NULL);
    if (o->chosen >= 0)
        rm_json_int(&w, "chosen", o->chosen);
    else
        rm_json_null(&w, "chosen");
    rm_json_bool(&w, "cut_short", o->cut_short);
    rm_json_array(&w, "candidates");
    for (int i = 0; i < o->n_candidates; i++)
        put_candidate(&w, g, &o->candidates[i]);
    rm_json_end(&w);
    put_cost(&w, &g->cost);
    rm_json_end(&w);
    rm_text_puts(&g->out, "\n");
    rm_text_free(&params);
}

static void put_text(generation *g, const rm_outcome *o, bool raw)
{
    int first = o->chosen >= 0 ? o->chosen : 0;
    int end = o->chosen >= 0 || raw ? first + 1 : o->n_candidates;
    for (int i = first; i < end && i < o->n_candidates; i++) {
        if (end - first > 1)
            rm_text_printf(&g->out, "[%d] ", i);
        rm_text_puts(&g->out, o->candidates[i].text);
        rm_text_puts(&g->out, raw ? "" : "\n");
    }
}

/* ---- the run ----------------------------------------------------------------------------- */

/* A job, so that the strategy runs as it does in an experiment. */
static rm_status work(rm_run *run, void *arg, rm_error *err)
{
    generation *g = arg;
    rm_outcome outcome = { .chosen = -1 };
    uint64_t seed = 0;
    rm_trial trial = { .run = run, .problem = &g->problem, .models = g->models,
                       .n_models = g->n_models };
    rm_status status = rm_strategy_run(&trial, g->params, &outcome, err);
    if (!status)
        status = cli_uint(g->args, "seed", &seed, err);
    if (status)
        return status;
    g->cost = rm_run_cost(run);
    if (cli_flag(g->args, "json"))
        put_json(g, &outcome, seed);
    else
        put_text(g, &outcome, cli_flag(g->args, "raw"));
    return RM_OK;
}

typedef struct single {
    rm_job job;
    bool given;
} single;

static rm_job *give_once(void *arg)
{
    single *s = arg;
    if (s->given)
        return NULL;
    s->given = true;
    return &s->job;
}

static void ignore_done(void *arg, rm_job *job)
{
    (void)arg;
    (void)job;
}

static rm_status execute(generation *g, rm_error *err)
{
    single s = { .job = { .work = work, .arg = g } };
    rm_status status = cli_uint(g->args, "seed", &s.job.options.seed, err);
    if (!status)
        status = cli_real(g->args, "max-wall-ms", 0.001, 1e12, &s.job.options.max_wall_ms, err);
    if (status)
        return status;
    double kv_quota_mib = 0;
    status = cli_real(g->args, "kv-quota-mib", 0, 1e9, &kv_quota_mib, err);
    if (!status)
        status = rm_quota_single(g->params, g->models, g->n_models, &g->problem,
                                 (size_t)(kv_quota_mib * 1048576.0),
                                 rm_engine_describe(g->engine).kv_limit_bytes,
                                 &s.job.options.kv_quota_bytes, err);
    if (status)
        return status;
    s.job.options.problem = rm_hash_bytes(g->problem.prompt, strlen(g->problem.prompt));
    status = rm_engine_run(g->engine, 1, give_once, ignore_done, &s, cli_catch_signals(), err);
    if (!status && s.job.status)
        status = rm_fail(err, s.job.status, "%s", s.job.error.text);
    return status;
}

/* All of standard input, which may be a pipe. */
static rm_status read_stdin(size_t most, char **owned, size_t *n, rm_error *err)
{
    rm_text text = { 0 };
    char part[4096];
    size_t got;
    while ((got = fread(part, 1, sizeof part, stdin)) > 0 && text.length <= most)
        rm_text_add(&text, part, got);
    rm_text_puts(&text, "");
    *owned = text.data;
    *n = text.length;
    if (text.failed || !text.data)
        return rm_fail(err, RM_E_MEMORY, "no memory for the prompt");
    if (ferror(stdin))
        return rm_fail(err, RM_E_IO, "cannot read standard input: %s", strerror(errno));
    if (text.length > most)
        return rm_fail(err, RM_E_LIMIT, "standard input holds more than %zu bytes", most);
    return RM_OK;
}

static rm_status read_prompt(const cli_args *args, char **owned, const char **prompt, rm_error *err)
{
    enum { MAX_PROMPT = 64 << 20 };
    const char *file = cli_text(args, "prompt-file", NULL);
    size_t n = 0;
    *prompt = cli_text(args, "prompt", NULL);
    if (!*prompt && !file)
        return cli_misuse(args, err, "-p TEXT is missing (or -f FILE; -f - reads standard input)");
    if (*prompt && file)
        return cli_misuse(args, err, "the prompt is given twice, by -p and by -f %s", file);
    if (*prompt)
        return RM_OK;
    rm_status status = strcmp(file, "-") == 0 ? read_stdin(MAX_PROMPT, owned, &n, err)
                                              : rm_file_read(file, MAX_PROMPT, owned, &n, err);
    if (!status && strlen(*owned) != n)
        return rm_fail(err, RM_E_FORMAT, "%s holds a zero byte; a prompt is text", file);
    *prompt = *owned;
    return status;
}

/* What a model's folder recommends is offered, not applied: greedy is greedy for every model. */
static void say_sampling(const generation *g)
{
    for (int i = 0; i < g->n_models; i++) {
        const rm_model_info *info = rm_model_describe(g->models[i]);
        if (info->sampling)
            fprintf(stderr, "%s: its makers sample with %s (not applied: ask for it)\n", info->name,
                    info->sampling);
    }
}

static void say_count(uint64_t count, const char *what)
{
    if (count == RM_NOT_COUNTED)
        fprintf(stderr, "%s not told, ", what);
    else
        fprintf(stderr, "%llu %s, ", (unsigned long long)count, what);
}

static void say_cost(const rm_cost *cost)
{
    say_count(cost->prompt_tokens, "prompt tokens");
    say_count(cost->generated_tokens, "generated tokens");
    say_count(cost->rounds, "rounds");
    fprintf(stderr, "%.1f ms", cost->wall_ms);
    if (cost->ttft_ms >= 0)
        fprintf(stderr, " (first token after %.1f)", cost->ttft_ms);
    fputc('\n', stderr);
}

static rm_status generate(const cli_args *args, rm_error *err)
{
    generation g = { .args = args };
    char *owned = NULL;
    const char *prompt;
    rm_status status = read_prompt(args, &owned, &prompt, err);
    if (!status)
        status = set_problem(&g, prompt, err);
    if (!status)
        status = open_models(&g, err);
    if (!status && wants_chat(args))
        status = apply_chat(&g, err);
    if (!status)
        status = set_params(&g, err);
    if (!status && !cli_flag(args, "raw") && !cli_flag(args, "json"))
        say_sampling(&g);
    if (!status)
        status = execute(&g, err);
    if (!status)
        status = cli_put(&g.out, err);
    if (!status && !cli_flag(args, "raw") && !cli_flag(args, "json"))
        say_cost(&g.cost);
    rm_text_free(&g.out);
    rm_chat_prompt_free(&g.chat);
    rm_params_free(g.params);
    for (int i = 0; i < g.n_models; i++)
        rm_model_close(g.models[i]);
    rm_engine_close(g.engine);
    free(owned);
    return status;
}

static const cli_option options[] = {
    { "model", 'm', "MODEL", "a file, a folder or an embedded model; several times: an ensemble" },
    { "remote-model", 0, "NAME", "with -m http://HOST/v1, a server: its name for the model" },
    { "api-key-env", 0, "VAR", "the environment variable that holds the server's key" },
    { "top-logprobs", 0, "N", "next tokens that the server lists, for beam search" },
    { "end-token", 0, "TEXT", "how the server spells the end token, where it writes it out" },
    { "prompt", 'p', "TEXT", "the prompt; special tokens may be written out" },
    { "prompt-file", 'f', "FILE",
      "the prompt from a file, as it stands there; - is standard input" },
    { "chat", 0, NULL, "the prompt is what a user says: goes through the model's chat template" },
    { "system", 0, "TEXT", "what the system says before (implies --chat)" },
    { "template-var", 0, "NAME=VALUE", "a variable of the template, as enable_thinking=false" },
    { "chat-template", 0, "NAME|FILE",
      "chatml, llama-3, deepseek-r1, mistral, llama-2, or a file" },
    { "strategy", 's', "NAME", "default greedy (`ramify strategies` lists them)" },
    { "seed", 0, "S", "of all random draws (default 0)" },
    { "stop-string", 0, "TEXT", "a text that ends the answer; may be given several times" },
    { "step-end", 0, "TEXT", "a text that ends a reasoning step; may be given several times" },
    { "think-end", 0, "TEXT", "what ends a thought (default </think>), for budget-forcing" },
    { "wait", 0, "TEXT", "what goes on with a thought instead (default Wait), for budget-forcing" },
    { "kv-quota-mib", 0, "MIB", "most keys and values to hold (default: what the parameters need)" },
    { "max-wall-ms", 0, "MS", "give up after that time; what a search has finished by then stands" },
    { "raw", 0, NULL, "only the text on stdout, without a line end of ours" },
    { "json", 0, NULL, "the whole outcome: candidates, tokens, log-probabilities, cost" },
    CLI_MODEL_OPTIONS,
    CLI_ENGINE_OPTIONS,
    { NULL, 0, NULL, NULL },
};

const cli_command cli_generate = {
    .name = "generate",
    .summary = "one prompt through any strategy",
    .positional = "",
    .details =
        "Every parameter of the strategy is an option of its own: --max-new-tokens 200,\n"
        "--num-beams 4, --temperature 0.8 (`ramify strategies NAME` lists them). The strategy\n"
        "works within --kv-mib.",
    .example = "ramify generate -m thimble -p '(17+5)*(9-4)-36=<think>' --strategy "
               "self-consistency --num-return-sequences 8 --temperature 0.8",
    .options = options,
    .other_options = true,
    .run = generate,
};
