/* http_server.h - a completions server of the tests' own, on a thread, that can be told to fail.
 *
 * It understands just enough of HTTP/1.1: one request a connection, a Content-Length. Its model answers
 * a prompt with text that follows from prompt and seed alone:
 *
 *     " the sum is K." in tokens " the", " sum", " is", " K", "."     K = hash(prompt, seed) mod 10
 *
 * as a stream if that is asked for. `faults` says what becomes of the first requests for completions,
 * one letter each (http_answer), then all is well. */
#ifndef RM_TESTS_HTTP_SERVER_H
#define RM_TESTS_HTTP_SERVER_H

#include "base/json.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

typedef struct http_server {
    int listener, port;
    const char *faults;        /* see `answer`; NULL: none */
    const char *key;           /* demanded as bearer, or NULL */
    const char *raw;           /* fault 'x': this body with status 200 */
    bool every;                /* the first fault for ever */
    int delay_ms;              /* of every answer */
    int token_ms;              /* between the tokens of a stream */
    const char *retry_after;   /* of fault 'r', in seconds; NULL: 1 */
    bool proxy;                /* takes whole addresses, as a proxy is given them */
    pthread_t thread;
    atomic_int n_requests, n_now, n_most; /* completions asked for; at once, now and at most */
    atomic_bool closing;
    pthread_mutex_t lock;
    char last[4096];           /* body of the last request for a completion */
} http_server;

typedef struct http_visit {
    http_server *server;
    int fd;
} http_visit;

static void http_send(int fd, int status, const char *headers, const char *body)
{
    char head[512];
    int n = snprintf(head, sizeof head, "HTTP/1.1 %d X\r\nContent-Length: %zu\r\n%s"
                     "Connection: close\r\n\r\n", status, strlen(body), headers);
    if (send(fd, head, (size_t)n, MSG_NOSIGNAL) == n)
        send(fd, body, strlen(body), MSG_NOSIGNAL);
}

static void http_choice(rm_text *out, int index, int k, int n_tokens, bool logprobs)
{
    static const char *const words[] = { " the", " sum", " is" };
    char number[8];
    snprintf(number, sizeof number, " %d", k);
    const char *tokens[] = { words[0], words[1], words[2], number, "." };
    int n = n_tokens < 5 ? n_tokens : 5;
    rm_text text = { 0 }, list = { 0 }, lps = { 0 };
    for (int i = 0; i < n; i++) {
        rm_text_puts(&text, tokens[i]);
        rm_text_printf(&list, "%s\"%s\"", i ? ", " : "", tokens[i]);
        rm_text_printf(&lps, "%s-0.5", i ? ", " : "");
    }
    if (n_tokens > 5) { /* the end token */
        rm_text_puts(&list, ", \"</s>\"");
        rm_text_puts(&lps, ", -0.25");
    }
    rm_text_printf(out, "%s{\"index\": %d, \"text\": \"%s\", \"finish_reason\": \"%s\"", index ? "," : "",
                   index, text.data ? text.data : "", n_tokens > 5 ? "stop" : "length");
    if (n_tokens > 5)
        rm_text_puts(out, ", \"stop_reason\": null");
    if (logprobs)
        rm_text_printf(out, ", \"logprobs\": {\"tokens\": [%s], \"token_logprobs\": [%s]}", list.data ? list.data : "",
                       lps.data ? lps.data : "");
    rm_text_puts(out, "}");
    rm_text_free(&text);
    rm_text_free(&list);
    rm_text_free(&lps);
}

static int http_member(const cJSON *root, const char *name, int absent)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(root, name);
    return cJSON_IsNumber(item) ? item->valueint : absent;
}

/* ---- streams ------------------------------------------------------------------------------ */

static bool http_write(int fd, const char *bytes, size_t n)
{
    return send(fd, bytes, n, MSG_NOSIGNAL) == (ssize_t)n;
}

static void http_stream_begin(int fd)
{
    static const char head[] = "HTTP/1.1 200 X\r\nContent-Type: text/event-stream; charset=utf-8\r\n"
                               "Connection: close\r\n\r\n";
    http_write(fd, head, sizeof head - 1);
}

/* The events of a right answer, mixed with comments and fields that mean nothing; with CR LF for
 * every other event. `most` of them (-1: all), then the connection ends. */
static void http_stream(http_server *s, int fd, const cJSON *root, const char *prompt, int n,
                        int n_tokens, bool logprobs, int most)
{
    static const char *const words[] = { " the", " sum", " is", NULL, ".", "" };
    int sent = 0;
    http_stream_begin(fd);
    http_write(fd, ": welcome\n\n", 11);
    for (int t = 0; t < n_tokens; t++)
        for (int i = 0; i < n; i++, sent++) {
            char number[8], event[512];
            uint64_t hash = rm_mix(rm_hash_bytes(prompt, strlen(prompt)),
                                   (uint64_t)http_member(root, "seed", 0) + (uint64_t)i);
            const char *word = words[t], *eol = sent % 2 ? "\r\n" : "\n";
            snprintf(number, sizeof number, " %d", (int)(hash % 10));
            word = word ? word : number;
            char list[128] = "";
            if (logprobs)
                snprintf(list, sizeof list, ", \"logprobs\": {\"tokens\": [\"%s\"],"
                         " \"token_logprobs\": [%s]}", t < 5 ? word : "</s>", t < 5 ? "-0.5" : "-0.25");
            const char *finish = t < n_tokens - 1 ? "null"
                                 : n_tokens > 5 ? "\"stop\", \"stop_reason\": null" : "\"length\"";
            int length = snprintf(event, sizeof event, "event: message%sdata: {\"choices\": [{\"index\": %d,"
                                  " \"text\": \"%s\", \"finish_reason\": %s%s}]}%s%s", eol, i, word, finish,
                                  list, eol, eol);
            if (sent == most || !http_write(fd, event, (size_t)length))
                return;
            if (s->token_ms)
                usleep((useconds_t)s->token_ms * 1000);
        }
    char usage[200];
    int length = snprintf(usage, sizeof usage, "data: {\"choices\": [], \"usage\": {\"prompt_tokens\": 7,"
                          " \"completion_tokens\": %d, \"prompt_tokens_details\": {\"cached_tokens\":"
                          " 3}}}\n\ndata: [DONE]\n\n", n * n_tokens);
    http_write(fd, usage, (size_t)length);
}

/* A right answer to a request; of a stream `most` events (-1: all). */
static void http_complete(http_server *s, int fd, const char *request, int most_events)
{
    rm_json *json = NULL;
    rm_text body = { 0 };
    if (rm_json_parse(request, strlen(request), "request", 1, 0, &json, NULL)) {
        http_send(fd, 400, "", "{\"error\": {\"message\": \"no JSON\"}}");
        return;
    }
    const cJSON *root = rm_json_root(json), *prompt = cJSON_GetObjectItem(root, "prompt");
    int n = http_member(root, "n", 1), most = http_member(root, "max_tokens", 16);
    int n_tokens = most < 6 ? most : 6;
    bool logprobs = http_member(root, "logprobs", 0) > 0;
    if (cJSON_IsTrue(cJSON_GetObjectItem(root, "stream"))) {
        http_stream(s, fd, root, prompt->valuestring, n, n_tokens, logprobs, most_events);
        rm_json_free(json);
        return;
    }
    rm_text_puts(&body, "{\"object\": \"text_completion\", \"choices\": [");
    for (int i = 0; i < n; i++) {
        uint64_t hash = rm_mix(rm_hash_bytes(prompt->valuestring, strlen(prompt->valuestring)),
                               (uint64_t)http_member(root, "seed", 0) + (uint64_t)i);
        http_choice(&body, i, (int)(hash % 10), n_tokens, logprobs);
    }
    rm_text_printf(&body, "], \"usage\": {\"prompt_tokens\": 7, \"completion_tokens\": %d}}",
                   n * n_tokens);
    http_send(fd, 200, "Content-Type: application/json\r\n", body.data);
    rm_text_free(&body);
    rm_json_free(json);
}

static void http_answer(http_server *s, int fd, char fault, const char *request)
{
    static const struct linger abort_it = { 1, 0 };
    static const char out_of_pages[] = "data: {\"error\": {\"message\": \"out of pages\"}}\n\n";
    static const char no_json[] = "data: {\"choices\": [{\n\n";
    static char filling[1 << 16];
    char header[64];
    switch (fault) {
    case 'c': /* closes without a word */
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &abort_it, sizeof abort_it);
        break;
    case 'h': /* half of a body */
        http_send(fd, 200, "Content-Length: 500\r\n", "{\"choices\": [");
        break;
    case 's': /* says nothing for a while */
        for (int i = 0; i < 50 && !s->closing; i++)
            usleep(20000);
        break;
    case 'r': /* too many requests */
        snprintf(header, sizeof header, "Retry-After: %s\r\n", s->retry_after ? s->retry_after : "1");
        http_send(fd, 429, header, "{\"error\": {\"message\": \"slow down\"}}");
        break;
    case 'R': /* somewhere else */
        http_send(fd, 307, "Location: http://elsewhere.invalid/v1/completions\r\n", "");
        break;
    case 'k': /* a stream whose connection ends after three tokens, */
        http_complete(s, fd, request, 3);
        break;
    case 'K': /* is torn down then, */
        http_complete(s, fd, request, 3);
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &abort_it, sizeof abort_it);
        break;
    case 'S': /* or falls silent */
        http_complete(s, fd, request, 3);
        for (int i = 0; i < 50 && !s->closing; i++)
            usleep(20000);
        break;
    case 'E': /* an error in the stream */
        http_complete(s, fd, request, 2);
        http_write(fd, out_of_pages, sizeof out_of_pages - 1);
        break;
    case 'J': /* an event that is no JSON */
        http_complete(s, fd, request, 2);
        http_write(fd, no_json, sizeof no_json - 1);
        break;
    case 'X': /* these bytes as a stream, one at a time */
        http_stream_begin(fd);
        for (const char *at = s->raw; *at && http_write(fd, at, 1); at++)
            ;
        break;
    case 'e':
        http_send(fd, 500, "", "Internal error");
        break;
    case 'b':
        http_send(fd, 400, "", "{\"object\": \"error\", \"message\": \"the prompt is too\\nlong\"}");
        break;
    case 'j':
        http_send(fd, 200, "", "{\"choices\": [{\"text\": \"a\"");
        break;
    case 'x':
        http_send(fd, 200, "", s->raw);
        break;
    case 'o': { /* without end */
        static const char head[] = "HTTP/1.1 200 X\r\nConnection: close\r\n\r\n";
        memset(filling, ' ', sizeof filling);
        send(fd, head, sizeof head - 1, MSG_NOSIGNAL);
        for (int i = 0; i < 2000 && send(fd, filling, sizeof filling, MSG_NOSIGNAL) > 0; i++)
            ;
        break;
    }
    default:
        http_complete(s, fd, request, -1);
    }
}

/* Reads one request; the body is malloc'd and terminated. */
static char *http_read(int fd, char *head, size_t n_head)
{
    size_t n = 0, length = 0;
    char *end = NULL;
    while (!end && n < n_head - 1) {
        ssize_t got = recv(fd, head + n, n_head - 1 - n, 0);
        if (got <= 0)
            return NULL;
        n += (size_t)got;
        head[n] = '\0';
        end = strstr(head, "\r\n\r\n");
    }
    if (!end)
        return NULL;
    const char *field = strcasestr(head, "\r\ncontent-length:");
    if (field)
        length = strtoul(field + 17, NULL, 10);
    size_t have = n - (size_t)(end + 4 - head);
    char *body = calloc(1, length + 1);
    memcpy(body, end + 4, have < length ? have : length);
    while (have < length) {
        ssize_t got = recv(fd, body + have, length - have, 0);
        if (got <= 0)
            break;
        have += (size_t)got;
    }
    end[2] = '\0';
    return body;
}

static void *http_serve(void *arg)
{
    http_visit *v = arg;
    http_server *s = v->server;
    char head[16384], wanted[256];
    char *body = http_read(v->fd, head, sizeof head);
    snprintf(wanted, sizeof wanted, "\r\nAuthorization: Bearer %s\r\n", s->key ? s->key : "");
    if (body && s->key && !strstr(head, wanted)) {
        http_send(v->fd, 401, "", "{\"error\": {\"message\": \"wrong key\"}}");
    } else if (body && s->proxy && !strstr(head, " http://far.invalid/v1/")) {
        http_send(v->fd, 502, "", "no such address");
    } else if (body && strstr(head, s->proxy ? "/v1/models HTTP" : "GET /v1/models")) {
        http_send(v->fd, 200, "", "{\"data\": [{\"id\": \"adder\"}]}");
    } else if (body && (strstr(head, "/v1/completions HTTP") || strstr(head, "/v1/chat/completions HTTP"))) {
        int i = atomic_fetch_add(&s->n_requests, 1), now = atomic_fetch_add(&s->n_now, 1) + 1;
        int most = atomic_load(&s->n_most);
        while (now > most && !atomic_compare_exchange_weak(&s->n_most, &most, now))
            ;
        pthread_mutex_lock(&s->lock);
        snprintf(s->last, sizeof s->last, "%s", body);
        pthread_mutex_unlock(&s->lock);
        if (s->delay_ms)
            usleep((useconds_t)s->delay_ms * 1000);
        size_t n_faults = s->faults ? strlen(s->faults) : 0;
        char fault = s->every ? s->faults[0] : (size_t)i < n_faults ? s->faults[i] : '.';
        http_answer(s, v->fd, fault, body);
        atomic_fetch_sub(&s->n_now, 1);
    } else if (body) {
        http_send(v->fd, 404, "", "{}");
    }
    free(body);
    close(v->fd);
    free(v);
    return NULL;
}

static void *http_listen(void *arg)
{
    http_server *s = arg;
    pthread_t threads[2048];
    int n = 0;
    while (!s->closing) {
        int fd = accept(s->listener, NULL, NULL);
        if (fd < 0 || s->closing || n == 2048) {
            if (fd >= 0)
                close(fd);
            break;
        }
        http_visit *v = malloc(sizeof *v);
        *v = (http_visit){ s, fd };
        pthread_create(&threads[n++], NULL, http_serve, v);
    }
    for (int i = 0; i < n; i++)
        pthread_join(threads[i], NULL);
    return NULL;
}

/* Starts it on a free port; `url` gets its address. Members that say how to fail are set before. */
static void http_start(http_server *s, char *url, size_t n_url)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t length = sizeof address;
    s->listener = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert_eq(bind(s->listener, (struct sockaddr *)&address, sizeof address), 0);
    cr_assert_eq(listen(s->listener, 128), 0);
    getsockname(s->listener, (struct sockaddr *)&address, &length);
    s->port = ntohs(address.sin_port);
    pthread_mutex_init(&s->lock, NULL);
    cr_assert_eq(pthread_create(&s->thread, NULL, http_listen, s), 0);
    snprintf(url, n_url, "http://127.0.0.1:%d/v1", s->port);
}

static void http_stop(http_server *s)
{
    s->closing = true;
    shutdown(s->listener, SHUT_RDWR);
    pthread_join(s->thread, NULL);
    close(s->listener);
    pthread_mutex_destroy(&s->lock);
}

#endif
