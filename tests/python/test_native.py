"""Model, Tokenizer, Compressor, Result and the errors."""

import gc
import math
import os
import pickle
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import pith
from support import BUILTIN_GGUF, PROMPT, ROOT, SENTENCES, sentences, unicode_text, write_byte_ranks


def rebuilt(result):
    source = result.source.encode()
    return b"".join(source[r.start : r.end] for r in result.ranges)


class Library(unittest.TestCase):
    def test_versions_agree(self):
        self.assertEqual(pith.library_version(), pith.__version__)

    def test_a_checkout_finds_its_build(self):
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder).resolve()
            shutil.copytree(ROOT / "python" / "pith", root / "python" / "pith")
            shutil.rmtree(root / "python" / "pith" / "_lib", ignore_errors=True)
            header = root / "include" / "pith" / "pith.h"
            library = root / "build" / "release" / "lib" / "libpith.so.0.5"
            for target, source in (
                (header, ROOT / "include" / "pith" / "pith.h"),
                (library, os.environ["PITH_LIBRARY"]),
            ):
                target.parent.mkdir(parents=True)
                shutil.copy(source, target)
            # a name that no system library has: the loader must not be first
            native = root / "python" / "pith" / "_native.py"
            text = native.read_text().replace("yield SONAME  #", 'yield "libpith-none.so"  #')
            native.write_text(text)
            environment = {k: v for k, v in os.environ.items() if k != "PITH_LIBRARY"}
            done = subprocess.run(
                [sys.executable, "-c", "import pith; print(pith._native.lib._name)"],
                env={**environment, "PYTHONPATH": str(root / "python")},
                capture_output=True,
                text=True,
            )
            self.assertEqual((done.stdout.strip(), done.stderr), (str(library), ""))

    def test_everything_exported_exists(self):
        for name in pith.__all__:
            self.assertTrue(hasattr(pith, name), name)

    def test_parameters(self):
        table = {p.name: p for p in pith.parameters()}
        self.assertEqual(len(table), len(pith.parameters()))
        self.assertEqual(table["rate"].type, "float")
        self.assertEqual((table["rate"].min, table["rate"].max), (0.0, 1.0))
        self.assertEqual(table["target-tokens"].keyword, "target_tokens")
        self.assertIn("phrase", table["level"].choices)
        self.assertEqual(table["keep"].choices, ())
        self.assertTrue(all(p.help and p.since for p in table.values()))

    def test_every_default_is_accepted(self):
        for p in pith.parameters():
            if p.default != "":
                with self.subTest(p.name):
                    pith.Compressor(**{p.keyword: p.default}).close()


class Compressing(unittest.TestCase):
    def setUp(self):
        self.compressor = pith.Compressor()

    def tearDown(self):
        self.compressor.close()

    def test_budget_is_met(self):
        for text in (PROMPT, unicode_text(), "word " * 40):
            for params in ({"rate": 0.5}, {"rate": 0.1}, {"target_tokens": 33}, {"rate": 1}):
                with self.subTest(params, size=len(text)):
                    result = self.compressor.compress(text, **params)
                    stats = result.stats
                    self.assertLessEqual(stats.kept_tokens, stats.budget_tokens)
                    count = self.compressor.tokenizer.count
                    self.assertEqual(stats.kept_tokens, count(result.text))
                    self.assertEqual(stats.source_tokens, count(text))
                    if "rate" in params:
                        self.assertLessEqual(result.rate, params["rate"])
                    else:
                        self.assertEqual(stats.budget_tokens, 33)

    def test_budget_is_used(self):
        result = self.compressor.compress(PROMPT, rate=0.5)
        self.assertGreater(result.stats.kept_tokens, 0.9 * result.stats.budget_tokens)

    def test_ranges_rebuild_the_text(self):
        for text in (PROMPT, unicode_text()):
            for level in ("token", "word", "phrase", "sentence"):
                with self.subTest(level):
                    result = self.compressor.compress(text, rate=0.4, level=level)
                    self.assertEqual(rebuilt(result), result.data)
                    self.assertEqual(result.text.encode(), result.data)
                    self.assertEqual(result.source, text)
                    by_characters = "".join(text[r.char_start : r.char_end] for r in result.ranges)
                    self.assertEqual(by_characters, result.text)
                    self.assertGreater(len(result.ranges), 1)

    def test_dropped_is_the_rest(self):
        text = unicode_text()
        result = self.compressor.compress(text, rate=0.4)
        pieces = [(r.start, r.end) for r in result.ranges]
        pieces += [(p.start, p.end) for p in result.dropped()]
        at = 0
        for start, end in sorted(pieces):
            self.assertEqual(start, at)
            self.assertGreater(end, start)
            at = end
        self.assertEqual(at, len(text.encode()))
        for piece in result.dropped():
            self.assertEqual(piece.text, text[piece.char_start : piece.char_end])
            self.assertEqual(piece.text.encode(), text.encode()[piece.start : piece.end])
        self.assertEqual(self.compressor.compress("short", rate=1).dropped(), [])

    def test_units(self):
        text = unicode_text()
        result = self.compressor.compress(text, rate=0.4, keep="budget")
        units = result.units
        self.assertEqual(len(units), result.stats.units)
        self.assertEqual(sum(u.kept for u in units), result.stats.units_kept)
        self.assertEqual(sum(u.is_protected for u in units), result.stats.units_protected)
        for unit in units:
            self.assertEqual(
                text[unit.char_start : unit.char_end].encode(),
                text.encode()[unit.start : unit.end],
            )
        protected = "".join(text[u.char_start : u.char_end] for u in units if u.is_protected)
        self.assertEqual(protected.count("budget"), text.count("budget"))
        self.assertEqual(result.text.count("budget"), text.count("budget"))

    def test_deterministic(self):
        first = self.compressor.compress(PROMPT, rate=0.3, threads=1)
        second = pith.Compressor(threads=2).compress(PROMPT, rate=0.3)
        self.assertEqual(first.data, second.data)

    def test_small_and_odd_texts(self):
        self.assertEqual(self.compressor.compress("").text, "")
        self.assertEqual(self.compressor.compress("").rate, 1.0)
        self.assertEqual(self.compressor.compress("").ranges, ())
        self.assertEqual(self.compressor.compress("a\0b", rate=1).text, "a\0b")
        self.assertEqual(self.compressor.compress("\U0001f600", rate=1).ranges, ((0, 4, 0, 1),))

    def test_mode_without_budget(self):
        stats = self.compressor.compress(PROMPT, mode="paper").stats
        self.assertIsNone(stats.budget_tokens)

    def test_str_and_repr(self):
        result = self.compressor.compress(PROMPT)
        self.assertEqual(str(result), result.text)
        self.assertIn(str(result.stats.kept_tokens), repr(result))

    def test_result_outlives_everything(self):
        model = pith.Model()
        compressor = pith.Compressor(model)
        result = compressor.compress(PROMPT)
        compressor.close()
        model.close()
        del compressor, model
        gc.collect()
        self.assertEqual(rebuilt(result), result.data)
        self.assertEqual(len(result.units), result.stats.units)


class Prompts(unittest.TestCase):
    def setUp(self):
        self.compressor = pith.Compressor()
        self.contexts = [sentences(12, seed) for seed in range(4)]
        self.instruction = "Answer from the notes below."
        self.question = "How long will the repairs of the bridge take?"

    def test_parts(self):
        result = self.compressor.compress_prompt(
            self.instruction, self.contexts, self.question, rate=0.5
        )
        self.assertTrue(result.text.startswith(self.instruction + "\n\n"))
        self.assertTrue(result.text.endswith("\n\n" + self.question))
        parts = [self.instruction, *self.contexts, self.question]
        self.assertEqual(result.source, "\n\n".join(parts))
        self.assertEqual(
            [p.role for p in result.parts], ["instruction"] + ["context"] * 4 + ["question"]
        )
        for part, text in zip(result.parts, parts):
            self.assertEqual(result.source[part.char_start : part.char_end], text)
            self.assertEqual(part.source_tokens, self.compressor.tokenizer.count(text))
        self.assertLessEqual(result.stats.kept_tokens, result.stats.budget_tokens)
        self.assertEqual(rebuilt(result), result.data)

    def test_contexts_are_dropped_whole(self):
        result = self.compressor.compress_prompt(
            self.instruction,
            self.contexts,
            self.question,
            method="llmlingua",
            rank_method="bm25",
            context_budget="+0",
            rate=0.3,
        )
        dropped = [part for part in result.parts if part.place is None]
        self.assertGreater(len(dropped), 0)
        self.assertTrue(all(part.kept_tokens == 0 for part in dropped))
        places = sorted(part.place for part in result.parts if part.place is not None)
        self.assertEqual(places, list(range(len(places))))
        self.assertTrue(all(not math.isnan(p.score) for p in result.parts if p.role == "context"))

    def test_keywords_and_absent_parts(self):
        result = self.compressor.compress_prompt(contexts=self.contexts[:1], rate=1)
        self.assertEqual(result.text, self.contexts[0])
        self.assertEqual(len(result.parts), 1)
        self.assertEqual(
            self.compressor.compress_prompt(instruction="Do.", question="Why?", rate=1).text,
            "Do.\n\nWhy?",
        )

    def test_contexts_must_be_a_sequence(self):
        with self.assertRaises(TypeError):
            self.compressor.compress_prompt(contexts="one text")
        with self.assertRaisesRegex(TypeError, r"contexts\[1\]"):
            self.compressor.compress_prompt(contexts=["one", None])

    def test_longllmlingua_needs_a_question(self):
        with self.assertRaises(pith.ArgumentError):
            self.compressor.compress_prompt(contexts=self.contexts, method="longllmlingua")


class Ranking(unittest.TestCase):
    def setUp(self):
        self.compressor = pith.Compressor()

    def test_bm25(self):
        ranked = self.compressor.rank(
            SENTENCES, "When will the repairs of the bridge end?", rank_method="bm25"
        )
        self.assertEqual(sorted(index for index, _ in ranked), list(range(len(SENTENCES))))
        self.assertEqual(ranked[0][0], 1)
        scores = [score for _, score in ranked]
        self.assertEqual(scores, sorted(scores, reverse=True))

    def test_every_method(self):
        question = "What does the library offer?"
        for method in ("llmlingua", "longllmlingua", "gzip", "random", "hybrid", "auto"):
            with self.subTest(method):
                ranked = self.compressor.rank(SENTENCES, question, rank_method=method)
                self.assertEqual(sorted(i for i, _ in ranked), list(range(len(SENTENCES))))
                scores = [score for _, score in ranked]
                self.assertEqual(scores, sorted(scores, reverse=True))

    def test_longllmlingua_reads_the_question(self):
        def scores(question):
            ranked = self.compressor.rank(
                SENTENCES, question, method="longllmlingua", rank_method="longllmlingua"
            )
            return dict(ranked)

        self.assertNotEqual(scores("What does the library offer?"), scores("Who left the train?"))

    def test_nothing_to_rank(self):
        self.assertEqual(self.compressor.rank([], "question"), [])


class Recovering(unittest.TestCase):
    def test_phrases_come_back(self):
        compressor = pith.Compressor()
        original = "The quick brown fox jumps over the lazy old dog near the river."
        compressed = "quick fox jumps lazy dog"
        self.assertEqual(
            compressor.recover(original, compressed, "It was a quick fox indeed"),
            "It was a quick brown fox indeed",
        )
        self.assertEqual(compressor.recover(original, compressed, "nothing here"), "nothing here")
        self.assertEqual(compressor.recover(original, compressed, ""), "")


class Scoring(unittest.TestCase):
    def setUp(self):
        self.compressor = pith.Compressor()

    def test_tokens_cover_the_text(self):
        for text in (PROMPT, unicode_text(20)):
            tokens = self.compressor.score(text)
            data = text.encode()
            self.assertEqual(len(tokens), self.compressor.tokenizer.count(text))
            self.assertEqual(b"".join(data[t.start : t.end] for t in tokens), data)
            for t in tokens:
                self.assertIn(data[t.start : t.end], text[t.char_start : t.char_end].encode())
                self.assertFalse(t.nats < 0)

    def test_what_is_repeated_is_expected(self):
        def mean(tokens):
            return math.fsum(t.nats for t in tokens) / len(tokens)

        sentence = SENTENCES[1] + " "
        tokens = self.compressor.score(sentence * 3)
        third = len(tokens) // 3
        self.assertLess(mean(tokens[2 * third :]), mean(tokens[:third]))

    def test_cut_characters(self):
        tokens = self.compressor.score("a\U0001f600b")
        inside = [t for t in tokens if 1 <= t.start < 5]
        self.assertTrue(all((t.char_start, t.char_end) == (1, 2) for t in inside))
        self.assertEqual((tokens[-1].char_start, tokens[-1].char_end), (2, 3))


class Parameters(unittest.TestCase):
    def test_sticky_and_by_call(self):
        compressor = pith.Compressor(target_tokens=50, keep=["Jonas"])
        before = compressor.compress(PROMPT)
        self.assertEqual(before.stats.budget_tokens, 50)
        self.assertIn("Jonas", before.text)
        other = compressor.compress(PROMPT, target_tokens=20, keep=["Priya"])
        self.assertEqual(other.stats.budget_tokens, 20)
        self.assertEqual(other.text.count("Priya"), PROMPT.count("Priya"))
        default = compressor.compress(PROMPT, target_tokens=None, rate=0.25)
        self.assertEqual(default.stats.budget_tokens, default.stats.source_tokens // 4)
        self.assertEqual(compressor.compress(PROMPT).data, before.data)

    def test_kinds_of_values(self):
        compressor = pith.Compressor()
        for value in (0.5, "0.5"):
            stats = compressor.compress(PROMPT, rate=value).stats
            self.assertEqual(stats.budget_tokens, stats.source_tokens // 2)
        self.assertEqual(compressor.compress(PROMPT, target_tokens=7.0).stats.budget_tokens, 7)
        for value in (True, "yes", "1"):
            self.assertIn("214", compressor.compress(PROMPT, keep_digits=value).text)
        for value in ("Jonas", ["Jonas"], ("Jonas", "Priya"), {"Jonas"}):
            self.assertIn("Jonas", compressor.compress(PROMPT, keep=value, rate=0.1).text)
        compressor.compress('{"a": "b c d"}', json_rate={"a": 0.5}, format="json")
        compressor.compress('{"a": "b c d"}', json_rate=["a=0.5"], format="json")

    def test_names_with_dashes(self):
        result = pith.Compressor(**{"target-tokens": 9}).compress(PROMPT)
        self.assertEqual(result.stats.budget_tokens, 9)

    def test_what_is_no_value(self):
        compressor = pith.Compressor()
        for value in (b"0.5", [0.5], object()):
            with self.assertRaises(TypeError):
                compressor.compress(PROMPT, rate=value)
        with self.assertRaises(pith.ArgumentError):
            compressor.compress(PROMPT, keep="a\0b")


class Errors(unittest.TestCase):
    def setUp(self):
        self.compressor = pith.Compressor()

    def check(self, error, status, name):
        self.assertEqual((error.status, error.name), (status, name))
        self.assertTrue(error.message)
        self.assertEqual(str(error), error.message)

    def test_parameters(self):
        with self.assertRaisesRegex(ValueError, "nonsense") as caught:
            self.compressor.compress(PROMPT, nonsense=1)
        self.check(caught.exception, 1, "E_ARGUMENT")
        self.assertIsInstance(caught.exception, pith.ArgumentError)
        with self.assertRaises(pith.ArgumentError) as caught:
            self.compressor.compress(PROMPT, rate=1.5)
        self.check(caught.exception, 2, "E_RANGE")
        with self.assertRaises(pith.ArgumentError):
            pith.Compressor(level="paragraph")
        self.assertLess(len(self.compressor.compress(PROMPT).text), len(PROMPT))

    def test_a_failed_call_changes_nothing(self):
        before = self.compressor.compress(PROMPT).data
        with self.assertRaises(pith.Error):
            self.compressor.compress(PROMPT, keep_digits=True, rate=9)
        self.assertEqual(self.compressor.compress(PROMPT).data, before)

    def test_budget(self):
        with self.assertRaises(pith.BudgetError) as caught:
            self.compressor.compress(PROMPT, keep_digits=True, target_tokens=1)
        self.check(caught.exception, 3, "E_BUDGET")
        self.assertIsInstance(caught.exception, ValueError)

    def test_lone_surrogates(self):
        for call in (
            self.compressor.compress,
            self.compressor.score,
            self.compressor.tokenizer.count,
            lambda text: self.compressor.compress_prompt(contexts=[text]),
            lambda text: self.compressor.rank([text]),
            lambda text: self.compressor.compress(PROMPT, keep=text),
        ):
            with self.assertRaisesRegex(pith.TextError, r"U\+D800") as caught:
                call("ab\u00e9\ud800")
            self.check(caught.exception, 20, "E_UTF8")
            self.assertEqual(caught.exception.offset, 4)
            self.assertIsInstance(caught.exception, ValueError)

    def test_bytes_are_no_text(self):
        with self.assertRaisesRegex(TypeError, "text must be str, not bytes"):
            self.compressor.compress(b"bytes")

    def test_syntax(self):
        with self.assertRaises(pith.TextError) as caught:
            self.compressor.compress(PROMPT, keep_regex="ab(")
        self.check(caught.exception, 24, "E_SYNTAX")
        self.assertIsInstance(caught.exception.offset, int)
        with self.assertRaises(pith.TextError) as caught:
            self.compressor.compress("abc <b> def", keep_tag="b")
        self.assertEqual(caught.exception.offset, 4)

    def test_files(self):
        with tempfile.TemporaryDirectory() as folder:
            missing = Path(folder, "missing.gguf")
            for opener in (pith.Model, pith.Tokenizer, pith.Compressor):
                with self.assertRaises(OSError) as caught:
                    opener(missing)
                self.assertIsInstance(caught.exception, pith.FileError)
                self.check(caught.exception, 41, "E_IO")
            damaged = Path(folder, "damaged.gguf")
            damaged.write_bytes(b"GGUF" + bytes(40))
            with self.assertRaises(pith.ModelError) as caught:
                pith.Model(damaged)
            self.assertIn(caught.exception.name, ("E_CORRUPT", "E_UNSUPPORTED"))
        with self.assertRaises(ValueError):
            pith.Model("a\0b")
        with self.assertRaises(pith.ArgumentError):
            pith.Model(precision="f16")

    def test_pickle(self):
        with self.assertRaises(pith.TextError) as caught:
            self.compressor.compress("\udc00")
        copy = pickle.loads(pickle.dumps(caught.exception))
        self.assertIs(type(copy), pith.TextError)
        self.assertEqual(
            (copy.status, copy.name, copy.message, copy.offset),
            (20, "E_UTF8", caught.exception.message, 0),
        )


class Lifetimes(unittest.TestCase):
    def test_model(self):
        with pith.Model() as model:
            info = model.info
            self.assertEqual(info.precision, "int8")
            self.assertEqual(info.architecture, "llama")
            self.assertGreater(info.context, 0)
            compressor = pith.Compressor(model)
        with self.assertRaises(ValueError):
            model.info
        with self.assertRaises(ValueError):
            pith.Compressor(model)
        model.close()
        self.assertIn("Jonas", compressor.compress(PROMPT, rate=1).text)
        self.assertEqual(pith.Model(precision="f32").info.precision, "f32")

    def test_model_from_a_file(self):
        from_file = pith.Compressor(BUILTIN_GGUF).compress(PROMPT)
        self.assertEqual(from_file.data, pith.Compressor().compress(PROMPT).data)
        self.assertEqual(
            pith.Model(str(BUILTIN_GGUF)).info.parameters, pith.Model().info.parameters
        )

    def test_model_with_an_adapter(self):
        base = ROOT / "tests" / "golden" / "models" / "llama_gqa.gguf"
        lora = ROOT / "tests" / "data" / "lora.gguf"
        plain, adapted = (
            [token.nats for token in pith.Compressor(model).score(PROMPT)]
            for model in (pith.Model(base), pith.Model(base, lora=lora))
        )
        self.assertEqual(len(plain), len(adapted))
        self.assertNotEqual(plain, adapted)
        with self.assertRaises(pith.ModelError) as caught:
            pith.Model(lora=lora)
        self.assertEqual(caught.exception.name, "E_MISMATCH")

    def test_compressor(self):
        compressor = pith.Compressor()
        with compressor as same:
            self.assertIs(same, compressor)
        for call in (
            lambda: compressor.compress("a"),
            lambda: compressor.score("a"),
            lambda: compressor.compress_prompt(contexts=["a"]),
            lambda: compressor.rank(["a"]),
            lambda: compressor.recover("a", "a", "a"),
        ):
            with self.assertRaisesRegex(ValueError, "closed"):
                call()
        compressor.close()

    def test_tokenizer(self):
        tokenizer = pith.Tokenizer(BUILTIN_GGUF)
        count = tokenizer.count(PROMPT)
        self.assertEqual(count, pith.Model().tokenizer.count(PROMPT))
        self.assertEqual(tokenizer.count(""), 0)
        compressor = pith.Compressor(tokenizer=tokenizer)
        tokenizer.close()
        with self.assertRaises(ValueError):
            tokenizer.count("a")
        self.assertEqual(compressor.compress(PROMPT).stats.source_tokens, count)
        borrowed = pith.Model().tokenizer
        gc.collect()  # the model is gone but for what its tokenizer holds
        self.assertEqual(borrowed.count(PROMPT), count)

    def test_counting_with_another_vocabulary(self):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "cl100k_bytes.tiktoken")
            write_byte_ranks(path)
            with pith.Tokenizer(path) as tokenizer:
                text = unicode_text(5)
                self.assertEqual(tokenizer.count(text), len(text.encode()))
            result = pith.Compressor(tokenizer=path, target_tokens=200).compress(PROMPT)
        self.assertEqual(result.stats.source_tokens, len(PROMPT.encode()))
        self.assertEqual(result.stats.kept_tokens, len(result.data))
        self.assertLessEqual(len(result.data), 200)

    def test_cycles(self):
        """The garbage collector finalizes what is in a cycle in any order; a model once went
        before its compressor."""

        class Owner:
            pass

        for names in (("model", "compressor"), ("compressor", "model")):
            for _ in range(20):
                made = {"model": pith.Model()}
                made["compressor"] = pith.Compressor(made["model"], tokenizer=BUILTIN_GGUF)
                owner = Owner()
                owner.itself = owner
                for name in names:
                    setattr(owner, name, made[name])
                del owner, made
            gc.collect()

    def test_many_come_and_go(self):
        model = pith.Model()
        expected = pith.Compressor(model).compress(SENTENCES[0]).data
        for _ in range(200):
            self.assertEqual(pith.Compressor(model).compress(SENTENCES[0]).data, expected)


if __name__ == "__main__":
    unittest.main()
