"""compress_json(): valid JSON of the same structure, whatever the document."""

import importlib.util
import json
import random
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

import pith
from support import SCRIPTS, SENTENCES, is_subsequence, sentences

NASTY = [
    'say "no"',
    "back\\slash",
    "a,,  b, c",
    "tab\tline\nend",
    "<b>&amp;</b>",
    "{}[]:",
    "\u2028",
]


def random_text(generator):
    count = generator.randrange(0, 5)
    return " ".join(generator.choice(SENTENCES + SCRIPTS + NASTY) for _ in range(count))


def random_value(generator, depth=0):
    kind = generator.randrange(9 if depth < 3 else 6)
    if kind < 2:
        return random_text(generator)
    if kind == 2:
        return generator.choice([0, -17, 2**70, 12345678901234567890])
    if kind == 3:
        return generator.choice([0.1, -2.5e-300, 1e22, 3.0])
    if kind == 4:
        return generator.choice([True, False, None])
    if kind == 5:
        return generator.choice(NASTY)
    if kind == 6:
        return [random_value(generator, depth + 1) for _ in range(generator.randrange(4))]
    names = ["id", "text", "a.b", "x=y", 'q"', "\u00e4", "notes", ""]
    return {
        name: random_value(generator, depth + 1)
        for name in generator.sample(names, generator.randrange(4))
    }


def entry(rate=0.3, compress=True, value_type="str", pair_remove=False):
    return {
        "rate": rate,
        "compress": compress,
        "value_type": value_type,
        "pair_remove": pair_remove,
    }


class Json(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.compressor = pith.PromptCompressor(None)

    def assert_same_shape(self, new, old):
        self.assertIs(type(new), type(old))
        if isinstance(old, dict):
            self.assertEqual(list(new), list(old))
            for key in old:
                self.assert_same_shape(new[key], old[key])
        elif isinstance(old, list):
            self.assertEqual(len(new), len(old))
            for one, other in zip(new, old):
                self.assert_same_shape(one, other)
        elif isinstance(old, str):
            self.assertTrue(is_subsequence(new, old), (new, old))
        else:
            self.assertEqual(new, old)

    def test_generated_documents(self):
        for seed in range(60):
            generator = random.Random(seed)
            names = ["id", "text", "a.b", "x=y", 'q"', "\u00e4", "notes"]
            data = {
                name: random_value(generator)
                for name in generator.sample(names, generator.randrange(1, 7))
            }
            config = {
                name: entry(
                    generator.choice([0, 0.1, 0.5, 1]),
                    generator.random() < 0.7,
                    generator.choice(["str", "int", "list", "dict", "bool"]),
                    generator.random() < 0.5,
                )
                for name in data
            }
            with self.subTest(seed=seed):
                result = self.compressor.compress_json(data, config)
                new = result["compressed_prompt"]
                self.assert_same_shape(new, data)
                self.assertLessEqual(result["compressed_tokens"], result["origin_tokens"])
                for key, value in data.items():
                    if config[key]["rate"] == 1 or not config[key]["compress"]:
                        self.assertEqual(new[key], value)

    def test_rates(self):
        text = sentences(30, 5)
        data = {"low": text, "high": text, "kept": text, "number": 5}
        config = {
            "low": entry(0.2),
            "high": entry(0.7),
            "kept": entry(0.2, compress=False),
            "number": entry(0.2, value_type="int"),
        }
        result = self.compressor.compress_json(data, config)
        new = result["compressed_prompt"]
        count = pith.Model().tokenizer.count
        self.assertAlmostEqual(count(new["low"]) / count(text), 0.2, delta=0.06)
        self.assertAlmostEqual(count(new["high"]) / count(text), 0.7, delta=0.06)
        self.assertEqual((new["kept"], new["number"]), (text, 5))
        self.assertEqual(
            list(result),
            ["compressed_prompt", "origin_tokens", "compressed_tokens", "ratio", "rate", "saving"],
        )
        self.assertEqual(result["origin_tokens"], count(json.dumps(data, ensure_ascii=False)))

    def test_rates_are_of_pairs_not_of_names(self):
        """A member deep inside may be called like another pair."""
        text = sentences(20, 6)
        data = {"title": text, "body": {"title": text, "list": [{"title": text}]}}
        config = {"title": entry(0.2), "body": entry(compress=False, value_type="dict")}
        new = self.compressor.compress_json(data, config)["compressed_prompt"]
        self.assertEqual(new["body"], data["body"])
        self.assertLess(len(new["title"]), 0.5 * len(text))
        config = {"title": entry(compress=False), "body": entry(0.2, value_type="dict")}
        new = self.compressor.compress_json(data, config)["compressed_prompt"]
        self.assertEqual(new["title"], text)
        self.assertLess(len(new["body"]["title"]), 0.5 * len(text))
        self.assertLess(len(new["body"]["list"][0]["title"]), 0.5 * len(text))

    def test_a_path_that_is_a_name_keeps_the_more(self):
        text = sentences(20, 6)
        data = {"a": {"b": text}, "a.b": text}
        for kept in data:
            config = {key: entry(0.2, compress=key != kept) for key in data}
            new = self.compressor.compress_json(data, config)["compressed_prompt"]
            self.assertEqual(new[kept], data[kept])

    def test_target(self):
        data = {"a": sentences(30, 7), "b": [sentences(5, 8), 17], "c": None}
        config = {key: entry(0.5) for key in data}
        result = self.compressor.compress_json(data, config, target_token=90)
        self.assertLessEqual(result["compressed_tokens"], 90)
        self.assertGreater(result["compressed_tokens"], 60)
        self.assert_same_shape(result["compressed_prompt"], data)

    def test_pairs_are_dropped_only_when_asked(self):
        others = [s for s in SENTENCES if "bridge" not in s]
        texts = [sentences(12, 10 + i, others) for i in range(4)]
        texts[2] = "Repairs of the bridge: " + "the bridge needs repairs for weeks. " * 10
        data = {f"pair{i}": text for i, text in enumerate(texts)}
        data["fixed"] = texts[1]
        config = {key: entry(1.0, pair_remove=key != "fixed") for key in data}
        arguments = {
            "question": "How long will repairs of the bridge take?",
            "rank_method": "bm25",
            "context_budget": "+0",
            "rate": 0.5,
        }
        whole = self.compressor.compress_json(data, config, **arguments)
        self.assertEqual(whole["compressed_prompt"], data)
        result = self.compressor.compress_json(
            data, config, use_keyvalue_level_filter=True, **arguments
        )
        new = result["compressed_prompt"]
        self.assertLess(len(new), len(data))
        self.assertIn("fixed", new)
        self.assertIn("pair2", new)
        self.assertEqual(list(new), [key for key in data if key in new])
        self.assertLessEqual(result["compressed_tokens"], 0.5 * result["origin_tokens"] + 10)
        self.assertEqual(result["origin_tokens"], whole["origin_tokens"])
        best_first = self.compressor.compress_json(
            data, config, use_keyvalue_level_filter=True, reorder_keyvalue="sort", **arguments
        )["compressed_prompt"]
        self.assertEqual(list(best_first)[0], "pair2")
        self.assertEqual(sorted(best_first), sorted(new))
        fixed = {key: entry(1.0) for key in data}
        self.assertEqual(
            self.compressor.compress_json(data, fixed, use_keyvalue_level_filter=True, **arguments)[
                "compressed_prompt"
            ],
            data,
        )

    def test_conditions(self):
        data = {"a": sentences(20, 3), "b": 4}
        config = {key: entry(0.4) for key in data}
        for arguments in (
            {"rank_method": "longllmlingua", "question": "What happened?"},
            {"condition_compare": True, "question": "What happened?"},
            {"use_sentence_level_filter": True},
            {"use_token_level_filter": False, "use_sentence_level_filter": True},
        ):
            with self.subTest(arguments):
                result = self.compressor.compress_json(data, config, **arguments)
                self.assert_same_shape(result["compressed_prompt"], data)
                self.assertLess(result["compressed_tokens"], 0.6 * result["origin_tokens"])

    def test_config_files(self):
        data = {"a": sentences(10, 3), "b": 4}
        config = {"a": entry(0.4), "b": entry(1.0, False, "int")}
        expected = self.compressor.compress_json(data, config)
        with tempfile.TemporaryDirectory() as folder:
            as_json = Path(folder, "config.json")
            as_json.write_text(json.dumps(config))
            self.assertEqual(self.compressor.compress_json(data, str(as_json)), expected)
            as_yaml = Path(folder, "config.yaml")
            lines = []
            for key, fields in config.items():
                lines.append(f"{key}:")
                lines += [f"  {name}: {value}" for name, value in fields.items()]
            as_yaml.write_text("\n".join(lines))
            with mock.patch.dict(sys.modules, {"yaml": None}):
                with self.assertRaisesRegex(ImportError, "PyYAML"):
                    self.compressor.compress_json(data, str(as_yaml))
            if importlib.util.find_spec("yaml") is not None:
                self.assertEqual(self.compressor.compress_json(data, str(as_yaml)), expected)

    def test_what_is_refused(self):
        data = {"a": "text"}
        for config in (
            {},
            {"a": entry(), "b": entry()},
            {"a": {"rate": 0.5}},
            {"a": None},
            {"a": entry(value_type="set")},
            {"a": entry(rate=1.5)},
            {"a": entry(rate="half")},
            7,
        ):
            with self.subTest(config), self.assertRaises(ValueError):
                self.compressor.compress_json(data, config)
        with self.assertRaises(ValueError):
            self.compressor.compress_json(["a"], {"a": entry()})
        with self.assertRaises(ValueError):
            self.compressor.compress_json({"a": float("nan")}, {"a": entry()})
        with self.assertRaises(ValueError):
            self.compressor.compress_json({1: "a"}, {1: entry()})
        with self.assertRaises(ValueError):
            self.compressor.compress_json({"": "a"}, {"": entry()})
        for arguments in (
            {"mode": "official"},
            {"use_keyvalue_level_filter": True, "context_budget": "*2+1"},
            {"use_keyvalue_level_filter": True, "reorder_keyvalue": "best"},
        ):
            with self.subTest(arguments), self.assertRaises(ValueError):
                self.compressor.compress_json(data, {"a": entry()}, **arguments)
        with self.assertRaises(OSError):
            self.compressor.compress_json(data, "missing.json")

    def test_mode_of_the_constructor_does_not_matter(self):
        data = {"a": sentences(10, 3)}
        config = {"a": entry(0.4)}
        official = pith.PromptCompressor(None, mode="official")
        self.assertEqual(
            official.compress_json(data, config), self.compressor.compress_json(data, config)
        )


if __name__ == "__main__":
    unittest.main()
