"""Each family's masks on a short text, as its usual objective builds it, beside the measured flow."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from archs import FAMILIES, CoreConfig, build
from archs.batch import PADDING, Batch, MaskBuilder
from archs.core.reach import Streams, closure
from archs.errors import unknown
from archs.families import encoder_decoder, permuted_lm
from archs.families.single_stack import SingleStack
from archs.flow.report import FlowReport
from archs.flow.whole_pass import check_flow
from archs.masks import Mask
from objectives import OBJECTIVES
from objectives.base import Vocabulary, Windows

WORDS = ("the", "state", "of", "our", "union", "is", "strong", "and", "growing", "fast")
SPECIALS = ("<pad>", "<s>", "</s>", "<mask>", "<cls>", "<sep>", "<X>", "<Y>", "<Z>")
PIECES = (*SPECIALS, *WORDS)
TEXT = Windows(torch.arange(len(SPECIALS), len(PIECES))[None])
# For a user's mask: long enough to show a window, with two documents in the row, which masks separate.
LONGER = Windows(
    len(SPECIALS) + torch.arange(24)[None] % len(WORDS), segments=(torch.arange(24) >= 18).long()[None]
)
# By family: its name, objective and options in the picture, and a seed. The rates suit a text of ten words.
QUESTIONS = {
    "encoder_ae": ("Encoder-AE", "mlm", {"rate": 0.2}, 1),
    "decoder_ar": ("Decoder-AR", "causal", {}, 0),
    "prefix_lm": ("Prefix LM", "prefix", {"low": 0.4, "high": 0.4}, 0),
    "permuted_lm": ("Permuted LM", "permutation", {"k": 3}, 1),
    "encoder_decoder": ("Encoder-decoder", "span", {"rate": 0.3}, 1),
}


@dataclass(frozen=True)
class Panel:
    """One mask: row q looks at column k where seen[q, k].

    measured: whether the output of row q depends on the input at k in a model with one layer in each stack.
    answers: what each row must predict, "" if nothing. second_stream: the first query row of a permuted LM.
    allowed: where information may flow, if that differs from `seen`.
    """

    title: str
    rows: list[str]
    columns: list[str]
    seen: Tensor
    measured: Tensor
    answers: list[str]
    second_stream: int | None = None
    allowed: Tensor | None = None


def example(family: str, text: Windows = TEXT) -> Batch:
    """A batch with one row of text, built by the family's objective in QUESTIONS."""
    _, name, options, seed = QUESTIONS[family]
    vocabulary = Vocabulary(
        size=len(PIECES),
        word_starts=torch.arange(len(PIECES)) >= len(SPECIALS),
        special=torch.arange(len(PIECES)) < len(SPECIALS),
        pad=0,
        bos=1,
        eos=2,
        mask=3,
        cls=4,
        sep=5,
        sentinels=(6, 7, 8),
    )
    objective = OBJECTIVES[name](vocabulary, FAMILIES[family].layout, **options)
    return objective.build(text, torch.Generator().manual_seed(seed))


def mask_examples(family: str) -> list[Panel]:
    """The masks of one of `archs.FAMILIES` on its example, without padding."""
    batch, kind = example(family), FAMILIES[family]
    torch.manual_seed(0)
    depth = 1 if family == "encoder_decoder" else None
    tiny = build(family, CoreConfig(len(PIECES), 1, 8, 1, 16, 64, decoder_layers=depth))
    measured = check_flow(tiny, batch).measured
    flows = measured["tokens"]["tokens"][0]
    words, answers = _words(batch.tokens, batch.segments), _answers(batch)
    if family == "permuted_lm":
        return [_two_streams(batch, words, flows)]
    if family == "encoder_decoder":
        return list(_two_stacks(batch, words, answers, measured))
    assert issubclass(kind, SingleStack)
    return [_panel("", kind.default_mask(batch), words, words, flows, answers)]


def panel_of(mask: MaskBuilder, family: type[SingleStack]) -> tuple[Panel, FlowReport]:
    """A user's mask in a family, over LONGER, and the flow report of it against the family's own mask.

    Information may flow where both masks show a column, and from each row's own input, which reaches the row
    without attention. Raises UserError for a kind of family that QUESTIONS does not have.
    """
    if family.kind not in QUESTIONS:
        raise unknown("kind of family to draw", family.kind, QUESTIONS)
    batch = example(family.kind, LONGER)
    torch.manual_seed(0)
    report = check_flow(family(CoreConfig(len(PIECES), 1, 8, 1, 16, 64), mask=mask), batch)
    words, flows = _words(batch.tokens, batch.segments), report.measured["tokens"]["tokens"][0]
    panel = _panel("", mask(batch), words, words, flows, _answers(batch))
    own = report.declared["tokens"]["tokens"][0]
    return replace(panel, allowed=closure([panel.seen[None]])[0][0] & own), report


def _panel(
    part: str, mask: Mask, rows: list[str], columns: list[str], flows: Tensor, answers: list[str]
) -> Panel:
    Q, K = len(rows), len(columns)
    title = f"{part}: {mask}" if part else str(mask)
    seen = mask.dense(1, torch.arange(Q), torch.arange(K))[0]
    return Panel(title, rows, columns, seen, flows[:Q, :K], answers[:Q])


def _two_stacks(
    batch: Batch, words: list[str], answers: list[str], measured: dict[str, Streams]
) -> Iterator[Panel]:
    source = _words(batch.source, batch.source_segments)
    encoder, cross, decoder = (
        mask(batch)
        for mask in (encoder_decoder.encoder_mask, encoder_decoder.cross_mask, encoder_decoder.decoder_mask)
    )
    encoded, decoded = measured["source"]["source"][0], measured["tokens"]
    yield _panel("encoder", encoder, source, source, encoded, [""] * len(source))
    yield _panel("cross", cross, words, source, decoded["source"][0], [""] * len(words))
    yield _panel("decoder", decoder, words, words, decoded["tokens"][0], answers)


def _two_streams(batch: Batch, words: list[str], flows: Tensor) -> Panel:
    """Content rows, then the query rows in the order of their prediction."""
    assert batch.rank is not None
    assert batch.queries is not None
    T, columns, rank = len(words), batch.queries[0], batch.rank[0]
    order = rank[columns].argsort()
    shown = torch.cat((torch.arange(T), T + order))
    predicted = columns[order].tolist()
    rows = [f"{word} ({place})" if place else word for word, place in zip(words, rank.tolist(), strict=True)]
    return Panel(
        str(permuted_lm.mask(batch)),
        rows + [f"query ({rank[column]})" for column in predicted],
        words,
        permuted_lm.mask(batch).dense(1, shown, torch.arange(T))[0],
        flows[shown],
        [""] * T + [words[column] for column in predicted],
        second_stream=T,
    )


def _words(tokens: Tensor | None, segments: Tensor | None) -> list[str]:
    """The pieces of the batch's only row, without padding."""
    assert tokens is not None
    real = tokens[0] if segments is None else tokens[0][segments[0] != PADDING]
    return [PIECES[token] for token in real.tolist()]


def _answers(batch: Batch) -> list[str]:
    targets = zip(batch.targets[0].tolist(), batch.weights[0].tolist(), strict=True)
    return [PIECES[target] if weight else "" for target, weight in targets]
