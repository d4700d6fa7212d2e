"""Tasks that models are evaluated on: one file a kind of task; `builtin/` needs no data but the run's own."""
