/* bench.c - ramify bench: how fast a model reads and writes.
 *
 * One shared prompt of random tokens is evaluated (prefill); B paths fork from it and each draws
 * the same number of tokens (decode), none of which ends a path. Median of the repeats, with the
 * smallest and the largest; one unrecorded round before. Everything goes through the public
 * interface of the engine, sampling included. With --roof the memory's own speed is measured just
 * before and just after each repeat, and set beside the rate at which decoding reads the weights:
 * on a shared machine a bandwidth measured at another time says nothing.
 *
 * With a server (-m http://HOST/v1) bench_remote.c measures what can be seen from here.
 *
 * With --train it is the speed of training instead: whole steps over packed documents of random
 * tokens, 40 to 140 long, the optimizer and the packing of new weights included. */
#include "base/json.h"
#include "engine/train.h"
#include "experiments/cli/bench.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_BATCHES = 32, MAX_REPEATS = 1000 };

typedef struct bench {
    rm_engine *engine;
    rm_model *model;
    int batches[MAX_BATCHES], n_batches;
    int n_prompt, n_generate, n_repeats;
    bool greedy;
    uint64_t seed;
    int32_t *prompt;
    cli_roof *roof; /* NULL: not asked for */
} bench;

typedef struct result {
    cli_spread prefill, decode; /* tokens per second */
    cli_spread read, roof, share; /* weight bytes per second; what memory gives; their ratio */
    size_t kv_peak_bytes;
} result;

/* ---- one measurement --------------------------------------------------------------------- */

static rm_status decode(const bench *b, rm_run *run, rm_path *root, int n, double *seconds,
                        rm_error *err)
{
    static const int32_t none[1];
    rm_sampling sampling = RM_SAMPLING_DEFAULT;
    rm_stop stop = { .tokens = none, .n_tokens = 0 };
    rm_request *requests = calloc((size_t)n, sizeof *requests);
    rm_status status = requests ? RM_OK : rm_fail(err, RM_E_MEMORY, "no memory for %d paths", n);
    sampling.do_sample = !b->greedy;
    double start = rm_now_s();
    for (int i = 0; i < n && !status; i++) {
        requests[i] = (rm_request){ .want = RM_WANT_SPAN, .sampling = &sampling, .stop = &stop,
                                    .max_new_tokens = b->n_generate };
        status = rm_path_fork(root, (uint32_t)i, &requests[i].path, err);
    }
    if (!status)
        status = rm_eval(run, requests, n, err);
    *seconds = rm_now_s() - start;
    for (int i = 0; i < n && !status; i++)
        if (requests[i].result.n != b->n_generate)
            status = rm_fail(err, RM_E_LIMIT, "path %d ended after %d of %d tokens", i,
                             requests[i].result.n, b->n_generate);
    free(requests);
    return status;
}

static rm_status measure(const bench *b, int n, double *prefill_s, double *decode_s,
                         double *weight_bytes, rm_error *err)
{
    rm_run_options options = { .seed = b->seed };
    rm_run *run = NULL;
    rm_path *root = NULL;
    rm_status status = rm_run_open(b->engine, &options, &run, err);
    if (!status)
        status = rm_path_new(run, b->model, b->prompt, b->n_prompt, &root, err);
    if (!status) {
        rm_request request = { .want = RM_WANT_NOTHING, .path = root };
        double start = rm_now_s();
        status = rm_eval(run, &request, 1, err);
        *prefill_s = rm_now_s() - start;
    }
    double before = status ? 0 : rm_run_cost(run).weight_bytes;
    if (!status)
        status = decode(b, run, root, n, decode_s, err);
    *weight_bytes = status ? 0 : rm_run_cost(run).weight_bytes - before;
    rm_run_close(run);
    return status;
}

static int ascending(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

cli_spread cli_spread_of(double *values, size_t n)
{
    if (!n)
        return (cli_spread){ NAN, NAN, NAN };
    qsort(values, n, sizeof *values, ascending);
    double median = n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
    return (cli_spread){ median, values[0], values[n - 1] };
}

static rm_status measure_batch(const bench *b, int n, result *r, rm_error *err)
{
    double prefill[MAX_REPEATS], tokens[MAX_REPEATS], read[MAX_REPEATS], roof[MAX_REPEATS],
        share[MAX_REPEATS];
    rm_status status = RM_OK;
    for (int i = -1; i < b->n_repeats && !status; i++) {
        double prefill_s = 0, decode_s = 0, weight_bytes = 0;
        double before = b->roof ? cli_roof_measure(b->roof) : 0;
        status = measure(b, n, &prefill_s, &decode_s, &weight_bytes, err);
        if (i < 0)
            continue;
        read[i] = weight_bytes / decode_s;
        roof[i] = b->roof ? (before + cli_roof_measure(b->roof)) / 2 : 1;
        share[i] = read[i] / roof[i];
        prefill[i] = b->n_prompt / prefill_s;
        tokens[i] = (double)n * b->n_generate / decode_s;
    }
    if (status)
        return status;
    r->prefill = cli_spread_of(prefill, (size_t)b->n_repeats);
    r->decode = cli_spread_of(tokens, (size_t)b->n_repeats);
    r->read = cli_spread_of(read, (size_t)b->n_repeats);
    r->roof = cli_spread_of(roof, (size_t)b->n_repeats);
    r->share = cli_spread_of(share, (size_t)b->n_repeats);
    r->kv_peak_bytes = rm_engine_kv(b->engine).bytes_peak;
    return RM_OK;
}

/* ---- setting up -------------------------------------------------------------------------- */

static rm_status read_batches(const cli_args *args, bench *b, rm_error *err)
{
    const char *text = cli_text(args, "batch", "1,4,8,16,32,64");
    for (const char *at = text;; at++) {
        char *end;
        long n = strtol(at, &end, 10);
        if (end == at || n < 1 || n > 65536 || (*end && *end != ',') ||
            b->n_batches == MAX_BATCHES)
            return cli_misuse(args, err, "--batch takes up to %d numbers from 1 to 65536 with "
                              "commas between them, not %s", MAX_BATCHES, text);
        b->batches[b->n_batches++] = (int)n;
        at = end;
        if (!*end)
            return RM_OK;
    }
}

static rm_status open_model(bench *b, const cli_args *args, rm_error *err)
{
    rm_engine_options engine = { 0 };
    rm_model_options options = { 0 };
    const char *name = cli_text(args, "model", NULL);
    char *path = NULL;
    if (!name)
        return cli_misuse(args, err, "-m MODEL is missing");
    rm_status status = cli_engine_options(args, &engine, err);
    if (!status)
        status = cli_model_options(args, &options, err);
    if (!status)
        status = rm_model_find(name, NULL, &path, err);
    if (!status)
        status = cli_engine_open(&engine, &b->engine, err);
    if (!status)
        status = rm_model_open(b->engine, path, &options, &b->model, err);
    free(path);
    return status;
}

static rm_status make_prompt(bench *b, rm_error *err)
{
    const rm_model_info *info = rm_model_describe(b->model);
    if (b->n_prompt + b->n_generate > info->n_ctx)
        return rm_fail(err, RM_E_ARGUMENT, "%d prompt and %d generated tokens exceed the context "
                       "of %s, %d", b->n_prompt, b->n_generate, info->name, info->n_ctx);
    b->prompt = malloc((size_t)b->n_prompt * sizeof *b->prompt);
    if (!b->prompt)
        return rm_fail(err, RM_E_MEMORY, "no memory for a prompt");
    for (int i = 0; i < b->n_prompt; i++)
        b->prompt[i] = (int32_t)rm_scale(rm_random(b->seed, 0, (uint32_t)i, 0),
                                         (uint64_t)info->n_vocab);
    return RM_OK;
}

/* ---- output ------------------------------------------------------------------------------ */

void cli_put_spread(rm_json_writer *w, const char *key, const cli_spread *s)
{
    char name[64];
    rm_json_real(w, key, s->median);
    snprintf(name, sizeof name, "%s_min", key);
    rm_json_real(w, name, s->min);
    snprintf(name, sizeof name, "%s_max", key);
    rm_json_real(w, name, s->max);
}

static rm_status put_json(const bench *b, const result *results, rm_error *err)
{
    rm_text out = { 0 };
    rm_json_writer w = { .out = &out, .pretty = true };
    const rm_model_info *info = rm_model_describe(b->model);
    rm_engine_info engine = rm_engine_describe(b->engine);
    rm_json_object(&w, NULL);
    rm_json_string(&w, "model", info->name);
    rm_json_string(&w, "file", info->file);
    rm_json_string(&w, "weights", info->weight_type);
    rm_json_string(&w, "compute", info->compute);
    rm_json_string(&w, "kv", info->kv);
    rm_json_string(&w, "backend", engine.backend);
    rm_json_string(&w, "device", engine.device);
    rm_json_string(&w, "isa", engine.isa);
    rm_json_string(&w, "products", engine.fast ? "fast" : "exact");
    rm_json_int(&w, "threads", engine.n_threads);
    rm_json_int(&w, "prompt", b->n_prompt);
    rm_json_int(&w, "generate", b->n_generate);
    rm_json_int(&w, "repeats", b->n_repeats);
    rm_json_bool(&w, "sampling", !b->greedy);
    rm_json_array(&w, "results");
    for (int i = 0; i < b->n_batches; i++) {
        rm_json_object(&w, NULL);
        rm_json_int(&w, "batch", b->batches[i]);
        cli_put_spread(&w, "prefill_tokens_per_s", &results[i].prefill);
        cli_put_spread(&w, "decode_tokens_per_s", &results[i].decode);
        rm_json_uint(&w, "kv_peak_bytes", results[i].kv_peak_bytes);
        cli_put_spread(&w, "weight_bytes_per_s", &results[i].read);
        if (b->roof) {
            cli_put_spread(&w, "memory_bytes_per_s", &results[i].roof);
            cli_put_spread(&w, "memory_share", &results[i].share);
        }
        rm_json_end(&w);
    }
    rm_json_end(&w);
    rm_json_end(&w);
    rm_text_puts(&out, "\n");
    return cli_put(&out, err);
}

static rm_status put_table(const bench *b, const result *results, rm_error *err)
{
    cli_table table = { 0 };
    const rm_model_info *info = rm_model_describe(b->model);
    rm_engine_info engine = rm_engine_describe(b->engine);
    fprintf(stderr, "%s (%s, computed in %s) on %s, %d prompt + %d generated\n",
            info->name, info->weight_type, info->compute, engine.device,
            b->n_prompt, b->n_generate);
    cli_cell(&table, "paths");
    cli_cell(&table, "prefill tok/s");
    cli_cell(&table, "decode tok/s");
    cli_cell(&table, "lowest");
    cli_cell(&table, "highest");
    cli_cell(&table, "weights GB/s");
    if (b->roof) {
        cli_cell(&table, "memory GB/s");
        cli_cell(&table, "share");
    }
    cli_end_row(&table);
    for (int i = 0; i < b->n_batches; i++) {
        cli_cell(&table, "%d", b->batches[i]);
        cli_cell(&table, "%.0f", results[i].prefill.median);
        cli_cell(&table, "%.0f", results[i].decode.median);
        cli_cell(&table, "%.0f", results[i].decode.min);
        cli_cell(&table, "%.0f", results[i].decode.max);
        cli_cell(&table, "%.1f", results[i].read.median / 1e9);
        if (b->roof) {
            cli_cell(&table, "%.1f", results[i].roof.median / 1e9);
            cli_cell(&table, "%.0f%%", 100 * results[i].share.median);
        }
        cli_end_row(&table);
    }
    rm_status status = table.failed ? rm_fail(err, RM_E_MEMORY, "no memory for a table") : RM_OK;
    if (!status)
        cli_print_table(&table, b->roof ? "rrrrrrrr" : "rrrrrr", stdout);
    cli_table_free(&table);
    return status;
}

/* ---- training ---------------------------------------------------------------------------- */

/* Documents that fill a step of `most` tokens; returns their number. */
static int fill_documents(const bench *b, int32_t *tokens, const float *weight,
                          rm_document *documents, int most, int step, int *n_tokens)
{
    const rm_model_info *info = rm_model_describe(b->model);
    int n = 0, at = 0;
    for (;; n++) {
        int length = 40 + (int)rm_scale(rm_random(b->seed, 1, (uint32_t)step, (uint32_t)n), 101);
        if (length > info->n_ctx)
            length = info->n_ctx;
        if (at + length > most)
            break;
        documents[n] = (rm_document){ tokens + at, weight, length, NULL };
        for (int i = 0; i < length; i++, at++)
            tokens[at] = (int32_t)rm_scale(rm_random(b->seed, 2, (uint32_t)step, (uint32_t)at),
                                           (uint64_t)info->n_vocab);
    }
    *n_tokens = at;
    return n;
}

static rm_status measure_training(const bench *b, rm_trainer *t, int most, cli_spread *rate,
                                  rm_error *err)
{
    static const rm_adamw adam = { 1e-6, 0.9, 0.95, 1e-8, 0.1, 1 };
    double rates[MAX_REPEATS];
    int32_t *tokens = calloc((size_t)most, sizeof *tokens);
    float *weight = calloc((size_t)most, sizeof *weight);
    rm_document *documents = calloc((size_t)most, sizeof *documents);
    rm_status status = tokens && weight && documents ? RM_OK
                                                     : rm_fail(err, RM_E_MEMORY, "no memory");
    for (int i = 1; i < most && weight; i++)
        weight[i] = 1;
    for (int i = -1; i < b->n_repeats && !status; i++) {
        int n_tokens, n = fill_documents(b, tokens, weight, documents, most, i, &n_tokens);
        rm_objective objective = { .scale = 1.0 / n_tokens };
        double start = rm_now_s();
        rm_trainer_clear(t);
        status = rm_trainer_pass(t, documents, n, &objective, NULL, NULL, err);
        if (!status)
            status = rm_trainer_step(t, &adam, NULL, err);
        if (i >= 0)
            rates[i] = n_tokens / (rm_now_s() - start);
    }
    if (!status)
        *rate = cli_spread_of(rates, (size_t)b->n_repeats);
    free(tokens);
    free(weight);
    free(documents);
    return status;
}

static rm_status bench_training(const bench *b, const cli_args *args, rm_error *err)
{
    int most = 8192;
    cli_spread rate;
    rm_trainer *t = NULL;
    rm_text out = { 0 };
    rm_json_writer w = { .out = &out, .pretty = true };
    rm_status status = cli_int(args, "tokens", 256, 1 << 24, &most, err);
    if (!status)
        status = rm_trainer_open(b->engine, rm_model_describe(b->model)->file, &t, err);
    if (!status)
        status = measure_training(b, t, most, &rate, err);
    if (!status) {
        double parameters = (double)rm_shape_parameters(rm_trainer_shape(t));
        rm_engine_info engine = rm_engine_describe(b->engine);
        if (cli_flag(args, "json")) {
            rm_json_object(&w, NULL);
            rm_json_string(&w, "model", rm_model_describe(b->model)->name);
            rm_json_string(&w, "device", engine.device);
            rm_json_string(&w, "isa", engine.isa);
            rm_json_int(&w, "threads", engine.n_threads);
            rm_json_real(&w, "parameters", parameters);
            rm_json_int(&w, "tokens_per_step", most);
            rm_json_int(&w, "repeats", b->n_repeats);
            cli_put_spread(&w, "train_tokens_per_s", &rate);
            rm_json_real(&w, "gflops", 6e-9 * parameters * rate.median);
            rm_json_end(&w);
            rm_text_puts(&out, "\n");
        } else {
            rm_text_printf(&out, "training %s, %.2f M parameters, on %s: %.0f tokens/s (%.0f to "
                           "%.0f), %.0f GFLOP/s at 6 a parameter and token\n",
                           rm_model_describe(b->model)->name, parameters / 1e6, engine.device,
                           rate.median, rate.min, rate.max, 6e-9 * parameters * rate.median);
        }
        status = cli_put(&out, err);
    }
    rm_trainer_free(t);
    return status;
}

/* Options that mean nothing where the model is computed elsewhere, or here. */
static rm_status check_place(const cli_args *args, rm_error *err)
{
    static const char *const here[] = { "compute", "kv", "context", "backend", "device", "products",
                                        "threads", "isa", "kv-mib", "max-batch-rows", "roof",
                                        "train", "tokens", NULL };
    static const char *const there[] = { "remote-model", "api-key-env", "one-prompt", "no-logprobs",
                                         NULL };
    bool far = cli_is_address(cli_text(args, "model", ""));
    for (const char *const *name = far ? here : there; *name; name++)
        if (cli_flag(args, *name))
            return cli_misuse(args, err, "--%s is for a model that is computed %s", *name,
                              far ? "here, not for a server" : "by a server (-m http://HOST/v1)");
    return RM_OK;
}

static rm_status run_bench(const cli_args *args, rm_error *err)
{
    bench b = { .n_prompt = 128, .n_generate = 128, .n_repeats = 5,
                .greedy = cli_flag(args, "greedy") };
    result results[MAX_BATCHES];
    memset(results, 0, sizeof results);
    rm_status status = read_batches(args, &b, err);
    if (!status)
        status = cli_int(args, "prompt", 1, 1 << 24, &b.n_prompt, err);
    if (!status)
        status = cli_int(args, "generate", 1, 1 << 24, &b.n_generate, err);
    if (!status)
        status = cli_int(args, "repeats", 1, MAX_REPEATS, &b.n_repeats, err);
    if (!status)
        status = cli_uint(args, "seed", &b.seed, err);
    if (!status)
        status = check_place(args, err);
    if (!status && cli_is_address(cli_text(args, "model", ""))) {
        cli_server_bench far = { b.batches, b.n_batches, b.n_prompt, b.n_generate, b.n_repeats,
                                 b.greedy, b.seed };
        return cli_bench_remote(args, &far, err);
    }
    if (!status)
        status = open_model(&b, args, err);
    bool train = cli_flag(args, "train");
    if (!status)
        status = train ? bench_training(&b, args, err) : make_prompt(&b, err);
    if (!status && !train && cli_flag(args, "roof"))
        status = cli_roof_new(rm_model_describe(b.model)->memory_bytes,
                              rm_engine_describe(b.engine).n_threads, &b.roof, err);
    for (int i = 0; i < b.n_batches && !status && !train; i++)
        status = measure_batch(&b, b.batches[i], &results[i], err);
    if (!status && !train)
        status = cli_flag(args, "json") ? put_json(&b, results, err) : put_table(&b, results, err);
    cli_roof_free(b.roof);
    free(b.prompt);
    rm_model_close(b.model);
    rm_engine_close(b.engine);
    return status;
}

static const cli_option options[] = {
    { "model", 'm', "MODEL", "a file, a folder, an embedded model or a server's http://HOST/v1" },
    { "batch", 0, "LIST", "numbers of paths (default 1,4,8,16,32,64)" },
    { "prompt", 0, "N", "tokens of the shared prompt (default 128)" },
    { "generate", 0, "N", "tokens each path draws (default 128)" },
    { "repeats", 0, "N", "measurements, of which the median counts (default 5)" },
    CLI_MODEL_OPTIONS,
    CLI_ENGINE_OPTIONS,
    { "greedy", 0, NULL, "take the most likely token instead of drawing one" },
    { "roof", 0, NULL, "measure between the repeats how fast memory is read, and compare" },
    { "train", 0, NULL, "measure training steps instead, by this model's shape" },
    { "tokens", 0, "N", "with --train: tokens of a step (default 8192)" },
    { "remote-model", 0, "NAME", "of a server: its name for the model" },
    { "api-key-env", 0, "NAME", "of a server: the environment variable that holds its key" },
    { "one-prompt", 0, NULL, "of a server: one prompt for all requests of a repeat" },
    { "no-logprobs", 0, NULL, "of a server: do not ask for log-probabilities" },
    { "seed", 0, "S", "of the prompt and the draws (default 0)" },
    { "json", 0, NULL, "for machines" },
    { NULL, 0, NULL, NULL },
};

const cli_command cli_bench = {
    .name = "bench",
    .summary = "measure prefill, decode and training speed",
    .positional = "",
    .details =
        "N paths forked from one shared prompt. With --json one object: model, file, weights,\n"
        "compute, kv, backend, device, isa, products, threads, prompt, generate, repeats,\n"
        "sampling, and results, for each of --batch: batch, prefill_tokens_per_s,\n"
        "decode_tokens_per_s (of all paths together; medians, with _min and _max beside\n"
        "them), kv_peak_bytes,\n"
        "weight_bytes_per_s (read while decoding) and, with --roof, memory_bytes_per_s and\n"
        "memory_share, the ratio of the two taken within each repeat. A model that fits the\n"
        "caches may read its weights faster than memory gives them.\n"
        "With --train: parameters, tokens_per_step, train_tokens_per_s and gflops, counted as 6\n"
        "for each parameter and token (multiply-adds of forward and backward, without\n"
        "attention over earlier positions).\n"
        "With a server, --batch requests at once, each with a prompt of its own that no cache of\n"
        "the server knows (--one-prompt: all of a repeat ask the same). Its results have batch,\n"
        "ttft_ms (from sending to the first piece), tokens_per_s (of all answers together, from\n"
        "the first sending to the last end), path_tokens_per_s (of one answer after its first\n"
        "token), prompt_tokens and generated_tokens as the server counts them, cached_tokens,\n"
        "short_answers, failed_attempts; null is what it does not tell.",
    .example =
        "ramify bench -m thimble --batch 1,64 --prompt 128 --generate 128 --threads 2 --json",
    .options = options,
    .run = run_bench,
};
