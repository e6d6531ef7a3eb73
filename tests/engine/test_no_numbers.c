/* test_no_numbers.c - logits that are no distribution: nothing drawn from them is handed out, and
 * nobody else is disturbed; rotary angles that cannot be computed. */
#include "engine/engine.h"
#include "engine/model/gguf.h"

#include "tests/engine/cpu_ops.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static char file[64];

/* A random model whose output matrix holds `value` for token 5. */
static void write_model(float value, bool spoil)
{
    rm_error err;
    rm_random_model shape = { .n_layers = 1, .n_embd = 16, .n_heads = 2, .n_ff = 16,
                              .n_vocab = 300, .n_ctx = 64, .weight_type = "f32", .seed = 4 };
    snprintf(file, sizeof file, "/tmp/ramify-test-XXXXXX");
    int handle = mkstemp(file);
    cr_assert(handle >= 0);
    close(handle);
    cr_assert_eq(rm_model_write_random(&shape, file, &err), RM_OK, "%s", err.text);
    rm_gguf *g;
    cr_assert_eq(rm_gguf_open(file, &g, &err), RM_OK, "%s", err.text);
    long at = (long)rm_gguf_find_tensor(g, "output.weight")->offset + 5 * 16 * 4;
    rm_gguf_close(g);
    FILE *f = fopen(file, "r+b");
    cr_assert(f && !fseek(f, at, SEEK_SET));
    cr_assert(!spoil || fwrite(&value, sizeof value, 1, f) == 1);
    cr_assert(!spoil || isnan(value) || fwrite(&(float){ -value }, sizeof value, 1, f) == 1);
    cr_assert(!fclose(f));
}

static const int32_t prompt[] = { 0, 7, 8, 9 };

/* The wants that take a distribution. */
static rm_request request_of(int kind, rm_path *path)
{
    static const rm_sampling sampled = RM_SAMPLING_DEFAULT,
                             greedy = { false, 1.0, 0, 1.0, 0.0, 1.0, 1.0 };
    rm_request requests[] = {
        { .want = RM_WANT_SPAN, .sampling = &sampled, .max_new_tokens = 3 },
        { .want = RM_WANT_SPAN, .sampling = &greedy, .max_new_tokens = 3 },
        { .want = RM_WANT_TOP, .k = 3 },
        { .want = RM_WANT_LOGPROBS, .tokens = prompt, .n_tokens = 2 },
        { .want = RM_WANT_SCORE, .tokens = prompt, .n_tokens = 2 },
        { .want = RM_WANT_ALL },
    };
    requests[kind].path = path;
    return requests[kind];
}

static rm_path *path_of(rm_run *run, rm_model *model)
{
    rm_error err;
    rm_path *path;
    cr_assert_eq(rm_path_new(run, model, prompt, 4, &path, &err), RM_OK, "%s", err.text);
    return path;
}

Test(no_numbers, what_asks_for_them_fails)
{
    static const float values[] = { NAN, INFINITY };
    for (int v = 0; v < 2; v++) {
        rm_error err;
        rm_engine *engine;
        rm_model *bad, *good;
        rm_run *run;
        rm_engine_options options = { .n_threads = 2 };
        cr_assert_eq(rm_engine_open(&options, &engine, &err), RM_OK, "%s", err.text);
        write_model(values[v], true);
        cr_assert_eq(rm_model_open(engine, file, NULL, &bad, &err), RM_OK, "%s", err.text);
        unlink(file);
        write_model(0, false);
        cr_assert_eq(rm_model_open(engine, file, NULL, &good, &err), RM_OK, "%s", err.text);
        unlink(file);
        cr_assert_eq(rm_run_open(engine, NULL, &run, &err), RM_OK);
        for (int kind = 0; kind < 6; kind++) {
            rm_path *path = path_of(run, bad), *other = path_of(run, good);
            rm_request request = request_of(kind, path);
            cr_expect_eq(rm_eval(run, &request, 1, &err), RM_E_FORMAT, "value %d, want %d", v,
                         kind);
            cr_expect(strstr(err.text, "after 4 tokens are no numbers"), "%s", err.text);
            cr_expect(rm_path_length(path) == 4 && !request.result.n);
            rm_member members[] = { { other, 1 }, { path, 1 } };
            request.path = NULL;
            request.members = members;
            request.n_members = 2;
            request.combine = kind % 2 ? RM_COMBINE_MIXTURE : RM_COMBINE_PRODUCT;
            cr_expect_eq(rm_eval(run, &request, 1, &err), RM_E_FORMAT, "together, want %d", kind);
            request = request_of(kind, other);
            cr_expect_eq(rm_eval(run, &request, 1, &err), RM_OK, "%s", err.text);
            cr_expect_geq(request.result.n, 1);
            rm_path_drop(path);
            rm_path_drop(other);
        }
        rm_run_close(run);
        rm_model_close(bad);
        rm_model_close(good);
        rm_engine_close(engine);
    }
}

/* rm_sincos is exact below 2^30: (n_ctx - 1) scale frequency must stay there. */
Test(no_numbers, rotary_angles_out_of_reach_are_refused)
{
    static const float tiny[] = { 1, 1e-45f }, small[] = { 1, 1e-4f };
    static const struct {
        double scale;
        const float *factors;
        int positions;
        rm_status status;
    } table[] = {
        { 1, NULL, 1 << 20, RM_OK },         { (double)INFINITY, NULL, 64, RM_E_FORMAT },
        { 1, tiny, 64, RM_E_FORMAT },        { 1, small, 64, RM_OK },
        { 0x1p10, NULL, 1 << 19, RM_OK },    { 0x1p10, NULL, 1 << 20, RM_E_FORMAT },
        { (double)NAN, NULL, 64, RM_E_FORMAT },
    };
    rm_backend *b = open_backend("portable", 1);
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        rm_error err;
        rm_kv *kv = NULL;
        rm_kv_shape shape = { .n_layers = 1, .n_kv_heads = 1, .head_dim = 4, .page_positions = 16,
                              .type = RM_F32 };
        rm_rope rope = { .n_dims = 4, .theta = 10000, .scale = table[i].scale,
                         .factors = table[i].factors };
        rm_status status = ops->kv_new(b, &shape, &rope, table[i].positions, &kv, &err);
        cr_expect_eq(status, table[i].status, "row %zu", i);
        if (status)
            cr_expect(strstr(err.text, "less than 2^30 was expected"), "%s", err.text);
        else
            ops->kv_free(b, kv);
    }
    ops->close(b);
}
