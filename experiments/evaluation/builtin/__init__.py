"""Tasks that need no files; all but party are made of the run's own corpus."""
