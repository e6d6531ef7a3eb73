/* test_mcts.c - tree search with a real model: the recorded tree, its answer, and what budgets
 * leave of it. The search itself is tested in test_mcts_search.c. */
#include "tests/strategies/fixture.h"

static fixture thimble;
static char prompt[] = "7*8+(31-19)*4-5*6=<think>";
static rm_problem sum;

static void open_thimble(void)
{
    static const char *const names[] = { "thimble-s" }; /* weak: its steps and answers differ */
    fixture_open(&thimble, names, 1);
    sum = arithmetic_problem(prompt, "74");
}

static void close_thimble(void)
{
    fixture_close(&thimble);
}

TestSuite(mcts, .init = open_thimble, .fini = close_thimble);

static const char *const variants[] = {
    "simulations=12",
    "simulations=12 parallel=1 score=agreement",
    "simulations=12 selection=uct score=verifier answer=value",
    "simulations=20 evaluate=prefix answer=vote",
    "simulations=9 evaluate=mix mix=0.25 expand=2 answer=vote score=agreement",
    "simulations=16 noise_epsilon=0.25 q_init=0 parallel=8",
    "simulations=1",
    "simulations=5 expand=1",
};

/* Candidates are compared across runs, so equal trees mean equal bits. */
static void expect_same(const rm_outcome *a, const rm_outcome *b)
{
    cr_assert_eq(a->n_nodes, b->n_nodes);
    cr_assert_eq(a->n_candidates, b->n_candidates);
    cr_expect_eq(a->chosen, b->chosen);
    for (int i = 0; i < a->n_nodes; i++) {
        const rm_node *x = &a->nodes[i], *y = &b->nodes[i];
        cr_expect_str_eq(x->text, y->text);
        cr_expect(x->parent == y->parent && x->visits == y->visits && x->lp == y->lp);
        cr_expect((isnan(x->value) && isnan(y->value)) || x->value == y->value);
    }
    for (int i = 0; i < a->n_candidates; i++) {
        cr_expect_str_eq(a->candidates[i].text, b->candidates[i].text);
        cr_expect(a->candidates[i].score == b->candidates[i].score);
    }
}

/* Text of the steps from the root to a node. */
static void path_text(const rm_outcome *out, int node, char *text)
{
    if (out->nodes[node].parent < 0) {
        *text = '\0';
        return;
    }
    path_text(out, out->nodes[node].parent, text);
    strcat(text, out->nodes[node].text);
}

static void expect_sound_tree(const rm_outcome *out, int simulations)
{
    cr_assert(out->n_nodes > 0);
    cr_expect_eq(out->nodes[0].parent, -1);
    cr_expect_eq(out->nodes[0].visits, simulations);
    for (int i = 0; i < out->n_nodes; i++) {
        const rm_node *node = &out->nodes[i];
        double visits = 0, prior = 0;
        int children = 0;
        for (int j = 0; j < out->n_nodes; j++)
            if (out->nodes[j].parent == i) {
                cr_expect(j > i);
                cr_expect_eq(out->nodes[j].depth, node->depth + 1);
                for (int k = j + 1; k < out->n_nodes; k++) /* equal steps are merged */
                    cr_expect(out->nodes[k].parent != i ||
                              strcmp(out->nodes[k].text, out->nodes[j].text) != 0);
                visits += out->nodes[j].visits;
                prior += out->nodes[j].prior;
                children++;
            }
        cr_expect(visits <= node->visits);
        cr_expect(children == 0 || fabs(prior - 1) < 1e-12);
        cr_expect(node->visits == 0 ? isnan(node->value) : node->value >= 0 && node->value <= 1);
        if (node->candidate >= 0) {
            char text[512];
            const rm_candidate *c = &out->candidates[node->candidate];
            path_text(out, i, text);
            cr_expect_eq(children, 0);
            cr_expect_eq(strncmp(text, c->text, strlen(c->text)), 0);
        } else if (i > 0) {
            cr_expect_eq(node->text[strlen(node->text) - 1], ';'); /* steps end there */
        }
    }
}

Test(mcts, the_recorded_tree_is_sound)
{
    for (size_t i = 0; i < sizeof variants / sizeof *variants; i++) {
        rm_trial trial = trial_open(&thimble, &sum, 1, NULL);
        rm_outcome out = outcome_of(&trial, "mcts", variants[i]);
        expect_sound_tree(&out, atoi(strchr(variants[i], '=') + 1));
        cr_assert(out.chosen >= 0 && out.chosen < out.n_candidates, "%s", variants[i]);
        cr_expect_not(out.cut_short);
        for (int c = 0; c < out.n_candidates; c++) {
            const rm_candidate *at = &out.candidates[c];
            cr_expect(at->score >= 0 && at->score <= 1);
            cr_expect(fabs(at->lp - at->lp_sampling) < 1e-6 * at->n_tokens); /* temperature 1 */
            cr_assert_eq(at->n_scores, 1);
            cr_expect_str_eq(at->scores[0].name, "node");
        }
        cr_expect_eq(rm_engine_kv(thimble.engine).pages_in_use, 0, "%s", variants[i]);
        rm_run_close(trial.run);
    }
}

Test(mcts, the_same_bits_every_time)
{
    for (size_t i = 0; i < sizeof variants / sizeof *variants; i++) {
        rm_trial a = trial_open(&thimble, &sum, 1, NULL), b = trial_open(&thimble, &sum, 1, NULL);
        rm_outcome first = outcome_of(&a, "mcts", variants[i]);
        rm_outcome second = outcome_of(&b, "mcts", variants[i]);
        expect_same(&first, &second);
        rm_run_close(a.run);
        rm_run_close(b.run);
    }
}

/* With one leaf at a time and values that do not change, a longer search continues a shorter one:
 * its tree holds the shorter one's nodes. */
Test(mcts, a_longer_search_continues_a_shorter_one)
{
    rm_trial a = trial_open(&thimble, &sum, 1, NULL), b = trial_open(&thimble, &sum, 1, NULL);
    rm_outcome eight = outcome_of(&a, "mcts", "simulations=8 parallel=1");
    rm_outcome sixteen = outcome_of(&b, "mcts", "simulations=16 parallel=1");
    cr_assert(eight.n_nodes <= sixteen.n_nodes);
    for (int i = 0; i < eight.n_nodes; i++) {
        cr_expect_str_eq(eight.nodes[i].text, sixteen.nodes[i].text);
        cr_expect_eq(eight.nodes[i].parent, sixteen.nodes[i].parent);
        cr_expect(eight.nodes[i].visits <= sixteen.nodes[i].visits);
    }
    rm_run_close(a.run);
    rm_run_close(b.run);
}

/* Values recomputed from the outcome alone. */
Test(mcts, scores_of_candidates)
{
    rm_trial trial = trial_open(&thimble, &sum, 1, NULL);
    rm_outcome lp = outcome_of(&trial, "mcts", "simulations=10");
    for (int i = 0; i < lp.n_candidates; i++) {
        const rm_candidate *c = &lp.candidates[i];
        cr_expect(fabs(c->score - exp(c->lp / c->n_tokens)) < 1e-14);
    }
    char easy[] = "12+7*5-9=<think>"; /* some paths must agree */
    rm_problem agreed = arithmetic_problem(easy, "38");
    trial.problem = &agreed;
    rm_outcome agree = outcome_of(&trial, "mcts", "simulations=10 score=agreement");
    trial.problem = &sum;
    double root = 0;
    for (int i = 0; i < agree.n_candidates; i++) {
        const rm_candidate *c = &agree.candidates[i];
        int others = 0;
        for (int j = 0; j < agree.n_candidates; j++)
            others += j != i && c->answer && agree.candidates[j].answer &&
                      strcmp(c->answer, agree.candidates[j].answer) == 0;
        cr_expect_eq(c->score, (double)others / (agree.n_candidates - 1));
        root += c->score;
    }
    cr_expect(root > 0);
    rm_outcome verified = outcome_of(&trial, "mcts", "simulations=10 score=verifier answer=value");
    for (int i = 0; i < verified.n_candidates; i++) {
        const rm_candidate *c = &verified.candidates[i];
        cr_expect_eq(c->score, c->answer && strcmp(c->answer, "74") == 0);
    }
    rm_run_close(trial.run);
}

/* The choice among candidates, recomputed. */
Test(mcts, answers)
{
    rm_trial trial = trial_open(&thimble, &sum, 1, NULL);
    rm_outcome value = outcome_of(&trial, "mcts", "simulations=14 answer=value");
    for (int i = 0; i < value.n_candidates; i++)
        cr_expect(value.candidates[i].score <= value.candidates[value.chosen].score);
    rm_outcome vote = outcome_of(&trial, "mcts", "simulations=14 answer=vote");
    double best = 0, won = 0;
    for (int i = 0; i < vote.n_candidates; i++) {
        double total = 0;
        for (int j = 0; j < vote.n_candidates && vote.candidates[i].answer; j++)
            if (vote.candidates[j].answer &&
                strcmp(vote.candidates[i].answer, vote.candidates[j].answer) == 0)
                total += vote.candidates[j].score;
        best = total > best ? total : best;
        if (i == vote.chosen)
            won = total;
    }
    cr_expect(fabs(won - best) < 1e-12);
    rm_outcome visits = outcome_of(&trial, "mcts", "simulations=14 answer=visits");
    int node = 0;
    for (int next = 0; next >= 0;) { /* down the most visited children */
        next = -1;
        for (int j = 0; j < visits.n_nodes; j++)
            if (visits.nodes[j].parent == node && visits.nodes[j].visits > 0 &&
                (next < 0 || visits.nodes[j].visits > visits.nodes[next].visits ||
                 (visits.nodes[j].visits == visits.nodes[next].visits &&
                  visits.nodes[j].value > visits.nodes[next].value)))
                next = j;
        node = next >= 0 ? next : node;
    }
    char text[512];
    path_text(&visits, node, text);
    const char *chosen = visits.candidates[visits.chosen].text;
    cr_expect_eq(strncmp(text, chosen, strlen(text)), 0, "%s | %s", text, chosen);
    rm_run_close(trial.run);
}

/* ---- budgets -------------------------------------------------------------------------------- */

Test(mcts, a_stop_after_any_simulation_yields_an_answer)
{
    int answered = 0;
    for (uint64_t budget = 1; budget <= 2500; budget = budget * 3 / 2 + 1) {
        rm_run_options options = { .seed = 1, .problem = 7, .max_generated_tokens = budget };
        rm_trial trial = trial_open(&thimble, &sum, 1, &options);
        rm_params *params = params_of("mcts", "simulations=8 max_new_tokens=160");
        rm_outcome out;
        rm_error err;
        rm_status status = rm_strategy_run(&trial, params, &out, &err);
        if (status == RM_OK) {
            cr_expect(out.chosen >= 0 && out.chosen < out.n_candidates);
            cr_expect(out.nodes[0].visits >= 1);
            cr_expect(out.cut_short || out.nodes[0].visits == 8);
            answered++;
        } else {
            cr_expect_eq(status, RM_E_BUDGET);
        }
        cr_expect(rm_run_cost(trial.run).generated_tokens <= budget);
        cr_expect_eq(rm_engine_kv(thimble.engine).pages_in_use, 0);
        rm_params_free(params);
        rm_run_close(trial.run);
    }
    cr_expect(answered > 8);
}

Test(mcts, a_quota_ends_the_search_with_an_answer)
{
    size_t position = rm_model_describe(thimble.model[0])->kv_position_bytes;
    const char *words = "simulations=40 parallel=1 max_new_tokens=100";
    rm_run_options options = { .seed = 1, .problem = 7, .kv_quota_bytes = 560 * position };
    rm_trial trial = trial_open(&thimble, &sum, 1, &options);
    rm_outcome out = outcome_of(&trial, "mcts", words);
    cr_expect(out.cut_short);
    cr_expect(out.nodes[0].visits >= 1 && out.nodes[0].visits < 40);
    cr_expect(out.chosen >= 0);
    rm_run_close(trial.run);

    options.kv_quota_bytes = 100 * position; /* not one simulation */
    trial = trial_open(&thimble, &sum, 1, &options);
    rm_params *params = params_of("mcts", words);
    rm_error err;
    cr_expect_eq(rm_strategy_run(&trial, params, &out, &err), RM_E_LIMIT);
    rm_params_free(params);
    rm_run_close(trial.run);
}

Test(mcts, a_task_without_steps_is_refused)
{
    rm_problem problem = sum;
    problem.n_step_ends = 0;
    rm_trial trial = trial_open(&thimble, &problem, 1, NULL);
    rm_params *params = params_of("mcts", "");
    rm_outcome out;
    rm_error err;
    cr_expect_eq(rm_strategy_run(&trial, params, &out, &err), RM_E_ARGUMENT);
    cr_expect(strstr(err.text, "step"), "%s", err.text);
    rm_params_free(params);
    rm_run_close(trial.run);
}

/* No token is generated below a text that has used up max_new_tokens. */
Test(mcts, texts_stay_within_max_new_tokens)
{
    for (int limit = 1; limit <= 40; limit += 13) {
        char words[80];
        rm_trial trial = trial_open(&thimble, &sum, 1, NULL);
        snprintf(words, sizeof words, "simulations=12 max_new_tokens=%d", limit);
        rm_outcome out = outcome_of(&trial, "mcts", words);
        for (int i = 0; i < out.n_candidates; i++)
            cr_expect(out.candidates[i].n_tokens <= limit);
        expect_sound_tree(&out, 12);
        rm_run_close(trial.run);
    }
}
