"""The tables of claims: verdicts, the readings behind each, controls, assay and deviations."""

from __future__ import annotations

import time
from dataclasses import dataclass

from experiments.claims import Claim
from experiments.design import Cell as Place
from experiments.endpoints import ENDPOINTS, Endpoint
from experiments.readings import Finding, Reading, Standing, level
from experiments.report import claim_words as words
from experiments.report.audit import amount
from experiments.report.decision import Registered, decision, registered
from experiments.report.grid import Cell, Grid
from experiments.report.runs import Sweep
from experiments.verdicts import FALSE_VERDICTS, Assay, Decision, Outcome


LABELS: dict[Standing, str] = {
    "confirmatory": "Confirmatory verdicts, corrected by Holm",
    "exploratory": "Exploratory verdicts, corrected by Benjamini and Hochberg",
}


@dataclass(frozen=True)
class Claimed:
    """What a sweep said it would decide, and what came of it. here: its own scale in a phrase."""

    said: Registered
    decision: Decision
    here: str

    def deciding(self, outcome: Outcome) -> list[Reading]:
        """The readings that decide: the endpoint's own pooling at the own scale, under each budget."""
        own = self.said.cells[0].scale
        return [each for each in outcome.readings if each.pooling == "" and each.cell.scale == own]

    def decides(self, outcome: Outcome, reading: Reading) -> bool:
        return any(reading is each for each in self.deciding(outcome))

    def level(self, outcome: Outcome) -> float:
        return level(self.said.claims, outcome.name)

    @property
    def registered_on(self) -> str:
        return date(self.said.written)

    @property
    def failed(self) -> list[str]:
        return [outcome.name for outcome in self.decision.failed_controls]


def date(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(seconds))


def claimed(sweep: Sweep) -> Claimed | None:
    """None for a sweep without claims."""
    said = registered(sweep.folder)
    return None if said is None else Claimed(said, decision(sweep, said), here(sweep, said))


def here(sweep: Sweep, said: Registered) -> str:
    """`10,622,976 core parameters, 61,210,624 raw tokens`: of the arms of claims under the deciding budget."""
    arms = {arm for claim in said.claims.values() if claim.role == "claim" for arm in claim.arms}
    audits = [run.audit for run in sweep.runs if run.audit and run.arm in arms]
    if not audits:
        return "nothing trained yet"
    core = max(each["plan"]["parameters"]["core"] for each in audits)
    most = max(each["spent"]["tokens"] for each in audits)
    return f"{amount(core)} core parameters, {amount(most)} raw tokens"


def verdict_cell(outcome: Outcome) -> Cell:
    return Cell(outcome.verdict, outcome.why, f"verdict {words.TONES.get(outcome.verdict, 'muted')}")


VERDICT_HEADS = [
    Cell("claim"),
    Cell("verdict"),
    Cell("contrast"),
    Cell("effect", "with 95% interval"),
    Cell("published", "and how far from here"),
    Cell("p, crossed", "raw"),
    Cell("p, sign-flip", "raw"),
    Cell("p, corrected", "raw, of the claim"),
    Cell("smallest visible", "found 4 times in 5"),
    Cell("seeds needed", "for the published, or the margin"),
]


def verdicts(of: Claimed, standing: Standing) -> Grid:
    """One row a part and budget definition of each claim of this standing."""
    rows = [row for each in of.decision.claims if each.standing == standing for row in _rows(of, each)]
    return Grid(LABELS[standing], VERDICT_HEADS, rows)


def _rows(of: Claimed, outcome: Outcome) -> list[list[Cell]]:
    numbers = [
        _numbers(of, outcome, reading, finding)
        for reading in of.deciding(outcome)
        for finding in reading.findings
    ]
    numbers = numbers or [[Cell("not measured", kind="none"), *[Cell("")] * 6]]
    published = Cell(words.published(outcome.claim), words.beside(outcome.claim, of.here), "prose narrow")
    first = [Cell(outcome.name, outcome.claim.statement), verdict_cell(outcome)]
    more = [Cell(outcome.name), Cell("")]
    return [
        [*(first if number == 0 else more), *row[:2], published if number == 0 else Cell(""), *row[2:]]
        for number, row in enumerate(numbers)
    ]


def _numbers(of: Claimed, outcome: Outcome, reading: Reading, finding: Finding) -> list[Cell]:
    test, endpoint = finding.test, finding.endpoint
    needed = words.needed(finding, outcome.claim, of.level(outcome))
    return [
        Cell(finding.part.text, f"{endpoint.title}, by {words.place(reading.cell)}", "prose narrow"),
        Cell(f"{words.signed(endpoint, test.mean)} {endpoint.unit}", within(outcome.claim, finding), "fold"),
        Cell(words.p_text(test.p_crossed)),
        Cell(words.p_text(test.p_sign_flip)),
        Cell(words.p_text(reading.adjusted), words.p_text(reading.p)),
        Cell(words.smallest(finding), endpoint.unit),
        Cell(needed, kind="none" if needed == words.NOT_COMPARABLE else ""),
    ]


def within(claim: Claim, finding: Finding) -> str:
    """The 95% interval; of an equivalence the 90% interval and the margin it must lie in, too."""
    endpoint, test, narrow = finding.endpoint, finding.test, finding.equivalence
    text = words.interval(endpoint, test.low, test.high)
    if narrow is None or claim.margin is None:
        return text
    return f"{text}; 90% {words.interval(endpoint, narrow.low, narrow.high)} in ±{claim.margin:g}"


def readings(of: Claimed, outcome: Outcome) -> Grid:
    """The claim under every definition of the budget, scale and pooling; the first ones decide."""
    several = len(outcome.claim.parts) > 1
    heads = ["budget", "scale", "pooling", *(["part"] if several else []), "seeds", "effect", "95% interval"]
    rows: list[list[Cell]] = []
    for reading in outcome.readings:
        said = words.told(outcome, reading)
        first = Cell(
            words.STOPS.get(reading.cell.stop, reading.cell.stop),
            "decides" if of.decides(outcome, reading) else "",
        )
        last = [
            Cell(words.p_text(reading.p)),
            Cell(words.p_text(reading.adjusted)),
            Cell(said, kind=words.TONES.get(said, "")),
            assay_cell(of.decision, outcome.claim, reading.cell),
        ]
        if not reading.findings:
            empty = [Cell("")] * (5 if several else 4)
            end = [Cell(""), Cell(""), Cell("not testable", reading.missing, "prose bad"), last[3]]
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


def behind(of: Claimed, outcome: Outcome) -> Grid:
    """What stands behind the deciding effects: pairing, variance, what could have been seen."""
    rows = [
        [
            Cell(finding.part.text, f"{finding.endpoint.title}, by {words.place(reading.cell)}"),
            f"{finding.test.seeds} x {finding.test.items:,}",
            words.correlation(finding.pairing.seeds) if finding.pairing else "not of two arms",
            words.correlation(finding.pairing.items) if finding.pairing else "not of two arms",
            *(f"{finding.test.variances.shares[name]:.0%}" for name in ("seed", "item", "residual")),
            f"{finding.test.df:.1f}",
            Cell(words.smallest(finding), finding.endpoint.unit),
        ]
        for reading in of.deciding(outcome)
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


def assay_cell(decision: Decision, claim: Claim, place: Place) -> Cell:
    """Of the claim's tasks in a cell."""
    asked = [each for each in decision.assays if each.endpoint in claim.asked and each.cell == place]
    if not asked:
        return Cell("no task")
    failed = [ENDPOINTS[each.endpoint].title for each in asked if not each.passed]
    return Cell("failed", ", ".join(failed), "bad") if failed else Cell("passed", kind="good")


def controls(of: Claimed) -> Grid:
    rows = []
    for outcome in of.decision.controls:
        held = outcome.verdict == "supported"
        effect, p = Cell(""), Cell("")
        for reading in outcome.readings[:1]:
            for finding in reading.findings[:1]:
                endpoint, test = finding.endpoint, finding.test
                small = f"{within(outcome.claim, finding)}; {finding.part.text}"
                effect = Cell(f"{words.signed(endpoint, test.mean)} {endpoint.unit}", small)
                p = Cell(words.p_text(reading.p))
        if outcome.relabelling is not None:
            effect = Cell(
                f"{outcome.relabelling:.1%}", f"of relabellings gave a verdict; allowed {FALSE_VERDICTS:.0%}"
            )
        said = Cell("held" if held else "did not hold", outcome.why, f"verdict {'good' if held else 'bad'}")
        rows.append([Cell(outcome.name, outcome.claim.statement), said, effect, p])
    return Grid.of(
        "Controls", ["control", "outcome", Cell("effect", "with 95% interval"), Cell("p", "raw")], rows
    )


def assays(of: Claimed) -> Grid:
    rows = [[_task(each), *_assay(ENDPOINTS[each.endpoint], each)] for each in of.decision.assays]
    heads = ["task", Cell("gain over the same models from scratch", "with 95% interval"), "seeds", "assay"]
    return Grid.of("Assay of every task", heads, rows)


def _task(each: Assay) -> Cell:
    return Cell(ENDPOINTS[each.endpoint].title, f"by {words.place(each.cell)}")


def _assay(endpoint: Endpoint, each: Assay) -> list[Cell]:
    if each.gain is None:
        return [Cell("not measured", kind="none"), Cell(""), Cell("failed", kind="bad")]
    passed = Cell("passed", kind="good") if each.passed else Cell("failed", kind="bad")
    return [Cell(words.gain(endpoint, each.gain), endpoint.unit), Cell(str(each.gain.seeds)), passed]


def registry(of: Claimed) -> Grid:
    """What was written down: each claim with its hash, its contrasts and its endpoints."""
    rows = [
        [
            Cell(name, claim.statement),
            Cell(of.said.digests[name], kind="code"),
            Cell(claim.role),
            Cell(
                "; ".join(dict.fromkeys(part.text for part in claim.parts)) or claim.arm or "", kind="prose"
            ),
            Cell(", ".join(ENDPOINTS[point].title for point in claim.asked), kind="prose"),
            Cell(claim.expect, kind="prose"),
        ]
        for name, claim in of.said.claims.items()
    ]
    return Grid.of(
        "What was registered", ["claim", "hash", "role", "contrasts", "endpoints", "expected"], rows
    )


def deviations(of: Claimed) -> list[str]:
    """Every change after training began, with its time; [] if there was none."""
    return [f"{date(each['time'])}: {each['what']}" for each in of.said.deviations]
