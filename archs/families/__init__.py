"""The five families: the masks and stacks of each, and how it generates."""
