"""Files that are whole or not there at all; JSON and tables."""
