/* diversity.c - how different the candidates of one problem are, at a common number k of them,
 * since almost every measure of diversity changes with the number of draws.
 *
 * Over all k-subsets of n exchangeable candidates, exactly:
 *
 *   distinct answers  sum_a 1 - C(n - n_a, k)/C(n, k)      rarefaction (Hurlbert 1971, Ecology
 *                     52:577); a missing answer is none
 *   answer entropy    expectation of the plug-in entropy -sum_a (x_a/k) ln(x_a/k), nats, x_a
 *                     hypergeometric; a missing answer is one more outcome. Plug-in entropies
 *                     are biased downwards by about (answers - 1)/2k: compare at equal k only
 *   distinct-n        expected distinct n-grams / expected n-grams (Li et al. 2016, N16-1014),
 *                     rarefied by the number of candidates that hold the n-gram
 *   edit distance     Levenshtein / length of the longer, mean over pairs (the same for every k);
 *                     of the first 16,384 words, since the time grows with their square
 *   self-BLEU         BLEU-4 (Papineni et al. 2002) of each candidate against the k-1 others, mean
 *                     (Zhu et al. 2018, arXiv:1802.01886); orders 2 to 4 smoothed by adding one to
 *                     matches and total (Lin & Och 2004, C04-1072)
 *
 * Candidates that are not exchangeable are taken in recorded order, the first k as they are.
 *
 * Texts are sequences of words (split at ASCII whitespace), or of characters in a task none of
 * whose texts has any whitespace: one unit for all of its cells. A word stands for its 64-bit hash:
 * two among a million words agree by chance with probability 3e-8. Texts are compared for the first
 * RM_MOST_TEXTS candidates of a problem and, where there are many pairs, for a random sample of the
 * pairs; both unbiased. */
#include "analysis/internal.h"

#include <gsl/gsl_randist.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    MAX_PAIRS = 64,
    MIN_PAIRS = 3,
    MAX_SYMBOLS = 1 << 14,
    PAIR_BUDGET = 1 << 18,
    BLEU_ORDER = 4
};

/* ---- answers ----------------------------------------------------------------------------- */

static size_t total(const size_t *count, size_t n_answers)
{
    size_t n = 0;
    for (size_t a = 0; a < n_answers; a++)
        n += count[a];
    return n;
}

/* Expected number of distinct things in k of n candidates when each is in count[] of them:
 * 1 - C(n-c, k)/C(n, k) is pass@k of "holds it". */
static double rarefy(const size_t *count, size_t n_things, size_t n, size_t k)
{
    double sum = 0;
    for (size_t a = 0; a < n_things; a++)
        sum += rm_pass_at_k(n, count[a], k);
    return sum;
}

double rm_distinct_at_k(const size_t *count, size_t n_answers, size_t k)
{
    size_t n = total(count, n_answers);
    return k < 1 || k > n ? NAN : rarefy(count, n_answers, n, k);
}

double rm_entropy_at_k(const size_t *count, size_t n_answers, size_t k)
{
    size_t n = total(count, n_answers);
    if (k < 1 || k > n || n > UINT32_MAX)
        return NAN;
    double sum = 0;
    for (size_t a = 0; a < n_answers; a++)
        for (size_t x = 1; x < k && x <= count[a]; x++) { /* x = k: the term is 0 */
            double share = (double)x / (double)k;
            sum -= share * log(share) *
                   gsl_ran_hypergeometric_pdf((unsigned)x, (unsigned)count[a],
                                              (unsigned)(n - count[a]), (unsigned)k);
        }
    return sum;
}

/* ---- edit distance ----------------------------------------------------------------------- */

static int by_symbol(const void *left, const void *right)
{
    uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;
    return (a > b) - (a < b);
}

static size_t sort_unique(uint64_t *x, size_t n)
{
    size_t unique = 0;
    qsort(x, n, sizeof *x, by_symbol);
    for (size_t i = 0; i < n; i++)
        if (i == 0 || x[i] != x[i - 1])
            x[unique++] = x[i];
    return unique;
}

/* Index of a symbol among the sorted unique ones, -1 if it is not there. */
static ptrdiff_t find(const uint64_t *unique, size_t n, uint64_t symbol)
{
    const uint64_t *at = bsearch(&symbol, unique, n, sizeof *unique, by_symbol);
    return at ? at - unique : -1;
}

/* Myers 1999 (JACM 46:395) in the blocked form of Hyyro 2003: a column of the dynamic program as
 * bit vectors of its vertical differences +1 and -1, 64 rows a word; `carry` is the horizontal
 * difference that enters a word from above (the top row always grows by 1). */
static size_t column_distance(const uint64_t *matches, size_t words, size_t rows,
                              const ptrdiff_t *text, size_t columns, uint64_t *plus,
                              uint64_t *minus)
{
    size_t distance = rows;
    uint64_t last_row = UINT64_C(1) << ((rows - 1) % 64);
    for (size_t w = 0; w < words; w++) {
        plus[w] = ~UINT64_C(0);
        minus[w] = 0;
    }
    for (size_t j = 0; j < columns; j++) {
        int carry = 1;
        for (size_t w = 0; w < words; w++) {
            uint64_t equal = text[j] < 0 ? 0 : matches[(size_t)text[j] * words + w];
            uint64_t p = plus[w], m = minus[w], xv = equal | m;
            equal |= carry < 0;
            uint64_t xh = (((equal & p) + p) ^ p) | equal;
            uint64_t up = m | ~(xh | p), down = p & xh;
            uint64_t bottom = w + 1 == words ? last_row : UINT64_C(1) << 63;
            int out = (up & bottom ? 1 : 0) - (down & bottom ? 1 : 0);
            up = up << 1 | (carry > 0);
            down = down << 1 | (carry < 0);
            plus[w] = down | ~(xv | up);
            minus[w] = up & xv;
            carry = out;
        }
        distance = carry > 0 ? distance + 1 : carry < 0 ? distance - 1 : distance;
    }
    return distance;
}

size_t rm_edit_distance(const uint64_t *a, size_t n_a, const uint64_t *b, size_t n_b, bool *failed)
{
    *failed = false;
    while (n_a && n_b && a[0] == b[0]) /* what both begin or end with costs nothing */
        a++, b++, n_a--, n_b--;
    while (n_a && n_b && a[n_a - 1] == b[n_b - 1])
        n_a--, n_b--;
    if (!n_a || !n_b)
        return n_a + n_b;

    size_t words = (n_a + 63) / 64, distance = 0;
    uint64_t *unique = malloc(n_a * sizeof *unique), *state = malloc(2 * words * sizeof *state);
    uint64_t *matches = NULL;
    ptrdiff_t *text = malloc(n_b * sizeof *text);
    if (!unique || !state || !text) {
        *failed = true;
        goto done;
    }
    memcpy(unique, a, n_a * sizeof *unique);
    size_t n_unique = sort_unique(unique, n_a);
    matches = calloc(n_unique * words, sizeof *matches);
    if (!matches) {
        *failed = true;
        goto done;
    }
    for (size_t i = 0; i < n_a; i++)
        matches[(size_t)find(unique, n_unique, a[i]) * words + i / 64] |= UINT64_C(1) << i % 64;
    for (size_t j = 0; j < n_b; j++)
        text[j] = find(unique, n_unique, b[j]);
    distance = column_distance(matches, words, n_a, text, n_b, state, state + words);
done:
    free(unique);
    free(state);
    free(matches);
    free(text);
    return distance;
}

/* ---- texts as sequences of symbols ------------------------------------------------------- */

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool has_space(const char *text)
{
    for (; *text; text++)
        if (is_space(*text))
            return true;
    return false;
}

typedef struct sequence {
    uint64_t *symbol;
    size_t n;
} sequence;

static bool sequence_new(const char *text, bool words, sequence *s)
{
    size_t length = strlen(text);
    *s = (sequence){ malloc((length + 1) * sizeof *s->symbol), 0 };
    if (!s->symbol)
        return false;
    for (size_t i = 0; i < length;) {
        size_t start = i;
        if (words) {
            if (is_space(text[i])) {
                i++;
                continue;
            }
            while (i < length && !is_space(text[i]))
                i++;
        } else { /* one UTF-8 character: a byte and its continuation bytes */
            do
                i++;
            while (i < length && ((unsigned char)text[i] & 0xC0) == 0x80);
        }
        s->symbol[s->n++] = rm_hash_bytes(text + start, i - start);
    }
    return true;
}

static size_t n_grams(const sequence *s, size_t order)
{
    return s->n >= order ? s->n - order + 1 : 0;
}

static uint64_t gram(const sequence *s, size_t at, size_t order)
{
    uint64_t hash = s->symbol[at];
    for (size_t i = 1; i < order; i++)
        hash = rm_mix(hash, s->symbol[at + i]);
    return hash;
}

/* ---- distinct-n -------------------------------------------------------------------------- */

static double distinct_n(const sequence *texts, size_t n, size_t k, size_t order, bool *failed)
{
    size_t sum = 0, all = 0, things = 0;
    for (size_t i = 0; i < n; i++)
        sum += n_grams(&texts[i], order);
    if (sum == 0)
        return NAN;
    uint64_t *grams = malloc(sum * sizeof *grams);
    size_t *holders = malloc(sum * sizeof *holders);
    double value = NAN;
    if (!grams || !holders) {
        *failed = true;
        goto done;
    }
    for (size_t i = 0; i < n; i++) { /* each candidate's own distinct n-grams, one behind another */
        size_t m = n_grams(&texts[i], order);
        for (size_t j = 0; j < m; j++)
            grams[all + j] = gram(&texts[i], j, order);
        all += sort_unique(grams + all, m);
    }
    qsort(grams, all, sizeof *grams, by_symbol);
    for (size_t i = 0; i < all; i++) {
        if (i == 0 || grams[i] != grams[i - 1])
            holders[things++] = 0;
        holders[things - 1]++;
    }
    value = rarefy(holders, things, n, k) / ((double)k * (double)sum / (double)n);
done:
    free(grams);
    free(holders);
    return value;
}

/* ---- pairs ------------------------------------------------------------------------------- */

static double pair_distance(const sequence *a, const sequence *b, bool *failed)
{
    size_t n = a->n < MAX_SYMBOLS ? a->n : MAX_SYMBOLS, m = b->n < MAX_SYMBOLS ? b->n : MAX_SYMBOLS;
    size_t longer = n > m ? n : m;
    if (longer == 0)
        return 0;
    return (double)rm_edit_distance(a->symbol, n, b->symbol, m, failed) / (double)longer;
}

static double mean_distance(const sequence *texts, size_t n, uint64_t seed, bool *failed)
{
    static const uint64_t stream = UINT64_C(0x7061697273); /* "pairs" */
    if (n < 2)
        return NAN;
    double length = 0, sum = 0;
    for (size_t i = 0; i < n; i++)
        length += (double)texts[i].n / (double)n;
    size_t pairs = n * (n - 1) / 2;
    double afford = PAIR_BUDGET / (length * length / 64 + length + 1);
    size_t limit = (size_t)fmax(MIN_PAIRS, fmin(MAX_PAIRS, afford));
    if (pairs <= limit) {
        for (size_t i = 0; i < n && !*failed; i++)
            for (size_t j = 0; j < i && !*failed; j++)
                sum += pair_distance(&texts[i], &texts[j], failed);
        return sum / (double)pairs;
    }
    for (size_t d = 0; d < limit && !*failed; d++) {
        uint64_t bits = rm_random(seed, stream, (uint32_t)d, 0);
        size_t i = (size_t)rm_scale(bits, n);
        bits = rm_random(seed, stream, (uint32_t)d, 1);
        size_t j = (i + 1 + (size_t)rm_scale(bits, n - 1)) % n;
        sum += pair_distance(&texts[i], &texts[j], failed);
    }
    return sum / (double)limit;
}

/* ---- self-BLEU --------------------------------------------------------------------------- */

/* Sorted n-grams of one order, repetitions kept. */
static void sorted_grams(const sequence *s, size_t order, uint64_t *grams)
{
    size_t m = n_grams(s, order);
    for (size_t j = 0; j < m; j++)
        grams[j] = gram(s, j, order);
    qsort(grams, m, sizeof *grams, by_symbol);
}

static size_t run_length(const uint64_t *sorted, size_t n, size_t at)
{
    size_t end = at;
    while (end < n && sorted[end] == sorted[at])
        end++;
    return end - at;
}

/* Matches of candidate i, each n-gram clipped to its largest count in one reference. grams[t] are
 * the sorted n-grams of text t. */
static size_t clipped_matches(uint64_t *const *grams, const size_t *n, size_t k, size_t i)
{
    size_t place[RM_MOST_TEXTS] = { 0 }, matches = 0;
    for (size_t at = 0; at < n[i];) {
        size_t run = run_length(grams[i], n[i], at), most = 0;
        for (size_t t = 0; t < k; t++) {
            if (t == i)
                continue;
            while (place[t] < n[t] && grams[t][place[t]] < grams[i][at])
                place[t]++;
            if (place[t] < n[t] && grams[t][place[t]] == grams[i][at]) {
                size_t there = run_length(grams[t], n[t], place[t]);
                most = there > most ? there : most;
            }
        }
        matches += run < most ? run : most;
        at += run;
    }
    return matches;
}

/* Length of the reference closest to candidate i, the shorter of two equally close. */
static size_t closest_length(const sequence *texts, size_t k, size_t i)
{
    size_t best = 0, best_gap = SIZE_MAX, n = texts[i].n;
    for (size_t t = 0; t < k; t++) {
        if (t == i)
            continue;
        size_t gap = texts[t].n > n ? texts[t].n - n : n - texts[t].n;
        if (gap < best_gap || (gap == best_gap && texts[t].n < best)) {
            best_gap = gap;
            best = texts[t].n;
        }
    }
    return best;
}

static double self_bleu(const sequence *texts, size_t k, bool *failed)
{
    uint64_t *grams[RM_MOST_TEXTS] = { 0 };
    double log_precision[RM_MOST_TEXTS] = { 0 }, sum = 0;
    for (size_t t = 0; t < k; t++)
        if (!(grams[t] = malloc((texts[t].n + 1) * sizeof **grams)))
            *failed = true;
    for (size_t order = 1; order <= BLEU_ORDER && !*failed; order++) {
        size_t n[RM_MOST_TEXTS];
        for (size_t t = 0; t < k; t++) {
            n[t] = n_grams(&texts[t], order);
            sorted_grams(&texts[t], order, grams[t]);
        }
        for (size_t i = 0; i < k; i++) {
            double matches = (double)clipped_matches(grams, n, k, i), of = (double)n[i];
            double precision = order == 1 ? (of > 0 ? matches / of : 0) : (matches + 1) / (of + 1);
            log_precision[i] += log(precision) / BLEU_ORDER; /* -INFINITY: no word in common */
        }
    }
    for (size_t i = 0; i < k; i++) {
        double n = (double)texts[i].n, reference = (double)closest_length(texts, k, i);
        double brevity = n > 0 ? fmin(0, 1 - reference / n) : 0;
        sum += exp(log_precision[i] + brevity) / (double)k;
    }
    for (size_t t = 0; t < k; t++)
        free(grams[t]);
    return sum;
}

/* Mean over the disjoint blocks of k among n texts. */
static double mean_self_bleu(const sequence *texts, size_t n, size_t k, bool *failed)
{
    double sum = 0, blocks = 0;
    for (size_t first = 0; first + k <= n && !*failed; first += k, blocks++)
        sum += self_bleu(texts + first, k, failed);
    return blocks > 0 ? sum / blocks : NAN;
}

/* ---- one cell ---------------------------------------------------------------------------- */

/* The values that need texts; left NaN if there are none. False without memory. */
static bool text_values(const an_pool *pool, size_t group, size_t n, size_t k, bool words,
                        uint64_t seed, double out[AN_N_DIVERSITY])
{
    sequence texts[RM_MOST_TEXTS] = { 0 };
    bool failed = false, complete = true;
    n = n < RM_MOST_TEXTS ? n : RM_MOST_TEXTS;
    for (size_t i = 0; i < n && complete && !failed; i++) {
        const char *text = pool->sample[pool->first[group] + i]->text;
        complete = text != NULL;
        failed = complete && !sequence_new(text, words, &texts[i]);
    }
    if (complete && !failed && k <= n) {
        out[RM_Q_DISTINCT_1 - RM_Q_DISTINCT_ANSWERS] = distinct_n(texts, n, k, 1, &failed);
        out[RM_Q_DISTINCT_2 - RM_Q_DISTINCT_ANSWERS] = distinct_n(texts, n, k, 2, &failed);
        out[RM_Q_EDIT_DISTANCE - RM_Q_DISTINCT_ANSWERS] = mean_distance(texts, n, seed, &failed);
        out[RM_Q_SELF_BLEU - RM_Q_DISTINCT_ANSWERS] = mean_self_bleu(texts, n, k, &failed);
    }
    for (size_t i = 0; i < n; i++)
        free(texts[i].symbol);
    return !failed;
}

static bool group_values(const an_pool *pool, size_t group, bool exchangeable, size_t k, bool words,
                         uint64_t seed, double out[AN_N_DIVERSITY])
{
    size_t first = pool->first[group], n = pool->first[group + 1] - first, classes = 0;
    for (size_t i = 0; i < AN_N_DIVERSITY; i++)
        out[i] = NAN;
    if (n < k)
        return true;
    if (!exchangeable)
        n = k;
    size_t *count = calloc(n + 1, sizeof *count); /* one more for the missing */
    int *category = malloc(n * sizeof *category);
    bool ok = count && category;
    size_t missing = 0;
    for (size_t i = 0; ok && i < n; i++) { /* classes renumbered, as the first k may lack some */
        size_t c = 0;
        int answer = pool->answer[first + i];
        if (answer < 0) {
            missing++;
            continue;
        }
        while (c < classes && category[c] != answer)
            c++;
        if (c == classes)
            category[classes++] = answer;
        count[c]++;
    }
    if (ok) {
        count[classes] = missing;
        out[0] = rarefy(count, classes, n, k);
        out[RM_Q_ANSWER_ENTROPY - RM_Q_DISTINCT_ANSWERS] = rm_entropy_at_k(count, classes + 1, k);
        ok = text_values(pool, group, n, k, words, seed, out);
    }
    free(count);
    free(category);
    return ok;
}

bool an_texts_have_words(const an_frame *frame)
{
    for (size_t e = 0; e < frame->cell_first[frame->n_cells]; e++) {
        const rm_result *result = frame->entries[e].result;
        for (size_t i = 0; i < result->n_samples; i++)
            if (result->samples[i].text && has_space(result->samples[i].text))
                return true;
    }
    return false;
}

void an_diversity_free(double *values[AN_N_DIVERSITY])
{
    for (size_t i = 0; i < AN_N_DIVERSITY; i++) {
        free(values[i]);
        values[i] = NULL;
    }
}

rm_status an_diversity_new(const an_frame *frame, int cell_at, const rm_analysis_options *options,
                           double *values[AN_N_DIVERSITY], rm_error *err)
{
    const rm_cell *cell = &frame->records->cells[frame->cell[cell_at]];
    bool exchangeable = cell->exchangeable, words = an_texts_have_words(frame), ok = true;
    size_t *groups = NULL;
    an_pool pool = { 0 };
    for (size_t i = 0; i < AN_N_DIVERSITY; i++) {
        values[i] = calloc(frame->n_problems, sizeof *values[i]);
        ok = ok && values[i];
    }
    rm_status status = an_pool_new(frame, cell_at, !exchangeable, &pool, err);
    if (status)
        goto done;
    groups = calloc(frame->n_problems, sizeof *groups); /* of a problem, with values */
    ok = ok && groups;

    for (size_t g = 0; ok && g < pool.n_groups; g++) {
        double out[AN_N_DIVERSITY];
        size_t p = exchangeable ? g : frame->unit_problem[g];
        ok = group_values(&pool, g, exchangeable, options->diversity_k, words,
                          rm_mix(options->seed, g), out);
        if (!ok || isnan(out[0]))
            continue;
        groups[p]++;
        for (size_t i = 0; i < AN_N_DIVERSITY; i++)
            values[i][p] += out[i];
    }
    for (size_t p = 0; ok && p < frame->n_problems; p++)
        for (size_t i = 0; i < AN_N_DIVERSITY; i++)
            values[i][p] = groups[p] ? values[i][p] / (double)groups[p] : NAN;
    if (!ok)
        status = rm_fail(err, RM_E_MEMORY, "no memory for the diversity of \"%s\"", cell->label);
done:
    if (status)
        an_diversity_free(values);
    free(groups);
    an_pool_free(&pool);
    return status;
}
