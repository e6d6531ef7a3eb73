/* pages.h - where a position's keys and values lie (the layout is in launch.h). */
#ifndef RM_ENGINE_CUDA_PAGES_H
#define RM_ENGINE_CUDA_PAGES_H

#include "engine/cuda/device.h"

/* Bytes of one head's key (or value) at one position. */
RM_BOTH size_t page_row_bytes(const rm_kv_view *kv)
{
    return (size_t)rm_kv_dim(kv->head_dim) * (kv->type == RM_CUDA_F32 ? 4u : 2u);
}

/* Row `at` of the keys (side 0) or values (side 1) of a head in a page. */
RM_BOTH uint8_t *page_row(const rm_kv_view *kv, int32_t page, int layer, int head, int side, int at)
{
    size_t row_bytes = page_row_bytes(kv), side_bytes = (size_t)kv->page_positions * row_bytes;
    size_t index = ((size_t)layer * (size_t)kv->n_kv_heads + (size_t)head) * 2 + (size_t)side;
    return kv->base + (size_t)page * kv->page_bytes + index * side_bytes +
           (size_t)at * row_bytes;
}

#endif
