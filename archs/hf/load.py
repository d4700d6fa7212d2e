"""A family from a Hugging Face model, given as an object or a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from archs.config import CoreConfig
from archs.errors import UserError
from archs.families.family import Family
from archs.families.named import build
from archs.hf.folder import open_folder, reference_of
from archs.hf.modeling_pentarch import PentarchConfig
from archs.hf.weights import read


def from_hf(source: PreTrainedModel | str | Path) -> Family:
    """A family, in eval mode, that computes the same as a Hugging Face model with a language-model head.

    source: the model, or a folder with config.json and weights. The weights are copied, in float32. Dropout
    of hidden states and of attention weights is taken from the config. GPT-2's resid_pdrop is used for the
    embeddings too; T5 and XLNet have one rate for all.

    Raises UserError for an architecture or an option that pentarch does not have, for weights that are
    missing, left over, of another shape or on the meta device, and for a folder without a config. A family is
    never loaded in part.
    """
    if not isinstance(source, PreTrainedModel | str | Path):
        raise UserError(f"from_hf takes a Hugging Face model or its folder, not a {type(source).__name__}")
    model = source if isinstance(source, PreTrainedModel) else open_folder(Path(source))
    if any(weight.is_meta for weight in model.parameters()):
        raise UserError(f"the weights of this {type(model).__name__} are on the meta device; load them first")
    if model.config.model_type == PentarchConfig.model_type:
        return _own(model)
    reference = reference_of(model.config.model_type)
    if type(model).__name__ != reference.architecture:
        raise UserError(f"{type(model).__name__} is not taken; give a {reference.architecture}")
    embeddings, head = model.get_input_embeddings(), model.get_output_embeddings()
    tied = head is None or head.weight is embeddings.weight
    core = reference.core(model.config, tied)
    family = reference.family(core)
    ours = dict(family.named_parameters())
    weights = read(reference.links(model.config), weights_of(model), ours)
    with torch.no_grad():
        for name, parameter in ours.items():
            parameter.copy_(weights[name])
    return family.eval()


def weights_of(model: PreTrainedModel) -> dict[str, Tensor]:
    """All weights by name, and saved buffers. A weight that two modules share comes once."""
    saved = model.state_dict()
    buffers = {name: buffer for name, buffer in model.named_buffers() if name in saved}
    return dict(model.named_parameters()) | buffers


def _own(model: Any) -> Family:
    """The family of a model that `to_hf` wrote with our code; a copy of that code may have opened it."""
    family = build(model.config.family, CoreConfig(**model.config.core))
    family.load_state_dict(model.family.state_dict())
    return family.eval()
