"""A claim read under one budget, scale and pooling: tested part by part, then as a whole."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from experiments.evidence.claims import items as evidence
from experiments.evidence.claims.claim import ALPHA, CONFIRMATORY, Claim, Part
from experiments.evidence.claims.condition import Condition
from experiments.evidence.claims.endpoint import Endpoint
from experiments.evidence.claims.endpoints import endpoint_of
from experiments.evidence.claims.items import Items, Table
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

FALSE_DISCOVERIES = 0.10  # Benjamini-Hochberg's q for exploratory claims

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
class Material:
    """What decisions are made of. cells: the deciding one first; scratch: an arm's untrained twin.

    seeds: as declared. scored(arm, cell, endpoint, pooling): what its runs scored, empty if there are none.
    diverged(arm, cell): the seeds that did, which count and are never trained again. excused: controls that
    gate nothing, and why.
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
    """One part of a claim under one cell, in the endpoint's unit; positive is in favour of the claim.

    smallest: the difference that this sweep would have found four times in five, by the variances it saw, at
    the level that the correction leaves.
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
    """A claim under one cell and pooling ("" is each endpoint's own).

    p: raw, of the whole claim; adjusted: Holm's, or for exploratory claims Benjamini-Hochberg's. missing: why
    it could not be read, "" if it could.
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
        return all(finding.test.mean > 0 for finding in self.findings)


def standings(claims: Mapping[str, Claim]) -> dict[str, Standing]:
    """Controls; the first six claims, confirmatory; the others, exploratory."""
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
    """The significance level that the claim must reach if it has the least p of its standing."""
    standing = standings(claims)
    if standing[name] == "control":
        return ALPHA
    bound = ALPHA if standing[name] == "confirmatory" else FALSE_DISCOVERIES
    return bound / sum(each == standing[name] for each in standing.values())


def poolings(claim: Claim) -> list[str]:
    """Its own, then what any of its endpoints can be read by besides."""
    others = [endpoint_of(name).other for name in claim.asked]
    return ["", *sorted({other[0] for other in others if other})]


def read(material: Material, name: str, cell: Condition, pooling: str = "") -> Reading:
    """Tested, not yet corrected or judged."""
    claim = material.claims[name]
    findings: list[Finding] = []
    missing: list[str] = []
    for part in claim.parts:
        endpoint = endpoint_of(part.endpoint)
        asked = pooling if endpoint.other and pooling == endpoint.other[0] else endpoint.pooling
        there = {arm: material.scored(arm, cell, part.endpoint, asked) for arm in part.contrast}
        missing += _missing(material, cell, part, there)
        found = evidence.contrast(part.contrast, there, endpoint.sign)
        if found is not None and len(found.seeds) >= 2:
            findings.append(_finding(part, found, there, claim.margin, level(material.claims, name)))
    if len(findings) < len(claim.parts) and not missing:
        missing = ["fewer than two seeds came through in every arm"]
    p = 1.0 if missing else _p(claim, findings)
    return Reading(cell, pooling, findings, p, p, "undecided", "; ".join(dict.fromkeys(missing)))


def _missing(material: Material, cell: Condition, part: Part, there: Mapping[str, Scored]) -> list[str]:
    """Runs that should be there and are not. A diverged one counts and is told of elsewhere."""
    told = []
    for arm, scored in there.items():
        diverged = material.diverged(arm, cell)
        lost = [seed for seed in range(material.seeds) if scored.get(seed) is None and seed not in diverged]
        if lost:
            what = f"{endpoint_of(part.endpoint).title} for {len(lost)} of {material.seeds} seeds"
            told.append(f"arm '{arm}' has no {what}")
    return told


def _finding(
    part: Part, found: Table, there: Mapping[str, Scored], margin: float | None, alpha: float
) -> Finding:
    test = crossed_test(found.values)
    return Finding(
        part,
        found,
        test,
        None if margin is None else equivalence_test(found.values, margin),
        _pairing(found, there) if len(part.contrast) == 2 else None,
        smallest_visible(test.variances, test.seeds, test.items, alpha),
    )


def _pairing(found: Table, there: Mapping[str, Scored]) -> Pairing:
    one, two = (evidence.table({seed: scored[seed] for seed in found.seeds}) for scored in there.values())
    assert one is not None
    assert two is not None
    return pairing(one.values, two.values)


def _p(claim: Claim, findings: list[Finding]) -> float:
    """Of the side the results are on: holding in every part (the largest), or failing in one (Bonferroni)."""
    if claim.kind == "equivalence":
        return _equivalence_p(claim, findings[0])
    against = [finding.test.p for finding in findings if finding.test.mean <= 0]
    if not against:
        return max(finding.test.p for finding in findings)
    return min(1.0, len(findings) * min(against))


def _equivalence_p(claim: Claim, found: Finding) -> float:
    """Of being inside the margin, or where the mean is outside of it, of being outside."""
    assert found.equivalence is not None
    assert claim.margin is not None
    if abs(found.test.mean) <= claim.margin:
        return found.equivalence.p
    return crossed_test(found.table.values, null=math.copysign(claim.margin, found.test.mean)).p


def corrected(material: Material, readings: dict[str, Reading]) -> dict[str, Reading]:
    """One cell and pooling of every claim: p adjusted among the claims of each standing, and judged.

    Holm (1979) for confirmatory claims, Benjamini and Hochberg (1995) for exploratory ones.
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
    """The reading with its verdict: what its adjusted p, below `bound` or not, says."""
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
    """Whether what was published is smaller than what could have been found here."""
    effect = claim.published.effect
    if not claim.published.comparable or effect is None or claim.kind == "equivalence":
        return False
    return any(abs(effect) < finding.smallest for finding in reading.findings)
