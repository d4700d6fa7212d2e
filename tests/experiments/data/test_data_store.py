from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from text_sources import source

from archs.errors import UserError
from experiments.data.split import split
from experiments.data.store import Corpus, load_corpus
from experiments.data.tokenizer.training import train

SIZE = 400
BUILD = """
import sys
from pathlib import Path
from experiments.data.sources.files import Files
from experiments.data.store import load_corpus
source = Files(path=sys.argv[1], format="text")
print(load_corpus(source, vocabulary_size=400, cache=Path(sys.argv[2])).digest)
"""


@pytest.fixture
def text(tmp_path: Path) -> Path:
    """Thirty paragraphs, each with a word of its own."""
    file = tmp_path / "a.txt"
    file.write_text(
        "\n\n".join(f"Paragraph w{n}w: the state of the union is sound. " * 20 for n in range(30))
    )
    return file


def load(text: Path, cache: Path, **changes) -> Corpus:
    return load_corpus(source("auto", str(text)), vocabulary_size=SIZE, cache=cache, **changes)


def built(cache: Path, kind: str) -> list[Path]:
    return [place for place in (cache / kind).iterdir() if place.is_dir()]


def test_the_token_files_hold_each_document_of_its_split_and_its_eos(text: Path, tmp_path: Path) -> None:
    corpus = load(text, tmp_path / "cache")
    for name, part in corpus.splits.items():
        wanted = [
            document.text for found, document in split(source("text", str(text)).documents()) if found == name
        ]
        rows = [part.tokens[start:stop] for start, stop in zip(part.offsets, part.offsets[1:], strict=False)]
        assert [corpus.tokenizer.decode(row) for row in rows] == wanted
        assert all(row[-1] == corpus.vocabulary.eos for row in rows)
        assert part.text_bytes == sum(len(one.encode()) for one in wanted)
        assert part.tokens.dtype == np.uint16
        assert part.documents == len(wanted)


def test_bytes_are_exact_with_the_trained_tokenizer(text: Path, tmp_path: Path) -> None:
    corpus = load(text, tmp_path / "cache")
    assert corpus.exact_bytes
    for name, part in corpus.splits.items():
        assert corpus.byte_lengths(name)[part.tokens].sum() == part.text_bytes


def test_bytes_are_the_split_s_average_with_a_tokenizer_that_loses_some(text: Path, tmp_path: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = Tokenizer(models.WordLevel({"[UNK]": 0, "[SEP]": 1, "the": 2, "state": 3}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()  # type: ignore[assignment]
    words.add_special_tokens(["[SEP]"])
    words.save(str(tmp_path / "words.json"))
    corpus = load(text, tmp_path / "cache", tokenizer_path=str(tmp_path / "words.json"))
    lengths = corpus.byte_lengths("train")
    ordinary = len(corpus.train.tokens) - corpus.train.documents
    assert not corpus.exact_bytes
    assert lengths[2] == lengths[3] == pytest.approx(corpus.train.text_bytes / ordinary)
    assert lengths[1] == 0


def test_the_tokenizer_is_trained_on_the_training_split_only(text: Path, tmp_path: Path) -> None:
    corpus = load(text, tmp_path / "cache")
    taught = [
        document.text for name, document in split(source("text", str(text)).documents()) if name == "train"
    ]
    assert len(taught) < len(list(source("text", str(text)).documents()))
    assert corpus.tokenizer.backend.to_str() == train(taught, SIZE).backend.to_str()


def test_a_second_load_reads_the_cache_and_builds_nothing(text: Path, tmp_path: Path) -> None:
    first = load(text, tmp_path / "cache")
    files = sorted((tmp_path / "cache").rglob("*.*"))
    times = [file.stat().st_mtime_ns for file in files]
    second = load(text, tmp_path / "cache")
    assert second.digest == first.digest
    assert isinstance(second.train.tokens, np.memmap)
    assert sorted((tmp_path / "cache").rglob("*.*")) == files
    assert [file.stat().st_mtime_ns for file in files] == times


def test_other_text_or_another_tokenizer_gets_files_of_its_own(text: Path, tmp_path: Path) -> None:
    first = load(text, tmp_path / "cache")
    smaller = load_corpus(source("text", str(text)), vocabulary_size=SIZE - 40, cache=tmp_path / "cache")
    text.write_text(text.read_text() + "One sentence more.")
    longer = load(text, tmp_path / "cache")
    assert len({first.digest, smaller.digest, longer.digest}) == 3
    assert len(built(tmp_path / "cache", "tokens")) == 3


@pytest.mark.slow
def test_two_processes_building_at_once_leave_one_good_cache(text: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    command = [sys.executable, "-c", BUILD, str(text), str(cache)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    answers = [process.communicate(timeout=60)[0].strip() for process in running]
    assert [process.returncode for process in running] == [0, 0]
    assert [len(built(cache, kind)) for kind in ("tokens", "tokenizers")] == [1, 1]
    assert set(answers) == {load(text, cache).digest}


def test_a_build_that_fails_leaves_nothing_that_a_later_one_could_take_for_whole(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text('{"text": "one"}\n' * 5 + "broken\n")
    for _ in range(2):
        with pytest.raises(UserError, match="line 6 is not JSON"):
            load(file, tmp_path / "cache")
    assert built(tmp_path / "cache", "tokenizers") == []


def test_a_build_killed_halfway_is_built_anew(tmp_path: Path) -> None:
    from experiments.data.cache import once

    die = (
        "import os, sys; from pathlib import Path; from experiments.data.cache import once\n"
        "once(Path(sys.argv[1]), lambda place: ((place / 'half').touch(), os._exit(9)))"
    )
    folder = tmp_path / "made"
    assert subprocess.run([sys.executable, "-c", die, str(folder)], check=False).returncode == 9
    assert not folder.exists()
    (half,) = tmp_path.glob("*.partial")
    of_another_machine = half.with_name(half.name.replace("@", "@node-7.", 1))
    of_another_machine.mkdir()
    once(folder, lambda place: (place / "whole").touch())
    assert [file.name for file in folder.iterdir()] == ["whole"]
    assert [*tmp_path.glob("*.partial")] == [of_another_machine]


def test_a_loser_of_the_race_discards_its_own_files(tmp_path: Path) -> None:
    from experiments.data.cache import once

    folder = tmp_path / "made"

    def build(place: Path) -> None:
        (place / "mine").touch()
        folder.mkdir()  # another process, on a file system without locks
        (folder / "theirs").touch()

    assert once(folder, build) == folder
    assert [file.name for file in folder.iterdir()] == ["theirs"]
    assert [place for place in tmp_path.iterdir() if place.is_dir()] == [folder]


def test_cut_off_token_files_are_told_and_not_read(text: Path, tmp_path: Path) -> None:
    load(text, tmp_path / "cache")
    (file,) = (tmp_path / "cache").rglob("train.bin")
    file.write_bytes(file.read_bytes()[:-2])
    with pytest.raises(UserError, match="is damaged"):
        load(text, tmp_path / "cache")


def test_a_text_too_short_to_split_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("too short")
    with pytest.raises(UserError, match="too few different documents"):
        load(tmp_path / "a.txt", tmp_path / "cache")


def test_a_cache_that_cannot_be_written_is_one_line(text: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"cannot write the cache folder .*; set data\.cache"):
        load(text, tmp_path / "file")


def test_the_addresses_have_over_two_million_training_tokens(address_corpus: Corpus) -> None:
    assert address_corpus.vocabulary.size == 4096
    assert address_corpus.exact_bytes
    assert len(address_corpus.train.tokens) > 2_000_000
    assert min(len(address_corpus.validation.tokens), len(address_corpus.test.tokens)) > 100_000
