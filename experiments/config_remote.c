/* config_remote.c - models behind a server: their keys, and what such a model can be asked for.
 *
 *     "models": { "big": { "remote": "http://localhost:8000/v1", "model": "NAME",
 *                          "api_key_env": "KEY", "concurrency": 32 } }
 *
 * A strategy says what it needs (strategy.h); what a server does not give is refused by name when the
 * configuration is read, before anything is sent. Beam search needs lists of the most likely next
 * tokens: served where "top_logprobs" says how long a list the server gives, and as long as it
 * splits a path's text into the tokens that were chosen (engine.h), which is looked at each time. */
#include "experiments/config_private.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

_Static_assert((int)RM_SERVES_SAMPLES == RM_NEEDS_SAMPLES && (int)RM_SERVES_FORK == RM_NEEDS_FORK &&
               (int)RM_SERVES_LOGPROBS == RM_NEEDS_LOGPROBS, "one set of bits for both");

static const char *const endpoints[] = { "completions", "chat", NULL };

#define FIELD(name) offsetof(rm_config_remote, name)
const rm_key rm_remote_keys[] = {
    { "remote", RM_KEY_STRING, FIELD(url), 0, 0, NULL, "" },
    { "model", RM_KEY_STRING, FIELD(model), 0, 0, NULL, "" },
    { "api_key_env", RM_KEY_STRING, FIELD(api_key_env), 0, 0, NULL, "" },
    { "concurrency", RM_KEY_INT, FIELD(concurrency), 1, 4096, NULL, "" },
    { "timeout_s", RM_KEY_REAL, FIELD(timeout_s), 0.1, 86400, NULL, "" },
    { "retries", RM_KEY_INT, FIELD(retries), 0, 100, NULL, "" },
    { "backoff_s", RM_KEY_REAL, FIELD(backoff_s), 0.001, 60, NULL, "" },
    { "choices", RM_KEY_INT, FIELD(choices), 1, 1024, NULL, "" },
    { "logprobs", RM_KEY_BOOL, FIELD(logprobs), 0, 0, NULL, "" },
    { "top_logprobs", RM_KEY_INT, FIELD(top_logprobs), 0, 1024, NULL, "" },
    { "end_token", RM_KEY_STRING, FIELD(end_token), 0, 0, NULL, "" },
    { "endpoint", RM_KEY_CHOICE, FIELD(endpoint), 0, 0, endpoints, "" },
    { "stream", RM_KEY_BOOL, FIELD(stream), 0, 0, NULL, "" },
    { "extensions", RM_KEY_BOOL, FIELD(extensions), 0, 0, NULL, "" },
    { 0 },
};

void rm_remote_defaults(rm_config_remote *r)
{
    *r = (rm_config_remote){ .concurrency = 16, .timeout_s = 600, .retries = 5, .backoff_s = 0.5,
                             .choices = 1, .logprobs = true, .stream = true,
                             .extensions = true };
}

void rm_remote_free(rm_config_remote *r)
{
    if (r)
        rm_keys_free(rm_remote_keys, r);
    free(r);
}

static rm_remote_options options_of(const rm_config_remote *r)
{
    return (rm_remote_options){ .url = r->url, .model = r->model, .api_key_env = r->api_key_env,
                                .concurrency = r->concurrency, .timeout_s = r->timeout_s,
                                .retries = r->retries ? r->retries : -1,
                                .backoff_s = r->backoff_s, .choices = r->choices,
                                .no_logprobs = !r->logprobs, .no_stream = !r->stream,
                                .no_extensions = !r->extensions, .chat = r->endpoint == 1,
                                .most_top = r->top_logprobs, .end_token = r->end_token };
}

rm_status rm_remote_settle(const rm_json *json, const cJSON *item, const char *path,
                           const char *file, rm_config_remote *spec, rm_config_remote **out,
                           rm_error *err)
{
    rm_status st = RM_OK;
    rm_error inner = { { 0 } };
    *out = NULL;
    if (!spec->url) {
        for (const rm_key *key = rm_remote_keys + 1; key->name && !st; key++)
            if (cJSON_IsObject(item) && cJSON_GetObjectItemCaseSensitive(item, key->name))
                st = rm_json_fail(err, RM_E_ARGUMENT, json, item, "%s: \"%s\" is for a model behind "
                                  "a server, whose address \"remote\" says", path, key->name);
    } else if (file || cJSON_GetObjectItemCaseSensitive(item, "compute") ||
               cJSON_GetObjectItemCaseSensitive(item, "kv") ||
               cJSON_GetObjectItemCaseSensitive(item, "context")) {
        st = rm_json_fail(err, RM_E_ARGUMENT, json, item, "%s: \"remote\" is a model behind a server; "
                          "\"file\", \"compute\", \"kv\" and \"context\" are for one that is "
                          "computed here", path);
    } else {
        rm_remote_options options = options_of(spec);
        if ((st = rm_remote_check(&options, &inner)))
            st = rm_json_fail(err, st, json, item, "%s: %s", path, inner.text);
        else if (!(*out = malloc(sizeof **out)))
            st = rm_fail(err, RM_E_MEMORY, "out of memory for a configuration");
    }
    if (*out)
        **out = *spec;
    else
        rm_keys_free(rm_remote_keys, spec);
    return st;
}

const char *rm_remote_lack(const rm_config_remote *r, unsigned needs)
{
    static const struct { unsigned need; const char *what; } lacks[] = {
        { RM_NEEDS_SCORING, "log-probabilities of given tokens" },
        { RM_NEEDS_ALL, "the whole distribution of the next token" },
        { RM_NEEDS_ONE_VOCABULARY, "distributions of several models over one vocabulary" },
    };
    for (size_t i = 0; i < sizeof lacks / sizeof *lacks; i++)
        if (needs & lacks[i].need)
            return lacks[i].what;
    if ((needs & RM_NEEDS_TOP) && !r->top_logprobs)
        return "the most likely next tokens (of which \"top_logprobs\" says how many a server lists)";
    if ((needs & (RM_NEEDS_FORK | RM_NEEDS_TOP)) && r->endpoint == 1)
        return "texts that are continued, which chat completions only begin";
    return (needs & RM_NEEDS_LOGPROBS) && !r->logprobs
               ? "log-probabilities, which \"logprobs\": false leaves out" : NULL;
}

rm_status rm_config_model_open(const rm_config_model *m, rm_engine *engine, rm_model **model,
                               rm_error *err)
{
    rm_remote_options options = options_of(m->remote);
    return rm_remote_open(engine, &options, model, err);
}
