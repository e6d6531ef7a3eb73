/* engine.h - engines on the device in software and beside it on the CPU, and jobs to compare. */
#ifndef TESTS_CUDA_ENGINE_H
#define TESTS_CUDA_ENGINE_H

#include <criterion/criterion.h>
#include <stdio.h>
#include <unistd.h>

#include "engine/core.h"
#include "engine/cuda/cuda.h"
#include "tests/cuda/runtime.h"
#include "tests/engine/workload.h"

static inline void must(rm_status status, const rm_error *err)
{
    cr_assert_eq(status, RM_OK, "%s", err->text);
}

static inline rm_engine *engine_on(const rm_ops *ops, rm_engine_options options)
{
    rm_error err = { "" };
    rm_engine *engine = NULL;
    if (!options.n_threads)
        options.n_threads = 1;
    if (!options.kv_bytes)
        options.kv_bytes = (size_t)64 << 20;
    must(rm_engine_open_on(ops, &options, &engine, &err), &err);
    return engine;
}

static inline rm_model *model_on(rm_engine *engine, const char *file, const char *compute)
{
    rm_error err = { "" };
    rm_model *model = NULL;
    rm_model_options options = { .compute = compute };
    must(rm_model_open(engine, file, &options, &model, &err), &err);
    return model;
}

/* A small llama with random weights in a temporary file: grouped heads of 48, two chunks and more
 * of context. The caller unlinks it. */
static inline void random_model(char file[64], const char *type, int n_embd, int n_ff, uint64_t seed)
{
    rm_error err = { "" };
    rm_random_model shape = { .n_layers = 2, .n_embd = n_embd, .n_heads = 2, .n_kv_heads = 1,
                              .head_dim = 48, .n_ff = n_ff, .n_vocab = 264, .n_ctx = 512,
                              .weight_type = type, .seed = seed };
    snprintf(file, 64, "/tmp/ramify-cuda-XXXXXX");
    int handle = mkstemp(file);
    cr_assert(handle >= 0);
    close(handle);
    must(rm_model_write_random(&shape, file, &err), &err);
}

/* What the workload of tests/engine does, without the account: weights are counted as the backend
 * holds them. */
static rm_status work_uncounted(rm_run *run, void *arg, rm_error *err)
{
    workload *load = arg;
    int32_t *prompt = rm_run_alloc(run, sizeof *prompt * (size_t)load->n_prompt);
    rm_path *path;
    load->digest = load->job.options.problem;
    for (int i = 0; i < load->n_prompt; i++) /* all problems begin with the same tokens */
        prompt[i] = i < load->n_prompt / 2 ? 4 + i % 3
                                           : (int32_t)(rm_mix(load->digest, (uint64_t)i) % 28 + 4);
    rm_status status = rm_path_new(run, load->model, prompt, load->n_prompt, &path, err);
    for (int i = 0; i < load->rounds && !status; i++)
        status = workload_round(run, load, &path, err);
    return status;
}

typedef struct condition {
    int rows, page, concurrency;
    size_t kv_bytes;
} condition;

/* Digests of n problems under a condition. */
static inline void digests_on(const rm_ops *ops, const char *file, const char *other,
                              const char *compute, condition c, bool fast, int n, int n_prompt,
                              int max_new, uint64_t *out)
{
    rm_error err = { "" };
    rm_engine *engine = engine_on(ops, (rm_engine_options){ .max_batch_rows = c.rows,
                                                            .page_positions = c.page,
                                                            .kv_bytes = c.kv_bytes, .fast = fast });
    rm_model *model = model_on(engine, file, compute), *second = model_on(engine, other, compute);
    workload_list list = workload_list_new(n, model, second, (rm_run_options){ .seed = 11 },
                                           n_prompt, max_new, 1);
    for (int i = 0; i < n; i++)
        list.loads[i].job.work = work_uncounted;
    must(rm_engine_run(engine, c.concurrency, workload_next, workload_done, &list, NULL, &err), &err);
    for (int i = 0; i < n; i++) {
        cr_assert_eq(list.loads[i].job.status, RM_OK, "%s", list.loads[i].job.error.text);
        out[i] = list.loads[i].digest;
    }
    free(list.loads);
    rm_model_close(model);
    rm_model_close(second);
    rm_engine_close(engine);
}

#endif
