#!/usr/bin/env python3
"""Hard compression side by side: how often does the answer to a question survive?

Each question has contexts that hold its answer. A row (a method with its parameters, or a
baseline) shortens the contexts to a share of their tokens; the answer is retained if one of the
gold strings still stands in what is left of them. The question's own text does not count.

Rows are written METHOD[:key=value...]:

  head, tail          the first, the last tokens of the contexts
  lead                the first tokens of every context, as many from each
  words, sentences    at random, in their order
  bm25-documents      whole contexts, the best first, the last one cut
  bm25-sentences      whole sentences likewise, in their order
  anything else       a method of the program with its parameters, for example
                      selective:level=word:aggregate=sum
                      longllmlingua:mode=official:rank-method=bm25
                      llmlingua:question=no       (the record has no question)

Tokens are those of the program's model, counted by the program. Rows in mode pith get the budget
as target_tokens. Modes official and paper take a rate and miss it, so the rate of each record is
moved until what comes out is as long as asked (--calibrate 0 leaves it alone). Answers are
compared as sequences of words, case folded.
"""

import argparse
import bisect
import dataclasses
import hashlib
import json
import lzma
import math
import os
import random
import re
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

FILES = {"squad": "squad-xquad-en", "hotpot": "hotpotqa-distractor", "nq": "nq-open-oracle",
         "nq-near": "nq-open-oracle"}
DEFAULT_ROWS = ["head", "tail", "lead", "words", "sentences", "bm25-documents", "bm25-sentences",
                "selective", "selective:level=word", "selective:level=sentence",
                "selective:level=token", "selective:aggregate=sum",
                "selective:level=sentence:aggregate=sum"]
LINGUA = ("llmlingua", "longllmlingua")
SEPARATOR = "\n\n"
NQ_CONTEXTS = 10
REPAIRS = 6  # rounds in which a baseline's units are fitted to its budget


class Problem(Exception):
    """Something to tell the user."""


def fold(text):
    """Words between single spaces, one space at either end: what answers are looked for in."""
    return " " + " ".join(re.findall(r"\w+", text.casefold())) + " "


# ---- questions --------------------------------------------------------------------------------


@dataclasses.dataclass
class Item:
    question: str
    answers: list  # folded
    contexts: list
    support: list  # byte ranges of supporting sentences in the joined contexts

    @property
    def source(self):
        return SEPARATOR.join(self.contexts)


def read_records(folder, name):
    path = Path(folder) / f"{FILES[name]}.jsonl.xz"
    if not path.is_file():
        raise Problem(f"{path}: missing; --data says in which folder the sets are")
    with lzma.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def make_item(question, answers, contexts, support=()):
    """None unless the contexts, and not the question, say the answer."""
    folded = [fold(answer) for answer in answers]
    folded = [answer for answer in folded if answer.strip() and answer.strip() not in ("yes", "no")]
    asked = fold(question)
    said = [fold(context) for context in contexts]
    if any(answer in asked for answer in folded):
        return None
    if not any(answer in text for answer in folded for text in said):
        return None
    return Item(question, folded, contexts, list(support))


def squad_items(records, _seed):
    return [make_item(qa["question"], qa["answers"], [record["context"]])
            for record in records for qa in record["qas"]]


def hotpot_items(records, _seed):
    items = []
    for record in records:
        wanted = set(zip(record["supporting"]["title"], record["supporting"]["sent_id"]))
        contexts, support, offset = [], [], 0
        for entry in record["contexts"]:
            text = entry["title"] + "\n"
            for index, sentence in enumerate(entry["sentences"]):
                sentence = sentence if text[-1] != "\n" else sentence.lstrip()
                start = offset + len(text.encode())
                text += sentence
                if (entry["title"], index) in wanted:
                    support.append((start, offset + len(text.encode())))
            contexts.append(text)
            offset += len((text + SEPARATOR).encode())
        items.append(make_item(record["question"], [record["answer"]], contexts, support))
    return items


def nq_items(records, seed, near=False):
    """The gold passage among nine without the answer: any, or those most like the question."""
    passages = list(dict.fromkeys(f"{ctx['title']}\n{ctx['text']}"
                                  for record in records for ctx in record["ctxs"]))
    folded = {passage: fold(passage) for passage in passages}
    index = Bm25([words(passage) for passage in passages]) if near else None
    items = []
    for number, record in enumerate(records):
        chance = random.Random(f"{seed} {number}")
        gold = f"{record['ctxs'][0]['title']}\n{record['ctxs'][0]['text']}"
        answers = [fold(answer) for answer in record["answers"]]
        order = chance.sample(range(len(passages)), min(len(passages), 200))
        if near:
            scores = index.scores(words(record["question"]))
            order = sorted(range(len(passages)), key=lambda i: -scores[i])
        others = []
        for i in order:
            if passages[i] != gold and not any(a in folded[passages[i]] for a in answers):
                others.append(passages[i])
            if len(others) == NQ_CONTEXTS - 1:
                break
        chance.shuffle(others)
        others.insert(chance.randrange(NQ_CONTEXTS), gold)
        items.append(make_item(record["question"], record["answers"], others))
    return items


def load_items(name, options):
    build = {"squad": squad_items, "hotpot": hotpot_items, "nq": nq_items,
             "nq-near": lambda records, seed: nq_items(records, seed, near=True)}[name]
    items = [item for item in build(read_records(options.data, name), options.seed) if item]
    if len(items) > options.n:
        chosen = sorted(random.Random(options.seed).sample(range(len(items)), options.n))
        items = [items[i] for i in chosen]
    return items


# ---- the program ------------------------------------------------------------------------------


class Program:
    """Runs the program on records, one process for all of them; answers are kept in a folder."""

    def __init__(self, path, folder):
        self.path = path
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.counts = {"": 0}
        try:
            self.digest = hashlib.sha256(Path(path).read_bytes()).hexdigest()
        except OSError as error:
            raise Problem(f"{path}: {error.strerror}; --program says where it is") from None
        self.version = subprocess.run([path, "--version"], capture_output=True, text=True,
                                      check=False).stdout.strip()

    def run(self, arguments, records, reduce):
        """reduce(answer) for every record, in order. Equal records are sent once."""
        lines = list(dict.fromkeys(json.dumps(record, ensure_ascii=False) for record in records))
        answers = dict(zip(lines, self._run_lines(arguments, lines, reduce)))
        return [answers[json.dumps(record, ensure_ascii=False)] for record in records]

    def _run_lines(self, arguments, lines, reduce):
        key = hashlib.sha256("\0".join([self.digest, reduce.__name__, *arguments, *lines]).encode())
        path = self.folder / f"{key.hexdigest()}.json"
        if path.is_file():
            return json.loads(path.read_text(encoding="utf-8"))
        done = subprocess.run([self.path, *arguments, "--jsonl"], input="\n".join(lines) + "\n",
                              capture_output=True, text=True, encoding="utf-8", check=False)
        answers = [reduce(json.loads(line)) for line in done.stdout.splitlines()]
        if len(answers) != len(lines):
            raise Problem(f"{' '.join([self.path, *arguments])}: {len(answers)} answers to "
                          f"{len(lines)} records, exit code {done.returncode}\n"
                          f"{done.stderr[-500:]}")
        part = path.with_suffix(f".{os.getpid()}")
        part.write_text(json.dumps(answers), encoding="utf-8")
        part.replace(path)
        return answers

    def token_ends(self, texts):
        """The byte at which each token of each text ends."""
        return self.run(["score"], [{"text": text} for text in texts], ends_of)

    def count(self, texts):
        new = [text for text in dict.fromkeys(texts) if text not in self.counts]
        if new:
            self.counts.update(zip(new, self.run(["score"], [{"text": t} for t in new], count_of)))
        return [self.counts[text] for text in texts]


def ends_of(answer):
    return [token["end"] for token in checked(answer)["tokens"]]


def count_of(answer):
    return len(checked(answer)["tokens"])


def checked(answer):
    if "error" in answer:
        raise Problem(f"the program cannot count: {answer['error']['message']}")
    return answer


def outcome_of(answer):
    return {key: answer.get(key) for key in ("text", "ranges", "error")}


# ---- baselines --------------------------------------------------------------------------------


def words(text):
    return re.findall(r"\w+", text.casefold())


class Bm25:
    """Okapi BM25, k1 1.5, b 0.75, with the logarithm that is never negative."""

    def __init__(self, texts):
        self.counts = [Counter(text) for text in texts]
        self.lengths = [len(text) for text in texts]
        self.mean = sum(self.lengths) / max(1, len(texts)) or 1
        found = Counter(word for counts in self.counts for word in counts)
        self.idf = {word: math.log(1 + (len(texts) - n + 0.5) / (n + 0.5))
                    for word, n in found.items()}

    def scores(self, query):
        query = [word for word in dict.fromkeys(query) if word in self.idf]
        result = []
        for counts, length in zip(self.counts, self.lengths):
            norm = 1.5 * (0.25 + 0.75 * length / self.mean)
            result.append(sum(self.idf[word] * counts[word] * 2.5 / (counts[word] + norm)
                              for word in query if word in counts))
        return result


def byte_ranges(text, pattern):
    """Stretches of text that `pattern` matches, as byte ranges."""
    result, at, byte = [], 0, 0
    for match in re.finditer(pattern, text):
        byte += len(text[at:match.start()].encode())
        size = len(match.group().encode())
        result.append((byte, byte + size))
        byte, at = byte + size, match.end()
    return result


SENTENCE = r"""\S(?:[^\n]*?[.!?]["')\]]*(?=\s+["'(\[]?[A-Z0-9]|\s*$|\s*\n)|[^\n]*)"""


def context_ranges(item):
    result, offset = [], 0
    for context in item.contexts:
        size = len(context.encode())
        result.append((offset, offset + size))
        offset += size + len(SEPARATOR)
    return result


class Plan:
    """What a baseline does to one item: units in the order in which they are taken."""

    def __init__(self, row, item, number, seed, ends):
        self.source = item.source.encode()
        self.ends = ends
        chance = random.Random(f"{seed} {number} {row}")
        contexts = context_ranges(item)
        self.contexts = contexts
        self.row = row
        if row in ("words", "sentences"):
            self.units = byte_ranges(item.source, r"\S+" if row == "words" else SENTENCE)
            chance.shuffle(self.units)
        elif row in ("bm25-documents", "bm25-sentences"):
            units = contexts if row == "bm25-documents" else byte_ranges(item.source, SENTENCE)
            index = Bm25([words(self.source[start:end].decode()) for start, end in units])
            scores = index.scores(words(item.question))
            self.units = [units[i] for i in sorted(range(len(units)), key=lambda i: -scores[i])]
        else:
            self.units = [(0, len(self.source))]

    def tokens(self, unit):
        """How many end in the unit: a token begins with the space before its word."""
        return bisect.bisect_right(self.ends, unit[1]) - bisect.bisect_right(self.ends, unit[0])

    def cut(self, unit, budget):
        """The first `budget` tokens of a unit."""
        if budget >= self.tokens(unit):
            return unit
        first = bisect.bisect_right(self.ends, unit[0])
        return (unit[0], self.ends[first + budget - 1] if budget > 0 else unit[0])

    def ranges(self, budget):
        budget = max(0, min(budget, len(self.ends)))
        if self.row == "tail":
            cut = len(self.ends) - budget
            return [(self.ends[cut - 1] if cut > 0 else 0, len(self.source))]
        if self.row == "lead":
            return self.lead(budget)
        taken = []
        for unit in self.units:
            size = self.tokens(unit)
            if size <= budget or self.row != "words":
                taken.append(self.cut(unit, budget))
                budget -= min(size, budget)
            if budget == 0:
                break
        return sorted(unit for unit in taken if unit[0] < unit[1])

    def lead(self, budget):
        """Water filling: the same number of tokens from each context, short ones whole."""
        order = sorted(self.contexts, key=self.tokens)
        taken = []
        for i, unit in enumerate(order):
            share = budget // (len(order) - i)
            taken.append(self.cut(unit, share))
            budget -= min(share, self.tokens(unit))
        return sorted(unit for unit in taken if unit[0] < unit[1])

    def render(self, ranges):
        """Kept bytes; dropped ones leave a space, or a line break if one was among them."""
        out, last = b"", None
        for start, end in ranges:
            piece = self.source[start:end]
            if last is not None and start > last:
                glue = b"\n" if b"\n" in self.source[last:start] else b" "
                out, piece = out.rstrip() + glue, piece.lstrip()
            out, last = out + piece, end
        return out.decode(errors="ignore").strip()


def baseline(row, job):
    """Texts at most as long as their budgets, and their ranges."""
    plans = [Plan(row, item, i, job.seed, job.ends[i]) for i, item in enumerate(job.items)]
    target = list(job.budgets)
    best = [(-1, "", [])] * len(plans)
    for _ in range(REPAIRS):
        ranges = [plan.ranges(budget) for plan, budget in zip(plans, target)]
        texts = [plan.render(part) for plan, part in zip(plans, ranges)]
        for i, count in enumerate(job.program.count(texts)):
            if best[i][0] < count <= job.budgets[i]:
                best[i] = (count, texts[i], ranges[i])
            if count != job.budgets[i]:
                target[i] += job.budgets[i] - count
        if all(b[0] == budget for b, budget in zip(best, job.budgets)):
            break
    return [{"text": text, "ranges": ranges} for _, text, ranges in best]


BASELINES = ("head", "tail", "lead", "words", "sentences", "bm25-documents", "bm25-sentences")


# ---- methods of the program -------------------------------------------------------------------


def parse_row(row, extra):
    """Method, parameters and whether the records have the question."""
    method, *pairs = row.split(":")
    params = dict(extra) if method in LINGUA else {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals:
            raise Problem(f"row {row}: \"{pair}\" is not key=value")
        params[key] = value
    asks = params.pop("question", "yes" if method in LINGUA else "no") == "yes"
    return method, params, asks


def make_record(item, method, asks):
    if method not in LINGUA:
        return {"text": item.source}
    record = {"context": item.contexts}
    if asks:
        record["question"] = item.question
    return record


def without_question(outcome, item, asks):
    """What is left of the contexts: text and ranges of the joined contexts."""
    size = len(item.source.encode())
    text, ranges = outcome["text"] or "", outcome["ranges"] or []
    if asks and text.endswith(item.question):
        text = text[:len(text) - len(item.question)].rstrip("\n")
    elif asks:  # the question was shortened too
        source = (item.source + SEPARATOR + item.question).encode()
        text = b" ".join(source[a:b] for a, b in ranges if a < size).decode(errors="ignore")
    return {"text": text, "ranges": [(a, min(b, size)) for a, b in ranges if a < size],
            "error": outcome["error"]}


def run_method(job, arguments, records, asks):
    outcomes = job.program.run(["compress", *arguments], records, outcome_of)
    failed = [outcome["error"] for outcome in outcomes if outcome["error"]]
    if len(failed) == len(outcomes):
        raise Problem(failed[0]["message"])
    return [without_question(outcome, item, asks) for outcome, item in zip(outcomes, job.items)]


def calibrated(job, arguments, records, asks):
    """Rates of the records moved until what is left is as long as asked; the nearest is taken."""
    low, high = [0.0] * len(records), [1.0] * len(records)
    rate = [job.rate] * len(records)
    best = [None] * len(records)
    gap = [math.inf] * len(records)
    for _ in range(1 + job.calibrate):
        sent = [dict(record, rate=round(r, 4)) for record, r in zip(records, rate)]
        outcomes = run_method(job, arguments, sent, asks)
        counts = job.program.count([outcome["text"] for outcome in outcomes])
        for i, count in enumerate(counts):
            away = abs(count - job.budgets[i])
            if away < gap[i]:
                best[i], gap[i] = outcomes[i], away
            if count > job.budgets[i]:
                high[i] = min(high[i], rate[i])
            else:
                low[i] = max(low[i], rate[i])
            guess = rate[i] * job.budgets[i] / max(count, 1)
            rate[i] = guess if low[i] < guess < high[i] else (low[i] + high[i]) / 2
    return best


def method(row, job):
    name, params, asks = parse_row(row, job.extra)
    arguments = [f"--method={name}", *(f"--{key}={value}" for key, value in params.items())]
    records = [make_record(item, name, asks) for item in job.items]
    if params.get("mode", "pith") != "pith":
        return calibrated(job, arguments, records, asks)
    plus = [0] * len(records)
    if asks:
        whole = job.program.count([item.source + SEPARATOR + item.question for item in job.items])
        plus = [w - len(ends) for w, ends in zip(whole, job.ends)]
    records = [dict(record, target_tokens=budget + more)
               for record, budget, more in zip(records, job.budgets, plus)]
    return run_method(job, arguments, records, asks)


# ---- one row ----------------------------------------------------------------------------------


@dataclasses.dataclass
class Job:
    """What a row is given: items, their tokens, and how many of them may stay."""

    program: Program
    items: list
    ends: list
    rate: float
    seed: int
    calibrate: int
    extra: dict

    @property
    def budgets(self):
        return [int(self.rate * len(ends)) for ends in self.ends]


def covered(support, ranges):
    total = sum(end - start for start, end in support)
    kept = sum(max(0, min(b, end) - max(a, start)) for start, end in support for a, b in ranges)
    return kept / total


def measure(row, job):
    """The row's numbers; hits[i] says whether item i's answer is still there."""
    outcomes = baseline(row, job) if row in BASELINES else method(row, job)
    kept = job.program.count([outcome["text"] for outcome in outcomes])
    hits, support = [], []
    for item, outcome in zip(job.items, outcomes):
        text = fold(outcome["text"])
        hits.append(any(answer in text for answer in item.answers))
        if item.support:
            support.append(covered(item.support, outcome["ranges"]))
    low, high = wilson(sum(hits), len(hits))
    over = sum(k > budget for k, budget in zip(kept, job.budgets))
    return {"row": row, "rate": job.rate, "n": len(hits), "retained": sum(hits),
            "retention": sum(hits) / len(hits), "low": low, "high": high,
            "achieved": sum(kept) / sum(map(len, job.ends)), "over": over,
            "support": sum(support) / len(support) if support else None,
            "failed": sum(bool(outcome.get("error")) for outcome in outcomes),
            "hits": "".join("01"[hit] for hit in hits)}


def wilson(k, n, z=1.959964):
    """Score interval of a share, 95 %."""
    p = k / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)


def compare(result, reference):
    """Wins and losses against the reference, and the exact two-sided McNemar test."""
    pairs = Counter(zip(result["hits"], reference["hits"]))
    wins, losses = pairs["1", "0"], pairs["0", "1"]
    n = wins + losses
    tail = sum(math.comb(n, k) for k in range(min(wins, losses) + 1)) / 2 ** n
    result.update(wins=wins, losses=losses, p=min(1.0, 2 * tail))


# ---- output -----------------------------------------------------------------------------------


def table(name, results, reference, n):
    """Markdown. `p` is in bold where the difference to the reference is significant at 5 %."""
    has_support = any(result["support"] is not None for result in results)
    head = ["rate", "row", "achieved", "retention", "95 %", "+/-", "p"]
    head[4:4] = ["support"] if has_support else []
    lines = [f"### {name}, n = {n}", "", f"Wins, losses and p are against `{reference}`.", "",
             "| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for result in results:
        same = result["row"] == reference
        cells = [f"{result['rate']:g}", f"`{result['row']}`", f"{result['achieved']:.3f}",
                 f"{100 * result['retention']:.1f}",
                 f"{100 * result['low']:.1f}-{100 * result['high']:.1f}",
                 "" if same else f"{result['wins']}/{result['losses']}",
                 "" if same else p_text(result["p"])]
        if has_support:
            cells.insert(4, f"{100 * result['support']:.1f}")
        lines.append("| " + " | ".join(cells) + " |")
    failed = sum(result["failed"] for result in results)
    lines += ["", f"{failed} records failed; they count as lost."] if failed else []
    return "\n".join(lines) + "\n"


def p_text(p):
    text = f"{p:.3f}" if p >= 0.001 else "<0.001"
    return f"**{text}**" if p < 0.05 else text


def measure_set(name, options, program):
    items = load_items(name, options)
    if not items:
        raise Problem(f"{name}: no question can be used")
    ends = program.token_ends([item.source for item in items])
    extra = dict(pair.split("=", 1) for pair in options.set)
    results, missing = [], 0
    for rate in options.rates:
        job = Job(program, items, ends, rate, options.seed, options.calibrate, extra)
        at_rate = []
        for row in options.rows:
            try:
                at_rate.append(measure(row, job))
            except Problem as problem:
                print(f"{name}, {row}, rate {rate:g}: {problem}", file=sys.stderr)
                missing += 1
        reference = [result for result in at_rate if result["row"] == options.reference]
        for result in at_rate:
            compare(result, (reference or at_rate)[0])
        results += at_rate
    return items, results, missing


def parse_options():
    here = Path(__file__).resolve().parent.parent
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    split = lambda text: [part for part in text.split(",") if part]
    parser.add_argument("--program", default=str(here / "build" / "cli" / "pith"))
    parser.add_argument("--data", default=str(here.parent / "shared" / "data" / "eval"),
                        help="folder of the evaluation sets (default %(default)s)")
    parser.add_argument("--sets", type=split, default=["squad", "hotpot", "nq"],
                        help=f"of {', '.join(FILES)}; nq-near has distractors like the question")
    parser.add_argument("--rates", type=lambda text: [float(part) for part in split(text)],
                        default=[0.5, 0.3, 0.2, 0.1])
    parser.add_argument("--rows", type=split, default=DEFAULT_ROWS)
    parser.add_argument("--add", action="append", default=[], metavar="ROW", help="one more row")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE",
                        help="parameter of every llmlingua and longllmlingua row")
    parser.add_argument("--reference", default="selective",
                        help="row that others are compared with (default %(default)s)")
    parser.add_argument("--calibrate", type=int, default=4, metavar="ROUNDS",
                        help="more runs to meet the rate, modes official and paper (default 4)")
    parser.add_argument("--n", type=int, default=300, help="questions of a set, at most")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cache", default=str(Path(tempfile.gettempdir()) / "pith-retention"),
                        help="folder of answers kept for the next run (default %(default)s)")
    parser.add_argument("--json", metavar="FILE", help="write everything there as JSON too")
    options = parser.parse_args()
    options.rows = list(dict.fromkeys(options.rows + options.add))
    if options.reference not in options.rows:
        options.rows.insert(0, options.reference)
    unknown = [name for name in options.sets if name not in FILES]
    if unknown:
        parser.error(f"no set {', '.join(unknown)}; there are {', '.join(FILES)}")
    if any("=" not in pair for pair in options.set):
        parser.error("--set takes NAME=VALUE")
    if not all(0 < rate <= 1 for rate in options.rates) or options.n < 1:
        parser.error("rates are above 0 and at most 1, --n is at least 1")
    return options


def main():
    options = parse_options()
    dump = {"program": None, "seed": options.seed, "reference": options.reference, "sets": {}}
    failures = 0
    try:
        program = Program(options.program, options.cache)
        dump["program"] = program.version
        for name in options.sets:
            items, results, missing = measure_set(name, options, program)
            failures += missing
            dump["sets"][name] = {"questions": [item.question for item in items],
                                  "results": results}
            print(table(name, results, options.reference, len(items)), flush=True)
    except Problem as problem:
        print(f"retention: {problem}", file=sys.stderr)
        return 2
    if options.json:
        Path(options.json).write_text(json.dumps(dump, indent=1), encoding="utf-8")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
