"""The base class of the supported Hugging Face architectures, one file each."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Literal

from archs.config import Activation, CoreConfig
from archs.errors import UserError
from archs.families.family import Family
from archs.hf.weights import Link

PLAIN: dict[str, Activation] = {
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
}
GATED: dict[str, Activation] = {
    "gelu": "geglu",
    "gelu_new": "geglu_tanh",
    "gelu_pytorch_tanh": "geglu_tanh",
    "silu": "swiglu",
}


class Reference(ABC):
    """A Hugging Face architecture that the core can compute.

    model_type: of its config. architecture: name of the class with the language-model head. family: the class
    of the family that computes it. left_out: regular expressions of the names of weights that are not part
    of the language model, such as poolers; they are ignored. counts: how Hugging Face counts the absolute
    positions of padded rows: from position_ids, from the padding, or as slots of the row with padding.
    `config` is always Hugging Face's here, `core` ours.
    """

    model_type: ClassVar[str]
    architecture: ClassVar[str]
    family: ClassVar[type[Family]]
    left_out: ClassVar[tuple[str, ...]] = ()
    counts: ClassVar[Literal["position_ids", "padding", "slots"]] = "padding"

    @abstractmethod
    def core(self, config: Any, tied: bool) -> CoreConfig:
        """The core that computes the same. Raises UserError for options that the core does not have."""

    @abstractmethod
    def config(self, core: CoreConfig, tokens: dict[str, int]) -> dict[str, Any]:
        """Keyword arguments of a config for this core, if the architecture can compute it.

        tokens: the tokenizer's ids by role (pad_token_id, bos_token_id, eos_token_id, …).
        """

    @abstractmethod
    def links(self, config: Any) -> list[Link]:
        """The links between our weights and theirs."""


def only(config: Any, **supported: Any) -> None:
    """Raises UserError if an option of the config has another value than the supported one."""
    for name, value in supported.items():
        came = getattr(config, name, value)
        if came != value:
            raise UserError(f"{config.model_type} config has {name}={came!r}; supported is {value!r}")


def activation(config: Any, name: str, gated: bool = False) -> Activation:
    """Our name of the activation in the config's field `name`. Raises UserError for an unsupported one."""
    table, came = GATED if gated else PLAIN, getattr(config, name)
    if came not in table:
        raise UserError(f"{config.model_type} config has {name}='{came}'; supported are {', '.join(table)}")
    return table[came]


def their_activation(core: CoreConfig) -> str:
    """Hugging Face's name of the core's activation, gated or not; the first one if it has several."""
    return next(name for name, ours in (*PLAIN.items(), *GATED.items()) if ours == core.activation)
