"""Draws the masks of `experiments.report.figures.mask_examples` as one SVG."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from archs.errors import UserError
from archs.families.single_stack import SingleStack
from experiments.report.figures.mask_examples import QUESTIONS, Panel, mask_examples, panel_of
from experiments.report.figures.svg import INK, MUTED, PAPER, RULE, STYLE, to_svg
from experiments.storage.whole import write_whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from experiments.recipe.recipe import Recipe

LEGEND = (
    "Declared: a row looks at a column where the cell is filled, by the family's own mask function. "
    "Measured: where there is a dot, the row's output\ndoes depend on that input, by the gradient of a tiny "
    "model with one layer a stack; a cross would be a leak, a filled cell without a dot a silence.\n"
    "An arrow: what the row is asked to predict, as the objective built it. Numbers: the order in which a "
    "permuted LM predicts."
)
LEGEND_OF_ONE = (
    "A row looks at a column where the cell is filled: the mask of your own, over a row of two documents.\n"
    "Dot: the row's output does depend on that input, by the gradient of a tiny model of one layer. Cross:\n"
    "so it does, where the family's own mask hides it: a leak. Arrow: what the row is asked to predict."
)
SEEN, FLOWS, LEAK = "#9dbbd9", "#17406b", "#b3261e"
CELL, LEFT, RIGHT, TOP, BOTTOM = 0.185, 0.95, 0.72, 0.8, 0.16  # inches: a cell, and the margins of a panel
HEADING = 0.3  # inches above a family's panels


def mask_figure(families: Iterable[str] = tuple(QUESTIONS), width: float = 11.4, legend: bool = False) -> str:
    """An SVG of the masks of these families, at most about `width` inches wide.

    Filled cells are computed by the families' mask functions on batches that their objectives built. Dots are
    measured on tiny models, as gradients that are not zero.
    """
    drawn = {_heading(family): mask_examples(family) for family in families}
    title = f"Who sees whom: {', '.join(QUESTIONS[family][0] for family in families)}"
    return _svg(drawn, title, width, LEGEND if legend else "")


def draw_masks(path: Path) -> None:
    """Writes `mask_figure()` of all families to `path` and prints the path.

    Raises UserError if it cannot write.
    """
    _write(path, mask_figure(legend=True))
    print(f"who sees whom in {', '.join(QUESTIONS)}: {path}")


def draw_mask(path: Path, recipe: Recipe) -> None:
    """Draws the mask that the recipe names to `path`, and prints whether it leaks in the recipe's family.

    A leak is a flow that the family's own mask hides. Raises UserError for a mask that `mask_of` refuses.
    """
    from experiments.recipe.build import family_class, mask_of

    mask, family = mask_of(recipe), family_class(recipe)
    assert mask is not None
    assert issubclass(family, SingleStack)
    panel, report = panel_of(mask, family)
    name, path_of_mask = recipe.family.name, recipe.family.mask
    _write(
        path,
        _svg({f"{path_of_mask} in {name}": [panel]}, f"Who sees whom: {path_of_mask}", 11.4, LEGEND_OF_ONE),
    )
    outcome = replace(report, silences=[]) if report.leaks else "no leaks"
    print(f"{path_of_mask} against {name}'s own mask: {outcome}")
    print(f"who sees whom: {path}")


def _svg(drawn: dict[str, list[Panel]], title: str, width: float, legend: str) -> str:
    """One SVG of panels, given by their heading."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    placed, size = _layout(drawn, width)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(size[0], size[1] + (0.65 if legend else 0)))
        for heading, panel, left, top in placed:
            if panel is drawn[heading][0]:
                across, down = (left + 0.05) / size[0], 1 - (top + 0.2) / figure.get_size_inches()[1]
                figure.text(across, down, heading, weight="bold", size=10.5)
            _draw(figure, panel, left, top + HEADING)
        if legend:
            figure.text(0.008, 0.02, legend, size=8, color=MUTED, linespacing=1.5)
        return to_svg(figure, title)


def _heading(family: str) -> str:
    name, objective, *_ = QUESTIONS[family]
    return f"{name}, {objective}"


def _write(path: Path, svg: str) -> None:
    # The ink is dark, and a page that shows the file may be dark too: add a light background.
    paper = f'</title><rect width="100%" height="100%" fill="{PAPER}"/>'
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, svg.replace("</title>", paper, 1).encode())
    except OSError as error:
        raise UserError(
            f"'{path}' cannot be written ({error.strerror}); give --out a file in a folder that can"
        ) from error


def _extent(panel: Panel) -> tuple[float, float]:
    """Width and height of a panel with its labels, in inches."""
    right = RIGHT if any(panel.answers) else 0.15
    return LEFT + CELL * len(panel.columns) + right, TOP + CELL * len(panel.rows) + BOTTOM


def _layout(
    drawn: dict[str, list[Panel]], width: float
) -> tuple[list[tuple[str, Panel, float, float]], tuple[float, float]]:
    """Places panels line by line: (heading, panel, left, top) in inches, and the figure's size.

    The first panel of a heading starts a new line unless all panels of the heading fit in the current one.
    """
    placed: list[tuple[str, Panel, float, float]] = []
    left = top = line = widest = 0.0
    for heading, parts in drawn.items():
        whole = sum(_extent(panel)[0] for panel in parts)
        for number, panel in enumerate(parts):
            across, down = _extent(panel)
            if left and left + (whole if number == 0 else across) > width:
                left, top, line = 0.0, top + line, 0.0
            placed.append((heading, panel, left, top))
            left, line, widest = left + across, max(line, down + HEADING), max(widest, left + across)
    return placed, (widest, top + line)


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
    allowed = panel.seen if panel.allowed is None else panel.allowed
    _dots(axes, panel.measured & allowed, FLOWS, "o")
    _dots(axes, panel.measured & ~allowed, LEAK, "X")
    if panel.second_stream is not None:
        axes.axhline(panel.second_stream - 0.5, color=INK, linewidth=1)
    axes.set(xlim=(-0.5, K - 0.5), ylim=(Q - 0.5, -0.5), aspect="equal")
    axes.set_xticks(range(K), panel.columns, rotation=90, size=7.5)
    axes.set_yticks(range(Q), panel.rows, size=7.5)
    axes.tick_params(length=0, labeltop=True, labelbottom=False, pad=2, labelcolor=INK)
    axes.grid(False)
    axes.spines[:].set_visible(False)
    _annotate(axes, panel.title, (4 - LEFT * 72, TOP * 72 - 8), size=8)
    _annotate(axes, "is looked at →", (-5, 11), size=6.5, color=MUTED, ha="right")
    _annotate(axes, "looks ↓", (-5, 3), size=6.5, color=MUTED, ha="right")
    for row, answer in enumerate(panel.answers):
        if answer:
            axes.text(K - 0.2, row, f"→ {answer}", size=7.5, va="center", color=FLOWS)


def _annotate(axes: Axes, text: str, points: tuple[float, float], **style: Any) -> None:
    """Writes text at an offset, in points, from the panel's upper left corner."""
    axes.annotate(text, (0, 1), points, "axes fraction", "offset points", **style)


def _dots(axes: Axes, where: Tensor, colour: str, marker: str) -> None:
    q, k = where.nonzero(as_tuple=True)
    if len(q):
        axes.scatter(k.tolist(), q.tolist(), s=9, color=colour, marker=marker, linewidths=0, zorder=3)
