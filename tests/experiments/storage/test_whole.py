"""Files are whole or not there."""

from __future__ import annotations

from pathlib import Path

import pytest
from run_files import KilledError

from experiments.storage.whole import append_line, whole, write_whole


def test_a_file_that_is_not_finished_leaves_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_whole(path, b"before")

    def half() -> None:
        with whole(path) as partial:
            partial.write_bytes(b"hal")
            raise KilledError

    with pytest.raises(KilledError):
        half()
    assert path.read_bytes() == b"before"
    assert [*tmp_path.iterdir()] == [path]


def test_a_line_is_never_appended_to_half_a_line(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    append_line(path, "one")
    with path.open("a") as file:
        file.write("tw")
    append_line(path, "three")
    assert path.read_text() == "one\nthree\n"
