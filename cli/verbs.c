/*
 * verbs.c: the table of verbs.
 */
#include "cli.h"

#include <string.h>

static const cli_verb table[] = {
    {"compress", cli_run_compress, "make a prompt shorter", "[FILE|-]", 0, 1, CLI_COMPRESS, false,
     "Reads a text from FILE or standard input and writes a shorter one, made of parts of it in "
     "their order, to standard output. A prompt may also have an instruction, more contexts and a "
     "question; contexts that are of no use may then be dropped as a whole.",
     NULL},
    {"score", cli_run_score, "print the self-information of every token", "[FILE|-]", 0, 1,
     CLI_SCORE, false,
     "Reads a text from FILE or standard input and prints, for every token of the model, how "
     "surprising it is after what precedes it.",
     NULL},
    {"rank", cli_run_rank, "order contexts by what they are worth to a question", "[FILE...]", 0,
     SIZE_MAX, CLI_RANK, false,
     "Prints the score and the name of every context, a line each with a tab between, the best "
     "first; larger scores are better. Without a question the contexts are ranked by themselves, "
     "if the method can.",
     NULL},
    {"encode", cli_run_encode, "put a text into a capsule of few virtual tokens", "[FILE|-]", 0, 1,
     CLI_ENCODE, false,
     "Reads a text from FILE or standard input and writes a capsule, which stands for it in "
     "prompts of the same model, and says what it saves.",
     NULL},
    {"generate", cli_run_generate, "write on from texts and capsules", "[FILE|-]...", 0, SIZE_MAX,
     CLI_GENERATE, false,
     "Reads texts and capsules in the order given, or standard input, and prints what the model "
     "writes after them, token by token. Nothing is drawn at random unless --temperature is above "
     "0: the same prompt then has the same answer.",
     NULL},
    {"probe", cli_run_probe, "see what a capsule knows of its text", "CAPSULE [SOURCE|-]", 1, 2,
     CLI_PROBE, false,
     "Has the model repeat SOURCE, the text of the capsule, and prints as a heat map how much of "
     "every token the capsule gives back: what it makes the token likelier, as a share of what the "
     "text itself does.",
     NULL},
    {"bank", cli_run_bank, "keep demonstrations as capsules and find them",
     "add|list|find BANK [FILE...]", 2, SIZE_MAX, CLI_BANK, false,
     "add: puts every FILE, a text for the compressor or a capsule of embeddings, into BANK under "
     "the file's name. BANK is made if it is not there, and written as a whole. list: prints "
     "slots, tokens and name of every entry, a line each with tabs between. find: reads a question "
     "from FILE or standard input and prints score and name of the entries whose first virtual "
     "token is most like the question's, the best first.",
     NULL},
    {"inspect", cli_run_inspect, "describe a GGUF file", "FILE", 1, 1, CLI_INSPECT, false,
     "Prints the metadata and the tensors of a GGUF file; first what a capsule stands for, and "
     "what "
     "a compressor does.",
     NULL},
    {"recover", cli_run_recover, "check a result against its source, show what was dropped",
     "[SOURCE...] RESULT", 0, SIZE_MAX, CLI_RECOVER, false,
     "Reads the source text and what 'pith compress --json' made of it, builds the compressed "
     "text again from the source and the byte ranges, and stops where the two differ. Of a prompt "
     "of several parts the same parts are to be given, contexts in the same order. With a "
     "response of a model to the compressed text, prints the response with phrases of the source "
     "in the place of what they were shortened to.",
     NULL},
    {"bench", cli_run_bench, "measure speed, start-up time and memory", "", 0, 0, CLI_BENCH, false,
     "Scores random tokens with random weights of a given shape and compares the rate with what "
     "oneDNN's matrix product reaches alone; then starts the program on a short prompt.",
     NULL},
    {"train", cli_run_train, "make tokenizers and models from text", "RECIPE", 0, 0, CLI_TRAIN,
     false, "Runs a recipe. Each has options of its own.", NULL},
    {"train tokenizer", cli_run_train, "a byte-level BPE vocabulary", "", 0, 0, CLI_TRAIN_TOKENIZER,
     false,
     "Learns a vocabulary from text and writes it as a GGUF file without tensors, for recipe base.",
     "tokenizer"},
    {"train base", cli_run_train, "a language model from scratch", "", 0, 0, CLI_TRAIN_BASE, false,
     "Trains a model of the llama architecture to predict the next token of text, from random "
     "weights or from another model's, and writes it as a GGUF file for compress and score. A run "
     "that is stopped or killed goes on from its checkpoint when it is started again, and ends "
     "with the same bytes as one that was not.",
     "base"},
    {"train align", cli_run_train, "a model tuned to prompts and completions", "", 0, 0,
     CLI_TRAIN_ALIGN, false,
     "Tunes a model to what a larger one answers, as LLMLingua does so that the small model knows "
     "what the large one can guess: completions are learned, given their prompts. All weights "
     "learn, or an adapter beside them. Goes on from its checkpoint like recipe base.",
     "align"},
    {"train cc", cli_run_train, "a capsule of one text", "", 0, 0, CLI_TRAIN_CC, false,
     "Trains a soft prompt: rows that make a model go on as it does after a text, by the "
     "divergence "
     "between the two. Writes a capsule. Goes on from its checkpoint like recipe base.",
     "cc"},
    {"train distill", cli_run_train, "an adapter that has read a text", "", 0, 0, CLI_TRAIN_DISTILL,
     false,
     "Trains an adapter with which a model goes on as it does after a text without it. Goes on "
     "from its checkpoint like recipe base.",
     "distill"},
    {"train gist", cli_run_train, "a model that puts instructions into capsules", "", 0, 0,
     CLI_TRAIN_GIST, false,
     "Tunes a model to instructions, inputs and outputs so that a few tokens behind the "
     "instruction hold all that is needed of it, for 'pith encode'. Prints how well that and its "
     "controls do as a JSON object. Goes on from its checkpoint like recipe base.",
     "gist"},
    {"train 500x", cli_run_train, "a compressor of texts into key-values", "", 0, 0, CLI_TRAIN_500X,
     false,
     "Trains an encoder that puts any text into a few key-values, from which a model that is not "
     "changed repeats it, goes on or answers questions (500xCompressor). Goes on from its "
     "checkpoint like recipe base.",
     "500x"},
    {"train icae", cli_run_train, "a compressor of texts into embeddings", "", 0, 0, CLI_TRAIN_ICAE,
     false,
     "The same as recipe 500x, but memory are embeddings (in-context autoencoder). Goes on from "
     "its checkpoint like recipe base.",
     "icae"},
    {"train selfcp", cli_run_train, "a connector that lets a model compress for itself", "", 0, 0,
     CLI_TRAIN_SELFCP, false,
     "Trains a matrix from hidden states to embeddings, so that a model that is not changed "
     "compresses parts of its own prompts (SelfCP). Goes on from its checkpoint like recipe base.",
     "selfcp"},
    {"train retention", cli_run_train, "what is left of texts behind their memory", "", 0, 0,
     CLI_TRAIN_RETENTION, false,
     "Has a model repeat texts and answer questions that it knows as a whole, in part, as the "
     "memory "
     "of a compressor, or not at all, and prints how much of them is left: nats per token, "
     "ROUGE-L, "
     "BLEU, F1, and F1 as a share of what it is after the whole context.",
     "retention"},
    {"train evaluate", cli_run_train, "how well a model predicts text", "", 0, 0,
     CLI_TRAIN_EVALUATE, false,
     "Reads the documents that training left out with a model, and prints bits per byte and nats "
     "per token of every file and of all of them as a JSON object.",
     "evaluate"},
    {"help", cli_run_help, "show the options of a verb", "[VERB [RECIPE]]", 0, 2, CLI_HELP, false,
     "Shows the verbs, or the options of one verb or recipe.", NULL},
    {"generate-docs", cli_run_docs, "print the man page or a completion script",
     "man|bash|zsh|fish", 1, 1, CLI_DOCS, true,
     "Prints the man page or the completion script of a shell, made from the tables of options.",
     NULL},
};

const cli_verb *cli_verb_at(size_t index)
{
    return index < sizeof table / sizeof table[0] ? &table[index] : NULL;
}

const cli_verb *cli_verb_find(const char *name)
{
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        if (strcmp(table[i].name, name) == 0) {
            return &table[i];
        }
    }
    return NULL;
}

const cli_verb *cli_verb_find_recipe(const char *recipe)
{
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        if (table[i].recipe != NULL && strcmp(table[i].recipe, recipe) == 0) {
            return &table[i];
        }
    }
    return NULL;
}
