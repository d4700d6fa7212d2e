"""Commands that show what can be chosen: published systems, and masks as pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from archs.errors import UserError
from experiments.commands.arguments import Presets

app = typer.Typer()


@app.command()
def systems(
    runs: Annotated[Path, typer.Option(help="The folder to look for trained runs in.")] = Path("runs"),
    as_markdown: Annotated[
        bool, typer.Option("--markdown", help="Print one Markdown table instead.")
    ] = False,
    config_dir: Presets = None,
) -> None:
    """List the published systems, how each is built, and what it leaves out of the original.

    Example: pentarch systems, then pentarch train system=roberta
    """
    from rich.console import Console

    from experiments.commands.systems import markdown, tables

    if as_markdown:
        typer.echo(markdown(config_dir))
        return
    for table in tables(runs, config_dir):
        Console().print(table)


@app.command()
def masks(
    out: Annotated[Path, typer.Option(help="The SVG file to write.", dir_okay=False)] = Path("masks.svg"),
    mask: Annotated[str | None, typer.Option(help="Draw your own mask instead, as mine.my_mask.")] = None,
    family: Annotated[
        str | None, typer.Option(help="The family to draw your mask in; decoder_ar if not given.")
    ] = None,
) -> None:
    """Draw which token sees which: in the five families, or under your own mask.

    Example: pentarch masks --out masks.svg
    """
    if mask is None and family is not None:
        raise UserError("--family goes with --mask; without them all five families are drawn")
    if mask is None:
        from experiments.report.figures.masks import draw_masks

        draw_masks(out)
        return
    from experiments.recipe.compose import compose_recipe
    from experiments.recipe.overrides import quoted

    recipe = compose_recipe([f"family={family or 'decoder_ar'}", f"family.mask={quoted(mask)}"])
    from experiments.report.figures.masks import draw_mask

    draw_mask(out, recipe)
