"""A Hugging Face model as a trained run, so that every command that asks a run can ask it."""

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
    from experiments.data.store import Corpus

# Where it is another objective than the one that is natural for the family.
TRAINED_BY = {"bart": "denoising"}
DECIDED = ("family", "size", "budget", "system")  # by the model, but for the length of windows
HUB_FILES = ["*.json", "*.safetensors", "vocab.txt", "merges.txt", "*.model"]


def import_model(source: str, folder: Path, overrides: list[str], config_dir: Path | None = None) -> str:
    """Writes a run folder in state "trained"; returns a line that says what it is.

    source: a folder that `save_pretrained` wrote, model and tokenizer, or a name on the Hugging Face hub.
    overrides: of the objective, the data, the evaluation and whatever else the model does not decide.

    Raises UserError for a folder that is not there or a run that is, for what `from_hf` refuses, for a
    tokenizer that is missing or lacks a token that the objective needs, and for a shape that no recipe says.
    """
    for one in overrides:
        _check_override(one)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"'{folder}' is there and not empty; give a run folder that is not there yet")
    place = local(source)

    from archs.hf import from_hf
    from archs.hf.folder import open_folder
    from experiments.runs.corpus import corpus_of
    from experiments.runs.hugging_face.tokenizer import tokenizer_of

    model = open_folder(place)
    family = from_hf(model)
    recipe = recipe_of(family, model.config.model_type, folder, overrides, config_dir)
    tokenizer = tokenizer_of(place, model, family)
    with TemporaryDirectory() as read:  # the run's own folder appears when it is whole
        tokenizer.save_pretrained(read)
        corpus = corpus_of(_reading(recipe, read))
    origin = {"from": source, "folder": str(place.resolve()), "architecture": type(model).__name__}
    _write(folder, recipe, family, tokenizer, corpus, origin)
    return (
        f"{origin['architecture']} of '{source}' is now a run in '{folder}': {recipe.family.name}, asked by "
        f"{recipe.objective.name}"
    )


def local(source: str) -> Path:
    """The folder itself, or one that the hub's model is downloaded to. Raises UserError if there is none."""
    folder = Path(source).expanduser()
    if folder.is_dir():
        return folder
    nowhere = f"no folder '{source}'; give one that save_pretrained wrote"
    if source.startswith((".", "/", "~")) or source.count("/") > 1:
        raise UserError(nowhere)
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(source, allow_patterns=HUB_FILES))
    except (OSError, ValueError) as error:  # also no network, no such model, no name that the hub allows
        reason = " ".join(str(error).split("\n\n")[0].split())
        raise UserError(f"{nowhere}, or a name on the hub, which said: {reason}") from error


def recipe_of(
    family: Family, model_type: str, folder: Path, overrides: list[str], config_dir: Path | None = None
) -> Recipe:
    """The recipe of an untrained run of exactly this shape. Raises UserError if no recipe says it."""
    from experiments.recipe.build import build
    from experiments.recipe.compose import compose_recipe

    objective = TRAINED_BY.get(model_type)
    chosen = [f"family={family.kind}", *([] if objective is None else [f"objective={objective}"])]
    nothing = ["budget=smoke", "budget.scale=0", "budget.match=none"]
    recipe = compose_recipe([*chosen, *nothing, *_size(family.config), *overrides], config_dir)
    build(recipe)
    _check_shape(recipe, family.config)
    return _reading(recipe, str(folder.absolute()))


def _check_override(text: str) -> None:
    parse(text)
    key = key_of(text)
    if key == "data.tokenizer" or (key.split(".")[0] in DECIDED and key != "size.length"):
        raise UserError(
            f"{text} is refused: the imported model decides that; what may be set is objective, data, "
            "training, evaluation, tracking, seed and size.length"
        )


def _reading(recipe: Recipe, tokenizer: str) -> Recipe:
    return recipe.model_copy(update={"data": recipe.data.model_copy(update={"tokenizer": tokenizer})})


def _size(config: CoreConfig) -> list[str]:
    """The overrides that say this shape.

    With learned positions the window is the one for which a recipe of this size has as many, so that training
    goes on in the same shape; other positions have no end, and the window is that of other runs.
    """
    from experiments.budget.solver import LENGTH_MARGIN, LENGTH_ROOM

    said = {name: getattr(config, name) for name in SizeConfig.model_fields if hasattr(config, name)}
    stacks = []
    if config.shared_stacks:
        stacks, said["decoder_layers"] = ["family.stacks=shared"], None
    if config.positions == "learned":
        said["length"] = (config.max_length - LENGTH_ROOM) // LENGTH_MARGIN
    values = {
        name: quoted(value) if isinstance(value, str) else json.dumps(value) for name, value in said.items()
    }
    return [*stacks, *(f"size.{name}={value}" for name, value in values.items())]


def _check_shape(recipe: Recipe, config: CoreConfig) -> None:
    """Raises UserError unless the recipe's size is this shape; learned positions are the weights' own."""
    from experiments.budget.solver import shapes
    from experiments.recipe.build import family_class

    said, *_ = shapes(recipe, family_class(recipe), config.vocabulary)
    for each in fields(config):
        wanted = getattr(config, each.name)
        if each.name != "max_length" and getattr(said, each.name) != wanted:
            raise UserError(
                f"this model has {each.name}={wanted!r}, which no recipe's size says, so it cannot be a run; "
                "use archs.hf.from_hf in Python"
            )


def _write(
    folder: Path,
    recipe: Recipe,
    family: Family,
    tokenizer: PreTrainedTokenizerFast,
    corpus: Corpus,
    origin: dict[str, str],
) -> None:
    """The run's folder, whole or not at all."""
    import safetensors.torch

    from experiments.budget.spent import Spent, audit
    from experiments.data.gates_of_recipe import gates_of
    from experiments.data.windows import WindowStream
    from experiments.recipe.build import build
    from experiments.runs.environment import environment
    from experiments.storage.whole import whole_folder

    asks = build(recipe).objective(corpus.vocabulary)
    _check_questions(recipe, family, corpus, asks)
    windows = WindowStream(corpus.train, recipe.training.batch, recipe.size.length, recipe.seed)
    audited: dict[str, Any] = audit(_plan(recipe, family, corpus), Spent(), family, corpus, windows)
    gates, here = gates_of(recipe, corpus), {**environment(recipe), "corpus": corpus.digest}
    with whole_folder(folder) as place:
        run = RunFolder(place)
        run.claim(recipe)
        tokenizer.save_pretrained(place)
        safetensors.torch.save_model(family, str(run.weights))
        write_json(run.audit, audited | {"attention": [], "imported": origin})
        write_json(place / "gates.json", gates)
        write_json(place / "environment.json", here)
        run.set_status("trained")


def _plan(recipe: Recipe, family: Family, corpus: Corpus) -> Any:
    """What training would cost; the shape is the weights' own."""
    from archs.count import parameters
    from experiments.budget.plan import plan_arm
    from experiments.recipe.build import build

    plan = plan_arm(build(recipe), corpus.vocabulary)
    return replace(plan, config=family.config, parameters=parameters(type(family), family.config))


def _check_questions(recipe: Recipe, family: Family, corpus: Corpus, asks: Any) -> None:
    """Raises UserError for what evaluation would find out later: windows too long, gaps without a mark."""
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
    batch = asks.build(Windows(held.tokens, marks=held.marks), torch.Generator().manual_seed(0))
    try:
        family.check_length(batch.positions)
        if batch.source_positions is not None:
            family.check_length(batch.source_positions)
    except UserError as error:
        raise UserError(f"size.length={recipe.size.length} is too long: {error}") from error
