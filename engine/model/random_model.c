/* random_model.c - writes llama-shaped GGUF files with random weights (engine.h).
 *
 * Speed does not depend on what the weights are, so a file of the right shape is enough to
 * measure one. Values are uniform on a grid of 2^16 points, symmetric about 0:
 *
 *     x = a (2 u + 1 - 2^16) / 2^16,    u uniform on 0 .. 2^16 - 1,    a = sqrt(3 / n_in)
 *
 * which has standard deviation 1 / sqrt(n_in), so that activations keep their size from layer to
 * layer; norms are 1. A Philox block gives eight values: key the seed, counter (block, tensor).
 * Types of a few bits (blocks.h) take their bits as they come, 16 bytes of a Philox block at a time,
 * under scales and minima that are the same in every block: what the values are uniform on is then a
 * grid of 16, 32 or 64 points with that mean and deviation (types without a minimum: half a step
 * below 0).
 *
 * "q4_k_m" is the mixture that files of that name have: q6_k for the output, and for attn_v and
 * ffn_down in the first and last eighth of the layers and every third between; q4_k otherwise. Where a
 * row is no multiple of 256, q5_0 stands for q4_k and q8_0 for q6_k, as llama.cpp's quantiser does.
 *
 * The vocabulary is byte-level: 0 <bos>, 1 <eos>, then bytes (printable ASCII first, newline,
 * tab, then the others), and from 258 on piece k is piece 2 + (k - 258) / 256 followed by byte
 * piece 2 + (k - 258) % 256, with a merge that makes it: numbers in base 256, all distinct. */
#include "engine/blocks.h"
#include "engine/dtype.h"
#include "engine/engine.h"
#include "engine/model/gguf_write.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BYTES_FROM 2
#define PAIRS_FROM (BYTES_FROM + 256)
#define PORTION 8192 /* values at a time; a multiple of 32 and of 8 */

/* ---- shape --------------------------------------------------------------------------------- */

typedef struct shape {
    rm_random_model m;   /* defaults filled in */
    rm_dtype type;
    bool mixed;          /* q4_k_m */
} shape;

static rm_status check_range(const char *what, int value, int low, int high, rm_error *err)
{
    if (value < low || value > high)
        return rm_fail(err, RM_E_ARGUMENT, "random model: %s is %d, expected %d to %d", what, value,
                       low, high);
    return RM_OK;
}

static rm_status check_type(shape *s, rm_error *err)
{
    const char *name = s->m.weight_type ? s->m.weight_type : "";
    s->mixed = strcmp(name, "q4_k_m") == 0;
    s->type = RM_Q4_K;
    if (s->mixed)
        return RM_OK;
    for (int t = 0; t < RM_DTYPE_COUNT; t++)
        if (strcmp(name, rm_dtype_name((rm_dtype)t)) == 0) {
            s->type = (rm_dtype)t;
            return RM_OK;
        }
    return rm_fail(err, RM_E_ARGUMENT, "random model: weight type \"%.40s\", expected f32, f16, "
                   "bf16, q8_0, q4_0, q4_1, q5_0, q5_1, q4_k, q5_k, q6_k or q4_k_m", name);
}

static rm_status check_shape(const rm_random_model *model, shape *s, rm_error *err)
{
    s->m = *model;
    rm_random_model *m = &s->m;
    rm_status st;
    if ((st = check_type(s, err)) || (st = check_range("n_layers", m->n_layers, 1, 1024, err)) ||
        (st = check_range("n_embd", m->n_embd, 1, 1 << 18, err)) ||
        (st = check_range("n_heads", m->n_heads, 1, 4096, err)) ||
        (st = check_range("n_ff", m->n_ff, 1, 1 << 20, err)) ||
        (st = check_range("n_vocab", m->n_vocab, 3, 1 << 22, err)) ||
        (st = check_range("n_ctx", m->n_ctx, 1, 1 << 24, err)))
        return st;
    if (m->n_kv_heads == 0)
        m->n_kv_heads = m->n_heads;
    if (m->head_dim == 0 && m->n_embd % m->n_heads)
        return rm_fail(err, RM_E_ARGUMENT, "random model: n_embd %d is no multiple of n_heads %d, "
                       "and no head_dim is given", m->n_embd, m->n_heads);
    if (m->head_dim == 0)
        m->head_dim = m->n_embd / m->n_heads;
    if (m->rope_theta == 0)
        m->rope_theta = 10000;
    if ((st = check_range("head_dim", m->head_dim, 2, 4096, err)) ||
        (st = check_range("n_kv_heads", m->n_kv_heads, 1, m->n_heads, err)))
        return st;
    if (m->head_dim % 2 || m->n_heads % m->n_kv_heads)
        return rm_fail(err, RM_E_ARGUMENT, "random model: head_dim %d must be even and n_heads %d "
                       "a multiple of n_kv_heads %d", m->head_dim, m->n_heads, m->n_kv_heads);
    if (!(m->rope_theta >= 1 && m->rope_theta <= 1e15))
        return rm_fail(err, RM_E_ARGUMENT, "random model: rope_theta is %g, expected 1 to 1e15",
                       m->rope_theta);
    int unit = s->mixed ? 32 : (int)rm_block_values(s->type);
    if (m->n_embd % unit || m->n_ff % unit || m->n_heads * m->head_dim % unit)
        return rm_fail(err, RM_E_ARGUMENT, "random model: %s needs n_embd, n_ff and n_heads * "
                       "head_dim to be multiples of %d", m->weight_type, unit);
    return RM_OK;
}

/* ---- vocabulary ---------------------------------------------------------------------------- */

/* The byte that piece BYTES_FROM + i is. */
static unsigned nth_byte(unsigned i)
{
    if (i < 95)
        return 0x20 + i;
    if (i < 97)
        return i == 95 ? '\n' : '\t';
    i -= 97; /* the rest in ascending order: 00-08, 0B-1F, 7F-FF */
    return i < 9 ? i : i < 30 ? i + 2 : i - 30 + 0x7f;
}

/* GPT-2's printable stand-in for a byte (tokenizer.c), as UTF-8. */
static void add_stand_in(rm_text *to, unsigned byte)
{
    unsigned c = byte;
    if (byte <= 0x20)
        c = 0x100 + byte;
    else if (byte >= 0x7f && byte <= 0xa0)
        c = 0x100 + byte - 0x7f + 33;
    else if (byte == 0xad)
        c = 0x100 + 67;
    char utf8[2] = { (char)(0xc0 | c >> 6), (char)(0x80 | (c & 0x3f)) };
    if (c < 0x80)
        utf8[0] = (char)c;
    rm_text_add(to, utf8, c < 0x80 ? 1 : 2);
}

static void add_piece(rm_text *to, int k)
{
    int bytes[8], n = 0; /* base 256: four digits cover 2^22 pieces */
    for (; k >= PAIRS_FROM; k = BYTES_FROM + (k - PAIRS_FROM) / 256)
        bytes[n++] = (k - PAIRS_FROM) % 256;
    bytes[n++] = k - BYTES_FROM;
    while (n-- > 0)
        add_stand_in(to, nth_byte((unsigned)bytes[n]));
}

/* Tokens, their types, the merges and the chat template; false if memory ran out. */
static bool put_vocabulary(rm_gguf_writer *w, int n_vocab, const char *chat_template)
{
    int32_t *type = malloc((size_t)n_vocab * sizeof *type);
    if (!type)
        return false;
    rm_text piece = { 0 };
    int n_merges = n_vocab > PAIRS_FROM ? n_vocab - PAIRS_FROM : 0;
    rm_gguf_put_string(w, "tokenizer.ggml.model", "gpt2");
    rm_gguf_put_string(w, "tokenizer.ggml.pre", "gpt-2");
    rm_gguf_put_strings(w, "tokenizer.ggml.tokens", (uint64_t)n_vocab);
    for (int i = 0; i < n_vocab; i++) {
        type[i] = i < BYTES_FROM ? 3 : 1; /* control, normal */
        piece.length = 0;
        if (i < BYTES_FROM)
            rm_text_puts(&piece, i ? "<eos>" : "<bos>");
        else
            add_piece(&piece, i);
        rm_gguf_put_element(w, piece.data, piece.length);
    }
    rm_gguf_put_array(w, "tokenizer.ggml.token_type", RM_GGUF_I32, type, (uint64_t)n_vocab);
    rm_gguf_put_strings(w, "tokenizer.ggml.merges", (uint64_t)n_merges);
    for (int i = 0; i < n_merges; i++) {
        piece.length = 0;
        add_piece(&piece, BYTES_FROM + i / 256);
        rm_text_puts(&piece, " ");
        add_piece(&piece, BYTES_FROM + i % 256);
        rm_gguf_put_element(w, piece.data, piece.length);
    }
    rm_gguf_put_u32(w, "tokenizer.ggml.bos_token_id", 0);
    rm_gguf_put_u32(w, "tokenizer.ggml.eos_token_id", 1);
    rm_gguf_put_bool(w, "tokenizer.ggml.add_bos_token", true);
    if (chat_template)
        rm_gguf_put_string(w, "tokenizer.chat_template", chat_template);
    bool good = !piece.failed;
    rm_text_free(&piece);
    free(type);
    return good;
}

static void put_hyperparameters(rm_gguf_writer *w, const rm_random_model *m)
{
    rm_gguf_put_string(w, "general.architecture", "llama");
    rm_gguf_put_string(w, "general.name", "random");
    rm_gguf_put_u32(w, "llama.block_count", (uint32_t)m->n_layers);
    rm_gguf_put_u32(w, "llama.embedding_length", (uint32_t)m->n_embd);
    rm_gguf_put_u32(w, "llama.feed_forward_length", (uint32_t)m->n_ff);
    rm_gguf_put_u32(w, "llama.context_length", (uint32_t)m->n_ctx);
    rm_gguf_put_u32(w, "llama.vocab_size", (uint32_t)m->n_vocab);
    rm_gguf_put_u32(w, "llama.attention.head_count", (uint32_t)m->n_heads);
    rm_gguf_put_u32(w, "llama.attention.head_count_kv", (uint32_t)m->n_kv_heads);
    rm_gguf_put_u32(w, "llama.attention.key_length", (uint32_t)m->head_dim);
    rm_gguf_put_u32(w, "llama.attention.value_length", (uint32_t)m->head_dim);
    rm_gguf_put_f32(w, "llama.attention.layer_norm_rms_epsilon", 1e-5f);
    rm_gguf_put_u32(w, "llama.rope.dimension_count", (uint32_t)m->head_dim);
    rm_gguf_put_f32(w, "llama.rope.freq_base", (float)m->rope_theta);
}

/* ---- tensors ------------------------------------------------------------------------------- */

typedef struct filler {
    rm_gguf_writer *writer;
    uint64_t seed;
    uint32_t tensor;                         /* counted from 0 in file order */
    float values[PORTION];
    unsigned char packed[PORTION * sizeof(float)];
} filler;

/* Values [first, first + n) of the tensor; first a multiple of 8. */
static void random_values(filler *f, size_t first, size_t n, float scale)
{
    uint32_t key[2] = { (uint32_t)f->seed, (uint32_t)(f->seed >> 32) };
    for (size_t i = 0; i < n; i += 8) {
        uint64_t block = (first + i) / 8;
        uint32_t counter[4] = { (uint32_t)block, (uint32_t)(block >> 32), f->tensor, 0 }, bits[4];
        rm_philox(counter, key, bits);
        for (size_t k = 0; k < 8; k++) { /* PORTION is a multiple of 8: no overrun */
            int u = (int)(bits[k / 2] >> 16 * (k % 2) & 0xffff);
            f->values[i + k] = (float)(2 * u - 65535) * scale;
        }
    }
}

static void put_f16(unsigned char *to, double x)
{
    uint16_t h = rm_f32_to_f16((float)x);
    memcpy(to, &h, sizeof h);
}

/* Overwrites the scales of a block of random bits: a step between neighbours of `step`, and a minimum
 * that puts the middle at 0. The 6-bit scales and minima of q4_k and q5_k are all 32. */
static void put_scales(rm_dtype type, double step, unsigned char *b)
{
    switch (type) {
    case RM_Q4_0:
    case RM_Q5_0: put_f16(b, step); break;
    case RM_Q4_1: put_f16(b, step), put_f16(b + 2, -7.5 * step); break;
    case RM_Q5_1: put_f16(b, step), put_f16(b + 2, -15.5 * step); break;
    case RM_Q4_K:
    case RM_Q5_K:
        put_f16(b, step / 32), put_f16(b + 2, (type == RM_Q4_K ? 7.5 : 15.5) * step / 32);
        memset(b + offsetof(rm_q4_k_block, scales), 32 | 2 << 6, 8);
        memset(b + offsetof(rm_q4_k_block, scales) + 8, 0, 4);
        break;
    default: /* q6_k */
        put_f16(b + offsetof(rm_q6_k_block, d), step / 64);
        memset(b + offsetof(rm_q6_k_block, scales), 64, 16);
        break;
    }
}

/* A matrix of a type of a few bits. A grid of L points a step apart has variance (L^2 - 1) / 12. */
static void write_blocks(filler *f, rm_dtype type, size_t n, size_t n_in)
{
    uint32_t key[2] = { (uint32_t)f->seed, (uint32_t)(f->seed >> 32) };
    size_t bytes = rm_dtype_bytes(type, n), block = rm_block_bytes(type), per = PORTION / block * block;
    double levels = type == RM_Q6_K ? 64 : type == RM_Q5_0 || type == RM_Q5_1 || type == RM_Q5_K ? 32 : 16,
           step = sqrt(12 / (levels * levels - 1) / (double)n_in);
    uint64_t counted = 0;
    for (size_t at = 0, m; at < bytes; at += m) {
        m = bytes - at < per ? bytes - at : per;
        for (size_t i = 0; i < m; i += 16, counted++) { /* packed has room for 15 more */
            uint32_t counter[4] = { (uint32_t)counted, (uint32_t)(counted >> 32), f->tensor, 0 }, bits[4];
            rm_philox(counter, key, bits);
            memcpy(f->packed + i, bits, sizeof bits);
        }
        for (size_t i = 0; i < m; i += block)
            put_scales(type, step, f->packed + i);
        rm_gguf_write(f->writer, f->packed, m);
    }
    f->tensor++;
}

/* The next tensor in file order: a norm (n_out 0) of ones, or a random matrix. */
static void write_tensor(filler *f, rm_dtype type, size_t n_out, size_t n_in)
{
    size_t n = n_in * (n_out ? n_out : 1);
    if (type > RM_Q8_0) {
        write_blocks(f, type, n, n_in);
        return;
    }
    float scale = (float)(sqrt(3.0 / (double)n_in) / 65536);
    for (size_t i = 0; i < n; i += PORTION) {
        size_t m = n - i < PORTION ? n - i : PORTION;
        if (n_out)
            random_values(f, i, m, scale);
        else
            for (size_t k = 0; k < m; k++)
                f->values[k] = 1;
        rm_dtype_narrow(type, f->values, m, f->packed);
        rm_gguf_write(f->writer, f->packed, rm_dtype_bytes(type, m));
    }
    f->tensor++;
}

/* The type of a matrix: `more` bits for those that the mixture gives more. */
static rm_dtype type_of(const shape *s, bool more, size_t n_in)
{
    if (!s->mixed)
        return s->type;
    if (n_in % 256)
        return more ? RM_Q8_0 : RM_Q5_0;
    return more ? RM_Q6_K : RM_Q4_K;
}

/* Whether the mixture gives attn_v and ffn_down of layer i more bits. */
static bool generous(int i, int n_layers)
{
    int eighth = n_layers / 8;
    return i < eighth || i >= 7 * n_layers / 8 || (i - eighth) % 3 == 2;
}

static void one_tensor(filler *f, bool describe, const char *name, rm_dtype type, size_t n_out,
                       size_t n_in)
{
    if (describe)
        rm_gguf_put_tensor(f->writer, name, n_out ? type : RM_F32, n_out, n_in);
    else
        write_tensor(f, n_out ? type : RM_F32, n_out, n_in);
}

/* Calls put or write for every tensor in one order; n_out 0: a vector, always f32. */
static void each_tensor(const shape *s, filler *f, bool describe)
{
    const rm_random_model *m = &s->m;
    size_t d = (size_t)m->n_embd, ff = (size_t)m->n_ff, v = (size_t)m->n_vocab;
    size_t q = (size_t)m->n_heads * (size_t)m->head_dim;
    size_t kv = (size_t)m->n_kv_heads * (size_t)m->head_dim;
    const struct { const char *name; size_t n_out, n_in; bool more; } layer[] = {
        { "attn_norm", 0, d, false }, { "attn_q", q, d, false }, { "attn_k", kv, d, false },
        { "attn_v", kv, d, true }, { "attn_output", d, q, false }, { "ffn_norm", 0, d, false },
        { "ffn_gate", ff, d, false }, { "ffn_up", ff, d, false }, { "ffn_down", d, ff, true },
    }, ends[] = { { "token_embd", v, d, m->tied }, { "output_norm", 0, d, false },
                  { "output", v, d, true } };
    size_t n_layer = sizeof layer / sizeof layer[0];
    char name[64];
    for (int e = 0; e < (m->tied ? 2 : 3); e++) {
        snprintf(name, sizeof name, "%s.weight", ends[e].name);
        one_tensor(f, describe, name, type_of(s, ends[e].more, ends[e].n_in), ends[e].n_out,
                   ends[e].n_in);
    }
    for (size_t i = 0; i < (size_t)m->n_layers * n_layer; i++) {
        size_t t = i % n_layer;
        bool more = layer[t].more && generous((int)(i / n_layer), m->n_layers);
        snprintf(name, sizeof name, "blk.%zu.%s.weight", i / n_layer, layer[t].name);
        one_tensor(f, describe, name, type_of(s, more, layer[t].n_in), layer[t].n_out, layer[t].n_in);
    }
}

rm_status rm_model_write_random(const rm_random_model *model, const char *file, rm_error *err)
{
    shape s;
    rm_gguf_writer *w;
    rm_status st = check_shape(model, &s, err);
    if (st)
        return st;
    filler *f = malloc(sizeof *f);
    if (!f)
        return rm_fail(err, RM_E_MEMORY, "%s: no memory to write it", file);
    st = rm_gguf_writer_open(file, &w, err);
    if (st) {
        free(f);
        return st;
    }
    f->writer = w;
    f->seed = s.m.seed;
    f->tensor = 0;
    put_hyperparameters(w, &s.m);
    if (!put_vocabulary(w, s.m.n_vocab, s.m.chat_template)) {
        st = rm_fail(err, RM_E_MEMORY, "%s: no memory for its vocabulary", file);
        rm_gguf_writer_close(w, false, NULL);
    } else {
        each_tensor(&s, f, true);
        rm_gguf_writer_begin(w);
        each_tensor(&s, f, false);
        st = rm_gguf_writer_close(w, true, err);
    }
    free(f);
    return st;
}
