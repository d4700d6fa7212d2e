"""Text in, token windows out: a pure function of (seed, step)."""
