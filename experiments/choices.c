/* choices.c - what engine options are called, in configurations and on the command line. */
#include "experiments/config.h"

const char *const rm_isa_names[] = { "avx512-bf16", "avx512", "avx2", "portable", NULL };
const char *const rm_backend_names[] = { "auto", "cpu", "cuda", NULL };
const char *const rm_product_names[] = { "exact", "fast", NULL };
