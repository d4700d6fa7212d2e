"""The tables of `pentarch systems`: how each published system is built."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from experiments.recipe.config import flatten
from experiments.recipe.presets import read_yaml
from experiments.recipe.systems import KEY, systems
from experiments.runs.folder import RunFolder

if TYPE_CHECKING:
    from rich.table import Table

    from experiments.recipe.recipe import Recipe


def tables(runs: Path, config_dir: Path | None = None) -> tuple[Table, Table]:
    """Returns two tables: how each system is built and whether it is trained; its paper and omissions."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    from experiments.recipe.compose import compose_recipe

    parts, papers = Table(box=SIMPLE_HEAD, pad_edge=False), Table(box=SIMPLE_HEAD, pad_edge=False)
    for heading in ("system\nfamily", "selection", "replacement", "sentence task", "structure", "trained"):
        parts.add_column(heading, overflow="fold")
    for heading in ("system", "paper", "leaves out of the original"):
        papers.add_column(heading, overflow="fold")
    for name, system in systems(config_dir).items():
        recipe = compose_recipe([f"{KEY}={name}"], config_dir)
        words = (system.selection, system.replacement, system.sentence_task, system.structure)
        parts.add_row(f"{name}\n[dim]{recipe.family.name}[/dim]", *words, _trained(runs, name, recipe))
        papers.add_row(name, system.paper, system.leaves_out)
    return parts, papers


def markdown(config_dir: Path | None = None) -> str:
    """Returns all systems as one Markdown table, for the docs."""
    from experiments.recipe.compose import compose_recipe

    headings = (
        "system",
        "family",
        "selection",
        "replacement",
        "sentence task",
        "structure",
        "paper",
        "leaves out",
    )
    lines = [headings, ("---",) * len(headings)]
    for name, system in systems(config_dir).items():
        family = compose_recipe([f"{KEY}={name}"], config_dir).family.name
        words = (system.selection, system.replacement, system.sentence_task, system.structure)
        lines.append((f"`{name}`", f"`{family}`", *words, system.paper, system.leaves_out))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _is_of(run: RunFolder, recipe: Recipe) -> bool:
    """Whether the run has the recipe's family and objective. Its name alone proves nothing."""
    if not run.recipe.is_file():
        return False
    trained = flatten({group: read_yaml(run.recipe).get(group) for group in ("family", "objective")})
    made = flatten(recipe.model_dump(mode="json", include={"family", "objective"}))
    # An older recipe lacks the options that were added later.
    return all(trained.get(key) == made.get(key) for key in trained | made)


def _trained(runs: Path, name: str, recipe: Recipe) -> str:
    """Returns "yes (2)" if two runs of the system are trained, of any size; else a state or "no"."""
    folders = [RunFolder(folder) for folder in sorted(runs.glob(f"*/{name}/seed*"))]
    states = [run.status["state"] for run in folders if _is_of(run, recipe)]
    done = sum(state in ("trained", "done") for state in states)
    return f"yes ({done})" if done else states[0] if states else "no"
