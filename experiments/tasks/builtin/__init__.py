"""Tasks that need no data of their own: made of the corpus, or of the embedded addresses."""
