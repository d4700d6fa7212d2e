"""Makes a trained run of a Hugging Face model, so that every command for trained runs works with it.

Heavy imports are inside functions, so that a mistake of usage is reported before torch is imported.
"""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from archs.errors import UserError
from experiments.recipe.groups.size import SizeConfig
from experiments.recipe.overrides import key_of, parse, quoted
from experiments.recipe.recipe import Recipe
from experiments.runs.folder import RunFolder
from experiments.storage.json_files import write_json

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from archs.config import CoreConfig
    from archs.families.family import Family
    from experiments.budget.plan import Plan
    from experiments.data.store import Corpus
    from objectives.base import Objective

# The objective of a model type, if it is not the family's natural one.
TRAINED_BY = {"bart": "denoising"}
DECIDED = ("family", "size", "budget", "system")  # keys that the model decides, except size.length
HUB_FILES = ["*.json", "*.safetensors", "vocab.txt", "merges.txt", "*.model"]


def import_model(source: str, folder: Path, overrides: list[str], config_dir: Path | None = None) -> str:
    """Writes a run folder in state "trained". Returns a line that describes it.

    source: a folder that `save_pretrained` wrote, with model and tokenizer, or a name on the Hugging Face
    hub. overrides: of the objective, data, evaluation and other keys that the model does not decide.

    Raises UserError if the source does not exist or the run folder is not empty; as `from_hf` does; for a
    tokenizer that is missing or lacks a token that the objective needs; and for a shape that no recipe can
    describe.
    """
    for override in overrides:
        _check_override(override)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"'{folder}' is there and not empty; give a run folder that is not there yet")
    place = local_folder(source)

    from archs.hf import from_hf
    from archs.hf.folder import open_folder
    from experiments.runs.corpus import corpus_of
    from experiments.runs.hugging_face.tokenizer import tokenizer_of

    model = open_folder(place)
    family = from_hf(model)
    recipe = recipe_of(family, model.config.model_type, folder, overrides, config_dir)
    tokenizer = tokenizer_of(place, model, family)
    with TemporaryDirectory() as temporary:  # the run's own folder does not exist until it is complete
        tokenizer.save_pretrained(temporary)
        corpus = corpus_of(_with_tokenizer(recipe, temporary))
    origin = {"from": source, "folder": str(place.resolve()), "architecture": type(model).__name__}
    _write(folder, recipe, family, tokenizer, corpus, origin)
    return (
        f"{origin['architecture']} of '{source}' is now a run in '{folder}': {recipe.family.name}, asked by "
        f"{recipe.objective.name}"
    )


def local_folder(source: str) -> Path:
    """Returns the folder itself, or the one that a model of the hub is downloaded to.

    Raises UserError if there is neither.
    """
    folder = Path(source).expanduser()
    if folder.is_dir():
        return folder
    nowhere = f"no folder '{source}'; give one that save_pretrained wrote"
    if source.startswith((".", "/", "~")) or source.count("/") > 1:
        raise UserError(nowhere)
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(source, allow_patterns=HUB_FILES))
    except (OSError, ValueError) as error:  # no network, no such model, or an invalid name
        reason = " ".join(str(error).split("\n\n")[0].split())
        raise UserError(f"{nowhere}, or a name on the hub, which said: {reason}") from error


def recipe_of(
    family: Family, model_type: str, folder: Path, overrides: list[str], config_dir: Path | None = None
) -> Recipe:
    """Returns the recipe of an untrained run of exactly this shape. Raises UserError if there is none."""
    from experiments.recipe.build import build
    from experiments.recipe.compose import compose_recipe

    objective = TRAINED_BY.get(model_type)
    chosen = [f"family={family.kind}", *([] if objective is None else [f"objective={objective}"])]
    nothing = ["budget=smoke", "budget.scale=0", "budget.match=none"]
    recipe = compose_recipe([*chosen, *nothing, *_size(family.config), *overrides], config_dir)
    build(recipe)
    _check_shape(recipe, family.config)
    return _with_tokenizer(recipe, str(folder.absolute()))


def _check_override(text: str) -> None:
    """Raises UserError for an override of a key that the model decides."""
    parse(text)
    key = key_of(text)
    if key == "data.tokenizer" or (key.split(".")[0] in DECIDED and key != "size.length"):
        raise UserError(
            f"{text} is refused: the imported model decides that; what may be set is objective, data, "
            "training, evaluation, tracking, seed and size.length"
        )


def _with_tokenizer(recipe: Recipe, tokenizer: str) -> Recipe:
    return recipe.model_copy(update={"data": recipe.data.model_copy(update={"tokenizer": tokenizer})})


def _size(config: CoreConfig) -> list[str]:
    """Returns the overrides that describe this shape.

    With learned positions the window is chosen so that the recipe has as many positions as the model, and a
    later stage keeps the shape. Without them any window is possible, and the default is kept.
    """
    from experiments.budget.solver import LENGTH_MARGIN, LENGTH_ROOM

    size = {name: getattr(config, name) for name in SizeConfig.model_fields if hasattr(config, name)}
    stacks = []
    if config.shared_stacks:
        stacks, size["decoder_layers"] = ["family.stacks=shared"], None
    if config.positions == "learned":
        size["length"] = (config.max_length - LENGTH_ROOM) // LENGTH_MARGIN
    values = {
        name: quoted(value) if isinstance(value, str) else json.dumps(value) for name, value in size.items()
    }
    return [*stacks, *(f"size.{name}={value}" for name, value in values.items())]


def _check_shape(recipe: Recipe, config: CoreConfig) -> None:
    """Raises UserError unless the recipe's size is this shape, but for the number of positions."""
    from experiments.budget.solver import shapes
    from experiments.recipe.build import family_class

    shape, *_ = shapes(recipe, family_class(recipe), config.vocabulary)
    for field in fields(config):
        wanted = getattr(config, field.name)
        if field.name != "max_length" and getattr(shape, field.name) != wanted:
            raise UserError(
                f"this model has {field.name}={wanted!r}, which no recipe's size says, so it cannot be a "
                "run; use archs.hf.from_hf in Python"
            )


def _write(
    folder: Path,
    recipe: Recipe,
    family: Family,
    tokenizer: PreTrainedTokenizerFast,
    corpus: Corpus,
    origin: dict[str, str],
) -> None:
    """Writes the run's folder completely or not at all."""
    import safetensors.torch

    from experiments.budget.spent import Spent, audit
    from experiments.data.recipe_gates import gates_of
    from experiments.data.windows import WindowStream
    from experiments.recipe.build import build
    from experiments.runs.environment import environment
    from experiments.storage.whole import whole_folder

    objective = build(recipe).objective(corpus.vocabulary)
    _check_evaluation(recipe, family, corpus, objective)
    windows = WindowStream(corpus.train, recipe.training.batch, recipe.size.length, recipe.seed)
    audited: dict[str, Any] = audit(_plan(recipe, family, corpus), Spent(), family, corpus, windows)
    gates, run_environment = gates_of(recipe, corpus), {**environment(recipe), "corpus": corpus.digest}
    with whole_folder(folder) as place:
        run = RunFolder(place)
        run.claim(recipe)
        tokenizer.save_pretrained(place)
        safetensors.torch.save_model(family, str(run.weights))
        write_json(run.audit, audited | {"attention": [], "imported": origin})
        write_json(place / "gates.json", gates)
        write_json(place / "environment.json", run_environment)
        run.set_status("trained")


def _plan(recipe: Recipe, family: Family, corpus: Corpus) -> Plan:
    """Returns the plan of the recipe, with the shape of the model."""
    from archs.count import parameters
    from experiments.budget.plan import plan_arm
    from experiments.recipe.build import build

    plan = plan_arm(build(recipe), corpus.vocabulary)
    return replace(plan, config=family.config, parameters=parameters(type(family), family.config))


def _check_evaluation(recipe: Recipe, family: Family, corpus: Corpus, objective: Objective) -> None:
    """Raises UserError for what evaluation would refuse later: too long windows, no token to mark a gap."""
    import torch

    from experiments.data.windows import held_out
    from objectives.base import Windows

    vocabulary, evaluation = corpus.vocabulary, recipe.evaluation
    if (evaluation.infill or evaluation.target) and not vocabulary.sentinels and vocabulary.mask is None:
        raise UserError(
            "this tokenizer has neither a sentinel (<extra_id_0>) nor a mask token to show a gap with; "
            "set evaluation.infill=false and evaluation.target=false, or evaluation=likelihood"
        )
    held = held_out(corpus.validation, 1, recipe.size.length)
    batch = objective.build(Windows(held.tokens, marks=held.marks), torch.Generator().manual_seed(0))
    try:
        family.check_length(batch.positions)
        if batch.source_positions is not None:
            family.check_length(batch.source_positions)
    except UserError as error:
        raise UserError(f"size.length={recipe.size.length} is too long: {error}") from error
