"""A function of the user's as a mask: rules within documents, builders, and what is refused in one line."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor

from archs import CoreConfig
from archs.batch import Batch
from archs.core.attention import attend, visible
from archs.errors import UserError
from archs.families.decoder_ar import DecoderAR
from archs.families.encoder_ae import EncoderAE
from archs.flow.cached_decoding import check_decoding
from archs.flow.whole_pass import check_flow
from archs.masks import CAUSAL, Mask, document
from archs.rules import mask_builder

TINY = CoreConfig(vocabulary=50, layers=2, width=16, heads=2, ffn=32, max_length=64)
PLACES = torch.arange(6)
TWO_DOCUMENTS = Batch.of(torch.arange(12).view(2, 6), segments=torch.tensor([[0, 0, 0, 1, 1, -1]] * 2))


def two_back(q: Tensor, k: Tensor) -> Tensor:
    return (k <= q) & (q - k <= 2)


def first_row_only(b: Tensor, q: Tensor, k: Tensor) -> Tensor:
    return (b == 0) & (k <= q)


def everything(batch: Batch) -> Mask:
    return CAUSAL


def seen(function: Any, batch: Batch = TWO_DOCUMENTS) -> list[list[list[int]]]:
    return mask_builder(function, "mine.rule")(batch).dense(2, PLACES, PLACES).long().tolist()


def test_a_rule_of_places_is_kept_within_documents_and_off_the_padding() -> None:
    within = [
        [1, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0],
        [1, 1, 1, 0, 0, 0],
        [0, 0, 0, 1, 0, 0],
        [0, 0, 0, 1, 1, 0],
        [0, 0, 0, 0, 0, 0],
    ]
    assert seen(two_back) == [within, within]
    assert seen(first_row_only) == [within, [[0] * 6] * 6]
    assert str(mask_builder(two_back, "mine.two_back")(TWO_DOCUMENTS)) == "mine.two_back & document"


def test_a_rule_over_one_full_document_is_the_rule_alone() -> None:
    row = Batch.of(torch.arange(6)[None])
    assert mask_builder(two_back, "mine.two_back")(row).dense(1, PLACES, PLACES)[0, 5].tolist() == (
        [False] * 3 + [True] * 3
    )


def test_a_builder_decides_everything_itself() -> None:
    assert mask_builder(everything, "mine.everything") is everything
    assert seen(everything) == CAUSAL.dense(2, PLACES, PLACES).long().tolist()
    assert seen(lambda batch: document(batch.segments) & CAUSAL) == seen(lambda q, k: k <= q)


def test_options_with_defaults_do_not_count_as_arguments() -> None:
    assert seen(lambda q, k, back=2: (k <= q) & (q - k <= back)) == seen(two_back)
    assert seen(lambda batch, unused=None: CAUSAL) == seen(everything)


@pytest.mark.parametrize("family", [EncoderAE, DecoderAR])
def test_information_flows_where_a_rule_says_in_training_and_in_cached_decoding(family: type) -> None:
    builder = mask_builder(two_back, "mine.two_back")
    model = copy.deepcopy(family(TINY, mask=pickle.loads(pickle.dumps(builder))))
    assert check_flow(model, TWO_DOCUMENTS, declared=builder).ok
    if family is DecoderAR:
        assert check_flow(model, TWO_DOCUMENTS).leaks == []
        assert check_decoding(model, Batch.of(torch.arange(12).view(2, 6)), length=3, declared=builder).ok


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@pytest.mark.parametrize("rule", [two_back, first_row_only])
def test_a_rule_means_the_same_to_flex_attention(rule: Any) -> None:
    mask = mask_builder(rule, "mine.rule")(TWO_DOCUMENTS)
    q, k, v = torch.randn(3, 2, 1, 6, 16, generator=torch.Generator().manual_seed(0))
    cpu = torch.device("cpu")
    with torch.no_grad():
        dense, flex = (
            attend(q, k, v, visible(mask, 2, 6, 6, cpu, backend=backend)) for backend in ("dense", "flex")
        )
    torch.testing.assert_close(dense, flex)


def test_a_rule_compiles_into_one_graph() -> None:
    from archs.core.attention import prepare_to_compile

    prepare_to_compile()
    family = DecoderAR(TINY, mask=mask_builder(two_back, "mine.two_back")).eval()
    compiled = torch.compile(family.hidden, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(TWO_DOCUMENTS).rows, family.hidden(TWO_DOCUMENTS).rows)


MISTAKES: dict[str, tuple[Any, list[str]]] = {
    "no argument": (lambda: CAUSAL, ["takes no arguments", "def rule(q, k)"]),
    "flex attention's four": (lambda b, h, q, k: k <= q, ["takes b, h, q, k", "def rule(b, q, k)"]),
    "stars alone": (lambda *places: True, ["takes no arguments"]),
    "keywords": (lambda *, q, k: k <= q, ["takes q, k", "def rule(q, k)"]),
    "numbers": (lambda q, k: q - k, ["gives torch.int64", "return booleans"]),
    "one truth value": (lambda q, k: True, ["gives bool", "return booleans"]),
    "a mask": (lambda q, k: CAUSAL, ["gives Mask", "return booleans"]),
    "and": (lambda q, k: k <= q and q - k < 16, ["one truth value", "& | ~"]),
    "if": (lambda q, k: k <= q if (k <= q) else q < k, ["one truth value", "torch.where"]),
    "a table": (lambda q, k: torch.ones(64, 64).bool(), ["the shape (64, 64)", "(2, 5, 7)"]),
    "another axis": (lambda q, k: (k <= q)[..., None, :, :], ["the shape (1, 1, 5, 7)"]),
    "flattened": (lambda q, k: (k <= q).flatten(), ["the shape (35,)"]),
    "an error": (lambda q, k: k <= torch.zeros(3)[q], ["fails", "IndexError"]),
    "a name that is not there": (lambda q, k: k <= nowhere, ["fails", "NameError", "nowhere"]),  # noqa: F821
    "shapes of a grid": (lambda q, k: k.expand(1, q.shape[1], -1) <= q, ["fails", "IndexError"]),
    "all keys": (lambda q, k: k <= k.max() - 3, ["for a place alone", "what was trained"]),
    "chance": (lambda q, k: torch.rand((q - k).shape) < 0.5, ["for a place alone"]),
}


@pytest.mark.parametrize("what", MISTAKES)
def test_a_mistake_in_a_rule_is_one_line_that_names_the_function(what: str) -> None:
    function, words = MISTAKES[what]
    torch.manual_seed(0)
    with pytest.raises(UserError) as caught:
        mask_builder(function, "mine.rule")
    message = str(caught.value)
    assert "\n" not in message
    assert all(word in message for word in ["'mine.rule'", *words]), message


def test_what_a_rule_or_a_builder_does_wrong_later_is_told_at_run_time() -> None:
    def late(q: Tensor, k: Tensor) -> Tensor:
        return k <= q if k.numel() < 8 else q - k

    row = Batch.of(torch.arange(40)[None])
    with pytest.raises(UserError, match=r"'mine.late' gives torch.int64"):
        DecoderAR(TINY, mask=mask_builder(late, "mine.late")).hidden(row)
    lazy = Mask(lambda b, q, k: k <= q and q - k < 3, "lazy")
    with pytest.raises(UserError, match=r"'lazy & document' asks a tensor for one truth value"):
        DecoderAR(TINY, mask=lambda batch: lazy & document(batch.segments)).hidden(TWO_DOCUMENTS)
    with pytest.raises(UserError, match="a mask builder returned bool"):
        DecoderAR(TINY, mask=mask_builder(lambda batch: True, "mine.builder")).hidden(row)
