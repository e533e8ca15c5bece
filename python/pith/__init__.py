"""pith: shorter prompts, same answers.

    import pith

    compressor = pith.Compressor(rate=0.5)
    print(compressor.compress(text).text)

:class:`Compressor` is the library as it is; :class:`PromptCompressor` takes the place of
``llmlingua.PromptCompressor``.
"""

from ._native import lib as _lib
from .errors import (
    ArgumentError,
    BudgetError,
    EngineError,
    Error,
    FileError,
    ModelError,
    OutOfMemoryError,
    TextError,
)
from .lingua import PromptCompressor
from .native import Compressor, Model, ModelInfo, Parameter, Tokenizer, parameters
from .results import Part, Piece, Range, Result, Stats, TokenScore, Unit

__version__ = "0.5.0"

__all__ = [
    "ArgumentError",
    "BudgetError",
    "Compressor",
    "EngineError",
    "Error",
    "FileError",
    "Model",
    "ModelError",
    "ModelInfo",
    "OutOfMemoryError",
    "Parameter",
    "Part",
    "Piece",
    "PromptCompressor",
    "Range",
    "Result",
    "Stats",
    "TextError",
    "TokenScore",
    "Tokenizer",
    "Unit",
    "library_version",
    "parameters",
]


def library_version() -> str:
    """Version of the shared library that runs."""
    version: bytes = _lib.pith_version()
    return version.decode()
