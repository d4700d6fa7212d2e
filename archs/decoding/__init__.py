"""Writing text from a family's next-token scores: sampling, beam search, filling in blanks."""
