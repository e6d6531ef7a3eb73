/* engine.h - the engine: models, the token tree, and evaluation. The only header of this folder
 * that strategies, experiments and other programs include.
 *
 *   rm_engine   a device, its worker threads, its pool of KV pages, its scheduler
 *   rm_model    weights, hyperparameters and tokenizer, read-only once loaded
 *   rm_run      one problem under one strategy: its token tree, KV quota, random stream, account
 *   rm_path     a prefix in the token tree: tokens with their cached keys and values
 *   rm_eval     hands the engine a set of requests on paths and returns when all are served
 *
 * Ownership.  An engine outlives its models, prefixes and runs; a model outlives the runs that
 * use it, and a prefix the runs that name it. A model's file stays mapped and must not shrink while
 * the model is open. Everything a run hands out (paths, results of requests, rm_run_alloc) belongs
 * to the run and lives until the run ends; paths can be dropped earlier to give pages back.
 *
 * The same bits.  What a run computes depends on model, backend, instruction-set variant,
 * compute and KV type, seed, problem, its own quota and the requests made; never on batch size,
 * concurrency, threads, page size, the engine's KV limit, or what else runs.
 *
 * Errors.  rm_status and one sentence in rm_error, as base.h says. RM_E_LIMIT (quota, context)
 * and RM_E_BUDGET (time, tokens) are the two a strategy is expected to handle; RM_E_MEMORY is also
 * a cache too small for one problem alone, RM_E_FORMAT a model whose logits are no numbers.
 *
 * Threads.  An engine and all that belongs to it are used from one thread at a time; the engine
 * runs its own workers underneath. */
#ifndef RM_ENGINE_H
#define RM_ENGINE_H

#include "base/base.h"

#ifdef __cplusplus
extern "C" {
#endif

#define RM_VERSION "0.1.0"

typedef struct rm_engine rm_engine;
typedef struct rm_model rm_model;
typedef struct rm_prefix rm_prefix;
typedef struct rm_run rm_run;
typedef struct rm_path rm_path;

/* ---- engine ---------------------------------------------------------------------------- */

/* Zero-initialise and set what differs from the defaults. */
typedef struct rm_engine_options {
    const char *backend;   /* "auto" (default): "cuda" where there is a device, else "cpu" */
    const char *isa;       /* NULL: the best this processor has; "avx512-bf16", "avx512", "avx2",
                              "portable" */
    int n_threads;         /* 0: the processors this process may run on */
    int page_positions;    /* KV positions per page: 16 (default), 32 or 64 */
    size_t kv_bytes;       /* limit of all KV pages together; 0: a quarter of physical memory, half
                              of a device's own. The
                              problem in front may pass it by the rounding of its paths to pages,
                              and by a row of n_embd floats for each path whose state is kept */
    int max_batch_rows;    /* most rows in one forward pass; 0: 512, 1024 on a device; at
                              least 16 */
    int device;            /* cuda: which one, from 0 */
    bool fast;             /* cuda: the library chooses how a product is computed, and a result may
                              depend on how many rows the batch has; recorded */
} rm_engine_options;

typedef struct rm_engine_info {
    const char *backend, *isa;   /* live as long as the engine */
    char device[160];            /* the processor's or the device's own name */
    char why[192];               /* what "auto" took and why; "" where there was nothing to choose */
    char libraries[96];          /* cuda: versions that its results may depend on; else "" */
    int multiprocessors;         /* cuda; else 0 */
    bool fast;                   /* as asked for */
    int n_threads, page_positions, max_batch_rows;
    size_t kv_limit_bytes;
} rm_engine_info;

/* Pages of the whole engine, now and at most. */
typedef struct rm_kv_stats {
    size_t pages_in_use, pages_peak, pages_allocated;
    size_t bytes_in_use, bytes_peak;
    size_t positions_shared; /* positions that more than one live path refers to, counted as
                                (references - 1) each */
    uint64_t suspensions, recomputed_positions; /* since the engine was opened */
} rm_kv_stats;

/* Time the engine spent, for profiles: seconds since the engine was opened. */
typedef struct rm_engine_times {
    double forward_s;    /* inside rm_ops.flush: products, attention, picks */
    double schedule_s;   /* forming batches, page tables, handing results over */
    double strategy_s;   /* inside coroutines: strategy code */
    uint64_t rounds, rows;
} rm_engine_times;

RM_API rm_status rm_engine_open(const rm_engine_options *, rm_engine **, rm_error *);
RM_API void rm_engine_close(rm_engine *);
RM_API rm_engine_info rm_engine_describe(const rm_engine *);
RM_API rm_kv_stats rm_engine_kv(const rm_engine *);
RM_API rm_engine_times rm_engine_profile(const rm_engine *);

/* ---- models and tokenizers --------------------------------------------------------------- */

typedef struct rm_model_options {
    const char *compute;   /* NULL: as the weights are stored (f32 for f32 and f16); or "f32",
                              "bf16", "q8" */
    const char *kv;        /* NULL: "f32", or "bf16" where compute is bf16 */
    const char *replay_on; /* NULL; or the file of a model of any shape and vocabulary: this model
                              decides, that one goes through the same rows of the same trees, and
                              FLOPs, bytes and times are its (replay.c). The engine's KV limit holds
                              for both caches together; quotas and rm_kv_stats count the first's */
    int n_ctx;             /* 0: as the file states it; else so many positions, up to which paths may
                              grow. Where rotary scaling depends on the context (dynamic, longrope)
                              this is the one, and dynamic may be given more than the file states */
} rm_model_options;

typedef struct rm_model_info {
    const char *name;          /* general.name of the file, else its file name; lives with the
                                  model */
    const char *file, *arch;   /* path as opened; "llama", "mistral", "qwen2", "qwen3" */
    char hash[33];             /* XXH3-128 of the file's bytes, hexadecimal */
    uint64_t id;               /* hash of content, compute and KV type: enters the random stream */
    const char *weight_type;   /* type of most weights: "f32", "f16", "bf16", "q8_0", "q4_k", ... */
    const char *weight_types;  /* all types by their share of bytes: "q4_k 81%, q6_k 19%" */
    const char *compute, *kv;
    const char *tokenizer;     /* "bpe", "sentencepiece" or "unigram" */
    int n_layers, n_embd, n_heads, n_kv_heads, head_dim, n_ff, n_vocab, n_ctx;
    int window;            /* positions that attention sees, the row's own included; 0: all */
    double rope_theta, norm_eps;
    const char *rope_scaling;  /* "yarn by 4 from 32768 positions"; NULL: none */
    bool tied;                 /* the output matrix is the embedding */
    uint64_t n_params;
    size_t file_bytes, memory_bytes; /* of the file; of the weights as held in memory */
    double flops_per_token;    /* of one row, without attention over the cache and without the
                                  output matrix; a multiply-add counts 2 */
    double flops_output;       /* of the output matrix, for each row whose distribution is wanted */
    double flops_per_position; /* of attention, for each cached position a row looks at */
    size_t kv_position_bytes;  /* keys and values of one position, all layers: what an account
                                  counts as read */
    size_t kv_held_bytes;      /* the same as the backend pads it: what quotas and the engine's
                                  limit count */
    int32_t bos, eos;          /* -1: none */
    int32_t value_good, value_bad; /* -1: none. A model that judges texts: after one,
                                  p(good) / (p(good) + p(bad)) says how probably it ends right */
    bool add_bos;
    const char *sep_token, *pad_token, *unk_token; /* texts of special tokens by their roles,
                                  for chat templates; NULL: none; live with the model */
    const char *chat_template; /* a Jinja2 program as the file has it, or NULL; lives with the
                                  model */
    const char *sampling;      /* what the model's makers sample with, "temperature 0.6, top_p
                                  0.95", or NULL; said here, never applied */
    bool served;               /* elsewhere (rm_service): sizes, types and FLOPs above are unknown,
                                  0 */
} rm_model_info;

RM_API rm_status rm_model_open(rm_engine *, const char *file, const rm_model_options *,
                               rm_model **, rm_error *);
RM_API void rm_model_close(rm_model *);
RM_API const rm_model_info *rm_model_describe(const rm_model *);
RM_API const rm_model_info *rm_model_replayed_on(const rm_model *); /* NULL: it is not replayed */

/* The tokens that end a text: eos, what the file adds to it (eot, eom), and special tokens whose name
 * is one that the common chat formats end a turn with (<|im_end|>, <|eot_id|>). */
RM_API const int32_t *rm_model_stop_tokens(const rm_model *, int *n);

/* Text to tokens. With `special`, special tokens written out in the text (<think>) become their
 * ids, and BOS is put in front where the model's file says so; without, the text is only text.
 * Bytes that are not valid UTF-8 are encoded byte by byte through the tokenizer's byte tokens;
 * a text that needs a byte or character the vocabulary lacks becomes the unknown token where the
 * file says so, and else is RM_E_ARGUMENT (the sentence names it). A token that the file puts
 * behind a text (EOS) is not put there: texts are to be gone on with. *tokens is malloc'd. */
RM_API rm_status rm_tokenize(const rm_model *, const char *text, size_t n_bytes, bool special,
                             int32_t **tokens, int *n_tokens, rm_error *);

/* A rendered chat prompt to tokens. Special tokens written out become their ids, except where
 * plain[i] ([n_bytes], or NULL: nowhere) says that byte i is mere text; no BOS is put in front:
 * chat templates write it themselves. Errors and *tokens as above. */
RM_API rm_status rm_tokenize_rendered(const rm_model *, const char *text, const char *plain,
                                      size_t n_bytes, int32_t **tokens, int *n_tokens, rm_error *);

/* Appends the text of tokens to `text`. Special tokens are written out if `special`, else
 * dropped. Every byte sequence round-trips: rm_detokenize(rm_tokenize(s)) == s for valid UTF-8,
 * apart from the leading space that SentencePiece adds and this removes again (where a tokenizer.json
 * says Metaspace it joins a space that was there), from what a vocabulary's normalizer rewrites
 * (Unicode's form NFC, case, runs of blanks), from blanks that an added token swallows (lstrip,
 * rstrip), and from unknown characters. */
RM_API void rm_detokenize(const rm_model *, const int32_t *tokens, int n_tokens, bool special,
                          rm_text *text);

/* Bytes of one token as it appears in running text (not NUL-terminated; lives with the model). */
RM_API const char *rm_token_bytes(const rm_model *, int32_t token, size_t *n_bytes, bool *special);

/* RM_OK if token ids mean the same in both, else RM_E_ARGUMENT naming the first difference. */
RM_API rm_status rm_model_same_vocabulary(const rm_model *, const rm_model *, rm_error *);

/* A tokenizer by itself, from a GGUF file with or without tensors or a Hugging Face folder: the
 * same promises as the functions above (rm_tokenizer_encode is rm_tokenize, rm_tokenizer_decode
 * rm_detokenize). */
typedef struct rm_tokenizer rm_tokenizer;

RM_API rm_status rm_tokenizer_open(const char *file, rm_tokenizer **, rm_error *);
RM_API void rm_tokenizer_free(rm_tokenizer *);
RM_API rm_status rm_tokenizer_encode(const rm_tokenizer *, const char *text, size_t n_bytes,
                                     bool special, int32_t **tokens, int *n_tokens, rm_error *);
RM_API void rm_tokenizer_decode(const rm_tokenizer *, const int32_t *tokens, int n_tokens,
                                bool special, rm_text *text);

/* A llama-shaped model with random weights, for measuring speed: matrices uniform with standard
 * deviation 1/sqrt(n_in), norms 1, drawn by Philox from `seed` (the same bits everywhere). Its
 * vocabulary is byte-level: <bos>, <eos>, the 256 bytes (printable ones first), then two-byte
 * and longer pieces with merges that make them. */
typedef struct rm_random_model {
    int n_layers, n_embd, n_heads, n_ff, n_vocab, n_ctx; /* all required */
    int n_kv_heads;            /* 0: n_heads */
    int head_dim;              /* 0: n_embd / n_heads */
    bool tied;                 /* no output matrix of its own: the embedding is used */
    double rope_theta;         /* 0: 10000 */
    const char *weight_type;   /* "f32", "f16", "bf16", "q8_0", "q4_0", "q4_1", "q5_0", "q5_1",
                                  "q4_k", "q5_k", "q6_k", or "q4_k_m": the mixture files of that
                                  name have */
    uint64_t seed;
    const char *chat_template; /* written into the file; NULL: none */
} rm_random_model;

/* Writes it to `file` as GGUF, replacing the file only when all is written. */
RM_API rm_status rm_model_write_random(const rm_random_model *, const char *file, rm_error *);

/* ---- runs ------------------------------------------------------------------------------ */

typedef struct rm_run_options {
    uint64_t seed;            /* the run's seed: key of every random draw */
    uint64_t problem;         /* hash that names the problem */
    uint64_t stream;          /* 0, or the cell's hash where cells must not share draws */
    size_t kv_quota_bytes;    /* most this run may hold; 0: no quota. Counted in positions of its
                              own tree, as if alone, kv_held_bytes each, and checked when a request
                              is made, for the most it could add: pending tokens, and all but the
                              last of those it may append; under a sliding window only what some
                              path's next row looks at is held. More than the quota is RM_E_LIMIT.
                              A quota above the engine's limit is refused when the run is opened
                              (RM_E_LIMIT); without one, needing more than that limit is
                              RM_E_MEMORY, which ends the problem: no result may depend on it */
    bool kv_overcommit;       /* jobs: the quota is a worst case that few reach. The job is admitted
                              while there is any room, not only when all of it is free */
    double max_wall_ms;       /* 0: none. Once exceeded rm_eval returns RM_E_BUDGET, also in the
                              middle of a span */
    uint64_t max_generated_tokens; /* 0: none. Spans are cut there (RM_STOP_BUDGET), and a request
                              for more (span, top, all) returns RM_E_BUDGET */
    const rm_prefix *prefix;  /* cached tokens that prompts of this run may begin with, or NULL */
    bool keep_journal;          /* what it draws will be asked for by rm_run_journal */
    const void *journal;        /* [n_journal] what rm_run_journal gave of an earlier run of the same problem,
                                 all of it in order, or NULL. Copied. What it knows is not computed
                                 again, but gone through; results and account are those of a run that
                                 was never interrupted, measured times include those of the earlier one.
                                 A journal that does not fit is left aside */
    size_t n_journal;
} rm_run_options;

/* Appends what the run has drawn since it was last asked (all of it at the `first` time) as bytes.
 * Of a run that is under way: from rm_engine_watch's function. Spans of models computed here are
 * kept, until something else is asked for. */
RM_API rm_status rm_run_journal(rm_run *, bool first, rm_text *, rm_error *);

/* How far a run is. */
typedef struct rm_run_flight {
    uint64_t tokens;          /* generated */
    uint64_t replayed;        /* of these, taken from a journal */
    int paths;                /* spans being drawn now */
} rm_run_flight;
RM_API rm_run_flight rm_run_in_flight(const rm_run *);

/* A run outside the scheduler, for programs that evaluate one problem at a time. */
RM_API rm_status rm_run_open(rm_engine *, const rm_run_options *, rm_run **, rm_error *);
RM_API void rm_run_close(rm_run *);

/* A problem for the scheduler. `work` is straight-line code that calls rm_eval; it runs as a
 * coroutine on a stack of its own (256 KiB, guard page below) and must not block. */
typedef struct rm_job {
    rm_run_options options;
    rm_status (*work)(rm_run *, void *arg, rm_error *);
    void *arg;
    rm_status status;         /* set when done: what `work` returned */
    rm_error error;
    rm_cost cost;
} rm_job;

/* Runs jobs, at most `concurrency` at once. `next` gives a job or NULL when there are no more;
 * `done` gets each finished job, in the order of finishing. Both run on the caller's thread
 * between rounds. If `cancel` becomes true, unfinished jobs are unwound: their rm_eval returns
 * RM_E_CANCELLED, `done` sees them with that status, and so does the caller. A job with a KV
 * quota is admitted when that much is free; one without, or with kv_overcommit, when there is any
 * room, and suspended and recomputed should it need more than there is. */
RM_API rm_status rm_engine_run(rm_engine *, int concurrency, rm_job *(*next)(void *),
                               void (*done)(void *, rm_job *), void *arg,
                               const volatile bool *cancel, rm_error *);

/* Calls `watch` between two passes of rm_engine_run, at most every every_s seconds, and once before
 * jobs are unwound by `cancel`; NULL: no more. */
RM_API void rm_engine_watch(rm_engine *, double every_s, void (*watch)(void *arg), void *arg);

/* Tokens that many problems begin with, evaluated once and held until closed; a pool that is short
 * takes their pages too, and they are evaluated again for a later run. Using one changes neither a
 * result nor an account. A prefix outlives the runs that name it in their options. */
RM_API rm_status rm_prefix_open(rm_engine *, rm_model *, const int32_t *tokens, int n,
                                rm_prefix **, rm_error *);
RM_API void rm_prefix_close(rm_prefix *);

/* Memory that lives until the run ends; NULL when out of memory. Zeroed, 16-byte aligned. */
RM_API void *rm_run_alloc(rm_run *, size_t bytes);

/* 64 random bits for a strategy's own draws. `purpose` keeps kinds apart, `index` and `draw`
 * number them. */
typedef enum rm_purpose {
    RM_PURPOSE_TOKEN = 1, /* the engine's own: drawing tokens */
    RM_PURPOSE_GUMBEL,
    RM_PURPOSE_DIRICHLET,
    RM_PURPOSE_RESAMPLE,
    RM_PURPOSE_ACCEPT
} rm_purpose;
RM_API uint64_t rm_run_random(const rm_run *, rm_purpose, uint64_t who, uint32_t index,
                              uint32_t draw);

/* The account so far. Wall time runs until the run ends. */
RM_API rm_cost rm_run_cost(const rm_run *);

/* The account of a run that draws n samples of the given numbers of generated tokens from one
 * prompt and nothing else: what rm_run_cost would say (measured fields NaN). For charging cells
 * that share one pool of samples. */
RM_API rm_cost rm_cost_of_samples(const rm_model *, int n_prompt, const int *n_generated, int n);

/* ---- the token tree ---------------------------------------------------------------------- */

/* A new path holding a prompt (n >= 1 tokens, copied). Nothing is evaluated yet. Its identity is
 * a hash of the tokens: two paths of one prompt draw the same, forks of one path do not. */
RM_API rm_status rm_path_new(rm_run *, rm_model *, const int32_t *tokens, int n, rm_path **,
                             rm_error *);

/* A path that continues `parent` from where it is now: pages are shared, nothing is copied.
 * `ordinal` names the child among its siblings: (parent's identity, ordinal) is the child's
 * identity, from which its random draws follow. Only what `parent` has evaluated is shared:
 * evaluate a prompt first (RM_WANT_NOTHING), then fork. */
RM_API rm_status rm_path_fork(rm_path *parent, uint32_t ordinal, rm_path **, rm_error *);

/* Appends tokens without evaluating them; the next request on the path does. They count as
 * generated: whoever appends has chosen them. */
RM_API rm_status rm_path_append(rm_path *, const int32_t *tokens, int n, rm_error *);

/* Takes back the last token, which was drawn or appended and not evaluated since; it stays counted
 * as generated. The token before it is evaluated once more by the path's next request, since what
 * it predicted is no longer there. RM_E_ARGUMENT where the last token has been evaluated, or where
 * the one before it belongs to another path too: fork that one again instead. */
RM_API rm_status rm_path_take_back(rm_path *, rm_error *);

/* Gives the path's pages back; children keep what they share. NULL is accepted. */
RM_API void rm_path_drop(rm_path *);

RM_API int rm_path_length(const rm_path *);              /* tokens, prompt included */
RM_API int rm_path_prompt_length(const rm_path *);
RM_API const int32_t *rm_path_tokens(const rm_path *);   /* valid until the path grows */
RM_API rm_model *rm_path_model(const rm_path *);
RM_API uint64_t rm_path_identity(const rm_path *);

/* ---- requests -------------------------------------------------------------------------- */

/* Parameters of a draw, named as Hugging Face generate() names them. Filters apply in its order:
 * repetition penalty, temperature, top_k, top_p, min_p, typical_p; then the rest is renormalised
 * and one token drawn by inverse CDF in token-id order over integer weights (pick.c has the exact
 * rules and ties). The off values (defaults) are given. */
typedef struct rm_sampling {
    bool do_sample;             /* false: the most likely token, ties to the smaller id */
    double temperature;         /* 1; > 0, < 1e30 */
    int top_k;                  /* 0 */
    double top_p;               /* 1 */
    double min_p;               /* 0 */
    double typical_p;           /* 1 */
    double repetition_penalty;  /* 1; > 0, < 1e30 */
} rm_sampling;

#define RM_SAMPLING_DEFAULT { true, 1.0, 0, 1.0, 0.0, 1.0, 1.0 }

/* RM_E_ARGUMENT if a value is outside its range, naming it. */
RM_API rm_status rm_sampling_check(const rm_sampling *, rm_error *);

typedef enum rm_want {
    RM_WANT_NOTHING,  /* evaluate the path's tokens, so that forks share them */
    RM_WANT_SPAN,     /* draw up to max_new_tokens, appending each to the path */
    RM_WANT_TOP,      /* the k most likely next tokens */
    RM_WANT_LOGPROBS, /* log-probabilities of the given tokens as the next one */
    RM_WANT_SCORE,    /* append the given tokens; log-probability of each where it stands */
    RM_WANT_ALL       /* log-probabilities of the whole vocabulary for the next token */
} rm_want;

/* How 1 to 8 paths make one distribution. Members may be of several models of one vocabulary;
 * a drawn token is appended to all of them. */
typedef enum rm_combine {
    RM_COMBINE_MIXTURE, /* p = sum_m w_m p_m, weights normalised to sum 1 */
    RM_COMBINE_PRODUCT  /* log p = sum_m w_m log p_m, renormalised */
} rm_combine;

typedef struct rm_member {
    rm_path *path;
    double weight;    /* > 0 */
} rm_member;

/* What ends a span besides max_new_tokens. A stop string counts when its last byte falls into
 * the span; it may begin in tokens generated before. */
typedef struct rm_stop {
    const int32_t *tokens;      /* NULL: the model's own stop tokens */
    int n_tokens;
    const char *const *strings; /* end the answer, e.g. "\nQuestion:" */
    int n_strings;
    const char *const *steps;   /* end a reasoning step */
    int n_steps;
} rm_stop;

typedef enum rm_stop_reason {
    RM_STOP_NONE,
    RM_STOP_TOKEN,    /* a stop token was drawn; it is the span's last token */
    RM_STOP_STRING,
    RM_STOP_STEP,
    RM_STOP_LENGTH,   /* max_new_tokens */
    RM_STOP_CONTEXT,  /* the model's context is full */
    RM_STOP_BUDGET    /* max_generated_tokens of the run */
} rm_stop_reason;

/* One request. Set `path`, or `members` for a distribution over several; zero the rest that does
 * not apply. Results belong to the run and live until it ends; `brief` ones until the next rm_eval:
 * a search that asks at every token would pile up lists that it has read. Within one rm_eval a path
 * may appear in one request only. */
typedef struct rm_request {
    rm_want want;
    rm_path *path;
    const rm_member *members;   /* [n_members], used when path is NULL */
    int n_members;
    rm_combine combine;

    const rm_sampling *sampling;/* span: required; top, all: its repetition_penalty acts on the
                                   log-softmax without renormalising (beam search) or NULL */
    const rm_stop *stop;        /* span; NULL: the model's stop tokens */
    int max_new_tokens;         /* span */
    int k;                      /* top */
    const int32_t *tokens;      /* logprobs, score */
    int n_tokens;
    bool brief;                 /* all but spans */

    struct {
        int n;                  /* span: tokens drawn; top: min(k, V); logprobs, score: n_tokens;
                                   all: V */
        const int32_t *tokens;  /* [n] span: as drawn; top: by descending lp, ties by id; NULL
                                   for the others */
        const double *lp;       /* [n] natural log; span, score and logprobs: of the raw model
                                   (of the combined distribution for members) */
        const double *lp_sampling; /* [n] span: under the distribution drawn from, 0 if greedy */
        rm_stop_reason reason;  /* span */
        int n_stop_bytes;       /* span ended by a string or step: bytes of generated text, all
                                   spans of the path together, up to and without the match */
    } result;
} rm_request;

/* Appends the same tokens to every member. The account counts them once, as it counts a token
 * drawn from a combined distribution. */
RM_API rm_status rm_members_append(const rm_member *, int n_members, const int32_t *tokens, int n,
                                   rm_error *);

/* Serves the requests. On failure no path has changed and no result is written; RM_E_LIMIT says
 * how much was asked and how much the quota has left. */
RM_API rm_status rm_eval(rm_run *, rm_request *, int n, rm_error *);

/* ---- models served elsewhere ---------------------------------------------------------------
 *
 * A model may be a service: something outside of this engine, a server reached by HTTP for instance,
 * that continues texts. Its paths hold pieces of text for tokens: a prompt is one piece, and what was
 * generated is as many as the service told apart. Spans are handed to it while the run's coroutine
 * waits; forks continue from text. The most likely next tokens are served where the service gives them
 * (`most_top`), without a repetition penalty; nothing else is (other probabilities, mixtures), and such a
 * request is RM_E_ARGUMENT. A token by itself is a piece of text and no more: where the service would
 * read a path's text in other tokens than were chosen, which the length of the prompt that it tells
 * gives away, the request is RM_E_FORMAT. What a service returns is outside the promise of equal bits, and the
 * account holds what it tells: tokens of prompt and answer, wall time; everything else is not
 * counted. */

/* What a model can be asked for; bits with the values of a strategy's needs (strategy.h). */
enum { RM_SERVES_SAMPLES = 1, RM_SERVES_FORK = 16, RM_SERVES_LOGPROBS = 256 };

/* One span to draw, or a list of next tokens. All of it is valid during `submit` only. */
typedef struct rm_service_span {
    const char *prompt;            /* [n_prompt] bytes, the path's whole text */
    size_t n_prompt;
    bool continues;                /* some of it was generated, and is not the problem's prompt */
    int k;                         /* > 0: the k most likely next tokens are wanted, and no span */
    const rm_sampling *sampling;
    int max_new_tokens;
    const char *const *stops;      /* [n_stops] strings that end it, of answers and of steps */
    int n_stops;
    bool endless;                  /* no token ends it: the request's list of stop tokens is empty */
    uint64_t seed;                 /* names the draw: problem, sampling parameters, path */
} rm_service_span;

typedef struct rm_service_piece {
    const char *text;
    size_t n;
} rm_service_piece;

/* What came back, valid during `done` only. */
typedef struct rm_service_result {
    const rm_service_piece *pieces;/* [n_pieces] tokens, or the text in one where they are not
                                      told */
    int n_pieces;
    const double *lp;              /* [n_pieces] natural log, as the service reports them; or
                                      NULL */
    bool has_end;                  /* the last piece is the end token */
    int end;                       /* of most likely tokens, by falling lp: which is the end token;
                                      -1: none of them */
    int64_t prompt_tokens, generated_tokens; /* -1: not told */
    rm_stop_reason reason;         /* TOKEN, STRING, LENGTH, or CONTEXT: less than was asked for */
    int stop;                      /* STRING: which of `stops`; -1: not told */
    double first_token_s;          /* by rm_now_s; 0: it was not seen to arrive */
} rm_service_result;

/* What passed between us and a service, whatever became of it. */
typedef struct rm_service_traffic {
    uint64_t requests, failed_attempts;
    uint64_t prompt_tokens, cached_tokens, generated_tokens; /* as the service says */
    uint64_t untold;               /* answers without these counts */
    uint64_t discarded_tokens;     /* arrived of answers that broke off or were no longer wanted:
                                      in no outcome's account, but somebody computed them */
} rm_service_traffic;

typedef void rm_service_done(void *arg, uint64_t ticket, rm_status, const rm_service_result *,
                             const rm_error *);

/* `submit` only queues. `poll` waits at most wait_ms until something has finished and calls `done`
 * for each span that has; it may be called at any time. A cancelled ticket is never done. */
typedef struct rm_service {
    void *self;
    rm_status (*submit)(void *self, uint64_t ticket, const rm_service_span *, rm_error *);
    void (*cancel)(void *self, uint64_t ticket);
    void (*poll)(void *self, int wait_ms, rm_service_done *, void *arg);
    void (*close)(void *self);
    int most_top;                  /* most tokens it lists of the next ones; 0: it lists none */
    void (*tell)(const void *self, rm_service_traffic *); /* NULL: it does not know */
} rm_service;

/* False for a model that is computed here, and for a service that does not know. */
RM_API bool rm_model_traffic(const rm_model *, rm_service_traffic *);

/* A model that a service computes. `name` says which model it is and enters hash and id, so that it
 * draws the same wherever it is served; `address` is for people. Takes the service over, also on
 * failure. */
RM_API rm_status rm_model_open_service(rm_engine *, const char *name, const char *address,
                                       const rm_service *, rm_model **, rm_error *);

/* ---- elementary functions ----------------------------------------------------------------- */

/* For whatever reaches a record: the same bits on every machine and under every C library
 * (math.c over num.h; at most 2 units in the last place from the exact value, pow 2 + |y log x|).
 * sqrt of <math.h> is exactly rounded everywhere and needs no replacement. */
RM_API double rm_math_exp(double);
RM_API double rm_math_log(double);        /* natural; -infinity at 0, NaN below */
RM_API double rm_math_pow(double x, double y); /* x > 0 */

#ifdef __cplusplus
}
#endif
#endif
