/* runtime.c - CUDA's runtime for the device in software (runtime.h, include/).
 *
 * Memory is malloc'd and filled with a pattern that is no number; a stream runs everything at
 * once; between BeginCapture and EndCapture it keeps copies and launches (with their arguments, as
 * the real one does), and a graph runs them in order. The virtual memory functions are mmap and
 * mprotect: what is reserved and not mapped cannot be touched. */
#include "tests/cuda/runtime.h"

#include <cuda.h>
#include <cuda_runtime_api.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "tests/cuda/emulate.h"

runtime_state runtime = { .devices = 1, .multiprocessors = 4, .memory = (size_t)1 << 30 };

/* ---- devices ---------------------------------------------------------------------------------- */

static int on_launch(const emulate_call *call, void *stream);

cudaError_t cudaGetDeviceCount(int *n)
{
    emulate_record = on_launch;
    *n = runtime.devices;
    return runtime.devices ? cudaSuccess : cudaErrorNoDevice;
}

cudaError_t cudaSetDevice(int device)
{
    return device >= 0 && device < runtime.devices ? cudaSuccess : cudaErrorInvalidDevice;
}

cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *p, int device)
{
    (void)device;
    *p = (struct cudaDeviceProp){ .name = "device in software", .totalGlobalMem = runtime.memory,
                                  .major = 8, .minor = 0,
                                  .multiProcessorCount = runtime.multiprocessors };
    return cudaSuccess;
}

cudaError_t cudaDriverGetVersion(int *version)
{
    *version = CUDART_VERSION;
    return cudaSuccess;
}

cudaError_t cudaDeviceGetPCIBusId(char *bus, int size, int device)
{
    snprintf(bus, (size_t)size, "0000:%02x:00.0", device);
    return cudaSuccess;
}

cudaError_t cudaDeviceSynchronize(void)
{
    return cudaSuccess;
}

const char *cudaGetErrorString(cudaError_t code)
{
    return code == cudaErrorMemoryAllocation ? "out of memory"
           : code == cudaErrorNoDevice       ? "no CUDA-capable device is detected"
           : code == cudaErrorInvalidDevice  ? "invalid device ordinal"
           : code == cudaErrorIllegalAddress ? "an illegal memory access was encountered"
           : code                            ? "invalid argument"
                                             : "no error";
}

cudaError_t cudaGetLastError(void)
{
    return cudaSuccess;
}

/* ---- memory ------------------------------------------------------------------------------------- */

enum { HEAD = 256 }; /* bytes before what is handed out: its size */

static void *take(size_t bytes)
{
    char *p = aligned_alloc(HEAD, (bytes + 2 * HEAD - 1) / HEAD * HEAD + HEAD);
    if (!p)
        return NULL;
    memcpy(p, &bytes, sizeof bytes);
    memset(p + HEAD, 0xff, bytes);
    runtime.allocations++;
    return p + HEAD;
}

cudaError_t cudaMalloc(void **out, size_t bytes)
{
    if (bytes > runtime.memory - runtime.used || !(*out = take(bytes)))
        return cudaErrorMemoryAllocation;
    runtime.used += bytes;
    return cudaSuccess;
}

cudaError_t cudaFree(void *p)
{
    size_t bytes;
    memcpy(&bytes, (char *)p - HEAD, sizeof bytes);
    runtime.used -= bytes;
    free((char *)p - HEAD);
    return cudaSuccess;
}

cudaError_t cudaMallocHost(void **out, size_t bytes)
{
    *out = take(bytes);
    return *out ? cudaSuccess : cudaErrorMemoryAllocation;
}

cudaError_t cudaFreeHost(void *p)
{
    free((char *)p - HEAD);
    return cudaSuccess;
}

cudaError_t cudaMemGetInfo(size_t *left, size_t *all)
{
    *left = runtime.memory - runtime.used;
    *all = runtime.memory;
    return cudaSuccess;
}

/* ---- streams and graphs ---------------------------------------------------------------------------- */

typedef struct step {
    enum { LAUNCH_STEP, COPY_STEP, SET_STEP } kind;
    emulate_call call;        /* its args owned */
    void *to;
    const void *from;
    size_t bytes;
    int value;
    enum cudaMemcpyKind direction;
} step;

struct CUgraph_st {
    step *steps;
    size_t n, capacity;
    int references;
};

struct CUgraphExec_st {
    cudaGraph_t graph;
};

static cudaGraph_t capturing;

static void run_step(const step *s)
{
    if (s->kind == LAUNCH_STEP)
        emulate_run(&s->call);
    else if (s->kind == SET_STEP)
        memset(s->to, s->value, s->bytes);
    else
        memcpy(s->to, s->from, s->bytes);
    runtime.copies_back += s->kind == COPY_STEP && s->direction == cudaMemcpyDeviceToHost;
}

static cudaError_t do_step(step s)
{
    if (!capturing) {
        run_step(&s);
        return cudaSuccess;
    }
    if (capturing->n == capturing->capacity) {
        size_t capacity = capturing->capacity ? 2 * capturing->capacity : 64;
        step *steps = realloc(capturing->steps, capacity * sizeof *steps);
        if (!steps)
            return cudaErrorMemoryAllocation;
        capturing->steps = steps;
        capturing->capacity = capacity;
    }
    if (s.kind == LAUNCH_STEP) {
        void *args = malloc(s.call.args_bytes);
        if (!args)
            return cudaErrorMemoryAllocation;
        memcpy(args, s.call.args, s.call.args_bytes);
        s.call.args = args;
    }
    capturing->steps[capturing->n++] = s;
    return cudaSuccess;
}

static int on_launch(const emulate_call *call, void *stream)
{
    (void)stream;
    if (runtime.fail_launch > 0 && --runtime.fail_launch == 0)
        return cudaErrorIllegalAddress;
    return capturing ? (int)do_step((step){ .kind = LAUNCH_STEP, .call = *call })
                     : emulate_run(call);
}

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind,
                            cudaStream_t stream)
{
    (void)stream;
    return do_step((step){ .kind = COPY_STEP, .to = to, .from = from, .bytes = bytes,
                           .direction = kind });
}

cudaError_t cudaMemcpy(void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind)
{
    return cudaMemcpyAsync(to, from, bytes, kind, NULL);
}

cudaError_t cudaMemsetAsync(void *to, int value, size_t bytes, cudaStream_t stream)
{
    (void)stream;
    return do_step((step){ .kind = SET_STEP, .to = to, .bytes = bytes, .value = value });
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned flags)
{
    (void)flags;
    *stream = malloc(1);
    return *stream ? cudaSuccess : cudaErrorMemoryAllocation;
}

cudaError_t cudaStreamDestroy(cudaStream_t stream)
{
    free(stream);
    return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream)
{
    (void)stream;
    runtime.waits++;
    return cudaSuccess;
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, enum cudaStreamCaptureMode mode)
{
    (void)stream;
    (void)mode;
    if (runtime.no_capture || capturing)
        return cudaErrorStreamCaptureUnsupported;
    capturing = calloc(1, sizeof *capturing);
    if (!capturing)
        return cudaErrorMemoryAllocation;
    capturing->references = 1;
    return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *graph)
{
    (void)stream;
    *graph = capturing;
    capturing = NULL;
    return *graph ? cudaSuccess : cudaErrorInvalidValue;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t *exec, cudaGraph_t graph, unsigned long long flags)
{
    (void)flags;
    *exec = malloc(sizeof **exec);
    if (!*exec)
        return cudaErrorMemoryAllocation;
    (*exec)->graph = graph;
    graph->references++;
    runtime.graphs++;
    return cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream)
{
    (void)stream;
    for (size_t i = 0; i < exec->graph->n; i++)
        run_step(&exec->graph->steps[i]);
    runtime.replays++;
    return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph)
{
    if (--graph->references)
        return cudaSuccess;
    for (size_t i = 0; i < graph->n; i++)
        if (graph->steps[i].kind == LAUNCH_STEP)
            free((void *)graph->steps[i].call.args);
    free(graph->steps);
    free(graph);
    return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec)
{
    cudaGraphDestroy(exec->graph);
    free(exec);
    return cudaSuccess;
}

/* Events: everything has happened when it is asked for. */
cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned flags)
{
    (void)flags;
    *event = malloc(1);
    return *event ? cudaSuccess : cudaErrorMemoryAllocation;
}

cudaError_t cudaEventDestroy(cudaEvent_t event)
{
    free(event);
    return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream)
{
    (void)event;
    (void)stream;
    return cudaSuccess;
}

cudaError_t cudaEventSynchronize(cudaEvent_t event)
{
    (void)event;
    return cudaSuccess;
}

cudaError_t cudaEventElapsedTime(float *ms, cudaEvent_t from, cudaEvent_t to)
{
    (void)from;
    (void)to;
    *ms = 1.0f;
    return cudaSuccess;
}

/* ---- virtual memory ---------------------------------------------------------------------------------- */

enum { GRANULARITY = 1 << 16 };

static void *address(CUdeviceptr at)
{
    return (void *)(uintptr_t)at;
}

static CUresult granularity(size_t *bytes, const CUmemAllocationProp *p,
                            CUmemAllocationGranularity_flags flags)
{
    (void)p;
    (void)flags;
    *bytes = GRANULARITY;
    return CUDA_SUCCESS;
}

static CUresult reserve(CUdeviceptr *at, size_t bytes, size_t alignment, CUdeviceptr wish,
                        unsigned long long flags)
{
    (void)alignment;
    (void)wish;
    (void)flags;
    void *p = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    *at = (CUdeviceptr)(uintptr_t)p;
    return p == MAP_FAILED ? CUDA_ERROR_OUT_OF_MEMORY : CUDA_SUCCESS;
}

static CUresult give_back(CUdeviceptr at, size_t bytes)
{
    return munmap(address(at), bytes) ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
}

static CUresult create(CUmemGenericAllocationHandle *handle, size_t bytes,
                       const CUmemAllocationProp *p, unsigned long long flags)
{
    (void)p;
    (void)flags;
    if (bytes % GRANULARITY)
        return CUDA_ERROR_INVALID_VALUE;
    if (bytes > runtime.memory - runtime.used)
        return CUDA_ERROR_OUT_OF_MEMORY;
    runtime.used += bytes;
    runtime.allocations++;
    *handle = bytes;
    return CUDA_SUCCESS;
}

static CUresult map(CUdeviceptr at, size_t bytes, size_t offset, CUmemGenericAllocationHandle handle,
                    unsigned long long flags)
{
    (void)at;
    (void)flags;
    return offset || handle != bytes ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
}

static CUresult allow(CUdeviceptr at, size_t bytes, const CUmemAccessDesc *desc, size_t count)
{
    (void)desc;
    if (count != 1 || mprotect(address(at), bytes, PROT_READ | PROT_WRITE))
        return CUDA_ERROR_INVALID_VALUE;
    memset(address(at), 0xff, bytes);
    return CUDA_SUCCESS;
}

static CUresult unmap(CUdeviceptr at, size_t bytes)
{
    return mprotect(address(at), bytes, PROT_NONE) ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
}

static CUresult release(CUmemGenericAllocationHandle handle)
{
    runtime.used -= (size_t)handle;
    return CUDA_SUCCESS;
}

cudaError_t cudaGetDriverEntryPointByVersion(const char *name, void **function, unsigned version,
                                             unsigned long long flags,
                                             enum cudaDriverEntryPointQueryResult *found)
{
    static const struct {
        const char *name;
        void *function;
    } table[] = {
        { "cuMemGetAllocationGranularity", (void *)granularity },
        { "cuMemAddressReserve", (void *)reserve },
        { "cuMemAddressFree", (void *)give_back },
        { "cuMemCreate", (void *)create },
        { "cuMemMap", (void *)map },
        { "cuMemSetAccess", (void *)allow },
        { "cuMemUnmap", (void *)unmap },
        { "cuMemRelease", (void *)release },
    };
    (void)version;
    (void)flags;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (strcmp(table[i].name, name) == 0) {
            *function = table[i].function;
            *found = cudaDriverEntryPointSuccess;
            return cudaSuccess;
        }
    *found = cudaDriverEntryPointSymbolNotFound;
    return cudaSuccess;
}
