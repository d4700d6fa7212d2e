from __future__ import annotations

import math
from pathlib import Path

import pytest

from experiments.report.formats import terminal_task
from experiments.storage.json_files import write_json


def test_a_result_without_a_number_is_shown_as_such(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    infinite = {"value": math.inf, "low": 12.0, "high": math.inf}
    outcome = {"variant": {"model": "pretrained"}, "items": 7, "metrics": {"word_perplexity": infinite}}
    write_json(tmp_path / "a.json", {"task": "words", "mode": "zero_shot", "outcomes": [outcome]})
    terminal_task.show(tmp_path / "a.json")
    assert "12.0 to no number" in capsys.readouterr().out
