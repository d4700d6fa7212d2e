"""The Transformer that all five families share: attention, layers, positions, loss, cache."""
