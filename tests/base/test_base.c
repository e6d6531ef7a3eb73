/* test_base.c - errors, text, UTF-8, word distance, files, random numbers. */
#include "base/base.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A build with sanitizers is the one in which asserts run. */
#if defined(__has_feature)
#if __has_feature(address_sanitizer) && defined(NDEBUG)
#error "the sanitizer build must define no NDEBUG"
#endif
#endif

/* Nobody writes to the pipe: opening it must not wait. */
Test(files, a_pipe_is_no_file, .timeout = 5)
{
    char dir[] = "/tmp/ramify-test-XXXXXX", path[64], *data = NULL;
    size_t n = 0;
    rm_error err;
    cr_assert(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/pipe", dir);
    cr_assert_eq(mkfifo(path, 0600), 0);
    cr_expect_eq(rm_file_read(path, 100, &data, &n, &err), RM_E_IO);
    cr_expect(strstr(err.text, "is not a regular file"), "%s", err.text);
    unlink(path);
    rmdir(dir);
}

/* Known answers of the authors' own distribution, Random123 1.14, tests/kat_vectors, the three
 * lines "philox4x32 10". */
Test(random, philox_known_answers)
{
    static const struct {
        uint32_t counter[4], key[2], expected[4];
    } table[] = {
        { { 0, 0, 0, 0 }, { 0, 0 }, { 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8 } },
        { { 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff },
          { 0xffffffff, 0xffffffff },
          { 0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd } },
        { { 0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344 },
          { 0xa4093822, 0x299f31d0 },
          { 0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1 } },
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        uint32_t out[4];
        rm_philox(table[i].counter, table[i].key, out);
        cr_expect(memcmp(out, table[i].expected, sizeof out) == 0, "vector %zu", i);
    }
}

/* The first output of SplitMix64 seeded with 0, from Vigna's splitmix64.c, is what rm_mix gives
 * for (0, 0): the golden ratio is the first state. */
Test(random, mix_is_splitmix_finaliser)
{
    cr_expect_eq(rm_mix(0, 0), UINT64_C(0xe220a8397b1dcdaf));
    cr_expect_neq(rm_mix(1, 2), rm_mix(2, 1));
}

Test(random, scale_and_unit_stay_in_range)
{
    cr_expect_eq(rm_scale(0, 7), 0);
    cr_expect_eq(rm_scale(UINT64_MAX, 7), 6);
    cr_expect_eq(rm_scale(UINT64_C(1) << 63, 10), 5);
    cr_expect(rm_unit(0) > 0.0);
    cr_expect(rm_unit(UINT64_MAX) < 1.0);
}

/* Well-formed and ill-formed sequences of the Unicode Standard 15.0, tables 3-7 to 3-11. */
Test(text, utf8_prefix)
{
    static const struct {
        const char *bytes;
        size_t n, valid;
    } table[] = {
        { "", 0, 0 },
        { "abc", 3, 3 },
        { "\xC3\xA9", 2, 2 },
        { "\xE2\x82\xAC", 3, 3 },
        { "\xF0\x90\x8C\x82", 4, 4 },
        { "\xF4\x8F\xBF\xBF", 4, 4 },
        { "a\xC0\xAF", 3, 1 },         /* overlong */
        { "\xE0\x80\xAF", 3, 0 },      /* overlong */
        { "\xED\xA0\x80", 3, 0 },      /* surrogate */
        { "\xF4\x90\x80\x80", 4, 0 },  /* above U+10FFFF */
        { "ab\xE2\x82", 4, 2 },        /* cut */
        { "\x80", 1, 0 },              /* continuation alone */
        { "\xFF", 1, 0 },
        { "a\0b", 3, 3 },
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        cr_expect_eq(rm_utf8_valid_prefix(table[i].bytes, table[i].n), table[i].valid, "row %zu",
                     i);
}

Test(text, grows_and_stays_terminated)
{
    rm_text text = { 0 };
    for (int i = 0; i < 1000; i++)
        rm_text_printf(&text, "%d,", i);
    rm_text_add(&text, "\0x", 2);
    cr_assert_not(text.failed);
    cr_expect_eq(text.length, 10u * 2 + 90u * 3 + 900u * 4 + 2);
    cr_expect_eq(text.data[text.length], '\0');
    cr_expect(strncmp(text.data, "0,1,2,", 6) == 0);
    rm_text_free(&text);
    cr_expect_null(text.data);
}

Test(text, errors_are_cut_on_a_character)
{
    rm_error err;
    char longer[700];
    for (size_t i = 0; i + 2 < sizeof longer; i += 2)
        memcpy(longer + i, "\xC3\xA9", 3);
    cr_expect_eq(rm_fail(&err, RM_E_IO, "x%s", longer), RM_E_IO);
    cr_expect_eq(rm_utf8_valid_prefix(err.text, strlen(err.text)), strlen(err.text));
    cr_expect_geq(strlen(err.text), sizeof err.text - 4);
    rm_fail(&err, RM_E_IO, "inner");
    rm_fail_within(&err, RM_E_IO, "outer %d", 3);
    cr_expect_str_eq(err.text, "outer 3: inner");
    cr_expect_eq(rm_fail(NULL, RM_E_LIMIT, "nobody reads this"), RM_E_LIMIT);
}

Test(text, word_distance)
{
    static const struct {
        const char *a, *b;
        int distance;
    } table[] = {
        { "", "", 0 },          { "beam", "beam", 0 },     { "baem", "beam", 1 },
        /* Levenshtein's usual example */
        { "num_beam", "num_beams", 1 }, { "kitten", "sitting", 3 },
        { "", "abc", 3 },       { "ca", "abc", 3 }, /* restricted transposition: 3, not 2 */
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        cr_expect_eq(rm_word_distance(table[i].a, table[i].b), table[i].distance, "row %zu", i);
}

Test(files, read_and_replace)
{
    char name[] = "/tmp/ramify-base-XXXXXX";
    int fd = mkstemp(name);
    cr_assert_geq(fd, 0);
    close(fd);
    rm_error err;
    char *data = NULL;
    size_t n = 0;

    cr_assert_eq(rm_file_write(name, "hello", 5, &err), RM_OK);
    cr_assert_eq(rm_file_read(name, 100, &data, &n, &err), RM_OK);
    cr_expect_eq(n, 5u);
    cr_expect_str_eq(data, "hello");
    free(data);
    data = NULL;

    cr_expect_eq(rm_file_read(name, 4, &data, &n, &err), RM_E_FORMAT);
    cr_expect(strstr(err.text, name) && strstr(err.text, "5 bytes"), "%s", err.text);
    cr_expect_null(data);
    unlink(name);
    cr_expect_eq(rm_file_read(name, 4, &data, &n, &err), RM_E_IO);
    cr_expect_eq(rm_file_read("/tmp", 4, &data, &n, &err), RM_E_IO);
    cr_expect_eq(rm_file_write("/nonexistent/folder/x", "a", 1, &err), RM_E_IO);
}

/* /dev/full accepts an open and refuses every write: the old content must survive. */
Test(files, full_disk_keeps_the_old_content)
{
    char folder[] = "/tmp/ramify-full-XXXXXX";
    cr_assert_not_null(mkdtemp(folder));
    char name[64], temporary[96];
    snprintf(name, sizeof name, "%s/file", folder);
    rm_error err;
    cr_assert_eq(rm_file_write(name, "old", 3, &err), RM_OK);
    snprintf(temporary, sizeof temporary, "%s.%ld.tmp", name, (long)getpid());
    cr_assert_eq(symlink("/dev/full", temporary), 0);
    cr_expect_eq(rm_file_write(name, "new", 3, &err), RM_E_IO);
    cr_expect(strstr(err.text, "No space left"), "%s", err.text);
    char *data = NULL;
    size_t n = 0;
    cr_assert_eq(rm_file_read(name, 10, &data, &n, &err), RM_OK);
    cr_expect_str_eq(data, "old");
    free(data);
    unlink(name);
    unlink(temporary);
    rmdir(folder);
}
