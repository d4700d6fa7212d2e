"""Hugging Face's options of `generate` as ours. Exported models have a copy of this file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor
from transformers import GenerationConfig

from archs.batch import PADDING
from archs.decoding.decoding import Decoding

SUPPORTED = {
    *("max_new_tokens", "max_length", "do_sample", "temperature", "top_k", "top_p", "num_beams"),
    *("length_penalty", "eos_token_id", "pad_token_id", "bos_token_id", "decoder_start_token_id"),
    *("use_cache", "transformers_version"),
}
PROMPT = {"input_ids", "attention_mask", "prefix_mask", "token_type_ids"}
SOURCE = {"input_ids", "attention_mask", "decoder_input_ids"}


def settings(
    given: GenerationConfig, kwargs: dict[str, Any], names: set[str]
) -> tuple[GenerationConfig, dict[str, Any]]:
    """Splits the keyword arguments of `generate`: options go into the config, inputs with these names do not.

    Raises ValueError for options that this decoder does not have.
    """
    inputs = {name: value for name, value in kwargs.items() if name in names and value is not None}
    options = {name: value for name, value in kwargs.items() if name not in names}
    check(options)
    merged = GenerationConfig(**{**given.to_dict(), **options})
    check(merged.to_diff_dict())
    return merged, inputs


def check(options: dict[str, Any]) -> None:
    given = [name for name, value in options.items() if value is not None and value is not False]
    unknown = sorted(name for name in given if name not in SUPPORTED and name[0] != "_")
    if unknown:
        takes = ", ".join(sorted(SUPPORTED - {"transformers_version"}))
        raise ValueError(f"generate does not take {', '.join(unknown)}; it takes {takes}")


def new_tokens(config: GenerationConfig, prompt: int) -> int:
    """The number of tokens to write: max_new_tokens, else max_length (20 if not set) minus the prompt's."""
    if config.max_new_tokens is not None:
        return config.max_new_tokens
    return max((config.max_length or 20) - prompt, 0)


def decoding(config: GenerationConfig) -> Decoding:
    ends = config.eos_token_id
    stop = () if ends is None else tuple(ends) if isinstance(ends, Sequence) else (ends,)
    length_penalty = 1.0 if config.length_penalty is None else config.length_penalty
    beams = config.num_beams or 1
    if not config.do_sample:
        return Decoding(beams=beams, length_penalty=length_penalty, stop=stop)
    temperature = 1.0 if config.temperature is None else config.temperature
    return Decoding(
        temperature=temperature, top_k=config.top_k or None, top_p=config.top_p, beams=beams, stop=stop
    )


def padded(written: Tensor, config: GenerationConfig) -> Tensor:
    """written (B,n) with the padding token in place of PADDING, cut to the longest row."""
    longest = int((written != PADDING).sum(dim=1).max()) if written.numel() else 0
    pad = config.pad_token_id
    if pad is None:
        ends = config.eos_token_id
        pad = 0 if ends is None else ends[0] if isinstance(ends, Sequence) else ends
    return written[:, :longest].masked_fill(written[:, :longest] == PADDING, pad)


def start_token(config: Any) -> int:
    start = getattr(config, "decoder_start_token_id", None)
    start = config.bos_token_id if start is None else start
    if start is None:
        raise ValueError("the config names no decoder_start_token_id and no bos_token_id; set one")
    return start
