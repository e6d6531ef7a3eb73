/* recorded_tree.h - a search tree as the records hold it. */
#ifndef RM_EXPERIMENTS_RECORDED_TREE_H
#define RM_EXPERIMENTS_RECORDED_TREE_H

#include "experiments/store.h"
#include "plots/plots.h"

/* Which one: NULL and `any_seed` leave a choice, and the first in the order of cells, problems and
 * seeds is taken. */
typedef struct rm_tree_choice {
    const char *task, *label, *problem;
    bool any_seed;
    uint64_t seed;
    int skip;                /* so many matching ones */
} rm_tree_choice;

typedef struct rm_recorded_tree {
    rm_tree tree;            /* as the plots take it; borrows from here */
    char *task, *label, *problem, *title, *question, *answer, *reference, *chosen_text;
    uint64_t seed;
    int *depth, *n_tokens, *candidate; /* [tree.n_nodes], candidate -1: none */
    char **texts;            /* [tree.n_nodes] */
} rm_recorded_tree;

/* RM_E_ARGUMENT if no recorded outcome matches, or none with a tree. */
rm_status rm_tree_load(rm_store *, const rm_tree_choice *, rm_recorded_tree *, rm_error *);
void rm_tree_unload(rm_recorded_tree *);

#endif
