/*
 * capsule.c: pith_capsule: files of capsules, what they are, whom they fit, what they save.
 */
#include "api/api.h"

/* Numbers of a key-value cache that costs are given for. */
#define CACHE_NUMBER_BYTES 2

pith_status pith__capsule_wrap(pith__capsule **capsule, pith_capsule **out, pith_error *err)
{
    const pith_allocator mem = (*capsule)->mem;
    const pith_status status = pith__alloc_zero(&mem, 1, sizeof **out, out, err);
    if (status != PITH_OK) {
        pith__capsule_free(*capsule);
        *capsule = NULL;
        return status;
    }
    (*out)->mem = mem;
    (*out)->capsule = *capsule;
    *capsule = NULL;
    return PITH_OK;
}

void pith_capsule_free(pith_capsule *capsule)
{
    if (capsule == NULL) {
        return;
    }
    const pith_allocator mem = capsule->mem;
    pith__capsule_free(capsule->capsule);
    pith__free(&mem, capsule, 1, sizeof *capsule);
}

pith_status pith_capsule_open(const char *path, const pith_allocator *allocator, pith_capsule **out,
                              pith_error *err)
{
    const pith_allocator *mem = allocator == NULL ? &pith__allocator_default : allocator;
    pith__capsule *capsule = NULL;
    *out = NULL;
    PITH__TRY(pith__capsule_open(path, mem, &capsule, err));
    return pith__capsule_wrap(&capsule, out, err);
}

pith_status pith_capsule_open_memory(const void *data, size_t size, const pith_allocator *allocator,
                                     pith_capsule **out, pith_error *err)
{
    const pith_allocator *mem = allocator == NULL ? &pith__allocator_default : allocator;
    pith__capsule *capsule = NULL;
    *out = NULL;
    PITH__TRY(pith__capsule_parse(data, size, mem, &capsule, err));
    return pith__capsule_wrap(&capsule, out, err);
}

bool pith__capsule_type_of(pith_capsule_type type, pith__capsule_type *out)
{
    static const pith__capsule_type types[] = {[PITH_CAPSULE_F16] = PITH__CAPSULE_F16,
                                               [PITH_CAPSULE_F32] = PITH__CAPSULE_F32,
                                               [PITH_CAPSULE_INT8] = PITH__CAPSULE_INT8};
    if ((unsigned)type >= sizeof types / sizeof types[0]) {
        return false;
    }
    *out = types[type];
    return true;
}

pith_status pith__capsule_type_check(pith_capsule_type type, pith__capsule_type *out,
                                     pith_error *err)
{
    return pith__capsule_type_of(type, out)
               ? PITH_OK
               : pith__fail(err, PITH_E_ARGUMENT, "there is no type %d of capsules", (int)type);
}

pith_status pith_capsule_save(const pith_capsule *capsule, pith_capsule_type type, const char *path,
                              pith_error *err)
{
    pith__capsule_type stored = PITH__CAPSULE_F16;
    PITH__TRY(pith__capsule_type_check(type, &stored, err));
    return pith__capsule_save(capsule->capsule, stored, path, err);
}

pith_status pith_capsule_join(const pith_capsule *const *capsules, size_t count,
                              const pith_allocator *allocator, pith_capsule **out, pith_error *err)
{
    const pith_allocator *mem = allocator == NULL ? &pith__allocator_default : allocator;
    const pith__capsule **items = NULL;
    pith__capsule *joined = NULL;
    *out = NULL;
    PITH__TRY(pith__alloc(mem, count, sizeof(pith__capsule *), (void *)&items, err));
    for (size_t i = 0; i < count; i++) {
        items[i] = capsules[i]->capsule;
    }
    const pith_status status = pith__capsule_join(items, count, mem, &joined, err);
    pith__free(mem, (void *)items, count, sizeof(pith__capsule *));
    return status == PITH_OK ? pith__capsule_wrap(&joined, out, err) : status;
}

pith_capsule_info pith_capsule_describe(const pith_capsule *capsule)
{
    const pith__capsule *c = capsule->capsule;
    return (pith_capsule_info){.struct_size = sizeof(pith_capsule_info),
                               .method = c->method,
                               .kind = c->kind == PITH__CAPSULE_KV ? "kv" : "embeddings",
                               .slots = c->slots,
                               .layers = c->layers,
                               .width = c->width,
                               .source_bytes = c->source_bytes,
                               .source_tokens = c->source_tokens,
                               .source_sha256 = c->source_sha256,
                               .position_mode = c->position_mode,
                               .advance = c->advance,
                               .bos = c->bos,
                               .model_sha256 = c->binding.model,
                               .tokenizer_sha256 = c->binding.tokenizer,
                               .adapter_sha256 = c->binding.adapter,
                               .record = c->record_size == 0 ? "{}" : c->record};
}

pith_status pith_capsule_check(const pith_capsule *capsule, const pith_model *model,
                               pith_error *err)
{
    pith__binding binding;
    pith__model_binding(model, &binding);
    return pith__capsule_check(capsule->capsule, &model->weights.config, &binding, err);
}

pith_savings pith_capsule_savings(const pith_capsule *capsule, const pith_model *model,
                                  size_t question, pith_capsule_type type)
{
    const pith__capsule *c = capsule->capsule;
    const pith__model_config *config = &model->weights.config;
    const size_t source = (size_t)c->source_tokens;
    const bool is_read = c->kind == PITH__CAPSULE_EMBEDDINGS; /* like tokens */
    pith__capsule_type stored = PITH__CAPSULE_F16; /* also for a type that there is not */
    (void)pith__capsule_type_of(type, &stored);
    return (pith_savings){
        .struct_size = sizeof(pith_savings),
        .flops_full = pith__cost_flops(config, source + question, 0),
        .flops_capsule = is_read ? pith__cost_flops(config, c->slots + question, 0)
                                 : pith__cost_flops(config, question, c->slots),
        .flops_cached = pith__cost_flops(config, question, source),
        .cache_full = pith__cost_kv_bytes(config, source, CACHE_NUMBER_BYTES),
        .cache_capsule = pith__cost_kv_bytes(config, c->slots, CACHE_NUMBER_BYTES),
        .stored_bytes = pith__capsule_bytes(c, stored)};
}
