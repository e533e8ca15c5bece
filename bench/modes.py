#!/usr/bin/env python3
"""Speed of the hard methods and modes: tokens per second, and tokens forwarded per input token.

    bench/modes.py [--program PROGRAM] [--tokens 8000] [--contexts 10] [--rate 0.5]

One prompt of several contexts (the repository's own documentation, repeated to length) and a
question, one thread, best of three runs; `select` is all time outside the model. Rates per second
mean little on a shared machine; compare the rows, which come from one run.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

ROWS = (
    ("selective", "pith", ()),
    ("selective", "paper", ()),
    ("llmlingua", "pith", ()),
    ("llmlingua", "pith", ("--no-use-context-level-filter",)),
    ("llmlingua", "paper", ()),
    ("llmlingua", "official", ()),
    ("longllmlingua", "pith", ()),
    ("longllmlingua", "paper", ()),
    ("longllmlingua", "official", ("--condition-in-question", "after_condition",
                                   "--condition-compare", "true")),
)
QUESTION = "Which library multiplies the matrices?"


def run(program, arguments, record):
    done = subprocess.run([program, "compress", "--jsonl", "-t", "1", *arguments],
                          input=json.dumps(record) + "\n", capture_output=True, encoding="utf-8",
                          check=False)
    result = json.loads(done.stdout or "{}")
    if "stats" not in result:
        sys.exit(f"{program} {' '.join(arguments)}: {done.stdout}{done.stderr}")
    return result


def make_contexts(program, here, tokens, count):
    """`count` contexts of about tokens / count tokens each."""
    text = "\n".join((here / name).read_text(encoding="utf-8")
                     for name in ("README.md", "ARCHITECTURE.md", "docs/cli.md", "docs/selective.md",
                                  "docs/phrases.md", "docs/llmlingua.md"))
    size = run(program, ["--rate", "1", "--format", "text"], {"text": text})["source_tokens"]
    text *= 1 + tokens // size
    step = len(text) * tokens // (size * (1 + tokens // size)) // count
    return [text[i * step:(i + 1) * step] for i in range(count)]


def main():
    here = Path(__file__).resolve().parent.parent
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--program", default=str(here / "build/release/cli/pith"))
    parser.add_argument("--tokens", type=int, default=8000)
    parser.add_argument("--contexts", type=int, default=10)
    parser.add_argument("--rate", default="0.5")
    options = parser.parse_args()
    record = {"context": make_contexts(options.program, here, options.tokens, options.contexts),
              "question": QUESTION}
    print(f"rate {options.rate}, {options.contexts} contexts, one thread\n")
    print("| method | mode | options | input tokens/s | forwarded per input token | model s | select s "
          "| achieved rate |")
    print("|---|---|---|---|---|---|---|---|")
    for method, mode, extra in ROWS:
        arguments = ["-M", method, "--mode", mode, "--rate", options.rate, "--format", "text", *extra]
        results = [run(options.program, arguments, record) for _ in range(3)]
        best = min(results, key=lambda r: r["stats"]["score_seconds"] + r["stats"]["select_seconds"])
        stats = best["stats"]
        seconds = stats["score_seconds"] + stats["select_seconds"]
        print(f"| {method} | {mode} | {' '.join(extra)} | {best['source_tokens'] / seconds:.0f} "
              f"| {stats['forward_tokens'] / best['source_tokens']:.2f} "
              f"| {stats['score_seconds']:.2f} | {stats['select_seconds']:.2f} "
              f"| {best['rate']:.3f} |", flush=True)


if __name__ == "__main__":
    main()
