"""Tables of claims: the verdicts, and the readings of each claim."""

from __future__ import annotations

import math

from experiments.evidence.claims.claim import Claim
from experiments.evidence.claims.condition import Condition
from experiments.evidence.claims.endpoints import endpoint_of
from experiments.evidence.claims.readings import Finding, Reading, Standing
from experiments.evidence.claims.verdicts import Decision, Outcome
from experiments.report.claimed import Claimed
from experiments.report.claims import words
from experiments.report.grid import Cell, Grid

LABELS: dict[Standing, str] = {
    "confirmatory": "Confirmatory verdicts, corrected by Holm",
    "exploratory": "Exploratory verdicts, corrected by Benjamini and Hochberg",
}


def verdict_cell(outcome: Outcome) -> Cell:
    return Cell(outcome.verdict, outcome.why, f"verdict {words.TONES.get(outcome.verdict, 'muted')}")


VERDICT_HEADS = [
    Cell("claim"),
    Cell("verdict"),
    Cell("contrast"),
    Cell("effect", "with 95% interval"),
    Cell("published"),
    Cell("p, raw", "crossed"),
    Cell("p", "corrected"),
    Cell("smallest", "visible"),
    Cell("seeds", "needed"),
]


def verdicts(claimed: Claimed, standing: Standing) -> Grid:
    """One row for each part and definition of the budget, of each claim of this standing."""
    rows = [
        row for each in claimed.decision.claims if each.standing == standing for row in _rows(claimed, each)
    ]
    return Grid(LABELS[standing], VERDICT_HEADS, rows)


def _rows(claimed: Claimed, outcome: Outcome) -> list[list[Cell]]:
    numbers = [
        _numbers(claimed, outcome, reading, finding)
        for reading in claimed.deciding(outcome)
        for finding in reading.findings
    ]
    numbers = numbers or [[Cell("not measured", kind="none"), *[Cell("")] * 5]]
    published = Cell(
        words.published(outcome.claim), words.provenance(outcome.claim, claimed.here), "prose narrow"
    )
    first = [Cell(outcome.name, outcome.claim.statement), verdict_cell(outcome)]
    more = [Cell(outcome.name), Cell("")]
    return [
        [*(first if number == 0 else more), *row[:2], published if number == 0 else Cell(""), *row[2:]]
        for number, row in enumerate(numbers)
    ]


def _numbers(claimed: Claimed, outcome: Outcome, reading: Reading, finding: Finding) -> list[Cell]:
    test, endpoint = finding.test, finding.endpoint
    needed = words.needed(finding, outcome.claim, claimed.level(outcome))
    return [
        Cell(finding.part.text, f"{endpoint.title}, by {words.place(reading.cell)}", "prose narrow"),
        Cell(f"{words.signed(endpoint, test.mean)} {endpoint.unit}", within(outcome.claim, finding), "fold"),
        Cell(words.p_text(test.p_crossed), f"sign-flip {words.p_text(test.p_sign_flip)}"),
        Cell(words.p_text(reading.adjusted), f"raw {words.p_text(reading.p)}"),
        smallest(finding),
        Cell(needed, kind="none" if needed == words.NOT_COMPARABLE else ""),
    ]


def smallest(finding: Finding) -> Cell:
    return Cell(words.smallest(finding), "" if math.isinf(finding.smallest) else finding.endpoint.unit)


def within(claim: Claim, finding: Finding) -> str:
    """The 95% interval; for an equivalence also the 90% interval and the margin that must contain it."""
    endpoint, test, narrow = finding.endpoint, finding.test, finding.equivalence
    text = words.interval(endpoint, test.low, test.high)
    if narrow is None or claim.margin is None:
        return text
    return f"{text}; 90% {words.interval(endpoint, narrow.low, narrow.high)} in ±{claim.margin:g}"


def readings(claimed: Claimed, outcome: Outcome) -> Grid:
    """The claim under every definition of the budget, scale and pooling; marks the readings that decide."""
    several = len(outcome.claim.parts) > 1
    heads = ["budget", "scale", "pooling", *(["part"] if several else []), "seeds", "effect", "95% interval"]
    rows: list[list[Cell]] = []
    for reading in outcome.readings:
        verdict = words.verdict_of(outcome, reading)
        first = Cell(
            words.STOPS.get(reading.cell.stop, reading.cell.stop),
            "decides" if claimed.decides(outcome, reading) else "",
        )
        last = [
            Cell(words.p_text(reading.p)),
            Cell(words.p_text(reading.adjusted)),
            Cell(verdict, kind=words.TONES.get(verdict, "")),
            assay_cell(claimed.decision, outcome.claim, reading.cell),
        ]
        if not reading.findings:
            empty = [Cell("")] * (5 if several else 4)
            end = [
                Cell(""),
                Cell(""),
                Cell("not testable", reading.missing, "prose bad"),
                last[3],
            ]
            rows.append([first, Cell(f"x {reading.cell.scale:g}"), *empty, *end])
        for finding in reading.findings:
            endpoint, test = finding.endpoint, finding.test
            rows.append(
                [
                    first,
                    Cell(f"x {reading.cell.scale:g}"),
                    Cell(words.pooling(reading, endpoint) or "none"),
                    *([Cell(finding.part.text, endpoint.title)] if several else []),
                    Cell(str(test.seeds)),
                    Cell(words.signed(endpoint, test.mean), endpoint.unit),
                    Cell(words.interval(endpoint, test.low, test.high)),
                    *last,
                ]
            )
    label = f"{outcome.name} under every budget, scale and pooling"
    return Grid.of(label, [*heads, "p, raw", "p, corrected", "verdict", "assay"], rows)


def behind(claimed: Claimed, outcome: Outcome) -> Grid:
    """The pairing, the variances and the smallest visible effect behind each deciding effect."""
    rows = [
        [
            Cell(finding.part.text, f"{finding.endpoint.title}, by {words.place(reading.cell)}"),
            f"{finding.test.seeds} x {finding.test.items:,}",
            words.correlation(finding.pairing.seeds) if finding.pairing else "not of two arms",
            words.correlation(finding.pairing.items) if finding.pairing else "not of two arms",
            *(f"{finding.test.variances.shares[name]:.0%}" for name in ("seed", "item", "residual")),
            f"{finding.test.df:.1f}",
            smallest(finding),
        ]
        for reading in claimed.deciding(outcome)
        for finding in reading.findings
    ]
    heads = [
        "contrast",
        Cell("seeds x items"),
        Cell("pairing over seeds", "correlation"),
        Cell("pairing over items", "correlation"),
        Cell("seed", "share of variance"),
        Cell("item", "share of variance"),
        Cell("residual", "share of variance"),
        Cell("df", "Satterthwaite"),
        "smallest visible",
    ]
    return Grid.of(f"{outcome.name}: pairing and variance", heads, rows)


def assay_cell(decision: Decision, claim: Claim, condition: Condition) -> Cell:
    """Whether the claim's tasks pass their assay under a condition."""
    assays = [each for each in decision.assays if each.endpoint in claim.asked and each.cell == condition]
    if not assays:
        return Cell("no task")
    if any(each.gain is None for each in assays):
        return Cell("not measured", kind="none")
    failed = [endpoint_of(each.endpoint).title for each in assays if not each.passed]
    return Cell("failed", ", ".join(failed), "bad") if failed else Cell("passed", kind="good")
