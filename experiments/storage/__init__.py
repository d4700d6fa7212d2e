"""Writes files that are either complete or absent; reads and writes JSON and tables."""
