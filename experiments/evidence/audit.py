"""The budget audit: for every arm, what was planned beside what was done."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from experiments.recipe.config import flatten
from experiments.runs.reading import RunRecord, SweepRecord

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
    "flops_per_sequence": "FLOPs per window of text",
}
EPOCHS = 4  # up to so many epochs, repeated text is nearly as good as new text (Muennighoff et al. 2023)
NOT_SETTINGS = ("out", "name", "user_path", "seed")  # keys of a recipe that do not tell arms apart


@dataclass(frozen=True)
class AuditEntry:
    """One cell of the audit.

    done: what was done. declared: what was planned, "" if nothing was. flag: a warning to the reader, or "".
    """

    done: str
    declared: str = ""
    flag: str = ""


@dataclass(frozen=True)
class Line:
    """One arm of the audit, with a cell for each of ROWS."""

    arm: str
    family: str
    objective: str
    cells: list[AuditEntry]

    def cell(self, row: str) -> AuditEntry:
        """Returns the cell of the row with this name."""
        return self.cells[[name for name, _ in ROWS].index(row)]


ROWS = (
    ("shape", "layers x width"),
    ("core parameters", "without embeddings"),
    ("all parameters", "counted in the model"),
    ("off the match", "of the matched quantity, from a decoder-AR's of the size asked for"),
    ("FLOPs a token", "training, per raw token"),
    ("times the reference", "P: its core parameters, M: its FLOPs a token"),
    ("steps", "of the optimiser"),
    ("raw tokens", "read"),
    ("epochs", "of the training text"),
    ("targets", "supervised tokens"),
    ("targets a token", "share of the tokens read"),
    ("FLOPs", "training"),
    ("FLOPs of all stages", "training, with those of the runs that it began from"),
    ("time", "seconds of training"),
    ("attention", "backends taken"),
)


def lines(sweep: SweepRecord) -> list[Line]:
    """Returns one line for each arm that has an audit."""
    audited = {arm: [run for run in sweep.of(arm) if run.audit] for arm in sweep.arms}
    return [_line(arm, runs) for arm, runs in audited.items() if runs]


def _line(arm: str, runs: list[RunRecord]) -> Line:
    audits = [run.audit for run in runs if run.audit]
    plan: dict[str, Any] = audits[0]["plan"]
    steps = plan["steps"]
    core, embedding = plan["parameters"]["core"], plan["parameters"]["embedding"]
    shares = target_shares(runs)
    extra = f" + {plan['extra_parameters']:,} of the objective" if plan["extra_parameters"] else ""

    def spent(name: str) -> str:
        return ranged((audit["spent"][name] for audit in audits), amount)

    def planned(name: str) -> str:
        return "by the clock" if steps is None else f"planned {amount(steps * plan[f'{name}_per_step'])}"

    cells = [
        AuditEntry(plan["shape"], declared_shape(runs[0], plan)),
        AuditEntry(f"{core:,}"),
        AuditEntry(
            ranged((audit["parameters"] for audit in audits), amount), f"planned {core + embedding:,}{extra}"
        ),
        AuditEntry(
            "not matched" if plan["match"] == "none" else f"{plan['deviation']:+.2%}",
            f"of {multiple} x the reference's" if (multiple := plan.get("multiple", 1)) > 1 else "",
        ),
        AuditEntry(amount(plan["flops_per_token"])),
        AuditEntry(_times(plan)),
        AuditEntry(spent("steps"), "by the clock" if steps is None else f"planned {amount(steps)}"),
        AuditEntry(spent("tokens"), planned("tokens")),
        AuditEntry(
            ranged((audit["epochs"] for audit in audits), lambda number: f"{number:.2f}"),
            flag="repetition regime" if arm in repeated(runs) else "",
        ),
        AuditEntry(spent("targets"), planned("targets")),
        AuditEntry(ranged(shares, lambda share: f"{share:.0%}") if shares else "none read"),
        AuditEntry(spent("flops"), planned("flops")),
        _all_stages(audits),
        AuditEntry(spent("seconds")),
        AuditEntry(
            ", ".join(sorted({path.split(": ")[-1] for audit in audits for path in audit["attention"]}))
        ),
    ]
    return Line(arm, plan["family"], plan["objective"], cells)


def _all_stages(audits: list[dict[str, Any]]) -> AuditEntry:
    """Returns the FLOPs of all stages together, and the stages' names."""
    one_stage = {"stages": [{"stage": ""}]}  # for a run of an older version, whose audit has no chain
    chains = [audit.get("chain", {**one_stage, "total": audit["spent"]}) for audit in audits]
    stages = " → ".join(stage["stage"] for stage in chains[0]["stages"])
    if any(chain["total"] is None for chain in chains):
        return AuditEntry("not known", stages, "weights from elsewhere")
    total = ranged((chain["total"]["flops"] for chain in chains), amount)
    return AuditEntry(total, stages if len(chains[0]["stages"]) > 1 else "")


def _times(plan: dict[str, Any]) -> str:
    """Returns parameters and FLOPs in units of the reference's, P and M of Raffel et al. 2020."""
    if "times_parameters" not in plan:
        return "not recorded"
    return f"{plan['times_parameters']:.2f} P, {plan['times_flops']:.2f} M"


def of_run(run: RunRecord) -> list[dict[str, str]]:
    """Returns the audit of one run, a dict for each of ROWS."""
    cells = zip(ROWS, _line(run.arm, [run]).cells, strict=True)
    return [
        {"what": name, "unit": unit, "done": cell.done, "declared": cell.declared}
        for (name, unit), cell in cells
    ]


def target_shares(runs: Iterable[RunRecord]) -> list[float]:
    """Returns supervised targets per raw token, the least first, of audited runs that read any."""
    counts = [run.audit["spent"] for run in runs if run.audit]
    return sorted(spent["targets"] / spent["tokens"] for spent in counts if spent["tokens"])


def scales(sweep: SweepRecord) -> list[float]:
    """Returns the values of budget.scale, the least first. It is 1 in older recipes, which lack it."""
    return sorted({run.recipe["budget"].get("scale", 1.0) for run in sweep.runs if run.recipe})


def repeated(runs: Iterable[RunRecord]) -> dict[str, float]:
    """Returns {arm: most epochs} of the arms that read their text more than EPOCHS times."""
    epochs: dict[str, float] = {}
    for run in runs:
        if run.audit and run.audit["epochs"] > EPOCHS:
            epochs[run.arm] = max(run.audit["epochs"], epochs.get(run.arm, 0.0))
    return epochs


def stops(sweep: SweepRecord) -> str:
    """Returns what runs spend by each definition of the budget: `1e12 training FLOPs or 4e8 raw tokens`."""
    by_stop: dict[str, list[RunRecord]] = {}
    for run in sweep.runs:
        if run.recipe:
            by_stop.setdefault(run.recipe["budget"]["stop"], []).append(run)
    return " or ".join(f"{_spends(runs)} {UNITS[stop]}" for stop, runs in by_stop.items())


def _spends(runs: Iterable[RunRecord]) -> str:
    """Returns the budget, or the least and the greatest if runs differ in budget.scale."""
    budgets = [run.recipe["budget"] for run in runs if run.recipe]
    return ranged((budget["amount"] * budget.get("scale", 1.0) for budget in budgets), amount)


def declared_shape(run: RunRecord, plan: dict[str, Any]) -> str:
    """Returns the shape of the recipe's size, which the solver may have changed to match."""
    size = run.recipe["size"]
    declared = f"{size['layers']} x {size['width']}, ffn {size['ffn']}"
    return "as asked" if declared == plan["shape"] else f"asked {declared}"


def amount(value: float) -> str:
    """Returns a number in full below a thousand million, above with four figures: 5,120 or 1.234e12."""
    return f"{value:,.0f}" if value < 1e9 else f"{value:.4g}".replace("e+", "e")


def ranged(values: Iterable[float], text: Callable[[float], str]) -> str:
    """Returns the one value, or the least and the greatest: `5,120 to 5,200`."""
    low, high = text(min(values := list(values))), text(max(values))
    return low if low == high else f"{low} to {high}"


def differing(sweep: SweepRecord) -> dict[str, dict[str, str]]:
    """Returns {key: {arm: value}} of the settings in which arms differ. All other settings are equal."""
    recipes = {
        arm: flatten({k: v for k, v in run.recipe.items() if k not in NOT_SETTINGS})
        for arm in sweep.arms
        for run in sweep.of(arm)[:1]
        if run.recipe
    }
    keys = dict.fromkeys(key for recipe in recipes.values() for key in recipe)
    table = {key: {arm: _plain(recipe.get(key, "")) for arm, recipe in recipes.items()} for key in keys}
    return {key: values for key, values in table.items() if len(set(values.values())) > 1}


def _plain(value: Any) -> str:
    return "" if value in ("", {}) else str(value)


def corpora(sweep: SweepRecord) -> set[str]:
    """Returns the digests of the corpora that audited runs read."""
    return {run.audit["corpus"] for run in sweep.runs if run.audit}


def read(sweep: SweepRecord) -> list[int]:
    """Returns the raw tokens that each audited run read, the least first, without untrained runs."""
    tokens = (run.audit["spent"]["tokens"] for run in sweep.runs if run.audit)
    return sorted(number for number in tokens if number)


def doubled(sweep: SweepRecord) -> list[str]:
    """Returns the arms matched to twice the reference: two full stacks, if parameters are matched."""
    plans = {run.arm: run.audit["plan"] for run in sweep.runs if run.audit}
    return [arm for arm, plan in plans.items() if plan.get("multiple", 1) > 1]


def widest_deviation(sweep: SweepRecord) -> float | None:
    """Returns the largest deviation of the matched quantity from its target; None if nothing was matched."""
    plans = [run.audit["plan"] for run in sweep.runs if run.audit]
    return max((abs(plan["deviation"]) for plan in plans if plan["match"] != "none"), default=None)
