"""Texts and checks that the tests have in common."""

import random
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILTIN_GGUF = ROOT / "models" / "builtin.gguf"
PROMPT = (ROOT / "examples" / "prompt.txt").read_text(encoding="utf-8")
SENTENCES = [
    "The committee met on Tuesday to discuss the budget for the coming year.",
    "A spokesperson for the city said that repairs of the bridge would take seven weeks.",
    "Nobody expected the results of the second experiment to contradict the first one.",
    "She keeps the original manuscript in a drawer of the old desk near the window.",
    "In the afternoon the wind turned north and the temperature fell by nine degrees.",
    "The library offers evening courses in Spanish, carpentry and basic bookkeeping.",
    "Most of the passengers had already left the train when the announcement was made.",
    "According to the report, the number of complaints has doubled since last spring.",
]
SCRIPTS = [
    "Die Straßenbahn fährt werktags alle zwölf Minuten über den Königsplatz zum Bahnhof.",
    "会议将于星期二上午十点开始，请提前准备好所有相关文件和预算报告。",
    "Совет директоров утвердил новый план развития, но сроки пока неизвестны.",
    "المكتبة تفتح أبوابها في التاسعة صباحا وتغلق في السادسة مساء كل يوم.",
    "รายงานฉบับนี้อธิบายผลการทดลองครั้งที่สองอย่างละเอียด",
    "De\u0301ja\u0300 vu: cafe\u0301, nai\u0308ve, A\u030angstro\u0308m.",
    "👩‍👩‍👧‍👦 arrived with 🇫🇷 flags and 👍🏽 signs 🎉.",
    "ゆっくりと日が沈み、町には静かな夜が訪れた。",
]


def sentences(count, seed=1, source=SENTENCES):
    """A text of so many sentences, in paragraphs."""
    generator = random.Random(seed)
    parts = []
    for i in range(count):
        parts.append(generator.choice(source))
        parts.append("\n\n" if i % 5 == 4 else " ")
    return "".join(parts).strip()


def unicode_text(count=60, seed=2):
    return sentences(count, seed, SCRIPTS + SENTENCES[:3])


def is_subsequence(short, long):
    rest = iter(long)
    return all(character in rest for character in short)


def write_byte_ranks(path):
    """A tiktoken file with the 256 bytes and nothing else: a token per byte."""
    import base64

    lines = [f"{base64.b64encode(bytes([b])).decode()} {b}" for b in range(256)]
    Path(path).write_text("\n".join(lines) + "\n", encoding="ascii")
