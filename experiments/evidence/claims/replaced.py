"""Replaces endpoints of claims, as `endpoints: {understanding: task:mr+cola}` of a sweep asks."""

from __future__ import annotations

from archs.errors import UserError, unknown
from experiments.evidence.claims.claim import Claim
from experiments.evidence.claims.endpoints import endpoint_of
from experiments.recipe.config import validated


def replaced(claims: dict[str, Claim], endpoints: dict[str, str]) -> dict[str, Claim]:
    """Returns every claim and control with its endpoints replaced: what the sweep registers and hashes.

    Raises UserError for an endpoint that no claim has, and for a new one in another unit, where margins and
    published effects would mean something else.
    """
    known = list(dict.fromkeys(name for claim in claims.values() for name in claim.asked))
    for old, new in endpoints.items():
        if old not in known:
            raise UserError(f"endpoints: {unknown('endpoint of these claims', old, known)}")
        before, after = endpoint_of(old), endpoint_of(new)
        if (before.unit, before.better) != (after.unit, after.better):
            raise UserError(
                f"endpoints.{old}={new}: came {after.unit}, must be in {before.unit} as {old}, in which "
                "claims have their margins; write a claim of your own on it"
            )
    return {name: _on(claim, endpoints, f"claim '{name}': ") for name, claim in claims.items()}


def _on(claim: Claim, endpoints: dict[str, str], where: str) -> Claim:
    content = claim.model_dump()
    content["endpoints"] = [endpoints.get(name, name) for name in claim.endpoints]
    content["order"] = {endpoints.get(name, name): arms for name, arms in claim.order.items()}
    return validated(Claim, content, where)
