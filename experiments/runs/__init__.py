"""The folder of a run: its files, where its weights come from, and how it is read back."""
