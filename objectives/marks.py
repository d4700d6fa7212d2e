"""The bits of `Windows.marks`, one byte a token, and of `Vocabulary.kinds`, one byte a piece."""

from __future__ import annotations

# marks: set when the text is tokenised (experiments.data.marks).
WORD = 1  # a word starts here
ENTITY, ENTITY_START = 2, 4  # inside a named entity; the first token of one
PHRASE, PHRASE_START = 8, 16
ANNOTATED = 32  # an annotator read this text: a token without its marks is in no entity and no phrase

# kinds: from the piece's spelling (experiments.data.tokenizer.tokenizer).
UPPER = 1  # the first letter or digit is an upper-case letter
NUMBER = 2  # the first letter or digit is a digit
BLANK = 4  # there is no letter and no digit: punctuation, symbols, white space
FUNCTION = 8  # as a whole word it is one of the most frequent words of the language
