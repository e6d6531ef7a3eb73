/* safetensors.c - the safetensors reader.
 *
 *   file   = u64 n (little-endian), a JSON object of n bytes, data
 *   object = "name": { "dtype": "BF16", "shape": [rows, columns], "data_offsets": [from, to] }
 *            for each tensor, and "__metadata__": an object of strings, which says nothing that a
 *            reader needs
 *
 * Offsets count from the start of data. The tensors fill it without gaps or overlaps, and the
 * last one ends with the file: anything else is a header that does not belong to its data.
 * (github.com/huggingface/safetensors, "Format".) The object is padded with blanks so that data
 * begins at a multiple of 8, but nothing here relies on it: values are read bytewise. */
#include "engine/model/safetensors.h"

#include "base/json.h"
#include "engine/dtype.h"
#include "engine/model/map.h"
#include "engine/model/quote.h"
#include "engine/model/whole.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define MAX_HEADER (100u << 20) /* as the format's own library limits it */
enum { MAX_NAME_BYTES = 256 };

static const struct st_type {
    const char *name;
    size_t bytes;
    bool readable;
    rm_dtype type;
    const char *lower;
} st_types[] = {
    { "F32", 4, true, RM_F32, "f32" },        { "F16", 2, true, RM_F16, "f16" },
    { "BF16", 2, true, RM_BF16, "bf16" },     { "F64", 8, false, RM_F32, "f64" },
    { "I64", 8, false, RM_F32, "i64" },       { "I32", 4, false, RM_F32, "i32" },
    { "I16", 2, false, RM_F32, "i16" },       { "I8", 1, false, RM_F32, "i8" },
    { "U64", 8, false, RM_F32, "u64" },       { "U32", 4, false, RM_F32, "u32" },
    { "U16", 2, false, RM_F32, "u16" },       { "U8", 1, false, RM_F32, "u8" },
    { "BOOL", 1, false, RM_F32, "bool" },     { "F8_E4M3", 1, false, RM_F32, "f8_e4m3" },
    { "F8_E5M2", 1, false, RM_F32, "f8_e5m2" },
};

struct rm_safetensors {
    const unsigned char *bytes;
    size_t n;
    bool mapped;
    rm_json *header;           /* owns the names */
    rm_gguf_tensor *tensors;
    size_t n_tensors;
};

typedef struct header {
    const char *file;
    const unsigned char *data;
    size_t n_data;             /* bytes of data */
    rm_error *err;
} header;

static rm_status bad(const header *h, const char *name, const char *what)
{
    return rm_fail(h->err, RM_E_FORMAT, "%s: tensor %s: %s", h->file,
                   rm_quoted(&(rm_quote){ 0 }, name, strlen(name)), what);
}

static const struct st_type *find_type(const char *name)
{
    for (size_t i = 0; i < sizeof st_types / sizeof *st_types; i++)
        if (strcmp(st_types[i].name, name) == 0)
            return &st_types[i];
    return NULL;
}

static bool good_name(const char *name)
{
    size_t n = strlen(name);
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)name[i] <= ' ' || name[i] == 0x7f)
            return false;
    return n >= 1 && n <= MAX_NAME_BYTES;
}

/* Shape, slowest first in the file; a scalar counts as a vector of one. */
static rm_status read_shape(const header *h, const cJSON *shape,
                            rm_gguf_tensor *t)
{
    int n = cJSON_IsArray(shape) ? cJSON_GetArraySize(shape) : -1;
    if (n < 0 || n > RM_GGUF_MAX_DIMS)
        return bad(h, t->name.bytes, "its shape should be an array of at most 4 sizes");
    t->n_dims = n ? n : 1;
    t->n_values = 1;
    for (int i = 0; i < RM_GGUF_MAX_DIMS; i++)
        t->dims[i] = 1;
    const cJSON *size;
    int i = n;
    cJSON_ArrayForEach(size, shape)
    {
        uint64_t v;
        if (!rm_json_whole(size, &v) || v == 0 ||
            v > (UINT64_C(1) << 48) / t->n_values)
            return bad(h, t->name.bytes, "its shape should hold whole numbers of at least 1 with a "
                       "product below 2^48");
        t->dims[--i] = v;
        t->n_values *= v;
    }
    return RM_OK;
}

static rm_status read_tensor(const header *h, const cJSON *item,
                             rm_gguf_tensor *t)
{
    *t = (rm_gguf_tensor){ .name = { item->string, strlen(item->string) } };
    if (!good_name(item->string))
        return bad(h, item->string, "a name should be 1 to 256 printable characters");
    const cJSON *dtype = cJSON_GetObjectItemCaseSensitive(item, "dtype"),
                *shape = cJSON_GetObjectItemCaseSensitive(item, "shape"),
                *offsets = cJSON_GetObjectItemCaseSensitive(item, "data_offsets");
    if (!cJSON_IsString(dtype))
        return bad(h, item->string, "it has no \"dtype\"");
    const struct st_type *type = find_type(dtype->valuestring);
    if (!type)
        return rm_fail(h->err, RM_E_UNSUPPORTED, "%s: tensor %.200s has dtype \"%s\", which this "
                       "reader does not know", h->file, item->string,
                       rm_quoted(&(rm_quote){ 0 }, dtype->valuestring, strlen(dtype->valuestring)));
    rm_status st = read_shape(h, shape, t);
    uint64_t from, to;
    if (st)
        return st;
    if (!cJSON_IsArray(offsets) || cJSON_GetArraySize(offsets) != 2 ||
        !rm_json_whole(cJSON_GetArrayItem(offsets, 0), &from) ||
        !rm_json_whole(cJSON_GetArrayItem(offsets, 1), &to) || from > to)
        return bad(h, item->string, "its data_offsets should be two whole numbers, ascending");
    if (to > h->n_data || to - from != t->n_values * type->bytes)
        return rm_fail(h->err, RM_E_FORMAT, "%s: tensor %.200s has data_offsets %" PRIu64 " to %"
                       PRIu64 ", but its shape needs %" PRIu64 " bytes and the data has %zu",
                       h->file, item->string, from, to, t->n_values * type->bytes, h->n_data);
    t->type_name = type->lower;
    t->readable = type->readable;
    t->type = type->type;
    t->offset = (size_t)from; /* of the data; of the file below */
    t->n_bytes = (size_t)(to - from);
    t->data = h->data + from;
    return RM_OK;
}

static int compare_offsets(const void *a, const void *b)
{
    const rm_gguf_tensor *x = a, *y = b;
    return (x->offset > y->offset) - (x->offset < y->offset);
}

static rm_status check_coverage(const rm_safetensors *s, const header *h)
{
    size_t end = 0;
    for (size_t i = 0; i < s->n_tensors; i++) {
        const rm_gguf_tensor *t = &s->tensors[i];
        if (t->offset != end)
            return rm_fail(h->err, RM_E_FORMAT, "%s: tensor %.200s begins at byte %zu of the data, "
                           "expected %zu, where the one before ends", h->file, t->name.bytes,
                           t->offset, end);
        end += t->n_bytes;
    }
    if (end != h->n_data)
        return rm_fail(h->err, RM_E_FORMAT,
                       "%s: its tensors end at byte %zu of the data, which has "
                       "%zu", h->file, end, h->n_data);
    return RM_OK;
}

static rm_status read_tensors(rm_safetensors *s, const header *h)
{
    const cJSON *root = rm_json_root(s->header), *item;
    if (!cJSON_IsObject(root))
        return rm_fail(h->err, RM_E_FORMAT, "%s: its header should be a JSON object", h->file);
    size_t n = (size_t)cJSON_GetArraySize(root);
    s->tensors = calloc(n + 1, sizeof *s->tensors); /* each took some bytes of the header */
    if (!s->tensors)
        return rm_fail(h->err, RM_E_MEMORY, "%s: no memory for its tensors", h->file);
    cJSON_ArrayForEach(item, root)
    {
        if (strcmp(item->string, "__metadata__") == 0)
            continue;
        rm_status st = cJSON_IsObject(item) ? read_tensor(h, item, &s->tensors[s->n_tensors])
                                            : bad(h, item->string, "an object was expected");
        if (st)
            return st;
        s->n_tensors++;
    }
    qsort(s->tensors, s->n_tensors, sizeof *s->tensors, compare_offsets);
    rm_status st = check_coverage(s, h);
    for (size_t i = 0; i < s->n_tensors; i++)
        s->tensors[i].offset += (size_t)(h->data - s->bytes);
    return st;
}

rm_status rm_safetensors_parse(const void *bytes, size_t n, const char *name, rm_safetensors **out,
                               rm_error *err)
{
    uint64_t length = 0;
    if (n >= 8)
        memcpy(&length, bytes, 8);
    if (n < 8 || length > n - 8 || length > MAX_HEADER)
        return rm_fail(err, RM_E_FORMAT, "%s: not a safetensors file: its %zu bytes should begin "
                       "with a header's length of at most %u and the header (here %" PRIu64 ")",
                       name, n, MAX_HEADER, length);
    rm_safetensors *s = calloc(1, sizeof *s);
    if (!s)
        return rm_fail(err, RM_E_MEMORY, "%s: no memory to read it", name);
    s->bytes = bytes;
    s->n = n;
    header h = { .file = name, .data = s->bytes + 8 + length, .n_data = n - 8 - (size_t)length,
                 .err = err };
    rm_status st = rm_json_parse((const char *)s->bytes + 8, (size_t)length, name, 1,
                                 RM_JSON_NO_POSITIONS, &s->header, err);
    if (!st)
        st = read_tensors(s, &h);
    if (st)
        rm_safetensors_close(s);
    else
        *out = s;
    return st;
}

rm_status rm_safetensors_open(const char *file, rm_safetensors **out, rm_error *err)
{
    const void *bytes;
    size_t n;
    rm_status st = rm_map_open(file, &bytes, &n, err);
    if (st)
        return st;
    st = rm_safetensors_parse(bytes, n, file, out, err);
    if (st)
        rm_map_close(bytes, n);
    else
        (*out)->mapped = true;
    return st;
}

void rm_safetensors_close(rm_safetensors *s)
{
    if (!s)
        return;
    if (s->mapped)
        rm_map_close(s->bytes, s->n);
    rm_json_free(s->header);
    free(s->tensors);
    free(s);
}

size_t rm_safetensors_count(const rm_safetensors *s) { return s->n_tensors; }

const rm_gguf_tensor *rm_safetensors_at(const rm_safetensors *s, size_t i)
{
    assert(i < s->n_tensors);
    return &s->tensors[i];
}

size_t rm_safetensors_bytes(const rm_safetensors *s, const void **bytes)
{
    *bytes = s->bytes;
    return s->n;
}
