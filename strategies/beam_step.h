/* beam_step.h - one step of beam search on given log-probabilities (folder-private).
 *
 * Pure: no engine, no text, no allocation. The caller owns every array.
 *
 *     keep = max(2, 1 + n_eos) * B
 *     select    s[b,v] = live[b].score + lp[b][v] - lambda * c[v] * theta[b,v]
 *                 c      how often earlier groups chose v at this step
 *                 theta  the repetition penalty where v stands in beam b, else 1; lp has it already
 *               the best `keep` over all b, v; ties to the earlier beam, then list order
 *     (caller)  marks the candidates that end: a stop token, a stop string, the length limit
 *     settle    the ended ones among the first B enter `done`, which keeps its best B by
 *               s / norm(length); the first B of the others are the next live ones; then
 *       best_possible = live[0].score / norm(L),  L = max_new_tokens if early = never and
 *                       length_penalty > 0, else the current length
 *       stop if nothing is live, or done is full and (early = true or best_possible <= worst done)
 *
 * as Hugging Face generate() computes it (transformers 4.50 and later, `_beam_search`), with one
 * difference: its B - 1 placeholders of score -1e9 at the first step are never evaluated and
 * never enter `done`. It matters only where B exceeds the vocabulary.
 *
 * Its processors subtract the diversity first and apply the repetition penalty to the difference
 * (4.49, `_get_logits_processor`). A log-probability is not positive, so that the penalty is a
 * factor: theta (lp - lambda c) = theta lp - lambda c theta.
 *
 * At the length limit every candidate ends, so the first B of the list enter; a worse one could
 * not, since all of them have the same length. */
#ifndef RM_STRATEGIES_BEAM_STEP_H
#define RM_STRATEGIES_BEAM_STEP_H

#include "engine/engine.h"

typedef enum beam_early { BEAM_EARLY_FALSE, BEAM_EARLY_TRUE, BEAM_EARLY_NEVER } beam_early;

typedef enum beam_norm {
    BEAM_NORM_GENERATED, /* length^alpha: generated tokens, a stop token included */
    BEAM_NORM_TOTAL,     /* (prompt + length)^alpha, as vLLM counts */
    BEAM_NORM_GNMT,      /* ((5 + length) / 6)^alpha, Wu et al. 2016, arXiv:1609.08144 */
    BEAM_NORM_NONE       /* 1 */
} beam_norm;

typedef struct beam_rules {
    int width;             /* B of this group */
    int keep;              /* candidates a step */
    double length_penalty; /* alpha */
    beam_norm norm;
    beam_early early;
    int n_prompt, max_new_tokens;
} beam_rules;

/* The next tokens of one live beam, by descending lp. */
typedef struct beam_list {
    const int32_t *tokens;
    const double *lp;      /* as ranked: after the repetition penalty, where there is one */
    int n;
    const int32_t *path;   /* [n_path] the beam's tokens, prompt included, whose lp ... */
    int n_path;            /* ... the repetition penalty has scaled; 0: there is no penalty */
    double repetition;     /* the penalty */
} beam_list;

typedef struct beam_live {
    double score;          /* running: sum of what was ranked by */
    double lp;             /* sum of raw log-probabilities */
    int source;            /* the caller's name for it */
} beam_live;

typedef struct beam_next {
    int beam;              /* index into live */
    int32_t token;
    double score, token_lp;/* token_lp as in the list */
    bool ends;             /* set by the caller between select and settle */
    rm_stop_reason reason; /* likewise, if it ends */
} beam_next;

typedef struct beam_done {
    double score;          /* normalised */
    int slot;              /* 0 .. B-1: where the caller keeps its tokens */
    int next;              /* entered in this step as this candidate, else -1 */
} beam_done;

typedef struct beam_group {
    beam_live *live;       /* [B] by descending score */
    int n_live;
    beam_next *next;       /* [keep] */
    int n_next;
    beam_done *done;       /* [B] by descending score */
    int n_done;
    int *survivor;         /* [B] after settle: which candidates live on, in order */
    int n_survivors;
    bool stopped;
} beam_group;

double beam_length_norm(const beam_rules *, int n_generated);

/* lists[i] belongs to live[i]. `chosen` are the tokens that earlier groups chose at this step;
 * each costs its token `diversity` (Vijayakumar et al. 2016, arXiv:1610.02424). Fills next. */
void beam_select(beam_group *, const beam_rules *, const beam_list *lists, const int32_t *chosen,
                 int n_chosen, double diversity);

/* `length`: generated tokens of the candidates. Fills done, survivor and stopped; live is the
 * caller's to replace by the survivors. */
void beam_settle(beam_group *, const beam_rules *, int length);

#endif
