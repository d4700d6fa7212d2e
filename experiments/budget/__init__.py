"""The shape and the steps of an arm, and the count of what it spends."""
