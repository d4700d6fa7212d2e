"""A task's examples: columns become roles, parts are chosen or carved, mistakes are told with their place."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

from archs.errors import UserError, nearest
from experiments.recipe.groups.task import TaskConfig
from experiments.tasks.kind import Data, EmptyError, Example, Kind
from experiments.tasks.sources import Row, Source

TENTH = 0.1
UNLABELLED = (None, -1, "-1", [])  # what Hugging Face has in place of an answer that is secret, or missing
ANSWERS = ("label", "tags", "answers", "references")  # the roles of which a test must have some
PLACE = re.compile(r"\{([^{}]+)\}")


def load(task: TaskConfig, kind: Kind, training: bool) -> Data:
    """The examples of a task, always the same ones; train and validation are left empty unless `training`.

    Test is the split test where it has labels, else validation; of a source of one split, and where it is the
    split that train is, a tenth of that by a fixed hash, and the whole of it where nothing is trained.
    Validation is the split of that name where it is neither of those, else a tenth of train by a fixed hash.
    Train is in the order of a fixed hash, whatever the file's: its first examples are a fair sample of it.
    Left out and told are rows of a class whose label is -1, on which SNLI's annotators did not agree, and
    empty rows of the split that is trained on.
    Raises UserError, with the place, for a column that is missing and for an example that is none.
    """
    source, notes = Source(task), []
    parts: dict[str, list[Example]] = {"train": [], "validation": [], "test": [], "apart": []}

    def read(split: str) -> list[Example]:
        found, told = examples(task, kind, split, source.rows(split), training and split == train)
        notes.extend(told)
        return found

    train = "all" if source.splits == ["all"] else task.splits.get("train", "train")
    test = task.splits.get("test") or _test_split(task, kind, source, notes)
    parts["test"] = read(test)
    if "apart" in task.splits:
        parts["apart"] = read(task.splits["apart"])
    if training:
        if test == train:
            parts["test"], rest = carved(parts["test"], kind, "test")
            place = "one file" if train == "all" else f"test and train are the split {train}"
            notes.append(f"{place}: a tenth by a fixed hash is the test")
        else:
            rest = read(train)
        validation = task.splits.get("validation", "validation")
        if validation not in (test, train) and (validation in source.splits or "validation" in task.splits):
            parts["train"], parts["validation"] = rest, read(validation)
        else:
            parts["validation"], parts["train"] = carved(rest, kind)
            notes.append("validation is a tenth of train, by a fixed hash")
        parts["train"].sort(key=lambda example: hashed(example, kind))
        notes += _repeated(parts, kind)
    for part in ("train", "validation", "test") if training else ("test",):
        if not parts[part]:
            raise UserError(f"task '{task.name}' has no {part} examples in {task.where}; give more items")
    return Data(**parts, digest=_digest(parts), notes=notes)


def _digest(parts: dict[str, list[Example]]) -> str:
    """Of the parts as one JSON object, an example at a time: all of it would be a second copy of the task."""
    written, found = json.JSONEncoder(sort_keys=True, default=str).encode, hashlib.sha256()
    for place, part in enumerate(sorted(parts)):
        found.update(f'{", " if place else "{"}"{part}": ['.encode())
        for number, example in enumerate(parts[part]):
            found.update(f"{', ' if number else ''}{written(example)}".encode())
        found.update(b"]")
    found.update(b"}")
    return found.hexdigest()[:16]


def _test_split(task: TaskConfig, kind: Kind, source: Source, notes: list[str]) -> str:
    if source.splits in (["all"], ["train"]):
        return source.splits[0]
    if "test" in source.splits:
        asked = [task.columns.get(role, role) for role in ANSWERS if role in kind.required]
        rows = source.rows("test") if asked else []
        if not asked or any(_answered(row, column) for row in rows for column in asked):
            return "test"
    if "validation" in source.splits:
        notes.append("test is the split validation: the source has no labelled test split")
        return "validation"
    raise UserError(
        f"{task.where} has neither a labelled test split nor one called validation, only: "
        f"{', '.join(source.splits)}; set task.splits.test=NAME"
    )


def _answered(row: Row, column: str) -> bool:
    """Whether the row has what a model is judged by."""
    try:
        value = _value(row, column)
    except ValueError:
        return True  # no such column: where the rows are read it is told, with its nearest names
    return (value.get("text", value) if isinstance(value, dict) else value) not in UNLABELLED


def _repeated(parts: dict[str, list[Example]], kind: Kind) -> list[str]:
    """A note of how many examples a model may have seen whole before it is asked them; none if none."""
    asked = {kind.text(example) for part in ("test", "apart") for example in parts[part]}
    counts = {
        part: sum(kind.text(example) in asked for example in parts[part]) for part in ("train", "validation")
    }
    told = " and ".join(f"{count:,} of {part}" for part, count in counts.items() if count)
    where = "the test or apart" if parts["apart"] else "the test"
    return [f"{told} are in {where} too, word for word"] if told else []


def carved(rest: Sequence[Example], kind: Kind, salt: str = "") -> tuple[list[Example], list[Example]]:
    """A tenth of the examples and the others, by a hash of their text: equal texts are on one side.

    salt: another tenth for each, so that of what one left another can be taken.
    """
    taken, left = [], []
    for example in rest:
        (taken if hashed(example, kind, salt) < TENTH else left).append(example)
    return taken, left


def hashed(example: Example, kind: Kind, salt: str = "") -> float:
    """A number from 0 to 1 of an example's text and the salt alone."""
    return int.from_bytes(hashlib.sha256((salt + kind.text(example)).encode()).digest()[:8]) / 2**64


def examples(
    task: TaskConfig, kind: Kind, split: str, rows: Iterable[Row], without_empty: bool = False
) -> tuple[list[Example], list[str]]:
    """A split's rows as the kind's examples, and notes of what is left out.

    Raises UserError, with the row, for one that is no example; for an empty one unless `without_empty`.
    """
    columns: dict[str, str] | None = None
    found, unlabelled, empty = [], 0, 0
    for number, row in enumerate(rows, start=1):
        columns = columns or _columns(task, kind, split, list(row))
        try:
            roles = {role: _value(row, column) for role, column in columns.items()}
            if task.labels and roles.get("label") in (-1, "-1"):
                unlabelled += 1
            else:
                found.append(kind.example(roles, task))
        except ValueError as error:
            if without_empty and isinstance(error, EmptyError):
                empty += 1
                continue
            raise UserError(f"task '{task.name}', {task.where}, {split}, row {number}: {error}") from error
    left_out = {"have no gold label (-1)": unlabelled, "are empty": empty}
    told = [f"{count:,} rows of {split} {why} and are left out" for why, count in left_out.items() if count]
    return (found if kind.grouped is None else kind.grouped(found)), told


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
        missing = [name for name in _names(column) if not {name, name.partition(".")[0]} & set(there)]
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
    """What a name, `outer.inner` or a template has in this row; ValueError where the row lacks it."""
    if PLACE.search(column):
        return PLACE.sub(lambda place: _written(row, place[1]), column)
    outer, _, inner = column.partition(".")
    if column in row:
        return row[column]
    if outer not in row:
        raise ValueError(f"it has no '{outer}'")
    value = row[outer]
    if not inner:
        return value
    if not isinstance(value, dict) or inner not in value:
        raise ValueError(f"its {outer} has no '{inner}'")
    return value[inner]


def _written(row: Row, column: str) -> str:
    value = _value(row, column)
    if value is None:
        raise EmptyError(f"its '{column}' is empty; leave such items out")
    return str(value)
