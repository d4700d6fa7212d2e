"""Changes of software or machine: within a run, between runs, and from training to evaluation."""

from __future__ import annotations

from experiments.runs.environment import DECIDES_BITS, changes, machine, versions
from experiments.runs.reading import RunRecord, SweepRecord

NAMED = 4  # runs that a sentence names; it counts the others


def reasons(sweep: SweepRecord) -> list[str]:
    """A sentence for each change of software or machine."""
    sentences = [_within(run) for run in sweep.runs if run.environment.get("trained_before")]
    sentences += [text for name in ("python", *DECIDES_BITS, "device") if (text := _between(sweep, name))]
    scored: dict[str, list[RunRecord]] = {}
    for run in sweep.done:
        changed = changes(versions(run.environment), versions(run.evaluation.get("environment") or {}))
        if changed:
            scored.setdefault(", ".join(changed), []).append(run)
    sentences += [
        f"Scored under other versions than trained: {_listed(runs)}: {changed}."
        for changed, runs in scored.items()
    ]
    return sentences


def _within(run: RunRecord) -> str:
    now = versions(run.environment) | machine(run.environment)
    spans = [
        f"up to step {span['until_step']:,} {', '.join(changes(span, now))}"
        for span in run.environment["trained_before"]
    ]
    return (
        f"{run.arm} seed {run.seed} went on under other versions, or on another machine: {'; '.join(spans)}. "
        "It is not to the last bit what one of them would have trained."
    )


def _between(sweep: SweepRecord, name: str) -> str:
    runs_by_value: dict[str, list[RunRecord]] = {}
    for run in sweep.runs:
        value = {**run.environment, **versions(run.environment)}.get(name)
        if value is not None:
            runs_by_value.setdefault(str(value), []).append(run)
    if len(runs_by_value) < 2:
        return ""
    each = "; ".join(f"{value} ({_listed(runs)})" for value, runs in runs_by_value.items())
    under = "on different devices" if name == "device" else f"under different versions of {name}"
    return f"Runs were trained {under}: {each}."


def _listed(runs: list[RunRecord]) -> str:
    named = ", ".join(f"{run.arm} seed {run.seed}" for run in runs[:NAMED])
    return named + (f" and {len(runs) - NAMED} more" if len(runs) > NAMED else "")
