"""The check that information flows where the masks say, in one pass and in cached decoding."""
