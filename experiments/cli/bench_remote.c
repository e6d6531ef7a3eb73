/* bench_remote.c - ramify bench on a server: what can be seen of its speed from here.
 *
 * B requests are sent at once, each from a run of its own, and timed where their answers arrive:
 *
 *     ttft_ms             from sending a request to the first piece of its answer
 *     tokens_per_s        tokens of all B answers / time from the first sending to the last end
 *     path_tokens_per_s   (tokens - 1) / time from the first piece to the end, of one answer
 *
 * Prompts are random common words. How many make --prompt tokens only the server knows: two or three
 * requests before the measurements ask it. No two requests begin alike, since a server keeps prompts
 * it has read; with --one-prompt all requests of a repeat are the same, as samples of one problem are.
 * The end token is asked to end nothing. Before the repeats of each B comes a round that is not
 * recorded: it opens the connections.
 *
 * The network is part of every time. So is waiting after a failed attempt, which is therefore counted
 * and said. Nothing is known of the server's memory, weights, processors and other guests. */
#include "engine/remote/remote.h"
#include "experiments/cli/bench.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_AT_ONCE = 4096 };

typedef struct server_bench {
    const cli_server_bench *plan;
    rm_engine *engine;
    rm_model *model;
    bool one_prompt;
    int n_words;            /* of a prompt */
} server_bench;

typedef struct request_job {
    rm_job job;
    const server_bench *bench;
    uint64_t prompt;        /* names its words */
    int n_words, n_generate;
} request_job;

typedef struct round_list {
    request_job *requests;
    int n, next;
} round_list;

typedef struct result {
    cli_spread ttft_ms, tokens_per_s, path_tokens_per_s, prompt_tokens, generated_tokens;
    uint64_t cached_tokens, failed_attempts;
    int short_answers;
} result;

/* The values of the requests and repeats of one B; NaN where the server did not tell. */
typedef struct samples {
    double *ttft, *path_rate, *prompt, *generated; /* [n] */
    double *rate;           /* [n_rates] */
    size_t n, n_rates;
} samples;

/* ---- one request ------------------------------------------------------------------------- */

/* Words that common vocabularies have whole, with the blank before them. */
static void write_prompt(const request_job *r, rm_text *text)
{
    static const char *const words[] = {
        " time", " year", " people", " way", " day", " man", " thing", " world",
        " life", " hand", " part", " child", " eye", " place", " work", " week",
        " case", " point", " number", " group", " problem", " fact", " water", " room",
        " mother", " area", " money", " story", " month", " book", " word", " house",
    };
    const uint64_t n = sizeof words / sizeof *words;
    for (int i = 0; i < r->n_words; i++)
        rm_text_puts(text, words[rm_scale(rm_random(r->bench->plan->seed, r->prompt, (uint32_t)i, 0),
                                          n)]);
}

static rm_status ask(rm_run *run, void *arg, rm_error *err)
{
    static const int32_t none[1];
    const request_job *r = arg;
    rm_sampling sampling = RM_SAMPLING_DEFAULT;
    rm_stop stop = { .tokens = none, .n_tokens = 0 };
    rm_request request = { .want = RM_WANT_SPAN, .sampling = &sampling, .stop = &stop,
                           .max_new_tokens = r->n_generate };
    rm_text text = { 0 };
    int32_t *tokens = NULL;
    int n;
    sampling.do_sample = !r->bench->plan->greedy;
    write_prompt(r, &text);
    rm_status status = text.failed ? rm_fail(err, RM_E_MEMORY, "no memory for a prompt") : RM_OK;
    if (!status)
        status = rm_tokenize(r->bench->model, text.data, text.length, false, &tokens, &n, err);
    if (!status)
        status = rm_path_new(run, r->bench->model, tokens, n, &request.path, err);
    if (!status)
        status = rm_eval(run, &request, 1, err);
    free(tokens);
    rm_text_free(&text);
    return status;
}

static rm_job *next_request(void *arg)
{
    round_list *list = arg;
    return list->next < list->n ? &list->requests[list->next++].job : NULL;
}

static void request_done(void *arg, rm_job *job)
{
    (void)arg;
    (void)job;
}

/* Sends n requests at once and waits for all. Prompts are named by `round` and the request. */
static rm_status send_round(const server_bench *b, request_job *requests, int n, uint64_t round,
                            int n_generate, double *seconds, rm_error *err)
{
    round_list list = { requests, n, 0 };
    for (int i = 0; i < n; i++) {
        uint64_t who = rm_mix(round, (uint64_t)i);
        requests[i] = (request_job){
            .bench = b, .n_words = b->n_words, .n_generate = n_generate,
            .prompt = b->one_prompt ? rm_mix(round, 0) : who,
            .job = { .options = { .seed = b->plan->seed, .problem = who }, .work = ask },
        };
        requests[i].job.arg = &requests[i];
    }
    double start = rm_now_s();
    rm_status status = rm_engine_run(b->engine, n, next_request, request_done, &list, NULL, err);
    *seconds = rm_now_s() - start;
    for (int i = 0; i < n && !status; i++)
        if (requests[i].job.status)
            status = rm_fail(err, requests[i].job.status, "%s", requests[i].job.error.text);
    return status;
}

/* Finds how many words make a prompt of the tokens asked for: the server counts them. */
static rm_status fit_prompt(server_bench *b, rm_error *err)
{
    enum { MOST_TRIES = 3 };
    const int wanted = b->plan->n_prompt;
    request_job request;
    double seconds;
    rm_status status = RM_OK;
    b->n_words = wanted;
    for (int i = 0; i < MOST_TRIES && !status; i++) {
        status = send_round(b, &request, 1, rm_mix(UINT64_MAX, (uint64_t)i), 1, &seconds, err);
        uint64_t told = request.job.cost.prompt_tokens;
        if (status || told == RM_NOT_COUNTED || told < 1 || told == (uint64_t)wanted)
            break;
        double more = ((double)wanted - (double)told) * b->n_words / (double)told;
        double words = b->n_words + round(more); /* a server that counts something else: bounded */
        b->n_words = (int)fmin(fmax(words, 1), fmin(4.0 * wanted, 1 << 26));
    }
    return status;
}

/* ---- one B ------------------------------------------------------------------------------- */

static void take_round(const server_bench *b, const request_job *requests, int n, double seconds,
                       samples *s, result *r)
{
    double all = 0;
    for (int i = 0; i < n; i++) {
        const rm_cost *cost = &requests[i].job.cost;
        bool told = cost->generated_tokens != RM_NOT_COUNTED;
        double tokens = told ? (double)cost->generated_tokens : (double)NAN;
        double after_s = (cost->wall_ms - cost->ttft_ms) / 1e3;
        r->short_answers += told && tokens < b->plan->n_generate;
        all += tokens;
        s->ttft[s->n] = cost->ttft_ms;
        s->path_rate[s->n] = tokens > 1 && after_s > 0 ? (tokens - 1) / after_s : (double)NAN;
        s->generated[s->n] = tokens;
        s->prompt[s->n++] = cost->prompt_tokens != RM_NOT_COUNTED ? (double)cost->prompt_tokens
                                                                  : (double)NAN;
    }
    s->rate[s->n_rates++] = all / seconds;
}

/* Of what was told; nothing if nothing was. */
static cli_spread spread_of_told(double *values, size_t n)
{
    size_t told = 0;
    for (size_t i = 0; i < n; i++)
        if (!isnan(values[i]))
            values[told++] = values[i];
    return cli_spread_of(values, told);
}

static rm_status measure_server(const server_bench *b, int n, result *r, rm_error *err)
{
    const size_t most = (size_t)n * (size_t)b->plan->n_repeats;
    request_job *requests = calloc((size_t)n, sizeof *requests);
    double *values = calloc(4 * most + (size_t)b->plan->n_repeats, sizeof *values);
    samples s = { .ttft = values, .path_rate = values + most, .prompt = values + 2 * most,
                  .generated = values + 3 * most, .rate = values + 4 * most };
    rm_service_traffic before = { 0 }, after = { 0 };
    rm_status status = requests && values ? RM_OK : rm_fail(err, RM_E_MEMORY, "no memory for %d "
                                                            "requests", n);
    for (int i = -1; i < b->plan->n_repeats && !status; i++) {
        double seconds;
        status = send_round(b, requests, n, rm_mix((uint64_t)n, (uint64_t)(i + 1)),
                            b->plan->n_generate, &seconds, err);
        if (i < 0)
            rm_model_traffic(b->model, &before);
        else if (!status)
            take_round(b, requests, n, seconds, &s, r);
    }
    if (!status) {
        rm_model_traffic(b->model, &after);
        r->cached_tokens = after.cached_tokens - before.cached_tokens;
        r->failed_attempts = after.failed_attempts - before.failed_attempts;
        r->ttft_ms = spread_of_told(s.ttft, s.n);
        r->path_tokens_per_s = spread_of_told(s.path_rate, s.n);
        r->prompt_tokens = spread_of_told(s.prompt, s.n);
        r->generated_tokens = spread_of_told(s.generated, s.n);
        r->tokens_per_s = spread_of_told(s.rate, s.n_rates);
    }
    free(values);
    free(requests);
    return status;
}

/* ---- output ------------------------------------------------------------------------------ */

static rm_status put_json(const server_bench *b, const result *results, rm_error *err)
{
    rm_text out = { 0 };
    rm_json_writer w = { .out = &out, .pretty = true };
    const rm_model_info *info = rm_model_describe(b->model);
    rm_json_object(&w, NULL);
    rm_json_string(&w, "model", info->name);
    rm_json_string(&w, "server", info->file);
    rm_json_int(&w, "prompt", b->plan->n_prompt);
    rm_json_int(&w, "generate", b->plan->n_generate);
    rm_json_int(&w, "repeats", b->plan->n_repeats);
    rm_json_bool(&w, "sampling", !b->plan->greedy);
    rm_json_bool(&w, "one_prompt", b->one_prompt);
    rm_json_array(&w, "results");
    for (int i = 0; i < b->plan->n_batches; i++) {
        const result *r = &results[i];
        rm_json_object(&w, NULL);
        rm_json_int(&w, "batch", b->plan->batches[i]);
        cli_put_spread(&w, "ttft_ms", &r->ttft_ms);
        cli_put_spread(&w, "tokens_per_s", &r->tokens_per_s);
        cli_put_spread(&w, "path_tokens_per_s", &r->path_tokens_per_s);
        cli_put_spread(&w, "prompt_tokens", &r->prompt_tokens);
        cli_put_spread(&w, "generated_tokens", &r->generated_tokens);
        rm_json_uint(&w, "cached_tokens", r->cached_tokens);
        rm_json_int(&w, "short_answers", r->short_answers);
        rm_json_uint(&w, "failed_attempts", r->failed_attempts);
        rm_json_end(&w);
    }
    rm_json_end(&w);
    rm_json_end(&w);
    rm_text_puts(&out, "\n");
    return cli_put(&out, err);
}

/* What the reader of the table has to know of one B. */
static void put_notes(const server_bench *b, int n, const result *r)
{
    const cli_server_bench *p = b->plan;
    if (isnan(r->prompt_tokens.median))
        fprintf(stderr, "%d at once: how many tokens a prompt has is not told; it has %d words\n", n,
                b->n_words);
    else if (r->prompt_tokens.min != p->n_prompt || r->prompt_tokens.max != p->n_prompt)
        fprintf(stderr, "%d at once: prompts have %.0f to %.0f tokens as the server counts them\n", n,
                r->prompt_tokens.min, r->prompt_tokens.max);
    if (isnan(r->generated_tokens.median))
        fprintf(stderr, "%d at once: how many tokens an answer has is not told: no rates\n", n);
    if (isnan(r->ttft_ms.median))
        fprintf(stderr, "%d at once: answers did not come as a stream: no time to a first token\n", n);
    if (r->short_answers)
        fprintf(stderr, "%d at once: %d of %zu answers ended before %d tokens\n", n, r->short_answers,
                (size_t)n * (size_t)p->n_repeats, p->n_generate);
    if (r->cached_tokens)
        fprintf(stderr, "%d at once: %llu tokens of prompts were in the server's cache\n", n,
                (unsigned long long)r->cached_tokens);
    if (r->failed_attempts)
        fprintf(stderr, "%d at once: %llu attempts failed and were made again; the waiting is in the "
                "times\n", n, (unsigned long long)r->failed_attempts);
}

static void rate_cell(cli_table *table, double value)
{
    if (isnan(value))
        cli_cell(table, "-");
    else
        cli_cell(table, value < 100 ? "%.1f" : "%.0f", value);
}

static rm_status put_table(const server_bench *b, const result *results, rm_error *err)
{
    static const char *const head[] = { "at once", "first token ms", "slowest", "tok/s", "lowest",
                                        "highest", "tok/s of one", NULL };
    cli_table table = { 0 };
    const rm_model_info *info = rm_model_describe(b->model);
    fprintf(stderr, "%s at %s, %d prompt + %d generated, %s. The network is in all times; the server's "
            "memory, weights and other guests are not known.\n", info->name, info->file,
            b->plan->n_prompt, b->plan->n_generate,
            b->one_prompt ? "one prompt for all" : "each with a prompt of its own");
    for (const char *const *name = head; *name; name++)
        cli_cell(&table, "%s", *name);
    cli_end_row(&table);
    for (int i = 0; i < b->plan->n_batches; i++) {
        const result *r = &results[i];
        put_notes(b, b->plan->batches[i], r);
        cli_cell(&table, "%d", b->plan->batches[i]);
        rate_cell(&table, r->ttft_ms.median);
        rate_cell(&table, r->ttft_ms.max);
        rate_cell(&table, r->tokens_per_s.median);
        rate_cell(&table, r->tokens_per_s.min);
        rate_cell(&table, r->tokens_per_s.max);
        rate_cell(&table, r->path_tokens_per_s.median);
        cli_end_row(&table);
    }
    rm_status status = table.failed ? rm_fail(err, RM_E_MEMORY, "no memory for a table") : RM_OK;
    if (!status)
        cli_print_table(&table, "rrrrrrr", stdout);
    cli_table_free(&table);
    return status;
}

/* ---- the command ------------------------------------------------------------------------- */

static rm_status open_server(const cli_args *args, server_bench *b, rm_error *err)
{
    rm_engine_options engine = { .backend = "cpu", .n_threads = 1 }; /* it computes nothing */
    rm_remote_options options = { .url = cli_text(args, "model", NULL),
                                  .model = cli_text(args, "remote-model", NULL),
                                  .api_key_env = cli_text(args, "api-key-env", NULL),
                                  .no_logprobs = cli_flag(args, "no-logprobs") };
    for (int i = 0; i < b->plan->n_batches; i++) {
        int n = b->plan->batches[i];
        if (n > MOST_AT_ONCE)
            return cli_misuse(args, err, "--batch takes numbers up to %d for a server, not %d",
                              MOST_AT_ONCE, n);
        options.concurrency = n > options.concurrency ? n : options.concurrency;
    }
    rm_status status = rm_engine_open(&engine, &b->engine, err);
    return status ? status : rm_remote_open(b->engine, &options, &b->model, err);
}

rm_status cli_bench_remote(const cli_args *args, const cli_server_bench *plan, rm_error *err)
{
    server_bench b = { .plan = plan, .one_prompt = cli_flag(args, "one-prompt") };
    result *results = calloc((size_t)plan->n_batches, sizeof *results);
    rm_status status = results ? RM_OK : rm_fail(err, RM_E_MEMORY, "no memory for results");
    if (!status)
        status = open_server(args, &b, err);
    if (!status)
        status = fit_prompt(&b, err);
    for (int i = 0; i < plan->n_batches && !status; i++)
        status = measure_server(&b, plan->batches[i], &results[i], err);
    if (!status)
        status = cli_flag(args, "json") ? put_json(&b, results, err) : put_table(&b, results, err);
    rm_model_close(b.model);
    rm_engine_close(b.engine);
    free(results);
    return status;
}
