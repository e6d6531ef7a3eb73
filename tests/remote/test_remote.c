/* test_remote.c - models behind a server: the protocol, what becomes of failures, whole evaluations. */
#define _GNU_SOURCE
#include "engine/remote/private.h"
#include "engine/train.h"

#include "http_server.h"

#include <math.h>

#define COUNT(table) (sizeof table / sizeof *table)

/* ---- the protocol ------------------------------------------------------------------------- */

static remote_call asked(int max_new_tokens, char **stops, int n_stops)
{
    static char prompt[] = "p";
    return (remote_call){ .ticket = 1, .prompt = prompt, .n_prompt = 1,
                          .sampling = RM_SAMPLING_DEFAULT, .max_new_tokens = max_new_tokens,
                          .stops = stops, .n_stops = n_stops, .seed = UINT64_C(1) << 40 };
}

/* Written by hand after the documentation of OpenAI's completions and of vLLM's and SGLang's
 * extensions. `pieces` are joined by "|"; a "$" stands for the end token. */
static const struct response {
    const char *body, *pieces;
    rm_stop_reason reason;
    int stop;
    double sum_lp;
    int64_t generated;
} responses[] = {
    { "{\"choices\": [{\"index\": 0, \"text\": \" a b\", \"finish_reason\": \"length\", \"logprobs\":"
      " {\"tokens\": [\" a\", \" b\"], \"token_logprobs\": [-1, -0.5]}}],"
      " \"usage\": {\"prompt_tokens\": 3, \"completion_tokens\": 2}}",
      " a| b", RM_STOP_CONTEXT, -1, -1.5, 2 },
    /* the end token is among the tokens, and is not */
    { "{\"choices\": [{\"text\": \" a\", \"finish_reason\": \"stop\", \"stop_reason\": null, \"logprobs\":"
      " {\"tokens\": [\" a\", \"</s>\"], \"token_logprobs\": [-1, -0.5]}}], \"usage\":"
      " {\"completion_tokens\": 2}}", " a|$", RM_STOP_TOKEN, -1, -1.5, 2 },
    { "{\"choices\": [{\"text\": \" a\", \"finish_reason\": \"stop\", \"stop_reason\": 2, \"logprobs\":"
      " {\"tokens\": [\" a\"], \"token_logprobs\": [-1]}}]}", " a", RM_STOP_TOKEN, -1, -1, 1 },
    { "{\"choices\": [{\"text\": \"\", \"finish_reason\": \"stop\", \"stop_reason\": null, \"logprobs\":"
      " {\"tokens\": [\"</s>\"], \"token_logprobs\": [-0.5]}}]}", "$", RM_STOP_TOKEN, -1, -0.5, 1 },
    /* a stop string: named by vLLM, by SGLang, seen in the tokens, or not to be told */
    { "{\"choices\": [{\"text\": \" a\", \"finish_reason\": \"stop\", \"stop_reason\": \"\\nQ:\","
      " \"logprobs\": {\"tokens\": [\" a\", \"\\n\", \"Q:\"], \"token_logprobs\": [-1, -1, -1]}}]}",
      " a", RM_STOP_STRING, 1, -1, 3 },
    { "{\"choices\": [{\"text\": \" a\", \"finish_reason\": \"stop\", \"matched_stop\": \"\\n\\n\","
      " \"logprobs\": {\"tokens\": [\" a\"], \"token_logprobs\": [-1]}}]}",
      " a", RM_STOP_STRING, 0, -1, 1 },
    { "{\"choices\": [{\"text\": \" a\", \"finish_reason\": \"stop\","
      " \"logprobs\": {\"tokens\": [\" a\", \"\\nQ\", \":\"], \"token_logprobs\": [-1, -1, -1]}}]}",
      " a", RM_STOP_STRING, 1, -1, 3 },
    { "{\"choices\": [{\"text\": \" a\", \"finish_reason\": \"stop\","
      " \"logprobs\": {\"tokens\": [\" a\"], \"token_logprobs\": [-1]}}]}",
      " a", RM_STOP_STRING, -1, -1, 1 },
    /* the stop string begins within a token */
    { "{\"choices\": [{\"text\": \" a\", \"finish_reason\": \"stop\", \"stop_reason\": \"\\n\\n\","
      " \"logprobs\": {\"tokens\": [\" a\\n\", \"\\n\"], \"token_logprobs\": [-1, -1]}}]}",
      " a", RM_STOP_STRING, 0, -1, 2 },
    /* parts of a character, spelled otherwise: text, count and sum stay right */
    { "{\"choices\": [{\"text\": \"\\u00e9.\", \"finish_reason\": \"length\", \"logprobs\":"
      " {\"tokens\": [\"bytes:\\\\xc3\", \"bytes:\\\\xa9\", \".\"], \"token_logprobs\": [-1, 0, -1]}}]}",
      "\xC3\xA9.||", RM_STOP_CONTEXT, -1, -2, 3 },
    { "{\"choices\": [{\"text\": \" a b\", \"finish_reason\": \"length\", \"logprobs\": {\"tokens\":"
      " [\" a\", \" \", \"b\", \"\"], \"token_logprobs\": [-1, -1, -1, -1]}}]}",
      " a| |b|", RM_STOP_LENGTH, -1, -4, 4 },
    /* llama-server: entries with bytes; what ended the text stands in __verbose */
    { "{\"choices\": [{\"text\": \"\\u00e9\", \"index\": 0, \"logprobs\": {\"content\": ["
      "{\"id\": 9, \"token\": \"\", \"bytes\": [195], \"logprob\": -1, \"top_logprobs\": []},"
      "{\"id\": 8, \"token\": \"\", \"bytes\": [169], \"logprob\": -0.5},"
      "{\"id\": 1, \"token\": \"\", \"bytes\": [], \"logprob\": -0.25}]}, \"finish_reason\": \"stop\"}],"
      " \"usage\": {\"completion_tokens\": 3}, \"__verbose\": {\"stop_type\": \"eos\","
      " \"stopping_word\": \"\"}}", "\xC3|\xA9|$", RM_STOP_TOKEN, -1, -1.75, 3 },
    { "{\"choices\": [{\"text\": \"a\", \"logprobs\": {\"content\": [{\"token\": \"a\", \"logprob\": -1}]},"
      " \"finish_reason\": \"stop\"}], \"usage\": {\"completion_tokens\": 4}, \"__verbose\":"
      " {\"stop_type\": \"word\", \"stopping_word\": \"\\nQ:\"}}", "a", RM_STOP_STRING, 1, -1, 4 },
    /* the text that was held back comes with the end token */
    { "{\"choices\": [{\"text\": \"a\\n\", \"logprobs\": {\"content\": [{\"token\": \"a\", \"logprob\": -1},"
      " {\"token\": \"\", \"logprob\": -2}, {\"token\": \"\\n\", \"logprob\": -0.5}]},"
      " \"finish_reason\": \"stop\"}], \"usage\": {\"completion_tokens\": 3}, \"__verbose\":"
      " {\"stop_type\": \"eos\"}}", "a|\n|$", RM_STOP_TOKEN, -1, -3.5, 3 },
};

Test(remote, responses)
{
    rm_remote_options options = { 0 };
    char *stops[] = { (char[]){ "\n\n" }, (char[]){ "\nQ:" } };
    for (size_t i = 0; i < COUNT(responses); i++) {
        const struct response *want = &responses[i];
        remote_call call = asked(4, stops, 2);
        remote_response r;
        rm_error err = { { 0 } };
        rm_text joined = { 0 };
        double sum = 0;
        cr_assert_eq(remote_response_read(&options, &call, 1, want->body, strlen(want->body), &r, &err),
                     RM_OK, "row %zu: %s", i, err.text);
        const rm_service_result *got = &r.choices[0].result;
        for (int k = 0; k < got->n_pieces; k++) {
            bool end = got->has_end && k == got->n_pieces - 1;
            rm_text_puts(&joined, k ? "|" : "");
            if (end)
                rm_text_puts(&joined, "$");
            else
                rm_text_add(&joined, got->pieces[k].text, got->pieces[k].n);
            sum += got->lp[k];
        }
        cr_expect_str_eq(joined.data, want->pieces, "row %zu: %s", i, joined.data);
        cr_expect_eq(got->reason, want->reason, "row %zu: %d", i, (int)got->reason);
        cr_expect_eq(got->stop, want->stop, "row %zu: %d", i, got->stop);
        cr_expect_eq(got->generated_tokens, want->generated, "row %zu", i);
        cr_expect_eq(sum, want->sum_lp, "row %zu: %g", i, sum);
        rm_text_free(&joined);
        remote_response_free(&r);
    }
}

#define CHOICE(members) "{\"choices\": [{\"index\": 0, " members "}]}"
#define TOKENS "\"logprobs\": {\"tokens\": [\"a\", \"b\"], \"token_logprobs\": [-1, -1]}"

static const struct refusal {
    const char *body, *message;
} refusals[] = {
    { "", "server's response" },
    { "null", "has 0 choices; expected 1" },
    { "[]", "has 0 choices; expected 1" },
    { "{\"choices\": []}", "has 0 choices; expected 1" },
    { "{\"choices\": [{}, {}]}", "has 2 choices; expected 1" },
    { "{\"choices\": [1]}", "without \"text\"" },
    { CHOICE("\"text\": 1"), "without \"text\"" },
    { CHOICE("\"text\": \"ab\""), "\"finish_reason\" \"\"" },
    { CHOICE("\"text\": \"ab\", \"finish_reason\": \"abort\""), "\"finish_reason\" \"abort\"" },
    { CHOICE("\"text\": \"ab\", \"finish_reason\": \"length\""), "say \"logprobs\": false" },
    { CHOICE("\"text\": \"ab\", \"finish_reason\": \"length\", \"logprobs\": null"), "say \"logprobs\": false" },
    { CHOICE("\"text\": \"ab\", \"finish_reason\": \"length\", \"logprobs\": {\"tokens\": [\"a\"],"
             " \"token_logprobs\": [-1, -1]}"), "has 1 tokens and 2 log-probabilities" },
    { CHOICE("\"text\": \"ab\", \"finish_reason\": \"length\", \"logprobs\": {\"tokens\": [1, 2],"
             " \"token_logprobs\": [-1, -1]}"), "a token that is no text" },
    { CHOICE("\"text\": \"ab\", \"finish_reason\": \"length\", \"logprobs\": {\"tokens\": [\"a\", \"b\"],"
             " \"token_logprobs\": [-1, null]}"), "log-probability of token 2" },
    { CHOICE("\"text\": \"ab\", \"finish_reason\": \"length\", \"logprobs\": {\"tokens\": [\"a\", \"b\"],"
             " \"token_logprobs\": [0.5, -1]}"), "log-probability of token 1" },
    { CHOICE("\"text\": \"ab\", \"finish_reason\": \"length\", \"logprobs\": {\"tokens\":"
             " [\"a\", \"b\", \"\", \"\", \"\"], \"token_logprobs\": [-1, -1, -1, -1, -1]}"),
      "has 5 tokens, though at most 4 were asked for" },
    { "{\"choices\": [{\"index\": 0, \"text\": \"ab\", \"finish_reason\": \"length\", " TOKENS "}],"
      " \"usage\": {\"completion_tokens\": 5}}", "has 5 tokens, though at most 4" },
    { "{\"choices\": [{\"index\": 0, \"text\": \"ab\", \"finish_reason\": \"length\", " TOKENS "}],"
      " \"usage\": {\"completion_tokens\": 4}}", "lists 2 tokens and says that 4 were generated" },
    { "{\"choices\": [{\"text\": \"a\\ud800\"}]}", "server's response" },
    { "{\"choices\": 1e400}", "server's response" },
};

Test(remote, responses_are_checked)
{
    rm_remote_options options = { 0 };
    for (size_t i = 0; i < COUNT(refusals); i++) {
        remote_call call = asked(4, NULL, 0);
        remote_response r;
        rm_error err = { { 0 } };
        const char *body = refusals[i].body;
        cr_expect_eq(remote_response_read(&options, &call, 1, body, strlen(body), &r, &err),
                     RM_E_FORMAT, "accepted: %s", body);
        cr_expect_not_null(strstr(err.text, refusals[i].message), "%s gave: %s", body, err.text);
    }
}

Test(remote, requests)
{
    rm_remote_options options = { 0 };
    char *stops[] = { (char[]){ "\nQ:" } };
    remote_call call = asked(9, stops, 1);
    rm_text body = { 0 };
    call.sampling.top_p = 0.5;
    call.sampling.top_k = 3;
    remote_request_write(&options, "m", &call, 2, &body);
    cr_expect_str_eq(body.data, "{\"model\":\"m\",\"prompt\":\"p\",\"max_tokens\":9,\"temperature\":1,"
                     "\"top_p\":0.5,\"seed\":128,\"top_k\":3,\"min_p\":0,\"repetition_penalty\":1,"
                     "\"skip_special_tokens\":false,\"n\":2,\"logprobs\":1,\"stop\":[\"\\nQ:\"],"
                     "\"verbose\":true,\"stream\":true,\"stream_options\":{\"include_usage\":true}}");
    rm_text_free(&body);
    call.sampling.do_sample = false;
    options.no_logprobs = options.no_extensions = options.no_stream = true;
    call.n_stops = 0;
    remote_request_write(&options, "m", &call, 1, &body);
    cr_expect_str_eq(body.data, "{\"model\":\"m\",\"prompt\":\"p\",\"max_tokens\":9,\"temperature\":0,"
                     "\"top_p\":1}");
    rm_text_free(&body);
    /* without extensions of its own a penalty is not to be had; with them, each server's name for it */
    options = (rm_remote_options){ .no_stream = true, .no_logprobs = true };
    call.sampling = (rm_sampling)RM_SAMPLING_DEFAULT;
    call.sampling.repetition_penalty = 1.5;
    remote_request_write(&options, "m", &call, 1, &body);
    cr_expect_not_null(strstr(body.data, "\"top_k\":1073741824,\"min_p\":0,\"repetition_penalty\":1.5,"
                                         "\"skip_special_tokens\":false,\"repeat_penalty\":1.5,"
                                         "\"repeat_last_n\":-1"), "%s", body.data);
    rm_text_free(&body);
    options.chat = true;
    options.no_logprobs = false;
    remote_request_write(&options, "m", &call, 1, &body);
    cr_expect_not_null(strstr(body.data, "\"messages\":[{\"role\":\"user\",\"content\":\"p\"}]"), "%s",
                       body.data);
    cr_expect_not_null(strstr(body.data, "\"logprobs\":true,\"top_logprobs\":1"), "%s", body.data);
    rm_text_free(&body);
}

Test(remote, options_are_checked)
{
    static const struct { rm_remote_options options; const char *message; } cases[] = {
        { { .url = NULL }, "expected one such as" },
        { { .url = "ftp://x" }, "expected one such as" },
        { { .url = "http://" }, "expected one such as" },
        { { .url = "http://a b" }, "expected one such as" },
        { { .url = "http://user:secret@x/v1" }, "must hold no name, key or query" },
        { { .url = "http://x/v1?key=secret" }, "must hold no name, key or query" },
        { { .url = "http://x", .concurrency = -1 }, "concurrency is -1" },
        { { .url = "http://x", .retries = 101 }, "retries is 101" },
        { { .url = "http://x", .timeout_s = NAN }, "timeout_s" },
        { { .url = "http://x", .choices = 5000 }, "choices is 5000" },
        { { .url = "http://x", .backoff_s = 1e9 }, "backoff_s" },
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        rm_error err = { { 0 } };
        cr_expect_eq(rm_remote_check(&cases[i].options, &err), RM_E_ARGUMENT, "row %zu", i);
        cr_expect_not_null(strstr(err.text, cases[i].message), "%s", err.text);
        cr_expect_null(strstr(err.text, "secret"), "%s", err.text);
    }
}

/* ---- lists of next tokens ----------------------------------------------------------------- */

/* The most likely tokens of "ab" as the three kinds of servers list them; "$" is the end token. */
#define TOP(list) "{\"choices\": [{\"text\": \"a\", \"finish_reason\": \"length\", \"logprobs\": {\"tokens\":" \
                  " [\"a\"], \"token_logprobs\": [-0.5], \"top_logprobs\": [" list "]}}]," \
                  " \"usage\": {\"prompt_tokens\": 1}}"
#define TOP_CONTENT(list) "{\"choices\": [{\"text\": \"a\", \"finish_reason\": \"length\", \"logprobs\":" \
                  " {\"content\": [{\"token\": \"a\", \"logprob\": -0.5, \"top_logprobs\": [" list "]}]}}]}"

static const struct top {
    const char *body, *pieces, *message; /* message: why it is refused */
} tops[] = {
    { TOP("{\"b\": -2, \"a\": -0.5, \"</s>\": -1.5}"), "a:-0.5 $:-1.5 b:-2 ", NULL },
    { TOP("{\"b\": -2, \"a\": -0.5, \" c\": -1.5, \"d\": -9}"), "a:-0.5  c:-1.5 b:-2 ", NULL },
    { TOP_CONTENT("{\"token\": \"a\", \"bytes\": [97], \"logprob\": -0.5}, {\"token\": \"\", \"bytes\": [195],"
                  " \"logprob\": -2}, {\"token\": \"\", \"bytes\": [], \"logprob\": -3}"),
      "a:-0.5 \xC3:-2 $:-3 ", NULL },
    { TOP("{\"a\": -0.01, \"b\": -4.62}"), "a:-0.01 b:-4.62 ", NULL }, /* that is all there is */
    { TOP("{\"a\": -0.5, \"b\": -2}"), NULL, "lists the 2 most likely tokens; 3 were asked for" },
    { TOP("{\"a\": -0.5, \"b\": -0.5, \"c\": -0.5}"), NULL, "more than all of the probability" },
    { TOP("{\"a\": -0.5, \"b\": 2, \"c\": -1}"), NULL, "log-probability of token 2" },
    { TOP("{\"a\": -0.5, \"\\ufffd\": -2, \"c\": -1}"), NULL, "part of a character" },
    { TOP("{}"), NULL, "lists no most likely tokens" },
    { TOP("null"), NULL, "lists no most likely tokens" },
    { TOP(""), NULL, "1 tokens and 0 lists of most likely ones" },
    { TOP("{\"a\": -1}, {\"a\": -1}"), NULL, "1 tokens and 2 lists of most likely ones" },
    { TOP_CONTENT("{\"token\": \"a\", \"bytes\": [256], \"logprob\": -0.5}"), NULL, "bytes are none" },
    { TOP_CONTENT("{\"token\": \"a\"}"), NULL, "log-probability of token 1" },
    { CHOICE("\"text\": \"a\", \"finish_reason\": \"length\", \"logprobs\": {\"tokens\": [\"a\"],"
             " \"token_logprobs\": [-1]}"), NULL, "lists no most likely tokens" },
};

Test(remote, lists_of_next_tokens)
{
    rm_remote_options options = { .most_top = 3, .end_token = "</s>" };
    for (size_t i = 0; i < COUNT(tops); i++) {
        remote_call call = asked(1, NULL, 0);
        remote_response r;
        rm_error err = { { 0 } };
        rm_text got = { 0 };
        call.k = 3;
        rm_status status = remote_response_read(&options, &call, 1, tops[i].body, strlen(tops[i].body), &r,
                                                &err);
        cr_expect_eq(status, tops[i].message ? RM_E_FORMAT : RM_OK, "row %zu: %s", i, err.text);
        if (tops[i].message)
            cr_expect_not_null(strstr(err.text, tops[i].message), "row %zu: %s", i, err.text);
        if (status)
            continue;
        const rm_service_result *result = &r.choices[0].result;
        for (int k = 0; k < result->n_pieces; k++) {
            if (k == result->end)
                rm_text_puts(&got, "$");
            else
                rm_text_add(&got, result->pieces[k].text, result->pieces[k].n);
            rm_text_printf(&got, ":%g ", result->lp[k]);
        }
        cr_expect_str_eq(got.data, tops[i].pieces, "row %zu: %s", i, got.data);
        rm_text_free(&got);
        remote_response_free(&r);
    }
}

/* ---- streams ------------------------------------------------------------------------------ */

static rm_status join_event(void *arg, const char *data, size_t n, rm_error *err)
{
    (void)err;
    rm_text_puts(arg, "<");
    rm_text_add(arg, data, n);
    rm_text_puts(arg, ">");
    return RM_OK;
}

/* After the examples of the standard; what is joined are the data of the events. */
static const struct { const char *stream, *events; } streams[] = {
    { "data: YHOO\ndata: +2\ndata: 10\n\n", "<YHOO\n+2\n10>" },
    { ": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n",
      "<first event><second event>< third event>" },
    { "data\n\ndata\ndata\n\ndata:", "<><\n>" }, /* the last one is not complete */
    { "data:test\n\ndata: test\n\n", "<test><test>" },
    { "data: a\r\n\r\ndata: b\r\rdata: c\n\n", "<a><b><c>" },
    { "\xEF\xBB\xBF" "data: a\n\n\xEF\xBB\xBF" "data: b\n\n", "<a>" },
    { "data: a\n\n\n\n:\nevent: x\ndatax: b\n data: c\n\ndata: \xC3\xA9\n\n", "<a><\xC3\xA9>" },
    { "", NULL },
};

Test(remote, events_of_a_stream)
{
    for (size_t i = 0; i < COUNT(streams); i++)
        for (size_t step = 1; step < 8; step++) { /* cut anywhere, also within CR LF and characters */
            remote_events events = { 0 };
            rm_text got = { 0 };
            rm_error err = { { 0 } };
            const char *stream = streams[i].stream;
            for (size_t at = 0, n = strlen(stream); at < n; at += step)
                cr_assert_eq(remote_events_feed(&events, stream + at, n - at < step ? n - at : step,
                                                join_event, &got, &err), RM_OK);
            cr_expect(streams[i].events ? got.data && !strcmp(got.data, streams[i].events) : !got.length,
                      "row %zu, %zu bytes at once: %s", i, step, got.data ? got.data : "");
            remote_events_free(&events);
            rm_text_free(&got);
        }
}

/* ---- with a server ------------------------------------------------------------------------ */

typedef struct fixture {
    http_server server;
    char url[64];
    rm_engine *engine;
    rm_model *model;
    rm_run *run;
    rm_path *path;
} fixture;

static void open_fixture(fixture *f, rm_remote_options options, rm_run_options run_options)
{
    static const rm_engine_options small = { .n_threads = 1, .kv_bytes = 1 << 20 };
    rm_error err = { { 0 } };
    int32_t *tokens;
    int n;
    http_start(&f->server, f->url, sizeof f->url);
    options.url = f->url;
    options.backoff_s = options.backoff_s > 0 ? options.backoff_s : 0.01;
    cr_assert_eq(rm_engine_open(&small, &f->engine, &err), RM_OK, "%s", err.text);
    cr_assert_eq(rm_remote_open(f->engine, &options, &f->model, &err), RM_OK, "%s", err.text);
    cr_assert_eq(rm_run_open(f->engine, &run_options, &f->run, &err), RM_OK, "%s", err.text);
    cr_assert_eq(rm_tokenize(f->model, "1+2=", 4, true, &tokens, &n, &err), RM_OK);
    cr_assert_eq(rm_path_new(f->run, f->model, tokens, n, &f->path, &err), RM_OK);
    free(tokens);
}

static void close_fixture(fixture *f)
{
    rm_run_close(f->run);
    rm_model_close(f->model);
    rm_engine_close(f->engine);
    http_stop(&f->server);
}

static rm_status draw(fixture *f, rm_path *path, int max_new_tokens, rm_request *out, rm_error *err)
{
    static const rm_sampling sampling = RM_SAMPLING_DEFAULT;
    *out = (rm_request){ .want = RM_WANT_SPAN, .path = path, .sampling = &sampling,
                         .max_new_tokens = max_new_tokens };
    return rm_eval(f->run, out, 1, err);
}

static void text_of(fixture *f, rm_path *path, rm_text *out)
{
    rm_text_free(out);
    rm_detokenize(f->model, rm_path_tokens(path), rm_path_length(path), true, out);
}

Test(remote, a_span_and_its_account)
{
    fixture f = { 0 };
    rm_error err = { { 0 } };
    rm_request r;
    rm_text text = { 0 };
    open_fixture(&f, (rm_remote_options){ .model = "adder" }, (rm_run_options){ .seed = 3 });
    cr_expect(rm_model_describe(f.model)->served);
    cr_assert_eq(draw(&f, f.path, 10, &r, &err), RM_OK, "%s", err.text);
    cr_expect_eq(r.result.n, 6); /* five tokens and the end */
    cr_expect_eq(r.result.reason, RM_STOP_TOKEN);
    cr_expect_eq(r.result.lp[0], -0.5);
    cr_expect_eq(r.result.lp[5], -0.25);
    cr_expect(isnan(r.result.lp_sampling[0]));
    text_of(&f, f.path, &text);
    cr_expect_eq(strncmp(text.data, "1+2= the sum is ", 16), 0, "%s", text.data);
    rm_cost cost = rm_run_cost(f.run);
    cr_expect_eq(cost.prompt_tokens, 7);
    cr_expect_eq(cost.generated_tokens, 6);
    cr_expect_eq(cost.evaluated_tokens, RM_NOT_COUNTED);
    cr_expect_eq(cost.rounds, RM_NOT_COUNTED);
    cr_expect_eq(cost.kv_peak_positions, RM_NOT_COUNTED);
    cr_expect(isnan(cost.flops) && isnan(cost.weight_bytes) && isnan(cost.kv_bytes));
    cr_expect(cost.ttft_ms > 0 && cost.ttft_ms <= cost.wall_ms, "the stream tells it");
    rm_text_free(&text);
    close_fixture(&f);
}

/* Forks draw apart, and the same fork of another run draws the same; many at once, bounded. */
Test(remote, forks_draw_by_their_identity)
{
    char first[12][64];
    for (int turn = 0; turn < 2; turn++) {
        fixture f = { .server = { .delay_ms = 20 } };
        rm_error err = { { 0 } };
        rm_sampling sampling = RM_SAMPLING_DEFAULT;
        rm_request r[13] = { { .want = RM_WANT_NOTHING } };
        rm_text text = { 0 };
        bool differ = false;
        open_fixture(&f, (rm_remote_options){ .concurrency = turn ? 5 : 12 },
                     (rm_run_options){ .seed = 3 });
        r[0].path = f.path;
        cr_assert_eq(rm_eval(f.run, r, 1, &err), RM_OK, "%s", err.text);
        for (int i = 0; i < 12; i++) {
            r[i] = (rm_request){ .want = RM_WANT_SPAN, .sampling = &sampling, .max_new_tokens = 10 };
            cr_assert_eq(rm_path_fork(f.path, (uint32_t)i, &r[i].path, &err), RM_OK);
        }
        cr_assert_eq(rm_eval(f.run, r, 12, &err), RM_OK, "%s", err.text);
        for (int i = 0; i < 12; i++) {
            text_of(&f, r[i].path, &text);
            if (!turn)
                snprintf(first[i], sizeof first[i], "%s", text.data);
            else
                cr_expect_str_eq(text.data, first[i], "sample %d", i);
            differ = differ || strcmp(text.data, first[0]);
        }
        cr_expect(differ);
        cr_expect_eq(f.server.n_requests, 12);
        cr_expect_leq(f.server.n_most, turn ? 5 : 12);
        cr_expect_gt(f.server.n_most, 1, "one after the other");
        cr_expect_eq(rm_run_cost(f.run).generated_tokens, 72);
        rm_text_free(&text);
        close_fixture(&f);
    }
}

/* A character cut between two chunks by nobody's fault; chat with its thought apart; usage that comes
 * before the end; a stream without [DONE]. */
static const struct {
    const char *raw, *text;
    bool chat;
    int n_tokens;
    int64_t generated;
} whole_streams[] = {
    { "data: {\"choices\": [{\"index\": 0, \"text\": \"\xC3\xA9\", \"finish_reason\": null, \"logprobs\":"
      " {\"content\": [{\"token\": \"\", \"bytes\": [195], \"logprob\": -1}, {\"token\": \"\", \"bytes\": [169],"
      " \"logprob\": -1}]}}]}\r\n\r\n: still here\r\n\r\ndata: {\"choices\": [{\"index\": 0, \"text\": \"\","
      " \"finish_reason\": \"stop\", \"stop_reason\": null}]}\n\n", "1+2=\xC3\xA9", false, 3, 2 },
    { "data: {\"choices\": [{\"index\": 0, \"delta\": {\"role\": \"assistant\", \"content\": null}}]}\n\n"
      "data: {\"choices\": [{\"index\": 0, \"delta\": {\"reasoning_content\": \"hm\"}}]}\n\n"
      "data: {\"choices\": [{\"index\": 0, \"delta\": {\"reasoning_content\": \"m\"}}]}\n\n"
      "data: {\"choices\": [{\"index\": 0, \"delta\": {\"content\": \"3\"}, \"logprobs\": {\"content\":"
      " [{\"token\": \"3\", \"logprob\": -1}]}}]}\n\n"
      "data: {\"choices\": [{\"index\": 0, \"delta\": {}, \"finish_reason\": \"stop\"}], \"usage\":"
      " {\"prompt_tokens\": 4, \"completion_tokens\": 2}}\n\ndata: [DONE]\n\ndata: after the end\n\n",
      "1+2=<think>hmm</think>3", true, 2, 2 },
    { "data: {\"choices\": [{\"index\": 0, \"delta\": {\"reasoning\": \"never closes\"}, \"logprobs\":"
      " {\"content\": [{\"token\": \"never\", \"logprob\": -1}]}, \"finish_reason\": \"length\"}]}\n\n",
      "1+2=<think>never closes", true, 1, 1 },
};

Test(remote, streams_cut_into_bytes)
{
    for (size_t i = 0; i < COUNT(whole_streams); i++) {
        fixture f = { .server = { .faults = "X", .every = true, .raw = whole_streams[i].raw } };
        rm_error err = { { 0 } };
        rm_request r;
        rm_text text = { 0 };
        open_fixture(&f, (rm_remote_options){ .chat = whole_streams[i].chat, .retries = -1 },
                     (rm_run_options){ .seed = 3 });
        cr_assert_eq(draw(&f, f.path, 10, &r, &err), RM_OK, "row %zu: %s", i, err.text);
        text_of(&f, f.path, &text);
        cr_expect_str_eq(text.data, whole_streams[i].text, "row %zu: %s", i, text.data);
        cr_expect_eq(r.result.n, whole_streams[i].n_tokens, "row %zu: %d", i, r.result.n);
        cr_expect_eq((int64_t)rm_run_cost(f.run).generated_tokens, whole_streams[i].generated);
        if (whole_streams[i].chat) {
            cr_expect_eq(draw(&f, f.path, 10, &r, &err), RM_E_ARGUMENT);
            cr_expect_not_null(strstr(err.text, "cannot be continued"), "%s", err.text);
        }
        rm_text_free(&text);
        close_fixture(&f);
    }
}

/* The most likely next tokens of paths: the length of the prompt that the server tells must grow by
 * the tokens that were appended. */
Test(remote, next_tokens)
{
    fixture f = { .server = { .faults = "x", .every = true,
                              .raw = TOP("{\"b\": -2, \"a\": -0.5, \"</s>\": -1.5}") } };
    rm_error err = { { 0 } };
    open_fixture(&f, (rm_remote_options){ .most_top = 3, .end_token = "</s>", .retries = -1 },
                 (rm_run_options){ .seed = 3 });
    rm_request r = { .want = RM_WANT_TOP, .path = f.path, .k = 3 };
    cr_assert_eq(rm_eval(f.run, &r, 1, &err), RM_OK, "%s", err.text);
    cr_assert_eq(r.result.n, 3);
    size_t n;
    bool special;
    const char *first = rm_token_bytes(f.model, r.result.tokens[0], &n, &special);
    cr_expect(n == 1 && first[0] == 'a' && r.result.lp[0] == -0.5);
    cr_expect_eq(r.result.tokens[1], rm_model_describe(f.model)->eos);
    cr_expect_not_null(strstr(f.server.last, "\"max_tokens\":1,"), "%s", f.server.last);
    cr_expect_not_null(strstr(f.server.last, "\"logprobs\":3}"), "%s", f.server.last);
    cr_expect_eq(rm_run_cost(f.run).generated_tokens, 0, "nothing is chosen yet");
    cr_assert_eq(rm_path_append(f.path, r.result.tokens, 1, &err), RM_OK);
    cr_expect_eq(rm_eval(f.run, &r, 1, &err), RM_E_FORMAT, "the server still says 1 token");
    cr_expect_not_null(strstr(err.text, "a path of 2 tokens, 1 of them chosen one by one, as 1"), "%s",
                       err.text);
    f.server.raw = "{\"choices\": [{\"text\": \"a\", \"finish_reason\": \"length\", \"logprobs\": {\"content\": ["
                   "{\"token\": \"a\", \"logprob\": 0, \"top_logprobs\": [{\"token\": \"a\", \"logprob\": 0}]}]}}],"
                   " \"usage\": {\"prompt_tokens\": 2}}";
    cr_expect_eq(rm_eval(f.run, &r, 1, &err), RM_OK, "%s", err.text);
    cr_expect_eq(r.result.n, 1);
    r.k = 4;
    cr_expect_eq(rm_eval(f.run, &r, 1, &err), RM_E_ARGUMENT);
    cr_expect_not_null(strstr(err.text, "which tells at most 3"), "%s", err.text);
    rm_sampling penal = RM_SAMPLING_DEFAULT;
    penal.repetition_penalty = 2;
    r.k = 2;
    r.sampling = &penal;
    cr_expect_eq(rm_eval(f.run, &r, 1, &err), RM_E_ARGUMENT);
    cr_expect_eq(rm_run_cost(f.run).generated_tokens, 1);
    close_fixture(&f);
}

/* What arrived before a connection broke is in no account, but somebody computed it. */
Test(remote, traffic)
{
    fixture f = { .server = { .faults = "kKE" } };
    rm_error err = { { 0 } };
    rm_request r;
    rm_service_traffic t;
    open_fixture(&f, (rm_remote_options){ 0 }, (rm_run_options){ .seed = 3 });
    cr_assert_eq(draw(&f, f.path, 10, &r, &err), RM_OK, "%s", err.text);
    cr_assert(rm_model_traffic(f.model, &t));
    cr_expect_eq(t.requests, 1);
    cr_expect_eq(t.failed_attempts, 3);
    cr_expect_geq(t.discarded_tokens, 5); /* of 'K' the last may be lost with the connection */
    cr_expect_leq(t.discarded_tokens, 8);
    cr_expect_eq(t.prompt_tokens, 7);
    cr_expect_eq(t.cached_tokens, 3);
    cr_expect_eq(t.generated_tokens, 6);
    cr_expect_eq(t.untold, 0);
    cr_expect_eq(rm_run_cost(f.run).generated_tokens, 6);
    close_fixture(&f);
}

/* A stream may last longer than the time-out, as long as something keeps coming; the first token is
 * there long before the last. */
Test(remote, a_slow_stream)
{
    fixture f = { .server = { .token_ms = 120 } };
    rm_error err = { { 0 } };
    rm_request r;
    open_fixture(&f, (rm_remote_options){ .timeout_s = 0.5, .retries = -1 }, (rm_run_options){ .seed = 3 });
    cr_assert_eq(draw(&f, f.path, 10, &r, &err), RM_OK, "%s", err.text);
    rm_cost cost = rm_run_cost(f.run);
    cr_expect_gt(cost.wall_ms, 600);
    cr_expect_lt(cost.ttft_ms, cost.wall_ms - 400);
    close_fixture(&f);
}

/* A wait that is longer than one waits for is said, and not begun. */
Test(remote, a_long_retry_after)
{
    fixture f = { .server = { .faults = "r", .every = true, .retry_after = "3600" } };
    rm_error err = { { 0 } };
    rm_request r;
    open_fixture(&f, (rm_remote_options){ 0 }, (rm_run_options){ .seed = 3 });
    cr_expect_eq(draw(&f, f.path, 10, &r, &err), RM_E_IO);
    cr_expect_not_null(strstr(err.text, "come back in 3600 s, which is more than the 60 s"), "%s", err.text);
    cr_expect_eq(f.server.n_requests, 1);
    close_fixture(&f);
}

/* The proxy of the environment is asked for an address that nobody else knows. */
Test(remote, proxies)
{
    fixture f = { .server = { .proxy = true } };
    rm_error err = { { 0 } };
    rm_engine_options small = { .n_threads = 1, .kv_bytes = 1 << 20 };
    http_start(&f.server, f.url, sizeof f.url);
    *strstr(f.url, "/v1") = '\0';
    setenv("http_proxy", f.url, 1);
    cr_assert_eq(rm_engine_open(&small, &f.engine, &err), RM_OK);
    rm_remote_options options = { .url = "http://far.invalid/v1", .retries = -1 };
    cr_expect_eq(rm_remote_open(f.engine, &options, &f.model, &err), RM_OK, "%s", err.text);
    unsetenv("http_proxy");
    rm_model_close(f.model);
    rm_engine_close(f.engine);
    http_stop(&f.server);
}

/* Samples of one prompt in one request. */
Test(remote, several_choices_in_one_request)
{
    fixture f = { 0 };
    rm_error err = { { 0 } };
    rm_sampling sampling = RM_SAMPLING_DEFAULT;
    rm_request r[10];
    open_fixture(&f, (rm_remote_options){ .choices = 4 }, (rm_run_options){ .seed = 3 });
    for (int i = 0; i < 10; i++) {
        r[i] = (rm_request){ .want = RM_WANT_SPAN, .sampling = &sampling, .max_new_tokens = 10 };
        cr_assert_eq(rm_path_fork(f.path, (uint32_t)i, &r[i].path, &err), RM_OK);
    }
    cr_assert_eq(rm_eval(f.run, r, 10, &err), RM_OK, "%s", err.text);
    cr_expect_eq(f.server.n_requests, 3);
    for (int i = 0; i < 10; i++)
        cr_expect_eq(r[i].result.n, 6);
    cr_expect_eq(rm_run_cost(f.run).generated_tokens, 60);
    close_fixture(&f);
}

/* A path goes on from where it ended: the prompt is its whole text. */
Test(remote, a_path_goes_on)
{
    fixture f = { 0 };
    rm_error err = { { 0 } };
    rm_request r;
    open_fixture(&f, (rm_remote_options){ 0 }, (rm_run_options){ .seed = 3 });
    cr_assert_eq(draw(&f, f.path, 3, &r, &err), RM_OK, "%s", err.text);
    cr_expect_eq(r.result.reason, RM_STOP_LENGTH);
    cr_assert_eq(draw(&f, f.path, 3, &r, &err), RM_OK, "%s", err.text);
    cr_expect_not_null(strstr(f.server.last, "\"prompt\":\"1+2= the sum is\""), "%s", f.server.last);
    close_fixture(&f);
}

/* A step's end, which servers leave out, belongs to the path; a stop string does not. */
static const struct {
    const char *told;
    rm_stop_reason reason;
    const char *path;
    int n_stop_bytes;
} ends[] = {
    { "\"\\n\"", RM_STOP_STEP, "1+2=ab\n", 2 }, { "\"Q:\"", RM_STOP_STRING, "1+2=ab", 2 },
    { "null", RM_STOP_TOKEN, "1+2=ab", 2 },
};

Test(remote, step_ends)
{
    static const char *const strings[] = { "Q:" }, *const steps[] = { "\n" };
    rm_stop stop = { .strings = strings, .n_strings = 1, .steps = steps, .n_steps = 1 };
    rm_sampling sampling = RM_SAMPLING_DEFAULT;
    for (size_t i = 0; i < COUNT(ends) + 1; i++) {
        char raw[300];
        bool untold = i == COUNT(ends);
        snprintf(raw, sizeof raw, CHOICE("\"text\": \"ab\", \"finish_reason\": \"stop\", %s%s%s" TOKENS),
                 untold ? "" : "\"stop_reason\": ", untold ? "" : ends[i].told, untold ? "" : ", ");
        fixture f = { .server = { .faults = "x", .every = true, .raw = raw } };
        rm_error err = { { 0 } };
        rm_text text = { 0 };
        open_fixture(&f, (rm_remote_options){ .retries = -1 }, (rm_run_options){ .seed = 3 });
        rm_request r = { .want = RM_WANT_SPAN, .path = f.path, .sampling = &sampling, .stop = &stop,
                         .max_new_tokens = 10 };
        rm_status status = rm_eval(f.run, &r, 1, &err);
        if (untold) {
            cr_expect_eq(status, RM_E_FORMAT);
            cr_expect_not_null(strstr(err.text, "stop_reason"), "%s", err.text);
        } else {
            cr_assert_eq(status, RM_OK, "%s", err.text);
            cr_expect_eq(r.result.reason, ends[i].reason, "row %zu: %d", i, (int)r.result.reason);
            cr_expect_eq(r.result.n, 2 + (r.result.reason == RM_STOP_TOKEN));
            cr_expect_eq(r.result.n_stop_bytes, ends[i].n_stop_bytes, "row %zu: %d", i,
                         r.result.n_stop_bytes);
            text_of(&f, f.path, &text);
            cr_expect_str_eq(text.data, ends[i].path);
        }
        rm_text_free(&text);
        close_fixture(&f);
    }
}

/* Without log-probabilities and counts: the text is there, the rest is absent and not 0. */
Test(remote, what_is_not_told_is_absent)
{
    fixture f = { .server = { .faults = "x", .every = true,
                              .raw = CHOICE("\"text\": \"ab\", \"finish_reason\": \"length\"") } };
    rm_error err = { { 0 } };
    rm_request r;
    open_fixture(&f, (rm_remote_options){ .no_logprobs = true }, (rm_run_options){ .seed = 3 });
    cr_assert_eq(draw(&f, f.path, 10, &r, &err), RM_OK, "%s", err.text);
    cr_expect_eq(r.result.n, 1);
    cr_expect(isnan(r.result.lp[0]));
    cr_expect_eq(rm_run_cost(f.run).prompt_tokens, RM_NOT_COUNTED);
    cr_expect_eq(rm_run_cost(f.run).generated_tokens, RM_NOT_COUNTED);
    close_fixture(&f);
}

/* What may pass is tried again, and nothing is lost or doubled. */
static const struct { const char *faults; double timeout_s; } passing[] = {
    { "c", 5 }, { "h", 5 }, { "s", 0.5 }, { "r", 5 }, { "e", 5 }, { "j", 5 }, { "ejcehe", 5 },
    { "k", 5 }, { "K", 5 }, { "S", 0.5 }, { "E", 5 }, { "J", 5 }, { "kEJKk", 5 },
};

Test(remote, passing_failures)
{
    for (size_t i = 0; i < COUNT(passing); i++) {
        fixture f = { .server = { .faults = passing[i].faults } };
        rm_error err = { { 0 } };
        rm_request r;
        open_fixture(&f, (rm_remote_options){ .retries = 6, .timeout_s = passing[i].timeout_s },
                     (rm_run_options){ .seed = 3 });
        double start = rm_now_s();
        cr_assert_eq(draw(&f, f.path, 10, &r, &err), RM_OK, "%s: %s", passing[i].faults, err.text);
        cr_expect_eq(r.result.n, 6);
        int n = (int)strlen(passing[i].faults) + 1; /* a time-out may be the machine's, too */
        cr_expect(f.server.n_requests == n || (passing[i].timeout_s < 1 && f.server.n_requests > n));
        cr_expect_eq(rm_run_cost(f.run).generated_tokens, 6);
        if (passing[i].faults[0] == 'r')
            cr_expect_geq(rm_now_s() - start, 1, "Retry-After says a second");
        close_fixture(&f);
    }
}

/* What does not pass is one sentence; the path is as before. */
static const struct {
    const char *faults, *raw, *message;
    rm_status status;
    int attempts;
} lasting[] = {
    { "k", NULL, "breaks off before its finish_reason (attempt 3 of 3)", RM_E_IO, 3 },
    { "S", NULL, "nothing came for", RM_E_IO, 3 },
    { "E", NULL, "the server broke off its answer: out of pages (attempt 3 of 3)", RM_E_IO, 3 },
    { "J", NULL, "server's response", RM_E_FORMAT, 3 },
    { "R", NULL, "a redirection to http://elsewhere.invalid/v1/completions, which is not followed",
      RM_E_IO, 1 },
    { "c", NULL, "(attempt 3 of 3)", RM_E_IO, 3 },
    { "s", NULL, "(attempt 3 of 3)", RM_E_IO, 3 },
    { "e", NULL, "HTTP status 500 (attempt 3 of 3)", RM_E_IO, 3 },
    { "j", NULL, "(attempt 3 of 3)", RM_E_FORMAT, 3 },
    { "b", NULL, "HTTP status 400: the prompt is too long", RM_E_LIMIT, 1 },
    { "o", NULL, "more than 64 MiB", RM_E_FORMAT, 1 },
    { "x", CHOICE("\"text\": \"ab\", \"finish_reason\": \"length\""), "no log-probabilities",
      RM_E_FORMAT, 3 },
};

Test(remote, lasting_failures)
{
    for (size_t i = 0; i < COUNT(lasting); i++) {
        fixture f = { .server = { .faults = lasting[i].faults, .every = true,
                                  .raw = lasting[i].raw } };
        rm_error err = { { 0 } };
        rm_request r;
        open_fixture(&f, (rm_remote_options){ .retries = 2,
                                              .timeout_s = strchr("sS", lasting[i].faults[0]) ? 0.1 : 5 },
                     (rm_run_options){ .seed = 3 });
        cr_expect_eq(draw(&f, f.path, 10, &r, &err), lasting[i].status, "%s: %s", lasting[i].faults,
                     err.text);
        cr_expect_not_null(strstr(err.text, lasting[i].message), "%s: %s", lasting[i].faults, err.text);
        cr_expect_null(strchr(err.text, '\n'));
        cr_expect_eq(f.server.n_requests, lasting[i].attempts, "%s: %d", lasting[i].faults,
                     (int)f.server.n_requests);
        cr_expect_eq(rm_path_length(f.path), 1);
        cr_expect_eq(rm_run_cost(f.run).generated_tokens, 0);
        close_fixture(&f);
    }
}

/* One of many fails: all paths are as before, the others' requests are taken back. */
Test(remote, one_failure_undoes_the_whole)
{
    fixture f = { .server = { .faults = "..b", .delay_ms = 10 } };
    rm_error err = { { 0 } };
    rm_sampling sampling = RM_SAMPLING_DEFAULT;
    rm_request r[40];
    open_fixture(&f, (rm_remote_options){ .concurrency = 2 }, (rm_run_options){ .seed = 3 });
    for (int i = 0; i < 40; i++) {
        r[i] = (rm_request){ .want = RM_WANT_SPAN, .sampling = &sampling, .max_new_tokens = 10 };
        cr_assert_eq(rm_path_fork(f.path, (uint32_t)i, &r[i].path, &err), RM_OK);
    }
    cr_expect_eq(rm_eval(f.run, r, 40, &err), RM_E_LIMIT, "%s", err.text);
    for (int i = 0; i < 40; i++)
        cr_expect_eq(rm_path_length(r[i].path), 1);
    cr_expect_lt(f.server.n_requests, 10);
    cr_expect_eq(draw(&f, r[0].path, 10, &r[0], &err), RM_OK, "%s", err.text);
    close_fixture(&f);
}

Test(remote, the_clock_ends_a_span)
{
    fixture f = { .server = { .faults = "s" } };
    rm_error err = { { 0 } };
    rm_request r;
    open_fixture(&f, (rm_remote_options){ 0 }, (rm_run_options){ .max_wall_ms = 150 });
    cr_expect_eq(draw(&f, f.path, 10, &r, &err), RM_E_BUDGET, "%s", err.text);
    cr_expect_eq(rm_path_length(f.path), 1);
    close_fixture(&f);
}

Test(remote, other_wants_are_refused)
{
    fixture f = { 0 };
    rm_error err = { { 0 } };
    int32_t token = 0;
    open_fixture(&f, (rm_remote_options){ 0 }, (rm_run_options){ 0 });
    rm_request wants[] = {
        { .want = RM_WANT_TOP, .path = f.path, .k = 2 },
        { .want = RM_WANT_ALL, .path = f.path },
        { .want = RM_WANT_LOGPROBS, .path = f.path, .tokens = &token, .n_tokens = 1 },
        { .want = RM_WANT_SCORE, .path = f.path, .tokens = &token, .n_tokens = 1 },
    };
    for (size_t i = 0; i < COUNT(wants); i++) {
        cr_expect_eq(rm_eval(f.run, &wants[i], 1, &err), RM_E_ARGUMENT);
        cr_expect_not_null(strstr(err.text, "a service"), "%s", err.text);
    }
    cr_expect_eq(f.server.n_requests, 0);
    close_fixture(&f);
}

Test(remote, new_weights_are_refused)
{
    static const float values[1];
    fixture f = { 0 };
    rm_error err = { { 0 } };
    rm_shape shape = { .n_layers = 1, .n_embd = 8, .n_heads = 1, .n_kv_heads = 1, .head_dim = 8,
                       .n_ff = 8, .n_vocab = 8, .n_ctx = 8 };
    open_fixture(&f, (rm_remote_options){ .model = "adder" }, (rm_run_options){ 0 });
    cr_expect_eq(rm_model_update(f.model, &shape, values, &err), RM_E_ARGUMENT);
    cr_expect_not_null(strstr(err.text, "computed by a service"), "%s", err.text);
    cr_expect_eq(rm_model_version(f.model), 1);
    cr_expect_eq(rm_model_describe(f.model)->value_good, -1);
    cr_expect_eq(f.server.n_requests, 0);
    close_fixture(&f);
}

/* ---- keys and models ---------------------------------------------------------------------- */

static rm_status open_only(const rm_remote_options *options, rm_error *err)
{
    rm_engine *engine;
    rm_model *model = NULL;
    static const rm_engine_options small = { .n_threads = 1, .kv_bytes = 1 << 20 };
    cr_assert_eq(rm_engine_open(&small, &engine, err), RM_OK);
    rm_status status = rm_remote_open(engine, options, &model, err);
    rm_model_close(model);
    rm_engine_close(engine);
    return status;
}

Test(remote, keys)
{
    http_server server = { .key = "sk-very-secret" };
    char url[64];
    rm_error err = { { 0 } };
    http_start(&server, url, sizeof url);
    rm_remote_options options = { .url = url, .api_key_env = "RM_TEST_KEY" };
    unsetenv("RM_TEST_KEY");
    cr_expect_eq(open_only(&options, &err), RM_E_ARGUMENT);
    cr_expect_not_null(strstr(err.text, "RM_TEST_KEY"), "%s", err.text);
    setenv("RM_TEST_KEY", "bad key\r\n", 1);
    cr_expect_eq(open_only(&options, &err), RM_E_ARGUMENT);
    cr_expect_null(strstr(err.text, "bad key"), "%s", err.text);
    setenv("RM_TEST_KEY", "sk-wrong", 1);
    cr_expect_eq(open_only(&options, &err), RM_E_IO);
    cr_expect_not_null(strstr(err.text, "401"), "%s", err.text);
    cr_expect_null(strstr(err.text, "sk-wrong"), "%s", err.text);
    setenv("RM_TEST_KEY", "sk-very-secret", 1);
    cr_expect_eq(open_only(&options, &err), RM_OK, "%s", err.text);
    options.model = "subtractor";
    cr_expect_eq(open_only(&options, &err), RM_E_ARGUMENT);
    cr_expect_not_null(strstr(err.text, "no model \"subtractor\"; it has \"adder\""), "%s", err.text);
    http_stop(&server);
    options = (rm_remote_options){ .url = url };
    cr_expect_eq(open_only(&options, &err), RM_E_IO, "nobody listens");
    cr_expect_not_null(strstr(err.text, "127.0.0.1"), "%s", err.text);
}
