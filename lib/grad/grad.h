/*
 * grad.h: the model as something that learns: a forward pass that keeps what the
 * backward pass needs, losses on its outputs, LoRA, and weights that may change.
 *
 * All numbers are f32. What receives a gradient is decided by where a tensor
 * lives: those inside the sink's vector do, whatever they are (all weights,
 * norms only, LoRA factors, soft prompts), all others are frozen.
 *
 * Memory of a pass comes from ctx->arena: save a mark before the forward pass,
 * restore it after the backward one. Nothing else needs to be released.
 */
#ifndef PITH_GRAD_H
#define PITH_GRAD_H

#include "model/model.h"

/* ---- weights: named tensors in one vector ------------------------------------------- */

/* How an optimiser treats a tensor. */
typedef enum pith__weight_kind {
    PITH__WEIGHT_MATRIX,    /* a linear layer inside the model: Muon, if there is one */
    PITH__WEIGHT_EMBEDDING, /* rows are looked up one by one, or the head: AdamW */
    PITH__WEIGHT_VECTOR     /* norms, biases: AdamW without decay */
} pith__weight_kind;

#define PITH__WEIGHT_NAME_SIZE 64

typedef struct pith__weight {
    char name[PITH__WEIGHT_NAME_SIZE]; /* as in a GGUF file: "blk.0.attn_q.weight" */
    pith__weight_kind kind;
    size_t rows; /* 1 for a vector */
    size_t cols;
    size_t at; /* of its first float in the vector; a multiple of 16 */
} pith__weight;

typedef struct pith__weights {
    pith_allocator mem;
    pith__weight *items;
    size_t n_items, items_capacity;
    size_t count;  /* floats of the vector, padding included */
    float *values; /* (count), NULL before pith__weights_allocate(); padding is 0 */
} pith__weights;

void pith__weights_init(pith__weights *weights, const pith_allocator *mem);
void pith__weights_deinit(pith__weights *weights);

/* One more tensor, before pith__weights_allocate(). E_MEMORY; E_ARGUMENT: name too long, or taken. */
PITH_NODISCARD pith_status pith__weights_add(pith__weights *weights, const char *name,
                                             pith__weight_kind kind, size_t rows, size_t cols,
                                             pith_error *err);

/* Makes the vector, all 0. */
PITH_NODISCARD pith_status pith__weights_allocate(pith__weights *weights, pith_error *err);

/* NULL if there is none of this name. */
const pith__weight *pith__weights_find(const pith__weights *weights, const char *name);

/* ---- a model that can change --------------------------------------------------------- */

/*
 * Adds every tensor of a model of this shape to `weights`: token_embd.weight,
 * output_norm.weight, output.weight if not tied, and blk.N.*.weight.
 */
PITH_NODISCARD pith_status pith__grad_layout(const pith__model_config *config, bool tied,
                                             pith__weights *weights, pith_error *err);

/*
 * A model that looks at the values of allocated `weights` (borrowed): what changes there
 * changes the model. pith__model_forward() runs it too. Tied if there is no
 * output.weight. Released with pith__model_deinit().
 */
PITH_NODISCARD pith_status pith__grad_model(const pith__model_config *config,
                                            const pith__weights *weights, const pith_allocator *mem,
                                            pith__model *out, pith_error *err);

/*
 * Random weights for training from scratch: normal with standard deviation 1 / sqrt(inputs)
 * (embedding: 0.02), matrices that write to the residual stream smaller by sqrt(2 layers),
 * norms 1. The same seed gives the same bytes everywhere.
 */
void pith__grad_initialise(const pith__model_config *config, pith__weights *weights, uint64_t seed);

/* About normal with this deviation, exactly the same on every machine. Advances *state. */
void pith__fill_normal(float *values, size_t count, double deviation, uint64_t *state);

/* Copies a loaded model (precision F32) into allocated weights of the same shape. E_ARGUMENT. */
PITH_NODISCARD pith_status pith__grad_copy(const pith__model *from, pith__weights *weights,
                                           pith_error *err);

/* ---- LoRA ------------------------------------------------------------------------------ */

/* The seven matrices of a block, in this order everywhere. */
typedef enum pith__block_matrix {
    PITH__MATRIX_Q,
    PITH__MATRIX_K,
    PITH__MATRIX_V,
    PITH__MATRIX_O,
    PITH__MATRIX_GATE,
    PITH__MATRIX_UP,
    PITH__MATRIX_DOWN,
    PITH__BLOCK_MATRICES
} pith__block_matrix;

/* "attn_q" and so on, as in GGUF names. Static storage. */
const char *pith__block_matrix_name(pith__block_matrix matrix);

/* The matrix itself. */
const pith__matrix *pith__block_matrix_of(const pith__layer *layer, pith__block_matrix matrix);

/* y = W x + (alpha / rank) B (A dropout(x)) (Hu et al. 2021). */
typedef struct pith__lora_pair {
    const float *a; /* (rank, inputs); NULL: this matrix has no adapter */
    const float *b; /* (outputs, rank) */
} pith__lora_pair;

typedef struct pith__lora {
    pith_allocator mem;
    uint32_t layers;
    uint32_t rank;
    float alpha;
    float dropout;          /* share of the inputs set to 0 in training passes */
    pith__lora_pair *pairs; /* (layers, PITH__BLOCK_MATRICES) */
} pith__lora;

/*
 * Adds the factors blk.N.NAME.weight.lora_a and .lora_b of the matrices whose bits
 * (1 << matrix) are set in `matrices` to `weights`. Kind MATRIX.
 */
PITH_NODISCARD pith_status pith__lora_layout(const pith__model_config *config, uint32_t rank,
                                             unsigned matrices, pith__weights *weights,
                                             pith_error *err);

/* An adapter that looks at the factors in allocated `weights` (borrowed); rank is read off them. */
PITH_NODISCARD pith_status pith__lora_of(const pith__model_config *config,
                                         const pith__weights *weights, float alpha, float dropout,
                                         const pith_allocator *mem, pith__lora *out,
                                         pith_error *err);
void pith__lora_deinit(pith__lora *lora);

/* A normal with standard deviation 1 / sqrt(inputs), B zero: the adapter changes nothing yet. */
void pith__lora_initialise(pith__weights *weights, uint64_t seed);

/* ---- LoRA in files (lora_file.c): the layout of pith__adapter --------------------------------- */

/*
 * Writes an adapter to `path`, F32. `name`: general.name; `base_sha256`: of the model file it
 * belongs to, so that it is refused for any other, or NULL. Fails with E_IO or E_MEMORY.
 */
PITH_NODISCARD pith_status pith__lora_save(const pith__lora *lora, const pith__model_config *config,
                                           const char *name, const char *base_sha256,
                                           const char *path, pith_error *err);

/* The same into a writer, for files that say more; the factors are borrowed until it has written. */
PITH_NODISCARD pith_status pith__lora_add(const pith__lora *lora, const pith__model_config *config,
                                          const char *name, const char *base_sha256,
                                          pith__gguf_writer *writer, pith_error *err);

/*
 * Adds the factors of an adapter for this model to `weights`, which are empty, allocates them and
 * fills them in. *alpha is what pith__lora_of() wants. `base_sha256`: of the model file, or NULL to
 * take an adapter of any. Fails like pith__adapter_open(), and with E_MISMATCH (another hash,
 * other shapes, a matrix that is not in a block), E_UNSUPPORTED (several ranks) or E_MEMORY.
 */
PITH_NODISCARD pith_status pith__lora_load(const pith__gguf *gguf, const pith__model_config *config,
                                           const char *base_sha256, pith__weights *weights,
                                           float *alpha, pith_error *err);

/*
 * Adds an adapter to the matrices of `base`, the weights of the model it is for: W += (alpha /
 * rank) B A. E_ARGUMENT: a matrix is not there.
 */
PITH_NODISCARD pith_status pith__grad_merge(const pith__lora *lora, pith__weights *base,
                                            pith_error *err);

/* Gradients go to the tensors that lie in `values`. All zero: to none. */
typedef struct pith__sink {
    const float *values; /* (count), usually of a pith__weights */
    float *gradients;    /* (count), added to */
    size_t count;
} pith__sink;

/* Where the gradient of `tensor` goes; NULL: it is frozen. */
float *pith__sink_of(const pith__sink *sink, const float *tensor);

/* ---- connector (connector.c): from hidden states to what is read as embeddings (SelfCP) -------- */

/* z = LayerNorm(W h + b) * gain + shift, or z = W h + b. */
typedef struct pith__connector {
    size_t width;        /* d */
    const float *matrix; /* (d, d) as (outputs, inputs) */
    const float *bias;   /* (d) */
    const float *gain;   /* (d), or NULL: no LayerNorm */
    const float *shift;  /* (d) */
    float eps;
} pith__connector;

/* z (n, d) of h (n, d). linear (n, d) receives W h + b, for the way back; may be z without a norm, or
 * NULL: not wanted. E_MEMORY, E_BACKEND. */
PITH_NODISCARD pith_status pith__connector_forward(const pith__connector *connector,
                                                   const pith__tensor_ops *ops,
                                                   const pith__tensor_ctx *ctx, const float *h,
                                                   size_t n, float *linear, float *z,
                                                   pith_error *err);

/* d_h (n, d) is written, from d_z (n, d); gradients of those parts that lie in the sink are added. */
PITH_NODISCARD pith_status pith__connector_backward(const pith__connector *connector,
                                                    const pith__tensor_ops *ops,
                                                    const pith__tensor_ctx *ctx, const float *h,
                                                    const float *linear, const float *d_z, size_t n,
                                                    const pith__sink *sink, float *d_h,
                                                    pith_error *err);

/* ---- masks ------------------------------------------------------------------------------- */

typedef enum pith__mask_rule {
    PITH__MASK_CAUSAL,
    PITH__MASK_GIST,          /* causal; rows after the last gist see nothing before the first */
    PITH__MASK_GIST_NEGATIVE, /* causal; rows after the last gist see nothing up to it */
    PITH__MASK_DOCUMENTS,     /* causal within runs of equal documents[]: packing */
    PITH__MASK_FIRST,         /* row i sees rows first[i] .. i: any of the above, packed */
    PITH__MASK_MATRIX         /* any */
} pith__mask_rule;

/*
 * Which rows a row sees. A prefix is seen by all rows under every rule but MATRIX, which has a
 * column for each of its tokens.
 */
typedef struct pith__mask {
    pith__mask_rule rule;
    size_t gist_first;         /* row of the first gist token */
    size_t gist_last;          /* row of the last */
    const uint32_t *documents; /* (rows), or NULL */
    const uint32_t *first;     /* (rows) first[i] <= i, or NULL */
    const uint8_t *matrix;     /* (rows, prefix + rows), not 0: seen; or NULL */
} pith__mask;

/* ---- a pass -------------------------------------------------------------------------------- */

/* Keys (rotated) and values that stand before the rows in every layer. */
typedef struct pith__prefix {
    size_t count;
    const float *k; /* (layers, count, kv_heads * head_dim) */
    const float *v; /* the same */
} pith__prefix;

typedef struct pith__pass_input {
    size_t rows;
    const uint32_t *ids;       /* (rows), PITH__NO_ID: from `embeddings`; NULL: all are */
    const float *embeddings;   /* (rows, d); looked at where there is no id; may be NULL */
    const uint32_t *positions; /* (rows); NULL: 0, 1, 2, ... */
    pith__mask mask;
    const pith__prefix *prefix; /* or NULL */
    const pith__lora *lora;     /* NULL: off */
    uint64_t dropout_seed;      /* of LoRA's dropout; 0: none */
    bool recompute;             /* keep one input per layer, compute the rest again going back */
} pith__pass_input;

/*
 * One forward pass. Floats kept per row, with H = heads * head_dim, K = kv_heads * head_dim:
 *
 *     kept        layers * (4 d + 2 H + 2 K + heads + 3 ff) + 2 d
 *     recomputed  layers * d + (4 d + 2 H + 2 K + heads + 3 ff) + 2 d
 */
typedef struct pith__pass pith__pass;

/*
 * Bytes of the arena that a pass, its way back and its losses take, about: the formula above and
 * what passes through. For reserving memory and for telling how much a run will need.
 */
size_t pith__pass_bytes(const pith__model_config *config, size_t rows, size_t prefix,
                        bool recompute);

/*
 * Runs the model (precision F32) over `input`, whose arrays are borrowed until
 * the backward pass. Fails with E_ARGUMENT (an id outside the vocabulary, an
 * embedding that is missing, a mask that does not fit), E_MEMORY or E_BACKEND.
 */
PITH_NODISCARD pith_status pith__pass_forward(const pith__model *model, const pith__tensor_ctx *ctx,
                                              const pith__pass_input *input, pith__pass **out,
                                              pith_error *err);

/* (rows, d) after the final norm. */
const float *pith__pass_hidden(const pith__pass *pass);

/* (rows, kv_heads * head_dim) of one layer: keys after rotation, values. Not with `recompute`. */
const float *pith__pass_keys(const pith__pass *pass, size_t layer);
const float *pith__pass_values(const pith__pass *pass, size_t layer);

typedef struct pith__pass_gradients {
    /* what comes in; NULL is 0 */
    const float *d_hidden; /* (rows, d) for pith__pass_hidden() */
    const float *d_keys;   /* (layers, rows, kv_heads * head_dim) for pith__pass_keys() */
    const float *d_values; /* the same */
    /* what goes out; NULL is not wanted */
    pith__sink sink;
    float *d_embeddings;  /* (rows, d), written: of the inputs, looked up or given */
    float *d_prefix_keys; /* (layers, count, kv_heads * head_dim), written */
    float *d_prefix_values;
} pith__pass_gradients;

/* Once per pass. Fails with E_MEMORY or E_BACKEND. */
PITH_NODISCARD pith_status pith__pass_backward(pith__pass *pass,
                                               const pith__pass_gradients *gradients,
                                               pith_error *err);

/* ---- losses ---------------------------------------------------------------------------------- */

/*
 * Losses on hidden states (after the final norm) of n chosen rows. The head is applied a block of
 * rows at a time: logits never exist as a whole. Loss = sum_r weight[r] * loss_r.
 */
typedef struct pith__loss {
    const pith__model *model;
    const pith__tensor_ctx *ctx;
    const float *hidden;  /* (rows of the pass, d) */
    size_t n;             /* chosen rows */
    const uint32_t *rows; /* (n) indices into hidden */
    const float *weight;  /* (n) */
    float *d_hidden;      /* like hidden, +=; NULL: only the loss is wanted */
    pith__sink sink;      /* for the head's weights */
    float *losses;        /* (n) unweighted, or NULL */
} pith__loss;

typedef enum pith__kl_direction {
    PITH__KL_FORWARD, /* teacher || student: covers all the teacher says */
    PITH__KL_REVERSE  /* student || teacher: seeks what the teacher says most */
} pith__kl_direction;

/* targets (n). *out is the weighted sum, in nats. Fails with E_ARGUMENT, E_MEMORY or E_BACKEND. */
PITH_NODISCARD pith_status pith__loss_cross_entropy(const pith__loss *loss, const uint32_t *targets,
                                                    double *out, pith_error *err);

/* The teacher as hidden states (n, d) under the head of `teacher`, of the same vocabulary. */
PITH_NODISCARD pith_status pith__loss_kl(const pith__loss *loss, const pith__model *teacher,
                                         const float *teacher_hidden, pith__kl_direction direction,
                                         float temperature, double *out, pith_error *err);

/* The teacher as its k likeliest entries (n, k) and the rest; see kl_top in tensor.h. */
PITH_NODISCARD pith_status pith__loss_kl_top(const pith__loss *loss, size_t k, const uint32_t *ids,
                                             const float *probabilities, double *out,
                                             pith_error *err);

/* Mean over d of (hidden - wanted)^2; wanted (n, d). model, ctx and sink are not looked at. */
void pith__loss_hidden(const pith__loss *loss, size_t width, const float *wanted, double *out);

#endif /* PITH_GRAD_H */
