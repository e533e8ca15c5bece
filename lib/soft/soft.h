/*
 * soft.h: capsules, what stands for a text in few virtual tokens, and how the methods make and read
 * them: CC (Wingate, Shoeybi & Sorensen 2022), GIST (Mu, Li & Goodman 2023), 500xCompressor (Li, Su &
 * Collier 2024), SelfCP (Gao, Cao & Li 2024), ICAE (Ge et al. 2023), mean pooling.
 *
 * Knows ids and numbers, not text; what has to be learned is learned in lib/train.
 */
#ifndef PITH_SOFT_H
#define PITH_SOFT_H

#include "generate/generate.h"
#include "grad/grad.h"

/* ---- capsule (capsule.c, capsule_join.c, capsule_read.c, capsule_write.c) ------------------------- */

typedef enum pith__capsule_kind {
    PITH__CAPSULE_EMBEDDINGS, /* rows that are read like embeddings of tokens */
    PITH__CAPSULE_KV          /* keys and values of every layer */
} pith__capsule_kind;

/* How numbers are stored. In memory they are floats. */
typedef enum pith__capsule_type {
    PITH__CAPSULE_F32,
    PITH__CAPSULE_F16,
    PITH__CAPSULE_INT8 /* a scale per row */
} pith__capsule_type;

/* What a capsule was made for; hashes are hexadecimal SHA-256, "" where there is nothing. */
typedef struct pith__binding {
    char model[PITH__SHA256_SIZE];     /* of the model file */
    char tokenizer[PITH__SHA256_SIZE]; /* pith__tokenizer_sha256() */
    char adapter[PITH__SHA256_SIZE];   /* of the LoRA file that was added to the model */
} pith__binding;

#define PITH__CAPSULE_NAME 32

typedef struct pith__capsule {
    pith_allocator mem;
    pith__capsule_kind kind;
    pith__capsule_type type;         /* as it came from a file; F32 for one that was just made */
    char method[PITH__CAPSULE_NAME]; /* "cc", "gist" */
    uint32_t slots;                  /* k > 0 */
    uint32_t layers;                 /* KV: of the model; else 0 */
    uint32_t width;                  /* d, or kv_heads * head_dim */
    /* the text it stands for */
    uint64_t source_bytes;
    uint64_t source_tokens;
    char source_sha256[PITH__SHA256_SIZE];
    /* places */
    char position_mode[PITH__CAPSULE_NAME]; /* "continue": what follows stands where it would after
                                               the text; "compact": right after the slots;
                                               "release": so many places on as there are slots,
                                               wherever those are (500xCompressor's code) */
    uint32_t *positions;                    /* (slots) counted from where the capsule is put */
    uint32_t advance; /* from there to what follows; above every position, "release" apart */
    bool bos; /* a prompt that begins with it begins with BOS. False: the slots have seen BOS, or
                 were trained to do without */
    pith__binding binding;
    char *record;       /* JSON object: how it was made */
    size_t record_size; /* without the NUL */
    /* numbers */
    float *embeddings; /* (slots, width), or NULL */
    float *keys;       /* (layers, slots, width) before rotation, or NULL */
    float *values;     /* (layers, slots, width), or NULL */
} pith__capsule;

/*
 * An empty capsule of these sizes with all numbers 0, positions 0, 1, 2, ..., advance = slots, mode
 * "compact", no record ("{}"). E_ARGUMENT: a size is 0 or too large; E_MEMORY.
 */
PITH_NODISCARD pith_status pith__capsule_new(pith__capsule_kind kind, const char *method,
                                             uint32_t slots, uint32_t layers, uint32_t width,
                                             const pith_allocator *mem, pith__capsule **out,
                                             pith_error *err);
void pith__capsule_free(pith__capsule *capsule); /* accepts NULL */

/* Copies `size` bytes, which are to be a JSON object. E_MEMORY. */
PITH_NODISCARD pith_status pith__capsule_set_record(pith__capsule *capsule, const char *json,
                                                    size_t size, pith_error *err);

/* Bytes of the numbers in this type, scales included: what a capsule takes besides its metadata. */
uint64_t pith__capsule_bytes(const pith__capsule *capsule, pith__capsule_type type);

/*
 * Writes a GGUF file: general.type "capsule", general.architecture the model's ("llama"),
 * pith.capsule.version 1 and the other pith.capsule.* keys (docs/capsule.md lists them); tensors
 * "embeddings", or blk.N.keys and blk.N.values; last a SHA-256 of everything. E_IO, E_MEMORY; E_RANGE:
 * a number is not finite, or too large for the type.
 */
PITH_NODISCARD pith_status pith__capsule_save(const pith__capsule *capsule, pith__capsule_type type,
                                              const char *path, pith_error *err);

/*
 * Reads a whole file that lies in memory; nothing is borrowed. Fails with E_CORRUPT (err->offset is
 * a byte of the file where that makes sense: not GGUF, truncated, another checksum, a key or tensor
 * that is missing or does not fit the others), E_UNSUPPORTED (a later version, another kind),
 * E_MEMORY. Whatever the bytes are, memory stays within a small multiple of the file's size.
 */
PITH_NODISCARD pith_status pith__capsule_parse(const void *data, size_t size,
                                               const pith_allocator *mem, pith__capsule **out,
                                               pith_error *err);
PITH_NODISCARD pith_status pith__capsule_open(const char *path, const pith_allocator *mem,
                                              pith__capsule **out, pith_error *err);

/*
 * E_MISMATCH, with both hashes in the message, unless the capsule was made for this model, tokenizer
 * and adapter; also if its shape does not fit the model, which the message then says.
 */
PITH_NODISCARD pith_status pith__capsule_check(const pith__capsule *capsule,
                                               const pith__model_config *config,
                                               const pith__binding *binding, pith_error *err);

/* The reader reads the capsule, which was checked. Fails like the reader's functions. */
PITH_NODISCARD pith_status pith__capsule_read(const pith__capsule *capsule, pith__reader *reader,
                                              pith_error *err);

/*
 * One capsule of several, in their order, as if they were read one after the other: all of one kind,
 * method, position mode, bos and binding (E_MISMATCH otherwise, naming what differs). Slots and advance
 * add up, positions of each are counted on from the advances before it; source bytes and tokens add
 * up. The source's hash is left empty, the record "{}". E_ARGUMENT: none; E_MEMORY.
 */
PITH_NODISCARD pith_status pith__capsule_join(const pith__capsule *const *capsules, size_t count,
                                              const pith_allocator *mem, pith__capsule **out,
                                              pith_error *err);

/* The same once more, hash, record and all. E_ARGUMENT: it is not well-formed; E_MEMORY. */
PITH_NODISCARD pith_status pith__capsule_copy(const pith__capsule *capsule,
                                              const pith_allocator *mem, pith__capsule **out,
                                              pith_error *err);

/* ---- GIST (gist.c) --------------------------------------------------------------------------- */

/* Keys of a model or adapter file that was trained to gist. */
#define PITH__GIST_TOKEN  "pith.gist.token"  /* U32 id of the token, in a model */
#define PITH__GIST_ROW    "pith.gist.row"    /* F32 array (d): its embedding, in an adapter */
#define PITH__GIST_SLOTS  "pith.gist.slots"  /* U32 copies that were trained */
#define PITH__GIST_PREFIX "pith.gist.prefix" /* text before the instruction */
#define PITH__GIST_MIDDLE "pith.gist.middle" /* text between it and the gist tokens */
#define PITH__GIST_SUFFIX "pith.gist.suffix" /* text after them; holds {input} */

/* Attention whose keys a rule is about. */
typedef enum pith__gist_attention {
    PITH__GIST_DECODER, /* decoder-only models: causal besides */
    PITH__GIST_ENCODER, /* self-attention of an encoder, with a decoder or alone */
    PITH__GIST_CROSS    /* a decoder's look at the encoder's rows: all queries are alike */
} pith__gist_attention;

typedef enum pith__gist_condition {
    PITH__GIST_GIST,
    PITH__GIST_POSITIVE, /* control: everything is seen */
    PITH__GIST_NEGATIVE, /* control: nothing up to the last gist token is seen after it */
    PITH__GIST_TFIDF     /* control: one keyword for the instruction, and everything is seen */
} pith__gist_condition;

/*
 * Whether `query` sees `key` when gist tokens stand at first .. last (Mu, Li & Goodman 2023,
 * the gist masks). CROSS: query is not looked at.
 */
bool pith__gist_sees(pith__gist_attention attention, pith__gist_condition condition, size_t first,
                     size_t last, size_t query, size_t key);

/* The first row that decoder row `query` sees; it sees all from there to itself. */
size_t pith__gist_first_seen(pith__gist_condition condition, size_t first, size_t last,
                             size_t query);

/*
 * Reads `ids` (count, at least 1), then `slots` copies of `row` (d), the gist token's embedding, and
 * makes a capsule of the copies' keys and values: positions count, count + 1, ... , mode "continue",
 * no BOS before it (ids have theirs). Source hash, binding and record are left to the caller. Fails
 * like pith__model_forward().
 */
PITH_NODISCARD pith_status pith__gist_encode(const pith__model *model, unsigned threads,
                                             const uint32_t *ids, size_t count, const float *row,
                                             uint32_t slots, const pith_allocator *mem,
                                             pith__capsule **out, pith_error *err);

/* ---- compressors (compressor.c, compressor_file.c, compress.c, mean.c) ------------------------ */

/* What was trained to put any text into slots, for one frozen model. */
typedef enum pith__compressor_method {
    PITH__COMPRESSOR_500X, /* encoder: the model with LoRA; memory: keys and values of the slots */
    PITH__COMPRESSOR_ICAE, /* the same encoder; memory: last hidden states, read as embeddings */
    PITH__COMPRESSOR_SELFCP /* encoder: the model itself; memory: hidden states through a connector */
} pith__compressor_method;

/* "500x", "icae", "selfcp". Static storage. */
const char *pith__compressor_method_name(pith__compressor_method method);

/* Where the slots stand behind a text of T tokens. */
typedef enum pith__slot_layout {
    PITH__SLOTS_UNIFORM, /* spread over the text: slot j of k at floor((2 j + 1) T / (2 k)) (EPL,
                            2409.14364); what follows at T */
    PITH__SLOTS_END      /* at T, T + 1, ...; what follows at T + k */
} pith__slot_layout;

/* Where the frozen model goes on reading: see pith__capsule. Only for 500X. */
typedef enum pith__slot_mode {
    PITH__SLOTS_CONTINUE,
    PITH__SLOTS_RELEASE /* at k, whatever the slots' places */
} pith__slot_mode;

typedef struct pith__compressor_shape {
    pith__compressor_method method;
    uint32_t slots; /* m rows: the most slots of a segment. SELFCP: 0, it has one row for all */
    bool elastic; /* m, m / 2, m / 4, ..., 1 slots were trained (Matryoshka: the first rows), so any
                    number may be asked for; SELFCP: ratio, 2 ratio, 4 ratio, ... were. (SELFCP has one
                    row for all: any ratio may be asked for in any case) */
    uint32_t ratio; /* SELFCP: tokens per slot, n = floor(T / ratio), at least 1; others: 0 */
    pith__slot_layout layout;
    pith__slot_mode mode;
    uint32_t window; /* tokens of a segment at most, as trained */
    bool pads; /* shorter segments are padded with EOS to the window, and the pads are read (500x's
                        code); never for SELFCP */
    bool has_norm; /* SELFCP: LayerNorm after the linear layer; others: false */
} pith__compressor_shape;

/* "uniform", "end". Static storage. */
const char *pith__slot_layout_name(pith__slot_layout layout);

/* position_mode of its capsules: "continue", "release" or "compact". Static storage. */
const char *pith__compressor_position_mode(const pith__compressor_shape *shape);

/* E_ARGUMENT names what does not go together. `context`: the model's. */
PITH_NODISCARD pith_status pith__compressor_check(const pith__compressor_shape *shape,
                                                  uint32_t context, pith_error *err);

/* Names of what is learned, in weights and files; LoRA's factors are named as pith__lora_layout() does. */
#define PITH__COMPRESSOR_SLOTS  "compressor.slots"            /* (m, d) */
#define PITH__COMPRESSOR_MATRIX "compressor.connector.weight" /* (d, d) SELFCP */
#define PITH__COMPRESSOR_BIAS   "compressor.connector.bias"   /* (1, d) */
#define PITH__COMPRESSOR_GAIN   "compressor.norm.weight"      /* (1, d) */
#define PITH__COMPRESSOR_SHIFT  "compressor.norm.bias"        /* (1, d) */
#define PITH__COMPRESSOR_TAGS   "compressor.tags"             /* (2, d): begin, slot */

/* LayerNorm's, as torch has it. */
#define PITH__COMPRESSOR_EPS 1e-5f

/* Views into the values of allocated weights. */
typedef struct pith__compressor {
    pith__compressor_shape shape;
    uint32_t width;      /* d */
    const float *slots;  /* (m, d), or NULL */
    const float *matrix; /* (d, d) as (outputs, inputs), or NULL */
    const float *bias;   /* (d) */
    const float *gain;   /* (d), or NULL: no norm */
    const float *shift;  /* (d) */
    const float *tags;   /* (2, d), or NULL */
    pith__lora lora;     /* rank 0: none (SELFCP) */
} pith__compressor;

/*
 * Adds the tensors of such a compressor to `weights`, LoRA's factors included (rank and matrices are not
 * looked at for SELFCP). slots, tags: kind EMBEDDING; the connector's matrix: MATRIX; the rest: VECTOR.
 */
PITH_NODISCARD pith_status pith__compressor_layout(const pith__compressor_shape *shape,
                                                   const pith__model_config *config, uint32_t rank,
                                                   unsigned matrices, pith__weights *weights,
                                                   pith_error *err);

/* A compressor that looks at allocated `weights` (borrowed). E_ARGUMENT: a tensor is missing or of another
 * shape. Released with pith__compressor_deinit(). */
PITH_NODISCARD pith_status pith__compressor_of(const pith__compressor_shape *shape,
                                               const pith__model_config *config,
                                               const pith__weights *weights, float alpha,
                                               float dropout, const pith_allocator *mem,
                                               pith__compressor *out, pith_error *err);
void pith__compressor_deinit(pith__compressor *compressor); /* accepts an all-zero one */

/*
 * Positions (slots) of the slots behind `count` tokens, and where what follows stands, all counted from
 * the text's first token. In a memory of embeddings that is the encoder's business alone.
 */
void pith__compressor_places(const pith__compressor_shape *shape, size_t count, uint32_t slots,
                             uint32_t *positions, uint32_t *advance);

/* Nearly equal segments of at most the window that a text of `count` tokens is cut into; 0 of none. */
size_t pith__compressor_segments(const pith__compressor_shape *shape, size_t count);

/* Slots of a segment of `count` tokens if `wanted` are asked for (0: as many as trained: m, or by the
 * ratio); at most m. E_ARGUMENT: not elastic and another number than m. */
PITH_NODISCARD pith_status pith__compressor_slots_of(const pith__compressor_shape *shape,
                                                     size_t count, uint32_t wanted, uint32_t *out,
                                                     pith_error *err);

/* ---- their files: GGUF, docs/compressor.md */

#define PITH__COMPRESSOR_FORMAT ((size_t)256)

/* What stands in a file besides the tensors. */
typedef struct pith__compressor_about {
    pith__compressor_shape shape;
    float alpha;                         /* LoRA's */
    char base_sha256[PITH__SHA256_SIZE]; /* of the model file it is for */
    char name[64];
    /* how questions were put: text with {question} and then {answer}; "": they were not */
    char format[PITH__COMPRESSOR_FORMAT];
    bool conditional;   /* SELFCP: some segments were read after the question */
    const char *record; /* JSON object: how it was trained. Of an open file: owned by `weights`'
                           reader, see pith__compressor_load() */
} pith__compressor_about;

/* Adds general.type "compressor" and the other keys and all tensors of `weights`, whose values are
 * borrowed until the writer has written; `half`: as F16 (vectors are F32 in any case), in memory of `arena`,
 * which the writer borrows too. E_MEMORY; E_RANGE: a number is not finite, or too large for F16;
 * E_ARGUMENT: `about` and `weights` are not such a compressor's. */
PITH_NODISCARD pith_status pith__compressor_add(const pith__compressor_about *about,
                                                const pith__model_config *config,
                                                const pith__weights *weights, bool half,
                                                pith__arena *arena, pith__gguf_writer *writer,
                                                pith_error *err);

/*
 * Reads the keys and tensors of an open file, for a model of this shape whose file has this hash (NULL: not
 * looked at). `weights` (initialised, empty) gets the tensors in F32. about->record points into `gguf`'s
 * bytes and is not NUL-terminated: its size is *record_size. Fails with E_CORRUPT, E_UNSUPPORTED (no
 * compressor, a later version, another architecture), E_MISMATCH (another model: both hashes; other
 * shapes) or E_MEMORY.
 */
PITH_NODISCARD pith_status pith__compressor_load(const pith__gguf *gguf,
                                                 const pith__model_config *config,
                                                 const char *base_sha256, pith__weights *weights,
                                                 pith__compressor_about *about, size_t *record_size,
                                                 pith_error *err);

/* The keys alone, for whatever model. Fails likewise, but never with E_MISMATCH. */
PITH_NODISCARD pith_status pith__compressor_read_about(const pith__gguf *gguf,
                                                       pith__compressor_about *about,
                                                       size_t *record_size, pith_error *err);

/* ---- compressing */

typedef struct pith__compress_input {
    const pith__compressor *compressor;
    const pith__model
        *encoder; /* 500X, ICAE: the model with the adapter added; SELFCP: the model */
    unsigned threads;
    const uint32_t *query; /* (n_query) SELFCP, conditional: read before each segment; else none */
    size_t n_query;
    const uint32_t *ids; /* (count) at least one */
    size_t count;
    uint32_t slots;            /* of each segment; 0: see pith__compressor_slots_of() */
    uint32_t padding;          /* EOS, if the compressor pads */
    pith_progress_fn progress; /* stage "encode", in tokens; or NULL. False: E_CANCELLED */
    void *progress_user;
} pith__compress_input;

/*
 * A text beyond the window is cut into ceil(count / window) segments of nearly equal length, each
 * compressed by itself (with pith__capsule_join()'s places). Encoder input of a segment: 500X and ICAE:
 * [ids ; slot rows]; SELFCP: [query ; begin tag ; ids ; slot rows]; no BOS. 500X gives a capsule of kind
 * KV without BOS before it; ICAE one of embeddings without BOS, SELFCP one with. Method, source_tokens,
 * positions and mode are filled in; bytes, hash, binding and record are left to the caller. Fails like
 * pith__model_forward(); E_CONTEXT: window and slots do not fit the model.
 */
PITH_NODISCARD pith_status pith__compress(const pith__compress_input *input,
                                          const pith_allocator *mem, pith__capsule **out,
                                          pith_error *err);

/* What is averaged over the k-th part of a text's tokens, the baseline without parameters. */
typedef enum pith__pool {
    PITH__POOL_KV, /* keys before rotation and values, layer by layer: a capsule of kind KV whose
                             slots stand in the middle of their part, mode "continue" */
    PITH__POOL_HIDDEN,    /* hidden states after the final norm, read as embeddings */
    PITH__POOL_EMBEDDINGS /* embeddings */
} pith__pool;

/* Method "mean". The text is read after `bos` (PITH__NO_ID: none) and the capsule wants one before it
 * (BOS itself is not in the mean). slots above count become count. Fails likewise; E_CONTEXT: a text
 * that does not fit the model. */
PITH_NODISCARD pith_status pith__compress_mean(const pith__model *model, unsigned threads,
                                               pith__pool pool, uint32_t bos, const uint32_t *ids,
                                               size_t count, uint32_t slots,
                                               const pith_allocator *mem, pith__capsule **out,
                                               pith_error *err);

/* ---- memory bank (bank.c, bank_file.c): demonstrations as capsules, found by their first memory token (SelfCP) ---- */

typedef struct pith__bank_entry {
    char *name;             /* owned; not empty, no control characters, no two alike */
    pith__capsule *capsule; /* owned */
} pith__bank_entry;

typedef struct pith__bank {
    pith_allocator mem;
    pith__bank_entry *items;
    size_t count, capacity;
} pith__bank;

void pith__bank_init(pith__bank *bank, const pith_allocator *mem);
void pith__bank_deinit(pith__bank *bank); /* accepts an all-zero one */

/* Takes *capsule over (NULL afterwards, also on failure). E_ARGUMENT: the name is taken, empty or has
 * control characters, or the capsule is not of kind EMBEDDINGS; E_MISMATCH: it differs from those that are
 * there in method, width, bos or binding; E_MEMORY. */
PITH_NODISCARD pith_status pith__bank_add(pith__bank *bank, const char *name,
                                          pith__capsule **capsule, pith_error *err);

/* One GGUF file (general.type "capsules"; docs/capsule.md), numbers as `type`. Fails like the capsule's;
 * E_ARGUMENT also if the bank is empty. *out is empty after a failure. */
PITH_NODISCARD pith_status pith__bank_save(const pith__bank *bank, pith__capsule_type type,
                                           const char *path, pith_error *err);
PITH_NODISCARD pith_status pith__bank_parse(const void *data, size_t size,
                                            const pith_allocator *mem, pith__bank *out,
                                            pith_error *err);

/*
 * The `most` entries whose first memory token has the largest dot product with `query`'s, best first, ties
 * by their order in the bank: order (most), scores (most) or NULL. *found: how many. E_MISMATCH: it differs
 * from the entries as in pith__bank_add(); E_MEMORY.
 */
PITH_NODISCARD pith_status pith__bank_find(const pith__bank *bank, const pith__capsule *query,
                                           size_t most, size_t *order, double *scores,
                                           size_t *found, pith_error *err);

/* ---- what it costs (cost.c) -------------------------------------------------------------------- */

/*
 * Floating-point operations of reading `fresh` new tokens with `cached` ones before them, by the
 * formula of the gist paper's release: embedding 2SVd; per layer 6Sd^2 + 2SAd + 3hSA + 2SAd + 2Sd^2
 * + 6S d ff; logits 2SdV; S = fresh, A = fresh + cached. (It counts a look-up as a product, and
 * grouped queries as full ones.)
 */
double pith__cost_flops(const pith__model_config *config, size_t fresh, size_t cached);

/* Bytes of the key-value cache of `tokens` tokens in numbers of `number_bytes`. */
uint64_t pith__cost_kv_bytes(const pith__model_config *config, size_t tokens, size_t number_bytes);

/* ---- probes (probe.c) ----------------------------------------------------------------------------- */

/* Three ways to know a context: having read it, its capsule, not at all. */
typedef enum pith__probe_way {
    PITH__PROBE_HARD,
    PITH__PROBE_SOFT,
    PITH__PROBE_NONE,
    PITH__PROBE_WAYS
} pith__probe_way;

typedef struct pith__probe {
    const pith__model *model;
    unsigned threads;
    const pith_allocator *mem;
    uint32_t bos;            /* or PITH__NO_ID: none */
    const uint32_t *context; /* (count) ids */
    size_t count;
    const pith__capsule *capsule; /* checked; stands for the context */
} pith__probe;

/*
 * nats[way] (n) receives -ln p(ids[i]) of a text read after each of the three. Fails like the
 * reader's functions; E_CONTEXT: context and text do not fit the model.
 */
PITH_NODISCARD pith_status pith__probe_nats(const pith__probe *probe, const uint32_t *ids, size_t n,
                                            float *const nats[PITH__PROBE_WAYS], pith_error *err);

/*
 * Reconstruction (CC): the context itself, read again after `trigger` ("Now repeat the
 * text:"). score (count) = (p_soft - p_none) / (p_hard - p_none), cut to [0, 1]; NaN where the
 * denominator is below `epsilon` in size. nats as above, for the context's ids.
 */
PITH_NODISCARD pith_status pith__probe_recall(const pith__probe *probe, const uint32_t *trigger,
                                              size_t n_trigger, double epsilon,
                                              float *const nats[PITH__PROBE_WAYS], float *score,
                                              pith_error *err);

#endif /* PITH_SOFT_H */
