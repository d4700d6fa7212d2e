"""A task's examples: columns become roles, parts are chosen or carved, mistakes are told with their place."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from typing import Any

from archs.errors import UserError, nearest
from experiments.tasks.kind import Data, Example, Kind
from experiments.tasks.sources import Row, Source
from experiments.tasks.task import TaskConfig

TENTH = 0.1
UNLABELLED = -1  # what Hugging Face's test sets have in place of a label that is kept secret
PLACE = re.compile(r"\{([^{}]+)\}")


def load(task: TaskConfig, kind: Kind, training: bool) -> Data:
    """The examples of a task, always the same ones; train and validation are left empty unless `training`.

    Test is the split test where it has labels, else validation, else a tenth of the rest by a fixed hash.
    Validation is the split of that name where it is not the test, else a tenth of train by a fixed hash.
    Raises UserError, with the place, for a column that is missing and for an example that is none.
    """
    source, notes = Source(task), []
    parts: dict[str, list[Example]] = {"train": [], "validation": [], "test": [], "apart": []}

    def read(split: str) -> list[Example]:
        return examples(task, kind, split, source.rows(split))

    test = task.splits.get("test") or _test_split(task, source, notes)
    parts["test"] = read(test)
    if "apart" in task.splits:
        parts["apart"] = read(task.splits["apart"])
    if training:
        if test == "all":
            parts["test"], rest = carved(parts["test"], kind, "test")
            notes.append("one file: a tenth by a fixed hash is the test, a tenth of the rest validation")
        else:
            rest = read(task.splits.get("train", "train"))
        validation = task.splits.get("validation", "validation")
        if validation in source.splits and validation != test:
            parts["train"], parts["validation"] = rest, read(validation)
        else:
            parts["validation"], parts["train"] = carved(rest, kind, "validation")
            notes.append("validation is a tenth of train, by a fixed hash")
        for part in ("train", "validation", "test"):
            if not parts[part]:
                raise UserError(f"task '{task.name}' has no {part} examples in {task.where}; give more items")
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:16]
    return Data(**parts, digest=digest, notes=notes)


def _test_split(task: TaskConfig, source: Source, notes: list[str]) -> str:
    if source.splits == ["all"]:
        return "all"
    column = task.columns.get("label", "label")
    if "test" in source.splits:
        labels = {row.get(column) for row in source.rows("test")} if task.kind != "tagging" else set()
        if labels != {UNLABELLED}:
            return "test"
    if "validation" in source.splits:
        notes.append("test is the split validation: the source has no labelled test split")
        return "validation"
    raise UserError(
        f"{task.where} has neither a labelled test split nor one called validation, only: "
        f"{', '.join(source.splits)}; set task.splits.test=NAME"
    )


def carved(rest: Sequence[Example], kind: Kind, part: str) -> tuple[list[Example], list[Example]]:
    """A tenth of the examples and the others, by a hash of their text: equal texts are on one side.

    part: what the tenth is for; another part takes another tenth.
    """
    taken, left = [], []
    for example in rest:
        digest = hashlib.sha256(f"{part}\n{kind.text(example)}".encode()).digest()
        place = int.from_bytes(digest[:8]) / 2**64
        (taken if place < TENTH else left).append(example)
    return taken, left


def examples(task: TaskConfig, kind: Kind, split: str, rows: Sequence[Row]) -> list[Example]:
    """A split's rows as the kind's examples. Raises UserError with the row's number."""
    columns = _columns(task, kind, split, list(rows[0]))
    found = []
    for number, row in enumerate(rows, start=1):
        try:
            found.append(kind.example({role: _value(row, column) for role, column in columns.items()}, task))
        except ValueError as error:
            raise UserError(f"task '{task.name}', {task.where}, {split}, row {number}: {error}") from error
    return found


def _columns(task: TaskConfig, kind: Kind, split: str, there: list[str]) -> dict[str, str]:
    """Where each role is; of optional ones those that are named or there."""
    for role in task.columns:
        if role not in (*kind.required, *kind.optional):
            allowed = ", ".join((*kind.required, *kind.optional))
            raise UserError(
                f"task.columns.{role}: kind {kind.name} has the roles {allowed}; name one of them"
            )
    found = {}
    for role in (*kind.required, *kind.optional):
        column = task.columns.get(role, role)
        missing = [name for name in _names(column) if name.partition(".")[0] not in there]
        if not missing:
            found[role] = column
        elif role in kind.required or role in task.columns:
            raise UserError(
                f"task '{task.name}', {task.where}, {split}: no column '{missing[0]}' for its {role}; there "
                f"are {', '.join(nearest(missing[0], there))}; set task.columns.{role}=NAME"
            )
    return found


def _names(column: str) -> list[str]:
    return PLACE.findall(column) or [column]


def _value(row: Row, column: str) -> Any:
    if PLACE.search(column):
        return PLACE.sub(lambda place: str(_value(row, place[1])), column)
    outer, _, inner = column.partition(".")
    value = row[outer] if column not in row else row[column]
    if not inner or column in row:
        return value
    if not isinstance(value, dict) or inner not in value:
        raise ValueError(f"its {outer} has no '{inner}'")
    return value[inner]
