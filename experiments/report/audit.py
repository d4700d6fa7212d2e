"""The budget audit: for every arm what was declared beside what was done."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from experiments.folder import flatten
from experiments.report.runs import Run, Sweep

UNITS = {
    "flops": "training FLOPs",
    "tokens": "raw tokens",
    "targets": "supervised targets",
    "steps": "optimiser steps",
    "seconds": "seconds of training",
}
MATCHES = {
    "none": "nothing",
    "core_parameters": "parameters without embeddings",
    "parameters": "all parameters",
    "flops_per_token": "FLOPs per raw token",
}
NOT_SETTINGS = ("out", "name", "user_path", "seed")


@dataclass(frozen=True)
class Cell:
    """What was done, and under it what was declared, "" where there is nothing to hold it against."""

    done: str
    declared: str = ""


@dataclass(frozen=True)
class Line:
    """One arm's line of the audit; `cells` stand in the order of COLUMNS."""

    arm: str
    family: str
    objective: str
    cells: list[Cell]


COLUMNS = (
    ("shape", "layers x width"),
    ("core parameters", "without embeddings"),
    ("all parameters", "counted in the model"),
    ("FLOPs a token", "of raw text, training"),
    ("steps", "of the optimiser"),
    ("raw tokens", "read"),
    ("epochs", "of the corpus"),
    ("targets", "supervised tokens"),
    ("FLOPs", "training"),
    ("time", "seconds of training"),
)


def lines(sweep: Sweep) -> list[Line]:
    """One line an arm that has an audit; arms without one are told of elsewhere."""
    audited = {arm: [run for run in sweep.of(arm) if run.audit] for arm in sweep.arms}
    return [_line(arm, runs) for arm, runs in audited.items() if runs]


def _line(arm: str, runs: list[Run]) -> Line:
    plan: dict[str, Any] = runs[0].audit["plan"]  # type: ignore[index]
    steps = plan["steps"]

    def spent(name: str) -> str:
        return ranged((run.audit["spent"][name] for run in runs), amount)  # type: ignore[index]

    def planned(name: str) -> str:
        return f"planned {amount(steps * plan[f'{name}_per_step'])}" if steps else "by the clock"

    core, embedding = plan["parameters"]["core"], plan["parameters"]["embedding"]
    total = core + embedding
    counted = {run.audit["parameters"] for run in runs}  # type: ignore[index]
    extra = plan["extra_parameters"]
    cells = [
        Cell(plan["shape"], asked_shape(runs[0])),
        Cell(f"{core:,}", "not matched" if plan["match"] == "none" else f"{plan['deviation']:+.2%}"),
        Cell(ranged(counted, lambda n: f"{n:,}"), f"planned {total:,}" + (f" + {extra:,}" if extra else "")),
        Cell(amount(plan["flops_per_token"])),
        Cell(spent("steps"), f"planned {amount(steps)}" if steps else "by the clock"),
        Cell(spent("tokens"), planned("tokens")),
        Cell(ranged((run.audit["epochs"] for run in runs), lambda n: f"{n:.2f}")),  # type: ignore[index]
        Cell(spent("targets"), planned("targets")),
        Cell(spent("flops"), planned("flops")),
        Cell(ranged((run.audit["spent"]["seconds"] for run in runs), lambda n: f"{n:,.0f}")),  # type: ignore[index]
    ]
    return Line(arm, plan["family"], plan["objective"], cells)


def asked_shape(run: Run) -> str:
    """The recipe's size, which the solver may have changed to match."""
    size = run.recipe["size"]
    return f"asked {size['layers']} x {size['width']}, ffn {size['ffn']}"


def amount(value: float) -> str:
    """In full to six figures, then with four: 5,120 or 1.234e+12."""
    return f"{value:,.0f}" if value < 1e7 else f"{value:.4g}"


def ranged(values: Iterable[float], text: Callable[[float], str]) -> str:
    """One value, or the least and the greatest over seeds."""
    low, high = text(min(values := list(values))), text(max(values))
    return low if low == high else f"{low} – {high}"


def differing(sweep: Sweep) -> dict[str, dict[str, str]]:
    """The settings in which arms differ: by key, each arm's value. Everything else is the same for all."""
    recipes = {
        arm: flatten({k: v for k, v in run.recipe.items() if k not in NOT_SETTINGS})
        for arm in sweep.arms
        for run in sweep.of(arm)[:1]
        if run.recipe
    }
    keys = dict.fromkeys(key for recipe in recipes.values() for key in recipe)
    table = {
        key: {arm: _plain(recipe.get(key, "")) for arm, recipe in recipes.items()} for key in keys
    }
    return {key: values for key, values in table.items() if len(set(values.values())) > 1}


def _plain(value: Any) -> str:
    return "–" if value in ("", {}) else str(value)


def corpora(sweep: Sweep) -> set[str]:
    return {run.audit["corpus"] for run in sweep.runs if run.audit}


def read(sweep: Sweep) -> list[int]:
    """Raw tokens that each audited run read, least first."""
    return sorted(run.audit["spent"]["tokens"] for run in sweep.runs if run.audit)


def widest_deviation(sweep: Sweep) -> float | None:
    """The largest distance of the matched quantity from the reference; None if nothing was matched."""
    plans = [run.audit["plan"] for run in sweep.runs if run.audit]
    return max((abs(plan["deviation"]) for plan in plans if plan["match"] != "none"), default=None)
