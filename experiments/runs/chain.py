"""Where a run's weights come from: the run that its `init_from` names, and those before it.

A stage begins with the weights and the tokenizer of another run. Its objective, data, budget, optimiser and
order of the text are its own, as are the modules that its objective trains beside the family.
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
FOLDERS_OWN = "tokenizer_config.json"  # where a tokenizer of Hugging Face's keeps what its tokens are for
FREE = DROPOUTS  # what a stage may have of its own in its family's shape
FREE_BUT_LEARNED = "max_length"  # no weights depend on it where positions are not learned


@dataclass(frozen=True)
class Stage:
    """One run of a chain.

    weights: SHA-256 of its model.safetensors; spent: as in its audit, None of weights from elsewhere, whose
    cost is not known.
    """

    stage: str
    run: str
    objective: str
    weights: str | None
    spent: dict[str, float] | None


@dataclass(frozen=True)
class Chain:
    """Stages in order, the first one first."""

    stages: list[Stage] = field(default_factory=list)

    @property
    def total(self) -> dict[str, float] | None:
        """What all have spent together; None if it is not known of one."""
        known = [each.spent for each in self.stages if each.spent is not None]
        if len(known) < len(self.stages):
            return None
        return {name: sum(each[name] for each in known) for name in known[0]} if known else {}

    def and_then(self, stage: Stage) -> Chain:
        return Chain([*self.stages, stage])

    def as_json(self) -> dict[str, Any]:
        return {"stages": [asdict(each) for each in self.stages], "total": self.total}

    @classmethod
    def of(cls, content: dict[str, Any]) -> Chain:
        """From an audit's `chain`."""
        return cls([Stage(**each) for each in content["stages"]])


@dataclass(frozen=True)
class Parent:
    """A trained run that another begins from.

    weights: SHA-256 of its model.safetensors; tokenizer: the file or folder that its text was read with;
    chain: what it and those before it have spent.
    """

    run: RunFolder
    recipe: Recipe
    config: CoreConfig
    weights: str
    tokenizer: str
    chain: Chain

    def check_shape(self, recipe: Recipe, config: CoreConfig) -> None:
        """Raises UserError unless its weights are those of the recipe's family in this shape."""
        theirs, ours = family_class(self.recipe), family_class(recipe)
        if theirs is not ours:
            raise UserError(
                f"init_from '{self.run.path}' holds family {self.recipe.family.name}, and the recipe's is "
                f"{recipe.family.name}; set family={self.recipe.family.name}"
            )
        free = FREE if config.positions == "learned" else (*FREE, FREE_BUT_LEARNED)
        there, here = asdict(self.config), asdict(config)
        told = [
            f"{name} ({there[name]} there, {here[name]} here)"
            for name in there
            if name not in free and there[name] != here[name]
        ]
        if told:
            raise UserError(
                f"init_from '{self.run.path}' holds a family of another shape: it differs in "
                f"{', '.join(told)}; give size.* and budget.match of that run"
            )

    def load_into(self, family: Family) -> None:
        """Its weights into a family of its shape."""
        try:
            safetensors.torch.load_model(family, str(self.run.weights))
        except (safetensors.SafetensorError, OSError, RuntimeError) as error:
            raise UserError(
                f"init_from: the weights '{self.run.weights}' are damaged, or of another version of "
                "pentarch; train that run again"
            ) from error

    def record(self) -> dict[str, Any]:
        """For init_from.json and the audit."""
        return {
            "run": str(self.run.path),
            "weights": self.weights,
            "spent": self.chain.total,
        }


def parent_of(recipe: Recipe) -> Parent | None:
    """What the recipe begins from; None for fresh weights. Raises UserError if that is no trained run."""
    if recipe.init_from is None:
        return None
    run = RunFolder(Path(recipe.init_from))
    weights = sha256(run)
    written = read_json(run.audit)
    if weights is None or written is None or not (run.is_("trained") or run.is_("done")):
        raise UserError(
            f"init_from '{run.path}' holds no trained run{_what(run)}; train it first, put it back if it was "
            "moved, or give its new place by init_from=…"
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
    """The stages of a trained run; of one from before there were stages, itself."""
    if "chain" in audit:
        return Chain.of(audit["chain"])
    return Chain([stage_of(run, recipe, None if "imported" in audit else audit["spent"])])


def stage_of(run: RunFolder, recipe: Recipe, spent: dict[str, float] | None) -> Stage:
    """One run by itself, whose weights are there."""
    return Stage(recipe.label, str(run.path.absolute()), recipe.objective.name, sha256(run), spent)


def began(run: RunFolder) -> dict[str, Any] | None:
    """init_from.json: what a run began from; None if it began afresh."""
    return read_json(run.path / FILE)


def tokenizer_of(run: RunFolder) -> str | None:
    """What the text of a trained run was read with, where that is not for its recipe to say.

    Of a stage it is the run's own, so that it can be asked without the run that it began from.
    """
    if began(run) is None:
        return None
    return str(run.path if (run.path / FOLDERS_OWN).exists() else run.tokenizer)


def note_began(run: RunFolder, parent: Parent | None) -> None:
    """Writes init_from.json when training begins, and a tokenizer that is a folder."""
    for name in (FILE, FOLDERS_OWN):
        (run.path / name).unlink(missing_ok=True)
    if parent is None:
        return
    write_json(run.path / FILE, parent.record())
    if Path(parent.tokenizer).is_dir():
        from transformers import AutoTokenizer

        AutoTokenizer.from_pretrained(parent.tokenizer, local_files_only=True).save_pretrained(run.path)


def check_began(run: RunFolder, recipe: Recipe) -> None:
    """Raises UserError if the training kept here began from other weights than `init_from` has now."""
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
    """Of a run's weights; None if there are none."""
    try:
        with run.weights.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None


def _what(run: RunFolder) -> str:
    return f" (state: {run.status['state']})" if run.path.is_dir() else ": there is no such folder"


def _tokenizer(recipe: Recipe, run: RunFolder, theirs: Recipe) -> str:
    """What the parent's text was read with. A folder of Hugging Face's knows roles that one file does not."""
    place = tokenizer_of(run) or theirs.data.tokenizer
    if place is None or Path(place).is_file():
        place = str(run.tokenizer)
    asked = recipe.data.tokenizer
    if asked is not None and tokenizer.load(asked).digest != tokenizer.load(place).digest:
        raise UserError(
            f"data.tokenizer '{asked}' is another than that of init_from '{run.path}', whose embeddings are "
            "of its own pieces; leave data.tokenizer out"
        )
    return place


def order_of(seed: int, parent: Parent | None) -> int:
    """The seed of the order in which a run reads its text: another one for each stage.

    A stage that goes on with its parent's text would else begin with what the parent had read.
    """
    return seed if parent is None else mixed(seed, len(parent.chain.stages))
