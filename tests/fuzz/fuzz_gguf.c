/* fuzz_gguf.c - any bytes as a model file: the container is parsed, and what parses is opened
 * as a tokenizer, as weights on a backend that reads every byte it is given, and as a model of an
 * engine on the CPU, which evaluates a few tokens of it.
 *
 * A file must be read or refused with one sentence, with memory in proportion to its size (run
 * with -rss_limit_mb and -malloc_limit_mb). */
#define _GNU_SOURCE /* memfd_create */
#include "engine/dtype.h"
#include "engine/model/gguf.h"
#include "engine/model/weights.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define REQUIRE(condition)                                                  \
    do {                                                                    \
        if (!(condition)) {                                                 \
            fprintf(stderr, "%s:%d: " #condition "\n", __FILE__, __LINE__); \
            abort();                                                        \
        }                                                                   \
    } while (0)

struct rm_weight {
    size_t bytes;
};

static volatile unsigned sink;

static void touch(const void *data, size_t n)
{
    for (size_t i = 0; i < n; i++)
        sink += ((const unsigned char *)data)[i];
}

static rm_status weight(const rm_matrix *m, int n, rm_weight **out)
{
    *out = calloc(1, sizeof **out);
    for (int i = 0; i < n; i++) {
        size_t bytes = rm_dtype_bytes(m[i].type, m[i].n_out * m[i].n_in);
        touch(m[i].data, bytes);
        (*out)->bytes += bytes;
    }
    return RM_OK;
}

static rm_status weight_new(rm_backend *b, const rm_matrix *m, const float *const *bias, int n,
                            rm_compute compute, rm_weight **out, rm_error *err)
{
    (void)b, (void)compute, (void)err;
    for (int i = 0; bias && i < n; i++)
        if (bias[i])
            touch(bias[i], m[i].n_out * sizeof(float));
    return weight(m, n, out);
}

static rm_status weight_new_gated(rm_backend *b, const rm_matrix *gate, const rm_matrix *up,
                                  rm_compute compute, rm_weight **out, rm_error *err)
{
    (void)b, (void)compute, (void)err;
    return weight((rm_matrix[]){ *gate, *up }, 2, out);
}

static rm_status table_new(rm_backend *b, const rm_matrix *m, rm_weight **out, rm_error *err)
{
    (void)b, (void)err;
    return weight(m, 1, out);
}

static rm_status vector_new(rm_backend *b, const float *values, size_t n, rm_weight **out,
                            rm_error *err)
{
    (void)b, (void)err;
    touch(values, n * sizeof(float));
    *out = calloc(1, sizeof **out);
    return RM_OK;
}

static void weight_free(rm_backend *b, rm_weight *w)
{
    (void)b;
    free(w);
}

static size_t weight_bytes(const rm_weight *w) { return w->bytes; }

static const rm_ops ops = {
    .name = "touch", .weight_new = weight_new, .weight_new_gated = weight_new_gated,
    .table_new = table_new, .vector_new = vector_new, .weight_free = weight_free,
    .weight_bytes = weight_bytes,
};

static void check_error(rm_status st, const rm_error *err)
{
    REQUIRE(st == RM_OK || err->text[0]);
    size_t n = strlen(err->text);
    REQUIRE(rm_utf8_valid_prefix(err->text, n) == n && !strchr(err->text, '\n'));
}

static void use_tokenizer(const rm_gguf *g)
{
    static const char text[] = "Hello, <s>world 12\xff\xe2\x96\x81 \xe4\xb8\xad";
    rm_tokenizer *t;
    rm_error err = { { 0 } };
    rm_status st = rm_tokenizer_from_gguf(g, &t, &err);
    check_error(st, &err);
    if (st)
        return;
    int32_t *tokens;
    int n;
    st = rm_tokenizer_encode(t, text, sizeof text - 1, true, &tokens, &n, &err);
    if (!st) {
        rm_text back = { 0 };
        rm_tokenizer_decode(t, tokens, n, true, &back);
        rm_text_free(&back);
        free(tokens);
    }
    rm_tokenizer_free(t);
}

/* Three tokens of the file as a model. What they are nobody knows; that they come, or a
 * sentence. */
static void use_model(const char *path)
{
    static rm_engine *engine; /* opened once */
    static const rm_engine_options options = { .n_threads = 1, .kv_bytes = (size_t)64 << 20 };
    static const rm_sampling sampling = RM_SAMPLING_DEFAULT;
    rm_error err = { { 0 } };
    rm_model *model = NULL;
    rm_run *run = NULL;
    rm_path *at = NULL;
    REQUIRE(engine || rm_engine_open(&options, &engine, &err) == RM_OK);
    rm_status st = rm_model_open(engine, path, NULL, &model, &err);
    check_error(st, &err);
    if (st)
        return;
    st = rm_run_open(engine, NULL, &run, &err);
    if (!st)
        st = rm_path_new(run, model, &(int32_t){ 0 }, 1, &at, &err);
    rm_request request = { .want = RM_WANT_SPAN, .path = at, .sampling = &sampling,
                           .max_new_tokens = 3 };
    if (!st)
        st = rm_eval(run, &request, 1, &err);
    check_error(st, &err);
    for (int i = 0; !st && i < request.result.n; i++)
        REQUIRE(request.result.lp[i] <= 0.0 && request.result.lp_sampling[i] <= 0.0);
    rm_run_close(run);
    rm_model_close(model);
}

static void use_weights(const uint8_t *data, size_t size)
{
    char path[64];
    rm_weights *w;
    rm_error err = { { 0 } };
    int fd = memfd_create("model", MFD_CLOEXEC);
    REQUIRE(fd >= 0 && write(fd, data, size) == (ssize_t)size);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    rm_status st = rm_weights_open(&ops, NULL, path, NULL, &w, &err);
    check_error(st, &err);
    if (!st) {
        rm_weights_close(&ops, NULL, w);
        use_model(path);
    }
    close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    rm_gguf *g;
    rm_error err = { { 0 } };
    void *copy = malloc(size ? size : 1); /* aligned, and ending where the data ends */
    REQUIRE(copy);
    memcpy(copy, data, size);
    rm_status st = rm_gguf_parse(copy, size, "fuzz", &g, &err);
    check_error(st, &err);
    if (!st) {
        for (uint64_t i = 0; i < rm_gguf_n_tensors(g); i++) {
            const rm_gguf_tensor *t = rm_gguf_tensor_at(g, i);
            touch(t->data, t->n_bytes);
        }
        use_tokenizer(g);
        rm_gguf_close(g);
        use_weights(data, size);
    }
    free(copy);
    return 0;
}
