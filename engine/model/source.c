/* source.c - opening a model: GGUF here, Hugging Face folders in folder.c.
 *
 * A split GGUF model is files of one name that ends in -00001-of-00003.gguf and so on. The first
 * has all the metadata; each has tensors, and says in the metadata which part it is:
 *
 *   split.no               u16, from 0
 *   split.count            u16; absent, 0 or 1: not split
 *   split.tensors.count    i32, of all parts together
 *
 * Every part is checked against the first: a missing or foreign one would leave a model with
 * another's layers. */
#define _GNU_SOURCE /* strdup */
#include "engine/model/source_private.h"

#include "engine/model/quote.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define PART_SUFFIX "-%05d-of-%05d.gguf"
enum { PART_SUFFIX_BYTES = 20, MAX_PARTS = 1000 };

/* ---- building ------------------------------------------------------------------------------ */

rm_status rm_source_add_part(rm_source *s, const void *bytes, size_t n, bool mapped, rm_error *err)
{
    rm_source_part *parts = realloc(s->parts, (s->n_parts + 1) * sizeof *parts);
    if (!parts)
        return rm_fail(err, RM_E_MEMORY, "%s: no memory to read it", s->file);
    s->parts = parts;
    s->parts[s->n_parts++] = (rm_source_part){ bytes, n, mapped };
    return RM_OK;
}

rm_status rm_source_add_tensor(rm_source *s, const rm_gguf_tensor *t, rm_error *err)
{
    if ((s->n_tensors & (s->n_tensors - 1)) == 0) { /* full at every power of two */
        size_t room = s->n_tensors ? 2 * s->n_tensors : 1;
        rm_gguf_tensor *tensors = realloc(s->tensors, room * sizeof *tensors);
        if (!tensors)
            return rm_fail(err, RM_E_MEMORY, "%s: no memory for its tensors", s->file);
        s->tensors = tensors;
    }
    s->tensors[s->n_tensors++] = *t;
    return RM_OK;
}

rm_status rm_source_add_stop(rm_source *s, const char *key, int64_t id, int64_t n_vocab,
                             rm_error *err)
{
    if (id < 0)
        return RM_OK;
    if (id >= n_vocab)
        return rm_fail(err, RM_E_FORMAT, "%s: %s is %" PRId64 ", but there are %" PRId64 " tokens",
                       s->file, key, id, n_vocab);
    for (int k = 0; k < s->n_stop_tokens; k++)
        if (s->stop_tokens[k] == (int32_t)id)
            return RM_OK;
    if (s->n_stop_tokens == RM_MAX_STOP_TOKENS)
        return rm_fail(err, RM_E_UNSUPPORTED, "%s: %s names more than %d tokens that end a text",
                       s->file, key, RM_MAX_STOP_TOKENS);
    s->stop_tokens[s->n_stop_tokens++] = (int32_t)id;
    return RM_OK;
}

static int compare_names(const void *a, const void *b)
{
    const rm_gguf_tensor *x = a, *y = b;
    size_t n = x->name.n < y->name.n ? x->name.n : y->name.n;
    int order = memcmp(x->name.bytes, y->name.bytes, n);
    return order ? order : (x->name.n > y->name.n) - (x->name.n < y->name.n);
}

static rm_status sort_tensors(rm_source *s, rm_error *err)
{
    if (s->n_tensors)
        qsort(s->tensors, s->n_tensors, sizeof *s->tensors, compare_names);
    for (size_t i = 1; i < s->n_tensors; i++)
        if (compare_names(&s->tensors[i - 1], &s->tensors[i]) == 0) {
            char name[128];
            snprintf(name, sizeof name, "%.*s", (int)s->tensors[i].name.n, s->tensors[i].name.bytes);
            return rm_fail(err, RM_E_FORMAT, "%s: tensor %s appears twice", s->file,
                           rm_source_label(s, name, (char[128]){ 0 }));
        }
    return RM_OK;
}

const rm_gguf_tensor *rm_source_find(const rm_source *s, const char *name)
{
    rm_gguf_tensor wanted = { .name = { name, strlen(name) } };
    return s->n_tensors ? bsearch(&wanted, s->tensors, s->n_tensors, sizeof wanted, compare_names)
                        : NULL;
}

const char *rm_source_label(const rm_source *s, const char *name, char buffer[128])
{
    if (s->folder)
        rm_folder_label(name, buffer);
    else
        snprintf(buffer, 128, "%s", name);
    return buffer;
}

void rm_source_shape(const rm_source *s, const rm_gguf_tensor *t, char text[96])
{
    rm_gguf_tensor turned = *t;
    for (int i = 0; i < t->n_dims; i++)
        turned.dims[i] = t->dims[t->n_dims - 1 - i];
    rm_gguf_shape(s->folder ? &turned : t, text);
}

/* ---- GGUF ---------------------------------------------------------------------------------- */

typedef struct split {
    int64_t no, count, tensors;
} split;

static rm_status read_split(const rm_gguf *g, split *s, rm_error *err)
{
    rm_status st;
    *s = (split){ 0, 1, -1 };
    if ((st = rm_gguf_integer(g, "split.count", 0, MAX_PARTS, &s->count, err)) ||
        (st = rm_gguf_integer(g, "split.no", 0, MAX_PARTS, &s->no, err)))
        return st;
    return rm_gguf_integer(g, "split.tensors.count", 0, INT32_MAX, &s->tensors, err);
}

/* The file name of part i of n, malloc'd; NULL: `first` is not named like a part. */
static char *part_name(const char *first, int64_t i, int64_t n)
{
    size_t length = strlen(first);
    char suffix[64];
    snprintf(suffix, sizeof suffix, PART_SUFFIX, 1, (int)n);
    if (length < PART_SUFFIX_BYTES || strcmp(first + length - PART_SUFFIX_BYTES, suffix) != 0)
        return NULL;
    char *name = malloc(length + 16);
    if (!name)
        return NULL;
    memcpy(name, first, length - PART_SUFFIX_BYTES);
    snprintf(name + length - PART_SUFFIX_BYTES, PART_SUFFIX_BYTES + 16, PART_SUFFIX, (int)i + 1,
             (int)n);
    return name;
}

static rm_status open_parts(rm_source *s, const split *first, rm_error *err)
{
    struct rm_source_private *p = s->priv;
    rm_status st = RM_OK;
    for (int64_t i = 1; i < first->count && !st; i++) {
        char *name = part_name(s->file, i, first->count);
        split own;
        if (!name)
            return rm_fail(err, RM_E_FORMAT, "%s: the first of %" PRId64 " parts; its name should "
                           "end in -00001-of-%05d.gguf for the others to be found", s->file,
                           first->count, (int)first->count);
        st = rm_gguf_open(name, &p->gguf[i], err);
        if (!st) {
            p->n_gguf++;
            st = read_split(p->gguf[i], &own, err);
        }
        if (!st && (own.no != i || own.count != first->count))
            st = rm_fail(err, RM_E_FORMAT, "%s: says it is part %" PRId64 " of %" PRId64
                         ", expected %" PRId64 " of %" PRId64, name, own.no + 1, own.count, i + 1,
                         first->count);
        free(name);
    }
    return st;
}

static rm_status gather(rm_source *s, const split *first, rm_error *err)
{
    struct rm_source_private *p = s->priv;
    rm_status st = RM_OK;
    for (int i = 0; i < p->n_gguf && !st; i++) {
        const void *bytes;
        size_t n = rm_gguf_bytes(p->gguf[i], &bytes);
        st = rm_source_add_part(s, bytes, n, true, err);
        for (uint64_t k = 0; k < rm_gguf_n_tensors(p->gguf[i]) && !st; k++)
            st = rm_source_add_tensor(s, rm_gguf_tensor_at(p->gguf[i], k), err);
    }
    if (!st && first->count > 1 && first->tensors >= 0 && (size_t)first->tensors != s->n_tensors)
        st = rm_fail(err, RM_E_FORMAT, "%s: split.tensors.count is %" PRId64 ", but its %d parts "
                     "have %zu tensors", s->file, first->tensors, p->n_gguf, s->n_tensors);
    return st ? st : sort_tensors(s, err);
}

/* eos, and the ends of a turn and of a message where the file names them. */
static rm_status read_stop_tokens(rm_source *s, const rm_gguf *g, rm_error *err)
{
    static const char *const keys[] = { "tokenizer.ggml.eos_token_id",
                                        "tokenizer.ggml.eot_token_id",
                                        "tokenizer.ggml.eom_token_id" };
    const rm_gguf_entry *tokens = NULL;
    rm_status st = rm_gguf_array(g, "tokenizer.ggml.tokens", RM_GGUF_STRING, &tokens, err);
    for (size_t i = 0; i < sizeof keys / sizeof keys[0] && !st && tokens; i++) {
        int64_t id = -1;
        st = rm_gguf_integer(g, keys[i], -1, UINT32_MAX, &id, err);
        if (!st && id != UINT32_MAX)
            st = rm_source_add_stop(s, keys[i], id, (int64_t)tokens->n, err);
    }
    return st;
}

static void read_roles(rm_source *s, const rm_gguf *g)
{
    static const char *const keys[RM_N_ROLES] = { "tokenizer.ggml.seperator_token_id", /* so written */
                                                  "tokenizer.ggml.padding_token_id",
                                                  "tokenizer.ggml.unknown_token_id" };
    const rm_gguf_entry *tokens = NULL;
    int64_t id[RM_N_ROLES] = { -1, -1, -1 };
    if (rm_gguf_array(g, "tokenizer.ggml.tokens", RM_GGUF_STRING, &tokens, NULL) || !tokens)
        return; /* the tokenizer's reader says what is wrong */
    for (int i = 0; i < RM_N_ROLES; i++)
        if (rm_gguf_integer(g, keys[i], -1, UINT32_MAX, &id[i], NULL))
            id[i] = -1;
    const unsigned char *cursor = tokens->data;
    for (uint64_t t = 0; t < tokens->n; t++) {
        rm_gguf_string text = rm_gguf_next_string(&cursor);
        for (int i = 0; i < RM_N_ROLES; i++)
            if (id[i] >= 0 && (uint64_t)id[i] == t)
                s->roles[i] = text;
    }
}

/* Both or none. */
static rm_status read_value_tokens(rm_source *s, const rm_gguf *g, rm_error *err)
{
    static const char *const keys[] = { "ramify.value.good_token_id", "ramify.value.bad_token_id" };
    int64_t id[2] = { -1, -1 };
    for (int i = 0; i < 2; i++) {
        rm_status st = rm_gguf_integer(g, keys[i], 0, INT32_MAX, &id[i], err);
        if (st)
            return st;
        s->value_tokens[i] = (int32_t)id[i];
    }
    if ((id[0] < 0) != (id[1] < 0) || (id[0] >= 0 && id[0] == id[1]))
        return rm_fail(err, RM_E_FORMAT,
                       "%s: %s and %s are %d and %d, expected two different tokens",
                       s->file, keys[0], keys[1], (int)id[0], (int)id[1]);
    return RM_OK;
}

static rm_status open_gguf(rm_source *s, rm_error *err)
{
    struct rm_source_private *p = s->priv;
    rm_gguf *g = NULL;
    split first;
    rm_status st = rm_gguf_open(s->file, &g, err);
    if (st)
        return st;
    st = read_split(g, &first, err);
    size_t count = !st && first.count > 1 ? (size_t)first.count : 1;
    p->gguf = calloc(count, sizeof(rm_gguf *));
    if (!p->gguf) {
        rm_gguf_close(g);
        return rm_fail(err, RM_E_MEMORY, "%s: no memory to read it", s->file);
    }
    p->gguf[0] = g;
    p->n_gguf = 1;
    if (st)
        return st;
    if (first.count > 1 && first.no != 0)
        return rm_fail(err, RM_E_ARGUMENT, "%s: part %" PRId64 " of %" PRId64 " of a split model; "
                       "the first part is the one to name", s->file, first.no + 1, first.count);
    if ((st = open_parts(s, &first, err)) || (st = rm_hyper_read(g, &s->hyper, err)) ||
        (st = gather(s, &first, err)) || (st = rm_gguf_text(g, "general.name", &s->name, err)) ||
        (st = rm_gguf_text(g, "tokenizer.chat_template", &s->chat_template, err)) ||
        (st = read_stop_tokens(s, g, err)) || (st = read_value_tokens(s, g, err)))
        return st;
    s->tied = !rm_source_find(s, "output.weight");
    read_roles(s, g);
    return RM_OK;
}

/* ---- opening ------------------------------------------------------------------------------- */

rm_status rm_source_open(const char *path, rm_source **out, rm_error *err)
{
    struct stat info;
    rm_source *s = calloc(1, sizeof *s);
    if (s) {
        s->priv = calloc(1, sizeof *s->priv);
        s->file = strdup(path);
    }
    if (!s || !s->priv || !s->file) {
        rm_source_close(s);
        return rm_fail(err, RM_E_MEMORY, "%s: no memory to read it", path);
    }
    s->value_tokens[0] = s->value_tokens[1] = -1;
    s->folder = stat(path, &info) == 0 && S_ISDIR(info.st_mode);
    rm_status st = s->folder ? rm_folder_open(s, err) : open_gguf(s, err);
    if (!st && s->folder)
        st = sort_tensors(s, err);
    if (st)
        rm_source_close(s);
    else
        *out = s;
    return st;
}

void rm_source_close(rm_source *s)
{
    if (!s)
        return;
    for (int i = 0; s->priv && i < s->priv->n_gguf; i++)
        rm_gguf_close(s->priv->gguf[i]);
    if (s->priv) {
        free(s->priv->gguf);
        rm_folder_close(s->priv->folder);
    }
    free(s->priv);
    free(s->file);
    free(s->tensors);
    free(s->parts);
    free(s);
}

rm_status rm_source_tokenizer(const rm_source *s, rm_tokenizer **out, rm_error *err)
{
    return s->folder ? rm_folder_tokenizer(s, out, err)
                     : rm_tokenizer_from_gguf(s->priv->gguf[0], out, err);
}
