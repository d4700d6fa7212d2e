"""The exception for mistakes that a user can correct."""


class UserError(ValueError):
    """A user's mistake. The message is one line: the value given, the values allowed, and what to do.

    The command line prints it without a traceback and exits with code 2. Every other exception is a bug and
    keeps its traceback.
    """


def unknown(kind: str, came: object, allowed: object) -> UserError:
    """The error for a name that is not allowed. It lists the allowed names, the most similar first."""
    return UserError(f"unknown {kind} '{came}'; choose one of: {', '.join(nearest(came, allowed))}")


def nearest(came: object, allowed: object) -> list[str]:
    """The allowed names, the most similar first."""
    import difflib

    names = [str(name) for name in allowed]  # type: ignore[attr-defined]
    similar = difflib.get_close_matches(str(came), names, n=max(len(names), 1), cutoff=0.0)
    return similar + sorted(set(names) - set(similar))
