/* config.h - an experiment file: JSON with comments, checked key by key.
 *
 * Unknown keys, wrong types and impossible values are errors that name the file, the line, the
 * key, what was expected and the nearest known key. A list where a strategy parameter takes one
 * value is a sweep; several lists make their product. */
#ifndef RM_EXPERIMENTS_CONFIG_H
#define RM_EXPERIMENTS_CONFIG_H

#include "analysis/analysis.h"
#include "experiments/task.h"
#include "engine/remote/remote.h"
#include "strategies/strategy.h"

/* Values of `engine.isa` and --isa; NULL-terminated. Which of them a processor has, the engine
 * knows. */
extern const char *const rm_isa_names[];

/* Values of `engine.backend` and --backend, of `engine.products` and --products. */
extern const char *const rm_backend_names[], *const rm_product_names[];
enum { RM_PRODUCTS_EXACT, RM_PRODUCTS_FAST };

/* A model behind a server (engine/remote/remote.h says what the keys mean). */
typedef struct rm_config_remote {
    char *url, *model, *api_key_env;
    int concurrency, retries, choices;
    double timeout_s, backoff_s;
    bool logprobs, stream, extensions;
    int endpoint;                /* 0: completions, 1: chat */
    int top_logprobs;            /* most next tokens that the server lists; 0: none */
    char *end_token;             /* its spelling in such a list; NULL: empty */
} rm_config_remote;

typedef struct rm_config_model {
    char *name;                  /* how cells refer to it */
    size_t line;                 /* of the configuration */
    char *file;                  /* path or the name of an embedded model, as written; an address */
    rm_config_remote *remote;    /* NULL: it is computed here */
    rm_model_options options;    /* strings owned by the configuration */
} rm_config_model;

/* One cell of the plan: models x task x strategy x parameters. */
typedef struct rm_plan_cell {
    int *models;                 /* [n_models] indices into the configuration's models */
    int n_models;
    int task;                    /* index */
    rm_params *params;           /* strategy and values */
    char *label, *family;        /* see analysis.h, rm_cell */
    double size;
    const char *size_name;
    bool independent;            /* the cell's hash enters its random stream */
    uint64_t hash;               /* of model names, task, strategy, canonical parameters */
} rm_plan_cell;

/* Two cells, by label, that are compared beside the family against the baseline. */
typedef struct rm_config_pair {
    char *a, *b;
} rm_config_pair;

/* What an experiment claims (analysis.h); the strings belong to the list. */
typedef struct rm_claims {
    rm_claim *claim;             /* [n] */
    size_t n;
} rm_claims;

typedef struct rm_config {
    char *file;                  /* as given, for messages */
    char *text;                  /* as read, to be copied into the run directory */
    char *name, *description;
    rm_config_model *models;
    int n_models;
    char *replay_on;             /* NULL; or the model at whose cost all models are replayed */
    rm_task **tasks;
    int n_tasks;
    rm_plan_cell *cells;         /* the plan, in the order of the file */
    int n_cells;
    uint64_t *seeds;             /* [n_seeds] at least one */
    int n_seeds;
    int problems;                /* of each task */
    /* latency phase: problems 0 .. latency_problems-1, one at a time, cells in random order */
    int latency_problems, latency_repeats, latency_warmup;
    double max_wall_ms;          /* limits of one outcome; 0 none */
    uint64_t max_generated_tokens;
    size_t kv_bytes, kv_quota_bytes;
    int concurrency, threads, max_batch_rows; /* 0: the default */
    const char *isa;             /* static; NULL: the best there is */
    const char *backend;         /* static; NULL: auto */
    int device;
    bool fast;                   /* products */
    char *primary_metric;        /* "accuracy", so far the only one with paired tests */
    double margin;               /* delta of the comparison; NaN if none */
    rm_direction direction;      /* what is claimed of each cell against its baseline */
    char *baseline;              /* label of the cell the family is compared with, or NULL */
    rm_config_pair *pairs;       /* [n_pairs] */
    int n_pairs;
    char *hypothesis;            /* in words, or NULL */
    char *figure;                /* the one that shows it, or NULL */
    rm_claims claims;
    bool has_full;               /* the file describes a full size, ... */
    bool full;                   /* ... and this is it */
    uint64_t hash;               /* of everything that changes a record: not threads, concurrency,
                                    batch rows, kv_bytes or names of files */
} rm_config;

/* The text of `config` with one more key: every model replayed on `file`. RM_E_ARGUMENT if it has the
 * key already. */
rm_status rm_config_replayed(const rm_config *, const char *file, rm_text *, rm_error *);

/* Names of files in a configuration are relative to its own directory. rm_config_parse takes the
 * text as read from `file_name`; only `file_name`'s directory matters. */
rm_status rm_config_open(const char *file, rm_config **, rm_error *);
/* The full size, for which the members of "full" take the place of those that they are called
 * after; RM_E_ARGUMENT where the file has none. */
rm_status rm_config_open_full(const char *file, rm_config **, rm_error *);
rm_status rm_config_parse_full(const char *file_name, const char *text, size_t n, rm_config **,
                               rm_error *);
rm_status rm_config_parse(const char *file_name, const char *text, size_t n, rm_config **,
                          rm_error *);
void rm_config_free(rm_config *);

/* Opens a model behind a server (`remote`), which must be there. */
rm_status rm_config_model_open(const rm_config_model *, rm_engine *, rm_model **, rm_error *);

/* The plan for `ramify check`, as text or as JSON: models, tasks with the first rendered prompt
 * and its hash, cells, outcomes, and estimates of generated tokens and (where `models`, [n_models],
 * is not NULL) of FLOPs. Estimates take a task's typical length for every path and no sharing of
 * samples: an upper bound in most cases. `problems` 0: as the configuration says. */
rm_status rm_config_describe(const rm_config *, const rm_model_info *const *models, int problems,
                             bool json, rm_text *out, rm_error *);
/* The last line of that plan alone: cells, outcomes, tokens, FLOPs. */
void rm_config_totals(const rm_config *, const rm_model_info *const *models, int problems, rm_text *);
/* The same with the models themselves (NULL: none is open): where prompts go through chat templates
 * they are shown as each model reads them. */
rm_status rm_config_describe_open(const rm_config *, rm_model *const *models, int problems,
                                  bool json,
                                  rm_text *out, rm_error *);

#endif
