"""Each statistic beside scipy, brute force or numbers worked by hand; error rates: test_stats_simulation."""

from __future__ import annotations

import itertools
import math
from dataclasses import astuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from archs.errors import UserError
from experiments.evidence import stats
from experiments.evidence.stats.variances import Squares, Variances

# Row means 2, 6, 4, column means 3, 5, mean 4: SS of rows 16 (df 2), columns 6 (df 1), the rest 4 (df 2).
TABLE = np.array([[2.0, 2.0], [4.0, 8.0], [3.0, 5.0]])
seed_means = st.lists(st.integers(-9, 9), min_size=1, max_size=8)
p_values = st.lists(st.floats(0, 1), max_size=12)


def contrasts(seeds: int = 6, items: int = 9) -> st.SearchStrategy[np.ndarray]:
    row = st.lists(st.integers(-5, 5), min_size=items, max_size=items)
    return st.lists(row, min_size=seeds, max_size=seeds).map(lambda rows: np.array(rows, dtype=float))


def draw(seeds: int, items: int, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    return random.normal(size=(seeds, 1)) + random.normal(size=items) + random.normal(size=(seeds, items))


def test_mean_squares_of_a_small_table_are_those_worked_by_hand():
    squares = Squares.of(TABLE)
    assert (float(squares.seed), float(squares.item), float(squares.residual)) == pytest.approx((8, 6, 2))
    assert astuple(squares.variances) == pytest.approx(((8 - 2) / 2, (6 - 2) / 3, 2))


def test_error_and_degrees_of_freedom_of_a_small_table_are_those_worked_by_hand():
    test = stats.crossed_test(TABLE, null=1.0)
    assert test.mean == 4
    assert test.error == pytest.approx(math.sqrt((8 + 6 - 2) / 6))
    assert test.df == pytest.approx(12**2 / (8**2 / 2 + 6**2 / 1 + 2**2 / 2))
    assert test.t == pytest.approx(3 / math.sqrt(2))
    assert test.p_crossed == pytest.approx(2 * scipy_stats.t.sf(test.t, test.df))
    assert (test.low, test.high) == pytest.approx(scipy_stats.t.interval(0.95, test.df, 4, test.error))
    assert test.p_sign_flip == 2 / 2**3  # gaps 1, 5, 3: no other signs reach 9
    assert test.p == max(test.p_crossed, test.p_sign_flip)


@pytest.mark.parametrize(
    ("seed", "item", "residual", "variance", "df"),
    [
        (9.0, 1.0, 2.0, 9.0, 7),  # the seeds' alone: S − 1
        (1.0, 9.0, 2.0, 9.0, 66),  # the items' alone: I − 1
        (1.5, 1.0, 2.0, 1.5, 7),  # both below the residual: the larger one
        (1.0, 1.5, 2.0, 1.5, 66),
        (1.5, 1.5 + 1e-15, 2.0, 1.5, 7),  # equals: that which claims less
        (2.0 - 1e-15, 3.0, 2.0, 3.0, 3**2 / (4 / 7 + 9 / 66 + 4 / 462)),
        (9.0, 3.0, 2.0, 10.0, 10**2 / (81 / 7 + 9 / 66 + 4 / 462)),
        (3.0, 2.0, 2.0, 3.0, 7),  # Satterthwaite's would be 6.9: the floor
    ],
)
def test_degrees_of_freedom_belong_to_the_mean_squares_that_the_error_is_made_of(
    seed: float, item: float, residual: float, variance: float, df: float
):
    squares = Squares(8, 67, np.asarray(seed), np.asarray(item), np.asarray(residual))
    assert float(squares.error) == pytest.approx(math.sqrt(variance / (8 * 67)))
    assert float(squares.df) == pytest.approx(df)


def test_with_fewer_items_than_seeds_the_floor_is_that_of_the_items():
    squares = Squares(8, 3, np.asarray(1.0), np.asarray(9.0), np.asarray(2.0))
    assert float(squares.df) == 2


@given(contrasts(items=1))
@settings(deadline=None)
def test_with_one_item_it_is_students_t_over_seeds(differences: np.ndarray):
    test = stats.crossed_test(differences, null=0.25)
    assert test.variances.item == test.variances.residual == 0
    if np.ptp(differences) == 0:
        return
    reference = scipy_stats.ttest_1samp(differences[:, 0], 0.25)
    assert (test.t, test.p_crossed, test.df) == pytest.approx((reference.statistic, reference.pvalue, 5))
    assert (test.low, test.high) == pytest.approx(tuple(reference.confidence_interval(0.95)))


@given(contrasts(), st.sampled_from([0.01, 1.0, 250.0]))
@settings(deadline=None)
def test_another_unit_changes_no_verdict(differences: np.ndarray, unit: float):
    one, other = stats.crossed_test(differences), stats.crossed_test(differences * unit)
    assert (other.t, other.df, other.p_crossed) == pytest.approx((one.t, one.df, one.p_crossed))
    assert other.p_sign_flip == one.p_sign_flip
    assert other.high == pytest.approx(one.high * unit)


@given(contrasts())
@settings(deadline=None)
def test_order_of_seeds_and_items_changes_nothing_and_a_turned_contrast_turns_the_interval(
    differences: np.ndarray,
):
    test, shuffled = stats.crossed_test(differences), stats.crossed_test(differences[::-1, ::-1])
    turned = stats.crossed_test(-differences)
    assert (shuffled.t, shuffled.p) == pytest.approx((test.t, test.p))
    assert (turned.low, turned.high, turned.p) == pytest.approx((-test.high, -test.low, test.p))


def test_where_nothing_varies_the_crossed_p_is_one_at_the_null_and_zero_elsewhere():
    at_null = stats.crossed_test(np.full((8, 3), 0.1), null=0.1)
    assert (at_null.t, at_null.p_crossed, at_null.p_sign_flip) == (0, 1, 1)
    elsewhere = stats.crossed_test(np.full((8, 3), 0.1))
    assert (elsewhere.t, elsewhere.p_crossed, elsewhere.error) == (math.inf, 0, 0)
    assert elsewhere.p == elsewhere.p_sign_flip == 2 / 2**8
    assert elsewhere.low == elsewhere.high == pytest.approx(0.1)
    assert stats.crossed_test(np.full((8, 3), -0.1)).t == -math.inf


def test_seeds_that_agree_on_every_item_leave_the_error_of_the_items():
    items = np.array([1.0, 2.0, 6.0])
    test = stats.crossed_test(np.tile(items, (8, 1)))
    assert test.variances.shares == {"seed": 0, "item": 1, "residual": 0}
    assert test.df == 2
    assert test.p_crossed == pytest.approx(scipy_stats.ttest_1samp(items, 0).pvalue)


@given(contrasts(seeds=3, items=4))
@settings(deadline=None)
def test_shares_of_variance_add_to_one_or_all_are_zero(differences: np.ndarray):
    shares = stats.crossed_test(differences).variances.shares
    assert all(share >= 0 for share in shares.values())
    assert sum(shares.values()) == pytest.approx(1) or set(shares.values()) == {0}


@given(seed_means, st.sampled_from([0, 2]), st.sampled_from(["two-sided", "greater", "less"]))
@settings(deadline=None)
def test_sign_flip_equals_every_assignment_tried_one_by_one(means: list[int], null: int, alternative: str):
    gaps = [mean - null for mean in means]
    sums = [sum(map(int.__mul__, gaps, signs)) for signs in itertools.product([1, -1], repeat=len(gaps))]
    extreme = {
        "two-sided": [abs(total) >= abs(sum(gaps)) for total in sums],
        "greater": [total >= sum(gaps) for total in sums],
        "less": [total <= sum(gaps) for total in sums],
    }[alternative]
    # A tenth has no exact binary form: sums that tie in integers differ in their last bits here.
    tenths = np.array(means) / 10
    assert stats.sign_flip(tenths, null / 10, alternative) == np.mean(extreme)  # type: ignore[arg-type]


@pytest.mark.parametrize("seeds", [2, 6, 8, 10])
def test_no_sign_flip_goes_below_two_in_all_assignments(seeds: int):
    assert stats.sign_flip(np.full(seeds, 0.1)) == 2 / 2**seeds
    assert stats.sign_flip(np.full(seeds, 0.1), alternative="greater") == 1 / 2**seeds
    assert stats.sign_flip(np.full(seeds, 0.1), alternative="less") == 1
    assert stats.sign_flip(np.full(seeds, 0.3), null=0.1 + 0.2) == 1


def test_beyond_twenty_seeds_random_flips_are_near_the_exact_ones_and_repeat():
    means = np.random.default_rng(1).normal(0.35, 1, 20)
    exact, padded = stats.sign_flip(means), np.append(means, 0.0)  # a seed of 0 changes no sum
    assert stats.sign_flip(padded) == pytest.approx(exact, abs=0.004)
    assert stats.sign_flip(padded) == stats.sign_flip(padded)
    assert stats.sign_flip(np.ones(40)) == pytest.approx(1 / 100_001)


def test_holm_on_numbers_worked_by_hand():
    assert stats.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert stats.holm([0.5, 0.9]) == [1.0, 1.0]
    assert stats.holm([]) == []


def test_benjamini_hochberg_rejects_the_four_of_fifteen_of_the_paper():
    p = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262, 0.5719]
    p += [0.6528, 0.7590, 1.0000]  # Benjamini and Hochberg (1995), 4.1
    assert sum(value <= 0.05 for value in stats.benjamini_hochberg(p)) == 4
    assert sum(value <= 0.05 for value in stats.holm(p)) == 3  # three, as by Bonferroni's .05/15
    assert stats.benjamini_hochberg([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.04, 0.04])


@given(p_values)
@settings(deadline=None)
def test_benjamini_hochberg_equals_scipy_and_holm_is_never_below_it(p: list[float]):
    adjusted = stats.benjamini_hochberg(p)
    assert adjusted == pytest.approx(list(scipy_stats.false_discovery_control(p)) if p else [])
    assert all(h >= b - 1e-12 and h >= raw for h, b, raw in zip(stats.holm(p), adjusted, p, strict=True))


@pytest.mark.parametrize("p", [[1.2], [-0.1], [math.nan]])
def test_corrections_refuse_what_is_no_p_value(p: list[float]):
    for correct in (stats.holm, stats.benjamini_hochberg):
        with pytest.raises(ValueError, match="in \\[0, 1\\]"):
            correct(p)


def test_pseudo_values_of_a_mean_are_the_items():
    items = np.array([3.0, 1.0, 4.0, 1.0, 5.0])
    assert stats.pseudo_values(lambda kept: items[kept].mean(), 5) == pytest.approx(items)


def test_pseudo_values_of_matthews_correlation_have_it_as_their_mean_and_its_error():
    random = np.random.default_rng(0)
    gold = random.integers(0, 2, 400)
    said = np.where(random.random(400) < 0.8, gold, 1 - gold)

    def matthews(kept: np.ndarray) -> float:
        return float(np.corrcoef(gold[kept], said[kept])[0, 1])

    values = stats.pseudo_values(matthews, 400)
    assert values.mean() == pytest.approx(matthews(np.arange(400)), abs=0.002)
    again = [matthews(random.integers(0, 400, 400)) for _ in range(500)]
    assert values.std() / math.sqrt(400) == pytest.approx(np.std(again), rel=0.15)


def test_a_metric_undefined_without_an_item_is_refused():
    with pytest.raises(UserError, match="1 of 3 values are not finite"):
        stats.pseudo_values(lambda kept: 1.0 if 0 in kept else math.nan, 3)


def test_equivalence_takes_the_largest_of_four_p_values_and_the_narrower_interval():
    differences = draw(8, 40) / 10
    found = stats.equivalence_test(differences, margin=2.0)
    test, means = stats.crossed_test(differences, confidence=0.90), differences.mean(1)
    sides = [scipy_stats.t.sf((2 + test.mean) / test.error, test.df)]
    sides += [scipy_stats.t.sf((2 - test.mean) / test.error, test.df)]
    sides += [stats.sign_flip(means, -2, "greater"), stats.sign_flip(means, 2, "less")]
    assert found.p == pytest.approx(max(sides)) == pytest.approx(1 / 2**8)
    assert (found.low, found.high) == (test.low, test.high)


def test_a_difference_as_large_as_the_margin_is_not_equivalent():
    for side in (-1, 1):
        at_margin = np.full((8, 5), 0.5 * side)
        assert stats.equivalence_test(at_margin, margin=0.5).p == 1
        assert stats.equivalence_test(draw(8, 40) + 3 * side, margin=0.5).p > 0.9
    assert stats.equivalence_test(np.full((8, 5), 0.4), margin=0.5).p == 1 / 2**8


def test_smallest_visible_is_where_the_noncentral_t_reaches_the_power():
    variances, seeds, items = Variances(0.5, 1.0, 9.0), 10, 67
    effect = stats.smallest_visible(variances, seeds, items)
    squares = Squares.expected(variances, seeds, items)
    error, df = float(squares.error), float(squares.df)
    assert error == pytest.approx(math.sqrt(0.5 / 10 + 1 / 67 + 9 / 670))
    critical = scipy_stats.t.ppf(0.975, df)
    assert scipy_stats.nct.sf(critical, df, effect / error) == pytest.approx(0.8, abs=1e-6)


def test_nothing_is_visible_where_the_sign_flip_cannot_reach_alpha():
    variances = Variances(1.0, 1.0, 1.0)
    assert stats.smallest_visible(variances, 5, 100) == math.inf
    assert stats.smallest_visible(variances, 6, 100) < math.inf
    assert stats.smallest_visible(variances, 7, 100, alpha=0.05 / 6) == math.inf
    assert stats.smallest_visible(variances, 8, 100, alpha=0.05 / 6) < math.inf
    assert stats.smallest_visible(Variances(0.0, 0.0, 0.0), 6, 100) == 0


def test_where_all_seeds_must_agree_the_visible_difference_is_that_of_unanimity():
    effect = stats.smallest_visible(Variances(1.0, 0.0, 0.0), 6, 50)
    assert scipy_stats.norm.cdf(effect) ** 6 == pytest.approx(0.8)
    at_eight = stats.smallest_visible(Variances(1.0, 0.0, 0.0), 8, 50)
    assert at_eight < scipy_stats.norm.ppf(0.8 ** (1 / 8))
    items_alone = stats.smallest_visible(Variances(0.0, 1.0, 0.0), 6, 100)
    assert items_alone == pytest.approx(2.83 / 10, rel=0.01)  # the crossed test's, which is the larger


@given(st.floats(0, 4), st.floats(0, 4), st.floats(0.1, 4), st.sampled_from([1, 20, 500]))
@settings(deadline=None)
def test_more_seeds_never_hide_a_difference(seed: float, item: float, residual: float, items: int):
    variances = Variances(seed, item, residual)
    visible = [stats.smallest_visible(variances, n, items) for n in (5, 6, 7, 8, 12, 24, 100)]
    assert all(more <= fewer * (1 + 1e-9) for fewer, more in itertools.pairwise(visible))


def test_seeds_needed_is_the_first_number_of_seeds_that_shows_the_effect():
    variances = Variances(1.0, 0.5, 4.0)
    seeds = stats.seeds_needed(variances, 200, effect=0.8)
    assert seeds is not None
    assert stats.smallest_visible(variances, seeds, 200) <= 0.8
    assert stats.smallest_visible(variances, seeds - 1, 200) > 0.8
    assert stats.seeds_needed(variances, 200, effect=100.0) == 6
    assert stats.seeds_needed(variances, 200, effect=100.0, alpha=0.05 / 6) == 8
    assert stats.seeds_needed(variances, 200, effect=0.8, most=seeds - 1) is None
    assert stats.seeds_needed(variances, 200, effect=0.1) is None  # the items alone hide it


def test_pairing_of_identical_arms_is_one_and_of_opposite_ones_minus_one():
    scores = draw(6, 30)
    assert stats.pairing(scores, scores) == stats.Pairing(pytest.approx(1), pytest.approx(1))
    assert stats.pairing(scores, 5 - scores) == stats.Pairing(pytest.approx(-1), pytest.approx(-1))


def test_pairing_is_pearsons_of_means_and_none_where_a_side_does_not_vary():
    one, two = draw(6, 30, seed=1), draw(6, 30, seed=2)
    assert stats.pairing(one, two).seeds == pytest.approx(np.corrcoef(one.mean(1), two.mean(1))[0, 1])
    assert stats.pairing(one, two).items == pytest.approx(np.corrcoef(one.mean(0), two.mean(0))[0, 1])
    assert stats.pairing(one[:, :1], two[:, :1]).items is None
    assert stats.pairing(one, np.full((6, 30), 0.1)) == stats.Pairing(None, None)


def test_relabelling_splits_all_seeds_in_two_halves_and_counts_verdicts():
    values = np.repeat(2.0 ** np.arange(6)[:, None], 3, axis=1)
    seen: list[np.ndarray] = []

    def decide(differences: np.ndarray) -> bool:
        seen.append(differences)
        return bool(differences.sum() > 0)

    share = stats.relabelled(values, decide, times=40, seed=3)
    assert share == np.mean([differences.sum() > 0 for differences in seen])
    assert {differences.shape for differences in seen} == {(3, 3)}
    # Powers of two: a sum of three less the other three tells which rows were used, and that all were.
    splits = {sum(one) - (63 - sum(one)) for one in itertools.combinations(2 ** np.arange(6), 3)}
    assert {differences[:, 0].sum() for differences in seen} <= splits
    assert stats.relabelled(values, decide, times=40, seed=3) == share
    assert stats.relabelled(values, lambda differences: True, times=5) == 1


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: stats.crossed_test(np.ones((1, 5))), "at least two, not 1"),
        (lambda: stats.crossed_test(np.array([[1.0, math.nan], [1.0, 2.0]])), "1 of 4 values are not finite"),
        (lambda: stats.crossed_test(np.ones((2, 5)), confidence=95), "between 0 and 1, not 95"),
        (lambda: stats.sign_flip(np.array([1.0, math.inf])), "1 of 2 values are not finite"),
        (lambda: stats.equivalence_test(np.ones((2, 5)), margin=0), "above 0, not 0"),
        (lambda: stats.pseudo_values(lambda kept: 1.0, 1), "at least two, not 1"),
        (lambda: stats.smallest_visible(Variances(1, 1, 1), 1, 5), "at least two seeds"),
        (lambda: stats.smallest_visible(Variances(1, 1, 1), 8, 5, power=0.01), "0 < alpha < power < 1"),
        (lambda: stats.seeds_needed(Variances(1, 1, 1), 5, effect=-1.0), "above 0, not -1"),
        (lambda: stats.relabelled(np.ones((5, 4)), lambda differences: True), "even number"),
        (lambda: stats.relabelled(np.ones((4, 4)), lambda differences: True, times=0), "at least one"),
    ],
)
def test_a_users_mistake_is_told_in_one_line(call, told: str):
    with pytest.raises(UserError, match=told) as caught:
        call()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "call",
    [
        lambda: stats.crossed_test(np.ones(5)),
        lambda: stats.crossed_test(np.ones((5, 0))),
        lambda: stats.sign_flip(np.ones((2, 2))),
        lambda: stats.pairing(np.ones((2, 3)), np.ones((2, 4))),
        lambda: Variances(-1.0, 0.0, 0.0),
    ],
)
def test_a_shape_or_variance_that_cannot_be_is_a_bug_and_loud(call):
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        call()
    assert not isinstance(caught.value, UserError)
