/*
 * training_align.c: recipe align.
 */
#include "api/training.h"

#include "train/pairs.h"

static pith_status check_template(const pith__align_settings *s, pith_error *err)
{
    const pith__pair_format format = {
        .prompt_key = s->prompt_key, .completion_key = s->completion_key, .text = s->format};
    pith_error reason;
    const pith_status status = pith__pair_format_check(&format, &reason);
    return status == PITH_OK ? PITH_OK : pith__fail(err, status, "template: %s", reason.message);
}

pith_status pith__run_align(pith__training_run *r, pith_error *err)
{
    const pith__training_params *p = r->p;
    pith__align_settings s = {.pairs = (const char *const *)p->pairs.items,
                              .n_pairs = p->pairs.count,
                              .prompt_key = pith__training_text_of(r, "prompt-key", p->prompt_key),
                              .completion_key =
                                  pith__training_text_of(r, "completion-key", p->completion_key),
                              .format = pith__training_text_of(r, "template", p->template_text),
                              .epochs = p->epochs,
                              .model = p->model,
                              .lora = pith__training_read_lora(p),
                              .name = r->name,
                              .output = pith__text_or_null(p->output),
                              .adapter = pith__text_or_null(p->adapter),
                              .type = (pith__weight_type)p->type};
    PITH__TRY(pith__need_list("pairs", &p->pairs, err));
    PITH__TRY(pith__check_gguf(r, "model", p->model, err));
    PITH__TRY(pith__training_check_lora(p, err));
    if (s.adapter == NULL) {
        PITH__TRY(pith__need("output", p->output, err));
    }
    PITH__TRY(pith__training_read_run(r, &s.run, err));
    PITH__TRY(pith__training_read_length(r, &s.run.length, err));
    PITH__TRY(check_template(&s, err));
    PITH__TRY(pith__training_begin(r, err));
    return pith__train_align(&s, &r->training->mem, err);
}
