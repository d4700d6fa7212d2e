"""Turns text into token windows. Those of training are a pure function of (seed, step)."""
