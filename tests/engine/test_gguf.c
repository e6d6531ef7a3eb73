/* test_gguf.c - the GGUF reader against its writer, against files broken on purpose, and against
 * a folder of files that made other readers fail. */
#include "engine/dtype.h"
#include "engine/engine.h"
#include "engine/model/gguf.h"
#include "engine/model/gguf_write.h"
#include "engine/model/tokenizer.h"

#include "gguf_bytes.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <sys/stat.h>

/* ---- what the writer writes, the reader reads -------------------------------------------- */

static const float row[64] = { 1, -2, 0.5f, 3 };

/* A small file with every kind of entry and a tensor of every type. */
static void write_sample(const char *path)
{
    rm_gguf_writer *w;
    rm_error err;
    cr_assert_eq(rm_gguf_writer_open(path, &w, &err), RM_OK, "%s", err.text);
    rm_gguf_put_string(w, "general.name", "sample");
    rm_gguf_put_u32(w, "a.count", 4000000000u);
    rm_gguf_put_f32(w, "a.real", 0.25f);
    rm_gguf_put_bool(w, "a.flag", true);
    rm_gguf_put_array(w, "a.numbers", RM_GGUF_I32, (int32_t[]){ 1, -2, 3 }, 3);
    rm_gguf_put_strings(w, "a.names", 2);
    rm_gguf_put_element(w, "first", 5);
    rm_gguf_put_element(w, "", 0);
    rm_gguf_put_tensor(w, "vector", RM_F32, 0, 3);
    rm_gguf_put_tensor(w, "matrix.f16", RM_F16, 2, 5);
    rm_gguf_put_tensor(w, "matrix.bf16", RM_BF16, 1, 7);
    rm_gguf_put_tensor(w, "matrix.q8", RM_Q8_0, 1, 64);
    rm_gguf_writer_begin(w);
    unsigned char packed[256];
    const struct { rm_dtype type; size_t n; } order[] = { { RM_F32, 3 }, { RM_F16, 10 },
                                                          { RM_BF16, 7 }, { RM_Q8_0, 64 } };
    for (size_t i = 0; i < 4; i++) {
        rm_dtype_narrow(order[i].type, row, order[i].n, packed);
        size_t n = rm_dtype_bytes(order[i].type, order[i].n);
        rm_gguf_write(w, packed, n / 2); /* in two portions */
        rm_gguf_write(w, packed + n / 2, n - n / 2);
    }
    cr_assert_eq(rm_gguf_writer_close(w, true, &err), RM_OK, "%s", err.text);
}

Test(gguf, writer_and_reader_agree)
{
    char path[64];
    rm_gguf *g;
    rm_error err = { { 0 } };
    write_sample(temporary_path(path));
    cr_assert_eq(rm_gguf_open(path, &g, &err), RM_OK, "%s", err.text);
    cr_expect_eq(rm_gguf_n_entries(g), 6);
    cr_expect_eq(rm_gguf_n_tensors(g), 4);

    int64_t count = 0;
    double real = 0;
    bool flag = false;
    rm_gguf_string name = { 0 };
    cr_expect_eq(rm_gguf_integer(g, "a.count", 0, UINT32_MAX, &count, &err), RM_OK);
    cr_expect_eq(count, 4000000000);
    cr_expect_eq(rm_gguf_real(g, "a.real", 0, 1, &real, &err), RM_OK);
    cr_expect_eq(real, 0.25);
    cr_expect_eq(rm_gguf_flag(g, "a.flag", &flag, &err), RM_OK);
    cr_expect(flag);
    cr_expect_eq(rm_gguf_text(g, "general.name", &name, &err), RM_OK);
    cr_expect(name.n == 6 && memcmp(name.bytes, "sample", 6) == 0);
    count = 77; /* an absent key leaves the value alone */
    cr_expect_eq(rm_gguf_integer(g, "a.absent", 0, 9, &count, &err), RM_OK);
    cr_expect_eq(count, 77);

    const rm_gguf_entry *e;
    cr_assert_eq(rm_gguf_array(g, "a.numbers", RM_GGUF_I32, &e, &err), RM_OK);
    int32_t numbers[3];
    memcpy(numbers, e->data, sizeof numbers);
    cr_expect(e->n == 3 && numbers[0] == 1 && numbers[1] == -2 && numbers[2] == 3);
    cr_assert_eq(rm_gguf_array(g, "a.names", RM_GGUF_STRING, &e, &err), RM_OK);
    const unsigned char *cursor = e->data;
    rm_gguf_string first = rm_gguf_next_string(&cursor), second = rm_gguf_next_string(&cursor);
    cr_expect(first.n == 5 && memcmp(first.bytes, "first", 5) == 0 && second.n == 0);

    const char *names[] = { "vector", "matrix.f16", "matrix.bf16", "matrix.q8" };
    for (size_t i = 0; i < 4; i++) {
        const rm_gguf_tensor *t = rm_gguf_find_tensor(g, names[i]);
        cr_assert(t && t->readable && t->offset % 32 == 0);
        float values[64], expected[64];
        unsigned char packed[256];
        rm_dtype_widen(t->type, t->data, (size_t)t->n_values, values);
        rm_dtype_narrow(t->type, row, (size_t)t->n_values, packed);
        rm_dtype_widen(t->type, packed, (size_t)t->n_values, expected);
        cr_expect(memcmp(values, expected, (size_t)t->n_values * 4) == 0, "%s", names[i]);
    }
    cr_expect_null(rm_gguf_find_tensor(g, "matrix"));
    cr_expect_null(rm_gguf_find(g, "a"));
    rm_gguf_close(g);
    unlink(path);
}

Test(gguf, wrong_types_and_ranges_are_named)
{
    char path[64];
    rm_gguf *g;
    rm_error err;
    int64_t i = 0;
    double r = 0;
    bool b;
    rm_gguf_string s;
    const rm_gguf_entry *e;
    write_sample(temporary_path(path));
    cr_assert_eq(rm_gguf_open(path, &g, &err), RM_OK);
    cr_expect_eq(rm_gguf_integer(g, "general.name", 0, 9, &i, &err), RM_E_FORMAT);
    cr_expect(strstr(err.text, "general.name is a value of type string, expected an integer"),
              "%s", err.text);
    cr_expect_eq(rm_gguf_integer(g, "a.count", 0, 9, &i, &err), RM_E_FORMAT);
    cr_expect(strstr(err.text, "a.count is 4000000000, expected 0 to 9"), "%s", err.text);
    cr_expect_eq(rm_gguf_real(g, "a.real", 1, 2, &r, &err), RM_E_FORMAT);
    cr_expect_eq(rm_gguf_real(g, "a.flag", 0, 2, &r, &err), RM_E_FORMAT);
    cr_expect_eq(rm_gguf_flag(g, "a.count", &b, &err), RM_E_FORMAT);
    cr_expect_eq(rm_gguf_text(g, "a.names", &s, &err), RM_E_FORMAT);
    cr_expect_eq(rm_gguf_array(g, "a.numbers", RM_GGUF_F32, &e, &err), RM_E_FORMAT);
    cr_expect(strstr(err.text, "a.numbers is an array of i32, expected an array of f32"), "%s",
              err.text);
    rm_gguf_close(g);
    unlink(path);
}

/* ---- files broken on purpose ------------------------------------------------------------- */

/* Parses a copy that ends where its bytes end, so that a sanitizer sees any step beyond. */
static rm_status parse(const char *bytes, size_t n, rm_error *err)
{
    rm_gguf *g;
    void *copy = malloc(n ? n : 1);
    memcpy(copy, bytes, n);
    rm_status st = rm_gguf_parse(copy, n, "file", &g, err);
    if (!st)
        rm_gguf_close(g);
    free(copy);
    return st;
}

static void make_good(rm_text *f) /* one entry, two tensors of 32 bytes */
{
    put_header(f, 3, 2, 1);
    put_entry_u32(f, "general.alignment", 32);
    put_tensor(f, "one", 1, (uint64_t[]){ 8 }, 0, 0);
    put_tensor(f, "two", 2, (uint64_t[]){ 4, 4 }, 1, 32);
    put_data(f, 32, 64);
}

static void version_1(rm_text *f) { put_header(f, 1, 0, 0); }
static void version_4(rm_text *f) { put_header(f, 4, 0, 0); }
static void big_endian(rm_text *f) { put_header(f, 0x03000000, 0, 0); }
static void magic(rm_text *f) { put_header(f, 3, 0, 0); f->data[0] = 'g'; }
static void many_tensors(rm_text *f) { put_header(f, 3, UINT64_MAX, 0); }
static void many_entries(rm_text *f) { put_header(f, 3, 0, UINT64_C(1) << 61); }

static void one_entry(rm_text *f, const char *key, uint32_t type)
{
    put_header(f, 3, 0, 1);
    put_str(f, key);
    put_u32(f, type);
}

static void empty_key(rm_text *f) { one_entry(f, "", 4); put_u64(f, 0); }
static void blank_in_key(rm_text *f) { one_entry(f, "a key", 4); put_u64(f, 0); }
static void control_in_key(rm_text *f) { one_entry(f, "a\033[2J", 4); put_u64(f, 0); }
static void type_13(rm_text *f) { one_entry(f, "k", 13); put_u64(f, 0); }
static void bool_2(rm_text *f) { one_entry(f, "k", 7); rm_text_add(f, "\2\0\0\0", 4); }

static void long_string(rm_text *f)
{
    one_entry(f, "k", 8);
    put_u64(f, UINT64_MAX - 7);
    put_u64(f, 0);
}

static void long_array(rm_text *f) /* 2^61 + 1 values of 8 bytes: the product wraps to 8 */
{
    one_entry(f, "k", 9);
    put_u32(f, 10);
    put_u64(f, (UINT64_C(1) << 61) + 1);
    put_u64(f, 0);
}

static void deep_array(rm_text *f)
{
    one_entry(f, "k", 9);
    for (int i = 0; i < 1000; i++) {
        put_u32(f, 9);
        put_u64(f, 1);
    }
}

static void bool_in_array(rm_text *f)
{
    one_entry(f, "k", 9);
    put_u32(f, 7);
    put_u64(f, 3);
    rm_text_add(f, "\0\1\377", 3);
}

static void key_twice(rm_text *f)
{
    put_header(f, 3, 0, 2);
    put_entry_u32(f, "same", 1);
    put_entry_u32(f, "same", 2);
}

static void alignment_24(rm_text *f)
{
    put_header(f, 3, 0, 1);
    put_entry_u32(f, "general.alignment", 24);
}

static void alignment_0(rm_text *f)
{
    put_header(f, 3, 0, 1);
    put_entry_u32(f, "general.alignment", 0);
}

static void alignment_text(rm_text *f)
{
    one_entry(f, "general.alignment", 8);
    put_str(f, "32");
}

static void tensors(rm_text *f, const char *a, const char *b, int n_dims, const uint64_t *dims,
                    uint32_t type, uint64_t offset)
{
    put_header(f, 3, 2, 0);
    put_tensor(f, a, 1, (uint64_t[]){ 8 }, 0, 0);
    put_tensor(f, b, n_dims, dims, type, offset);
    put_data(f, 32, 96);
}

#define DIMS(...) (uint64_t[]){ __VA_ARGS__ }
static void tensor_twice(rm_text *f) { tensors(f, "a", "a", 1, DIMS(8), 0, 32); }
static void no_dims(rm_text *f) { tensors(f, "a", "b", 0, DIMS(8), 0, 32); }
static void five_dims(rm_text *f) { tensors(f, "a", "b", 5, DIMS(1, 1, 1, 1, 1), 0, 32); }
static void dim_0(rm_text *f) { tensors(f, "a", "b", 2, DIMS(8, 0), 0, 32); }
static void dims_wrap(rm_text *f)
{
    tensors(f, "a", "b", 2, DIMS(UINT64_C(1) << 33, UINT64_C(1) << 33), 0, 32);
}
static void type_99(rm_text *f) { tensors(f, "a", "b", 1, DIMS(8), 99, 32); }
static void type_gap(rm_text *f) { tensors(f, "a", "b", 1, DIMS(8), 4, 32); }
static void q8_row_33(rm_text *f) { tensors(f, "a", "b", 1, DIMS(33), 8, 32); }
static void crooked_offset(rm_text *f) { tensors(f, "a", "b", 1, DIMS(8), 0, 33); }
static void far_offset(rm_text *f) { tensors(f, "a", "b", 1, DIMS(8), 0, UINT64_MAX - 31); }
static void one_beyond(rm_text *f) { tensors(f, "a", "b", 1, DIMS(17), 0, 32); }
static void overlap(rm_text *f) { tensors(f, "a", "b", 1, DIMS(8), 0, 0); }
static void long_name(rm_text *f)
{
    tensors(f, "a", "0123456789012345678901234567890123456789012345678901234567890123456789", 1,
            DIMS(8), 0, 32);
}

static const struct broken {
    void (*make)(rm_text *);
    rm_status status;
    const char *says;
} broken[] = {
    { magic, RM_E_FORMAT, "not a GGUF file" },
    { version_1, RM_E_UNSUPPORTED, "version 1, expected 2 or 3" },
    { version_4, RM_E_UNSUPPORTED, "version 4, expected 2 or 3" },
    { big_endian, RM_E_UNSUPPORTED, "big-endian" },
    { many_tensors, RM_E_FORMAT, "number of tensors says 18446744073709551615" },
    { many_entries, RM_E_FORMAT, "number of metadata keys says 2305843009213693952" },
    { empty_key, RM_E_FORMAT, "key 0 at offset 24 (0 bytes long)" },
    { blank_in_key, RM_E_FORMAT, "printable ASCII" },
    { control_in_key, RM_E_FORMAT, "printable ASCII" },
    { type_13, RM_E_FORMAT, "value of k has value type 13, expected 0 to 12" },
    { bool_2, RM_E_FORMAT, "bool of value 2" },
    { long_string, RM_E_FORMAT, "value of k says 18446744073709551608" },
    { long_array, RM_E_FORMAT, "value of k says 2305843009213693953" },
    { deep_array, RM_E_FORMAT, "nests arrays more than 4 deep" },
    { bool_in_array, RM_E_FORMAT, "bool of value 255" },
    { key_twice, RM_E_FORMAT, "key same appears twice" },
    { alignment_24, RM_E_FORMAT, "general.alignment is 24, expected a power of two" },
    { alignment_0, RM_E_FORMAT, "general.alignment is 0, expected 8 to" },
    { alignment_text, RM_E_FORMAT, "general.alignment is a value of type string" },
    { tensor_twice, RM_E_FORMAT, "tensor a appears twice" },
    { no_dims, RM_E_FORMAT, "tensor b has 0 dimensions" },
    { five_dims, RM_E_FORMAT, "tensor b has 5 dimensions" },
    { dim_0, RM_E_FORMAT, "dimension 1 of tensor b is 0" },
    { dims_wrap, RM_E_FORMAT, "dimension 1 of tensor b is 8589934592" },
    { type_99, RM_E_FORMAT, "tensor b has value type 99" },
    { type_gap, RM_E_FORMAT, "tensor b has value type 4" },
    { q8_row_33, RM_E_FORMAT, "rows of tensor b have 33 values, expected a multiple of 32" },
    { crooked_offset, RM_E_FORMAT, "tensor b has offset 33, expected a multiple" },
    { far_offset, RM_E_FORMAT, "tensor b claims 32 bytes" },
    { one_beyond, RM_E_FORMAT, "tensor b needs bytes" },
    { overlap, RM_E_FORMAT, "overlap" },
    { long_name, RM_E_FORMAT, "1 to 64 printable" },
};

Test(gguf, broken_files_are_refused_with_their_reason)
{
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        rm_text f = { 0 };
        rm_error err = { { 0 } };
        broken[i].make(&f);
        cr_expect_eq(parse(f.data, f.length, &err), broken[i].status, "case %zu: %s", i, err.text);
        cr_expect(strstr(err.text, broken[i].says), "case %zu says: %s", i, err.text);
        cr_expect(strncmp(err.text, "file: ", 6) == 0, "case %zu names no file: %s", i, err.text);
        rm_text_free(&f);
    }
}

Test(gguf, versions_2_and_3_are_read)
{
    for (uint32_t version = 2; version <= 3; version++) {
        rm_text f = { 0 };
        rm_error err = { { 0 } };
        make_good(&f);
        memcpy(f.data + 4, &version, 4);
        cr_expect_eq(parse(f.data, f.length, &err), RM_OK, "%s", err.text);
        rm_text_free(&f);
    }
}

Test(gguf, every_truncation_is_refused)
{
    rm_text f = { 0 };
    make_good(&f);
    for (size_t n = 0; n < f.length; n++) {
        rm_error err = { { 0 } };
        cr_expect_eq(parse(f.data, n, &err), RM_E_FORMAT, "%zu of %zu bytes", n, f.length);
        cr_expect(err.text[0] && !strchr(err.text, '\n'));
    }
    rm_text_free(&f);
}

/* Every 4 and 8 bytes of a good file replaced by extreme values: read or refused, never worse.
 * Sanitizers watch; and some of it must be refused, or this test tests nothing. */
Test(gguf, extreme_values_anywhere)
{
    static const uint64_t extremes[] = {
        0, 1, 255, UINT32_MAX, UINT64_C(1) << 31, UINT64_C(1) << 32, INT64_MAX, UINT64_MAX,
        UINT64_MAX - 31, UINT64_C(1) << 63, UINT64_C(1) << 48, 65536,
    };
    rm_text f = { 0 };
    int refused = 0, read = 0;
    make_good(&f);
    for (size_t at = 0; at + 8 <= f.length - 64; at++)
        for (size_t x = 0; x < sizeof extremes / sizeof *extremes; x++)
            for (size_t width = 4; width <= 8; width += 4) {
                char saved[8];
                rm_error err = { { 0 } };
                memcpy(saved, f.data + at, 8);
                memcpy(f.data + at, &extremes[x], width);
                if (parse(f.data, f.length, &err)) {
                    refused++;
                    cr_expect(err.text[0] && !strchr(err.text, '\n'));
                } else {
                    read++;
                }
                memcpy(f.data + at, saved, 8);
            }
    cr_expect(refused > 1000 && read > 0, "%d refused, %d read", refused, read);
    rm_text_free(&f);
}

Test(gguf, what_is_no_regular_file_is_refused)
{
    char path[64];
    rm_gguf *g;
    rm_error err;
    temporary_path(path);
    cr_expect_eq(rm_gguf_open(path, &g, &err), RM_E_FORMAT); /* empty */
    unlink(path);
    cr_expect_eq(rm_gguf_open(path, &g, &err), RM_E_IO);     /* absent */
    cr_expect(strstr(err.text, path));
    cr_assert_eq(mkfifo(path, 0600), 0);
    cr_expect_eq(rm_gguf_open(path, &g, &err), RM_E_ARGUMENT); /* must not wait for a writer */
    unlink(path);
    cr_expect_eq(rm_gguf_open("/", &g, &err), RM_E_ARGUMENT);
}

Test(gguf, writer_reports_what_it_cannot_write)
{
    rm_gguf_writer *w;
    rm_error err = { { 0 } };
    cr_expect_eq(rm_gguf_writer_open("/nonexistent/x.gguf", &w, &err), RM_E_IO);
    cr_expect(strstr(err.text, "/nonexistent/x.gguf"));
}

/* ---- files that other readers stumbled over ---------------------------------------------- */

static void visit(const char *folder, int depth, int *n_files, int *n_read)
{
    DIR *d = opendir(folder);
    struct dirent *entry;
    while (d && (entry = readdir(d))) {
        char path[1024];
        struct stat info;
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        if (entry->d_name[0] == '.' || stat(path, &info))
            continue;
        if (S_ISDIR(info.st_mode) && depth < 4) {
            visit(path, depth + 1, n_files, n_read);
        } else if (S_ISREG(info.st_mode)) {
            rm_gguf *g;
            rm_tokenizer *t;
            rm_error err = { { 0 } };
            (*n_files)++;
            if (rm_gguf_open(path, &g, &err) == RM_OK) {
                (*n_read)++;
                rm_gguf_close(g);
            } else {
                cr_expect(strstr(err.text, path) && !strchr(err.text, '\n'), "%s", err.text);
            }
            /* none of them holds a usable tokenizer */
            err.text[0] = 0;
            cr_expect_neq(rm_tokenizer_open(path, &t, &err), RM_OK, "%s", path);
            cr_expect(err.text[0] && !strchr(err.text, '\n'), "%s", path);
        }
    }
    if (d)
        closedir(d);
}

Test(gguf, hostile_files_from_elsewhere)
{
    int n_files = 0, n_read = 0;
    if (access(RM_TEST_DATA "/gguf-hostile", R_OK))
        cr_skip("no folder " RM_TEST_DATA "/gguf-hostile");
    visit(RM_TEST_DATA "/gguf-hostile", 0, &n_files, &n_read);
    cr_expect(n_files > 100, "%d files", n_files);
    /* the readable ones: containers with 0 to 5 plain entries and no tensors, except two */
    cr_expect(n_read < n_files / 4, "%d of %d files were read", n_read, n_files);
}
