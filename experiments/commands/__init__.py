"""The commands that a user types, grouped by what they act on: a run, a sweep, a question, the catalogue."""
