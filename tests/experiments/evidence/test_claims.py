"""Claims as files: what is shipped is sound, what is not is refused in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from archs.errors import UserError
from experiments.evidence.claims.claim import ALL, Claim, Part, read_claims
from experiments.recipe.config import validated
from experiments.recipe.presets import configs_dir
from experiments.sweeps.compose import compose_sweep

GOOD: dict[str, Any] = {
    "statement": "one beats two",
    "kind": "superiority",
    "contrasts": [{"one": 1, "two": -1}],
    "endpoints": ["understanding"],
    "published": {"source": "nobody"},
    "expect": "nothing",
}


@pytest.mark.slow
def test_every_shipped_claim_is_sound_and_names_arms_of_the_sweep() -> None:
    sweep, _ = compose_sweep("claims", ["claims=all"])
    names = [f"C{number}" for number in range(1, 17)]
    controls = ["more_compute", "denoising_over_deshuffling", "denoising_over_lm", "same_arm"]
    assert list(sweep.claims) == [*controls, *names]
    assert sorted(sweep.claims) == sorted(file.stem for file in (configs_dir() / "claims").glob("*.yaml"))


def test_a_claim_brings_its_arms_and_no_others() -> None:
    sweep, recipes = compose_sweep("claims", ["claims=[C12,C11]", "controls=same_arm"])
    assert list(sweep.arms) == ["sop", "nsp", "nsp_off", "eighth_ar"]
    assert list(sweep.claims) == ["same_arm", "C12", "C11"]
    assert len(recipes) == 4 * 8


def test_a_control_may_be_asked_as_a_claim_and_then_gates_nothing() -> None:
    sweep, _ = compose_sweep("claims", ["claims=[C11,denoising_over_lm]", "controls=same_arm"])
    assert {name: claim.role for name, claim in sweep.claims.items()} == {
        "same_arm": "control",
        "C11": "claim",
        "denoising_over_lm": "claim",
    }
    with pytest.raises(UserError, match="'more_compute' is among the controls and the claims"):
        compose_sweep("claims", ["claims=more_compute", "controls=more_compute"])
    with pytest.raises(UserError, match="unknown claim 'same_arm'"):
        compose_sweep("claims", ["claims=same_arm"])


def test_the_weights_of_half_a_gain_are_multiplied_out() -> None:
    """C5 is (2P - shared) - 1/2 (2P - prefix), multiplied out."""
    [claim] = read_claims({"control": [], "claim": "C5"}).values()
    [part, other] = claim.parts
    assert part.contrast == {"ed_double": 0.5, "ed_shared": -1.0, "pf_denoise": 0.5}
    assert part.text == "0.5 x ed_double - ed_shared + 0.5 x pf_denoise"
    assert (part.endpoint, other.endpoint) == ("understanding", "generation")


def test_an_ordering_is_each_neighbour_over_the_next() -> None:
    [claim] = read_claims({"control": [], "claim": ["C8"]}).values()
    assert claim.parts == [
        Part({"ae_mlm": 1.0, "pm": -1.0}, "understanding"),
        Part({"pm": 1.0, "ar_lm": -1.0}, "understanding"),
        Part({"ar_lm": 1.0, "pm": -1.0}, "generation"),
        Part({"pm": 1.0, "ae_mlm": -1.0}, "generation"),
    ]


def test_an_order_of_two_arms_is_one_part_and_of_one_arm_none() -> None:
    ordering = GOOD | {"kind": "ordering", "contrasts": [], "endpoints": []}
    claim = validated(Claim, ordering | {"order": {"generation": ["one", "two"]}})
    assert claim.parts == [Part({"one": 1.0, "two": -1.0}, "generation")]
    with pytest.raises(UserError, match="two or more different arms"):
        validated(Claim, ordering | {"order": {"generation": ["one"]}})


def test_the_digest_changes_with_every_word_of_a_claim() -> None:
    first = validated(Claim, GOOD)
    assert first.digest() == validated(Claim, dict(reversed(GOOD.items()))).digest()
    others = [{"statement": "one beats two."}, {"contrasts": [{"one": 2, "two": -2}]}, {"expect": "a lot"}]
    digests = {validated(Claim, GOOD | change).digest() for change in others}
    assert len(digests | {first.digest()}) == 4


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"kind": "equivalence"}, "needs a margin"),
        ({"margin": 0.5}, "leave it out"),
        ({"kind": "superiorty"}, "superiority"),
        ({"endpoints": ["understandin"]}, "choose one of: understanding"),
        ({"endpoints": ["understanding", "generation"]}, "several are a conjunction"),
        ({"contrasts": [{"one": 1, "two": -0.5}]}, "add up to 0"),
        ({"contrasts": [{"one": 0, "two": 0}]}, "add up to 0"),
        ({"contrasts": []}, "needs 'contrasts'"),
        ({"kind": "ordering"}, "needs 'order'"),
        (
            {"kind": "ordering", "contrasts": [], "endpoints": [], "order": {"generation": ["a", "a"]}},
            "different",
        ),
        ({"kind": "relabelling", "contrasts": [], "arm": "one"}, "role: control"),
        ({"published": {"effect": 1.0, "source": "x"}}, "published.unit"),
        ({"published": {"comparable": True, "source": "x"}}, "published.effect"),
        ({"published": {}}, "published.source is missing"),
        ({"endpoint": "understanding"}, "unknown key"),
        ({"contrasts": [{"one": float("nan"), "two": -1}]}, "finite"),
        ({"contrasts": [{"one": "x", "two": -1}]}, "contrasts.0.one"),
        ({"kind": "equivalence", "margin": float("inf")}, "finite"),
        ({"kind": "conjunction", "endpoints": ["understanding", "understanding"]}, "list each once"),
        (
            {"published": {"effect": 0, "unit": "u", "comparable": True, "source": "x"}},
            "no effect to be seen",
        ),
        (
            {
                "kind": "conjunction",
                "endpoints": ["understanding", "generation"],
                "published": {"effect": 1, "unit": "u", "comparable": True, "source": "x"},
            },
            "for one endpoint",
        ),
    ],
)
def test_a_mistake_in_a_claim_is_one_line(change: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError) as refused:
        validated(Claim, GOOD | change)
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["claims=C17"], "unknown claim 'C17'; choose one of: C"),
        (["claims=[]"], "leaves nothing"),
        (["claims=null"], "leaves nothing"),
        (["claims=[C11,C11]"], "claim 'C11' is named twice"),
        (["claims=[all,C11]"], "claim 'C11' is named twice"),
        (["claims=C11", "training.learning_rate=9"], "overwritten by what tuning chooses"),
        (["claims=C11", "controls=C1"], "unknown control 'C1'"),
        (["claims=C11", "~arms.sop"], "claim 'C11': unknown arm 'sop'; choose one of: nsp"),
        (["claims=C11", "seeds=1"], "seeds=1"),
        (["claims=C11", "scales=[0.5]"], "must hold 1"),
        (["claims=C11", "scales=[1,1]"], "list each once"),
        (["claims=C11", "budgets=[seconds]"], "unknown budgets.0 'seconds'; choose one of:"),
        (["claims=C11", "excused.same_army='x'"], "unknown control 'same_army'; choose one of: same_arm"),
        (["claims=C11", "excused.same_arm=' '"], "excused for a reason"),
        (["claims=C11", "tuning.learning_rates=[1e-3]"], "learning_rates"),
        (["claims=C11", "tuning.learning_rates=[2e-3,1e-3]"], "least first"),
    ],
)
def test_a_mistake_in_a_sweep_of_claims_is_one_line(overrides: list[str], words: str) -> None:
    with pytest.raises(UserError) as refused:
        compose_sweep("claims", overrides)
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_claim_of_ones_own_needs_no_edit_here(tmp_path: Path) -> None:
    (tmp_path / "claims").mkdir()
    (tmp_path / "claims" / "mine.yaml").write_text(
        "{statement: s, kind: superiority, contrasts: [{sop: 1, ae_mlm: -1}], "
        "endpoints: [pseudo_likelihood], published: {source: mine}, expect: unknown}"
    )
    sweep, _ = compose_sweep("claims", ["claims=mine", "controls=[]"], tmp_path)
    assert list(sweep.arms) == ["ae_mlm", "sop"]
    assert [*read_claims({"control": [], "claim": ALL}, tmp_path)][-1] == "C16"


@pytest.mark.parametrize(
    "override", ["budgets=[flops]", "scales=[1,4]", "controls=same_arm", "excused.same_arm='x'"]
)
def test_what_is_for_claims_is_refused_without_any(override: str) -> None:
    with pytest.raises(UserError, match="makes none"):
        compose_sweep("five_families", [override])


def test_an_empty_sweep_is_one_line() -> None:
    with pytest.raises(UserError, match="no arm left to run"):
        compose_sweep("depth_width", ["~arms.deep", "~arms.plain", "~arms.wide"])
