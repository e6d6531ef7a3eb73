/* folder.c - a Hugging Face folder as a model's source.
 *
 *   config.json                        hyperparameters, in the words of transformers
 *   model.safetensors                  weights; or
 *   model.safetensors.index.json       { "weight_map": { tensor: file } } over several files
 *   tokenizer.json, or vocab.json and merges.txt; tokenizer_config.json   (tokenizer_json.c)
 *   generation_config.json             tokens that end a text, and how its makers sample
 *   chat_template.jinja                else "chat_template" of tokenizer_config.json
 *
 * config.json speaks for llama, mistral, qwen2 and qwen3. A key that would change what the model
 * computes, and that this engine does not honour, refuses the folder by the key's name. How rotary
 * embeddings are scaled stands in "rope_scaling" (with "rope_theta" beside it) or, in newer
 * files, together in "rope_parameters". */
#define _GNU_SOURCE /* strdup */
#include "base/json.h"
#include "engine/model/quote.h"
#include "engine/model/safetensors.h"
#include "engine/model/source_private.h"
#include "engine/model/tokenizer_json.h"
#include "engine/model/whole.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_JSON = 64 << 20, MAX_FILES = 1000, MAX_PATH_BYTES = 4096, MAX_LAYER_DIGITS = 5,
       FOUND_BYTES = sizeof(rm_quote) + 8 };

struct rm_folder {
    char *config_text, *generation_text, *index_text, *template_text;
    rm_json *config, *generation, *index, *tokenizer_config;
    rm_safetensors **files;
    size_t n_files;
    char **names;              /* [n_names] GGUF's names of the tensors */
    size_t n_names;
    rm_tokenizer_files tokenizer;
    rm_text defaults;          /* what generation_config.json says of sampling */
    float *rope_factors[2];    /* short, long */
};

/* ---- names --------------------------------------------------------------------------------- */

static const struct { const char *gguf, *hf; } whole_names[] = {
    { "token_embd.weight", "model.embed_tokens.weight" },
    { "output_norm.weight", "model.norm.weight" },
    { "output.weight", "lm_head.weight" },
}, layer_names[] = { /* followed by .weight or .bias */
    { "attn_norm", "input_layernorm" },
    { "attn_q", "self_attn.q_proj" },
    { "attn_k", "self_attn.k_proj" },
    { "attn_v", "self_attn.v_proj" },
    { "attn_q_norm", "self_attn.q_norm" },
    { "attn_k_norm", "self_attn.k_norm" },
    { "attn_output", "self_attn.o_proj" },
    { "ffn_norm", "post_attention_layernorm" },
    { "ffn_gate", "mlp.gate_proj" },
    { "ffn_up", "mlp.up_proj" },
    { "ffn_down", "mlp.down_proj" },
};

enum { COUNT_WHOLE = sizeof whole_names / sizeof *whole_names,
       COUNT_LAYER = sizeof layer_names / sizeof *layer_names };

/* "<prefix>12.rest" to layer and rest; false if it is nothing like that. */
static bool split_name(const char *name, const char *prefix, int *layer, const char **rest)
{
    size_t n = strlen(prefix), digits = 0;
    if (strncmp(name, prefix, n) != 0)
        return false;
    for (*layer = 0; name[n] >= '0' && name[n] <= '9' && digits < MAX_LAYER_DIGITS; n++, digits++)
        *layer = *layer * 10 + (name[n] - '0');
    *rest = name + n + 1;
    return digits && name[n] == '.';
}

static bool has_ending(const char *rest, const char *stem, const char **ending)
{
    size_t n = strlen(stem);
    *ending = rest + n;
    return strncmp(rest, stem, n) == 0 &&
           (strcmp(*ending, ".weight") == 0 || strcmp(*ending, ".bias") == 0);
}

void rm_folder_label(const char *name, char buffer[128])
{
    int layer;
    const char *rest, *ending;
    snprintf(buffer, 128, "%s", name);
    for (int i = 0; i < COUNT_WHOLE; i++)
        if (strcmp(name, whole_names[i].gguf) == 0)
            snprintf(buffer, 128, "%s", whole_names[i].hf);
    if (!split_name(name, "blk.", &layer, &rest))
        return;
    for (int i = 0; i < COUNT_LAYER; i++)
        if (has_ending(rest, layer_names[i].gguf, &ending))
            snprintf(buffer, 128, "model.layers.%d.%s%s", layer, layer_names[i].hf, ending);
}

/* GGUF's name, or the name as it is; malloc'd. */
static char *gguf_name(const char *name)
{
    int layer;
    const char *rest, *ending;
    char buffer[128];
    for (int i = 0; i < COUNT_WHOLE; i++)
        if (strcmp(name, whole_names[i].hf) == 0)
            return strdup(whole_names[i].gguf);
    if (split_name(name, "model.layers.", &layer, &rest))
        for (int i = 0; i < COUNT_LAYER; i++)
            if (has_ending(rest, layer_names[i].hf, &ending)) {
                snprintf(buffer, sizeof buffer, "blk.%d.%s%s", layer, layer_names[i].gguf, ending);
                return strdup(buffer);
            }
    return strdup(name);
}

/* ---- config.json --------------------------------------------------------------------------- */

typedef struct config {
    rm_source *s;
    const rm_json *json;
    const cJSON *root;
    rm_error *err;
} config;

/* NULL for an absent key and for null. */
static const cJSON *find(const cJSON *object, const char *key)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    return item && !cJSON_IsNull(item) ? item : NULL;
}

/* What stands there instead of what was expected. */
static const char *found(const cJSON *item, char buffer[FOUND_BYTES])
{
    rm_quote q;
    if (cJSON_IsString(item))
        snprintf(buffer, FOUND_BYTES, "\"%s\"", rm_quoted(&q, item->valuestring, strlen(item->valuestring)));
    else if (cJSON_IsNumber(item))
        snprintf(buffer, FOUND_BYTES, "%.12g", item->valuedouble);
    else
        snprintf(buffer, FOUND_BYTES, "%s", cJSON_IsBool(item) ? (cJSON_IsTrue(item) ? "true" : "false")
                                    : cJSON_IsArray(item) ? "a list" : "an object");
    return buffer;
}

static rm_status missing(const config *c, const char *key)
{
    return rm_fail(c->err, RM_E_FORMAT, "%s/config.json: \"%s\" is missing", c->s->file, key);
}

/* Absent: `otherwise`; if that is negative, an error. */
static rm_status read_count(const config *c, const char *key, uint64_t low, uint64_t high,
                            int64_t otherwise, int *value)
{
    const cJSON *item = find(c->root, key);
    uint64_t v;
    if (!item && otherwise < 0)
        return missing(c, key);
    if (!item) {
        *value = (int)otherwise;
        return RM_OK;
    }
    if (!rm_json_whole(item, &v) || v < low || v > high)
        return rm_json_fail(c->err, RM_E_FORMAT, c->json, item, "\"%s\" should be a whole number "
                            "from %" PRIu64 " to %" PRIu64 ", not %s", key, low, high,
                            found(item, (char[FOUND_BYTES]){ 0 }));
    *value = (int)v;
    return RM_OK;
}

static rm_status read_real(const config *c, const cJSON *object, const char *key, double *value)
{
    const cJSON *item = find(object, key);
    if (!item)
        return RM_OK;
    if (!cJSON_IsNumber(item) || !(item->valuedouble >= 0) || item->valuedouble > 1e15)
        return rm_json_fail(c->err, RM_E_FORMAT, c->json, item, "\"%s\" should be a number from 0 "
                            "to 1e15, not %s", key, found(item, (char[FOUND_BYTES]){ 0 }));
    *value = item->valuedouble;
    return RM_OK;
}

static rm_status read_flag(const config *c, const cJSON *object, const char *key, bool *value)
{
    const cJSON *item = find(object, key);
    if (item && !cJSON_IsBool(item))
        return rm_json_fail(c->err, RM_E_FORMAT, c->json, item, "\"%s\" should be true or false, not "
                            "%s", key, found(item, (char[FOUND_BYTES]){ 0 }));
    if (item)
        *value = cJSON_IsTrue(item);
    return RM_OK;
}

static const char *text_of(const cJSON *object, const char *key)
{
    const cJSON *item = find(object, key);
    return cJSON_IsString(item) ? item->valuestring : NULL;
}

static rm_status read_arch(const config *c)
{
    static const char *const known[] = { "llama", "mistral", "qwen2", "qwen3" };
    const cJSON *item = find(c->root, "model_type");
    const char *type = text_of(c->root, "model_type");
    if (!item)
        return missing(c, "model_type");
    if (!type)
        return rm_json_fail(c->err, RM_E_FORMAT, c->json, item, "\"model_type\" should be a text, not "
                            "%s", found(item, (char[FOUND_BYTES]){ 0 }));
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(type, known[i]) == 0)
            c->s->hyper.arch = known[i];
    if (!c->s->hyper.arch)
        return rm_json_fail(c->err, RM_E_UNSUPPORTED, c->json, item, "model_type is \"%s\", "
                            "supported are llama, mistral, qwen2 and qwen3",
                            rm_quoted(&(rm_quote){ 0 }, type, strlen(type)));
    c->s->hyper.qk_norm = strcmp(type, "qwen3") == 0;
    return RM_OK;
}

/* transformers gives qwen2 biases of q, k and v, mistral none, and llama and qwen3 those and the
 * output's where attention_bias says so. A bias that is there all the same it passes over: such a
 * file is refused (check_bias), since it is not clear which of the two is meant. */
static rm_status read_bias(const config *c)
{
    rm_hyper *h = &c->s->hyper;
    bool asked = false;
    rm_status st = read_flag(c, c->root, "attention_bias", &asked);
    h->out_bias = asked && (strcmp(h->arch, "llama") == 0 || strcmp(h->arch, "qwen3") == 0);
    h->qkv_bias = h->out_bias || strcmp(h->arch, "qwen2") == 0;
    return st;
}

static rm_status refuse_unknown_maths(const config *c)
{
    static const char *const absent[] = { /* not null, not false, not 0 */
        "quantization_config", "num_experts", "num_local_experts", "attn_logit_softcapping",
        "final_logit_softcapping", "embedding_multiplier", "logits_scaling", "residual_multiplier",
        "attention_multiplier", "use_mrope", "mlp_bias",
    };
    for (size_t i = 0; i < sizeof absent / sizeof *absent; i++) {
        const cJSON *item = find(c->root, absent[i]);
        if (item && !cJSON_IsFalse(item) && !(cJSON_IsNumber(item) && item->valuedouble == 0))
            return rm_json_fail(c->err, RM_E_UNSUPPORTED, c->json, item, "\"%s\" is set: this "
                                "engine cannot apply it", absent[i]);
    }
    const cJSON *act = find(c->root, "hidden_act"), *part = find(c->root, "partial_rotary_factor");
    if (act && (!cJSON_IsString(act) || strcmp(act->valuestring, "silu") != 0))
        return rm_json_fail(c->err, RM_E_UNSUPPORTED, c->json, act, "\"hidden_act\" should be "
                            "\"silu\", which is the one this engine has");
    if (part && !(cJSON_IsNumber(part) && part->valuedouble == 1))
        return rm_json_fail(c->err, RM_E_UNSUPPORTED, c->json, part, "\"partial_rotary_factor\" "
                            "should be 1: this engine rotates whole heads");
    return RM_OK;
}

/* One window for all layers, or none. transformers gives mistral one whenever sliding_window is a
 * number, qwen only with use_sliding_window, and then from layer max_window_layers on;
 * "layer_types", where it is there, says it for each layer. */
static rm_status read_window(const config *c)
{
    rm_hyper *h = &c->s->hyper;
    bool qwen = strncmp(h->arch, "qwen", 4) == 0, used = strcmp(h->arch, "mistral") == 0;
    int from = 0;
    rm_status st;
    if ((st = read_count(c, "sliding_window", 1, 1 << 24, 0, &h->window)) ||
        (qwen && (st = read_flag(c, c->root, "use_sliding_window", &used))) ||
        (qwen && (st = read_count(c, "max_window_layers", 0, 65536, 28, &from))))
        return st;
    const cJSON *types = find(c->root, "layer_types"), *type;
    bool asked = used;
    int full = from, sliding = h->n_layers - from;
    if (types) {
        full = sliding = 0;
        cJSON_ArrayForEach(type, types)
        {
            full += cJSON_IsString(type) && strcmp(type->valuestring, "full_attention") == 0;
            sliding += cJSON_IsString(type) && strcmp(type->valuestring, "sliding_attention") == 0;
        }
        if (!cJSON_IsArray(types) || full + sliding != h->n_layers)
            return rm_json_fail(c->err, RM_E_UNSUPPORTED, c->json, types, "\"layer_types\" should "
                                "say \"full_attention\" or \"sliding_attention\" for each of %d "
                                "layers", h->n_layers);
        used = sliding > 0;
    }
    bool llama = strcmp(h->arch, "llama") == 0, mixed = full > 0 && sliding > 0;
    if (types && sliding > 0 && (llama || !h->window || !asked))
        return rm_json_fail(c->err, RM_E_FORMAT, c->json, types, "\"layer_types\" has sliding windows, but "
                            "%s", llama ? "llama has none" : h->window ? "\"use_sliding_window\" is false"
                                                                    : "\"sliding_window\" is not given");
    if (types && full > 0 && h->window && strcmp(h->arch, "mistral") == 0)
        return rm_json_fail(c->err, RM_E_UNSUPPORTED, c->json, types, "\"layer_types\" has layers without "
                            "the \"sliding_window\" that mistral has in all");
    if (used && h->window && mixed)
        return rm_json_fail(c->err, RM_E_UNSUPPORTED, c->json, find(c->root, "sliding_window"),
                            "a sliding window in some layers only: this engine has one for all "
                            "layers or none");
    if (!used || sliding <= 0)
        h->window = 0;
    return RM_OK;
}

static rm_status read_yarn(const config *c, const cJSON *rope, rm_rope_scaling *s)
{
    double m = 0, m_all = 0;
    bool truncate = true;
    rm_status st;
    s->kind = RM_ROPE_YARN;
    s->beta_fast = 32;
    s->beta_slow = 1;
    if ((st = read_real(c, rope, "beta_fast", &s->beta_fast)) ||
        (st = read_real(c, rope, "beta_slow", &s->beta_slow)) ||
        (st = read_real(c, rope, "attention_factor", &s->magnitude)) ||
        (st = read_real(c, rope, "mscale", &m)) ||
        (st = read_real(c, rope, "mscale_all_dim", &m_all)) ||
        (st = read_flag(c, rope, "truncate", &truncate)))
        return st;
    s->exact_range = !truncate;
    if (m > 0 && m_all > 0 && !(s->magnitude > 0))
        s->magnitude = rm_rope_yarn_magnitude(s->factor, m, m_all);
    return RM_OK;
}

/* A list of n divisors as a tensor, as GGUF has it. */
static rm_status add_factors(const config *c, const cJSON *rope, const char *key, int which)
{
    static const char *const names[] = { "rope_factors_short.weight", "rope_factors_long.weight" };
    const cJSON *list = find(rope, key), *item;
    size_t n = (size_t)c->s->hyper.head_dim / 2, i = 0;
    if (!cJSON_IsArray(list) || (size_t)cJSON_GetArraySize(list) != n)
        return rm_json_fail(c->err, RM_E_FORMAT, c->json, list ? list : rope, "\"%s\" should be a list "
                            "of %zu numbers, half the size of a head", key, n);
    float *values = c->s->priv->folder->rope_factors[which] = malloc(n * sizeof *values);
    if (!values)
        return rm_fail(c->err, RM_E_MEMORY, "%s: no memory to read it", c->s->file);
    cJSON_ArrayForEach(item, list)
    {
        if (!cJSON_IsNumber(item) || !(item->valuedouble > 0) || item->valuedouble > 1e6)
            return rm_json_fail(c->err, RM_E_FORMAT, c->json, item, "\"%s\" should hold numbers above 0",
                                key);
        values[i++] = (float)item->valuedouble;
    }
    rm_gguf_tensor t = { .name = { names[which], strlen(names[which]) }, .n_dims = 1,
                         .dims = { n, 1, 1, 1 }, .type_name = "f32", .readable = true, .type = RM_F32,
                         .n_values = n, .n_bytes = n * sizeof *values, .data = values };
    return rm_source_add_tensor(c->s, &t, c->err);
}

static rm_status read_longrope(const config *c, const cJSON *rope, rm_rope_scaling *s)
{
    rm_status st = read_real(c, rope, "attention_factor", &s->magnitude);
    s->kind = RM_ROPE_LONG;
    if (!st && !(s->magnitude > 0))
        s->magnitude = rm_rope_long_magnitude(s->factor, s->original_context);
    if (!st)
        st = add_factors(c, rope, "short_factor", 0);
    return st ? st : add_factors(c, rope, "long_factor", 1);
}

/* The context that the file states is the one before stretching. */
static rm_status read_dynamic(const config *c, rm_rope_scaling *s)
{
    rm_hyper *h = &c->s->hyper;
    s->kind = RM_ROPE_DYNAMIC;
    s->original_context = h->n_ctx;
    double most = s->factor * h->n_ctx;
    if (most > h->n_ctx)
        h->n_ctx_most = most < 1 << 24 ? (int)most : 1 << 24;
    return RM_OK;
}

static rm_status read_rope(const config *c)
{
    rm_hyper *h = &c->s->hyper;
    rm_rope_scaling *s = &h->rope_scaling;
    const cJSON *rope = find(c->root, "rope_parameters");
    rm_status st;
    if (!rope)
        rope = find(c->root, "rope_scaling");
    if (rope && !cJSON_IsObject(rope))
        return rm_json_fail(c->err, RM_E_FORMAT, c->json, rope, "\"%s\" should be an object",
                            rope->string);
    h->rope_dims = h->head_dim;
    h->rope_theta = 10000;
    s->factor = 0;
    s->original_context = h->n_ctx;
    h->n_ctx_most = h->n_ctx;
    if ((st = read_real(c, c->root, "rope_theta", &h->rope_theta)) ||
        (st = read_real(c, rope, "rope_theta", &h->rope_theta)) ||
        (st = read_real(c, rope, "factor", &s->factor)) ||
        (st = read_real(c, c->root, "original_max_position_embeddings", &s->original_context)) ||
        (st = read_real(c, rope, "original_max_position_embeddings", &s->original_context)) ||
        (st = read_real(c, rope, "low_freq_factor", &s->low_freq)) ||
        (st = read_real(c, rope, "high_freq_factor", &s->high_freq)))
        return st;
    if (h->head_dim % 2 || h->rope_theta < 1)
        return rm_fail(c->err, RM_E_FORMAT, "%s/config.json: heads of %d and a rotary base of %g; "
                       "an even number and one of at least 1 were expected", c->s->file,
                       h->head_dim, h->rope_theta);
    const char *type = text_of(rope, "rope_type");
    if (!type)
        type = text_of(rope, "type");
    if (!type || strcmp(type, "default") == 0)
        return RM_OK;
    /* files whose context is the stretched one may leave the factor to it */
    if (!find(rope, "factor") && s->original_context >= 1)
        s->factor = h->n_ctx / s->original_context;
    if (!(s->factor > 0))
        return rm_json_fail(c->err, RM_E_FORMAT, c->json, rope, "\"factor\" should be above 0");
    if (strcmp(type, "linear") == 0)
        s->kind = RM_ROPE_LINEAR;
    else if (strcmp(type, "llama3") == 0)
        s->kind = RM_ROPE_LLAMA3;
    else if (strcmp(type, "yarn") == 0)
        return read_yarn(c, rope, s);
    else if (strcmp(type, "longrope") == 0 || strcmp(type, "su") == 0)
        return read_longrope(c, rope, s);
    else if (strcmp(type, "dynamic") == 0)
        return read_dynamic(c, s);
    else
        return rm_json_fail(c->err, RM_E_UNSUPPORTED, c->json, rope, "rope_type is \"%s\", "
                            "supported are default, linear, dynamic, llama3, yarn and longrope",
                            rm_quoted(&(rm_quote){ 0 }, type, strlen(type)));
    return RM_OK;
}

static rm_status read_config(const config *c)
{
    rm_hyper *h = &c->s->hyper;
    int n_vocab = 0;
    rm_status st;
    if (!cJSON_IsObject(c->root))
        return rm_json_fail(c->err, RM_E_FORMAT, c->json, c->root, "an object was expected");
    if ((st = read_arch(c)) ||
        (st = read_count(c, "num_hidden_layers", 1, 65536, -1, &h->n_layers)) ||
        (st = read_count(c, "hidden_size", 1, 1 << 20, -1, &h->n_embd)) ||
        (st = read_count(c, "intermediate_size", 1, 1 << 24, -1, &h->n_ff)) ||
        (st = read_count(c, "max_position_embeddings", 1, 1 << 24, -1, &h->n_ctx)) ||
        (st = read_count(c, "vocab_size", 1, INT32_MAX, -1, &n_vocab)) ||
        (st = read_count(c, "num_attention_heads", 1, 65536, -1, &h->n_heads)) ||
        (st = read_count(c, "num_key_value_heads", 1, 65536, h->n_heads, &h->n_kv_heads)) ||
        (st = read_count(c, "head_dim", 1, 65536, h->n_embd / h->n_heads, &h->head_dim)) ||
        (st = refuse_unknown_maths(c)) || (st = read_bias(c)) || (st = rm_hyper_check(h, c->s->file, c->err)) ||
        (st = read_window(c)) || (st = read_rope(c)) ||
        (st = read_real(c, c->root, "rms_norm_eps", &h->norm_eps)) ||
        (st = read_flag(c, c->root, "tie_word_embeddings", &c->s->tied)))
        return st;
    h->n_vocab = n_vocab;
    if (!find(c->root, "head_dim") && h->n_embd % h->n_heads)
        return rm_fail(c->err, RM_E_FORMAT, "%s/config.json: hidden_size %d is no multiple of the "
                       "%d heads, and there is no head_dim", c->s->file, h->n_embd, h->n_heads);
    if (!(h->norm_eps > 0) || h->norm_eps > 1)
        return rm_fail(c->err, RM_E_FORMAT, "%s/config.json: \"rms_norm_eps\" should be above 0 "
                       "and at most 1", c->s->file);
    return RM_OK;
}

/* ---- files --------------------------------------------------------------------------------- */

/* Reads folder/name and adds it as a part; *text stays NULL if it is absent and not required. */
static rm_status read_part(rm_source *s, const char *name, bool required, char **text, size_t *n,
                           rm_error *err)
{
    char path[MAX_PATH_BYTES];
    if ((size_t)snprintf(path, sizeof path, "%s/%s", s->file, name) >= sizeof path)
        return rm_fail(err, RM_E_ARGUMENT, "%.200s: the path is too long", s->file);
    *text = NULL;
    *n = 0;
    if (!required && access(path, F_OK) != 0)
        return RM_OK;
    rm_status st = rm_file_read(path, MAX_JSON, text, n, err);
    return st ? st : rm_source_add_part(s, *text, *n, false, err);
}

static rm_status read_json(rm_source *s, const char *name, bool required, char **text,
                           rm_json **json, rm_error *err)
{
    char path[MAX_PATH_BYTES];
    size_t n;
    rm_status st = read_part(s, name, required, text, &n, err);
    if (st || !*text)
        return st;
    snprintf(path, sizeof path, "%s/%s", s->file, name);
    return rm_json_parse(*text, n, path, 1, 0, json, err);
}

static rm_status add_file(rm_source *s, const char *name, rm_error *err)
{
    struct rm_folder *f = s->priv->folder;
    char path[MAX_PATH_BYTES];
    const void *bytes;
    rm_safetensors **files = realloc(f->files, (f->n_files + 1) * sizeof(rm_safetensors *));
    if (!files)
        return rm_fail(err, RM_E_MEMORY, "%s: no memory to read it", s->file);
    f->files = files;
    if ((size_t)snprintf(path, sizeof path, "%s/%s", s->file, name) >= sizeof path)
        return rm_fail(err, RM_E_ARGUMENT, "%.200s: the path is too long", s->file);
    rm_status st = rm_safetensors_open(path, &f->files[f->n_files], err);
    if (st)
        return st;
    size_t n = rm_safetensors_bytes(f->files[f->n_files++], &bytes);
    return rm_source_add_part(s, bytes, n, true, err);
}

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The files that the index names, each once, in the order of their names. */
static rm_status open_indexed(rm_source *s, rm_error *err)
{
    struct rm_folder *f = s->priv->folder;
    const cJSON *map = find(rm_json_root(f->index), "weight_map"), *item;
    int n = cJSON_IsObject(map) ? cJSON_GetArraySize(map) : 0;
    if (n < 1)
        return rm_json_fail(err, RM_E_FORMAT, f->index, map, "\"weight_map\" should be an object "
                            "that names a file for each tensor");
    const char **names = malloc((size_t)n * sizeof *names);
    if (!names)
        return rm_fail(err, RM_E_MEMORY, "%s: no memory to read it", s->file);
    rm_status st = RM_OK;
    size_t count = 0;
    cJSON_ArrayForEach(item, map)
    {
        bool good = cJSON_IsString(item) && item->valuestring[0] && item->valuestring[0] != '.' &&
                    !strchr(item->valuestring, '/');
        if (!good && !st)
            st = rm_json_fail(err, RM_E_FORMAT, f->index, item, "the name of a file in this folder "
                              "was expected");
        if (good)
            names[count++] = item->valuestring;
    }
    qsort(names, count, sizeof *names, compare_texts);
    for (size_t i = 0; i < count && !st; i++) {
        if (i && strcmp(names[i], names[i - 1]) == 0)
            continue;
        if (f->n_files == MAX_FILES)
            st = rm_fail(err, RM_E_LIMIT, "%s: more than %d files of weights", s->file, MAX_FILES);
        else
            st = add_file(s, names[i], err);
    }
    free(names);
    return st;
}

/* A buffer of older files that follows from the configuration, and an output matrix that a tied
 * model does not use. */
static bool ignored(const rm_source *s, const char *name)
{
    int layer;
    const char *rest;
    return (split_name(name, "model.layers.", &layer, &rest) &&
            strcmp(rest, "self_attn.rotary_emb.inv_freq") == 0) ||
           (s->tied && strcmp(name, "lm_head.weight") == 0);
}

/* `name` is GGUF's, `own` the file's. */
static rm_status check_bias(const rm_source *s, const char *name, const char *own, rm_error *err)
{
    static const struct { const char *rest; bool out; } known[] = {
        { "attn_q.bias", false }, { "attn_k.bias", false }, { "attn_v.bias", false },
        { "attn_output.bias", true },
    };
    int layer;
    const char *rest;
    if (!split_name(name, "blk.", &layer, &rest) || !strstr(rest, ".bias"))
        return RM_OK;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(rest, known[i].rest) == 0 && (known[i].out ? s->hyper.out_bias : s->hyper.qkv_bias))
            return RM_OK;
    return rm_fail(err, RM_E_UNSUPPORTED, "%s: tensor %s is a bias that a %s model has not%s", s->file, own,
                   s->hyper.arch, s->hyper.out_bias ? "" : " by its config.json (\"attention_bias\")");
}

static rm_status add_tensors(rm_source *s, rm_error *err)
{
    struct rm_folder *f = s->priv->folder;
    size_t total = 0;
    for (size_t i = 0; i < f->n_files; i++)
        total += rm_safetensors_count(f->files[i]);
    f->names = calloc(total + 1, sizeof *f->names);
    if (!f->names)
        return rm_fail(err, RM_E_MEMORY, "%s: no memory for its tensors", s->file);
    for (size_t i = 0; i < f->n_files; i++)
        for (size_t k = 0; k < rm_safetensors_count(f->files[i]); k++) {
            rm_gguf_tensor t = *rm_safetensors_at(f->files[i], k);
            if (ignored(s, t.name.bytes))
                continue;
            char *name = gguf_name(t.name.bytes);
            if (!name)
                return rm_fail(err, RM_E_MEMORY, "%s: no memory for its tensors", s->file);
            f->names[f->n_names++] = name;
            rm_status st = check_bias(s, name, t.name.bytes, err);
            t.name = (rm_gguf_string){ name, strlen(name) };
            if (!st)
                st = rm_source_add_tensor(s, &t, err);
            if (st)
                return st;
        }
    return RM_OK;
}

/* ---- generation ---------------------------------------------------------------------------- */

/* eos_token_id: a number, a list of them, or null. */
static rm_status add_stops(rm_source *s, const cJSON *object, const char *where, rm_error *err)
{
    const cJSON *ids = find(object, "eos_token_id"), *item;
    rm_status st = RM_OK;
    if (!ids)
        return RM_OK;
    uint64_t id;
    if (rm_json_whole(ids, &id))
        return rm_source_add_stop(s, where, (int64_t)id, s->hyper.n_vocab, err);
    cJSON_ArrayForEach(item, ids)
    {
        if (!rm_json_whole(item, &id))
            break;
        if ((st = rm_source_add_stop(s, where, (int64_t)id, s->hyper.n_vocab, err)))
            return st;
    }
    if (!cJSON_IsArray(ids) || item)
        return rm_fail(err, RM_E_FORMAT, "%s: %s should be a token's number or a list of them",
                       s->file, where);
    return RM_OK;
}

/* "temperature 0.6, top_p 0.95": for people to read and to ask for. */
static rm_status describe_defaults(struct rm_folder *f, rm_error *err)
{
    static const char *const keys[] = { "do_sample", "temperature", "top_k", "top_p", "min_p",
                                        "typical_p", "repetition_penalty" };
    const cJSON *root = rm_json_root(f->generation);
    if (!cJSON_IsObject(root))
        return rm_json_fail(err, RM_E_FORMAT, f->generation, root, "an object was expected");
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const cJSON *item = find(root, keys[i]);
        const char *comma = f->defaults.length ? ", " : "";
        if (cJSON_IsNumber(item))
            rm_text_printf(&f->defaults, "%s%s %g", comma, keys[i], item->valuedouble);
        else if (cJSON_IsBool(item))
            rm_text_printf(&f->defaults, "%s%s %s", comma, keys[i],
                           cJSON_IsTrue(item) ? "true" : "false");
        else if (item)
            return rm_json_fail(err, RM_E_FORMAT, f->generation, item, "\"%s\" should be a number, true "
                                "or false, not %s", keys[i], found(item, (char[FOUND_BYTES]){ 0 }));
    }
    f->defaults.failed = false; /* without memory for it, it is not shown */
    return RM_OK;
}

static rm_status read_generation(rm_source *s, rm_error *err)
{
    struct rm_folder *f = s->priv->folder;
    rm_status st = read_json(s, "generation_config.json", false, &f->generation_text,
                             &f->generation, err);
    if (st)
        return st;
    if ((st = add_stops(s, rm_json_root(f->config), "eos_token_id of config.json", err)))
        return st;
    if (!f->generation)
        return RM_OK;
    if ((st = describe_defaults(f, err)))
        return st;
    if (f->defaults.data)
        s->defaults = (rm_gguf_string){ f->defaults.data, f->defaults.length };
    return add_stops(s, rm_json_root(f->generation), "eos_token_id of generation_config.json", err);
}

/* tokenizer_config.json's words for special tokens: a string, or an object with "content". */
static void read_roles(rm_source *s, const cJSON *words)
{
    static const char *const keys[RM_N_ROLES] = { "sep_token", "pad_token", "unk_token" };
    static const char *const characters[RM_N_ROLES] = { "S", "P", "U" }; /* tokenizer_json.c */
    bool single = find(words, "char_ords") != NULL;
    for (int i = 0; i < RM_N_ROLES; i++) {
        const char *text = text_of(words, keys[i]);
        if (!text)
            text = text_of(find(words, keys[i]), "content");
        if (!text && single)
            text = characters[i];
        if (text)
            s->roles[i] = (rm_gguf_string){ text, strlen(text) };
    }
}

/* chat_template.jinja; else the string in tokenizer_config.json, or the one called "default" of a
 * list of { name, template }. */
static rm_status read_template(rm_source *s, rm_error *err)
{
    struct rm_folder *f = s->priv->folder;
    size_t n;
    rm_status st = read_part(s, "chat_template.jinja", false, &f->template_text, &n, err);
    if (st)
        return st;
    if (f->template_text)
        s->chat_template = (rm_gguf_string){ f->template_text, n };
    if (!f->tokenizer.config)
        return RM_OK;
    st = rm_json_parse(f->tokenizer.config, f->tokenizer.n_config, "tokenizer_config.json", 1,
                       RM_JSON_NO_POSITIONS, &f->tokenizer_config, err);
    if (st)
        return rm_fail_within(err, st, "%s", s->file);
    read_roles(s, rm_json_root(f->tokenizer_config));
    if (f->template_text)
        return RM_OK;
    const cJSON *item = find(rm_json_root(f->tokenizer_config), "chat_template"), *each;
    const char *text = cJSON_IsString(item) ? item->valuestring : NULL;
    const cJSON *list = cJSON_IsArray(item) ? item : NULL;
    if (item && !text && !list)
        return rm_fail(err, RM_E_FORMAT, "%s/tokenizer_config.json: \"chat_template\" should be a text, or a "
                       "list of names and templates, not %s", s->file, found(item, (char[FOUND_BYTES]){ 0 }));
    cJSON_ArrayForEach(each, list)
    {
        const char *name = text_of(each, "name");
        if (name && strcmp(name, "default") == 0)
            text = text_of(each, "template");
    }
    if (text)
        s->chat_template = (rm_gguf_string){ text, strlen(text) };
    return RM_OK;
}

/* ---- opening ------------------------------------------------------------------------------- */

static rm_status open_weights(rm_source *s, rm_error *err)
{
    struct rm_folder *f = s->priv->folder;
    char path[MAX_PATH_BYTES];
    rm_status st = read_json(s, "model.safetensors.index.json", false, &f->index_text, &f->index,
                             err);
    if (st)
        return st;
    if (f->index)
        return open_indexed(s, err);
    snprintf(path, sizeof path, "%s/model.safetensors", s->file);
    if (access(path, F_OK) != 0)
        return rm_fail(err, RM_E_FORMAT, "%s: neither model.safetensors nor "
                       "model.safetensors.index.json is there (weights in other formats are not "
                       "read)", s->file);
    return add_file(s, "model.safetensors", err);
}

rm_status rm_folder_open(rm_source *s, rm_error *err)
{
    struct rm_folder *f = calloc(1, sizeof *f);
    rm_status st;
    s->priv->folder = f;
    if (!f)
        return rm_fail(err, RM_E_MEMORY, "%s: no memory to read it", s->file);
    if ((st = read_json(s, "config.json", true, &f->config_text, &f->config, err)))
        return st;
    config c = { s, f->config, rm_json_root(f->config), err };
    if ((st = read_config(&c)) || (st = open_weights(s, err)) || (st = add_tensors(s, err)) ||
        (st = rm_tokenizer_files_read(s->file, &f->tokenizer, err)) ||
        (st = read_generation(s, err)) || (st = read_template(s, err)))
        return st;
    const rm_tokenizer_files *t = &f->tokenizer;
    const rm_source_part texts[] = { { t->tokenizer, t->n_tokenizer, false },
                                     { t->vocab, t->n_vocab, false },
                                     { t->merges, t->n_merges, false },
                                     { t->config, t->n_config, false } };
    for (size_t i = 0; i < sizeof texts / sizeof *texts && !st; i++)
        if (texts[i].bytes)
            st = rm_source_add_part(s, texts[i].bytes, texts[i].n, false, err);
    return st;
}

void rm_folder_close(struct rm_folder *f)
{
    if (!f)
        return;
    rm_json_free(f->config);
    rm_json_free(f->generation);
    rm_json_free(f->index);
    rm_json_free(f->tokenizer_config);
    free(f->config_text);
    free(f->generation_text);
    free(f->index_text);
    free(f->template_text);
    for (size_t i = 0; i < f->n_files; i++)
        rm_safetensors_close(f->files[i]);
    free(f->files);
    for (size_t i = 0; i < f->n_names; i++)
        free(f->names[i]);
    free(f->names);
    rm_tokenizer_files_free(&f->tokenizer);
    rm_text_free(&f->defaults);
    free(f->rope_factors[0]);
    free(f->rope_factors[1]);
    free(f);
}

rm_status rm_folder_tokenizer(const rm_source *s, rm_tokenizer **out, rm_error *err)
{
    return rm_tokenizer_from_files(&s->priv->folder->tokenizer, s->file, s->hyper.n_vocab, out,
                                   err);
}
