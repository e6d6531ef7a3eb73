/* safetensors.h - reads safetensors files: a table of tensors over a mapped file, all of it
 * checked. Tensors are described as GGUF's are (gguf.h), shapes fastest first. */
#ifndef RM_ENGINE_MODEL_SAFETENSORS_H
#define RM_ENGINE_MODEL_SAFETENSORS_H

#include "engine/model/gguf.h"

typedef struct rm_safetensors rm_safetensors;

rm_status rm_safetensors_open(const char *file, rm_safetensors **, rm_error *);
/* The same over n bytes in memory, which must outlive it. */
rm_status rm_safetensors_parse(const void *bytes, size_t n, const char *name, rm_safetensors **,
                               rm_error *);
void rm_safetensors_close(rm_safetensors *);

size_t rm_safetensors_count(const rm_safetensors *);
/* In the order of their data. Names are valid UTF-8 without control characters. */
const rm_gguf_tensor *rm_safetensors_at(const rm_safetensors *, size_t);
size_t rm_safetensors_bytes(const rm_safetensors *, const void **bytes);

#endif
