/* task.h - a source of problems with a prompt, an answer and a judge.
 *
 * A task owns its prompt (template, few-shot examples, stop strings, stripping of the thought),
 * says where a reasoning step ends, extracts answers into a canonical form and grades them. It is
 * made from the `task` object of a configuration. Generated tasks make problem i from (seed, i)
 * alone, so that the first n problems never depend on how many were asked for. */
#ifndef RM_EXPERIMENTS_TASK_H
#define RM_EXPERIMENTS_TASK_H

#include "base/json.h"
#include "strategies/strategy.h"

typedef struct rm_task rm_task;

/* Makes a task from one object of a configuration. Files it names are relative to `folder`;
 * `path` names the object in messages ("tasks[0]"). Files are read and checked here, so that a bad
 * line stops a run before it starts. */
rm_status rm_task_new(const rm_json *, const cJSON *object, const char *folder, const char *path,
                      rm_task **, rm_error *);

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
const char *rm_task_kind(const rm_task *); /* "arithmetic", "countdown", "jsonl", "game24" */
size_t rm_task_count(const rm_task *);               /* problems available; SIZE_MAX if unlimited */
/* Problem i; lives as long as the task. */
rm_status rm_task_item(rm_task *, size_t i, const rm_item **, rm_error *);
bool rm_task_has_verifier(const rm_task *);
bool rm_task_has_steps(const rm_task *);
bool rm_task_has_thought(const rm_task *);
int rm_task_max_new_tokens(const rm_task *);         /* what the task suggests; 0: nothing */
int rm_task_typical_tokens(const rm_task *);         /* generated tokens of a usual candidate, for
                                                        estimates of cost */
const char *rm_task_grader(const rm_task *);         /* "numeric", "expression", ... */
/* Hash of all that changes a prompt, an answer or a verdict: keys, and the contents (not the
 * names) of files. */
uint64_t rm_task_hash(const rm_task *);
void rm_task_free(rm_task *);

/* The canonical answer of a text that a model generated from a prompt (malloc'd; NULL if it states
 * none). `truncated`: a length limit ended the text, so an answer at its very end may be cut off
 * and does not count. */
rm_status rm_task_answer(const rm_task *, const char *prompt, const char *text, bool truncated,
                         char **answer, rm_error *);

/* Where prompts go through a chat template they depend on the model: item->seen.prompt is what the
 * user says, and rm_task_prompt gives what the model reads. */
bool rm_task_is_chat(const rm_task *);
/* The prompt of a problem for a model, with prompt_plain (strategy.h) in `plain`; for other tasks
 * the item's, with `plain` left empty. */
rm_status rm_task_prompt(rm_task *, const rm_item *, const rm_model *, rm_text *text,
                         rm_text *plain, rm_error *);
/* Where a model's chat template comes from ("the model's own"); NULL if none was used yet. */
const char *rm_task_chat_origin(const rm_task *, const rm_model *);

/* Grades a text again from nothing: answer (malloc'd or NULL) and verdict. For `regrade` and for
 * recorded samples; item->seen.prompt is what the model read. */
rm_status rm_task_grade(const rm_task *, const rm_item *, const char *text, bool truncated,
                        char **answer, bool *correct, rm_error *);

/* The kinds of tasks there are and their keys, for listings: calls `each` for every key of every
 * kind, kind by kind ("" is the group of keys that all kinds have). */
typedef struct rm_task_key {
    const char *kind, *summary;  /* of the kind */
    const char *name, *help;     /* of the key */
} rm_task_key;
void rm_task_kinds(void (*each)(void *arg, const rm_task_key *), void *arg);

#endif
