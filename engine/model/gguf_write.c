/* gguf_write.c - the GGUF writer: header in memory, data streamed (gguf_write.h). */
#include "engine/model/gguf_write.h"

#include "engine/dtype.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ALIGNMENT RM_GGUF_DEFAULT_ALIGNMENT

struct rm_gguf_writer {
    char *file, *temporary;
    int fd;
    rm_text entries, tensors;
    uint64_t n_entries, n_tensors;
    uint64_t strings_left;        /* of the array being put */
    size_t *sizes;                /* [n_tensors] bytes of each */
    size_t sizes_capacity;
    uint64_t next_offset;         /* of the next tensor described */
    bool begun;
    uint64_t tensor;              /* that is being written */
    size_t written;               /* bytes of it so far */
    rm_status status;             /* the first failure */
    rm_error error;
};

static size_t padding_after(uint64_t n)
{
    return (size_t)((ALIGNMENT - n % ALIGNMENT) % ALIGNMENT);
}

static void put_u32(rm_text *to, uint32_t v) { rm_text_add(to, (const char *)&v, sizeof v); }
static void put_u64(rm_text *to, uint64_t v) { rm_text_add(to, (const char *)&v, sizeof v); }

static void put_string(rm_text *to, const char *bytes, size_t n)
{
    put_u64(to, n);
    rm_text_add(to, bytes, n);
}

rm_status rm_gguf_writer_open(const char *file, rm_gguf_writer **out, rm_error *err)
{
    rm_gguf_writer *w = calloc(1, sizeof *w);
    size_t n = strlen(file) + 16;
    if (w) {
        w->fd = -1;
        w->file = strdup(file);
        w->temporary = malloc(n);
    }
    if (!w || !w->file || !w->temporary) {
        if (w)
            rm_gguf_writer_close(w, false, NULL);
        return rm_fail(err, RM_E_MEMORY, "%s: no memory to write it", file);
    }
    snprintf(w->temporary, n, "%s.XXXXXX", file);
    w->fd = mkstemp(w->temporary);
    if (w->fd < 0) {
        rm_status st = rm_fail(err, RM_E_IO, "%s: cannot create a file beside it: %s", file,
                               strerror(errno));
        rm_gguf_writer_close(w, false, NULL);
        return st;
    }
    *out = w;
    return RM_OK;
}

/* ---- metadata ------------------------------------------------------------------------------ */

static rm_text *begin_entry(rm_gguf_writer *w, const char *key, rm_gguf_type type)
{
    assert(!w->begun && !w->strings_left && key[0]);
    w->n_entries++;
    put_string(&w->entries, key, strlen(key));
    put_u32(&w->entries, (uint32_t)type);
    return &w->entries;
}

void rm_gguf_put_u32(rm_gguf_writer *w, const char *key, uint32_t value)
{
    put_u32(begin_entry(w, key, RM_GGUF_U32), value);
}

void rm_gguf_put_f32(rm_gguf_writer *w, const char *key, float value)
{
    put_u32(begin_entry(w, key, RM_GGUF_F32), rm_f32_bits(value));
}

void rm_gguf_put_bool(rm_gguf_writer *w, const char *key, bool value)
{
    rm_text_add(begin_entry(w, key, RM_GGUF_BOOL), value ? "\1" : "\0", 1);
}

void rm_gguf_put_string(rm_gguf_writer *w, const char *key, const char *value)
{
    put_string(begin_entry(w, key, RM_GGUF_STRING), value, strlen(value));
}

static size_t bytes_of(rm_gguf_type type)
{
    return type == RM_GGUF_U8 || type == RM_GGUF_I8 || type == RM_GGUF_BOOL ? 1 :
           type == RM_GGUF_U16 || type == RM_GGUF_I16 ? 2 :
           type == RM_GGUF_U32 || type == RM_GGUF_I32 || type == RM_GGUF_F32 ? 4 : 8;
}

void rm_gguf_put_array(rm_gguf_writer *w, const char *key, rm_gguf_type type, const void *values,
                       uint64_t n)
{
    size_t each = bytes_of(type);
    assert(type != RM_GGUF_STRING && type != RM_GGUF_ARRAY);
    rm_text *to = begin_entry(w, key, RM_GGUF_ARRAY);
    put_u32(to, (uint32_t)type);
    put_u64(to, n);
    rm_text_add(to, values, (size_t)n * each);
}

void rm_gguf_put_entry(rm_gguf_writer *w, const rm_gguf_entry *e)
{
    assert(!w->begun && !w->strings_left);
    w->n_entries++;
    put_string(&w->entries, e->key.bytes, e->key.n);
    put_u32(&w->entries, (uint32_t)(e->array ? RM_GGUF_ARRAY : e->type));
    if (e->array) {
        put_u32(&w->entries, (uint32_t)e->type);
        put_u64(&w->entries, e->n);
    }
    const unsigned char *cursor = e->data;
    if (e->type == RM_GGUF_STRING)
        for (uint64_t i = 0; i < e->n; i++)
            rm_gguf_next_string(&cursor);
    else
        cursor += e->n * bytes_of(e->type);
    rm_text_add(&w->entries, (const char *)e->data, (size_t)(cursor - e->data));
}

void rm_gguf_put_strings(rm_gguf_writer *w, const char *key, uint64_t n)
{
    rm_text *to = begin_entry(w, key, RM_GGUF_ARRAY);
    put_u32(to, RM_GGUF_STRING);
    put_u64(to, n);
    w->strings_left = n;
}

void rm_gguf_put_element(rm_gguf_writer *w, const char *bytes, size_t n)
{
    assert(w->strings_left);
    w->strings_left--;
    put_string(&w->entries, bytes, n);
}

/* ---- tensors ------------------------------------------------------------------------------- */

static void fail(rm_gguf_writer *w, rm_status status, const char *what)
{
    if (!w->status)
        w->status = rm_fail(&w->error, status, "%s: %s", w->file, what);
}

void rm_gguf_put_tensor(rm_gguf_writer *w, const char *name, rm_dtype type, size_t n_out,
                        size_t n_in)
{
    static const uint32_t ggml_type[RM_DTYPE_COUNT] = {
        [RM_F32] = 0, [RM_F16] = 1, [RM_BF16] = 30, [RM_Q8_0] = 8,
        [RM_Q4_0] = 2, [RM_Q4_1] = 3, [RM_Q5_0] = 6, [RM_Q5_1] = 7,
        [RM_Q4_K] = 12, [RM_Q5_K] = 13, [RM_Q6_K] = 14,
    };
    assert(!w->begun && n_in && n_in % rm_block_values(type) == 0);
    if (w->n_tensors == w->sizes_capacity) {
        size_t wider = w->sizes_capacity * 2 + 64;
        size_t *s = realloc(w->sizes, wider * sizeof *s);
        if (!s) {
            fail(w, RM_E_MEMORY, "no memory to write it");
            return;
        }
        w->sizes = s;
        w->sizes_capacity = wider;
    }
    size_t size = rm_dtype_bytes(type, n_in * (n_out ? n_out : 1));
    w->sizes[w->n_tensors++] = size;
    put_string(&w->tensors, name, strlen(name));
    put_u32(&w->tensors, n_out ? 2 : 1);
    put_u64(&w->tensors, n_in);
    if (n_out)
        put_u64(&w->tensors, n_out);
    put_u32(&w->tensors, ggml_type[type]);
    put_u64(&w->tensors, w->next_offset);
    w->next_offset += size + padding_after(size);
}

/* ---- bytes to disk ------------------------------------------------------------------------- */

static void write_bytes(rm_gguf_writer *w, const char *bytes, size_t n)
{
    while (n && !w->status) {
        ssize_t done = write(w->fd, bytes, n < (1u << 30) ? n : 1u << 30);
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0) {
            w->status = rm_fail(&w->error, RM_E_IO, "%s: cannot write: %s", w->file,
                                strerror(done < 0 ? errno : ENOSPC));
            return;
        }
        bytes += done;
        n -= (size_t)done;
    }
}

static void write_padding(rm_gguf_writer *w, uint64_t after)
{
    static const char zeros[ALIGNMENT] = { 0 };
    write_bytes(w, zeros, padding_after(after));
}

void rm_gguf_writer_begin(rm_gguf_writer *w)
{
    assert(!w->begun && !w->strings_left);
    w->begun = true;
    rm_text header = { 0 };
    rm_text_add(&header, "GGUF", 4);
    put_u32(&header, 3);
    put_u64(&header, w->n_tensors);
    put_u64(&header, w->n_entries);
    if (header.failed || w->entries.failed || w->tensors.failed)
        fail(w, RM_E_MEMORY, "no memory to write it");
    write_bytes(w, header.data, header.length);
    write_bytes(w, w->entries.data, w->entries.length);
    write_bytes(w, w->tensors.data, w->tensors.length);
    if (w->n_tensors)
        write_padding(w, header.length + w->entries.length + w->tensors.length);
    rm_text_free(&header);
}

void rm_gguf_write(rm_gguf_writer *w, const void *bytes, size_t n)
{
    assert(w->begun);
    if (w->status)
        return;
    assert(w->tensor < w->n_tensors && n <= w->sizes[w->tensor] - w->written);
    write_bytes(w, bytes, n);
    w->written += n;
    if (w->written == w->sizes[w->tensor]) {
        write_padding(w, w->written);
        w->tensor++;
        w->written = 0;
    }
}

/* mkstemp's files are private; a model file gets the mode that the umask allows. */
static void set_mode(int fd)
{
    mode_t mask = umask(0);
    umask(mask);
    (void)fchmod(fd, 0666 & ~mask);
}

rm_status rm_gguf_writer_close(rm_gguf_writer *w, bool keep, rm_error *err)
{
    rm_status st = RM_OK;
    if (!w)
        return RM_OK;
    if (keep && !w->status) {
        assert(w->begun && w->tensor == w->n_tensors);
        set_mode(w->fd);
        if (fsync(w->fd))
            fail(w, RM_E_IO, strerror(errno));
        if (close(w->fd))
            fail(w, RM_E_IO, strerror(errno));
        w->fd = -1;
        if (!w->status && rename(w->temporary, w->file))
            fail(w, RM_E_IO, strerror(errno));
    }
    if (w->fd >= 0)
        close(w->fd);
    if (w->temporary && (!keep || w->status))
        unlink(w->temporary);
    if (keep && w->status) {
        st = w->status;
        rm_fail(err, st, "%s", w->error.text);
    }
    free(w->file);
    free(w->temporary);
    rm_text_free(&w->entries);
    rm_text_free(&w->tensors);
    free(w->sizes);
    free(w);
    return st;
}
