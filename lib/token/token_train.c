/*
 * token_train.c: learns a byte-level BPE vocabulary from text.
 *
 * Texts become distinct pieces with counts, pieces become words of symbols. Every pair of
 * adjacent symbols has a count and a list of the words it may be in; the most frequent pair
 * is merged in its words, which changes the counts of the pairs beside it and of no others.
 * The queue of pairs is updated lazily: an entry whose count is out of date goes back with
 * the right one when its turn comes.
 */
#include "token/token_internal.h"

#include <string.h>

/* Longer pieces are cut: one merge must not walk over megabytes of the same character. */
#define PIECE_MAX ((size_t)1024)

#define BYTES ((size_t)256)

/* ---- distinct pieces -------------------------------------------------------- */

typedef struct piece {
    const char *text; /* not owned */
    uint64_t count;
    uint32_t size;
    uint32_t hash;
} piece;

/* Empty when index_plus_1 is 0. */
typedef struct piece_slot {
    uint32_t hash;
    uint32_t index_plus_1;
} piece_slot;

/* Pieces in the order in which they were first seen, found by their bytes. */
typedef struct piece_map {
    pith_allocator mem;
    piece *items;
    size_t count, capacity;
    piece_slot *slots; /* open addressing */
    size_t slot_count; /* a power of two, at least twice `count` */
} piece_map;

static void piece_map_deinit(piece_map *map)
{
    pith__free(&map->mem, map->items, map->capacity, sizeof *map->items);
    pith__free(&map->mem, map->slots, map->slot_count, sizeof *map->slots);
    *map = (piece_map){.mem = map->mem};
}

static uint32_t piece_hash(const char *text, size_t size)
{
    uint64_t hash = pith__vocab_hash(text, size);
    hash ^= hash >> 32;
    hash *= UINT64_C(0xd6e8feb86659fd93); /* the polynomial leaves its low bits weak */
    return (uint32_t)(hash >> 32);
}

/* The slot that holds this piece, or the empty one where it belongs. There are slots. */
static piece_slot *piece_find(const piece_map *map, const char *text, size_t size, uint32_t hash)
{
    const size_t mask = map->slot_count - 1;
    for (size_t i = hash & mask;; i = (i + 1) & mask) {
        piece_slot *slot = &map->slots[i];
        if (slot->index_plus_1 == 0) {
            return slot;
        }
        const piece *item = &map->items[slot->index_plus_1 - 1];
        if (slot->hash == hash && item->size == size && memcmp(item->text, text, size) == 0) {
            return slot;
        }
    }
}

/* Makes room for one more piece. */
static pith_status piece_map_reserve(piece_map *map, pith_error *err)
{
    if (map->count >= UINT32_MAX / 2) {
        return pith__fail(err, PITH_E_MEMORY, "too many distinct pieces: %zu", map->count);
    }
    PITH__TRY(pith__grow(&map->mem, &map->items, &map->capacity, map->count + 1, sizeof *map->items,
                         err));
    if (2 * (map->count + 1) <= map->slot_count) {
        return PITH_OK;
    }
    const size_t wanted = map->slot_count == 0 ? 1024 : 2 * map->slot_count;
    piece_slot *slots = NULL;
    PITH__TRY(pith__alloc_zero(&map->mem, wanted, sizeof *slots, &slots, err));
    for (size_t i = 0; i < map->count; i++) {
        size_t at = map->items[i].hash & (wanted - 1);
        while (slots[at].index_plus_1 != 0) {
            at = (at + 1) & (wanted - 1);
        }
        slots[at] = (piece_slot){map->items[i].hash, (uint32_t)i + 1};
    }
    pith__free(&map->mem, map->slots, map->slot_count, sizeof *map->slots);
    map->slots = slots;
    map->slot_count = wanted;
    return PITH_OK;
}

/* Counts a piece as often as `added->count` says. */
static pith_status piece_add(piece_map *map, const piece *added, pith_error *err)
{
    PITH__TRY(piece_map_reserve(map, err));
    piece_slot *slot = piece_find(map, added->text, added->size, added->hash);
    if (slot->index_plus_1 == 0) {
        map->items[map->count] = *added;
        map->count++;
        *slot = (piece_slot){added->hash, (uint32_t)map->count};
    } else {
        map->items[slot->index_plus_1 - 1].count += added->count;
    }
    return PITH_OK;
}

/* ---- counting --------------------------------------------------------------- */

/* What one thread counted. */
typedef struct counter {
    pith__splitter splitter;
    piece_map pieces;
    pith_status status;
    pith_error error;
} counter;

typedef struct count_job {
    const pith__token_text *texts;
    counter *counters; /* (threads) */
} count_job;

static pith_status count_pieces(counter *worker, pith__token_text text, pith_error *err)
{
    pith__splitter_start(&worker->splitter, text.data, 0, text.size);
    for (;;) {
        size_t start = 0;
        size_t end = 0;
        PITH__TRY(pith__splitter_next(&worker->splitter, &start, &end, err));
        if (start == end) {
            return PITH_OK;
        }
        while (start < end) {
            const size_t size = end - start < PIECE_MAX ? end - start : PIECE_MAX;
            const char *bytes = text.data + start;
            const piece part = {bytes, 1, (uint32_t)size, piece_hash(bytes, size)};
            PITH__TRY(piece_add(&worker->pieces, &part, err));
            start += size;
        }
    }
}

static void count_text(void *user, size_t index, unsigned worker)
{
    const count_job *job = user;
    counter *own = &job->counters[worker];
    if (own->status == PITH_OK) {
        own->status = count_pieces(own, job->texts[index], &own->error);
    }
}

static pith_status counters_init(counter *counters, unsigned threads, const pith__pattern *pattern,
                                 const pith_allocator *mem, pith_error *err)
{
    for (unsigned i = 0; i < threads; i++) {
        counters[i].pieces.mem = *mem;
        PITH__TRY(pith__splitter_init(&counters[i].splitter, pattern, err));
    }
    return PITH_OK;
}

/* Adds all counts to the first counter's. */
static pith_status counters_sum(counter *counters, unsigned threads, pith_error *err)
{
    for (unsigned i = 0; i < threads; i++) {
        if (counters[i].status != PITH_OK) {
            return pith__fail(err, counters[i].status, "%s", counters[i].error.message);
        }
    }
    for (unsigned i = 1; i < threads; i++) {
        piece_map *pieces = &counters[i].pieces;
        for (size_t k = 0; k < pieces->count; k++) {
            PITH__TRY(piece_add(&counters[0].pieces, &pieces->items[k], err));
        }
        piece_map_deinit(pieces);
    }
    return PITH_OK;
}

/* The distinct pieces of all texts; *out is empty on failure. */
static pith_status count_texts(const pith__token_text *texts, size_t n_texts,
                               const pith__pattern *pattern, unsigned threads,
                               const pith_allocator *mem, piece_map *out, pith_error *err)
{
    count_job job = {.texts = texts};
    PITH__TRY(pith__alloc_zero(mem, threads, sizeof *job.counters, &job.counters, err));
    pith_status status = counters_init(job.counters, threads, pattern, mem, err);
    if (status == PITH_OK) {
        pith__parallel(threads, n_texts, count_text, &job);
        status = counters_sum(job.counters, threads, err);
    }
    if (status == PITH_OK) {
        *out = job.counters[0].pieces;
        job.counters[0].pieces = (piece_map){.mem = *mem};
    }
    for (unsigned i = 0; i < threads; i++) {
        pith__splitter_deinit(&job.counters[i].splitter);
        piece_map_deinit(&job.counters[i].pieces);
    }
    pith__free(mem, job.counters, threads, sizeof *job.counters);
    return status;
}

/* ---- learner ---------------------------------------------------------------- */

/* A distinct piece, as symbols. */
typedef struct word {
    size_t at; /* in `letters` */
    uint64_t count;
    uint32_t size; /* in symbols */
} word;

typedef struct pair {
    uint32_t left;
    uint32_t right;
    uint64_t count;  /* over all words, as often as they occur */
    uint64_t queued; /* the count that its valid entry of the queue has; 0: none there */
    uint32_t places; /* newest item of its list of words, plus 1 */
    bool grown;      /* it is in `grown` */
} pair;

/* Item of a list of words. A word may be there twice, or no more have the pair. */
typedef struct place {
    uint32_t word;
    uint32_t next; /* plus 1; 0: the last */
} place;

typedef struct queued {
    uint64_t count;
    uint32_t pair;
} queued;

typedef struct learner {
    pith_allocator mem;
    pith__bpe_vocab *vocab;
    word *words;
    size_t n_words;
    uint32_t *letters; /* symbols of all words */
    size_t n_letters;
    pair *pairs;
    size_t n_pairs, pairs_capacity;
    uint32_t *slots; /* numbers of pairs, plus 1; open addressing */
    size_t slot_count;
    place *places;
    size_t n_places, places_capacity;
    uint32_t free_places; /* list of items to use again */
    queued *queue;        /* binary heap */
    size_t n_queue, queue_capacity;
    uint32_t *grown; /* pairs that gained places since they were last looked at */
    size_t n_grown, grown_capacity;
} learner;

static void learner_deinit(learner *l)
{
    pith__free(&l->mem, l->words, l->n_words, sizeof *l->words);
    pith__free(&l->mem, l->letters, l->n_letters, sizeof *l->letters);
    pith__free(&l->mem, l->pairs, l->pairs_capacity, sizeof *l->pairs);
    pith__free(&l->mem, l->slots, l->slot_count, sizeof *l->slots);
    pith__free(&l->mem, l->places, l->places_capacity, sizeof *l->places);
    pith__free(&l->mem, l->queue, l->queue_capacity, sizeof *l->queue);
    pith__free(&l->mem, l->grown, l->grown_capacity, sizeof *l->grown);
}

/* ---- symbols ---------------------------------------------------------------- */

/* `bytes` must be those of no other symbol. */
static pith_status add_symbol(learner *l, const char *bytes, size_t size, uint32_t *out,
                              pith_error *err)
{
    pith__bpe_vocab *vocab = l->vocab;
    char *copy = NULL;
    PITH__TRY(pith__grow(&l->mem, &vocab->symbols, &vocab->symbols_capacity, vocab->n_symbols + 1,
                         sizeof *vocab->symbols, err));
    PITH__TRY(pith__arena_alloc(&vocab->arena, size, 1, &copy, err));
    memcpy(copy, bytes, size);
    *out = (uint32_t)vocab->n_symbols;
    vocab->symbols[vocab->n_symbols] = (pith__token_text){copy, size};
    vocab->n_symbols++;
    return PITH_OK;
}

/* Bytes that are spelled with themselves: printable and no space. The others come after them. */
static bool is_printable(size_t byte)
{
    return (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte != 0xad);
}

static pith_status add_bytes(learner *l, uint32_t *symbols, pith_error *err)
{
    for (int printable = 1; printable >= 0; printable--) {
        for (size_t i = 0; i < BYTES; i++) {
            if (is_printable(i) == (printable != 0)) {
                const char byte = (char)(unsigned char)i;
                PITH__TRY(add_symbol(l, &byte, 1, &symbols[i], err));
            }
        }
    }
    return PITH_OK;
}

/* Order of the bytes, a prefix first. */
static int compare_symbols(const learner *l, uint32_t a, uint32_t b)
{
    const pith__token_text *x = &l->vocab->symbols[a];
    const pith__token_text *y = &l->vocab->symbols[b];
    const int order = memcmp(x->data, y->data, x->size < y->size ? x->size : y->size);
    return order != 0 ? order : (x->size > y->size) - (x->size < y->size);
}

/* ---- queue ------------------------------------------------------------------ */

/* Whether x is merged before y; no two pairs have the same bytes on both sides. */
static bool goes_before(const learner *l, queued x, queued y)
{
    if (x.count != y.count) {
        return x.count > y.count;
    }
    const pair *p = &l->pairs[x.pair];
    const pair *q = &l->pairs[y.pair];
    const int order = p->left == q->left ? 0 : compare_symbols(l, p->left, q->left);
    return order != 0 ? order < 0 : compare_symbols(l, p->right, q->right) < 0;
}

static pith_status queue_push(learner *l, uint32_t number, pith_error *err)
{
    PITH__TRY(
        pith__grow(&l->mem, &l->queue, &l->queue_capacity, l->n_queue + 1, sizeof *l->queue, err));
    const queued item = {l->pairs[number].count, number};
    l->pairs[number].queued = item.count;
    size_t at = l->n_queue;
    l->n_queue++;
    while (at > 0 && goes_before(l, item, l->queue[(at - 1) / 2])) {
        l->queue[at] = l->queue[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    l->queue[at] = item;
    return PITH_OK;
}

/* Takes the first item; there is one. */
static queued queue_pop(learner *l)
{
    const queued first = l->queue[0];
    l->n_queue--;
    const queued last = l->queue[l->n_queue];
    size_t at = 0;
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= l->n_queue) {
            break;
        }
        if (child + 1 < l->n_queue && goes_before(l, l->queue[child + 1], l->queue[child])) {
            child++;
        }
        if (!goes_before(l, l->queue[child], last)) {
            break;
        }
        l->queue[at] = l->queue[child];
        at = child;
    }
    l->queue[at] = last;
    return first;
}

/* The most frequent pair there is now; *found is false if there is none. */
static pith_status next_pair(learner *l, uint32_t *number, bool *found, pith_error *err)
{
    *found = false;
    while (l->n_queue > 0 && !*found) {
        const queued first = queue_pop(l);
        pair *p = &l->pairs[first.pair];
        if (first.count != p->queued) {
            continue; /* it has grown since: a newer entry stands for it */
        }
        p->queued = 0;
        if (first.count == p->count) {
            *number = first.pair;
            *found = true;
        } else if (p->count > 0) {
            PITH__TRY(queue_push(l, first.pair, err));
        }
    }
    return PITH_OK;
}

/* ---- pairs ------------------------------------------------------------------ */

static uint32_t pair_hash(uint32_t left, uint32_t right)
{
    uint64_t hash = ((uint64_t)left << 32 | right) * PITH__VOCAB_BASE;
    hash ^= hash >> 32;
    hash *= UINT64_C(0xd6e8feb86659fd93);
    return (uint32_t)(hash >> 32);
}

/* Where the pair is, or where it belongs. There are slots. */
static uint32_t *pair_slot(const learner *l, uint32_t left, uint32_t right)
{
    const size_t mask = l->slot_count - 1;
    for (size_t i = pair_hash(left, right) & mask;; i = (i + 1) & mask) {
        uint32_t *slot = &l->slots[i];
        if (*slot == 0 ||
            (l->pairs[*slot - 1].left == left && l->pairs[*slot - 1].right == right)) {
            return slot;
        }
    }
}

/* Makes room for one more pair. */
static pith_status pairs_reserve(learner *l, pith_error *err)
{
    if (l->n_pairs >= UINT32_MAX / 2) {
        return pith__fail(err, PITH_E_MEMORY, "too many distinct pairs: %zu", l->n_pairs);
    }
    PITH__TRY(
        pith__grow(&l->mem, &l->pairs, &l->pairs_capacity, l->n_pairs + 1, sizeof *l->pairs, err));
    if (2 * (l->n_pairs + 1) <= l->slot_count) {
        return PITH_OK;
    }
    const size_t wanted = l->slot_count == 0 ? 1024 : 2 * l->slot_count;
    uint32_t *slots = NULL;
    PITH__TRY(pith__alloc_zero(&l->mem, wanted, sizeof *slots, &slots, err));
    for (size_t i = 0; i < l->n_pairs; i++) {
        size_t at = pair_hash(l->pairs[i].left, l->pairs[i].right) & (wanted - 1);
        while (slots[at] != 0) {
            at = (at + 1) & (wanted - 1);
        }
        slots[at] = (uint32_t)i + 1;
    }
    pith__free(&l->mem, l->slots, l->slot_count, sizeof *l->slots);
    l->slots = slots;
    l->slot_count = wanted;
    return PITH_OK;
}

static pith_status add_place(learner *l, pair *p, uint32_t number, pith_error *err)
{
    if (p->places != 0 && l->places[p->places - 1].word == number) {
        return PITH_OK;
    }
    uint32_t at = l->free_places;
    if (at != 0) {
        l->free_places = l->places[at - 1].next;
    } else {
        if (l->n_places >= UINT32_MAX - 1) {
            return pith__fail(err, PITH_E_MEMORY, "too many places of pairs: %zu", l->n_places);
        }
        PITH__TRY(pith__grow(&l->mem, &l->places, &l->places_capacity, l->n_places + 1,
                             sizeof *l->places, err));
        l->n_places++;
        at = (uint32_t)l->n_places;
    }
    l->places[at - 1] = (place){number, p->places};
    p->places = at;
    return PITH_OK;
}

/* Word `number` has the pair at one more place. */
static pith_status pair_gain(learner *l, uint32_t left, uint32_t right, uint32_t number,
                             pith_error *err)
{
    PITH__TRY(pairs_reserve(l, err));
    uint32_t *slot = pair_slot(l, left, right);
    if (*slot == 0) {
        l->pairs[l->n_pairs] = (pair){.left = left, .right = right};
        l->n_pairs++;
        *slot = (uint32_t)l->n_pairs;
    }
    pair *p = &l->pairs[*slot - 1];
    if (!p->grown) {
        PITH__TRY(pith__grow(&l->mem, &l->grown, &l->grown_capacity, l->n_grown + 1,
                             sizeof *l->grown, err));
        l->grown[l->n_grown] = *slot - 1;
        l->n_grown++;
        p->grown = true;
    }
    p->count += l->words[number].count;
    return add_place(l, p, number, err);
}

/* Word `number` has the pair, which there is, at one place less. */
static void pair_lose(learner *l, uint32_t left, uint32_t right, uint32_t number)
{
    l->pairs[*pair_slot(l, left, right) - 1].count -= l->words[number].count;
}

/* Brings the queue up to date with pairs that gained places. */
static pith_status queue_grown(learner *l, pith_error *err)
{
    for (size_t i = 0; i < l->n_grown; i++) {
        pair *p = &l->pairs[l->grown[i]];
        p->grown = false;
        if (p->count > p->queued) {
            PITH__TRY(queue_push(l, l->grown[i], err));
        }
    }
    l->n_grown = 0;
    return PITH_OK;
}

/* ---- merging ---------------------------------------------------------------- */

/*
 * Merges a pair in one word, from left to right. Each merge takes away three pairs and brings
 * two, fewer at the word's ends, so that the counts are right after each.
 */
static pith_status merge_word(learner *l, uint32_t number, const pair *p, uint32_t merged,
                              pith_error *err)
{
    word *w = &l->words[number];
    uint32_t *letters = l->letters + w->at;
    uint32_t size = 0;
    for (uint32_t i = 0; i < w->size; i++) {
        const bool here = letters[i] == p->left && i + 1 < w->size && letters[i + 1] == p->right;
        if (!here) {
            letters[size++] = letters[i];
            continue;
        }
        i++;
        pair_lose(l, p->left, p->right, number);
        if (size > 0) {
            pair_lose(l, letters[size - 1], p->left, number);
            PITH__TRY(pair_gain(l, letters[size - 1], merged, number, err));
        }
        if (i + 1 < w->size) {
            pair_lose(l, p->right, letters[i + 1], number);
            PITH__TRY(pair_gain(l, merged, letters[i + 1], number, err));
        }
        letters[size++] = merged;
    }
    w->size = size;
    return PITH_OK;
}

/*
 * Makes a pair a symbol. Its bytes are no symbol yet, and the pair never comes back. For
 * where bytes stand as one symbol, nothing was ever merged across their ends, so all merges
 * inside went as they go in a word of these bytes alone; also in a run of equal symbols,
 * which is paired from its left end: an even number of them stands before the bytes. The
 * same bytes thus come from the same merges everywhere, and each merge is done in all words
 * at once.
 */
static pith_status make_rule(learner *l, const pair *p, uint32_t *merged, pith_error *err)
{
    pith__bpe_vocab *vocab = l->vocab;
    const pith__token_text left = vocab->symbols[p->left];
    const pith__token_text right = vocab->symbols[p->right];
    char bytes[PIECE_MAX]; /* both stand in one word */
    memcpy(bytes, left.data, left.size);
    memcpy(bytes + left.size, right.data, right.size);
    PITH__TRY(pith__grow(&l->mem, &vocab->rules, &vocab->rules_capacity, vocab->n_rules + 1,
                         sizeof *vocab->rules, err));
    vocab->rules[vocab->n_rules] = (pith__bpe_rule){p->left, p->right};
    vocab->n_rules++;
    return add_symbol(l, bytes, left.size + right.size, merged, err);
}

static pith_status merge_pair(learner *l, uint32_t number, pith_error *err)
{
    const pair merging = l->pairs[number]; /* the array may move */
    uint32_t merged = 0;
    PITH__TRY(make_rule(l, &merging, &merged, err));
    l->pairs[number].places = 0;
    uint32_t at = merging.places;
    while (at != 0) {
        const place here = l->places[at - 1];
        PITH__TRY(merge_word(l, here.word, &merging, merged, err));
        l->places[at - 1].next = l->free_places;
        l->free_places = at;
        at = here.next;
    }
    return queue_grown(l, err);
}

/* Pieces as words of bytes, with their pairs. */
static pith_status add_words(learner *l, const piece_map *pieces, pith_error *err)
{
    uint32_t symbols[BYTES];
    PITH__TRY(add_bytes(l, symbols, err));
    size_t total = 0;
    for (size_t i = 0; i < pieces->count; i++) {
        total += pieces->items[i].size;
    }
    PITH__TRY(pith__alloc(&l->mem, total, sizeof *l->letters, &l->letters, err));
    l->n_letters = total;
    PITH__TRY(pith__alloc(&l->mem, pieces->count, sizeof *l->words, &l->words, err));
    l->n_words = pieces->count;
    size_t at = 0;
    for (uint32_t i = 0; i < (uint32_t)pieces->count; i++) {
        const piece *item = &pieces->items[i];
        uint32_t *letters = l->letters + at;
        l->words[i] = (word){.at = at, .count = item->count, .size = item->size};
        for (uint32_t k = 0; k < item->size; k++) {
            letters[k] = symbols[(unsigned char)item->text[k]];
            if (k > 0) {
                PITH__TRY(pair_gain(l, letters[k - 1], letters[k], i, err));
            }
        }
        at += item->size;
    }
    return queue_grown(l, err);
}

static pith_status learn(learner *l, size_t n_symbols, pith_error *err)
{
    while (l->vocab->n_symbols < n_symbols) {
        uint32_t number = 0;
        bool found = false;
        PITH__TRY(next_pair(l, &number, &found, err));
        if (!found) {
            return pith__fail(err, PITH_E_ARGUMENT,
                              "the text has pairs for %zu tokens beside the 256 bytes, not for %zu",
                              l->vocab->n_symbols - BYTES, n_symbols - BYTES);
        }
        PITH__TRY(merge_pair(l, number, err));
    }
    return PITH_OK;
}

pith_status pith__bpe_learn(const pith__token_text *texts, size_t n_texts, const char *pre,
                            size_t n_symbols, unsigned threads, const pith_allocator *mem,
                            pith__bpe_vocab *out, pith_error *err)
{
    *out = (pith__bpe_vocab){.symbols = NULL};
    pith__arena_init(&out->arena, mem);
    const pith__pattern_info *info = pith__pattern_of_gguf((pith__gguf_string){pre, strlen(pre)});
    if (info == NULL) {
        return pith__fail(err, PITH_E_ARGUMENT, "pre-tokenizer \"%s\" is not supported", pre);
    }
    if (n_symbols < BYTES) {
        return pith__fail(err, PITH_E_ARGUMENT, "%zu tokens are less than the 256 bytes",
                          n_symbols);
    }
    pith__pattern pattern;
    PITH__TRY(pith__pattern_init(&pattern, info, err));
    piece_map pieces = {.mem = *mem};
    learner l = {.mem = *mem, .vocab = out};
    pith_status status =
        count_texts(texts, n_texts, &pattern, threads < 1 ? 1 : threads, mem, &pieces, err);
    pith__pattern_deinit(&pattern);
    status = status != PITH_OK ? status : add_words(&l, &pieces, err);
    piece_map_deinit(&pieces);
    status = status != PITH_OK ? status : learn(&l, n_symbols, err);
    learner_deinit(&l);
    if (status != PITH_OK) {
        pith__bpe_vocab_deinit(out);
    }
    return status;
}

void pith__bpe_vocab_deinit(pith__bpe_vocab *vocab)
{
    const pith_allocator *mem = &vocab->arena.mem;
    pith__free(mem, vocab->symbols, vocab->symbols_capacity, sizeof *vocab->symbols);
    pith__free(mem, vocab->rules, vocab->rules_capacity, sizeof *vocab->rules);
    pith__arena_deinit(&vocab->arena);
    *vocab = (pith__bpe_vocab){.arena = vocab->arena};
}

/* ---- spelling --------------------------------------------------------------- */

size_t pith__token_spell(const char *bytes, size_t size, char *out)
{
    size_t used = 0;
    for (size_t i = 0; i < size; i++) {
        const size_t byte = (unsigned char)bytes[i];
        size_t code = byte;
        if (!is_printable(byte)) { /* the characters from U+0100 on, in order */
            code = 0x100;
            for (size_t k = 0; k < byte; k++) {
                code += !is_printable(k);
            }
        }
        if (code >= 0x80) {
            out[used++] = (char)(unsigned char)(0xc0u | code >> 6);
            out[used++] = (char)(unsigned char)(0x80u | (code & 0x3fu));
        } else {
            out[used++] = (char)code;
        }
    }
    return used;
}
