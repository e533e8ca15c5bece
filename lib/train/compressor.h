/*
 * compressor.h: what the files of the recipes 500x, icae and selfcp share.
 */
#ifndef PITH_COMPRESSOR_H
#define PITH_COMPRESSOR_H

#include "train/frozen.h"
#include "train/memory.h"
#include "train/pairs.h"
#include "train/passages.h"

/* ---- exercises (compressor_samples.c) ---------------------------------------------------------- */

/* What is to be said behind a memory. */
typedef enum pith__exercise_task {
    PITH__EXERCISE_REPEAT,   /* BOS, then the text that was compressed */
    PITH__EXERCISE_CONTINUE, /* what follows the text */
    PITH__EXERCISE_ANSWER,   /* a question, then its answer */
    PITH__EXERCISE_TASKS
} pith__exercise_task;

/* "repeat", "continue", "answer". Static storage. */
const char *pith__exercise_task_name(pith__exercise_task task);

/* How much of a text is compressed, and what is read: see pith__selfcp_mix. */
typedef enum pith__strategy {
    PITH__STRATEGY_LINEAR, /* the only one of 500X and ICAE */
    PITH__STRATEGY_FORMER,
    PITH__STRATEGY_LATTER,
    PITH__STRATEGY_CONCATENATED,
    PITH__STRATEGY_RECURSIVE,
    PITH__STRATEGIES
} pith__strategy;

/* "linear", "former", ... Static storage. */
const char *pith__strategy_name(pith__strategy strategy);

/* The weight of a strategy. */
double pith__strategy_weight(const pith__selfcp_mix *mix, pith__strategy strategy);

/* A text and what is to be said of it. */
typedef struct pith__exercise {
    pith__exercise_task task;
    const uint32_t *text; /* (n_text) at least one */
    size_t n_text;
    bool text_ends;        /* EOS follows it */
    const uint32_t *asked; /* (n_asked) ANSWER: what is read before it */
    size_t n_asked;
    const uint32_t *told; /* (n_told) the answer, or what follows the text */
    size_t n_told;
    bool told_ends;
    size_t bytes; /* of what is said, as text */
} pith__exercise;

/* How an exercise becomes a sample. */
typedef struct pith__exercise_form {
    const pith__compressor_shape *shape;
    const uint32_t *bos; /* (1) borrowed like the ids */
    uint32_t end;
    bool conditional;
    pith__strategy strategy;
    uint32_t fold; /* a power of two: so many times fewer slots than there could be */
    /* only what every condition predicts from something that it has read is a target */
    bool compares;
} pith__exercise_form;

/*
 * The sample in memory of `arena`; ids are borrowed from the exercises. What is compressed is of
 * `memory`: the exercise itself, another one, or NULL: nothing, and what would be read of it is left
 * out. E_MEMORY.
 */
PITH_NODISCARD pith_status pith__exercise_sample(const pith__exercise_form *form,
                                                 const pith__exercise *exercise,
                                                 const pith__exercise *memory, pith__arena *arena,
                                                 pith__memory_sample *out, pith_error *err);

/* Numbers of slots that an elastic compressor is trained with: folds 1, 2, 4, ..., this many. */
unsigned pith__exercise_folds(const pith__compressor_shape *shape, size_t tokens);

/* ---- data (compressor_data.c) -------------------------------------------------------------------- */

/* Rows at most: what must fit the model, and what memory is reserved for. */
typedef struct pith__exercise_rows {
    size_t encoder; /* of all segments of a sample */
    size_t slots;
    size_t decoder; /* for texts */
    size_t room;    /* tokens of a question and its answer */
    size_t asked;   /* of them before the answer */
} pith__exercise_rows;

typedef struct pith__exercises {
    const pith__compressor_settings *settings;
    pith_allocator mem;
    const pith__tokenizer *tokenizer;
    uint32_t bos, end;
    pith__exercise_rows rows;
    pith__source *sources;
    size_t n_sources; /* open ones */
    pith__passages passages;
    pith__pair_set questions; /* no file: there are none */
    pith__pair_format format;
    double mix; /* sum of the strategies' weights */
    pith__arena kept;
    /* (settings->held_out) of each task, or none */
    pith__exercise *held_out[PITH__EXERCISE_TASKS];
    size_t n_held_out[PITH__EXERCISE_TASKS];
} pith__exercises;

/* E_ARGUMENT: what the settings say of data makes no sense. Before anything is opened. */
PITH_NODISCARD pith_status pith__exercises_check(const pith__compressor_settings *settings,
                                                 pith_error *err);

/*
 * Opens the data and takes what is held out. Fails like pith__source_open() and
 * pith__pair_lines_open(), and with E_ARGUMENT: a text and its memory do not fit into `context`.
 */
PITH_NODISCARD pith_status pith__exercises_open(const pith__compressor_settings *settings,
                                                const pith__tokenizer *tokenizer, uint32_t context,
                                                const pith_allocator *mem, pith__exercises *out,
                                                pith_error *err);
void pith__exercises_close(pith__exercises *exercises); /* accepts all-zero ones */

/* Samples of an epoch: the questions, or as many texts as it takes to read all of them once, about. */
size_t pith__exercises_epoch(const pith__exercises *exercises);

/* Sample number `n` of the run, in memory of `arena`: a function of the seed and `n` alone. */
PITH_NODISCARD pith_status pith__exercises_draw(pith__exercises *exercises, uint64_t n,
                                                pith__arena *arena, pith__memory_sample *out,
                                                pith_error *err);

/* Members of a line of questions (compressor_questions.c). */
enum {
    PITH__QUESTION_CONTEXT,
    PITH__QUESTION_QUESTION,
    PITH__QUESTION_ANSWER,
    PITH__QUESTION_MEMBERS
};
extern const pith__pair_member pith__question_members[PITH__QUESTION_MEMBERS];

/* settings->format as one of pairs. */
pith__pair_format pith__question_format(const pith__compressor_settings *settings);

/*
 * A line as an exercise in memory of `arena`. A context that is longer than run.length loses its
 * end, a question that does not fit its beginning, an answer its end. E_CORRUPT: an empty
 * context; E_MEMORY.
 */
PITH_NODISCARD pith_status pith__exercises_question(const pith__exercises *exercises,
                                                    const pith__pair_file *file, pith__pair line,
                                                    pith__arena *arena, pith__exercise *out,
                                                    pith_error *err);

/* What is read, for the fingerprint of a run. */
uint64_t pith__exercises_fingerprint(const pith__exercises *exercises, uint64_t hash);

/* ---- the run (compressor.c) ------------------------------------------------------------------------ */

/* How held-out exercises go. */
typedef struct pith__figure {
    char name[64]; /* "repeat", "repeat none", ... */
    pith__evaluation nats;
} pith__figure;

#define PITH__FIGURES ((size_t)64)

typedef struct pith__training_compressor {
    const pith__compressor_settings *settings;
    pith_allocator mem;
    pith__run_settings run_settings; /* with steps filled in */
    pith__frozen base;
    pith__exercises exercises;
    pith__weights learned;
    float alpha;
    pith__compressor compressor;
    pith__memory_sample *samples; /* (batch) of the update at hand, in `batch` */
    uint64_t first;               /* number of samples[0] in the run */
    pith__arena batch;
    pith__figure figures[PITH__FIGURES]; /* (n_figures) of step judged_at */
    size_t n_figures;
    uint64_t judged_at;
    pith__run run;
} pith__training_compressor;

/* The learner of update `sample` or, with gradient NULL, of held-out exercises. */
pith__memory_learner pith__training_compressor_learner(const pith__training_compressor *job,
                                                       uint64_t sample, float *gradient);

/* Arena of a pass over so many samples. */
size_t pith__training_compressor_bytes(const pith__training_compressor *job, size_t samples);

/* Fills in the figures and reports them (compressor_judge.c). */
PITH_NODISCARD pith_status pith__training_compressor_judge(pith__training_compressor *job,
                                                           pith_error *err);

/* compressor_start.c: what learns, before the first step. */
PITH_NODISCARD pith_status pith__training_compressor_start(pith__training_compressor *job,
                                                           pith_error *err);

/* compressor_write.c: the file, if there is to be one. */
PITH_NODISCARD pith_status pith__training_compressor_write(const pith__training_compressor *job,
                                                           pith_error *err);

#endif /* PITH_COMPRESSOR_H */
