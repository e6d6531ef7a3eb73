/* state.c - the whole state of a trainer as bytes.
 *
 *     "RMTRAIN1"                       8 bytes
 *     shape                            10 doubles, as state_shape lists them
 *     n_values, step                   u64, u64
 *     values, moments 1, moments 2     [n_values] f32 each
 *     hash                             u64, XXH3 of all before it
 *
 * in the byte order of the machine, which the engine requires to be little-endian. */
#include "engine/train/trainer.h"

#include <string.h>

static const char magic[8] = { 'R', 'M', 'T', 'R', 'A', 'I', 'N', '1' };
enum { SHAPE_NUMBERS = 11, HEADER = 8 + SHAPE_NUMBERS * 8 + 16 };

static void state_shape(const rm_shape *s, double out[SHAPE_NUMBERS])
{
    const double all[SHAPE_NUMBERS] = { s->n_layers, s->n_embd, s->n_heads, s->n_kv_heads,
                                        s->head_dim, s->n_ff, s->n_vocab, s->n_ctx,
                                        s->tied ? 1 : 0, s->rope_theta, s->norm_eps };
    memcpy(out, all, sizeof all);
}

rm_status rm_trainer_save(const rm_trainer *t, rm_text *text, rm_error *err)
{
    double shape[SHAPE_NUMBERS];
    uint64_t counts[2] = { t->n_values, t->step };
    size_t start = text->length, bytes = t->n_values * sizeof(float);
    state_shape(&t->shape, shape);
    rm_text_add(text, magic, sizeof magic);
    rm_text_add(text, (const char *)shape, sizeof shape);
    rm_text_add(text, (const char *)counts, sizeof counts);
    rm_text_add(text, (const char *)t->values, bytes);
    rm_text_add(text, (const char *)t->moment1, bytes);
    rm_text_add(text, (const char *)t->moment2, bytes);
    if (text->failed)
        return rm_fail(err, RM_E_MEMORY, "no memory for a checkpoint of %zu bytes", 3 * bytes);
    uint64_t hash = rm_hash_bytes(text->data + start, text->length - start);
    rm_text_add(text, (const char *)&hash, sizeof hash);
    return text->failed ? rm_fail(err, RM_E_MEMORY, "no memory for a checkpoint") : RM_OK;
}

rm_status rm_trainer_restore(rm_trainer *t, const void *data, size_t n, rm_error *err)
{
    const char *bytes = data;
    size_t each = t->n_values * sizeof(float);
    double shape[SHAPE_NUMBERS];
    uint64_t counts[2], hash;
    state_shape(&t->shape, shape);
    if (n < sizeof magic || memcmp(bytes, magic, sizeof magic))
        return rm_fail(err, RM_E_FORMAT,
                       "a training state begins with \"RMTRAIN1\", this does not");
    if (n < HEADER || memcmp(bytes + sizeof magic, shape, sizeof shape))
        return rm_fail(err, RM_E_ARGUMENT, "the training state is of a model of another shape");
    memcpy(counts, bytes + sizeof magic + sizeof shape, sizeof counts);
    if (counts[0] != t->n_values || n != HEADER + 3 * each + sizeof hash)
        return rm_fail(err, RM_E_FORMAT, "the training state has %zu bytes, expected %zu", n,
                       HEADER + 3 * each + sizeof hash);
    memcpy(&hash, bytes + n - sizeof hash, sizeof hash);
    if (hash != rm_hash_bytes(bytes, n - sizeof hash))
        return rm_fail(err, RM_E_FORMAT, "the training state is damaged: its hash does not agree");
    memcpy(t->values, bytes + HEADER, each);
    memcpy(t->moment1, bytes + HEADER + each, each);
    memcpy(t->moment2, bytes + HEADER + 2 * each, each);
    t->step = counts[1];
    t->packed = false;
    return RM_OK;
}
