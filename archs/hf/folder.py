"""Opens a Hugging Face folder as a model, completely, or refuses it with an error of one line."""

from __future__ import annotations

import json
import logging
import pickle
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import SafetensorError
from transformers import PreTrainedConfig, PreTrainedModel

from archs.config import CoreConfig
from archs.errors import UserError, unknown
from archs.hf.modeling_pentarch import CLASSES, PentarchConfig
from archs.hf.reference import Reference
from archs.hf.references import REFERENCES
from archs.hf.weights import check_names

log = logging.getLogger(__name__)


def open_folder(folder: Path) -> PreTrainedModel:
    """The model that `save_pretrained` or `to_hf` wrote, in float32. No code from the folder is run.

    Raises UserError, before any weight is read, for a config that is missing, damaged or of an unsupported
    architecture or option, and for an adapter. Raises it for missing, extra and damaged weights too.
    """
    written = _read_config(folder)
    if written.get("model_type") == PentarchConfig.model_type:
        architecture, left_out = _own_class(written, folder), ()
    else:
        reference = reference_of(written.get("model_type"))
        architecture, left_out = getattr(transformers, reference.architecture), reference.left_out
        reference.core(_config(architecture, folder), tied=True)
    with quiet():
        model, report = _weights(architecture, folder)
    _check(report, left_out, folder)
    return model


def reference_of(model_type: object) -> Reference:
    """The Reference of a model_type. Raises UserError for an architecture that the core cannot compute."""
    if not isinstance(model_type, str) or model_type not in REFERENCES:
        raise unknown("architecture", model_type, REFERENCES)
    return REFERENCES[model_type]


@contextmanager
def quiet() -> Iterator[None]:
    """A context without transformers' progress bars and tables. Our own errors report what is wrong."""
    logging_of_theirs = transformers.utils.logging
    verbosity, bar = logging_of_theirs.get_verbosity(), logging_of_theirs.is_progress_bar_enabled()
    logging_of_theirs.set_verbosity_error()
    logging_of_theirs.disable_progress_bar()
    try:
        yield
    finally:
        logging_of_theirs.set_verbosity(verbosity)
        if bar:
            logging_of_theirs.enable_progress_bar()


def _read_config(folder: Path) -> dict[str, Any]:
    file = folder / "config.json"
    if not file.is_file():
        raise UserError(f"no config.json in '{folder}'; give a folder that save_pretrained wrote")
    try:
        written = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"'{file}' is no JSON ({error}); save the model again") from error
    if (folder / "adapter_config.json").exists():
        raise UserError(
            f"'{folder}' holds an adapter (adapter_config.json); merge it and save the model again"
        )
    if not isinstance(written, dict):
        raise UserError(f"'{file}' holds a {type(written).__name__}; a config is a mapping of options")
    return written


def _own_class(written: dict[str, Any], folder: Path) -> Any:
    try:
        CoreConfig(**written["core"])
        return CLASSES[written["family"]]
    except (KeyError, TypeError) as error:
        raise UserError(
            f"'{folder / 'config.json'}' describes no family of this pentarch ({error}); export the model "
            "again, or use the version of pentarch that exported it"
        ) from error


def _config(architecture: Any, folder: Path) -> PreTrainedConfig:
    try:
        with quiet():
            return architecture.config_class.from_pretrained(folder)
    except Exception as error:  # transformers raises exceptions of many types for invalid values
        raise UserError(f"transformers refuses '{folder / 'config.json'}': {one_line(error)}") from error


def _weights(architecture: Any, folder: Path) -> tuple[PreTrainedModel, dict[str, Any]]:
    try:
        with warnings.catch_warnings():
            # Harmful pickles are refused below.
            warnings.filterwarnings("ignore", message="Detected pickle protocol")
            return architecture.from_pretrained(
                folder, output_loading_info=True, ignore_mismatched_sizes=True, dtype=torch.float32
            )
    except UserError:
        raise
    except pickle.UnpicklingError as error:
        raise UserError(
            f"the pickled weights in '{folder}' are damaged or hold more than tensors, which could run code: "
            "not opened; save them as safetensors"
        ) from error
    except (OSError, SafetensorError, RuntimeError, EOFError, ValueError) as error:
        raise UserError(f"the weights in '{folder}' cannot be read: {one_line(error)}") from error


def _check(report: dict[str, Any], left_out: tuple[str, ...], folder: Path) -> None:
    """Raises UserError unless the folder had exactly the weights of the language model."""
    for name, came, wanted in report["mismatched_keys"]:
        raise UserError(
            f"shape mismatch in '{folder}': {name} is {tuple(came)}, its config.json says {tuple(wanted)}"
        )
    ignored = sorted(
        name for name in report["unexpected_keys"] if any(re.match(each, name) for each in left_out)
    )
    if ignored:
        log.warning("left out, no part of the language model: %s", ", ".join(ignored))
    extra = sorted(set(report["unexpected_keys"]) - set(ignored))
    check_names(sorted(report["missing_keys"]), extra, where=f" in '{folder}'")


def one_line(error: Exception) -> str:
    """The last line of the message that is not empty: transformers puts the cause below headings."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
