"""The shared library: finding it, its structures and functions, and who releases what.

Structures and prototypes are those of ``pith.h``, 0.5. ctypes lets go of the interpreter's lock
during every call.
"""

from __future__ import annotations

import ctypes
import os
from ctypes import POINTER, c_bool, c_char, c_char_p, c_double, c_float, c_int, c_size_t
from ctypes import c_uint32, c_uint64, c_void_p
from pathlib import Path
from typing import Any, Callable, Iterator, Optional

from .errors import CLASSES, Error, TextError

VERSION = "0.5"
SONAME = "libpith.so." + VERSION
NO_SIZE = ctypes.c_size_t(-1).value  # SIZE_MAX: "none" in several fields
E_ARGUMENT = 1
E_UTF8 = 20

# ---- structures -------------------------------------------------------------------------------


class ErrorInfo(ctypes.Structure):
    _fields_ = [("status", c_int), ("offset", c_size_t), ("message", c_char * 232)]


class ModelOptions(ctypes.Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("allocator", c_void_p),
        ("log", c_void_p),
        ("log_user", c_void_p),
        ("precision", c_int),
        ("lora", c_char_p),
    ]


class ModelInfo(ctypes.Structure):
    _fields_ = [
        ("name", c_char_p),
        ("architecture", c_char_p),
        ("parameters", c_uint64),
        ("weight_bytes", c_size_t),
        ("context", c_uint32),
        ("vocabulary", c_uint32),
        ("layers", c_uint32),
        ("width", c_uint32),
        ("precision", c_int),
    ]


class ParamInfo(ctypes.Structure):
    _fields_ = [
        ("name", c_char_p),
        ("letter", c_char),
        ("type", c_int),
        ("min", c_double),
        ("max", c_double),
        ("default_value", c_char_p),
        ("choices", c_char_p),
        ("unit", c_char_p),
        ("since", c_char_p),
        ("scope", c_char_p),
        ("help", c_char_p),
    ]


class Range(ctypes.Structure):
    _fields_ = [("start", c_size_t), ("end", c_size_t)]


class Unit(ctypes.Structure):
    _fields_ = [
        ("start", c_size_t),
        ("end", c_size_t),
        ("nats", c_float),
        ("tokens", c_uint32),
        ("kept", c_bool),
        ("is_protected", c_bool),
    ]


class Stats(ctypes.Structure):
    _fields_ = [
        ("source_tokens", c_size_t),
        ("kept_tokens", c_size_t),
        ("budget_tokens", c_size_t),
        ("scored_tokens", c_size_t),
        ("forward_tokens", c_size_t),
        ("units", c_size_t),
        ("units_kept", c_size_t),
        ("units_protected", c_size_t),
        ("score_seconds", c_double),
        ("select_seconds", c_double),
    ]


class Part(ctypes.Structure):
    _fields_ = [("role", c_int), ("text", c_char_p), ("size", c_size_t)]


class PartStats(ctypes.Structure):
    _fields_ = [
        ("role", c_int),
        ("start", c_size_t),
        ("end", c_size_t),
        ("source_tokens", c_size_t),
        ("kept_tokens", c_size_t),
        ("score", c_double),
        ("place", c_size_t),
    ]


class TokenScore(ctypes.Structure):
    _fields_ = [
        ("start", c_size_t),
        ("end", c_size_t),
        ("id", c_uint32),
        ("nats", c_float),
    ]


ROLES = ("context", "instruction", "question")
PRECISIONS = ("auto", "f32", "int8")
PARAM_TYPES = ("int", "float", "flag", "enum", "list", "text")

# ---- functions --------------------------------------------------------------------------------

WriteFn = ctypes.CFUNCTYPE(c_bool, c_void_p, c_void_p, c_size_t)

_E = POINTER(ErrorInfo)
_OUT = POINTER(c_void_p)
_COUNT = POINTER(c_size_t)

PROTOTYPES = {
    "pith_version": (c_char_p, []),
    "pith_status_name": (c_char_p, [c_int]),
    "pith_status_text": (c_char_p, [c_int]),
    "pith_model_open": (c_int, [c_char_p, POINTER(ModelOptions), _OUT, _E]),
    "pith_model_free": (None, [c_void_p]),
    "pith_model_describe": (ModelInfo, [c_void_p]),
    "pith_model_tokenizer": (c_void_p, [c_void_p]),
    "pith_ctx_new": (c_int, [c_void_p, _OUT, _E]),
    "pith_ctx_free": (None, [c_void_p]),
    "pith_ctx_set": (c_int, [c_void_p, c_char_p, c_char_p, _E]),
    "pith_ctx_reset": (None, [c_void_p]),
    "pith_ctx_set_counter": (None, [c_void_p, c_void_p]),
    "pith_param_count": (c_size_t, []),
    "pith_param_at": (POINTER(ParamInfo), [c_size_t]),
    "pith_compress": (c_int, [c_void_p, c_char_p, c_size_t, _OUT, _E]),
    "pith_compress_parts": (c_int, [c_void_p, POINTER(Part), c_size_t, _OUT, _E]),
    "pith_result_free": (None, [c_void_p]),
    "pith_result_text": (c_void_p, [c_void_p]),
    "pith_result_size": (c_size_t, [c_void_p]),
    "pith_result_source": (c_void_p, [c_void_p, _COUNT]),
    "pith_result_ranges": (c_void_p, [c_void_p, _COUNT]),
    "pith_result_units": (c_void_p, [c_void_p, _COUNT]),
    "pith_result_parts": (c_void_p, [c_void_p, _COUNT]),
    "pith_result_stats": (Stats, [c_void_p]),
    "pith_rank": (
        c_int,
        [c_void_p, POINTER(Part), c_size_t, POINTER(c_size_t), POINTER(c_double), _E],
    ),
    "pith_recover": (
        c_int,
        [c_void_p, POINTER(Part), POINTER(Part), POINTER(Part), WriteFn, c_void_p, _E],
    ),
    "pith_score": (c_int, [c_void_p, c_char_p, c_size_t, _OUT, _E]),
    "pith_scores_free": (None, [c_void_p]),
    "pith_scores_tokens": (c_void_p, [c_void_p, _COUNT]),
    "pith_tokenizer_open": (c_int, [c_char_p, c_void_p, _OUT, _E]),
    "pith_tokenizer_free": (None, [c_void_p]),
    "pith_tokenizer_count": (c_int, [c_void_p, c_char_p, c_size_t, _COUNT, _E]),
}

# ---- finding the library ----------------------------------------------------------------------


def _candidates() -> Iterator[str]:
    """Where the library may be, first choice first."""
    chosen = os.environ.get("PITH_LIBRARY")
    if chosen:
        yield chosen
        return
    package = Path(__file__).resolve().parent
    for file in sorted((package / "_lib").glob("libpith.so*")):
        yield str(file)
    yield SONAME  # the system's loader
    checkout = package.parent.parent
    if (checkout / "include" / "pith" / "pith.h").is_file():
        for preset in ("release", "dev"):
            for file in sorted((checkout / "build" / preset).glob("lib*/" + SONAME)):
                yield str(file)


def _load() -> ctypes.CDLL:
    failures = []
    for candidate in _candidates():
        try:
            return ctypes.CDLL(candidate)
        except OSError as error:
            failures.append(str(error))
    raise ImportError(
        "the shared library of pith could not be loaded; set PITH_LIBRARY to the path of "
        + SONAME
        + ". Tried: "
        + "; ".join(failures)
    )


def _declare(library: ctypes.CDLL) -> None:
    library.pith_version.restype = c_char_p
    version = library.pith_version().decode()
    if not version.startswith(VERSION + "."):
        raise ImportError(f"{library._name} is pith {version}, this package needs {VERSION}")
    for name, (restype, argtypes) in PROTOTYPES.items():
        try:
            function = getattr(library, name)
        except AttributeError:
            raise ImportError(f"{library._name} has no function {name}") from None
        function.restype = restype
        function.argtypes = argtypes


lib = _load()
_declare(lib)

# ---- calling ----------------------------------------------------------------------------------


def status_error(status: int, message: str, offset: Optional[int] = None) -> Error:
    """The exception for a status."""
    name = lib.pith_status_name(status).decode()
    return CLASSES.get(name, Error)(status, name, message, offset)


def call(function: Callable[..., int], *args: Any) -> None:
    """Calls a function whose last argument is a pith_error; a failure is raised."""
    info = ErrorInfo()
    status = function(*args, ctypes.byref(info))
    if status != 0:
        message = info.message.decode("utf-8", "replace") or lib.pith_status_text(status).decode()
        raise status_error(status, message, None if info.offset == NO_SIZE else info.offset)


def encode(text: str, what: str) -> bytes:
    """UTF-8 of a text; a lone surrogate, which has none, is refused with its place."""
    if not isinstance(text, str):
        raise TypeError(f"{what} must be str, not {type(text).__name__}")
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise TextError(
            E_UTF8,
            "E_UTF8",
            f"{what}: character {error.start} is the lone surrogate "
            f"U+{ord(text[error.start]):04X}, which UTF-8 does not have",
            len(text[: error.start].encode("utf-8")),
        ) from None


def encode_path(path: Any) -> bytes:
    """A path as the library takes it."""
    data = os.fsencode(path)
    if b"\0" in data:
        raise ValueError("a path holds a NUL character")
    return data


def copy_bytes(pointer: Optional[int], size: int) -> bytes:
    """Bytes that belong to the library."""
    return bytes((c_char * size).from_address(pointer)) if pointer and size > 0 else b""


def copy_array(kind: Any, getter: Callable[..., Optional[int]], owner: int) -> Any:
    """A list that belongs to a result, as an array of our own."""
    count = c_size_t()
    pointer = getter(owner, ctypes.byref(count))
    array = kind * count.value
    return array.from_buffer_copy(copy_bytes(pointer, ctypes.sizeof(array)))


class Handle:
    """An object of the library, released once: when nothing refers to the handle any more, and
    after everything that borrows from the object (contexts from their model).

    Borrowers hold a reference to what they borrow from. That alone does not order the releases:
    the garbage collector finalizes the objects of a cycle in any order.
    """

    __slots__ = ("pointer", "_free", "_borrowed", "_users")

    def __init__(self, pointer: int, free: Optional[Callable[[int], None]], *borrowed: Any) -> None:
        self.pointer = pointer
        self._free = free
        self._borrowed = borrowed
        # True stands for the handle itself. append() and pop() are atomic, so one of the users
        # that leave at the same time, and only one, is the last.
        self._users = [True]
        for handle in borrowed:
            handle._users.append(False)

    def __del__(self) -> None:
        self._leave()

    def _leave(self) -> None:
        if self._users.pop():
            if self._free is not None:
                self._free(self.pointer)
            for handle in self._borrowed:
                handle._leave()


def create(
    function: Callable[..., int], free: Callable[[int], None], *args: Any, borrowed: Any = ()
) -> Handle:
    """Calls a constructor: its out-pointer stands before the error."""
    out = c_void_p()
    call(function, *args, ctypes.byref(out))
    assert out.value is not None
    return Handle(out.value, free, *borrowed)
