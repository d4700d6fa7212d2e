"""Endpoints on standard tasks, by name.

task:mr                           the test items of mr, in its default mode, by its primary metric
task:mr@frozen                    in another mode
task:mr+cola+snli                 a composite: the mean of the tasks, all with the same weight
task:reviews@finetuned:accuracy   a user's own task, whose mode and metric no preset gives
"""

from __future__ import annotations

import re

from archs.errors import UserError, unknown
from experiments.evidence.claims.endpoint import TASK, Asked, Endpoint, Measure, Prior
from experiments.recipe.config import FOLDER
from experiments.recipe.groups.task import TaskConfig
from experiments.recipe.presets import configs_dir
from experiments.tasks.kinds import KINDS
from experiments.tasks.modes import primary, scores_table

PART = re.compile(rf"({FOLDER})(?:@(\w+))?(?::(\w+))?")
# Metrics from 0 to 100 are points, as in the averages of GLUE; other metrics keep their unit.
UNITS = {"% right": "points", "% exact": "points", "correlation x 100": "points", "0 to 100": "points"}
# All assumed: the priors of the built-in endpoint in the same unit, with as many items as MR.
PRIORS = {
    "points": Prior(seed=1.0, item=8.0, residual=50.0, items=1000),
    "nats/byte": Prior(seed=0.17, item=0.16, residual=0.16, items=1000),
    "bits/byte": Prior(seed=0.03, item=0.32, residual=0.11, items=1000),
}


def on_tasks(name: str) -> Endpoint:
    """Returns the endpoint of a name that begins with `task:`.

    Raises UserError for an unknown task, mode or metric, for a metric without a prior, for a task named
    twice, and for tasks in different units.
    """
    from experiments.evidence.metrics import METRICS

    parts = [_asked(name, text) for text in name.removeprefix(TASK).split("+")]
    metrics = [METRICS[part.metric] for part in parts]
    units = [UNITS.get(metric.unit, metric.unit) for metric in metrics]
    for part, unit in zip(parts, units, strict=True):
        if unit not in PRIORS:
            raise UserError(
                f"endpoint '{name}': {part.metric} is in {unit}, which nothing is decided in; choose a "
                f"metric in one of: {', '.join(PRIORS)}"
            )
        if parts.count(part) > 1:
            raise UserError(f"endpoint '{name}' names {part.words} twice; name each task once")
    if len(set(units)) > 1:
        words = ", ".join(f"{part.words} in {unit}" for part, unit in zip(parts, units, strict=True))
        raise UserError(f"endpoint '{name}': there is no mean of {words}; make endpoints of one unit each")
    unit, known = units[0], PRIORS[units[0]]
    title = f"{metrics[0].title} on {parts[0].words}"
    return Endpoint(
        title if len(parts) == 1 else f"Mean of {', '.join(part.words for part in parts)}",
        unit,
        metrics[0].better,
        max(metric.decimals for metric in metrics),
        # A zero-shot score may be of pseudo-likelihoods, which are not compared with likelihoods.
        tuple(_measure(part, "nll" if part.mode == "zero_shot" else None) for part in parts),
        Prior(known.seed, known.item, known.residual, known.items * len(parts)),
    )


def _measure(part: Asked, unit_of_likelihood: str | None) -> Measure:
    table = scores_table(part.task, part.mode)
    return Measure(table, "value", unit_of_likelihood=unit_of_likelihood, asked=part)


def _asked(name: str, text: str) -> Asked:
    """Parses one task of an endpoint's name."""
    match = PART.fullmatch(text)
    if match is None:
        raise UserError(
            f"endpoint '{name}': came '{text}', must be a task's name, with @MODE or :METRIC where they are "
            "not its usual ones; several are joined by +, as task:mr+cola@frozen"
        )
    from experiments.evidence.metrics import METRICS

    task, mode, metric = match.groups()
    shipped = sorted(file.stem for file in (configs_dir() / "task").glob("*.yaml"))
    modes = tuple(dict.fromkeys(mode for kind in KINDS.values() for mode in kind.modes))
    if task in shipped:
        preset = TaskConfig.model_validate(task)
        modes = KINDS[preset.kind].modes
        mode, metric = mode or modes[0], metric or primary(preset)
    elif mode is None or metric is None:
        raise UserError(
            f"endpoint '{name}': {unknown('task', task, shipped)}; of a task of your own say mode and metric "
            f"too: task:{task}@finetuned:accuracy"
        )
    for what, came, allowed in (("mode", mode, modes), ("metric", metric, METRICS)):
        if came not in allowed:
            raise UserError(f"endpoint '{name}': {unknown(f'{what} of {task}', came, allowed)}")
    return Asked(task, mode, metric, words=task if mode == modes[0] else f"{task} ({mode})")
