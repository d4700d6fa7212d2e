"""The budget audit in the terminal, within 80 columns. It has fewer rows than the page."""

from __future__ import annotations

from rich import box
from rich.table import Table

from experiments.evidence import audit
from experiments.runs.reading import SweepRecord

SHOWN = ("steps", "raw tokens", "targets", "FLOPs", "time")


def audit_table(sweep: SweepRecord) -> Table | None:
    """A table of what each arm spent, with the plan below it; None if no run has ended."""
    lines = audit.lines(sweep)
    if not lines:
        return None
    table = Table(
        title="audit: what was spent, and under it what was planned",
        caption="P, M: times the core parameters and the FLOPs a token of the reference",
        title_justify="left",
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
        collapse_padding=True,  # without it the last column loses the width of the paddings
    )
    table.add_column("arm\nobjective", overflow="fold", min_width=11)
    for heading in ("off the\nmatch", "P\nM", "\nsteps", "raw\ntokens", "\ntargets", "\nFLOPs", "\nseconds"):
        table.add_column(heading, justify="right", overflow="fold", max_width=9)
    for line in lines:
        off = line.cell("off the match").done.replace("not matched", "none")
        times = line.cell("times the reference").done.replace("not recorded", "").replace(", ", "\n")
        spent = (line.cell(name) for name in SHOWN)
        cells = (f"{each.done}\n[dim]{each.declared.removeprefix('planned ')}[/dim]" for each in spent)
        table.add_row(f"{line.arm}\n[dim]{line.objective}[/dim]", off, times, *cells)
    return table
