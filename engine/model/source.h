/* source.h - where a model comes from: one GGUF file, the parts of a split one, or a Hugging Face
 * folder. Whoever loads weights sees hyperparameters, tensors under GGUF's names, and a tokenizer,
 * and need not ask which it was.
 *
 * All that a source hands out lives until rm_source_close; tensors point into mapped files. */
#ifndef RM_ENGINE_MODEL_SOURCE_H
#define RM_ENGINE_MODEL_SOURCE_H

#include "engine/model/hyper.h"
#include "engine/model/tokenizer.h"

enum { RM_MAX_STOP_TOKENS = 16 };

/* Special tokens beside BOS and EOS that a chat template may write by their role. */
enum { RM_ROLE_SEPARATOR, RM_ROLE_PADDING, RM_ROLE_UNKNOWN, RM_N_ROLES };

/* A file's bytes, mapped or read. */
typedef struct rm_source_part {
    const void *bytes;
    size_t n;
    bool mapped;
} rm_source_part;

typedef struct rm_source {
    char *file;                /* the path as opened */
    bool folder;               /* Hugging Face's; else GGUF */
    rm_hyper hyper;
    rm_gguf_string name;       /* general.name, or what config.json says; no bytes: none */
    rm_gguf_tensor *tensors;   /* [n_tensors] by GGUF's names, sorted by them */
    size_t n_tensors;
    rm_source_part *parts;     /* [n_parts] every file that was read, in the order of reading */
    size_t n_parts;
    bool tied;                 /* the output matrix is the embedding */
    int32_t stop_tokens[RM_MAX_STOP_TOKENS];
    int n_stop_tokens;
    int32_t value_tokens[2];   /* by which a reward model judges: good, bad; -1: none */
    rm_gguf_string chat_template; /* no bytes: none */
    rm_gguf_string roles[RM_N_ROLES]; /* their texts; no bytes: none */
    rm_gguf_string defaults;   /* how its makers sample, in one line; no bytes: not said */
    struct rm_source_private *priv;
} rm_source;

/* A file (GGUF; of a split one the first part) or a folder. */
rm_status rm_source_open(const char *path, rm_source **, rm_error *);
void rm_source_close(rm_source *);

const rm_gguf_tensor *rm_source_find(const rm_source *, const char *name); /* NULL: absent */

/* GGUF's name of a tensor as the files of this source write it, for messages. */
const char *rm_source_label(const rm_source *, const char *name, char buffer[128]);

/* "bf16 [283, 36]", the sizes in the order in which the files of this source write them: slowest
 * first in a folder, fastest first in GGUF. */
void rm_source_shape(const rm_source *, const rm_gguf_tensor *, char text[96]);

/* Builds the tokenizer. A folder's vocabulary is padded with unused tokens up to the rows of its
 * embedding, as the files of many models leave some. */
rm_status rm_source_tokenizer(const rm_source *, rm_tokenizer **, rm_error *);

#endif
