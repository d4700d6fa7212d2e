"""Tasks on frozen states: a small head is trained, the family stays unchanged."""
