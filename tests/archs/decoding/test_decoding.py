"""Writing from left to right: cached equals uncached, a batch equals its rows, texts end where they must."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from cores import CORES
from torch.nn import functional
from writing import BLANKS, PROMPTS, WRITERS, Watched, fills, lively, prompt, readable, uncached, with_blanks

from archs import FAMILIES, Family
from archs.batch import Batch
from archs.core.single_row import lay_out_for_rows
from archs.decoding.decoding import GREEDY, Decoding
from archs.decoding.generate import prompts, write
from archs.errors import UserError
from archs.families.steps import with_room
from archs.masks import Mask

Make = Callable[..., Family]
LENGTH = 4
SEARCHES = {"greedy": GREEDY, "sampled": Decoding(temperature=1.0), "three beams": Decoding(beams=3)}


def check_each_step(family: Family, batch: Batch, how: Decoding) -> Watched:
    steps = Watched(family.steps(batch, LENGTH), len(batch.tokens))
    with torch.no_grad():
        write(steps, LENGTH, how, torch.Generator().manual_seed(0))
    for rows, written, cached in steps.noted:
        there = torch.ones(len(rows)).bool() if steps.room is None else written.shape[1] < steps.room[rows]
        expected = uncached(family, batch.rows(rows), written)
        torch.testing.assert_close(cached[there], expected[there], atol=1e-5, rtol=0)
    return steps


@pytest.mark.parametrize("name", PROMPTS)
@pytest.mark.parametrize("changes", CORES.values(), ids=CORES)
@pytest.mark.parametrize("kind", [kind for kind in WRITERS if not fills(kind)])
def test_cached_logits_equal_uncached_ones_at_each_step(
    kind: str, changes: dict, name: str, make_family: Make
) -> None:
    check_each_step(lively(make_family(kind, **changes)), prompt(name), GREEDY)


@pytest.mark.parametrize("name", BLANKS)
@pytest.mark.parametrize("changes", CORES.values(), ids=CORES)
def test_cached_logits_of_a_permuted_lm_equal_uncached_ones_at_each_step(
    changes: dict, name: str, make_family: Make
) -> None:
    check_each_step(lively(make_family("permuted_lm", **changes)), with_blanks(name), GREEDY)


@pytest.mark.parametrize("changes", CORES.values(), ids=CORES)
@pytest.mark.parametrize("kind", WRITERS)
def test_cached_logits_equal_uncached_ones_where_beams_change_places(
    kind: str, changes: dict, make_family: Make
) -> None:
    family = lively(make_family(kind, **changes))
    moved = [
        check_each_step(family, with_blanks(name) if fills(kind) else prompt(name), Decoding(beams=3)).moved
        for name in ("left padded", "several documents")
    ]
    assert any(moved)


def test_a_step_reads_one_row_and_one_query(make_family: Make) -> None:
    for kind, rows in (("decoder_ar", 1), ("permuted_lm", 2)):
        family, widths = make_family(kind), []
        family.stack.register_forward_pre_hook(lambda _, given, to=widths: to.append(given[0].shape[1]))
        family.generate(readable(kind), 3)
        assert widths[1:] == [rows, rows]


@pytest.mark.parametrize("how", [GREEDY, Decoding(beams=3), Decoding(beams=2, length_penalty=0.0)])
@pytest.mark.parametrize("kind", WRITERS)
def test_a_batch_is_written_as_its_rows_one_at_a_time(kind: str, how: Decoding, make_family: Make) -> None:
    family = lively(make_family(kind))
    names = BLANKS if fills(kind) else PROMPTS
    how = replace(how, stop=(1, 2, 3, 4, 5, 6, 7))
    for name in names:
        batch = with_blanks(name) if fills(kind) else prompt(name)
        together = family.generate(batch, LENGTH, how)
        assert together.shape == (2, LENGTH)
        for row in range(2):
            alone = family.generate(batch.rows(slice(row, row + 1)), LENGTH, how)
            assert torch.equal(alone, together[row : row + 1]), name


@pytest.mark.parametrize("how", [GREEDY, Decoding(beams=3)])
@pytest.mark.parametrize("kind", [kind for kind in WRITERS if not fills(kind)])
def test_prompts_of_different_lengths_are_written_on_as_if_alone(
    kind: str, how: Decoding, make_family: Make
) -> None:
    family = lively(make_family(kind, positions="learned"))
    texts, sources = [[4, 8, 15], [16], [23, 42, 4, 8, 7]], [[1, 2], [], [3, 4, 5]]
    together = family.generate(prompts(texts, sources), LENGTH, how)
    for row, (text, source) in enumerate(zip(texts, sources, strict=True)):
        assert torch.equal(family.generate(prompts([text], [source]), LENGTH, how)[0], together[row])


def test_positions_go_on_from_those_of_the_prompt(make_family: Make) -> None:
    family, batch = lively(make_family("decoder_ar", positions="learned")), prompt("plain")
    later = replace(batch, positions=batch.positions + 7)
    assert with_room(later, 2).positions[0].tolist() == [7, 8, 9, 10, 11, 12, 13, 14]
    assert not torch.equal(family.generate(later, LENGTH), family.generate(batch, LENGTH))


def test_prompts_are_padded_on_the_left() -> None:
    batch = prompts([[5, 6, 7], [8]], sources=[[], [9]])
    assert batch.tokens.tolist() == [[5, 6, 7], [0, 0, 8]]
    assert batch.segments is not None
    assert batch.is_prefix is not None
    assert batch.source_segments is not None
    assert batch.segments.tolist() == [[0, 0, 0], [-1, -1, 0]]
    assert batch.is_prefix.tolist() == [[True, True, True], [False, False, True]]
    assert batch.positions[1, 2] == 0
    assert batch.source_segments.tolist() == [[-1], [0]]
    assert prompts([[5, 6], [7, 8]]).segments is None


@pytest.mark.parametrize("how", SEARCHES.values(), ids=SEARCHES)
@pytest.mark.parametrize("kind", WRITERS)
def test_a_forbidden_token_is_never_written(kind: str, how: Decoding, make_family: Make) -> None:
    family, batch = make_family(kind), readable(kind)
    forbid = torch.ones(50, dtype=torch.bool)
    forbid[[17, 23]] = False
    written = family.generate(batch, 3, replace(how, forbid=forbid), torch.Generator().manual_seed(0))
    assert set(written.flatten().tolist()) <= {17, 23}
    greedy = family.generate(batch, 3)
    forbid = functional.one_hot(greedy[0, 0], 50).bool()
    assert greedy[0, 0] not in family.generate(batch, 3, replace(how, forbid=forbid))


@pytest.mark.parametrize("kind", WRITERS)
def test_a_stop_token_is_the_last_one_and_changes_none_before_it(kind: str, make_family: Make) -> None:
    family, batch = lively(make_family(kind)), readable(kind)
    if not fills(kind):
        batch = replace(batch, is_prefix=None)
    for seed in range(5):
        how = Decoding(temperature=2.0)
        free = family.generate(batch, 3, how, torch.Generator().manual_seed(seed)).tolist()
        how = replace(how, stop=(free[0][1], free[1][0]))
        for whole, cut in zip(
            free, family.generate(batch, 3, how, torch.Generator().manual_seed(seed)).tolist(), strict=True
        ):
            last = min(whole.index(token) for token in how.stop if token in whole)
            assert cut == [*whole[: last + 1], *[-1] * (2 - last)]


@pytest.mark.parametrize("kind", WRITERS)
def test_nothing_is_read_once_all_rows_have_stopped(kind: str, make_family: Make) -> None:
    family, batch = make_family(kind), readable(kind)
    for allowed, passes in ((17, 1), (23, 3)):
        steps = Watched(family.steps(batch, 3), 2)
        forbid = functional.one_hot(torch.tensor(allowed), 50) == 0
        written = write(steps, 3, Decoding(stop=(17, 5), forbid=forbid))
        assert written.tolist() == [[17, -1, -1] if passes == 1 else [23, 23, 23]] * 2
        assert len(steps.noted) == passes


def test_a_row_without_room_does_not_keep_the_others_going(make_family: Make) -> None:
    family, batch = lively(make_family("permuted_lm")), with_blanks("ragged")
    first, second = family.generate(batch, 1)[:, 0].tolist()
    assert first != second
    steps = Watched(family.steps(batch, 3), 2)
    assert write(steps, 3, Decoding(stop=(first,))).tolist() == [[first, -1, -1], [second, -1, -1]]
    assert len(steps.noted) == 1


@pytest.mark.parametrize("how", SEARCHES.values(), ids=SEARCHES)
def test_a_row_with_fewer_blanks_ends_in_padding(how: Decoding, make_family: Make) -> None:
    written = make_family("permuted_lm").generate(with_blanks("ragged"), 5, how)
    assert (written >= 0).tolist() == [[True, True, True, False, False], [True, False, False, False, False]]
    assert set(written[written < 0].tolist()) == {-1}
    nothing = replace(with_blanks("ragged"), weights=torch.zeros(2, 7))
    assert make_family("permuted_lm").generate(nothing, 2, how).tolist() == [[-1, -1], [-1, -1]]


@pytest.mark.parametrize("how", SEARCHES.values(), ids=SEARCHES)
@pytest.mark.parametrize("kind", WRITERS)
def test_no_tokens_are_no_columns(kind: str, how: Decoding, make_family: Make) -> None:
    written = make_family(kind).generate(readable(kind), 0, how)
    assert written.shape == (2, 0)
    assert written.dtype == torch.long


@pytest.mark.parametrize("changes", CORES.values(), ids=CORES)
@pytest.mark.parametrize("kind", FAMILIES)
def test_a_family_can_be_trained_on_what_it_wrote(kind: str, changes: dict, make_family: Make, loss) -> None:
    family, batch = make_family(kind, **changes), readable(kind)
    width = batch.tokens.shape[1]
    written = family.generate(batch, width).clamp(min=0)
    asked = Batch.of(
        written,
        weights=torch.ones(2, width),
        rank=torch.arange(1, width + 1).expand(2, width),
        queries=torch.arange(width).expand(2, width),
        source=written,
    )
    loss(family, asked).backward()
    assert family.embedding.weight.grad is not None


@pytest.mark.parametrize("changes", CORES.values(), ids=CORES)
def test_a_source_of_no_cells_is_as_one_of_padding(changes: dict, make_family: Make) -> None:
    family = lively(make_family("encoder_decoder", **changes))
    none = family.generate(prompts([[1, 2], [3, 4]], [[], []]), LENGTH)
    mixed = family.generate(prompts([[1, 2], [3, 4], [5, 6]], [[], [], [7]]), LENGTH)
    assert torch.equal(none, mixed[:2])


def test_learned_positions_reach_to_the_last_token_that_is_read(make_family: Make) -> None:
    for kind in WRITERS:
        family = make_family(kind, positions="learned", max_length=6)
        if fills(kind):
            with pytest.raises(UserError, match="position 6 was asked of a family with 6 learned positions"):
                family.generate(with_blanks("at the end"), 1)
            continue
        batch = prompts([[1, 2, 3, 4], [5]], [[1], [2]])
        assert family.generate(batch, 3).shape == (2, 3)  # the last token is written and not read
        with pytest.raises(UserError, match="position 6 was asked of a family with 6 learned positions"):
            family.generate(batch, 4)
        with pytest.raises(UserError, match="position 7 was asked"):
            family.generate(prompts([list(range(8))], [[1]]), 1)


PADDED_AT_THE_END = Batch.of(torch.ones(2, 3).long(), segments=torch.tensor([[0, 0, 0], [0, 0, -1]]))


@pytest.mark.parametrize("kind", [kind for kind in WRITERS if not fills(kind)])
def test_a_prompt_without_a_last_token_is_refused(kind: str, make_family: Make) -> None:
    family, source = make_family(kind), torch.ones(2, 3).long()
    empty = Batch.of(torch.ones(2, 0).long(), source=source)
    with pytest.raises(UserError, match=r"an empty prompt: .*begin it with a start token"):
        family.generate(empty, 3)
    padded = replace(PADDED_AT_THE_END, source=source, source_positions=torch.arange(3).expand(2, 3))
    with pytest.raises(UserError, match="the prompt of row 1 ends in padding; pad on the left"):
        family.generate(padded, 3)


def test_prompts_that_cannot_be_are_refused() -> None:
    with pytest.raises(UserError, match="row 1 of the prompts is empty; begin each with a start token"):
        prompts([[1], []])
    with pytest.raises(UserError, match="no prompts came"):
        prompts([])
    with pytest.raises(UserError, match="2 prompts came with 1 sources"):
        prompts([[1], [2]], [[1]])


@pytest.mark.parametrize(
    "row", [[1.5], ["a"], [[1, 2], [3, 4]], torch.ones(2, 2), 3, [2**70], "a text", None]
)
def test_what_is_no_row_of_token_ids_is_refused_in_one_line(row: Any) -> None:
    for rows, sources, name in (([[1], row], None, "prompts"), ([[1], [2]], [[1], row], "sources")):
        with pytest.raises(UserError, match=f"row 1 of the {name} is .*; give a list of token ids") as error:
            prompts(rows, sources)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"temperature": -0.1}, r"temperature=-0\.1 is not a number from 0 on"),
        ({"temperature": float("nan")}, "temperature=nan"),
        ({"temperature": float("inf")}, "temperature=inf"),
        ({"temperature": 1e-45}, "temperature=1e-45 cannot be told from greedy"),
        ({"temperature": 1e300}, r"give 0, which is greedy, or a number from 1e-06 to 1000000\.0"),
        ({"temperature": "1"}, "temperature='1' is not a number from 0 on"),
        ({"temperature": 1.0, "top_k": 2.5}, r"top_k=2\.5 is not a whole number"),
        ({"temperature": 1.0, "top_p": "all"}, "top_p='all' is not above 0"),
        ({"beams": 2.5}, r"beams=2\.5 is not a whole number"),
        ({"beams": 10**9}, "beams=1000000000 is too wide; give at most 1000"),
        ({"beams": 2, "length_penalty": 1e9}, r"length_penalty=1000000000\.0 leaves nothing .* from -5 to 5"),
        ({"beams": 2, "length_penalty": -5.1}, r"length_penalty=-5\.1 leaves nothing"),
        ({"beams": 2, "length_penalty": "1"}, "length_penalty='1' is not a finite number"),
        ({"rounds": None}, "rounds=None is not a whole number"),
        ({"stop": 3}, r"stop=3 is not a tuple of tokens; give their ids, such as \(3,\)"),
        ({"stop": (3.5,)}, r"stop=\(3\.5,\) is not a tuple of tokens"),
        ({"temperature": 1.0, "top_k": 0}, "top_k=0 leaves no token"),
        ({"temperature": 1.0, "top_p": 0.0}, r"top_p=0\.0 is not above 0 and at most 1"),
        ({"temperature": 1.0, "top_p": 1.5}, r"top_p=1\.5"),
        ({"temperature": 1.0, "top_p": 1e-300}, "top_p=1e-300 leaves no token; give a share from 1e-06 on"),
        ({"top_k": 5}, "top_k and top_p are for sampling; set a temperature above 0 too"),
        ({"top_p": 0.5}, "top_k and top_p are for sampling"),
        ({"beams": 0}, "beams=0 is no width"),
        ({"beams": 2, "temperature": 0.5}, "beam search does not sample; set one of the two"),
        ({"length_penalty": 2.0}, "compares beams; set beams above 1 too"),
        ({"beams": 2, "length_penalty": float("nan")}, "length_penalty=nan is not a finite number"),
        ({"rounds": 0}, "rounds=0 fills nothing"),
        ({"fill": "parallel"}, "fill=parallel is unknown; choose one of: mask_predict, left_to_right"),
    ],
)
def test_a_decoding_that_means_nothing_is_refused(values: dict, message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        Decoding(**values)
    assert "\n" not in str(error.value)


ALL = torch.ones(50, dtype=torch.bool)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        (Decoding(stop=(50,)), "stop token 50 is not in the vocabulary; allowed are 0 to 49"),
        (Decoding(stop=(-1,)), "stop token -1 is not in the vocabulary"),
        (Decoding(forbid=ALL), "forbid leaves no token to write"),
        (Decoding(forbid=ALL[:9]), r"forbid is torch\.bool \(9,\); give one bool for each of the 50 tokens"),
        (Decoding(forbid=ALL.long()), r"forbid is torch\.int64"),
        (Decoding(forbid=[True]), r"forbid is \[True\]; give one bool"),  # type: ignore[arg-type]
        (
            Decoding(stop=(2, 3), forbid=functional.one_hot(torch.tensor(3), 50).bool()),
            "stop token 3 is forbid",
        ),
    ],
)
@pytest.mark.parametrize("kind", FAMILIES)
def test_a_decoding_that_does_not_fit_the_vocabulary_is_refused(
    kind: str, how: Decoding, message: str, make_family: Make
) -> None:
    with pytest.raises(UserError, match=message):
        make_family(kind).generate(readable(kind), 3, how)


@pytest.mark.parametrize(
    ("length", "message"),
    [
        (-1, "length=-1 is negative"),
        (10**11, "length=100000000000 is more than can be kept in memory; give at most 100000"),
        (2.5, r"length=2\.5 is not a whole number"),
    ],
)
@pytest.mark.parametrize("kind", FAMILIES)
def test_a_length_that_cannot_be_is_refused(kind: str, length: int, message: str, make_family: Make) -> None:
    with pytest.raises(UserError, match=message):
        make_family(kind).generate(readable(kind), length)


@pytest.mark.parametrize("token", [-1, 50])
@pytest.mark.parametrize("kind", FAMILIES)
def test_a_prompt_with_a_token_out_of_the_vocabulary_is_refused(
    kind: str, token: int, make_family: Make
) -> None:
    batch = readable(kind)
    wrong = replace(batch, tokens=batch.tokens.index_fill(1, torch.tensor([5]), token))
    message = f"token {token} of the prompt is not in the vocabulary; allowed are 0 to 49"
    with pytest.raises(UserError, match=message):
        make_family(kind).generate(wrong, 3)
    with pytest.raises(UserError, match=r"the prompt is torch\.float32; give whole numbers"):
        make_family(kind).generate(replace(batch, tokens=batch.tokens.float()), 3)


def test_a_source_with_a_token_out_of_the_vocabulary_is_refused_by_those_who_read_it(
    make_family: Make,
) -> None:
    batch = prompts([[1], [2]], [[3], [4, 50]])
    with pytest.raises(UserError, match="token 50 of the source is not in the vocabulary"):
        make_family("encoder_decoder").generate(batch, 3)
    assert make_family("decoder_ar").generate(batch, 3).shape == (2, 3)


@pytest.mark.parametrize("dropout", ["dropout", "attention_dropout"])
@pytest.mark.parametrize("kind", FAMILIES)
def test_a_family_that_drops_out_writes_nothing_until_eval(
    kind: str, dropout: str, make_family: Make
) -> None:
    family = make_family(kind, **{dropout: 0.1}).train()
    with pytest.raises(UserError, match=r"training mode, where dropout changes .* call family\.eval\(\)"):
        family.generate(readable(kind), 3)
    assert family.eval().generate(readable(kind), 3).shape == (2, 3)
    assert make_family(kind).train().generate(readable(kind), 3).shape == (2, 3)


@pytest.mark.parametrize("how", [GREEDY, Decoding(beams=3)])
@pytest.mark.parametrize("changes", CORES.values(), ids=CORES)
@pytest.mark.parametrize("kind", WRITERS)
def test_without_a_table_of_who_sees_whom_the_same_is_written(
    kind: str, changes: dict, how: Decoding, make_family: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    family, batch = lively(make_family(kind, **changes)), readable(kind)
    expected = family.generate(batch, LENGTH, how)
    monkeypatch.setattr("archs.families.steps.LARGEST_TABLE", 0)
    assert torch.equal(family.generate(batch, LENGTH, how), expected)


@pytest.mark.parametrize("kind", ["decoder_ar", "prefix_lm", "encoder_decoder"])
def test_a_long_text_gets_no_table_of_who_sees_whom(
    kind: str, make_family: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells: list[int] = []
    dense = Mask.dense

    def counted(mask: Mask, batch: int, q: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
        cells.append(batch * len(q) * len(k))
        return dense(mask, batch, q, k)

    monkeypatch.setattr(Mask, "dense", counted)
    steps = make_family(kind, positions="rope").steps(prompts([[1, 2], [3]], [[4, 5], [6]]), 16_000)
    with torch.no_grad():
        steps.next(steps.first().argmax(-1))
    assert max(cells) < 100_000


@pytest.mark.parametrize("how", [Decoding(rounds=2), Decoding(fill="left_to_right")])
@pytest.mark.parametrize("kind", WRITERS)
def test_an_order_of_filling_is_refused_by_families_that_do_not_fill(
    kind: str, how: Decoding, make_family: Make
) -> None:
    with pytest.raises(UserError, match=f"for an encoder_ae; {kind} writes left to right"):
        make_family(kind).generate(readable(kind), 3, how)


@pytest.mark.parametrize("changes", CORES.values(), ids=CORES)
def test_matrices_turned_round_in_memory_write_the_same(changes: dict, make_family) -> None:
    family, batch = make_family("decoder_ar", **changes), prompt("left padded")
    kept = {name: weight.clone() for name, weight in family.state_dict().items()}
    before = family.generate(batch, LENGTH)
    for _ in range(2):
        lay_out_for_rows(family)
        assert family.stack.blocks[0].attention.query_key_value.weight.stride(0) == 1
        assert all(torch.equal(weight, kept[name]) for name, weight in family.state_dict().items())
        assert torch.equal(family.generate(batch, LENGTH), before)
        check_each_step(family, batch, GREEDY)
