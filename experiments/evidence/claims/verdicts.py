"""From results per item to verdicts: controls and assay first, then every claim, and why.

The rules are those of `docs/statistics.md`. A control that does not hold, an assay that fails or a run that
is missing leaves a claim not testable.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from experiments.evidence.claims import items as evidence
from experiments.evidence.claims.claim import Claim
from experiments.evidence.claims.condition import Condition
from experiments.evidence.claims.endpoints import endpoint_of
from experiments.evidence.claims.readings import (
    ALPHA,
    Material,
    Reading,
    Scored,
    Standing,
    Verdict,
    corrected,
    judged,
    poolings,
    read,
    standings,
)
from experiments.evidence.stats import Test, crossed_test, relabelled

FOUND: set[Verdict] = {"supported", "contradicted", "equivalent"}
RELABELLINGS = 200
# Verdicts that an arm may give against itself. The expected share is 5% at most; of one arm and 200 splits,
# which share seeds, more than this do by chance one time in fifty (docs/statistics.md).
FALSE_VERDICTS = 0.08
CORRECTIONS = {"confirmatory": "Holm", "exploratory": "Benjamini-Hochberg, exploratory"}


@dataclass(frozen=True)
class Assay:
    """Do pretrained arms together beat the same models from scratch? gain: in the endpoint's unit."""

    endpoint: str
    cell: Condition
    gain: Test | None

    @property
    def passed(self) -> bool:
        return self.gain is not None and self.gain.low > 0


@dataclass(frozen=True)
class Outcome:
    """What is said of a claim, why, and every reading behind it, the deciding one first.

    relabelling: of an A/A control, the share of relabellings that gave a verdict. excused: why a control
    gates nothing, "" if it does.
    """

    name: str
    claim: Claim
    standing: Standing
    verdict: Verdict
    why: str
    readings: list[Reading] = field(default_factory=list)
    relabelling: float | None = None
    excused: str = ""

    @property
    def held(self) -> bool:
        """Whether what is stated was found."""
        return self.verdict in ("supported", "equivalent")


@dataclass(frozen=True)
class Decision:
    """All that a sweep's claims came to.

    A claim has a verdict only if a control gates it and every one that does holds.
    """

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
        """If there is one the apparatus is not validated, and no verdict is given."""
        return failed(self.controls)


def decide(material: Material) -> Decision:
    """Every control and claim, judged."""
    controls = decide_controls(material)
    unvalidated = _unvalidated(controls)
    assays = _assays(material)
    claims = [name for name, claim in material.claims.items() if claim.role == "claim"]
    readings: dict[str, list[Reading]] = {name: [] for name in claims}
    for pooling in sorted({each for name in claims for each in poolings(material.claims[name])}):
        for cell in material.cells:
            # A claim that has no such pooling is read by its own, so that the correction counts every claim.
            raw = {name: read(material, name, cell, pooling) for name in claims}
            for name, reading in corrected(material, raw).items():
                if pooling in poolings(material.claims[name]):
                    readings[name].append(reading)
    return Decision(
        [*controls, *(_outcome(material, name, readings[name], assays, unvalidated) for name in claims)],
        assays,
    )


def decide_controls(material: Material) -> list[Outcome]:
    """The controls alone, which are run before anything else; each at 5%, uncorrected."""
    names = [name for name, claim in material.claims.items() if claim.role == "control"]
    return [replace(_control(material, name), excused=material.excused.get(name, "")) for name in names]


def failed(controls: Iterable[Outcome]) -> list[Outcome]:
    """Those that do not hold, but for the excused."""
    return [outcome for outcome in controls if not outcome.held and not outcome.excused]


def _unvalidated(controls: list[Outcome]) -> str:
    """Why no verdict may be given, "" if it may."""
    if lost := [outcome.name for outcome in failed(controls)]:
        return f"{', '.join(lost)} did not hold"
    return "" if any(not outcome.excused for outcome in controls) else "no control gates the claims"


def _control(material: Material, name: str) -> Outcome:
    claim = material.claims[name]
    if claim.kind == "relabelling":
        return _relabelling(material, name)
    reading = judged(read(material, name, material.cells[0]), claim)
    return Outcome(
        name, claim, "control", reading.verdict, reading.missing or f"p = {reading.p:.2g}", [reading]
    )


def _relabelling(material: Material, name: str) -> Outcome:
    """A/A: the share of splits of one arm's seeds into two halves that would have given a verdict."""
    claim, wanted = material.claims[name], 2 * material.seeds
    assert claim.arm is not None
    [endpoint] = claim.endpoints
    found = evidence.table(
        material.scored(claim.arm, material.cells[0], endpoint, endpoint_of(endpoint).pooling)
    )
    there = 0 if found is None else len(found.seeds)
    if found is None or there < wanted:
        why = f"arm '{claim.arm}' has {there} of {wanted} seeds"
        return Outcome(name, claim, "control", "not testable", why)
    share = relabelled(found.values[:wanted], lambda table: crossed_test(table).p < ALPHA, RELABELLINGS)
    why = (
        f"{share:.1%} of {RELABELLINGS} relabellings gave a verdict at {ALPHA:.0%}; {FALSE_VERDICTS:.0%} may"
    )
    return Outcome(
        name,
        claim,
        "control",
        "supported" if share <= FALSE_VERDICTS else "contradicted",
        why,
        relabelling=share,
    )


def _assays(material: Material) -> list[Assay]:
    """For every task that a claim is on, and every cell; beside a composite's, to be seen, its tasks' own."""
    arms: dict[str, list[str]] = {}
    for claim in material.claims.values():
        asked = claim.asked if claim.role == "claim" else []
        for name in [each for one in asked for each in (one, *endpoint_of(one).tasks)]:
            if endpoint_of(name).task:
                arms[name] = list(dict.fromkeys([*arms.get(name, []), *claim.arms]))
    return [
        Assay(name, cell, _gain(material, name, cell, its))
        for name, its in arms.items()
        for cell in material.cells
    ]


def _gain(material: Material, name: str, cell: Condition, arms: list[str]) -> Test | None:
    """All arms that came through, alike, less the untrained arm of each one's shape; None if none did."""
    endpoint, own = endpoint_of(name), material.cells[0]
    trained = {arm: material.scored(arm, cell, name, endpoint.pooling) for arm in arms}
    there: dict[str, Scored] = {arm: scored for arm, scored in trained.items() if any(scored.values())}
    weights = dict.fromkeys(there, 1 / max(1, len(there)))
    for arm in list(there):
        untrained = material.scratch[arm]
        weights[untrained] = weights.get(untrained, 0.0) - weights[arm]
        there[untrained] = material.scored(untrained, own, name, endpoint.pooling)
    found = evidence.contrast(weights, there, endpoint.sign)
    return None if found is None or len(found.seeds) < 2 else crossed_test(found.values)


def _informed(reading: Reading, claim: Claim, assays: list[Assay]) -> Reading:
    """Without a verdict where a task of the claim failed its assay under the reading's cell."""
    here = [each for each in assays if each.cell == reading.cell and each.endpoint in claim.asked]
    return reading if all(each.passed for each in here) else replace(reading, verdict="not testable")


def _outcome(
    material: Material,
    name: str,
    readings: list[Reading],
    assays: list[Assay],
    unvalidated: str,
) -> Outcome:
    claim, standing = material.claims[name], standings(material.claims)[name]
    scale = material.cells[0].scale
    readings = [_informed(reading, claim, assays) for reading in readings]
    deciding = [reading for reading in readings if reading.cell.scale == scale and reading.pooling == ""]

    def outcome(verdict: Verdict, why: str) -> Outcome:
        return Outcome(name, claim, standing, verdict, why, readings)

    if unvalidated:
        return outcome("not testable", f"apparatus not validated: {unvalidated}")
    missing = [reading.missing for reading in deciding if reading.missing]
    if missing:
        return outcome("not testable", missing[0])
    lacking = [
        each
        for each in assays
        if each.endpoint in claim.asked and each.cell.scale == scale and not each.passed
    ]
    if lacking:
        titles = ", ".join(dict.fromkeys(endpoint_of(each.endpoint).title for each in lacking))
        if any(each.gain is None for each in lacking):
            return outcome("not testable", f"the assay could not be measured on {titles}: runs are missing")
        return outcome(
            "not testable", f"the assay failed: pretrained arms do not beat those from scratch on {titles}"
        )
    verdicts = {reading.verdict for reading in deciding}
    if len(verdicts) > 1:
        told = ", ".join(f"{reading.verdict} by {reading.cell.stop}" for reading in deciding)
        # Two ways of not knowing are not two findings.
        return outcome("depends on the budget's definition" if verdicts & FOUND else "undecided", told)
    words = " and ".join(f"p = {reading.adjusted:.2g} by {reading.cell.stop}" for reading in deciding)
    return outcome(deciding[0].verdict, f"{words} ({CORRECTIONS[standing]})")
