"""compress_json(): a JSON object, its configuration, and which of its pairs stay."""

from __future__ import annotations

import json
import re
from typing import Any, Dict, Iterator, List, Mapping, Tuple, Union

from . import _native
from .native import Compressor, Value

_FIELDS = ("rate", "compress", "value_type", "pair_remove")
_TYPES = frozenset(
    "str string int integer float number bool boolean list List dict dictionary tuple".split()
)
_CHANGE = re.compile(r"([-+*/])(\d+(?:\.\d*)?|\.\d+)")


def _argument_error(message: str) -> Exception:
    return _native.status_error(_native.E_ARGUMENT, message)


def _read_config(path: str) -> Any:
    with open(path, encoding="utf-8") as file:
        text = file.read()
    try:
        return json.loads(text)
    except ValueError:
        pass
    try:
        import yaml  # type: ignore
    except ImportError:
        raise ImportError(
            f"json_config: {path} is not JSON, and reading YAML needs the package PyYAML"
        ) from None
    return yaml.safe_load(text)


def _dump(data: Any) -> str:
    return json.dumps(data, ensure_ascii=False, allow_nan=False)


def _change_budget(budget: float, context_budget: str) -> float:
    """ "+100", "*2": what the release evaluates."""
    match = _CHANGE.fullmatch(context_budget)
    if match is None or (match[1] == "/" and float(match[2]) == 0):
        raise _argument_error(
            f'context_budget: "{context_budget}" is not +, -, * or / and a number'
        )
    value = float(match[2])
    return {
        "+": budget + value,
        "-": budget - value,
        "*": budget * value,
        "/": budget / value if value else budget,
    }[match[1]]


def _members(value: Any, path: str) -> Iterator[Tuple[str, str]]:
    """(name, dotted path) of every member below `value`; arrays add nothing to a path."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            inner_path = f"{path}.{key}"
            yield str(key), inner_path
            yield from _members(inner, inner_path)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _members(inner, path)


class JsonPlan:
    """What of a JSON object may change, and how much."""

    def __init__(self, data: Mapping[str, Any], config: Union[str, Mapping[str, Any]]) -> None:
        if isinstance(config, str):
            config = _read_config(config)
        if not isinstance(config, Mapping):
            raise _argument_error("json_config must be a dict or the path of a JSON or YAML file")
        if not isinstance(data, Mapping):
            raise _argument_error("json_data must be a dict")
        if set(data) != set(config):
            raise _argument_error("the keys of json_data and json_config do not match")
        for key, entry in config.items():
            self._check(key, entry)
        self._data: Dict[str, Any] = dict(data)
        self._config = config

    @staticmethod
    def _check(key: str, entry: Any) -> None:
        if not isinstance(key, str) or key == "" or "\0" in key:  # what json-rate cannot name
            raise _argument_error(f"json_data: {key!r} cannot be a key")
        if not isinstance(entry, Mapping):
            raise _argument_error(f'json_config: "{key}" is no mapping of {", ".join(_FIELDS)}')
        missing = [field for field in _FIELDS if field not in entry]
        if missing:
            raise _argument_error(f'json_config: "{key}" lacks {missing[0]}')
        if not isinstance(entry["rate"], (int, float)):
            raise _argument_error(f'json_config: the rate of "{key}" is no number')
        if entry["value_type"] not in _TYPES:
            raise _argument_error(
                f'json_config: "{key}" has the invalid value_type {entry["value_type"]!r}'
            )

    def text(self) -> str:
        return _dump(self._data)

    def rates(self) -> Dict[str, float]:
        """Values of json-rate. A name counts at every depth, so members inside other pairs that
        are called like a pair get an entry of their own, by their path; the last that fits counts.
        A path that is also the name of a pair has the larger rate of both."""
        rates = {
            key: self._config[key]["rate"] if self._config[key]["compress"] else 1
            for key in self._data
        }
        entries = dict(rates)
        for key, value in self._data.items():
            for name, path in _members(value, key):
                if (name in rates or path in rates) and "\0" not in path:
                    entries[path] = max(rates[key], entries.pop(path, 0))
        return entries

    def drop_pairs(
        self,
        compressor: Compressor,
        question: str,
        target: float,
        context_budget: str,
        reorder: str,
        ranking: Mapping[str, Value],
    ) -> None:
        """Drops the worst pairs that may go until the others meet the budget, and orders the
        others."""
        keys = list(self._data)
        pairs = [_dump({key: self._data[key]})[1:-1] for key in keys]
        ranked = compressor.rank(pairs, question, format="text", structured=False, **ranking)
        order = [index for index, _ in ranked]
        tokens = [compressor.tokenizer.count(pair + ", ") for pair in pairs]
        budget = _change_budget(target, context_budget)
        total = sum(tokens)
        dropped = set()
        for index in reversed(order):
            if total > budget and self._config[keys[index]]["pair_remove"]:
                dropped.add(index)
                total -= tokens[index]
        kept = _reorder([index for index in order if index not in dropped], reorder)
        self._data = {keys[index]: self._data[keys[index]] for index in kept}

    def parse(self, text: str) -> Any:
        return json.loads(text)


def _reorder(ranked: List[int], how: str) -> List[int]:
    if how == "original":
        return sorted(ranked)
    if how == "two_stage":  # the best at both ends
        return ranked[0::2] + ranked[1::2][::-1]
    if how == "sort":
        return ranked
    raise _argument_error(f'reorder_keyvalue: "{how}" is not one of original|sort|two_stage')
