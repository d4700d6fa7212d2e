"""Reasons why a sweep's results support no stronger statement."""

from __future__ import annotations

from experiments.evidence import audit
from experiments.report.sections import versions
from experiments.report.sections.words import between, count
from experiments.runs.reading import RunRecord, SweepRecord

SEEDS_FOR_A_VERDICT = 6  # with fewer an exact two-sided sign-flip over paired seeds cannot reach .05
TOKENS_A_PARAMETER = 20


def no_verdict(sweep: SweepRecord, tuned: bool) -> list[str]:
    """Reasons why the page of a sweep without claims names no winner, the most important first."""
    return [
        *limits(sweep, len({run.seed for run in sweep.done})),
        "It makes no claims: no positive controls, no arms trained from scratch on each task (the assay "
        "gate) and no second definition of the budget, which a verdict needs, are looked at here.",
        *([] if tuned else _learning_rate(sweep)),
    ]


def limits(sweep: SweepRecord, seeds: int) -> list[str]:
    """Sentences on what weakens a sweep's results, with claims or without."""
    reasons = []
    if seeds < 2:
        reasons.append(
            "There is one seed an arm: nothing tells a difference between arms from one between two runs of "
            "the same arm."
        )
    elif seeds < SEEDS_FOR_A_VERDICT:
        reasons.append(
            f"With {seeds} paired seeds an exact two-sided sign-flip test cannot go below p = "
            f"{2 / 2**seeds:.3g}; six are the fewest that can reach .05, eight are the protocol's default."
        )
    ratios = sorted(
        run.audit["spent"]["tokens"] / run.audit["plan"]["parameters"]["core"]
        for run in sweep.runs
        if run.audit and run.audit["spent"]["tokens"]  # an untrained run reads none
    )
    if ratios and ratios[0] < TOKENS_A_PARAMETER:
        reasons.append(
            f"The arms read {between(ratios, '.1f')} tokens per core parameter; about {TOKENS_A_PARAMETER} "
            "or more are what the protocol asks of a sweep that makes claims."
        )
    behind = [run for run in sweep.done if run.ask("likelihood", "undertrained") and trained(run)]
    if behind:
        reasons.append(
            f"{len(behind)} of {count(len(sweep.done), 'finished run')} ended above the trigram anchor: "
            "undertrained."
        )
    often = audit.repeated(sweep.runs)
    if often:
        reasons.append(
            f"Repetition regime: {_listed(often)} read the text more than {audit.EPOCHS} times (up to "
            f"{max(often.values()):.1f}); what repeated text teaches is not what as much new text does."
        )
    return reasons + versions.reasons(sweep)


def trained(run: RunRecord) -> bool:
    """Whether the recipe trains the run at all."""
    return bool(run.recipe.get("budget", {}).get("scale", 1.0))


def _listed(arms: dict[str, float], most: int = 6) -> str:
    names = list(arms)
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _learning_rate(sweep: SweepRecord) -> list[str]:
    rates = {run.recipe["training"]["learning_rate"] for run in sweep.runs if run.recipe}
    if len(rates) > 1:
        return []
    return [f"All arms share one peak learning rate, {rates.pop():g}; none was tuned for its own."]
