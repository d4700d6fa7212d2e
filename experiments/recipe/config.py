"""Strict pydantic models, whose errors are one line."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from archs.errors import UserError, unknown

FOLDER = r"\w[\w.\-]*"  # a name of a run, arm, sweep or task: each names files or folders
Count = Annotated[int, Field(ge=1)]
Amount = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, le=1)]


class Config(BaseModel):
    """A frozen model. An unknown key, a value of another type, and infinity are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


def is_config(annotation: Any) -> bool:
    """Whether a field's annotation is a subclass of Config."""
    return isinstance(annotation, type) and issubclass(annotation, Config)


AnyConfig = TypeVar("AnyConfig", bound=Config)


def validated(model: type[AnyConfig], content: dict[str, Any], where: str = "") -> AnyConfig:
    """Returns a `model` made from `content`. Raises pydantic's first error as a one-line UserError."""
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise UserError(where + _explain(model, content, error)) from error


def _explain(model: type[Config], content: dict[str, Any], error: ValidationError) -> str:
    first = error.errors()[0]
    loc = [str(part) for part in first["loc"]]
    key, came = ".".join(loc), first["input"]
    match first["type"]:
        case "extra_forbidden":
            return str(unknown("key", key, _keys(model, content, loc[:-1])))
        case "missing":
            return f"{key} is missing; add {key}=…"
        case "value_error":
            return first["msg"].removeprefix("Value error, ")
        case "literal_error":
            return str(unknown(key, came, _allowed(_annotation(model, loc))))
        case "model_type":
            return f"{key}: came {came!r}; set one of: {', '.join(_keys(model, {}, loc))}"
    allowed = first["msg"].replace("Input should", "must").replace("String should", "must")
    allowed = allowed.replace("valid boolean", "boolean: true or false")
    return f"{key}: came {came!r}, {allowed[:1].lower()}{allowed[1:]}"


def _allowed(annotation: Any) -> list[str]:
    """Returns the values of a Literal, and "null" if it may be None."""
    parts = [word for part in get_args(annotation) for word in get_args(part) or [part]]
    return ["null" if part is type(None) else part for part in parts]


def _annotation(model: type[Config], loc: list[str]) -> Any:
    """Returns the annotation of the field at `loc`, such as ["size", "layers"]."""
    annotation: Any = model
    for part in loc:
        # The last argument of a list's or mapping's annotation is the type of its elements or values.
        inner = is_config(annotation)
        annotation = annotation.model_fields[part].annotation if inner else get_args(annotation)[-1]
    return annotation


def _keys(model: type[Config], content: dict[str, Any], parents: list[str]) -> list[str]:
    """Returns the dotted keys allowed beside an unknown one, with those inside a free mapping."""
    inner = _annotation(model, parents)
    for part in parents:
        content = content.get(part, {})
    keys = []
    for name in inner.model_fields:
        keys.append(".".join([*parents, name]))
        value = content.get(name)
        if isinstance(value, dict) and not is_config(inner.model_fields[name].annotation):
            keys.extend(".".join([*parents, name, option]) for option in value)
    return keys


def flatten(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Returns nested dicts as one dict with dotted keys. An empty dict stays a value."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict) and value:
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat
