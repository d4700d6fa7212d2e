"""The core is the reference model when configured so, and what compares them would notice if it were not."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from references import NAMES, made
from torch import Tensor

from archs import Family
from archs.batch import Batch
from archs.hf import from_hf, parity
from archs.hf.cases import build
from archs.hf.load import from_hf as real_from_hf
from archs.hf.parity import compare
from archs.hf.references import REFERENCES
from archs.hf.samples import PADDING, hidden_by, mapping, sample_for, sees_something

LIMIT = 1e-4

# More than stands in the table: edges of the options.
EDGES: list[tuple[str, dict[str, Any]]] = [
    ("bert", {"num_attention_heads": 1, "type_vocab_size": 3, "hidden_act": "gelu_new"}),
    ("bert", {"num_hidden_layers": 1, "hidden_size": 7, "num_attention_heads": 7}),
    ("roberta", {"pad_token_id": 4}),
    ("gpt2", {"n_head": 1, "n_layer": 1, "activation_function": "gelu_pytorch_tanh"}),
    ("t5", {"relative_attention_num_buckets": 32, "relative_attention_max_distance": 128}),
    ("t5", {"relative_attention_num_buckets": 4, "relative_attention_max_distance": 3}),
    ("t5", {"num_layers": 3, "num_decoder_layers": 1, "feed_forward_proj": "gelu"}),
    ("t5", {"feed_forward_proj": "gated-silu", "d_kv": 10}),
    ("bart", {"activation_function": "relu", "pad_token_id": 5}),
    ("xlnet", {"n_head": 5, "d_model": 20, "pad_token_id": 60}),
    ("albert", {"embedding_size": 30, "hidden_act": "gelu_new"}),
    ("albert", {"num_hidden_layers": 1}),
    ("electra", {"embedding_size": 31}),
    ("llama", {"num_key_value_heads": 1, "rms_norm_eps": 1e-3, "pad_token_id": None}),
    ("llama", {"num_key_value_heads": 6, "num_hidden_layers": 1}),
    ("modernbert", {"local_attention": 7}),
    ("modernbert", {"local_attention": 2, "num_hidden_layers": 7, "decoder_bias": False}),
    ("modernbert", {"layer_types": ["sliding_attention"] * 5}),
    ("modernbert", {"layer_types": ["full_attention"] * 5, "tie_word_embeddings": False}),
]


def check(found: parity.Differences) -> None:
    assert found.logits < LIMIT
    assert found.hidden < LIMIT
    assert found.gradients < LIMIT * found.largest_gradient
    assert found.largest_logit > 0.5  # not equal for being nothing


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("name", NAMES)
def test_logits_hidden_states_and_gradients_agree(name: str, seed: int) -> None:
    check(compare(build(*NAMES[name], seed=seed), seed))


@pytest.mark.parametrize(("model_type", "changes"), EDGES)
def test_the_edges_of_the_options_agree_too(model_type: str, changes: dict[str, Any]) -> None:
    check(compare(made(model_type, **changes)))


def test_a_sample_is_padded_on_either_side() -> None:
    assert any(left for left, _ in PADDING)
    assert any(right for _, right in PADDING)
    model = made("t5")
    sample = sample_for(from_hf(model), model.config, torch.Generator().manual_seed(0))
    for mask in (sample.theirs["attention_mask"], sample.theirs["decoder_attention_mask"]):
        assert mask[1, :3].sum() == 0
        assert mask[2, -4:].sum() == 0
        assert mask[0].all()


def kinds(family: Family) -> dict[str, str]:
    """One weight's name of each kind, the last layer's where several layers have it."""
    return {re.sub(r"\d+", "N", name): name for name, _ in family.named_parameters()}


@pytest.fixture
def damage(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Callable[[Tensor], None]], None]:
    """Makes what `compare` imports differ from the model in one weight."""

    def arm(name: str, change: Callable[[Tensor], None]) -> None:
        def damaged(model: Any) -> Family:
            family = real_from_hf(model)
            with torch.no_grad():
                change(dict(family.named_parameters())[name])
            return family

        monkeypatch.setattr(parity, "from_hf", damaged)

    return arm


def noise(weight: Tensor) -> None:
    weight.add_(torch.randn(weight.shape, generator=torch.Generator().manual_seed(0)) * 0.1)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_one_wrong_weight_of_any_kind_is_noticed(name: str, damage: Any) -> None:
    model = build(*NAMES[name])
    for kind, weight in kinds(from_hf(model)).items():
        damage(weight, noise)
        found = compare(model)
        assert found.logits > 20 * LIMIT, kind
        assert found.gradients > LIMIT * found.largest_gradient, kind


def test_what_is_not_a_number_is_no_agreement(damage: Any) -> None:
    damage("stack.blocks.1.ffn.down.bias", lambda weight: weight.fill_(float("nan")))
    found = compare(made("bert"))  # the first layer agrees
    assert not any(each < LIMIT for each in (found.logits, found.hidden, found.gradients))


def test_a_target_that_sees_nothing_attends_to_itself_in_hugging_face_s_xlnet_and_not_here() -> None:
    model, rank = made("xlnet"), torch.tensor([[1, 2, 3, 4]])
    family, tokens = from_hf(model), torch.tensor([[11, 12, 13, 14]])
    other = torch.tensor([[51, 12, 13, 14]])
    queries = torch.tensor([[0, 1, 2, 3]])
    theirs = {"perm_mask": hidden_by(rank), "target_mapping": mapping(queries, 4)}

    def ours(tokens: Tensor) -> Tensor:
        batch = Batch.of(tokens, None, torch.ones(1, 4), rank=rank, queries=queries)
        return family.logits(family.hidden(batch).targets)[:4]

    with torch.no_grad():
        moved = model(tokens, **theirs).logits[0] - model(other, **theirs).logits[0]
        assert moved[0].abs().max() > 0.1  # its own token, which it is to predict
        assert torch.equal(ours(tokens)[0], ours(other)[0])
        difference = (ours(tokens) - model(tokens, **theirs).logits[0]).abs().amax(1)
    assert difference[0] > 0.1
    assert difference[1:].max() < LIMIT
    assert sees_something(rank, torch.ones(1, 4).bool()).tolist() == [[False, True, True, True]]


def test_compare_leaves_out_the_row_that_sees_nothing_and_no_other() -> None:
    model = made("xlnet")
    for seed in range(5):
        batch = sample_for(from_hf(model), model.config, torch.Generator().manual_seed(seed)).batch
        assert batch.rank is not None
        asked, compared = batch.rank > 0, batch.weights > 0
        assert (asked & ~compared).sum(1).tolist() == [0, 0, 1]  # all of the last row is asked
        assert batch.rank[asked & ~compared].tolist() == [1]
        assert not (compared & ~asked).any()


@pytest.mark.parametrize("seed", range(5))
def test_xlnet_agrees_for_any_ranks(seed: int) -> None:
    rng = torch.Generator().manual_seed(seed)
    T, model = 9, made("xlnet", seed)
    family, tokens = from_hf(model), torch.randint(3, 61, (4, T), generator=rng)
    order = torch.stack([torch.randperm(3 * T, generator=rng)[:T] + 1 for _ in tokens])  # with gaps
    rank = order.masked_fill(torch.rand(order.shape, generator=rng) < 0.3, 0)
    segments = torch.tensor([[0] * T, [-1] * 3 + [0] * 6, [0] * 5 + [-1] * 4, [0] * T])
    real = segments >= 0
    rank = rank.masked_fill(~real, 0)
    queries = torch.arange(T).expand(4, T).masked_fill(rank == 0, -1)
    weights = ((rank > 0) & sees_something(rank, real)).float()
    batch = Batch.of(tokens, None, weights, segments=segments, rank=rank, queries=queries)
    with torch.no_grad():
        out = model(
            tokens,
            attention_mask=real.float(),
            perm_mask=hidden_by(rank),
            target_mapping=mapping(queries, T),
        )
        logits = family.logits(family.hidden(batch).targets)[: batch.supervised]
    assert batch.supervised > 10
    assert (logits - out.logits[weights > 0]).abs().max() < LIMIT


def test_there_is_a_case_for_every_architecture() -> None:
    assert {model_type for model_type, _ in NAMES.values()} == set(REFERENCES)
