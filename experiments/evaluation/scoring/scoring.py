"""Scores of texts by a trained family: nats with their unit, by one call for all families.

The model reads before the text, without a score:

    causal                     bos, the context
    prefix                     bos and the context, in both directions; of an encoder-decoder the context
                               goes to the encoder, bos to the decoder
    permutation                the context; a query row asks each token, from left to right
    span, with sentinels       the context and <extra_id_0> (to the encoder, or in front), bos, <extra_id_0>
    mlm, sop, span in place    the context, and all of the text that is not hidden; no cls, no sep

The end of a text is not scored: nats of unit "nll" are -log of the probability that a text *begins* with
these tokens. Over all texts of the same number of tokens these probabilities sum to one.

A batch holds texts of one length with contexts of one length, so nothing is ever padded.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from archs.families.family import Family, Unit
from experiments.data.tokenizer.tokenizer import Tokenizer
from experiments.evaluation.scoring.checks import Pll, check, encode
from experiments.evaluation.scoring.token_scores import score_tokens
from experiments.runs.run import Run, restore
from objectives.base import Objective

Text = str | tuple[str, str]  # a text, or (context, text)

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
    greedy: whether every token is the likeliest one, so that greedy decoding in `order` would write the text.
    """

    context: str
    text: str
    nats: float
    unit: Unit
    order: str
    bytes: int
    pieces: list[tuple[str, float]]
    greedy: bool

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
    """Scores texts, or (context, text) pairs. The score of a text does not depend on the others.

    Texts of one shape share a batch without padding. So a score equals that of the text alone, but for the
    order in which floating-point numbers are summed: about 1e-6 of its nats.

    run: a trained run, or (family in eval mode, the objective that builds its batches, its tokenizer).
    Context and text are tokenised separately: write the space between them at the text's beginning.

    pll: how an encoder-AE's tokens are hidden. "original", the default: each alone; "word_l2r": each with the
    later ones of its word. Other families' scores are exact and refuse it.

    A text without context begins as in training: after bos, or with an empty source. Two kinds of model have
    no such beginning. A permuted LM's first token sees nothing, so its nats are a guess (`Permutation.ask`).
    A model that was trained on sentinels reads <extra_id_0> alone, as if all of the text were hidden.

    Raises UserError, with the text's number, for a text that is empty, holds a character that the tokenizer
    does not know, or exceeds, with its context, learned positions; and for an objective that trains no
    language model.
    """
    return list(scores(run, texts, pll))


def scores(
    run: Run | tuple[Family, Objective, Tokenizer], texts: Sequence[Text], pll: Pll | None = None
) -> Iterator[Scored]:
    """As `score_texts`, but yields the scores in order as soon as they are computed.

    Texts are batched by `experiments.evaluation.scoring.batching`. A mistake in any text is raised before the
    first score.
    """
    model = (run.family, run.objective, run.corpus.tokenizer) if isinstance(run, Run) else run
    family, objective, tokenizer = model
    check(family, objective, tokenizer, pll)
    pairs = [("", text) if isinstance(text, str) else text for text in texts]
    tokens = encode(pairs, tokenizer)
    token_scores = score_tokens(family, objective, tokens, pll)
    for (context, text), (_, ids), (unit, nats, greedy) in zip(pairs, tokens, token_scores, strict=True):
        pieces = [(tokenizer.pieces[token] or "", each) for token, each in zip(ids, nats, strict=True)]
        yield Scored(context, text, sum(nats), unit, ORDER[unit], len(text.encode()), pieces, greedy)


def print_scores(folder: Path, pairs: Sequence[tuple[str, str]], pll: Pll | None, per_token: bool) -> None:
    """Prints one JSON line for each text; shows a progress bar on stderr unless stdout is a terminal."""
    scored = scores(restore(folder), pairs, pll)
    console = Console(stderr=True)
    hidden = sys.stdout.isatty() or not console.is_terminal
    # By default the bar would capture what is printed and move it to stderr.
    with Progress(console=console, transient=True, redirect_stdout=False, disable=hidden) as bar:
        for each in bar.track(scored, total=len(pairs), description="scoring"):
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
