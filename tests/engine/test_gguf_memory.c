/* test_gguf_memory.c - what reading a model file may allocate is bounded by the size of the file,
 * whatever the file claims of itself: files from elsewhere that other readers stumbled over, files
 * made to lie in each of their counts, and files that end early.
 *
 * Every allocation of this program is counted: by the sanitizer's hooks where there is one, else in
 * front of glibc's own functions. The bound is the size of the file and a floor for what even the
 * smallest one needs. (The context a model claims is no table of the file: the rotary table that a
 * backend makes of it is not counted here.) */
#include "engine/dtype.h"
#include "engine/engine.h"
#include "engine/model/gguf.h"
#include "engine/model/weights.h"

#include "gguf_bytes.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <malloc.h>
#include <sys/stat.h>

/* Half of this floor is too little for some file below. */
enum { FLOOR_BYTES = 16 << 10 };

/* ---- counting ------------------------------------------------------------------------------ */

static size_t live_bytes, peak_bytes;

static void add_bytes(size_t n)
{
    live_bytes += n;
    if (live_bytes > peak_bytes)
        peak_bytes = live_bytes;
}

/* What was allocated before counting began may be freed while it goes on. */
static void remove_bytes(size_t n)
{
    live_bytes -= n < live_bytes ? n : live_bytes;
}

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED /* clang's way to say __SANITIZE_ADDRESS__ */
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(SANITIZED)
#include <sanitizer/allocator_interface.h>

static void on_malloc(const volatile void *p, size_t n)
{
    (void)p;
    add_bytes(n);
}

static void on_free(const volatile void *p)
{
    if (p)
        remove_bytes(__sanitizer_get_allocated_size(p));
}

static void count_allocations(void)
{
    cr_assert(__sanitizer_install_malloc_and_free_hooks(on_malloc, on_free));
}
#elif defined(__GLIBC__)
void *__libc_malloc(size_t);
void *__libc_calloc(size_t, size_t);
void *__libc_realloc(void *, size_t);
void __libc_free(void *);

void *malloc(size_t n)
{
    void *p = __libc_malloc(n);
    add_bytes(p ? malloc_usable_size(p) : n); /* a refused request was one, too */
    return p;
}

void *calloc(size_t n, size_t size)
{
    void *p = __libc_calloc(n, size);
    add_bytes(p ? malloc_usable_size(p) : n * size);
    return p;
}

void *realloc(void *p, size_t n)
{
    size_t before = p ? malloc_usable_size(p) : 0;
    void *q = __libc_realloc(p, n);
    remove_bytes(q ? before : 0);
    add_bytes(q ? malloc_usable_size(q) : n);
    return q;
}

void free(void *p)
{
    if (p)
        remove_bytes(malloc_usable_size(p));
    __libc_free(p);
}

static void count_allocations(void) {}
#else
static void count_allocations(void)
{
    cr_skip("there is no way to count allocations here");
}
#endif

/* ---- a backend that keeps nothing -------------------------------------------------------- */

struct rm_weight {
    size_t bytes;
};

static rm_status keep(rm_weight **out)
{
    *out = calloc(1, sizeof **out);
    return *out ? RM_OK : RM_E_MEMORY;
}

static rm_status weight_new(rm_backend *b, const rm_matrix *m, const float *const *bias, int n,
                            rm_compute compute, rm_weight **out, rm_error *err)
{
    (void)b, (void)m, (void)bias, (void)n, (void)compute, (void)err;
    return keep(out);
}

static rm_status weight_new_gated(rm_backend *b, const rm_matrix *gate, const rm_matrix *up,
                                  rm_compute compute, rm_weight **out, rm_error *err)
{
    (void)b, (void)gate, (void)up, (void)compute, (void)err;
    return keep(out);
}

static rm_status table_new(rm_backend *b, const rm_matrix *m, rm_weight **out, rm_error *err)
{
    (void)b, (void)m, (void)err;
    return keep(out);
}

static rm_status vector_new(rm_backend *b, const float *values, size_t n, rm_weight **out,
                            rm_error *err)
{
    (void)b, (void)values, (void)n, (void)err;
    return keep(out);
}

static void weight_free(rm_backend *b, rm_weight *w)
{
    (void)b;
    free(w);
}

static size_t weight_bytes(const rm_weight *w) { return w->bytes; }

static const rm_ops nothing = {
    .name = "nothing", .weight_new = weight_new, .weight_new_gated = weight_new_gated,
    .table_new = table_new, .vector_new = vector_new, .weight_free = weight_free,
    .weight_bytes = weight_bytes,
};

/* ---- reading ----------------------------------------------------------------------------- */

static rm_status read_container(const char *path, rm_error *err)
{
    rm_gguf *g;
    rm_status status = rm_gguf_open(path, &g, err);
    if (!status)
        rm_gguf_close(g);
    return status;
}

static rm_status read_tokenizer(const char *path, rm_error *err)
{
    rm_tokenizer *t;
    rm_status status = rm_tokenizer_open(path, &t, err);
    if (!status)
        rm_tokenizer_free(t);
    return status;
}

static rm_status read_weights(const char *path, rm_error *err)
{
    static const rm_model_options defaults = { 0 };
    rm_weights *w;
    rm_status status = rm_weights_open(&nothing, NULL, path, &defaults, &w, err);
    if (!status)
        rm_weights_close(&nothing, NULL, w);
    return status;
}

static const struct reader {
    const char *what;
    rm_status (*read)(const char *, rm_error *);
} readers[] = { { "container", read_container },
                { "tokenizer", read_tokenizer },
                { "weights", read_weights } };
enum { N_READERS = sizeof readers / sizeof *readers };

/* Reads the file in every way; true if one of them accepts it. Neither may the memory exceed the
 * bound nor may its lack be the reason of a refusal. */
static bool bounded(const char *path, size_t size, const char *what)
{
    bool accepted = false;
    for (int i = 0; i < N_READERS; i++) {
        rm_error err = { "" };
        live_bytes = peak_bytes = 0;
        rm_status status = readers[i].read(path, &err);
        size_t peak = peak_bytes;
        cr_expect(peak <= FLOOR_BYTES + size, "%s, %s: %zu bytes for a file of %zu", what,
                  readers[i].what, peak, size);
        cr_expect(status != RM_E_MEMORY, "%s, %s: %s", what, readers[i].what, err.text);
        accepted = accepted || !status;
    }
    return accepted;
}

static bool bounded_bytes(const rm_text *bytes, const char *what)
{
    char path[64];
    rm_error err = { "" };
    temporary_path(path);
    cr_assert_eq(rm_file_write(path, bytes->data, bytes->length, &err), RM_OK, "%s", err.text);
    bool accepted = bounded(path, bytes->length, what);
    unlink(path);
    return accepted;
}

/* ---- files from elsewhere ---------------------------------------------------------------- */

static int visit(const char *folder, int depth)
{
    DIR *d = opendir(folder);
    int n = 0;
    for (struct dirent *entry; d && (entry = readdir(d));) {
        char path[1024];
        struct stat info;
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        if (entry->d_name[0] == '.' || stat(path, &info))
            continue;
        if (S_ISDIR(info.st_mode) && depth < 4) {
            n += visit(path, depth + 1);
        } else if (S_ISREG(info.st_mode)) {
            bounded(path, (size_t)info.st_size, path);
            n++;
        }
    }
    if (d)
        closedir(d);
    return n;
}

Test(gguf_memory, hostile_files_from_elsewhere)
{
    if (access(RM_TEST_DATA "/gguf-hostile", R_OK))
        cr_skip("no folder " RM_TEST_DATA "/gguf-hostile");
    count_allocations();
    int n = visit(RM_TEST_DATA "/gguf-hostile", 0);
    cr_expect(n > 100, "%d files", n);
}

/* ---- lying containers -------------------------------------------------------------------- */

enum { MANY_TENSORS, MANY_ENTRIES, LONG_KEY, LONG_STRING, LONG_ARRAY, LONG_STRINGS, WIDE_TENSOR,
       FAR_TENSOR, N_LIES };

static void put_lie(rm_text *f, int lie, uint64_t n)
{
    put_header(f, 3, lie == MANY_TENSORS ? n : lie == WIDE_TENSOR || lie == FAR_TENSOR,
               lie == MANY_ENTRIES ? n : lie >= LONG_KEY && lie <= LONG_STRINGS);
    if (lie == LONG_KEY)
        put_u64(f, n);
    if (lie == LONG_STRING || lie == LONG_ARRAY || lie == LONG_STRINGS) {
        put_str(f, "general.name");
        put_u32(f, lie == LONG_STRING ? 8 : 9);
        if (lie != LONG_STRING)
            put_u32(f, lie == LONG_ARRAY ? 0 : 8); /* of bytes, of strings */
        put_u64(f, n);
    }
    if (lie == WIDE_TENSOR || lie == FAR_TENSOR)
        put_tensor(f, "t", 1, (uint64_t[]){ lie == WIDE_TENSOR ? n : 32 }, 0,
                   lie == FAR_TENSOR ? n / 32 * 32 : 0);
    put_data(f, 32, 256); /* what is there; zeros are empty strings */
}

Test(gguf_memory, counts_that_lie)
{
    static const uint64_t counts[] = { 1 << 16, UINT64_C(1) << 28, UINT64_C(1) << 31,
                                       UINT64_C(1) << 40, UINT64_C(1) << 61, UINT64_MAX };
    count_allocations();
    for (int lie = 0; lie < N_LIES; lie++)
        for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
            char what[64];
            rm_text file = { 0 };
            snprintf(what, sizeof what, "lie %d of %llu", lie, (unsigned long long)counts[i]);
            put_lie(&file, lie, counts[i]);
            cr_expect(!bounded_bytes(&file, what), "%s was believed", what);
            rm_text_free(&file);
        }
}

/* ---- models with one wrong number -------------------------------------------------------- */

/* A whole model, small: all three readers accept it. */
static rm_text small_model(void)
{
    rm_random_model m = { .n_layers = 2, .n_embd = 32, .n_heads = 4, .n_ff = 64, .n_vocab = 300,
                          .n_ctx = 64, .weight_type = "f16" };
    char path[64], *data;
    size_t n;
    rm_error err = { "" };
    rm_text bytes = { 0 };
    temporary_path(path);
    cr_assert_eq(rm_model_write_random(&m, path, &err), RM_OK, "%s", err.text);
    cr_assert_eq(rm_file_read(path, 1 << 24, &data, &n, &err), RM_OK, "%s", err.text);
    unlink(path);
    rm_text_add(&bytes, data, n);
    free(data);
    cr_assert(!bytes.failed);
    return bytes;
}

/* Where the value of a key stands: behind the key, the type, and for arrays the type of
 * elements. */
static char *value_of(const rm_text *model, const char *key, bool array)
{
    size_t n = strlen(key);
    for (size_t i = 8; i + n + 16 < model->length; i++) {
        uint64_t length;
        memcpy(&length, model->data + i - 8, sizeof length);
        if (length == n && memcmp(model->data + i, key, n) == 0)
            return model->data + i + n + (array ? 8 : 4);
    }
    return NULL;
}

static const struct lying_key {
    const char *key;
    bool array;
} lying_keys[] = {
    { "llama.block_count", false },          { "llama.embedding_length", false },
    { "llama.feed_forward_length", false },  { "llama.context_length", false },
    { "llama.attention.head_count", false }, { "llama.attention.head_count_kv", false },
    { "llama.rope.dimension_count", false }, { "tokenizer.ggml.bos_token_id", false },
    { "tokenizer.ggml.tokens", true },       { "tokenizer.ggml.token_type", true },
    { "tokenizer.ggml.merges", true },
};

Test(gguf_memory, models_with_one_wrong_number)
{
    static const uint32_t values[] = { 0, 1000, 1 << 20, (1 << 24) - 1, INT32_MAX, UINT32_MAX };
    count_allocations();
    rm_text model = small_model();
    cr_assert(bounded_bytes(&model, "as written"));
    int changed = 0;
    for (size_t k = 0; k < sizeof lying_keys / sizeof *lying_keys; k++) {
        char *at = value_of(&model, lying_keys[k].key, lying_keys[k].array), was[4];
        if (!at)
            continue;
        changed++;
        memcpy(was, at, sizeof was);
        for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
            char what[96];
            snprintf(what, sizeof what, "%s = %u", lying_keys[k].key, values[i]);
            memcpy(at, &values[i], sizeof values[i]);
            bounded_bytes(&model, what);
        }
        memcpy(at, was, sizeof was);
    }
    cr_expect(changed >= 9, "only %d keys were found", changed);
    rm_text_free(&model);
}

Test(gguf_memory, models_that_end_early)
{
    count_allocations();
    rm_text model = small_model();
    for (size_t n = 1; n < model.length; n += n < 512 ? 37 : 977) {
        rm_text cut = { .data = model.data, .length = n };
        char what[48];
        snprintf(what, sizeof what, "the first %zu bytes", n);
        bounded_bytes(&cut, what);
    }
    rm_text_free(&model);
}
