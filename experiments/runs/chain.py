"""The chain of runs that a run's weights come from: the run in its `init_from`, that run's own, and so on.

Each run of a chain is a stage. A stage begins with the weights and the tokenizer of the stage before. It has
its own objective, data, budget, optimiser and order of the text, and its own weights of those modules that
the objective trains beside the family.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import safetensors.torch

from archs.config import DROPOUTS, CoreConfig
from archs.errors import UserError
from archs.families.family import Family
from experiments.data.seeds import mixed
from experiments.data.tokenizer import tokenizer
from experiments.recipe.build import family_class
from experiments.recipe.recipe import Recipe
from experiments.runs.folder import RunFolder
from experiments.storage.json_files import read_json, write_json

FILE = "init_from.json"
FOLDERS_OWN = "tokenizer_config.json"  # where a Hugging Face tokenizer keeps the roles of its special tokens
FREE = DROPOUTS  # fields of the family's shape that may differ between stages
FREE_BUT_LEARNED = "max_length"  # may differ too, unless positions are learned


@dataclass(frozen=True)
class Stage:
    """One run of a chain.

    weights: SHA-256 of its model.safetensors. spent: as in its audit; None for imported weights, whose cost
    is unknown.
    """

    stage: str
    run: str
    objective: str
    weights: str | None
    spent: dict[str, float] | None


@dataclass(frozen=True)
class Chain:
    """The stages in order of training."""

    stages: list[Stage] = field(default_factory=list)

    @property
    def total(self) -> dict[str, float] | None:
        """What all stages have spent together; None if it is unknown for one of them."""
        known = [stage.spent for stage in self.stages if stage.spent is not None]
        if len(known) < len(self.stages):
            return None
        return {name: sum(spent[name] for spent in known) for name in known[0]} if known else {}

    def and_then(self, stage: Stage) -> Chain:
        """Returns the chain with a further stage at its end."""
        return Chain([*self.stages, stage])

    def as_json(self) -> dict[str, Any]:
        return {"stages": [asdict(stage) for stage in self.stages], "total": self.total}

    @classmethod
    def of(cls, content: dict[str, Any]) -> Chain:
        """Reads the `chain` of an audit."""
        return cls([Stage(**stage) for stage in content["stages"]])


@dataclass(frozen=True)
class Parent:
    """The trained run that another run begins from.

    weights: SHA-256 of its model.safetensors. tokenizer: the file or folder of its tokenizer. chain: the
    stages up to and including this run.
    """

    run: RunFolder
    recipe: Recipe
    config: CoreConfig
    weights: str
    tokenizer: str
    chain: Chain

    def check_shape(self, recipe: Recipe, config: CoreConfig) -> None:
        """Raises UserError unless its weights fit the recipe's family in this shape."""
        theirs, ours = family_class(self.recipe), family_class(recipe)
        if theirs is not ours:
            raise UserError(
                f"init_from '{self.run.path}' holds family {self.recipe.family.name}, and the recipe's is "
                f"{recipe.family.name}; set family={self.recipe.family.name}"
            )
        free = FREE if config.positions == "learned" else (*FREE, FREE_BUT_LEARNED)
        of_parent, own = asdict(self.config), asdict(config)
        differences = [
            f"{name} ({of_parent[name]} there, {own[name]} here)"
            for name in of_parent
            if name not in free and of_parent[name] != own[name]
        ]
        if differences:
            raise UserError(
                f"init_from '{self.run.path}' holds a family of another shape: it differs in "
                f"{', '.join(differences)}; give size.* and budget.match of that run"
            )

    def load_into(self, family: Family) -> None:
        """Loads its weights into a family of the same shape. Raises UserError if they are damaged."""
        try:
            safetensors.torch.load_model(family, str(self.run.weights))
        except (safetensors.SafetensorError, OSError, RuntimeError) as error:
            raise UserError(
                f"init_from: the weights '{self.run.weights}' are damaged, or of another version of "
                "pentarch; train that run again"
            ) from error

    def record(self) -> dict[str, Any]:
        """Returns the content of init_from.json, which the audit repeats."""
        return {
            "run": str(self.run.path),
            "weights": self.weights,
            "spent": self.chain.total,
        }


def parent_of(recipe: Recipe) -> Parent | None:
    """Returns the run in the recipe's `init_from`, None without one. Raises UserError if it is untrained."""
    if recipe.init_from is None:
        return None
    run = RunFolder(Path(recipe.init_from))
    weights = sha256(run)
    written = read_json(run.audit)
    if weights is None or written is None or not (run.is_("trained") or run.is_("done")):
        raise UserError(
            f"init_from '{run.path}' holds no trained run{_state_of(run)}; train it first, put it back if it "
            "was moved, or give its new place by init_from=…"
        )
    theirs = Recipe.from_yaml(run.recipe)
    return Parent(
        run,
        theirs,
        CoreConfig(**written["plan"]["config"]),
        weights,
        _tokenizer(recipe, run, theirs),
        chain_of(run, theirs, written),
    )


def chain_of(run: RunFolder, recipe: Recipe, audit: dict[str, Any]) -> Chain:
    """Returns the stages of a trained run. A run of an older version, without a chain, is one stage."""
    if "chain" in audit:
        return Chain.of(audit["chain"])
    return Chain([stage_of(run, recipe, None if "imported" in audit else audit["spent"])])


def stage_of(run: RunFolder, recipe: Recipe, spent: dict[str, float] | None) -> Stage:
    """Returns the stage that this run is."""
    return Stage(recipe.label, str(run.path.absolute()), recipe.objective.name, sha256(run), spent)


def began(run: RunFolder) -> dict[str, Any] | None:
    """Returns init_from.json, the record of the parent; None if the run began with fresh weights."""
    return read_json(run.path / FILE)


def tokenizer_of(run: RunFolder) -> str | None:
    """Returns the tokenizer in a later stage's own folder; None for a first stage, whose recipe decides.

    A stage keeps a copy, so that it can be evaluated without the run that it began from.
    """
    if began(run) is None:
        return None
    return str(run.path if (run.path / FOLDERS_OWN).exists() else run.tokenizer)


def note_began(run: RunFolder, parent: Parent | None) -> None:
    """Writes init_from.json when training begins, and copies the parent's tokenizer if it is a folder."""
    for name in (FILE, FOLDERS_OWN):
        (run.path / name).unlink(missing_ok=True)
    if parent is None:
        return
    write_json(run.path / FILE, parent.record())
    if Path(parent.tokenizer).is_dir():
        from transformers import AutoTokenizer

        AutoTokenizer.from_pretrained(parent.tokenizer, local_files_only=True).save_pretrained(run.path)


def check_began(run: RunFolder, recipe: Recipe) -> None:
    """Raises UserError if the training in this folder began with other weights than `init_from` has now."""
    record = began(run)
    if not run.kept or record is None or recipe.init_from is None:
        return
    weights = sha256(RunFolder(Path(recipe.init_from)))
    if weights is not None and weights != record["weights"]:
        raise UserError(
            f"run folder '{run.path}' began from other weights than init_from '{recipe.init_from}' has now "
            f"(SHA-256 {record['weights'][:12]}… then, {weights[:12]}… now): that run was trained again; "
            "delete this folder to train from the new ones, or set name=…"
        )


def sha256(run: RunFolder) -> str | None:
    """Returns the SHA-256 of a run's weights, None if there are none."""
    try:
        with run.weights.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None


def _state_of(run: RunFolder) -> str:
    return f" (state: {run.status['state']})" if run.path.is_dir() else ": there is no such folder"


def _tokenizer(recipe: Recipe, run: RunFolder, theirs: Recipe) -> str:
    """Returns the parent's tokenizer. A Hugging Face folder is kept, for it knows roles that one file lacks.

    Raises UserError if the recipe names another.
    """
    place = tokenizer_of(run) or theirs.data.tokenizer
    if place is None or Path(place).is_file():
        place = str(run.tokenizer)
    own = recipe.data.tokenizer
    if own is not None and tokenizer.load(own).digest != tokenizer.load(place).digest:
        raise UserError(
            f"data.tokenizer '{own}' is another than that of init_from '{run.path}', whose embeddings are "
            "of its own pieces; leave data.tokenizer out"
        )
    return place


def order_of(seed: int, parent: Parent | None) -> int:
    """Returns the seed of the order in which a run reads its text; it differs for each stage.

    Otherwise a stage on its parent's text would begin with the text that the parent began with.
    """
    return seed if parent is None else mixed(seed, len(parent.chain.stages))
