"""Turns rows of items into statements: metrics, intervals, tests, claims, audit. Needs no model."""
