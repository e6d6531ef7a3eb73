/* library_load.c - cuBLASLt by name, so that a machine that has a driver and no toolkit computes all
 * the same, and nothing maps 600 MB that is not used. */
#include "engine/cuda/cuda.h"
#include "engine/cuda/library.h"

#include <dlfcn.h>
#include <stdio.h>

bool lt_load(lt_functions *lt)
{
    char name[40];
    snprintf(name, sizeof name, "libcublasLt.so.%d", CUDART_VERSION / 1000);
    *lt = (lt_functions){ .object = dlopen(name, RTLD_NOW | RTLD_LOCAL) };
    if (!lt->object)
        return false;
    bool all = true;
#define FIND(name)                                                                                \
    lt->name = (__typeof__(lt->name))dlsym(lt->object, #name);                                     \
    all = all && lt->name;
    LT_FUNCTIONS(FIND)
    if (!all)
        lt_unload(lt);
    return all;
}

void lt_unload(lt_functions *lt)
{
    if (lt->object)
        dlclose(lt->object);
    *lt = (lt_functions){ 0 };
}
