"""Writes runs as Hugging Face folders, and makes runs of Hugging Face models."""
