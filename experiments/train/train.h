/* train.h - training a model from a configuration (private to experiments).
 *
 *   recipe.c      reads the configuration: what is trained, on what, how
 *   thought_*.c   chains of thought for problems of the generated tasks
 *   corpus.c      documents made of problems and their thoughts
 *   rollout.c     groups of samples, drawn by the inference engine and graded
 *   objective.c   GRPO, Dr. GRPO and DAPO: rewards to advantages to slopes
 *   loop.c        what all trainings share: log, checkpoints, progress, evaluation
 *   sft.c, reject.c, reward.c, grpo.c   one file a way of training
 *   reward_evaluate.c   how well a reward model judges
 *
 * A training is a function of its configuration and the model it begins with: all it draws is
 * Philox under the configuration's seed, numbered by step and document, so that a training gone on
 * with after a crash ends in the same bits as one that was never interrupted. */
#ifndef RM_EXPERIMENTS_TRAIN_H
#define RM_EXPERIMENTS_TRAIN_H

#include "engine/train.h"
#include "experiments/keys.h"
#include "experiments/progress.h"
#include "experiments/task.h"
#include "experiments/tasks/kinds.h"

/* ---- recipes ------------------------------------------------------------------------------- */

typedef enum train_kind {
    TRAIN_SFT,
    TRAIN_REJECT,
    TRAIN_GRPO,
    TRAIN_REWARD,
    TRAIN_KINDS
} train_kind;
extern const char *const train_kind_names[]; /* "sft", "reject", "grpo", "reward" */

enum { MAX_FAILURES = 8, MAX_SOURCES = 16 };

/* How thoughts are drawn; see the thought files. */
typedef struct thought_recipe {
    double failures[MAX_FAILURES]; /* probability of i failed attempts before the last one */
    int n_failures;
    double give_up;      /* that a thought with failures ends without another attempt */
    int max_factor;      /* products of larger factors are left for later */
    int max_value;       /* of Countdown's steps */
} thought_recipe;

typedef struct train_source {
    rm_task *task;       /* split "train" */
    rm_task *tune;       /* the same in split "tune" */
    double share;        /* of documents, in proportion to the others' */
    bool own_seed;       /* the task says which problems; else the recipe's seed does */
    thought_recipe thought;
} train_source;

typedef enum group_objective { OBJECTIVE_GRPO, OBJECTIVE_DR_GRPO, OBJECTIVE_DAPO } group_objective;

typedef struct train_recipe {
    train_kind kind;
    char *name, *file;
    char *model;         /* the model it begins with, as written; NULL: a new one of `shape` */
    rm_shape shape;
    uint64_t seed, hash; /* hash: of all that decides the result, the first model included */
    train_source sources[MAX_SOURCES];
    int n_sources;
    int steps, tokens_per_step, checkpoint_every;
    rm_adamw adam;
    int warmup;          /* steps of rising rate */
    double flat, last;   /* share of the steps at the full rate; factor reached at the end */
    char *weight_type;   /* of the file written */
    int evaluate_every, evaluate_problems;

    int samples, keep, problems, epochs;  /* reject: of each problem, kept, per source, over them */
    double temperature;                   /* reject; reward has these too, all but keep */

    int group, problems_per_step, updates, max_new_tokens; /* grpo */
    int objective;                        /* group_objective */
    double clip_low, clip_high, beta, reward_correct, reward_format;
    int overlong, resample;               /* dapo */
} train_recipe;

rm_status train_recipe_open(const char *file, train_kind, train_recipe **, rm_error *);
/* Another seed than the recipe says, for problems and all draws. */
void train_recipe_seed(train_recipe *, uint64_t seed);
void train_recipe_free(train_recipe *);

/* ---- thoughts -------------------------------------------------------------------------------- */

/* Appends a thought for the question and the answer it reaches, drawn from `draws`. */
rm_status thought_arithmetic(const char *question, const thought_recipe *, rm_draws *,
                             rm_text *thought, rm_text *answer, rm_error *);
rm_status thought_countdown(const char *question, const thought_recipe *, rm_draws *,
                            rm_text *thought, rm_text *answer, rm_error *);

/* ---- documents ------------------------------------------------------------------------------- */

/* A growing list of documents over one store of tokens. Zero-initialise. */
typedef struct document_list {
    rm_document *items;  /* [n] */
    int n, capacity;
    size_t tokens;       /* of all */
} document_list;

/* Copies; weights are 0 for the first `n_prompt` tokens and 1 after them. */
rm_status document_add(document_list *, const int32_t *tokens, int n, int n_prompt, rm_error *);
void documents_clear(document_list *);
void documents_free(document_list *);

/* Document `index` of the endless corpus of a recipe's sources. */
rm_status corpus_document(const train_recipe *, const rm_model *, uint64_t index, document_list *,
                          rm_error *);

/* The same with targets and weights of its own. */
rm_status document_add_targets(document_list *, const int32_t *tokens, const int32_t *target,
                               const float *weight, int n, rm_error *);

/* ---- rollouts -------------------------------------------------------------------------------- */

typedef struct rollout {
    int problem;         /* index into those asked for */
    int32_t *tokens;     /* [n] prompt and what was drawn, a stop token included */
    double *lp;          /* [n] of the raw model; 0 for the prompt */
    int n, n_prompt;
    bool correct, formed,
        truncated; /* formed: it ended by itself, with one thought and an answer */
} rollout;

typedef struct rollout_list {
    rollout *items;      /* [n] problem by problem, sample by sample */
    int n;
    uint64_t tokens;     /* drawn */
} rollout_list;

typedef struct rollout_request {
    rm_engine *engine;
    rm_model *model;
    rm_task *task;
    size_t first;        /* problems first .. first + n_problems - 1 of the task's endless list, */
    bool listed;         /* or of its list without duplicates (evaluation) */
    int n_problems, n_samples;
    rm_sampling sampling;
    int max_new_tokens;
    uint64_t seed;
    const volatile bool *cancel;
} rollout_request;

/* Draws and grades; adds to the list, with problems numbered from `number` on. */
rm_status rollouts_draw(const rollout_request *, int number, rollout_list *, rm_error *);
void rollouts_free(rollout_list *);

/* ---- objectives ------------------------------------------------------------------------------ */

/* What one sample contributes; objective.c has the definitions. */
typedef struct group_sample {
    double reward, advantage;
    int n_tokens;        /* drawn */
} group_sample;

/* Fills the advantages of one group; false: all rewards are equal and it gives no signal. */
bool group_advantages(group_objective, group_sample *, int n);
/* Added to the reward of a sample of n drawn tokens under DAPO. */
double overlong_penalty(int n, int max_new_tokens, int buffer);
/* What one token of a sample weighs in the loss; `tokens` of all samples of the update. */
double token_weight(group_objective, int n_tokens, int n_samples, double tokens, int constant);
/* Derivative of the loss by the token's log-probability. */
double token_slope(const train_recipe *, double weight, double advantage, double lp, double lp_old,
                   double lp_reference);

/* ---- the loop -------------------------------------------------------------------------------- */

typedef struct train_options {
    const char *out;     /* FILE.gguf */
    int threads;
    const char *isa;
    FILE *progress;      /* NULL: silent */
    const volatile bool *cancel;
} train_options;

typedef struct train_loop {
    const train_recipe *recipe;
    const train_options *options;
    rm_engine *engine;
    rm_trainer *trainer;
    rm_model *model;     /* the same weights for drawing; brought up to date by loop_model */
    char *log_file, *checkpoint_file;
    int log;             /* descriptor */
    uint64_t step, cursor, tokens; /* steps done; documents or problems used; tokens trained on */
    uint64_t steps;      /* planned */
    uint64_t model_step; /* step whose weights `model` has, + 1; 0: those it was opened with */
    uint64_t first_hash; /* of the model it began with */
    int32_t good, bad;   /* reward: the tokens of its verdicts */
    uint64_t saved;      /* step of the last checkpoint; 0: none */
    rm_progress bar;
} train_loop;

/* What a way of training adds: one step, numbered from 0, ends with loop_step. */
typedef rm_status train_step(train_loop *, void *state, rm_error *);

rm_status loop_model(train_loop *, rm_error *);
/* Gradient over the documents, then the optimizer at this step's rate. `lp` as rm_trainer_pass. */
rm_status loop_update(train_loop *, const rm_document *, int n, const rm_objective *,
                      double *const *lp, double *norm, rm_train_sums *, rm_error *);
/* Log line and progress of a step of plain likelihood over `tokens` tokens. */
rm_status loop_report(train_loop *, const rm_train_sums *, double norm, size_t tokens,
                      double started_s, rm_error *);
double loop_rate(const train_loop *); /* factor of the peak rate at this step */
/* Appends one line of JSON. */
rm_status loop_log(train_loop *, rm_text *line, rm_error *);

rm_status train_sft_step(train_loop *, void *, rm_error *);
rm_status train_reject_step(train_loop *, void *, rm_error *);
rm_status train_grpo_step(train_loop *, void *, rm_error *);
/* reject: keeps the samples of one problem that are right; reward: all, with their verdicts. */
rm_status reject_keep(train_loop *, const rollout *group, int n, document_list *, rm_error *);
rm_status reward_keep(train_loop *, const rollout *group, int n, document_list *, rm_error *);
rm_status reward_prepare(train_loop *, rm_error *);
/* Samples of tuning problems that a reward model is evaluated on, and a log line a task. */
typedef struct reward_held reward_held;
rm_status reward_hold(train_loop *, reward_held **, rm_error *);
rm_status reward_evaluate(train_loop *, const reward_held *, rm_error *);
void reward_held_free(reward_held *);
rm_status train_reward_evaluate(train_loop *, void *state, rm_error *);
rm_status train_reject_open(train_loop *, void **state, rm_error *);
void train_reject_close(void *state);
rm_status train_grpo_open(train_loop *, void **state, rm_error *);
void train_grpo_close(void *state);

/* The whole training: begins or goes on, writes FILE.gguf at its end. */
rm_status train_run(const train_recipe *, const train_options *, rm_error *);

#endif
