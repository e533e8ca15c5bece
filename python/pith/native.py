"""Models, tokenizers and compressors."""

from __future__ import annotations

import ctypes
import os
import threading
from ctypes import c_double, c_size_t, c_void_p
from numbers import Integral, Real
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple, Union

from . import _native
from ._native import Handle, lib
from .results import Result, TokenScore, read_scores

__all__ = ["Compressor", "Model", "ModelInfo", "Parameter", "Tokenizer", "parameters"]

Path = Union[str, "os.PathLike[str]"]
Scalar = Union[str, int, float, bool]
#: The value of a parameter: for a list a sequence, or for ``json_rate`` a mapping; None: the default.
Value = Union[Scalar, Sequence[Scalar], Mapping[str, Scalar], None]

# ---- parameters -------------------------------------------------------------------------------


class Parameter(NamedTuple):
    """A parameter of the library, as its table describes it."""

    name: str  # as the program and the C API spell it: "target-tokens"
    type: str  # "int", "float", "flag", "enum", "list" or "text"
    min: float  # inclusive; numbers only
    max: float
    default: str  # as text; "" if unset
    choices: Tuple[str, ...]
    unit: str  # "tokens", "nats", "share", or ""
    since: str  # version that brought it
    scope: str  # "score": scoring and compressing; "compress": compressing only
    help: str

    @property
    def keyword(self) -> str:
        """As Python spells it: "target_tokens"."""
        return self.name.replace("-", "_")


def parameters() -> List[Parameter]:
    """All parameters that :class:`Compressor` takes."""
    return [_parameter(lib.pith_param_at(i).contents) for i in range(lib.pith_param_count())]


def _parameter(info: Any) -> Parameter:
    choices = info.choices.decode()
    return Parameter(
        info.name.decode(),
        _native.PARAM_TYPES[info.type],
        info.min,
        info.max,
        info.default_value.decode(),
        tuple(choices.split("|")) if choices else (),
        info.unit.decode(),
        info.since.decode(),
        info.scope.decode(),
        info.help.decode(),
    )


_LISTS = frozenset(p.name for p in parameters() if p.type == "list")


def _as_text(name: str, value: Any) -> bytes:
    """One value as the library reads it."""
    if isinstance(value, bool):
        text = "true" if value else "false"
    elif isinstance(value, str):
        text = value
    elif isinstance(value, Integral):
        text = str(int(value))
    elif isinstance(value, Real):
        text = repr(float(value))
    else:
        raise TypeError(f"{name}: {type(value).__name__} is no value of a parameter")
    if "\0" in text:
        raise _native.status_error(_native.E_ARGUMENT, f"{name}: the value holds a NUL character")
    return _native.encode(text, name)


def _normalise(params: Mapping[str, Value]) -> Dict[bytes, Optional[Tuple[bytes, ...]]]:
    """Names with dashes, values as lists of texts; None where the default was asked for."""
    out: Dict[bytes, Optional[Tuple[bytes, ...]]] = {}
    for keyword, value in params.items():
        name = keyword.replace("_", "-")
        if name in _LISTS and isinstance(value, Mapping):
            value = [f"{key}={_as_text(name, rate).decode()}" for key, rate in value.items()]
        if value is None:
            texts = None
        elif name in _LISTS and not isinstance(value, (str, bool, int, float)):
            texts = tuple(_as_text(name, item) for item in value)
        else:
            texts = (_as_text(name, value),)
        out[_as_text("name", name)] = texts
    return out


# ---- tokenizer ----------------------------------------------------------------------------------


class Tokenizer:
    """Counts tokens: the vocabulary of a GGUF file, or a tiktoken rank file whose name says which
    (r50k, p50k, cl100k, o200k)."""

    def __init__(self, path: Path) -> None:
        self._handle: Optional[Handle] = _native.create(
            lib.pith_tokenizer_open, lib.pith_tokenizer_free, _native.encode_path(path), None
        )

    @classmethod
    def _borrow(cls, handle: Handle) -> "Tokenizer":
        tokenizer = cls.__new__(cls)
        tokenizer._handle = handle
        return tokenizer

    def _open(self) -> Handle:
        handle = self._handle
        if handle is None:
            raise ValueError("the tokenizer is closed")
        return handle

    def count(self, text: str) -> int:
        """Tokens of `text`; special tokens are neither added nor recognised."""
        handle = self._open()
        data = _native.encode(text, "text")
        count = c_size_t()
        _native.call(lib.pith_tokenizer_count, handle.pointer, data, len(data), ctypes.byref(count))
        return count.value

    def close(self) -> None:
        """Lets go of the memory, as soon as no compressor uses it."""
        self._handle = None

    def __enter__(self) -> "Tokenizer":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


# ---- model ----------------------------------------------------------------------------------------


class ModelInfo(NamedTuple):
    """What a model is."""

    name: str
    architecture: str
    parameters: int
    weight_bytes: int
    context: int  # tokens it can see at once
    vocabulary: int
    layers: int
    width: int
    precision: str  # "f32" or "int8"


class Model:
    """A language model, from a GGUF file or, without a path, the one built into the library.
    Immutable; any number of compressors and threads can share it.

    precision: "int8", "f32" (the reference), or "auto".
    lora: path of a LoRA adapter (GGUF) to add to the weights.
    """

    def __init__(
        self,
        path: Optional[Path] = None,
        precision: str = "auto",
        lora: Optional[Path] = None,
    ) -> None:
        if precision not in _native.PRECISIONS:
            raise _native.status_error(
                _native.E_ARGUMENT,
                f'precision: "{precision}" is not one of {"|".join(_native.PRECISIONS)}',
            )
        options = _native.ModelOptions(
            struct_size=ctypes.sizeof(_native.ModelOptions),
            precision=_native.PRECISIONS.index(precision),
            lora=None if lora is None else _native.encode_path(lora),
        )
        self._handle: Optional[Handle] = _native.create(
            lib.pith_model_open,
            lib.pith_model_free,
            None if path is None else _native.encode_path(path),
            ctypes.byref(options),
        )

    def _open(self) -> Handle:
        handle = self._handle
        if handle is None:
            raise ValueError("the model is closed")
        return handle

    @property
    def info(self) -> ModelInfo:
        """Its size and shape."""
        handle = self._open()
        info = lib.pith_model_describe(handle.pointer)
        return ModelInfo(
            info.name.decode("utf-8", "replace"),
            info.architecture.decode(),
            info.parameters,
            info.weight_bytes,
            info.context,
            info.vocabulary,
            info.layers,
            info.width,
            _native.PRECISIONS[info.precision],
        )

    @property
    def tokenizer(self) -> Tokenizer:
        """Its tokenizer, to count with."""
        handle = self._open()
        return Tokenizer._borrow(Handle(lib.pith_model_tokenizer(handle.pointer), None, handle))

    def close(self) -> None:
        """Lets go of the memory, as soon as no compressor uses it."""
        self._handle = None

    def __enter__(self) -> "Model":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


_builtin: Optional[Model] = None
_builtin_lock = threading.Lock()


def builtin_model() -> Model:
    """The built-in model, opened once for all compressors that use it."""
    global _builtin
    with _builtin_lock:
        if _builtin is None:
            _builtin = Model()
        return _builtin


# ---- compressor -----------------------------------------------------------------------------------


class Compressor:
    """Compresses texts and prompts.

    model: a :class:`Model`, the path of a GGUF file, or None for the built-in model.
    tokenizer: whose tokens budgets are in: a :class:`Tokenizer`, a path, or None for the model's.
    params: parameters by name (:func:`parameters`), with ``_`` for ``-``, for all calls. Each
        method takes parameters too, for that call; there, None stands for the library's default.

    Several threads may share a compressor; its calls wait for each other. For calls at the same
    time, give each thread a compressor of its own and share the model.
    """

    def __init__(
        self,
        model: Union[Model, Path, None] = None,
        *,
        tokenizer: Union[Tokenizer, Path, None] = None,
        **params: Value,
    ) -> None:
        if model is None:
            model = builtin_model()
        elif not isinstance(model, Model):
            model = Model(model)
        if tokenizer is None:
            tokenizer = model.tokenizer
        elif not isinstance(tokenizer, Tokenizer):
            tokenizer = Tokenizer(tokenizer)
        # handles of our own: closing the model or the tokenizer leaves this compressor whole
        lender, counter = model._open(), tokenizer._open()
        self._counter = counter
        self._lock = threading.Lock()
        self._handle: Optional[Handle] = _native.create(
            lib.pith_ctx_new, lib.pith_ctx_free, lender.pointer, borrowed=(lender, counter)
        )
        lib.pith_ctx_set_counter(self._handle.pointer, counter.pointer)
        self._params = _normalise(params)
        self._applied: Optional[Dict[bytes, Tuple[bytes, ...]]] = {}
        self._apply({})

    def _open(self) -> Handle:
        handle = self._handle
        if handle is None:
            raise ValueError("the compressor is closed")
        return handle

    def _apply(self, params: Mapping[str, Value]) -> None:
        """Makes the context's parameters those of the compressor and the call."""
        merged = {**self._params, **_normalise(params)}
        wanted = {name: texts for name, texts in merged.items() if texts is not None}
        if wanted == self._applied:
            return
        pointer = self._open().pointer
        self._applied = None
        lib.pith_ctx_reset(pointer)
        for name, texts in wanted.items():
            for text in texts:
                _native.call(lib.pith_ctx_set, pointer, name, text)
        self._applied = wanted

    def _result(self, function: Any, *args: Any) -> Result:
        """Runs a call of the library that gives a pith_result."""
        out = c_void_p()
        _native.call(function, *args, ctypes.byref(out))
        assert out.value is not None
        try:
            return Result(out.value)
        finally:
            lib.pith_result_free(out.value)

    @property
    def tokenizer(self) -> Tokenizer:
        """Whose tokens budgets are in."""
        return Tokenizer._borrow(self._counter)

    def compress(self, text: str, **params: Value) -> Result:
        """Compresses a text."""
        data = _native.encode(text, "text")
        with self._lock:
            pointer = self._open().pointer
            self._apply(params)
            return self._result(lib.pith_compress, pointer, data, len(data))

    def compress_prompt(
        self,
        instruction: str = "",
        contexts: Sequence[str] = (),
        question: str = "",
        **params: Value,
    ) -> Result:
        """Compresses a prompt: contexts are ranked, dropped whole or shortened, for the question
        if the method (parameter ``method``) can; instruction and question stay as they are,
        except in mode "paper". Empty instructions and questions count as absent."""
        parts = _parts(instruction, contexts, question)
        with self._lock:
            pointer = self._open().pointer
            self._apply(params)
            return self._result(lib.pith_compress_parts, pointer, parts, len(parts))

    def score(self, text: str, **params: Value) -> List[TokenScore]:
        """Self-information of every token of the model in `text`."""
        data = _native.encode(text, "text")
        with self._lock:
            pointer = self._open().pointer
            self._apply(params)
            out = c_void_p()
            _native.call(lib.pith_score, pointer, data, len(data), ctypes.byref(out))
            assert out.value is not None
            try:
                return read_scores(data, out.value)
            finally:
                lib.pith_scores_free(out.value)

    def rank(
        self, contexts: Sequence[str], question: str = "", **params: Value
    ) -> List[Tuple[int, float]]:
        """Ranks contexts, for the question if there is one, by the parameter ``rank_method``:
        (index, score) of each, best first; a larger score is better."""
        parts = _parts("", contexts, question)
        count = len(parts) - bool(question)
        order = (c_size_t * count)()
        scores = (c_double * count)()
        if count == 0:
            return []
        with self._lock:
            pointer = self._open().pointer
            self._apply(params)
            _native.call(lib.pith_rank, pointer, parts, len(parts), order, scores)
        return list(zip(order, scores))

    def recover(self, original: str, compressed: str, response: str) -> str:
        """Subsequence recovery of LongLLMLingua: phrases of a model's response that also stand in
        the compressed prompt are replaced by what they were cut from in the original."""
        texts = [
            _part("context", text, what)
            for text, what in (
                (original, "original"),
                (compressed, "compressed"),
                (response, "response"),
            )
        ]
        pieces: List[bytes] = []

        def write(_: Any, data: Optional[int], size: int) -> bool:
            try:
                pieces.append(_native.copy_bytes(data, size))
            except MemoryError:
                return False
            return True

        with self._lock:
            self._open()
            callback = _native.WriteFn(write)
            _native.call(lib.pith_recover, self._counter.pointer, *texts, callback, None)
        return b"".join(pieces).decode("utf-8", "replace")

    def close(self) -> None:
        """Lets go of the memory, after the call that runs now, if one does."""
        with self._lock:
            self._handle = None

    def __enter__(self) -> "Compressor":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _part(role: str, text: str, what: str) -> Any:
    data = _native.encode(text, what)
    return _native.Part(_native.ROLES.index(role), data, len(data))


def _parts(instruction: str, contexts: Sequence[str], question: str) -> Any:
    """The parts of a prompt; contexts come first where nothing else can."""
    if isinstance(contexts, str):
        raise TypeError("contexts must be a sequence of str, not one str")
    texts = [_part("instruction", instruction, "instruction")] if instruction else []
    texts += [_part("context", text, f"contexts[{i}]") for i, text in enumerate(contexts)]
    texts += [_part("question", question, "question")] if question else []
    return (_native.Part * len(texts))(*texts)
