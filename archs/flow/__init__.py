"""Checks that information flows exactly where the masks allow, in one pass and in cached decoding."""
