/*
 * token_special.c: finds special tokens that a text spells out.
 *
 * The tokens are sorted by their bytes. At a place of the text, each further
 * byte narrows the range of tokens that still fit; the last one seen to end
 * exactly there is the longest.
 */
#include "token/token_internal.h"

#include <string.h>

static const unsigned char *bytes_of(const pith__vocab *vocab, uint32_t id)
{
    return (const unsigned char *)vocab->bytes + vocab->entries[id].at;
}

/* By bytes, then by length, then by id: a total order. */
static bool comes_before(const pith__vocab *vocab, uint32_t a, uint32_t b)
{
    const uint32_t size_a = vocab->entries[a].size;
    const uint32_t size_b = vocab->entries[b].size;
    const uint32_t common = size_a < size_b ? size_a : size_b;
    const int order = memcmp(bytes_of(vocab, a), bytes_of(vocab, b), common);
    if (order != 0) {
        return order < 0;
    }
    return size_a != size_b ? size_a < size_b : a < b;
}

static void sift_down(const pith__vocab *vocab, uint32_t *ids, size_t count, size_t i)
{
    for (size_t child = 2 * i + 1; child < count; child = 2 * i + 1) {
        if (child + 1 < count && comes_before(vocab, ids[child], ids[child + 1])) {
            child++;
        }
        if (!comes_before(vocab, ids[i], ids[child])) {
            return;
        }
        const uint32_t id = ids[i];
        ids[i] = ids[child];
        ids[child] = id;
        i = child;
    }
}

/* Heap sort: qsort() has no way to hand the vocabulary to its comparison. */
static void sort(const pith__vocab *vocab, uint32_t *ids, size_t count)
{
    for (size_t i = count / 2; i-- > 0;) {
        sift_down(vocab, ids, count, i);
    }
    for (size_t last = count; last-- > 1;) {
        const uint32_t id = ids[0];
        ids[0] = ids[last];
        ids[last] = id;
        sift_down(vocab, ids, last, 0);
    }
}

pith_status pith__special_init(pith__special *special, const pith__vocab *vocab, bool with_control,
                               pith_error *err)
{
    *special = (pith__special){.ids = NULL};
    for (uint32_t id = 0; id < vocab->size; id++) {
        const uint8_t kind = vocab->kinds[id];
        if (kind != PITH__TOKEN_USER && !(with_control && kind == PITH__TOKEN_CONTROL)) {
            continue;
        }
        PITH__TRY(pith__grow(&vocab->mem, &special->ids, &special->capacity, special->count + 1,
                             sizeof *special->ids, err));
        special->ids[special->count++] = id;
        special->starts[bytes_of(vocab, id)[0]] = true;
    }
    sort(vocab, special->ids, special->count);
    return PITH_OK;
}

void pith__special_deinit(pith__special *special, const pith_allocator *mem)
{
    pith__free(mem, special->ids, special->capacity, sizeof *special->ids);
    *special = (pith__special){.ids = NULL};
}

/* First index in [low, high) whose token has a byte >= `byte` at `depth`; all are longer than that. */
static size_t lower_bound(const pith__special *special, const pith__vocab *vocab, size_t low,
                          size_t high, size_t depth, unsigned byte)
{
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (bytes_of(vocab, special->ids[middle])[depth] < byte) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* The longest token that the text spells at `at`, or PITH__TOKEN_NONE. */
static uint32_t match_at(const pith__special *special, const pith__vocab *vocab, const char *text,
                         size_t size, size_t at)
{
    uint32_t found = PITH__TOKEN_NONE;
    size_t low = 0;
    size_t high = special->count;
    for (size_t depth = 0; low < high && at + depth < size; depth++) {
        const unsigned char byte = (unsigned char)text[at + depth];
        low = lower_bound(special, vocab, low, high, depth, byte);
        high = lower_bound(special, vocab, low, high, depth, byte + 1u);
        /* of those that end here, if any, the first; they come before the longer ones */
        if (low < high && vocab->entries[special->ids[low]].size == depth + 1) {
            found = special->ids[low];
        }
        while (low < high && vocab->entries[special->ids[low]].size == depth + 1) {
            low++;
        }
    }
    return found;
}

bool pith__special_find(const pith__special *special, const pith__vocab *vocab, const char *text,
                        size_t size, size_t from, pith__token *out)
{
    if (special->count == 0) {
        return false;
    }
    for (size_t at = from; at < size; at++) {
        if (!special->starts[(unsigned char)text[at]]) {
            continue;
        }
        const uint32_t id = match_at(special, vocab, text, size, at);
        if (id != PITH__TOKEN_NONE) {
            *out = (pith__token){.start = at, .end = at + vocab->entries[id].size, .id = id};
            return true;
        }
    }
    return false;
}
