/* plugin.c - what the engine looks for in this object (rm_plugin in ops.h). */
#include "build_id.h"
#include "engine/cuda/cuda.h"

RM_API extern const rm_plugin rm_plugin_symbol __asm__("rm_plugin");
const rm_plugin rm_plugin_symbol = { .build = RM_BUILD_ID, .ops = &rm_cuda_ops };
