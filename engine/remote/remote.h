/* remote.h - a model behind an OpenAI-compatible server (vLLM, SGLang, llama-server), as a service of the
 * engine (engine.h, rm_service).
 *
 *     POST {url}/completions        { "model", "prompt", "max_tokens", "temperature", "top_p", "seed",
 *                                     "stop", "logprobs", "n", "stream" } and, where they are not off,
 *                                   extensions of the three, such as "top_k" and "min_p" (request.c)
 *     POST {url}/chat/completions   the same with "messages": for servers that have nothing else. A
 *                                   text can then be begun, not continued, and what the model reads is
 *                                   known to the server only
 *     GET  {url}/models             once, when the model is opened: is it there?
 *
 * Requests run side by side (libcurl's multi interface), on the caller's thread. Answers are streamed
 * unless that is off: then the first token's time is measured, a long answer may take any time as
 * long as something keeps arriving, and what had arrived when a connection broke is counted
 * (rm_model_traffic), though the request is made again from its beginning.
 *
 * What may pass, is tried again: no connection, a time-out, a closed connection, 408, 429, 5xx, an
 * answer that is not understood. The wait doubles each time and is spread by Philox, a Retry-After is
 * honoured. What cannot pass fails at once. Failures are RM_E_IO where the server is at fault (a run
 * ends there and can be resumed), RM_E_LIMIT where it refuses this one prompt (400, 413, 422),
 * RM_E_FORMAT where its answers make no sense. Redirections are not followed. Proxies are those of the
 * environment (https_proxy, no_proxy), certificates are checked against the system's.
 *
 * The key comes from an environment variable and is in no message, manifest or record. */
#ifndef RM_ENGINE_REMOTE_H
#define RM_ENGINE_REMOTE_H

#include "engine/engine.h"

typedef struct rm_remote_options {
    const char *url;         /* "http://localhost:8000/v1" */
    const char *model;       /* the server's name for it; NULL: the one it has */
    const char *api_key_env; /* name of the variable that holds the key; NULL: none is sent */
    int concurrency;         /* most requests at once; 0: 16 */
    double timeout_s;        /* of one attempt, or of silence in a stream; 0: 600 */
    int retries;             /* attempts after the first; -1: none, 0: 5 */
    double backoff_s;        /* first wait before trying again; 0: 0.5 */
    int choices;             /* most samples of one prompt in one request ("n"); 0: 1. With more, a
                                server that keeps no prompts evaluates them once, and only the first
                                sample's seed is sent */
    bool no_logprobs;        /* do not ask for log-probabilities: candidates have none */
    bool no_stream;          /* answers come whole */
    bool chat;               /* chat completions */
    bool no_extensions;      /* send nothing that OpenAI's interface does not have */
    int most_top;            /* most next tokens that the server lists (top_logprobs); 0: none */
    const char *end_token;   /* how the server spells the end token, "</s>", in such a list or at the end
                                of a text with special tokens written out; NULL: as nothing */
} rm_remote_options;

/* Checks the options, looks whether server and model are there, and makes the model. */
RM_API rm_status rm_remote_open(rm_engine *, const rm_remote_options *, rm_model **, rm_error *);

/* Checks what can be checked without a server. */
RM_API rm_status rm_remote_check(const rm_remote_options *, rm_error *);

#endif
