/*
 * focus.c: what of a text speaks of a question, from words alone.
 *
 *     key = S + 2 D + 0.4 T + 0.15 P + 0.25 K + 0.002 min(nats, 20) - 0.05 [no word]
 *
 * S  BM25 of the sentence for the question, as a share of the best sentence's
 * D  relevance of the document, 0..1
 * T  1 if the question asks for a name, a number or a date and the sentence holds one
 * P  nearness: sum over the question's terms of idf * exp(-tokens between / 8), to the nearest
 *    place of the term in the same document, as a share of the best unit's
 * K  1 if the unit itself holds what the question asks for
 *
 * The first three choose sentences, the others what goes first of a sentence that does not fit.
 * A small model's own judgement (perplexity of the question given the document, contrastive
 * perplexity) was measured beside it and adds nothing at five million parameters; see
 * docs/llmlingua.md.
 */
#include "lingua/lingua.h"
#include "lingua/terms.h"

#include <math.h>
#include <string.h>

#define DOCUMENT_WEIGHT 2.0
#define SENTENCE_KIND   0.4
#define NEAR_WEIGHT     0.15
#define UNIT_KIND       0.25
#define NATS_WEIGHT     0.002
#define NATS_MOST       20.0
#define NO_WORD_MALUS   0.05
#define NEAR_TOKENS     8.0

#define TERMS_MAX ((size_t)256)

/* Farther away a term adds less than a thousandth. */
#define NEAR_REACH 56.0

/* What the answer to a question is made of. */
typedef enum kind { KIND_ANY, KIND_NAME, KIND_NUMBER, KIND_DATE } kind;

typedef struct focus {
    const pith__focus_input *input;
    pith__arena *arena;
    pith__lingua_terms question; /* without function words; all of them if there are no others */
    double *idf;                 /* (question.count) over sentences */
    bool *holds;                 /* (units, question.count) the unit holds the term */
    bool *of_kind;               /* (units) */
    bool *sentence_of_kind;      /* (sentences) one of its units is */
    pith_error *err;
} focus;

/* ---- what the question asks for --------------------------------------------------------------- */

static const char *const how_much[] = {"many", "much",  "long", "old",  "far",  "tall", "often",
                                       "big",  "large", "high", "fast", "deep", "wide", NULL};
static const char *const of_number[] = {"percent", "percentage", "number",
                                        "amount",  "population", NULL};
static const char *const of_time[] = {"year",    "date",   "day",  "month", "decade",
                                      "century", "season", "time", NULL};
static const char *const of_name[] = {
    "city",       "country", "state",    "person",    "actor", "actress", "singer", "player",
    "team",       "company", "band",     "island",    "river", "county",  "town",   "school",
    "university", "author",  "director", "president", "king",  "queen",   NULL};
static const char *const who_where[] = {"who", "whose", "whom", "where", NULL};
static const char *const what_which[] = {"what", "which", NULL};
static const char *const word_how[] = {"how", NULL};
static const char *const word_when[] = {"when", NULL};

static kind kind_of(const pith__lingua_terms *terms)
{
    for (size_t i = 0; i + 1 < terms->count; i++) {
        const pith__lingua_text *next = &terms->items[i + 1];
        const bool what = pith__lingua_term_in(&terms->items[i], what_which);
        if ((pith__lingua_term_in(&terms->items[i], word_how) &&
             pith__lingua_term_in(next, how_much)) ||
            (what && pith__lingua_term_in(next, of_number))) {
            return KIND_NUMBER;
        }
        if (what && pith__lingua_term_in(next, of_time)) {
            return KIND_DATE;
        }
        if (what && pith__lingua_term_in(next, of_name)) {
            return KIND_NAME;
        }
    }
    for (size_t i = 0; i < terms->count; i++) {
        if (pith__lingua_term_in(&terms->items[i], word_when)) {
            return KIND_DATE;
        }
        if (pith__lingua_term_in(&terms->items[i], who_where)) {
            return KIND_NAME;
        }
    }
    return KIND_ANY;
}

static const char *const number_words[] = {
    "one",     "two",     "three",  "four",   "five",   "six",   "seven", "eight",   "nine",
    "ten",     "eleven",  "twelve", "twenty", "thirty", "forty", "fifty", "hundred", "thousand",
    "million", "billion", "dozen",  "half",   "once",   "twice", NULL};
static const char *const date_words[] = {"january",  "february", "march",   "april",     "may",
                                         "june",     "july",     "august",  "september", "october",
                                         "november", "december", "century", "season",    "spring",
                                         "summer",   "autumn",   "winter",  NULL};

static bool has_one_of(const pith__lingua_terms *terms, const char *const *words)
{
    for (size_t i = 0; i < terms->count; i++) {
        if (pith__lingua_term_in(&terms->items[i], words)) {
            return true;
        }
    }
    return false;
}

/* A capital that the question has not: of its own words an answer is rarely made. */
static bool has_new_word(const pith__lingua_terms *terms, const pith__lingua_terms *question)
{
    for (size_t i = 0; i < terms->count; i++) {
        bool known = false;
        for (size_t q = 0; q < question->count && !known; q++) {
            known = pith__lingua_same_term(&terms->items[i], &question->items[q]);
        }
        if (!known) {
            return true;
        }
    }
    return false;
}

static bool is_of_kind(const focus *f, kind wanted, const pith__lingua_text *text,
                       const pith__lingua_terms *terms)
{
    const unsigned shape = pith__text_shape(text->text, text->size, false);
    switch (wanted) {
    case KIND_NAME:
        return (shape & PITH__SHAPE_CAPITAL) != 0 && has_new_word(terms, &f->question);
    case KIND_NUMBER:
        return (shape & PITH__SHAPE_DIGIT) != 0 || has_one_of(terms, number_words);
    case KIND_DATE:
        return (shape & PITH__SHAPE_DIGIT) != 0 || has_one_of(terms, date_words);
    case KIND_ANY:
        break;
    }
    return false;
}

/* ---- words of the units ------------------------------------------------------------------------- */

/* Every word once, and no more than a question has: what is longer is a document itself. */
static void keep_distinct(pith__lingua_terms *terms)
{
    size_t count = 0;
    for (size_t i = 0; i < terms->count && count < TERMS_MAX; i++) {
        bool known = false;
        for (size_t k = 0; k < count && !known; k++) {
            known = pith__lingua_same_term(&terms->items[i], &terms->items[k]);
        }
        if (!known) {
            terms->items[count++] = terms->items[i];
        }
    }
    terms->count = count;
}

static pith_status read_question(focus *f, kind *wanted)
{
    const pith__lingua_text *text = &f->input->question;
    pith__lingua_terms all;
    PITH__TRY(pith__lingua_split_terms(text, false, f->arena, &all, f->err));
    PITH__TRY(pith__lingua_split_terms(text, true, f->arena, &f->question, f->err));
    f->question = f->question.count > 0 ? f->question : all;
    keep_distinct(&f->question);
    *wanted = kind_of(&all);
    return PITH_OK;
}

static pith_status read_units(focus *f, kind wanted)
{
    const pith__focus_input *in = f->input;
    const size_t terms_count = f->question.count;
    PITH__TRY(
        pith__arena_alloc_zero(f->arena, in->unit_count, sizeof *f->of_kind, &f->of_kind, f->err));
    PITH__TRY(pith__arena_alloc_zero(f->arena, in->sentence_count, sizeof *f->sentence_of_kind,
                                     &f->sentence_of_kind, f->err));
    PITH__TRY(pith__arena_alloc_zero(f->arena, in->unit_count, terms_count * sizeof *f->holds + 1,
                                     &f->holds, f->err));
    for (size_t i = 0; i < in->unit_count; i++) {
        const pith__lingua_text text = {in->text + in->units[i].start,
                                        in->units[i].end - in->units[i].start};
        pith__lingua_terms terms;
        const pith__arena_mark mark = pith__arena_save(f->arena);
        const pith_status status = pith__lingua_split_terms(&text, false, f->arena, &terms, f->err);
        if (status == PITH_OK) {
            f->of_kind[i] = is_of_kind(f, wanted, &text, &terms);
            for (size_t q = 0; q < terms_count; q++) {
                bool *held = &f->holds[i * terms_count + q];
                for (size_t t = 0; t < terms.count && !*held; t++) {
                    *held = pith__lingua_same_term(&terms.items[t], &f->question.items[q]);
                }
            }
        }
        pith__arena_restore(f->arena, mark);
        PITH__TRY(status);
        if (in->units[i].sentence != SIZE_MAX && f->of_kind[i]) {
            f->sentence_of_kind[in->units[i].sentence] = true;
        }
    }
    return PITH_OK;
}

/* ln(1 + (n - with + 0.5) / (with + 0.5)) over sentences, a sentence having the terms of its units. */
static pith_status find_idf(focus *f)
{
    const pith__focus_input *in = f->input;
    PITH__TRY(pith__arena_alloc(f->arena, f->question.count, sizeof *f->idf, &f->idf, f->err));
    for (size_t q = 0; q < f->question.count; q++) {
        size_t last = SIZE_MAX;
        double with = 0.0;
        for (size_t i = 0; i < in->unit_count; i++) {
            const size_t sentence = in->units[i].sentence;
            if (sentence != SIZE_MAX && sentence != last && f->holds[i * f->question.count + q]) {
                with += 1.0;
                last = sentence;
            }
        }
        const double without = (double)in->sentence_count - with;
        f->idf[q] = log(1.0 + (without + 0.5) / (with + 0.5));
    }
    return PITH_OK;
}

/* ---- nearness ----------------------------------------------------------------------------------------- */

/*
 * Walks over the units in one direction and lowers `distance` (units) to the number of tokens
 * between a unit and the last one before it in the same document that holds term `q`.
 */
static void walk(const focus *f, size_t q, bool forward, double *distance)
{
    const pith__focus_input *in = f->input;
    const pith__focus_unit *last = NULL;
    size_t document = SIZE_MAX;
    for (size_t step = 0; step < in->unit_count; step++) {
        const size_t i = forward ? step : in->unit_count - 1 - step;
        const pith__focus_unit *unit = &in->units[i];
        if (unit->sentence == SIZE_MAX) {
            continue;
        }
        if (in->sentences[unit->sentence].document != document) {
            document = in->sentences[unit->sentence].document;
            last = NULL;
        }
        last = f->holds[i * f->question.count + q] ? unit : last;
        if (last != NULL) {
            const pith__focus_unit *left = forward ? last : unit;
            const pith__focus_unit *right = forward ? unit : last;
            const double gap = (double)right->token - (double)(left->token + left->tokens);
            distance[i] = fmin(distance[i], fmax(gap, 0.0));
        }
    }
}

static pith_status find_nearness(const focus *f, double *near)
{
    const pith__focus_input *in = f->input;
    double *distance = NULL;
    double most = 0.0;
    PITH__TRY(pith__arena_alloc(f->arena, in->unit_count, sizeof *distance, &distance, f->err));
    for (size_t i = 0; i < in->unit_count; i++) {
        near[i] = 0.0;
    }
    for (size_t q = 0; q < f->question.count; q++) {
        for (size_t i = 0; i < in->unit_count; i++) {
            distance[i] = (double)INFINITY;
        }
        walk(f, q, true, distance);
        walk(f, q, false, distance);
        for (size_t i = 0; i < in->unit_count; i++) {
            if (distance[i] < NEAR_REACH) {
                near[i] += f->idf[q] * exp(-distance[i] / NEAR_TOKENS);
                most = fmax(most, near[i]);
            }
        }
    }
    for (size_t i = 0; i < in->unit_count && most > 0.0; i++) {
        near[i] /= most;
    }
    return PITH_OK;
}

/* ---- sentences -------------------------------------------------------------------------------------- */

static pith_status rank_sentences(const focus *f, const pith__lm *lm, double **scores)
{
    const pith__focus_input *in = f->input;
    const pith__lingua_options options = {.mode = PITH__LINGUA_PAPER,
                                          .rank_method = PITH__RANK_BM25};
    pith__lingua_text *texts = NULL;
    pith__ranking ranking;
    double most = 0.0;
    PITH__TRY(pith__arena_alloc(f->arena, in->sentence_count, sizeof *texts, &texts, f->err));
    for (size_t i = 0; i < in->sentence_count; i++) {
        texts[i] = (pith__lingua_text){in->text + in->sentences[i].start,
                                       in->sentences[i].end - in->sentences[i].start};
    }
    PITH__TRY(pith__lingua_rank(lm, &options, texts, in->sentence_count, &in->question, false,
                                f->arena, &ranking, f->err));
    for (size_t i = 0; i < in->sentence_count; i++) {
        most = fmax(most, ranking.scores[i]);
    }
    for (size_t i = 0; i < in->sentence_count && most > 0.0; i++) {
        ranking.scores[i] /= most;
    }
    *scores = ranking.scores;
    return PITH_OK;
}

/* ---- all of it ------------------------------------------------------------------------------------------ */

static pith_status find_keys(focus *f, const pith__lm *lm, float *keys)
{
    const pith__focus_input *in = f->input;
    double *scores = NULL;
    double *near = NULL;
    kind wanted = KIND_ANY;
    PITH__TRY(rank_sentences(f, lm, &scores));
    PITH__TRY(read_question(f, &wanted));
    PITH__TRY(read_units(f, wanted));
    PITH__TRY(find_idf(f));
    PITH__TRY(pith__arena_alloc(f->arena, in->unit_count, sizeof *near, &near, f->err));
    PITH__TRY(find_nearness(f, near));
    for (size_t i = 0; i < in->unit_count; i++) {
        const pith__focus_unit *unit = &in->units[i];
        if (unit->sentence == SIZE_MAX) {
            keys[i] = 0.0F;
            continue;
        }
        const bool has_word =
            (pith__text_shape(in->text + unit->start, unit->end - unit->start, false) &
             PITH__SHAPE_WORD) != 0;
        const double nats = isnan(unit->nats) ? 0.0 : fmin((double)unit->nats, NATS_MOST);
        keys[i] = (float)(scores[unit->sentence] +
                          DOCUMENT_WEIGHT * in->documents[in->sentences[unit->sentence].document] +
                          NEAR_WEIGHT * near[i] +
                          (f->sentence_of_kind[unit->sentence] ? SENTENCE_KIND : 0.0) +
                          (f->of_kind[i] ? UNIT_KIND : 0.0) + NATS_WEIGHT * nats -
                          (has_word ? 0.0 : NO_WORD_MALUS));
    }
    return PITH_OK;
}

pith_status pith__lingua_focus(const pith__lm *lm, const pith__focus_input *input,
                               pith__arena *arena, float *keys, pith_error *err)
{
    focus f = {.input = input, .arena = arena, .err = err};
    if (input->unit_count == 0 || input->sentence_count == 0) {
        for (size_t i = 0; i < input->unit_count; i++) {
            keys[i] = 0.0F;
        }
        return PITH_OK;
    }
    const pith__arena_mark mark = pith__arena_save(arena);
    const pith_status status = find_keys(&f, lm, keys);
    pith__arena_restore(arena, mark);
    return status;
}
