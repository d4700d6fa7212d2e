"""Counts what a run spends, and compares it with its plan."""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass

from archs.core.attention import TAKEN
from archs.families.family import Family
from experiments.budget.plan import Plan
from experiments.data.store import Corpus
from experiments.data.windows import WindowStream
from experiments.recipe.groups.budget import BudgetConfig


@dataclass
class Spent:
    """What a run has used: raw tokens of text, supervised targets, counted FLOPs."""

    steps: int = 0
    tokens: int = 0
    targets: int = 0
    flops: int = 0
    seconds: float = 0.0


def tell_if_off(spent: Spent, budget: BudgetConfig) -> None:
    """Prints a warning to stderr if the planned steps did not spend the budget within its tolerance.

    This can happen because plans are counted on random text. There a selection of whole words, say, finds
    other words than in real text.
    """
    if budget.stop not in ("flops", "tokens", "targets") or not budget.spends:
        return
    used = getattr(spent, budget.stop)
    off = used / budget.spends - 1
    if abs(off) > budget.tolerance:
        print(
            f"warning: {used:,.4g} {budget.stop} spent, {off:+.1%} off the budget of {budget.spends:,.4g}: "
            "this text, or so few steps, cost other than planned",
            file=sys.stderr,
        )


def audit(
    plan: Plan, spent: Spent, family: Family, corpus: Corpus, windows: WindowStream
) -> dict[str, object]:
    """Returns the run's audit: its plan, and what was counted in training."""
    return {
        "plan": plan.summary(),
        "spent": asdict(spent),
        "parameters": sum(p.numel() for p in family.parameters()),
        "attention": sorted({f"{mask}: {backend}" for backend, mask, _ in TAKEN}),
        "epochs": windows.epochs(spent.steps),
        "corpus": corpus.digest,
        "raw_tokens_in_corpus": len(corpus.train.tokens),
    }
