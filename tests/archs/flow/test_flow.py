"""Information goes where the mask says, for all families; leaks and silences are found where they are."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from cores import CORES
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from archs import FAMILIES, CoreConfig, Family
from archs.batch import Batch
from archs.core import transformer
from archs.core.attention import Visible
from archs.core.reach import closure
from archs.families import encoder_decoder, single_stack
from archs.families.decoder_ar import DecoderAR
from archs.families.family import Hidden, take_targets
from archs.families.prefix_lm import PrefixLM
from archs.flow.report import FlowReport, Mismatch
from archs.flow.whole_pass import check_flow
from archs.masks import CAUSAL, FULL, Mask, document, near, prefix

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


@pytest.mark.parametrize("changes", CORES.values(), ids=CORES)
@pytest.mark.parametrize("kind", FAMILIES)
def test_information_flows_where_the_mask_says_whatever_the_core(
    kind: str, changes: dict, make_family, make_batch, layouts
) -> None:
    family = make_family(kind, dropout=0.5, **changes).train()
    batch = make_batch(*layouts["packed and padded"])
    types = torch.arange(9).expand(2, 9) % 2
    report = check_flow(family, dataclasses.replace(batch, token_types=types))
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


def at(mismatch: Mismatch) -> tuple:
    return dataclasses.astuple(mismatch)


@pytest.mark.parametrize("family", [DecoderAR, PrefixLM])
def test_a_leak_is_named_with_its_layer_and_positions(family, make_batch) -> None:
    batch = dataclasses.replace(make_batch(rows=1), is_prefix=None)
    report = check_flow(family(CONFIG, mask=looks_ahead), batch)
    assert not report.ok
    assert not report.silences
    assert leaks_of(report, 1) == [(0, 6, 5), (0, 7, 6), (0, 8, 7)]
    assert leaks_of(report, 2) == [(0, 6, 5), (0, 7, 5), (0, 7, 6), (0, 8, 6), (0, 8, 7)]
    assert str(report) == (
        f"{len(report.leaks)} leaks, the first at layer 1, batch row 0: "
        "from tokens position 6 to tokens position 5"
    )


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
        "3 forbidden silences, the first at layer 1, batch row 0: from tokens position 0 to tokens position 3"
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


SEVEN_TO_THREE = Mask(lambda b, q, k: (b == 1) & (q == 3) & (k == 7), "seven to three")


@pytest.mark.parametrize("layout", ["unpacked", "left padded"])
def test_one_planted_leak_is_named_by_layer_row_and_positions(layout: str, make_batch, layouts) -> None:
    """A mask of one's own: `declared` is the rule as meant, the family has it as written."""

    def meant(batch: Batch) -> Mask:
        return CAUSAL & Mask(lambda b, q, k: (q - k) % 2 == 0, "every other") & document(batch.segments)

    batch = make_batch(*layouts[layout])
    assert check_flow(DecoderAR(CONFIG, mask=meant), batch, declared=meant).ok
    leaky = DecoderAR(CONFIG, mask=lambda batch: meant(batch) | SEVEN_TO_THREE)
    report = check_flow(leaky, batch, declared=meant)
    assert leaks_of(report, 1) == [(1, 7, 3)]
    assert at(report.leaks[0]) == (1, 1, "tokens", 7, "tokens", 3)
    # In the second layer 3 sees what 7 saw in the first, and what 3 saw is seen by 5.
    assert leaks_of(report, 2) == [(1, 5, 3), (1, 7, 3), (1, 7, 5)]
    assert not report.silences
    assert "leaks, the first at layer 1, batch row 1: from tokens position 7 to tokens position 3" in str(
        report
    )


@pytest.mark.parametrize("layout", ["unpacked", "padded"])
def test_one_planted_silence_is_named_by_layer_row_and_positions(layout: str, make_batch, layouts) -> None:
    def deaf(batch: Batch) -> Mask:
        return (
            CAUSAL & document(batch.segments) & Mask(lambda b, q, k: (b != 1) | (q != 5) | (k != 2), "deaf")
        )

    report = check_flow(DecoderAR(CONFIG, mask=deaf), make_batch(*layouts[layout]))
    assert not report.leaks
    # In the second layer row 5 hears of cell 2 from rows 3 and 4.
    assert [at(silence) for silence in report.silences] == [(1, 1, "tokens", 2, "tokens", 5)]


def test_a_prefix_that_is_too_long_in_one_row_leaks_in_that_row_alone(make_batch) -> None:
    is_prefix = torch.tensor([[1, 1, 0, 0, 0], [1, 1, 1, 1, 0], [0, 0, 0, 0, 0]]).bool()
    batch = dataclasses.replace(make_batch(rows=3, length=5), is_prefix=is_prefix)
    assert check_flow(PrefixLM(CONFIG), batch).ok
    longer = is_prefix.clone()
    longer[0, 2] = True
    family = PrefixLM(CONFIG, mask=lambda batch: CAUSAL | prefix(longer))
    report = check_flow(family, batch)
    assert leaks_of(report, 1) == [(0, 2, 0), (0, 2, 1)]
    assert not report.silences


def test_a_prediction_read_from_the_wrong_row_is_caught_in_the_logits(monkeypatch, make_batch) -> None:
    def one_later(rows: Tensor, batch: Batch) -> Tensor:
        return rows.roll(-1, dims=1).flatten(0, 1)[batch.asked()[0]]

    batch = make_batch(rows=1, asked=0.0)  # cell 1 alone is asked
    monkeypatch.setattr("archs.families.single_stack.take_targets", one_later)
    report = check_flow(DecoderAR(CONFIG), batch)
    assert [at(leak) for leak in report.leaks] == [(None, 0, "tokens", 2, "tokens", 1)]
    assert not report.silences
    assert str(report) == ("1 leak, at logits, batch row 0: from tokens position 2 to tokens position 1")


def test_a_permuted_lm_that_predicts_from_content_rows_is_caught_in_the_logits(
    monkeypatch, make_family, make_batch, layouts
) -> None:
    family, batch = make_family("permuted_lm"), make_batch(*layouts["packed and padded"])
    hidden = type(family).hidden

    def from_content(self: Family, batch: Batch) -> Hidden:
        found = hidden(self, batch)
        return Hidden(take_targets(found.rows, batch), found.rows)

    monkeypatch.setattr(type(family), "hidden", from_content)
    report = check_flow(family, batch)
    asked = [tuple(cell) for cell in (batch.weights > 0).nonzero().tolist()]
    assert [(leak.row, leak.source, leak.to) for leak in report.leaks] == [(b, t, t) for b, t in asked]
    assert {leak.layer for leak in report.leaks} == {None}


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
    monkeypatch.setattr("archs.families.encoder_decoder.cross_mask", lambda batch: FULL)
    report = check_flow(family, batch)
    assert {(leak.stream, leak.row, leak.source) for leak in report.leaks} == {
        ("source", 1, cell) for cell in (4, 5, 6)
    }


def test_a_cross_attention_that_shows_another_documents_source_is_caught(
    monkeypatch, make_family, make_batch, layouts
) -> None:
    family, batch = make_family("encoder_decoder"), make_batch(*layouts["packed"])
    declare_now(monkeypatch, family, batch)
    leak = Mask(lambda b, q, k: (b == 0) & (q == 1) & (k == 3), "leak")
    right = encoder_decoder.cross_mask(batch)
    monkeypatch.setattr("archs.families.encoder_decoder.cross_mask", lambda batch: right | leak)
    report = check_flow(family, batch)
    # Cell 3 comes encoded with its own document, cells 3 to 6; the encoder itself is blameless.
    assert {leak.rows for leak in report.leaks} == {"tokens"}
    assert leaks_of(report, 1) == [(0, source, 1) for source in (3, 4, 5, 6)]
    assert str(report).endswith("layer 1, batch row 0: from source position 3 to tokens position 1")


def test_an_encoder_that_mixes_documents_is_caught_in_the_encoder(
    monkeypatch, make_family, make_batch, layouts
) -> None:
    family, batch = make_family("encoder_decoder"), make_batch(*layouts["packed"])
    declare_now(monkeypatch, family, batch)
    leak = Mask(lambda b, q, k: (b == 1) & (q == 5) & (k == 2), "leak")
    right = encoder_decoder.encoder_mask(batch)
    monkeypatch.setattr("archs.families.encoder_decoder.encoder_mask", lambda batch: right | leak)
    report = check_flow(family, batch)
    assert at(report.leaks[0]) == (1, 1, "source", 2, "source", 5)
    assert str(report).endswith("encoder layer 1, batch row 1: from source position 2 to source position 5")
    in_encoder = [at(leak) for leak in report.leaks if leak.rows == "source"]
    # In the second layer 5 shows it to its document, 4 to 6, and 2 comes with its own, 2 and 3.
    later = [(4, 2), (5, 2), (5, 3), (6, 2)]
    assert in_encoder[1:] == [(2, 1, "source", cell, "source", row) for row, cell in later]
    # The third document's targets read it.
    assert {leak.to for leak in report.leaks if leak.rows == "tokens"} == {7, 8}


def test_an_encoder_that_hides_a_cell_is_reported_as_a_silence_of_the_encoder(
    monkeypatch, make_family, make_batch
) -> None:
    family, batch = make_family("encoder_decoder"), make_batch(rows=1)
    declare_now(monkeypatch, family, batch)
    blind = Mask(lambda b, q, k: (q != 4) | (k != 6), "blind")
    monkeypatch.setattr("archs.families.encoder_decoder.encoder_mask", lambda batch: blind)
    report = check_flow(family, batch)
    assert not report.leaks
    assert [at(silence) for silence in report.silences] == [(1, 0, "source", 6, "source", 4)]


@pytest.mark.parametrize("shared", [False, True])
def test_every_layer_of_both_stacks_is_checked(shared: bool, monkeypatch, make_family, make_batch) -> None:
    """A core whose layers share their weights has one block, used several times."""
    family = make_family("encoder_decoder", layers=2, decoder_layers=3, shared_layers=shared)
    batch = make_batch(rows=1)
    declared = family.reachable(batch)
    assert {rows: len(layers) for rows, layers in declared.items()} == {"source": 2, "tokens": 3}
    nothing = {
        rows: [{name: torch.zeros_like(cells) for name, cells in layer.items()} for layer in layers]
        for rows, layers in declared.items()
    }
    monkeypatch.setattr(type(family), "reachable", lambda self, batch, declared=None: nothing)
    found = {(leak.rows, leak.layer, leak.stream) for leak in check_flow(family, batch).leaks}
    assert found == {
        *(("source", layer, "source") for layer in (1, 2)),
        *(("tokens", layer, stream) for layer in (1, 2, 3, None) for stream in ("tokens", "source")),
    }


def test_what_an_encoder_decoder_depends_on_is_told_by_stream(make_family, make_batch, layouts) -> None:
    report = check_flow(make_family("encoder_decoder"), make_batch(*layouts["packed"]))
    segments, source_segments = layouts["packed"]
    for found in (report.measured, report.declared):
        assert set(found) == {"source", "tokens"}
        assert set(found["source"]) == {"source"}
        same = source_segments[:, :, None] == source_segments[:, None]
        assert found["source"]["source"].equal(same)
        assert found["tokens"]["source"].equal(segments[:, :, None] == source_segments[:, None])
        assert found["tokens"]["tokens"].equal((segments[:, :, None] == segments[:, None]).tril())


# Layers with a window of one position on either side, whose flow is told by hand: how far back layer n sees.
@pytest.mark.parametrize(("global_every", "back"), [(None, [1, 2, 3]), (2, [8, 8, 8]), (3, [8, 8, 8])])
def test_local_layers_reach_a_window_further_each(global_every, back, make_family, make_batch) -> None:
    family = make_family("decoder_ar", layers=3, window=1, global_every=global_every)
    batch = make_batch(rows=1)
    assert (report := check_flow(family, batch)).ok, report
    rows = torch.arange(9)
    behind = rows[:, None] - rows
    for layer, most in zip(family.reachable(batch)["tokens"], back, strict=True):
        assert layer["tokens"][0].equal((behind >= 0) & (behind <= most))


@pytest.mark.parametrize("kind", FAMILIES)
def test_a_local_window_that_is_too_wide_is_caught_in_its_layer(
    kind: str, monkeypatch, make_family, make_batch
) -> None:
    family, batch = make_family(kind, layers=3, window=1), make_batch(rows=1)
    assert (report := check_flow(family, batch)).ok, report
    declare_now(monkeypatch, family, batch)
    monkeypatch.setattr(CoreConfig, "is_local", lambda self, layer: layer != 1)
    report = check_flow(family, batch)
    assert not report.silences
    assert leaks_of(report, 1) == []
    first = report.leaks[0]
    assert first.layer == 2
    # A row of the first layer reaches one further; the second saw them all in place of one further still.
    assert {abs(leak.source - leak.to) for leak in report.leaks if leak.layer == 2} >= {3, 4, 5}
    assert first.rows == ("source" if kind == "encoder_decoder" else "tokens")


def test_a_window_of_two_where_one_is_declared_leaks_two_away(monkeypatch, make_family, make_batch) -> None:
    family, batch = make_family("decoder_ar", window=1), make_batch(rows=1, length=5)
    declare_now(monkeypatch, family, batch)
    monkeypatch.setattr(transformer, "near", lambda positions, window: near(positions, window + 1))
    report = check_flow(family, batch)
    assert leaks_of(report, 1) == [(0, 0, 2), (0, 1, 3), (0, 2, 4)]
    assert leaks_of(report, 2) == [(0, 0, 3), (0, 0, 4), (0, 1, 4)]
    assert not report.silences


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
    assert leaks_of(report, 1) == [(0, column, column) for column in queries]
    assert {leak.rows for leak in report.leaks if leak.layer == 1} == {"query"}
    column = queries[0]
    assert str(report).endswith(
        f"layer 1, batch row 0: from tokens position {column} to query position {column}"
    )


def test_closure_carries_what_the_seen_keys_reach() -> None:
    chain = torch.tensor([[[1, 0, 0], [1, 1, 0], [0, 1, 1]]]).bool()
    one, two = closure([chain, chain])
    assert one.equal(chain)
    assert two.long().tolist() == [[[1, 0, 0], [1, 1, 0], [1, 1, 1]]]
    nobody = torch.zeros(1, 3, 3).bool()
    assert closure([nobody, chain])[1].equal(chain)
    assert closure([chain, nobody])[1].equal(chain)
    given = torch.tensor([[[1], [0], [0]]]).bool()
    assert [reached[0, :, 0].tolist() for reached in closure([chain, chain], given)] == [
        [True, True, False],
        [True, True, True],
    ]


def test_every_single_stack_declares_its_own_default_mask() -> None:
    stacks = [family for family in FAMILIES.values() if issubclass(family, single_stack.SingleStack)]
    assert {family.kind for family in stacks} == {"encoder_ae", "decoder_ar", "prefix_lm"}
    assert len({family.default_mask for family in stacks}) == 3


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_the_check_runs_wherever_it_is_called_from(mode, make_family, make_batch) -> None:
    family, batch = make_family("prefix_lm"), make_batch(rows=1, length=5)
    with mode():
        assert check_flow(family, batch).ok
