"""Tasks that need no files: they ask about the run's own corpus."""
