/* test_train_pass.c - training as a whole: loss and gradients against PyTorch, the same bits as in
 * inference and under any number of threads, the optimizer against its formula, states, files, and
 * new weights for a loaded model. */
#include "engine/train.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define OK(call) cr_assert_eq((call), RM_OK, "%s", error.text)

/* ---- the model and documents of train_golden.py --------------------------------------------- */

enum { GOLDEN_DOCS = 4, GOLDEN_PARTS = 21 };

static const struct {
    bool tied;
    double loss, weight, entropy;
    struct {
        double norm, dot, third;
    } part[GOLDEN_PARTS];
} golden[] = {
#include "tests/engine/train_golden.h"
};

static rm_shape golden_shape(bool tied)
{
    return (rm_shape){ .n_layers = 2, .n_embd = 48, .n_heads = 4, .n_kv_heads = 2, .head_dim = 16,
                       .n_ff = 64, .n_vocab = 21, .n_ctx = 96, .tied = tied, .rope_theta = 10000,
                       .norm_eps = 1e-5 };
}

static const char *const special[] = { "<bos>", "<eos>" };
static const rm_vocabulary vocabulary = { special, 2, "0123456789+-*/=" };

static rm_engine *open_engine(const char *isa, int threads)
{
    rm_error error = { "" };
    rm_engine *engine;
    rm_engine_options options = { .isa = isa, .n_threads = threads, .max_batch_rows = 64 };
    OK(rm_engine_open(&options, &engine, &error));
    return engine;
}

static double number(uint64_t i)
{
    return (double)(uint32_t)((uint32_t)(i * UINT64_C(2654435761)) >> 8) / 16777216.0 - 0.5;
}

static rm_trainer *golden_trainer(rm_engine *engine, bool tied)
{
    rm_error error = { "" };
    rm_trainer *t;
    rm_shape shape = golden_shape(tied);
    OK(rm_trainer_new(engine, &shape, &vocabulary, 1, &t, &error));
    rm_parameter p;
    for (int i = 0; rm_shape_parameter(&shape, i, &p); i++)
        for (size_t k = 0; k < (p.n_out ? p.n_out : 1) * p.n_in; k++)
            rm_trainer_values(t)[p.offset + k] =
                (float)((p.n_out ? 0 : 1) + number(p.offset + k) / 2);
    return t;
}

typedef struct golden_docs {
    int32_t tokens[GOLDEN_DOCS][80];
    float weight[GOLDEN_DOCS][80];
    rm_document doc[GOLDEN_DOCS];
} golden_docs;

static void fill_docs(golden_docs *g)
{
    static const int length[] = { 6, 2, 71, 33 }, prompt[] = { 2, 1, 9, 1 };
    for (int d = 0; d < GOLDEN_DOCS; d++) {
        for (int i = 0; i < length[d]; i++) {
            g->tokens[d][i] = (i * i + 3 * i + 5 * d) % 21;
            g->weight[d][i] = i < prompt[d] ? 0.0f : 1.0f + (float)(i % 3) / 2;
        }
        g->doc[d] = (rm_document){ g->tokens[d], g->weight[d], length[d], NULL };
    }
}

static const rm_objective plain = { .scale = 1 };

/* ---- against PyTorch ------------------------------------------------------------------------- */

/* f32 against double over some hundred operations: a relative 2e-5 is ten times what is seen. */
static void close_to(double got, double expected, double size, const char *what)
{
    cr_expect(fabs(got - expected) <= 2e-5 * size, "%s: got %.9g, PyTorch has %.9g", what, got,
              expected);
}

Test(train_pass, loss_and_gradients_agree_with_pytorch)
{
    rm_error error = { "" };
    rm_engine *engine = open_engine(NULL, 2);
    golden_docs docs;
    fill_docs(&docs);
    for (size_t c = 0; c < sizeof golden / sizeof *golden; c++) {
        rm_trainer *t = golden_trainer(engine, golden[c].tied);
        rm_train_sums sums;
        OK(rm_trainer_pass(t, docs.doc, GOLDEN_DOCS, &plain, NULL, &sums, &error));
        close_to(sums.loss, golden[c].loss, golden[c].loss, "loss");
        close_to(sums.weight, golden[c].weight, golden[c].weight, "weight");
        close_to(sums.entropy, golden[c].entropy, golden[c].entropy, "entropy");
        const float *gradient = rm_trainer_gradient(t);
        rm_parameter p;
        for (int i = 0; rm_shape_parameter(rm_trainer_shape(t), i, &p); i++) {
            double squares = 0, dot = 0;
            size_t n = (p.n_out ? p.n_out : 1) * p.n_in;
            for (size_t k = 0; k < n; k++) {
                double g = (double)gradient[p.offset + k];
                squares += g * g;
                dot += g * ((double)(k % 17) - 8);
            }
            double norm = golden[c].part[i].norm;
            close_to(sqrt(squares), norm, norm, p.name);
            close_to(dot, golden[c].part[i].dot, 8 * norm, p.name);
            close_to((double)gradient[p.offset + n / 3], golden[c].part[i].third, norm, p.name);
        }
        rm_trainer_free(t);
    }
    rm_engine_close(engine);
}

/* ---- equal bits ------------------------------------------------------------------------------ */

/* Some steps of training; the hash of the weights reached. The documents are repeated so that
 * they do not fit into one batch of rows. */
static uint64_t train_hash(const char *isa, int threads, int copies, int steps)
{
    rm_error error = { "" };
    rm_engine *engine = open_engine(isa, threads);
    rm_trainer *t = golden_trainer(engine, true);
    golden_docs docs;
    fill_docs(&docs);
    rm_document *all = calloc((size_t)(copies * GOLDEN_DOCS), sizeof *all);
    for (int i = 0; i < copies * GOLDEN_DOCS; i++)
        all[i] = docs.doc[i % GOLDEN_DOCS];
    rm_adamw adam = { 0.01, 0.9, 0.95, 1e-8, 0.1, 1 };
    for (int s = 0; s < steps; s++) {
        rm_trainer_clear(t);
        OK(rm_trainer_pass(t, all, copies * GOLDEN_DOCS, &plain, NULL, NULL, &error));
        OK(rm_trainer_step(t, &adam, NULL, &error));
    }
    uint64_t hash = rm_hash_bytes(rm_trainer_values(t),
                                  rm_shape_parameters(rm_trainer_shape(t)) * sizeof(float));
    free(all);
    rm_trainer_free(t);
    rm_engine_close(engine);
    return hash;
}

Test(train_pass, weights_do_not_depend_on_threads)
{
    uint64_t one = train_hash(NULL, 1, 13, 3);
    cr_expect_eq(train_hash(NULL, 2, 13, 3), one);
    cr_expect_eq(train_hash(NULL, 7, 13, 3), one);
}

Test(train_pass, weights_do_not_depend_on_the_instruction_set)
{
    static const char *const isas[] = { "avx512-bf16", "avx512", "avx2" };
    uint64_t portable = train_hash("portable", 2, 1, 2);
    for (size_t i = 0; i < sizeof isas / sizeof *isas; i++) {
        rm_engine *engine;
        rm_engine_options options = { .isa = isas[i], .n_threads = 1 };
        if (rm_engine_open(&options, &engine, NULL))
            continue; /* not on this processor */
        rm_engine_close(engine);
        cr_expect_eq(train_hash(isas[i], 2, 1, 2), portable, "%s", isas[i]);
    }
}

/* What a token's log-probability is when it is drawn, it is when it is trained on. */
Test(train_pass, sampling_and_training_agree_in_every_bit)
{
    rm_error error = { "" };
    rm_engine *engine = open_engine(NULL, 2);
    rm_model *model;
    rm_trainer *t;
    OK(rm_model_open(engine, RM_MODELS_DIR "/thimble-s.gguf", NULL, &model, &error));
    OK(rm_trainer_open(engine, RM_MODELS_DIR "/thimble-s.gguf", &t, &error));
    OK(rm_model_update(model, rm_trainer_shape(t), rm_trainer_values(t), &error));
    enum { SAMPLES = 6, MOST = 90 };
    rm_sampling sampling = RM_SAMPLING_DEFAULT;
    rm_run *run;
    OK(rm_run_open(engine, &(rm_run_options){ .seed = 5 }, &run, &error));
    int32_t *prompt;
    int n_prompt;
    OK(rm_tokenize(model, "4 7 8 25>80<think>", 18, true, &prompt, &n_prompt, &error));
    rm_path *root, *path[SAMPLES];
    rm_request want[SAMPLES] = { { 0 } };
    OK(rm_path_new(run, model, prompt, n_prompt, &root, &error));
    rm_request first = { .want = RM_WANT_NOTHING, .path = root };
    OK(rm_eval(run, &first, 1, &error));
    for (uint32_t i = 0; i < SAMPLES; i++) {
        OK(rm_path_fork(root, i, &path[i], &error));
        want[i] = (rm_request){ .want = RM_WANT_SPAN, .path = path[i], .sampling = &sampling,
                                .max_new_tokens = MOST };
    }
    OK(rm_eval(run, want, SAMPLES, &error));
    double lp_space[SAMPLES][MOST + 40], *lp[SAMPLES];
    float weight[MOST + 40];
    rm_document docs[SAMPLES];
    for (int i = 0; i < MOST + 40; i++)
        weight[i] = 1;
    for (int i = 0; i < SAMPLES; i++) {
        docs[i] = (rm_document){ rm_path_tokens(path[i]), weight, rm_path_length(path[i]), NULL };
        lp[i] = lp_space[i];
    }
    OK(rm_trainer_pass(t, docs, SAMPLES, NULL, lp, NULL, &error));
    for (int i = 0; i < SAMPLES; i++) {
        cr_assert_gt(want[i].result.n, 10);
        for (int k = 0; k < want[i].result.n; k++)
            cr_expect(want[i].result.lp[k] == lp[i][n_prompt + k], "sample %d token %d: %a != %a",
                      i, k, want[i].result.lp[k], lp[i][n_prompt + k]);
    }
    free(prompt);
    rm_run_close(run);
    rm_trainer_free(t);
    rm_model_close(model);
    rm_engine_close(engine);
}

/* ---- verdicts -------------------------------------------------------------------------------- */

/* The loss of verdicts follows from two log-probabilities of an ordinary pass; its gradient from
 * differences along the gradient itself: L(w + h g) - L(w - h g) = 2 h |g|^2. In f32, with h such
 * that the loss moves by a thousandth, some 1e-3 of that is rounding and curvature. */
Test(train_pass, verdicts_and_their_gradient)
{
    enum { GOOD = 19, BAD = 20, N = 9 };
    rm_error error = { "" };
    rm_engine *engine = open_engine(NULL, 1);
    rm_trainer *t = golden_trainer(engine, true);
    int32_t tokens[N], verdict[N], good[N], bad[N];
    float weight[N];
    double lp_good[N], lp_bad[N], lp[N], *all = lp, *first = lp_good, *second = lp_bad;
    for (int i = 0; i < N; i++) {
        tokens[i] = (3 * i + 1) % 19;
        verdict[i] = i % 3 ? GOOD : BAD;
        weight[i] = i < 2 ? 0 : 1;
        good[i] = GOOD;
        bad[i] = BAD;
    }
    rm_document doc = { tokens, weight, N, verdict };
    rm_objective judge = { .scale = 1, .judge = true };
    cr_expect_eq(rm_trainer_pass(t, &doc, 1, &judge, NULL, NULL, &error), RM_E_ARGUMENT);
    cr_expect_eq(rm_trainer_judge(t, GOOD, GOOD, &error), RM_E_ARGUMENT);
    cr_expect_eq(rm_trainer_judge(t, GOOD, 21, &error), RM_E_ARGUMENT);
    OK(rm_trainer_judge(t, GOOD, BAD, &error));
    OK(rm_trainer_pass(t, &(rm_document){ tokens, weight, N, good }, 1, NULL, &first, NULL,
                       &error));
    OK(rm_trainer_pass(t, &(rm_document){ tokens, weight, N, bad }, 1, NULL, &second, NULL,
                       &error));
    rm_train_sums sums;
    rm_trainer_clear(t);
    OK(rm_trainer_pass(t, &doc, 1, &judge, &all, &sums, &error));
    double loss = 0, squares = 0, side[2], h;
    for (int i = 2; i < N; i++) {
        double v = 1 / (1 + exp(lp_bad[i] - lp_good[i])), p = verdict[i] == GOOD ? v : 1 - v;
        cr_expect(fabs(lp[i] - log(p)) < 1e-12, "%d: %g, expected %g", i, lp[i], log(p));
        loss -= log(p);
    }
    cr_expect(fabs(sums.loss - loss) < 1e-11);
    size_t n = rm_shape_parameters(rm_trainer_shape(t));
    float *g = malloc(n * sizeof *g), *w = malloc(n * sizeof *w);
    memcpy(g, rm_trainer_gradient(t), n * sizeof *g);
    memcpy(w, rm_trainer_values(t), n * sizeof *w);
    for (size_t i = 0; i < n; i++)
        squares += (double)g[i] * (double)g[i];
    h = 1e-3 * loss / squares;
    for (int k = 0; k < 2; k++) {
        for (size_t i = 0; i < n; i++)
            rm_trainer_values(t)[i] = w[i] + (float)(k ? -h : h) * g[i];
        OK(rm_trainer_pass(t, &doc, 1, &judge, NULL, &sums, &error));
        side[k] = sums.loss;
    }
    cr_expect(fabs((side[0] - side[1]) / (2 * h * squares) - 1) < 5e-3, "%g",
              (side[0] - side[1]) / (2 * h * squares));
    doc.target = tokens;
    cr_expect_eq(rm_trainer_pass(t, &doc, 1, &judge, NULL, NULL, &error), RM_E_ARGUMENT);
    free(g);
    free(w);
    rm_trainer_free(t);
    rm_engine_close(engine);
}

/* ---- the optimizer --------------------------------------------------------------------------- */

Test(train_pass, adamw_follows_its_formula)
{
    rm_error error = { "" };
    rm_engine *engine = open_engine(NULL, 1);
    rm_trainer *t = golden_trainer(engine, true);
    golden_docs docs;
    fill_docs(&docs);
    size_t n = rm_shape_parameters(rm_trainer_shape(t)), D = 48, V = 21;
    double *w = calloc(n, sizeof *w), *m = calloc(n, sizeof *m), *v = calloc(n, sizeof *v);
    for (size_t i = 0; i < n; i++)
        w[i] = (double)rm_trainer_values(t)[i];
    rm_adamw adam = { 0.003, 0.9, 0.95, 1e-8, 0.1, 0.5 };
    for (int s = 1; s <= 3; s++) {
        double norm, sum = 0;
        rm_trainer_clear(t);
        OK(rm_trainer_pass(t, docs.doc, GOLDEN_DOCS, &plain, NULL, NULL, &error));
        const float *g = rm_trainer_gradient(t);
        for (size_t i = 0; i < n; i++)
            sum += (double)g[i] * (double)g[i];
        OK(rm_trainer_step(t, &adam, &norm, &error));
        cr_expect(fabs(norm - sqrt(sum)) < 1e-12 * norm, "norm %g, expected %g", norm, sqrt(sum));
        double scale = norm > adam.clip ? adam.clip / norm : 1;
        for (size_t i = 0; i < n; i++) {
            bool vector = i >= V * D && i < (V + 1) * D; /* output_norm: not decayed */
            double d = (double)g[i] * scale;
            m[i] = 0.9 * m[i] + 0.1 * d;
            v[i] = 0.95 * v[i] + 0.05 * d * d;
            double step = m[i] / (1 - pow(0.9, s)) / (sqrt(v[i] / (1 - pow(0.95, s))) + 1e-8);
            w[i] -= (vector ? 0 : 0.003 * 0.1 * w[i]) + 0.003 * step;
            if (i < (V + 1) *
                        D) /* f32 moments; where |g| is near eps the quotient is ill-conditioned */
                cr_expect(fabs((double)rm_trainer_values(t)[i] - w[i]) < 2e-6, "step %d, value %zu",
                          s, i);
            w[i] = (double)rm_trainer_values(t)[i];
        }
    }
    free(w);
    free(m);
    free(v);
    rm_trainer_free(t);
    rm_engine_close(engine);
}

Test(train_pass, a_gradient_that_is_no_number_leaves_everything)
{
    rm_error error = { "" };
    rm_engine *engine = open_engine(NULL, 1);
    rm_trainer *t = golden_trainer(engine, true);
    golden_docs docs;
    fill_docs(&docs);
    rm_objective broken = { .scale = NAN };
    rm_adamw adam = { 0.003, 0.9, 0.95, 1e-8, 0.1, 1 };
    OK(rm_trainer_pass(t, docs.doc, 1, &broken, NULL, NULL, &error));
    size_t bytes = rm_shape_parameters(rm_trainer_shape(t)) * sizeof(float);
    uint64_t before = rm_hash_bytes(rm_trainer_values(t), bytes);
    cr_expect_eq(rm_trainer_step(t, &adam, NULL, &error), RM_E_LIMIT);
    cr_expect(strstr(error.text, "not finite"), "%s", error.text);
    cr_expect_eq(rm_hash_bytes(rm_trainer_values(t), bytes), before);
    cr_expect_eq(rm_trainer_step_count(t), 0);
    rm_trainer_free(t);
    rm_engine_close(engine);
}

/* ---- states and files ------------------------------------------------------------------------ */

static void one_step(rm_trainer *t, const golden_docs *docs)
{
    rm_error error = { "" };
    rm_adamw adam = { 0.003, 0.9, 0.95, 1e-8, 0.1, 1 };
    rm_trainer_clear(t);
    OK(rm_trainer_pass(t, docs->doc, GOLDEN_DOCS, &plain, NULL, NULL, &error));
    OK(rm_trainer_step(t, &adam, NULL, &error));
}

Test(train_pass, a_restored_state_goes_on_to_the_same_bits)
{
    rm_error error = { "" };
    rm_engine *engine = open_engine(NULL, 2);
    rm_trainer *t = golden_trainer(engine, true), *u = golden_trainer(engine, true);
    rm_trainer *other = golden_trainer(engine, false);
    golden_docs docs;
    fill_docs(&docs);
    rm_text state = { 0 };
    one_step(t, &docs);
    OK(rm_trainer_save(t, &state, &error));
    one_step(t, &docs);
    OK(rm_trainer_restore(u, state.data, state.length, &error));
    one_step(u, &docs);
    size_t bytes = rm_shape_parameters(rm_trainer_shape(t)) * sizeof(float);
    cr_expect_eq(memcmp(rm_trainer_values(t), rm_trainer_values(u), bytes), 0);
    cr_expect_eq(rm_trainer_step_count(u), 2);

    cr_expect_eq(rm_trainer_restore(other, state.data, state.length, &error), RM_E_ARGUMENT);
    cr_expect_eq(rm_trainer_restore(u, state.data, state.length - 1, &error), RM_E_FORMAT);
    cr_expect_eq(rm_trainer_restore(u, "RMTRAIN1", 8, &error), RM_E_ARGUMENT);
    cr_expect_eq(rm_trainer_restore(u, "", 0, &error), RM_E_FORMAT);
    state.data[state.length / 2] ^= 1;
    cr_expect_eq(rm_trainer_restore(u, state.data, state.length, &error), RM_E_FORMAT);
    cr_expect(strstr(error.text, "damaged"), "%s", error.text);
    cr_expect_eq(memcmp(rm_trainer_values(t), rm_trainer_values(u), bytes), 0,
                 "changed by failure");
    rm_text_free(&state);
    rm_trainer_free(t);
    rm_trainer_free(u);
    rm_trainer_free(other);
    rm_engine_close(engine);
}

Test(train_pass, files_hold_what_was_trained)
{
    static const struct {
        const char *type;
        double error; /* of a value near 1, after rounding */
    } types[] = { { "f32", 0 }, { "f16", 0x1p-11 }, { "bf16", 0x1p-8 } };
    rm_error error = { "" };
    rm_engine *engine = open_engine(NULL, 1);
    char file[] = "/tmp/ramify-train-XXXXXX";
    close(mkstemp(file));
    for (int c = 0; c < 6; c++) {
        rm_trainer *t = golden_trainer(engine, c % 2), *u, *again;
        rm_model *model;
        OK(rm_trainer_write(t, file, "little", types[c / 2].type, &error));
        OK(rm_model_open(engine, file, NULL, &model, &error));
        const rm_model_info *info = rm_model_describe(model);
        cr_expect_str_eq(info->name, "little");
        cr_expect_str_eq(info->weight_type, types[c / 2].type);
        cr_expect_eq(info->n_params, rm_shape_parameters(rm_trainer_shape(t)));
        cr_expect(info->bos == 0 && info->eos == 1 && info->add_bos);
        int32_t *tokens;
        int n;
        OK(rm_tokenize(model, "9*8=", 4, true, &tokens, &n, &error));
        cr_expect(n == 5 && tokens[0] == 0 && tokens[1] == 11 && tokens[2] == 14 &&
                  tokens[4] == 16);
        free(tokens);
        rm_model_close(model);
        OK(rm_trainer_open(engine, file, &u, &error));
        for (size_t i = 0; i < rm_shape_parameters(rm_trainer_shape(t)); i++) {
            double a = (double)rm_trainer_values(t)[i], b = (double)rm_trainer_values(u)[i];
            cr_assert(fabs(a - b) <= types[c / 2].error * fabs(a) + 1e-7 * (c / 2), "%zu", i);
        }
        /* written from a file, the rest of its metadata stays */
        OK(rm_trainer_write(u, file, "other", "f32", &error));
        OK(rm_trainer_open(engine, file, &again, &error));
        rm_trainer_free(again);
        rm_trainer_free(u);
        rm_trainer_free(t);
    }
    rm_trainer *t = golden_trainer(engine, true);
    cr_expect_eq(rm_trainer_write(t, file, "x", "q8_0", &error), RM_E_ARGUMENT);
    cr_expect(strstr(error.text, "multiples of 32"), "%s", error.text);
    cr_expect_eq(rm_trainer_write(t, file, "x", "q4", &error), RM_E_ARGUMENT);
    cr_expect_eq(rm_trainer_write(t, "/nowhere/x.gguf", "x", "f16", &error), RM_E_IO);
    rm_trainer_free(t);
    unlink(file);
    rm_engine_close(engine);
}

/* ---- new weights for a loaded model ---------------------------------------------------------- */

Test(train_pass, an_update_ends_older_paths_and_changes_what_follows)
{
    rm_error error = { "" };
    rm_engine *engine = open_engine(NULL, 1);
    rm_model *model;
    rm_trainer *t, *wrong = golden_trainer(engine, true);
    OK(rm_model_open(engine, RM_MODELS_DIR "/thimble-s.gguf", NULL, &model, &error));
    OK(rm_trainer_open(engine, RM_MODELS_DIR "/thimble-s.gguf", &t, &error));
    static const int32_t prompt[] = { 0, 5, 6, 7 };
    rm_run *run;
    rm_path *old, *path;
    OK(rm_run_open(engine, &(rm_run_options){ .seed = 1 }, &run, &error));
    OK(rm_path_new(run, model, prompt, 4, &old, &error));
    rm_request want = { .want = RM_WANT_TOP, .k = 1, .path = old };
    OK(rm_eval(run, &want, 1, &error));
    double before = want.result.lp[0];
    cr_expect_eq(rm_model_version(model), 1);
    OK(rm_model_update(model, rm_trainer_shape(t), rm_trainer_values(t), &error));
    cr_expect_eq(rm_model_version(model), 2);
    uint64_t id = rm_model_describe(model)->id;
    cr_expect_eq(rm_eval(run, &want, 1, &error), RM_E_ARGUMENT);
    cr_expect(strstr(error.text, "version"), "%s", error.text);
    OK(rm_path_new(run, model, prompt, 4, &path, &error));
    want.path = path;
    OK(rm_eval(run, &want, 1, &error));
    cr_expect(want.result.lp[0] == before, "the same weights give the same bits");

    rm_trainer_values(t)[40] += 0.25f;
    OK(rm_model_update(model, rm_trainer_shape(t), rm_trainer_values(t), &error));
    cr_expect_neq(rm_model_describe(model)->id, id);
    OK(rm_path_new(run, model, prompt, 4, &path, &error));
    want.path = path;
    OK(rm_eval(run, &want, 1, &error));
    cr_expect(want.result.lp[0] != before);

    cr_expect_eq(rm_model_update(model, rm_trainer_shape(wrong), rm_trainer_values(wrong), &error),
                 RM_E_ARGUMENT);
    cr_expect(strstr(error.text, "n_layers"), "%s", error.text);
    cr_expect_eq(rm_model_version(model), 3);
    rm_run_close(run);
    rm_trainer_free(wrong);
    rm_trainer_free(t);
    rm_model_close(model);
    rm_engine_close(engine);
}

/* ---- bad input ------------------------------------------------------------------------------- */

Test(train_pass, impossible_shapes_and_documents_are_named)
{
    rm_engine *engine = open_engine(NULL, 1);
    static const struct {
        size_t field;
        int value;
        const char *says;
    } bad[] = {
        { offsetof(rm_shape, n_layers), 0, "n_layers is 0" },
        { offsetof(rm_shape, n_embd), 50, "n_embd is 50, expected a multiple of 16" },
        { offsetof(rm_shape, head_dim), 24, "head_dim is 24" },
        { offsetof(rm_shape, n_kv_heads), 3, "cannot share" },
        { offsetof(rm_shape, n_ff), -16, "n_ff is -16" },
        { offsetof(rm_shape, n_vocab), 3, "n_vocab is 3" },
        { offsetof(rm_shape, n_ctx), 4, "n_ctx is 4" },
    };
    rm_error error = { "" };
    rm_trainer *t = NULL;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        rm_shape shape = golden_shape(true);
        memcpy((char *)&shape + bad[i].field, &bad[i].value, sizeof(int));
        cr_expect_eq(rm_trainer_new(engine, &shape, &vocabulary, 1, &t, &error), RM_E_ARGUMENT);
        cr_expect(strstr(error.text, bad[i].says), "%s", error.text);
    }
    t = golden_trainer(engine, true);
    static const int32_t outside[] = { 1, 21 }, good[] = { 1, 2 };
    static const float weight[200] = { 0, 1 };
    static const int32_t longer[200];
    const rm_document documents[] = { { outside, weight, 2, NULL }, { good, weight, 1, NULL },
                                      { longer, weight, 98, NULL }, { good, weight, 2, outside } };
    for (int i = 0; i < 4; i++)
        cr_expect_eq(rm_trainer_pass(t, &documents[i], 1, &plain, NULL, NULL, &error),
                     RM_E_ARGUMENT);
    rm_trainer_free(t);
    cr_expect_eq(rm_trainer_open(engine, RM_MODELS_DIR "/../engine.h", &t, &error), RM_E_FORMAT);
    rm_engine_close(engine);
}
