/* peer_text.c - the greedy tokens of another engine, llama.cpp, for prompts on standard input, one
 * a line; peer_text.py compiles it against an installation outside this project and compares.
 *
 *   peer_text MODEL.gguf MOST_TOKENS < prompts > tokens       a line of token ids for each prompt
 *
 * The argmax is taken here, ties to the smaller id as Ramify has it. */
#include <llama.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_PROMPT = 4096 };

static void quiet(enum ggml_log_level level, const char *text, void *arg)
{
    (void)arg;
    if (level >= GGML_LOG_LEVEL_ERROR)
        fputs(text, stderr);
}

static llama_token largest(const float *logits, int n)
{
    int best = 0;
    for (int i = 1; i < n; i++)
        if (logits[i] > logits[best])
            best = i;
    return best;
}

static int answer(struct llama_context *context, const struct llama_vocab *vocab,
                  const char *prompt, int most)
{
    llama_token tokens[MOST_PROMPT], next;
    int n = llama_tokenize(vocab, prompt, (int)strlen(prompt), tokens, MOST_PROMPT, true, true);
    if (n < 1)
        return fprintf(stderr, "peer_text: cannot tokenize \"%s\"\n", prompt), 1;
    llama_memory_clear(llama_get_memory(context), true);
    if (llama_decode(context, llama_batch_get_one(tokens, n)))
        return fprintf(stderr, "peer_text: cannot evaluate \"%s\"\n", prompt), 1;
    for (int i = 0; i < most; i++) {
        next = largest(llama_get_logits_ith(context, -1), llama_vocab_n_tokens(vocab));
        printf(i ? " %d" : "%d", next);
        if (llama_vocab_is_eog(vocab, next))
            break;
        if (llama_decode(context, llama_batch_get_one(&next, 1)))
            return fprintf(stderr, "peer_text: cannot evaluate a token\n"), 1;
    }
    putchar('\n');
    return 0;
}

int main(int argc, char **argv)
{
    char line[MOST_PROMPT];
    int failed = 0;
    if (argc != 3)
        return fprintf(stderr, "peer_text MODEL.gguf MOST_TOKENS < prompts\n"), 2;
    llama_log_set(quiet, NULL);
    llama_backend_init();
    struct llama_model *model = llama_model_load_from_file(argv[1], llama_model_default_params());
    struct llama_context_params params = llama_context_default_params();
    params.n_ctx = 512;
    params.n_threads = params.n_threads_batch = 1;
    struct llama_context *context = model ? llama_init_from_model(model, params) : NULL;
    if (!context)
        return fprintf(stderr, "peer_text: cannot open %s\n", argv[1]), 1;
    while (!failed && fgets(line, sizeof line, stdin)) {
        line[strcspn(line, "\n")] = '\0';
        failed = answer(context, llama_model_get_vocab(model), line, atoi(argv[2]));
    }
    llama_free(context);
    llama_model_free(model);
    return failed;
}
