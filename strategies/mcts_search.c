/* mcts_search.c - selection, expansion and backup (mcts_search.h). */
#include "strategies/mcts_search.h"

#include <math.h>

void mcts_start(mcts_tree *tree, mcts_node *nodes, int capacity)
{
    *tree = (mcts_tree){ .node = nodes, .n = 1, .capacity = capacity };
    nodes[0] = (mcts_node){ .parent = -1, .prior = 1 };
}

/* Visits that count in selection: those made and those pending. */
static double seen(const mcts_node *node)
{
    return node->visits + node->pending;
}

double mcts_q(const mcts_tree *tree, int node)
{
    const mcts_node *at = &tree->node[node];
    return seen(at) > 0 ? at->value / seen(at) : 0;
}

static double child_q(const mcts_tree *tree, const mcts_rules *rules, int child)
{
    if (seen(&tree->node[child]) > 0)
        return mcts_q(tree, child);
    return rules->q_init < 0 ? mcts_q(tree, tree->node[child].parent) : rules->q_init;
}

/* S = sum of the children's visits. */
static double visits_below(const mcts_tree *tree, int node)
{
    const mcts_node *at = &tree->node[node];
    double sum = 0;
    for (int i = 0; i < at->n_children; i++)
        sum += seen(&tree->node[at->first_child + i]);
    return sum;
}

static double puct(const mcts_tree *tree, const mcts_rules *rules, int child, double sum)
{
    const mcts_node *at = &tree->node[child];
    if (sum == 0)
        return at->prior;
    double c = rm_math_log((sum + rules->c_base + 1) / rules->c_base) + rules->c_init;
    return child_q(tree, rules, child) + c * at->prior * sqrt(sum) / (1 + seen(at));
}

static double uct(const mcts_tree *tree, const mcts_rules *rules, int child)
{
    const mcts_node *at = &tree->node[child];
    if (seen(at) == 0)
        return INFINITY;
    double ln_n = rm_math_log(seen(&tree->node[at->parent]));
    return child_q(tree, rules, child) + rules->w * sqrt(ln_n / seen(at));
}

double mcts_child_value(const mcts_tree *tree, const mcts_rules *rules, int child)
{
    return rules->uct ? uct(tree, rules, child)
                      : puct(tree, rules, child, visits_below(tree, tree->node[child].parent));
}

static int best_child(const mcts_tree *tree, const mcts_rules *rules, int node)
{
    const mcts_node *at = &tree->node[node];
    double sum = visits_below(tree, node), best = 0;
    int chosen = -1;
    for (int child = at->first_child; child < at->first_child + at->n_children; child++) {
        double value = rules->uct ? uct(tree, rules, child) : puct(tree, rules, child, sum);
        if (chosen < 0 || value > best) {
            chosen = child;
            best = value;
        }
    }
    return chosen;
}

int mcts_select(mcts_tree *tree, const mcts_rules *rules)
{
    int node = 0;
    while (tree->node[node].n_children) {
        int child = best_child(tree, rules, node); /* before this selection counts itself */
        tree->node[node].pending++;
        node = child;
    }
    tree->node[node].pending++;
    return node;
}

void mcts_cancel(mcts_tree *tree, int leaf)
{
    for (int node = leaf; node >= 0; node = tree->node[node].parent)
        tree->node[node].pending--;
}

bool mcts_expand(mcts_tree *tree, int leaf, const double *prior, int n)
{
    if (n > tree->capacity - tree->n)
        return false;
    tree->node[leaf].first_child = tree->n;
    tree->node[leaf].n_children = n;
    for (int i = 0; i < n; i++)
        tree->node[tree->n++] = (mcts_node){ .parent = leaf, .prior = prior[i] };
    return true;
}

void mcts_backup(mcts_tree *tree, int leaf, double value)
{
    for (int node = leaf; node >= 0; node = tree->node[node].parent) {
        tree->node[node].pending--;
        tree->node[node].visits++;
        tree->node[node].value += value;
    }
}

void mcts_revalue(mcts_tree *tree, const int *leaf, const double *value, int n)
{
    for (int i = 0; i < tree->n; i++)
        tree->node[i].value = 0;
    for (int i = 0; i < n; i++)
        for (int node = leaf[i]; node >= 0; node = tree->node[node].parent)
            tree->node[node].value += value[i];
}

int mcts_most_visited(const mcts_tree *tree, int node)
{
    const mcts_node *at = &tree->node[node];
    int best = -1;
    for (int child = at->first_child; child < at->first_child + at->n_children; child++) {
        double visits = tree->node[child].visits;
        if (visits > 0 && (best < 0 || visits > tree->node[best].visits ||
                           (visits == tree->node[best].visits &&
                            mcts_q(tree, child) > mcts_q(tree, best))))
            best = child;
    }
    return best;
}

void mcts_softmax(const double *lp, int n, double *prior)
{
    double max = -INFINITY, sum = 0;
    for (int i = 0; i < n; i++)
        max = lp[i] > max ? lp[i] : max;
    for (int i = 0; i < n; i++)
        sum += prior[i] = rm_math_exp(lp[i] - max);
    for (int i = 0; i < n; i++)
        prior[i] /= sum;
}

void mcts_mix_noise(mcts_tree *tree, int node, const double *eta, double epsilon)
{
    mcts_node *child = tree->node + tree->node[node].first_child;
    for (int i = 0; i < tree->node[node].n_children; i++)
        child[i].prior = (1 - epsilon) * child[i].prior + epsilon * eta[i];
}
