"""Which library multiplies float32 matrices on a CPU.

PyTorch asks MKL, which leaves half the speed of an AMD processor unused: it takes AVX-512 for Intel's alone.
oneDNN, in the same PyTorch, takes it for both. Measured in docs/performance.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from threading import Lock
from typing import Any

import torch

FLOAT32 = 1e-5  # of the largest sum: bfloat16 would be off by a thousandth
SIZES = (64, 512)  # of the products that are tried: a small one and one that every kernel takes

_chosen = False  # read while models are traced, where PyTorch's own switch cannot be
_inside = 0  # how many ask for it now, in whatever threads
_lock = Lock()
_switches = ExitStack()


@contextmanager
def by_onednn(device: torch.device) -> Iterator[bool]:
    """Within, float32 products on a CPU are oneDNN's, if those are float32 here; gives whether they are.

    For work on that device: nothing is switched for another, whose libraries ask PyTorch for the precision
    and cannot read this one. The switch is named for what a processor with matrix units for bfloat16 (AMX)
    would make of it: there, and wherever a trial shows less than float32, nothing is switched either. It is
    for work on many rows: of one row MKL's product takes a fifth of the time.
    """
    if device.type != "cpu" or not onednn_is_exact():
        yield False
        return
    _enter()
    try:
        yield True
    finally:
        _leave()


def chosen() -> bool:
    """Whether float32 products on a CPU are oneDNN's now."""
    return _chosen


def _enter() -> None:
    global _chosen, _inside
    with _lock:
        _inside += 1
        if _inside == 1:
            _switches.enter_context(_switched())
            _chosen = True


def _leave() -> None:
    global _chosen, _inside
    with _lock:
        _inside -= 1
        if _inside == 0:
            _switches.close()
            _chosen = False


@cache
def onednn_is_exact() -> bool:
    """Whether oneDNN is in this PyTorch and its products have float32's error, by trial against float64."""
    if not torch.backends.mkldnn.is_available():
        return False
    with _switched():
        return all(_error(size) < FLOAT32 for size in SIZES)


@contextmanager
def _switched() -> Iterator[None]:
    switch: Any = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]  # made at run time
    before = switch.fp32_precision
    switch.fp32_precision = "bf16"
    try:
        yield
    finally:
        switch.fp32_precision = before


def _error(size: int) -> float:
    """Of the product of two square matrices, relative to the largest sum."""
    one, two = torch.randn(2, size, size, generator=torch.Generator().manual_seed(0))
    exact = one.double() @ two.double()
    return float((one @ two - exact).abs().max() / exact.abs().max())
