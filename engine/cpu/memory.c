/* memory.c - memory that is streamed through: weights and pages of keys and values.
 *
 * Both are read from end to end for every token, so they live in huge pages where the system
 * has them (on request: madvise): a tiny model is 5,000 ordinary pages, more than a second-level
 * TLB holds, and ten huge ones. Allocations are laid one behind the other in blocks; a block
 * goes back to the system with its last allocation. AddressSanitizer, which knows malloc only, is
 * told what lies inside an allocation, and a gap is left behind each. */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "engine/cpu/cpu.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WITH_ASAN 1
#endif
#endif
#if defined(WITH_ASAN) || defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#define FORBID(at, bytes) __asan_poison_memory_region(at, bytes)
#define ALLOW(at, bytes)  __asan_unpoison_memory_region(at, bytes)
enum { GAP = 64 };
#else
#define FORBID(at, bytes) ((void)(at), (void)(bytes))
#define ALLOW(at, bytes)  ((void)(at), (void)(bytes))
enum { GAP = 0 };
#endif

enum { HUGE_PAGE = 2 << 20, BLOCK = 32 << 20 };

struct arena_block {
    arena_block *next;
    char *map, *base; /* as mapped; aligned to a huge page */
    size_t map_bytes, size, used;
    size_t live; /* allocations not yet given back */
};

void *cpu_aligned_zeroed(size_t bytes)
{
    size_t rounded = round_up(bytes ? bytes : 1, 64);
    if (rounded < bytes)
        return NULL;
    void *p = aligned_alloc(64, rounded);
    if (p)
        memset(p, 0, rounded);
    return p;
}

/* Activations are sized for the largest batch, which a file with a wide model may never see: the
 * system's zeroed pages are not touched before they are used. calloc alone promises that (it
 * clears only what was used before) but aligns to 16; the address to free lies in front. */
void *cpu_lazy_zeroed(size_t bytes)
{
    if (bytes > SIZE_MAX - 64)
        return NULL;
    char *all = calloc(1, bytes + 64);
    if (!all)
        return NULL;
    char *p = all + 64 - (uintptr_t)all % 64;
    memcpy(p - sizeof all, &all, sizeof all);
    return p;
}

void cpu_lazy_free(void *p)
{
    char *all = NULL;
    if (p)
        memcpy(&all, (char *)p - sizeof all, sizeof all);
    free(all);
}

static arena_block *block_new(size_t size)
{
    arena_block *block = calloc(1, sizeof *block);
    if (!block)
        return NULL;
    block->size = size;
    block->map_bytes = size + HUGE_PAGE;
    block->map =
        mmap(NULL, block->map_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (block->map == MAP_FAILED) {
        free(block);
        return NULL;
    }
    block->base = block->map + (HUGE_PAGE - (uintptr_t)block->map % HUGE_PAGE) % HUGE_PAGE;
    madvise(block->base, size, MADV_HUGEPAGE); /* a wish; without it everything works, slower */
    FORBID(block->base, size);
    return block;
}

void *cpu_arena_alloc(rm_backend *b, size_t bytes)
{
    size_t need = round_up(bytes ? bytes : 1, 64);
    if (need < bytes || need > SIZE_MAX / 2)
        return NULL;
    need += GAP;
    arena_block *block = b->arena;
    if (!block || block->size - block->used < need) {
        block = block_new(need > BLOCK ? round_up(need, HUGE_PAGE) : BLOCK);
        if (!block)
            return NULL;
        block->next = b->arena;
        b->arena = block;
    }
    void *p = block->base + block->used; /* fresh from mmap: zero */
    ALLOW(p, bytes);
    block->used += need;
    block->live++;
    return p;
}

void cpu_arena_free(rm_backend *b, void *p)
{
    if (!p)
        return;
    for (arena_block **at = &b->arena; *at; at = &(*at)->next) {
        arena_block *block = *at;
        if ((char *)p < block->base || (char *)p >= block->base + block->size)
            continue;
        if (--block->live == 0) {
            *at = block->next;
            ALLOW(block->base, block->size); /* other mappings may come to lie here */
            munmap(block->map, block->map_bytes);
            free(block);
        }
        return;
    }
    assert(false && "not an allocation of this arena");
}
