"""Weights from and to Hugging Face models: `from_hf(model)`, `to_hf(family, folder)`. A file for each."""

from archs.hf.load import from_hf
from archs.hf.save import to_hf

__all__ = ["from_hf", "to_hf"]
