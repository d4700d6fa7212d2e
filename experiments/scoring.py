"""How likely a text is to a trained family: nats with their unit, one call for all families.

What is read before the text, and not scored itself:

    causal                     bos, the context
    prefix                     bos and the context, in both directions; of an encoder-decoder the context
                               goes to the encoder, bos to the decoder
    permutation                the context; a query row asks each token, from left to right
    span, with sentinels       the context and <extra_id_0> (to the encoder, or in front), bos, <extra_id_0>
    mlm, sop, span in place    the context; beside it all of the text that is not hidden; no cls, no sep

No end is scored: nats of unit "nll" are -log of the probability that a text *begins* with these tokens, and
over all texts of as many tokens the probabilities sum to one.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from rich.console import Console
from rich.progress import Progress
from torch import Tensor

from archs.encoder_ae import EncoderAE
from archs.errors import UserError
from archs.family import Family, Unit
from experiments.data.tokenizer import Tokenizer
from experiments.run import Run, restore
from objectives.base import Objective
from objectives.select_parts import number_words, traits

Text = str | tuple[str, str]  # a text, or (context, text)
Pll = Literal["original", "word_l2r"]

ORDER: dict[Unit, str] = {
    "nll": "left to right",
    "pll": "each token given all others",
    "pll_word_l2r": "each token given all others but the later ones of its word",
}


@dataclass(frozen=True)
class Scored:
    """A text's score. Lower nats are likelier; only scores of one unit may be compared.

    nats: of unit "nll" -log p(text | context), by the chain rule in `order`; of unit "pll" (Salazar et al.
    2020) and "pll_word_l2r" (Kauf and Ivanova 2023) the sum of -log p(token | …), given what `order` says.
    bytes: the text's, in UTF-8. pieces: each token of the text as the vocabulary spells it, with its nats.
    """

    context: str
    text: str
    nats: float
    unit: Unit
    order: str
    bytes: int
    pieces: list[tuple[str, float]]

    @property
    def tokens(self) -> int:
        return len(self.pieces)

    @property
    def bits_per_byte(self) -> float:
        return bits_per_byte(self.nats, self.bytes)


def bits_per_byte(nats: float, count: float) -> float:
    return nats / math.log(2) / count


def score_texts(
    run: Run | tuple[Family, Objective, Tokenizer], texts: Sequence[Text], pll: Pll | None = None
) -> list[Scored]:
    """Scores texts, or (context, text) pairs, one at a time: a score depends on nothing else in the list.

    run: a trained run, or a family in eval mode, the objective by which it is asked and its tokenizer.
    Context and text are tokenised apart: write the space between them at the text's beginning.

    pll: how an encoder-AE's tokens are hidden. "original", also if not given: each alone; "word_l2r": each
    with the later ones of its word. Other families' scores are exact and refuse it.

    Without context a text is asked as training began one: after bos, or with an empty source. Two had no
    such beginning. A permuted LM's first token sees nothing, and its nats are a guess (`Permutation.ask`).
    What was trained on sentinels reads <extra_id_0> alone, as if all of the text were hidden.

    Raises UserError, with the text's number, for a text that is empty, holds a character that the tokenizer
    does not know, or exceeds, with its context, learned positions; and for an objective that trains no
    language model.
    """
    return list(scores(run, texts, pll))


def scores(
    run: Run | tuple[Family, Objective, Tokenizer], texts: Sequence[Text], pll: Pll | None = None
) -> Iterator[Scored]:
    """As `score_texts`, each as soon as it is done; mistakes in any text are raised before the first."""
    asked = (run.family, run.objective, run.corpus.tokenizer) if isinstance(run, Run) else run
    family, objective, tokenizer = asked
    _check(family, objective, tokenizer, pll)
    pairs = [("", text) if isinstance(text, str) else text for text in texts]
    tokens = _encode(pairs, tokenizer)
    _check_lengths(family, objective, [(len(context), len(text)) for context, text in tokens])
    for (context, text), (given, ids) in zip(pairs, tokens, strict=True):
        unit, nats = _nats(family, objective, torch.tensor([given]).long(), torch.tensor([ids]), pll)
        pieces = [(tokenizer.pieces[token] or "", each) for token, each in zip(ids, nats, strict=True)]
        yield Scored(context, text, sum(nats), unit, ORDER[unit], len(text.encode()), pieces)


def print_scores(folder: Path, pairs: Sequence[tuple[str, str]], pll: Pll | None, per_token: bool) -> None:
    """One JSON line a text to stdout; a progress bar to stderr where the lines go elsewhere."""
    found = scores(restore(folder), pairs, pll)
    console = Console(stderr=True)
    hidden = sys.stdout.isatty() or not console.is_terminal
    # Left to itself the bar takes what is printed, and puts it on stderr.
    with Progress(console=console, transient=True, redirect_stdout=False, disable=hidden) as bar:
        for each in bar.track(found, total=len(pairs), description="scoring"):
            line = {
                "context": each.context,
                "text": each.text,
                "nats": each.nats,
                "unit": each.unit,
                "order": each.order,
                "tokens": each.tokens,
                "bytes": each.bytes,
                "bits_per_byte": each.bits_per_byte,
            }
            print(json.dumps(line | ({"pieces": each.pieces} if per_token else {})), flush=True)


@torch.no_grad()
def _nats(
    family: Family, objective: Objective, context: Tensor, text: Tensor, pll: Pll | None
) -> tuple[Unit, list[float]]:
    """The unit, and -log p of each of the text's tokens: context (1,L), text (1,R) -> R numbers."""
    batch = objective.ask(context, text)
    there = batch.to(next(family.parameters()).device)
    if pll == "word_l2r":
        assert isinstance(family, EncoderAE)
        words = number_words(*traits(batch.tokens, batch.segments, objective.vocabulary))
        score = family.score(there, words=words.to(there.device))
    else:
        score = family.score(there)
    return score.unit, (-score.nats.cpu()[batch.weights > 0]).tolist()


def require_language_model(objective: Objective) -> None:
    """Raises UserError if the objective leaves the head that predicts tokens untrained."""
    if not objective.language_model:
        raise UserError(
            f"objective '{objective.name}' trained no head that predicts tokens, so this model can neither "
            "score nor write text; finetune it, or train with another objective"
        )


def _check(family: Family, objective: Objective, tokenizer: Tokenizer, pll: Pll | None) -> None:
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


def _encode(pairs: Sequence[tuple[str, str]], tokenizer: Tokenizer) -> list[tuple[list[int], list[int]]]:
    """The ids of each context and text. UserError for a text that has none, or an unknown one."""
    for number, pair in enumerate(pairs, start=1):
        try:
            "".join(pair).encode()
        except UnicodeEncodeError as error:
            raise UserError(f"text {number} is not Unicode ({error.reason}); mend its encoding") from error
    contexts, texts = (tokenizer.encode_batch([pair[side] for pair in pairs]) for side in (0, 1))
    for number, ids in enumerate(texts, start=1):
        if not ids:
            raise UserError(f"text {number} is empty: nothing to score; give at least one token")
        # Special tokens written out are read as ordinary text, so a special id stands for the unknown.
        if tokenizer.special[ids].any():
            raise UserError(
                f"text {number} holds characters that the tokenizer does not know, so it has no probability; "
                "leave them out, or use a byte-level tokenizer"
            )
    return list(zip(contexts, texts, strict=True))


def _check_lengths(family: Family, objective: Objective, shapes: Sequence[tuple[int, int]]) -> None:
    """UserError if a text (context and text tokens) is too long: known before a long file's first pass."""
    for context, text in dict.fromkeys(shapes):
        batch = objective.ask(torch.zeros(1, context).long(), torch.zeros(1, text).long())
        try:
            family.check_length(batch.positions)
            if batch.source_positions is not None:
                family.check_length(batch.source_positions)
        except UserError as error:
            raise UserError(f"text {shapes.index((context, text)) + 1}: {error}") from error
