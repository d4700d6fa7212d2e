"""Two processes at one sweep: every run once, none twice, and both wait for the last."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from experiments.folder import RunFolder
from experiments.sharing import share

WORKER = """
import sys, time
from pathlib import Path
from experiments.sharing import share
folder, who = Path(sys.argv[1]), sys.argv[2]
def work(run):
    def do():
        if not (run / "done").exists():
            time.sleep(0.2)
            with (run / "log").open("a") as log:
                log.write(who)
            (run / "done").touch()
    return do
share({folder / str(n): work(folder / str(n)) for n in range(6)})
print(sum((folder / str(n) / "done").exists() for n in range(6)))
"""


def test_two_processes_share_the_runs_and_end_together(tmp_path: Path) -> None:
    started = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, str(tmp_path), who], stdout=subprocess.PIPE, text=True
        )
        for who in "ab"
    ]
    assert [process.communicate()[0].strip() for process in started] == ["6", "6"]
    logs = "".join((tmp_path / str(number) / "log").read_text() for number in range(6))
    assert len(logs) == 6
    assert set(logs) == {"a", "b"}


def test_what_another_has_is_waited_for(tmp_path: Path, monkeypatch) -> None:
    waits: list[float] = []
    done: list[str] = []
    held = RunFolder(tmp_path / "held").taken()
    assert held.__enter__()
    monkeypatch.setattr(
        "experiments.sharing.time.sleep", lambda s: (waits.append(s), held.__exit__(None, None, None))
    )
    share({tmp_path / "free": lambda: done.append("free"), tmp_path / "held": lambda: done.append("held")})
    assert done == ["free", "held"]
    assert len(waits) == 1
