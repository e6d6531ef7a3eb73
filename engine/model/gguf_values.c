/* gguf_values.c - typed access to the metadata of a GGUF file that gguf.c has checked.
 *
 * Writers disagree about integer widths (a count may be u32, i32 or u64), so any integer type is
 * taken where an integer is wanted, and its value is held against the caller's limits. */
#include "engine/model/gguf.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char *const type_names[RM_GGUF_TYPE_COUNT] = {
    "u8", "i8", "u16", "i16", "u32", "i32", "f32", "bool", "string", "array", "u64", "i64", "f64",
};

/* 0 for what is not an integer. */
static const uint8_t integer_bytes[RM_GGUF_TYPE_COUNT] = {
    [RM_GGUF_U8] = 1,  [RM_GGUF_I8] = 1,  [RM_GGUF_U16] = 2, [RM_GGUF_I16] = 2,
    [RM_GGUF_U32] = 4, [RM_GGUF_I32] = 4, [RM_GGUF_U64] = 8, [RM_GGUF_I64] = 8,
};

static rm_status wrong_type(const rm_gguf *g, const rm_gguf_entry *e, const char *key,
                            const char *expected, rm_error *err)
{
    return rm_fail(err, RM_E_FORMAT, "%s: %s is %s%s, expected %s", rm_gguf_file(g), key,
                   e->array ? "an array of " : "a value of type ", type_names[e->type], expected);
}

/* An integer as 64 bits with saturation: no limit asked for lies beyond int64. */
static bool entry_integer(const rm_gguf_entry *e, int64_t *value)
{
    union { uint8_t u8; int8_t i8; uint16_t u16; int16_t i16; uint32_t u32; int32_t i32;
            uint64_t u64; int64_t i64; } v = { 0 };
    if (e->array || !integer_bytes[e->type])
        return false;
    memcpy(&v, e->data, integer_bytes[e->type]);
    switch (e->type) {
    case RM_GGUF_U8: *value = v.u8; break;
    case RM_GGUF_I8: *value = v.i8; break;
    case RM_GGUF_U16: *value = v.u16; break;
    case RM_GGUF_I16: *value = v.i16; break;
    case RM_GGUF_U32: *value = v.u32; break;
    case RM_GGUF_I32: *value = v.i32; break;
    case RM_GGUF_U64: *value = v.u64 > INT64_MAX ? INT64_MAX : (int64_t)v.u64; break;
    case RM_GGUF_I64: *value = v.i64; break;
    default: return false;
    }
    return true;
}

rm_status rm_gguf_integer(const rm_gguf *g, const char *key, int64_t low, int64_t high,
                          int64_t *value, rm_error *err)
{
    const rm_gguf_entry *e = rm_gguf_find(g, key);
    int64_t v;
    if (!e)
        return RM_OK;
    if (!entry_integer(e, &v))
        return wrong_type(g, e, key, "an integer", err);
    if (v < low || v > high)
        return rm_fail(err, RM_E_FORMAT, "%s: %s is %" PRId64 ", expected %" PRId64 " to %" PRId64,
                       rm_gguf_file(g), key, v, low, high);
    *value = v;
    return RM_OK;
}

rm_status rm_gguf_real(const rm_gguf *g, const char *key, double low, double high, double *value,
                       rm_error *err)
{
    const rm_gguf_entry *e = rm_gguf_find(g, key);
    int64_t whole;
    double v;
    if (!e)
        return RM_OK;
    if (!e->array && e->type == RM_GGUF_F32) {
        float f;
        memcpy(&f, e->data, sizeof f);
        v = f;
    } else if (!e->array && e->type == RM_GGUF_F64) {
        memcpy(&v, e->data, sizeof v);
    } else if (entry_integer(e, &whole)) {
        v = (double)whole;
    } else {
        return wrong_type(g, e, key, "a number", err);
    }
    if (!(v >= low && v <= high)) /* also true of NaN */
        return rm_fail(err, RM_E_FORMAT, "%s: %s is %g, expected %g to %g", rm_gguf_file(g), key, v,
                       low,
                       high);
    *value = v;
    return RM_OK;
}

rm_status rm_gguf_flag(const rm_gguf *g, const char *key, bool *value, rm_error *err)
{
    const rm_gguf_entry *e = rm_gguf_find(g, key);
    if (!e)
        return RM_OK;
    if (e->array || e->type != RM_GGUF_BOOL)
        return wrong_type(g, e, key, "a bool", err);
    *value = e->data[0] != 0;
    return RM_OK;
}

rm_status rm_gguf_text(const rm_gguf *g, const char *key, rm_gguf_string *value, rm_error *err)
{
    const rm_gguf_entry *e = rm_gguf_find(g, key);
    if (!e)
        return RM_OK;
    if (e->array || e->type != RM_GGUF_STRING)
        return wrong_type(g, e, key, "a string", err);
    const unsigned char *cursor_at = e->data;
    *value = rm_gguf_next_string(&cursor_at);
    return RM_OK;
}

rm_status rm_gguf_array(const rm_gguf *g, const char *key, rm_gguf_type type,
                        const rm_gguf_entry **entry, rm_error *err)
{
    const rm_gguf_entry *e = rm_gguf_find(g, key);
    *entry = NULL;
    if (e && (!e->array || e->type != type)) {
        char expected[48];
        snprintf(expected, sizeof expected, "an array of %s", type_names[type]);
        return wrong_type(g, e, key, expected, err);
    }
    *entry = e;
    return RM_OK;
}

rm_gguf_string rm_gguf_next_string(const unsigned char **cursor_at)
{
    uint64_t n;
    memcpy(&n, *cursor_at, 8);
    rm_gguf_string s = { (const char *)*cursor_at + 8, (size_t)n };
    *cursor_at += 8 + n;
    return s;
}

void rm_gguf_shape(const rm_gguf_tensor *t, char text[96])
{
    int at = snprintf(text, 96, "%s [", t->type_name);
    for (int i = 0; i < t->n_dims; i++)
        at += snprintf(text + at, 96 - (size_t)at, "%s%" PRIu64, i ? ", " : "", t->dims[i]);
    snprintf(text + at, 96 - (size_t)at, "]");
}
