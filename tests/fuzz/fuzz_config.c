/* fuzz_config.c - experiment files: whatever the bytes, either a plan or one sentence with a place.
 *
 * The corpus holds small valid configurations. What is checked besides memory: a refusal says
 * where, and an accepted configuration can be described as text and as JSON that our own parser
 * takes. */
#include "experiments/config.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int condition)
{
    if (!condition)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    rm_config *config = NULL;
    rm_error err = { { 0 } };
    rm_status st = rm_config_parse("fuzz.json", (const char *)data, size, &config, &err);
    if (st) {
        require(err.text[0] && !config);
        return 0;
    }
    rm_text text = { 0 };
    rm_json *json = NULL;
    require(rm_config_describe(config, NULL, 0, false, &text, &err) == RM_OK);
    rm_text_free(&text);
    require(rm_config_describe(config, NULL, 3, true, &text, &err) == RM_OK);
    require(rm_json_parse(text.data, text.length, "plan", 1, 0, &json, &err) == RM_OK);
    rm_json_free(json);
    rm_text_free(&text);
    rm_config_free(config);
    return 0;
}
