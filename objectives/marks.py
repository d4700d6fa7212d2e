"""Bits of `Windows.marks`, one byte a token, and of `Vocabulary.kinds`, one byte a piece."""

from __future__ import annotations

# marks: decided when the text is tokenised (experiments.data.marks).
WORD = 1  # a word starts here
ENTITY, ENTITY_START = 2, 4  # inside a named entity; the first token of one
PHRASE, PHRASE_START = 8, 16
ANNOTATED = 32  # an annotator read this text: what it did not mark is no entity and no phrase

# kinds: read off the piece's spelling (experiments.data.tokenizer.tokenizer).
UPPER = 1  # its first letter or digit is an upper-case letter
NUMBER = 2  # … is a digit
BLANK = 4  # it has neither: punctuation, symbols, white space
FUNCTION = 8  # as a word of its own it is one of the language's commonest
