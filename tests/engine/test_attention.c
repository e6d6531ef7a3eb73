/* Attention and the cache of the CPU backend.
 *
 * One set of sequences, some of which begin with the same tokens, is pushed through the cache in
 * many ways: at once or in pieces, with pages of 16, 32 and 64 positions, shared or copied, on
 * one to three threads, in every instruction-set variant. Every way must give the same bits; one
 * of them is compared with softmax(q k^T / sqrt(C)) v in double and with a committed hash. */
#include "cpu_ops.h"

typedef struct attention_case {
    int H, G, C;
    rm_dtype type;
    int n_seqs, length[4];
    int shared; /* leading positions in which all sequences agree */
    int rope_dims;
    bool interleaved;
    uint64_t hash;
    int window; /* 0: none */
} attention_case;

static const attention_case cases[] = {
    { 2, 1, 32, RM_F32, 3, { 150, 129, 64 }, 64, 32, true, UINT64_C(0x90a419f7f283d995), 0 },
    { 6, 2, 64, RM_F32, 2, { 97, 130 }, 80, 64, false, UINT64_C(0x583a7e706a1a83e2), 0 },
    { 2, 2, 80, RM_F32, 2, { 33, 70 }, 0, 0, false, UINT64_C(0xf191d9674384c805), 0 },
    { 4, 1, 128, RM_F32, 2, { 65, 66 }, 65, 128, false, UINT64_C(0xaf947ecdc86ccefe), 0 },
    { 8, 4, 8, RM_F32, 4, { 1, 15, 16, 17 }, 1, 8, true, UINT64_C(0x5ef5e5c874e492ca), 0 },
    { 2, 1, 32, RM_BF16, 2, { 150, 129 }, 128, 20, false, UINT64_C(0xa08adb28c68faa47), 0 },
    { 4, 2, 48, RM_BF16, 3, { 97, 66, 1 }, 33, 48, true, UINT64_C(0xe38b91d3b74b52c4), 0 },
    /* an odd width */
    { 3, 3, 17, RM_BF16, 2, { 65, 130 }, 16, 0, false, UINT64_C(0x20c2c2c12a0dcacc), 0 },
    { 4,
      1,
      64,
      RM_F32,
      1,
      { 300 },
      0,
      64,
      false,
      UINT64_C(0x786227b7a3da3a1e), 0 }, /* few tiles, many chunks: split */
    { 40,
      1,
      16,
      RM_F32,
      1,
      { 70 },
      0,
      16,
      false,
      UINT64_C(0xfae5630fe0ced1e5), 0 }, /* more heads than a tile has queries */
    /* windows: one that begins with chunks, one that ends inside a page, one within a chunk, one of
     * a single position; in bf16; and split over threads */
    { 4, 2, 32, RM_F32, 2, { 200, 130 }, 64, 32, false, UINT64_C(0xe14b1e1cc8cb8409), 64 },
    { 6, 2, 20, RM_F32, 3, { 150, 100, 70 }, 48, 20, false, UINT64_C(0x9d8afc335e8b10e9), 37 },
    { 2, 1, 64, RM_F32, 2, { 129, 66 }, 0, 64, true, UINT64_C(0xe76663d667dc74e4), 100 },
    { 2, 2, 16, RM_F32, 1, { 70 }, 0, 16, false, UINT64_C(0xfc62d20023a662c5), 1 },
    { 4, 1, 40, RM_BF16, 2, { 140, 129 }, 128, 40, false, UINT64_C(0x94954aa7f35e322f), 33 },
    { 4, 1, 64, RM_F32, 1, { 420 }, 0, 64, false, UINT64_C(0x49955401aea2902d), 130 },
};
enum { N_CASES = sizeof cases / sizeof *cases, MAX_PAGES = 128 };

static size_t width_of(const attention_case *c)
{
    return (size_t)((c->H + 2 * c->G) * c->C);
}

static int total_rows(const attention_case *c)
{
    int n = 0;
    for (int s = 0; s < c->n_seqs; s++)
        n += c->length[s];
    return n;
}

/* The row of q, k, v at a position; equal in all sequences below `shared`. */
static void fill_row(const attention_case *c, int s, int position, float *row)
{
    uint64_t stream = rm_mix(position < c->shared ? 0 : (uint64_t)s + 1, (uint64_t)position);
    for (size_t i = 0; i < width_of(c); i++)
        row[i] = 2.0f * value_of(stream, i);
}

enum pages { OWN, SHARED, COPIED };

typedef struct way {
    const char *isa;
    int threads, page_positions;
    int step;         /* positions of a sequence in one batch */
    enum pages pages; /* of the positions that agree */
    bool backwards;   /* sequences in descending order */
} way;

/* Out: [total rows][H C], sequences one after the other. */
static void attend_all(const attention_case *c, const way *w, float *out)
{
    rm_error err = { "" };
    rm_backend *b = open_backend(w->isa, w->threads);
    rm_kv_shape shape = { 2, c->G, c->C, w->page_positions, c->type, c->window };
    rm_rope rope = {
        .n_dims = c->rope_dims, .interleaved = c->interleaved, .theta = 10000, .scale = 1
    };
    rm_kv *kv = NULL;
    cr_assert_eq(ops->kv_new(b, &shape, &rope, 512, &kv, &err), RM_OK, "%s", err.text);
    cr_assert_eq(ops->kv_reserve(b, kv, 5, &err), RM_OK);
    cr_assert_eq(ops->kv_reserve(b, kv, MAX_PAGES, &err), RM_OK);

    /* page lists: scattered ids; whole pages of the shared positions are the first sequence's */
    int P = w->page_positions, next = 0, whole = c->shared / P;
    int32_t ids[4][MAX_PAGES];
    const int32_t *pages[4];
    for (int s = 0; s < c->n_seqs; s++) {
        pages[s] = ids[s];
        for (int i = 0; i * P < c->length[s]; i++) {
            bool share = s && i < whole && c->length[0] >= (i + 1) * P;
            ids[s][i] = share && w->pages == SHARED ? ids[0][i] : (next++ * 37) % MAX_PAGES;
        }
    }
    rm_tensor *qkv = new_tensor(b, 1200, width_of(c), NULL),
              *y = new_tensor(b, 1200, (size_t)(c->H * c->C), NULL);
    int done[4] = { 0 };
    for (;;) {
        int32_t token[1200] = { 0 }, position[1200], seq[1200];
        int R = 0, n_seqs = 0, start[4], from[4], n[4] = { 0 };
        const int32_t *used[4];
        int ready = done[0]; /* what the first sequence has written in earlier batches */
        for (int i = 0; i < c->n_seqs; i++) {
            int s = w->backwards ? c->n_seqs - 1 - i : i;
            /* a sequence with shared pages waits until the first one has written them */
            if (s && w->pages != OWN && c->shared &&
                ready < (c->shared < c->length[0] ? c->shared : c->length[0]))
                continue;
            if (s && w->pages != OWN && !done[s]) { /* what is shared is there already */
                for (int j = 0;
                     j < whole && (j + 1) * P <= c->length[0] && (j + 1) * P < c->length[s]; j++) {
                    if (w->pages == COPIED)
                        ops->kv_copy_page(b, kv, ids[s][j], ids[0][j]);
                    done[s] = (j + 1) * P;
                }
            }
            from[s] = done[s];
            n[s] = c->length[s] - done[s] < w->step ? c->length[s] - done[s] : w->step;
            if (!n[s])
                continue;
            start[s] = R;
            for (int j = 0; j < n[s]; j++, R++) {
                position[R] = done[s] + j;
                seq[R] = n_seqs;
                fill_row(c, s, position[R], qkv->data + (size_t)R * qkv->stride);
            }
            used[n_seqs++] = pages[s];
            done[s] += n[s];
        }
        if (!R)
            break;
        rm_batch batch = { R, n_seqs, token, position, seq, used, NULL };
        ops->batch(b, kv, &batch);
        ops->rope_store(b, qkv, kv, 1, c->H);
        ops->attention(b, y, qkv, kv, 1, c->H);
        flush(b);
        for (int s = 0, base = 0; s < c->n_seqs; base += c->length[s++])
            for (int j = 0; j < n[s]; j++)
                memcpy(out + (size_t)(base + from[s] + j) * y->width,
                       y->data + (size_t)(start[s] + j) * y->stride, y->width * sizeof *out);
    }
    ops->tensor_free(b, qkv);
    ops->tensor_free(b, y);
    ops->kv_free(b, kv);
    ops->close(b);
}

/* Rows that a way with shared pages does not compute (they are cached) come from `all`. */
static void forget_shared(const attention_case *c, int page_positions, const float *all, float *out)
{
    size_t width = (size_t)(c->H * c->C);
    int whole = c->shared / page_positions;
    for (int s = 0, base = 0; s < c->n_seqs; base += c->length[s++])
        for (int j = 0; s && j < whole && (j + 1) * page_positions <= c->length[0] &&
                        (j + 1) * page_positions < c->length[s];
             j++)
            memcpy(out + (size_t)(base + j * page_positions) * width,
                   all + (size_t)(base + j * page_positions) * width,
                   (size_t)page_positions * width * sizeof *out);
}

/* ---- a naive computation in double ------------------------------------------------------------
 */

static void rotate(const attention_case *c, int position, double *head)
{
    int n = c->rope_dims, half = n / 2;
    for (int i = 0; i < half; i++) {
        double angle = position * pow(10000, -2.0 * i / n);
        int p = c->interleaved ? 2 * i : i, q = c->interleaved ? p + 1 : i + half;
        double a = head[p], b = head[q];
        head[p] = a * cos(angle) - b * sin(angle);
        head[q] = a * sin(angle) + b * cos(angle);
    }
}

static double stored(const attention_case *c, double x)
{
    return c->type == RM_BF16 ? (double)rm_bf16_to_f32(rm_f32_to_bf16((float)x)) : x;
}

static void check_naive(const attention_case *c, const float *out)
{
    size_t W = width_of(c), C = (size_t)c->C;
    double worst = 0;
    for (int s = 0, base = 0; s < c->n_seqs; base += c->length[s++]) {
        int T = c->length[s];
        double *rows = malloc((size_t)T * W * sizeof *rows), *p = malloc((size_t)T * sizeof *p);
        float *row = malloc(W * sizeof *row);
        for (int t = 0; t < T; t++) {
            double *to = rows + (size_t)t * W;
            fill_row(c, s, t, row);
            for (size_t i = 0; i < W; i++)
                to[i] = (double)row[i];
            for (int h = 0; h < c->H + c->G; h++)
                rotate(c, t, to + (size_t)h * C);
            for (size_t i = 0; i < W; i++) /* queries are rounded after the division */
                to[i] = stored(c, i < (size_t)c->H * C ? to[i] / sqrt((double)C) : to[i]);
        }
        for (int t = 0; t < T; t++)
            for (int h = 0; h < c->H; h++) {
                size_t g = (size_t)(h / (c->H / c->G));
                const double *q = rows + (size_t)t * W + (size_t)h * C;
                double top = -INFINITY, sum = 0;
                int begin = c->window && t >= c->window ? t - c->window + 1 : 0;
                for (int u = begin; u <= t; u++) {
                    const double *k = rows + (size_t)u * W + ((size_t)c->H + g) * C;
                    p[u] = 0;
                    for (size_t i = 0; i < C; i++)
                        p[u] += q[i] * k[i];
                    top = fmax(top, p[u]);
                }
                for (int u = begin; u <= t; u++)
                    sum += p[u] = exp(p[u] - top);
                for (size_t i = 0; i < C; i++) {
                    double want = 0;
                    for (int u = begin; u <= t; u++)
                        want +=
                            p[u] / sum * rows[(size_t)u * W + ((size_t)(c->H + c->G) + g) * C + i];
                    double got =
                        (double)out[(size_t)(base + t) * (size_t)c->H * C + (size_t)h * C + i];
                    worst = fmax(worst, fabs(got - want));
                }
            }
        free(rows);
        free(p);
        free(row);
    }
    /* Scores reach about 10 sqrt(C) before the division; C + 10 roundings of 2^-24 of that move an
     * exponent, and with it an output of size 2, by less than 1e-4. In bf16 keys and queries may
     * round the other way than in double (their rotation differs in the last place of a float),
     * and weights are rounded: half a unit of bf16, 2^-9 relative. */
    double bound = c->type == RM_BF16 ? 0.02 : 1e-4;
    cr_expect_leq(worst, bound, "heads of %d: off by %g", c->C, worst);
}

static uint64_t hash_rows(const attention_case *c, const float *out)
{
    return rm_hash_bytes(out, (size_t)total_rows(c) * (size_t)(c->H * c->C) * sizeof *out);
}

static float *room(const attention_case *c)
{
    float *out = calloc((size_t)total_rows(c) * (size_t)(c->H * c->C), sizeof *out);
    cr_assert(out != NULL);
    return out;
}

Test(attention, is_softmax_of_scores_times_values)
{
    for (int i = 0; i < N_CASES; i++) {
        float *out = room(&cases[i]);
        attend_all(&cases[i], &(way){ NULL, 1, 16, 1000, OWN, false }, out);
        check_naive(&cases[i], out);
        free(out);
    }
}

Test(attention, has_the_committed_bits_in_all_variants)
{
    for (const char *const *isa = ops->isa_names; *isa; isa++)
        for (int i = 0; i < N_CASES && ops->isa_available(*isa); i++) {
            float *out = room(&cases[i]);
            attend_all(&cases[i], &(way){ *isa, 1, 16, 1000, OWN, false }, out);
            uint64_t hash = hash_rows(&cases[i], out);
            cr_expect_eq(hash, cases[i].hash, "%s, attention %d: 0x%016llx", *isa, i,
                         (unsigned long long)hash);
            free(out);
        }
}

Test(attention, bits_do_not_depend_on_the_way)
{
    static const way ways[] = {
        { NULL, 2, 16, 1000, OWN, false }, { NULL, 3, 32, 1000, OWN, true },
        { NULL, 1, 64, 1000, OWN, false }, { NULL, 2, 16, 1, OWN, false },
        { NULL, 3, 64, 7, OWN, true },     { NULL, 2, 32, 33, OWN, false },
        { NULL, 2, 16, 64, SHARED, true }, { NULL, 1, 16, 1, SHARED, false },
        { NULL, 3, 32, 5, SHARED, true },  { NULL, 2, 64, 9, SHARED, false },
        { NULL, 2, 16, 1, COPIED, false }, { NULL, 1, 32, 50, COPIED, true },
    };
    for (int i = 0; i < N_CASES; i++) {
        const attention_case *c = &cases[i];
        float *all = room(c);
        attend_all(c, &(way){ NULL, 1, 16, 1000, OWN, false }, all);
        for (size_t j = 0; j < sizeof ways / sizeof *ways; j++) {
            float *out = room(c);
            attend_all(c, &ways[j], out);
            if (ways[j].pages != OWN)
                forget_shared(c, ways[j].page_positions, all, out);
            cr_expect_eq(hash_rows(c, out), hash_rows(c, all), "attention %d, way %zu", i, j);
            free(out);
        }
        free(all);
    }
}
