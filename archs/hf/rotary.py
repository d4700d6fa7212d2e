"""Rotary positions in Hugging Face's configs."""

from __future__ import annotations

from typing import Any

from archs.errors import UserError


def base(config: Any, parameters: dict[str, Any]) -> float:
    """The base of plain rotary positions. Raises UserError for rescaled or partial ones."""
    kind = parameters.get("rope_type", "default")
    if kind != "default" or parameters.get("partial_rotary_factor", 1.0) != 1.0:
        raise UserError(
            f"{config.model_type} config has rope_type='{kind}' ({parameters}); supported is 'default' over "
            "the whole head"
        )
    return float(parameters["rope_theta"])
