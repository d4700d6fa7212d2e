"""Every case by a name, and transformers without its bars."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from archs.hf.folder import quiet


@pytest.fixture(scope="package", autouse=True)
def _quiet() -> Iterator[None]:
    with quiet():
        yield
