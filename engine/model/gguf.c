/* gguf.c - the GGUF reader.
 *
 * The format (versions 2 and 3, little-endian throughout):
 *
 *   file      = magic "GGUF"
 *               u32 version             2 or 3; version 3 only added that a big-endian file may
 *                                       exist, which shows in a version of 0x03000000
 *               u64 n_tensors
 *               u64 n_entries
 *               entry  * n_entries
 *               tensor * n_tensors
 *               zeros up to a multiple of `alignment` (general.alignment, u32; 32 if absent)
 *               data
 *   entry     = string key, u32 type, value
 *   string    = u64 length, that many bytes, no terminator
 *   value     = by type: 0 u8, 1 i8, 2 u16, 3 i16, 4 u32, 5 i32, 6 f32, 7 bool (one byte, 0 or
 *               1), 8 string, 9 array, 10 u64, 11 i64, 12 f64
 *   array     = u32 element type, u64 length, the elements
 *   tensor    = string name (at most 64 bytes)
 *               u32 n_dims, u64 * n_dims: elements a dimension, fastest-running first
 *               u32 type                ggml's numbering of value types, see ggml_types
 *               u64 offset              from the start of data, a multiple of alignment
 *
 * Every file is taken for hostile. The reader walks it once with a cursor that cannot pass the
 * end; a count or length is compared with what the remaining bytes could hold at most before
 * anything is done with it; tables grow with what was read and never by what a count claims, so
 * memory stays in proportion to the file. Keys and names are unique and printable ASCII, and
 * may therefore stand in error sentences. Tensors lie inside the file and do not overlap. */
#define _GNU_SOURCE /* qsort_r */
#include "engine/model/gguf.h"

#include "engine/dtype.h"
#include "engine/model/map.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "GGUF values are read in place: a little-endian processor is needed"
#endif

#define MAX_ARRAY_DEPTH 4
#define MAX_KEY_BYTES 65535
#define MAX_NAME_BYTES 64
#define MAX_ALIGNMENT (UINT32_C(1) << 20)
#define MIN_ENTRY_BYTES (8 + 1 + 4 + 1)           /* one-letter key, one-byte value */
#define MIN_TENSOR_BYTES (8 + 1 + 4 + 8 + 4 + 8)  /* one-letter name, one dimension */

/* ggml's value types: block length in values, block size in bytes. Those that this engine does
 * not compute with are listed so that a file with them can be inspected and refused by name. */
static const struct ggml_type {
    const char *name;
    uint16_t block_values, block_bytes;
} ggml_types[] = {
    [0] = { "f32", 1, 4 },       [1] = { "f16", 1, 2 },       [2] = { "q4_0", 32, 18 },
    [3] = { "q4_1", 32, 20 },    [6] = { "q5_0", 32, 22 },    [7] = { "q5_1", 32, 24 },
    [8] = { "q8_0", 32, 34 },    [9] = { "q8_1", 32, 36 },    [10] = { "q2_K", 256, 84 },
    [11] = { "q3_K", 256, 110 }, [12] = { "q4_K", 256, 144 }, [13] = { "q5_K", 256, 176 },
    [14] = { "q6_K", 256, 210 }, [15] = { "q8_K", 256, 292 }, [16] = { "iq2_xxs", 256, 66 },
    [17] = { "iq2_xs", 256, 74 },[18] = { "iq3_xxs", 256, 98 },[19] = { "iq1_s", 256, 50 },
    [20] = { "iq4_nl", 32, 18 }, [21] = { "iq3_s", 256, 110 },[22] = { "iq2_s", 256, 82 },
    [23] = { "iq4_xs", 256, 136 },[24] = { "i8", 1, 1 },      [25] = { "i16", 1, 2 },
    [26] = { "i32", 1, 4 },      [27] = { "i64", 1, 8 },      [28] = { "f64", 1, 8 },
    [29] = { "iq1_m", 256, 56 }, [30] = { "bf16", 1, 2 },     [34] = { "tq1_0", 256, 54 },
    [35] = { "tq2_0", 256, 66 }, [39] = { "mxfp4", 32, 17 },
};

static_assert(sizeof(rm_q8_block) == 34 && RM_Q8_BLOCK == 32, "ggml's q8_0 block");

static const uint8_t scalar_bytes[RM_GGUF_TYPE_COUNT] = {
    [RM_GGUF_U8] = 1,  [RM_GGUF_I8] = 1,  [RM_GGUF_U16] = 2, [RM_GGUF_I16] = 2,
    [RM_GGUF_U32] = 4, [RM_GGUF_I32] = 4, [RM_GGUF_F32] = 4, [RM_GGUF_BOOL] = 1,
    [RM_GGUF_U64] = 8, [RM_GGUF_I64] = 8, [RM_GGUF_F64] = 8,
};

struct rm_gguf {
    char *file;
    const unsigned char *bytes;
    size_t n;
    bool mapped;
    uint64_t alignment;
    rm_gguf_entry *entries;
    rm_gguf_tensor *tensors;
    size_t n_entries, n_tensors;
    /* the same, sorted by name, for finding; indices into the tables above */
    uint32_t *entry_order, *tensor_order;
};

/* ---- the cursor ---------------------------------------------------------------------------- */

typedef struct cursor {
    const unsigned char *bytes;
    size_t at, n;         /* at <= n always */
    const char *file;
    rm_error *err;
} cursor;

/* n more bytes, or NULL and a sentence that names `what` was to be read there. */
static const unsigned char *take(cursor *c, uint64_t n, const char *what)
{
    if (n > c->n - c->at) {
        rm_fail(c->err, RM_E_FORMAT,
                "%s: the file ends inside %s: %" PRIu64 " bytes expected at offset %zu, %zu there",
                c->file, what, n, c->at, c->n - c->at);
        return NULL;
    }
    const unsigned char *p = c->bytes + c->at;
    c->at += (size_t)n;
    return p;
}

static bool take_u32(cursor *c, const char *what, uint32_t *value)
{
    const unsigned char *p = take(c, 4, what);
    if (p)
        memcpy(value, p, 4);
    return p != NULL;
}

static bool take_u64(cursor *c, const char *what, uint64_t *value)
{
    const unsigned char *p = take(c, 8, what);
    if (p)
        memcpy(value, p, 8);
    return p != NULL;
}

/* A count of things of at least `each` bytes: refused if the rest of the file cannot hold it. */
static bool take_count(cursor *c, const char *what, uint64_t each, uint64_t *value)
{
    if (!take_u64(c, what, value))
        return false;
    if (*value > (c->n - c->at) / each) {
        rm_fail(c->err, RM_E_FORMAT,
                "%s: %s says %" PRIu64 ", but the remaining %zu bytes hold at most %" PRIu64,
                c->file, what, *value, c->n - c->at, (uint64_t)(c->n - c->at) / each);
        return false;
    }
    return true;
}

static bool take_string(cursor *c, const char *what, rm_gguf_string *s)
{
    uint64_t n;
    if (!take_count(c, what, 1, &n))
        return false;
    s->bytes = (const char *)take(c, n, what);
    s->n = (size_t)n;
    return s->bytes != NULL;
}

/* A key or a tensor's name: not empty, at most `most` bytes, printable ASCII without spaces. */
static bool take_name(cursor *c, const char *what, size_t most, rm_gguf_string *s)
{
    size_t at = c->at;
    if (!take_string(c, what, s))
        return false;
    bool good = s->n >= 1 && s->n <= most;
    for (size_t i = 0; good && i < s->n; i++)
        good = s->bytes[i] > ' ' && s->bytes[i] < 0x7f;
    if (!good)
        rm_fail(c->err, RM_E_FORMAT,
                "%s: %s at offset %zu (%zu bytes long) should be 1 to %zu printable ASCII "
                "characters", c->file, what, at, s->n, most);
    return good;
}

/* ---- metadata ------------------------------------------------------------------------------ */

static bool check_flags(cursor *c, const char *what, const unsigned char *p, uint64_t n)
{
    for (uint64_t i = 0; i < n; i++)
        if (p[i] > 1) {
            rm_fail(c->err, RM_E_FORMAT, "%s: %s holds a bool of value %u, expected 0 or 1",
                    c->file, what, p[i]);
            return false;
        }
    return true;
}

static bool skip_array(cursor *c, const char *what, int depth, rm_gguf_type *type, uint64_t *n);

/* Passes over n values of a type, checking them. */
static bool skip_values(cursor *c, const char *what, int depth, rm_gguf_type type, uint64_t n)
{
    if (type == RM_GGUF_STRING) {
        rm_gguf_string s;
        for (uint64_t i = 0; i < n; i++)
            if (!take_string(c, what, &s))
                return false;
        return true;
    }
    if (type == RM_GGUF_ARRAY) {
        rm_gguf_type inner;
        uint64_t m;
        for (uint64_t i = 0; i < n; i++)
            if (!skip_array(c, what, depth + 1, &inner, &m))
                return false;
        return true;
    }
    /* n was checked against the remaining bytes, so the product cannot overflow */
    const unsigned char *p = take(c, n * scalar_bytes[type], what);
    return p && (type != RM_GGUF_BOOL || check_flags(c, what, p, n));
}

static bool take_type(cursor *c, const char *what, rm_gguf_type *type)
{
    uint32_t u;
    if (!take_u32(c, what, &u))
        return false;
    if (u >= RM_GGUF_TYPE_COUNT) {
        rm_fail(c->err, RM_E_FORMAT, "%s: %s has value type %" PRIu32 ", expected 0 to %d",
                c->file, what, u, RM_GGUF_TYPE_COUNT - 1);
        return false;
    }
    *type = (rm_gguf_type)u;
    return true;
}

static bool skip_array(cursor *c, const char *what, int depth, rm_gguf_type *type, uint64_t *n)
{
    if (depth > MAX_ARRAY_DEPTH) {
        rm_fail(c->err, RM_E_FORMAT, "%s: %s nests arrays more than %d deep", c->file, what,
                MAX_ARRAY_DEPTH);
        return false;
    }
    if (!take_type(c, what, type))
        return false;
    uint64_t each = *type == RM_GGUF_STRING ? 8 : *type == RM_GGUF_ARRAY ? 12 : scalar_bytes[*type];
    return take_count(c, what, each, n) && skip_values(c, what, depth, *type, *n);
}

static bool read_entry(cursor *c, uint64_t index, rm_gguf_entry *e)
{
    char what[128];
    snprintf(what, sizeof what, "key %" PRIu64, index);
    if (!take_name(c, what, MAX_KEY_BYTES, &e->key))
        return false;
    snprintf(what, sizeof what, "value of %.*s", (int)(e->key.n < 80 ? e->key.n : 80),
             e->key.bytes);
    if (!take_type(c, what, &e->type))
        return false;
    e->array = e->type == RM_GGUF_ARRAY;
    e->n = 1;
    size_t start = c->at;
    if (e->array) {
        if (!skip_array(c, what, 1, &e->type, &e->n))
            return false;
        start += 12; /* element type and count */
    } else if (!skip_values(c, what, 1, e->type, 1)) {
        return false;
    }
    e->data = c->bytes + start;
    return true;
}

/* ---- tensors ------------------------------------------------------------------------------- */

static rm_dtype engine_type(uint32_t ggml_type, bool *readable)
{
    *readable = true;
    switch (ggml_type) {
    case 0: return RM_F32;
    case 1: return RM_F16;
    case 2: return RM_Q4_0;
    case 3: return RM_Q4_1;
    case 6: return RM_Q5_0;
    case 7: return RM_Q5_1;
    case 8: return RM_Q8_0;
    case 12: return RM_Q4_K;
    case 13: return RM_Q5_K;
    case 14: return RM_Q6_K;
    case 30: return RM_BF16;
    default: *readable = false; return RM_DTYPE_COUNT;
    }
}

static bool read_dims(cursor *c, rm_gguf_tensor *t, const char *what)
{
    uint32_t n_dims;
    if (!take_u32(c, what, &n_dims))
        return false;
    if (n_dims < 1 || n_dims > RM_GGUF_MAX_DIMS) {
        rm_fail(c->err, RM_E_FORMAT, "%s: %s has %" PRIu32 " dimensions, expected 1 to %d",
                c->file, what, n_dims, RM_GGUF_MAX_DIMS);
        return false;
    }
    t->n_dims = (int)n_dims;
    t->n_values = 1;
    for (int i = 0; i < RM_GGUF_MAX_DIMS; i++) {
        t->dims[i] = 1;
        if (i >= t->n_dims)
            continue;
        if (!take_u64(c, what, &t->dims[i]))
            return false;
        /* 2^48 values are more than any address space holds, and leave room to multiply by the
         * largest block size */
        if (t->dims[i] == 0 || t->dims[i] > (UINT64_C(1) << 48) / t->n_values) {
            rm_fail(c->err, RM_E_FORMAT,
                    "%s: dimension %d of %s is %" PRIu64 ", expected at least 1 and a product "
                    "below 2^48", c->file, i, what, t->dims[i]);
            return false;
        }
        t->n_values *= t->dims[i];
    }
    return true;
}

/* Reads one tensor's description; t->offset is still relative to the data section. */
static bool read_tensor(cursor *c, uint64_t index, uint64_t alignment, rm_gguf_tensor *t)
{
    char what[128];
    snprintf(what, sizeof what, "name of tensor %" PRIu64, index);
    if (!take_name(c, what, MAX_NAME_BYTES, &t->name))
        return false;
    snprintf(what, sizeof what, "tensor %.*s", (int)t->name.n, t->name.bytes);
    uint64_t offset;
    if (!read_dims(c, t, what) || !take_u32(c, what, &t->ggml_type) ||
        !take_u64(c, what, &offset))
        return false;
    const struct ggml_type *type = NULL;
    if (t->ggml_type < sizeof ggml_types / sizeof ggml_types[0])
        type = &ggml_types[t->ggml_type];
    if (!type || !type->name) {
        rm_fail(c->err, RM_E_FORMAT, "%s: %s has value type %" PRIu32 ", which is not a ggml type "
                "that this reader knows", c->file, what, t->ggml_type);
        return false;
    }
    t->type_name = type->name;
    t->type = engine_type(t->ggml_type, &t->readable);
    if (t->dims[0] % type->block_values) {
        rm_fail(c->err, RM_E_FORMAT, "%s: rows of %s have %" PRIu64 " values, expected a multiple "
                "of %d for %s", c->file, what, t->dims[0], type->block_values, type->name);
        return false;
    }
    uint64_t n_bytes = t->n_values / type->block_values * type->block_bytes;
    if (offset % alignment) {
        rm_fail(c->err, RM_E_FORMAT, "%s: %s has offset %" PRIu64 ", expected a multiple of the "
                "alignment %" PRIu64, c->file, what, offset, alignment);
        return false;
    }
    if (offset > c->n || n_bytes > c->n) {
        rm_fail(c->err, RM_E_FORMAT, "%s: %s claims %" PRIu64 " bytes at data offset %" PRIu64
                ", but the file has %zu bytes", c->file, what, n_bytes, offset, c->n);
        return false;
    }
    t->offset = (size_t)offset;
    t->n_bytes = (size_t)n_bytes;
    return true;
}

/* Turns data offsets into file offsets and pointers, and checks that each tensor lies inside. */
static bool place_tensors(rm_gguf *g, cursor *c)
{
    size_t padding = (size_t)((g->alignment - c->at % g->alignment) % g->alignment);
    if (g->n_tensors && padding > c->n - c->at) {
        rm_fail(c->err, RM_E_FORMAT, "%s: the file ends at offset %zu, before its tensor data",
                c->file, c->n);
        return false;
    }
    size_t start = c->at + padding;
    for (size_t i = 0; i < g->n_tensors; i++) {
        rm_gguf_tensor *t = &g->tensors[i];
        if (t->offset > c->n - start || t->n_bytes > c->n - start - t->offset) {
            rm_fail(c->err, RM_E_FORMAT,
                    "%s: tensor %.*s needs bytes %zu to %zu, but the file has %zu", c->file,
                    (int)t->name.n, t->name.bytes, start + t->offset,
                    start + t->offset + t->n_bytes, c->n);
            return false;
        }
        t->offset += start;
        t->data = g->bytes + t->offset;
    }
    return true;
}

/* ---- finding by name ----------------------------------------------------------------------- */

static int compare_strings(rm_gguf_string a, rm_gguf_string b)
{
    int order = memcmp(a.bytes, b.bytes, a.n < b.n ? a.n : b.n);
    return order ? order : (a.n > b.n) - (a.n < b.n);
}

/* Rows of a table by name; both kinds of row begin with it. */
static rm_gguf_string row_name(const void *table, size_t row_bytes, uint32_t index)
{
    rm_gguf_string s;
    memcpy(&s, (const char *)table + row_bytes * index, sizeof s);
    return s;
}

static_assert(offsetof(rm_gguf_entry, key) == 0, "row_name reads the key there");
static_assert(offsetof(rm_gguf_tensor, name) == 0, "row_name reads the name there");

typedef struct sort_context {
    const void *table;
    size_t row_bytes;
} sort_context;

static int compare_rows(const void *a, const void *b, void *arg)
{
    const sort_context *s = arg;
    uint32_t i, j;
    memcpy(&i, a, sizeof i);
    memcpy(&j, b, sizeof j);
    return compare_strings(row_name(s->table, s->row_bytes, i),
                           row_name(s->table, s->row_bytes, j));
}

/* *order = the rows sorted by name; refuses two of one name. */
static rm_status sort_names(const rm_gguf *g, const void *table, size_t row_bytes, size_t n,
                            const char *what, uint32_t **order, rm_error *err)
{
    uint32_t *o = malloc((n + 1) * sizeof *o);
    if (!o)
        return rm_fail(err, RM_E_MEMORY, "%s: no memory for %zu names", g->file, n);
    for (size_t i = 0; i < n; i++)
        o[i] = (uint32_t)i;
    sort_context context = { table, row_bytes };
    qsort_r(o, n, sizeof *o, compare_rows, &context);
    *order = o;
    for (size_t i = 1; i < n; i++) {
        rm_gguf_string name = row_name(table, row_bytes, o[i]);
        if (compare_strings(row_name(table, row_bytes, o[i - 1]), name) == 0)
            return rm_fail(err, RM_E_FORMAT, "%s: %s %.*s appears twice", g->file, what,
                           (int)(name.n < 80 ? name.n : 80), name.bytes);
    }
    return RM_OK;
}

static const void *find_row(const void *table, size_t row_bytes, const uint32_t *order, size_t n,
                            const char *name)
{
    rm_gguf_string wanted = { name, strlen(name) };
    size_t low = 0, high = n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int c = compare_strings(row_name(table, row_bytes, order[middle]), wanted);
        if (c == 0)
            return (const char *)table + row_bytes * order[middle];
        if (c < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

const rm_gguf_entry *rm_gguf_find(const rm_gguf *g, const char *key)
{
    return find_row(g->entries, sizeof *g->entries, g->entry_order, g->n_entries, key);
}

const rm_gguf_tensor *rm_gguf_find_tensor(const rm_gguf *g, const char *name)
{
    return find_row(g->tensors, sizeof *g->tensors, g->tensor_order, g->n_tensors, name);
}

/* ---- opening ------------------------------------------------------------------------------- */

/* Room for one more row in a table that grows by halves. */
static void *grow(void *table, size_t n, size_t *capacity, size_t row_bytes)
{
    if (n < *capacity)
        return table;
    size_t wider = *capacity + *capacity / 2 + 64;
    void *t = realloc(table, wider * row_bytes);
    if (t)
        *capacity = wider;
    return t;
}

static rm_status read_header(cursor *c, uint64_t *n_tensors, uint64_t *n_entries)
{
    const unsigned char *magic = take(c, 4, "the magic");
    if (!magic)
        return RM_E_FORMAT;
    if (memcmp(magic, "GGUF", 4))
        return rm_fail(c->err, RM_E_FORMAT, "%s: not a GGUF file: it begins with bytes %02x %02x "
                       "%02x %02x, expected 47 47 55 46", c->file, magic[0], magic[1], magic[2],
                       magic[3]);
    uint32_t version;
    if (!take_u32(c, "the version", &version))
        return RM_E_FORMAT;
    if (version != 2 && version != 3) {
        if (version == 0x02000000u || version == 0x03000000u)
            return rm_fail(c->err, RM_E_UNSUPPORTED,
                           "%s: a big-endian GGUF file; only little-endian ones are read", c->file);
        return rm_fail(c->err, RM_E_UNSUPPORTED, "%s: GGUF version %" PRIu32 ", expected 2 or 3",
                       c->file, version);
    }
    if (!take_count(c, "the number of tensors", MIN_TENSOR_BYTES, n_tensors) ||
        !take_count(c, "the number of metadata keys", MIN_ENTRY_BYTES, n_entries))
        return RM_E_FORMAT;
    if (*n_tensors >= UINT32_MAX || *n_entries >= UINT32_MAX)
        return rm_fail(c->err, RM_E_FORMAT, "%s: more than 2^32 tensors or keys", c->file);
    return RM_OK;
}

static rm_status read_entries(rm_gguf *g, cursor *c, uint64_t n)
{
    size_t capacity = 0;
    for (uint64_t i = 0; i < n; i++) {
        void *t = grow(g->entries, g->n_entries, &capacity, sizeof *g->entries);
        if (!t)
            return rm_fail(c->err, RM_E_MEMORY, "%s: no memory for its metadata", g->file);
        g->entries = t;
        if (!read_entry(c, i, &g->entries[g->n_entries]))
            return RM_E_FORMAT;
        g->n_entries++;
    }
    return sort_names(g, g->entries, sizeof *g->entries, g->n_entries, "key", &g->entry_order,
                      c->err);
}

static rm_status read_alignment(rm_gguf *g, rm_error *err)
{
    const rm_gguf_entry *e = rm_gguf_find(g, "general.alignment");
    g->alignment = RM_GGUF_DEFAULT_ALIGNMENT;
    if (!e)
        return RM_OK;
    int64_t value = 0;
    rm_status st = rm_gguf_integer(g, "general.alignment", 8, MAX_ALIGNMENT, &value, err);
    if (st)
        return st;
    if (value & (value - 1))
        return rm_fail(err, RM_E_FORMAT, "%s: general.alignment is %" PRId64 ", expected a power "
                       "of two", g->file, value);
    g->alignment = (uint64_t)value;
    return RM_OK;
}

static int compare_offsets(const void *a, const void *b, void *arg)
{
    const rm_gguf_tensor *tensors = arg;
    uint32_t i, j;
    memcpy(&i, a, sizeof i);
    memcpy(&j, b, sizeof j);
    return (tensors[i].offset > tensors[j].offset) - (tensors[i].offset < tensors[j].offset);
}

/* Tensors that share bytes would be a lie about at least one of them. */
static rm_status check_overlap(const rm_gguf *g, rm_error *err)
{
    if (g->n_tensors < 2)
        return RM_OK;
    uint32_t *order = malloc(g->n_tensors * sizeof *order);
    if (!order)
        return rm_fail(err, RM_E_MEMORY, "%s: no memory for its tensors", g->file);
    memcpy(order, g->tensor_order, g->n_tensors * sizeof *order);
    qsort_r(order, g->n_tensors, sizeof *order, compare_offsets, g->tensors);
    rm_status st = RM_OK;
    for (size_t i = 1; i < g->n_tensors && !st; i++) {
        const rm_gguf_tensor *a = &g->tensors[order[i - 1]], *b = &g->tensors[order[i]];
        if (a->offset + a->n_bytes > b->offset)
            st = rm_fail(err, RM_E_FORMAT, "%s: tensors %.*s and %.*s overlap", g->file,
                         (int)a->name.n, a->name.bytes, (int)b->name.n, b->name.bytes);
    }
    free(order);
    return st;
}

static rm_status read_tensors(rm_gguf *g, cursor *c, uint64_t n)
{
    size_t capacity = 0;
    for (uint64_t i = 0; i < n; i++) {
        void *t = grow(g->tensors, g->n_tensors, &capacity, sizeof *g->tensors);
        if (!t)
            return rm_fail(c->err, RM_E_MEMORY, "%s: no memory for its tensors", g->file);
        g->tensors = t;
        if (!read_tensor(c, i, g->alignment, &g->tensors[g->n_tensors]))
            return RM_E_FORMAT;
        g->n_tensors++;
    }
    rm_status st = sort_names(g, g->tensors, sizeof *g->tensors, g->n_tensors, "tensor",
                              &g->tensor_order, c->err);
    if (st)
        return st;
    if (!place_tensors(g, c))
        return RM_E_FORMAT;
    return check_overlap(g, c->err);
}

static rm_status gguf_read(rm_gguf *g, rm_error *err)
{
    cursor c = { .bytes = g->bytes, .n = g->n, .file = g->file, .err = err };
    uint64_t n_tensors, n_entries;
    rm_status st = read_header(&c, &n_tensors, &n_entries);
    if (!st)
        st = read_entries(g, &c, n_entries);
    if (!st)
        st = read_alignment(g, err);
    if (!st)
        st = read_tensors(g, &c, n_tensors);
    return st;
}

rm_status rm_gguf_parse(const void *bytes, size_t n, const char *name, rm_gguf **out, rm_error *err)
{
    assert((uintptr_t)bytes % 8 == 0);
    rm_gguf *g = calloc(1, sizeof *g);
    if (g)
        g->file = strdup(name);
    if (!g || !g->file) {
        free(g);
        return rm_fail(err, RM_E_MEMORY, "%s: no memory to read it", name);
    }
    g->bytes = bytes;
    g->n = n;
    rm_status st = gguf_read(g, err);
    if (st) {
        rm_gguf_close(g);
        return st;
    }
    *out = g;
    return RM_OK;
}

rm_status rm_gguf_open(const char *file, rm_gguf **out, rm_error *err)
{
    const void *bytes;
    size_t n;
    rm_status st = rm_map_open(file, &bytes, &n, err);
    if (st)
        return st;
    st = n < 24 ? rm_fail(err, RM_E_FORMAT, "%s: not a GGUF file: %zu bytes, the header alone has "
                          "24", file, n)
                : rm_gguf_parse(bytes, n, file, out, err);
    if (!st)
        (*out)->mapped = true;
    else
        rm_map_close(bytes, n);
    return st;
}

void rm_gguf_close(rm_gguf *g)
{
    if (!g)
        return;
    if (g->mapped)
        rm_map_close(g->bytes, g->n);
    free(g->file);
    free(g->entries);
    free(g->tensors);
    free(g->entry_order);
    free(g->tensor_order);
    free(g);
}

/* ---- what is in it ------------------------------------------------------------------------- */

const char *rm_gguf_file(const rm_gguf *g) { return g->file; }
uint64_t rm_gguf_n_entries(const rm_gguf *g) { return g->n_entries; }
uint64_t rm_gguf_n_tensors(const rm_gguf *g) { return g->n_tensors; }

const rm_gguf_entry *rm_gguf_entry_at(const rm_gguf *g, uint64_t i)
{
    assert(i < g->n_entries);
    return &g->entries[i];
}

const rm_gguf_tensor *rm_gguf_tensor_at(const rm_gguf *g, uint64_t i)
{
    assert(i < g->n_tensors);
    return &g->tensors[i];
}

size_t rm_gguf_bytes(const rm_gguf *g, const void **bytes)
{
    *bytes = g->bytes;
    return g->n;
}
