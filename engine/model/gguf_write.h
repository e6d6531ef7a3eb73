/* gguf_write.h - writes GGUF files (version 3; the format is described in gguf.c).
 *
 * Three steps, in this order: metadata and tensor descriptions; rm_gguf_writer_begin; the
 * tensors' bytes, in the order of their descriptions and in portions of any size. Nothing but
 * the metadata is held in memory. The file appears under its name only when rm_gguf_writer_close
 * has succeeded; until then it is a temporary file beside it.
 *
 * The first failure sticks: later calls do nothing and rm_gguf_writer_close reports it, so that
 * a sequence of calls needs one check. Keys and names must be what the reader accepts (asserted;
 * they are the program's own). */
#ifndef RM_ENGINE_MODEL_GGUF_WRITE_H
#define RM_ENGINE_MODEL_GGUF_WRITE_H

#include "engine/model/gguf.h"

typedef struct rm_gguf_writer rm_gguf_writer;

rm_status rm_gguf_writer_open(const char *file, rm_gguf_writer **, rm_error *);

void rm_gguf_put_u32(rm_gguf_writer *, const char *key, uint32_t);
void rm_gguf_put_f32(rm_gguf_writer *, const char *key, float);
void rm_gguf_put_bool(rm_gguf_writer *, const char *key, bool);
void rm_gguf_put_string(rm_gguf_writer *, const char *key, const char *);
/* n elements of a fixed-size type as they lie in memory. */
void rm_gguf_put_array(rm_gguf_writer *, const char *key, rm_gguf_type, const void *, uint64_t n);
/* An entry as another file has it. */
void rm_gguf_put_entry(rm_gguf_writer *, const rm_gguf_entry *);
/* An array of n strings, which follow one by one through rm_gguf_put_element. */
void rm_gguf_put_strings(rm_gguf_writer *, const char *key, uint64_t n);
void rm_gguf_put_element(rm_gguf_writer *, const char *bytes, size_t n);

/* A vector has n_out 0; n_in is a multiple of the block's length for quantised types. */
void rm_gguf_put_tensor(rm_gguf_writer *, const char *name, rm_dtype, size_t n_out, size_t n_in);

void rm_gguf_writer_begin(rm_gguf_writer *);
/* The next bytes of tensor data. Padding between tensors is the writer's business; a portion
 * must not reach beyond the end of a tensor. */
void rm_gguf_write(rm_gguf_writer *, const void *bytes, size_t n);

/* Renames the file into place if all went well and every tensor is complete; else removes it.
 * Frees the writer in both cases. `keep` false: give up, remove it, and return RM_OK. */
rm_status rm_gguf_writer_close(rm_gguf_writer *, bool keep, rm_error *);

#endif
