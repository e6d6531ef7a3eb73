/* task.c - what all tasks share: keys, splits, duplicates, problems on demand, answers, grades.
 *
 * Problem i of a generated task is the first draft (seed, i, attempt = 0, 1, 2, ...) that lies in
 * the split and equals none of the problems before it nor a few-shot example. It follows from
 * the seed and i alone, and the first n problems are the same however many are asked for.
 *
 * Splits. A problem belongs to one of ten buckets by its canonical hash, whatever task or seed it
 * came from: 0 to 4 test, 5 and 6 tune, 7 to 9 train. So what was tuned or trained on one split
 * never meets the problems of another. */
#define _GNU_SOURCE
#include "experiments/task.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "experiments/tasks/kinds.h"

/* Attempts to find one more new problem before the task is declared exhausted. */
enum { MAX_ATTEMPTS = 5000 };

static const rm_kind *const kinds[] = {
    &rm_kind_arithmetic, &rm_kind_countdown, &rm_kind_jsonl, &rm_kind_game24,
};
enum { N_KINDS = sizeof kinds / sizeof *kinds };

static const char *const split_names[] = { "all", "test", "tune", "train", NULL };
static const char *const chat_names[] = { "none", "chatml", "llama3", "mistral", "model", NULL };

/* Keys that only files need, read beside the common ones. */
typedef struct common {
    rm_format format;
    int first, count;
} common;

#define FIELD(name) offsetof(common, name)
#define FORMAT(name) offsetof(common, format.name)
static const rm_key common_keys[] = {
    { "name", RM_KEY_STRING, FORMAT(name), 0, 0, NULL, "what figures call it (the kind)" },
    { "kind", RM_KEY_STRING, FORMAT(kind), 0, 0, NULL, "one of the kinds below" },
    { "seed", RM_KEY_SEED, FORMAT(seed), 0, 0, NULL, "of generated problems (1)" },
    { "split", RM_KEY_CHOICE, FORMAT(split), 0, 0, split_names,
      "all, test, tune or train: disjoint parts (generated: test; files: all)" },
    { "first", RM_KEY_INT, FIELD(first), 1, 10000000, NULL,
      "files: number of the first problem to use (1)" },
    { "count", RM_KEY_INT, FIELD(count), 1, 10000000, NULL,
      "files: how many problems from there (all)" },
    { "prompt", RM_KEY_STRING, FORMAT(prompt), 0, 0, NULL,
      "template of the prompt; {question} and other fields are filled in" },
    { "system", RM_KEY_STRING, FORMAT(system), 0, 0, NULL, "text in front of everything" },
    { "reply_prefix", RM_KEY_STRING, FORMAT(reply_prefix), 0, 0, NULL,
      "how the answer begins: put behind the prompt, to be gone on with" },
    { "chat", RM_KEY_CHOICE, FORMAT(chat), 0, 0, chat_names,
      "markup of a chat model: none, chatml, llama3, mistral; model: its own template" },
    { "chat_template", RM_KEY_STRING, FORMAT(chat_template), 0, 0, NULL,
      "instead of the model's own: chatml, llama-3, deepseek-r1, mistral, llama-2, or a file" },
    { "template_variables", RM_KEY_ANY, FORMAT(template_variables), 0, 0, NULL,
      "object: variables of the chat template, as {\"enable_thinking\": false}" },
    { "date", RM_KEY_STRING, FORMAT(date), 0, 0, NULL,
      "the day that the chat template is told, 2026-01-31 (none: it has no clock)" },
    { "few_shot", RM_KEY_ANY, FORMAT(few_shot), 0, 0, NULL,
      "object: examples or file, question, answer, as, template, separator, n, seed" },
    { "stop", RM_KEY_STRINGS, FORMAT(stop), 0, 0, NULL,
      "strings that end an answer; a recorded text is cut there too" },
    { "step_ends", RM_KEY_STRINGS, FORMAT(step_ends), 0, 0, NULL,
      "strings that end a reasoning step" },
    { "think", RM_KEY_STRINGS, FORMAT(think), 0, 0, NULL,
      "the two tags around a thought ([\"<think>\", \"</think>\"]); [] for none" },
    { "wait", RM_KEY_STRING, FORMAT(wait), 0, 0, NULL,
      "what budget forcing puts in place of a thought's end, to make it go on (Wait)" },
    { "answer_rules", RM_KEY_ANY, FORMAT(answer), 0, 0, NULL,
      "how the answer is found, tried in order: names or {\"pattern\", \"which\"}" },
    { "grader", RM_KEY_CHOICE, FORMAT(grader.kind), 0, 0, rm_grader_names,
      "numeric, exact, choice, pattern, expression or math" },
    { "tolerance", RM_KEY_REAL, FORMAT(grader.tolerance), 0, 1e300, NULL,
      "numeric: largest difference that counts as equal (0)" },
    { "relative_tolerance", RM_KEY_REAL, FORMAT(grader.relative_tolerance), 0, 1, NULL,
      "numeric: the same as a share of the reference (0)" },
    { "fold_case", RM_KEY_BOOL, FORMAT(grader.fold_case), 0, 0, NULL,
      "exact: upper and lower case are equal (false)" },
    { "latex", RM_KEY_BOOL, FORMAT(grader.latex), 0, 0, NULL,
      "exact: spacing and size commands of LaTeX do not count (false)" },
    { "choices", RM_KEY_STRING, FORMAT(grader.choices), 0, 0, NULL,
      "choice: the letters there are (\"ABCDEFGHIJ\")" },
    { "max_new_tokens", RM_KEY_INT, FORMAT(max_new_tokens), 1, 1000000, NULL,
      "limit of a candidate where the strategy states none" },
    { "typical_tokens", RM_KEY_INT, FORMAT(typical_tokens), 1, 1000000, NULL,
      "usual length of a candidate, for estimates of cost" },
    { 0 },
};

/* ---- small things --------------------------------------------------------------------- */

static rm_status out_of_memory(rm_error *err)
{
    return rm_fail(err, RM_E_MEMORY, "out of memory for a task");
}

void rm_draft_free(rm_draft *d)
{
    rm_text *const texts[] = { &d->question, &d->canonical, &d->id, &d->reference,
                               &d->numbers, &d->target, &d->level, &d->cluster };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        rm_text_free(texts[i]);
    d->record = NULL;
}

static const char *string_of(const rm_text *text)
{
    return text->data ? text->data : "";
}

static bool draft_failed(const rm_draft *d)
{
    return d->question.failed || d->canonical.failed || d->id.failed || d->reference.failed
           || d->numbers.failed || d->target.failed || d->level.failed || d->cluster.failed;
}

bool rm_hash_set_has(const rm_hash_set *set, uint64_t hash)
{
    hash = hash ? hash : 1; /* 0 marks a free slot */
    for (size_t i = hash; set->capacity; i++) {
        uint64_t slot = set->slots[i & (set->capacity - 1)];
        if (slot == hash || !slot)
            return slot == hash;
    }
    return false;
}

rm_status rm_hash_set_add(rm_hash_set *set, uint64_t hash, bool *added, rm_error *err)
{
    if (2 * (set->n + 1) > set->capacity) {
        rm_hash_set larger = { .capacity = set->capacity ? 2 * set->capacity : 64 };
        if (!(larger.slots = calloc(larger.capacity, sizeof *larger.slots)))
            return out_of_memory(err);
        for (size_t i = 0; i < set->capacity; i++)
            if (set->slots[i])
                rm_hash_set_add(&larger, set->slots[i], added, NULL);
        free(set->slots);
        *set = larger;
    }
    hash = hash ? hash : 1;
    size_t i = hash & (set->capacity - 1);
    while (set->slots[i] && set->slots[i] != hash)
        i = (i + 1) & (set->capacity - 1);
    *added = !set->slots[i];
    set->n += *added;
    set->slots[i] = hash;
    return RM_OK;
}

rm_draws rm_draws_for(const rm_task *task, size_t index, uint32_t attempt)
{
    uint64_t kind = rm_hash_bytes(task->kind->name, strlen(task->kind->name));
    return (rm_draws){ task->format.seed, rm_mix(kind, index), attempt, 0 };
}

int rm_draw(rm_draws *d, int low, int high)
{
    uint64_t bits = rm_random(d->seed, d->stream, d->attempt, d->draw++);
    return low + (int)rm_scale(bits, (uint64_t)(high - low) + 1);
}

static bool in_split(int split, uint64_t hash)
{
    uint64_t bucket = rm_scale(rm_mix(hash, 0x73706c6974 /* "split" */), 10);
    switch ((rm_split)split) {
    case RM_SPLIT_TEST:
        return bucket < 5;
    case RM_SPLIT_TUNE:
        return bucket == 5 || bucket == 6;
    case RM_SPLIT_TRAIN:
        return bucket > 6;
    case RM_SPLIT_ALL:
        break;
    }
    return true;
}

/* ---- problems ------------------------------------------------------------------------- */

struct rm_slot {
    rm_item item; /* item.seen.task points back here */
    const rm_task *task;
    char *id, *prompt, *question, *reference, *cluster, *level;
};

static void free_slot(rm_slot *slot)
{
    if (!slot)
        return;
    free(slot->id);
    free(slot->prompt);
    free(slot->question);
    free(slot->reference);
    free(slot->cluster);
    free(slot->level);
    free(slot);
}

static const rm_slot *slot_of(const rm_problem *problem)
{
    return problem->task;
}

/* The extractor for what follows this prompt: chat templates may open the thought themselves.
 * Shares everything with the task's. */
static rm_extractor extractor_for(const rm_task *task, const char *prompt)
{
    rm_extractor x = task->extractor;
    if (task->chats)
        x.in_thought = rm_chat_opens(prompt, x.open);
    return x;
}

/* What strategies call: the canonical answer, in the run's memory. */
static const char *answer_in_run(const rm_problem *problem, rm_run *run, const char *text,
                                 bool truncated)
{
    const rm_task *task = slot_of(problem)->task;
    rm_extractor extractor = extractor_for(task, problem->prompt);
    rm_text answer = { 0 };
    char *copy = NULL;
    if (rm_extract(&extractor, &task->format.grader, text, truncated, &answer)
        && answer.data && (copy = rm_run_alloc(run, answer.length + 1)))
        memcpy(copy, answer.data, answer.length + 1);
    rm_text_free(&answer);
    return copy;
}

static const char *answer_whole(const rm_problem *problem, rm_run *run, const char *text)
{
    return answer_in_run(problem, run, text, false);
}

static const char *answer_cut(const rm_problem *problem, rm_run *run, const char *text)
{
    return answer_in_run(problem, run, text, true);
}

static double judge(const rm_problem *problem, const char *answer)
{
    const rm_slot *slot = slot_of(problem);
    return answer && rm_grader_correct(&slot->task->format.grader, answer, slot->reference) ? 1 : 0;
}

/* The reference as answers are compared: canonical, except for patterns, which are only checked. */
static rm_status canonical_reference(const rm_task *task, const rm_draft *draft, rm_text *out,
                                     rm_error *err)
{
    const char *raw = string_of(&draft->reference);
    const rm_grader *g = &task->format.grader;
    if (g->kind == RM_GRADE_PATTERN) {
        rm_pattern *pattern;
        rm_status st = rm_pattern_new(raw, true, &pattern, err);
        if (!st)
            rm_pattern_free(pattern);
        rm_text_puts(out, raw);
        return st;
    }
    if (task->kind->verifier && g->kind == RM_GRADE_EXPRESSION) {
        rm_text_puts(out, raw); /* "4 7 8 25=80" is canonical already */
        return RM_OK;
    }
    if (rm_grader_canonical(g, raw, strlen(raw), out))
        return RM_OK;
    return rm_fail(err, RM_E_FORMAT, "task %s: problem \"%.60s\": the %s grader finds no answer in "
                   "the reference \"%.60s\"", task->format.name,
                   draft->id.length ? draft->id.data : string_of(&draft->question),
                   rm_grader_names[g->kind], raw);
}

static uint64_t draft_hash(const rm_task *task, const char *canonical)
{
    const char *prefix = task->kind->canonical_prefix;
    return rm_mix(rm_hash_bytes(prefix, strlen(prefix)),
                  rm_hash_bytes(canonical, strlen(canonical)));
}

static rm_status slot_new(const rm_task *task, const rm_draft *draft, rm_slot **out, rm_error *err)
{
    rm_text prompt = { 0 }, reference = { 0 };
    rm_slot *slot = calloc(1, sizeof *slot);
    rm_status st = slot ? RM_OK : out_of_memory(err);
    if (!st)
        st = canonical_reference(task, draft, &reference, err);
    if (!st)
        st = rm_prompt_render(task, draft, &prompt, err);
    if (!st) {
        slot->id = strdup(draft->id.length ? draft->id.data : string_of(&draft->question));
        slot->question = strdup(string_of(&draft->question));
        slot->prompt = strdup(string_of(&prompt));
        slot->reference = strdup(string_of(&reference));
        slot->cluster = draft->cluster.length ? strdup(draft->cluster.data) : NULL;
        slot->level = draft->level.length ? strdup(draft->level.data) : NULL;
        if (!slot->id || !slot->question || !slot->prompt || !slot->reference || reference.failed
            || (draft->cluster.length && !slot->cluster) || (draft->level.length && !slot->level))
            st = out_of_memory(err);
    }
    if (!st) {
        const rm_format *f = &task->format;
        slot->task = task;
        slot->item = (rm_item){
            .seen = { .id = slot->id, .prompt = slot->prompt,
                      .stop_strings = (const char *const *)f->stop.items,
                      .n_stop_strings = f->stop.n,
                      .step_ends = (const char *const *)f->step_ends.items,
                      .n_step_ends = f->step_ends.n,
                      .think_end = rm_task_has_thought(task) ? f->think.items[1] : NULL,
                      .wait = f->wait,
                      .answer = answer_whole, .answer_cut = answer_cut, .oracle = judge,
                      .verify = rm_task_has_verifier(task) ? judge : NULL, .task = slot },
            .reference = slot->reference, .question = slot->question, .cluster = slot->cluster,
            .level = slot->level, .hash = draft_hash(task, string_of(&draft->canonical)),
            .prompt_hash = rm_hash_bytes(slot->prompt, strlen(slot->prompt)),
        };
        *out = slot;
    } else {
        free_slot(slot);
    }
    rm_text_free(&prompt);
    rm_text_free(&reference);
    return st;
}

rm_status rm_task_draft(const rm_task *task, size_t index, rm_draft *draft, uint64_t *out,
                        rm_error *err)
{
    for (uint32_t attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
        rm_draft_free(draft);
        rm_status st = task->kind->make(task, task->options, index, attempt, draft, err);
        if (st || draft_failed(draft))
            return st ? st : out_of_memory(err);
        uint64_t hash = draft_hash(task, string_of(&draft->canonical));
        if (!in_split(task->format.split, hash))
            continue;
        if (out)
            *out = hash;
        return RM_OK;
    }
    return rm_fail(err, RM_E_ARGUMENT, "task %s: no problem %zu lies in split \"%s\"",
                   task->format.name, index + 1, split_names[task->format.split]);
}

rm_status rm_task_draw(const rm_task *task, size_t index, rm_slot **slot, const rm_item **item,
                       rm_error *err)
{
    rm_draft draft = { 0 };
    rm_status st = rm_task_draft(task, index, &draft, NULL, err);
    if (!st)
        st = slot_new(task, &draft, slot, err);
    if (!st)
        *item = &(*slot)->item;
    rm_draft_free(&draft);
    return st;
}

void rm_task_drop(rm_slot *slot)
{
    free_slot(slot);
}

/* Draws the next problem of a generated task. */
static rm_status generate(rm_task *task, size_t index, rm_draft *draft, rm_error *err)
{
    for (uint32_t attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
        rm_draft_free(draft);
        rm_status st = task->kind->make(task, task->options, index, attempt, draft, err);
        if (st || draft_failed(draft))
            return st ? st : out_of_memory(err);
        uint64_t hash = draft_hash(task, string_of(&draft->canonical));
        bool added = false;
        if (in_split(task->format.split, hash)
            && (st = rm_hash_set_add(&task->seen, hash, &added, err)))
            return st;
        if (added)
            return RM_OK;
    }
    return rm_fail(err, RM_E_ARGUMENT, "task %s: found no problem %zu that differs from those "
                   "before it; its parameters allow too few", task->format.name, index + 1);
}

static rm_status add_slot(rm_task *task, rm_error *err)
{
    size_t index = task->n_slots;
    if (index == task->capacity) {
        size_t capacity = task->capacity ? 2 * task->capacity : 64;
        rm_slot **slots = realloc(task->slots, capacity * sizeof *slots);
        if (!slots)
            return out_of_memory(err);
        task->slots = slots;
        task->capacity = capacity;
    }
    rm_draft draft = { 0 };
    rm_status st = task->kind->count
        ? task->kind->make(task, task->options, task->selected[index], 0, &draft, err)
        : generate(task, index, &draft, err);
    if (!st && draft_failed(&draft))
        st = out_of_memory(err);
    if (!st)
        st = slot_new(task, &draft, &task->slots[index], err);
    task->n_slots += !st;
    rm_draft_free(&draft);
    return st;
}

rm_status rm_task_item(rm_task *task, size_t i, const rm_item **item, rm_error *err)
{
    if (i >= rm_task_count(task))
        return rm_fail(err, RM_E_ARGUMENT, "task %s has %zu problems; number %zu was asked for",
                       task->format.name, rm_task_count(task), i + 1);
    while (task->n_slots <= i) {
        rm_status st = add_slot(task, err);
        if (st)
            return st;
    }
    *item = &task->slots[i]->item;
    return RM_OK;
}

/* Files: makes every draft once, so that a bad record is found now, and notes which ones belong
 * to the split and are no examples. */
static rm_status select_records(rm_task *task, int first, int count, rm_error *err)
{
    size_t n = task->kind->count(task->options), begin = (size_t)first - 1;
    size_t end = count && (size_t)count < n - (begin < n ? begin : n) ? begin + (size_t)count : n;
    if (begin >= n)
        return rm_fail(err, RM_E_ARGUMENT, "task %s: \"first\" is %d, but the file has %zu "
                       "problems", task->format.name, first, n);
    if (!(task->selected = malloc((end - begin) * sizeof *task->selected)))
        return out_of_memory(err);
    rm_hash_set ids = { 0 };
    rm_draft draft = { 0 };
    rm_text reference = { 0 };
    rm_status st = RM_OK;
    for (size_t i = begin; i < end && !st; i++) {
        rm_draft_free(&draft);
        rm_text_free(&reference);
        if ((st = task->kind->make(task, task->options, i, 0, &draft, err))
            || (st = canonical_reference(task, &draft, &reference, err)))
            break;
        const char *id = draft.id.length ? draft.id.data : string_of(&draft.question);
        bool added = false;
        st = rm_hash_set_add(&ids, rm_hash_bytes(id, strlen(id)), &added, err);
        if (!st && !added)
            st = rm_fail(err, RM_E_FORMAT, "task %s: two problems have the id \"%.80s\"",
                         task->format.name, id);
        uint64_t hash = draft_hash(task, string_of(&draft.canonical));
        if (in_split(task->format.split, hash) && !rm_hash_set_has(&task->seen, hash))
            task->selected[task->n_selected++] = i;
    }
    rm_draft_free(&draft);
    rm_text_free(&reference);
    free(ids.slots);
    if (!st && task->n_selected == 0)
        st = rm_fail(err, RM_E_ARGUMENT, "task %s: no problem is left in split \"%s\"",
                     task->format.name, split_names[task->format.split]);
    return st;
}

/* ---- making a task -------------------------------------------------------------------- */

static rm_status find_kind(const rm_json *json, const cJSON *object, const char *path,
                           const rm_kind **kind, rm_error *err)
{
    const cJSON *item = cJSON_IsObject(object)
                            ? cJSON_GetObjectItemCaseSensitive(object, "kind") : NULL;
    if (!cJSON_IsString(item))
        return rm_json_fail(err, RM_E_ARGUMENT, json, item ? item : object,
                            "%s: expected an object with a \"kind\": arithmetic, countdown, jsonl "
                            "or game24", path);
    const char *names[N_KINDS];
    for (int i = 0; i < N_KINDS; i++) {
        names[i] = kinds[i]->name;
        if (!strcmp(item->valuestring, names[i])) {
            *kind = kinds[i];
            return RM_OK;
        }
    }
    const char *near = rm_nearest_word(item->valuestring, names, N_KINDS);
    return rm_json_fail(err, RM_E_ARGUMENT, json, item,
                        "%s.kind: there is no task \"%.60s\"%s%s%s", path, item->valuestring,
                        near ? "; did you mean \"" : "; there are arithmetic, countdown, jsonl and "
                                                      "game24",
                        near ? near : "", near ? "\"?" : "");
}

/* One extraction rule: a name, or { "pattern": ..., "which": "first" | "last" }. */
static rm_status add_rule(rm_task *task, const rm_json *json, const cJSON *item, const char *path,
                          rm_error *err)
{
    static const char *const which_names[] = { "first", "last", NULL };
    struct rule { char *pattern; int which; } rule = { 0 };
    static const rm_key keys[] = {
        { "pattern", RM_KEY_STRING, offsetof(struct rule, pattern), 0, 0, NULL, "" },
        { "which", RM_KEY_CHOICE, offsetof(struct rule, which), 0, 0, which_names, "" },
        { 0 },
    };
    rm_error inner = { { 0 } };
    rm_status st;
    char where[160];
    snprintf(where, sizeof where, "%s.answer_rules", path);
    if (cJSON_IsString(item)) {
        st = rm_extractor_add_named(&task->extractor, item->valuestring, &inner);
        return st ? rm_json_fail(err, st, json, item, "%s: %s", where, inner.text) : RM_OK;
    }
    st = rm_keys_read(json, item, where, keys, &rule, NULL, NULL, err);
    if (!st && !rule.pattern)
        st = rm_json_fail(err, RM_E_ARGUMENT, json, item, "%s: expected a \"pattern\"", where);
    if (!st && (st = rm_extractor_add_pattern(&task->extractor, rule.pattern, rule.which, &inner)))
        rm_json_fail(err, st, json, item, "%s: %s", where, inner.text);
    rm_keys_free(keys, &rule);
    return st;
}

/* What finds the answer where the configuration does not say: for texts that begin in a thought
 * all that follows it; else what the usual ways of stating an answer find. */
static rm_status default_rules(rm_task *task, rm_error *err)
{
    static const char *const after_thought[][4] = {
        [RM_GRADE_NUMERIC] = { "number" }, [RM_GRADE_EXACT] = { "all" },
        [RM_GRADE_CHOICE] = { "all" }, [RM_GRADE_PATTERN] = { "all" },
        [RM_GRADE_EXPRESSION] = { "all" }, [RM_GRADE_MATH] = { "boxed", "answer is", "all" },
    };
    static const char *const in_prose[][5] = {
        [RM_GRADE_NUMERIC] = { "####", "boxed", "answer is", "last number" },
        [RM_GRADE_EXACT] = { "####", "boxed", "answer is", "last line" },
        [RM_GRADE_CHOICE] = { "boxed", "option", "last line" },
        [RM_GRADE_PATTERN] = { "####", "boxed", "answer is", "all" },
        [RM_GRADE_EXPRESSION] = { "boxed", "answer:", "last line", "all" },
        [RM_GRADE_MATH] = { "boxed", "####", "answer is" },
    };
    int kind = task->format.grader.kind;
    const char *const *names = task->extractor.in_thought ? after_thought[kind] : in_prose[kind];
    for (; *names; names++) {
        rm_status st = rm_extractor_add_named(&task->extractor, *names, err);
        if (st)
            return st;
    }
    return RM_OK;
}

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);
    return n >= m && !strcmp(text + n - m, end);
}

static rm_status set_up_answers(rm_task *task, const rm_json *json, const cJSON *object,
                                const char *path, rm_error *err)
{
    rm_format *f = &task->format;
    rm_extractor *x = &task->extractor;
    if (f->think.n != 0 && f->think.n != 2)
        return rm_json_fail(err, RM_E_ARGUMENT, json,
                            cJSON_GetObjectItemCaseSensitive(object, "think"),
                            "%s.think: expected two tags, or [] for none", path);
    x->open = f->think.n ? f->think.items[0] : "";
    x->close = f->think.n ? f->think.items[1] : "";
    x->in_thought = *x->open && f->chat == RM_CHAT_NONE && ends_with(f->prompt, x->open);
    for (int i = 0; i < f->stop.n; i++) {
        if (!f->stop.items[i][0])
            return rm_json_fail(err, RM_E_ARGUMENT, json, object,
                                "%s.stop: a stop string must not be empty", path);
        if (!rm_strings_add(&x->cuts, f->stop.items[i], strlen(f->stop.items[i])))
            return out_of_memory(err);
    }
    for (int i = 0; i < f->step_ends.n; i++)
        if (!f->step_ends.items[i][0])
            return rm_json_fail(err, RM_E_ARGUMENT, json, object,
                                "%s.step_ends: a step's end must not be empty", path);
    if (!f->answer)
        return default_rules(task, err);
    const cJSON *rule = cJSON_IsArray(f->answer) ? f->answer->child : f->answer;
    if (!rule)
        return rm_json_fail(err, RM_E_ARGUMENT, json, f->answer,
                            "%s.answer_rules: expected at least one rule", path);
    for (; rule; rule = cJSON_IsArray(f->answer) ? rule->next : NULL) {
        rm_status st = add_rule(task, json, rule, path, err);
        if (st)
            return st;
    }
    return RM_OK;
}

/* Order-independent hash of a JSON value, keys named in `skip` left out: where a file lies and
 * what a task is called change no record. */
static uint64_t hash_json(const cJSON *item)
{
    static const char *const skip[] = { "path", "file", "source", "xxh3", "name",
                                        "typical_tokens", "chat_template" };
    uint64_t h = (uint64_t)item->type;
    if (cJSON_IsString(item))
        return rm_mix(h, rm_hash_bytes(item->valuestring, strlen(item->valuestring)));
    if (cJSON_IsNumber(item))
        return rm_mix(h, rm_hash_bytes(&item->valuedouble, sizeof item->valuedouble));
    bool object = cJSON_IsObject(item);
    for (const cJSON *c = item->child; c; c = c->next) {
        bool skipped = false;
        for (size_t i = 0; i < sizeof skip / sizeof *skip; i++)
            skipped = skipped || (object && !strcmp(c->string, skip[i]));
        if (skipped)
            continue;
        uint64_t value = hash_json(c);
        h = object ? h + rm_mix(rm_hash_bytes(c->string, strlen(c->string)), value)
                   : rm_mix(h, value);
    }
    return h;
}

static rm_status set_defaults(rm_task *task, rm_error *err)
{
    rm_format *f = &task->format;
    f->seed = 1;
    f->wait = strdup("Wait");
    if (!f->wait || !rm_strings_add(&f->think, "<think>", 7) ||
        !rm_strings_add(&f->think, "</think>", 8))
        return out_of_memory(err);
    return task->kind->defaults(f, task->options, err);
}

static rm_status read_task(rm_task *task, const rm_json *json, const cJSON *object,
                           const char *path, rm_error *err)
{
    common c = { .first = 1 };
    rm_status st = set_defaults(task, err);
    if (st)
        return st;
    c.format = task->format; /* the keys overwrite the defaults; ownership goes along */
    st = rm_keys_read(json, object, path, common_keys, &c, task->kind->keys, task->options, err);
    task->format = c.format;
    if (st)
        return st;
    if (!task->format.name && !(task->format.name = strdup(task->kind->name)))
        return out_of_memory(err);
    if (!task->format.name[0])
        return rm_json_fail(err, RM_E_ARGUMENT, json, object, "%s.name: must not be empty", path);
    bool ranged = cJSON_GetObjectItemCaseSensitive(object, "first")
                  || cJSON_GetObjectItemCaseSensitive(object, "count");
    if (ranged && !task->kind->count)
        return rm_json_fail(err, RM_E_ARGUMENT, json, object, "%s: \"first\" and \"count\" are for "
                            "tasks from files; \"seed\" chooses other problems here", path);
    rm_error inner = { "" };
    if (task->kind->open
        && (st = task->kind->open(task, task->options, json, object, path, &inner)))
        return st == RM_E_IO /* a file: its name is wrong in the configuration */
                   ? rm_json_fail(err, st, json, object, "%s: %s", path, inner.text)
                   : rm_fail(err, st, "%s", inner.text);
    if ((st = rm_task_chats_new(task, json, object, path, err))
        || (st = set_up_answers(task, json, object, path, err)))
        return st;
    if (task->format.few_shot
        && (st = rm_examples_read(task, json, task->format.few_shot, path, err)))
        return st;
    if (task->examples.turns && !task->chats)
        return rm_json_fail(err, RM_E_ARGUMENT, json, task->format.few_shot, "%s.few_shot: examples as "
                            "turns go with \"chat\": \"model\"", path);
    if ((st = rm_examples_show(task, &inner)))
        return rm_json_fail(err, st, json, task->format.few_shot, "%s: %s", path, inner.text);
    for (int i = 0; i < task->examples.n; i++) {
        rm_text canonical = { 0 };
        bool added;
        const char *q = string_of(&task->examples.items[i].question);
        rm_exact_canonical(q, strlen(q), false, false, &canonical);
        st = rm_hash_set_add(&task->seen, draft_hash(task, string_of(&canonical)), &added, err);
        rm_text_free(&canonical);
        if (st)
            return st;
    }
    /* borrowed from a tree that may go */
    task->format.few_shot = task->format.answer = task->format.template_variables = NULL;
    return task->kind->count ? select_records(task, c.first, c.count, err) : RM_OK;
}

rm_status rm_task_new(const rm_json *json, const cJSON *object, const char *folder,
                      const char *path, rm_task **out, rm_error *err)
{
    const rm_kind *kind = NULL;
    rm_status st = find_kind(json, object, path, &kind, err);
    if (st)
        return st;
    rm_task *task = calloc(1, sizeof *task);
    if (!task)
        return out_of_memory(err);
    task->kind = kind;
    task->hash = hash_json(object);
    task->folder = strdup(folder);
    task->options = calloc(1, kind->size);
    if (!task->folder || !task->options)
        st = out_of_memory(err);
    if (!st)
        st = read_task(task, json, object, path, err);
    const rm_item *item;
    if (!st && (st = rm_task_item(task, 0, &item, err))) /* proves the templates */
        rm_fail_within(err, st, "%s", path);
    if (st) {
        rm_task_free(task);
        return st;
    }
    *out = task;
    return RM_OK;
}

void rm_task_free(rm_task *task)
{
    if (!task)
        return;
    for (size_t i = 0; i < task->n_slots; i++)
        free_slot(task->slots[i]);
    free(task->slots);
    free(task->selected);
    free(task->seen.slots);
    rm_examples_free(&task->examples);
    rm_extractor_free(&task->extractor);
    rm_task_chats_free(task->chats);
    if (task->options) {
        if (task->kind->close)
            task->kind->close(task->options);
        rm_keys_free(task->kind->keys, task->options);
        free(task->options);
    }
    common c = { .format = task->format };
    rm_keys_free(common_keys, &c);
    free(task->folder);
    free(task);
}

/* ---- questions about a task ----------------------------------------------------------- */

const char *rm_task_name(const rm_task *task)
{
    return task->format.name;
}

const char *rm_task_kind(const rm_task *task)
{
    return task->kind->name;
}

size_t rm_task_count(const rm_task *task)
{
    return task->kind->count ? task->n_selected : SIZE_MAX;
}

bool rm_task_has_verifier(const rm_task *task)
{
    return task->kind->verifier && task->format.grader.kind == RM_GRADE_EXPRESSION;
}

bool rm_task_has_steps(const rm_task *task)
{
    return task->format.step_ends.n > 0;
}

bool rm_task_has_thought(const rm_task *task)
{
    const rm_format *f = &task->format;
    return f->think.n == 2 && *f->think.items[1] && f->wait && *f->wait;
}

int rm_task_max_new_tokens(const rm_task *task)
{
    return task->format.max_new_tokens;
}

int rm_task_typical_tokens(const rm_task *task)
{
    if (task->format.typical_tokens)
        return task->format.typical_tokens;
    if (task->kind->typical)
        return task->kind->typical(task->options);
    return task->format.max_new_tokens ? (task->format.max_new_tokens + 1) / 2 : 128;
}

const char *rm_task_grader(const rm_task *task)
{
    return rm_grader_names[task->format.grader.kind];
}

uint64_t rm_task_hash(const rm_task *task)
{
    return task->hash;
}

rm_status rm_task_answer(const rm_task *task, const char *prompt, const char *text, bool truncated,
                         char **answer, rm_error *err)
{
    rm_extractor extractor = extractor_for(task, prompt);
    rm_text out = { 0 };
    bool found = rm_extract(&extractor, &task->format.grader, text, truncated, &out);
    if (out.failed || (found && !out.data)) {
        rm_text_free(&out);
        return out_of_memory(err);
    }
    if (!found)
        rm_text_free(&out);
    *answer = out.data;
    return RM_OK;
}

rm_status rm_task_grade(const rm_task *task, const rm_item *item, const char *text, bool truncated,
                        char **answer, bool *correct, rm_error *err)
{
    rm_status st = rm_task_answer(task, item->seen.prompt, text, truncated, answer, err);
    if (!st)
        *correct = judge(&item->seen, *answer) > 0;
    return st;
}

void rm_task_kinds(void (*each)(void *arg, const rm_task_key *), void *arg)
{
    for (const rm_key *k = common_keys; k->name; k++)
        each(arg, &(rm_task_key){ "", "keys of every task", k->name, k->help });
    for (int i = 0; i < N_KINDS; i++)
        for (const rm_key *k = kinds[i]->keys; k->name; k++)
            each(arg, &(rm_task_key){ kinds[i]->name, kinds[i]->summary, k->name, k->help });
}
