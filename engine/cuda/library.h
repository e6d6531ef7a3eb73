/* library.h - the functions of cuBLASLt that library.c uses, as they were found. */
#ifndef RM_ENGINE_CUDA_LIBRARY_H
#define RM_ENGINE_CUDA_LIBRARY_H

#include <cublasLt.h>

#define LT_FUNCTIONS(F)                                                                           \
    F(cublasLtCreate) F(cublasLtDestroy) F(cublasLtMatmul) F(cublasLtMatmulAlgoCheck)              \
    F(cublasLtMatmulAlgoGetHeuristic) F(cublasLtMatmulDescCreate) F(cublasLtMatmulDescDestroy)     \
    F(cublasLtMatmulDescSetAttribute) F(cublasLtMatrixLayoutCreate)                                \
    F(cublasLtMatrixLayoutDestroy) F(cublasLtMatrixLayoutSetAttribute)                             \
    F(cublasLtMatmulPreferenceCreate) F(cublasLtMatmulPreferenceDestroy)                           \
    F(cublasLtMatmulPreferenceSetAttribute) F(cublasLtGetVersion)

#define LT_MEMBER(name) __typeof__(name) *name;
typedef struct lt_functions {
    void *object; /* what they were found in */
    LT_FUNCTIONS(LT_MEMBER)
} lt_functions;

/* False: there is no cuBLASLt here. (library_load.c; the tests bring their own.) */
bool lt_load(lt_functions *);
void lt_unload(lt_functions *);

#endif
