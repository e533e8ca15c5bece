"""Errors of the library, as exceptions.

Every exception is an :class:`Error` and also the built-in exception that Python code would
expect: ``except ValueError`` catches a bad parameter, ``except OSError`` a file that is missing.
"""

from __future__ import annotations

from typing import Optional, Tuple, Type

__all__ = [
    "ArgumentError",
    "BudgetError",
    "EngineError",
    "Error",
    "FileError",
    "ModelError",
    "OutOfMemoryError",
    "TextError",
]


class Error(Exception):
    """Something that the library refused or could not do.

    status: number of the status, permanent (``pith.h``).
    name: its name, such as ``"E_BUDGET"``.
    message: one line that says what is wrong.
    offset: byte of the input (UTF-8) that the error points at, or None.
    """

    def __init__(self, status: int, name: str, message: str, offset: Optional[int] = None) -> None:
        super().__init__(message)
        self.status = status
        self.name = name
        self.message = message
        self.offset = offset

    def __str__(self) -> str:
        return self.message

    def __reduce__(self) -> Tuple[Type["Error"], Tuple[int, str, str, Optional[int]]]:
        return type(self), (self.status, self.name, self.message, self.offset)


class ArgumentError(Error, ValueError):
    """A parameter does not exist, is malformed, out of bounds, or excludes another."""


class BudgetError(ArgumentError):
    """Protected text alone exceeds the budget."""


class TextError(Error, ValueError):
    """A text is not valid UTF-8, or its tags, JSON or regular expression have a syntax error."""


class ModelError(Error, ValueError):
    """A model or tokenizer file is damaged, or needs a feature that the library does not have."""


class FileError(Error, OSError):
    """A file could not be read."""


class OutOfMemoryError(Error, MemoryError):
    """An allocation failed."""


class EngineError(Error, RuntimeError):
    """The engine failed, or the call was cancelled."""


CLASSES = {
    "E_ARGUMENT": ArgumentError,
    "E_RANGE": ArgumentError,
    "E_CONTEXT": ArgumentError,
    "E_BUDGET": BudgetError,
    "E_UTF8": TextError,
    "E_SYNTAX": TextError,
    "E_CORRUPT": ModelError,
    "E_MISMATCH": ModelError,
    "E_UNSUPPORTED": ModelError,
    "E_IO": FileError,
    "E_MEMORY": OutOfMemoryError,
    "E_CANCELLED": EngineError,
    "E_BACKEND": EngineError,
    "E_INTERNAL": EngineError,
}
