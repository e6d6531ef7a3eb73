/* source_private.h - what source.c shares with the reader of folders. */
#ifndef RM_ENGINE_MODEL_SOURCE_PRIVATE_H
#define RM_ENGINE_MODEL_SOURCE_PRIVATE_H

#include "engine/model/source.h"

struct rm_folder;

struct rm_source_private {
    rm_gguf **gguf;            /* [n_gguf] the parts of a GGUF model */
    int n_gguf;
    struct rm_folder *folder;  /* folder.c */
};

/* Adds a part; its bytes stay where they are. */
rm_status rm_source_add_part(rm_source *, const void *bytes, size_t n, bool mapped, rm_error *);
rm_status rm_source_add_tensor(rm_source *, const rm_gguf_tensor *, rm_error *);
/* Adds a token that ends a text, unless it is known; RM_E_FORMAT if it is none of the vocabulary
 * (`key` says where it stood). Ids below 0 are "none". */
rm_status rm_source_add_stop(rm_source *, const char *key, int64_t id, int64_t n_vocab, rm_error *);

/* folder.c: fills a source from a folder. */
rm_status rm_folder_open(rm_source *, rm_error *);
rm_status rm_folder_tokenizer(const rm_source *, rm_tokenizer **, rm_error *);
void rm_folder_close(struct rm_folder *);
/* "blk.0.attn_q.weight" to "model.layers.0.self_attn.q_proj.weight" and back; unknown names
 * stay. */
void rm_folder_label(const char *name, char buffer[128]);

#endif
