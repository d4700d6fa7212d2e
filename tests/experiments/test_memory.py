"""Freed memory is kept."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

MEASURED = """
import resource, sys, torch
from experiments.memory import keep_freed_memory
if sys.argv[1] == "keep":
    keep_freed_memory()
def step():
    blocks = [torch.ones(2**22) for _ in range(4)]  # 16 MiB each
for _ in range(3):
    step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    step()
print((resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / 5)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="speaks of glibc's malloc")
def test_a_step_asks_for_no_page_that_the_one_before_it_freed() -> None:
    def pages(what: str) -> float:
        ended = subprocess.run(
            [sys.executable, "-c", MEASURED, what], capture_output=True, text=True, check=True
        )
        return float(ended.stdout)

    assert pages("keep") < 100
    assert pages("leave") > 1000, "malloc keeps it by itself here: nothing is gained any more"
