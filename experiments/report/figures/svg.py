"""Figures as SVG text, for a file of their own or for a page with a light and a dark mode."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Figures are drawn in these colours. In a page its CSS variables replace them, so figures follow dark mode.
INK, MUTED, RULE, PAPER = "#1d242e", "#5d6876", "#c7ced7", "#fdfdfc"
THEME = {INK: "ink", MUTED: "muted", RULE: "rule", PAPER: "paper"}

STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text: it can be selected, read aloud, and takes the page's font
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9,
    "text.parse_math": False,
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": RULE,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": RULE,
    "grid.linewidth": 0.5,
    "xtick.color": RULE,
    "ytick.color": RULE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "lines.solid_capstyle": "round",
}
NO_METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}


def to_svg(figure: Figure, title: str, tips: Mapping[str, str] | None = None) -> str:
    """The figure as one <svg> element with `title` for screen readers.

    tips: tooltips, by the gid of their artist. The same figure always gives the same text.
    """
    import matplotlib as mpl

    file = io.StringIO()
    with mpl.rc_context({**STYLE, "svg.hashsalt": title}):
        figure.savefig(file, format="svg", transparent=True, metadata=NO_METADATA)
    text = file.getvalue()
    text = text[text.index("<svg") :]
    label = escape(title, quote=True)
    text = re.sub(
        r"<svg\b([^>]*)>", rf'<svg\1 role="img" aria-label="{label}"><title>{label}</title>', text, count=1
    )
    for gid, tip in (tips or {}).items():
        text = text.replace(f'<g id="{gid}">', f"<g><title>{escape(tip)}</title>")
    return text


def inline(svg: str, colours: Mapping[str, str] | None = None) -> str:
    """Adapts an SVG to a page: no namespaces, no ids that are not referred to, colours as CSS variables.

    colours: {colour in `svg`: name of the page's variable}, beyond THEME.
    """
    svg = re.sub(r' xmlns(:\w+)?="[^"]*"', "", svg).replace("xlink:href", "href")
    svg = re.sub(r' width="([\d.]+)pt" height="[\d.]+pt"', r' style="width: \1pt"', svg, count=1)
    used = set(re.findall(r'(?:#|href="#)([\w\-]+)', svg))
    svg = re.sub(r' id="([\w\-.]+)"', lambda match: match[0] if match[1] in used else "", svg)
    for colour, name in {**THEME, **(colours or {})}.items():
        svg = svg.replace(colour, f"var(--{name})")
    return svg
