"""What a flow check found: which cells of the Jacobian are not what the masks declare."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from archs.batch import Batch
from archs.core.reach import Streams


@dataclass(frozen=True)
class Mismatch:
    """A cell of the Jacobian that is not what the mask declares.

    In layer `layer` (from 1; None: the logits) and row `row` of the batch, from cell `source` of `stream` to
    row `to` of `rows`: "source" or "tokens" for rows of these stacks; "query" for a permuted LM's query rows,
    `to` being the position asked; "written" in cached decoding, `to` being the number of the token written.
    """

    layer: int | None
    row: int
    stream: str
    source: int
    rows: str
    to: int

    def __str__(self) -> str:
        where = "logits" if self.layer is None else f"layer {self.layer}"
        return (
            f"{'encoder ' if self.rows == 'source' else ''}{where}, batch row {self.row}: "
            f"from {self.stream} position {self.source} to {self.rows} position {self.to}"
        )


@dataclass(frozen=True)
class FlowReport:
    """`leaks`: measured, not declared; `silences`: declared, not measured; in the order of the pass.

    declared, measured: by stream of the rows and of the cells, (B,R,cells) bool after the last layer, so that
    `measured["tokens"]["source"]` is what a decoder's rows depend on in the source. A permuted LM's R rows of
    "tokens" are T content rows and then M query rows.
    """

    leaks: list[Mismatch]
    silences: list[Mismatch]
    declared: dict[str, Streams]
    measured: dict[str, Streams]

    @property
    def ok(self) -> bool:
        return not self.leaks and not self.silences

    def __str__(self) -> str:
        if self.ok:
            return "information flows exactly where the mask says"
        found = (("leak", self.leaks), ("forbidden silence", self.silences))
        return "; ".join(_counted(what, cells) for what, cells in found if cells)


def _counted(what: str, cells: list[Mismatch]) -> str:
    if len(cells) == 1:
        return f"1 {what}, at {cells[0]}"
    return f"{len(cells)} {what}s, the first at {cells[0]}"


@dataclass(frozen=True)
class Place:
    """The rows of one layer (None: the logits): what is declared and what was measured."""

    rows: str
    layer: int | None
    declared: Streams
    measured: Streams


def compare(places: Iterable[Place], batch: Batch) -> FlowReport:
    """The report on these places, in their order."""
    T = batch.tokens.shape[1]
    report = FlowReport([], [], {}, {})
    for place in places:
        if place.layer is not None:
            report.declared[place.rows], report.measured[place.rows] = place.declared, place.measured
        for stream, found in place.measured.items():
            expected = place.declared[stream]
            for verdict, wrong in ((report.leaks, found & ~expected), (report.silences, expected & ~found)):
                for row, to, source in wrong.nonzero().tolist():
                    rows = place.rows
                    if rows == "tokens" and to >= T:  # a query row
                        assert batch.queries is not None
                        rows, to = "query", int(batch.queries[row, to - T])
                    verdict.append(Mismatch(place.layer, row, stream, source, rows, to))
    return report
