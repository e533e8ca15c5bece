#!/usr/bin/env python3
"""What compressors keep of a text: 500xCompressor, ICAE, SelfCP and their rivals, in one table.

    bench/soft.py prepare --out DIR [--data ../shared/data] [--pith PROGRAM]
    bench/soft.py measure --out DIR [--pith PROGRAM] [--slots 16,8,4,1] [--texts 200] COMPRESSOR...

`prepare` unpacks the training texts to DIR/NAME.txt, has `pith train evaluate` name the documents that
training leaves out, and cuts passages of about 96 tokens from all of them: DIR/learn.jsonl for training,
DIR/judge.jsonl from held-out documents alone. Every line is {context, question, answer}: the question is
five words of the passage, the answer the five that follow them there ("recall questions": a model of a
few million parameters can answer them by looking back, which it cannot with questions of its own
wording). DIR/squad.jsonl has questions of SQuAD, contexts cut to the sentences around the answer.

`measure` lets `pith train retention` judge them, with what `pith compress` leaves of every passage as
one more rival, and writes DIR/soft.json, the tables of docs/methods/500x.md to standard output, and
DIR/soft-retention.svg. Standard library only; the same files every time.
"""

import argparse
import json
import lzma
import random
import subprocess
import sys
from pathlib import Path

SOURCES = ["wiki_en", "textbooks_openstax", "books_gutenberg", "dialogue"]
HELD_OUT_EVERY = 100  # documents: as the built-in model was trained
PASSAGE = 430  # bytes: about 96 tokens of the built-in model
ASKED = 5  # words of a question, and of an answer
LEARN = 60000  # passages to learn from
JUDGE = 400  # and to be judged by
FORMAT = "\nQuote: {question} {answer}"  # as the compressors were trained
END = "<|endoftext|>"


def pith(arguments, program, text=None):
    result = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True,
                            input=text)
    if result.returncode != 0:
        sys.exit(f"{program} {' '.join(map(str, arguments))}: {result.stderr.strip()}")
    return result.stdout


# ---- data ----------------------------------------------------------------------------------------


def documents(path):
    return [d for d in path.read_text(encoding="utf-8").split(f"\n{END}\n") if d.strip()]


def passage(document, rng):
    """About so many bytes from a random place, from the start of a word to the end of one."""
    start = rng.randrange(max(1, len(document) - PASSAGE))
    words = document[start:start + PASSAGE].split(" ")[1:-1]
    text = " ".join(words).strip()
    return text if len(text) > PASSAGE // 2 else None


def recall_question(text, rng):
    words = text.split()
    if len(words) < 4 * ASKED or len(" ".join(words)) < 0.9 * len(text):
        return None  # a table or a list
    at = rng.randrange(len(words) - 2 * ASKED)
    return {"context": text, "question": " ".join(words[at:at + ASKED]),
            "answer": " ".join(words[at + ASKED:at + 2 * ASKED])}


def recall_questions(pools, count, rng):
    """From all pools alike; within one every byte is as likely as any other."""
    out = []
    weights = [[len(d) for d in pool] for pool in pools]
    while len(out) < count:
        number = len(out) % len(pools)
        text = passage(rng.choices(pools[number], weights[number])[0], rng)
        item = recall_question(text, rng) if text else None
        if item:
            out.append(item)
    return out


def write_lines(path, rows):
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def unpack(options):
    for name in SOURCES:
        target = options.out / f"{name}.txt"
        if not target.exists():
            with lzma.open(options.data / f"train/{name}.txt.xz") as packed:
                target.write_bytes(packed.read())


def hold_out(options):
    """Which documents training leaves out is decided by their hash; the program knows."""
    arguments = ["train", "evaluate", "-m", options.model, "--held-out-every", HELD_OUT_EVERY,
                 "--held-out-dir", options.out / "held-out",
                 "--output", options.out / "evaluate.json"]
    for name in SOURCES:
        arguments += ["-d", options.out / f"{name}.txt"]
    pith(arguments, options.pith)


def prepare(options):
    options.out.mkdir(parents=True, exist_ok=True)
    unpack(options)
    if not (options.out / "held-out").exists():
        hold_out(options)
    rng = random.Random(6)
    judge, learn = [], []
    for name in SOURCES:
        held_out = documents(options.out / f"held-out/{name}.txt")
        left_out = {d.strip() for d in held_out}
        judge.append(held_out)
        learn.append([d for d in documents(options.out / f"{name}.txt")
                      if d.strip() not in left_out])
    write_lines(options.out / "judge.jsonl", recall_questions(judge, JUDGE, rng))
    write_lines(options.out / "learn.jsonl", recall_questions(learn, LEARN, rng))


# ---- measuring -----------------------------------------------------------------------------------

WAYS = ["full", "none", "truncated", "last", "mean-kv", "mean-hidden", "mean-embeddings", "compressor",
        "shuffled"]
HARD = {"selective": ["--level", "token"], "llmlingua": []}
LENGTH = 96  # tokens; longer passages are cut


def read_lines(path, count):
    """So many lines, spread over the file."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [json.loads(lines[i * len(lines) // count]) for i in range(min(count, len(lines)))]


def shortened(rows, method, slots, options):
    """What a hard method leaves of every context in so many tokens."""
    records = "".join(json.dumps({"text": row["context"]}) + "\n" for row in rows)
    done = pith(["compress", "--jsonl", "--method", method, *HARD[method], "--model", options.model,
                 "--target-tokens", slots], options.pith, records)
    out = [json.loads(line) for line in done.splitlines()]
    assert len(out) == len(rows)
    return [result.get("text", "") for result in out]


def retention(options, questions, name, *arguments):
    path = options.out / f"retention-{name}.json"
    if not path.exists():
        pith(["train", "retention", "--model", options.model, "--template", FORMAT,
              "--questions", questions, "--held-out-every", 0, "--texts", options.texts,
              "--length", LENGTH, "--max-tokens", 24, "--output", path,
              *(x for k in options.slots for x in ("--slots", k)), *arguments], options.pith)
    return json.loads(path.read_text(encoding="utf-8"))["rows"]


def name_of(row):
    """What a row is called in the tables."""
    if row["way"] == "compressor":
        return row["method"]
    if row["way"] == "shuffled":
        return f"{row['method']}, of another text"
    return row["way"]


def measure(options):
    compressors = [x for c in options.compressors for x in ("--compressor", c)]
    judged = read_lines(options.out / "judge.jsonl", options.texts)
    for method in HARD:
        by_slots = [shortened(judged, method, k, options) for k in options.slots]
        for row, *shorter in zip(judged, *by_slots):
            row[method] = shorter
    rows = []
    for task in ["repeat", "answer"]:
        keys = ["context"] if task == "repeat" else ["context", "question", "answer"]
        plain = options.out / f"{task}.jsonl"
        write_lines(plain, [{key: row[key] for key in keys} for row in judged])
        rows += retention(options, plain, task, *compressors,
                          *(x for way in WAYS for x in ("--way", way)))
        for method in HARD:
            path = options.out / f"{task}-{method}.jsonl"
            write_lines(path, [{key: row[key] for key in keys} | {"shorter": row[method]}
                               for row in judged])
            for row in retention(options, path, f"{task}-{method}", "--way", "given"):
                rows.append(row | {"way": method})
    return rows


# ---- tables and pictures ---------------------------------------------------------------------------

COLUMNS = {"repeat": ["nll", "rouge_l", "bleu", "exact"], "answer": ["nll", "f1", "exact"]}
TITLES = {"nll": "NLL", "rouge_l": "ROUGE-L", "bleu": "BLEU", "exact": "exact", "f1": "F1"}
ONCE = ("full", "none")  # ways without a number of slots
STYLE = """<style>
text { font: 13px sans-serif; fill: #222 } .axis { stroke: #888 } .grid { stroke: #8884 }
.line { fill: none; stroke-width: 2 } .bar { stroke-width: 1 }
@media (prefers-color-scheme: dark) { text { fill: #ddd } }
</style>"""
COLOURS = {"500x": "#2a78d6", "icae": "#c4511d", "selfcp": "#3a8a3a", "mean-kv": "#8a5ac8",
           "truncated": "#888888", "selective": "#b8860b", "llmlingua": "#c43a7a"}


def interval(row, key):
    """Mean and the half of its 95 % interval; NLL in nats, all else in per cent."""
    if row[key] is None:
        return "-"
    scale, digits = (1, 2) if key == "nll" else (100, 1)
    error = row.get(f"{key}_error") or 0.0
    return f"{scale * row[key]:.{digits}f} ± {1.96 * scale * error:.{digits}f}"


def print_tables(rows, options):
    for task, columns in COLUMNS.items():
        print(f"\n{task}: " + ", ".join(TITLES[c] for c in columns))
        print("| | slots | ratio | stored bytes | " + " | ".join(TITLES[c] for c in columns) + " |")
        print("|---|---|---|---|" + "---|" * len(columns))
        for row in rows:
            if row["task"] != task or row["without"] is not None:
                continue
            slots = "" if row["way"] in ONCE else row["slots"]
            ratio = f"{row['source_tokens'] / row['slots']:.0f}x" if slots else ""
            print(f"| {name_of(row)} | {slots} | {ratio} | {row['stored_bytes']:.0f} | "
                  + " | ".join(interval(row, c) for c in columns) + " |")


def draw(rows, options):
    """NLL per token of the text itself over the ratio, with intervals."""
    shown = [r for r in rows if r["task"] == "repeat" and r["without"] is None]
    lines = {}
    for row in shown:
        if name_of(row) in COLOURS:
            lines.setdefault(name_of(row), []).append(row)
    flat = {r["way"]: r["nll"] for r in shown if r["way"] in ONCE}
    width, height, left, right, top, bottom = 640, 340, 60, 130, 30, 280
    values = [r["nll"] for points in lines.values() for r in points] + list(flat.values())
    low, high = int(min(values) * 2) / 2, int(max(values) * 2 + 1) / 2
    slots = sorted(options.slots, reverse=True)
    at_x = {k: left + (width - left - right) * (i + 0.5) / len(slots) for i, k in enumerate(slots)}

    def at_y(nll):
        return bottom - (bottom - top) * (min(nll, high) - low) / (high - low)

    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}">', STYLE]
    for i in range(int((high - low) * 2) + 1):
        y = at_y(low + i / 2)
        out.append(f'<line class="grid" x1="{left}" x2="{width - right}" y1="{y:.1f}" y2="{y:.1f}"/>'
                   f'<text x="{left - 8}" y="{y + 4:.1f}" text-anchor="end">{low + i / 2:.1f}</text>')
    for k, x in at_x.items():
        out.append(f'<text x="{x:.1f}" y="{bottom + 18}" text-anchor="middle">{LENGTH // k}x ({k})'
                   '</text>')
    out.append(f'<text x="{(left + width - right) / 2}" y="{bottom + 40}" text-anchor="middle">'
               f'ratio (slots for {LENGTH} tokens)</text><text x="{left}" y="16">'
               'nats per token of the text, given its memory (lower is better)</text>')
    names = []
    for way, nll in flat.items():
        y = at_y(nll)
        out.append(f'<line class="axis" stroke-dasharray="4 3" x1="{left}" x2="{width - right}" '
                   f'y1="{y:.1f}" y2="{y:.1f}"/>')
        names.append((y + 4, f"{way} text" if way == "full" else "no memory", "#888888"))
    for name, points in lines.items():
        colour = COLOURS[name]
        places = [(at_x[r["slots"]], at_y(r["nll"]), r) for r in points if r["slots"] in at_x]
        places.sort(key=lambda place: place[0])
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y, _ in places)
        out.append(f'<polyline class="line" stroke="{colour}" points="{line}"/>')
        for x, y, r in places:
            e = 1.96 * r["nll_error"]
            out.append(f'<line class="bar" stroke="{colour}" x1="{x:.1f}" x2="{x:.1f}" '
                       f'y1="{at_y(r["nll"] - e):.1f}" y2="{at_y(r["nll"] + e):.1f}"/>'
                       f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>')
        names.append((places[-1][1] + 4, name, colour))
    below = 0.0
    for y, name, colour in sorted(names):  # names keep apart
        below = max(y, below + 15)
        out.append(f'<circle cx="{width - right + 10}" cy="{below - 4:.1f}" r="4" fill="{colour}"/>'
                   f'<text x="{width - right + 20}" y="{below:.1f}">{name}</text>')
    return "\n".join([*out, "</svg>\n"])


def report(rows, options):
    (options.out / "soft.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    (options.out / "soft-retention.svg").write_text(draw(rows, options), encoding="utf-8")
    print_tables(rows, options)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["prepare", "measure"])
    parser.add_argument("compressors", nargs="*", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--pith", default="build/release/cli/pith")
    parser.add_argument("--model", default="models/builtin.gguf")
    parser.add_argument("--slots", type=lambda text: [int(k) for k in text.split(",")],
                        default=[16, 8, 4, 1])
    parser.add_argument("--texts", type=int, default=200)
    options = parser.parse_intermixed_args()
    if options.what == "prepare":
        prepare(options)
    else:
        report(measure(options), options)


if __name__ == "__main__":
    main()
