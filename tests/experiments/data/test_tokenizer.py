from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as Backend

from archs.errors import UserError
from experiments.data.store import Corpus
from experiments.data.tokenizer.special import SENTINELS, SPECIALS
from experiments.data.tokenizer.tokenizer import Tokenizer, load
from experiments.data.tokenizer.training import SMALLEST, train
from experiments.data.tokenizer.vocabulary import vocabulary

TEXT = ["The state of the union is strong, and the people of the states are free.\nIt is so."] * 4
STRANGE = [
    "",
    "中文字符",
    "😀👩\u200d👩\u200d👧 emoji",
    "tab\tnew\n\nline  two spaces",
    "<s> <mask> </s> <extra_id_0>",
    "naïve\u2028\x7f",
]


@pytest.fixture(scope="module")
def trained() -> Tokenizer:
    return train(TEXT, 350)


@pytest.mark.parametrize("text", STRANGE)
def test_decoding_gives_back_any_text(trained: Tokenizer, text: str) -> None:
    assert trained.decode(trained.encode(text)) == text


@pytest.mark.slow
@settings(deadline=None, max_examples=100)
@given(text=st.text())
def test_the_bytes_of_a_text_s_pieces_add_up(text: str) -> None:
    trained = train(TEXT, 350)
    ids = trained.encode(text)
    assert trained.byte_lengths[ids].sum() == len(text.encode())
    assert trained.decode(ids) == text


def test_special_tokens_written_in_a_text_are_text(trained: Tokenizer) -> None:
    assert not trained.special[trained.encode("".join(SPECIALS))].any()
    assert not trained.special[np.concatenate(trained.encode_batch(["<s>", "<pad>"]))].any()


def test_a_batch_is_encoded_as_its_texts_one_by_one(trained: Tokenizer) -> None:
    assert trained.encode_batch([*STRANGE, *TEXT]) == [trained.encode(text) for text in [*STRANGE, *TEXT]]


def test_the_vocabulary_has_all_roles_and_sentinels_first(trained: Tokenizer) -> None:
    known = vocabulary(trained)
    assert known.size == 350
    assert (known.pad, known.bos, known.eos, known.mask, known.cls, known.sep) == (0, 1, 2, 3, 4, 5)
    assert known.sentinels == tuple(range(6, 6 + SENTINELS))
    assert known.special.nonzero().flatten().tolist() == list(range(len(SPECIALS)))
    known.require(("mask", "cls", "sep", "sentinels"), "any")


def test_words_start_at_white_space_in_a_byte_level_tokenizer(trained: Tokenizer) -> None:
    known = vocabulary(trained)
    ids = trained.encode("the states,\nIt")
    assert [trained.pieces[token] for token in ids] == ["the", "Ġstate", "s", ",", "Ċ", "It"]
    assert known.word_starts[ids].tolist() == [False, True, False, False, True, False]
    assert known.word_starts[: len(SPECIALS)].all()


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ('He came. He saw! "Did he win?" Yes', ["He came.", " He saw!", ' "Did he win?"', " Yes"]),
        ("今天天气很好。我们去公园吧!好吗?好", ["今天天气很好。", "我们去公园吧!", "好吗?", "好"]),
        ("今天天气很好。我们去公园吧！好吗？好", ["今天天气很好。", "我们去公园吧！", "好吗？", "好"]),  # noqa: RUF001
        ("no end, none; none: 👍", ["no end, none; none: 👍"]),
    ],
)
def test_sentences_end_behind_their_marks_in_latin_and_chinese(text: str, sentences: list[str]) -> None:
    tokenizer = train([text] * 5, SMALLEST + 60)
    ends = vocabulary(tokenizer).sentence_ends
    assert ends is not None
    assert not ends[tokenizer.special].any()
    found, now = [], []
    for token in tokenizer.encode(text):
        now.append(token)
        if ends[token]:
            found.append(now)
            now = []
    assert [tokenizer.decode(part) for part in (*found, now) if part] == sentences


def test_a_saved_tokenizer_is_the_same_one(trained: Tokenizer, tmp_path: Path) -> None:
    trained.save(tmp_path / "tokenizer.json")
    again = load(tmp_path / "tokenizer.json")
    assert again.roles == trained.roles
    assert again.digest == trained.digest


def test_training_twice_gives_the_same_tokenizer() -> None:
    assert train(TEXT, 350).digest == train(TEXT, 350).digest


def test_a_vocabulary_too_small_for_all_bytes_is_refused() -> None:
    with pytest.raises(UserError, match=rf"size\.vocabulary={SMALLEST - 1} is too small.* need {SMALLEST}"):
        train(TEXT, SMALLEST - 1)


def word_piece() -> Backend:
    from tokenizers import decoders, models, pre_tokenizers

    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "state", "##s", "the"]
    backend = Backend(
        models.WordPiece({piece: number for number, piece in enumerate(pieces)}, unk_token="[UNK]")
    )
    backend.pre_tokenizer = pre_tokenizers.Whitespace()  # type: ignore[assignment]
    backend.decoder = decoders.WordPiece()  # type: ignore[assignment]
    backend.add_special_tokens(pieces[:5])
    return backend


def test_a_hugging_face_folder_tells_its_roles_by_its_own_names(trained: Tokenizer, tmp_path: Path) -> None:
    from transformers import PreTrainedTokenizerFast

    PreTrainedTokenizerFast(
        tokenizer_object=trained.backend, pad_token="<sep>", eos_token="<cls>", mask_token="<extra_id_9>"
    ).save_pretrained(tmp_path)
    known = vocabulary(load(tmp_path))
    assert (known.pad, known.bos, known.eos, known.mask) == (
        5,
        4,
        4,
        15,
    )  # no bos, no cls: eos stands for both
    assert known.cls is None
    assert known.sep is None
    with pytest.raises(UserError, match="'x' needs the special tokens cls, which this tokenizer lacks"):
        known.require(("cls",), "x")
    assert load(tmp_path).encode("the state") == trained.encode("the state")


def test_a_word_piece_file_has_cls_and_sep_for_bos_and_eos(tmp_path: Path) -> None:
    word_piece().save(str(tmp_path / "words.json"))
    loaded = load(tmp_path / "words.json")
    known = vocabulary(loaded)
    assert (known.pad, known.bos, known.eos, known.mask, known.sentinels) == (0, 2, 3, 4, ())
    assert loaded.encode("the states") == [7, 5, 6]
    assert known.word_starts.tolist() == [True] * 6 + [False, True]
    assert known.special.tolist() == [True] * 5 + [False] * 3  # [UNK] is never hidden
    with pytest.raises(ValueError, match="only byte-level"):
        _ = loaded.byte_lengths


def test_a_metaspace_tokenizer_starts_words_at_its_bar(tmp_path: Path) -> None:
    from tokenizers import models, pre_tokenizers

    backend = Backend(models.BPE({"</s>": 0, "▁": 1, "a": 2, "b": 3, "▁a": 4}, [("▁", "a")]))
    backend.pre_tokenizer = pre_tokenizers.Metaspace()  # type: ignore[assignment]
    backend.add_special_tokens(["</s>"])
    backend.save(str(tmp_path / "bar.json"))
    assert vocabulary(load(tmp_path / "bar.json")).word_starts.tolist() == [True, True, False, False, True]


def test_a_tokenizer_without_any_end_or_without_word_marks_is_refused(tmp_path: Path) -> None:
    from tokenizers import models

    Backend(models.WordLevel({"a": 0, "b": 1}, unk_token="a")).save(str(tmp_path / "endless.json"))
    Backend(models.BPE({"</s>": 0, "a": 1}, [])).save(str(tmp_path / "unmarked.json"))
    with pytest.raises(UserError, match="no token for a text's beginning or end"):
        vocabulary(load(tmp_path / "endless.json"))
    with pytest.raises(UserError, match="cannot tell where words start"):
        vocabulary(load(tmp_path / "unmarked.json"))


def test_what_is_no_tokenizer_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_text("{}")
    (tmp_path / "folder").mkdir()
    for name, message in [
        ("bad.json", "not a tokenizers JSON file"),
        ("folder", "not a Hugging Face tokenizer folder"),
        ("missing", "no tokenizer at"),
    ]:
        with pytest.raises(UserError, match=message) as caught:
            load(tmp_path / name)
        assert "\n" not in str(caught.value)


def test_most_words_of_the_addresses_start_where_white_space_stands(address_corpus: Corpus) -> None:
    text = "It shall be the policy of the Government of the United States"
    ids = address_corpus.tokenizer.encode(text)
    starts = address_corpus.vocabulary.word_starts[ids]
    assert int(starts.sum()) == text.count(" ")
    assert len(ids) < 20
