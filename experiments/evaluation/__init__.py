"""A trained run is asked: likelihood, information flow, tasks in each mode, text."""
