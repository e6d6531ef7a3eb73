/* whole.h - whole numbers in JSON: cJSON holds doubles, which are exact up to 2^53. */
#ifndef RM_ENGINE_MODEL_WHOLE_H
#define RM_ENGINE_MODEL_WHOLE_H

#include "base/json.h"

static inline bool rm_json_whole(const cJSON *item, uint64_t *value)
{
    if (!cJSON_IsNumber(item) || !(item->valuedouble >= 0) || item->valuedouble > 0x1p53)
        return false;
    *value = (uint64_t)item->valuedouble;
    return (double)*value == item->valuedouble;
}

#endif
