"""What a task is: kinds, rows, baselines. Needs no model."""
