"""Verdicts as JSON, for other programs: report/verdicts.json."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

from experiments.evidence.claims.condition import Condition
from experiments.evidence.claims.readings import Finding, Reading
from experiments.evidence.claims.verdicts import Outcome
from experiments.report.claimed import Claimed
from experiments.report.claims import words


def content(claimed: Claimed) -> dict[str, Any]:
    """Unrounded numbers in the endpoints' units, positive in favour of the claim; null for missing ones."""
    return finite(
        {
            "validated": not claimed.failed,
            "failed_controls": claimed.failed,
            "registered": claimed.registered.written,
            "seeds": claimed.registered.seeds,
            "deviations": claimed.registered.deviations,
            "outcomes": {outcome.name: _outcome(claimed, outcome) for outcome in claimed.decision.outcomes},
            "assays": [
                {
                    "endpoint": each.endpoint,
                    **_cell(each.cell),
                    "passed": each.passed,
                    "gain": each.gain and asdict(each.gain),
                }
                for each in claimed.decision.assays
            ],
        }
    )


def _outcome(claimed: Claimed, outcome: Outcome) -> dict[str, Any]:
    return {
        "statement": outcome.claim.statement,
        "standing": outcome.standing,
        "kind": outcome.claim.kind,
        "verdict": outcome.verdict,
        "why": outcome.why,
        "digest": claimed.registered.digests[outcome.name],
        "margin": outcome.claim.margin,
        "published": outcome.claim.published.model_dump(mode="json"),
        "relabelling": outcome.relabelling,
        "excused": outcome.excused,
        "readings": [_reading(claimed, outcome, reading) for reading in outcome.readings],
    }


def _reading(claimed: Claimed, outcome: Outcome, reading: Reading) -> dict[str, Any]:
    return {
        **_cell(reading.cell),
        "pooling": reading.pooling,
        "decides": claimed.decides(outcome, reading),
        "verdict": words.verdict_of(outcome, reading),
        "missing": reading.missing,
        "p": reading.p,
        "p_corrected": reading.adjusted,
        "parts": [_part(claimed, outcome, finding) for finding in reading.findings],
    }


def _part(claimed: Claimed, outcome: Outcome, finding: Finding) -> dict[str, Any]:
    return {
        "contrast": finding.part.contrast,
        "endpoint": finding.part.endpoint,
        "unit": finding.endpoint.unit,
        **asdict(finding.test),
        "shares": finding.test.variances.shares,
        "per_seed": finding.per_seed,
        "equivalence": finding.equivalence and asdict(finding.equivalence),
        "pairing": finding.pairing and asdict(finding.pairing),
        "smallest_visible": finding.smallest,
        "seeds_needed": words.needed_seeds(finding, outcome.claim, claimed.level(outcome)),
    }


def _cell(cell: Condition) -> dict[str, Any]:
    return {"budget": cell.stop, "scale": cell.scale}


def finite(value: Any) -> Any:
    """The value with null for infinity and nan, which JSON does not have."""
    if isinstance(value, dict):
        return {key: finite(each) for key, each in value.items()}
    if isinstance(value, list):
        return [finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
