"""Words and chunks of languages that are not English: from a text's characters to what is hidden."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import languages
import numpy as np
import pytest
import torch
from languages import CHINESE, EMOJI, MIXED, TEXTS
from text_sources import source

from archs.errors import UserError
from experiments.data.characters import inside_characters
from experiments.data.marks import marker
from experiments.data.store import Corpus, load_corpus
from experiments.data.token_kinds import kinds_of
from experiments.data.tokenizer.tokenizer import Tokenizer, load
from experiments.data.tokenizer.training import SMALLEST, train
from experiments.data.tokenizer.vocabulary import vocabulary
from experiments.data.windows import WindowStream, held_out
from experiments.recipe.recipe import Recipe
from experiments.runs.corpus import corpus_of
from experiments.runs.folder import RunFolder
from experiments.training.train import train as train_run
from objectives.base import Windows
from objectives.chunker import Kind, chunks_of
from objectives.marks import ANNOTATED, BLANK, ENTITY, ENTITY_START, FUNCTION, NUMBER, PHRASE, UPPER, WORD
from objectives.mlm import MLM
from objectives.select import entities, ngrams, phrases, uniform, whole_word, whole_word_spans
from objectives.sop import SOP

HERE = str(Path(__file__).parents[1])
SEGMENTERS = ("jieba", "languages.words", "builtins.list")


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    """Byte-level, small: many characters are several pieces, and some pieces parts of two characters."""
    return train(TEXTS, SMALLEST + 60)


def marked(segmenter: str | None, annotator: str | None = None) -> Callable[..., np.ndarray]:
    found = marker(segmenter, annotator, HERE)
    assert found is not None
    return found


def spans(*rows: tuple[int, int]) -> np.ndarray:
    return np.array(rows, dtype=np.int64)


def windows_of(text: str, tokenizer: Tokenizer, segmenter: str | None, annotator: str | None = None):
    """The text as one row with its marks, and the characters of its tokens."""
    ids, places = tokenizer.encode_with_spans(text)
    marks = marked(segmenter, annotator)(text, places, tokenizer.word_starts[ids])
    return Windows(torch.tensor([ids]), marks=torch.from_numpy(marks)[None]), places


def characters(text: str) -> list[str]:
    """As a reader sees them."""
    starts = [*np.flatnonzero(~inside_characters(text)).tolist(), len(text)]
    return [text[start:stop] for start, stop in pairwise(starts)]


@pytest.mark.parametrize(
    "character",
    ["🇨🇳", "👩‍👩‍👧‍👦", "👍🏽", "❤️‍🔥", "🏴󠁧󠁢󠁥󠁮󠁧󠁿", "e\u0301", "हि", "دِ", "中", "Z"],
)
def test_a_character_of_several_code_points_is_one(character: str) -> None:
    assert characters(f"a{character}{character}b") == ["a", character, character, "b"]


def test_a_word_begins_with_the_token_that_begins_in_it() -> None:
    # 我 爱 北京 | tokens 我, 爱北, 京: the second holds two words, which stay together with the third.
    marks = marked("languages.words")
    text = "我爱北京"
    assert marks(text, spans((0, 1), (1, 2), (2, 3), (3, 4)), np.zeros(4, bool)).tolist() == [1, 1, 1, 0]
    assert marks(text, spans((0, 1), (1, 3), (3, 4)), np.zeros(3, bool)).tolist() == [1, 1, 0]


def test_bytes_of_one_character_are_one_word() -> None:
    marks = marked("builtins.list")("爱你", spans((0, 1), (0, 1), (0, 2), (1, 2)), np.ones(4, bool))
    assert marks.tolist() == [1, 0, 0, 0]
    marks = marked("builtins.list")("爱你", spans((0, 1), (0, 1), (1, 2), (1, 2)), np.ones(4, bool))
    assert marks.tolist() == [1, 0, 1, 0]


def test_a_text_that_a_tokenizer_drops_has_no_marks() -> None:
    nothing = np.zeros((0, 2), dtype=np.int64)
    assert marked("builtins.list", "languages.annotate")("\u200b", nothing, np.ones(0, bool)).tolist() == []


@pytest.mark.parametrize(
    "rows", [[(0, 3), (3, 7)], [(0, 3), (4, 7)], [(0, 3), (3, 4), (4, 7)]], ids=["with", "without", "apart"]
)
def test_white_space_before_a_word_hides_no_boundary(rows: list[tuple[int, int]]) -> None:
    """Of byte-level, WordPiece and other tokenizers."""
    marks = marked("builtins.list")("one two", spans(*rows), np.zeros(len(rows), bool))
    assert marks.all()


def test_a_chunk_covers_whole_words_of_the_segmenter_and_none_of_the_spelling() -> None:
    text, places = "他在北京大学", spans((0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (5, 6))

    def annotated(text: str) -> list[tuple[int, int, str]]:
        return [(2, 4, "entity"), (4, 5, "phrase")]

    languages.here = annotated  # type: ignore[attr-defined]
    inside = ANNOTATED | ENTITY
    whole = marked("languages.words", "languages.here")(text, places, np.zeros(6, bool))
    assert ((whole & ENTITY) > 0).tolist() == [False, False, True, True, True, True]
    assert ((whole & PHRASE) > 0).tolist() == [False, False, True, True, True, True]
    alone = marked(None, "languages.here")(text, places, np.array([1, 0, 0, 0, 0, 0], bool))
    assert alone[:4].tolist() == [ANNOTATED | WORD, ANNOTATED, inside | ENTITY_START, inside]
    assert not (alone[4:] & ENTITY).any()


@pytest.mark.slow
@pytest.mark.parametrize("text", TEXTS, ids=["chinese", "mixed", "emoji"])
@pytest.mark.parametrize("segmenter", SEGMENTERS)
@pytest.mark.parametrize("select", [whole_word, ngrams, whole_word_spans, entities, phrases])
def test_words_of_a_segmenter_and_characters_are_hidden_whole(
    text: str, segmenter: str, select: Callable[..., torch.Tensor], tokenizer: Tokenizer
) -> None:
    windows, places = windows_of(text, tokenizer, segmenter)
    found = marker(segmenter, None, HERE)
    assert found is not None
    assert found.segment is not None
    units, start = [*found.segment(text), *characters(text)], 0
    objective = MLM(vocabulary(tokenizer), "in_place", select=select, rate=0.3)
    for seed in range(5):
        hide = objective.build(windows, torch.Generator().manual_seed(seed)).weights[0].numpy() > 0
        assert 0 < hide.sum() < len(hide)
        for unit in units:
            stop = start + len(unit)
            # A token of white space and a word belongs to the word.
            over = (places[:, 0] < stop) & (places[:, 1] > start)
            if unit.strip():
                over &= np.array([text[a:b].strip() != "" for a, b in places])
                assert len(np.unique(hide[over])) == 1, unit
            start = stop % len(text)


def test_words_of_jieba_are_words_and_single_pieces_are_not(tokenizer: Tokenizer) -> None:
    windows, _ = windows_of(CHINESE, tokenizer, "jieba")
    assert windows.marks is not None
    starts = int((windows.marks & WORD).sum())
    known = vocabulary(tokenizer)
    assert 40 < starts < 0.8 * windows.tokens.shape[1]
    assert int(known.word_starts[windows.tokens].sum()) == 0  # the spelling knows no word in this text
    alone = MLM(known, "in_place", select=uniform).build(windows, torch.Generator())
    assert 0 < float(alone.weights.sum()) < 0.2 * windows.tokens.shape[1]


def test_entities_of_an_annotator_are_hidden_before_anything_else(tokenizer: Tokenizer) -> None:
    windows, places = windows_of(CHINESE, tokenizer, "jieba", "languages.annotate")
    chunk = chunks_of("entity", windows, vocabulary(tokenizer))[0].numpy()
    pieces = [CHINESE[places[chunk == n][0][0] : places[chunk == n][-1][1]] for n in range(chunk.max() + 1)]
    wanted = [found.group() for found in languages.PLACES.finditer(CHINESE)]
    assert len(pieces) == len(wanted)
    assert all(name in piece for name, piece in zip(wanted, pieces, strict=True))
    objective = MLM(vocabulary(tokenizer), "in_place", select=entities, rate=0.02)
    hide = objective.build(windows, torch.Generator()).weights[0].numpy() > 0
    assert (chunk[hide] >= 0).all()


SENTENCES = (
    " It was so. In 1944 General Eisenhower came to New York, and the president of the United States said to "
    "Congress: We shall have peace. Foreign affairs are not well."
)


@pytest.mark.parametrize(
    ("kind", "wanted"),
    [
        ("entity", "1944 General Eisenhower|New York|United States|Congress"),
        ("phrase", "1944 General Eisenhower came|New York|United States said|Congress|Foreign affairs"),
    ],
)
def test_without_an_annotator_chunks_go_by_case_and_by_the_commonest_words(
    kind: Kind, wanted: str, address_corpus: Corpus
) -> None:
    ids = torch.tensor(address_corpus.tokenizer.encode(SENTENCES))
    chunk = chunks_of(kind, Windows(ids[None]), address_corpus.vocabulary)[0]
    texts = [address_corpus.tokenizer.decode(ids[chunk == each]) for each in range(int(chunk.max()) + 1)]
    found = [text.strip() for text in texts]
    assert [text for text in found if text in wanted.split("|")] == wanted.split("|")
    assert kind == "phrase" or found == wanted.split("|")


def test_kinds_of_pieces_go_by_unicode_not_by_english() -> None:
    pieces = [
        "Ünal",
        "écrit",
        "Жуков",
        "москва",
        "北京",
        "二十",
        "٣٤",
        "12",
        "،",
        "。",
        "👍",
        " ",
        "\u0650",
    ]
    backend = train(pieces, SMALLEST).backend
    backend.add_tokens(pieces)
    read = Tokenizer(backend, train(pieces, SMALLEST).roles)
    found = [int(read.kinds[backend.token_to_id(piece)]) & ~FUNCTION for piece in pieces]
    assert found == [UPPER, 0, UPPER, 0, 0, 0, NUMBER, NUMBER, BLANK, BLANK, BLANK, BLANK, 0]
    assert (read.kinds[read.special] == BLANK).all()


def test_the_commonest_words_are_found_in_any_script() -> None:
    french = ["le chat et le chien sont dans la maison et la souris est dans le jardin"] * 20
    russian = ["я и ты, и он, и она, и мы в доме и в саду, и на реке"] * 20
    for texts, word in ((french, " le"), (russian, " и"), ([CHINESE], "的")):
        read = train(texts, SMALLEST + 60)
        flagged = [read.texts[token] for token in np.flatnonzero(read.kinds & FUNCTION)]
        assert word in flagged
    address = train(["The Senate and the House. the the The the"] * 20, SMALLEST + 60)
    assert kinds_of([" के", "के", *["1"] * 16, " घ"], [2] * 19, np.zeros(19, bool))[[0, 1, -1]].tolist() == [
        FUNCTION,
        FUNCTION,
        0,
    ]
    assert "The" in [address.texts[token] for token in np.flatnonzero(address.kinds & FUNCTION)]


def paragraphs(folder: Path) -> Path:
    file = folder / "zh.txt"
    file.write_text(
        "\n\n".join(f"第{number}段。{CHINESE}{MIXED}{EMOJI}" * 3 for number in range(60)), "utf-8"
    )
    return file


def loaded(file: Path, cache: Path, segmenter: str | None, annotator: str | None = None) -> Corpus:
    return load_corpus(
        source("text", str(file)),
        vocabulary_size=SMALLEST + 60,
        marker=marker(segmenter, annotator, HERE),
        cache=cache,
    )


def test_marks_stand_beside_the_tokens_in_the_cache_and_in_windows(tmp_path: Path) -> None:
    file, cache = paragraphs(tmp_path), tmp_path / "cache"
    corpus = loaded(file, cache, "jieba", "languages.annotate")
    times = {path: path.stat().st_mtime_ns for path in cache.rglob("*.*")}
    again = loaded(file, cache, "jieba", "languages.annotate")
    assert {path: path.stat().st_mtime_ns for path in cache.rglob("*.*")} == times
    for part, second in zip(corpus.splits.values(), again.splits.values(), strict=True):
        assert part.marks is not None
        assert second.marks is not None
        assert np.array_equal(part.marks, second.marks)
        assert len(part.marks) == len(part.tokens)
        assert (part.marks[part.offsets[1:] - 1] == WORD).all()
        assert (part.marks[part.offsets[:-1]] & WORD).all()
    assert corpus.train.marks is not None
    stream = WindowStream(corpus.train, 4, 32, 0)
    windows, cells = stream(3), stream.row_numbers(3)[:, None] * 32 + np.arange(32)
    assert windows.marks is not None
    assert np.array_equal(windows.marks.numpy(), corpus.train.marks[cells])
    held = held_out(corpus.validation, 4, 32)
    assert held.marks is not None
    assert held.marks.shape == held.tokens.shape


def test_a_text_without_segmenter_and_annotator_has_no_marks_and_other_words_get_other_files(
    tmp_path: Path,
) -> None:
    file, cache = paragraphs(tmp_path), tmp_path / "cache"
    plain = loaded(file, cache, None)
    assert plain.train.marks is None
    assert WindowStream(plain.train, 4, 32, 0)(0).marks is None
    assert held_out(plain.validation, 4, 32).marks is None
    assert not list(cache.rglob("*.marks.bin"))
    digests = [loaded(file, cache, *given).digest for given in (("jieba",), (None, "languages.annotate"))]
    assert len({plain.digest, *digests}) == 3
    assert len([place for place in (cache / "tokenizers").iterdir() if place.is_dir()]) == 1


def test_a_changed_segmenter_gets_files_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = []
    for body in ("list(text)", "[text]", "list(text)"):
        code = tmp_path / "changing_words.py"
        code.write_text(f"def cut(text):\n    return {body}\n")
        monkeypatch.delitem(sys.modules, "changing_words", raising=False)
        found = marker("changing_words.cut", None, str(tmp_path))
        assert found is not None
        keys.append(found.key)
    assert keys[0] == keys[2] != keys[1]


def test_a_damaged_file_of_marks_is_told(tmp_path: Path) -> None:
    file, cache = paragraphs(tmp_path), tmp_path / "cache"
    loaded(file, cache, "builtins.list")
    (damaged,) = cache.rglob("train.marks.bin")
    damaged.write_bytes(damaged.read_bytes()[:-1])
    with pytest.raises(UserError, match=r"is damaged \(train\.marks\.bin is cut off\)"):
        loaded(file, cache, "builtins.list")


def test_marks_reach_the_batches_of_sentence_pairs(tmp_path: Path) -> None:
    corpus = loaded(paragraphs(tmp_path), tmp_path / "cache", "jieba")
    stream = WindowStream(corpus.train, 4, 48, 0)

    def starts(tokens, word_starts, special, rng):
        counted.append(int((word_starts & ~special).sum()))
        return word_starts & ~special

    counted: list[int] = []
    SOP(corpus.vocabulary, "in_place", select=starts).build(stream(0), torch.Generator())
    windows = stream(0)
    assert windows.marks is not None
    assert counted[-1] == int((windows.marks & WORD)[~corpus.vocabulary.special[windows.tokens]].sum())


SECOND = """
import sys
from experiments.recipe.recipe import Recipe
from experiments.runs.run import corpus_of
corpus = corpus_of(Recipe.from_yaml(sys.argv[1]))
print(corpus.digest, int(corpus.train.marks.sum()))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("select", "segmenter", "annotator"),
    [("whole_word", "jieba", None), ("entities", "languages.words", "languages.annotate")],
)
def test_a_run_on_chinese_hides_words_and_a_second_process_reads_its_cache(
    select: str,
    segmenter: str,
    annotator: str | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    compose: Callable[..., Recipe],
) -> None:
    monkeypatch.chdir(HERE)
    given = [f"data.segmenter={segmenter}", *([f"data.annotator={annotator}"] if annotator else [])]
    given += [f"data.path={paragraphs(tmp_path)}", f"data.cache={tmp_path}/cache", "size.vocabulary=512"]
    recipe = compose("family=encoder_ae", f"objective.options.select={select}", "budget.amount=4", *given)
    assert recipe.user_path == (HERE if "." in segmenter else None)
    train_run(recipe, tmp_path / "run")
    assert RunFolder(tmp_path / "run").is_("trained")
    written = json.loads((tmp_path / "run" / "environment.json").read_text())
    assert ("languages.py" in written["user_source"]) == ("." in segmenter)
    corpus, files = corpus_of(recipe), sorted((tmp_path / "cache").rglob("*"))
    assert corpus.train.marks is not None
    command = [sys.executable, "-c", SECOND, str(tmp_path / "run" / "recipe.yaml")]
    answer = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout.split()
    assert answer == [corpus.digest, str(int(corpus.train.marks.sum()))]
    assert sorted((tmp_path / "cache").rglob("*")) == files


@pytest.mark.parametrize(
    ("segmenter", "annotator", "message"),
    [
        ("languages.without_spaces", None, r"changed it: from character 2 on came 'b', the text has ' b'"),
        ("languages.numbers", None, "gave 1, a int; give words, as strings"),
        ("languages.nothing", None, "gave NoneType; give a list or a generator of words"),
        (None, "languages.nothing", r"gave NoneType; give a list or a generator of \(start, end, kind\)"),
        (None, "languages.beyond", r"gave \(0, 5, 'entity'\), outside the text or empty; .* 4 characters"),
        (None, "languages.empty", r"gave \(2, 2, 'entity'\), outside the text or empty"),
        (None, "languages.overlapping", r"gave phrase \(0, 3\) and \(2, 4\), which overlap"),
        (None, "languages.person", "gave the kind 'person'; the kinds are entity, phrase"),
        (None, "languages.reals", r"gave \(0\.0, 1, 'entity'\); give \(start, end, kind\)"),
        (None, "languages.pairs", r"gave \(0, 1\); give \(start, end, kind\)"),
    ],
)
def test_words_and_chunks_that_mean_nothing_are_one_line(
    segmenter: str | None, annotator: str | None, message: str
) -> None:
    with pytest.raises(UserError, match=message) as error:
        marked(segmenter, annotator)("aa b", spans((0, 2), (2, 4)), np.ones(2, bool))
    assert "\n" not in str(error.value)
    assert str(error.value).startswith("data.")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("languages.word", "unknown name in module 'languages' .* choose one of: words"),
        ("no_such_module.words", "no module 'no_such_module'"),
        ("languages.NO_FUNCTION", "is no function but 'jieba'"),
    ],
)
def test_an_import_path_that_leads_nowhere_is_one_line(name: str, message: str) -> None:
    for given, what in (((name, None), "data.segmenter"), ((None, name), "data.annotator")):
        with pytest.raises(UserError, match=f"{what} .*{message}") as error:
            marker(*given, HERE)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"segmenter": "jeiba"}, "data.segmenter 'jeiba' is not known; give jieba or the import path"),
        ({"annotator": "spacy"}, "data.annotator 'spacy' is not known; give the import path"),
    ],
)
def test_a_name_that_is_no_import_path_is_refused_by_the_recipe(
    change: dict[str, str], message: str, compose: Callable[..., Recipe]
) -> None:
    with pytest.raises(UserError, match=message) as error:
        compose(*(f"data.{key}={value}" for key, value in change.items()))
    assert "\n" not in str(error.value)


def test_a_missing_jieba_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jieba", None)
    with pytest.raises(UserError, match=r"needs the package jieba; install it with pip install"):
        marker("jieba", None)


def test_characters_of_a_word_piece_tokenizer_join_to_words(tmp_path: Path) -> None:
    from tokenizers import Tokenizer as Backend
    from tokenizers import models, normalizers, pre_tokenizers

    pieces = ["[UNK]", "[SEP]", *dict.fromkeys("我在北京大学。"), "the", "##re"]
    backend = Backend(models.WordPiece({piece: n for n, piece in enumerate(pieces)}, unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer()  # type: ignore[assignment]
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()  # type: ignore[assignment]
    backend.add_special_tokens(pieces[:2])
    backend.save(str(tmp_path / "words.json"))
    windows, _ = windows_of("There 我在北京大学。", load(tmp_path / "words.json"), "jieba")
    assert windows.marks is not None
    assert windows.marks.tolist() == [[1, 0, 1, 1, 1, 0, 0, 0, 1]]
