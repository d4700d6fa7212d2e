"""What each Hugging Face architecture's file says about it."""

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
    """A Hugging Face architecture that the core can be.

    model_type: its config's; architecture: the class with the language-model head; family: which of the five
    it is; left_out: how the names of weights begin (regular expressions) that stand beside the language
    model, such as poolers, and are not taken;
    counts: where Hugging Face takes the absolute positions of padded rows from: from position_ids, from where
    the padding is, or from the slots of the row, padding counted.
    `config` here is always Hugging Face's, `core` ours.
    """

    model_type: ClassVar[str]
    architecture: ClassVar[str]
    family: ClassVar[type[Family]]
    left_out: ClassVar[tuple[str, ...]] = ()
    counts: ClassVar[Literal["position_ids", "padding", "slots"]] = "padding"

    @abstractmethod
    def core(self, config: Any, tied: bool) -> CoreConfig:
        """The core that computes the same. Raises UserError for options that it does not have."""

    @abstractmethod
    def config(self, core: CoreConfig, tokens: dict[str, int]) -> dict[str, Any]:
        """The keyword arguments of a config whose `core` is this one, where there is such a config.

        tokens: ids by role (pad_token_id, bos_token_id, eos_token_id, …), those of the tokenizer.
        """

    @abstractmethod
    def links(self, config: Any) -> list[Link]:
        """Which weights are which."""


def only(config: Any, **supported: Any) -> None:
    """Raises UserError if an option of the config is another than the one supported."""
    for name, value in supported.items():
        came = getattr(config, name, value)
        if came != value:
            raise UserError(f"{config.model_type} config has {name}={came!r}; supported is {value!r}")


def activation(config: Any, name: str, gated: bool = False) -> Activation:
    """Our name of the activation in this field of the config. Raises UserError for others."""
    table, came = GATED if gated else PLAIN, getattr(config, name)
    if came not in table:
        raise UserError(f"{config.model_type} config has {name}='{came}'; supported are {', '.join(table)}")
    return table[came]


def their_activation(core: CoreConfig) -> str:
    """Their first name of the core's activation, gated or not."""
    return next(name for name, ours in (*PLAIN.items(), *GATED.items()) if ours == core.activation)
