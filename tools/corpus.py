#!/usr/bin/env python3
"""Unpacks the training text of the built-in model: data/train as it is, and the prompts with their
answers of data/eval/instruct-t0 as one more source, instructions.txt. pairs.jsonl has the same prompts
and answers for `pith train align`, without those that `pith train base` holds out.

    tools/corpus.py DATA_FOLDER OUTPUT_FOLDER

Instructions that quote the passages of our evaluation sets are left out.
"""
import json
import lzma
import pathlib
import shutil
import sys

SEPARATOR = "<|endoftext|>"
LEFT_OUT = ("squad", "adversarial_qa", "hotpot", "natural_questions", "kilt", "multi_news")


def unpack(packed, target):
    part = target.with_suffix(".part")
    with lzma.open(packed, "rb") as source, open(part, "wb") as out:
        shutil.copyfileobj(source, out, 1 << 20)
    part.rename(target)  # a file that is there is whole


def is_held_out(text):
    """As lib/train/source.c decides with --held-out-every 100."""
    mask = (1 << 64) - 1
    h = 0xCBF29CE484222325
    for byte in text.encode():
        h = ((h ^ byte) * 0x100000001B3) & mask
    h = ((h ^ (h >> 30)) * 0xBF58476D1CE4E5B9) & mask
    h = ((h ^ (h >> 27)) * 0x94D049BB133111EB) & mask
    return (h ^ (h >> 31)) % 100 == 0


def instructions(packed, target, pairs):
    kept = 0
    with lzma.open(packed, "rt", encoding="utf-8") as lines, open(
        target, "w", encoding="utf-8", newline="\n"
    ) as out, open(pairs, "w", encoding="utf-8", newline="\n") as tuning:
        for line in lines:
            pair = json.loads(line)
            if any(name in pair["template"] for name in LEFT_OUT):
                continue
            prompt = pair["prompt"].rstrip()
            answer = pair["completion"].removesuffix(SEPARATOR).strip()
            text = f"{prompt}\n{answer}"
            if any(part.strip() == SEPARATOR for part in text.splitlines()):
                continue
            out.write(f"{text}\n{SEPARATOR}\n")
            kept += 1
            if not is_held_out(text):
                tuning.write(json.dumps({"prompt": prompt, "completion": answer}) + "\n")
    return kept


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    data, target = map(pathlib.Path, sys.argv[1:])
    target.mkdir(parents=True, exist_ok=True)
    for packed in sorted(data.glob("train/*.txt.xz")):
        if not (target / packed.stem).exists():
            unpack(packed, target / packed.stem)
    kept = instructions(
        data / "eval" / "instruct-t0.jsonl.xz",
        target / "instructions.txt",
        target / "pairs.jsonl",
    )
    print(f"{kept} prompts with answers in {target}/instructions.txt")


if __name__ == "__main__":
    main()
