/*
 * training_params.c: the parameters of the recipes, all defaults among them. A row
 * belongs to the recipes whose bits it has; a name may have a row for each recipe.
 */
#include "api/training.h"

#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define COUNT_MAX 1e9                /* of things that one asks for by number */
#define SIDE_MAX  65536.0            /* of a side of a matrix, a context, a batch */
#define BYTES_MAX 9007199254740992.0 /* whole numbers up to here are exact in a double */

#define TOKENIZER PITH__RECIPE_TOKENIZER
#define BASE      PITH__RECIPE_BASE
#define ALIGN     PITH__RECIPE_ALIGN
#define EVALUATE  PITH__RECIPE_EVALUATE
#define CC        PITH__RECIPE_CC
#define DISTILL   PITH__RECIPE_DISTILL
#define GIST      PITH__RECIPE_GIST
#define M500X     PITH__RECIPE_500X
#define ICAE      PITH__RECIPE_ICAE
#define SELFCP    PITH__RECIPE_SELFCP
#define RETENTION PITH__RECIPE_RETENTION
#define CONDENSES (CC | DISTILL)
#define ENCODERS  (M500X | ICAE) /* are trained */
#define COMPRESS  (ENCODERS | SELFCP)
#define TUNES     (ALIGN | GIST) /* a model, to texts that end */
#define LEARNS    (BASE | TUNES | CONDENSES | COMPRESS)
#define MODELS    (BASE | TUNES)                /* that are written */
#define CHOOSES   (MODELS | DISTILL | COMPRESS) /* an optimizer: there are matrices */
#define ADAPTS    (TUNES | DISTILL)
#define MAKES     (TOKENIZER | LEARNS) /* a file */

#define ROW(field, recipes) offsetof(pith__training_params, field), (recipes)

static const pith__param rows[] = {
    /* ---- data */
    {{"data", 'd', PITH_PARAM_LIST, 0, 0, "", "", "files", "0.3", "data",
      "Text to learn from: FILE, or FILE=WEIGHT for its share of what is read (default 1). A line "
      "that holds nothing but <|endoftext|> ends a document."},
     ROW(data, TOKENIZER | BASE)},
    {{"data", 'd', PITH_PARAM_LIST, 0, 0, "", "", "files", "0.3", "data",
      "Text to read. A line that holds nothing but <|endoftext|> ends a document."},
     ROW(data, EVALUATE)},
    {{"context", 0, PITH_PARAM_PATH, 0, 0, "", "", "", "0.4", "data",
      "Text that is to be replaced by something smaller."},
     ROW(context_file, CONDENSES)},
    {{"data", 'd', PITH_PARAM_LIST, 0, 0, "", "", "files", "0.4", "data",
      "Text to take continuations from: FILE, or FILE=WEIGHT. Without it the model writes them "
      "itself, after the context. A line that holds nothing but <|endoftext|> ends a document."},
     ROW(data, CONDENSES)},
    {{"data", 'd', PITH_PARAM_LIST, 0, 0, "", "", "files", "0.5", "data",
      "Text to repeat or to go on from: FILE, or FILE=WEIGHT for its share of what is read "
      "(default "
      "1). A line that holds nothing but <|endoftext|> ends a document."},
     ROW(data, COMPRESS)},
    {{"questions", 'q', PITH_PARAM_LIST, 0, 0, "", "", "files", "0.5", "data",
      "JSONL file: every line is an object with a context, a question and an answer, three "
      "strings. "
      "The context is compressed."},
     ROW(questions, COMPRESS)},
    {{"question-share", 0, PITH_PARAM_FLOAT, 0, 1, "0.5", "", "share", "0.5", "data",
      "Share of the samples that are questions, if there is text too."},
     ROW(question_share, COMPRESS)},
    {{"template", 0, PITH_PARAM_TEXT, 0, 0, PITH__QUESTION_FORMAT, "", "", "0.5", "data",
      "What is read behind the memory of a context: any text around the two."},
     ROW(template_text, COMPRESS)},
    {{"continuation", 0, PITH_PARAM_FLOAT, 0, 1, "0", "", "share", "0.5", "data",
      "Share of the texts that are not to be repeated but gone on with."},
     ROW(continuation, M500X)},
    {{"continuation", 0, PITH_PARAM_FLOAT, 0, 1, "0.5", "", "share", "0.5", "data",
      "Share of the texts that are not to be repeated but gone on with."},
     ROW(continuation, ICAE | SELFCP)},
    {{"shortest", 0, PITH_PARAM_INT, 1, SIDE_MAX, "", "", "tokens", "0.5", "data",
      "Tokens of a text at least; all numbers up to length are equally likely. Default: a quarter "
      "of length."},
     ROW(shortest, COMPRESS)},
    {{"held-out", 0, PITH_PARAM_INT, 0, COUNT_MAX, "64", "", "texts", "0.5", "data",
      "Judge by so many held-out texts, and as many questions."},
     ROW(held_out, COMPRESS)},
    {{"held-out-every", 0, PITH_PARAM_INT, 0, COUNT_MAX, "100", "", "documents", "0.5", "data",
      "Leave one document in so many, and one context with all its questions, out of training, to "
      "be judged by. 0: none."},
     ROW(held_out_every, COMPRESS)},
    {{"data", 'd', PITH_PARAM_LIST, 0, 0, "", "", "files", "0.5", "data",
      "Text to repeat. A line that holds nothing but <|endoftext|> ends a document."},
     ROW(data, RETENTION)},
    {{"questions", 'q', PITH_PARAM_LIST, 0, 0, "", "", "files", "0.5", "data",
      "JSONL file: every line is an object with a context, a question and an answer, three "
      "strings; "
      "for way given also \"shorter\", an array of strings, one for each of slots. A line without "
      "question and answer is a text to repeat."},
     ROW(questions, RETENTION)},
    {{"template", 0, PITH_PARAM_TEXT, 0, 0, PITH__QUESTION_FORMAT, "", "", "0.5", "data",
      "What is read behind a context: any text around the two. If not given: as the compressors "
      "learned it."},
     ROW(template_text, RETENTION)},
    {{"texts", 0, PITH_PARAM_INT, 1, COUNT_MAX, "64", "", "texts", "0.5", "data",
      "Read so many texts of every length, and so many questions, spread evenly over the files."},
     ROW(texts, RETENTION)},
    {{"held-out-every", 0, PITH_PARAM_INT, 0, COUNT_MAX, "100", "", "documents", "0.5", "data",
      "Read the documents, and the contexts with their questions, that training with this number "
      "leaves out. 0: all."},
     ROW(held_out_every, RETENTION)},
    {{"seed", 0, PITH_PARAM_INT, 0, 4294967295.0, "0", "", "", "0.5", "data",
      "Seed of the choice of texts and of their places in documents."},
     ROW(seed, RETENTION)},
    {{"model", 'm', PITH_PARAM_PATH, 0, 0, "", "", "", "0.5", "model",
      "GGUF model that reads and writes. Default: the built-in one."},
     ROW(model, RETENTION)},
    {{"compressor", 'c', PITH_PARAM_LIST, 0, 0, "", "", "files", "0.5", "model",
      "Compressor for this model, of recipe 500x, icae or selfcp."},
     ROW(compressors, RETENTION)},
    {{"length", 'l', PITH_PARAM_LIST, 0, 0, "96", "", "tokens", "0.5", "model",
      "Tokens of a text to repeat. Longer contexts of questions are cut to the largest length, "
      "around "
      "the answer."},
     ROW(lengths, RETENTION)},
    {{"slots", 'k', PITH_PARAM_LIST, 0, 0, "16", "", "tokens", "0.5", "model",
      "Virtual tokens, or tokens, that are read instead. Those that a compressor cannot make, or "
      "that "
      "are no fewer than the text has, have no row."},
     ROW(slot_counts, RETENTION)},
    {{"way", 'w', PITH_PARAM_LIST, 0, 0, "", "", "", "0.5", "model",
      "How the model knows a text: full, none, truncated (the first tokens), last, given (what a "
      "line "
      "says instead), mean-kv, mean-hidden, mean-embeddings, compressor, shuffled (the memory of "
      "another text). Default: all but given."},
     ROW(ways, RETENTION)},
    {{"generate", 0, PITH_PARAM_FLAG, 0, 0, "true", "", "", "0.5", "model",
      "Write texts and answers, greedily, for ROUGE-L, BLEU, F1 and exact matches. Without it "
      "there "
      "are nats per token alone."},
     ROW(writes, RETENTION)},
    {{"max-tokens", 0, PITH_PARAM_INT, 1, SIDE_MAX, "32", "", "tokens", "0.5", "model",
      "Of an answer that is written."},
     ROW(max_tokens, RETENTION)},
    {{"ablate", 0, PITH_PARAM_FLAG, 0, 0, "false", "", "", "0.5", "model",
      "Leave out each slot of a compressor's memory in turn, where there are 16 at most: what it "
      "carries."},
     ROW(ablates, RETENTION)},
    {{"continuations", 0, PITH_PARAM_INT, 1, 1e6, "256", "", "texts", "0.4", "data",
      "How many to learn from; a tenth as many, at least 8, are made besides, to be judged by."},
     ROW(continuations, CONDENSES)},
    {{"temperature", 0, PITH_PARAM_FLOAT, 0, 100, "1", "", "", "0.4", "data",
      "Of the continuations that the model writes itself."},
     ROW(temperature, CONDENSES)},
    {{"data", 'd', PITH_PARAM_LIST, 0, 0, "", "", "files", "0.4", "data",
      "JSONL file: every line is an object with an instruction, an input, which may be empty, and "
      "an output, three strings."},
     ROW(pairs, GIST)},
    {{"test", 0, PITH_PARAM_LIST, 0, 0, "", "", "files", "0.4", "data",
      "Such a file that is only judged by, under its own name."},
     ROW(tests, GIST)},
    {{"pairs", 'd', PITH_PARAM_LIST, 0, 0, "", "", "files", "0.3", "data",
      "JSONL file: every line is an object with a prompt and a completion, two strings."},
     ROW(pairs, ALIGN)},
    {{"prompt-key", 0, PITH_PARAM_TEXT, 0, 0, "prompt", "", "", "0.3", "data",
      "Key of the prompt in these objects."},
     ROW(prompt_key, ALIGN)},
    {{"completion-key", 0, PITH_PARAM_TEXT, 0, 0, "completion", "", "", "0.3", "data",
      "Key of the completion, the text that is learned."},
     ROW(completion_key, ALIGN)},
    {{"template", 0, PITH_PARAM_TEXT, 0, 0, "{prompt}{completion}", "", "", "0.3", "data",
      "What the model reads: any text around the two."},
     ROW(template_text, ALIGN)},
    {{"held-out-every", 0, PITH_PARAM_INT, 0, COUNT_MAX, "100", "", "documents", "0.3", "data",
      "Leave one document in so many out of training, to be judged by. Chosen by its content: the "
      "same document is left out wherever it stands. 0: none."},
     ROW(held_out_every, TOKENIZER | BASE)},
    {{"held-out-every", 0, PITH_PARAM_INT, 0, COUNT_MAX, "100", "", "pairs", "0.3", "data",
      "Leave one pair in so many out of training, to be judged by. 0: none."},
     ROW(held_out_every, ALIGN)},
    {{"held-out-every", 0, PITH_PARAM_INT, 0, COUNT_MAX, "20", "", "triples", "0.4", "data",
      "Leave one triple in so many out of training, to be judged by. 0: none."},
     ROW(held_out_every, GIST)},
    {{"held-out-every", 0, PITH_PARAM_INT, 0, COUNT_MAX, "100", "", "documents", "0.3", "data",
      "Read the documents that training with this number leaves out. 0: all."},
     ROW(held_out_every, EVALUATE)},
    {{"evaluate-bytes", 0, PITH_PARAM_INT, 0, BYTES_MAX, "0", "", "bytes", "0.3", "data",
      "Read about so much text of every file. 0: all."},
     ROW(evaluate_bytes, EVALUATE)},
    {{"max-bytes", 0, PITH_PARAM_INT, 0, BYTES_MAX, "0", "", "bytes", "0.3", "data",
      "Read at most so much text, by the weights and spread evenly over the documents. 0: all."},
     ROW(max_bytes, TOKENIZER)},
    {{"seed", 0, PITH_PARAM_INT, 0, 4294967295.0, "0", "", "", "0.3", "data",
      "Seed of the first weights and of the order of the text."},
     ROW(seed, LEARNS)},
    /* ---- model */
    {{"vocab-size", 0, PITH_PARAM_INT, 257, 16777216, "8192", "", "tokens", "0.3", "model",
      "Entries of the vocabulary: special tokens, the 256 bytes, and what is merged from them."},
     ROW(vocab_size, TOKENIZER)},
    {{"pre", 0, PITH_PARAM_ENUM, 0, 0, "gpt-2", "gpt-2|llama-bpe|qwen2|gpt-4o", "", "0.3", "model",
      "Whose pattern cuts text into words and numbers; nothing is merged across a cut."},
     ROW(pre, TOKENIZER)},
    {{"special", 0, PITH_PARAM_LIST, 0, 0, "<|endoftext|>", "", "", "0.3", "model",
      "A special token. The first one begins and ends texts."},
     ROW(special, TOKENIZER)},
    {{"tokenizer", 0, PITH_PARAM_PATH, 0, 0, "", "", "", "0.3", "model",
      "GGUF file with the vocabulary: of recipe tokenizer, or any model. Default: that of "
      "init-from."},
     ROW(tokenizer, BASE)},
    {{"init-from", 'm', PITH_PARAM_PATH, 0, 0, "", "", "", "0.3", "model",
      "GGUF model to go on from, instead of random weights. Its shape is that of the result."},
     ROW(model, BASE)},
    {{"model", 'm', PITH_PARAM_PATH, 0, 0, "", "", "", "0.3", "model", "GGUF model to tune."},
     ROW(model, TUNES)},
    {{"model", 'm', PITH_PARAM_PATH, 0, 0, "", "", "", "0.4", "model",
      "GGUF model that is to do without the context. Default: the built-in one."},
     ROW(model, CONDENSES)},
    {{"model", 'm', PITH_PARAM_PATH, 0, 0, "", "", "", "0.5", "model",
      "GGUF model that the compressor is for; it is not changed. Default: the built-in one."},
     ROW(model, COMPRESS)},
    {{"init-from", 0, PITH_PARAM_PATH, 0, 0, "", "", "", "0.5", "model",
      "Compressor to go on from, of the same shape; an adapter's rank and alpha are its own."},
     ROW(start, COMPRESS)},
    {{"model", 'm', PITH_PARAM_PATH, 0, 0, "", "", "", "0.3", "model", "GGUF model that reads."},
     ROW(model, EVALUATE)},
    {{"length", 'l', PITH_PARAM_INT, 2, SIDE_MAX, "", "", "tokens", "0.3", "model",
      "Tokens that the model reads at once. Default: its context, at most 2048."},
     ROW(length, EVALUATE)},
    {{"threads", 't', PITH_PARAM_INT, 0, 1024, "0", "", "threads", "0.3", "model",
      "Threads to work with. 0: as many as there are processors."},
     ROW(threads, EVALUATE | RETENTION)},
    {{"layers", 0, PITH_PARAM_INT, 1, SIDE_MAX, "", "", "layers", "0.3", "model",
      "Layers. Default: 8."},
     ROW(layers, BASE)},
    {{"width", 0, PITH_PARAM_INT, 1, SIDE_MAX, "", "", "", "0.3", "model",
      "Size of a hidden state. Default: 256."},
     ROW(width, BASE)},
    {{"heads", 0, PITH_PARAM_INT, 1, SIDE_MAX, "", "", "heads", "0.3", "model",
      "Attention heads. Default: one for every 64 of the width."},
     ROW(heads, BASE)},
    {{"kv-heads", 0, PITH_PARAM_INT, 1, SIDE_MAX, "", "", "heads", "0.3", "model",
      "Heads of keys and values, of which every one serves as many heads. Default: as many as "
      "heads."},
     ROW(kv_heads, BASE)},
    {{"head-dim", 0, PITH_PARAM_INT, 2, SIDE_MAX, "", "", "", "0.3", "model",
      "Size of a head, an even number. Default: width by heads."},
     ROW(head_dim, BASE)},
    {{"ff", 0, PITH_PARAM_INT, 1, 4.0 * SIDE_MAX, "", "", "", "0.3", "model",
      "Size of the feed-forward layer. Default: 8/3 of the width, rounded up to a multiple of 32."},
     ROW(ff, BASE)},
    {{"context", 0, PITH_PARAM_INT, 1, 16777216, "", "", "tokens", "0.3", "model",
      "What the file says the model can see at once. Default: as length, and at least "
      "what init-from says."},
     ROW(context, BASE)},
    {{"rope-base", 0, PITH_PARAM_FLOAT, 1, 1e12, "", "", "", "0.3", "model",
      "Base of the rotary positions' wavelengths. Default: 10000."},
     ROW(rope_base, BASE)},
    {{"norm-eps", 0, PITH_PARAM_FLOAT, 1e-12, 1, "", "", "", "0.3", "model",
      "What is added inside the norms. Default: 0.00001."},
     ROW(norm_eps, BASE)},
    {{"tied", 0, PITH_PARAM_FLAG, 0, 0, "true", "", "", "0.3", "model",
      "Use the embedding as the output matrix too. With init-from: as there."},
     ROW(tied, BASE)},
    {{"name", 0, PITH_PARAM_TEXT, 0, 0, "", "", "", "0.3", "model",
      "Name that the file gets. Default: that of the output without folders and extension."},
     ROW(name, TOKENIZER | MODELS | DISTILL | COMPRESS)},
    {{"type", 0, PITH_PARAM_ENUM, 0, 0, "f32", "f32|f16|int8", "", "0.3", "model",
      "How matrices are stored in the result. int8 is what pith multiplies: nothing is converted "
      "when the model is opened."},
     ROW(type, MODELS)},
    {{"type", 0, PITH_PARAM_ENUM, 0, 0, "f16", "f32|f16", "", "0.5", "model",
      "How the compressor's matrices are stored."},
     ROW(type, COMPRESS)},
    {{"capsule-type", 0, PITH_PARAM_ENUM, 0, 0, "f16", "f16|f32|int8", "", "0.4", "model",
      "How the numbers of the capsule are stored. int8 has a scale for every row."},
     ROW(capsule_type, CC)},
    {{"mode", 0, PITH_PARAM_ENUM, 0, 0, "pith", "pith|official", "", "0.4", "training",
      "official: as the released code has it, namely no-bos, no first-token, kl reverse, init "
      "vocabulary, lr 0.1, batch-size 1, beta2 0.999, warm-up 0. What is set afterwards counts."},
     ROW(mode, CC)},
    {{"mode", 0, PITH_PARAM_ENUM, 0, 0, "pith", "pith|official", "", "0.5", "training",
      "official: as the released code has it, namely layout end, position-mode release, pad, "
      "slot-deviation 1, lora-rank 64, lora-alpha 32, lora-dropout 0.05, lora-matrices attn_q and "
      "attn_v, lr 0.0001, schedule constant, warm-up 300 at most, beta2 0.999. What is set "
      "afterwards "
      "counts."},
     ROW(mode, M500X)},
    {{"mode", 0, PITH_PARAM_ENUM, 0, 0, "pith", "pith|official", "", "0.5", "training",
      "official: as the released code has it, namely layout end, slot-deviation 1, lora-rank 128, "
      "lora-alpha 32, lora-dropout 0.05, lora-matrices attn_q and attn_v, lr 0.0001, schedule "
      "constant, warm-up 300 at most, beta2 0.999. What is set afterwards counts."},
     ROW(mode, ICAE)},
    {{"mode", 0, PITH_PARAM_ENUM, 0, 0, "pith", "pith|official", "", "0.5", "training",
      "official: as the released code has it, namely layout end, lr 0.00005, schedule constant, "
      "warm-up 300 at most, beta2 0.999. What is set afterwards counts."},
     ROW(mode, SELFCP)},
    {{"slots", 'k', PITH_PARAM_INT, 1, SIDE_MAX, "16", "", "tokens", "0.5", "training",
      "Virtual tokens of a segment."},
     ROW(slots, ENCODERS)},
    {{"elastic", 0, PITH_PARAM_FLAG, 0, 0, "false", "", "", "0.5", "training",
      "Train with half, a quarter, ... of the slots too, down to one: the compressor then gives "
      "any number of them."},
     ROW(elastic, ENCODERS)},
    {{"elastic", 0, PITH_PARAM_FLAG, 0, 0, "false", "", "", "0.5", "training",
      "Train with two, four, ... times the ratio too, up to one virtual token for a text."},
     ROW(elastic, SELFCP)},
    {{"ratio", 0, PITH_PARAM_INT, 1, SIDE_MAX, "12", "", "tokens", "0.5", "training",
      "Tokens of text for every virtual token."},
     ROW(ratio, SELFCP)},
    {{"window", 'w', PITH_PARAM_INT, 1, SIDE_MAX, "", "", "tokens", "0.5", "training",
      "Tokens of a segment: longer texts are compressed in several. Default: length."},
     ROW(window, COMPRESS)},
    {{"layout", 0, PITH_PARAM_ENUM, 0, 0, "uniform", "uniform|end", "", "0.5", "training",
      "Positions of the slots: spread over those of the text, or behind it."},
     ROW(layout, ENCODERS)},
    {{"layout", 0, PITH_PARAM_ENUM, 0, 0, "end", "uniform|end", "", "0.5", "training",
      "Positions of the slots: spread over those of the text, or behind it, where a model that is "
      "not changed expects what comes next."},
     ROW(layout, SELFCP)},
    {{"position-mode", 0, PITH_PARAM_ENUM, 0, 0, "continue", "continue|release", "", "0.5",
      "training",
      "Where reading goes on behind the memory: where it would behind the text, or, as in the "
      "released code, as if there were nothing but the slots."},
     ROW(position_mode, M500X)},
    {{"pad", 0, PITH_PARAM_FLAG, 0, 0, "false", "", "", "0.5", "training",
      "Make every text as long as the window, with ends of text that are read like text, as the "
      "released code does."},
     ROW(pads, M500X)},
    {{"slot-deviation", 0, PITH_PARAM_FLOAT, 0, 1000, "0", "", "", "0.5", "training",
      "Size of the slots' random embeddings before the first step. 0: that of the model's own."},
     ROW(slot_deviation, ENCODERS)},
    {{"norm", 0, PITH_PARAM_FLAG, 0, 0, "true", "", "", "0.5", "training",
      "A norm behind the connector's matrix."},
     ROW(has_norm, SELFCP)},
    {{"conditional", 0, PITH_PARAM_FLOAT, 0, 1, "0.5", "", "", "0.5", "training",
      "Share of the questions that are read before the context is compressed for them, as 'pith "
      "encode --query' does."},
     ROW(conditional, SELFCP)},
    {{"strategy", 0, PITH_PARAM_LIST, 0, 0, "release", "", "", "0.5", "training",
      "NAME=WEIGHT, or several with commas: what is compressed, and how often. former: the first "
      "half; latter: the last; concatenated: segments that have seen the memory before them; "
      "recursive: the same, and only the last memory is read; linear: all of it; release: the "
      "shares of the released code, former 0.25, latter 0.25, concatenated 0.1, recursive 0.2, "
      "linear 0.2."},
     ROW(strategies, SELFCP)},
    {{"slots", 'k', PITH_PARAM_INT, 1, SIDE_MAX, "16", "", "tokens", "0.4", "training",
      "Virtual tokens of the capsule."},
     ROW(slots, CC)},
    {{"slots", 'k', PITH_PARAM_INT, 1, SIDE_MAX, "4", "", "tokens", "0.4", "training",
      "Gist tokens behind every instruction."},
     ROW(slots, GIST)},
    {{"gist-token", 0, PITH_PARAM_TEXT, 0, 0, "<|gist|>", "", "", "0.4", "training",
      "How the gist token is spelled. It is taken if the vocabulary has it, else added."},
     ROW(gist_token, GIST)},
    {{"condition", 0, PITH_PARAM_LIST, 0, 0, "gist", "", "", "0.4", "training",
      "Train so, and judge: gist; positive (everything is seen), negative (the instruction is not "
      "seen), tfidf (one keyword stands for it). Each starts from the model; results are those of "
      "the first."},
     ROW(conditions, GIST)},
    {{"controls", 0, PITH_PARAM_FLAG, 0, 0, "false", "", "", "0.4", "training",
      "All four conditions, those that are not given after those that are."},
     ROW(controls, GIST)},
    {{"init", 0, PITH_PARAM_ENUM, 0, 0, "chunks", "chunks|vocabulary", "", "0.4", "training",
      "Rows before the first step: means of the embeddings of stretches of the context, or "
      "embeddings of random tokens."},
     ROW(init, CC)},
    {{"kl", 0, PITH_PARAM_ENUM, 0, 0, "forward", "forward|reverse", "", "0.4", "training",
      "Which divergence is made small: KL(teacher || student) (forward), or KL(student || "
      "teacher) (reverse, as the released code)."},
     ROW(kl, CONDENSES)},
    {{"first-token", 0, PITH_PARAM_FLAG, 0, 0, "true", "", "", "0.4", "training",
      "Learn what a continuation begins with too, not only how it goes on."},
     ROW(first_token, CONDENSES)},
    {{"no-bos", 0, PITH_PARAM_FLAG, 0, 0, "false", "", "", "0.4", "training",
      "Nothing stands before the context, or what replaces it."},
     ROW(no_bos, CONDENSES)},
    /* ---- training */
    {{"steps", 'n', PITH_PARAM_INT, 1, COUNT_MAX, "1000", "", "updates", "0.3", "training",
      "Updates of the weights."},
     ROW(steps, BASE)},
    {{"steps", 'n', PITH_PARAM_INT, 1, COUNT_MAX, "", "", "updates", "0.3", "training",
      "Updates of the weights. Default: by epochs."},
     ROW(steps, TUNES)},
    {{"steps", 'n', PITH_PARAM_INT, 1, COUNT_MAX, "400", "", "updates", "0.4", "training",
      "Updates of what is learned."},
     ROW(steps, CONDENSES)},
    {{"steps", 'n', PITH_PARAM_INT, 1, COUNT_MAX, "", "", "updates", "0.5", "training",
      "Updates of the compressor. Default: by epochs, and 1000 if they are not given."},
     ROW(steps, COMPRESS)},
    {{"epochs", 0, PITH_PARAM_FLOAT, 0, 1e6, "", "", "", "0.5", "training",
      "How often every question is seen, or, without questions, all of the text, about; if no "
      "steps "
      "are given."},
     ROW(epochs, COMPRESS)},
    {{"epochs", 0, PITH_PARAM_FLOAT, 0, 1e6, "3", "", "", "0.3", "training",
      "How often every pair is seen, if no steps are given."},
     ROW(epochs, ALIGN)},
    {{"epochs", 0, PITH_PARAM_FLOAT, 0, 1e6, "3", "", "", "0.4", "training",
      "How often every triple is seen, if no steps are given."},
     ROW(epochs, GIST)},
    {{"batch-size", 'b', PITH_PARAM_INT, 1, SIDE_MAX, "16", "", "samples", "0.3", "training",
      "Samples of an update."},
     ROW(batch_size, BASE)},
    {{"batch-size", 'b', PITH_PARAM_INT, 1, SIDE_MAX, "16", "", "pairs", "0.3", "training",
      "Pairs of an update."},
     ROW(batch_size, ALIGN)},
    {{"batch-size", 'b', PITH_PARAM_INT, 1, SIDE_MAX, "16", "", "triples", "0.4", "training",
      "Triples of an update."},
     ROW(batch_size, GIST)},
    {{"batch-size", 'b', PITH_PARAM_INT, 1, SIDE_MAX, "8", "", "texts", "0.4", "training",
      "Continuations of an update."},
     ROW(batch_size, CONDENSES)},
    {{"batch-size", 'b', PITH_PARAM_INT, 1, SIDE_MAX, "16", "", "samples", "0.5", "training",
      "Texts and questions of an update."},
     ROW(batch_size, COMPRESS)},
    {{"micro-batch", 0, PITH_PARAM_INT, 1, 64, "4", "", "samples", "0.5", "training",
      "Samples that one pass works on; fewer take less memory. With lora-dropout it is always 1."},
     ROW(micro_batch, COMPRESS)},
    {{"length", 'l', PITH_PARAM_INT, 2, SIDE_MAX, "96", "", "tokens", "0.5", "training",
      "Tokens of a text or context at most; longer contexts lose their end."},
     ROW(length, COMPRESS)},
    {{"length", 'l', PITH_PARAM_INT, 2, SIDE_MAX, "512", "", "tokens", "0.3", "training",
      "Tokens of a sample: of one document, or of several that do not see each other."},
     ROW(length, BASE)},
    {{"length", 'l', PITH_PARAM_INT, 2, SIDE_MAX, "", "", "tokens", "0.3", "training",
      "Tokens of a pair; longer ones lose the beginning of the prompt. Default: the model's "
      "context, at most 512."},
     ROW(length, ALIGN)},
    {{"length", 'l', PITH_PARAM_INT, 2, SIDE_MAX, "", "", "tokens", "0.4", "training",
      "Tokens of a triple; longer ones lose the end of the input. Default: the model's context, at "
      "most 512."},
     ROW(length, GIST)},
    {{"length", 'l', PITH_PARAM_INT, 2, SIDE_MAX, "64", "", "tokens", "0.4", "training",
      "Tokens of a continuation."},
     ROW(length, CONDENSES)},
    {{"lanes", 0, PITH_PARAM_INT, 1, 1024, "2", "", "lanes", "0.3", "training",
      "Parts of an update that threads can work on at once, each with a gradient in memory. The "
      "result depends on it, other than on the threads."},
     ROW(lanes, LEARNS)},
    {{"recompute", 0, PITH_PARAM_FLAG, 0, 0, "false", "", "", "0.3", "training",
      "Keep one state per layer and work the rest out again: less memory, a third more time."},
     ROW(recompute, LEARNS)},
    {{"evaluate-every", 0, PITH_PARAM_INT, 0, COUNT_MAX, "250", "", "updates", "0.3", "training",
      "Read the held-out text after so many updates, and at the end. 0: only at the end."},
     ROW(evaluate_every, MODELS | COMPRESS)},
    {{"evaluate-every", 0, PITH_PARAM_INT, 0, COUNT_MAX, "100", "", "updates", "0.4", "training",
      "Judge by the continuations kept for it after so many updates, and at the end. 0: only at "
      "the end."},
     ROW(evaluate_every, CONDENSES)},
    {{"evaluate-bytes", 0, PITH_PARAM_INT, 0, BYTES_MAX, "200000", "", "bytes", "0.3", "training",
      "Read about so much of the held-out text of every file. 0: all."},
     ROW(evaluate_bytes, MODELS)},
    {{"generate", 0, PITH_PARAM_INT, 0, COUNT_MAX, "100", "", "triples", "0.4", "training",
      "Write the outputs of so many triples of every file at the end, greedily, for ROUGE-L and "
      "exact matches. 0: none."},
     ROW(generate, GIST)},
    {{"max-tokens", 0, PITH_PARAM_INT, 1, SIDE_MAX, "128", "", "tokens", "0.4", "training",
      "Of such an output."},
     ROW(max_tokens, GIST)},
    {{"threads", 't', PITH_PARAM_INT, 0, 1024, "0", "", "threads", "0.3", "training",
      "Threads to work with. 0: as many as there are processors."},
     ROW(threads, MAKES)},
    /* ---- lora */
    {{"lora-rank", 'r', PITH_PARAM_INT, 0, SIDE_MAX, "0", "", "", "0.3", "lora",
      "Train an adapter of this rank beside every matrix instead of all weights, as LoRA does. 0: "
      "all weights."},
     ROW(lora_rank, TUNES)},
    {{"lora-rank", 'r', PITH_PARAM_INT, 1, SIDE_MAX, "8", "", "", "0.4", "lora",
      "Rank of the adapter's factors."},
     ROW(lora_rank, DISTILL)},
    {{"lora-rank", 'r', PITH_PARAM_INT, 1, SIDE_MAX, "64", "", "", "0.5", "lora",
      "Rank of the encoder's adapter."},
     ROW(lora_rank, ENCODERS)},
    {{"lora-alpha", 0, PITH_PARAM_FLOAT, 0.001, 1e6, "64", "", "", "0.5", "lora",
      "The adapter counts this number by the rank."},
     ROW(lora_alpha, ENCODERS)},
    {{"lora-alpha", 0, PITH_PARAM_FLOAT, 0.001, 1e6, "16", "", "", "0.3", "lora",
      "The adapter counts this number by the rank."},
     ROW(lora_alpha, ADAPTS)},
    {{"lora-dropout", 0, PITH_PARAM_FLOAT, 0, 0.99, "0", "", "share", "0.3", "lora",
      "Share of the adapter's inputs that are left out at random."},
     ROW(lora_dropout, ADAPTS | ENCODERS)},
    {{"lora-matrices", 0, PITH_PARAM_LIST, 0, 0, "all", "", "", "0.3", "lora",
      "Matrices that have an adapter: attn_q, attn_k, attn_v, attn_output, ffn_gate, ffn_up, "
      "ffn_down, all."},
     ROW(lora_matrices, ADAPTS | ENCODERS)},
    /* ---- optimizer */
    {{"optimizer", 0, PITH_PARAM_ENUM, 0, 0, "adamw", "adamw|muon", "", "0.3", "optimizer",
      "muon: matrices inside the model by Muon, everything else by AdamW."},
     ROW(optimizer, CHOOSES)},
    {{"lr", 0, PITH_PARAM_FLOAT, 0, 10, "0.001", "", "", "0.3", "optimizer",
      "AdamW's learning rate, where the schedule is at its top."},
     ROW(lr, BASE)},
    {{"lr", 0, PITH_PARAM_FLOAT, 0, 10, "0.0001", "", "", "0.3", "optimizer",
      "AdamW's learning rate, where the schedule is at its top."},
     ROW(lr, ALIGN)},
    {{"lr", 0, PITH_PARAM_FLOAT, 0, 10, "0.0003", "", "", "0.4", "optimizer",
      "AdamW's learning rate, where the schedule is at its top."},
     ROW(lr, GIST)},
    {{"lr", 0, PITH_PARAM_FLOAT, 0, 10, "0.01", "", "", "0.4", "optimizer",
      "AdamW's learning rate, where the schedule is at its top."},
     ROW(lr, CC)},
    {{"lr", 0, PITH_PARAM_FLOAT, 0, 10, "0.001", "", "", "0.4", "optimizer",
      "AdamW's learning rate, where the schedule is at its top."},
     ROW(lr, DISTILL)},
    {{"lr", 0, PITH_PARAM_FLOAT, 0, 10, "0.002", "", "", "0.5", "optimizer",
      "AdamW's learning rate, where the schedule is at its top."},
     ROW(lr, ENCODERS)},
    {{"lr", 0, PITH_PARAM_FLOAT, 0, 10, "0.001", "", "", "0.5", "optimizer",
      "AdamW's learning rate, where the schedule is at its top."},
     ROW(lr, SELFCP)},
    {{"muon-lr", 0, PITH_PARAM_FLOAT, 0, 10, "0.005", "", "", "0.3", "optimizer",
      "Muon's learning rate. An update has the size of one by AdamW at the same rate."},
     ROW(muon_lr, CHOOSES)},
    {{"schedule", 0, PITH_PARAM_ENUM, 0, 0, "cosine", "constant|linear|cosine|wsd", "", "0.3",
      "optimizer",
      "Course of the learning rate after the warm-up. linear and cosine fall to 0; wsd stays and "
      "falls to 0 over decay-steps."},
     ROW(schedule, BASE | COMPRESS)},
    {{"schedule", 0, PITH_PARAM_ENUM, 0, 0, "linear", "constant|linear|cosine", "", "0.3",
      "optimizer", "Course of the learning rate after the warm-up. linear and cosine fall to 0."},
     ROW(schedule, TUNES | CONDENSES)},
    {{"warm-up", 0, PITH_PARAM_INT, 0, COUNT_MAX, "", "", "updates", "0.3", "optimizer",
      "Updates over which the learning rate rises from 0. Default: a twentieth of the steps, at "
      "most 500; 10 if the steps are not given."},
     ROW(warm_up, LEARNS)},
    {{"decay-steps", 0, PITH_PARAM_INT, 0, COUNT_MAX, "", "", "updates", "0.3", "optimizer",
      "Last updates of schedule wsd. Default: a fifth of the steps."},
     ROW(decay_steps, BASE | COMPRESS)},
    {{"weight-decay", 0, PITH_PARAM_FLOAT, 0, 10, "0.1", "", "", "0.3", "optimizer",
      "Decoupled weight decay of matrices and embeddings."},
     ROW(weight_decay, BASE | ALIGN)},
    {{"weight-decay", 0, PITH_PARAM_FLOAT, 0, 10, "0", "", "", "0.4", "optimizer",
      "Decoupled weight decay of what is learned."},
     ROW(weight_decay, GIST | CONDENSES | COMPRESS)},
    {{"clip", 0, PITH_PARAM_FLOAT, 0, 1e9, "1", "", "", "0.3", "optimizer",
      "Largest norm of the gradient; a longer one is made as short. 0: any."},
     ROW(clip, LEARNS)},
    {{"beta1", 0, PITH_PARAM_FLOAT, 0, 0.999999, "0.9", "", "", "0.3", "optimizer",
      "AdamW's memory of gradients."},
     ROW(beta1, LEARNS)},
    {{"beta2", 0, PITH_PARAM_FLOAT, 0, 0.999999, "0.95", "", "", "0.3", "optimizer",
      "AdamW's memory of their squares."},
     ROW(beta2, LEARNS)},
    {{"eps", 0, PITH_PARAM_FLOAT, 1e-20, 1, "1e-08", "", "", "0.3", "optimizer",
      "What AdamW adds to a root before it divides by it."},
     ROW(eps, LEARNS)},
    {{"momentum", 0, PITH_PARAM_FLOAT, 0, 0.999999, "0.95", "", "", "0.3", "optimizer",
      "Muon's memory of gradients."},
     ROW(momentum, CHOOSES)},
    /* ---- files */
    {{"output", 'o', PITH_PARAM_PATH, 0, 0, "", "", "", "0.3", "files",
      "GGUF file for the result. It appears when it is complete."},
     ROW(output, TOKENIZER | BASE)},
    {{"output", 'o', PITH_PARAM_PATH, 0, 0, "", "", "", "0.3", "files",
      "GGUF file for the tuned model. It appears when it is complete."},
     ROW(output, TUNES)},
    {{"output", 'o', PITH_PARAM_PATH, 0, 0, "", "", "", "0.4", "files",
      "File for the capsule. It appears when it is complete."},
     ROW(output, CC)},
    {{"output", 'o', PITH_PARAM_PATH, 0, 0, "", "", "", "0.4", "files",
      "GGUF file for the adapter, for --lora. It appears when it is complete."},
     ROW(output, DISTILL)},
    {{"output", 'o', PITH_PARAM_PATH, 0, 0, "", "", "", "0.5", "files",
      "GGUF file for the compressor. It appears when it is complete."},
     ROW(output, COMPRESS)},
    {{"report", 0, PITH_PARAM_PATH, 0, 0, "", "", "", "0.4", "files",
      "File for the table of scores, a JSON object. Default: standard output."},
     ROW(report, GIST)},
    {{"adapter", 0, PITH_PARAM_PATH, 0, 0, "", "", "", "0.3", "files",
      "GGUF file for the adapter alone, for --lora."},
     ROW(adapter, TUNES)},
    {{"output", 'o', PITH_PARAM_PATH, 0, 0, "", "", "", "0.3", "files",
      "File for the table, a JSON object. Default: standard output."},
     ROW(output, EVALUATE)},
    {{"output", 'o', PITH_PARAM_PATH, 0, 0, "", "", "", "0.5", "files",
      "File for the table, a JSON object. Default: a table to look at, on standard output."},
     ROW(output, RETENTION)},
    {{"held-out-dir", 0, PITH_PARAM_PATH, 0, 0, "", "", "", "0.3", "files",
      "Folder for the documents that were read, in one text file for every file of data."},
     ROW(held_out_dir, EVALUATE)},
    {{"checkpoint", 'c', PITH_PARAM_PATH, 0, 0, "", "", "", "0.3", "files",
      "File that holds everything needed to go on after a stop or a crash."},
     ROW(checkpoint, LEARNS)},
    {{"checkpoint-every", 0, PITH_PARAM_INT, 0, COUNT_MAX, "100", "", "updates", "0.3", "files",
      "Write it after so many updates, and at the end. 0: only at the end and when stopped."},
     ROW(checkpoint_every, LEARNS)},
    {{"resume", 0, PITH_PARAM_FLAG, 0, 0, "true", "", "", "0.3", "files",
      "Go on from the checkpoint if it is there."},
     ROW(resume, LEARNS)},
    {{"log", 0, PITH_PARAM_PATH, 0, 0, "", "", "", "0.3", "files",
      "File for one JSON object per update and evaluation. A run that goes on adds to it."},
     ROW(log, LEARNS)},
    {{"plot", 0, PITH_PARAM_PATH, 0, 0, "", "", "", "0.3", "files",
      "SVG file for the curve of the loss; of a run that went on, as far as the log has it."},
     ROW(plot, LEARNS)},
};

/* ---- lists ------------------------------------------------------------------------------------ */

/* True if all of `text` is a number. */
static bool read_weight(const char *text, double *out)
{
    char *end = NULL;
    const locale_t before = pith__locale_enter();
    *out = strtod(text, &end);
    pith__locale_leave(before);
    return end != text && *end == '\0' && strspn(text, "+-.0123456789eE") == strlen(text);
}

pith_status pith__training_source(const char *entry, size_t *size, double *weight, pith_error *err)
{
    const char *equals = strrchr(entry, '=');
    *size = strlen(entry);
    *weight = 1.0;
    if (equals != NULL && read_weight(equals + 1, weight)) {
        *size = (size_t)(equals - entry);
    } else {
        *weight = 1.0;
    }
    if (*size == 0) {
        return pith__fail(err, PITH_E_ARGUMENT, "data: \"%s\" names no file", entry);
    }
    if (!(*weight > 0.0 && isfinite(*weight))) {
        return pith__fail(err, PITH_E_RANGE, "data: the weight of \"%s\" must be above 0", entry);
    }
    return PITH_OK;
}

unsigned pith__training_matrices(const char *entry)
{
    const unsigned all = (1U << PITH__BLOCK_MATRICES) - 1;
    for (unsigned i = 0; i < PITH__BLOCK_MATRICES; i++) {
        if (strcmp(pith__block_matrix_name((pith__block_matrix)i), entry) == 0) {
            return 1U << i;
        }
    }
    return strcmp(entry, "all") == 0 ? all : 0;
}

bool pith__training_condition(const char *name, pith__gist_condition *out)
{
    for (int i = PITH__GIST_GIST; i <= PITH__GIST_TFIDF; i++) {
        if (strcmp(pith__gist_condition_name((pith__gist_condition)i), name) == 0) {
            *out = (pith__gist_condition)i;
            return true;
        }
    }
    return false;
}

/* SelfCP's training, as its code has it. */
#define RELEASED_STRATEGIES "former=0.25,latter=0.25,concatenated=0.1,recursive=0.2,linear=0.2"

/* NAME or NAME=WEIGHT, (size) bytes of `entry`. */
static pith_status read_strategy(const char *entry, size_t size, pith__selfcp_mix *mix,
                                 pith_error *err)
{
    const struct {
        const char *name;
        double *weight;
    } strategies[] = {{"former", &mix->former},
                      {"latter", &mix->latter},
                      {"concatenated", &mix->concatenated},
                      {"recursive", &mix->recursive},
                      {"linear", &mix->linear}};
    char text[64] = "";
    double weight = 1.0;
    if (size < sizeof text) { /* as all that are good are */
        memcpy(text, entry, size);
        text[size] = '\0';
    }
    const size_t name = strcspn(text, "=");
    if (strcmp(text, "release") == 0) {
        return pith__training_strategies(RELEASED_STRATEGIES, mix, err);
    }
    if (text[name] != '\0' &&
        (!read_weight(text + name + 1, &weight) || !(weight > 0.0 && isfinite(weight)))) {
        return pith__fail(err, PITH_E_RANGE, "strategy: the weight of \"%s\" must be above 0",
                          text);
    }
    for (size_t i = 0; i < sizeof strategies / sizeof strategies[0]; i++) {
        if (strlen(strategies[i].name) == name && memcmp(strategies[i].name, text, name) == 0) {
            *strategies[i].weight += weight;
            return PITH_OK;
        }
    }
    return pith__fail(err, PITH_E_ARGUMENT,
                      "strategy: \"%.*s\" is not one of former, latter, concatenated, recursive, "
                      "linear",
                      (int)(size < sizeof text ? size : sizeof text), entry);
}

pith_status pith__training_strategies(const char *entry, pith__selfcp_mix *mix, pith_error *err)
{
    for (;;) {
        const size_t size = strcspn(entry, ",");
        PITH__TRY(read_strategy(entry, size, mix, err));
        if (entry[size] == '\0') {
            return PITH_OK;
        }
        entry += size + 1;
    }
}

static pith_status check_value(const pith_param_info *info, const char *value,
                               const pith_allocator *mem, pith_error *err)
{
    (void)mem;
    size_t size = 0;
    double weight = 0.0;
    if (strcmp(info->name, "data") == 0) {
        return pith__training_source(value, &size, &weight, err);
    }
    uint32_t count = 0;
    if ((strcmp(info->name, "length") == 0 || strcmp(info->name, "slots") == 0) &&
        !pith__training_count(value, &count)) {
        return pith__fail(err, PITH_E_ARGUMENT, "%s: \"%s\" is no number of tokens", info->name,
                          value);
    }
    pith__retention_way way = PITH__WAY_FULL;
    if (strcmp(info->name, "way") == 0 && !pith__training_way(value, &way)) {
        return pith__fail(err, PITH_E_ARGUMENT, "way: no way is called \"%s\"", value);
    }
    if (strcmp(info->name, "lora-matrices") == 0 && pith__training_matrices(value) == 0) {
        return pith__fail(err, PITH_E_ARGUMENT, "lora-matrices: no matrix is called \"%s\"", value);
    }
    pith__gist_condition condition = PITH__GIST_GIST;
    if (strcmp(info->name, "condition") == 0 && !pith__training_condition(value, &condition)) {
        return pith__fail(err, PITH_E_ARGUMENT,
                          "condition: \"%s\" is not one of gist, positive, negative, tfidf", value);
    }
    pith__selfcp_mix mix = {0};
    if (strcmp(info->name, "strategy") == 0) {
        return pith__training_strategies(value, &mix, err);
    }
    if (strcmp(info->name, "gist-token") == 0 && value[0] == '\0') {
        return pith__fail(err, PITH_E_ARGUMENT, "gist-token: a token of no characters");
    }
    if (strcmp(info->name, "special") == 0 && value[0] == '\0') {
        return pith__fail(err, PITH_E_ARGUMENT, "special: a token of no characters");
    }
    return PITH_OK;
}

pith__param_table pith__training_table(unsigned bit)
{
    return (pith__param_table){rows, sizeof rows / sizeof rows[0], bit, check_value};
}

const char *pith__training_default(unsigned bit, const char *name)
{
    const pith__param_table table = pith__training_table(bit);
    const pith__param *p = pith__table_find(&table, name);
    return p == NULL ? "" : p->info.default_value;
}
