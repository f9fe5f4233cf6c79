"""`firedoor runbook`: what to do, on one screen."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from firedoor.cli import application as applications
from firedoor.cli import board as boards
from firedoor.cli import ledger as ledgers
from firedoor.cli.board import AsJson, clean, screen
from firedoor.cli.ledger import LedgerUrl
from firedoor.core.incident import IncidentRecord
from firedoor.core.runbook import Runbook
from firedoor.errors import ConfigurationError
from firedoor.incidents.runbooks import defaults, load, unclassified

__all__ = ["app", "runbook"]

app = typer.Typer(pretty_exceptions_show_locals=False)


@app.command()
def runbook(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[CLASS|INCIDENT]",
            help="One of the classes, or an incident's id; left out: the only open incident.",
        ),
    ] = None,
    *,
    markdown: Annotated[bool, typer.Option("--markdown", help="All of it, as Markdown.")] = False,
    width: Annotated[
        int | None, typer.Option(min=20, help="Columns; those of the terminal if left out.")
    ] = None,
    height: Annotated[
        int | None, typer.Option(min=5, help="Lines; those of the terminal if left out.")
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option("--file", help="Your own runbooks: a .yaml or .toml file, or a directory."),
    ] = None,
    ledger: LedgerUrl = None,
    as_json: AsJson = False,
) -> None:
    """Show what to do about a class of incident, or about one incident, filled in.

    The first action is on top; every way back is a line to paste.
    """
    books, ledger = _books(file, ledger)
    kind = None if name is None else books.get(name.strip().lower().replace("-", "_"))
    if kind is None and name is None and not ledger:
        _stop(f"say which: {', '.join(books)}, or an incident's id with --ledger")
    if kind is not None:
        _show(kind, None, markdown=markdown, width=width, height=height, as_json=as_json)
        return
    if not ledger and not (name or "").lower().startswith("inc"):
        _stop(f"no runbook {name!r}: use {', '.join(books)}, or an incident's id")
    with ledgers.opened(ledger) as book:
        record = ledgers.the_one(book, name).record
        of = "unknown" if record.incident_class is None else record.incident_class.value
        _show(books[of], record, markdown=markdown, width=width, height=height, as_json=as_json)


def _books(file: Path | None, ledger: str | None) -> tuple[dict[str, Runbook], str | None]:
    """The runbooks by name, and where the incidents are; an application says both at one look."""
    own: list[Runbook] = []
    try:
        if ledger is not None and applications.is_app(ledger):
            door = applications.load(ledger)
            own, ledger = door.incidents.runbooks, door.ledger_url
        own += load(file) if file is not None else []
    except ConfigurationError as error:
        _stop(str(error))
    return {book.name: book for book in [*defaults(), unclassified(), *own]}, ledger


def _show(
    book: Runbook,
    incident: IncidentRecord | None,
    *,
    markdown: bool,
    width: int | None,
    height: int | None,
    as_json: bool,
) -> None:
    if as_json:
        said: dict[str, Any] = book.to_dict()
        said["communication"] = book.communicate(incident)
        said["incident"] = None if incident is None else incident.id
        boards.show_json(said)
    elif markdown:
        typer.echo(book.to_markdown(incident), nl=False)
    else:
        terminal = shutil.get_terminal_size((80, 25))
        # The line below the page is the prompt's: a page as high as the screen would lose its top.
        lines = terminal.lines - 1 if sys.stdout.isatty() else 24
        columns = terminal.columns if sys.stdout.isatty() else 80
        typer.echo(book.render(width or columns, height or max(5, lines), incident))


def _stop(message: str) -> Any:
    screen(stderr=True).print(clean(f"firedoor: {message}"), style="red")
    raise typer.Exit(2)
