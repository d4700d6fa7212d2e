"""The typed, frozen description of one run.

Where values come from: what has a name (a size, a budget, a corpus, an objective) is a preset in
`configs/`; what holds whatever the preset is a default here. A group of a recipe may be given as its
preset's name, so that plain Python and the command line say the same:

    Recipe(family="permuted_lm", objective="permutation", size="tiny", budget="smoke")
    pentarch train family=permuted_lm objective=permutation size=tiny budget=smoke
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, field_validator, model_validator

from archs.config import Activation, CoreConfig, Positions
from archs.errors import UserError
from experiments.data.sources import resolve
from experiments.disk import write_whole
from experiments.presets import known, preset, read_yaml
from experiments.tasks.task import AskConfig
from experiments.validate import FOLDER, Amount, Config, Count, Fraction, is_config, validated

# Where a run lies, what it is called, who watches it and who builds its batches, not what it is.
NOT_CONTENT: dict[str, Any] = {
    "out": True,
    "name": True,
    "user_path": True,
    "tracking": True,
    "data": {"cache"},
    "training": {"workers"},
}


class FamilyConfig(Config):
    """`name` is one of `archs.FAMILIES` or the import path of a class: `package.module.Class`.

    `mask` is the import path of a rule (q, k) or (b, q, k), or of a builder Batch -> Mask, that replaces a
    single stack's own mask. `stacks`: an encoder-decoder's beside a single stack's L layers, "halves" of L,
    "double" = two of L (twice the parameters), "shared" = two of L with one set of weights; None = halves,
    deeper where FLOPs are matched.
    """

    name: str
    mask: str | None = None
    stacks: Literal["halves", "double", "shared"] | None = None

    _name_is_known = field_validator("name")(known("family"))


class ObjectiveConfig(Config):
    """`name` is one of `objectives.OBJECTIVES` or an import path; `options` are its keyword arguments.

    `options.select` and `options.replace` name a function of `objectives.select` or `objectives.replace`,
    or an import path, alone or with keyword arguments of its own: `{name: uniform, rate: 0.3}`.
    """

    name: str
    options: dict[str, Any] = Field(default_factory=dict)

    _name_is_known = field_validator("name")(known("objective"))

    @model_validator(mode="after")
    def _functions_have_names(self) -> ObjectiveConfig:
        for part in ("select", "replace"):
            given = self.options.get(part, "")
            if not isinstance(given, str) and not (isinstance(given, dict) and "name" in given):
                raise ValueError(f"options.{part}: came {given!r}, must be a name or {{name: …, option: …}}")
        return self

    @property
    def parts(self) -> dict[str, PartConfig]:
        """Of a mixture, by name. Raises UserError for an entry that is no part."""
        given = self.options.get("parts", {}) if self.name == "mixture" else {}
        if not isinstance(given, dict):
            raise UserError(f"objective.options.parts: came {given!r}, must be {{PART: {{name: mlm, …}}}}")
        parts = {}
        for name, content in given.items():
            where = f"objective.options.parts.{name}"
            if not str(name).isidentifier():
                raise UserError(f"{where}: a part's name is made of letters, digits and '_'")
            if isinstance(content, str):
                content = {"name": content}
            if not isinstance(content, dict):
                raise UserError(f"{where}: came {content!r}, must be {{name: mlm, options: {{…}}}}")
            parts[name] = validated(PartConfig, content, f"{where}: ")
            if "." not in parts[name].name and preset("objective", parts[name].name)["name"] == "mixture":
                raise UserError(f"{where}: a mixture has no mixtures in it; list their parts instead")
        return parts

    @property
    def functions(self) -> list[str]:
        """The selections and replacements that are named here, in parts too."""
        given = [self.options[part] for part in ("select", "replace") if self.options.get(part) is not None]
        names = [each if isinstance(each, str) else each["name"] for each in given]
        return names + [name for part in self.parts.values() for name in part.functions]

    @property
    def import_paths(self) -> list[str]:
        """Code of the user's that is named here, in parts too."""
        names = [self.name, *(part.name for part in self.parts.values()), *self.functions]
        return [name for name in names if "." in name]


class PartConfig(ObjectiveConfig):
    """An objective of a mixture, `{name: mlm, options: {rate: 0.3}}` or its name alone.

    `mode`: 1, 2, …: which mode token stands before its texts.
    """

    mode: Count | None = None


class SizeConfig(Config):
    """Shape of the core. `length` counts raw tokens of a window; `archs.config.CoreConfig` tells the others.

    `decoder_layers` None is for single stacks, and lets the budget's solver choose an encoder-decoder's.
    `depth`: layers in place of `layers`, the widths following so that what the budget matches stays equal.
    """

    layers: Count
    width: Count
    heads: Count
    ffn: Count
    length: Annotated[int, Field(ge=2)]
    vocabulary: Count
    kv_heads: Count | None = None
    decoder_layers: Count | None = None
    depth: Count | None = None
    attention_width: Count | None = None
    embedding_width: Count | None = None
    shared_layers: bool = False
    positions: Positions = "rope"
    rope_base: Amount = 10_000.0
    relative_buckets: Count = 32
    relative_distance: Count = 128
    token_types: Annotated[int, Field(ge=0)] = 0
    window: Count | None = None
    global_every: Count | None = None
    local_rope_base: Amount | None = None
    norm: Literal["rms", "layer"] = "rms"
    norm_bias: bool = True
    norm_eps: Amount = 1e-6
    norm_order: Literal["pre", "post"] = "pre"
    embedding_norm: bool = False
    activation: Activation = "gelu"
    attention_bias: bool = False
    ffn_bias: bool = False
    attention_scaled: bool = True
    tied: bool = True
    head_transform: bool = False
    head_bias: bool = False
    logit_scale: Amount = 1.0
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    attention_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0

    @model_validator(mode="after")
    def _is_a_core(self) -> SizeConfig:
        try:
            self.core(self.vocabulary, max_length=self.length)
        except UserError as error:
            raise ValueError(f"size: {error}") from error
        return self

    def core(self, vocabulary: int, max_length: int) -> CoreConfig:
        """The single stack of this shape."""
        fields = self.model_dump(exclude={"length", "vocabulary", "decoder_layers", "depth"})
        return CoreConfig(vocabulary=vocabulary, max_length=max_length, **fields)


class BudgetConfig(Config):
    """`match`: what is equal between the arms of a sweep, within `tolerance`; `stop`: what is spent.

    `amount` is in the unit of `stop`: training FLOPs, raw tokens, supervised targets, optimiser steps, or
    seconds of training. `reference`: what arms are matched to, a decoder-AR with the causal objective: of the
    arm's own size in every option, or "plain", of its layers, width, heads and ffn alone, so that arms that
    differ in other options of size have one reference. `reference_length`: of the reference's windows, None =
    the arm's `size.length`, for arms that differ in it. `scale` multiplies `amount`, as for an arm of twice
    the budget; 0 is an untrained run.
    """

    stop: Literal["flops", "tokens", "targets", "steps", "seconds"]
    amount: Amount
    scale: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.0
    match: Literal["none", "core_parameters", "parameters", "flops_per_token", "flops_per_sequence"] = (
        "core_parameters"
    )
    reference: Literal["own", "plain"] = "own"
    reference_length: Annotated[int, Field(ge=2)] | None = None
    tolerance: Fraction = 0.02

    @property
    def spends(self) -> float:
        """What a run spends, in the unit of `stop`; 0 is untrained."""
        return self.amount * self.scale


class DataConfig(Config):
    """Where the text comes from.

    source "auto" becomes `huggingface` if a dataset `name` is given, else what `path`'s suffix tells, else
    the embedded corpus; a validated recipe never says "auto". `text_column` is read in all sources but
    text; `tokenizer` is a path, None trains one, or takes that of the run which `init_from` names.
    `segmenter` says where words are: "jieba" or the import path of a function text -> words; `annotator`
    where named entities and phrases are: the import path of a function text -> (start, end, kind). See
    docs/extend.md.

    source "task": the training texts of the task `name`, without their labels. `only`: of the embedded
    corpus, the addresses of which this is true, as {kind: spoken}. `without_test_of`: a task whose test text
    is kept out, document by document; of source "task" it is the task itself. See docs/stages.md.
    """

    source: Literal["auto", "sotu", "text", "parquet", "jsonl", "huggingface", "task"] = "auto"
    path: str | None = None
    name: str | None = None
    only: dict[str, str] = Field(default_factory=dict)
    without_test_of: str | None = None
    text_column: str = "text"
    tokenizer: str | None = None
    segmenter: str | None = None
    annotator: str | None = None
    cache: str = ".cache/pentarch"

    @field_validator("segmenter", "annotator")
    @classmethod
    def _is_a_function(cls, name: str | None, info: Any) -> str | None:
        shipped = ("jieba",) if info.field_name == "segmenter" else ()
        if name is not None and name not in shipped and "." not in name:
            allowed = " or ".join((*shipped, "the import path of a function, package.module.name"))
            raise ValueError(f"data.{info.field_name} '{name}' is not known; give {allowed}")
        return name

    @model_validator(mode="before")
    @classmethod
    def _resolve_source(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        asked = {"source": "auto", "path": None, "name": None} | values
        given = [asked[key] for key in ("source", "path", "name")]
        if not all(value is None or isinstance(value, str) for value in given):
            return values  # the fields' own checks say what is wrong
        return {**values, "source": resolve(*given)}

    @model_validator(mode="after")
    def _tasks_are_known(self) -> DataConfig:
        for task in (self.name if self.source == "task" else None, self.without_test_of):
            if task is not None:
                known("task")(task)
        return self

    @model_validator(mode="after")
    def _only_is_of_addresses(self) -> DataConfig:
        if self.only and self.source != "sotu":
            raise ValueError(
                f"data.only={self.only} chooses among the embedded addresses, and data.source={self.source} "
                "has none; leave it out"
            )
        return self


class TrainingConfig(Config):
    """How an arm is trained; the same for all arms of a sweep.

    `batch`: rows of the global batch of one optimiser step, taken in `accumulate` parts by `devices`
    processes: `strategy` "ddp" copies what is trained to each, "fsdp2" divides it. `learning_rate` is the
    peak: reached after the share `warmup` of the budget, then falling on a cosine to the share `final` of
    itself. `precision` and `accelerator` are Lightning's names. `checkpoint_activations`: each block keeps
    only what goes into it and is computed again in the backward pass, for memory; the FLOPs that budgets and
    audits count stay those of a step without it. `workers`: processes beside each of the `devices` that build
    batches ahead of time; 0 = they are built between steps. The batches are the same.
    """

    batch: Count = 16
    accumulate: Count = 1
    learning_rate: Amount = 2e-3
    warmup: Fraction = 0.05
    final: Fraction = 0.1
    weight_decay: Annotated[float, Field(ge=0)] = 0.1
    # A list in YAML: strictness is asked of its two numbers, not of the tuple around them.
    betas: Annotated[tuple[Fraction, Fraction], Field(strict=False)] = (0.9, 0.95)
    clip: Amount = 1.0
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    accelerator: Literal["auto", "cpu", "gpu", "mps"] = "auto"
    devices: Count = 1
    strategy: Literal["ddp", "fsdp2"] = "ddp"
    checkpoint_every: Count = 100
    threads: Count | None = None
    compile: bool = False
    checkpoint_activations: bool = False
    workers: Annotated[int, Field(ge=0)] = 0
    log_every: Count = 10

    @model_validator(mode="after")
    def _divides(self) -> TrainingConfig:
        parts = self.accumulate * self.devices
        if self.batch % parts:
            raise ValueError(
                f"training.batch {self.batch} must be a multiple of training.accumulate x "
                f"training.devices = {parts}"
            )
        return self

    @model_validator(mode="after")
    def _can_be_divided(self) -> TrainingConfig:
        if self.strategy == "fsdp2" and self.devices == 1:
            raise ValueError(
                "training.strategy=fsdp2 divides the weights over training.devices, which is 1; set it to 2 "
                "or more, or leave training.strategy out"
            )
        if self.strategy == "fsdp2" and self.precision == "16-mixed":
            raise ValueError(
                "training.strategy=fsdp2 came with training.precision=16-mixed and allows 32-true and "
                "bf16-mixed; set one of them, or training.strategy=ddp"
            )
        return self


class FinetuneConfig(Config):
    """Finetuning on the understanding task, the same for all arms; at most `examples` of train are used."""

    steps: Count = 150
    batch: Count = 32
    learning_rate: Amount = 1e-3
    examples: Count = 2000


class EvaluationConfig(Config):
    """What is measured after training.

    Likelihood is taken over `likelihood_windows` held-out windows; pseudo-likelihood, which needs one pass
    for each token, over `pseudo_likelihood_windows` of them. `samples`: continuations shown. The built-in
    tasks `party`, `infill`, `order` and `target` are told in docs/evaluation.md; `tasks` are others, each as
    `pentarch evaluate RUN task=…` would ask it (docs/tasks.md).
    """

    likelihood_windows: Count = 64
    pseudo_likelihood_windows: Count = 16
    party: bool = True
    infill: bool = True
    target: bool = False
    order: bool = False
    tasks: list[AskConfig] = Field(default_factory=list)
    finetune: FinetuneConfig = FinetuneConfig()
    samples: Annotated[int, Field(ge=0)] = 3


class TrackingConfig(Config):
    """`wandb` is uploaded where a key is present. `entity`: a W&B team, None = the key's own."""

    name: Literal["wandb", "tensorboard", "none"] = "wandb"
    project: Annotated[str, Field(min_length=1)] = "pentarch"
    entity: str | None = None

    @field_validator("project")
    @classmethod
    def _is_taken_by_wandb(cls, project: str) -> str:
        refused = sorted(set(project) & set("/\\#?%:"))
        if refused or len(project) > 128:
            why = f"{len(project)} characters" if not refused else f"has {' '.join(refused)}"
            raise ValueError(
                f"tracking.project: came '{project[:40]}', which W&B refuses: it {why}; at most 128 "
                "characters are allowed, and none of / \\ # ? % :"
            )
        return project


class Recipe(Config):
    """Everything that decides one run. A group may be a model, a dict, or the name of a preset.

    `init_from`: the folder of a trained run whose weights and tokenizer this one begins with, None = fresh
    weights; in a sweep's arm also the name of another arm. `name` replaces `<family>-<objective>` in the
    run's folder. `user_path` is the folder put on `sys.path` before an import path is resolved.
    """

    family: FamilyConfig
    objective: ObjectiveConfig
    size: SizeConfig = Field(default="mini", validate_default=True)  # type: ignore[assignment]
    budget: BudgetConfig = Field(default="ten_minutes", validate_default=True)  # type: ignore[assignment]
    data: DataConfig = Field(default="auto", validate_default=True)  # type: ignore[assignment]
    training: TrainingConfig = TrainingConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    tracking: TrackingConfig = TrackingConfig()
    init_from: str | None = None
    seed: Annotated[int, Field(ge=0)] = 0
    out: str = "runs"
    name: Annotated[str, Field(pattern=rf"^({FOLDER})?$")] = ""
    user_path: str | None = None

    @field_validator(
        "family", "objective", "size", "budget", "data", "training", "evaluation", "tracking", mode="before"
    )
    @classmethod
    def _load_preset(cls, value: Any, info: Any) -> Any:
        return preset(info.field_name, value) if isinstance(value, str) else value

    @property
    def label(self) -> str:
        """`name`, or `<family>-<objective>`, `stacks` between them; of an import path, the last part."""
        family, objective = (part.name.rpartition(".")[2] for part in (self.family, self.objective))
        return self.name or "-".join(part for part in (family, self.family.stacks, objective) if part)

    @property
    def import_paths(self) -> list[str]:
        """What is named by an import path: code of the user's."""
        names = [self.family.name, self.family.mask or ""]
        names += [self.data.segmenter or "", self.data.annotator or ""]
        return [*self.objective.import_paths, *(name for name in names if "." in name)]

    def folder(self, group: str = "train") -> Path:
        """The run's folder: `<out>/<group>/<label>/seed<k>`; `group` is the sweep's name."""
        return Path(self.out) / group / self.label / f"seed{self.seed}"

    def digest(self) -> str:
        """16 hex digits that change with the content, not with what NOT_CONTENT names.

        Of `init_from` what it is called in its sweep counts, not where that lies, as with this run itself.
        """
        content = self.model_dump(mode="json", exclude=NOT_CONTENT)
        content["init_from"] = None if self.init_from is None else Path(self.init_from).parts[-3:]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]

    def as_yaml(self) -> str:
        """The recipe in full."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)

    def to_yaml(self, path: Path | str) -> None:
        """Writes the recipe in full, ready for `from_yaml`."""
        write_whole(Path(path), self.as_yaml().encode())

    @classmethod
    def from_yaml(cls, path: Path | str) -> Recipe:
        """Reads a saved recipe. Raises UserError if the file is missing or no valid recipe."""
        return validated(cls, read_yaml(Path(path)), f"{path}: ")


GROUPS: tuple[str, ...] = tuple(
    name for name, spec in Recipe.model_fields.items() if is_config(spec.annotation)
)
