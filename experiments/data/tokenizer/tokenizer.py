"""A tokenizer read from a file: encodes and decodes text, and describes its pieces."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import tokenizers

from archs.errors import UserError
from experiments.data.token_kinds import kinds_of
from experiments.data.tokenizer.special import NAMES
from experiments.storage.whole import write_whole

# The full stops and other ends of Latin, Chinese and Japanese, Arabic and Urdu, Indic, Armenian, Ethiopic,
# Burmese and Khmer.
SENTENCE_END = re.compile(r"""[.!?…。！？｡؟۔।॥։።။។៕][)\]"'’”»」』）]*$""")  # noqa: RUF001


@dataclass(frozen=True, eq=False)
class Tokenizer:
    """A `tokenizers.Tokenizer`, and the ids of its special tokens by role (see NAMES), None where missing.

    A special token's name in a text, such as "<s>" in HTML, is read as ordinary text. Only objectives insert
    special tokens.
    """

    backend: tokenizers.Tokenizer
    roles: Mapping[str, int | None]

    def __post_init__(self) -> None:
        self.backend.encode_special_tokens = True
        self.backend.no_padding()
        self.backend.no_truncation()

    def encode(self, text: str) -> list[int]:
        return self.backend.encode(text, add_special_tokens=False).ids

    def encode_batch(self, texts: list[str]) -> list[list[int]]:
        """Encodes several texts, on all cores."""
        return [encoding.ids for encoding in self.backend.encode_batch_fast(texts, add_special_tokens=False)]

    def encode_with_spans(self, text: str) -> tuple[list[int], np.ndarray]:
        """Returns the ids, and the characters that each token stands for: (n,2) int64, end excluded.

        Tokens of a byte-level tokenizer that hold parts of one character all have that character's place.
        """
        encoding = self.backend.encode(text, add_special_tokens=False)
        return encoding.ids, np.array(encoding.offsets, dtype=np.int64).reshape(-1, 2)

    def decode(self, ids: Iterable[int]) -> str:
        """Returns the text of token ids, without special tokens."""
        return self.backend.decode([int(token) for token in ids], skip_special_tokens=True)

    @cached_property
    def size(self) -> int:
        """V: one more than the largest id."""
        return max(self.backend.get_vocab(with_added_tokens=True).values()) + 1

    @cached_property
    def pieces(self) -> list[str | None]:
        """Each id's spelling in the vocabulary (V); None for an id without a piece."""
        return [self.backend.id_to_token(token) for token in range(self.size)]

    @cached_property
    def special(self) -> np.ndarray:
        """(V) bool: whether the piece is a control token, which is never part of a text."""
        flags = np.array([piece is None for piece in self.pieces])
        added = self.backend.get_added_tokens_decoder()
        unknown = self._layout["model"].get("unk_token")
        flags[[token for token, entry in added.items() if entry.special]] = True
        flags[
            [token for token, piece in enumerate(self.pieces) if piece is not None and piece == unknown]
        ] = True
        flags[[token for token in self.roles.values() if token is not None]] = True
        return flags

    @cached_property
    def byte_lengths(self) -> np.ndarray:
        """(V) int64: UTF-8 bytes of each piece, 0 for special tokens. For byte-level tokenizers only.

        In those each character of a piece is one byte. Other tokenizers lose bytes of the text (white space,
        case), so `Corpus.byte_lengths` uses the split's ratio of bytes to tokens for them.
        """
        if not self.byte_level:
            raise ValueError("only byte-level tokenizers know the bytes of a piece")
        lengths = np.array([len(piece or "") for piece in self.pieces], dtype=np.int64)
        for token, entry in self.backend.get_added_tokens_decoder().items():
            lengths[token] = len(entry.content.encode())  # added tokens are plain text
        return np.where(self.special, 0, lengths)

    @cached_property
    def byte_level(self) -> bool:
        return "ByteLevel" in _types(self._layout["decoder"]) | _types(self._layout["pre_tokenizer"])

    @cached_property
    def word_starts(self) -> np.ndarray:
        """(V) bool: whether the piece begins a word; special tokens do.

        Byte-level: it begins with white space (Ġ, Ċ, ...), as in RoBERTa's whole-word masking, so that
        punctuation belongs to the word before it. WordPiece: it has no "##". SentencePiece: it begins with
        "▁". Raises UserError for a tokenizer that marks no words.
        """
        model = self._layout["model"]
        pieces = [piece or "" for piece in self.pieces]
        if self.byte_level:
            starts = [piece[:1] in ("Ġ", "Ċ", "ĉ", "č") for piece in pieces]
        elif model["type"] == "WordPiece":
            starts = [not piece.startswith(model["continuing_subword_prefix"]) for piece in pieces]
        elif model["type"] == "WordLevel":
            starts = [True] * self.size
        elif any(piece.startswith("▁") for piece in pieces):
            starts = [piece.startswith("▁") for piece in pieces]
        else:
            raise UserError(
                f"cannot tell where words start in this {model['type']} tokenizer; use a byte-level, "
                "WordPiece or SentencePiece one, or let pentarch train one (data.tokenizer=null)"
            )
        return np.array(starts) | self.special

    @cached_property
    def sentence_ends(self) -> np.ndarray:
        """(V) bool: whether the piece ends in a full stop, exclamation or question mark of a common script.

        Closing quotes and brackets may follow. A mark that a byte-level vocabulary splits into several
        pieces is not found.
        """
        ending = [SENTENCE_END.search(text) is not None for text in self.texts]
        return np.array(ending) & ~self.special

    @cached_property
    def texts(self) -> list[str]:
        """The text of each piece (V): `Ġthe` is ` the`, `##s` is `s`, a part of a character is U+FFFD."""
        pieces = [piece or "" for piece in self.pieces]
        if self.byte_level:
            read = tokenizers.decoders.ByteLevel().decode  # a tokenizer may come without a decoder
            texts = [read([piece]) for piece in pieces]
        else:
            inner = self._layout["model"].get("continuing_subword_prefix") or ""
            texts = [piece.removeprefix(inner).replace("▁", " ") for piece in pieces]
        for token, entry in self.backend.get_added_tokens_decoder().items():
            texts[token] = entry.content  # added tokens are plain text
        return texts

    @cached_property
    def kinds(self) -> np.ndarray:
        """(V) uint8: bits of objectives.marks; see `kinds_of`."""
        return kinds_of(self.texts, [len(piece or "") for piece in self.pieces], self.special)

    @cached_property
    def digest(self) -> str:
        """A hash of everything that decides the ids of a text."""
        return hashlib.sha256((self.backend.to_str() + json.dumps(dict(self.roles))).encode()).hexdigest()

    @cached_property
    def _layout(self) -> dict:
        return json.loads(self.backend.to_str())

    def save(self, file: Path) -> None:
        write_whole(file, self.backend.to_str(pretty=True).encode())


def load(path: str | Path) -> Tokenizer:
    """Reads a tokenizers JSON file, or a Hugging Face tokenizer folder, without network.

    A folder names the roles of its special tokens (pad_token, bos_token, ...). Those of a file are found by
    their names. In both, sentinels are the tokens spelled <extra_id_N>. Raises UserError if there is none.
    """
    place = Path(path).expanduser()
    if place.is_file():
        try:
            backend = tokenizers.Tokenizer.from_file(str(place))
        except Exception as error:  # the library raises plain Exception
            raise UserError(
                f"'{path}' is not a tokenizers JSON file ({error}); give one, or a tokenizer folder"
            ) from error
        return Tokenizer(backend, roles_by_name(backend))
    if not place.is_dir():
        raise UserError(
            f"no tokenizer at '{path}'; data.tokenizer takes a tokenizers JSON file or a Hugging Face "
            "tokenizer folder"
        )
    from transformers import AutoTokenizer

    try:
        named = AutoTokenizer.from_pretrained(str(place), local_files_only=True)
    except (OSError, ValueError) as error:
        reason = str(error).strip().split("\n")[0]
        raise UserError(
            f"'{path}' is not a Hugging Face tokenizer folder ({reason}); give one with tokenizer.json"
        ) from error
    backend = getattr(named, "backend_tokenizer", None)
    if backend is None:
        raise UserError(f"the tokenizer in '{path}' has no fast version; save it with a tokenizer.json")
    return Tokenizer(backend, {role: getattr(named, f"{role}_token_id") for role in NAMES})


def roles_by_name(backend: tokenizers.Tokenizer) -> dict[str, int | None]:
    """Returns {role: id} of the special tokens, by their common names; None for a role that none has."""
    known = backend.get_vocab(with_added_tokens=True)
    return {
        role: next((known[name] for name in names if name in known), None) for role, names in NAMES.items()
    }


def _types(component: dict | None) -> set[str]:
    """Returns the types of a pre-tokenizer or decoder, with those inside a Sequence."""
    if component is None:
        return set()
    inner = [*component.get("decoders", ()), *component.get("pretokenizers", ())]
    return {component["type"]}.union(*(_types(part) for part in inner))
