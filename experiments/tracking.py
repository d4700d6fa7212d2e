"""Where runs are followed: W&B, online only where a key is present, decided before anything starts."""

from __future__ import annotations

import netrc
import os
import secrets
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from experiments.folder import write_whole
from experiments.recipe import Recipe

X_AXES = ("tokens", "targets", "flops", "seconds")


class Tracker(Protocol):
    def log(self, values: dict[str, Any]) -> None: ...
    def summary(self, values: dict[str, Any]) -> None: ...
    def finish(self) -> None: ...


class NoTracker:
    """tracking=none."""

    def log(self, values: dict[str, Any]) -> None: ...
    def summary(self, values: dict[str, Any]) -> None: ...
    def finish(self) -> None: ...


class WandbTracker:
    """One W&B run: group = sweep, job type = arm, tokens, targets, FLOPs and seconds as x-axes."""

    def __init__(self, recipe: Recipe, folder: Path, group: str) -> None:
        import wandb

        (folder / "wandb").mkdir(parents=True, exist_ok=True)
        self._wandb = wandb
        self._run = wandb.init(
            id=_run_id(folder),
            resume="allow",  # training, a resumed training and evaluation are one W&B run
            project=recipe.tracking.project,
            group=group,
            job_type=recipe.label,
            name=f"{recipe.label}-seed{recipe.seed}",
            tags=[recipe.family.name, recipe.objective.name, f"seed{recipe.seed}"],
            config=recipe.model_dump(mode="json", exclude={"user_path"}),  # a folder of this machine
            dir=str(folder),
            mode=wandb_mode(),
            settings=wandb.Settings(silent=True, console="off"),
        )
        for axis in X_AXES:
            self._run.define_metric(axis, hidden=True)
        self._run.define_metric("*", step_metric="tokens")

    def log(self, values: dict[str, Any]) -> None:
        self._run.log({name: self._shown(value) for name, value in values.items()})

    def _shown(self, value: Any) -> Any:
        if isinstance(value, np.ndarray):  # who sees whom: black is seen
            return self._wandb.Image(np.kron(~value, np.ones((8, 8), dtype=bool)).astype(np.uint8) * 255)
        if isinstance(value, list):
            columns = list(value[0]) if value else []
            return self._wandb.Table(columns=columns, data=[[row[c] for c in columns] for row in value])
        return value

    def summary(self, values: dict[str, Any]) -> None:
        self._run.summary.update(values)

    def finish(self) -> None:
        self._run.finish()


def _run_id(folder: Path) -> str:
    """The folder's own id, made once."""
    path = folder / "wandb" / "run_id"
    if not path.exists():
        write_whole(path, secrets.token_hex(4).encode())
    return path.read_text()


def tracker(recipe: Recipe, folder: Path, group: str) -> Tracker:
    """The tracker that the recipe names."""
    return NoTracker() if recipe.tracking.name == "none" else WandbTracker(recipe, folder, group)


def wandb_mode() -> Literal["online", "offline"]:
    """Online if a key is present and WANDB_MODE does not say otherwise. The key itself is never read here."""
    asked = os.environ.get("WANDB_MODE")
    if asked in ("offline", "disabled", "dryrun"):
        return "offline"
    return "online" if os.environ.get("WANDB_API_KEY") or _key_in_netrc() else "offline"


def _key_in_netrc() -> bool:
    try:
        hosts = netrc.netrc().hosts
    except (OSError, netrc.NetrcParseError):
        return False
    return any("wandb" in host for host in hosts)
