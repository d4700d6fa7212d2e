"""What a run has spent, beside what was planned."""

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
    """The one counter of what a run has used. Tokens are raw text, targets supervised, FLOPs counted."""

    steps: int = 0
    tokens: int = 0
    targets: int = 0
    flops: int = 0
    seconds: float = 0.0


def tell_if_off(spent: Spent, asked: BudgetConfig) -> None:
    """A line on stderr if the steps that were planned spent another amount than asked for.

    Plans count on random text, where a selection of whole words, say, finds other words than in a real one.
    """
    if asked.stop not in ("flops", "tokens", "targets") or not asked.spends:
        return
    used = getattr(spent, asked.stop)
    off = used / asked.spends - 1
    if abs(off) > asked.tolerance:
        print(
            f"warning: {used:,.4g} {asked.stop} spent, {off:+.1%} off the budget of {asked.spends:,.4g}: "
            "this text, or so few steps, cost other than planned",
            file=sys.stderr,
        )


def audit(
    plan: Plan, spent: Spent, family: Family, corpus: Corpus, windows: WindowStream
) -> dict[str, object]:
    """What was declared beside what was done."""
    return {
        "plan": plan.summary(),
        "spent": asdict(spent),
        "parameters": sum(p.numel() for p in family.parameters()),
        "attention": sorted({f"{mask}: {backend}" for backend, mask, _ in TAKEN}),
        "epochs": windows.epochs(spent.steps),
        "corpus": corpus.digest,
        "raw_tokens_in_corpus": len(corpus.train.tokens),
    }
