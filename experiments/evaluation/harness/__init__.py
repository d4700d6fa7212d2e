"""Evaluates a trained run of any family on tasks of EleutherAI's lm-evaluation-harness (Gao et al. 2021)."""

from __future__ import annotations

import difflib
import json
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from archs.errors import UserError
from experiments.runs.run import restore
from experiments.storage.json_files import write_json

if TYPE_CHECKING:
    from lm_eval.tasks import TaskManager

    from experiments.evaluation.harness.model import PentarchLM

NEAREST = 8  # names of tasks that an error lists, of thousands


def run_harness(
    folder: Path, tasks: list[str], include: Path | None = None, limit: int | None = None
) -> dict[str, Any]:
    """Prints the harness's table and writes RUN/tasks/lm_eval-<task>.json for every task and group.

    tasks: names of tasks, groups or tags, or patterns such as "blimp_*". include: a folder of further task
    files. limit: only the first items of each task. Returns what `lm_eval.simple_evaluate` returns.

    Raises UserError without lm-eval, for an unknown task, for data that cannot be read, and for a run
    without a language model.
    """
    try:
        from lm_eval.utils import make_table
    except ImportError as error:
        raise UserError(
            '--lm-eval needs a package that is missing: pip install "pentarch[lm-eval]"'
        ) from error
    from experiments.evaluation.harness.model import PentarchLM

    manager = task_files(tasks, include)
    names = named(tasks, manager)  # before the weights are read
    model = PentarchLM(restore(folder))
    results = evaluate(model, names, manager, limit)
    write(results, model, limit)
    for line in model.told():
        print(line, file=sys.stderr)
    print(f"{model.run.recipe.label} seed {model.run.recipe.seed}, {model.run.family.unit}")
    print(make_table(results))
    if results.get("groups"):
        print(make_table(results, "groups"))
    return results


def task_files(tasks: list[str], include: Path | None) -> TaskManager:
    """An index of the task files in `include` and of the harness's own.

    If `include` has all of the tasks, the harness's own files, which are thousands, are not read.
    """
    from lm_eval.tasks import TaskManager

    if include is not None:
        _check_files(include)
        own = TaskManager(include_path=include, include_defaults=False)
        if set(tasks) <= set(own.all_subtasks):
            return own
    return TaskManager(include_path=include)


def _check_files(include: Path) -> None:
    """Raises UserError for a task file that is not YAML; the harness would skip it silently."""
    for file in sorted(include.rglob("*.yaml")):
        try:
            yaml.compose(file.read_text(encoding="utf-8"))  # parsed alone: `!function` needs the harness
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise UserError(f"'{file}' is not YAML: {' '.join(str(error).split())}") from error


def named(tasks: list[str], manager: TaskManager) -> list[str]:
    """The tasks that these names or patterns match.

    Raises UserError, with the nearest names, if one matches none.
    """
    names: dict[str, None] = {}
    for task in tasks:
        matching = manager.match_tasks([task])
        if not matching:
            near = difflib.get_close_matches(task, manager.all_tasks, n=NEAREST, cutoff=0.0)
            raise UserError(
                f"unknown task '{task}'; the nearest of {len(manager.all_tasks):,} are: {', '.join(near)}; "
                "--include FOLDER reads task files of your own"
            )
        names.update(dict.fromkeys(matching))
    return list(names)


def evaluate(
    model: PentarchLM, names: list[str], manager: TaskManager, limit: int | None = None
) -> dict[str, Any]:
    """The result of `lm_eval.simple_evaluate`, with the samples. What the harness prints goes to stderr."""
    import lm_eval

    ask: Any = lm_eval.simple_evaluate  # its decorator hides the arguments from type checkers
    try:
        with redirect_stdout(sys.stderr):
            results = ask(model, tasks=names, task_manager=manager, limit=limit)
    except OSError as error:  # errors of datasets and of the hub derive from it
        reason = " ".join(str(error).split())
        raise UserError(
            f"the data of one of {', '.join(names)} cannot be read ({reason}); a task of the harness's own "
            "downloads its data the first time, one of --include names its files in dataset_kwargs"
        ) from error
    return dict(results)


def write(results: dict[str, Any], model: PentarchLM, limit: int | None) -> None:
    """Writes RUN/tasks/lm_eval-<name>.json for every task, with its samples, and for every group."""
    from lm_eval import __version__
    from lm_eval.utils import handle_non_serializable

    from experiments.evaluation.harness.model import CUT, DIVIDED, SHORTENED

    folder = model.run.folder.tasks
    folder.mkdir(exist_ok=True)
    for name, numbers in results["results"].items():
        content = {
            "task": name,
            "results": numbers,
            "unit": model.run.family.unit,
            "window": model.window.tokens,
            "changed": {change: model.counts[name][change] for change in (CUT, SHORTENED, DIVIDED)},
            "limit": limit,
            "version": results["versions"].get(name),
            "shots": results["n-shot"].get(name),
            "higher_is_better": results["higher_is_better"].get(name),
            "lm_eval": __version__,
            "samples": results["samples"].get(name),
        }
        # The harness's handler keeps numpy's integers as numbers; write_json would not.
        plain = json.loads(json.dumps(content, default=handle_non_serializable))
        write_json(folder / f"lm_eval-{name}.json", plain)
