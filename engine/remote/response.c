/* response.c - what a server answers, whole or chunk by chunk, gathered and checked.
 *
 * A response is input from elsewhere: every member is checked before it is used, and nothing is
 * taken to be there. A streamed chunk has the shape of a whole response, so that a whole one is
 * read as a single chunk. For each choice
 *
 *     text | message.content | delta.content     what was generated, without the stop string
 *     .reasoning_content or .reasoning           a thought that the server tells apart (chat): put in
 *                                                front between <think> and </think>
 *     finish_reason     "stop" (an end token or a stop string), "length", or null in between
 *     stop_reason       vLLM: the stop string, or null for the end token; SGLang: matched_stop;
 *                       llama-server: stop_type and stopping_word within __verbose
 *     logprobs          tokens[], token_logprobs[], top_logprobs[] (an object from text to
 *                       log-probability each), as OpenAI's completions have it; or content[] of
 *                       { token, bytes, logprob, top_logprobs[] }, as its chat completions and
 *                       llama-server's have it
 *
 * Tokens are matched with the text at the end: they are the text, or go beyond it (the end token,
 * or what the stop string consists of, which is left out), or are spelled otherwise (parts of a
 * character): then the first piece is the whole text and the others are empty, so that text, number
 * of tokens and their log-probabilities are all right. */
#include "engine/remote/private.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_SERVER_TOKENS = 10000000, MAX_TOP_LISTED = 4096 };

static const cJSON *member(const cJSON *object, const char *name)
{
    return cJSON_IsObject(object) ? cJSON_GetObjectItemCaseSensitive(object, name) : NULL;
}

static const char *text_of(const cJSON *object, const char *name)
{
    const cJSON *item = member(object, name);
    return cJSON_IsString(item) ? item->valuestring : NULL;
}

static rm_status bad(rm_error *err, const char *what)
{
    return rm_fail(err, RM_E_FORMAT, "the server's response %s", what);
}

static rm_status no_memory(rm_error *err)
{
    return rm_fail(err, RM_E_MEMORY, "no memory for a server's response");
}

static int64_t count_of(const cJSON *usage, const char *name)
{
    const cJSON *item = member(usage, name);
    if (!cJSON_IsNumber(item) || !(item->valuedouble >= 0) ||
        item->valuedouble > MAX_SERVER_TOKENS)
        return -1;
    return (int64_t)item->valuedouble;
}

/* ---- tokens ------------------------------------------------------------------------------- */

static rm_status bad_lp(int token, rm_error *err)
{
    return rm_fail(err, RM_E_FORMAT, "the server's response has a log-probability of token %d that is "
                   "no number up to 0", token);
}

/* Rounding may leave a little above 0. */
static bool read_lp(const cJSON *item, double *lp)
{
    if (!cJSON_IsNumber(item) || !isfinite(item->valuedouble) || item->valuedouble > 1e-6)
        return false;
    *lp = item->valuedouble < 0 ? item->valuedouble : 0.0;
    return true;
}

static rm_status add_token(remote_choice *c, const char *bytes, size_t n, const cJSON *lp,
                           rm_error *err)
{
    if (c->n_tokens >= MAX_SERVER_TOKENS)
        return rm_fail(err, RM_E_FORMAT, "the server's response has more than %d tokens",
                       MAX_SERVER_TOKENS);
    if (c->n_tokens == c->capacity) {
        int capacity = c->capacity ? 2 * c->capacity : 32;
        size_t *ends = realloc(c->ends, (size_t)capacity * sizeof *ends);
        if (ends)
            c->ends = ends;
        double *lps = ends ? realloc(c->token_lp, (size_t)capacity * sizeof *lps) : NULL;
        if (!lps)
            return no_memory(err);
        c->token_lp = lps;
        c->capacity = capacity;
    }
    if (!read_lp(lp, &c->token_lp[c->n_tokens]))
        return bad_lp(c->n_tokens + 1, err);
    rm_text_add(&c->spelled, bytes, n);
    c->ends[c->n_tokens++] = c->spelled.length;
    return c->spelled.failed ? no_memory(err) : RM_OK;
}

/* The bytes of an entry of content[]: "bytes" where they are, which may be part of a character. */
static rm_status entry_bytes(const cJSON *entry, rm_text *out, rm_error *err)
{
    const cJSON *bytes = member(entry, "bytes"), *byte;
    const char *text = text_of(entry, "token");
    out->length = 0;
    if (cJSON_IsArray(bytes)) {
        cJSON_ArrayForEach(byte, bytes) {
            if (!cJSON_IsNumber(byte) || !(byte->valuedouble >= 0 && byte->valuedouble <= 255))
                return bad(err, "has a token whose bytes are none");
            char one = (char)(unsigned char)byte->valuedouble;
            rm_text_add(out, &one, 1);
        }
    } else if (text) {
        rm_text_puts(out, text);
    } else {
        return bad(err, "has a token that is no text");
    }
    return out->failed ? no_memory(err) : RM_OK;
}

/* ---- the most likely tokens --------------------------------------------------------------- */

static rm_status add_top(remote_choice *c, const char *bytes, size_t n, const cJSON *lp, int room,
                         rm_error *err)
{
    static const char unknown[] = "\xEF\xBF\xBD";
    if (c->n_top == room)
        return rm_fail(err, RM_E_FORMAT, "the server's response lists more than %d next tokens", room);
    for (size_t i = 0; i + 3 <= n; i++)
        if (!memcmp(bytes + i, unknown, 3))
            return bad(err, "lists part of a character among the most likely tokens, but not its "
                            "bytes");
    remote_top *t = &c->top[c->n_top];
    *t = (remote_top){ .n = n, .order = c->n_top };
    if (!read_lp(lp, &t->lp))
        return bad_lp(c->n_top + 1, err);
    if (!(t->bytes = malloc(n + 1)))
        return no_memory(err);
    if (n)
        memcpy(t->bytes, bytes, n);
    t->bytes[n] = '\0';
    c->n_top++;
    return RM_OK;
}

static int by_falling_lp(const void *left, const void *right)
{
    const remote_top *a = left, *b = right;
    return a->lp != b->lp ? (a->lp < b->lp) - (a->lp > b->lp) : a->order - b->order;
}

/* A list of next tokens: an object from text to log-probability, or an array of entries. */
static rm_status read_top(const cJSON *list, remote_choice *c, rm_error *err)
{
    int n = cJSON_IsObject(list) || cJSON_IsArray(list) ? cJSON_GetArraySize(list) : 0;
    rm_text bytes = { 0 };
    rm_status status = RM_OK;
    if (c->top)
        return bad(err, "lists the most likely tokens twice");
    if (!n)
        return bad(err, "lists no most likely tokens (top_logprobs)");
    if (n > MAX_TOP_LISTED)
        return bad(err, "lists far more next tokens than were asked for");
    if (!(c->top = calloc((size_t)n, sizeof *c->top)))
        return no_memory(err);
    for (const cJSON *item = list->child; item && !status; item = item->next) {
        if (cJSON_IsObject(list))
            status = add_top(c, item->string, strlen(item->string), item, n, err);
        else if (!(status = entry_bytes(item, &bytes, err)))
            status = add_top(c, bytes.data ? bytes.data : "", bytes.length, member(item, "logprob"), n,
                             err);
    }
    if (!status)
        qsort(c->top, (size_t)c->n_top, sizeof *c->top, by_falling_lp);
    rm_text_free(&bytes);
    return status;
}

/* ---- log-probabilities -------------------------------------------------------------------- */

static rm_status read_content(const cJSON *content, bool top, remote_choice *c, rm_error *err)
{
    const cJSON *entry;
    rm_text bytes = { 0 };
    rm_status status = RM_OK;
    c->lists_tokens = true;
    cJSON_ArrayForEach(entry, content) {
        if (top && !c->n_tokens)
            status = read_top(member(entry, "top_logprobs"), c, err);
        if (!status)
            status = entry_bytes(entry, &bytes, err);
        if (!status)
            status = add_token(c, bytes.data ? bytes.data : "", bytes.length, member(entry, "logprob"),
                               err);
        if (status)
            break;
    }
    rm_text_free(&bytes);
    return status;
}

static rm_status read_lists(const cJSON *tokens, const cJSON *lps, const cJSON *tops, remote_choice *c,
                            rm_error *err)
{
    int n = cJSON_GetArraySize(tokens);
    rm_status status = RM_OK;
    if (cJSON_GetArraySize(lps) != n)
        return rm_fail(err, RM_E_FORMAT, "the server's response has %d tokens and %d "
                       "log-probabilities", n, cJSON_GetArraySize(lps));
    if (tops && cJSON_GetArraySize(tops) != n)
        return rm_fail(err, RM_E_FORMAT, "the server's response has %d tokens and %d lists of most "
                       "likely ones", n, cJSON_GetArraySize(tops));
    if (tops && n && !c->n_tokens)
        status = read_top(tops->child, c, err);
    c->lists_tokens = true;
    for (const cJSON *t = tokens->child, *lp = lps->child; t && !status; t = t->next, lp = lp->next) {
        if (!cJSON_IsString(t))
            return bad(err, "has a token that is no text");
        status = add_token(c, t->valuestring, strlen(t->valuestring), lp, err);
    }
    return status;
}

static rm_status read_logprobs(const remote_response *r, const cJSON *logprobs, remote_choice *c,
                               rm_error *err)
{
    const cJSON *tokens = member(logprobs, "tokens"), *lps = member(logprobs, "token_logprobs");
    const cJSON *content = member(logprobs, "content"), *tops = member(logprobs, "top_logprobs");
    if (r->options->no_logprobs)
        return RM_OK;
    if (cJSON_IsArray(content))
        return read_content(content, r->call->k > 0, c, err);
    if (cJSON_IsArray(tokens) && cJSON_IsArray(lps))
        return read_lists(tokens, lps, r->call->k && cJSON_IsArray(tops) ? tops : NULL, c, err);
    return RM_OK;
}

/* ---- texts and ends ----------------------------------------------------------------------- */

static rm_status read_text(const remote_response *r, const cJSON *choice, bool chunk, remote_choice *c,
                           rm_error *err)
{
    const cJSON *from = !r->options->chat ? choice : member(choice, chunk ? "delta" : "message");
    const char *text = text_of(from, r->options->chat ? "content" : "text");
    const char *thought = r->options->chat ? text_of(from, "reasoning_content") : NULL;
    if (r->options->chat && !thought)
        thought = text_of(from, "reasoning");
    if (!text && !thought && !chunk)
        return rm_fail(err, RM_E_FORMAT, "the server's response has a choice without \"%s\"",
                       r->options->chat ? "message.content" : "text");
    if (thought && *thought) {
        if (!c->text.length) {
            rm_text_puts(&c->text, "<think>");
            c->thinking = true;
        }
        rm_text_puts(&c->text, thought);
    }
    if (text && *text) {
        rm_text_puts(&c->text, c->thinking ? "</think>" : "");
        c->thinking = false;
        rm_text_puts(&c->text, text);
    }
    return c->text.failed ? no_memory(err) : RM_OK;
}

static int stop_index(const remote_call *call, const char *told)
{
    for (int i = 0; told && i < call->n_stops; i++)
        if (!strcmp(told, call->stops[i]))
            return i;
    return -1;
}

/* Which stop string ended the text, where the server says so. */
static void read_stop(const remote_call *call, const cJSON *choice, const cJSON *verbose,
                      remote_choice *c)
{
    static const char *const names[] = { "stop_reason", "matched_stop" };
    const char *type = text_of(verbose, "stop_type");
    for (size_t k = 0; k < 2 && c->stop == -1; k++) {
        const cJSON *told = member(choice, names[k]);
        c->stop = cJSON_IsString(told) ? stop_index(call, told->valuestring) : -1;
        if (told && (cJSON_IsNumber(told) || cJSON_IsNull(told)))
            c->stop = -2; /* the id of an end token, or null for the usual one */
    }
    if (c->stop == -1 && type)
        c->stop = !strcmp(type, "eos") ? -2
                  : !strcmp(type, "word") ? stop_index(call, text_of(verbose, "stopping_word")) : -1;
}

static rm_status read_finish(const remote_response *r, const cJSON *root, const cJSON *choice,
                             bool chunk, remote_choice *c, rm_error *err)
{
    const cJSON *finish = member(choice, "finish_reason");
    if (chunk && (!finish || cJSON_IsNull(finish)))
        return RM_OK;
    if (!cJSON_IsString(finish) ||
        (strcmp(finish->valuestring, "stop") && strcmp(finish->valuestring, "length")))
        return rm_fail(err, RM_E_FORMAT, "the server's response ends with \"finish_reason\" "
                       "\"%.40s\"; expected \"stop\" or \"length\"",
                       cJSON_IsString(finish) ? finish->valuestring : "");
    c->ended = true;
    c->stopped = !strcmp(finish->valuestring, "stop");
    if (c->stopped)
        read_stop(r->call, choice, member(root, "__verbose"), c);
    return RM_OK;
}

static rm_status read_choice(remote_response *r, const cJSON *root, const cJSON *choice, bool chunk,
                             rm_error *err)
{
    const cJSON *index = member(choice, "index");
    int at = cJSON_IsNumber(index) && index->valuedouble >= 0 && index->valuedouble < r->n
                 ? (int)index->valuedouble : r->n == 1 ? 0 : -1;
    if (at < 0 || r->choices[at].ended) {
        bool empty = at >= 0 && chunk && !text_of(choice, "text") && !member(choice, "logprobs");
        return empty ? RM_OK : bad(err, "numbers its choices wrongly");
    }
    remote_choice *c = &r->choices[at];
    size_t had = c->text.length;
    rm_status status = read_text(r, choice, chunk, c, err);
    if (!status)
        status = read_logprobs(r, member(choice, "logprobs"), c, err);
    if (!status)
        status = read_finish(r, root, choice, chunk, c, err);
    if (chunk && r->first_token_s == 0.0 && (c->text.length > had || c->n_tokens))
        r->first_token_s = rm_now_s();
    return status;
}

/* ---- a response, piece by piece ----------------------------------------------------------- */

rm_status remote_response_begin(const rm_remote_options *o, const remote_call *call, int n,
                                remote_response *r, rm_error *err)
{
    *r = (remote_response){ .options = o, .call = call, .n = n, .prompt_tokens = -1,
                            .cached_tokens = -1, .completion_tokens = -1 };
    if (!(r->choices = calloc((size_t)n, sizeof *r->choices)))
        return no_memory(err);
    for (int i = 0; i < n; i++)
        r->choices[i].stop = -1;
    return RM_OK;
}

void remote_response_free(remote_response *r)
{
    for (int i = 0; i < r->n && r->choices; i++) {
        remote_choice *c = &r->choices[i];
        rm_text_free(&c->text);
        rm_text_free(&c->spelled);
        free(c->ends);
        free(c->token_lp);
        for (int k = 0; k < c->n_top; k++)
            free(c->top[k].bytes);
        free(c->top);
        free(c->pieces);
        free(c->lp);
    }
    free(r->choices);
    *r = (remote_response){ 0 };
}

static void read_usage(remote_response *r, const cJSON *usage)
{
    int64_t prompt = count_of(usage, "prompt_tokens"), made = count_of(usage, "completion_tokens");
    int64_t cached = count_of(member(usage, "prompt_tokens_details"), "cached_tokens");
    r->prompt_tokens = prompt >= 0 ? prompt : r->prompt_tokens;
    r->completion_tokens = made >= 0 ? made : r->completion_tokens;
    r->cached_tokens = cached >= 0 ? cached : r->cached_tokens;
}

/* A stream's status was sent before anything failed: an error comes as a chunk. */
static rm_status error_chunk(const char *json, size_t size, rm_error *err)
{
    char message[200];
    remote_error_message(json, size, message, sizeof message);
    return rm_fail(err, RM_E_IO, "the server broke off its answer%s%s", message[0] ? ": " : "", message);
}

rm_status remote_response_add(remote_response *r, const char *json, size_t size, bool chunk,
                              rm_error *err)
{
    rm_json *tree = NULL;
    rm_status status = rm_json_parse(json, size, "the server's response", 1, RM_JSON_NO_POSITIONS,
                                     &tree, err);
    if (status)
        return status;
    const cJSON *root = rm_json_root(tree), *list = member(root, "choices"), *choice, *error;
    int n = cJSON_IsArray(list) ? cJSON_GetArraySize(list) : 0;
    if (chunk && !n && (error = member(root, "error")) && !cJSON_IsNull(error))
        status = error_chunk(json, size, err);
    else if (!chunk && n != r->n)
        status = rm_fail(err, RM_E_FORMAT, "the server's response has %d choices; expected %d", n,
                         r->n);
    for (choice = n ? list->child : NULL; choice && !status; choice = choice->next)
        status = read_choice(r, root, choice, chunk, err);
    if (!status)
        read_usage(r, member(root, "usage"));
    rm_json_free(tree);
    return status;
}

rm_status remote_response_event(void *arg, const char *data, size_t n, rm_error *err)
{
    remote_response *r = arg;
    if (r->done)
        return RM_OK;
    if (n == 6 && !memcmp(data, "[DONE]", 6)) {
        r->done = true;
        return RM_OK;
    }
    return n ? remote_response_add(r, data, n, true, err) : RM_OK;
}

uint64_t remote_response_tokens(const remote_response *r)
{
    uint64_t n = 0;
    for (int i = 0; i < r->n && r->choices; i++)
        n += r->choices[i].lists_tokens ? (uint64_t)r->choices[i].n_tokens
                                        : r->choices[i].text.length > 0;
    return n;
}

/* ---- the end ------------------------------------------------------------------------------ */

/* Tokens that make up the text; all of them are listed as pieces, and perhaps one more. */
static int tokens_of_text(const remote_choice *c, bool same)
{
    int n = same ? 0 : c->n_tokens;
    while (n < c->n_tokens && (n ? c->ends[n - 1] : 0) < c->text.length)
        n++;
    return n;
}

static void make_pieces(remote_choice *c, int n, bool same)
{
    const char *text = c->text.data ? c->text.data : "";
    for (int i = 0; i < n; i++) {
        size_t from = i ? c->ends[i - 1] : 0, to = c->ends[i];
        from = from < c->text.length ? from : c->text.length;
        to = to < c->text.length ? to : c->text.length;
        c->pieces[i] = same ? (rm_service_piece){ text + from, to - from }
                            : (rm_service_piece){ text, i ? 0 : c->text.length };
        c->lp[i] = c->token_lp[i];
    }
    c->result.n_pieces = n;
}

/* What ended the text: a stop string (its index, or -1 where which one is not known) or the end
 * token, -2. `said` is how many tokens the server says there were, or -1. */
static int find_stop(const remote_call *call, const remote_choice *c, int core, bool same, int64_t said)
{
    if (!call->n_stops)
        return -2;
    if (c->stop != -1)
        return c->stop;
    const char *rest = same && c->spelled.data ? c->spelled.data + c->text.length : "";
    for (int i = 0; i < call->n_stops; i++)
        if (!strncmp(rest, call->stops[i], strlen(call->stops[i])))
            return i;
    if (c->lists_tokens && same && c->n_tokens == core + 1 && c->spelled.length == c->text.length)
        return -2; /* one token without text */
    if (call->n_stops == 1 && c->lists_tokens && c->n_tokens == core && said > core)
        return 0; /* tokens that are neither listed nor text: the stop string's */
    return -1;
}

/* The end token is the one beyond the text. A server that held text back, because a stop string might
 * have begun there, sends it with the end token: then the text belongs to the token before. */
static void take_end(remote_choice *c, int core, bool same, int64_t said)
{
    rm_service_piece *p = c->pieces;
    if (c->n_tokens == core + 1) {
        c->lp[core] = c->token_lp[core];
        c->result.n_pieces = core + 1;
        c->result.has_end = true;
    } else if (same && core == c->n_tokens && core > 1 && said == core && !p[core - 2].n) {
        p[core - 2] = p[core - 1];
        c->result.has_end = true;
    }
}

static rm_status check_counts(const remote_response *r, const remote_choice *c, rm_error *err)
{
    int64_t most = r->call->max_new_tokens, said = r->completion_tokens;
    int64_t listed = c->lists_tokens ? c->n_tokens : -1;
    if (listed > most || said > most * r->n)
        return rm_fail(err, RM_E_FORMAT, "the server's response has %lld tokens, though at most %lld "
                       "were asked for", (long long)(listed > most ? listed : said),
                       (long long)(listed > most ? most : most * r->n));
    /* Of a stop string the tokens may be missing in the list. */
    bool fewer = c->result.reason == RM_STOP_STRING && listed < said;
    if (r->n == 1 && listed >= 0 && said >= 0 && llabs(said - listed) > 1 && !fewer)
        return rm_fail(err, RM_E_FORMAT, "the server's response lists %lld tokens and says that %lld "
                       "were generated", (long long)listed, (long long)said);
    return RM_OK;
}

/* The list of next tokens becomes the result. A short list is one only if nothing is left. */
static rm_status end_top(const remote_response *r, remote_choice *c, rm_error *err)
{
    double all = 0;
    int k = r->call->k;
    for (int i = 0; i < c->n_top; i++)
        all += exp(c->top[i].lp);
    if (!c->n_top)
        return bad(err, "lists no most likely tokens (top_logprobs)");
    if (c->n_top < k && all < 1 - 1e-3)
        return rm_fail(err, RM_E_FORMAT, "the server's response lists the %d most likely tokens; %d "
                       "were asked for", c->n_top, k);
    if (all > 1 + 1e-2)
        return bad(err, "lists most likely tokens with more than all of the probability");
    free(c->pieces);
    free(c->lp);
    c->lp = NULL;
    if (!(c->pieces = calloc((size_t)c->n_top, sizeof *c->pieces)) ||
        !(c->lp = calloc((size_t)c->n_top, sizeof *c->lp)))
        return no_memory(err);
    c->result.end = -1;
    int n = 0;
    for (int i = 0; i < c->n_top && n < k; i++) {
        const remote_top *t = &c->top[i];
        bool end = !t->n || (r->options->end_token && !strcmp(t->bytes, r->options->end_token));
        if (end && c->result.end >= 0)
            continue; /* another special token without text */
        if (end)
            c->result.end = n;
        c->pieces[n] = (rm_service_piece){ t->bytes, t->n };
        c->lp[n++] = t->lp;
    }
    c->result.n_pieces = n;
    c->result.pieces = c->pieces;
    c->result.lp = c->lp;
    return RM_OK;
}

/* A server that writes special tokens out writes out the one that ended the text, too. */
static void strip_end_token(const remote_response *r, remote_choice *c)
{
    const char *end = r->options->end_token;
    size_t n = end ? strlen(end) : 0;
    if (!n || !c->stopped || c->stop >= 0 || c->text.length < n ||
        memcmp(c->text.data + c->text.length - n, end, n))
        return;
    c->text.length -= n;
    c->text.data[c->text.length] = '\0';
    c->stop = -2;
}

static rm_status end_choice(const remote_response *r, remote_choice *c, rm_error *err)
{
    int64_t said = r->n == 1 ? r->completion_tokens : -1;
    strip_end_token(r, c);
    if (!c->ended)
        return rm_fail(err, RM_E_IO, "the server's answer breaks off before its finish_reason");
    if (!c->lists_tokens && !r->options->no_logprobs && (c->text.length || !c->stopped))
        return bad(err, "has no log-probabilities (logprobs.tokens and .token_logprobs, or "
                        "logprobs.content); say \"logprobs\": false for a server that gives none");
    size_t n_text = c->text.length, room = (size_t)c->n_tokens + 2;
    bool same = c->spelled.length >= n_text && (!n_text || !memcmp(c->spelled.data, c->text.data, n_text));
    if (!(c->pieces = calloc(room, sizeof *c->pieces)) || !(c->lp = calloc(room, sizeof *c->lp)))
        return no_memory(err);
    int core = c->lists_tokens ? tokens_of_text(c, same) : 0;
    c->result.reason = RM_STOP_LENGTH;
    c->result.stop = -1;
    int stop = c->stopped ? find_stop(r->call, c, core, same, said) : -1;
    if (c->stopped)
        c->result.reason = stop == -2 ? RM_STOP_TOKEN : RM_STOP_STRING;
    make_pieces(c, c->stopped ? core : c->n_tokens, same);
    if (c->result.reason == RM_STOP_STRING)
        c->result.stop = stop;
    else if (c->stopped && c->lists_tokens)
        take_end(c, core, same, said);
    if (!c->lists_tokens && n_text)
        c->pieces[c->result.n_pieces++] = (rm_service_piece){ c->text.data, n_text };
    rm_status status = check_counts(r, c, err);
    if (status)
        return status;
    bool listed = c->lists_tokens;
    c->result.pieces = c->pieces;
    c->result.lp = listed ? c->lp : NULL;
    c->result.generated_tokens = said >= 0 ? said : listed ? c->n_tokens : -1;
    c->result.prompt_tokens = r->prompt_tokens;
    c->result.first_token_s = r->first_token_s;
    int64_t made = c->result.generated_tokens;
    if (c->result.reason == RM_STOP_LENGTH && made >= 0 && made < r->call->max_new_tokens)
        c->result.reason = RM_STOP_CONTEXT; /* the server's, or a limit of its own */
    return r->call->k ? end_top(r, c, err) : RM_OK;
}

rm_status remote_response_end(remote_response *r, rm_error *err)
{
    rm_status status = RM_OK;
    for (int i = 0; i < r->n && !status; i++)
        status = end_choice(r, &r->choices[i], err);
    return status;
}

rm_status remote_response_read(const rm_remote_options *o, const remote_call *call, int n,
                               const char *body, size_t size, remote_response *out, rm_error *err)
{
    remote_response r;
    rm_status status = remote_response_begin(o, call, n, &r, err);
    if (!status)
        status = remote_response_add(&r, body, size, false, err);
    if (!status)
        status = remote_response_end(&r, err);
    if (status) {
        remote_response_free(&r);
        return status;
    }
    *out = r;
    return RM_OK;
}

