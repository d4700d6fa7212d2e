"""That what ships shows what it does: its docstring has an example, which --doctest-modules runs."""

import inspect
from doctest import DocTestParser

import pytest
import torch

from objectives import OBJECTIVES, layouts, modes, replace, replace_similar, select, sentinels
from objectives.answer_span import AnswerSpan
from objectives.causal import Causal
from objectives.classification import Classification
from objectives.conditional import Conditional
from objectives.denoising import NOISES
from objectives.examples import VOCABULARY, outcomes, show, windows
from objectives.mixture import Mixture
from objectives.tagged import Tagged


def called_with(module, parameters):
    """The module's public functions whose first parameters have these names."""
    return {
        name: value
        for name, value in vars(module).items()
        if inspect.isfunction(value)
        and not name.startswith("_")
        and list(inspect.signature(value).parameters)[: len(parameters)] == parameters
    }


SELECTIONS = called_with(select, ["tokens", "word_starts", "special", "rng"])
REPLACEMENTS = {
    **called_with(replace, ["tokens", "hide", "vocabulary", "rng"]),
    **called_with(replace_similar, ["tokens", "hide", "vocabulary", "rng"]),
    "sentinels": sentinels.sentinels,
}
FINETUNED = [Conditional, Classification, Tagged, AnswerSpan]
OTHERS = [Mixture, *FINETUNED, modes.marked, layouts.pair, layouts.read, layouts.blanks]
SHOWN = [*OBJECTIVES.values(), *SELECTIONS.values(), *REPLACEMENTS.values(), *NOISES.values(), *OTHERS]


def test_all_kinds_of_parts_were_found():
    assert set(select.__all__) == set(SELECTIONS)
    assert {"bert", "mask_only", "similar", "static"} <= set(REPLACEMENTS)


@pytest.mark.parametrize("what", SHOWN, ids=lambda what: f"{what.__module__}.{what.__name__}")
def test_the_docstring_of_what_ships_has_an_example_with_a_result(what):
    examples = DocTestParser().get_examples(what.__doc__ or "")
    assert any(example.want for example in examples)


def test_examples_are_run_with_the_tests(pytestconfig):
    assert "--doctest-modules" in pytestconfig.getini("addopts")
    assert "objectives" in pytestconfig.getini("testpaths")


def test_rows_are_shown_in_columns(capsys):
    batch = Causal(VOCABULARY, "concatenated").build(windows([[40, 2], [41, 42]]), None)
    show(batch, "tokens", "targets")
    assert capsys.readouterr().out == "tokens    1 40\n          1 41\ntargets  40  2\n         41 42\n"
    show(torch.tensor([[True, False], [False, True]]))
    assert capsys.readouterr().out == "1 0\n0 1\n"
    show(torch.tensor([[0.5, 1.0]]))
    assert capsys.readouterr().out == "0.5   1\n"


def test_outcomes_are_printed_once_each_in_order(capsys):
    outcomes(lambda rng: torch.randint(2, (1, 1), generator=rng))
    assert capsys.readouterr().out == "0\n1\n"
