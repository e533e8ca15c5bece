/*
 * token_bpe.c: byte-pair encoding of one piece of text.
 */
#include "token/token_internal.h"

#include <assert.h>
#include <string.h>

/* ---- the merges ----------------------------------------------------------- */

static size_t pair_hash(uint32_t left, uint32_t right)
{
    uint64_t hash = ((uint64_t)left << 32 | right) * UINT64_C(0x9e3779b97f4a7c15);
    hash ^= hash >> 29;
    hash *= UINT64_C(0xd6e8feb86659fd93);
    return (size_t)(hash >> 32);
}

/* The slot of this pair, or the empty one where it belongs. */
static pith__merge *find_slot(const pith__merges *merges, uint32_t left, uint32_t right)
{
    const size_t mask = merges->slot_count - 1;
    size_t i = pair_hash(left, right) & mask;
    while (merges->slots[i].left != PITH__TOKEN_NONE &&
           (merges->slots[i].left != left || merges->slots[i].right != right)) {
        i = (i + 1) & mask;
    }
    return &merges->slots[i];
}

pith_status pith__merges_reserve(pith__merges *merges, size_t count, const pith_allocator *mem,
                                 pith_error *err)
{
    size_t slot_count = merges->slot_count < 16 ? 16 : merges->slot_count;
    while (slot_count / 4 * 3 < count) {
        if (__builtin_mul_overflow(slot_count, 2, &slot_count)) {
            return pith__fail(err, PITH_E_MEMORY, "out of memory: %zu merges", count);
        }
    }
    if (slot_count == merges->slot_count) {
        return PITH_OK;
    }
    pith__merges grown = {.slot_count = slot_count};
    PITH__TRY(pith__alloc(mem, slot_count, sizeof *grown.slots, &grown.slots, err));
    memset(grown.slots, 0xff, slot_count * sizeof *grown.slots);
    for (size_t i = 0; i < merges->slot_count; i++) {
        if (merges->slots[i].left != PITH__TOKEN_NONE) {
            pith__merges_add(&grown, merges->slots[i]);
        }
    }
    pith__merges_deinit(merges, mem);
    *merges = grown;
    return PITH_OK;
}

void pith__merges_deinit(pith__merges *merges, const pith_allocator *mem)
{
    pith__free(mem, merges->slots, merges->slot_count, sizeof *merges->slots);
    *merges = (pith__merges){.slots = NULL};
}

void pith__merges_add(pith__merges *merges, pith__merge merge)
{
    assert(merges->count < merges->slot_count / 4 * 3);
    pith__merge *slot = find_slot(merges, merge.left, merge.right);
    if (slot->left == PITH__TOKEN_NONE) {
        *slot = merge;
        merges->count++;
    }
}

const pith__merge *pith__merges_find(const pith__merges *merges, uint32_t left, uint32_t right)
{
    const pith__merge *slot = merges->count == 0 ? NULL : find_slot(merges, left, right);
    return slot == NULL || slot->left == PITH__TOKEN_NONE ? NULL : slot;
}

/* Looks up what the pair of `node` and a node of token `right` becomes. */
static void set_pair(const pith__merges *merges, pith__bpe_node *node, uint32_t right)
{
    const pith__merge *merge = find_slot(merges, node->id, right);
    node->rank = merge->rank; /* UINT32_MAX in an empty slot */
    node->merged = merge->merged;
}

/* ---- short pieces ---------------------------------------------------------- */

/* All nodes are side by side; `end` of one is where the next one starts. */
static size_t merge_short(const pith__merges *merges, pith__bpe_node *nodes, size_t count)
{
    for (;;) {
        size_t best = 0;
        for (size_t i = 1; i < count; i++) {
            best = nodes[i].rank < nodes[best].rank ? i : best;
        }
        if (nodes[best].rank == UINT32_MAX) {
            return count;
        }
        nodes[best].id = nodes[best].merged;
        nodes[best].end = nodes[best + 1].end;
        count--;
        memmove(&nodes[best + 1], &nodes[best + 2], (count - best - 1) * sizeof *nodes);
        nodes[best].rank = UINT32_MAX;
        if (best + 1 < count) {
            set_pair(merges, &nodes[best], nodes[best + 1].id);
        }
        if (best > 0) {
            set_pair(merges, &nodes[best - 1], nodes[best].id);
        }
    }
}

/* ---- long pieces ----------------------------------------------------------- */

static void heap_sift_down(uint64_t *heap, size_t count, size_t i)
{
    const uint64_t item = heap[i];
    for (size_t child = 2 * i + 1; child < count; child = 2 * i + 1) {
        if (child + 1 < count && heap[child + 1] < heap[child]) {
            child++;
        }
        if (item <= heap[child]) {
            break;
        }
        heap[i] = heap[child];
        i = child;
    }
    heap[i] = item;
}

static uint64_t heap_pop(pith__bpe_work *work)
{
    const uint64_t top = work->heap[0];
    work->heap[0] = work->heap[--work->heap_count];
    if (work->heap_count > 0) {
        heap_sift_down(work->heap, work->heap_count, 0);
    }
    return top;
}

/* The pair of node `i` goes on the heap, if it has a rank; there is room. */
static void heap_push(pith__bpe_work *work, uint32_t i)
{
    const uint32_t rank = work->nodes[i].rank;
    if (rank == UINT32_MAX) {
        return;
    }
    const uint64_t item = (uint64_t)rank << 32 | i;
    size_t at = work->heap_count++;
    for (; at > 0 && item < work->heap[(at - 1) / 2]; at = (at - 1) / 2) {
        work->heap[at] = work->heap[(at - 1) / 2];
    }
    work->heap[at] = item;
}

/* Merges the pair that node `i` starts, and puts the two new pairs on the heap. */
static void merge_pair(const pith__merges *merges, pith__bpe_work *work, uint32_t i, uint32_t count)
{
    pith__bpe_node *nodes = work->nodes;
    pith__bpe_node *node = &nodes[i];
    nodes[node->end].rank = UINT32_MAX; /* what is on the heap for it is void */
    node->id = node->merged;
    node->end = nodes[node->end].end;
    node->rank = UINT32_MAX;
    if (node->end < count) {
        nodes[node->end].before = i;
        set_pair(merges, node, nodes[node->end].id);
        heap_push(work, i);
    }
    if (i > 0) {
        set_pair(merges, &nodes[node->before], node->id);
        heap_push(work, node->before);
    }
}

/*
 * Nodes stay where their first byte is and form a list. The heap may hold pairs
 * that are gone: an entry counts only while its node still starts a pair of
 * that rank. Every merge takes one entry and adds two, and there are fewer
 * merges than bytes, so 2 * count entries are enough.
 */
static pith_status merge_long(const pith__merges *merges, pith__bpe_work *work, uint32_t count,
                              size_t *left, pith_error *err)
{
    PITH__TRY(pith__grow(work->mem, &work->heap, &work->heap_capacity, 2 * (size_t)count,
                         sizeof *work->heap, err));
    work->heap_count = 0;
    for (uint32_t i = 0; i < count; i++) {
        work->nodes[i].before = i - 1; /* of the first one: never read */
        if (work->nodes[i].rank != UINT32_MAX) {
            work->heap[work->heap_count++] = (uint64_t)work->nodes[i].rank << 32 | i;
        }
    }
    for (size_t i = work->heap_count / 2; i-- > 0;) {
        heap_sift_down(work->heap, work->heap_count, i);
    }
    while (work->heap_count > 0) {
        const uint64_t top = heap_pop(work);
        const uint32_t i = (uint32_t)top;
        if (work->nodes[i].rank == (uint32_t)(top >> 32)) {
            merge_pair(merges, work, i, count);
        }
    }
    *left = 0;
    for (uint32_t i = 0; i < count; i = work->nodes[*left - 1].end) {
        work->nodes[(*left)++] = work->nodes[i];
    }
    return PITH_OK;
}

/* ---- a piece ---------------------------------------------------------------- */

void pith__bpe_work_deinit(pith__bpe_work *work)
{
    pith__free(work->mem, work->nodes, work->nodes_capacity, sizeof *work->nodes);
    pith__free(work->mem, work->heap, work->heap_capacity, sizeof *work->heap);
    *work = (pith__bpe_work){.mem = work->mem};
}

pith_status pith__bpe_merge(const pith__vocab *vocab, const pith__merges *merges,
                            pith__bpe_work *work, const char *piece, size_t size, size_t *count,
                            pith_error *err)
{
    assert(size > 0 && size < UINT32_MAX);
    *count = 0;
    PITH__TRY(
        pith__grow(work->mem, &work->nodes, &work->nodes_capacity, size, sizeof *work->nodes, err));
    pith__bpe_node *nodes = work->nodes;
    for (size_t i = 0; i < size; i++) {
        nodes[i].id = vocab->byte_ids[(unsigned char)piece[i]];
        nodes[i].end = (uint32_t)i + 1;
        nodes[i].rank = UINT32_MAX;
    }
    for (size_t i = 0; i + 1 < size; i++) {
        set_pair(merges, &nodes[i], nodes[i + 1].id);
    }
    if (size <= PITH__BPE_SHORT) {
        *count = merge_short(merges, nodes, size);
        return PITH_OK;
    }
    return merge_long(merges, work, (uint32_t)size, count, err);
}
