#!/usr/bin/env python3
"""Counts how well two promises hold on real texts: the budget, and JSON that stays JSON.

    bench/promises.py --program build/release/cli/pith --data ../shared/data

Budget: prompts of 20 to 20,000 tokens from data/eval, mode pith of each method, rates .8 .5 .3 .2
.1: kept tokens may never exceed floor(rate * source tokens); how far below they stay is counted.

JSON: documents made at random and real ones (data/train/json_factbook), every rate: the result
must parse, have the same keys in the same order, and numbers, booleans, nulls, protected and
identifier-like strings must be byte-identical; every shortened string a subsequence of its own.

Standard library only; one process per method and rate, all records on its standard input.
"""

import argparse
import json
import lzma
import math
import random
import subprocess
import sys
from pathlib import Path

RATES = (0.8, 0.5, 0.3, 0.2, 0.1)
EVAL_SETS = ("minilongbench", "qmsum", "multi-news", "gsm8k-train", "squad-xquad-en",
             "instruct-t0", "hotpotqa-distractor", "cicero-v2", "llmlingua-inputs")
TEXT_KEYS = ("origin_prompt", "context", "prompt", "document", "text")


def read_lines(path):
    with lzma.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def run(program, arguments, records):
    """Results of one process, in the order of the records."""
    lines = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
    done = subprocess.run([program, "compress", "--jsonl", *arguments], input=lines,
                          capture_output=True, encoding="utf-8", check=False)
    results = [json.loads(line) for line in done.stdout.splitlines()]
    if len(results) != len(records):
        sys.exit(f"{program}: {len(results)} results for {len(records)} records: {done.stderr}")
    return results


# ---- budget ------------------------------------------------------------------------------------


def text_of(row):
    for key in TEXT_KEYS:
        if isinstance(row.get(key), str) and row[key]:
            return row[key]
    return json.dumps(row, ensure_ascii=False, indent=1)


def budget_prompts(data, program, count, seed):
    """`count` prompts between 20 and 20,000 tokens, evenly over their lengths."""
    rng = random.Random(seed)
    texts = []
    for name in EVAL_SETS:
        rows = read_lines(data / "eval" / f"{name}.jsonl.xz")
        rng.shuffle(rows)
        texts += [text_of(row) for row in rows[:60]]
    records = [{"text": text} for text in texts]
    sizes = [r["source_tokens"] for r in run(program, ["--rate", "1"], records)]
    usable = sorted((size, text) for size, text in zip(sizes, texts) if 20 <= size <= 20000)
    step = len(usable) / count
    return [usable[int(i * step)] for i in range(count)]


def check_budget(options, data):
    prompts = budget_prompts(data, options.program, options.count, options.seed)
    sizes = [size for size, _ in prompts]
    print(f"## Budget: {len(prompts)} prompts of {sizes[0]} to {sizes[-1]} tokens\n")
    print("| method | rate | above | exact | within 1 | within 2 | most below |")
    print("|---|---|---|---|---|---|---|")
    failures = 0
    # a plain text: a rate of JSON is a share of what may change, which is not what is counted here
    records = [{"text": text, "format": "markdown", "structured": "false"} for _, text in prompts]
    for method in ("selective", "llmlingua"):
        for rate in RATES:
            arguments = ["-M", method, "--rate", str(rate)]
            gaps = []
            for result in run(options.program, arguments, records):
                if "error" in result:
                    sys.exit(f"{method} at {rate}: {result['error']}")
                budget = math.floor(rate * result["source_tokens"] + 1e-9)
                gaps.append(budget - result["kept_tokens"])
            above = sum(gap < 0 for gap in gaps)
            failures += above
            share = [sum(0 <= gap <= most for gap in gaps) / len(gaps) for most in (0, 1, 2)]
            print(f"| {method} | {rate} | {above} | " +
                  " | ".join(f"{100 * s:.1f} %" for s in share) + f" | {max(gaps)} |", flush=True)
    return failures


# ---- JSON --------------------------------------------------------------------------------------

WORDS = ("alpha", "the", "report", "of", "Berlin", "was", "not", "\u00e9t\u00e9", "42", "quote\"d", "back\\slash",
         "line\nbreak", "tab\t", "\U0001f600", "\u4e2d\u6587", "</script>", "{brace}", "said", "and", "x")


def random_value(rng, depth):
    kind = rng.random()
    if depth > 0 and kind < 0.25:
        return {rng.choice(WORDS) + str(i): random_value(rng, depth - 1)
                for i in range(rng.randrange(5))}
    if depth > 0 and kind < 0.4:
        return [random_value(rng, depth - 1) for _ in range(rng.randrange(5))]
    if kind < 0.5:
        return rng.choice((True, False, None, 0, -1.5, 3e10, 12345678901234567890))
    return " ".join(rng.choice(WORDS) for _ in range(rng.randrange(25)))


def json_documents(data, count, seed):
    rng = random.Random(seed)
    real = lzma.open(data / "train" / "json_factbook.txt.xz", "rt", encoding="utf-8").read()
    documents = []
    for text in real.split("<|endoftext|>"):
        if len(documents) < count // 2 and text.strip():
            whole = json.loads(text)
            documents += [json.dumps(part, ensure_ascii=False, indent=1)
                          for part in whole.values() if isinstance(part, dict)][:4]
    documents = documents[:count // 2]
    while len(documents) < count:
        value = {"keep me": "this is protected text that stays as it is", "id": rng.randrange(1000),
                 "body": random_value(rng, 4)}
        documents.append(json.dumps(value, ensure_ascii=rng.random() < 0.5,
                                    indent=rng.choice((None, 2))))
    return documents


def is_subsequence(short, long):
    rest = iter(long)
    return all(char in rest for char in short)


def same_structure(before, after, path, problems):
    """Keys, their order, and every value that may not change."""
    if isinstance(before, dict):
        if not isinstance(after, dict) or list(before) != list(after):
            problems.append(f"{path}: keys")
            return
        for key in before:
            same_structure(before[key], after[key], f"{path}.{key}", problems)
    elif isinstance(before, list):
        if not isinstance(after, list) or len(before) != len(after):
            problems.append(f"{path}: length")
            return
        for index, (a, b) in enumerate(zip(before, after)):
            same_structure(a, b, f"{path}[{index}]", problems)
    elif isinstance(before, str) and path != "$.keep me" and len(before.split()) >= 4:
        if not isinstance(after, str) or not is_subsequence(after, before):
            problems.append(f"{path}: not a subsequence")
    elif type(before) is not type(after) or before != after:
        problems.append(f"{path}: changed")


def check_json(options, data):
    documents = json_documents(data, options.documents, options.seed)
    print(f"\n## JSON: {len(documents)} documents\n")
    print("| rate | parse, same keys, protected values identical | tokens kept |")
    print("|---|---|---|")
    failures = 0
    records = [{"text": text, "format": "json", "json_rate": ["keep me=1"]} for text in documents]
    for rate in RATES:
        good = 0
        source = kept = 0
        for text, result in zip(documents, run(options.program, ["-M", "llmlingua", "--rate", str(rate)],
                                               records)):
            problems = []
            if "error" in result:
                problems.append(str(result["error"]))
            else:
                source += result["source_tokens"]
                kept += result["kept_tokens"]
                try:
                    same_structure(json.loads(text), json.loads(result["text"]), "$", problems)
                except json.JSONDecodeError as error:
                    problems.append(f"no JSON: {error}")
            good += not problems
            for problem in problems[:1]:
                print(f"    {problem}", file=sys.stderr)
        failures += len(documents) - good
        print(f"| {rate} | {good} of {len(documents)} | {100 * kept / source:.1f} % |", flush=True)
    return failures


def main():
    here = Path(__file__).resolve().parent.parent
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--program", default=str(here / "build/release/cli/pith"))
    parser.add_argument("--data", default=str(here.parent / "shared/data"))
    parser.add_argument("--count", type=int, default=200, help="prompts")
    parser.add_argument("--documents", type=int, default=500, help="JSON documents")
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    data = Path(options.data)
    if not data.is_dir():
        sys.exit(f"no data at {data}: give --data")
    sys.exit(1 if check_budget(options, data) + check_json(options, data) else 0)


if __name__ == "__main__":
    main()
