/* base.h - floor 0: what every folder shares and nobody owns.
 *
 * Errors.   A fallible function returns rm_status (RM_OK is 0) and, on failure, writes one
 *           sentence into the caller's rm_error: what failed, where, what was expected. The
 *           rm_error pointer may be NULL. Results are written only on success.
 * Memory.   *_new and *_open hand ownership to the caller; *_free and *_close take it back and
 *           accept NULL. Nothing here keeps global state.
 * Threads.  Functions are reentrant; one object is used by one thread at a time. */
#ifndef RM_BASE_H
#define RM_BASE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A function that a device compiler takes for both of its sides. */
#ifdef __CUDACC__
#define RM_BOTH static __host__ __device__ __forceinline__
#else
#define RM_BOTH static inline
#endif

#if defined(__GNUC__)
#define RM_API __attribute__((visibility("default")))
#define RM_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#else
#define RM_API
#define RM_PRINTF(fmt, args)
#endif

/* ---- errors ---------------------------------------------------------------------------- */

typedef enum rm_status {
    RM_OK = 0,
    RM_E_ARGUMENT,    /* a value the caller chose is impossible (option, key, parameter) */
    RM_E_FORMAT,      /* a file or text from outside is malformed or inconsistent */
    RM_E_UNSUPPORTED, /* well-formed, but asks for something this build or backend lacks */
    RM_E_IO,          /* the operating system refused: open, read, write, full disk */
    RM_E_MEMORY,      /* memory ran out: the process's, or the engine's for one problem alone */
    RM_E_LIMIT,       /* a problem's own KV quota or the model's context is exhausted */
    RM_E_BUDGET,      /* the problem's wall-clock or token budget is spent */
    RM_E_CANCELLED    /* stopped from outside (signal) */
} rm_status;

/* One sentence without a final newline; cut at the size of `text` on a UTF-8 boundary. */
typedef struct rm_error {
    char text[512];
} rm_error;

/* Formats the sentence into `err` (if not NULL) and returns `status`, so that a failure is
 * reported and returned in one line. */
RM_API rm_status rm_fail(rm_error *err, rm_status status, const char *format, ...) RM_PRINTF(3, 4);

/* Puts `prefix: ` in front of the sentence already in `err`; returns `status`. */
RM_API rm_status rm_fail_within(rm_error *err, rm_status status, const char *format, ...)
    RM_PRINTF(3, 4);

/* ---- text ------------------------------------------------------------------------------ */

/* A growing byte string. Zero-initialise it; `data` is NUL-terminated once anything was added
 * (NULL before). Running out of memory sets `failed` and leaves the content as it was, so a
 * sequence of appends needs one check at its end. */
typedef struct rm_text {
    char *data;
    size_t length, capacity;
    bool failed;
} rm_text;

RM_API void rm_text_add(rm_text *text, const char *bytes, size_t n);
RM_API void rm_text_puts(rm_text *text, const char *string);
RM_API void rm_text_printf(rm_text *text, const char *format, ...) RM_PRINTF(2, 3);
RM_API void rm_text_free(rm_text *text); /* frees and zeroes; reusable afterwards */

/* Length in bytes of the valid UTF-8 prefix of bytes[0..n) (n if all of it is valid; overlong
 * forms, surrogates and values above U+10FFFF are invalid). */
RM_API size_t rm_utf8_valid_prefix(const char *bytes, size_t n);

/* Damerau-Levenshtein distance (adjacent transpositions count 1) of two short ASCII words; the
 * measure behind "did you mean". */
RM_API int rm_word_distance(const char *a, const char *b);

/* ---- files ----------------------------------------------------------------------------- */

/* Reads a whole regular file of at most max_bytes into *data (NUL-terminated after *n bytes;
 * free() it). The sentence names the file, and the limit where that is what failed. */
RM_API rm_status rm_file_read(const char *path, size_t max_bytes, char **data, size_t *n,
                              rm_error *err);

/* Writes n bytes to a temporary file beside `path`, fsyncs, and renames it into place: after a
 * crash or a full disk `path` holds either its old content or all of the new one. A device, a pipe
 * or a directory is refused. */
RM_API rm_status rm_file_write(const char *path, const char *data, size_t n, rm_error *err);

/* ---- time ------------------------------------------------------------------------------ */

RM_API double rm_now_s(void); /* monotonic clock, seconds since an arbitrary origin */

/* ---- the cost of one outcome (strategies.md, rule 1) ------------------------------------- */

/* A count that is not known, in an account that was made elsewhere. */
#define RM_NOT_COUNTED UINT64_MAX

/* Everything one outcome spent, counted as if it had run alone. The counts come from the
 * outcome's own token tree and never depend on what ran beside it; the last group is measured
 * and does. A value that was not measured is NaN, never 0. */
typedef struct rm_cost {
    uint64_t prompt_tokens;    /* tokens of the prompt, counted once per model that read it */
    uint64_t generated_tokens; /* drawn or chosen tokens, discarded branches included */
    uint64_t evaluated_tokens; /* rows sent through a forward pass; a shared prefix counts once */
    uint64_t shared_tokens;    /* rows that forked paths did not need to evaluate again */
    uint64_t rounds;           /* longest chain of dependent forward passes */
    double flops;              /* multiply-adds of the forward passes, counted as 2 */
    double weight_bytes;       /* bytes of weights read: each round reads them once */
    double kv_bytes;           /* bytes of cached keys and values read; shared ones once a round */
    uint64_t kv_peak_positions;/* most KV positions held at once, whole pages not counted */

    double wall_ms;            /* from submission to the finished outcome */
    double ttft_ms;            /* to the first generated token */
    double load;               /* other problems in flight, mean over the outcome's rounds */
    double energy_j;           /* joules, where the device reports them */
} rm_cost;

/* ---- hashes and counter-based random numbers --------------------------------------------- */

/* 64-bit hash of n bytes (XXH3 of libxxhash, seed 0; a published, frozen function). */
RM_API uint64_t rm_hash_bytes(const void *bytes, size_t n);

/* Order-dependent combination of two 64-bit hashes: the SplitMix64 finaliser (Steele, Lea &
 * Flood 2014) of a ^ rotl(b, 32) + golden ratio. Frozen: recorded results depend on it. */
RM_BOTH uint64_t rm_mix(uint64_t a, uint64_t b)
{
    uint64_t z = (a ^ (b << 32 | b >> 32)) + UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* Philox4x32-10 (Salmon, Moraes, Dror & Shaw 2011, "Parallel random numbers: as easy as 1, 2,
 * 3"): a 128-bit counter and a 64-bit key to 128 random bits. Stateless. */
RM_BOTH void rm_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4])
{
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
    uint32_t k0 = key[0], k1 = key[1];
    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)UINT32_C(0xD2511F53) * c0;
        uint64_t p1 = (uint64_t)UINT32_C(0xCD9E8D57) * c2;
        uint32_t n0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0, n2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c1 = (uint32_t)p1;
        c3 = (uint32_t)p0;
        c0 = n0;
        c2 = n2;
        k0 += UINT32_C(0x9E3779B9);
        k1 += UINT32_C(0xBB67AE85);
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}

/* 64 random bits: key `seed`; counter (stream, index, draw). `stream` is a hash that names
 * what is drawn and for whom. */
RM_BOTH uint64_t rm_random(uint64_t seed, uint64_t stream, uint32_t index, uint32_t draw)
{
    uint32_t key[2] = { (uint32_t)seed, (uint32_t)(seed >> 32) };
    uint32_t counter[4] = { (uint32_t)stream, (uint32_t)(stream >> 32), index, draw };
    uint32_t out[4];
    rm_philox(counter, key, out);
    return (uint64_t)out[1] << 32 | out[0];
}

/* A uniform integer in [0, n), n > 0, from 64 random bits by the high half of the product
 * (Lemire 2019 without rejection: the bias is below n / 2^64). */
RM_BOTH uint64_t rm_scale(uint64_t bits, uint64_t n)
{
    return (uint64_t)(__extension__(unsigned __int128) bits * n >> 64);
}

/* Uniform in the open interval (0, 1): the midpoints of 2^52 equal parts, each a double. */
RM_BOTH double rm_unit(uint64_t bits)
{
    return ((double)(bits >> 12) + 0.5) * 0x1p-52;
}

#ifdef __cplusplus
}
#endif
#endif
