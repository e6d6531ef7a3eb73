/* request.c - what a server is asked for.
 *
 *     POST {url}/completions        prompt: text                         endpoint "completions"
 *     POST {url}/chat/completions   messages: one of the user's          endpoint "chat"
 *
 * Every parameter of a draw is written out, the neutral ones too: servers fill in what is missing
 * from the model's own generation_config (vLLM, SGLang) or from defaults of theirs (llama-server:
 * top_k 40, top_p 0.95, min_p 0.05), and the sample would be of another distribution than recorded.
 * top_k is off at 2^30, which all three take for the whole vocabulary, while 0 and -1 are each refused by
 * one of them. Without `extensions` only what OpenAI's own interface has is sent. */
#include "engine/remote/private.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_STOPS = 64, WHOLE_VOCABULARY = 1 << 30 };

/* ---- calls -------------------------------------------------------------------------------- */

void remote_call_free(remote_call *c)
{
    if (!c)
        return;
    free(c->prompt);
    for (int i = 0; i < c->n_stops && c->stops; i++)
        free(c->stops[i]);
    free(c->stops);
    free(c);
}

/* What a server has no word for. */
static rm_status check_span(const rm_remote_options *o, const rm_service_span *span, rm_error *err)
{
    const rm_sampling *s = span->sampling;
    const char *name = NULL;
    if (s->do_sample && s->typical_p != 1.0)
        return rm_fail(err, RM_E_ARGUMENT, "typical_p is %g, but completions servers have no such "
                       "parameter", s->typical_p);
    if (o->no_extensions)
        name = s->repetition_penalty != 1.0          ? "repetition_penalty"
               : s->do_sample && s->top_k            ? "top_k"
               : s->do_sample && s->min_p != 0.0     ? "min_p"
               : span->endless                       ? "ignore_eos" : NULL;
    if (name)
        return rm_fail(err, RM_E_ARGUMENT, "%s is asked for, but the server takes OpenAI's own "
                       "parameters only (\"extensions\": false)", name);
    if (span->n_stops > MAX_STOPS)
        return rm_fail(err, RM_E_ARGUMENT, "%d stop strings; a server is asked for at most %d",
                       span->n_stops, MAX_STOPS);
    if (o->chat && (span->continues || span->k))
        return rm_fail(err, RM_E_ARGUMENT, "a text cannot be continued through chat completions "
                       "(\"endpoint\": \"chat\"), only begun");
    if (rm_utf8_valid_prefix(span->prompt, span->n_prompt) != span->n_prompt)
        return rm_fail(err, RM_E_ARGUMENT, "a text that ends within a character cannot be sent to a "
                       "server");
    return RM_OK;
}

rm_status remote_call_new(const rm_remote_options *o, uint64_t ticket, const rm_service_span *span,
                          remote_call **out, rm_error *err)
{
    rm_status status = check_span(o, span, err);
    if (status)
        return status;
    remote_call *c = calloc(1, sizeof *c);
    bool ok = c && (c->prompt = malloc(span->n_prompt + 1)) &&
              (c->stops = calloc((size_t)span->n_stops + 1, sizeof *c->stops));
    if (ok) {
        memcpy(c->prompt, span->prompt, span->n_prompt);
        c->prompt[span->n_prompt] = '\0';
        c->ticket = ticket;
        c->n_prompt = span->n_prompt;
        c->sampling = *span->sampling;
        c->max_new_tokens = span->max_new_tokens;
        c->k = span->k;
        c->n_stops = span->n_stops;
        c->endless = span->endless;
        c->seed = span->seed;
    }
    for (int i = 0; ok && i < span->n_stops; i++)
        ok = (c->stops[i] = strdup(span->stops[i])) != NULL;
    if (!ok) {
        remote_call_free(c);
        return rm_fail(err, RM_E_MEMORY, "no memory for a request to a server");
    }
    *out = c;
    return RM_OK;
}

bool remote_call_alike(const remote_call *a, const remote_call *b)
{
    const rm_sampling *s = &a->sampling, *t = &b->sampling;
    bool alike = a->n_prompt == b->n_prompt && !memcmp(a->prompt, b->prompt, a->n_prompt) &&
                 a->max_new_tokens == b->max_new_tokens && a->n_stops == b->n_stops &&
                 a->endless == b->endless && s->do_sample && t->do_sample && s->temperature == t->temperature &&
                 s->top_k == t->top_k && s->top_p == t->top_p && s->min_p == t->min_p &&
                 s->repetition_penalty == t->repetition_penalty;
    for (int i = 0; alike && i < a->n_stops; i++)
        alike = !strcmp(a->stops[i], b->stops[i]);
    return alike;
}

bool remote_call_streams(const rm_remote_options *o, const remote_call *c)
{
    return !o->no_stream && !c->k; /* a list of next tokens comes at once */
}

/* ---- bodies ------------------------------------------------------------------------------- */

static void put_sampling(const rm_remote_options *o, const remote_call *c, rm_json_writer *w)
{
    const rm_sampling *s = &c->sampling;
    rm_json_real(w, "temperature", s->do_sample ? s->temperature : 0.0);
    rm_json_real(w, "top_p", s->do_sample ? s->top_p : 1.0);
    if (s->do_sample)
        rm_json_uint(w, "seed", c->seed >> 33); /* 31 bits: what every server takes */
    if (o->no_extensions)
        return;
    rm_json_int(w, "top_k", s->do_sample && s->top_k ? s->top_k : WHOLE_VOCABULARY);
    rm_json_real(w, "min_p", s->do_sample ? s->min_p : 0.0);
    rm_json_real(w, "repetition_penalty", s->repetition_penalty); /* vLLM, SGLang */
    rm_json_bool(w, "skip_special_tokens", false);                /* a thought's end may be one */
    if (c->endless)
        rm_json_bool(w, "ignore_eos", true);
    if (s->repetition_penalty != 1.0) {
        rm_json_real(w, "repeat_penalty", s->repetition_penalty); /* llama-server, */
        rm_json_int(w, "repeat_last_n", -1);                      /* which looks back 64 tokens */
    }
}

static void put_prompt(const rm_remote_options *o, const remote_call *c, rm_json_writer *w)
{
    if (!o->chat) {
        rm_json_string_n(w, "prompt", c->prompt, c->n_prompt);
        return;
    }
    rm_json_array(w, "messages");
    rm_json_object(w, NULL);
    rm_json_string(w, "role", "user");
    rm_json_string_n(w, "content", c->prompt, c->n_prompt);
    rm_json_end(w);
    rm_json_end(w);
}

static void put_logprobs(const rm_remote_options *o, const remote_call *c, rm_json_writer *w)
{
    if (o->no_logprobs)
        return;
    if (o->chat)
        rm_json_bool(w, "logprobs", true); /* llama-server lists none with top_logprobs 0 */
    rm_json_int(w, o->chat ? "top_logprobs" : "logprobs", c->k ? c->k : 1);
}

void remote_request_write(const rm_remote_options *o, const char *model, const remote_call *c, int n,
                          rm_text *body)
{
    rm_json_writer w = { .out = body };
    rm_json_object(&w, NULL);
    rm_json_string(&w, "model", model);
    put_prompt(o, c, &w);
    rm_json_int(&w, "max_tokens", c->max_new_tokens);
    put_sampling(o, c, &w);
    if (n > 1)
        rm_json_int(&w, "n", n);
    put_logprobs(o, c, &w);
    if (c->n_stops) {
        rm_json_array(&w, "stop");
        for (int i = 0; i < c->n_stops; i++)
            rm_json_string(&w, NULL, c->stops[i]);
        rm_json_end(&w);
        if (!o->no_extensions)
            rm_json_bool(&w, "verbose", true); /* llama-server says which one it was only there */
    }
    if (remote_call_streams(o, c)) {
        rm_json_bool(&w, "stream", true);
        rm_json_object(&w, "stream_options");
        rm_json_bool(&w, "include_usage", true);
        rm_json_end(&w);
    }
    rm_json_end(&w);
}
