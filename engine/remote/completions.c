/* completions.c - the completions protocol: requests written, responses read and checked.
 *
 * A response is input from elsewhere: every member is checked before it is used, and nothing is
 * taken to be there. For each choice
 *
 *     text              what was generated, without the stop string that ended it
 *     finish_reason     "stop" (an end token or a stop string) or "length"
 *     stop_reason       vLLM: the stop string, or null for the end token; SGLang: matched_stop
 *     logprobs          tokens[n], token_logprobs[n]: the tokens as texts
 *
 * Tokens are matched with the text: they are the text, or go beyond it (the end token, or what the stop
 * string consists of, which is left out), or are spelled otherwise (parts of a character): then the
 * first piece is the whole text and the others are empty, so that text, number of tokens and their
 * log-probabilities are all right. */
#include "engine/remote/private.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_STOPS = 64, MAX_SERVER_TOKENS = 10000000 };

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

rm_status remote_call_new(uint64_t ticket, const rm_service_span *span, remote_call **out,
                          rm_error *err)
{
    if (span->sampling->do_sample && span->sampling->typical_p != 1.0)
        return rm_fail(err, RM_E_ARGUMENT, "typical_p is %g, but completions servers have no such "
                       "parameter", span->sampling->typical_p);
    if (span->n_stops > MAX_STOPS)
        return rm_fail(err, RM_E_ARGUMENT, "%d stop strings; a server is asked for at most %d",
                       span->n_stops, MAX_STOPS);
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
        c->n_stops = span->n_stops;
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
                 s->do_sample && t->do_sample && s->temperature == t->temperature &&
                 s->top_k == t->top_k && s->top_p == t->top_p && s->min_p == t->min_p &&
                 s->repetition_penalty == t->repetition_penalty;
    for (int i = 0; alike && i < a->n_stops; i++)
        alike = !strcmp(a->stops[i], b->stops[i]);
    return alike;
}

void remote_request_write(const rm_remote_options *o, const char *model, const remote_call *c, int n,
                          rm_text *body)
{
    const rm_sampling *s = &c->sampling;
    rm_json_writer w = { .out = body };
    rm_json_object(&w, NULL);
    rm_json_string(&w, "model", model);
    rm_json_string_n(&w, "prompt", c->prompt, c->n_prompt);
    rm_json_int(&w, "max_tokens", c->max_new_tokens);
    rm_json_real(&w, "temperature", s->do_sample ? s->temperature : 0.0);
    if (s->do_sample) {
        rm_json_uint(&w, "seed", c->seed >> 33); /* 31 bits: what every server takes */
        if (s->top_p != 1.0)
            rm_json_real(&w, "top_p", s->top_p);
        if (s->top_k)
            rm_json_int(&w, "top_k", s->top_k);
        if (s->min_p != 0.0)
            rm_json_real(&w, "min_p", s->min_p);
    }
    if (s->repetition_penalty != 1.0)
        rm_json_real(&w, "repetition_penalty", s->repetition_penalty);
    if (n > 1)
        rm_json_int(&w, "n", n);
    if (!o->no_logprobs)
        rm_json_int(&w, "logprobs", 1);
    if (c->n_stops) {
        rm_json_array(&w, "stop");
        for (int i = 0; i < c->n_stops; i++)
            rm_json_string(&w, NULL, c->stops[i]);
        rm_json_end(&w);
    }
    rm_json_end(&w);
}

/* ---- responses ---------------------------------------------------------------------------- */

static const cJSON *member(const cJSON *object, const char *name)
{
    return cJSON_IsObject(object) ? cJSON_GetObjectItemCaseSensitive(object, name) : NULL;
}

static rm_status bad(rm_error *err, const char *what)
{
    return rm_fail(err, RM_E_FORMAT, "the server's response %s", what);
}

static int64_t count_of(const cJSON *usage, const char *name)
{
    const cJSON *item = member(usage, name);
    if (!cJSON_IsNumber(item) || !(item->valuedouble >= 0) ||
        item->valuedouble > MAX_SERVER_TOKENS)
        return -1;
    return (int64_t)item->valuedouble;
}

/* Which stop string ended the text: its index; -1 not told; -2 none, it was the end token. `rest` is
 * what the tokens hold beyond the text. */
static int find_stop(const remote_call *call, const cJSON *choice, const char *rest)
{
    static const char *const names[] = { "stop_reason", "matched_stop" };
    if (!call->n_stops)
        return -2;
    for (size_t k = 0; k < 2; k++) {
        const cJSON *told = member(choice, names[k]);
        for (int i = 0; cJSON_IsString(told) && i < call->n_stops; i++)
            if (!strcmp(told->valuestring, call->stops[i]))
                return i;
        if (told && (cJSON_IsNumber(told) || cJSON_IsNull(told)))
            return -2; /* the id of an end token, or null for the usual one */
    }
    for (int i = 0; i < call->n_stops; i++)
        if (!strncmp(rest, call->stops[i], strlen(call->stops[i])))
            return i;
    return -1;
}

/* Matches tokens with the text; *rest points at what they hold beyond it, within their joined texts. */
static rm_status match_tokens(const cJSON *tokens, const char *text, remote_choice *c, rm_text *joined,
                              const char **rest, rm_error *err)
{
    size_t n_text = strlen(text), at = 0;
    const cJSON *t;
    cJSON_ArrayForEach(t, tokens) {
        if (!cJSON_IsString(t))
            return bad(err, "has a token that is no text");
        rm_text_puts(joined, t->valuestring);
    }
    if (joined->failed)
        return rm_fail(err, RM_E_MEMORY, "no memory for a server's response");
    bool same = joined->length >= n_text && !memcmp(joined->data ? joined->data : "", text, n_text);
    *rest = same && joined->data ? joined->data + n_text : "";
    cJSON_ArrayForEach(t, tokens) {
        size_t n = strlen(t->valuestring);
        rm_service_piece *piece = &c->pieces[c->result.n_pieces];
        if (!same)
            *piece = (rm_service_piece){ text, c->result.n_pieces ? 0 : n_text };
        else if (at >= n_text && n) /* beyond the text */
            break;
        else
            *piece = (rm_service_piece){ text + at, at + n < n_text ? n : n_text - at };
        at += n;
        c->result.n_pieces++;
    }
    return RM_OK;
}

static rm_status read_logprobs(const cJSON *list, int n, double *lp, rm_error *err)
{
    const cJSON *item = list->child;
    for (int i = 0; i < n; i++, item = item->next) {
        if (!cJSON_IsNumber(item) || !isfinite(item->valuedouble) || item->valuedouble > 1e-6)
            return rm_fail(err, RM_E_FORMAT, "the server's response has a log-probability of token %d "
                           "that is no number up to 0", i + 1);
        lp[i] = item->valuedouble < 0 ? item->valuedouble : 0.0;
    }
    return RM_OK;
}

/* The tokens of a choice and what became of the last of them. */
static rm_status read_tokens(const rm_remote_options *o, const remote_call *call,
                             const cJSON *choice, const char *text, bool stopped, remote_choice *c,
                             int *n_tokens, rm_error *err)
{
    const cJSON *logprobs = member(choice, "logprobs");
    const cJSON *tokens = member(logprobs, "tokens"), *lps = member(logprobs, "token_logprobs");
    rm_text joined = { 0 };
    const char *rest = "";
    rm_status status = RM_OK;
    *n_tokens = -1;
    bool told = !o->no_logprobs && cJSON_IsArray(tokens) && cJSON_IsArray(lps);
    if (!told && !o->no_logprobs)
        return bad(err, "has no log-probabilities (logprobs.tokens and .token_logprobs); say "
                        "\"logprobs\": false for a server that gives none");
    *n_tokens = told ? cJSON_GetArraySize(tokens) : -1;
    if (told && cJSON_GetArraySize(lps) != *n_tokens)
        return rm_fail(err, RM_E_FORMAT, "the server's response has %d tokens and %d "
                       "log-probabilities", *n_tokens, cJSON_GetArraySize(lps));
    size_t room = (size_t)(told ? *n_tokens : 0) + 2;
    if (!(c->pieces = calloc(room, sizeof *c->pieces)) || !(c->lp = calloc(room, sizeof *c->lp)))
        return rm_fail(err, RM_E_MEMORY, "no memory for a server's response");
    if (told) {
        status = match_tokens(tokens, text, c, &joined, &rest, err);
        if (!status)
            status = read_logprobs(lps, *n_tokens, c->lp, err);
    } else if (*text) {
        c->pieces[c->result.n_pieces++] = (rm_service_piece){ text, strlen(text) };
    }
    if (!status && stopped) {
        c->result.stop = find_stop(call, choice, rest);
        if (c->result.stop == -2) {
            c->result.stop = -1;
            c->result.reason = RM_STOP_TOKEN;
            if (told && c->result.n_pieces == *n_tokens - 1) /* one token beyond the text */
                c->result.has_end = ++c->result.n_pieces > 0;
        } else {
            c->result.reason = RM_STOP_STRING;
        }
    }
    c->result.pieces = c->pieces;
    c->result.lp = told ? c->lp : NULL;
    rm_text_free(&joined);
    return status;
}

static rm_status read_choice(const rm_remote_options *o, const remote_call *call, int n,
                             const cJSON *choice, const cJSON *usage, remote_choice *c, rm_error *err)
{
    const cJSON *text = member(choice, "text"), *finish = member(choice, "finish_reason");
    if (!cJSON_IsString(text))
        return bad(err, "has a choice without \"text\"");
    if (!cJSON_IsString(finish) ||
        (strcmp(finish->valuestring, "stop") && strcmp(finish->valuestring, "length")))
        return rm_fail(err, RM_E_FORMAT, "the server's response ends with \"finish_reason\" "
                       "\"%.40s\"; expected \"stop\" or \"length\"",
                       cJSON_IsString(finish) ? finish->valuestring : "");
    bool stopped = !strcmp(finish->valuestring, "stop");
    int n_tokens;
    c->result.reason = RM_STOP_LENGTH;
    c->result.stop = -1;
    rm_status status = read_tokens(o, call, choice, text->valuestring, stopped, c, &n_tokens, err);
    if (status)
        return status;
    int64_t most = call->max_new_tokens, said = count_of(usage, "completion_tokens");
    if (n_tokens > most || said > most * n)
        return rm_fail(err, RM_E_FORMAT, "the server's response has %lld tokens, though at most %lld "
                       "were asked for", (long long)(n_tokens > most ? n_tokens : said),
                       (long long)(n_tokens > most ? most : most * n));
    if (n == 1 && n_tokens >= 0 && said >= 0 && llabs(said - n_tokens) > 1)
        return rm_fail(err, RM_E_FORMAT, "the server's response lists %d tokens and says that %lld "
                       "were generated", n_tokens, (long long)said);
    c->result.generated_tokens = n == 1 && said >= 0 ? said : n_tokens;
    c->result.prompt_tokens = count_of(usage, "prompt_tokens");
    return RM_OK;
}

void remote_response_free(remote_response *r)
{
    for (int i = 0; i < r->n && r->choices; i++) {
        free(r->choices[i].pieces);
        free(r->choices[i].lp);
    }
    free(r->choices);
    rm_json_free(r->json);
    *r = (remote_response){ 0 };
}

rm_status remote_response_read(const rm_remote_options *o, const remote_call *call, int n,
                               const char *body, size_t size, remote_response *out, rm_error *err)
{
    remote_response r = { .n = n };
    rm_status status = rm_json_parse(body, size, "the server's response", 1, 0, &r.json, err);
    if (status)
        return status;
    const cJSON *root = rm_json_root(r.json), *list = member(root, "choices"), *choice;
    if (!cJSON_IsArray(list) || cJSON_GetArraySize(list) != n)
        status = rm_fail(err, RM_E_FORMAT, "the server's response has %d choices; expected %d",
                         cJSON_IsArray(list) ? cJSON_GetArraySize(list) : 0, n);
    else if (!(r.choices = calloc((size_t)n, sizeof *r.choices)))
        status = rm_fail(err, RM_E_MEMORY, "no memory for a server's response");
    bool seen[1024] = { false };
    int k = 0;
    for (choice = status ? NULL : list->child; choice && !status; choice = choice->next, k++) {
        const cJSON *index = member(choice, "index");
        int at = cJSON_IsNumber(index) && index->valuedouble >= 0 && index->valuedouble < n
                     ? (int)index->valuedouble : n == 1 ? 0 : -1;
        if (at < 0 || seen[at])
            status = bad(err, "numbers its choices wrongly");
        else
            status = read_choice(o, call, n, choice, member(root, "usage"), &r.choices[at], err);
        if (at >= 0)
            seen[at] = true;
    }
    if (status) {
        remote_response_free(&r);
        return status;
    }
    *out = r;
    return RM_OK;
}

/* ---- errors and models -------------------------------------------------------------------- */

void remote_error_message(const char *body, size_t size, char *out, size_t n_out)
{
    rm_json *json = NULL;
    const char *text = NULL;
    out[0] = '\0';
    if (rm_json_parse(body, size, "error", 1, 0, &json, NULL))
        return;
    const cJSON *root = rm_json_root(json), *error = member(root, "error");
    const cJSON *messages[] = { member(error, "message"), error, member(root, "message"),
                                member(root, "detail") };
    for (size_t i = 0; i < 4 && !text; i++)
        if (cJSON_IsString(messages[i]))
            text = messages[i]->valuestring;
    size_t n = text ? strlen(text) : 0;
    n = rm_utf8_valid_prefix(text ? text : "", n < n_out - 1 ? n : n_out - 1);
    for (size_t i = 0; i < n; i++)
        out[i] = (unsigned char)text[i] < 0x20 || text[i] == 0x7F ? ' ' : text[i];
    out[n] = '\0';
    rm_json_free(json);
}

rm_status remote_models_read(const char *body, size_t size, const char *wanted, char **model,
                             rm_error *err)
{
    rm_json *json = NULL;
    rm_status status = rm_json_parse(body, size, "the server's list of models", 1, 0, &json, err);
    if (status)
        return status;
    const cJSON *data = member(rm_json_root(json), "data"), *item;
    const char *found = NULL, *only = NULL;
    int n = 0;
    cJSON_ArrayForEach(item, data) {
        const cJSON *id = member(item, "id");
        if (!cJSON_IsString(id))
            continue;
        n++;
        only = id->valuestring;
        if (wanted && !strcmp(wanted, id->valuestring))
            found = id->valuestring;
    }
    if (wanted && n && !found)
        status = rm_fail(err, RM_E_ARGUMENT, "the server has no model \"%.80s\"; it has %s\"%.80s\"",
                         wanted, n > 1 ? "others, such as " : "", only);
    else if (!wanted && n != 1)
        status = rm_fail(err, RM_E_ARGUMENT, "the server has %d models: say which in \"model\"", n);
    else if (!(*model = strdup(wanted ? wanted : only)))
        status = rm_fail(err, RM_E_MEMORY, "no memory for the name of a model");
    rm_json_free(json);
    return status;
}
