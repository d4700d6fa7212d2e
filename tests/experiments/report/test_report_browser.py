"""The pages in a browser: nothing on the console, every figure drawn, readable on a phone."""

from __future__ import annotations

from pathlib import Path

import browser
import claims_folder
import pytest
import sweep_folder

from experiments.report import compare, write

pytestmark = pytest.mark.skipif(browser.FOUND is None, reason=browser.MISSING)
PHONE, DESK = 390, 1280
LEAST_LETTER = 7.5  # px


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("runs")
    claims = claims_folder.write_claims(place / "claims", ["C11", "C12"], ["more_compute"], items=40)
    plain = sweep_folder.write_sweep(place / "plain", list(sweep_folder.OBJECTIVES))
    return {"claims": write(claims), "plain": write(plain), "two": compare(claims, plain)}


@pytest.mark.slow
@pytest.mark.parametrize("width", [PHONE, DESK])
@pytest.mark.parametrize("name", ["claims", "plain", "two"])
def test_a_page_is_drawn_whole_and_fits_its_window(
    pages: dict[str, Path], name: str, width: int, tmp_path: Path
) -> None:
    seen, console = browser.look(pages[name], width, tmp_path)
    assert console == []
    assert seen["inner"] == width
    assert seen["wide"] <= seen["inner"], "the page itself does not scroll sideways"
    assert seen["loose"] == 0, "every table scrolls inside a box of its own"
    for figure in seen["figures"]:
        assert figure["width"] > 5, figure["label"]
        assert figure["height"] > 5, figure["label"]
        assert figure["marks"] > 0, figure["label"]
        assert figure["least"] is None or figure["least"] >= LEAST_LETTER, figure["label"]
    named = [figure["label"] for figure in seen["figures"]]
    if name == "claims":
        for start in ("C11: paired", "C12: paired", "Tuning of sop", "Mean difference of every item"):
            assert any(label.startswith(start) for label in named), start
    assert all(named), "every figure is named for those who do not see it"
