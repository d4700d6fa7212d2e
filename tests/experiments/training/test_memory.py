"""Freed memory is kept."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

MEASURED = """
import resource, statistics, sys, torch
from experiments.training.memory import keep_freed_memory
if sys.argv[1] == "keep":
    keep_freed_memory()
def step():
    blocks = [torch.ones(2**24) for _ in range(4)]  # 64 MiB each: malloc never keeps them by itself
for _ in range(3):
    step()
pages = []
for _ in range(9):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    step()
    pages.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
print(statistics.median(pages))  # a system short of memory may take some away between two steps
"""


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="speaks of glibc's malloc")
def test_a_step_asks_for_no_page_that_the_one_before_it_freed() -> None:
    def pages(what: str) -> float:
        ended = subprocess.run(
            [sys.executable, "-c", MEASURED, what], capture_output=True, text=True, check=True
        )
        return float(ended.stdout)

    assert pages("keep") < 100 < pages("leave"), "of the latter, 128 even where pages are of 2 MiB"
