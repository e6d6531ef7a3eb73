/* tokenizer_json.h - the tokenizer of a Hugging Face folder. */
#ifndef RM_ENGINE_MODEL_TOKENIZER_JSON_H
#define RM_ENGINE_MODEL_TOKENIZER_JSON_H

#include "engine/model/tokenizer.h"

/* The texts of a folder's tokenizer files; NULL where a file is absent. */
typedef struct rm_tokenizer_files {
    char *tokenizer;           /* tokenizer.json */
    char *vocab, *merges;      /* vocab.json and merges.txt; or encoder.json and vocab.bpe */
    char *config;              /* tokenizer_config.json */
    size_t n_tokenizer, n_vocab, n_merges, n_config;
    bool gpt2_names;           /* encoder.json and vocab.bpe: GPT-2's own release */
    bool model;                /* tokenizer.model, which is not read, is there */
} rm_tokenizer_files;

/* Reads what is there. That it is too little is for rm_tokenizer_from_files to say. */
rm_status rm_tokenizer_files_read(const char *folder, rm_tokenizer_files *, rm_error *);
void rm_tokenizer_files_free(rm_tokenizer_files *);

/* `n_rows` > 0: a vocabulary with fewer tokens is padded up to it with unused ones, and one with
 * more is refused. */
rm_status rm_tokenizer_from_files(const rm_tokenizer_files *, const char *folder, int64_t n_rows,
                                  rm_tokenizer **, rm_error *);

/* From the folder's files alone. */
rm_status rm_tokenizer_from_folder(const char *folder, rm_tokenizer **, rm_error *);

#endif
