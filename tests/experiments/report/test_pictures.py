"""Who sees whom: pictures show what the masks say and what the models do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch

from archs import FAMILIES
from archs.errors import UserError
from experiments.report.figures.mask_examples import QUESTIONS, WORDS, mask_examples
from experiments.report.figures.masks import LEAK, draw_masks, mask_figure
from experiments.report.figures.svg import INK, inline


@pytest.fixture(scope="module")
def figure() -> str:
    return mask_figure()


def test_every_family_has_a_picture(figure: str) -> None:
    assert set(QUESTIONS) == set(FAMILIES)
    assert all(title in figure for title, *_ in QUESTIONS.values())


@pytest.mark.parametrize("family", FAMILIES)
def test_what_flows_in_one_layer_is_what_the_mask_shows(family: str) -> None:
    for panel in mask_examples(family):
        assert panel.measured.equal(panel.seen), panel.title
        assert panel.seen.shape == (len(panel.rows), len(panel.columns))
        assert len(panel.answers) == len(panel.rows)


def test_a_decoder_row_sees_itself_and_those_before_it_and_is_asked_for_the_next_word() -> None:
    (panel,) = mask_examples("decoder_ar")
    assert panel.seen.equal(torch.ones(10, 10).tril().bool())
    assert panel.rows == ["<s>", *WORDS[:-1]]
    assert panel.answers == list(WORDS)


def test_an_encoder_sees_everything_and_is_asked_where_words_are_hidden() -> None:
    (panel,) = mask_examples("encoder_ae")
    assert panel.seen.all()
    hidden = [place for place, word in enumerate(panel.rows) if word == "<mask>"]
    assert hidden
    assert [WORDS[place] for place in hidden] == [answer for answer in panel.answers if answer]


def test_a_prefix_is_seen_by_all_its_rows_and_asked_of_none() -> None:
    (panel,) = mask_examples("prefix_lm")
    expected = torch.ones(10, 10).tril().bool()
    expected[:, :5] = True
    assert panel.seen.equal(expected)
    assert panel.answers == [""] * 4 + list(WORDS[4:])


def test_a_query_row_of_a_permuted_lm_does_not_see_its_own_word_and_sees_those_predicted_before() -> None:
    (panel,) = mask_examples("permuted_lm")
    assert panel.second_stream == len(WORDS)
    queries = panel.answers[len(WORDS) :]
    assert panel.rows[len(WORDS) :] == ["query (1)", "query (2)", "query (3)"]
    for number, word in enumerate(queries):
        row = panel.seen[len(WORDS) + number]
        assert not row[WORDS.index(word)]
        assert all(row[WORDS.index(before)] for before in queries[:number])
        assert not any(row[WORDS.index(after)] for after in queries[number + 1 :])


def test_an_encoder_decoder_has_three_masks_and_only_its_decoder_is_asked() -> None:
    encoder, cross, decoder = mask_examples("encoder_decoder")
    assert encoder.seen.all()
    assert cross.seen.all()
    assert decoder.seen.equal(torch.ones_like(decoder.seen).tril())
    assert cross.columns == encoder.columns
    assert cross.rows == decoder.rows
    assert not any(encoder.answers + cross.answers)
    assert decoder.answers[-1] == "</s>"


def test_a_leak_is_drawn_as_a_cross_of_its_own_colour(figure: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (panel,) = mask_examples("decoder_ar")
    measured = panel.measured.clone()
    measured[3, 7] = True
    monkeypatch.setattr(
        "experiments.report.figures.masks.mask_examples", lambda family: [replace(panel, measured=measured)]
    )
    assert LEAK not in figure
    assert LEAK in mask_figure(["decoder_ar"])


@pytest.mark.slow
def test_the_file_is_well_formed_and_told_of(
    figure: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new folder" / "masks.svg"
    draw_masks(out)
    root = ElementTree.fromstring(out.read_text())
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert str(out) in capsys.readouterr().out
    assert figure == mask_figure(), "the same picture is the same text"


def test_a_file_that_cannot_be_written_is_a_one_line_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"^.*masks\.svg' cannot be written \(.*\); give --out .*$"):
        draw_masks(tmp_path / "file" / "masks.svg")


def test_inside_a_page_a_figure_has_no_namespace_and_no_fixed_colour(figure: str) -> None:
    inside = inline(figure)
    assert "http" not in inside
    assert INK not in inside
    assert "var(--ink)" in inside
