"""Conditional and Classification: the same for all five families."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_text import BOS, MASK, PAD, VOCABULARY, seeded, seeds, tiny

from archs import FAMILIES
from archs.errors import UserError
from objectives.base import Vocabulary
from objectives.classification import Classification
from objectives.conditional import Conditional
from objectives.layouts import pair

SOURCE, TARGET = torch.tensor([[50, 51], [52, 53]]), torch.tensor([[60, 61, 62], [70, 71, PAD]])
SOURCE_SEGMENTS, TARGET_SEGMENTS = torch.zeros(2, 2).long(), torch.tensor([[0, 0, 0], [0, 0, -1]])
PAIRED = (SOURCE, SOURCE_SEGMENTS, TARGET, TARGET_SEGMENTS)


@pytest.mark.parametrize("layout", ["concatenated", "source_target", "permuted"])
def test_a_pair_asks_for_the_whole_target(layout):
    batch = Conditional(VOCABULARY, layout).pairs(*PAIRED, seeded())
    expected = pair(layout, *PAIRED, VOCABULARY)
    assert torch.equal(batch.tokens, expected.tokens)
    assert torch.equal(batch.weights, expected.weights)
    assert batch.supervised == 5


def test_a_permuted_target_without_source_is_not_trained_on_its_first_token():
    empty = torch.zeros(2, 0).long()
    pairs = (empty, empty, *PAIRED[2:])
    batch = Conditional(VOCABULARY, "permuted").pairs(*pairs, seeded())
    assert batch.weights.tolist() == [[0, 1, 1], [0, 1, 0]]
    assert batch.totals == {"tokens": 3.0}
    batch = Conditional(VOCABULARY, "permuted").pairs(empty, None, TARGET, None, seeded())
    assert batch.weights.tolist() == [[0, 1, 1], [0, 1, 1]]


@given(seed=seeds, rows=st.integers(1, 4), width=st.integers(1, 12))
@settings(max_examples=60, deadline=None)
def test_in_place_masks_and_asks_a_part_of_the_target(seed, rows, width):
    target = torch.randint(36, 100, (rows, width), generator=seeded(seed))
    lengths = torch.randint(1, width + 1, (rows, 1), generator=seeded(seed))
    padding = torch.arange(width) >= lengths
    source = torch.full((rows, 2), 50)
    segments = (torch.zeros_like(source), padding.long() * -1)
    batch = Conditional(VOCABULARY, "in_place").pairs(source, segments[0], target, segments[1], seeded(seed))
    asked = batch.weights > 0
    assert torch.equal(batch.targets, torch.cat([source, target], 1))
    assert torch.equal(batch.tokens == MASK, asked)
    assert torch.equal(batch.tokens[~asked], batch.targets[~asked])
    assert not asked[:, :2].any()
    assert not asked[:, 2:][padding].any()
    assert (asked.sum(1) >= 1).all()


def test_in_place_masks_every_number_of_tokens_equally_often():
    target = torch.randint(36, 100, (4000, 4), generator=seeded())
    batch = Conditional(VOCABULARY, "in_place").pairs(torch.full((4000, 1), 50), None, target, None, seeded())
    often = batch.weights.sum(1).long().bincount(minlength=5) / 4000
    assert (often - torch.tensor([0, 0.25, 0.25, 0.25, 0.25])).abs().max() < 0.03


def test_prompts_of_pairs():
    lengths = torch.tensor([3, 2])
    batch = Conditional(VOCABULARY, "concatenated").prompt_pair(SOURCE, lengths)
    assert batch.tokens.tolist() == [[50, 51, BOS], [52, 53, BOS]]
    assert batch.is_prefix.tolist() == [[True, True, False]] * 2
    batch = Conditional(VOCABULARY, "source_target").prompt_pair(SOURCE, lengths)
    assert batch.source.tolist() == SOURCE.tolist()
    assert batch.tokens.tolist() == [[BOS], [BOS]]
    for layout in ("in_place", "permuted"):
        batch = Conditional(VOCABULARY, layout).prompt_pair(SOURCE, lengths)
        assert batch.tokens.tolist() == [[50, 51, MASK, MASK, MASK], [52, 53, MASK, MASK, PAD]]
        assert batch.weights.tolist() == [[0, 0, 1, 1, 1], [0, 0, 1, 1, 0]]
        assert batch.segments.tolist() == [[0, 0, 0, 0, 0], [0, 0, 0, 0, -1]]


def test_only_the_in_place_layout_needs_a_mask_token():
    bare = Vocabulary(10, torch.ones(10).bool(), torch.zeros(10).bool(), pad=0, bos=1, eos=2)
    Conditional(bare, "permuted")
    with pytest.raises(UserError, match="needs the special tokens mask"):
        Conditional(bare, "in_place")


@pytest.mark.parametrize("kind", FAMILIES)
def test_every_family_generates_from_a_prompt_of_pairs(kind):
    family = tiny(kind)
    written = family.generate(
        Conditional(VOCABULARY, family.layout).prompt_pair(SOURCE, torch.tensor([3, 3])), 3
    )
    assert written.shape == (2, 3)


@pytest.mark.parametrize("kind", FAMILIES)
def test_every_family_generates_from_nothing(kind):
    family = tiny(kind)
    prompt = Conditional(VOCABULARY, family.layout).prompt(torch.zeros(2, 0).long(), 3)
    written = family.generate(prompt, 3)
    assert written.shape == (2, 3)
    assert (written >= 0).all()


@pytest.mark.parametrize("kind", FAMILIES)
def test_every_family_classifies_and_losses_of_parts_add_up(kind):
    family = tiny(kind)
    objective = Classification(VOCABULARY, family.layout, classes=3)
    modules = objective.modules(family)
    batch = objective.read(TARGET, TARGET_SEGMENTS, torch.tensor([2, 0]))
    assert objective.logits(family, modules, batch).shape == (2, 3)
    whole = objective.loss(family, modules, batch)
    parts = sum(objective.loss(family, modules, batch.rows(slice(i, i + 1))).value for i in range(2))
    torch.testing.assert_close(parts, whole.value)
    assert set(whole.terms) == {"pair"}


@pytest.mark.parametrize("kind", FAMILIES)
def test_padding_does_not_change_a_class(kind):
    family = tiny(kind)
    objective = Classification(VOCABULARY, family.layout)
    modules = objective.modules(family)
    padded = objective.logits(family, modules, objective.read(TARGET, TARGET_SEGMENTS, torch.tensor([0, 0])))
    alone = objective.logits(family, modules, objective.read(TARGET[1:, :2], None, torch.tensor([0])))
    torch.testing.assert_close(padded[1:], alone)


def test_rows_without_label_are_not_asked():
    family = tiny("encoder_ae")
    objective = Classification(VOCABULARY, "in_place")
    modules = objective.modules(family)
    both = objective.loss(family, modules, objective.read(SOURCE, None, torch.tensor([1, -1])))
    one = objective.loss(family, modules, objective.read(SOURCE[:1], None, torch.tensor([1])))
    torch.testing.assert_close(both.value, one.value)


def test_fewer_than_two_classes_are_refused():
    with pytest.raises(UserError, match="classes=1 is below 2"):
        Classification(VOCABULARY, "in_place", classes=1)
