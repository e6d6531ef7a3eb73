/* task.h - a source of problems with a prompt, an answer and a judge.
 *
 * A task owns its prompt (template, few-shot examples, stop strings, stripping of the thought),
 * says where a reasoning step ends, extracts answers into a canonical form and grades them. It is
 * made from the `task` object of a configuration. Generated tasks make problem i from (seed, i)
 * alone, so that the first n problems never depend on how many were asked for. */
#ifndef RM_EXPERIMENTS_TASK_H
#define RM_EXPERIMENTS_TASK_H

#include "strategies/strategy.h"

typedef struct rm_task rm_task;

/* One problem with what only the experiment may know. The strategy sees `seen`. */
typedef struct rm_item {
    rm_problem seen;
    const char *reference;   /* canonical reference answer; "" where only a checker decides */
    const char *question;    /* as shown to people */
    const char *cluster;     /* or NULL */
    const char *level;       /* difficulty, or NULL */
    uint64_t hash;           /* canonical: equal problems have equal hashes in every task */
    uint64_t prompt_hash;    /* of the rendered prompt */
} rm_item;

const char *rm_task_name(const rm_task *);
const char *rm_task_kind(const rm_task *);           /* "arithmetic", "countdown", "jsonl", "game24" */
size_t rm_task_count(const rm_task *);               /* problems available; SIZE_MAX if unlimited */
/* Problem i; lives as long as the task. */
rm_status rm_task_item(rm_task *, size_t i, const rm_item **, rm_error *);
bool rm_task_has_verifier(const rm_task *);
bool rm_task_has_steps(const rm_task *);
int rm_task_max_new_tokens(const rm_task *);         /* what the task suggests; 0: nothing */
void rm_task_free(rm_task *);

/* Grades a text again from nothing: answer (malloc'd or NULL) and verdict. For `regrade` and
 * for recorded samples. */
rm_status rm_task_grade(const rm_task *, const rm_item *, const char *text, char **answer,
                        bool *correct, rm_error *);

#endif
