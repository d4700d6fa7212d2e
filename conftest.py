"""The examples in the docstrings of objectives/ are tests (--doctest-modules, see pyproject.toml)."""

from __future__ import annotations

from typing import Any

import pytest

# Plugins, of which several have one name; pytest would import them once more as modules with docstrings.
collect_ignore_glob = ["tests/conftest.py", "tests/*/conftest.py"]


@pytest.fixture(autouse=True, scope="session")
def _names_of_examples(doctest_namespace: dict[str, Any]) -> None:
    from objectives import examples  # here, since tests/conftest.py sets what torch reads when it is imported

    doctest_namespace.update({name: getattr(examples, name) for name in examples.__all__})
