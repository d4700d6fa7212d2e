"""The one exception for mistakes a user can mend."""


class UserError(ValueError):
    """A user's mistake, told in one line: what came, what is allowed, what to do.

    The command line prints it without a traceback and exits with code 2; every other exception is a
    bug and stays loud.
    """


def unknown(kind: str, came: object, allowed: object) -> UserError:
    """The error for a name that is not among `allowed`, nearest name first."""
    return UserError(f"unknown {kind} '{came}'; choose one of: {', '.join(nearest(came, allowed))}")


def nearest(came: object, allowed: object) -> list[str]:
    """The allowed names, the most alike first."""
    import difflib

    names = [str(name) for name in allowed]  # type: ignore[attr-defined]
    near = difflib.get_close_matches(str(came), names, n=max(len(names), 1), cutoff=0.0)
    return near + sorted(set(names) - set(near))
