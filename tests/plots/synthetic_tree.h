/* synthetic_tree.h - a search tree that never was: steps of an arithmetic derivation, visits that
 * a search would concentrate on the better children. */
#ifndef RM_TESTS_PLOTS_SYNTHETIC_TREE_H
#define RM_TESTS_PLOTS_SYNTHETIC_TREE_H

#include "plots/plots.h"
#include "tests/plots/synthetic.h"

/* n nodes, up to `branching` children each; texts stay valid for the life of the program. */
static inline rm_tree synthetic_tree(size_t n, int branching, const char *hostile_text)
{
    static char texts[64][24];
    rm_tree_node *nodes = calloc(n, sizeof *nodes);
    int *children = calloc(n, sizeof *children);
    for (int i = 0; i < 64; i++)
        snprintf(texts[i], sizeof texts[i], "%d*%d=%d", i % 9 + 2, i % 7 + 3,
                 (i % 9 + 2) * (i % 7 + 3));
    for (size_t i = 0; i < n; i++) {
        int parent = -1;
        for (uint32_t try = 0; i && (parent < 0 || children[parent] >= branching); try++)
            parent = (int)((double)i * pow(synthetic_draw(3, (uint32_t)i, try), 1.6));
        if (parent >= 0)
            children[parent]++;
        nodes[i] = (rm_tree_node){ parent,
                                   hostile_text ? hostile_text
                                   : i          ? texts[i % 64]
                                                : NULL,
                                   -1.5,
                                   0.3,
                                   synthetic_draw(5, (uint32_t)i, 1),
                                   1,
                                   false };
    }
    for (size_t i = n; i-- > 1;) {
        rm_tree_node *parent = &nodes[nodes[i].parent];
        nodes[i].visits *= 1 + floor(6 * nodes[i].value * nodes[i].value);
        parent->visits += nodes[i].visits;
        parent->value = 0.7 * parent->value + 0.3 * nodes[i].value;
    }
    for (size_t at = 0;;) { /* the most visited path is the chosen one */
        nodes[at].chosen = true;
        size_t best = 0;
        for (size_t i = at + 1; i < n; i++)
            if ((size_t)nodes[i].parent == at && (!best || nodes[i].visits > nodes[best].visits))
                best = i;
        if (!best)
            break;
        at = best;
    }
    free(children);
    return (rm_tree){ "MCTS, countdown problem 17",
                      "Use 3, 7, 25 and 50 to reach 96.",
                      "(50-25)*3+7*3",
                      true,
                      nodes,
                      n };
}

#endif
