"""Checks that a model and its texts can be scored, before the first text is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch

from archs.errors import UserError
from archs.families.encoder_ae import EncoderAE
from archs.families.family import Family
from experiments.data.tokenizer.tokenizer import Tokenizer
from experiments.evaluation.scoring.batching import Shape
from objectives.base import Objective

Pll = Literal["original", "word_l2r"]


def require_language_model(objective: Objective) -> None:
    """Raises UserError if the objective leaves the head that predicts tokens untrained."""
    if not objective.language_model:
        raise UserError(
            f"objective '{objective.name}' trained no head that predicts tokens, so this model can neither "
            "score nor write text; finetune it, or train with another objective"
        )


def check(family: Family, objective: Objective, tokenizer: Tokenizer, pll: Pll | None) -> None:
    """Raises UserError if family, objective, tokenizer and `pll` do not fit together, whatever the texts."""
    require_language_model(objective)
    if not isinstance(tokenizer, Tokenizer):
        raise UserError(
            f"a {type(tokenizer).__name__} is no tokenizer of experiments.data.tokenizer; save it and give "
            "load(its folder), as docs/huggingface.md shows"
        )
    if family.training:
        raise UserError("the family is in training mode, where dropout changes scores; call family.eval()")
    if objective.layout != family.layout:
        raise UserError(
            f"objective '{objective.name}' was made for the layout '{objective.layout}', {family.kind} has "
            f"'{family.layout}'; make it with layout=family.layout"
        )
    if tokenizer.size > family.config.vocabulary:
        raise UserError(
            f"the tokenizer has {tokenizer.size:,} ids and the family {family.config.vocabulary:,}; give the "
            "tokenizer that the family was trained with"
        )
    if pll is not None and not isinstance(family, EncoderAE):
        raise UserError(
            f"pll={pll} is a way to ask an encoder_ae; the scores of {family.kind} are of unit "
            f"'{family.unit}': leave it out"
        )


def encode(pairs: Sequence[tuple[str, str]], tokenizer: Tokenizer) -> list[tuple[list[int], list[int]]]:
    """The ids of each context and text.

    Raises UserError for a text without ids, or with an unknown character.
    """
    for number, pair in enumerate(pairs, start=1):
        try:
            "".join(pair).encode()
        except UnicodeEncodeError as error:
            raise UserError(f"text {number} is not Unicode ({error.reason}); mend its encoding") from error
    contexts, texts = (tokenizer.encode_batch([pair[side] for pair in pairs]) for side in (0, 1))
    for number, ids in enumerate(texts, start=1):
        if not ids:
            raise UserError(f"text {number} is empty: nothing to score; give at least one token")
        # A text's own "<s>" is tokenised as ordinary text, so a special id means an unknown character.
        if tokenizer.special[ids].any():
            raise UserError(
                f"text {number} holds characters that the tokenizer does not know, so it has no probability; "
                "leave them out, or use a byte-level tokenizer"
            )
    return list(zip(contexts, texts, strict=True))


def check_lengths(family: Family, objective: Objective, shapes: Sequence[Shape]) -> None:
    """Raises UserError for a shape (context tokens, text tokens) that is too long, before the first pass."""
    for context, text in dict.fromkeys(shapes):
        batch = objective.ask(torch.zeros(1, context).long(), torch.zeros(1, text).long())
        try:
            family.check_length(batch.positions)
            if batch.source_positions is not None:
                family.check_length(batch.source_positions)
        except UserError as error:
            raise UserError(f"text {shapes.index((context, text)) + 1}: {error}") from error
