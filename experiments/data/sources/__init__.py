"""Where text comes from: the embedded addresses, files, Hugging Face datasets. A source is a file."""
