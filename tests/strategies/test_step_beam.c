/* test_step_beam.c - the search over steps, checked on its recorded tree: scores from the steps'
 * log-probabilities, what stays at each level, who wins; with values by hand for the aggregates. */
#include "tests/strategies/fixture.h"

static fixture thimble;
static char prompt[] = "12+7*5-9=<think>";
static rm_problem sum;

static void open_thimble(void)
{
    static const char *const names[] = { "thimble-s" };
    fixture_open(&thimble, names, 1);
    sum = arithmetic_problem(prompt, "38");
}

static void close_thimble(void)
{
    fixture_close(&thimble);
}

TestSuite(step_beam, .init = open_thimble, .fini = close_thimble);

static const struct variant {
    const char *words;
    int n, m;
    bool dvts;
} variants[] = {
    { "num_beams=8 beam_width=2", 8, 2, false },
    { "num_beams=8 beam_width=4 aggregate=min temperature=1.5 final=vote", 8, 4, false },
    { "num_beams=6 beam_width=3 aggregate=prod final=weighted_vote", 6, 3, false },
    { "num_beams=6 beam_width=2 aggregate=mean search=dvts", 6, 2, true },
    { "num_beams=4 beam_width=4 aggregate=max", 4, 4, false },
    { "num_beams=1 beam_width=1", 1, 1, false },
    { "num_beams=8 beam_width=2 filter_duplicates=true temperature=0.5", 8, 2, false },
};
enum { VARIANTS = sizeof variants / sizeof *variants };

typedef struct sums {
    double lp, v[64];
    int tokens, n;
} sums;

/* The values v_1 .. v_d on the way to a node. */
static sums steps_to(const rm_outcome *out, int node)
{
    if (node == 0)
        return (sums){ 0 };
    sums s = steps_to(out, out->nodes[node].parent);
    s.lp += out->nodes[node].lp;
    s.tokens += out->nodes[node].n_tokens;
    s.v[s.n++] = exp(s.lp / s.tokens);
    return s;
}

static double aggregated(const sums *s, const char *words)
{
    double min = s->v[0], max = s->v[0], prod = 1, total = 0;
    for (int i = 0; i < s->n; i++) {
        min = fmin(min, s->v[i]);
        max = fmax(max, s->v[i]);
        prod *= s->v[i];
        total += s->v[i];
    }
    return strstr(words, "=min") ? min : strstr(words, "=max") ? max : strstr(words, "=prod") ? prod
           : strstr(words, "=mean") ? total / s->n : s->v[s->n - 1];
}

Test(step_beam, scores_are_those_of_the_steps)
{
    for (int i = 0; i < VARIANTS; i++) {
        rm_trial trial = trial_open(&thimble, &sum, 1, NULL);
        rm_outcome out = outcome_of(&trial, "step-beam", variants[i].words);
        for (int n = 1; n < out.n_nodes; n++) {
            sums s = steps_to(&out, n);
            double expected = aggregated(&s, variants[i].words);
            cr_expect(fabs(out.nodes[n].value - expected) < 1e-12, "%s, node %d: %g, expected %g",
                      variants[i].words, n, out.nodes[n].value, expected);
            int c = out.nodes[n].candidate;
            cr_expect(c < 0 || out.candidates[c].score == out.nodes[n].value);
        }
        cr_expect_eq(rm_engine_kv(thimble.engine).pages_in_use, 0, "%s", variants[i].words);
        rm_run_close(trial.run);
    }
}

static bool has_children(const rm_outcome *out, int node)
{
    for (int i = node + 1; i < out->n_nodes; i++)
        if (out->nodes[i].parent == node)
            return true;
    return false;
}

/* How many of its level (and, in dvts, of its tree) are better. */
static int better_ones(const rm_outcome *out, int node, const int *tree)
{
    int n = 0;
    sums mine = steps_to(out, node);
    for (int i = 1; i < out->n_nodes; i++) {
        if (i == node || out->nodes[i].depth != out->nodes[node].depth ||
            (tree && tree[i] != tree[node]))
            continue;
        double a = out->nodes[i].value, b = out->nodes[node].value, lp = steps_to(out, i).lp;
        n += a > b || (a == b && (lp > mine.lp || (lp == mine.lp && i < node)));
    }
    return n;
}

/* Level by level: the best W stay, finished ones among them take their places for good. */
Test(step_beam, the_best_stay)
{
    for (int v = 0; v < VARIANTS; v++) {
        rm_trial trial = trial_open(&thimble, &sum, 1, NULL);
        rm_outcome out = outcome_of(&trial, "step-beam", variants[v].words);
        int *tree = calloc((size_t)out.n_nodes, sizeof *tree), places = variants[v].n / variants[v].m;
        for (int i = 1; i < out.n_nodes; i++)
            tree[i] = out.nodes[i].parent ? tree[out.nodes[i].parent] : (i - 1) / variants[v].m;
        /* places can stay empty where equal continuations are one candidate */
        for (int depth = 1, left = places, live = 1; live > 0; depth++) {
            int taken = 0, here = 0;
            live = 0;
            for (int i = 1; i < out.n_nodes; i++) {
                if (out.nodes[i].depth != depth)
                    continue;
                here++;
                bool stays = variants[v].dvts ? better_ones(&out, i, tree) == 0
                                              : better_ones(&out, i, NULL) < left;
                bool ended = out.nodes[i].candidate >= 0;
                cr_expect_eq(has_children(&out, i), stays && !ended, "%s, node %d",
                             variants[v].words, i);
                taken += stays && ended;
                live += stays && !ended;
            }
            cr_assert(here > 0, "%s ends at depth %d with %d places", variants[v].words, depth, left);
            cr_expect(here <= (depth == 1 ? variants[v].n : left * variants[v].m));
            left -= taken;
            cr_expect(live == left || strstr(variants[v].words, "filter"));
        }
        free(tree);
        rm_run_close(trial.run);
    }
}

Test(step_beam, finals)
{
    for (int v = 0; v < VARIANTS; v++) {
        rm_trial trial = trial_open(&thimble, &sum, 1, NULL);
        rm_outcome out = outcome_of(&trial, "step-beam", variants[v].words);
        bool votes = strstr(variants[v].words, "vote"), weighted = strstr(variants[v].words, "weighted");
        double best = -1, won = 0;
        for (int i = 0; i < out.n_candidates; i++) {
            double total = votes ? 0 : out.candidates[i].score;
            for (int j = 0; votes && j < out.n_candidates && out.candidates[i].answer; j++)
                if (out.candidates[j].answer &&
                    !strcmp(out.candidates[j].answer, out.candidates[i].answer))
                    total += weighted ? out.candidates[j].score : 1;
            best = fmax(best, total);
            won = i == out.chosen ? total : won;
        }
        cr_expect(fabs(best - won) < 1e-12, "%s", variants[v].words);
        rm_run_close(trial.run);
    }
}

Test(step_beam, the_same_bits_every_time)
{
    for (int v = 0; v < VARIANTS; v++) {
        rm_trial a = trial_open(&thimble, &sum, 1, NULL), b = trial_open(&thimble, &sum, 1, NULL);
        rm_outcome x = outcome_of(&a, "step-beam", variants[v].words);
        rm_outcome y = outcome_of(&b, "step-beam", variants[v].words);
        cr_assert(x.n_nodes == y.n_nodes && x.chosen == y.chosen);
        for (int i = 1; i < x.n_nodes; i++)
            cr_expect(x.nodes[i].lp == y.nodes[i].lp && x.nodes[i].value == y.nodes[i].value);
        rm_run_close(a.run);
        rm_run_close(b.run);
    }
}

/* Equal steps of one prefix are there twice, or once. */
Test(step_beam, duplicates)
{
    for (int filter = 0; filter < 2; filter++) {
        rm_trial trial = trial_open(&thimble, &sum, 1, NULL);
        rm_outcome out = outcome_of(&trial, "step-beam", filter
                                    ? "num_beams=16 beam_width=16 temperature=0.2 filter_duplicates=true"
                                    : "num_beams=16 beam_width=16 temperature=0.2");
        int twice = 0;
        for (int i = 1; i < out.n_nodes; i++)
            for (int j = i + 1; j < out.n_nodes; j++)
                twice += out.nodes[i].parent == out.nodes[j].parent &&
                         !strcmp(out.nodes[i].text, out.nodes[j].text);
        cr_expect(filter ? twice == 0 : twice > 0);
        rm_run_close(trial.run);
    }
}

Test(step_beam, a_budget_leaves_an_answer)
{
    rm_run_options options = { .seed = 1, .problem = 7, .max_generated_tokens = 120 };
    rm_trial trial = trial_open(&thimble, &sum, 1, &options);
    rm_outcome out = outcome_of(&trial, "step-beam", "num_beams=8 beam_width=4");
    cr_expect(out.cut_short && out.chosen >= 0);
    cr_expect(rm_run_cost(trial.run).generated_tokens <= 120);
    rm_run_close(trial.run);
}
