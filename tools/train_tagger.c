/*
 * train_tagger.c: trains the part-of-speech tagger, measures it, grows its lexicon.
 *
 *     train_tagger train TRAIN.tsv OUT.bin [LEXICON.tsv]
 *     train_tagger eval DEV.tsv [WEIGHTS.bin]
 *     train_tagger lexicon [WEIGHTS.bin] < TEXT > LEXICON.tsv
 *
 * A treebank has a word per line (form, UPOS, XPOS, head, relation, space-after; tabs between
 * them) and an empty line after each sentence; "-" is standard input. Without WEIGHTS.bin, the
 * weights compiled in. The features are the library's own (pith__tagger_features), so training
 * and tagging cannot differ. Everything is seeded: the same input gives the same bytes.
 */
#include "../tests/unit/tagger_ud.h"
#include "text/tagger.h"
#include "text/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The first pass learns all features and finds the useful ones; the second learns those alone, so
 * that their weights make up for the others. Later epochs gained nothing on the dev part. */
#define EPOCHS_FIRST  6
#define EPOCHS_SECOND 10

/* Features kept. 70,000 fill some 700 KB; with 90,000 or 110,000 the accuracy was no higher. */
#define FEATURES_KEPT ((size_t)70000)

/* An averaged weight of this much is 1 in the file. Between 0.2 and 0.4 accuracy is the same;
 * weights that come out below SMALLEST are dropped. */
#define WEIGHT_UNIT 0.25
#define SMALLEST    2

/* A word seen less often says little about its tags. */
#define LEXICON_MIN 3

/* Tags of words in raw text are only the tagger's own opinion: they count as at most so many. */
#define LEXICON_EXTRA_MAX 10

/* Raw text: words below this count are left out of the list. */
#define LEXICON_TEXT_MIN 50

static _Noreturn void die(const char *what, const char *detail)
{
    (void)fprintf(stderr, "train_tagger: %s: %s\n", what, detail);
    _Exit(1);
}

static void *allocate(size_t count, size_t size)
{
    void *ptr = calloc(count == 0 ? 1 : count, size);
    if (ptr == NULL) {
        die("out of memory", "");
    }
    return ptr;
}

static FILE *open_input(const char *path)
{
    FILE *file = strcmp(path, "-") == 0 ? stdin : fopen(path, "rb");
    if (file == NULL) {
        die("cannot open", path);
    }
    return file;
}

static void close_input(FILE *file)
{
    if (file != stdin) {
        (void)fclose(file);
    }
}

static ud_corpus read_corpus(const char *path)
{
    ud_corpus corpus;
    FILE *file = open_input(path);
    if (!ud_read(file, &corpus)) {
        die("not a treebank", path);
    }
    close_input(file);
    return corpus;
}

/* ---- a table from feature to a row of numbers ------------------------------------------ */

typedef struct row {
    uint64_t key; /* 0: free */
    int32_t weight[PITH__TAG_COUNT];
    int64_t stamped[PITH__TAG_COUNT]; /* sum of update * time of the update */
} row;

typedef struct table {
    row *rows;
    size_t capacity; /* a power of two, at least twice the count */
    size_t count;
} table;

static void table_init(table *t, size_t capacity)
{
    *t = (table){.rows = allocate(capacity, sizeof(row)), .capacity = capacity};
}

/* The row of `key`, or the free one where it would be. */
static row *table_find(const table *t, uint64_t key)
{
    size_t at = (size_t)(key >> 16) & (t->capacity - 1);
    while (t->rows[at].key != 0 && t->rows[at].key != key) {
        at = (at + 1) & (t->capacity - 1);
    }
    return &t->rows[at];
}

/* Makes room for `extra` more rows; rows may move. */
static void table_reserve(table *t, size_t extra)
{
    while (2 * (t->count + extra) > t->capacity) {
        table bigger;
        table_init(&bigger, 2 * t->capacity);
        for (size_t i = 0; i < t->capacity; i++) {
            if (t->rows[i].key != 0) {
                *table_find(&bigger, t->rows[i].key) = t->rows[i];
            }
        }
        bigger.count = t->count;
        free(t->rows);
        *t = bigger;
    }
}

/* Needs room (table_reserve). */
static row *table_add(table *t, uint64_t key)
{
    row *found = table_find(t, key);
    t->count += found->key == 0;
    found->key = key;
    return found;
}

/* ---- the weights file ------------------------------------------------------------------ */

typedef struct record {
    uint64_t key;
    int8_t weight[PITH__TAG_COUNT];
} record;

typedef struct records {
    record *items;
    size_t count;
    size_t capacity;
} records;

static void push_record(records *list, const record *item)
{
    list->items = ud_grow(list->items, &list->capacity, list->count + 1, sizeof *list->items);
    list->items[list->count++] = *item;
}

static int compare_records(const void *left, const void *right)
{
    const record *a = left;
    const record *b = right;
    return a->key < b->key ? -1 : a->key > b->key;
}

static void put_u32(unsigned char *at, size_t value)
{
    for (unsigned k = 0; k < 4; k++) {
        at[k] = (unsigned char)(value >> (8 * k));
    }
}

/* Writes one record; returns its size. */
static size_t put_record(unsigned char *at, const record *r)
{
    size_t pairs = 0;
    at[0] = (unsigned char)r->key;
    at[1] = (unsigned char)(r->key >> 8);
    for (unsigned tag = 0; tag < PITH__TAG_COUNT; tag++) {
        if (r->weight[tag] != 0) {
            at[3 + 2 * pairs] = (unsigned char)tag;
            at[4 + 2 * pairs] = (unsigned char)r->weight[tag];
            pairs++;
        }
    }
    at[2] = (unsigned char)pairs;
    return 3 + 2 * pairs;
}

/* The bytes of a weights file, to be freed. Sorts the records by key, hence by bucket. */
static unsigned char *encode(const records *list, size_t *size)
{
    const size_t buckets = (size_t)1 << PITH__TAGGER_BUCKET_BITS;
    const size_t head = PITH__TAGGER_HEADER + (buckets + 1) * 4;
    unsigned char *bytes = allocate(head + list->count * (3 + 2 * PITH__TAG_COUNT), 1);
    unsigned char *offsets = bytes + PITH__TAGGER_HEADER;
    size_t used = 0;
    size_t bucket = 0; /* whose offset is written */
    qsort(list->items, list->count, sizeof *list->items, compare_records);
    for (size_t i = 0; i < list->count; i++) {
        while (bucket < list->items[i].key >> (64 - PITH__TAGGER_BUCKET_BITS)) {
            put_u32(offsets + 4 * ++bucket, used);
        }
        used += put_record(bytes + head + used, &list->items[i]);
    }
    while (bucket < buckets) {
        put_u32(offsets + 4 * ++bucket, used);
    }
    put_u32(bytes, PITH__TAGGER_MAGIC);
    put_u32(bytes + 4, PITH__TAGGER_VERSION);
    put_u32(bytes + 8, PITH__TAG_COUNT);
    put_u32(bytes + 12, PITH__TAGGER_BUCKET_BITS);
    put_u32(bytes + 16, used);
    *size = head + used;
    return bytes;
}

static pith__tagger open_weights(const void *bytes, size_t size)
{
    pith__tagger tagger;
    pith_error err;
    if (pith__tagger_open(bytes, size, &tagger, &err)) {
        die("weights", err.message);
    }
    return tagger;
}

/* Weights from a file (kept until the end of the program), or those compiled in. */
static pith__tagger load_weights(const char *path)
{
    pith__tagger tagger;
    pith_error err;
    pith__file file;
    if (path == NULL) {
        if (pith__tagger_open_builtin(&tagger, &err)) {
            die("weights", err.message);
        }
        return tagger;
    }
    if (pith__file_open(path, &file, &err)) {
        die("weights", err.message);
    }
    return open_weights(file.data, file.size);
}

/* ---- lexicon ------------------------------------------------------------------------------ */

static void count_word(table *counts, const char *form, unsigned tag, int32_t times)
{
    table_reserve(counts, 1);
    table_add(counts, pith__tagger_lexicon_key(form, strlen(form)))->weight[tag] += times;
}

/* Lines "form UPOS count", the counts of a form together at most LEXICON_EXTRA_MAX. */
static void read_lexicon(table *counts, const char *path)
{
    FILE *file = open_input(path);
    char line[512];
    while (fgets(line, sizeof line, file) != NULL) {
        char *fields[6];
        if (ud_fields(line, fields) != 3 || ud_tag(fields[1]) == PITH__TAG_COUNT) {
            die("bad line", line);
        }
        count_word(counts, fields[0], ud_tag(fields[1]), (int32_t)strtol(fields[2], NULL, 10));
    }
    close_input(file);
}

/* Shares of the tags of a word, of 127; those below 5 are left out. False for a rare word. */
static bool make_entry(const row *r, record *out)
{
    int32_t total = 0;
    *out = (record){.key = r->key};
    for (unsigned tag = 0; tag < PITH__TAG_COUNT; tag++) {
        total += r->weight[tag];
    }
    if (total < LEXICON_MIN) {
        return false;
    }
    for (unsigned tag = 0; tag < PITH__TAG_COUNT; tag++) {
        const int32_t share = (int32_t)((int64_t)r->weight[tag] * 127 / total);
        out->weight[tag] = (int8_t)(share >= 5 ? share : 0);
    }
    return true;
}

static records make_lexicon(const ud_corpus *train, const char *extra_path)
{
    records out = {0};
    table counts;
    table_init(&counts, 1 << 16);
    for (size_t i = 0; i < train->count; i++) {
        count_word(&counts, train->words[i].form, train->words[i].tag, 1);
    }
    if (extra_path != NULL) {
        read_lexicon(&counts, extra_path);
    }
    for (size_t i = 0; i < counts.capacity; i++) {
        record entry;
        if (counts.rows[i].key != 0 && make_entry(&counts.rows[i], &entry)) {
            push_record(&out, &entry);
        }
    }
    free(counts.rows);
    return out;
}

/* ---- learning ------------------------------------------------------------------------------- */

typedef struct learner {
    table weights;
    bool is_frozen; /* no new features */
    int64_t time;   /* words seen */
    size_t errors;  /* in this epoch */
} learner;

/* The rows of the features, without those that a frozen table does not hold. */
static size_t find_rows(learner *l, const uint64_t *features, size_t count, row **rows)
{
    size_t n = 0;
    table_reserve(&l->weights, count);
    for (size_t f = 0; f < count; f++) {
        row *found = l->is_frozen ? table_find(&l->weights, features[f])
                                  : table_add(&l->weights, features[f]);
        if (found->key != 0) {
            rows[n++] = found;
        }
    }
    return n;
}

static void update(row **rows, size_t n, unsigned tag, int32_t by, int64_t time)
{
    for (size_t f = 0; f < n; f++) {
        rows[f]->weight[tag] += by;
        rows[f]->stamped[tag] += by * time;
    }
}

/* One step of the perceptron; returns the tag it gave. A tie with the best rival counts as an
 * error for the update, for after rounding it may go either way. */
static unsigned learn_word(learner *l, const uint64_t *features, size_t count, unsigned gold)
{
    row *rows[PITH__TAGGER_FEATURES];
    int32_t scores[PITH__TAG_COUNT] = {0};
    const size_t n = find_rows(l, features, count, rows);
    for (size_t f = 0; f < n; f++) {
        for (unsigned tag = 0; tag < PITH__TAG_COUNT; tag++) {
            scores[tag] += rows[f]->weight[tag];
        }
    }
    unsigned rival = gold == 0 ? 1 : 0;
    for (unsigned tag = 0; tag < PITH__TAG_COUNT; tag++) {
        rival = tag != gold && scores[tag] > scores[rival] ? tag : rival;
    }
    l->time++;
    if (scores[gold] <= scores[rival]) {
        update(rows, n, gold, 1, l->time);
        update(rows, n, rival, -1, l->time);
        l->errors++;
    }
    return scores[gold] >= scores[rival] ? gold : rival;
}

/* Later words see the tags that were given, not the right ones, as they will when it counts. */
static void learn_sentence(learner *l, const ud_corpus *c, size_t sentence)
{
    pith__tag_word described[UD_SENTENCE_MAX];
    uint8_t tags[UD_SENTENCE_MAX];
    const ud_word *words = &c->words[ud_start(c, sentence)];
    size_t count = c->ends[sentence] - ud_start(c, sentence);
    count = count < UD_SENTENCE_MAX ? count : UD_SENTENCE_MAX;
    for (size_t i = 0; i < count; i++) {
        described[i] = words[i].described;
    }
    for (size_t i = 0; i < count; i++) {
        uint64_t features[PITH__TAGGER_FEATURES];
        const size_t n = pith__tagger_features(described, count, i, tags, features);
        tags[i] = (uint8_t)learn_word(l, features, n, words[i].tag);
    }
}

static uint64_t next_random(uint64_t *state)
{
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return *state >> 33;
}

static void shuffle(size_t *order, size_t count, uint64_t *state)
{
    for (size_t i = count; i > 1; i--) {
        const size_t other = (size_t)(next_random(state) % i);
        const size_t last = order[i - 1];
        order[i - 1] = order[other];
        order[other] = last;
    }
}

static void learn(learner *l, const ud_corpus *c, int epochs, uint64_t seed)
{
    size_t *order = allocate(c->sentences, sizeof *order);
    for (size_t s = 0; s < c->sentences; s++) {
        order[s] = s;
    }
    for (int epoch = 1; epoch <= epochs; epoch++) {
        shuffle(order, c->sentences, &seed);
        l->errors = 0;
        for (size_t k = 0; k < c->sentences; k++) {
            learn_sentence(l, c, order[k]);
        }
        printf("epoch %d: %zu errors, %zu features\n", epoch, l->errors, l->weights.count);
        (void)fflush(stdout);
    }
    free(order);
}

/* The weight as the mean over all words seen so far. */
static double averaged(const learner *l, const row *r, unsigned tag)
{
    return (double)r->weight[tag] - (double)r->stamped[tag] / (double)(l->time + 1);
}

static double strength(const learner *l, const row *r)
{
    double sum = 0;
    for (unsigned tag = 0; r->key != 0 && tag < PITH__TAG_COUNT; tag++) {
        sum += averaged(l, r, tag) * averaged(l, r, tag);
    }
    return sum;
}

static int compare_descending(const void *left, const void *right)
{
    const double a = *(const double *)left;
    const double b = *(const double *)right;
    return a > b ? -1 : a < b;
}

/* A frozen learner with the strongest features of `first`, weights zero. Frees `first`. */
static learner select_features(learner *first)
{
    double *strengths = allocate(first->weights.capacity, sizeof *strengths);
    for (size_t i = 0; i < first->weights.capacity; i++) {
        strengths[i] = strength(first, &first->weights.rows[i]);
    }
    qsort(strengths, first->weights.capacity, sizeof *strengths, compare_descending);
    const double least = strengths[FEATURES_KEPT];
    free(strengths);

    learner second = {.is_frozen = true};
    table_init(&second.weights, 1 << 18);
    for (size_t i = 0; i < first->weights.capacity; i++) {
        if (strength(first, &first->weights.rows[i]) > least) {
            table_reserve(&second.weights, 1);
            (void)table_add(&second.weights, first->weights.rows[i].key);
        }
    }
    free(first->weights.rows);
    return second;
}

static int8_t quantise(double weight)
{
    double scaled = weight / WEIGHT_UNIT;
    scaled = scaled > 127 ? 127 : scaled;
    scaled = scaled < -127 ? -127 : scaled;
    const int rounded = (int)(scaled < 0 ? scaled - 0.5 : scaled + 0.5);
    return (int8_t)(abs(rounded) >= SMALLEST ? rounded : 0);
}

static void add_weights(const learner *l, records *out)
{
    for (size_t i = 0; i < l->weights.capacity; i++) {
        const row *r = &l->weights.rows[i];
        record item = {.key = r->key};
        bool is_used = false;
        for (unsigned tag = 0; r->key != 0 && tag < PITH__TAG_COUNT; tag++) {
            item.weight[tag] = quantise(averaged(l, r, tag));
            is_used = is_used || item.weight[tag] != 0;
        }
        if (is_used) {
            push_record(out, &item);
        }
    }
}

static void write_file(const char *path, const unsigned char *bytes, size_t size)
{
    FILE *file = fopen(path, "wb");
    if (file == NULL || fwrite(bytes, 1, size, file) != size || fclose(file) != 0) {
        die("cannot write", path);
    }
}

static void train(const char *train_path, const char *out_path, const char *lexicon_path)
{
    ud_corpus corpus = read_corpus(train_path);
    records all = make_lexicon(&corpus, lexicon_path);
    size_t size = 0;
    unsigned char *bytes = encode(&all, &size);
    const pith__tagger lexicon = open_weights(bytes, size);
    printf("%zu sentences, lexicon of %zu words\n", corpus.sentences, all.count);
    ud_describe(&corpus, &lexicon);
    free(bytes);

    learner first = {0};
    table_init(&first.weights, 1 << 20);
    learn(&first, &corpus, EPOCHS_FIRST, 1);
    learner second = select_features(&first);
    learn(&second, &corpus, EPOCHS_SECOND, 2);
    add_weights(&second, &all);
    bytes = encode(&all, &size);
    write_file(out_path, bytes, size);
    printf("%s: %zu features, %zu bytes\n", out_path, all.count, size);

    free(bytes);
    free(all.items);
    free(second.weights.rows);
    ud_free(&corpus);
}

/* ---- measuring ---------------------------------------------------------------------------- */

static void print_chunks(const char *name, ud_chunks c)
{
    printf("%-40s P %.4f  R %.4f  F1 %.4f  (%zu expected)\n", name,
           (double)c.right / (double)c.found, (double)c.right / (double)c.expected, ud_f1(c),
           c.expected);
}

static void evaluate(const char *path, const char *weights_path)
{
    const pith__tagger tagger = load_weights(weights_path);
    ud_corpus corpus = read_corpus(path);
    const double start = pith__seconds();
    const double accuracy = ud_accuracy(&corpus, &tagger);
    const double seconds = pith__seconds() - start;
    printf("tags: accuracy %.4f of %zu words, %.2f million words/s\n", accuracy, corpus.count,
           (double)corpus.count / seconds / 1e6);
    print_chunks("chunks, gold tags", ud_score_chunks(&corpus, NULL, 1));
    print_chunks("chunks, gold tags, two words or more", ud_score_chunks(&corpus, NULL, 2));
    print_chunks("chunks, own tags", ud_score_chunks(&corpus, &tagger, 1));
    print_chunks("chunks, own tags, two words or more", ud_score_chunks(&corpus, &tagger, 2));
    ud_free(&corpus);
}

/* ---- a lexicon from raw text ----------------------------------------------------------------- */

typedef struct form {
    char *text; /* NULL: free */
    int32_t count[PITH__TAG_COUNT];
    int32_t total;
} form;

typedef struct forms {
    form *items;
    size_t capacity; /* a power of two */
    size_t count;
} forms;

static form *forms_find(const forms *f, const char *text, uint64_t key)
{
    size_t at = (size_t)(key >> 16) & (f->capacity - 1);
    while (f->items[at].text != NULL && strcmp(f->items[at].text, text) != 0) {
        at = (at + 1) & (f->capacity - 1);
    }
    return &f->items[at];
}

static bool is_plain_word(const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        const bool is_letter = (text[i] >= 'A' && text[i] <= 'Z') ||
                               (text[i] >= 'a' && text[i] <= 'z') || (unsigned char)text[i] >= 0x80;
        if (!is_letter) {
            return false;
        }
    }
    return size > 1 && size < 32;
}

/* Counts the tag of a word; new words are dropped once the table is half full. */
static void forms_count(forms *f, const char *word, size_t size, unsigned tag)
{
    char text[32];
    if (!is_plain_word(word, size)) {
        return;
    }
    (void)snprintf(text, sizeof text, "%.*s", (int)size, word);
    form *found = forms_find(f, text, pith__tagger_lexicon_key(text, size));
    if (found->text == NULL) {
        if (2 * f->count >= f->capacity) {
            return;
        }
        found->text = strdup(text);
        f->count++;
    }
    found->count[tag]++;
    found->total++;
}

/* Tags a line of text as one sentence, roughly: for counts over millions of words that will do. */
static void count_line(const pith__tagger *tagger, const char *line, size_t size, forms *out)
{
    pith__tag_word described[UD_SENTENCE_MAX];
    uint8_t tags[UD_SENTENCE_MAX];
    pith__spans words;
    pith_error err;
    if (pith__text_words(line, size, &pith__allocator_default, &words, &err)) {
        die("words", err.message);
    }
    const size_t count = words.count < UD_SENTENCE_MAX ? words.count : UD_SENTENCE_MAX;
    for (size_t i = 0; i < count; i++) {
        pith__span *w = &words.items[i];
        while (w->start < w->end && line[w->start] == ' ') {
            w->start++;
        }
        pith__tagger_describe(tagger, line + w->start, w->end - w->start, &described[i]);
    }
    pith__tagger_tag(tagger, described, count, tags);
    for (size_t i = 0; i < count; i++) {
        forms_count(out, line + words.items[i].start, words.items[i].end - words.items[i].start,
                    tags[i]);
    }
    pith__spans_deinit(&words, &pith__allocator_default);
}

static int compare_forms(const void *left, const void *right)
{
    const form *a = left;
    const form *b = right;
    if (a->text == NULL || b->text == NULL) {
        return (a->text == NULL) - (b->text == NULL);
    }
    return strcmp(a->text, b->text);
}

static void make_list(const char *weights_path)
{
    const pith__tagger tagger = load_weights(weights_path);
    static char line[1 << 16];
    forms all = {.capacity = (size_t)1 << 22};
    all.items = allocate(all.capacity, sizeof *all.items);
    while (fgets(line, sizeof line, stdin) != NULL) {
        count_line(&tagger, line, strcspn(line, "\n"), &all);
    }
    qsort(all.items, all.capacity, sizeof *all.items, compare_forms);
    for (size_t i = 0; i < all.capacity && all.items[i].text != NULL; i++) {
        const form *f = &all.items[i];
        for (unsigned tag = 0; f->total >= LEXICON_TEXT_MIN && tag < PITH__TAG_COUNT; tag++) {
            const int32_t share = (int32_t)((int64_t)f->count[tag] * LEXICON_EXTRA_MAX / f->total);
            if (share > 0) {
                printf("%s\t%s\t%d\n", f->text, pith__tag_name(tag), (int)share);
            }
        }
        free(f->text);
    }
    free(all.items);
}

int main(int argc, char **argv)
{
    const char *mode = argc > 1 ? argv[1] : "";
    if (strcmp(mode, "train") == 0 && argc >= 4) {
        train(argv[2], argv[3], argc > 4 ? argv[4] : NULL);
    } else if (strcmp(mode, "eval") == 0 && argc >= 3) {
        evaluate(argv[2], argc > 3 ? argv[3] : NULL);
    } else if (strcmp(mode, "lexicon") == 0) {
        make_list(argc > 2 ? argv[2] : NULL);
    } else {
        (void)fprintf(stderr, "usage: train_tagger train TRAIN.tsv OUT.bin [LEXICON.tsv]\n"
                              "       train_tagger eval DEV.tsv [WEIGHTS.bin]\n"
                              "       train_tagger lexicon [WEIGHTS.bin] < TEXT\n");
        return 2;
    }
    return 0;
}
