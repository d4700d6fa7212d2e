"""Evaluates a trained run: likelihood, information flow, tasks in each mode, generated text."""
