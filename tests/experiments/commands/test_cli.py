"""The real command line: a mistake is one line on stderr, exit code 2, no traceback."""

import os
import shutil
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from experiments import cli
from experiments.recipe import compose

ROOT = Path(__file__).parents[3]
COMMANDS = ["train", "import", "sweep", "plan", "evaluate", "generate", "score", "export", "report", "masks"]


def pentarch(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    code = "from experiments.cli import main; main()"
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        timeout=120,
    )


MISTAKES = [
    ("train family=encoder_ea", ["unknown family", "choose one of: encoder_ae"]),
    ("train objective=mml", ["unknown objective", "choose one of: mlm"]),
    ("train size=smal", ["unknown size", "choose one of: small"]),
    ("train trainin.batch=3", ["unknown key", "choose one of: training"]),
    ("train size.width=abc", ["size.width", "integer"]),
    ("train -m size=tiny,small", ["-m is refused"]),
    ("train hydra/launcher=joblib", ["refused"]),
]
MORE_MISTAKES = [
    ("train size=tiny --multirun", ["-m is refused"]),
    ("train training.clip=yes", ["training.clip", "number"]),
    ("train family=permuted_lm objective=mlm", ["permutation", "encoder_ae"]),
    ("train family=encoder_ae objective.options.rte=0.3", ["choose one of: rate"]),
    ("train data.path=nowhere.txt", ["nowhere.txt"]),
    ("train --recipe nothing.yaml", ["cannot read 'nothing.yaml'"]),
    ("train --recipe nothing.yaml size=tiny", ["not both"]),
    ("train --nonsense", ["--nonsense"]),
    ("train --config-dir nowhere size=tiny", ["nowhere"]),
    ("sweep", ["SWEEP"]),
    ("sweep five_family", ["choose one of: five_families"]),
    ("plan five_families family=encoder_ae", ["differ in"]),
    ("evaluate nowhere", ["nowhere"]),
    ("generate nowhere", ["nowhere"]),
    ("generate . --prompt a --temperature -1", ["temperature=-1.0", "0 is greedy"]),
    ("generate . --prompt a --top-p 0.9", ["top_k and top_p are for sampling"]),
    ("generate . --prompt a --temperature 1 --top-k 0", ["top_k=0"]),
    ("generate . --prompt a --beams 2 --temperature 1", ["beam search does not sample"]),
    ("generate . --prompt a --length-penalty 2", ["set beams above 1"]),
    ("generate . --prompt a --length 0", ["length"]),
    ("generate . --prompt a --temperature 1e-45", ["temperature=1e-45", "give 0"]),
    ("generate . --prompt a --temperature 1 --top-p 1e-300", ["top_p=1e-300", "leaves no token"]),
    ("generate . --prompt a --beams 2 --length-penalty 1e9", ["length_penalty=1000000000.0", "-5 to 5"]),
    ("score nowhere --text a", ["nowhere"]),
    ("report nowhere", ["nowhere"]),
    ("report . nowhere", ["nowhere"]),
    ("report . .", ["give two different sweeps"]),
    ("trian", ["unknown command", "choose one of: train"]),
]


def is_one_line(stderr: str, words: list[str]) -> bool:
    return stderr.startswith("error: ") and stderr.count("\n") == 1 and all(word in stderr for word in words)


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """`main` run in this process, in an empty folder: gives the exit code."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> int | str | None:
        monkeypatch.setattr(sys, "argv", ["pentarch", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return ended.value.code

    return run


@pytest.mark.slow
@pytest.mark.parametrize(("line", "words"), MISTAKES)
def test_a_mistake_ends_the_process_with_one_line_and_code_2(line: str, words: list[str], tmp_path: Path):
    done = pentarch(*line.split(), folder=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert is_one_line(done.stderr, words), done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(("line", "words"), MORE_MISTAKES)
def test_a_mistake_is_one_line_and_exit_code_2(line: str, words: list[str], here, capsys):
    assert here(*line.split()) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert is_one_line(told.err, words), told.err


def test_a_length_is_refused_before_anything_is_made_for_it(tmp_path: Path):
    from archs.decoding.decoding import GREEDY
    from archs.errors import UserError
    from experiments.evaluation.writing import generate_text

    with pytest.raises(UserError, match=r"length=100000000000 is more .* give at most 100000"):
        generate_text(tmp_path, "a", 10**11, GREEDY)


def test_a_decoding_is_refused_before_torch_is_imported(tmp_path: Path):
    code = (
        "import sys; from experiments.cli import main\n"
        "try: main()\nexcept SystemExit as stop: print(stop.code, 'torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "generate", ".", "--prompt", "a", "--beams", "0"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.split() == ["2", "False"]
    assert is_one_line(done.stderr, ["beams=0"])


def test_help_names_every_command(here, capsys):
    for arguments in ([], ["--help"]):
        assert here(*arguments) == 0
        told = capsys.readouterr().out
        assert all(command in told for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_s_help_has_an_example(command: str, here, capsys):
    assert here(command, "--help") == 0
    assert f"Example: pentarch {command}" in capsys.readouterr().out


def test_an_interrupt_ends_with_130_and_the_command_that_continues(here, capsys, monkeypatch):
    def interrupted(*_: object) -> None:
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(compose, "compose_recipe", interrupted)
    # A shell starts what runs in its background deaf to this signal, the tests too.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        assert here("train", "data.path=my file.txt") == 130
    finally:
        signal.signal(signal.SIGINT, before)
    told = capsys.readouterr().err.strip()
    assert told == "interrupted; the same command continues: pentarch train 'data.path=my file.txt'"


def test_a_bug_stays_loud(monkeypatch):
    def broken(*_: object) -> None:
        raise KeyError("a bug")

    monkeypatch.setattr(compose, "compose_recipe", broken)
    monkeypatch.setattr(sys, "argv", ["pentarch", "train"])
    with pytest.raises(KeyError):
        cli.main()


def test_the_wheel_carries_the_presets():
    """What hatch is told to force into the wheel is where `configs_dir` looks for it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel["force-include"] == {"configs": "experiments/configs"}


@pytest.mark.slow
def test_an_unpacked_wheel_composes_outside_a_checkout(tmp_path: Path):
    site = tmp_path / "site"
    for package in ("archs", "objectives", "experiments"):
        shutil.copytree(ROOT / package, site / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "configs", site / "experiments" / "configs")
    code = (
        "from experiments.sweeps.compose import compose_sweep\n"
        "from experiments.recipe.presets import configs_dir\n"
        "print(configs_dir(), len(compose_sweep('five_families', [])[1]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=site, capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.split() == [str(site / "experiments" / "configs"), "5"]
