/* tokenizer_json_private.h - what tokenizer_json.c, which reads a folder's tokenizer, shares with
 * tokenizer_steps.c, which reads its normalizer and pre-tokenizer. */
#ifndef RM_ENGINE_MODEL_TOKENIZER_JSON_PRIVATE_H
#define RM_ENGINE_MODEL_TOKENIZER_JSON_PRIVATE_H

#include "base/json.h"
#include "engine/model/tokenizer_json.h"

#include <string.h>

/* What is being built. */
typedef struct rm_tokenizer_builder {
    const char *folder;        /* or its tokenizer.json, where that says it all */
    rm_error *err;
    rm_json *json, *vocab_json, *config_json;
    const cJSON *root, *vocab, *merges, *config;
    rm_tokenizer_source source;
    const char **text;         /* [capacity] by id; NULL: no token has it */
    size_t *bytes;
    int32_t *type;
    uint8_t *matching;
    double *score;             /* unigram */
    size_t n, capacity;        /* highest id + 1 */
    rm_text joined;            /* merges that came as pairs, joined by blanks; characters */
    const char **merge;
    size_t *merge_bytes;
    bool byte_fallback, whole_pieces;
} rm_tokenizer_builder;

rm_status rm_tokenizer_unsupported(const rm_tokenizer_builder *, const char *what, const char *value);

/* NULL for an absent key and for null. */
static inline const cJSON *rm_json_at(const cJSON *object, const char *key)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    return item && !cJSON_IsNull(item) ? item : NULL;
}

static inline const char *rm_json_text(const cJSON *object, const char *key)
{
    const cJSON *item = rm_json_at(object, key);
    return cJSON_IsString(item) ? item->valuestring : NULL;
}

static inline bool rm_json_type_is(const cJSON *item, const char *type)
{
    const char *own = rm_json_text(item, "type");
    return own && strcmp(own, type) == 0;
}

/* The steps of a Sequence (a list under the key `list`), or the one step there is. */
static inline const cJSON *rm_first_step(const cJSON *item, const char *list)
{
    const cJSON *steps = rm_json_type_is(item, "Sequence") ? rm_json_at(item, list) : NULL;
    return rm_json_type_is(item, "Sequence") ? (steps ? steps->child : NULL) : item;
}

static inline const cJSON *rm_next_step(const cJSON *whole, const cJSON *step)
{
    return rm_json_type_is(whole, "Sequence") ? step->next : NULL;
}

/* normalizer and pre_tokenizer of tokenizer.json into the source (tokenizer_steps.c), for a model
 * that is byte-level BPE, SentencePiece's BPE, or unigram. */
rm_status rm_tokenizer_read_steps(rm_tokenizer_builder *);

#endif
