"""What comes back: texts with the places they come from, as plain Python values."""

from __future__ import annotations

import ctypes
from ctypes import c_size_t
from functools import cached_property
from typing import Any, Dict, Iterable, List, NamedTuple, Optional, Tuple

from . import _native
from ._native import lib

__all__ = ["Part", "Piece", "Range", "Result", "Stats", "TokenScore", "Unit"]


class Range(NamedTuple):
    """A stretch of a text. `start` and `end` are bytes of its UTF-8 and exact; the characters are
    those that hold these bytes, which makes a difference only where a character was cut."""

    start: int
    end: int
    char_start: int
    char_end: int


class Piece(NamedTuple):
    """A stretch of the source with its text."""

    start: int
    end: int
    char_start: int
    char_end: int
    text: str


class Unit(NamedTuple):
    """What was kept or dropped as a whole."""

    start: int
    end: int
    char_start: int
    char_end: int
    nats: float  # self-information; NaN where nothing precedes
    tokens: int  # of the model
    kept: bool
    is_protected: bool


class Part(NamedTuple):
    """A part of the prompt, in the order given."""

    role: str  # "context", "instruction" or "question"
    start: int
    end: int
    char_start: int
    char_end: int
    source_tokens: int
    kept_tokens: int
    score: float  # of the ranker, larger is better; NaN where nothing was ranked
    place: Optional[int]  # among the parts of the output; None: dropped as a whole


class Stats(NamedTuple):
    """Numbers about a compression."""

    source_tokens: int  # of the input without its tags, by the counting tokenizer
    kept_tokens: int  # of the output
    budget_tokens: Optional[int]  # None: the mode has no token budget
    scored_tokens: int  # of the model, in the input
    forward_tokens: int  # that the model ran over
    units: int
    units_kept: int
    units_protected: int
    score_seconds: float
    select_seconds: float


class TokenScore(NamedTuple):
    """A token of the model and its self-information."""

    start: int
    end: int
    char_start: int
    char_end: int
    id: int
    nats: float  # -ln p(token | what precedes it); NaN where nothing precedes
    text: str  # U+FFFD for the rest of a character that the token shares with others


_CONTINUATION = bytes(range(0x80, 0xC0))  # bytes of UTF-8 that begin no character


def with_characters(data: bytes, spans: Iterable[Any]) -> List[Range]:
    """Adds character offsets to spans of well-formed UTF-8, rounded outwards."""
    if data.isascii():
        return [Range(s.start, s.end, s.start, s.end) for s in spans]
    pairs = [(s.start, s.end) for s in spans]
    begun: Dict[int, int] = {}  # offset -> characters that begin before it
    count = last = 0
    for offset in sorted({offset for pair in pairs for offset in pair}):
        count += len(data[last:offset].translate(None, _CONTINUATION))
        last = offset
        begun[offset] = count
    size = len(data)
    return [
        Range(
            start,
            end,
            begun[start] - (start < size and 0x80 <= data[start] < 0xC0),
            begun[end],
        )
        for start, end in pairs
    ]


class Result:
    """A compressed text and where it comes from. Holds nothing of the library."""

    text: str  #: the compressed text
    data: bytes  #: its exact UTF-8
    source: str  #: the input; of a prompt, its parts with an empty line between them
    stats: Stats

    def __init__(self, pointer: int) -> None:
        """Copies everything out of a pith_result."""
        size = c_size_t()
        source = lib.pith_result_source(pointer, ctypes.byref(size))
        self._source = _native.copy_bytes(source, size.value)
        self.source = self._source.decode("utf-8")
        self.data = _native.copy_bytes(lib.pith_result_text(pointer), lib.pith_result_size(pointer))
        self.text = self.data.decode("utf-8", "replace")
        self._ranges = _native.copy_array(_native.Range, lib.pith_result_ranges, pointer)
        self._units = _native.copy_array(_native.Unit, lib.pith_result_units, pointer)
        self._parts = _native.copy_array(_native.PartStats, lib.pith_result_parts, pointer)
        numbers = lib.pith_result_stats(pointer)
        stats = {name: getattr(numbers, name) for name in Stats._fields}
        if numbers.budget_tokens == _native.NO_SIZE:
            stats["budget_tokens"] = None
        self.stats = Stats(**stats)

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        s = self.stats
        return f"<pith.Result: {s.kept_tokens} of {s.source_tokens} tokens>"

    @property
    def rate(self) -> float:
        """Share of the tokens that were kept; 1 for an empty source."""
        s = self.stats
        return s.kept_tokens / s.source_tokens if s.source_tokens else 1.0

    @cached_property
    def ranges(self) -> Tuple[Range, ...]:
        """What of the source the text is made of, in the order of the text. The bytes of the
        ranges are the text, but for joiners of mode "official"."""
        return tuple(with_characters(self._source, self._ranges))

    @cached_property
    def units(self) -> Tuple[Unit, ...]:
        """All units, kept or not, in the order of the text."""
        return tuple(
            Unit(*place, unit.nats, unit.tokens, unit.kept, unit.is_protected)
            for place, unit in zip(with_characters(self._source, self._units), self._units)
        )

    @cached_property
    def parts(self) -> Tuple[Part, ...]:
        """The parts of the prompt, in the order given."""
        return tuple(
            Part(
                _native.ROLES[part.role],
                *place,
                part.source_tokens,
                part.kept_tokens,
                part.score,
                None if part.place == _native.NO_SIZE else part.place,
            )
            for place, part in zip(with_characters(self._source, self._parts), self._parts)
        )

    def dropped(self) -> List[Piece]:
        """What of the source is not in the text, in the order of the source."""
        gaps = []
        at = 0
        for start, end in sorted((r.start, r.end) for r in self._ranges):
            if start > at:
                gaps.append(_native.Range(at, start))
            at = max(at, end)
        if at < len(self._source):
            gaps.append(_native.Range(at, len(self._source)))
        return [
            Piece(*place, self._source[place.start : place.end].decode("utf-8", "replace"))
            for place in with_characters(self._source, gaps)
        ]


def read_scores(data: bytes, pointer: int) -> List[TokenScore]:
    """Copies the tokens out of a pith_scores."""
    tokens = _native.copy_array(_native.TokenScore, lib.pith_scores_tokens, pointer)
    return [
        TokenScore(
            *place,
            token.id,
            token.nats,
            data[place.start : place.end].decode("utf-8", "replace"),
        )
        for place, token in zip(with_characters(data, tokens), tokens)
    ]
