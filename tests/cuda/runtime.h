/* runtime.h - what tests may ask of the device in software beside CUDA's own functions. */
#ifndef TESTS_CUDA_RUNTIME_H
#define TESTS_CUDA_RUNTIME_H

#include <stddef.h>

typedef struct runtime_state {
    int devices;             /* there are; 1 at first */
    int multiprocessors;     /* each has */
    size_t memory;           /* each has */
    size_t used;             /* of it; all of it given back at the end is a test */
    int allocations;         /* cudaMalloc, pinned memory and mappings so far */
    int graphs, replays, waits; /* instantiated, launched; synchronisations so far */
    int copies_there, copies_back; /* host to device; device to host */
    int library_products;    /* by cuBLASLt in software */
    int has_library;         /* there is one; 0 at first */
    int no_capture;          /* refuse to capture streams */
    int fail_launch;         /* > 0: the launch that many launches from now is refused */
} runtime_state;

extern runtime_state runtime;

#endif
