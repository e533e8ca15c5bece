/*
 * model.h: a llama-architecture language model: weights from GGUF, and one
 * forward pass over a batch of independent sequences.
 *
 * Knows ids, not text. Pre-norm transformer: RMSNorm, rotary positions on
 * neighbouring pairs (2i, 2i+1), grouped-query attention, SwiGLU, tied or
 * separate head.
 */
#ifndef PITH_MODEL_H
#define PITH_MODEL_H

#include "gguf/gguf.h"
#include "tensor/tensor.h"

/* ---- configuration -------------------------------------------------------------- */

/* Sizes of a model; keys of the GGUF file in comments. */
typedef struct pith__model_config {
    uint32_t layers;     /* llama.block_count */
    uint32_t width;      /* llama.embedding_length: d, the size of a hidden state */
    uint32_t heads;      /* llama.attention.head_count */
    uint32_t kv_heads;   /* llama.attention.head_count_kv; heads if absent */
    uint32_t head_dim;   /* llama.attention.key_length; d / heads if absent */
    uint32_t ff;         /* llama.feed_forward_length */
    uint32_t vocabulary; /* rows of token_embd.weight */
    uint32_t context;    /* llama.context_length */
    uint32_t rope_pairs; /* llama.rope.dimension_count / 2; head_dim / 2 if absent */
    float rope_base;     /* llama.rope.freq_base; 10000 if absent */
    float rope_scale;    /* 1 / llama.rope.scaling.factor for linear scaling; 1 if absent */
    float norm_eps;      /* llama.attention.layer_norm_rms_epsilon */
} pith__model_config;

/* ---- adapters ---------------------------------------------------------------------------- */

/* The key of an adapter file that names the SHA-256 of the model file it was made for. */
#define PITH__ADAPTER_BASE "pith.adapter.base_sha256"

/*
 * A LoRA adapter (Hu et al. 2021) in a GGUF file, as llama.cpp reads and writes it: general.type
 * "adapter", adapter.type "lora", general.architecture the model's, adapter.lora.alpha, and for a
 * matrix NAME of the model the tensors NAME.lora_a (rank, inputs) and NAME.lora_b (outputs, rank).
 * The matrix becomes W + scale B A, scale = alpha / rank, or 1 if alpha is 0 or not given.
 */
typedef struct pith__adapter {
    pith_allocator mem;
    const pith__gguf *gguf; /* borrowed */
    float alpha;            /* 0: not given */
    bool *used;             /* (gguf->n_tensors) found by pith__adapter_find() */
} pith__adapter;

/*
 * Checks the keys and that every tensor is half of a pair. Fails with E_CORRUPT, E_UNSUPPORTED
 * (no LoRA adapter, or one of embeddings or norms) or E_MISMATCH (of another architecture).
 */
PITH_NODISCARD pith_status pith__adapter_open(const pith__gguf *gguf, const pith_allocator *mem,
                                              pith__adapter *out, pith_error *err);

/*
 * The same for the LoRA factors of a compressor (general.type "compressor", docs/compressor.md),
 * whose other tensors, "compressor.*", are left alone. As an adapter a compressor is E_UNSUPPORTED.
 */
PITH_NODISCARD pith_status pith__adapter_open_compressor(const pith__gguf *gguf,
                                                         const pith_allocator *mem,
                                                         pith__adapter *out, pith_error *err);

/* Accepts an all-zero adapter. */
void pith__adapter_close(pith__adapter *adapter);

/* E_MISMATCH names both hashes. An adapter that does not say what it was made for fits any model. */
PITH_NODISCARD pith_status pith__adapter_check_base(const pith__adapter *adapter,
                                                    const char *sha256, pith_error *err);

/* What an adapter holds for one matrix. */
typedef struct pith__adapter_pair {
    const pith__gguf_tensor *a; /* (rank, inputs); NULL: nothing */
    const pith__gguf_tensor *b; /* (outputs, rank) */
    size_t rank;
    float scale;
} pith__adapter_pair;

/* For the matrix `name` of shape (rows, cols). E_MISMATCH names the tensor and its shape. */
PITH_NODISCARD pith_status pith__adapter_find(pith__adapter *adapter, const char *name, size_t rows,
                                              size_t cols, pith__adapter_pair *out,
                                              pith_error *err);

/* E_MISMATCH if a tensor was not found so far: an adapter is taken whole or not at all. */
PITH_NODISCARD pith_status pith__adapter_check_used(const pith__adapter *adapter, pith_error *err);

/* scale B A in floats, not multiplied out: rank * (rows + cols) of them. */
typedef struct pith__delta {
    size_t rank;
    size_t rows;
    size_t cols;
    float scale;
    const float *a; /* (rank, cols) */
    const float *b; /* (rows, rank) */
} pith__delta;

/* Expands the factors into memory of `arena`. E_MEMORY; E_CORRUPT: not all are finite numbers. */
PITH_NODISCARD pith_status pith__delta_of(const pith__adapter_pair *pair, pith__arena *arena,
                                          pith__delta *out, pith_error *err);

/* values (cols) += its row number `row`. */
void pith__delta_add(const pith__delta *delta, size_t row, float *values);

/* ---- weights ---------------------------------------------------------------------- */

/* One transformer block. Shapes as (outputs, inputs). */
typedef struct pith__layer {
    const float *attn_norm; /* (d) */
    const float *ffn_norm;  /* (d) */
    pith__matrix q;         /* (heads * head_dim, d) */
    pith__matrix k;         /* (kv_heads * head_dim, d) */
    pith__matrix v;         /* (kv_heads * head_dim, d) */
    pith__matrix o;         /* (d, heads * head_dim) */
    pith__matrix gate;      /* (ff, d) */
    pith__matrix up;        /* (ff, d) */
    pith__matrix down;      /* (d, ff) */
} pith__layer;

/* Immutable after loading; may be used by several threads at once. */
typedef struct pith__model {
    pith__model_config config;
    const pith__tensor_ops *ops;
    pith__layer *layers;
    pith__matrix head;        /* (vocabulary, d); the embedding's weights if the file has no head */
    const float *output_norm; /* (d) */
    const float *rope_factors;    /* (rope_pairs) divisors of the frequencies, or NULL */
    pith__gguf_tensor embedding;  /* (vocabulary, d) as stored: rows are expanded when asked for */
    const float *embedding_scale; /* (vocabulary), for an I8 embedding; else NULL */
    pith_precision precision;     /* F32 or INT8 */
    uint64_t parameters;
    size_t weight_bytes; /* of all tensors as the forward pass holds them */
    pith__arena weights; /* what had to be converted; the rest stays in the file */
} pith__model;

/*
 * Takes a model from a parsed file, whose buffer is borrowed until
 * pith__model_deinit(); the gguf struct itself is not. Matrices that the file
 * has in the wanted form are used where they lie (F32; I8 with a row of scales
 * NAME.scale), others are converted. AUTO means INT8.
 *
 * Fails with E_UNSUPPORTED (architecture, tensor type), E_CORRUPT (missing key
 * or tensor, a shape that does not fit, named in the message) or E_MEMORY.
 */
PITH_NODISCARD pith_status pith__model_load(const pith__gguf *gguf, pith_precision precision,
                                            const pith_allocator *mem, pith__model *out,
                                            pith_error *err);

/*
 * The same with an open adapter (NULL: none) added to the matrices before they are converted. Fails
 * with E_MISMATCH too, if the adapter has other shapes or something for a matrix that is not there.
 */
PITH_NODISCARD pith_status pith__model_load_adapted(const pith__gguf *gguf, pith__adapter *adapter,
                                                    pith_precision precision,
                                                    const pith_allocator *mem, pith__model *out,
                                                    pith_error *err);

/* Accepts an all-zero model. */
void pith__model_deinit(pith__model *model);

/* ---- inputs of a pass ----------------------------------------------------------------- */

/* out (d): the embedding of `id` < vocabulary. */
PITH_NODISCARD pith_status pith__model_embedding(const pith__model *model, uint32_t id, float *out,
                                                 pith_error *err);

/* Cosines and sines (rows, rope_pairs) of the angles of `positions` (rows). E_MEMORY. */
PITH_NODISCARD pith_status pith__model_rope(const pith__model *model, pith__arena *scratch,
                                            const uint32_t *positions, size_t rows, float *cosines,
                                            float *sines, pith_error *err);

/* ---- key-value cache ----------------------------------------------------------------- */

/*
 * Keys (rotated) and values of the tokens that one sequence has seen. Grows as
 * needed up to the model's context.
 */
typedef struct pith__kv {
    pith_allocator mem;
    size_t layers;
    size_t width;    /* kv_heads * head_dim */
    size_t length;   /* tokens held */
    size_t capacity; /* tokens there is room for */
    float *k;        /* (layers, capacity, width) */
    float *v;        /* the same */
} pith__kv;

void pith__kv_init(pith__kv *kv, const pith__model *model, const pith_allocator *mem);
void pith__kv_deinit(pith__kv *kv);

/* Forgets all tokens from `length` on; a larger value changes nothing. */
void pith__kv_truncate(pith__kv *kv, size_t length);

/* Takes out tokens [start, end), cut to the length; what follows moves up, its rotation unchanged. */
void pith__kv_remove(pith__kv *kv, size_t start, size_t end);

/*
 * Appends `count` tokens that were computed elsewhere: keys as they are before rotation, which is
 * done here for `positions` (count), and values, both (layers, count, width). E_CONTEXT: more than
 * the model's context, in number or in position; E_MEMORY. Unchanged after a failure.
 */
PITH_NODISCARD pith_status pith__kv_append(pith__kv *kv, const pith__model *model,
                                           const float *keys, const float *values,
                                           const uint32_t *positions, size_t count,
                                           pith_error *err);

/*
 * The other way round: tokens [first, first + count), which lie within the length and were read at
 * `positions`, as keys before rotation and values, both (layers, count, width). E_MEMORY.
 */
PITH_NODISCARD pith_status pith__kv_extract(const pith__kv *kv, const pith__model *model,
                                            size_t first, size_t count, const uint32_t *positions,
                                            float *keys, float *values, pith_error *err);

/* ---- forward -------------------------------------------------------------------------- */

/* No target: the row's prediction is not wanted. */
#define PITH__NO_TARGET UINT32_MAX

/* This row's embedding is given, not looked up. */
#define PITH__NO_ID UINT32_MAX

/* One sequence of a batch; sees itself (causally) and its cache, nothing else. */
typedef struct pith__sequence {
    const uint32_t *ids; /* (count) below the vocabulary, or PITH__NO_ID: from `embeddings`; NULL:
                            all are */
    size_t count;
    size_t position;           /* of ids[0]; with a cache usually its length */
    pith__kv *kv;              /* NULL: nothing precedes, nothing is kept. Grows by `count` */
    const float *embeddings;   /* (count, d), looked at where there is no id; may be NULL */
    const uint32_t *positions; /* (count) instead of `position`, position + 1, ...; or NULL */
} pith__sequence;

/*
 * What to compute over the rows of all sequences in turn. NULL: not wanted.
 */
typedef struct pith__forward_outputs {
    const uint32_t *targets; /* (rows) id that follows, or PITH__NO_TARGET */
    float *nll;              /* (rows) -ln p(target); NaN where there is no target */
    float *hidden;           /* (rows, d) after the final norm */
    float *logits;           /* (rows, vocabulary) row by row: for tests, not for scoring */
    float *last_logits; /* (sequences, vocabulary) of each sequence's last row, the same bits as in
                           `logits`; no sequence is empty */
} pith__forward_outputs;

/*
 * Runs the model. Rows = sum of the counts; a sequence, its cache included, may
 * be as long as the model's context.
 *
 * Fails with E_ARGUMENT (id or target outside the vocabulary, an embedding or a last row that is
 * missing), E_CONTEXT (also for a position), E_MEMORY, E_BACKEND, or E_CORRUPT if an NLL is not a
 * number, which damaged weights can cause. Caches are unchanged in length after a failure.
 */
PITH_NODISCARD pith_status pith__model_forward(const pith__model *model,
                                               const pith__tensor_ctx *ctx,
                                               const pith__sequence *sequences, size_t n_sequences,
                                               const pith__forward_outputs *outputs,
                                               pith_error *err);

/* Threads that are worth it inside a pass over `rows` tokens: 1 .. `threads`. */
unsigned pith__model_threads(const pith__model *model, size_t rows, unsigned threads);

#endif /* PITH_MODEL_H */
