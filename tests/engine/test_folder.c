/* test_folder.c - Hugging Face folders: safetensors files byte by byte, configurations with one
 * thing changed, tokenizers by their files. What the models compute is test_architectures.c's. */
#include "engine/engine.h"
#include "engine/model/safetensors.h"
#include "engine/model/source.h"
#include "engine/model/tokenizer_json.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define GOLDENS RM_SOURCE_DIR "/tests/engine/goldens/"
#define COUNT(a) (sizeof(a) / sizeof *(a))

/* ---- safetensors ------------------------------------------------------------------------- */

/* A file of this header and n bytes of data. */
static rm_status parse(const char *header, size_t n_data, rm_safetensors **s, rm_error *err)
{
    static _Alignas(8) char bytes[4096];
    uint64_t n = strlen(header);
    memcpy(bytes, &n, 8);
    memcpy(bytes + 8, header, n);
    memset(bytes + 8 + n, 1, n_data);
    return rm_safetensors_parse(bytes, 8 + n + n_data, "file", s, err);
}

#define T(dtype, shape, from, to) \
    "{\"dtype\":\"" dtype "\",\"shape\":[" shape "],\"data_offsets\":[" #from "," #to "]}"

Test(safetensors, a_table_over_the_data)
{
    rm_safetensors *s;
    rm_error err = { "" };
    cr_assert_eq(parse("{\"__metadata__\":{\"format\":\"pt\"},\"b\":" T("BF16", "2,3", 4, 16)
                       ",\"a\":" T("F32", "", 0, 4) ",\"c\":" T("I64", "1", 16, 24) "}   ",
                       24, &s, &err), RM_OK, "%s", err.text);
    cr_assert_eq(rm_safetensors_count(s), 3);
    const rm_gguf_tensor *a = rm_safetensors_at(s, 0), *b = rm_safetensors_at(s, 1);
    cr_expect(strcmp(a->name.bytes, "a") == 0 && a->n_dims == 1 && a->n_values == 1);
    cr_expect(b->n_dims == 2 && b->dims[0] == 3 && b->dims[1] == 2 && b->type == RM_BF16);
    cr_expect(b->readable && !rm_safetensors_at(s, 2)->readable);
    cr_expect_eq((const char *)b->data - (const char *)a->data, 4);
    rm_safetensors_close(s);
}

static const struct {
    const char *header;
    size_t n_data;
    rm_status status;
    const char *says;
} bad[] = {
    { "[]", 0, RM_E_FORMAT, "should be a JSON object" },
    { "{\"a\":3}", 0, RM_E_FORMAT, "an object was expected" },
    { "{\"a\":{}}", 0, RM_E_FORMAT, "it has no \"dtype\"" },
    { "{\"a\":" T("Q9", "1", 0, 4) "}", 4, RM_E_UNSUPPORTED, "dtype \"Q9\"" },
    { "{\"a\":" T("F32", "-1", 0, 4) "}", 4, RM_E_FORMAT, "whole numbers of at least 1" },
    { "{\"a\":" T("F32", "0", 0, 0) "}", 0, RM_E_FORMAT, "whole numbers of at least 1" },
    { "{\"a\":" T("F32", "1.5", 0, 4) "}", 4, RM_E_FORMAT, "whole numbers of at least 1" },
    { "{\"a\":" T("F32", "1,1,1,1,1", 0, 4) "}", 4, RM_E_FORMAT, "at most 4 sizes" },
    { "{\"a\":" T("F32", "4294967296,4294967296,4294967296", 0, 4) "}", 4, RM_E_FORMAT,
      "below 2^48" },
    { "{\"a\":" T("F32", "2", 0, 4) "}", 4, RM_E_FORMAT, "its shape needs 8 bytes" },
    { "{\"a\":" T("F32", "2", 0, 8) "}", 4, RM_E_FORMAT, "the data has 4" },
    { "{\"a\":" T("F32", "1", 4, 0) "}", 4, RM_E_FORMAT, "ascending" },
    { "{\"a\":" T("F32", "1", 0, 9007199254740993) "}", 4, RM_E_FORMAT, "data_offsets" },
    { "{\"a\":" T("F32", "1", 4, 8) "}", 8, RM_E_FORMAT,
      "begins at byte 4 of the data, expected 0" },
    { "{\"a\":" T("F32", "1", 0, 4) ",\"b\":" T("F32", "1", 0, 4) "}", 4, RM_E_FORMAT,
      "expected 4" },
    { "{\"a\":" T("F32", "1", 0, 4) "}", 8, RM_E_FORMAT, "end at byte 4 of the data, which has 8" },
    { "{\"a\":" T("F32", "1", 0, 4) ",\"a\":" T("F32", "1", 4, 8) "}", 8, RM_E_FORMAT, "a" },
    { "{\"a b\":" T("F32", "1", 0, 4) "}", 4, RM_E_FORMAT, "printable characters" },
    { "{\"a\":" T("F32", "1", 0, 4), 4, RM_E_FORMAT, "file:1" },
};

Test(safetensors, headers_that_do_not_fit_are_refused)
{
    for (size_t i = 0; i < COUNT(bad); i++) {
        rm_safetensors *s;
        rm_error err = { "" };
        cr_expect_eq(parse(bad[i].header, bad[i].n_data, &s, &err), bad[i].status, "case %zu: %s",
                     i,
                     err.text);
        cr_expect(strstr(err.text, bad[i].says), "case %zu: %s", i, err.text);
    }
    rm_safetensors *s;
    rm_error err = { "" };
    static const _Alignas(8) char lengths[3][12] = {
        "short", "\xff\xff\xff\xff\xff\xff\xff\xff{}", "\x05\0\0\0\0\0\0\0{}",
    };
    for (size_t i = 0; i < 3; i++) {
        cr_expect_eq(rm_safetensors_parse(lengths[i], i ? 10 : 5, "file", &s, &err), RM_E_FORMAT);
        cr_expect(strstr(err.text, "not a safetensors file"), "%s", err.text);
    }
}

/* Files of another reader's tests: what they are for stands in their names. */
Test(safetensors, files_of_other_readers_tests)
{
    static const struct { const char *name; bool good; } files[] = {
        { "safetensors-two-tensors", true }, { "safetensors-gap", false },
        { "safetensors-unknown-dtype", false }, { "safetensors-header-only", true },
        { "safetensors-fp8-te137-canonical-member-units", false }, /* a header without its data */
    };
    int n_read = 0;
    for (size_t i = 0; i < COUNT(files); i++) {
        char path[512], *hex;
        size_t n;
        rm_safetensors *s;
        rm_error err = { "" };
        snprintf(path, sizeof path,
                 RM_TEST_DATA "/gguf-hostile/cozy-planner-vectors/fixtures/%s.hex",
                 files[i].name);
        if (access(path, R_OK))
            continue;
        n_read++;
        cr_assert_eq(rm_file_read(path, 1 << 16, &hex, &n, &err), RM_OK);
        unsigned char *bytes = malloc(n);
        size_t length = 0;
        for (unsigned value; sscanf(hex + 2 * length, "%2x", &value) == 1; length++)
            bytes[length] = (unsigned char)value;
        rm_status st = rm_safetensors_parse(bytes, length, path, &s, &err);
        cr_expect_eq(st == RM_OK, files[i].good, "%s: %s", path, err.text);
        if (!st)
            rm_safetensors_close(s);
        free(bytes);
        free(hex);
    }
    if (!n_read)
        cr_skip("no files of safetensors in " RM_TEST_DATA "/gguf-hostile");
}

/* ---- folders ----------------------------------------------------------------------------- */

static void write_text(const char *folder, const char *name, const char *text)
{
    char path[512];
    rm_error err = { "" };
    snprintf(path, sizeof path, "%s/%s", folder, name);
    cr_assert_eq(rm_file_write(path, text, strlen(text), &err), RM_OK, "%s", err.text);
}

static const char *const names[] = { "config.json", "generation_config.json", "tokenizer.json",
                                     "tokenizer_config.json", "model.safetensors", "vocab.json",
                                     "merges.txt", "model.safetensors.index.json",
                                     "chat_template.jinja", "model-00001-of-00004.safetensors",
                                     "model-00002-of-00004.safetensors",
                                     "model-00003-of-00004.safetensors",
                                     "model-00004-of-00004.safetensors" };

/* A copy of a golden folder in which, in one file, `from` is `to`. */
static void copy_changed(const char *golden, const char *file, const char *from, const char *to,
                         char folder[32])
{
    strcpy(folder, "/tmp/rm-folder-XXXXXX");
    cr_assert_not_null(mkdtemp(folder));
    for (size_t i = 0; i < COUNT(names); i++) {
        char path[512], *text;
        size_t n;
        rm_error err = { "" };
        snprintf(path, sizeof path, GOLDENS "%s/%s", golden, names[i]);
        if (access(path, R_OK))
            continue;
        if (strcmp(names[i], file) != 0) {
            char link[512];
            snprintf(link, sizeof link, "%s/%s", folder, names[i]);
            cr_assert_eq(symlink(path, link), 0);
            continue;
        }
        cr_assert_eq(rm_file_read(path, 1 << 20, &text, &n, &err), RM_OK, "%s", err.text);
        char *at = strstr(text, from);
        cr_assert(at != NULL, "%s is not in %s", from, path);
        rm_text changed = { 0 };
        rm_text_add(&changed, text, (size_t)(at - text));
        rm_text_puts(&changed, to);
        rm_text_puts(&changed, at + strlen(from));
        write_text(folder, file, changed.data);
        rm_text_free(&changed);
        free(text);
    }
}

static void remove_folder(const char *folder)
{
    for (size_t i = 0; i < COUNT(names); i++) {
        char path[512];
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        unlink(path);
    }
    rmdir(folder);
}

#define CONFIG "config.json"
#define TOKENIZER "tokenizer.json"

static const struct changed {
    const char *golden, *file, *from, *to;
    rm_status status;
    const char *says;
} changes[] = {
    { "llama", CONFIG, "\"model_type\": \"llama\"", "\"model_type\": \"gemma2\"", RM_E_UNSUPPORTED,
      "model_type is \"gemma2\", supported are llama, mistral, qwen2 and qwen3" },
    { "llama", CONFIG, "\"hidden_size\": 36", "\"hidden_size\": 0", RM_E_FORMAT,
      "\"hidden_size\" should" },
    { "llama", CONFIG, "\"hidden_size\": 36", "\"hidden_size\": 40", RM_E_FORMAT,
      "tensor model.embed_tokens.weight is bf16 [283, 36], expected [283, 40]" },
    { "llama", CONFIG, "\"hidden_size\": 36", "\"hidden_size\": \"36\"", RM_E_FORMAT,
      "\"hidden_size\" should be a whole number from 1 to 1048576, not \"36\"" },
    { "llama", CONFIG, "\"rms_norm_eps\": 1e-05", "\"rms_norm_eps\": [1]", RM_E_FORMAT,
      "\"rms_norm_eps\" should be a number from 0 to 1e15, not a list" },
    { "llama", CONFIG, "\"model_type\": \"llama\"", "\"model_type\": 5", RM_E_FORMAT,
      "\"model_type\" should be a text, not 5" },
    { "qwen3", CONFIG, "\"vocab_size\": 283", "\"vocab_size\": 282", RM_E_FORMAT,
      "model.embed_tokens.weight has 283 rows, but the vocab_size is 282" },
    { "llama", CONFIG, "\"hidden_size\": 36,", "", RM_E_FORMAT, "\"hidden_size\" is missing" },
    { "llama", CONFIG, "\"num_key_value_heads\": 2", "\"num_key_value_heads\": 4", RM_E_FORMAT,
      "6 query heads cannot share 4" },
    { "llama", CONFIG, "\"num_hidden_layers\": 2", "\"num_hidden_layers\": 3", RM_E_FORMAT,
      "tensor model.layers.2." },
    { "llama", CONFIG, "\"num_hidden_layers\": 2", "\"num_hidden_layers\": 1", RM_E_UNSUPPORTED,
      "tensor model.layers.1.self_attn.k_proj.weight is not part" },
    { "llama", CONFIG, "\"silu\"", "\"gelu\"", RM_E_UNSUPPORTED,
      "\"hidden_act\" should be \"silu\"" },
    { "llama", CONFIG, "\"vocab_size\": 283", "\"vocab_size\": 200", RM_E_FORMAT, "eos_token_id" },
    { "llama", CONFIG, "\"vocab_size\": 283", "\"vocab_size\": 260", RM_E_FORMAT,
      "the tokenizer has 264 tokens, but vocab_size in config.json is 260" },
    { "llama", CONFIG, "\"use_cache\": true", "\"num_local_experts\": 8", RM_E_UNSUPPORTED,
      "\"num_local_experts\" is set" },
    { "llama", CONFIG, "\"use_cache\": true",
      "\"quantization_config\": {\"quant_method\": \"gptq\"}",
      RM_E_UNSUPPORTED, "\"quantization_config\" is set" },
    { "llama", CONFIG, "\"use_cache\": true", "\"partial_rotary_factor\": 0.5", RM_E_UNSUPPORTED,
      "\"partial_rotary_factor\" should be 1" },
    { "llama", CONFIG, "\"rms_norm_eps\": 1e-05,", "", RM_E_FORMAT, "\"rms_norm_eps\" should" },
    { "llama", CONFIG, "\"rope_type\": \"default\"", "\"rope_type\": \"proportional\"", RM_E_UNSUPPORTED,
      "rope_type is \"proportional\"" },
    { "llama_longrope", CONFIG, "\"long_factor\": [", "\"long_factor\": [1.0,", RM_E_FORMAT,
      "\"long_factor\" should be a list of 5 numbers" },
    { "llama_longrope", CONFIG, "\"short_factor\"", "\"shorter_factor\"", RM_E_FORMAT,
      "\"short_factor\" should be a list" },
    { "llama3", CONFIG, "\"factor\": 8.0", "\"factor\": 0", RM_E_FORMAT, "\"factor\" should be above 0" },
    { "llama3", CONFIG, "\"high_freq_factor\": 4.0", "\"high_freq_factor\": 1", RM_E_FORMAT,
      "low_freq_factor is 1 and high_freq_factor 1" },
    { "qwen2", CONFIG, "\"sliding_window\": null", "\"sliding_window\": 9", RM_OK, "" },
    { "qwen3", CONFIG, "\"full_attention\",", "\"sliding_attention\",", RM_E_FORMAT,
      "\"layer_types\" has sliding windows, but \"sliding_window\" is not given" },
    { "mistral", CONFIG, "\"use_cache\": true", "\"layer_types\": [\"full_attention\", \"full_attention\"]",
      RM_E_UNSUPPORTED, "has layers without the \"sliding_window\" that mistral has in all" },
    { "mistral", CONFIG, "\"use_cache\": true", "\"layer_types\": [\"sliding_attention\", \"sliding_attention\"]",
      RM_OK, "" },
    { "llama", CONFIG, "\"use_cache\": true",
      "\"sliding_window\": 9, \"layer_types\": [\"sliding_attention\", \"sliding_attention\"]", RM_E_FORMAT,
      "\"layer_types\" has sliding windows, but llama has none" },
    /* biases: asked for and absent; there and not asked for; of the feed-forward */
    { "llama", CONFIG, "\"attention_bias\": false", "\"attention_bias\": true", RM_E_FORMAT,
      "tensor model.layers.0.self_attn.q_proj.bias is missing" },
    { "qwen3", CONFIG, "\"attention_bias\": false", "\"attention_bias\": true", RM_E_FORMAT,
      "tensor model.layers.0.self_attn.q_proj.bias is missing" },
    { "llama_linear", CONFIG, "\"attention_bias\": true", "\"attention_bias\": false", RM_E_UNSUPPORTED,
      "_proj.bias is a bias that a llama model has not by its config.json (\"attention_bias\")" },
    { "llama", CONFIG, "\"mlp_bias\": false", "\"mlp_bias\": true", RM_E_UNSUPPORTED, "\"mlp_bias\" is set" },
    { "llama", "generation_config.json", "\"_from_model_config\": true", "\"temperature\": \"hot\"",
      RM_E_FORMAT, "generation_config.json:2:18: \"temperature\" should be a number" },
    { "llama", "generation_config.json", "{", "[{", RM_E_FORMAT, "generation_config.json" },
    { "llama", "tokenizer_config.json", "\"backend\": \"tokenizers\"", "\"chat_template\": 5", RM_E_FORMAT,
      "tokenizer_config.json: \"chat_template\" should be a text, or a list of names and templates, not 5" },
    { "qwen3", CONFIG, "\"full_attention\",", "\"linear_attention\",", RM_E_UNSUPPORTED,
      "layer_types" },
    { "llama", CONFIG, "{", "{{", RM_E_FORMAT, "config.json:1:2" },
    { "mistral", "model.safetensors.index.json", "model-00001-of", "../model-00001-of", RM_E_FORMAT,
      "the name of a file in this folder" },
    { "mistral", "model.safetensors.index.json", "model-00001-of", "model-00009-of", RM_E_IO,
      "model-00009-of-00004.safetensors: cannot open" },
    { "llama", TOKENIZER, "\"type\": \"BPE\"", "\"type\": \"WordPiece\"", RM_E_UNSUPPORTED,
      "the tokenizer's model is \"WordPiece\"" },
    { "llama", TOKENIZER, "\"normalizer\": null", "\"normalizer\": {\"type\": \"BertNormalizer\"}",
      RM_E_UNSUPPORTED, "the tokenizer's normalizer is \"BertNormalizer\"" },
    { "llama", TOKENIZER, "\"normalizer\": null", "\"normalizer\": {\"type\": \"Replace\", \"pattern\": "
      "{\"Regex\": \"a+\"}, \"content\": \"\"}", RM_E_UNSUPPORTED, "replaces the expression is \"a+\"" },
    { "llama", TOKENIZER, "\"normalizer\": null", "\"normalizer\": {\"type\": \"Precompiled\", "
      "\"precompiled_charsmap\": \"AAAA\"}", RM_E_FORMAT, "normalizer: a compiled table" },
    { "llama", TOKENIZER, "\"normalizer\": null", "\"normalizer\": {\"type\": \"Prepend\", \"prepend\": \"\"}",
      RM_E_FORMAT, "/tokenizer.json: normalizer: a normalizer that looks for nothing" },
    { "llama", TOKENIZER, "\"normalizer\": null", "\"normalizer\": {\"type\": \"Prepend\", \"prepend\": "
      "\"0123456789012345678901234567890123456789012345678901234567890123456789\"}",
      RM_E_UNSUPPORTED, "/tokenizer.json: normalizer: a normalizer that puts 70 bytes" },
    { "llama", TOKENIZER, "\"added_tokens\": [", "\"added_tokens\": 5, \"x\": [", RM_E_FORMAT,
      "/tokenizer.json: \"added_tokens\" should be a list" },
    { "llama", TOKENIZER, "\"single\": [", "\"single\": 5, \"x\": [", RM_E_FORMAT,
      "/tokenizer.json: \"single\" of its TemplateProcessing should be a list" },
    { "llama", TOKENIZER, "\"type\": \"BPE\"", "\"type\": 5", RM_E_UNSUPPORTED, "of a type that is no text" },
    { "llama", TOKENIZER, "{", "{{", RM_E_FORMAT, "/tokenizer.json:1:2" },
    { "llama", TOKENIZER, "\"lstrip\": false", "\"lstrip\": true", RM_OK, "" },
    { "llama", TOKENIZER, "\"id\": 256", "\"id\": 99999999999", RM_E_FORMAT, "expected less than" },
    { "llama", TOKENIZER, "\"id\": 256", "\"id\": 3", RM_E_FORMAT, "token 3 is" },
    { "llama", TOKENIZER, "\"use_regex\": true", "\"use_regex\": false", RM_E_UNSUPPORTED,
      "pre_tokenizer with the expression" },
};

Test(folder, what_does_not_fit_is_refused_by_name)
{
    rm_engine *engine;
    rm_error err = { "" };
    cr_assert_eq(rm_engine_open(&(rm_engine_options){ .n_threads = 1 }, &engine, &err), RM_OK);
    for (size_t i = 0; i < COUNT(changes); i++) {
        const struct changed *c = &changes[i];
        char folder[32];
        rm_model *model = NULL;
        err.text[0] = '\0';
        copy_changed(c->golden, c->file, c->from, c->to, folder);
        rm_status st = rm_model_open(engine, folder, NULL, &model, &err);
        cr_expect_eq(st, c->status, "case %zu: %d %s", i, st, err.text);
        cr_expect(strstr(err.text, c->says), "case %zu: %s", i, err.text);
        rm_model_close(model);
        remove_folder(folder);
    }
    rm_engine_close(engine);
}

/* Defaults of the makers are said and stop tokens taken; nothing is applied. */
Test(folder, generation_defaults_are_said)
{
    rm_engine *engine;
    rm_model *model;
    rm_error err = { "" };
    char folder[32];
    int n;
    copy_changed("qwen3", "generation_config.json", "\"eos_token_id\": 257",
                 "\"eos_token_id\": [257, 258], \"do_sample\": true, \"temperature\": 0.6, "
                 "\"top_p\": 0.95", folder);
    write_text(folder, "chat_template.jinja", "{{ messages }}");
    cr_assert_eq(rm_engine_open(&(rm_engine_options){ .n_threads = 1 }, &engine, &err), RM_OK);
    cr_assert_eq(rm_model_open(engine, folder, NULL, &model, &err), RM_OK, "%s", err.text);
    const rm_model_info *info = rm_model_describe(model);
    cr_expect_str_eq(info->sampling, "do_sample true, temperature 0.6, top_p 0.95");
    cr_expect_str_eq(info->chat_template, "{{ messages }}");
    cr_expect_str_eq(info->arch, "qwen3");
    const int32_t *stop = rm_model_stop_tokens(model, &n);
    cr_expect(n == 2 && stop[0] == 257 && stop[1] == 258);
    rm_model_close(model);
    rm_engine_close(engine);
    remove_folder(folder);
}

/* What is said of a model that stretches its rotary embeddings. */
Test(folder, rotary_scaling_is_said)
{
    static const struct { const char *golden, *says; } rows[] = {
        { "llama", NULL }, { "llama_linear", "linear by 4" }, { "llama3", "llama3 by 8 from 32 positions" },
        { "mistral_yarn", "yarn by 4 from 64 positions" }, { "llama_dynamic", "dynamic by 4 from 64 positions" },
        { "llama_longrope", "longrope by 4 from 64 positions" },
    };
    rm_engine *engine;
    rm_error err = { "" };
    cr_assert_eq(rm_engine_open(&(rm_engine_options){ .n_threads = 1 }, &engine, &err), RM_OK);
    for (size_t i = 0; i < COUNT(rows); i++) {
        rm_model *model;
        char path[256];
        snprintf(path, sizeof path, GOLDENS "%s", rows[i].golden);
        cr_assert_eq(rm_model_open(engine, path, NULL, &model, &err), RM_OK, "%s", err.text);
        const char *says = rm_model_describe(model)->rope_scaling;
        cr_expect(says ? rows[i].says && strcmp(says, rows[i].says) == 0 : !rows[i].says, "%s: %s",
                  rows[i].golden, says ? says : "nothing");
        rm_model_close(model);
    }
    rm_engine_close(engine);
}

/* What a trainer's save_pretrained wrote. Its tokenizer is one of single characters: "0".."9", ","
 * and ":" from 4 on, behind S, E, P and U; a character that is none of them is U. */
Test(folder, verl_digit_llama)
{
    static const int32_t wanted[] = { 5, 14, 6, 14, 3, 3, 0 };
    rm_source *s;
    rm_tokenizer *t;
    rm_error err = { "" };
    rm_text back = { 0 };
    int32_t *tokens;
    int n;
    if (access(RM_TEST_DATA "/verl-digit-llama/model.safetensors", R_OK))
        cr_skip("no folder " RM_TEST_DATA "/verl-digit-llama");
    cr_assert_eq(rm_source_open(RM_TEST_DATA "/verl-digit-llama", &s, &err), RM_OK, "%s", err.text);
    cr_expect(s->hyper.n_layers == 4 && s->hyper.head_dim == 32 && !s->tied);
    const rm_gguf_tensor *q = rm_source_find(s, "blk.3.attn_q.weight");
    cr_expect(q && q->type == RM_BF16 && q->dims[0] == 128 && q->dims[1] == 128);
    cr_assert_eq(rm_source_tokenizer(s, &t, &err), RM_OK, "%s", err.text);
    cr_assert_eq(rm_tokenizer_encode(t, "1,2,xyS", 7, true, &tokens, &n, &err), RM_OK, "%s", err.text);
    cr_expect(n == 7 && memcmp(tokens, wanted, sizeof wanted) == 0);
    rm_tokenizer_decode(t, tokens, n, false, &back);
    cr_expect_str_eq(back.data, "1,2,");
    rm_text_free(&back);
    free(tokens);
    rm_tokenizer_free(t);
    rm_source_close(s);
}
