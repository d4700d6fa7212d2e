"""The five families: which masks and which stacks each one has, and how it writes."""
