"""Prints the test folders of the rooms that differ from the main branch: what `make check` runs.

A change to archs/core/x.py means tests/archs/core; to experiments/data/y.py tests/experiments/data; to
objectives/ tests/objectives; a changed test means its own file.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
MAIN = ("origin/main", "main")


def git(*words: str) -> list[str]:
    done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True)
    return done.stdout.splitlines() if done.returncode == 0 else []


def changed() -> list[Path]:
    """Files that differ from where this branch left the main one, committed or not."""
    base = next((found[0] for name in MAIN if (found := git("merge-base", "HEAD", name))), "HEAD")
    return [
        Path(name)
        for name in (*git("diff", "--name-only", base), *git("ls-files", "-o", "--exclude-standard"))
    ]


def folder_of(file: Path) -> Path | None:
    """The test file or folder of a changed file; None for one that has none of its own."""
    if file.parts[0] == "tests":
        return file if file.name.startswith("test_") and (ROOT / file).exists() else None
    folder = Path("tests", *file.parent.parts)
    while folder != Path("tests"):
        if (ROOT / folder).is_dir():
            return folder if file.suffix == ".py" else None
        folder = folder.parent
    return None


def main() -> None:
    folders = {found for file in changed() if (found := folder_of(file)) is not None}
    # A folder holds the files below it.
    print(*sorted(str(each) for each in folders if not any(up in folders for up in each.parents)))


if __name__ == "__main__":
    sys.exit(main())
