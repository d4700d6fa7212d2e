"""What the arms wrote, side by side: the first items of the first seed, not chosen."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from experiments.evidence.results import scores
from experiments.report.section import Report, Section
from experiments.runs.reading import RunRecord, SweepRecord

SHOWN = 3
# A young model writes any byte: control characters are shown by their pictures, as ␀ for the null byte.
PICTURES = {code: 0x2400 + code for code in range(32) if chr(code) not in "\n\t"} | {127: 0x2421}


@dataclass(frozen=True)
class Sample:
    """One question and what each arm answered. `after` and `reference` are "" for continuations.

    answers: by arm, the text and a remark on it.
    """

    before: str
    reference: str = ""
    after: str = ""
    answers: dict[str, tuple[str, str]] = field(default_factory=dict)


def continuations(sweep: SweepRecord) -> list[Sample]:
    """Samples of samples.json, by prompt."""
    found: dict[str, Sample] = {}
    for run in _first(sweep):
        for each in run.samples[:SHOWN]:
            prompt = shown(each["prompt"])
            sample = found.setdefault(prompt, Sample(prompt))
            sample.answers[run.arm] = shown(each["continuation"]), each["decoding"]
    return list(found.values())


def infills(sweep: SweepRecord) -> list[Sample]:
    """Gaps of scores/infill.parquet, by the text around them."""
    found: dict[tuple[str, str, str], Sample] = {}
    for run in _first(sweep):
        rows = scores(run, "infill")
        for row in [] if rows is None else rows.sort_values("item").head(SHOWN).to_dict("records"):
            where = shown(row["left"]).strip(), shown(row["reference"]), shown(row["right"]).strip()
            sample = found.setdefault(where, Sample(*where))
            sample.answers[run.arm] = shown(row["prediction"]), f"chrF {row['chrf']:.1f}"
    return list(found.values())


def shown(text: str) -> str:
    """The text with nothing in it that a page cannot show."""
    return text.translate(PICTURES)


def _first(sweep: SweepRecord) -> list[RunRecord]:
    """The first finished run of each arm."""
    return [
        next(run for run in sweep.done if run.arm == arm) for arm in dict.fromkeys(r.arm for r in sweep.done)
    ]


def _html(report: Report) -> dict[str, Any]:
    return {"continuations": continuations(report.sweep), "infills": infills(report.sweep)}


SECTION = Section("samples", "Samples", _html)
