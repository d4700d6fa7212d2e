"""Information goes where the mask says, for all families; leaks and silences are found where they are."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from archs import FAMILIES, CoreConfig, Family, single_stack, transformer
from archs.attention import Visible
from archs.batch import Batch
from archs.decoder_ar import DecoderAR
from archs.flow import FlowReport, check_flow, closure
from archs.masks import CAUSAL, FULL, Mask, document
from archs.prefix_lm import PrefixLM

CONFIG = CoreConfig(50, 2, 16, 2, 32, 64)
LAYOUT_NAMES = ["unpacked", "packed", "padded", "left padded", "packed and padded"]


@pytest.mark.parametrize("layout", LAYOUT_NAMES)
@pytest.mark.parametrize("kind", FAMILIES)
def test_information_flows_where_the_mask_says(
    kind: str, layout: str, make_family, make_batch, layouts
) -> None:
    report = check_flow(make_family(kind), make_batch(*layouts[layout]))
    assert report.ok, report
    assert str(report) == "information flows exactly where the mask says"


@pytest.mark.parametrize(
    "changes",
    [
        {"positions": "learned"},
        {"kv_heads": 1},
        {"norm_order": "post"},
        {"activation": "swiglu", "norm": "layer"},
        {"tied": False, "dropout": 0.5, "norm": "layer", "norm_order": "post", "positions": "learned"},
    ],
    ids=lambda changes: " ".join(map(str, changes.values())),
)
@pytest.mark.parametrize("kind", FAMILIES)
def test_information_flows_where_the_mask_says_whatever_the_core(
    kind: str, changes: dict, make_family, make_batch, layouts
) -> None:
    family = make_family(kind, **changes).train()
    report = check_flow(family, make_batch(*layouts["packed and padded"]))
    assert report.ok, report
    assert family.training, "check_flow works on a copy"


@pytest.mark.slow
@pytest.mark.parametrize("kind", FAMILIES)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_information_flows_where_the_mask_says_in_any_batch(kind: str, data, make_family, make_batch) -> None:
    length, source = data.draw(st.integers(1, 6)), data.draw(st.integers(1, 5))
    draw = [
        torch.tensor([data.draw(st.lists(st.integers(-1, 2), min_size=n, max_size=n))])
        for n in (length, source)
    ]
    batch = make_batch(*draw, seed=data.draw(st.integers(0, 99)))
    assert (report := check_flow(make_family(kind, layers=2), batch)).ok, report


def test_an_encoder_decoder_with_unequal_stacks_flows_as_declared(make_family, make_batch, layouts) -> None:
    for layers, decoder_layers in ((1, 3), (3, 1)):
        family = make_family("encoder_decoder", layers=layers, decoder_layers=decoder_layers)
        assert (report := check_flow(family, make_batch(*layouts["packed"]))).ok, report


def looks_ahead(batch: Batch) -> Mask:
    """Causal, but from position 5 on a query also sees the next token."""
    return (CAUSAL | Mask(lambda b, q, k: (q >= 5) & (k == q + 1), "leak")) & document(batch.segments)


def leaks_of(report: FlowReport, layer: int) -> list[tuple[int, int, int]]:
    """(row, from, to) of the leaks first seen in a layer."""
    return [(leak.row, leak.source, leak.to) for leak in report.leaks if leak.layer == layer]


@pytest.mark.parametrize("family", [DecoderAR, PrefixLM])
def test_a_leak_is_named_with_its_layer_and_positions(family, make_batch) -> None:
    batch = dataclasses.replace(make_batch(rows=1), is_prefix=None)
    report = check_flow(family(CONFIG, mask=looks_ahead), batch)
    assert not report.ok
    assert not report.silences
    assert leaks_of(report, 1) == [(0, 6, 5), (0, 7, 6), (0, 8, 7)]
    assert leaks_of(report, 2) == [(0, 6, 5), (0, 7, 5), (0, 7, 6), (0, 8, 6), (0, 8, 7)]
    assert str(report) == "8 leaks, the first at layer 1, batch row 0: from tokens position 6 to position 5"


def test_a_leak_across_documents_is_found_in_the_row_where_it_is(make_batch, layouts) -> None:
    segments, _ = layouts["packed"]
    batch = make_batch(segments)
    crossing = Mask(lambda b, q, k: (b == 1) & (q == 3) & (k == 2), "crossing")
    family = DecoderAR(CONFIG, mask=lambda batch: CAUSAL & document(batch.segments) | crossing)
    report = check_flow(family, batch)
    assert leaks_of(report, 1) == [(1, 2, 3)]
    assert not report.silences


def test_a_mask_that_hides_too_much_is_reported_as_silences(make_batch) -> None:
    def near(batch: Batch) -> Mask:
        return CAUSAL & Mask(lambda b, q, k: q - k < 3, "near")

    report = check_flow(DecoderAR(CONFIG, mask=near), make_batch(rows=1, length=5))
    assert not report.leaks
    assert [(s.layer, s.source, s.to) for s in report.silences] == [(1, 0, 3), (1, 0, 4), (1, 1, 4)]
    assert str(report) == (
        "3 forbidden silences, the first at layer 1, batch row 0: from tokens position 0 to position 3"
    )


def test_an_attention_that_forgets_its_mask_is_caught(monkeypatch, make_family, make_batch, layouts) -> None:
    monkeypatch.setattr(transformer, "visible", lambda *args, **named: Visible("full"))
    report = check_flow(make_family("decoder_ar"), make_batch(*layouts["packed and padded"]))
    assert {(0, 1, 0), (0, 5, 4), (0, 4, 5)} <= set(leaks_of(report, 1))
    assert not report.silences


def test_an_attention_that_forgets_documents_is_caught(monkeypatch, make_family, make_batch, layouts) -> None:
    monkeypatch.setattr(transformer, "visible", lambda *args, **named: Visible("is_causal"))
    report = check_flow(make_family("decoder_ar"), make_batch(layouts["packed"][0]))
    assert leaks_of(report, 1)[0] == (0, 0, 5)


def declare_now(monkeypatch: pytest.MonkeyPatch, family: Family, batch: Batch) -> None:
    """Fixes what the family declares, before the rule that it declares by is broken."""
    declared = family.reachable(batch)
    monkeypatch.setattr(type(family), "reachable", lambda self, batch, other=None: declared)


def test_a_cross_attention_that_shows_source_padding_is_caught(
    monkeypatch, make_family, make_batch, layouts
) -> None:
    family = make_family("encoder_decoder")
    batch = make_batch(source_segments=layouts["padded"][1])
    declare_now(monkeypatch, family, batch)
    monkeypatch.setattr("archs.encoder_decoder.cross_mask", lambda batch: FULL)
    report = check_flow(family, batch)
    assert {(leak.stream, leak.row, leak.source) for leak in report.leaks} == {
        ("source", 1, cell) for cell in (4, 5, 6)
    }


def test_an_encoder_that_mixes_documents_is_caught_in_the_decoder(
    monkeypatch, make_family, make_batch, layouts
) -> None:
    family, batch = make_family("encoder_decoder"), make_batch(*layouts["packed"])
    declare_now(monkeypatch, family, batch)
    monkeypatch.setattr("archs.encoder_decoder.encoder_mask", lambda batch: FULL)
    first = check_flow(family, batch).leaks[0]
    assert (first.layer, first.row, first.stream, first.source, first.to) == (1, 0, "source", 3, 0)


def test_a_content_row_that_loses_sight_of_itself_is_caught(monkeypatch, make_family, make_batch) -> None:
    family, batch = make_family("permuted_lm"), make_batch(rows=1)
    declare_now(monkeypatch, family, batch)

    def strictly_before(self, b, q, k):
        return self.k_rank[b, k] < self.q_rank[b, q]

    monkeypatch.setattr("archs.masks._Order.__call__", strictly_before)
    report = check_flow(family, batch)
    assert not report.leaks
    # The residual keeps a row's own token; what falls silent is the given context among itself.
    context = batch.rank[0].eq(0).nonzero().flatten().tolist()
    silent = {(s.source, s.to) for s in report.silences if s.layer == 1 and s.to in context}
    assert silent == {(k, q) for k in context for q in context if k != q}


def test_a_query_that_sees_its_own_content_is_caught(monkeypatch, make_family, make_batch) -> None:
    family, batch = make_family("permuted_lm"), make_batch(rows=1)
    T, queries = batch.tokens.shape[1], batch.queries[0].tolist()
    declare_now(monkeypatch, family, batch)

    def one_rank_too_high(self, b, q, k):
        return self.k_rank[b, k] <= self.q_rank[b, q] + (q >= T).long()

    monkeypatch.setattr("archs.masks._Order.__call__", one_rank_too_high)
    report = check_flow(family, batch)
    assert set(leaks_of(report, 1)) == {(0, column, T + slot) for slot, column in enumerate(queries)}


def test_closure_carries_what_the_seen_keys_reach() -> None:
    chain = torch.tensor([[[1, 0, 0], [1, 1, 0], [0, 1, 1]]]).bool()
    one, two = closure(chain, torch.eye(3).bool().expand(1, 3, 3), 2)
    assert one.equal(chain)
    assert two.long().tolist() == [[[1, 0, 0], [1, 1, 0], [1, 1, 1]]]


def test_every_single_stack_declares_its_own_default_mask() -> None:
    stacks = [family for family in FAMILIES.values() if issubclass(family, single_stack.SingleStack)]
    assert {family.kind for family in stacks} == {"encoder_ae", "decoder_ar", "prefix_lm"}
    assert len({family.default_mask for family in stacks}) == 3
