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
    int32_t token[ROWS] = { 0 }, position[ROWS] = { PROMPT, PROMPT, PROMPT, PROMPT }, live = PATHS;
    float *logits = on_device(rows, sizeof rows);
    rm_pick_result *result = on_device(NULL, PATHS * sizeof *result);
    int32_t *d_token = on_device(token, sizeof token), *d_live = on_device(&live, sizeof live),
            *d_position = on_device(position, sizeof position),
            *stop = on_device(stops, sizeof stops), *history[PATHS];
    rm_pick_result *drawn[PATHS];
    rm_pick_item *d_item = NULL;
    for (int i = 0; i < PATHS; i++) {
        for (int j = 0; j < PROMPT; j++)
            want[i].tokens[want[i].length++] = (i * 7 + j) % V;
        history[i] = on_device(want[i].tokens, sizeof want[i].tokens);
        drawn[i] = on_device(NULL, STEPS * sizeof *drawn[i]);
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
                                    .position = d_position + r, .leads = r < PATHS,
                                    .left = limit[i], .stop = stop,
                                    .n_stop = sizeof stops / sizeof *stops,
                                    .history = history[i], .drawn = drawn[i] };
    }
    rm_pick_args picks = { .item = d_item, .scratch = on_device(NULL, 2 * rm_pick_slot_bytes(V)),
                           .n_items = PATHS, .n_slots = 2, .n_vocab = V };
    rm_span_args span = { .entry = on_device(entry, sizeof entry), .n_live = d_live, .n = ROWS };
    for (int step = 0; step < STEPS; step++) { /* more steps than some paths have */
        cr_assert_eq(rm_launch_picks(&picks, NULL), 0);
        cr_assert_eq(rm_launch_span_step(&span, NULL), 0);
    }
    from_device(entry, span.entry, sizeof entry);
    from_device(position, d_position, sizeof position);
    from_device(&live, d_live, sizeof live);
    cr_expect_eq(live, 0);
    for (int i = 0; i < PATHS; i++) {
        from_device(got[i].tokens, history[i], sizeof got[i].tokens);
        from_device(got[i].drawn, drawn[i], sizeof got[i].drawn);
        cr_expect_eq(entry[i].n_done, want[i].n_drawn, "path %d: %d tokens", i, entry[i].n_done);
        cr_expect_eq(memcmp(got[i].tokens, want[i].tokens, (size_t)want[i].length * 4), 0);
        cr_expect_eq(memcmp(got[i].drawn, want[i].drawn, sizeof want[i].drawn), 0, "path %d", i);
        cr_expect(entry[i].stopped);
    }
    cr_expect_eq(entry[3].n_done, entry[2].n_done, "members move together");
    for (int r = 0; r < ROWS; r++)
        cr_expect_eq(position[r], -1, "row %d is padding", r);
    for (int i = 0; i < PATHS; i++) {
        device_free(history[i]);
        device_free(drawn[i]);
    }
    device_free(logits);
    device_free(result);
    device_free(d_token);
    device_free(d_position);
    device_free(d_live);
    device_free(stop);
    device_free(d_item);
    device_free(picks.scratch);
    device_free(span.entry);
}
