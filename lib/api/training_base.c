/*
 * training_base.c: recipe base.
 */
#include "api/training.h"

static uint32_t size_or(double value, uint32_t otherwise)
{
    return value < 0.0 ? otherwise : (uint32_t)value;
}

/* The shape that the parameters ask for. */
static pith_status read_shape(const pith__training_params *p, pith__model_config *c,
                              pith_error *err)
{
    c->layers = size_or(p->layers, 8);
    c->width = size_or(p->width, 256);
    c->heads = size_or(p->heads, c->width < 64 ? 1 : c->width / 64);
    c->kv_heads = size_or(p->kv_heads, c->heads);
    c->head_dim = size_or(p->head_dim, c->width / c->heads);
    c->ff = size_or(p->ff, (8 * c->width / 3 + 31) / 32 * 32);
    c->context = size_or(p->context, (uint32_t)p->length);
    c->rope_pairs = c->head_dim / 2;
    c->rope_base = (float)pith__number_or(p->rope_base, 10000.0);
    c->rope_scale = 1.0f;
    c->norm_eps = (float)pith__number_or(p->norm_eps, 1e-5);
    if (p->head_dim < 0.0 && c->width % c->heads != 0) {
        return pith__fail(err, PITH_E_RANGE, "heads: %u do not divide the width, %u", c->heads,
                          c->width);
    }
    if (c->heads % c->kv_heads != 0) {
        return pith__fail(err, PITH_E_RANGE, "kv-heads: %u do not divide the heads, %u",
                          c->kv_heads, c->heads);
    }
    if (c->head_dim % 2 != 0 || c->head_dim == 0) {
        return pith__fail(err, PITH_E_RANGE, "head-dim: %u is not an even number", c->head_dim);
    }
    return PITH_OK;
}

/* A parameter that was given must be what the model to go on from has. */
static pith_status check_same(const char *name, double given, double has, pith_error *err)
{
    return given < 0.0 || given == has
               ? PITH_OK
               : pith__fail(err, PITH_E_ARGUMENT, "%s: %.9g is asked for, the model has %.9g", name,
                            given, has);
}

static pith_status check_shape(const pith__training_params *p, const pith__model_config *c,
                               pith_error *err)
{
    PITH__TRY(check_same("layers", p->layers, (double)c->layers, err));
    PITH__TRY(check_same("width", p->width, (double)c->width, err));
    PITH__TRY(check_same("heads", p->heads, (double)c->heads, err));
    PITH__TRY(check_same("kv-heads", p->kv_heads, (double)c->kv_heads, err));
    PITH__TRY(check_same("head-dim", p->head_dim, (double)c->head_dim, err));
    return check_same("ff", p->ff, (double)c->ff, err);
}

/* The shape of the model to go on from. */
static pith_status copy_shape(const pith__training_run *r, pith__base_settings *s, pith_error *err)
{
    const pith__training_params *p = r->p;
    const pith_allocator *mem = &r->training->mem;
    pith__file file;
    pith__gguf gguf = {0};
    pith__model model = {0};
    pith_error reason;
    PITH__TRY(pith__check_gguf(r, "init-from", s->start, err));
    PITH__TRY(pith__file_open(s->start, &file, err));
    pith_status status = pith__gguf_parse(file.data, file.size, mem, &gguf, &reason);
    if (status == PITH_OK) {
        status = pith__model_load(&gguf, PITH_PRECISION_F32, mem, &model, &reason);
    }
    if (status != PITH_OK) {
        (void)pith__fail_at(err, status, reason.offset, "init-from: %s", reason.message);
    }
    if (status == PITH_OK && model.rope_factors != NULL) {
        status = pith__fail(err, PITH_E_UNSUPPORTED,
                            "init-from: its rotary positions have factors (rope_freqs.weight)");
    }
    if (status == PITH_OK) {
        s->config = model.config;
        s->tied = pith__gguf_find_tensor(&gguf, "output.weight") == NULL;
        s->config.context =
            size_or(p->context, model.config.context > s->run.length ? model.config.context
                                                                     : (uint32_t)s->run.length);
        s->config.rope_base = (float)pith__number_or(p->rope_base, (double)model.config.rope_base);
        s->config.norm_eps = (float)pith__number_or(p->norm_eps, (double)model.config.norm_eps);
        status = check_shape(p, &model.config, err);
    }
    pith__model_deinit(&model);
    pith__gguf_deinit(&gguf);
    pith__file_close(&file);
    return status;
}

pith_status pith__run_base(pith__training_run *r, pith_error *err)
{
    const pith__training_params *p = r->p;
    const char *start = pith__text_or_null(p->model);
    const char *tokenizer = pith__text_or_null(p->tokenizer);
    pith__base_settings s = {.sources = r->sources,
                             .n_sources = p->data.count,
                             .tokenizer = tokenizer != NULL ? tokenizer : start,
                             .tied = p->tied,
                             .start = start,
                             .name = r->name,
                             .output = p->output,
                             .type = (pith__weight_type)p->type};
    PITH__TRY(pith__need_list("data", &p->data, err));
    PITH__TRY(pith__check_gguf(r, tokenizer == NULL && start != NULL ? "init-from" : "tokenizer",
                               s.tokenizer, err));
    PITH__TRY(pith__need("output", s.output, err));
    PITH__TRY(pith__training_read_run(r, &s.run, err));
    PITH__TRY(start == NULL ? read_shape(p, &s.config, err) : copy_shape(r, &s, err));
    if (s.config.context < s.run.length) {
        return pith__fail(err, PITH_E_RANGE, "context: %u is less than the length, %zu",
                          s.config.context, s.run.length);
    }
    PITH__TRY(pith__training_begin(r, err));
    return pith__train_base(&s, &r->training->mem, err);
}
