"""From results per item to verdicts: every part of a claim tested, corrected, gated, and put into words.

The rules are those of `docs/statistics.md`. Supported or contradicted needs both the crossed test and the exact
sign-flip after Holm's correction; a failed control, a failed assay or a missing run leaves a claim not testable.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from experiments import evidence
from experiments.claims import CONFIRMATORY, Claim, Part
from experiments.corrections import benjamini_hochberg, holm
from experiments.design import Cell
from experiments.endpoints import ENDPOINTS, Endpoint
from experiments.evidence import Items, Table
from experiments.stats import (
    Equivalence,
    Pairing,
    Test,
    crossed_test,
    equivalence_test,
    pairing,
    relabelled,
    smallest_visible,
)

ALPHA = 0.05
FALSE_DISCOVERIES = 0.10  # Benjamini-Hochberg's q for exploratory claims
RELABELLINGS = 200

Verdict = Literal[
    "supported",
    "contradicted",
    "equivalent",
    "undecided",
    "could not have been seen",
    "not testable",
    "depends on the budget's definition",
]
Standing = Literal["control", "confirmatory", "exploratory"]
Scored = Mapping[int, Items | None]  # the items of each seed; None or not there: not scored


@dataclass(frozen=True)
class Finding:
    """One part of a claim under one cell, in the endpoint's unit; positive is in favour of the claim.

    per_seed: the contrast's mean over items, by seed. smallest: the difference that this sweep would have
    found four times in five, from the variances it saw, at the level that the correction leaves.
    """

    part: Part
    table: Table
    test: Test
    equivalence: Equivalence | None
    pairing: Pairing | None
    smallest: float

    @property
    def endpoint(self) -> Endpoint:
        return ENDPOINTS[self.part.endpoint]

    @property
    def per_seed(self) -> dict[int, float]:
        return dict(zip(self.table.seeds, self.table.values.mean(axis=1).tolist(), strict=True))


@dataclass(frozen=True)
class Reading:
    """A claim under one cell and pooling. p: raw, of the whole claim; adjusted: Holm's, or for exploratory
    claims Benjamini-Hochberg's. missing: why it could not be read, "" if it could."""

    cell: Cell
    pooling: str
    findings: list[Finding]
    p: float
    adjusted: float
    verdict: Verdict
    missing: str = ""

    @property
    def in_favour(self) -> bool:
        return all(finding.test.mean > 0 for finding in self.findings)


@dataclass(frozen=True)
class Assay:
    """Do pretrained arms together beat the same models from scratch? gain: by how much, in the endpoint's unit."""

    endpoint: str
    cell: Cell
    gain: Test | None

    @property
    def passed(self) -> bool:
        return self.gain is not None and self.gain.low > 0


@dataclass(frozen=True)
class Outcome:
    """What is said of a claim, why, and every reading behind it, the deciding one first.

    relabelling: of an A/A control, the share of relabellings that gave a verdict.
    """

    name: str
    claim: Claim
    standing: Standing
    verdict: Verdict
    why: str
    readings: list[Reading] = field(default_factory=list)
    relabelling: float | None = None


@dataclass(frozen=True)
class Decision:
    """All that a sweep's claims came to. validated: every control held."""

    outcomes: list[Outcome]
    assays: list[Assay]

    @property
    def controls(self) -> list[Outcome]:
        return [outcome for outcome in self.outcomes if outcome.standing == "control"]

    @property
    def claims(self) -> list[Outcome]:
        return [outcome for outcome in self.outcomes if outcome.standing != "control"]

    @property
    def failed_controls(self) -> list[Outcome]:
        return [outcome for outcome in self.controls if outcome.verdict != "supported"]


@dataclass(frozen=True)
class Material:
    """What decisions are made of. cells: the deciding one first; scratch: arm -> the untrained arm of its shape.

    seeds: as declared. scored(arm, cell, endpoint, pooling): what its runs scored, empty if there are none.
    diverged(arm, cell): the seeds that did, which count and are never trained again.
    """

    claims: dict[str, Claim]
    cells: list[Cell]
    scratch: dict[str, str]
    seeds: int
    scored: Callable[[str, Cell, str, str], Scored]
    diverged: Callable[[str, Cell], set[int]]


def standings(claims: Mapping[str, Claim]) -> dict[str, Standing]:
    """Controls, then the first six claims as confirmatory, the others as exploratory."""
    claimed = [name for name, claim in claims.items() if claim.role == "claim"]
    return {
        name: "control"
        if claim.role == "control"
        else "confirmatory"
        if name in claimed[:CONFIRMATORY]
        else "exploratory"
        for name, claim in claims.items()
    }


def level(claims: Mapping[str, Claim], name: str) -> float:
    """The significance level that a claim must reach if it has the least p of its kind."""
    standing = standings(claims)
    confirmatory = sum(each == "confirmatory" for each in standing.values())
    return ALPHA / confirmatory if standing[name] == "confirmatory" else ALPHA


def decide(material: Material) -> Decision:
    """Every control and claim, judged."""
    controls = {name: claim for name, claim in material.claims.items() if claim.role == "control"}
    outcomes = [_control(material, name, claim) for name, claim in controls.items()]
    failed = [outcome.name for outcome in outcomes if outcome.verdict != "supported"]
    assays = _assays(material)
    claims = {name: claim for name, claim in material.claims.items() if claim.role == "claim"}
    readings = {name: _readings(material, name, claim) for name, claim in claims.items()}
    corrected = _corrected(material, readings)
    for name, claim in claims.items():
        outcomes.append(_outcome(material, name, claim, corrected[name], assays, failed))
    return Decision(outcomes, assays)


def _control(material: Material, name: str, claim: Claim) -> Outcome:
    own = material.cells[0]
    if claim.kind == "relabelling":
        return _relabelling(material, name, claim, own)
    reading = _judged(_read(material, name, claim, own, ENDPOINTS[claim.asked[0]].pooling), claim)
    why = reading.missing or f"p = {reading.p:.2g}, uncorrected"
    return Outcome(name, claim, "control", reading.verdict, why, [reading])


def _relabelling(material: Material, name: str, claim: Claim, own: Cell) -> Outcome:
    assert claim.arm is not None
    endpoint = ENDPOINTS[claim.endpoints[0]]
    found = evidence.table(material.scored(claim.arm, own, claim.endpoints[0], endpoint.pooling))
    seeds = 0 if found is None else len(found.seeds) // 2
    if found is None or len(found.seeds) < 2 * material.seeds:
        why = f"{0 if found is None else len(found.seeds)} of {2 * material.seeds} seeds are there"
        return Outcome(name, claim, "control", "not testable", why)
    share = relabelled(found.values[: 2 * seeds], lambda d: crossed_test(d).p < ALPHA, RELABELLINGS)
    told = f"{share:.1%} of {RELABELLINGS} relabellings of one arm gave a verdict; allowed are {ALPHA:.0%}"
    return Outcome(
        name, claim, "control", "supported" if share <= ALPHA else "contradicted", told, relabelling=share
    )


def _assays(material: Material) -> list[Assay]:
    """For every task that a claim is on and every cell: all its arms against the same from scratch."""
    wanted: dict[str, set[str]] = {}
    for claim in material.claims.values():
        for name in claim.asked if claim.role == "claim" else []:
            if ENDPOINTS[name].task:
                wanted.setdefault(name, set()).update(claim.arms)
    return [
        Assay(name, cell, _gain(material, name, cell, sorted(arms)))
        for name, arms in wanted.items()
        for cell in material.cells
    ]


def _gain(material: Material, name: str, cell: Cell, arms: list[str]) -> Test | None:
    endpoint, own = ENDPOINTS[name], material.cells[0]
    weights: dict[str, float] = {}
    there: dict[str, Scored] = {}
    for arm in arms:
        untrained = material.scratch[arm]
        weights[arm] = 1 / len(arms)
        weights[untrained] = weights.get(untrained, 0) - 1 / len(arms)
        there[arm] = material.scored(arm, cell, name, endpoint.pooling)
        there[untrained] = material.scored(untrained, own, name, endpoint.pooling)
    found = evidence.contrast(weights, there, endpoint.sign)
    return None if found is None or len(found.seeds) < 2 else crossed_test(found.values)


def _readings(material: Material, name: str, claim: Claim) -> list[Reading]:
    """One for each cell and pooling, not yet corrected; the deciding one first."""
    other = {ENDPOINTS[point].other[0] for point in claim.asked if ENDPOINTS[point].other}  # type: ignore[index]
    poolings = ["", *sorted(other)]
    return [_read(material, name, claim, cell, pooling) for pooling in poolings for cell in material.cells]


def _read(material: Material, name: str, claim: Claim, cell: Cell, pooling: str) -> Reading:
    findings, missing = [], []
    for part in claim.parts:
        endpoint = ENDPOINTS[part.endpoint]
        asked = pooling if endpoint.other and pooling == endpoint.other[0] else endpoint.pooling
        there = {arm: material.scored(arm, cell, part.endpoint, asked) for arm in part.contrast}
        missing += _missing(material, part, cell, there)
        found = evidence.contrast(part.contrast, there, endpoint.sign)
        if found is not None and len(found.seeds) >= 2:
            findings.append(_finding(part, found, there, claim.margin, level(material.claims, name)))
    if not findings or len(findings) < len(claim.parts):
        missing = missing or ["no two seeds have what it is decided on"]
    p = _p(claim, findings) if not missing else 1.0
    return Reading(cell, pooling, findings, p, p, "undecided", "; ".join(dict.fromkeys(missing)))


def _missing(material: Material, part: Part, cell: Cell, there: Mapping[str, Scored]) -> list[str]:
    """Runs that should be there and are not. A diverged one is told of elsewhere: it counts, and is not missing."""
    told = []
    for arm, scored in there.items():
        diverged = material.diverged(arm, cell)
        lost = [s for s in range(material.seeds) if scored.get(s) is None and s not in diverged]
        if lost:
            told.append(
                f"{arm} has no {ENDPOINTS[part.endpoint].title} for {len(lost)} of {material.seeds} seeds"
            )
    return told


def _finding(
    part: Part, found: Table, there: Mapping[str, Scored], margin: float | None, alpha: float
) -> Finding:
    test = crossed_test(found.values)
    pair = None
    if len(part.contrast) == 2:
        one, two = (evidence.table({seed: there[arm][seed] for seed in found.seeds}) for arm in part.contrast)
        assert one is not None
        assert two is not None
        pair = pairing(one.values, two.values)
    return Finding(
        part,
        found,
        test,
        None if margin is None else equivalence_test(found.values, margin),
        pair,
        smallest_visible(test.variances, test.seeds, test.items, alpha),
    )


def _p(claim: Claim, findings: list[Finding]) -> float:
    """Of the claim's more likely side: of being so in all parts (the largest), or against it in any (Bonferroni)."""
    if claim.kind == "equivalence":
        [found] = findings
        assert found.equivalence is not None
        assert claim.margin is not None
        if abs(found.test.mean) <= claim.margin:
            return found.equivalence.p
        return crossed_test(found.table.values, null=math.copysign(claim.margin, found.test.mean)).p
    if all(found.test.mean > 0 for found in findings):
        return max(found.test.p for found in findings)
    return min(1.0, len(findings) * min(found.test.p for found in findings if found.test.mean <= 0))


def _corrected(material: Material, readings: dict[str, list[Reading]]) -> dict[str, list[Reading]]:
    """Each reading with its p adjusted among the claims of its standing, in its cell and pooling, and judged."""
    standing = standings(material.claims)
    done: dict[str, list[Reading]] = {name: [] for name in readings}
    for place in range(max((len(each) for each in readings.values()), default=0)):
        for kind, correct in (("confirmatory", holm), ("exploratory", benjamini_hochberg)):
            # Claims without a second pooling are decided beside the others by their only one.
            group = {
                n: each[place % len(material.cells)] if place >= len(each) else each[place]
                for n, each in readings.items()
                if standing[n] == kind
            }
            for (name, reading), adjusted in zip(
                group.items(), correct([r.p for r in group.values()]), strict=True
            ):
                if place < len(readings[name]):
                    bound = ALPHA if kind == "confirmatory" else FALSE_DISCOVERIES
                    done[name].append(_judged(reading, material.claims[name], adjusted, bound))
    return done


def _judged(reading: Reading, claim: Claim, adjusted: float | None = None, bound: float = ALPHA) -> Reading:
    adjusted = reading.p if adjusted is None else adjusted
    if reading.missing:
        return replace(reading, adjusted=adjusted, verdict="not testable")
    verdict: Verdict = "undecided"
    if adjusted < bound:
        if claim.kind == "equivalence":
            assert claim.margin is not None
            inside = abs(reading.findings[0].test.mean) <= claim.margin
            verdict = "equivalent" if inside else "contradicted"
        else:
            verdict = "supported" if reading.in_favour else "contradicted"
    elif _unseen(reading, claim):
        verdict = "could not have been seen"
    return replace(reading, adjusted=adjusted, verdict=verdict)


def _unseen(reading: Reading, claim: Claim) -> bool:
    """Whether what was published is smaller than what could have been found here."""
    effect = claim.published.effect
    if not claim.published.comparable or effect is None or claim.kind == "equivalence":
        return False
    return any(abs(effect) < finding.smallest for finding in reading.findings)


def _outcome(
    material: Material,
    name: str,
    claim: Claim,
    readings: list[Reading],
    assays: list[Assay],
    failed: list[str],
) -> Outcome:
    standing = standings(material.claims)[name]
    deciding = [
        reading
        for reading in readings[: len(material.cells)]
        if reading.cell.scale == material.cells[0].scale
    ]
    lacking = [
        each
        for each in assays
        if each.endpoint in claim.asked and each.cell.scale == material.cells[0].scale and not each.passed
    ]
    first = deciding[0]
    if failed:
        return Outcome(
            name,
            claim,
            standing,
            "not testable",
            f"apparatus not validated: {', '.join(failed)} did not hold",
            readings,
        )
    missing = [reading for reading in deciding if reading.missing]
    if missing:
        return Outcome(name, claim, standing, "not testable", missing[0].missing, readings)
    if lacking:
        titles = ", ".join(dict.fromkeys(ENDPOINTS[each.endpoint].title for each in lacking))
        return Outcome(
            name,
            claim,
            standing,
            "not testable",
            f"the assay failed: pretrained arms do not beat those from scratch on {titles}",
            readings,
        )
    if len({reading.verdict for reading in deciding}) > 1:
        told = ", ".join(f"{reading.verdict} by {reading.cell.stop}" for reading in deciding)
        return Outcome(name, claim, standing, "depends on the budget's definition", told, readings)
    correction = "Holm" if standing == "confirmatory" else "Benjamini-Hochberg, exploratory"
    words = " and ".join(f"p = {reading.adjusted:.2g} by {reading.cell.stop}" for reading in deciding)
    return Outcome(name, claim, standing, first.verdict, f"{words} ({correction})", readings)
