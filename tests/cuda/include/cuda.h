/* cuda.h - the driver's virtual memory functions, as far as engine/cuda uses them, for a device in
 * software (../runtime.c). They are reached by name through cudaGetDriverEntryPointByVersion. */
#ifndef TESTS_CUDA_DRIVER_API_H
#define TESTS_CUDA_DRIVER_API_H

#include <stddef.h>

typedef int CUresult;
typedef unsigned long long CUdeviceptr, CUmemGenericAllocationHandle;

enum { CUDA_SUCCESS = 0, CUDA_ERROR_INVALID_VALUE = 1, CUDA_ERROR_OUT_OF_MEMORY = 2 };
enum { CU_MEM_ALLOCATION_TYPE_PINNED = 1, CU_MEM_LOCATION_TYPE_DEVICE = 1,
       CU_MEM_ACCESS_FLAGS_PROT_READWRITE = 3 };

typedef enum CUmemAllocationGranularity_flags {
    CU_MEM_ALLOC_GRANULARITY_MINIMUM
} CUmemAllocationGranularity_flags;

typedef struct CUmemLocation {
    int type, id;
} CUmemLocation;

typedef struct CUmemAllocationProp {
    int type;
    CUmemLocation location;
} CUmemAllocationProp;

typedef struct CUmemAccessDesc {
    CUmemLocation location;
    int flags;
} CUmemAccessDesc;

#endif
