"""The configuration of a family: one frozen record of plain options."""

from __future__ import annotations

from dataclasses import dataclass
from types import UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from archs.errors import UserError, unknown

Positions = Literal["rope", "learned", "relative", "transformer_xl"]
Activation = Literal["gelu", "gelu_tanh", "relu", "swiglu", "geglu", "geglu_tanh"]
DROPOUTS = ("dropout", "attention_dropout")


@dataclass(frozen=True)
class CoreConfig:
    """The configuration of a family. Raises UserError for values that no family can have.

    Size
        vocabulary V, width D, heads H, ffn F (hidden units of the feed-forward layer); layers: depth of a
        single stack, or of an encoder-decoder's encoder; decoder_layers: depth of its decoder, None for
        single stacks; kv_heads: number of key heads (grouped heads), None = heads; max_length: number of
        learned positions (other schemes have no limit); attention_width: width of all heads together, None =
        width; embedding_width: width of ALBERT's factorised embeddings (Lan et al. 2020), None = width;
        shared_layers: all layers have one set of weights; shared_stacks: an encoder-decoder's stacks have one
        set of weights (`archs.families.encoder_decoder.share`).
    Positions
        rope (Su et al. 2021); learned; relative: T5's bias in `relative_buckets` buckets up to
        `relative_distance` (Raffel et al. 2020); transformer_xl (Dai et al. 2019), which also encodes whether
        two tokens have the same type (XLNet). token_types: number of absolute type embeddings (BERT).
    Local attention (ModernBERT)
        window: local layers see keys at most so many positions away, None = no layer is local; global_every:
        the layers 0, global_every, 2 global_every, … are global, None = no layer is; local_rope_base: None =
        rope_base.
    Layers
        norm, norm_bias (layer norm only), norm_eps, norm_order; embedding_norm: norms the embeddings, in
        pre-norm order in place of the first layer's attention norm; activation: swiglu, geglu and geglu_tanh
        are gated, with a third matrix (Shazeer 2020); attention_scaled: scores are divided by √(head width).
    Head
        tied: to the embeddings; head_transform: dense layer, activation and norm before it (BERT); head_bias;
        logit_scale: a factor on the head's input (T5: 1/√D).
    In training only (Srivastava et al. 2014)
        dropout: of embeddings and of each layer's additions to the residual stream; attention_dropout: of
        attention weights.
    """

    vocabulary: int
    layers: int
    width: int
    heads: int
    ffn: int
    max_length: int
    kv_heads: int | None = None
    decoder_layers: int | None = None
    attention_width: int | None = None
    embedding_width: int | None = None
    shared_layers: bool = False
    shared_stacks: bool = False
    positions: Positions = "rope"
    rope_base: float = 10_000.0
    relative_buckets: int = 32
    relative_distance: int = 128
    token_types: int = 0
    window: int | None = None
    global_every: int | None = None
    local_rope_base: float | None = None
    norm: Literal["rms", "layer"] = "rms"
    norm_bias: bool = True
    norm_eps: float = 1e-6
    norm_order: Literal["pre", "post"] = "pre"
    embedding_norm: bool = False
    activation: Activation = "gelu"
    attention_bias: bool = False
    ffn_bias: bool = False
    attention_scaled: bool = True
    tied: bool = True
    head_transform: bool = False
    head_bias: bool = False
    logit_scale: float = 1.0
    dropout: float = 0.0
    attention_dropout: float = 0.0

    def __post_init__(self) -> None:
        for name, hint in get_type_hints(type(self)).items():
            _check(name, getattr(self, name), hint)
        if (self.attention_width or self.width) % self.heads:
            what = "width" if self.attention_width is None else "attention_width"
            came = self.attention_width or self.width
            raise UserError(f"{what} {came} is not a multiple of heads {self.heads}; change one")
        if self.heads % self.key_heads:
            raise UserError(f"heads {self.heads} is not a multiple of kv_heads {self.kv_heads}; change one")
        if self.positions == "rope" and self.head_width % 2:
            raise UserError(f"rope needs an even head width, got {self.head_width}; change width or heads")
        if self.positions == "transformer_xl" and (self.width % 2 or self.key_heads != self.heads):
            raise UserError("positions transformer_xl needs an even width and as many kv_heads as heads")
        exact = self.relative_buckets // 2
        if self.positions == "relative" and (exact < 2 or self.relative_distance <= exact):
            raise UserError(
                f"relative_buckets {self.relative_buckets} with relative_distance {self.relative_distance}: "
                "give at least 4 buckets, and a distance above half their number"
            )
        if self.window is None and (self.global_every, self.local_rope_base) != (None, None):
            raise UserError("global_every and local_rope_base speak of local attention: give window too")

    @property
    def drops(self) -> bool:
        """Whether there is dropout, so that two passes in training mode differ."""
        return self.dropout > 0 or self.attention_dropout > 0

    @property
    def key_heads(self) -> int:
        return self.heads if self.kv_heads is None else self.kv_heads

    @property
    def head_width(self) -> int:
        return (self.attention_width or self.width) // self.heads

    @property
    def token_width(self) -> int:
        """Width E of the token embeddings and of the head's input."""
        return self.width if self.embedding_width is None else self.embedding_width

    @property
    def gated(self) -> bool:
        return self.activation in ("swiglu", "geglu", "geglu_tanh")

    def is_local(self, layer: int) -> bool:
        """Whether this layer, counted from 0, sees only keys within `window`."""
        return self.window is not None and (self.global_every is None or layer % self.global_every > 0)


def _check(name: str, value: Any, hint: Any) -> None:
    """Raises UserError for a word that is not allowed, and for a number out of range."""
    if isinstance(hint, UnionType):  # X | None
        if value is None:
            return
        hint = get_args(hint)[0]
    if get_origin(hint) is Literal and value not in get_args(hint):
        raise unknown(name, value, get_args(hint))
    least = 0 if name in ("token_types", *DROPOUTS) else 1 if hint is int else None
    if hint in (int, float) and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise UserError(f"{name}={value!r} is no number")
    if least is not None and value < least:
        raise UserError(f"{name}={value} is below {least}, the least allowed")
    if name in DROPOUTS and value >= 1:
        raise UserError(f"{name}={value} is not below 1")
    if hint is float and name not in DROPOUTS and value <= 0:
        raise UserError(f"{name}={value} is not above 0")
