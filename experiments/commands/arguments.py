"""Arguments that several commands take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Overrides = Annotated[
    list[str] | None, typer.Argument(metavar="KEY=VALUE", help="A preset or a value, as size=small.")
]
Presets = Annotated[
    Path | None,
    typer.Option("--config-dir", help="A folder of presets of your own: size/mine.yaml and so on."),
]
Sweep = Annotated[
    str,
    typer.Argument(
        metavar="SWEEP", help="A sweep of configs/sweep, as five_families; left out before claims=…: claims."
    ),
]
Run = Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder.", exists=True, file_okay=False)]

RunOrSweep = Annotated[
    Path,
    typer.Argument(metavar="RUN", help="A run's folder, or a sweep's.", exists=True, file_okay=False),
]
