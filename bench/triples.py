#!/usr/bin/env python3
"""(instruction, input, output) triples from prompts that were made of templates.

    bench/triples.py --out DIR [--data ../shared/data] [--longest 2000] [--longest-output 600]

Reads data/eval/instruct-t0.jsonl.xz, rows of {template, prompt, completion}. What all prompts of a
template share is its instruction, what differs is the input:

1. The start and the end that at least 95 % of its prompts have in common, word for word.
2. In what is left, the longest run of two or more words that 95 % have in common; so again on its
   left and right.

A prompt that does not have all of its template's words is left out, and so is a template with fewer
than 30 prompts (which share more than the template) or three words of instruction, or with more than
one in ten prompts left out. The parts of an instruction are joined by a blank, or a line break if
there was one around what stood between them; the parts of an input by line breaks.

Writes DIR/triples.jsonl and DIR/unseen.jsonl, for what a model has not been trained on: whole
datasets (by the first word of the template's name), in the order of a hash of their names, until a
tenth of the templates is held out; datasets whose outputs are sentences and those whose outputs are
labels each on their own. An instruction that is in both files leaves unseen.jsonl.

Standard library only; the same files every time.
"""

import argparse
import collections
import hashlib
import itertools
import json
import lzma
import re
import sys
from pathlib import Path

SHARE = 0.95  # of a template's prompts that must have a word where the others have it
MIN_PROMPTS = 30
MIN_WORDS = 3  # of an instruction, of two letters or more
MIN_RUN = 2  # words of a part in the middle
HELD_OUT = 0.1  # of the templates
SENTENCE = 40  # characters that a dataset's outputs have in the mean if they are no labels
END = "<|endoftext|>"


# ---- what a template's prompts share -------------------------------------------------------------


def trimmed(words, at_start, at_end):
    """Without dashes, quotation marks and the like at the sides where input is: they belong to it."""
    first, last = 0, len(words)
    while at_start and first < last and not any(map(str.isalnum, words[first])):
        first += 1
    while at_end and first < last and not any(map(str.isalnum, words[last - 1])):
        last -= 1
    return words[first:last]


def common_start(rows, least):
    """Words with which at least `least` rows begin; one word of each row is left over."""
    start = []
    while True:
        at = len(start)
        rows = [row for row in rows if len(row) > at + 1]
        words = collections.Counter(row[at] for row in rows).most_common(1)
        if not words or words[0][1] < least:
            return trimmed(start, False, True)
        start.append(words[0][0])
        rows = [row for row in rows if row[at] == start[at]]


def position(words, part):
    """Where `part` begins in `words`, or -1."""
    size = len(part)
    return next((i for i in range(len(words) - size + 1) if words[i:i + size] == part), -1)


def common_runs(rows, least):
    """Parts that at least `least` rows have, in their order."""
    source = min(rows, key=len, default=[])
    texts = [f" {' '.join(row)} " for row in rows]
    best = []
    for start in range(len(source)):
        while start + len(best) < len(source):
            longer = source[start:start + len(best) + 1]
            if sum(f" {' '.join(longer)} " in text for text in texts) < least:
                break
            best = longer
    best = trimmed(best, True, True)
    if len(best) < MIN_RUN:
        return []
    found = [(row, position(row, best)) for row in rows]
    left = [row[:at] for row, at in found if at >= 0]
    right = [row[at + len(best):] for row, at in found if at >= 0]
    return [*common_runs(left, least), best, *common_runs(right, least)]


def constant_parts(prompts):
    """(start, parts in the middle, end) of a template, each a list of words."""
    rows = [prompt.split() for prompt in prompts]
    least = SHARE * len(rows)
    start = common_start(rows, least)
    rows = [row[len(start):] for row in rows if row[:len(start)] == start]
    end = common_start([row[::-1] for row in rows], least)[::-1]
    rows = [row[:len(row) - len(end)] for row in rows if row[len(row) - len(end):] == end]
    return start, common_runs(rows, least), end


# ---- one prompt -----------------------------------------------------------------------------------


def places(words, start, middle, end):
    """[first, last) of each part in the words of a prompt, or None if one is missing."""
    stop = len(words) - len(end)
    if stop < len(start) or words[:len(start)] != start or words[stop:] != end:
        return None
    found = [(0, len(start))]
    for part in middle:
        at = found[-1][1]
        where = position(words[at:stop], part)
        if where < 0:
            return None
        found.append((at + where, at + where + len(part)))
    return [*found, (stop, len(words))]


def split_prompt(prompt, start, middle, end):
    """(instruction, input), or None if the prompt lacks a part."""
    words = list(re.finditer(r"\S+", prompt))
    found = places([word.group() for word in words], start, middle, end)
    if found is None:
        return None

    def text(first, last):
        return prompt[words[first].start():words[last - 1].end()] if first < last else ""

    def joint(first, last):
        """What joins the parts around words [first, last): a line break if one is there."""
        before = prompt[words[first - 1].end():words[first].start()]
        after = prompt[words[last - 1].end():words[last].start()]
        return "\n" if "\n" in before + after else " "

    instruction = text(*found[0])
    for (_, last), (first, stop) in zip(found, found[1:]):
        if first < stop:
            instruction += (joint(last, first) if instruction else "") + text(first, stop)
    inputs = [text(last, first) for (_, last), (first, _) in zip(found, found[1:])]
    return instruction, "\n".join(filter(None, inputs))


def triples_of(rows):
    """The triples of one template, or the reason why there are none."""
    prompts = [row["prompt"] for row in rows]
    if len(prompts) < MIN_PROMPTS:
        return f"fewer than {MIN_PROMPTS} prompts"
    start, middle, end = constant_parts(prompts)
    words = re.findall(r"[^\W\d_]{2,}", " ".join(itertools.chain(start, *middle, end)))
    if len(words) < MIN_WORDS:
        return f"fewer than {MIN_WORDS} constant words"
    found = []
    for row in rows:
        pieces = split_prompt(row["prompt"], start, middle, end)
        output = row["completion"].removesuffix(END).strip()
        if pieces is not None and output:
            found.append({"template": row["template"], "instruction": pieces[0], "input": pieces[1],
                          "output": output})
    return found if len(found) >= 0.9 * len(rows) else "too many odd prompts"


# ---- files ----------------------------------------------------------------------------------------


def family(template):
    return template.split("_")[0]


def mean(triples, key):
    return sum(len(triple[key]) for triple in triples) / max(len(triples), 1)


def held_out(triples):
    """The datasets that are held out."""
    datasets = collections.defaultdict(list)
    for triple in triples:
        datasets[family(triple["template"])].append(triple)
    kinds = collections.defaultdict(list)
    for name in sorted(datasets, key=lambda name: hashlib.sha256(name.encode()).digest()):
        kinds[mean(datasets[name], "output") >= SENTENCE].append(name)
    chosen = set()
    for names in kinds.values():
        sizes = [len({triple["template"] for triple in datasets[name]}) for name in names]
        for i, name in enumerate(names):
            if sum(sizes[:i]) < HELD_OUT * sum(sizes):
                chosen.add(name)
    return chosen


def write(path, triples):
    with open(path, "w", encoding="utf-8") as file:
        for triple in triples:
            file.write(json.dumps(triple, ensure_ascii=False) + "\n")


def report(title, triples):
    print(f"| {title} | {len({t['template'] for t in triples})} | {len(triples)} | "
          f"{len({t['instruction'] for t in triples})} | "
          + " | ".join(f"{mean(triples, key):.0f}" for key in ("instruction", "input", "output")) + " |")


def main():
    here = Path(__file__).resolve().parent.parent
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default=str(here.parent / "shared/data"))
    parser.add_argument("--out", required=True, help="folder for the two files")
    parser.add_argument("--longest", type=int, default=2000, help="characters of a prompt")
    parser.add_argument("--longest-output", type=int, default=600, help="characters of an output")
    options = parser.parse_args()
    source = Path(options.data) / "eval/instruct-t0.jsonl.xz"
    if not source.is_file():
        sys.exit(f"{source}: no such file")

    templates = collections.defaultdict(list)
    with lzma.open(source, "rt", encoding="utf-8") as file:
        for line in file:
            row = json.loads(line)
            templates[row["template"]].append(row)

    reasons, triples = collections.Counter(), []
    for name in sorted(templates):
        found = triples_of(templates[name])
        if isinstance(found, str):
            reasons[found] += 1
        else:
            triples += found
    short = [t for t in triples if len(t["instruction"]) + len(t["input"]) <= options.longest
             and len(t["output"]) <= options.longest_output]
    hidden = held_out(short)
    seen = [t for t in short if family(t["template"]) not in hidden]
    known = {t["instruction"] for t in seen}
    unseen = [t for t in short if family(t["template"]) in hidden]
    fresh = [t for t in unseen if t["instruction"] not in known]

    out = Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    write(out / "triples.jsonl", seen)
    write(out / "unseen.jsonl", fresh)
    print("| file | templates | triples | instructions | characters of one | of an input | of an output |")
    print("|---|---|---|---|---|---|---|")
    report("triples.jsonl", seen)
    report("unseen.jsonl", fresh)
    print(f"\nTemplates: {len(templates)}; left out: "
          + (", ".join(f"{count} ({reason})" for reason, count in sorted(reasons.items())) or "none"))
    print(f"Too long: {len(triples) - len(short)} triples. Of the held-out datasets "
          f"({', '.join(sorted(hidden))}) {len(unseen) - len(fresh)} triples have an instruction that is "
          "also in the others.")


if __name__ == "__main__":
    main()
