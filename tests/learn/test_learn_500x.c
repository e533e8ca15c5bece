/*
 * test_learn_500x.c: a compressor learns to put four pairs, eight tokens, into keys and values of
 * four slots, from which a model that does not change answers (500xCompressor: Li, Su & Collier
 * 2024, at a scale of seconds). What learns is LoRA in the encoder and the slots' rows.
 *
 * What must not pass for it: truncation to as many tokens; a capsule of another text; the model
 * by itself; knowing which values there are but not whose (one in four is right then, at ln 4 nats); a
 * decoder that has learned, too. Questions are asked one by one, each of a reader that has read the
 * capsule and nothing else: no answer to another one helps.
 *
 * Printed and not judged by: the other places of slots, the release's among them, and ICAE (Ge et al.
 * 2023), whose memory is embeddings, with the same slots, steps and LoRA. They are run with the first
 * seed, and with every seed where PITH_LEARN_ALL is set.
 */
#include "compressing.h"
#include "dictionary.h"

#include <math.h>

enum {
    PAIRS = 4,
    CONTEXT = 2 * PAIRS,
    SLOTS = 4,
    BASE_STEPS = 600,
    RANK = 32,
    TEXTS = 32, /* of an update */
    STEPS = 600,
    STEPS_DOWN = 300,             /* of them, with a falling rate */
    CHECK_EVERY = 50,             /* steps */
    QUESTION = 3,                 /* "Q key value" */
    ASKED = PAIRS * QUESTION - 1, /* all of them, without the last answer */
    VALIDATION = 32,              /* dictionaries by which is seen when it was learned */
    HELD_OUT = 128                /* dictionaries, each asked about all its pairs */
};

/* ---- texts ---------------------------------------------------------------------------------- */

/* A context that is compressed, then all questions with their answers. */
typedef struct lesson {
    uint32_t context[2 * DICTIONARY_PAIRS];
    uint32_t ids[ASKED];
    uint32_t targets[ASKED];
    pith__memory_segment segment;
    pith__memory_piece pieces[2];
} lesson;

static void lesson_make(lesson *l, const dictionary *d, pith__memory_sample *sample)
{
    for (size_t i = 0; i < ASKED; i++) {
        const size_t pair = d->order[i / QUESTION];
        const uint32_t of[QUESTION] = {DICTIONARY_QUERY, d->key[pair], d->value[pair]};
        l->ids[i] = of[i % QUESTION];
        l->targets[i] = i % QUESTION == 1 ? d->value[pair] : PITH__NO_TARGET;
    }
    const size_t count = dictionary_context(d, l->context);
    l->segment = (pith__memory_segment){.ids = l->context, .count = count, .slots = SLOTS};
    l->pieces[0] = (pith__memory_piece){.segment = 0, .last_target = PITH__NO_TARGET};
    l->pieces[1] = (pith__memory_piece){
        .ids = l->ids, .targets = l->targets, .count = ASKED, .last_target = PITH__NO_TARGET};
    *sample = (pith__memory_sample){
        .segments = &l->segment, .n_segments = 1, .pieces = l->pieces, .n_pieces = 2};
}

/* Dictionaries that no training has seen: there are 7 * 10^11 of them. */
static void draw_held_out(dictionary *d, size_t count, uint64_t seed)
{
    for (size_t i = 0; i < count; i++) {
        dictionary_draw(&d[i], PAIRS, &seed);
    }
}

/* ---- asking --------------------------------------------------------------------------------- */

/* All pairs of a dictionary, one by one, of a reader that has read what there is to know. */
static void ask_all(pith__reader *reader, const dictionary *d, answers *out)
{
    const pith__reader_mark mark = pith__reader_save(reader);
    const size_t known = reader->kv.length;
    pith_error err = {0};
    for (size_t pair = 0; pair < PAIRS; pair++) {
        const uint32_t question[] = {DICTIONARY_QUERY, d->key[pair]};
        pith__reader_restore(reader, mark);
        assert_ok(pith__reader_ids(reader, question, 2, NULL, &err), err);
        assert_int_equal(reader->kv.length, known + 2);
        answers_add(out, pith__reader_logits(reader), d->value[pair]);
    }
}

/* Of the first `count` tokens of its context. */
static answers ask_plain(const trainable *base, const dictionary *held_out, size_t count)
{
    answers out = {0, 0, 0.0};
    for (size_t i = 0; i < HELD_OUT; i++) {
        uint32_t ids[2 * DICTIONARY_PAIRS];
        pith__reader reader;
        assert_true(dictionary_context(&held_out[i], ids) >= count);
        compressing_reader(base, NULL, ids, count, &reader);
        ask_all(&reader, &held_out[i], &out);
        pith__reader_deinit(&reader);
    }
    return out;
}

/* Of capsules: of each dictionary its own, or the next one's. */
static answers ask_capsules(const compressing *c, const dictionary *held_out, size_t n, bool own)
{
    answers out = {0, 0, 0.0};
    trainable encoder;
    compressing_encoder(c, &encoder);
    for (size_t i = 0; i < n; i++) {
        uint32_t ids[2 * DICTIONARY_PAIRS];
        pith__reader reader;
        const size_t count = dictionary_context(&held_out[own ? i : (i + 1) % n], ids);
        pith__capsule *capsule = compressing_capsule(c, &encoder, ids, count, SLOTS);
        compressing_reader(c->base, capsule, NULL, 0, &reader);
        assert_int_equal(reader.kv.length, SLOTS);
        ask_all(&reader, &held_out[i], &out);
        pith__reader_deinit(&reader);
        pith__capsule_free(capsule);
    }
    trainable_close(&encoder);
    return out;
}

/* ---- learning ------------------------------------------------------------------------------- */

static void learn_one(compressing *c, double multiplier, uint64_t *random)
{
    lesson lessons[TEXTS];
    pith__memory_sample samples[TEXTS];
    for (size_t i = 0; i < TEXTS; i++) {
        dictionary d;
        dictionary_draw(&d, PAIRS, random);
        lesson_make(&lessons[i], &d, &samples[i]);
    }
    (void)compressing_step(c, samples, TEXTS, multiplier);
}

/* Returns after how many steps nine of ten questions were answered, or 0. */
static size_t learn(compressing *c, uint64_t seed)
{
    const pith__schedule schedule = {
        .kind = PITH__SCHEDULE_WSD, .warm_up = 30, .total = STEPS, .decay = STEPS_DOWN};
    uint64_t random = seed * 1000 + 1;
    size_t learned = 0;
    dictionary validation[VALIDATION];
    draw_held_out(validation, VALIDATION, seed + 2000000);
    for (size_t step = 1; step <= STEPS; step++) {
        learn_one(c, pith__schedule_at(&schedule, step), &random);
        if (learned == 0 && step % CHECK_EVERY == 0) {
            const answers a = ask_capsules(c, validation, VALIDATION, true);
            learned = answers_share(&a) >= 0.9 ? step : 0;
        }
    }
    return learned;
}

/* ---- one seed ------------------------------------------------------------------------------- */

typedef struct variant {
    const char *name;
    pith__compressor_method method;
    pith__slot_layout layout;
    pith__slot_mode mode;
} variant;

static const variant variants[] = {
    {"500x, uniform, continue", PITH__COMPRESSOR_500X, PITH__SLOTS_UNIFORM, PITH__SLOTS_CONTINUE},
    {"500x, uniform, release", PITH__COMPRESSOR_500X, PITH__SLOTS_UNIFORM, PITH__SLOTS_RELEASE},
    {"500x, end, continue", PITH__COMPRESSOR_500X, PITH__SLOTS_END, PITH__SLOTS_CONTINUE},
    {"500x, end, release", PITH__COMPRESSOR_500X, PITH__SLOTS_END, PITH__SLOTS_RELEASE},
    {"icae, uniform", PITH__COMPRESSOR_ICAE, PITH__SLOTS_UNIFORM, PITH__SLOTS_CONTINUE},
    {"icae, end", PITH__COMPRESSOR_ICAE, PITH__SLOTS_END, PITH__SLOTS_CONTINUE}};
enum { VARIANTS = sizeof variants / sizeof variants[0] };

typedef struct figures {
    answers own, shuffled;
    size_t learned; /* after so many steps; 0: not */
} figures;

static figures measure(trainable *base, const variant *v, const dictionary *held_out, uint64_t seed)
{
    const pith__compressor_shape shape = {.method = v->method,
                                          .slots = SLOTS,
                                          .layout = v->layout,
                                          .mode = v->mode,
                                          .window = CONTEXT};
    figures f;
    compressing c;
    compressing_open(&c, base, &shape, RANK, 4e-3, seed);
    f.learned = learn(&c, seed);
    f.own = ask_capsules(&c, held_out, HELD_OUT, true);
    f.shuffled = ask_capsules(&c, held_out, HELD_OUT, false);
    compressing_close(&c);
    return f;
}

static void weights_sha256(const trainable *t, char text[PITH__SHA256_SIZE])
{
    pith__sha256_of(t->weights.values, t->weights.count * sizeof *t->weights.values, text);
}

static void print_answers(const char *name, const answers *a)
{
    print_message("  %-28s accuracy %.3f  nll %.3f\n", name, answers_share(a), answers_nll(a));
}

static void print_variant(const variant *v, const figures *f)
{
    print_message("  %-28s accuracy %.3f  nll %.3f  another's %.3f  ", v->name,
                  answers_share(&f->own), answers_nll(&f->own), answers_share(&f->shuffled));
    if (f->learned > 0) {
        print_message(".9 after %zu steps\n", f->learned);
    } else {
        print_message("never .9\n");
    }
}

static bool is_good(const figures *f, const answers *full, const answers *truncated,
                    const answers *none)
{
    const double recall = answers_share(&f->own);
    return answers_share(full) >= 0.90 && recall >= 0.95 &&
           answers_nll(&f->own) <= log(PAIRS) - 0.5 && answers_share(&f->shuffled) <= 0.10 &&
           answers_share(none) <= 0.10 && recall >= answers_share(truncated) + 0.20;
}

static bool trial(uint64_t seed)
{
    const size_t n = seed == 1 || compressing_wants_all() ? VARIANTS : 1;
    char before[PITH__SHA256_SIZE];
    char after[PITH__SHA256_SIZE];
    trainable base;
    dictionary held_out[HELD_OUT];
    draw_held_out(held_out, HELD_OUT, seed + 1000000);
    dictionary_base(&base, BASE_STEPS, seed);
    weights_sha256(&base, before);
    const answers full = ask_plain(&base, held_out, CONTEXT);
    const answers truncated = ask_plain(&base, held_out, SLOTS);
    const answers none = ask_plain(&base, held_out, 0);
    print_message("seed %u: %u pairs into %u slots, LoRA of rank %u, %u steps, %zu questions\n",
                  (unsigned)seed, PAIRS, SLOTS, RANK, STEPS, full.asked);
    print_answers("base, full context", &full);
    print_answers("base, first 4 tokens", &truncated);
    print_answers("base, no context", &none);
    bool good = false;
    for (size_t i = 0; i < n; i++) {
        const figures f = measure(&base, &variants[i], held_out, seed);
        print_variant(&variants[i], &f);
        good = i == 0 ? is_good(&f, &full, &truncated, &none) : good;
    }
    weights_sha256(&base, after);
    assert_string_equal(before, after);
    trainable_close(&base);
    return good;
}

static void a_frozen_model_answers_from_slots(void **state)
{
    (void)state;
    learner_gate(trial);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_frozen_model_answers_from_slots)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
