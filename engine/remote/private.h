/* private.h - the parts of a remote model: requests written (request.c), events of a stream taken apart
 * (events.c), responses gathered and checked (response.c), transfers (transfer.c). */
#ifndef RM_ENGINE_REMOTE_PRIVATE_H
#define RM_ENGINE_REMOTE_PRIVATE_H

#include "base/json.h"
#include "engine/remote/remote.h"

/* ---- requests ----------------------------------------------------------------------------- */

/* A span that was asked for, or a list of next tokens; copied. */
typedef struct remote_call {
    struct remote_call *next;
    uint64_t ticket;         /* 0: cancelled */
    char *prompt;
    size_t n_prompt;
    rm_sampling sampling;
    int max_new_tokens;
    int k;                   /* > 0: the k most likely next tokens */
    char **stops;            /* [n_stops] */
    int n_stops;
    bool endless;            /* the end token is not to end it */
    uint64_t seed;
} remote_call;

/* Refuses what no server of this kind can be asked for. */
rm_status remote_call_new(const rm_remote_options *, uint64_t ticket, const rm_service_span *,
                          remote_call **, rm_error *);
void remote_call_free(remote_call *);
/* May both be samples of one request? */
bool remote_call_alike(const remote_call *, const remote_call *);
/* Is the answer to it to be streamed? */
bool remote_call_streams(const rm_remote_options *, const remote_call *);

/* The body of a request for n samples like `call`. */
void remote_request_write(const rm_remote_options *, const char *model, const remote_call *call,
                          int n, rm_text *body);

/* ---- streams ------------------------------------------------------------------------------ */

/* Server-sent events (WHATWG HTML, 9.2), of which only `data` matters here. Zero-initialise. */
typedef struct remote_events {
    rm_text line, data;      /* of the line and the event that are not complete yet */
    bool has_data;           /* the event has a data field, perhaps an empty one */
    bool after_cr;           /* a line ended in CR: a LF that follows belongs to it */
    bool begun;              /* a byte-order mark can no longer come */
} remote_events;

/* Called with the data of each complete event; anything but RM_OK ends the reading. */
typedef rm_status remote_event(void *arg, const char *data, size_t n, rm_error *);

/* Takes the next bytes, cut anywhere. An event, or a line of one, of more than 64 MiB is RM_E_FORMAT. */
rm_status remote_events_feed(remote_events *, const char *bytes, size_t n, remote_event *, void *arg,
                             rm_error *);
void remote_events_free(remote_events *);

/* ---- responses ---------------------------------------------------------------------------- */

/* One of the most likely tokens. */
typedef struct remote_top {
    char *bytes;
    size_t n;
    double lp;
    int order;               /* as listed */
} remote_top;

/* What has come of one choice, and what it is once all has come. */
typedef struct remote_choice {
    rm_text text;            /* generated */
    rm_text spelled;         /* its tokens' texts, one after the other */
    size_t *ends;            /* [n_tokens] where each ends in `spelled` */
    double *token_lp;        /* [n_tokens] */
    int n_tokens, capacity;
    bool lists_tokens;       /* it came with a list of tokens, perhaps an empty one */
    bool thinking;           /* a thought that came apart from the answer is open */
    bool ended, stopped;     /* finish_reason has come; it is "stop" */
    int stop;                /* told: index of a stop string, -2 the end token; -1: not told */
    remote_top *top;         /* [n_top] of the first token, by falling lp */
    int n_top;
    rm_service_piece *pieces;
    double *lp;
    rm_service_result result;
} remote_choice;

typedef struct remote_response {
    const rm_remote_options *options;
    const remote_call *call;
    remote_choice *choices;  /* [n] */
    int n;
    int64_t prompt_tokens, cached_tokens, completion_tokens; /* -1: not told */
    double first_token_s;    /* 0: none has come */
    bool done;               /* "[DONE]" has come */
} remote_response;

rm_status remote_response_begin(const rm_remote_options *, const remote_call *call, int n,
                                remote_response *, rm_error *);
/* Takes a whole response, or one chunk of a streamed one. */
rm_status remote_response_add(remote_response *, const char *json, size_t size, bool chunk, rm_error *);
/* The data of one event: a chunk, or [DONE]. `arg` is the response. */
rm_status remote_response_event(void *arg, const char *data, size_t n, rm_error *);
/* Nothing more comes: checks that all of it is there and makes the results. */
rm_status remote_response_end(remote_response *, rm_error *);
/* Tokens that have come so far, of all choices; pieces of text where the server lists none. */
uint64_t remote_response_tokens(const remote_response *);
void remote_response_free(remote_response *);

/* A whole response: begin, add, end. */
rm_status remote_response_read(const rm_remote_options *, const remote_call *call, int n,
                               const char *body, size_t size, remote_response *, rm_error *);

/* ---- other answers ------------------------------------------------------------------------ */

/* What a server says of an error, short and on one line; "" if nothing. */
void remote_error_message(const char *body, size_t size, char *out, size_t n_out);

/* The model to ask for: `wanted` if the list has it, or the only one there is; malloc'd. */
rm_status remote_models_read(const char *body, size_t size, const char *wanted, char **model,
                             rm_error *);

#endif
