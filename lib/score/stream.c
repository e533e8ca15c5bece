/*
 * stream.c: one sequence that grows step by step over a key-value cache.
 */
#include "score/score.h"

void pith__stream_init(pith__stream *stream, const pith__model *model, unsigned threads,
                       const pith_allocator *mem)
{
    *stream = (pith__stream){.model = model, .threads = threads};
    pith__arena_init(&stream->scratch, mem);
    pith__kv_init(&stream->kv, model, mem);
}

void pith__stream_deinit(pith__stream *stream)
{
    pith__kv_deinit(&stream->kv);
    pith__arena_deinit(&stream->scratch);
}

pith_status pith__stream_extend(pith__stream *stream, const uint32_t *ids, const uint32_t *targets,
                                size_t count, float *nats, pith_error *err)
{
    const pith__tensor_ctx tensor = {pith__model_threads(stream->model, count, stream->threads),
                                     &stream->scratch};
    const pith__sequence sequence = {
        .ids = ids, .count = count, .position = stream->kv.length, .kv = &stream->kv};
    const pith__forward_outputs outputs = {.targets = targets, .nll = nats};
    const pith_status status =
        pith__model_forward(stream->model, &tensor, &sequence, 1, &outputs, err);
    pith__arena_reset(&stream->scratch);
    stream->forwarded += status == PITH_OK ? count : 0;
    return status;
}

size_t pith__stream_length(const pith__stream *stream)
{
    return stream->kv.length;
}

void pith__stream_truncate(pith__stream *stream, size_t length)
{
    pith__kv_truncate(&stream->kv, length);
}

void pith__stream_remove(pith__stream *stream, size_t start, size_t end)
{
    pith__kv_remove(&stream->kv, start, end);
}
