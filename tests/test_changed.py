from __future__ import annotations

from pathlib import Path

import pytest
from changed import folder_of


@pytest.mark.parametrize(
    ("file", "tests"),
    [
        ("archs/core/attention.py", "tests/archs/core"),
        ("archs/masks.py", "tests/archs"),
        ("archs/hf/save.py", "tests/archs/hf"),
        ("objectives/mlm.py", "tests/objectives"),
        ("experiments/data/sources/files.py", "tests/experiments/data"),
        ("experiments/storage/whole.py", "tests/experiments/storage"),
        ("tests/archs/test_masks.py", "tests/archs/test_masks.py"),
        ("configs/train.yaml", None),
        ("README.md", None),
        ("tests/experiments/conftest.py", None),
    ],
)
def test_a_changed_file_is_tested_by_the_folder_of_its_room(file: str, tests: str | None) -> None:
    assert folder_of(Path(file)) == (None if tests is None else Path(tests))
