import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_text import CLS, EOS, PAD, VOCABULARY, WORDS, random_windows, real, seeded, seeds, tiny, windows

from archs import CoreConfig, build
from archs.errors import UserError
from archs.families.permuted_lm import mask
from archs.flow.whole_pass import check_flow
from objectives.base import Windows
from objectives.span_by_span import SpanBySpan

SHORT = Windows(torch.tensor([[40, 41, 42, 43, 44, 45, EOS]]))
shares = st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0])


def objective(**options):
    return SpanBySpan(VOCABULARY, "permuted", **options)


def by_document(text):
    """(row, columns) of each document."""
    segments = torch.zeros_like(text.tokens) if text.segments is None else text.segments
    for row in range(len(segments)):
        for number in segments[row][segments[row] >= 0].unique():
            yield row, (segments[row] == number).nonzero()[:, 0].tolist()


def test_later_rows_see_noise_and_the_truth_is_asked():
    """The class docstring's example: source `40 41`, spans `42 43` and `44 45`, 99 in the place of 43."""
    seen = torch.tensor([[40, 41, 42, 99, 44, 45, EOS]])
    rank = torch.tensor([[0, 0, 1, 1, 2, 2, 2]])
    batch = objective().batch(SHORT, seen, rank)
    assert batch.tokens.tolist() == seen.tolist()
    assert batch.targets.tolist() == SHORT.tokens.tolist()
    assert batch.weights.tolist() == [[0, 0, 1, 1, 1, 1, 0]]
    assert batch.rank.tolist() == rank.tolist()
    assert batch.queries.tolist() == [[2, 3, 4, 5, -1, -1, -1]]
    assert batch.totals == {"tokens": 4.0}


def test_word_by_word_ranks_count_and_the_end_has_the_rank_of_the_last_word():
    rank = objective(low=0.34, high=0.34, words=1.0).ranks(SHORT, seeded())
    assert rank.tolist() == [[0, 0, 1, 2, 3, 4, 4]]


def test_a_special_token_before_all_others_is_source():
    text = Windows(torch.tensor([[CLS, 40, 41, EOS, 42]]))
    rank = objective(low=0.0, high=0.0, words=1.0).ranks(text, seeded())
    assert rank.tolist() == [[0, 1, 2, 2, 3]]


def test_each_document_has_a_source_of_its_own():
    text = Windows(
        torch.tensor([[40, 41, EOS, 50, 51, 52, 53, EOS, 60, 61, PAD]]),
        torch.tensor([[0, 0, 0, 1, 1, 1, 1, 1, 2, 2, -1]]),
    )
    made = objective(low=0.5, high=0.5, words=1.0, noise=0.0)
    batch = made.build(text, seeded())
    assert batch.rank.tolist() == [[0, 1, 1, 0, 0, 1, 2, 2, 0, 1, 0]]
    assert batch.queries.tolist() == [[1, 5, 6, 9, *[-1] * 7]]


def test_a_first_span_without_any_source_is_not_asked():
    text = Windows(torch.tensor([[EOS, 50, 51, 40, 41, 42]]), torch.tensor([[0, 0, 0, 1, 1, 1]]))
    rank = torch.tensor([[0, 1, 1, 1, 1, 2]])
    batch = objective().batch(text, text.tokens, rank)
    # `50 51` see the special token before them; `40 41` see nothing.
    assert batch.weights.tolist() == [[0, 1, 1, 0, 0, 1]]


@given(text=windows, seed=seeds, low=shares, words=shares, longest=st.integers(1, 5))
@settings(max_examples=150, deadline=None)
def test_ranks_go_up_by_one_a_span_from_the_split_of_each_document(text, seed, low, words, longest):
    made = objective(low=low, high=min(low + 0.25, 1.0), words=words, longest=longest)
    rank = made.ranks(text, seeded(seed))
    assert (rank[~real(text)] == 0).all()
    for row, columns in by_document(text):
        ordinary = [column for column in columns if text.tokens[row, column] >= WORDS]
        ranks = rank[row, ordinary].tolist()
        size, source = len(ranks), ranks.count(0)
        if size:
            assert min(int(low * size), size - 1) <= source <= min(int(made.high * size), size - 1)
        target = ranks[source:]
        assert ranks[:source] == [0] * source
        assert sorted(set(target)) == list(range(1, len(set(target)) + 1))
        assert target == sorted(target)
        assert all(target.count(number) <= (1 if words == 1 else longest) for number in set(target))
        last = 0
        for column in columns:  # a special token has the rank of the one before it
            assert text.tokens[row, column] >= WORDS or rank[row, column] == last
            last = int(rank[row, column])


@given(text=windows, seed=seeds, noise=shares, low=shares)
@settings(max_examples=100, deadline=None)
def test_only_target_tokens_are_noisy_and_only_ordinary_tokens_asked(text, seed, noise, low):
    made = objective(noise=noise, low=low, high=1.0)
    batch = made.build(text, seeded(seed))
    assert torch.equal(batch.targets, text.tokens)
    changed = batch.tokens != text.tokens
    assert (batch.rank[changed] > 0).all()
    assert (text.tokens[changed] >= WORDS).all()
    assert (batch.tokens[changed] >= WORDS).all()
    assert noise > 0 or not changed.any()
    asked = batch.weights > 0
    assert ((text.tokens >= WORDS) & real(text))[asked].all()
    for row in range(len(asked)):
        queries = batch.queries[row]
        assert queries[queries >= 0].tolist() == asked[row].nonzero()[:, 0].tolist()
        assert not (queries[int(asked[row].sum()) :] >= 0).any()


@given(text=windows, seed=seeds, low=shares, inside=st.sampled_from(["independent", "sequential"]))
@settings(max_examples=100, deadline=None)
def test_a_target_is_asked_if_and_only_if_its_query_sees_something_and_sees_none_of_its_span(
    text, seed, low, inside
):
    batch = objective(low=low, high=1.0, inside=inside).build(text, seeded(seed))
    rows, width = batch.tokens.shape
    columns = torch.arange(width)
    # A query row for every cell, so that those that are not asked are looked at too.
    every = columns.repeat(rows, 1)
    seen = mask(type(batch).of(batch.tokens, segments=batch.segments, rank=batch.rank, queries=every))
    seen = seen.dense(rows, columns + width, columns)
    for row, cells in by_document(text):
        for column in cells:
            visible = seen[row, column].nonzero()[:, 0].tolist()
            rank = int(batch.rank[row, column])
            ordinary = text.tokens[row, column] >= WORDS
            if rank and ordinary:
                assert bool(visible) == bool(batch.weights[row, column] > 0)
                assert visible == [cell for cell in cells if batch.rank[row, cell] < rank]
            else:
                assert batch.weights[row, column] == 0


def test_lengths_of_spans_are_alike_and_independent_from_document_to_document():
    tokens = torch.full((5000, 21), 40)
    segments = torch.cat((torch.zeros(10), torch.ones(11))).long().expand(5000, 21).clone()
    rank = objective(low=0.2, high=0.2, words=0.0, longest=3).ranks(Windows(tokens, segments), seeded())
    first, second = (rank[:, :10] == 1).sum(1), (rank[:, 10:] == 1).sum(1)
    together = ((first - 1) * 3 + second - 1).bincount(minlength=9) / 5000
    assert len(together) == 9
    assert (together - 1 / 9).abs().max() < 0.018  # four standard errors


def test_documents_are_predicted_word_by_word_in_the_asked_share():
    rank = objective(words=0.3, longest=9).ranks(random_windows(4000, 60, "full", 0), seeded())
    word_by_word = (rank.diff(dim=1) == 1).sum(1) >= (rank > 0).sum(1)
    # By chance nearly no text of spans up to nine has only spans of one.
    assert abs(word_by_word.float().mean() - 0.3) < 0.03


@pytest.mark.parametrize("noise", [0.05, 0.5])
def test_the_asked_share_of_the_target_is_noise(noise):
    text = random_windows(500, 100, "full", 0)
    batch = objective(noise=noise).build(text, seeded())
    changed = (batch.tokens != text.tokens)[batch.rank > 0].float()
    expected = noise * 63 / 64  # one draw in 64 is the token itself
    assert abs(changed.mean() - expected) < 4 * (noise / len(changed)) ** 0.5


def test_the_split_is_uniform_between_low_and_high():
    rank = objective().ranks(random_windows(4000, 100, "full", 0), seeded())
    source = (rank == 0).sum(1)
    assert source.min() == 25
    assert source.max() == 74
    assert (source.float().histc(5, 25, 75) / 4000 - 0.2).abs().max() < 0.03


@given(text=windows, seed=seeds)
@settings(max_examples=60, deadline=None)
def test_the_control_differs_in_its_ranks_alone(text, seed):
    spans = objective(words=0.0, noise=0.3).build(text, seeded(seed))
    control = objective(words=0.0, noise=0.3, inside="sequential").build(text, seeded(seed))
    assert torch.equal(spans.tokens, control.tokens)
    assert torch.equal(spans.rank > 0, control.rank > 0)
    for row, columns in by_document(text):
        ranks = control.rank[row, columns][
            (control.rank[row, columns] > 0) & (text.tokens[row, columns] >= WORDS)
        ]
        assert ranks.tolist() == list(range(1, len(ranks) + 1))


def sharp():
    """Two layers far from uniform attention, in float64."""
    torch.manual_seed(0)
    family = build("permuted_lm", CoreConfig(100, 2, 16, 2, 32, 64)).double().eval()
    with torch.no_grad():
        for parameter in family.parameters():
            parameter.mul_(3)
    return family


@pytest.mark.parametrize("inside", ["independent", "sequential"])
def test_a_token_is_told_to_later_spans_and_inside_its_span_to_the_control_alone(inside):
    text = random_windows(1, 30, "full", 0)
    made = objective(words=0.0, noise=0.0, inside=inside)
    spans = objective(words=0.0, noise=0.0).build(text, seeded()).rank[0]
    batch = made.build(text, seeded())
    family = sharp()

    def says(given):
        with torch.no_grad():
            return family.logits(family.hidden(given).targets)

    before = says(batch)
    asked = (batch.weights[0] > 0).nonzero()[:, 0]
    for column in asked.tolist():
        other = text.tokens.clone()
        other[0, column] = WORDS if other[0, column] != WORDS else WORDS + 1
        after = says(made.build(Windows(other), seeded()))
        tells = [not torch.equal(before[i], after[i]) for i in range(len(asked))]
        told = spans[asked] > spans[column] if inside == "independent" else asked > column
        assert tells == told.tolist()
    assert spans.max() < len(asked), "some span has two tokens"


@pytest.mark.parametrize("kind", ["full", "packed", "padded"])
def test_information_flows_as_declared(kind):
    batch = objective(words=0.3).build(random_windows(2, 13, kind, 3), seeded())
    report = check_flow(tiny("permuted_lm"), batch)
    assert report.ok, report


def test_the_losses_of_parts_of_a_batch_add_up():
    made, family = objective(), tiny("permuted_lm")
    batch = made.build(random_windows(5, 30, "packed", 0), seeded())
    modules = made.modules(family)
    whole = made.loss(family, modules, batch).value
    parts = sum(made.loss(family, modules, batch.rows(part)).value for part in (slice(0, 2), slice(2, 5)))
    torch.testing.assert_close(parts, whole)


def test_query_rows_are_as_many_as_a_full_row_asks_at_most_or_the_window():
    widths = set()
    for seed in range(20):
        for kind in ("full", "packed", "padded"):
            batch = objective().build(random_windows(8, 64, kind, seed), seeded(seed))
            widths.add(batch.queries.shape[1])
    assert widths <= {56, 64}
    assert 56 in widths


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"low": 0.7, "high": 0.2}, "low=0.7, high=0.2 must satisfy"),
        ({"words": 1.5}, "words=1.5 is not a share from 0 to 1"),
        ({"noise": -0.1}, "noise=-0.1 is not a share"),
        ({"longest": 0}, "longest=0 is not from 1"),
        ({"inside": "both"}, "unknown inside of objective 'span_by_span' 'both'; choose one of"),
    ],
)
def test_an_impossible_option_is_refused(options, message):
    with pytest.raises(UserError, match=message):
        objective(**options)
