/* test_tree.c - sharing: memory of forks, copy on write, identities, and the account that follows
 * from the tree. */
#include "tests/engine/single.h"

#include "engine/tree.h"

#include <math.h>

static const rm_sampling plain = RM_SAMPLING_DEFAULT;
static const int32_t no_token = -1;
static const rm_stop no_stop = { .tokens = &no_token };

static rm_path *prompt_path(single *s, int n)
{
    int32_t tokens[512];
    rm_path *path;
    rm_error error = { "" };
    for (int i = 0; i < n; i++)
        tokens[i] = 4 + (i * 7) % 24;
    cr_assert_eq(rm_path_new(s->run, s->model, tokens, n, &path, &error), RM_OK, "%s", error.text);
    return path;
}

static void evaluate(single *s, rm_path *path)
{
    rm_error error = { "" };
    rm_request request = { .want = RM_WANT_NOTHING, .path = path };
    cr_assert_eq(rm_eval(s->run, &request, 1, &error), RM_OK, "%s", error.text);
}

enum { MOST = 64 };

/* n samples, the i-th of length[i] tokens, from one evaluated prompt. */
static void sample(single *s, rm_path *root, const int *length, int n, rm_path **fork)
{
    rm_request requests[MOST];
    rm_error error = { "" };
    for (int i = 0; i < n; i++) {
        cr_assert_eq(rm_path_fork(root, (uint32_t)i, &fork[i], &error), RM_OK);
        requests[i] = (rm_request){ .want = RM_WANT_SPAN,
                                    .path = fork[i],
                                    .sampling = &plain,
                                    .stop = &no_stop,
                                    .max_new_tokens = length[i] };
    }
    cr_assert_eq(rm_eval(s->run, requests, n, &error), RM_OK, "%s", error.text);
    for (int i = 0; i < n; i++)
        cr_assert_eq(requests[i].result.n, length[i]);
}

/* P + N T positions plus at most two pages a path (one at each end), for any page size. */
Test(tree, memory_of_samples)
{
    for (int page = 16; page <= 64; page *= 2)
        for (int P = 30; P <= 65; P += 5) {
            enum { N = 16, T = 41 };
            single s = single_open(page, 64, (rm_run_options){ 0 });
            int length[N];
            rm_path *fork[N], *root = prompt_path(&s, P);
            for (int i = 0; i < N; i++)
                length[i] = T;
            evaluate(&s, root);
            sample(&s, root, length, N, fork);
            rm_kv_stats kv = rm_engine_kv(s.engine);
            size_t positions = (size_t)(P + N * T);
            cr_expect_leq(kv.pages_peak * (size_t)page, positions + 2 * (N + 1) * (size_t)page);
            rm_cost cost = rm_run_cost(s.run);
            cr_expect_eq(cost.kv_peak_positions, (uint64_t)(P + N * (T - 1)));
            cr_expect_eq(fake.rows, cost.evaluated_tokens, "rows evaluated that were not counted");
            cr_expect_eq(kv.positions_shared, (size_t)(N * P));
            cr_expect_eq(fake.page_copies, P % page ? N : 0, "the root keeps the original");
            single_close(&s);
        }
}

Test(tree, a_fork_copies_nothing_until_it_writes)
{
    single s = single_open(16, 64, (rm_run_options){ 0 });
    rm_path *fork[10], *root = prompt_path(&s, 40);
    rm_error error;
    evaluate(&s, root);
    size_t pages = rm_engine_kv(s.engine).pages_in_use;
    cr_expect_eq(pages, 3);
    for (uint32_t i = 0; i < 10; i++) {
        cr_assert_eq(rm_path_fork(root, i, &fork[i], &error), RM_OK);
        cr_expect_eq(rm_path_length(fork[i]), 40);
        for (uint32_t j = 0; j < i; j++)
            cr_expect_neq(rm_path_identity(fork[i]), rm_path_identity(fork[j]));
        cr_expect_eq(rm_path_identity(fork[i]), rm_mix(rm_path_identity(root), i));
    }
    cr_expect_eq(rm_engine_kv(s.engine).pages_in_use, pages);
    const int32_t more[] = { 5, 6 };
    cr_assert_eq(rm_path_append(fork[3], more, 2, &error), RM_OK);
    cr_expect_eq(rm_engine_kv(s.engine).pages_in_use, pages, "pending tokens hold no page");
    evaluate(&s, fork[3]);
    cr_expect_eq(rm_engine_kv(s.engine).pages_in_use, pages + 1, "the shared last page is copied");
    cr_expect_eq(fake.page_copies, 1);
    /* The last one left writes in place. */
    for (int i = 0; i < 10; i++)
        if (i != 5)
            rm_path_drop(fork[i]);
    rm_path_drop(root);
    cr_expect_eq(rm_engine_kv(s.engine).pages_in_use, pages);
    cr_assert_eq(rm_path_append(fork[5], more, 2, &error), RM_OK);
    evaluate(&s, fork[5]);
    cr_expect_eq(fake.page_copies, 1);
    cr_expect_eq(rm_run_cost(s.run).evaluated_tokens, 44);
    single_close(&s);
}

/* A search that forks at every token and drops what it leaves, as beam search does, keeps neither a node
 * for each token nor a list for each question: what a round costs does not grow with the text. */
Test(tree, forks_that_are_dropped_leave_nothing_behind)
{
    enum { P = 20, STEPS = 300, WIDTH = 3 };
    single s = single_open(16, 64, (rm_run_options){ 0 });
    rm_path *beam[WIDTH], *next[WIDTH];
    rm_request requests[WIDTH] = { 0 };
    rm_error error = { "" };
    const double *at = NULL;
    beam[0] = prompt_path(&s, P);
    for (int step = 0, n = 1; step < STEPS; step++, n = WIDTH) {
        for (int i = 0; i < n; i++)
            requests[i] = (rm_request){ .want = RM_WANT_TOP, .path = beam[i], .k = 5, .brief = true };
        cr_assert_eq(rm_eval(s.run, requests, n, &error), RM_OK, "%s", error.text);
        if (step > 1)
            cr_expect_eq(requests[0].result.lp, at, "step %d: lists pile up", step);
        at = requests[0].result.lp;
        for (int i = 0; i < WIDTH; i++) { /* all of the next come from one of these */
            cr_assert_eq(rm_path_fork(beam[step % n], (uint32_t)i, &next[i], &error), RM_OK);
            cr_assert_eq(rm_path_append(next[i], &requests[step % n].result.tokens[i], 1, &error), RM_OK);
        }
        for (int i = 0; i < n; i++)
            rm_path_drop(beam[i]);
        memcpy(beam, next, sizeof beam);
    }
    evaluate(&s, beam[0]);
    int depth = 0, positions = 0;
    for (const rm_node *node = beam[0]->node; node; node = node->parent, depth++)
        positions += node->length;
    cr_expect_eq(positions, P + STEPS);
    cr_expect(depth <= 3, "%d nodes", depth);
    cr_expect_eq(rm_run_cost(s.run).evaluated_tokens, P + (STEPS - 1) * WIDTH + 1);
    cr_expect_eq(rm_run_cost(s.run).kv_peak_positions, P + STEPS - 2 + WIDTH);
    single_close(&s);
}

/* What rm_cost_of_samples says is what a run of such samples counts. */
Test(tree, cost_of_samples_equals_the_real_thing)
{
    static const int lengths[][6] = {
        { 7, 1, 12, 3, 12, 5 }, { 1, 1, 1, 1, 1, 1 }, { 30, 2, 2, 2, 2, 2 }, { 9, 9, 9, 9, 9, 9 }
    };
    for (size_t t = 0; t < 4; t++)
        for (int n = 1; n <= 6; n++)
            for (int direct = 0; direct <= (n == 1); direct++) {
                single s = single_open(16, 32, (rm_run_options){ 0 });
                rm_path *fork[6], *root = prompt_path(&s, 50);
                if (direct) { /* one sample straight from an unevaluated prompt */
                    rm_error error;
                    rm_request request = { .want = RM_WANT_SPAN,
                                           .path = root,
                                           .sampling = &plain,
                                           .stop = &no_stop,
                                           .max_new_tokens = lengths[t][0] };
                    cr_assert_eq(rm_eval(s.run, &request, 1, &error), RM_OK);
                } else {
                    evaluate(&s, root);
                    sample(&s, root, lengths[t], n, fork);
                }
                rm_cost real = rm_run_cost(s.run);
                rm_cost told = rm_cost_of_samples(s.model, 50, lengths[t], n);
                cr_expect_eq(told.prompt_tokens, real.prompt_tokens);
                cr_expect_eq(told.generated_tokens, real.generated_tokens);
                cr_expect_eq(told.evaluated_tokens, real.evaluated_tokens);
                cr_expect_eq(told.shared_tokens, real.shared_tokens);
                cr_expect_eq(told.rounds, real.rounds);
                cr_expect_eq(told.flops, real.flops);
                cr_expect_eq(told.weight_bytes, real.weight_bytes);
                cr_expect_eq(told.kv_bytes, real.kv_bytes);
                cr_expect_eq(told.kv_peak_positions, real.kv_peak_positions);
                cr_expect(isnan(told.wall_ms) && isnan(told.load) && isnan(told.energy_j));
                single_close(&s);
            }
}

/* Two levels of forks by hand, prompt 10: A and B fork the root (evaluated), draw 4 and 3. A has
 * evaluated 13; C and D fork A, append 1 and draw 2.
 *   rows    10, then A 3 + B 2, then C and D 2 (A's pending one and the appended) + 1 each = 21
 *   shared  B: 10 (A came first); D: 13 (C came first)
 *   rounds  1 + (4 - 1: the first token comes from the tip) + 2 = 6
 *   peak    10 + 3 + 2 + 3 + 3 = 21
 *   cache   10; the spans' rounds 2, 3, 4: (10+1+1) + (10+2+2) + (10+3); then 13 + 2*2, 13 + 2*3
 *           = 10 + 12 + 14 + 13 + 17 + 19 = 85 positions */
Test(tree, account_of_a_small_tree)
{
    for (int rows = 16; rows <= 64; rows += 48) {
        single s = single_open(16, rows, (rm_run_options){ 0 });
        rm_error error;
        static const int lengths[2] = { 4, 3 };
        const int32_t token = 9;
        rm_path *fork[2], *child[2], *root = prompt_path(&s, 10);
        evaluate(&s, root);
        sample(&s, root, lengths, 2, fork);
        rm_request requests[2];
        for (uint32_t i = 0; i < 2; i++) {
            cr_assert_eq(rm_path_fork(fork[0], i, &child[i], &error), RM_OK);
            cr_assert_eq(rm_path_append(child[i], &token, 1, &error), RM_OK);
            requests[i] = (rm_request){ .want = RM_WANT_SPAN,
                                        .path = child[i],
                                        .sampling = &plain,
                                        .stop = &no_stop,
                                        .max_new_tokens = 2 };
        }
        cr_assert_eq(rm_eval(s.run, requests, 2, &error), RM_OK);
        rm_cost cost = rm_run_cost(s.run);
        const rm_model_info *info = rm_model_describe(s.model);
        cr_expect_eq(cost.prompt_tokens, 10);
        cr_expect_eq(cost.generated_tokens, 4 + 3 + 2 + 4);
        cr_expect_eq(cost.evaluated_tokens, 21);
        cr_expect_eq(cost.shared_tokens, 23);
        cr_expect_eq(cost.rounds, 6);
        cr_expect_eq(cost.kv_peak_positions, 21);
        cr_expect_eq(cost.kv_bytes, 85.0 * (double)info->kv_position_bytes);
        /* Distributions: one for both first tokens, 3 + 2 for the rest, 2 + 2. Positions looked
         * at: 55 by the prompt, A 11 + 12 + 13, B 11 + 12, C and D 14 + 15 + 16 each. */
        cr_expect_eq(cost.flops, 21.0 * info->flops_per_token + 10.0 * info->flops_output +
                                     (55 + 36 + 23 + 90.0) * info->flops_per_position);
        cr_expect_eq(fake.rows, 21);
        single_close(&s);
    }
}

Test(tree, bad_tokens_and_full_contexts_are_refused)
{
    single s = single_open(16, 64, (rm_run_options){ 0 });
    rm_error error;
    rm_path *path = prompt_path(&s, 10), *other;
    const int32_t bad[] = { 5, 32 }, negative = -1;
    int n_ctx = rm_model_describe(s.model)->n_ctx;
    int32_t *many = calloc((size_t)n_ctx + 1, sizeof *many);
    cr_expect_eq(rm_path_new(s.run, s.model, bad, 2, &other, &error), RM_E_ARGUMENT);
    cr_expect(strstr(error.text, "token 1 of 2 is 32"), "%s", error.text);
    cr_expect_eq(rm_path_new(s.run, s.model, bad, 0, &other, &error), RM_E_ARGUMENT);
    cr_expect_eq(rm_path_new(s.run, s.model, many, n_ctx + 1, &other, &error), RM_E_LIMIT);
    cr_expect_eq(rm_path_append(path, &negative, 1, &error), RM_E_ARGUMENT);
    cr_expect_eq(rm_path_append(path, many, n_ctx - 9, &error), RM_E_LIMIT);
    cr_expect_eq(rm_path_length(path), 10);
    rm_path_drop(NULL);
    free(many);
    single_close(&s);
}
