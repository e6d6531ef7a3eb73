/* engine.c - opening and closing engines and models, and what they say of themselves. */
#define _GNU_SOURCE
#include "engine/ahead.h"
#include "engine/backend.h"
#include "engine/core.h"

#include "engine/forward.h"
#include "engine/replay.h"
#include "engine/served.h"

#include <assert.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LEAST_BATCH_ROWS = 16, MOST_BATCH_ROWS = 1 << 16 };

/* ---- engines ------------------------------------------------------------------------------- */

static int available_processors(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 0)
        return CPU_COUNT(&set);
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n > 0 && n < 4096 ? (int)n : 1;
}

static size_t quarter_of_memory(void)
{
    long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    return pages > 0 && page > 0 ? (size_t)pages / 4 * (size_t)page : (size_t)1 << 30;
}

/* `has_memory`: a device with memory of its own, which wants larger batches. */
static rm_status fill_options(rm_engine_options *options, bool has_memory, rm_error *err)
{
    if (options->n_threads < 0 || options->n_threads > 1024)
        return rm_fail(err, RM_E_ARGUMENT, "%d threads; from 1 to 1024, or 0 for one a processor",
                       options->n_threads);
    if (!options->n_threads)
        options->n_threads = available_processors();
    if (!options->page_positions)
        options->page_positions = 16;
    if (options->page_positions != 16 && options->page_positions != 32 &&
        options->page_positions != 64)
        return rm_fail(err, RM_E_ARGUMENT, "pages of %d positions; it must be 16, 32 or 64",
                       options->page_positions);
    if (!options->max_batch_rows)
        options->max_batch_rows = has_memory ? 1024 : 512;
    if (options->max_batch_rows < LEAST_BATCH_ROWS || options->max_batch_rows > MOST_BATCH_ROWS)
        return rm_fail(err, RM_E_ARGUMENT, "batches of at most %d rows; it must be from %d to %d",
                       options->max_batch_rows, LEAST_BATCH_ROWS, MOST_BATCH_ROWS);
    if (options->device < 0)
        return rm_fail(err, RM_E_ARGUMENT, "device %d; a number from 0 on was expected",
                       options->device);
    return RM_OK;
}

/* The device's own words, cut to fit. */
static void describe_device(rm_engine *engine)
{
    rm_text text = { 0 };
    engine->ops->describe(engine->backend, &text);
    size_t n = text.length < sizeof engine->device - 1 ? text.length : sizeof engine->device - 1;
    if (n)
        memcpy(engine->device, text.data, rm_utf8_valid_prefix(text.data, n));
    rm_text_free(&text);
}

rm_status rm_engine_open_on(const rm_ops *ops, const rm_engine_options *options, rm_engine **out,
                            rm_error *err)
{
    rm_engine *engine = calloc(1, sizeof *engine);
    if (!engine)
        return rm_fail(err, RM_E_MEMORY, "no memory for an engine");
    if (options)
        engine->options = *options;
    engine->ops = ops;
    rm_status status = fill_options(&engine->options, ops->identify != NULL, err);
    if (status)
        goto done;
    rm_backend_options backend = { .isa = engine->options.isa,
                                   .n_threads = engine->options.n_threads,
                                   .max_rows = engine->options.max_batch_rows,
                                   .device = engine->options.device,
                                   .fast = engine->options.fast };
    status = ops->open(&backend, &engine->backend, err);
    if (status)
        goto done;
    status = rm_pass_new(engine->options.max_batch_rows, &engine->pass, err);
    if (!status)
        status = rm_ahead_new(engine, engine->pass->max_picks, err);
    if (status)
        goto done;
    engine->stacks = rm_stacks_new();
    if (!engine->stacks) {
        status = rm_fail(err, RM_E_MEMORY, "no memory for an engine");
        goto done;
    }
    if (ops->identify)
        ops->identify(engine->backend, &engine->identity);
    if (!engine->options.kv_bytes)
        engine->options.kv_bytes = engine->identity.memory_bytes ? engine->identity.memory_bytes / 2
                                                                 : quarter_of_memory();
    engine->budget.limit_bytes = engine->options.kv_bytes;
    engine->options.backend = ops->name;
    engine->options.isa = ops->isa(engine->backend);
    describe_device(engine);
    *out = engine;
    engine = NULL;
done:
    rm_engine_close(engine);
    return status;
}

rm_status rm_engine_open(const rm_engine_options *options, rm_engine **out, rm_error *err)
{
    static const rm_engine_options defaults = { 0 };
    rm_backend_choice choice;
    if (!options)
        options = &defaults;
    rm_backend_options wanted = { .isa = options->isa, .device = options->device,
                                  .fast = options->fast };
    rm_status status = rm_backend_find(options->backend, &wanted, &choice, err);
    if (status)
        return status;
    rm_error reason;
    status = rm_engine_open_on(choice.ops, options, out, &reason);
    if (status && choice.automatic && choice.ops != &rm_cpu_ops && !options->device &&
        !options->fast) { /* a driver without a device that can be used */
        snprintf(choice.why, sizeof choice.why, "cpu, since %.*s", (int)sizeof choice.why - 12,
                 reason.text);
        status = rm_engine_open_on(&rm_cpu_ops, options, out, &reason);
    }
    if (status)
        rm_fail(err, status, "%s", reason.text);
    else
        memcpy((*out)->why, choice.why, sizeof choice.why);
    return status;
}

void rm_engine_close(rm_engine *engine)
{
    if (!engine)
        return;
    assert(!engine->models && !engine->first_run && "close runs, prefixes and models first");
    rm_stacks_free(engine->stacks);
    rm_ahead_free(engine);
    rm_pass_free(engine->pass);
    if (engine->backend)
        engine->ops->close(engine->backend);
    free(engine);
}

rm_engine_info rm_engine_describe(const rm_engine *engine)
{
    rm_engine_info info = { .backend = engine->options.backend,
                            .isa = engine->options.isa,
                            .n_threads = engine->options.n_threads,
                            .page_positions = engine->options.page_positions,
                            .max_batch_rows = engine->options.max_batch_rows,
                            .multiprocessors = engine->identity.multiprocessors,
                            .fast = engine->options.fast,
                            .kv_limit_bytes = engine->budget.limit_bytes };
    memcpy(info.device, engine->device, sizeof info.device);
    memcpy(info.why, engine->why, sizeof info.why);
    memcpy(info.libraries, engine->identity.libraries, sizeof info.libraries);
    return info;
}

rm_kv_stats rm_engine_kv(const rm_engine *engine)
{
    const rm_budget *budget = &engine->budget;
    rm_kv_stats stats = { .pages_in_use = budget->pages_used,
                          .pages_peak = budget->pages_peak,
                          .pages_allocated = budget->pages_allocated,
                          .bytes_in_use = budget->used_bytes,
                          .bytes_peak = budget->peak_bytes,
                          .suspensions = engine->suspensions,
                          .recomputed_positions = engine->recomputed_positions };
    for (const rm_run *run = engine->first_run; run; run = run->next) {
        if (run->suspended)
            continue;
        for (const rm_path *path = run->first_path; path; path = path->next)
            stats.positions_shared += (size_t)path->evaluated;
        for (int i = 0; i < run->n_usages; i++)
            stats.positions_shared -= (size_t)run->usage[i].held;
        stats.positions_shared += (size_t)run->prefix_positions;
    }
    return stats;
}

rm_engine_times rm_engine_profile(const rm_engine *engine)
{
    return engine->times;
}

/* ---- models -------------------------------------------------------------------------------- */

/* What a round reads of a model: each layer's matrices and the norms; and the output matrix. The
 * embedding is looked up by row and not counted. */
void rm_model_count_weights(rm_model *model)
{
    const rm_ops *ops = model->engine->ops;
    const rm_weights *weights = model->weights;
    model->body_bytes = ops->weight_bytes(weights->out_norm);
    for (int l = 0; l < weights->info.n_layers; l++) {
        const rm_layer *layer = &weights->layers[l];
        model->body_bytes += ops->weight_bytes(layer->attn_norm) + ops->weight_bytes(layer->qkv) +
                             ops->weight_bytes(layer->attn_out) +
                             ops->weight_bytes(layer->ffn_norm) +
                             ops->weight_bytes(layer->gate_up) + ops->weight_bytes(layer->down);
    }
    model->output_bytes = ops->weight_bytes(weights->output);
}

rm_status rm_model_adopt(rm_engine *engine, rm_weights *weights, rm_model **out, rm_error *err)
{
    const rm_model_info *info = &weights->info;
    rm_status status = RM_OK;
    rm_model *model = calloc(1, sizeof *model);
    if (!model) {
        rm_weights_close(engine->ops, engine->backend, weights);
        return rm_fail(err, RM_E_MEMORY, "no memory for model %s", info->name);
    }
    model->engine = engine;
    model->weights = weights;
    model->version = 1;
    model->next = engine->models;
    engine->models = model;
    rm_kv_shape shape = { .n_layers = info->n_layers,
                          .n_kv_heads = info->n_kv_heads,
                          .head_dim = info->head_dim,
                          .page_positions = engine->options.page_positions,
                          .type = weights->kv_type,
                          .window = info->window };
    rm_kv *kv;
    status = engine->ops->kv_new(engine->backend, &shape, &weights->rope, info->n_ctx, &kv, err);
    if (status) {
        rm_fail_within(err, status, "%s", info->file);
        goto done;
    }
    rm_pool_open(&model->pool, engine->ops, engine->backend, kv, engine->options.page_positions,
                 &engine->budget);
    size_t page = (size_t)engine->options.page_positions;
    weights->info.kv_held_bytes = (model->pool.page_bytes + page - 1) / page;
    model->tip_bytes = (size_t)info->n_embd * sizeof(float);
    rm_model_count_weights(model);
    status = rm_model_buffers_new(model, err);
    if (status)
        goto done;
    *out = model;
    model = NULL;
done:
    rm_model_close(model);
    return status;
}

rm_status rm_model_open(rm_engine *engine, const char *file, const rm_model_options *options,
                        rm_model **out, rm_error *err)
{
    static const rm_model_options defaults = { 0 };
    rm_weights *weights;
    rm_status status = rm_weights_open(engine->ops, engine->backend, file,
                                       options ? options : &defaults, &weights, err);
    rm_model *model = NULL;
    if (!status)
        status = rm_model_adopt(engine, weights, &model, err);
    if (!status && options && options->replay_on)
        status = rm_replay_open(model, options->replay_on, err);
    if (status) {
        rm_model_close(model);
        return status;
    }
    *out = model;
    return RM_OK;
}

void rm_model_close(rm_model *model)
{
    if (!model)
        return;
    rm_engine *engine = model->engine;
    assert(!model->open_runs && "close the runs and prefixes that use a model first");
    for (rm_model **link = &engine->models; *link; link = &(*link)->next)
        if (*link == model) {
            *link = model->next;
            break;
        }
    if (model->served) {
        rm_served_free(model->served);
        free((char *)model->weights->info.name);
        free(model->weights);
    } else {
        rm_model_close(model->body);
        rm_model_buffers_free(model);
        rm_pool_close(&model->pool);
        rm_weights_close(engine->ops, engine->backend, model->weights);
        free(model->values); /* after the weights, whose table is read in place */
    }
    free(model);
}

const rm_model_info *rm_model_describe(const rm_model *model)
{
    return &model->weights->info;
}

const rm_model_info *rm_model_replayed_on(const rm_model *model)
{
    return model->body ? &model->body->weights->info : NULL;
}

const int32_t *rm_model_stop_tokens(const rm_model *model, int *n)
{
    *n = model->weights->n_stop_tokens;
    return model->weights->stop_tokens;
}

/* ---- tokens and text ----------------------------------------------------------------------- */

rm_status rm_tokenize(const rm_model *model, const char *text, size_t n_bytes, bool special,
                      int32_t **tokens, int *n_tokens, rm_error *err)
{
    if (model->served) { /* one piece: how the service cuts it is its own business */
        int32_t *one = malloc(sizeof *one);
        rm_status status = one ? rm_served_piece(model->served, text, n_bytes, one, err)
                               : rm_fail(err, RM_E_MEMORY, "no memory for a prompt");
        *tokens = status ? NULL : one;
        *n_tokens = !status;
        if (status)
            free(one);
        return status;
    }
    return rm_tokenizer_encode(model->weights->tokenizer, text, n_bytes, special, tokens, n_tokens,
                               err);
}

rm_status rm_tokenize_rendered(const rm_model *model, const char *text, const char *plain,
                               size_t n_bytes, int32_t **tokens, int *n_tokens, rm_error *err)
{
    if (model->served)
        return rm_tokenize(model, text, n_bytes, true, tokens, n_tokens, err);
    return rm_tokenizer_encode_rendered(model->weights->tokenizer, text, plain, n_bytes, tokens,
                                        n_tokens, err);
}

void rm_detokenize(const rm_model *model, const int32_t *tokens, int n_tokens, bool special,
                   rm_text *text)
{
    for (int i = 0; i < n_tokens && model->served; i++) {
        size_t n;
        const char *bytes = rm_served_bytes(model->served, tokens[i], &n);
        rm_text_add(text, bytes, n);
    }
    if (!model->served)
        rm_tokenizer_decode(model->weights->tokenizer, tokens, n_tokens, special, text);
}

const char *rm_token_bytes(const rm_model *model, int32_t token, size_t *n_bytes, bool *special)
{
    if (model->served) {
        *special = token == RM_SERVED_END;
        return rm_served_bytes(model->served, token, n_bytes);
    }
    return rm_tokenizer_bytes(model->weights->tokenizer, token, n_bytes, special);
}

rm_status rm_model_same_vocabulary(const rm_model *a, const rm_model *b, rm_error *err)
{
    if (a->served || b->served)
        return a == b ? RM_OK
                      : rm_fail(err, RM_E_ARGUMENT, "%s is a service, which does not tell its "
                                "vocabulary", (a->served ? a : b)->weights->info.name);
    return rm_tokenizer_same(a->weights->tokenizer, b->weights->tokenizer, err);
}
