"""Text in, token windows out: sources, split, tokenizer, store, windows, and the three gates."""
