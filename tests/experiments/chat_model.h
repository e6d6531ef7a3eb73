/* chat_model.h - a model of one layer with the special tokens and the chat template that a test
 * wants; its weights are zeros, its vocabulary the special tokens, then printable ASCII, the space
 * and the line break as single bytes. */
#ifndef CHAT_MODEL_H
#define CHAT_MODEL_H

#include "run_support.h"

#include "engine/model/gguf_write.h"

enum { CHAT_WIDTH = 32, CHAT_FF = 32 };

static inline void put_chat_tensors(rm_gguf_writer *w, size_t n_vocab, bool describe)
{
    const struct { const char *name; size_t n_out, n_in; bool ones; } tensors[] = {
        { "token_embd", n_vocab, CHAT_WIDTH, false }, { "output_norm", 0, CHAT_WIDTH, true },
        { "blk.0.attn_norm", 0, CHAT_WIDTH, true }, { "blk.0.ffn_norm", 0, CHAT_WIDTH, true },
        { "blk.0.attn_q", CHAT_WIDTH, CHAT_WIDTH, false },
        { "blk.0.attn_k", CHAT_WIDTH, CHAT_WIDTH, false },
        { "blk.0.attn_v", CHAT_WIDTH, CHAT_WIDTH, false },
        { "blk.0.attn_output", CHAT_WIDTH, CHAT_WIDTH, false },
        { "blk.0.ffn_gate", CHAT_FF, CHAT_WIDTH, false },
        { "blk.0.ffn_up", CHAT_FF, CHAT_WIDTH, false },
        { "blk.0.ffn_down", CHAT_WIDTH, CHAT_FF, false },
    };
    for (size_t t = 0; t < sizeof tensors / sizeof *tensors; t++) {
        size_t n = tensors[t].n_in * (tensors[t].n_out ? tensors[t].n_out : 1);
        char name[64];
        snprintf(name, sizeof name, "%s.weight", tensors[t].name);
        if (describe)
            rm_gguf_put_tensor(w, name, RM_F32, tensors[t].n_out, tensors[t].n_in);
        for (size_t i = 0; i < n && !describe; i++)
            rm_gguf_write(w, tensors[t].ones ? &(float){ 1 } : &(float){ 0 }, sizeof(float));
    }
}

/* `specials` are words apart by blanks; the first is BOS (added by the tokenizer), the second
 * EOS. */
static inline void write_chat_model(const char *file, const char *specials, const char *template)
{
    rm_gguf_writer *w;
    char words[512], *rest, piece[4];
    int32_t type[128 + 32];
    uint64_t n = 0;
    snprintf(words, sizeof words, "%s", specials);
    for (char *p = words; *p; p++)
        n += *p == ' ';
    n += 1 + 94 + 2;
    CHECK(rm_gguf_writer_open(file, &w, err));
    rm_gguf_put_string(w, "general.architecture", "llama");
    rm_gguf_put_string(w, "general.name", "chatty");
    rm_gguf_put_u32(w, "llama.block_count", 1);
    rm_gguf_put_u32(w, "llama.embedding_length", CHAT_WIDTH);
    rm_gguf_put_u32(w, "llama.feed_forward_length", CHAT_FF);
    rm_gguf_put_u32(w, "llama.context_length", 512);
    rm_gguf_put_u32(w, "llama.attention.head_count", 1);
    rm_gguf_put_u32(w, "llama.attention.head_count_kv", 1);
    rm_gguf_put_f32(w, "llama.attention.layer_norm_rms_epsilon", 1e-5f);
    rm_gguf_put_u32(w, "llama.rope.dimension_count", CHAT_WIDTH);
    rm_gguf_put_string(w, "tokenizer.ggml.model", "gpt2");
    rm_gguf_put_string(w, "tokenizer.ggml.pre", "gpt-2");
    rm_gguf_put_strings(w, "tokenizer.ggml.tokens", n);
    uint64_t i = 0;
    for (char *word = strtok_r(words, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
        rm_gguf_put_element(w, word, strlen(word));
        type[i++] = 3; /* control */
    }
    for (int c = 33; c < 127; c++, i++) {
        piece[0] = (char)c;
        rm_gguf_put_element(w, piece, 1);
        type[i] = 1;
    }
    rm_gguf_put_element(w, "\xc4\xa0", 2); /* the stand-ins of the space and the line break */
    rm_gguf_put_element(w, "\xc4\x8a", 2);
    type[i] = type[i + 1] = 1;
    rm_gguf_put_array(w, "tokenizer.ggml.token_type", RM_GGUF_I32, type, n);
    rm_gguf_put_strings(w, "tokenizer.ggml.merges", 0);
    rm_gguf_put_u32(w, "tokenizer.ggml.bos_token_id", 0);
    rm_gguf_put_u32(w, "tokenizer.ggml.eos_token_id", 1);
    rm_gguf_put_bool(w, "tokenizer.ggml.add_bos_token", true);
    if (template)
        rm_gguf_put_string(w, "tokenizer.chat_template", template);
    put_chat_tensors(w, n, true);
    rm_gguf_writer_begin(w);
    put_chat_tensors(w, n, false);
    CHECK(rm_gguf_writer_close(w, true, err));
}

#endif
