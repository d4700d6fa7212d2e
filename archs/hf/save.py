"""Saves a family as a folder that transformers opens."""

from __future__ import annotations

import re
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import SafetensorError
from transformers import PreTrainedModel, PreTrainedTokenizerBase

import archs
from archs.config import CoreConfig
from archs.errors import UserError, unknown
from archs.families.family import Family
from archs.families.named import FAMILIES
from archs.families.single_stack import SingleStack
from archs.hf.folder import one_line, quiet
from archs.hf.load import weights_of
from archs.hf.modeling_pentarch import AUTO_CLASSES, CLASSES, PentarchConfig
from archs.hf.reference import Reference
from archs.hf.references import REFERENCES
from archs.hf.t5 import untie
from archs.hf.weights import write

ROLES = ("pad_token_id", "bos_token_id", "eos_token_id", "mask_token_id", "cls_token_id", "sep_token_id")
MODELING = Path(__file__).with_name("modeling_pentarch.py")
ARCHS = Path(archs.__file__).parent
IMPORTS = re.compile(r"^(\s*)from archs\.((?:\w+\.)*)(\w+) import", re.M)


def to_hf(
    family: Family,
    folder: str | Path,
    tokenizer: PreTrainedTokenizerBase | None = None,
    model_type: str | None = None,
    **token_ids: int | None,
) -> str:
    """Writes config.json, model.safetensors and the tokenizer's files. Returns the name of the model's class.

    Where a native class computes the same, `AutoModel….from_pretrained(folder)` opens it. Else the folder
    holds pentarch's own code: it opens with `trust_remote_code=True`, and needs einops beside torch and
    transformers. model_type names the architecture where several would do (a RoBERTa is a BERT too), or
    "pentarch" for our own; the first that fits if not given.
    token_ids, such as `decoder_start_token_id=0`, are written to the config beside those of the tokenizer.

    Raises UserError for a user's own family or mask, whose code would not be copied, for a model_type that
    does not compute the same, for tokens outside the vocabulary, and for a folder that cannot be written.
    """
    _check_own(family)
    ids = _token_ids(family, tokenizer, token_ids)
    reference, folder = _chosen(family, model_type), Path(folder)
    if folder.is_file():
        raise UserError(f"'{folder}' is a file; give a folder to write to")
    model = _custom(family, ids) if reference is None else _native(family, reference, ids)
    try:
        with quiet():
            model.save_pretrained(folder)
        if reference is None:
            _copy_code(folder)
        if tokenizer is not None:
            tokenizer.save_pretrained(folder)
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or one_line(error)
        raise UserError(f"'{folder}' cannot be written ({reason}); give another place") from error
    return type(model).__name__


def native(family: Family) -> dict[str, Reference]:
    """The Hugging Face architectures that compute the same as this family, by model_type; often none."""
    return {name: each for name, each in REFERENCES.items() if _computes(each, family)}


def _computes(reference: Reference, family: Family) -> bool:
    if type(family) is not reference.family:
        return False
    try:
        core = reference.core(_config(reference, family, {}), family.config.tied)
    except (UserError, StopIteration, ValueError):
        return False  # the architecture lacks an option
    return _spelled_out(core, family.config) == _spelled_out(family.config, family.config)


def _spelled_out(core: CoreConfig, like: CoreConfig) -> CoreConfig:
    """The core with values in place of None, for comparison: dropout, and max_length, are those of `like`.

    Dropout does not change the answers of a model, and max_length matters only to learned positions.
    """
    rotated = core.window is not None and core.local_rope_base is None
    return replace(
        core,
        kv_heads=core.key_heads,
        attention_width=core.heads * core.head_width,
        local_rope_base=core.rope_base if rotated else core.local_rope_base,
        dropout=like.dropout,
        attention_dropout=like.attention_dropout,
        max_length=core.max_length if core.positions == "learned" else like.max_length,
    )


def _chosen(family: Family, model_type: str | None) -> Reference | None:
    fit = native(family)
    if model_type is None:
        return next(iter(fit.values()), None)
    if model_type == PentarchConfig.model_type:
        return None
    if model_type not in fit:
        raise unknown(f"model_type for this {family.kind}", model_type, [*fit, PentarchConfig.model_type])
    return fit[model_type]


def _check_own(family: Family) -> None:
    if FAMILIES.get(family.kind) is not type(family):
        shipped = ", ".join(FAMILIES)
        raise UserError(f"{type(family).__name__} is a family of your own; exported are {shipped}")
    if isinstance(family, SingleStack) and family.build_mask is not type(family).default_mask:
        raise UserError(
            f"a {family.kind} under a mask of your own is not exported: its code would not travel with it; "
            "wrap it in a PreTrainedModel of your own"
        )


def _token_ids(
    family: Family, tokenizer: PreTrainedTokenizerBase | None, given: dict[str, int | None]
) -> dict[str, int]:
    """Token ids by role: the tokenizer's, and those given. Roles without a token are left out."""
    vocabulary = family.config.vocabulary
    if tokenizer is not None and not isinstance(tokenizer, PreTrainedTokenizerBase):
        raise UserError(f"a {type(tokenizer).__name__} is no tokenizer of transformers; open it as one")
    known = {} if tokenizer is None else {role: getattr(tokenizer, role, None) for role in ROLES}
    if tokenizer is not None and len(tokenizer) > vocabulary:
        raise UserError(f"the tokenizer has {len(tokenizer)} tokens, the family {vocabulary}; give its own")
    for role, token in given.items():
        if not role.endswith("_token_id"):
            raise UserError(f"'{role}' is no token's role; give one such as bos_token_id=1")
        if token is None:
            continue
        if not isinstance(token, int) or isinstance(token, bool):
            raise UserError(f"{role}={token!r} is no token's id; give a whole number")
        if not 0 <= token < vocabulary:
            raise UserError(f"{role}={token} is not in the vocabulary; allowed are 0 to {vocabulary - 1}")
    return {role: token for role, token in {**known, **given}.items() if token is not None}


def _config(reference: Reference, family: Family, token_ids: dict[str, int]) -> Any:
    arguments = reference.config(family.config, token_ids)
    unused: dict[str, Any] = {role: None for role in ROLES if role not in arguments}
    return transformers.AutoConfig.for_model(reference.model_type, **unused | arguments)


def _native(family: Family, reference: Reference, token_ids: dict[str, int]) -> PreTrainedModel:
    config = _config(reference, family, token_ids)
    model: PreTrainedModel = getattr(transformers, reference.architecture)(config)
    if not family.config.tied:
        untie(model)
    theirs = weights_of(model)
    weights = write(reference.links(config), dict(family.named_parameters()), theirs)
    with torch.no_grad():
        for name, weight in theirs.items():
            weight.copy_(weights[name])
    return model


def _custom(family: Family, token_ids: dict[str, int]) -> PreTrainedModel:
    kind = CLASSES[family.kind]
    config = PentarchConfig(
        family=family.kind,
        core=asdict(family.config),
        tie_word_embeddings=family.config.tied,
        architectures=[kind.__name__],
        auto_map={
            "AutoConfig": f"{MODELING.stem}.PentarchConfig",
            AUTO_CLASSES[kind]: f"{MODELING.stem}.{kind.__name__}",
        },
        **token_ids,
    )
    model = kind(config)
    model.family.load_state_dict(family.state_dict())
    return model


def _copy_code(folder: Path) -> None:
    """Copies the modeling file, and the files of archs that it imports, into the folder."""
    waiting, done = [MODELING], set()
    while waiting:
        source = waiting.pop()
        if source in done:
            continue
        assert source.name not in {other.name for other in done}, "in one folder names must differ"
        done.add(source)
        text = source.read_text(encoding="utf-8")
        waiting += [ARCHS.joinpath(*part.split("."), f"{name}.py") for _, part, name in IMPORTS.findall(text)]
        (folder / source.name).write_text(IMPORTS.sub(r"\1from .\3 import", text), encoding="utf-8")
