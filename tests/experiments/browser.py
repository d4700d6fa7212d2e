"""A page as Chromium lays it out: what a reader of a certain width would see of it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
FOUND = next((path for name in NAMES if (path := shutil.which(name))), None)
MISSING = "no Chromium to look at pages with; on Debian: apt-get install --no-install-recommends chromium"
QUIET = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--enable-logging=stderr",
]
# A window is never narrower than 500 px, so the page stands in a frame of the width asked for.
WRAPPER = """<!doctype html><meta charset="utf-8"><body><script>
const frame = document.createElement("iframe");
frame.style = "width: WIDTHpx; height: 844px; border: 0";
frame.srcdoc = PAGE;
frame.onload = () => {
  const page = frame.contentDocument;
  for (const folded of page.querySelectorAll("details")) folded.open = true;
  const root = page.documentElement;
  const figures = [...page.querySelectorAll("svg")].map(svg => {
    const box = svg.getBoundingClientRect();
    const letters = [...svg.querySelectorAll("text")].map(text => text.getBoundingClientRect().height);
    return {
      label: svg.getAttribute("aria-label"), width: box.width, height: box.height, right: box.right,
      marks: svg.querySelectorAll("path, use, rect, text").length, least: Math.min(...letters),
    };
  });
  const loose = [...page.querySelectorAll("table")].filter(table => !table.closest(".wide")).length;
  const answer = { wide: root.scrollWidth, inner: frame.contentWindow.innerWidth, figures, loose };
  document.body.textContent = "ANSWER" + JSON.stringify(answer) + "END";
};
document.body.append(frame);
</script></body>"""


def look(page: Path, width: int, place: Path) -> tuple[dict[str, Any], list[str]]:
    """Its measures with everything unfolded, and what Chromium's console said.

    wide: of the whole page, px; inner: of the window; loose: tables outside a box of their own; figures: for
    each <svg> its label, width, height, right end, number of marks, and height of its least letter (null
    without).
    """
    assert FOUND is not None
    text = json.dumps(page.read_text(encoding="utf-8")).replace("</", "<\\/")
    wrapper = place / f"{page.stem}-{width}.html"
    wrapper.write_text(WRAPPER.replace("WIDTH", str(width)).replace("PAGE", text), encoding="utf-8")
    told = [
        f"--user-data-dir={place / 'profile'}",
        "--virtual-time-budget=20000",
        "--dump-dom",
        wrapper.as_uri(),
    ]
    done = subprocess.run([FOUND, *QUIET, *told], capture_output=True, text=True, timeout=120, check=False)
    found = re.search(r"ANSWER(.*)END", unescape(done.stdout), re.DOTALL)
    assert found, done.stderr
    return json.loads(found[1]), [line for line in done.stderr.splitlines() if "CONSOLE" in line]
