/* test_plugin.c - which backend serves: names, reasons, plugins that do not belong here. */
#include "engine/backend.h"
#include "engine/engine.h"

#include <criterion/criterion.h>
#include <dlfcn.h>
#include <string.h>
#include <unistd.h>

/* Tests of a machine without a driver mean nothing on one that has it. */
static void skip_with_driver(void)
{
    if (dlopen("libcuda.so.1", RTLD_LAZY))
        cr_skip_test("there is an NVIDIA driver here");
}

static const struct {
    const char *backend, *isa;
    int device;
    bool fast;
    rm_status status;
    const char *says; /* in the error, or in `why` */
} table[] = {
    { NULL, NULL, 0, false, RM_OK, "" },
    { "auto", NULL, 0, false, RM_OK, "cpu, since there is no NVIDIA driver" },
    { "cpu", NULL, 0, false, RM_OK, "" },
    { "auto", "portable", 0, false, RM_OK, "an instruction set was named" },
    { "cuda", NULL, 0, false, RM_E_UNSUPPORTED, "backend \"cuda\" cannot be used: there is no NVIDIA driver" },
    { "cdua", NULL, 0, false, RM_E_ARGUMENT, "auto, cpu or cuda was expected" },
    { "cpu", NULL, 1, false, RM_E_ARGUMENT, "no devices to choose from" },
    { "cpu", NULL, 0, true, RM_E_ARGUMENT, "no fast products" },
    { NULL, NULL, 2, false, RM_E_UNSUPPORTED, "a device's number needs backend \"cuda\"" },
    { "auto", NULL, 0, true, RM_E_UNSUPPORTED, "fast products need backend \"cuda\"" },
    { NULL, NULL, -1, false, RM_E_UNSUPPORTED, "backend \"cuda\"" },
};

Test(plugin, backends_by_name_and_option)
{
    skip_with_driver();
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        rm_error err = { "" };
        rm_engine *engine = NULL;
        rm_engine_options options = { .backend = table[i].backend, .isa = table[i].isa,
                                      .device = table[i].device, .fast = table[i].fast,
                                      .n_threads = 1, .kv_bytes = 1 << 20 };
        cr_expect_eq(rm_engine_open(&options, &engine, &err), table[i].status, "%zu: %s", i, err.text);
        if (engine) {
            rm_engine_info info = rm_engine_describe(engine);
            cr_expect_str_eq(info.backend, "cpu");
            cr_expect(strstr(info.why, table[i].says) != NULL, "%zu: %s", i, info.why);
            cr_expect_eq(info.multiprocessors, 0);
            cr_expect_eq(info.fast, false);
        } else {
            cr_expect(strstr(err.text, table[i].says) != NULL, "%zu: %s", i, err.text);
        }
        rm_engine_close(engine);
    }
}

Test(plugin, of_another_build_is_refused)
{
    const rm_ops *ops = NULL;
    rm_error err = { "" };
    cr_expect_eq(rm_plugin_open(RM_BINARY_DIR "/tests/plugin_stale.so", &ops, &err), RM_E_UNSUPPORTED);
    cr_expect(strstr(err.text, "of another build") != NULL, "%s", err.text);
    cr_expect_null(ops);
}

Test(plugin, what_is_no_plugin_is_refused)
{
    const rm_ops *ops = NULL;
    rm_error err = { "" };
    cr_expect_eq(rm_plugin_open("libm.so.6", &ops, &err), RM_E_UNSUPPORTED);
    cr_expect(strstr(err.text, "no plugin of Ramify") != NULL, "%s", err.text);
    cr_expect_eq(rm_plugin_open(RM_SOURCE_DIR "/README.md", &ops, &err), RM_E_UNSUPPORTED);
    cr_expect(strstr(err.text, "cannot be loaded") != NULL, "%s", err.text);
}

/* The plugin that was built with this program, where a toolkit was found, is of this build. It
 * finds no device here, and says so. */
Test(plugin, of_this_build_is_taken)
{
    const rm_ops *ops = NULL;
    rm_error err = { "" };
    rm_backend *b = NULL;
    rm_backend_options options = { .n_threads = 1, .max_rows = 16 };
    if (access(RM_BINARY_DIR "/ramify-cuda.so", R_OK))
        cr_skip_test("this build has no CUDA plugin");
    skip_with_driver();
    cr_assert_eq(rm_plugin_open(RM_BINARY_DIR "/ramify-cuda.so", &ops, &err), RM_OK, "%s", err.text);
    cr_expect_str_eq(ops->name, "cuda");
    cr_expect_eq(ops->open(&options, &b, &err), RM_E_UNSUPPORTED);
    cr_expect(strstr(err.text, "no CUDA device can be used") != NULL, "%s", err.text);
}
