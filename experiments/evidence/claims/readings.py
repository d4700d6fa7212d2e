"""Tests a claim under one condition and pooling: each part, then the claim as a whole."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from experiments.evidence.claims.claim import ALPHA, CONFIRMATORY, Claim, Part
from experiments.evidence.claims.condition import Condition
from experiments.evidence.claims.endpoint import Endpoint
from experiments.evidence.claims.endpoints import endpoint_of
from experiments.evidence.claims.items import Items, Table, contrast, table
from experiments.evidence.stats import (
    Equivalence,
    Pairing,
    Test,
    crossed_test,
    equivalence_test,
    pairing,
    smallest_visible,
)
from experiments.evidence.stats.corrections import benjamini_hochberg, holm

FALSE_DISCOVERIES = 0.10  # Benjamini-Hochberg's q, for exploratory claims

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
Scored = Mapping[int, Items | None]  # seed -> items; a seed with None, or missing, has no scores


@dataclass(frozen=True)
class Material:
    """All that decisions are made from.

    cells     the conditions, the deciding one first
    scratch   {arm: its untrained twin}
    seeds     how many are declared
    scored    (arm, cell, endpoint, pooling) -> the scores of its runs, {} if there are none
    diverged  (arm, cell) -> the seeds that diverged; they count as run and are never trained again
    excused   {control: reason} of controls that no verdict depends on
    """

    claims: dict[str, Claim]
    cells: list[Condition]
    scratch: dict[str, str]
    seeds: int
    scored: Callable[[str, Condition, str, str], Scored]
    diverged: Callable[[str, Condition], set[int]]
    excused: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Finding:
    """The tests of one part of a claim under one condition, in the endpoint's unit.

    Positive is in favour of the claim. smallest: the difference that this sweep would find four times in
    five, given the variances that it saw and the level after correction.
    """

    part: Part
    table: Table
    test: Test
    equivalence: Equivalence | None
    pairing: Pairing | None
    smallest: float

    @property
    def endpoint(self) -> Endpoint:
        return endpoint_of(self.part.endpoint)

    @property
    def per_seed(self) -> dict[int, float]:
        """The contrast's mean over items, by seed."""
        return dict(zip(self.table.seeds, self.table.values.mean(axis=1).tolist(), strict=True))


@dataclass(frozen=True)
class Reading:
    """A claim tested under one condition and pooling ("" = each endpoint's own).

    p: of the whole claim, uncorrected. adjusted: by Holm, or by Benjamini-Hochberg for exploratory claims.
    missing: why it could not be tested, "" if it could.
    """

    cell: Condition
    pooling: str
    findings: list[Finding]
    p: float
    adjusted: float
    verdict: Verdict
    missing: str = ""

    @property
    def in_favour(self) -> bool:
        """Whether every part's mean is in favour of the claim."""
        return all(finding.test.mean > 0 for finding in self.findings)


def standings(claims: Mapping[str, Claim]) -> dict[str, Standing]:
    """Returns each claim's standing: control; confirmatory, the first six claims; exploratory, the others."""
    confirmatory = [name for name, claim in claims.items() if claim.role == "claim"][:CONFIRMATORY]
    return {
        name: "control"
        if claim.role == "control"
        else "confirmatory"
        if name in confirmatory
        else "exploratory"
        for name, claim in claims.items()
    }


def level(claims: Mapping[str, Claim], name: str) -> float:
    """Returns the significance level that the claim must reach if its p is the least of its standing."""
    standing = standings(claims)
    if standing[name] == "control":
        return ALPHA
    bound = ALPHA if standing[name] == "confirmatory" else FALSE_DISCOVERIES
    return bound / sum(other == standing[name] for other in standing.values())


def poolings(claim: Claim) -> list[str]:
    """Returns "", for each endpoint's own pooling, and the other poolings that any endpoint has."""
    others = [endpoint_of(name).other for name in claim.asked]
    return ["", *sorted({other[0] for other in others if other})]


def read(material: Material, name: str, cell: Condition, pooling: str = "") -> Reading:
    """Returns the tests of a claim, not yet corrected or judged."""
    claim = material.claims[name]
    findings: list[Finding] = []
    missing: list[str] = []
    for part in claim.parts:
        endpoint = endpoint_of(part.endpoint)
        read_by = pooling if endpoint.other and pooling == endpoint.other[0] else endpoint.pooling
        scored = {arm: material.scored(arm, cell, part.endpoint, read_by) for arm in part.contrast}
        missing += _missing(material, cell, part, scored)
        values = contrast(part.contrast, scored, endpoint.sign)
        if values is not None and len(values.seeds) >= 2:
            findings.append(_finding(part, values, scored, claim.margin, level(material.claims, name)))
    if len(findings) < len(claim.parts) and not missing:
        missing = ["fewer than two seeds came through in every arm"]
    p = 1.0 if missing else _p(claim, findings)
    return Reading(cell, pooling, findings, p, p, "undecided", "; ".join(dict.fromkeys(missing)))


def _missing(material: Material, cell: Condition, part: Part, scored: Mapping[str, Scored]) -> list[str]:
    """Returns a sentence for each arm whose runs lack scores. Diverged runs are not missing."""
    sentences = []
    for arm, by_seed in scored.items():
        diverged = material.diverged(arm, cell)
        lost = [seed for seed in range(material.seeds) if by_seed.get(seed) is None and seed not in diverged]
        if lost:
            what = f"{endpoint_of(part.endpoint).title} for {len(lost)} of {material.seeds} seeds"
            sentences.append(f"arm '{arm}' has no {what}")
    return sentences


def _finding(
    part: Part, values: Table, scored: Mapping[str, Scored], margin: float | None, alpha: float
) -> Finding:
    test = crossed_test(values.values)
    return Finding(
        part,
        values,
        test,
        None if margin is None else equivalence_test(values.values, margin),
        _pairing(values, scored) if len(part.contrast) == 2 else None,
        smallest_visible(test.variances, test.seeds, test.items, alpha),
    )


def _pairing(values: Table, scored: Mapping[str, Scored]) -> Pairing:
    first, second = (table({seed: by_seed[seed] for seed in values.seeds}) for by_seed in scored.values())
    assert first is not None
    assert second is not None
    return pairing(first.values, second.values)


def _p(claim: Claim, findings: list[Finding]) -> float:
    """Returns the p of the claim, for the side that the results are on.

    If every part is in favour, it is the largest p. If a part is against, it is the least p of those, times
    the number of parts (Bonferroni).
    """
    if claim.kind == "equivalence":
        return _equivalence_p(claim, findings[0])
    against = [finding.test.p for finding in findings if finding.test.mean <= 0]
    if not against:
        return max(finding.test.p for finding in findings)
    return min(1.0, len(findings) * min(against))


def _equivalence_p(claim: Claim, finding: Finding) -> float:
    """Returns the p of being inside the margin, or if the mean is outside, of being outside."""
    assert finding.equivalence is not None
    assert claim.margin is not None
    if abs(finding.test.mean) <= claim.margin:
        return finding.equivalence.p
    return crossed_test(finding.table.values, null=math.copysign(claim.margin, finding.test.mean)).p


def corrected(material: Material, readings: dict[str, Reading]) -> dict[str, Reading]:
    """Returns the readings of all claims under one condition and pooling, with adjusted p and verdict.

    p is adjusted among the claims of one standing: by Holm (1979) for confirmatory claims, by Benjamini and
    Hochberg (1995) for exploratory ones.
    """
    standing = standings(material.claims)
    done: dict[str, Reading] = {}
    for kind, correct, bound in (
        ("confirmatory", holm, ALPHA),
        ("exploratory", benjamini_hochberg, FALSE_DISCOVERIES),
    ):
        group = {name: reading for name, reading in readings.items() if standing[name] == kind}
        adjusted = correct([reading.p for reading in group.values()])
        for (name, reading), p in zip(group.items(), adjusted, strict=True):
            done[name] = judged(replace(reading, adjusted=p), material.claims[name], bound)
    return done


def judged(reading: Reading, claim: Claim, bound: float = ALPHA) -> Reading:
    """Returns the reading with its verdict, which depends on whether its adjusted p is below `bound`."""
    return replace(reading, verdict=_verdict(reading, claim, bound))


def _verdict(reading: Reading, claim: Claim, bound: float) -> Verdict:
    if reading.missing:
        return "not testable"
    if reading.adjusted >= bound:
        return "could not have been seen" if _unseen(reading, claim) else "undecided"
    if claim.kind != "equivalence":
        return "supported" if reading.in_favour else "contradicted"
    assert claim.margin is not None
    return "equivalent" if abs(reading.findings[0].test.mean) <= claim.margin else "contradicted"


def _unseen(reading: Reading, claim: Claim) -> bool:
    """Whether the published effect is smaller than what this sweep could have found."""
    effect = claim.published.effect
    if not claim.published.comparable or effect is None or claim.kind == "equivalence":
        return False
    return any(abs(effect) < finding.smallest for finding in reading.findings)
