import pytest
import torch
from hypothesis import given, settings
from toy_text import BOS, EOS, VOCABULARY, documents, random_windows, seeded, seeds, tiny, windows

from archs import FAMILIES
from archs.flow.whole_pass import check_flow
from objectives.base import Windows
from objectives.deshuffling import Deshuffling


def test_all_orders_of_the_tokens_come_and_the_end_stays():
    text, found = Windows(torch.tensor([[40, 41, 42, EOS]])), set()
    for seed in range(100):
        batch = Deshuffling(VOCABULARY, "source_target").build(text, seeded(seed))
        assert batch.tokens.tolist() == [[BOS, 40, 41, 42]]
        assert batch.targets.tolist() == [[40, 41, 42, EOS]]
        assert batch.weights.tolist() == [[1, 1, 1, 1]]
        found.add(tuple(batch.source[0].tolist()))
    assert {order[3] for order in found} == {EOS}
    assert {order[:3] for order in found} == {
        (a, b, c) for a in (40, 41, 42) for b in (40, 41, 42) for c in (40, 41, 42) if len({a, b, c}) == 3
    }


def test_a_single_stack_reads_the_source_and_then_the_text():
    batch = Deshuffling(VOCABULARY, "concatenated").build(Windows(torch.tensor([[40, 40, EOS]])), seeded())
    assert batch.tokens.tolist() == [[40, 40, EOS, BOS, 40, 40]]
    assert batch.targets.tolist() == [[40, 40, EOS, 40, 40, EOS]]
    assert batch.weights.tolist() == [[0, 0, 0, 1, 1, 1]]
    assert batch.is_prefix.tolist() == [[True, True, True, False, False, False]]


@given(text=windows, seed=seeds)
@settings(max_examples=60, deadline=None)
def test_each_document_keeps_its_tokens_and_all_are_asked(text, seed):
    batch = Deshuffling(VOCABULARY, "source_target").build(text, seeded(seed))
    raw = documents(text.tokens, text.segments)
    shuffled = documents(batch.source, batch.source_segments)
    for made, row in zip(shuffled, raw, strict=True):
        assert list(made) == list(row)
        for number, tokens in row.items():
            assert sorted(made[number]) == sorted(tokens)
            assert (made[number][-1] == EOS) == (tokens[-1] == EOS)
    assert documents(batch.targets, batch.segments) == raw
    assert batch.supervised == sum(len(tokens) for row in raw for tokens in row.values())


def test_a_continuation_is_asked_behind_the_context_alone():
    context, continuation = torch.tensor([[50, 51]]), torch.tensor([[60]])
    batch = Deshuffling(VOCABULARY, "source_target").ask(context, continuation)
    assert batch.source.tolist() == [[50, 51]]
    assert batch.tokens.tolist() == [[BOS, 50, 51]]
    assert batch.weights.tolist() == [[0, 0, 1]]


@pytest.mark.parametrize("family", Deshuffling.families)
@pytest.mark.parametrize("kind", ["full", "packed", "padded"])
def test_information_flows_as_declared(family, kind):
    objective = Deshuffling(VOCABULARY, FAMILIES[family].layout)
    assert check_flow(tiny(family), objective.build(random_windows(2, 9, kind, 3), seeded())).ok
