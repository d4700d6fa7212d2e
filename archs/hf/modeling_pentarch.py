"""A family as a Hugging Face model, for families that no native class computes.

`to_hf` copies this file, and the files of archs that it imports, beside the weights. Then
`AutoModel….from_pretrained(folder, trust_remote_code=True)` needs torch, einops and transformers only.
"""

from __future__ import annotations

from typing import Any

import torch
from einops import rearrange, repeat
from torch import Tensor
from torch.nn import functional
from transformers import GenerationMixin, PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutput, MaskedLMOutput, Seq2SeqLMOutput

from archs.batch import Batch
from archs.config import CoreConfig
from archs.families.named import FAMILIES
from archs.families.steps import longer
from archs.hf.generation_options import (
    PROMPT,
    SOURCE,
    decoding,
    new_tokens,
    padded,
    settings,
    start_token,
)

IGNORED = -100  # the label of a cell without a target


class PentarchConfig(PreTrainedConfig):
    """The config of an exported family. family: its name; core: the arguments of its CoreConfig."""

    model_type = "pentarch"

    def __init__(self, family: str = "decoder_ar", core: dict[str, Any] | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.family, self.core = family, core or {}
        self.is_encoder_decoder = family == "encoder_decoder"
        self.vocab_size = self.core.get("vocabulary")
        self.hidden_size = self.core.get("width")
        self.num_hidden_layers = self.core.get("layers")


class PentarchModel(PreTrainedModel):
    """The base class of the three models, which holds the family."""

    config_class = PentarchConfig
    base_model_prefix = "family"

    def __init__(self, config: PentarchConfig) -> None:
        super().__init__(config)
        core = CoreConfig(**config.core)
        self.family = FAMILIES[config.family](core)
        self._tied_weights_keys = shared_weights(self)
        self.post_init()

    def get_expanded_tied_weights_keys(self, all_submodels: bool = False) -> dict[str, str]:
        """Stacks may share weights while the head has its own, which `tie_word_embeddings` cannot express."""
        return dict(self._tied_weights_keys)

    def _init_weights(self, module: torch.nn.Module) -> None:
        """Does nothing: the family has initialised its weights."""

    def get_input_embeddings(self) -> torch.nn.Module:
        return self.family.embedding

    def get_output_embeddings(self) -> torch.nn.Module:
        return self.family.head

    def _logits(self, batch: Batch) -> Tensor:
        return self.family.logits(self.family.hidden(batch).rows)


class PentarchForMaskedLM(PentarchModel):
    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        labels: Tensor | None = None,
        num_items_in_batch: Tensor | int | None = None,
        **rest: Any,
    ) -> MaskedLMOutput:
        """input_ids (B,T) -> logits (B,T,V), and the mean loss over labels (B,T) other than -100.

        With num_items_in_batch, which Trainer gives, the loss is the sum divided by that number; so it is in
        the other two models. Raises ValueError, as they do, for inputs and outputs that are not named here.
        """
        refuse_rest(self.config, rest)
        segments, types = segments_of(attention_mask), types_of(self.family.config, token_type_ids)
        logits = self._logits(Batch.of(input_ids, segments=segments, token_types=types))
        return MaskedLMOutput(loss=loss_of(logits, labels, num_items_in_batch), logits=logits)


class PentarchForCausalLM(PentarchModel, GenerationMixin):
    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        prefix_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        labels: Tensor | None = None,
        num_items_in_batch: Tensor | int | None = None,
        **rest: Any,
    ) -> CausalLMOutput:
        """input_ids (B,T) -> logits (B,T,V) of the *next* token; labels are the input_ids, shifted here.

        prefix_mask (B,T): cells that a prefix LM reads in both directions. A permuted LM predicts from left
        to right.
        """
        refuse_rest(self.config, rest)
        is_prefix = prefix_of(self.config, prefix_mask)
        segments, types = segments_of(attention_mask), types_of(self.family.config, token_type_ids)
        if self.family.layout == "permuted":
            logits = self._next_in_order(input_ids, segments, types)
        else:
            logits = self._logits(
                Batch.of(input_ids, segments=segments, is_prefix=is_prefix, token_types=types)
            )
        if labels is not None:
            labels = functional.pad(labels, (0, 1), value=IGNORED)[:, 1:]
        return CausalLMOutput(loss=loss_of(logits, labels, num_items_in_batch), logits=logits)

    def _next_in_order(self, tokens: Tensor, segments: Tensor | None, types: Tensor | None) -> Tensor:
        """Logits (B,T,V) of the query row of each next position, which sees the tokens before it."""
        B, T = tokens.shape
        columns = repeat(torch.arange(T + 1, device=tokens.device), "t -> b t", b=B)
        if segments is not None:
            real = functional.pad(segments >= 0, (0, 1))
            # The position after the last token is predicted too.
            after = real.cumsum(dim=1) == real.sum(dim=1, keepdim=True)
            segments = functional.pad(segments, (0, 1)).masked_fill(after, 0)
        whole = functional.pad(tokens, (0, 1))
        weights, order = (columns > 0).float(), {"rank": columns + 1, "queries": columns[:, 1:]}
        batch = Batch.of(whole, None, weights, segments=segments, token_types=longer(types, 1), **order)
        logits = self.family.logits(self.family.hidden(batch).targets[: B * T])
        return rearrange(logits, "(b t) v -> b t v", b=B)

    @torch.no_grad()
    def generate(  # pyright: ignore[reportIncompatibleMethodOverride] - takes what this decoder has
        self, inputs: Tensor | None = None, generation_config: Any = None, **kwargs: Any
    ) -> Tensor:
        """Continues input_ids (B,T), padded on the left, by the family's own decoder: (B,T + new tokens).

        prefix_mask (B,T): cells that a prefix LM reads in both directions, the whole prompt if not given. A
        permuted LM always reads the whole prompt so. token_type_ids (B,T): new tokens get the type of the
        last token.

        Options: max_new_tokens or max_length, do_sample, temperature, top_k, top_p, num_beams,
        length_penalty, eos_token_id and pad_token_id. Raises ValueError for others.
        """
        config, rest = settings(generation_config or self.generation_config, kwargs, PROMPT)
        tokens = rest.get("input_ids", inputs)
        if tokens is None:
            raise ValueError("generate needs input_ids")
        segments = segments_of(rest.get("attention_mask"))
        is_prefix = prefix_of(self.config, rest.get("prefix_mask"))
        types = types_of(self.family.config, rest.get("token_type_ids"))
        length = new_tokens(config, tokens.shape[1])
        if self.family.layout == "permuted":
            batch = with_blanks(tokens, segments, types, length)
        else:
            is_prefix = torch.ones_like(tokens).bool() if is_prefix is None else is_prefix
            batch = Batch.of(tokens, segments=segments, is_prefix=is_prefix, token_types=types)
        written = self.family.generate(batch, length, decoding(config))
        return torch.cat((tokens, padded(written, config)), dim=1)


class PentarchForSeq2SeqLM(PentarchModel, GenerationMixin):
    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        decoder_input_ids: Tensor | None = None,
        decoder_attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
        num_items_in_batch: Tensor | int | None = None,
        **rest: Any,
    ) -> Seq2SeqLMOutput:
        """input_ids (B,S), decoder_input_ids (B,T) -> logits (B,T,V) of the next token; labels (B,T)."""
        refuse_rest(self.config, rest)
        if decoder_input_ids is None:
            if labels is None:
                raise ValueError("give decoder_input_ids, or labels to make them from")
            started = functional.pad(labels, (1, -1), value=start_token(self.config))
            decoder_input_ids = started.masked_fill(started == IGNORED, self.config.pad_token_id or 0)
        segments, source_segments = segments_of(decoder_attention_mask), segments_of(attention_mask)
        logits = self._logits(
            Batch.of(decoder_input_ids, segments=segments, source=input_ids, source_segments=source_segments)
        )
        return Seq2SeqLMOutput(loss=loss_of(logits, labels, num_items_in_batch), logits=logits)

    @torch.no_grad()
    def generate(  # pyright: ignore[reportIncompatibleMethodOverride] - takes what this decoder has
        self, inputs: Tensor | None = None, generation_config: Any = None, **kwargs: Any
    ) -> Tensor:
        """input_ids (B,S) -> the start token and the decoder's tokens. Options as in the causal model."""
        config, rest = settings(generation_config or self.generation_config, kwargs, SOURCE)
        source = rest.get("input_ids", inputs)
        if source is None:
            raise ValueError("generate needs input_ids")
        start = rest.get("decoder_input_ids")
        if start is None:
            start = source.new_full((len(source), 1), start_token(self.config))
        batch = Batch.of(start, source=source, source_segments=segments_of(rest.get("attention_mask")))
        written = self.family.generate(batch, new_tokens(config, start.shape[1]), decoding(config))
        return torch.cat((start, padded(written, config)), dim=1)


CLASSES: dict[str, type[PentarchModel]] = {
    "encoder_ae": PentarchForMaskedLM,
    "decoder_ar": PentarchForCausalLM,
    "prefix_lm": PentarchForCausalLM,
    "permuted_lm": PentarchForCausalLM,
    "encoder_decoder": PentarchForSeq2SeqLM,
}
AUTO_CLASSES: dict[type[PentarchModel], str] = {
    PentarchForMaskedLM: "AutoModelForMaskedLM",
    PentarchForCausalLM: "AutoModelForCausalLM",
    PentarchForSeq2SeqLM: "AutoModelForSeq2SeqLM",
}


def shared_weights(module: torch.nn.Module) -> dict[str, str]:
    """For weights with several names: each further name, with the first one."""
    first: dict[int, str] = {}
    named = module.named_parameters(remove_duplicate=False)
    return {name: other for name, p in named if (other := first.setdefault(id(p), name)) != name}


def segments_of(attention_mask: Tensor | None) -> Tensor | None:
    """Segments (B,T): 0 for tokens, -1 for padding; None if there is no padding."""
    if attention_mask is None or bool(attention_mask.all()):
        return None
    return attention_mask.long() - 1


def types_of(core: CoreConfig, token_type_ids: Tensor | None) -> Tensor | None:
    """The types (B,T), None if all are 0. Raises ValueError for a type that the core does not have."""
    if token_type_ids is None or not bool(token_type_ids.any()):
        return None
    if core.positions != "transformer_xl" and int(token_type_ids.max()) >= core.token_types:
        raise ValueError(
            f"token_type_ids has type {int(token_type_ids.max())}, this model has {core.token_types} types; "
            "leave token_type_ids out"
        )
    return token_type_ids


def prefix_of(config: Any, prefix_mask: Tensor | None) -> Tensor | None:
    if prefix_mask is not None and config.family != "prefix_lm":
        raise ValueError(f"prefix_mask is for a prefix_lm, this is a {config.family}; leave it out")
    return None if prefix_mask is None else prefix_mask.bool()


# Inputs that are accepted and change no logit, since there is no cache.
WITHOUT_EFFECT = {"use_cache", "cache_position"}
OUTPUTS = {"output_hidden_states": False, "output_attentions": False, "return_dict": True}


def refuse_rest(config: Any, rest: dict[str, Any]) -> None:
    """Raises ValueError for inputs that are not read, and for outputs that are not supported."""
    given = {name: getattr(config, name, None) for name in OUTPUTS}
    given |= {name: value for name, value in rest.items() if value is not None and name not in WITHOUT_EFFECT}
    refused = sorted(
        name for name, value in given.items() if value is not None and value is not OUTPUTS.get(name)
    )
    if refused:
        raise ValueError(
            f"{config.family} does not take {', '.join(refused)}: it reads the whole text, "
            "counts positions itself, and gives loss and logits by name"
        )


def with_blanks(tokens: Tensor, segments: Tensor | None, types: Tensor | None, length: int) -> Batch:
    """A permuted LM's prompt: the tokens (B,T), then `length` blanks."""
    whole = functional.pad(tokens, (0, length))
    weights = functional.pad(torch.zeros(tokens.shape, device=tokens.device), (0, length), value=1.0)
    if segments is not None:
        segments = functional.pad(segments, (0, length))
    return Batch.of(whole, weights=weights, segments=segments, token_types=longer(types, length))


def loss_of(logits: Tensor, labels: Tensor | None, count: Tensor | int | None) -> Tensor | None:
    """The mean loss over the labels; with count, their sum / count: the labels of all accumulated steps."""
    if labels is None:
        return None
    how = {"ignore_index": IGNORED, "reduction": "mean" if count is None else "sum"}
    loss = functional.cross_entropy(rearrange(logits, "b t v -> (b t) v"), labels.flatten(), **how)
    return loss if count is None else loss / count
