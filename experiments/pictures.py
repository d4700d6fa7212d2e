"""Who sees whom: the masks of `experiments.panels` drawn as one SVG."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from archs.errors import UserError
from experiments.folder import write_whole
from experiments.panels import QUESTIONS, Panel, panels
from experiments.svg import INK, MUTED, PAPER, RULE, STYLE, to_svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LEGEND = (
    "Declared: a row looks at a column where the cell is filled, by the family's own mask function. "
    "Measured: where there is a dot, the row's output\ndoes depend on that input, by the gradient of a tiny "
    "model with one layer a stack; a cross would be a leak, a filled cell without a dot a silence.\n"
    "An arrow: what the row is asked to predict, as the objective built it. Numbers: the order in which a "
    "permuted LM predicts."
)
SEEN, FLOWS, LEAK = "#9dbbd9", "#17406b", "#b3261e"
CELL, LEFT, RIGHT, TOP, BOTTOM = 0.185, 0.95, 0.72, 0.8, 0.16  # inches: a cell, and the room around a panel
HEADING = 0.3  # above a family's panels


def mask_figure(families: Iterable[str] = tuple(QUESTIONS), width: float = 11.4, legend: bool = False) -> str:
    """An SVG of who may look at whom in these families, at most about `width` inches wide.

    Filled cells are computed by the families' mask functions on batches that their objectives built; dots
    are measured on tiny models, as gradients that are not zero.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    drawn = {family: panels(family) for family in families}
    placed, size = _layout(drawn, width)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(size[0], size[1] + (0.65 if legend else 0)))
        for family, panel, left, top in placed:
            if panel is drawn[family][0]:
                _heading(figure, family, left, top)
            _draw(figure, panel, left, top + HEADING)
        if legend:
            figure.text(0.008, 0.02, LEGEND, size=8, color=MUTED, linespacing=1.5)
        return to_svg(figure, f"Who sees whom: {', '.join(QUESTIONS[name][0] for name in drawn)}")


def draw_masks(path: Path) -> None:
    """Writes `mask_figure()` of all families to `path` and says so. Raises UserError if that cannot be."""
    # Dark ink: a page that shows the file may be dark too, so it brings its paper.
    paper = f'</title><rect width="100%" height="100%" fill="{PAPER}"/>'
    svg = mask_figure(legend=True).replace("</title>", paper, 1)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, svg.encode())
    except OSError as error:
        raise UserError(
            f"'{path}' cannot be written ({error.strerror}); give --out a file in a folder that can"
        ) from error
    print(f"who sees whom in {', '.join(QUESTIONS)}: {path}")


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
    _beside(axes, panel.title, (4 - LEFT * 72, TOP * 72 - 8), size=8)
    _beside(axes, "is looked at →", (-5, 11), size=6.5, color=MUTED, ha="right")
    _beside(axes, "looks ↓", (-5, 3), size=6.5, color=MUTED, ha="right")
    for row, answer in enumerate(panel.answers):
        if answer:
            axes.text(K - 0.2, row, f"→ {answer}", size=7.5, va="center", color=FLOWS)


def _beside(axes: Axes, text: str, points: tuple[float, float], **style: Any) -> None:
    """Text at so many points from the panel's upper left corner."""
    axes.annotate(text, (0, 1), points, "axes fraction", "offset points", **style)


def _dots(axes: Axes, where: Tensor, colour: str, marker: str) -> None:
    q, k = where.nonzero(as_tuple=True)
    if len(q):
        axes.scatter(k.tolist(), q.tolist(), s=9, color=colour, marker=marker, linewidths=0, zorder=3)
