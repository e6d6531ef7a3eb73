/* fuzz_remote.c - what servers answer: responses whole and streamed, errors, lists of models.
 *
 * The first byte chooses reader and stop strings. Invariants besides memory: a refusal has a sentence;
 * an accepted choice has at most the tokens asked for (and an end), pieces within its text, and
 * log-probabilities up to 0; a stream means the same however its bytes are cut. */
#include "engine/remote/private.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int condition)
{
    if (!condition)
        abort();
}

static void check_result(const rm_service_result *result, const remote_call *call, size_t n)
{
    require(result->n_pieces <= (call->k ? call->k : call->max_new_tokens + 1));
    require(result->stop >= -1 && result->stop < 2 && (result->stop < 0 || call->n_stops));
    require(result->end >= -1 && (result->end < result->n_pieces || !call->k));
    size_t total = 0;
    for (int i = 0; i < result->n_pieces; i++) {
        bool end = result->has_end && i == result->n_pieces - 1;
        for (size_t b = 0; b < result->pieces[i].n && !end; b++)
            total += result->pieces[i].text[b] == result->pieces[i].text[b]; /* it can be read */
        require(!result->lp || result->lp[i] <= 0);
    }
    require(total <= n + 16 * (size_t)result->n_pieces);
}

/* The stream in pieces of `step` bytes; false if it is refused. */
static bool read_stream(const rm_remote_options *options, const remote_call *call, const char *bytes,
                        size_t n, size_t step, remote_response *r)
{
    remote_events events = { 0 };
    rm_error err = { { 0 } };
    rm_status status = remote_response_begin(options, call, 1, r, &err);
    for (size_t at = 0; at < n && !status; at += step)
        status = remote_events_feed(&events, bytes + at, n - at < step ? n - at : step,
                                    remote_response_event, r, &err);
    if (!status)
        status = remote_response_end(r, &err);
    require(!status || err.text[0]);
    remote_events_free(&events);
    return !status;
}

static void fuzz_stream(const char *body, size_t n, bool chat, bool stops)
{
    static char prompt[] = "p", stop[] = "b";
    char *strings[] = { stop };
    remote_call call = { .ticket = 1, .prompt = prompt, .n_prompt = 1, .sampling = RM_SAMPLING_DEFAULT,
                         .max_new_tokens = 4, .stops = strings, .n_stops = stops };
    rm_remote_options options = { .chat = chat, .end_token = "$" };
    remote_response a, b;
    bool whole = read_stream(&options, &call, body, n, n + 1, &a);
    bool cut = read_stream(&options, &call, body, n, 1 + n % 5, &b);
    require(whole == cut);
    require(remote_response_tokens(&a) == remote_response_tokens(&b));
    if (whole) {
        check_result(&a.choices[0].result, &call, n);
        require(a.choices[0].result.n_pieces == b.choices[0].result.n_pieces);
        require(a.choices[0].text.length == b.choices[0].text.length);
    }
    remote_response_free(&a);
    remote_response_free(&b);
}

static void fuzz_response(const char *body, size_t n, bool stops, bool no_logprobs, bool top)
{
    static char prompt[] = "p", stop_a[] = "\n\n", stop_b[] = "b";
    char *strings[] = { stop_a, stop_b };
    remote_call call = { .ticket = 1, .prompt = prompt, .n_prompt = 1, .sampling = RM_SAMPLING_DEFAULT,
                         .max_new_tokens = 4, .stops = strings, .n_stops = stops ? 2 : 0,
                         .k = top ? 3 : 0 };
    rm_remote_options options = { .no_logprobs = no_logprobs && !top };
    remote_response r;
    rm_error err = { { 0 } };
    if (remote_response_read(&options, &call, 1, body, n, &r, &err)) {
        require(err.text[0]);
        return;
    }
    check_result(&r.choices[0].result, &call, n);
    remote_response_free(&r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    const char *body = (const char *)data + 1;
    char message[40], *model = NULL;
    if (data[0] & 8) {
        fuzz_stream(body, size - 1, data[0] & 1, data[0] & 2);
        return 0;
    }
    switch (data[0] % 4) {
    case 0:
    case 1:
        fuzz_response(body, size - 1, data[0] % 2, data[0] & 4, data[0] & 16);
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
