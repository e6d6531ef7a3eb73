/* private.h - the two halves of a remote model: transfers (transfer.c) and the protocol
 * (completions.c). */
#ifndef RM_ENGINE_REMOTE_PRIVATE_H
#define RM_ENGINE_REMOTE_PRIVATE_H

#include "base/json.h"
#include "engine/remote/remote.h"

/* A span that was asked for, copied. */
typedef struct remote_call {
    struct remote_call *next;
    uint64_t ticket;         /* 0: cancelled */
    char *prompt;
    size_t n_prompt;
    rm_sampling sampling;
    int max_new_tokens;
    char **stops;            /* [n_stops] */
    int n_stops;
    uint64_t seed;
} remote_call;

rm_status remote_call_new(uint64_t ticket, const rm_service_span *, remote_call **, rm_error *);
void remote_call_free(remote_call *);
/* May both be samples of one request? */
bool remote_call_alike(const remote_call *, const remote_call *);

/* The body of a request for n samples like `call`. */
void remote_request_write(const rm_remote_options *, const char *model, const remote_call *call,
                          int n, rm_text *body);

/* A response of n choices, read and checked. */
typedef struct remote_choice {
    rm_service_piece *pieces;
    double *lp;
    rm_service_result result;
} remote_choice;

typedef struct remote_response {
    rm_json *json;           /* texts point into it */
    remote_choice *choices;  /* [n] */
    int n;
} remote_response;

rm_status remote_response_read(const rm_remote_options *, const remote_call *call, int n,
                               const char *body, size_t size, remote_response *, rm_error *);
void remote_response_free(remote_response *);

/* What a server says of an error, short and on one line; "" if nothing. */
void remote_error_message(const char *body, size_t size, char *out, size_t n_out);

/* The model to ask for: `wanted` if the list has it, or the only one there is; malloc'd. */
rm_status remote_models_read(const char *body, size_t size, const char *wanted, char **model,
                             rm_error *);

#endif
