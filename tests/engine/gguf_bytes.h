/* gguf_bytes.h - GGUF files byte by byte, for tests that need broken ones: unlike the writer of
 * the engine this one writes whatever it is told. */
#ifndef RM_TESTS_ENGINE_GGUF_BYTES_H
#define RM_TESTS_ENGINE_GGUF_BYTES_H

#include "base/base.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static inline void put_u32(rm_text *f, uint32_t v) { rm_text_add(f, (const char *)&v, 4); }
static inline void put_u64(rm_text *f, uint64_t v) { rm_text_add(f, (const char *)&v, 8); }

static inline void put_str(rm_text *f, const char *s)
{
    put_u64(f, strlen(s));
    rm_text_puts(f, s);
}

static inline void put_header(rm_text *f, uint32_t version, uint64_t n_tensors, uint64_t n_entries)
{
    rm_text_add(f, "GGUF", 4);
    put_u32(f, version);
    put_u64(f, n_tensors);
    put_u64(f, n_entries);
}

static inline void put_entry_u32(rm_text *f, const char *key, uint32_t v)
{
    put_str(f, key);
    put_u32(f, 4);
    put_u32(f, v);
}

static inline void put_tensor(rm_text *f, const char *name, int n_dims, const uint64_t *dims,
                              uint32_t type, uint64_t offset)
{
    put_str(f, name);
    put_u32(f, (uint32_t)n_dims);
    for (int i = 0; i < n_dims; i++)
        put_u64(f, dims[i]);
    put_u32(f, type);
    put_u64(f, offset);
}

/* Zeros up to the alignment, then n more bytes. */
static inline void put_data(rm_text *f, size_t alignment, size_t n)
{
    while (f->length % alignment)
        rm_text_add(f, "", 1);
    for (size_t i = 0; i < n; i++)
        rm_text_add(f, "", 1);
}

/* A path for a temporary file of this process, removed by the caller. */
static inline const char *temporary_path(char path[64])
{
    const char *folder = getenv("TMPDIR");
    if (!folder || strlen(folder) > 32)
        folder = "/tmp";
    snprintf(path, 64, "%s/rm-test-XXXXXX", folder);
    int fd = mkstemp(path);
    if (fd >= 0)
        close(fd);
    return path;
}

#endif
