"""The arguments that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="KEY=VALUE", help="A preset, as size=small, or a value, as size.layers=6."),
]
TaskOverrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="KEY=VALUE", help="A task, as task=cola, and how it is asked, as examples=1000."),
]
ImportOverrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="KEY=VALUE",
        help="What the model does not decide, as objective=prefix or evaluation=likelihood.",
    ),
]
Presets = Annotated[
    Path | None,
    typer.Option("--config-dir", help="A folder with your own presets, such as size/mine.yaml."),
]
Sweep = Annotated[
    str,
    typer.Argument(
        metavar="SWEEP",
        help="A sweep of configs/sweep, as five_families. Before claims=… it may be left out.",
    ),
]
Run = Annotated[
    Path, typer.Argument(metavar="RUN", help="The folder of a run.", exists=True, file_okay=False)
]

RunOrSweep = Annotated[
    Path,
    typer.Argument(metavar="RUN", help="The folder of a run or a sweep.", exists=True, file_okay=False),
]
