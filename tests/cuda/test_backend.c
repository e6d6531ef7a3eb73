/* test_backend.c - the host side of the CUDA backend: what a step costs it, and what fails. */
#include "engine/ahead.h"
#include "tests/cuda/engine.h"

/* One path drawing n tokens. */
typedef struct drawing {
    char file[64];
    rm_engine *engine;
    rm_model *model;
    rm_run *run;
    rm_path *path;
} drawing;

static void drawing_open(drawing *d, const char *type)
{
    rm_error err = { "" };
    int32_t prompt[40];
    for (int i = 0; i < 40; i++)
        prompt[i] = 4 + i;
    random_model(d->file, type, 64, 72, 5);
    d->engine = engine_on(&rm_cuda_ops, (rm_engine_options){ 0 });
    d->model = model_on(d->engine, d->file, NULL);
    must(rm_run_open(d->engine, &(rm_run_options){ .seed = 3 }, &d->run, &err), &err);
    must(rm_path_new(d->run, d->model, prompt, 40, &d->path, &err), &err);
}

static rm_status draw(drawing *d, int n, rm_error *err)
{
    static const rm_sampling sampling = RM_SAMPLING_DEFAULT;
    static const int32_t none[1];
    static const rm_stop stop = { .tokens = none, .n_tokens = 0 };
    rm_request request = { .want = RM_WANT_SPAN, .path = d->path, .sampling = &sampling,
                           .max_new_tokens = n, .stop = &stop };
    return rm_eval(d->run, &request, 1, err);
}

static void drawing_close(drawing *d)
{
    rm_run_close(d->run);
    rm_model_close(d->model);
    rm_engine_close(d->engine);
    unlink(d->file);
    cr_expect_eq(runtime.used, 0, "%zu bytes of device memory are left over", runtime.used);
}

/* Within a chunk, in which the work list keeps its length. */
enum { STEPS = 12 };

static void expect_steady(drawing *d)
{
    rm_error err = { "" };
    runtime_state before = runtime;
    must(draw(d, STEPS, &err), &err);
    cr_expect_eq(runtime.allocations, before.allocations, "a steady step allocates");
    cr_expect_eq(runtime.graphs, before.graphs, "a steady step captures");
    cr_expect_eq(runtime.replays - before.replays, STEPS);
    cr_expect_eq(runtime.copies_back - before.copies_back, STEPS);
    cr_expect_eq(runtime.waits - before.waits, STEPS);
}

Test(cuda_backend, a_steady_step_is_one_graph_one_wait_and_one_copy_back)
{
    drawing d;
    rm_error err = { "" };
    drawing_open(&d, "bf16");
    d.engine->ahead->most = 0;
    must(draw(&d, 8, &err), &err);
    expect_steady(&d);
    cr_expect_eq(d.engine->ahead->groups, 0);
    drawing_close(&d);
}

/* The same where the device goes on by itself: the waits are for steps behind which others run. */
Test(cuda_backend, a_steady_span_is_a_graph_a_step_and_nothing_there)
{
    drawing d;
    rm_error err = { "" };
    drawing_open(&d, "bf16");
    must(draw(&d, 8, &err), &err);
    must(draw(&d, 3, &err), &err); /* the first step of a span is a program of its own */
    runtime_state before = runtime;
    uint64_t groups = d.engine->ahead->groups, taken = d.engine->ahead->taken;
    expect_steady(&d);
    cr_expect_eq(runtime.copies_there - before.copies_there, 1 + STEPS - 1,
                 "the batch once, then who has left");
    cr_expect_eq(d.engine->ahead->groups - groups, 1);
    cr_expect_eq(d.engine->ahead->taken - taken, STEPS - 1);
    drawing_close(&d);
}

Test(cuda_backend, graphs_change_nothing)
{
    int32_t tokens[2][52];
    for (int refuse = 0; refuse < 2; refuse++) {
        drawing d;
        rm_error err = { "" };
        runtime.no_capture = refuse;
        drawing_open(&d, "f32");
        must(draw(&d, 12, &err), &err);
        memcpy(tokens[refuse], rm_path_tokens(d.path), sizeof tokens[0]);
        drawing_close(&d);
    }
    cr_expect_arr_eq(tokens[0], tokens[1], sizeof tokens[0]);
}

Test(cuda_backend, a_launch_that_fails_is_named_and_undone)
{
    drawing d;
    rm_error err = { "" };
    drawing_open(&d, "f32");
    runtime.fail_launch = 5;
    cr_expect_eq(draw(&d, 4, &err), RM_E_IO);
    cr_expect(strstr(err.text, "attention, ") && strstr(err.text, "engine/cuda/program.c:"), "%s", err.text);
    cr_expect_eq(rm_path_length(d.path), 40);
    must(draw(&d, 4, &err), &err);
    cr_expect_eq(rm_path_length(d.path), 44);
    drawing_close(&d);
}

/* Wherever in a prefill, in a span or in one of its steps: the path is put back, nothing is lent, and
 * what is drawn then is what was to be drawn. */
Test(cuda_backend, a_span_that_fails_is_undone)
{
    int32_t expected[46];
    for (int at = 0; at < 100; at += at ? 23 : 11) {
        drawing d;
        rm_error err = { "" };
        drawing_open(&d, "f32");
        runtime.fail_launch = at;
        if (at) {
            cr_expect_eq(draw(&d, 6, &err), RM_E_IO, "launch %d", at);
            cr_expect_eq(rm_path_length(d.path), 40, "launch %d", at);
            cr_expect_eq(d.engine->budget.lent_bytes, 0, "launch %d", at);
            cr_expect_eq(d.engine->ahead->n_live, 0, "launch %d", at);
        }
        must(draw(&d, 6, &err), &err);
        if (at)
            cr_expect_arr_eq(rm_path_tokens(d.path), expected, sizeof expected);
        else
            memcpy(expected, rm_path_tokens(d.path), sizeof expected);
        drawing_close(&d);
    }
}

Test(cuda_backend, too_little_memory_is_said_with_the_numbers)
{
    char file[64];
    rm_error err = { "" };
    rm_model *model = NULL;
    random_model(file, "f32", 64, 72, 5);
    runtime.memory = (size_t)3 << 20;
    rm_engine *engine = engine_on(&rm_cuda_ops, (rm_engine_options){ .max_batch_rows = 16 });
    runtime.memory = runtime.used + (64 << 10);
    cr_expect_eq(rm_model_open(engine, file, NULL, &model, &err), RM_E_MEMORY);
    cr_expect(strstr(err.text, "MiB are wanted") && strstr(err.text, "device in software"), "%s",
              err.text);
    runtime.memory = (size_t)1 << 30;
    must(rm_model_open(engine, file, NULL, &model, &err), &err);
    rm_model_close(model);
    rm_engine_close(engine);
    unlink(file);
    cr_expect_eq(runtime.used, 0);
}

Test(cuda_backend, a_full_cache_is_said_with_the_numbers)
{
    drawing d;
    rm_error err = { "" };
    drawing_open(&d, "f32");
    size_t memory = runtime.memory;
    must(draw(&d, 1, &err), &err);
    runtime.memory = runtime.used;
    cr_expect_eq(draw(&d, 300, &err), RM_E_MEMORY);
    cr_expect(strstr(err.text, "keys and values"), "%s", err.text);
    runtime.memory = memory;
    must(draw(&d, 2, &err), &err);
    drawing_close(&d);
}

Test(cuda_backend, devices_that_are_not_there)
{
    rm_error err = { "" };
    rm_backend *b = NULL;
    rm_backend_options options = { .n_threads = 1, .max_rows = 16, .device = 1 };
    cr_expect_eq(rm_cuda_ops.open(&options, &b, &err), RM_E_ARGUMENT);
    cr_expect(strstr(err.text, "has 1"), "%s", err.text);
    runtime.devices = 0;
    options.device = 0;
    cr_expect_eq(rm_cuda_ops.open(&options, &b, &err), RM_E_UNSUPPORTED);
    cr_expect(strstr(err.text, "no CUDA-capable device"), "%s", err.text);
}

Test(cuda_backend, what_it_is_stands_in_the_description)
{
    runtime.has_library = 1;
    rm_engine *engine = engine_on(&rm_cuda_ops, (rm_engine_options){ .fast = true });
    rm_engine_info info = rm_engine_describe(engine);
    cr_expect_str_eq(info.backend, "cuda");
    cr_expect_str_eq(info.isa, "sm_80-fast");
    cr_expect_eq(info.multiprocessors, runtime.multiprocessors);
    cr_expect(info.fast && strstr(info.device, "fast products"), "%s", info.device);
    cr_expect(strstr(info.libraries, "cuBLASLt 13.0.0"), "%s", info.libraries);
    rm_engine_close(engine);
}
