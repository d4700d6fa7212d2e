"""Numbers and verdicts of claims as text: the page, the Markdown, the LaTeX and the terminal say the same."""

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
    """Two digits, and no more noughts than anyone reads."""
    return f"< {LEAST:g}" if p < LEAST else f"{p:.2g}"


def signed(endpoint: Endpoint, value: float) -> str:
    """In the endpoint's digits with its sign; `inf` where nothing could be seen."""
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
    """How many seeds find what was published, or an equivalence's margin, by the variances found here."""
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
    """The published effect with its unit, or that a direction alone was published."""
    effect = claim.published.effect
    return "a direction only" if effect is None else f"{effect:+g} {claim.published.unit}"


def beside(claim: Claim, here: str) -> str:
    """Where it was published, and in one phrase how far that is from here."""
    there = claim.published.scale
    return f"{claim.published.source}; " + (f"{there} there, {here} here" if there else f"here {here}")


def place(cell: Condition) -> str:
    """`FLOPs, x 0.25`."""
    return STOPS.get(cell.stop, cell.stop) + ("" if cell.scale == 1 else f", x {cell.scale:g}")


def pooling(reading: Reading, endpoint: Endpoint) -> str:
    """The pooling that the endpoint was read under; "" where it knows none."""
    if endpoint.other and reading.pooling == endpoint.other[0]:
        return reading.pooling
    return endpoint.pooling


def told(outcome: Outcome, reading: Reading) -> str:
    """A reading's verdict, which none has where the claim cannot be tested."""
    return "not testable" if outcome.verdict == "not testable" else reading.verdict


def stability(outcome: Outcome) -> list[str]:
    """For each part whether its sign is the same however the claim is read."""
    sentences = []
    for number, part in enumerate(outcome.claim.parts):
        seen = [
            (r, r.findings[number]) for r in outcome.readings if len(r.findings) == len(outcome.claim.parts)
        ]
        if not seen:
            continue
        above = [reading for reading, finding in seen if finding.test.mean > 0]
        below = [reading for reading, finding in seen if finding.test.mean <= 0]
        name = f"{part.text}, {endpoint_of(part.endpoint).title}: " if len(outcome.claim.parts) > 1 else ""
        if not above or not below:
            way = "in favour of" if above else "against"
            sentence = f"the sign is stable, {way} the statement in all {len(seen)} readings"
        else:
            few, way = (below, "against") if len(below) <= len(above) else (above, "in favour")
            where = "; ".join(_where(reading, number) for reading in few)
            sentence = f"the sign changes: {way} in {len(few)} of {len(seen)} readings ({where})"
        sentences.append((name + sentence)[0].upper() + (name + sentence)[1:] + ".")
    return sentences


def _where(reading: Reading, number: int) -> str:
    of = pooling(reading, reading.findings[number].endpoint)
    return place(reading.cell) + (f", pooling {of}" if of else "")


def correlation(value: float | None) -> str:
    return "no variation" if value is None else f"{value:.2f}"


def listed(names: Iterable[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    *first, last = list(names) or ["none"]
    return f"{', '.join(first)} and {last}" if first else last
