"""Reads a task's examples: turns columns into roles, and splits into train, validation and test."""

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
UNLABELLED = (None, -1, "-1", [])  # stand in Hugging Face datasets for an answer that is secret or missing
ANSWERS = ("label", "tags", "answers", "references")  # the roles that hold answers
PLACE = re.compile(r"\{([^{}]+)\}")


def load(task: TaskConfig, kind: Kind, training: bool) -> Data:
    """Returns the examples of a task, always the same; train and validation only if `training`.

    Test: the split test if it has labels, else the split validation. If it would be the same split as train,
    as in a source of one split, it is a tenth of it by a fixed hash, or all of it if nothing is trained.
    Validation: the split of that name if it is neither train nor test, else a tenth of train by a fixed hash.
    Train: in the order of a fixed hash, so that its first examples are a fair sample.
    Rows with the class label -1, on which SNLI's annotators disagreed, and empty rows of train are left out
    and counted in the notes. Raises UserError, which names split and row, for a missing column or a bad row.
    """
    source, notes = Source(task), []
    parts: dict[str, list[Example]] = {"train": [], "validation": [], "test": [], "apart": []}

    def read(split: str) -> list[Example]:
        read_examples, left_out = examples(task, kind, split, source.rows(split), training and split == train)
        notes.extend(left_out)
        return read_examples

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
    """Returns a hash of the parts as one JSON object, encoded one example at a time to save memory."""
    encode, digest = json.JSONEncoder(sort_keys=True, default=str).encode, hashlib.sha256()
    for place, part in enumerate(sorted(parts)):
        digest.update(f'{", " if place else "{"}"{part}": ['.encode())
        for number, example in enumerate(parts[part]):
            digest.update(f"{', ' if number else ''}{encode(example)}".encode())
        digest.update(b"]")
    digest.update(b"}")
    return digest.hexdigest()[:16]


def _test_split(task: TaskConfig, kind: Kind, source: Source, notes: list[str]) -> str:
    """Returns the split that test is read from. Raises UserError if there is none with labels."""
    if source.splits in (["all"], ["train"]):
        return source.splits[0]
    if "test" in source.splits:
        columns = [task.columns.get(role, role) for role in ANSWERS if role in kind.required]
        rows = source.rows("test") if columns else []
        if not columns or any(_answered(row, column) for row in rows for column in columns):
            return "test"
    if "validation" in source.splits:
        notes.append("test is the split validation: the source has no labelled test split")
        return "validation"
    raise UserError(
        f"{task.where} has neither a labelled test split nor one called validation, only: "
        f"{', '.join(source.splits)}; set task.splits.test=NAME"
    )


def _answered(row: Row, column: str) -> bool:
    """Whether the row has an answer in this column."""
    try:
        value = _value(row, column)
    except ValueError:
        return True  # no such column: reading the rows raises the error, with the nearest names
    return (value.get("text", value) if isinstance(value, dict) else value) not in UNLABELLED


def _repeated(parts: dict[str, list[Example]], kind: Kind) -> list[str]:
    """Returns a note of how many examples of train and validation are in test or apart too, [] if none."""
    tested = {kind.text(example) for part in ("test", "apart") for example in parts[part]}
    counts = {
        part: sum(kind.text(example) in tested for example in parts[part]) for part in ("train", "validation")
    }
    counted = " and ".join(f"{count:,} of {part}" for part, count in counts.items() if count)
    where = "the test or apart" if parts["apart"] else "the test"
    return [f"{counted} are in {where} too, word for word"] if counted else []


def carved(rest: Sequence[Example], kind: Kind, salt: str = "") -> tuple[list[Example], list[Example]]:
    """Returns a tenth of the examples and the rest, by a hash of the text, so that equal texts stay together.

    salt: each gives another tenth, so that a second one can be taken of the rest of the first.
    """
    taken, left = [], []
    for example in rest:
        (taken if hashed(example, kind, salt) < TENTH else left).append(example)
    return taken, left


def hashed(example: Example, kind: Kind, salt: str = "") -> float:
    """Returns a number from 0 to 1 that depends only on an example's text and the salt."""
    return int.from_bytes(hashlib.sha256((salt + kind.text(example)).encode()).digest()[:8]) / 2**64


def examples(
    task: TaskConfig, kind: Kind, split: str, rows: Iterable[Row], without_empty: bool = False
) -> tuple[list[Example], list[str]]:
    """Returns a split's rows as examples of the kind, and notes of what is left out.

    Raises UserError, which names the row, for a bad row, and for an empty one unless `without_empty`.
    """
    columns: dict[str, str] | None = None
    kept, unlabelled, empty = [], 0, 0
    for number, row in enumerate(rows, start=1):
        columns = columns or _columns(task, kind, split, list(row))
        try:
            roles = {role: _value(row, column) for role, column in columns.items()}
            if task.labels and roles.get("label") in (-1, "-1"):
                unlabelled += 1
            else:
                kept.append(kind.example(roles, task))
        except ValueError as error:
            if without_empty and isinstance(error, EmptyError):
                empty += 1
                continue
            raise UserError(f"task '{task.name}', {task.where}, {split}, row {number}: {error}") from error
    left_out = {"have no gold label (-1)": unlabelled, "are empty": empty}
    notes = [f"{count:,} rows of {split} {why} and are left out" for why, count in left_out.items() if count]
    return (kept if kind.grouped is None else kind.grouped(kept)), notes


def _columns(task: TaskConfig, kind: Kind, split: str, present: list[str]) -> dict[str, str]:
    """Returns {role: column} for all required roles, and the optional ones that are present.

    Raises UserError for a role that the kind lacks, and for a missing column.
    """
    for role in task.columns:
        if role not in (*kind.required, *kind.optional):
            allowed = ", ".join((*kind.required, *kind.optional))
            raise UserError(
                f"task.columns.{role}: kind {kind.name} has the roles {allowed}; name one of them"
            )
    columns = {}
    for role in (*kind.required, *kind.optional):
        column = task.columns.get(role, role)
        missing = [name for name in _names(column) if not {name, name.partition(".")[0]} & set(present)]
        if not missing:
            columns[role] = column
        elif role in kind.required or role in task.columns:
            raise UserError(
                f"task '{task.name}', {task.where}, {split}: no column '{missing[0]}' for its {role}; there "
                f"are {', '.join(nearest(missing[0], present))}; set task.columns.{role}=NAME"
            )
    return columns


def _names(column: str) -> list[str]:
    """Returns the columns that a template reads, or the one column."""
    return PLACE.findall(column) or [column]


def _value(row: Row, column: str) -> Any:
    """Returns the value of a column, `outer.inner` or a template. Raises ValueError if the row lacks it."""
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
