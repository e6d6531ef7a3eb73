/* kinds.h - what a kind of task supplies, and what all tasks share (private to experiments).
 *
 * A kind makes drafts: question, canonical form, reference. Everything else is common: the prompt
 * around the question (prompt.c), splits, duplicates, extraction and grading (task.c). */
#ifndef RM_EXPERIMENTS_KINDS_H
#define RM_EXPERIMENTS_KINDS_H

#include "experiments/chat/chat.h"
#include "experiments/graders/grader.h"
#include "experiments/task.h"

/* One problem as its kind describes it. */
typedef struct rm_draft {
    rm_text question;    /* as prompts and people see it */
    rm_text canonical;   /* equal problems have equal canonical forms */
    rm_text id;          /* empty: the question is the id */
    rm_text reference;   /* as the source has it; task.c makes it canonical */
    rm_text numbers, target; /* fields for prompts, where the kind has them */
    rm_text level, cluster;
    const cJSON *record; /* the line it came from: its members are fields for prompts */
} rm_draft;

void rm_draft_clear(rm_draft *);
void rm_draft_free(rm_draft *);

/* ---- dataset.c --------------------------------------------------------------------------- */

/* Where a data file comes from, for people who do not have it yet: keys of every `path` and
 * `file`. */
typedef struct rm_origin {
    char *source; /* address to get it from, or NULL */
    char *xxh3;   /* XXH3-64 of its bytes, 16 hexadecimal digits, or NULL */
} rm_origin;

/* Rewrites the failure to open `file`: where to get it, what it must be and where it belongs.
 * Returns `status`. */
rm_status rm_origin_absent(const rm_origin *, const char *file, rm_status status, rm_error *err);
/* Refuses a file whose bytes have another hash than the one stated. */
rm_status rm_origin_check(const rm_origin *, const char *file, uint64_t hash, rm_error *err);

/* The records of a file: one JSON object a line, one array of objects, or one object that holds
 * such an array under the name `member` (NULL: none). */
typedef struct rm_dataset {
    rm_json **documents;   /* [n_documents], owned */
    int n_documents;
    const cJSON **items;   /* [n] into the documents */
    int n;
    uint64_t hash;         /* of the file's bytes */
} rm_dataset;
rm_status rm_dataset_read(const char *file, const char *member, const rm_origin *, rm_dataset *,
                          rm_error *);
/* The document that holds record i, for messages. */
const rm_json *rm_dataset_document(const rm_dataset *, size_t i);
void rm_dataset_free(rm_dataset *);

/* Few-shot examples and how they are shown. */
typedef struct rm_examples {
    rm_draft *items; /* `reference` holds the example's answer as it is shown */
    int n;
    rm_dataset records; /* what drafts point into */
    char *template, *separator;
    bool turns;      /* shown as turns of the chat: the prompt, and `template` as the reply to it */
    struct rm_chat_turn *shown; /* [n] with `turns`: their texts */
} rm_examples;

/* What every task says about its prompt and its answers. */
typedef struct rm_format {
    char *name, *kind;
    uint64_t seed;
    int split;               /* rm_split */
    char *prompt;            /* template: "{question}=<think>" */
    char *system, *reply_prefix;
    int chat;                /* rm_chat_kind */
    char *chat_template, *date;
    const cJSON *template_variables; /* read once, when the task is made */
    char *wait;              /* goes on with a thought that has ended (budget forcing) */
    rm_strings stop, step_ends, think;
    const cJSON *few_shot, *answer; /* read once, when the task is made */
    int max_new_tokens, typical_tokens;
    rm_grader grader;
} rm_format;

typedef enum rm_split { RM_SPLIT_ALL, RM_SPLIT_TEST, RM_SPLIT_TUNE, RM_SPLIT_TRAIN } rm_split;
typedef enum rm_chat_kind {
    RM_CHAT_NONE, RM_CHAT_CHATML, RM_CHAT_LLAMA3, RM_CHAT_MISTRAL,
    RM_CHAT_MODEL            /* through a chat template, model by model (chat.c) */
} rm_chat_kind;

typedef struct rm_kind {
    const char *name, *summary;
    const rm_key *keys;
    size_t size;                       /* of the struct that `keys` fill, zeroed */
    const char *canonical_prefix;      /* problems of one prefix are compared */
    /* Defaults before the keys are read: strings malloc'd. */
    rm_status (*defaults)(rm_format *, void *options, rm_error *);
    /* After the keys: checks them and reads files. */
    rm_status (*open)(rm_task *, void *options, const rm_json *, const cJSON *object,
                      const char *path, rm_error *);
    /* Problem `index`. Generated kinds (count NULL) make another one for each `attempt`. */
    rm_status (*make)(const rm_task *, const void *options, size_t index, uint32_t attempt,
                      rm_draft *, rm_error *);
    size_t (*count)(const void *options);
    int (*typical)(const void *options); /* tokens of a usual candidate; NULL: unknown */
    void (*close)(void *options);
    bool verifier;                     /* the reference follows from the problem itself */
} rm_kind;

extern const rm_kind rm_kind_arithmetic, rm_kind_countdown, rm_kind_game24, rm_kind_jsonl;

/* A set of 64-bit hashes. */
typedef struct rm_hash_set {
    uint64_t *slots;
    size_t n, capacity;
} rm_hash_set;
rm_status rm_hash_set_add(rm_hash_set *, uint64_t hash, bool *added, rm_error *);
bool rm_hash_set_has(const rm_hash_set *, uint64_t hash);

typedef struct rm_slot rm_slot; /* one finished problem */
typedef struct rm_task_chats rm_task_chats; /* chat templates of the models so far */

struct rm_task {
    const rm_kind *kind;
    rm_format format;
    void *options;
    char *folder;
    rm_extractor extractor;
    rm_examples examples;
    rm_hash_set seen;      /* few-shot examples; for generated kinds also the problems so far */
    size_t *selected;      /* files: [n_selected] records of the split */
    size_t n_selected;
    rm_slot **slots;       /* [n_slots] problems made so far; addresses stay */
    size_t n_slots, capacity;
    uint64_t hash;
    rm_task_chats *chats;  /* RM_CHAT_MODEL, else NULL */
};

/* Draws for generated problems: a stream named by kind, index and attempt under the seed. */
typedef struct rm_draws {
    uint64_t seed, stream;
    uint32_t attempt, draw;
} rm_draws;
rm_draws rm_draws_for(const rm_task *, size_t index, uint32_t attempt);
/* Uniform in [low, high]. */
int rm_draw(rm_draws *, int low, int high);

/* Problem `index` of a generated task's split, made without a look at those before it: for
 * training, which reads millions and keeps none. *hash (may be NULL) is the canonical one. */
rm_status rm_task_draft(const rm_task *, size_t index, rm_draft *, uint64_t *hash, rm_error *);
/* The same as a whole problem in `slot`, to be released with rm_task_drop. */
rm_status rm_task_draw(const rm_task *, size_t index, rm_slot **slot, const rm_item **, rm_error *);
void rm_task_drop(rm_slot *);

/* ---- prompt.c ---------------------------------------------------------------------------- */

/* Expands {question}, {answer}, {numbers}, {target} and the members of the draft's record; "{{"
 * and "}}" stand for braces. Unknown names are RM_E_ARGUMENT. */
rm_status rm_template_expand(const char *template, const rm_draft *, rm_text *, rm_error *);
/* The whole prompt of a problem: system, examples, question, chat markup. */
rm_status rm_prompt_render(const rm_task *, const rm_draft *, rm_text *, rm_error *);
rm_status rm_examples_read(rm_task *, const rm_json *, const cJSON *few_shot, const char *path,
                           rm_error *);
void rm_examples_free(rm_examples *);
/* A member of a record as text: strings as they are, numbers in full. False if it has none. */
bool rm_record_field(const cJSON *record, const char *name, rm_text *);

/* The texts of examples that are turns, once the prompt is known. */
rm_status rm_examples_show(rm_task *, rm_error *);

/* ---- chat.c ------------------------------------------------------------------------------ */

/* Reads the keys of a task whose prompts go through chat templates; nothing for the others. */
rm_status rm_task_chats_new(rm_task *, const rm_json *, const cJSON *object, const char *path,
                            rm_error *);
void rm_task_chats_free(rm_task_chats *);

/* ---- csv.c ------------------------------------------------------------------------------- */

/* RFC 4180: fields by commas, quoted fields may hold commas, line breaks and doubled quotes. */
typedef struct rm_csv {
    char *text;          /* owned; fields point into it, unquoted in place */
    char **fields;       /* row after row */
    size_t *row_start;   /* [n_rows + 1] indices into fields */
    size_t *row_line;    /* [n_rows] */
    size_t n_rows, n_fields;
} rm_csv;
rm_status rm_csv_read(const char *file, rm_csv *, uint64_t *hash, rm_error *);
rm_status rm_csv_parse(const char *name, char *text, size_t n, rm_csv *, rm_error *);
void rm_csv_free(rm_csv *);

#endif
