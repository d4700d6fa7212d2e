"""A tokenizer: what its pieces are, read from a file, and text to ids and back."""

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

# Latin, Chinese and Japanese, Arabic and Urdu, Indic, Armenian, Ethiopic, Burmese, Khmer.
SENTENCE_END = re.compile(r"""[.!?…。！？｡؟۔।॥։።။។៕][)\]"'’”»」』）]*$""")  # noqa: RUF001


@dataclass(frozen=True, eq=False)
class Tokenizer:
    """A `tokenizers.Tokenizer` and the ids of its special tokens by role (see NAMES), None where missing.

    Special tokens written out in a text ("<s>" in HTML) are read as ordinary text: their ids come from
    objectives alone.
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
        """As `encode`, on all cores."""
        return [found.ids for found in self.backend.encode_batch_fast(texts, add_special_tokens=False)]

    def encode_with_spans(self, text: str) -> tuple[list[int], np.ndarray]:
        """As `encode`, and which characters of the text each token stands for: (n,2) int64, end excluded.

        Byte-level: tokens that hold parts of one character all have its place.
        """
        found = self.backend.encode(text, add_special_tokens=False)
        return found.ids, np.array(found.offsets, dtype=np.int64).reshape(-1, 2)

    def decode(self, ids: Iterable[int]) -> str:
        """The text of token ids, special tokens left out."""
        return self.backend.decode([int(token) for token in ids], skip_special_tokens=True)

    @cached_property
    def size(self) -> int:
        """V: one more than the largest id."""
        return max(self.backend.get_vocab(with_added_tokens=True).values()) + 1

    @cached_property
    def pieces(self) -> list[str | None]:
        """What each id (V) is spelled as in the vocabulary; None for an id without a piece."""
        return [self.backend.id_to_token(token) for token in range(self.size)]

    @cached_property
    def special(self) -> np.ndarray:
        """(V) bool: a control token, never part of a text."""
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
        """(V) int64: UTF-8 bytes each piece stands for, 0 for special tokens. Byte-level tokenizers only.

        There every character of a piece is one byte. Other tokenizers lose bytes on the way (white space,
        case), so they have none; `Corpus.byte_lengths` then uses the split's own ratio of bytes to tokens.
        """
        if not self.byte_level:
            raise ValueError("only byte-level tokenizers know the bytes of a piece")
        lengths = np.array([len(piece or "") for piece in self.pieces], dtype=np.int64)
        for token, entry in self.backend.get_added_tokens_decoder().items():
            lengths[token] = len(entry.content.encode())  # added tokens are spelled as they are
        return np.where(self.special, 0, lengths)

    @cached_property
    def byte_level(self) -> bool:
        return "ByteLevel" in _types(self._layout["decoder"]) | _types(self._layout["pre_tokenizer"])

    @cached_property
    def word_starts(self) -> np.ndarray:
        """(V) bool: the piece begins a word; special tokens do.

        Byte-level: it begins with white space (Ġ, Ċ, ...), as in RoBERTa's whole-word masking, so
        punctuation goes with the word it follows. WordPiece: no "##". SentencePiece: it begins with "▁".
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
        """(V) bool: the piece ends in a full stop, an exclamation or question mark, of any common script.

        Closing quotes and brackets may follow. A mark of several bytes for which a byte-level vocabulary has
        no piece of its own is not seen.
        """
        ending = [SENTENCE_END.search(text) is not None for text in self.texts]
        return np.array(ending) & ~self.special

    @cached_property
    def texts(self) -> list[str]:
        """What each piece (V) reads as: `Ġthe` as ` the`, `##s` as `s`, part of a character as U+FFFD."""
        pieces = [piece or "" for piece in self.pieces]
        if self.byte_level:
            read = tokenizers.decoders.ByteLevel().decode  # a tokenizer may come without a decoder
            texts = [read([piece]) for piece in pieces]
        else:
            inner = self._layout["model"].get("continuing_subword_prefix") or ""
            texts = [piece.removeprefix(inner).replace("▁", " ") for piece in pieces]
        for token, entry in self.backend.get_added_tokens_decoder().items():
            texts[token] = entry.content  # added tokens are spelled as they are
        return texts

    @cached_property
    def kinds(self) -> np.ndarray:
        """(V) uint8: bits of objectives.marks, see `kinds_of`."""
        return kinds_of(self.texts, [len(piece or "") for piece in self.pieces], self.special)

    @cached_property
    def digest(self) -> str:
        """A hash of everything that decides which ids a text gets."""
        return hashlib.sha256((self.backend.to_str() + json.dumps(dict(self.roles))).encode()).hexdigest()

    @cached_property
    def _layout(self) -> dict:
        return json.loads(self.backend.to_str())

    def save(self, file: Path) -> None:
        write_whole(file, self.backend.to_str(pretty=True).encode())


def load(path: str | Path) -> Tokenizer:
    """A tokenizers JSON file, or a Hugging Face tokenizer folder (read without network).

    A folder names the roles of its special tokens (pad_token, bos_token, ...); in a file they are known by
    name. Sentinels are the tokens spelled <extra_id_N> in both.
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
    known = backend.get_vocab(with_added_tokens=True)
    return {
        role: next((known[name] for name in names if name in known), None) for role, names in NAMES.items()
    }


def _types(component: dict | None) -> set[str]:
    """The types of a pre-tokenizer or decoder, with those inside a Sequence."""
    if component is None:
        return set()
    inner = [*component.get("decoders", ()), *component.get("pretokenizers", ())]
    return {component["type"]}.union(*(_types(part) for part in inner))
