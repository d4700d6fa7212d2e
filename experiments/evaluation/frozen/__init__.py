"""Tasks asked of frozen states: a small head is trained, the family stays as it is."""
