/* manifest.c - the sessions of a run stand in the records, one JSON object each; manifest.json is
 * written from them as a whole, so that it is never half a file. */
#define _GNU_SOURCE
#include "experiments/manifest.h"
#include "base/json.h"

#include <sqlite3.h>
#include <gsl/gsl_version.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>


/* ---- one session ------------------------------------------------------------------------- */

static void add_program(rm_json_writer *w, const char *command)
{
    rm_json_object(w, "program");
    rm_json_string(w, "version", RM_VERSION);
    if (rm_version_git[0])
        rm_json_string(w, "git", rm_version_git);
    else
        rm_json_null(w, "git");
#if defined(__clang__)
    rm_json_string(w, "compiler", "clang " __clang_version__);
#else
    rm_json_string(w, "compiler", "gcc " __VERSION__);
#endif
    rm_json_string(w, "command", command);
    rm_json_object(w, "libraries");
    rm_json_string(w, "sqlite", sqlite3_libversion());
    rm_json_string(w, "gsl", gsl_version);
    rm_json_string(w, "cjson", cJSON_Version());
    rm_json_end(w);
    rm_json_end(w);
}

static void add_machine(rm_json_writer *w)
{
    struct utsname system;
    rm_json_object(w, "machine");
    if (uname(&system) == 0) {
        rm_json_string(w, "host", system.nodename);
        rm_json_string(w, "system", system.sysname);
        rm_json_string(w, "release", system.release);
        rm_json_string(w, "architecture", system.machine);
    }
    rm_json_int(w, "processors", sysconf(_SC_NPROCESSORS_ONLN));
    rm_json_int(w, "memory_bytes", (int64_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE));
    double load;
    rm_json_real(w, "load", getloadavg(&load, 1) == 1 ? load : -1);
    rm_json_end(w);
}

static void add_engine(rm_json_writer *w, const rm_engine *engine)
{
    rm_engine_info info = rm_engine_describe(engine);
    rm_json_object(w, "engine");
    rm_json_string(w, "backend", info.backend);
    rm_json_string(w, "device", info.device);
    rm_json_string(w, "isa", info.isa);
    rm_json_string(w, "products", info.fast ? "fast" : "exact");
    if (info.multiprocessors)
        rm_json_int(w, "multiprocessors", info.multiprocessors);
    if (info.libraries[0])
        rm_json_string(w, "libraries", info.libraries);
    rm_json_int(w, "threads", info.n_threads);
    rm_json_int(w, "page_positions", info.page_positions);
    rm_json_int(w, "max_batch_rows", info.max_batch_rows);
    rm_json_uint(w, "kv_limit_bytes", info.kv_limit_bytes);
    rm_json_end(w);
}

static void add_shape(rm_json_writer *w, const rm_model_info *info)
{
    rm_json_string(w, "file", info->file);
    rm_json_string(w, "title", info->name);
    rm_json_string(w, "hash_xxh3_128", info->hash);
    rm_json_string(w, "architecture", info->arch);
    rm_json_uint(w, "parameters", info->n_params);
    rm_json_uint(w, "file_bytes", info->file_bytes);
    rm_json_string(w, "weights", info->weight_type);
    rm_json_string(w, "compute", info->compute);
    rm_json_string(w, "kv", info->kv);
    rm_json_int(w, "layers", info->n_layers);
    rm_json_int(w, "width", info->n_embd);
    rm_json_int(w, "heads", info->n_heads);
    rm_json_int(w, "kv_heads", info->n_kv_heads);
    rm_json_int(w, "vocabulary", info->n_vocab);
    rm_json_int(w, "context", info->n_ctx);
    rm_json_real(w, "flops_per_token", info->flops_per_token);
}

static void add_model(rm_json_writer *w, const char *name, const rm_model *model)
{
    const rm_model_info *info = rm_model_describe(model), *body = rm_model_replayed_on(model);
    rm_json_object(w, NULL);
    rm_json_string(w, "name", name);
    if (info->served) { /* all that is known of it */
        rm_json_string(w, "service", info->file);
        rm_json_string(w, "title", info->name);
        rm_json_string(w, "hash_xxh3_128", info->hash);
        rm_json_bool(w, "equal_bits_promised", false);
    } else {
        add_shape(w, info);
    }
    if (body) {
        rm_json_object(w, "replayed_on");
        add_shape(w, body);
        rm_json_end(w);
    }
    rm_json_end(w);
}

static const char *mode_name(rm_mode mode)
{
    return mode == RM_MODE_LATENCY      ? "latency"
           : mode == RM_MODE_THROUGHPUT ? "throughput"
                                        : "all";
}

static void add_settings(rm_json_writer *w, const rm_config *config, const rm_runner_options *o)
{
    char hash[17];
    snprintf(hash, sizeof hash, "%016" PRIx64, config->hash);
    rm_json_object(w, "settings");
    rm_json_string(w, "configuration", config->file);
    rm_json_string(w, "configuration_hash", hash);
    rm_json_string(w, "mode", mode_name(o->mode));
    rm_json_int(w, "problems", o->problems ? o->problems : config->problems);
    if (config->latency_problems || o->mode == RM_MODE_LATENCY)
        rm_json_uint(w, "latency_seed", config->seeds[0]); /* that phase uses the first one only */
    rm_json_int(w, "concurrency", rm_run_concurrency(config, o));
    rm_json_end(w);
}

rm_status rm_manifest_begin(rm_store *store, const rm_config *config, const rm_runner_options *o,
                            const rm_engine *engine, rm_model *const *models, int64_t *session,
                            rm_error *err)
{
    rm_text text = { 0 };
    rm_json_writer w = { .out = &text };
    rm_json_object(&w, NULL);
    add_program(&w, o->command);
    add_machine(&w);
    add_engine(&w, engine);
    rm_json_array(&w, "models");
    for (int i = 0; i < config->n_models; i++)
        add_model(&w, config->models[i].name, models[i]);
    rm_json_end(&w);
    add_settings(&w, config, o);
    rm_json_end(&w);
    rm_status status = text.failed ? rm_fail(err, RM_E_MEMORY, "no memory for the manifest")
                                   : rm_store_begin_session(store, text.data, session, err);
    rm_text_free(&text);
    return status ? status : rm_manifest_end(store, 0, NULL, err);
}

rm_status rm_manifest_imported(rm_store *store, const char *file, const char *command,
                               rm_error *err)
{
    rm_text text = { 0 };
    rm_json_writer w = { .out = &text };
    int64_t session;
    rm_json_object(&w, NULL);
    add_program(&w, command);
    rm_json_string(&w, "imported_from", file);
    rm_json_end(&w);
    rm_status status = text.failed ? rm_fail(err, RM_E_MEMORY, "no memory for the manifest")
                                   : rm_store_begin_session(store, text.data, &session, err);
    rm_text_free(&text);
    return status ? status : rm_manifest_end(store, session, "complete", err);
}

/* ---- the file ---------------------------------------------------------------------------- */

/* Tokens that all prompts of a task begin with and that were evaluated once for all outcomes
 * (runner.c): no wall_ms and no ttft_ms holds their prefill. */
static rm_status add_prefixes(rm_json_writer *w, rm_store *store, rm_error *err)
{
    sqlite3_stmt *rows = NULL;
    int code = SQLITE_DONE;
    rm_status status = rm_store_prepare(
        store, "SELECT value FROM meta WHERE key GLOB 'prefix *' ORDER BY key", &rows, err);
    if (status)
        return status;
    rm_json_array(w, "shared_prefixes");
    while ((code = sqlite3_step(rows)) == SQLITE_ROW)
        rm_json_raw(w, NULL, (const char *)sqlite3_column_text(rows, 0));
    rm_json_end(w);
    if (code != SQLITE_DONE)
        status = rm_store_fail(store, "read the shared prefixes", err);
    sqlite3_finalize(rows);
    return status;
}

/* One session, which the records hold in one line, as rm_json_writer sets the rest. */
static void put_indented(rm_text *out, const char *json, int depth)
{
    bool quoted = false;
    for (const char *c = json; *c; c++) {
        bool opens = strchr("{[", *c), closes = strchr("}]", *c);
        bool empty = opens && strchr("}]", c[1]);
        if (quoted) {
            quoted = *c != '"';
            rm_text_add(out, c, 1);
            if (*c == '\\' && c[1])
                rm_text_add(out, ++c, 1);
            continue;
        }
        quoted = *c == '"';
        if (closes && c > json && !strchr("{[", c[-1]))
            rm_text_printf(out, "\n%*s", 2 * --depth, "");
        rm_text_add(out, c, 1);
        if (opens && !empty)
            rm_text_printf(out, "\n%*s", 2 * ++depth, "");
        else if (*c == ',')
            rm_text_printf(out, "\n%*s", 2 * depth, "");
        else if (*c == ':')
            rm_text_puts(out, " ");
    }
}

rm_status rm_manifest_text(rm_store *store, rm_text *out, rm_error *err)
{
    sqlite3_stmt *rows = NULL;
    rm_json_writer w = { .out = out, .pretty = true };
    rm_text with = { 0 };
    int code = SQLITE_DONE;
    rm_status status = rm_store_prepare(
        store, "SELECT session, started, finished, ending, manifest FROM sessions ORDER BY session",
        &rows, err);
    if (status)
        return status;
    rm_json_object(&w, NULL);
    rm_json_string(&w, "format", "ramify run");
    rm_json_int(&w, "schema_version", RM_SCHEMA_VERSION);
    rm_json_array(&w, "sessions");
    while ((code = sqlite3_step(rows)) == SQLITE_ROW) {
        rm_json_object(&w, NULL);
        rm_json_string(&w, "started", (const char *)sqlite3_column_text(rows, 1));
        rm_json_string(&w, "finished", (const char *)sqlite3_column_text(rows, 2));
        rm_json_string(&w, "ending", (const char *)sqlite3_column_text(rows, 3));
        with.length = 0;
        put_indented(&with, (const char *)sqlite3_column_text(rows, 4), w.depth);
        rm_json_raw(&w, "with", with.failed ? "null" : with.data);
        out->failed = out->failed || with.failed;
        rm_json_end(&w);
    }
    rm_json_end(&w);
    if (code != SQLITE_DONE)
        status = rm_store_fail(store, "read the sessions", err);
    else
        status = add_prefixes(&w, store, err);
    rm_json_end(&w);
    rm_text_puts(out, "\n");
    if (!status && out->failed)
        status = rm_fail(err, RM_E_MEMORY, "no memory for the manifest");
    sqlite3_finalize(rows);
    rm_text_free(&with);
    return status;
}

rm_status rm_manifest_end(rm_store *store, int64_t session, const char *ending, rm_error *err)
{
    rm_text text = { 0 };
    char *path = rm_store_path(store, "manifest.json");
    rm_status status = path ? RM_OK : rm_fail(err, RM_E_MEMORY, "no memory for the manifest");
    if (!status && ending)
        status = rm_store_end_session(store, session, ending, err);
    if (!status)
        status = rm_manifest_text(store, &text, err);
    if (!status)
        status = rm_file_write(path, text.data, text.length, err);
    rm_text_free(&text);
    free(path);
    return status;
}
