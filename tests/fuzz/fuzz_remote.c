/* fuzz_remote.c - what completions servers answer: responses, errors, lists of models.
 *
 * The first byte chooses reader and stop strings. Invariants besides memory: a refusal has a
 * sentence; an accepted choice has at most the tokens asked for (and an end), pieces within its
 * text, and log-probabilities up to 0. */
#include "engine/remote/private.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int condition)
{
    if (!condition)
        abort();
}

static void fuzz_response(const char *body, size_t n, bool stops, bool no_logprobs)
{
    static char prompt[] = "p", stop_a[] = "\n\n", stop_b[] = "b";
    char *strings[] = { stop_a, stop_b };
    remote_call call = { .ticket = 1, .prompt = prompt, .n_prompt = 1,
                         .sampling = RM_SAMPLING_DEFAULT,
                         .max_new_tokens = 4, .stops = strings, .n_stops = stops ? 2 : 0 };
    rm_remote_options options = { .no_logprobs = no_logprobs };
    remote_response r;
    rm_error err = { { 0 } };
    if (remote_response_read(&options, &call, 1, body, n, &r, &err)) {
        require(err.text[0]);
        return;
    }
    const rm_service_result *result = &r.choices[0].result;
    require(result->n_pieces <= call.max_new_tokens + 1);
    require(result->stop >= -1 && result->stop < 2 && (result->stop < 0 || stops));
    size_t total = 0;
    for (int i = 0; i < result->n_pieces; i++) {
        bool end = result->has_end && i == result->n_pieces - 1;
        total += end ? 0 : strnlen(result->pieces[i].text, result->pieces[i].n);
        require(!result->lp || result->lp[i] <= 0);
    }
    require(total <= n);
    remote_response_free(&r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    const char *body = (const char *)data + 1;
    char message[40], *model = NULL;
    switch (data[0] % 4) {
    case 0:
    case 1:
        fuzz_response(body, size - 1, data[0] % 2, data[0] & 4);
        break;
    case 2:
        remote_error_message(body, size - 1, message, sizeof message);
        require(!strpbrk(message, "\r\n"));
        break;
    default:
        if (!remote_models_read(body, size - 1, data[0] & 4 ? "a" : NULL, &model, NULL))
            require(model != NULL);
        free(model);
    }
    return 0;
}
