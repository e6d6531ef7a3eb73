/* memory.c - device memory: plain pieces, the areas that travel, the span of the key/value pool
 * (cuda.h).
 *
 * The pool grows without moving: its addresses are reserved for all the memory the device has, and
 * physical memory is mapped behind them as pages are wanted (the driver's virtual memory
 * functions, reached through the runtime so that nothing links to the driver). A graph that was
 * captured before stays right. */
#include "engine/cuda/cuda.h"

#include <cuda.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- failures ------------------------------------------------------------------------------- */

rm_status cuda_fail(rm_error *err, int code, const char *file, int line, const char *format, ...)
{
    char what[256];
    const char *base = strstr(file, "engine/cuda/");
    va_list list;
    va_start(list, format);
    vsnprintf(what, sizeof what, format, list);
    va_end(list);
    cudaGetLastError(); /* what is not sticky is forgotten */
    return rm_fail(err, code == cudaErrorMemoryAllocation ? RM_E_MEMORY : RM_E_IO,
                   "%s failed: %s (%s:%d)", what, cudaGetErrorString((cudaError_t)code),
                   base ? base : file, line);
}

/* ---- plain pieces ----------------------------------------------------------------------------- */

rm_status cuda_alloc(rm_backend *b, size_t bytes, const char *what, void **out, rm_error *err)
{
    void *p = NULL;
    size_t left = 0, all = 0;
    cudaError_t code = cudaSetDevice(b->options.device);
    if (!code)
        code = cudaMalloc(&p, bytes);
    if (code == cudaErrorMemoryAllocation) {
        cudaGetLastError();
        cudaMemGetInfo(&left, &all);
        return rm_fail(err, RM_E_MEMORY, "no device memory for %s: %.1f MiB are wanted, %.1f of "
                       "%.1f MiB are free on %s", what, (double)bytes / 1048576,
                       (double)left / 1048576, (double)all / 1048576, b->name);
    }
    if (code)
        return CUDA_FAIL(err, code, "cudaMalloc of %zu bytes for %s", bytes, what);
    code = cudaMemsetAsync(p, 0, bytes, b->stream);
    if (code) {
        cudaFree(p);
        return CUDA_FAIL(err, code, "clearing %zu bytes for %s", bytes, what);
    }
    *out = p;
    return RM_OK;
}

void cuda_free(void *p)
{
    if (p)
        cudaFree(p);
}

/* ---- areas -------------------------------------------------------------------------------------- */

static bool add_block(rm_backend *b, cuda_area *area, size_t bytes)
{
    size_t size = (size_t)1 << 20;
    if (area->n_blocks)
        size = 2 * area->block[area->n_blocks - 1].size;
    while (size < bytes)
        size *= 2;
    if (area->n_blocks == AREA_BLOCKS) {
        b->status = rm_fail(&b->error, RM_E_MEMORY, "a batch with more than %zu bytes of indices "
                            "and results", size);
        return false;
    }
    void *host = NULL, *device = NULL;
    cudaError_t code = cudaMallocHost(&host, size);
    if (code) {
        b->status = CUDA_FAIL(&b->error, code, "cudaMallocHost of %zu bytes", size);
        return false;
    }
    memset(host, 0, size);
    b->status = cuda_alloc(b, size, "indices and results", &device, &b->error);
    if (b->status) {
        cudaFreeHost(host);
        return false;
    }
    area->block[area->n_blocks].host = host;
    area->block[area->n_blocks].device = device;
    area->block[area->n_blocks].size = size;
    area->block[area->n_blocks++].used = 0;
    return true;
}

cuda_piece cuda_take(rm_backend *b, cuda_area *area, size_t bytes)
{
    bytes = (bytes + 15) & ~(size_t)15;
    if (b->status)
        return (cuda_piece){ 0 };
    int i = 0;
    while (i < area->n_blocks && area->block[i].size - area->block[i].used < bytes)
        i++;
    if (i == area->n_blocks && !add_block(b, area, bytes))
        return (cuda_piece){ 0 };
    cuda_piece piece = { area->block[i].host + area->block[i].used,
                         area->block[i].device + area->block[i].used };
    area->block[i].used += bytes;
    return piece;
}

void cuda_area_empty(cuda_area *area)
{
    for (int i = 0; i < area->n_blocks; i++)
        area->block[i].used = 0;
}

void cuda_area_free(cuda_area *area)
{
    for (int i = 0; i < area->n_blocks; i++) {
        cudaFreeHost(area->block[i].host);
        cuda_free(area->block[i].device);
    }
    area->n_blocks = 0;
}

/* ---- spans --------------------------------------------------------------------------------------- */

/* The driver's functions under the versions that their types belong to. */
static void *driver_function(const char *name, unsigned version)
{
    void *function = NULL;
    enum cudaDriverEntryPointQueryResult found;
    cudaError_t code =
        cudaGetDriverEntryPointByVersion(name, &function, version, cudaEnableDefault, &found);
    if (code) {
        cudaGetLastError();
        return NULL;
    }
    return found == cudaDriverEntryPointSuccess ? function : NULL;
}

typedef CUresult granularity_fn(size_t *, const CUmemAllocationProp *,
                                CUmemAllocationGranularity_flags);
typedef CUresult reserve_fn(CUdeviceptr *, size_t, size_t, CUdeviceptr, unsigned long long);
typedef CUresult create_fn(CUmemGenericAllocationHandle *, size_t, const CUmemAllocationProp *,
                           unsigned long long);
typedef CUresult map_fn(CUdeviceptr, size_t, size_t, CUmemGenericAllocationHandle,
                        unsigned long long);
typedef CUresult access_fn(CUdeviceptr, size_t, const CUmemAccessDesc *, size_t);
typedef CUresult unmap_fn(CUdeviceptr, size_t);
typedef CUresult release_fn(CUmemGenericAllocationHandle);

enum { VERSION = 10020 }; /* of CUDA in which these functions came */

static CUmemAllocationProp properties(const rm_backend *b)
{
    CUmemAllocationProp p;
    memset(&p, 0, sizeof p);
    p.type = CU_MEM_ALLOCATION_TYPE_PINNED;
    p.location.type = CU_MEM_LOCATION_TYPE_DEVICE;
    p.location.id = b->options.device;
    return p;
}

rm_status cuda_span_reserve(rm_backend *b, size_t bytes, cuda_span *span, rm_error *err)
{
    *span = (cuda_span){ 0 };
    granularity_fn *granularity =
        (granularity_fn *)driver_function("cuMemGetAllocationGranularity", VERSION);
    reserve_fn *reserve = (reserve_fn *)driver_function("cuMemAddressReserve", VERSION);
    CUmemAllocationProp p = properties(b);
    CUdeviceptr at = 0;
    if (!granularity || !reserve)
        return rm_fail(err, RM_E_UNSUPPORTED, "the driver of %s has no virtual memory functions "
                       "(CUDA 10.2 or later was expected)", b->name);
    CUresult code = granularity(&span->granularity, &p, CU_MEM_ALLOC_GRANULARITY_MINIMUM);
    if (code || !span->granularity)
        return rm_fail(err, RM_E_IO, "cuMemGetAllocationGranularity failed on %s: error %d",
                       b->name, (int)code);
    size_t g = span->granularity;
    bytes = (bytes + g - 1) / g * g;
    code = reserve(&at, bytes, 0, 0, 0);
    if (code)
        return rm_fail(err, RM_E_MEMORY, "%.1f MiB of addresses for keys and values cannot be "
                       "reserved on %s: error %d", (double)bytes / 1048576, b->name, (int)code);
    span->base = (uint8_t *)at;
    span->reserved = bytes;
    return RM_OK;
}

static rm_status no_room(rm_backend *b, size_t more, int code, rm_error *err)
{
    size_t left = 0, all = 0;
    cudaMemGetInfo(&left, &all);
    return rm_fail(err, RM_E_MEMORY, "no device memory for keys and values: %.1f MiB more are "
                   "wanted, %.1f of %.1f MiB are free on %s (error %d); a smaller cache limit "
                   "suspends problems instead", (double)more / 1048576, (double)left / 1048576,
                   (double)all / 1048576, b->name, code);
}

rm_status cuda_span_grow(rm_backend *b, cuda_span *span, size_t bytes, rm_error *err)
{
    if (bytes <= span->mapped)
        return RM_OK;
    size_t g = span->granularity, to = (bytes + g - 1) / g * g, more = to - span->mapped;
    if (to > span->reserved)
        return no_room(b, more, CUDA_ERROR_OUT_OF_MEMORY, err);
    create_fn *create = (create_fn *)driver_function("cuMemCreate", VERSION);
    map_fn *map = (map_fn *)driver_function("cuMemMap", VERSION);
    access_fn *access = (access_fn *)driver_function("cuMemSetAccess", VERSION);
    release_fn *release = (release_fn *)driver_function("cuMemRelease", VERSION);
    struct cuda_mapping *mapping =
        realloc(span->mapping, ((size_t)span->n_mappings + 1) * sizeof *mapping);
    if (!mapping)
        return rm_fail(err, RM_E_MEMORY, "no memory to keep track of a cache");
    span->mapping = mapping;
    CUmemAllocationProp p = properties(b);
    CUmemGenericAllocationHandle handle = 0;
    CUdeviceptr at = (CUdeviceptr)(span->base + span->mapped);
    CUresult code = create(&handle, more, &p, 0);
    if (code)
        return no_room(b, more, (int)code, err);
    code = map(at, more, 0, handle, 0);
    if (code) {
        release(handle);
        return no_room(b, more, (int)code, err);
    }
    mapping[span->n_mappings++] = (struct cuda_mapping){ handle, span->mapped, more };
    CUmemAccessDesc access_to = { .location = p.location,
                                  .flags = CU_MEM_ACCESS_FLAGS_PROT_READWRITE };
    code = access(at, more, &access_to, 1);
    if (code)
        return rm_fail(err, RM_E_IO, "cuMemSetAccess of %zu bytes failed on %s: error %d", more,
                       b->name, (int)code);
    cudaError_t cleared = cudaMemsetAsync(span->base + span->mapped, 0, more, b->stream);
    if (cleared)
        return CUDA_FAIL(err, cleared, "clearing %zu bytes of keys and values", more);
    span->mapped = to;
    return RM_OK;
}

void cuda_span_free(rm_backend *b, cuda_span *span)
{
    unmap_fn *unmap = (unmap_fn *)driver_function("cuMemUnmap", VERSION),
             *give_back = (unmap_fn *)driver_function("cuMemAddressFree", VERSION);
    release_fn *release = (release_fn *)driver_function("cuMemRelease", VERSION);
    if (span->base)
        cudaStreamSynchronize(b->stream);
    for (int i = 0; i < span->n_mappings; i++) {
        unmap((CUdeviceptr)(span->base + span->mapping[i].at), span->mapping[i].bytes);
        release(span->mapping[i].handle);
    }
    if (span->base)
        give_back((CUdeviceptr)span->base, span->reserved);
    free(span->mapping);
    *span = (cuda_span){ 0 };
}
