/* example.c - eight paths from one prompt that share its cache: ./example MODEL.gguf PROMPT */
#include <ramify.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#define TRY(call) if (call) return fprintf(stderr, "example: %s\n", err.text), 1

int main(int argc, char **argv)
{
    rm_engine *engine; rm_model *model; rm_run *run; rm_path *prompt;
    rm_error err;
    rm_request draw[8];
    rm_sampling sampling = RM_SAMPLING_DEFAULT;
    int32_t *tokens;
    int n;
    if (argc != 3)
        return fprintf(stderr, "usage: example MODEL.gguf PROMPT\n"), 2;
    TRY(rm_engine_open(&(rm_engine_options){ 0 }, &engine, &err));
    TRY(rm_model_open(engine, argv[1], &(rm_model_options){ 0 }, &model, &err));
    TRY(rm_tokenize(model, argv[2], strlen(argv[2]), true, &tokens, &n, &err));
    TRY(rm_run_open(engine, &(rm_run_options){ .seed = 1 }, &run, &err));
    TRY(rm_path_new(run, model, tokens, n, &prompt, &err));
    TRY(rm_eval(run, &(rm_request){ .want = RM_WANT_NOTHING, .path = prompt }, 1, &err));
    for (int i = 0; i < 8; i++) {
        draw[i] = (rm_request){ RM_WANT_SPAN, .sampling = &sampling, .max_new_tokens = 128 };
        TRY(rm_path_fork(prompt, (uint32_t)i, &draw[i].path, &err));
    }
    TRY(rm_eval(run, draw, 8, &err)); /* all eight advance together */
    for (int i = 0; i < 8; i++) {
        rm_text text = { 0 };
        rm_detokenize(model, draw[i].result.tokens, draw[i].result.n, true, &text);
        printf("%3d tokens  %s\n", draw[i].result.n, text.data ? text.data : "");
        rm_text_free(&text);
    }
    rm_run_close(run); /* with all its paths and results */
    free(tokens);
    rm_model_close(model);
    rm_engine_close(engine);
    return 0;
}
