"""Who sees whom: each family's mask on one short text, as its natural objective asks it, and as measured."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from archs import FAMILIES, CoreConfig, build, encoder_decoder, permuted_lm
from archs.batch import PADDING, Batch
from archs.errors import UserError
from archs.flow import check_flow
from archs.masks import Mask
from archs.single_stack import SingleStack
from experiments.folder import write_whole
from experiments.svg import INK, MUTED, PAPER, RULE, STYLE, to_svg
from objectives import OBJECTIVES
from objectives.base import Vocabulary, Windows

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WORDS = "the state of our union is strong and growing fast".split()
SPECIALS = ("<pad>", "<s>", "</s>", "<mask>", "<cls>", "<sep>", "<X>", "<Y>", "<Z>")
PIECES = (*SPECIALS, *WORDS)
# A family, what it is asked in the picture, with rates that ten words can show, and a seed that shows much.
QUESTIONS = {
    "encoder_ae": ("Encoder-AE", "mlm", {"rate": 0.2}, 1),
    "decoder_ar": ("Decoder-AR", "causal", {}, 0),
    "prefix_lm": ("Prefix LM", "prefix", {"low": 0.4, "high": 0.4}, 0),
    "permuted_lm": ("Permuted LM", "permutation", {"k": 3}, 1),
    "encoder_decoder": ("Encoder-decoder", "span", {"rate": 0.3}, 1),
}
LEGEND = (
    "A row looks at a column where the cell is filled, by the family's own mask function. A dot: the row's "
    "output does depend on that input, by the gradient\nof a tiny model of one layer. An arrow: what the row "
    "is asked to predict, as the objective built it. Numbers: the order in which a permuted LM predicts."
)
SEEN, FLOWS, LEAK = "#9dbbd9", "#17406b", "#b3261e"
CELL, LEFT, RIGHT, TOP, BOTTOM = 0.185, 0.95, 0.72, 0.8, 0.16  # inches: a cell, and the room around a panel
HEADING = 0.3  # above a family's panels


@dataclass(frozen=True)
class Panel:
    """One mask: row q looks at column k where seen[q, k].

    measured: where the output of row q depends on the input at k after one layer; None where no row of this
    panel is an output. answers: what each row is asked to predict, "" if nothing. second_stream: the first
    query row of a permuted LM.
    """

    title: str
    rows: list[str]
    columns: list[str]
    seen: Tensor
    measured: Tensor | None
    answers: list[str]
    second_stream: int | None = None


def mask_figure(families: Iterable[str] = tuple(QUESTIONS), width: float = 11.1, legend: bool = False) -> str:
    """An SVG of who may look at whom in these families, at most about `width` inches wide.

    Filled cells are computed by the families' mask functions on batches that their objectives built; dots
    are measured on tiny models, as gradients that are not zero.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    drawn = {family: panels(family) for family in families}
    placed, size = _layout(drawn, width)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(size[0], size[1] + (0.5 if legend else 0)))
        for family, panel, left, top in placed:
            if panel is drawn[family][0]:
                _heading(figure, family, left, top)
            _draw(figure, panel, left, top + HEADING)
        if legend:
            figure.text(0.008, 0.02, LEGEND, size=8, color=MUTED, linespacing=1.5)
        return to_svg(figure, f"Who sees whom: {', '.join(QUESTIONS[name][0] for name in drawn)}")


def draw_masks(path: Path) -> None:
    """Writes `mask_figure()` of all families to `path` and says so. Raises UserError if that cannot be."""
    svg = mask_figure(legend=True)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, svg.encode())
    except OSError as error:
        raise UserError(
            f"'{path}' cannot be written ({error.strerror}); give --out a file in a folder that can"
        ) from error
    print(f"who sees whom in {', '.join(FAMILIES)}: {path}")


def example(family: str) -> Batch:
    """One row of WORDS, built by the objective of QUESTIONS."""
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
    text = torch.arange(len(SPECIALS), len(PIECES))[None]
    return objective.build(Windows(text), torch.Generator().manual_seed(seed))


def panels(family: str) -> list[Panel]:
    """The masks of one of `archs.FAMILIES` on its example, padding left out."""
    batch, kind = example(family), FAMILIES[family]
    torch.manual_seed(0)
    depth = 1 if family == "encoder_decoder" else None
    tiny = build(family, CoreConfig(len(PIECES), 1, 8, 1, 16, 64, decoder_layers=depth))
    flows = {stream: found[0] for stream, found in check_flow(tiny, batch).measured.items()}
    words, answers = _words(batch.tokens, batch.segments), _answers(batch)
    if family == "permuted_lm":
        return [_two_streams(batch, words, flows["tokens"])]
    if family == "encoder_decoder":
        return list(_two_stacks(batch, words, answers, flows))
    assert issubclass(kind, SingleStack)
    return [_panel("", kind.default_mask(batch), words, words, flows["tokens"], answers)]


def _panel(
    part: str, mask: Mask, rows: list[str], columns: list[str], flows: Tensor | None, answers: list[str]
) -> Panel:
    Q, K = len(rows), len(columns)
    title = f"{part}: {mask}" if part else str(mask)
    measured = None if flows is None else flows[:Q, :K]
    return Panel(title, rows, columns, mask.dense(1, torch.arange(Q), torch.arange(K))[0], measured, answers)


def _two_stacks(
    batch: Batch, words: list[str], answers: list[str], flows: dict[str, Tensor]
) -> Iterator[Panel]:
    source = _words(batch.source, batch.source_segments)
    encoder, cross, decoder = (
        mask(batch)
        for mask in (encoder_decoder.encoder_mask, encoder_decoder.cross_mask, encoder_decoder.decoder_mask)
    )
    yield _panel("encoder", encoder, source, source, None, [""] * len(source))
    yield _panel("cross", cross, words, source, flows["source"], [""] * len(words))
    yield _panel("decoder", decoder, words, words, flows["tokens"], answers)


def _two_streams(batch: Batch, words: list[str], flows: Tensor) -> Panel:
    """Content rows, then the query rows in the order in which they are predicted."""
    assert batch.rank is not None
    assert batch.queries is not None
    T, columns, rank = len(words), batch.queries[0], batch.rank[0]
    order = rank[columns].argsort()
    shown = torch.cat((torch.arange(T), T + order))
    asked = columns[order].tolist()
    rows = [f"{word} ({place})" if place else word for word, place in zip(words, rank.tolist(), strict=True)]
    return Panel(
        str(permuted_lm.mask(batch)),
        rows + [f"query ({rank[column]})" for column in asked],
        words,
        permuted_lm.mask(batch).dense(1, shown, torch.arange(T))[0],
        flows[shown],
        [""] * T + [words[column] for column in asked],
        second_stream=T,
    )


def _words(tokens: Tensor | None, segments: Tensor | None) -> list[str]:
    """The pieces of the only row, up to its padding."""
    assert tokens is not None
    real = tokens[0] if segments is None else tokens[0][segments[0] != PADDING]
    return [PIECES[token] for token in real.tolist()]


def _answers(batch: Batch) -> list[str]:
    asked = zip(batch.targets[0].tolist(), batch.weights[0].tolist(), strict=True)
    return [PIECES[target] if weight else "" for target, weight in asked]


def _extent(panel: Panel) -> tuple[float, float]:
    """Width and height of a panel with its labels, in inches."""
    right = RIGHT if any(panel.answers) else 0.15
    return LEFT + CELL * len(panel.columns) + right, TOP + CELL * len(panel.rows) + BOTTOM


def _layout(
    drawn: dict[str, list[Panel]], width: float
) -> tuple[list[tuple[str, Panel, float, float]], tuple[float, float]]:
    """Each panel's left and top in inches, filled line by line; and the figure's size.

    A family's first panel starts a line of its own if its panels would not all fit in what is left.
    """
    placed: list[tuple[str, Panel, float, float]] = []
    left = top = line = widest = 0.0
    for family, parts in drawn.items():
        whole = sum(_extent(panel)[0] for panel in parts)
        for number, panel in enumerate(parts):
            across, down = _extent(panel)
            if left and left + (whole if number == 0 else across) > width:
                left, top, line = 0.0, top + line, 0.0
            placed.append((family, panel, left, top))
            left, line, widest = left + across, max(line, down + HEADING), max(widest, left + across)
    return placed, (widest, top + line)


def _heading(figure: Figure, family: str, left: float, top: float) -> None:
    width, height = figure.get_size_inches()
    name, objective, _, _ = QUESTIONS[family]
    figure.text(
        (left + 0.05) / width, 1 - (top + 0.2) / height, f"{name}, {objective}", weight="bold", size=10.5
    )


def _draw(figure: Figure, panel: Panel, left: float, top: float) -> None:
    from matplotlib.collections import PatchCollection
    from matplotlib.patches import Rectangle

    Q, K = len(panel.rows), len(panel.columns)
    width, height = figure.get_size_inches()
    axes = figure.add_axes(
        (
            (left + LEFT) / width,
            1 - (top + TOP + CELL * Q) / height,
            CELL * K / width,
            CELL * Q / height,
        )
    )
    for shown, colour in ((~panel.seen, PAPER), (panel.seen, SEEN)):
        squares = [Rectangle((k - 0.5, q - 0.5), 1, 1) for q, k in shown.nonzero().tolist()]
        axes.add_collection(PatchCollection(squares, facecolor=colour, edgecolor=RULE, linewidth=0.5))
    if panel.measured is not None:
        _dots(axes, panel.measured & panel.seen, FLOWS, "o")
        _dots(axes, panel.measured & ~panel.seen, LEAK, "X")
    if panel.second_stream is not None:
        axes.axhline(panel.second_stream - 0.5, color=INK, linewidth=1)
    axes.set(xlim=(-0.5, K - 0.5), ylim=(Q - 0.5, -0.5), aspect="equal")
    axes.set_xticks(range(K), panel.columns, rotation=90, size=7.5)
    axes.set_yticks(range(Q), panel.rows, size=7.5)
    axes.tick_params(length=0, labeltop=True, labelbottom=False, pad=2, labelcolor=INK)
    axes.grid(False)
    axes.spines[:].set_visible(False)
    for text, corner, style in (
        (panel.title, (-LEFT * 72 + 4, TOP * 72 - 8), {"size": 8}),
        ("is looked at →", (-5, 11), {"size": 6.5, "color": MUTED, "ha": "right"}),
        ("looks ↓", (-5, 3), {"size": 6.5, "color": MUTED, "ha": "right"}),
    ):
        axes.annotate(text, (0, 1), corner, "axes fraction", "offset points", **style)
    for row, answer in enumerate(panel.answers):
        if answer:
            axes.text(K - 0.2, row, f"→ {answer}", size=7.5, va="center", color=FLOWS)


def _dots(axes: Axes, where: Tensor, colour: str, marker: str) -> None:
    q, k = where.nonzero(as_tuple=True)
    if len(q):
        axes.scatter(k.tolist(), q.tolist(), s=9, color=colour, marker=marker, linewidths=0, zorder=3)
