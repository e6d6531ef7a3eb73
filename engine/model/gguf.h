/* gguf.h - reads GGUF files: metadata by key, tensors by name, everything checked.
 *
 * An rm_gguf is a map over the file's bytes. Whatever it hands out (strings, arrays, tensor
 * data) points into those bytes and lives until rm_gguf_close. Strings are not NUL-terminated.
 * Once opening succeeded no access through this interface can leave the file. gguf.c describes
 * the format. */
#ifndef RM_ENGINE_MODEL_GGUF_H
#define RM_ENGINE_MODEL_GGUF_H

#include "engine/ops.h"

#define RM_GGUF_MAX_DIMS 4
#define RM_GGUF_DEFAULT_ALIGNMENT 32

/* Types of metadata values, numbered as in the file. */
typedef enum rm_gguf_type {
    RM_GGUF_U8, RM_GGUF_I8, RM_GGUF_U16, RM_GGUF_I16, RM_GGUF_U32, RM_GGUF_I32, RM_GGUF_F32,
    RM_GGUF_BOOL, RM_GGUF_STRING, RM_GGUF_ARRAY, RM_GGUF_U64, RM_GGUF_I64, RM_GGUF_F64,
    RM_GGUF_TYPE_COUNT
} rm_gguf_type;

typedef struct rm_gguf rm_gguf;

typedef struct rm_gguf_string {
    const char *bytes;
    size_t n;
} rm_gguf_string;

/* A metadata entry. For an array, `type` is that of its elements and `n` their number; else n
 * is 1. `data` points at the first element as it lies in the file (unaligned). */
typedef struct rm_gguf_entry {
    rm_gguf_string key;
    rm_gguf_type type;
    bool array;
    uint64_t n;
    const unsigned char *data;
} rm_gguf_entry;

typedef struct rm_gguf_tensor {
    rm_gguf_string name;
    int n_dims;
    uint64_t dims[RM_GGUF_MAX_DIMS]; /* fastest first; 1 beyond n_dims */
    uint32_t ggml_type;
    const char *type_name;           /* "f16", "q4_K", ... */
    bool readable;                   /* one of rm_dtype: `type` says which */
    rm_dtype type;
    uint64_t n_values;
    size_t offset, n_bytes;          /* offset from the start of the file */
    const void *data;
} rm_gguf_tensor;

/* Maps and checks a file. The file must not shrink while it is open: a mapping cannot survive
 * that (the kernel raises SIGBUS), as with any program that maps its input. */
rm_status rm_gguf_open(const char *file, rm_gguf **, rm_error *);

/* The same over n bytes in memory, 8-byte aligned, which must outlive the rm_gguf. `name` is
 * what error sentences call them. */
rm_status rm_gguf_parse(const void *bytes, size_t n, const char *name, rm_gguf **, rm_error *);
void rm_gguf_close(rm_gguf *);

const char *rm_gguf_file(const rm_gguf *);
size_t rm_gguf_bytes(const rm_gguf *, const void **bytes); /* size and start of the whole file */
uint64_t rm_gguf_n_entries(const rm_gguf *);
uint64_t rm_gguf_n_tensors(const rm_gguf *);
const rm_gguf_entry *rm_gguf_entry_at(const rm_gguf *, uint64_t);   /* in file order */
const rm_gguf_tensor *rm_gguf_tensor_at(const rm_gguf *, uint64_t); /* in file order */
const rm_gguf_entry *rm_gguf_find(const rm_gguf *, const char *key);          /* NULL: absent */
const rm_gguf_tensor *rm_gguf_find_tensor(const rm_gguf *, const char *name); /* NULL: absent */

/* Scalars of any integer type (or bool for _bool, any number for _real). An absent key leaves
 * *value as it was; a key of another type, an array, or a value outside [low, high] is an error
 * that says so. */
rm_status rm_gguf_integer(const rm_gguf *, const char *key, int64_t low, int64_t high,
                          int64_t *value, rm_error *);
rm_status rm_gguf_real(const rm_gguf *, const char *key, double low, double high, double *value,
                       rm_error *);
rm_status rm_gguf_flag(const rm_gguf *, const char *key, bool *value, rm_error *);
rm_status rm_gguf_text(const rm_gguf *, const char *key, rm_gguf_string *value, rm_error *);

/* The array at `key` if it is there and its elements are of `type`; *entry NULL if absent. */
rm_status rm_gguf_array(const rm_gguf *, const char *key, rm_gguf_type type,
                        const rm_gguf_entry **entry, rm_error *);

/* Walks the strings of an array of strings: *cursor starts as entry->data. */
rm_gguf_string rm_gguf_next_string(const unsigned char **cursor);

/* "f16 [192, 32]" into text, for messages. */
void rm_gguf_shape(const rm_gguf_tensor *, char text[96]);

#endif
