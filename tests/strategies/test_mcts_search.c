/* test_mcts_search.c - the search alone, on small games with known values. */
#include "strategies/dirichlet.h"
#include "strategies/mcts_search.h"

#include <criterion/criterion.h>
#include <math.h>

enum { CAPACITY = 4096 };
static mcts_node nodes[CAPACITY];

static const mcts_rules puct = { .c_init = 1.25, .c_base = 19652, .q_init = -1 };
static const mcts_rules uct = { .uct = true, .w = 1.4142135623730951, .q_init = -1 };

/* A root worth 0.5 over A (prior .7, always worth .2) and B (prior .3, always worth .9), by hand:
 *
 * PUCT, c = 1.25 + log((S + 19653) / 19652), about 1.2501:
 *   S = 0  the larger prior                                                           A
 *   S = 1  A .2 + c .7 sqrt1 / 2 = .638   B (.5 + .2) / 2 + c .3 sqrt1 = .725         B
 *   S = 2  A .2 + c .7 sqrt2 / 2 = .819   B .9 + c .3 sqrt2 / 2 = 1.165               B
 *   S = 3  A .2 + c .7 sqrt3 / 2 = .958   B .9 + c .3 sqrt3 / 3 = 1.117               B
 *   S = 4  A .2 + c .7 sqrt4 / 2 = 1.075  B .9 + c .3 sqrt4 / 4 = 1.088               B
 *   S = 5  A .2 + c .7 sqrt5 / 2 = 1.179  B .9 + c .3 sqrt5 / 5 = 1.068               A
 *   S = 6  A .2 + c .7 sqrt6 / 3 = .915   B .9 + c .3 sqrt6 / 5 = 1.084               B
 *
 * UCT, w = sqrt 2, N(parent) counts the root's own visit:
 *   unvisited first, in order                                                         A, B
 *   N = 3  both N = 1: the larger Q                                                   B
 *   N = 4  A .2 + w sqrt(ln 4) = 1.865       B .9 + w sqrt(ln 4 / 2) = 2.077          B
 *   N = 5  A .2 + w sqrt(ln 5) = 1.994       B .9 + w sqrt(ln 5 / 3) = 1.936          A
 *   N = 6  A .2 + w sqrt(ln 6 / 2) = 1.539   B .9 + w sqrt(ln 6 / 3) = 1.993          B
 *   N = 7  A .2 + w sqrt(ln 7 / 2) = 1.595   B .9 + w sqrt(ln 7 / 4) = 1.886          B */
static const struct {
    const mcts_rules *rules;
    const char *descents;
} bandits[] = { { &puct, "ABBBBAB" }, { &uct, "ABBBABB" } };

Test(mcts_search, bandit_by_hand)
{
    const double prior[] = { 0.7, 0.3 }, worth[] = { 0.5, 0.2, 0.9 };
    for (size_t i = 0; i < sizeof bandits / sizeof *bandits; i++) {
        mcts_tree tree;
        mcts_start(&tree, nodes, CAPACITY);
        cr_assert_eq(mcts_select(&tree, bandits[i].rules), 0);
        cr_assert(mcts_expand(&tree, 0, prior, 2));
        mcts_backup(&tree, 0, worth[0]);
        for (const char *expected = bandits[i].descents; *expected; expected++) {
            int leaf = mcts_select(&tree, bandits[i].rules);
            cr_expect_eq(leaf, *expected - 'A' + 1, "rule %zu, descent %td", i,
                         expected - bandits[i].descents);
            mcts_backup(&tree, leaf, worth[leaf]);
        }
        cr_expect_eq(tree.node[1].visits, 2);
        cr_expect_eq(tree.node[2].visits, 5);
        cr_expect_eq(tree.node[0].visits, 8);
        cr_expect(fabs(tree.node[0].value - (0.5 + 2 * 0.2 + 5 * 0.9)) < 1e-14);
        cr_expect_eq(mcts_most_visited(&tree, 0), 2);
    }
}

/* The value that selection compares, against the formula: Q .9, P .3, N 4 of S = 6. */
Test(mcts_search, puct_value)
{
    mcts_tree tree;
    const double prior[] = { 0.7, 0.3 };
    mcts_start(&tree, nodes, CAPACITY);
    mcts_expand(&tree, 0, prior, 2);
    tree.node[1].visits = 2;
    tree.node[2].visits = 4;
    tree.node[2].value = 3.6;
    double c = log((6 + 19652 + 1) / 19652.0) + 1.25;
    cr_expect(fabs(mcts_child_value(&tree, &puct, 2) - (0.9 + c * 0.3 * sqrt(6) / 5)) < 1e-14);
}

Test(mcts_search, an_unvisited_child_has_q_init)
{
    static const struct {
        double q_init, expected;
    } table[] = { { -1, 0.35 }, { 0, 0 }, { 0.5, 0.5 }, { 1, 1 } };
    const double prior[] = { 0.7, 0.3 };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        mcts_tree tree;
        mcts_rules rules = puct;
        rules.q_init = table[i].q_init;
        mcts_start(&tree, nodes, CAPACITY);
        mcts_expand(&tree, 0, prior, 2);
        tree.node[0].visits = 2;
        tree.node[0].value = 0.7;
        tree.node[1].visits = 1;
        double explore = (log((1 + 19652 + 1) / 19652.0) + 1.25) * 0.3;
        cr_expect(fabs(mcts_child_value(&tree, &rules, 2) - (table[i].expected + explore)) < 1e-14);
    }
}

/* Two children of prior .5 under a root worth .5 visited once. The first descent takes the smaller
 * index. It waits, so it counts as a loss: for the second one the root's Q is .5 / 2, A is
 * 0 + c .5 / 2 = .313, B is .25 + c .5 = .875. Without a virtual loss the second would take A
 * again. */
Test(mcts_search, virtual_loss_by_hand)
{
    const double prior[] = { 0.5, 0.5 };
    mcts_tree tree;
    mcts_start(&tree, nodes, CAPACITY);
    mcts_select(&tree, &puct);
    mcts_expand(&tree, 0, prior, 2);
    mcts_backup(&tree, 0, 0.5);
    cr_expect_eq(mcts_select(&tree, &puct), 1);
    cr_expect(fabs(mcts_q(&tree, 0) - 0.25) < 1e-15);
    cr_expect_eq(mcts_q(&tree, 1), 0);
    cr_expect_eq(mcts_select(&tree, &puct), 2);
    mcts_cancel(&tree, 2);
    cr_expect_eq(mcts_select(&tree, &puct), 2);
    mcts_backup(&tree, 1, 0.75);
    mcts_backup(&tree, 2, 0.25);
    for (int i = 0; i < 3; i++)
        cr_expect_eq(tree.node[i].pending, 0);
    cr_expect_eq(tree.node[0].visits, 3);
    cr_expect_eq(tree.node[0].value, 1.5);
    int leaves[] = { 0, 1, 2 };
    double values[] = { 0.5, 0, 1 };
    mcts_revalue(&tree, leaves, values, 3);
    cr_expect_eq(tree.node[0].value, 1.5);
    cr_expect_eq(tree.node[1].value, 0);
    cr_expect_eq(tree.node[2].value, 1);
}

Test(mcts_search, most_visited_breaks_ties_by_value_then_index)
{
    static const struct {
        double visits[3], value[3];
        int expected;
    } table[] = {
        { { 0, 0, 0 }, { 0, 0, 0 }, -1 },
        { { 1, 2, 1 }, { 1, 0, 1 }, 2 },
        { { 2, 2, 1 }, { 0.5, 1, 1 }, 2 },
        { { 2, 2, 2 }, { 1, 1, 1 }, 1 },
    };
    const double prior[] = { 0.2, 0.3, 0.5 };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        mcts_tree tree;
        mcts_start(&tree, nodes, CAPACITY);
        mcts_expand(&tree, 0, prior, 3);
        for (int k = 0; k < 3; k++) {
            tree.node[1 + k].visits = table[i].visits[k];
            tree.node[1 + k].value = table[i].value[k];
        }
        cr_expect_eq(mcts_most_visited(&tree, 0), table[i].expected, "row %zu", i);
    }
}

/* ---- a game of depth 5 -----------------------------------------------------------------------
 *
 * Three moves a position, one player, leaf i of 243 is worth h(i). The best leaf is known, since
 * all are. A position met for the first time is worth the mean of the leaves below it (what a
 * rollout gives on average). */
enum { DEPTH = 5, MOVES = 3, LEAVES = 243 };
static int first_leaf[CAPACITY], n_leaves[CAPACITY];

static double leaf_worth(int leaf)
{
    return leaf == 137 ? 1.0 : (double)((uint32_t)leaf * 2654435761u >> 24 & 63) / 100.0;
}

static double mean_worth(int node)
{
    double sum = 0;
    for (int i = 0; i < n_leaves[node]; i++)
        sum += leaf_worth(first_leaf[node] + i);
    return sum / n_leaves[node];
}

static void play(mcts_tree *tree, const mcts_rules *rules, int simulations, int parallel)
{
    const double prior[MOVES] = { 1.0 / 3, 1.0 / 3, 1.0 / 3 };
    mcts_start(tree, nodes, CAPACITY);
    first_leaf[0] = 0;
    n_leaves[0] = LEAVES;
    for (int done = 0; done < simulations;) {
        int leaf[8], n = 0;
        while (n < parallel && done + n < simulations)
            leaf[n++] = mcts_select(tree, rules);
        for (int i = 0; i < n; i++, done++) {
            int node = leaf[i];
            if (n_leaves[node] > 1 && tree->node[node].n_children == 0) {
                cr_assert(mcts_expand(tree, node, prior, MOVES));
                for (int k = 0; k < MOVES; k++) {
                    int child = tree->node[node].first_child + k;
                    n_leaves[child] = n_leaves[node] / MOVES;
                    first_leaf[child] = first_leaf[node] + k * n_leaves[child];
                }
            }
            mcts_backup(tree, node, mean_worth(node));
        }
    }
}

/* The one good leaf hides among middling ones: PUCT needs more exploration than its default. */
static const mcts_rules wide = { .c_init = 4, .c_base = 19652, .q_init = -1 };

static const struct {
    const mcts_rules *rules;
    int parallel;
} games[] = { { &wide, 1 }, { &uct, 1 }, { &wide, 4 }, { &uct, 4 } };

Test(mcts_search, finds_the_best_leaf_of_a_known_game)
{
    for (size_t g = 0; g < sizeof games / sizeof *games; g++) {
        mcts_tree tree;
        play(&tree, games[g].rules, 3000, games[g].parallel);
        int node = 0;
        for (int child; (child = mcts_most_visited(&tree, node)) >= 0;)
            node = child;
        cr_expect_eq(n_leaves[node], 1);
        cr_expect_eq(first_leaf[node], 137, "game %zu ended at leaf %d", g, first_leaf[node]);
        /* In the limit the root is worth the best leaf, 1; exploration keeps it below, but above
         * what every other leaf is worth, at most .63. */
        double q = mcts_q(&tree, 0);
        cr_expect(q > 0.63 && q < 1, "game %zu: %g", g, q);
    }
}

Test(mcts_search, invariants_of_the_tree)
{
    for (size_t g = 0; g < sizeof games / sizeof *games; g++) {
        mcts_tree tree;
        play(&tree, games[g].rules, 500, games[g].parallel);
        cr_expect_eq(tree.node[0].visits, 500);
        for (int i = 0; i < tree.n; i++) {
            const mcts_node *node = &tree.node[i];
            double below = 0, worth = 0;
            for (int k = 0; k < node->n_children; k++) {
                const mcts_node *child = &tree.node[node->first_child + k];
                cr_assert_eq(child->parent, i);
                below += child->visits;
                worth += child->value;
            }
            cr_expect_eq(node->pending, 0);
            double own = node->visits - below; /* simulations that ended here */
            cr_expect(own >= 0);
            cr_expect(fabs(node->value - worth - own * mean_worth(i)) < 1e-9 || n_leaves[i] == 0);
        }
    }
}

Test(mcts_search, a_full_tree_refuses)
{
    const double prior[] = { 1, 1, 1 };
    mcts_tree tree;
    mcts_start(&tree, nodes, 3);
    cr_expect_not(mcts_expand(&tree, 0, prior, 3));
    cr_expect_eq(tree.node[0].n_children, 0);
    cr_expect(mcts_expand(&tree, 0, prior, 2));
}

/* ---- priors and noise ------------------------------------------------------------------------ */

Test(mcts_search, priors)
{
    const double lp[] = { -1000, -1000 + log(3), -2000 };
    double prior[3];
    mcts_softmax(lp, 3, prior);
    cr_expect(fabs(prior[0] - 0.25) < 1e-12 && fabs(prior[1] - 0.75) < 1e-12 && prior[2] == 0);

    mcts_tree tree;
    const double eta[] = { 0.5, 0.25, 0.25 };
    mcts_start(&tree, nodes, CAPACITY);
    mcts_expand(&tree, 0, prior, 3);
    mcts_mix_noise(&tree, 0, eta, 0.25);
    cr_expect(fabs(tree.node[1].prior - 0.3125) < 1e-12);
    cr_expect(fabs(tree.node[2].prior - 0.625) < 1e-12);
    cr_expect(fabs(tree.node[3].prior - 0.0625) < 1e-12);
}

static uint64_t bits_of(const void *seed, uint32_t index, uint32_t draw)
{
    return rm_random(*(const uint64_t *)seed, 17, index, draw);
}

/* A component of Dir(alpha, .., alpha) has mean 1/n and variance (1/n)(1 - 1/n) / (n alpha + 1);
 * its log has mean psi(alpha) - psi(n alpha), which the small alpha tests in the far tail. Digamma
 * values from Abramowitz & Stegun 6.3: psi(1) = -0.5772156649, psi(4) = 1.2561176684,
 * psi(0.25) = -4.2274535334. */
Test(dirichlet, moments)
{
    static const struct {
        double alpha, log_mean, log_sd;
    } table[] = {
        { 1.0, -0.5772156649 - 1.2561176684, 1.2 },  /* variance psi'(1) - psi'(4) = 1.36 */
        { 0.25, -4.2274535334 + 0.5772156649, 4.0 }, /* psi'(.25) - psi'(1) = 15.6 */
        { 3.0, NAN, NAN },
    };
    enum { N = 4, DRAWS = 20000 };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        double mean = 0, square = 0, log_mean = 0, alpha = table[i].alpha;
        for (uint64_t seed = 1; seed <= DRAWS; seed++) {
            double eta[N], sum = 0;
            dirichlet_draw_from(bits_of, &seed, alpha, eta, N);
            for (int k = 0; k < N; k++) {
                cr_assert(eta[k] >= 0 && eta[k] <= 1);
                sum += eta[k];
            }
            cr_assert(fabs(sum - 1) < 1e-14);
            mean += eta[1] / DRAWS;
            square += eta[1] * eta[1] / DRAWS;
            log_mean += log(eta[1] > 0 ? eta[1] : 1e-300) / DRAWS;
        }
        double variance = 0.25 * 0.75 / (N * alpha + 1), sd = sqrt(variance / DRAWS);
        cr_expect(fabs(mean - 0.25) < 5 * sd, "alpha %g: mean %g", alpha, mean);
        /* the square is at most the component: its variance is below E eta^2 */
        cr_expect(fabs(square - variance - 0.0625) < 5 * sqrt((variance + 0.0625) / DRAWS),
                  "alpha %g: second moment %g", alpha, square);
        if (!isnan(table[i].log_mean))
            cr_expect(fabs(log_mean - table[i].log_mean) < 5 * table[i].log_sd / sqrt(DRAWS),
                      "alpha %g: mean log %g", alpha, log_mean);
    }
}
