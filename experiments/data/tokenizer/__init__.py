"""Tokenizers: a byte-level BPE trained here, or any tokenizer of the `tokenizers` library."""
