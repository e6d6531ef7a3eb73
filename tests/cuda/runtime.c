/* runtime.c - CUDA's runtime for the device in software (runtime.h, include/).
 *
 * Memory is malloc'd and filled with a pattern that is no number. A stream keeps copies and launches
 * (with their arguments, as the real one does) and carries them out as late as it may: when the host
 * waits for it, or up to the event that it waits for. So what the host reads too early is not there,
 * and what it overwrites too early is lost. Between BeginCapture and EndCapture they go to a graph,
 * which is kept the same way when it is launched. The virtual memory functions are mmap and mprotect:
 * what is reserved and not mapped cannot be touched. */
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
static void catch_up(size_t upto);

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
    catch_up(SIZE_MAX);
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
    catch_up(SIZE_MAX);
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
    catch_up(SIZE_MAX);
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
    enum { LAUNCH_STEP, COPY_STEP, SET_STEP, GRAPH_STEP } kind;
    emulate_call call;        /* its args owned */
    cudaGraph_t graph;        /* with a reference */
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

struct CUevent_st {
    size_t after;             /* so many steps of the stream, from its beginning */
};

static cudaGraph_t capturing;
static struct CUgraph_st given;    /* to the stream: there is one */
static size_t done;                /* of its steps */
static size_t emptied;             /* steps that were done and forgotten before */
static int failure;                /* of one of them, until somebody waits */

static void run_step(const step *s)
{
    if (s->kind == GRAPH_STEP)
        for (size_t i = 0; i < s->graph->n; i++)
            run_step(&s->graph->steps[i]);
    else if (s->kind == LAUNCH_STEP)
        failure = failure ? failure : emulate_run(&s->call);
    else if (s->kind == SET_STEP)
        memset(s->to, s->value, s->bytes);
    else
        memcpy(s->to, s->from, s->bytes);
    runtime.copies_there += s->kind == COPY_STEP && s->direction == cudaMemcpyHostToDevice;
    runtime.copies_back += s->kind == COPY_STEP && s->direction == cudaMemcpyDeviceToHost;
}

static void forget(const step *s)
{
    if (s->kind == LAUNCH_STEP)
        free((void *)s->call.args);
    else if (s->kind == GRAPH_STEP)
        cudaGraphDestroy(s->graph);
}

static void catch_up(size_t upto)
{
    for (; done < given.n && done < upto; done++)
        run_step(&given.steps[done]);
    if (done < given.n || !done)
        return;
    for (size_t i = 0; i < given.n; i++)
        forget(&given.steps[i]);
    emptied += given.n;
    given.n = done = 0;
}

static cudaError_t do_step(step s)
{
    struct CUgraph_st *to = capturing ? capturing : &given;
    if (to->n == to->capacity) {
        size_t capacity = to->capacity ? 2 * to->capacity : 64;
        step *steps = realloc(to->steps, capacity * sizeof *steps);
        if (!steps)
            return cudaErrorMemoryAllocation;
        to->steps = steps;
        to->capacity = capacity;
    }
    if (s.kind == LAUNCH_STEP) {
        void *args = malloc(s.call.args_bytes);
        if (!args)
            return cudaErrorMemoryAllocation;
        memcpy(args, s.call.args, s.call.args_bytes);
        s.call.args = args;
    }
    to->steps[to->n++] = s;
    return cudaSuccess;
}

static cudaError_t waited(void)
{
    int code = failure;
    runtime.waits++;
    failure = 0;
    return (cudaError_t)code;
}

static int on_launch(const emulate_call *call, void *on)
{
    (void)on;
    if (runtime.fail_launch > 0 && --runtime.fail_launch == 0)
        return cudaErrorIllegalAddress;
    return (int)do_step((step){ .kind = LAUNCH_STEP, .call = *call });
}

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind,
                            cudaStream_t on)
{
    (void)on;
    return do_step((step){ .kind = COPY_STEP, .to = to, .from = from, .bytes = bytes,
                           .direction = kind });
}

cudaError_t cudaMemcpy(void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind)
{
    cudaError_t code = cudaMemcpyAsync(to, from, bytes, kind, NULL);
    catch_up(SIZE_MAX);
    return code;
}

cudaError_t cudaMemsetAsync(void *to, int value, size_t bytes, cudaStream_t on)
{
    (void)on;
    return do_step((step){ .kind = SET_STEP, .to = to, .bytes = bytes, .value = value });
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned flags)
{
    (void)flags;
    *stream = malloc(1);
    return *stream ? cudaSuccess : cudaErrorMemoryAllocation;
}

cudaError_t cudaStreamDestroy(cudaStream_t on)
{
    catch_up(SIZE_MAX);
    free(on);
    return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t on)
{
    (void)on;
    catch_up(SIZE_MAX);
    return waited();
}

cudaError_t cudaStreamBeginCapture(cudaStream_t on, enum cudaStreamCaptureMode mode)
{
    (void)on;
    (void)mode;
    if (runtime.no_capture || capturing)
        return cudaErrorStreamCaptureUnsupported;
    capturing = calloc(1, sizeof *capturing);
    if (!capturing)
        return cudaErrorMemoryAllocation;
    capturing->references = 1;
    return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t on, cudaGraph_t *graph)
{
    (void)on;
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

cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t on)
{
    (void)on;
    cudaError_t code = do_step((step){ .kind = GRAPH_STEP, .graph = exec->graph });
    exec->graph->references += !code;
    runtime.replays += !code;
    return code;
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph)
{
    if (--graph->references)
        return cudaSuccess;
    for (size_t i = 0; i < graph->n; i++)
        forget(&graph->steps[i]);
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

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned flags)
{
    (void)flags;
    *event = calloc(1, sizeof **event);
    return *event ? cudaSuccess : cudaErrorMemoryAllocation;
}

cudaError_t cudaEventDestroy(cudaEvent_t event)
{
    free(event);
    return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t on)
{
    (void)on;
    event->after = emptied + given.n;
    return cudaSuccess;
}

cudaError_t cudaEventSynchronize(cudaEvent_t event)
{
    if (event->after > emptied)
        catch_up(event->after - emptied);
    return waited();
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
    catch_up(SIZE_MAX);
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
