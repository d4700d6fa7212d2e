"""Sweeps: many runs as one experiment. This room composes, registers, tunes and launches them."""
