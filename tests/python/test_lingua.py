"""PromptCompressor against the release's interface: names, order, defaults, results, budgets."""

import inspect
import tempfile
import unittest
import warnings
from pathlib import Path

import pith
from support import BUILTIN_GGUF, PROMPT, is_subsequence, sentences, write_byte_ranks

NO = inspect.Parameter.empty
INSTRUCTION = "Answer from the notes below."
QUESTION = "How long will the repairs of the bridge take?"

# Interface of github.com/microsoft/LLMLingua, commit e0e9d99.
CONSTRUCTOR = [
    ("model_name", "NousResearch/Llama-2-7b-hf"),
    ("device_map", "cuda"),
    ("model_config", {}),
    ("open_api_config", {}),
    ("use_llmlingua2", False),
    ("use_slingua", False),
    ("llmlingua2_config", {}),
]
HEAD = [
    ("instruction", ""),
    ("question", ""),
    ("rate", 0.5),
    ("target_token", -1),
    ("iterative_size", 200),
]
SENTENCE_LEVEL = [
    ("keep_split", False),
    ("keep_first_sentence", 0),
    ("keep_last_sentence", 0),
    ("keep_sentence_number", 0),
    ("high_priority_bonus", 100),
    ("context_budget", "+100"),
    ("token_budget_ratio", 1.4),
    ("condition_in_question", "none"),
]
CONTEXTS = (
    [("context", NO)]
    + HEAD
    + [
        ("force_context_ids", None),
        ("force_context_number", None),
        ("use_sentence_level_filter", False),
        ("use_context_level_filter", True),
        ("use_token_level_filter", True),
    ]
    + SENTENCE_LEVEL
    + [
        ("reorder_context", "original"),
        ("dynamic_context_compression_ratio", 0.0),
        ("condition_compare", False),
        ("add_instruction", False),
        ("rank_method", "llmlingua"),
        ("concate_question", True),
    ]
)
METHODS = {
    "compress_prompt": CONTEXTS
    + [
        ("context_segs", None),
        ("context_segs_rate", None),
        ("context_segs_compress", None),
        ("target_context", -1),
        ("context_level_rate", 1.0),
        ("context_level_target_token", -1),
        ("return_word_label", False),
        ("word_sep", "\t\t|\t\t"),
        ("label_sep", " "),
        ("token_to_word", "mean"),
        ("force_tokens", []),
        ("force_reserve_digit", False),
        ("drop_consecutive", False),
        ("chunk_end_tokens", [".", "\n"]),
        ("strict_preserve_uncompressed", True),
    ],
    "structured_compress_prompt": CONTEXTS + [("strict_preserve_uncompressed", True)],
    "compress_json": [("json_data", NO), ("json_config", NO)]
    + HEAD
    + [
        ("use_sentence_level_filter", False),
        ("use_keyvalue_level_filter", False),
        ("use_token_level_filter", True),
    ]
    + SENTENCE_LEVEL
    + [
        ("reorder_keyvalue", "original"),
        ("condition_compare", False),
        ("rank_method", "llmlingua"),
    ],
    "recover": [("original_prompt", NO), ("compressed_prompt", NO), ("response", NO)],
}
KEYS = ["compressed_prompt", "origin_tokens", "compressed_tokens", "ratio", "rate", "saving"]


def compressor(**extra):
    return pith.PromptCompressor(None, **extra)


class Interface(unittest.TestCase):
    def check(self, function, wanted, extra):
        parameters = list(inspect.signature(function).parameters.values())[1:]
        release = [p for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
        self.assertEqual([(p.name, p.default) for p in release], wanted)
        ours = [p for p in parameters if p.kind is not p.POSITIONAL_OR_KEYWORD]
        self.assertEqual([p.name for p in ours], extra)
        self.assertTrue(all(p.kind is p.KEYWORD_ONLY for p in ours))

    def test_constructor(self):
        self.check(pith.PromptCompressor.__init__, CONSTRUCTOR, ["tokenizer", "mode", "params"])

    def test_methods(self):
        for name, wanted in METHODS.items():
            with self.subTest(name):
                extra = [] if name == "recover" else ["mode"]
                self.check(getattr(pith.PromptCompressor, name), wanted, extra)

    def test_defaults_are_not_changed(self):
        compressor().compress_prompt(PROMPT, force_tokens=["\n"])
        self.test_constructor()
        self.test_methods()

    def test_result(self):
        result = compressor().compress_prompt([PROMPT])
        self.assertEqual(list(result), KEYS)
        origin, compressed = result["origin_tokens"], result["compressed_tokens"]
        count = pith.Model().tokenizer.count
        self.assertEqual(origin, count(PROMPT.strip()))
        self.assertEqual(compressed, count(result["compressed_prompt"]))
        self.assertEqual(result["ratio"], "%.1fx" % (origin / compressed))
        self.assertEqual(result["rate"], "%.1f%%" % (100 * compressed / origin))
        self.assertEqual(
            result["saving"], ", Saving $%.1f in GPT-4." % ((origin - compressed) * 0.06 / 1000)
        )

    def test_saving_of_a_long_prompt(self):
        result = compressor(params={"method": "selective"}).compress_prompt(
            sentences(600), target_token=100
        )
        self.assertRegex(result["saving"], r"^, Saving \$0\.[3-9] in GPT-4\.$")

    def test_nothing_to_compress(self):
        result = compressor().compress_prompt([])
        self.assertEqual(list(result), KEYS)
        self.assertEqual(result["compressed_prompt"].strip(), "")
        result = compressor().compress_prompt("", instruction="Do.", question="Why?")
        self.assertEqual(result["compressed_prompt"], "Do.\n\nWhy?")

    def test_call(self):
        one = compressor()
        self.assertEqual(one(PROMPT, rate=0.3), one.compress_prompt(PROMPT, rate=0.3))


class Construction(unittest.TestCase):
    def test_names_of_repositories_give_one_warning(self):
        for name in ("NousResearch/Llama-2-7b-hf", "gpt2", "microsoft/phi-2"):
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                made = pith.PromptCompressor(name, device_map="cpu")
            self.assertEqual(len(caught), 1)
            self.assertIn(name, str(caught[0].message))
            self.assertEqual(caught[0].filename, __file__)
            self.assertEqual(made.model_name, name)

    def test_files_are_opened(self):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            made = pith.PromptCompressor(str(BUILTIN_GGUF))
            pith.PromptCompressor(None)
        self.assertEqual(made.compress_prompt(PROMPT), compressor().compress_prompt(PROMPT))

    def test_missing_files_are_errors(self):
        for name in ("missing.gguf", "/models/missing", "./missing", "a/b/c"):
            with self.assertRaises(OSError):
                pith.PromptCompressor(name)

    def test_what_is_not_there(self):
        for flag in ("use_llmlingua2", "use_slingua"):
            with self.assertRaisesRegex(NotImplementedError, flag):
                pith.PromptCompressor(None, **{flag: True})
        with self.assertRaisesRegex(NotImplementedError, "bge"):
            compressor().compress_prompt(PROMPT, rank_method="bge")
        with self.assertRaises(NotImplementedError):
            compressor().compress_prompt(PROMPT, context_segs=[["a"]])
        with self.assertRaises(ValueError):
            compressor(mode="fast")
        with self.assertRaises(ValueError):
            compressor().compress_prompt(PROMPT, mode="fast")
        with self.assertRaises(ValueError):
            compressor().compress_prompt(PROMPT, rank_method="tfidf")

    def test_tokenizer(self):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "cl100k_bytes.tiktoken")
            write_byte_ranks(path)
            result = compressor(tokenizer=path).compress_prompt(PROMPT, target_token=300)
        self.assertEqual(result["origin_tokens"], len(PROMPT.strip().encode()))
        self.assertEqual(result["compressed_tokens"], len(result["compressed_prompt"].encode()))
        self.assertLessEqual(result["compressed_tokens"], 300)


class Budgets(unittest.TestCase):
    def setUp(self):
        self.compressor = compressor()
        self.contexts = [sentences(12, seed) for seed in range(5)]
        self.count = pith.Model().tokenizer.count

    def test_rate_is_of_the_whole_prompt(self):
        for rate in (0.2, 0.5, 0.8):
            for ranker in ("llmlingua", "longllmlingua", "bm25", "gzip"):
                with self.subTest(rate=rate, ranker=ranker):
                    result = self.compressor.compress_prompt(
                        self.contexts, INSTRUCTION, QUESTION, rate=rate, rank_method=ranker
                    )
                    text = result["compressed_prompt"]
                    self.assertTrue(text.startswith(INSTRUCTION + "\n\n"))
                    self.assertTrue(text.endswith("\n\n" + QUESTION))
                    self.assertLessEqual(
                        result["compressed_tokens"], rate * result["origin_tokens"]
                    )
                    self.assertGreater(
                        result["compressed_tokens"], 0.8 * rate * result["origin_tokens"]
                    )
                    whole = "\n\n".join([INSTRUCTION, *self.contexts, QUESTION])
                    self.assertEqual(result["origin_tokens"], self.count(whole))

    def test_target_is_of_the_contexts(self):
        for target in (20, 100, 250):
            for question_stays in (True, False):
                with self.subTest(target=target, question_stays=question_stays):
                    result = self.compressor.compress_prompt(
                        self.contexts,
                        INSTRUCTION,
                        QUESTION,
                        target_token=target,
                        concate_question=question_stays,
                    )
                    text = result["compressed_prompt"]
                    self.assertEqual(text.endswith(QUESTION), question_stays)
                    around = [INSTRUCTION] + [QUESTION] * question_stays
                    fixed = sum(map(self.count, around)) + len(around) * self.count("\n\n")
                    self.assertLessEqual(result["compressed_tokens"], fixed + target)
                    self.assertGreater(result["compressed_tokens"], fixed + 0.7 * target)

    def test_no_room_for_contexts_leaves_them_100_tokens(self):
        long_question = sentences(30, 9)
        result = self.compressor.compress_prompt(
            self.contexts, INSTRUCTION, long_question, rate=0.1
        )
        fixed = self.count(INSTRUCTION) + self.count(long_question) + 2 * self.count("\n\n")
        self.assertGreater(fixed, 0.1 * result["origin_tokens"])
        self.assertLessEqual(result["compressed_tokens"], fixed + 100)
        self.assertGreater(result["compressed_tokens"], fixed + 70)

    def test_output_comes_from_the_prompt(self):
        result = self.compressor.compress_prompt(self.contexts, rate=0.4)
        self.assertTrue(is_subsequence(result["compressed_prompt"], "\n\n".join(self.contexts)))

    def test_forced_text(self):
        text = PROMPT + "\n" + sentences(20)
        result = self.compressor.compress_prompt(
            text, rate=0.4, force_tokens=["Priya", "?", ""], force_reserve_digit=True
        )
        self.assertEqual(result["compressed_prompt"].count("Priya"), text.count("Priya"))
        for number in ("18:42", "214", "200 GB".split()[0]):
            self.assertIn(number, result["compressed_prompt"])
        self.assertLessEqual(result["compressed_tokens"], 0.4 * result["origin_tokens"])

    def test_rate_above_one(self):
        with self.assertRaises(ValueError):
            self.compressor.compress_prompt(PROMPT, rate=1.5)

    def test_longllmlingua_needs_a_question(self):
        with self.assertRaises(ValueError):
            self.compressor.compress_prompt(self.contexts, rank_method="longllmlingua")


class Contexts(unittest.TestCase):
    def setUp(self):
        self.compressor = compressor()
        self.contexts = [f"Context {i}. " + sentences(10, seed=i) for i in range(6)]
        self.contexts[3] += " Repairs of the bridge will take seven weeks, repairs of the bridge."

    def compress(self, **arguments):
        """The contexts that are left, in the order of the output."""
        result = self.compressor.compress_prompt(
            self.contexts,
            question=QUESTION,
            rank_method="bm25",
            context_budget="+0",
            **arguments,
        )
        text = result["compressed_prompt"]
        found = [(text.index(f"Context {i}."), i) for i in range(6) if f"Context {i}." in text]
        return [i for _, i in sorted(found)]

    def survivors(self, **arguments):
        """Of whole contexts: room for about half of them."""
        size = self.compressor.compress_prompt(self.contexts, rate=1.0)["origin_tokens"]
        return self.compress(target_token=size // 2, use_token_level_filter=False, **arguments)

    def test_the_best_context_stays(self):
        kept = self.survivors()
        self.assertIn(3, kept)
        self.assertLess(len(kept), 6)

    def test_forced_contexts_stay(self):
        left_out = [i for i in range(6) if i not in self.survivors()]
        # forced into the choice; whether it fits is for the budget to say
        forced = self.compress(
            target_token=120,
            force_context_ids=[left_out[0]],
            force_tokens=[f"Context {left_out[0]}."],
        )
        self.assertIn(left_out[0], forced)

    def test_protected_text_keeps_its_context(self):
        names = [f"Context {i}." for i in range(6)]
        self.assertEqual(self.compress(target_token=120, force_tokens=names), list(range(6)))

    def test_order(self):
        kept = self.survivors(reorder_context="sort")
        self.assertEqual(kept[0], 3)
        self.assertEqual(sorted(kept), self.survivors(reorder_context="original"))

    def test_context_budget_is_checked(self):
        with self.assertRaises(ValueError):
            self.compressor.compress_prompt(self.contexts, context_budget="__import__('os')")


class Modes(unittest.TestCase):
    def setUp(self):
        self.contexts = [sentences(20, seed) for seed in range(3)]

    def test_modes(self):
        by_mode = {
            mode: compressor(mode=mode).compress_prompt(self.contexts, INSTRUCTION, QUESTION)
            for mode in ("pith", "official", "paper")
        }
        self.assertEqual(len({r["compressed_prompt"] for r in by_mode.values()}), 3)
        for mode, result in by_mode.items():
            with self.subTest(mode):
                self.assertEqual(list(result), KEYS)
                self.assertLess(result["compressed_tokens"], result["origin_tokens"])
                again = compressor().compress_prompt(
                    self.contexts, INSTRUCTION, QUESTION, mode=mode
                )
                self.assertEqual(again, result)

    def test_official_target_is_the_contexts_alone(self):
        """What stands around them takes nothing of it."""
        official = compressor(mode="official")
        alone = official.compress_prompt(self.contexts, target_token=200)
        around = official.compress_prompt(self.contexts, INSTRUCTION, QUESTION, target_token=200)
        self.assertEqual(
            around["compressed_prompt"],
            f"{INSTRUCTION}\n\n{alone['compressed_prompt']}\n\n{QUESTION}",
        )

    def test_official_knows_no_forced_text(self):
        """As the release, whose causal models ignore these parameters."""
        official = compressor(mode="official")
        self.assertEqual(
            official.compress_prompt(self.contexts, force_tokens=["report"], drop_consecutive=True),
            official.compress_prompt(self.contexts),
        )

    def test_official_with_tags_and_question(self):
        tagged = [f"<llmlingua, rate=0.4>{c}</llmlingua>" for c in self.contexts]
        result = compressor(mode="official").structured_compress_prompt(
            tagged, INSTRUCTION, QUESTION, rank_method="longllmlingua"
        )
        self.assertTrue(result["compressed_prompt"].endswith(QUESTION))
        self.assertNotIn("<llmlingua", result["compressed_prompt"])


class Structured(unittest.TestCase):
    def setUp(self):
        self.compressor = compressor()
        self.count = pith.Model().tokenizer.count
        self.plain = sentences(30, 4)
        self.kept = "Speaker 4: thank you, and can we please have a roll call?"

    def test_tags(self):
        context = (
            f"<llmlingua, compress=False>{self.kept}</llmlingua>"
            f"<llmlingua, rate=0.3> {self.plain}</llmlingua>"
        )
        result = self.compressor.structured_compress_prompt([context], INSTRUCTION, QUESTION)
        text = result["compressed_prompt"]
        self.assertTrue(text.startswith(f"{INSTRUCTION}\n\n{self.kept}"))
        self.assertTrue(text.endswith(QUESTION))
        self.assertNotIn("llmlingua", text)
        rest = text[len(INSTRUCTION) + 2 + len(self.kept) : -len(QUESTION)]
        self.assertTrue(is_subsequence(rest.strip(), self.plain))
        self.assertLessEqual(self.count(rest), 0.3 * self.count(self.plain) + 5)
        untagged = "\n\n".join([INSTRUCTION, f"{self.kept} {self.plain}", QUESTION])
        self.assertEqual(result["origin_tokens"], self.count(untagged))

    def test_rates_differ(self):
        context = (
            f"<llmlingua, rate=0.2>{self.plain}</llmlingua>\n<llmlingua, compress=False>####"
            f"</llmlingua>\n<llmlingua, rate=0.8>{self.plain}</llmlingua>"
        )
        first, second = self.compressor.structured_compress_prompt([context])[
            "compressed_prompt"
        ].split("####")
        whole = self.count(self.plain)
        self.assertAlmostEqual(self.count(first) / whole, 0.2, delta=0.06)
        self.assertAlmostEqual(self.count(second) / whole, 0.8, delta=0.06)

    def test_compress_prompt_takes_tags_for_text(self):
        context = f"<llmlingua, compress=False>{self.kept}</llmlingua>"
        result = self.compressor.compress_prompt([context], rate=1.0)
        self.assertEqual(result["compressed_prompt"], context)

    def test_broken_tags(self):
        with self.assertRaises(pith.TextError) as caught:
            self.compressor.structured_compress_prompt(["abc <llmlingua>def"])
        self.assertEqual(caught.exception.offset, 4)


class Recovering(unittest.TestCase):
    def test_recover(self):
        original = "The quick brown fox jumps over the lazy old dog near the river."
        self.assertEqual(
            compressor().recover(original, "quick fox jumps lazy dog", "a quick fox"),
            "a quick brown fox",
        )


if __name__ == "__main__":
    unittest.main()
