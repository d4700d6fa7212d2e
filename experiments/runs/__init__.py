"""A run's folder: what is in it, where its weights come from, how it is read back."""
