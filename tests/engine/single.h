/* single.h - one engine on the double, one model, one run: the ground of small tests. */
#ifndef TESTS_ENGINE_SINGLE_H
#define TESTS_ENGINE_SINGLE_H

#include "tests/engine/fake.h"

#include <criterion/criterion.h>

typedef struct single {
    rm_engine *engine;
    rm_model *model;
    rm_run *run;
} single;

static single single_open(int page, int rows, rm_run_options run)
{
    single s;
    rm_error error = { "" };
    rm_engine_options options = { .n_threads = 1, .page_positions = page, .max_batch_rows = rows };
    cr_assert_eq(rm_engine_open_on(&fake_ops, &options, &s.engine, &error), RM_OK, "%s",
                 error.text);
    cr_assert_eq(rm_model_open(s.engine, RM_MODELS_DIR "/thimble-s.gguf", NULL, &s.model, &error),
                 RM_OK, "%s", error.text);
    cr_assert_eq(rm_run_open(s.engine, &run, &s.run, &error), RM_OK, "%s", error.text);
    return s;
}

static void single_close(single *s)
{
    rm_run_close(s->run);
    cr_expect_eq(s->engine->budget.used_bytes, 0, "pages or tips are left over");
    cr_expect_eq(fake.cells_missing, 0, "attention read positions nobody stored");
    rm_model_close(s->model);
    rm_engine_close(s->engine);
}

/* What the double's state is after these tokens. */
static inline uint64_t history_of(const int32_t *tokens, int n)
{
    uint64_t history = 0;
    for (int i = 0; i < n; i++)
        history = fake_history(history, tokens[i]);
    return history;
}

#endif
