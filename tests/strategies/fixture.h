/* fixture.h - an engine, models and a problem for the tests of strategies. */
#ifndef RM_TESTS_STRATEGIES_FIXTURE_H
#define RM_TESTS_STRATEGIES_FIXTURE_H

#include "strategies/strategy.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- a problem whose answer follows "</think>" ------------------------------------------- */

static inline const char *answer_after_thought(const rm_problem *problem, rm_run *run,
                                               const char *text)
{
    (void)problem;
    const char *end = strstr(text, "</think>");
    if (!end || !end[8])
        return NULL;
    char *copy = rm_run_alloc(run, strlen(end + 8) + 1);
    return copy ? strcpy(copy, end + 8) : NULL;
}

static inline double equals_task(const rm_problem *problem, const char *answer)
{
    return strcmp(answer, problem->task) == 0;
}

static const char *const semicolon[] = { ";" };

/* "(17+5)*(9-4)-36=" -> 74, in the prompt format of the embedded models. */
static inline rm_problem arithmetic_problem(char *prompt, const char *answer)
{
    return (rm_problem){ .id = prompt, .prompt = prompt, .step_ends = semicolon, .n_step_ends = 1,
                         .answer = answer_after_thought, .verify = equals_task,
                         .oracle = equals_task, .task = (void *)(uintptr_t)answer };
}

/* ---- engine, models, runs ------------------------------------------------------------------ */

typedef struct fixture {
    rm_engine *engine;
    rm_model *model[4];
    int n_models;
    char file[4][64];     /* temporary ones, removed again */
} fixture;

static inline void must(rm_status status, const rm_error *err)
{
    cr_assert(status == RM_OK, "%s", err->text);
}

static inline void fixture_engine(fixture *f)
{
    rm_error err;
    *f = (fixture){ 0 };
    rm_engine_options options = { .n_threads = 1, .kv_bytes = (size_t)64 << 20 };
    must(rm_engine_open(&options, &f->engine, &err), &err);
}

static inline void fixture_open(fixture *f, const char *const *names, int n)
{
    rm_error err;
    fixture_engine(f);
    for (int i = 0; i < n; i++) {
        char file[512];
        snprintf(file, sizeof file, "%s/%s.gguf", RM_MODELS_DIR, names[i]);
        must(rm_model_open(f->engine, file, NULL, &f->model[f->n_models++], &err), &err);
    }
}

/* An embedded model whose attention is made to see the last `window` positions only: a key more in its
 * file. The key and one that nobody reads take 64 bytes together, so that the tensors stay aligned. */
static inline void fixture_add_windowed(fixture *f, const char *name, int window)
{
    enum { HEADER = 24, COUNT_AT = 16, ADDED = 64, UINT32 = 4 };
    static const char *const keys[] = { "llama.attention.sliding_window", "zz" };
    char source[512], *bytes, added[ADDED], *file = f->file[f->n_models];
    size_t n, at = 0;
    rm_error err;
    uint32_t type = UINT32, value = (uint32_t)window;
    uint64_t count;
    snprintf(source, sizeof source, "%s/%s.gguf", RM_MODELS_DIR, name);
    must(rm_file_read(source, (size_t)64 << 20, &bytes, &n, &err), &err);
    for (int k = 0; k < 2; k++) {
        uint64_t length = strlen(keys[k]);
        memcpy(added + at, &length, 8);
        memcpy(added + at + 8, keys[k], length);
        memcpy(added + at + 8 + length, &type, 4);
        memcpy(added + at + 12 + length, &value, 4);
        at += 16 + length;
    }
    cr_assert_eq(at, ADDED);
    memcpy(&count, bytes + COUNT_AT, 8);
    count += 2;
    memcpy(bytes + COUNT_AT, &count, 8);
    strcpy(file, "/tmp/ramify-test-XXXXXX");
    int fd = mkstemp(file);
    cr_assert(fd >= 0);
    cr_assert(write(fd, bytes, HEADER) == HEADER && write(fd, added, ADDED) == ADDED &&
              write(fd, bytes + HEADER, n - HEADER) == (ssize_t)(n - HEADER));
    close(fd);
    free(bytes);
    must(rm_model_open(f->engine, file, NULL, &f->model[f->n_models++], &err), &err);
}

/* A tiny llama with random weights: prompts are strings of printable ASCII characters. */
static inline void fixture_add_random(fixture *f, int n_vocab, int n_ctx, uint64_t seed)
{
    rm_error err;
    rm_random_model shape = { .n_layers = 2, .n_embd = 32, .n_heads = 2, .n_ff = 48,
                              .n_vocab = n_vocab, .n_ctx = n_ctx, .weight_type = "f32",
                              .seed = seed };
    char *file = f->file[f->n_models];
    snprintf(file, sizeof f->file[0], "/tmp/ramify-test-XXXXXX");
    int handle = mkstemp(file);
    cr_assert(handle >= 0);
    close(handle);
    must(rm_model_write_random(&shape, file, &err), &err);
    must(rm_model_open(f->engine, file, NULL, &f->model[f->n_models++], &err), &err);
}

static inline void fixture_close(fixture *f)
{
    for (int i = 0; i < f->n_models; i++) {
        rm_model_close(f->model[i]);
        if (f->file[i][0])
            unlink(f->file[i]);
    }
    rm_engine_close(f->engine);
}

/* A trial of the first n_models models; close trial.run. */
static inline rm_trial trial_open(fixture *f, const rm_problem *problem, int n_models,
                           const rm_run_options *options)
{
    rm_error err;
    rm_run_options defaults = { .seed = 1, .problem = 7 };
    rm_trial trial = { .problem = problem, .models = f->model, .n_models = n_models };
    must(rm_run_open(f->engine, options ? options : &defaults, &trial.run, &err), &err);
    return trial;
}

/* Parameters from "name=value" words, separated by blanks. */
static inline rm_params *params_of(const char *strategy, const char *words)
{
    rm_error err;
    const rm_strategy *s;
    rm_params *params;
    must(rm_strategy_find(strategy, &s, &err), &err);
    must(rm_params_new(s, &params, &err), &err);
    char copy[256];
    snprintf(copy, sizeof copy, "%s", words);
    for (char *save, *word = strtok_r(copy, " ", &save); word; word = strtok_r(NULL, " ", &save)) {
        char *equal = strchr(word, '=');
        *equal = '\0';
        must(rm_params_set(params, word, equal + 1, &err), &err);
    }
    return params;
}

static inline rm_outcome outcome_of(const rm_trial *trial, const char *strategy, const char *words)
{
    rm_error err;
    rm_outcome out;
    rm_params *params = params_of(strategy, words);
    must(rm_strategy_run(trial, params, &out, &err), &err);
    rm_params_free(params);
    return out;
}

#endif
