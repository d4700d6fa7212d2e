"""Runs to and from folders of Hugging Face."""
