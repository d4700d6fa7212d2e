"""Which library multiplies float32 matrices on a CPU.

PyTorch uses MKL, which uses AVX-512 on Intel processors only and reaches half the speed of an AMD processor.
oneDNN is in the same PyTorch and uses AVX-512 on both. docs/performance.md has the measurements.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from threading import Lock
from typing import Any

import torch

FLOAT32 = 1e-5  # largest error of float32, relative to the largest sum; bfloat16's is a thousandth
SIZES = (64, 512)  # matrix sizes of the trial: a small one, and one that uses every kernel

_chosen = False  # can be read while a model is traced, where PyTorch's own switch cannot
_inside = 0  # how many `by_onednn` are open now, in all threads
_lock = Lock()
_switches = ExitStack()


@contextmanager
def by_onednn(device: torch.device) -> Iterator[bool]:
    """A context in which oneDNN multiplies float32 matrices on a CPU, if it does so exactly. Yields whether.

    device: where the work is done. For any other than the CPU nothing is switched, since other libraries ask
    PyTorch for the precision and cannot read this setting. PyTorch names the setting "bf16": on a processor
    with bfloat16 matrix units (AMX) it would reduce precision. There, and wherever a trial shows an error
    above float32's, nothing is switched either. Use it for many rows: for a single row MKL takes a fifth of
    the time.
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
    """Whether oneDNN multiplies float32 matrices on a CPU now."""
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
    """Whether this PyTorch has oneDNN, and a trial against float64 shows its products exact to float32."""
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
    """The largest error of a product of two square matrices, relative to the largest sum."""
    one, two = torch.randn(2, size, size, generator=torch.Generator().manual_seed(0))
    exact = one.double() @ two.double()
    return float((one @ two - exact).abs().max() / exact.abs().max())
