"""What is written of a run is JSON, whatever its numbers are."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from experiments.report.formats import terminal_task as asking_shown
from experiments.storage.json_files import read_json, write_json


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


def test_a_result_without_a_number_is_shown_as_such(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    infinite = {"value": math.inf, "low": 12.0, "high": math.inf}
    outcome = {"variant": {"model": "pretrained"}, "items": 7, "metrics": {"word_perplexity": infinite}}
    write_json(tmp_path / "a.json", {"task": "words", "mode": "zero_shot", "outcomes": [outcome]})
    asking_shown.show(tmp_path / "a.json")
    assert "12.0 to no number" in capsys.readouterr().out
