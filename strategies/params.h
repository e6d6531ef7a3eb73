/* params.h - entries of parameter tables, private to this folder.
 *
 * A strategy's parameters are a plain struct; its table says, per field, the name, the range and
 * the default. The macros below are initialisers of one rm_param each and nothing more. */
#ifndef RM_STRATEGIES_PARAMS_H
#define RM_STRATEGIES_PARAMS_H

#include "strategies/strategy.h"

#define PARAM_INT(type, field, label, initial, min, max, help)                                     \
    { label, RM_PARAM_INT, offsetof(type, field), initial, min, max, false, NULL, help }
#define PARAM_REAL(type, field, label, initial, min, max, help)                                    \
    { label, RM_PARAM_REAL, offsetof(type, field), initial, min, max, false, NULL, help }
#define PARAM_POSITIVE(type, field, label, initial, max, help) /* excludes 0 itself */             \
    { label, RM_PARAM_REAL, offsetof(type, field), initial, 0, max, true, NULL, help }
#define PARAM_BOOL(type, field, label, initial, help)                                              \
    { label, RM_PARAM_BOOL, offsetof(type, field), initial, 0, 1, false, NULL, help }
#define PARAM_CHOICE(type, field, label, initial, names, help)                                     \
    { label, RM_PARAM_CHOICE, offsetof(type, field), initial, 0, 0, false, names, help }
#define PARAM_REALS(type, field, label, min, max, help)                                            \
    { label, RM_PARAM_REALS, offsetof(type, field), 0, min, max, false, NULL, help }
#define PARAM_END                                                                                  \
    { NULL, RM_PARAM_INT, 0, 0, 0, 0, false, NULL, NULL }

enum { MAX_NEW_TOKENS = 1 << 20, MAX_SAMPLES = 4096 };

#define PARAM_MAX_NEW_TOKENS(type, field)                                                          \
    PARAM_INT(type, field, "max_new_tokens", 256, 1, MAX_NEW_TOKENS,                               \
              "most tokens to generate on a path")

#define PARAM_REPETITION_PENALTY(type, field)                                                      \
    PARAM_POSITIVE(type, field, "repetition_penalty", 1, 100,                                      \
                   "divides the logits (multiplies negative ones) of tokens seen before; 1: off")

/* The parameters of drawing, into an rm_sampling field of the struct. */
#define PARAMS_SAMPLING(type, field)                                                               \
    PARAM_POSITIVE(type, field.temperature, "temperature", 1, 100, "divides the logits"),          \
    PARAM_INT(type, field.top_k, "top_k", 0, 0, 1 << 30, "keep the k most likely tokens; 0: off"), \
    PARAM_POSITIVE(type, field.top_p, "top_p", 1, 1,                                               \
                   "keep the most likely tokens that hold this mass; 1: off"),                     \
    PARAM_REAL(type, field.min_p, "min_p", 0, 0, 1,                                                \
               "keep tokens at least this share as likely as the likeliest; 0: off"),              \
    PARAM_POSITIVE(type, field.typical_p, "typical_p", 1, 1,                                       \
                   "keep the most typical tokens that hold this mass; 1: off"),                    \
    PARAM_REPETITION_PENALTY(type, field.repetition_penalty)

#endif
