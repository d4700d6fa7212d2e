"""Plans the shape and the steps of an arm, and counts what it spends."""
