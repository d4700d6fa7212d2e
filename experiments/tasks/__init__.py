"""Tasks that models are evaluated on, one file a task."""
