"""A sweep that makes claims: what it registered, what was decided, and at which scale."""

from __future__ import annotations

import time
from dataclasses import dataclass

from experiments.evidence.audit import amount
from experiments.evidence.claims.decision import decision
from experiments.evidence.claims.readings import Reading, level
from experiments.evidence.claims.registered import Registered, registered
from experiments.evidence.claims.verdicts import Decision, Outcome
from experiments.runs.reading import SweepRecord


@dataclass(frozen=True)
class Claimed:
    """What a sweep registered before training and what was decided. here: its scale, in a phrase."""

    registered: Registered
    decision: Decision
    here: str

    def deciding(self, outcome: Outcome) -> list[Reading]:
        """The readings that decide: the endpoint's own pooling, the sweep's own scale, each budget."""
        own = self.registered.cells[0].scale
        return [each for each in outcome.readings if each.pooling == "" and each.cell.scale == own]

    def decides(self, outcome: Outcome, reading: Reading) -> bool:
        return any(reading is each for each in self.deciding(outcome))

    def level(self, outcome: Outcome) -> float:
        return level(self.registered.claims, outcome.name)

    @property
    def registered_on(self) -> str:
        return date(self.registered.written)

    @property
    def failed(self) -> list[str]:
        return [outcome.name for outcome in self.decision.failed_controls]


def date(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(seconds))


def claimed(sweep: SweepRecord) -> Claimed | None:
    """None for a sweep without claims."""
    registration = registered(sweep.folder)
    return (
        None
        if registration is None
        else Claimed(registration, decision(sweep, registration), here(sweep, registration))
    )


def here(sweep: SweepRecord, registration: Registered) -> str:
    """The scale of the arms of claims, as `10,622,976 core parameters, 61,210,624 raw tokens`."""
    arms = {arm for claim in registration.claims.values() if claim.role == "claim" for arm in claim.arms}
    audits = [run.audit for run in sweep.runs if run.audit and run.arm in arms]
    if not audits:
        return "nothing trained yet"
    core = max(each["plan"]["parameters"]["core"] for each in audits)
    most = max(each["spent"]["tokens"] for each in audits)
    return f"{amount(core)} core parameters, {amount(most)} raw tokens"
