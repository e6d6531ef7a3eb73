/* test_memory.c - opening a model takes memory of its file's size, however wide its layers are. */
#include "engine/engine.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static size_t resident_bytes(void)
{
    size_t all = 0, resident = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    cr_assert(f && fscanf(f, "%zu %zu", &all, &resident) == 2);
    fclose(f);
    return resident * (size_t)sysconf(_SC_PAGESIZE);
}

/* Width 16384, heads of 2: a file of 10 MB, and 512 rows of activations of 135 MB. */
Test(memory, activations_are_not_touched_before_they_are_used)
{
    rm_error err;
    rm_engine *engine;
    rm_model *model;
    rm_random_model shape = { .n_layers = 1, .n_embd = 16384, .n_heads = 1, .head_dim = 2,
                              .n_ff = 2, .n_vocab = 300, .n_ctx = 64, .tied = true,
                              .weight_type = "f16", .seed = 1 };
    char file[] = "/tmp/ramify-test-XXXXXX";
    int handle = mkstemp(file);
    cr_assert(handle >= 0);
    close(handle);
    cr_assert_eq(rm_model_write_random(&shape, file, &err), RM_OK, "%s", err.text);
    rm_engine_options options = { .n_threads = 1, .max_batch_rows = 512 };
    cr_assert_eq(rm_engine_open(&options, &engine, &err), RM_OK, "%s", err.text);
    size_t before = resident_bytes();
    cr_assert_eq(rm_model_open(engine, file, NULL, &model, &err), RM_OK, "%s", err.text);
    size_t after = resident_bytes(), grown = after > before ? after - before : 0;
    cr_expect(grown < 6 * rm_model_describe(model)->file_bytes, "%zu bytes for a file of %zu",
              grown,
              rm_model_describe(model)->file_bytes);
    rm_run *run;
    rm_path *path;
    cr_assert_eq(rm_run_open(engine, NULL, &run, &err), RM_OK);
    cr_assert_eq(rm_path_new(run, model, &(int32_t){ 0 }, 1, &path, &err), RM_OK);
    rm_request request = { .want = RM_WANT_TOP, .path = path, .k = 1 };
    cr_expect_eq(rm_eval(run, &request, 1, &err), RM_OK, "%s", err.text);
    rm_run_close(run);
    rm_model_close(model);
    rm_engine_close(engine);
    unlink(file);
}
