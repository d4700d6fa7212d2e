"""What a task is: its kind, its rows and its baselines. Nothing here needs a model."""
