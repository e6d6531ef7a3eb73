/* tree.c - ramify tree: a recorded search tree as text, JSON or a figure. */
#include "base/json.h"
#include "experiments/cli/cli.h"
#include "experiments/keys.h"
#include "experiments/recorded_tree.h"

#include <sqlite3.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_DEPTH = 512 };

/* ---- text ------------------------------------------------------------------------------------ */

/* Line ends and tabs made visible, so that a node stays on its line. */
static void put_step(rm_text *out, const char *text)
{
    for (; *text; text++)
        if (*text == '\n')
            rm_text_puts(out, "\\n");
        else if (*text == '\t')
            rm_text_puts(out, "\\t");
        else if ((unsigned char)*text >= 0x20)
            rm_text_add(out, text, 1);
}

static void put_node(rm_text *out, const rm_recorded_tree *t, size_t i)
{
    const rm_tree_node *node = &t->tree.nodes[i];
    rm_text_puts(out, node->chosen ? "* " : "");
    /* the line above names the problem, which may be its question */
    bool asked = t->question && strcmp(t->question, t->problem) != 0;
    put_step(out, i == 0 ? (asked ? t->question : "root")
                  : node->text && *node->text ? node->text : "(end)");
    rm_text_puts(out, "  ");
    if (!isnan(node->visits))
        rm_text_printf(out, " N=%g", node->visits);
    if (!isnan(node->value))
        rm_text_printf(out, " Q=%.3f", node->value);
    if (!isnan(node->prior))
        rm_text_printf(out, " P=%.3f", node->prior);
    if (i && !isnan(node->lp))
        rm_text_printf(out, " lp=%.2f", node->lp);
    if (t->candidate[i] >= 0)
        rm_text_printf(out, " -> candidate %d", t->candidate[i]);
    rm_text_puts(out, "\n");
}

/* Children of each node as lists over `next`; first[i] is -1 for a leaf. */
static bool link_children(const rm_recorded_tree *t, int **first, int **next)
{
    size_t n = t->tree.n_nodes;
    *first = malloc((n + 1) * sizeof **first);
    *next = malloc((n + 1) * sizeof **next);
    if (!*first || !*next)
        return false;
    for (size_t i = 0; i < n; i++)
        (*first)[i] = (*next)[i] = -1;
    for (size_t i = n; i-- > 1;) { /* from the last, so that each list is in order */
        int parent = t->tree.nodes[i].parent;
        (*next)[i] = (*first)[parent];
        (*first)[parent] = (int)i;
    }
    return true;
}

/* Depth first with an explicit stack: `at[d]` is the node being printed at depth d. */
static void put_nodes(rm_text *out, const rm_recorded_tree *t, const int *first, const int *next,
                      int max_depth)
{
    int at[MAX_DEPTH];
    int depth = 0;
    at[0] = 0;
    for (;;) {
        for (int d = 1; d < depth; d++)
            rm_text_puts(out, next[at[d]] >= 0 ? "│  " : "   ");
        if (depth)
            rm_text_puts(out, next[at[depth]] >= 0 ? "├─ " : "└─ ");
        put_node(out, t, (size_t)at[depth]);
        if (first[at[depth]] >= 0 && depth + 1 < max_depth) {
            at[depth + 1] = first[at[depth]];
            depth++;
            continue;
        }
        while (depth && next[at[depth]] < 0)
            depth--;
        if (!depth)
            return;
        at[depth] = next[at[depth]];
    }
}

static rm_status put_text(rm_text *out, const rm_recorded_tree *t, int max_depth, rm_error *err)
{
    int *first = NULL, *next = NULL;
    rm_status status = RM_OK;
    rm_text_printf(out, "%s: %s, problem %s, seed %llu: %s (%s), %zu nodes\n", t->task, t->label,
                   t->problem, (unsigned long long)t->seed, t->answer ? t->answer : "no answer",
                   t->tree.correct ? "right" : "wrong", t->tree.n_nodes);
    if (!link_children(t, &first, &next))
        status = rm_fail(err, RM_E_MEMORY, "no memory to print a search tree");
    else
        put_nodes(out, t, first, next, max_depth);
    free(first);
    free(next);
    return status;
}

/* ---- JSON -------------------------------------------------------------------------------- */

static void put_json(rm_text *out, const rm_recorded_tree *t)
{
    rm_json_writer w = { .out = out };
    rm_json_object(&w, NULL);
    rm_json_string(&w, "task", t->task);
    rm_json_string(&w, "label", t->label);
    rm_json_string(&w, "problem", t->problem);
    rm_json_uint(&w, "seed", t->seed);
    rm_json_string(&w, "question", t->question);
    rm_json_string(&w, "reference", t->reference);
    rm_json_string(&w, "answer", t->answer);
    rm_json_bool(&w, "correct", t->tree.correct);
    rm_json_array(&w, "nodes");
    for (size_t i = 0; i < t->tree.n_nodes; i++) {
        const rm_tree_node *node = &t->tree.nodes[i];
        rm_json_object(&w, NULL);
        rm_json_uint(&w, "node", i);
        rm_json_int(&w, "parent", node->parent);
        rm_json_int(&w, "depth", t->depth[i]);
        rm_json_string(&w, "text", node->text);
        rm_json_int(&w, "n_tokens", t->n_tokens[i]);
        rm_json_real(&w, "lp", node->lp);
        rm_json_real(&w, "prior", node->prior);
        rm_json_real(&w, "value", node->value);
        rm_json_real(&w, "visits", node->visits);
        rm_json_int(&w, "candidate", t->candidate[i]);
        rm_json_bool(&w, "chosen", node->chosen);
        rm_json_end(&w);
    }
    rm_json_end(&w);
    rm_json_end(&w);
    rm_text_puts(out, "\n");
}

/* The whole label of --cell; the text keeps it. */
static rm_status find_cell(const cli_args *args, rm_store *store, rm_text *label,
                           rm_tree_choice *choice, rm_error *err)
{
    const char *typed = cli_text(args, "cell", NULL), *found = NULL;
    rm_strings labels = { 0 };
    sqlite3_stmt *row = NULL;
    int code = SQLITE_DONE;
    if (!typed)
        return RM_OK;
    rm_status status = rm_store_prepare(
        store, "SELECT DISTINCT label FROM cells WHERE cell IN (SELECT o.cell FROM outcomes o"
        " JOIN nodes USING (outcome)) ORDER BY cell", &row, err);
    while (!status && (code = sqlite3_step(row)) == SQLITE_ROW)
        if (!rm_strings_add(&labels, (const char *)sqlite3_column_text(row, 0),
                            (size_t)sqlite3_column_bytes(row, 0)))
            status = rm_fail(err, RM_E_MEMORY, "no memory for the labels of the cells");
    if (!status && code != SQLITE_DONE)
        status = rm_store_fail(store, "read the cells", err);
    sqlite3_finalize(row);
    if (!status && !labels.n)
        found = typed; /* rm_tree_load says that there is no tree at all */
    else if (!status)
        status = cli_find_label((const char *const *)labels.items, (size_t)labels.n, typed, &found,
                                err);
    if (!status)
        rm_text_puts(label, found);
    rm_strings_free(&labels);
    choice->label = label->data;
    return status;
}

static rm_status show(const cli_args *args, rm_error *err)
{
    rm_store *store = NULL;
    rm_recorded_tree tree = { .tree = { .nodes = NULL } };
    rm_text out = { 0 }, label = { 0 };
    rm_tree_choice choice = { .task = cli_text(args, "task", NULL),
                              .problem = cli_text(args, "problem", NULL),
                              .any_seed = !cli_flag(args, "seed") };
    const char *figure = cli_text(args, "out", NULL);
    int max_depth = MAX_DEPTH;
    rm_status status = cli_uint(args, "seed", &choice.seed, err);
    if (!status)
        status = cli_int(args, "depth", 1, MAX_DEPTH, &max_depth, err);
    if (!status)
        status = rm_store_open(args->positional[0], false, &store, err);
    if (!status)
        status = find_cell(args, store, &label, &choice, err);
    if (!status)
        status = rm_tree_load(store, &choice, &tree, err);
    if (!status && figure)
        status = rm_tree_write(&tree.tree, NULL, figure, err);
    else if (!status && cli_flag(args, "json"))
        put_json(&out, &tree);
    else if (!status)
        status = put_text(&out, &tree, max_depth, err);
    if (!status)
        status = cli_put(&out, err);
    rm_text_free(&out);
    rm_text_free(&label);
    rm_tree_unload(&tree);
    rm_store_close(store);
    return status;
}

static const cli_option options[] = {
    { "problem", 0, "ID", "default: the first problem with a tree" },
    { "cell", 0, "LABEL", "or the end of one; default: the first cell with a tree" },
    { "task", 0, "NAME", "default: any" },
    { "seed", 0, "S", "default: any" },
    { "depth", 0, "N", "print no deeper" },
    { "out", 'o', "FILE", "draw it: .pdf, .svg or .png" },
    { "json", 0, NULL, "every node, for machines" },
    { NULL, 0, NULL, NULL },
};

const cli_command cli_tree = {
    .name = "tree",
    .summary = "a recorded search tree",
    .positional = "DIR",
    .min_positional = 1,
    .max_positional = 1,
    .details = "Each line is a step with its visits N, mean value Q, prior P and log-probability;\n"
               "the steps of the chosen candidate bear a star.",
    .example = "ramify tree demo --cell 'mcts sims=32' --depth 4",
    .options = options,
    .run = show,
};
