"""The report of a flow check: which cells of the Jacobian differ from what the masks declare."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from archs.batch import Batch
from archs.core.reach import Streams


@dataclass(frozen=True)
class Mismatch:
    """A cell of the Jacobian that differs from what the mask declares.

    layer: from 1, None = the logits. row: of the batch. Information flows from cell `source` of `stream` to
    row `to` of `rows`. rows: "source" for the encoder's, "tokens" for another stack's; "query" for a permuted
    LM's query rows, where `to` is the target's column; "written" for steps of cached decoding, where `to` is
    the number of the written token.
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
    """All mismatches, in the order of the pass.

    leaks: flow that is measured and not declared. silences: flow that is declared and not measured.
    declared, measured: flow after the last layer, (B,R,cells) bool, by stream of rows and stream of cells:
    `measured["tokens"]["source"]` tells on which source cells a decoder's rows depend. A permuted LM's rows
    of "tokens" are T content rows, then M query rows.
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
        kinds = (("leak", self.leaks), ("forbidden silence", self.silences))
        return "; ".join(_counted(kind, cells) for kind, cells in kinds if cells)


def _counted(kind: str, cells: list[Mismatch]) -> str:
    if len(cells) == 1:
        return f"1 {kind}, at {cells[0]}"
    return f"{len(cells)} {kind}s, the first at {cells[0]}"


@dataclass(frozen=True)
class Place:
    """The declared and the measured flow to the rows of one layer, None = the logits."""

    rows: str
    layer: int | None
    declared: Streams
    measured: Streams


def compare(places: Iterable[Place], batch: Batch) -> FlowReport:
    """The report on these places, in the given order."""
    T = batch.tokens.shape[1]
    report = FlowReport([], [], {}, {})
    for place in places:
        if place.layer is not None:
            report.declared[place.rows], report.measured[place.rows] = place.declared, place.measured
        for stream, measured in place.measured.items():
            declared = place.declared[stream]
            leaks, silences = measured & ~declared, declared & ~measured
            for mismatches, cells in ((report.leaks, leaks), (report.silences, silences)):
                for row, to, source in cells.nonzero().tolist():
                    rows = place.rows
                    if rows == "tokens" and to >= T:  # a query row
                        assert batch.queries is not None
                        rows, to = "query", int(batch.queries[row, to - T])
                    mismatches.append(Mismatch(place.layer, row, stream, source, rows, to))
    return report
