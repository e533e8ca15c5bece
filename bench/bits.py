#!/usr/bin/env python3
"""Bits per byte of held-out text: language models against general-purpose compressors.

    bench/bits.py -m MODEL [-m MODEL ...] [--program PROGRAM] [--held-out-every N] FILE...

`pith train evaluate` reads the documents of FILE... that training leaves out (one in N, by a hash of
the document) and writes them to a folder. The compressors get the same documents, joined by a line
break each: the line that ends a document in the files is not in what they compress. Bytes are those of
the documents alone.

A model starts every document with nothing before it, and pays for saying where each ends. The
compressors have no model to start from, but see what the other documents of a source hold. They are
run on every source alone and on all of them together; the last two rows add up the first and show
the second. Each has its best setting:

    xz -9; zstd -19 --ultra; zstd --ultra -22 --long=27; 7z with PPMd, the best of several orders
    for every file

The size of a model is not counted; its column's name has it. The table goes to standard output, in
Markdown. A compressor that is not installed is left out, and said so on standard error.
"""

import argparse
import dataclasses
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

END = b"\n<|endoftext|>\n"
PPMD_ORDERS = (4, 6, 8, 12, 16)


class Problem(Exception):
    """Something to tell the user."""


@dataclasses.dataclass
class Column:
    title: str
    bits: dict  # source -> bits; "" is all of them in one piece
    total: float = 0.0  # of the sources one by one


# ---- compressors -----------------------------------------------------------------------------------


def piped(command):
    """The size of what `command` makes of a file on its standard input."""

    def size(path):
        with open(path, "rb") as file:
            done = subprocess.run(command, stdin=file, capture_output=True, check=False)
        if done.returncode != 0:
            raise Problem(f"{' '.join(command)}: {done.stderr.decode(errors='replace').strip()}")
        return len(done.stdout)

    return size


def ppmd(program):
    """The size of the smallest 7z archive."""

    def size(path):
        sizes = []
        for order in PPMD_ORDERS:
            archive = f"{path}.7z"
            command = [program, "a", "-bd", f"-m0=PPMd:o={order}:mem=256m", archive, path]
            done = subprocess.run(command, capture_output=True, check=False)
            if done.returncode != 0:
                raise Problem(f"{' '.join(command)}: {done.stdout.decode(errors='replace').strip()}")
            sizes.append(os.path.getsize(archive))
            os.remove(archive)
        return min(sizes)

    return size


def compressors():
    """Title and function for each that is installed."""
    wanted = [
        ("xz -9", "xz", lambda program: piped([program, "-9", "-c"])),
        ("zstd -19 --ultra", "zstd", lambda program: piped([program, "-q", "-19", "--ultra", "-c"])),
        ("zstd -22 --long=27", "zstd",
         lambda program: piped([program, "-q", "--ultra", "-22", "--long=27", "-c"])),
        ("7z PPMd", "7z", ppmd),
    ]
    for title, name, make in wanted:
        program = shutil.which(name) or (shutil.which("7zz") if name == "7z" else None)
        if program is None:
            print(f"bits.py: {name} is not installed: no column for it", file=sys.stderr)
        else:
            yield title, make(program)


def compress(title, size, sources, texts, folder):
    """The column of one compressor; texts: source -> bytes, in the order of sources."""
    column = Column(title, {})
    whole = b"\n".join(texts[source] for source in sources if texts[source])
    for source in [*sources, ""]:
        text = whole if source == "" else texts[source]
        path = os.path.join(folder, "text")
        Path(path).write_bytes(text)
        column.bits[source] = 8.0 * size(path) if text else 0.0
    column.total = sum(column.bits[source] for source in sources)
    return column


# ---- models ----------------------------------------------------------------------------------------


def title_of(model):
    """"pith-boot-int8.gguf (5.4 MB)"."""
    return f"{os.path.basename(model)} ({os.path.getsize(model) / 1e6:.1f} MB)"


def evaluate(options, model, folder):
    """What the program says of a model, and its column."""
    command = [options.program, "train", "evaluate", "-m", model, "--held-out-dir", folder,
               "--held-out-every", str(options.held_out_every)]
    for name, value in (("-t", options.threads), ("--evaluate-bytes", options.bytes)):
        if value is not None:
            command += [name, str(value)]
    for path in options.files:
        command += ["-d", path]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    if done.returncode != 0:
        raise Problem(f"{' '.join(command)}: exit code {done.returncode}")
    result = json.loads(done.stdout)
    bits_per_nat = 1.4426950408889634
    bits = {row["source"]: row["nats"] * bits_per_nat for row in result["sources"]}
    return result, Column(title_of(model), bits, sum(bits.values()))


def read_texts(result, folder):
    """source -> its documents, one line break after the other."""
    texts = {}
    for row in result["sources"]:
        data = Path(folder, row["source"] + ".txt").read_bytes()
        documents = data.split(END)[:-1]
        if len(documents) != row["documents"] or sum(map(len, documents)) != row["bytes"]:
            raise Problem(f"{row['source']}: the documents in {folder} are not those that were read")
        texts[row["source"]] = b"\n".join(documents)
    return texts


# ---- the table -------------------------------------------------------------------------------------


def per_byte(bits, size):
    return f"{bits / size:.3f}" if size else ""


def table(result, columns):
    """Lines of Markdown."""
    rows = result["sources"]
    total = sum(row["bytes"] for row in rows)
    documents = sum(row["documents"] for row in rows)
    yield "| source | documents | bytes | " + " | ".join(c.title for c in columns) + " |"
    yield "|---|---:|---:|" + "---:|" * len(columns)
    for row in rows:
        cells = [per_byte(c.bits[row["source"]], row["bytes"]) for c in columns]
        yield f"| {row['source']} | {row['documents']:,} | {row['bytes']:,} | {' | '.join(cells)} |"
    cells = [per_byte(c.total, total) for c in columns]
    yield f"| all | {documents:,} | {total:,} | {' | '.join(cells)} |"
    cells = [per_byte(c.bits[""], total) if "" in c.bits else "" for c in columns]
    yield f"| all, in one archive | | | {' | '.join(cells)} |"


def read_options():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", metavar="FILE", help="text with documents, as for pith train")
    parser.add_argument("-m", "--model", action="append", required=True, help="GGUF; may be repeated")
    parser.add_argument("--program", default="build/release/cli/pith")
    parser.add_argument("--held-out-every", type=int, default=100, metavar="N")
    parser.add_argument("--bytes", type=int, metavar="N", help="about so many of every file")
    parser.add_argument("-t", "--threads", type=int, metavar="N")
    return parser.parse_args()


def main():
    options = read_options()
    with tempfile.TemporaryDirectory(prefix="pith-bits-") as folder:
        held_out = os.path.join(folder, "held-out")
        models = []
        result = None
        for model in options.model:
            result, column = evaluate(options, model, held_out)
            models.append(column)
        sources = [row["source"] for row in result["sources"]]
        if len(set(sources)) != len(sources):
            raise Problem("two files have the same name")
        texts = read_texts(result, held_out)
        columns = [compress(title, size, sources, texts, folder) for title, size in compressors()]
        print("\n".join(table(result, columns + models)))


if __name__ == "__main__":
    try:
        main()
    except (Problem, OSError) as problem:
        sys.exit(f"bits.py: {problem}")
