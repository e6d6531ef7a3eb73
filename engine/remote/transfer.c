/* transfer.c - requests side by side, tried again where that may help (remote.h).
 *
 * A call waits in a queue until one of `concurrency` transfers is free; calls that are samples of one
 * prompt may share a transfer. A transfer is under way in libcurl's multi handle, or waits for its
 * next attempt:
 *
 *     wait before attempt k + 1 = backoff 2^k (1/2 + u),  u uniform in (0, 1)     at most 60 s
 *
 * so that clients that failed together do not come back together (u from Philox: no hidden state). A
 * Retry-After is waited for if it is longer. Bodies and streams are bounded by MAX_BODY; redirections
 * are not followed, since the key would go with them.
 *
 * An answer that was asked for as a stream is read as one if that is what it says it is. It is
 * complete when every choice has its finish_reason, however the connection ends then. */
#include "engine/remote/private.h"

#include <assert.h>
#include <curl/curl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_BODY = 64 << 20, MAX_CHOICES = 1024, MAX_TOP = 1024, MAX_WAIT_S = 60 };

typedef struct transfer {
    struct transfer *next;
    CURL *easy;
    remote_call *calls;      /* in the order of their choices */
    int n_calls;
    rm_text request, body;   /* body: of an answer that is no stream */
    remote_events events;
    remote_response response;/* what has come; `choices` NULL before the attempt */
    rm_status refused;       /* a chunk made no sense: why the attempt was ended */
    rm_error refusal;
    size_t received;
    char reason[CURL_ERROR_SIZE];
    int attempt;             /* from 0 */
    bool under_way, too_large, asked_stream, is_stream;
    double not_before;       /* the next attempt, by rm_now_s */
    double heard_s;          /* when the last bytes came */
} transfer;

typedef struct remote {
    rm_remote_options options; /* its strings are those below */
    char *url, *model, *key, *end_token;
    char name[160];
    CURLM *multi;
    struct curl_slist *headers;
    remote_call *first_waiting, *last_waiting;
    transfer *transfers;
    int n_transfers;
    transfer *delivering;    /* its calls are being reported */
    rm_service_traffic traffic;
} remote;

/* ---- options ------------------------------------------------------------------------------ */

static bool printable(const char *s)
{
    for (; *s; s++)
        if ((unsigned char)*s <= 0x20 || *s == 0x7F)
            return false;
    return true;
}

rm_status rm_remote_check(const rm_remote_options *o, rm_error *err)
{
    const char *host = !o->url ? NULL : !strncmp(o->url, "http://", 7) ? o->url + 7
                       : !strncmp(o->url, "https://", 8) ? o->url + 8 : NULL;
    if (!host || !*host || *host == '/' || !printable(o->url) || strlen(o->url) > 1000)
        return rm_fail(err, RM_E_ARGUMENT, "the address of a server is \"%.100s\"; expected one such "
                       "as \"http://localhost:8000/v1\"", o->url ? o->url : "");
    if (memchr(host, '@', strcspn(host, "/")) || strchr(host, '?') || strchr(host, '#'))
        return rm_fail(err, RM_E_ARGUMENT, "the address of a server must hold no name, key or query: "
                       "name the environment variable of the key in \"api_key_env\"");
    if (o->concurrency < 0 || o->concurrency > 4096)
        return rm_fail(err, RM_E_ARGUMENT, "concurrency is %d; it must be from 1 to 4096",
                       o->concurrency);
    if (!(o->timeout_s >= 0 && o->timeout_s <= 86400))
        return rm_fail(err, RM_E_ARGUMENT, "timeout_s is %g; it must be up to 86400", o->timeout_s);
    if (o->retries < -1 || o->retries > 100)
        return rm_fail(err, RM_E_ARGUMENT, "retries is %d; it must be from 0 to 100", o->retries);
    if (!(o->backoff_s >= 0 && o->backoff_s <= MAX_WAIT_S))
        return rm_fail(err, RM_E_ARGUMENT, "backoff_s is %g; it must be up to %d", o->backoff_s,
                       (int)MAX_WAIT_S);
    if (o->most_top < 0 || o->most_top > MAX_TOP)
        return rm_fail(err, RM_E_ARGUMENT, "top_logprobs is %d; it must be from 0 to %d", o->most_top,
                       (int)MAX_TOP);
    if (o->most_top && (o->chat || o->no_logprobs))
        return rm_fail(err, RM_E_ARGUMENT, "top_logprobs cannot be had %s", o->chat
                       ? "of chat completions, which continue no text" : "with \"logprobs\": false");
    if (o->choices < 0 || o->choices > MAX_CHOICES)
        return rm_fail(err, RM_E_ARGUMENT, "choices is %d; it must be from 1 to %d", o->choices,
                       (int)MAX_CHOICES);
    return RM_OK;
}

/* Takes the key out of a text: a server may repeat what it was sent. */
static void redact(const remote *r, char *text)
{
    size_t n = r->key ? strlen(r->key) : 0;
    for (char *at = text; n && (at = strstr(at, r->key)); at += n)
        memset(at, '*', n);
}

/* ---- transfers ---------------------------------------------------------------------------- */

/* Did the server answer with what was asked for, a stream of events? */
static bool begins_stream(const transfer *t)
{
    static const char wanted[] = "text/event-stream";
    const char *type = NULL;
    long http = 0;
    curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &http);
    curl_easy_getinfo(t->easy, CURLINFO_CONTENT_TYPE, &type);
    return http == 200 && type && !strncasecmp(type, wanted, sizeof wanted - 1);
}

static size_t receive(char *bytes, size_t size, size_t n, void *arg)
{
    transfer *t = arg;
    n *= size;
    t->heard_s = rm_now_s();
    if (t->asked_stream && !t->received)
        t->is_stream = begins_stream(t);
    if (t->received + n > MAX_BODY) {
        t->too_large = true;
        return 0; /* ends the transfer */
    }
    t->received += n;
    if (t->is_stream) {
        t->refused = remote_events_feed(&t->events, bytes, n, remote_response_event, &t->response,
                                        &t->refusal);
        return t->refused ? 0 : n;
    }
    rm_text_add(&t->body, bytes, n);
    return t->body.failed ? 0 : n;
}

/* The options of every request. */
static CURL *handle_new(const remote *r, transfer *t, const char *url)
{
    CURL *easy = curl_easy_init();
    if (!easy)
        return NULL;
    long timeout_ms = (long)(1e3 * r->options.timeout_s);
    t->easy = easy;
    curl_easy_setopt(easy, CURLOPT_URL, url);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, r->headers);
    curl_easy_setopt(easy, CURLOPT_USERAGENT, "ramify/" RM_VERSION);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, t->asked_stream ? 0L : timeout_ms);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, timeout_ms < 10000 ? timeout_ms : 10000L);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, t->reason);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, receive);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, t);
    curl_easy_setopt(easy, CURLOPT_PRIVATE, t);
    return easy;
}

/* What has come of an answer that nobody will get is counted, and forgotten. */
static void discard(remote *r, transfer *t)
{
    r->traffic.discarded_tokens += remote_response_tokens(&t->response);
    remote_response_free(&t->response);
    remote_events_free(&t->events);
}

static void transfer_free(remote *r, transfer *t)
{
    if (!t)
        return;
    discard(r, t);
    if (t->under_way)
        curl_multi_remove_handle(r->multi, t->easy);
    if (t->easy)
        curl_easy_cleanup(t->easy);
    while (t->calls) {
        remote_call *call = t->calls;
        t->calls = call->next;
        remote_call_free(call);
    }
    rm_text_free(&t->request);
    rm_text_free(&t->body);
    free(t);
}

static void unlink_transfer(remote *r, transfer *t)
{
    for (transfer **link = &r->transfers; *link; link = &(*link)->next)
        if (*link == t) {
            *link = t->next;
            r->n_transfers--;
            return;
        }
}

/* Takes the first waiting call, and those that may share its request, out of the queue. */
static void take_calls(remote *r, transfer *t)
{
    remote_call **end = &t->calls, **link = &r->first_waiting;
    remote_call *last = NULL;
    while (*link) {
        remote_call *call = *link;
        bool take = !t->n_calls ||
                    (t->n_calls < r->options.choices && remote_call_alike(t->calls, call));
        if (take) {
            *link = call->next;
            call->next = NULL;
            *end = call;
            end = &call->next;
            t->n_calls++;
        } else {
            last = call;
            link = &call->next;
        }
    }
    r->last_waiting = last;
}

static rm_status begin_attempt(remote *r, transfer *t, rm_error *err)
{
    discard(r, t);
    rm_status status = remote_response_begin(&r->options, t->calls, t->n_calls, &t->response, err);
    if (status)
        return status;
    t->body.length = t->received = 0;
    t->too_large = t->is_stream = false;
    t->refused = RM_OK;
    t->reason[0] = '\0';
    t->heard_s = rm_now_s();
    r->traffic.requests += !t->attempt;
    if (curl_multi_add_handle(r->multi, t->easy) != CURLM_OK)
        return rm_fail(err, RM_E_MEMORY, "no memory for a request to %s", r->name);
    t->under_way = true;
    return RM_OK;
}

static void deliver(remote *r, transfer *t, rm_status status, const remote_response *response,
                    const rm_error *err, rm_service_done *done, void *arg)
{
    int i = 0;
    transfer *outer = r->delivering;
    assert(!outer);
    unlink_transfer(r, t);
    r->delivering = t;
    for (remote_call *call = t->calls; call; call = call->next, i++)
        if (call->ticket) {
            uint64_t ticket = call->ticket;
            rm_service_result result = { 0 };
            if (response)
                result = response->choices[i].result;
            call->ticket = 0;
            done(arg, ticket, status, response ? &result : NULL, err);
        }
    r->delivering = outer;
    if (response)
        remote_response_free(&t->response); /* it was wanted: not discarded */
    transfer_free(r, t);
}

/* Moves waiting calls into free transfers. */
static void start_waiting(remote *r, rm_service_done *done, void *arg)
{
    while (r->first_waiting && r->n_transfers < r->options.concurrency) {
        char url[1100];
        rm_error err = { { 0 } };
        transfer *t = calloc(1, sizeof *t);
        if (!t)
            return; /* tried again at the next poll */
        take_calls(r, t);
        t->next = r->transfers;
        r->transfers = t;
        r->n_transfers++;
        remote_request_write(&r->options, r->model, t->calls, t->n_calls, &t->request);
        snprintf(url, sizeof url, "%s%s/completions", r->url, r->options.chat ? "/chat" : "");
        t->asked_stream = remote_call_streams(&r->options, t->calls);
        rm_status status = RM_OK;
        if (t->request.failed || !(t->easy = handle_new(r, t, url)))
            status = rm_fail(&err, RM_E_MEMORY, "no memory for a request to %s", r->name);
        if (!status) {
            curl_easy_setopt(t->easy, CURLOPT_POSTFIELDS, t->request.data);
            curl_easy_setopt(t->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)t->request.length);
            status = begin_attempt(r, t, &err);
        }
        if (status)
            deliver(r, t, status, NULL, &err, done, arg);
    }
}

/* ---- what came of an attempt --------------------------------------------------------------- */

/* Of libcurl's failures, those that another attempt would meet again. */
static bool lasts(CURLcode code)
{
    return code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_SSL_CACERT_BADFILE ||
           code == CURLE_SSL_CERTPROBLEM || code == CURLE_SSL_CIPHER ||
           code == CURLE_URL_MALFORMAT || code == CURLE_UNSUPPORTED_PROTOCOL;
}

/* An answer with another status than 200. */
static rm_status refuse(remote *r, const transfer *t, long http, bool *again, rm_error *err)
{
    char message[200], place[200] = "";
    const char *where = NULL;
    remote_error_message(t->body.data ? t->body.data : "", t->body.length, message, sizeof message);
    redact(r, message);
    *again = http == 408 || http == 429 || http >= 500;
    if (http >= 300 && http < 400) {
        curl_easy_getinfo(t->easy, CURLINFO_REDIRECT_URL, &where);
        snprintf(place, sizeof place, "%.199s", where ? where : "elsewhere");
        redact(r, place);
        return rm_fail(err, RM_E_IO, "%s answered with HTTP status %ld, a redirection to %s, which is "
                       "not followed: the key would go with it", r->name, http, place);
    }
    const char *hint = http == 401 || http == 403
                           ? r->key ? " (the key was refused)" : " (no \"api_key_env\" is named)"
                       : http == 404 && !r->options.chat
                           ? " (a server that has chat completions only takes \"endpoint\": \"chat\")"
                           : "";
    bool refused = http == 400 || http == 413 || http == 422;
    return rm_fail(err, refused ? RM_E_LIMIT : RM_E_IO, "%s answered with HTTP status %ld%s%s%s",
                   r->name, http, message[0] ? ": " : "", message, hint);
}

static bool all_ended(const remote_response *response)
{
    for (int i = 0; i < response->n; i++)
        if (!response->choices[i].ended)
            return false;
    return true;
}

/* Says what went wrong; *again if another attempt may help. RM_OK: the transfer's response is whole. */
static rm_status judge(remote *r, transfer *t, CURLcode code, bool *again, rm_error *err)
{
    long http = 0;
    rm_status status = RM_OK;
    *again = true;
    if (t->too_large) {
        *again = false;
        return rm_fail(err, RM_E_FORMAT, "%s sent more than %d MiB in response to one request",
                       r->name, MAX_BODY >> 20);
    }
    if (t->body.failed)
        return rm_fail(err, RM_E_MEMORY, "no memory for a response of %s", r->name);
    if (t->refused) {
        char message[sizeof t->refusal.text];
        snprintf(message, sizeof message, "%s", t->refusal.text);
        redact(r, message);
        return rm_fail(err, t->refused, "%s: %s", r->name, message);
    }
    if (code != CURLE_OK && !(t->is_stream && all_ended(&t->response))) {
        *again = !lasts(code);
        return rm_fail(err, RM_E_IO, "%s: %s", r->name,
                       t->reason[0] ? t->reason : curl_easy_strerror(code));
    }
    curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &http);
    if (http != 200)
        return refuse(r, t, http, again, err);
    if (!t->is_stream)
        status = remote_response_add(&t->response, t->body.data ? t->body.data : "", t->body.length,
                                     false, err);
    if (!status)
        status = remote_response_end(&t->response, err);
    return status ? rm_fail_within(err, status, "%s", r->name) : RM_OK;
}

static void count_answer(remote *r, const remote_response *response)
{
    rm_service_traffic *all = &r->traffic;
    bool told = response->prompt_tokens >= 0 && response->completion_tokens >= 0;
    all->untold += !told;
    all->prompt_tokens += told ? (uint64_t)response->prompt_tokens : 0;
    all->generated_tokens += told ? (uint64_t)response->completion_tokens : 0;
    all->cached_tokens += response->cached_tokens > 0 ? (uint64_t)response->cached_tokens : 0;
}

static double wait_before_next(const remote *r, const transfer *t)
{
    static const char purpose[] = "retry";
    uint64_t bits = rm_random(t->calls->seed, rm_hash_bytes(purpose, sizeof purpose - 1),
                              (uint32_t)t->attempt, 0);
    double wait = ldexp(r->options.backoff_s, t->attempt < 20 ? t->attempt : 20) *
                  (0.5 + rm_unit(bits));
    return wait < MAX_WAIT_S ? wait : MAX_WAIT_S;
}

static void finish_attempt(remote *r, transfer *t, CURLcode code, rm_service_done *done, void *arg)
{
    rm_error err = { { 0 } };
    bool again = false;
    curl_off_t retry_after = 0;
    curl_easy_getinfo(t->easy, CURLINFO_RETRY_AFTER, &retry_after);
    curl_multi_remove_handle(r->multi, t->easy);
    t->under_way = false;
    rm_status status = judge(r, t, code, &again, &err);
    r->traffic.failed_attempts += status != RM_OK;
    if (status && again && t->attempt < r->options.retries && retry_after <= MAX_WAIT_S) {
        double wait = wait_before_next(r, t);
        if (wait < (double)retry_after)
            wait = (double)retry_after;
        t->not_before = rm_now_s() + wait;
        t->attempt++;
        discard(r, t);
        return;
    }
    if (status && again && retry_after > MAX_WAIT_S) {
        rm_error last = err;
        rm_fail(&err, status, "%s; it says to come back in %lld s, which is more than the %d s that "
                "are waited for", last.text, (long long)retry_after, MAX_WAIT_S);
    }
    if (status && t->attempt) {
        rm_error last = err;
        rm_fail(&err, status, "%s (attempt %d of %d)", last.text, t->attempt + 1,
                r->options.retries + 1);
    }
    if (!status)
        count_answer(r, &t->response);
    deliver(r, t, status, status ? NULL : &t->response, &err, done, arg);
}

static bool take_finished(remote *r, rm_service_done *done, void *arg)
{
    int left;
    bool any = false;
    CURLMsg *message;
    curl_multi_perform(r->multi, &left);
    while ((message = curl_multi_info_read(r->multi, &left)))
        if (message->msg == CURLMSG_DONE) {
            char *t = NULL;
            CURLcode code = message->data.result; /* the message goes with its handle */
            curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &t);
            finish_attempt(r, (transfer *)(void *)t, code, done, arg);
            any = true;
        }
    return any;
}

/* Ends attempts whose stream has been silent for too long. */
static void end_silent(remote *r, rm_service_done *done, void *arg)
{
    double now = rm_now_s();
    for (transfer *t = r->transfers, *next; t; t = next) {
        next = t->next;
        if (!t->under_way || !t->asked_stream || now - t->heard_s < r->options.timeout_s)
            continue;
        snprintf(t->reason, sizeof t->reason, "nothing came for %g s", now - t->heard_s);
        finish_attempt(r, t, CURLE_OPERATION_TIMEDOUT, done, arg);
        return; /* the list may be another one now; the next poll looks again */
    }
}

/* Begins attempts whose time has come; returns the milliseconds until the next one, at most `most`. */
static int begin_due(remote *r, int most, rm_service_done *done, void *arg)
{
    double now = rm_now_s();
    for (transfer *t = r->transfers, *next; t; t = next) {
        rm_error err = { { 0 } };
        next = t->next;
        if (t->under_way)
            continue;
        double wait = t->not_before - now;
        if (wait <= 0 && begin_attempt(r, t, &err)) {
            deliver(r, t, RM_E_MEMORY, NULL, &err, done, arg);
            return 0; /* the list may be another one now */
        }
        if (wait > 0 && 1e3 * wait < most)
            most = (int)(1e3 * wait) + 1;
    }
    return most;
}

/* ---- the service -------------------------------------------------------------------------- */

static rm_status submit(void *self, uint64_t ticket, const rm_service_span *span, rm_error *err)
{
    remote *r = self;
    remote_call *call;
    rm_status status = remote_call_new(&r->options, ticket, span, &call, err);
    if (status)
        return status;
    if (r->last_waiting)
        r->last_waiting->next = call;
    else
        r->first_waiting = call;
    r->last_waiting = call;
    return RM_OK;
}

static void cancel(void *self, uint64_t ticket)
{
    remote *r = self;
    remote_call *last = NULL;
    for (remote_call **link = &r->first_waiting; *link;) {
        remote_call *call = *link;
        if (call->ticket == ticket) {
            *link = call->next;
            remote_call_free(call);
        } else {
            last = call;
            link = &call->next;
        }
    }
    r->last_waiting = last;
    for (remote_call *c = r->delivering ? r->delivering->calls : NULL; c; c = c->next)
        c->ticket = c->ticket == ticket ? 0 : c->ticket;
    for (transfer *t = r->transfers, *next; t; t = next) {
        bool wanted = false;
        next = t->next; /* what it had received is counted as discarded */
        for (remote_call *c = t->calls; c; c = c->next) {
            c->ticket = c->ticket == ticket ? 0 : c->ticket;
            wanted = wanted || c->ticket;
        }
        if (!wanted) {
            unlink_transfer(r, t);
            transfer_free(r, t);
        }
    }
}

static void poll_remote(void *self, int wait_ms, rm_service_done *done, void *arg)
{
    remote *r = self;
    end_silent(r, done, arg);
    start_waiting(r, done, arg);
    wait_ms = begin_due(r, wait_ms, done, arg);
    if (take_finished(r, done, arg) || wait_ms <= 0 || !r->transfers)
        return;
    curl_multi_poll(r->multi, NULL, 0, wait_ms, NULL);
    take_finished(r, done, arg);
}

static void tell(const void *self, rm_service_traffic *traffic)
{
    *traffic = ((const remote *)self)->traffic;
}

static void close_remote(void *self)
{
    remote *r = self;
    if (!r)
        return;
    while (r->transfers) {
        transfer *t = r->transfers;
        unlink_transfer(r, t);
        transfer_free(r, t);
    }
    while (r->first_waiting) {
        remote_call *call = r->first_waiting;
        r->first_waiting = call->next;
        remote_call_free(call);
    }
    if (r->multi)
        curl_multi_cleanup(r->multi);
    curl_slist_free_all(r->headers);
    free(r->url);
    free(r->model);
    free(r->end_token);
    if (r->key)
        explicit_bzero(r->key, strlen(r->key));
    free(r->key);
    free(r);
}

/* ---- opening ------------------------------------------------------------------------------ */

static rm_status out_of_memory(rm_error *err)
{
    return rm_fail(err, RM_E_MEMORY, "no memory for a remote model");
}

static rm_status add_header(remote *r, const char *line, rm_error *err)
{
    struct curl_slist *list = curl_slist_append(r->headers, line);
    if (!list)
        return out_of_memory(err);
    r->headers = list;
    return RM_OK;
}

static rm_status set_headers(remote *r, const char *variable, rm_error *err)
{
    rm_status status = add_header(r, "Content-Type: application/json", err);
    if (!status)
        status = add_header(r, "Expect:", err); /* no round trip before a long prompt */
    if (status || !variable)
        return status;
    const char *key = getenv(variable);
    if (!key || !*key || !printable(key))
        return rm_fail(err, RM_E_ARGUMENT, "the environment variable %.60s, which \"api_key_env\" "
                       "names, %s", variable, key && *key ? "holds blanks or control characters"
                                                          : "is not set");
    rm_text line = { 0 };
    rm_text_printf(&line, "Authorization: Bearer %s", key);
    r->key = strdup(key);
    status = line.failed || !r->key ? out_of_memory(err) : add_header(r, line.data, err);
    if (line.data)
        explicit_bzero(line.data, line.length);
    rm_text_free(&line);
    return status;
}

/* Is the server there, and does it have the model? A server without a list of models passes if the
 * model is named. */
static rm_status find_model(remote *r, const char *wanted, rm_error *err)
{
    char url[1100], message[200];
    transfer t = { 0 };
    long http = 0;
    snprintf(url, sizeof url, "%s/models", r->url);
    CURL *easy = handle_new(r, &t, url);
    if (!easy)
        return out_of_memory(err);
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, 30000L);
    CURLcode code = curl_easy_perform(easy);
    curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &http);
    curl_easy_cleanup(easy);
    rm_status status = RM_OK;
    const char *body = t.body.data ? t.body.data : "";
    remote_error_message(body, t.body.length, message, sizeof message);
    redact(r, message);
    if (code == CURLE_OK && http >= 300 && http < 400)
        status = rm_fail(err, RM_E_IO, "%s answered with HTTP status %ld, a redirection, which is not "
                         "followed: give the address that it leads to", r->name, http);
    else if (code != CURLE_OK)
        status = rm_fail(err, RM_E_IO, "%s: %s", r->name,
                         t.reason[0] ? t.reason : curl_easy_strerror(code));
    else if (http == 200)
        status = remote_models_read(body, t.body.length, wanted, &r->model, err);
    else if ((http != 404 && http != 405 && http != 501) || !wanted)
        status = rm_fail(err, RM_E_IO, "%s answered with HTTP status %ld when asked for its models%s%s",
                         r->name, http, message[0] ? ": " : "", message);
    else if (!(r->model = strdup(wanted)))
        status = out_of_memory(err);
    rm_text_free(&t.body);
    return status && status != RM_E_IO ? rm_fail_within(err, status, "%s", r->name) : status;
}

rm_status rm_remote_open(rm_engine *engine, const rm_remote_options *options, rm_model **model,
                         rm_error *err)
{
    rm_status status = rm_remote_check(options, err);
    if (status)
        return status;
    if (curl_global_init(CURL_GLOBAL_DEFAULT))
        return rm_fail(err, RM_E_IO, "libcurl cannot be initialised");
    remote *r = calloc(1, sizeof *r);
    if (!r)
        return out_of_memory(err);
    r->options = *options;
    r->options.concurrency = options->concurrency ? options->concurrency : 16;
    r->options.timeout_s = options->timeout_s > 0 ? options->timeout_s : 600;
    r->options.retries = options->retries < 0 ? 0 : options->retries ? options->retries : 5;
    r->options.backoff_s = options->backoff_s > 0 ? options->backoff_s : 0.5;
    r->options.choices = options->choices ? options->choices : 1;
    r->options.url = r->options.model = r->options.api_key_env = NULL;
    if (options->end_token && !(r->end_token = strdup(options->end_token)))
        status = out_of_memory(err);
    r->options.end_token = r->end_token;
    snprintf(r->name, sizeof r->name, "%.150s", options->url);
    r->url = strdup(options->url);
    r->multi = curl_multi_init();
    if (!status && (!r->url || !r->multi))
        status = out_of_memory(err);
    for (size_t n = status ? 0 : strlen(r->url); n && r->url[n - 1] == '/'; n--)
        r->url[n - 1] = '\0';
    if (!status)
        status = set_headers(r, options->api_key_env, err);
    if (!status)
        status = find_model(r, options->model, err);
    if (status) {
        close_remote(r);
        return status;
    }
    curl_multi_setopt(r->multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, (long)r->options.concurrency);
    rm_service service = { r, submit, cancel, poll_remote, close_remote, options->most_top, tell };
    return rm_model_open_service(engine, r->model, r->url, &service, model, err);
}
