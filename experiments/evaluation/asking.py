"""Evaluates a trained run on a task and writes tasks/<task>-<mode>.json and .parquet to its folder."""

from __future__ import annotations

import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from archs.errors import UserError, unknown
from archs.families.family import Family
from experiments.data.overlap import overlaps
from experiments.evaluation.modes import MODES
from experiments.evaluation.question import Question
from experiments.evidence.chosen import by_item, chosen, of_variant
from experiments.evidence.metrics import METRICS, Metric, measured
from experiments.evidence.metrics.values import values
from experiments.recipe.config import flatten
from experiments.recipe.groups.task import AskConfig
from experiments.runs.environment import software
from experiments.runs.folder import RunFolder
from experiments.runs.run import Run, restore
from experiments.storage.json_files import read_record, write_json
from experiments.storage.tables import write_table
from experiments.tasks.examples import baselines_of, examples_of
from experiments.tasks.kind import Data, Kind, Outcome
from experiments.tasks.kinds import KINDS
from experiments.tasks.modes import mode_of, options_of, scores_table


def ask_run(folder: Path, ask: AskConfig) -> Path:
    """Evaluates a run on a task, writes the result and returns the summary's path.

    Raises UserError for a task that is wrong or does not fit the run.
    """
    with RunFolder(folder).alone():
        return answered(restore(folder), ask)[0]


def answered(run: Run, ask: AskConfig) -> tuple[Path, Family | None]:
    """As `ask_run`, for a run that is already loaded.

    Returns the summary's path, and the run's family after finetuning on the task (None without finetuning).
    """
    kind, mode = KINDS[ask.task.kind], mode_of(ask)
    metrics = metrics_of(ask, kind)
    data = examples_of(ask)
    path = run.folder.tasks / f"{'-'.join((ask.task.name, mode, *options_of(ask)))}.json"
    check_unchanged(path, ask, data)
    for note in data.notes:
        print(f"{ask.task.name}: {note}", file=sys.stderr)
    started = time.perf_counter()
    answer = MODES[ask.task.kind][mode](Question(run, ask, data))
    seconds = time.perf_counter() - started
    _print_cut(ask, kind, answer.cut, run)
    results, baselines = (
        [_with_values(outcome, metrics[0]) for outcome in outcomes]
        for outcomes in (answer.outcomes, baselines_of(kind.name, data, max(ask.examples)))
    )
    content = {
        "task": ask.task.name,
        "kind": kind.name,
        "mode": mode,
        "ways": options_of(ask),
        "primary": metrics[0].name,
        "ask": ask.model_dump(mode="json"),
        "data": {part: len(getattr(data, part)) for part in ("train", "validation", "test", "apart")}
        | {"digest": data.digest, "notes": data.notes},
        "cut": answer.cut | {"policy": kind.truncation},
        "outcomes": [
            _summary(outcome, metrics) | {"baseline": outcome in baselines}
            for outcome in (*results, *baselines)
        ],
        "trials": answer.trials,
        "overlap": {name: asdict(each) for name, each in _overlap(run, kind, ask, data).items()},
        "seconds": seconds,
        "environment": software(),
        **answer.more,
    }
    table = together([*results, *baselines])
    path.parent.mkdir(exist_ok=True)
    write_table(path.with_suffix(".parquet"), table)
    scores = items_of(content, table)
    # Claims read the tasks of the recipe alone: a result that was asked for later must not change them.
    if scores is not None and ask in run.recipe.evaluation.tasks:
        write_table(run.folder.scores / f"{scores_table(ask.task.name, mode)}.parquet", scores)
    write_json(path, content)
    return path, answer.finetuned


def items_of(content: dict[str, Any], table: pd.DataFrame) -> pd.DataFrame | None:
    """One row for each test item of the chosen outcome: item, value, digest of the task, unit if any.

    content, table: the two files of a result. None if the outcome lacks what the primary metric reads.
    """
    main = chosen(content["outcomes"])
    rows = None if main is None else of_variant(table, main["variant"])
    if rows is None or "value" not in rows or not np.isfinite(rows["value"]).any():
        return None
    items = by_item(rows).reset_index().assign(digest=content["data"]["digest"])
    return items.assign(unit=rows["unit"].iloc[0]) if "unit" in rows else items


def check(ask: AskConfig) -> None:
    """Checks a task and its files without a run. Raises UserError for a mistake in them."""
    mode_of(ask)
    metrics_of(ask, KINDS[ask.task.kind])
    examples_of(ask)


def check_unchanged(path: Path, ask: AskConfig, data: Data) -> None:
    """Raises UserError if the file holds the answer to another question, for writing would destroy it."""
    previous = read_record(path, "ask", "data")
    if previous is None:
        return
    before, now = (
        flatten({key: value for key, value in each.items() if key != "task"})
        for each in (previous["ask"], ask.model_dump(mode="json"))
    )
    changed = [
        f"{key} ({before.get(key)} there, {now[key]} now)" for key in now if before.get(key) != now[key]
    ]
    if previous["data"]["digest"] != data.digest:
        changed.append("its items")
    if changed:
        raise UserError(
            f"'{path}' has the answer to another question, which differs in {', '.join(changed)}; set "
            "task.name=… for a file of its own, or delete that one"
        )


def metrics_of(ask: AskConfig, kind: Kind) -> list[Metric]:
    """The task's metrics, the primary one first.

    Raises UserError for one that the kind's rows cannot give.
    """
    names, defaults = ask.task.metrics or list(kind.metrics), [METRICS[name] for name in kind.metrics]
    columns = {column for metric in defaults for column in metric.columns}
    allowed = [name for name, metric in METRICS.items() if set(metric.columns) <= columns]
    for name in names:
        if name not in allowed:
            raise unknown(f"metric of kind {kind.name}", name, allowed)
    return [METRICS[name] for name in names]


def together(outcomes: list[Outcome]) -> pd.DataFrame:
    """All rows in one table, with a column for each entry of the variant."""
    return pd.concat([outcome.rows.assign(**outcome.variant) for outcome in outcomes], ignore_index=True)


def _with_values(outcome: Outcome, primary: Metric) -> Outcome:
    """The outcome with a column `value`: each row's share of the primary metric, if the rows allow it."""
    if not _reads(primary, outcome):
        return outcome
    return replace(outcome, rows=outcome.rows.assign(value=values(primary, outcome.rows)))


def _reads(metric: Metric, outcome: Outcome) -> bool:
    return set(metric.columns) <= set(outcome.rows.columns)


def _summary(outcome: Outcome, metrics: list[Metric]) -> dict[str, Any]:
    """An outcome's metrics with their intervals, as far as its rows have the columns."""
    readable = [metric for metric in metrics if _reads(metric, outcome)]
    measurements = {metric.name: asdict(measured(metric, outcome.rows)) for metric in readable}
    items = next((each["items"] for each in measurements.values()), len(outcome.rows))
    return {"variant": outcome.variant, "items": items, "metrics": measurements}


def _overlap(run: Run, kind: Kind, ask: AskConfig, data: Data) -> Any:
    texts = {ask.task.name: [kind.text(example) for example in data.test]}
    return overlaps(run.corpus, texts, Path(run.recipe.data.cache))


def _print_cut(ask: AskConfig, kind: Kind, cut: dict[str, int], run: Run) -> None:
    if any(cut.values()):
        counts = ", ".join(f"{count:,} of {part}" for part, count in cut.items() if count)
        length = run.recipe.size.length
        print(
            f"{ask.task.name}: cut to {length} tokens: {counts} ({kind.truncation}); "
            "size.length sets the window",
            file=sys.stderr,
        )
