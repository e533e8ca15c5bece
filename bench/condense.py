#!/usr/bin/env python3
"""What a soft prompt of m rows keeps of a text: divergence, recall, answers, instructions.

    bench/condense.py --out DIR [--pith build/release/cli/pith] [--slots 1,4,16,64] [-- OPTIONS]

For every text of bench/texts and every m: `pith train cc` (OPTIONS go to it), the report in the
capsule's record, `pith probe`. A capsule that is in DIR already is not made again, so a run can be
stopped and goes on.

Prints the tables of docs/methods/cc.md and writes DIR/cc-kl.svg, the divergence left over m, and
DIR/cc-recall-TEXT.svg, the heat maps at every m. Standard library only.
"""

import argparse
import html
import json
import subprocess
import sys
from pathlib import Path

TEXTS = Path(__file__).parent / "texts"
NAMES = ["story", "incident", "method"]
COLOURS = {"story": "#2a78d6", "incident": "#c4511d", "method": "#3a8a3a"}
SCALE = 350  # pixels that stand for the whole divergence
STYLE = """<style>
text { font: 13px sans-serif; fill: #222 } .axis { stroke: #888 } .grid { stroke: #8884 }
.line { fill: none; stroke-width: 2 } .map { font: 13px monospace }
@media (prefers-color-scheme: dark) { text { fill: #ddd } }
</style>"""


def pith(arguments, program):
    result = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True)
    if result.returncode != 0:
        sys.exit(f"{program} {' '.join(map(str, arguments))}: {result.stderr.strip()}")
    return result.stdout


def capsule_of(name, slots, options):
    """Path of the capsule and the report of its training."""
    path = options.out / f"{name}-{slots}.gguf"
    if not path.exists():
        pith(["train", "cc", "--context", TEXTS / f"{name}.txt", "--slots", slots, "--output", path,
              *options.rest], options.pith)
    described = json.loads(pith(["inspect", "--json", path], options.pith))
    return path, described["capsule"]["record"]["report"]


# ---- pictures ------------------------------------------------------------------------------------


def draw_kl(slots, reports):
    """Share of the divergence that is left, for every text over m (doubling steps)."""
    width, height, left, bottom = 560, 300, 60, 250
    at_x = {m: left + (width - left - 90) * i / max(1, len(slots) - 1) for i, m in enumerate(slots)}
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}">', STYLE]
    for share in (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6):
        y = bottom - SCALE * share
        out.append(f'<line class="grid" x1="{left}" x2="{width - 90}" y1="{y:.1f}" y2="{y:.1f}"/>'
                   f'<text x="{left - 8}" y="{y + 4:.1f}" text-anchor="end">{share:.0%}</text>')
    for m, x in at_x.items():
        out.append(f'<text x="{x:.1f}" y="{bottom + 18}" text-anchor="middle">{m}</text>')
    out.append(f'<text x="{(left + width - 90) / 2}" y="{bottom + 38}" text-anchor="middle">'
               'rows of the soft prompt (m)</text>'
               f'<text x="{left}" y="18">held-out KL, as a share of that without the text</text>')
    ends = []
    for name in NAMES:
        points = [(at_x[m], bottom - SCALE * reports[name, m]["kl"] / reports[name, m]["kl_none"])
                  for m in slots]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        out.append(f'<polyline class="line" stroke="{COLOURS[name]}" points="{line}"/>')
        out += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{COLOURS[name]}"/>'
                for x, y in points]
        ends.append((points[-1][1] + 4, points[-1][0] + 8, name))
    below = 0.0
    for y, x, name in sorted(ends):  # names keep apart
        below = max(y, below + 14)
        out.append(f'<text x="{x:.1f}" y="{below:.1f}">{name}</text>')
    return "\n".join([*out, "</svg>\n"])


def colour(score):
    """Dark violet (0) over red to yellow (1); what has no score stays plain."""
    if score is None:
        return "none"
    stops = [(68, 30, 110), (190, 60, 90), (245, 215, 70)]
    i, t = (0, score * 2) if score < 0.5 else (1, score * 2 - 1)
    mixed = [round(a + (b - a) * t) for a, b in zip(stops[i], stops[i + 1])]
    return f"rgb({mixed[0]},{mixed[1]},{mixed[2]})"


def draw_recall(text, slots, recalls):
    """One paragraph for every m, set in a fixed pitch."""
    columns, step, size = 96, 7.83, 17
    out, y = [], 0
    for m in slots:
        y += 26
        out.append(f'<text x="0" y="{y}">m = {m}: recall {recalls[m]["recall"]:.2f}</text>')
        y += 8
        column = 0
        for token in recalls[m]["tokens"]:
            word = text[token["start"]:token["end"]].decode("utf-8", "replace").replace("\n", " ")
            if column + len(word) > columns:
                column = 0
                word = word.lstrip()
            if column == 0:
                y += size
            x = column * step
            fill = colour(token["score"])
            light = token["score"] is not None and token["score"] > 0.55
            ink = ' style="fill:#111"' if light else ' style="fill:#fff"' if fill != "none" else ""
            out.append(f'<rect x="{x:.1f}" y="{y - 13}" width="{len(word) * step:.1f}" '
                       f'height="{size}" fill="{fill}"/><text class="map" x="{x:.1f}" y="{y}" '
                       f'xml:space="preserve" textLength="{len(word) * step:.1f}"{ink}>'
                       f'{html.escape(word)}</text>')
            column += len(word)
        y += 6
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {columns * step:.0f} {y + 6}">'
    return "\n".join([head, STYLE, *out, "</svg>\n"])


# ---- tables --------------------------------------------------------------------------------------


def print_kl(slots, reports, recalls):
    print("| text | tokens | KL without the text | "
          + " | ".join(f"m = {m}" for m in slots) + " |")
    print("|---" * (len(slots) + 3) + "|")
    for name in NAMES:
        first = reports[name, slots[0]]
        cells = [f"{reports[name, m]['kl']:.3f} ({reports[name, m]['kl'] / first['kl_none']:.0%}), "
                 f"recall {recalls[name, m]['recall']:.2f}" for m in slots]
        print(f"| {name} | {len(recalls[name, slots[0]]['tokens'])} | {first['kl_none']:.3f} | "
              + " | ".join(cells) + " |")


def print_questions(slots, options):
    print("\n| answers | after the text | after nothing | "
          + " | ".join(f"m = {m}" for m in slots) + " |")
    print("|---" * (len(slots) + 3) + "|")
    rows = {}
    for m in slots:
        path, _ = capsule_of("story", m, options)
        table = json.loads(pith(["probe", path, TEXTS / "story.txt", "--json", "--questions",
                                 TEXTS / "story-questions.jsonl"], options.pith))
        for kind in table["kinds"]:
            rows.setdefault(kind["kind"], []).append(kind)
    for name, kinds in rows.items():
        cells = [f"{k['soft']:.2f} ({k['kept']:.0%})" for k in kinds]
        print(f"| {name} | {kinds[0]['hard']:.2f} | {kinds[0]['none']:.2f} | "
              + " | ".join(cells) + " |")


def print_instructions(slots, options):
    for m in slots:
        path, _ = capsule_of("two", m, options)
        print(f"\nm = {m}\n" + pith(["probe", path, TEXTS / "two.txt", "--instructions",
                                   TEXTS / "two-instructions.jsonl", "--samples", 32,
                                   "--max-tokens", 48], options.pith))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--pith", default="build/release/cli/pith")
    parser.add_argument("--slots", default="1,4,16,64")
    parser.add_argument("--two-slots", default="4,16", help="of the text with two instructions")
    parser.add_argument("rest", nargs="*", help="options of pith train cc, after --")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    slots = [int(m) for m in options.slots.split(",")]
    reports, recalls = {}, {}
    for m in slots:
        for name in NAMES:
            path, reports[name, m] = capsule_of(name, m, options)
            recalls[name, m] = json.loads(pith(["probe", path, TEXTS / f"{name}.txt", "--json"],
                                               options.pith))
    (options.out / "cc-kl.svg").write_text(draw_kl(slots, reports), encoding="utf-8")
    for name in NAMES:
        picture = draw_recall((TEXTS / f"{name}.txt").read_bytes(), slots,
                              {m: recalls[name, m] for m in slots})
        (options.out / f"cc-recall-{name}.svg").write_text(picture, encoding="utf-8")
    print_kl(slots, reports, recalls)
    print_questions(slots, options)
    print_instructions([int(m) for m in options.two_slots.split(",")], options)


if __name__ == "__main__":
    main()
