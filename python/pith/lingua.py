"""A drop-in for ``llmlingua.PromptCompressor``: the same calls, on this library.

Names, order and defaults of the parameters are those of the release (github.com/microsoft/LLMLingua,
commit e0e9d99). What is understood differently is in README.md.
"""

from __future__ import annotations

import os
import re
import warnings
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple, Union

from . import _native
from ._json import JsonPlan
from .native import Compressor, Model, Path, Tokenizer, Value

__all__ = ["PromptCompressor"]

_JOINER = "\n\n"
_TAG = re.compile(r"</?llmlingua[^>]*>", re.IGNORECASE)
_REPOSITORY = re.compile(r"[\w.-]+(/[\w.-]+)?")  # "gpt2", "NousResearch/Llama-2-7b-hf"
_MODES = ("pith", "official", "paper")
# rankers of the release that need another model or a service
_FOREIGN_RANKERS = (
    "sentbert",
    "openai",
    "bge",
    "bge_reranker",
    "bge_llmembedder",
    "jinza",
    "voyageai",
    "cohere",
)
# parameters that the library calls by the same names
_FOR_ALL = (
    "rank_method",
    "iterative_size",
    "use_sentence_level_filter",
    "use_token_level_filter",
    "keep_split",
    "keep_first_sentence",
    "keep_last_sentence",
    "keep_sentence_number",
    "high_priority_bonus",
    "token_budget_ratio",
    "condition_in_question",
    "condition_compare",
)
_FOR_RANKING = ("method", "rank_method", "condition_in_question", "condition_compare")
_FOR_CONTEXTS = _FOR_ALL + (
    "force_context_ids",
    "force_context_number",
    "use_context_level_filter",
    "context_budget",
    "reorder_context",
    "dynamic_context_compression_ratio",
    "add_instruction",
    "concate_question",
    "strict_preserve_uncompressed",
)
_RELEASE_MODEL = "NousResearch/Llama-2-7b-hf"  # the default of the release
_ROOM_AT_LEAST = 100  # tokens of contexts where instruction and question take the whole budget


def _argument_error(message: str) -> Exception:
    return _native.status_error(_native.E_ARGUMENT, message)


def _open_model(model_name: Union[str, Model, None]) -> Optional[Model]:
    """None: the built-in model, with a warning if another was asked for."""
    if model_name is None or isinstance(model_name, Model):
        return model_name
    if model_name is _RELEASE_MODEL:  # nobody asked for it
        return None
    is_repository = isinstance(model_name, str) and (
        _REPOSITORY.fullmatch(model_name)
        and not model_name.startswith(".")
        and not model_name.lower().endswith(".gguf")
    )
    if is_repository and not os.path.exists(model_name):
        warnings.warn(
            f'"{model_name}" is no file: the built-in model is used. Give model_name the path of '
            "a GGUF file for another one, or None for no warning.",
            stacklevel=3,
        )
        return None
    return Model(model_name)


def _check_mode(mode: str) -> str:
    if mode not in _MODES:
        raise _argument_error(f'mode: "{mode}" is not one of {"|".join(_MODES)}')
    return mode


def _named(arguments: Mapping[str, Any], names: Sequence[str]) -> Dict[str, Value]:
    """The arguments of a call that are parameters of the library, and the method they mean."""
    params = {name: arguments[name] for name in names}
    ranker = params["rank_method"]
    if ranker in _FOREIGN_RANKERS:
        raise NotImplementedError(
            f'rank_method: "{ranker}" needs another model or a service; available are llmlingua, '
            "longllmlingua, bm25, gzip, random and hybrid."
        )
    params["method"] = "longllmlingua" if ranker == "longllmlingua" else "llmlingua"
    if "dynamic_context_compression_ratio" in params:
        params["dynamic_context_compression_ratio"] = abs(
            params["dynamic_context_compression_ratio"]
        )
    return params


def _summary(prompt: Any, origin_tokens: int, compressed_tokens: int) -> Dict[str, Any]:
    """The release's dictionary."""
    saving = (origin_tokens - compressed_tokens) * 0.06 / 1000
    known = origin_tokens > 0 and compressed_tokens > 0
    ratio = origin_tokens / compressed_tokens if known else 1.0
    return {
        "compressed_prompt": prompt,
        "origin_tokens": origin_tokens,
        "compressed_tokens": compressed_tokens,
        "ratio": f"{ratio:.1f}x",
        "rate": f"{1 / ratio * 100:.1f}%",
        "saving": f", Saving ${saving:.1f} in GPT-4.",
    }


class PromptCompressor:
    """Takes the place of ``llmlingua.PromptCompressor``.

    model_name: path of a GGUF file, or a :class:`pith.Model`. The name of a Hugging Face repository,
        such as the default, stands for the built-in model and gives a warning; None does so
        silently.
    device_map, model_config, open_api_config, llmlingua2_config: accepted, without effect: the
        library runs on the processor and reads no other models.
    use_llmlingua2, use_slingua: not available.
    tokenizer: whose tokens targets and counts are in: a :class:`pith.Tokenizer`, the path of a
        tiktoken rank file or of a GGUF file, or None for the model's own.
    mode: "pith" (budgets are met, nothing is corrupted), "official" (decides as the release does)
        or "paper"; for all calls that give none.
    params: parameters of :class:`pith.Compressor` for all calls, such as ``{"threads": 1}``.
    """

    def __init__(
        self,
        model_name: Union[str, Model, None] = _RELEASE_MODEL,
        device_map: str = "cuda",
        model_config: Dict[str, Any] = {},  # noqa: B006 (the release's defaults; never changed)
        open_api_config: Dict[str, Any] = {},  # noqa: B006
        use_llmlingua2: bool = False,
        use_slingua: bool = False,
        llmlingua2_config: Dict[str, Any] = {},  # noqa: B006
        *,
        tokenizer: Union[Tokenizer, Path, None] = None,
        mode: str = "pith",
        params: Optional[Mapping[str, Value]] = None,
    ) -> None:
        if use_llmlingua2 or use_slingua:
            name = "use_llmlingua2" if use_llmlingua2 else "use_slingua"
            raise NotImplementedError(
                f"{name}: the token classifiers of LLMLingua-2 and SecurityLingua are not "
                "available; leave it out to compress with a language model."
            )
        self.model_name = model_name
        self.use_llmlingua2 = False
        self.use_slingua = False
        self.mode = _check_mode(mode)
        self._compressor = Compressor(
            _open_model(model_name), tokenizer=tokenizer, **dict(params or {})
        )

    # ---- the methods of the release -----------------------------------------------------------

    def __call__(self, *args: Any, **kwargs: Any) -> Dict[str, Any]:
        """compress_prompt()."""
        return self.compress_prompt(*args, **kwargs)

    def compress_prompt(
        self,
        context: Union[str, List[str]],
        instruction: str = "",
        question: str = "",
        rate: float = 0.5,
        target_token: float = -1,
        iterative_size: int = 200,
        force_context_ids: Optional[List[int]] = None,
        force_context_number: Optional[int] = None,
        use_sentence_level_filter: bool = False,
        use_context_level_filter: bool = True,
        use_token_level_filter: bool = True,
        keep_split: bool = False,
        keep_first_sentence: int = 0,
        keep_last_sentence: int = 0,
        keep_sentence_number: int = 0,
        high_priority_bonus: int = 100,
        context_budget: str = "+100",
        token_budget_ratio: float = 1.4,
        condition_in_question: str = "none",
        reorder_context: str = "original",
        dynamic_context_compression_ratio: float = 0.0,
        condition_compare: bool = False,
        add_instruction: bool = False,
        rank_method: str = "llmlingua",
        concate_question: bool = True,
        context_segs: Optional[List[str]] = None,
        context_segs_rate: Optional[List[float]] = None,
        context_segs_compress: Optional[List[bool]] = None,
        target_context: int = -1,
        context_level_rate: float = 1.0,
        context_level_target_token: int = -1,
        return_word_label: bool = False,
        word_sep: str = "\t\t|\t\t",
        label_sep: str = " ",
        token_to_word: str = "mean",
        force_tokens: List[str] = [],  # noqa: B006
        force_reserve_digit: bool = False,
        drop_consecutive: bool = False,
        chunk_end_tokens: List[str] = [".", "\n"],  # noqa: B006
        strict_preserve_uncompressed: bool = True,
        *,
        mode: Optional[str] = None,
    ) -> Dict[str, Any]:
        """Compresses the contexts of a prompt; instruction and question stay as they are.

        context: a text or a list of texts.
        rate: share of the tokens of the whole prompt to keep.
        target_token: tokens of the contexts to keep, instead of a rate; -1: by the rate.
        force_tokens, force_reserve_digit, drop_consecutive: in mode "pith" protected text,
            numbers, and one instead of two in a row; in the other modes without effect, as in
            the release.
        target_context, context_level_rate, context_level_target_token, return_word_label,
        word_sep, label_sep, token_to_word, chunk_end_tokens: concern LLMLingua-2; no effect.
        context_segs, context_segs_rate, context_segs_compress: internal to the release; use
            structured_compress_prompt().
        mode: instead of the constructor's.

        Returns a dict: compressed_prompt, origin_tokens, compressed_tokens, ratio ("2.0x"), rate
        ("50.0%"), saving.
        """
        if not (
            context_segs is None and context_segs_rate is None and context_segs_compress is None
        ):
            raise NotImplementedError(
                "context_segs, context_segs_rate and context_segs_compress are internal to the "
                "release; call structured_compress_prompt() with tagged contexts."
            )
        effective = _check_mode(mode or self.mode)
        params = _named(locals(), _FOR_CONTEXTS)
        params.update(structured=False)
        if effective == "pith":
            params.update(
                keep=[token for token in force_tokens if token],
                keep_digits=force_reserve_digit,
                drop_consecutive=drop_consecutive,
            )
        parts = (instruction or "", context, question or "")
        return self._compress(parts, rate, target_token, effective, params)

    def structured_compress_prompt(
        self,
        context: Union[str, List[str]],
        instruction: str = "",
        question: str = "",
        rate: float = 0.5,
        target_token: float = -1,
        iterative_size: int = 200,
        force_context_ids: Optional[List[int]] = None,
        force_context_number: Optional[int] = None,
        use_sentence_level_filter: bool = False,
        use_context_level_filter: bool = True,
        use_token_level_filter: bool = True,
        keep_split: bool = False,
        keep_first_sentence: int = 0,
        keep_last_sentence: int = 0,
        keep_sentence_number: int = 0,
        high_priority_bonus: int = 100,
        context_budget: str = "+100",
        token_budget_ratio: float = 1.4,
        condition_in_question: str = "none",
        reorder_context: str = "original",
        dynamic_context_compression_ratio: float = 0.0,
        condition_compare: bool = False,
        add_instruction: bool = False,
        rank_method: str = "llmlingua",
        concate_question: bool = True,
        strict_preserve_uncompressed: bool = True,
        *,
        mode: Optional[str] = None,
    ) -> Dict[str, Any]:
        """compress_prompt() for contexts with tags: ``<llmlingua, rate=0.4>text</llmlingua>`` is
        kept at that share, ``<llmlingua, compress=False>text</llmlingua>`` as it is. Text outside
        of tags stays too, unlike in the release."""
        params = _named(locals(), _FOR_CONTEXTS)
        params.update(structured=True)
        effective = _check_mode(mode or self.mode)
        parts = (instruction or "", context, question or "")
        return self._compress(parts, rate, target_token, effective, params)

    def compress_json(
        self,
        json_data: Dict[str, Any],
        json_config: Union[str, Dict[str, Any]],
        instruction: str = "",
        question: str = "",
        rate: float = 0.5,
        target_token: float = -1,
        iterative_size: int = 200,
        use_sentence_level_filter: bool = False,
        use_keyvalue_level_filter: bool = False,
        use_token_level_filter: bool = True,
        keep_split: bool = False,
        keep_first_sentence: int = 0,
        keep_last_sentence: int = 0,
        keep_sentence_number: int = 0,
        high_priority_bonus: int = 100,
        context_budget: str = "+100",
        token_budget_ratio: float = 1.4,
        condition_in_question: str = "none",
        reorder_keyvalue: str = "original",
        condition_compare: bool = False,
        rank_method: str = "llmlingua",
        *,
        mode: Optional[str] = None,
    ) -> Dict[str, Any]:
        """Compresses the strings in a JSON object; ``compressed_prompt`` is the object again, with
        the same keys, numbers, booleans and nulls.

        json_config: for every key ``rate``, ``compress``, ``value_type`` and ``pair_remove``; a
            dict, or the path of a JSON or YAML file.
        use_keyvalue_level_filter: pairs whose ``pair_remove`` is true are ranked, and the worst
            dropped until the rest meets ``context_budget``; reorder_keyvalue then applies too.
        mode: "pith" only, whatever the constructor's: what the other modes give is not JSON.

        Counts are those of the object written as JSON.
        """
        if _check_mode(mode or "pith") != "pith":
            raise _argument_error("compress_json: JSON stays valid in mode pith only")
        params = _named(locals(), _FOR_ALL)
        plan = JsonPlan(json_data, json_config)
        count = self._compressor.tokenizer.count
        origin = count(plan.text())
        if use_keyvalue_level_filter:
            target = origin * rate if target_token == -1 else target_token
            ranking = {name: params[name] for name in _FOR_RANKING}
            plan.drop_pairs(
                self._compressor, question, target, context_budget, reorder_keyvalue, ranking
            )
        if target_token != -1:
            params["target_tokens"] = max(int(target_token), 0)
        # a question that nothing reads would only count
        reads_question = condition_compare or (
            rank_method == "longllmlingua" or condition_in_question.endswith("_condition")
        )
        result = self._compressor.compress_prompt(
            "",
            [plan.text()],
            question if reads_question else "",
            rate=rate,
            mode="pith",
            format="json",
            structured=False,
            json_rate=plan.rates(),
            concate_question=False,
            use_context_level_filter=False,
            **params,
        )
        return _summary(plan.parse(result.text), origin, count(result.text))

    def recover(self, original_prompt: str, compressed_prompt: str, response: str) -> str:
        """Puts back into a response what its phrases were cut from (LongLLMLingua, section 4.4)."""
        return self._compressor.recover(original_prompt, compressed_prompt, response)

    # ---- budgets ------------------------------------------------------------------------------

    def _budget(
        self,
        parts: Tuple[str, List[str], str],
        rate: float,
        target_token: float,
        mode: str,
        concate_question: bool,
    ) -> Dict[str, Value]:
        """The release's target is one of the contexts alone; the library's, but for mode official,
        one of the whole prompt."""
        instruction, contexts, question = parts
        count = self._compressor.tokenizer.count
        around = [text for text in (instruction, question if concate_question else "") if text]
        alone = count(_JOINER.join(around))
        fixed = max(alone, sum(map(count, around)) + count(_JOINER) * len(around))
        if target_token != -1:
            room = int(target_token) if target_token >= 0 else _ROOM_AT_LEAST
            return {"rate": rate, "target_tokens": room if mode == "official" else fixed + room}
        if mode == "pith" and around:
            whole = _JOINER.join(text for text in (instruction, *contexts, question) if text)
            if rate * count(whole) < fixed:
                return {"rate": rate, "target_tokens": fixed + _ROOM_AT_LEAST}
        return {"rate": rate}

    def _compress(
        self,
        parts: Tuple[str, Union[str, Sequence[str]], str],
        rate: float,
        target_token: float,
        mode: str,
        params: Dict[str, Value],
    ) -> Dict[str, Any]:
        instruction, context, question = parts
        contexts = [context] if isinstance(context, str) else list(context or ())
        untagged = [_TAG.sub("", text) for text in contexts] if params["structured"] else contexts
        concate_question = bool(params["concate_question"])
        if mode == "pith" and params["rank_method"] in ("llmlingua", "longllmlingua"):
            params["rank_method"] = "auto"  # it named the method; mode pith ranks as it does
        params.update(
            self._budget(
                (instruction, untagged, question), rate, target_token, mode, concate_question
            ),
            mode=mode,
        )
        result = self._compressor.compress_prompt(
            instruction, contexts or [" "], question, **params
        )
        source = _JOINER.join([instruction, *untagged, question]).strip()
        return _summary(
            result.text, self._compressor.tokenizer.count(source), result.stats.kept_tokens
        )
