"""A task asked of a trained run: from its files to tasks/<task>-<mode>.json and .parquet of the run."""

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
    """Asks a task of a run and writes what came out; the summary's path. Raises UserError for bad tasks."""
    with RunFolder(folder).alone():
        return answered(restore(folder), ask)[0]


def answered(run: Run, ask: AskConfig) -> tuple[Path, Family | None]:
    """As `ask_run`, of a run that is at hand; and its family as the task's finetuning left it, if it was."""
    kind, mode = KINDS[ask.task.kind], mode_of(ask)
    metrics = metrics_of(ask, kind)
    data = examples_of(ask)
    place = run.folder.tasks / f"{'-'.join((ask.task.name, mode, *options_of(ask)))}.json"
    check_unchanged(place, ask, data)
    for note in data.notes:
        print(f"{ask.task.name}: {note}", file=sys.stderr)
    started = time.perf_counter()
    answer = MODES[ask.task.kind][mode](Question(run, ask, data))
    seconds = time.perf_counter() - started
    _tell_cut(ask, kind, answer.cut, run)
    found, beside = (
        [_shared_out(one, metrics[0]) for one in outcomes]
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
        "outcomes": [_numbers(one, metrics) | {"baseline": one in beside} for one in (*found, *beside)],
        "trials": answer.trials,
        "overlap": {name: asdict(each) for name, each in _overlap(run, kind, ask, data).items()},
        "seconds": seconds,
        "environment": software(),
        **answer.more,
    }
    table = together([*found, *beside])
    place.parent.mkdir(exist_ok=True)
    write_table(place.with_suffix(".parquet"), table)
    scores = items_of(content, table)
    # What claims are decided on is what the recipe asked, however else the run was asked besides.
    if scores is not None and ask in run.recipe.evaluation.tasks:
        write_table(run.folder.scores / f"{scores_table(ask.task.name, mode)}.parquet", scores)
    write_json(place, content)
    return place, answer.finetuned


def items_of(content: dict[str, Any], table: pd.DataFrame) -> pd.DataFrame | None:
    """One row a test item of the chosen outcome: item, value, the digest of the task, the unit if it has any.

    content, table: an answer's files. None where the outcome has nothing that the primary metric reads.
    """
    main = chosen(content["outcomes"])
    rows = None if main is None else of_variant(table, main["variant"])
    if rows is None or "value" not in rows or not np.isfinite(rows["value"]).any():
        return None
    found = by_item(rows).reset_index().assign(digest=content["data"]["digest"])
    return found.assign(unit=rows["unit"].iloc[0]) if "unit" in rows else found


def check(ask: AskConfig) -> None:
    """Raises UserError for what is wrong with a task whatever run is asked it, its files among it."""
    mode_of(ask)
    metrics_of(ask, KINDS[ask.task.kind])
    examples_of(ask)


def check_unchanged(place: Path, ask: AskConfig, data: Data) -> None:
    """Raises UserError if the file holds the answer to another question: it would be lost."""
    there = read_record(place, "ask", "data")
    if there is None:
        return
    before, now = (
        flatten({key: value for key, value in one.items() if key != "task"})
        for one in (there["ask"], ask.model_dump(mode="json"))
    )
    told = [f"{key} ({before.get(key)} there, {now[key]} now)" for key in now if before.get(key) != now[key]]
    if there["data"]["digest"] != data.digest:
        told.append("its items")
    if told:
        raise UserError(
            f"'{place}' has the answer to another question, which differs in {', '.join(told)}; set "
            "task.name=… for a file of its own, or delete that one"
        )


def metrics_of(ask: AskConfig, kind: Kind) -> list[Metric]:
    """The primary one first. Raises UserError for a metric that the kind's rows cannot give."""
    names, usual = ask.task.metrics or list(kind.metrics), [METRICS[name] for name in kind.metrics]
    there = {column for metric in usual for column in metric.columns}
    allowed = [name for name, metric in METRICS.items() if set(metric.columns) <= there]
    for name in names:
        if name not in allowed:
            raise unknown(f"metric of kind {kind.name}", name, allowed)
    return [METRICS[name] for name in names]


def together(outcomes: list[Outcome]) -> pd.DataFrame:
    """All rows in one table, the variant's words as columns."""
    return pd.concat([one.rows.assign(**one.variant) for one in outcomes], ignore_index=True)


def _shared_out(outcome: Outcome, primary: Metric) -> Outcome:
    """With each row's share of the primary metric, where the rows have what that metric reads."""
    if not _reads(primary, outcome):
        return outcome
    return replace(outcome, rows=outcome.rows.assign(value=values(primary, outcome.rows)))


def _reads(metric: Metric, outcome: Outcome) -> bool:
    return set(metric.columns) <= set(outcome.rows.columns)


def _numbers(outcome: Outcome, metrics: list[Metric]) -> dict[str, Any]:
    """An outcome's metrics with their intervals; of those whose columns its rows have."""
    there = [metric for metric in metrics if _reads(metric, outcome)]
    found = {metric.name: asdict(measured(metric, outcome.rows)) for metric in there}
    items = next((each["items"] for each in found.values()), len(outcome.rows))
    return {"variant": outcome.variant, "items": items, "metrics": found}


def _overlap(run: Run, kind: Kind, ask: AskConfig, data: Data) -> Any:
    texts = {ask.task.name: [kind.text(example) for example in data.test]}
    return overlaps(run.corpus, texts, Path(run.recipe.data.cache))


def _tell_cut(ask: AskConfig, kind: Kind, cut: dict[str, int], run: Run) -> None:
    if any(cut.values()):
        told = ", ".join(f"{count:,} of {part}" for part, count in cut.items() if count)
        length = run.recipe.size.length
        print(
            f"{ask.task.name}: cut to {length} tokens: {told} ({kind.truncation}); "
            "size.length sets the window",
            file=sys.stderr,
        )
