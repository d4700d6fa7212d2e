"""Claims: the statements that a sweep is to test, written down and hashed before anything is trained.

A claim is one file of `configs/claims/`. Its contrasts name arms of the sweep. Its endpoints are those of
`evidence/claims/endpoints.py`, or standard tasks. Nothing here needs torch, so a mistake in a claim is
reported at once.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from archs.errors import UserError, unknown
from experiments.evidence.claims.endpoints import endpoint_of
from experiments.recipe.config import Config, validated
from experiments.recipe.presets import configs_dir, read_yaml

Kind = Literal["superiority", "equivalence", "ordering", "conjunction", "relabelling"]
Role = Literal["claim", "control"]
Contrast = dict[str, float]  # arm: weight; positive is in favour of the statement
FOLDER = "claims"
CONTROLS = "controls"  # the key of a sweep that names its controls
ALL = "all"  # stands for every claim
ALPHA = 0.05  # the level of a sweep's confirmatory claims together, and of each control
CONFIRMATORY = 6  # claims at most: with Holm's correction for more, eight paired seeds can decide nothing


class Published(Config):
    """What was published about the claim.

    effect: in `unit`; None if only a direction was published. comparable: whether `unit` is the endpoint's
    own, so that the effect may be drawn on its axis. scale: of the published models, as `220M parameters, 34G
    tokens`.
    """

    effect: float | None = None
    unit: str = ""
    source: str
    comparable: bool = False
    scale: str = ""

    @model_validator(mode="after")
    def _has_a_unit(self) -> Published:
        if self.effect is not None and not self.unit:
            raise ValueError("published.effect needs published.unit, the unit it was published in")
        if self.comparable and self.effect is None:
            raise ValueError("published.comparable speaks of published.effect, which is missing")
        if self.comparable and self.effect == 0:
            raise ValueError("published.effect: 0 is no effect to be seen; leave published.comparable out")
        return self


@dataclass(frozen=True)
class Part:
    """One contrast on one endpoint. A claim holds if all its parts do."""

    contrast: Contrast
    endpoint: str

    @property
    def text(self) -> str:
        """The contrast in words: `sop - nsp`, `0.5 x double - shared + 0.5 x prefix`."""
        words = ""
        for arm, weight in self.contrast.items():
            sign = ("- " if weight < 0 else "") if not words else (" - " if weight < 0 else " + ")
            size = "" if abs(weight) == 1 else f"{abs(weight):g} x "
            words += f"{sign}{size}{arm}"
        return words


class Claim(Config):
    """A statement that a sweep can support or contradict.

    kind:
        superiority   one contrast is above zero on one endpoint
        equivalence   one contrast is within ±`margin`, in the endpoint's unit
        conjunction   every contrast is above zero on every endpoint
        ordering      each arm of `order`, {endpoint: arms, best first}, beats the next
        relabelling   a control (A/A): `arm` with twice the seeds, split at random 200 times into two halves,
                      gives a verdict at most one time in twenty
    role: a control is run first and must hold before any verdict is given.
    published: what was found elsewhere. expect: the effect expected here, in words.
    """

    statement: str
    kind: Kind
    role: Role = "claim"
    contrasts: list[Contrast] = Field(default_factory=list)
    endpoints: list[str] = Field(default_factory=list)
    order: dict[str, list[str]] = Field(default_factory=dict)
    arm: str | None = None
    margin: Annotated[float, Field(gt=0)] | None = None
    published: Published
    expect: str

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Claim:
        if self.kind == "equivalence" and self.margin is None:
            raise ValueError(
                "an equivalence needs a margin, fixed before the run: add margin: 0.5, in the endpoint's unit"
            )
        if self.kind != "equivalence" and self.margin is not None:
            raise ValueError(f"a margin is for kind: equivalence; came with kind: {self.kind}, leave it out")
        wanted = {"ordering": "order", "relabelling": "arm"}.get(self.kind, "contrasts")
        for name in ("order", "arm", "contrasts"):
            if bool(getattr(self, name)) != (name == wanted):
                raise ValueError(f"kind: {self.kind} needs '{wanted}' and no other of order, arm, contrasts")
        if bool(self.endpoints) == (self.kind == "ordering"):
            raise ValueError("endpoints: are listed; an ordering has them in its order instead")
        if self.kind in ("superiority", "equivalence") and len(self.contrasts) * len(self.endpoints) != 1:
            raise ValueError(f"kind: {self.kind} is one contrast on one endpoint; several are a conjunction")
        if self.kind == "relabelling" and (len(self.endpoints) != 1 or self.role != "control"):
            raise ValueError("kind: relabelling is a control on one endpoint; add role: control")
        if self.published.comparable and len(self.asked) > 1:
            raise ValueError("published.comparable is for one endpoint, whose unit it is; here are several")
        if len(set(self.asked)) < len(self.asked):
            raise ValueError(f"endpoints: {self.asked} names one twice; list each once")
        for name in (*self.endpoints, *self.order):
            endpoint_of(name)
        for contrast in self.contrasts:
            if abs(sum(contrast.values())) > 1e-9 or not any(contrast.values()):
                raise ValueError(
                    f"the weights of a contrast add up to 0, as {{new: 1, old: -1}}; came {contrast}"
                )
        for arms in self.order.values():
            if len(arms) < 2 or len(set(arms)) < len(arms):
                raise ValueError(f"an order is of two or more different arms, best first; came {arms}")
        return self

    @property
    def parts(self) -> list[Part]:
        """The parts that must each hold; none for a relabelling."""
        if self.kind == "ordering":
            return [
                Part({better: 1.0, worse: -1.0}, endpoint)
                for endpoint, arms in self.order.items()
                for better, worse in pairwise(arms)
            ]
        return [Part(contrast, endpoint) for contrast in self.contrasts for endpoint in self.endpoints]

    @property
    def asked(self) -> list[str]:
        """All its endpoints."""
        return [*self.endpoints, *self.order]

    @property
    def arms(self) -> list[str]:
        """The arms it needs, in the order in which it names them."""
        named = [arm for arms in (*self.contrasts, *self.order.values()) for arm in arms]
        return list(dict.fromkeys([*named, *([self.arm] if self.arm else [])]))

    def digest(self) -> str:
        """Returns 16 hex digits that change with any field."""
        content = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()[:16]


def read_claims(named: dict[str, Any], config_dir: Path | None = None) -> dict[str, Claim]:
    """Returns {name: claim}, controls first, in the order of `named`; `all` stands for every claim.

    named: {role: a name or a list of names}. If no claim is named, no control is read. Raises UserError for
    an unknown name, for a file that is not a valid claim, for a claim named as a control, and for a control
    that is named in both lists.
    """
    lists = {role: names if isinstance(names, list) else [names] for role, names in named.items()}
    if not lists["claim"]:
        return {}
    folders = [configs_dir(), *([] if config_dir is None else [config_dir])]
    files = {file.stem: file for folder in folders for file in (folder / FOLDER).glob("*.yaml")}
    every = {name: validated(Claim, read_yaml(file), f"{file}: ") for name, file in files.items()}
    chosen: dict[str, Claim] = {}
    for role, names in lists.items():
        of_role = sorted((name for name, claim in every.items() if claim.role == role), key=_number)
        # A control may be listed among the claims: it is then reported as one, and no verdict depends on it.
        testable = sorted((name for name, claim in every.items() if claim.parts), key=_number)
        allowed = of_role if role == "control" else testable
        for name in [name for given in names for name in (of_role if given == ALL else [given])]:
            if name not in allowed:
                raise unknown(role, str(name), [*allowed, ALL])
            if name in chosen and chosen[name].role == role:
                raise UserError(f"{role} '{name}' is named twice; list each once, and {ALL} alone")
            if name in chosen:
                raise UserError(f"'{name}' is among the controls and the claims; leave it out of one")
            chosen[name] = every[name].model_copy(update={"role": role})
    return chosen


def _number(name: str) -> tuple[int, str]:
    """Returns a sort key that puts C2 before C10."""
    return int("".join(re.findall("[0-9]", name)) or 0), name


def check_arms(claims: dict[str, Claim], arms: Iterable[str]) -> None:
    """Raises UserError if a claim names an arm that the sweep does not have."""
    arms = list(arms)
    for name, claim in claims.items():
        for arm in claim.arms:
            if arm not in arms:
                raise UserError(f"claim '{name}': {unknown('arm', arm, arms)}")
