"""The items of the built-in tasks, which need no files."""
