/* energy.c - joules a device has used, from NVIDIA's management library (NVML).
 *
 * The library comes with the driver and is opened by name; its handful of functions is declared
 * here, since the toolkit need not have its header. nvmlDeviceGetTotalEnergyConsumption gives
 * millijoules since the driver was loaded (Volta and later). The device is found by its PCI
 * address: NVML counts devices in another order than CUDA. Whatever is missing, nothing is told:
 * an account has no energy then, rather than zero. */
#include "engine/cuda/cuda.h"

#include <dlfcn.h>
#include <math.h>
#include <stdlib.h>

typedef struct nvml_device *nvml_device;
typedef int nvml_init_fn(void);
typedef int nvml_find_fn(const char *bus, nvml_device *);
typedef int nvml_energy_fn(nvml_device, unsigned long long *millijoules);

struct cuda_energy {
    void *object;
    nvml_init_fn *shutdown;
    nvml_energy_fn *read;
    nvml_device device;
};

void cuda_energy_open(rm_backend *b)
{
    void *object = dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL);
    cuda_energy *e = object ? calloc(1, sizeof *e) : NULL;
    if (!e)
        goto none;
    nvml_init_fn *init = (nvml_init_fn *)dlsym(object, "nvmlInit_v2");
    nvml_find_fn *find = (nvml_find_fn *)dlsym(object, "nvmlDeviceGetHandleByPciBusId_v2");
    e->object = object;
    e->shutdown = (nvml_init_fn *)dlsym(object, "nvmlShutdown");
    e->read = (nvml_energy_fn *)dlsym(object, "nvmlDeviceGetTotalEnergyConsumption");
    if (!init || !find || !e->shutdown || !e->read || init())
        goto none;
    unsigned long long millijoules;
    if (find(b->bus, &e->device) || e->read(e->device, &millijoules)) {
        e->shutdown();
        goto none;
    }
    b->energy = e;
    return;
none:
    free(e);
    if (object)
        dlclose(object);
}

void cuda_energy_close(rm_backend *b)
{
    if (!b->energy)
        return;
    b->energy->shutdown();
    dlclose(b->energy->object);
    free(b->energy);
    b->energy = NULL;
}

double cuda_energy_joules(rm_backend *b)
{
    unsigned long long millijoules;
    if (!b->energy || b->energy->read(b->energy->device, &millijoules))
        return (double)NAN;
    return (double)millijoules / 1e3;
}
