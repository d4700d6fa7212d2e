"""Published systems as recipes: a system is a list of overrides, and what it leaves out of the original."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from archs.errors import UserError, unknown
from experiments.folder import RunFolder
from experiments.overrides import key_of
from experiments.presets import configs_dir, read_yaml
from experiments.validate import Config, flatten, validated

if TYPE_CHECKING:
    from rich.table import Table

    from experiments.recipe import Recipe

KEY = "system"


class System(Config):
    """One file of `configs/system/`: words for the table, and the overrides that make the recipe."""

    paper: str
    selection: str
    replacement: str
    sentence_task: str
    structure: str
    leaves_out: str
    overrides: Annotated[list[str], Field(min_length=1)]


def systems(config_dir: Path | None = None) -> dict[str, System]:
    """Every system by name, the shipped ones and those of `config_dir`. Raises UserError for a file amiss."""
    if config_dir is not None and not config_dir.is_dir():
        raise UserError(f"no folder '{config_dir}' to read presets from")
    folders = [configs_dir(), *([] if config_dir is None else [config_dir])]
    files = {file.stem: file for folder in folders for file in sorted((folder / KEY).glob("*.yaml"))}
    found = {name: validated(System, read_yaml(file), f"{file}: ") for name, file in files.items()}
    for name, system in found.items():
        if any(key_of(one) == KEY for one in system.overrides):
            raise UserError(
                f"{files[name]}: a system cannot name another in its overrides; list them instead"
            )
    return found


def expanded(overrides: list[str], config_dir: Path | None = None) -> list[str]:
    """The overrides with `system=NAME` written out, in front of all others, which may change it."""
    named = [one.partition("=")[2] for one in overrides if key_of(one) == KEY]
    rest = [one for one in overrides if key_of(one) != KEY]
    if not named:
        return rest
    known = systems(config_dir)
    if named[-1] not in known:
        raise unknown(KEY, named[-1], known)
    return [f"name={named[-1]}", *known[named[-1]].overrides, *rest]


def tables(runs: Path, config_dir: Path | None = None) -> tuple[Table, Table]:
    """What each system is made of and whether it is trained in `runs`; and its paper and what is left out."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    from experiments.compose import compose_recipe

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
    """All systems as one Markdown table, for the docs."""
    from experiments.compose import compose_recipe

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
    """Whether the run has the recipe's family and objective: its name alone may be given to anything."""
    if not run.recipe.is_file():
        return False
    trained = flatten({group: read_yaml(run.recipe).get(group) for group in ("family", "objective")})
    made = flatten(recipe.model_dump(mode="json", include={"family", "objective"}))
    # A recipe from before there was an option does not name it.
    return all(trained.get(key) == made.get(key) for key in trained | made)


def _trained(runs: Path, name: str, recipe: Recipe) -> str:
    """How many runs of this system are trained, in a sweep or by themselves, at any size or budget."""
    folders = [RunFolder(folder) for folder in sorted(runs.glob(f"*/{name}/seed*"))]
    states = [run.status["state"] for run in folders if _is_of(run, recipe)]
    done = sum(state in ("trained", "done") for state in states)
    return f"yes ({done})" if done else states[0] if states else "no"
