/*
 * soft.h: capsules, what stands for a text in few virtual tokens, and how the methods make and read
 * them: CC (Wingate, Shoeybi & Sorensen 2022) and GIST (Mu, Li & Goodman 2023).
 *
 * Knows ids and numbers, not text; what has to be learned is learned in lib/train.
 */
#ifndef PITH_SOFT_H
#define PITH_SOFT_H

#include "generate/generate.h"
#include "grad/grad.h"

/* ---- capsule (capsule.c, capsule_file.c) ---------------------------------------------------- */

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
                                               the text; "compact": right after the slots */
    uint32_t *positions;                    /* (slots) counted from where the capsule is put */
    uint32_t advance;                       /* from there to what follows; above every position */
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
