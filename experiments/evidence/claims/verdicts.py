"""Gives every claim a verdict and a reason: controls and assays first, then the claims.

The rules are in `docs/statistics.md`. A claim is not testable if a control does not hold, an assay fails or a
run is missing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from experiments.evidence.claims.claim import Claim
from experiments.evidence.claims.condition import Condition
from experiments.evidence.claims.endpoints import endpoint_of
from experiments.evidence.claims.items import contrast, table
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

FOUND: set[Verdict] = {"supported", "contradicted", "equivalent"}  # the verdicts that are findings
RELABELLINGS = 200
# The share of relabellings of one arm that may give a verdict. 5% at most are expected. With 200 splits,
# which share their seeds, more than this share happens by chance one time in fifty (docs/statistics.md).
FALSE_VERDICTS = 0.08
CORRECTIONS = {"confirmatory": "Holm", "exploratory": "Benjamini-Hochberg, exploratory"}


@dataclass(frozen=True)
class Assay:
    """Tests whether the pretrained arms together beat the same models from scratch.

    gain: the test, in the endpoint's unit; None if it could not be measured.
    """

    endpoint: str
    cell: Condition
    gain: Test | None

    @property
    def passed(self) -> bool:
        return self.gain is not None and self.gain.low > 0


@dataclass(frozen=True)
class Outcome:
    """The verdict of a claim, the reason, and its readings, the deciding one first.

    relabelling: the share of relabellings of an A/A control that gave a verdict. excused: why no verdict
    depends on this control, "" if they do.
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
        """Whether the statement was found to hold."""
        return self.verdict in ("supported", "equivalent")


@dataclass(frozen=True)
class Decision:
    """The outcomes of all claims of a sweep.

    Claims get a verdict only if there is a control that is not excused, and all such controls hold.
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
        """The controls that do not hold. If there is one, no claim gets a verdict."""
        return failed(self.controls)


def decide(material: Material) -> Decision:
    """Returns the outcome of every control and claim."""
    controls = decide_controls(material)
    unvalidated = _unvalidated(controls)
    assays = _assays(material)
    claims = [name for name, claim in material.claims.items() if claim.role == "claim"]
    readings: dict[str, list[Reading]] = {name: [] for name in claims}
    for pooling in sorted({pooling for name in claims for pooling in poolings(material.claims[name])}):
        for cell in material.cells:
            # A claim without this pooling is read by its own, so that the correction counts every claim.
            raw = {name: read(material, name, cell, pooling) for name in claims}
            for name, reading in corrected(material, raw).items():
                if pooling in poolings(material.claims[name]):
                    readings[name].append(reading)
    return Decision(
        [*controls, *(_outcome(material, name, readings[name], assays, unvalidated) for name in claims)],
        assays,
    )


def decide_controls(material: Material) -> list[Outcome]:
    """Returns the outcome of every control, each at 5%, uncorrected. Controls are run before all else."""
    names = [name for name, claim in material.claims.items() if claim.role == "control"]
    return [replace(_control(material, name), excused=material.excused.get(name, "")) for name in names]


def failed(controls: Iterable[Outcome]) -> list[Outcome]:
    """Returns the controls that do not hold, without those that are excused."""
    return [outcome for outcome in controls if not outcome.held and not outcome.excused]


def _unvalidated(controls: list[Outcome]) -> str:
    """Returns why no verdict may be given, "" if one may."""
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
    """A/A: splits one arm's seeds into halves, and returns whether few enough splits give a verdict."""
    claim, wanted = material.claims[name], 2 * material.seeds
    assert claim.arm is not None
    [endpoint] = claim.endpoints
    scored = table(material.scored(claim.arm, material.cells[0], endpoint, endpoint_of(endpoint).pooling))
    count = 0 if scored is None else len(scored.seeds)
    if scored is None or count < wanted:
        why = f"arm '{claim.arm}' has {count} of {wanted} seeds"
        return Outcome(name, claim, "control", "not testable", why)
    share = relabelled(scored.values[:wanted], lambda values: crossed_test(values).p < ALPHA, RELABELLINGS)
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
    """Returns an assay for every task endpoint of a claim under every condition.

    The tasks of a composite have assays of their own too, which are only shown.
    """
    arms: dict[str, list[str]] = {}
    for claim in material.claims.values():
        endpoints = claim.asked if claim.role == "claim" else []
        for name in [name for asked in endpoints for name in (asked, *endpoint_of(asked).tasks)]:
            if endpoint_of(name).task:
                arms[name] = list(dict.fromkeys([*arms.get(name, []), *claim.arms]))
    return [
        Assay(name, cell, _gain(material, name, cell, of_endpoint))
        for name, of_endpoint in arms.items()
        for cell in material.cells
    ]


def _gain(material: Material, name: str, cell: Condition, arms: list[str]) -> Test | None:
    """Tests the mean of all scored arms less the mean of their untrained twins; None if none is scored."""
    endpoint, own = endpoint_of(name), material.cells[0]
    trained = {arm: material.scored(arm, cell, name, endpoint.pooling) for arm in arms}
    scored: dict[str, Scored] = {arm: by_seed for arm, by_seed in trained.items() if any(by_seed.values())}
    weights = dict.fromkeys(scored, 1 / max(1, len(scored)))
    for arm in list(scored):
        untrained = material.scratch[arm]
        weights[untrained] = weights.get(untrained, 0.0) - weights[arm]
        scored[untrained] = material.scored(untrained, own, name, endpoint.pooling)
    gain = contrast(weights, scored, endpoint.sign)
    return None if gain is None or len(gain.seeds) < 2 else crossed_test(gain.values)


def _informed(reading: Reading, claim: Claim, assays: list[Assay]) -> Reading:
    """Returns the reading, not testable if an assay of the claim failed under its condition."""
    of_claim = [assay for assay in assays if assay.cell == reading.cell and assay.endpoint in claim.asked]
    return reading if all(assay.passed for assay in of_claim) else replace(reading, verdict="not testable")


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
    not_passed = [
        assay
        for assay in assays
        if assay.endpoint in claim.asked and assay.cell.scale == scale and not assay.passed
    ]
    if not_passed:
        titles = ", ".join(dict.fromkeys(endpoint_of(assay.endpoint).title for assay in not_passed))
        if any(assay.gain is None for assay in not_passed):
            return outcome("not testable", f"the assay could not be measured on {titles}: runs are missing")
        return outcome(
            "not testable", f"the assay failed: pretrained arms do not beat those from scratch on {titles}"
        )
    verdicts = {reading.verdict for reading in deciding}
    if len(verdicts) > 1:
        why = ", ".join(f"{reading.verdict} by {reading.cell.stop}" for reading in deciding)
        # Verdicts that differ but hold no finding are undecided.
        return outcome("depends on the budget's definition" if verdicts & FOUND else "undecided", why)
    words = " and ".join(f"p = {reading.adjusted:.2g} by {reading.cell.stop}" for reading in deciding)
    return outcome(deciding[0].verdict, f"{words} ({CORRECTIONS[standing]})")
