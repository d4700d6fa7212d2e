"""The built-in tasks that need no files: their items."""
