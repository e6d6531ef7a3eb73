/* corpus.c - documents: a problem's prompt, a thought, the answer.
 *
 *     <bos>(17+5)*(9-4)-36=<think>17+5=22;9-4=5;22*5=110;110-36=74</think>74<eos>
 *
 * The corpus is endless and has no state: document i draws its source, its problem and its thought
 * from i and the seed alone. */
#include "experiments/train/train.h"

#include <stdlib.h>
#include <string.h>

/* ---- lists ----------------------------------------------------------------------------------- */

/* One block of memory a document, the tokens first. */
rm_status document_add_targets(document_list *list, const int32_t *tokens, const int32_t *target,
                               const float *weight, int n, rm_error *err)
{
    if (list->n == list->capacity) {
        int capacity = list->capacity ? 2 * list->capacity : 64;
        rm_document *items = realloc(list->items, (size_t)capacity * sizeof *items);
        if (!items)
            return rm_fail(err, RM_E_MEMORY, "no memory for documents");
        list->items = items;
        list->capacity = capacity;
    }
    size_t bytes = (size_t)n * sizeof *tokens;
    int32_t *copy = malloc(2 * bytes + (size_t)n * sizeof *weight);
    if (!copy)
        return rm_fail(err, RM_E_MEMORY, "no memory for a document of %d tokens", n);
    float *weights = (float *)(copy + 2 * n);
    memcpy(copy, tokens, bytes);
    memcpy(copy + n, target, bytes);
    memcpy(weights, weight, (size_t)n * sizeof *weight);
    list->items[list->n++] = (rm_document){ copy, weights, n, copy + n };
    list->tokens += (size_t)n;
    return RM_OK;
}

rm_status document_add(document_list *list, const int32_t *tokens, int n, int n_prompt,
                       rm_error *err)
{
    float *weight = malloc((size_t)n * sizeof *weight);
    if (!weight)
        return rm_fail(err, RM_E_MEMORY, "no memory for a document of %d tokens", n);
    for (int i = 0; i < n; i++)
        weight[i] = i < n_prompt ? 0.0f : 1.0f;
    rm_status st = document_add_targets(list, tokens, tokens, weight, n, err);
    free(weight);
    return st;
}

void documents_clear(document_list *list)
{
    for (int i = 0; i < list->n; i++)
        free((void *)(uintptr_t)list->items[i].tokens);
    list->n = 0;
    list->tokens = 0;
}

void documents_free(document_list *list)
{
    documents_clear(list);
    free(list->items);
    *list = (document_list){ 0 };
}

/* ---- documents ------------------------------------------------------------------------------- */

static const train_source *draw_source(const train_recipe *r, rm_draws *draws)
{
    double sum = 0, total = 0, u = rm_draw(draws, 0, 999999) / 1e6;
    for (int i = 0; i < r->n_sources; i++)
        total += r->sources[i].share;
    for (int i = 0; i < r->n_sources; i++)
        if (u * total < (sum += r->sources[i].share))
            return &r->sources[i];
    return &r->sources[r->n_sources - 1];
}

static rm_status write_thought(const train_source *s, const char *question, rm_draws *draws,
                               rm_text *text, rm_error *err)
{
    rm_text thought = { 0 }, answer = { 0 };
    rm_status st;
    if (!strcmp(rm_task_kind(s->task), "arithmetic"))
        st = thought_arithmetic(question, &s->thought, draws, &thought, &answer, err);
    else if (!strcmp(rm_task_kind(s->task), "countdown"))
        st = thought_countdown(question, &s->thought, draws, &thought, &answer, err);
    else
        st = rm_fail(err, RM_E_UNSUPPORTED, "task %s: thoughts are written for arithmetic and "
                     "countdown", rm_task_name(s->task));
    rm_text_printf(text, "%s</think>%s", thought.data ? thought.data : "",
                   answer.data ? answer.data : "");
    if (!st && (thought.failed || answer.failed || text->failed))
        st = rm_fail(err, RM_E_MEMORY, "no memory for a thought");
    rm_text_free(&thought);
    rm_text_free(&answer);
    return st;
}

/* Tokens of the whole text and of the prompt alone, which must begin them. */
static rm_status add_text(const rm_model *model, const rm_text *text, size_t prompt_bytes,
                          document_list *list, rm_error *err)
{
    int32_t *all = NULL, *prompt = NULL, *longer;
    int n, n_prompt;
    rm_status st = rm_tokenize(model, text->data, text->length, true, &all, &n, err);
    if (!st)
        st = rm_tokenize(model, text->data, prompt_bytes, true, &prompt, &n_prompt, err);
    if (!st && (n_prompt > n || memcmp(all, prompt, (size_t)n_prompt * sizeof *all)))
        st = rm_fail(err, RM_E_UNSUPPORTED, "the tokenizer of %s joins the end of a prompt with "
                     "what follows it", rm_model_describe(model)->name);
    if (!st && !(longer = realloc(all, ((size_t)n + 1) * sizeof *all)))
        st = rm_fail(err, RM_E_MEMORY, "no memory for a document");
    if (!st) {
        all = longer;
        all[n++] = rm_model_describe(model)->eos;
        if (n > rm_model_describe(model)->n_ctx)
            st = rm_fail(
                err, RM_E_LIMIT, "a document has %d tokens, the context of %s %d: \"%.60s\"", n,
                rm_model_describe(model)->name, rm_model_describe(model)->n_ctx, text->data);
    }
    if (!st)
        st = document_add(list, all, n, n_prompt, err);
    free(all);
    free(prompt);
    return st;
}

rm_status corpus_document(const train_recipe *r, const rm_model *model, uint64_t index,
                          document_list *list, rm_error *err)
{
    rm_draws draws = { .seed = r->seed, .stream = rm_mix(index, 0x636f72707573 /* "corpus" */) };
    const train_source *s = draw_source(r, &draws);
    rm_draft draft = { 0 };
    rm_text text = { 0 };
    rm_status st = rm_task_draft(s->task, (size_t)index, &draft, NULL, err);
    if (!st)
        st = rm_prompt_render(s->task, &draft, &text, err);
    size_t prompt_bytes = text.length;
    if (!st)
        st = write_thought(s, draft.question.data, &draws, &text, err);
    if (!st)
        st = add_text(model, &text, prompt_bytes, list, err);
    rm_text_free(&text);
    rm_draft_free(&draft);
    return st;
}
