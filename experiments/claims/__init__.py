"""Statements that a sweep can decide: what they are, what runs they need, and what came of them."""
