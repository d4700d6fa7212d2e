"""docs/parity.md is what the command prints."""

from __future__ import annotations

from pathlib import Path

import pytest
from references import REFERENCES, saved

from archs.hf import parity
from archs.hf.cases import CASES

PAGE = Path(__file__).parents[3] / "docs" / "parity.md"


def rows(text: str) -> list[list[str]]:
    """The first table's rows, cell by cell."""
    lines = text.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("| model |"))
    end = next((n for n, line in enumerate(lines[start:], start) if not line.startswith("|")), len(lines))
    return [line.strip("| ").split(" | ") for line in lines[start:end]]


def test_the_page_has_the_rows_and_columns_that_the_command_prints(
    capfd: pytest.CaptureFixture[str],
) -> None:
    parity.main([])
    told = capfd.readouterr()
    assert told.err == ""
    printed, shown = rows(told.out), rows(PAGE.read_text(encoding="utf-8"))
    assert shown[:2] == printed[:2]
    assert [row[:2] for row in shown] == [row[:2] for row in printed], "paste what the command prints"
    assert [row[:2] for row in printed[2:]] == [[name, what] for name, what, _, _ in CASES]
    for row in (*shown[2:], *printed[2:]):
        assert all(float(each) < 1e-4 for each in row[2:5])
    # What the differences are compared with is the same on every machine, up to rounding.
    for one, two in zip(shown[2:], printed[2:], strict=True):
        assert [float(each) for each in one[5:]] == pytest.approx([float(each) for each in two[5:]], rel=0.1)


def test_a_folder_of_one_s_own_is_a_row_too(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    places = [saved(tmp_path / model_type, model_type) for model_type in ("gpt2", "t5")]
    capfd.readouterr()
    parity.main([str(place) for place in places])
    told = capfd.readouterr()
    assert told.err == ""
    found = rows(told.out)[2:]
    names = ["GPT2LMHeadModel", "T5ForConditionalGeneration"]
    assert [row[:2] for row in found] == [[name, str(at)] for name, at in zip(names, places, strict=True)]
    assert all(float(each) < 1e-4 for row in found for each in row[2:5])


def test_the_page_tells_of_every_architecture() -> None:
    text = PAGE.read_text(encoding="utf-8").lower().replace("-", "")
    for model_type in REFERENCES:
        assert f"| {model_type} |" in text, model_type
