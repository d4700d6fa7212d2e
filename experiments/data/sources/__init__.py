"""Sources of text, one a file: the embedded addresses, files, Hugging Face datasets."""
