"""Analytic counts against the real modules and torch's own counter."""

from __future__ import annotations

from dataclasses import replace

import pytest
from cores import CORES
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from archs import FAMILIES, CoreConfig
from archs.count import FORWARDS_A_TRAINING_STEP, parameters
from archs.errors import UserError
from archs.families.encoder_decoder import EncoderDecoder
from archs.families.family import Stacks

OPTIONS = CORES | {
    "swiglu": {"activation": "swiglu", "norm": "layer"},
    "grouped": {"kv_heads": 1},
    "untied": {"tied": False, "positions": "learned", "norm_order": "post"},
    "more heads": {"activation": "swiglu", "kv_heads": 2, "heads": 4, "tied": False, "ffn": 40},
}


@pytest.mark.parametrize("changes", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("kind", FAMILIES)
def test_parameters_are_those_of_the_real_module(kind: str, changes: dict, make_family) -> None:
    family = make_family(kind, **changes)
    counted = parameters(type(family), family.config)
    assert counted.total == sum(part.numel() for part in family.parameters())
    tables = [family.embedding.weight, family.head.weight]
    tables += [part.weight for part in family.modules() if isinstance(part, nn.Embedding)]
    tables += [] if family.head.bias is None else [family.head.bias]
    assert counted.embedding == sum({id(table): table.numel() for table in tables}.values())
    assert counted.core + counted.embedding == counted.total


def test_a_plain_layer_has_twelve_squares_of_its_width() -> None:
    one, two = (parameters(FAMILIES["decoder_ar"], CoreConfig(50, n, 16, 2, 64, 64)).core for n in (1, 2))
    assert two - one == 12 * 16 * 16 + 2 * 16


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["unpacked", "packed and padded"])
@pytest.mark.parametrize("changes", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("kind", FAMILIES)
def test_flops_agree_with_the_flop_counter_within_one_percent(
    kind: str, changes: dict, layout: str, make_family, make_batch, layouts, loss
) -> None:
    depths = {"layers": 3} | ({"decoder_layers": 3} if "shared_stacks" in changes else {})
    family = make_family(kind, **depths, **changes)
    segments, source_segments = layouts[layout]
    length, source = (13, 11) if segments is None else (9, 7)
    batch = make_batch(segments, source_segments, length=length, source_length=source, rows=3)
    with sdpa_kernel(SDPBackend.MATH):
        with FlopCounterMode(display=False) as forward:
            loss(family, batch)
        with FlopCounterMode(display=False) as step:
            loss(family, batch).backward()
    counted, training = family.flops(batch), FORWARDS_A_TRAINING_STEP * family.flops(batch)
    if family.config.positions == "transformer_xl":  # sinusoids have no gradient; packed rows fewer distances
        assert counted >= forward.get_total_flops()
        assert training >= step.get_total_flops()
        assert segments is not None or counted == forward.get_total_flops()
        return
    assert counted == pytest.approx(forward.get_total_flops(), rel=0.01)
    assert training == pytest.approx(step.get_total_flops(), rel=0.01)


def test_flops_charge_the_query_rows_of_a_permuted_lm(make_family, make_batch) -> None:
    family, batch = make_family("permuted_lm"), make_batch()
    assert batch.queries is not None
    fewer = replace(batch, queries=batch.queries[:, :1])
    assert family.flops(fewer) < family.flops(batch)
    # Without them nobody reads the last layer's content rows, of which it makes keys and values all the same.
    (B, T), config = batch.tokens.shape, family.config
    unread = B * T * (4 * config.width**2 + 4 * T * config.width + 4 * config.width * config.ffn)
    assert family.flops(replace(batch, queries=None)) == make_family("decoder_ar").flops(batch) - unread


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_stacks_beside_a_single_stack_are_halves_or_of_its_depth(layers: int) -> None:
    reference = CoreConfig(50, layers, 16, 2, 32, 64)

    def found(stacks: Stacks) -> list[tuple[int, int | None, bool]]:
        shapes = EncoderDecoder.depths(reference, stacks)
        return [(shape.layers, shape.decoder_layers, shape.shared_stacks) for shape in shapes]

    halves = {1: [(1, 1)], 2: [(1, 1)], 3: [(2, 1), (1, 2)]}[layers]
    assert found("halves") == [(*split, False) for split in halves]
    assert found("double") == [(layers, layers, False)]
    assert found("shared") == [(layers, layers, True)]
    assert EncoderDecoder.times_parameters("double") == 2
    assert EncoderDecoder.times_parameters("shared") == EncoderDecoder.times_parameters("halves") == 1


@pytest.mark.parametrize("kind", [kind for kind in FAMILIES if kind != "encoder_decoder"])
def test_a_single_stack_given_stacks_is_one_line(kind: str) -> None:
    with pytest.raises(UserError, match=f"family.stacks=shared .*{kind} has one stack and allows null alone"):
        list(FAMILIES[kind].depths(CoreConfig(50, 2, 16, 2, 32, 64), "shared"))


def test_shared_stacks_add_cross_attention_alone_to_a_single_stack(make_family) -> None:
    """Of 2 layers x 16: queries, keys, values and output, and a norm, a layer."""
    single, shared = (
        parameters(FAMILIES[kind], make_family(kind, **changes).config).core
        for kind, changes in (("decoder_ar", {}), ("encoder_decoder", {"shared_stacks": True}))
    )
    assert shared - single == 2 * (4 * 16 * 16 + 16)


def test_shared_stacks_cost_the_flops_of_stacks_of_their_own(make_family, make_batch) -> None:
    batch = make_batch()
    shared, own = (make_family("encoder_decoder", shared_stacks=is_shared) for is_shared in (True, False))
    assert shared.flops(batch) == own.flops(batch)


@pytest.mark.parametrize(
    ("layers", "splits"),
    [
        (1, [(1, 1)]),
        (2, [(1, 1), (2, 1), (1, 2), (2, 2)]),
        (3, [(2, 1), (1, 2), (2, 2), (3, 2), (2, 3), (3, 3)]),
    ],
)
def test_an_encoder_decoder_splits_a_single_stacks_depth_and_then_goes_deeper(layers, splits) -> None:
    reference = CoreConfig(50, layers, 16, 2, 32, 64)
    found = [(shape.layers, shape.decoder_layers) for shape in EncoderDecoder.depths(reference)]
    assert found == splits
    assert list(FAMILIES["prefix_lm"].depths(reference)) == [reference]
