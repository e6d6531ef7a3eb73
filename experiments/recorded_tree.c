/* recorded_tree.c - reads one search tree back. Parents come before children, and this checks
 * it: a damaged file must not send a drawing in circles. */
#include "experiments/recorded_tree.h"

#include <sqlite3.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static char *copy_column(sqlite3_stmt *row, int column, bool *failed)
{
    const char *text = (const char *)sqlite3_column_text(row, column);
    char *copy = text ? strdup(text) : NULL;
    *failed = *failed || (text && !copy);
    return copy;
}

static double real_column(sqlite3_stmt *row, int column)
{
    return sqlite3_column_type(row, column) == SQLITE_NULL ? NAN
                                                           : sqlite3_column_double(row, column);
}

static int index_column(sqlite3_stmt *row, int column)
{
    return sqlite3_column_type(row, column) == SQLITE_NULL ? -1 : sqlite3_column_int(row, column);
}

static rm_status no_memory(rm_error *err)
{
    return rm_fail(err, RM_E_MEMORY, "no memory for a search tree");
}

/* ---- which outcome ----------------------------------------------------------------------- */

static rm_status no_match(rm_store *store, const rm_tree_choice *choice, rm_error *err)
{
    rm_text what = { 0 };
    if (choice->task)
        rm_text_printf(&what, " of task %s", choice->task);
    if (choice->label)
        rm_text_printf(&what, " of cell \"%s\"", choice->label);
    if (choice->problem)
        rm_text_printf(&what, " on problem %s", choice->problem);
    if (!choice->any_seed)
        rm_text_printf(&what, " with seed %llu", (unsigned long long)choice->seed);
    rm_fail(err, RM_E_ARGUMENT, "%s has no search tree%s (only tree searches such as mcts record "
            "one)", rm_store_dir(store), what.data ? what.data : "");
    rm_text_free(&what);
    return RM_E_ARGUMENT;
}

static rm_status find_outcome(rm_store *store, const rm_tree_choice *choice, int64_t *outcome,
                              int *chosen, rm_recorded_tree *out, rm_error *err)
{
    sqlite3_stmt *row = NULL;
    bool failed = false;
    rm_status status = rm_store_prepare(
        store,
        "SELECT o.outcome, o.chosen, c.task, c.label, p.id, p.question, p.reference, o.seed,"
        " o.correct, k.answer, k.text FROM outcomes o JOIN cells c USING (cell) JOIN problems p "
        "USING"
        " (problem) LEFT JOIN candidates k ON k.outcome = o.outcome AND k.k = o.chosen"
        " WHERE EXISTS (SELECT 1 FROM nodes n WHERE n.outcome = o.outcome)"
        " AND c.task = coalesce(?1, c.task) AND c.label = coalesce(?2, c.label)"
        " AND p.id = coalesce(?3, p.id) AND o.seed = coalesce(?4, o.seed)"
        " ORDER BY o.cell, p.idx, o.seed, o.timing DESC, o.repeat LIMIT 1 OFFSET ?5",
        &row, err);
    if (status)
        return status;
    sqlite3_bind_text(row, 1, choice->task, -1, SQLITE_STATIC);
    sqlite3_bind_text(row, 2, choice->label, -1, SQLITE_STATIC);
    sqlite3_bind_text(row, 3, choice->problem, -1, SQLITE_STATIC);
    if (!choice->any_seed)
        sqlite3_bind_int64(row, 4, (int64_t)choice->seed);
    sqlite3_bind_int(row, 5, choice->skip);
    int code = sqlite3_step(row);
    if (code == SQLITE_ROW) {
        *outcome = sqlite3_column_int64(row, 0);
        *chosen = index_column(row, 1);
        out->task = copy_column(row, 2, &failed);
        out->label = copy_column(row, 3, &failed);
        out->problem = copy_column(row, 4, &failed);
        out->question = copy_column(row, 5, &failed);
        out->reference = copy_column(row, 6, &failed);
        out->seed = (uint64_t)sqlite3_column_int64(row, 7);
        out->tree.correct = sqlite3_column_int(row, 8) != 0;
        out->answer = copy_column(row, 9, &failed);
        out->chosen_text = copy_column(row, 10, &failed);
        status = failed ? no_memory(err) : RM_OK;
    } else {
        status = code == SQLITE_DONE ? no_match(store, choice, err)
                                     : rm_store_fail(store, "find a search tree", err);
    }
    sqlite3_finalize(row);
    return status;
}

/* ---- its nodes --------------------------------------------------------------------------- */

static rm_status grow(rm_recorded_tree *t, size_t *capacity, rm_error *err)
{
    if (t->tree.n_nodes < *capacity)
        return RM_OK;
    size_t n = *capacity ? 2 * *capacity : 64;
    rm_tree_node *nodes = realloc(t->tree.nodes, n * sizeof *nodes);
    if (nodes)
        t->tree.nodes = nodes;
    int *depth = realloc(t->depth, n * sizeof *depth);
    if (depth)
        t->depth = depth;
    int *n_tokens = realloc(t->n_tokens, n * sizeof *n_tokens);
    if (n_tokens)
        t->n_tokens = n_tokens;
    int *candidate = realloc(t->candidate, n * sizeof *candidate);
    if (candidate)
        t->candidate = candidate;
    char **texts = realloc(t->texts, n * sizeof *texts);
    if (texts)
        t->texts = texts;
    if (!nodes || !depth || !n_tokens || !candidate || !texts)
        return no_memory(err);
    *capacity = n;
    return RM_OK;
}

static rm_status read_nodes(rm_store *store, int64_t outcome, rm_recorded_tree *t, rm_error *err)
{
    sqlite3_stmt *row = NULL;
    size_t capacity = 0;
    int code = SQLITE_DONE;
    rm_status status = rm_store_prepare(
        store,
        "SELECT node, parent, depth, text, n_tokens, lp, prior, value, visits, candidate"
        " FROM nodes WHERE outcome = ? ORDER BY node",
        &row, err);
    if (status)
        return status;
    sqlite3_bind_int64(row, 1, outcome);
    while (!status && (code = sqlite3_step(row)) == SQLITE_ROW) {
        size_t i = t->tree.n_nodes;
        int parent = index_column(row, 1);
        bool failed = false;
        status = grow(t, &capacity, err);
        if (status)
            break;
        if (sqlite3_column_int64(row, 0) != (int64_t)i || (i == 0 ? parent != -1 : parent < 0) ||
            parent >= (int)i) {
            status = rm_fail(err, RM_E_FORMAT, "%s/records.sqlite is damaged: node %zu of a search "
                             "tree has parent %d", rm_store_dir(store), i, parent);
            break;
        }
        t->texts[i] = copy_column(row, 3, &failed);
        t->tree.nodes[i] = (rm_tree_node){ .parent = parent, .text = t->texts[i],
                                           .lp = real_column(row, 5), .prior = real_column(row, 6),
                                           .value = real_column(row, 7),
                                           .visits = real_column(row, 8) };
        t->depth[i] = sqlite3_column_int(row, 2);
        t->n_tokens[i] = sqlite3_column_int(row, 4);
        t->candidate[i] = index_column(row, 9);
        t->tree.n_nodes++;
        if (failed)
            status = no_memory(err);
    }
    if (!status && code != SQLITE_DONE)
        status = rm_store_fail(store, "read a search tree", err);
    sqlite3_finalize(row);
    return status;
}

/* Marks the path from the root to the node that ends the chosen candidate; where a rollout from a
 * node ended it, as far as the candidate's text follows the tree. */
static void mark_chosen(rm_recorded_tree *t, int chosen, const char *text)
{
    rm_tree_node *nodes = t->tree.nodes;
    for (size_t i = 0; i < t->tree.n_nodes && chosen >= 0; i++)
        if (t->candidate[i] == chosen) {
            for (int at = (int)i; at >= 0; at = nodes[at].parent)
                nodes[at].chosen = true;
            return;
        }
    if (!text || !t->tree.n_nodes)
        return;
    int at = 0;
    nodes[0].chosen = true;
    for (size_t i = 1; i < t->tree.n_nodes; i++) { /* children come after their parents */
        size_t n = t->texts[i] ? strlen(t->texts[i]) : 0;
        if (nodes[i].parent == at && n && strncmp(text, t->texts[i], n) == 0) {
            nodes[i].chosen = true;
            text += n;
            at = (int)i;
        }
    }
}

rm_status rm_tree_load(rm_store *store, const rm_tree_choice *choice, rm_recorded_tree *out,
                       rm_error *err)
{
    rm_recorded_tree t = { .tree = { .nodes = NULL } };
    rm_text title = { 0 };
    int64_t outcome = 0;
    int chosen = -1;
    rm_status status = find_outcome(store, choice, &outcome, &chosen, &t, err);
    if (!status)
        status = read_nodes(store, outcome, &t, err);
    if (!status) {
        mark_chosen(&t, chosen, t.chosen_text);
        rm_text_printf(&title, "%s, problem %s", t.label, t.problem);
        if (title.failed)
            status = no_memory(err);
        t.title = title.data;
        t.tree.title = t.title;
        t.tree.question = t.question;
        t.tree.answer = t.answer;
    }
    if (status)
        rm_tree_unload(&t);
    else
        *out = t;
    return status;
}

void rm_tree_unload(rm_recorded_tree *t)
{
    for (size_t i = 0; i < t->tree.n_nodes; i++)
        free(t->texts[i]);
    free(t->texts);
    free(t->tree.nodes);
    free(t->depth);
    free(t->n_tokens);
    free(t->candidate);
    free(t->task);
    free(t->label);
    free(t->problem);
    free(t->title);
    free(t->question);
    free(t->answer);
    free(t->reference);
    free(t->chosen_text);
    *t = (rm_recorded_tree){ .tree = { .nodes = NULL } };
}
