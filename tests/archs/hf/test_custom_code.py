"""Families that no native class computes: their folders open, and answer the same, without pentarch."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from cores import CORES
from opener import answers
from writing import lively

from archs import FAMILIES, CoreConfig, Family, build
from archs.hf import from_hf, to_hf
from archs.hf.folder import open_folder

NAMES = [f"{kind} {core}" for kind in FAMILIES for core in CORES]
TOKENS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}


def made(name: str) -> Family:
    """Lively enough that no two families write the same by chance."""
    kind, _, core = name.partition(" ")
    shape: dict[str, Any] = {
        "vocabulary": 50,
        "layers": 2,
        "width": 16,
        "heads": 2,
        "ffn": 32,
        "max_length": 64,
    }
    torch.manual_seed(NAMES.index(name))
    depth = {"decoder_layers": 2 if kind == "encoder_decoder" else None}
    return lively(build(kind, CoreConfig(**shape | depth | CORES[core]))).eval()


@pytest.mark.slow
def test_a_stranger_is_answered_to_the_last_bit_what_the_families_answer(tmp_path: Path) -> None:
    """One test for all: most of it is one process that loads transformers."""
    for name in NAMES:
        to_hf(made(name), tmp_path / name, model_type="pentarch", **TOKENS)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    words = [str(Path(__file__).with_name("opener.py")), *(str(tmp_path / name) for name in NAMES)]
    environment = {**os.environ, "HF_MODULES_CACHE": str(elsewhere), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-I", *words],
        cwd=elsewhere,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    for name in NAMES:
        here = answers(open_folder(tmp_path / name))
        there, saved_again = torch.load(tmp_path / name / "answers.pt", weights_only=True)
        assert here.keys() == there.keys() == saved_again.keys()
        for what, expected in here.items():
            assert torch.equal(there[what], expected), (name, what)
            assert torch.equal(saved_again[what], expected), (name, what)


@pytest.mark.parametrize("name", NAMES)
def test_the_folder_gives_the_same_family_back(name: str, tmp_path: Path) -> None:
    family = made(name)
    to_hf(family, tmp_path, model_type="pentarch", **TOKENS)
    back = from_hf(tmp_path)
    assert back.config == family.config
    assert all(torch.equal(*pair) for pair in zip(back.parameters(), family.parameters(), strict=True))


def imports(source: str) -> Iterator[tuple[int, str]]:
    """Relative level and module of every import, those inside functions and for types too."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((0, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.level, node.module or ""


def test_all_that_the_code_in_the_folder_imports_of_pentarch_is_in_the_folder(tmp_path: Path) -> None:
    to_hf(made(NAMES[0]), tmp_path, model_type="pentarch")
    files = {file.stem: file.read_text(encoding="utf-8") for file in tmp_path.glob("*.py")}
    assert {"modeling_pentarch", "transformer", "named"} <= files.keys()
    for name, source in files.items():
        for level, module in imports(source):
            if level:
                assert module in files, f"{name}.py imports .{module}"
            else:
                assert module.split(".")[0] in (
                    *sys.stdlib_module_names,
                    "torch",
                    "einops",
                    "transformers",
                ), name
    needed = {module for source in files.values() for level, module in imports(source) if level}
    assert files.keys() == needed | {"modeling_pentarch"}  # and nothing that it does not import


def test_opening_a_folder_runs_no_code_from_it(tmp_path: Path) -> None:
    name = NAMES[0]
    to_hf(made(name), tmp_path / "model", model_type="pentarch")
    for file in (tmp_path / "model").glob("*.py"):
        file.write_text(f"from pathlib import Path\nPath({str(tmp_path / 'ran')!r}).touch()\n")
    from_hf(tmp_path / "model")
    assert not (tmp_path / "ran").exists()


def test_the_folder_names_no_path_of_this_machine(tmp_path: Path) -> None:
    to_hf(made(NAMES[0]), tmp_path, model_type="pentarch")
    for file in tmp_path.glob("*.*"):
        if file.suffix in (".py", ".json"):
            assert not re.search(r"/(home|root|work|tmp)/", file.read_text(encoding="utf-8")), file.name
