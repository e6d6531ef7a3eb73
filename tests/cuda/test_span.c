/* Spans on the device, emulated or real: draw and step without the host between, against the CPU's picks one
 * after another. Three paths draw from fixed rows with a penalty on what they drew before, so that
 * index and history count; the third draws from two members, whose rows move together. */
#include "tests/cuda/device_memory.h"

#include "engine/pick.h"

enum { V = 97, PATHS = 3, ROWS = 4, STEPS = 9, PROMPT = 5, ROOM = 32 };

typedef struct path {
    int32_t tokens[ROOM];
    int length;
    rm_pick_result drawn[STEPS];
    int n_drawn;
} path;

static float rows[ROWS][V];
static const int32_t stops[] = { 3, 11, 60, 61, 62 };
static const int limit[PATHS] = { STEPS, 4, STEPS };
static const rm_sampling sampling = { true, 1.2, 0, 0.97, 0, 1, 1.3 };

static bool stops_at(int32_t token)
{
    for (size_t i = 0; i < sizeof stops / sizeof *stops; i++)
        if (stops[i] == token)
            return true;
    return false;
}

/* The span as the host would draw it. */
static void on_host(path *p, int which)
{
    void *memory = aligned_alloc(64, (rm_pick_scratch_bytes(V) + 63) / 64 * 64);
    for (int i = 0; i < limit[which]; i++) {
        rm_pick_result *to = &p->drawn[p->n_drawn++];
        bool no_numbers = false;
        rm_pick pick = { .want = RM_WANT_SPAN, .n_members = which == 2 ? 2 : 1,
                         .combine = RM_COMBINE_MIXTURE, .n_vocab = V, .sampling = &sampling,
                         .seed = 5, .stream = (uint64_t)which, .index = (uint32_t)p->length,
                         .history = p->tokens, .n_history = p->length, .out_tokens = &to->token,
                         .out_lp = &to->lp, .out_lp_sampling = &to->lp_sampling,
                         .out_no_numbers = &no_numbers };
        pick.member[0].weight = pick.member[1].weight = 1;
        const float *of[RM_MAX_MEMBERS] = { rows[which], rows[3] };
        rm_pick_serve(&pick, of, &rm_row_kernels_portable, memory);
        p->tokens[p->length++] = to->token;
        if (stops_at(to->token))
            break;
    }
    free(memory);
}

Test(span, draws_what_the_host_would_draw)
{
    static path want[PATHS], got[PATHS];
    for (int r = 0; r < ROWS; r++)
        for (int v = 0; v < V; v++)
            rows[r][v] = 4.0f * value_at((uint64_t)r, (size_t)v);
    rm_pick_item item[PATHS];
    rm_span_entry entry[ROWS];
    int32_t token[ROWS] = { 0 }, position[ROWS] = { PROMPT, PROMPT, PROMPT, PROMPT };
    int32_t gone[PATHS] = { 0 };
    float *logits = on_device(rows, sizeof rows);
    rm_pick_result *result = on_device(NULL, PATHS * sizeof *result);
    int32_t *d_token = on_device(token, sizeof token), *d_gone = on_device(gone, sizeof gone),
            *d_position = on_device(position, sizeof position),
            *stop = on_device(stops, sizeof stops), *history[PATHS];
    rm_pick_item *d_item = NULL;
    for (int i = 0; i < PATHS; i++) {
        for (int j = 0; j < PROMPT; j++)
            want[i].tokens[want[i].length++] = (i * 7 + j) % V;
        history[i] = on_device(want[i].tokens, sizeof want[i].tokens);
        item[i] = (rm_pick_item){ .row = { logits + i * V, logits + 3 * V }, .weight = { 1, 1 },
                                  .want = RM_CUDA_SPAN, .n_members = i == 2 ? 2 : 1, .n_vocab = V,
                                  .do_sample = 1, .temperature = 1.2, .top_p = 0.97,
                                  .typical_p = 1, .repetition_penalty = 1.3, .seed = 5,
                                  .stream = (uint64_t)i, .index = PROMPT, .n_history = PROMPT,
                                  .history = history[i], .result = result + i };
        on_host(&want[i], i);
    }
    d_item = on_device(item, sizeof item);
    for (int r = 0; r < ROWS; r++) {
        int i = r < PATHS ? r : 2; /* row 3 is the other member of path 2 */
        entry[r] = (rm_span_entry){ .pick = d_item + i, .token = d_token + r,
                                    .position = d_position + r, .gone = d_gone + i,
                                    .leads = r < PATHS, .left = limit[i], .stop = stop,
                                    .n_stop = sizeof stops / sizeof *stops,
                                    .history = history[i] };
    }
    rm_pick_args picks = { .item = d_item, .scratch = on_device(NULL, 2 * rm_pick_slot_bytes(V)),
                           .n_items = PATHS, .n_slots = 2, .n_vocab = V };
    rm_span_args span = { .entry = on_device(entry, sizeof entry), .n = ROWS };
    for (int step = 0; step < STEPS; step++) { /* more steps than some paths have */
        rm_pick_result at_once[PATHS];
        cr_assert_eq(rm_launch_picks(&picks, NULL), 0);
        from_device(at_once, result, sizeof at_once);
        for (int i = 0; i < PATHS; i++)
            if (entry[i].left > 0)
                got[i].drawn[got[i].n_drawn++] = at_once[i];
        cr_assert_eq(rm_launch_span_step(&span, NULL), 0);
        from_device(entry, span.entry, sizeof entry);
        cr_expect_eq(entry[3].left, entry[2].left, "members move together");
    }
    from_device(position, d_position, sizeof position);
    from_device(token, d_token, sizeof token);
    for (int i = 0; i < PATHS; i++) {
        int n = want[i].n_drawn, kept = want[i].length - 1; /* the last token goes nowhere */
        from_device(got[i].tokens, history[i], sizeof got[i].tokens);
        cr_expect_eq(got[i].n_drawn, n, "path %d: %d tokens", i, got[i].n_drawn);
        cr_expect_eq(memcmp(got[i].tokens, want[i].tokens, (size_t)kept * 4), 0);
        cr_expect_eq(memcmp(got[i].drawn, want[i].drawn, sizeof want[i].drawn), 0, "path %d", i);
        cr_expect_eq(entry[i].left, 0);
    }
    for (int r = 0; r < ROWS; r++)
        cr_expect(position[r] == -1 && token[r] == -1, "row %d is padding", r);
    for (int i = 0; i < PATHS; i++) {
        device_free(history[i]);
    }
    device_free(logits);
    device_free(result);
    device_free(d_token);
    device_free(d_position);
    device_free(d_gone);
    device_free(stop);
    device_free(d_item);
    device_free(picks.scratch);
    device_free(span.entry);
}

/* A path that the host wants no more of is padding from the next step on; the others are not. */
Test(span, leaves_when_it_is_told)
{
    enum { N = 3 };
    rm_pick_result result[N] = { { .token = 7 }, { .token = 8 }, { .token = 9, .no_numbers = 1 } };
    rm_pick_item item[N];
    rm_span_entry entry[N];
    int32_t token[N] = { 1, 2, 3 }, position[N] = { 4, 5, 6 }, gone[N] = { 1, 0, 0 };
    rm_pick_result *d_result = on_device(result, sizeof result);
    int32_t *d_token = on_device(token, sizeof token), *d_gone = on_device(gone, sizeof gone),
            *d_position = on_device(position, sizeof position);
    for (int i = 0; i < N; i++)
        item[i] = (rm_pick_item){ .want = RM_CUDA_SPAN, .index = 5, .result = d_result + i };
    rm_pick_item *d_item = on_device(item, sizeof item);
    for (int i = 0; i < N; i++)
        entry[i] = (rm_span_entry){ .pick = d_item + i, .token = d_token + i,
                                    .position = d_position + i, .gone = d_gone + i, .leads = 1,
                                    .left = 9 };
    rm_span_args span = { .entry = on_device(entry, sizeof entry), .n = N };
    cr_assert_eq(rm_launch_span_step(&span, NULL), 0);
    from_device(entry, span.entry, sizeof entry);
    from_device(item, d_item, sizeof item);
    from_device(token, d_token, sizeof token);
    from_device(position, d_position, sizeof position);
    for (int i = 0; i < N; i++) {
        cr_expect_eq(entry[i].left, i == 1 ? 8 : 0, "path %d", i);
        cr_expect_eq(item[i].want, i == 1 ? RM_CUDA_SPAN : -1, "path %d", i);
        cr_expect_eq(token[i], i == 1 ? 8 : -1, "path %d", i);
        cr_expect_eq(position[i], i == 1 ? 6 : -1, "path %d", i);
    }
    cr_expect_eq(item[1].index, 6);
    device_free(d_result);
    device_free(d_token);
    device_free(d_gone);
    device_free(d_position);
    device_free(d_item);
    device_free(span.entry);
}
