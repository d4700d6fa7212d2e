"""Trains one run, from a recipe to weights. A run that was killed resumes from its last checkpoint."""
