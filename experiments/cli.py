"""The command line: runs a command of `commands/`, and reports a user's mistake in one line."""

from __future__ import annotations

import os
import shlex
import sys

import typer

from archs.errors import UserError, unknown
from experiments.commands import catalogue, questions, runs, sweeps
from experiments.training.signals import Stopped

app = typer.Typer(
    name="pentarch",
    help="Five pretraining architectures, one Transformer core, one audited budget.",
    add_completion=False,
    pretty_exceptions_enable=False,
)
for part in (runs, sweeps, questions, catalogue):  # help lists them in this order
    app.registered_commands.extend(part.app.registered_commands)


def main() -> None:
    """Runs a command. Prints a user's mistake as one line on stderr and exits with code 2."""
    # Waiting threads should sleep. By default they spin: beside one other busy process on two cores a
    # training step then took 2.6 s, not 0.34 s (docs/decisions.md). Read when torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    arguments = sys.argv[1:] or ["--help"]
    command = typer.main.get_command(app)
    try:
        _check_command(arguments)
        with command.make_context("pentarch", arguments) as context:
            command.invoke(context)
    except typer.Exit as done:  # --help
        sys.exit(done.exit_code)
    except UserError as error:
        _stop(str(error))
    except KeyboardInterrupt:
        print(f"\ninterrupted; {_again(arguments)}", file=sys.stderr)
        sys.exit(130)
    except Stopped as stop:
        print(f"\n{stop}; {_again(arguments)}", file=sys.stderr)
        sys.exit(stop.code)
    except BrokenPipeError:  # the reader of our output has closed it, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:
        # A mistake of usage is an exception of click, which typer keeps in different modules by version.
        message = getattr(error, "format_message", None)
        if message is None:
            _stop_if_full(error)
            raise
        _stop(message())


def _check_command(arguments: list[str]) -> None:
    """Raises UserError for an unknown command, and for Hydra's -m."""
    names = {
        command.name or command.callback.__name__: command.hidden
        for command in app.registered_commands
        if command.callback
    }
    if arguments[0] not in [*names, "--help"]:
        raise unknown("command", arguments[0], [name for name, hidden in names.items() if not hidden])
    if arguments[0] in ("train", "sweep", "plan") and {"-m", "--multirun"} & set(arguments):
        raise UserError("-m is refused: several runs are a sweep; list its arms in sweep/NAME.yaml")


def _stop_if_full(error: Exception) -> None:
    """Reports a full disk in one line, also if a library met it on a path of its own."""
    from experiments.storage.disk import is_full

    if is_full(error):
        _stop(f"no space left on a disk ({error}); make room, and the same command continues")


def _again(arguments: list[str]) -> str:
    return f"the same command continues: {shlex.join(['pentarch', *arguments])}"


def _stop(message: str) -> None:
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(2)
