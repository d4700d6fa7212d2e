"""The core and the five families on it: where they start, whether they learn, what they refuse."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from cores import CORES
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounter
from torch.nn import functional

from archs import FAMILIES, CoreConfig, build
from archs.batch import Batch
from archs.core.attention import TAKEN, prepare_to_compile
from archs.core.heads import Classifier
from archs.core.positions import _cos_sin_operator, rope, rotate
from archs.errors import UserError
from archs.families.decoder_ar import DecoderAR
from archs.families.family import Hidden
from archs.families.permuted_lm import PermutedLM
from archs.masks import Mask


@pytest.mark.parametrize("changes", CORES.values(), ids=CORES)
@pytest.mark.parametrize("kind", FAMILIES)
def test_the_loss_starts_near_the_logarithm_of_the_vocabulary(
    kind: str, changes: dict, make_family, make_batch, loss
) -> None:
    family = make_family(kind, vocabulary=512, width=64, **changes)
    with torch.no_grad():
        start = loss(family, make_batch(rows=8, length=33, vocabulary=512))
    assert start.item() == pytest.approx(math.log(512), rel=0.05)


@pytest.mark.slow
@pytest.mark.parametrize("kind", FAMILIES)
def test_a_family_overfits_one_small_batch(kind: str, make_family, make_batch, loss, layouts) -> None:
    family = make_family(kind, width=32, ffn=64).train()
    batch = make_batch(*layouts["padded"])
    optimiser = torch.optim.Adam(family.parameters(), lr=1e-2)
    for _ in range(120):
        optimiser.zero_grad()
        loss(family, batch).backward()
        optimiser.step()
    assert loss(family.eval(), batch) < 0.1


@pytest.mark.parametrize("changes", CORES.values(), ids=CORES)
@pytest.mark.parametrize("kind", FAMILIES)
def test_every_parameter_of_a_family_is_trained(
    kind: str, changes: dict, make_family, make_batch, loss
) -> None:
    family = make_family(kind, **changes)
    loss(family, make_batch()).backward()
    untrained = [name for name, part in family.named_parameters() if part.grad is None]
    assert not untrained, "several processes would wait for its gradient, also in a batch without token types"
    types = torch.arange(9).expand(2, 9) % 2  # Transformer-XL's kinds are learned where types differ
    loss(family, replace(make_batch(), token_types=types)).backward()
    for name, part in family.named_parameters():
        assert part.grad is not None, name
        assert part.grad.isfinite().all(), name
        assert part.grad.ne(0).any(), name


@pytest.mark.parametrize("kind", FAMILIES)
def test_hidden_states_at_targets_are_the_rows_at_the_target_index(
    kind: str, make_family, make_batch, layouts
) -> None:
    family, batch = make_family(kind), make_batch(*layouts["packed and padded"])
    hidden = family.hidden(batch)
    depth = family.config.decoder_layers or family.config.layers
    assert hidden.rows.shape == (2, 9, 16)
    assert hidden.targets.shape == (len(batch.target_index), 16)
    assert len(hidden.layers) == depth
    if kind != "permuted_lm":  # its targets are query rows
        real = batch.target_index[: batch.supervised]
        assert torch.equal(hidden.targets[: batch.supervised], hidden.rows.flatten(0, 1)[real])


@pytest.mark.slow
@pytest.mark.parametrize("kind", FAMILIES)
def test_a_family_compiles_once_into_one_graph(kind: str, make_family, make_batch, layouts) -> None:
    family, batch = make_family(kind), make_batch(*layouts["packed and padded"])
    TAKEN.clear()
    torch._dynamo.reset()
    counter = CompileCounter()
    prepare_to_compile()
    compiled = torch.compile(family.hidden, backend=counter, fullgraph=True)
    with warnings.catch_warnings(action="error"):
        targets = compiled(batch).targets
    assert TAKEN, "the backend is noted while tracing"
    TAKEN.add(("dense", "another family's mask", "cpu"))
    compiled(batch)
    assert counter.frame_count == 1
    torch.testing.assert_close(targets, family.hidden(batch).targets)
    torch._dynamo.reset()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"width": 15}, "width 15 is not a multiple of heads 2"),
        ({"heads": 4, "kv_heads": 3}, "heads 4 is not a multiple of kv_heads 3"),
        ({"width": 18, "heads": 2}, "rope needs an even head width, got 9"),
    ],
)
def test_a_shape_that_cannot_be_built_is_refused(changes: dict, message: str, make_family) -> None:
    with pytest.raises(ValueError, match=message):
        make_family("decoder_ar", **changes)


def test_learned_positions_need_no_even_head_width(make_family) -> None:
    assert make_family("decoder_ar", width=18, positions="learned").config.head_width == 9


def test_an_unknown_family_is_refused_with_the_nearest_name_first() -> None:
    with pytest.raises(UserError, match="unknown family 'prefixlm'; choose one of: prefix_lm, ") as refused:
        build("prefixlm", CoreConfig(50, 2, 16, 2, 32, 64))
    assert all(name in str(refused.value) for name in FAMILIES)
    assert "\n" not in str(refused.value)


def test_an_encoder_decoder_without_decoder_layers_is_refused() -> None:
    with pytest.raises(UserError, match=r"needs size\.decoder_layers"):
        build("encoder_decoder", CoreConfig(50, 2, 16, 2, 32, 64))


def test_shared_stacks_of_two_depths_are_refused(make_family) -> None:
    with pytest.raises(UserError, match="one depth: came layers=2 and decoder_layers=3"):
        make_family("encoder_decoder", decoder_layers=3, shared_stacks=True)


@pytest.mark.parametrize("made", [lambda family: family, copy.deepcopy, lambda family: family.double()])
@pytest.mark.parametrize("norm_order", ["pre", "post"])
def test_shared_stacks_have_one_set_of_weights_and_cross_attention_besides(
    norm_order: str, made, make_family
) -> None:
    changes = {"positions": "relative", "norm_order": norm_order}
    family = made(make_family("encoder_decoder", shared_stacks=True, **changes))
    single = made(make_family("encoder_ae", **changes))
    ids = {id(part) for part in family.encoder.parameters()}
    own = {name for name, part in family.decoder.named_parameters() if id(part) not in ids}
    assert len(ids) == len(list(single.stack.parameters()))
    assert {name for name in own if "cross" not in name} == {"bias.table.weight"}
    assert own == {
        "bias.table.weight",
        *(
            f"blocks.{number}.{name}.weight"
            for number in range(2)
            for name in ("cross_norm", "cross.query", "cross.key_value", "cross.out")
        ),
    }


@pytest.mark.parametrize("shared", [True, False])
def test_an_encoder_weight_that_changes_changes_the_decoder_of_shared_stacks(
    shared: bool, make_family
) -> None:
    family = make_family("encoder_decoder", shared_stacks=shared)
    tokens = torch.arange(6)[None]
    nothing_read = Batch.of(tokens, source=tokens[:, :0])
    with torch.no_grad():
        before = family.hidden(nothing_read).rows
        family.encoder.blocks[0].ffn.down.weight.mul_(3)
        after = family.hidden(nothing_read).rows
    assert torch.equal(before, after) is not shared


@pytest.mark.parametrize("kind", FAMILIES)
def test_a_tied_head_is_the_embedding_and_an_untied_one_is_not(kind: str, make_family) -> None:
    for family in (make_family(kind), copy.deepcopy(make_family(kind)), make_family(kind).double()):
        assert family.head.weight is family.embedding.weight
    untied = make_family(kind, tied=False)
    assert untied.head.weight is not untied.embedding.weight
    assert not torch.equal(untied.head.weight, untied.embedding.weight)


@pytest.mark.parametrize("kind", FAMILIES)
def test_dropout_acts_in_training_only(kind: str, make_family, make_batch, loss) -> None:
    family, batch = make_family(kind, dropout=0.5), make_batch()
    plain = make_family(kind)
    assert torch.equal(loss(family, batch), loss(family, batch))
    assert torch.equal(loss(family, batch), loss(plain, batch))
    family.train()
    drops = [part for part in family.modules() if isinstance(part, nn.Dropout)]
    for acting in ([drops[0]], drops[1:]):
        for drop in drops:
            drop.p = 0.5 if drop in acting else 0.0
        assert not torch.equal(loss(family, batch), loss(family, batch))


def shifted(batch: Batch, pad: int) -> Batch:
    """The same texts, `pad` cells of padding to their left."""

    def left(part: Tensor, value: float = 0) -> Tensor:
        return functional.pad(part, (pad, 0), value=value)

    assert batch.is_prefix is not None
    assert batch.queries is not None
    assert batch.rank is not None
    assert batch.source is not None
    return Batch.of(
        left(batch.tokens),
        left(batch.targets),
        left(batch.weights),
        segments=left(torch.zeros_like(batch.tokens), -1),
        source=left(batch.source),
        source_segments=left(torch.zeros_like(batch.source), -1),
        is_prefix=left(batch.is_prefix, False),
        rank=left(batch.rank),
        queries=torch.where(batch.queries >= 0, batch.queries + pad, -1),
    )


@pytest.mark.parametrize("positions", ["learned", "rope", "relative", "transformer_xl"])
@pytest.mark.parametrize("kind", FAMILIES)
def test_positions_are_ids_and_not_slots(kind: str, positions: str, make_family, make_batch, loss) -> None:
    family = make_family(kind, positions=positions, max_length=12)
    if positions == "learned":
        with torch.no_grad():
            family.placement.positions.weight.mul_(20)
    batch = make_batch(length=9, source_length=7)
    with torch.no_grad():
        here, there = family.hidden(batch), family.hidden(shifted(batch, 3))
        torch.testing.assert_close(there.rows[:, 3:], here.rows, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(loss(family, shifted(batch, 3)), loss(family, batch))
        moved = replace(batch, positions=batch.positions + torch.arange(9) % 2)
        assert not torch.allclose(family.hidden(moved).rows, here.rows, atol=1e-5)


@pytest.mark.parametrize("norm_order", ["pre", "post"])
@pytest.mark.parametrize("activation", ["gelu", "swiglu"])
def test_a_layer_is_attention_and_feed_forward_by_hand(activation: str, norm_order: str, make_family) -> None:
    changes = {"positions": "learned", "norm": "layer", "activation": activation, "norm_order": norm_order}
    family = make_family("decoder_ar", layers=1, heads=1, **changes)
    block, tokens = family.stack.blocks[0], torch.arange(5)[None]
    weight = block.attention.query_key_value.weight

    def attention(x: Tensor) -> Tensor:
        q, k, v = (x @ weight.T).split(16, dim=2)
        scores = (q @ k.transpose(1, 2) / 4).masked_fill(~torch.ones(5, 5).tril().bool(), float("-inf"))
        return scores.softmax(-1) @ v @ block.attention.out.weight.T

    def ffn(x: Tensor) -> Tensor:
        up = x @ block.ffn.up.weight.T
        act = functional.gelu(up) if activation == "gelu" else functional.silu(up[..., :32]) * up[..., 32:]
        return act @ block.ffn.down.weight.T

    def norm(x: Tensor) -> Tensor:
        return functional.layer_norm(x, (16,), eps=1e-6)

    with torch.no_grad():
        x = family.embedding.weight[:5] + family.placement.positions.weight[:5]
        x = x[None]
        if norm_order == "pre":
            x = x + attention(norm(x))
            x = norm(x + ffn(norm(x)))
        else:
            x = norm(x + attention(x))
            x = norm(x + ffn(x))
        torch.testing.assert_close(family.hidden(Batch.of(tokens)).rows, x, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("positions", [torch.arange(12).view(2, 6), torch.arange(12).view(6, 2).t()])
def test_the_operator_of_rotary_angles_keeps_what_it_promises_to_a_compiler(positions: Tensor) -> None:
    torch.library.opcheck(_cos_sin_operator, (positions, 8, 10_000.0, torch.float32))


def test_compiled_angles_are_one_operator_and_an_exported_program_has_none_of_ours() -> None:
    class Angles(torch.nn.Module):
        def forward(self, positions: Tensor) -> Tensor:
            return rope(positions, 8)[0]

    ours = torch.ops.pentarch.rope.default
    seen: list[object] = []

    def backend(graph: torch.fx.GraphModule, inputs: object) -> Callable[..., object]:
        seen.extend(node.target for node in graph.graph.nodes if node.op == "call_function")
        return graph.forward

    positions = torch.arange(6).view(2, 3)
    compiled = torch.compile(Angles(), backend=backend)(positions)
    assert seen.count(ours) == 1
    assert torch.ops.aten.cos not in seen
    assert compiled.equal(rope(positions, 8)[0])
    program = torch.export.export(Angles(), (positions,))
    assert ours not in {node.target for node in program.graph.nodes}


def test_rope_depends_on_differences_of_positions_only() -> None:
    rng = torch.Generator().manual_seed(0)
    q, k = torch.randn(1, 2, 5, 8, generator=rng), torch.randn(1, 2, 5, 8, generator=rng)

    def scores(positions: Tensor) -> Tensor:
        angles = rope(positions, 8)
        return rotate(q, angles) @ rotate(k, angles).transpose(-1, -2)

    here = scores(torch.arange(5)[None])
    torch.testing.assert_close(scores(torch.arange(5)[None] + 100), here, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(scores(torch.arange(5)[None] * 2), here, atol=1e-2)
    torch.testing.assert_close(here.diagonal(0, 2, 3), (q * k).sum(-1), atol=1e-5, rtol=1e-5)
    with pytest.raises(ValueError, match="even head width"):
        rope(torch.arange(5)[None], 7)


def predict_all(length: int, seed: int = 0) -> Batch:
    """A permuted LM's batch in which every token is predicted: K = 1, the first in the order sees nothing."""
    rng = torch.Generator().manual_seed(seed)
    rank = torch.rand(2, length, generator=rng).argsort(1).argsort(1) + 1
    return Batch.of(
        torch.randint(50, (2, length), generator=rng),
        weights=(rank > 1).float(),
        rank=rank,
        queries=torch.arange(length).expand(2, -1),
    )


@pytest.mark.parametrize("length", [2, 5, 8])
def test_the_first_target_of_a_full_order_sees_nothing_and_leaves_gradients_finite(
    length: int, make_family, loss
) -> None:
    family, batch = make_family("permuted_lm"), predict_all(length)
    value = loss(family, batch)
    value.backward()
    assert value.isfinite()
    assert all(part.grad.isfinite().all() for part in family.parameters() if part.grad is not None)
    assert batch.rank is not None
    first = batch.rank.argmin(1)
    with torch.no_grad():
        asked = family.hidden(batch).layers[-1][:, length:]
        after = family.hidden(replace(batch, tokens=(batch.tokens + 1) % 50)).layers[-1][:, length:]
    for row in range(2):
        same = [torch.equal(asked[row, t], after[row, t]) for t in range(length)]
        assert same == [t == int(first[row]) for t in range(length)]


def test_one_query_row_is_enough_for_a_permuted_lm(make_family, loss) -> None:
    rank = torch.tensor([[0, 0, 1, 0, 0], [1, 0, 0, 0, 0]])
    batch = Batch.of(
        torch.arange(10).view(2, 5), weights=(rank > 0).float(), rank=rank, queries=torch.tensor([[2], [0]])
    )
    family = make_family("permuted_lm")
    hidden = family.hidden(batch)
    assert hidden.layers[-1].shape == (2, 6, 16)
    assert torch.equal(hidden.targets[:2], family.stack.final_norm(hidden.layers[-1][:, 5]))
    assert loss(family, batch).isfinite()


def test_unused_query_slots_change_nothing(make_family, make_batch) -> None:
    family, batch = make_family("permuted_lm"), make_batch()
    wider = replace(batch, queries=functional.pad(batch.queries, (1, 2), value=-1))
    with torch.no_grad():
        before, after = family.hidden(batch).targets, family.hidden(wider).targets
    torch.testing.assert_close(after[: batch.supervised], before[: batch.supervised])


def test_a_permuted_lm_without_queries_reads_its_context_in_both_directions(make_family) -> None:
    family, tokens = make_family("permuted_lm"), torch.arange(6)[None]
    with torch.no_grad():
        before = family.hidden(Batch.of(tokens))
        after = family.hidden(Batch.of(torch.cat((tokens[:, :5], tokens[:, 5:] + 1), 1)))
    assert before.rows.shape == (1, 6, 16)
    assert not torch.isclose(before.rows[0, 0], after.rows[0, 0]).all()


def test_a_classifier_averages_the_cells_that_are_not_padding() -> None:
    classifier = Classifier(4, 3).eval()
    rows = torch.randn(2, 5, 4, generator=torch.Generator().manual_seed(0))
    segments = torch.tensor([[0, 0, 0, -1, -1], [0, 0, 1, 1, 1]])
    logits = classifier(rows, segments)
    torch.testing.assert_close(logits[:1], classifier(rows[:1, :3]))
    torch.testing.assert_close(logits[1:], classifier(rows[1:]))
    nothing = classifier(rows[:1], torch.full((1, 5), -1))
    torch.testing.assert_close(nothing[0], classifier.linear.bias)


BAD_SHAPES = [
    ({"positions": "rotary"}, "unknown positions 'rotary'; choose one of: rope"),
    ({"norm": "nonsense"}, "unknown norm 'nonsense'"),
    ({"activation": "x"}, "unknown activation 'x'"),
    ({"heads": 0}, "heads=0 is below 1"),
    ({"layers": -1}, "layers=-1 is below 1"),
    ({"window": 0}, "window=0 is below 1"),
    ({"window": 3, "global_every": 0}, "global_every=0 is below 1"),
    ({"width": "16"}, "width='16' is no number"),
    ({"norm_eps": 0.0}, "norm_eps=0.0 is not above 0"),
    ({"dropout": -0.1}, "dropout=-0.1 is below 0"),
    ({"dropout": 1.5}, "dropout=1.5 is not below 1"),
    ({"attention_dropout": -0.1}, "attention_dropout=-0.1 is below 0"),
    ({"attention_dropout": 1.0}, "attention_dropout=1.0 is not below 1"),
    ({"attention_dropout": None}, "attention_dropout=None is no number"),
    ({"positions": "relative", "relative_distance": 16}, "relative_distance 16"),
    ({"global_every": 2}, "give window too"),
]


@pytest.mark.parametrize(("changes", "told"), BAD_SHAPES)
def test_a_core_that_means_nothing_is_refused_in_one_line(changes: dict, told: str, make_family) -> None:
    with pytest.raises(UserError) as refused:
        make_family("decoder_ar", **changes)
    assert told in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_permuted_lm_without_query_rows_refuses_to_be_asked(make_family) -> None:
    batch = Batch.of(torch.arange(6)[None], weights=torch.ones(1, 6))
    with pytest.raises(UserError, match="queries"):
        make_family("permuted_lm").score(batch)


def test_an_encoder_decoder_without_a_source_is_refused(make_family) -> None:
    with pytest.raises(UserError, match=r"batch\.source"):
        make_family("encoder_decoder").hidden(Batch.of(torch.arange(6)[None]))


def test_what_is_no_mask_is_refused(make_family) -> None:
    config = make_family("decoder_ar").config
    tensor = DecoderAR(config, mask=lambda batch: torch.ones(6, 6))  # type: ignore[arg-type, return-value]
    with pytest.raises(UserError, match="returned Tensor"):
        tensor.hidden(Batch.of(torch.arange(6)[None]))
    numbers = DecoderAR(config, mask=lambda batch: Mask(lambda b, q, k: (q - k).float(), "numbers"))
    with pytest.raises(UserError, match="'numbers' gives"):
        numbers.hidden(Batch.of(torch.arange(6)[None]))


@pytest.mark.parametrize("layout", ["unpacked", "packed and padded"])
@pytest.mark.parametrize("changes", CORES.values(), ids=CORES)
@pytest.mark.parametrize("kind", FAMILIES)
def test_what_is_asked_alone_is_what_the_whole_pass_gives_with_its_gradients(
    kind: str, changes: dict, layout: str, make_family, make_batch, layouts
) -> None:
    family, batch = make_family(kind, **changes), make_batch(*layouts[layout])
    asked = batch.target_index >= 0
    found = []
    for targets in (family.hidden(batch).targets, family.asked(batch)):
        family.zero_grad()
        targets[asked].square().sum().backward()
        found.append([targets[asked], *(weight.grad for weight in family.parameters())])
    torch.testing.assert_close(found[1], found[0], atol=1e-5, rtol=1e-5)


class Capped(DecoderAR):
    def logits(self, hidden: Tensor) -> Tensor:
        return 3 * (super().logits(hidden) / 3).tanh()


class Shifted(PermutedLM):
    def hidden(self, batch: Batch) -> Hidden:
        whole = super().hidden(batch)
        return replace(whole, targets=whole.targets + 1)


def test_a_family_with_logits_of_its_own_is_trained_by_them(make_family, make_batch) -> None:
    family, batch = Capped(make_family("decoder_ar").config), make_batch()
    _, targets, weights = batch.asked()
    rows = 10 * family.asked(batch)
    expected = functional.cross_entropy(family.logits(rows), targets, reduction="none") * weights
    torch.testing.assert_close(family.nats(rows, targets, weights), expected.sum())


def test_a_permuted_lm_with_a_pass_of_its_own_is_asked_by_it(make_family, make_batch) -> None:
    family, batch = Shifted(make_family("permuted_lm").config), make_batch()
    torch.testing.assert_close(family.asked(batch), family.hidden(batch).targets)
