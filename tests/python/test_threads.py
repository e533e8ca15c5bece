"""Several threads at once: with a compressor each, with one for all, and closing under way."""

import threading
import unittest

import pith
from support import sentences, unicode_text

TEXTS = [sentences(15, seed) for seed in range(6)] + [unicode_text(10, seed) for seed in range(2)]


def run(count, work):
    """Runs work(i) in `count` threads; the first exception is raised again."""
    failures = []

    def guarded(index):
        try:
            work(index)
        except BaseException as error:  # noqa: B036
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(i,)) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


class Threads(unittest.TestCase):
    def setUp(self):
        with pith.Compressor(rate=0.4) as compressor:
            self.expected = [compressor.compress(text).data for text in TEXTS]

    def test_a_compressor_each(self):
        actual = {}

        def work(index):
            with pith.Compressor(rate=0.4) as compressor:
                for i in range(index, len(TEXTS), 2):
                    actual[i] = compressor.compress(TEXTS[i]).data

        run(2, work)
        self.assertEqual([actual[i] for i in range(len(TEXTS))], self.expected)

    def test_one_for_all(self):
        compressor = pith.Compressor(rate=0.9)
        actual = {}

        def work(index):
            # other parameters in between must not leak into the next call
            actual[index] = compressor.compress(TEXTS[index], rate=0.4).data
            compressor.compress(TEXTS[index], target_tokens=index + 5)

        run(len(TEXTS), work)
        self.assertEqual([actual[i] for i in range(len(TEXTS))], self.expected)

    def test_closing_under_way(self):
        compressor = pith.Compressor(rate=0.4)
        started = threading.Event()
        outcomes = []

        def work(index):
            if index == 0:
                started.wait()
                compressor.close()
                return
            for i, text in enumerate(TEXTS):
                try:
                    outcomes.append(compressor.compress(text).data == self.expected[i])
                except ValueError as error:
                    outcomes.append("closed" in str(error))
                started.set()

        run(2, work)
        self.assertEqual(len(outcomes), len(TEXTS))
        self.assertTrue(all(outcomes))
        with self.assertRaises(ValueError):
            compressor.compress("a")


if __name__ == "__main__":
    unittest.main()
