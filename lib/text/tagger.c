/*
 * tagger.c: features of a word in its sentence, and the perceptron that adds up their weights.
 */
#include "text/tagger.h"

#include <string.h>

/* tagger_weights.S */
extern const unsigned char pith__tagger_weights[];
extern const unsigned char pith__tagger_weights_end[];

/* Room for any uint8 tag with the low bits kept, so that damaged records stay inside. */
#define TAG_SLOTS 32u

const char *pith__tag_name(unsigned tag)
{
    static const char *const names[] = {
#define X(name) #name,
        PITH__TAG_MAP(X)
#undef X
    };
    return tag < PITH__TAG_COUNT ? names[tag] : "?";
}

/* ---- weights -------------------------------------------------------------- */

static uint32_t read_u32(const unsigned char *bytes)
{
    return (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 |
           (uint32_t)bytes[3] << 24;
}

pith_status pith__tagger_open(const void *data, size_t size, pith__tagger *out, pith_error *err)
{
    const unsigned char *bytes = data;
    *out = (pith__tagger){0};
    if (size < PITH__TAGGER_HEADER || read_u32(bytes) != PITH__TAGGER_MAGIC) {
        return pith__fail_at(err, PITH_E_CORRUPT, 0, "these are no tagger weights");
    }
    if (read_u32(bytes + 4) != PITH__TAGGER_VERSION || read_u32(bytes + 8) != PITH__TAG_COUNT) {
        return pith__fail_at(err, PITH_E_CORRUPT, 4, "tagger weights of another version");
    }
    const uint32_t bucket_bits = read_u32(bytes + 12);
    const size_t records_size = read_u32(bytes + 16);
    if (bucket_bits < 1 || bucket_bits > 24) {
        return pith__fail_at(err, PITH_E_CORRUPT, 12, "tagger weights with 2^%u buckets",
                             (unsigned)bucket_bits);
    }
    const size_t offsets_size = (((size_t)1 << bucket_bits) + 1) * 4;
    if (size - PITH__TAGGER_HEADER < offsets_size ||
        size - PITH__TAGGER_HEADER - offsets_size != records_size) {
        return pith__fail_at(err, PITH_E_CORRUPT, 16, "tagger weights of %zu bytes are cut short",
                             size);
    }
    out->offsets = bytes + PITH__TAGGER_HEADER;
    out->records = out->offsets + offsets_size;
    out->records_size = records_size;
    out->bucket_bits = bucket_bits;
    return PITH_OK;
}

pith_status pith__tagger_open_builtin(pith__tagger *out, pith_error *err)
{
    const size_t size = (size_t)(pith__tagger_weights_end - pith__tagger_weights);
    return pith__tagger_open(pith__tagger_weights, size, out, err);
}

/* The pairs of a feature; *count is 0 if the weights do not hold it. */
static const unsigned char *find_record(const pith__tagger *tagger, uint64_t feature, size_t *count)
{
    const unsigned char *slot = tagger->offsets + 4 * (feature >> (64 - tagger->bucket_bits));
    size_t at = read_u32(slot);
    size_t end = read_u32(slot + 4);
    end = end < tagger->records_size ? end : tagger->records_size;
    const unsigned fingerprint = feature & 0xffff;
    while (at < end && end - at >= 3) {
        const unsigned char *record = tagger->records + at;
        const size_t pairs = record[2];
        if ((end - at - 3) / 2 < pairs) {
            break;
        }
        if ((record[0] | (unsigned)record[1] << 8) == fingerprint) {
            *count = pairs;
            return record + 3;
        }
        at += 3 + 2 * pairs;
    }
    *count = 0;
    return tagger->records;
}

/* ---- words ---------------------------------------------------------------- */

/* One number per kind of feature, so that a suffix never meets a prefix of the same bytes. */
enum {
    KIND_FORM = 1,
    KIND_PREFIX,
    KIND_SUFFIX,
    KIND_SHAPE,
    KIND_LEXICON,
    KIND_CLASS,
    KIND_FEATURE
};

static uint64_t mix(uint64_t h)
{
    h ^= h >> 32;
    h *= UINT64_C(0xd6e8feb86659fd93);
    h ^= h >> 32;
    h *= UINT64_C(0xd6e8feb86659fd93);
    return h ^ h >> 32;
}

/* Order matters: join(a, b) != join(b, a). */
static uint64_t join(uint64_t a, uint64_t b)
{
    return (a ^ (a >> 29)) * UINT64_C(0x9e3779b97f4a7c15) + b;
}

static uint64_t step(uint64_t h, unsigned c)
{
    return (h ^ c) * UINT64_C(0x100000001b3);
}

static unsigned fold_digit(unsigned c)
{
    return c >= '0' && c <= '9' ? '0' : c;
}

static unsigned fold(unsigned c)
{
    return c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : fold_digit(c);
}

/* The byte at word[*i] with U+2019 read as an apostrophe; moves on. */
static unsigned next_byte(const unsigned char *word, size_t size, size_t *i)
{
    const size_t at = *i;
    if (word[at] == 0xe2 && size - at >= 3 && word[at + 1] == 0x80 && word[at + 2] == 0x99) {
        *i = at + 3;
        return '\'';
    }
    *i = at + 1;
    return word[at];
}

static unsigned shape_of(unsigned c)
{
    if (c >= 'A' && c <= 'Z') {
        return 'X';
    }
    if (c >= 'a' && c <= 'z') {
        return 'x';
    }
    return c >= 0x80 ? 'u' : fold_digit(c);
}

/* Runs after the eighth add nothing: by then it is an address or noise. */
static uint64_t hash_shape(const unsigned char *word, size_t size)
{
    uint64_t h = KIND_SHAPE;
    unsigned last = 0;
    size_t runs = 0;
    for (size_t i = 0; i < size && runs < 8;) {
        const unsigned c = shape_of(next_byte(word, size, &i));
        if (c != last) {
            h = step(h, c);
            last = c;
            runs++;
        }
    }
    /* one capital alone ("A", "I", "M.") differs from a word in capitals */
    return mix(join(h, size < 3 ? size : 3));
}

/* The tags of a word, coarsely: which ones, and how sure. */
static bool look_up(const pith__tagger *tagger, uint64_t key, pith__tag_word *out)
{
    size_t count = 0;
    const unsigned char *pairs = find_record(tagger, key, &count);
    if (count == 0) {
        return false;
    }
    uint64_t h = KIND_CLASS;
    unsigned most = 0;
    for (size_t k = 0; k < count; k++) {
        const unsigned tag = pairs[2 * k] % TAG_SLOTS;
        const unsigned share = pairs[2 * k + 1];
        h = join(h, tag * 4u + (share > 120) + (share > 60) + (share > 12));
        if (share > most) {
            most = share;
            out->best = tag;
        }
    }
    out->lexicon = mix(h);
    return true;
}

static uint64_t lexicon_key(uint64_t form)
{
    return mix(join(KIND_LEXICON, form));
}

uint64_t pith__tagger_lexicon_key(const char *word, size_t size)
{
    pith__tag_word described;
    pith__tagger_describe(NULL, word, size, &described);
    return lexicon_key(described.form);
}

void pith__tagger_describe(const pith__tagger *tagger, const char *word, size_t size,
                           pith__tag_word *out)
{
    const unsigned char *bytes = (const unsigned char *)word;
    uint64_t form = KIND_FORM;
    uint64_t lower = KIND_FORM;
    uint64_t prefix = KIND_PREFIX;
    size_t length = 0;
    *out = (pith__tag_word){.best = PITH__TAG_NONE};
    for (size_t i = 0; i < size; length++) {
        const unsigned c = next_byte(bytes, size, &i);
        form = step(form, fold_digit(c));
        lower = step(lower, fold(c));
        if (length < PITH__TAGGER_PREFIXES) {
            prefix = step(prefix, fold(c));
            out->prefix[length] = mix(prefix);
        }
    }
    uint64_t suffix = KIND_SUFFIX;
    for (size_t i = 0; i < PITH__TAGGER_SUFFIXES && i < size; i++) {
        suffix = step(suffix, fold(bytes[size - 1 - i]));
        out->suffix[i] = mix(suffix);
    }
    out->form = mix(form);
    out->lower = mix(lower);
    out->shape = hash_shape(bytes, size);
    if (tagger != NULL && !look_up(tagger, lexicon_key(out->form), out)) {
        (void)look_up(tagger, lexicon_key(out->lower), out);
    }
}

/* ---- features ------------------------------------------------------------- */

typedef struct feature_list {
    uint64_t *items;
    size_t count;
} feature_list;

/* Each call site is a kind of its own: the number of the feature goes into the hash. */
static void add(feature_list *list, uint64_t value)
{
    list->items[list->count] = mix(join(KIND_FEATURE + list->count, value));
    list->count++;
}

static void add2(feature_list *list, uint64_t a, uint64_t b)
{
    add(list, join(join(1, a), b));
}

static void add3(feature_list *list, uint64_t a, uint64_t b, uint64_t c)
{
    add(list, join(join(join(2, a), b), c));
}

/* Stands for what is before and after the sentence. */
static const pith__tag_word outside = {.form = 1,
                                       .lower = 1,
                                       .suffix = {1, 1, 1, 1, 1},
                                       .shape = 1,
                                       .lexicon = 1,
                                       .best = PITH__TAG_NONE};

static void add_own(feature_list *list, const pith__tag_word *w)
{
    add(list, 0);
    add(list, w->form);
    add(list, w->lower);
    for (size_t k = 0; k < PITH__TAGGER_PREFIXES; k++) {
        add(list, w->prefix[k]);
    }
    for (size_t k = 0; k < PITH__TAGGER_SUFFIXES; k++) {
        add(list, w->suffix[k]);
    }
    add(list, w->shape);
    add(list, w->lexicon);
    add2(list, w->shape, w->lexicon);
    add2(list, w->shape, w->suffix[2]);
}

size_t pith__tagger_features(const pith__tag_word *words, size_t count, size_t i,
                             const uint8_t *tags, uint64_t *features)
{
    feature_list list;
    list.items = features;
    list.count = 0;
    const pith__tag_word *w = &words[i];
    const pith__tag_word *p1 = i >= 1 ? &words[i - 1] : &outside;
    const pith__tag_word *p2 = i >= 2 ? &words[i - 2] : &outside;
    const pith__tag_word *n1 = count - i > 1 ? &words[i + 1] : &outside;
    const pith__tag_word *n2 = count - i > 2 ? &words[i + 2] : &outside;
    const uint64_t t1 = i >= 1 ? tags[i - 1] : PITH__TAG_NONE;
    const uint64_t t2 = i >= 2 ? tags[i - 2] : PITH__TAG_NONE;

    add_own(&list, w);
    add(&list, t1);
    add2(&list, t1, t2);
    add2(&list, t1, w->lower);
    add3(&list, t1, t2, w->lower);
    add2(&list, t1, w->suffix[2]);
    add2(&list, t1, w->lexicon);
    add3(&list, t1, t2, w->lexicon);
    add2(&list, t1, w->shape);
    add(&list, p1->lower);
    add(&list, p2->lower);
    add(&list, n1->lower);
    add(&list, n2->lower);
    add2(&list, p1->lower, w->lower);
    add2(&list, w->lower, n1->lower);
    add2(&list, p1->lower, n1->lower);
    add2(&list, n1->lower, n2->lower);
    add2(&list, p2->lower, p1->lower);
    add2(&list, p1->lower, t2);
    add2(&list, p1->lower, w->lexicon);
    add2(&list, p1->lower, w->suffix[2]);
    add(&list, n1->lexicon);
    add(&list, n2->lexicon);
    add(&list, n1->suffix[2]);
    add(&list, n1->suffix[1]);
    add(&list, p1->suffix[2]);
    add2(&list, w->lexicon, n1->lexicon);
    add3(&list, w->lexicon, n1->lexicon, n2->lexicon);
    add3(&list, t1, w->lexicon, n1->lexicon);
    add2(&list, w->lower, n1->lexicon);
    add2(&list, w->lexicon, n1->lower);
    add2(&list, n1->lexicon, n2->lexicon);
    add3(&list, t1, w->lower, n1->lexicon);
    add3(&list, p1->shape, w->shape, n1->shape);
    add2(&list, w->suffix[2], n1->suffix[1]);
    add2(&list, w->suffix[1], n1->lexicon);
    return list.count;
}

/* ---- tagging -------------------------------------------------------------- */

static unsigned best_of(const int32_t *scores)
{
    unsigned best = 0;
    for (unsigned tag = 1; tag < PITH__TAG_COUNT; tag++) {
        best = scores[tag] > scores[best] ? tag : best;
    }
    return best;
}

void pith__tagger_tag(const pith__tagger *tagger, const pith__tag_word *words, size_t count,
                      uint8_t *tags)
{
    for (size_t i = 0; i < count; i++) {
        uint64_t features[PITH__TAGGER_FEATURES];
        int32_t scores[TAG_SLOTS] = {0};
        const size_t n = pith__tagger_features(words, count, i, tags, features);
        for (size_t f = 0; f < n; f++) { /* the records lie all over the cache */
            const unsigned char *slot =
                tagger->offsets + 4 * (features[f] >> (64 - tagger->bucket_bits));
            __builtin_prefetch(tagger->records + read_u32(slot));
        }
        for (size_t f = 0; f < n; f++) {
            size_t pairs_count = 0;
            const unsigned char *pairs = find_record(tagger, features[f], &pairs_count);
            for (size_t k = 0; k < pairs_count; k++) {
                scores[pairs[2 * k] % TAG_SLOTS] += (int8_t)pairs[2 * k + 1];
            }
        }
        tags[i] = (uint8_t)best_of(scores);
    }
}
