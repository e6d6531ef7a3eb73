/* fuzz_folder.c - any bytes as a file of a Hugging Face folder. The first byte chooses which: 's' a
 * safetensors file, 't' tokenizer.json, 'v' vocab.json with merges.txt behind a NUL, 'k'
 * tokenizer_config.json without either, 'c' config.json (read from a folder that has nothing else).
 *
 * A file must be read or refused with one sentence, with memory in proportion to its size. */
#define _GNU_SOURCE
#include "engine/model/safetensors.h"
#include "engine/model/source.h"
#include "engine/model/tokenizer_json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define REQUIRE(condition)                                                  \
    do {                                                                    \
        if (!(condition)) {                                                 \
            fprintf(stderr, "%s:%d: " #condition "\n", __FILE__, __LINE__); \
            abort();                                                        \
        }                                                                   \
    } while (0)

static volatile unsigned sink;

static void check_error(rm_status st, const rm_error *err)
{
    REQUIRE(st == RM_OK || err->text[0]);
    size_t n = strlen(err->text);
    REQUIRE(rm_utf8_valid_prefix(err->text, n) == n && !strchr(err->text, '\n'));
}

static void use_safetensors(const uint8_t *data, size_t size)
{
    rm_safetensors *s;
    rm_error err = { "" };
    rm_status st = rm_safetensors_parse(data, size, "fuzz", &s, &err);
    check_error(st, &err);
    if (st)
        return;
    for (size_t i = 0; i < rm_safetensors_count(s); i++) {
        const rm_gguf_tensor *t = rm_safetensors_at(s, i);
        for (size_t k = 0; k < t->n_bytes; k++)
            sink += ((const unsigned char *)t->data)[k];
    }
    rm_safetensors_close(s);
}

static void use_tokenizer(char *text, size_t size, char kind)
{
    static const char sample[] = "Hello, <s>world  <w> 12\xff\xe2\x96\x81 \xe4\xb8\xad e\xcc\x81";
    static char config[] = "{\"tokenizer_class\":\"Qwen2Tokenizer\"}";
    rm_tokenizer_files f = { .config = config, .n_config = sizeof config - 1 };
    size_t cut = strnlen(text, size);
    rm_tokenizer *t;
    rm_error err = { "" };
    if (kind == 'k') {
        f.config = text;
        f.n_config = size;
    } else if (kind == 't') {
        f.tokenizer = text;
        f.n_tokenizer = size;
    } else {
        f.vocab = text;
        f.n_vocab = cut;
        f.merges = cut < size ? text + cut + 1 : text + cut;
        f.n_merges = cut < size ? size - cut - 1 : 0;
    }
    rm_status st = rm_tokenizer_from_files(&f, "fuzz", 300, &t, &err);
    check_error(st, &err);
    if (st)
        return;
    int32_t *tokens;
    int n;
    st = rm_tokenizer_encode(t, sample, sizeof sample - 1, true, &tokens, &n, &err);
    check_error(st, &err);
    if (!st) {
        rm_text back = { 0 };
        rm_tokenizer_decode(t, tokens, n, true, &back);
        rm_text_free(&back);
        free(tokens);
    }
    rm_tokenizer_free(t);
}

static void use_config(const char *text, size_t size)
{
    char folder[] = "/tmp/rm-fuzz-XXXXXX", path[64];
    rm_source *s;
    rm_error err = { "" };
    REQUIRE(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/config.json", folder);
    REQUIRE(rm_file_write(path, text, size, &err) == RM_OK);
    rm_status st = rm_source_open(folder, &s, &err);
    check_error(st, &err);
    REQUIRE(st != RM_OK); /* there are no weights */
    unlink(path);
    rmdir(folder);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    char kind = (char)*data++;
    char *copy = malloc(size); /* NUL-terminated, as files are read */
    REQUIRE(copy);
    memcpy(copy, data, --size);
    copy[size] = '\0';
    if (kind == 's') {
        void *exact = malloc(size ? size : 1);
        REQUIRE(exact);
        memcpy(exact, data, size);
        use_safetensors(exact, size);
        free(exact);
    } else if (kind == 'c') {
        use_config(copy, size);
    } else {
        use_tokenizer(copy, size, kind);
    }
    free(copy);
    return 0;
}
