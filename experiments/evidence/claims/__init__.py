"""Claims: what is stated, on which endpoint, and what was decided."""
