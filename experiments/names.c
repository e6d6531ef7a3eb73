/* names.c - names numbered in the order of their appearance (names.h). */
#include "experiments/names.h"

#include "base/base.h"

#include <stdlib.h>
#include <string.h>

void names_free(names *list)
{
    for (size_t i = 0; i < list->n; i++)
        free(list->text[i]);
    free(list->text);
    free(list->slots);
}

static size_t names_slot(const names *list, const char *text)
{
    size_t at = (size_t)rm_hash_bytes(text, strlen(text)) & (list->n_slots - 1);
    while (list->slots[at] >= 0 && strcmp(list->text[list->slots[at]], text) != 0)
        at = (at + 1) & (list->n_slots - 1);
    return at;
}

static bool names_grow(names *list)
{
    size_t capacity = list->capacity ? 2 * list->capacity : 64;
    char **text = realloc(list->text, capacity * sizeof *text);
    if (!text)
        return false;
    list->text = text;
    int *slots = malloc(4 * capacity * sizeof *slots);
    if (!slots)
        return false;
    free(list->slots);
    list->slots = slots;
    list->n_slots = 4 * capacity;
    list->capacity = capacity;
    for (size_t i = 0; i < list->n_slots; i++)
        slots[i] = -1;
    for (size_t i = 0; i < list->n; i++)
        slots[names_slot(list, list->text[i])] = (int)i;
    return true;
}

int names_index(names *list, const char *text)
{
    if (list->n == list->capacity && !names_grow(list))
        return -1;
    size_t at = names_slot(list, text);
    if (list->slots[at] < 0) {
        char *copy = strdup(text);
        if (!copy)
            return -1;
        list->text[list->n] = copy;
        list->slots[at] = (int)list->n++;
    }
    return list->slots[at];
}
