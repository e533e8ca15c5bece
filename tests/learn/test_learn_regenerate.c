/*
 * test_learn_regenerate.c: a compressor learns to put strings of 8 to 16 random letters into keys and
 * values of 1, 2, 4 or 8 slots, from which a model that does not change writes them again
 * (500xCompressor's pretraining: Li, Su & Collier 2024, at a scale of seconds). One compressor for
 * all numbers of slots: a sample is drawn for one of them (Matryoshka), and the first rows are used.
 *
 * Strings are written greedily, letter by letter, each from those the model itself has written before;
 * counted is how many stand where they should. What must not pass for it: the first m letters
 * kept, and the rest guessed; knowing which letters there are but not where; a capsule of another
 * string; the model by itself.
 *
 * Where PITH_LEARN_ALL is set it also prints how compressors do that were trained for one number of slots
 * each, with as many steps.
 */
#include "compressing.h"

enum {
    LETTERS = 32, /* ids 0 .. 31 */
    BOS = 64,
    LEAST = 8, /* letters of a string */
    MOST = 16,
    BASE_STEPS = 500,
    RANK = 32,
    TEXTS = 32, /* of an update */
    STEPS = 2000,
    STEPS_DOWN = 700, /* of them, with a falling rate */
    SLOTS = 8,
    CURVE = 4,     /* numbers of slots: 1, 2, 4, 8 */
    HELD_OUT = 128 /* strings */
};

/* ---- strings -------------------------------------------------------------------------------- */

/*
 * Letters of a string differ. In a string with two of the same, what follows one may as well follow
 * the other, and a model this small goes astray there even if it has read the string (it writes .79 of
 * the letters of such strings).
 */
typedef struct string {
    size_t count;
    uint32_t ids[MOST];
} string;

static void string_draw(string *s, uint64_t *random)
{
    uint32_t all[LETTERS];
    for (uint32_t i = 0; i < LETTERS; i++) {
        all[i] = i;
    }
    s->count = LEAST + test_random_below(random, MOST - LEAST + 1);
    for (size_t i = 0; i < s->count; i++) {
        const size_t j = i + test_random_below(random, LETTERS - i);
        s->ids[i] = all[j];
        all[j] = all[i];
    }
}

/* Strings that no training has seen: the shortest are 4 * 10^11. */
static void draw_held_out(string *strings, uint64_t seed)
{
    for (size_t i = 0; i < HELD_OUT; i++) {
        string_draw(&strings[i], &seed);
    }
}

/* ---- the model that copies ------------------------------------------------------------------ */

/*
 * A string, BOS, the string again. Each letter of the first one also says which letter stands before
 * it, for the reason that values do in dictionary.h.
 */
static void add_copy(batch *b, const string *s)
{
    const size_t at = b->rows;
    size_t position = 0;
    for (size_t i = 0; i < s->count; i++) {
        batch_add(b, s->ids[i], position++, at);
        if (i > 0) {
            batch_want(b, s->ids[i - 1], 1.0);
        }
    }
    batch_add(b, BOS, position++, at);
    for (size_t i = 0; i < s->count; i++) {
        batch_want(b, s->ids[i], 1.0);
        if (i + 1 < s->count) {
            batch_add(b, s->ids[i], position++, at);
        }
    }
}

static void learn_to_copy(trainable *t, uint64_t seed)
{
    const pith__schedule schedule = {
        .kind = PITH__SCHEDULE_WSD, .warm_up = 30, .total = BASE_STEPS, .decay = BASE_STEPS / 2};
    uint64_t random = seed * 1000;
    pith__optimizer optimizer;
    batch *b = batch_new();
    learner_open(t, seed);
    learner_optimizer(&t->weights, 2e-3, &optimizer);
    for (uint64_t step = 1; step <= BASE_STEPS; step++) {
        batch_clear(b);
        for (size_t i = 0; i < TEXTS; i++) {
            string s;
            string_draw(&s, &random);
            add_copy(b, &s);
        }
        (void)learner_step(t, &optimizer, b, pith__schedule_at(&schedule, step));
    }
    pith__optimizer_deinit(&optimizer);
    free(b);
}

/* ---- the compressor ------------------------------------------------------------------------- */

/* A string that is compressed, BOS and the string: what is to be written from the slots. */
typedef struct lesson {
    string of;
    uint32_t ids[MOST];
    pith__memory_segment segment;
    pith__memory_piece pieces[2];
} lesson;

static void lesson_make(lesson *l, uint32_t slots, uint64_t *random, pith__memory_sample *sample)
{
    string_draw(&l->of, random);
    const size_t count = l->of.count;
    l->ids[0] = BOS;
    memcpy(l->ids + 1, l->of.ids, (count - 1) * sizeof *l->ids);
    l->segment = (pith__memory_segment){.ids = l->of.ids, .count = count, .slots = slots};
    l->pieces[0] = (pith__memory_piece){.segment = 0, .last_target = PITH__NO_TARGET};
    l->pieces[1] = (pith__memory_piece){
        .ids = l->ids, .targets = l->of.ids, .count = count, .last_target = PITH__NO_TARGET};
    *sample = (pith__memory_sample){
        .segments = &l->segment, .n_segments = 1, .pieces = l->pieces, .n_pieces = 2};
}

/* slots 0: of every sample another number. */
static void learn_to_compress(compressing *c, uint32_t slots, uint64_t seed)
{
    const pith__schedule schedule = {
        .kind = PITH__SCHEDULE_WSD, .warm_up = 30, .total = STEPS, .decay = STEPS_DOWN};
    uint64_t random = seed * 1000 + 1;
    for (uint64_t step = 1; step <= STEPS; step++) {
        lesson lessons[TEXTS];
        pith__memory_sample samples[TEXTS];
        for (size_t i = 0; i < TEXTS; i++) {
            const uint32_t drawn = UINT32_C(1) << test_random_below(&random, CURVE);
            lesson_make(&lessons[i], slots == 0 ? drawn : slots, &random, &samples[i]);
        }
        (void)compressing_step(c, samples, TEXTS, pith__schedule_at(&schedule, step));
    }
}

/* ---- writing -------------------------------------------------------------------------------- */

static uint32_t likeliest(const float *logits)
{
    uint32_t best = 0;
    for (uint32_t v = 1; v < LEARNER_VOCABULARY; v++) {
        best = logits[v] > logits[best] ? v : best;
    }
    return best;
}

/* As many letters as the string has, by a reader that knows of it what it knows. */
static void write_again(pith__reader *reader, const string *s, answers *out)
{
    uint32_t id = BOS;
    pith_error err = {0};
    for (size_t i = 0; i < s->count; i++) {
        assert_ok(pith__reader_ids(reader, &id, 1, NULL, &err), err);
        answers_add(out, pith__reader_logits(reader), s->ids[i]);
        id = likeliest(pith__reader_logits(reader));
    }
}

/* After the whole string, or after nothing. */
static double write_plain(const trainable *base, const string *held_out, bool full)
{
    answers out = {0, 0, 0.0};
    for (size_t i = 0; i < HELD_OUT; i++) {
        pith__reader reader;
        compressing_reader(base, NULL, held_out[i].ids, full ? held_out[i].count : 0, &reader);
        write_again(&reader, &held_out[i], &out);
        pith__reader_deinit(&reader);
    }
    return answers_share(&out);
}

/* After capsules of each string itself, or of the next one. */
static double write_capsules(const compressing *c, const string *held_out, uint32_t slots, bool own)
{
    answers out = {0, 0, 0.0};
    trainable encoder;
    compressing_encoder(c, &encoder);
    for (size_t i = 0; i < HELD_OUT; i++) {
        const string *s = &held_out[own ? i : (i + 1) % HELD_OUT];
        pith__reader reader;
        pith__capsule *capsule = compressing_capsule(c, &encoder, s->ids, s->count, slots);
        compressing_reader(c->base, capsule, NULL, 0, &reader);
        assert_int_equal(reader.kv.length, slots);
        write_again(&reader, &held_out[i], &out);
        pith__reader_deinit(&reader);
        pith__capsule_free(capsule);
    }
    trainable_close(&encoder);
    return answers_share(&out);
}

/* What keeping the first `slots` letters is worth to a reader that copies them without a mistake. */
static double truncation(const string *held_out, uint32_t slots)
{
    double right = 0.0;
    double all = 0.0;
    for (size_t i = 0; i < HELD_OUT; i++) {
        const double count = (double)held_out[i].count;
        const double kept = slots < held_out[i].count ? (double)slots : count;
        right += kept + (count - kept) / LETTERS;
        all += count;
    }
    return right / all;
}

/*
 * What knowing the letters is worth, not their order, to somebody who is told after each guess what was
 * right, and guesses among what is left: 1 / n + 1 / (n - 1) + ... + 1 letters of n. More than the
 * model has: it goes on from its own mistakes.
 */
static double set_oracle(const string *held_out)
{
    double right = 0.0;
    double all = 0.0;
    for (size_t i = 0; i < HELD_OUT; i++) {
        for (size_t left = 1; left <= held_out[i].count; left++) {
            right += 1.0 / (double)left;
        }
        all += (double)held_out[i].count;
    }
    return right / all;
}

/* ---- one seed ------------------------------------------------------------------------------- */

typedef struct figures {
    double full, none, set;
    double own[CURVE], shuffled[CURVE], truncated[CURVE];
} figures;

static void open_compressor(compressing *c, trainable *base, uint32_t slots, bool elastic,
                            uint64_t seed)
{
    const pith__compressor_shape shape = {.method = PITH__COMPRESSOR_500X,
                                          .slots = slots,
                                          .elastic = elastic,
                                          .layout = PITH__SLOTS_UNIFORM,
                                          .mode = PITH__SLOTS_CONTINUE,
                                          .window = MOST};
    compressing_open(c, base, &shape, RANK, 4e-3, seed);
}

static void measure_elastic(trainable *base, const string *held_out, uint64_t seed, figures *f)
{
    compressing c;
    open_compressor(&c, base, SLOTS, true, seed);
    learn_to_compress(&c, 0, seed);
    for (size_t i = 0; i < CURVE; i++) {
        const uint32_t slots = UINT32_C(1) << i;
        f->own[i] = write_capsules(&c, held_out, slots, true);
        f->shuffled[i] = write_capsules(&c, held_out, slots, false);
        f->truncated[i] = truncation(held_out, slots);
    }
    compressing_close(&c);
}

static void print_figures(uint64_t seed, const figures *f)
{
    print_message("seed %u: letters right, %u to %u of them, one compressor, %u steps\n",
                  (unsigned)seed, LEAST, MOST, STEPS);
    print_message("  base, full string %.3f  base, no string %.3f  the letters' set %.3f\n",
                  f->full, f->none, f->set);
    for (size_t i = 0; i < CURVE; i++) {
        print_message("  %u slots %.3f  truncation %.3f  another's %.3f\n", 1U << i, f->own[i],
                      f->truncated[i], f->shuffled[i]);
    }
}

/* One compressor for each number of slots: what an elastic one gives away. */
static void print_separate(trainable *base, const string *held_out, uint64_t seed)
{
    for (size_t i = 0; i < CURVE; i++) {
        compressing c;
        open_compressor(&c, base, UINT32_C(1) << i, false, seed);
        learn_to_compress(&c, UINT32_C(1) << i, seed);
        print_message("  %u slots %.3f  trained for these alone\n", 1U << i,
                      write_capsules(&c, held_out, UINT32_C(1) << i, true));
        compressing_close(&c);
    }
}

static bool is_good(const figures *f)
{
    const double most = f->own[CURVE - 1];
    bool good = f->full >= 0.95 && f->none <= 0.10 && most >= f->own[0] + 0.50 &&
                most >= f->set + 0.50 && most >= f->truncated[CURVE - 1] + 0.20;
    for (size_t i = 0; i < CURVE; i++) {
        good = good && f->shuffled[i] <= 0.10 && (i == 0 || f->own[i] >= f->own[i - 1] - 0.01);
    }
    return good;
}

static bool trial(uint64_t seed)
{
    trainable base;
    string held_out[HELD_OUT];
    figures f;
    draw_held_out(held_out, seed + 1000000);
    learn_to_copy(&base, seed);
    f.full = write_plain(&base, held_out, true);
    f.none = write_plain(&base, held_out, false);
    f.set = set_oracle(held_out);
    measure_elastic(&base, held_out, seed, &f);
    print_figures(seed, &f);
    if (compressing_wants_all()) {
        print_separate(&base, held_out, seed);
    }
    trainable_close(&base);
    return is_good(&f);
}

static void strings_are_written_again_from_slots(void **state)
{
    (void)state;
    learner_gate(trial);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(strings_are_written_again_from_slots)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
