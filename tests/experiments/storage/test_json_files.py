"""What is written of a run is JSON, whatever its numbers are."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from archs.errors import UserError
from experiments.storage.json_files import read_json, read_lines, write_json


def refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON")


def test_numbers_that_are_none_are_null_in_json_and_come_back_as_none(tmp_path: Path) -> None:
    content = {"trials": [{"validation": -math.inf, "diverged": True}], "pair": (math.nan, 1.5), "n": 2}
    write_json(tmp_path / "a.json", content | {"deep": {"value": np.float64("inf")}})
    json.loads((tmp_path / "a.json").read_text(), parse_constant=refuse)
    assert read_json(tmp_path / "a.json") == {
        "trials": [{"validation": None, "diverged": True}],
        "pair": [None, 1.5],
        "n": 2,
        "deep": {"value": None},
    }


def test_lines_are_read_up_to_one_that_a_kill_cut_short(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"step": 1}\n{"step": 2}\n{"ste')
    assert read_lines(tmp_path / "a.jsonl") == [{"step": 1}, {"step": 2}]


def test_a_damaged_line_before_others_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"step": 1}\n{"ste\n{"step": 3}\n')
    with pytest.raises(UserError, match="line 2 is damaged"):
        read_lines(tmp_path / "a.jsonl")
