import pytest
import torch
from hypothesis import given, settings
from toy_text import CLS, SEP, VOCABULARY, random_windows, seeded, seeds, tiny, windows

from archs.flow.whole_pass import check_flow
from objectives.base import Windows
from objectives.nsp import NSP, SentenceStructure

KINDS = [NSP, SentenceStructure]


def pieces(cells):
    first, second = (column for column, token in enumerate(cells) if token == SEP)
    assert cells[0] == CLS
    return cells[1:first], cells[first + 1 : second]


def test_the_three_answers_to_two_rows_of_four_tokens():
    """Cut behind the first token, as in the docstrings."""
    text = Windows(torch.tensor([[40, 41, 42, 43], [50, 51, 52, 53]]))
    objective, one = NSP(VOCABULARY, "in_place"), torch.tensor([1, 1])
    both, neither = torch.ones(2).bool(), torch.zeros(2).bool()
    random = objective.mixed(text, one, both, torch.tensor([True, False]), seeded())
    assert random.tokens.tolist() == [[40, 51, 52, 53], [50, 51, 52, 53]]
    assert objective.arrange(random, one, neither)[0].tokens[0].tolist() == [CLS, 40, SEP, 51, 52, 53, SEP]
    assert objective.arrange(text, one, neither)[0].tokens[0].tolist() == [CLS, 40, SEP, 41, 42, 43, SEP]
    assert objective.arrange(text, one, both)[0].tokens[0].tolist() == [CLS, 41, 42, 43, SEP, 40, SEP]


def alone(text):
    """Which rows are one document without padding, of two tokens or more."""
    if text.segments is None:
        return [len(row) > 1 for row in text.tokens]
    return [len(row) > 1 and set(row) == {row[0]} != {-1} for row in text.segments.tolist()]


@pytest.mark.parametrize("kind", KINDS)
@given(text=windows, seed=seeds)
@settings(max_examples=80, deadline=None)
def test_the_label_tells_what_was_done_to_the_row(kind, text, seed):
    batch = kind(VOCABULARY, "in_place").build(text, seeded(seed))
    rows = text.tokens.tolist()
    single = alone(text)
    for number, (row, label) in enumerate(zip(rows, batch.pair_label.tolist(), strict=True)):
        assert (label >= 0) == (single[number] and sum(single) > 1)
        if label < 0:
            continue
        one, two = pieces(batch.targets[number].tolist())
        answer = kind.answers[label]
        if answer == "next":
            assert one + two == row
        elif answer == "previous":
            assert two + one == row
        else:
            assert one == row[: len(one)]
            ends = [other[len(one) :] for i, other in enumerate(rows) if i != number and single[i]]
            assert two in ends


@pytest.mark.parametrize("kind", KINDS)
def test_all_answers_are_equally_likely(kind):
    labels = kind(VOCABULARY, "in_place").build(random_windows(3000, 8, "full", 0), seeded()).pair_label
    shares = labels.bincount(minlength=len(kind.answers)) / 3000
    assert len(shares) == len(kind.answers)
    assert (shares - 1 / len(kind.answers)).abs().max() < 0.04


@pytest.mark.parametrize("kind", KINDS)
def test_a_single_row_has_no_other_and_is_not_asked(kind):
    batch = kind(VOCABULARY, "in_place").build(random_windows(1, 20, "full", 0), seeded())
    assert batch.pair_label.tolist() == [-1]
    assert batch.totals["pair"] == 0
    assert batch.supervised > 0


@pytest.mark.parametrize("kind", KINDS)
def test_the_head_has_a_class_for_each_answer_and_learns_one_batch(kind):
    torch.manual_seed(0)
    objective, family = kind(VOCABULARY, "in_place"), tiny("encoder_ae")
    modules = objective.modules(family)
    assert modules["pair"].linear.out_features == len(kind.answers)
    batch = objective.build(random_windows(4, 16, "full", 0), seeded())
    optimiser = torch.optim.Adam([*family.parameters(), *modules.parameters()], lr=1e-2)
    for _ in range(150):
        optimiser.zero_grad()
        loss = objective.loss(family, modules, batch)
        loss.value.backward()
        optimiser.step()
    assert loss.terms["pair"] < 0.1
    assert loss.terms["tokens"] < 0.2


@pytest.mark.parametrize("kind", KINDS)
def test_information_flows_as_declared(kind):
    batch = kind(VOCABULARY, "in_place").build(random_windows(3, 9, "full", 3), seeded())
    assert check_flow(tiny("encoder_ae"), batch).ok
