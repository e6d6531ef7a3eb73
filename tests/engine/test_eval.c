/* test_eval.c - what requests give: every want against the double's own distribution, spans and
 * what ends them, tips, undoing, and a token loop that allocates nothing. */
#include "tests/engine/single.h"

#include "engine/num.h"
#include "engine/tree.h"

#include <math.h>
#include <stddef.h>

static const rm_sampling greedy = { false, 1.0, 0, 1.0, 0.0, 1.0, 1.0 };
static const rm_sampling plain = RM_SAMPLING_DEFAULT;
static const int32_t no_token = -1;
static const rm_stop no_stop = { .tokens = &no_token };
static const int32_t prompt[] = { 5, 9, 12, 7, 22 };

static rm_path *new_path(single *s)
{
    rm_path *path;
    rm_error error = { "" };
    cr_assert_eq(rm_path_new(s->run, s->model, prompt, 5, &path, &error), RM_OK, "%s", error.text);
    return path;
}

static rm_path *new_fork(rm_path *parent, uint32_t ordinal)
{
    rm_path *path;
    cr_assert_eq(rm_path_fork(parent, ordinal, &path, NULL), RM_OK);
    return path;
}

static void serve(single *s, rm_request *requests, int n)
{
    rm_error error = { "" };
    cr_assert_eq(rm_eval(s->run, requests, n, &error), RM_OK, "%s", error.text);
}

/* The double's log-probability of v after a history. */
static double true_lp(uint64_t history, int v)
{
    double z = 0.0;
    for (int i = 0; i < 32; i++)
        z += exp((double)fake_logit(history, i));
    return (double)fake_logit(history, v) - log(z);
}

static int true_argmax(uint64_t history)
{
    int best = 0;
    for (int v = 1; v < 32; v++)
        if (fake_logit(history, v) > fake_logit(history, best))
            best = v;
    return best;
}

/* Batches of 16 rows split a prompt of 40; 64 do not. */
Test(eval, every_want_gives_the_model_s_distribution)
{
    for (int rows = 16; rows <= 64; rows += 48)
        for (int evaluated = 0; evaluated < 2; evaluated++) {
            single s = single_open(16, rows, (rm_run_options){ .seed = 4 });
            int32_t long_prompt[40], given[20];
            rm_path *root;
            for (int i = 0; i < 40; i++)
                long_prompt[i] = (i * 5) % 32;
            for (int i = 0; i < 20; i++)
                given[i] = (i * 11) % 32;
            cr_assert_eq(rm_path_new(s.run, s.model, long_prompt, 40, &root, NULL), RM_OK);
            rm_request nothing = { .want = RM_WANT_NOTHING, .path = root };
            if (evaluated)
                serve(&s, &nothing, 1);
            rm_path *fork[5];
            for (uint32_t i = 0; i < 5; i++)
                fork[i] = new_fork(root, i);
            rm_request r[5] = {
                { .want = RM_WANT_TOP, .path = fork[0], .k = 99 },
                { .want = RM_WANT_ALL, .path = fork[1] },
                { .want = RM_WANT_LOGPROBS, .path = fork[2], .tokens = given, .n_tokens = 20 },
                { .want = RM_WANT_SCORE, .path = fork[3], .tokens = given, .n_tokens = 20 },
                { .want = RM_WANT_SPAN,
                  .path = fork[4],
                  .sampling = &greedy,
                  .stop = &no_stop,
                  .max_new_tokens = 9 },
            };
            serve(&s, r, 5);
            uint64_t history = history_of(long_prompt, 40);
            cr_expect_eq(r[0].result.n, 32, "k is cut at the vocabulary");
            for (int i = 0; i < 32; i++) {
                cr_expect_float_eq(r[0].result.lp[i], true_lp(history, r[0].result.tokens[i]),
                                   1e-12);
                cr_expect(!i || r[0].result.lp[i] <= r[0].result.lp[i - 1]);
                cr_expect_float_eq(r[1].result.lp[i], true_lp(history, i), 1e-12);
            }
            cr_expect_eq(r[0].result.tokens[0], true_argmax(history));
            uint64_t along = history;
            for (int i = 0; i < 20; i++) {
                cr_expect_float_eq(r[2].result.lp[i], true_lp(history, given[i]), 1e-12);
                cr_expect_float_eq(r[3].result.lp[i], true_lp(along, given[i]), 1e-12);
                along = fake_history(along, given[i]);
            }
            cr_expect_eq(rm_path_length(fork[3]), 60, "a score appends its tokens");
            cr_expect_eq(rm_path_length(fork[2]), 40);
            along = history;
            for (int i = 0; i < 9; i++) {
                int token = true_argmax(along);
                cr_expect_eq(r[4].result.tokens[i], token);
                cr_expect_float_eq(r[4].result.lp[i], true_lp(along, token), 1e-12);
                cr_expect_eq(rm_path_tokens(fork[4])[40 + i], token);
                along = fake_history(along, token);
            }
            /* What was looked at once is not evaluated again: after a top, a span. */
            uint64_t before = rm_run_cost(s.run).evaluated_tokens;
            rm_request span = { .want = RM_WANT_SPAN,
                                .path = fork[0],
                                .sampling = &greedy,
                                .stop = &no_stop,
                                .max_new_tokens = 1 };
            serve(&s, &span, 1);
            cr_expect_eq(span.result.tokens[0], true_argmax(history));
            cr_expect_eq(rm_run_cost(s.run).evaluated_tokens, before);
            single_close(&s);
        }
}

/* As in Hugging Face generate(), tokens of the prompt are penalised like generated ones: of the
 * log-softmax, which is negative, the penalty is a factor. */
Test(eval, the_repetition_penalty_covers_prompt_and_answer)
{
    single s = single_open(16, 16, (rm_run_options){ 0 });
    rm_sampling doubled = RM_SAMPLING_DEFAULT;
    doubled.repetition_penalty = 2.0;
    rm_path *path = new_path(&s);
    bool seen[32] = { false };
    uint64_t history = history_of(prompt, 5);
    for (int i = 0; i < 5; i++)
        seen[prompt[i]] = true;
    const int32_t answer[] = { 30 };
    for (int appended = 0; appended < 2; appended++) {
        rm_request top = { .want = RM_WANT_TOP, .path = path, .k = 32, .sampling = &doubled };
        serve(&s, &top, 1);
        cr_assert_eq(top.result.n, 32);
        for (int i = 0; i < 32; i++) {
            int v = top.result.tokens[i];
            cr_expect_float_eq(top.result.lp[i], true_lp(history, v) * (seen[v] ? 2.0 : 1.0),
                               1e-12);
        }
        cr_assert_eq(rm_path_append(path, answer, 1, NULL), RM_OK);
        seen[answer[0]] = true;
        history = fake_history(history, answer[0]);
    }
    single_close(&s);
}

/* Forks of one tip share its row of logits; the draws differ by ordinal and only by it. */
Test(eval, samples_share_a_row_and_follow_their_ordinal)
{
    enum { N = 32 };
    int32_t first[N][6];
    for (int n = 4; n <= N; n *= 2) {
        single s = single_open(16, 16, (rm_run_options){ .seed = 8, .problem = 5 });
        rm_path *root = new_path(&s);
        rm_request look = { .want = RM_WANT_NOTHING, .path = root }, r[N];
        serve(&s, &look, 1);
        uint64_t rows = fake.output_rows;
        for (int i = n - 1; i >= 0; i--) { /* the order of requests says nothing */
            r[n - 1 - i] = (rm_request){ .want = RM_WANT_SPAN,
                                         .sampling = &plain,
                                         .path = new_fork(root, (uint32_t)i),
                                         .stop = &no_stop,
                                         .max_new_tokens = 1 };
        }
        serve(&s, r, n);
        cr_expect_eq(fake.output_rows, rows + 1);
        for (int round = 0; round < 2; round++) { /* one token, then five more */
            for (int i = 0; i < n; i++) {
                int ordinal = n - 1 - i;
                for (int t = 0; t < r[i].result.n; t++) {
                    int32_t *noted = &first[ordinal][round + t];
                    if (n == 4 || ordinal >= n / 2) /* a new one: note it for the larger n */
                        *noted = r[i].result.tokens[t];
                    cr_expect_eq(r[i].result.tokens[t], *noted, "%d of %d", ordinal, n);
                }
                r[i].max_new_tokens = 5;
            }
            if (!round)
                serve(&s, r, n);
        }
        single_close(&s);
    }
    int different = 0;
    for (int i = 1; i < N; i++)
        different += memcmp(first[i], first[0], sizeof first[0]) != 0;
    cr_expect(different > N / 2, "draws of different ordinals are different draws");
}

/* The sampling log-probability of every draw, and that a stream hangs on every parameter. */
Test(eval, draws_depend_on_what_they_should)
{
    static const struct {
        uint64_t seed, problem, stream;
        rm_sampling sampling;
    } table[] = {
        { 1, 1, 0, { true, 1.0, 0, 1.0, 0.0, 1.0, 1.0 } },
        { 2, 1, 0, { true, 1.0, 0, 1.0, 0.0, 1.0, 1.0 } },
        { 1, 2, 0, { true, 1.0, 0, 1.0, 0.0, 1.0, 1.0 } },
        { 1, 1, 3, { true, 1.0, 0, 1.0, 0.0, 1.0, 1.0 } },
        { 1, 1, 0, { true, 1.0, 31, 1.0, 0.0, 1.0, 1.0 } },
        { 1, 1, 0, { true, 1.0, 0, 0.9999999, 0.0, 1.0, 1.0 } },
        { 1, 1, 0, { true, 1.0000001, 0, 1.0, 0.0, 1.0, 1.0 } },
    };
    enum { N = 40, CASES = sizeof table / sizeof *table };
    int32_t drawn[CASES][N];
    for (size_t t = 0; t < CASES; t++) {
        single s = single_open(16, 16,
                               (rm_run_options){ .seed = table[t].seed,
                                                 .problem = table[t].problem,
                                                 .stream = table[t].stream });
        rm_request r = { .want = RM_WANT_SPAN,
                         .path = new_path(&s),
                         .stop = &no_stop,
                         .sampling = &table[t].sampling,
                         .max_new_tokens = N };
        serve(&s, &r, 1);
        memcpy(drawn[t], r.result.tokens, sizeof drawn[t]);
        if (t == 0)
            for (int i = 0; i < N; i++)
                cr_expect_float_eq(r.result.lp[i], r.result.lp_sampling[i], 1e-9);
        for (size_t u = 0; u < t; u++)
            cr_expect(memcmp(drawn[t], drawn[u], sizeof drawn[t]) != 0, "cases %zu and %zu", t, u);
        single_close(&s);
    }
}

/* ---- what ends a span ---------------------------------------------------------------------- */

static const char *token_text(single *s, int32_t token, size_t *n)
{
    bool special;
    const char *bytes = rm_token_bytes(s->model, token, n, &special);
    *n = special ? 0 : *n;
    return bytes;
}

/* Draws 60 tokens freely, takes a piece of the text they spell as the stop string, and expects the
 * same span cut where the piece first ends. */
static void check_stop_string(int from, int length, bool step, int earlier)
{
    single s = single_open(16, 16, (rm_run_options){ .seed = 21 });
    rm_path *root = new_path(&s);
    rm_request look = { .want = RM_WANT_NOTHING, .path = root };
    serve(&s, &look, 1);
    rm_request free_span = { .want = RM_WANT_SPAN,
                             .path = new_fork(root, 1),
                             .sampling = &plain,
                             .stop = &no_stop,
                             .max_new_tokens = 60 };
    serve(&s, &free_span, 1);
    char text[60 * 8 + 1] = "", piece[64] = ""; /* no token is longer than "</think>" */
    int ends[60], n_text = 0;
    for (int i = 0; i < 60; i++) {
        size_t n;
        const char *bytes = token_text(&s, free_span.result.tokens[i], &n);
        memcpy(text + n_text, bytes, n);
        n_text += (int)n;
        ends[i] = n_text;
    }
    text[n_text] = '\0';
    cr_assert(from + length <= n_text);
    memcpy(piece, text + from, (size_t)length);
    /* Where it first ends after what the earlier span generated. */
    int already = earlier ? ends[earlier - 1] : 0, at = 0;
    if (from + length <= already) { /* it lies wholly in the past, and may never come again */
        single_close(&s);
        return;
    }
    while (strncmp(text + at, piece, (size_t)length) || at + length <= already)
        at++;
    int tokens = 0;
    while (ends[tokens] < at + length)
        tokens++;

    const char *strings[] = { "never seen", piece };
    rm_stop stop = { .tokens = &no_token,
                     .strings = strings,
                     .n_strings = step ? 1 : 2,
                     .steps = strings + 1,
                     .n_steps = step };
    rm_path *path = new_fork(root, 1);
    rm_request first = { .want = RM_WANT_SPAN,
                         .path = path,
                         .sampling = &plain,
                         .stop = &no_stop,
                         .max_new_tokens = earlier };
    if (earlier)
        serve(&s, &first, 1);
    rm_request span = {
        .want = RM_WANT_SPAN, .path = path, .sampling = &plain, .stop = &stop, .max_new_tokens = 60
    };
    serve(&s, &span, 1);
    cr_expect_eq(span.result.reason, step ? RM_STOP_STEP : RM_STOP_STRING);
    cr_expect_eq(span.result.n, tokens + 1 - earlier, "\"%s\" in \"%s\"", piece, text);
    cr_expect_eq(span.result.n_stop_bytes, at);
    cr_expect(!memcmp(span.result.tokens, free_span.result.tokens + earlier,
                      sizeof(int32_t) * (size_t)span.result.n));
    single_close(&s);
}

Test(eval, stop_strings)
{
    for (int from = 0; from < 40; from += 3)
        for (int length = 1; length <= 5; length += 2)
            for (int earlier = 0; earlier < 30; earlier += 9)
                check_stop_string(from, length, (from + length) % 2, earlier);
}

/* A match wholly in the past does not count again; one that begins there does. */
Test(eval, self_overlapping_stop_string)
{
    single s = single_open(16, 16, (rm_run_options){ 0 });
    rm_path *path = new_path(&s);
    rm_request score = { .want = RM_WANT_SCORE, .path = path, .n_tokens = 4 };
    const int32_t same[] = { 6, 6, 6, 6 };
    score.tokens = same;
    serve(&s, &score, 1);
    size_t n;
    char two[3] = { token_text(&s, 6, &n)[0], token_text(&s, 6, &n)[0], '\0' };
    const char *strings[] = { two };
    rm_stop stop = { .tokens = &no_token, .strings = strings, .n_strings = 1 };
    /* A penalty far below 1 makes the tokens of the history certain: the draw repeats one. */
    rm_sampling repeat = { false, 1.0, 0, 1.0, 0.0, 1.0, 1e-20 };
    rm_request span = {
        .want = RM_WANT_SPAN, .path = path, .sampling = &repeat, .stop = &stop, .max_new_tokens = 30
    };
    serve(&s, &span, 1);
    const int32_t *tokens = rm_path_tokens(path);
    int length = rm_path_length(path), at = 0;
    for (int i = 9; i < length && !at; i++)
        at = tokens[i] == 6 && tokens[i - 1] == 6 ? i : 0;
    if (at) {
        cr_expect_eq(at, length - 1);
        cr_expect_eq(span.result.reason, RM_STOP_STRING);
        cr_expect_eq(span.result.n_stop_bytes, at - 1 - 5);
    } else {
        cr_expect_eq(span.result.reason, RM_STOP_LENGTH);
    }
    single_close(&s);
}

Test(eval, stop_tokens_length_and_context)
{
    single s = single_open(16, 64, (rm_run_options){ .seed = 2 });
    rm_path *root = new_path(&s);
    rm_request look = { .want = RM_WANT_NOTHING, .path = root };
    serve(&s, &look, 1);
    rm_request whole = { .want = RM_WANT_SPAN,
                         .path = new_fork(root, 0),
                         .sampling = &plain,
                         .stop = &no_stop,
                         .max_new_tokens = 20 };
    serve(&s, &whole, 1);
    cr_expect_eq(whole.result.reason, RM_STOP_LENGTH);
    rm_stop stop = { .tokens = &whole.result.tokens[12], .n_tokens = 1 };
    int at = 0;
    while (whole.result.tokens[at] != whole.result.tokens[12])
        at++;
    rm_request cut = { .want = RM_WANT_SPAN,
                       .path = new_fork(root, 0),
                       .sampling = &plain,
                       .stop = &stop,
                       .max_new_tokens = 20 };
    serve(&s, &cut, 1);
    cr_expect_eq(cut.result.reason, RM_STOP_TOKEN);
    cr_expect_eq(cut.result.n, at + 1, "the stop token is the last one");

    int n_ctx = rm_model_describe(s.model)->n_ctx;
    int32_t *filler = calloc((size_t)n_ctx, sizeof *filler);
    rm_path *full = new_fork(root, 1);
    cr_assert_eq(rm_path_append(full, filler, n_ctx - 8, NULL), RM_OK);
    rm_request rest = { .want = RM_WANT_SPAN,
                        .path = full,
                        .sampling = &plain,
                        .stop = &no_stop,
                        .max_new_tokens = 20 };
    serve(&s, &rest, 1);
    cr_expect_eq(rest.result.reason, RM_STOP_CONTEXT);
    cr_expect_eq(rest.result.n, 3);
    serve(&s, &rest, 1);
    cr_expect_eq(rest.result.reason, RM_STOP_CONTEXT);
    cr_expect_eq(rest.result.n, 0);
    free(filler);
    single_close(&s);
}

/* ---- members ------------------------------------------------------------------------------- */

Test(eval, mixtures_and_products_of_paths)
{
    for (int combine = 0; combine < 2; combine++) {
        single s = single_open(16, 16, (rm_run_options){ .seed = 2 });
        const int32_t other_prompt[] = { 1, 2 };
        rm_path *a = new_path(&s), *b;
        cr_assert_eq(rm_path_new(s.run, s.model, other_prompt, 2, &b, NULL), RM_OK);
        rm_member members[2] = { { a, 1.0 }, { b, 3.0 } };
        rm_request r = { .want = RM_WANT_ALL,
                         .members = members,
                         .n_members = 2,
                         .combine = combine ? RM_COMBINE_PRODUCT : RM_COMBINE_MIXTURE };
        serve(&s, &r, 1);
        uint64_t ha = history_of(prompt, 5), hb = history_of(other_prompt, 2);
        double z = 0.0;
        for (int v = 0; v < 32; v++)
            z += exp(true_lp(ha, v) + 3.0 * true_lp(hb, v));
        for (int v = 0; v < 32; v++) {
            double expected = combine
                                  ? true_lp(ha, v) + 3.0 * true_lp(hb, v) - log(z)
                                  : log(0.25 * exp(true_lp(ha, v)) + 0.75 * exp(true_lp(hb, v)));
            cr_expect_float_eq(r.result.lp[v], expected, 1e-11);
        }
        /* A span goes to both; a score reads along both. */
        r.want = RM_WANT_SPAN;
        r.sampling = &plain;
        r.stop = &no_stop;
        r.max_new_tokens = 25;
        serve(&s, &r, 1);
        cr_expect_eq(rm_path_length(a), 30);
        cr_expect_eq(rm_path_length(b), 27);
        cr_expect(!memcmp(rm_path_tokens(a) + 5, rm_path_tokens(b) + 2, 25 * sizeof(int32_t)));
        rm_path *c, *d;
        cr_assert_eq(rm_path_new(s.run, s.model, prompt, 5, &c, NULL), RM_OK);
        cr_assert_eq(rm_path_new(s.run, s.model, other_prompt, 2, &d, NULL), RM_OK);
        rm_member again[2] = { { c, 1.0 }, { d, 3.0 } };
        rm_request score = { .want = RM_WANT_SCORE,
                             .members = again,
                             .n_members = 2,
                             .combine = r.combine,
                             .tokens = r.result.tokens,
                             .n_tokens = 25 };
        serve(&s, &score, 1);
        for (int i = 0; i < 25; i++)
            cr_expect_eq(score.result.lp[i], r.result.lp[i], "place %d", i);
        single_close(&s);
    }
}

/* ---- refusals and undoing ------------------------------------------------------------------ */

Test(eval, refusals_name_what_is_wrong)
{
    single s = single_open(16, 16, (rm_run_options){ 0 });
    rm_path *path = new_path(&s), *other = new_fork(path, 0);
    rm_sampling cold = RM_SAMPLING_DEFAULT;
    cold.temperature = 0.0;
    const int32_t bad = 77;
    const char *empty[] = { "" };
    const rm_stop empty_stop = { .strings = empty, .n_strings = 1 };
    const rm_member members[] = { { path, 1.0 }, { other, -1.0 } };
    const struct {
        rm_request request;
        const char *says;
    } table[] = {
        { { .want = RM_WANT_SPAN, .path = path, .max_new_tokens = 3 }, "without sampling" },
        { { .want = RM_WANT_SPAN, .path = path, .sampling = &plain }, "max_new_tokens is 0" },
        { { .want = RM_WANT_SPAN, .path = path, .sampling = &cold, .max_new_tokens = 1 },
          "temperature is 0; it must be greater than 0" },
        { { .want = RM_WANT_SPAN,
            .path = path,
            .sampling = &plain,
            .max_new_tokens = 1,
            .stop = &empty_stop },
          "stop string 0 is empty" },
        { { .want = RM_WANT_TOP, .path = path }, "k is 0" },
        { { .want = RM_WANT_SCORE, .path = path }, "gives no tokens" },
        { { .want = RM_WANT_LOGPROBS, .path = path, .tokens = &bad, .n_tokens = 1 },
          "token 0 of request 1 is 77, but the vocabulary is 0 to 31" },
        { { .want = RM_WANT_ALL }, "names 0 paths" },
        { { .want = RM_WANT_ALL, .members = members, .n_members = 2 }, "weight of path 1 is -1" },
        { { .want = (rm_want)99, .path = path }, "wants 99" },
    };
    for (size_t t = 0; t < sizeof table / sizeof *table; t++) {
        rm_request r[2] = { { .want = RM_WANT_NOTHING, .path = other }, table[t].request };
        rm_error error = { "" };
        if (t == 8)
            r[0].path = new_fork(path, 5);
        cr_expect_eq(rm_eval(s.run, r, 2, &error), RM_E_ARGUMENT, "case %zu", t);
        cr_expect(strstr(error.text, table[t].says), "case %zu: %s", t, error.text);
    }
    rm_request twice[2] = { { .want = RM_WANT_NOTHING, .path = path },
                            { .want = RM_WANT_NOTHING, .path = path } };
    rm_error error = { "" };
    cr_expect_eq(rm_eval(s.run, twice, 2, &error), RM_E_ARGUMENT);
    cr_expect(strstr(error.text, "already"), "%s", error.text);
    cr_expect_eq(fake.rows, 0, "nothing was evaluated for any of them");
    cr_expect_eq(rm_run_cost(s.run).evaluated_tokens, 0);
    single_close(&s);
}

/* A device that fails in the middle of a span: every path is as before, and the same request
 * succeeds afterwards with the same bits and no more positions held than without the failure. */
Test(eval, failure_is_undone)
{
    uint64_t peak[2] = { 0 };
    for (int at = 0; at <= 12; at++) /* at 0 nothing fails */
        for (int evaluated = 0; evaluated < 2; evaluated++) {
            single s = single_open(16, 16, (rm_run_options){ .seed = 2 });
            rm_path *root = new_path(&s);
            rm_request look = { .want = RM_WANT_NOTHING, .path = root };
            if (evaluated)
                serve(&s, &look, 1);
            rm_path *a = new_fork(root, 0), *b = new_fork(root, 1), *c = new_fork(root, 0);
            int32_t given[14];
            for (int i = 0; i < 14; i++)
                given[i] = i + 3;
            rm_request r[2] = {
                { .want = RM_WANT_SPAN,
                  .path = a,
                  .sampling = &plain,
                  .stop = &no_stop,
                  .max_new_tokens = 30 },
                { .want = RM_WANT_SCORE, .path = b, .tokens = given, .n_tokens = 14 },
            };
            rm_error error = { "" };
            fake.fail_flush = at;
            if (at)
                cr_assert_eq(rm_eval(s.run, r, 2, &error), RM_E_IO);
            cr_expect_eq(rm_path_length(a), 5);
            cr_expect_eq(rm_path_length(b), 5);
            cr_expect_eq(r[0].result.n, 0);
            serve(&s, r, 2);
            rm_request same = r[0];
            same.path = c;
            serve(&s, &same, 1);
            cr_expect(!memcmp(r[0].result.tokens, same.result.tokens, 30 * sizeof(int32_t)));
            uint64_t along = history_of(prompt, 5);
            for (int i = 0; i < 14; i++) {
                cr_expect_float_eq(r[1].result.lp[i], true_lp(along, given[i]), 1e-12);
                along = fake_history(along, given[i]);
            }
            if (!at)
                peak[evaluated] = rm_run_cost(s.run).kv_peak_positions;
            cr_expect_eq(rm_run_cost(s.run).kv_peak_positions, peak[evaluated]);
            single_close(&s);
        }
}

/* ---- the token loop ------------------------------------------------------------------------ */

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ALLOCATOR_IS_TAKEN /* clang's way to say __SANITIZE_ADDRESS__ */
#endif
#endif
#if !defined(__SANITIZE_ADDRESS__) && !defined(ALLOCATOR_IS_TAKEN) && defined(__GLIBC__)
static unsigned long allocations, fail_at; /* fail_at: the number of the one that fails, or 0 */
static bool refused(void)
{
    return ++allocations == fail_at;
}
void *__libc_malloc(size_t);
void *__libc_calloc(size_t, size_t);
void *__libc_realloc(void *, size_t);
void *malloc(size_t n)
{
    return refused() ? NULL : __libc_malloc(n);
}
void *calloc(size_t n, size_t size)
{
    return refused() ? NULL : __libc_calloc(n, size);
}
void *realloc(void *p, size_t n)
{
    return refused() ? NULL : __libc_realloc(p, n);
}

static unsigned long at_flush[1000];
static int n_flushes;
static rm_status (*real_flush)(rm_backend *, rm_error *);
static rm_status counting_flush(rm_backend *backend, rm_error *err)
{
    rm_status status = real_flush(backend, err);
    if (n_flushes < 1000)
        at_flush[n_flushes++] = allocations;
    return status;
}

/* 16 paths, 200 tokens, on the processor's own backend, with stop strings to look for: between
 * the first flush of a span and its last nobody allocates. */
Test(eval, the_token_loop_allocates_nothing)
{
    rm_ops counting = rm_cpu_ops;
    real_flush = counting.flush;
    counting.flush = counting_flush;
    rm_engine *engine;
    rm_model *model;
    rm_run *run;
    rm_error error = { "" };
    const char *strings[] = { "never", "ever" };
    const rm_stop stop = { .tokens = &no_token, .strings = strings, .n_strings = 2 };
    cr_assert_eq(rm_engine_open_on(&counting, NULL, &engine, &error), RM_OK, "%s", error.text);
    cr_assert_eq(rm_model_open(engine, RM_MODELS_DIR "/thimble-s.gguf", NULL, &model, &error),
                 RM_OK, "%s", error.text);
    for (int warm = 0; warm < 2; warm++) { /* the first run grows the pool of pages */
        rm_request r[16];
        rm_path *root;
        cr_assert_eq(rm_run_open(engine, NULL, &run, &error), RM_OK);
        cr_assert_eq(rm_path_new(run, model, prompt, 5, &root, &error), RM_OK);
        for (uint32_t i = 0; i < 16; i++)
            r[i] = (rm_request){ .want = RM_WANT_SPAN,
                                 .path = new_fork(root, i),
                                 .sampling = &plain,
                                 .stop = &stop,
                                 .max_new_tokens = 200 };
        n_flushes = 0;
        cr_assert_eq(rm_eval(run, r, 16, &error), RM_OK, "%s", error.text);
        cr_expect_eq(r[3].result.n, 200);
        rm_run_close(run);
    }
    cr_assert_eq(n_flushes, 200);
    cr_expect(at_flush[0] > 0);
    for (int i = 1; i < n_flushes; i++)
        cr_assert_eq(at_flush[i], at_flush[i - 1], "%lu allocations for token %d",
                     at_flush[i] - at_flush[i - 1], i);
    rm_model_close(model);
    rm_engine_close(engine);
}

/* A little of everything. Stops at the first failure; a refused rm_eval must not move a path. */
static rm_status little_of_everything(rm_engine *engine, rm_model *model, rm_run **run)
{
    rm_path *root = NULL, *fork[3];
    static const char *const strings[] = { "12", "3" };
    static const rm_stop stop = { .strings = strings, .n_strings = 2 };
    const int32_t given[] = { 6, 7, 8 };
    rm_status status = rm_run_open(engine, NULL, run, NULL);
    if (!status)
        status = rm_path_new(*run, model, prompt, 5, &root, NULL);
    rm_request look = { .want = RM_WANT_NOTHING, .path = root };
    if (!status)
        status = rm_eval(*run, &look, 1, NULL);
    for (uint32_t i = 0; i < 3 && !status; i++)
        status = rm_path_fork(root, i, &fork[i], NULL);
    if (status)
        return status;
    rm_request r[3] = {
        { .want = RM_WANT_SPAN,
          .path = fork[0],
          .sampling = &plain,
          .stop = &stop,
          .max_new_tokens = 70 },
        { .want = RM_WANT_TOP, .path = fork[1], .k = 5 },
        { .want = RM_WANT_SCORE, .path = fork[2], .tokens = given, .n_tokens = 3 },
    };
    status = rm_eval(*run, r, 3, NULL);
    if (status)
        for (int i = 0; i < 3; i++)
            cr_assert_eq(rm_path_length(fork[i]), 5);
    status = status ? status : rm_path_append(fork[1], given, 3, NULL);
    look.path = fork[1];
    return status ? status : rm_eval(*run, &look, 1, NULL);
}

/* Every allocation of that fails once: the answer is RM_E_MEMORY, and nothing is left behind. */
Test(eval, every_allocation_may_fail)
{
    unsigned long n = 0;
    for (unsigned long k = 1;; k++) {
        single s = single_open(16, 16, (rm_run_options){ 0 });
        rm_run *run = NULL;
        allocations = 0;
        fail_at = k;
        rm_status status = little_of_everything(s.engine, s.model, &run);
        bool failed = allocations >= fail_at;
        fail_at = 0;
        cr_expect_eq(status, failed ? RM_E_MEMORY : RM_OK, "allocation %lu", k);
        rm_run_close(run);
        single_close(&s);
        if (!failed)
            break;
        n = k;
    }
    cr_expect(n > 15, "only %lu allocations were tried", n);
}
#endif
