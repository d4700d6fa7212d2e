"""What the site's generator does not check: orphan pages, missing references, links out of the site.

`make lint` runs this file after the strict build, which checks links and anchors between pages. It imports
nothing slow.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from markdown.extensions.toc import slugify

ROOT = Path(__file__).parents[1]
DOCS, SITE = ROOT / "docs", ROOT / "site"
PAGES = sorted(path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md"))
CONFIG: dict[str, Any] = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
LINK = re.compile(r"\]\(([^)\s]+)\)")
ORDER = ["Start", "Concepts", "Compare", "Extend", "Evaluate", "Scale", "Reference", "Decisions"]


def files(nav: Any) -> Iterator[str]:
    """The pages of a navigation, in its order."""
    if isinstance(nav, str):
        yield nav
    elif isinstance(nav, dict):
        for below in nav.values():
            yield from files(below)
    else:
        for below in nav:
            yield from files(below)


def prose(path: Path) -> str:
    """A page without its code, in which brackets are no links."""
    text = re.sub(r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"`[^`]*`", "", text)


def anchors(path: Path) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {slugify(re.sub(r"[`*]", "", title), "-") for title in titles}


def test_every_page_is_in_the_navigation_once():
    assert sorted(files(CONFIG["nav"])) == PAGES


def test_the_navigation_has_the_order_that_a_user_needs():
    assert [title for group in CONFIG["nav"] for title in group] == ORDER


def test_every_package_has_a_page_in_the_reference():
    packages = [path.parent for top in ("archs", "experiments") for path in (ROOT / top).glob("*/*.py")]
    names = {".".join(path.relative_to(ROOT).parts) for path in packages}
    names = {name for name in names if name.rpartition(".")[2].isidentifier() and "__" not in name}
    shown = {Path(page).stem for page in PAGES if page.startswith("reference/")}
    assert shown - {"index"} == {"archs", "objectives", *names}


@pytest.mark.parametrize("page", PAGES)
def test_links_between_pages_stay_in_the_site(page: str):
    path = DOCS / page
    for link in LINK.findall(prose(path)):
        if not link.startswith("https://"):
            target = (path.parent / link.partition("#")[0]).resolve() if not link.startswith("#") else path
            assert target.is_relative_to(DOCS), f"{page}: {link} leads out of docs/, where the site ends"
            assert target.exists(), f"{page}: {link}"


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_links_into_the_docs_name_headings_that_are_there(name: str):
    for link in LINK.findall(prose(ROOT / name)):
        path, _, anchor = link.partition("#")
        if anchor and not path.startswith("https://"):
            assert anchor in anchors(ROOT / path), f"{name}: {link}"


@pytest.mark.skipif(not SITE.exists(), reason="the site is not built; make docs builds it")
def test_a_built_page_loads_nothing_from_a_network():
    loads = re.compile(
        r"""<(?:script|img|iframe|source)\b[^>]*\bsrc=["']?(?:https?:)?//|<link\b[^>]*\bhref=["']?(?:https?:)?//"""
    )
    for page in (SITE / "index.html", SITE / "concepts.html", SITE / "reference" / "archs.core.html"):
        found = loads.search(page.read_text(encoding="utf-8"))
        assert found is None, f"{page.name}: {found and found[0]}"
