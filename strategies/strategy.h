/* strategy.h - floor 2: what a decoding strategy is, and the strategies there are.
 *
 * A strategy is a const struct: a name, its paper, a table of parameters, and straight-line code
 * that asks the engine through rm_eval and returns an outcome. One file a strategy; to add one,
 * write its file and add a line to the table in registry.c. Everything else (configuration,
 * command line, validation, records) reads the struct.
 *
 * Ownership.  Everything in an outcome lives in the run's memory (rm_run_alloc), until the run
 * ends. A problem and the models outlive the trial.
 * Rules.  Every candidate is kept. Ties go to the higher summed lp, then to the smaller index.
 * lp is the raw model's natural-log probability. A candidate without an answer never wins a
 * vote unless all lack one. */
#ifndef RM_STRATEGY_H
#define RM_STRATEGY_H

#include "engine/engine.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- the problem, as a strategy sees it ------------------------------------------------- */

typedef struct rm_problem rm_problem;
struct rm_problem {
    const char *id;                  /* canonical, unique within its task */
    const char *prompt;              /* rendered text; tokenized with special tokens */
    const char *prompt_plain;        /* NULL: the model's own BOS goes in front. For a rendered chat
                                        [strlen(prompt)]: 1 where a byte came from a message and
                                        names no special token; BOS is as the prompt has it */
    const char *const *stop_strings; /* [n_stop_strings] end an answer */
    int n_stop_strings;
    const char *const *step_ends;    /* [n_step_ends] end a reasoning step */
    int n_step_ends;
    const char *think_end;           /* ends a thought, "</think>"; NULL: there are none */
    const char *wait;                /* what makes a model that has ended its thought go on */

    /* The canonical form of the answer that `text` (what was generated, special tokens written
     * out) ends in, allocated from the run; NULL if there is none. */
    const char *(*answer)(const rm_problem *, rm_run *, const char *text);
    /* The same for a text that a limit cut off: an answer at its very end does not count, it may
     * have lost digits. NULL: use `answer`. */
    const char *(*answer_cut)(const rm_problem *, rm_run *, const char *text);
    /* 1 if the answer is right, 0 if not. `verify` decides without the reference and is NULL
     * where the task cannot; `oracle` uses the reference and always exists. */
    double (*verify)(const rm_problem *, const char *answer);
    double (*oracle)(const rm_problem *, const char *answer);
    void *task;                      /* the task's own */
};

/* ---- outcomes --------------------------------------------------------------------------- */

typedef struct rm_score {
    const char *name;
    double value;
} rm_score;

typedef struct rm_candidate {
    const char *text;        /* generated text, special tokens written out, without the stop token
                                and without a matched stop string */
    const int32_t *tokens;   /* [n_tokens] generated tokens, a stop token included */
    int n_tokens;
    double lp;               /* sum over tokens, raw model; the combined one for token ensembles */
    double lp_sampling;      /* under the distribution drawn from; NaN where nothing was drawn */
    double score;            /* what the strategy ranked by; NaN if it did not rank */
    const char *answer;      /* canonical, or NULL */
    rm_stop_reason reason;   /* why it ended; LENGTH, CONTEXT and BUDGET mean truncated */
    int model;               /* index into the trial's models */
    rm_score *scores;        /* [n_scores] further scores by name */
    int n_scores;
} rm_candidate;

/* One node of a recorded search tree; node 0 is the root, parents come before children. */
typedef struct rm_node {
    int parent;              /* -1 for the root */
    int depth;               /* in steps */
    const char *text;        /* of this step */
    int n_tokens;            /* of this step */
    double lp;               /* of this step, raw */
    double prior;            /* P among its siblings; NaN if none */
    double value;            /* mean value Q backed up; NaN if never visited */
    double visits;
    int candidate;           /* the candidate it ends, or -1 */
} rm_node;

typedef struct rm_outcome {
    rm_candidate *candidates;/* [n_candidates] */
    int n_candidates;
    int chosen;              /* index, or -1 */
    rm_node *nodes;          /* [n_nodes] or NULL */
    int n_nodes;
    bool cut_short;          /* a budget ended the search early; the answer stands */
} rm_outcome;

/* One strategy at work on one problem. */
typedef struct rm_trial {
    rm_run *run;
    const rm_problem *problem;
    rm_model *const *models; /* [n_models] in the order the cell names them */
    int n_models;
} rm_trial;

/* ---- parameters ------------------------------------------------------------------------- */

typedef enum rm_param_kind {
    RM_PARAM_INT,     /* int */
    RM_PARAM_REAL,    /* double */
    RM_PARAM_BOOL,    /* bool */
    RM_PARAM_CHOICE,  /* int: index into choices */
    RM_PARAM_REALS    /* rm_reals: a short list */
} rm_param_kind;

enum { RM_MAX_REALS = 8 };
typedef struct rm_reals {
    int n;
    double value[RM_MAX_REALS];
} rm_reals;

typedef struct rm_param {
    const char *name;           /* as Hugging Face generate() names it, where it does */
    rm_param_kind kind;
    size_t offset;              /* of the field in the strategy's parameter struct */
    double initial;             /* default; index for choices; REALS start empty */
    double min, max;            /* allowed range, inclusive; open_min excludes min itself */
    bool open_min;
    const char *const *choices; /* NULL-terminated; "true"/"false" stand for JSON's booleans */
    const char *help;           /* one line: meaning and unit */
} rm_param;

typedef struct rm_params rm_params; /* a strategy's parameter values */

/* ---- strategies ------------------------------------------------------------------------- */

/* What a strategy asks of an engine; `check` refuses an engine that lacks one. */
enum {
    RM_NEEDS_SAMPLES = 1,  /* spans */
    RM_NEEDS_TOP = 2,      /* the k most likely next tokens */
    RM_NEEDS_SCORING = 4,  /* log-probabilities of given tokens */
    RM_NEEDS_ALL = 8,      /* log-probabilities of the whole vocabulary */
    RM_NEEDS_FORK = 16,    /* branching in the middle of a text */
    RM_NEEDS_STEPS = 32,   /* a task that says where a step ends */
    RM_NEEDS_VERIFIER = 64,/* a task with an exact verifier */
    RM_NEEDS_ONE_VOCABULARY = 128, /* models whose token ids mean the same */
    RM_NEEDS_LOGPROBS = 256,/* the log-probabilities of what was drawn, to choose by */
    RM_NEEDS_THOUGHT = 512 /* a task whose answers begin with a thought between tags */
};

typedef struct rm_strategy {
    const char *name;         /* "self-consistency" */
    const char *paper;        /* "Wang et al. 2022, arXiv:2203.11171" */
    const char *summary;      /* one line */
    const rm_param *params;   /* ends with an entry whose name is NULL */
    size_t params_size;       /* of its parameter struct */
    const char *size_param;   /* the parameter a curve runs over ("num_beams"), or NULL */
    bool size_is_length;      /* it is a length of texts and not a number of them */
    int min_models, max_models;

    /* Consequences of the parameters: what it needs, what marks its records carry. */
    unsigned (*needs)(const void *params);
    bool (*exchangeable)(const void *params);
    /* Does a candidate's score depend on the others, as a share of votes does? Then it means
     * nothing in a subset of them. NULL: never. Of no consequence unless candidates are
     * exchangeable. */
    bool (*relative_score)(const void *params);
    bool (*uses_verifier)(const void *params);  /* NULL: never */
    bool (*uses_oracle)(const void *params);    /* NULL: never */
    /* Next tokens that it lists at most at once, of a model with one end token; for strategies that
     * need RM_NEEDS_TOP. NULL: not known beforehand. */
    int (*most_top)(const void *params);
    /* Refuses combinations that the ranges cannot express. May be NULL. */
    rm_status (*check)(const void *params, int n_models, rm_error *);

    rm_status (*run)(const rm_trial *, const void *params, rm_outcome *, rm_error *);

    /* Most positions that one problem can hold, or ask for, at once in the cache of one of its
     * models, with a prompt of n_prompt tokens, a context of n_ctx and a sliding window (0: none;
     * what lies behind it is given back): a bound that follows from the parameters alone. The
     * runner's quotas come from it (rm_params_kv_bytes). NULL for strategies with a `pool`: the
     * prompt and all samples at once. */
    uint64_t (*positions)(const void *params, int n_prompt, int n_ctx, int window);

    /* The same of a reward model, which is the last model of the trial where the parameters ask for
     * one; 0 where they do not. NULL: they never do. */
    uint64_t (*judge_positions)(const void *params, int n_prompt, int n_ctx);

    /* Strategies that only choose among independent samples of one model say so, and a runner
     * may draw the samples once for several of them: `pool` tells which samples (the first n,
     * children 0 .. n-1 of the prompt), `choose` fills chosen and scores given them. Both NULL
     * for the others; then `run` is called. */
    void (*pool)(const void *params, rm_sampling *, int *n_samples, int *max_new_tokens);
    rm_status (*choose)(const rm_trial *, const void *params, rm_outcome *, rm_error *);
} rm_strategy;

/* All strategies, in the order of their listing; NULL-terminated. */
RM_API const rm_strategy *const *rm_strategies(void);
/* By name; an unknown name is RM_E_ARGUMENT with the nearest known one. */
RM_API rm_status rm_strategy_find(const char *name, const rm_strategy **, rm_error *);

/* Parameter values, all at their defaults. */
RM_API rm_status rm_params_new(const rm_strategy *, rm_params **, rm_error *);
RM_API void rm_params_free(rm_params *);
/* Sets one parameter from its text ("8", "0.7", "true", "never", "0.5,0.5"). Unknown names, wrong
 * types and values out of range are RM_E_ARGUMENT, with the nearest known name or the range. */
RM_API rm_status rm_params_set(rm_params *, const char *name, const char *text, rm_error *);
/* Ranges are checked by set; this checks the combination for a number of models. */
RM_API rm_status rm_params_check(const rm_params *, int n_models, rm_error *);
RM_API const rm_strategy *rm_params_strategy(const rm_params *);
/* The struct that strategy functions take. */
RM_API const void *rm_params_values(const rm_params *);
/* One value as text, in the form `set` takes; false if there is no such parameter. */
RM_API bool rm_params_get(const rm_params *, const char *name, rm_text *);
/* Canonical JSON object of all values in table order; reals as %.17g shortest round trip. */
RM_API void rm_params_json(const rm_params *, rm_text *);

/* The tokens of a problem's prompt for a model; *tokens is malloc'd. */
RM_API rm_status rm_problem_tokenize(const rm_problem *, const rm_model *, int32_t **tokens,
                                     int *n_tokens, rm_error *);
/* Most positions one problem can hold at once in the cache of one model that draws: what `positions`
 * says. */
RM_API uint64_t rm_params_positions(const rm_params *, int n_prompt, int n_ctx, int window);
/* Most bytes, over all models of a trial, a reward model among them; n_prompt[m] tokens under
 * models[m]. A run with this as its quota never meets it, and so its outcome depends on neither the
 * machine nor the engine's KV limit. */
RM_API uint64_t rm_params_kv_bytes(const rm_params *, rm_model *const *models, int n_models,
                                   const int *n_prompt);

/* Runs the strategy. The outcome is complete on success; on RM_E_LIMIT and RM_E_BUDGET it holds
 * what was finished before and the call still fails only if nothing was. */
RM_API rm_status rm_strategy_run(const rm_trial *, const rm_params *, rm_outcome *, rm_error *);

/* Draws the pool of n samples that `pool` described into outcome->candidates (answers
 * extracted), as rm_strategy_run would for the strategies that have one. */
RM_API rm_status rm_pool_draw(const rm_trial *, const rm_sampling *, int n_samples,
                              int max_new_tokens, rm_outcome *, rm_error *);

#ifdef __cplusplus
}
#endif
#endif
