/* answers.c - what a server answers besides completions: errors, and its list of models. */
#include "engine/remote/private.h"

#include <string.h>

static const cJSON *member(const cJSON *object, const char *name)
{
    return cJSON_IsObject(object) ? cJSON_GetObjectItemCaseSensitive(object, name) : NULL;
}

void remote_error_message(const char *body, size_t size, char *out, size_t n_out)
{
    rm_json *json = NULL;
    const char *text = NULL;
    out[0] = '\0';
    if (rm_json_parse(body, size, "error", 1, 0, &json, NULL))
        return;
    const cJSON *root = rm_json_root(json), *error = member(root, "error");
    const cJSON *messages[] = { member(error, "message"), error, member(root, "message"),
                                member(root, "detail") };
    for (size_t i = 0; i < 4 && !text; i++)
        if (cJSON_IsString(messages[i]))
            text = messages[i]->valuestring;
    size_t n = text ? strlen(text) : 0;
    n = rm_utf8_valid_prefix(text ? text : "", n < n_out - 1 ? n : n_out - 1);
    for (size_t i = 0; i < n; i++)
        out[i] = (unsigned char)text[i] < 0x20 || text[i] == 0x7F ? ' ' : text[i];
    out[n] = '\0';
    rm_json_free(json);
}

rm_status remote_models_read(const char *body, size_t size, const char *wanted, char **model,
                             rm_error *err)
{
    rm_json *json = NULL;
    rm_status status = rm_json_parse(body, size, "the server's list of models", 1, 0, &json, err);
    if (status)
        return status;
    const cJSON *data = member(rm_json_root(json), "data"), *item;
    const char *found = NULL, *only = NULL;
    int n = 0;
    cJSON_ArrayForEach(item, data) {
        const cJSON *id = member(item, "id");
        if (!cJSON_IsString(id))
            continue;
        n++;
        only = id->valuestring;
        if (wanted && !strcmp(wanted, id->valuestring))
            found = id->valuestring;
    }
    if (wanted && n && !found)
        status = rm_fail(err, RM_E_ARGUMENT, "the server has no model \"%.80s\"; it has %s\"%.80s\"",
                         wanted, n > 1 ? "others, such as " : "", only);
    else if (!wanted && n != 1)
        status = rm_fail(err, RM_E_ARGUMENT, "the server has %d models: say which in \"model\"", n);
    else if (!(*model = strdup(wanted ? wanted : only)))
        status = rm_fail(err, RM_E_MEMORY, "no memory for the name of a model");
    rm_json_free(json);
    return status;
}
