/* plugin.c - the CUDA backend as a shared object, loaded when it can serve (backend.h).
 *
 * It is looked for in LIBDIR/ramify of the installation, seen from where the program or the library
 * lies (an installed tree can be moved), and in the folder that this was built in. The driver is
 * asked for first, by the name under which every installation of it has its library: without one
 * nothing else is opened, and a start costs one failed dlopen. */
#define _GNU_SOURCE /* dladdr */
#include "engine/backend.h"

#include "build_id.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#ifndef RM_PLUGIN_BUILD
#define RM_PLUGIN_BUILD "" /* the build folder */
#endif
#ifndef RM_PLUGIN_LIBDIR
#define RM_PLUGIN_LIBDIR "lib"
#endif

enum { N_PLACES = 3 };

static const char file_name[] = "ramify-cuda.so";

/* <folder of `from`><way>/ramify-cuda.so; "" where that is no path. */
static void beside(const char *from, const char *way, char out[PATH_MAX])
{
    const char *slash = strrchr(from, '/');
    int n = slash ? snprintf(out, PATH_MAX, "%.*s%s/%s", (int)(slash - from), from, way, file_name)
                  : PATH_MAX;
    if (n >= PATH_MAX)
        out[0] = '\0';
}

static void places(char place[N_PLACES][PATH_MAX])
{
    static const char here = 0; /* an address in whatever this was linked into */
    char program[PATH_MAX] = "";
    ssize_t n = readlink("/proc/self/exe", program, sizeof program - 1);
    program[n > 0 ? n : 0] = '\0';
    Dl_info info;
    beside(dladdr(&here, &info) && info.dli_fname ? info.dli_fname : "", "/ramify", place[0]);
    beside(program, "/../" RM_PLUGIN_LIBDIR "/ramify", place[1]);
    if (snprintf(place[2], PATH_MAX, "%s/%s", RM_PLUGIN_BUILD, file_name) >= PATH_MAX ||
        !RM_PLUGIN_BUILD[0])
        place[2][0] = '\0';
}

bool rm_driver_present(void)
{
    void *driver = dlopen("libcuda.so.1", RTLD_LAZY | RTLD_LOCAL);
    if (driver)
        dlclose(driver);
    return driver != NULL;
}

rm_status rm_plugin_open(const char *file, const rm_ops **ops, rm_error *err)
{
    void *object = dlopen(file, RTLD_NOW | RTLD_LOCAL);
    if (!object)
        return rm_fail(err, RM_E_UNSUPPORTED, "the plugin cannot be loaded (%s)", dlerror());
    const rm_plugin *plugin = dlsym(object, "rm_plugin");
    if (!plugin || memchr(plugin->build, 0, sizeof plugin->build) == NULL ||
        strcmp(plugin->build, RM_BUILD_ID) != 0) {
        rm_status status = rm_fail(err, RM_E_UNSUPPORTED, "%s is %s; the one built together with "
                                   "this program was expected", file,
                                   plugin ? "a plugin of another build" : "no plugin of Ramify");
        dlclose(object);
        return status;
    }
    *ops = plugin->ops;
    return RM_OK;
}

rm_status rm_plugin_load(const rm_ops **ops, rm_error *err)
{
    if (!rm_driver_present())
        return rm_fail(err, RM_E_UNSUPPORTED,
                       "there is no NVIDIA driver here (libcuda.so.1 cannot be loaded)");
    char place[N_PLACES][PATH_MAX];
    places(place);
    rm_status status = rm_fail(err, RM_E_UNSUPPORTED,
                               "this build has no CUDA plugin (it was made without a CUDA toolkit)");
    for (int i = 0; i < N_PLACES; i++) {
        if (!place[i][0] || access(place[i], R_OK) != 0)
            continue;
        status = rm_plugin_open(place[i], ops, err);
        if (!status)
            return RM_OK;
    }
    return status;
}
