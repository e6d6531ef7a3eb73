/* account.c - the cost of a run, counted from its own tree.
 *
 * A round is one step of all requests of an rm_eval: a span that draws n tokens takes n, a prompt
 * of any length is evaluated in one, and requests made together advance together. Per model and
 * round:
 *
 *   weights   all but the output matrix are read if any row is evaluated, the output matrix if any
 *             distribution is wanted (a first token drawn from a tip reads only that)
 *   cache     the distinct positions that the evaluated rows look at, read once
 *   flops     rows * flops_per_token + distributions * flops_output
 *             + sum over rows of positions looked at * flops_per_position
 *
 * Under a sliding window a row looks at the window only. What is read, and what is held, are then
 * the distinct positions that some window of the round covers: a path that does not evaluate holds
 * what its next row will look at.
 *
 * A round counts as a dependent forward pass if any row is evaluated in it. So the account is the
 * same whether a prompt is evaluated first and forked, or sampled from at once. Nothing here
 * knows about batches, pages, prefixes or suspension. */
#include "engine/account.h"

#include "engine/tree.h"

#include <limits.h>
#include <math.h>

/* Samples that a service drew: what can be said of some of them is how many tokens they have. */
static rm_cost cost_of_served(const int *n_generated, int n)
{
    rm_cost cost = { .prompt_tokens = RM_NOT_COUNTED, .evaluated_tokens = RM_NOT_COUNTED,
                     .shared_tokens = RM_NOT_COUNTED, .rounds = RM_NOT_COUNTED,
                     .kv_peak_positions = RM_NOT_COUNTED, .flops = NAN, .weight_bytes = NAN,
                     .kv_bytes = NAN, .wall_ms = NAN, .ttft_ms = NAN, .load = NAN,
                     .energy_j = NAN };
    for (int i = 0; i < n; i++)
        cost.generated_tokens += n_generated[i] > 0 ? (uint64_t)n_generated[i] : 0;
    return cost;
}

/* Where `key` is in a set at most half full, or would go. */
static size_t root_at(const uint64_t *roots, size_t capacity, uint64_t key)
{
    size_t i = (size_t)key & (capacity - 1);
    while (roots[i] && roots[i] != key)
        i = (i + 1) & (capacity - 1);
    return i;
}

static rm_status roots_grow(rm_run *run, rm_error *err)
{
    size_t capacity = run->root_capacity ? 2 * run->root_capacity : 16;
    uint64_t *roots = rm_arena_alloc(&run->life, capacity * sizeof *roots);
    if (!roots)
        return rm_fail(err, RM_E_MEMORY, "no memory to account for another prompt");
    for (size_t i = 0; i < run->root_capacity; i++)
        if (run->roots[i])
            roots[root_at(roots, capacity, run->roots[i])] = run->roots[i];
    run->roots = roots;
    run->root_capacity = capacity;
    return RM_OK;
}

rm_status rm_account_prompt(rm_run *run, const rm_path *path, rm_error *err)
{
    uint64_t prompt = rm_hash_bytes(path->tokens, (size_t)path->n_prompt * sizeof *path->tokens);
    uint64_t key = rm_mix(prompt, (uint64_t)path->usage);
    key += !key;
    if (2 * (run->n_roots + 1) > run->root_capacity) {
        rm_status status = roots_grow(run, err);
        if (status)
            return status;
    }
    size_t at = root_at(run->roots, run->root_capacity, key);
    if (run->roots[at])
        return RM_OK;
    run->roots[at] = key;
    run->n_roots++;
    run->usage[path->usage].prompt_tokens += (uint64_t)path->n_prompt;
    return RM_OK;
}

uint64_t rm_usage_held(const rm_run *run, int usage)
{
    const rm_usage *u = &run->usage[usage];
    return u->model->weights->info.window > 0 ? rm_tree_seen(run, usage, false) : u->held;
}

void rm_account_round(rm_run *run)
{
    bool any = false;
    uint64_t held = 0;
    for (int i = 0; i < run->n_usages; i++) {
        rm_usage *usage = &run->usage[i];
        bool window = usage->model->weights->info.window > 0;
        if (usage->body) {
            usage->body_rounds++;
            usage->kv_positions += window ? rm_tree_seen(run, i, true) : usage->active;
            any = true;
        }
        usage->output_rounds += usage->output;
        usage->body = usage->output = false;
        held += rm_usage_held(run, i);
    }
    run->rounds += any;
    if (held > run->peak_positions)
        run->peak_positions = held;
}

/* Adds what one model's usage costs. */
static void add_usage(rm_cost *cost, const rm_usage *usage)
{
    const rm_model *model = usage->model->body ? usage->model->body : usage->model;
    const rm_model_info *info = &model->weights->info;
    cost->prompt_tokens += usage->prompt_tokens;
    cost->evaluated_tokens += usage->rows;
    cost->flops += (double)usage->rows * info->flops_per_token +
                   (double)usage->outputs * info->flops_output +
                   (double)usage->looked * info->flops_per_position;
    cost->weight_bytes += (double)usage->body_rounds * (double)model->body_bytes +
                          (double)usage->output_rounds * (double)model->output_bytes;
    cost->kv_bytes += (double)usage->kv_positions * (double)info->kv_position_bytes;
}

/* ---- energy --------------------------------------------------------------------------------
 *
 * A device counts its joules, whatever they were spent on. Those of the time between two readings go to
 * the runs by the rows they had evaluated in it; what it used while it stood idle goes to nobody.
 * A reading takes longer than a small pass and changes every few hundredths of a second, so
 * it is taken no more often than that, and whenever an account is asked for. */

static const double energy_every_s = 0.02, energy_idle_s = 0.005;

static double read_energy(rm_engine *engine)
{
    engine->energy_s = rm_now_s();
    return engine->ops->energy ? engine->ops->energy(engine->backend) : (double)NAN;
}

void rm_energy_begin(rm_engine *engine)
{
    if (engine->ops->energy && !engine->energy_rows &&
        rm_now_s() - engine->energy_s > energy_idle_s)
        engine->energy_j = read_energy(engine);
}

void rm_energy_divide(rm_engine *engine, bool now)
{
    if (!engine->ops->energy || !engine->energy_rows ||
        (!now && rm_now_s() - engine->energy_s < energy_every_s))
        return;
    double joules = read_energy(engine), each = (joules - engine->energy_j) /
                                                (double)engine->energy_rows;
    engine->energy_j = joules;
    for (rm_run *run = engine->first_run; run; run = run->next) {
        run->energy_j += each * (double)run->energy_rows;
        run->energy_rows = 0;
    }
    engine->energy_rows = 0;
}

rm_cost rm_run_cost(const rm_run *run)
{
    rm_energy_divide(run->engine, true);
    rm_cost cost = { .generated_tokens = run->generated,
                     .shared_tokens = run->shared,
                     .rounds = run->rounds,
                     .kv_peak_positions = run->peak_positions,
                     .energy_j = run->engine->ops->energy ? run->energy_j : (double)NAN };
    for (int i = 0; i < run->n_usages; i++)
        add_usage(&cost, &run->usage[i]);
    if (run->served) { /* what is computed elsewhere is not known here */
        if (!run->prompt_told)
            cost.prompt_tokens = RM_NOT_COUNTED;
        if (run->uncounted)
            cost.generated_tokens = RM_NOT_COUNTED;
        cost.evaluated_tokens = cost.shared_tokens = cost.rounds = RM_NOT_COUNTED;
        cost.kv_peak_positions = RM_NOT_COUNTED;
        cost.flops = cost.weight_bytes = cost.kv_bytes = cost.energy_j = NAN;
    }
    double now = run->ended_s > 0.0 ? run->ended_s : rm_engine_now(run->engine);
    cost.wall_ms = 1e3 * (now - run->started_s);
    cost.ttft_ms = run->first_token_s > 0.0 ? 1e3 * (run->first_token_s - run->started_s) : NAN;
    cost.load = run->load_rounds ? run->load_sum / (double)run->load_rounds : NAN;
    return cost;
}

/* The same under a sliding window, round by round. In round t the samples still running look from
 * position prompt + t - window on; the others hold what their next row would. */
static rm_cost windowed_samples(rm_cost cost, rm_usage *usage, int n_prompt, const int *n_generated,
                                int n, int window)
{
    int longest = 0, shortest = INT_MAX, drawn = 0;
    uint64_t prompt = (uint64_t)n_prompt, peak = prompt;
    for (int i = 0; i < n; i++) {
        longest = n_generated[i] > longest ? n_generated[i] : longest;
        shortest = n_generated[i] > 0 && n_generated[i] < shortest ? n_generated[i] : shortest;
        drawn += n_generated[i] > 0;
    }
    usage->kv_positions = prompt;
    for (int t = 1; t < longest; t++) {
        uint64_t read = 0, held = 0;
        for (int i = 0; i < n; i++) {
            int g = n_generated[i];
            if (g > t)
                read += (uint64_t)(t < window ? t : window);
            else if (g > 0)
                held += (uint64_t)(g - 1 < window - 1 ? g - 1 : window - 1);
        }
        int behind = t - window, all_behind = (t < shortest ? t : shortest) - window;
        uint64_t seen = behind <= -n_prompt ? prompt : behind < 0 ? (uint64_t)-behind : 0;
        uint64_t kept = all_behind <= -n_prompt ? prompt : all_behind < 0 ? (uint64_t)-all_behind : 0;
        usage->kv_positions += seen + read;
        if (kept + read + held > peak)
            peak = kept + read + held;
    }
    cost.rounds = (uint64_t)longest;
    cost.shared_tokens = ((uint64_t)drawn - 1) * prompt;
    cost.kv_peak_positions = peak;
    add_usage(&cost, usage);
    return cost;
}

rm_cost rm_cost_of_samples(const rm_model *model, int n_prompt, const int *n_generated, int n)
{
    rm_usage usage = { .model = (rm_model *)model };
    rm_cost cost = { .wall_ms = NAN, .ttft_ms = NAN, .load = NAN, .energy_j = NAN };
    if (model->served)
        return cost_of_served(n_generated, n);
    int longest = 0, window = model->weights->info.window;
    int drawn = 0; /* samples with a token at all */
    uint64_t prompt = (uint64_t)n_prompt, own = 0;
    for (int i = 0; i < n; i++) {
        if (n_generated[i] < 1)
            continue;
        uint64_t rows = (uint64_t)n_generated[i] - 1; /* the last token is never evaluated */
        drawn++;
        own += rows;
        cost.generated_tokens += rows + 1;
        usage.outputs += rows;
        usage.looked += rm_positions_looked(prompt, rows, window);
        if (n_generated[i] > longest)
            longest = n_generated[i];
    }
    if (!drawn)
        return cost;
    /* The prompt: one round of n_prompt rows, and one distribution for all first tokens. */
    usage.prompt_tokens = prompt;
    usage.rows = prompt + own;
    usage.outputs++;
    usage.looked += rm_positions_looked(0, prompt, window);
    usage.body_rounds = usage.output_rounds = (uint64_t)longest;
    usage.kv_positions = prompt;
    /* Round t reads the prompt and what the samples still running have drawn: t rows each. A
     * sample of g tokens runs in rounds 1 .. g-1, so it adds 1 + 2 + ... + (g-1). */
    usage.kv_positions += prompt * ((uint64_t)longest - 1);
    for (int i = 0; i < n; i++)
        if (n_generated[i] > 1) {
            uint64_t rows = (uint64_t)n_generated[i] - 1;
            usage.kv_positions += rows * (rows + 1) / 2;
        }
    if (window > 0)
        return windowed_samples(cost, &usage, n_prompt, n_generated, n, window);
    cost.rounds = (uint64_t)longest;
    cost.shared_tokens = ((uint64_t)drawn - 1) * prompt;
    cost.kv_peak_positions = prompt + own;
    add_usage(&cost, &usage);
    return cost;
}
