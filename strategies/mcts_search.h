/* mcts_search.h - Monte Carlo tree search over nodes that carry numbers only (folder-private).
 *
 * Pure: no engine, no text. Whoever drives it knows what a node means; mcts.c makes it a prefix
 * of reasoning steps, a test makes it a position of a small game.
 *
 *     PUCT   argmax_a  Q(a) + c P(a) sqrt(S) / (1 + N(a)),  S = sum_b N(b)     (Silver et al. 2017)
 *            c = log((S + c_base + 1) / c_base) + c_init
 *     UCT    argmax_a  Q(a) + w sqrt(ln N(parent) / N(a)), unvisited first (Kocsis & Szepesvari)
 *
 * Q = W / N; an unvisited child's Q is q_init, or its parent's Q. With S = 0 PUCT takes the largest
 * prior. Ties go to the smaller index. Values lie in [0, 1].
 *
 * Virtual loss: a selection that waits for its value counts as a visit of value 0 on every node
 * of its path, until it is backed up.
 *
 * Invariant between rounds (nothing pending): N(node) is the number of simulations through the
 * node and W(node) the sum of their values. Children are stored together, after their parent. */
#ifndef RM_STRATEGIES_MCTS_SEARCH_H
#define RM_STRATEGIES_MCTS_SEARCH_H

#include "engine/engine.h"

typedef struct mcts_rules {
    bool uct;
    double c_init, c_base;   /* PUCT: 1.25, 19652 */
    double w;                /* UCT */
    double q_init;           /* below 0: the parent's Q */
} mcts_rules;

typedef struct mcts_node {
    int parent;              /* -1: the root, node 0 */
    int first_child, n_children;
    double prior;
    double visits, value;    /* N, W */
    double pending;          /* selections that wait for their value */
} mcts_node;

typedef struct mcts_tree {
    mcts_node *node;         /* [capacity] the caller's */
    int n, capacity;
} mcts_tree;

/* A tree of one root. */
void mcts_start(mcts_tree *, mcts_node *nodes, int capacity);

/* W / N, pending selections as losses; the root's before any visit is 0. */
double mcts_q(const mcts_tree *, int node);

/* What selection compares. `child` is an index of a node. */
double mcts_child_value(const mcts_tree *, const mcts_rules *, int child);

/* Walks from the root to a node without children and marks the path as pending. */
int mcts_select(mcts_tree *, const mcts_rules *);

/* Takes back the marks of one selection without a value. */
void mcts_cancel(mcts_tree *, int leaf);

/* Gives a leaf n children with these priors; false if the tree is full. */
bool mcts_expand(mcts_tree *, int leaf, const double *prior, int n);

/* W += v, N += 1 from the leaf to the root, and takes one pending mark off. */
void mcts_backup(mcts_tree *, int leaf, double value);

/* Sums every W anew from n simulations, for values that have changed since they were backed up. */
void mcts_revalue(mcts_tree *, const int *leaf, const double *value, int n);

/* The most visited child, ties to the higher Q, then to the smaller index; -1 if none has been
 * visited. */
int mcts_most_visited(const mcts_tree *, int node);

/* Prior = softmax of n log-probabilities. */
void mcts_softmax(const double *lp, int n, double *prior);

/* P = (1 - epsilon) P + epsilon eta for the children of a node. */
void mcts_mix_noise(mcts_tree *, int node, const double *eta, double epsilon);

#endif
