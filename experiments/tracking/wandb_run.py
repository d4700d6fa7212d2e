"""A run on W&B: written to the run's folder, and uploaded from there by another process.

The training process never uses the network, so the network cannot delay it.
"""

from __future__ import annotations

import netrc
import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import numpy as np

from experiments.recipe.presets import configs_dir, preset
from experiments.recipe.recipe import Recipe
from experiments.runs.folder import RunFolder
from experiments.storage.whole import write_whole
from experiments.tracking.tracker import X_AXES, picture
from experiments.tracking.upload import Upload

# W&B refuses longer ones, but only when they are uploaded.
LONGEST_TAG, LONGEST_NAME = 64, 128


class WandbRun:
    """One W&B run: its group is the sweep, its job type the arm; tokens, targets, FLOPs, seconds are x-axes.

    Training, each resumed training and evaluation are fragments of it, in folders of their own in `wandb/`.
    """

    def __init__(self, recipe: Recipe, folder: Path, group: str) -> None:
        import wandb

        # W&B's service would report its own errors to W&B, even offline. A server that did not answer then
        # delayed the end of a run by 10 seconds.
        os.environ["WANDB_ERROR_REPORTING"] = "false"
        (folder / "wandb").mkdir(parents=True, exist_ok=True)
        self._wandb = wandb
        self._name = f"{group}-{recipe.label}-seed{recipe.seed}"
        config = recipe.model_dump(mode="json", exclude={"user_path"})  # it names a folder of this machine
        self._run = wandb.init(
            id=_run_id(folder),
            resume="allow",
            entity=recipe.tracking.entity,
            project=recipe.tracking.project,
            group=group,
            job_type=recipe.label,
            name=f"{recipe.label}-seed{recipe.seed}",
            tags=tags(recipe),
            config=config,
            # Absolute: the service that writes there may have been started in another folder.
            dir=str(folder.absolute()),
            mode="offline",
            reinit="create_new",  # so that an earlier run of this process has no effect
            # W&B's metadata hold paths of this machine; environment.json records what a result depends on.
            settings=wandb.Settings(silent=True, console="off", x_disable_meta=True),
        )
        for axis in X_AXES:
            self._run.define_metric(axis, hidden=True)
        self._run.define_metric("*", step_metric="tokens")
        self._run.define_metric("validation_loss", step_metric="tokens", summary="min,last")
        self._upload = Upload(Path(self._run.settings.sync_dir)) if wandb_mode() == "online" else None

    def log(self, step: int, values: dict[str, Any]) -> None:
        # Committed at once, so that a killed run keeps its last row.
        self._run.log(
            {name: self._shown(value) for name, value in values.items()},
            step=step,
            commit=True,
        )
        if self._upload is not None:
            self._upload.warn_if_ended()

    def _shown(self, value: Any) -> Any:
        if isinstance(value, np.ndarray):
            return self._wandb.Image(picture(value))
        if isinstance(value, list):
            columns = list(value[0]) if value else []
            return self._wandb.Table(columns=columns, data=[[row[c] for c in columns] for row in value])
        return value

    def summary(self, values: dict[str, Any]) -> None:
        self._run.summary.update(values)

    def model(self, folder: Path) -> None:
        """Logs an artifact of weights, tokenizer and recipe, if it can be uploaded."""
        if self._upload is None:
            return
        run = RunFolder(folder)
        artifact = self._wandb.Artifact(self._name[:LONGEST_NAME], type="model")
        for path in (run.weights, run.tokenizer):
            # Uploaded from where it is. Otherwise W&B would copy all weights to its own cache.
            artifact.add_file(str(path), skip_cache=True, policy="immutable")
        with artifact.new_file("recipe.yaml", encoding="utf-8") as file:
            file.write(_without_user_path(run))
        self._run.log_artifact(artifact)

    def finish(self) -> None:
        self._run.finish()
        if self._upload is not None:
            self._upload.finish()


def _without_user_path(run: RunFolder) -> str:
    """Returns the recipe without the folder of the user's code, which is on this machine."""
    return Recipe.from_yaml(run.recipe).model_copy(update={"user_path": None}).as_yaml()


def tags(recipe: Recipe) -> list[str]:
    """Returns tags to filter runs by: family, objective, size if it is a preset, seed, match and stop."""
    size = next((name for name in _sizes() if _has(recipe, preset("size", name))), None)
    words = [
        recipe.family.name.rpartition(".")[2],
        recipe.objective.name.rpartition(".")[2],
        size or "",
        f"seed{recipe.seed}",
        f"match={recipe.budget.match}",
        f"stop={recipe.budget.stop}",
    ]
    return [tag[:LONGEST_TAG] for tag in dict.fromkeys(words) if tag]


def _sizes() -> list[str]:
    return sorted(path.stem for path in (configs_dir() / "size").glob("*.yaml"))


def _has(recipe: Recipe, size: dict[str, Any]) -> bool:
    return all(getattr(recipe.size, key) == value for key, value in size.items())


def _run_id(folder: Path) -> str:
    """Returns the id of the folder's W&B run: made once, or given by a W&B agent."""
    path = folder / "wandb" / "run_id"
    given = os.environ.get("WANDB_RUN_ID") if os.environ.get("WANDB_SWEEP_ID") else None
    if given and not (path.exists() and path.read_text() == given):
        write_whole(path, given.encode())
    elif not path.exists():
        write_whole(path, secrets.token_hex(4).encode())
    return path.read_text()


def forget_service() -> None:
    """Makes the next run of this process start W&B's service anew. W&B's client would keep a dead one."""
    import wandb

    with suppress(Exception):  # it ends the service, which has died
        wandb.teardown()


def wandb_mode() -> Literal["online", "offline"]:
    """Returns "online" if a key is present, unless WANDB_MODE forbids it. The key itself is not read here."""
    if os.environ.get("WANDB_MODE") in ("offline", "disabled", "dryrun"):
        return "offline"
    return "online" if os.environ.get("WANDB_API_KEY") or _key_in_netrc() else "offline"


def _key_in_netrc() -> bool:
    try:
        hosts = netrc.netrc(os.environ.get("NETRC")).hosts
    except (OSError, netrc.NetrcParseError):
        return False
    own = urlsplit(os.environ.get("WANDB_BASE_URL", "")).hostname
    return any("wandb" in host or host == own for host in hosts)
