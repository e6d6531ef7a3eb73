/* models.c - ramify models: embedded models, descriptions, token ids, random models. */
#include "base/json.h"
#include "experiments/chat/chat.h"
#include "experiments/cli/cli.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- token ids ------------------------------------------------------------------------------ */

static rm_status tokenize(const cli_args *args, const char *file, const char *text, rm_error *err)
{
    rm_tokenizer *tokenizer = NULL;
    int32_t *tokens = NULL;
    int n = 0;
    rm_text out = { 0 };
    rm_status status = rm_tokenizer_open(file, &tokenizer, err);
    if (!status)
        status = rm_tokenizer_encode(tokenizer, text, strlen(text),
                                     !cli_flag(args, "no-special"), &tokens, &n, err);
    for (int i = 0; i < n && !status; i++)
        rm_text_printf(&out, i ? " %d" : "%d", tokens[i]);
    rm_text_puts(&out, "\n");
    if (!status)
        status = cli_put(&out, err);
    rm_text_free(&out);
    free(tokens);
    rm_tokenizer_free(tokenizer);
    return status;
}

/* How fast a text becomes tokens: the best of a few runs, by itself, on one thread. */
static rm_status measure_tokenizer(const char *file, const char *path, rm_error *err)
{
    enum { RUNS = 5, MAX_BYTES = 64 << 20 };
    rm_tokenizer *tokenizer = NULL;
    char *text = NULL;
    size_t n_bytes = 0;
    int n = 0;
    double best = 0;
    rm_status status = rm_file_read(path, MAX_BYTES, &text, &n_bytes, err);
    if (!status)
        status = rm_tokenizer_open(file, &tokenizer, err);
    for (int run = 0; run < RUNS && !status; run++) {
        int32_t *tokens = NULL;
        double start = rm_now_s();
        status = rm_tokenizer_encode(tokenizer, text, n_bytes, false, &tokens, &n, err);
        double took = rm_now_s() - start;
        best = !run || took < best ? took : best;
        free(tokens);
    }
    rm_text out = { 0 };
    if (!status) {
        rm_text_printf(&out, "%zu bytes, %d tokens, %.1f MB/s (best of %d)\n", n_bytes, n,
                       best > 0 ? (double)n_bytes / best / 1e6 : 0.0, RUNS);
        status = cli_put(&out, err);
    }
    rm_text_free(&out);
    rm_tokenizer_free(tokenizer);
    free(text);
    return status;
}

/* ---- descriptions --------------------------------------------------------------------------- */

static void put_json(rm_text *out, const rm_model *model, const char *chat,
                     const rm_engine_info *e)
{
    const rm_model_info *m = rm_model_describe(model);
    int n_stops;
    const int32_t *stops = rm_model_stop_tokens(model, &n_stops);
    rm_json_writer w = { .out = out, .pretty = true };
    rm_json_object(&w, NULL);
    rm_json_string(&w, "name", m->name);
    rm_json_string(&w, "file", m->file);
    rm_json_string(&w, "architecture", m->arch);
    rm_json_string(&w, "hash_xxh3_128", m->hash);
    rm_json_uint(&w, "parameters", m->n_params);
    rm_json_string(&w, "weights", m->weight_type);
    rm_json_string(&w, "weight_types", m->weight_types);
    rm_json_string(&w, "compute", m->compute);
    rm_json_string(&w, "kv", m->kv);
    rm_json_uint(&w, "file_bytes", m->file_bytes);
    rm_json_uint(&w, "memory_bytes", m->memory_bytes);
    rm_json_int(&w, "layers", m->n_layers);
    rm_json_int(&w, "width", m->n_embd);
    rm_json_int(&w, "heads", m->n_heads);
    rm_json_int(&w, "kv_heads", m->n_kv_heads);
    rm_json_int(&w, "head_dim", m->head_dim);
    rm_json_int(&w, "feed_forward", m->n_ff);
    rm_json_int(&w, "vocabulary", m->n_vocab);
    rm_json_int(&w, "context", m->n_ctx);
    rm_json_int(&w, "sliding_window", m->window);
    rm_json_real(&w, "rope_theta", m->rope_theta);
    rm_json_string(&w, "rope_scaling", m->rope_scaling);
    rm_json_bool(&w, "tied_embeddings", m->tied);
    rm_json_string(&w, "tokenizer", m->tokenizer);
    rm_json_int(&w, "bos", m->bos);
    rm_json_int(&w, "eos", m->eos);
    rm_json_array(&w, "stop_tokens");
    for (int i = 0; i < n_stops; i++)
        rm_json_int(&w, NULL, stops[i]);
    rm_json_end(&w);
    rm_json_bool(&w, "add_bos", m->add_bos);
    if (m->value_good >= 0) {
        rm_json_int(&w, "value_good", m->value_good);
        rm_json_int(&w, "value_bad", m->value_bad);
    }
    rm_json_string(&w, "chat_template", m->chat_template);
    rm_json_string(&w, "chat", chat);
    rm_json_string(&w, "makers_sampling", m->sampling);
    rm_json_real(&w, "flops_per_token", m->flops_per_token);
    rm_json_uint(&w, "kv_position_bytes", m->kv_position_bytes);
    rm_json_string(&w, "device", e->device);
    rm_json_string(&w, "isa", e->isa);
    rm_json_end(&w);
    rm_text_puts(out, "\n");
}

static void put_text(rm_text *out, const rm_model *model, const char *chat,
                     const rm_engine_info *e)
{
    const rm_model_info *m = rm_model_describe(model);
    int n_stops;
    const int32_t *stops = rm_model_stop_tokens(model, &n_stops);
    char amount[16];
    rm_text_printf(out, "%s (%s)\n", m->name, m->file);
    rm_text_printf(out,
                   "  architecture  %s: %d layers, width %d, %d heads of %d, %d key/value heads, "
                   "feed-forward %d%s\n", m->arch, m->n_layers, m->n_embd, m->n_heads,
                   m->head_dim, m->n_kv_heads, m->n_ff, m->tied ? ", tied embeddings" : "");
    rm_text_printf(out, "  parameters    %s", cli_amount((double)m->n_params, amount));
    rm_text_printf(out, ", weights %s, %s bytes", m->weight_types,
                   cli_amount((double)m->file_bytes, amount));
    rm_text_printf(out, " (%s in memory)\n", cli_amount((double)m->memory_bytes, amount));
    rm_text_printf(out, "  computed in   %s, cache %s, %zu bytes a position\n", m->compute, m->kv,
                   m->kv_position_bytes);
    rm_text_printf(out, "  tokenizer     %s, %d tokens", m->tokenizer, m->n_vocab);
    if (m->bos >= 0)
        rm_text_printf(out, ", bos %d%s", m->bos, m->add_bos ? " (added)" : "");
    for (int i = 0; i < n_stops; i++)
        rm_text_printf(out, "%s %d", i ? "," : ", ends at", stops[i]);
    rm_text_puts(out, "\n");
    if (m->value_good >= 0)
        rm_text_printf(out,
                       "  judges        by token %d (good) and token %d (bad): a reward model\n",
                       m->value_good, m->value_bad);
    rm_text_printf(out, "  chat          %s\n", chat);
    if (m->sampling)
        rm_text_printf(out, "  its makers    sample with %s (not applied: ask for it)\n",
                       m->sampling);
    rm_text_printf(out, "  context       %d, rope theta %g", m->n_ctx, m->rope_theta);
    if (m->rope_scaling)
        rm_text_printf(out, ", stretched: %s", m->rope_scaling);
    if (m->window)
        rm_text_printf(out, ", attention sees the last %d", m->window);
    rm_text_puts(out, "\n");
    rm_text_printf(out, "  work          %s FLOP a token\n",
                   cli_amount(m->flops_per_token + m->flops_output, amount));
    rm_text_printf(out, "  hash          %s (XXH3-128)\n", m->hash);
    rm_text_printf(out, "  runs on       %s (%s)\n", e->device, e->isa);
}

static rm_status describe(const cli_args *args, const char *file, rm_error *err)
{
    rm_engine_options options = { 0 };
    rm_model_options model_options = { 0 };
    rm_engine *engine = NULL;
    rm_model *model = NULL;
    rm_text out = { 0 };
    rm_status status = cli_engine_options(args, &options, err);
    if (!status)
        status = cli_model_options(args, &model_options, err);
    if (!status)
        status = cli_engine_open(&options, &engine, err);
    if (!status)
        status = rm_model_open(engine, file, &model_options, &model, err);
    if (!status) {
        rm_engine_info info = rm_engine_describe(engine);
        rm_error why;
        rm_chat *chat = NULL;
        bool found = !rm_chat_open(model, NULL, NULL, &chat, &why);
        const char *origin = found ? rm_chat_origin(chat) : why.text;
        if (cli_flag(args, "json"))
            put_json(&out, model, found ? origin : NULL, &info);
        else
            put_text(&out, model, origin, &info);
        rm_chat_free(chat);
        status = cli_put(&out, err);
    }
    rm_text_free(&out);
    rm_model_close(model);
    rm_engine_close(engine);
    return status;
}

/* ---- random models ----------------------------------------------------------------------- */

static rm_status write_random(const cli_args *args, const char *file, rm_error *err)
{
    static const char *const types[] = { "f32", "f16", "bf16", "q8_0", "q4_0", "q4_1", "q5_0", "q5_1",
                                         "q4_k", "q5_k", "q6_k", "q4_k_m", NULL };
    struct stat there;
    int type = 0;
    rm_random_model m = { .n_layers = 6, .n_embd = 256, .n_heads = 8, .n_ff = 704, .n_vocab = 512,
                          .n_ctx = 2048, .tied = cli_flag(args, "tied") };
    static const int most = 1 << 20;
    rm_status status = cli_int(args, "layers", 1, 1024, &m.n_layers, err);
    if (!status)
        status = cli_int(args, "embd", 1, most, &m.n_embd, err);
    if (!status)
        status = cli_int(args, "heads", 1, most, &m.n_heads, err);
    if (!status)
        status = cli_int(args, "kv-heads", 1, most, &m.n_kv_heads, err);
    if (!status)
        status = cli_int(args, "ff", 1, most, &m.n_ff, err);
    if (!status)
        status = cli_int(args, "vocab", 1, most, &m.n_vocab, err);
    if (!status)
        status = cli_int(args, "ctx", 1, 1 << 24, &m.n_ctx, err);
    if (!status)
        status = cli_uint(args, "seed", &m.seed, err);
    if (!status)
        status = cli_choice(args, "type", types, &type, err);
    if (!status && stat(file, &there) == 0 && !S_ISREG(there.st_mode))
        status = rm_fail(err, RM_E_IO, "cannot replace %s: it is not a regular file", file);
    if (!status && access(file, F_OK) == 0)
        status = rm_fail(err, RM_E_ARGUMENT, "%s exists already; a model with random weights would "
                         "replace it", file);
    m.weight_type = types[type];
    char *template = NULL;
    const char *from = cli_text(args, "chat-template", NULL);
    size_t n;
    if (!status && from)
        status = rm_file_read(from, RM_JINJA_MAX_SOURCE, &template, &n, err);
    m.chat_template = template;
    if (!status)
        status = rm_model_write_random(&m, file, err);
    free(template);
    if (!status)
        fprintf(stderr, "%s: random weights in %s, %d layers, width %d, vocabulary %d\n", file,
                m.weight_type, m.n_layers, m.n_embd, m.n_vocab);
    return status;
}

/* ---- the list ---------------------------------------------------------------------------- */

static rm_status list(const cli_args *args, rm_error *err)
{
    rm_text names = { 0 }, out = { 0 };
    rm_engine_options options = { 0 };
    rm_engine *engine = NULL;
    cli_table table = { 0 };
    rm_json_writer w = { .out = &out, .pretty = true };
    bool json = cli_flag(args, "json");
    rm_model_names(&names);
    rm_status status = cli_engine_options(args, &options, err);
    if (!status)
        status = cli_engine_open(&options, &engine, err);
    if (!status && !json) {
        rm_engine_info info = rm_engine_describe(engine);
        fprintf(stderr, "%s\n", info.device);
        cli_cell(&table, "name");
        cli_cell(&table, "parameters");
        cli_cell(&table, "weights");
        cli_cell(&table, "file");
        cli_end_row(&table);
    }
    if (json)
        rm_json_array(&w, NULL);
    for (char *name = names.data, *end; !status && name && *name; name = end + 1) {
        char *path = NULL, amount[16];
        rm_model *model = NULL;
        end = strchr(name, '\n');
        *end = '\0';
        status = rm_model_find(name, NULL, &path, err);
        if (!status)
            status = rm_model_open(engine, path, NULL, &model, err);
        if (!status) {
            const rm_model_info *m = rm_model_describe(model);
            if (json) {
                rm_json_object(&w, NULL);
                rm_json_string(&w, "name", name);
                rm_json_string(&w, "file", path);
                rm_json_uint(&w, "parameters", m->n_params);
                rm_json_string(&w, "weights", m->weight_type);
                rm_json_end(&w);
            } else {
                cli_cell(&table, "%s", name);
                cli_cell(&table, "%s", cli_amount((double)m->n_params, amount));
                cli_cell(&table, "%s", m->weight_type);
                cli_cell(&table, "%s", path);
                cli_end_row(&table);
            }
        }
        rm_model_close(model);
        free(path);
    }
    if (json) {
        rm_json_end(&w);
        rm_text_puts(&out, "\n");
        if (!status)
            status = cli_put(&out, err);
    } else if (!status) {
        cli_print_table(&table, "lrll", stdout);
    }
    cli_table_free(&table);
    rm_text_free(&out);
    rm_text_free(&names);
    rm_engine_close(engine);
    return status;
}

static rm_status models(const cli_args *args, rm_error *err)
{
    bool random = cli_flag(args, "random");
    const char *text = cli_text(args, "tokenize", NULL);
    if (!args->n_positional && (random || text))
        return cli_misuse(args, err, random ? "--random needs the name of the FILE to write"
                                            : "--tokenize needs a MODEL");
    if (!args->n_positional)
        return list(args, err);
    const char *name = args->positional[0], *measured = cli_text(args, "tokenizer-speed", NULL);
    if (random)
        return write_random(args, name, err);
    char *file = NULL;
    rm_status status = rm_model_find(name, NULL, &file, err);
    if (!status)
        status = text       ? tokenize(args, file, text, err)
                 : measured ? measure_tokenizer(file, measured, err)
                            : describe(args, file, err);
    free(file);
    return status;
}

static const cli_option options[] = {
    { "tokenize", 0, "TEXT", "print the token ids of TEXT, nothing else" },
    { "no-special", 0, NULL, "special tokens written out in TEXT are text, and BOS is not added" },
    { "tokenizer-speed", 0, "FILE", "tokenize the text in FILE and print the MB/s" },
    { "compute", 0, "TYPE", "describe it as computed in f32, bf16 or q8" },
    { "context", 0, "N", "describe it with room for N positions" },
    { "isa", 0, "NAME", "instruction-set variant: avx512-bf16, avx512, avx2, portable" },
    CLI_BACKEND_OPTIONS,
    { "json", 0, NULL, "for machines" },
    { "random", 0, NULL, "write a model with random weights to FILE, for measuring speed:" },
    { "layers", 0, "N", "  6" },
    { "embd", 0, "N", "  width, 256" },
    { "heads", 0, "N", "  8" },
    { "kv-heads", 0, "N", "  as many as heads" },
    { "ff", 0, "N", "  feed-forward width, 704" },
    { "vocab", 0, "N", "  512" },
    { "ctx", 0, "N", "  context, 2048" },
    { "type", 0, "TYPE", "  f32, f16, bf16, q8_0, q4_0, q4_1, q5_0, q5_1, q4_k, q5_k, "
                        "q6_k or the mixture q4_k_m" },
    { "tied", 0, NULL, "  the output matrix is the embedding" },
    { "seed", 0, "S", "  0" },
    { "chat-template", 0, "FILE", "  a chat template to put into it" },
    { NULL, 0, NULL, NULL },
};

const cli_command cli_models = {
    .name = "models",
    .summary = "embedded models; describe, tokenize, make a random one",
    .positional = "[MODEL]",
    .max_positional = 1,
    .example = "ramify models thimble --tokenize '1+2=<think>'",
    .options = options,
    .run = models,
};
