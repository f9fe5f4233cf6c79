"""The root of the command line: names its commands, and imports each only when it is asked for."""

from __future__ import annotations

import importlib
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from firedoor._version import __version__

__all__ = ["COMMANDS", "app"]

COMMANDS: tuple[str, ...] = ("demo", "status", "switch", "incidents", "runbook")
"""Each is a module of this package with an `app`."""


class _Commands(TyperGroup):
    """A group whose commands are modules."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - the library's signature
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"firedoor.cli.{cmd_name}")
        command = typer.main.get_command(module.app)
        command.name = cmd_name
        return command


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    # A traceback with local variables shows prompts and keys.
    pretty_exceptions_show_locals=False,
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"firedoor {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Say it and leave."),
    ] = False,
) -> None:
    """Incident response for LLM applications, inside the application."""
