"""Translates `key=value` overrides from what users write to what Hydra reads."""

from __future__ import annotations

import re
from collections.abc import Iterator

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

from archs.errors import UserError
from experiments.recipe.presets import IMPORTABLE
from experiments.recipe.recipe import GROUPS

SEARCHPATH = "hydra.searchpath"


def key_of(text: str) -> str:
    """Returns `size.layers` of `size.layers=6`, without Hydra's leading + or ~."""
    return text.partition("=")[0].lstrip("+~")


def translate(text: str) -> Iterator[str]:
    """Yields the overrides that Hydra reads for one of the user's.

    A choice of preset stays as it is. A value is set whether a preset mentions it or not.
    """
    override = parse(text)
    key, value = override.key_or_group, override.value()
    if key == SEARCHPATH or override.is_delete():
        yield text
    elif key in IMPORTABLE and isinstance(value, str) and "." in value:
        yield f"~{key}"
        yield f"++{key}.name={quoted(value)}"
    elif key in GROUPS and not isinstance(value, dict):
        yield f"{key}={quoted(str(value))}"
    else:
        yield set_value(override)


def set_value(override: Override, under: str = "") -> str:
    """Returns `++key=value`, with `under` put before the key."""
    return f"++{under}{override.key_or_group}={override.get_value_element_as_str()}"


def parse(text: str) -> Override:
    """Returns the parsed override. Raises UserError if it is malformed or uses other features of Hydra."""
    key, equals, value = text.partition("=")
    if not equals and not key.startswith("~"):
        raise UserError(f"came '{text}'; overrides are written key=value, as in size=small or size.layers=6")
    if key_of(text) != SEARCHPATH and re.match(r"hydra([./@]|$)", key_of(text)):
        raise UserError(f"'{text}' is refused: of Hydra's own keys only {SEARCHPATH} is used; leave it out")
    if not re.fullmatch(r"[\w.\-]+", key_of(text)):
        raise UserError(f"came '{text}', whose key is not made of names and dots, as in size.layers=6")
    parser = OverridesParser.create()
    try:
        override = parser.parse_override(text)
    except HydraException:
        override = parser.parse_override(f"{key}={_requoted(value)}")
    if override.is_sweep_override():
        raise UserError(
            f"'{text}' names several values: write one arm for each in a file of sweep/ and run "
            f"'pentarch sweep', or quote a comma that is meant: {key}='\"{value}\"'"
        )
    return override


def quoted(value: str) -> str:
    """Returns the text in quotes, so that Hydra's grammar reads it as plain text."""
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _requoted(value: str) -> str:
    """Quotes a value that Hydra cannot parse: a list of overrides item by item, any other as text."""
    try:
        content = yaml.safe_load(value)
    except yaml.YAMLError:
        return quoted(value)
    if isinstance(content, list):
        return f"[{','.join(quoted(str(item)) for item in content)}]"
    return quoted(value)
