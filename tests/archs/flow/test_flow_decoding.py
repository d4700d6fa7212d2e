"""Cached decoding depends on what the mask declares for the text read at once; what is planted is found."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
import torch
from cores import CORES
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from archs import FAMILIES, CoreConfig
from archs.batch import Batch
from archs.core.cache import KeyValues
from archs.core.transformer import Stack
from archs.errors import UserError
from archs.families.decoder_ar import DecoderAR
from archs.families.permuted_lm import BlankSteps
from archs.families.steps import PromptSteps
from archs.flow.cached_decoding import check_decoding
from archs.flow.report import FlowReport
from archs.masks import CAUSAL, FULL, Mask, document

CONFIG = CoreConfig(50, 2, 16, 2, 32, 64)
WRITERS = [kind for kind in FAMILIES if kind != "encoder_ae"]

# Six cells in two rows, five source cells: segments, source segments, prefix, blanks of a permuted LM.
PROMPTS: dict[
    str, tuple[list[list[int]] | None, list[list[int]] | None, list[list[int]], list[list[int]]]
] = {
    "plain": (None, None, [[1] * 6, [1] * 6], [[0, 0, 0, 1, 1, 1], [0, 0, 0, 1, 1, 1]]),
    "left padded": (
        [[-1, -1, -1, 0, 0, 0], [0, 0, 0, 0, 0, 0]],
        [[-1, 0, 0, 0, 0], [0, 0, 0, -1, -1]],
        [[0, 0, 0, 1, 1, 1], [1, 1, 1, 1, 1, 1]],
        [[0, 0, 0, 1, 0, 1], [0, 1, 0, 1, 1, 0]],
    ),
    "several documents": (
        [[0, 0, 0, 1, 1, 1], [0, 1, 1, 1, 2, 2]],
        [[0, 0, 1, 1, 1], [0, 1, 1, 2, 2]],
        [[1, 1, 0, 1, 1, 1], [1, 1, 0, 0, 1, 1]],
        [[0, 1, 0, 1, 1, 0], [0, 0, 1, 0, 1, 0]],
    ),
    "prefixes that differ": (
        [[-1, 0, 0, 0, 1, 1], [-1, -1, 0, 0, 0, 0]],
        [[0, 0, 1, 1, 1], [0, 0, 0, 0, 0]],
        [[0, 1, 1, 0, 0, 0], [0, 0, 1, 1, 0, 0]],
        [[0, 1, 0, 0, 0, 1], [0, 0, 0, 1, 1, 0]],
    ),
    "blanks in the middle": (
        None,
        None,
        [[1, 0, 0, 0, 0, 0], [1, 1, 1, 0, 0, 0]],
        [[0, 1, 1, 0, 1, 0], [1, 0, 0, 0, 1, 0]],
    ),
    "one blank and many": (None, None, [[0] * 6, [0] * 6], [[0, 0, 0, 0, 0, 1], [1, 1, 1, 1, 1, 1]]),
}


def prompt(name: str) -> Batch:
    segments, source_segments, is_prefix, blanks = (
        None if part is None else torch.tensor(part) for part in PROMPTS[name]
    )
    assert is_prefix is not None
    assert blanks is not None
    rng = torch.Generator().manual_seed(1)
    return Batch.of(
        torch.randint(50, (2, 6), generator=rng),
        weights=blanks.float(),
        segments=segments,
        source=torch.randint(50, (2, 5), generator=rng),
        source_segments=source_segments,
        is_prefix=is_prefix.bool(),
    )


def found(cells: list, layer: int | None) -> list[tuple[int, str, int, int]]:
    """(row, stream, from, to) of the mismatches of a layer."""
    return [(cell.row, cell.stream, cell.source, cell.to) for cell in cells if cell.layer == layer]


@pytest.mark.slow
@pytest.mark.parametrize("name", PROMPTS)
@pytest.mark.parametrize("kind", WRITERS)
def test_cached_decoding_reads_what_the_mask_declares(kind: str, name: str, make_family) -> None:
    report = check_decoding(make_family(kind), prompt(name), 4)
    assert report.ok, report
    assert str(report) == "information flows exactly where the mask says"


@pytest.mark.slow
@pytest.mark.parametrize("changes", CORES.values(), ids=CORES)
@pytest.mark.parametrize("kind", WRITERS)
def test_cached_decoding_reads_what_the_mask_declares_whatever_the_core(
    kind: str, changes: dict, make_family
) -> None:
    family = make_family(kind, dropout=0.5, **changes).train()
    batch = prompt("several documents")
    types = torch.arange(6).expand(2, 6) % 2
    report = check_decoding(family, dataclasses.replace(batch, token_types=types), 2)
    assert report.ok, report
    assert family.training, "check_decoding works on a copy"


@pytest.mark.slow
@pytest.mark.parametrize("kind", WRITERS)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_cached_decoding_reads_what_the_mask_declares_for_any_prompt(kind: str, data, make_family) -> None:
    T, S = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 4))

    def cells(n: int, low: int, high: int) -> Tensor:
        return torch.tensor([data.draw(st.lists(st.integers(low, high), min_size=n, max_size=n))])

    segments, blanks = cells(T, -1, 1), cells(T, 0, 1)
    segments[0, -1], blanks[0, -1] = segments[0, -1].clamp(min=0), 1
    batch = Batch.of(
        torch.arange(T)[None],
        weights=(blanks * (segments >= 0)).float(),
        segments=segments,
        source=torch.arange(S)[None],
        source_segments=cells(S, -1, 1),
        is_prefix=cells(T, 0, 1).bool(),
    )
    report = check_decoding(make_family(kind, window=data.draw(st.sampled_from([None, 1]))), batch, 3)
    assert report.ok, report


def rows(report: FlowReport, stream: str) -> list[list[list[int]]]:
    assert report.measured["written"][stream].equal(report.declared["written"][stream])
    return report.measured["written"][stream].int().tolist()


def test_a_decoder_reads_its_document_of_the_prompt_and_what_it_wrote(make_family) -> None:
    report = check_decoding(make_family("encoder_decoder"), prompt("several documents"), 3)
    assert rows(report, "prompt") == [[[0, 0, 0, 1, 1, 1]] * 3, [[0, 0, 0, 0, 1, 1]] * 3]
    assert rows(report, "source") == [[[0, 0, 1, 1, 1]] * 3, [[0, 0, 0, 1, 1]] * 3]
    assert rows(report, "written") == [[[0, 0], [1, 0], [1, 1]]] * 2, "the last token is never read"


def test_a_permuted_lm_reads_no_blank_and_stops_where_there_are_no_more(make_family) -> None:
    report = check_decoding(make_family("permuted_lm"), prompt("blanks in the middle"), 9)
    assert rows(report, "prompt") == [
        [[1, 0, 0, 1, 0, 1]] * 3,
        [[0, 1, 1, 1, 0, 1]] * 2 + [[0] * 6],
    ]
    assert rows(report, "written") == [[[0, 0], [1, 0], [1, 1]], [[0, 0], [1, 0], [0, 0]]]
    report = check_decoding(make_family("permuted_lm"), prompt("one blank and many"), 9)
    assert rows(report, "prompt")[1] == [[0] * 6] * 6, "nothing is given"


def test_local_layers_lose_sight_of_the_prompt_as_they_write(make_family) -> None:
    report = check_decoding(make_family("decoder_ar", layers=1, window=2), prompt("plain"), 4)
    assert report.ok, report
    assert rows(report, "prompt")[0] == [
        [0, 0, 0, *last] for last in ([1, 1, 1], [0, 1, 1], [0, 0, 1], [0] * 3)
    ]
    assert rows(report, "written")[0] == [[0, 0, 0], [1, 0, 0], [1, 1, 0], [1, 1, 1]]


def test_a_mask_of_ones_own_is_checked_with_one_call() -> None:
    def meant(batch: Batch) -> Mask:
        return CAUSAL & Mask(lambda b, q, k: q - k < 3, "near") & document(batch.segments)

    def leaky(batch: Batch) -> Mask:
        return meant(batch) | Mask(lambda b, q, k: (b == 1) & (q == 7) & (k == 1), "leak")

    batch = prompt("plain")
    assert check_decoding(DecoderAR(CONFIG, mask=meant), batch, 4, declared=meant).ok
    report = check_decoding(DecoderAR(CONFIG, mask=leaky), batch, 4, declared=meant)
    # Row 7 of the cache is token 1 after a prompt of six, and writes token 2.
    assert found(report.leaks, 1) == [(1, "prompt", 1, 2)]
    assert not report.silences
    assert str(report).endswith(
        "the first at layer 1, batch row 1: from prompt position 1 to written position 2"
    )
    silent = check_decoding(DecoderAR(CONFIG, mask=meant), batch, 2)
    assert found(silent.silences, 1) == [
        (row, "prompt", cell, step) for row in (0, 1) for step in (0, 1) for cell in range(3 + step)
    ]


def test_a_mask_that_looks_ahead_is_silent_in_decoding_where_it_is_not_in_one_pass() -> None:
    def both_ways(batch: Batch) -> Mask:
        return FULL & document(batch.segments)

    report = check_decoding(DecoderAR(CONFIG, mask=both_ways), prompt("plain"), 3, declared=both_ways)
    assert not report.leaks
    assert found(report.silences, 1) == [
        (row, "written", later, step) for row in (0, 1) for step in (0, 1) for later in range(step, 2)
    ]


def read_with(
    monkeypatch: pytest.MonkeyPatch, steps: type, change: Callable[[int, Mask], Mask], place: int = 0
) -> None:
    """Changes a mask by which `steps` reads, given the number of the first row that is read.

    place: 0 is the mask over the cache, 1 that over the encoder's memory.
    """
    original = steps._read

    def read(self, tokens: Tensor, *masks: Mask) -> Tensor:
        changed = list(masks)
        changed[place] = change(self.cache.length, masks[place])
        return original(self, tokens, *changed)

    monkeypatch.setattr(steps, "_read", read)


def test_a_mask_forgotten_while_the_prompt_is_read_is_caught(monkeypatch, make_family) -> None:
    read_with(monkeypatch, PromptSteps, lambda start, mask: mask if start else CAUSAL)
    report = check_decoding(make_family("decoder_ar"), prompt("several documents"), 3)
    # The row that writes token 0 is the prompt's last: it sees all documents.
    assert found(report.leaks, 1) == [
        *((0, "prompt", cell, 0) for cell in (0, 1, 2)),
        *((1, "prompt", cell, 0) for cell in (0, 1, 2, 3)),
    ]
    # Later rows have a mask again, and see what the prompt's rows had seen.
    assert found(report.leaks, 2) == [
        *((0, "prompt", cell, step) for step in (0, 1, 2) for cell in (0, 1, 2)),
        *((1, "prompt", cell, step) for step in (0, 1, 2) for cell in (0, 1, 2, 3)),
    ]
    assert not report.silences
    assert str(report).endswith(
        "the first at layer 1, batch row 0: from prompt position 0 to written position 0"
    )


def test_padding_that_is_shown_after_the_prompt_is_caught(monkeypatch, make_family) -> None:
    read_with(monkeypatch, PromptSteps, lambda start, mask: CAUSAL if start else mask)
    report = check_decoding(make_family("prefix_lm"), prompt("left padded"), 3)
    assert found(report.leaks, 1) == [(0, "prompt", cell, step) for step in (1, 2) for cell in (0, 1, 2)]
    assert not report.silences


def test_a_cross_attention_that_shows_everything_after_the_prompt_is_caught(monkeypatch, make_family) -> None:
    read_with(monkeypatch, PromptSteps, lambda start, mask: FULL if start else mask, place=1)
    report = check_decoding(make_family("encoder_decoder"), prompt("left padded"), 3)
    assert found(report.leaks, 1) == [
        *((0, "source", 0, step) for step in (1, 2)),
        *((1, "source", cell, step) for step in (1, 2) for cell in (3, 4)),
    ]
    assert not report.silences


def test_a_permuted_lm_that_reads_its_own_blank_is_caught(monkeypatch, make_family) -> None:
    """Rows that have fewer given cells are filled up with others, blanks among them, which nobody may see."""
    read_with(monkeypatch, BlankSteps, lambda start, mask: mask if start else FULL)
    report = check_decoding(make_family("permuted_lm"), prompt("one blank and many"), 3)
    leaks = found(report.leaks, 1)
    assert {(row, stream, step) for row, stream, _, step in leaks} == {(1, "prompt", 0)}
    assert not report.silences
    assert found(report.leaks, None)


def test_a_cache_that_is_written_a_row_too_early_is_caught(monkeypatch, make_family) -> None:
    original = KeyValues.append

    def append(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        if self.length == 6:  # the first token written goes over the prompt's last
            self.length = 5
            original(self, k, v)
        return original(self, k, v)

    monkeypatch.setattr(KeyValues, "append", append)
    report = check_decoding(make_family("decoder_ar"), prompt("plain"), 3)
    assert not report.leaks
    assert found(report.silences, 1) == [(row, "prompt", 5, step) for row in (0, 1) for step in (1, 2)]
    assert str(report).endswith(
        "the first at layer 1, batch row 0: from prompt position 5 to written position 1"
    )


def test_a_written_token_that_is_forgotten_is_caught(monkeypatch, make_family) -> None:
    deaf = Mask(lambda b, q, k: (b != 0) | (q != 5) | (k != 3), "deaf")
    read_with(monkeypatch, BlankSteps, lambda start, mask: mask & deaf)
    report = check_decoding(make_family("permuted_lm"), prompt("plain"), 3)
    # Three given cells, then token 0 in row 3 and token 1 in row 4, whose query for token 2 is row 5.
    assert found(report.silences, 1) == [(0, "written", 0, 2)]
    assert not report.leaks


def test_logits_read_from_another_row_are_caught(monkeypatch, make_family) -> None:
    original = Stack.forward

    def forward(self, *args, **named):
        rows, layers = original(self, *args, **named)
        return rows.roll(1, dims=1), layers

    monkeypatch.setattr(Stack, "forward", forward)
    report = check_decoding(make_family("decoder_ar"), prompt("plain"), 2)
    # The prompt's last row but one; later steps read one row alone.
    assert [dataclasses.astuple(cell) for cell in report.silences] == [
        (None, row, "prompt", 5, "written", 0) for row in (0, 1)
    ]
    assert not report.leaks
    assert str(report).endswith(
        "the first at logits, batch row 0: from prompt position 5 to written position 0"
    )


def test_what_cannot_be_checked_is_refused(make_family) -> None:
    with pytest.raises(UserError, match="encoder_ae has no steps from left to right"):
        check_decoding(make_family("encoder_ae"), prompt("plain"), 2)
    with pytest.raises(UserError, match="length=0 writes nothing to check; give 1 or more"):
        check_decoding(make_family("decoder_ar"), prompt("plain"), 0)
    full = dataclasses.replace(prompt("plain"), weights=torch.zeros(2, 6))
    with pytest.raises(UserError, match="the prompt has no blanks"):
        check_decoding(make_family("permuted_lm"), full, 2)
    with pytest.raises(UserError, match="more than one mask; check it without `declared`"):
        check_decoding(make_family("permuted_lm"), prompt("plain"), 2, declared=lambda batch: CAUSAL)
