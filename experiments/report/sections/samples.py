"""Texts that the arms wrote, side by side. They are the first items of the first seed, not a selection."""

from __future__ import annotations

from dataclasses import dataclass, field

from experiments.evidence.results import scores
from experiments.report.section import Report, Section, Values
from experiments.runs.reading import RunRecord, SweepRecord

SHOWN = 3
# A young model writes any byte. Control characters are shown by their symbols, as ␀ for the null byte.
PICTURES = {code: 0x2400 + code for code in range(32) if chr(code) not in "\n\t"} | {127: 0x2421}


@dataclass(frozen=True)
class Sample:
    """One prompt or gap, and the answers. `after` and `reference` are "" for continuations.

    answers: {arm: (text, remark on it)}.
    """

    before: str
    reference: str = ""
    after: str = ""
    answers: dict[str, tuple[str, str]] = field(default_factory=dict)


def continuations(sweep: SweepRecord) -> list[Sample]:
    """The continuations of samples.json, one sample for each prompt."""
    samples: dict[str, Sample] = {}
    for run in _first(sweep):
        for each in run.samples[:SHOWN]:
            prompt = shown(each["prompt"])
            sample = samples.setdefault(prompt, Sample(prompt))
            sample.answers[run.arm] = shown(each["continuation"]), each["decoding"]
    return list(samples.values())


def infills(sweep: SweepRecord) -> list[Sample]:
    """The gaps of scores/infill.parquet, one sample for each gap."""
    samples: dict[tuple[str, str, str], Sample] = {}
    for run in _first(sweep):
        rows = scores(run, "infill")
        for row in [] if rows is None else rows.sort_values("item").head(SHOWN).to_dict("records"):
            gap = shown(row["left"]).strip(), shown(row["reference"]), shown(row["right"]).strip()
            sample = samples.setdefault(gap, Sample(*gap))
            sample.answers[run.arm] = shown(row["prediction"]), f"chrF {row['chrf']:.1f}"
    return list(samples.values())


def shown(text: str) -> str:
    """The text with symbols in place of control characters, which a page cannot show."""
    return text.translate(PICTURES)


def _first(sweep: SweepRecord) -> list[RunRecord]:
    """The first finished run of each arm."""
    return [
        next(run for run in sweep.done if run.arm == arm) for arm in dict.fromkeys(r.arm for r in sweep.done)
    ]


def _values(report: Report) -> Values:
    return {"continuations": continuations(report.sweep), "infills": infills(report.sweep)}


SECTION = Section("samples", "Samples", _values)
