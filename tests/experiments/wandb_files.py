"""What an offline W&B run holds, read back with W&B's own reader."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

READ = [str(Path(sys.executable).with_name("wandb")), "leet", "inspect", "--json"]


def fragments(folder: Path) -> list[Path]:
    """Those of a run, first to last."""
    return sorted((folder / "wandb").glob("offline-run-*"))


def _read(*words: str) -> str:
    """What W&B's reader prints."""
    done = subprocess.run([*READ, *words], capture_output=True, check=False, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def records(fragment: Path, kind: str) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in _read(str(fragment)).splitlines()]
    return [record[kind] for record in found if record["type"] == kind]


def history(fragment: Path) -> list[dict[str, Any]]:
    """Every row that was logged, without what W&B adds."""
    rows = [record["item"] for record in records(fragment, "history")]
    return [{name: value for name, value in row.items() if not name.startswith("_")} for row in rows]


def overview(fragment: Path) -> dict[str, Any]:
    """Its name, tags, configuration and summary."""
    said = _read("--summary", str(fragment))
    return json.loads(said)


def table(fragment: Path, name: str) -> list[dict[str, str]]:
    """A logged table, a dict a row."""
    (file,) = fragment.rglob(f"{name}_*.table.json")
    content = json.loads(file.read_text())
    return [dict(zip(content["columns"], row, strict=True)) for row in content["data"]]


def artifact(fragment: Path, name: str) -> dict[str, Path]:
    """The files of an artifact by name, and where each lies."""
    (found,) = (record for record in records(fragment, "artifact") if record["name"] == name)
    return {each["path"]: Path(each["local_path"]) for each in found["manifest"]["contents"]}
