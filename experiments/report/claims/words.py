"""Numbers and verdicts of claims as text, so that page, Markdown, LaTeX and terminal agree."""

from __future__ import annotations

import math
from collections.abc import Iterable

from experiments.evidence.claims.claim import Claim
from experiments.evidence.claims.condition import Condition
from experiments.evidence.claims.endpoint import Endpoint
from experiments.evidence.claims.endpoints import endpoint_of
from experiments.evidence.claims.readings import Finding, Reading
from experiments.evidence.claims.verdicts import Outcome
from experiments.evidence.stats import Test, seeds_needed

TONES = {
    "supported": "good",
    "equivalent": "good",
    "contradicted": "bad",
    "depends on the budget's definition": "bad",
    "not testable": "bad",
}
STOPS = {"flops": "FLOPs", "tokens": "raw tokens"}
LEAST = 1e-4
MOST_SEEDS = 512
NOT_COMPARABLE = "not comparable"


def p_text(p: float) -> str:
    """A p-value in two digits; below LEAST only that it is below."""
    return f"< {LEAST:g}" if p < LEAST else f"{p:.2g}"


def signed(endpoint: Endpoint, value: float) -> str:
    """A value with its sign, in the endpoint's decimals."""
    return f"{value:+.{endpoint.decimals}f}"


def interval(endpoint: Endpoint, low: float, high: float) -> str:
    return f"[{signed(endpoint, low)}, {signed(endpoint, high)}]"


def gain(endpoint: Endpoint, test: Test) -> str:
    return f"{signed(endpoint, test.mean)} {interval(endpoint, test.low, test.high)}"


def smallest(finding: Finding) -> str:
    if math.isinf(finding.smallest):
        return "none with so few seeds"
    return f"±{finding.endpoint.text(finding.smallest)}"


def needed(finding: Finding, claim: Claim, alpha: float) -> str:
    """The seeds that would find the published effect, or the margin, given the variances found here."""
    count = needed_seeds(finding, claim, alpha)
    if count is not None:
        return str(count)
    return f"more than {MOST_SEEDS}" if comparable(claim) else NOT_COMPARABLE


def needed_seeds(finding: Finding, claim: Claim, alpha: float) -> int | None:
    if not comparable(claim):
        return None
    wanted = claim.margin or claim.published.effect
    assert wanted
    return seeds_needed(finding.test.variances, finding.test.items, abs(wanted), alpha, most=MOST_SEEDS)


def comparable(claim: Claim) -> bool:
    return bool(claim.published.effect) and claim.published.comparable


def published(claim: Claim) -> str:
    """The published effect with its unit, or that only a direction was published."""
    effect = claim.published.effect
    return "a direction only" if effect is None else f"{effect:+g} {claim.published.unit}"


def provenance(claim: Claim, here: str) -> str:
    """The source of the published effect, with its scale beside the scale of this sweep."""
    scale = claim.published.scale
    return f"{claim.published.source}; " + (f"{scale} there, {here} here" if scale else f"here {here}")


def place(cell: Condition) -> str:
    """A condition in words, as `FLOPs, x 0.25`."""
    return STOPS.get(cell.stop, cell.stop) + ("" if cell.scale == 1 else f", x {cell.scale:g}")


def pooling(reading: Reading, endpoint: Endpoint) -> str:
    """The pooling of a reading of the endpoint; "" if the endpoint has none."""
    if endpoint.other and reading.pooling == endpoint.other[0]:
        return reading.pooling
    return endpoint.pooling


def verdict_of(outcome: Outcome, reading: Reading) -> str:
    """A reading's verdict; "not testable" for every reading of a claim that cannot be tested."""
    return "not testable" if outcome.verdict == "not testable" else reading.verdict


def stability(outcome: Outcome) -> list[str]:
    """For each part a sentence on whether the sign of its effect is the same in all readings."""
    sentences = []
    for number, part in enumerate(outcome.claim.parts):
        complete = [
            (r, r.findings[number]) for r in outcome.readings if len(r.findings) == len(outcome.claim.parts)
        ]
        if not complete:
            continue
        in_favour = [reading for reading, finding in complete if finding.test.mean > 0]
        against = [reading for reading, finding in complete if finding.test.mean <= 0]
        name = f"{part.text}, {endpoint_of(part.endpoint).title}: " if len(outcome.claim.parts) > 1 else ""
        if not in_favour or not against:
            direction = "in favour of" if in_favour else "against"
            sentence = f"the sign is stable, {direction} the statement in all {len(complete)} readings"
        else:
            minority, direction = (
                (against, "against") if len(against) <= len(in_favour) else (in_favour, "in favour")
            )
            where = "; ".join(_where(reading, number) for reading in minority)
            sentence = (
                f"the sign changes: {direction} in {len(minority)} of {len(complete)} readings ({where})"
            )
        sentences.append((name + sentence)[0].upper() + (name + sentence)[1:] + ".")
    return sentences


def _where(reading: Reading, number: int) -> str:
    name = pooling(reading, reading.findings[number].endpoint)
    return place(reading.cell) + (f", pooling {name}" if name else "")


def correlation(value: float | None) -> str:
    return "no variation" if value is None else f"{value:.2f}"


def listed(names: Iterable[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    *first, last = list(names) or ["none"]
    return f"{', '.join(first)} and {last}" if first else last
