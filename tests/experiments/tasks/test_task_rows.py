"""From a user's files to checked examples: formats, columns, parts, and what is said where they are wrong."""

from __future__ import annotations

import csv
import hashlib
import json
import tracemalloc
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from pyarrow import parquet

from archs.errors import UserError
from experiments.recipe.groups.task import TaskConfig
from experiments.tasks.kinds import KINDS
from experiments.tasks.rows import carved, load

Rows = list[dict[str, Any]]
CLASSIFICATION = KINDS["classification"]


def written(file: Path, rows: Rows) -> None:
    match file.suffix:
        case ".parquet":
            parquet.write_table(pyarrow.Table.from_pylist(rows), file)
        case ".csv":
            with file.open("w", newline="") as stream:
                writer = csv.DictWriter(stream, list(rows[0]))
                writer.writeheader()
                writer.writerows(rows)
        case _:
            file.write_text("".join(json.dumps(row) + "\n" for row in rows))


def texts(count: int, name: str = "line", **more: Any) -> Rows:
    return [{"text": f"{name} {number}", "label": number % 2, **more} for number in range(count)]


def task(path: Path, **more: Any) -> TaskConfig:
    given = {"name": "mine", "kind": "classification", "path": str(path), "labels": ["no", "yes"]}
    return TaskConfig.model_validate(given | more)


def said(given: TaskConfig, training: bool = False) -> str:
    """The one line with which a task is refused."""
    with pytest.raises(UserError) as error:
        load(given, KINDS[given.kind], training)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl", ".json", ".csv"])
def test_a_folder_of_any_format_gives_the_same_examples(tmp_path: Path, suffix: str) -> None:
    for split, count in (("train", 4), ("validation", 3), ("test", 2)):
        written(tmp_path / f"{split}{suffix}", texts(count, split))
    data = load(task(tmp_path), CLASSIFICATION, training=True)
    assert data.test == [{"text": "test 0", "label": 0}, {"text": "test 1", "label": 1}]
    assert data.validation == [{"text": f"validation {n}", "label": n % 2} for n in range(3)]
    assert sorted(each["text"] for each in data.train) == [f"train {n}" for n in range(4)]
    assert (data.apart, data.notes) == ([], [])
    assert data.digest == "f747670575a242e9"


def test_without_training_only_the_test_is_read(tmp_path: Path) -> None:
    written(tmp_path / "test.jsonl", texts(2))
    data = load(task(tmp_path), CLASSIFICATION, training=False)
    assert (len(data.train), len(data.validation), len(data.test)) == (0, 0, 2)
    assert "unknown split of" in said(task(tmp_path), training=True)


def test_one_file_is_carved_into_three_parts(tmp_path: Path) -> None:
    written(tmp_path / "all.jsonl", texts(200))
    data = load(task(tmp_path / "all.jsonl"), CLASSIFICATION, training=True)
    assert (len(data.train), len(data.validation), len(data.test)) == (165, 17, 18)
    assert not {each["text"] for each in data.train} & {each["text"] for each in data.test}
    assert data.notes[0] == "one file: a tenth by a fixed hash is the test"
    assert len(load(task(tmp_path / "all.jsonl"), CLASSIFICATION, training=False).test) == 200


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".parquet", ".jsonl", ".csv", ".dataset"])
def test_of_a_split_no_more_is_held_than_its_examples(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 18 MB of text in a column that is not read, a block of the file or some rows are held at once."""
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    (place := tmp_path / "rows").mkdir()
    data = suffix == ".dataset"
    for split in ("train", "validation", "test"):
        rows = texts(6000 if split == "train" else 1, split, more="a" * 3000)
        written(place / f"{split}{'.parquet' if data else suffix}", rows)
    given = task(place)
    if data:
        given = given.model_copy(update={"path": None, "source": str(place)})
    tracemalloc.start()
    try:
        found = load(given, CLASSIFICATION, training=True)
        kept, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(found.train) == 6000
    assert most - kept < 10 * 2**20


def test_the_digest_is_that_of_all_parts_as_json(tmp_path: Path) -> None:
    rows = [{"text": "Zürich", "label": 1}, {"text": '"no"', "label": 0}]
    written(tmp_path / "test.jsonl", rows)
    whole = json.dumps({"apart": [], "test": rows, "train": [], "validation": []}, sort_keys=True)
    found = load(task(tmp_path), CLASSIFICATION, training=False).digest
    assert found == hashlib.sha256(whole.encode()).hexdigest()[:16]


@pytest.mark.parametrize("splits", [{}, {"test": "train"}, {"test": "other", "train": "other"}])
def test_a_split_that_is_test_and_train_is_carved_and_without_training_is_the_test(
    tmp_path: Path, splits: dict[str, str]
) -> None:
    name = splits.get("train", "train")
    written(tmp_path / f"{name}.jsonl", texts(200))
    if name == "other":
        written(tmp_path / "train.jsonl", texts(5, "unread"))
    given = task(tmp_path, splits=splits)
    data = load(given, CLASSIFICATION, training=True)
    parts = [{each["text"] for each in part} for part in (data.train, data.validation, data.test)]
    assert [len(part) for part in parts] == [165, 17, 18]
    assert len(set.union(*parts)) == 200
    assert data.notes == [
        f"test and train are the split {name}: a tenth by a fixed hash is the test",
        "validation is a tenth of train, by a fixed hash",
    ]
    assert len(load(given, CLASSIFICATION, training=False).test) == 200


def test_examples_that_are_in_the_test_too_are_kept_and_counted(tmp_path: Path) -> None:
    written(tmp_path / "train.jsonl", [*texts(20, "train"), *texts(12, "test")])
    written(tmp_path / "validation.jsonl", [*texts(9, "validation"), *texts(3, "hard")])
    for split in ("test", "hard"):
        written(tmp_path / f"{split}.jsonl", texts(30, split))
    data = load(task(tmp_path), CLASSIFICATION, training=True)
    assert (len(data.train), data.notes) == (32, ["12 of train are in the test too, word for word"])
    data = load(task(tmp_path, splits={"apart": "hard"}), CLASSIFICATION, training=True)
    assert data.notes == ["12 of train and 3 of validation are in the test or apart too, word for word"]


def test_trials_are_not_judged_by_what_they_are_trained_on(tmp_path: Path) -> None:
    for split in ("train", "test"):
        written(tmp_path / f"{split}.jsonl", texts(60, split))
    data = load(task(tmp_path, splits={"validation": "train"}), CLASSIFICATION, training=True)
    assert (len(data.train), len(data.validation)) == (55, 5)


def test_the_carved_tenth_is_fixed_and_equal_texts_are_on_one_side() -> None:
    rows = [{"text": f"line {number % 50}", "label": 0} for number in range(100)]
    taken, left = carved(rows, CLASSIFICATION)
    assert [each["text"] for each in taken] == ["line 2", "line 15", "line 43"] * 2
    assert not {each["text"] for each in taken} & {each["text"] for each in left}
    assert len(taken) + len(left) == 100


def test_the_first_training_examples_are_a_mixture_where_the_file_is_sorted_by_label(tmp_path: Path) -> None:
    rows = [{"text": f"line {number}", "label": int(number >= 500)} for number in range(1000)]
    for split in ("train", "validation", "test"):
        written(tmp_path / f"{split}.jsonl", rows)
    data = load(task(tmp_path), CLASSIFICATION, training=True)
    assert 35 < sum(each["label"] for each in data.train[:100]) < 65


def test_splits_can_be_named(tmp_path: Path) -> None:
    for split in ("train", "dev", "hard", "easy"):
        written(tmp_path / f"{split}.jsonl", texts(30, split))
    named = {"test": "easy", "apart": "hard", "validation": "dev"}
    data = load(task(tmp_path, splits=named), CLASSIFICATION, training=True)
    assert [part[0]["text"].split()[0] for part in (data.test, data.apart, data.validation)] == [
        "easy",
        "hard",
        "dev",
    ]
    told = said(task(tmp_path, splits={"test": "easy", "validation": "devel"}), training=True)
    assert told == f"unknown split of '{tmp_path}' 'devel'; choose one of: dev, hard, easy, train"
    assert "set task.splits.test=NAME" in said(task(tmp_path))


@pytest.mark.parametrize("hidden", [-1, "-1", None])
def test_validation_is_the_test_where_the_test_has_no_labels(tmp_path: Path, hidden: object) -> None:
    written(tmp_path / "train.jsonl", texts(60))
    written(tmp_path / "validation.jsonl", texts(5, "validation"))
    written(tmp_path / "test.jsonl", [{"text": "secret", "label": hidden}])
    data = load(task(tmp_path), CLASSIFICATION, training=True)
    assert data.test[0]["text"] == "validation 0"
    assert data.notes == [
        "test is the split validation: the source has no labelled test split",
        "validation is a tenth of train, by a fixed hash",
    ]


def test_rows_without_a_gold_label_are_left_out_and_counted(tmp_path: Path) -> None:
    written(tmp_path / "test.jsonl", [*texts(3), {"text": "disputed", "label": -1}])
    data = load(task(tmp_path), CLASSIFICATION, training=False)
    assert [each["text"] for each in data.test] == ["line 0", "line 1", "line 2"]
    assert data.notes == ["1 rows of test have no gold label (-1) and are left out"]
    number = task(tmp_path, kind="regression", labels=[])
    assert [each["label"] for each in load(number, KINDS["regression"], training=False).test] == [0, 1, 0, -1]


@pytest.mark.parametrize(
    ("kind", "sound", "empty"),
    [
        ("classification", {"text": "a", "label": 0}, {"text": " ", "label": 0}),
        ("classification", {"text": "a", "label": 0}, {"text": None, "label": 0}),
        ("tagging", {"tokens": ["a"], "tags": ["O"]}, {"tokens": [], "tags": []}),
        ("generation", {"source": "a", "references": "b"}, {"source": "", "references": "b"}),
        ("generation", {"source": "a", "references": "b"}, {"source": "c", "references": None}),
    ],
)
def test_empty_rows_of_train_are_left_out_and_told_and_of_other_parts_refused(
    tmp_path: Path, kind: str, sound: dict[str, Any], empty: dict[str, Any]
) -> None:
    for split in ("train", "validation", "test"):
        written(tmp_path / f"{split}.jsonl", [sound])
    written(tmp_path / "train.jsonl", [sound, empty, empty, empty])
    given = task(tmp_path, kind=kind, labels=["no", "yes"] if kind == "classification" else [])
    data = load(given, KINDS[kind], training=True)
    assert (len(data.train), data.notes[0]) == (1, "3 rows of train are empty and are left out")
    for split in ("validation", "test"):
        written(tmp_path / f"{split}.jsonl", [sound, empty])
        assert f"{split}, row 2: its " in (told := said(given, training=True))
        assert told.endswith("leave such items out")
        written(tmp_path / f"{split}.jsonl", [sound])


def test_labels_are_numbers_or_names_and_others_are_refused(tmp_path: Path) -> None:
    written(tmp_path / "test.csv", [{"text": "a", "label": "yes"}, {"text": "b", "label": "1"}])
    assert [each["label"] for each in load(task(tmp_path), CLASSIFICATION, False).test] == [1, 1]
    written(tmp_path / "test.csv", [{"text": "a", "label": "yes"}, {"text": "b", "label": "yess"}])
    assert said(task(tmp_path)) == (
        f"task 'mine', '{tmp_path}', test, row 2: its label is 'yess', must be one of: yes, no, or a number "
        "from 0 to 1; set task.labels=[…] to all of them"
    )


def test_columns_are_named_nested_or_written_together(tmp_path: Path) -> None:
    row = {"q": {"text": "Why?"}, "a": "So.", "b": 2, "gold.label": "no"}
    written(tmp_path / "test.jsonl", [row])
    columns = {"text": "q.text", "text_pair": "{a} Or {b}, {q.text}", "label": "gold.label"}
    data = load(task(tmp_path, columns=columns), CLASSIFICATION, training=False)
    assert data.test == [{"text": "Why?", "text_pair": "So. Or 2, Why?", "label": 0}]


@pytest.mark.parametrize(
    ("rows", "columns", "told"),
    [
        (
            [{"sentense": "a", "label": 0, "idx": 1}],
            {"text": "sentence"},
            ": no column 'sentence' for its text; there are sentense, label, idx; set task.columns.text=NAME",
        ),
        (
            [{"text": "a", "label": 0}],
            {"txt": "text"},
            "kind classification has the roles text, label, text_pair",
        ),
        ([{"text": "a", "label": 0}, {"label": 0}], {}, "row 2: it has no 'text'"),
        ([{"text": " ", "label": 0}], {}, "row 1: its text is empty; leave such items out"),
        ([{"text": 3, "label": 0}], {}, "row 1: its text is int, must be text"),
        ([{"text": {"a": "b"}, "label": 0}], {"text": "text.c"}, "row 1: its text has no 'c'"),
        ([{"text": None, "label": 0}], {"text": "so {text}"}, "row 1: its 'text' is empty"),
    ],
)
def test_a_wrong_row_is_told_with_its_place(
    tmp_path: Path, rows: Rows, columns: dict[str, str], told: str
) -> None:
    written(tmp_path / "test.jsonl", rows)
    assert told in said(task(tmp_path, columns=columns))


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("test.parquet", b"text,label\na,0\n", "is not a parquet file; give it the suffix of what it is"),
        ("test.jsonl", b'{"text": "a", "label": 0}\n{"text": \n', "line 2 is not JSON"),
        ("test.json", b'[{"text": "a"}]', "line 1 holds list; give one JSON object a line"),
        ("test.jsonl", b'{"text": "caf\xe9", "label": 0}', "is not UTF-8 (byte offset 13)"),
        ("test.csv", b"text,label\ncaf\xe9,0\n", "is not CSV in UTF-8"),
        ("test.csv", b"text,label\na, b,0\n", "(line 2 has not as many cells as the first); mend it"),
        ("test.csv", b"text,label\na\n", "(line 2 has not as many cells as the first); mend it"),
        ("test.csv", b"text,label\n", "has no rows; give a file with items in it"),
        ("test.jsonl", b"", "is empty"),
        (
            "test.txt",
            b"a\n",
            "holds no task files; name them <split> and one of: .parquet, .jsonl, .json, .csv",
        ),
    ],
)
def test_a_file_that_cannot_be_read_is_told(tmp_path: Path, name: str, content: bytes, told: str) -> None:
    (tmp_path / name).write_bytes(content)
    assert told in said(task(tmp_path))


def test_a_place_without_task_files_is_told(tmp_path: Path) -> None:
    assert "does not exist; give a folder of <split>.parquet, or one file" in said(task(tmp_path / "no"))
    (tmp_path / "mine.txt").write_text("a")
    assert "came .txt, must be one of: .parquet" in said(task(tmp_path / "mine.txt"))


def test_all_shards_of_a_split_are_read_and_one_missing_is_told(tmp_path: Path) -> None:
    for shard in range(2):
        written(tmp_path / f"test-0000{shard}-of-00002.parquet", texts(2, f"shard {shard}"))
    assert len(load(task(tmp_path), CLASSIFICATION, training=False).test) == 4
    (tmp_path / "test-00001-of-00002.parquet").unlink()
    assert "has 1 files of split test, must be 2: test-00000-of-00002.parquet" in said(task(tmp_path))


def test_a_split_that_is_there_twice_is_told(tmp_path: Path) -> None:
    written(tmp_path / "test.csv", texts(2))
    written(tmp_path / "test.jsonl", texts(2))
    assert "has 2 files of split test, must be 1: test.csv, test.jsonl" in said(task(tmp_path))


def test_a_test_of_which_nothing_is_left_is_told(tmp_path: Path) -> None:
    written(tmp_path / "hard.jsonl", [{"text": "a", "label": -1}])
    assert "has no test examples" in said(task(tmp_path, splits={"test": "hard"}))


def test_a_dataset_that_cannot_be_loaded_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    given = TaskConfig(name="mine", kind="classification", source="no/such:thing", labels=["no", "yes"])
    told = said(given)
    assert told.startswith("dataset 'no/such:thing' could not be loaded: ")
    assert told.endswith("; check the name and the network, or give local files by task.path")


def test_all_configurations_of_a_dataset_are_read_one_after_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    place = tmp_path / "pairs"
    place.mkdir()
    listed = "".join(f"- config_name: {name}\n  data_files: {name}.jsonl\n" for name in ("one", "two"))
    (place / "README.md").write_text(f"---\nconfigs:\n{listed}---\n")
    for name in ("one", "two"):
        row = {"good": f"{name} is", "bad": f"{name} are", "paradigm": name}
        (place / f"{name}.jsonl").write_text(json.dumps(row) + "\n")
    task = TaskConfig(name="pairs", kind="minimal_pairs", source=f"{place}:*", splits={"test": "train"})
    test = load(task, KINDS["minimal_pairs"], training=False).test
    assert [item["paradigm"] for item in test] == ["one", "two"]
    alone = task.model_copy(update={"source": f"{place}:two"})
    assert [item["good"] for item in load(alone, KINDS["minimal_pairs"], training=False).test] == ["two is"]


def test_a_column_that_no_split_has_is_told_by_its_name_and_not_as_a_missing_test(tmp_path: Path) -> None:
    for split in ("train", "test"):
        written(tmp_path / f"{split}.jsonl", texts(20))
    told = said(task(tmp_path, columns={"label": "lable"}), training=True)
    assert "no column 'lable' for its label; there are label, text; set task.columns.label=NAME" in told
